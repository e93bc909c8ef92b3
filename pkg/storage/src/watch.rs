use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::Stream;
use mvcc::{Event, EventKind, Revision, Watcher};

pub use mvcc::WatchEnd;

use crate::StoredObject;

/// Events taken from the store at once; they are shared, so this is a bound on pointers.
const BATCH: usize = 64;

/// One change of one object.
#[derive(Clone, Debug)]
pub struct WatchEvent {
    /// What happened to the key.
    pub kind: EventKind,
    /// The object; of a deletion the last version, carrying the deletion's revision.
    pub object: StoredObject,
    /// The version before, when there was one: whether a selector's set was entered or left shows by comparing.
    pub previous: Option<StoredObject>,
    /// The revision of the change.
    pub revision: Revision,
}

/// The changes of a prefix, in order. A stream that ends only after an error item.
pub struct Watch {
    watcher: Option<Watcher>,
    batch: VecDeque<Arc<Event>>,
    /// Of the last change that was yielded.
    last: Option<Revision>,
}

impl Watch {
    pub(crate) fn new(watcher: Watcher) -> Self {
        Self { watcher: Some(watcher), batch: VecDeque::with_capacity(BATCH), last: None }
    }

    /// A revision such that every change of the prefix up to it was yielded: what a bookmark may say. Grows while other
    /// prefixes change. `None` when that is not known any more, since the watch fell behind or is over.
    pub fn progress(&self) -> Option<Revision> {
        if self.batch.is_empty() { self.watcher.as_ref()?.progress() } else { self.last }
    }
}

impl Stream for Watch {
    type Item = Result<WatchEvent, WatchEnd>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.batch.is_empty() {
            let Some(watcher) = &mut this.watcher else { return Poll::Ready(None) };
            match watcher.poll(context, BATCH, &mut this.batch) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(end)) => {
                    this.watcher = None;
                    return Poll::Ready(Some(Err(end)));
                }
            }
        }
        let Some(event) = this.batch.pop_front() else { return Poll::Pending };
        this.last = Some(event.revision());
        Poll::Ready(Some(Ok(WatchEvent {
            kind: event.kind,
            object: StoredObject::new(event.record.clone()),
            previous: event.previous.clone().map(StoredObject::new),
            revision: event.revision(),
        })))
    }
}
