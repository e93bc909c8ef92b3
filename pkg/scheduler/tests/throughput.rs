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

/// What a pod costs in memory: the part of the budget of all caches together that the scheduler takes.
#[test]
#[ignore = "a measurement"]
fn bytes_a_pod() {
    let resident = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap().to_owned();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
    };
    let pods = 50_000;
    let before = resident();
    let kept: Vec<_> = (0..pods).map(typical).collect();
    let after = resident();
    eprintln!("{} bytes a pod ({} pods)", (after - before) / pods, kept.len());
    assert_eq!(kept.len(), pods);
}

/// A pod as a ReplicaSet makes it and the kubelet reports it.
fn typical(n: usize) -> Arc<Pod> {
    let text = format!(
        r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"web-7754b849c6-{n:05}","generateName":"web-7754b849c6-","namespace":"default",
        "uid":"6b07017c-93ec-422e-913b-{n:012}","resourceVersion":"{n}","creationTimestamp":"2026-11-21T03:06:26Z",
        "labels":{{"app":"web","pod-template-hash":"7754b849c6"}},
        "ownerReferences":[{{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"web-7754b849c6","uid":"6b07017c-93ec-422e-913b-de7","controller":true,"blockOwnerDeletion":true}}]}},
        "spec":{{"volumes":[{{"name":"kube-api-access-{n:05}","projected":{{"sources":[{{"serviceAccountToken":{{"expirationSeconds":3607,"path":"token"}}}}]}}}}],
        "containers":[{{"name":"web","image":"docker.io/coracle/web:v1","resources":{{"requests":{{"cpu":"100m","memory":"100Mi"}}}},
        "volumeMounts":[{{"name":"kube-api-access-{n:05}","readOnly":true,"mountPath":"/var/run/secrets/kubernetes.io/serviceaccount"}}],
        "terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File","imagePullPolicy":"IfNotPresent"}}],
        "restartPolicy":"Always","terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst","serviceAccountName":"default","serviceAccount":"default",
        "nodeName":"node-{}","securityContext":{{}},"schedulerName":"default-scheduler","priority":0,"enableServiceLinks":true,"preemptionPolicy":"PreemptLowerPriority",
        "tolerations":[{{"key":"node.kubernetes.io/not-ready","operator":"Exists","effect":"NoExecute","tolerationSeconds":300}},
        {{"key":"node.kubernetes.io/unreachable","operator":"Exists","effect":"NoExecute","tolerationSeconds":300}}]}},
        "status":{{"phase":"Running","startTime":"2026-11-21T03:06:26Z","podIP":"10.42.0.2","qosClass":"Burstable"}}}}"#,
        n % 1000
    );
    Arc::new(serde_json::from_str(&text).unwrap())
}
