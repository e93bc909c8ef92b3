//! Charges whose objects are not in the store yet. Who counts anew meanwhile must not forget them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use apimachinery::GroupResource;
use apimachinery::meta::ObjectExt;
use parking_lot::Mutex;
use serde_json::Value;

use crate::resources::{Amounts, add};
use crate::{Attributes, Reader};

/// No request takes longer than a minute: what is not stored by then never will be.
const LONGEST: Duration = Duration::from_secs(70);
/// From so many on, those that are stored are looked for.
const SWEPT_FROM: usize = 64;

/// By namespace, in the order in which they were charged.
#[derive(Default)]
pub(super) struct Pending(Mutex<HashMap<String, Vec<Entry>>>);

struct Entry {
    quota: String,
    delta: Amounts,
    object: Charged,
    until: Instant,
}

/// The object that a charge is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Charged {
    resource: GroupResource,
    namespace: String,
    name: String,
    /// The resourceVersion that is written over; `None` if the object is to be created.
    old: Option<String>,
}

impl Charged {
    pub fn new(a: &Attributes<'_>, old: Option<&Value>) -> Self {
        Self {
            resource: GroupResource::new(a.group, a.resource),
            namespace: a.namespace.to_owned(),
            name: a.name.to_owned(),
            old: old.map(|old| old.resource_version().to_owned()),
        }
    }

    fn is_stored(&self, reader: &dyn Reader) -> bool {
        let there = reader.get(&self.resource, &self.namespace, &self.name);
        there.is_some_and(|object| self.old.as_deref() != Some(object.resource_version()))
    }
}

impl Pending {
    pub fn add(&self, reader: &dyn Reader, quota: &str, delta: &Amounts, object: &Charged) {
        let mut all = self.0.lock();
        let entries = all.entry(object.namespace.clone()).or_default();
        if entries.len() >= SWEPT_FROM && entries.len().is_power_of_two() {
            sweep(entries, reader);
        }
        let until = Instant::now() + LONGEST;
        entries.push(Entry { quota: quota.to_owned(), delta: delta.clone(), object: object.clone(), until });
    }

    /// Forgets what was added for an object that is refused after all.
    pub fn remove(&self, object: &Charged) {
        if let Some(entries) = self.0.lock().get_mut(&object.namespace) {
            entries.retain(|entry| entry.object != *object);
        }
    }

    /// What was charged to a quota for objects that a count would not see.
    pub fn of(&self, reader: &dyn Reader, namespace: &str, quota: &str) -> Amounts {
        let mut all = self.0.lock();
        let mut sum = Amounts::default();
        let Some(entries) = all.get_mut(namespace) else { return sum };
        sweep(entries, reader);
        entries.iter().filter(|entry| entry.quota == quota).for_each(|entry| add(&mut sum, &entry.delta));
        if entries.is_empty() {
            all.remove(namespace);
        }
        sum
    }
}

fn sweep(entries: &mut Vec<Entry>, reader: &dyn Reader) {
    let now = Instant::now();
    entries.retain(|entry| entry.until > now && !entry.object.is_stored(reader));
}
