//! What a controller did and its caches do not show yet. Until they do, counting would lead to a second creation.
//!
//! Names of created objects are chosen by the client (see [`crate::template::random_name`]), so an expectation names
//! exactly the object that has to appear, and one that was created and deleted unseen is noticed too.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use client::ObjectKey;
use compact_str::CompactString;
use parking_lot::Mutex;
use tokio::time::Instant;

/// An expectation that is older than this is given up: better to count wrongly once than to stand still.
const TIMEOUT: Duration = Duration::from_secs(300);

struct Open {
    creations: HashSet<ObjectKey>,
    deletions: HashSet<CompactString>,
    since: Instant,
}

impl Open {
    fn is_empty(&self) -> bool {
        self.creations.is_empty() && self.deletions.is_empty()
    }
}

struct State<K> {
    open: HashMap<K, Open>,
    by_name: HashMap<ObjectKey, K>,
    by_uid: HashMap<CompactString, K>,
}

/// Open expectations of one controller, by the key of the object it syncs. Clones share them.
pub struct Expectations<K> {
    state: Arc<Mutex<State<K>>>,
}

impl<K> Clone for Expectations<K> {
    fn clone(&self) -> Self {
        Self { state: self.state.clone() }
    }
}

impl<K: Clone + Eq + Hash> Expectations<K> {
    pub fn new() -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                open: HashMap::new(),
                by_name: HashMap::new(),
                by_uid: HashMap::new(),
            })),
        }
    }

    /// Call before the creation is sent.
    pub fn expect_creation(&self, owner: &K, object: ObjectKey) {
        let mut state = self.state.lock();
        state.by_name.insert(object.clone(), owner.clone());
        Self::entry(&mut state, owner).creations.insert(object);
    }

    /// Call before the deletion is sent.
    pub fn expect_deletion(&self, owner: &K, uid: &str) {
        let mut state = self.state.lock();
        state.by_uid.insert(uid.into(), owner.clone());
        Self::entry(&mut state, owner).deletions.insert(uid.into());
    }

    fn entry<'a>(state: &'a mut State<K>, owner: &K) -> &'a mut Open {
        let fresh = || Open { creations: HashSet::new(), deletions: HashSet::new(), since: Instant::now() };
        let open = state.open.entry(owner.clone()).or_insert_with(fresh);
        open.since = Instant::now();
        open
    }

    /// The object was seen, or its creation failed. Answers the owner if this was the last one it waited for.
    pub fn created(&self, object: &ObjectKey) -> Option<K> {
        let mut state = self.state.lock();
        // Asked about every pod of the cluster, mostly while nothing is expected.
        if state.by_name.is_empty() {
            return None;
        }
        let owner = state.by_name.remove(object)?;
        let open = state.open.get_mut(&owner)?;
        open.creations.remove(object);
        Self::finish(&mut state, owner)
    }

    /// The object is going away, is gone, or its deletion failed.
    pub fn deleted(&self, uid: &str) -> Option<K> {
        let mut state = self.state.lock();
        if state.by_uid.is_empty() {
            return None;
        }
        let owner = state.by_uid.remove(uid)?;
        let open = state.open.get_mut(&owner)?;
        open.deletions.remove(uid);
        Self::finish(&mut state, owner)
    }

    fn finish(state: &mut State<K>, owner: K) -> Option<K> {
        if state.open.get(&owner).is_some_and(Open::is_empty) {
            state.open.remove(&owner);
            return Some(owner);
        }
        None
    }

    /// The caches show everything that was done.
    pub fn satisfied(&self, owner: &K) -> bool {
        let mut state = self.state.lock();
        match state.open.get(owner) {
            None => true,
            Some(open) if open.since.elapsed() > TIMEOUT => {
                Self::remove(&mut state, owner);
                true
            }
            Some(_) => false,
        }
    }

    /// Forgets an owner that no longer exists.
    pub fn forget(&self, owner: &K) {
        Self::remove(&mut self.state.lock(), owner);
    }

    fn remove(state: &mut State<K>, owner: &K) {
        if let Some(open) = state.open.remove(owner) {
            for name in open.creations {
                state.by_name.remove(&name);
            }
            for uid in open.deletions {
                state.by_uid.remove(&uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn satisfied_when_all_was_seen_or_given_up() {
        let expectations = Expectations::new();
        assert!(expectations.satisfied(&"rs"));
        expectations.expect_creation(&"rs", ObjectKey::new("ns", "a"));
        expectations.expect_deletion(&"rs", "uid-b");
        assert_eq!(expectations.created(&ObjectKey::new("ns", "other")), None);
        assert_eq!(expectations.created(&ObjectKey::new("ns", "a")), None);
        assert!(!expectations.satisfied(&"rs"));
        assert_eq!(expectations.deleted("uid-b"), Some("rs"));
        assert!(expectations.satisfied(&"rs"));

        expectations.expect_creation(&"rs", ObjectKey::new("ns", "lost"));
        tokio::time::advance(TIMEOUT + Duration::from_secs(1)).await;
        assert!(expectations.satisfied(&"rs"));
        assert_eq!(expectations.created(&ObjectKey::new("ns", "lost")), None);
    }
}
