//! Rows of `apiextensions.k8s.io` and `apiregistration.k8s.io`. Schemas of custom resources are another crate's matter.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::{is_dns1035_label, is_dns1123_subdomain};
use apimachinery::{Object, meta::ObjectExt, meta::object_mut};
use serde_json::{Value, json};

use crate::cells::{NAME_CREATED, age, name_created};
use crate::check;
use crate::resource::{Column, Resource, Strategy, Subresource};
use crate::tree::{Fill, Tree, spec_mut};

pub const ROWS: &[Resource] = &[Resource {
    short_names: &["crd", "crds"],
    categories: &["api-extensions"],
    columns: NAME_CREATED,
    cells: name_created,
    subresources: &[Subresource::STATUS],
    strategy: Strategy {
        default: default_definition,
        prepare_for_create: prepare_definition,
        prepare_for_update: |new, old| {
            crate::strategy::keep_status(new, old);
            store_versions(new);
        },
        validate: validate_definition,
        validate_update: update_definition,
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
}];

fn default_definition(definition: &mut Object) {
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

fn prepare_definition(definition: &mut Object) {
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

fn validate_definition(definition: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let (at, spec) = (Path::new("spec"), definition.field("spec"));
    let names = spec.field("names");
    let expected = format!("{}.{}", names.text("plural"), spec.text("group"));
    if definition.name() != expected {
        let why = "must be spec.names.plural+\".\"+spec.group";
        errors.push(Error::invalid(&Path::new("metadata").child("name"), definition.name(), why));
    }
    match spec.text("group") {
        "" => errors.push(Error::required(&at.child("group"), "")),
        group if !group.contains('.') => {
            let why = "should be a domain with at least one dot";
            errors.push(Error::invalid(&at.child("group"), group, why));
        }
        group => check::text(&mut errors, &at, "group", group, is_dns1123_subdomain),
    }
    check::choice(&mut errors, &at, spec, "scope", &["Cluster", "Namespaced"]);
    definition_names(&mut errors, &at.child("names"), names);
    versions(&mut errors, &at.child("versions"), spec);
    conversion(&mut errors, &at.child("conversion"), spec.field("conversion"));
    errors
}

fn definition_names(errors: &mut ErrorList, at: &Path, names: &Value) {
    check::required_text(errors, at, names, "plural", is_dns1035_label);
    check::optional_text(errors, at, names, "singular", is_dns1035_label);
    for field in ["kind", "listKind"] {
        match names.text(field) {
            "" => errors.push(Error::required(&at.child(field), "")),
            kind => {
                for reason in is_dns1035_label(&kind.to_lowercase()) {
                    let why = format!("may have mixed case, but should otherwise match: {reason}");
                    errors.push(Error::invalid(&at.child(field), kind, why));
                }
            }
        }
    }
    for list in ["shortNames", "categories"] {
        for (i, name) in names.texts(list).enumerate() {
            let path = at.child(list).index(i);
            errors.extend(is_dns1035_label(name).into_iter().map(|e| Error::invalid(&path, name, e)));
        }
    }
    let kind = names.text("kind");
    if !kind.is_empty() && kind == names.text("listKind") {
        errors.push(Error::invalid(&at.child("listKind"), kind, "kind and listKind may not be the same"));
    }
}

fn versions(errors: &mut ErrorList, at: &Path, spec: &Value) {
    let list = spec.list("versions");
    if list.is_empty() {
        errors.push(Error::required(at, "must have at least one version"));
        return;
    }
    for (i, version) in list.iter().enumerate() {
        let at = at.index(i);
        check::text(errors, &at, "name", version.text("name"), is_dns1035_label);
        if list[..i].iter().any(|v| v.text("name") == version.text("name")) {
            let why = "must contain unique version names";
            errors.push(Error::invalid(&at.child("name"), spec.field("versions").clone(), why));
        }
        if !version.field("schema").has("openAPIV3Schema") {
            let path = at.child("schema").child("openAPIV3Schema");
            errors.push(Error::required(&path, "schemas are required"));
        }
    }
    if list.iter().filter(|v| v.flag("storage")).count() != 1 {
        let why = "must have exactly one version marked as storage version";
        errors.push(Error::invalid(at, spec.field("versions").clone(), why));
    }
}

fn conversion(errors: &mut ErrorList, at: &Path, conversion: &Value) {
    check::choice(errors, at, conversion, "strategy", &["None", "Webhook"]);
    match (conversion.text("strategy"), conversion.has("webhook")) {
        ("Webhook", false) => {
            errors.push(Error::required(&at.child("webhook"), "required when strategy is set to \"Webhook\""));
        }
        ("None", true) => {
            let why = "should not be set when strategy is not set to \"Webhook\"";
            errors.push(Error::forbidden(&at.child("webhook"), why));
        }
        _ => {}
    }
}

fn update_definition(new: &Object, old: &Object) -> ErrorList {
    let mut errors = validate_definition(new);
    let (at, spec, before) = (Path::new("spec"), new.field("spec"), old.field("spec"));
    check::immutable(&mut errors, &at, spec, before, "group");
    let established = |c: &Value| c.text("type") == "Established" && c.text("status") == "True";
    if old.array_at("status/conditions").iter().any(established) {
        check::immutable(&mut errors, &at, spec, before, "scope");
        check::immutable(&mut errors, &at.child("names"), spec.field("names"), before.field("names"), "kind");
    }
    check::immutable(&mut errors, &at.child("names"), spec.field("names"), before.field("names"), "plural");
    for (i, stored) in old.field("status").texts("storedVersions").enumerate() {
        if !spec.list("versions").iter().any(|v| v.text("name") == stored) {
            let path = Path::new("status").child("storedVersions").index(i);
            let why = "missing from spec.versions; v1 was previously a storage version, and must remain in \
                       spec.versions until a storage migration ensures no data remains persisted in v1 and removes v1 \
                       from status.storedVersions";
            errors.push(Error::invalid(&path, stored, why.replace("v1 ", &format!("{stored} "))));
        }
    }
    errors
}

pub const AGGREGATION_ROWS: &[Resource] = &[Resource {
    categories: &["api-extensions"],
    columns: &[
        Column::NAME,
        Column::text("Service", "Service that serves the group version."),
        Column::text("Available", "Whether it answers."),
        Column::AGE,
    ],
    cells: |o, now| {
        let service = match o.field("spec").field("service") {
            Value::Null => "Local".to_owned(),
            service => format!("{}/{}", service.text("namespace"), service.text("name")),
        };
        vec![o.name().into(), service.into(), available(o).into(), age(o, now)]
    },
    subresources: &[Subresource::STATUS],
    strategy: Strategy {
        default: |o| {
            if let Some(service) = spec_mut(o).and_then(|s| s.sub("service")) {
                service.default_value("port", || 443.into());
            }
        },
        prepare_for_create: prepare_service,
        validate: validate_service,
        validate_update: |new, _| validate_service(new),
        generation_changed: None,
        prepare_for_status_update: crate::strategy::keep_metadata_too,
        ..Strategy::SPEC_STATUS
    },
    ..Resource::cluster("apiregistration.k8s.io", "v1", "apiservices", "apiservice", "APIService")
}];

fn available(service: &Object) -> String {
    let condition = service.array_at("status/conditions").iter().find(|c| c.text("type") == "Available");
    match condition {
        Some(c) if c.text("status") == "True" => "True".to_owned(),
        Some(c) => format!("{} ({})", c.text("status"), c.text("reason")),
        None => "Unknown".to_owned(),
    }
}

/// A group version that this server serves itself is available at once.
fn prepare_service(service: &mut Object) {
    let local = !service.field("spec").has("service");
    let mut status = json!({});
    if local {
        status["conditions"] = json!([{
            "type": "Available", "status": "True", "reason": "Local",
            "message": "Local APIServices are always available",
            "lastTransitionTime": apimachinery::time::now_rfc3339(),
        }]);
    }
    object_mut(service).insert("status".to_owned(), status);
}

fn validate_service(service: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let (at, spec) = (Path::new("spec"), service.field("spec"));
    let expected = format!("{}.{}", spec.text("version"), spec.text("group"));
    if service.name() != expected {
        let why = format!("must be `spec.version+\".\"+spec.group`: {expected:?}");
        errors.push(Error::invalid(&Path::new("metadata").child("name"), service.name(), why));
    }
    check::required_text(&mut errors, &at, spec, "version", is_dns1035_label);
    for (field, max) in [("groupPriorityMinimum", 20_000), ("versionPriority", 1000)] {
        let number = spec.int(field).unwrap_or(0);
        if !(1..=max).contains(&number) {
            let why = format!("must be positive and less than {max}");
            errors.push(Error::invalid(&at.child(field), number, why));
        }
    }
    let target = spec.field("service");
    if target.is_null() {
        if !spec.text("caBundle").is_empty() {
            let why = "local APIServices may not have a caBundle";
            errors.push(Error::invalid(&at.child("caBundle"), "<redacted>", why));
        }
        if spec.flag("insecureSkipTLSVerify") {
            let why = "local APIServices may not have insecureSkipTLSVerify";
            errors.push(Error::invalid(&at.child("insecureSkipTLSVerify"), true, why));
        }
        return errors;
    }
    for field in ["namespace", "name"] {
        check::required(&mut errors, &at.child("service"), target, field);
    }
    if spec.flag("insecureSkipTLSVerify") && !spec.text("caBundle").is_empty() {
        let why = "may not be true if caBundle is present";
        errors.push(Error::invalid(&at.child("insecureSkipTLSVerify"), true, why));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{cells, create_errors, created, row};

    #[test]
    fn definitions() {
        let definitions = row("apiextensions.k8s.io", "customresourcedefinitions");
        let version = json!({ "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": {} } });
        let object = json!({ "metadata": { "name": "foos.example.com" }, "spec": {
            "group": "example.com", "scope": "Namespaced", "names": { "plural": "foos", "kind": "Foo" },
            "versions": [version],
        } });
        assert_eq!(create_errors(definitions, object.clone()), [""; 0]);
        let got = created(definitions, object.clone());
        assert_eq!(got["spec"]["names"]["listKind"], "FooList");
        assert_eq!(got["status"], json!({ "storedVersions": ["v1"] }));
        let mut bad = object;
        bad["metadata"]["name"] = json!("foo");
        let want = "metadata.name: Invalid value: \"foo\": must be spec.names.plural+\".\"+spec.group";
        assert_eq!(create_errors(definitions, bad), [want]);
    }

    #[test]
    fn services() {
        let services = row("apiregistration.k8s.io", "apiservices");
        let object = json!({ "metadata": { "name": "v1.apps" }, "spec": {
            "group": "apps", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1,
        } });
        let got = created(services, object);
        assert_eq!((services.strategy.validate)(&got), []);
        assert_eq!(cells(services, &got)[1..3], ["Local", "True"]);
    }
}
