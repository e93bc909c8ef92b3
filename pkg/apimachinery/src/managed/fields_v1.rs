//! FieldsV1: a set of fields as JSON. A member is `{}`, or has a key `.` if there are members below it.

use serde_json::{Map, Value};

use super::element::PathElement;
use super::set::{FieldSet, Spot};
use crate::decode::DEPTH_MAX;

/// Sets of more elements are refused: no object that fits the store has so many fields.
pub const ELEMENTS_MAX: usize = 200_000;

const SELF: &str = ".";

impl FieldSet {
    /// As a tree. Its keys are in the order of their texts; [`Ordered`](super::Ordered) writes them as [`Self::to_json`] does.
    pub fn to_value(&self) -> Value {
        let mut key = String::new();
        write_value(self, &mut key)
    }

    /// As upstream writes it, byte for byte: elements in their own order, `.` first.
    pub fn to_json(&self) -> String {
        let mut out = Vec::new();
        self.write_json(&mut out);
        // Only JSON was written.
        String::from_utf8(out).unwrap_or_default()
    }

    /// Appends what [`Self::to_json`] gives.
    pub(super) fn write_json(&self, out: &mut Vec<u8>) {
        write_json(self, false, out, &mut String::new());
    }

    /// Reads what [`Self::to_value`] writes. Elements of unknown kinds are dropped.
    pub fn from_value(value: &Value) -> Result<Self, String> {
        match value {
            Value::Object(map) => {
                let mut budget = ELEMENTS_MAX;
                read(map, 0, &mut budget).map(|spot| spot.below)
            }
            Value::Null => Ok(Self::default()),
            _ => Err("fieldsV1 is not an object".to_owned()),
        }
    }

    /// Reads what [`Self::to_json`] writes.
    pub fn from_json(text: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(text).map_err(|e| e.to_string())?;
        Self::from_value(&value)
    }
}

fn write_value(set: &FieldSet, key: &mut String) -> Value {
    let entries = set.nodes().iter().map(|node| {
        key.clear();
        node.element.write(key);
        let name = key.clone();
        let mut below = write_value(&node.spot.below, key);
        if let (true, Value::Object(map)) = (node.spot.member && !node.spot.below.is_empty(), &mut below) {
            map.insert(SELF.to_owned(), Value::Object(Map::new()));
        }
        (name, below)
    });
    Value::Object(entries.collect())
}

fn write_json(set: &FieldSet, member: bool, out: &mut Vec<u8>, key: &mut String) {
    out.push(b'{');
    if member && !set.is_empty() {
        out.extend_from_slice(b"\".\":{}");
    }
    for node in set.nodes() {
        if out.last() != Some(&b'{') {
            out.push(b',');
        }
        key.clear();
        node.element.write(key);
        write_text(out, key);
        out.push(b':');
        write_json(&node.spot.below, node.spot.member, out, key);
    }
    out.push(b'}');
}

/// A text in quotes.
pub(super) fn write_text(out: &mut Vec<u8>, text: &str) {
    // Texts always serialise, and a Vec takes everything.
    let _ = serde_json::to_writer(out, text);
}

/// A field that has nothing below it is a member, whether it says so or not.
fn read(map: &Map<String, Value>, depth: usize, budget: &mut usize) -> Result<Spot, String> {
    if depth > DEPTH_MAX {
        return Err("exceeded max depth".to_owned());
    }
    let mut spot = Spot::default();
    for (key, value) in map {
        *budget = budget.checked_sub(1).ok_or("too many fields")?;
        if key == SELF {
            spot.member = true;
            continue;
        }
        let Some(element) = PathElement::parse(key)? else { continue };
        let inner = match value {
            Value::Object(map) => read(map, depth + 1, budget)?,
            Value::Null => Spot::MEMBER,
            _ => return Err(format!("unexpected value of {key:?}")),
        };
        spot.below.add(element, inner);
    }
    if spot.below.is_empty() {
        spot.member = true;
    }
    Ok(spot)
}
