//! Segment files: their names, and how a spare one is made ready.

use std::io;
use std::sync::Arc;

use crate::disk::{Disk, DiskFile};

const SUFFIX: &str = ".log";
/// The file that becomes the next segment.
pub(super) const SPARE: &str = "spare.log.new";

pub(super) fn name(id: u64) -> String {
    format!("{id:016}{SUFFIX}")
}

/// The number of a segment file; `None` for other files.
pub(super) fn id_of(name: &str) -> Option<u64> {
    name.strip_suffix(SUFFIX).filter(|digits| digits.len() == 16)?.parse().ok()
}

/// Makes the spare file, all of it really on disk: writing into it later needs no space and little bookkeeping.
pub(super) fn prepare_spare(disk: &dyn Disk, bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
    let file = disk.open(SPARE, true)?;
    if file.len()? == bytes {
        // From an earlier run.
        return Ok(file);
    }
    if let Err(error) = fill(&*file, bytes) {
        // A part of a spare would only keep others from the space.
        let _ = disk.remove(SPARE);
        return Err(error);
    }
    Ok(file)
}

/// In pieces of a page: Linux keeps what is written at once in one large folio, and counts all of it as written again
/// (`/proc/<pid>/io`, dirty memory) when a frame of some hundred bytes is written into it later.
fn fill(file: &dyn DiskFile, bytes: u64) -> io::Result<()> {
    let zeros = [0; 4096];
    let mut at = 0;
    while at < bytes {
        let length = zeros.len().min((bytes - at) as usize);
        file.write_at(at, &zeros[..length])?;
        at += length as u64;
    }
    file.set_len(bytes)?;
    file.sync_data()
}

/// Turns a segment that holds nothing of use into the spare. Old frames in it belong to another segment number.
pub(super) fn recycle(disk: &dyn Disk, id: u64) -> io::Result<()> {
    disk.rename(&name(id), SPARE)
}
