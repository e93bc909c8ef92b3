//! The garbage collector: what has lost all its owners goes, in the order that the deleter of the owner asked for.
//!
//! The graph is fed from watches and so may be behind. Before anything is deleted, the object and each of its owners are
//! asked for live, and compared by UID.

mod collect;
mod graph;
mod monitor;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use client::{Client, Scope, Source, WorkQueue, reflector};
use parking_lot::Mutex;
use tokio::sync::watch;

use self::graph::{Graph, Seen, Uid, Work};
use self::monitor::{Mapper, Meta, Monitor};
use crate::discovery::{self, Resource};
use crate::pod::SlimPod;
use crate::skeleton::{Context, Error, Tasks};

const WORKERS: usize = 20;
/// Owners that are known to be gone, so that each of 1,000 dependents does not ask again.
const ABSENT_MAX: usize = 500;
const DISCOVERY_RETRY: Duration = Duration::from_secs(5);
/// A custom resource's collection is not there at once when its definition is.
const DISCOVERY_SETTLE: Duration = Duration::from_secs(1);

/// What the workers and the monitors share.
pub(super) struct Collector {
    client: Client,
    recorder: client::Recorder,
    graph: Mutex<Graph>,
    mapper: Mapper,
    absent: Mutex<(HashSet<Uid>, VecDeque<Uid>)>,
    delete: WorkQueue<Uid>,
    orphan: WorkQueue<Uid>,
}

/// Runs the controller until shutdown.
pub async fn run(context: Context) -> Result<(), Error> {
    let pods = context.informers.get::<SlimPod>(Scope::all());
    let collector = Arc::new(Collector {
        client: context.client.clone(),
        recorder: context.recorder.clone(),
        graph: Mutex::new(Graph::default()),
        mapper: Mapper::default(),
        absent: Mutex::default(),
        delete: WorkQueue::new("garbage_collector_attempt_to_delete"),
        orphan: WorkQueue::new("garbage_collector_attempt_to_orphan"),
    });
    let mut tasks = Tasks::new();
    let mut monitors = Monitors { context: context.clone(), collector: collector.clone(), running: HashMap::new() };
    let has_definitions = monitors.refresh().await?;
    pods.synced().await;
    tasks.feed(&pods, {
        let collector = collector.clone();
        move |change| monitor::pod_changed(&collector, change)
    });
    // A graph with a part missing would let a foreground deletion end too early.
    monitors.synced().await;
    tracing::debug!(objects = collector.graph.lock().len(), "the owner graph is complete");
    if has_definitions {
        tasks.spawn(follow_definitions(context.clone(), monitors));
    } else {
        tasks.spawn(async move {
            // Keeps the monitors running.
            let _monitors = monitors;
            std::future::pending::<()>().await;
        });
    }
    let c = collector.clone();
    tasks.work("garbage_collector_attempt_to_delete", &collector.delete, WORKERS, move |uid| {
        let c = c.clone();
        async move { c.attempt_to_delete(uid).await }
    });
    let c = collector.clone();
    tasks.work("garbage_collector_attempt_to_orphan", &collector.orphan, WORKERS, move |uid| {
        let c = c.clone();
        async move { c.attempt_to_orphan(uid).await }
    });
    tasks.run(&context.shutdown).await
}

/// The reflectors that feed the graph.
struct Monitors {
    context: Context,
    collector: Arc<Collector>,
    running: HashMap<Resource, Running>,
}

struct Running {
    stop: component_base::Shutdown,
    synced: watch::Receiver<bool>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.trigger();
    }
}

impl Monitors {
    /// Starts monitors for what is served now and ends those for what is not. True if the server has custom resources.
    async fn refresh(&mut self) -> Result<bool, Error> {
        let discovered = discovery::discover(&self.context.client).await?;
        for (group, error) in &discovered.failed {
            tracing::warn!(group, error, "cannot discover a group; its objects are not collected for now");
        }
        self.collector.mapper.learn(&discovered.resources);
        let wanted: HashSet<Resource> = discovered
            .resources
            .iter()
            .filter(|resource| {
                monitor::is_monitored(resource) && !(resource.group.is_empty() && resource.plural == "pods")
            })
            .cloned()
            .collect();
        if discovered.failed.is_empty() {
            self.running.retain(|resource, _| wanted.contains(resource));
        }
        for resource in wanted {
            if !self.running.contains_key(&resource) {
                let running = self.start(&resource);
                self.running.insert(resource, running);
            }
        }
        Ok(discovered.resources.iter().any(|r| r.group == "apiextensions.k8s.io" && r.can("watch")))
    }

    fn start(&self, resource: &Resource) -> Running {
        let (sender, synced) = watch::channel(false);
        let api_version = match resource.group.as_str() {
            "" => resource.version.clone(),
            group => format!("{group}/{}", resource.version),
        };
        let monitor =
            Monitor { collector: self.collector.clone(), api_version, kind: resource.kind.clone(), synced: sender };
        let stop = self.context.shutdown.child();
        let client = self.context.informers.client().clone();
        self.context.shutdown.spawn(reflector::run::<Meta>(client, monitor::source(resource), monitor, stop.clone()));
        Running { stop, synced }
    }

    async fn synced(&mut self) {
        for running in self.running.values_mut() {
            // An error means that the monitor was stopped: nothing to wait for.
            let _ = running.synced.wait_for(|synced| *synced).await;
        }
    }
}

/// Keeps the monitors in step with the custom resources that are defined.
async fn follow_definitions(context: Context, mut monitors: Monitors) {
    let source = Source::at("apiextensions.k8s.io", "v1", "customresourcedefinitions", None);
    let definitions = context.informers.get_at::<Definition>(source.metadata_only());
    let mut changes = definitions.subscribe();
    while changes.next().await.is_some() {
        tokio::time::sleep(DISCOVERY_SETTLE).await;
        while changes.try_next().is_some() {}
        while let Err(error) = monitors.refresh().await {
            tracing::warn!(%error, "cannot discover what is served; trying again");
            tokio::time::sleep(DISCOVERY_RETRY).await;
        }
    }
}

/// A CustomResourceDefinition, of which only the change matters.
#[derive(serde::Deserialize)]
struct Definition {
    metadata: DefinitionMeta,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct DefinitionMeta {
    name: String,
    #[serde(default)]
    resource_version: String,
}

impl client::Cached for Definition {
    const GROUP: &'static str = "apiextensions.k8s.io";
    const VERSION: &'static str = "v1";
    const PLURAL: &'static str = "customresourcedefinitions";

    fn namespace(&self) -> &str {
        ""
    }
    fn name(&self) -> &str {
        &self.metadata.name
    }
    fn resource_version(&self) -> &str {
        &self.metadata.resource_version
    }
}

impl Collector {
    fn seen(&self, api_version: &str, kind: &str, seen: Seen) {
        let work = self.graph.lock().upsert(api_version, kind, seen);
        self.enqueue(work);
    }

    fn of_kind(&self, api_version: &str, kind: &str) -> Vec<Uid> {
        self.graph.lock().of_kind(api_version, kind)
    }

    fn removed(&self, uid: &str) {
        let work = self.graph.lock().remove(uid);
        self.enqueue(work);
    }

    fn enqueue(&self, work: Work) {
        for uid in work.absent {
            self.note_absent(uid);
        }
        for uid in work.orphan {
            self.orphan.add(uid);
        }
        for uid in work.delete {
            self.delete.add(uid);
        }
    }

    fn note_absent(&self, uid: Uid) {
        let mut absent = self.absent.lock();
        let (set, order) = &mut *absent;
        if set.insert(uid.clone()) {
            order.push_back(uid);
            if order.len() > ABSENT_MAX
                && let Some(oldest) = order.pop_front()
            {
                set.remove(&oldest);
            }
        }
    }

    fn is_absent(&self, uid: &str) -> bool {
        self.absent.lock().0.contains(uid)
    }
}

#[cfg(test)]
mod tests;
