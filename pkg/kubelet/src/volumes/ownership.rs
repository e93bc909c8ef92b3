//! Giving a volume to the pod's fsGroup.

use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, lchown};
use std::path::Path;

/// Owner, and so setgid on folders, for everything below `path`, without following symlinks.
pub fn give_to_group(path: &Path, group: i64) -> io::Result<()> {
    let group = u32::try_from(group).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    give(path, group)
}

fn give(path: &Path, group: u32) -> io::Result<()> {
    let metadata = std::fs::symlink_metadata(path)?;
    lchown(path, None, Some(group))?;
    if metadata.is_symlink() {
        return Ok(());
    }
    let folder = metadata.is_dir();
    let bits = if folder { 0o2770 } else { 0o660 };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(metadata.mode() & 0o7777 | bits))?;
    if folder {
        for entry in std::fs::read_dir(path)? {
            give(&entry?.path(), group)?;
        }
    }
    Ok(())
}
