//! A save that runs: how far it is, and how it is ended.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What whoever saves and whoever waits for it have in common.
#[derive(Debug, Default)]
pub struct Saving {
    objects: AtomicU64,
    written: AtomicU64,
    checked: AtomicU64,
    cancelled: AtomicBool,
}

/// How far a save is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// How many objects there are; zero until it has begun.
    pub objects: u64,
    /// So many are in the file.
    pub written: u64,
    /// So many were read back.
    pub checked: u64,
}

impl Saving {
    /// Ends it soon: nothing is kept. One that is at its end already stays saved.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
    }

    /// It was to end.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Progress { objects: of(&self.objects), written: of(&self.written), checked: of(&self.checked) }
    }

    pub(crate) fn begin(&self, objects: u64) -> io::Result<()> {
        self.reach(&self.objects, objects)
    }

    pub(crate) fn written(&self, records: u64) -> io::Result<()> {
        self.reach(&self.written, records)
    }

    pub(crate) fn checked(&self, records: u64) -> io::Result<()> {
        self.reach(&self.checked, records)
    }

    fn reach(&self, count: &AtomicU64, at: u64) -> io::Result<()> {
        count.store(at, Ordering::Relaxed);
        if self.is_cancelled() { Err(io::Error::other("cancelled")) } else { Ok(()) }
    }
}
