//! The type table as Rust source.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::path::Path;

use crate::Failure;

/// What CustomResourceDefinitions write schemas in.
const JSON_SCHEMA: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";

/// All texts in one string; equal ones are kept once.
#[derive(Default)]
struct Names {
    text: String,
    places: HashMap<String, usize>,
}

impl Names {
    fn add(&mut self, name: &str) -> String {
        let at = match self.places.get(name) {
            Some(at) => *at,
            None => {
                let at = self.text.len();
                self.text.push_str(name);
                self.places.insert(name.to_owned(), at);
                at
            }
        };
        format!("Name {{ at: {at}, length: {} }}", name.len())
    }
}

/// Lines of merge facts; row 0 says nothing.
struct MergeRows(Vec<String>);

impl MergeRows {
    fn add(&mut self, row: String) -> usize {
        self.0.iter().position(|r| *r == row).unwrap_or_else(|| {
            self.0.push(row);
            self.0.len() - 1
        })
    }
}

pub fn table(path: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let rows: Vec<Vec<&str>> = text.lines().filter(|l| !l.starts_with('#')).map(|l| l.split('\t').collect()).collect();
    let mut types: Vec<(&str, bool)> = rows.iter().filter(|r| r[0] == "T").map(|r| (r[1], r[2] == "atomic")).collect();
    types.sort_unstable();
    let index: HashMap<&str, usize> = types.iter().enumerate().map(|(i, t)| (t.0, i)).collect();

    let mut fields: BTreeMap<usize, Vec<&Vec<&str>>> = BTreeMap::new();
    let mut current = 0;
    for row in &rows {
        match row[0] {
            "T" => current = index[row[1]],
            "F" => fields.entry(current).or_default().push(row),
            _ => {}
        }
    }

    let (mut names, mut merges) = (Names::default(), MergeRows(Vec::new()));
    merges.add(merge_row(&["-"; 12]));
    let (mut type_rows, mut field_rows, mut at) = (String::new(), String::new(), 0usize);
    for (i, (name, atomic)) in types.iter().enumerate() {
        let mut own = fields.remove(&i).unwrap_or_default();
        own.sort_unstable_by_key(|r| r[1]);
        for row in &own {
            field_rows.push_str(&field_row(row, &index, &mut names, &mut merges)?);
        }
        let (name, count) = (names.add(name), own.len());
        writeln!(type_rows, "TypeRow {{ name: {name}, first: {at}, count: {count}, atomic: {atomic} }},")?;
        at += count;
    }

    let mut roots: Vec<&Vec<&str>> = rows.iter().filter(|r| r[0] == "R").collect();
    let group = |r: &Vec<&str>| if r[1] == "-" { String::new() } else { r[1].to_owned() };
    roots.sort_by_key(|r| (r[3].to_owned(), group(r), r[2].to_owned()));
    let mut root_rows = String::new();
    for row in roots {
        let (group, version, kind) = (names.add(&group(row)), names.add(row[2]), names.add(row[3]));
        let type_ = index[row[4]];
        writeln!(root_rows, "RootRow {{ group: {group}, version: {version}, kind: {kind}, type_: {type_} }},")?;
    }
    let count = |text: &str| text.lines().count();
    Ok(format!(
        "pub(super) static NAMES: &str = {:?};\n\
         pub(super) static TYPES: [TypeRow; {}] = [\n{type_rows}];\n\
         pub(super) static FIELDS: [FieldRow; {}] = [\n{field_rows}];\n\
         pub(super) static MERGES: [MergeRow; {}] = [\n{}];\n\
         pub(super) static ROOTS: [RootRow; {}] = [\n{root_rows}];\n",
        names.text,
        count(&type_rows),
        count(&field_rows),
        merges.0.len(),
        merges.0.concat(),
        count(&root_rows),
    ))
}

fn field_row(
    row: &[&str],
    index: &HashMap<&str, usize>,
    names: &mut Names,
    merges: &mut MergeRows,
) -> Result<String, Failure> {
    let (container, base) = match row[2] {
        s if s.starts_with("{}[]") => ("MapOfLists", &s[4..]),
        s if s.starts_with("[][]") => ("ListOfLists", &s[4..]),
        s if s.starts_with("[]") => ("List", &s[2..]),
        s if s.starts_with("{}") => ("Map", &s[2..]),
        s => ("One", s),
    };
    let json_schema = *index.get(JSON_SCHEMA).ok_or("no type of JSON schemas")?;
    let (base, target) = match base {
        "string" => ("String", 0),
        "bool" => ("Bool", 0),
        "int32" => ("Int32", 0),
        "int64" => ("Int64", 0),
        "double" => ("Double", 0),
        "bytes" => ("Bytes", 0),
        "quantity" => ("Quantity", 0),
        "time" => ("Time", 0),
        "microtime" => ("MicroTime", 0),
        "intorstring" => ("IntOrString", 0),
        "any" => ("Any", 0),
        "orlist" => ("SchemaOrList", json_schema),
        "orbool" => ("SchemaOrBool", json_schema),
        "orstrings" => ("SchemaOrStrings", json_schema),
        other => {
            let name = other.strip_prefix('@').ok_or_else(|| format!("unknown shape {other}"))?;
            ("Struct", *index.get(name).ok_or_else(|| format!("unknown type {name}"))?)
        }
    };
    let mut wire = [0u8; 3];
    for (slot, number) in wire.iter_mut().zip(row[3].split('.').filter(|n| *n != "-")) {
        *slot = number.parse()?;
    }
    let (name, merge) = (names.add(row[1]), merges.add(merge_row(row)));
    let (required, vanishes) = (row[4] == "r", row[10] == "z");
    Ok(format!(
        "FieldRow {{ name: {name}, container: Container::{container}, base: Base::{base}, target: {target}, wire: {wire:?}, \
         required: {required}, vanishes: {vanishes}, merge: {merge} }},\n"
    ))
}

fn merge_row(row: &[&str]) -> String {
    let cell = |i: usize| if row[i] == "-" { "" } else { row[i] };
    let list_type = match cell(5) {
        "set" => "Some(ListType::Set)",
        "map" => "Some(ListType::Map)",
        "atomic" => "Some(ListType::Atomic)",
        _ => "None",
    };
    let map_type = match cell(7) {
        "atomic" => "Some(MapType::Atomic)",
        "granular" => "Some(MapType::Granular)",
        _ => "None",
    };
    format!(
        "MergeRow {{ list_type: {list_type}, list_map_keys: {:?}, map_type: {map_type}, strategy: {:?}, merge_key: {:?}, \
         default: {:?} }},\n",
        cell(6),
        cell(8),
        cell(9),
        cell(11),
    )
}
