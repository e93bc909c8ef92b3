//! Annotations of pods and pod templates that mean something: the old forms of seccomp, AppArmor and tolerations, the
//! mark of mirror pods, and the cost of deletion.

use apimachinery::field::{Error, ErrorList, Path};
use serde_json::{Map, Value, json};

use super::{CONTAINER_LISTS, affinity, security};
use crate::check;
use crate::tree::Tree;

/// A kubelet's copy of a pod from a manifest.
pub const MIRROR: &str = "kubernetes.io/config.mirror";
const COST: &str = "controller.kubernetes.io/pod-deletion-cost";
const TOLERATIONS: &str = "scheduler.alpha.kubernetes.io/tolerations";
pub const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
pub const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
pub const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

/// What the annotations say is legal.
pub fn validate(errors: &mut ErrorList, at: &Path, annotations: &Value, spec: &Value) {
    let Some(annotations) = annotations.as_object().filter(|a| !a.is_empty()) else { return };
    let text = |key: &str| annotations.get(key).and_then(Value::as_str);
    if let Some(value) = text(MIRROR)
        && spec.text("nodeName").is_empty()
    {
        let why = "must set spec.nodeName if mirror pod annotation is set";
        errors.push(Error::invalid(&at.key(MIRROR), value, why));
    }
    if let Some(value) = text(TOLERATIONS).filter(|v| !v.is_empty()) {
        match serde_json::from_str::<Vec<Value>>(value) {
            Ok(list) => affinity::validate_tolerations(errors, &at.child(TOLERATIONS), &list),
            Err(error) => errors.push(Error::invalid(at, TOLERATIONS, error.to_string())),
        }
    }
    if let Some(value) = text(COST)
        && !value.parse::<i32>().is_ok_and(|number| number.to_string() == value)
    {
        errors.push(Error::invalid(&at.key(COST), value, "must be a 32bit integer"));
    }
    for (key, value) in annotations {
        let value = value.as_str().unwrap_or("");
        if key == SECCOMP_POD || key.starts_with(SECCOMP_CONTAINER) {
            seccomp(errors, &at.child(key), value);
        } else if let Some(container) = key.strip_prefix(APP_ARMOR) {
            app_armor(errors, &at.key(key), container, value, spec);
        }
    }
}

fn seccomp(errors: &mut ErrorList, at: &Path, profile: &str) {
    match profile {
        "runtime/default" | "docker/default" | "unconfined" => {}
        profile => match profile.strip_prefix("localhost/") {
            Some(path) => check::descending_path(errors, at, path),
            None => errors.push(Error::invalid(at, profile, "must be a valid seccomp profile")),
        },
    }
}

fn containers(spec: &Value) -> impl Iterator<Item = (&'static str, usize, &Value)> {
    CONTAINER_LISTS.into_iter().flat_map(|list| spec.list(list).iter().enumerate().map(move |(i, c)| (list, i, c)))
}

fn app_armor(errors: &mut ErrorList, at: &Path, container: &str, profile: &str, spec: &Value) {
    if !containers(spec).any(|(_, _, c)| c.text("name") == container) {
        errors.push(Error::invalid(at, container, "container not found"));
    }
    let legal = matches!(profile, "" | "runtime/default" | "unconfined") || profile.starts_with("localhost/");
    if !legal {
        errors.push(Error::invalid(at, profile, format!("invalid AppArmor profile name: {profile:?}")));
    }
}

/// The `appArmorProfile` that an annotation stands for, if there is a legal one.
pub fn app_armor_profile(annotation: &str) -> Option<Value> {
    match annotation {
        "unconfined" => Some(json!({ "type": "Unconfined" })),
        "runtime/default" => Some(json!({ "type": "RuntimeDefault" })),
        other => {
            let name = other.strip_prefix("localhost/").filter(|name| security::is_app_armor_name(name))?;
            Some(json!({ "type": "Localhost", "localhostProfile": name }))
        }
    }
}

/// The profile that an AppArmor annotation would give a container which has none of its own: `None` if the annotation
/// stands for none, or for the pod's.
pub fn annotated_app_armor(annotation: &str, spec: &impl Tree) -> Option<Value> {
    app_armor_profile(annotation).filter(|profile| spec.field("securityContext").field("appArmorProfile") != profile)
}

/// Where a profile is given both ways, both ways say the same.
pub fn match_fields(errors: &mut ErrorList, spec_at: &Path, annotations: &Value, spec: &Value) {
    let Some(annotations) = annotations.as_object().filter(|a| !a.is_empty()) else { return };
    let of_pod = spec.field("securityContext");
    let at = || spec_at.child("securityContext").child("seccompProfile");
    one_match(errors, at, annotations, SECCOMP_POD, of_pod.field("seccompProfile"), "seccomp");
    for (list, i, container) in containers(spec) {
        let at = || spec_at.child(list).index(i).child("securityContext").child("seccompProfile");
        let key = format!("{SECCOMP_CONTAINER}{}", container.text("name"));
        let profile = container.field("securityContext").field("seccompProfile");
        one_match(errors, at, annotations, &key, profile, "seccomp");
    }
    if spec.field("os").text("name") == "windows" {
        return;
    }
    for (list, i, container) in containers(spec) {
        let at = || spec_at.child(list).index(i).child("securityContext").child("appArmorProfile");
        let key = format!("{APP_ARMOR}{}", container.text("name"));
        let own = container.field("securityContext").field("appArmorProfile");
        let profile = if own.is_null() { of_pod.field("appArmorProfile") } else { own };
        one_match(errors, at, annotations, &key, profile, "apparmor");
    }
}

fn one_match(
    errors: &mut ErrorList,
    at: impl Fn() -> Path,
    annotations: &Map<String, Value>,
    key: &str,
    profile: &Value,
    what: &str,
) {
    let Some(annotation) = annotations.get(key).and_then(Value::as_str).filter(|_| !profile.is_null()) else { return };
    let same_type = match profile.text("type") {
        "Unconfined" => annotation == "unconfined",
        "RuntimeDefault" => annotation == "runtime/default" || (what == "seccomp" && annotation == "docker/default"),
        "Localhost" => annotation.starts_with("localhost/"),
        _ => true,
    };
    if !same_type {
        let why = format!("{what} type in annotation and field must match");
        errors.push(Error::forbidden(&at().child("type"), why));
    } else if profile.text("type") == "Localhost"
        && annotation.strip_prefix("localhost/") != profile.field("localhostProfile").as_str()
    {
        let why = format!("{what} profile in annotation and field must match");
        errors.push(Error::forbidden(&at().child("localhostProfile"), why));
    }
}

/// Marks that cannot be added, changed or taken away later.
pub fn validate_update(errors: &mut ErrorList, at: &Path, new: &Value, old: &Value) {
    let refused = |key: &str| {
        let app_armor = key.starts_with(APP_ARMOR).then_some("AppArmor annotations");
        app_armor.or_else(|| (key == MIRROR).then_some("mirror pod annotation"))
    };
    for (key, _) in old.as_object().into_iter().flatten().filter(|(key, value)| new.field(key) != *value) {
        if let Some(what) = refused(key) {
            errors.push(Error::forbidden(&at.key(key), format!("may not remove or update {what}")));
        }
    }
    for key in new.as_object().into_iter().flat_map(Map::keys).filter(|key| !old.has(key)) {
        if let Some(what) = refused(key) {
            errors.push(Error::forbidden(&at.key(key), format!("may not add {what}")));
        }
    }
}
