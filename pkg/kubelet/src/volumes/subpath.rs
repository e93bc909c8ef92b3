//! A part of a volume as a mount. The path is resolved by the kernel without leaving the volume: a container that
//! plants symlinks in its volume must not get at the node's files.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags};

use super::{VolumeError, io_error, is_mounted};

/// Binds `<source>/<path>` to `target` and answers where to mount from. A missing folder is made.
pub fn bind(source: &Path, path: &str, target: &Path) -> Result<PathBuf, VolumeError> {
    let plain = Path::new(path).components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
    if !plain {
        return Err(VolumeError::BadPath(path.to_owned()));
    }
    let root = open(CWD, source, OFlags::PATH | OFlags::DIRECTORY, ResolveFlags::empty());
    let root = root.map_err(io_error("opening the volume"))?;
    let part = open_or_make(&root, path).map_err(io_error(format!("failed to prepare subPath {path:?}")))?;
    make_target(&part, target).map_err(io_error("making the mount point"))?;
    if is_mounted(target) {
        // A container that starts again: the old mount may be of a file that was replaced.
        let _ = rustix::mount::unmount(target, rustix::mount::UnmountFlags::DETACH);
    }
    let opened = format!("/proc/self/fd/{}", part.as_raw_fd());
    rustix::mount::mount_bind(opened, target).map_err(|e| io_error("binding the subPath")(e.into()))?;
    Ok(target.to_owned())
}

fn open(at: impl std::os::fd::AsFd, path: &Path, flags: OFlags, resolve: ResolveFlags) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat2(at, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)?)
}

/// Symlinks are followed as long as they stay in the volume (that is how ConfigMap volumes are laid out).
const INSIDE: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);

fn open_or_make(root: &OwnedFd, path: &str) -> io::Result<OwnedFd> {
    match open(root, Path::new(path), OFlags::PATH, INSIDE) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        outcome => return outcome,
    }
    // Each part is opened below the one before, so that nothing is made outside.
    let mut at = open(root, Path::new("."), OFlags::PATH | OFlags::DIRECTORY, INSIDE)?;
    for part in Path::new(path).components() {
        let Component::Normal(name) = part else { continue };
        let name = Path::new(name);
        at = match open(&at, name, OFlags::PATH, INSIDE) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match rustix::fs::mkdirat(&at, name, Mode::from_raw_mode(0o750)) {
                    Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                    Err(error) => return Err(error.into()),
                }
                open(&at, name, OFlags::PATH, INSIDE)?
            }
            outcome => outcome?,
        };
    }
    Ok(at)
}

fn make_target(part: &OwnedFd, target: &Path) -> io::Result<()> {
    if let Some(parent) = target.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let stat = rustix::fs::statat(part, "", AtFlags::EMPTY_PATH)?;
    let folder = rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Directory;
    if folder {
        std::fs::create_dir_all(target)
    } else if target.exists() {
        Ok(())
    } else {
        std::fs::write(target, "")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symlinks_do_not_lead_out() {
        let folder = std::env::temp_dir().join(format!("coracle-subpath-{}", rand::random::<u64>()));
        std::fs::create_dir_all(folder.join("real")).expect("a folder");
        std::os::unix::fs::symlink("/etc", folder.join("out")).expect("a link");
        std::os::unix::fs::symlink("real", folder.join("in")).expect("a link");
        let root = open(CWD, &folder, OFlags::PATH, ResolveFlags::empty()).expect("the root");
        assert!(open_or_make(&root, "out/passwd").is_err());
        assert!(open_or_make(&root, "out/new").is_err());
        assert!(open_or_make(&root, "in").is_ok());
        assert!(open_or_make(&root, "made/below").is_ok() && folder.join("made/below").is_dir());
        std::fs::remove_dir_all(folder).expect("removed");
    }
}
