//! `api/schema/types.tsv`: every type, field and root kind in one table, which `apis` compiles in.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::definitions::{Definitions, Root};
use crate::facts::Facts;
use crate::zeros::vanishes;

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";
const REF: &str = "#/components/schemas/";

const DISCOVERY: &str = "io.k8s.api.apidiscovery.v2";
/// Types that the typed library does not have; the field numbers' facts tell their fields.
const MESSAGES: &[(&str, &[&str])] = &[
    (
        META,
        &[
            "ListOptions",
            "GetOptions",
            "CreateOptions",
            "UpdateOptions",
            "PatchOptions",
            "PartialObjectMetadata",
            "PartialObjectMetadataList",
            "GroupVersionKind",
        ],
    ),
    ("io.k8s.apimachinery.pkg.apis.meta.v1beta1", &["PartialObjectMetadataList"]),
    (
        DISCOVERY,
        &[
            "APIGroupDiscovery",
            "APIGroupDiscoveryList",
            "APIResourceDiscovery",
            "APISubresourceDiscovery",
            "APIVersionDiscovery",
        ],
    ),
];
/// Kinds that are answered but are no resources: group, version, kind, definition.
const ANSWERS: &[(&str, &str, &str, &str)] = &[
    ("", "v1", "APIGroupList", "io.k8s.apimachinery.pkg.apis.meta.v1.APIGroupList"),
    ("", "v1", "APIResourceList", "io.k8s.apimachinery.pkg.apis.meta.v1.APIResourceList"),
    ("apidiscovery.k8s.io", "v2", "APIGroupDiscoveryList", "io.k8s.api.apidiscovery.v2.APIGroupDiscoveryList"),
    ("meta.k8s.io", "v1", "PartialObjectMetadata", "io.k8s.apimachinery.pkg.apis.meta.v1.PartialObjectMetadata"),
    (
        "meta.k8s.io",
        "v1",
        "PartialObjectMetadataList",
        "io.k8s.apimachinery.pkg.apis.meta.v1.PartialObjectMetadataList",
    ),
    ("meta.k8s.io", "v1beta1", "PartialObjectMetadata", "io.k8s.apimachinery.pkg.apis.meta.v1.PartialObjectMetadata"),
    (
        "meta.k8s.io",
        "v1beta1",
        "PartialObjectMetadataList",
        "io.k8s.apimachinery.pkg.apis.meta.v1beta1.PartialObjectMetadataList",
    ),
];

/// Kinds that are never listed.
pub const UNLISTED: &[&str] = &[
    "Binding",
    "Scale",
    "Status",
    "APIGroup",
    "APIVersions",
    "TokenRequest",
    "TokenReview",
    "SelfSubjectReview",
    "LocalSubjectAccessReview",
    "SelfSubjectAccessReview",
    "SelfSubjectRulesReview",
    "SubjectAccessReview",
];

/// Whether a kind has a list kind; `policy/v1` `Eviction` is only ever posted.
pub fn is_listed(root: &Root) -> bool {
    let posted_only = root.group == "policy" && root.kind == "Eviction";
    !posted_only && !UNLISTED.contains(&&*root.kind)
}

/// The definition that a `$ref` or `allOf` names.
pub fn reference(schema: &Value) -> Option<&str> {
    let direct = schema.get("$ref");
    let wrapped = || schema.get("allOf")?.get(0)?.get("$ref");
    direct.or_else(wrapped)?.as_str()?.strip_prefix(REF)
}

fn base_shape(name: &str) -> String {
    match name.rsplit('.').next().unwrap_or(name) {
        "Time" if name.starts_with(META) => "time".to_owned(),
        "MicroTime" if name.starts_with(META) => "microtime".to_owned(),
        "Quantity" => "quantity".to_owned(),
        "IntOrString" => "intorstring".to_owned(),
        "RawExtension" | "FieldsV1" | "JSON" | "Patch" => "any".to_owned(),
        "JSONSchemaPropsOrArray" => "orlist".to_owned(),
        "JSONSchemaPropsOrBool" => "orbool".to_owned(),
        "JSONSchemaPropsOrStringArray" => "orstrings".to_owned(),
        _ => format!("@{name}"),
    }
}

/// The shape of a property in the table's notation: `[]` list, `{}` map, `@` struct, else a scalar.
pub fn shape(schema: &Value) -> String {
    if let Some(name) = reference(schema) {
        return base_shape(name);
    }
    let text = |key: &str| schema.get(key).and_then(Value::as_str).unwrap_or_default();
    match (text("type"), text("format")) {
        ("array", _) => format!("[]{}", schema.get("items").map_or_else(|| "any".to_owned(), shape)),
        ("object", _) => match schema.get("additionalProperties") {
            Some(values @ Value::Object(_)) => format!("{{}}{}", shape(values)),
            _ => "any".to_owned(),
        },
        ("string", "byte") => "bytes".to_owned(),
        ("string", _) => "string".to_owned(),
        ("integer", "int32") => "int32".to_owned(),
        ("integer", _) => "int64".to_owned(),
        ("number", _) => "double".to_owned(),
        ("boolean", _) => "bool".to_owned(),
        _ => "any".to_owned(),
    }
}

fn properties(schema: &Map<String, Value>) -> Map<String, Value> {
    schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default()
}

/// Whether a definition has a form of its own and so no fields.
fn is_special(name: &str) -> bool {
    !base_shape(name).starts_with('@')
}

/// Renders the whole table.
pub fn render(definitions: &Definitions, facts: &Facts) -> String {
    let mut out = String::from(
        "# Generated by `cargo run -p openapi -F generate`. The types of the API: T type, its fields F, and root kinds R.\n\
         # T name atomic|-\n\
         # F name shape wire(numbers, outermost first) required listType listMapKeys mapType patchStrategy \
         patchMergeKey zero(vanishes) default\n\
         # R group version kind type\n",
    );
    let mut types: BTreeMap<&str, String> = BTreeMap::new();
    for (name, schema) in definitions.schemas.iter().filter(|(name, _)| !is_special(name)) {
        let is_root = definitions.roots.iter().any(|r| &r.definition == name);
        types.insert(name, render_type(name, schema, is_root, facts));
    }
    let lists: Vec<(String, &Root)> =
        definitions.roots.iter().filter(|r| is_listed(r)).map(|r| (format!("{}List", r.definition), r)).collect();
    for (name, root) in &lists {
        types.insert(name, render_list(name, root));
    }
    let messages: Vec<String> =
        MESSAGES.iter().flat_map(|(package, names)| names.iter().map(move |n| format!("{package}.{n}"))).collect();
    for name in &messages {
        types.insert(name, render_message(name, facts));
    }
    out.extend(types.values().map(String::as_str));
    for line in render_roots(&definitions.roots) {
        out.push_str(&line);
    }
    out
}

fn render_type(name: &str, schema: &Map<String, Value>, is_root: bool, facts: &Facts) -> String {
    let properties = properties(schema);
    let names: Vec<&str> = properties.keys().map(String::as_str).collect();
    let places = facts.wire_places(name, &names);
    let required = schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    let atomic = if facts.atomic_types.iter().any(|t| t == name) { "atomic" } else { "-" };
    let mut out = format!("T\t{name}\t{atomic}\n");
    for (field, property) in &properties {
        let shape = shape(property);
        let (numbers, owner) = places.get(field).cloned().unwrap_or_default();
        let rule = facts.rule(name, field).or_else(|| facts.rule(&owner, field)).cloned().unwrap_or_default();
        // The typed library calls metadata required; upstream does not.
        let required = required.iter().any(|r| r == field.as_str()) && !(is_root && field == "metadata");
        let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
        let map_type = if rule.map_type.is_empty() { &rule.struct_type } else { &rule.map_type };
        let zero = if !required && vanishes(name, field, &shape) { "z" } else { "" };
        let cells: [&str; 11] = [
            field,
            &shape,
            &numbers.join("."),
            if required { "r" } else { "" },
            &rule.list_type,
            &rule.list_map_keys,
            map_type,
            &rule.patch_strategy,
            &rule.patch_merge_key,
            zero,
            &default_json(&rule.default),
        ];
        let _ = writeln!(out, "F\t{}", cells.map(|c| if c.is_empty() { "-" } else { c }).join("\t"));
    }
    out
}

/// Declared defaults as JSON; constants that are named are resolved here.
pub fn default_json(default: &str) -> String {
    match default {
        "ref(AzureDataDiskCachingReadWrite)" => "\"ReadWrite\"".to_owned(),
        "ref(AzureSharedBlobDisk)" => "\"Shared\"".to_owned(),
        other => other.to_owned(),
    }
}

fn render_list(name: &str, root: &Root) -> String {
    let row = |field: &str, shape: &str, wire: &str, required: &str, zero: &str| {
        format!("F\t{field}\t{shape}\t{wire}\t{required}\t-\t-\t-\t-\t-\t{zero}\t-\n")
    };
    let items = format!("[]@{}", root.definition);
    [
        format!("T\t{name}\t-\n"),
        row("apiVersion", "string", "-", "-", "z"),
        row("items", &items, "2", "r", "-"),
        row("kind", "string", "-", "-", "z"),
        row("metadata", &format!("@{META}.ListMeta"), "1", "-", "-"),
    ]
    .concat()
}

/// A type that only the wire knows.
fn render_message(name: &str, facts: &Facts) -> String {
    let mut fields: Vec<_> = facts.message(name).iter().collect();
    fields.sort_by(|a, b| a.name.cmp(&b.name));
    let mut out = format!("T\t{name}\t-\n");
    for field in fields {
        let list = if field.label == "repeated" { "[]" } else { "" };
        let base = match &*field.type_ {
            scalar @ ("string" | "bool" | "int32" | "int64" | "bytes" | "double") => scalar.to_owned(),
            message => base_shape(message),
        };
        let _ = writeln!(out, "F\t{}\t{list}{base}\t{}\t-\t-\t-\t-\t-\t-\t-\t-", field.name, field.number);
    }
    out
}

fn render_roots(roots: &[Root]) -> Vec<String> {
    let row = |group: &str, version: &str, kind: &str, type_: &str| {
        format!("R\t{}\t{version}\t{kind}\t{type_}\n", if group.is_empty() { "-" } else { group })
    };
    let mut rows: Vec<String> = Vec::new();
    for root in roots {
        rows.push(row(&root.group, &root.version, &root.kind, &root.definition));
        if is_listed(root) {
            let (kind, type_) = (format!("{}List", root.kind), format!("{}List", root.definition));
            rows.push(row(&root.group, &root.version, &kind, &type_));
        }
    }
    for options in ["DeleteOptions", "ListOptions", "GetOptions", "CreateOptions", "UpdateOptions", "PatchOptions"] {
        rows.push(row("meta.k8s.io", "v1", options, &format!("{META}.{options}")));
    }
    rows.extend(ANSWERS.iter().map(|(group, version, kind, type_)| row(group, version, kind, type_)));
    rows.sort();
    rows
}
