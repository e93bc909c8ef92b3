//! Where a pod may run: affinity, tolerations, topology spread.

use std::collections::BTreeSet;

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::{is_dns1123_label, is_dns1123_subdomain, is_qualified_name, is_valid_label_value};
use serde_json::Value;

use crate::check;
use crate::tree::Tree;

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

pub fn validate(errors: &mut ErrorList, at: &Path, affinity: &Value) {
    let node = affinity.field("nodeAffinity");
    if node.has(REQUIRED) {
        node_selector(errors, &at.child("nodeAffinity").child(REQUIRED), node.field(REQUIRED));
    }
    for (i, term) in node.list(PREFERRED).iter().enumerate() {
        let at = at.child("nodeAffinity").child(PREFERRED).index(i);
        weight(errors, &at, term);
        node_selector_term(errors, &at.child("preference"), term.field("preference"), false);
    }
    for name in ["podAffinity", "podAntiAffinity"] {
        let terms = affinity.field(name);
        for (i, term) in terms.list(REQUIRED).iter().enumerate() {
            pod_term(errors, &at.child(name).child(REQUIRED).index(i), term);
        }
        for (i, weighted) in terms.list(PREFERRED).iter().enumerate() {
            let at = at.child(name).child(PREFERRED).index(i);
            weight(errors, &at, weighted);
            pod_term(errors, &at.child("podAffinityTerm"), weighted.field("podAffinityTerm"));
        }
    }
}

fn weight(errors: &mut ErrorList, at: &Path, term: &Value) {
    let weight = term.int("weight").unwrap_or(0);
    if !(1..=100).contains(&weight) {
        errors.push(Error::invalid(&at.child("weight"), weight, "must be in the range 1-100"));
    }
}

/// A `NodeSelector`, in pods, volumes and resource claims.
pub fn node_selector(errors: &mut ErrorList, at: &Path, selector: &Value) {
    let at = at.child("nodeSelectorTerms");
    let terms = selector.list("nodeSelectorTerms");
    if terms.is_empty() {
        errors.push(Error::required(&at, "must have at least one node selector term"));
    }
    for (i, term) in terms.iter().enumerate() {
        node_selector_term(errors, &at.index(i), term, true);
    }
}

fn node_selector_term(errors: &mut ErrorList, at: &Path, term: &Value, check_values: bool) {
    for (i, requirement) in term.list("matchExpressions").iter().enumerate() {
        node_requirement(errors, &at.child("matchExpressions").index(i), requirement, check_values);
    }
    for (i, requirement) in term.list("matchFields").iter().enumerate() {
        node_field(errors, &at.child("matchFields").index(i), requirement);
    }
}

fn node_requirement(errors: &mut ErrorList, at: &Path, requirement: &Value, check_values: bool) {
    let values = at.child("values");
    let count = requirement.list("values").len();
    match requirement.text("operator") {
        "In" | "NotIn" if count == 0 => {
            errors.push(Error::required(&values, "must be specified when `operator` is 'In' or 'NotIn'"));
        }
        "Exists" | "DoesNotExist" if count > 0 => {
            let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            errors.push(Error::forbidden(&values, why));
        }
        "Gt" | "Lt" if count != 1 => {
            let why = "must be specified single value when `operator` is 'Lt' or 'Gt'";
            errors.push(Error::required(&values, why));
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        other => errors.push(Error::invalid(&at.child("operator"), other, "not a valid selector operator")),
    }
    check::text(errors, at, "key", requirement.text("key"), is_qualified_name);
    if check_values {
        for (i, value) in requirement.texts("values").enumerate() {
            errors.extend(is_valid_label_value(value).into_iter().map(|e| Error::invalid(&values.index(i), value, e)));
        }
    }
}

fn node_field(errors: &mut ErrorList, at: &Path, requirement: &Value) {
    match requirement.text("operator") {
        "In" | "NotIn" => {
            if requirement.list("values").len() != 1 {
                let why = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
                errors.push(Error::required(&at.child("values"), why));
            }
        }
        other => errors.push(Error::invalid(&at.child("operator"), other, "not a valid selector operator")),
    }
    let key = requirement.text("key");
    if key != "metadata.name" {
        errors.push(Error::invalid(&at.child("key"), key, "not a valid field selector key"));
        return;
    }
    for (i, value) in requirement.texts("values").enumerate() {
        let path = at.child("values").index(i);
        errors.extend(is_dns1123_subdomain(value).into_iter().map(|e| Error::invalid(&path, value, e)));
    }
}

fn pod_term(errors: &mut ErrorList, at: &Path, term: &Value) {
    check::label_selector(errors, &at.child("labelSelector"), term.field("labelSelector"));
    check::label_selector(errors, &at.child("namespaceSelector"), term.field("namespaceSelector"));
    for name in term.texts("namespaces") {
        check::text(errors, at, "namespace", name, is_dns1123_label);
    }
    label_keys(errors, at, term);
    let key = term.text("topologyKey");
    if key.is_empty() {
        errors.push(Error::required(&at.child("topologyKey"), "can not be empty"));
    }
    check::text(errors, at, "topologyKey", key, is_qualified_name);
}

/// `matchLabelKeys` and `mismatchLabelKeys` need a selector, do not overlap, and are not in the selector themselves.
fn label_keys(errors: &mut ErrorList, at: &Path, term: &Value) {
    let selector = term.field("labelSelector");
    for field in ["matchLabelKeys", "mismatchLabelKeys"] {
        if term.list(field).is_empty() {
            continue;
        }
        if selector.is_null() {
            errors.push(Error::forbidden(&at.child(field), "must not be specified when labelSelector is not set"));
            continue;
        }
        for (i, key) in term.texts(field).enumerate() {
            let path = at.child(field).index(i);
            errors.extend(is_qualified_name(key).into_iter().map(|e| Error::invalid(&path, key, e)));
        }
    }
    keys_in_selector(errors, at, term, selector);
    for (i, key) in term.texts("matchLabelKeys").enumerate() {
        if term.texts("mismatchLabelKeys").any(|k| k == key) {
            let why = "exists in both matchLabelKeys and mismatchLabelKeys";
            errors.push(Error::invalid(&at.child("matchLabelKeys").index(i), key, why));
        }
    }
}

/// A key of `matchLabelKeys` is in the selector once, since its value was merged into it; twice is the user's doing.
fn keys_in_selector(errors: &mut ErrorList, at: &Path, term: &Value, selector: &Value) {
    if term.list("matchLabelKeys").is_empty() {
        return;
    }
    let mut seen: BTreeSet<&str> = selector.entries("matchLabels").map(|(key, _)| key).collect();
    for key in selector.list("matchExpressions").iter().map(|e| e.text("key")) {
        let position = term.texts("matchLabelKeys").collect::<Vec<_>>().iter().rposition(|k| *k == key);
        if let Some(i) = position.filter(|_| seen.contains(key)) {
            // Upstream leaves out the name of the list.
            errors.push(Error::invalid(&at.index(i), key, "exists in both matchLabelKeys and labelSelector"));
        }
        seen.insert(key);
    }
}

const EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];

/// The effect of a taint, which must be there.
pub fn taint_effect(errors: &mut ErrorList, at: &Path, taint: &Value) {
    check::choice(errors, at, taint, "effect", EFFECTS);
}

pub fn validate_tolerations(errors: &mut ErrorList, list_at: &Path, tolerations: &[Value]) {
    for (i, toleration) in tolerations.iter().enumerate() {
        let at = || list_at.index(i);
        let (key, operator, value) = (toleration.text("key"), toleration.text("operator"), toleration.text("value"));
        let effect = toleration.text("effect");
        if !key.is_empty() {
            let reasons = is_qualified_name(key).into_iter();
            errors.extend(reasons.map(|why| Error::invalid(&at().child("key"), key, why)));
        } else if operator != "Exists" {
            let why = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.push(Error::invalid(&at().child("operator"), operator, why));
        }
        if effect != "NoExecute" && toleration.has("tolerationSeconds") {
            let why = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.push(Error::invalid(&at().child("effect"), effect, why));
        }
        match operator {
            "Equal" | "" => {
                let reasons = is_valid_label_value(value);
                if !reasons.is_empty() {
                    errors.push(Error::invalid(&at().child("operator"), value, reasons.join(";")));
                }
            }
            "Exists" if !value.is_empty() => {
                let why = "value must be empty when `operator` is 'Exists'";
                errors.push(Error::invalid(&at().child("operator"), value, why));
            }
            "Exists" => {}
            // These compare numbers, behind a gate that is closed.
            "Lt" | "Gt" => {
                let known = &["Equal", "Exists", "Lt", "Gt"];
                errors.push(Error::not_supported(&at().child("operator"), operator, known));
            }
            other => errors.push(Error::not_supported(&at().child("operator"), other, &["Equal", "Exists"])),
        }
        if !effect.is_empty() && !EFFECTS.contains(&effect) {
            taint_effect(errors, &at(), toleration);
        }
    }
}

pub fn validate_spread(errors: &mut ErrorList, list_at: &Path, constraints: &[Value]) {
    for (i, constraint) in constraints.iter().enumerate() {
        let at = list_at.index(i);
        let skew = constraint.int("maxSkew").unwrap_or(0);
        if skew <= 0 {
            errors.push(Error::invalid(&at.child("maxSkew"), skew, "must be greater than zero"));
        }
        if constraint.text("topologyKey").is_empty() {
            errors.push(Error::required(&at.child("topologyKey"), "can not be empty"));
        }
        check::one_of(errors, &at, constraint, "whenUnsatisfiable", &["DoNotSchedule", "ScheduleAnyway"]);
        let action = constraint.text("whenUnsatisfiable");
        let same = |other: &Value| {
            other.text("topologyKey") == constraint.text("topologyKey") && other.text("whenUnsatisfiable") == action
        };
        if constraints[i + 1..].iter().any(same) {
            let shown = format!("{{{}, {action}}}", constraint.text("topologyKey"));
            errors.push(Error::duplicate(&at.child("{topologyKey, whenUnsatisfiable}"), shown));
        }
        if let Some(domains) = constraint.int("minDomains") {
            let at = at.child("minDomains");
            if domains <= 0 {
                errors.push(Error::invalid(&at, domains, "must be greater than zero"));
            }
            if action != "DoNotSchedule" {
                let why = format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}");
                errors.push(Error::invalid(&at, domains, why));
            }
        }
        for field in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            check::optional_choice(errors, &at, constraint, field, &["Honor", "Ignore"]);
        }
        label_keys(errors, &at, constraint);
        check::label_selector(errors, &at.child("labelSelector"), constraint.field("labelSelector"));
    }
}
