//! A directory that is read but never written to: what is written stays in memory. So the code of a start can look at the
//! files of a stopped server, redb's repairs included, and leaves them as they are.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::disk::{Disk, DiskFile};

const PAGE: u64 = 4096;

/// The directory as programs on top of it see it.
#[derive(Debug)]
pub(crate) struct OverlayDisk {
    path: PathBuf,
    /// What is not as in the directory: files that were made or renamed, and those that are gone.
    changed: Mutex<BTreeMap<String, Option<Arc<OverlayFile>>>>,
}

impl OverlayDisk {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, changed: Mutex::default() }
    }

    fn take(&self, name: &str) -> io::Result<Arc<OverlayFile>> {
        match self.changed.lock().insert(name.to_owned(), None) {
            Some(Some(file)) => Ok(file),
            Some(None) => Err(io::ErrorKind::NotFound.into()),
            None => OverlayFile::open(&self.path.join(name)),
        }
    }
}

impl Disk for OverlayDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let changed = self.changed.lock();
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type()?.is_file() && !changed.contains_key(&name) {
                names.push(name);
            }
        }
        names.extend(changed.iter().filter(|(_, file)| file.is_some()).map(|(name, _)| name.clone()));
        Ok(names)
    }

    fn open(&self, name: &str, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        let mut changed = self.changed.lock();
        let file = match changed.get(name) {
            Some(Some(file)) => file.clone(),
            Some(None) if create => Arc::default(),
            Some(None) => return Err(io::ErrorKind::NotFound.into()),
            None => match OverlayFile::open(&self.path.join(name)) {
                Err(error) if create && error.kind() == io::ErrorKind::NotFound => Arc::default(),
                opened => opened?,
            },
        };
        changed.insert(name.to_owned(), Some(file.clone()));
        Ok(file)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let file = self.take(from)?;
        self.changed.lock().insert(to.to_owned(), Some(file));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.take(name).map(drop)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A file of which some pages are in memory.
#[derive(Debug, Default)]
struct OverlayFile {
    /// None for one that was made here.
    below: Option<File>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    length: u64,
    /// How much of the file below is still to be seen.
    below: u64,
    pages: BTreeMap<u64, Vec<u8>>,
}

impl OverlayFile {
    fn open(path: &std::path::Path) -> io::Result<Arc<Self>> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let state = State { length, below: length, pages: BTreeMap::new() };
        Ok(Arc::new(Self { below: Some(file), state: Mutex::new(state) }))
    }

    /// Fills `buffer` from below, with zeros behind its end.
    fn read_below(&self, seen: u64, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let there = seen.saturating_sub(offset).min(buffer.len() as u64) as usize;
        let (there, rest) = buffer.split_at_mut(there);
        rest.fill(0);
        match &self.below {
            Some(file) => file.read_exact_at(there, offset),
            None => Ok(()),
        }
    }
}

/// The pages that a range touches: each with the range within it, and within the data.
fn pieces(offset: u64, length: usize) -> impl Iterator<Item = (u64, std::ops::Range<usize>, std::ops::Range<usize>)> {
    let end = offset + length as u64;
    (offset / PAGE..end.div_ceil(PAGE)).map(move |page| {
        let (from, to) = (offset.max(page * PAGE), end.min((page + 1) * PAGE));
        let within = (from - page * PAGE) as usize..(to - page * PAGE) as usize;
        (page, within, (from - offset) as usize..(to - offset) as usize)
    })
}

impl DiskFile for OverlayFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state.lock().length)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let state = self.state.lock();
        if offset + buffer.len() as u64 > state.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.read_below(state.below, offset, buffer)?;
        for (page, within, of_data) in pieces(offset, buffer.len()) {
            if let Some(content) = state.pages.get(&page) {
                buffer[of_data].copy_from_slice(&content[within]);
            }
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state.lock();
        let seen = state.below;
        for (page, within, of_data) in pieces(offset, data.len()) {
            let content = match state.pages.entry(page) {
                std::collections::btree_map::Entry::Occupied(page) => page.into_mut(),
                std::collections::btree_map::Entry::Vacant(slot) => {
                    let mut content = vec![0; PAGE as usize];
                    self.read_below(seen, page * PAGE, &mut content)?;
                    slot.insert(content)
                }
            };
            content[within].copy_from_slice(&data[of_data]);
        }
        state.length = state.length.max(offset + data.len() as u64);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        state.below = state.below.min(length);
        state.pages.retain(|page, _| page * PAGE < length);
        if let Some(content) = state.pages.get_mut(&(length / PAGE)) {
            content[(length % PAGE) as usize..].fill(0);
        }
        state.length = length;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;

    #[test]
    fn what_is_written_is_seen_and_the_directory_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let content: Vec<u8> = (0..10_000).map(|at| (at % 251) as u8).collect();
        std::fs::write(folder.path().join("a"), &content).unwrap();
        std::fs::write(folder.path().join("b"), "b").unwrap();
        let copy = tempfile::tempdir().unwrap();
        std::fs::write(copy.path().join("a"), &content).unwrap();
        std::fs::write(copy.path().join("b"), "b").unwrap();
        let disks: [Box<dyn Disk>; 2] =
            [Box::new(OverlayDisk::new(folder.path().to_owned())), Box::new(RealDisk::new(copy.path().to_owned()))];
        // The same is done to both, and the same has to be seen.
        let seen = disks.map(|disk| {
            let file = disk.open("a", false).unwrap();
            file.write_at(4000, &[1; 200]).unwrap();
            file.set_len(8000).unwrap();
            file.set_len(9000).unwrap();
            file.write_at(8990, &[2; 5000]).unwrap();
            file.set_len(12_000).unwrap();
            file.set_len(20_000).unwrap();
            disk.open("c", true).unwrap().write_at(3, b"new").unwrap();
            disk.rename("c", "b").unwrap();
            disk.remove("a").unwrap();
            let mut names = disk.list().unwrap();
            names.sort();
            let mut all = vec![0; file.len().unwrap() as usize];
            file.read_at(0, &mut all).unwrap();
            let b = disk.open("b", false).unwrap();
            let mut new = vec![0; b.len().unwrap() as usize];
            b.read_at(0, &mut new).unwrap();
            let past = file.read_at(19_999, &mut [0; 2]).unwrap_err().kind();
            (names, all, new, past, disk.open("a", false).unwrap_err().kind())
        });
        assert!(seen[0] == seen[1]);
        assert_eq!(std::fs::read(folder.path().join("a")).unwrap(), content);
        assert_eq!(std::fs::read(folder.path().join("b")).unwrap(), b"b");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
