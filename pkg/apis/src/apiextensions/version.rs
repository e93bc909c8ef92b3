//! Versions of a CustomResourceDefinition: deprecation, subresources, columns, selectable fields.
//!
//! What all versions have alike is checked once, under the paths of upstream's internal form (`spec.validation`,
//! `spec.subresources`, `spec.additionalPrinterColumns`): those are the paths that clients see.

use apimachinery::field::{Error, ErrorList, Path};
use serde_json::Value;

use super::path::{self, Brackets};
use super::schema;
use crate::check;
use crate::tree::Tree;

/// The value of `field` that all versions share; `Null` if they differ or have none.
fn shared<'a>(spec: &'a Value, field: &str) -> &'a Value {
    let versions = spec.list("versions");
    let first = versions.first().map_or(&Value::Null, |v| v.field(field));
    if versions.iter().all(|v| v.field(field) == first) { first } else { &Value::Null }
}

/// A schema that no version of the definition had before an update.
fn is_new(schema: &Value, old: Option<&Value>) -> bool {
    old.is_none_or(|old| old.list("versions").iter().all(|version| version.field("schema") != schema))
}

/// What one version has for itself; `old` is the spec before an update.
pub fn validate(errors: &mut ErrorList, at: &Path, version: &Value, spec: &Value, old: Option<&Value>) {
    deprecation(errors, &at.child("deprecationWarning"), version);
    let own = |field: &str| if shared(spec, field).is_null() { version.field(field) } else { &Value::Null };
    let subresources = version.field("subresources");
    let schema = own("schema");
    schema::validate(errors, &at.child("schema"), schema, subresources.has("status"), is_new(schema, old));
    scale(errors, &at.child("subresources").child("scale"), own("subresources"));
    columns(errors, &at.child("additionalPrinterColumns"), own("additionalPrinterColumns"));
    if shared(spec, "selectableFields").is_null() {
        // As upstream says it, although it means the opposite.
        let why = "selectableFields may only be set when version.schema.openAPIV3Schema is not included";
        selectable(errors, &at.child("selectableFields"), version, why);
    }
}

/// What all versions have in common.
pub fn common(errors: &mut ErrorList, at: &Path, spec: &Value, old: Option<&Value>) {
    let has_status = spec.list("versions").iter().any(|v| v.field("subresources").has("status"));
    let schema = shared(spec, "schema");
    schema::validate(errors, &at.child("validation"), schema, has_status, is_new(schema, old));
    scale(errors, &at.child("subresources").child("scale"), shared(spec, "subresources"));
    columns(errors, &at.child("additionalPrinterColumns"), shared(spec, "additionalPrinterColumns"));
    if let (false, Some(first)) = (shared(spec, "selectableFields").is_null(), spec.list("versions").first()) {
        let why = "selectableFields may only be set when validations.schema is included";
        selectable(errors, &at.child("selectableFields"), first, why);
    }
}

fn deprecation(errors: &mut ErrorList, at: &Path, version: &Value) {
    const WARNING_MAX: usize = 256;
    let Some(warning) = version.field("deprecationWarning").as_str() else { return };
    let mut refuse = |why: String| errors.push(Error::invalid(at, warning, why));
    if !version.flag("deprecated") {
        refuse("can only be set for deprecated versions".to_owned());
        return;
    }
    if warning.len() > WARNING_MAX {
        refuse(format!("must be <= {WARNING_MAX} characters long"));
    }
    if warning.is_empty() {
        refuse("must not be an empty string".to_owned());
    }
    if let Some((i, _)) = warning.char_indices().find(|(_, c)| c.is_control() || (c.is_whitespace() && *c != ' ')) {
        let why = "must only contain printable UTF-8 characters; non-printable character found at index";
        refuse(format!("{why} {i}"));
    }
}

/// `.spec.replicas` and the like.
fn simple_path(errors: &mut ErrorList, at: &Path, path: &str, roots: &[&str], why: &str) {
    if !path.starts_with('.') {
        errors.push(Error::invalid(at, path, "must be a simple json path starting with ."));
    } else if !roots.is_empty() && !roots.iter().any(|root| path.starts_with(root)) {
        errors.push(Error::invalid(at, path, why));
    }
}

fn scale(errors: &mut ErrorList, at: &Path, subresources: &Value) {
    let scale = subresources.field("scale");
    if scale.is_null() {
        return;
    }
    for (field, root, why) in [
        ("specReplicasPath", ".spec.", "should be a json path under .spec"),
        ("statusReplicasPath", ".status.", "should be a json path under .status"),
    ] {
        match scale.text(field) {
            "" => errors.push(Error::required(&at.child(field), "")),
            path => simple_path(errors, &at.child(field), path, &[root], why),
        }
    }
    let path = scale.text("labelSelectorPath");
    if !path.is_empty() {
        let why = "should be a json path under either .spec or .status";
        simple_path(errors, &at.child("labelSelectorPath"), path, &[".spec.", ".status."], why);
    }
}

fn columns(errors: &mut ErrorList, at: &Path, columns: &Value) {
    const TYPES: &[&str] = &["boolean", "date", "integer", "number", "string"];
    const FORMATS: &[&str] = &["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];
    for (i, column) in columns.as_array().into_iter().flatten().enumerate() {
        let at = at.index(i);
        let one_of = |known: &[&str]| format!("must be one of {}", known.join(","));
        check::required(errors, &at, column, "name");
        let (kind, format, path) = (column.text("type"), column.text("format"), column.text("jsonPath"));
        if kind.is_empty() {
            errors.push(Error::required(&at.child("type"), one_of(TYPES)));
        } else if !TYPES.contains(&kind) {
            errors.push(Error::invalid(&at.child("type"), kind, one_of(TYPES)));
        }
        if !format.is_empty() && !FORMATS.contains(&format) {
            errors.push(Error::invalid(&at.child("format"), format, one_of(FORMATS)));
        }
        if path.is_empty() {
            errors.push(Error::required(&at.child("JSONPath"), ""));
        } else {
            simple_path(errors, &at.child("JSONPath"), path, &[], "");
        }
    }
}

/// Fields that objects can be selected by: scalars of the schema. `why`: what is said of fields without a schema.
fn selectable(errors: &mut ErrorList, at: &Path, version: &Value, why: &str) {
    const FIELDS_MAX: usize = 8;
    let (schema, fields) = (version.field("schema").field("openAPIV3Schema"), version.list("selectableFields"));
    if schema.is_null() && !fields.is_empty() {
        errors.push(Error::invalid(at, "", why));
        return;
    }
    let mut seen: Vec<&str> = Vec::new();
    for (i, field) in fields.iter().enumerate() {
        let (at, path) = (at.index(i).child("jsonPath"), field.text("jsonPath"));
        if path.is_empty() {
            errors.push(Error::required(&at, ""));
            continue;
        }
        let target = match path::find(schema, path, Brackets::Forbidden) {
            Ok(target) => target,
            Err(why) => {
                errors.push(Error::invalid(&at, path, format!("is an invalid path: {why}")));
                continue;
            }
        };
        if path == ".metadata" || path.starts_with(".metadata.") {
            errors.push(Error::invalid(&at, path, "must not point to fields in metadata"));
        }
        if !matches!(target.text("type"), "string" | "boolean" | "integer") {
            let why = "must point to a field of type string, boolean or integer. Enum string fields and strings with \
                       formats are allowed.";
            errors.push(Error::invalid(&at, path, why));
        }
        if seen.contains(&path) {
            errors.push(Error::duplicate(&at, path));
        } else {
            seen.push(path);
        }
    }
    if seen.len() > FIELDS_MAX {
        errors.push(Error::too_many(at, seen.len(), FIELDS_MAX));
    }
}
