//! The one thread that writes the log.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use super::frame::{FrameBuilder, Record};
use super::job::{Completions, Job, add};
use super::recovery::Position;
use super::segment::{self, SPARE};
use super::spare::Spares;
use super::{Counters, FrameIndex, Segment, Shared, closed};
use crate::disk::{Disk, DiskFile};
use crate::types::Vote;

/// A frame is closed when it has this many bytes; what is left over goes into the next.
const FRAME_BYTES_MAX: usize = 4 << 20;
/// Room that is kept for what the log itself has to write when the disk is full.
const RESERVED_BYTES: u64 = 1 << 20;
const FIRST_SEGMENT_BYTES: u64 = 1 << 20;
const RETRY_FIRST: Duration = Duration::from_millis(10);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// The handle of the thread.
pub(super) struct Writer {
    queue: Arc<Queue>,
    spares: Arc<Spares>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<QueueState>,
    changed: Condvar,
    /// Why writing fails at the moment.
    failure: watch::Sender<Option<(io::ErrorKind, String)>>,
    /// Free bytes in the segment that is written to.
    remaining: AtomicU64,
    /// Since when a frame is on its way to the disk.
    writing: Mutex<Option<Instant>>,
}

#[derive(Default)]
struct QueueState {
    jobs: VecDeque<Job>,
    stop: bool,
}

impl Writer {
    pub(super) fn start(shared: Arc<Shared>, disk: Arc<dyn Disk>, position: Position) -> io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let spares = Spares::new(disk.clone(), shared.config.segment_bytes);
        let (vote, newest) = {
            let state = shared.state.lock();
            (state.vote, state.segments.last().map(|segment| segment.file.clone()))
        };
        let capacity = newest.map_or(Ok(0), |file| file.len())?;
        let mut run = Run {
            shared,
            disk,
            queue: queue.clone(),
            spares: spares.clone(),
            position,
            capacity,
            vote,
            begun: None,
            buffer: Vec::new(),
        };
        run.publish_remaining();
        let thread = thread::Builder::new().name("log-writer".to_owned()).spawn(move || run.run())?;
        Ok(Self { queue, spares, thread: Mutex::new(Some(thread)) })
    }

    pub(super) fn queue(&self, job: Job) {
        let mut state = self.queue.state.lock();
        if state.stop {
            drop(state);
            job.refuse();
            return;
        }
        let wake = !job.is_lazy();
        state.jobs.push_back(job);
        if wake {
            self.queue.changed.notify_one();
        }
    }

    pub(super) fn admit(&self, bytes: u64) -> Result<(), String> {
        if let Some((_, failure)) = &*self.queue.failure.borrow() {
            return Err(failure.clone());
        }
        let remaining = self.queue.remaining.load(Ordering::Relaxed);
        if remaining > bytes + RESERVED_BYTES {
            return Ok(());
        }
        let Some((failure, again)) = self.spares.failure() else { return Ok(()) };
        if again {
            // The writer makes spares; asking it costs nothing while it sleeps.
            self.queue.changed.notify_one();
        }
        Err(failure)
    }

    /// For how long the disk has been taking a frame.
    pub(super) fn stuck(&self) -> Option<Duration> {
        self.queue.writing.lock().map(|since| since.elapsed())
    }

    pub(super) async fn failure(&self) -> io::Error {
        match self.queue.failure.subscribe().wait_for(Option::is_some).await.as_deref() {
            Ok(Some((kind, text))) => io::Error::new(*kind, text.clone()),
            _ => closed(),
        }
    }

    pub(super) fn stop(&self) {
        self.queue.state.lock().stop = true;
        self.queue.changed.notify_all();
        if let Some(thread) = self.thread.lock().take() {
            // A panic of the writer was reported where it happened.
            let _ = thread.join();
        }
        self.spares.wait_idle();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// How far before others the writer is scheduled, as `nice` counts.
const NICE: i32 = -10;

/// Has the calling thread scheduled before others: it works little, every write waits for it, and those who work on the next
/// ones would keep it from a processor for milliseconds. Linux counts niceness by thread, whatever POSIX says.
fn go_first() {
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!(%error, "the log's writer has no precedence over other threads");
    }
}

struct Run {
    shared: Arc<Shared>,
    disk: Arc<dyn Disk>,
    queue: Arc<Queue>,
    spares: Arc<Spares>,
    position: Position,
    /// Length of the segment that is written to.
    capacity: u64,
    /// The newest vote that is on disk. The shared one may be ahead of entries that are still queued before it.
    vote: Option<Vote>,
    /// A segment that has its name but not yet its first frame.
    begun: Option<(u64, Arc<dyn DiskFile>)>,
    buffer: Vec<u8>,
}

impl Run {
    fn run(&mut self) {
        go_first();
        if self.position.offset.is_some() {
            // The first segment of all is small and made at once; its successor is made then.
            self.spares.prepare_aside();
        }
        // What could not be written is lost when the log is closed, and then nothing may follow it: a vote without the
        // entries before it, or entries after a gap, would be a log that nobody wrote.
        while self.next_jobs().is_some_and(|jobs| self.write_all(jobs)) {}
        let rest = std::mem::take(&mut self.queue.state.lock().jobs);
        rest.into_iter().for_each(Job::refuse);
    }

    /// False when the log was closed before all was written.
    fn write_all(&mut self, mut jobs: VecDeque<Job>) -> bool {
        while !jobs.is_empty() {
            if !self.write_some(&mut jobs) {
                jobs.into_iter().for_each(Job::refuse);
                return false;
            }
        }
        true
    }

    /// Waits for work; `None` when there is none left and the log is closed.
    fn next_jobs(&mut self) -> Option<VecDeque<Job>> {
        let queue = self.queue.clone();
        let mut state = queue.state.lock();
        loop {
            if !state.jobs.iter().all(Job::is_lazy) {
                return Some(std::mem::take(&mut state.jobs));
            }
            if state.stop {
                return None;
            }
            queue.changed.wait(&mut state);
            // Asked for a spare while the disk was full.
            if state.jobs.iter().all(Job::is_lazy) && !state.stop {
                drop(state);
                self.spares.retry();
                state = queue.state.lock();
            }
        }
    }

    /// Writes one frame of the first jobs. False when the log was closed before it could be written.
    fn write_some(&mut self, jobs: &mut VecDeque<Job>) -> bool {
        let mut frame = FrameBuilder::new(std::mem::take(&mut self.buffer));
        let mut completions = Completions::default();
        while let Some(job) = jobs.pop_front() {
            // A truncation begins a frame: a frame's entries are one ascending run.
            if matches!(job, Job::Truncate(..)) && completions.entries.is_some() {
                jobs.push_front(job);
                break;
            }
            add(job, &mut frame, &mut completions, &self.shared);
            if frame.len() >= FRAME_BYTES_MAX {
                break;
            }
        }
        if !completions.must_write {
            // Not worth a sync: the next segment's start says it again.
            self.spares.offer(std::mem::take(&mut completions.unused));
            self.buffer = Vec::new();
            return true;
        }
        *self.queue.writing.lock() = Some(Instant::now());
        let written = self.write_until_durable(frame);
        *self.queue.writing.lock() = None;
        match written {
            Some(offset) => self.complete(completions, offset),
            None => {
                completions.flushed.into_iter().for_each(|callback| callback.io_completed(Err(closed())));
                completions.done.into_iter().for_each(|done| {
                    let _ = done.send(Err(closed()));
                });
                return false;
            }
        }
        true
    }

    fn complete(&mut self, completions: Completions, offset: u64) {
        self.vote = completions.vote.or(self.vote);
        {
            let mut state = self.shared.state.lock();
            if let Some((first, last)) = completions.entries {
                if let Some(segment) = state.segments.last_mut() {
                    segment.frames.push(FrameIndex { first, last, offset });
                }
                state.flushed = state.flushed.max(completions.last);
                state.evict(self.shared.config.cache_bytes);
            }
        }
        completions.flushed.into_iter().for_each(|callback| callback.io_completed(Ok(())));
        for done in completions.done {
            let _ = done.send(Ok(()));
        }
        self.spares.offer(completions.unused);
        self.publish_remaining();
    }

    /// Tries until the frame is on disk. What was not synced is written again whole: after a failed sync nobody knows
    /// what is there. `None` when the log is closed meanwhile.
    fn write_until_durable(&mut self, frame: FrameBuilder) -> Option<u64> {
        let mut frame = Some(frame);
        let mut bytes = Vec::new();
        let mut wait = RETRY_FIRST;
        loop {
            let result = self.write(&mut frame, &mut bytes);
            let error = match result {
                Ok(offset) => {
                    if self.queue.failure.send_replace(None).is_some() {
                        tracing::info!("the log can be written again");
                    }
                    bytes.clear();
                    self.buffer = bytes;
                    return Some(offset);
                }
                Err(error) => error,
            };
            Counters::add(&self.shared.counters.failures, 1);
            if self.queue.failure.send_replace(Some((error.kind(), error.to_string()))).is_none() {
                tracing::error!(%error, "the log cannot be written; writes are refused until it can");
            }
            let mut state = self.queue.state.lock();
            if state.stop {
                return None;
            }
            let _ = self.queue.changed.wait_for(&mut state, wait);
            wait = (wait * 2).min(RETRY_MAX);
        }
    }

    fn write(&mut self, frame: &mut Option<FrameBuilder>, bytes: &mut Vec<u8>) -> io::Result<u64> {
        if let Some(builder) = frame.as_ref() {
            let size = (builder.len() as u64).next_multiple_of(8);
            if self.position.offset.is_none_or(|offset| offset + size > self.capacity) {
                self.begin_segment(size)?;
            }
        }
        let (segment, file) = self.current().ok_or_else(|| io::Error::other("the log has no segment"))?;
        if let Some(builder) = frame.take() {
            *bytes = builder.finish(segment, self.position.number);
        }
        let offset = self.position.offset.unwrap_or(0);
        file.write_at(offset, bytes)?;
        file.sync_data()?;
        self.position.offset = Some(offset + bytes.len() as u64);
        self.position.number += 1;
        Counters::add(&self.shared.counters.fsyncs, 1);
        Counters::add(&self.shared.counters.frames, 1);
        Counters::add(&self.shared.counters.bytes, bytes.len() as u64);
        Ok(offset)
    }

    fn current(&self) -> Option<(u64, Arc<dyn DiskFile>)> {
        self.shared.state.lock().segments.last().map(|segment| (segment.id, segment.file.clone()))
    }

    /// Makes the spare file the newest segment and writes its first frame. May be called again after a failure.
    fn begin_segment(&mut self, frame_bytes: u64) -> io::Result<()> {
        let (id, file) = match self.begun.take() {
            Some(begun) => begun,
            None => self.name_segment(frame_bytes)?,
        };
        self.begun = Some((id, file.clone()));
        self.disk.sync()?;
        let start = {
            let state = self.shared.state.lock();
            // Entries that are queued but not written are no part of it.
            Record::Start { vote: self.vote, purged: state.purged, last: state.flushed }
        };
        let mut frame = FrameBuilder::new(Vec::new());
        frame.push(&start);
        let bytes = frame.finish(id, self.position.number);
        file.write_at(0, &bytes)?;
        file.sync_data()?;
        Counters::add(&self.shared.counters.fsyncs, 1);
        self.begun = None;
        self.capacity = file.len()?;
        self.position.number += 1;
        self.position.offset = Some(bytes.len() as u64);
        self.shared.state.lock().segments.push(Segment { id, file, frames: Vec::new() });
        self.spares.prepare_aside();
        Ok(())
    }

    fn name_segment(&mut self, frame_bytes: u64) -> io::Result<(u64, Arc<dyn DiskFile>)> {
        // Nobody waits long for a first start.
        let first = self.position.next_segment == 1 && frame_bytes < FIRST_SEGMENT_BYTES / 2;
        let bytes = if first { FIRST_SEGMENT_BYTES } else { self.shared.config.segment_bytes };
        let file = self.spares.take(bytes.min(self.shared.config.segment_bytes))?;
        let id = self.position.next_segment;
        self.disk.rename(SPARE, &segment::name(id))?;
        self.position.next_segment += 1;
        Ok((id, file))
    }

    fn publish_remaining(&self) {
        let remaining = self.capacity.saturating_sub(self.position.offset.unwrap_or(0));
        self.queue.remaining.store(remaining, Ordering::Relaxed);
    }
}
