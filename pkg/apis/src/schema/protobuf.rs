//! Request bodies in `application/vnd.kubernetes.protobuf`, read into the same trees as JSON by the type table.
//!
//! The wire format is proto2 as upstream generates it: the four bytes `k8s\0`, then `runtime.Unknown` with the type and
//! the object. Unknown numbers are passed over, as protobuf wants. What comes out is brought into canonical form by
//! [`conform`](fn@super::conform), like every other body.

use apimachinery::{GroupVersionKind, time};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::table::{Base, Container, Field, Type};

const MAGIC: &[u8] = b"k8s\0";
/// Deeper nesting than any kind has.
const DEPTH_MAX: usize = 64;

/// Why bytes are no object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtobufError {
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    Magic,
    #[error("unexpected EOF")]
    Truncated,
    #[error("proto: illegal wireType {0}")]
    WireType(u8),
    #[error("proto: integer overflow")]
    Overflow,
    #[error("proto: invalid UTF-8")]
    Utf8,
    #[error("proto: exceeded the maximum nesting")]
    Depth,
    #[error("embedded JSON cannot be read")]
    Json,
    #[error("no kind {0:?} is registered for protobuf")]
    Kind(&'static str),
}

type Result<T> = std::result::Result<T, ProtobufError>;

/// Reads an envelope. `expected` is the endpoint's kind; a body that says nothing of its own is read as that.
pub fn decode(bytes: &[u8], expected: &GroupVersionKind) -> Result<Value> {
    let body = bytes.strip_prefix(MAGIC).ok_or(ProtobufError::Magic)?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    for part in Parts(body) {
        match part? {
            (1, Wire::Bytes(meta)) => {
                for part in Parts(meta) {
                    match part? {
                        (1, Wire::Bytes(text)) => api_version = utf8(text)?,
                        (2, Wire::Bytes(text)) => kind = utf8(text)?,
                        _ => {}
                    }
                }
            }
            (2, Wire::Bytes(object)) => raw = object,
            _ => {}
        }
    }
    let type_ =
        root(&api_version, &kind).or_else(|| Type::of(expected)).ok_or(ProtobufError::Kind("of the endpoint"))?;
    let mut object = Map::new();
    message(type_, &[], raw, &mut object, 0)?;
    for (name, text) in [("apiVersion", api_version), ("kind", kind)] {
        if !text.is_empty() {
            object.insert(name.to_owned(), text.into());
        }
    }
    Ok(Value::Object(object))
}

fn root(api_version: &str, kind: &str) -> Option<Type> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    Type::lookup(group, version, kind)
}

/// A value on the wire.
#[derive(Clone, Copy)]
enum Wire<'a> {
    Varint(u64),
    Fixed64([u8; 8]),
    Fixed32([u8; 4]),
    Bytes(&'a [u8]),
}

/// The fields of a message in their order.
struct Parts<'a>(&'a [u8]);

impl<'a> Parts<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(ProtobufError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| ProtobufError::Truncated)
    }

    fn varint(&mut self) -> Result<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(ProtobufError::Overflow)
    }

    fn part(&mut self) -> Result<(u64, Wire<'a>)> {
        let tag = self.varint()?;
        let wire = match tag & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed64(self.array()?),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| ProtobufError::Truncated)?;
                Wire::Bytes(self.take(length)?)
            }
            5 => Wire::Fixed32(self.array()?),
            // Only the lowest three bits are left.
            other => return Err(ProtobufError::WireType(other as u8)),
        };
        Ok((tag >> 3, wire))
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = Result<(u64, Wire<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let part = self.part();
        if part.is_err() {
            self.0 = &[];
        }
        Some(part)
    }
}

/// Reads the fields of a message into `object`. `prefix` are the numbers of messages that JSON inlines and that were
/// entered on the way here.
fn message(type_: Type, prefix: &[u8], bytes: &[u8], object: &mut Map<String, Value>, depth: usize) -> Result<()> {
    if depth > DEPTH_MAX {
        return Err(ProtobufError::Depth);
    }
    for part in Parts(bytes) {
        let (number, wire) = part?;
        let Ok(number) = u8::try_from(number) else { continue };
        let path = [prefix, &[number]].concat();
        if let Some(field) = type_.fields().find(|f| f.wire() == path) {
            set(field, wire, object, depth)?;
        } else if let Wire::Bytes(inner) = wire
            && type_.fields().any(|f| f.wire().len() > path.len() && f.wire().starts_with(&path))
        {
            message(type_, &path, inner, object, depth + 1)?;
        }
    }
    Ok(())
}

fn set(field: Field, wire: Wire<'_>, object: &mut Map<String, Value>, depth: usize) -> Result<()> {
    let name = field.name();
    match field.container() {
        Container::One => {
            // A message that comes twice is merged in protobuf; upstream never writes one twice.
            let value = value(field, wire, depth)?;
            object.insert(name.to_owned(), value);
        }
        Container::List => {
            let items = items(field, wire, depth)?;
            list_of(object, name).extend(items);
        }
        Container::ListOfLists => {
            let inner = inner_list(field, wire, depth)?;
            list_of(object, name).push(inner);
        }
        Container::Map | Container::MapOfLists => {
            let Wire::Bytes(entry) = wire else { return Ok(()) };
            let (key, value) = entry_of(field, entry, depth)?;
            let map = object.entry(name).or_insert_with(|| Value::Object(Map::new()));
            map.as_object_mut().map(|map| map.insert(key, value));
        }
    }
    Ok(())
}

fn list_of<'a>(object: &'a mut Map<String, Value>, name: &str) -> &'a mut Vec<Value> {
    let list = object.entry(name).or_insert(Value::Null);
    if !list.is_array() {
        *list = Value::Array(Vec::new());
    }
    match list {
        Value::Array(items) => items,
        _ => unreachable!("made a list just above"),
    }
}

/// One item, or several packed numbers.
fn items(field: Field, wire: Wire<'_>, depth: usize) -> Result<Vec<Value>> {
    let numeric = matches!(field.base(), Base::Int32 | Base::Int64 | Base::Bool);
    let (Wire::Bytes(bytes), true) = (wire, numeric) else { return Ok(vec![value(field, wire, depth)?]) };
    let mut parts = Parts(bytes);
    let mut values = Vec::new();
    while !parts.0.is_empty() {
        values.push(value(field, Wire::Varint(parts.varint()?), depth)?);
    }
    Ok(values)
}

/// The list inside an entry: a message whose field 1 is repeated.
fn inner_list(field: Field, wire: Wire<'_>, depth: usize) -> Result<Value> {
    let Wire::Bytes(bytes) = wire else { return Ok(Value::Array(Vec::new())) };
    let mut items = Vec::new();
    for part in Parts(bytes) {
        if let (1, wire) = part? {
            items.push(value(field, wire, depth + 1)?);
        }
    }
    Ok(Value::Array(items))
}

fn entry_of(field: Field, entry: &[u8], depth: usize) -> Result<(String, Value)> {
    let (mut key, mut found) = (String::new(), None);
    for part in Parts(entry) {
        match part? {
            (1, Wire::Bytes(text)) => key = utf8(text)?,
            (2, wire) if field.container() == Container::MapOfLists => found = Some(inner_list(field, wire, depth)?),
            (2, wire) => found = Some(value(field, wire, depth)?),
            _ => {}
        }
    }
    // A zero value may be left out.
    let empty = if field.container() == Container::MapOfLists { Wire::Bytes(&[]) } else { zero(field.base()) };
    let value = match found {
        Some(value) => value,
        None if field.container() == Container::MapOfLists => inner_list(field, empty, depth)?,
        None => value(field, empty, depth)?,
    };
    Ok((key, value))
}

fn zero(base: Base) -> Wire<'static> {
    match base {
        Base::Bool | Base::Int32 | Base::Int64 => Wire::Varint(0),
        Base::Double => Wire::Fixed64([0; 8]),
        _ => Wire::Bytes(&[]),
    }
}

/// A value of the wrong wire type reads as null, which canonical form drops.
fn value(field: Field, wire: Wire<'_>, depth: usize) -> Result<Value> {
    Ok(match (field.base(), wire) {
        (Base::Bool, Wire::Varint(number)) => Value::Bool(number != 0),
        // Negative numbers are sign-extended to 64 bits on the wire.
        (Base::Int32 | Base::Int64, Wire::Varint(number)) => Value::from(number.cast_signed()),
        (Base::Double, Wire::Fixed64(bytes)) => Value::from(f64::from_le_bytes(bytes)),
        (Base::Double, Wire::Fixed32(bytes)) => Value::from(f64::from(f32::from_le_bytes(bytes))),
        (Base::String, Wire::Bytes(bytes)) => Value::String(utf8(bytes)?),
        (Base::Bytes, Wire::Bytes(bytes)) => Value::String(STANDARD.encode(bytes)),
        (Base::Quantity, Wire::Bytes(bytes)) => Value::String(utf8(field_one(bytes)?)?),
        (Base::Time, Wire::Bytes(bytes)) => instant(bytes, time::format)?,
        (Base::MicroTime, Wire::Bytes(bytes)) => instant(bytes, time::format_micro)?,
        (Base::IntOrString, Wire::Bytes(bytes)) => int_or_string(bytes)?,
        (Base::Any, Wire::Bytes(bytes)) => embedded(field_one(bytes)?)?,
        (Base::Struct, Wire::Bytes(bytes)) => {
            let mut object = Map::new();
            if let Some(type_) = field.target() {
                message(type_, &[], bytes, &mut object, depth + 1)?;
            }
            Value::Object(object)
        }
        _ => Value::Null,
    })
}

fn utf8(bytes: &[u8]) -> Result<String> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| ProtobufError::Utf8)
}

/// The bytes of field 1; empty if there is none.
fn field_one(bytes: &[u8]) -> Result<&[u8]> {
    let mut found = &[][..];
    for part in Parts(bytes) {
        if let (1, Wire::Bytes(inner)) = part? {
            found = inner;
        }
    }
    Ok(found)
}

fn instant(bytes: &[u8], format: fn(Timestamp) -> String) -> Result<Value> {
    let (mut seconds, mut nanos) = (None, 0_i64);
    for part in Parts(bytes) {
        match part? {
            (1, Wire::Varint(number)) => seconds = Some(number.cast_signed()),
            (2, Wire::Varint(number)) => nanos = number.cast_signed(),
            _ => {}
        }
    }
    let Some(seconds) = seconds else { return Ok(Value::Null) };
    let nanos = i32::try_from(nanos).unwrap_or(0);
    // Go's zero time (the year 1) stands for no time.
    match Timestamp::new(seconds, nanos) {
        Ok(at) if seconds > -62_135_596_800 => Ok(Value::String(format(at))),
        _ => Ok(Value::Null),
    }
}

fn int_or_string(bytes: &[u8]) -> Result<Value> {
    let (mut is_text, mut number, mut text) = (false, 0_i64, String::new());
    for part in Parts(bytes) {
        match part? {
            (1, Wire::Varint(kind)) => is_text = kind == 1,
            (2, Wire::Varint(value)) => number = value.cast_signed(),
            (3, Wire::Bytes(value)) => text = utf8(value)?,
            _ => {}
        }
    }
    Ok(if is_text { Value::String(text) } else { Value::from(number) })
}

/// RawExtension, JSON and FieldsV1 carry JSON text in field 1.
fn embedded(text: &[u8]) -> Result<Value> {
    if text.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(text).map_err(|_| ProtobufError::Json)
}

#[cfg(test)]
#[path = "protobuf_tests.rs"]
mod tests;
