//! Environment variables, their sources, and references to fields and resources (also in downwardAPI volumes).

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::{
    is_config_map_key, is_dns1123_label, is_dns1123_subdomain, is_env_var_name, is_qualified_name,
};
use serde_json::Value;

use super::fields::{Container, PodSpec};
use crate::check;
use crate::quantity;
use crate::strategy::subdomain_name;
use crate::tree::{Tree, items};

pub fn validate(errors: &mut ErrorList, container_at: &Path, container: &Container<'_>) {
    for (i, env) in items(container.env).iter().enumerate() {
        let valued = env.has("valueFrom");
        let name = env.text("name");
        if name.is_empty() || valued || !is_env_var_name(name).is_empty() {
            one(errors, &container_at.child("env").index(i), env);
        }
    }
    for (i, from) in items(container.env_from).iter().enumerate() {
        env_from(errors, &container_at.child("envFrom"), i, from);
    }
}

fn one(errors: &mut ErrorList, at: &Path, env: &Value) {
    check::required_text(errors, at, env, "name", is_env_var_name);
    if !env.has("valueFrom") {
        return;
    }
    let from = env.field("valueFrom");
    let at = at.child("valueFrom");
    let mut sources = 0;
    for source in ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"] {
        if !from.has(source) {
            continue;
        }
        sources += 1;
        let reference = from.field(source);
        let at = at.child(source);
        match source {
            "fieldRef" => field_ref(errors, &at, reference, ENV_FIELDS),
            "resourceFieldRef" => resource_ref(errors, &at, reference, false),
            "fileKeyRef" => file_ref(errors, &at, reference),
            _ => key_ref(errors, &at, reference),
        }
    }
    let why = match sources {
        0 => "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
        _ if !env.text("value").is_empty() => "may not be specified when `value` is not empty",
        1 => return,
        _ => "may not have more than one field specified at a time",
    };
    errors.push(Error::invalid(&at, "", why));
}

fn env_from(errors: &mut ErrorList, list_at: &Path, i: usize, from: &Value) {
    let at = list_at.index(i);
    check::optional_text(errors, &at, from, "prefix", is_env_var_name);
    let mut sources = 0;
    for source in ["configMapRef", "secretRef"] {
        if from.has(source) {
            sources += 1;
            let masked: check::Rule = |name| subdomain_name(name, true);
            check::required_text(errors, &at.child(source), from.field(source), "name", masked);
        }
    }
    let why = match sources {
        0 => "must specify one of: `configMapRef` or `secretRef`",
        1 => return,
        _ => "may not have more than one field specified at a time",
    };
    errors.push(Error::invalid(list_at, "", why));
}

fn key_ref(errors: &mut ErrorList, at: &Path, reference: &Value) {
    check::text(errors, at, "name", reference.text("name"), is_dns1123_subdomain);
    check::required_text(errors, at, reference, "key", is_config_map_key);
}

fn file_ref(errors: &mut ErrorList, at: &Path, reference: &Value) {
    check::required_text(errors, at, reference, "key", is_env_var_name);
    check::required_text(errors, at, reference, "volumeName", is_dns1123_label);
    check::required(errors, at, reference, "path");
    check::no_backsteps(errors, &at.child("path"), reference.text("path"));
}

/// Files with variables lie in emptyDir volumes, where an init container can write them.
pub fn files_in_empty_dirs(errors: &mut ErrorList, spec_at: &Path, spec: &PodSpec<'_>) {
    for (list, containers) in spec.container_lists() {
        for (i, container) in items(containers).iter().enumerate() {
            for (j, env) in container.list("env").iter().enumerate() {
                let reference = env.field("valueFrom").field("fileKeyRef");
                if reference.is_null() {
                    continue;
                }
                let name = reference.text("volumeName");
                let volume = items(spec.volumes).iter().rfind(|v| v.text("name") == name);
                if volume.is_some_and(|v| v.has("emptyDir")) {
                    continue;
                }
                let at = spec_at.child(list).index(i).child("env").index(j).child("valueFrom").child("fileKeyRef");
                let at = at.child("volumeName");
                errors.push(match volume {
                    None => Error::not_found(&at, name),
                    Some(_) => Error::invalid(&at, name, "referenced volume must be of type emptyDir"),
                });
            }
        }
    }
}

/// What environment variables may refer to, sorted.
const ENV_FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// What downwardAPI volumes may refer to, sorted.
pub const VOLUME_FIELDS: &[&str] =
    &["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];

/// Every path that means something in a pod; others are refused with another text.
const KNOWN_FIELDS: &[&str] = &[
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.serviceAccountName",
    "spec.schedulerName",
    "status.phase",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
    "spec.host",
];

pub fn field_ref(errors: &mut ErrorList, at: &Path, reference: &Value, allowed: &[&str]) {
    for field in ["apiVersion", "fieldPath"] {
        if reference.text(field).is_empty() {
            errors.push(Error::required(&at.child(field), ""));
            return;
        }
    }
    let (version, given) = (reference.text("apiVersion"), reference.text("fieldPath"));
    let subscripted = given.strip_suffix("']").and_then(|p| p.split_once("['")).filter(|(base, _)| !base.is_empty());
    let why = match (version, subscripted) {
        ("v1", Some(("metadata.annotations" | "metadata.labels", _))) => None,
        ("v1", Some(_)) => Some(format!("field label does not support subscript: {given}")),
        ("v1", None) if KNOWN_FIELDS.contains(&given) => None,
        ("v1", None) => Some(format!("field label not supported: {given}")),
        _ => Some(format!("unsupported pod version: {version}")),
    };
    if let Some(why) = why {
        let why = format!("error converting fieldPath: {why}");
        errors.push(Error::invalid(&at.child("fieldPath"), given, why));
        return;
    }
    let path = if given == "spec.host" { "spec.nodeName" } else { given };
    match subscripted {
        Some((base, key)) => {
            let key = if base == "metadata.annotations" { key.to_lowercase() } else { key.to_owned() };
            errors.extend(is_qualified_name(&key).into_iter().map(|e| Error::invalid(at, key.as_str(), e)));
        }
        None if !allowed.contains(&path) => {
            errors.push(Error::not_supported(&at.child("fieldPath"), path, allowed));
        }
        None => {}
    }
}

const RESOURCE_FIELDS: &[&str] = &[
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

const BYTE_DIVISORS: &[&str] = &["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];

pub fn resource_ref(errors: &mut ErrorList, at: &Path, reference: &Value, in_volume: bool) {
    let resource = reference.text("resource");
    let huge = resource.starts_with("limits.hugepages-") || resource.starts_with("requests.hugepages-");
    if in_volume && reference.text("containerName").is_empty() {
        errors.push(Error::required(&at.child("containerName"), ""));
    } else if resource.is_empty() {
        errors.push(Error::required(&at.child("resource"), ""));
    } else if !huge && !RESOURCE_FIELDS.contains(&resource) {
        errors.push(Error::not_supported(&at.child("resource"), resource, RESOURCE_FIELDS));
    }
    divisor(errors, at, resource, reference.field("divisor"), huge);
}

fn divisor(errors: &mut ErrorList, at: &Path, resource: &str, divisor: &Value, huge: bool) {
    let Some(amount) = quantity::parse(divisor).filter(|q| !q.is_zero()) else { return };
    let text = amount.to_string();
    let (known, what) = match resource.split_once('.').map_or("", |(_, name)| name) {
        "cpu" if !matches!(&*text, "1" | "1m") => {
            let why = "only divisor's values 1m and 1 are supported with the cpu resource";
            errors.push(Error::invalid(&at.child("divisor"), resource, why));
            return;
        }
        "memory" => (BYTE_DIVISORS.contains(&&*text), "memory resource"),
        "ephemeral-storage" => (BYTE_DIVISORS.contains(&&*text), "local ephemeral storage resource"),
        _ if huge => (BYTE_DIVISORS.contains(&&*text), "hugepages resource"),
        _ => return,
    };
    if !known {
        let why = format!("only divisor's values {} are supported with the {what}", BYTE_DIVISORS.join(", "));
        errors.push(Error::invalid(&at.child("divisor"), resource, why));
    }
}
