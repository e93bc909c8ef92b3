//! Counting and status, without I/O.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::kind::{ReplicaCondition, ReplicaKind, ReplicaStatus};
use crate::pod::SlimPod;

/// Pods to create (positive) or to delete (negative).
pub(super) fn lacks<K: ReplicaKind>(set: &K, pods: &[Arc<SlimPod>]) -> i64 {
    let active = pods.iter().filter(|pod| pod.is_active()).count();
    i64::from(set.replicas()) - i64::try_from(active).unwrap_or(i64::MAX)
}

/// The status as it should be. `failure` is the server's refusal and how many pods were lacking.
pub(super) fn status<K: ReplicaKind>(
    set: &K,
    pods: &[Arc<SlimPod>],
    failure: Option<(&str, i64)>,
    now: Timestamp,
) -> ReplicaStatus {
    let current = set.status();
    let template_labels = set.template().and_then(|t| t.metadata.as_ref()).and_then(|m| m.labels.as_ref());
    let labeled = |pod: &SlimPod| template_labels.into_iter().flatten().all(|(k, v)| pod.label(k) == Some(v.as_str()));
    let active: Vec<_> = pods.iter().filter(|pod| pod.is_active()).collect();
    let count = |filter: &dyn Fn(&SlimPod) -> bool| to_i32(active.iter().filter(|pod| filter(pod)).count());
    ReplicaStatus {
        replicas: to_i32(active.len()),
        fully_labeled: count(&labeled),
        ready: count(&SlimPod::is_ready),
        available: count(&|pod| pod.is_available(set.min_ready_seconds(), now)),
        terminating: K::COUNTS_TERMINATING
            .then(|| to_i32(pods.iter().filter(|p| p.is_deleting() && !p.is_finished()).count())),
        observed_generation: set.metadata().generation,
        conditions: conditions(&current.conditions, failure, now),
    }
}

fn conditions(current: &[ReplicaCondition], failure: Option<(&str, i64)>, now: Timestamp) -> Vec<ReplicaCondition> {
    const KIND: &str = "ReplicaFailure";
    let mut conditions: Vec<_> = current.iter().filter(|c| c.kind != KIND).cloned().collect();
    match (failure, current.iter().find(|c| c.kind == KIND)) {
        (None, _) => {}
        // The first failure stays until it is over: the texts of later ones often differ only in a pod's name.
        (Some(_), Some(existing)) => conditions.push(existing.clone()),
        (Some((message, lacked)), None) => conditions.push(ReplicaCondition {
            kind: KIND.into(),
            status: "True".into(),
            reason: Some(if lacked > 0 { "FailedCreate" } else { "FailedDelete" }.into()),
            message: Some(message.into()),
            changed: Some(now),
        }),
    }
    conditions
}

/// When the next ready pod becomes available, if one is still to.
pub(super) fn next_available<K: ReplicaKind>(set: &K, pods: &[Arc<SlimPod>], now: Timestamp) -> Option<Duration> {
    let waits = pods.iter().filter(|pod| pod.is_active()).map(|pod| pod.available_in(set.min_ready_seconds(), now));
    waits.filter(|wait| !wait.is_zero()).min()
}

fn to_i32(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use crate::owner::{Claim, filter_claimed};
    use k8s_openapi::api::apps::v1::ReplicaSet;
    use serde_json::{Value, json};

    use super::*;

    fn set(replicas: i32, status: Value) -> ReplicaSet {
        serde_json::from_value(json!({
            "metadata": { "name": "rs", "namespace": "ns", "uid": "r", "generation": 3 },
            "spec": {
                "replicas": replicas, "minReadySeconds": 10, "selector": { "matchLabels": { "a": "b" } },
                "template": { "metadata": { "labels": { "a": "b", "v": "1" } } }
            },
            "status": status
        }))
        .unwrap()
    }

    fn pod(owner: Option<&str>, extra: Value) -> Arc<SlimPod> {
        let mut pod = json!({
            "metadata": { "name": "p", "namespace": "ns", "uid": "p", "labels": { "a": "b", "v": "1" } },
            "status": { "phase": "Running", "conditions": [
                { "type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z" }] }
        });
        if let Some(uid) = owner {
            pod["metadata"]["ownerReferences"] = json!([{ "uid": uid, "controller": true }]);
        }
        for (path, value) in extra.as_object().unwrap() {
            *pod.pointer_mut(path.rsplit_once('/').unwrap().0).unwrap() = {
                let (parent, field) = path.rsplit_once('/').unwrap();
                let mut parent = pod.pointer(parent).unwrap().clone();
                parent[field] = value.clone();
                parent
            };
        }
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn at(seconds: i64) -> Timestamp {
        "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap() + jiff::SignedDuration::from_secs(seconds)
    }

    #[test]
    fn pods_are_claimed_by_uid_and_selector() {
        let pods = [
            ("owned", pod(Some("r"), json!({}))),
            ("other's", pod(Some("x"), json!({}))),
            ("release", pod(Some("r"), json!({ "/metadata/labels": { "a": "c" } }))),
            ("adopt", pod(None, json!({}))),
            ("leave", pod(None, json!({ "/metadata/labels": { "a": "c" } }))),
            ("leave", pod(None, json!({ "/metadata/deletionTimestamp": "2026-01-01T00:00:00Z" }))),
        ];
        let matches = |pod: &SlimPod| pod.label("a") == Some("b");
        let claim = |deleting| {
            let claimed = filter_claimed(&Claim { uid: "r", deleting }, pods.iter().map(|(_, p)| p.clone()), matches);
            (claimed.owned.len(), claimed.adopt.len(), claimed.release.len())
        };
        assert_eq!(claim(false), (1, 1, 1));
        assert_eq!(claim(true), (1, 0, 0), "a set that is going away takes and gives nothing");
    }

    #[test]
    fn terminal_and_terminating_pods_do_not_count() {
        let pods = [
            pod(Some("r"), json!({})),
            pod(Some("r"), json!({ "/status/phase": "Failed" })),
            pod(Some("r"), json!({ "/metadata/deletionTimestamp": "2026-01-01T00:00:00Z" })),
            pod(Some("r"), json!({ "/metadata/labels": { "a": "b" } })),
        ];
        assert_eq!(lacks(&set(3, Value::Null), &pods), 1);
        let status = status(&set(3, Value::Null), &pods, None, at(5));
        assert_eq!((status.replicas, status.fully_labeled, status.ready, status.available), (2, 1, 2, 0));
        assert_eq!(status.observed_generation, Some(3));
        assert_eq!(next_available(&set(3, Value::Null), &pods, at(4)), Some(Duration::from_secs(6)));
        assert_eq!(next_available(&set(3, Value::Null), &pods, at(10)), None);
    }

    #[test]
    fn a_refusal_is_a_condition_until_it_is_over() {
        let none = set(2, Value::Null);
        let failed = status(&none, &[], Some(("exceeded quota", 2)), at(0));
        assert_eq!(failed.conditions[0].reason.as_deref(), Some("FailedCreate"));
        let mut next = none.clone();
        next.set_status(&failed);
        assert_eq!(status(&next, &[], Some(("other text", 2)), at(9)), failed);
        assert!(status(&next, &[], None, at(9)).conditions.is_empty());
    }
}
