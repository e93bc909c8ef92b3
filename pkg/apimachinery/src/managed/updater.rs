//! What a write does to the ownership of fields: the pure core.

use std::borrow::Cow;
use std::sync::LazyLock;

use serde_json::Value;

use super::compare::Comparison;
use super::conflict::Conflicts;
use super::element::Path;
use super::entry::{Entry, Managers};
use super::filter::Filter;
use super::set::FieldSet;
use super::shape::{Shape, Types};
use crate::meta::{ObjectExt as _, object_mut};
use crate::patch::{MergeSchema, TypeId};

/// Fields that nobody owns: who the object is, and what the server alone writes.
static STRIPPED: LazyLock<FieldSet> = LazyLock::new(|| {
    let of_metadata = [
        "name",
        "namespace",
        "creationTimestamp",
        "selfLink",
        "uid",
        "clusterName",
        "generation",
        "managedFields",
        "resourceVersion",
    ];
    let roots = ["apiVersion", "kind", "metadata"].map(|name| Path::of_fields([name]));
    FieldSet::of(roots.into_iter().chain(of_metadata.map(|name| Path::of_fields(["metadata", name]))))
});

/// The versions of one kind, and how to go between them.
pub trait Versions: Sync {
    fn schema(&self) -> &dyn MergeSchema;
    /// The type of objects in `api_version`; `Some(None)` if their fields are to be deduced, `None` if there is no such
    /// version any more.
    fn root(&self, api_version: &str) -> Option<Option<TypeId>>;
    /// `object` in another version that [`Self::root`] knows.
    fn convert(&self, object: &Value, api_version: &str) -> Value;
    /// What writers through the endpoint at hand may own.
    fn filter(&self) -> Filter;
}

/// An object in the version that it is in now.
#[derive(Clone, Copy)]
pub struct Versioned<'a> {
    pub object: &'a Value,
    pub api_version: &'a str,
}

/// The walks of one kind.
#[derive(Clone, Copy)]
pub struct Updater<'a> {
    versions: &'a dyn Versions,
}

impl<'a> Updater<'a> {
    pub fn new(versions: &'a dyn Versions) -> Self {
        Self { versions }
    }

    pub(super) fn types(self) -> Types<'a> {
        Types { schema: self.versions.schema() }
    }

    /// The shape of objects of a version; `None` if the version is gone.
    pub(super) fn shape(self, api_version: &str) -> Option<Shape> {
        self.versions.root(api_version).map(|root| self.types().root(root))
    }

    /// `object` in `api_version`, converted if need be.
    fn convert<'o>(self, from: Versioned<'o>, api_version: &str) -> Cow<'o, Value> {
        if from.api_version == api_version {
            return Cow::Borrowed(from.object);
        }
        Cow::Owned(self.versions.convert(from.object, api_version))
    }

    /// The fields that somebody owns who applied `object`. `None` if the version is gone.
    pub fn fields_of(self, object: &Value, api_version: &str) -> Option<FieldSet> {
        Some(self.owned(self.types().collect(self.shape(api_version)?, object)))
    }

    /// The part of an object that consists of `fields`, with what says which object it is: what its owner applied.
    pub fn extract(self, object: &Value, api_version: &str, fields: &FieldSet) -> Option<Value> {
        let mut part = self.types().extract(self.shape(api_version)?, object, fields).unwrap_or_default();
        for name in ["apiVersion", "kind"] {
            object_mut(&mut part).insert(name.to_owned(), object.get(name).cloned().unwrap_or_default());
        }
        for name in ["name", "namespace"] {
            if let Some(value) = object.get("metadata").and_then(|metadata| metadata.get(name)) {
                part.metadata_mut().insert(name.to_owned(), value.clone());
            }
        }
        Some(part)
    }

    /// What differs, as far as this endpoint writes it. `None` if the version is gone.
    pub(super) fn compare(self, old: &Value, new: &Value, api_version: &str) -> Option<Comparison> {
        let comparison = self.types().compare(self.shape(api_version)?, old, new);
        Some(Comparison {
            added: self.owned(comparison.added),
            modified: self.owned(comparison.modified),
            removed: self.owned(comparison.removed),
        })
    }

    /// What the writer of a new object owns of it. `None` if the version is gone.
    pub(super) fn claims(self, new: &Value, api_version: &str) -> Option<FieldSet> {
        Some(self.owned(self.types().claims(self.shape(api_version)?, new)))
    }

    /// Reads `metadata.managedFields`, with all sets as the schema is now.
    pub(super) fn managers(self, list: Option<&Value>) -> Result<Managers, String> {
        let mut managers = Managers::decode(list)?;
        for entry in &mut managers.0 {
            if let Some(shape) = self.shape(&entry.api_version) {
                entry.fields = self.types().up_to_date(shape, std::mem::take(&mut entry.fields));
            }
        }
        Ok(managers)
    }

    /// What of `set` the endpoint does not reset.
    pub(super) fn settable(self, set: FieldSet) -> FieldSet {
        self.versions.filter().apply(set)
    }

    /// What of `set` a writer through this endpoint may own: not what the endpoint resets, nor what the server sets.
    pub(super) fn owned(self, set: FieldSet) -> FieldSet {
        self.settable(set.difference(&STRIPPED))
    }

    /// Takes from all managers but `own` the fields that `comparison` says were changed or removed; the entries of others
    /// versions by comparisons of their own. Without `force` a change of somebody's field is a conflict, and nothing is
    /// taken.
    pub(super) fn take(
        self,
        old: Versioned<'_>,
        new: &Value,
        comparison: &Comparison,
        managers: &mut Managers,
        own: Option<&Entry>,
        force: bool,
    ) -> Result<(), Conflicts> {
        let mut conflicts = Conflicts::default();
        let mut others: Vec<(String, Option<Comparison>)> = Vec::new();
        let mut changed_of = |entry: &Entry| {
            if own.is_some_and(|own| own.is_same_manager(entry)) {
                return Some((FieldSet::default(), FieldSet::default()));
            }
            let comparison = if entry.api_version == old.api_version {
                comparison
            } else {
                self.comparison_in(old, new, &entry.api_version, &mut others)?
            };
            let changed = entry.fields.intersection(&comparison.modified);
            let changed = changed.union(entry.fields.intersection(&comparison.added));
            let removed = entry.fields.intersection(&comparison.removed);
            if !changed.is_empty() {
                conflicts.push(entry, changed.clone());
            }
            Some((changed, removed))
        };
        let lost: Vec<_> = managers.0.iter().map(&mut changed_of).collect();
        if !force && !conflicts.is_empty() {
            return Err(conflicts);
        }
        let entries = std::mem::take(&mut managers.0).into_iter().zip(lost);
        managers.0 = entries
            .filter_map(|(entry, lost)| {
                let (changed, removed) = lost?;
                let fields = entry.fields.difference(&changed).difference(&removed);
                Some(Entry { fields, ..entry })
            })
            .filter(|entry| !entry.fields.is_empty())
            .collect();
        Ok(())
    }

    fn comparison_in<'c>(
        self,
        old: Versioned<'_>,
        new: &Value,
        api_version: &str,
        known: &'c mut Vec<(String, Option<Comparison>)>,
    ) -> Option<&'c Comparison> {
        if let Some(at) = known.iter().position(|(version, _)| version == api_version) {
            return known[at].1.as_ref();
        }
        let comparison = self.shape(api_version).and_then(|_| {
            let before = self.convert(old, api_version);
            let after = self.convert(Versioned { object: new, ..old }, api_version);
            self.compare(&before, &after, api_version)
        });
        known.push((api_version.to_owned(), comparison));
        known.last().and_then(|(_, comparison)| comparison.as_ref())
    }

    /// Removes from `merged` what the applier owned `last` time and does not name now, unless somebody owns it.
    /// `managers` has the applier's new entry already.
    pub(super) fn prune(self, merged: Value, api_version: &str, managers: &Managers, last: &Entry) -> Value {
        let (Some(shape), false) = (self.shape(&last.api_version), last.fields.is_empty()) else { return merged };
        let merged_then = self.convert(Versioned { object: &merged, api_version }, &last.api_version).into_owned();
        let last_set = self.types().ensure_named(shape, &last.fields);
        let pruned = self.types().remove(shape, &merged_then, &last_set).unwrap_or(Value::Null);
        let pruned = self.add_back_owned(&merged_then, pruned, &last.api_version, managers);
        // Only what the applier owned may go.
        let here = Versioned { object: &merged_then, api_version: &last.api_version };
        let gone = self.missing(here, &pruned, shape).intersection(&last_set);
        let kept = self.types().remove(shape, &merged_then, &gone).unwrap_or(Value::Null);
        self.convert(Versioned { object: &kept, api_version: &last.api_version }, api_version).into_owned()
    }

    /// Puts back what any manager owns, in the versions of all of them; first in the one at hand.
    fn add_back_owned(self, merged: &Value, pruned: Value, api_version: &str, managers: &Managers) -> Value {
        let mut versions: Vec<&str> = managers.0.iter().map(|entry| entry.api_version.as_str()).collect();
        versions.sort_by_key(|version| (*version != api_version, *version));
        versions.dedup();
        let mut pruned = pruned;
        for version in versions {
            let Some(shape) = self.shape(version) else { continue };
            let owned = managers.0.iter().filter(|entry| entry.api_version == version);
            let owned = owned.fold(FieldSet::default(), |all, entry| all.union(entry.fields.clone()));
            let owned = self.types().ensure_named(shape, &owned);
            let all = self.convert(Versioned { object: merged, api_version }, version);
            let left = self.convert(Versioned { object: &pruned, api_version }, version);
            let gone = self.missing(Versioned { object: &all, api_version: version }, &left, shape).difference(&owned);
            let kept = self.types().remove(shape, &all, &gone).unwrap_or(Value::Null);
            pruned = self.convert(Versioned { object: &kept, api_version: version }, api_version).into_owned();
        }
        pruned
    }

    /// Fields of `all` that `rest` has not.
    fn missing(self, all: Versioned<'_>, rest: &Value, shape: Shape) -> FieldSet {
        let named = |value: &Value| self.types().ensure_named(shape, &self.types().collect(shape, value));
        named(all.object).difference(&named(rest))
    }
}
