//! Finding one's way in an image archive: where each file's bytes are, and which layout it has.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Component, Path};

use cri::containerd::Descriptor;
use cri::containerd::bytes_source::Source;

use super::{Error, Part, docker, io_error, oci, open_plain};

/// Index, manifests and configs are small; anything larger is no such thing.
const DOCUMENT_BYTES_MAX: u64 = 8 << 20;

/// What is to be written.
pub struct Contents {
    pub parts: Vec<Part>,
    pub names: Vec<(String, Descriptor)>,
}

/// An archive whose entries can be read at random.
pub struct Archive {
    file: File,
    entries: BTreeMap<String, (u64, u64)>,
}

/// Reads an OCI layout or a `docker save` archive, compressed or not.
pub fn read(path: &Path) -> Result<Contents, Error> {
    let archive = Archive::index(open_plain(path)?)?;
    if archive.has("index.json") {
        oci::read(&archive)
    } else if archive.has("manifest.json") {
        docker::read(&archive)
    } else {
        Err(Error::Format("neither index.json nor manifest.json is in it".to_owned()))
    }
}

impl Archive {
    fn index(file: File) -> Result<Self, Error> {
        let reader = file.try_clone().map_err(io_error("opening the archive"))?;
        let mut entries = BTreeMap::new();
        let mut links: Vec<(String, String)> = Vec::new();
        let mut archive = tar::Archive::new(reader);
        for entry in archive.entries().map_err(io_error("reading the archive"))? {
            let entry = entry.map_err(io_error("reading the archive"))?;
            let name = clean(&entry.path().map_err(io_error("reading a name"))?);
            let kind = entry.header().entry_type();
            if kind.is_file() {
                entries.insert(name, (entry.raw_file_position(), entry.size()));
            } else if let Ok(Some(target)) = entry.link_name() {
                // `docker save` links layers that two images share.
                let base =
                    if kind.is_symlink() { Path::new(&name).parent().unwrap_or(Path::new("")) } else { Path::new("") };
                links.push((name.clone(), clean(&base.join(target))));
            }
        }
        for (name, target) in links {
            if let Some(place) = entries.get(&target).copied() {
                entries.insert(name, place);
            }
        }
        Ok(Self { file, entries })
    }

    pub fn has(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    fn place(&self, name: &str) -> Result<(u64, u64), Error> {
        self.entries.get(name).copied().ok_or_else(|| Error::Format(format!("{name} is missing")))
    }

    pub fn size(&self, name: &str) -> Result<u64, Error> {
        self.place(name).map(|(_, size)| size)
    }

    /// A small file's bytes.
    pub fn document(&self, name: &str) -> Result<Vec<u8>, Error> {
        let (offset, size) = self.place(name)?;
        if size > DOCUMENT_BYTES_MAX {
            return Err(Error::Format(format!("{name} is too large")));
        }
        let mut data = Vec::new();
        self.reader(offset)?.take(size).read_to_end(&mut data).map_err(io_error("reading the archive"))?;
        Ok(data)
    }

    fn reader(&self, offset: u64) -> Result<File, Error> {
        let mut file = self.file.try_clone().map_err(io_error("opening the archive"))?;
        file.seek(SeekFrom::Start(offset)).map_err(io_error("reading the archive"))?;
        Ok(file)
    }

    pub fn source(&self, name: &str) -> Result<Source, Error> {
        let (offset, size) = self.place(name)?;
        let file = self.file.try_clone().map_err(io_error("opening the archive"))?;
        Ok(Source::File { file, offset, size })
    }

    /// The digest of a file, and whether it is gzip.
    pub fn hash(&self, name: &str) -> Result<(String, bool), Error> {
        use sha2::{Digest as _, Sha256};
        let (offset, size) = self.place(name)?;
        let mut reader = self.reader(offset)?.take(size);
        let (mut hash, mut buffer, mut first) = (Sha256::new(), vec![0u8; 1 << 16], None);
        loop {
            let count = reader.read(&mut buffer).map_err(io_error("reading the archive"))?;
            let Some(chunk) = buffer.get(..count).filter(|c| !c.is_empty()) else { break };
            first.get_or_insert_with(|| chunk.starts_with(&[0x1f, 0x8b]));
            hash.update(chunk);
        }
        let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok((format!("sha256:{hex}"), first.unwrap_or(false)))
    }
}

/// The path without `./` and the like.
fn clean(path: &Path) -> String {
    let mut parts: Vec<String> = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => parts.push(part.to_string_lossy().into_owned()),
            Component::ParentDir => drop(parts.pop()),
            _ => {}
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use serde_json::json;

    use super::*;
    use crate::pause;

    /// An OCI layout of the pause image, under `name`.
    fn layout(name: &str) -> Vec<u8> {
        let image = pause::image().expect("an image");
        let index = json!({"schemaVersion": 2, "manifests": [{"mediaType": image.manifest.media_type,
            "digest": image.manifest.digest, "size": image.manifest.data.len(),
            "annotations": {"org.opencontainers.image.ref.name": name}}]});
        let mut archive = tar::Builder::new(Vec::new());
        let mut add = |path: &str, data: &[u8]| {
            let mut header = tar::Header::new_ustar();
            header.set_size(data.len() as u64);
            header.set_mode(0o644);
            archive.append_data(&mut header, path, data).expect("appended");
        };
        add("./index.json", index.to_string().as_bytes());
        for blob in [&image.layer, &image.config, &image.manifest] {
            add(&format!("blobs/{}", blob.digest.replace(':', "/")), &blob.data);
        }
        archive.into_inner().expect("an archive")
    }

    #[test]
    fn plain_and_compressed_layouts_are_read_leaves_first() {
        let folder = tempfile::tempdir().expect("a folder");
        let plain = layout("example.com/pause:1");
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&plain).expect("packed");
        let zstd = zstd::encode_all(plain.as_slice(), 1).expect("packed");
        for (name, data) in [("a.tar", plain), ("a.tar.gz", gzip.finish().expect("packed")), ("a.tar.zst", zstd)] {
            let path = folder.path().join(name);
            std::fs::write(&path, data).expect("written");
            let contents = read(&path).expect(name);
            assert_eq!(contents.names.first().map(|(n, _)| n.as_str()), Some("example.com/pause:1"), "{name}");
            let image = pause::image().expect("an image");
            let order: Vec<&str> = contents.parts.iter().map(|p| p.digest.as_str()).collect();
            assert_eq!(order, [&image.config.digest, &image.layer.digest, &image.manifest.digest], "{name}");
            assert_eq!(contents.parts[2].references.len(), 2, "{name}");
        }
    }

    #[test]
    fn what_is_no_image_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.tar");
        for (data, says) in
            [(layout("tag-only"), "names no image"), (vec![0; 1024], "neither"), (b"junk".to_vec(), "archive")]
        {
            std::fs::write(&path, data).expect("written");
            let error = read(&path).err().expect("refused").to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
