//! FlowSchemas.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::{is_dns1123_label, is_dns1123_subdomain};
use apimachinery::{Object, meta::ObjectExt};
use serde_json::{Value, json};

use super::{conditions, row};
use crate::cells::age;
use crate::check;
use crate::resource::{Column, Resource, Strategy};
use crate::tree::{Fill, Tree, spec_mut};

pub const ROW: Resource = Resource {
    columns: &[
        Column::NAME,
        Column::text("PriorityLevel", "Level that its requests run on."),
        Column::text("MatchingPrecedence", "Smaller is tried first."),
        Column::text("DistinguisherMethod", "How its requests are told apart."),
        Column::AGE,
        Column::text("MissingPL", "Whether the level does not exist."),
    ],
    cells: |o, now| {
        let spec = o.field("spec");
        let dangling = o.array_at("status/conditions").iter().find(|c| c.text("type") == "Dangling");
        let dangling = dangling.map_or("?", |c| c.text("status"));
        let method = crate::cells::or_none(spec.field("distinguisherMethod").text("type"));
        vec![
            o.name().into(),
            spec.field("priorityLevelConfiguration").text("name").into(),
            spec.int("matchingPrecedence").unwrap_or(0).into(),
            method,
            age(o, now),
            dangling.into(),
        ]
    },
    strategy: Strategy {
        default: |o| {
            if let Some(spec) = spec_mut(o) {
                spec.default_nonzero("matchingPrecedence", 1000);
            }
        },
        validate,
        validate_update: |new, _| validate(new),
        validate_status_update: |new, _| conditions(new),
        prepare_for_status_update: crate::strategy::keep_metadata_too,
        ..Strategy::SPEC_STATUS
    },
    ..row("flowschemas", "flowschema", "FlowSchema")
};

const PRECEDENCE_MAX: i64 = 10_000;

fn validate(schema: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let (at, spec) = (Path::new("spec"), schema.field("spec"));
    precedence(&mut errors, &at.child("matchingPrecedence"), spec, schema.name());
    let method = spec.field("distinguisherMethod");
    if !method.is_null() && !matches!(method.text("type"), "ByNamespace" | "ByUser") {
        let path = at.child("distinguisherMethod").child("type");
        errors.push(Error::not_supported(&path, method.clone(), &["ByNamespace", "ByUser"]));
    }
    let (level_at, level) = (at.child("priorityLevelConfiguration"), spec.field("priorityLevelConfiguration"));
    match level.text("name") {
        "" => errors.push(Error::required(&level_at.child("name"), "must reference a priority level")),
        name => check::text(&mut errors, &level_at, "name", name, is_dns1123_subdomain),
    }
    for (i, rule) in spec.list("rules").iter().enumerate() {
        validate_rule(&mut errors, &at.child("rules").index(i), rule);
    }
    if fixed_spec(schema.name()).is_some_and(|fixed| fixed != *spec) {
        let why = format!("spec of '{}' must equal the fixed value", schema.name());
        errors.push(Error::invalid(&at, spec.clone(), why));
    }
    errors.extend(conditions(schema));
    errors
}

fn precedence(errors: &mut ErrorList, at: &Path, spec: &Value, name: &str) {
    let precedence = spec.int("matchingPrecedence").unwrap_or(0);
    let mut refuse = |why: String| errors.push(Error::invalid(at, precedence, why));
    if precedence <= 0 {
        refuse("must be a positive value".to_owned());
    }
    if precedence > PRECEDENCE_MAX {
        refuse(format!("must not be greater than {PRECEDENCE_MAX}"));
    }
    if precedence == 1 && name != "exempt" {
        refuse("only the schema named 'exempt' may have matchingPrecedence 1".to_owned());
    }
}

/// The specs of the two schemas that must be there.
fn fixed_spec(name: &str) -> Option<Value> {
    let groups = |names: &[&str]| {
        let group = |name: &&str| json!({ "kind": "Group", "group": { "name": name } });
        names.iter().map(group).collect::<Vec<_>>()
    };
    let all = ["*"];
    let resources =
        json!({ "verbs": all, "apiGroups": all, "resources": all, "clusterScope": true, "namespaces": all });
    let urls = json!({ "verbs": all, "nonResourceURLs": all });
    let rules = |subjects: Vec<Value>| json!([{ "subjects": subjects, "resourceRules": [resources], "nonResourceRules": [urls] }]);
    match name {
        "exempt" => Some(json!({
            "matchingPrecedence": 1, "priorityLevelConfiguration": { "name": "exempt" },
            "rules": rules(groups(&["system:masters"])),
        })),
        "catch-all" => Some(json!({
            "matchingPrecedence": PRECEDENCE_MAX, "priorityLevelConfiguration": { "name": "catch-all" },
            "distinguisherMethod": { "type": "ByUser" },
            "rules": rules(groups(&["system:unauthenticated", "system:authenticated"])),
        })),
        _ => None,
    }
}

fn validate_rule(errors: &mut ErrorList, at: &Path, rule: &Value) {
    if rule.list("subjects").is_empty() {
        errors.push(Error::required(&at.child("subjects"), "subjects must contain at least one value"));
    }
    for (i, subject) in rule.list("subjects").iter().enumerate() {
        validate_subject(errors, &at.child("subjects").index(i), subject);
    }
    if rule.list("resourceRules").is_empty() && rule.list("nonResourceRules").is_empty() {
        let why = "at least one of resourceRules and nonResourceRules has to be non-empty";
        errors.push(Error::required(at, why));
    }
    for (i, rule) in rule.list("resourceRules").iter().enumerate() {
        resource_rule(errors, &at.child("resourceRules").index(i), rule);
    }
    for (i, rule) in rule.list("nonResourceRules").iter().enumerate() {
        url_rule(errors, &at.child("nonResourceRules").index(i), rule);
    }
}

/// Kind of a subject, and the field that goes with it.
const SUBJECTS: [(&str, &str); 3] = [("Group", "group"), ("ServiceAccount", "serviceAccount"), ("User", "user")];

fn validate_subject(errors: &mut ErrorList, at: &Path, subject: &Value) {
    let kind = subject.text("kind");
    let Some((_, field)) = SUBJECTS.iter().find(|(known, _)| *known == kind) else {
        errors.push(Error::not_supported(&at.child("kind"), kind, &SUBJECTS.map(|(kind, _)| kind)));
        return;
    };
    if subject.has(field) {
        named_subject(errors, &at.child(field), subject.field(field), kind);
    } else {
        errors.push(Error::required(&at.child(field), format!("{field} is required when subject kind is '{kind}'")));
    }
    for (kind, other) in [SUBJECTS[1], SUBJECTS[2], SUBJECTS[0]] {
        if other != *field && subject.has(other) {
            let why = format!("{other} is forbidden when subject kind is not '{kind}'");
            errors.push(Error::forbidden(&at.child(other), why));
        }
    }
}

fn named_subject(errors: &mut ErrorList, at: &Path, subject: &Value, kind: &str) {
    let name = subject.text("name");
    if name.is_empty() {
        errors.push(Error::required(&at.child("name"), ""));
    }
    if kind != "ServiceAccount" {
        return;
    }
    if !matches!(name, "" | "*") {
        check::text(errors, at, "name", name, is_dns1123_subdomain);
    }
    match subject.text("namespace") {
        "" => errors.push(Error::required(&at.child("namespace"), "must specify namespace for service account")),
        namespace => check::text(errors, at, "namespace", namespace, is_dns1123_label),
    }
}

/// The verbs that a rule may name, as upstream lists them.
const VERBS: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];

fn has_wildcard(rule: &Value, field: &str) -> bool {
    rule.texts(field).any(|v| v == "*")
}

/// `*` stands alone in a list.
fn lonely_wildcard(errors: &mut ErrorList, at: &Path, rule: &Value, field: &str, words: &str) {
    if has_wildcard(rule, field) && rule.list(field).len() > 1 {
        let why = format!("if '*' is present, must not specify other {words}");
        errors.push(Error::invalid(&at.child(field), rule.field(field).clone(), why));
    }
}

fn verbs(errors: &mut ErrorList, at: &Path, rule: &Value) {
    if rule.list("verbs").is_empty() {
        errors.push(Error::required(&at.child("verbs"), "verbs must contain at least one value"));
    } else if !has_wildcard(rule, "verbs") && rule.texts("verbs").any(|verb| !VERBS.contains(&verb)) {
        errors.push(Error::not_supported(&at.child("verbs"), rule.field("verbs").clone(), VERBS));
    }
    lonely_wildcard(errors, at, rule, "verbs", "verbs");
}

fn resource_rule(errors: &mut ErrorList, at: &Path, rule: &Value) {
    verbs(errors, at, rule);
    for (field, one, many) in [("apiGroups", "api group", "api groups"), ("resources", "resource", "resources")] {
        if rule.list(field).is_empty() {
            let why = format!("resource rules must supply at least one {one}");
            errors.push(Error::required(&at.child(field), why));
        }
        lonely_wildcard(errors, at, rule, field, many);
    }
    if rule.list("namespaces").is_empty() && !rule.flag("clusterScope") {
        let why = "resource rules that are not cluster scoped must supply at least one namespace";
        errors.push(Error::required(&at.child("namespaces"), why));
    }
    lonely_wildcard(errors, at, rule, "namespaces", "namespaces");
    if !has_wildcard(rule, "namespaces") {
        for (i, namespace) in rule.texts("namespaces").enumerate() {
            let path = at.child("namespaces").index(i);
            let reasons = is_dns1123_label(namespace).into_iter();
            let reasons = reasons.map(|e| format!("each member of this list must be '*' or a DNS-1123 label; {e}"));
            errors.extend(reasons.map(|why| Error::invalid(&path, namespace, why)));
        }
    }
}

fn url_rule(errors: &mut ErrorList, at: &Path, rule: &Value) {
    verbs(errors, at, rule);
    if rule.list("nonResourceURLs").is_empty() {
        let why = "nonResourceURLs must contain at least one value";
        errors.push(Error::required(&at.child("nonResourceURLs"), why));
    }
    lonely_wildcard(errors, at, rule, "nonResourceURLs", "non-resource URLs");
    if !has_wildcard(rule, "nonResourceURLs") {
        for (i, url) in rule.texts("nonResourceURLs").enumerate() {
            let path = at.child("nonResourceURLs").index(i);
            errors.extend(url_fault(url).map(|why| Error::invalid(&path, url, why)));
        }
    }
}

fn url_fault(url: &str) -> Option<&'static str> {
    if url.is_empty() {
        Some("must not be empty")
    } else if url == "/" {
        None
    } else if !url.starts_with('/') {
        Some("must start with slash")
    } else if url.contains(' ') {
        Some("must not contain white-space")
    } else if url.contains("//") {
        Some("must not contain double slash")
    } else if url.find('*').is_some_and(|at| at + 1 != url.len() || !url.ends_with("/*")) {
        Some("wildcard can only do suffix matching")
    } else {
        None
    }
}
