//! What Nodes may say, and what may change in them.

use std::collections::BTreeSet;

use apimachinery::Object;
use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::{is_qualified_name, is_valid_label_value};
use serde_json::Value;

use crate::check;
use crate::podspec::{affinity, resources};
use crate::tree::Tree;

const TAINTS: &str = "scheduler.alpha.kubernetes.io/taints";
const AVOID_PODS: &str = "scheduler.alpha.kubernetes.io/preferAvoidPods";

pub fn new(node: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    annotations(&mut errors, node);
    taints_of_spec(&mut errors, node);
    amounts(&mut errors, node);
    networks(&mut errors, node.field("spec"));
    errors
}

/// On the main endpoint the whole node is looked at, and then what changed.
pub fn changed(node: &Object, old: &Object) -> ErrorList {
    let mut errors = new(node);
    errors.extend(changed_status(node, old));
    errors
}

pub fn changed_status(node: &Object, old: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    annotations(&mut errors, node);
    amounts(&mut errors, node);
    let addresses = node.field("status").list("addresses");
    for (i, address) in addresses.iter().enumerate() {
        if addresses[..i].contains(address) {
            errors.push(Error::duplicate(&Path::new("status").child("addresses").index(i), address.clone()));
        }
    }
    fixed(&mut errors, node.field("spec"), old.field("spec"));
    taints_of_spec(&mut errors, node);
    if node.field("spec").text("externalID") != old.field("spec").text("externalID") {
        errors.push(Error::forbidden(&Path::new("spec").child("externalID"), "may not be updated"));
    }
    errors
}

/// What is set once and for all.
fn fixed(errors: &mut ErrorList, spec: &Value, before: &Value) {
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
}

/// At most one network of each family, and none twice.
fn networks(errors: &mut ErrorList, spec: &Value) {
    let at = Path::new("spec").child("podCIDRs");
    let list: Vec<&str> = spec.texts("podCIDRs").collect();
    for (i, network) in list.iter().enumerate() {
        check::cidr(errors, &at.index(i), network);
    }
    let families: BTreeSet<bool> = list.iter().map(|network| network.contains(':')).collect();
    if list.len() > 2 || families.len() < list.len() {
        let why = "may specify no more than one CIDR for each IP family";
        errors.push(Error::invalid(&at, spec.field("podCIDRs").clone(), why));
    }
    for (i, network) in list.iter().enumerate().filter(|(i, network)| list[..*i].contains(network)) {
        errors.push(Error::duplicate(&at.index(i), *network));
    }
}

/// Old annotations that hold JSON.
fn annotations(errors: &mut ErrorList, node: &Object) {
    let annotations = node.field("metadata").field("annotations");
    let at = Path::new("metadata").child("annotations");
    let text = |key: &str| annotations.field(key).as_str().filter(|text| !text.is_empty());
    if let Some(text) = text(TAINTS) {
        match serde_json::from_str::<Vec<Value>>(text) {
            Ok(list) => taints(errors, &at.child(TAINTS), &list),
            Err(error) => errors.push(Error::invalid(&at, TAINTS, error.to_string())),
        }
    }
    if let Some(text) = text(AVOID_PODS) {
        match serde_json::from_str::<Value>(text) {
            Ok(avoid) => avoided_pods(errors, &at.child(AVOID_PODS), avoid.list("preferAvoidPods")),
            Err(error) => errors.push(Error::invalid(&at.child("AvoidPods"), AVOID_PODS, error.to_string())),
        }
    }
}

/// Pods are avoided by their controller; fields are shown with their names in Go.
fn avoided_pods(errors: &mut ErrorList, at: &Path, entries: &[Value]) {
    for (i, entry) in entries.iter().enumerate() {
        let at = at.index(i).child("PodSignature");
        let controller = entry.field("podSignature").field("podController");
        if controller.is_null() {
            errors.push(Error::required(&at, ""));
        } else if !controller.flag("controller") {
            let at = at.child("PodController").child("Controller");
            errors.push(Error::invalid(&at, false, "must point to a controller"));
        }
    }
}

fn taints_of_spec(errors: &mut ErrorList, node: &Object) {
    taints(errors, &Path::new("metadata").child("taints"), node.field("spec").list("taints"));
}

/// Taints have a legal key, value and effect, and are unique by key and effect.
fn taints(errors: &mut ErrorList, at: &Path, taints: &[Value]) {
    let mut seen = BTreeSet::new();
    for (i, taint) in taints.iter().enumerate() {
        let at = at.index(i);
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
