//! Node health: a node that is not heard of becomes Unknown, and taints keep pods off what is not well.
//!
//! Whether a node is heard of is judged by when this process last saw its status or Lease change, never by the node's
//! clock. Each node has a timer for the moment when its silence becomes too long; nothing is polled.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use client::{Cached as _, Change, EventType, Index, ObjectKey, Scope, Store, WorkQueue};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::{Patch, PatchParams};
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::Instant;

use super::plan::{self, Eviction, Pace};
use crate::pod::SlimPod;
use crate::skeleton::{Context, Error, SyncResult, Tasks, ignore_not_found};

const NAME: &str = "node_lifecycle_controller";
const WORKERS: usize = 8;
const LEASES: &str = "kube-node-lease";
const REGION: &str = "topology.kubernetes.io/region";
const ZONE: &str = "topology.kubernetes.io/zone";

struct Controller {
    queue: WorkQueue<ObjectKey>,
    nodes: Store<Node>,
    pods_by_node: Index<SlimPod>,
    /// When each node was last heard of.
    heard: Mutex<HashMap<String, Instant>>,
    /// When the next node of each zone may lose its pods.
    next_eviction: Mutex<HashMap<String, Instant>>,
    context: Context,
}

/// Pods by the node that they are on.
pub(crate) fn pods_by_node(pods: &Store<SlimPod>) -> Index<SlimPod> {
    pods.index("node", |pod| if pod.node_name.is_empty() { Vec::new() } else { vec![pod.node_name.clone()] })
}

/// Runs the controller until shutdown.
pub async fn run(context: Context) -> Result<(), Error> {
    let nodes = context.informers.get::<Node>(Scope::all());
    let leases = context.informers.get::<Lease>(Scope::namespace(LEASES));
    let pods = context.informers.get::<SlimPod>(Scope::all());
    nodes.synced().await;
    leases.synced().await;
    pods.synced().await;
    let controller = Arc::new(Controller {
        queue: WorkQueue::new(NAME),
        nodes: nodes.store(),
        pods_by_node: pods_by_node(&pods.store()),
        heard: Mutex::default(),
        next_eviction: Mutex::default(),
        context: context.clone(),
    });
    let mut tasks = Tasks::new();
    tasks.feed(&nodes, {
        let c = controller.clone();
        move |change| c.on_node(change)
    });
    tasks.feed(&leases, {
        let c = controller.clone();
        move |change: &Change<Lease>| {
            let renewed = |lease: &Arc<Lease>| lease.spec.as_ref().and_then(|spec| spec.renew_time.clone());
            if change.new.is_some() && change.new.as_ref().and_then(renewed) != change.old.as_ref().and_then(renewed) {
                c.heard_of(&change.key.name);
            }
        }
    });
    let c = controller.clone();
    tasks.work(NAME, &controller.queue, WORKERS, move |key: ObjectKey| {
        let c = c.clone();
        async move { c.sync(&key.name).await }
    });
    tasks.run(&context.shutdown).await
}

impl Controller {
    fn on_node(&self, change: &Change<Node>) {
        let name = change.key.name.as_str();
        let Some(new) = &change.new else {
            self.heard.lock().remove(name);
            if let Some(old) = &change.old {
                let text = format!("Node {name} event: Removing Node {name} from Controller");
                self.event(old, "RemovingNode", &text);
            }
            return;
        };
        if change.old.is_none() {
            self.event(new, "RegisteredNode", &format!("Node {name} event: Registered Node {name} in Controller"));
        }
        let heartbeat =
            |node: &Node| plan::condition(node, "Ready").map(|c| (c.last_heartbeat_time.clone(), c.status.clone()));
        let by_us = plan::ready(new) == Some("Unknown");
        if change.old.as_deref().is_none_or(|old| heartbeat(old) != heartbeat(new)) && !by_us {
            self.heard_of(name);
        }
        self.queue.add(change.key.clone());
    }

    fn heard_of(&self, name: &str) {
        self.heard.lock().insert(name.to_owned(), Instant::now());
    }

    fn event(&self, node: &Node, reason: &str, text: &str) {
        // Events of nodes name the node also as the UID, as the kubelet's do.
        let mut reference = client::recorder::reference(node);
        reference.uid = node.metadata.uid.clone();
        self.context.recorder.event(&reference, EventType::Normal, reason, text);
    }

    async fn sync(&self, name: &str) -> SyncResult {
        let Some(node) = self.nodes.get("", name) else { return Ok(None) };
        let heard = *self.heard.lock().entry(name.to_owned()).or_insert_with(Instant::now);
        let left = plan::grace(&node).saturating_sub(heard.elapsed());
        if left.is_zero() {
            let changed = plan::unknown_conditions(&node, Timestamp::now());
            if !changed.is_empty() {
                let api: Api<Node> = Api::all(self.context.client.clone());
                let patch = json!({ "status": { "conditions": changed } });
                let written = api.patch_status(name, &PatchParams::default(), &Patch::Strategic(&patch)).await;
                ignore_not_found(written)?;
                self.event(&node, "NodeNotReady", &format!("Node {name} status is now: NodeNotReady"));
                // The change comes back through the cache.
                return Ok(None);
            }
            self.mark_pods_not_ready(name).await?;
        }
        let (eviction, wait) = self.eviction(&node);
        if let Some(taints) = plan::taints(&node, eviction, Timestamp::now()) {
            let api: Api<Node> = Api::all(self.context.client.clone());
            // A list as a whole: only if nobody else changed the node meanwhile.
            let patch = json!({
                "metadata": { "resourceVersion": node.metadata.resource_version }, "spec": { "taints": taints }
            });
            ignore_not_found(api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await)?;
        }
        let silence = (!left.is_zero()).then_some(left);
        Ok(silence.into_iter().chain(wait).min())
    }

    /// Whether the node may lose its pods now, and when to ask again.
    fn eviction(&self, node: &Node) -> (Eviction, Option<Duration>) {
        if plan::ready(node) == Some("True") {
            return (Eviction::Stop, None);
        }
        let all = self.nodes.list();
        let is_ready = |node: &Arc<Node>| plan::ready(node) == Some("True");
        if !all.iter().any(is_ready) {
            // When every node looks dead, the one who looks is more likely cut off.
            return (Eviction::Stop, Some(plan::EVICTION_INTERVAL));
        }
        let zone = zone(node);
        let (ready, others): (Vec<_>, Vec<_>) =
            all.iter().filter(|other| self::zone(other) == zone).partition(|n| is_ready(n));
        let Pace::One(interval) = plan::pace(ready.len(), others.len()) else {
            return (Eviction::Keep, Some(plan::EVICTION_INTERVAL));
        };
        let started = node.spec.as_ref().and_then(|spec| spec.taints.as_ref()).into_iter().flatten();
        if started
            .into_iter()
            .any(|t| t.effect == plan::NO_EXECUTE && (t.key == plan::NOT_READY || t.key == plan::UNREACHABLE))
        {
            return (Eviction::Keep, None);
        }
        let mut next = self.next_eviction.lock();
        let now = Instant::now();
        let turn = next.entry(zone).or_insert(now);
        if *turn > now {
            return (Eviction::Keep, Some(*turn - now));
        }
        *turn = now + interval;
        (Eviction::Start, None)
    }

    /// The pods of a node that is not heard of are not known to serve: they leave their services.
    async fn mark_pods_not_ready(&self, name: &str) -> Result<(), Error> {
        for pod in self.pods_by_node.get(name).iter().filter(|pod| pod.is_ready() && !pod.is_deleting()) {
            let api: Api<Pod> = Api::namespaced(self.context.client.clone(), &pod.namespace);
            let now = apimachinery::time::now_rfc3339();
            let condition = json!({ "type": "Ready", "status": "False", "lastTransitionTime": now });
            let patch = json!({ "metadata": { "uid": pod.uid }, "status": { "conditions": [condition] } });
            let written = api.patch_status(pod.name(), &PatchParams::default(), &Patch::Strategic(&patch)).await;
            ignore_not_found(written)?;
            self.context.recorder.event(&pod.reference(), EventType::Warning, "NodeNotReady", "Node is not ready");
        }
        Ok(())
    }
}

fn zone(node: &Node) -> String {
    let label =
        |key: &str| node.metadata.labels.as_ref().and_then(|labels| labels.get(key)).cloned().unwrap_or_default();
    format!("{}/{}", label(REGION), label(ZONE))
}
