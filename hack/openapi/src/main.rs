//! `cargo run -p openapi -F generate`: writes the type table and the OpenAPI documents.

use std::path::Path;

use anyhow::{Context, Result};

fn main() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let schema = root.join("api/schema");
    let facts = openapi::facts::Facts::read(&schema)?;
    let definitions = openapi::kinds::definitions();
    let table = openapi::table::render(&definitions, &facts);
    std::fs::write(schema.join("types.tsv"), table).context("writing types.tsv")?;
    let specs = root.join("api/openapi-spec");
    std::fs::create_dir_all(specs.join("v3"))?;
    for (name, text) in openapi::documents::render(&definitions, &facts) {
        let path = specs.join(name);
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}
