//! Updates of services: what was handed out is kept when the client leaves it out, and dropped when the new type has no
//! use for it.

use std::collections::BTreeMap;

use apimachinery::Object;
use serde_json::{Map, Value};

use crate::strategy::keep_status;
use crate::tree::{Fill, Tree, spec_mut};

pub fn prepare(new: &mut Object, old: &Object) {
    keep_status(new, old);
    let old = old.field("spec");
    let Some(spec) = spec_mut(new) else { return };
    keep_allocated(spec, old);
    follow_cluster_ip(spec, old);
    drop_unused(spec, old);
    super::families(spec);
}

fn needs_cluster_ip(kind: &str) -> bool {
    matches!(kind, "ClusterIP" | "NodePort" | "LoadBalancer")
}

fn needs_node_ports(spec: &impl Tree) -> bool {
    match spec.text("type") {
        "NodePort" => true,
        "LoadBalancer" => spec.field("allocateLoadBalancerNodePorts") != &Value::Bool(false),
        _ => false,
    }
}

pub fn needs_health_port(spec: &impl Tree) -> bool {
    spec.text("type") == "LoadBalancer" && spec.text("externalTrafficPolicy") == "Local"
}

fn keep_allocated(spec: &mut Map<String, Value>, old: &Value) {
    if needs_cluster_ip(spec.text("type")) && needs_cluster_ip(old.text("type")) {
        if spec.text("clusterIP").is_empty() && spec.list("clusterIPs").is_empty() {
            copy(spec, old, "clusterIP");
        }
        if spec.list("clusterIPs").is_empty() && spec.text("clusterIP") == old.text("clusterIP") {
            copy(spec, old, "clusterIPs");
        }
    }
    if needs_node_ports(spec) && needs_node_ports(old) {
        keep_node_ports(spec, old);
    }
    if needs_health_port(spec) && needs_health_port(old) && spec.int("healthCheckNodePort").unwrap_or(0) == 0 {
        copy(spec, old, "healthCheckNodePort");
    }
}

/// By the name of the port, unless the number has been given to another port meanwhile.
fn keep_node_ports(spec: &mut Map<String, Value>, old: &Value) {
    let mut used: Vec<i64> = spec.list("ports").iter().filter_map(|p| p.int("nodePort")).collect();
    let known: BTreeMap<String, i64> = old
        .list("ports")
        .iter()
        .filter_map(|p| Some((p.text("name").to_owned(), p.int("nodePort").filter(|n| *n != 0)?)))
        .collect();
    spec.each("ports", |port| {
        if port.int("nodePort").unwrap_or(0) == 0
            && let Some(number) = known.get(port.text("name")).filter(|n| !used.contains(n))
        {
            used.push(*number);
            port.insert("nodePort".to_owned(), (*number).into());
        }
    });
}

fn copy(spec: &mut Map<String, Value>, old: &Value, field: &str) {
    if let Some(value) = old.get(field) {
        spec.insert(field.to_owned(), value.clone());
    }
}

/// `clusterIP` and the first of `clusterIPs` follow each other, whichever of them was changed.
fn follow_cluster_ip(spec: &mut Map<String, Value>, old: &Value) {
    let same_list = spec.field("clusterIPs") == old.field("clusterIPs");
    let first = spec.text("clusterIP").to_owned();
    if first != old.text("clusterIP") && same_list {
        // The single field changed alone: the list follows.
        match (&mut spec.get_mut("clusterIPs"), first.is_empty()) {
            (_, true) => drop(spec.remove("clusterIPs")),
            (Some(Value::Array(list)), false) if !list.is_empty() => list[0] = first.into(),
            _ => super::cluster_ips(spec),
        }
    } else if first == old.text("clusterIP") && !same_list && spec.list("clusterIPs").is_empty() {
        spec.remove("clusterIP");
    } else {
        super::cluster_ips(spec);
    }
}

/// When the type changes, what only the old type had goes, unless the client set it anew.
fn drop_unused(spec: &mut Map<String, Value>, old: &Value) {
    let same = |spec: &Map<String, Value>, field: &str| spec.field(field) == old.field(field);
    let mut dropped: Vec<&str> = Vec::new();
    if needs_cluster_ip(old.text("type")) && !needs_cluster_ip(spec.text("type")) {
        dropped.extend(["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"]);
    }
    if needs_health_port(old) && !needs_health_port(spec) {
        dropped.push("healthCheckNodePort");
    }
    if old.text("type") == "LoadBalancer" && spec.text("type") != "LoadBalancer" {
        dropped.extend(["allocateLoadBalancerNodePorts", "loadBalancerClass"]);
    }
    let external = |kind: &str| matches!(kind, "NodePort" | "LoadBalancer");
    let outside = external(spec.text("type")) || !spec.list("externalIPs").is_empty();
    if external(old.text("type")) && !outside {
        dropped.push("externalTrafficPolicy");
    }
    for field in dropped {
        if same(spec, field) {
            spec.remove(field);
        }
    }
    let kept_ports: Vec<i64> = old.list("ports").iter().filter_map(|p| p.int("nodePort")).collect();
    if needs_node_ports(old) && !matches!(spec.text("type"), "NodePort" | "LoadBalancer") {
        spec.each("ports", |port| {
            if port.int("nodePort").is_some_and(|n| kept_ports.contains(&n)) {
                port.remove("nodePort");
            }
        });
    }
}
