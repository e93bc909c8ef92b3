//! The Raft log: segment files of frames, a writer thread that makes them durable, and the newest entries in memory.
//!
//! `append` only queues. The writer takes all that is queued, writes one frame, syncs once, and then tells openraft by
//! callback; whatever came meanwhile is the next frame. Entries are visible to readers as soon as they are queued.

mod flip;
mod frame;
mod inspect;
mod job;
mod recovery;
mod segment;
mod spare;
mod writer;

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use openraft::entry::RaftEntry;
use openraft::storage::{LogState, RaftLogStorage};
use openraft::{EntryPayload, OptionalSend, RaftLogReader};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::disk::{Disk, DiskFile};
use crate::types::{Entry, IoFlushed, LogId, TypeConfig, Vote};

pub(crate) use frame::{get_entry, put_entry};
pub(crate) use inspect::{Contents, inspect, segment_id};
use job::Job;
pub(crate) use recovery::LogDamage;
use writer::Writer;

/// Sizes of the log.
#[derive(Clone, Debug)]
pub(crate) struct LogConfig {
    /// Length of a segment file. The largest entry has to fit.
    pub(crate) segment_bytes: u64,
    /// Newest entries kept in memory.
    pub(crate) cache_bytes: usize,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { segment_bytes: 16 << 20, cache_bytes: 2 << 20 }
    }
}

/// What the log did so far.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) fsyncs: AtomicU64,
    pub(crate) frames: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) failures: AtomicU64,
}

/// Entries that go to a peer in one message, unless a single one is larger.
const MESSAGE_BYTES: usize = 512 << 10;

/// A handle of the log; clones share it.
#[derive(Clone)]
pub(crate) struct LogStore {
    shared: Arc<Shared>,
    writer: Arc<Writer>,
}

/// What readers and the writer share.
struct Shared {
    state: Mutex<State>,
    counters: Counters,
    config: LogConfig,
}

#[derive(Default)]
struct State {
    vote: Option<Vote>,
    purged: Option<LogId>,
    last: Option<LogId>,
    /// The newest entries, without a gap up to `last`.
    cache: VecDeque<Entry>,
    cache_bytes: usize,
    /// Entries up to this one are in segment files.
    flushed: Option<LogId>,
    /// In order; the last is the one that is written to.
    segments: Vec<Segment>,
}

struct Segment {
    id: u64,
    file: Arc<dyn DiskFile>,
    frames: Vec<FrameIndex>,
}

/// Where entries are.
#[derive(Clone, Copy, Debug)]
struct FrameIndex {
    first: u64,
    last: u64,
    offset: u64,
}

impl Segment {
    fn last_index(&self) -> Option<u64> {
        self.frames.last().map(|frame| frame.last)
    }
}

/// Memory that an entry takes, roughly.
fn weight(entry: &Entry) -> usize {
    64 + match &entry.payload {
        EntryPayload::Normal(command) => command.0.len(),
        _ => 64,
    }
}

impl State {
    fn push(&mut self, entry: Entry) {
        self.last = Some(entry.log_id());
        self.cache_bytes += weight(&entry);
        self.cache.push_back(entry);
    }

    fn pop_front(&mut self) {
        if let Some(entry) = self.cache.pop_front() {
            self.cache_bytes -= weight(&entry);
        }
    }

    /// Lets go of entries that can be read from disk again.
    fn evict(&mut self, bytes_max: usize) {
        while self.cache_bytes > bytes_max
            && self.cache.front().is_some_and(|entry| Some(entry.index()) <= self.flushed.map(|log_id| log_id.index()))
        {
            self.pop_front();
        }
    }

    fn truncate_after(&mut self, keep: Option<LogId>) {
        if keep >= self.last {
            return;
        }
        let keep_index = keep.map(|log_id| log_id.index());
        while self.cache.back().is_some_and(|entry| Some(entry.index()) > keep_index) {
            if let Some(entry) = self.cache.pop_back() {
                self.cache_bytes -= weight(&entry);
            }
        }
        for segment in &mut self.segments {
            segment.frames.retain(|frame| Some(frame.first) <= keep_index);
            if let (Some(frame), Some(keep)) = (segment.frames.last_mut(), keep_index) {
                frame.last = frame.last.min(keep);
            }
        }
        if self.flushed.map(|log_id| log_id.index()) > keep_index {
            self.flushed = keep;
        }
        self.last = keep;
        self.purged = self.purged.min(keep);
    }

    /// Forgets entries up to `log_id` and returns the segments that held nothing else.
    fn purge(&mut self, log_id: LogId) -> Vec<Segment> {
        if self.purged >= Some(log_id) {
            return Vec::new();
        }
        self.purged = Some(log_id);
        while self.cache.front().is_some_and(|entry| entry.index() <= log_id.index()) {
            self.pop_front();
        }
        self.flushed = self.flushed.max(Some(log_id));
        if self.last < Some(log_id) {
            self.last = Some(log_id);
            self.cache.clear();
            self.cache_bytes = 0;
        }
        let sealed = self.segments.len().saturating_sub(1);
        let done =
            self.segments[..sealed].iter().take_while(|segment| segment.last_index() <= Some(log_id.index())).count();
        self.segments.drain(..done).collect()
    }
}

impl LogStore {
    /// Opens the log on `disk`, or makes an empty one.
    pub(crate) fn open(disk: Arc<dyn Disk>, config: LogConfig) -> Result<Self, LogDamage> {
        let recovered = recovery::recover(&*disk, &config)?;
        let position = recovered.position;
        let shared = Arc::new(Shared { state: Mutex::new(recovered.state), counters: Counters::default(), config });
        let writer = Writer::start(shared.clone(), disk, position).map_err(LogDamage::Io)?;
        Ok(Self { shared, writer: Arc::new(writer) })
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// Bytes of all segment files.
    pub(crate) fn size(&self) -> u64 {
        self.shared.state.lock().segments.iter().map(|segment| segment.file.len().unwrap_or(0)).sum()
    }

    pub(crate) fn last_log_id(&self) -> Option<LogId> {
        self.shared.state.lock().last
    }

    pub(crate) fn purged_log_id(&self) -> Option<LogId> {
        self.shared.state.lock().purged
    }

    /// Whether `bytes` more can be taken in; says why when not.
    pub(crate) fn admit(&self, bytes: u64) -> Result<(), String> {
        self.writer.admit(bytes)
    }

    /// For how long the disk has been taking what is written, failures included; none when it has taken everything.
    pub(crate) fn stuck(&self) -> Option<Duration> {
        self.writer.stuck()
    }

    /// Returns when writing fails, with the reason. It is tried again all the same.
    pub(crate) async fn failure(&self) -> io::Error {
        self.writer.failure().await
    }

    /// Writes what is queued and stops the writer.
    pub(crate) fn close(&self) {
        self.writer.stop();
    }

    /// The entries of a range, the first at least, and further ones up to this many bytes.
    fn read(&self, mut start: u64, end: u64, bytes_max: usize) -> io::Result<Vec<Entry>> {
        let mut places = Vec::new();
        let mut entries = Vec::new();
        {
            let state = self.shared.state.lock();
            start = start.max(state.purged.map_or(0, |log_id| log_id.index() + 1));
            let cached = state.cache.front().map_or(u64::MAX, RaftEntry::index);
            if start < cached {
                let wanted = |frame: &&FrameIndex| frame.last >= start && frame.first < end.min(cached);
                for segment in &state.segments {
                    let frames = segment.frames.iter().filter(wanted);
                    places.extend(frames.map(|frame| (segment.id, segment.file.clone(), *frame)));
                }
            }
            if end > cached {
                let skip = start.saturating_sub(cached) as usize;
                let take = end.saturating_sub(start.max(cached)) as usize;
                // What is on disk comes first, and may be enough.
                let room = if places.is_empty() { bytes_max } else { usize::MAX };
                entries.extend(within(state.cache.iter().skip(skip).take(take), room).cloned());
            }
        }
        if places.is_empty() {
            return Ok(entries);
        }
        let until = entries.first().map_or(end, RaftEntry::index);
        let (mut older, mut bytes) = (Vec::new(), 0);
        for (segment, file, frame) in places {
            if bytes > bytes_max {
                break;
            }
            let range = start.max(frame.first)..until.min(frame.last + 1);
            let read = read_frame(&*file, segment, frame)?.into_iter();
            for entry in read.filter(|entry| range.contains(&entry.index())) {
                bytes += weight(&entry);
                older.push(entry);
            }
        }
        older.append(&mut entries);
        let enough = within(older.iter(), bytes_max).count();
        older.truncate(enough);
        Ok(older)
    }
}

/// The first entry, and those behind it that fit in with it.
fn within<'a>(entries: impl Iterator<Item = &'a Entry>, bytes_max: usize) -> impl Iterator<Item = &'a Entry> {
    let mut bytes = 0_usize;
    entries.take_while(move |entry| {
        let first = bytes == 0;
        bytes = bytes.saturating_add(weight(entry));
        first || bytes <= bytes_max
    })
}

fn read_frame(file: &dyn DiskFile, segment: u64, index: FrameIndex) -> io::Result<Vec<Entry>> {
    let mut header = [0; frame::HEADER];
    file.read_at(index.offset, &mut header)?;
    let mut content = vec![0; frame::claimed_length(&header)];
    file.read_at(index.offset, &mut content)?;
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, format!("log segment {segment} changed under us"));
    let frame = frame::frame_at(&Bytes::from(content), 0, segment).ok_or_else(damaged)?;
    let records = frame::records(frame.payload).ok_or_else(damaged)?;
    Ok(records
        .into_iter()
        .filter_map(|record| match record {
            frame::Record::Entry(entry) => Some(entry),
            _ => None,
        })
        .collect())
}

/// The half-open range of indexes that any range means.
fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start + 1,
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(end) => end + 1,
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        let (start, end) = bounds(&range);
        self.read(start, end, usize::MAX)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        self.read(start, end, MESSAGE_BYTES)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.shared.state.lock().vote)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let state = self.shared.state.lock();
        Ok(LogState { last_purged_log_id: state.purged, last_log_id: state.last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        self.shared.state.lock().vote = Some(*vote);
        let (done, saved) = oneshot::channel();
        self.writer.queue(Job::Vote(*vote, done));
        saved.await.unwrap_or_else(|_| Err(closed()))
    }

    async fn append<I>(&mut self, entries: I, callback: IoFlushed) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<_> = entries.into_iter().collect();
        {
            let mut state = self.shared.state.lock();
            for entry in &entries {
                state.push(entry.clone());
            }
        }
        self.writer.queue(Job::Append(entries, callback));
        Ok(())
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        // After what was queued before it, and before what will be queued: the writer keeps the order.
        let (done, truncated) = oneshot::channel();
        self.writer.queue(Job::Truncate(last_log_id, done));
        truncated.await.unwrap_or_else(|_| Err(closed()))
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        let mut state = self.shared.state.lock();
        let jump = state.last < Some(log_id);
        let unused = state.purge(log_id);
        drop(state);
        self.writer.queue(Job::Purge { log_id, unused, jump });
        Ok(())
    }
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the log was closed")
}

impl Counters {
    fn add(counter: &AtomicU64, amount: u64) {
        counter.fetch_add(amount, Ordering::Relaxed);
    }
}
