//! The life of workloads whose controllers act meanwhile.

use kube::api::PropagationPolicy;
use serde_json::{Value, json};

use crate::Cluster;
use crate::kinds::{DAEMON_SET, DEPLOYMENT, JOB, Kind, POD, REPLICA_SET, REPLICATION_CONTROLLER, STATEFUL_SET};
use crate::must::{must, must_cover};
use crate::operations::Operations;
use crate::samples::{WEB, controller, job, workload};

tests!(controllers:
    deployment_lifecycle, controller_lifecycle, replica_set_replaced_and_patched, replica_set_collection,
    stateful_set_collection, daemon_set_collection, job_lifecycle, job_deleted,
);

/// Whether so many replicas are ready.
fn ready(replicas: u64) -> impl Fn(&Value) -> bool {
    move |object| object["status"]["readyReplicas"].as_u64().unwrap_or(0) == replicas
}

async fn deployment_lifecycle(cluster: &Cluster) -> anyhow::Result<()> {
    let (deployments, selector) = (cluster.of(DEPLOYMENT), cluster.selector());
    let mut watch = deployments.watch_from_now(&selector).await?;
    deployments.create(&workload("web", &cluster.labels(), Some(2))).await?;
    watch.expect("ADDED", "the Deployment", |_| true).await?;
    watch.expect("MODIFIED", "the required number of replicas", ready(2)).await?;

    let patch = json!({"metadata": {"labels": {"test-deployment": "patched"}}, "spec": {"replicas": 1}});
    must_cover(&deployments.patch("web", &patch).await?, &patch, "the patch MUST succeed")?;
    watch.expect("MODIFIED", "the patch", |o| o["metadata"]["labels"]["test-deployment"] == "patched").await?;
    deployments.until("web", "one replica MUST be left", ready(1)).await?;
    let found = cluster.everywhere(DEPLOYMENT).items(&selector).await?;
    must(found.len() == 1, "the list of all namespaces MUST find it", &json!(found))?;

    deployments.sub("scale").patch("web", &json!({"spec": {"replicas": 2}})).await?;
    deployments.until("web", "scaling MUST succeed", ready(2)).await?;
    let status = deployments.sub("status").get("web").await?;
    must_cover(&status, &json!({"status": {"replicas": 2}}), "the status MUST be fetched")?;
    let patch = json!({"metadata": {"labels": {"test-deployment": "patched-status"}}, "status": {"readyReplicas": 0, "availableReplicas": 0}});
    deployments.sub("status").patch("web", &patch).await?;
    watch.expect("MODIFIED", "the patched status", |o| o["status"]["readyReplicas"].as_u64().unwrap_or(0) == 0).await?;

    deployments.delete_collection(&selector).await?;
    watch.expect_deleted("web").await?;
    cluster.of(POD).until_count(&selector, 0).await.map(drop)
}

async fn controller_lifecycle(cluster: &Cluster) -> anyhow::Result<()> {
    let (controllers, selector) = (cluster.of(REPLICATION_CONTROLLER), cluster.selector());
    let mut watch = controllers.watch_from_now(&selector).await?;
    controllers.create(&controller("web", &cluster.labels(), 1)).await?;
    watch.expect("ADDED", "the controller", |_| true).await?;
    watch.expect("MODIFIED", "the replica", ready(1)).await?;

    let patch = json!({"metadata": {"labels": {"test-rc-static": "patched"}}});
    must_cover(&controllers.patch("web", &patch).await?, &patch, "the patch MUST succeed")?;
    watch.expect("MODIFIED", "the patch", |o| o["metadata"]["labels"]["test-rc-static"] == "patched").await?;
    let status = json!({"status": {"readyReplicas": 0, "availableReplicas": 0}});
    controllers.sub("status").patch("web", &status).await?;
    watch.expect("MODIFIED", "the patched status", |o| !ready(1)(o)).await?;
    controllers.until("web", "the controller MUST count again", ready(1)).await?;

    let read = controllers.sub("status").get("web").await?;
    must(read["metadata"]["name"] == "web", "the status MUST be read", &read)?;
    controllers.sub("scale").patch("web", &json!({"spec": {"replicas": 2}})).await?;
    watch.expect("MODIFIED", "the scaled controller", ready(2)).await?;
    controllers.change("web", |o| o["metadata"]["annotations"] = json!({"updated": "yes"})).await?;
    watch.expect("MODIFIED", "the update", |o| o["metadata"]["annotations"]["updated"] == "yes").await?;
    let found = cluster.everywhere(REPLICATION_CONTROLLER).items(&selector).await?;
    must(found.len() == 1, "the list of all namespaces MUST find it", &json!(found))?;
    controllers.delete_collection(&selector).await?;
    watch.expect_deleted("web").await.map(drop)
}

async fn replica_set_replaced_and_patched(cluster: &Cluster) -> anyhow::Result<()> {
    let sets = cluster.of(REPLICA_SET);
    sets.create(&workload("web", &cluster.labels(), Some(1))).await?;
    sets.until("web", "the pod MUST run", ready(1)).await?;
    sets.change("web", |o| o["spec"]["replicas"] = json!(2)).await?;
    sets.until("web", "the set MUST scale to two", ready(2)).await?;
    let container = json!({"name": "main", "image": WEB, "command": null});
    let template = json!({"metadata": {"labels": cluster.labels()}, "spec": {"containers": [container]}});
    let patch = json!({"metadata": {"labels": {"test-rs": "patched"}}, "spec": {"replicas": 3, "template": template}});
    let patched = sets.patch("web", &patch).await?;
    must(patched["spec"]["template"]["spec"]["containers"][0]["image"] == WEB, "the image MUST be patched", &patched)?;
    must(patched["metadata"]["labels"]["test-rs"] == "patched", "the label MUST be patched", &patched)?;
    sets.until("web", "the patched number MUST be ready", ready(3)).await.map(drop)
}

/// Lists and deletes several workloads by their label.
async fn collection(cluster: &Cluster, kind: Kind, replicas: Option<u32>) -> anyhow::Result<()> {
    let workloads = cluster.of(kind);
    for name in ["one", "two"] {
        let labels = json!({"conformance": cluster.unique, "workload": name});
        workloads.create(&workload(name, &labels, replicas)).await?;
    }
    workloads.until_count(&cluster.selector(), 2).await?;
    let patch = json!({"metadata": {"labels": {"patched": "yes"}}});
    must_cover(&workloads.patch("one", &patch).await?, &patch, "the patch MUST succeed")?;
    workloads.until_count("patched=yes", 1).await?;
    workloads.delete_collection(&cluster.selector()).await?;
    workloads.until_count(&cluster.selector(), 0).await?;
    cluster.of(POD).until_count(&cluster.selector(), 0).await.map(drop)
}

async fn replica_set_collection(cluster: &Cluster) -> anyhow::Result<()> {
    collection(cluster, REPLICA_SET, Some(1)).await
}

async fn stateful_set_collection(cluster: &Cluster) -> anyhow::Result<()> {
    collection(cluster, STATEFUL_SET, Some(1)).await
}

async fn daemon_set_collection(cluster: &Cluster) -> anyhow::Result<()> {
    collection(cluster, DAEMON_SET, None).await
}

async fn job_lifecycle(cluster: &Cluster) -> anyhow::Result<()> {
    let mut object = json!({"spec": job("any", &cluster.labels(), 2)["spec"]});
    object["spec"]["suspend"] = json!(true);
    Operations::of(JOB, object).patch(json!({"metadata": {"labels": {"job": "patched"}}})).run(cluster).await
}

async fn job_deleted(cluster: &Cluster) -> anyhow::Result<()> {
    let jobs = cluster.of(JOB);
    jobs.create(&job("one", &cluster.labels(), 2)).await?;
    jobs.until("one", "the active pods MUST reflect parallelism", |o| o["status"]["active"] == 2).await?;
    cluster.of(POD).until_count(&cluster.selector(), 2).await?;
    jobs.delete_with("one", PropagationPolicy::Foreground).await?;
    jobs.until_gone("one").await?;
    cluster.of(POD).until_count(&cluster.selector(), 0).await.map(drop)
}
