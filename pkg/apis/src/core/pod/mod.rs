//! Pods: the row, what a Pod has beyond a pod template, and its life.

mod affinity_keys;
mod cells;
mod defaults;
pub mod qos;
mod resize;
mod status;
mod update;

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::{Object, meta::ObjectExt};
use serde_json::{Value, json};

use crate::podspec::{Scope, validate_pod_spec};
use crate::resource::{Resource, SelectableField, Strategy, Subresource, SubresourceUpdate, Verbs};
use crate::strategy::keep_status;
use crate::tree::Tree;

pub const ROW: Resource = Resource {
    short_names: &["po"],
    categories: &["all"],
    columns: cells::COLUMNS,
    cells: cells::cells,
    selectable: SELECTABLE,
    subresources: &[
        Subresource::core("attach", "PodAttachOptions", super::CONNECT),
        Subresource::core("binding", "Binding", &["create"]),
        Subresource::part(
            "ephemeralcontainers",
            Verbs::STATUS.0,
            SubresourceUpdate { prepare: update::prepare_ephemeral, validate: update::validate_ephemeral },
        ),
        Subresource { name: "eviction", kind: Some(("policy", "v1", "Eviction")), verbs: Verbs::CREATE, update: None },
        Subresource::core("exec", "PodExecOptions", super::CONNECT),
        Subresource { name: "log", kind: None, verbs: Verbs(&["get"]), update: None },
        Subresource::core("portforward", "PodPortForwardOptions", super::CONNECT),
        Subresource::core("proxy", "PodProxyOptions", super::PROXY),
        Subresource::part(
            "resize",
            Verbs::STATUS.0,
            SubresourceUpdate { prepare: resize::prepare, validate: resize::validate },
        ),
        Subresource::STATUS,
    ],
    strategy: Strategy {
        default: defaults::default,
        prepare_for_create,
        prepare_for_update: keep_status,
        prepare_for_status_update: status::prepare,
        validate,
        validate_update: update::validate,
        validate_status_update: status::validate,
        grace_period_seconds: Some(grace_period_seconds),
        warnings: crate::podspec::warnings::pod_warnings,
        ..Strategy::SPEC_STATUS
    },
    ..Resource::namespaced("", "v1", "pods", "pod", "Pod")
};

const SELECTABLE: &[SelectableField] = &[
    ("spec.nodeName", |o| o.str_at("spec/nodeName").to_owned()),
    ("spec.restartPolicy", |o| o.str_at("spec/restartPolicy").to_owned()),
    ("spec.schedulerName", |o| o.str_at("spec/schedulerName").to_owned()),
    ("spec.serviceAccountName", |o| o.str_at("spec/serviceAccountName").to_owned()),
    ("spec.hostNetwork", |o| o.field("spec").flag("hostNetwork").to_string()),
    ("status.phase", |o| o.str_at("status/phase").to_owned()),
    ("status.podIP", |o| match o.array_at("status/podIPs").first() {
        Some(first) => first.text("ip").to_owned(),
        None => o.str_at("status/podIP").to_owned(),
    }),
    ("status.nominatedNodeName", |o| o.str_at("status/nominatedNodeName").to_owned()),
];

/// A new pod is Pending, with its QoS class fixed for life.
fn prepare_for_create(pod: &mut Object) {
    affinity_keys::merge(pod);
    let mut status = json!({ "phase": "Pending", "qosClass": qos::class(pod) });
    if !pod.field("spec").list("schedulingGates").is_empty() {
        status["conditions"] = json!([{
            "type": "PodScheduled",
            "status": "False",
            "reason": "SchedulingGated",
            "message": "Scheduling is blocked due to non-empty scheduling gates",
        }]);
    }
    apimachinery::meta::object_mut(pod).insert("status".to_owned(), status);
}

fn validate(pod: &Object) -> ErrorList {
    let mut errors = validate_common(pod);
    let spec = pod.field("spec");
    let at = Path::new("spec");
    if !spec.list("ephemeralContainers").is_empty() {
        errors.push(Error::forbidden(&at.child("ephemeralContainers"), "cannot be set on create"));
    }
    if !spec.text("nodeName").is_empty() && !spec.list("schedulingGates").is_empty() {
        let why = "cannot be set until all schedulingGates have been cleared";
        errors.push(Error::forbidden(&at.child("nodeName"), why));
    }
    errors
}

/// What holds at birth and after every change.
fn validate_common(pod: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    annotations(&mut errors, pod);
    let scope = Scope { is_pod: true, pod_name: pod.name() };
    validate_pod_spec(&mut errors, &Path::new("spec"), pod.field("spec"), scope);
    errors
}

fn annotations(errors: &mut ErrorList, pod: &Object) {
    const COST: &str = "controller.kubernetes.io/pod-deletion-cost";
    let Some(value) = pod.annotations().and_then(|a| a.get(COST)).and_then(Value::as_str) else { return };
    let canonical = value.parse::<i32>().is_ok_and(|n| n.to_string() == value);
    if !canonical {
        let path = Path::new("metadata").child("annotations").key(COST);
        errors.push(Error::invalid(&path, value, "must be a 32bit integer"));
    }
}

/// A pod that no node has, or that has ended, goes at once.
fn grace_period_seconds(pod: &Object, requested: Option<i64>) -> i64 {
    let spec = pod.field("spec");
    let ended = matches!(pod.field("status").text("phase"), "Succeeded" | "Failed");
    if spec.text("nodeName").is_empty() || ended {
        return 0;
    }
    match requested.or_else(|| spec.int("terminationGracePeriodSeconds")).unwrap_or(0) {
        // Below zero means as fast as may be, but not without the node's word.
        negative if negative < 0 => 1,
        seconds => seconds,
    }
}

#[cfg(test)]
mod tests;
