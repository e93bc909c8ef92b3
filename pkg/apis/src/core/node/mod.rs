//! Nodes and ComponentStatuses.

mod rules;

use std::collections::BTreeSet;

use apimachinery::field::Path;
use apimachinery::{Object, meta::ObjectExt};
use serde_json::{Map, Value, json};

use crate::addresses::cidr_warning;
use crate::cells::{age, or_none};
use crate::quantity::canonical_quantities;
use crate::resource::{Column, Resource, Strategy, Subresource, Verbs};
use crate::strategy::{keep_all_but_status, keep_status, spec_changed};
use crate::tree::{Fill, Tree, spec_mut};

pub const NODE: Resource = Resource {
    short_names: &["no"],
    columns: &[
        Column::NAME,
        Column::text("Status", "Whether it is ready, and whether pods may be scheduled to it."),
        Column::text("Roles", "Roles, from its labels."),
        Column::AGE,
        Column::text("Version", "Version of its kubelet."),
        Column::text("Internal-IP", "First address inside the cluster.").wide(),
        Column::text("External-IP", "First address outside the cluster.").wide(),
        Column::text("OS-Image", "Operating system.").wide(),
        Column::text("Kernel-Version", "Kernel.").wide(),
        Column::text("Container-Runtime", "Container runtime and its version.").wide(),
    ],
    cells,
    selectable: &[("spec.unschedulable", |o| o.field("spec").flag("unschedulable").to_string())],
    subresources: &[Subresource::core("proxy", "NodeProxyOptions", super::PROXY), Subresource::STATUS],
    strategy: Strategy {
        default,
        // A kubelet registers its node together with its status.
        prepare_for_create: drop_config,
        prepare_for_update: |new, old| {
            keep_status(new, old);
            drop_config(new);
        },
        prepare_for_status_update: |new, old| {
            keep_all_but_status(new, old);
            drop_config(new);
        },
        validate: rules::new,
        validate_update: rules::changed,
        validate_status_update: rules::changed_status,
        warnings,
        generation_changed: None,
        ..Strategy::SPEC_STATUS
    },
    ..Resource::cluster("", "v1", "nodes", "node", "Node")
};

pub const COMPONENT_STATUS: Resource = Resource {
    short_names: &["cs"],
    verbs: Verbs::READ,
    virtual_resource: true,
    columns: &[
        Column::NAME,
        Column::text("Status", "Whether the component answers."),
        Column::text("Message", "What it said."),
        Column::text("Error", "What went wrong."),
    ],
    cells: |o, _| {
        let healthy = o.list("conditions").iter().find(|c| c.text("type") == "Healthy");
        let healthy = healthy.unwrap_or(&Value::Null);
        let status = match healthy.text("status") {
            "True" => "Healthy",
            "False" => "Unhealthy",
            _ => "Unknown",
        };
        vec![o.name().into(), status.into(), healthy.text("message").into(), healthy.text("error").into()]
    },
    ..Resource::cluster("", "v1", "componentstatuses", "componentstatus", "ComponentStatus")
};

fn default(node: &mut Object) {
    if let Some(spec) = spec_mut(node) {
        // Of an alpha feature, which is off.
        spec.remove("podPreemptionPolicy");
        let first = spec.text("podCIDR").to_owned();
        if spec.list("podCIDRs").is_empty() && !first.is_empty() {
            spec.insert("podCIDRs".to_owned(), json!([first]));
        }
    }
    if let Some(status) = node.as_object_mut().and_then(|o| o.sub("status")) {
        canonical_quantities(status, "capacity");
        canonical_quantities(status, "allocatable");
        if status.has("capacity") {
            let capacity = status.field("capacity").clone();
            status.default_value("allocatable", || capacity);
        }
    }
}

/// Configuration through the API is gone; nothing has these fields any more.
fn drop_config(node: &mut Object) {
    let Some(node) = node.as_object_mut() else { return };
    for (owner, field) in [("spec", "configSource"), ("status", "config")] {
        if let Some(owner) = node.sub(owner) {
            owner.remove(field);
        }
    }
}

fn warnings(node: &Object, old: Option<&Object>) -> Vec<String> {
    let spec = node.field("spec");
    let mut warnings = Vec::new();
    if !spec.text("externalID").is_empty() {
        warnings.push("spec.externalID: this field is deprecated, and is unused by Kubernetes".to_owned());
    }
    let at = Path::new("spec").child("podCIDRs");
    let networks = spec.texts("podCIDRs").enumerate().filter(|_| old.is_none_or(|old| spec_changed(node, old)));
    warnings.extend(networks.filter_map(|(i, network)| cidr_warning(&at.index(i), network)));
    warnings
}

fn cells(node: &Object, now: i64) -> Vec<Value> {
    let info = node.field("status").field("nodeInfo");
    let or_unknown = |text: &str| Value::from(if text.is_empty() { "<unknown>" } else { text });
    let address = |kind: &str| {
        let mut list = node.array_at("status/addresses").iter();
        or_none(list.find(|a| a.text("type") == kind).map_or("", |a| a.text("address")))
    };
    vec![
        node.name().into(),
        status(node).into(),
        or_none(&roles(node.labels())),
        age(node, now),
        info.text("kubeletVersion").into(),
        address("InternalIP"),
        address("ExternalIP"),
        or_unknown(info.text("osImage")),
        or_unknown(info.text("kernelVersion")),
        or_unknown(info.text("containerRuntimeVersion")),
    ]
}

fn status(node: &Object) -> String {
    let ready = node.array_at("status/conditions").iter().find(|c| c.text("type") == "Ready");
    let word = match ready.map(|c| c.text("status")) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    let cordoned = if node.field("spec").flag("unschedulable") { ",SchedulingDisabled" } else { "" };
    format!("{word}{cordoned}")
}

fn roles(labels: Option<&Map<String, Value>>) -> String {
    let mut roles = BTreeSet::new();
    for (key, value) in labels.into_iter().flatten() {
        if let Some(role) = key.strip_prefix("node-role.kubernetes.io/").filter(|r| !r.is_empty()) {
            roles.insert(role);
        } else if key == "kubernetes.io/role"
            && let Some(role) = value.as_str().filter(|r| !r.is_empty())
        {
            roles.insert(role);
        }
    }
    roles.into_iter().collect::<Vec<_>>().join(",")
}
