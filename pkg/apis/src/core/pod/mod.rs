//! Pods: the row, what a Pod has beyond a pod template, and its life.

mod affinity_keys;
mod app_armor;
mod cells;
mod container_status;
mod defaults;
pub mod qos;
mod resize;
mod status;
mod update;

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::{Object, meta::ObjectExt};
use serde_json::json;

use crate::podspec::annotations::{self, MIRROR};
use crate::podspec::container::trimmed_image;
use crate::podspec::volume::tokens_need_account;
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
    // The first is what clients sent before there was a v1.
    selector_aliases: &[("spec.host", "spec.nodeName"), ("spec.nodeName", "spec.nodeName")],
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
    app_armor::fill_fields(pod);
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
    annotations::match_fields(&mut errors, &at, pod.field("metadata").field("annotations"), spec);
    errors
}

/// What holds at birth and after every change.
fn validate_common(pod: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let (at, spec) = (Path::new("spec"), pod.field("spec"));
    let annotations = pod.field("metadata").field("annotations");
    if !annotations.is_null() {
        annotations::validate(&mut errors, &annotations_path(), annotations, spec);
    }
    let scope = Scope { is_pod: true, pod_name: pod.name(), is_mirror: annotations.has(MIRROR) };
    validate_pod_spec(&mut errors, &at, spec, scope);
    tokens_need_account(&mut errors, &at, spec);
    for list in ["containers", "initContainers"] {
        for (i, container) in spec.list(list).iter().enumerate() {
            trimmed_image(&mut errors, || at.child(list).index(i), container);
        }
    }
    errors
}

fn annotations_path() -> Path {
    Path::new("metadata").child("annotations")
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
