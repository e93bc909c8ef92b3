//! The loop: informers in, decisions out. One task decides; bindings are written beside it, many at a time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use client::{Change, Client, Informers, ObjectKey, Recorder, Scope, Store, Subscription};
use component_base::Shutdown;
use k8s_openapi::api::core::v1::{Namespace, PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use tokio::sync::{Semaphore, mpsc};

use crate::cluster::Cluster;
use crate::cycle::{FitError, Scheduler};
use crate::events::Events;
use crate::metrics;
use crate::plugins::{self, Volumes};
use crate::preemption::preempt;
use crate::queue::SchedulingQueue;
use crate::types::{DEFAULT_SCHEDULER, Node, Pod};
use crate::writer::Writer;

/// Bindings under way at most; a decision waits for a place.
const BINDINGS: usize = 128;
/// Decisions in a row before changes are read again.
const BATCH: usize = 32;
/// Changes read in a row before decisions are made again.
const CHANGES: usize = 4096;

/// A binding that did not work.
struct Failed {
    key: ObjectKey,
    pod: Arc<Pod>,
    error: kube::Error,
}

struct Driver {
    scheduler: Scheduler,
    cluster: Cluster,
    queue: SchedulingQueue,
    volumes: Volumes,
    budgets: Store<PodDisruptionBudget>,
    writer: Writer,
    shutdown: Shutdown,
    bindings: Arc<Semaphore>,
    failures: mpsc::Sender<Failed>,
    /// Pods whose binding is decided, until the watch shows it.
    assumed: HashMap<ObjectKey, Arc<Pod>>,
    /// What was last said about a pod that no node does for, so that it is said once.
    said: HashMap<ObjectKey, String>,
    /// What happened since the queue was last told.
    happened: Events,
}

/// Schedules until `shutdown`.
pub async fn run(client: Client, shutdown: Shutdown) {
    let informers = Informers::new(client.clone(), shutdown.clone());
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let recorder = Recorder::events_v1(client.clone(), DEFAULT_SCHEDULER, host.trim(), &shutdown);
    let budgets = informers.get::<PodDisruptionBudget>(Scope::all());
    let (failures, mut failed) = mpsc::channel(BINDINGS);
    let mut driver = Driver {
        scheduler: Scheduler::new(Vec::new()),
        cluster: Cluster::default(),
        queue: SchedulingQueue::default(),
        volumes: Volumes::default(),
        budgets: budgets.store(),
        writer: Writer::new(client, recorder),
        shutdown: shutdown.clone(),
        bindings: Arc::new(Semaphore::new(BINDINGS)),
        failures,
        assumed: HashMap::new(),
        said: HashMap::new(),
        happened: Events::NONE,
    };
    driver.scheduler = Scheduler::new(plugins::defaults(driver.volumes.clone()));
    let mut sources = Sources::new(&informers);
    if shutdown.race(sources.synced(&informers)).await.is_none() {
        return;
    }
    while !shutdown.is_triggered() {
        sources.drain(&mut driver);
        while let Ok(failure) = failed.try_recv() {
            driver.binding_failed(failure);
        }
        driver.tell_queue();
        driver.queue.advance(Instant::now());
        if driver.decide(BATCH).await {
            tokio::task::yield_now().await;
            continue;
        }
        let deadline = driver.queue.next_deadline().unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
        tokio::select! {
            () = shutdown.triggered() => {}
            () = sources.next(&mut driver) => {}
            Some(failure) = failed.recv() => driver.binding_failed(failure),
            () = tokio::time::sleep_until(deadline.into()) => {}
        }
    }
}

/// Pods that take or want room: the finished ones, of which there may be many, are not even read.
fn pods() -> Scope {
    Scope::all().fields("status.phase!=Succeeded,status.phase!=Failed")
}

/// The watches that the scheduler follows.
struct Sources {
    pods: Subscription<Pod>,
    nodes: Subscription<Node>,
    namespaces: Subscription<Namespace>,
    claims: Subscription<PersistentVolumeClaim>,
    volumes: Subscription<PersistentVolume>,
}

impl Sources {
    fn new(informers: &Informers) -> Self {
        Self {
            pods: informers.get::<Pod>(pods()).subscribe(),
            nodes: informers.get::<Node>(Scope::all()).subscribe(),
            namespaces: informers.get::<Namespace>(Scope::all()).subscribe(),
            claims: informers.get::<PersistentVolumeClaim>(Scope::all()).subscribe(),
            volumes: informers.get::<PersistentVolume>(Scope::all()).subscribe(),
        }
    }

    async fn synced(&self, informers: &Informers) {
        informers.get::<Node>(Scope::all()).synced().await;
        informers.get::<Pod>(pods()).synced().await;
        informers.get::<Namespace>(Scope::all()).synced().await;
        informers.get::<PersistentVolumeClaim>(Scope::all()).synced().await;
        informers.get::<PersistentVolume>(Scope::all()).synced().await;
    }

    /// Takes in what is there already.
    fn drain(&mut self, driver: &mut Driver) {
        while let Some(change) = self.namespaces.try_next() {
            driver.namespace_changed(change);
        }
        while let Some(change) = self.nodes.try_next() {
            driver.node_changed(change);
        }
        while let Some(change) = self.claims.try_next() {
            driver.claim_changed(change);
        }
        while let Some(change) = self.volumes.try_next() {
            driver.volume_changed(change);
        }
        for _ in 0..CHANGES {
            let Some(change) = self.pods.try_next() else { break };
            driver.pod_changed(change);
        }
    }

    /// Waits for one change and takes it in.
    async fn next(&mut self, driver: &mut Driver) {
        tokio::select! {
            Some(change) = self.pods.next() => driver.pod_changed(change),
            Some(change) = self.nodes.next() => driver.node_changed(change),
            Some(change) = self.namespaces.next() => driver.namespace_changed(change),
            Some(change) = self.claims.next() => driver.claim_changed(change),
            Some(change) = self.volumes.next() => driver.volume_changed(change),
        }
    }
}

impl Driver {
    fn note(&mut self, events: Events) {
        self.happened = self.happened.and(events);
    }

    fn tell_queue(&mut self) {
        if !self.happened.is_empty() {
            self.queue.happened(self.happened, Instant::now());
            self.happened = Events::NONE;
        }
    }

    fn pod_changed(&mut self, change: Change<Pod>) {
        let key = change.key;
        // A pod that was replaced by another of its name leaves first.
        if let Some(old) = &change.old
            && change.new.as_ref().is_none_or(|new| new.metadata.uid != old.metadata.uid)
        {
            self.forget(&key, old);
        }
        let Some(pod) = change.new else { return };
        if pod.is_terminal() {
            self.forget(&key, &pod);
        } else if !pod.node_name.is_empty() {
            // Most changes of a running pod are of its status, and of no concern here.
            let seen = change.old.is_some();
            if change.old.is_some_and(|old| old.is_same_to_others(&pod)) {
                return;
            }
            // One that was never seen waits nowhere.
            if seen {
                self.stop_waiting(&key);
            }
            let node = pod.node_name.clone();
            self.cluster.place(pod, &node);
            self.note(Events::POD_PLACED);
        } else if pod.is_ours_to_schedule() && !pod.is_deleting() {
            if !self.assumed.contains_key(&key) {
                self.nominate(&key, &pod);
                self.queue.set(key, pod);
            }
        } else {
            self.queue.remove(&key);
        }
    }

    fn nominate(&mut self, key: &ObjectKey, pod: &Arc<Pod>) {
        let node = &pod.status.nominated_node_name;
        if !node.is_empty() {
            self.cluster.nominated.insert(key.clone(), (node.clone(), pod.clone()));
        }
    }

    /// The pod has a node, or needs none any more.
    fn stop_waiting(&mut self, key: &ObjectKey) {
        self.queue.remove(key);
        self.said.remove(key);
        self.cluster.nominated.remove(key);
        self.assumed.remove(key);
    }

    fn forget(&mut self, key: &ObjectKey, pod: &Arc<Pod>) {
        self.stop_waiting(key);
        if self.cluster.remove(&pod.metadata.uid) {
            self.note(Events::POD_GONE);
        }
    }

    fn node_changed(&mut self, change: Change<Node>) {
        match (change.old, change.new) {
            (_, None) => self.cluster.remove_node(&change.key.name),
            (None, Some(node)) => {
                self.note(Events::NODE_ADDED);
                self.cluster.set_node(node);
            }
            (Some(old), Some(node)) => {
                let differs = |differs: bool, events| if differs { events } else { Events::NONE };
                let taints = old.spec.taints != node.spec.taints || old.spec.unschedulable != node.spec.unschedulable;
                self.note(differs(old.metadata.labels != node.metadata.labels, Events::NODE_LABELS));
                self.note(differs(taints, Events::NODE_TAINTS));
                self.note(differs(old.status.allocatable != node.status.allocatable, Events::NODE_ALLOCATABLE));
                self.cluster.set_node(node);
            }
        }
    }

    fn namespace_changed(&mut self, change: Change<Namespace>) {
        let name = change.key.name.to_string();
        let namespaces = Arc::make_mut(&mut self.cluster.namespaces);
        match change.new {
            Some(namespace) => namespaces.insert(name, namespace.metadata.labels.clone().unwrap_or_default()),
            None => namespaces.remove(&name),
        };
    }

    fn claim_changed(&mut self, change: Change<PersistentVolumeClaim>) {
        self.volumes.set_claim(change.key, change.new);
        self.note(Events::VOLUMES);
    }

    fn volume_changed(&mut self, change: Change<PersistentVolume>) {
        self.volumes.set_volume(&change.key.name, change.new);
        self.note(Events::VOLUMES);
    }

    /// Decides on up to `count` pods; false if none was ready.
    async fn decide(&mut self, count: usize) -> bool {
        for decided in 0..count {
            // Shutdown ends the wait for a place, too.
            let permit = match self.queue.has_ready() {
                true => self.shutdown.race(self.bindings.clone().acquire_owned()).await,
                false => return decided > 0,
            };
            let (Some(Ok(permit)), Some((key, pod))) = (permit, self.queue.pop()) else { return false };
            let started = Instant::now();
            let outcome = self.scheduler.schedule(&pod, &mut self.cluster);
            metrics::ALGORITHM_SECONDS.observe(started.elapsed().as_secs_f64());
            match outcome {
                Ok(index) => {
                    let node = self.cluster.node(index).map(|info| info.name.clone()).unwrap_or_default();
                    self.assume_and_bind(key, pod, node, permit);
                }
                Err(error) => self.no_node(key, pod, &error),
            }
        }
        true
    }

    fn assume_and_bind(
        &mut self,
        key: ObjectKey,
        pod: Arc<Pod>,
        node: String,
        permit: tokio::sync::OwnedSemaphorePermit,
    ) {
        self.cluster.place(pod.clone(), &node);
        self.cluster.nominated.remove(&key);
        self.assumed.insert(key.clone(), pod.clone());
        let (writer, failures) = (self.writer.clone(), self.failures.clone());
        metrics::BINDING.inc();
        self.shutdown.spawn(async move {
            let outcome = writer.bind(&pod, &node).await;
            metrics::BINDING.dec();
            metrics::attempt(if outcome.is_ok() { "scheduled" } else { "error" });
            if let Err(error) = outcome {
                // Received until shutdown; after it nothing is left to do.
                let _ = failures.send(Failed { key, pod, error }).await;
            }
            drop(permit);
        });
    }

    fn binding_failed(&mut self, failed: Failed) {
        let Failed { key, pod, error } = failed;
        tracing::warn!(pod = %key, %error, "the binding was refused");
        // Unless the watch has shown meanwhile that it is placed or gone.
        if self.assumed.remove(&key).is_some_and(|assumed| assumed.metadata.uid == pod.metadata.uid) {
            self.cluster.remove(&pod.metadata.uid);
            self.note(Events::POD_GONE);
            self.queue.failed(&key, Events::NONE, Instant::now());
        }
    }

    fn no_node(&mut self, key: ObjectKey, pod: Arc<Pod>, error: &FitError) {
        metrics::attempt("unschedulable");
        self.queue.failed(&key, error.wakes_on, Instant::now());
        let budgets = self.budgets.list();
        let outcome = match error.nodes {
            0 => Err(String::new()),
            _ => preempt(&self.scheduler, &pod, error, &mut self.cluster, &budgets),
        };
        let mut message = error.message();
        let mut nomination = None;
        match outcome {
            Ok(found) => nomination = Some(found),
            Err(text) if text.is_empty() => {}
            Err(text) => message = format!("{message} preemption: {text}"),
        }
        if let Some(found) = &nomination {
            self.cluster.nominated.insert(key.clone(), (found.node.clone(), pod.clone()));
        } else if self.said.get(&key) == Some(&message) {
            return;
        }
        self.said.insert(key, message.clone());
        let writer = self.writer.clone();
        self.shutdown.spawn(async move {
            let node = nomination.as_ref().map(|n| n.node.as_str());
            writer.unschedulable(&pod, "Unschedulable", &message, node).await;
            if let Some(nomination) = nomination {
                writer.evict(&pod, &nomination).await;
            }
        });
    }
}
