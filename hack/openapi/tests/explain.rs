//! `kubectl explain` finds every kind and every field of it: in each document all references lead somewhere, and every field
//! says what it is.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Map, Value};

const V3_REF: &str = "#/components/schemas/";
const V2_REF: &str = "#/definitions/";

fn document(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../api/openapi-spec").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).expect("a document is JSON")
}

/// A walk over the fields of one kind after the other.
struct Walk<'a> {
    schemas: &'a Map<String, Value>,
    prefix: &'static str,
    /// Fields that were seen, and what is wrong with them.
    fields: usize,
    faults: BTreeSet<String>,
    /// Definitions on the way to here: JSON schemas hold JSON schemas.
    open: Vec<String>,
    /// Definitions that were walked: what is below them does not depend on the way.
    done: BTreeSet<String>,
}

impl Walk<'_> {
    fn definition(&mut self, name: &str, at: &str) {
        if self.open.iter().any(|open| open == name) || !self.done.insert(name.to_owned()) {
            return;
        }
        let Some(schema) = self.schemas.get(name) else {
            self.faults.insert(format!("{at}: {name} is nowhere"));
            return;
        };
        self.open.push(name.to_owned());
        for (field, property) in schema["properties"].as_object().into_iter().flatten() {
            let at = format!("{at}.{field}");
            self.fields += 1;
            let says = ["description", "type", "$ref", "allOf", "oneOf"].iter().any(|key| !property[*key].is_null());
            if !says {
                self.faults.insert(format!("{at} says nothing"));
            }
            self.schema(property, &at);
        }
        self.open.pop();
    }

    fn schema(&mut self, schema: &Value, at: &str) {
        if let Some(reference) = schema["$ref"].as_str() {
            match reference.strip_prefix(self.prefix) {
                Some(name) => self.definition(name, at),
                None => drop(self.faults.insert(format!("{at}: {reference} leads nowhere"))),
            }
        }
        for key in ["items", "additionalProperties", "not"] {
            self.schema_if_any(&schema[key], at);
        }
        for key in ["allOf", "oneOf", "anyOf"] {
            schema[key].as_array().into_iter().flatten().for_each(|inner| self.schema_if_any(inner, at));
        }
    }

    fn schema_if_any(&mut self, schema: &Value, at: &str) {
        if schema.is_object() {
            self.schema(schema, at);
        }
    }
}

/// The definition that says it is this kind.
fn of_kind<'a>(schemas: &'a Map<String, Value>, group: &str, version: &str, kind: &str) -> Option<&'a String> {
    let is = |gvk: &Value| gvk["group"] == group && gvk["version"] == version && gvk["kind"] == kind;
    let found =
        |schema: &Value| schema["x-kubernetes-group-version-kind"].as_array().is_some_and(|all| all.iter().any(is));
    schemas.iter().find(|(_, schema)| found(schema)).map(|(name, _)| name)
}

fn walk(schemas: &Map<String, Value>, prefix: &'static str, kinds: &[(&str, &str, &str)]) -> usize {
    let (done, open, faults) = (BTreeSet::new(), Vec::new(), BTreeSet::new());
    let mut walk = Walk { schemas, prefix, fields: 0, faults, open, done };
    for (group, version, kind) in kinds {
        match of_kind(schemas, group, version, kind) {
            Some(name) => walk.definition(name, kind),
            None => drop(walk.faults.insert(format!("{group}/{version} {kind} has no definition"))),
        }
    }
    assert!(walk.faults.is_empty(), "{:#?}", walk.faults);
    walk.fields
}

#[test]
fn every_field_of_every_kind_is_explained() {
    let swagger = document("swagger.json");
    let (mut all, mut fields) = (Vec::new(), 0);
    for row in apis::all() {
        for version in row.versions {
            let kind = (row.group, *version, row.kind);
            let name = if row.group.is_empty() {
                format!("api__{version}")
            } else {
                format!("apis__{}__{version}", row.group)
            };
            let document = document(&format!("v3/{name}_openapi.json"));
            let schemas = document["components"]["schemas"].as_object().unwrap();
            fields += walk(schemas, V3_REF, &[kind]);
            all.push(kind);
        }
    }
    assert!(fields > 5000, "{fields}");
    assert!(walk(swagger["definitions"].as_object().unwrap(), V2_REF, &all) > 2000);
}

/// What clients steer by: which action on which kind an operation is.
#[test]
fn every_operation_says_what_it_does_to_which_kind() {
    let swagger = document("swagger.json");
    let (mut ids, mut count) = (BTreeSet::new(), 0);
    for (path, item) in swagger["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap().iter().filter(|(method, _)| *method != "parameters") {
            let id = operation["operationId"].as_str().unwrap_or_else(|| panic!("{method} {path} has no id"));
            assert!(ids.insert(id.to_owned()), "{id} stands twice");
            count += 1;
            if path.ends_with('/') {
                continue;
            }
            let gvk = &operation["x-kubernetes-group-version-kind"];
            assert!(gvk["kind"].is_string() && gvk["version"].is_string(), "{method} {path}");
            let action = operation["x-kubernetes-action"].as_str().unwrap_or_default();
            let known =
                ["get", "list", "watch", "watchlist", "post", "put", "patch", "delete", "deletecollection", "connect"];
            assert!(known.contains(&action), "{method} {path}: {action}");
        }
    }
    assert!(count > 500, "{count}");
}

/// How lists and maps merge is said where the facts say it, for every client that applies.
#[test]
fn extensions_tell_how_fields_merge() {
    let pods = document("v3/api__v1_openapi.json");
    let property = |definition: &str, field: &str| {
        pods["components"]["schemas"][format!("io.k8s.api.core.v1.{definition}")]["properties"][field].clone()
    };
    let containers = property("PodSpec", "containers");
    for (key, want) in [
        ("x-kubernetes-list-type", serde_json::json!("map")),
        ("x-kubernetes-list-map-keys", serde_json::json!(["name"])),
        ("x-kubernetes-patch-strategy", serde_json::json!("merge")),
        ("x-kubernetes-patch-merge-key", serde_json::json!("name")),
    ] {
        assert_eq!(containers[key], want, "{key}");
    }
    assert_eq!(property("PodSpec", "nodeSelector")["x-kubernetes-map-type"], "atomic");
    assert_eq!(property("Container", "command")["x-kubernetes-list-type"], "atomic");
    let profile = &pods["components"]["schemas"]["io.k8s.api.core.v1.SeccompProfile"];
    let union_ = serde_json::json!([{
        "discriminator": "type", "fields-to-discriminateBy": {"localhostProfile": "LocalhostProfile"},
    }]);
    assert_eq!(profile["x-kubernetes-unions"], union_);
    let port = property("Container", "ports");
    assert_eq!(port["x-kubernetes-list-map-keys"], serde_json::json!(["containerPort", "protocol"]));
}
