//! The shape of a registry row: all that the generic code needs to know about one resource.
//! A new kind is one more row with its [`Strategy`]; nothing else is edited.

use apimachinery::{GroupResource, GroupVersionKind, Object, UserInfo, field::ErrorList};
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

/// The label of a field that objects can be selected by, and its reader.
pub type SelectableField = (&'static str, fn(&Object) -> String);

/// One row: a resource of one group, with every version that is served.
#[derive(Clone, Copy)]
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
    /// The version that objects are stored in; one of `versions`, except where `storage_group` is another group.
    pub storage_version: &'static str,
    /// The group whose store keeps the objects: `group`, except for `events.k8s.io`, which is another view of the core
    /// group's events. Key, storage apiVersion and watch feed follow this group; `Strategy::convert` goes between.
    pub storage_group: &'static str,
    pub verbs: Verbs,
    pub subresources: &'static [Subresource],
    pub strategy: Strategy,
    pub columns: &'static [Column],
    /// Cells of one object, in the order of `columns`. `now` is Unix time in seconds, for ages.
    pub cells: fn(&Object, now: i64) -> Vec<Value>,
    /// Field selectors besides `metadata.name` and `metadata.namespace`: label and reader.
    pub selectable: &'static [SelectableField],
    /// Other labels of selectable fields, as this group calls them: alias, label of `selectable`.
    pub selector_aliases: &'static [(&'static str, &'static str)],
    /// Not kept in the store: a question that is answered (TokenReview, SubjectAccessReview, …).
    pub virtual_resource: bool,
}

impl Resource {
    /// A namespaced row with no short names, name and age columns and all verbs; rows say what differs.
    pub const fn namespaced(
        group: &'static str,
        version: &'static str,
        plural: &'static str,
        singular: &'static str,
        kind: &'static str,
    ) -> Self {
        Self {
            group,
            plural,
            singular,
            kind,
            short_names: &[],
            categories: &[],
            namespaced: true,
            versions: match version.as_bytes() {
                b"v2" => &["v2"],
                _ => &["v1"],
            },
            storage_version: version,
            storage_group: group,
            verbs: Verbs::ALL,
            subresources: &[],
            strategy: Strategy::PLAIN,
            columns: crate::cells::NAME_AGE,
            cells: crate::cells::name_age,
            selectable: &[],
            selector_aliases: &[],
            virtual_resource: false,
        }
    }

    /// The same for a kind without namespace.
    pub const fn cluster(
        group: &'static str,
        version: &'static str,
        plural: &'static str,
        singular: &'static str,
        kind: &'static str,
    ) -> Self {
        Self { namespaced: false, ..Self::namespaced(group, version, plural, singular, kind) }
    }

    /// A question that is answered and not kept: only `create`.
    pub const fn review(self) -> Self {
        Self { verbs: Verbs::CREATE, virtual_resource: true, ..self }
    }
}

/// `deployments/scale` and the like. The object is named by the group, version and kind that the body has.
#[derive(Clone, Copy)]
pub struct Subresource {
    pub name: &'static str,
    /// `None`: the parent's own kind.
    pub kind: Option<(&'static str, &'static str, &'static str)>,
    pub verbs: Verbs,
    /// What an update through this endpoint may change, where it is not `status` (which `Strategy` has) and the endpoint
    /// writes the parent object: `pods/resize`, `pods/ephemeralcontainers`, `namespaces/finalize`, ...
    pub update: Option<SubresourceUpdate>,
}

/// The update rules of an endpoint such as `pods/resize`, in place of the parent's own.
#[derive(Clone, Copy)]
pub struct SubresourceUpdate {
    /// Keeps in `new` what this endpoint may not change.
    pub prepare: fn(new: &mut Object, old: &Object),
    pub validate: fn(new: &Object, old: &Object) -> ErrorList,
}

impl Subresource {
    pub const STATUS: Self = Self { name: "status", kind: None, verbs: Verbs::STATUS, update: None };
    pub const SCALE: Self =
        Self { name: "scale", kind: Some(("autoscaling", "v1", "Scale")), verbs: Verbs::STATUS, update: None };

    /// An endpoint whose body is of another kind of the core group: `pods/exec`.
    pub const fn core(name: &'static str, kind: &'static str, verbs: &'static [&'static str]) -> Self {
        Self { name, kind: Some(("", "v1", kind)), verbs: Verbs(verbs), update: None }
    }

    /// An endpoint that writes a part of the parent object.
    pub const fn part(name: &'static str, verbs: &'static [&'static str], update: SubresourceUpdate) -> Self {
        Self { name, kind: None, verbs: Verbs(verbs), update: Some(update) }
    }
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

impl Column {
    /// A column of strings that is always shown.
    pub const fn text(name: &'static str, description: &'static str) -> Self {
        Self { name, type_: "string", format: "", description, priority: 0 }
    }

    pub const fn integer(name: &'static str, description: &'static str) -> Self {
        Self { type_: "integer", ..Self::text(name, description) }
    }

    /// Shown with `-o wide` only.
    #[must_use]
    pub const fn wide(self) -> Self {
        Self { priority: 1, ..self }
    }

    pub const NAME: Self = Self { format: "name", ..Self::text("Name", "Unique within its namespace.") };
    pub const AGE: Self = Self::text("Age", "Time since the object was created.");
}

/// Validates an object (and, at an update, the one before) by the Namespace that it is in.
pub type ValidateInNamespace = fn(new: &Object, old: Option<&Object>, namespace: &Object) -> ErrorList;

/// What is particular about a kind. Objects are trees in the storage version. All functions are pure.
#[derive(Clone, Copy)]
pub struct Strategy {
    /// Sets declared and computed defaults. Idempotent.
    pub default: fn(&mut Object),
    /// Drops what a client may not set at birth (status) and sets initial values (`generation` is done by the registry).
    /// Called after defaults and mutating admission, when name, UID and creation time are set: some kinds use them.
    pub prepare_for_create: fn(&mut Object),
    /// Keeps in `new` what this endpoint may not change (status).
    pub prepare_for_update: fn(new: &mut Object, old: &Object),
    /// The same for the status endpoint (keeps spec; metadata is kept by the registry).
    pub prepare_for_status_update: fn(new: &mut Object, old: &Object),
    /// Everything but `metadata`, which the registry checks for all kinds, and the name (`validate_name`).
    pub validate: fn(&Object) -> ErrorList,
    /// All that is checked on an update; it includes what `validate` checks where that holds for old objects too, so that
    /// the registry calls this one alone.
    pub validate_update: fn(new: &Object, old: &Object) -> ErrorList,
    pub validate_status_update: fn(new: &Object, old: &Object) -> ErrorList,
    /// What the namespace of an object does not allow it; `old` is `None` at creation. Its errors come before the others of
    /// the kind. `None` for most kinds, which need no look at the namespace.
    pub validate_in_namespace: Option<ValidateInNamespace>,
    /// Reasons why `name` is not a legal name; empty if it is.
    pub validate_name: fn(name: &str, generate: bool) -> Vec<String>,
    /// Texts for Warning headers.
    pub warnings: fn(new: &Object, old: Option<&Object>) -> Vec<String>,
    /// True if a change from `old` to `new` counts up `metadata.generation`. `None`: the kind has no generation.
    pub generation_changed: Option<fn(new: &Object, old: &Object) -> bool>,
    /// Seconds of grace on deletion, given the requested ones. `None`: deleted at once.
    pub grace_period_seconds: Option<fn(&Object, requested: Option<i64>) -> i64>,
    /// Writes into a new object who asked for it. `None` for most kinds.
    pub fill_from_user: Option<fn(&mut Object, &UserInfo)>,
    /// PUT to a name that does not exist creates it.
    pub allow_create_on_update: bool,
    /// PUT without a resourceVersion overwrites.
    pub allow_unconditional_update: bool,
    /// Converts in place from `apiVersion` of the object to `api_version` (`autoscaling/v1`, `v1`), another served version or
    /// the storage version. For kinds with one shape this sets apiVersion only.
    pub convert: fn(&mut Object, api_version: &str),
    /// What happens to dependents if the deletion does not say: true is orphan (old default of some kinds), else background.
    pub orphan_by_default: bool,
}

impl Strategy {
    /// For kinds without status: nothing to default, nothing to check.
    pub const PLAIN: Self = Self {
        default: crate::strategy::nothing,
        prepare_for_create: crate::strategy::nothing,
        prepare_for_update: crate::strategy::keep_nothing,
        prepare_for_status_update: crate::strategy::keep_all_but_status,
        validate: crate::strategy::valid,
        validate_update: crate::strategy::valid_update,
        validate_status_update: crate::strategy::valid_update,
        validate_in_namespace: None,
        validate_name: crate::strategy::subdomain_name,
        warnings: crate::strategy::no_warnings,
        generation_changed: None,
        grace_period_seconds: None,
        fill_from_user: None,
        allow_create_on_update: false,
        allow_unconditional_update: true,
        convert: crate::strategy::set_api_version,
        orphan_by_default: false,
    };

    /// For kinds with `status`, which only its endpoint writes, and a generation that counts changes of `spec`.
    pub const SPEC_STATUS: Self = Self {
        prepare_for_create: crate::strategy::drop_status,
        prepare_for_update: crate::strategy::keep_status,
        generation_changed: Some(crate::strategy::spec_changed),
        ..Self::PLAIN
    };
}

impl Resource {
    /// `apiVersion` of stored objects.
    pub fn storage_api_version(&self) -> String {
        if self.storage_group.is_empty() {
            self.storage_version.to_owned()
        } else {
            format!("{}/{}", self.storage_group, self.storage_version)
        }
    }

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
