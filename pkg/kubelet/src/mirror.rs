//! Mirror pods: what the server shows of static pods. They follow the manifests; deleting one does not end its pod.

use std::sync::Arc;
use std::time::Duration;

use client::informer::Informer;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, PostParams, Preconditions};
use serde_json::json;

use crate::kubelet::Kubelet;
use crate::names;
use crate::pod::PodExt as _;

const RETRY: Duration = Duration::from_secs(5);

/// Keeps mirror pods in line with static pods, at each change of either.
pub async fn run(kubelet: Arc<Kubelet>, pods: Informer<Pod>) {
    let Some(client) = kubelet.config.client.clone() else {
        return;
    };
    let mut wanted = kubelet.static_pods.subscribe();
    let mut changes = pods.subscribe();
    pods.synced().await;
    loop {
        let statics = wanted.borrow_and_update().clone();
        let failed = reconcile(&client, &kubelet, &pods, &statics).await.is_err();
        tokio::select! {
            changed = wanted.changed() => if changed.is_err() { return },
            _ = next_mirror_change(&mut changes) => {}
            () = tokio::time::sleep(RETRY), if failed => {}
        }
    }
}

/// Ordinary pods are none of our business here.
async fn next_mirror_change(changes: &mut client::Subscription<Pod>) {
    while let Some(change) = changes.next().await {
        if change.latest().is_some_and(|pod| pod.is_mirror()) {
            return;
        }
    }
}

async fn reconcile(
    client: &client::Client,
    kubelet: &Kubelet,
    pods: &Informer<Pod>,
    statics: &[Arc<Pod>],
) -> Result<(), kube::Error> {
    let store = pods.store();
    for mirror in store.list().into_iter().filter(|pod| pod.is_mirror()) {
        let owner = statics.iter().find(|p| p.name() == mirror.name() && p.namespace() == mirror.namespace());
        let current =
            owner.is_some_and(|p| mirror.annotations().get(names::MIRROR_POD).map(String::as_str) == Some(p.uid()));
        if !current || mirror.is_deleting() {
            delete(client, &mirror).await?;
        }
    }
    for pod in statics {
        let present = store.get(pod.namespace(), pod.name());
        if present.is_none_or(|mirror| {
            mirror.is_deleting() || mirror.annotations().get(names::MIRROR_POD).map(String::as_str) != Some(pod.uid())
        }) {
            create(client, kubelet, pod).await?;
        }
    }
    Ok(())
}

async fn delete(client: &client::Client, mirror: &Pod) -> Result<(), kube::Error> {
    let parameters = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(Preconditions { uid: mirror.metadata.uid.clone(), resource_version: None }),
        ..DeleteParams::default()
    };
    match Api::<Pod>::namespaced(client.clone(), mirror.namespace()).delete(mirror.name(), &parameters).await {
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(()),
        outcome => outcome.map(drop),
    }
}

async fn create(client: &client::Client, kubelet: &Kubelet, pod: &Pod) -> Result<(), kube::Error> {
    let mut mirror = pod.clone();
    mirror.metadata.uid = None;
    mirror.status = None;
    let annotations = mirror.metadata.annotations.get_or_insert_default();
    annotations.insert(names::MIRROR_POD.to_owned(), pod.uid().to_owned());
    let node = kubelet.node.as_ref().and_then(|node| node.store().get("", &kubelet.config.node_name));
    let owner = node.and_then(|node| node.metadata.uid.clone()).map(|uid| {
        json!([{"apiVersion": "v1", "kind": "Node", "name": kubelet.config.node_name, "uid": uid, "controller": true}])
    });
    mirror.metadata.owner_references = owner.and_then(|owner| serde_json::from_value(owner).ok());
    match Api::<Pod>::namespaced(client.clone(), pod.namespace()).create(&PostParams::default(), &mirror).await {
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(error) => {
            tracing::warn!(pod = pod.describe(), %error, "mirror pod was not made; trying again");
            Err(error)
        }
        Ok(_) => {
            kubelet.statuses.resend(pod.uid());
            Ok(())
        }
    }
}
