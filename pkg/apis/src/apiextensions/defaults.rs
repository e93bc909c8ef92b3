//! Defaults in schemas of custom resources: each fits the schema that it stands in, and has no fields that would be pruned.

use apimachinery::field::{Error, ErrorList, Path};
use serde_json::Value;

use super::schema::{EMBEDDED, PRESERVE};
use super::value;
use crate::tree::Tree;

/// Fields of every whole object, which are never pruned.
const META: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Where a schema stands.
#[derive(Clone, Copy)]
pub struct Place {
    /// At the root, which is a whole object as embedded ones are.
    pub is_root: bool,
    /// Inside the fields that every whole object has: what is unknown there is not asked.
    pub in_meta: bool,
}

impl Place {
    pub const ROOT: Self = Self { is_root: true, in_meta: false };
}

/// Checks the defaults of a structural schema. There are none below `additionalProperties`.
pub fn validate(errors: &mut ErrorList, at: &Path, schema: &Value, place: Place) {
    let whole = place.is_root || schema.flag(EMBEDDED);
    let in_meta = place.in_meta && !whole;
    let default = schema.field("default");
    if schema.has("default") {
        let at = at.child("default");
        if !in_meta && loses_fields(default, Some(schema), whole) {
            errors.push(Error::invalid(&at, default.clone(), "must not have unknown fields"));
        }
        value::validate(errors, &at, schema, default);
    }
    let below = |in_meta: bool| Place { is_root: false, in_meta };
    if schema.field("items").is_object() {
        validate(errors, &at.child("items"), schema.field("items"), below(in_meta));
    }
    for (name, property) in schema.entries("properties") {
        let in_meta = in_meta || (whole && META.contains(&name));
        validate(errors, &at.child("properties").key(name), property, below(in_meta));
    }
}

/// Pruning by `schema` would drop something of `value`; without a schema, every field of an object is unknown.
fn loses_fields(value: &Value, schema: Option<&Value>, whole: bool) -> bool {
    let property = |name: &str| schema.and_then(|schema| schema.field("properties").get(name));
    let additional = schema.map_or(&Value::Null, |schema| schema.field("additionalProperties"));
    let keeps_all = schema.is_some_and(|schema| schema.flag(PRESERVE));
    match value {
        Value::Object(fields) => fields.iter().any(|(name, value)| match property(name) {
            _ if whole && META.contains(&name.as_str()) => false,
            Some(property) => loses_fields(value, Some(property), property.flag(EMBEDDED)),
            None if additional.is_null() || *additional == false => !keeps_all,
            None => loses_fields(value, Some(additional).filter(|a| a.is_object()), additional.flag(EMBEDDED)),
        }),
        Value::Array(items) => {
            let schema = schema.map(|schema| schema.field("items")).filter(|items| items.is_object());
            let keeps_all = keeps_all && schema.is_none();
            let whole = schema.is_some_and(|schema| schema.flag(EMBEDDED));
            !keeps_all && items.iter().any(|item| loses_fields(item, schema, whole))
        }
        _ => false,
    }
}
