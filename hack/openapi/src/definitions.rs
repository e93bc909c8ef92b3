//! What the typed library says of the kinds, kept in `api/schema/definitions.json`, so that documents can be made and
//! compared without building that library's schemas.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Map, Value};

/// The file's name below `api/schema`.
pub const FILE: &str = "definitions.json";

/// A kind that stands at the root of a body: group, version, kind, definition name.
#[derive(Clone, Debug)]
pub struct Root {
    pub group: String,
    pub version: String,
    pub kind: String,
    pub definition: String,
}

/// All definitions by classic name (`io.k8s.api.core.v1.PodSpec`), and the roots among them.
pub struct Definitions {
    pub schemas: BTreeMap<String, Map<String, Value>>,
    pub roots: Vec<Root>,
}

impl Definitions {
    /// Reads what [`Self::render`] wrote.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let mut file: Map<String, Value> = serde_json::from_str(&text)?;
        let Some(Value::Object(schemas)) = file.remove("schemas") else { anyhow::bail!("no schemas") };
        let schemas = schemas.into_iter().map(|(name, schema)| match schema {
            Value::Object(map) => Ok((name, map)),
            _ => Err(anyhow::anyhow!("the schema {name} is no object")),
        });
        let roots: Vec<[String; 4]> = serde_json::from_value(file.remove("roots").unwrap_or_default())?;
        let roots =
            roots.into_iter().map(|[group, version, kind, definition]| Root { group, version, kind, definition });
        Ok(Self { schemas: schemas.collect::<Result<_>>()?, roots: roots.collect() })
    }

    /// The text of the file: a line for each root and each schema, so that differences can be read.
    pub fn render(&self) -> String {
        let roots: Vec<String> = self
            .roots
            .iter()
            .map(|r| serde_json::json!([r.group, r.version, r.kind, r.definition]).to_string())
            .collect();
        let mut out = format!("{{\"roots\": [\n{}\n],\n\"schemas\": {{\n", roots.join(",\n"));
        for (i, (name, schema)) in self.schemas.iter().enumerate() {
            let comma = if i == 0 { "" } else { ",\n" };
            let _ = write!(out, "{comma}{}: {}", Value::from(name.as_str()), Value::from(schema.clone()));
        }
        out.push_str("\n}}\n");
        out
    }
}
