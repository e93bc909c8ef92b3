//! What webhooks, policies and bindings have in common: the rules that they match requests by, and match conditions.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::{is_path_segment_name, is_qualified_name};
use serde_json::{Map, Value, json};

use super::expressions;
use crate::check;
use crate::tree::{Fill, Tree};

/// Defaults of a webhook, and of `matchConstraints` and `matchResources`.
pub fn default(owner: &mut Map<String, Value>) {
    owner.default_value("matchPolicy", || "Equivalent".into());
    owner.default_value("namespaceSelector", || json!({}));
    owner.default_value("objectSelector", || json!({}));
    for list in ["resourceRules", "excludeResourceRules"] {
        owner.each(list, |rule| rule.default_value("scope", || "*".into()));
    }
}

/// `matchConstraints` and `matchResources`.
pub fn resources(errors: &mut ErrorList, at: &Path, matched: &Value) {
    check::optional_choice(errors, at, matched, "matchPolicy", &["Equivalent", "Exact"]);
    for selector in ["namespaceSelector", "objectSelector"] {
        check::label_selector(errors, &at.child(selector), matched.field(selector));
    }
    for list in ["resourceRules", "excludeResourceRules"] {
        for (i, rule) in matched.list(list).iter().enumerate() {
            named_rule(errors, &at.child(list).index(i), rule);
        }
    }
}

fn named_rule(errors: &mut ErrorList, at: &Path, rule: &Value) {
    let names: Vec<&str> = rule.texts("resourceNames").collect();
    for (i, name) in names.iter().enumerate() {
        let path = at.child("resourceNames").index(i);
        errors.extend(is_path_segment_name(name).into_iter().map(|e| Error::invalid(&path, *name, e)));
        if names[..i].contains(name) {
            errors.push(Error::duplicate(&path, *name));
        }
    }
    rule_with_operations(errors, at, rule);
}

/// A rule of a webhook.
pub fn rule_with_operations(errors: &mut ErrorList, at: &Path, rule: &Value) {
    const OPERATIONS: &[&str] = &["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
    wildcard_list(errors, at, rule, "operations", "operations");
    for (i, operation) in rule.texts("operations").enumerate().filter(|(_, o)| !OPERATIONS.contains(o)) {
        errors.push(Error::not_supported(&at.child("operations").index(i), operation, OPERATIONS));
    }
    wildcard_list(errors, at, rule, "apiGroups", "API groups");
    wildcard_list(errors, at, rule, "apiVersions", "API versions");
    for (i, _) in rule.texts("apiVersions").enumerate().filter(|(_, version)| version.is_empty()) {
        errors.push(Error::required(&at.child("apiVersions").index(i), ""));
    }
    resource_names(errors, &at.child("resources"), rule);
    check::optional_choice(errors, at, rule, "scope", &["*", "Cluster", "Namespaced"]);
}

/// A list that is not empty and where `*` stands alone.
fn wildcard_list(errors: &mut ErrorList, at: &Path, rule: &Value, field: &str, words: &str) {
    let list = rule.list(field);
    if list.is_empty() {
        errors.push(Error::required(&at.child(field), ""));
    }
    if list.len() > 1 && list.iter().any(|v| v == "*") {
        let why = format!("if '*' is present, must not specify other {words}");
        errors.push(Error::invalid(&at.child(field), rule.field(field).clone(), why));
    }
}

/// Resources and subresources; no entry says what a wildcard of an earlier one says.
fn resource_names(errors: &mut ErrorList, at: &Path, rule: &Value) {
    let list: Vec<&str> = rule.texts("resources").collect();
    if list.is_empty() {
        errors.push(Error::required(at, ""));
    }
    let (mut all_parts_of, mut part_of_all) = (Vec::new(), Vec::new());
    for (i, name) in list.iter().enumerate() {
        if name.is_empty() {
            errors.push(Error::required(&at.index(i), ""));
        }
        let Some((resource, part)) = name.split_once('/') else { continue };
        let mut covered = |by: String| {
            let why = format!("if '{by}' is present, must not specify {name}");
            errors.push(Error::invalid(&at.index(i), *name, why));
        };
        if all_parts_of.contains(&resource) {
            covered(format!("{resource}/*"));
        }
        if part_of_all.contains(&part) {
            covered(format!("*/{part}"));
        }
        if part == "*" {
            all_parts_of.push(resource);
        }
        if resource == "*" {
            part_of_all.push(part);
        }
    }
    let mut alone = |why: &str| errors.push(Error::invalid(at, rule.field("resources").clone(), why));
    if list.len() > 1 && list.contains(&"*/*") {
        alone("if '*/*' is present, must not specify other resources");
    }
    if list.contains(&"*") && list.iter().any(|name| !name.is_empty() && *name != "*" && !name.contains('/')) {
        alone("if '*' is present, must not specify other resources without subresources");
    }
}

/// At most 64 CEL conditions with names of their own; `params`: they can name parameters.
pub fn conditions(errors: &mut ErrorList, at: &Path, conditions: &[Value], params: bool) {
    const MAX: usize = 64;
    if conditions.len() > MAX {
        errors.push(Error::too_many(at, conditions.len(), MAX));
    }
    for (i, condition) in conditions.iter().enumerate() {
        let at = at.index(i);
        let expression = condition.text("expression");
        if expression.trim().is_empty() {
            errors.push(Error::required(&at.child("expression"), ""));
        } else {
            expressions::condition(errors, &at.child("expression"), expression, params);
        }
        check::required_text(errors, &at, condition, "name", is_qualified_name);
        let name = condition.text("name");
        if !name.is_empty() && conditions[..i].iter().any(|c| c.text("name") == name) {
            errors.push(Error::duplicate(&at.child("name"), name));
        }
    }
}
