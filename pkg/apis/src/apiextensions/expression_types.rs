//! What expressions know of the data that a schema describes: its types, and how large it can be. What has no type of its
//! own is not there for expressions.

use std::collections::HashMap;
use std::sync::LazyLock;

use cel::{Environment, Shape, Type};
use serde_json::{Value, json};

use super::schema::{EMBEDDED, INT_OR_STRING};
use crate::tree::Tree;

/// The largest request, in bytes: all data is smaller.
pub const REQUEST_MAX: u64 = 3 * 1024 * 1024;
/// What is left of it between quotes or brackets.
const INNER_MAX: u64 = REQUEST_MAX - 2;

/// The data of a schema.
pub struct Declared {
    pub of: Type,
    pub shape: Shape,
    /// The fewest bytes of JSON that it takes.
    pub least: u64,
}

impl Declared {
    /// Data without parts; of scalars but texts, `most` is 0, as upstream counts.
    fn simple(of: Type, most: u64, least: u64) -> Self {
        Self { of, shape: Shape::simple(most), least }
    }
}

/// The data that a schema describes; types of objects are added under `name`. `is_resource`: it is a whole object.
pub fn declare(environment: &mut Environment, name: &str, schema: &Value, is_resource: bool) -> Option<Declared> {
    if schema.flag(INT_OR_STRING) {
        return Some(Declared::simple(Type::Dyn, text_max(schema).unwrap_or(INNER_MAX), 1));
    }
    match schema.text("type") {
        "array" => {
            let item = part(environment, name, schema.field("items"))?;
            // Each takes a comma, too.
            let most = limit(schema, "maxItems").unwrap_or(INNER_MAX / (item.least + 1));
            Some(Declared { of: Type::list(item.of), shape: Shape::list(item.shape, most), least: 2 })
        }
        "object" if schema.field("additionalProperties").is_object() => {
            let value = part(environment, name, schema.field("additionalProperties"))?;
            // Each takes quotes, a colon, a comma and a key of two characters, too.
            let most = limit(schema, "maxProperties").unwrap_or(INNER_MAX / (value.least + 6));
            let shape = Shape::map(Shape::simple(0), value.shape, most);
            Some(Declared { of: Type::map(Type::String, value.of), shape, least: 2 })
        }
        "object" => Some(object(environment, name, schema, is_resource)),
        "string" => Some(text(schema)),
        "boolean" => Some(Declared::simple(Type::Bool, 0, 4)),
        "number" => Some(Declared::simple(Type::Double, 0, 1)),
        "integer" => Some(Declared::simple(Type::Int, 0, 1)),
        _ => None,
    }
}

/// A limit that a schema sets.
pub fn limit(schema: &Value, field: &str) -> Option<u64> {
    schema.int(field).map(|limit| u64::try_from(limit).unwrap_or(0))
}

/// The bytes of a text whose characters are limited.
fn text_max(schema: &Value) -> Option<u64> {
    limit(schema, "maxLength").map(|characters| characters.saturating_mul(4))
}

/// What lists and maps are made of.
fn part(environment: &mut Environment, name: &str, schema: &Value) -> Option<Declared> {
    declare(environment, &format!("{name}.@elem"), schema, schema.flag(EMBEDDED))
}

/// Durations and times are as long as the longest of them, whatever the schema says.
fn text(schema: &Value) -> Declared {
    match schema.text("format") {
        "byte" => Declared::simple(Type::Bytes, limit(schema, "maxLength").unwrap_or(INNER_MAX), 2),
        "duration" => Declared::simple(Type::Duration, 32, 3),
        "date" => Declared::simple(Type::Timestamp, 12, 12),
        "date-time" => Declared::simple(Type::Timestamp, 32, 21),
        _ => {
            let values = schema.list("enum");
            let longest = values.iter().filter_map(Value::as_str).map(str::len).max().unwrap_or(0) as u64;
            let unlimited = if values.is_empty() { INNER_MAX } else { longest };
            Declared::simple(Type::String, text_max(schema).unwrap_or(unlimited), 2)
        }
    }
}

/// What every whole object has, as far as expressions can name it.
static IDENTITY: LazyLock<Value> = LazyLock::new(|| {
    let name = json!({ "type": "string" });
    let metadata = json!({ "type": "object", "properties": { "name": name, "generateName": name } });
    json!({ "kind": name, "apiVersion": name, "metadata": metadata })
});

/// The schema says all of that itself.
fn has_identity(schema: &Value) -> bool {
    let properties = schema.field("properties");
    let is = |owner: &Value, name: &str, kind: &str| owner.field(name).text("type") == kind;
    let names = properties.field("metadata").field("properties");
    is(properties, "kind", "string")
        && is(properties, "apiVersion", "string")
        && is(properties, "metadata", "object")
        && is(names, "name", "string")
        && is(names, "generateName", "string")
}

fn object(environment: &mut Environment, name: &str, schema: &Value, is_resource: bool) -> Declared {
    let identity = Some(&*IDENTITY).filter(|_| is_resource && !has_identity(schema)).and_then(Value::as_object);
    let own = schema.entries("properties").filter(|(name, _)| !identity.is_some_and(|known| known.contains_key(*name)));
    let added = identity.into_iter().flatten().map(|(name, of)| (name.as_str(), of));
    let (mut fields, mut shapes, mut least) = (HashMap::new(), Vec::new(), 2);
    for (property, of) in own.chain(added) {
        let field = escaped(property);
        let path = format!("{name}.{}", field.as_deref().unwrap_or(property));
        let Some(found) = declare(environment, &path, of, of.flag(EMBEDDED)) else { continue };
        if schema.texts("required").any(|required| required == property) && !of.has("default") {
            least += property.len() as u64 + found.least + 4;
        }
        if let Some(field) = field {
            fields.insert(field.clone(), found.of);
            shapes.push((field, found.shape));
        }
    }
    Declared { of: environment.add_object(name, fields), shape: Shape::object(shapes), least }
}

/// A property as expressions name it.
fn escaped(property: &str) -> Option<String> {
    if cel::is_reserved(property) {
        return Some(format!("__{property}__"));
    }
    let is_known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/');
    if property.is_empty() || property.starts_with(|c: char| c.is_ascii_digit()) || !property.chars().all(is_known) {
        return None;
    }
    let escaped = property.replace("__", "__underscores__");
    Some(escaped.replace('.', "__dot__").replace('-', "__dash__").replace('/', "__slash__"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_escaped() {
        for (property, want) in [
            ("size", Some("size")),
            ("namespace", Some("__namespace__")),
            ("a.b-c/d__e", Some("a__dot__b__dash__c__slash__d__underscores__e")),
            ("a___b", Some("a__underscores___b")),
            ("1a", None),
            ("a b", None),
            ("\u{e9}", None),
            ("", None),
        ] {
            assert_eq!(escaped(property).as_deref(), want, "{property}");
        }
    }
}
