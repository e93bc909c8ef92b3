//! How many decisions a second the pure core makes. Prints; checks only that all pods are placed.
//! `cargo nextest run -p scheduler --test throughput --run-ignored all --no-capture`, with optimisation for a figure.

#![allow(clippy::unwrap_used, reason = "a failed expectation is what a test is for")]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use scheduler::cluster::Cluster;
use scheduler::cycle::Scheduler;
use scheduler::plugins::{self, Volumes};
use scheduler::types::{Node, Pod};
use serde_json::{Value, json};

fn cluster(nodes: usize) -> Cluster {
    let mut cluster = Cluster::default();
    for n in 0..nodes {
        let name = format!("node-{n}");
        let labels = json!({
            "kubernetes.io/hostname": name, "topology.kubernetes.io/zone": format!("zone-{}", n % 5),
            "kubernetes.io/os": "linux", "disk": if n % 2 == 0 { "ssd" } else { "hdd" },
        });
        let allocatable = json!({ "cpu": "8", "memory": "32Gi", "pods": "110", "ephemeral-storage": "100Gi" });
        let node = json!({ "metadata": { "name": name, "labels": labels }, "status": { "allocatable": allocatable } });
        cluster.set_node(Arc::new(serde_json::from_value::<Node>(node).unwrap()));
    }
    cluster.namespaces = Arc::new(HashMap::from([("default".into(), Default::default())]));
    cluster
}

fn pod(n: usize, app: &str, extra: &Value) -> Arc<Pod> {
    let mut pod = json!({
        "metadata": {
            "name": format!("{app}-{n}"), "namespace": "default", "uid": format!("{app}-{n}"), "labels": { "app": app },
            "resourceVersion": n.to_string(),
        },
        "spec": {
            "schedulerName": "default-scheduler",
            "containers": [{ "name": "c", "image": "web:v1", "resources": { "requests": { "cpu": "100m", "memory": "100Mi" } } }],
            "tolerations": [
                { "key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300 },
                { "key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300 },
            ],
        },
    });
    for (key, value) in extra.as_object().unwrap() {
        match key.as_str() {
            "metadata" => pod["metadata"]["ownerReferences"] = value["ownerReferences"].clone(),
            _ => pod["spec"][key] = value.clone(),
        }
    }
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn measure(name: &str, nodes: usize, pods: usize, extra: &Value) {
    let mut cluster = cluster(nodes);
    let mut scheduler = Scheduler::new(plugins::defaults(Volumes::default()));
    let pods: Vec<_> = (0..pods).map(|n| pod(n, "web", extra)).collect();
    let started = Instant::now();
    for pod in &pods {
        let index = scheduler.schedule(pod, &mut cluster).unwrap_or_else(|e| panic!("{name}: {}", e.message()));
        let node = cluster.node(index).unwrap().name.clone();
        cluster.place(pod.clone(), &node);
    }
    let elapsed = started.elapsed();
    eprintln!("{name:<32} {:>8.0} pods/s", pods.len() as f64 / elapsed.as_secs_f64());
}

#[test]
#[ignore = "a measurement"]
fn decisions_a_second() {
    let selector = json!({ "matchLabels": { "app": "web" } });
    let spread = |key: &str, when: &str| {
        json!({ "topologySpreadConstraints": [
            { "maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": when, "labelSelector": selector },
        ] })
    };
    let term = |key: &str| json!([{ "labelSelector": selector, "topologyKey": key }]);
    let hard = "requiredDuringSchedulingIgnoredDuringExecution";
    let soft = "preferredDuringSchedulingIgnoredDuringExecution";
    let weighted = json!([{ "weight": 10, "podAffinityTerm": { "labelSelector": selector, "topologyKey": "topology.kubernetes.io/zone" } }]);
    let ssd = json!({ "nodeSelectorTerms": [{ "matchExpressions": [{ "key": "disk", "operator": "In", "values": ["ssd"] }] }] });
    let owner =
        json!([{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "1", "controller": true }]);
    for (name, pods, extra) in [
        ("plain", 5000, json!({})),
        ("of a ReplicaSet", 5000, json!({ "metadata": { "ownerReferences": owner } })),
        ("node affinity", 5000, json!({ "affinity": { "nodeAffinity": { hard: ssd } } })),
        ("spread over zones, hard", 5000, spread("topology.kubernetes.io/zone", "DoNotSchedule")),
        ("spread over hosts, soft", 5000, spread("kubernetes.io/hostname", "ScheduleAnyway")),
        (
            "anti-affinity by host",
            1000,
            json!({ "affinity": { "podAntiAffinity": { hard: term("kubernetes.io/hostname") } } }),
        ),
        (
            "affinity by zone",
            5000,
            json!({ "affinity": { "podAffinity": { hard: term("topology.kubernetes.io/zone") } } }),
        ),
        ("affinity by zone, soft", 5000, json!({ "affinity": { "podAffinity": { soft: weighted } } })),
    ] {
        measure(name, 1000, pods, &extra);
    }
}
