//! The next segment file, made before it is needed.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::Segment;
use super::segment;
use crate::disk::{Disk, DiskFile};

/// While the disk is full, how often a refused write has it looked at again.
const RETRY: Duration = Duration::from_millis(500);

pub(super) struct Spares {
    disk: Arc<dyn Disk>,
    /// Length of a segment.
    bytes: u64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    ready: Option<Arc<dyn DiskFile>>,
    in_work: bool,
    failure: Option<io::Error>,
    tried: Option<Instant>,
}

impl Spares {
    pub(super) fn new(disk: Arc<dyn Disk>, bytes: u64) -> Arc<Self> {
        Arc::new(Self { disk, bytes, state: Mutex::default(), changed: Condvar::new() })
    }

    /// The spare file, made now with so many bytes if there is none.
    pub(super) fn take(&self, bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state.lock();
        while state.in_work {
            self.changed.wait(&mut state);
        }
        if let Some(file) = state.ready.take() {
            return Ok(file);
        }
        drop(state);
        self.make(bytes)?;
        self.state.lock().ready.take().ok_or_else(|| io::Error::other("the spare log file is gone"))
    }

    /// Has the next one made aside.
    pub(super) fn prepare_aside(self: &Arc<Self>) {
        let this = self.clone();
        let spawned = thread::Builder::new().name("log-spare".to_owned()).spawn(move || {
            // The writer's precedence is inherited; nobody waits for this yet.
            let _ = rustix::process::setpriority_process(None, 0);
            if let Err(error) = this.make(this.bytes) {
                tracing::warn!(%error, "cannot prepare the next log segment; writes are refused when the present one is full");
            }
        });
        if let Err(error) = spawned {
            tracing::debug!(%error, "the next log segment is made when it is needed");
        }
    }

    /// Tries again after a failure. Whoever asks for writes learns what came of it.
    pub(super) fn retry(&self) {
        if self.state.lock().failure.is_some() {
            // Kept in the state.
            let _ = self.make(self.bytes);
        }
    }

    /// Why there is no spare, when making one failed; and whether it is time to try again.
    pub(super) fn failure(&self) -> Option<(String, bool)> {
        let state = self.state.lock();
        let failure = state.failure.as_ref().filter(|_| state.ready.is_none())?;
        let again = !state.in_work && state.tried.is_none_or(|tried| tried.elapsed() > RETRY);
        Some((failure.to_string(), again))
    }

    /// Segments that hold nothing of use: one becomes the spare, the others go.
    pub(super) fn offer(&self, unused: Vec<Segment>) {
        for segment in unused {
            let mut state = self.state.lock();
            let full = segment.file.len().is_ok_and(|length| length == self.bytes);
            let result = if full && state.ready.is_none() && !state.in_work {
                segment::recycle(&*self.disk, segment.id).map(|()| {
                    state.ready = Some(segment.file.clone());
                    state.failure = None;
                })
            } else {
                self.disk.remove(&segment::name(segment.id))
            };
            if let Err(error) = result {
                // Left over; the next start sees that it is not needed.
                tracing::warn!(%error, segment = segment.id, "cannot remove an old log segment");
            }
        }
    }

    /// Returns when nothing is being made.
    pub(super) fn wait_idle(&self) {
        let mut state = self.state.lock();
        while state.in_work {
            self.changed.wait(&mut state);
        }
    }

    fn make(&self, bytes: u64) -> io::Result<()> {
        {
            let mut state = self.state.lock();
            if state.ready.is_some() || state.in_work {
                return Ok(());
            }
            state.in_work = true;
            state.tried = Some(Instant::now());
        }
        let made = segment::prepare_spare(&*self.disk, bytes);
        let mut state = self.state.lock();
        state.in_work = false;
        self.changed.notify_all();
        match made {
            Ok(file) => {
                state.ready = Some(file);
                state.failure = None;
                Ok(())
            }
            Err(error) => {
                state.failure = Some(io::Error::new(error.kind(), error.to_string()));
                Err(error)
            }
        }
    }
}
