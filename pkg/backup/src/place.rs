//! A folder takes the place of another one, which is kept: that one alone, for root alone, since it holds keys.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::Error;

/// What was there before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aside {
    /// Where it is now.
    pub path: PathBuf,
    /// What earlier exchanges had kept: removed, for the newest is enough.
    pub removed: Vec<PathBuf>,
}

/// Puts `new` where `current` is, if that is there, and `current` where nothing is: beside it, under its name with
/// `-old-<now>`. What was put there earlier is removed; unless `current` is `unused`, which then is removed itself. Whenever
/// power is lost, `current` is the one or the other.
///
/// File systems that cannot exchange two folders lack that promise: there `current` may be missing and `new` be complete.
pub(crate) fn take_place(new: &Path, current: &Path, now: u64, unused: bool) -> Result<Option<Aside>, Error> {
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
    if unused {
        fs::remove_dir_all(&aside).map_err(Error::io(&aside))?;
        return Ok(None);
    }
    keep_alone(current, aside).map(Some)
}

/// Moves a folder aside, under a name that nothing has, in the place of what is kept there.
pub(crate) fn move_aside(current: &Path, now: u64) -> Result<Aside, Error> {
    let aside = free_name(current, now);
    fs::rename(current, &aside).map_err(Error::io(current))?;
    let parent = current.parent().unwrap_or(Path::new("/"));
    sync(parent).map_err(Error::io(parent))?;
    keep_alone(current, aside)
}

/// What was put aside for `current`, oldest first.
pub(crate) fn kept(current: &Path) -> Vec<PathBuf> {
    let prefix = format!("{}-old-", name(current));
    let number = |path: &PathBuf| name(path).strip_prefix(&prefix)?.parse::<u64>().ok();
    let entries = current.parent().and_then(|parent| fs::read_dir(parent).ok()).into_iter().flatten().flatten();
    let mut kept: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| number(path).is_some()).collect();
    kept.sort_by_key(number);
    kept
}

fn keep_alone(current: &Path, path: PathBuf) -> Result<Aside, Error> {
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).map_err(Error::io(&path))?;
    let mut removed = kept(current);
    removed.retain(|other| *other != path);
    // What was asked for is done by now: one that stays is named at the next start.
    removed.retain(|other| fs::remove_dir_all(other).is_ok());
    Ok(Aside { path, removed })
}

fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn free_name(current: &Path, now: u64) -> PathBuf {
    let named = |at: u64| current.with_file_name(format!("{}-old-{at}", name(current)));
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
    fn what_was_there_last_is_kept_for_its_owner_alone() {
        let root = tempfile::tempdir().unwrap();
        let (new, current) = (root.path().join("server.new"), root.path().join("server"));
        let put = |text: &str| {
            fs::create_dir(&new).unwrap();
            fs::write(new.join("file"), text).unwrap();
        };
        put("1");
        assert_eq!(take_place(&new, &current, 7, false).unwrap(), None);
        let aside = |path: &str, removed: &[&str]| Aside {
            path: root.path().join(path),
            removed: removed.iter().map(|removed| root.path().join(removed)).collect(),
        };
        for (text, expected) in [("2", aside("server-old-7", &[])), ("3", aside("server-old-8", &["server-old-7"]))] {
            put(text);
            assert_eq!(take_place(&new, &current, 7, false).unwrap(), Some(expected));
            assert_eq!(fs::read_to_string(current.join("file")).unwrap(), text);
        }
        assert_eq!(fs::read_to_string(root.path().join("server-old-8/file")).unwrap(), "2");
        put("4");
        assert_eq!(take_place(&new, &current, 8, true).unwrap(), None, "nobody has used what was there");
        assert_eq!(fs::read_to_string(root.path().join("server-old-8/file")).unwrap(), "2");
        for mine in ["server-old-", "server-old-x", "server-older", "db-old-1"] {
            fs::create_dir(root.path().join(mine)).unwrap();
        }
        assert_eq!(move_aside(&current, 8).unwrap(), aside("server-old-9", &["server-old-8"]));
        assert!(!new.exists() && !current.exists());
        let mode = fs::metadata(root.path().join("server-old-9")).unwrap().permissions().mode();
        assert_eq!((mode & 0o777, fs::read_dir(root.path()).unwrap().count()), (0o700, 5));
        assert_eq!(kept(&current), [root.path().join("server-old-9")]);
    }
}
