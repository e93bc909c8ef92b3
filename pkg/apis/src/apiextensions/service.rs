//! APIServices.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::{is_dns1035_label, is_dns1123_subdomain, is_valid_port_num};
use apimachinery::{Object, meta::ObjectExt, meta::object_mut};
use serde_json::{Value, json};

use crate::cells::age;
use crate::check;
use crate::resource::{Column, Resource, Strategy, Subresource};
use crate::strategy::path_segment_name;
use crate::tree::{Fill, Tree, spec_mut};

pub const ROW: Resource = Resource {
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
        validate,
        validate_update: |new, _| validate(new),
        validate_status_update: |new, _| conditions(new),
        validate_name: path_segment_name,
        allow_unconditional_update: false,
        generation_changed: None,
        prepare_for_status_update: crate::strategy::keep_metadata_too,
        ..Strategy::SPEC_STATUS
    },
    ..Resource::cluster("apiregistration.k8s.io", "v1", "apiservices", "apiservice", "APIService")
};

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

fn validate(service: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let (at, spec) = (Path::new("spec"), service.field("spec"));
    let (version, group) = (spec.text("version"), spec.text("group"));
    let expected = format!("{version}.{group}");
    if service.name() != expected {
        let why = format!("must be `spec.version+\".\"+spec.group`: {expected:?}");
        errors.push(Error::invalid(&Path::new("metadata").child("name"), service.name(), why));
    }
    let mut joined = |field: &str, value: &str, reasons: Vec<String>| {
        if !reasons.is_empty() {
            errors.push(Error::invalid(&at.child(field), value, reasons.join(",")));
        }
    };
    if !group.is_empty() {
        joined("group", group, is_dns1123_subdomain(group));
    }
    if version.is_empty() {
        errors.push(Error::required(&at.child("version"), ""));
    } else {
        joined("version", version, is_dns1035_label(version));
    }
    for (field, max) in [("groupPriorityMinimum", 20_000), ("versionPriority", 1000)] {
        let number = spec.int(field).unwrap_or(0);
        if !(1..=max).contains(&number) {
            let why = format!("must be positive and less than {max}");
            errors.push(Error::invalid(&at.child(field), number, why));
        }
    }
    target(&mut errors, &at, spec);
    errors.extend(conditions(service));
    errors
}

/// The Service that serves the group version; without one, this server does.
fn target(errors: &mut ErrorList, at: &Path, spec: &Value) {
    let (bundle, insecure) = (spec.text("caBundle"), spec.flag("insecureSkipTLSVerify"));
    let service = spec.field("service");
    if service.is_null() {
        if !bundle.is_empty() {
            let value = format!("{} bytes", bundle.len() / 4 * 3);
            errors.push(Error::invalid(&at.child("caBundle"), value, "local APIServices may not have a caBundle"));
        }
        if insecure {
            let why = "local APIServices may not have insecureSkipTLSVerify";
            errors.push(Error::invalid(&at.child("insecureSkipTLSVerify"), true, why));
        }
        return;
    }
    let at_service = at.child("service");
    for field in ["namespace", "name"] {
        check::required(errors, &at_service, service, field);
    }
    let port = service.int("port").unwrap_or(443);
    let reasons = is_valid_port_num(port);
    if !reasons.is_empty() {
        let why = format!("port is not valid: {}", reasons.join(","));
        errors.push(Error::invalid(&at_service.child("port"), port, why));
    }
    if insecure && !bundle.is_empty() {
        let why = "may not be true if caBundle is present";
        errors.push(Error::invalid(&at.child("insecureSkipTLSVerify"), true, why));
    }
}

fn conditions(service: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let at = Path::new("status").child("conditions");
    for (i, condition) in service.field("status").list("conditions").iter().enumerate() {
        check::choice(&mut errors, &at.index(i), condition, "status", &["False", "True", "Unknown"]);
    }
    errors
}
