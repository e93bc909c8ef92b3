//! A queue of keys for level-triggered loops: a key is in it at most once, is never handled by two workers at once, and
//! is handled again when it was added while being handled.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::metrics;

/// The wait after a key's first failure, doubled with each further one up to the longest.
const BACKOFF_MIN: Duration = Duration::from_millis(5);
const BACKOFF_MAX: Duration = Duration::from_secs(1000);

struct State<K> {
    ready: VecDeque<K>,
    /// Keys that wait to be handled, with when they were added: those in `ready`, and those that were added while
    /// being handled.
    dirty: HashMap<K, Instant>,
    processing: HashMap<K, Instant>,
    /// Keys to add later; of several entries for a key the one that equals `due` counts.
    later: BinaryHeap<Reverse<(Instant, u64)>>,
    later_keys: HashMap<u64, K>,
    due: HashMap<K, (Instant, u64)>,
    sequence: u64,
    failures: HashMap<K, u32>,
    closed: bool,
}

/// A work queue; clones share it.
pub struct WorkQueue<K> {
    inner: Arc<Inner<K>>,
}

struct Inner<K> {
    state: Mutex<State<K>>,
    changed: Notify,
    metrics: metrics::Queue,
}

impl<K> Clone for WorkQueue<K> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<K: Clone + Eq + Hash> WorkQueue<K> {
    /// `name` is the `name` label of the `workqueue_*` metrics.
    pub fn new(name: &str) -> Self {
        let state = State {
            ready: VecDeque::new(),
            dirty: HashMap::new(),
            processing: HashMap::new(),
            later: BinaryHeap::new(),
            later_keys: HashMap::new(),
            due: HashMap::new(),
            sequence: 0,
            failures: HashMap::new(),
            closed: false,
        };
        let inner = Inner { state: Mutex::new(state), changed: Notify::new(), metrics: metrics::Queue::new(name) };
        Self { inner: Arc::new(inner) }
    }

    /// Adds a key to be handled now.
    pub fn add(&self, key: K) {
        let mut state = self.inner.state.lock();
        self.add_locked(&mut state, key);
    }

    fn add_locked(&self, state: &mut State<K>, key: K) {
        if state.closed || state.dirty.contains_key(&key) {
            return;
        }
        state.dirty.insert(key.clone(), Instant::now());
        self.inner.metrics.adds.inc();
        if !state.processing.contains_key(&key) {
            state.ready.push_back(key);
            self.inner.metrics.depth.set(i64::try_from(state.ready.len()).unwrap_or(i64::MAX));
            self.inner.changed.notify_one();
        }
    }

    /// Adds a key to be handled after `delay`; the earliest of several requests counts.
    pub fn add_after(&self, key: K, delay: Duration) {
        if delay.is_zero() {
            return self.add(key);
        }
        let mut state = self.inner.state.lock();
        let at = Instant::now() + delay;
        if state.closed || state.due.get(&key).is_some_and(|(due, _)| *due <= at) {
            return;
        }
        state.sequence += 1;
        let sequence = state.sequence;
        state.later.push(Reverse((at, sequence)));
        state.later_keys.insert(sequence, key.clone());
        if let Some((_, stale)) = state.due.insert(key, (at, sequence)) {
            state.later_keys.remove(&stale);
        }
        // Whoever waits has to wait for the new earliest deadline.
        self.inner.changed.notify_one();
    }

    /// Adds a key that failed, after a wait that doubles with each failure since the last [`Self::forget`].
    pub fn add_rate_limited(&self, key: K) {
        let failures = {
            let mut state = self.inner.state.lock();
            let failures = state.failures.entry(key.clone()).or_insert(0);
            *failures += 1;
            *failures - 1
        };
        self.inner.metrics.retries.inc();
        let delay = BACKOFF_MIN.saturating_mul(1 << failures.min(20)).min(BACKOFF_MAX);
        self.add_after(key, delay);
    }

    /// Clears a key's failures: it was handled.
    pub fn forget(&self, key: &K) {
        self.inner.state.lock().failures.remove(key);
    }

    /// How often the key failed since it was last forgotten.
    pub fn failures(&self, key: &K) -> u32 {
        self.inner.state.lock().failures.get(key).copied().unwrap_or(0)
    }

    /// The next key to handle; waits for one. `None` after [`Self::close`]. Each key got must be given back with
    /// [`Self::done`]. Cancel-safe.
    pub async fn get(&self) -> Option<K> {
        loop {
            let deadline = {
                let mut state = self.inner.state.lock();
                self.promote_due(&mut state);
                if state.closed {
                    // Pass it on: every worker has to hear of it.
                    self.inner.changed.notify_one();
                    return None;
                }
                if let Some(key) = self.take(&mut state) {
                    return Some(key);
                }
                state.later.peek().map(|Reverse((at, _))| *at)
            };
            let changed = self.inner.changed.notified();
            match deadline {
                None => changed.await,
                Some(at) => tokio::select! {
                    () = changed => {}
                    () = sleep_until(at) => {}
                },
            }
        }
    }

    fn take(&self, state: &mut State<K>) -> Option<K> {
        let key = state.ready.pop_front()?;
        let now = Instant::now();
        if let Some(added) = state.dirty.remove(&key) {
            self.inner.metrics.waited.observe((now - added).as_secs_f64());
        }
        state.processing.insert(key.clone(), now);
        self.inner.metrics.depth.set(i64::try_from(state.ready.len()).unwrap_or(i64::MAX));
        if !state.ready.is_empty() || !state.later.is_empty() {
            // One wake-up is stored at most: hand on what this worker does not take.
            self.inner.changed.notify_one();
        }
        Some(key)
    }

    fn promote_due(&self, state: &mut State<K>) {
        let now = Instant::now();
        while let Some(Reverse((at, sequence))) = state.later.peek().copied() {
            let Some(key) = state.later_keys.get(&sequence) else {
                state.later.pop();
                continue;
            };
            if at > now {
                return;
            }
            let key = key.clone();
            state.later.pop();
            state.later_keys.remove(&sequence);
            state.due.remove(&key);
            self.add_locked(state, key);
        }
    }

    /// The key was handled; if it was added meanwhile, it is ready again.
    pub fn done(&self, key: &K) {
        let mut state = self.inner.state.lock();
        if let Some(started) = state.processing.remove(key) {
            self.inner.metrics.worked.observe(started.elapsed().as_secs_f64());
        }
        if state.dirty.contains_key(key) {
            state.ready.push_back(key.clone());
            self.inner.metrics.depth.set(i64::try_from(state.ready.len()).unwrap_or(i64::MAX));
            self.inner.changed.notify_one();
        }
    }

    /// Keys that are ready to be handled.
    pub fn len(&self) -> usize {
        self.inner.state.lock().ready.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Keys that are ready, being handled or waiting for their time: for tests and for "is there anything left to do".
    pub fn pending(&self) -> usize {
        let state = self.inner.state.lock();
        let keys: HashSet<&K> = state.dirty.keys().chain(state.processing.keys()).chain(state.due.keys()).collect();
        keys.len()
    }

    /// Makes every [`Self::get`] answer `None`; further additions are ignored.
    pub fn close(&self) {
        self.inner.state.lock().closed = true;
        self.inner.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_key_is_never_handled_twice_at_once() {
        let queue = WorkQueue::new("test");
        queue.add("a");
        queue.add("a");
        assert_eq!(queue.get().await, Some("a"));
        queue.add("a");
        assert_eq!(queue.len(), 0, "it is being handled");
        queue.done(&"a");
        assert_eq!(queue.get().await, Some("a"), "it was added while being handled");
        queue.done(&"a");
        assert_eq!(queue.pending(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_earliest_of_several_delays_counts() {
        let queue = WorkQueue::new("test");
        let start = Instant::now();
        queue.add_after("a", Duration::from_secs(10));
        queue.add_after("a", Duration::from_secs(2));
        queue.add_after("a", Duration::from_secs(5));
        queue.add_after("b", Duration::from_secs(4));
        assert_eq!(queue.get().await, Some("a"));
        assert_eq!(start.elapsed().as_secs(), 2);
        assert_eq!(queue.get().await, Some("b"));
        assert_eq!(start.elapsed().as_secs(), 4);
        queue.done(&"a");
        queue.done(&"b");
        assert_eq!(queue.pending(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_wait_longer_until_forgotten() {
        let queue = WorkQueue::new("test");
        let mut waits = Vec::new();
        for _ in 0..4 {
            let start = Instant::now();
            queue.add_rate_limited("a");
            assert_eq!(queue.get().await, Some("a"));
            waits.push(start.elapsed().as_millis());
            queue.done(&"a");
        }
        assert_eq!(waits, [5, 10, 20, 40]);
        queue.forget(&"a");
        assert_eq!(queue.failures(&"a"), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_shorter_delay_wakes_a_sleeping_worker() {
        let queue = WorkQueue::new("test");
        queue.add_after("late", Duration::from_secs(3600));
        let worker = tokio::spawn({
            let queue = queue.clone();
            async move { (queue.get().await, Instant::now()) }
        });
        tokio::task::yield_now().await;
        let start = Instant::now();
        queue.add_after("soon", Duration::from_secs(1));
        let (key, at) = worker.await.unwrap();
        assert_eq!((key, (at - start).as_secs()), (Some("soon"), 1));
    }

    #[tokio::test]
    async fn closing_wakes_every_worker() {
        let queue = WorkQueue::<&str>::new("test");
        let workers: Vec<_> = (0..3)
            .map(|_| {
                tokio::spawn({
                    let queue = queue.clone();
                    async move { queue.get().await }
                })
            })
            .collect();
        tokio::task::yield_now().await;
        queue.close();
        for worker in workers {
            assert_eq!(tokio::time::timeout(Duration::from_secs(5), worker).await.unwrap().unwrap(), None);
        }
    }
}
