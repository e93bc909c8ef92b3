//! CustomResourceDefinitions: names, versions, conversion. Their schemas are checked in `schema`.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::{is_dns1035_label, is_dns1123_subdomain};
use apimachinery::{Object, meta::ObjectExt, meta::object_mut};
use serde_json::{Value, json};

use super::version;
use crate::admissionregistration::client_config;
use crate::cells::{NAME_CREATED, name_created};
use crate::check;
use crate::conditions::is_true;
use crate::resource::{Resource, Strategy, Subresource};
use crate::tree::{Fill, Tree, spec_mut};

pub const ROW: Resource = Resource {
    short_names: &["crd", "crds"],
    categories: &["api-extensions"],
    columns: NAME_CREATED,
    cells: name_created,
    subresources: &[Subresource::STATUS],
    strategy: Strategy {
        default,
        prepare_for_create: prepare,
        prepare_for_update: |new, old| {
            crate::strategy::keep_status(new, old);
            store_versions(new);
        },
        validate: |o| validate(o, None),
        validate_update: |new, old| validate(new, Some(old)),
        validate_status_update: |new, _| {
            let mut errors = ErrorList::new();
            names(&mut errors, &Path::new("status").child("acceptedNames"), new.field("status").field("acceptedNames"));
            errors
        },
        allow_unconditional_update: false,
        prepare_for_status_update: crate::strategy::keep_metadata_too,
        ..Strategy::SPEC_STATUS
    },
    ..Resource::cluster(
        "apiextensions.k8s.io",
        "v1",
        "customresourcedefinitions",
        "customresourcedefinition",
        "CustomResourceDefinition",
    )
};

fn default(definition: &mut Object) {
    let Some(spec) = spec_mut(definition) else { return };
    let names = spec.sub_or_new("names");
    let kind = names.text("kind").to_owned();
    if !kind.is_empty() {
        names.default_text("singular", &kind.to_lowercase());
        names.default_text("listKind", &format!("{kind}List"));
    }
    let conversion = spec.sub_or_new("conversion");
    conversion.default_text("strategy", "None");
    let service = conversion.sub("webhook").and_then(|w| w.sub("clientConfig")).and_then(|c| c.sub("service"));
    if let Some(service) = service {
        service.default_value("port", || 443.into());
    }
}

fn prepare(definition: &mut Object) {
    object_mut(definition).insert("status".to_owned(), json!({}));
    store_versions(definition);
}

/// Every version that ever stored objects stays listed.
fn store_versions(definition: &mut Object) {
    let storing = definition.field("spec").list("versions").iter().find(|v| v.flag("storage"));
    let Some(name) = storing.map(|v| v.field("name").clone()) else { return };
    let status = object_mut(definition).sub_or_new("status");
    match status.get_mut("storedVersions") {
        Some(Value::Array(list)) if list.contains(&name) => {}
        Some(Value::Array(list)) => list.push(name),
        _ => drop(status.insert("storedVersions".to_owned(), json!([name]))),
    }
}

/// `old` is the definition before an update.
fn validate(definition: &Object, old: Option<&Object>) -> ErrorList {
    let mut errors = ErrorList::new();
    let (at, spec) = (Path::new("spec"), definition.field("spec"));
    let names_at = at.child("names");
    if old.is_none() {
        own_name(&mut errors, definition);
    }
    group(&mut errors, &at.child("group"), spec.text("group"));
    check::choice(&mut errors, &at, spec, "scope", &["Cluster", "Namespaced"]);
    let old_spec = old.map(|old| old.field("spec"));
    versions(&mut errors, &at, spec, old_spec);
    for field in ["plural", "singular", "kind", "listKind"] {
        check::required(&mut errors, &names_at, spec.field("names"), field);
    }
    names(&mut errors, &names_at, spec.field("names"));
    version::common(&mut errors, &at, spec, old_spec);
    if spec.has("conversion") {
        let old = old_spec.map(|old| old.field("conversion"));
        conversion(&mut errors, &at.child("conversion"), spec.field("conversion"), old);
    }
    if let Some(old) = old {
        immutable(&mut errors, &at, spec, old);
    }
    stored_versions(&mut errors, definition);
    errors.extend(approval_fault(definition, old));
    if spec.flag("preserveUnknownFields") && old.is_none_or(|old| !old.field("spec").flag("preserveUnknownFields")) {
        let why =
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        errors.push(Error::invalid(&at.child("preserveUnknownFields"), true, why));
    }
    errors
}

fn own_name(errors: &mut ErrorList, definition: &Object) {
    let spec = definition.field("spec");
    if definition.name() != format!("{}.{}", spec.field("names").text("plural"), spec.text("group")) {
        let why = "must be spec.names.plural+\".\"+spec.group";
        errors.push(Error::invalid(&Path::new("metadata").child("name"), definition.name(), why));
    }
}

fn group(errors: &mut ErrorList, at: &Path, group: &str) {
    let reasons = is_dns1123_subdomain(group);
    if group.is_empty() {
        errors.push(Error::required(at, ""));
    } else if !reasons.is_empty() {
        errors.push(Error::invalid(at, group, reasons.join(",")));
    } else if !group.contains('.') {
        errors.push(Error::invalid(at, group, "should be a domain with at least one dot"));
    }
}

/// A DNS-1035 label; its faults are joined into one error.
fn label(errors: &mut ErrorList, at: &Path, text: &str) {
    let reasons = is_dns1035_label(text);
    if !reasons.is_empty() {
        errors.push(Error::invalid(at, text, reasons.join(",")));
    }
}

fn versions(errors: &mut ErrorList, at: &Path, spec: &Value, old: Option<&Value>) {
    let (list, list_at) = (spec.list("versions"), at.child("versions"));
    for (i, version) in list.iter().enumerate() {
        if !version.field("schema").has("openAPIV3Schema") {
            let path = list_at.index(i).child("schema").child("openAPIV3Schema");
            errors.push(Error::required(&path, "schemas are required"));
        }
    }
    for (i, version) in list.iter().enumerate() {
        let at = list_at.index(i);
        label(errors, &at.child("name"), version.text("name"));
        version::validate(errors, &at, version, spec, old);
    }
    let mut refuse = |why: &str| errors.push(Error::invalid(&list_at, spec.field("versions").clone(), why));
    let repeats = |i: usize| list[..i].iter().any(|v| v.text("name") == list[i].text("name"));
    if (0..list.len()).any(repeats) {
        refuse("must contain unique version names");
    }
    if list.iter().filter(|v| v.flag("storage")).count() != 1 {
        refuse("must have exactly one version marked as storage version");
    }
    // The first version is also known as the version.
    if let Some(first) = list.first() {
        label(errors, &at.child("version"), first.text("name"));
    }
}

fn names(errors: &mut ErrorList, at: &Path, names: &Value) {
    for field in ["plural", "singular"] {
        if !names.text(field).is_empty() {
            label(errors, &at.child(field), names.text(field));
        }
    }
    for field in ["kind", "listKind"] {
        let kind = names.text(field);
        let reasons = is_dns1035_label(&kind.to_lowercase());
        if !kind.is_empty() && !reasons.is_empty() {
            let why = format!("may have mixed case, but should otherwise match: {}", reasons.join(","));
            errors.push(Error::invalid(&at.child(field), kind, why));
        }
    }
    for (i, name) in names.texts("shortNames").enumerate() {
        label(errors, &at.child("shortNames").index(i), name);
    }
    let kind = names.text("kind");
    if !kind.is_empty() && kind == names.text("listKind") {
        errors.push(Error::invalid(&at.child("listKind"), kind, "kind and listKind may not be the same"));
    }
    for (i, name) in names.texts("categories").enumerate() {
        label(errors, &at.child("categories").index(i), name);
    }
}

const REVIEW_VERSIONS: [&str; 2] = ["v1", "v1beta1"];

/// Paths are those of upstream's internal form, where the webhook's parts stand in the conversion itself.
fn conversion(errors: &mut ErrorList, at: &Path, conversion: &Value, old: Option<&Value>) {
    check::choice(errors, at, conversion, "strategy", &["None", "Webhook"]);
    let webhook = conversion.field("webhook");
    let (config_at, versions_at) = (at.child("webhookClientConfig"), at.child("conversionReviewVersions"));
    if conversion.text("strategy") != "Webhook" {
        let why = "should not be set when strategy is not set to Webhook";
        if webhook.has("clientConfig") {
            errors.push(Error::forbidden(&config_at, why));
        }
        if !webhook.list("conversionReviewVersions").is_empty() {
            errors.push(Error::forbidden(&versions_at, why));
        }
        return;
    }
    if webhook.has("clientConfig") {
        client_config(errors, &config_at, webhook.field("clientConfig"), "exactly one of url or service is required");
    } else {
        errors.push(Error::required(&config_at, "required when strategy is set to Webhook"));
    }
    let known = |webhook: &Value| {
        let mut versions = webhook.texts("conversionReviewVersions").peekable();
        versions.peek().is_none() || versions.any(|v| REVIEW_VERSIONS.contains(&v))
    };
    let must_know = old.is_none_or(|old| known(old.field("webhook")));
    let list: Vec<&str> = webhook.texts("conversionReviewVersions").collect();
    if list.is_empty() {
        errors.push(Error::required(&versions_at, ""));
    }
    for (i, version) in list.iter().enumerate() {
        if list[..i].contains(version) {
            errors.push(Error::invalid(&versions_at.index(i), *version, "duplicate version"));
        } else {
            let reasons = is_dns1035_label(version).into_iter();
            errors.extend(reasons.map(|why| Error::invalid(&versions_at.index(i), *version, why)));
        }
    }
    if must_know && !known(webhook) {
        let why = format!("must include at least one of {}", REVIEW_VERSIONS.join(", "));
        errors.push(Error::invalid(&versions_at, webhook.field("conversionReviewVersions").clone(), why));
    }
}

fn immutable(errors: &mut ErrorList, at: &Path, spec: &Value, old: &Object) {
    let before = old.field("spec");
    let (names_at, names, names_before) = (at.child("names"), spec.field("names"), before.field("names"));
    if is_true(old.array_at("status/conditions"), "Established") {
        check::immutable(errors, at, spec, before, "scope");
        check::immutable(errors, &names_at, names, names_before, "kind");
    }
    check::immutable(errors, at, spec, before, "group");
    check::immutable(errors, &names_at, names, names_before, "plural");
}

/// A version that stored objects stays until none of them is left.
fn stored_versions(errors: &mut ErrorList, definition: &Object) {
    let at = Path::new("status").child("storedVersions");
    let status = definition.field("status");
    let stored: Vec<&str> = status.texts("storedVersions").collect();
    if stored.is_empty() {
        let why = "must have at least one stored version";
        errors.push(Error::invalid(&at, status.field("storedVersions").clone(), why));
        return;
    }
    let versions = definition.field("spec").list("versions");
    for (i, name) in stored.iter().enumerate() {
        if !versions.iter().any(|v| v.text("name") == *name) {
            let why = format!(
                "missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions \
                 until a storage migration ensures no data remains persisted in {name} and removes {name} from \
                 status.storedVersions"
            );
            errors.push(Error::invalid(&at.index(i), *name, why));
        }
    }
}

const APPROVED: &str = "api-approved.kubernetes.io";

/// Groups of the Kubernetes project want a link to the review of the API, or the word that there was none.
fn approval_fault(definition: &Object, old: Option<&Object>) -> Option<Error> {
    let group = definition.field("spec").text("group");
    let is_protected = ["k8s.io", "kubernetes.io"]
        .iter()
        .any(|suffix| group.strip_suffix(suffix).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')));
    let state = |definition: &Object| {
        let text =
            definition.annotations().and_then(|a| a.get(APPROVED)).and_then(Value::as_str).unwrap_or("").to_owned();
        let is_url = text
            .split_once("://")
            .is_some_and(|(scheme, rest)| !scheme.is_empty() && !rest.is_empty() && !rest.starts_with('/'));
        let legal = text.starts_with("unapproved") || is_url;
        (text.is_empty(), legal, text)
    };
    let (missing, legal, text) = state(definition);
    let as_before =
        old.map(state).is_some_and(|(was_missing, was_legal, _)| (was_missing, was_legal) == (missing, legal));
    if !is_protected || legal || as_before {
        return None;
    }
    let at = Path::new("metadata").child("annotations").key(APPROVED);
    let need = format!("protected groups must have approval annotation {APPROVED:?}");
    let link = "see https://github.com/kubernetes/enhancements/pull/1111";
    Some(if missing {
        Error::required(&at, format!("{need}, {link}"))
    } else {
        Error::invalid(&at, text, format!("{need} with either a URL or a reason starting with \"unapproved\", {link}"))
    })
}
