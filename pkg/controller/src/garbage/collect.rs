//! What the collector does about one object: ask for it live, look at its owners live, then delete, patch or wait.

use client::EventType;
use http::Request;
use k8s_openapi::api::core::v1::ObjectReference;
use serde_json::{Value, json};

use super::Collector;
use super::graph::{FOREGROUND, Identity, ORPHAN, Owner, Uid};
use super::monitor::{Fields, Meta};
use crate::discovery::Resource;
use crate::skeleton::{Error, SyncResult, ignore_not_found, is_conflict, is_invalid, is_not_found};

/// An object's owners by what they are.
#[derive(Default)]
struct Owners {
    solid: Vec<Owner>,
    /// Gone: they hold nothing.
    dangling: Vec<Owner>,
    /// Being deleted in the foreground: they wait for this object.
    waiting: Vec<Owner>,
}

impl Collector {
    pub(super) async fn attempt_to_delete(&self, uid: Uid) -> SyncResult {
        let Some((identity, waits, is_virtual)) = self.node(&uid) else { return Ok(None) };
        let Some(resource) = self.mapper.resource(&identity.api_version, &identity.kind) else {
            if is_virtual {
                // A kind that is not served: whether the owner exists cannot be known, so nothing may be deleted.
                return Err(Error::Invalid(format!("unknown kind {} {}", identity.api_version, identity.kind)));
            }
            return Ok(None);
        };
        let live = match self.get(&resource, &identity).await? {
            Some(live) if live.uid == uid => live,
            _ => {
                self.removed_live(&uid);
                return Ok(None);
            }
        };
        if is_virtual {
            // It exists; its monitor will tell of it.
            return Ok(None);
        }
        if live.deletion_timestamp.is_some() && !waits {
            return Ok(None);
        }
        if waits {
            return self.finish_foreground(&uid, &resource, &identity, &live).await;
        }
        if live.owner_references.as_ref().is_none_or(Vec::is_empty) {
            return Ok(None);
        }
        let owners = self.classify(&identity, resource.namespaced, &live).await?;
        if !owners.solid.is_empty() {
            let loose: Vec<&Owner> = owners.dangling.iter().chain(&owners.waiting).collect();
            if loose.is_empty() {
                return Ok(None);
            }
            let references = live.owners();
            return self.drop_references(&resource, &identity, &live, &references, &loose).await;
        }
        let (has_dependents, is_in_circle) = self.dependents(&uid);
        if is_in_circle && !owners.waiting.is_empty() && live.owners().iter().any(|owner| owner.blocks) {
            // Its owner would wait for it, and it for its owner. Looked at again without the block.
            self.unblock(&resource, &identity, &uid).await?;
            self.delete.add(uid);
            return Ok(None);
        }
        let policy = match () {
            () if live.has_finalizer(ORPHAN) => "Orphan",
            () if live.has_finalizer(FOREGROUND) => "Foreground",
            () if !owners.waiting.is_empty() && has_dependents => "Foreground",
            () => "Background",
        };
        self.delete(&resource, &identity, &live, policy).await
    }

    fn node(&self, uid: &str) -> Option<(Identity, bool, bool)> {
        let graph = self.graph.lock();
        let node = graph.get(uid)?;
        Some((node.identity.clone(), node.waits, node.is_virtual))
    }

    /// Whether anything depends on the object, and whether one of these is being deleted in the foreground.
    fn dependents(&self, uid: &str) -> (bool, bool) {
        let graph = self.graph.lock();
        let dependents = graph.dependents(uid);
        let is_in_circle = dependents.iter().any(|dependent| graph.get(dependent).is_some_and(|node| node.waits));
        (!dependents.is_empty(), is_in_circle)
    }

    /// The object is gone although no event said so (yet): what depends on it is looked at.
    fn removed_live(&self, uid: &Uid) {
        self.note_absent(uid.clone());
        self.removed(uid);
    }

    /// An object that is deleted in the foreground goes when nothing that blocks it is left.
    async fn finish_foreground(
        &self,
        uid: &Uid,
        resource: &Resource,
        identity: &Identity,
        live: &Fields,
    ) -> SyncResult {
        let (blocking, waiting) = {
            let graph = self.graph.lock();
            let blocking = graph.blocking(uid);
            let idle = |dependent: &&Uid| graph.get(dependent).is_some_and(|node| !node.waits);
            let idle: Vec<Uid> = blocking.iter().filter(idle).cloned().collect();
            (!blocking.is_empty(), idle)
        };
        if blocking {
            for dependent in waiting {
                self.delete.add(dependent);
            }
            return Ok(None);
        }
        self.remove_finalizer(resource, identity, live, FOREGROUND).await
    }

    async fn classify(&self, identity: &Identity, namespaced: bool, live: &Fields) -> Result<Owners, Error> {
        let mut owners = Owners::default();
        for owner in live.owners() {
            if self.is_absent(&owner.uid) {
                owners.dangling.push(owner);
                continue;
            }
            let Some(resource) = self.mapper.resource(&owner.api_version, &owner.kind) else {
                return Err(Error::Invalid(format!("unknown kind of owner {} {}", owner.api_version, owner.kind)));
            };
            if resource.namespaced && !namespaced {
                // A namespaced owner of a cluster-scoped object says nothing about which one is meant.
                let text = format!(
                    "ownerRef {}/{}, namespace: , name: {}, uid: {} does not exist in namespace \"\"",
                    owner.api_version, owner.kind, owner.name, owner.uid
                );
                self.recorder.event(
                    &reference(identity, &live.uid),
                    EventType::Warning,
                    "OwnerRefInvalidNamespace",
                    &text,
                );
                owners.solid.push(owner);
                continue;
            }
            let wanted = Identity {
                api_version: owner.api_version.clone(),
                kind: owner.kind.clone(),
                namespace: identity.namespace.clone(),
                name: owner.name.clone(),
            };
            match self.get(&resource, &wanted).await? {
                Some(found) if found.uid == owner.uid => {
                    let waits = found.deletion_timestamp.is_some() && found.has_finalizer(FOREGROUND);
                    if waits { owners.waiting.push(owner) } else { owners.solid.push(owner) }
                }
                _ => {
                    self.note_absent(owner.uid.clone());
                    owners.dangling.push(owner);
                }
            }
        }
        Ok(owners)
    }

    /// Takes references off an object that other owners still hold.
    async fn drop_references(
        &self,
        resource: &Resource,
        identity: &Identity,
        live: &Fields,
        references: &[Owner],
        loose: &[&Owner],
    ) -> SyncResult {
        let kept: Vec<&str> =
            references.iter().map(|o| o.uid.as_str()).filter(|uid| loose.iter().all(|l| l.uid != *uid)).collect();
        self.keep_references(resource, identity, &live.uid, &kept).await
    }

    /// Keeps only the references to `kept` owners.
    async fn keep_references(&self, resource: &Resource, identity: &Identity, uid: &str, kept: &[&str]) -> SyncResult {
        let keep = |all: &mut Vec<Value>| all.retain(|owner| kept.iter().any(|uid| owner["uid"] == **uid));
        self.change_references(resource, identity, uid, keep).await
    }

    /// Lets every owner go on without this object.
    async fn unblock(&self, resource: &Resource, identity: &Identity, uid: &str) -> SyncResult {
        let unblock =
            |all: &mut Vec<Value>| all.iter_mut().for_each(|owner| owner["blockOwnerDeletion"] = json!(false));
        self.change_references(resource, identity, uid, unblock).await
    }

    /// Reads the object once more as a whole, changes its references, and writes that under the resourceVersion that was
    /// read.
    async fn change_references(
        &self,
        resource: &Resource,
        identity: &Identity,
        uid: &str,
        change: impl FnOnce(&mut Vec<Value>),
    ) -> SyncResult {
        let path = format!("{}/{}", resource.path(&identity.namespace), identity.name);
        let Some(object) = self.get_whole(&path).await? else { return Ok(None) };
        let metadata = &object["metadata"];
        if metadata["uid"] != uid {
            return Ok(None);
        }
        let all = metadata["ownerReferences"].as_array().cloned().unwrap_or_default();
        let mut left = all.clone();
        change(&mut left);
        if left == all {
            return Ok(None);
        }
        let left = if left.is_empty() { Value::Null } else { json!(left) };
        let patch = json!({ "metadata": { "uid": uid, "resourceVersion": metadata["resourceVersion"], "ownerReferences": left } });
        self.patch(&path, &patch).await
    }

    /// Lets the dependents of an object go before it is deleted.
    pub(super) async fn attempt_to_orphan(&self, uid: Uid) -> SyncResult {
        let Some((identity, _, _)) = self.node(&uid) else { return Ok(None) };
        let Some(resource) = self.mapper.resource(&identity.api_version, &identity.kind) else { return Ok(None) };
        let dependents: Vec<(Uid, Identity, Vec<Owner>)> = {
            let graph = self.graph.lock();
            let known =
                |uid: Uid| graph.get(&uid).map(|node| (uid.clone(), node.identity.clone(), node.owners.clone()));
            graph.dependents(&uid).into_iter().filter_map(known).collect()
        };
        for (dependent, identity, owners) in dependents {
            let Some(resource) = self.mapper.resource(&identity.api_version, &identity.kind) else {
                return Err(Error::Invalid(format!("unknown kind {} {}", identity.api_version, identity.kind)));
            };
            let kept: Vec<&str> = owners.iter().map(|o| o.uid.as_str()).filter(|other| *other != uid).collect();
            self.keep_references(&resource, &identity, &dependent, &kept).await?;
        }
        // Only now that none is left behind may the object go.
        match self.get(&resource, &identity).await? {
            Some(live) if live.uid == uid => self.remove_finalizer(&resource, &identity, &live, ORPHAN).await,
            _ => Ok(None),
        }
    }

    async fn remove_finalizer(
        &self,
        resource: &Resource,
        identity: &Identity,
        live: &Fields,
        name: &str,
    ) -> SyncResult {
        if !live.has_finalizer(name) {
            return Ok(None);
        }
        let left: Vec<&str> = live.finalizers.iter().flatten().map(|f| f.as_str()).filter(|f| *f != name).collect();
        let left = if left.is_empty() { Value::Null } else { json!(left) };
        let path = format!("{}/{}", resource.path(&identity.namespace), identity.name);
        let patch =
            json!({ "metadata": { "uid": live.uid, "resourceVersion": live.resource_version, "finalizers": left } });
        self.patch(&path, &patch).await
    }

    async fn get(&self, resource: &Resource, identity: &Identity) -> Result<Option<Fields>, Error> {
        let path = format!("{}/{}", resource.path(&identity.namespace), identity.name);
        let accept = format!("{},application/json", client::Source::METADATA_ONLY);
        let request = Request::get(path).header("accept", accept).body(Vec::new()).map_err(kube::Error::HttpError)?;
        match self.client.request::<Meta>(request).await {
            Ok(object) => Ok(Some(object.metadata)),
            Err(error) if is_not_found(&error) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn get_whole(&self, path: &str) -> Result<Option<Value>, Error> {
        let request = Request::get(path).header("accept", "application/json").body(Vec::new());
        match self.client.request::<Value>(request.map_err(kube::Error::HttpError)?).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if is_not_found(&error) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn patch(&self, path: &str, patch: &Value) -> SyncResult {
        let request = Request::patch(path).header("content-type", "application/merge-patch+json");
        let request = request.body(patch.to_string().into()).map_err(kube::Error::HttpError)?;
        match self.client.request::<Value>(request).await {
            // Gone, or another object by now: then its own events tell what is to be done.
            Err(error) if is_not_found(&error) || is_invalid(&error) => Ok(None),
            Err(error) if is_conflict(&error) => Err(Error::Wait("the object changed meanwhile")),
            outcome => Ok(outcome.map(|_| None)?),
        }
    }

    /// Deletes the object that was looked at, provided that it has not changed since.
    async fn delete(&self, resource: &Resource, identity: &Identity, live: &Fields, policy: &str) -> SyncResult {
        let options = json!({
            "kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy,
            "preconditions": { "uid": live.uid, "resourceVersion": live.resource_version }
        });
        let path = format!("{}/{}", resource.path(&identity.namespace), identity.name);
        let request = Request::delete(path).header("content-type", "application/json").body(options.to_string().into());
        match self.client.request::<Value>(request.map_err(kube::Error::HttpError)?).await {
            Err(error) if is_conflict(&error) => Err(Error::Wait("the object changed meanwhile")),
            outcome => Ok(ignore_not_found(outcome).map(|()| None)?),
        }
    }
}

fn reference(identity: &Identity, uid: &str) -> ObjectReference {
    ObjectReference {
        api_version: Some(identity.api_version.to_string()),
        kind: Some(identity.kind.to_string()),
        namespace: Some(identity.namespace.to_string()),
        name: Some(identity.name.to_string()),
        uid: Some(uid.to_owned()),
        ..ObjectReference::default()
    }
}
