//! When the node runs out of memory or disk, pods go before the kernel chooses: one at a time, those first that use
//! more than they asked for.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use client::EventType::Warning;
use k8s_openapi::api::core::v1::Pod;

use crate::kubelet::Kubelet;
use crate::names;
use crate::pod::PodExt as _;
use crate::resources;
use crate::status::PodFailure;

mod thresholds;

pub use thresholds::{Signal, Thresholds};

const INTERVAL: Duration = Duration::from_secs(10);
/// An evicted pod is given this long to end at most.
const GRACE: Duration = Duration::from_secs(10);
const CRITICAL: i32 = 2_000_000_000;

/// What the node runs out of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortage {
    pub signal: Signal,
    /// Bytes, inodes or processes, as the signal counts.
    pub available: u64,
    /// What there should be at least.
    pub wanted: u64,
}

/// Everything that the node is short of now. What cannot be measured is not short.
pub async fn shortages(kubelet: &Arc<Kubelet>) -> Vec<Shortage> {
    let image_fs = crate::gc::image_fs(kubelet).await.unwrap_or_default();
    thresholds::shortages(&kubelet.config.eviction_hard, |signal| {
        thresholds::observe(signal, kubelet, image_fs.as_ref())
    })
}

/// Looks now and then, until it is dropped.
pub async fn run(kubelet: Arc<Kubelet>) {
    let mut images = crate::gc::ImageGc::new();
    loop {
        tokio::time::sleep(INTERVAL).await;
        let Some(mut shortage) = shortages(&kubelet).await.first().copied() else { continue };
        if shortage.signal.is_disk() {
            // Images that nobody uses cost nobody anything.
            if let Err(error) = images.collect(&kubelet).await {
                tracing::warn!(%error, "images were not collected");
            }
            let Some(left) = shortages(&kubelet).await.first().copied() else { continue };
            shortage = left;
        }
        evict_one(&kubelet, shortage).await;
    }
}

async fn evict_one(kubelet: &Arc<Kubelet>, shortage: Shortage) {
    let usage = usage(kubelet, shortage).await;
    let resource = shortage.signal.resource();
    let pods = kubelet.active_pods("");
    // One is on its way out already: see first what that brings.
    if pods.iter().any(|pod| pod.is_deleting()) {
        return;
    }
    let Some((pod, used)) = choose(&pods, &usage, resource) else {
        tracing::warn!(?shortage, "the node is short of a resource, and there is no pod to evict");
        return;
    };
    let message = message(&pod, shortage, used);
    kubelet.events.pod(&pod, Warning, "Evicted", &message);
    tracing::warn!(pod = pod.describe(), message, "pod evicted");
    kubelet.evict(pod.uid(), PodFailure { reason: EVICTED.to_owned(), message }, GRACE);
}

pub const EVICTED: &str = "Evicted";

/// By pod uid: how much it uses of what is short.
async fn usage(kubelet: &Arc<Kubelet>, shortage: Shortage) -> HashMap<String, u64> {
    let mut usage: HashMap<String, u64> = HashMap::new();
    for stats in kubelet.runtime.list_container_stats().await.unwrap_or_default() {
        let uid = stats.attributes.as_ref().and_then(|a| a.labels.get(names::POD_UID).cloned()).unwrap_or_default();
        let layer = stats.writable_layer;
        let used = match shortage.signal {
            Signal::MemoryAvailable => stats.memory.and_then(|m| m.working_set_bytes),
            Signal::NodefsAvailable | Signal::ImagefsAvailable => layer.and_then(|l| l.used_bytes),
            Signal::NodefsInodesFree | Signal::ImagefsInodesFree => layer.and_then(|l| l.inodes_used),
            // The runtime does not tell processes apart: priority decides.
            Signal::PidAvailable => None,
        };
        *usage.entry(uid).or_default() += used.map_or(0, |b| b.value);
    }
    usage
}

/// Over its request first, then the lowest priority, then the most over.
fn choose(pods: &[Arc<Pod>], usage: &HashMap<String, u64>, resource: &str) -> Option<(Arc<Pod>, u64)> {
    let candidates = pods.iter().filter(|p| !p.is_static() && p.pod_spec().priority.unwrap_or(0) < CRITICAL);
    let rank = |pod: &Arc<Pod>| {
        let used = usage.get(pod.uid()).copied().unwrap_or(0);
        let requested = resources::pod_request_milli(pod.pod_spec(), resource) / 1000;
        let over = i64::try_from(used).unwrap_or(i64::MAX) - requested;
        (over > 0, std::cmp::Reverse(pod.pod_spec().priority.unwrap_or(0)), over)
    };
    let chosen = candidates.max_by_key(|pod| rank(pod))?;
    Some((chosen.clone(), usage.get(chosen.uid()).copied().unwrap_or(0)))
}

fn message(pod: &Pod, shortage: Shortage, used: u64) -> String {
    let amount =
        |count: u64| if shortage.signal.counts_bytes() { format!("{}Ki", count / 1024) } else { count.to_string() };
    let resource = shortage.signal.resource();
    let requested = resources::pod_request_milli(pod.pod_spec(), resource) / 1000;
    format!(
        "The node was low on resource: {resource}. Threshold quantity: {}, available: {}. \
         The pod was using {}, request is {}.",
        amount(shortage.wanted),
        amount(shortage.available),
        amount(used),
        amount(requested.unsigned_abs())
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn who_uses_more_than_asked_goes_first() {
        let pod = |uid: &str, priority: i32, memory: &str| -> Arc<Pod> {
            let pod = json!({"metadata": {"uid": uid}, "spec": {"priority": priority, "containers": [
                {"name": "c", "resources": {"requests": {"memory": memory}}}]}});
            Arc::new(serde_json::from_value(pod).expect("a pod"))
        };
        let pods = [
            pod("modest", 0, "1Gi"),
            pod("greedy", 0, "1Mi"),
            pod("important", 100, "0"),
            pod("system", CRITICAL, "0"),
        ];
        let usage: HashMap<String, u64> =
            [("modest", 900 << 20), ("greedy", 50 << 20), ("important", 800 << 20), ("system", 1 << 40)]
                .map(|(uid, bytes)| (uid.to_owned(), bytes))
                .into();
        let name = |pods: &[Arc<Pod>]| choose(pods, &usage, "memory").map(|(pod, _)| pod.uid().to_owned());
        assert_eq!(name(&pods).as_deref(), Some("greedy"));
        assert_eq!(name(&[pods[0].clone(), pods[2].clone()]).as_deref(), Some("important"));
        assert_eq!(name(&[pods[3].clone()]), None);
    }
}
