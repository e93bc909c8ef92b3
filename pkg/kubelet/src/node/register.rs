//! Making the Node object, or bringing an existing one up to date.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::status;
use crate::config::Config;
use crate::kubelet::Kubelet;

const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(7);

/// Tries until it succeeds.
pub async fn run(client: &client::Client, kubelet: &Arc<Kubelet>) {
    let mut wait = RETRY_FIRST;
    loop {
        match register(client, kubelet).await {
            Ok(()) => {
                tracing::info!(node = kubelet.config.node_name, "node registered");
                return;
            }
            Err(error) => tracing::warn!(%error, "node was not registered; trying again"),
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(RETRY_MAX);
    }
}

async fn register(client: &client::Client, kubelet: &Arc<Kubelet>) -> Result<(), kube::Error> {
    let nodes: Api<Node> = Api::all(client.clone());
    let config = &kubelet.config;
    let status = status::compute(kubelet, &status::Known::default()).await;
    let node = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": config.node_name, "labels": labels(config)},
        "spec": {"taints": config.node_taints},
        "status": status,
    });
    let typed: Node = serde_json::from_value(node).map_err(kube::Error::SerdeError)?;
    match nodes.create(&PostParams::default(), &typed).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => update(&nodes, config).await,
        Err(error) => Err(error),
    }
}

/// Labels that the kubelet owns are set again; all others, and taints, are the cluster's affair.
async fn update(nodes: &Api<Node>, config: &Config) -> Result<(), kube::Error> {
    let existing = nodes.get(&config.node_name).await?;
    let present = existing.metadata.labels.unwrap_or_default();
    let missing: BTreeMap<_, _> = labels(config).into_iter().filter(|(k, v)| present.get(k) != Some(v)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let patch: Value = json!({"metadata": {"labels": missing}});
    nodes.patch(&config.node_name, &PatchParams::default(), &Patch::Merge(&patch)).await.map(drop)
}

/// Labels in Kubernetes' own namespace that a node may give itself; all others are refused by the server, so that a
/// node cannot draw workloads to itself. Who runs the control plane sets its role.
fn may_set(label: &str) -> bool {
    const ALLOWED: [&str; 13] = [
        "kubernetes.io/hostname",
        "kubernetes.io/os",
        "kubernetes.io/arch",
        "kubernetes.io/instance-type",
        "beta.kubernetes.io/os",
        "beta.kubernetes.io/arch",
        "beta.kubernetes.io/instance-type",
        "node.kubernetes.io/instance-type",
        "node.kubernetes.io/windows-build",
        "topology.kubernetes.io/zone",
        "topology.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/region",
    ];
    let Some((namespace, _)) = label.split_once('/') else {
        return true;
    };
    let ends = |domain: &str| namespace == domain || namespace.ends_with(&format!(".{domain}"));
    let kubernetes = ends("kubernetes.io") || ends("k8s.io");
    !kubernetes || ALLOWED.contains(&label) || ends("kubelet.kubernetes.io") || ends("node.kubernetes.io")
}

fn labels(config: &Config) -> BTreeMap<String, String> {
    let arch = component_base::version::architecture();
    let own = [
        ("kubernetes.io/hostname", config.node_name.as_str()),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", arch),
        ("beta.kubernetes.io/os", "linux"),
        ("beta.kubernetes.io/arch", arch),
    ];
    let mut labels: BTreeMap<_, _> = own.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    let (own, refused): (Vec<_>, Vec<_>) = config.node_labels.clone().into_iter().partition(|(key, _)| may_set(key));
    if !refused.is_empty() {
        tracing::debug!(?refused, "labels that a node may not give itself were left out");
    }
    labels.extend(own);
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_does_not_give_itself_a_role() {
        for good in
            ["a", "example.com/x", "kubernetes.io/os", "node.kubernetes.io/instance-type", "x.kubelet.kubernetes.io/y"]
        {
            assert!(may_set(good), "{good}");
        }
        for bad in ["node-role.kubernetes.io/control-plane", "node-restriction.kubernetes.io/x", "foo.k8s.io/x"] {
            assert!(!may_set(bad), "{bad}");
        }
    }
}
