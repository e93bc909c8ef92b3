//! Webhook configurations, and the rules that webhooks and policies match requests by.

use std::collections::BTreeSet;

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::is_fully_qualified_name;
use apimachinery::{Object, meta::ObjectExt, meta::object_mut};
use serde_json::Value;

use super::default_match;
use crate::check;
use crate::tree::{Fill, Tree};

pub fn default_webhooks(configuration: &mut Object) {
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

pub fn validate_webhooks(configuration: &Object) -> ErrorList {
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

pub fn rule_with_operations(errors: &mut ErrorList, at: &Path, rule: &Value) {
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
pub fn conditions(errors: &mut ErrorList, at: &Path, conditions: &[Value]) {
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

#[cfg(test)]
mod tests {
    use serde_json::json;

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
