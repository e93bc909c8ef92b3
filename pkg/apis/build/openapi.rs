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
        writeln!(rows, "    {},", pack(&read(&specs.join("v3").join(name))?, path, out)?)?;
    }
    let swagger = read(&specs.join("swagger.json"))?;
    let (v2, protobuf) = (pack(&swagger, "v2", out)?, pack(&gnostic::encode(&swagger)?, "v2_protobuf", out)?);
    Ok(format!(
        "static V3: [Document; {}] = [\n{rows}];\nstatic V2: Document = {v2};\nstatic V2_PROTOBUF: Document = {protobuf};\n",
        files.len()
    ))
}

/// A document without indentation.
fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    Ok(without_blanks(&std::fs::read(file).map_err(|e| format!("{}: {e}", file.display()))?))
}

/// Writes the packed bytes and answers the row that names them.
fn pack(document: &[u8], path: &str, out: &Path) -> Result<String, Failure> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(document)?;
    let target = out.join(format!("openapi_{}.gz", path.replace('/', "_")));
    std::fs::write(&target, encoder.finish()?)?;
    let (hash, target) = (fnv(document), target.display().to_string());
    Ok(format!("Document {{ path: {path:?}, hash: \"{hash:016X}\", gzip: include_bytes!({target:?}) }}"))
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
