//! A class of volume attributes stays while a claim or a volume names it (KEP-3751).

use std::sync::Arc;

use client::{Change, ObjectKey, Scope, Store, WorkQueue};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::VolumeAttributesClass;
use kube::Api;
use kube::api::{ListParams, PostParams};

use crate::skeleton::{Context, Error, SyncResult, Tasks, enqueue, ignore_not_found};

const FINALIZER: &str = "kubernetes.io/vac-protection";
const NAME: &str = "vacprotection";

/// Protects classes until shutdown.
pub async fn run(context: Context) -> Result<(), Error> {
    let classes = context.informers.get::<VolumeAttributesClass>(Scope::all());
    let claims = context.informers.get::<PersistentVolumeClaim>(Scope::all());
    let volumes = context.informers.get::<PersistentVolume>(Scope::all());
    classes.synced().await;
    claims.synced().await;
    volumes.synced().await;
    let queue: WorkQueue<ObjectKey> = WorkQueue::new(NAME);
    let mut tasks = Tasks::new();
    tasks.feed(&classes, enqueue(&queue));
    tasks.feed(&claims, {
        let queue = queue.clone();
        move |change: &Change<PersistentVolumeClaim>| released(&queue, change, named_by_claim)
    });
    tasks.feed(&volumes, {
        let queue = queue.clone();
        move |change: &Change<PersistentVolume>| released(&queue, change, named_by_volume)
    });
    let shared = Arc::new((context.clone(), classes.store()));
    tasks.work(NAME, &queue, 1, move |key: ObjectKey| {
        let shared = shared.clone();
        async move { sync(&shared.0, &shared.1, &key.name).await }
    });
    tasks.run(&context.shutdown).await
}

/// Looks again at each class that an object no longer names.
fn released<K>(queue: &WorkQueue<ObjectKey>, change: &Change<K>, named: fn(&K) -> Vec<&str>) {
    let now = change.new.as_deref().map(named).unwrap_or_default();
    for class in change.old.as_deref().map(named).unwrap_or_default() {
        if !now.contains(&class) {
            queue.add(ObjectKey { namespace: "".into(), name: class.into() });
        }
    }
}

async fn sync(context: &Context, classes: &Store<VolumeAttributesClass>, name: &str) -> SyncResult {
    let Some(class) = classes.get("", name) else { return Ok(None) };
    let finalizers = class.metadata.finalizers.as_deref().unwrap_or_default();
    let is_protected = finalizers.iter().any(|finalizer| finalizer == FINALIZER);
    if class.metadata.deletion_timestamp.is_none() || !is_protected {
        return Ok(None);
    }
    // Asked live: what the cache does not know yet counts, too.
    let all = ListParams::default();
    let claims: Api<PersistentVolumeClaim> = Api::all(context.client.clone());
    let volumes: Api<PersistentVolume> = Api::all(context.client.clone());
    let is_used = claims.list(&all).await?.items.iter().any(|claim| named_by_claim(claim).contains(&name))
        || volumes.list(&all).await?.items.iter().any(|volume| named_by_volume(volume).contains(&name));
    if is_used {
        return Ok(None);
    }
    let mut wanted = (*class).clone();
    wanted.metadata.finalizers.get_or_insert_default().retain(|finalizer| finalizer != FINALIZER);
    let api: Api<VolumeAttributesClass> = Api::all(context.client.clone());
    ignore_not_found(api.replace(name, &PostParams::default(), &wanted).await)?;
    Ok(None)
}

/// The classes that a claim asks for, has, or is being changed to.
fn named_by_claim(claim: &PersistentVolumeClaim) -> Vec<&str> {
    let asked = claim.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.as_deref());
    let status = claim.status.as_ref();
    let current = status.and_then(|status| status.current_volume_attributes_class_name.as_deref());
    let change = status.and_then(|status| status.modify_volume_status.as_ref());
    let target = change.and_then(|change| change.target_volume_attributes_class_name.as_deref());
    [asked, current, target].into_iter().flatten().collect()
}

fn named_by_volume(volume: &PersistentVolume) -> Vec<&str> {
    volume.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.as_deref()).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_class_is_named_by_what_asks_for_it_has_it_or_changes_to_it() {
        for (claim, named) in [
            (json!({"spec": {}}), vec![]),
            (json!({"spec": {"volumeAttributesClassName": "gold"}}), vec!["gold"]),
            (json!({"status": {"currentVolumeAttributesClassName": "silver"}}), vec!["silver"]),
            (
                json!({"status": {"modifyVolumeStatus": {"status": "Pending", "targetVolumeAttributesClassName": "gold"}}}),
                vec!["gold"],
            ),
        ] {
            let claim: PersistentVolumeClaim = serde_json::from_value(claim).unwrap();
            assert_eq!(named_by_claim(&claim), named);
        }
        let volume: PersistentVolume =
            serde_json::from_value(json!({"spec": {"volumeAttributesClassName": "gold"}})).unwrap();
        assert_eq!(named_by_volume(&volume), ["gold"]);
    }

    #[test]
    fn a_class_is_looked_at_again_when_nothing_names_it_any_more() {
        let claim = |class: &str| -> Arc<PersistentVolumeClaim> {
            Arc::new(serde_json::from_value(json!({"spec": {"volumeAttributesClassName": class}})).unwrap())
        };
        for (old, new, looked_at) in [
            (Some("a"), None, true),
            (Some("a"), Some("b"), true),
            (Some("a"), Some("a"), false),
            (None, Some("a"), false),
        ] {
            let queue: WorkQueue<ObjectKey> = WorkQueue::new("test");
            let key = ObjectKey { namespace: "default".into(), name: "data".into() };
            let change = Change { key, old: old.map(claim), new: new.map(claim) };
            released(&queue, &change, named_by_claim);
            assert_eq!(!queue.is_empty(), looked_at, "{old:?} to {new:?}");
        }
    }
}
