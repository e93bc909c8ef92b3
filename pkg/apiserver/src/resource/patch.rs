//! The kinds of patches, as functions of the current object.

use apimachinery::decode::{ContentType, decode as decode_bytes};
use apimachinery::managed::go_text;
use apimachinery::patch::{JsonPatch, PatchType, merge_patch, strategic};
use apimachinery::{ApiError, ApiResult, GroupVersionKind, field};
use apis::schema;
use bytes::Bytes;
use serde_json::Value;

use super::decode::{Misfit, Repeated, media_type, settle, unsupported};
use super::go;
use super::options::{FieldValidation, field_validation, invalid};
use crate::context::Context;

enum Operation {
    Json(JsonPatch),
    Merge(Value),
    Strategic(Value),
}

/// A patch that was read and can be applied any number of times.
pub struct Patch {
    operation: Operation,
    kind: GroupVersionKind,
    repeated: Repeated,
    /// What strict validation says about the operations of a JSON patch themselves.
    faults: Vec<String>,
    validation: FieldValidation,
}

const ACCEPTED: &str = "application/json-patch+json, application/merge-patch+json, \
                        application/strategic-merge-patch+json, application/apply-patch+yaml";

/// What kind of patch the body is.
pub fn type_of(context: &Context<'_>) -> ApiResult<PatchType> {
    PatchType::from_content_type(media_type(context)).ok_or_else(|| unsupported(ACCEPTED))
}

impl Patch {
    /// Reads a patch of any kind but server-side apply, which is a [`Configuration`].
    pub fn read(context: &Context<'_>, kind: &GroupVersionKind, bytes: &Bytes) -> ApiResult<Self> {
        let validation = field_validation(context);
        if context.query.find("force").is_some() {
            let why = "may not be specified for non-apply patch";
            return Err(invalid("PatchOptions", field::Error::forbidden(&field::Path::new("force"), why)));
        }
        let (operation, duplicates) = match type_of(context)? {
            PatchType::Json => (Operation::Json(JsonPatch::parse(bytes)?), Vec::new()),
            PatchType::Merge => {
                let decoded = decode_bytes(bytes, ContentType::Json)?;
                (Operation::Merge(decoded.object), decoded.duplicates)
            }
            PatchType::Strategic => {
                let decoded = decode_bytes(bytes, ContentType::Json)?;
                (Operation::Strategic(decoded.object), decoded.duplicates)
            }
            PatchType::Apply => return Err(unsupported(ACCEPTED)),
        };
        let strict = validation != FieldValidation::Ignore && matches!(operation, Operation::Json(_));
        let faults = if strict { operation_faults(bytes)? } else { Vec::new() };
        let repeated = Repeated::Paths(duplicates);
        Ok(Self { operation, kind: kind.clone(), repeated, faults, validation })
    }

    /// The patched object, and what to warn about.
    pub fn apply(&self, mut current: Value) -> ApiResult<(Value, Vec<String>)> {
        match &self.operation {
            Operation::Json(patch) => patch.apply(&mut current)?,
            Operation::Merge(patch) => merge_patch(&mut current, patch)?,
            Operation::Strategic(patch) => {
                let root = schema::type_of(&self.kind).ok_or_else(|| unsupported(ACCEPTED))?;
                strategic::merge(&mut current, patch.clone(), &schema::Schema, root)?;
            }
        }
        let with_faults = |texts: Vec<String>| self.faults.iter().cloned().chain(texts).collect();
        match settle(&mut current, &self.kind, &self.repeated, self.validation) {
            Ok(_) if self.validation == FieldValidation::Strict && !self.faults.is_empty() => {
                Err(self.refusal(&current, Misfit::Strict(self.faults.clone())))
            }
            Ok(warnings) => Ok((current, with_faults(warnings))),
            Err(Misfit::Strict(texts)) => Err(self.refusal(&current, Misfit::Strict(with_faults(texts)))),
            Err(misfit) => Err(self.refusal(&current, misfit)),
        }
    }

    /// The result is no object of the kind: the patch is at fault. A strategic one is shown as it came, the others by what
    /// they made.
    fn refusal(&self, result: &Value, misfit: Misfit) -> ApiError {
        let strategic = match &self.operation {
            Operation::Strategic(patch) => Some(patch),
            _ => None,
        };
        let why = match misfit {
            Misfit::Type(why) if strategic.is_some() => go::restore_error(&why).unwrap_or(why),
            Misfit::Type(why) => why,
            Misfit::Strict(texts) => format!("strict decoding error: {}", texts.join(", ")),
        };
        let value = strategic.map_or_else(|| result.to_string(), go_text);
        let error = field::Error::invalid(&field::Path::new("patch"), value, why);
        ApiError::invalid(&GroupVersionKind::new("", "", ""), "", &vec![error])
    }
}

/// Members of operations that JSON patch does not have, and those that stand twice.
fn operation_faults(bytes: &Bytes) -> ApiResult<Vec<String>> {
    let decoded = decode_bytes(bytes, ContentType::Json)?;
    let operations = decoded.object.as_array().into_iter().flatten().enumerate();
    let unknown: Vec<String> = operations
        .flat_map(|(i, operation)| operation.as_object().into_iter().flatten().map(move |(name, _)| (i, name)))
        .filter(|(_, name)| !matches!(name.as_str(), "op" | "path" | "from" | "value"))
        .map(|(i, name)| format!("[{i}].{name}"))
        .collect();
    // Below the values nothing is looked at.
    let of_operation = |path: &String| path.matches(['.', '[']).count() == 2;
    let duplicates: Vec<String> = decoded.duplicates.into_iter().filter(of_operation).collect();
    Ok(schema::strict_messages(&unknown, &duplicates).into_iter().map(|text| format!("json patch {text}")).collect())
}

/// The body of a server-side apply, and how it is meant.
pub struct Configuration {
    /// As it was written: what it does not name is not its business.
    pub object: Value,
    pub force: bool,
    repeated: Repeated,
    validation: FieldValidation,
}

impl Configuration {
    /// Reads YAML or JSON.
    pub fn read(context: &Context<'_>, bytes: &Bytes) -> ApiResult<Self> {
        let validation = field_validation(context);
        if context.query.get("fieldManager").is_empty() {
            let path = field::Path::new("fieldManager");
            return Err(invalid("PatchOptions", field::Error::required(&path, "is required for apply patch")));
        }
        // Most clients write JSON, which is read faster as such.
        let json =
            bytes.first().filter(|first| **first == b'{').and_then(|_| decode_bytes(bytes, ContentType::Json).ok());
        let refused = |why: &str| ApiError::bad_request(format!("error decoding YAML: {why}"));
        let decoded = match json {
            Some(decoded) => decoded,
            None => decode_bytes(bytes, ContentType::Yaml).map_err(|error| refused(error.message()))?,
        };
        if !decoded.object.is_object() {
            return Err(refused("error unmarshaling JSON: the document is not a map"));
        }
        let force = context.query.is_true("force");
        // What is JSON is read as YAML, too.
        let repeated = Repeated::in_yaml(decoded.duplicates, bytes);
        Ok(Self { object: decoded.object, force, repeated, validation })
    }

    /// What to warn about; keys that stand twice are refused if that was asked for.
    pub fn warnings(&self) -> ApiResult<Vec<String>> {
        match (self.validation, self.repeated.yaml_error()) {
            (FieldValidation::Strict, Some(why)) => {
                Err(ApiError::bad_request(format!("error strict decoding YAML: error converting YAML to JSON: {why}")))
            }
            (FieldValidation::Warn, _) => Ok(self.repeated.warnings(&[])),
            _ => Ok(Vec::new()),
        }
    }
}
