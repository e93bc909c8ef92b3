//! A segment file as it is, for whoever wants to know whether it is whole.

use bytes::Bytes;

use super::frame::Record;
use super::recovery::walk;
use super::segment;

/// What is in a segment.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) frames: u64,
    pub(crate) entries: u64,
    /// Its last write was cut short.
    pub(crate) torn: bool,
    /// The number that the next segment's first frame has to have; none if that cannot be told.
    pub(crate) next: Option<u64>,
    /// What is wrong, and where.
    pub(crate) problem: Option<(u64, String)>,
}

/// The number of a segment by its file's name; none for other files.
pub(crate) fn segment_id(name: &str) -> Option<u64> {
    segment::id_of(name)
}

/// Goes through a segment's content. `expected` is the number of its first frame, if that is known; `newest`: it is the
/// last one.
pub(crate) fn inspect(name: &str, content: &Bytes, expected: Option<u64>, newest: bool) -> Contents {
    let Some(id) = segment_id(name) else { return Contents::default() };
    let (mut frames, mut entries) = (0, 0);
    let walked = walk(content, id, expected, newest, |records, _| {
        frames += 1;
        entries += records.iter().filter(|record| matches!(record, Record::Entry(_))).count() as u64;
    });
    let mut contents = Contents { frames, entries, ..Contents::default() };
    match walked {
        Ok(walked) => (contents.torn, contents.next) = (walked.torn, walked.number),
        Err(found) => contents.problem = Some((found.offset as u64, found.to_string())),
    }
    contents
}
