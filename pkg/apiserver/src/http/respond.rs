//! Answers in the client's format, as objects or as `Status`.

use apimachinery::managed::Ordered;
use apimachinery::meta::ObjectExt as _;
use apimachinery::{ApiError, ApiResult};
use apis::schema::protobuf;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER, VARY, WARNING, X_CONTENT_TYPE_OPTIONS};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::Value;

use super::body::ResponseBody;
use super::compress;
use super::negotiate::{Format, Media, negotiate};
use super::query::Query;

pub type Response = http::Response<ResponseBody>;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const YAML: HeaderValue = HeaderValue::from_static("application/yaml");
const PROTOBUF: HeaderValue = HeaderValue::from_static(protobuf::MEDIA_TYPE);
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache, private");

fn answer(code: StatusCode, kind: HeaderValue, body: ResponseBody) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, kind);
    headers.insert(CACHE_CONTROL, NO_CACHE);
    response
}

/// JSON that is there already.
pub fn json_bytes(code: StatusCode, bytes: Bytes) -> Response {
    answer(code, JSON, ResponseBody::full(bytes))
}

/// Protobuf that is there already.
pub fn protobuf_bytes(code: StatusCode, bytes: impl Into<Bytes>) -> Response {
    answer(code, PROTOBUF, ResponseBody::full(bytes))
}

/// A body that is made while it is sent, of a type that `kind` names.
pub fn stream(kind: HeaderValue, body: ResponseBody) -> Response {
    answer(StatusCode::OK, kind, body)
}

/// The media type of whole bodies.
pub fn content_type(format: Format) -> HeaderValue {
    match format {
        Format::Json => JSON,
        Format::Yaml => YAML,
        Format::Protobuf => PROTOBUF,
    }
}

pub fn json(code: StatusCode, value: &Value) -> Response {
    json_bytes(code, serde_json::to_vec(&Ordered(value)).unwrap_or_default().into())
}

pub fn text(code: StatusCode, text: impl Into<Bytes>) -> Response {
    answer(code, TEXT, ResponseBody::full(text))
}

/// The answer to a path below which nothing is served, which is no object of the API.
pub fn no_page() -> Response {
    let mut response = text(StatusCode::NOT_FOUND, "404 page not found\n");
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

pub fn typed(kind: HeaderValue, bytes: impl Into<Bytes>) -> Response {
    answer(StatusCode::OK, kind, ResponseBody::full(bytes))
}

/// A tree in the client's format.
pub fn value(code: StatusCode, value: &Value, media: Media) -> ApiResult<Response> {
    match media.format {
        Format::Json if media.pretty => {
            let mut bytes = serde_json::to_vec_pretty(&Ordered(value)).map_err(ApiError::internal)?;
            bytes.push(b'\n');
            Ok(json_bytes(code, bytes.into()))
        }
        Format::Json => Ok(json(code, value)),
        Format::Yaml => {
            let yaml = serde_saphyr::to_string(value).map_err(ApiError::internal)?;
            Ok(answer(code, YAML, ResponseBody::full(yaml)))
        }
        Format::Protobuf => {
            let bytes = protobuf::encode(value).ok_or_else(|| no_message(value))?;
            Ok(protobuf_bytes(code, bytes))
        }
    }
}

/// The refusal to write a kind in protobuf that has no form there.
fn no_message(value: &Value) -> ApiError {
    ApiError::not_acceptable(format!(
        "object *v1.{} does not implement the protobuf marshalling interface and cannot be encoded to a protobuf message",
        value.kind()
    ))
}

/// A refusal, as `Status` in the format that the client reads.
pub fn error(request: &Parts, error: &ApiError) -> Response {
    status(request, error, &error.to_status())
}

/// A refusal whose Status says more than the error does.
pub fn status(request: &Parts, error: &ApiError, status: &Value) -> Response {
    let code = StatusCode::from_u16(error.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    // A refusal must not hide behind one about its format: what cannot be negotiated is JSON.
    let unreadable = Media { pretty: true, ..Media::default() };
    let query = Query::parse(request.uri.query().unwrap_or(""));
    let media = negotiate(&request.headers, &query, false).unwrap_or(unreadable);
    let mut response = value(code, status, media).unwrap_or_else(|_| json(code, status));
    if let Some(seconds) = error.retry_after_seconds() {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}

/// Adds `Warning: 299 - "text"` for each text.
pub fn add_warnings(headers: &mut HeaderMap, warnings: &[String]) {
    for text in warnings {
        let escaped: String = text.chars().filter(|c| !c.is_control()).flat_map(escape).collect();
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{escaped}\"")) {
            headers.append(WARNING, value);
        }
    }
}

fn escape(c: char) -> impl Iterator<Item = char> {
    let backslash = matches!(c, '"' | '\\').then_some('\\');
    backslash.into_iter().chain(std::iter::once(c))
}

/// Compresses a large answer if the client reads gzip.
pub fn compress(request: &HeaderMap, mut response: Response) -> Response {
    let large = response.body().as_full().filter(|bytes| bytes.len() > compress::COMPRESS_FROM);
    let Some(bytes) = large else { return response };
    if !compress::accepts_gzip(request) || response.headers().contains_key(CONTENT_ENCODING) {
        return response;
    }
    let Some(small) = compress::gzip(bytes) else { return response };
    *response.body_mut() = ResponseBody::full(small);
    response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    response
}
