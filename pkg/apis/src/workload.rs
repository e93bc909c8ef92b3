//! What kinds with a pod template share: selector and template checks, counters of status, and their cells.

use apimachinery::Object;
use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::labels::LabelSelector;
use serde_json::{Map, Value};

use crate::check;
use crate::podspec::{default_pod_template, validate_pod_template};
use crate::resource::Column;
use crate::tree::{Fill, Tree};

/// Defaults of `spec.template`.
pub fn default_template(spec: &mut Map<String, Value>) {
    if let Some(template) = spec.sub("template") {
        default_pod_template(template);
    }
}

/// `spec.selector` (a `LabelSelector`) is there, legal, and selects something.
pub fn validate_selector(errors: &mut ErrorList, spec_at: &Path, spec: &Value, kind: &str) {
    let at = spec_at.child("selector");
    if !spec.has("selector") {
        errors.push(Error::required(&at, ""));
        return;
    }
    check::label_selector(errors, &at, spec.field("selector"));
    if check::is_empty_selector(spec.field("selector")) {
        let why = format!("empty selector is invalid for {kind}");
        errors.push(Error::invalid(&at, spec.field("selector").clone(), why));
    }
}

/// The template is legal, carries the labels that the selector asks for, and its pods restart for ever.
pub fn validate_template(errors: &mut ErrorList, spec_at: &Path, spec: &Value, kind: &str) {
    let at = spec_at.child("template");
    if !spec.has("template") {
        errors.push(Error::required(&at, ""));
        return;
    }
    let template = spec.field("template");
    let labels = template.field("metadata").field("labels");
    if let Ok(selector) = LabelSelector::from_value(spec.get("selector"))
        && !selector.is_everything()
        && !selector.matches_map(labels.as_object())
    {
        let why = "`selector` does not match template `labels`";
        errors.push(Error::invalid(&at.child("metadata").child("labels"), labels.clone(), why));
    }
    validate_pod_template(errors, &at, template);
    always_restarts(errors, &at, template, kind);
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
