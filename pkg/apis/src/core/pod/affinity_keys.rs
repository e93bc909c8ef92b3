//! `matchLabelKeys`: at birth, the pod's own values of these labels become part of the label selectors beside them.

use apimachinery::Object;
use serde_json::{Map, Value, json};

use crate::tree::{Fill, Tree, spec_mut};

pub fn merge(pod: &mut Object) {
    let spec = pod.field("spec");
    if !spec.has("affinity") && !spec.has("topologySpreadConstraints") {
        return;
    }
    let labels = pod.field("metadata").field("labels").clone();
    let Some(spec) = spec_mut(pod) else { return };
    spec.each("topologySpreadConstraints", |constraint| extend(constraint, &labels));
    let Some(affinity) = spec.sub("affinity") else { return };
    for name in ["podAffinity", "podAntiAffinity"] {
        let Some(terms) = affinity.sub(name) else { continue };
        terms.each("requiredDuringSchedulingIgnoredDuringExecution", |term| extend(term, &labels));
        terms.each("preferredDuringSchedulingIgnoredDuringExecution", |weighted| {
            if let Some(term) = weighted.sub("podAffinityTerm") {
                extend(term, &labels);
            }
        });
    }
}

fn extend(term: &mut Map<String, Value>, labels: &Value) {
    let mut expressions = Vec::new();
    for (field, operator) in [("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")] {
        for key in term.texts(field) {
            if let Some(value) = labels.field(key).as_str() {
                expressions.push(json!({ "key": key, "operator": operator, "values": [value] }));
            }
        }
    }
    if expressions.is_empty() {
        return;
    }
    let Some(selector) = term.sub("labelSelector") else { return };
    let list = selector.entry("matchExpressions").or_insert(Value::Null);
    if !list.is_array() {
        *list = Value::Array(Vec::new());
    }
    if let Value::Array(list) = list {
        expressions.retain(|e| !list.contains(e));
        list.extend(expressions);
    }
}
