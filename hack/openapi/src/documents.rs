//! Whole documents: one of OpenAPI v3 for each group version, and one of v2 for all.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::definitions::Definitions;
use crate::facts::Facts;
use crate::paths;
use crate::schemas::{self, Schemas};

/// Documents by file name below `api/openapi-spec`, pretty-printed.
pub fn render(definitions: &Definitions, facts: &Facts) -> BTreeMap<String, String> {
    let group_versions = paths::group_versions();
    let schemas = schemas::complete(definitions, facts, &group_versions);
    let mut files = BTreeMap::new();
    let mut all_paths = Map::new();
    for (group, version) in &group_versions {
        let paths = paths::of_group_version(definitions, group, version);
        let name = if group.is_empty() { format!("api__{version}") } else { format!("apis__{group}__{version}") };
        files.insert(format!("v3/{name}_openapi.json"), pretty(&v3(&paths, &schemas)));
        all_paths.extend(paths);
    }
    files.insert("swagger.json".to_owned(), pretty(&v2(&all_paths, &schemas)));
    files
}

fn pretty(document: &Value) -> String {
    let mut text = format!("{document:#}");
    text.push('\n');
    text
}

fn info() -> Value {
    json!({"title": "Kubernetes", "version": "v1.37.0"})
}

fn v3(paths: &Map<String, Value>, schemas: &Schemas) -> Value {
    let paths = Value::Object(paths.clone());
    let components = schemas::referenced(&paths, schemas);
    json!({
        "openapi": "3.0.0", "info": info(), "paths": paths,
        "components": {"schemas": components, "securitySchemes": {"BearerToken": security()}},
    })
}

fn security() -> Value {
    json!({"type": "apiKey", "description": "Bearer Token authentication", "name": "authorization", "in": "header"})
}

fn v2(paths: &Map<String, Value>, schemas: &Schemas) -> Value {
    let all = Value::Object(paths.clone());
    let definitions = schemas::referenced(&all, schemas);
    let definitions: Map<String, Value> = definitions
        .into_iter()
        .map(|(name, schema)| {
            let form = v2_form(&name);
            (name, v2_schema(schema, form))
        })
        .collect();
    let paths: Map<String, Value> = paths.iter().map(|(path, item)| (path.clone(), v2_item(item))).collect();
    json!({
        "swagger": "2.0", "info": info(), "paths": paths, "definitions": definitions,
        "security": [{"BearerToken": []}], "securityDefinitions": {"BearerToken": security()},
    })
}

/// What v2, which has no `oneOf`, says of types with several forms.
fn v2_form(name: &str) -> Option<Value> {
    match name.rsplit('.').next() {
        Some("Quantity") => Some(json!({"type": "string"})),
        Some("IntOrString") => Some(json!({"type": "string", "format": "int-or-string"})),
        _ => None,
    }
}

fn v2_schema(schema: Value, form: Option<Value>) -> Value {
    let mut schema = rewrite(schema);
    if let (Some(Value::Object(form)), Value::Object(map)) = (form, &mut schema) {
        map.remove("oneOf");
        map.extend(form);
    }
    schema
}

/// References move, and a single `allOf` becomes the reference itself.
fn rewrite(value: Value) -> Value {
    match value {
        Value::Object(mut map) => {
            let single = map.get("allOf").and_then(Value::as_array).filter(|a| a.len() == 1).map(|a| a[0].clone());
            if let Some(Value::Object(inner)) = single {
                map.remove("allOf");
                map.extend(inner);
            }
            let moved = |(key, value): (String, Value)| match value {
                Value::String(text) if key == "$ref" => {
                    (key, text.replace("#/components/schemas/", "#/definitions/").into())
                }
                other => (key, rewrite(other)),
            };
            Value::Object(map.into_iter().map(moved).collect())
        }
        Value::Array(items) => items.into_iter().map(rewrite).collect(),
        other => other,
    }
}

fn v2_item(item: &Value) -> Value {
    let mut out = Map::new();
    for (method, operation) in item.as_object().into_iter().flatten() {
        let converted = if method == "parameters" { v2_parameters(operation).into() } else { v2_operation(operation) };
        out.insert(method.clone(), converted);
    }
    out.into()
}

fn v2_parameters(parameters: &Value) -> Vec<Value> {
    let convert = |parameter: &Value| {
        let mut parameter = parameter.clone();
        if let Value::Object(map) = &mut parameter
            && let Some(Value::Object(schema)) = map.remove("schema")
        {
            map.extend(schema);
        }
        parameter
    };
    parameters.as_array().into_iter().flatten().map(convert).collect()
}

fn v2_operation(operation: &Value) -> Value {
    let mut out = operation.as_object().cloned().unwrap_or_default();
    let mut parameters = out.remove("parameters").map(|p| v2_parameters(&p)).unwrap_or_default();
    let mut consumes = vec![Value::from("*/*")];
    if let Some(body) = out.remove("requestBody") {
        let content = body["content"].as_object().cloned().unwrap_or_default();
        consumes = content.keys().cloned().map(Value::from).collect();
        let schema = content.values().next().map(|c| rewrite(c["schema"].clone())).unwrap_or_default();
        let mut parameter = json!({"name": "body", "in": "body", "schema": schema});
        if body["required"] == true {
            parameter["required"] = true.into();
        }
        parameters.insert(0, parameter);
    }
    if !parameters.is_empty() {
        out.insert("parameters".to_owned(), parameters.into());
    }
    let mut produces = Vec::new();
    for response in out.get_mut("responses").and_then(Value::as_object_mut).into_iter().flatten().map(|(_, r)| r) {
        let Value::Object(response) = response else { continue };
        if let Some(Value::Object(content)) = response.remove("content") {
            produces = content.keys().cloned().map(Value::from).collect();
            let schema = content.values().next().map(|c| rewrite(c["schema"].clone())).unwrap_or_default();
            response.insert("schema".to_owned(), schema);
        }
    }
    out.insert("consumes".to_owned(), consumes.into());
    out.insert("produces".to_owned(), produces.into());
    out.insert("schemes".to_owned(), json!(["https"]));
    out.into()
}
