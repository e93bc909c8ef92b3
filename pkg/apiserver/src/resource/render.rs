//! Objects as answers: the stored bytes as they are, their protobuf form that is kept with them, or what was asked to be
//! made of them.

use apimachinery::meta::ObjectExt as _;
use apimachinery::{ApiError, ApiResult, GroupVersion};
use apis::schema::Type;
use apis::schema::protobuf::{self, Envelope};
use bytes::Bytes;
use http::StatusCode;
use registry::{Found, StoredObject};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::table;
use crate::context::Context;
use crate::http::negotiate::{Form, Format, Media, MetaVersion, Offer, negotiate_offer};
use crate::http::respond::{self, Response};

/// Picks the media of an answer in a resource's own kind.
pub fn negotiate(context: &Context<'_>, found: Found, stream: bool) -> ApiResult<Media> {
    let offer = Offer { forms: true, protobuf: type_of(found).is_some(), stream };
    negotiate_offer(context.headers(), &context.query, offer)
}

/// The type of the objects; `None` if the table does not have it, and so no form in protobuf.
pub fn type_of(found: Found) -> Option<Type> {
    Type::lookup(found.resource.group, found.version, found.resource.kind)
}

/// True if stored bytes are what the client wants to read.
pub fn is_verbatim(found: Found, media: Media) -> bool {
    found.is_stored_form() && media.format == Format::Json && media.form == Form::Whole && !media.pretty
}

/// True if whole objects in protobuf are wanted, which are kept with the stored ones or made of them.
pub fn is_message(media: Media) -> bool {
    media.format == Format::Protobuf && media.form == Form::Whole
}

/// The message of a stored object in the version that was asked for: the one that is kept, if it is the stored version.
pub fn message(found: Found, stored: &StoredObject) -> ApiResult<Bytes> {
    let type_ = type_of(found).ok_or_else(ApiError::page_not_found)?;
    if found.is_stored_form() {
        return Ok(stored.encoding(|stored| protobuf::message(type_, &stored.decode()).into()));
    }
    Ok(protobuf::message(type_, &tree_of(found, stored.body())?).into())
}

/// Answers one stored object.
pub fn stored(
    context: &Context<'_>,
    found: Found,
    stored: &StoredObject,
    code: StatusCode,
    media: Media,
) -> ApiResult<Response> {
    if !is_message(media) {
        return object(context, found, stored.body().clone(), code, media);
    }
    let message = message(found, stored)?;
    let envelope = Envelope { api_version: &api_version(found), kind: found.resource.kind };
    Ok(respond::protobuf_bytes(code, envelope.around(&message)))
}

/// Answers one object, given as stored bytes.
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
        Form::Partial => partial(&tree, media.version),
        Form::Table => {
            let options = table::Options::from_query(context, media.version)?;
            table::of(found, options, std::slice::from_ref(&tree), &tree)
        }
        Form::PartialList => {
            let name = go_type(found, "");
            return Err(ApiError::not_acceptable(format!(
                "you requested PartialObjectMetadataList, but the requested object is not a list ({name})"
            )));
        }
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

/// The package of upstream's internal types of a group; both groups of events have one.
pub fn go_package(group: &str) -> &str {
    match group {
        "" | "events.k8s.io" => "core",
        group => group.split('.').next().unwrap_or(group),
    }
}

/// What Go calls the type of the objects, or with the suffix `List` of their lists.
pub fn go_type(found: Found, suffix: &str) -> String {
    format!("*{}.{}{suffix}", go_package(found.resource.group), found.resource.kind)
}

/// True if what is wanted is the metadata of stored objects, which is cut out of their bytes.
pub fn is_cut(found: Found, media: Media) -> bool {
    found.is_stored_form() && media.format == Format::Json && media.form == Form::Partial && !media.pretty
}

/// [`partial`] of a stored object, without making a tree of it.
pub fn cut(body: &[u8], version: MetaVersion) -> ApiResult<Vec<u8>> {
    #[derive(Deserialize)]
    struct Stored<'a> {
        #[serde(borrow)]
        metadata: Option<&'a RawValue>,
    }
    let stored: Stored<'_> = serde_json::from_slice(body).map_err(ApiError::internal)?;
    let (metadata, version) = (stored.metadata.map_or("{}", RawValue::get), version.api_version());
    let whole = format!(r#"{{"apiVersion":"{version}","kind":"PartialObjectMetadata","metadata":{metadata}}}"#);
    Ok(whole.into_bytes())
}

/// Only who it is, not what it says.
pub fn partial(tree: &Value, version: MetaVersion) -> Value {
    json!({
        "apiVersion": version.api_version(), "kind": "PartialObjectMetadata",
        "metadata": tree.at("metadata").cloned().unwrap_or_else(|| json!({})),
    })
}

/// `apiVersion` of the answers for this path.
pub fn api_version(found: Found) -> String {
    GroupVersion::new(found.resource.group, found.version).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_that_is_cut_out_is_what_a_tree_would_give() {
        let object = json!({
            "apiVersion": "v1", "data": { "metadata": "\"}" }, "kind": "ConfigMap",
            "metadata": { "name": "a\u{7}\"", "labels": { "x": "y" }, "managedFields": [{ "fieldsV1": { "f:data": {} } }] },
        });
        for (object, version) in [(object, MetaVersion::V1), (json!({ "kind": "X" }), MetaVersion::V1Beta1)] {
            let cut = cut(object.to_string().as_bytes(), version).unwrap();
            assert_eq!(String::from_utf8(cut).unwrap(), partial(&object, version).to_string());
        }
        assert!(cut(b"{", MetaVersion::V1).is_err());
    }
}
