//! What is in a segment file: frames, each written and synced as one, of records.
//!
//! A frame is `magic, crc, payload length, 0, segment, number` (the crc covers all after itself) and its payload, padded
//! to eight bytes. Numbers run on through all segments. Only when frame n is on disk is n+1 written: a bad frame n with
//! a good one after it is damage, without one it is a write that a crash cut short. The segment's number makes frames
//! that a recycled file still holds from its earlier life unreadable.

use bytes::{Buf, BufMut, Bytes};
use openraft::EntryPayload;
use openraft::entry::RaftEntry;

use crate::types::{Command, Entry, LogId, Membership, Vote};

pub(super) const HEADER: usize = 32;
pub(super) const MAGIC: u32 = 0x4c47_4352;
const ALIGNMENT: usize = 8;

/// One thing that happened to the log.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Record {
    /// The first of each segment: what the segments before it come down to.
    Start { vote: Option<Vote>, purged: Option<LogId>, last: Option<LogId> },
    /// An entry was appended.
    Entry(Entry),
    /// A vote was saved.
    Vote(Vote),
    /// Entries after this one were taken back.
    Truncate(Option<LogId>),
    /// Entries up to this one are no longer needed.
    Purge(LogId),
}

/// A frame that is being made.
pub(super) struct FrameBuilder {
    bytes: Vec<u8>,
}

impl FrameBuilder {
    pub(super) fn new(mut bytes: Vec<u8>) -> Self {
        bytes.clear();
        bytes.resize(HEADER, 0);
        Self { bytes }
    }

    pub(super) fn push(&mut self, record: &Record) {
        let out = &mut self.bytes;
        match record {
            Record::Start { vote, purged, last } => {
                out.put_u8(1);
                put_option(out, vote.as_ref(), put_vote);
                put_option(out, purged.as_ref(), put_log_id);
                put_option(out, last.as_ref(), put_log_id);
            }
            Record::Entry(entry) => self.push_entry(entry),
            Record::Vote(vote) => {
                out.put_u8(3);
                put_vote(out, vote);
            }
            Record::Truncate(log_id) => {
                out.put_u8(4);
                put_option(out, log_id.as_ref(), put_log_id);
            }
            Record::Purge(log_id) => {
                out.put_u8(5);
                put_log_id(out, log_id);
            }
        }
    }

    pub(super) fn push_entry(&mut self, entry: &Entry) {
        self.bytes.put_u8(2);
        put_entry(&mut self.bytes, entry);
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The finished frame.
    pub(super) fn finish(mut self, segment: u64, number: u64) -> Vec<u8> {
        let payload = (self.bytes.len() - HEADER) as u32;
        let mut header = Vec::with_capacity(HEADER);
        header.put_u32_le(MAGIC);
        header.put_u32_le(0);
        header.put_u32_le(payload);
        header.put_u32_le(0);
        header.put_u64_le(segment);
        header.put_u64_le(number);
        self.bytes[..HEADER].copy_from_slice(&header);
        let crc = crc32fast::hash(&self.bytes[8..]);
        self.bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGNMENT), 0);
        self.bytes
    }
}

/// A frame that was read and is whole.
pub(super) struct Frame {
    pub(super) number: u64,
    /// Bytes from its start to where the next one starts.
    pub(super) size: usize,
    pub(super) payload: Bytes,
}

/// The frame at `offset` of a segment's content, when there is a whole one.
pub(super) fn frame_at(content: &Bytes, offset: usize, segment: u64) -> Option<Frame> {
    let mut header = content.get(offset..offset + HEADER)?;
    if header.get_u32_le() != MAGIC {
        return None;
    }
    let crc = header.get_u32_le();
    let payload = header.get_u32_le() as usize;
    let _ = header.get_u32_le();
    if header.get_u64_le() != segment {
        return None;
    }
    let number = header.get_u64_le();
    let end = offset + HEADER + payload;
    if crc32fast::hash(content.get(offset + 8..end)?) != crc {
        return None;
    }
    let size = (HEADER + payload).next_multiple_of(ALIGNMENT);
    Some(Frame { number, size, payload: content.slice(offset + HEADER..end) })
}

/// The payload length that the frame header at the start of `header` claims.
pub(super) fn claimed_length(header: &[u8; HEADER]) -> usize {
    HEADER + (&header[8..12]).get_u32_le() as usize
}

/// Whether a whole frame of this segment starts anywhere after `offset`.
pub(super) fn any_frame_after(content: &Bytes, offset: usize, segment: u64) -> Option<Frame> {
    let magic = MAGIC.to_le_bytes();
    (offset.next_multiple_of(ALIGNMENT)..content.len())
        .step_by(ALIGNMENT)
        .filter(|at| content[*at..].starts_with(&magic))
        .find_map(|at| frame_at(content, at, segment))
}

/// The records of a frame; `None` when they are not what this version writes.
pub(super) fn records(mut payload: Bytes) -> Option<Vec<Record>> {
    let mut records = Vec::new();
    while payload.has_remaining() {
        records.push(match payload.get_u8() {
            1 => Record::Start {
                vote: get_option(&mut payload, get_vote)?,
                purged: get_option(&mut payload, get_log_id)?,
                last: get_option(&mut payload, get_log_id)?,
            },
            2 => Record::Entry(get_entry(&mut payload)?),
            3 => Record::Vote(get_vote(&mut payload)?),
            4 => Record::Truncate(get_option(&mut payload, get_log_id)?),
            5 => Record::Purge(get_log_id(&mut payload)?),
            _ => return None,
        });
    }
    Some(records)
}

fn put_option<T>(out: &mut Vec<u8>, value: Option<&T>, put: fn(&mut Vec<u8>, &T)) {
    out.put_u8(u8::from(value.is_some()));
    if let Some(value) = value {
        put(out, value);
    }
}

fn get_option<T>(input: &mut Bytes, get: fn(&mut Bytes) -> Option<T>) -> Option<Option<T>> {
    match input.try_get_u8().ok()? {
        0 => Some(None),
        _ => get(input).map(Some),
    }
}

fn put_log_id(out: &mut Vec<u8>, log_id: &LogId) {
    out.put_u64_le(log_id.committed_leader_id().term);
    out.put_u64_le(log_id.index());
}

fn get_log_id(input: &mut Bytes) -> Option<LogId> {
    let term = input.try_get_u64_le().ok()?;
    Some(LogId::new_term_index(term, input.try_get_u64_le().ok()?))
}

fn put_vote(out: &mut Vec<u8>, vote: &Vote) {
    out.put_u64_le(vote.leader_id.term);
    out.put_u64_le(vote.leader_id.voted_for);
    out.put_u8(u8::from(vote.committed));
}

fn get_vote(input: &mut Bytes) -> Option<Vote> {
    let term = input.try_get_u64_le().ok()?;
    let node = input.try_get_u64_le().ok()?;
    let committed = input.try_get_u8().ok()? != 0;
    Some(if committed { Vote::new_committed(term, node) } else { Vote::new(term, node) })
}

/// Appends the form that an entry has in the log file and on the way to another member.
pub(crate) fn put_entry(out: &mut Vec<u8>, entry: &Entry) {
    put_log_id(out, &entry.log_id());
    match &entry.payload {
        EntryPayload::Blank => out.put_u8(0),
        EntryPayload::Normal(command) => {
            out.put_u8(1);
            out.put_u32_le(command.0.len() as u32);
            out.put_slice(&command.0);
        }
        EntryPayload::Membership(membership) => {
            out.put_u8(2);
            // Maps and sets of numbers and strings always serialise.
            let bytes = postcard::to_allocvec(membership).unwrap_or_default();
            out.put_u32_le(bytes.len() as u32);
            out.put_slice(&bytes);
        }
    }
}

/// Reads what [`put_entry`] wrote; the entry shares the input's memory.
pub(crate) fn get_entry(input: &mut Bytes) -> Option<Entry> {
    let log_id = get_log_id(input)?;
    let kind = input.try_get_u8().ok()?;
    if kind == 0 {
        return Some(Entry { log_id, payload: EntryPayload::Blank });
    }
    let length = input.try_get_u32_le().ok()? as usize;
    if input.len() < length {
        return None;
    }
    let bytes = input.split_to(length);
    let payload = match kind {
        1 => EntryPayload::Normal(Command(bytes)),
        2 => EntryPayload::Membership(postcard::from_bytes::<Membership>(&bytes).ok()?),
        _ => return None,
    };
    Some(Entry { log_id, payload })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_whole_or_not_at_all() {
        let entry = |index, bytes: &'static [u8]| Entry {
            log_id: LogId::new_term_index(3, index),
            payload: EntryPayload::Normal(Command(Bytes::from_static(bytes))),
        };
        let all = vec![
            Record::Start {
                vote: Some(Vote::new_committed(3, 7)),
                purged: None,
                last: Some(LogId::new_term_index(2, 9)),
            },
            Record::Entry(entry(10, b"ten")),
            Record::Entry(Entry { log_id: LogId::new_term_index(3, 11), payload: EntryPayload::Blank }),
            Record::Vote(Vote::new(4, 8)),
            Record::Truncate(None),
            Record::Purge(LogId::new_term_index(3, 10)),
        ];
        let mut builder = FrameBuilder::new(Vec::new());
        all.iter().for_each(|record| builder.push(record));
        let bytes = Bytes::from(builder.finish(5, 77));
        let frame = frame_at(&bytes, 0, 5).unwrap();
        assert_eq!((frame.number, frame.size), (77, bytes.len()));
        assert_eq!(records(frame.payload).unwrap(), all);
        assert!(frame_at(&bytes, 0, 6).is_none(), "another segment's frame");
        for at in 0..bytes.len() - 8 {
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 1;
            assert!(frame_at(&damaged.into(), 0, 5).is_none(), "byte {at}");
        }
        let mut later = vec![0; 64];
        later.extend_from_slice(&bytes);
        assert_eq!(any_frame_after(&later.into(), 0, 5).unwrap().number, 77);
    }
}
