//! Which pods go first when there are too many.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use compact_str::CompactString;
use jiff::Timestamp;

use crate::pod::SlimPod;

const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// The `count` pods of `pods` that are worth least. `related` says how many related pods each node runs.
pub(super) fn to_delete(
    mut pods: Vec<Arc<SlimPod>>,
    related: &HashMap<CompactString, usize>,
    count: usize,
    now: Timestamp,
) -> Vec<Arc<SlimPod>> {
    if count < pods.len() {
        pods.sort_by(|a, b| compare(a, b, related, now));
        pods.truncate(count);
    }
    pods
}

/// Less means deleted earlier. The order of the criteria is upstream's: unassigned, pending, not ready, cheaper, on the
/// fuller node, ready for a shorter time (in powers of two), restarted more often, younger.
fn compare(a: &SlimPod, b: &SlimPod, related: &HashMap<CompactString, usize>, now: Timestamp) -> Ordering {
    let phase = |pod: &SlimPod| match pod.phase.as_str() {
        "Pending" | "" => 0,
        "Unknown" => 1,
        _ => 2,
    };
    let cost = |pod: &SlimPod| pod.annotation(DELETION_COST).and_then(|cost| cost.parse::<i32>().ok()).unwrap_or(0);
    let crowd = |pod: &SlimPod| related.get(&pod.node_name).copied().unwrap_or(0);
    let ready_since = |pod: &SlimPod| pod.condition("Ready").filter(|_| pod.is_ready()).and_then(|c| c.changed);
    let restarts = |pod: &SlimPod| pod.containers.iter().map(|c| c.restarts).max().unwrap_or(0);
    (!a.node_name.is_empty())
        .cmp(&!b.node_name.is_empty())
        .then_with(|| phase(a).cmp(&phase(b)))
        .then_with(|| a.is_ready().cmp(&b.is_ready()))
        .then_with(|| cost(a).cmp(&cost(b)))
        .then_with(|| crowd(b).cmp(&crowd(a)))
        .then_with(|| age(ready_since(a), now).cmp(&age(ready_since(b), now)))
        .then_with(|| restarts(b).cmp(&restarts(a)))
        .then_with(|| age(a.created, now).cmp(&age(b.created, now)))
        .then_with(|| a.uid.cmp(&b.uid))
}

/// The logarithm of an age, so that pods of about the same age count as equal and the choice among them is not always
/// the same node's. No time at all is the youngest.
fn age(since: Option<Timestamp>, now: Timestamp) -> i32 {
    let Some(since) = since else { return -1 };
    let seconds = u64::try_from(now.as_second() - since.as_second()).unwrap_or(0);
    seconds.checked_ilog2().and_then(|log| i32::try_from(log).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(name: &str, node: &str, ready: Option<i64>, cost: i32, restarts: i32, created: i64) -> Arc<SlimPod> {
        let time = |s: i64| Timestamp::from_second(s).unwrap().to_string();
        let condition: Value = match ready {
            Some(at) => json!([{ "type": "Ready", "status": "True", "lastTransitionTime": time(at) }]),
            None => json!([]),
        };
        let pod = json!({
            "metadata": { "name": name, "uid": name, "creationTimestamp": time(created),
                "annotations": { DELETION_COST: cost.to_string() } },
            "spec": { "nodeName": node },
            "status": { "phase": if node.is_empty() { "Pending" } else { "Running" }, "conditions": condition,
                "containerStatuses": [{ "name": "c", "restartCount": restarts }] }
        });
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn the_least_useful_goes_first() {
        let pods = vec![
            pod("old-and-ready", "n1", Some(0), 0, 0, 0),
            pod("young-and-ready", "n1", Some(99_000), 0, 0, 98_000),
            pod("expensive", "n1", Some(99_999), 10, 0, 99_000),
            pod("restarted", "n1", Some(0), 0, 5, 0),
            pod("on-the-full-node", "n2", Some(0), 0, 0, 0),
            pod("not-ready", "n1", None, 0, 0, 0),
            pod("unassigned", "", None, 0, 0, 0),
        ];
        let related = HashMap::from([("n1".into(), 1), ("n2".into(), 4)]);
        let order = to_delete(pods.clone(), &related, 6, Timestamp::from_second(100_000).unwrap());
        let names: Vec<_> = order.iter().map(|pod| pod.name.as_str()).collect();
        let wanted = ["unassigned", "not-ready", "on-the-full-node", "young-and-ready", "restarted", "old-and-ready"];
        assert_eq!(names, wanted);
    }
}
