//! PersistentVolumeClaims, in themselves and as templates of StatefulSets and ephemeral volumes.

use apimachinery::Object;
use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::{is_dns1123_label, is_dns1123_subdomain};
use serde_json::Value;

use crate::check;
use crate::podspec::warnings::fractional;
use crate::quantity;
use crate::tree::Tree;

pub const ACCESS_MODES: &[&str] = &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

pub const VOLUME_MODES: &[&str] = &["Block", "Filesystem"];

/// The class of storage, before it was a field.
pub const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";

pub fn validate(claim: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    validate_spec(&mut errors, &Path::new("spec"), claim.field("spec"));
    errors
}

/// Access modes of a claim or a volume.
pub fn access_modes(errors: &mut ErrorList, owner: &Path, spec: &Value) {
    let at = owner.child("accessModes");
    for mode in spec.texts("accessModes").filter(|m| !ACCESS_MODES.contains(m)) {
        errors.push(Error::not_supported(&at, mode, ACCESS_MODES));
    }
    let known = || spec.texts("accessModes").filter(|m| ACCESS_MODES.contains(m));
    if known().any(|m| m == "ReadWriteOncePod") && known().any(|m| m != "ReadWriteOncePod") {
        errors.push(Error::forbidden(&at, "may not use ReadWriteOncePod with other access modes"));
    }
}

/// A `PersistentVolumeClaimSpec`.
pub fn validate_spec(errors: &mut ErrorList, at: &Path, spec: &Value) {
    if spec.list("accessModes").is_empty() {
        errors.push(Error::required(&at.child("accessModes"), "at least 1 access mode is required"));
    }
    check::label_selector(errors, &at.child("selector"), spec.field("selector"));
    access_modes(errors, at, spec);
    let storage = at.child("resources").key("storage");
    match spec.field("resources").field("requests").field("storage") {
        Value::Null => errors.push(Error::required(&storage, "")),
        value => positive(errors, || storage.clone(), value),
    }
    check::optional_text(errors, at, spec, "storageClassName", is_dns1123_subdomain);
    check::optional_choice(errors, at, spec, "volumeMode", VOLUME_MODES);
    let (source, reference) = (spec.field("dataSource"), spec.field("dataSourceRef"));
    for (field, object) in [("dataSource", source), ("dataSourceRef", reference)] {
        if !object.is_null() {
            data_source(errors, &at.child(field), object);
        }
    }
    let why = match reference.text("namespace") {
        _ if source.is_null() => None,
        "" if reference.is_null() || same_source(source, reference) => None,
        "" => Some("must match dataSourceRef"),
        _ => Some("may not be specified when dataSourceRef.namespace is specified"),
    };
    // Upstream shows the path of the field instead of its value.
    errors.extend(why.map(|why| Error::invalid(at, at.child("dataSource").to_string(), why)));
    check::optional_text(errors, at, spec, "volumeAttributesClassName", is_dns1123_subdomain);
}

/// A quantity that is greater than zero.
pub fn positive(errors: &mut ErrorList, path: impl Fn() -> Path, value: &Value) {
    match quantity::parse(value) {
        Some(amount) if amount.is_negative() || amount.is_zero() => {
            errors.push(Error::invalid(&path(), amount.to_string(), "must be greater than zero"));
        }
        Some(_) => {}
        None => errors.push(Error::invalid(&path(), value.clone(), "must be a quantity")),
    }
}

fn same_source(source: &Value, reference: &Value) -> bool {
    ["apiGroup", "kind", "name"].iter().all(|field| source.field(field) == reference.field(field))
}

/// What the author of a claim or claim template is warned of.
pub fn spec_warnings(warnings: &mut Vec<String>, at: &Path, spec: &Value) {
    let storage = spec.field("resources").field("requests").field("storage");
    fractional(warnings, || at.child("resources").child("requests").key("storage"), storage);
}

pub fn warnings(claim: &Object, _old: Option<&Object>) -> Vec<String> {
    let mut warnings = Vec::new();
    annotation_warning(&mut warnings, claim, CLASS_ANNOTATION, "v1.8", "storageClassName");
    spec_warnings(&mut warnings, &Path::new("spec"), claim.field("spec"));
    warnings
}

/// An annotation whose place a field has taken.
pub fn annotation_warning(warnings: &mut Vec<String>, object: &Object, key: &str, since: &str, field: &str) {
    if object.field("metadata").field("annotations").has(key) {
        let at = Path::new("metadata").child("annotations").key(key);
        warnings.push(format!("{at}: deprecated since {since}; use {field:?} attribute instead"));
    }
}

fn data_source(errors: &mut ErrorList, at: &Path, source: &Value) {
    check::required(errors, at, source, "name");
    check::required(errors, at, source, "kind");
    let kind = source.text("kind");
    if source.text("apiGroup").is_empty() && kind != "PersistentVolumeClaim" {
        let why = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
        errors.push(Error::invalid(at, kind, why));
    }
    check::optional_text(errors, at, source, "apiGroup", is_dns1123_subdomain);
    check::optional_text(errors, at, source, "namespace", is_dns1123_label);
}
