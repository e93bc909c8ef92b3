//! Trees as messages.

use apimachinery::time;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::super::table::{Base, Container, Field, Type};
use super::wire::{put_bytes, put_double, put_nested, put_number};

/// A field that the tree has, with what is still to come of its place on the wire.
struct Present<'a> {
    wire: &'static [u8],
    field: Field,
    value: &'a Value,
}

/// The message of an object in canonical form, without an envelope. Values that are not of their field's type are left
/// out; canonical form has none.
pub fn message(type_: Type, object: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    if let Value::Object(map) = object {
        structure(type_, map, &mut out);
    }
    out
}

fn structure(type_: Type, map: &Map<String, Value>, out: &mut Vec<u8>) {
    let mut present: Vec<Present<'_>> = map
        .iter()
        .filter_map(|(name, value)| {
            let field = type_.field(name)?;
            Some(Present { wire: field.wire(), field, value })
        })
        .filter(|present| !present.wire.is_empty() && (!present.value.is_null() || present.field.base() == Base::Any))
        .collect();
    // In the order of numbers, as upstream writes them; fields of one embedded message come together.
    present.sort_unstable_by_key(|p| p.wire);
    fields(&present, 0, out);
}

/// Writes fields whose places agree in the first `depth` numbers.
fn fields(mut present: &[Present<'_>], depth: usize, out: &mut Vec<u8>) {
    while let [first, ..] = present {
        let number = first.wire[depth];
        let count = present.iter().take_while(|p| p.wire[depth] == number).count();
        let (group, rest) = present.split_at(count);
        if first.wire.len() == depth + 1 {
            field(first.field, number, first.value, out);
        } else {
            put_nested(out, number, |out| fields(group, depth + 1, out));
        }
        present = rest;
    }
}

fn field(field: Field, number: u8, value: &Value, out: &mut Vec<u8>) {
    match (field.container(), value) {
        (Container::One, value) => put(field, number, value, out),
        (Container::List, Value::Array(items)) => items.iter().for_each(|item| put(field, number, item, out)),
        (Container::ListOfLists, Value::Array(lists)) => {
            lists.iter().for_each(|list| put_nested(out, number, |out| inner_list(field, list, out)));
        }
        (Container::Map, Value::Object(map)) => {
            for (key, value) in map {
                entry(number, key, out, |out| put(field, 2, value, out));
            }
        }
        (Container::MapOfLists, Value::Object(map)) => {
            for (key, list) in map {
                entry(number, key, out, |out| put_nested(out, 2, |out| inner_list(field, list, out)));
            }
        }
        _ => {}
    }
}

fn entry(number: u8, key: &str, out: &mut Vec<u8>, value: impl FnOnce(&mut Vec<u8>)) {
    put_nested(out, number, |out| {
        put_bytes(out, 1, key.as_bytes());
        value(out);
    });
}

/// A list inside a list or map is a message of its own.
fn inner_list(field: Field, list: &Value, out: &mut Vec<u8>) {
    list.as_array().into_iter().flatten().for_each(|item| put(field, 1, item, out));
}

fn put(field: Field, number: u8, value: &Value, out: &mut Vec<u8>) {
    match (field.base(), value) {
        (Base::String, Value::String(text)) => put_bytes(out, number, text.as_bytes()),
        (Base::Bool, Value::Bool(truth)) => put_number(out, number, u64::from(*truth)),
        (Base::Int32 | Base::Int64, Value::Number(n)) => {
            // Negative numbers are sign-extended to 64 bits.
            put_number(out, number, n.as_i64().unwrap_or_default().cast_unsigned());
        }
        (Base::Double, Value::Number(n)) => put_double(out, number, n.as_f64().unwrap_or_default()),
        (Base::Bytes, Value::String(text)) => {
            put_bytes(out, number, &STANDARD.decode(text).unwrap_or_default());
        }
        (Base::Quantity, Value::String(text)) => put_nested(out, number, |out| put_bytes(out, 1, text.as_bytes())),
        (Base::Time | Base::MicroTime, Value::String(text)) => put_nested(out, number, |out| instant(text, out)),
        (Base::IntOrString, value) => put_nested(out, number, |out| int_or_string(value, out)),
        (Base::Any, value) => put_nested(out, number, |out| embedded(value, out)),
        (Base::SchemaOrList | Base::SchemaOrBool | Base::SchemaOrStrings, value) => {
            put_nested(out, number, |out| alternative(field, value, out));
        }
        (Base::Struct, Value::Object(map)) => put_nested(out, number, |out| {
            if let Some(type_) = field.target() {
                structure(type_, map, out);
            }
        }),
        _ => {}
    }
}

fn instant(text: &str, out: &mut Vec<u8>) {
    let Some(at) = time::parse(text) else { return };
    // Before 1970 the fraction is negative; on the wire it never is.
    let nanos = at.as_nanosecond();
    let (seconds, fraction) = (nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000));
    put_number(out, 1, i64::try_from(seconds).unwrap_or_default().cast_unsigned());
    put_number(out, 2, u64::try_from(fraction).unwrap_or_default());
}

fn int_or_string(value: &Value, out: &mut Vec<u8>) {
    let (is_text, number, text) = match value {
        Value::String(text) => (1, 0, text.as_str()),
        other => (0, other.as_i64().unwrap_or_default(), ""),
    };
    put_number(out, 1, is_text);
    put_number(out, 2, number.cast_unsigned());
    put_bytes(out, 3, text.as_bytes());
}

/// RawExtension, JSON and FieldsV1 carry JSON text in field 1.
fn embedded(value: &Value, out: &mut Vec<u8>) {
    if !value.is_null() {
        put_bytes(out, 1, value.to_string().as_bytes());
    }
}

/// A JSON schema in field 1 (of the one with truth values in 2, for 1 is whether anything is allowed), or the other form.
fn alternative(field: Field, value: &Value, out: &mut Vec<u8>) {
    let schema = |number: u8, map: &Map<String, Value>, out: &mut Vec<u8>| {
        if let Some(type_) = field.schema_alternative() {
            put_nested(out, number, |out| structure(type_, map, out));
        }
    };
    match (field.base(), value) {
        (Base::SchemaOrBool, Value::Bool(truth)) => put_number(out, 1, u64::from(*truth)),
        (Base::SchemaOrBool, Value::Object(map)) => {
            put_number(out, 1, 1);
            schema(2, map, out);
        }
        (_, Value::Object(map)) => schema(1, map, out),
        (Base::SchemaOrList, Value::Array(items)) => {
            items.iter().filter_map(Value::as_object).for_each(|map| schema(2, map, out));
        }
        (Base::SchemaOrStrings, Value::Array(texts)) => {
            texts.iter().filter_map(Value::as_str).for_each(|text| put_bytes(out, 2, text.as_bytes()));
        }
        _ => {}
    }
}
