//! Schemas of custom resources: the rules that make them structural, and what Kubernetes leaves out of OpenAPI.
//! CEL rules and the fit of defaults are not checked here.

use apimachinery::field::{Error, ErrorList, Path};
use serde_json::Value;

use crate::tree::Tree;

/// Checks `validation.openAPIV3Schema`; `has_status`: the status is an endpoint of its own.
pub fn validate(errors: &mut ErrorList, at: &Path, validation: &Value, has_status: bool) {
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
    structural(errors, &at, schema, Level::Root);
    complete_all(errors, &at, schema);
    standard(errors, &at, schema, Where { root: true, ..Where::default() });
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

const INT_OR_STRING: &str = "x-kubernetes-int-or-string";
const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";
const EMBEDDED: &str = "x-kubernetes-embedded-resource";

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

/// Where a schema stands.
#[derive(Clone, Copy, Default)]
struct Where {
    root: bool,
    /// Inside `apiVersion`, `kind` or `metadata` of an object.
    in_meta: bool,
    /// Why defaults are not allowed here.
    no_default: Option<&'static str>,
}

/// Fields of OpenAPI that Kubernetes does not have.
const UNSUPPORTED: &[(&str, &str)] = &[
    ("id", "id is not supported"),
    ("additionalItems", "additionalItems is not supported"),
    ("patternProperties", "patternProperties is not supported"),
    ("definitions", "definitions is not supported"),
    ("dependencies", "dependencies is not supported"),
    ("$ref", "$ref is not supported"),
];

const TYPES: &[&str] = &["array", "boolean", "integer", "number", "object", "string"];

/// The rules that hold for every schema, structural or not.
fn standard(errors: &mut ErrorList, at: &Path, schema: &Value, place: Where) {
    let kind = schema.text("type");
    if !kind.is_empty() && !TYPES.contains(&kind) {
        errors.push(Error::not_supported(&at.child("type"), kind, TYPES));
    }
    if let (true, Some(reason)) = (schema.has("default"), place.no_default) {
        errors.push(Error::forbidden(&at.child("default"), format!("must not be set {reason}")));
    }
    for (field, why) in UNSUPPORTED.iter().filter(|(field, _)| schema.has(field)) {
        errors.push(Error::forbidden(&at.child(field), *why));
    }
    if kind == "null" {
        let why = "type cannot be set to null, use nullable as an alternative";
        errors.push(Error::forbidden(&at.child("type"), why));
    }
    if schema.field("items").is_array() {
        errors.push(Error::forbidden(&at.child("items"), "items must be a schema object and not an array"));
    }
    if place.in_meta && schema.flag(EMBEDDED) {
        errors.push(Error::forbidden(&at.child(EMBEDDED), "must not be used inside of resource meta"));
    }
    if schema.flag("uniqueItems") {
        let why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        errors.push(Error::forbidden(&at.child("uniqueItems"), why));
    }
    inner(errors, at, schema, place);
    if schema.field(PRESERVE) == &Value::Bool(false) {
        errors.push(Error::invalid(&at.child(PRESERVE), false, "must be true or undefined"));
    }
    map_type(errors, at, schema);
    list_type(errors, at, schema);
    no_null_items(errors, at, schema);
    for (i, rule) in schema.list("x-kubernetes-validations").iter().enumerate() {
        validation_rule(errors, &at.child("x-kubernetes-validations").index(i), rule);
    }
}

/// The schemas inside `schema`.
fn inner(errors: &mut ErrorList, at: &Path, schema: &Value, place: Where) {
    let below = Where { root: false, ..place };
    let additional = schema.field("additionalProperties");
    let restricts = !additional.is_null() && *additional != true;
    if restricts && schema.entries("properties").next().is_some() {
        let why = "additionalProperties and properties are mutual exclusive";
        errors.push(Error::forbidden(&at.child("additionalProperties"), why));
    }
    if additional.is_object() {
        let reason = "inside additionalProperties applying to object metadata";
        let below = if place.in_meta { Where { no_default: Some(reason), ..below } } else { below };
        standard(errors, &at.child("additionalProperties"), additional, below);
    }
    for (name, property) in schema.entries("properties") {
        let mut below = below;
        if place.root || schema.flag(EMBEDDED) {
            let reason = match name {
                "metadata" => "in top-level metadata",
                "kind" => "in top-level kind",
                "apiVersion" => "in top-level apiVersion",
                _ => "",
            };
            below.in_meta |= !reason.is_empty();
            if place.root && !reason.is_empty() {
                below.no_default = Some(reason);
            }
        }
        standard(errors, &at.child("properties").key(name), property, below);
    }
    if schema.has("not") {
        standard(errors, &at.child("not"), schema.field("not"), below);
    }
    for junctor in ["allOf", "oneOf", "anyOf"] {
        for (i, nested) in schema.list(junctor).iter().enumerate() {
            standard(errors, &at.child(junctor).index(i), nested, below);
        }
    }
    if schema.field("items").is_object() {
        standard(errors, &at.child("items"), schema.field("items"), below);
    }
}

/// A type that a list or map type asks for.
fn wants_type(errors: &mut ErrorList, at: &Path, schema: &Value, wanted: &str, extension: &str) {
    let why = format!("must be {wanted} if {extension} is specified");
    match schema.text("type") {
        "" => errors.push(Error::required(&at.child("type"), why)),
        kind => errors.push(Error::invalid(&at.child("type"), kind, why)),
    }
}

fn map_type(errors: &mut ErrorList, at: &Path, schema: &Value) {
    const KEY: &str = "x-kubernetes-map-type";
    let Some(map_type) = schema.field(KEY).as_str() else { return };
    if schema.text("type") != "object" {
        wants_type(errors, at, schema, "object", KEY);
    }
    if !matches!(map_type, "atomic" | "granular") {
        errors.push(Error::not_supported(&at.child(KEY), map_type, &["atomic", "granular"]));
    }
}

const LIST_TYPE: &str = "x-kubernetes-list-type";
const MAP_KEYS: &str = "x-kubernetes-list-map-keys";

fn list_type(errors: &mut ErrorList, at: &Path, schema: &Value) {
    let kind = schema.field(LIST_TYPE).as_str();
    let items = schema.field("items");
    if kind.is_some() && schema.text("type") != "array" {
        wants_type(errors, at, schema, "array", LIST_TYPE);
    } else if kind == Some("set") {
        let (field, atomic) = match items.text("type") {
            "array" => (LIST_TYPE, matches!(items.text(LIST_TYPE), "" | "atomic")),
            "object" => ("x-kubernetes-map-type", items.text("x-kubernetes-map-type") == "atomic"),
            _ => ("", true),
        };
        if !atomic {
            let why = "must be atomic as item of a list with x-kubernetes-list-type=set";
            errors.push(Error::invalid(&at.child("items").child(field), items.field(LIST_TYPE).clone(), why));
        }
    }
    if let Some(kind) = kind.filter(|kind| !matches!(*kind, "atomic" | "set" | "map")) {
        errors.push(Error::not_supported(&at.child(LIST_TYPE), kind, &["atomic", "set", "map"]));
    }
    if !schema.list(MAP_KEYS).is_empty() && kind != Some("map") {
        let why = "must be map if x-kubernetes-list-map-keys is non-empty";
        errors.push(match kind {
            None => Error::required(&at.child(LIST_TYPE), why),
            Some(kind) => Error::invalid(&at.child(LIST_TYPE), kind, why),
        });
    }
    if kind == Some("map") {
        map_list(errors, at, schema);
    }
}

/// A list whose items are known by some of their fields.
fn map_list(errors: &mut ErrorList, at: &Path, schema: &Value) {
    let keys: Vec<&str> = schema.texts(MAP_KEYS).collect();
    let (items_at, items) = (at.child("items"), schema.field("items"));
    if keys.is_empty() {
        let why = "must not be empty if x-kubernetes-list-type is map";
        errors.push(Error::required(&at.child(MAP_KEYS), why));
    }
    if items.is_null() {
        errors.push(Error::required(&items_at, "must have a schema if x-kubernetes-list-type is map"));
        return;
    }
    if items.text("type") != "object" {
        let why = "must be object if parent array's x-kubernetes-list-type is map";
        errors.push(Error::invalid(&items_at.child("type"), items.text("type"), why));
        return;
    }
    for (i, key) in keys.iter().enumerate() {
        let property = items.field("properties").field(key);
        if property.is_null() {
            let why = "entries must all be names of item properties";
            errors.push(Error::invalid(&at.child(MAP_KEYS), schema.field(MAP_KEYS).clone(), why));
        } else if matches!(property.text("type"), "array" | "object") {
            let path = items_at.child("properties").key(key).child("type");
            let why = "must be a scalar type if parent array's x-kubernetes-list-type is map";
            errors.push(Error::invalid(&path, items.text("type"), why));
        }
        if keys[..i].contains(key) {
            let why = "must not contain duplicate entries";
            errors.push(Error::invalid(&at.child(MAP_KEYS), schema.field(MAP_KEYS).clone(), why));
        }
    }
}

/// Items of sets and maps, and the keys of maps, are never null.
fn no_null_items(errors: &mut ErrorList, at: &Path, schema: &Value) {
    let (kind, items, at) = (schema.text(LIST_TYPE), schema.field("items"), at.child("items"));
    if !matches!(kind, "set" | "map") || items.is_null() {
        return;
    }
    if items.flag("nullable") {
        let why = format!("cannot be nullable when x-kubernetes-list-type is {kind}");
        errors.push(Error::forbidden(&at.child("nullable"), why));
    }
    let keys = schema.texts(MAP_KEYS).filter(|_| kind == "map");
    for (key, property) in keys.map(|key| (key, items.field("properties").field(key))).filter(|(_, p)| !p.is_null()) {
        const IS_KEY: &str = "this property is in x-kubernetes-list-map-keys, so it";
        let path = at.child("properties").key(key);
        if !items.texts("required").any(|required| required == key) && !property.has("default") {
            let why = format!("{IS_KEY} must have a default or be a required property");
            errors.push(Error::required(&path.child("default"), why));
        }
        if property.flag("nullable") {
            errors.push(Error::forbidden(&path.child("nullable"), format!("{IS_KEY} cannot be nullable")));
        }
    }
}

/// What a CEL rule says besides the expression.
fn validation_rule(errors: &mut ErrorList, at: &Path, rule: &Value) {
    const REASONS: &[&str] = &["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];
    let has_newlines = |text: &str| text.contains(['\n', '\r']);
    let (expression, message) = (rule.text("rule").trim(), rule.text("message"));
    let (message_at, path_at) = (at.child("message"), at.child("fieldPath"));
    if expression.is_empty() {
        errors.push(Error::required(&at.child("rule"), "rule is not specified"));
    } else if !message.is_empty() && message.trim().is_empty() {
        errors.push(Error::invalid(&message_at, message, "message must be non-empty if specified"));
    } else if has_newlines(message.trim()) {
        errors.push(Error::invalid(&message_at, message, "message must not contain line breaks"));
    } else if has_newlines(expression) && message.is_empty() {
        errors.push(Error::required(&message_at, "message must be specified if rule contains line breaks"));
    }
    let words = rule.text("messageExpression");
    if !words.is_empty() && words.trim().is_empty() {
        errors
            .push(Error::required(&at.child("messageExpression"), "messageExpression must be non-empty if specified"));
    }
    crate::check::optional_choice(errors, at, rule, "reason", REASONS);
    let path = rule.text("fieldPath");
    if !path.is_empty() && path.trim().is_empty() {
        errors.push(Error::invalid(&path_at, path, "fieldPath must be non-empty if specified"));
    }
    if has_newlines(path) {
        errors.push(Error::invalid(&path_at, path, "fieldPath must not contain line breaks"));
    }
}
