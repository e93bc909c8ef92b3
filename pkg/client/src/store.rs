//! The keyed cache behind an informer, its indices and its subscribers.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Weak};

use compact_str::CompactString;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, watch};

use crate::cached::{Cached, ObjectKey};
use crate::metrics;
use crate::reflector::Sink;

/// What happened to one object. `old` and `new` are both absent never; both present is an update, which may hide a
/// deletion and re-creation (compare UIDs where that matters), because changes that were not yet read are merged.
pub struct Change<T> {
    pub key: ObjectKey,
    pub old: Option<Arc<T>>,
    pub new: Option<Arc<T>>,
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
    entries: HashMap<CompactString, HashMap<ObjectKey, Arc<T>>>,
}

impl<T> IndexState<T> {
    fn remove(&mut self, key: &ObjectKey, object: &T) {
        for value in (self.extract)(object) {
            if let Entry::Occupied(mut entry) = self.entries.entry(value) {
                entry.get_mut().remove(key);
                if entry.get().is_empty() {
                    entry.remove();
                }
            }
        }
    }

    fn insert(&mut self, key: &ObjectKey, object: &Arc<T>) {
        for value in (self.extract)(object) {
            self.entries.entry(value).or_default().insert(key.clone(), object.clone());
        }
    }
}

struct State<T> {
    objects: HashMap<CompactString, HashMap<CompactString, Arc<T>>>,
    indices: Vec<IndexState<T>>,
    subscribers: Vec<Weak<Pending<T>>>,
    len: usize,
}

impl<T: Cached> State<T> {
    fn get(&self, key: &ObjectKey) -> Option<&Arc<T>> {
        self.objects.get(&key.namespace)?.get(&key.name)
    }

    /// Puts or removes one object and tells the subscribers. Everything that happens to the store happens here.
    fn set(&mut self, key: ObjectKey, new: Option<Arc<T>>) {
        let old = match &new {
            Some(new) => {
                let namespace = self.objects.entry(key.namespace.clone()).or_default();
                namespace.insert(key.name.clone(), new.clone())
            }
            None => self.take(&key),
        };
        if old.is_none() && new.is_none() {
            return;
        }
        self.len = self.len + usize::from(new.is_some()) - usize::from(old.is_some());
        for index in &mut self.indices {
            if let Some(old) = &old {
                index.remove(&key, old);
            }
            if let Some(new) = &new {
                index.insert(&key, new);
            }
        }
        self.subscribers.retain(|subscriber| match subscriber.upgrade() {
            Some(pending) => {
                pending.push(Change { key: key.clone(), old: old.clone(), new: new.clone() });
                true
            }
            None => false,
        });
    }

    fn take(&mut self, key: &ObjectKey) -> Option<Arc<T>> {
        let namespace = self.objects.get_mut(&key.namespace)?;
        let old = namespace.remove(&key.name);
        if namespace.is_empty() {
            self.objects.remove(&key.namespace);
        }
        old
    }

    fn all(&self) -> impl Iterator<Item = &Arc<T>> {
        self.objects.values().flat_map(HashMap::values)
    }
}

/// The contents and those who read them. The reflector's task and every handle share one.
pub(crate) struct Core<T> {
    resource: String,
    state: RwLock<State<T>>,
    synced: watch::Sender<bool>,
}

impl<T: Cached> Core<T> {
    pub(crate) fn new(resource: String) -> Self {
        let state = State { objects: HashMap::new(), indices: Vec::new(), subscribers: Vec::new(), len: 0 };
        Self { resource, state: RwLock::new(state), synced: watch::Sender::new(false) }
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
            pending.push(Change { key: ObjectKey::of(&**object), old: None, new: Some(object.clone()) });
        }
        state.subscribers.push(Arc::downgrade(&pending));
        pending
    }
}

impl<T: Cached> Sink<T> for Arc<Core<T>> {
    fn revision(object: &T) -> &str {
        object.resource_version()
    }

    fn replace(&mut self, objects: Vec<T>) {
        let mut state = self.state.write();
        let mut gone: HashSet<ObjectKey> = state.all().map(|object| ObjectKey::of(&**object)).collect();
        let resync = self.is_synced();
        let mut changes = 0_u64;
        for object in objects {
            let key = ObjectKey::of(&object);
            gone.remove(&key);
            let same = state.get(&key).is_some_and(|old| old.resource_version() == object.resource_version());
            if !same {
                changes += 1;
                state.set(key, Some(kept(object)));
            }
        }
        changes += gone.len() as u64;
        for key in gone {
            state.set(key, None);
        }
        drop(state);
        if resync {
            metrics::relist_changes(&self.resource, changes);
        }
        self.synced.send_replace(true);
    }

    fn upsert(&mut self, object: T) {
        let key = ObjectKey::of(&object);
        self.state.write().set(key, Some(kept(object)));
    }

    fn delete(&mut self, object: T) {
        let key = ObjectKey::of(&object);
        let mut state = self.state.write();
        if state.get(&key).is_some() {
            // Subscribers see the object as it was at its deletion, not an older state.
            let namespace = state.objects.entry(key.namespace.clone()).or_default();
            if let Some(old) = namespace.insert(key.name.clone(), kept(object)) {
                let last = namespace[&key.name].clone();
                for index in &mut state.indices {
                    index.remove(&key, &old);
                    index.insert(&key, &last);
                }
            }
            state.set(key, None);
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
                index.insert(&ObjectKey::of(&**object), object);
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
    fn push(&self, change: Change<T>) {
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
