//! ResourceQuotas that count only some pods.

use serde_json::{Value, json};

use super::quota::{make, until_used};
use crate::Cluster;
use crate::kinds::POD;
use crate::samples::{idle, pod_spec};

tests!(quota_scopes: best_effort, terminating);

/// Makes the pod, which this quota has to count and the other must not, and deletes it, which gives everything back.
async fn counts(cluster: &Cluster, pod: Value, by: &str, used: Value, not_by: &str) -> anyhow::Result<()> {
    let none: Value = used.as_object().into_iter().flatten().map(|(k, _)| (k.clone(), json!("0"))).collect();
    cluster.of(POD).create(&pod).await?;
    until_used(cluster, by, &used).await?;
    until_used(cluster, not_by, &none).await?;
    cluster.of(POD).delete(pod["metadata"]["name"].as_str().unwrap_or_default()).await?;
    until_used(cluster, by, &none).await
}

fn with_resources(name: &str, resources: Value) -> Value {
    let mut container = idle();
    container["resources"] = resources;
    json!({"metadata": {"name": name}, "spec": pod_spec(container)})
}

async fn best_effort(cluster: &Cluster) -> anyhow::Result<()> {
    let (best, not_best) = ("quota-besteffort", "quota-not-besteffort");
    make(cluster, best, json!({"hard": {"pods": "5"}, "scopes": ["BestEffort"]})).await?;
    make(cluster, not_best, json!({"hard": {"pods": "5"}, "scopes": ["NotBestEffort"]})).await?;
    let one = json!({"pods": "1"});
    counts(cluster, with_resources("best", json!({})), best, one.clone(), not_best).await?;
    let asking = json!({"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": "100m", "memory": "32Mi"}});
    counts(cluster, with_resources("not-best", asking), not_best, one, best).await
}

async fn terminating(cluster: &Cluster) -> anyhow::Result<()> {
    let (ending, lasting) = ("quota-terminating", "quota-not-terminating");
    let hard = json!({"pods": "5", "requests.cpu": "1", "requests.memory": "500Mi", "limits.cpu": "2", "limits.memory": "1Gi"});
    make(cluster, ending, json!({"hard": hard, "scopes": ["Terminating"]})).await?;
    make(cluster, lasting, json!({"hard": hard, "scopes": ["NotTerminating"]})).await?;
    let resources = json!({"requests": {"cpu": "100m", "memory": "20Mi"}, "limits": {"cpu": "200m", "memory": "40Mi"}});
    let used = json!({
        "pods": "1", "requests.cpu": "100m", "requests.memory": "20Mi", "limits.cpu": "200m", "limits.memory": "40Mi",
    });
    let mut pod = with_resources("lasting", resources);
    counts(cluster, pod.clone(), lasting, used.clone(), ending).await?;
    pod["metadata"]["name"] = json!("ending");
    pod["spec"]["activeDeadlineSeconds"] = json!(3600);
    counts(cluster, pod, ending, used, lasting).await
}
