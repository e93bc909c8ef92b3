//! The keyed cache behind an informer, its indices, and those who are told of its changes.

mod handler;
mod subscription;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Weak};

use compact_str::CompactString;
use parking_lot::{Mutex, RwLock, RwLockWriteGuard};
use tokio::sync::{Notify, watch};

use self::handler::Callee;
pub use self::handler::Handler;
use self::subscription::Pending;
pub use self::subscription::Subscription;
use crate::cached::{Cached, ObjectKey};
use crate::metrics;
use crate::reflector::Sink;

/// What happened to one object. `old` and `new` are both absent never; both present is an update, which may hide a
/// deletion and re-creation (compare UIDs where that matters): a relist tells no more than what is there, and changes that
/// a [`Subscription`] has not read yet are merged.
pub struct Change<T> {
    pub key: ObjectKey,
    pub old: Option<Arc<T>>,
    pub new: Option<Arc<T>>,
}

impl<T> Clone for Change<T> {
    fn clone(&self) -> Self {
        Self { key: self.key.clone(), old: self.old.clone(), new: self.new.clone() }
    }
}

impl<T: Cached> Change<T> {
    fn addition(object: Arc<T>) -> Self {
        Self { key: ObjectKey::of(&*object), old: None, new: Some(object) }
    }
}

impl<T> Change<T> {
    /// The newest state that is known: of the object as it is, or as it was when it went away.
    pub fn latest(&self) -> Option<&Arc<T>> {
        self.new.as_ref().or(self.old.as_ref())
    }
}

type Extract<T> = Box<dyn Fn(&T) -> Vec<CompactString> + Send + Sync>;

struct IndexState<T> {
    name: &'static str,
    extract: Extract<T>,
    /// The objects of each value by [`address`].
    entries: HashMap<CompactString, HashMap<usize, Arc<T>>>,
}

/// Tells apart the objects that are held: smaller and cheaper than their keys.
fn address<T>(object: &Arc<T>) -> usize {
    Arc::as_ptr(object).addr()
}

impl<T> IndexState<T> {
    fn change(&mut self, old: Option<&Arc<T>>, new: Option<&Arc<T>>) {
        let after = new.map(|new| (self.extract)(new)).unwrap_or_default();
        if let Some(old) = old {
            for value in (self.extract)(old) {
                let Some(objects) = self.entries.get_mut(&value) else { continue };
                objects.remove(&address(old));
                if objects.is_empty() && !after.contains(&value) {
                    self.entries.remove(&value);
                }
            }
        }
        let Some(new) = new else { return };
        for value in after {
            self.entries.entry(value).or_default().insert(address(new), new.clone());
        }
    }
}

struct State<T> {
    objects: HashMap<CompactString, HashMap<CompactString, Arc<T>>>,
    indices: Vec<IndexState<T>>,
    subscribers: Vec<Weak<Pending<T>>>,
    /// Handlers that were not told the contents yet.
    arrived: VecDeque<Weak<Callee<T>>>,
    len: usize,
}

impl<T: Cached> State<T> {
    fn get(&self, key: &ObjectKey) -> Option<&Arc<T>> {
        self.objects.get(&key.namespace)?.get(&key.name)
    }

    fn put(&mut self, key: ObjectKey, new: Arc<T>) -> Change<T> {
        let namespace = self.objects.entry(key.namespace.clone()).or_default();
        let old = namespace.insert(key.name.clone(), new.clone());
        self.len += usize::from(old.is_none());
        for index in &mut self.indices {
            index.change(old.as_ref(), Some(&new));
        }
        self.published(Change { key, old, new: Some(new) })
    }

    /// `last` is the object as it was at its deletion: those who are told see it instead of an older state.
    fn remove(&mut self, key: ObjectKey, last: Option<Arc<T>>) -> Option<Change<T>> {
        let namespace = self.objects.get_mut(&key.namespace)?;
        let old = namespace.remove(&key.name)?;
        if namespace.is_empty() {
            self.objects.remove(&key.namespace);
        }
        self.len -= 1;
        for index in &mut self.indices {
            index.change(Some(&old), None);
        }
        Some(self.published(Change { key, old: last.or(Some(old)), new: None }))
    }

    /// Queues the change for the subscribers, and hands it back for the handlers, which are called without the lock.
    fn published(&mut self, change: Change<T>) -> Change<T> {
        self.subscribers.retain(|subscriber| match subscriber.upgrade() {
            Some(pending) => {
                pending.push(change.clone());
                true
            }
            None => false,
        });
        change
    }

    fn all(&self) -> impl Iterator<Item = &Arc<T>> {
        self.objects.values().flat_map(HashMap::values)
    }
}

/// The contents and those who read them. The reflector's task and every handle share one.
pub(crate) struct Core<T> {
    resource: String,
    state: RwLock<State<T>>,
    /// Those that were told the contents. Locked while they are called, by the reflector's task alone.
    handlers: Mutex<Vec<Weak<Callee<T>>>>,
    /// Wakes the reflector's task for a handler that came.
    arrival: Notify,
    synced: watch::Sender<bool>,
}

impl<T: Cached> Core<T> {
    pub(crate) fn new(resource: String) -> Self {
        let state = State {
            objects: HashMap::new(),
            indices: Vec::new(),
            subscribers: Vec::new(),
            arrived: VecDeque::new(),
            len: 0,
        };
        let (handlers, arrival) = (Mutex::default(), Notify::new());
        Self { resource, state: RwLock::new(state), handlers, arrival, synced: watch::Sender::new(false) }
    }

    pub(crate) async fn synced(&self) {
        // The sender lives in self, so waiting cannot fail.
        let _ = self.synced.subscribe().wait_for(|synced| *synced).await;
    }

    pub(crate) fn is_synced(&self) -> bool {
        *self.synced.borrow()
    }

    pub(crate) fn subscribe(&self) -> Arc<Pending<T>> {
        let pending = Arc::new(Pending::default());
        let mut state = self.state.write();
        for object in state.all() {
            pending.push(Change::addition(object.clone()));
        }
        state.subscribers.push(Arc::downgrade(&pending));
        pending
    }

    /// The callee is told the contents before anything else happens to them.
    pub(crate) fn register(&self, callee: &Arc<Callee<T>>) {
        self.state.write().arrived.push_back(Arc::downgrade(callee));
        self.arrival.notify_one();
    }

    /// Tells handlers the contents as they come. Has to run in the reflector's task, so that it does so between events.
    pub(crate) async fn greet(&self) {
        loop {
            self.arrival.notified().await;
            while self.greet_one() {
                // There may be many objects, and many handlers at a start.
                tokio::task::yield_now().await;
            }
        }
    }

    fn greet_one(&self) -> bool {
        let mut state = self.state.write();
        let Some(arrived) = state.arrived.pop_front() else { return false };
        let contents: Vec<Arc<T>> = state.all().cloned().collect();
        drop(state);
        let tell = |callee: Arc<Callee<T>>| contents.into_iter().all(|object| callee.call(&Change::addition(object)));
        if arrived.upgrade().is_some_and(tell) {
            self.handlers.lock().push(arrived);
        }
        true
    }

    /// The state, to be changed: every handler knows what it is now.
    fn state_to_change(&self) -> RwLockWriteGuard<'_, State<T>> {
        loop {
            let state = self.state.write();
            if state.arrived.is_empty() {
                return state;
            }
            drop(state);
            self.greet_one();
        }
    }

    fn tell(&self, change: &Change<T>) {
        self.handlers.lock().retain(|handler| handler.upgrade().is_some_and(|callee| callee.call(change)));
    }
}

impl<T: Cached> Sink<T> for Arc<Core<T>> {
    fn revision(object: &T) -> &str {
        object.resource_version()
    }

    fn replace(&mut self, objects: Vec<T>) {
        let mut state = self.state_to_change();
        let mut gone: HashSet<ObjectKey> = state.all().map(|object| ObjectKey::of(&**object)).collect();
        let mut changes = Vec::new();
        for object in objects {
            let key = ObjectKey::of(&object);
            gone.remove(&key);
            let same = state.get(&key).is_some_and(|old| old.resource_version() == object.resource_version());
            if !same {
                changes.push(state.put(key, kept(object)));
            }
        }
        changes.extend(gone.into_iter().filter_map(|key| state.remove(key, None)));
        drop(state);
        if self.is_synced() {
            metrics::relist_changes(&self.resource, changes.len() as u64);
        }
        for change in changes {
            self.tell(&change);
        }
        self.synced.send_replace(true);
    }

    fn upsert(&mut self, object: T) {
        let (key, object) = (ObjectKey::of(&object), kept(object));
        let change = self.state_to_change().put(key, object);
        self.tell(&change);
    }

    fn delete(&mut self, object: T) {
        let (key, object) = (ObjectKey::of(&object), kept(object));
        let change = self.state_to_change().remove(key, Some(object));
        if let Some(change) = change {
            self.tell(&change);
        }
    }
}

/// An object as it is held: without what no loop reads.
fn kept<T: Cached>(mut object: T) -> Arc<T> {
    object.forget_owners();
    Arc::new(object)
}

/// A reading handle to an informer's contents. Cheap to clone; holding one keeps the informer running.
pub struct Store<T> {
    core: Arc<Core<T>>,
    _running: Arc<dyn Send + Sync>,
}

impl<T> Clone for Store<T> {
    fn clone(&self) -> Self {
        Self { core: self.core.clone(), _running: self._running.clone() }
    }
}

impl<T: Cached> Store<T> {
    pub(crate) fn new(core: Arc<Core<T>>, running: Arc<dyn Send + Sync>) -> Self {
        Self { core, _running: running }
    }

    /// The object, if it is there. The namespace is empty for cluster-scoped kinds.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<T>> {
        self.core.state.read().objects.get(namespace)?.get(name).cloned()
    }

    pub fn get_key(&self, key: &ObjectKey) -> Option<Arc<T>> {
        self.core.state.read().get(key).cloned()
    }

    /// All objects, in no order.
    pub fn list(&self) -> Vec<Arc<T>> {
        self.core.state.read().all().cloned().collect()
    }

    /// The objects of one namespace, in no order.
    pub fn list_namespace(&self, namespace: &str) -> Vec<Arc<T>> {
        let state = self.core.state.read();
        state.objects.get(namespace).map(|objects| objects.values().cloned().collect()).unwrap_or_default()
    }

    pub fn len(&self) -> usize {
        self.core.state.read().len
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// An index by what `extract` finds in an object. The name identifies it: asking again for the same name gives the
    /// first one's index, so a name must always come with the same function.
    pub fn index(
        &self,
        name: &'static str,
        extract: impl Fn(&T) -> Vec<CompactString> + Send + Sync + 'static,
    ) -> Index<T> {
        let mut state = self.core.state.write();
        let slot = state.indices.iter().position(|index| index.name == name).unwrap_or_else(|| {
            let mut index = IndexState { name, extract: Box::new(extract), entries: HashMap::new() };
            for object in state.all() {
                index.change(None, Some(object));
            }
            state.indices.push(index);
            state.indices.len() - 1
        });
        Index { store: self.clone(), slot }
    }
}

/// One index of a [`Store`].
pub struct Index<T> {
    store: Store<T>,
    slot: usize,
}

impl<T> Clone for Index<T> {
    fn clone(&self) -> Self {
        Self { store: self.store.clone(), slot: self.slot }
    }
}

impl<T: Cached> Index<T> {
    /// The objects for which the index' function named `value`, in no order.
    pub fn get(&self, value: &str) -> Vec<Arc<T>> {
        let state = self.store.core.state.read();
        let entries = state.indices[self.slot].entries.get(value);
        entries.map(|objects| objects.values().cloned().collect()).unwrap_or_default()
    }

    pub fn count(&self, value: &str) -> usize {
        self.store.core.state.read().indices[self.slot].entries.get(value).map_or(0, HashMap::len)
    }
}
