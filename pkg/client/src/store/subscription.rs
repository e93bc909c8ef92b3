//! Subscriptions: changes that wait until somebody has time for them.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Change;
use crate::cached::{Cached, ObjectKey};

/// The order in which objects changed first, and what happened to each.
type Merged<T> = (VecDeque<ObjectKey>, HashMap<ObjectKey, Change<T>>);

/// Changes that a subscriber has not read yet: at most one an object, so it is bounded by the number of objects, never
/// loses a change and never makes the reflector wait.
pub(crate) struct Pending<T> {
    changes: Mutex<Merged<T>>,
    ready: Notify,
}

impl<T> Default for Pending<T> {
    fn default() -> Self {
        Self { changes: Mutex::default(), ready: Notify::new() }
    }
}

impl<T> Pending<T> {
    pub(super) fn push(&self, change: Change<T>) {
        let mut guard = self.changes.lock();
        let (order, changes) = &mut *guard;
        match changes.entry(change.key.clone()) {
            Entry::Vacant(entry) => {
                order.push_back(change.key.clone());
                entry.insert(change);
            }
            // What the subscriber saw last stays `old`, also when the object came and went meanwhile.
            Entry::Occupied(mut entry) => {
                let merged = entry.get_mut();
                if merged.old.is_none() && change.new.is_none() {
                    // Created and deleted unseen: tell of the deletion, for a subscriber may have acted on the name.
                    merged.old = change.old;
                }
                merged.new = change.new;
            }
        }
        drop(guard);
        self.ready.notify_one();
    }

    fn pop(&self) -> Option<Change<T>> {
        let mut guard = self.changes.lock();
        let (order, changes) = &mut *guard;
        let key = order.pop_front()?;
        changes.remove(&key)
    }
}

/// A stream of [`Change`]s: first the contents at subscription as additions, then everything after that. Changes of one
/// object that were not yet read are merged into one; objects come in the order of their first unread change.
pub struct Subscription<T> {
    pending: Arc<Pending<T>>,
    _running: Arc<dyn Send + Sync>,
}

impl<T: Cached> Subscription<T> {
    pub(crate) fn new(pending: Arc<Pending<T>>, running: Arc<dyn Send + Sync>) -> Self {
        Self { pending, _running: running }
    }

    /// The next change; waits for one. Cancel-safe. (`Option` so that it reads well in `while let`; it never ends.)
    pub async fn next(&mut self) -> Option<Change<T>> {
        loop {
            if let Some(change) = self.pending.pop() {
                return Some(change);
            }
            self.pending.ready.notified().await;
        }
    }

    /// A change that is there already.
    pub fn try_next(&mut self) -> Option<Change<T>> {
        self.pending.pop()
    }
}
