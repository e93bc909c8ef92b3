//! Several servers with one store.

use std::time::Duration;

use raft::{Member, ProposeError};

use crate::{Storage, StorageError};

impl Storage {
    /// Returns when this server votes, knows who leads, and shows every write that was acknowledged before the call.
    pub async fn ready(&self, within: Duration) -> Result<(), StorageError> {
        self.node().ready(within).await.map_err(|error| StorageError::from_read(&error))
    }

    /// This server's identity in the group: kept in its data directory, and nobody else's ever.
    pub fn node_id(&self) -> u64 {
        self.node().id()
    }

    /// The cluster's identity; none for a server that is to join and was not contacted yet.
    pub fn cluster_id(&self) -> Option<u64> {
        self.node().cluster_id()
    }

    /// What the cluster was before it was restored or reset, the last one first.
    pub fn earlier_clusters(&self) -> Vec<u64> {
        self.node().earlier_clusters()
    }

    /// The identities of all servers, as far as this one knows.
    pub fn member_ids(&self) -> Vec<u64> {
        self.node().member_ids()
    }

    /// All that is stored, at one revision, as a snapshot of it keeps it. It costs nothing to take.
    pub fn state(&self) -> mvcc::Snapshot {
        self.store().snapshot()
    }

    /// The server that leads, as far as this one knows.
    pub fn leader(&self) -> Option<u64> {
        self.node().leader()
    }

    /// Whether this server is the only one: then what it has is always the newest, and [`Self::read_barrier`] is free.
    pub fn is_alone(&self) -> bool {
        self.node().is_alone()
    }

    /// Whether the others said that this server was removed. To join again it needs an empty data directory.
    pub fn is_removed(&self) -> bool {
        self.node().is_removed()
    }

    /// Whether a server said that this one belongs to what the cluster was before it was reset or restored.
    pub fn is_replaced(&self) -> bool {
        self.node().is_replaced()
    }

    /// Returns when they say so.
    pub async fn removed(&self) {
        self.node().removed().await;
    }

    /// The servers of the group as the leader sees them. When none leads, as this one does, and then it reaches nobody.
    pub async fn members(&self) -> Vec<Member> {
        self.node().members().await
    }

    /// Adds a server whose store was opened with [`Config::join`](crate::Config::join); on any server. It returns when the
    /// group knows of it: the leader has it vote when it has caught up, and lets it go when it is silent for 30 s or has
    /// not caught up in 10 minutes.
    ///
    /// For a server that is there it changes name and address. A name that another one has is given to the new one if
    /// that other has been silent for 5 s, which removes it; else the call is refused.
    pub async fn add_member(&self, id: u64, name: &str, address: &str) -> Result<(), StorageError> {
        self.node().add_member(id, name, address).await.map_err(changed)
    }

    /// Removes a server for good; on any server. Refused when the rest would not be a majority, or there is no rest.
    pub async fn remove_member(&self, id: u64) -> Result<(), StorageError> {
        self.node().remove_member(id).await.map_err(changed)
    }
}

fn changed(error: ProposeError) -> StorageError {
    StorageError::from_propose(&error)
}
