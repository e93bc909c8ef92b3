//! ResourceQuotas: what they count, and when they give it back.

use serde_json::{Value, json};

use crate::Cluster;
use crate::kinds::{CONFIG_MAP, Kind, POD, REPLICA_SET, REPLICATION_CONTROLLER, RESOURCE_QUOTA, SECRET, SERVICE};
use crate::must::{must, must_refuse};
use crate::operations::Operations;
use crate::resource::Resource;
use crate::samples::{controller, idle, pod_spec, workload};

tests!(quota:
    status_is_promptly_calculated, update_and_delete, lifecycle, status_changes,
    life_of_a_config_map, life_of_a_secret, life_of_a_service, life_of_a_replica_set, life_of_a_controller, life_of_a_pod,
);

/// Makes a quota and answers it as soon as its status has what it counts.
pub async fn make(cluster: &Cluster, name: &str, spec: Value) -> anyhow::Result<Value> {
    let quotas = cluster.of(RESOURCE_QUOTA);
    quotas.create(&json!({"metadata": {"name": name, "labels": cluster.labels()}, "spec": spec})).await?;
    let counted = |q: &Value| {
        let used = &q["status"]["used"];
        let keys = q["spec"]["hard"].as_object().into_iter().flat_map(|hard| hard.keys());
        q["status"]["hard"] == q["spec"]["hard"] && keys.into_iter().all(|k| used.get(k).is_some())
    };
    quotas.until(name, "the status MUST have the hard limits and what is used", counted).await
}

/// Waits until a quota counts exactly so much of what `used` names.
pub async fn until_used(cluster: &Cluster, name: &str, used: &Value) -> anyhow::Result<()> {
    let same = |q: &Value| used.as_object().is_some_and(|all| all.iter().all(|(k, v)| q["status"]["used"][k] == *v));
    cluster.of(RESOURCE_QUOTA).until(name, &format!("used MUST be {used}"), same).await.map(drop)
}

/// How much of a resource that is counted by number is used.
fn count(quota: &Value, resource: &str) -> u64 {
    quota["status"]["used"][resource].as_str().and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// Makes an object, which is charged with these numbers beside what was there, and deletes it, which gives them back.
async fn life_of(cluster: &Cluster, kind: Kind, object: Value, charged: &[(&str, u64)]) -> anyhow::Result<()> {
    let hard: Value = charged.iter().map(|(resource, _)| ((*resource).to_owned(), json!("10"))).collect();
    let before = make(cluster, "quota", json!({"hard": hard})).await?;
    let used = |more: bool| -> Value {
        let of = |(resource, number): &(&str, u64)| count(&before, resource) + if more { *number } else { 0 };
        charged.iter().map(|c| (c.0.to_owned(), json!(of(c).to_string()))).collect()
    };
    let made = cluster.of(kind).create(&object).await?;
    until_used(cluster, "quota", &used(true)).await?;
    cluster.of(kind).delete(made["metadata"]["name"].as_str().unwrap_or_default()).await?;
    until_used(cluster, "quota", &used(false)).await
}

async fn life_of_a_config_map(cluster: &Cluster) -> anyhow::Result<()> {
    let map = json!({"metadata": {"name": "one"}, "data": {"a": "b"}});
    // Counted from the beginning, not while the namespace is filled.
    cluster.of(CONFIG_MAP).until("kube-root-ca.crt", "every namespace has it", |_| true).await?;
    life_of(cluster, CONFIG_MAP, map, &[("configmaps", 1)]).await
}

async fn life_of_a_secret(cluster: &Cluster) -> anyhow::Result<()> {
    let secret = json!({"metadata": {"name": "one"}, "stringData": {"a": "b"}});
    life_of(cluster, SECRET, secret, &[("secrets", 1), ("resourcequotas", 0)]).await
}

async fn life_of_a_service(cluster: &Cluster) -> anyhow::Result<()> {
    let service = json!({"metadata": {"name": "one"}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}});
    let charged = [("services", 1), ("services.nodeports", 1), ("services.loadbalancers", 0), ("resourcequotas", 0)];
    life_of(cluster, SERVICE, service, &charged).await
}

async fn life_of_a_replica_set(cluster: &Cluster) -> anyhow::Result<()> {
    let set = workload("one", &cluster.labels(), Some(0));
    life_of(cluster, REPLICA_SET, set, &[("count/replicasets.apps", 1)]).await
}

async fn life_of_a_controller(cluster: &Cluster) -> anyhow::Result<()> {
    let object = controller("one", &cluster.labels(), 0);
    life_of(cluster, REPLICATION_CONTROLLER, object, &[("replicationcontrollers", 1)]).await
}

async fn status_is_promptly_calculated(cluster: &Cluster) -> anyhow::Result<()> {
    let hard = json!({
        "pods": "5", "services": "10", "services.loadbalancers": "1", "services.nodeports": "1", "cpu": "1",
        "memory": "500Mi", "configmaps": "10", "secrets": "10", "persistentvolumeclaims": "10", "requests.storage": "10Gi",
        "ephemeral-storage": "50Gi", "replicationcontrollers": "10", "resourcequotas": "1", "count/replicasets.apps": "5",
    });
    make(cluster, "quota", json!({"hard": hard})).await?;
    let used = json!({"pods": "0", "cpu": "0", "memory": "0", "services": "0", "resourcequotas": "1"});
    until_used(cluster, "quota", &used).await
}

async fn update_and_delete(cluster: &Cluster) -> anyhow::Result<()> {
    let quotas = cluster.of(RESOURCE_QUOTA);
    let hard = json!({"cpu": "1", "memory": "500Mi"});
    let created = quotas.create(&json!({"metadata": {"name": "quota"}, "spec": {"hard": hard}})).await?;
    must(created["spec"]["hard"] == hard, "the limits MUST be as created", &created)?;
    let hard = json!({"cpu": "2", "memory": "1Gi"});
    let updated = quotas.change("quota", |q| q["spec"]["hard"] = hard.clone()).await?;
    must(updated["spec"]["hard"] == hard, "the update MUST have the new limits", &updated)?;
    must(quotas.get("quota").await?["spec"]["hard"] == hard, "the next read MUST have the new limits", &updated)?;
    quotas.delete("quota").await?;
    must_refuse(quotas.get("quota").await, 404, "a deleted quota").map(drop)
}

async fn lifecycle(cluster: &Cluster) -> anyhow::Result<()> {
    Operations::of(RESOURCE_QUOTA, json!({"spec": {"hard": {"cpu": "500m", "memory": "500Mi"}}}))
        .patch(json!({"spec": {"hard": {"memory": "750Mi"}}}))
        .run(cluster)
        .await
}

async fn status_changes(cluster: &Cluster) -> anyhow::Result<()> {
    let quotas = cluster.of(RESOURCE_QUOTA);
    let status = quotas.sub("status");
    let hard = |cpu: &str, memory: &str| json!({"cpu": cpu, "memory": memory});
    let mut watch = quotas.watch_from_now("").await?;
    let (first, second) = (hard("500m", "500Mi"), hard("1", "1Gi"));
    make(cluster, "quota", json!({"hard": first})).await?;
    let updated = status.change("quota", |q| q["status"] = json!({"hard": first})).await?;
    must(updated["status"]["hard"] == first, "the updated hard status MUST be found", &updated)?;
    watch.expect("MODIFIED", "the hard status MUST equal the spec", |q| q["status"]["hard"] == first).await?;

    let patched = quotas.patch("quota", &json!({"spec": {"hard": second}})).await?;
    must(patched["spec"]["hard"] == second, "the patched spec MUST be found", &patched)?;
    watch.expect("MODIFIED", "the hard status MUST equal the new spec", |q| q["status"]["hard"] == second).await?;
    for other in [second.clone(), hard("2", "2Gi")] {
        let patched = status.patch("quota", &json!({"status": {"hard": other}})).await?;
        must(patched["status"]["hard"] == other, "the patched hard status MUST be found", &patched)?;
        must(patched["spec"]["hard"] == second, "the spec MUST NOT be changed through the status", &patched)?;
    }
    let read = status.get("quota").await?;
    must(read["spec"]["hard"] == second, "the spec MUST NOT be changed", &read)
}

/// A pod that asks for so much, and for so many of an extended resource.
fn asking(name: &str, cpu: &str, memory: &str, dongles: &str) -> Value {
    let mut container = idle();
    container["resources"] = json!({
        "requests": {"cpu": cpu, "memory": memory, "ephemeral-storage": "30Gi", "example.com/dongle": dongles},
        "limits": {"example.com/dongle": dongles},
    });
    json!({"metadata": {"name": name}, "spec": pod_spec(container)})
}

async fn refuse(pods: &Resource, pod: Value) -> anyhow::Result<()> {
    let refusal = must_refuse(pods.create(&pod).await, 403, "a pod that exceeds the quota")?;
    anyhow::ensure!(refusal.message.contains("exceeded quota: quota"), "the refusal MUST say why: {}", refusal.message);
    Ok(())
}

async fn life_of_a_pod(cluster: &Cluster) -> anyhow::Result<()> {
    let pods = cluster.of(POD);
    let hard = json!({
        "pods": "5", "cpu": "1", "memory": "500Mi", "ephemeral-storage": "50Gi", "requests.example.com/dongle": "3",
    });
    make(cluster, "quota", json!({"hard": hard})).await?;
    pods.create(&asking("one", "500m", "252Mi", "2")).await?;
    let used = json!({
        "pods": "1", "cpu": "500m", "memory": "252Mi", "ephemeral-storage": "30Gi", "requests.example.com/dongle": "2",
    });
    until_used(cluster, "quota", &used).await?;

    refuse(&pods, asking("too-much", "600m", "100Mi", "1")).await?;
    refuse(&pods, asking("too-many", "100m", "100Mi", "2")).await?;
    let mut grown = pods.get("one").await?;
    grown["spec"]["containers"][0]["resources"]["requests"]["cpu"] = json!("100m");
    grown["spec"]["containers"][0]["resources"]["requests"]["memory"] = json!("100Mi");
    must_refuse(pods.update(&grown).await, 422, "an update of a pod's resources")?;
    until_used(cluster, "quota", &used).await?;

    pods.delete("one").await?;
    let released = json!({
        "pods": "0", "cpu": "0", "memory": "0", "ephemeral-storage": "0", "requests.example.com/dongle": "0",
    });
    until_used(cluster, "quota", &released).await
}
