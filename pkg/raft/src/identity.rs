//! Who this member is, and which cluster it belongs to.

use std::io;
use std::path::PathBuf;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::directory;

/// The member's and the cluster's numbers. The member's is chosen at its first start; the cluster's by its first member,
/// and taken over by each that joins.
#[derive(Debug)]
pub(crate) struct Identity {
    id: u64,
    cluster: Mutex<Option<u64>>,
    /// Where the cluster's number is kept.
    directory: Option<PathBuf>,
    removed: watch::Sender<bool>,
}

impl Identity {
    pub(crate) fn new(id: u64, cluster: Option<u64>, directory: Option<PathBuf>) -> Self {
        Self { id, cluster: Mutex::new(cluster), directory, removed: watch::Sender::new(false) }
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// None as long as a joiner was not contacted by its group.
    pub(crate) fn cluster(&self) -> Option<u64> {
        *self.cluster.lock()
    }

    /// Takes over the cluster's number if there is none yet, and keeps it. Says which one it is now.
    pub(crate) fn adopt(&self, cluster: u64) -> io::Result<u64> {
        let mut known = self.cluster.lock();
        if let Some(known) = *known {
            return Ok(known);
        }
        if let Some(path) = &self.directory {
            directory::write_marker(path, self.id, Some(cluster)).map_err(io::Error::other)?;
        }
        *known = Some(cluster);
        Ok(cluster)
    }

    /// The others say that this member is none any more.
    pub(crate) fn note_removed(&self) {
        if !self.removed.send_replace(true) {
            tracing::error!("this server was removed from the group; to join again it needs an empty data directory");
        }
    }

    pub(crate) fn is_removed(&self) -> bool {
        *self.removed.borrow()
    }

    /// Returns when they say so.
    pub(crate) async fn removed(&self) {
        // The sender is here: it is not dropped meanwhile.
        let _ = self.removed.subscribe().wait_for(|removed| *removed).await;
    }
}
