//! `/openapi/v2` and `/openapi/v3`.

use std::sync::LazyLock;

use apimachinery::{ApiError, ApiResult};
use apis::openapi::Document;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING};
use http::{HeaderValue, StatusCode};

use crate::context::Context;
use crate::discovery::{hash_tag, tagged};
use crate::http::compress::accepts_gzip;
use crate::http::negotiate;
use crate::http::respond::Response;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

static INDEX: LazyLock<Bytes> = LazyLock::new(|| apis::openapi::v3_index().to_string().into());

pub fn serve(context: &Context<'_>, path: &str) -> ApiResult<Response> {
    if !accepts_json(context) {
        return Err(negotiate::not_acceptable());
    }
    match path {
        "/openapi/v2" => embedded(context, apis::openapi::v2()),
        "/openapi/v3" => Ok(tagged(context, &INDEX, &hash_tag(&INDEX), JSON)),
        _ => {
            let group_version = path.strip_prefix("/openapi/v3/").ok_or_else(ApiError::page_not_found)?;
            let document = apis::openapi::v3(group_version).ok_or_else(ApiError::page_not_found)?;
            let mut response = embedded(context, document)?;
            if context.query.get("hash") == document.hash {
                // The hash is part of the URL: what it names never changes.
                let forever = HeaderValue::from_static("public, immutable");
                response.headers_mut().insert(CACHE_CONTROL, forever);
            }
            Ok(response)
        }
    }
}

/// The documents are JSON; clients that ask for protobuf first name JSON, too, or anything.
fn accepts_json(context: &Context<'_>) -> bool {
    let accept = negotiate::accept(context.headers());
    accept.is_empty()
        || negotiate::entries(accept).any(|entry| matches!(entry.kind, "application/json" | "*/*" | "application/*"))
}

/// A document that is kept compressed.
fn embedded(context: &Context<'_>, document: &Document) -> ApiResult<Response> {
    let etag = HeaderValue::from_str(&format!("\"{}\"", document.hash)).map_err(ApiError::internal)?;
    if accepts_gzip(context.headers()) {
        let mut response = tagged(context, &Bytes::from_static(document.gzip), &etag, JSON);
        if response.status() == StatusCode::OK {
            response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        return Ok(response);
    }
    let mut plain = Vec::new();
    let mut reader = flate2::read::GzDecoder::new(document.gzip);
    std::io::Read::read_to_end(&mut reader, &mut plain).map_err(ApiError::internal)?;
    Ok(tagged(context, &plain.into(), &etag, JSON))
}
