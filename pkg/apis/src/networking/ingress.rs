//! Ingresses and IngressClasses.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::{
    is_dns1035_label, is_dns1123_subdomain, is_domain_prefixed_path, is_wildcard_dns1123_subdomain,
};
use apimachinery::{Object, meta::ObjectExt};
use serde_json::Value;

use super::GROUP;
use crate::cells::{age, or_none};
use crate::check;
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
            let mut errors = validate(o);
            class_annotation(&mut errors, o);
            errors
        },
        validate_update: |new, _| validate(new),
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
            errors
        },
        generation_changed: Some(crate::strategy::spec_changed),
        ..Strategy::PLAIN
    },
    ..Resource::cluster(GROUP, "v1", "ingressclasses", "ingressclass", "IngressClass")
};

fn validate_class(class: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let (at, spec) = (Path::new("spec"), class.field("spec"));
    if spec.text("controller").len() > 250 {
        errors.push(Error::too_long(&at.child("controller"), 250));
    }
    check::text(&mut errors, &at, "controller", spec.text("controller"), is_domain_prefixed_path);
    let parameters = spec.field("parameters");
    if parameters.is_null() {
        return errors;
    }
    let at = at.child("parameters");
    for field in ["kind", "name"] {
        check::required(&mut errors, &at, parameters, field);
    }
    match (parameters.text("scope"), parameters.text("namespace")) {
        ("Namespace", "") => {
            let why = "`parameters.scope` is set to 'Namespace'";
            errors.push(Error::required(&at.child("namespace"), why));
        }
        ("Cluster", namespace) if !namespace.is_empty() => {
            let why = "`parameters.scope` is set to 'Cluster'";
            errors.push(Error::forbidden(&at.child("namespace"), why));
        }
        _ => check::choice(&mut errors, &at, parameters, "scope", &["Cluster", "Namespace"]),
    }
    errors
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

fn validate(ingress: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let (at, spec) = (Path::new("spec"), ingress.field("spec"));
    if spec.list("rules").is_empty() && !spec.has("defaultBackend") {
        let why = "either `defaultBackend` or `rules` must be specified";
        errors.push(Error::invalid(&at, spec.field("rules").clone(), why));
    }
    for (i, tls) in spec.list("tls").iter().enumerate() {
        for (j, host) in tls.texts("hosts").enumerate() {
            let path = at.child("tls").index(i).child("hosts").index(j);
            errors.extend(host_rule(host)(host).into_iter().map(|e| Error::invalid(&path, host, e)));
        }
    }
    for (i, rule) in spec.list("rules").iter().enumerate() {
        validate_rule(&mut errors, &at.child("rules").index(i), rule);
    }
    if spec.has("defaultBackend") {
        backend(&mut errors, &at.child("defaultBackend"), spec.field("defaultBackend"));
    }
    check::optional_text(&mut errors, &at, spec, "ingressClassName", is_dns1123_subdomain);
    errors
}

fn host_rule(host: &str) -> check::Rule {
    if host.contains('*') { is_wildcard_dns1123_subdomain } else { is_dns1123_subdomain }
}

fn validate_rule(errors: &mut ErrorList, at: &Path, rule: &Value) {
    let host = rule.text("host");
    if !host.is_empty() {
        if host.parse::<std::net::IpAddr>().is_ok() {
            errors.push(Error::invalid(&at.child("host"), host, "must be a DNS name, not an IP address"));
        } else {
            check::text(errors, at, "host", host, host_rule(host));
        }
    }
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
        match path.text("pathType") {
            "" => errors.push(Error::required(&at.child("pathType"), "pathType must be specified")),
            "Exact" | "Prefix" => url_path(errors, &at.child("path"), text),
            "ImplementationSpecific" if text.is_empty() || text.starts_with('/') => {}
            "ImplementationSpecific" => {
                errors.push(Error::invalid(&at.child("path"), text, "must be an absolute path"));
            }
            other => {
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
        return;
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
        (false, false) => errors.push(Error::required(at, "resource or service backend is required")),
        (false, true) => {
            for field in ["kind", "name"] {
                check::required(errors, &at.child("resource"), backend.field("resource"), field);
            }
        }
        (true, false) => service(errors, &at.child("service"), backend.field("service")),
    }
}

fn service(errors: &mut ErrorList, at: &Path, service: &Value) {
    check::required_text(errors, at, service, "name", is_dns1035_label);
    let port = service.field("port");
    let (name, number) = (port.text("name"), port.int("number").unwrap_or(0));
    match (name.is_empty(), number) {
        (true, 0) => errors.push(Error::required(at, "port name or number is required")),
        (true, number) => check::port(errors, &at.child("port"), "number", number),
        (false, 0) => {
            check::text(errors, &at.child("port"), "name", name, apimachinery::validation::is_valid_port_name);
        }
        (false, _) => errors.push(Error::invalid(at, "", "cannot set both port name & port number")),
    }
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

fn hosts(rules: &[Value]) -> String {
    let named: Vec<&str> = rules.iter().map(|r| r.text("host")).filter(|h| !h.is_empty()).collect();
    match named.len() {
        0 => "*".to_owned(),
        1..=3 => named.join(","),
        more => format!("{} + {} more...", named[..3].join(","), more - 3),
    }
}
