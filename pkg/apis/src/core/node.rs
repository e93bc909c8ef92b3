//! Nodes and ComponentStatuses.

use std::collections::BTreeSet;

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::{is_qualified_name, is_valid_label_value};
use apimachinery::{Object, meta::ObjectExt};
use serde_json::{Map, Value, json};

use crate::cells::{age, or_none};
use crate::check;
use crate::podspec::{affinity, resources};
use crate::quantity::canonical_quantities;
use crate::resource::{Column, Resource, Strategy, Subresource, Verbs};
use crate::strategy::nothing;
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
        prepare_for_create: nothing,
        validate,
        validate_update,
        validate_status_update: validate_update,
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

fn validate(node: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    taints(&mut errors, node);
    amounts(&mut errors, node);
    let (at, spec) = (Path::new("spec").child("podCIDRs"), node.field("spec"));
    for (i, cidr) in spec.texts("podCIDRs").enumerate() {
        check::cidr(&mut errors, &at.index(i), cidr);
    }
    let v6: Vec<bool> = spec.texts("podCIDRs").map(|c| c.contains(':')).collect();
    if v6.len() > 2 || (v6.len() == 2 && v6[0] == v6[1]) {
        let why = "may specify no more than one CIDR for each IP family";
        errors.push(Error::invalid(&at, spec.field("podCIDRs").clone(), why));
    }
    errors
}

/// Taints have a legal key, value and effect, and are unique by key and effect.
fn taints(errors: &mut ErrorList, node: &Object) {
    let mut seen = BTreeSet::new();
    for (i, taint) in node.field("spec").list("taints").iter().enumerate() {
        let at = Path::new("metadata").child("taints").index(i);
        check::text(errors, &at, "key", taint.text("key"), is_qualified_name);
        let reasons = is_valid_label_value(taint.text("value"));
        if !reasons.is_empty() {
            errors.push(Error::invalid(&at.child("value"), taint.text("value"), reasons.join(";")));
        }
        affinity::taint_effect(errors, &at, taint);
        if !seen.insert((taint.text("effect"), taint.text("key"))) {
            let mut duplicate = Error::duplicate(&at, taint.clone());
            duplicate.detail = "taints must be unique by key and effect pair".to_owned();
            errors.push(duplicate);
        }
    }
}

fn amounts(errors: &mut ErrorList, node: &Object) {
    for list in ["capacity", "allocatable"] {
        for (name, value) in node.field("status").entries(list) {
            resources::amount(errors, || Path::new("status").child(list).child(name), name, value);
        }
    }
}

fn validate_update(new: &Object, old: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    amounts(&mut errors, new);
    let addresses = new.field("status").list("addresses");
    for (i, address) in addresses.iter().enumerate() {
        if addresses[..i].contains(address) {
            errors.push(Error::duplicate(&Path::new("status").child("addresses").index(i), address.clone()));
        }
    }
    let (spec, before) = (new.field("spec"), old.field("spec"));
    let fixed = |field: &str, shown: &str| {
        let why = format!("node updates may not change {shown} except from \"\" to valid");
        Error::forbidden(&Path::new("spec").child(field), why)
    };
    // One error for each network that is another, or one if their number is.
    let (list, old) = (spec.list("podCIDRs"), before.list("podCIDRs"));
    let changes = match list.len() == old.len() {
        true => list.iter().zip(old).filter(|(new, old)| new != old).count(),
        false => usize::from(!old.is_empty()),
    };
    errors.extend((0..changes).map(|_| fixed("podCIDRs", "podCIDR")));
    if !before.text("providerID").is_empty() && before.text("providerID") != spec.text("providerID") {
        errors.push(fixed("providerID", "providerID"));
    }
    taints(&mut errors, new);
    errors
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
