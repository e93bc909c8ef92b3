//! A request body as an object of a kind, with the errors that upstream gives.

use apimachinery::decode::{ContentType, STRICT_ERRORS_MAX, decode as decode_tree};
use apimachinery::{ApiError, ApiResult, GroupVersionKind};
use serde_json::Value;

use super::conform::conform;

/// Reads a body of the given kind: conformed object, and messages of strict validation (`unknown field "spec.foo"`).
/// `apiVersion` and `kind` of the body are the caller's to compare.
pub fn decode(gvk: &GroupVersionKind, body: &[u8], content_type: ContentType) -> ApiResult<(Value, Vec<String>)> {
    let decoded = decode_tree(body, content_type)?;
    let mut object = decoded.object;
    let unknown = conform(gvk, &mut object).map_err(|e| decode_error(gvk, &e))?;
    Ok((object, strict_messages(&unknown, &decoded.duplicates)))
}

/// `Deployment in version "v1" cannot be handled as a Deployment: <why>`.
pub fn decode_error(gvk: &GroupVersionKind, why: &str) -> ApiError {
    let (kind, version) = (&gvk.kind, &gvk.version);
    ApiError::bad_request(format!("{kind} in version {version:?} cannot be handled as a {kind}: {why}"))
}

/// The refusal of strict field validation.
pub fn strict_error(gvk: &GroupVersionKind, messages: &[String]) -> ApiError {
    decode_error(gvk, &format!("strict decoding error: {}", messages.join(", ")))
}

/// Messages for paths of unknown and duplicate fields; each is also the text of a Warning header.
pub fn strict_messages(unknown: &[String], duplicates: &[String]) -> Vec<String> {
    let unknown = unknown.iter().map(|path| format!("unknown field {path:?}"));
    let duplicates = duplicates.iter().map(|path| format!("duplicate field {path:?}"));
    unknown.chain(duplicates).take(STRICT_ERRORS_MAX).collect()
}
