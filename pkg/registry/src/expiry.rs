//! Events live for an hour after their last write. One queue in order of time: every entry waits equally long.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use apimachinery::ApiResult;
use apimachinery::meta::ObjectExt as _;
use apis::resource::Resource;
use component_base::Shutdown;
use storage::{Change, ListOptions, Storage, StoredObject};
use tokio::sync::Notify;
use tokio::time::Instant;

const LIFETIME: Duration = Duration::from_secs(3600);
const PREFIX: &str = "/registry/core/events/";

/// An event as it was last written; written again, it has a newer revision and a later entry.
struct Entry {
    due: Instant,
    key: Box<str>,
    revision: u64,
}

#[derive(Default)]
pub struct Queue {
    entries: Mutex<VecDeque<Entry>>,
    filled: Notify,
}

impl Queue {
    /// Queues the stored events by their age.
    pub fn load(&self, storage: &Storage) -> ApiResult<()> {
        let page = storage.list(PREFIX, &ListOptions::default()).map_err(crate::errors::from_storage)?;
        let now = jiff::Timestamp::now().as_second();
        let mut loaded: Vec<Entry> = page
            .items
            .iter()
            .map(|stored| {
                let left = LIFETIME.saturating_sub(age(stored, now));
                Entry { due: Instant::now() + left, key: stored.key().into(), revision: stored.revision().get() }
            })
            .collect();
        loaded.sort_by_key(|entry| entry.due);
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).extend(loaded);
        Ok(())
    }

    /// Called after every write; what is not an event passes.
    pub fn written(&self, resource: &Resource, stored: &StoredObject) {
        if resource.plural != "events" {
            return;
        }
        let entry =
            Entry { due: Instant::now() + LIFETIME, key: stored.key().into(), revision: stored.revision().get() };
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).push_back(entry);
        self.filled.notify_one();
    }

    /// Deletes what is due, sleeping until the next one is.
    pub async fn run(&self, storage: &Storage, shutdown: Shutdown) {
        while !shutdown.is_triggered() {
            let next = self.entries.lock().unwrap_or_else(PoisonError::into_inner).front().map(|entry| entry.due);
            let wait = async {
                match next {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => self.filled.notified().await,
                }
            };
            if shutdown.race(wait).await.is_none() {
                return;
            }
            while let Some(entry) = self.pop_due() {
                expire(storage, &entry).await;
            }
        }
    }

    fn pop_due(&self) -> Option<Entry> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let due = entries.front().is_some_and(|entry| entry.due <= Instant::now());
        if due { entries.pop_front() } else { None }
    }
}

async fn expire(storage: &Storage, entry: &Entry) {
    let revision = entry.revision;
    let update = |current: Option<StoredObject>| {
        let same = current.is_some_and(|stored| stored.revision().get() == revision);
        let change = if same { Change::Delete } else { Change::Keep };
        Box::pin(std::future::ready(Ok::<_, std::convert::Infallible>(change))) as futures::future::BoxFuture<'_, _>
    };
    if let Err(error) = storage.guaranteed_update(&entry.key, update).await {
        tracing::warn!(key = %entry.key, %error, "an old event could not be deleted");
    }
}

/// How long ago the event was last seen, as far as it says.
fn age(stored: &StoredObject, now: i64) -> Duration {
    let event = stored.decode();
    let stamps = ["lastTimestamp", "eventTime", "metadata/creationTimestamp"];
    let last = stamps.iter().filter_map(|field| apimachinery::time::parse_seconds(event.str_at(field))).max();
    let seconds = now - last.unwrap_or(now);
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}
