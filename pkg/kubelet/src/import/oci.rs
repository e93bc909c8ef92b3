//! The OCI image layout: `index.json` and `blobs/sha256/…`.

use std::collections::{BTreeMap, BTreeSet};

use cri::containerd::Descriptor;
use serde_json::Value;

use super::archive::{Archive, Contents};
use super::{Error, Part, full_name};

const DEPTH_MAX: usize = 4;

pub fn read(archive: &Archive) -> Result<Contents, Error> {
    let index = parse(&archive.document("index.json")?)?;
    let mut contents = Contents { parts: Vec::new(), names: Vec::new() };
    let mut seen = BTreeSet::new();
    let docker_tags = docker_tags(archive);
    for entry in list(&index, "manifests") {
        let target = descriptor(entry)?;
        walk(archive, &target, &mut seen, &mut contents.parts, 0)?;
        let mut names: Vec<String> = name_of(entry).into_iter().collect();
        if names.is_empty() {
            names.clone_from(&docker_tags);
        }
        contents.names.extend(names.into_iter().map(|name| (full_name(&name), target.clone())));
    }
    if contents.names.is_empty() {
        return Err(Error::Format("index.json names no image (org.opencontainers.image.ref.name)".to_owned()));
    }
    Ok(contents)
}

fn parse(data: &[u8]) -> Result<Value, Error> {
    serde_json::from_slice(data).map_err(|e| Error::Format(e.to_string()))
}

fn list<'a>(document: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    document.get(field).and_then(Value::as_array).into_iter().flatten()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// An annotation that says the whole name; a bare tag says too little.
fn name_of(entry: &Value) -> Option<String> {
    let annotations = entry.get("annotations")?;
    let full = text(annotations, "io.containerd.image.name");
    let reference = text(annotations, "org.opencontainers.image.ref.name");
    [full, reference].into_iter().find(|name| name.contains([':', '/'])).map(str::to_owned)
}

/// `docker save` writes both layouts; the tags are then in `manifest.json`.
fn docker_tags(archive: &Archive) -> Vec<String> {
    let manifest = archive.document("manifest.json").ok().and_then(|data| parse(&data).ok()).unwrap_or_default();
    let entries = manifest.as_array().cloned().unwrap_or_default();
    entries.iter().flat_map(|e| list(e, "RepoTags")).filter_map(Value::as_str).map(str::to_owned).collect()
}

fn descriptor(entry: &Value) -> Result<Descriptor, Error> {
    let digest = text(entry, "digest");
    if !digest.starts_with("sha256:") {
        return Err(Error::Format(format!("digest {digest:?} is not supported")));
    }
    Ok(Descriptor {
        media_type: text(entry, "mediaType").to_owned(),
        digest: digest.to_owned(),
        size: entry.get("size").and_then(Value::as_i64).unwrap_or(0),
    })
}

fn path_of(digest: &str) -> String {
    format!("blobs/{}", digest.replace(':', "/"))
}

/// Adds a blob after all that it refers to.
fn walk(
    archive: &Archive,
    target: &Descriptor,
    seen: &mut BTreeSet<String>,
    parts: &mut Vec<Part>,
    depth: usize,
) -> Result<(), Error> {
    let path = path_of(&target.digest);
    if depth > DEPTH_MAX {
        return Err(Error::Format("indexes are nested too deep".to_owned()));
    }
    if !seen.insert(target.digest.clone()) {
        return Ok(());
    }
    let mut references = BTreeMap::new();
    let is_document = target.media_type.contains("manifest") || target.media_type.contains("image.index");
    if is_document {
        let document = parse(&archive.document(&path)?)?;
        for (at, child) in list(&document, "manifests").enumerate() {
            let child = descriptor(child)?;
            // Archives of one platform keep the index of all.
            if archive.has(&path_of(&child.digest)) {
                walk(archive, &child, seen, parts, depth + 1)?;
                references.insert(format!("containerd.io/gc.ref.content.m.{at}"), child.digest);
            }
        }
        if let Some(config) = document.get("config") {
            let config = descriptor(config)?;
            let layers: Vec<Descriptor> = list(&document, "layers").map(descriptor).collect::<Result<_, _>>()?;
            for child in std::iter::once(&config).chain(&layers) {
                walk(archive, child, seen, parts, depth + 1)?;
            }
            let digests: Vec<String> = layers.into_iter().map(|l| l.digest).collect();
            references.extend(manifest_references(&config.digest, &digests));
        }
    }
    parts.push(Part { digest: target.digest.clone(), source: archive.source(&path)?, references });
    Ok(())
}

/// The labels by which containerd's collector follows a manifest.
pub fn manifest_references(config: &str, layers: &[String]) -> BTreeMap<String, String> {
    let layers = layers.iter().enumerate().map(|(at, l)| (format!("containerd.io/gc.ref.content.l.{at}"), l.clone()));
    let config = ("containerd.io/gc.ref.content.config".to_owned(), config.to_owned());
    std::iter::once(config).chain(layers).collect()
}
