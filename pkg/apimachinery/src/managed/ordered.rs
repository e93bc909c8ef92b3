//! Objects as they are written: trees keep their keys in the order of the texts, upstream keeps those of `fieldsV1` in the
//! order of the elements that they stand for (port 80 before port 443).

use serde::ser::{Serialize, SerializeMap as _, SerializeSeq as _, Serializer};
use serde_json::{Map, Value};

use super::element::PathElement;

/// A tree whose `fieldsV1`, wherever they are, are written in upstream's order.
pub struct Ordered<'a>(pub &'a Value);

impl Serialize for Ordered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Array(items) => {
                let mut out = serializer.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| out.serialize_element(&Ordered(item)))?;
                out.end()
            }
            Value::Object(map) => {
                let mut out = serializer.serialize_map(Some(map.len()))?;
                for (key, value) in map {
                    match value {
                        Value::Object(fields) if key == "fieldsV1" => out.serialize_entry(key, &Fields(fields))?,
                        other => out.serialize_entry(key, &Ordered(other))?,
                    }
                }
                out.end()
            }
            other => other.serialize(serializer),
        }
    }
}

/// One level of `fieldsV1`.
struct Fields<'a>(&'a Map<String, Value>);

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut entries: Vec<(&String, &Value)> = self.0.iter().collect();
        // Names of fields are in order already.
        if entries.iter().filter(|(key, _)| !key.starts_with(['f', '.'])).count() > 1 {
            entries.sort_by_cached_key(|(key, _)| PathElement::parse(key).ok().flatten());
        }
        let mut out = serializer.serialize_map(Some(entries.len()))?;
        for (key, value) in entries {
            match value {
                Value::Object(below) => out.serialize_entry(key, &Fields(below))?,
                other => out.serialize_entry(key, other)?,
            }
        }
        out.end()
    }
}
