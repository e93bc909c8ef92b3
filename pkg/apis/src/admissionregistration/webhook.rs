//! Webhook configurations.

use std::collections::BTreeSet;

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::{is_dns1035_label, is_dns1123_subdomain, is_valid_port_num};
use apimachinery::{Object, meta::ObjectExt, meta::object_mut};
use serde_json::Value;

use super::matching;
use crate::check;
use crate::names;
use crate::tree::{Fill, Tree};

pub fn default(configuration: &mut Object) {
    let mutating = configuration.kind() == "MutatingWebhookConfiguration";
    object_mut(configuration).each("webhooks", |webhook| {
        webhook.default_value("failurePolicy", || "Fail".into());
        webhook.default_value("timeoutSeconds", || 10.into());
        if mutating {
            webhook.default_value("reinvocationPolicy", || "Never".into());
        }
        matching::default(webhook);
        webhook.each("rules", |rule| rule.default_value("scope", || "*".into()));
        if let Some(service) = webhook.sub("clientConfig").and_then(|c| c.sub("service")) {
            service.default_value("port", || 443.into());
        }
    });
}

const REVIEW_VERSIONS: [&str; 2] = ["v1", "v1beta1"];

/// Rules that hold for new objects, and for old ones that kept them so far.
#[derive(Clone, Copy)]
struct Rules {
    no_side_effects: bool,
    known_versions: bool,
    unique_names: bool,
}

impl Rules {
    fn of(old: Option<&Object>) -> Self {
        let hooks = old.map_or(&[][..], |old| old.list("webhooks"));
        let mut names = BTreeSet::new();
        Self {
            no_side_effects: hooks.iter().all(|h| matches!(h.text("sideEffects"), "None" | "NoneOnDryRun")),
            known_versions: hooks.iter().all(knows_version),
            unique_names: hooks.iter().map(|h| h.text("name")).all(|name| name.is_empty() || names.insert(name)),
        }
    }
}

fn knows_version(webhook: &Value) -> bool {
    webhook.texts("admissionReviewVersions").any(|v| REVIEW_VERSIONS.contains(&v))
}

/// `old` is the configuration before an update: what it broke already it may go on breaking.
pub fn validate(configuration: &Object, old: Option<&Object>) -> ErrorList {
    let mut errors = ErrorList::new();
    let rules = Rules::of(old);
    let new_conditions = old.is_none_or(|old| match_conditions(old) != match_conditions(configuration));
    let mut names = BTreeSet::new();
    for (i, webhook) in configuration.list("webhooks").iter().enumerate() {
        let at = Path::new("webhooks").index(i);
        one_webhook(&mut errors, &at, webhook, rules);
        if new_conditions {
            matching::conditions(&mut errors, &at.child("matchConditions"), webhook.list("matchConditions"), false);
        }
        review_versions(&mut errors, &at.child("admissionReviewVersions"), webhook, rules);
        let name = webhook.text("name");
        if rules.unique_names && !name.is_empty() && !names.insert(name) {
            errors.push(Error::duplicate(&at.child("name"), name));
        }
    }
    errors
}

fn match_conditions(configuration: &Object) -> Vec<&Value> {
    configuration.list("webhooks").iter().map(|webhook| webhook.field("matchConditions")).collect()
}

fn one_webhook(errors: &mut ErrorList, at: &Path, webhook: &Value, rules: Rules) {
    names::domain(errors, &at.child("name"), webhook.text("name"), 3);
    for (i, rule) in webhook.list("rules").iter().enumerate() {
        matching::rule_with_operations(errors, &at.child("rules").index(i), rule);
    }
    check::optional_choice(errors, at, webhook, "failurePolicy", &["Fail", "Ignore"]);
    check::optional_choice(errors, at, webhook, "matchPolicy", &["Equivalent", "Exact"]);
    let effects: &[&str] =
        if rules.no_side_effects { &["None", "NoneOnDryRun"] } else { &["None", "NoneOnDryRun", "Some", "Unknown"] };
    if webhook.has("sideEffects") {
        check::optional_choice(errors, at, webhook, "sideEffects", effects);
    } else {
        errors.push(Error::required(&at.child("sideEffects"), format!("must specify one of {}", effects.join(", "))));
    }
    if let Some(seconds) = webhook.int("timeoutSeconds").filter(|s| !(1..=30).contains(s)) {
        let why = "the timeout value must be between 1 and 30 seconds";
        errors.push(Error::invalid(&at.child("timeoutSeconds"), seconds, why));
    }
    for selector in ["namespaceSelector", "objectSelector"] {
        check::label_selector(errors, &at.child(selector), webhook.field(selector));
    }
    check::optional_choice(errors, at, webhook, "reinvocationPolicy", &["IfNeeded", "Never"]);
    let (at, config) = (at.child("clientConfig"), webhook.field("clientConfig"));
    client_config(errors, &at, config, "exactly one of url or service is required");
}

fn review_versions(errors: &mut ErrorList, at: &Path, webhook: &Value, rules: Rules) {
    let list: Vec<&str> = webhook.texts("admissionReviewVersions").collect();
    let known = REVIEW_VERSIONS.join(", ");
    if list.is_empty() {
        errors.push(Error::required(at, format!("must specify one of {known}")));
        return;
    }
    for (i, version) in list.iter().enumerate() {
        if list[..i].contains(version) {
            errors.push(Error::invalid(&at.index(i), *version, "duplicate version"));
        } else {
            errors.extend(is_dns1035_label(version).into_iter().map(|e| Error::invalid(&at.index(i), *version, e)));
        }
    }
    if rules.known_versions && !knows_version(webhook) {
        let value = webhook.field("admissionReviewVersions").clone();
        errors.push(Error::invalid(at, value, format!("must include at least one of {known}")));
    }
}

/// Where a webhook is reached; `one_of` is what to say when not exactly one of `url` and `service` is there.
pub fn client_config(errors: &mut ErrorList, at: &Path, config: &Value, one_of: &str) {
    match (config.has("url"), config.has("service")) {
        (true, false) => url(errors, &at.child("url"), config.text("url")),
        (false, true) => service(errors, &at.child("service"), config.field("service")),
        _ => errors.push(Error::required(at, one_of)),
    }
}

/// `https://host[:port][/path]`.
fn url(errors: &mut ErrorList, at: &Path, url: &str) {
    const FORM: &str = "; desired format: https://host[/path]";
    if let Some(why) = url_fault(url) {
        errors.push(Error::required(at, format!("url must be a valid URL: {why}{FORM}")));
        return;
    }
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = if scheme.is_empty() { "" } else { rest.split('/').next().unwrap_or("") };
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    if scheme != "https" {
        let why = format!("'https' is the only allowed URL scheme{FORM}");
        errors.push(Error::invalid(at, scheme, why));
    }
    if host.is_empty() {
        errors.push(Error::invalid(at, host, format!("host must be specified{FORM}")));
    }
    let extras = [
        (user, "user information is not permitted in the URL"),
        (fragment, "fragments are not permitted in the URL"),
        (query, "query parameters are not permitted in the URL"),
    ];
    errors.extend(
        extras.into_iter().filter(|(text, _)| !text.is_empty()).map(|(text, why)| Error::invalid(at, text, why)),
    );
}

/// Why a text does not parse as a URL at all.
fn url_fault(url: &str) -> Option<String> {
    if url.bytes().any(|c| c.is_ascii_control()) {
        return Some(format!("parse {url:?}: net/url: invalid control character in URL"));
    }
    if url.starts_with(':') {
        return Some(format!("parse {url:?}: missing protocol scheme"));
    }
    None
}

fn service(errors: &mut ErrorList, at: &Path, service: &Value) {
    for (field, why) in [("name", "service name is required"), ("namespace", "service namespace is required")] {
        if service.text(field).is_empty() {
            errors.push(Error::required(&at.child(field), why));
        }
    }
    let port = service.int("port").unwrap_or(443);
    let reasons = is_valid_port_num(port);
    if !reasons.is_empty() {
        errors.push(Error::invalid(&at.child("port"), port, format!("port is not valid: {}", reasons.join(","))));
    }
    service_path(errors, &at.child("path"), service.text("path"));
}

/// A URL path whose segments are subdomains.
fn service_path(errors: &mut ErrorList, at: &Path, path: &str) {
    if path.is_empty() || path == "/" {
        return;
    }
    if path == "//" {
        errors.push(Error::invalid(at, path, "segment[0] may not be empty"));
        return;
    }
    if !path.starts_with('/') {
        errors.push(Error::invalid(at, path, "must start with a '/'"));
    }
    let rest = path.get(1..).unwrap_or("");
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    for (i, step) in rest.split('/').enumerate() {
        if step.is_empty() {
            errors.push(Error::invalid(at, path, format!("segment[{i}] may not be empty")));
            continue;
        }
        let reasons = is_dns1123_subdomain(step).into_iter();
        errors.extend(reasons.map(|why| Error::invalid(at, path, format!("segment[{i}]: {why}"))));
    }
}
