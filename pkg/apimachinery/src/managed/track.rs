//! Who owns what after a create, an update or a patch.

use serde_json::{Map, Value};

use super::compare::Comparison;
use super::entry::{Entry, Managers, Operation};
use super::set::FieldSet;
use super::updater::{Updater, Versioned};

/// Managers with longer names are cut or refused, as upstream does.
pub const MANAGER_LENGTH_MAX: usize = 128;

/// So many updaters have entries of their own; the fields of older ones go to [`ANCIENT`].
const UPDATERS_MAX: usize = 10;
const ANCIENT: &str = "ancient-changes";

/// Who writes.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    pub manager: &'a str,
    /// The version that the writer speaks; objects come in it.
    pub api_version: &'a str,
    /// Empty for the main endpoint.
    pub subresource: &'a str,
    /// RFC 3339, in seconds.
    pub now: &'a str,
}

impl Writer<'_> {
    pub(super) fn entry(&self, operation: Operation, fields: FieldSet) -> Entry {
        Entry {
            manager: self.manager.to_owned(),
            operation,
            api_version: self.api_version.to_owned(),
            subresource: self.subresource.to_owned(),
            time: Some(self.now.to_owned()),
            fields,
        }
    }
}

/// Who owns the fields of a new object. A list that came with it is taken as far as it holds.
pub fn track_create(updater: Updater<'_>, new: &Value, writer: Writer<'_>) -> Managers {
    let mut managers = updater.managers(list_of(new)).unwrap_or_default();
    if managers.is_empty() {
        let claims = updater.claims(new, writer.api_version).unwrap_or_default();
        add_update(&mut managers, writer, claims);
        return managers;
    }
    let nothing = Value::Object(Map::new());
    match updater.compare(&nothing, new, writer.api_version) {
        Some(comparison) => take_over(updater, &nothing, new, comparison, managers, writer),
        None => Managers::default(),
    }
}

/// The list after a change from `old` to `new`. Writers of the main endpoint may set it themselves; one that cannot be read
/// counts as not sent. An object without the list stays without: it was reset, and only an apply starts it anew.
pub fn track_update(updater: Updater<'_>, old: &Value, new: &Value, writer: Writer<'_>) -> Option<Value> {
    let before = list_of(old);
    let sent = list_of(new).filter(|_| writer.subresource.is_empty());
    if Managers::is_reset(sent) {
        return None;
    }
    let is_new = sent.is_some_and(|sent| Some(sent) != before);
    let Some(comparison) = updater.compare(old, new, writer.api_version) else { return before.cloned() };
    if comparison.is_same() && !is_new {
        return before.cloned();
    }
    let given = sent.filter(|_| is_new).and_then(|list| updater.managers(Some(list)).ok());
    let managers = match given.filter(|managers| !managers.is_empty()) {
        Some(managers) => managers,
        None => updater.managers(before).unwrap_or_default(),
    };
    if managers.is_empty() {
        return None;
    }
    take_over(updater, old, new, comparison, managers, writer).encode()
}

fn list_of(object: &Value) -> Option<&Value> {
    object.get("metadata")?.get("managedFields")
}

fn take_over(
    updater: Updater<'_>,
    old: &Value,
    new: &Value,
    comparison: Comparison,
    mut managers: Managers,
    writer: Writer<'_>,
) -> Managers {
    let from = Versioned { object: old, api_version: writer.api_version };
    // An update always has its way: there are no conflicts to hear of.
    let _ = updater.take(from, new, &comparison, &mut managers, None, true);
    add_update(&mut managers, writer, comparison.added.union(comparison.modified));
    cap(&mut managers);
    managers
}

/// Gives `fields` to the writer, besides those that it has.
pub(super) fn add_update(managers: &mut Managers, writer: Writer<'_>, fields: FieldSet) {
    if fields.is_empty() {
        return;
    }
    let mut entry = writer.entry(Operation::Update, fields);
    if let Some(previous) = managers.find(&entry) {
        entry.fields = entry.fields.union(previous.fields.clone());
    }
    managers.put(entry);
}

/// Puts the fields of the oldest updaters together, by version, until there are no more than `UPDATERS_MAX`.
fn cap(managers: &mut Managers) {
    let updaters = managers.0.iter().filter(|entry| !entry.is_applier()).count();
    if updaters <= UPDATERS_MAX {
        return;
    }
    let entries = std::mem::take(&mut managers.0);
    let (mut updaters, appliers): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| !entry.is_applier());
    updaters.sort_by(|a, b| {
        a.seconds().cmp(&b.seconds()).then_with(|| (&a.manager, &a.api_version).cmp(&(&b.manager, &b.api_version)))
    });
    let mut excess = updaters.len() - UPDATERS_MAX;
    let mut kept: Vec<Entry> = Vec::with_capacity(UPDATERS_MAX);
    for entry in updaters {
        // The first of a version becomes the bucket of the following ones.
        let bucket = kept.iter_mut().find(|first| first.api_version == entry.api_version).filter(|_| excess > 0);
        let Some(bucket) = bucket else {
            kept.push(entry);
            continue;
        };
        excess -= 1;
        bucket.manager = ANCIENT.to_owned();
        bucket.subresource = String::new();
        bucket.fields = std::mem::take(&mut bucket.fields).union(entry.fields);
        bucket.time = entry.time;
    }
    managers.0 = kept.into_iter().chain(appliers).collect();
}
