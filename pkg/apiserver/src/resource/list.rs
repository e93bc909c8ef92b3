//! Lists. Where nothing has to be changed, the stored bytes are spliced together while they are sent.

use std::io::Write as _;

use apimachinery::ApiResult;
use bytes::{BufMut as _, Bytes, BytesMut};
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::stream;
use http::header::{CONTENT_ENCODING, VARY};
use http::{HeaderValue, StatusCode};
use registry::{Found, ListError, ListPage, StoredObject};
use serde_json::{Map, Value, json};

use super::render::{api_version, is_verbatim, partial, tree_of};
use super::{options, table};
use crate::context::Context;
use crate::http::body::{BoxError, ResponseBody};
use crate::http::compress;
use crate::http::negotiate::{Form, Media, negotiate};
use crate::http::respond::{self, Response};

/// Lists up to this size are one piece; larger ones are sent in pieces of about this size.
const CHUNK: usize = 128 * 1024;

pub fn list(context: &Context<'_>, found: Found) -> ApiResult<Response> {
    let media = negotiate(context.headers(), &context.query, true)?;
    let query = options::list(context, found)?;
    let page = match context.registry().list(found.resource, context.scope(found), &query) {
        Ok(page) => page,
        Err(ListError::Api(error)) => return Err(error),
        Err(ListError::ExpiredToken(error, token)) => {
            let mut status = error.to_status();
            status["metadata"]["continue"] = token.into();
            return Ok(respond::status(&error, &status));
        }
    };
    let head = json!({
        "kind": format!("{}List", found.resource.kind), "apiVersion": api_version(found),
        "metadata": list_metadata(&page),
    });
    if is_verbatim(found, media) {
        return Ok(splice(context, &head, page));
    }
    let items: ApiResult<Vec<Value>> = page.items.iter().map(|stored| tree_of(found, stored.body())).collect();
    shaped(context, found, head, items?, media)
}

/// A list of trees in the form that was asked for.
pub fn shaped(
    context: &Context<'_>,
    found: Found,
    head: Value,
    items: Vec<Value>,
    media: Media,
) -> ApiResult<Response> {
    let answer = match media.form {
        Form::Whole => with_items(head, items),
        Form::Table => table::of(found, table::Rows::from_query(context)?, &items, true, &head),
        Form::PartialList => {
            let items = items.iter().map(partial).collect();
            let head = json!({
                "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": head["metadata"],
            });
            with_items(head, items)
        }
        Form::Partial => return Err(crate::http::negotiate::not_acceptable()),
    };
    respond::value(StatusCode::OK, &answer, media)
}

fn with_items(mut head: Value, items: Vec<Value>) -> Value {
    head["items"] = items.into();
    head
}

fn list_metadata(page: &ListPage) -> Map<String, Value> {
    let mut metadata = Map::new();
    metadata.insert("resourceVersion".to_owned(), page.revision.to_string().into());
    if !page.continue_token.is_empty() {
        metadata.insert("continue".to_owned(), page.continue_token.as_str().into());
    }
    if let Some(remaining) = page.remaining.filter(|n| *n > 0) {
        metadata.insert("remainingItemCount".to_owned(), remaining.into());
    }
    metadata
}

/// `{head…,"items":[…]}` of bytes that are there.
fn splice(context: &Context<'_>, head: &Value, page: ListPage) -> Response {
    let size: usize = page.items.iter().map(|item| item.body().len() + 1).sum();
    let mut start = BytesMut::with_capacity(if size < CHUNK { size + 256 } else { CHUNK + 4096 });
    let text = head.to_string();
    start.put_slice(&text.as_bytes()[..text.len() - 1]);
    start.put_slice(b",\"items\":[");
    let mut splicer = Splicer { items: page.items.into_iter(), first: true, start: Some(start), ended: false };
    if size < CHUNK {
        return respond::json_bytes(StatusCode::OK, splicer.next_chunk().unwrap_or_default());
    }
    if !compress::accepts_gzip(context.headers()) {
        let chunks = stream::iter(std::iter::from_fn(move || splicer.next_chunk().map(Ok::<_, BoxError>)));
        return respond::json_stream(ResponseBody::stream(chunks));
    }
    let mut encoder = Some(GzEncoder::new(Vec::with_capacity(CHUNK / 4), Compression::fast()));
    let chunks = std::iter::from_fn(move || compressed_chunk(&mut splicer, &mut encoder));
    let mut response = respond::json_stream(ResponseBody::stream(stream::iter(chunks)));
    response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    response
}

fn compressed_chunk(
    splicer: &mut Splicer,
    encoder: &mut Option<GzEncoder<Vec<u8>>>,
) -> Option<Result<Bytes, BoxError>> {
    loop {
        let Some(chunk) = splicer.next_chunk() else {
            let rest = encoder.take()?.finish();
            return Some(rest.map(Bytes::from).map_err(Into::into));
        };
        let gzip = encoder.as_mut()?;
        if let Err(error) = gzip.write_all(&chunk) {
            return Some(Err(error.into()));
        }
        if gzip.get_ref().len() >= CHUNK / 8 {
            return Some(Ok(std::mem::take(gzip.get_mut()).into()));
        }
    }
}

struct Splicer {
    items: std::vec::IntoIter<StoredObject>,
    first: bool,
    start: Option<BytesMut>,
    ended: bool,
}

impl Splicer {
    /// The next piece, until the list is closed.
    fn next_chunk(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        let mut chunk = self.start.take().unwrap_or_else(|| BytesMut::with_capacity(CHUNK + 4096));
        while chunk.len() < CHUNK {
            let Some(item) = self.items.next() else {
                chunk.put_slice(b"]}\n");
                self.ended = true;
                break;
            };
            if !std::mem::take(&mut self.first) {
                chunk.put_u8(b',');
            }
            chunk.put_slice(item.body());
        }
        Some(chunk.freeze())
    }
}

/// A list that a deletion of many answers with.
pub fn list_of(found: Found, revision: u64, bodies: &[Bytes]) -> ApiResult<Value> {
    let items: ApiResult<Vec<Value>> = bodies.iter().map(|body| tree_of(found, body)).collect();
    let head = json!({
        "kind": format!("{}List", found.resource.kind), "apiVersion": api_version(found),
        "metadata": { "resourceVersion": revision.to_string() },
    });
    Ok(with_items(head, items?))
}
