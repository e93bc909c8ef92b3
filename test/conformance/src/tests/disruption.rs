//! PodDisruptionBudgets and evictions.

use serde_json::{Value, json};

use crate::Cluster;
use crate::kinds::{DISRUPTION_BUDGET, POD};
use crate::must::must_refuse;
use crate::operations::{self, Operations};
use crate::samples::{condition, pod};

tests!(disruption: budget_operations, budget_collection, status_is_observed, status_changes, eviction_is_blocked);

fn spec(cluster: &Cluster, available: u32) -> Value {
    json!({"spec": {"minAvailable": available, "selector": {"matchLabels": cluster.labels()}}})
}

/// Makes a budget for pods that run.
async fn make(cluster: &Cluster, available: u32, pods: u32) -> anyhow::Result<()> {
    let mut budget = spec(cluster, available);
    budget["metadata"] = json!({"name": "budget", "labels": cluster.labels()});
    cluster.of(DISRUPTION_BUDGET).create(&budget).await?;
    let made = cluster.of(POD);
    for i in 0..pods {
        made.create(&pod(&format!("pod-{i}"), &cluster.labels())).await?;
    }
    for i in 0..pods {
        made.until(&format!("pod-{i}"), "the pod runs", |p| p["status"]["phase"] == "Running").await?;
    }
    Ok(())
}

/// Waits until the controller has counted for the newest specification.
async fn until_allowed(cluster: &Cluster, allowed: u64) -> anyhow::Result<Value> {
    let counted = |b: &Value| {
        let current = b["status"]["observedGeneration"] == b["metadata"]["generation"];
        current && b["status"]["disruptionsAllowed"] == allowed && b["status"]["currentHealthy"].as_u64() > Some(0)
    };
    let what = format!("the status MUST allow {allowed} disruptions");
    cluster.of(DISRUPTION_BUDGET).until("budget", &what, counted).await
}

async fn budget_operations(cluster: &Cluster) -> anyhow::Result<()> {
    Operations::of(DISRUPTION_BUDGET, spec(cluster, 1)).patch(json!({"spec": {"minAvailable": 2}})).run(cluster).await
}

async fn budget_collection(cluster: &Cluster) -> anyhow::Result<()> {
    let other = format!("{}-b", cluster.unique);
    cluster.namespace(&other).await?;
    let (here, there) = (cluster.of(DISRUPTION_BUDGET), cluster.within(DISRUPTION_BUDGET, &other));
    for (budgets, name) in [(&here, "one"), (&here, "two"), (&there, "one")] {
        let mut budget = spec(cluster, 1);
        budget["metadata"] = json!({"name": name, "labels": cluster.labels()});
        budgets.create(&budget).await?;
    }
    cluster.everywhere(DISRUPTION_BUDGET).until_count(&cluster.selector(), 3).await?;
    here.delete_collection(&cluster.selector()).await?;
    here.until_count(&cluster.selector(), 0).await?;
    there.until_count(&cluster.selector(), 1).await.map(drop)
}

async fn status_is_observed(cluster: &Cluster) -> anyhow::Result<()> {
    make(cluster, 1, 3).await?;
    until_allowed(cluster, 2).await.map(drop)
}

async fn status_changes(cluster: &Cluster) -> anyhow::Result<()> {
    make(cluster, 1, 2).await?;
    until_allowed(cluster, 1).await?;
    let budgets = cluster.of(DISRUPTION_BUDGET);
    let disrupted = |pod: &str| json!({"disruptedPods": {pod: "2099-01-02T03:04:05Z"}});
    let mut watch = budgets.watch_from_now("").await?;
    budgets.sub("status").change("budget", |b| b["status"]["conditions"] = json!([condition("StatusUpdate")])).await?;
    let seen =
        |b: &Value| b["status"]["conditions"].as_array().is_some_and(|c| c.iter().any(|c| c["type"] == "StatusUpdate"));
    watch.expect("MODIFIED", "the updated status", seen).await?;
    operations::status(&budgets, "budget", &disrupted("pod-0"), &disrupted("pod-1")).await
}

async fn eviction_is_blocked(cluster: &Cluster) -> anyhow::Result<()> {
    make(cluster, 2, 2).await?;
    until_allowed(cluster, 0).await?;
    let (pods, evictions) = (cluster.of(POD), cluster.of(POD).sub("eviction"));
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "pod-0"}});
    let refusal =
        must_refuse(evictions.create_for("pod-0", &eviction).await, 429, "an eviction that the budget blocks")?;
    let expected = "Cannot evict pod as it would violate the pod's disruption budget.";
    anyhow::ensure!(refusal.message == expected, "the refusal MUST say why: {:?}", refusal.message);
    cluster.of(DISRUPTION_BUDGET).patch("budget", &spec(cluster, 1)).await?;
    until_allowed(cluster, 1).await?;
    evictions.create_for("pod-0", &eviction).await?;
    pods.until_gone("pod-0").await
}
