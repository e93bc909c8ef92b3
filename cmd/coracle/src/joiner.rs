//! A server that joins others: it gets the keys that all share, opens an empty store, and asks to be a member.
//!
//! Until it is one, its folder holds a mark. A join that fails, or that a crash cut short, leaves nothing else behind, and
//! begins anew at the next start.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use auth::bootstrap::joining::SERVERS_PATH;
use client::Client;
use pki::{JoinToken, Pki};
use serde_json::Value;
use storage::Storage;

use crate::door::{self, Door};
use crate::host::{self, Admission, Agreed, Membership};

/// How long a joiner may take to catch up.
const CATCH_UP: Duration = Duration::from_secs(120);

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
    client: Client,
}

impl Joiner {
    /// Asks for the cluster's keys and puts them into the folder, which must hold no server's data.
    pub async fn begin(
        folder: Folder,
        (url, token): (&str, &str),
        name: &str,
        settings: Agreed,
        agent_token: Option<&str>,
    ) -> anyhow::Result<Self> {
        if folder.mark().exists() {
            folder.clear().with_context(|| folder.0.display().to_string())?;
        }
        if folder.0.exists() {
            bail!(
                "{} holds keys of a cluster of its own; remove it or give another --data-dir to join",
                folder.0.display()
            );
        }
        let door = Door::find(url, token, None).await?;
        let client = door.with_token()?;
        let admission = Admission {
            name: name.to_owned(),
            version: component_base::version::KUBERNETES.to_owned(),
            time: host::unix_now(),
            settings,
            agent_token: agent_token.map(auth::authn::join_token::hash),
        };
        let answer = door::send(&client, "POST", SERVERS_PATH, &serde_json::to_value(admission)?).await;
        let answer = answer.map_err(|error| door.explain(&error))?;
        let joiner = Self { folder, door, client };
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
                storage.shutdown().await;
                self.undo();
                Err(error)
            }
        }
    }

    async fn settle(&self, storage: &Storage, name: &str, address: &str) -> anyhow::Result<()> {
        let membership = Membership { id: storage.node_id(), address: address.to_owned() };
        let path = format!("{SERVERS_PATH}/{name}");
        let asked = door::send(&self.client, "POST", &path, &serde_json::to_value(membership)?).await;
        asked.map_err(|error| self.door.explain(&error))?;
        tracing::info!("the cluster has taken this server in; catching up");
        storage.ready(CATCH_UP).await.map_err(|error| {
            anyhow!("this server did not catch up with the cluster: {error}; can the others reach {address}?")
        })?;
        std::fs::remove_file(self.folder.mark())?;
        Ok(())
    }

    pub fn undo(&self) {
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
