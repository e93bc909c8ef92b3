//! Decisions by tables: a small cluster, a pod, and where it goes or why it does not.

use serde_json::{Value, json};

use super::*;
use crate::plugins;
use crate::types::Node;

fn node(name: &str, zone: &str, extra: Value) -> Arc<Node> {
    let mut node = json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": zone}},
        "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "10"}},
    });
    merge(&mut node, extra);
    Arc::new(serde_json::from_value(node).expect("a node"))
}

fn pod(name: &str, extra: Value) -> Arc<Pod> {
    let mut pod = json!({
        "metadata": {"name": name, "namespace": "default", "uid": name, "labels": {"app": "web"}},
        "spec": {"containers": [{"image": "web", "resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}]},
    });
    merge(&mut pod, extra);
    Arc::new(serde_json::from_value(pod).expect("a pod"))
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            from.into_iter().for_each(|(key, value)| merge(into.entry(key).or_insert(Value::Null), value));
        }
        (into, from) => *into = from,
    }
}

/// Nodes a, b (zone 1) and c (zone 2).
fn three() -> Cluster {
    let mut cluster = Cluster::default();
    for (name, zone) in [("a", "1"), ("b", "1"), ("c", "2")] {
        cluster.set_node(node(name, zone, json!({})));
    }
    cluster
}

fn decide(pod: &Arc<Pod>, cluster: &mut Cluster) -> Result<String, String> {
    let mut scheduler = Scheduler::new(plugins::defaults(plugins::Volumes::default()));
    match scheduler.schedule(pod, cluster) {
        Ok(index) => Ok(cluster.node(index).expect("the node exists").name.clone()),
        Err(error) => Err(error.message()),
    }
}

#[test]
fn without_nodes_there_is_nothing_to_choose() {
    let error = decide(&pod("p", json!({})), &mut Cluster::default()).expect_err("no node");
    assert_eq!(error, "no nodes available to schedule pods");
}

#[test]
fn requirements_of_the_node() {
    let mut cluster = three();
    cluster.set_node(node("a", "1", json!({"spec": {"unschedulable": true}})));
    cluster.set_node(node("b", "1", json!({"spec": {"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]}})));
    let tolerant = json!([{"key": "k", "operator": "Exists"}]);
    let cases = [
        (json!({}), Ok("c")),
        (json!({"nodeSelector": {"kubernetes.io/hostname": "b"}, "tolerations": tolerant}), Ok("b")),
        (
            json!({"nodeSelector": {"kubernetes.io/hostname": "b"}}),
            Err("0/3 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, \
                 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable."),
        ),
        (
            json!({"containers": [{"resources": {"requests": {"cpu": "5"}}}], "tolerations": tolerant}),
            Err("0/3 nodes are available: 1 node(s) were unschedulable, 2 Insufficient cpu."),
        ),
        (
            json!({"containers": [{"resources": {"requests": {"example.com/gpu": "1"}}}], "tolerations": [{"operator": "Exists"}]}),
            Err("0/3 nodes are available: 3 Insufficient example.com/gpu."),
        ),
        (
            json!({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "x"}}]}),
            Err("0/3 nodes are available: persistentvolumeclaim \"x\" not found."),
        ),
    ];
    for (spec, expected) in cases {
        let outcome = decide(&pod("p", json!({"spec": spec.clone()})), &mut cluster);
        assert_eq!(outcome.as_deref().map_err(String::as_str), expected, "{spec}");
    }
}

#[test]
fn what_runs_takes_room() {
    let mut cluster = three();
    for index in 0..4 {
        cluster.place(pod(&format!("a{index}"), json!({})), "a");
        cluster.place(pod(&format!("b{index}"), json!({})), "b");
    }
    assert_eq!(decide(&pod("p", json!({})), &mut cluster), Ok("c".into()));
    let port = json!({"spec": {"containers": [{"ports": [{"hostPort": 80}]}]}});
    for name in ["a", "b", "c"] {
        cluster.place(pod(&format!("port-{name}"), port.clone()), name);
    }
    let error = decide(&pod("p", port), &mut cluster).expect_err("the port is taken");
    assert_eq!(error, "0/3 nodes are available: 3 node(s) didn't have free ports for the requested pod ports.");
}

fn spread(key: &str, kind: &str) -> Value {
    json!({"spec": {"topologySpreadConstraints": [{"topologyKey": key, "maxSkew": 1, "whenUnsatisfiable": kind,
        "labelSelector": {"matchLabels": {"app": "web"}}}]}})
}

#[test]
fn pods_spread_over_domains() {
    let mut cluster = three();
    cluster.place(pod("p1", json!({})), "a");
    let hard = |key| pod("p", spread(key, "DoNotSchedule"));
    assert_eq!(decide(&hard("topology.kubernetes.io/zone"), &mut cluster), Ok("c".into()));
    cluster.place(pod("p2", json!({})), "c");
    cluster.place(pod("p3", json!({})), "b");
    cluster.place(pod("p4", json!({})), "a");
    assert_eq!(decide(&hard("topology.kubernetes.io/zone"), &mut cluster), Ok("c".into()));
    let error = decide(&hard("rack"), &mut cluster).expect_err("no node has the label");
    assert_eq!(
        error,
        "0/3 nodes are available: 3 node(s) didn't match pod topology spread constraints (missing required label)."
    );
    let soft = pod("p", spread("kubernetes.io/hostname", "ScheduleAnyway"));
    assert_ne!(decide(&soft, &mut cluster), Ok("a".into()), "the fullest host is the last choice");
}

fn affinity(kind: &str, key: &str) -> Value {
    let term = json!({"topologyKey": key, "labelSelector": {"matchLabels": {"app": "web"}}});
    json!({"spec": {"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}}})
}

#[test]
fn pods_attract_and_repel_each_other() {
    let mut cluster = three();
    let (host, zone) = ("kubernetes.io/hostname", "topology.kubernetes.io/zone");
    assert!(decide(&pod("first", affinity("podAffinity", host)), &mut cluster).is_ok(), "the first finds a place");
    cluster.place(pod("p1", json!({})), "c");
    assert_eq!(decide(&pod("p", affinity("podAffinity", zone)), &mut cluster), Ok("c".into()));
    assert_ne!(decide(&pod("p", affinity("podAntiAffinity", host)), &mut cluster), Ok("c".into()));

    cluster.place(pod("lonely", affinity("podAntiAffinity", zone)), "a");
    let error = decide(&pod("p", affinity("podAntiAffinity", zone)), &mut cluster).expect_err("both zones are taken");
    assert_eq!(error, "0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules.");
    assert_eq!(decide(&pod("p", json!({})), &mut cluster), Ok("c".into()), "what runs keeps others out of its zone");
    let other = json!({"metadata": {"labels": {"app": "db"}}});
    let error = decide(
        &pod("p", {
            let mut p = affinity("podAffinity", zone);
            merge(&mut p, json!({"metadata": {"namespace": "other"}}));
            p
        }),
        &mut cluster,
    );
    assert!(error.is_ok(), "in another namespace the pod is the first of its kind");
    assert!(decide(&pod("p", other), &mut cluster).is_ok(), "what is not repelled may go anywhere");
}

#[test]
fn resources_decide_among_equals() {
    let mut cluster = three();
    cluster.place(pod("p1", json!({})), "a");
    cluster.place(pod("p2", json!({})), "b");
    assert_eq!(decide(&pod("p", json!({})), &mut cluster), Ok("c".into()), "the emptiest node");
    let preferred = json!({"spec": {"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 100, "preference": {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["a"]}]}}]}}}});
    assert_eq!(decide(&pod("p", preferred), &mut cluster), Ok("a".into()), "a preference outweighs a little load");
}
