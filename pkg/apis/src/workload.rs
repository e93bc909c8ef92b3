//! What kinds with a pod template share: selector and template checks, counters of status, and their cells.

use apimachinery::Object;
use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::labels::LabelSelector;
use serde_json::{Map, Value};

use crate::check;
use crate::podspec::{default_pod_template, validate_pod_template};
use crate::resource::Column;
use crate::tree::{Fill, Tree};

/// Defaults of `spec.template`, which is there even where the client does not give it.
pub fn default_template(spec: &mut Map<String, Value>) {
    default_pod_template(spec.sub_or_new("template"));
}

/// `spec.selector` (a `LabelSelector`) is there, legal, and selects something. Says whether it is legal.
pub fn validate_selector(errors: &mut ErrorList, spec_at: &Path, spec: &Value, noun: &str) -> bool {
    let at = spec_at.child("selector");
    if !spec.has("selector") {
        errors.push(Error::required(&at, ""));
        return true;
    }
    let before = errors.len();
    check::label_selector(errors, &at, spec.field("selector"));
    let legal = errors.len() == before;
    empty_selector(errors, &at, spec, noun);
    legal
}

/// A selector that is there selects something; `at` is the selector itself.
pub fn empty_selector(errors: &mut ErrorList, at: &Path, spec: &Value, noun: &str) {
    let selector = spec.field("selector");
    if !selector.is_null() && check::is_empty_selector(selector) {
        errors.push(Error::invalid(at, selector.clone(), format!("empty selector is invalid for {noun}")));
    }
}

/// Selector and template of kinds that make ReplicaSets or are one.
pub fn validate_replicated(errors: &mut ErrorList, at: &Path, spec: &Value) {
    if !validate_selector(errors, at, spec, "deployment") {
        let why = "invalid label selector";
        errors.push(Error::invalid(&at.child("selector"), spec.field("selector").clone(), why));
        return;
    }
    let (at, template) = (at.child("template"), spec.field("template"));
    selected(errors, &at, spec, template);
    validate_pod_template(errors, &at, template);
    always_restarts(errors, &at, template, "ReplicaSet");
}

/// The template at `at` carries the labels that a legal selector asks for.
pub fn selected(errors: &mut ErrorList, at: &Path, spec: &Value, template: &Value) {
    let labels = template.field("metadata").field("labels");
    if let Ok(selector) = LabelSelector::from_value(spec.get("selector"))
        && !selector.is_everything()
        && !selector.matches_map(labels.as_object())
    {
        let why = "`selector` does not match template `labels`";
        errors.push(Error::invalid(&at.child("metadata").child("labels"), labels.clone(), why));
    }
}

/// `restartPolicy` Always, no deadline.
pub fn always_restarts(errors: &mut ErrorList, at: &Path, template: &Value, kind: &str) {
    let spec = template.field("spec");
    let policy = spec.text("restartPolicy");
    if policy != "Always" {
        errors.push(Error::not_supported(&at.child("spec").child("restartPolicy"), policy, &["Always"]));
    }
    if spec.has("activeDeadlineSeconds") {
        let why = format!("activeDeadlineSeconds in {kind} is not Supported");
        errors.push(Error::forbidden(&at.child("spec").child("activeDeadlineSeconds"), why));
    }
}

/// Counters of `status` that are not negative.
pub fn validate_counters(errors: &mut ErrorList, at: &Path, status: &Value, fields: &[&str]) {
    for field in fields {
        check::nonnegative(errors, at, status, field);
    }
}

/// `left` is not greater than `right` (both counters of status).
pub fn not_above(errors: &mut ErrorList, at: &Path, status: &Value, left: &str, right: &str, why: &str) {
    let count = |field| status.int(field).unwrap_or(0);
    if count(left) > count(right) {
        errors.push(Error::invalid(&at.child(left), count(left), why));
    }
}

pub const CONTAINERS: Column = Column::text("Containers", "Names of the containers in the template.").wide();
pub const IMAGES: Column = Column::text("Images", "Images of the containers in the template.").wide();
pub const SELECTOR: Column = Column::text("Selector", "Labels of the pods that belong to it.").wide();

/// Cells of [`CONTAINERS`] and [`IMAGES`].
pub fn container_cells(template: &Value) -> [Value; 2] {
    let containers = template.field("spec").list("containers");
    let join = |field| containers.iter().map(|c| c.text(field)).collect::<Vec<_>>().join(",").into();
    [join("name"), join("image")]
}

/// A `LabelSelector` in text form.
pub fn selector_cell(selector: &Value) -> Value {
    match LabelSelector::from_value(Some(selector)) {
        Ok(selector) => crate::cells::or_none(&selector.to_string()),
        Err(_) => "<error>".into(),
    }
}

/// A number of `object`, 0 if missing.
pub fn count(object: &Object, path: &str) -> Value {
    apimachinery::meta::ObjectExt::i64_at(object, path).unwrap_or(0).into()
}
