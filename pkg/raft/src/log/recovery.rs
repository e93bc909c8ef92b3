//! Reading the log back at start.
//!
//! The rule: a frame is only written when the one before it is on disk. So whatever cannot be read at the very end was
//! never acknowledged and is dropped, while a bad frame with good ones behind it is damage and nothing is touched. So is
//! one at the end that would be whole but for one bit: writes are not cut short like that.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use openraft::entry::RaftEntry;

use super::flip::flipped_bit;
use super::frame::{Record, any_frame_after, frame_at, records};
use super::{FrameIndex, LogConfig, Segment, State, segment};
use crate::disk::{Disk, DiskFile};

/// Why the log cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogDamage {
    /// The file system failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// What was acknowledged is missing.
    #[error("{file}: {detail}")]
    Corrupt { file: String, detail: String },
}

pub(super) struct Recovered {
    pub(super) state: State,
    pub(super) position: Position,
}

/// Where the next frame goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    /// Offset in the newest segment; `None` when a new one has to be begun.
    pub(super) offset: Option<u64>,
    /// Number of the next frame.
    pub(super) number: u64,
    /// Number for the next segment.
    pub(super) next_segment: u64,
}

pub(super) fn recover(disk: &dyn Disk, config: &LogConfig) -> Result<Recovered, LogDamage> {
    let mut ids: Vec<u64> = disk.list()?.iter().filter_map(|name| segment::id_of(name)).collect();
    ids.sort_unstable();
    let mut recovery = Recovery { state: State::default(), number: None, end: 0 };
    for (at, id) in ids.iter().enumerate() {
        let file = disk.open(&segment::name(*id), false)?;
        recovery.read(*id, file, at + 1 == ids.len())?;
    }
    let next_segment = ids.last().map_or(1, |last| last + 1);
    let (number, end) = (recovery.number.unwrap_or(0), recovery.end);
    let mut state = recovery.state;
    // The newest file may have been begun and never written to; it is given up and its name not used again.
    let newest = state.segments.last().map(|segment| segment.id);
    for id in ids.iter().filter(|id| Some(**id) > newest) {
        disk.remove(&segment::name(*id))?;
    }
    state.flushed = state.last;
    state.evict(config.cache_bytes);
    let offset = newest.map(|_| end);
    Ok(Recovered { state, position: Position { offset, number, next_segment } })
}

/// What is wrong with a segment.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub(crate) struct Found {
    pub(crate) offset: usize,
    detail: String,
}

/// How far the frames of a segment go.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Walked {
    /// Where the last whole frame ends.
    pub(crate) end: usize,
    /// The number of the frame that comes next.
    pub(crate) number: Option<u64>,
    /// A write that was cut short is at the end.
    pub(crate) torn: bool,
}

/// Goes through the frames of the segment `id`, of which the first has to have the number `expected` if that is known.
/// `newest`: no other segment follows.
pub(super) fn walk(
    content: &Bytes,
    id: u64,
    expected: Option<u64>,
    newest: bool,
    mut visit: impl FnMut(Vec<Record>, usize),
) -> Result<Walked, Found> {
    let mut walked = Walked { number: expected, ..Walked::default() };
    let found = |offset, detail: String| Err(Found { offset, detail });
    while let Some(frame) = frame_at(content, walked.end, id) {
        if let Some(expected) = walked.number.filter(|expected| frame.number != *expected) {
            return found(walked.end, format!("frame {} follows where {expected} belongs", frame.number));
        }
        let Some(read) = records(frame.payload) else {
            return found(walked.end, format!("frame {} holds what this version does not know", frame.number));
        };
        visit(read, walked.end);
        walked.number = Some(frame.number + 1);
        walked.end += frame.size;
    }
    let offset = walked.end;
    if let Some(later) = any_frame_after(content, offset, id) {
        let number = later.number;
        return found(
            offset,
            format!("what is at offset {offset} does not match its checksum, though frame {number} behind it is whole"),
        );
    }
    if let Some(at) = walked.number.and_then(|number| flipped_bit(content, offset, id, number)) {
        return found(
            at,
            format!("the last frame, at offset {offset}, does not match its checksum for one bit at {at}"),
        );
    }
    if offset == 0 && !newest {
        return found(0, "it holds nothing, though later segments exist".to_owned());
    }
    walked.torn = content.get(offset..offset + 8).is_some_and(|bytes| bytes.iter().any(|byte| *byte != 0));
    Ok(walked)
}

struct Recovery {
    state: State,
    /// The frame number that has to come next; any for the first.
    number: Option<u64>,
    /// Where the frames of the last segment end.
    end: u64,
}

impl Recovery {
    fn read(&mut self, id: u64, file: Arc<dyn DiskFile>, newest: bool) -> Result<(), LogDamage> {
        let corrupt = |detail: String| LogDamage::Corrupt { file: segment::name(id), detail };
        let mut content = vec![0; usize::try_from(file.len()?).map_err(io::Error::other)?];
        file.read_at(0, &mut content)?;
        let content = Bytes::from(content);
        let mut segment = Segment { id, file, frames: Vec::new() };
        let expected = self.number;
        let walked = walk(&content, id, expected, newest, |records, offset| {
            self.apply(records, &mut segment, offset as u64);
        });
        let Walked { end: offset, number, .. } = walked.map_err(|found| corrupt(found.to_string()))?;
        self.number = number;
        if offset == 0 {
            return Ok(());
        }
        if newest && content.get(offset..offset + 8).is_some_and(|bytes| bytes.iter().any(|byte| *byte != 0)) {
            tracing::info!(
                segment = id,
                offset,
                "the log's last write was cut short and is dropped; it was not acknowledged"
            );
        }
        self.end = offset as u64;
        self.state.segments.push(segment);
        Ok(())
    }

    fn apply(&mut self, records: Vec<Record>, segment: &mut Segment, offset: u64) {
        let state = &mut self.state;
        for record in records {
            match record {
                Record::Start { vote, purged, last } => {
                    // Says again what the segments before said, if they are still there.
                    state.vote = vote.or(state.vote);
                    if state.segments.is_empty() {
                        state.purged = last.max(purged);
                        state.last = last.max(purged);
                    }
                }
                Record::Entry(entry) => {
                    let index = entry.index();
                    match segment.frames.last_mut() {
                        Some(frame) if frame.offset == offset => frame.last = index,
                        _ => segment.frames.push(FrameIndex { first: index, last: index, offset }),
                    }
                    state.push(entry);
                }
                Record::Vote(vote) => state.vote = Some(vote),
                Record::Truncate(keep) => {
                    // The segment being read is not among the state's yet.
                    let keep_index = keep.map(|log_id| log_id.index());
                    segment.frames.retain(|frame| Some(frame.first) <= keep_index);
                    if let (Some(frame), Some(keep)) = (segment.frames.last_mut(), keep_index) {
                        frame.last = frame.last.min(keep);
                    }
                    state.truncate_after(keep);
                }
                Record::Purge(log_id) => {
                    // Files are only given up by the writer; here they are merely not read.
                    let segments = std::mem::take(&mut state.segments);
                    state.purge(log_id);
                    state.segments = segments;
                }
            }
        }
        // Bounded memory, however long the log is.
        state.flushed = state.last;
        state.evict(16 << 20);
    }
}
