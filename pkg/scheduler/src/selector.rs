//! Label selectors and node selector terms, compiled from the API's types.

use std::collections::BTreeMap;

use apimachinery::labels::{LabelSelector, Operator, Requirement};
use k8s_openapi::api::core::v1::{NodeSelector, NodeSelectorRequirement, NodeSelectorTerm};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector as ApiSelector;

use crate::types::{Labels, Node};

/// Whether a compiled selector matches these labels.
pub fn matches(selector: &LabelSelector, labels: &Labels) -> bool {
    selector.matches(&|key: &str| labels.get(key).map(String::as_str))
}

/// `None` matches nothing, an empty selector everything. A selector that does not compile matches nothing: the API
/// server would have refused it.
pub fn compile(selector: Option<&ApiSelector>) -> LabelSelector {
    compile_with(selector, &BTreeMap::new())
}

/// The same with further `key = value` pairs, as `matchLabelKeys` adds them.
pub fn compile_with(selector: Option<&ApiSelector>, more: &Labels) -> LabelSelector {
    let Some(selector) = selector else { return LabelSelector::nothing() };
    let pairs = selector.match_labels.iter().flatten().chain(more);
    let mut requirements: Vec<Requirement> =
        pairs.filter_map(|(key, value)| Requirement::new(key, Operator::In, vec![value.clone()]).ok()).collect();
    for expression in selector.match_expressions.iter().flatten() {
        let operator = match expression.operator.as_str() {
            "In" => Operator::In,
            "NotIn" => Operator::NotIn,
            "Exists" => Operator::Exists,
            "DoesNotExist" => Operator::DoesNotExist,
            _ => return LabelSelector::nothing(),
        };
        match Requirement::new(&expression.key, operator, expression.values.clone().unwrap_or_default()) {
            Ok(requirement) => requirements.push(requirement),
            Err(_) => return LabelSelector::nothing(),
        }
    }
    LabelSelector::new(requirements)
}

/// The terms of a node selector, any of which may match. A term without requirements matches nothing.
#[derive(Clone, Debug, Default)]
pub struct NodeTerms(Vec<NodeTerm>);

#[derive(Clone, Debug)]
pub struct NodeTerm {
    labels: Vec<NodeSelectorRequirement>,
    fields: Vec<NodeSelectorRequirement>,
}

impl NodeTerms {
    pub fn compile(selector: &NodeSelector) -> Self {
        Self(selector.node_selector_terms.iter().map(NodeTerm::compile).collect())
    }

    pub fn matches(&self, node: &Node) -> bool {
        self.0.iter().any(|term| term.matches(node))
    }
}

impl NodeTerm {
    pub fn compile(term: &NodeSelectorTerm) -> Self {
        Self {
            labels: term.match_expressions.clone().unwrap_or_default(),
            fields: term.match_fields.clone().unwrap_or_default(),
        }
    }

    pub fn matches(&self, node: &Node) -> bool {
        if self.labels.is_empty() && self.fields.is_empty() {
            return false;
        }
        let labels = &node.metadata.labels;
        self.labels.iter().all(|r| holds(r, labels.get(&r.key).map(String::as_str)))
            && self.fields.iter().all(|r| r.key == "metadata.name" && holds(r, Some(&node.metadata.name)))
    }
}

fn holds(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let contains = |value: &str| values.iter().any(|v| v == value);
    match requirement.operator.as_str() {
        "In" => value.is_some_and(contains),
        "NotIn" => !value.is_some_and(contains),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compare(value, values).is_some_and(|(own, bound)| own > bound),
        "Lt" => compare(value, values).is_some_and(|(own, bound)| own < bound),
        _ => false,
    }
}

fn compare(value: Option<&str>, values: &[String]) -> Option<(i64, i64)> {
    Some((value?.parse().ok()?, values.first()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn node_selector_terms() {
        let node: Node = serde_json::from_value(json!({
            "metadata": {"name": "n1", "labels": {"zone": "a", "cores": "8"}}
        }))
        .expect("a node");
        let cases = [
            (json!([{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a", "b"]}]}]), true),
            (json!([{"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["a"]}]}]), false),
            (json!([{"matchExpressions": [{"key": "disk", "operator": "NotIn", "values": ["a"]}]}]), true),
            (
                json!([{"matchExpressions": [{"key": "disk", "operator": "Exists"}]}, {"matchExpressions": [{"key": "zone", "operator": "Exists"}]}]),
                true,
            ),
            (json!([{"matchExpressions": [{"key": "cores", "operator": "Gt", "values": ["4"]}]}]), true),
            (json!([{"matchExpressions": [{"key": "cores", "operator": "Lt", "values": ["4"]}]}]), false),
            (json!([{"matchExpressions": [{"key": "zone", "operator": "Gt", "values": ["4"]}]}]), false),
            (json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}]), true),
            (json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n2"]}]}]), false),
            (json!([{}]), false),
            (json!([]), false),
        ];
        for (terms, expected) in cases {
            let selector = serde_json::from_value(json!({"nodeSelectorTerms": terms})).expect("a selector");
            assert_eq!(NodeTerms::compile(&selector).matches(&node), expected, "{terms}");
        }
    }
}
