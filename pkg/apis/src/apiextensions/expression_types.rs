//! The types that CEL gives to what a schema describes. What has no type of its own is not there for expressions.

use std::collections::HashMap;

use cel::{Environment, Type};
use serde_json::Value;

use super::schema::{EMBEDDED, INT_OR_STRING};
use crate::tree::Tree;

/// The type of what a schema describes; types of objects are added under `name`. `is_resource`: it is a whole object.
pub fn declare(environment: &mut Environment, name: &str, schema: &Value, is_resource: bool) -> Option<Type> {
    if schema.flag(INT_OR_STRING) {
        return Some(Type::Dyn);
    }
    match schema.text("type") {
        "array" => part(environment, name, schema.field("items")).map(Type::list),
        "object" if schema.field("additionalProperties").is_object() => {
            let values = part(environment, name, schema.field("additionalProperties"))?;
            Some(Type::map(Type::String, values))
        }
        "object" => Some(object(environment, name, schema, is_resource)),
        "string" => Some(match schema.text("format") {
            "byte" => Type::Bytes,
            "duration" => Type::Duration,
            "date" | "date-time" => Type::Timestamp,
            _ => Type::String,
        }),
        "boolean" => Some(Type::Bool),
        "number" => Some(Type::Double),
        "integer" => Some(Type::Int),
        _ => None,
    }
}

/// What lists and maps are made of.
fn part(environment: &mut Environment, name: &str, schema: &Value) -> Option<Type> {
    declare(environment, &format!("{name}.@elem"), schema, schema.flag(EMBEDDED))
}

fn object(environment: &mut Environment, name: &str, schema: &Value, is_resource: bool) -> Type {
    let mut fields = HashMap::new();
    for (property, of) in schema.entries("properties") {
        let Some(field) = escaped(property) else { continue };
        if let Some(found) = declare(environment, &format!("{name}.{field}"), of, of.flag(EMBEDDED)) {
            fields.insert(field, found);
        }
    }
    if is_resource {
        // Nothing else of the metadata can be named, whatever the schema says.
        let names = ["name", "generateName"].map(|field| (field.to_owned(), Type::String));
        let metadata = environment.add_object(&format!("{name}.metadata"), names.into());
        fields.insert("metadata".to_owned(), metadata);
        fields.extend(["kind", "apiVersion"].map(|field| (field.to_owned(), Type::String)));
    }
    environment.add_object(name, fields)
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
