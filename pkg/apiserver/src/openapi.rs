//! `/openapi/v2` and `/openapi/v3`: documents that lie packed in static memory and are sent as they are.

use std::sync::LazyLock;

use apimachinery::{ApiError, ApiResult};
use apis::openapi::{Document, V2_PROTOBUF_SUBTYPES, V3_PROTOBUF_SUBTYPES};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, EXPIRES, LOCATION};
use http::{HeaderValue, StatusCode};
use jiff::{Timestamp, ToSpan as _};

use crate::context::Context;
use crate::discovery::{hash_tag, tagged};
use crate::http::accept::entries;
use crate::http::compress::accepts_gzip;
use crate::http::negotiate;
use crate::http::respond::{self, Response};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const V2_PROTOBUF: HeaderValue = HeaderValue::from_static(apis::openapi::V2_PROTOBUF_TYPE);
const V3_PROTOBUF: HeaderValue = HeaderValue::from_static(apis::openapi::V3_PROTOBUF_TYPE);

static INDEX: LazyLock<Bytes> = LazyLock::new(|| apis::openapi::v3_index().to_string().into());

/// How a document is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Protobuf,
}

pub fn serve(context: &Context<'_>, path: &str) -> ApiResult<Response> {
    match path {
        "/openapi/v2" => v2(context),
        "/openapi/v3" => {
            form(context, &[])?;
            Ok(tagged(context, &INDEX, &hash_tag(&INDEX), JSON))
        }
        _ => {
            let group_version = path.strip_prefix("/openapi/v3/").ok_or_else(ApiError::page_not_found)?;
            v3(context, group_version)
        }
    }
}

/// The first form of Accept that there is. JSON also stands for anything.
fn form(context: &Context<'_>, protobuf: &[&str]) -> ApiResult<Form> {
    let accept = negotiate::accept(context.headers());
    if accept.is_empty() {
        return Ok(Form::Json);
    }
    for entry in entries(accept) {
        if entry.matches("application", "json") {
            return Ok(Form::Json);
        }
        if protobuf.iter().any(|subtype| entry.matches("application", subtype)) {
            return Ok(Form::Protobuf);
        }
    }
    Err(negotiate::not_acceptable(negotiate::MEDIA_TYPES))
}

/// Everything in one document.
fn v2(context: &Context<'_>) -> ApiResult<Response> {
    match form(context, &V2_PROTOBUF_SUBTYPES)? {
        Form::Json => embedded(context, apis::openapi::v2(), apis::openapi::v2().json, JSON),
        Form::Protobuf => embedded(context, apis::openapi::v2(), apis::openapi::v2().protobuf, V2_PROTOBUF),
    }
}

/// The document of one group version.
fn v3(context: &Context<'_>, group_version: &str) -> ApiResult<Response> {
    let document = apis::openapi::v3(group_version).ok_or_else(ApiError::page_not_found)?;
    let form = form(context, &V3_PROTOBUF_SUBTYPES)?;
    let hash = context.query.get("hash");
    if !hash.is_empty() && hash != document.hash {
        let mut response = respond::text(StatusCode::MOVED_PERMANENTLY, Bytes::new());
        let place = HeaderValue::from_str(&document.v3_url()).map_err(ApiError::internal)?;
        response.headers_mut().insert(LOCATION, place);
        return Ok(response);
    }
    let (gzip, kind) = match form {
        Form::Json => (document.json, JSON),
        Form::Protobuf => (document.protobuf, V3_PROTOBUF),
    };
    let mut response = embedded(context, document, gzip, kind)?;
    if !hash.is_empty() {
        // The hash is part of the URL: what it names never changes.
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
        headers.insert(EXPIRES, next_year()?);
    }
    Ok(response)
}

/// A year from now, as HTTP writes it: the longest that anything may be kept.
fn next_year() -> ApiResult<HeaderValue> {
    let at = Timestamp::now().saturating_add((365 * 24).hours()).map_err(ApiError::internal)?;
    let text = at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    HeaderValue::from_str(&text).map_err(ApiError::internal)
}

/// A document that is kept compressed.
fn embedded(context: &Context<'_>, document: &Document, gzip: &'static [u8], kind: HeaderValue) -> ApiResult<Response> {
    let etag = HeaderValue::from_str(&format!("\"{}\"", document.hash)).map_err(ApiError::internal)?;
    if accepts_gzip(context.headers()) {
        let mut response = tagged(context, &Bytes::from_static(gzip), &etag, kind);
        if response.status() == StatusCode::OK {
            response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        return Ok(response);
    }
    let mut plain = Vec::new();
    let mut reader = flate2::read::GzDecoder::new(gzip);
    std::io::Read::read_to_end(&mut reader, &mut plain).map_err(ApiError::internal)?;
    Ok(tagged(context, &plain.into(), &etag, kind))
}
