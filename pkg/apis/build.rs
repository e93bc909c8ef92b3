//! Compiles `api/schema/types.tsv` into static tables: no text is parsed at run time and nothing needs relocation.
//! Packs the documents of `api/openapi-spec` with gzip, the form in which they are sent.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("../..");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let table = root.join("api/schema/types.tsv");
    println!("cargo::rerun-if-changed={}", table.display());
    println!("cargo::rerun-if-changed=build.rs");
    std::fs::write(out.join("schema_table.rs"), schema_table(&table)?)?;
    let specs = root.join("api/openapi-spec");
    println!("cargo::rerun-if-changed={}", specs.display());
    std::fs::write(out.join("openapi_table.rs"), openapi_table(&specs, &out)?)?;
    Ok(())
}

/// Packs every document and lists them: path below `/openapi/v3`, hash, packed bytes.
fn openapi_table(specs: &Path, out: &Path) -> Result<String, Failure> {
    let mut files: Vec<(String, String)> = Vec::new();
    for entry in std::fs::read_dir(specs.join("v3"))? {
        let name = entry?.file_name().into_string().map_err(|n| format!("{n:?} is no text"))?;
        if let Some(path) = name.strip_suffix("_openapi.json") {
            files.push((path.replace("__", "/"), name.clone()));
        }
    }
    files.sort();
    let mut rows = String::new();
    for (path, name) in &files {
        writeln!(rows, "    {},", packed(&specs.join("v3").join(name), path, out)?)?;
    }
    let swagger = packed(&specs.join("swagger.json"), "v2", out)?;
    Ok(format!("static V3: [Document; {}] = [\n{rows}];\nstatic V2: Document = {swagger};\n", files.len()))
}

fn packed(file: &Path, path: &str, out: &Path) -> Result<String, Failure> {
    let text = without_blanks(&std::fs::read(file).map_err(|e| format!("{}: {e}", file.display()))?);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(&text)?;
    let target = out.join(format!("openapi_{}.gz", path.replace('/', "_")));
    std::fs::write(&target, encoder.finish()?)?;
    let hash = fnv(&text);
    Ok(format!(
        "Document {{ path: {path:?}, hash: \"{hash:016X}\", gzip: include_bytes!({:?}) }}",
        target.display().to_string()
    ))
}

/// Drops the indentation of JSON.
fn without_blanks(text: &[u8]) -> Vec<u8> {
    let (mut out, mut in_string, mut escaped) = (Vec::with_capacity(text.len()), false, false);
    for byte in text {
        if in_string {
            out.push(*byte);
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
        } else if !byte.is_ascii_whitespace() {
            in_string = *byte == b'"';
            out.push(*byte);
        }
    }
    out
}

/// FNV-1a: tells documents apart; nothing depends on its strength.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

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

fn schema_table(path: &Path) -> Result<String, Failure> {
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
