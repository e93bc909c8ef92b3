//! Messages as trees. Unknown numbers are passed over, as protobuf wants; what comes out is brought into canonical form by
//! [`conform`](fn@super::super::conform), like every other body.

use apimachinery::time;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::super::conform::number;
use super::super::table::{Base, Container, Field, Type};
use super::wire::{Parts, Wire};
use super::{DEPTH_MAX, ProtobufError, Result};

/// Reads the message of a type.
pub fn object(type_: Type, bytes: &[u8]) -> Result<Map<String, Value>> {
    let mut object = Map::new();
    message(type_, &[], bytes, &mut object, 0)?;
    Ok(object)
}

/// Reads the fields of a message into `object`. `prefix` are the numbers of messages that JSON inlines and that were
/// entered on the way here.
fn message(type_: Type, prefix: &[u8], bytes: &[u8], object: &mut Map<String, Value>, depth: usize) -> Result<()> {
    if depth > DEPTH_MAX {
        return Err(ProtobufError::Depth);
    }
    for part in Parts(bytes) {
        let (number, wire) = part?;
        if number == 0 {
            return Err(ProtobufError::IllegalTag(type_.short_name(), number, wire.number()));
        }
        let Ok(number) = u8::try_from(number) else { continue };
        let here = |f: &Field| f.wire().strip_prefix(prefix).is_some_and(|rest| rest.first() == Some(&number));
        let Some(found) = type_.fields().find(here) else { continue };
        match (&found.wire()[prefix.len()..], wire) {
            ([_], wire) => set(found, wire, object, depth)?,
            (_, Wire::Bytes(inner)) => message(type_, &found.wire()[..=prefix.len()], inner, object, depth + 1)?,
            _ => {}
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
            let Wire::Bytes(entry) = wire else { return Err(wrong(field, wire)) };
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
    let Wire::Bytes(bytes) = wire else { return Err(wrong(field, wire)) };
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

fn wrong(field: Field, wire: Wire<'_>) -> ProtobufError {
    ProtobufError::WrongWireType { wire_type: wire.number(), field: field.name() }
}

fn value(field: Field, wire: Wire<'_>, depth: usize) -> Result<Value> {
    Ok(match (field.base(), wire) {
        (Base::Bool, Wire::Varint(number)) => Value::Bool(number != 0),
        // Negative numbers are sign-extended to 64 bits on the wire.
        (Base::Int32 | Base::Int64, Wire::Varint(number)) => Value::from(number.cast_signed()),
        (Base::Double, Wire::Fixed64(bytes)) => number(f64::from_le_bytes(bytes)),
        (Base::String, Wire::Bytes(bytes)) => Value::String(utf8(bytes)?),
        (Base::Bytes, Wire::Bytes(bytes)) => Value::String(STANDARD.encode(bytes)),
        (Base::Quantity, Wire::Bytes(bytes)) => Value::String(utf8(field_one(bytes)?)?),
        (Base::Time, Wire::Bytes(bytes)) => instant(bytes, time::format)?,
        (Base::MicroTime, Wire::Bytes(bytes)) => instant(bytes, time::format_micro)?,
        (Base::IntOrString, Wire::Bytes(bytes)) => int_or_string(bytes)?,
        (Base::Any, Wire::Bytes(bytes)) => embedded(field_one(bytes)?)?,
        (Base::SchemaOrList | Base::SchemaOrBool | Base::SchemaOrStrings, Wire::Bytes(bytes)) => {
            alternative(field, bytes, depth + 1)?
        }
        (Base::Struct, Wire::Bytes(bytes)) => match field.target() {
            Some(type_) => nested(type_, bytes, depth)?,
            None => Value::Null,
        },
        _ => return Err(wrong(field, wire)),
    })
}

pub fn utf8(bytes: &[u8]) -> Result<String> {
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

/// A JSON schema, or what else the field may hold.
fn alternative(field: Field, bytes: &[u8], depth: usize) -> Result<Value> {
    let Some(type_) = field.schema_alternative() else { return Ok(Value::Null) };
    let (mut schema, mut rest, mut allowed) = (None, Vec::new(), false);
    let schema_at = if field.base() == Base::SchemaOrBool { 2 } else { 1 };
    for part in Parts(bytes) {
        match (part?, field.base()) {
            ((number, Wire::Bytes(inner)), _) if number == schema_at => schema = Some(nested(type_, inner, depth)?),
            ((1, Wire::Varint(truth)), Base::SchemaOrBool) => allowed = truth != 0,
            ((2, Wire::Bytes(inner)), Base::SchemaOrList) => rest.push(nested(type_, inner, depth)?),
            ((2, Wire::Bytes(text)), Base::SchemaOrStrings) => rest.push(Value::String(utf8(text)?)),
            _ => {}
        }
    }
    Ok(match (schema, field.base()) {
        (Some(schema), _) => schema,
        (None, Base::SchemaOrBool) => Value::Bool(allowed),
        (None, _) if rest.is_empty() => Value::Null,
        (None, _) => Value::Array(rest),
    })
}

fn nested(type_: Type, bytes: &[u8], depth: usize) -> Result<Value> {
    let mut object = Map::new();
    message(type_, &[], bytes, &mut object, depth + 1)?;
    Ok(Value::Object(object))
}
