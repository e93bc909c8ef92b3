//! Storage that is in use stays: the finalizers of claims, volumes and classes go only when nothing uses them any more.

pub mod classes;

use std::sync::Arc;

use client::{Cached as _, Change, ObjectKey, Scope, Store, WorkQueue};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use kube::Api;
use kube::api::{ListParams, PostParams};

use crate::pod::SlimPod;
use crate::skeleton::{Context, Error, SyncResult, Tasks, enqueue, ignore_not_found};

const CLAIM_FINALIZER: &str = "kubernetes.io/pvc-protection";
const VOLUME_FINALIZER: &str = "kubernetes.io/pv-protection";
const CLAIMS: &str = "pvcprotection";
const VOLUMES: &str = "pvprotection";

/// Protects claims until shutdown.
pub async fn claims(context: Context) -> Result<(), Error> {
    let claims = context.informers.get::<PersistentVolumeClaim>(Scope::all());
    let pods = context.informers.get::<SlimPod>(Scope::all());
    claims.synced().await;
    pods.synced().await;
    let queue: WorkQueue<ObjectKey> = WorkQueue::new(CLAIMS);
    let mut tasks = Tasks::new();
    tasks.feed(&claims, enqueue(&queue));
    tasks.feed(&pods, {
        let (queue, claims) = (queue.clone(), claims.store());
        move |change: &Change<SlimPod>| {
            if change.new.as_ref().is_none_or(|pod| pod.is_finished()) {
                let waiting = claims.list_namespace(&change.key.namespace);
                for claim in waiting.iter().filter(|claim| claim.metadata.deletion_timestamp.is_some()) {
                    queue.add(ObjectKey::of(&**claim));
                }
            }
        }
    });
    let shared = Arc::new((context.clone(), claims.store()));
    tasks.work(CLAIMS, &queue, 2, move |key| {
        let shared = shared.clone();
        async move { sync_claim(&shared.0, &shared.1, key).await }
    });
    tasks.run(&context.shutdown).await
}

async fn sync_claim(context: &Context, claims: &Store<PersistentVolumeClaim>, key: ObjectKey) -> SyncResult {
    let Some(claim) = claims.get_key(&key) else { return Ok(None) };
    let finalizers = claim.metadata.finalizers.as_deref().unwrap_or_default();
    let is_protected = finalizers.iter().any(|finalizer| finalizer == CLAIM_FINALIZER);
    if claim.metadata.deletion_timestamp.is_none() || !is_protected {
        return Ok(None);
    }
    // Asked live: a pod that the cache does not know yet must not lose its data.
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), &key.namespace);
    if pods.list(&ListParams::default()).await?.items.iter().any(|pod| uses(pod, &key.name)) {
        return Ok(None);
    }
    let mut wanted = (*claim).clone();
    wanted.metadata.finalizers.get_or_insert_default().retain(|finalizer| finalizer != CLAIM_FINALIZER);
    let api: Api<PersistentVolumeClaim> = Api::namespaced(context.client.clone(), &key.namespace);
    ignore_not_found(api.replace(claim.name(), &PostParams::default(), &wanted).await)?;
    Ok(None)
}

/// The pod has a volume of the claim and has not ended.
fn uses(pod: &Pod, claim: &str) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref()).unwrap_or_default();
    let pod_name = pod.name();
    !matches!(phase, Some("Succeeded" | "Failed"))
        && volumes.iter().any(|volume| match (&volume.persistent_volume_claim, &volume.ephemeral) {
            (Some(source), _) => source.claim_name == claim,
            // The claim of an ephemeral volume is named after the pod and the volume.
            (None, Some(_)) => claim == format!("{pod_name}-{}", volume.name),
            (None, None) => false,
        })
}

/// Protects volumes until shutdown.
pub async fn volumes(context: Context) -> Result<(), Error> {
    let volumes = context.informers.get::<PersistentVolume>(Scope::all());
    volumes.synced().await;
    let queue: WorkQueue<ObjectKey> = WorkQueue::new(VOLUMES);
    let mut tasks = Tasks::new();
    tasks.feed(&volumes, enqueue(&queue));
    let shared = Arc::new((context.clone(), volumes.store()));
    tasks.work(VOLUMES, &queue, 1, move |key: ObjectKey| {
        let shared = shared.clone();
        async move { sync_volume(&shared.0, &shared.1, &key.name).await }
    });
    tasks.run(&context.shutdown).await
}

async fn sync_volume(context: &Context, volumes: &Store<PersistentVolume>, name: &str) -> SyncResult {
    let Some(volume) = volumes.get("", name) else { return Ok(None) };
    let finalizers = volume.metadata.finalizers.as_deref().unwrap_or_default();
    let is_protected = finalizers.iter().any(|finalizer| finalizer == VOLUME_FINALIZER);
    let is_bound = volume.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound");
    if volume.metadata.deletion_timestamp.is_none() || !is_protected || is_bound {
        return Ok(None);
    }
    let mut wanted = (*volume).clone();
    wanted.metadata.finalizers.get_or_insert_default().retain(|finalizer| finalizer != VOLUME_FINALIZER);
    let api: Api<PersistentVolume> = Api::all(context.client.clone());
    ignore_not_found(api.replace(name, &PostParams::default(), &wanted).await)?;
    Ok(None)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_claim_is_used_by_name_or_by_an_ephemeral_volume() {
        let pod = |phase: &str| -> Pod {
            serde_json::from_value(json!({ "metadata": { "name": "p" }, "status": { "phase": phase }, "spec": { "containers": [], "volumes": [
                { "name": "a", "persistentVolumeClaim": { "claimName": "data" } }, { "name": "b", "ephemeral": {} }, { "name": "c", "emptyDir": {} }] } }))
            .unwrap()
        };
        let used = |phase: &str, claim: &str| uses(&pod(phase), claim);
        assert!(used("Running", "data") && used("Pending", "p-b"));
        assert!(!used("Running", "p-c") && !used("Running", "other") && !used("Succeeded", "data"));
    }
}
