//! The scale subresource.

use serde_json::{Value, json};

use crate::Cluster;
use crate::kinds::{DEPLOYMENT, Kind, REPLICA_SET, REPLICATION_CONTROLLER, STATEFUL_SET};
use crate::must::{must, must_cover};
use crate::samples::{controller, workload};

tests!(scale: deployment, replica_set, stateful_set, replication_controller);

/// Reads, updates and patches the scale of an object that has one replica.
async fn scale(cluster: &Cluster, kind: Kind, object: Value) -> anyhow::Result<()> {
    let (workloads, scale) = (cluster.of(kind), cluster.of(kind).sub("scale"));
    workloads.create(&object).await?;
    workloads.until("web", "the pod MUST run", |o| o["status"]["readyReplicas"] == 1).await?;
    let read = scale.get("web").await?;
    let expected =
        json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "spec": {"replicas": 1}, "status": {"replicas": 1}});
    must_cover(&read, &expected, "the scale MUST be one")?;

    let updated = scale.change("web", |s| s["spec"]["replicas"] = json!(2)).await?;
    must(updated["spec"]["replicas"] == 2, "the updated scale MUST be two", &updated)?;
    let read = workloads.get("web").await?;
    must(read["spec"]["replicas"] == 2, "the object MUST have two replicas", &read)?;

    let patched = scale.patch("web", &json!({"spec": {"replicas": 3}})).await?;
    must(patched["spec"]["replicas"] == 3, "the patched scale MUST be three", &patched)?;
    workloads.until("web", "three replicas MUST come", |o| o["status"]["replicas"] == 3).await.map(drop)
}

async fn deployment(cluster: &Cluster) -> anyhow::Result<()> {
    scale(cluster, DEPLOYMENT, workload("web", &cluster.labels(), Some(1))).await
}

async fn replica_set(cluster: &Cluster) -> anyhow::Result<()> {
    scale(cluster, REPLICA_SET, workload("web", &cluster.labels(), Some(1))).await
}

async fn stateful_set(cluster: &Cluster) -> anyhow::Result<()> {
    scale(cluster, STATEFUL_SET, workload("web", &cluster.labels(), Some(1))).await
}

async fn replication_controller(cluster: &Cluster) -> anyhow::Result<()> {
    scale(cluster, REPLICATION_CONTROLLER, controller("web", &cluster.labels(), 1)).await
}
