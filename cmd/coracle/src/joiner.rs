//! A server that joins others: it gets the keys that all share, opens an empty store, and asks to be a member.
//!
//! Until it is one, its folder holds a mark. A join that is refused leaves nothing behind. One that fails later, or that a
//! crash cut short, goes on at the next start with what it has: the cluster may count on this member by then, and a cluster
//! of two on nobody else.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use auth::bootstrap::joining::SERVERS_PATH;
use pki::{JoinToken, Pki};
use raft::offline::{owner, read};
use serde_json::Value;
use storage::Storage;
use tokio::time::{Instant, timeout};

use crate::door::Door;
use crate::host::{self, Admission, Agreed, Membership};

/// How long a joiner may take to catch up.
const CATCH_UP: Duration = Duration::from_secs(120);
/// A joiner that is not taken in by then asks again: it may have been let go, or forgotten with a leader that died.
const ASK_AGAIN: Duration = Duration::from_secs(10);
/// How long that may take.
const ASK_LIMIT: Duration = Duration::from_secs(5);

/// A file that says that a join is under way.
const MARK: &str = "joining";

/// The folder of a server, as far as joining goes.
pub struct Folder(PathBuf);

impl Folder {
    pub fn of(data_dir: &Path) -> Self {
        Self(data_dir.join("server"))
    }

    fn mark(&self) -> PathBuf {
        self.0.join(MARK)
    }

    /// True if this server belongs to a cluster already.
    pub fn is_settled(&self) -> bool {
        self.0.join("db").exists() && !self.mark().exists()
    }

    /// True if a join of this folder was not finished.
    pub fn is_marked(&self) -> bool {
        self.mark().exists()
    }

    /// Whether a join was cut short that the cluster, known by its authority's certificate, may have heard of.
    fn is_known_to(&self, ca_pem: &str) -> anyhow::Result<bool> {
        let same =
            std::fs::read_to_string(self.0.join("tls/server-ca.crt")).is_ok_and(|own| own.trim() == ca_pem.trim());
        Ok(same && self.is_marked() && owner(&self.0.join("db"))?.is_some_and(|own| own.cluster.is_some()))
    }

    /// A join that was cut short when this server had a vote already is over: without that vote perhaps nobody can let
    /// anybody in.
    pub async fn settle_voter(&self) -> anyhow::Result<()> {
        let db = self.0.join("db");
        if !self.is_marked() || owner(&db)?.is_none_or(|own| own.cluster.is_none()) {
            return Ok(());
        }
        if tokio::task::spawn_blocking(move || read(&db)).await??.learner {
            return Ok(());
        }
        tracing::info!("a join that was not finished has given this server a vote: it is a member");
        Ok(self.settle()?)
    }

    /// Makes this server belong where its data says, also if it was on its way there: what it has is to be kept.
    pub fn settle(&self) -> std::io::Result<()> {
        match std::fs::remove_file(self.mark()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Where the folder is made, so that it has its mark and its keys from when it is there.
    fn draft(&self) -> PathBuf {
        self.0.with_extension("joining")
    }

    /// Removes what a join has left.
    fn clear(&self) -> std::io::Result<()> {
        for path in [&self.0, &self.draft()] {
            match std::fs::remove_dir_all(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes what a join has left that was not finished.
    pub fn forget_attempt(&self) -> anyhow::Result<()> {
        match self.is_marked() {
            true => self.clear().with_context(|| self.0.display().to_string()),
            false => Ok(()),
        }
    }

    /// Makes the folder of a join by `fill`, whole or not at all.
    fn make(&self, fill: impl FnOnce(&Path) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let draft = self.draft();
        self.clear().with_context(|| self.0.display().to_string())?;
        std::fs::create_dir_all(&draft).with_context(|| draft.display().to_string())?;
        pki::write_private(&draft.join(MARK), b"")?;
        fill(&draft)?;
        std::fs::rename(&draft, &self.0).with_context(|| self.0.display().to_string())
    }
}

/// A join under way.
pub struct Joiner {
    folder: Folder,
    door: Door,
    /// An earlier attempt is gone on with.
    again: bool,
}

impl Joiner {
    /// Asks for the cluster's keys and puts them into the folder, which must hold no server's data but that of an earlier
    /// attempt to join.
    pub async fn begin(
        folder: Folder,
        (url, token): (&str, &str),
        name: &str,
        settings: Agreed,
        agent_token: Option<&str>,
    ) -> anyhow::Result<Self> {
        if folder.0.exists() && !folder.is_marked() {
            bail!(
                "{} holds keys of a cluster of its own; remove it or give another --data-dir to join",
                folder.0.display()
            );
        }
        let door = Door::find(url, token, None).await?;
        let admission = Admission {
            name: name.to_owned(),
            version: component_base::version::KUBERNETES.to_owned(),
            time: host::unix_now(),
            settings,
            agent_token: agent_token.map(auth::authn::join_token::hash),
        };
        let answer = door.post(SERVERS_PATH, &serde_json::to_value(admission)?).await?;
        let joiner = Self { again: folder.is_known_to(&door.ca_pem)?, folder, door };
        if joiner.again {
            tracing::info!("going on with a join that was not finished");
            return Ok(joiner);
        }
        joiner.write_keys(&answer, token).inspect_err(|_| joiner.undo())?;
        Ok(joiner)
    }

    fn write_keys(&self, answer: &Value, token: &str) -> anyhow::Result<()> {
        let files: Vec<(String, String)> = serde_json::from_value(answer["files"].clone())?;
        let secret = JoinToken::parse(token)?.secret;
        self.folder.make(|folder| {
            Pki::write_shared(&folder.join("tls"), &files)?;
            pki::join_token(&folder.join("token"), "server", &self.door.ca_pem, Some(&secret))?;
            Ok(())
        })
    }

    /// Asks to be a member under `name`, and waits until this server has what the others have.
    pub async fn finish(self, storage: &Storage, name: &str, address: &str) -> anyhow::Result<()> {
        match self.settle(storage, name, address).await {
            Ok(()) => Ok(()),
            Err(error) => {
                // What the cluster has been in touch with it may count on, until it says otherwise.
                let unknown = storage.cluster_id().is_none() || storage.is_removed();
                storage.shutdown().await;
                if unknown {
                    self.undo();
                }
                Err(error)
            }
        }
    }

    async fn settle(&self, storage: &Storage, name: &str, address: &str) -> anyhow::Result<()> {
        let membership = Membership { id: storage.node_id(), address: address.to_owned() };
        let (path, membership) = (format!("{SERVERS_PATH}/{name}"), serde_json::to_value(membership)?);
        match self.door.post(&path, &membership).await {
            Ok(_) => tracing::info!("the cluster has taken this server in; catching up"),
            // It may be this server that the cluster waits for.
            Err(error) if storage.cluster_id().is_some() => {
                tracing::info!(
                    error = format!("{error:#}"),
                    "the cluster cannot say yet whether it takes this server in"
                );
            }
            Err(error) => return Err(error),
        }
        let deadline = Instant::now() + CATCH_UP;
        while let Err(error) = storage.ready(ASK_AGAIN).await {
            if storage.is_removed() {
                bail!("the cluster has removed this server while it joined; start it again");
            }
            if Instant::now() >= deadline {
                bail!("this server did not catch up with the cluster: {error}; can the others reach {address}?");
            }
            // Whoever votes is in, and waits for a leader.
            let votes = storage.members().await.iter().any(|member| member.id == storage.node_id() && member.voter);
            if !votes && let Ok(Err(error)) = timeout(ASK_LIMIT, self.door.post(&path, &membership)).await {
                tracing::info!(error = format!("{error:#}"), "asked again to be taken in");
            }
        }
        std::fs::remove_file(self.folder.mark())?;
        Ok(())
    }

    /// The store could not be opened: nothing was asked for.
    pub fn give_up(&self) {
        if !self.again {
            self.undo();
        }
    }

    fn undo(&self) {
        if let Err(error) = self.folder.clear() {
            tracing::warn!(%error, folder = %self.folder.0.display(), "what the failed join has left cannot be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_join_that_is_cut_short_at_its_keys_leaves_no_folder() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let folder = Folder::of(dir.path());
        let cut_short = |folder: &Path| {
            std::fs::write(folder.join("token"), "")?;
            bail!("killed")
        };
        folder.make(cut_short).expect_err("cut short");
        assert!(!folder.0.exists(), "the next start takes this for a cluster of its own");
        folder.make(|_| Ok(())).expect("made in spite of what was left");
        assert!(folder.0.exists() && folder.mark().exists() && !folder.0.join("token").exists());
        folder.clear().expect("cleared");
        assert_eq!(std::fs::read_dir(dir.path()).expect("listed").count(), 0);
    }

    #[tokio::test]
    async fn a_join_goes_on_with_what_the_cluster_has_heard_of() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let folder = Folder::of(dir.path());
        let known = |ca: &str| folder.is_known_to(ca).expect("looked at");
        let keys = |folder: &Path| {
            std::fs::create_dir(folder.join("tls"))?;
            Ok(std::fs::write(folder.join("tls/server-ca.crt"), "ours\n")?)
        };
        folder.make(keys).expect("made");
        assert!(!known("ours"), "there is no store yet");
        let open = |join: bool| {
            let mut config = storage::Config::new(dir.path().join("server/db"));
            config.join = join;
            Storage::open(config)
        };
        open(true).await.expect("opened").shutdown().await;
        folder.settle_voter().await.expect("left alone");
        assert!(!folder.is_settled() && !known("ours"), "nobody was in touch with it");
        // Stands for a member that was: it has a cluster's number.
        open(false).await.expect("opened").shutdown().await;
        assert!(known("ours") && !known("others"));
        folder.settle_voter().await.expect("settled");
        assert!(folder.is_settled(), "it votes");
        assert!(!known("ours"), "it is a server, and joins nothing");
    }

    #[test]
    fn a_join_that_was_cut_short_is_no_server() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let folder = Folder::of(dir.path());
        assert!(!folder.is_settled());
        std::fs::create_dir_all(dir.path().join("server/db")).expect("made");
        assert!(folder.is_settled());
        std::fs::write(folder.mark(), "").expect("written");
        assert!(!folder.is_settled());
        folder.settle().expect("settled");
        assert!(folder.is_settled());
        folder.settle().expect("nothing to do is fine");
        folder.clear().expect("cleared");
        assert!(!dir.path().join("server").exists());
        folder.clear().expect("nothing to clear is fine");
    }
}
