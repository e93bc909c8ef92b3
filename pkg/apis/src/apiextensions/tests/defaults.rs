//! Rules of defaults, and with them those that values of custom resources follow.

use serde_json::{Value, json};

use super::schemas::{errors_of, with};
use crate::testing::assert_texts;

/// A property with this schema and default: the errors below the default.
fn check(cases: &[(Value, Value, &[&str])]) {
    for (schema, default, want) in cases {
        let mut schema = schema.clone();
        schema["default"] = default.clone();
        let want: Vec<String> = want.iter().map(|error| format!(".properties[a].default{error}")).collect();
        let want: Vec<&str> = want.iter().map(String::as_str).collect();
        assert_texts(errors_of(with(schema.clone())), &want, || schema.to_string());
    }
}

#[test]
fn types() {
    let number = json!({ "type": "number" });
    check(&[
        (json!({ "type": "string" }), json!("x"), &[]),
        (
            json!({ "type": "string" }),
            json!(1),
            &[": Invalid value: \"integer\":  in body must be of type string: \"integer\""],
        ),
        (json!({ "type": "boolean" }), json!(false), &[]),
        (
            json!({ "type": "boolean" }),
            json!("false"),
            &[": Invalid value: \"string\":  in body must be of type boolean: \"string\""],
        ),
        (json!({ "type": "integer" }), json!(1), &[]),
        (json!({ "type": "integer" }), json!(1.0), &[]),
        (
            json!({ "type": "integer" }),
            json!(1.5),
            &[": Invalid value: \"number\":  in body must be of type integer: \"number\""],
        ),
        (number.clone(), json!(1), &[]),
        (number, json!(1.5), &[]),
        (json!({ "type": "object" }), json!({}), &[]),
        (
            json!({ "type": "object" }),
            json!([]),
            &[": Invalid value: \"array\":  in body must be of type object: \"array\""],
        ),
        (json!({ "x-kubernetes-int-or-string": true }), json!("10%"), &[]),
        (
            json!({ "x-kubernetes-int-or-string": true }),
            json!(true),
            &[": Invalid value: \"boolean\":  in body must be of type integer,string: \"boolean\""],
        ),
        (json!({ "x-kubernetes-preserve-unknown-fields": true }), json!([{ "a": [1] }]), &[]),
    ]);
}

#[test]
fn texts_and_numbers() {
    let text = |rest: Value| merged(json!({ "type": "string" }), rest);
    let number = |rest: Value| merged(json!({ "type": "integer" }), rest);
    check(&[
        (text(json!({ "minLength": 2, "maxLength": 2 })), json!("äö"), &[]),
        (
            text(json!({ "minLength": 2 })),
            json!("x"),
            &[": Invalid value: \"x\":  in body should be at least 2 chars long"],
        ),
        (text(json!({ "maxLength": 1 })), json!("xy"), &[": Too long: may not be more than 1 bytes"]),
        (text(json!({ "pattern": "^a+$" })), json!("aa"), &[]),
        (text(json!({ "pattern": "^a+$" })), json!("ab"), &[": Invalid value: \"ab\":  in body should match '^a+$'"]),
        (
            text(json!({ "pattern": "(" })),
            json!("a"),
            &[": Invalid value: \"a\":  in body should match '(, but pattern is invalid: {…}'"],
        ),
        (text(json!({ "enum": ["a", "b"] })), json!("a"), &[]),
        (
            text(json!({ "enum": ["a", "b"] })),
            json!("c"),
            &[": Unsupported value: \"c\": supported values: \"a\", \"b\""],
        ),
        (text(json!({ "format": "ipv4" })), json!("10.0.0.1"), &[]),
        (
            text(json!({ "format": "ipv4" })),
            json!("x"),
            &[": Invalid value: \"x\":  in body must be of type ipv4: \"x\""],
        ),
        (number(json!({ "minimum": 1, "maximum": 3, "multipleOf": 1 })), json!(3), &[]),
        (
            number(json!({ "minimum": 1 })),
            json!(0),
            &[": Invalid value: 0:  in body should be greater than or equal to 1"],
        ),
        (
            number(json!({ "minimum": 1, "exclusiveMinimum": true })),
            json!(1),
            &[": Invalid value: 1:  in body should be greater than 1"],
        ),
        (
            number(json!({ "maximum": 3 })),
            json!(4),
            &[": Invalid value: 4:  in body should be less than or equal to 3"],
        ),
        (
            number(json!({ "maximum": 3, "exclusiveMaximum": true })),
            json!(3),
            &[": Invalid value: 3:  in body should be less than 3"],
        ),
        (number(json!({ "multipleOf": 2 })), json!(3), &[": Invalid value: 3:  in body should be a multiple of 2"]),
        (number(json!({ "enum": [1, 2] })), json!(1.0), &[]),
        (number(json!({ "enum": [1, 2] })), json!(3), &[": Unsupported value: 3: supported values: \"1\", \"2\""]),
    ]);
}

fn merged(mut schema: Value, rest: Value) -> Value {
    for (key, value) in rest.as_object().into_iter().flatten() {
        schema[key] = value.clone();
    }
    schema
}

#[test]
fn lists_and_objects() {
    let list = |rest: Value| merged(json!({ "type": "array", "items": { "type": "integer" } }), rest);
    let pair =
        json!({ "b": { "type": "integer" }, "c": { "type": "object", "properties": { "d": { "type": "string" } } } });
    let object = |rest: Value| merged(json!({ "type": "object", "properties": pair }), rest);
    let map = json!({ "type": "object", "additionalProperties": { "type": "integer" } });
    let nullable = json!({ "type": "object", "properties": { "b": { "type": "integer", "nullable": true } } });
    check(&[
        (list(json!({ "minItems": 1, "maxItems": 2 })), json!([1, 2]), &[]),
        (
            list(json!({})),
            json!([1, "x"]),
            &[".[1]: Invalid value: \"string\": [1] in body must be of type integer: \"string\""],
        ),
        (list(json!({ "minItems": 2 })), json!([1]), &[": Invalid value: 1:  in body should have at least 2 items"]),
        (list(json!({ "maxItems": 1 })), json!([1, 2]), &[": Too many: 2: must have at most 1 items"]),
        (object(json!({ "required": ["b"] })), json!({ "b": 1, "c": { "d": "x" } }), &[]),
        (
            object(json!({ "required": ["b"] })),
            json!({ "c": { "d": 1 } }),
            &[
                ".c.d: Invalid value: \"integer\": c.d in body must be of type string: \"integer\"",
                ".b: Required value",
            ],
        ),
        (
            object(json!({ "minProperties": 2 })),
            json!({ "b": 1 }),
            &[": Invalid value: 1:  in body should have at least 2 properties"],
        ),
        (
            object(json!({ "maxProperties": 1 })),
            json!({ "b": 1, "c": {} }),
            &[": Too many: 2: must have at most 1 items"],
        ),
        (map.clone(), json!({ "x": 1 }), &[]),
        (map, json!({ "x": "y" }), &[".x: Invalid value: \"string\": x in body must be of type integer: \"string\""]),
        (nullable, json!({ "b": null }), &[]),
        (
            object(json!({})),
            json!({ "b": null }),
            &[".b: Invalid value: \"null\": b in body must be of type integer: \"null\""],
        ),
    ]);
}

#[test]
fn alternatives() {
    let text = |rest: Value| merged(json!({ "type": "string" }), rest);
    let parts = json!([{ "minLength": 2 }, { "pattern": "^a" }]);
    check(&[
        (text(json!({ "anyOf": parts })), json!("a"), &[]),
        (
            text(json!({ "anyOf": parts })),
            json!("b"),
            &[
                ": Invalid value: \"\": \"\" must validate at least one schema (anyOf)",
                ": Invalid value: \"b\":  in body should be at least 2 chars long",
            ],
        ),
        (text(json!({ "oneOf": parts })), json!("bb"), &[]),
        (
            text(json!({ "oneOf": parts })),
            json!("b"),
            &[
                ": Invalid value: \"\": \"\" must validate one and only one schema (oneOf). Found none valid",
                ": Invalid value: \"b\":  in body should be at least 2 chars long",
            ],
        ),
        (
            text(json!({ "oneOf": parts })),
            json!("ab"),
            &[": Invalid value: \"\": \"\" must validate one and only one schema (oneOf). Found 2 valid alternatives"],
        ),
        (text(json!({ "allOf": parts })), json!("ab"), &[]),
        (
            text(json!({ "allOf": parts })),
            json!("a"),
            &[
                ": Invalid value: \"a\":  in body should be at least 2 chars long",
                ": Invalid value: \"\": \"\" must validate all the schemas (allOf)",
            ],
        ),
        (
            text(json!({ "allOf": parts })),
            json!("b"),
            &[
                ": Invalid value: \"b\":  in body should be at least 2 chars long",
                ": Invalid value: \"b\":  in body should match '^a'",
                ": Invalid value: \"\": \"\" must validate all the schemas (allOf). None validated",
            ],
        ),
        (text(json!({ "not": { "pattern": "^a" } })), json!("b"), &[]),
        (
            text(json!({ "not": { "pattern": "^a" } })),
            json!("a"),
            &[": Invalid value: \"\": \"\" must not validate the schema (not)"],
        ),
    ]);
}

#[test]
fn what_would_be_pruned() {
    let inner = json!({ "type": "object", "properties": { "c": { "type": "string" } } });
    let object = json!({ "type": "object", "properties": { "b": inner } });
    let list = json!({ "type": "array", "items": inner });
    let open = merged(object.clone(), json!({ "x-kubernetes-preserve-unknown-fields": true }));
    let embedded = merged(object.clone(), json!({ "x-kubernetes-embedded-resource": true }));
    let map = json!({ "type": "object", "additionalProperties": inner });
    let pruned: &[&str] = &[": Invalid value: {…}: must not have unknown fields"];
    check(&[
        (object.clone(), json!({ "b": { "c": "x" } }), &[]),
        (object.clone(), json!({ "d": 1 }), pruned),
        (object, json!({ "b": { "d": 1 } }), pruned),
        (list.clone(), json!([{ "c": "x" }]), &[]),
        (list, json!([{ "d": 1 }]), pruned),
        (open.clone(), json!({ "d": { "e": 1 } }), &[]),
        (open, json!({ "b": { "d": 1 } }), pruned),
        (embedded, json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "x" }, "b": {} }), &[]),
        (map.clone(), json!({ "x": { "c": "y" } }), &[]),
        (map, json!({ "x": { "d": 1 } }), pruned),
    ]);
}

#[test]
fn defaults_are_found_everywhere() {
    let schema = json!({ "type": "object", "properties": { "a": { "type": "array", "items": {
        "type": "object", "properties": { "b": { "type": "integer", "default": "x" } },
    } } } });
    let at = ".properties[a].items.properties[b].default";
    let want = format!("{at}: Invalid value: \"string\":  in body must be of type integer: \"string\"");
    assert_eq!(errors_of(schema), [want]);
}
