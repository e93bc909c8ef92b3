//! The data directory: one owner at a time, and a marker that says whose it is and which format it has.

use std::collections::hash_map::RandomState;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

pub(crate) const MARKER: &str = "FORMAT";
pub(crate) const LOCK: &str = "LOCK";
const MAGIC: &str = "coracle-store";
/// Before the checksum of what stands before it.
const CHECKSUM: &str = " crc32:";
/// The format that this version reads and writes.
///
/// 2: records of the checkpoint have digests, and this marker a checksum. What a version before it wrote is read.
const FORMAT: u32 = 2;
/// The first whose marker ends with its checksum.
const FORMAT_WITH_CHECKSUM: u32 = 2;

/// Why a data directory cannot be used. Every text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("data directory {path} is in use by {owner}: stop that process, or give this one another --data-dir")]
    Locked {
        /// The directory.
        path: PathBuf,
        /// The other process, as well as it can be told.
        owner: String,
    },
    /// Not ours.
    #[error(
        "data directory {path} holds files that are not a coracle store ({found}): give an empty directory with --data-dir"
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// What gave it away.
        found: String,
    },
    /// Written by a later version.
    #[error(
        "data directory {path} has store format {found}, this version knows up to {FORMAT}: start the version that wrote it, or a later one"
    )]
    Newer {
        /// The directory.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// Damage.
    #[error(
        "{path} is damaged: {detail}. Nothing was changed. Restore the data directory from a backup, or move it away to begin with an empty cluster"
    )]
    Corrupt {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// No space left.
    #[error("no space left on the disk of {path}: free some and start again")]
    DiskFull {
        /// The directory.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// Not allowed.
    #[error("no permission for {path}: run as the user that owns it, or change its owner")]
    Permission {
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// Any other failure of the file system.
    #[error("cannot use {path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The group did not come up.
    #[error("the store in {path} did not become ready: {detail}")]
    NotReady {
        /// The directory.
        path: PathBuf,
        /// Why.
        detail: String,
    },
}

impl OpenError {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path, source },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::Permission { path, source },
            _ => Self::Io { path, source },
        }
    }
}

/// A data directory that this process owns while the value lives.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    marker: Marker,
    _lock: File,
}

/// What the marker says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marker {
    pub(crate) node_id: u64,
    pub(crate) cluster_id: Option<u64>,
    /// What the cluster was before it was restored or reset, the last one first. Its servers are not of this one.
    pub(crate) earlier: Vec<u64>,
}

impl DataDirectory {
    /// Takes the directory, making it when it is missing.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let io = |source| OpenError::io(path, source);
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io)?;
        refuse_foreign(path)?;
        let mode = fs::metadata(path).map_err(io)?.permissions().mode();
        if mode & 0o077 != 0 {
            fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(io)?;
        }
        let lock = take_lock(path)?;
        let marker = match read_format(path)? {
            Some((FORMAT, known)) => known,
            Some((_, known)) => {
                // Before anything is written that the earlier version does not know.
                write_marker(path, &known)?;
                known
            }
            None => {
                let marker = Marker { node_id: unlikely_twice(), ..Marker::default() };
                write_marker(path, &marker)?;
                marker
            }
        };
        Ok(Self { path: path.to_owned(), marker, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The identity of this member, chosen at the first start.
    pub fn node_id(&self) -> u64 {
        self.marker.node_id
    }

    /// The identity of the cluster; none for a joiner that does not know it yet, and for stores of early versions.
    pub fn cluster_id(&self) -> Option<u64> {
        self.marker.cluster_id
    }

    pub(crate) fn marker(&self) -> &Marker {
        &self.marker
    }
}

/// A directory without our marker must be empty, but for what an interrupted first start leaves.
fn refuse_foreign(path: &Path) -> Result<(), OpenError> {
    let io = |source| OpenError::io(path, source);
    if path.join(MARKER).exists() {
        return Ok(());
    }
    let ours = [LOCK.to_owned(), format!("{MARKER}.new")];
    for entry in fs::read_dir(path).map_err(io)? {
        let name = entry.map_err(io)?.file_name().to_string_lossy().into_owned();
        if !ours.contains(&name) {
            return Err(OpenError::Foreign {
                path: path.to_owned(),
                found: format!("there is {name} but no {MARKER}"),
            });
        }
    }
    Ok(())
}

fn take_lock(path: &Path) -> Result<File, OpenError> {
    let name = path.join(LOCK);
    let io = |source| OpenError::io(&name, source);
    let mut lock =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&name).map_err(io)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(OpenError::Locked { path: path.to_owned(), owner: owner(&mut lock) });
        }
        Err(TryLockError::Error(source)) => return Err(io(source)),
    }
    // For the message of whoever comes second; the lock itself is the kernel's.
    lock.set_len(0).map_err(io)?;
    lock.write_all(std::process::id().to_string().as_bytes()).map_err(io)?;
    Ok(lock)
}

/// The process that holds the lock, by what it wrote into the file.
pub(crate) fn owner(lock: &mut File) -> String {
    let mut text = String::new();
    let known = lock.read_to_string(&mut text).ok().and_then(|_| text.trim().parse::<u32>().ok());
    let Some(pid) = known else { return "another process".to_owned() };
    match fs::read_to_string(format!("/proc/{pid}/comm")) {
        Ok(command) => format!("process {pid} ({})", command.trim()),
        Err(_) => format!("process {pid}"),
    }
}

/// A number that is not secret, only unlikely to be the same twice, and never 0.
pub(crate) fn unlikely_twice() -> u64 {
    RandomState::new().build_hasher().finish() | 1
}

fn checksum(text: &str) -> String {
    format!("{:08x}", crc32fast::hash(text.as_bytes()))
}

/// Whose the directory is; none when it has no marker.
pub(crate) fn read_marker(path: &Path) -> Result<Option<Marker>, OpenError> {
    Ok(read_format(path)?.map(|(_, marker)| marker))
}

/// The format and the rest of the marker.
fn read_format(path: &Path) -> Result<Option<(u32, Marker)>, OpenError> {
    let name = path.join(MARKER);
    let text = match fs::read(&name) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(OpenError::io(&name, error)),
    };
    let mut words = text.split_ascii_whitespace();
    let foreign = || OpenError::Foreign { path: path.to_owned(), found: format!("{MARKER} is not ours") };
    if words.next() != Some(MAGIC) {
        return Err(foreign());
    }
    let format = words.next().and_then(|word| word.parse().ok()).ok_or_else(foreign)?;
    if format > FORMAT {
        return Err(OpenError::Newer { path: path.to_owned(), found: format });
    }
    let corrupt = |detail: &str| OpenError::Corrupt { path: name.clone(), detail: detail.to_owned() };
    let said = text.trim_end().rsplit_once(CHECKSUM);
    if (format >= FORMAT_WITH_CHECKSUM || said.is_some()) && said.is_none_or(|(text, sum)| sum != checksum(text)) {
        return Err(corrupt("it does not match its checksum"));
    }
    let mut numbers = words.map_while(|word| u64::from_str_radix(word, 16).ok());
    let corrupt = || corrupt("it names no member");
    let (node_id, cluster_id) = (numbers.next().ok_or_else(corrupt)?, numbers.next());
    Ok(Some((format, Marker { node_id, cluster_id, earlier: numbers.collect() })))
}

/// Makes the directory that of a member, and of a cluster if it has one. Complete or not at all: written aside and
/// renamed.
pub(crate) fn write_marker(path: &Path, marker: &Marker) -> Result<(), OpenError> {
    let io = |source| OpenError::io(path, source);
    let numbers = [marker.node_id].into_iter().chain(marker.cluster_id).chain(marker.earlier.iter().copied());
    let numbers: String = numbers.map(|id| format!(" {id:016x}")).collect();
    let new = path.join(format!("{MARKER}.new"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new).map_err(io)?;
    let text = format!("{MAGIC} {FORMAT}{numbers}");
    file.write_all(format!("{text}{CHECKSUM}{}\n", checksum(&text)).as_bytes()).map_err(io)?;
    file.sync_all().map_err(io)?;
    fs::rename(&new, path.join(MARKER)).map_err(io)?;
    File::open(path).and_then(|directory| directory.sync_all()).map_err(io)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_owner_and_keeps_its_identity() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("db");
        let first = DataDirectory::open(&path).unwrap();
        let node_id = first.node_id();
        let error = DataDirectory::open(&path).unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        drop(first);
        let again = DataDirectory::open(&path).unwrap();
        assert_eq!((again.node_id(), again.cluster_id()), (node_id, None));
        let marker = Marker { node_id, cluster_id: Some(7), earlier: vec![6, 5] };
        write_marker(&path, &marker).unwrap();
        drop(again);
        let again = DataDirectory::open(&path).unwrap();
        assert_eq!((again.node_id(), again.cluster_id()), (node_id, Some(7)));
        assert_eq!(again.marker(), &marker);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        for name in [MARKER, LOCK] {
            assert_eq!(fs::metadata(path.join(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn every_flipped_bit_of_the_marker_is_noticed_and_one_of_the_first_version_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let name = directory.path().join(MARKER);
        let marker = Marker { node_id: 0x1234, cluster_id: Some(7), earlier: vec![6] };
        write_marker(directory.path(), &marker).unwrap();
        let text = fs::read(&name).unwrap();
        for bit in 0..(text.len() - 1) * 8 {
            let mut flipped = text.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            fs::write(&name, &flipped).unwrap();
            let found = read_marker(directory.path());
            assert!(found.is_err(), "{:?}: {found:?}", String::from_utf8_lossy(&flipped));
        }
        fs::write(&name, format!("{MAGIC} 1 {:016x} {:016x} {:016x}\n", 0x1234, 7, 6)).unwrap();
        assert_eq!(read_marker(directory.path()).unwrap(), Some(marker.clone()));
        drop(DataDirectory::open(directory.path()).unwrap());
        assert_eq!(fs::read(&name).unwrap(), text, "the version before this one does not start on it any more");
    }

    #[test]
    fn what_is_not_ours_is_refused_untouched() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        fs::write(path.join("precious.txt"), "x").unwrap();
        assert!(matches!(DataDirectory::open(path), Err(OpenError::Foreign { .. })));
        assert_eq!(fs::read_dir(path).unwrap().count(), 1);
        fs::remove_file(path.join("precious.txt")).unwrap();

        fs::write(path.join(MARKER), "something else").unwrap();
        assert!(matches!(DataDirectory::open(path), Err(OpenError::Foreign { .. })));
        fs::write(path.join(MARKER), format!("{MAGIC} 999 1")).unwrap();
        assert!(matches!(DataDirectory::open(path), Err(OpenError::Newer { found: 999, .. })));
        fs::write(path.join(MARKER), format!("{MAGIC} 1")).unwrap();
        assert!(matches!(DataDirectory::open(path), Err(OpenError::Corrupt { .. })));
    }
}
