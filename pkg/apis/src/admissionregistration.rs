//! Rows of `admissionregistration.k8s.io`.

use std::collections::BTreeSet;

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::is_fully_qualified_name;
use apimachinery::{Object, meta::ObjectExt, meta::object_mut};
use serde_json::{Map, Value, json};

use crate::cells::age;
use crate::check;
use crate::resource::{Column, Resource, Strategy, Subresource};
use crate::tree::{Fill, Tree, spec_mut};

const fn row(plural: &'static str, singular: &'static str, kind: &'static str) -> Resource {
    Resource {
        categories: &["api-extensions"],
        ..Resource::cluster("admissionregistration.k8s.io", "v1", plural, singular, kind)
    }
}

const WEBHOOKS: Strategy = Strategy {
    default: default_webhooks,
    validate: validate_webhooks,
    validate_update: |new, _| validate_webhooks(new),
    generation_changed: Some(|new, old| new.get("webhooks") != old.get("webhooks")),
    ..Strategy::PLAIN
};

const POLICY: Strategy = Strategy {
    default: default_policy,
    validate: validate_policy,
    validate_update: |new, _| validate_policy(new),
    generation_changed: Some(crate::strategy::spec_changed),
    ..Strategy::PLAIN
};

const BINDING: Strategy = Strategy {
    default: |o| {
        if let Some(resources) = spec_mut(o).and_then(|s| s.sub("matchResources")) {
            default_match(resources);
        }
    },
    validate: validate_binding,
    validate_update: |new, _| validate_binding(new),
    generation_changed: Some(crate::strategy::spec_changed),
    ..Strategy::PLAIN
};

const BINDING_COLUMNS: &[Column] = &[
    Column::NAME,
    Column::text("PolicyName", "Policy that it puts into force."),
    Column::text("ParamRef", "Parameters of the policy here."),
    Column::AGE,
];

const POLICY_COLUMNS: [Column; 4] = [
    Column::NAME,
    Column::integer("Validations", "Rules that the policy has."),
    Column::text("ParamKind", "Kind of its parameters."),
    Column::AGE,
];

pub const ROWS: &[Resource] = &[
    Resource {
        columns: &[
            Column::NAME,
            Column::integer("Mutations", "Changes that the policy makes."),
            POLICY_COLUMNS[2],
            Column::AGE,
        ],
        cells: |o, now| policy_cells(o, now, "mutations"),
        strategy: POLICY,
        ..row("mutatingadmissionpolicies", "mutatingadmissionpolicy", "MutatingAdmissionPolicy")
    },
    Resource {
        columns: BINDING_COLUMNS,
        cells: binding_cells,
        strategy: BINDING,
        ..row("mutatingadmissionpolicybindings", "mutatingadmissionpolicybinding", "MutatingAdmissionPolicyBinding")
    },
    Resource {
        columns: WEBHOOK_COLUMNS,
        cells: webhook_cells,
        strategy: WEBHOOKS,
        ..row("mutatingwebhookconfigurations", "mutatingwebhookconfiguration", "MutatingWebhookConfiguration")
    },
    Resource {
        columns: &POLICY_COLUMNS,
        cells: |o, now| policy_cells(o, now, "validations"),
        strategy: Strategy {
            prepare_for_create: crate::strategy::drop_status,
            prepare_for_update: crate::strategy::keep_status,
            ..POLICY
        },
        subresources: &[Subresource::STATUS],
        ..row("validatingadmissionpolicies", "validatingadmissionpolicy", "ValidatingAdmissionPolicy")
    },
    Resource {
        columns: BINDING_COLUMNS,
        cells: binding_cells,
        strategy: Strategy {
            validate: |o| {
                let mut errors = validate_binding(o);
                actions(&mut errors, o.field("spec"));
                errors
            },
            validate_update: |new, _| {
                let mut errors = validate_binding(new);
                actions(&mut errors, new.field("spec"));
                errors
            },
            ..BINDING
        },
        ..row(
            "validatingadmissionpolicybindings",
            "validatingadmissionpolicybinding",
            "ValidatingAdmissionPolicyBinding",
        )
    },
    Resource {
        columns: WEBHOOK_COLUMNS,
        cells: webhook_cells,
        strategy: WEBHOOKS,
        ..row("validatingwebhookconfigurations", "validatingwebhookconfiguration", "ValidatingWebhookConfiguration")
    },
];

const WEBHOOK_COLUMNS: &[Column] = &[Column::NAME, Column::integer("Webhooks", "Webhooks that it has."), Column::AGE];

fn webhook_cells(object: &Object, now: i64) -> Vec<Value> {
    vec![object.name().into(), object.list("webhooks").len().into(), age(object, now)]
}

fn policy_cells(policy: &Object, now: i64, list: &str) -> Vec<Value> {
    let spec = policy.field("spec");
    let kind = match spec.field("paramKind") {
        Value::Null => "<unset>".to_owned(),
        kind => format!("{}/{}", kind.text("apiVersion"), kind.text("kind")),
    };
    vec![policy.name().into(), spec.list(list).len().into(), kind.into(), age(policy, now)]
}

fn binding_cells(binding: &Object, now: i64) -> Vec<Value> {
    let spec = binding.field("spec");
    let reference = match spec.field("paramRef") {
        Value::Null => "<unset>".to_owned(),
        reference => match (reference.text("namespace"), reference.text("name")) {
            (_, "") => crate::workload::selector_cell(reference.field("selector")).as_str().unwrap_or("").to_owned(),
            ("", name) => format!("*/{name}"),
            (namespace, name) => format!("{namespace}/{name}"),
        },
    };
    vec![binding.name().into(), spec.text("policyName").into(), reference.into(), age(binding, now)]
}

fn default_webhooks(configuration: &mut Object) {
    let mutating = configuration.kind() == "MutatingWebhookConfiguration";
    object_mut(configuration).each("webhooks", |webhook| {
        webhook.default_value("failurePolicy", || "Fail".into());
        webhook.default_value("timeoutSeconds", || 10.into());
        if mutating {
            webhook.default_value("reinvocationPolicy", || "Never".into());
        }
        default_match(webhook);
        webhook.each("rules", |rule| rule.default_value("scope", || "*".into()));
        if let Some(service) = webhook.sub("clientConfig").and_then(|c| c.sub("service")) {
            service.default_value("port", || 443.into());
        }
    });
}

/// What webhooks and `matchConstraints` have in common.
fn default_match(owner: &mut Map<String, Value>) {
    owner.default_value("matchPolicy", || "Equivalent".into());
    owner.default_value("namespaceSelector", || json!({}));
    owner.default_value("objectSelector", || json!({}));
    for list in ["resourceRules", "excludeResourceRules"] {
        owner.each(list, |rule| rule.default_value("scope", || "*".into()));
    }
}

fn default_policy(policy: &mut Object) {
    let Some(spec) = spec_mut(policy) else { return };
    spec.default_value("failurePolicy", || "Fail".into());
    if let Some(constraints) = spec.sub("matchConstraints") {
        default_match(constraints);
    }
}

fn validate_webhooks(configuration: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let mut names = BTreeSet::new();
    for (i, webhook) in configuration.list("webhooks").iter().enumerate() {
        let at = Path::new("webhooks").index(i);
        one_webhook(&mut errors, &at, webhook);
        let name = webhook.text("name");
        if !name.is_empty() && !names.insert(name) {
            errors.push(Error::duplicate(&at.child("name"), name));
        }
    }
    errors
}

fn one_webhook(errors: &mut ErrorList, at: &Path, webhook: &Value) {
    check::text(errors, at, "name", webhook.text("name"), is_fully_qualified_name);
    for (i, rule) in webhook.list("rules").iter().enumerate() {
        rule_with_operations(errors, &at.child("rules").index(i), rule);
    }
    check::optional_choice(errors, at, webhook, "failurePolicy", &["Fail", "Ignore"]);
    check::optional_choice(errors, at, webhook, "matchPolicy", &["Equivalent", "Exact"]);
    check::optional_choice(errors, at, webhook, "reinvocationPolicy", &["IfNeeded", "Never"]);
    match webhook.text("sideEffects") {
        "" => {
            let why = "must specify one of None, NoneOnDryRun";
            errors.push(Error::required(&at.child("sideEffects"), why));
        }
        _ => check::optional_choice(errors, at, webhook, "sideEffects", &["None", "NoneOnDryRun"]),
    }
    if let Some(seconds) = webhook.int("timeoutSeconds").filter(|s| !(1..=30).contains(s)) {
        let why = "the timeout value must be between 1 and 30 seconds";
        errors.push(Error::invalid(&at.child("timeoutSeconds"), seconds, why));
    }
    for selector in ["namespaceSelector", "objectSelector"] {
        check::label_selector(errors, &at.child(selector), webhook.field(selector));
    }
    let versions = webhook.list("admissionReviewVersions");
    let path = at.child("admissionReviewVersions");
    if versions.is_empty() {
        errors.push(Error::required(&path, "must specify one of v1, v1beta1"));
    } else if !webhook.texts("admissionReviewVersions").any(|v| matches!(v, "v1" | "v1beta1")) {
        let value = webhook.field("admissionReviewVersions").clone();
        errors.push(Error::invalid(&path, value, "must include at least one of v1, v1beta1"));
    }
    client_config(errors, &at.child("clientConfig"), webhook.field("clientConfig"));
    conditions(errors, &at.child("matchConditions"), webhook.list("matchConditions"));
}

fn client_config(errors: &mut ErrorList, at: &Path, config: &Value) {
    match (config.has("url"), config.has("service")) {
        (true, false) => {
            let url = config.text("url");
            if !url.starts_with("https://") {
                let why = "'https' is the only allowed URL scheme; desired format: https://host[/path]";
                errors.push(Error::invalid(&at.child("url"), url, why));
            }
        }
        (false, true) => {
            let (at, service) = (at.child("service"), config.field("service"));
            for (field, why) in [("name", "service name is required"), ("namespace", "service namespace is required")] {
                if service.text(field).is_empty() {
                    errors.push(Error::required(&at.child(field), why));
                }
            }
            if let Some(port) = service.int("port").filter(|p| !(1..=65535).contains(p)) {
                let why = "port is not valid: must be between 1 and 65535, inclusive";
                errors.push(Error::invalid(&at.child("port"), port, why));
            }
        }
        _ => errors.push(Error::required(at, "exactly one of url or service is required")),
    }
}

fn rule_with_operations(errors: &mut ErrorList, at: &Path, rule: &Value) {
    for field in ["operations", "apiGroups", "apiVersions", "resources"] {
        let list = rule.list(field);
        if list.is_empty() {
            errors.push(Error::required(&at.child(field), ""));
        }
        if list.len() > 1 && list.iter().any(|v| v == "*") && field != "resources" {
            let why = "if '*' is present, must not specify other ".to_owned() + words(field);
            errors.push(Error::invalid(&at.child(field), rule.field(field).clone(), why));
        }
    }
    const OPERATIONS: &[&str] = &["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
    for (i, operation) in rule.texts("operations").enumerate().filter(|(_, o)| !OPERATIONS.contains(o)) {
        errors.push(Error::not_supported(&at.child("operations").index(i), operation, OPERATIONS));
    }
    check::optional_choice(errors, at, rule, "scope", &["*", "Cluster", "Namespaced"]);
}

fn words(field: &str) -> &'static str {
    match field {
        "operations" => "operations",
        "apiGroups" => "API groups",
        _ => "API versions",
    }
}

/// At most 64 CEL conditions with names of their own.
fn conditions(errors: &mut ErrorList, at: &Path, conditions: &[Value]) {
    const MAX: usize = 64;
    if conditions.len() > MAX {
        errors.push(Error::too_many(at, conditions.len(), MAX));
    }
    for (i, condition) in conditions.iter().enumerate() {
        let at = at.index(i);
        check::required(errors, &at, condition, "expression");
        check::required_text(errors, &at, condition, "name", apimachinery::validation::is_qualified_name);
        let name = condition.text("name");
        if !name.is_empty() && conditions[..i].iter().any(|c| c.text("name") == name) {
            errors.push(Error::duplicate(&at.child("name"), name));
        }
    }
}

fn validate_policy(policy: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let (at, spec) = (Path::new("spec"), policy.field("spec"));
    check::optional_choice(&mut errors, &at, spec, "failurePolicy", &["Fail", "Ignore"]);
    if spec.has("paramKind") {
        for field in ["apiVersion", "kind"] {
            check::required(&mut errors, &at.child("paramKind"), spec.field("paramKind"), field);
        }
    }
    let constraints = spec.field("matchConstraints");
    if constraints.is_null() {
        errors.push(Error::required(&at.child("matchConstraints"), ""));
    } else if constraints.list("resourceRules").is_empty() {
        errors.push(Error::required(&at.child("matchConstraints").child("resourceRules"), ""));
    }
    for (i, rule) in constraints.list("resourceRules").iter().enumerate() {
        rule_with_operations(&mut errors, &at.child("matchConstraints").child("resourceRules").index(i), rule);
    }
    conditions(&mut errors, &at.child("matchConditions"), spec.list("matchConditions"));
    if policy.kind() == "ValidatingAdmissionPolicy" {
        if spec.list("validations").is_empty() && spec.list("auditAnnotations").is_empty() {
            let why = "validations or auditAnnotations must be non-empty; at least one is required";
            errors.push(Error::required(&at.child("validations"), why));
        }
        for (i, rule) in spec.list("validations").iter().enumerate() {
            let at = at.child("validations").index(i);
            if rule.text("expression").trim().is_empty() {
                errors.push(Error::required(&at.child("expression"), "expression is not specified"));
            }
        }
    } else if spec.list("mutations").is_empty() {
        errors.push(Error::required(&at.child("mutations"), "mutations must contain at least one item"));
    }
    errors
}

fn validate_binding(binding: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let (at, spec) = (Path::new("spec"), binding.field("spec"));
    check::required(&mut errors, &at, spec, "policyName");
    let reference = spec.field("paramRef");
    if !reference.is_null() {
        let at = at.child("paramRef");
        match (reference.text("name").is_empty(), reference.has("selector")) {
            (false, true) => {
                errors.push(Error::forbidden(&at.child("name"), "name and selector are mutually exclusive"));
            }
            (true, false) => errors.push(Error::required(&at, "one of name or selector must be specified")),
            _ => {}
        }
        check::choice(&mut errors, &at, reference, "parameterNotFoundAction", &["Allow", "Deny"]);
    }
    errors
}

fn actions(errors: &mut ErrorList, spec: &Value) {
    const ACTIONS: &[&str] = &["Audit", "Deny", "Warn"];
    let at = Path::new("spec").child("validationActions");
    let list: Vec<&str> = spec.texts("validationActions").collect();
    if list.is_empty() {
        errors.push(Error::required(&at, "at least one validation action is required"));
    }
    for (i, action) in list.iter().enumerate() {
        if !ACTIONS.contains(action) {
            errors.push(Error::not_supported(&at.index(i), *action, ACTIONS));
        } else if list[..i].contains(action) {
            errors.push(Error::duplicate(&at.index(i), *action));
        }
    }
    if list.contains(&"Deny") && list.contains(&"Warn") {
        let why = "must not contain both Deny and Warn (repeating the same validation failure information in the API \
                   response and headers serves no purpose)";
        errors.push(Error::invalid(&at, spec.field("validationActions").clone(), why));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{create_errors, defaulted, row};

    #[test]
    fn webhooks() {
        let rows = row("admissionregistration.k8s.io", "mutatingwebhookconfigurations");
        let object = json!({
            "kind": "MutatingWebhookConfiguration", "metadata": { "name": "w" },
            "webhooks": [{
                "name": "a.b.example", "sideEffects": "None", "admissionReviewVersions": ["v1"],
                "clientConfig": { "service": { "name": "s", "namespace": "d" } },
                "rules": [{ "operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"] }],
            }],
        });
        let got = defaulted(rows, object.clone());
        let webhook = &got["webhooks"][0];
        for (field, want) in [
            ("failurePolicy", json!("Fail")),
            ("timeoutSeconds", json!(10)),
            ("reinvocationPolicy", json!("Never")),
            ("matchPolicy", json!("Equivalent")),
            ("objectSelector", json!({})),
        ] {
            assert_eq!(webhook[field], want, "{field}");
        }
        assert_eq!(webhook["rules"][0]["scope"], "*");
        assert_eq!(webhook["clientConfig"]["service"]["port"], 443);
        assert_eq!(create_errors(rows, object), [""; 0]);
        let bad =
            json!({ "webhooks": [{ "name": "a.b.c", "sideEffects": "None", "admissionReviewVersions": ["v1"] }] });
        let want = "webhooks[0].clientConfig: Required value: exactly one of url or service is required";
        assert_eq!(create_errors(rows, bad), [want]);
    }
}
