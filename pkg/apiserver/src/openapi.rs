//! `/openapi/v2` and `/openapi/v3`.

use std::sync::LazyLock;

use apimachinery::{ApiError, ApiResult};
use apis::openapi::{Document, V2_PROTOBUF_ACCEPTED, V2_PROTOBUF_TYPE};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING};
use http::{HeaderValue, StatusCode};

use crate::context::Context;
use crate::discovery::{hash_tag, tagged};
use crate::http::compress::accepts_gzip;
use crate::http::negotiate;
use crate::http::respond::Response;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const V2_PROTOBUF: HeaderValue = HeaderValue::from_static(V2_PROTOBUF_TYPE);

static INDEX: LazyLock<Bytes> = LazyLock::new(|| apis::openapi::v3_index().to_string().into());

pub fn serve(context: &Context<'_>, path: &str) -> ApiResult<Response> {
    if path == "/openapi/v2" {
        return v2(context);
    }
    if !accepts_json(context) {
        return Err(negotiate::not_acceptable());
    }
    match path {
        "/openapi/v3" => Ok(tagged(context, &INDEX, &hash_tag(&INDEX), JSON)),
        _ => {
            let group_version = path.strip_prefix("/openapi/v3/").ok_or_else(ApiError::page_not_found)?;
            let document = apis::openapi::v3(group_version).ok_or_else(ApiError::page_not_found)?;
            let mut response = embedded(context, document, JSON)?;
            if context.query.get("hash") == document.hash {
                // The hash is part of the URL: what it names never changes.
                let forever = HeaderValue::from_static("public, immutable");
                response.headers_mut().insert(CACHE_CONTROL, forever);
            }
            Ok(response)
        }
    }
}

/// The whole document, in the first form of Accept that it has.
fn v2(context: &Context<'_>) -> ApiResult<Response> {
    let accept = negotiate::accept(context.headers());
    for entry in negotiate::entries(accept) {
        if V2_PROTOBUF_ACCEPTED.contains(&entry.kind) {
            return embedded(context, apis::openapi::v2_protobuf(), V2_PROTOBUF);
        }
        if is_json(entry.kind) {
            return embedded(context, apis::openapi::v2(), JSON);
        }
    }
    Err(negotiate::not_acceptable())
}

/// The documents of v3 are JSON; clients that ask for protobuf first name JSON, too, or anything.
fn accepts_json(context: &Context<'_>) -> bool {
    negotiate::entries(negotiate::accept(context.headers())).any(|entry| is_json(entry.kind))
}

/// True for JSON by any name; no Accept at all is one entry without a kind.
fn is_json(kind: &str) -> bool {
    matches!(kind, "" | "application/json" | "*/*" | "application/*")
}

/// A document that is kept compressed.
fn embedded(context: &Context<'_>, document: &Document, kind: HeaderValue) -> ApiResult<Response> {
    let etag = HeaderValue::from_str(&format!("\"{}\"", document.hash)).map_err(ApiError::internal)?;
    if accepts_gzip(context.headers()) {
        let mut response = tagged(context, &Bytes::from_static(document.gzip), &etag, kind);
        if response.status() == StatusCode::OK {
            response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        return Ok(response);
    }
    let mut plain = Vec::new();
    let mut reader = flate2::read::GzDecoder::new(document.gzip);
    std::io::Read::read_to_end(&mut reader, &mut plain).map_err(ApiError::internal)?;
    Ok(tagged(context, &plain.into(), &etag, kind))
}
