//! Schemas of custom resources: the rules that make them structural. Rules that hold for every schema are in
//! `standard`, those for defaults in `defaults`.

use apimachinery::field::{Error, ErrorList, Path};
use serde_json::Value;

use super::defaults;
use super::expressions::Rules;
use super::standard::{Where, standard};
use crate::tree::Tree;

/// Checks `validation.openAPIV3Schema`; `has_status`: the status is an endpoint of its own; `is_new`: CEL is compiled, if the
/// schema is structural.
pub fn validate(errors: &mut ErrorList, at: &Path, validation: &Value, has_status: bool, is_new: bool) {
    let schema = validation.field("openAPIV3Schema");
    if schema.is_null() {
        return;
    }
    let at = at.child("openAPIV3Schema");
    if has_status {
        root_with_status(errors, &at, schema);
    }
    if schema.flag("nullable") {
        errors.push(Error::forbidden(&at.child("nullable"), "nullable cannot be true at the root"));
    }
    let before = errors.len();
    structural(errors, &at, schema, Level::Root);
    complete_all(errors, &at, schema);
    if errors.len() == before {
        defaults::validate(errors, &at, schema, defaults::Place::ROOT);
    }
    let compile = is_new && errors.len() == before;
    let mut rules = Rules::default();
    standard(errors, &mut rules, &at, schema, Where::root(compile));
    rules.finish(errors, &at);
}

/// What may stand at the root when `status` is taken out of the schema; upstream's words for the fields, and ours.
const AT_ROOT: &[(&str, &str)] = &[
    ("Description", "description"),
    ("Type", "type"),
    ("Format", "format"),
    ("Title", "title"),
    ("Maximum", "maximum"),
    ("ExclusiveMaximum", "exclusiveMaximum"),
    ("Minimum", "minimum"),
    ("ExclusiveMinimum", "exclusiveMinimum"),
    ("MaxLength", "maxLength"),
    ("MinLength", "minLength"),
    ("Pattern", "pattern"),
    ("MaxItems", "maxItems"),
    ("MinItems", "minItems"),
    ("UniqueItems", "uniqueItems"),
    ("MultipleOf", "multipleOf"),
    ("Required", "required"),
    ("Items", "items"),
    ("Properties", "properties"),
    ("ExternalDocs", "externalDocs"),
    ("Example", "example"),
    ("XPreserveUnknownFields", "x-kubernetes-preserve-unknown-fields"),
    ("XValidations", "x-kubernetes-validations"),
];

fn root_with_status(errors: &mut ErrorList, at: &Path, schema: &Value) {
    let kind = schema.text("type");
    if !matches!(kind, "" | "object") {
        let why =
            "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled";
        errors.push(Error::invalid(&at.child("type"), kind, why));
        return;
    }
    let allowed = |name: &String| AT_ROOT.iter().any(|(_, known)| known == name);
    if !schema.as_object().into_iter().flatten().all(|(name, _)| allowed(name)) {
        let words: Vec<&str> = AT_ROOT.iter().map(|(word, _)| *word).collect();
        let why = format!(
            "only [{}] fields are allowed at the root of the schema if the status subresource is enabled",
            words.join(" ")
        );
        errors.push(Error::invalid(at, schema.clone(), why));
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

pub const INT_OR_STRING: &str = "x-kubernetes-int-or-string";
pub const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";
pub const EMBEDDED: &str = "x-kubernetes-embedded-resource";

/// The lists of alternatives.
const JUNCTORS: [&str; 3] = ["allOf", "anyOf", "oneOf"];

/// Every place of a structural schema says its type, once, outside of alternatives.
fn structural(errors: &mut ErrorList, at: &Path, schema: &Value, level: Level) {
    let kind = schema.text("type");
    if kind.is_empty() && !schema.flag(INT_OR_STRING) && !schema.flag(PRESERVE) {
        let place = match level {
            Level::Root => "at the root",
            Level::Item => "for specified array items",
            Level::Field => "for specified object fields",
        };
        errors.push(Error::required(&at.child("type"), format!("must not be empty {place}")));
    }
    if kind == "array" && !schema.has("items") {
        errors.push(Error::required(&at.child("items"), "must be specified"));
    }
    if schema.field("items").is_object() {
        structural(errors, &at.child("items"), schema.field("items"), Level::Item);
    }
    for (name, property) in schema.entries("properties") {
        structural(errors, &at.child("properties").key(name), property, Level::Field);
    }
    let additional = schema.field("additionalProperties");
    if !additional.is_null() && level == Level::Root {
        errors.push(Error::forbidden(&at.child("additionalProperties"), "must not be used at the root"));
    }
    if additional.is_object() {
        structural(errors, &at.child("additionalProperties"), additional, Level::Field);
    }
    alternatives(errors, at, schema, schema.flag(INT_OR_STRING));
    resource(errors, at, schema, level);
}

/// The type and the well-known fields of a whole object: at the root, or embedded.
fn resource(errors: &mut ErrorList, at: &Path, schema: &Value, level: Level) {
    let embedded = schema.flag(EMBEDDED);
    let properties = schema.field("properties");
    if level == Level::Root || embedded {
        let (kind, path) = (schema.text("type"), at.child("type"));
        let why = if level == Level::Root {
            "must be object at the root"
        } else {
            "must be object if x-kubernetes-embedded-resource is true"
        };
        if kind.is_empty() {
            errors.push(Error::required(&path, why));
        } else if kind != "object" {
            errors.push(Error::invalid(&path, kind, why));
        }
        for (name, wanted) in [("kind", "string"), ("apiVersion", "string"), ("metadata", "object")] {
            let kind = properties.field(name).text("type");
            if properties.has(name) && kind != wanted {
                let path = at.child("properties").key(name).child("type");
                errors.push(Error::invalid(&path, kind, format!("must be {wanted}")));
            }
        }
    }
    if level == Level::Root && properties.has("metadata") && !only_names(properties.field("metadata")) {
        let why = "must not specify anything other than name and generateName, but metadata is implicitly specified";
        errors.push(Error::forbidden(&at.child("properties").key("metadata"), why));
    }
    if embedded && !schema.flag(PRESERVE) && schema.entries("properties").next().is_none() {
        let why = "must not be empty if x-kubernetes-embedded-resource is true without \
                   x-kubernetes-preserve-unknown-fields";
        errors.push(Error::required(&at.child("properties"), why));
    }
}

/// The schema of `metadata` at the root restricts the names alone.
fn only_names(metadata: &Value) -> bool {
    let fields =
        metadata.as_object().into_iter().flatten().all(|(name, _)| matches!(name.as_str(), "type" | "properties"));
    fields && metadata.entries("properties").all(|(name, _)| matches!(name, "name" | "generateName"))
}

/// The alternatives of `schema`. `int_or_string`: the well-known pattern may name its two types.
fn alternatives(errors: &mut ErrorList, at: &Path, schema: &Value, int_or_string: bool) {
    let is_pattern = |list: &[Value]| {
        let types: Vec<&str> = list.iter().map(|s| s.text("type")).collect();
        types == ["integer", "string"] && list.iter().all(|s| s.as_object().is_some_and(|s| s.len() == 1))
    };
    for junctor in JUNCTORS {
        let list = schema.list(junctor);
        if junctor == "anyOf" && int_or_string && is_pattern(list) {
            continue;
        }
        for (i, nested) in list.iter().enumerate() {
            let first_of_all = junctor == "allOf" && i == 0;
            nested_schema(errors, &at.child(junctor).index(i), nested, int_or_string && first_of_all);
        }
    }
    if schema.has("not") {
        nested_schema(errors, &at.child("not"), schema.field("not"), false);
    }
}

/// What a schema inside alternatives may not say.
const NOT_NESTED: &[(&str, &str)] = &[
    ("type", "must be empty to be structural"),
    ("default", "must be undefined to be structural"),
    ("title", "must be empty to be structural"),
    ("description", "must be empty to be structural"),
    ("nullable", "must be false to be structural"),
    ("additionalProperties", "must be undefined to be structural"),
    (PRESERVE, "must be false to be structural"),
    (EMBEDDED, "must be false to be structural"),
    (INT_OR_STRING, "must be false to be structural"),
    ("x-kubernetes-list-map-keys", "must be empty to be structural"),
    ("x-kubernetes-list-type", "must be undefined to be structural"),
    ("x-kubernetes-map-type", "must be undefined to be structural"),
];

fn nested_schema(errors: &mut ErrorList, at: &Path, schema: &Value, int_or_string: bool) {
    alternatives(errors, at, schema, int_or_string);
    if schema.field("items").is_object() {
        nested_schema(errors, &at.child("items"), schema.field("items"), false);
    }
    for (name, property) in schema.entries("properties") {
        nested_schema(errors, &at.child("properties").key(name), property, false);
    }
    for (field, why) in NOT_NESTED {
        let value = schema.field(field);
        let empty = value.is_null() || *value == false || value == "" || value.as_array().is_some_and(Vec::is_empty);
        if !empty || (value == false && *field == "additionalProperties") {
            errors.push(Error::forbidden(&at.child(field), *why));
        }
    }
    if schema.field("properties").has("metadata") {
        let why = "must not be specified in a nested context";
        errors.push(Error::forbidden(&at.child("properties").key("metadata"), why));
    }
}

/// Every field that an alternative names is specified outside of it, too.
fn complete_all(errors: &mut ErrorList, at: &Path, schema: &Value) {
    complete(errors, (at, schema), (at, schema));
    if schema.field("items").is_object() {
        complete_all(errors, &at.child("items"), schema.field("items"));
    }
    for (name, property) in schema.entries("properties") {
        complete_all(errors, &at.child("properties").key(name), property);
    }
    if schema.field("additionalProperties").is_object() {
        complete_all(errors, &at.child("additionalProperties"), schema.field("additionalProperties"));
    }
}

/// Looks at the alternatives of `nested`, which stand for the place that `outer` specifies.
fn complete(errors: &mut ErrorList, outer: (&Path, &Value), (at, nested): (&Path, &Value)) {
    for junctor in JUNCTORS {
        for (i, schema) in nested.list(junctor).iter().enumerate() {
            names_known_fields(errors, outer, (&at.child(junctor).index(i), schema));
        }
    }
    if nested.has("not") {
        names_known_fields(errors, outer, (&at.child("not"), nested.field("not")));
    }
}

fn names_known_fields(errors: &mut ErrorList, (outer_at, outer): (&Path, &Value), (at, nested): (&Path, &Value)) {
    complete(errors, (outer_at, outer), (at, nested));
    let because = |path: Path| format!("because it is defined in {path}");
    for (name, property) in nested.entries("properties") {
        let (path, known) = (outer_at.child("properties").key(name), outer.field("properties").field(name));
        let nested_path = at.child("properties").key(name);
        if known.is_null() {
            errors.push(Error::required(&path, because(nested_path)));
        } else {
            names_known_fields(errors, (&path, known), (&nested_path, property));
        }
    }
    if nested.field("items").is_object() {
        let (path, nested_path) = (outer_at.child("items"), at.child("items"));
        if outer.has("items") {
            names_known_fields(errors, (&path, outer.field("items")), (&nested_path, nested.field("items")));
        } else {
            errors.push(Error::required(&path, because(nested_path)));
        }
    }
}
