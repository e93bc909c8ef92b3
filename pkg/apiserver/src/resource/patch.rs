//! The kinds of patches, as functions of the current object.

use apimachinery::decode::{ContentType, decode as decode_bytes};
use apimachinery::patch::{json_patch, merge_patch, strategic};
use apimachinery::{ApiError, ApiResult, GroupVersionKind, field};
use apis::schema;
use bytes::Bytes;
use serde_json::Value;

use super::decode::{Misfit, media_type, settle, unsupported};
use super::go;
use super::options::{FieldValidation, field_validation};
use crate::context::Context;

enum Operation {
    Json(Bytes),
    Merge(Value),
    Strategic(Value),
}

/// A patch that was read and can be applied any number of times.
pub struct Patch {
    operation: Operation,
    kind: GroupVersionKind,
    duplicates: Vec<String>,
    validation: FieldValidation,
}

const ACCEPTED: &str =
    "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json";

impl Patch {
    pub fn read(context: &Context<'_>, kind: &GroupVersionKind, bytes: &Bytes) -> ApiResult<Self> {
        let validation = field_validation(context)?;
        let media = media_type(context);
        if media == "application/json-patch+json" {
            let operation = Operation::Json(bytes.clone());
            return Ok(Self { operation, kind: kind.clone(), duplicates: Vec::new(), validation });
        }
        let make = match media {
            "application/merge-patch+json" => Operation::Merge,
            "application/strategic-merge-patch+json" => Operation::Strategic,
            "application/apply-patch+yaml" => {
                return Err(ApiError::unsupported_media_type(
                    "server-side apply is not served yet: use client-side apply (kubectl apply --server-side=false)",
                ));
            }
            _ => return Err(unsupported(ACCEPTED)),
        };
        let decoded = decode_bytes(bytes, ContentType::Json)?;
        Ok(Self { operation: make(decoded.object), kind: kind.clone(), duplicates: decoded.duplicates, validation })
    }

    /// The patched object, and what to warn about.
    pub fn apply(&self, mut current: Value) -> ApiResult<(Value, Vec<String>)> {
        match &self.operation {
            Operation::Json(patch) => json_patch(&mut current, patch)?,
            Operation::Merge(patch) => merge_patch(&mut current, patch)?,
            Operation::Strategic(patch) => {
                let root = schema::type_of(&self.kind).ok_or_else(|| unsupported(ACCEPTED))?;
                strategic::merge(&mut current, patch.clone(), &schema::Schema, root)?;
            }
        }
        match settle(&mut current, &self.kind, &self.duplicates, self.validation) {
            Ok(warnings) => Ok((current, warnings)),
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
        let value = strategic.map_or_else(|| result.to_string(), go::text);
        let error = field::Error::invalid(&field::Path::new("patch"), value, why);
        ApiError::invalid(&GroupVersionKind::new("", "", ""), "", &vec![error])
    }
}
