//! The API servers that a client may use, in the order in which it tries them.
//!
//! One is in use until it fails: no server is asked for its health while a connection to another is good. What was learned
//! is kept in a file, and the address that the user gave is never forgotten, so that a machine finds its cluster again
//! after any absence.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use component_base::Shutdown;
use parking_lot::Mutex;

/// More servers than a cluster ever has; what is longer is no list of servers.
const SERVERS_MAX: usize = 64;
/// Refusals in a row (503, 504) after which a server is left for another.
const COMPLAINTS_MAX: u32 = 3;

/// The servers of one cluster. Clones share them.
#[derive(Clone)]
pub struct Servers(Arc<Shared>);

struct Shared {
    /// Where the list is kept; nowhere in tests and for short-lived commands.
    file: Option<PathBuf>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// As the user gave it.
    seed: String,
    learned: Vec<String>,
    failed: Vec<(String, Instant)>,
    current: Option<String>,
    complaints: u32,
    /// Ends the connections to the current server.
    guard: Shutdown,
}

impl State {
    fn all(&self) -> Vec<String> {
        let mut all = self.learned.clone();
        if !all.contains(&self.seed) {
            all.push(self.seed.clone());
        }
        all
    }

    /// The current server first, then those that have not failed, then the others, the longest ago first.
    fn order(&self) -> Vec<String> {
        let mut all = self.all();
        let failed_at = |server: &String| self.failed.iter().find(|(name, _)| name == server).map(|(_, at)| *at);
        all.sort_by_key(|server| (self.current.as_ref() != Some(server), failed_at(server)));
        all
    }

    fn fail(&mut self, server: &str) {
        self.failed.retain(|(name, _)| name != server);
        self.failed.push((server.to_owned(), Instant::now()));
        if self.failed.len() > SERVERS_MAX {
            self.failed.remove(0);
        }
    }

    /// Ends all connections to the current server.
    fn leave(&mut self) {
        self.current = None;
        self.complaints = 0;
        std::mem::take(&mut self.guard).trigger();
    }
}

impl Servers {
    /// `seed` is `host:port`. What `file` holds from before is tried as well.
    pub fn new(seed: &str, file: Option<PathBuf>) -> Self {
        let text = file.as_ref().and_then(|file| std::fs::read(file).ok()).unwrap_or_default();
        // A file that cannot be read is no more than a loss of memory.
        let learned: Vec<String> = serde_json::from_slice(&text).unwrap_or_default();
        let learned = learned.into_iter().take(SERVERS_MAX).collect();
        let state = State { seed: seed.to_owned(), learned, ..State::default() };
        Self(Arc::new(Shared { file, state: Mutex::new(state) }))
    }

    /// All that may be tried, `host:port` each.
    pub fn all(&self) -> Vec<String> {
        self.0.state.lock().all()
    }

    /// The server in use.
    pub fn current(&self) -> Option<String> {
        self.0.state.lock().current.clone()
    }

    /// Takes over the list of servers that the cluster has. An empty one is nothing to go by, and is ignored. A server that
    /// is not among them any more is left.
    pub fn learn(&self, mut servers: Vec<String>) {
        servers.sort_unstable();
        servers.dedup();
        servers.truncate(SERVERS_MAX);
        let mut state = self.0.state.lock();
        if servers.is_empty() || state.learned == servers {
            return;
        }
        tracing::info!(?servers, "the servers of the cluster");
        state.learned = servers;
        let gone = state.current.as_ref().is_some_and(|current| !state.all().contains(current));
        if gone {
            state.leave();
        }
        let learned = state.learned.clone();
        drop(state);
        self.keep(&learned);
    }

    /// Ends the connections in use, for what they were opened with is out of date.
    pub fn reconnect(&self) {
        self.0.state.lock().leave();
    }

    fn keep(&self, servers: &[String]) {
        let Some(file) = &self.0.file else { return };
        let text = serde_json::to_vec(servers).unwrap_or_default();
        if let Err(error) = pki::write_private(file, &text) {
            tracing::warn!(%error, "the list of servers cannot be kept; it is learned again after a restart");
        }
    }

    pub(crate) fn order(&self) -> Vec<String> {
        self.0.state.lock().order()
    }

    pub(crate) fn failed(&self, server: &str) {
        let mut state = self.0.state.lock();
        state.fail(server);
        if state.current.as_deref() == Some(server) {
            state.leave();
        }
    }

    /// Uses `server` from now on; what is returned ends its connections.
    pub(crate) fn chosen(&self, server: &str) -> Shutdown {
        let mut state = self.0.state.lock();
        state.failed.retain(|(name, _)| name != server);
        if state.current.as_deref() != Some(server) {
            tracing::debug!(server, "using this server");
            state.leave();
            state.current = Some(server.to_owned());
        }
        state.guard.clone()
    }

    /// What a server answered. One that has no quorum refuses everything, and is left if another may be better off.
    pub(crate) fn answered(&self, status: http::StatusCode) {
        let refused = matches!(status.as_u16(), 503 | 504);
        let mut state = self.0.state.lock();
        state.complaints = if refused { state.complaints + 1 } else { 0 };
        if state.complaints >= COMPLAINTS_MAX
            && state.all().len() > 1
            && let Some(server) = state.current.clone()
        {
            tracing::warn!(server, "the server refuses requests; trying another");
            state.fail(&server);
            state.leave();
        }
    }
}

/// How long one server may take before the next is tried beside it.
pub(crate) const HEAD_START: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_seed_is_never_forgotten_and_the_rest_is_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("servers.json");
        let servers = Servers::new("seed:1", Some(file.clone()));
        assert_eq!(servers.order(), ["seed:1"]);
        servers.learn(names(&["b:1", "a:1"]));
        assert_eq!(servers.order(), ["a:1", "b:1", "seed:1"]);
        servers.learn(Vec::new());
        assert_eq!(Servers::new("seed:2", Some(file.clone())).order(), ["a:1", "b:1", "seed:2"]);
        std::fs::write(&file, "junk").unwrap();
        assert_eq!(Servers::new("seed:2", Some(file)).order(), ["seed:2"]);
    }

    #[test]
    fn the_one_in_use_comes_first_and_one_that_failed_last() {
        let servers = Servers::new("c:1", None);
        servers.learn(names(&["a:1", "b:1"]));
        let guard = servers.chosen("b:1");
        assert_eq!(servers.order(), ["b:1", "a:1", "c:1"]);
        servers.failed("b:1");
        assert!(guard.is_triggered(), "its connections end");
        servers.failed("a:1");
        assert_eq!(servers.order(), ["c:1", "b:1", "a:1"]);
        servers.chosen("a:1");
        assert_eq!(servers.order(), ["a:1", "c:1", "b:1"]);
    }

    #[test]
    fn a_server_that_left_the_cluster_is_left() {
        let servers = Servers::new("seed:1", None);
        servers.learn(names(&["a:1", "b:1"]));
        let guard = servers.chosen("a:1");
        servers.learn(names(&["a:1", "b:1", "c:1"]));
        assert!(!guard.is_triggered());
        servers.learn(names(&["b:1", "c:1"]));
        assert!(guard.is_triggered());
    }

    #[test]
    fn a_server_that_only_refuses_is_left_for_another() {
        let servers = Servers::new("a:1", None);
        let guard = servers.chosen("a:1");
        let refuse = |times: u32| (0..times).for_each(|_| servers.answered(StatusCode::SERVICE_UNAVAILABLE));
        refuse(9);
        assert!(!guard.is_triggered(), "there is no other");
        servers.learn(names(&["a:1", "b:1"]));
        servers.answered(StatusCode::OK);
        refuse(2);
        servers.answered(StatusCode::OK);
        refuse(2);
        assert!(!guard.is_triggered());
        refuse(1);
        assert!(guard.is_triggered());
        assert_eq!(servers.order(), ["b:1", "a:1"]);
    }
}
