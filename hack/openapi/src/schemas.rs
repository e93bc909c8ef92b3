//! Component schemas: the typed kinds' own ones with what they lack, the `x-kubernetes-*` extensions and defaults.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::definitions::Definitions;
use crate::facts::{Facts, MergeRule};
use crate::paths::capital;
use crate::table::{default_json, is_listed, reference};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// Types of which one field says which other may be set: definition, that field, the others.
const UNIONS: &[(&str, &str, &[&str])] = &[
    ("io.k8s.api.core.v1.AppArmorProfile", "type", &["localhostProfile"]),
    ("io.k8s.api.core.v1.SeccompProfile", "type", &["localhostProfile"]),
    ("io.k8s.api.flowcontrol.v1.LimitResponse", "type", &["queuing"]),
    ("io.k8s.api.flowcontrol.v1.PriorityLevelConfigurationSpec", "type", &["exempt", "limited"]),
    ("io.k8s.api.flowcontrol.v1.Subject", "kind", &["group", "serviceAccount", "user"]),
];

/// All schemas by definition name, as OpenAPI v3 has them.
pub type Schemas = BTreeMap<String, Map<String, Value>>;

/// A group, version and kind as the extension has it.
pub fn gvk_value(group: &str, version: &str, kind: &str) -> Value {
    json!({ "group": group, "kind": kind, "version": version })
}

/// Completes the typed kinds' schemas. `group_versions` are the served ones: options and events are of each of them.
pub fn complete(definitions: &Definitions, facts: &Facts, group_versions: &[(String, String)]) -> Schemas {
    let mut schemas = definitions.schemas.clone();
    for (name, schema) in &mut schemas {
        annotate(name, schema, facts);
        special_form(name, schema);
    }
    let mut gvks: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for root in &definitions.roots {
        if let Some(required) = schemas.get_mut(&root.definition).and_then(|s| s.get_mut("required")) {
            // The typed library calls metadata required; upstream does not.
            required.as_array_mut().into_iter().for_each(|r| r.retain(|f| f != "metadata"));
        }
        let gvk = |kind: &str| gvk_value(&root.group, &root.version, kind);
        gvks.entry(root.definition.clone()).or_default().push(gvk(&root.kind));
        if is_listed(root) {
            let (name, kind) = (format!("{}List", root.definition), format!("{}List", root.kind));
            schemas.insert(name.clone(), list_schema(&root.definition, &root.kind));
            gvks.entry(name).or_default().push(gvk(&kind));
        }
    }
    for kind in ["DeleteOptions", "WatchEvent"] {
        let all = group_versions.iter().map(|(group, version)| gvk_value(group, version, kind));
        gvks.insert(format!("{META}.{kind}"), all.collect());
    }
    for (name, gvks) in gvks {
        if let Some(schema) = schemas.get_mut(&name) {
            schema.insert("x-kubernetes-group-version-kind".to_owned(), gvks.into());
        }
    }
    for (name, discriminator, fields) in UNIONS {
        let values: Map<String, Value> = fields.iter().map(|f| ((*f).to_owned(), capital(f).into())).collect();
        let union_ = json!([{"discriminator": discriminator, "fields-to-discriminateBy": values}]);
        schemas.entry((*name).to_owned()).or_default().insert("x-kubernetes-unions".to_owned(), union_);
    }
    for schema in schemas.values_mut() {
        if schema.get("required").and_then(Value::as_array).is_some_and(Vec::is_empty) {
            schema.remove("required");
        }
    }
    schemas
}

fn annotate(name: &str, schema: &mut Map<String, Value>, facts: &Facts) {
    if facts.atomic_types.iter().any(|t| t == name) {
        schema.insert("x-kubernetes-map-type".to_owned(), "atomic".into());
    }
    let Some(Value::Object(properties)) = schema.get_mut("properties") else { return };
    let names: Vec<String> = properties.keys().cloned().collect();
    let places = facts.wire_places(name, &names.iter().map(String::as_str).collect::<Vec<_>>());
    for (field, property) in properties.iter_mut() {
        let owner = places.get(field).map_or(name, |(_, owner)| owner);
        if let (Some(rule), Value::Object(property)) =
            (facts.rule(name, field).or_else(|| facts.rule(owner, field)), property)
        {
            annotate_field(property, rule);
        }
    }
}

fn annotate_field(property: &mut Map<String, Value>, rule: &MergeRule) {
    let mut text = |key: &str, value: &str| {
        if !value.is_empty() {
            property.insert(key.to_owned(), value.into());
        }
    };
    text("x-kubernetes-list-type", &rule.list_type);
    text("x-kubernetes-map-type", &rule.map_type);
    text("x-kubernetes-map-type", &rule.struct_type);
    text("x-kubernetes-patch-strategy", &rule.patch_strategy);
    text("x-kubernetes-patch-merge-key", &rule.patch_merge_key);
    let keys: Vec<Value> = rule.list_map_keys.split(',').filter(|k| !k.is_empty()).map(Value::from).collect();
    if !keys.is_empty() {
        property.insert("x-kubernetes-list-map-keys".to_owned(), keys.into());
    }
    if let Ok(default) = serde_json::from_str(&default_json(&rule.default)) {
        property.insert("default".to_owned(), default);
    }
}

/// Types whose JSON is not what their fields say.
fn special_form(name: &str, schema: &mut Map<String, Value>) {
    let mut replace = |form: Value| {
        schema.retain(|key, _| key == "description");
        schema.extend(form.as_object().cloned().unwrap_or_default());
    };
    match name.rsplit('.').next().unwrap_or(name) {
        "Quantity" => replace(json!({"oneOf": [{"type": "string"}, {"type": "number"}]})),
        "IntOrString" => {
            replace(json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]}))
        }
        "JSON" | "JSONSchemaPropsOrArray" | "JSONSchemaPropsOrBool" | "JSONSchemaPropsOrStringArray" => {
            replace(json!({}))
        }
        _ => {}
    }
}

fn list_schema(definition: &str, kind: &str) -> Map<String, Value> {
    let text = |description: &str| json!({"type": "string", "description": description});
    let schema = json!({
        "type": "object",
        "description": format!("{kind}List holds a list of {kind}."),
        "required": ["items"],
        "properties": {
            "apiVersion": text("Group and version of this form of the object."),
            "kind": text("Kind of this object, in CamelCase."),
            "metadata": {"allOf": [{"$ref": schema_ref(&format!("{META}.ListMeta"))}], "description": "Standard metadata of lists."},
            "items": {"type": "array", "items": {"allOf": [{"$ref": schema_ref(definition)}], "default": {}}, "description": "The objects."},
        },
    });
    schema.as_object().cloned().unwrap_or_default()
}

pub fn schema_ref(definition: &str) -> String {
    format!("#/components/schemas/{definition}")
}

/// The schemas that `document` names, and those that they name.
pub fn referenced(document: &Value, schemas: &Schemas) -> Map<String, Value> {
    let (mut found, mut open) = (BTreeSet::new(), Vec::new());
    collect(document, &mut open);
    while let Some(name) = open.pop() {
        if let Some(schema) = schemas.get(&name).filter(|_| found.insert(name.clone())) {
            collect(&Value::Object(schema.clone()), &mut open);
        }
    }
    found.into_iter().filter_map(|name| Some((name.clone(), schemas.get(&name)?.clone().into()))).collect()
}

fn collect(value: &Value, names: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            if map.contains_key("$ref") {
                names.extend(reference(value).map(str::to_owned));
            }
            map.values().for_each(|v| collect(v, names));
        }
        Value::Array(items) => items.iter().for_each(|v| collect(v, names)),
        _ => {}
    }
}
