//! Ingresses and IngressClasses.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::{
    is_dns1123_label, is_dns1123_subdomain, is_valid_port_name, is_wildcard_dns1123_subdomain,
};
use apimachinery::{Object, meta::ObjectExt};
use serde_json::Value;

use super::GROUP;
use crate::addresses::{legacy_ip, sloppy_ip};
use crate::cells::{age, or_none};
use crate::check;
use crate::names;
use crate::resource::{Column, Resource, Strategy, Subresource};
use crate::tree::{Fill, Tree, spec_mut};

pub const ROW: Resource = Resource {
    short_names: &["ing"],
    columns: &[
        Column::NAME,
        Column::text("Class", "Class whose controller serves it."),
        Column::text("Hosts", "Hosts that it has rules for."),
        Column::text("Address", "Addresses where it is reached."),
        Column::text("Ports", "Ports where it is reached."),
        Column::AGE,
    ],
    cells,
    subresources: &[Subresource::STATUS],
    strategy: Strategy {
        prepare_for_create: |o| {
            let status = serde_json::json!({ "loadBalancer": {} });
            apimachinery::meta::object_mut(o).insert("status".to_owned(), status);
        },
        validate: |o| {
            let mut errors = validate(o, None);
            class_annotation(&mut errors, o);
            errors
        },
        validate_update: |new, old| validate(new, Some(old)),
        validate_status_update,
        warnings: |new, _| {
            let annotated = new.annotations().is_some_and(|a| a.contains_key(CLASS_ANNOTATION));
            let text =
                || format!("annotation {CLASS_ANNOTATION:?} is deprecated, please use 'spec.ingressClassName' instead");
            annotated.then(text).into_iter().collect()
        },
        ..Strategy::SPEC_STATUS
    },
    ..Resource::namespaced(GROUP, "v1", "ingresses", "ingress", "Ingress")
};

pub const CLASS: Resource = Resource {
    columns: &[
        Column::NAME,
        Column::text("Controller", "Controller that serves the class."),
        Column::text("Parameters", "Object with the controller's parameters."),
        Column::AGE,
    ],
    cells: |o, now| {
        let parameters = match o.field("spec").field("parameters") {
            Value::Null => "<none>".to_owned(),
            p => match p.text("apiGroup") {
                "" => format!("{}/{}", p.text("kind"), p.text("name")),
                group => format!("{}.{group}/{}", p.text("kind"), p.text("name")),
            },
        };
        vec![o.name().into(), o.str_at("spec/controller").into(), parameters.into(), age(o, now)]
    },
    strategy: Strategy {
        default: |o| {
            if let Some(parameters) = spec_mut(o).and_then(|s| s.sub("parameters")) {
                parameters.default_value("scope", || "Cluster".into());
            }
        },
        validate: validate_class,
        validate_update: |new, old| {
            let mut errors = ErrorList::new();
            check::immutable(&mut errors, &Path::new("spec"), new.field("spec"), old.field("spec"), "controller");
            errors.extend(validate_class(new));
            errors
        },
        generation_changed: Some(crate::strategy::spec_changed),
        ..Strategy::PLAIN
    },
    ..Resource::cluster(GROUP, "v1", "ingressclasses", "ingressclass", "IngressClass")
};

fn validate_class(class: &Object) -> ErrorList {
    const CONTROLLER_MAX: usize = 250;
    let mut errors = ErrorList::new();
    let (at, spec) = (Path::new("spec"), class.field("spec"));
    let controller = at.child("controller");
    if spec.text("controller").len() > CONTROLLER_MAX {
        errors.push(Error::too_long(&controller, CONTROLLER_MAX));
    }
    names::domain_prefixed_path(&mut errors, &controller, spec.text("controller"));
    if spec.has("parameters") {
        validate_parameters(&mut errors, &at.child("parameters"), spec.field("parameters"));
    }
    errors
}

fn validate_parameters(errors: &mut ErrorList, at: &Path, parameters: &Value) {
    object_reference(errors, at, parameters);
    let namespace = parameters.field("namespace").as_str();
    match (parameters.text("scope"), namespace) {
        ("Namespace", None) => {
            let why = "`parameters.scope` is set to 'Namespace'";
            errors.push(Error::required(&at.child("namespace"), why));
        }
        ("Namespace", Some(namespace)) => check::text(errors, at, "namespace", namespace, is_dns1123_label),
        ("Cluster", Some(_)) => {
            let why = "`parameters.scope` is set to 'Cluster'";
            errors.push(Error::forbidden(&at.child("namespace"), why));
        }
        _ => check::choice(errors, at, parameters, "scope", &["Cluster", "Namespace"]),
    }
}

/// Group, kind and name of another object.
fn object_reference(errors: &mut ErrorList, at: &Path, reference: &Value) {
    if let Some(group) = reference.field("apiGroup").as_str() {
        check::text(errors, at, "apiGroup", group, is_dns1123_subdomain);
    }
    names::required_segment(errors, at, reference, "kind");
    names::required_segment(errors, at, reference, "name");
}

const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";

fn class_annotation(errors: &mut ErrorList, ingress: &Object) {
    let annotation = ingress.annotations().and_then(|a| a.get(CLASS_ANNOTATION)).and_then(Value::as_str);
    let class = ingress.field("spec").field("ingressClassName").as_str();
    if let (Some(annotation), Some(class)) = (annotation, class)
        && annotation != class
    {
        let path = Path::new("annotations").child(CLASS_ANNOTATION);
        let why = "must match `ingressClassName` when both are specified";
        errors.push(Error::invalid(&path, annotation, why));
    }
}

/// `old` is the object before an update: what was refused later and is there already may stay.
fn validate(ingress: &Object, old: Option<&Object>) -> ErrorList {
    let mut errors = ErrorList::new();
    let (at, spec) = (Path::new("spec"), ingress.field("spec"));
    let before = old.map_or(&Value::Null, |old| old.field("spec"));
    if spec.list("rules").is_empty() && !spec.has("defaultBackend") {
        let why = "either `defaultBackend` or `rules` must be specified";
        errors.push(Error::invalid(&at, spec.field("rules").clone(), why));
    }
    if spec.has("defaultBackend") {
        backend(&mut errors, &at.child("defaultBackend"), spec.field("defaultBackend"));
    }
    let bad_wildcards = before.list("rules").iter().any(|rule| is_wildcard(rule) && has_bad_paths(rule));
    for (i, rule) in spec.list("rules").iter().enumerate() {
        let at = at.child("rules").index(i);
        validate_host(&mut errors, &at, rule.text("host"));
        if !(bad_wildcards && is_wildcard(rule)) {
            validate_paths(&mut errors, &at, rule);
        }
    }
    let bad_secrets = before.list("tls").iter().any(|tls| !secret_faults(tls).is_empty());
    for (i, tls) in spec.list("tls").iter().enumerate() {
        let at = at.child("tls").index(i);
        for (j, host) in tls.texts("hosts").enumerate() {
            let path = at.child("hosts").index(j);
            errors.extend(host_rule(host)(host).into_iter().map(|e| Error::invalid(&path, host, e)));
        }
        if !bad_secrets {
            let path = at.child("secretName");
            errors.extend(secret_faults(tls).into_iter().map(|e| Error::invalid(&path, tls.text("secretName"), e)));
        }
    }
    if let Some(class) = spec.field("ingressClassName").as_str() {
        check::text(&mut errors, &at, "ingressClassName", class, is_dns1123_subdomain);
    }
    errors
}

fn secret_faults(tls: &Value) -> Vec<String> {
    let name = tls.text("secretName");
    if name.is_empty() { Vec::new() } else { is_dns1123_subdomain(name) }
}

fn is_wildcard(rule: &Value) -> bool {
    rule.text("host").contains('*')
}

fn has_bad_paths(rule: &Value) -> bool {
    let mut errors = ErrorList::new();
    validate_paths(&mut errors, &Path::default(), rule);
    !errors.is_empty()
}

fn host_rule(host: &str) -> check::Rule {
    if host.contains('*') { is_wildcard_dns1123_subdomain } else { is_dns1123_subdomain }
}

fn validate_host(errors: &mut ErrorList, at: &Path, host: &str) {
    if host.is_empty() {
        return;
    }
    if sloppy_ip(host).is_some() {
        errors.push(Error::invalid(&at.child("host"), host, "must be a DNS name, not an IP address"));
    }
    check::text(errors, at, "host", host, host_rule(host));
}

fn validate_paths(errors: &mut ErrorList, at: &Path, rule: &Value) {
    if !rule.has("http") {
        return;
    }
    let at = at.child("http").child("paths");
    let paths = rule.field("http").list("paths");
    if paths.is_empty() {
        errors.push(Error::required(&at, ""));
    }
    for (i, path) in paths.iter().enumerate() {
        let at = at.index(i);
        let text = path.text("path");
        match path.field("pathType").as_str() {
            None => {
                errors.push(Error::required(&at.child("pathType"), "pathType must be specified"));
                continue;
            }
            Some("Exact" | "Prefix") => url_path(errors, &at.child("path"), text),
            Some("ImplementationSpecific") if text.is_empty() || text.starts_with('/') => {}
            Some("ImplementationSpecific") => {
                errors.push(Error::invalid(&at.child("path"), text, "must be an absolute path"));
            }
            Some(other) => {
                let known = &["Exact", "ImplementationSpecific", "Prefix"];
                errors.push(Error::not_supported(&at.child("pathType"), other, known));
            }
        }
        backend(errors, &at.child("backend"), path.field("backend"));
    }
}

fn url_path(errors: &mut ErrorList, at: &Path, path: &str) {
    if !path.starts_with('/') {
        errors.push(Error::invalid(at, path, "must be an absolute path"));
    }
    for bad in ["//", "/./", "/../", "%2f", "%2F"] {
        if path.contains(bad) {
            errors.push(Error::invalid(at, path, format!("must not contain '{bad}'")));
        }
    }
    for bad in ["/..", "/."] {
        if path.ends_with(bad) {
            errors.push(Error::invalid(at, path, format!("cannot end with '{bad}'")));
        }
    }
}

fn backend(errors: &mut ErrorList, at: &Path, backend: &Value) {
    match (backend.has("service"), backend.has("resource")) {
        (true, true) => {
            errors.push(Error::invalid(at, "", "cannot set both resource and service backends"));
        }
        (false, false) => errors.push(Error::invalid(at, "", "resource or service backend is required")),
        (false, true) => object_reference(errors, &at.child("resource"), backend.field("resource")),
        (true, false) => service(errors, at, backend.field("service")),
    }
}

/// `at` is the backend: a port that is missing or there twice is its fault.
fn service(errors: &mut ErrorList, at: &Path, service: &Value) {
    let path = at.child("service");
    check::required_text(errors, &path, service, "name", is_dns1123_label);
    let port = service.field("port");
    let (name, number) = (port.text("name"), port.int("number").unwrap_or(0));
    match (name.is_empty(), number) {
        (true, 0) => errors.push(Error::required(at, "port name or number is required")),
        (true, number) => check::port(errors, &path.child("port"), "number", number),
        (false, 0) => check::text(errors, &path.child("port"), "name", name, is_valid_port_name),
        (false, _) => errors.push(Error::invalid(at, "", "cannot set both port name & port number")),
    }
}

fn validate_status_update(new: &Object, old: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let kept: Vec<&str> = old.array_at("status/loadBalancer/ingress").iter().map(|i| i.text("ip")).collect();
    let at = Path::new("status").child("loadBalancer").child("ingress");
    for (i, ingress) in new.array_at("status/loadBalancer/ingress").iter().enumerate() {
        let at = at.index(i);
        let (ip, host) = (ingress.text("ip"), ingress.text("hostname"));
        if !ip.is_empty() {
            legacy_ip(&mut errors, &at.child("ip"), ip, &kept);
        }
        if !host.is_empty() {
            check::text(&mut errors, &at, "hostname", host, is_dns1123_subdomain);
            if sloppy_ip(host).is_some() {
                errors.push(Error::invalid(&at.child("hostname"), host, "must be a DNS name, not an IP address"));
            }
        }
    }
    errors
}

fn cells(ingress: &Object, now: i64) -> Vec<Value> {
    let spec = ingress.field("spec");
    let addresses = ingress.array_at("status/loadBalancer/ingress").iter();
    let addresses: std::collections::BTreeSet<&str> = addresses
        .map(|i| if i.text("ip").is_empty() { i.text("hostname") } else { i.text("ip") })
        .filter(|a| !a.is_empty())
        .collect();
    let ports = if spec.list("tls").is_empty() { "80" } else { "80, 443" };
    vec![
        ingress.name().into(),
        or_none(spec.text("ingressClassName")),
        hosts(spec.list("rules")).into(),
        addresses.into_iter().collect::<Vec<_>>().join(",").into(),
        ports.into(),
        age(ingress, now),
    ]
}

/// The first three hosts, and how many more rules there are.
fn hosts(rules: &[Value]) -> String {
    let named: Vec<&str> = rules.iter().map(|r| r.text("host")).filter(|h| !h.is_empty()).take(3).collect();
    let third = rules.iter().enumerate().filter(|(_, r)| !r.text("host").is_empty()).nth(2).map(|(i, _)| i + 1);
    match (named.len(), third) {
        (0, _) => "*".to_owned(),
        (_, Some(third)) if third < rules.len() => format!("{} + {} more...", named.join(","), rules.len() - 3),
        _ => named.join(","),
    }
}
