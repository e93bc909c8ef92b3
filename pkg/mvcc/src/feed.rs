//! Who is told of a change, and when.
//!
//! Watchers of one prefix share a group. A change is put into the queue of every group that it concerns, once, whatever
//! the number of watchers; each watcher has only a position. A queue holds nothing that the ring does not hold, so
//! watchers cost no memory however slow they are, and one whose position left the ring is told so.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::{Event, Revision, Store};

/// Why a watch is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WatchEnd {
    /// The watcher was so slow that changes it had not seen were compacted. It has to list again.
    #[error("the watcher fell behind the compacted revision")]
    Lagged,
    /// The store was closed.
    #[error("the store was closed")]
    Closed,
}

/// All groups, by prefix.
#[derive(Default)]
pub(crate) struct Feed {
    groups: Mutex<Groups>,
    /// So that a store without watchers does not even look.
    group_count: AtomicUsize,
    next_id: AtomicU64,
}

#[derive(Default)]
struct Groups {
    by_prefix: HashMap<Bytes, Arc<Group>>,
    /// How many prefixes have a length. Most of a key's prefixes have one that no group's has, and are not even hashed.
    lengths: BTreeMap<usize, usize>,
}

impl Groups {
    /// Those who are told of changes of `key`.
    fn of<'a>(&'a self, key: &'a [u8]) -> impl Iterator<Item = &'a Arc<Group>> {
        let possible = prefixes(key).filter(|prefix| self.lengths.contains_key(&prefix.len()));
        possible.filter_map(|prefix| self.by_prefix.get(prefix))
    }

    /// The group of `prefix`, made by `make` if there is none.
    fn get_or_make(&mut self, prefix: Bytes, make: impl FnOnce(Bytes) -> Group) -> Arc<Group> {
        match self.by_prefix.entry(prefix) {
            Entry::Occupied(group) => group.get().clone(),
            Entry::Vacant(slot) => {
                let prefix = slot.key().clone();
                *self.lengths.entry(prefix.len()).or_default() += 1;
                slot.insert(Arc::new(make(prefix))).clone()
            }
        }
    }

    fn remove(&mut self, group: &Arc<Group>) {
        let Entry::Occupied(there) = self.by_prefix.entry(group.prefix.clone()) else { return };
        // Another may have been made after all ended.
        if !Arc::ptr_eq(there.get(), group) {
            return;
        }
        there.remove();
        let length = group.prefix.len();
        if let Some(count) = self.lengths.get_mut(&length) {
            *count -= 1;
            if *count == 0 {
                self.lengths.remove(&length);
            }
        }
    }
}

struct Group {
    prefix: Bytes,
    state: Mutex<GroupState>,
}

struct GroupState {
    /// The queue holds all of the prefix's events after this revision (and after the ring's floor).
    since: Revision,
    /// Position of the queue's front; positions only grow.
    front: u64,
    queue: VecDeque<Arc<Event>>,
    watchers: usize,
    waiting: HashMap<u64, Waker>,
    end: Option<WatchEnd>,
}

impl GroupState {
    fn back(&self) -> u64 {
        self.front + self.queue.len() as u64
    }
}

/// The prefixes that a watcher of `key` may have asked for: every one that ends in `/`, and the key itself.
fn prefixes(key: &[u8]) -> impl Iterator<Item = &[u8]> {
    let parents = key.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| &key[..=at]);
    parents.chain((key.last() != Some(&b'/')).then_some(key))
}

/// Whether a watcher of `prefix` is told of changes of `key`.
pub(crate) fn concerns(prefix: &[u8], key: &[u8]) -> bool {
    if prefix.last() == Some(&b'/') { key.starts_with(prefix) } else { key == prefix }
}

impl Feed {
    /// Queues an event and collects those to wake. Called in revision order, before the revision is published.
    pub(crate) fn publish(&self, event: &Arc<Event>, wake: &mut Vec<Waker>) {
        if self.group_count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let groups = self.groups.lock();
        for group in groups.of(event.key()) {
            let mut state = group.state.lock();
            state.queue.push_back(event.clone());
            wake.extend(state.waiting.drain().map(|(_, waker)| waker));
        }
    }

    /// Drops an event that left the ring.
    pub(crate) fn forget(&self, event: &Event) {
        if self.group_count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let groups = self.groups.lock();
        for group in groups.of(event.key()) {
            let mut state = group.state.lock();
            while state.queue.front().is_some_and(|front| front.revision() <= event.revision()) {
                state.queue.pop_front();
                state.front += 1;
            }
        }
    }

    /// Ends every watch.
    pub(crate) fn end_all(&self, end: WatchEnd) {
        let groups = std::mem::take(&mut *self.groups.lock());
        self.group_count.store(0, Ordering::Relaxed);
        for group in groups.by_prefix.into_values() {
            let mut state = group.state.lock();
            state.end = Some(end);
            let waiting = std::mem::take(&mut state.waiting);
            drop(state);
            waiting.into_values().for_each(Waker::wake);
        }
    }

    pub(crate) fn watchers(&self) -> usize {
        self.groups.lock().by_prefix.values().map(|group| group.state.lock().watchers).sum()
    }

    /// Joins the group of `prefix`. The caller keeps changes out meanwhile and has checked `from` against the ring.
    pub(crate) fn join(&self, store: Arc<Store>, prefix: Bytes, from: Revision, current: Revision) -> Watcher {
        let mut groups = self.groups.lock();
        let group = groups.get_or_make(prefix, |prefix| {
            let state = GroupState {
                since: current,
                front: 0,
                queue: VecDeque::new(),
                watchers: 0,
                waiting: HashMap::new(),
                end: None,
            };
            Group { prefix, state: Mutex::new(state) }
        });
        self.group_count.store(groups.by_prefix.len(), Ordering::Relaxed);
        let mut state = group.state.lock();
        state.watchers += 1;
        // Not before it is counted: the last of the others may leave now, and a group without watchers goes.
        drop(groups);
        // The queue reaches back far enough for most; the others read the ring up to where the queue begins.
        let (position, catch_up) = if from >= state.since {
            let skip = state.queue.partition_point(|event| event.revision() <= from);
            (state.front + skip as u64, None)
        } else {
            (state.back(), Some(CatchUp { done: from, until: current }))
        };
        drop(state);
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        Watcher { store, group, id, position, catch_up, from }
    }

    fn leave(&self, group: &Arc<Group>, id: u64) {
        let mut groups = self.groups.lock();
        let mut state = group.state.lock();
        state.waiting.remove(&id);
        state.watchers -= 1;
        let last = state.watchers == 0;
        drop(state);
        if last {
            groups.remove(group);
            self.group_count.store(groups.by_prefix.len(), Ordering::Relaxed);
        }
    }
}

/// Revisions that are still to be read from the ring.
struct CatchUp {
    done: Revision,
    until: Revision,
}

/// Events looked at in one step of catching up, so that no lock is held for long.
const CATCH_UP_STEP: usize = 512;

/// One reader's place in the changes of a prefix. Waiting costs nothing; dropping it leaves the group.
pub struct Watcher {
    store: Arc<Store>,
    group: Arc<Group>,
    id: u64,
    position: u64,
    catch_up: Option<CatchUp>,
    /// Nothing up to here is handed out. May lie in the future.
    from: Revision,
}

impl Watcher {
    /// Appends at least one and at most `max` further events to `out`, or registers the task to be woken.
    pub fn poll(
        &mut self,
        context: &mut Context<'_>,
        max: usize,
        out: &mut VecDeque<Arc<Event>>,
    ) -> Poll<Result<(), WatchEnd>> {
        while self.catch_up.is_some() {
            let before = out.len();
            self.step_catch_up(max, out)?;
            if out.len() > before {
                return Poll::Ready(Ok(()));
            }
        }
        let mut state = self.group.state.lock();
        if let Some(end) = state.end {
            return Poll::Ready(Err(end));
        }
        if self.position < state.front {
            return Poll::Ready(Err(WatchEnd::Lagged));
        }
        let mut skip = (self.position - state.front) as usize;
        // Only of a watch from a revision that is still to come.
        while state.queue.get(skip).is_some_and(|event| event.revision() <= self.from) {
            skip += 1;
            self.position += 1;
        }
        let taken = (state.queue.len() - skip).min(max);
        if taken == 0 {
            state.waiting.insert(self.id, context.waker().clone());
            return Poll::Pending;
        }
        out.extend(state.queue.range(skip..skip + taken).cloned());
        self.position += taken as u64;
        Poll::Ready(Ok(()))
    }

    fn step_catch_up(&mut self, max: usize, out: &mut VecDeque<Arc<Event>>) -> Result<(), WatchEnd> {
        let Some(CatchUp { done, until }) = &mut self.catch_up else { return Ok(()) };
        let before = out.len();
        let found = self.store.events_after(*done, CATCH_UP_STEP, |event| {
            if event.revision() > *until || out.len() - before >= max {
                return false;
            }
            *done = event.revision();
            if concerns(&self.group.prefix, event.key()) {
                out.push_back(event.clone());
            }
            true
        });
        if !found {
            return Err(WatchEnd::Lagged);
        }
        if *done >= *until {
            self.catch_up = None;
        }
        Ok(())
    }

    /// A revision such that all of the prefix's events up to it were handed out by [`poll`](Self::poll). `None` if that is not
    /// known any more, since it fell behind or the watch is over: `poll` says so.
    pub fn progress(&self) -> Option<Revision> {
        if let Some(catch_up) = &self.catch_up {
            return Some(catch_up.done);
        }
        // Read before the queue: an event is queued before its revision is published.
        let published = self.store.revision();
        let state = self.group.state.lock();
        if state.end.is_some() {
            return None;
        }
        let skip = self.position.checked_sub(state.front)? as usize;
        Some(match state.queue.get(skip) {
            // The revision before the next event; exact, since there is an event for each revision.
            Some(event) => Revision::new(event.revision().get() - 1),
            None => published,
        })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.store.feed().leave(&self.group, self.id);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // A failed expectation is what a test is for.
#[path = "feed_tests.rs"]
mod tests;
