//! Snapshots in a folder, one file each, named `<name>-<node>-<Unix time>`.
//!
//! A file has its name when all of it is on stable storage and was read back. Other files of the folder are left alone.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{BufReader, BufWriter, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::archive::{self, ArchiveError, Contents, Header};
use crate::error::Error;
use crate::saving::Saving;

/// What a snapshot is called while it is written; a crash may leave one.
const PARTIAL: &str = ".partial";
const NAME_MAX: usize = 200;

/// A snapshot in a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// The file's name.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// What it says about itself.
    #[serde(flatten)]
    pub header: Header,
    /// Why it cannot be used, as far as its beginning tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Whether a text may be the name, or the beginning of the name, of a snapshot.
pub fn check_name(name: &str) -> Result<(), Error> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let good = !name.is_empty() && name.len() <= NAME_MAX && !name.starts_with('.') && name.bytes().all(plain);
    if good { Ok(()) } else { Err(Error::Name(name.to_owned())) }
}

/// Saves a snapshot under the name `<name>-<node>-<time>`, node and time being those of its header. The folder is made if
/// it is missing. On an error nothing is left. Whoever has `saving` sees how far it is, and can cancel it.
pub fn save(folder: &Path, name: &str, contents: &Contents, saving: &Saving) -> Result<Listed, Error> {
    check_name(name)?;
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(Error::io(folder))?;
    remove_partial(folder)?;
    let mut at = contents.header.created;
    let named = |at: u64| format!("{name}-{}-{at}", contents.header.node);
    while folder.join(named(at)).exists() {
        at += 1;
    }
    let (name, path) = (named(at), folder.join(named(at)));
    let partial = folder.join(format!(".{name}{PARTIAL}"));
    let result = write_checked(&partial, contents, saving).and_then(|(header, size)| {
        fs::rename(&partial, &path).map_err(Error::io(&path))?;
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::io(folder))?;
        Ok(Listed { name, size, header, problem: None })
    });
    if result.is_err() {
        // It holds keys, and is of no use.
        let _ = fs::remove_file(&partial);
    }
    result.map_err(|error| if saving.is_cancelled() { Error::Cancelled } else { error })
}

/// Writes a file, makes it durable and reads it back.
fn write_checked(path: &Path, contents: &Contents, saving: &Saving) -> Result<(Header, u64), Error> {
    let io = || Error::io(path);
    saving.begin(contents.state.len() as u64).map_err(io())?;
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(io())?;
    let mut output = BufWriter::with_capacity(1 << 20, file);
    let header = archive::write(&mut output, contents, |records| saving.written(records)).map_err(io())?;
    output.flush().map_err(io())?;
    let file = output.into_inner().map_err(|error| io()(error.into_error()))?;
    file.sync_all().map_err(io())?;
    let size = file.metadata().map_err(io())?.len();
    drop_cached(&file);
    let input = BufReader::with_capacity(1 << 20, File::open(path).map_err(io())?);
    let read = archive::check(input, |records| saving.checked(records));
    let read = read.map_err(Error::archive(path))?;
    if read != header {
        let damage = ArchiveError::Damaged { offset: 0, detail: "it is not what was written".to_owned() };
        return Err(Error::archive(path)(damage));
    }
    Ok((header, size))
}

/// What is read back is to come from the disk, as far as the system plays along.
fn drop_cached(file: &File) {
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
}

/// What a save that was cut short has left.
fn remove_partial(folder: &Path) -> Result<(), Error> {
    for name in names(folder)? {
        if name.starts_with('.') && name.ends_with(PARTIAL) {
            let path = folder.join(name);
            fs::remove_file(&path).map_err(Error::io(&path))?;
        }
    }
    Ok(())
}

fn names(folder: &Path) -> Result<Vec<String>, Error> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io(folder)(error)),
    };
    entries.map(|entry| Ok(entry.map_err(Error::io(folder))?.file_name().to_string_lossy().into_owned())).collect()
}

/// The snapshots of a folder, oldest first. Only their beginnings are read.
pub fn list(folder: &Path) -> Result<Vec<Listed>, Error> {
    let mut all = Vec::new();
    for name in names(folder)? {
        if !name.starts_with('.') && folder.join(&name).is_file() {
            all.extend(look(folder, name)?);
        }
    }
    all.sort_by(|a, b| (a.header.created, &a.name).cmp(&(b.header.created, &b.name)));
    Ok(all)
}

fn look(folder: &Path, name: String) -> Result<Option<Listed>, Error> {
    let path = folder.join(&name);
    let file = File::open(&path).map_err(Error::io(&path))?;
    let size = file.metadata().map_err(Error::io(&path))?.len();
    match archive::read_header(BufReader::new(file)) {
        Ok(header) => Ok(Some(Listed { name, size, header, problem: None })),
        Err(ArchiveError::Foreign) => Ok(None),
        Err(ArchiveError::Io(error)) => Err(Error::io(&path)(error)),
        Err(error) => {
            let header = Header { created: time_of(&name).unwrap_or(0), ..Header::default() };
            Ok(Some(Listed { name, size, header, problem: Some(error.to_string()) }))
        }
    }
}

/// The time in a snapshot's name.
fn time_of(name: &str) -> Option<u64> {
    name.rsplit_once('-').and_then(|(_, time)| time.parse().ok())
}

/// Deletes a snapshot.
pub fn delete(folder: &Path, name: &str) -> Result<(), Error> {
    check_name(name)?;
    if !list(folder)?.iter().any(|listed| listed.name == name) {
        return Err(Error::NotFound { name: name.to_owned(), folder: folder.to_owned() });
    }
    let path = folder.join(name);
    fs::remove_file(&path).map_err(Error::io(&path))
}

/// Deletes the oldest snapshots that this node saved under `name`, until no more than `keep` are left. Answers which.
pub fn prune(folder: &Path, name: &str, node: &str, keep: usize) -> Result<Vec<String>, Error> {
    check_name(name)?;
    let prefix = format!("{name}-{node}-");
    let time = |listed: &Listed| listed.name.strip_prefix(&prefix)?.parse::<u64>().ok();
    let mut ours: Vec<(u64, String)> =
        list(folder)?.iter().filter_map(|listed| Some((time(listed)?, listed.name.clone()))).collect();
    ours.sort();
    ours.truncate(ours.len().saturating_sub(keep));
    for (_, name) in &ours {
        let path = folder.join(name);
        fs::remove_file(&path).map_err(Error::io(&path))?;
    }
    Ok(ours.into_iter().map(|(_, name)| name).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // A failed expectation is what a test is for.
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::archive::tests::state;
    use crate::saving::Progress;

    fn save(folder: &Path, name: &str, contents: &Contents) -> Result<Listed, Error> {
        super::save(folder, name, contents, &Saving::default())
    }

    fn contents(node: &str, created: u64) -> Contents {
        let header = Header { node: node.to_owned(), created, ..Header::default() };
        Contents { header, files: Vec::new(), state: state(5, 10) }
    }

    fn names_of(folder: &Path) -> Vec<String> {
        list(folder).unwrap().into_iter().map(|listed| listed.name).collect()
    }

    #[test]
    fn saved_snapshots_are_private_and_listed_by_age() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("snapshots");
        assert_eq!(names_of(&folder), Vec::<String>::new());
        save(&folder, "on-demand", &contents("n", 20)).unwrap();
        // A save that was cut short, and what is none of ours.
        fs::write(folder.join(".on-demand-n-1.partial"), "secret").unwrap();
        fs::write(folder.join("notes.txt"), "mine, and long enough for a header").unwrap();
        let saved = save(&folder, "snapshot", &contents("n", 10)).unwrap();
        assert_eq!((saved.header.objects, saved.problem.clone()), (5, None));
        assert_eq!(names_of(&folder), ["snapshot-n-10", "on-demand-n-20"]);
        assert_eq!(list(&folder).unwrap()[0], saved);
        assert!(!folder.join(".on-demand-n-1.partial").exists() && folder.join("notes.txt").exists());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&folder.join("snapshot-n-10"))), (0o700, 0o600));
        // Twice in a second.
        assert_eq!(save(&folder, "snapshot", &contents("n", 10)).unwrap().name, "snapshot-n-11");
    }

    #[test]
    fn only_the_oldest_of_the_same_name_and_node_go() {
        let root = tempfile::tempdir().unwrap();
        for (name, node, at) in
            [("snapshot", "a", 9), ("snapshot", "a", 10), ("snapshot", "a", 8), ("snapshot", "b", 1), ("x", "a", 1)]
        {
            save(root.path(), name, &contents(node, at)).unwrap();
        }
        // Of another node whose name begins alike.
        save(root.path(), "snapshot", &contents("a-b", 2)).unwrap();
        assert_eq!(prune(root.path(), "snapshot", "a", 3).unwrap(), Vec::<String>::new());
        assert_eq!(prune(root.path(), "snapshot", "a", 1).unwrap(), ["snapshot-a-8", "snapshot-a-9"]);
        assert_eq!(names_of(root.path()), ["snapshot-b-1", "x-a-1", "snapshot-a-b-2", "snapshot-a-10"]);
    }

    #[test]
    fn only_snapshots_are_deleted() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("snapshots");
        let name = save(&folder, "x", &contents("n", 1)).unwrap().name;
        fs::write(folder.join("notes.txt"), "mine").unwrap();
        fs::write(root.path().join("outside"), "mine").unwrap();
        for bad in ["../outside", "", ".", "..", "a/b", ".hidden"] {
            assert!(matches!(delete(&folder, bad), Err(Error::Name(_))), "{bad}");
        }
        for missing in ["notes.txt", "x-n-2"] {
            assert!(matches!(delete(&folder, missing), Err(Error::NotFound { .. })), "{missing}");
        }
        delete(&folder, &name).unwrap();
        assert_eq!(names_of(&folder), Vec::<String>::new());
    }

    #[test]
    fn a_damaged_snapshot_is_listed_with_what_is_wrong() {
        let root = tempfile::tempdir().unwrap();
        let name = save(root.path(), "x", &contents("n", 5)).unwrap().name;
        let mut bytes = fs::read(root.path().join(&name)).unwrap();
        bytes[40] ^= 1;
        fs::write(root.path().join(&name), bytes).unwrap();
        let listed = list(root.path()).unwrap();
        assert!(listed[0].problem.as_ref().unwrap().contains("damaged"), "{listed:?}");
        assert_eq!(listed[0].header.created, 5);
    }

    #[test]
    fn whoever_waits_sees_how_far_it_is_and_can_end_it() {
        let root = tempfile::tempdir().unwrap();
        let saving = Saving::default();
        super::save(root.path(), "x", &contents("n", 5), &saving).unwrap();
        assert_eq!(saving.progress(), Progress { objects: 5, written: 5, checked: 5 });
        saving.cancel();
        let error = super::save(root.path(), "y", &contents("n", 5), &saving).unwrap_err();
        assert_eq!(error.to_string(), "cancelled: nothing was saved");
        assert_eq!(names(root.path()).unwrap(), ["x-n-5"]);
    }

    #[test]
    fn a_save_that_fails_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("file"), "").unwrap();
        assert!(save(&root.path().join("file"), "x", &contents("n", 5)).is_err());
        assert!(save(root.path(), "a/b", &contents("n", 5)).is_err());
        assert!(save(root.path(), "x", &contents("no/such", 5)).is_err());
        assert_eq!(names(root.path()).unwrap(), ["file"]);
    }
}
