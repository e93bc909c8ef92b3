//! In which order pods end when the machine goes down, and how long each may take. Pure.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;

use crate::pod::PodExt as _;

/// From this priority on a pod is critical, as `system-cluster-critical` is.
const CRITICAL: i32 = 2_000_000_000;

/// How long the machine's end is held up for pods. Upstream's `shutdownGracePeriod` and `shutdownGracePeriodCriticalPods`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grace {
    /// For all pods together.
    pub total: Duration,
    /// The part of it that is kept for critical pods, which end last.
    pub critical: Duration,
}

/// Pods that end together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The next group's turn comes after this, whether or not all have ended.
    pub limit: Duration,
    /// By uid, with the grace period of each.
    pub pods: Vec<(String, Duration)>,
}

/// The groups in their order. A pod gets its own grace period, but no more than its group has; groups without pods take no
/// time, nor does one without time: its pods are killed.
pub fn groups(pods: &[Arc<Pod>], grace: Grace) -> Vec<Group> {
    let critical: fn(&Pod) -> bool = |pod| pod.pod_spec().priority.unwrap_or(0) >= CRITICAL;
    let (last, first): (Vec<_>, Vec<_>) = pods.iter().partition(|pod| critical(pod));
    let group = |pods: Vec<&Arc<Pod>>, limit: Duration| {
        let own = |pod: &Pod| Duration::from_secs(u64::try_from(pod.grace_period_seconds()).unwrap_or(0));
        Group { limit, pods: pods.iter().map(|pod| (pod.uid().to_owned(), own(pod).min(limit))).collect() }
    };
    let groups = [group(first, grace.total.saturating_sub(grace.critical)), group(last, grace.critical)];
    groups.into_iter().filter(|group| !group.pods.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(uid: &str, priority: Option<i32>, grace: i64) -> Arc<Pod> {
        let pod = json!({"metadata": {"uid": uid},
            "spec": {"priority": priority, "terminationGracePeriodSeconds": grace, "containers": []}});
        Arc::new(serde_json::from_value(pod).expect("a pod"))
    }

    #[test]
    fn critical_pods_end_last_and_nobody_has_more_than_the_group() {
        let low = pod("low", Some(-5), 1);
        let (plain, slow) = (pod("plain", None, 5), pod("slow", Some(10), 300));
        let (almost, critical) = (pod("almost", Some(CRITICAL - 1), 30), pod("critical", Some(CRITICAL), 30));
        let node = pod("node", Some(CRITICAL + 1000), 4);
        let all = [node.clone(), low.clone(), plain.clone(), critical.clone(), slow.clone(), almost.clone()];
        type Case<'a> = (&'a str, &'a [Arc<Pod>], (u64, u64), &'a [(u64, &'a [(&'a str, u64)])]);
        let cases: &[Case<'_>] = &[
            ("no pods", &[], (30, 10), &[]),
            ("only plain ones", &[plain.clone(), slow.clone()], (30, 10), &[(20, &[("plain", 5), ("slow", 20)])]),
            (
                "only critical ones wait for nobody",
                std::slice::from_ref(&critical),
                (30, 10),
                &[(10, &[("critical", 10)])],
            ),
            (
                "both",
                &all,
                (30, 10),
                &[
                    (20, &[("low", 1), ("plain", 5), ("slow", 20), ("almost", 20)]),
                    (10, &[("node", 4), ("critical", 10)]),
                ],
            ),
            (
                "all the time is for critical ones",
                &all[2..4],
                (10, 10),
                &[(0, &[("plain", 0)]), (10, &[("critical", 10)])],
            ),
            ("none is", &all[2..4], (10, 0), &[(10, &[("plain", 5)]), (0, &[("critical", 0)])]),
        ];
        for (name, pods, (total, critical), want) in cases {
            let grace = Grace { total: Duration::from_secs(*total), critical: Duration::from_secs(*critical) };
            let got = groups(pods, grace);
            let got: Vec<(u64, Vec<(&str, u64)>)> = got
                .iter()
                .map(|g| {
                    (g.limit.as_secs(), g.pods.iter().map(|(uid, grace)| (uid.as_str(), grace.as_secs())).collect())
                })
                .collect();
            let want: Vec<(u64, Vec<(&str, u64)>)> = want.iter().map(|(limit, pods)| (*limit, pods.to_vec())).collect();
            assert_eq!(got, want, "{name}");
        }
    }
}
