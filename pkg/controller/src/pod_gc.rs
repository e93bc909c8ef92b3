//! Pods that nobody else removes: those of nodes that are gone, those that were never placed and are to go, and the
//! oldest ended ones when there are too many.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use client::{Cached as _, Change, ObjectKey, Scope, Store, WorkQueue};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::{Patch, PatchParams};
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::Instant;

use crate::pod::SlimPod;
use crate::skeleton::{Context, Error, SyncResult, Tasks, delete_uid, ignore_not_found};

const NAME: &str = "pod_gc";
const WORKERS: usize = 2;
/// Ended pods that are kept.
const ENDED_MAX: usize = 12_500;
/// A node has to be gone for this long before its pods are taken for lost: it may only be registering again.
const QUARANTINE: Duration = Duration::from_secs(40);

struct Controller {
    pods: Store<SlimPod>,
    nodes: Store<Node>,
    /// Since when the node of a pod was found missing.
    missing: Mutex<HashMap<ObjectKey, Instant>>,
    context: Context,
}

/// Runs the controller until shutdown.
pub async fn run(context: Context) -> Result<(), Error> {
    let pods = context.informers.get::<SlimPod>(Scope::all());
    let nodes = context.informers.get::<Node>(Scope::all());
    pods.synced().await;
    nodes.synced().await;
    let queue: WorkQueue<ObjectKey> = WorkQueue::new(NAME);
    let by_node = crate::node::lifecycle::pods_by_node(&pods.store());
    let ended = pods.store().index("ended", |pod| if pod.is_finished() { vec!["".into()] } else { Vec::new() });
    let mut tasks = Tasks::new();
    tasks.feed(&nodes, {
        let queue = queue.clone();
        move |change: &Change<Node>| {
            if change.new.is_none() {
                for pod in by_node.get(&change.key.name) {
                    queue.add(ObjectKey::of(&*pod));
                }
            }
        }
    });
    tasks.feed(&pods, {
        let (queue, nodes, ended) = (queue.clone(), nodes.store(), ended.clone());
        move |change: &Change<SlimPod>| {
            let Some(pod) = &change.new else { return };
            let lost = !pod.node_name.is_empty() && nodes.get("", &pod.node_name).is_none();
            let unplaced = pod.is_deleting() && pod.node_name.is_empty();
            if lost || unplaced {
                queue.add(change.key.clone());
            }
            if pod.is_finished() && ended.count("") > ENDED_MAX {
                queue.add(too_many());
            }
        }
    });
    let controller = Arc::new(Controller {
        pods: pods.store(),
        nodes: nodes.store(),
        missing: Mutex::default(),
        context: context.clone(),
    });
    let more = queue.clone();
    tasks.work(NAME, &queue, WORKERS, move |key| {
        let (controller, ended) = (controller.clone(), ended.clone());
        if key == too_many() {
            oldest_beyond(ENDED_MAX, ended.get("")).for_each(|key| more.add(key));
        }
        async move { controller.sync(key, ended.count("")).await }
    });
    tasks.run(&context.shutdown).await
}

/// Names no pod: stands for those that ended and are too many, which are looked for beside the events.
fn too_many() -> ObjectKey {
    ObjectKey::default()
}

/// The oldest, if there are more than `keep`.
fn oldest_beyond(keep: usize, mut ended: Vec<Arc<SlimPod>>) -> impl Iterator<Item = ObjectKey> {
    let excess = ended.len().saturating_sub(keep);
    ended.sort_unstable_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)));
    ended.into_iter().take(excess).map(|pod| ObjectKey::of(&*pod))
}

impl Controller {
    async fn sync(&self, key: ObjectKey, ended: usize) -> SyncResult {
        let Some(pod) = self.pods.get_key(&key) else {
            self.missing.lock().remove(&key);
            return Ok(None);
        };
        if pod.node_name.is_empty() {
            if pod.is_deleting() {
                // No kubelet will ever confirm this one.
                self.delete(&pod).await?;
            }
            return Ok(None);
        }
        if self.nodes.get("", &pod.node_name).is_some() {
            self.missing.lock().remove(&key);
            if pod.is_finished() && ended > ENDED_MAX {
                self.delete(&pod).await?;
            }
            return Ok(None);
        }
        let since = *self.missing.lock().entry(key.clone()).or_insert_with(Instant::now);
        let left = QUARANTINE.saturating_sub(since.elapsed());
        if !left.is_zero() {
            return Ok(Some(left));
        }
        let nodes: Api<Node> = Api::all(self.context.client.clone());
        if nodes.get_opt(&pod.node_name).await?.is_some() {
            return Ok(None);
        }
        self.fail(&pod).await?;
        self.delete(&pod).await?;
        self.missing.lock().remove(&key);
        Ok(None)
    }

    /// What ran there ended without anyone to report it.
    async fn fail(&self, pod: &SlimPod) -> Result<(), Error> {
        if pod.is_finished() {
            return Ok(());
        }
        let condition = json!({
            "type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC",
            "message": "PodGC: node no longer exists", "lastTransitionTime": apimachinery::time::now_rfc3339(),
        });
        let patch =
            json!({ "metadata": { "uid": pod.uid }, "status": { "phase": "Failed", "conditions": [condition] } });
        let api: Api<Pod> = Api::namespaced(self.context.client.clone(), &pod.namespace);
        let written = api.patch_status(pod.name(), &PatchParams::default(), &Patch::Strategic(&patch)).await;
        Ok(ignore_not_found(written)?)
    }

    async fn delete(&self, pod: &SlimPod) -> Result<(), Error> {
        let api: Api<Pod> = Api::namespaced(self.context.client.clone(), &pod.namespace);
        let mut params = delete_uid(&pod.uid);
        params.grace_period_seconds = Some(0);
        Ok(ignore_not_found(api.delete(pod.name(), &params).await)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_too_many() {
        let pod = |name: &str, second| {
            let created = jiff::Timestamp::from_second(second).ok();
            Arc::new(SlimPod { name: name.into(), created, ..SlimPod::default() })
        };
        let pods = vec![pod("late", 9), pod("b", 3), pod("a", 3), pod("old", 1)];
        let names = |keep| oldest_beyond(keep, pods.clone()).map(|key| key.name.to_string()).collect::<Vec<_>>();
        assert_eq!(names(2), ["old", "a"]);
        assert!(names(4).is_empty() && names(9).is_empty());
    }
}
