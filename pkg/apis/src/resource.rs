//! The shape of a registry row: all that the generic code needs to know about one resource.
//! A new kind is one more row with its [`Strategy`]; nothing else is edited.

use apimachinery::{GroupResource, GroupVersionKind, Object, field::ErrorList};
use serde_json::Value;

/// What may be done with a resource, as in discovery's `verbs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verbs(pub &'static [&'static str]);

impl Verbs {
    pub const ALL: Self = Self(&["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]);
    pub const CREATE: Self = Self(&["create"]);
    pub const STATUS: Self = Self(&["get", "patch", "update"]);
    pub const READ: Self = Self(&["get", "list"]);

    pub fn contains(self, verb: &str) -> bool {
        self.0.contains(&verb)
    }
}

/// One row: a resource of one group, with every version that is served.
pub struct Resource {
    /// `""` for the core group.
    pub group: &'static str,
    /// Plural, lower-case: `deployments`.
    pub plural: &'static str,
    pub singular: &'static str,
    pub kind: &'static str,
    pub short_names: &'static [&'static str],
    pub categories: &'static [&'static str],
    pub namespaced: bool,
    /// Served versions, preferred first. The first stable one stores.
    pub versions: &'static [&'static str],
    /// The version that objects are stored in; one of `versions`.
    pub storage_version: &'static str,
    pub verbs: Verbs,
    pub subresources: &'static [Subresource],
    pub strategy: Strategy,
    pub columns: &'static [Column],
    /// Cells of one object, in the order of `columns`. `now` is Unix time in seconds, for ages.
    pub cells: fn(&Object, now: i64) -> Vec<Value>,
    /// Field selectors besides `metadata.name` and `metadata.namespace`: label and reader.
    pub selectable: &'static [(&'static str, fn(&Object) -> String)],
    /// Not kept in the store: a question that is answered (TokenReview, SubjectAccessReview, …).
    pub virtual_resource: bool,
}

/// `deployments/scale` and the like. The object is named by the group, version and kind that the body has.
pub struct Subresource {
    pub name: &'static str,
    /// `None`: the parent's own kind.
    pub kind: Option<(&'static str, &'static str, &'static str)>,
    pub verbs: Verbs,
}

/// A column of `kubectl get`: as in `meta/v1` `TableColumnDefinition`.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    pub name: &'static str,
    pub type_: &'static str,
    pub format: &'static str,
    pub description: &'static str,
    /// 0 is always shown, above 0 with `-o wide`.
    pub priority: i32,
}

/// What is particular about a kind. Objects are trees in the storage version. All functions are pure.
pub struct Strategy {
    /// Sets declared and computed defaults. Idempotent.
    pub default: fn(&mut Object),
    /// Drops what a client may not set at birth (status) and sets initial values (`generation` is done by the registry).
    pub prepare_for_create: fn(&mut Object),
    /// Keeps in `new` what this endpoint may not change (status).
    pub prepare_for_update: fn(new: &mut Object, old: &Object),
    /// The same for the status endpoint (keeps spec; metadata is kept by the registry).
    pub prepare_for_status_update: fn(new: &mut Object, old: &Object),
    /// Everything but `metadata`, which the registry checks for all kinds, and the name (`validate_name`).
    pub validate: fn(&Object) -> ErrorList,
    pub validate_update: fn(new: &Object, old: &Object) -> ErrorList,
    pub validate_status_update: fn(new: &Object, old: &Object) -> ErrorList,
    /// Reasons why `name` is not a legal name; empty if it is.
    pub validate_name: fn(name: &str, generate: bool) -> Vec<String>,
    /// Texts for Warning headers.
    pub warnings: fn(new: &Object, old: Option<&Object>) -> Vec<String>,
    /// True if a change from `old` to `new` counts up `metadata.generation`. `None`: the kind has no generation.
    pub generation_changed: Option<fn(new: &Object, old: &Object) -> bool>,
    /// Seconds of grace on deletion, given the requested ones. `None`: deleted at once.
    pub grace_period_seconds: Option<fn(&Object, requested: Option<i64>) -> i64>,
    /// PUT to a name that does not exist creates it.
    pub allow_create_on_update: bool,
    /// PUT without a resourceVersion overwrites.
    pub allow_unconditional_update: bool,
    /// Converts in place from `apiVersion` of the object to `version`. For kinds with one shape this sets apiVersion only.
    pub convert: fn(&mut Object, version: &str),
    /// What happens to dependents if the deletion does not say: true is orphan (old default of some kinds), else background.
    pub orphan_by_default: bool,
}

impl Resource {
    pub fn group_resource(&self) -> GroupResource {
        GroupResource::new(self.group, self.plural)
    }

    pub fn gvk(&self, version: &str) -> GroupVersionKind {
        GroupVersionKind::new(self.group, version, self.kind)
    }

    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|s| s.name == name)
    }
}
