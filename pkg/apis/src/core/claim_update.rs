//! What may change in PersistentVolumeClaims, and what their status may say.

use apimachinery::Object;
use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::is_qualified_name;
use serde_json::Value;

use super::claim::{self, CLASS_ANNOTATION};
use crate::check;
use crate::podspec::resources::is_native;
use crate::quantity;
use crate::tree::{Fill, Tree};

pub fn validate(new: &Object, old: &Object) -> ErrorList {
    let mut errors = claim::validate(new);
    let (spec, before) = (new.field("spec"), old.field("spec"));
    let mut allowed = spec.clone();
    if let Some(allowed) = allowed.as_object_mut() {
        allow(allowed, new, before);
    }
    if class_may_change(&mut errors, new, old) {
        keep(&mut allowed, before, "storageClassName");
    }
    if &allowed != before {
        let mut difference = String::new();
        crate::diff::describe(&mut difference, "spec", before, &allowed);
        let why = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound \
                   claims";
        errors.push(Error::forbidden(&Path::new("spec"), format!("{why}\n{difference}")));
    }
    size(&mut errors, spec, before, old.field("status"));
    // Upstream names this field without its owner.
    check::immutable(&mut errors, &Path::default(), spec, before, "volumeMode");
    attributes_class(&mut errors, spec, before, old.field("status"));
    errors
}

fn keep(spec: &mut Value, before: &Value, field: &str) {
    let Some(spec) = spec.as_object_mut() else { return };
    match before.get(field) {
        Some(value) => spec.insert(field.to_owned(), value.clone()),
        None => spec.remove(field),
    };
}

/// Takes back the changes that are allowed: binding sets the volume once; a bound claim can grow and get other attributes.
fn allow(spec: &mut serde_json::Map<String, Value>, new: &Object, before: &Value) {
    let mut restored = Vec::new();
    if before.text("volumeName").is_empty() {
        restored.push("volumeName");
    }
    if new.field("status").text("phase") == "Bound" {
        restored.push("volumeAttributesClassName");
        let old = before.field("resources").field("requests").field("storage").clone();
        if let Some(requests) = spec.sub("resources").and_then(|resources| resources.sub("requests")) {
            requests.insert("storage".to_owned(), old);
        }
    }
    for field in restored {
        match before.get(field) {
            Some(value) => spec.insert(field.to_owned(), value.clone()),
            None => spec.remove(field),
        };
    }
}

/// A claim without a class may still be given one: that of its annotation, if it has one.
fn class_may_change(errors: &mut ErrorList, new: &Object, old: &Object) -> bool {
    let noted = |claim: &Object| claim.field("metadata").field("annotations").field(CLASS_ANNOTATION).clone();
    let (now, before) = (noted(new), noted(old));
    let (class, had) = (new.field("spec").field("storageClassName"), old.field("spec").has("storageClassName"));
    if !before.is_null() && !had && class == &before && (now.is_null() || now == before) {
        return true;
    }
    if now.as_str().unwrap_or("") != before.as_str().unwrap_or("") {
        let path = Path::new("metadata").child("annotations").child(CLASS_ANNOTATION);
        errors.push(Error::invalid(&path, now.as_str().unwrap_or(""), "field is immutable"));
    }
    !had && !class.is_null() && (before.is_null() || class == &before)
}

/// A claim never asks for less than its volume has; what failed to grow may be asked for anew.
fn size(errors: &mut ErrorList, spec: &Value, before: &Value, status: &Value) {
    let storage = |list: &Value| quantity::parse(list.field("storage"));
    let requested = |spec: &Value| storage(spec.field("resources").field("requests"));
    let held = storage(status.field("capacity"));
    if let (Some(now), Some(then)) = (requested(spec), requested(before))
        && now < then
        && held.is_some_and(|held| now <= held)
    {
        let path = Path::new("spec").child("resources").child("requests").child("storage");
        errors.push(Error::forbidden(&path, "field can not be less than status.capacity"));
    }
}

/// Attributes that a volume has got cannot be taken back.
fn attributes_class(errors: &mut ErrorList, spec: &Value, before: &Value, status: &Value) {
    const FIELD: &str = "volumeAttributesClassName";
    if before.text(FIELD).is_empty() || status.text("currentVolumeAttributesClassName").is_empty() {
        return;
    }
    let what = match spec.field(FIELD).as_str() {
        None => "nil",
        Some("") => "an empty string",
        Some(_) => return,
    };
    let why = format!("update from non-nil value to {what} is forbidden");
    errors.push(Error::forbidden(&Path::new("spec").child(FIELD), why));
}

const RESIZE_STATUSES: &[&str] = &[
    "ControllerResizeInProgress",
    "ControllerResizeInfeasible",
    "NodeResizeInProgress",
    "NodeResizeInfeasible",
    "NodeResizePending",
];

pub fn validate_status(new: &Object, _old: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let (at, status) = (Path::new("status"), new.field("status"));
    if new.field("spec").list("accessModes").is_empty() {
        errors.push(Error::required(&Path::new("Spec").child("accessModes"), ""));
    }
    for (name, value) in status.entries("capacity") {
        basic_quantity(&mut errors, || at.child("capacity").key(name), value);
    }
    let statuses_at = at.child("allocatedResourceStatus");
    for (name, value) in status.entries("allocatedResourceStatuses") {
        resource_key(&mut errors, &statuses_at, name);
        if !value.as_str().is_some_and(|value| RESIZE_STATUSES.contains(&value)) {
            errors.push(Error::not_supported(&statuses_at, name, RESIZE_STATUSES));
        }
    }
    for (name, value) in status.entries("allocatedResources") {
        let count = errors.len();
        resource_key(&mut errors, &at.child("allocatedResources"), name);
        if errors.len() == count {
            basic_quantity(&mut errors, || at.child("allocatedResources").key(name), value);
        }
    }
    errors
}

/// A quantity that is not negative; the error shows it as a whole number.
pub fn basic_quantity(errors: &mut ErrorList, path: impl Fn() -> Path, value: &Value) {
    if let Some(amount) = quantity::parse(value).filter(|amount| amount.value() < 0) {
        errors.push(Error::invalid(&path(), amount.value(), "must be a valid resource quantity"));
    }
}

/// `storage`, or the name of a resource of somebody else.
fn resource_key(errors: &mut ErrorList, at: &Path, name: &str) {
    let reasons = is_qualified_name(name);
    if reasons.is_empty() && is_native(name) && name != "storage" {
        errors.push(Error::not_supported(at, name, &["storage"]));
    }
    errors.extend(reasons.into_iter().map(|why| Error::invalid(at, name, why)));
}
