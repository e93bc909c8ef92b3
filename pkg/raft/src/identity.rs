//! Who this member is, and which cluster it belongs to.

use std::io;
use std::path::PathBuf;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::directory::{self, Marker};
use crate::types::LogId;

/// The member's and the cluster's numbers. The member's is chosen at its first start; the cluster's by its first member,
/// and taken over by each that joins.
#[derive(Debug)]
pub(crate) struct Identity {
    id: u64,
    cluster: Mutex<Option<u64>>,
    /// What the cluster was before it was restored or reset.
    earlier: Vec<u64>,
    /// Where the cluster's number is kept.
    directory: Option<PathBuf>,
    standing: watch::Sender<Standing>,
    /// The newest list of members, by its place in the log, that has this one in it.
    listed: Mutex<Option<LogId>>,
}

/// What the others say of this member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Member,
    Removed,
    /// Its cluster is no more: another began from its state.
    Replaced,
}

impl Identity {
    pub(crate) fn new(id: u64, cluster: Option<u64>, directory: Option<PathBuf>) -> Self {
        let standing = watch::Sender::new(Standing::Member);
        Self { id, cluster: Mutex::new(cluster), earlier: Vec::new(), directory, standing, listed: Mutex::default() }
    }

    /// Knows the servers of these clusters for those that its own one has replaced.
    pub(crate) fn after(self, earlier: Vec<u64>) -> Self {
        Self { earlier, ..self }
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
            let marker = Marker { node_id: self.id, cluster_id: Some(cluster), earlier: Vec::new() };
            directory::write_marker(path, &marker).map_err(io::Error::other)?;
        }
        *known = Some(cluster);
        Ok(cluster)
    }

    pub(crate) fn earlier(&self) -> &[u64] {
        &self.earlier
    }

    /// Whether this cluster is what became of another one.
    pub(crate) fn replaces(&self, cluster: u64) -> bool {
        self.earlier.contains(&cluster)
    }

    /// Takes notice of a list of members that has this one in it. A list that comes later in the log and has it not tells
    /// that it was removed.
    pub(crate) fn note_listed(&self, place: Option<LogId>) {
        let mut listed = self.listed.lock();
        *listed = place.max(*listed);
    }

    pub(crate) fn listed(&self) -> Option<LogId> {
        *self.listed.lock()
    }

    /// The others say that they agreed, at this place in the log, on a list of members without this one. They may have let
    /// it in again since: then the answer is old.
    pub(crate) fn note_unlisted(&self, place: LogId) {
        if self.listed() < Some(place) {
            self.note_removed();
        }
    }

    /// This member is none any more: the others say so, or it has seen them agree on it.
    pub(crate) fn note_removed(&self) {
        if self.note(Standing::Removed) {
            tracing::error!("this server was removed from the group; to join again it needs an empty data directory");
        }
    }

    /// A server says that it was reset or restored, and that this one belongs to what was before.
    pub(crate) fn note_replaced(&self) {
        if self.note(Standing::Replaced) {
            tracing::error!("the cluster was reset or restored without this server, whose data is of before that");
        }
    }

    /// True when that is news.
    fn note(&self, standing: Standing) -> bool {
        self.standing.send_if_modified(|known| {
            let new = *known == Standing::Member;
            if new {
                *known = standing;
            }
            new
        })
    }

    /// Whether this member is none any more, for either reason.
    pub(crate) fn is_removed(&self) -> bool {
        *self.standing.borrow() != Standing::Member
    }

    pub(crate) fn is_replaced(&self) -> bool {
        *self.standing.borrow() == Standing::Replaced
    }

    /// Returns when it is none any more.
    pub(crate) async fn removed(&self) {
        // The sender is here: it is not dropped meanwhile.
        let _ = self.standing.subscribe().wait_for(|standing| *standing != Standing::Member).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_believes_that_it_was_removed_unless_it_was_let_in_since() {
        let place = LogId::new_term_index;
        for (listed, unlisted, removed) in [
            (None, place(1, 5), true),
            (Some(place(1, 4)), place(1, 5), true),
            (Some(place(1, 9)), place(2, 5), true),
            (Some(place(1, 6)), place(1, 5), false),
            (Some(place(2, 1)), place(1, 5), false),
        ] {
            let identity = Identity::new(1, Some(1), None);
            identity.note_listed(listed);
            // An older list, as a log that is cut shows it again, changes nothing.
            identity.note_listed(listed.map(|_| place(1, 1)));
            identity.note_unlisted(unlisted);
            assert_eq!(identity.is_removed(), removed, "listed at {listed:?}, not at {unlisted}");
        }
    }
}
