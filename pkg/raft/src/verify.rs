//! The files of a stopped server, read whole and compared with their checksums. Nothing is changed.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use mvcc::{Limits, Store};

use crate::checkpoint::{self, Checkpoint, CheckpointError};
use crate::config::Config;
use crate::directory::{LOCK, MARKER, OpenError, owner, read_marker};
use crate::disk::Disk;
use crate::log::{Contents, inspect, segment_id};
use crate::overlay::OverlayDisk;
use crate::start::load;

/// Of a file with more than these, the rest is only counted.
const PROBLEMS_MAX: usize = 100;

/// What was found in one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Its name in the directory; of what concerns several, the directory's.
    pub file: String,
    /// Its length.
    pub bytes: u64,
    /// What it holds, in words.
    pub contents: String,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where in the file, if that can be told.
    pub offset: Option<u64>,
    /// What.
    pub detail: String,
}

impl Verified {
    fn problem(&mut self, offset: Option<u64>, detail: impl ToString) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(Problem { offset, detail: detail.to_string() });
        }
    }
}

/// Reads every frame of the log and every record of the checkpoint of the store in `path`, whose server must not run; then
/// sees whether a start would take them.
pub fn verify(path: &Path) -> Result<Vec<Verified>, OpenError> {
    let io = |source| OpenError::io(path, source);
    if !path.join(MARKER).exists() {
        return Err(OpenError::Foreign { path: path.to_owned(), found: format!("there is no {MARKER}") });
    }
    let _lock = take_lock(path)?;
    let mut found = vec![marker(path)];
    let disk: Arc<dyn Disk> = Arc::new(OverlayDisk::new(path.to_owned()));
    found.extend(segments(&*disk).map_err(io)?);
    if Checkpoint::exists(&*disk).map_err(io)? {
        found.push(records(&*disk).map_err(io)?);
    }
    if found.iter().all(|file| file.problems.is_empty()) {
        found.extend(together(path, &disk));
    }
    Ok(found)
}

/// Keeps a server from starting meanwhile.
fn take_lock(path: &Path) -> Result<Option<File>, OpenError> {
    let name = path.join(LOCK);
    let mut lock = match File::open(&name) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(OpenError::io(&name, error)),
    };
    match lock.try_lock() {
        Ok(()) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { path: path.to_owned(), owner: owner(&mut lock) }),
        Err(TryLockError::Error(error)) => Err(OpenError::io(&name, error)),
    }
}

fn marker(path: &Path) -> Verified {
    let bytes = fs::metadata(path.join(MARKER)).map_or(0, |file| file.len());
    let mut file = Verified { file: MARKER.to_owned(), bytes, ..Verified::default() };
    match read_marker(path) {
        Ok(Some(marker)) => file.contents = format!("member {:016x}", marker.node_id),
        Ok(None) => file.problem(None, "it is gone"),
        Err(error) => file.problem(None, error),
    }
    file
}

fn segments(disk: &dyn Disk) -> io::Result<Vec<Verified>> {
    let mut names: Vec<_> = disk.list()?.into_iter().filter(|name| segment_id(name).is_some()).collect();
    names.sort();
    let (mut found, mut next, count) = (Vec::new(), None, names.len());
    for (at, name) in names.into_iter().enumerate() {
        let file = disk.open(&name, false)?;
        let mut content = vec![0; usize::try_from(file.len()?).map_err(io::Error::other)?];
        let mut verified = Verified { bytes: content.len() as u64, ..Verified::default() };
        match file.read_at(0, &mut content) {
            Ok(()) => {
                let Contents { frames, entries, torn, next: number, problem } =
                    inspect(&name, &Bytes::from(content), next, at + 1 == count);
                next = number;
                verified.contents = format!("{frames} frames, {entries} entries");
                if torn {
                    verified.contents += ", and a last write that was cut short and never acknowledged";
                }
                if let Some((offset, detail)) = problem {
                    verified.problem(Some(offset), detail);
                }
            }
            Err(error) => verified.problem(None, error),
        }
        verified.file = name;
        found.push(verified);
    }
    Ok(found)
}

fn records(disk: &dyn Disk) -> io::Result<Verified> {
    let mut file = Verified { file: checkpoint::FILE.to_owned(), ..Verified::default() };
    file.bytes = disk.open(checkpoint::FILE, false)?.len()?;
    let mut records = 0_u64;
    let read = checkpoint::inspect(disk, |record| {
        records += 1;
        if let Err(detail) = record {
            file.problem(None, detail);
        }
    });
    file.contents = format!("{records} records");
    match read {
        Ok(meta) => {
            let applied = meta.applied.map_or(0, |log_id| log_id.index());
            file.contents = format!("{records} records at revision {}, applied to entry {applied}", meta.revision);
        }
        Err(CheckpointError::Io(error)) => return Err(error),
        // Whatever is wrong with a record makes the whole wrong, too.
        Err(CheckpointError::Damaged(_)) if !file.problems.is_empty() => {}
        Err(CheckpointError::Damaged(detail)) => file.problem(None, detail),
    }
    Ok(file)
}

/// What a start would say of files that are each well.
fn together(path: &Path, disk: &Arc<dyn Disk>) -> Option<Verified> {
    match load(&Config::new(path), disk, Store::new(Limits::default())) {
        Ok((log, machine)) => {
            machine.close();
            log.close();
            None
        }
        Err(error) => {
            let mut all =
                Verified { file: ".".to_owned(), contents: "all files together".to_owned(), ..Verified::default() };
            let detail = match error {
                OpenError::Corrupt { detail, .. } => detail,
                other => other.to_string(),
            };
            all.problem(None, detail);
            Some(all)
        }
    }
}
