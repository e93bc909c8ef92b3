//! The envelope around a message, the heads of lists, and the frames of watches.

use apimachinery::GroupVersionKind;
use serde_json::Value;

use super::super::table::Type;
use super::wire::{Parts, Wire, put_bytes, put_length, put_nested, varint_length};
use super::{MAGIC, ProtobufError, Result, read, write};

/// `runtime.Unknown` with its magic, around a message of so many bytes.
pub struct Envelope<'a> {
    pub api_version: &'a str,
    pub kind: &'a str,
}

impl Envelope<'_> {
    /// What stands before a message of `length` bytes. Nothing stands after it.
    pub fn head(&self, length: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(MAGIC.len() + self.api_version.len() + self.kind.len() + 24);
        out.extend_from_slice(MAGIC);
        put_nested(&mut out, 1, |out| {
            put_bytes(out, 1, self.api_version.as_bytes());
            put_bytes(out, 2, self.kind.as_bytes());
        });
        // Encoding and media type are empty, and stand before the message so that it can be sent from where it is.
        put_bytes(&mut out, 3, b"");
        put_bytes(&mut out, 4, b"");
        put_length(&mut out, 2, length);
        out
    }

    /// A whole body.
    pub fn around(&self, message: &[u8]) -> Vec<u8> {
        let mut out = self.head(message.len());
        out.extend_from_slice(message);
        out
    }
}

/// The type of a kind. `APIVersions`, the oldest document, has no version of its own.
fn type_of(api_version: &str, kind: &str) -> Option<Type> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let version = if api_version.is_empty() { "v1" } else { version };
    Type::lookup(group, version, kind)
}

/// The body of an object in canonical form. `None`: its kind has no form in protobuf.
pub fn encode(object: &Value) -> Option<Vec<u8>> {
    let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
    let envelope = Envelope { api_version: text("apiVersion"), kind: text("kind") };
    let type_ = type_of(envelope.api_version, envelope.kind)?;
    Some(envelope.around(&write::message(type_, object)))
}

/// Reads an envelope. `expected` is the endpoint's kind; a body that says nothing of its own is read as that. A failure
/// comes with the kind that the body names, where that could be read.
pub fn decode(
    bytes: &[u8],
    expected: &GroupVersionKind,
) -> std::result::Result<Value, (Option<GroupVersionKind>, ProtobufError)> {
    let unknown = Unknown::read(bytes).map_err(|error| (None, error))?;
    let (group, version) = unknown.api_version.split_once('/').unwrap_or(("", &unknown.api_version));
    let named =
        if unknown.kind.is_empty() { expected.clone() } else { GroupVersionKind::new(group, version, &*unknown.kind) };
    let failed = |error| (Some(named.clone()), error);
    // A kind that does not exist is refused by whoever compares it with the endpoint's.
    let type_ = type_of(&unknown.api_version, &unknown.kind).or_else(|| Type::of(expected));
    let type_ = type_.ok_or_else(|| failed(ProtobufError::Kind(named.kind.clone())))?;
    let mut object = read::object(type_, unknown.raw).map_err(failed)?;
    for (name, text) in [("apiVersion", unknown.api_version), ("kind", unknown.kind)] {
        if !text.is_empty() {
            object.insert(name.to_owned(), text.into());
        }
    }
    Ok(Value::Object(object))
}

/// What an envelope says.
#[derive(Default)]
struct Unknown<'a> {
    api_version: String,
    kind: String,
    raw: &'a [u8],
}

impl<'a> Unknown<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self> {
        if bytes.is_empty() {
            return Err(ProtobufError::EmptyData);
        }
        let body = bytes.strip_prefix(MAGIC).ok_or(ProtobufError::Magic)?;
        if body.is_empty() {
            return Err(ProtobufError::EmptyBody);
        }
        let mut unknown = Self::default();
        for part in Parts(body) {
            match part? {
                (1, Wire::Bytes(meta)) => {
                    for part in Parts(meta) {
                        match part? {
                            (1, Wire::Bytes(text)) => unknown.api_version = read::utf8(text)?,
                            (2, Wire::Bytes(text)) => unknown.kind = read::utf8(text)?,
                            _ => {}
                        }
                    }
                }
                (2, Wire::Bytes(object)) => unknown.raw = object,
                _ => {}
            }
        }
        Ok(unknown)
    }
}

/// The start of a list whose items are messages that are there already.
pub struct ListHead {
    bytes: Vec<u8>,
    /// The field of items.
    items: u8,
}

impl ListHead {
    /// The head for a list object without items, and the lengths of its items to come. `None`: the list's kind has no form
    /// in protobuf.
    pub fn new(list: &Value, lengths: impl Iterator<Item = usize>) -> Option<Self> {
        let text = |field: &str| list.get(field).and_then(Value::as_str).unwrap_or_default();
        let envelope = Envelope { api_version: text("apiVersion"), kind: text("kind") };
        let type_ = type_of(envelope.api_version, envelope.kind)?;
        let &[items] = type_.field("items")?.wire() else { return None };
        let head = write::message(type_, list);
        let prefix = |length: usize| varint_length(u64::from(items) << 3) + varint_length(length as u64);
        let total: usize = lengths.map(|length| prefix(length) + length).sum();
        let mut bytes = envelope.head(head.len() + total);
        bytes.extend_from_slice(&head);
        Some(Self { bytes, items })
    }

    pub fn into_bytes(self) -> (Vec<u8>, ItemPrefix) {
        (self.bytes, ItemPrefix(self.items))
    }
}

/// What stands before each item of a list.
#[derive(Clone, Copy)]
pub struct ItemPrefix(u8);

impl ItemPrefix {
    pub fn put(self, out: &mut Vec<u8>, length: usize) {
        put_length(out, self.0, length);
    }
}

/// A `WatchEvent` in a stream: four bytes of length, the most significant first, then the event. The object in it is a
/// whole body with its envelope.
pub struct WatchFrame<'a> {
    pub event: &'a str,
    pub envelope: Envelope<'a>,
}

impl WatchFrame<'_> {
    /// Appends the frame of an object, given as its message.
    pub fn put(&self, message: &[u8], out: &mut Vec<u8>) {
        let head = self.envelope.head(message.len());
        let object = head.len() + message.len();
        // RawExtension has the object in field 1, the event has that in field 2.
        let raw = 1 + varint_length(object as u64) + object;
        let event = 2 + self.event.len() + 1 + varint_length(raw as u64) + raw;
        out.reserve(event + 4);
        // A body is far smaller than this can say.
        out.extend_from_slice(&u32::try_from(event).unwrap_or(u32::MAX).to_be_bytes());
        put_bytes(out, 1, self.event.as_bytes());
        put_length(out, 2, raw);
        put_length(out, 1, object);
        out.extend_from_slice(&head);
        out.extend_from_slice(message);
    }
}
