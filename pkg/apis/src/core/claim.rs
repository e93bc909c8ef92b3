//! PersistentVolumeClaims, in themselves and as templates of StatefulSets and ephemeral volumes.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::is_dns1123_subdomain;
use serde_json::Value;

use crate::check;
use crate::podspec::warnings::fractional;
use crate::quantity;
use crate::tree::Tree;

pub const ACCESS_MODES: &[&str] = &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

/// Access modes of a claim or a volume.
pub fn access_modes(errors: &mut ErrorList, owner: &Path, spec: &Value) {
    let at = owner.child("accessModes");
    for mode in spec.texts("accessModes").filter(|m| !ACCESS_MODES.contains(m)) {
        errors.push(Error::not_supported(&at, mode, ACCESS_MODES));
    }
    if spec.list("accessModes").len() > 1 && spec.texts("accessModes").any(|m| m == "ReadWriteOncePod") {
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
    let requests = spec.field("resources").field("requests");
    match requests.field("storage") {
        Value::Null => errors.push(Error::required(&storage, "")),
        value => match quantity::parse(value) {
            Some(amount) if amount.is_negative() || amount.is_zero() => {
                errors.push(Error::invalid(&storage, amount.to_string(), "must be greater than zero"));
            }
            Some(_) => {}
            None => errors.push(Error::invalid(&storage, value.clone(), "must be a quantity")),
        },
    }
    for field in ["storageClassName", "volumeAttributesClassName"] {
        check::optional_text(errors, at, spec, field, is_dns1123_subdomain);
    }
    check::optional_choice(errors, at, spec, "volumeMode", &["Block", "Filesystem"]);
    for field in ["dataSource", "dataSourceRef"] {
        if spec.has(field) {
            data_source(errors, &at.child(field), spec.field(field));
        }
    }
}

/// What the author of a claim or claim template is warned of.
pub fn spec_warnings(warnings: &mut Vec<String>, at: &Path, spec: &Value) {
    let storage = spec.field("resources").field("requests").field("storage");
    fractional(warnings, || at.child("resources").child("requests").key("storage"), storage);
}

fn data_source(errors: &mut ErrorList, at: &Path, source: &Value) {
    check::required(errors, at, source, "name");
    check::required(errors, at, source, "kind");
    let kind = source.text("kind");
    if source.text("apiGroup").is_empty() && kind != "PersistentVolumeClaim" {
        let why = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
        errors.push(Error::invalid(at, kind, why));
    }
}
