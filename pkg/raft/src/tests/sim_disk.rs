//! A disk in memory that knows what would survive a loss of power.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use crate::disk::{Bug, Disk, DiskFile};

const SECTOR: usize = 512;

/// Shared by the disk and its open files.
#[derive(Debug)]
pub(super) struct SimDisk {
    inner: Arc<Mutex<Inner>>,
    power: watch::Sender<bool>,
    stall: Arc<Stall>,
    planted: Option<Bug>,
}

/// Syncs wait while it is set.
#[derive(Debug, Default)]
struct Stall {
    on: Mutex<bool>,
    changed: Condvar,
}

#[derive(Debug, Default, Clone)]
struct Inner {
    /// Names as programs see them, and as they would be found after a loss of power.
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    /// Changes of names since the last sync of the directory.
    pending_names: Vec<BTreeMap<String, usize>>,
    files: Vec<Content>,
    operations: u64,
    /// The operation that never finishes.
    crash_at: Option<u64>,
    crashed: bool,
    /// The operation that fails, once.
    fail_at: Option<u64>,
    /// Bytes that files may take together.
    space: Option<u64>,
}

#[derive(Debug, Default, Clone)]
struct Content {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// What was not synced yet.
    pending: Vec<Pending>,
}

#[derive(Debug, Clone)]
enum Pending {
    Write(usize, Vec<u8>),
    /// Cut to this length.
    Cut(usize),
}

/// A small generator: tests repeat exactly.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound.max(1)
    }
}

impl SimDisk {
    pub(super) fn new() -> Arc<Self> {
        Self::with(Inner::default(), None)
    }

    /// One whose users have a bug.
    pub(super) fn planted(bug: Option<Bug>) -> Arc<Self> {
        Self::with(Inner::default(), bug)
    }

    fn with(inner: Inner, planted: Option<Bug>) -> Arc<Self> {
        let power = watch::Sender::new(true);
        Arc::new(Self { inner: Arc::new(Mutex::new(inner)), power, stall: Arc::default(), planted })
    }

    /// Has every sync wait, or lets all go on.
    pub(super) fn stall(&self, on: bool) {
        *self.stall.on.lock() = on;
        self.stall.changed.notify_all();
    }

    /// Loses power at the operation of this number, counted from now.
    pub(super) fn crash_at(&self, operation: u64) {
        let mut inner = self.inner.lock();
        inner.crash_at = Some(inner.operations + operation);
    }

    pub(super) fn operations(&self) -> u64 {
        self.inner.lock().operations
    }

    /// Fails the operation of this number, counted from now.
    pub(super) fn fail_at(&self, operation: u64) {
        let mut inner = self.inner.lock();
        inner.fail_at = Some(inner.operations + operation);
    }

    pub(super) fn no_faults(&self) {
        let mut inner = self.inner.lock();
        inner.crash_at = None;
        inner.fail_at = None;
    }

    /// Returns when the power is lost.
    pub(super) async fn crashed(&self) {
        let _ = self.power.subscribe().wait_for(|on| !on).await;
    }

    pub(super) fn is_crashed(&self) -> bool {
        self.inner.lock().crashed
    }

    pub(super) fn limit_space(&self, extra: Option<u64>) {
        let mut inner = self.inner.lock();
        inner.space = extra.map(|extra| inner.used() + extra);
    }

    /// The disk as the next start finds it: all that was synced, and any part of what was not.
    pub(super) fn after_crash(&self, random: &mut Random) -> Arc<Self> {
        let mut inner = self.inner.lock().clone();
        let kept = random.below(inner.pending_names.len() as u64 + 1) as usize;
        if let Some(names) = kept.checked_sub(1).and_then(|last| inner.pending_names.get(last)) {
            inner.durable_names = names.clone();
        }
        for file in &mut inner.files {
            let pending = std::mem::take(&mut file.pending);
            for change in pending {
                match change {
                    Pending::Write(offset, data) => tear(&mut file.durable, offset, &data, random),
                    Pending::Cut(length) if random.below(2) == 0 => file.durable.truncate(length),
                    Pending::Cut(_) => {}
                }
            }
            file.live = file.durable.clone();
        }
        inner.names = inner.durable_names.clone();
        inner.pending_names.clear();
        inner.crash_at = None;
        inner.crashed = false;
        Self::with(inner, self.planted)
    }

    /// Changes a byte that is on disk.
    pub(super) fn damage(&self, name: &str, offset: usize) {
        let mut inner = self.inner.lock();
        let file = inner.names[name];
        inner.files[file].live[offset] ^= 0x40;
        inner.files[file].durable[offset] ^= 0x40;
    }

    pub(super) fn content(&self, name: &str) -> Vec<u8> {
        let inner = self.inner.lock();
        inner.files[inner.names[name]].live.clone()
    }

    fn step(&self) -> io::Result<parking_lot::MutexGuard<'_, Inner>> {
        step(&self.inner, &self.power)
    }
}

/// Writes an arbitrary part of the sectors, not necessarily the first ones.
fn tear(durable: &mut Vec<u8>, offset: usize, data: &[u8], random: &mut Random) {
    let mode = random.below(4);
    for (number, chunk) in data.chunks(SECTOR).enumerate() {
        let keep = match mode {
            0 => false,
            1 => true,
            _ => random.below(2) == 0,
        };
        if keep {
            let at = offset + number * SECTOR;
            if durable.len() < at + chunk.len() {
                durable.resize(at + chunk.len(), 0);
            }
            durable[at..at + chunk.len()].copy_from_slice(chunk);
        }
    }
}

fn step<'a>(inner: &'a Mutex<Inner>, power: &watch::Sender<bool>) -> io::Result<parking_lot::MutexGuard<'a, Inner>> {
    let mut inner = inner.lock();
    inner.operations += 1;
    if inner.crash_at == Some(inner.operations) {
        inner.crashed = true;
        power.send_replace(false);
    }
    if inner.crashed {
        return Err(io::Error::other("power lost"));
    }
    if inner.fail_at == Some(inner.operations) {
        return Err(io::Error::from_raw_os_error(5));
    }
    Ok(inner)
}

impl Inner {
    fn used(&self) -> u64 {
        self.names.values().map(|file| self.files[*file].live.len() as u64).sum()
    }

    fn take_space(&self, file: usize, end: usize) -> io::Result<()> {
        let more = end.saturating_sub(self.files[file].live.len()) as u64;
        match self.space {
            Some(space) if more > 0 && self.used() + more > space => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }

    fn note_names(&mut self) {
        self.pending_names.push(self.names.clone());
    }
}

impl Disk for SimDisk {
    fn bug(&self) -> Option<Bug> {
        self.planted
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.inner.lock().names.keys().cloned().collect())
    }

    fn open(&self, name: &str, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        let mut inner = self.step()?;
        let file = match inner.names.get(name) {
            Some(file) => *file,
            None if create => {
                inner.files.push(Content::default());
                let file = inner.files.len() - 1;
                inner.names.insert(name.to_owned(), file);
                inner.note_names();
                file
            }
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        let (inner, power, stall) = (self.inner.clone(), self.power.clone(), self.stall.clone());
        Ok(Arc::new(SimFile { inner, power, stall, file }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut inner = self.step()?;
        let file = inner.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        inner.names.insert(to.to_owned(), file);
        inner.note_names();
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut inner = self.step()?;
        inner.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
        inner.note_names();
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut inner = self.step()?;
        inner.durable_names = inner.names.clone();
        inner.pending_names.clear();
        Ok(())
    }
}

#[derive(Debug)]
struct SimFile {
    inner: Arc<Mutex<Inner>>,
    power: watch::Sender<bool>,
    stall: Arc<Stall>,
    file: usize,
}

impl DiskFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.inner.lock().files[self.file].live.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let inner = self.inner.lock();
        let live = &inner.files[self.file].live;
        let from = live.get(offset as usize..offset as usize + buffer.len());
        buffer.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let (offset, end) = (offset as usize, offset as usize + data.len());
        // A write that the power is lost in is among the pending ones too.
        let lost = step(&self.inner, &self.power).err();
        let mut inner = self.inner.lock();
        if let Some(lost) = lost
            && inner.operations != inner.crash_at.unwrap_or(0)
        {
            return Err(lost);
        }
        let lost = inner.crashed;
        inner.take_space(self.file, end)?;
        let content = &mut inner.files[self.file];
        if content.live.len() < end {
            content.live.resize(end, 0);
        }
        content.live[offset..end].copy_from_slice(data);
        content.pending.push(Pending::Write(offset, data.to_vec()));
        if lost { Err(io::Error::other("power lost")) } else { Ok(()) }
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut inner = step(&self.inner, &self.power)?;
        inner.take_space(self.file, length as usize)?;
        let content = &mut inner.files[self.file];
        let old = content.live.len();
        content.live.resize(length as usize, 0);
        content.pending.push(match old < length as usize {
            // Growing is like writing zeros.
            true => Pending::Write(old, vec![0; length as usize - old]),
            false => Pending::Cut(length as usize),
        });
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut stalled = self.stall.on.lock();
        while *stalled {
            self.stall.changed.wait(&mut stalled);
        }
        drop(stalled);
        let mut inner = step(&self.inner, &self.power)?;
        let content = &mut inner.files[self.file];
        content.durable = content.live.clone();
        content.pending.clear();
        Ok(())
    }
}
