//! Compiles `api/schema/types.tsv` into static tables: no text is parsed at run time and nothing needs relocation.
//! Packs the documents of `api/openapi-spec` with gzip, the form in which they are sent.

mod gnostic;
mod openapi;
mod schema;

use std::path::PathBuf;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("../..");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let table = root.join("api/schema/types.tsv");
    println!("cargo::rerun-if-changed={}", table.display());
    println!("cargo::rerun-if-changed=build");
    std::fs::write(out.join("schema_table.rs"), schema::table(&table)?)?;
    let specs = root.join("api/openapi-spec");
    println!("cargo::rerun-if-changed={}", specs.display());
    std::fs::write(out.join("openapi_table.rs"), openapi::table(&specs, &out)?)?;
    Ok(())
}
