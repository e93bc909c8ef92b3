//! A node's own Node object.

use std::collections::BTreeSet;

use apimachinery::ApiResult;
use apimachinery::meta::ObjectExt;
use serde_json::Value;

use super::Request;
use crate::Operation;

/// Labels in Kubernetes' own domains that a kubelet may set.
const KUBELET_LABELS: &[&str] = &[
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "node.kubernetes.io/instance-type",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "node.kubernetes.io/windows-build",
];
/// And domains in which it may set any.
const KUBELET_DOMAINS: &[&str] = &["kubelet.kubernetes.io", "node.kubernetes.io"];

pub(super) fn check(request: &Request<'_>) -> ApiResult<()> {
    let (a, node) = (request.a, request.node);
    let empty = Value::Null;
    if let (Operation::Create, Some(new)) = (a.operation, request.new) {
        if has(new, "spec/configSource") {
            return request.refuse(format!("node {node:?} is not allowed to create pods with a non-nil configSource"));
        }
        let labels = forbidden_labels(new, &empty);
        if !labels.is_empty() {
            return request.refuse(format!("node {node:?} is not allowed to set the following labels: {labels}"));
        }
    }
    let name = request.name();
    if name != node {
        return request.refuse(format!("node {node:?} is not allowed to modify node {name:?}"));
    }
    let (Operation::Update, Some(new), Some(old)) = (a.operation, request.new, request.old) else { return Ok(()) };
    let changed = |path: &str| set(new, path) != set(old, path);
    if has(new, "spec/configSource") && changed("spec/configSource") {
        let why = format!("node {node:?} is not allowed to update configSource to a new non-nil configSource");
        return request.refuse(why);
    }
    if changed("spec/taints") {
        return request.refuse(format!("node {node:?} is not allowed to modify taints"));
    }
    let labels = forbidden_labels(new, old);
    if !labels.is_empty() {
        return request.refuse(format!("is not allowed to modify labels: {labels}"));
    }
    if changed("metadata/ownerReferences") {
        return request.refuse(format!("node {node:?} is not allowed to modify ownerReferences"));
    }
    Ok(())
}

/// An absent, a null and an empty list are the same.
fn set<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    object.at(path).filter(|v| !v.is_null() && v.as_array().is_none_or(|list| !list.is_empty()))
}

fn has(object: &Value, path: &str) -> bool {
    set(object, path).is_some()
}

fn forbidden_labels(new: &Value, old: &Value) -> String {
    let value = |object: &Value, key: &str| object.labels().and_then(|l| l.get(key)).cloned();
    let keys: BTreeSet<&String> = [new, old].into_iter().filter_map(|o| o.labels()).flat_map(|l| l.keys()).collect();
    let changed = keys.into_iter().filter(|key| value(new, key) != value(old, key));
    changed.filter(|key| is_forbidden(key)).cloned().collect::<Vec<_>>().join(", ")
}

fn is_forbidden(label: &str) -> bool {
    let domain = label.split_once('/').map_or("", |(domain, _)| domain);
    let within = |parent: &str| domain == parent || domain.strip_suffix(parent).is_some_and(|d| d.ends_with('.'));
    if within("node-restriction.kubernetes.io") {
        return true;
    }
    let kubernetes = within("kubernetes.io") || within("k8s.io");
    kubernetes && !KUBELET_LABELS.contains(&label) && !KUBELET_DOMAINS.iter().any(|d| within(d))
}
