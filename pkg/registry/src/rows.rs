//! Finding the row for a path.

use std::collections::HashMap;

use apimachinery::GroupVersion;
use apimachinery::meta::ObjectExt as _;
use apis::resource::Resource;
use serde_json::Value;

/// The rows, by plural name.
pub struct Rows {
    all: &'static [Resource],
    by_plural: HashMap<&'static str, Vec<&'static Resource>>,
}

/// A row and the version it was asked in.
#[derive(Clone, Copy)]
pub struct Found {
    pub resource: &'static Resource,
    pub version: &'static str,
}

impl Found {
    /// True if stored bytes can be answered as they are.
    pub fn is_stored_form(&self) -> bool {
        self.version == self.resource.storage_version && self.resource.group == self.resource.storage_group
    }
}

/// Brings `object` into the form that is stored.
pub fn to_storage(resource: &Resource, object: &mut Value) {
    convert(resource, object, resource.storage_group, resource.storage_version);
}

/// Brings a stored object into the form that clients of `version` read.
pub fn to_version(resource: &Resource, object: &mut Value, version: &str) {
    convert(resource, object, resource.group, version);
}

fn convert(resource: &Resource, object: &mut Value, group: &str, version: &str) {
    let now = object.api_version();
    let (now_group, now_version) = now.split_once('/').unwrap_or(("", now));
    if now_group == group && now_version == version {
        return;
    }
    let api_version = GroupVersion::new(group, version).to_string();
    (resource.strategy.convert)(object, &api_version);
}

impl Rows {
    pub fn new(all: &'static [Resource]) -> Self {
        let mut by_plural: HashMap<&'static str, Vec<&'static Resource>> = HashMap::new();
        for row in all {
            by_plural.entry(row.plural).or_default().push(row);
        }
        Self { all, by_plural }
    }

    pub fn all(&self) -> &'static [Resource] {
        self.all
    }

    /// The row serving `group/version` `plural`.
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<Found> {
        let resource = self.of_group(group, plural)?;
        let version = resource.versions.iter().copied().find(|v| *v == version)?;
        Some(Found { resource, version })
    }

    /// The row in its storage version.
    pub fn newest(&self, group: &str, plural: &str) -> Option<Found> {
        let resource = self.of_group(group, plural)?;
        Some(Found { resource, version: resource.storage_version })
    }

    /// The row of a kind, in any served version.
    pub fn of_kind(&self, group: &str, kind: &str) -> Option<&'static Resource> {
        self.all.iter().find(|row| row.group == group && row.kind == kind)
    }

    /// All rows that show the same stored objects: events are of two groups.
    pub fn views(&self, resource: &'static Resource) -> impl Iterator<Item = &'static Resource> {
        let rows = self.by_plural.get(resource.plural).into_iter().flatten().copied();
        rows.filter(|row| row.storage_group == resource.storage_group && row.kind == resource.kind)
    }

    /// True if anything is served under `group/version`.
    pub fn serves(&self, group: &str, version: &str) -> bool {
        self.all.iter().any(|row| row.group == group && row.versions.contains(&version))
    }

    fn of_group(&self, group: &str, plural: &str) -> Option<&'static Resource> {
        self.by_plural.get(plural)?.iter().copied().find(|row| row.group == group)
    }
}
