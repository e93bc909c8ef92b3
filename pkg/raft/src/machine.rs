//! Committed entries go into the store here, and what changed is remembered until the next checkpoint.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use futures::{Stream, StreamExt as _};
use mvcc::{Digest, Outcome, Store, Transaction};
use openraft::entry::RaftEntry;
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::checkpoint::{Changes, Checkpoint, CheckpointError, Loaded, Meta};
use crate::types::{Entry, LogId, Membership, Response, Snapshot, SnapshotMeta, StoredMembership, TypeConfig};

/// Entries that are applied under one lock, while whoever reads the membership or the applied index waits.
const APPLIED_AT_ONCE: usize = 64;

/// A handle of the state machine; clones share it.
#[derive(Clone)]
pub(crate) struct Machine {
    shared: Arc<Shared>,
}

struct Shared {
    store: Arc<Store>,
    checkpoint: Checkpoint,
    /// Held from taking the changes until they are written: a second writer in between would store an applied index
    /// whose changes are still on their way.
    writing: Mutex<()>,
    state: Mutex<State>,
    /// Index of the newest applied entry, for those who wait for one.
    applied: watch::Sender<u64>,
    /// Told when enough has come together for a checkpoint.
    due: Notify,
    due_bytes: u64,
    checkpoints: AtomicU64,
    checkpoint_failures: AtomicU64,
}

struct State {
    applied: Option<LogId>,
    membership: StoredMembership,
    /// Changes since the last checkpoint.
    changes: Changes,
    /// Log bytes since the last checkpoint.
    bytes: u64,
    /// What the last checkpoint holds.
    durable: SnapshotMeta,
    /// Voters that were seen to leave in this life. Nobody gets the identity of another.
    removed: HashSet<u64>,
}

impl Machine {
    /// Fills the store from the checkpoint.
    pub(crate) fn open(store: Arc<Store>, checkpoint: Checkpoint, due_bytes: u64) -> Result<Self, CheckpointError> {
        let Loaded { meta, records, unsealed } = checkpoint.load()?;
        store.restore(meta.revision, records);
        if unsealed && meta.applied.is_some() {
            checkpoint.replace(&meta, &store.snapshot())?;
        }
        let durable = SnapshotMeta { last_log_id: meta.applied, last_membership: meta.membership.clone() };
        let state = State {
            applied: meta.applied,
            membership: meta.membership,
            changes: Changes::new(),
            bytes: 0,
            durable,
            removed: HashSet::new(),
        };
        let shared = Shared {
            store,
            checkpoint,
            writing: Mutex::new(()),
            applied: watch::Sender::new(meta.applied.map_or(0, |log_id| log_id.index())),
            state: Mutex::new(state),
            due: Notify::new(),
            due_bytes,
            checkpoints: AtomicU64::new(0),
            checkpoint_failures: AtomicU64::new(0),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    pub(crate) fn store(&self) -> &Arc<Store> {
        &self.shared.store
    }

    /// How many members the group has, as far as it was applied.
    pub(crate) fn members(&self) -> usize {
        self.shared.state.lock().membership.nodes().count()
    }

    /// The members, as far as it was applied.
    pub(crate) fn membership(&self) -> Membership {
        self.shared.state.lock().membership.membership().clone()
    }

    pub(crate) fn applied(&self) -> Option<LogId> {
        self.shared.state.lock().applied
    }

    /// An applied index, and the revision and the digest of the state at that moment.
    pub(crate) fn moment(&self) -> (u64, u64, Digest) {
        let state = self.shared.state.lock();
        let snapshot = self.shared.store.snapshot();
        (state.applied.map_or(0, |log_id| log_id.index()), snapshot.revision().get(), snapshot.digest())
    }

    /// Whether the entry of this index is applied.
    pub(crate) fn has_applied(&self, index: u64) -> bool {
        *self.shared.applied.borrow() >= index
    }

    /// Returns when the entry of this index is applied.
    pub(crate) async fn wait_applied(&self, index: u64) {
        if self.has_applied(index) {
            return;
        }
        // The sender lives as long as this does.
        let _ = self.shared.applied.subscribe().wait_for(|applied| *applied >= index).await;
    }

    /// Whether a voter was seen to leave the group.
    pub(crate) fn was_removed(&self, id: u64) -> bool {
        self.shared.state.lock().removed.contains(&id)
    }

    pub(crate) fn checkpoints(&self) -> (u64, u64) {
        (self.shared.checkpoints.load(Ordering::Relaxed), self.shared.checkpoint_failures.load(Ordering::Relaxed))
    }

    pub(crate) fn checkpoint_size(&self) -> u64 {
        self.shared.checkpoint.size()
    }

    /// Waits until a checkpoint is due.
    pub(crate) async fn checkpoint_due(&self) {
        self.shared.due.notified().await;
    }

    /// Writes the changes since the last checkpoint. Blocks on the disk. False when there were none.
    pub(crate) fn write_checkpoint(&self) -> Result<bool, CheckpointError> {
        let _writing = self.shared.writing.lock();
        let (meta, changes, bytes, snapshot) = {
            let mut state = self.shared.state.lock();
            if state.applied == state.durable.last_log_id {
                return Ok(false);
            }
            let meta = Meta {
                applied: state.applied,
                membership: state.membership.clone(),
                revision: self.shared.store.revision().get(),
            };
            let snapshot = self.shared.store.snapshot();
            (meta, std::mem::take(&mut state.changes), std::mem::take(&mut state.bytes), snapshot)
        };
        let checkpoint = &self.shared.checkpoint;
        let result = match is_sparse(checkpoint.size(), snapshot.bytes()) {
            // A new file takes space that there may not be; what is free in the old one does, too.
            true => checkpoint.replace(&meta, &snapshot).map(drop).or_else(|error| {
                tracing::warn!(%error, "the checkpoint cannot be written anew, keeping its file");
                checkpoint.write(&meta, &changes, &snapshot)
            }),
            false => checkpoint.write(&meta, &changes, &snapshot),
        };
        let mut state = self.shared.state.lock();
        match result {
            Ok(()) => {
                state.durable = SnapshotMeta { last_log_id: meta.applied, last_membership: meta.membership };
                self.shared.checkpoints.fetch_add(1, Ordering::Relaxed);
                Ok(true)
            }
            Err(error) => {
                // What changed again meanwhile is newer than what could not be written.
                let newer = std::mem::replace(&mut state.changes, changes);
                state.changes.extend(newer);
                state.bytes += bytes;
                self.shared.checkpoint_failures.fetch_add(1, Ordering::Relaxed);
                Err(error)
            }
        }
    }

    pub(crate) fn close(&self) {
        self.shared.checkpoint.close();
    }

    /// Applies entries that follow each other, and answers what came of each.
    pub(crate) fn apply_all<'a>(&self, entries: impl Iterator<Item = &'a Entry>) -> Vec<Response> {
        let shared = &self.shared;
        // One lock over the changes and the applied index: a checkpoint sees both or neither.
        let mut state = shared.state.lock();
        let responses = entries.map(|entry| self.apply_one(&mut state, entry)).collect();
        shared.applied.send_replace(state.applied.map_or(0, |log_id| log_id.index()));
        if state.bytes >= shared.due_bytes {
            // Kept until the checkpointer looks; saying it twice is saying it once.
            shared.due.notify_one();
        }
        responses
    }

    fn apply_one(&self, state: &mut State, entry: &Entry) -> Response {
        state.applied = Some(entry.log_id());
        match &entry.payload {
            EntryPayload::Blank => Response::Nothing,
            EntryPayload::Normal(command) => {
                let outcome = match Transaction::decode(command.0.clone()) {
                    Ok(transaction) => self.shared.store.apply(&transaction, Instant::now()),
                    Err(malformed) => Outcome::Malformed(malformed),
                };
                state.note(&outcome, command.0.len());
                Response::Outcome(outcome)
            }
            EntryPayload::Membership(membership) => {
                state.change_members(StoredMembership::new(Some(entry.log_id()), membership.clone()));
                Response::Nothing
            }
        }
    }

    fn meta(&self) -> SnapshotMeta {
        let state = self.shared.state.lock();
        SnapshotMeta { last_log_id: state.applied, last_membership: state.membership.clone() }
    }
}

/// Below this a file of free pages bothers nobody.
const SPARSE_BYTES_MIN: u64 = 64 << 20;
/// How much larger than the state the file may be. One that only grew is about twice as large.
const SPARSE_FACTOR: u64 = 4;

/// Whether a checkpoint file is mostly free pages, which many deletions leave, and better written anew.
fn is_sparse(file_bytes: u64, state_bytes: u64) -> bool {
    file_bytes > SPARSE_BYTES_MIN && file_bytes / SPARSE_FACTOR > state_bytes
}

impl State {
    fn change_members(&mut self, membership: StoredMembership) {
        let before = std::mem::replace(&mut self.membership, membership);
        // A learner that was let go may try again.
        self.removed.extend(before.voter_ids());
        for (id, _) in self.membership.nodes() {
            self.removed.remove(id);
        }
    }

    fn note(&mut self, outcome: &Outcome, log_bytes: usize) {
        self.bytes += log_bytes as u64 + 64;
        if let Outcome::Committed(events) = outcome {
            for event in events {
                let record = (event.kind != mvcc::EventKind::Deleted).then(|| event.record.clone());
                self.changes.insert(event.record.key_bytes(), record);
            }
        }
    }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotData = mvcc::Snapshot;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        let meta = self.meta();
        Ok((meta.last_log_id, meta.last_membership))
    }

    async fn apply<Strm>(&mut self, entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        let mut chunks = entries.ready_chunks(APPLIED_AT_ONCE);
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.into_iter().collect::<Result<Vec<_>, _>>()?;
            let responses = self.apply_all(chunk.iter().map(|(entry, _)| entry));
            for ((_, responder), response) in chunk.into_iter().zip(responses) {
                if let Some(responder) = responder {
                    responder.send(response);
                }
            }
        }
        Ok(())
    }

    async fn try_create_snapshot_builder(&mut self, force: bool) -> Option<SnapshotBuilder> {
        Some(SnapshotBuilder { machine: self.clone(), write: force })
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        SnapshotBuilder { machine: self.clone(), write: false }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: mvcc::Snapshot) -> Result<(), io::Error> {
        let machine = self.clone();
        let stored = Meta {
            applied: meta.last_log_id,
            membership: meta.last_membership.clone(),
            revision: snapshot.revision().get(),
        };
        let work = tokio::task::spawn_blocking(move || {
            let _writing = machine.shared.writing.lock();
            #[cfg(test)]
            let stored = machine.shared.checkpoint.with_bugs(stored);
            machine.shared.checkpoint.replace(&stored, &snapshot).map_err(io::Error::other)?;
            let mut state = machine.shared.state.lock();
            machine.shared.store.restore_snapshot(&snapshot);
            state.applied = stored.applied;
            state.change_members(stored.membership.clone());
            state.changes.clear();
            state.bytes = 0;
            state.durable = SnapshotMeta { last_log_id: stored.applied, last_membership: stored.membership };
            machine.shared.applied.send_replace(stored.applied.map_or(0, |log_id| log_id.index()));
            Ok(())
        });
        work.await.map_err(io::Error::other)?
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        // The checkpoint says how far the log may go; what a peer gets is the newest, which costs nothing to take.
        if self.shared.state.lock().durable.last_log_id.is_none() {
            return Ok(None);
        }
        let state = self.shared.state.lock();
        let meta = SnapshotMeta { last_log_id: state.applied, last_membership: state.membership.clone() };
        Ok(Some(Snapshot { meta, snapshot: self.shared.store.snapshot() }))
    }
}

/// Tells openraft of the last checkpoint. Writing one is not openraft's business, unless it insists.
pub(crate) struct SnapshotBuilder {
    machine: Machine,
    write: bool,
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    type SnapshotData = mvcc::Snapshot;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        if self.write {
            let machine = self.machine.clone();
            let writing = tokio::task::spawn_blocking(move || machine.write_checkpoint());
            writing.await.map_err(io::Error::other)?.map_err(io::Error::other)?;
        }
        let shared = &self.machine.shared;
        let state = shared.state.lock();
        Ok(Snapshot { meta: state.durable.clone(), snapshot: shared.store.snapshot() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_anew_when_most_of_it_is_free() {
        for (file, state, expected) in [
            (10 << 20, 0, false),
            (64 << 20, 0, false),
            (65 << 20, 0, true),
            (100 << 20, 24 << 20, true),
            (100 << 20, 25 << 20, false),
            (u64::MAX, u64::MAX, false),
        ] {
            assert_eq!(is_sparse(file, state), expected, "{file} bytes for {state}");
        }
    }
}
