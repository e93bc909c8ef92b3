//! Taint eviction: pods that do not tolerate a NoExecute taint of their node go, at once or when their time is up.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use client::{Cached as _, Change, EventType, Index, ObjectKey, Scope, Store, WorkQueue};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod, Taint};
use kube::Api;
use kube::api::{Patch, PatchParams};
use parking_lot::Mutex;
use serde_json::json;

use super::lifecycle::pods_by_node;
use super::plan::{self, Stay};
use crate::pod::SlimPod;
use crate::skeleton::{Context, Error, SyncResult, Tasks, delete_uid, ignore_not_found};

const NAME: &str = "noexec_taint_pod";
const WORKERS: usize = 8;

struct Controller {
    nodes: Store<Node>,
    pods: Store<SlimPod>,
    /// Pods of which it was said that they will go.
    marked: Mutex<HashSet<ObjectKey>>,
    context: Context,
}

fn no_execute(node: &Node) -> Vec<Taint> {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref()).into_iter().flatten();
    taints.filter(|taint| taint.effect == plan::NO_EXECUTE).cloned().collect()
}

/// Runs the controller until shutdown.
pub async fn run(context: Context) -> Result<(), Error> {
    let nodes = context.informers.get::<Node>(Scope::all());
    let pods = context.informers.get::<SlimPod>(Scope::all());
    nodes.synced().await;
    pods.synced().await;
    let queue: WorkQueue<ObjectKey> = WorkQueue::new(NAME);
    let by_node: Index<SlimPod> = pods_by_node(&pods.store());
    let mut tasks = Tasks::new();
    tasks.feed(&nodes, {
        let queue = queue.clone();
        move |change: &Change<Node>| {
            let taints = |node: &Option<Arc<Node>>| node.as_deref().map(no_execute).unwrap_or_default();
            if taints(&change.old) != taints(&change.new) {
                for pod in by_node.get(&change.key.name) {
                    queue.add(ObjectKey::of(&*pod));
                }
            }
        }
    });
    tasks.feed(&pods, {
        let (queue, nodes) = (queue.clone(), nodes.store());
        move |change: &Change<SlimPod>| {
            let Some(pod) = &change.new else { return };
            if nodes.get("", &pod.node_name).is_some_and(|node| !no_execute(&node).is_empty()) {
                queue.add(change.key.clone());
            }
        }
    });
    let controller = Arc::new(Controller {
        nodes: nodes.store(),
        pods: pods.store(),
        marked: Mutex::default(),
        context: context.clone(),
    });
    tasks.work(NAME, &queue, WORKERS, move |key| {
        let controller = controller.clone();
        async move { controller.sync(key).await }
    });
    tasks.run(&context.shutdown).await
}

impl Controller {
    async fn sync(&self, key: ObjectKey) -> SyncResult {
        let pod = self.pods.get_key(&key).filter(|pod| !pod.is_deleting() && !pod.is_finished());
        let node = pod.as_ref().and_then(|pod| self.nodes.get("", &pod.node_name));
        let (Some(pod), Some(node)) = (pod, node) else {
            self.marked.lock().remove(&key);
            return Ok(None);
        };
        let now = Timestamp::now();
        let until = match plan::stay(&pod.tolerations, &no_execute(&node), now) {
            Stay::Forever => {
                if self.marked.lock().remove(&key) {
                    self.event(&pod, &format!("Cancelling deletion of Pod {key}"));
                }
                return Ok(None);
            }
            Stay::Until(until) => until,
        };
        if until > now {
            self.marked.lock().insert(key);
            return Ok(Some(Duration::try_from(until.duration_since(now)).unwrap_or_default()));
        }
        self.event(&pod, &format!("Marking for deletion Pod {key}"));
        self.evict(&pod).await?;
        self.marked.lock().remove(&key);
        Ok(None)
    }

    async fn evict(&self, pod: &SlimPod) -> Result<(), Error> {
        let api: Api<Pod> = Api::namespaced(self.context.client.clone(), &pod.namespace);
        if !pod.is_condition_true("DisruptionTarget") {
            let condition = json!({
                "type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager",
                "message": "Taint manager: deleting due to NoExecute taint",
                "lastTransitionTime": apimachinery::time::now_rfc3339(),
            });
            let patch = json!({ "metadata": { "uid": pod.uid }, "status": { "conditions": [condition] } });
            let written = api.patch_status(pod.name(), &PatchParams::default(), &Patch::Strategic(&patch)).await;
            ignore_not_found(written)?;
        }
        Ok(ignore_not_found(api.delete(pod.name(), &delete_uid(&pod.uid)).await)?)
    }

    fn event(&self, pod: &SlimPod, text: &str) {
        self.context.recorder.event(&pod.reference(), EventType::Normal, "TaintManagerEviction", text);
    }
}
