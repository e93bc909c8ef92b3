//! The status subresource of workloads, whose controllers write it, too.

use serde_json::{Value, json};

use crate::Cluster;
use crate::kinds::{DAEMON_SET, DEPLOYMENT, JOB, Kind, REPLICA_SET, SERVICE, STATEFUL_SET};
use crate::must::{must, must_cover};
use crate::operations;
use crate::samples::{condition, conditions, job, push, workload};

tests!(statuses: deployment, replica_set, stateful_set, daemon_set, job_status, service);

/// Whether the status has a condition of this type.
fn has_condition(kind: &'static str) -> impl Fn(&Value) -> bool {
    move |object| object["status"]["conditions"].as_array().is_some_and(|all| all.iter().any(|c| c["type"] == kind))
}

/// Reads, updates and patches the status of a workload that is ready; a watch shows each.
async fn endpoints(cluster: &Cluster, kind: Kind, object: Value, ready: &str) -> anyhow::Result<()> {
    let workloads = cluster.of(kind);
    workloads.create(&object).await?;
    workloads.until("web", "the workload MUST be ready", |o| o["status"][ready] == 1).await?;
    let mut watch = workloads.watch_from_now(&cluster.selector()).await?;
    let status = workloads.sub("status");
    let read = status.get("web").await?;
    must(read["status"].is_object(), "the status MUST be read", &read)?;

    let add = |o: &mut Value| push(&mut o["status"]["conditions"], condition("StatusUpdate"));
    let updated = status.change("web", add).await?;
    must(has_condition("StatusUpdate")(&updated), "the updated status MUST be answered", &updated)?;
    watch.expect("MODIFIED", "the updated status", has_condition("StatusUpdate")).await?;

    let patched = status.patch("web", &json!({"status": conditions("StatusPatched")})).await?;
    must(has_condition("StatusPatched")(&patched), "the patched status MUST be answered", &patched)?;
    must(patched["spec"] == updated["spec"], "the spec MUST NOT change", &patched)?;
    watch.expect("MODIFIED", "the patched status", has_condition("StatusPatched")).await.map(drop)
}

async fn deployment(cluster: &Cluster) -> anyhow::Result<()> {
    endpoints(cluster, DEPLOYMENT, workload("web", &cluster.labels(), Some(1)), "readyReplicas").await
}

async fn replica_set(cluster: &Cluster) -> anyhow::Result<()> {
    endpoints(cluster, REPLICA_SET, workload("web", &cluster.labels(), Some(1)), "readyReplicas").await
}

async fn stateful_set(cluster: &Cluster) -> anyhow::Result<()> {
    endpoints(cluster, STATEFUL_SET, workload("web", &cluster.labels(), Some(1)), "readyReplicas").await
}

async fn daemon_set(cluster: &Cluster) -> anyhow::Result<()> {
    endpoints(cluster, DAEMON_SET, workload("web", &cluster.labels(), None), "numberReady").await
}

async fn job_status(cluster: &Cluster) -> anyhow::Result<()> {
    endpoints(cluster, JOB, job("web", &cluster.labels(), 1), "ready").await?;
    let jobs = cluster.of(JOB).sub("status");
    let patch = json!({"metadata": {"annotations": {"patchedstatus": "true"}}});
    must_cover(&jobs.patch("web", &patch).await?, &patch, "the patched annotation MUST be found")
}

async fn service(cluster: &Cluster) -> anyhow::Result<()> {
    let services = cluster.of(SERVICE);
    let spec = json!({"type": "LoadBalancer", "loadBalancerClass": "example.com/nobody", "ports": [{"port": 80}]});
    services.create(&json!({"metadata": {"name": "web", "labels": cluster.labels()}, "spec": spec})).await?;
    let mut watch = services.watch_from_now(&cluster.selector()).await?;
    let address = json!({"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}]}});
    operations::status(&services, "web", &address, &conditions("StatusUpdate")).await?;
    watch.expect("MODIFIED", "the updated status", has_condition("StatusUpdate")).await?;
    services.patch("web", &json!({"metadata": {"labels": {"test-service": "patched"}}})).await?;
    watch.expect("MODIFIED", "the patch", |o| o["metadata"]["labels"]["test-service"] == "patched").await?;
    services.delete("web").await?;
    watch.expect_deleted("web").await.map(drop)
}
