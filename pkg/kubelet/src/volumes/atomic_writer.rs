//! Files that change all at once: they lie in a dated folder that `..data` points at, and every visible name is a
//! symlink through `..data`. Swapping that one symlink changes them all in one step, and a reader that watches
//! `..data` sees it.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Component, Path, PathBuf};

use super::Files;

const DATA: &str = "..data";
const DATA_NEW: &str = "..data_tmp";

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    pub content: Vec<u8>,
    pub mode: u32,
    /// The owner, where it is not root.
    pub user: Option<u32>,
}

/// Makes `folder` show exactly `files`; does nothing if it does already. `group` is the pod's fsGroup.
pub fn write(folder: &Path, files: &Files, group: Option<i64>) -> io::Result<()> {
    for path in files.keys() {
        check(path)?;
    }
    fs::create_dir_all(folder)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(if group.is_some() { 0o2777 } else { 0o777 }))?;
    let group = group.and_then(|g| u32::try_from(g).ok());
    own(folder, None, group)?;
    let current = fs::read_link(folder.join(DATA)).ok().map(|name| folder.join(name));
    if let Some(current) = &current
        && holds(current, files)?
    {
        return Ok(());
    }
    let fresh = make_dated(folder)?;
    for (path, file) in files {
        write_file(&fresh, path, file, group)?;
    }
    let _ = fs::remove_file(folder.join(DATA_NEW));
    let name = fresh.file_name().map(PathBuf::from).unwrap_or_default();
    symlink(&name, folder.join(DATA_NEW))?;
    fs::rename(folder.join(DATA_NEW), folder.join(DATA))?;
    link_names(folder, files)?;
    match current {
        Some(old) if old != fresh => fs::remove_dir_all(old),
        _ => Ok(()),
    }
}

/// Only plain paths below the volume, and no name that is ours.
fn check(path: &str) -> io::Result<()> {
    let plain = Path::new(path).components().all(|c| matches!(c, Component::Normal(_)));
    if path.is_empty() || !plain || path.starts_with("..") {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("invalid path {path:?}")));
    }
    Ok(())
}

fn make_dated(folder: &Path) -> io::Result<PathBuf> {
    let now = jiff::Timestamp::now();
    let date = now.strftime("%Y_%m_%d_%H_%M_%S");
    let path = folder.join(format!("..{date}.{:09}{:04}", now.subsec_nanosecond(), rand::random::<u16>() % 10_000));
    fs::create_dir(&path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

fn write_file(folder: &Path, path: &str, file: &File, group: Option<u32>) -> io::Result<()> {
    let target = folder.join(path);
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(&target, &file.content)?;
    // A group that may read needs the bit, as fsGroup gives it on every volume of the API.
    let mode = if group.is_some() { file.mode | (file.mode & 0o400) >> 3 } else { file.mode };
    fs::set_permissions(&target, fs::Permissions::from_mode(mode & 0o777))?;
    own(&target, file.user, group)
}

fn own(path: &Path, user: Option<u32>, group: Option<u32>) -> io::Result<()> {
    if user.is_none() && group.is_none() {
        return Ok(());
    }
    std::os::unix::fs::lchown(path, user, group)
}

/// True if the dated folder has exactly these files.
fn holds(folder: &Path, files: &Files) -> io::Result<bool> {
    let mut present = BTreeSet::new();
    collect(folder, folder, &mut present)?;
    if present.len() != files.len() || !files.keys().all(|path| present.contains(path)) {
        return Ok(false);
    }
    for (path, file) in files {
        let target = folder.join(path);
        let metadata = fs::metadata(&target)?;
        let same_mode = metadata.mode() & 0o700 == file.mode & 0o700;
        if !same_mode || fs::read(&target)? != file.content {
            return Ok(false);
        }
    }
    Ok(true)
}

fn collect(root: &Path, folder: &Path, into: &mut BTreeSet<String>) -> io::Result<()> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(());
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            collect(root, &entry.path(), into)?;
        } else if let Ok(path) = entry.path().strip_prefix(root) {
            into.insert(path.to_string_lossy().into_owned());
        }
    }
    Ok(())
}

/// The visible names: the first part of each path, linked through `..data`. Those that are gone are removed.
fn link_names(folder: &Path, files: &Files) -> io::Result<()> {
    let wanted: BTreeSet<&str> = files.keys().filter_map(|path| path.split('/').next()).collect();
    for name in &wanted {
        let link = folder.join(name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA).join(name), link)?;
        }
    }
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with("..") && !wanted.contains(name.as_ref()) {
            fs::remove_file(folder.join(name.as_ref()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(list: &[(&str, &str)]) -> Files {
        let file = |content: &str| File { content: content.as_bytes().to_vec(), mode: 0o644, user: None };
        list.iter().map(|(path, content)| ((*path).to_owned(), file(content))).collect()
    }

    fn temporary(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("coracle-{name}-{}", rand::random::<u64>()));
        fs::create_dir_all(&path).expect("a folder");
        path
    }

    #[test]
    fn updates_swap_all_files_and_remove_old_ones() {
        let folder = temporary("atomic");
        write(&folder, &files(&[("a", "1"), ("dir/b", "2")]), None).expect("written");
        let first = fs::read_link(folder.join(DATA)).expect("a link");
        assert_eq!(fs::read_to_string(folder.join("dir/b")).expect("b"), "2");
        write(&folder, &files(&[("a", "1"), ("dir/b", "2")]), None).expect("the same again");
        assert_eq!(fs::read_link(folder.join(DATA)).expect("a link"), first, "nothing changed");
        write(&folder, &files(&[("a", "3")]), None).expect("changed");
        assert_eq!(fs::read_to_string(folder.join("a")).expect("a"), "3");
        assert!(!folder.join("dir").exists() && !folder.join(first).exists());
        fs::remove_dir_all(folder).expect("removed");
    }

    #[test]
    fn names_that_leave_the_volume_are_refused() {
        let folder = temporary("escape");
        for bad in ["../x", "/etc/x", "..data", "a/../../b", ""] {
            assert!(write(&folder, &files(&[(bad, "")]), None).is_err(), "{bad}");
        }
        fs::remove_dir_all(folder).expect("removed");
    }
}
