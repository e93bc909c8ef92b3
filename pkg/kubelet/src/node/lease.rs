//! The heartbeat: a Lease in `kube-node-lease`.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;

use crate::config::Timings;

const NAMESPACE: &str = "kube-node-lease";
/// After a failure: soon again, the node's life hangs on it.
const RETRY: Duration = Duration::from_millis(500);

/// Renews until it is dropped.
pub async fn run(client: client::Client, node: String, timings: Timings) {
    let leases: Api<Lease> = Api::namespaced(client.clone(), NAMESPACE);
    loop {
        let renewal = tokio::time::timeout(timings.lease_renew, renew(&client, &leases, &node, timings));
        let wait = match renewal.await {
            // A little early or late, so that a thousand nodes do not knock together.
            Ok(Ok(())) => timings.lease_renew.mul_f64(0.96 + 0.08 * rand::random::<f64>()),
            Ok(Err(error)) => {
                tracing::debug!(%error, "Lease was not renewed; trying again");
                RETRY
            }
            Err(_) => {
                tracing::warn!("Lease was not renewed in time; trying again");
                RETRY
            }
        };
        tokio::time::sleep(wait).await;
    }
}

async fn renew(client: &client::Client, leases: &Api<Lease>, node: &str, timings: Timings) -> Result<(), kube::Error> {
    let now = apimachinery::time::format_micro(Timestamp::now());
    let renewal = json!({"spec": {
        "holderIdentity": node, "leaseDurationSeconds": timings.lease_seconds, "renewTime": now}});
    match leases.patch(node, &PatchParams::default(), &Patch::Merge(&renewal)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => create(client, leases, node, renewal).await,
        Err(error) => Err(error),
    }
}

/// The Lease goes when its node does.
async fn create(
    client: &client::Client,
    leases: &Api<Lease>,
    node: &str,
    mut lease: serde_json::Value,
) -> Result<(), kube::Error> {
    let owner = Api::<Node>::all(client.clone()).get(node).await.ok();
    let owners: Vec<_> = owner
        .and_then(|node| node.metadata.uid)
        .map(|uid| json!({"apiVersion": "v1", "kind": "Node", "name": node, "uid": uid}))
        .into_iter()
        .collect();
    lease["metadata"] = json!({"name": node, "namespace": NAMESPACE, "ownerReferences": owners});
    let lease = serde_json::from_value(lease).map_err(kube::Error::SerdeError)?;
    leases.create(&PostParams::default(), &lease).await.map(drop)
}
