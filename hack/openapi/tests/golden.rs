//! What is committed is what the tool makes, so that no change of rows or facts leaves the documents behind.

use std::path::{Path, PathBuf};

use openapi::definitions::Definitions;
use openapi::facts::Facts;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn same(path: &Path, text: &str) {
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(committed == text, "{} is out of date: cargo run -p openapi", path.display());
}

#[test]
fn committed_files_are_current() {
    let schema = root().join("api/schema");
    let facts = Facts::read(&schema).unwrap();
    let definitions = Definitions::read(&schema).unwrap();
    same(&schema.join("types.tsv"), &openapi::table::render(&definitions, &facts));
    let documents = openapi::documents::render(&definitions, &facts);
    for (name, text) in &documents {
        same(&root().join("api/openapi-spec").join(name), text);
    }
    for entry in std::fs::read_dir(root().join("api/openapi-spec/v3")).unwrap() {
        let name = format!("v3/{}", entry.unwrap().file_name().to_str().unwrap());
        assert!(documents.contains_key(&name), "{name} is of no served version any more");
    }
}

/// Run with `cargo nextest run -p openapi -F generate` after the typed library changed.
#[cfg(feature = "generate")]
#[test]
fn committed_definitions_are_those_of_the_typed_library() {
    let path = root().join("api/schema").join(openapi::definitions::FILE);
    same(&path, &openapi::kinds::definitions().render());
}
