//! What is committed is what the tool makes. Run with `cargo nextest run -p openapi -F generate`.
#![cfg(feature = "generate")]

use std::path::Path;

#[test]
fn committed_files_are_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let facts = openapi::facts::Facts::read(&root.join("api/schema")).unwrap();
    let definitions = openapi::kinds::definitions();
    let same = |path: &Path, text: &str| {
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(committed == text, "{} is out of date: cargo run -p openapi -F generate", path.display());
    };
    same(&root.join("api/schema/types.tsv"), &openapi::table::render(&definitions, &facts));
    for (name, text) in openapi::documents::render(&definitions, &facts) {
        same(&root.join("api/openapi-spec").join(name), &text);
    }
}
