//! Objects that many tests begin with.

use serde_json::{Value, json};

pub const BUSYBOX: &str = "docker.io/coracle/busybox:test";
/// Serves HTTP on 8080; answers its host name at `/hostname`.
pub const WEB: &str = "docker.io/coracle/web:v1";
pub const WEB_2: &str = "docker.io/coracle/web:v2";

/// A container that does nothing.
pub fn idle() -> Value {
    json!({"name": "main", "image": BUSYBOX, "command": ["sleep", "3600"]})
}

/// A pod's spec that ends as soon as it should.
pub fn pod_spec(container: Value) -> Value {
    json!({"terminationGracePeriodSeconds": 0, "containers": [container]})
}

/// A pod that does nothing.
pub fn pod(name: &str, labels: &Value) -> Value {
    json!({"metadata": {"name": name, "labels": labels}, "spec": pod_spec(idle())})
}

/// A template of pods with these labels.
pub fn template(labels: &Value, container: Value) -> Value {
    json!({"metadata": {"labels": labels}, "spec": pod_spec(container)})
}

/// A Deployment, ReplicaSet, StatefulSet or DaemonSet of idle pods; the last takes no `replicas`.
pub fn workload(name: &str, labels: &Value, replicas: Option<u32>) -> Value {
    let mut object = json!({
        "metadata": {"name": name, "labels": labels},
        "spec": {"selector": {"matchLabels": labels}, "template": template(labels, idle())},
    });
    if let Some(replicas) = replicas {
        object["spec"]["replicas"] = json!(replicas);
    }
    object
}

/// A ReplicationController of idle pods.
pub fn controller(name: &str, labels: &Value, replicas: u32) -> Value {
    json!({
        "metadata": {"name": name, "labels": labels},
        "spec": {"replicas": replicas, "selector": labels, "template": template(labels, idle())},
    })
}

/// A Job of pods that run until they are deleted.
pub fn job(name: &str, labels: &Value, parallelism: u32) -> Value {
    let mut spec = pod_spec(idle());
    spec["restartPolicy"] = json!("Never");
    json!({
        "metadata": {"name": name, "labels": labels},
        "spec": {"parallelism": parallelism, "completions": parallelism, "template": {"metadata": {"labels": labels}, "spec": spec}},
    })
}

/// Adds to a list, which need not be there yet.
pub fn push(list: &mut Value, item: Value) {
    match list.as_array_mut() {
        Some(items) => items.push(item),
        None => *list = json!([item]),
    }
}

/// A condition of this type, which holds.
pub fn condition(kind: &str) -> Value {
    json!({
        "type": kind, "status": "True", "reason": "E2E", "message": "Set by a test",
        "lastTransitionTime": "2026-01-02T03:04:05Z",
    })
}

/// A status that only has such a condition.
pub fn conditions(kind: &str) -> Value {
    json!({"conditions": [condition(kind)]})
}
