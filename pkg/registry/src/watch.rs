//! Watches: what is there (if asked), then every change in order, as the selectors see it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use apimachinery::ApiResult;
use apimachinery::watch::EventType;
use apis::resource::Resource;
use futures::Stream;
use storage::{At, EventKind, ListOptions, Storage, StorageError, StoredObject, WatchEnd};
use tokio::time::{Instant, Interval, MissedTickBehavior};

use crate::errors::{from_storage, parse_revision, too_old};
use crate::list::{MATCH, MATCH_WITH_CONTINUE, OptionErrors};
use crate::{Registry, ResourceVersionMatch, Selection, keys};

/// How often a watcher that wants bookmarks is told how far it is.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, Default)]
pub struct WatchQuery {
    pub selection: Selection,
    pub resource_version: String,
    pub version_match: ResourceVersionMatch,
    pub allow_bookmarks: bool,
    pub send_initial_events: Option<bool>,
    /// Whether `continue` was given, which is for lists.
    pub continues: bool,
}

/// One thing that a watcher is told.
#[derive(Clone, Debug)]
pub enum WatchEvent {
    /// Added, modified or deleted, with the object in the storage version.
    Change { kind: EventType, object: StoredObject },
    /// All changes up to `revision` were sent. `initial_end` closes the initial events.
    Bookmark { revision: u64, initial_end: bool },
}

/// A running watch. An error is the last item; the stream also ends when the server does.
pub struct Watch {
    resource: &'static Resource,
    selection: Selection,
    initial: VecDeque<StoredObject>,
    /// The bookmark that closes the initial events.
    initial_end: Option<u64>,
    bookmarks: Option<Interval>,
    told: u64,
    inner: storage::Watch,
    storage: Storage,
    ended: bool,
}

impl WatchQuery {
    pub(crate) fn check(&self) -> ApiResult<()> {
        let mut errors = OptionErrors::new();
        let given = self.version_match != ResourceVersionMatch::Unset;
        let other = self.version_match != ResourceVersionMatch::NotOlderThan;
        errors.forbid(
            self.send_initial_events.is_some() && other,
            MATCH,
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        );
        if given {
            errors.forbid(
                self.send_initial_events.is_none(),
                MATCH,
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            );
            errors.unsupported(&self.version_match, &["NotOlderThan"]);
            errors.forbid(self.continues, MATCH, MATCH_WITH_CONTINUE);
        }
        errors.finish()
    }

    /// Whether the current objects come first. Without a word on it they do so for those who name no revision.
    fn wants_initial(&self, revision: Option<u64>) -> bool {
        self.send_initial_events.unwrap_or(matches!(revision, None | Some(0)))
    }
}

impl Registry {
    /// Watches one namespace, or with `None` all of them.
    pub fn watch(&self, resource: &'static Resource, namespace: Option<&str>, query: WatchQuery) -> ApiResult<Watch> {
        query.check()?;
        let revision = parse_revision(&query.resource_version)?;
        let namespace = namespace.or_else(|| query.selection.single_namespace().filter(|_| resource.namespaced));
        let prefix = match query.selection.single_name() {
            // One object: the store wakes nobody for the others.
            Some(name) if namespace.is_some() || !resource.namespaced => {
                keys::object(resource, namespace.unwrap_or(""), name)
            }
            _ => keys::prefix(resource, namespace),
        };
        let wants_initial = query.wants_initial(revision);
        let (initial, from) = if wants_initial {
            self.initial(resource, &prefix, &query.selection, revision)?
        } else {
            (VecDeque::new(), revision.filter(|rv| *rv > 0).unwrap_or_else(|| self.revision()))
        };
        let inner = self.storage.watch(&prefix, from).map_err(|error| match error {
            StorageError::Compacted { compacted } => too_old(from, compacted.get()),
            other => from_storage(other),
        })?;
        let wants_end = wants_initial && query.allow_bookmarks;
        let bookmarks = query.allow_bookmarks.then(|| {
            let mut ticks = tokio::time::interval_at(Instant::now() + BOOKMARK_INTERVAL, BOOKMARK_INTERVAL);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
        Ok(Watch {
            resource,
            selection: query.selection,
            initial,
            initial_end: wants_end.then_some(from),
            bookmarks,
            told: from,
            inner,
            storage: self.storage.clone(),
            ended: false,
        })
    }

    fn initial(
        &self,
        resource: &'static Resource,
        prefix: &str,
        selection: &Selection,
        revision: Option<u64>,
    ) -> ApiResult<(VecDeque<StoredObject>, u64)> {
        let at = revision.filter(|rv| *rv > 0).map_or(At::Newest, At::NotOlderThan);
        // The prefix of a single object may be that of others, too: the selection tells.
        let page = self.storage.list(prefix, &ListOptions { at, ..ListOptions::default() }).map_err(from_storage)?;
        let items = page.items.into_iter().filter(|object| selection.matches(resource, object)).collect();
        Ok((items, page.revision.get()))
    }
}

impl Watch {
    /// An event of the store as this watcher sees it; `None` if it does not.
    fn translate(&self, event: storage::WatchEvent) -> Option<WatchEvent> {
        let everything = self.selection.is_everything();
        let matches = |object: &StoredObject| everything || self.selection.matches(self.resource, object);
        let had = event.previous.as_ref().is_some_and(matches);
        let kind = match event.kind {
            EventKind::Created => matches(&event.object).then_some(EventType::Added),
            EventKind::Deleted => (had || matches(&event.object)).then_some(EventType::Deleted),
            EventKind::Updated => match (had, matches(&event.object)) {
                (true, true) => Some(EventType::Modified),
                (false, true) => Some(EventType::Added),
                (true, false) => {
                    // The last state that matched, under the revision of the change that made it leave.
                    let object = event.previous.as_ref()?.restamped(event.revision);
                    return Some(WatchEvent::Change { kind: EventType::Deleted, object });
                }
                (false, false) => None,
            },
        }?;
        Some(WatchEvent::Change { kind, object: event.object })
    }

    fn last_word(&self, end: WatchEnd) -> Option<ApiResult<WatchEvent>> {
        match end {
            WatchEnd::Lagged => Some(Err(too_old(self.told, self.storage.compacted().get()))),
            // The server goes down: clients come back to the next one.
            _ => None,
        }
    }

    /// What to tell a watcher whose time is over: how far it is, if it wants to know and does not know yet.
    pub fn closing_bookmark(&mut self) -> Option<WatchEvent> {
        let sent = self.initial.is_empty() && self.initial_end.is_none() && !self.ended;
        let revision = self.inner.progress()?.get();
        if self.bookmarks.is_none() || !sent || revision <= self.told {
            return None;
        }
        self.told = revision;
        Some(WatchEvent::Bookmark { revision, initial_end: false })
    }

    fn poll_bookmark(&mut self, context: &mut Context<'_>) -> Poll<WatchEvent> {
        let Some(ticks) = &mut self.bookmarks else { return Poll::Pending };
        loop {
            ready!(ticks.poll_tick(context));
            let progress = self.inner.progress();
            if let Some(revision) = progress.map(|progress| progress.get()).filter(|revision| *revision > self.told) {
                self.told = revision;
                return Poll::Ready(WatchEvent::Bookmark { revision, initial_end: false });
            }
        }
    }
}

impl Stream for Watch {
    type Item = ApiResult<WatchEvent>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        if let Some(object) = this.initial.pop_front() {
            return Poll::Ready(Some(Ok(WatchEvent::Change { kind: EventType::Added, object })));
        }
        if let Some(revision) = this.initial_end.take() {
            return Poll::Ready(Some(Ok(WatchEvent::Bookmark { revision, initial_end: true })));
        }
        while let Poll::Ready(item) = Pin::new(&mut this.inner).poll_next(context) {
            match item {
                Some(Ok(event)) => {
                    let revision = event.revision.get();
                    if let Some(event) = this.translate(event) {
                        this.told = revision;
                        return Poll::Ready(Some(Ok(event)));
                    }
                }
                Some(Err(end)) => {
                    this.ended = true;
                    return Poll::Ready(this.last_word(end));
                }
                None => {
                    this.ended = true;
                    return Poll::Ready(None);
                }
            }
        }
        this.poll_bookmark(context).map(|event| Some(Ok(event)))
    }
}
