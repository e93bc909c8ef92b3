//! The one thread that writes the log.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use openraft::entry::RaftEntry;
use parking_lot::{Condvar, Mutex};
use tokio::sync::{oneshot, watch};

use super::frame::{FrameBuilder, Record};
use super::recovery::Position;
use super::segment::{self, SPARE};
use super::{Counters, FrameIndex, Segment, Shared, closed};
use crate::disk::{Disk, DiskFile};
use crate::types::{Entry, IoFlushed, LogId, Vote};

/// A frame is closed when it has this many bytes; what is left over goes into the next.
const FRAME_BYTES_MAX: usize = 4 << 20;
/// Room that is kept for what the log itself has to write when the disk is full.
const RESERVED_BYTES: u64 = 1 << 20;
const FIRST_SEGMENT_BYTES: u64 = 1 << 20;
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// What the writer is asked to do, in order.
pub(super) enum Job {
    Append(Vec<Entry>, IoFlushed),
    Vote(Vote, oneshot::Sender<io::Result<()>>),
    Truncate(Option<LogId>, oneshot::Sender<io::Result<()>>),
    Purge {
        log_id: LogId,
        /// Segments that hold nothing else.
        unused: Vec<Segment>,
        /// The log goes on behind entries that it never had.
        jump: bool,
    },
}

impl Job {
    /// Whether it has nobody waiting and can go along with the next write.
    fn is_lazy(&self) -> bool {
        matches!(self, Self::Purge { unused, jump: false, .. } if unused.is_empty())
    }
}

/// The handle of the thread.
pub(super) struct Writer {
    queue: Arc<Queue>,
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
    spare: Mutex<Spare>,
    spare_changed: Condvar,
}

#[derive(Default)]
struct QueueState {
    jobs: VecDeque<Job>,
    stop: bool,
}

#[derive(Default)]
struct Spare {
    ready: Option<Arc<dyn DiskFile>>,
    in_work: bool,
    failure: Option<io::Error>,
    tried: Option<Instant>,
}

impl Writer {
    pub(super) fn start(shared: Arc<Shared>, disk: Arc<dyn Disk>, position: Position) -> io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let (vote, newest) = {
            let state = shared.state.lock();
            (state.vote, state.segments.last().map(|segment| segment.file.clone()))
        };
        let capacity = newest.map_or(Ok(0), |file| file.len())?;
        let mut run = Run { shared, disk, queue: queue.clone(), position, capacity, vote, buffer: Vec::new() };
        run.publish_remaining();
        let thread = thread::Builder::new().name("log-writer".to_owned()).spawn(move || run.run())?;
        Ok(Self { queue, thread: Mutex::new(Some(thread)) })
    }

    pub(super) fn queue(&self, job: Job) {
        let mut state = self.queue.state.lock();
        if state.stop {
            drop(state);
            refuse(job);
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
        let spare = self.queue.spare.lock();
        match &spare.failure {
            Some(failure) if spare.ready.is_none() => {
                let text = failure.to_string();
                let again =
                    !spare.in_work && spare.tried.is_none_or(|tried| tried.elapsed() > Duration::from_millis(500));
                drop(spare);
                if again {
                    // The writer makes spares; asking it costs nothing while it sleeps.
                    self.queue.changed.notify_one();
                }
                Err(text)
            }
            _ => Ok(()),
        }
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
        let mut spare = self.queue.spare.lock();
        while spare.in_work {
            self.queue.spare_changed.wait(&mut spare);
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop();
    }
}

fn refuse(job: Job) {
    match job {
        Job::Append(_, callback) => callback.io_completed(Err(closed())),
        Job::Vote(_, done) | Job::Truncate(_, done) => {
            let _ = done.send(Err(closed()));
        }
        Job::Purge { .. } => {}
    }
}

/// What to do once a frame is on disk.
#[derive(Default)]
struct Completions {
    flushed: Vec<IoFlushed>,
    done: Vec<oneshot::Sender<io::Result<()>>>,
    /// First and last index of the frame's entries.
    entries: Option<(u64, u64)>,
    last: Option<LogId>,
    vote: Option<Vote>,
    unused: Vec<Segment>,
    /// Something in it has to be durable.
    must_write: bool,
}

struct Run {
    shared: Arc<Shared>,
    disk: Arc<dyn Disk>,
    queue: Arc<Queue>,
    position: Position,
    /// Length of the segment that is written to.
    capacity: u64,
    /// The newest vote that is on disk. The shared one may be ahead of entries that are still queued before it.
    vote: Option<Vote>,
    buffer: Vec<u8>,
}

impl Run {
    fn run(&mut self) {
        if self.position.offset.is_some() {
            // The first segment of all is small and made at once; its successor is made then.
            self.spawn_spare();
        }
        while let Some(mut jobs) = self.next_jobs() {
            while !jobs.is_empty() {
                if !self.write_some(&mut jobs) {
                    jobs.into_iter().for_each(refuse);
                    break;
                }
            }
        }
        let rest = std::mem::take(&mut self.queue.state.lock().jobs);
        rest.into_iter().for_each(refuse);
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
            if state.jobs.iter().all(Job::is_lazy) && !state.stop && queue.spare.lock().failure.is_some() {
                drop(state);
                let _ = self.prepare_spare();
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
            self.give_up(std::mem::take(&mut completions.unused));
            self.buffer = Vec::new();
            return true;
        }
        let written = self.write_until_durable(frame);
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
        self.give_up(completions.unused);
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

    /// Makes the spare file the newest segment and writes its first frame.
    fn begin_segment(&mut self, frame_bytes: u64) -> io::Result<()> {
        // Nobody waits long for a first start.
        let first = self.position.next_segment == 1 && frame_bytes < FIRST_SEGMENT_BYTES / 2;
        let bytes = if first { FIRST_SEGMENT_BYTES } else { self.shared.config.segment_bytes };
        let file = self.take_spare(bytes.min(self.shared.config.segment_bytes))?;
        self.capacity = file.len()?;
        let id = self.position.next_segment;
        self.disk.rename(SPARE, &segment::name(id))?;
        self.position.next_segment += 1;
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
        self.position.number += 1;
        self.position.offset = Some(bytes.len() as u64);
        self.shared.state.lock().segments.push(Segment { id, file, frames: Vec::new() });
        self.spawn_spare();
        Ok(())
    }

    /// The spare file, made now if there is none.
    fn take_spare(&mut self, bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
        let mut spare = self.queue.spare.lock();
        while spare.in_work {
            self.queue.spare_changed.wait(&mut spare);
        }
        if let Some(file) = spare.ready.take() {
            return Ok(file);
        }
        drop(spare);
        make_spare(&self.queue, &*self.disk, bytes)?;
        self.queue.spare.lock().ready.take().ok_or_else(|| io::Error::other("the spare log file is gone"))
    }

    fn prepare_spare(&self) -> io::Result<()> {
        make_spare(&self.queue, &*self.disk, self.shared.config.segment_bytes)
    }

    /// Has the next spare made aside, so that the writer finds it when it needs it.
    fn spawn_spare(&self) {
        let (queue, disk, bytes) = (self.queue.clone(), self.disk.clone(), self.shared.config.segment_bytes);
        let spawned = thread::Builder::new().name("log-spare".to_owned()).spawn(move || {
            if let Err(error) = make_spare(&queue, &*disk, bytes) {
                tracing::warn!(%error, "cannot prepare the next log segment; writes are refused when the present one is full");
            }
        });
        if let Err(error) = spawned {
            tracing::debug!(%error, "the next log segment is made when it is needed");
        }
    }

    /// Segments that hold nothing of use: one becomes the spare, the others go.
    fn give_up(&self, unused: Vec<Segment>) {
        for segment in unused {
            let mut spare = self.queue.spare.lock();
            let full = segment.file.len().is_ok_and(|length| length == self.shared.config.segment_bytes);
            let recycle = full && spare.ready.is_none() && !spare.in_work;
            let result = if recycle {
                segment::recycle(&*self.disk, segment.id).map(|()| {
                    spare.ready = Some(segment.file.clone());
                    spare.failure = None;
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

    fn publish_remaining(&self) {
        let remaining = self.capacity.saturating_sub(self.position.offset.unwrap_or(0));
        self.queue.remaining.store(remaining, Ordering::Relaxed);
    }
}

fn make_spare(queue: &Queue, disk: &dyn Disk, bytes: u64) -> io::Result<()> {
    {
        let mut spare = queue.spare.lock();
        if spare.ready.is_some() || spare.in_work {
            return Ok(());
        }
        spare.in_work = true;
        spare.tried = Some(Instant::now());
    }
    let made = segment::prepare_spare(disk, bytes);
    let mut spare = queue.spare.lock();
    spare.in_work = false;
    queue.spare_changed.notify_all();
    match made {
        Ok(file) => {
            spare.ready = Some(file);
            spare.failure = None;
            Ok(())
        }
        Err(error) => {
            spare.failure = Some(io::Error::new(error.kind(), error.to_string()));
            Err(error)
        }
    }
}

fn add(job: Job, frame: &mut FrameBuilder, completions: &mut Completions, shared: &Shared) {
    completions.must_write |= !matches!(job, Job::Purge { jump: false, .. });
    match job {
        Job::Append(entries, callback) => {
            for entry in &entries {
                frame.push_entry(entry);
                let first = completions.entries.map_or(entry.index(), |(first, _)| first);
                completions.entries = Some((first, entry.index()));
                completions.last = Some(entry.log_id());
            }
            completions.flushed.push(callback);
        }
        Job::Vote(vote, done) => {
            frame.push(&Record::Vote(vote));
            completions.vote = Some(vote);
            completions.done.push(done);
        }
        Job::Truncate(keep, done) => {
            frame.push(&Record::Truncate(keep));
            shared.state.lock().truncate_after(keep);
            completions.done.push(done);
        }
        Job::Purge { log_id, unused, .. } => {
            frame.push(&Record::Purge(log_id));
            completions.unused.extend(unused);
        }
    }
}
