//! What all parts of one kubelet share, and the pods that it runs.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use client::informer::Informer;
use client::{Change, Informers, Scope};
use component_base::Shutdown;
use cri::RuntimeService;
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::node::v1::RuntimeClass;
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::admission::NodeView;
use crate::backoff::Backoff;
use crate::cgroups::Cgroups;
use crate::checkpoint::{Checkpoint, Given};
use crate::config::Config;
use crate::events::Events;
use crate::fields::NodeResources;
use crate::images::Images;
use crate::node::Machine;
use crate::objects::PATIENCE_WITH_KEPT;
use crate::pleg::Pleg;
use crate::pod::PodExt as _;
use crate::probes::Probes;
use crate::status::manager::Statuses;
use crate::volumes::Folders;
use crate::volumes::tokens::Tokens;
use crate::worker::Handle;

/// Everything that workers, the server and the node's loops use.
pub struct Kubelet {
    pub config: Config,
    pub shutdown: Shutdown,
    pub runtime: Arc<dyn RuntimeService>,
    pub images: Arc<Images>,
    pub informers: Option<Informers>,
    pub services: Option<Informer<Service>>,
    pub node: Option<Informer<Node>>,
    pub events: Events,
    pub cgroups: Cgroups,
    pub folders: Folders,
    pub tokens: Tokens,
    pub probes: Arc<Probes>,
    pub statuses: Arc<Statuses>,
    pub pleg: Arc<Pleg>,
    pub machine: Machine,
    pub crash_backoff: Backoff,
    pub checkpoint: Option<Checkpoint>,
    /// The static pods of the manifests, for those who mirror them.
    pub static_pods: tokio::sync::watch::Sender<Vec<Arc<Pod>>>,
    pub(crate) workers: Mutex<HashMap<String, Handle>>,
    pub(crate) this: OnceLock<Weak<Kubelet>>,
}

/// Where a pod was read. Each source removes only its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Api,
    Static,
    Checkpoint,
}

impl Kubelet {
    pub fn host_ips(&self) -> Vec<String> {
        self.config.node_ips.iter().map(ToString::to_string).collect()
    }

    pub fn node_resources(&self) -> NodeResources {
        let allocatable = self.machine.allocatable(self.config.reserved);
        NodeResources {
            cpu_milli: allocatable.cpu_milli,
            memory: allocatable.memory,
            ephemeral_storage: allocatable.ephemeral_storage,
        }
    }

    /// What the server gave for the pod with this uid, on disk.
    pub fn given(&self, uid: &str) -> Option<Given> {
        self.checkpoint.as_ref()?.of(uid)
    }

    /// Variables of the services that `pod` sees: those of its namespace unless it declines, and the API server's.
    pub async fn service_variables(&self, pod: &Pod) -> Result<BTreeMap<String, String>, String> {
        let Some(services) = &self.services else {
            return Ok(BTreeMap::new());
        };
        let read = || {
            let store = services.store();
            let own = pod.pod_spec().enable_service_links.unwrap_or(true);
            let mut visible: Vec<Arc<Service>> = store.get("default", "kubernetes").into_iter().collect();
            if own {
                visible.extend(store.list_namespace(pod.namespace()));
            }
            Ok(crate::runtime::env::service_variables(visible.iter().map(|s| &**s)))
        };
        let missing = || "services have not yet been read at least once, cannot construct envvars".to_owned();
        self.read_or_recall(pod, "services", services, read, missing).await
    }

    /// The runtime's name for the pod's RuntimeClass; empty for the default.
    pub async fn runtime_handler(&self, pod: &Pod) -> Result<String, String> {
        let Some(class) = pod.pod_spec().runtime_class_name.as_deref().filter(|name| !name.is_empty()) else {
            return Ok(String::new());
        };
        let informers = self.informers.as_ref().ok_or("this node has no API server to ask for the RuntimeClass")?;
        let classes = informers.get::<RuntimeClass>(Scope::object("", class));
        let read = || {
            let found = classes.store().get("", class);
            found.map(|found| found.handler.clone()).ok_or_else(|| format!("RuntimeClass \"{class}\" not found"))
        };
        let missing = || format!("RuntimeClass \"{class}\" was not read in time");
        self.read_or_recall(pod, "runtimeclass", &classes, read, missing).await
    }

    /// What `read` makes of the informer once it has its list; else what it made before, and `missing` if it never did.
    async fn read_or_recall<T: client::Cached, V: Serialize + DeserializeOwned>(
        &self,
        pod: &Pod,
        name: &str,
        informer: &Informer<T>,
        read: impl Fn() -> Result<V, String>,
        missing: impl Fn() -> String,
    ) -> Result<V, String> {
        const FIRST_ANSWER: Duration = Duration::from_secs(10);
        let given = self.given(pod.uid());
        let kept = given.as_ref().filter(|_| !informer.is_synced()).and_then(|given| given.recall::<V>(name));
        let patience = if kept.is_some() { PATIENCE_WITH_KEPT } else { FIRST_ANSWER };
        if tokio::time::timeout(patience, informer.synced()).await.is_err() {
            return kept.ok_or_else(missing);
        }
        let value = read()?;
        if let Some(given) = given {
            given.keep(name, &value);
        }
        Ok(value)
    }

    /// The pods that use the node now, without the one with this uid.
    pub fn active_pods(&self, except: &str) -> Vec<Arc<Pod>> {
        let workers = self.workers.lock();
        let others = workers.iter().filter(|(uid, _)| uid.as_str() != except).map(|(_, handle)| handle.pod());
        // One that was not accepted yet holds nothing.
        others.filter(|pod| !pod.is_terminal() && self.statuses.is_accepted(pod)).collect()
    }

    /// Gives all burstable pods together the CPU weight that they ask for.
    pub fn weigh_burstable(&self) {
        let burstable =
            self.active_pods("").into_iter().filter(|pod| pod.qos_class() == crate::pod::QosClass::Burstable);
        let milli = burstable.map(|pod| crate::resources::pod_request_milli(pod.pod_spec(), "cpu")).sum();
        if let Err(error) = self.cgroups.set_burstable_request(milli) {
            tracing::debug!(%error, "weight of burstable pods was not set");
        }
    }

    pub fn pods(&self) -> Vec<Arc<Pod>> {
        self.workers.lock().values().map(Handle::pod).collect()
    }

    pub fn find_pod(&self, namespace: &str, name: &str) -> Option<Arc<Pod>> {
        let found: Vec<_> =
            self.pods().into_iter().filter(|p| p.namespace() == namespace && p.name() == name).collect();
        // Of two with one name, the one that is not on its way out.
        found.iter().find(|p| !p.is_deleting()).or(found.first()).cloned()
    }

    pub fn node_view(&self) -> NodeView {
        let labels = self.node.as_ref().and_then(|n| n.store().get("", &self.config.node_name));
        let mut all = self.config.node_labels.clone();
        all.extend(labels.and_then(|n| n.metadata.labels.clone()).unwrap_or_default());
        NodeView {
            name: self.config.node_name.clone(),
            labels: all,
            allocatable: self.machine.allocatable(self.config.reserved),
            max_pods: self.config.max_pods,
        }
    }

    /// Tells the worker of that pod to look.
    pub fn notify(&self, uid: &str) {
        if let Some(handle) = self.workers.lock().get(uid) {
            handle.notify();
        }
    }

    pub fn notify_all(&self) {
        self.workers.lock().values().for_each(Handle::notify);
    }

    pub fn has_worker(&self, uid: &str) -> bool {
        self.workers.lock().contains_key(uid)
    }

    /// Ends a pod that nobody deleted, because the node cannot keep it.
    pub fn evict(&self, uid: &str, failure: crate::status::PodFailure, grace: Duration) {
        if let Some(handle) = self.workers.lock().get(uid) {
            handle.evict(failure, grace);
        }
    }

    /// Triggered when nothing of the pod runs any more. `None` if there is no such pod.
    pub fn ended(&self, uid: &str) -> Option<CancellationToken> {
        self.workers.lock().get(uid).map(Handle::ended)
    }

    /// Whether the machine goes down.
    pub fn is_going_down(&self) -> bool {
        self.config.node_shutdown.as_ref().is_some_and(|settings| settings.switch.is_going_down())
    }

    /// A pod was added or changed at its source.
    pub fn upsert(&self, pod: Arc<Pod>, source: Source) {
        if source == Source::Api && pod.is_mirror() {
            return;
        }
        if let Some(checkpoint) = self.checkpoint.as_ref().filter(|_| source == Source::Api) {
            checkpoint.save(&pod);
        }
        let mut workers = self.workers.lock();
        if let Some(handle) = workers.get(pod.uid()) {
            handle.update(pod);
            return;
        }
        let Some(this) = self.this.get().and_then(Weak::upgrade) else {
            return;
        };
        let uid = pod.uid().to_owned();
        let (weak, ended) = (Arc::downgrade(&this), uid.clone());
        let on_end = move || {
            if let Some(kubelet) = weak.upgrade() {
                kubelet.workers.lock().remove(&ended);
            }
        };
        workers.insert(uid, Handle::spawn(this, pod, on_end));
    }

    /// A pod is gone from its source.
    pub fn remove(&self, uid: &str) {
        if let Some(handle) = self.workers.lock().get(uid) {
            handle.remove();
        }
    }

    /// Follows the pods that the server has bound to this node.
    pub async fn follow_api(&self, pods: Informer<Pod>) {
        let mut changes = pods.subscribe();
        tokio::select! {
            () = pods.synced() => {}
            () = self.run_checkpointed() => {}
        }
        let mut first_list = true;
        while let Some(change) = changes.next().await {
            self.apply(change);
            // Once all of the first list was read, what only the checkpoint knows was deleted while we were away.
            while let Some(change) = changes.try_next() {
                self.apply(change);
            }
            if first_list && pods.is_synced() {
                first_list = false;
                self.drop_unknown(&pods);
            }
        }
    }

    fn apply(&self, change: Change<Pod>) {
        let Change { old, new, .. } = change;
        if let Some(old) = old
            && new.as_ref().is_none_or(|new| new.uid() != old.uid())
        {
            self.remove(old.uid());
        }
        if let Some(new) = new {
            self.upsert(new, Source::Api);
        }
    }

    /// After a while without the server, runs the pods that were last known. Never ends.
    async fn run_checkpointed(&self) {
        const PATIENCE: Duration = Duration::from_secs(3);
        tokio::time::sleep(PATIENCE).await;
        if let Some(checkpoint) = &self.checkpoint {
            for pod in checkpoint.load() {
                tracing::info!(pod = pod.describe(), "no API server in reach; running the pod as last known");
                self.upsert(Arc::new(pod), Source::Checkpoint);
            }
        }
        std::future::pending().await
    }

    fn drop_unknown(&self, pods: &Informer<Pod>) {
        let known: std::collections::HashSet<String> = pods.store().list().iter().map(|p| p.uid().to_owned()).collect();
        for pod in self.pods().iter().filter(|p| !p.is_static() && !known.contains(p.uid())) {
            self.remove(pod.uid());
        }
        if let Some(checkpoint) = &self.checkpoint {
            checkpoint.retain(&known);
        }
    }
}

/// The scope of the pods of one node.
pub fn node_pods(node: &str) -> Scope {
    Scope::all().fields(&format!("spec.nodeName={node}"))
}
