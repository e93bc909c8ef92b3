//! The archive of `docker save`: `manifest.json`, a config, and layers as plain files. It has no OCI manifest, so one
//! is made.

use std::collections::BTreeMap;

use cri::containerd::Descriptor;
use cri::containerd::bytes_source::Source;
use serde::Deserialize;
use serde_json::json;

use super::archive::{Archive, Contents};
use super::{Error, Part, full_name, oci};
use crate::pause::digest;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

pub fn read(archive: &Archive) -> Result<Contents, Error> {
    let entries: Vec<Entry> =
        serde_json::from_slice(&archive.document("manifest.json")?).map_err(|e| Error::Format(e.to_string()))?;
    let mut contents = Contents { parts: Vec::new(), names: Vec::new() };
    for entry in entries {
        read_one(archive, &entry, &mut contents)?;
    }
    Ok(contents)
}

fn read_one(archive: &Archive, entry: &Entry, contents: &mut Contents) -> Result<(), Error> {
    let leaf = |digest: &str, source| Part { digest: digest.to_owned(), source, references: BTreeMap::new() };
    let config = archive.document(&entry.config)?;
    let config_digest = digest(&config);
    let config_size = config.len();
    contents.parts.push(leaf(&config_digest, Source::Memory(config)));
    let (mut layers, mut digests) = (Vec::new(), Vec::new());
    for path in &entry.layers {
        let (digest, gzip) = archive.hash(path)?;
        let suffix = if gzip { "+gzip" } else { "" };
        let media_type = format!("application/vnd.oci.image.layer.v1.tar{suffix}");
        layers.push(json!({"mediaType": media_type, "digest": digest, "size": archive.size(path)?}));
        contents.parts.push(leaf(&digest, archive.source(path)?));
        digests.push(digest);
    }
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config_digest, "size": config_size},
        "layers": layers,
    })
    .to_string()
    .into_bytes();
    let target = Descriptor {
        media_type: media_type.to_owned(),
        digest: digest(&manifest),
        size: i64::try_from(manifest.len()).unwrap_or(0),
    };
    contents.parts.push(Part {
        digest: target.digest.clone(),
        source: Source::Memory(manifest),
        references: oci::manifest_references(&config_digest, &digests),
    });
    let tags = entry.repo_tags.iter().flatten();
    contents.names.extend(tags.map(|tag| (full_name(tag), target.clone())));
    Ok(())
}
