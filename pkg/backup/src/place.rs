//! A folder takes the place of another one, which is kept.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::Error;

/// Puts `new` where `current` is, if that is there, and `current` where nothing is: beside it, under its name with
/// `-old-<now>`. Answers where that is. Whenever power is lost, `current` is the one or the other.
///
/// File systems that cannot exchange two folders lack that promise: there `current` may be missing and `new` be complete.
pub(crate) fn take_place(new: &Path, current: &Path, now: u64) -> Result<Option<PathBuf>, Error> {
    let parent = current.parent().unwrap_or(Path::new("/"));
    sync_tree(new).map_err(Error::io(new))?;
    if !current.exists() {
        fs::rename(new, current).map_err(Error::io(new))?;
        sync(parent).map_err(Error::io(parent))?;
        return Ok(None);
    }
    let aside = free_name(current, now);
    // It has its later name before the exchange, which so is the last step.
    fs::rename(new, &aside).map_err(Error::io(new))?;
    match renameat_with(CWD, &aside, CWD, current, RenameFlags::EXCHANGE) {
        Ok(()) => {}
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            fs::rename(&aside, new).map_err(Error::io(&aside))?;
            fs::rename(current, &aside).map_err(Error::io(current))?;
            fs::rename(new, current).map_err(Error::io(new))?;
        }
        Err(error) => {
            let _ = fs::rename(&aside, new);
            return Err(Error::Io { path: current.to_owned(), why: error.into() });
        }
    }
    sync(parent).map_err(Error::io(parent))?;
    Ok(Some(aside))
}

/// Moves a folder aside, under a name that nothing has.
pub(crate) fn move_aside(current: &Path, now: u64) -> Result<PathBuf, Error> {
    let aside = free_name(current, now);
    fs::rename(current, &aside).map_err(Error::io(current))?;
    let parent = current.parent().unwrap_or(Path::new("/"));
    sync(parent).map_err(Error::io(parent))?;
    Ok(aside)
}

fn free_name(current: &Path, now: u64) -> PathBuf {
    let name = current.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let named = |at: u64| current.with_file_name(format!("{name}-old-{at}"));
    let mut at = now;
    while named(at).exists() {
        at += 1;
    }
    named(at)
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// All files and folders of a tree.
fn sync_tree(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_tree(&entry.path())?;
        } else {
            sync(&entry.path())?;
        }
    }
    sync(folder)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // A failed expectation is what a test is for.
mod tests {
    use super::*;

    #[test]
    fn what_was_there_is_kept_under_a_free_name() {
        let root = tempfile::tempdir().unwrap();
        let (new, current) = (root.path().join("server.new"), root.path().join("server"));
        let put = |text: &str| {
            fs::create_dir(&new).unwrap();
            fs::write(new.join("file"), text).unwrap();
        };
        put("1");
        assert_eq!(take_place(&new, &current, 7).unwrap(), None);
        for (text, aside) in [("2", "server-old-7"), ("3", "server-old-8")] {
            put(text);
            assert_eq!(take_place(&new, &current, 7).unwrap(), Some(root.path().join(aside)));
            assert_eq!(fs::read_to_string(current.join("file")).unwrap(), text);
        }
        assert_eq!(fs::read_to_string(root.path().join("server-old-8/file")).unwrap(), "2");
        assert_eq!(move_aside(&current, 7).unwrap(), root.path().join("server-old-9"));
        assert!(!new.exists() && !current.exists());
    }
}
