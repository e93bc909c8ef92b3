//! The store of a stopped server, seen from outside: read to begin anew from what one member has, and made as the group of
//! one that does so.
//!
//! What begins anew is another cluster: it has another number, its only member is a new one, and its revisions are beyond
//! those that the old one gave out (see [`mvcc::Snapshot::moved_on`]). It knows the numbers of what was before, and tells
//! servers of those clusters so when they ask; they stop then.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Arc;

use futures::executor::block_on;
use mvcc::Store;
use openraft::RaftLogReader;
use openraft::entry::RaftEntry;
use openraft::storage::RaftLogStorage;

use crate::checkpoint::{Checkpoint, CheckpointError, Meta};
use crate::config::Config;
use crate::directory::{DataDirectory, Marker, OpenError, read_marker, unlikely_twice, write_marker};
use crate::disk::{Disk, RealDisk};
use crate::log::{LogConfig, LogStore};
use crate::start::load;
use crate::types::{LogId, Membership, PeerNode, StoredMembership, Vote};

/// The entry that a new group's log begins behind, as if it had been the one that named its member.
const FIRST_TERM: u64 = 1;
const FIRST_INDEX: u64 = 1;

/// Whose a store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The member.
    pub member: u64,
    /// Its cluster; none for a joiner that never got in.
    pub cluster: Option<u64>,
    /// What the cluster was before it was restored or reset, the last one first.
    pub earlier: Vec<u64>,
}

impl From<&Marker> for Owner {
    fn from(marker: &Marker) -> Self {
        Self { member: marker.node_id, cluster: marker.cluster_id, earlier: marker.earlier.clone() }
    }
}

/// Whose the store in a directory is; none when there is none. Nothing is opened or changed.
pub fn owner(path: &Path) -> Result<Option<Owner>, OpenError> {
    Ok(read_marker(path)?.as_ref().map(Owner::from))
}

/// Another member of the group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Other {
    /// Its server's name.
    pub name: String,
    /// Where it listens for members.
    pub address: String,
}

/// What the store of a stopped member holds.
pub struct Found {
    /// Whose it is.
    pub owner: Owner,
    /// Everything in its log, also what it never heard to be acknowledged: it may have been.
    pub state: mvcc::Snapshot,
    /// The other members in order of their names, as far as it knows.
    pub others: Vec<Other>,
    /// It was no voter: it may lack more than the newest.
    pub learner: bool,
    /// No other process has the directory while this lives.
    pub directory: DataDirectory,
}

/// Reads the store of a stopped member, as its start would.
pub fn read(path: &Path) -> Result<Found, OpenError> {
    let directory = DataDirectory::open(path)?;
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(path.to_owned()));
    let store = Store::new(mvcc::Limits::default());
    let (log, machine) = load(&Config::new(path), &disk, store.clone())?;
    let end = log.last_log_id().map_or(0, |id| id.index() + 1);
    let mut next = machine.applied().map_or(0, |id| id.index() + 1);
    let mut reader = log.clone();
    while next < end {
        let entries = block_on(reader.limited_get_log_entries(next, end));
        let entries = entries.map_err(|error| OpenError::io(path, error))?;
        let Some(last) = entries.last().map(RaftEntry::index) else {
            let detail = format!("entry {next} is missing in the log");
            return Err(OpenError::Corrupt { path: path.to_owned(), detail });
        };
        next = last + 1;
        machine.apply_all(entries.iter());
    }
    let membership = machine.membership();
    machine.close();
    log.close();
    let owner = Owner::from(directory.marker());
    let others = membership.nodes().filter(|(id, _)| **id != owner.member);
    let other = |node: &PeerNode| Other { name: node.name.clone(), address: node.address.clone() };
    let mut others: Vec<Other> = others.map(|(_, node)| other(node)).collect();
    others.sort();
    Ok(Found {
        others,
        learner: !membership.voter_ids().any(|id| id == owner.member),
        state: store.snapshot(),
        owner,
        directory,
    })
}

/// Makes the store of a new cluster's only member in `path`, which must be empty or missing. `earlier` are the numbers of
/// what the cluster was before. All of it is on stable storage on return.
pub fn create(path: &Path, state: &mvcc::Snapshot, earlier: Vec<u64>) -> Result<Owner, OpenError> {
    let io = |source| OpenError::io(path, source);
    if path.exists() && std::fs::read_dir(path).map_err(io)?.next().is_some() {
        return Err(OpenError::Foreign { path: path.to_owned(), found: "it is not empty".to_owned() });
    }
    let directory = DataDirectory::open(path)?;
    let marker = Marker { node_id: directory.node_id(), cluster_id: Some(unlikely_twice()), earlier };
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(path.to_owned()));
    let first = LogId::new_term_index(FIRST_TERM, FIRST_INDEX);
    write_checkpoint(&disk, state, first, marker.node_id).map_err(|error| match error {
        CheckpointError::Io(error) => OpenError::io(path, error),
        CheckpointError::Damaged(detail) => OpenError::Corrupt { path: path.to_owned(), detail },
    })?;
    write_log(&disk, first, marker.node_id).map_err(io)?;
    write_marker(path, &marker)?;
    Ok(Owner::from(&marker))
}

fn write_checkpoint(
    disk: &Arc<dyn Disk>,
    state: &mvcc::Snapshot,
    first: LogId,
    member: u64,
) -> Result<(), CheckpointError> {
    // Its name and its address are made known by its start.
    let nodes = BTreeMap::from([(member, PeerNode::default())]);
    let members = Membership::new(vec![BTreeSet::from([member])], nodes).map_err(io::Error::other)?;
    let members = StoredMembership::new(Some(first), members);
    let meta = Meta { applied: Some(first), membership: members, revision: state.revision().get() };
    let checkpoint = Checkpoint::open(disk.clone())?;
    checkpoint.replace(&meta, state)?;
    checkpoint.close();
    Ok(())
}

/// A log that begins behind `first`: whoever has less than that needs the whole state.
fn write_log(disk: &Arc<dyn Disk>, first: LogId, member: u64) -> io::Result<()> {
    let mut log = LogStore::open(disk.clone(), LogConfig::default()).map_err(io::Error::other)?;
    block_on(async {
        log.purge(first).await?;
        log.save_vote(&Vote::new(FIRST_TERM, member)).await
    })?;
    log.close();
    disk.sync()
}
