//! Feeding the graph: metadata of every object of every deletable resource.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use client::reflector::Sink;
use client::{Change, Source};
use compact_str::CompactString;
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::sync::watch;

use super::Collector;
use super::graph::{FOREGROUND, ORPHAN, Owner, Seen, Uid};
use crate::discovery::Resource;
use crate::pod::SlimPod;

/// An object's metadata, as far as it is read.
#[derive(Deserialize)]
pub(super) struct Meta {
    pub metadata: Fields,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Fields {
    #[serde(default)]
    namespace: CompactString,
    name: CompactString,
    pub uid: Uid,
    #[serde(default)]
    pub resource_version: String,
    #[serde(default)]
    pub owner_references: Option<Vec<Reference>>,
    #[serde(default)]
    pub finalizers: Option<Vec<CompactString>>,
    #[serde(default)]
    pub deletion_timestamp: Option<CompactString>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Reference {
    api_version: CompactString,
    kind: CompactString,
    name: CompactString,
    uid: Uid,
    #[serde(default)]
    block_owner_deletion: Option<bool>,
}

impl Fields {
    pub(super) fn has_finalizer(&self, name: &str) -> bool {
        self.finalizers.iter().flatten().any(|finalizer| finalizer == name)
    }

    pub(super) fn owners(&self) -> Vec<Owner> {
        let owner = |reference: &Reference| Owner {
            api_version: reference.api_version.clone(),
            kind: reference.kind.clone(),
            name: reference.name.clone(),
            uid: reference.uid.clone(),
            blocks: reference.block_owner_deletion == Some(true),
        };
        self.owner_references.iter().flatten().map(owner).collect()
    }
}

/// The sink of one resource's reflector.
pub(super) struct Monitor {
    pub collector: Arc<Collector>,
    pub api_version: String,
    pub kind: String,
    pub synced: watch::Sender<bool>,
}

impl Sink<Meta> for Monitor {
    fn revision(object: &Meta) -> &str {
        &object.metadata.resource_version
    }

    fn replace(&mut self, objects: Vec<Meta>) {
        // Some may have gone during a gap; before the first list there was none.
        if *self.synced.borrow() {
            let present: HashSet<&Uid> = objects.iter().map(|object| &object.metadata.uid).collect();
            let known = self.collector.of_kind(&self.api_version, &self.kind);
            known.iter().filter(|uid| !present.contains(uid)).for_each(|uid| self.collector.removed(uid));
        }
        for object in objects {
            self.upsert(object);
        }
        self.synced.send_replace(true);
    }

    fn upsert(&mut self, object: Meta) {
        let meta = object.metadata;
        let seen = Seen {
            owners: meta.owners(),
            deleting: meta.deletion_timestamp.is_some(),
            foreground: meta.has_finalizer(FOREGROUND),
            orphan: meta.has_finalizer(ORPHAN),
            uid: meta.uid,
            namespace: meta.namespace,
            name: meta.name,
        };
        self.collector.seen(&self.api_version, &self.kind, seen);
    }

    fn delete(&mut self, object: Meta) {
        self.collector.removed(&object.metadata.uid);
    }
}

/// Pods come from the cache that all controllers share.
pub(super) fn pod_changed(collector: &Collector, change: &Change<SlimPod>) {
    let replaced = |old: &&Arc<SlimPod>| change.new.as_ref().is_none_or(|new| new.uid != old.uid);
    if let Some(old) = change.old.as_ref().filter(replaced) {
        collector.removed(&old.uid);
    }
    // Most changes are of the status.
    if let (Some(old), Some(new)) = (&change.old, &change.new)
        && (&old.uid, &old.owners, &old.finalizers, old.is_deleting())
            == (&new.uid, &new.owners, &new.finalizers, new.is_deleting())
    {
        return;
    }
    if let Some(pod) = &change.new {
        let has = |name: &str| pod.finalizers.iter().any(|finalizer| finalizer == name);
        let seen = Seen {
            uid: pod.uid.clone(),
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            owners: pod.owners.iter().map(Owner::of_pod).collect(),
            deleting: pod.is_deleting(),
            foreground: has(FOREGROUND),
            orphan: has(ORPHAN),
        };
        collector.seen("v1", "Pod", seen);
    }
}

/// Whether objects of this resource are collected. Events are not: there are many, and they end by themselves.
pub(super) fn is_monitored(resource: &Resource) -> bool {
    let events = resource.plural == "events" && (resource.group.is_empty() || resource.group == "events.k8s.io");
    !events && ["delete", "list", "watch"].iter().all(|verb| resource.can(verb))
}

pub(super) fn source(resource: &Resource) -> Source {
    Source::at(&resource.group, &resource.version, &resource.plural, None).metadata_only()
}

/// Which resource a kind is, by group and kind: references may name any version.
#[derive(Default)]
pub(super) struct Mapper {
    resources: Mutex<HashMap<(String, String), Resource>>,
}

impl Mapper {
    pub(super) fn learn(&self, resources: &[Resource]) {
        let mut map = self.resources.lock();
        map.clear();
        for resource in resources {
            map.insert((resource.group.clone(), resource.kind.clone()), resource.clone());
        }
    }

    pub(super) fn resource(&self, api_version: &str, kind: &str) -> Option<Resource> {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        self.resources.lock().get(&(group.to_owned(), kind.to_owned())).cloned()
    }
}
