//! What becomes of dependents when their owner is deleted.

use std::time::Duration;

use anyhow::ensure;
use kube::api::{DeleteParams, Preconditions, PropagationPolicy};
use serde_json::{Value, json};

use crate::Cluster;
use crate::kinds::{DEPLOYMENT, POD, REPLICA_SET, REPLICATION_CONTROLLER};
use crate::must::must;
use crate::samples::{controller, pod, push, workload};

tests!(garbage:
    background_deletes_replica_sets, background_deletes_pods, foreground_keeps_the_owner, a_circle_does_not_block,
    a_second_owner_keeps_dependents, orphan_keeps_replica_sets, orphan_keeps_pods,
);

/// Pods of a controller in tests that want "many": as many as run quickly on one node.
const MANY: usize = 10;
/// How long what must stay is looked at.
const QUIET: Duration = Duration::from_secs(2);

/// The object with its deletion bound to its UID, as the upstream tests do.
fn exactly(object: &Value, policy: PropagationPolicy) -> DeleteParams {
    let uid = object["metadata"]["uid"].as_str().map(str::to_owned);
    let preconditions = Preconditions { uid, resource_version: None };
    DeleteParams { preconditions: Some(preconditions), propagation_policy: Some(policy), ..DeleteParams::default() }
}

fn owner(object: &Value) -> Value {
    let (name, uid) = (&object["metadata"]["name"], &object["metadata"]["uid"]);
    json!({"apiVersion": object["apiVersion"], "kind": object["kind"], "name": name, "uid": uid})
}

async fn background_deletes_replica_sets(cluster: &Cluster) -> anyhow::Result<()> {
    let (deployments, selector) = (cluster.of(DEPLOYMENT), cluster.selector());
    let made = deployments.create(&workload("web", &cluster.labels(), Some(2))).await?;
    cluster.of(REPLICA_SET).until_count(&selector, 1).await?;
    deployments.delete_by("web", &exactly(&made, PropagationPolicy::Background)).await?;
    cluster.of(REPLICA_SET).until_count(&selector, 0).await?;
    cluster.of(POD).until_count(&selector, 0).await?;
    Ok(())
}

async fn background_deletes_pods(cluster: &Cluster) -> anyhow::Result<()> {
    let (controllers, selector) = (cluster.of(REPLICATION_CONTROLLER), cluster.selector());
    let made = controllers.create(&controller("web", &cluster.labels(), 2)).await?;
    cluster.of(POD).until_count(&selector, 2).await?;
    controllers.delete_by("web", &exactly(&made, PropagationPolicy::Background)).await?;
    cluster.of(POD).until_count(&selector, 0).await?;
    controllers.until_gone("web").await
}

async fn foreground_keeps_the_owner(cluster: &Cluster) -> anyhow::Result<()> {
    let (controllers, selector) = (cluster.of(REPLICATION_CONTROLLER), cluster.selector());
    let made = controllers.create(&controller("web", &cluster.labels(), MANY as u32)).await?;
    cluster.of(POD).until_count(&selector, MANY).await?;
    let mut watch = controllers.watch_from_now(&selector).await?;
    controllers.delete_by("web", &exactly(&made, PropagationPolicy::Foreground)).await?;
    let waiting =
        watch.expect("MODIFIED", "the owner waits", |o| o["metadata"]["deletionTimestamp"].is_string()).await?;
    let finalizers = &waiting.object["metadata"]["finalizers"];
    must(*finalizers == json!(["foregroundDeletion"]), "the owner MUST wait for its dependents", &waiting.object)?;
    watch.expect_deleted("web").await?;
    let pods = cluster.of(POD).items(&selector).await?;
    let left: Vec<&Value> = pods.iter().map(|p| &p["metadata"]["name"]).collect();
    ensure!(left.is_empty(), "pods MUST be deleted before their owner: {left:?}");
    Ok(())
}

async fn a_circle_does_not_block(cluster: &Cluster) -> anyhow::Result<()> {
    let pods = cluster.of(POD);
    let mut made = Vec::new();
    for name in ["pod1", "pod2", "pod3"] {
        made.push(pods.create(&pod(name, &cluster.labels())).await?);
    }
    for (dependent, of) in [("pod1", &made[2]), ("pod2", &made[0]), ("pod3", &made[1])] {
        let mut reference = owner(of);
        reference["controller"] = json!(true);
        reference["blockOwnerDeletion"] = json!(true);
        pods.patch(dependent, &json!({"metadata": {"ownerReferences": [reference]}})).await?;
    }
    pods.delete_by("pod1", &exactly(&made[0], PropagationPolicy::Foreground)).await?;
    pods.until_count(&cluster.selector(), 0).await?;
    Ok(())
}

async fn a_second_owner_keeps_dependents(cluster: &Cluster) -> anyhow::Result<()> {
    let (controllers, pods, selector) = (cluster.of(REPLICATION_CONTROLLER), cluster.of(POD), cluster.selector());
    let first = controllers.create(&controller("to-be-deleted", &cluster.labels(), MANY as u32)).await?;
    let second = controllers.create(&controller("to-stay", &json!({"role": "stays"}), 0)).await?;
    let made = pods.until_count(&selector, MANY).await?;
    let shared = &made[..MANY / 2];
    for pod in shared {
        let mut owners = pod["metadata"]["ownerReferences"].clone();
        push(&mut owners, owner(&second));
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        pods.patch(name, &json!({"metadata": {"ownerReferences": owners}})).await?;
    }
    controllers.delete_by("to-be-deleted", &exactly(&first, PropagationPolicy::Foreground)).await?;
    controllers.until_gone("to-be-deleted").await?;
    let left = pods.until_count(&selector, shared.len()).await?;
    for pod in &left {
        must(shared.iter().any(|s| s["metadata"]["uid"] == pod["metadata"]["uid"]), "only shared pods MUST stay", pod)?;
        must(!pod["metadata"]["deletionTimestamp"].is_string(), "a pod with a second owner MUST NOT be deleted", pod)?;
        let owners = pod["metadata"]["ownerReferences"].as_array().map(Vec::len);
        must(owners == Some(1), "the deleted owner MUST be no owner any more", pod)?;
    }
    Ok(())
}

async fn orphan_keeps_replica_sets(cluster: &Cluster) -> anyhow::Result<()> {
    let (deployments, sets, selector) = (cluster.of(DEPLOYMENT), cluster.of(REPLICA_SET), cluster.selector());
    let made = deployments.create(&workload("web", &cluster.labels(), Some(2))).await?;
    let set = sets.until_count(&selector, 1).await?.remove(0);
    cluster.of(POD).until_count(&selector, 2).await?;
    let mut watch = sets.watch_from_now(&selector).await?;
    deployments.delete_by("web", &exactly(&made, PropagationPolicy::Orphan)).await?;
    deployments.until_gone("web").await?;
    watch.expect_none(QUIET, |event| event.kind == "DELETED").await?;
    let name = set["metadata"]["name"].as_str().unwrap_or_default();
    let orphan = sets.until(name, "the ReplicaSet MUST be orphaned", no_owner).await?;
    must(orphan["metadata"]["uid"] == set["metadata"]["uid"], "the ReplicaSet MUST stay the same", &orphan)?;
    cluster.of(POD).until_count(&selector, 2).await?;
    Ok(())
}

async fn orphan_keeps_pods(cluster: &Cluster) -> anyhow::Result<()> {
    let (controllers, pods, selector) = (cluster.of(REPLICATION_CONTROLLER), cluster.of(POD), cluster.selector());
    let made = controllers.create(&controller("web", &cluster.labels(), MANY as u32)).await?;
    pods.until_count(&selector, MANY).await?;
    let mut watch = pods.watch_from_now(&selector).await?;
    controllers.delete_by("web", &exactly(&made, PropagationPolicy::Orphan)).await?;
    controllers.until_gone("web").await?;
    watch.expect_none(QUIET, |event| event.kind == "DELETED").await?;
    for pod in pods.until_count(&selector, MANY).await? {
        must(no_owner(&pod), "a pod MUST be orphaned", &pod)?;
        must(!pod["metadata"]["deletionTimestamp"].is_string(), "an orphan MUST NOT be deleted", &pod)?;
    }
    Ok(())
}

fn no_owner(object: &Value) -> bool {
    object["metadata"]["ownerReferences"].as_array().is_none_or(Vec::is_empty)
}
