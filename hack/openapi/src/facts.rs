//! Facts of the API beside the typed kinds: merge rules and protobuf field numbers, from `api/schema/*.tsv`.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use anyhow::{Context, Result};

/// One row of `merge-rules.tsv`; empty where a column has `-`.
#[derive(Clone, Debug, Default)]
pub struct MergeRule {
    pub list_type: String,
    pub list_map_keys: String,
    pub map_type: String,
    pub struct_type: String,
    pub patch_strategy: String,
    pub patch_merge_key: String,
    pub default: String,
}

/// One field of a message.
#[derive(Clone, Debug)]
pub struct ProtoField {
    pub name: String,
    pub number: u32,
    /// `optional`, `repeated` or `map`.
    pub label: String,
    /// A scalar, or a full message name in classic form.
    pub type_: String,
}

#[derive(Default)]
pub struct Facts {
    rules: HashMap<(String, String), MergeRule>,
    messages: HashMap<String, Vec<ProtoField>>,
    /// Types that server-side apply takes as a whole.
    pub atomic_types: Vec<String>,
}

fn rows(path: &Path) -> Result<Vec<Vec<String>>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let lines = text.lines().filter(|l| !l.starts_with('#') && !l.is_empty());
    Ok(lines.map(|l| l.split('\t').map(|c| if c == "-" { String::new() } else { c.to_owned() }).collect()).collect())
}

/// `core/v1` or `k8s.io.api.core.v1` as definitions name it: `io.k8s.api.core.v1`.
fn classic_package(package: &str) -> String {
    if let Some(rest) = package.strip_prefix("k8s.io.") {
        return format!("io.k8s.{rest}");
    }
    match package.split_once('/') {
        Some(("meta", version)) => format!("io.k8s.apimachinery.pkg.apis.meta.{version}"),
        Some(("apiextensions", v)) => format!("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.{v}"),
        Some(("apiregistration", v)) => format!("io.k8s.kube-aggregator.pkg.apis.apiregistration.{v}"),
        Some((group, version)) => format!("io.k8s.api.{group}.{version}"),
        None => package.to_owned(),
    }
}

impl Facts {
    /// Reads the tables below `api/schema`.
    pub fn read(folder: &Path) -> Result<Self> {
        let mut facts = Self::default();
        for row in rows(&folder.join("merge-rules.tsv"))?.into_iter().skip(1) {
            let cell = |i: usize| row.get(i).cloned().unwrap_or_default();
            let definition = format!("{}.{}", classic_package(&row[0]), row[1]);
            facts.rules.insert(
                (definition, cell(2)),
                MergeRule {
                    list_type: cell(3),
                    list_map_keys: cell(4),
                    map_type: cell(5),
                    struct_type: cell(6),
                    patch_strategy: cell(7),
                    patch_merge_key: cell(8),
                    default: cell(9),
                },
            );
        }
        for row in rows(&folder.join("proto-fields.tsv"))?.into_iter().skip(1) {
            let package = classic_package(&row[0]);
            let type_ = full_type(&package, &row[5]);
            let field = ProtoField {
                name: row[2].clone(),
                number: row[3].parse().with_context(|| format!("number of {}.{}", row[1], row[2]))?,
                label: row[4].clone(),
                type_,
            };
            facts.messages.entry(format!("{package}.{}", row[1])).or_default().push(field);
        }
        facts.atomic_types = rows(&folder.join("atomic-types.tsv"))?.into_iter().map(|r| r[0].clone()).collect();
        Ok(facts)
    }

    pub fn rule(&self, definition: &str, field: &str) -> Option<&MergeRule> {
        self.rules.get(&(definition.to_owned(), field.to_owned()))
    }

    pub fn message(&self, definition: &str) -> &[ProtoField] {
        self.messages.get(definition).map_or(&[], Vec::as_slice)
    }

    /// Where each JSON field of `definition` stands on the wire: numbers from the outside in (fields of embedded messages
    /// are inlined in JSON), and the message that declares it.
    pub fn wire_places(&self, definition: &str, json_fields: &[&str]) -> BTreeMap<String, (Vec<u32>, String)> {
        let mut places = BTreeMap::new();
        self.collect(definition, json_fields, &mut Vec::new(), &mut places);
        places
    }

    fn collect(
        &self,
        definition: &str,
        json_fields: &[&str],
        outer: &mut Vec<u32>,
        places: &mut BTreeMap<String, (Vec<u32>, String)>,
    ) {
        for field in self.message(definition) {
            outer.push(field.number);
            match json_fields.iter().find(|json| is_name_of(json, &field.name)) {
                Some(json) => {
                    let wrapped = self.wrapped_list(field).map(|items| [&outer[..], &[items]].concat());
                    let place = wrapped.unwrap_or_else(|| outer.clone());
                    places.entry((*json).to_owned()).or_insert_with(|| (place, definition.to_owned()));
                }
                None if outer.len() < 3 => self.collect(&field.type_, json_fields, outer, places),
                None => {}
            }
            outer.pop();
        }
    }

    /// The number of the list in a message that is nothing but a list (`Verbs`): JSON knows only the list.
    fn wrapped_list(&self, field: &ProtoField) -> Option<u32> {
        match self.message(&field.type_) {
            [items] if field.label == "optional" && items.label == "repeated" && items.name == "items" => {
                Some(items.number)
            }
            _ => None,
        }
    }
}

/// Whether a field of a message is this one of JSON: `$ref` is `ref`, `x-kubernetes-map-type` is `xKubernetesMapType`.
fn is_name_of(json: &str, proto: &str) -> bool {
    let letters = |name: &str| name.bytes().filter(|c| !b"$-".contains(c)).map(|c| c.to_ascii_lowercase()).collect();
    let (json, proto): (Vec<u8>, Vec<u8>) = (letters(json), letters(proto));
    json == proto
}

fn full_type(package: &str, type_: &str) -> String {
    let scalar = ["string", "bool", "int32", "int64", "bytes", "double", "uint32", "uint64"].contains(&type_);
    match type_ {
        _ if scalar => type_.to_owned(),
        _ if type_.contains(',') => type_.to_owned(),
        _ if type_.starts_with("k8s.io.") => classic_package(type_),
        _ => format!("{package}.{type_}"),
    }
}
