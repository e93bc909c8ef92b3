use serde_json::{Value, json};

use super::{definition, definitions};
use crate::testing::create_errors;

/// What a definition with this schema is told, without the path of the schema.
pub fn errors_of(schema: Value) -> Vec<String> {
    let mut definition = definition();
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = schema;
    let at = "spec.validation.openAPIV3Schema";
    let strip = |e: String| e.strip_prefix(at).map(str::to_owned).unwrap_or(e);
    create_errors(definitions(), definition).into_iter().map(strip).collect()
}

/// A schema with one property `a`.
pub fn with(property: Value) -> Value {
    json!({ "type": "object", "properties": { "a": property } })
}

fn check(cases: &[(Value, &[&str])]) {
    for (schema, want) in cases {
        assert_eq!(errors_of(schema.clone()), *want, "{schema}");
    }
}

#[test]
fn every_place_has_a_type() {
    check(&[
        (
            json!({}),
            &[
                ".type: Required value: must not be empty at the root",
                ".type: Required value: must be object at the root",
            ],
        ),
        (
            json!({ "type": "array" }),
            &[
                ".items: Required value: must be specified",
                ".type: Invalid value: \"array\": must be object at the root",
            ],
        ),
        (with(json!({})), &[".properties[a].type: Required value: must not be empty for specified object fields"]),
        (
            with(json!({ "type": "array", "items": {} })),
            &[".properties[a].items.type: Required value: must not be empty for specified array items"],
        ),
        (with(json!({ "x-kubernetes-preserve-unknown-fields": true })), &[]),
        (
            with(json!({ "x-kubernetes-int-or-string": true, "anyOf": [{ "type": "integer" }, { "type": "string" }] })),
            &[],
        ),
        (
            with(json!({ "type": "text" })),
            &[
                ".properties[a].type: Unsupported value: \"text\": supported values: \"array\", \"boolean\", \"integer\", \
               \"number\", \"object\", \"string\"",
            ],
        ),
        (
            json!({ "type": "object", "additionalProperties": { "type": "string" } }),
            &[".additionalProperties: Forbidden: must not be used at the root"],
        ),
        (json!({ "type": "object", "nullable": true }), &[".nullable: Forbidden: nullable cannot be true at the root"]),
    ]);
}

#[test]
fn alternatives_restrict_what_is_specified() {
    let nested =
        |nested: Value| json!({ "type": "object", "properties": { "a": { "type": "string" } }, "anyOf": [nested] });
    check(&[
        (nested(json!({ "required": ["a"], "properties": { "a": { "minLength": 1 } } })), &[]),
        (nested(json!({ "type": "object" })), &[".anyOf[0].type: Forbidden: must be empty to be structural"]),
        (nested(json!({ "default": {} })), &[".anyOf[0].default: Forbidden: must be undefined to be structural"]),
        (nested(json!({ "nullable": true })), &[".anyOf[0].nullable: Forbidden: must be false to be structural"]),
        (
            nested(json!({ "properties": { "metadata": {} } })),
            &[
                ".anyOf[0].properties[metadata]: Forbidden: must not be specified in a nested context",
                ".properties[metadata]: Required value: because it is defined in \
                 spec.validation.openAPIV3Schema.anyOf[0].properties[metadata]",
            ],
        ),
        (
            nested(json!({ "not": { "properties": { "b": {} } } })),
            &[".properties[b]: Required value: because it is defined in \
               spec.validation.openAPIV3Schema.anyOf[0].not.properties[b]"],
        ),
    ]);
}

#[test]
fn whole_objects_have_their_fields() {
    let metadata = |schema: Value| json!({ "type": "object", "properties": { "metadata": schema } });
    let names = json!({ "type": "object", "properties": { "name": { "type": "string", "maxLength": 3 } } });
    let labels = json!({ "type": "object", "properties": { "labels": { "type": "object" } } });
    let only = ".properties[metadata]: Forbidden: must not specify anything other than name and generateName, but \
                metadata is implicitly specified";
    check(&[
        (metadata(names), &[]),
        (metadata(labels), &[only]),
        (
            json!({ "type": "object", "properties": { "kind": { "type": "integer" } } }),
            &[".properties[kind].type: Invalid value: \"integer\": must be string"],
        ),
        (
            metadata(json!({ "type": "object", "properties": { "name": { "type": "string", "default": "x" } } })),
            &[".properties[metadata].properties[name].default: Forbidden: must not be set in top-level metadata"],
        ),
        (
            json!({ "type": "object", "properties": { "apiVersion": { "type": "string", "default": "v1" } } }),
            &[".properties[apiVersion].default: Forbidden: must not be set in top-level apiVersion"],
        ),
        (
            with(json!({ "x-kubernetes-embedded-resource": true, "type": "object", "properties": {
                "kind": { "type": "string" }, "apiVersion": { "type": "string" },
                "metadata": { "type": "object", "x-kubernetes-embedded-resource": true,
                    "x-kubernetes-preserve-unknown-fields": true } } })),
            &[
                ".properties[a].properties[metadata].x-kubernetes-embedded-resource: Forbidden: must not be used inside of \
               resource meta",
            ],
        ),
        (
            json!({ "type": "object", "properties": { "kind": { "type": "string", "default": "Foo" } } }),
            &[".properties[kind].default: Forbidden: must not be set in top-level kind"],
        ),
        (
            with(json!({ "x-kubernetes-embedded-resource": true, "type": "object" })),
            &[
                ".properties[a].properties: Required value: must not be empty if x-kubernetes-embedded-resource is true \
               without x-kubernetes-preserve-unknown-fields",
            ],
        ),
        (
            with(json!({ "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true })),
            &[".properties[a].type: Required value: must be object if x-kubernetes-embedded-resource is true"],
        ),
    ]);
}

#[test]
fn some_of_openapi_is_left_out() {
    let text = |field: &str, value: Value| {
        let mut schema = json!({ "type": "string" });
        schema[field] = value;
        with(schema)
    };
    check(&[
        (text("id", json!("x")), &[".properties[a].id: Forbidden: id is not supported"]),
        (text("$ref", json!("x")), &[".properties[a].$ref: Forbidden: $ref is not supported"]),
        (
            text("definitions", json!({ "x": {} })),
            &[".properties[a].definitions: Forbidden: definitions is not supported"],
        ),
        (
            text("patternProperties", json!({ "x": {} })),
            &[".properties[a].patternProperties: Forbidden: patternProperties is not supported"],
        ),
        (
            text("additionalItems", json!(true)),
            &[".properties[a].additionalItems: Forbidden: additionalItems is not supported"],
        ),
        (
            text("dependencies", json!({ "x": ["y"] })),
            &[".properties[a].dependencies: Forbidden: dependencies is not supported"],
        ),
        (
            with(json!({ "type": "array", "items": [{ "type": "string" }] })),
            &[".properties[a].items: Forbidden: items must be a schema object and not an array"],
        ),
        (
            with(json!({ "type": "null" })),
            &[
                ".properties[a].type: Unsupported value: \"null\": supported values: \"array\", \"boolean\", \"integer\", \
                 \"number\", \"object\", \"string\"",
                ".properties[a].type: Forbidden: type cannot be set to null, use nullable as an alternative",
            ],
        ),
        (
            text("uniqueItems", json!(true)),
            &[".properties[a].uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity \
               becomes quadratic"],
        ),
        (
            text("x-kubernetes-preserve-unknown-fields", json!(false)),
            &[".properties[a].x-kubernetes-preserve-unknown-fields: Invalid value: false: must be true or undefined"],
        ),
        (
            with(
                json!({ "type": "object", "additionalProperties": false, "properties": { "b": { "type": "string" } } }),
            ),
            &[
                ".properties[a].additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive",
            ],
        ),
    ]);
}

#[test]
fn lists_and_maps_merge_by_their_types() {
    let list = |rest: Value| {
        let mut schema = json!({ "type": "array", "items": { "type": "object", "required": ["k"],
            "properties": { "k": { "type": "string" }, "l": { "type": "array", "items": { "type": "string" } } } } });
        for (key, value) in rest.as_object().into_iter().flatten() {
            schema[key] = value.clone();
        }
        with(schema)
    };
    let keyed = |keys: Value| json!({ "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": keys });
    let a = ".properties[a]";
    let at = |rest: &str| format!("{a}.{rest}");
    let cases: &[(Value, &[&str])] = &[
        (list(keyed(json!(["k"]))), &[]),
        (
            list(json!({ "x-kubernetes-list-type": "map" })),
            &["x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map"],
        ),
        (
            list(keyed(json!(["x"]))),
            &["x-kubernetes-list-map-keys: Invalid value: [\"x\"]: entries must all be names of item properties"],
        ),
        (
            list(keyed(json!(["k", "k"]))),
            &["x-kubernetes-list-map-keys: Invalid value: [\"k\",\"k\"]: must not contain duplicate entries"],
        ),
        (
            list(keyed(json!(["l"]))),
            &[
                "items.properties[l].type: Invalid value: \"object\": must be a scalar type if parent array's \
                 x-kubernetes-list-type is map",
                "items.properties[l].default: Required value: this property is in x-kubernetes-list-map-keys, so it must \
                 have a default or be a required property",
            ],
        ),
        (
            with(json!({ "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
                "items": { "type": "string" } })),
            &["items.type: Invalid value: \"string\": must be object if parent array's x-kubernetes-list-type is map"],
        ),
        (
            with(json!({ "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"] })),
            &[
                "items: Required value: must be specified",
                "items: Required value: must have a schema if x-kubernetes-list-type is map",
            ],
        ),
        (
            with(json!({ "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
                "items": { "type": "object", "nullable": true, "required": ["k"],
                    "properties": { "k": { "type": "string", "nullable": true } } } })),
            &[
                "items.nullable: Forbidden: cannot be nullable when x-kubernetes-list-type is map",
                "items.properties[k].nullable: Forbidden: this property is in x-kubernetes-list-map-keys, so it cannot be \
                 nullable",
            ],
        ),
        (
            list(json!({ "x-kubernetes-list-map-keys": ["k"] })),
            &["x-kubernetes-list-type: Required value: must be map if x-kubernetes-list-map-keys is non-empty"],
        ),
        (
            list(json!({ "x-kubernetes-list-type": "bag" })),
            &["x-kubernetes-list-type: Unsupported value: \"bag\": supported values: \"atomic\", \"set\", \"map\""],
        ),
        (
            list(json!({ "x-kubernetes-list-type": "set" })),
            &["items.x-kubernetes-map-type: Invalid value: null: must be atomic as item of a list with \
               x-kubernetes-list-type=set"],
        ),
        (
            with(json!({ "type": "string", "x-kubernetes-list-type": "set" })),
            &["type: Invalid value: \"string\": must be array if x-kubernetes-list-type is specified"],
        ),
        (
            with(json!({ "type": "object", "x-kubernetes-map-type": "bag" })),
            &["x-kubernetes-map-type: Unsupported value: \"bag\": supported values: \"atomic\", \"granular\""],
        ),
        (
            with(json!({ "type": "string", "x-kubernetes-map-type": "atomic" })),
            &["type: Invalid value: \"string\": must be object if x-kubernetes-map-type is specified"],
        ),
    ];
    for (schema, want) in cases {
        let want: Vec<String> = want.iter().map(|w| at(w)).collect();
        assert_eq!(errors_of(schema.clone()), want, "{schema}");
    }
}

#[test]
fn rules_of_the_schema_say_what_is_wrong() {
    let rule = |rule: Value| json!({ "type": "object", "x-kubernetes-validations": [rule] });
    let at = "x-kubernetes-validations[0]";
    let cases: &[(Value, &str)] = &[
        (json!({ "rule": " " }), "rule: Required value: rule is not specified"),
        (
            json!({ "rule": "true", "message": " " }),
            "message: Invalid value: \" \": message must be non-empty if specified",
        ),
        (
            json!({ "rule": "true", "message": "a\nb" }),
            "message: Invalid value: \"a\\nb\": message must not contain line breaks",
        ),
        (
            json!({ "rule": "true &&\ntrue" }),
            "message: Required value: message must be specified if rule contains line breaks",
        ),
        (
            json!({ "rule": "true", "messageExpression": " " }),
            "messageExpression: Required value: messageExpression must be non-empty if specified",
        ),
        (
            json!({ "rule": "true", "reason": "Because" }),
            "reason: Unsupported value: \"Because\": supported values: \"FieldValueDuplicate\", \"FieldValueForbidden\", \
             \"FieldValueInvalid\", \"FieldValueRequired\"",
        ),
    ];
    assert_eq!(errors_of(rule(json!({ "rule": "true", "message": "m" }))), [""; 0]);
    for (schema, want) in cases {
        assert_eq!(errors_of(rule(schema.clone())), [format!(".{at}.{want}")], "{schema}");
    }
}

#[test]
fn rules_blame_fields_that_the_schema_has() {
    const NONE: &str = "fieldPath must be a valid path";
    for (path, want) in [
        ("", &[] as &[&str]),
        (".size", &[]),
        (".parts['a.b'].c", &[]),
        (".names.anybody", &[]),
        (".other", &[NONE]),
        ("size", &[NONE]),
        (".sizes[0]", &[NONE]),
        (".size\n", &["fieldPath must not contain line breaks", NONE]),
        (" ", &["fieldPath must be non-empty if specified", NONE]),
    ] {
        let schema = json!({
            "type": "object",
            "properties": {
                "size": { "type": "integer" },
                "sizes": { "type": "array", "items": { "type": "integer" } },
                "names": { "type": "object", "additionalProperties": { "type": "string" } },
                "parts": { "type": "object", "properties": {
                    "a.b": { "type": "object", "properties": { "c": { "type": "string" } } },
                } },
            },
            "x-kubernetes-validations": [{ "rule": "true", "fieldPath": path }],
        });
        let shown = json!(path);
        let at = format!(".x-kubernetes-validations[0].fieldPath: Invalid value: {shown}");
        let want: Vec<String> = want.iter().map(|why| format!("{at}: {why}")).collect();
        assert_eq!(errors_of(schema), want, "{path}");
    }
}

#[test]
fn a_status_endpoint_restricts_the_root() {
    let errors = |schema: Value| {
        let mut definition = definition();
        definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = schema;
        definition["spec"]["versions"][0]["subresources"] = json!({ "status": {} });
        create_errors(definitions(), definition)
    };
    assert_eq!(
        errors(json!({ "type": "object", "required": ["spec"], "properties": { "spec": { "type": "string" } } })),
        [""; 0]
    );
    let list = errors(json!({ "type": "array", "items": { "type": "string" } }));
    let only = "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled";
    assert_eq!(list[0], format!("spec.validation.openAPIV3Schema.type: Invalid value: \"array\": {only}"));
    let refused = errors(json!({ "type": "object", "anyOf": [{ "required": ["spec"] }] }));
    assert!(refused[0].contains("only [Description Type Format"), "{refused:?}");
    assert!(refused[0].ends_with("fields are allowed at the root of the schema if the status subresource is enabled"));
}
