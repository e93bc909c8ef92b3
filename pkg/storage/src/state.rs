//! The store in figures, and whether it is well.

use raft::{Integrity, Member, StateReport};

use crate::Storage;

impl Storage {
    /// All servers with the states of their stores in figures; none for a server that does not answer. The states are
    /// compared with each other, at the revision that this server has.
    pub async fn states(&self) -> Vec<(Member, Option<StateReport>)> {
        self.node().states().await
    }

    /// What the last comparison brought; there is one every few minutes.
    pub fn integrity(&self) -> Integrity {
        self.node().integrity()
    }

    /// Whether the store is as large as it may become: then only what makes it smaller is written.
    pub fn is_full(&self) -> bool {
        self.node().is_full()
    }
}
