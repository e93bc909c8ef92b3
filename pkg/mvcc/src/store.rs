use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::RwLock;

use crate::feed::Feed;
use crate::map::{Garbage, Map};
use crate::record::Parts;
use crate::ring::Ring;
use crate::{
    Digest, Event, EventKind, Operation, Outcome, Precondition, Record, Revision, Snapshot, Transaction, WatchEnd,
    Watcher,
};

/// How much of the past is kept.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Memory that recent changes may hold.
    pub ring_bytes_max: usize,
    /// How long changes are kept.
    pub ring_age_max: Duration,
    /// Older snapshots that paged reads may keep in use beyond the ring.
    pub pins_max: usize,
    /// Overwritten data that pinned snapshots may keep alive.
    pub pinned_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            ring_bytes_max: 64 << 20,
            ring_age_max: Duration::from_secs(10 * 60),
            pins_max: 32,
            pinned_bytes_max: 128 << 20,
        }
    }
}

/// A revision that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutOfRange {
    /// It is too old.
    #[error("revision was compacted, the oldest that can be read is {floor}")]
    Compacted {
        /// The oldest that can.
        floor: Revision,
    },
    /// It does not exist yet.
    #[error("revision is in the future, the newest is {current}")]
    Future {
        /// The newest.
        current: Revision,
    },
}

/// Sizes, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Live keys.
    pub keys: usize,
    /// Memory that the newest versions of all keys hold, roughly.
    pub bytes: u64,
    /// Events in the ring.
    pub ring_events: usize,
    /// Memory that the ring holds.
    pub ring_bytes: usize,
    /// Pinned older snapshots.
    pub pins: usize,
    /// Open watches.
    pub watchers: usize,
}

/// Events that one write lets go of at most.
const EVENTS_A_STEP: usize = 64;
/// Nodes of states let go that one write frees at most.
const NODES_A_STEP: usize = 4;

/// The state machine. All of it is in memory; what makes it durable is the caller's log and checkpoint.
pub struct Store {
    state: RwLock<State>,
    /// The newest revision, readable without the lock. Behind the state's, never ahead.
    published: AtomicU64,
    /// Memory that the newest versions and the ring hold, readable without the lock.
    used: AtomicU64,
    feed: Feed,
    limits: Limits,
}

struct State {
    map: Map,
    revision: Revision,
    ring: Ring,
    pins: VecDeque<Pin>,
    /// Pinned states that were let go, freed step by step.
    garbage: Garbage,
    /// Bytes of versions that were overwritten or deleted, ever.
    retired_bytes: u64,
}

struct Pin {
    snapshot: Snapshot,
    at: Instant,
    retired_bytes: u64,
}

impl Store {
    /// An empty store.
    pub fn new(limits: Limits) -> Arc<Self> {
        let revision = Revision::FIRST;
        let state = State {
            map: Map::default(),
            revision,
            ring: Ring::new(revision),
            pins: VecDeque::new(),
            garbage: Garbage::default(),
            retired_bytes: 0,
        };
        Arc::new(Self {
            state: RwLock::new(state),
            published: AtomicU64::new(revision.get()),
            used: AtomicU64::new(0),
            feed: Feed::default(),
            limits,
        })
    }

    /// Replaces all state, as a checkpoint or a snapshot from a peer tells it. Watches end.
    pub fn restore(&self, revision: u64, records: impl IntoIterator<Item = Record>) {
        let mut map = Map::default();
        for record in records {
            map.insert(Arc::new(record));
        }
        self.replace(map, Revision::new(revision.max(Revision::FIRST.get())));
    }

    /// Replaces all state by that of a snapshot. Watches end.
    pub fn restore_snapshot(&self, snapshot: &Snapshot) {
        self.replace(snapshot.map.clone(), snapshot.revision);
    }

    fn replace(&self, map: Map, revision: Revision) {
        let mut state = self.state.write();
        let old = (
            std::mem::replace(&mut state.map, map),
            std::mem::replace(&mut state.ring, Ring::new(revision)),
            std::mem::take(&mut state.pins),
        );
        state.revision = revision;
        self.used.store(state.used(), Ordering::Relaxed);
        self.published.store(revision.get(), Ordering::Release);
        self.feed.end_all(WatchEnd::Lagged);
        drop(state);
        // Freeing a whole state takes a while, and readers need not wait for it.
        drop(old);
    }

    /// Applies one committed transaction. Deterministic: equal stores given equal transactions stay equal.
    pub fn apply(&self, transaction: &Transaction, now: Instant) -> Outcome {
        let mut wake = Vec::new();
        let mut state = self.state.write();
        if let Some(precondition) = transaction.preconditions.iter().position(|precondition| !state.holds(precondition))
        {
            let key = transaction.preconditions[precondition].key();
            return Outcome::Conflict { precondition, current: state.map.get(key).cloned() };
        }
        let mut events = Vec::with_capacity(transaction.operations.len());
        for operation in &transaction.operations {
            if let Some(event) = state.change(operation) {
                self.feed.publish(&event, &mut wake);
                state.ring.push(event.clone(), now);
                events.push(event);
            }
        }
        self.compact(&mut state, now);
        self.used.store(state.used(), Ordering::Relaxed);
        self.published.store(state.revision.get(), Ordering::Release);
        drop(state);
        wake.into_iter().for_each(Waker::wake);
        Outcome::Committed(events)
    }

    /// Gives up what exceeds the limits; a few events and nodes for each write that came, so no write pays for many.
    fn compact(&self, state: &mut State, now: Instant) {
        state.garbage.free(NODES_A_STEP);
        for _ in 0..EVENTS_A_STEP {
            let Some(event) = state.ring.pop_excess(self.limits.ring_bytes_max, self.limits.ring_age_max, now) else {
                break;
            };
            self.feed.forget(&event);
        }
        while let Some(pin) = state.pins.front() {
            let excess = state.pins.len() > self.limits.pins_max
                || now.saturating_duration_since(pin.at) > self.limits.ring_age_max
                || state.retired_bytes - pin.retired_bytes > self.limits.pinned_bytes_max;
            if !excess {
                break;
            }
            if let Some(pin) = state.pins.pop_front() {
                state.garbage.add(pin.snapshot.map);
            }
        }
    }

    /// The newest version of a key.
    pub fn get(&self, key: &[u8]) -> Option<Arc<Record>> {
        self.state.read().map.get(key).cloned()
    }

    /// The newest revision.
    pub fn revision(&self) -> Revision {
        Revision::new(self.published.load(Ordering::Acquire))
    }

    /// Memory that the newest versions of all keys and the past hold, roughly.
    pub fn used_bytes(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// The oldest revision that watches and exact reads can start from (pinned snapshots aside).
    pub fn compacted(&self) -> Revision {
        self.state.read().ring.floor()
    }

    /// The newest state.
    pub fn snapshot(&self) -> Snapshot {
        self.state.read().snapshot()
    }

    /// The state as it was at a revision.
    pub fn snapshot_at(&self, revision: u64) -> Result<Snapshot, OutOfRange> {
        let state = self.state.read();
        if revision > state.revision.get() {
            return Err(OutOfRange::Future { current: state.revision });
        }
        if revision == state.revision.get() {
            return Ok(state.snapshot());
        }
        if let Some(pin) = state.pins.iter().find(|pin| pin.snapshot.revision.get() == revision) {
            return Ok(pin.snapshot.clone());
        }
        if revision < state.ring.floor().get() {
            return Err(OutOfRange::Compacted { floor: state.ring.floor() });
        }
        // Undo what came later, newest first, on a copy that shares all that did not change. The events are collected
        // first so that writers do not wait for the work.
        let mut snapshot = state.snapshot();
        let later: Vec<_> = state.ring.after(revision).cloned().collect();
        drop(state);
        for event in later.iter().rev() {
            match &event.previous {
                Some(previous) => snapshot.map.insert(previous.clone()),
                None => snapshot.map.remove(event.key()),
            };
        }
        snapshot.revision = Revision::new(revision);
        Ok(snapshot)
    }

    /// The hash of the state as it was at a revision.
    pub fn digest_at(&self, revision: u64) -> Result<Digest, OutOfRange> {
        let state = self.state.read();
        if revision > state.revision.get() {
            return Err(OutOfRange::Future { current: state.revision });
        }
        if revision < state.ring.floor().get() {
            return Err(OutOfRange::Compacted { floor: state.ring.floor() });
        }
        let mut digest = state.map.digest();
        for event in state.ring.after(revision) {
            if event.kind != EventKind::Deleted {
                digest -= event.record.digest();
            }
            if let Some(previous) = &event.previous {
                digest += previous.digest();
            }
        }
        Ok(digest)
    }

    /// Keeps a snapshot at hand for [`snapshot_at`](Self::snapshot_at), since a paged read will go on from it.
    pub fn pin(&self, snapshot: &Snapshot, now: Instant) {
        let mut state = self.state.write();
        let at = state.pins.iter().position(|pin| pin.snapshot.revision == snapshot.revision);
        // A later page keeps the time of the first: nothing is pinned for ever.
        if at.is_none() {
            let retired_bytes = state.retired_bytes;
            state.pins.push_back(Pin { snapshot: snapshot.clone(), at: now, retired_bytes });
        }
        self.compact(&mut state, now);
    }

    /// Follows the changes of `prefix` after revision `from`, which may be still to come. A prefix that does not end in `/`
    /// is one whole key.
    pub fn watch(self: &Arc<Self>, prefix: &[u8], from: u64) -> Result<Watcher, OutOfRange> {
        // Held while joining: no change may fall between reading the revision and being in the group.
        let state = self.state.read();
        if from < state.ring.floor().get() {
            return Err(OutOfRange::Compacted { floor: state.ring.floor() });
        }
        Ok(self.feed.join(self.clone(), Bytes::copy_from_slice(prefix), Revision::new(from), state.revision))
    }

    /// Shows at most `limit` events after `revision` to `visit` until it says no. False when they were compacted.
    pub(crate) fn events_after(
        &self,
        revision: Revision,
        limit: usize,
        mut visit: impl FnMut(&Arc<Event>) -> bool,
    ) -> bool {
        let state = self.state.read();
        if revision < state.ring.floor() {
            return false;
        }
        for event in state.ring.after(revision.get()).take(limit) {
            if !visit(event) {
                break;
            }
        }
        true
    }

    pub(crate) fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Ends all watches.
    pub fn close(&self) {
        self.feed.end_all(WatchEnd::Closed);
    }

    /// Sizes, for metrics.
    pub fn statistics(&self) -> Statistics {
        let state = self.state.read();
        Statistics {
            keys: state.map.len(),
            bytes: state.map.bytes(),
            ring_events: state.ring.len(),
            ring_bytes: state.ring.bytes(),
            pins: state.pins.len(),
            watchers: self.feed.watchers(),
        }
    }
}

impl State {
    fn used(&self) -> u64 {
        self.map.bytes() + self.ring.bytes() as u64
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot { map: self.map.clone(), revision: self.revision }
    }

    fn holds(&self, precondition: &Precondition) -> bool {
        match precondition {
            Precondition::Absent { key } => self.map.get(key).is_none(),
            Precondition::Unchanged { key, revision } => {
                self.map.get(key).is_some_and(|record| record.mod_revision() == *revision)
            }
        }
    }

    /// Does one operation; `None` when there was nothing to do.
    fn change(&mut self, operation: &Operation) -> Option<Arc<Event>> {
        let revision = self.revision.next();
        let event = match operation {
            Operation::Put { key, body, stamp_at, attributes } => {
                let (head, tail) = body.split_at(*stamp_at as usize);
                let (record, previous) = self.map.replace(key, |there| {
                    let created = there.map_or(revision, Record::create_revision);
                    Arc::new(Record::stamped(Parts { key, attributes, head, tail }, created, revision))
                });
                let kind = if previous.is_some() { EventKind::Updated } else { EventKind::Created };
                Event { kind, record, previous }
            }
            Operation::Delete { key } => {
                let previous = self.map.remove(key)?;
                let record = Arc::new(previous.restamped(revision));
                Event { kind: EventKind::Deleted, record, previous: Some(previous) }
            }
        };
        self.retired_bytes += event.previous.as_ref().map_or(0, |previous| previous.weight() as u64);
        self.revision = revision;
        Some(Arc::new(event))
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
