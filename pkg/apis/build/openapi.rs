//! The OpenAPI documents, packed.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use crate::{Failure, gnostic};

/// Packs every document and lists them: path below `/openapi/v3`, hash, packed bytes.
pub fn table(specs: &Path, out: &Path) -> Result<String, Failure> {
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
        let json = read(&specs.join("v3").join(name))?;
        writeln!(rows, "    {},", row(path, &json, &gnostic::v3::encode(&json)?, out)?)?;
    }
    let swagger = read(&specs.join("swagger.json"))?;
    let v2 = row("v2", &swagger, &gnostic::v2::encode(&swagger)?, out)?;
    Ok(format!("static V3: [Document; {}] = [\n{rows}];\nstatic V2: Document = {v2};\n", files.len()))
}

/// A document without indentation.
fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    Ok(without_blanks(&std::fs::read(file).map_err(|e| format!("{}: {e}", file.display()))?))
}

/// Writes both forms of a document, packed, and answers the row that names them.
fn row(path: &str, json: &[u8], protobuf: &[u8], out: &Path) -> Result<String, Failure> {
    let hash = fnv(json);
    let (json, protobuf) = (pack(json, path, "json", out)?, pack(protobuf, path, "pb", out)?);
    Ok(format!(
        "Document {{ path: {path:?}, hash: \"{hash:016X}\", json: include_bytes!({json:?}), \
         protobuf: include_bytes!({protobuf:?}) }}"
    ))
}

/// Writes packed bytes and answers the file's name.
fn pack(document: &[u8], path: &str, form: &str, out: &Path) -> Result<String, Failure> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(9));
    encoder.write_all(document)?;
    let target = out.join(format!("openapi_{}.{form}.gz", path.replace('/', "_")));
    std::fs::write(&target, encoder.finish()?)?;
    Ok(target.display().to_string())
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
