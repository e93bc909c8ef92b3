//! Defaults that a Pod gets and a pod template does not.

use std::collections::BTreeSet;

use apimachinery::Object;
use serde_json::{Map, Value};

use crate::podspec::default_pod_spec;
use crate::podspec::resources::aggregate_requests;
use crate::quantity;
use crate::tree::{Fill, Tree, spec_mut};

pub fn default(pod: &mut Object) {
    let Some(spec) = spec_mut(pod) else { return };
    default_pod_spec(spec);
    spec.default_value("enableServiceLinks", || true.into());
    let host_network = spec.flag("hostNetwork");
    for list in ["containers", "initContainers"] {
        spec.each(list, |container| {
            if host_network {
                container.each("ports", default_host_port);
            }
            if let Some(resources) = container.sub("resources") {
                requests_from_limits(resources);
            }
        });
    }
    pod_level_requests(spec);
}

fn default_host_port(port: &mut Map<String, Value>) {
    if let Some(number) = port.int("containerPort").filter(|n| *n != 0) {
        port.default_nonzero("hostPort", number);
    }
}

/// What is limited and not requested is requested up to the limit.
fn requests_from_limits(resources: &mut Map<String, Value>) {
    let limits = match resources.get("limits") {
        Some(Value::Object(limits)) if !limits.is_empty() => limits.clone(),
        _ => return,
    };
    let requests = resources.sub_or_new("requests");
    for (name, limit) in limits {
        requests.entry(name).or_insert(limit);
    }
}

/// Requests of the whole pod where only limits are given: the containers' sum if they request, else the limit.
fn pod_level_requests(spec: &mut Map<String, Value>) {
    let limits = spec.field("resources").field("limits").clone();
    let has_requests = spec.field("resources").field("requests").as_object().is_some_and(|r| !r.is_empty());
    let Some(limits) = limits.as_object().filter(|l| !l.is_empty()) else {
        if !has_requests {
            return;
        }
        return requests_from_containers(spec, &Map::new());
    };
    requests_from_containers(spec, limits);
}

fn requests_from_containers(spec: &mut Map<String, Value>, limits: &Map<String, Value>) {
    let sums = aggregate_requests(&Value::Object(spec.clone()));
    let names: BTreeSet<&str> = limits.keys().map(String::as_str).chain(sums.keys().map(String::as_str)).collect();
    let mut found = Vec::new();
    for name in names.into_iter().filter(|n| matches!(*n, "cpu" | "memory") || n.starts_with("hugepages-")) {
        let value = match (sums.get(name), limits.get(name)) {
            (Some(sum), _) if !name.starts_with("hugepages-") => sum.to_string().into(),
            (_, Some(limit)) if quantity::parse(limit).is_some() => limit.clone(),
            _ => continue,
        };
        found.push((name.to_owned(), value));
    }
    let requests = spec.sub_or_new("resources").sub_or_new("requests");
    for (name, value) in found {
        requests.entry(name).or_insert(value);
    }
}
