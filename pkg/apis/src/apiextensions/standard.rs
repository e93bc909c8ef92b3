//! Rules that hold for every schema of a custom resource, structural or not: what Kubernetes leaves out of OpenAPI, and
//! how lists and maps merge.

use apimachinery::field::{Error, ErrorList, Path};
use serde_json::Value;

use super::expression_types::limit;
use super::expressions::Rules;
use super::path::{self, Brackets};
use super::schema::{EMBEDDED, PRESERVE};
use crate::tree::Tree;

/// Where a schema stands.
#[derive(Clone, Copy, Default)]
pub struct Where {
    root: bool,
    /// Inside `apiVersion`, `kind` or `metadata` of an object.
    in_meta: bool,
    /// Why defaults are not allowed here.
    no_default: Option<&'static str>,
    /// Expressions are new, and not inside of an alternative.
    compile: bool,
    /// How often it can be in one object, if limits tell.
    count: Option<u64>,
}

impl Where {
    /// `compile`: expressions are new.
    pub const fn root(compile: bool) -> Self {
        Self { root: true, in_meta: false, no_default: None, compile, count: Some(1) }
    }
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

/// The rules that hold for every schema, structural or not. Expressions are looked at where all else is right.
pub fn standard(errors: &mut ErrorList, rules: &mut Rules, at: &Path, schema: &Value, place: Where) {
    let before = errors.len();
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
    inner(errors, rules, at, schema, place);
    if schema.field(PRESERVE) == &Value::Bool(false) {
        errors.push(Error::invalid(&at.child(PRESERVE), false, "must be true or undefined"));
    }
    map_type(errors, at, schema);
    list_type(errors, at, schema);
    no_null_items(errors, at, schema);
    for (i, rule) in schema.list("x-kubernetes-validations").iter().enumerate() {
        validation_rule(errors, &at.child("x-kubernetes-validations").index(i), schema, rule);
    }
    if place.compile && errors.len() == before {
        let is_resource = place.root || schema.flag(EMBEDDED);
        rules.check(&at.child("x-kubernetes-validations"), schema, is_resource, place.count);
    }
}

/// The schemas inside `schema`.
fn inner(errors: &mut ErrorList, rules: &mut Rules, at: &Path, schema: &Value, place: Where) {
    let count = place.count.zip(parts(schema)).map(|(count, parts)| count.saturating_mul(parts));
    let below = Where { root: false, count, ..place };
    let additional = schema.field("additionalProperties");
    let restricts = !additional.is_null() && *additional != true;
    if restricts && schema.entries("properties").next().is_some() {
        let why = "additionalProperties and properties are mutual exclusive";
        errors.push(Error::forbidden(&at.child("additionalProperties"), why));
    }
    if additional.is_object() {
        let reason = "inside additionalProperties applying to object metadata";
        let below = if place.in_meta { Where { no_default: Some(reason), ..below } } else { below };
        standard(errors, rules, &at.child("additionalProperties"), additional, below);
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
        standard(errors, rules, &at.child("properties").key(name), property, below);
    }
    let alternative = Where { compile: false, ..below };
    if schema.has("not") {
        standard(errors, rules, &at.child("not"), schema.field("not"), alternative);
    }
    for junctor in ["allOf", "oneOf", "anyOf"] {
        for (i, nested) in schema.list(junctor).iter().enumerate() {
            standard(errors, rules, &at.child(junctor).index(i), nested, alternative);
        }
    }
    if schema.field("items").is_object() {
        standard(errors, rules, &at.child("items"), schema.field("items"), below);
    }
}

/// How often each part of a list, a map or an object can be in it, if a limit tells.
fn parts(schema: &Value) -> Option<u64> {
    match schema.text("type") {
        "object" if schema.has("additionalProperties") => limit(schema, "maxProperties"),
        "array" => limit(schema, "maxItems"),
        _ => Some(1),
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

/// What a CEL rule of `schema` says besides the expression.
fn validation_rule(errors: &mut ErrorList, at: &Path, schema: &Value, rule: &Value) {
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
    if path::find(schema, path, Brackets::Allowed).is_err() {
        errors.push(Error::invalid(&path_at, path, "fieldPath must be a valid path"));
    }
}
