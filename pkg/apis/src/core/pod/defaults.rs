//! Defaults that a Pod gets and a pod template does not.

use apimachinery::Object;
use serde_json::{Map, Value};

use crate::podspec::default_pod_spec;
use crate::podspec::resources::{HUGE_PAGES, aggregate, is_overcommit_allowed, is_pod_level};
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
    pod_level_resources(spec);
}

fn default_host_port(port: &mut Map<String, Value>) {
    if let Some(number) = port.int("containerPort").filter(|n| *n != 0) {
        port.default_nonzero("hostPort", number);
    }
}

/// What is limited and not requested is requested up to the limit.
fn requests_from_limits(resources: &mut Map<String, Value>) {
    let Some(Value::Object(limits)) = resources.get("limits") else { return };
    let requests = resources.field("requests");
    let missing = limits.iter().filter(|(name, _)| requests.get(name).is_none());
    let missing: Vec<_> = missing.map(|(name, limit)| (name.clone(), limit.clone())).collect();
    fill(resources, "requests", missing);
}

/// What the whole pod asks for where it says only a part of it: huge pages are limited to what the containers are limited
/// to; what is limited is requested, as much as the containers request or else up to the limit.
fn pod_level_resources(spec: &mut Map<String, Value>) {
    let resources = spec.field("resources");
    let given = |list: &str| resources.field(list).as_object().is_some_and(|r| !r.is_empty());
    if !given("limits") && !given("requests") {
        return;
    }
    let huge: Vec<_> = aggregate(spec, "limits").into_iter().filter(|(name, _)| name.starts_with(HUGE_PAGES)).collect();
    let Some(resources) = spec.sub("resources") else { return };
    fill(resources, "limits", huge.into_iter().map(|(name, sum)| (name, sum.to_string().into())).collect());
    let limits = resources.field("limits").as_object().cloned().unwrap_or_default();
    if limits.is_empty() {
        return;
    }
    let sums = aggregate(spec, "requests").into_iter();
    let sums = sums.filter(|(name, _)| is_pod_level(name) && is_overcommit_allowed(name));
    let mut requests: Vec<(String, Value)> = sums.map(|(name, sum)| (name, sum.to_string().into())).collect();
    requests.extend(limits.into_iter().filter(|(name, _)| is_pod_level(name)));
    if let Some(resources) = spec.sub("resources") {
        fill(resources, "requests", requests);
    }
}

/// Adds those `entries` of a resource list that it does not have.
fn fill(resources: &mut Map<String, Value>, list: &str, entries: Vec<(String, Value)>) {
    if entries.is_empty() {
        return;
    }
    let list = resources.sub_or_new(list);
    for (name, value) in entries {
        list.entry(name).or_insert(value);
    }
}
