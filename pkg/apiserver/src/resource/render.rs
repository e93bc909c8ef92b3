//! Objects as answers: the stored bytes as they are, or what was asked to be made of them.

use apimachinery::meta::ObjectExt as _;
use apimachinery::{ApiError, ApiResult, GroupVersion};
use bytes::Bytes;
use http::StatusCode;
use registry::Found;
use serde_json::{Value, json};

use super::table;
use crate::context::Context;
use crate::http::negotiate::{Form, Format, Media};
use crate::http::respond::{self, Response};

/// True if stored bytes are what the client wants to read.
pub fn is_verbatim(found: Found, media: Media) -> bool {
    found.is_stored_form() && media == Media { format: Format::Json, form: Form::Whole, pretty: false }
}

/// Answers one object, given as stored.
pub fn object(context: &Context<'_>, found: Found, body: Bytes, code: StatusCode, media: Media) -> ApiResult<Response> {
    if is_verbatim(found, media) {
        return Ok(respond::json_bytes(code, body));
    }
    tree(context, found, tree_of(found, &body)?, code, media)
}

/// The same for a tree in the version that was asked for.
pub fn tree(context: &Context<'_>, found: Found, tree: Value, code: StatusCode, media: Media) -> ApiResult<Response> {
    let answer = match media.form {
        Form::Whole => tree,
        Form::Partial => partial(&tree),
        Form::Table => table::of(found, table::Rows::from_query(context)?, std::slice::from_ref(&tree), true, &tree),
        Form::PartialList => return Err(crate::http::negotiate::not_acceptable()),
    };
    respond::value(code, &answer, media)
}

/// A stored object as a tree in the version that was asked for.
pub fn tree_of(found: Found, body: &[u8]) -> ApiResult<Value> {
    let mut tree: Value = serde_json::from_slice(body).map_err(ApiError::internal)?;
    if !found.is_stored_form() {
        registry::to_version(found.resource, &mut tree, found.version);
    }
    Ok(tree)
}

/// Only who it is, not what it says.
pub fn partial(tree: &Value) -> Value {
    json!({
        "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
        "metadata": tree.at("metadata").cloned().unwrap_or_else(|| json!({})),
    })
}

/// `apiVersion` of the answers for this path.
pub fn api_version(found: Found) -> String {
    GroupVersion::new(found.resource.group, found.version).to_string()
}
