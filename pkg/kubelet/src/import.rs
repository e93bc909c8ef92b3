//! Bringing images to the node without a registry: the embedded pause image, and archives of `agent/images`.

mod archive;
mod docker;
mod oci;

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cri::ImageService;
use cri::containerd::bytes_source::Source;
use cri::containerd::{Containerd, Descriptor, LEASE_LIFETIME, Lease, cri_image_labels};
use serde::{Deserialize, Serialize};

use crate::pause;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{what}: {source}")]
    Io {
        what: String,
        #[source]
        source: io::Error,
    },
    #[error("containerd: {0}")]
    Containerd(#[from] cri::Error),
    #[error("not an image archive: {0}")]
    Format(String),
}

pub(crate) fn io_error(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io { what: what.into(), source }
}

/// A blob of an image with what it refers to, so that containerd's collector keeps those, too.
pub(crate) struct Part {
    pub digest: String,
    pub source: Source,
    pub references: BTreeMap<String, String>,
}

/// Writes the parts, leaves first, and then the names.
async fn write(
    containerd: &Containerd,
    parts: Vec<Part>,
    names: &[(String, Descriptor)],
    pinned: bool,
) -> Result<(), Error> {
    let expires = jiff::Timestamp::now() + LEASE_LIFETIME;
    let expires = apimachinery::time::format(expires);
    let id = format!("coracle-import-{:016x}", rand::random::<u64>());
    let lease = containerd.begin_lease(&id, &expires).await?;
    let outcome = write_leased(containerd, &lease, parts, names, pinned).await;
    if let Err(error) = containerd.end_lease(lease).await {
        tracing::debug!(%error, "lease was not ended; it expires by itself");
    }
    outcome
}

async fn write_leased(
    containerd: &Containerd,
    lease: &Lease,
    parts: Vec<Part>,
    names: &[(String, Descriptor)],
    pinned: bool,
) -> Result<(), Error> {
    for part in parts {
        containerd.write_blob(lease, &part.digest, part.source, part.references).await?;
    }
    for (name, target) in names {
        containerd.put_image(name, target, cri_image_labels(pinned)).await?;
    }
    Ok(())
}

/// Waits until CRI has taken note of an image: it learns of it by an event.
async fn wait_visible(images: &dyn ImageService, name: &str) {
    const PATIENCE: Duration = Duration::from_secs(5);
    let seen = async {
        while !matches!(images.image_status(name).await, Ok(Some(_))) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    if tokio::time::timeout(PATIENCE, seen).await.is_err() {
        tracing::warn!(name, "image was imported, but the runtime does not show it yet");
    }
}

/// Makes sure of the pause image.
pub async fn pause(containerd: &Containerd, images: &dyn ImageService) -> Result<(), Error> {
    let image = pause::image().map_err(io_error("building the pause image"))?;
    let target = Descriptor {
        media_type: image.manifest.media_type.to_owned(),
        digest: image.manifest.digest.clone(),
        size: i64::try_from(image.manifest.data.len()).unwrap_or(0),
    };
    if containerd.image(pause::IMAGE).await?.as_ref() != Some(&target) {
        let references = oci::manifest_references(&image.config.digest, std::slice::from_ref(&image.layer.digest));
        let leaf = |blob: pause::Blob| Part {
            digest: blob.digest,
            source: Source::Memory(blob.data),
            references: BTreeMap::new(),
        };
        let manifest = Part { digest: image.manifest.digest, source: Source::Memory(image.manifest.data), references };
        let parts = vec![leaf(image.layer), leaf(image.config), manifest];
        write(containerd, parts, &[(pause::IMAGE.to_owned(), target)], true).await?;
    }
    wait_visible(images, pause::IMAGE).await;
    Ok(())
}

/// What was imported from a file, so that the next start does not do it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    size: u64,
    modified_seconds: u64,
    names: Vec<String>,
}

/// Imports every archive of `folder` that is new or changed. A broken one is reported and skipped.
pub async fn folder(containerd: &Containerd, images: &Arc<dyn ImageService>, folder: &Path, records: &Path) {
    let mut known = read(records);
    let mut files: Vec<PathBuf> = fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()).collect();
    files.retain(|path| is_archive(path));
    files.sort();
    for path in files {
        let Ok(stamp) = stamp(&path) else { continue };
        let before = known.get(&path).filter(|r| (r.size, r.modified_seconds) == stamp);
        if let Some(record) = before
            && all_present(containerd, &record.names).await
        {
            continue;
        }
        let started = std::time::Instant::now();
        match one(containerd, images, &path).await {
            Ok(names) => {
                tracing::info!(path = %path.display(), ?names, took = ?started.elapsed(), "images imported");
                known.insert(path, Record { size: stamp.0, modified_seconds: stamp.1, names });
            }
            Err(error) => tracing::error!(path = %path.display(), %error, "archive was not imported; skipped"),
        }
    }
    if let Ok(text) = serde_json::to_vec(&known) {
        let _ = fs::write(records, text);
    }
}

/// Where is written down what was imported.
pub fn records(config: &crate::Config) -> PathBuf {
    config.root_dir.join("imported-images.json")
}

/// Names of images that came from archives. They cannot be pulled again, so they are never collected.
pub fn imported(records: &Path) -> HashSet<String> {
    read(records).into_values().flat_map(|record| record.names).collect()
}

/// What is written down, by archive; nothing where that cannot be read: then archives are imported again.
fn read(records: &Path) -> BTreeMap<PathBuf, Record> {
    fs::read(records).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

fn is_archive(path: &Path) -> bool {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    [".tar", ".tar.gz", ".tgz", ".tar.zst"].iter().any(|suffix| name.ends_with(suffix))
}

fn stamp(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::metadata(path)?;
    let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH).duration_since(UNIX_EPOCH);
    Ok((metadata.len(), modified.unwrap_or_default().as_secs()))
}

async fn all_present(containerd: &Containerd, names: &[String]) -> bool {
    for name in names {
        if !matches!(containerd.image(name).await, Ok(Some(_))) {
            return false;
        }
    }
    true
}

/// Imports one archive; answers the names of its images.
pub async fn one(containerd: &Containerd, images: &Arc<dyn ImageService>, path: &Path) -> Result<Vec<String>, Error> {
    let owned = path.to_owned();
    let contents = tokio::task::spawn_blocking(move || archive::read(&owned)).await;
    let contents = contents.map_err(|e| Error::Format(e.to_string()))??;
    let names: Vec<String> = contents.names.iter().map(|(name, _)| name.clone()).collect();
    write(containerd, contents.parts, &contents.names, false).await?;
    for name in &names {
        wait_visible(&**images, name).await;
    }
    Ok(names)
}

/// The name as containerd and CRI keep it: with registry and, for Docker's own, `library/`.
pub(crate) fn full_name(name: &str) -> String {
    let tagged = crate::images::normalize(name).unwrap_or_else(|| name.to_owned());
    match tagged.split_once('/') {
        None => format!("docker.io/library/{tagged}"),
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => tagged,
        Some(_) => format!("docker.io/{tagged}"),
    }
}

/// The file itself, or its decompressed contents in a temporary one.
pub(crate) fn open_plain(path: &Path) -> Result<fs::File, Error> {
    let mut file = fs::File::open(path).map_err(io_error("opening the archive"))?;
    let mut magic = [0u8; 4];
    let read = file.read(&mut magic).map_err(io_error("reading the archive"))?;
    io::Seek::rewind(&mut file).map_err(io_error("reading the archive"))?;
    let gzip = read >= 2 && magic.starts_with(&[0x1f, 0x8b]);
    let zstd = read == 4 && magic == [0x28, 0xb5, 0x2f, 0xfd];
    if !gzip && !zstd {
        return Ok(file);
    }
    let mut plain = tempfile::tempfile().map_err(io_error("making a temporary file"))?;
    if gzip {
        io::copy(&mut flate2::read::MultiGzDecoder::new(file), &mut plain)
    } else {
        zstd::stream::read::Decoder::new(file).and_then(|mut decoder| io::copy(&mut decoder, &mut plain))
    }
    .map_err(io_error("decompressing the archive"))?;
    io::Seek::rewind(&mut plain).map_err(io_error("reading the archive"))?;
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed() {
        let cases = [
            ("busybox", "docker.io/library/busybox:latest"),
            ("a/b:1", "docker.io/a/b:1"),
            ("localhost/a:1", "localhost/a:1"),
            ("reg:5000/a", "reg:5000/a:latest"),
            ("docker.io/library/x:1", "docker.io/library/x:1"),
        ];
        for (name, full) in cases {
            assert_eq!(full_name(name), full);
        }
    }
}
