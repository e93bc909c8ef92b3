//! `cargo run -p openapi`: writes the type table and the OpenAPI documents; with `-F generate` the definitions, too.

use std::path::Path;

use anyhow::{Context, Result};
use openapi::definitions::Definitions;

fn main() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let schema = root.join("api/schema");
    let facts = openapi::facts::Facts::read(&schema)?;
    let definitions = definitions(&schema)?;
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

#[cfg(feature = "generate")]
fn definitions(folder: &Path) -> Result<Definitions> {
    let definitions = openapi::kinds::definitions();
    std::fs::write(folder.join(openapi::definitions::FILE), definitions.render()).context("writing definitions")?;
    Ok(definitions)
}

#[cfg(not(feature = "generate"))]
fn definitions(folder: &Path) -> Result<Definitions> {
    Definitions::read(folder)
}
