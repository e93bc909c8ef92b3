//! What the writer is asked to do, and how that becomes records of a frame.

use std::io;

use openraft::entry::RaftEntry;
use tokio::sync::oneshot;

use super::frame::{FrameBuilder, Record};
use super::{Segment, Shared, closed};
use crate::types::{Entry, IoFlushed, LogId, Vote};

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
    pub(super) fn is_lazy(&self) -> bool {
        matches!(self, Self::Purge { unused, jump: false, .. } if unused.is_empty())
    }
}

impl Job {
    /// Says that it will not be done.
    pub(super) fn refuse(self) {
        match self {
            Job::Append(_, callback) => callback.io_completed(Err(closed())),
            Job::Vote(_, done) | Job::Truncate(_, done) => {
                let _ = done.send(Err(closed()));
            }
            Job::Purge { .. } => {}
        }
    }
}

/// What to do once a frame is on disk.
#[derive(Default)]
pub(super) struct Completions {
    pub(super) flushed: Vec<IoFlushed>,
    pub(super) done: Vec<oneshot::Sender<io::Result<()>>>,
    /// First and last index of the frame's entries.
    pub(super) entries: Option<(u64, u64)>,
    pub(super) last: Option<LogId>,
    pub(super) vote: Option<Vote>,
    pub(super) unused: Vec<Segment>,
    /// Something in it has to be durable.
    pub(super) must_write: bool,
}

/// Adds a job's records to a frame and notes what it waits for.
pub(super) fn add(job: Job, frame: &mut FrameBuilder, completions: &mut Completions, shared: &Shared) {
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
