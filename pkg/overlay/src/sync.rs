//! The loop: a change of a Node, or of the machine's links, makes it look; what differs is changed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use client::{Change, EventType, ObjectReference, Scope, Store};
use component_base::Shutdown;
use kube::api::{Api, Patch, PatchParams};
use netlink::{Event, Watch};
use serde_json::json;
use tokio::time::Instant;

use crate::kernel::{End, Kernel};
use crate::peer::{Node, announcement, news, peers_of};
use crate::{Config, Error, PROTOCOL, metrics};

/// How long a change waits for others to come with it, and the shortest time between two looks.
const COALESCE: Duration = Duration::from_millis(20);
const INTERVAL: Duration = Duration::from_millis(250);
/// The first and the longest wait after a failure.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);

pub async fn run(config: Config, shutdown: Shutdown) -> Result<(), Error> {
    let nodes = config.informers.get::<Node>(Scope::all());
    let mut changes = nodes.subscribe();
    let mut events = Watch::open(matters)?;
    // Nothing is touched before the whole picture is there: an earlier run's routes are better than half of ours.
    if shutdown.race(nodes.synced()).await.is_none() {
        return Ok(());
    }
    let mut overlay = Overlay::new(config, nodes.store())?;
    let mut due = Some(Instant::now());
    let mut rest_until = Instant::now();
    loop {
        let look = tokio::select! {
            () = shutdown.triggered() => return Ok(()),
            Some(change) = changes.next() => is_news(&change),
            event = events.next() => event.map(|_| true).ok_or(Error::Events)?,
            () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                due = overlay.sync_or_retry().await.map(|wait| Instant::now() + wait);
                rest_until = Instant::now() + INTERVAL;
                false
            }
        };
        if look {
            let soon = (Instant::now() + COALESCE).max(rest_until);
            due = Some(due.map_or(soon, |planned| planned.min(soon)));
        }
    }
}

/// Pods come and go by links of their own, which are nothing to us.
fn matters(event: &Event) -> bool {
    match event {
        Event::Link { name, .. } => !name.starts_with("veth"),
        Event::RouteGone { protocol } => *protocol == PROTOCOL,
        Event::Address { .. } | Event::Missed => true,
    }
}

fn is_news(change: &Change<Node>) -> bool {
    match (&change.old, &change.new) {
        (Some(old), Some(new)) => !old.is_like(new),
        _ => true,
    }
}

struct Overlay {
    config: Config,
    nodes: Store<Node>,
    kernel: Kernel,
    /// What was last said about nodes that cannot be reached.
    problems: BTreeSet<String>,
    /// This node's own end, as last told of in the log.
    told: Option<End>,
    retry: Duration,
}

impl Overlay {
    fn new(config: Config, nodes: Store<Node>) -> Result<Self, Error> {
        let kernel = Kernel::open(config.backend)?;
        Ok(Self { config, nodes, kernel, problems: BTreeSet::new(), told: None, retry: RETRY_MIN })
    }

    /// One look; after a failure it returns how long to wait before the next.
    async fn sync_or_retry(&mut self) -> Option<Duration> {
        match self.sync().await {
            Ok(()) => {
                self.retry = RETRY_MIN;
                None
            }
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                tracing::error!(%error, cause, "pods of other nodes may be out of reach; trying again");
                let wait = self.retry;
                self.retry = (self.retry * 2).min(RETRY_MAX);
                Some(wait)
            }
        }
    }

    async fn sync(&mut self) -> Result<(), Error> {
        let backend = self.config.backend;
        // Without an object or a range of its own, for a moment, a node keeps what it has.
        let Some(own) = self.nodes.get("", &self.config.node_name) else { return Ok(()) };
        let Some(range) = own.range() else { return Ok(()) };
        let Some(end) = self.kernel.ensure_end(&self.config.uplink, range).await? else { return Ok(()) };
        let (peers, mut problems) = peers_of(&self.nodes.list(), &own, end.address, backend);
        let (wanted, unreachable) = self.kernel.wanted(&end, &peers).await?;
        problems.extend(unreachable);
        let steps = self.kernel.present(&end).await?.steps_to(&wanted);
        if !steps.is_empty() {
            metrics::CHANGES.inc();
            tracing::debug!(?steps, "changing the ways to other nodes");
        }
        let applied = self.kernel.apply(&end, &steps).await;
        self.tell(&own, problems);
        self.announce(&own, end).await?;
        applied
    }

    /// Warns of what is new among the problems.
    fn tell(&mut self, own: &Node, problems: Vec<String>) {
        let problems: BTreeSet<String> = problems.into_iter().collect();
        let reference = ObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Node".into()),
            name: Some(own.metadata.name.clone()),
            uid: Some(own.metadata.uid.clone()),
            ..ObjectReference::default()
        };
        for problem in problems.difference(&self.problems) {
            tracing::warn!("{problem}");
            self.config.recorder.event(&reference, EventType::Warning, "PodNetworkUnreachable", problem);
        }
        self.problems = problems;
    }

    async fn announce(&mut self, own: &Arc<Node>, end: End) -> Result<(), Error> {
        let backend = self.config.backend;
        if self.told != Some(end) {
            tracing::info!(backend = backend.as_str(), address = %end.address, "pods of other nodes can be reached");
            self.told = Some(end);
        }
        let news = news(own, announcement(backend, end.address, end.mac));
        if news.is_empty() {
            return Ok(());
        }
        let patch = json!({ "metadata": { "uid": own.metadata.uid, "annotations": news } });
        let nodes: Api<k8s_openapi::api::core::v1::Node> = Api::all(self.config.client.clone());
        nodes.patch(&own.metadata.name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
        Ok(())
    }
}
