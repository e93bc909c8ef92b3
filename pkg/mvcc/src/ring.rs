//! The recent changes, bounded by bytes and age.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::{Event, Revision};

/// Events of consecutive revisions: those after `floor` up to the newest.
pub(crate) struct Ring {
    floor: Revision,
    events: VecDeque<(Arc<Event>, Instant)>,
    bytes: usize,
}

impl Ring {
    pub(crate) fn new(floor: Revision) -> Self {
        Self { floor, events: VecDeque::new(), bytes: 0 }
    }

    /// The newest revision whose event is no longer here. Watches may start from it, exact reads too.
    pub(crate) fn floor(&self) -> Revision {
        self.floor
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    pub(crate) fn push(&mut self, event: Arc<Event>, now: Instant) {
        self.bytes += event.weight();
        self.events.push_back((event, now));
    }

    /// Gives up the oldest event when the ring holds too much or it is too old. At least the newest event stays.
    pub(crate) fn pop_excess(&mut self, bytes_max: usize, age_max: Duration, now: Instant) -> Option<Arc<Event>> {
        let (_, at) = self.events.front()?;
        let excess = self.bytes > bytes_max || now.saturating_duration_since(*at) > age_max;
        if !excess || self.events.len() < 2 {
            return None;
        }
        let (event, _) = self.events.pop_front()?;
        self.bytes -= event.weight();
        self.floor = event.revision();
        Some(event)
    }

    /// Events after `revision` in order. The caller has checked that `revision` is not below the floor.
    pub(crate) fn after(&self, revision: u64) -> impl DoubleEndedIterator<Item = &Arc<Event>> {
        let skip = usize::try_from(revision.saturating_sub(self.floor.get())).unwrap_or(usize::MAX);
        self.events.range(skip.min(self.events.len())..).map(|(event, _)| event)
    }
}
