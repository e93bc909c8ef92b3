//! Lists out of items that are there already as bytes, put together while they are sent.

use std::io::Write as _;
use std::vec::IntoIter;

use apimachinery::ApiResult;
use apis::schema::protobuf::{ItemPrefix, ListHead};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::stream;
use http::header::{CONTENT_ENCODING, VARY};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::Value;

use crate::http::body::{BoxError, ResponseBody};
use crate::http::compress::{self, COMPRESS_FROM};
use crate::http::negotiate::{Format, Media};
use crate::http::respond::{self, Response};

/// Lists up to this size are one piece; larger ones are sent in pieces of about this size.
const CHUNK: usize = 128 * 1024;

/// `{head…,"items":[…]}`.
pub fn json(headers: &HeaderMap, head: &Value, items: Vec<Bytes>) -> Response {
    let mut start = head.to_string().into_bytes();
    // The brace that closes the head comes after the items.
    start.pop();
    start.extend_from_slice(b",\"items\":[");
    send(headers, Format::Json, Splicer::new(start, items, Between::Commas))
}

/// The list's message in its envelope, with the items' messages. `head` names the list's kind.
pub fn protobuf(headers: &HeaderMap, head: &Value, items: Vec<Bytes>) -> ApiResult<Response> {
    let Some(list) = ListHead::new(head, items.iter().map(Bytes::len)) else {
        // Kinds without a message are not negotiated to be written in protobuf; this says so.
        return respond::value(StatusCode::OK, head, Media { format: Format::Protobuf, ..Media::default() });
    };
    let (start, prefix) = list.into_bytes();
    Ok(send(headers, Format::Protobuf, Splicer::new(start, items, Between::Prefixes(prefix))))
}

fn send(headers: &HeaderMap, format: Format, mut splicer: Splicer) -> Response {
    let kind = respond::content_type(format);
    if splicer.size <= CHUNK {
        return respond::stream(kind, ResponseBody::full(splicer.next_chunk().unwrap_or_default()));
    }
    if splicer.size <= COMPRESS_FROM || !compress::accepts_gzip(headers) {
        let chunks = stream::iter(std::iter::from_fn(move || splicer.next_chunk().map(Ok::<_, BoxError>)));
        return respond::stream(kind, ResponseBody::stream(chunks));
    }
    let mut encoder = Some(GzEncoder::new(Vec::with_capacity(CHUNK / 4), Compression::fast()));
    let chunks = std::iter::from_fn(move || compressed_chunk(&mut splicer, &mut encoder));
    let mut response = respond::stream(kind, ResponseBody::stream(stream::iter(chunks)));
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

/// What stands around the items.
#[derive(Clone, Copy)]
enum Between {
    /// Commas between them, and the ends of the list and its object after the last.
    Commas,
    /// Something before each.
    Prefixes(ItemPrefix),
}

struct Splicer {
    items: IntoIter<Bytes>,
    between: Between,
    first: bool,
    /// What comes before the first item, until it was sent.
    start: Option<Vec<u8>>,
    ended: bool,
    /// Bytes of the whole list, or a few more.
    size: usize,
}

impl Splicer {
    fn new(start: Vec<u8>, items: Vec<Bytes>, between: Between) -> Self {
        let size = start.len() + items.iter().map(|item| item.len() + 4).sum::<usize>();
        Self { items: items.into_iter(), between, first: true, start: Some(start), ended: false, size }
    }

    /// The next piece, until the list is closed.
    fn next_chunk(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        let mut chunk = self.start.take().unwrap_or_default();
        chunk.reserve(self.size.min(CHUNK + 4096).saturating_sub(chunk.len()));
        while chunk.len() < CHUNK {
            let Some(item) = self.items.next() else {
                self.ended = true;
                if matches!(self.between, Between::Commas) {
                    chunk.extend_from_slice(b"]}\n");
                }
                break;
            };
            match self.between {
                Between::Commas if std::mem::take(&mut self.first) => {}
                Between::Commas => chunk.push(b','),
                Between::Prefixes(prefix) => prefix.put(&mut chunk, item.len()),
            }
            chunk.extend_from_slice(&item);
        }
        Some(chunk.into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn whole(mut splicer: Splicer) -> (Vec<u8>, usize) {
        let mut bytes = Vec::new();
        let mut pieces = 0;
        while let Some(chunk) = splicer.next_chunk() {
            bytes.extend_from_slice(&chunk);
            pieces += 1;
        }
        (bytes, pieces)
    }

    #[test]
    fn items_are_parted_by_commas_across_pieces() {
        for count in [0, 1, 5, 3000] {
            let items: Vec<Bytes> =
                (0..count).map(|i| Bytes::from(format!("{{\"n\":{i},\"s\":\"{i:0100}\"}}"))).collect();
            let (bytes, pieces) = whole(Splicer::new(b"{\"items\":[".to_vec(), items, Between::Commas));
            let list: Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(list["items"].as_array().unwrap().len(), count);
            assert_eq!(pieces > 1, count == 3000, "{count}");
        }
    }

    #[test]
    fn the_size_is_no_less_than_what_is_sent() {
        let items: Vec<Bytes> = (0..200).map(|i| Bytes::from(vec![0; i * 40])).collect();
        let head = json!({"apiVersion": "v1", "kind": "PodList", "metadata": {}});
        let (start, prefix) = ListHead::new(&head, items.iter().map(Bytes::len)).unwrap().into_bytes();
        let splicer = Splicer::new(start, items, Between::Prefixes(prefix));
        let size = splicer.size;
        assert!(whole(splicer).0.len() <= size);
    }
}
