//! A watch whose events are waited for.

use std::time::Duration;

use anyhow::{Context as _, bail};
use futures::StreamExt as _;
use futures::stream::LocalBoxStream;
use kube::api::WatchEvent;
use serde_json::Value;

use crate::wait::LIMIT;

pub type Events = LocalBoxStream<'static, kube::Result<WatchEvent<Value>>>;

/// `ADDED`, `MODIFIED` or `DELETED`, and the object.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub kind: &'static str,
    pub object: Value,
}

impl Event {
    pub fn name(&self) -> &str {
        self.object["metadata"]["name"].as_str().unwrap_or_default()
    }

    pub fn version(&self) -> &str {
        self.object["metadata"]["resourceVersion"].as_str().unwrap_or_default()
    }
}

pub struct Watch {
    events: Events,
    /// What came, for the error that says what did not.
    seen: Vec<String>,
}

impl Watch {
    pub(crate) fn new(events: Events) -> Self {
        Self { events, seen: Vec::new() }
    }

    /// The next event.
    pub async fn next(&mut self) -> anyhow::Result<Event> {
        let next = tokio::time::timeout(LIMIT, self.events.next()).await;
        let next = next.with_context(|| format!("no event within {LIMIT:?} after {:?}", self.seen))?;
        let event = match next.with_context(|| format!("the watch ended after {:?}", self.seen))?? {
            WatchEvent::Added(object) => Event { kind: "ADDED", object },
            WatchEvent::Modified(object) => Event { kind: "MODIFIED", object },
            WatchEvent::Deleted(object) => Event { kind: "DELETED", object },
            WatchEvent::Bookmark(_) => bail!("a bookmark that nobody asked for"),
            WatchEvent::Error(status) => bail!("the watch failed with {status:?}"),
        };
        self.seen.push(format!("{} {}@{}", event.kind, event.name(), event.version()));
        Ok(event)
    }

    /// Waits for an event of this kind with such an object; others may come before it.
    pub async fn expect(&mut self, kind: &str, what: &str, good: impl Fn(&Value) -> bool) -> anyhow::Result<Event> {
        loop {
            let event = self.next().await.with_context(|| format!("the watch MUST show {kind}: {what}"))?;
            if event.kind == kind && good(&event.object) {
                return Ok(event);
            }
        }
    }

    /// Waits for the deletion of the named object.
    pub async fn expect_deleted(&mut self, name: &str) -> anyhow::Result<Event> {
        self.expect("DELETED", name, |object| object["metadata"]["name"] == name).await
    }

    /// Fails if anything comes within `quiet`.
    pub async fn expect_quiet(&mut self, quiet: Duration) -> anyhow::Result<()> {
        self.expect_none(quiet, |_| true).await
    }

    /// Fails if such an event comes within `quiet`; others may.
    pub async fn expect_none(&mut self, quiet: Duration, bad: impl Fn(&Event) -> bool) -> anyhow::Result<()> {
        let first_bad = async {
            loop {
                match self.next().await {
                    Ok(event) if !bad(&event) => {}
                    outcome => return outcome,
                }
            }
        };
        match tokio::time::timeout(quiet, first_bad).await {
            Err(_) => Ok(()),
            Ok(event) => bail!("the watch MUST NOT show {:?}", event?),
        }
    }
}
