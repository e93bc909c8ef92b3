//! Who controls what: indices by owner, adoption and release, and settling expectations from pod changes.

use std::sync::Arc;

use client::{Cached, Change, Index, Store};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::expectations::Expectations;
use crate::pod::{Owner, SlimPod};
use crate::skeleton::{Error, is_invalid, is_not_found};

/// The owner for which pods are claimed.
pub struct Claim<'a> {
    pub uid: &'a str,
    pub deleting: bool,
}

/// Pods by the UID of their controller.
pub fn pods_by_owner(pods: &Store<SlimPod>) -> Index<SlimPod> {
    pods.index("controller", |pod| pod.controller().map(|owner| owner.uid.clone()).into_iter().collect())
}

/// Pods without a controller, by namespace.
pub fn orphan_pods(pods: &Store<SlimPod>) -> Index<SlimPod> {
    pods.index("orphans", |pod| if pod.controller().is_none() { vec![pod.namespace.clone()] } else { Vec::new() })
}

/// Objects by their own UID, so that a reference to an earlier object of the same name finds nothing.
pub fn by_uid<K: Cached + k8s_openapi::Metadata<Ty = ObjectMeta>>(objects: &Store<K>) -> Index<K> {
    objects.index("uid", |object| object.metadata().uid.iter().map(|uid| uid.as_str().into()).collect())
}

/// Objects by the UID of their controller.
pub fn by_owner<K: Cached + k8s_openapi::Metadata<Ty = ObjectMeta>>(objects: &Store<K>) -> Index<K> {
    objects.index("controller", |object| {
        controller_of(object.metadata()).map(|owner| owner.uid.as_str().into()).into_iter().collect()
    })
}

pub fn controller_of(metadata: &ObjectMeta) -> Option<&OwnerReference> {
    metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

/// The controllers of a kind that a pod's change concerns: the one that it has, and another that it had.
pub fn concerned<'a>(change: &'a Change<SlimPod>, kind: &str) -> impl Iterator<Item = &'a Owner> {
    let of = |pod: &'a Arc<SlimPod>| pod.controller().filter(|owner| owner.kind == kind);
    let (old, new) = (change.old.as_ref().and_then(of), change.new.as_ref().and_then(of));
    let former = old.filter(|old| new.is_none_or(|new| new.uid != old.uid));
    former.into_iter().chain(new)
}

/// Takes what a pod's change shows off the open expectations; answers the owners that have none left.
pub fn settle<K: Clone + Eq + std::hash::Hash>(expectations: &Expectations<K>, change: &Change<SlimPod>) -> Vec<K> {
    let mut owners: Vec<K> = expectations.created(&change.key).into_iter().collect();
    let same = |old: &SlimPod| change.new.as_ref().is_some_and(|new| new.uid == old.uid);
    // Gone, replaced by another of the same name, or on its way out.
    let replaced = change.old.as_ref().filter(|old| !same(old)).map(|old| &old.uid);
    let leaving = change.new.as_ref().filter(|new| new.is_deleting()).map(|new| &new.uid);
    owners.extend(replaced.into_iter().chain(leaving).filter_map(|uid| expectations.deleted(uid)));
    owners
}

/// Fails unless the object is there live, with the same UID and not on its way out: asked before anything is adopted.
pub async fn still_there<K>(api: &Api<K>, object: &K) -> Result<(), Error>
where
    K: Cached + Clone + std::fmt::Debug + k8s_openapi::Metadata<Ty = ObjectMeta>,
{
    let live = api.get(object.name()).await?;
    let (name, live) = (object.name(), live.metadata());
    if live.uid != object.metadata().uid {
        return Err(Error::Invalid(format!("original {} {name} is gone", K::KIND)));
    }
    if live.deletion_timestamp.is_some() {
        return Err(Error::Invalid(format!("{name} has just been deleted")));
    }
    Ok(())
}

/// Makes `owner` the pod's controller. False if the pod is gone or was replaced meanwhile.
pub async fn adopt(api: &Api<Pod>, pod: &SlimPod, owner: &OwnerReference) -> Result<bool, Error> {
    let patch = json!({ "metadata": { "ownerReferences": [owner], "uid": pod.uid } });
    match api.patch(&pod.name, &PatchParams::default(), &Patch::Strategic(&patch)).await {
        Ok(_) => Ok(true),
        Err(error) if is_not_found(&error) || is_invalid(&error) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Takes the reference to `owner_uid` off the pod.
pub async fn release(api: &Api<Pod>, pod: &SlimPod, owner_uid: &str) -> Result<(), Error> {
    let patch = json!({
        "metadata": { "ownerReferences": [{ "$patch": "delete", "uid": owner_uid }], "uid": pod.uid }
    });
    match api.patch(&pod.name, &PatchParams::default(), &Patch::Strategic(&patch)).await {
        Err(error) if !is_not_found(&error) && !is_invalid(&error) => Err(error.into()),
        // Gone, replaced, or without references already: nothing is left to release.
        _ => Ok(()),
    }
}

/// The pods of `object`, after adopting orphans that match its selector and releasing those that do not match any more.
pub async fn claim_pods<K>(
    client: &client::Client,
    object: &K,
    candidates: impl Iterator<Item = Arc<SlimPod>>,
    matches: impl Fn(&SlimPod) -> bool,
) -> Result<Vec<Arc<SlimPod>>, Error>
where
    K: Cached
        + Clone
        + std::fmt::Debug
        + k8s_openapi::Metadata<Ty = ObjectMeta>
        + kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
{
    let metadata = object.metadata();
    let (uid, namespace) = (metadata.uid.as_deref().unwrap_or(""), metadata.namespace.as_deref().unwrap_or(""));
    let claim = Claim { uid, deleting: metadata.deletion_timestamp.is_some() };
    let sorted = filter_claimed(&claim, candidates, matches);
    let mut owned = sorted.owned;
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    if !sorted.adopt.is_empty() {
        // The cache may not know yet that the object is on its way out, or was replaced by one of the same name.
        still_there(&Api::<K>::namespaced(client.clone(), namespace), object).await?;
        for pod in sorted.adopt {
            if adopt(&pods, &pod, &crate::template::controller_ref(object)).await? {
                owned.push(pod);
            }
        }
    }
    for pod in sorted.release {
        release(&pods, &pod, uid).await?;
    }
    Ok(owned)
}

/// Pods by what is to be done with them.
pub(crate) struct Claimed {
    pub owned: Vec<Arc<SlimPod>>,
    pub adopt: Vec<Arc<SlimPod>>,
    pub release: Vec<Arc<SlimPod>>,
}

/// Sorts pods into those that are the owner's, those it should adopt and those it should let go.
pub(crate) fn filter_claimed(
    claim: &Claim<'_>,
    pods: impl Iterator<Item = Arc<SlimPod>>,
    matches: impl Fn(&SlimPod) -> bool,
) -> Claimed {
    let mut claimed = Claimed { owned: Vec::new(), adopt: Vec::new(), release: Vec::new() };
    for pod in pods {
        match pod.controller() {
            Some(owner) if owner.uid != claim.uid => {}
            Some(_) if matches(&pod) => claimed.owned.push(pod),
            Some(_) if !claim.deleting => claimed.release.push(pod),
            None if !claim.deleting && !pod.is_deleting() && matches(&pod) => claimed.adopt.push(pod),
            _ => {}
        }
    }
    claimed
}
