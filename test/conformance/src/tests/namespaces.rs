//! Namespaces: labels, finalizers, status, and what goes with them.

use anyhow::Context as _;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::Cluster;
use crate::kinds::{CONFIG_MAP, NAMESPACE, POD, SERVICE};
use crate::must::{is_refusal, must, must_cover, must_refuse};
use crate::samples::pod;
use crate::wait::eventually;

tests!(namespaces:
    apply_a_finalizer, apply_an_update, apply_changes_to_status, patch,
    remove_all_pods, remove_all_services, delete_pods_first,
);

async fn patch(cluster: &Cluster) -> anyhow::Result<()> {
    let patch = json!({"metadata": {"labels": {"testLabel": "testValue"}}});
    cluster.of(NAMESPACE).patch(&cluster.unique, &patch).await?;
    let read = cluster.of(NAMESPACE).get(&cluster.unique).await?;
    must_cover(&read, &patch, "the namespace MUST include the new label")
}

async fn apply_an_update(cluster: &Cluster) -> anyhow::Result<()> {
    let namespaces = cluster.of(NAMESPACE);
    namespaces.change(&cluster.unique, |n| n["metadata"]["labels"]["updated"] = json!("yes")).await?;
    let read = namespaces.get(&cluster.unique).await?;
    must(read["metadata"]["labels"]["updated"] == "yes", "the field MUST equal the new value", &read)
}

async fn apply_a_finalizer(cluster: &Cluster) -> anyhow::Result<()> {
    const FAKE: &str = "e2e.example.com/fake";
    let name = format!("{}-f", cluster.unique);
    cluster.namespace(&name).await?;
    let finalize = cluster.of(NAMESPACE).sub("finalize");
    let mut namespace = cluster.of(NAMESPACE).get(&name).await?;
    let finalizers = namespace["spec"]["finalizers"].as_array_mut().context("a namespace has finalizers")?;
    finalizers.push(json!(FAKE));
    let finalized = finalize.update(&namespace).await?;
    must(has_finalizer(&finalized, FAKE), "the fake finalizer MUST be found", &finalized)?;

    let mut namespace = cluster.of(NAMESPACE).get(&name).await?;
    must(has_finalizer(&namespace, FAKE), "the fake finalizer MUST be found by the next read", &namespace)?;
    namespace["spec"]["finalizers"] = json!(["kubernetes"]);
    finalize.update(&namespace).await?;
    let read = cluster.of(NAMESPACE).get(&name).await?;
    must(!has_finalizer(&read, FAKE), "the removed finalizer MUST NOT be found", &read)
}

fn has_finalizer(namespace: &Value, name: &str) -> bool {
    namespace["spec"]["finalizers"].as_array().is_some_and(|all| all.iter().any(|f| f == name))
}

async fn apply_changes_to_status(cluster: &Cluster) -> anyhow::Result<()> {
    let status = cluster.of(NAMESPACE).sub("status");
    let read = status.get(&cluster.unique).await?;
    must(read["status"]["phase"] == "Active", "the reported phase MUST be Active", &read)?;
    let condition = |kind: &str| json!([{"type": kind, "status": "True", "reason": "E2E", "message": "set by a test"}]);
    let patch = json!({
        "metadata": {"annotations": {"e2e-patched-ns-status": cluster.unique}},
        "status": {"conditions": condition("StatusPatch")},
    });
    let patched = status.patch(&cluster.unique, &patch).await?;
    must_cover(&patched, &patch, "the patched fields MUST equal the new values")?;
    let change = |n: &mut Value| n["status"]["conditions"] = condition("StatusUpdate");
    let updated = status.change(&cluster.unique, change).await?;
    let expected = json!({"status": {"conditions": condition("StatusUpdate")}});
    must_cover(&updated, &expected, "the updated fields MUST equal the new values")
}

/// Deletes a namespace and makes it again.
async fn again(cluster: &Cluster, name: &str) -> anyhow::Result<()> {
    cluster.of(NAMESPACE).delete(name).await?;
    cluster.of(NAMESPACE).until_gone(name).await?;
    cluster.namespace(name).await.map(drop)
}

async fn remove_all_pods(cluster: &Cluster) -> anyhow::Result<()> {
    let name = format!("{}-b", cluster.unique);
    cluster.namespace(&name).await?;
    let pods = cluster.within(POD, &name);
    pods.create(&pod("one", &json!({}))).await?;
    pods.until("one", "the pod runs", |p| p["status"]["phase"] == "Running").await?;
    again(cluster, &name).await?;
    must_refuse(pods.get("one").await, 404, "a pod of a deleted namespace").map(drop)
}

async fn remove_all_services(cluster: &Cluster) -> anyhow::Result<()> {
    let name = format!("{}-b", cluster.unique);
    cluster.namespace(&name).await?;
    let services = cluster.within(SERVICE, &name);
    let spec = json!({"selector": {"foo": "bar"}, "ports": [{"port": 80, "targetPort": 80}]});
    services.create(&json!({"metadata": {"name": "one"}, "spec": spec})).await?;
    again(cluster, &name).await?;
    must_refuse(services.get("one").await, 404, "a service of a deleted namespace").map(drop)
}

async fn delete_pods_first(cluster: &Cluster) -> anyhow::Result<()> {
    const FINALIZER: &str = "e2e.example.com/finalizer";
    let name = format!("{}-b", cluster.unique);
    cluster.namespace(&name).await?;
    let (pods, maps) = (cluster.within(POD, &name), cluster.within(CONFIG_MAP, &name));
    let mut held = pod("held", &json!({}));
    held["metadata"]["finalizers"] = json!([FINALIZER]);
    pods.create(&held).await?;
    maps.create(&json!({"metadata": {"name": "kept"}})).await?;

    cluster.of(NAMESPACE).delete_by(&name, &DeleteParams::background()).await?;
    let deleted = |p: &Value| p["metadata"]["deletionTimestamp"].is_string();
    pods.until("held", "the pod MUST be deleted", deleted).await?;
    // What the namespace says of the content that remains.
    let told = |n: &Value| {
        let conditions = n["status"]["conditions"].as_array();
        conditions
            .is_some_and(|all| all.iter().any(|c| c["type"] == "NamespaceContentRemaining" && c["status"] == "True"))
    };
    cluster.of(NAMESPACE).until(&name, "the namespace MUST say that content remains", told).await?;
    let kept = maps.get("kept").await?;
    must(!deleted(&kept), "other objects MUST NOT be deleted before the pods", &kept)?;

    let removed = pods.patch("held", &json!({"metadata": {"finalizers": null}})).await;
    removed.or_else(|error| if is_refusal(&error, 404) { Ok(Value::Null) } else { Err(error) })?;
    eventually(async || match maps.get("kept").await {
        Err(error) if is_refusal(&error, 404) => Ok(()),
        Err(error) => Err(error),
        Ok(map) => must(false, "the rest MUST follow the pods", &map),
    })
    .await?;
    cluster.of(NAMESPACE).until_gone(&name).await
}
