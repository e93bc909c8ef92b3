//! The next steps of a StatefulSet and its status, without I/O.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetStatus};

use crate::history::HASH_LABEL;
use crate::pod::SlimPod;

/// Revisions by name.
#[derive(Clone, Debug)]
pub(super) struct Revisions {
    /// What pods ran before the rollout.
    pub current: String,
    pub update: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Make the pod of this ordinal from this revision.
    Create(i32, String),
    /// Make the claims of a pod that is there but waits for them.
    Claims(i32),
    Delete(String),
    /// Delete a pod that has ended, so that it can be made again.
    Replace(String),
}

pub(super) fn replicas(set: &StatefulSet) -> i32 {
    set.spec.replicas.unwrap_or(1)
}

pub(super) fn start(set: &StatefulSet) -> i32 {
    set.spec.ordinals.as_ref().and_then(|ordinals| ordinals.start).unwrap_or(0)
}

fn is_parallel(set: &StatefulSet) -> bool {
    set.spec.pod_management_policy.as_deref() == Some("Parallel")
}

/// From which ordinal on pods are updated; `None` if they are only when someone deletes them.
fn partition(set: &StatefulSet) -> Option<i32> {
    let strategy = set.spec.update_strategy.as_ref();
    if strategy.and_then(|s| s.type_.as_deref()) == Some("OnDelete") {
        return None;
    }
    Some(strategy.and_then(|s| s.rolling_update.as_ref()).and_then(|rolling| rolling.partition).unwrap_or(0))
}

/// The ordinal in a pod's name, if it is one of the set's.
pub(super) fn ordinal(set: &StatefulSet, pod: &SlimPod) -> Option<i32> {
    let rest = pod.name.strip_prefix(set.metadata.name.as_deref()?)?.strip_prefix('-')?;
    let number: i32 = rest.parse().ok()?;
    // `web-01` is not the pod of ordinal 1.
    (number.to_string() == rest).then_some(number)
}

fn revision(pod: &SlimPod) -> &str {
    pod.label(HASH_LABEL).unwrap_or("")
}

struct View<'a> {
    set: &'a StatefulSet,
    revisions: &'a Revisions,
    now: Timestamp,
    /// The pods of the ordinals that should be.
    pods: BTreeMap<i32, Option<Arc<SlimPod>>>,
    /// The pods of other ordinals, the highest first.
    condemned: Vec<Arc<SlimPod>>,
}

impl<'a> View<'a> {
    fn new(set: &'a StatefulSet, pods: &[Arc<SlimPod>], revisions: &'a Revisions, now: Timestamp) -> Self {
        let range = start(set)..start(set) + replicas(set);
        let mut wanted: BTreeMap<i32, Option<Arc<SlimPod>>> = range.map(|i| (i, None)).collect();
        let mut condemned = BTreeMap::new();
        for pod in pods {
            let Some(ordinal) = ordinal(set, pod) else { continue };
            match wanted.get_mut(&ordinal) {
                Some(slot) => *slot = Some(pod.clone()),
                None => drop(condemned.insert(ordinal, pod.clone())),
            }
        }
        Self { set, revisions, now, pods: wanted, condemned: condemned.into_values().rev().collect() }
    }

    fn is_available(&self, pod: &SlimPod) -> bool {
        is_running_and_ready(pod) && pod.is_available(self.set.spec.min_ready_seconds.unwrap_or(0), self.now)
    }

    /// The revision that a new pod of the ordinal gets: below the partition the old one.
    fn revision_for(&self, ordinal: i32) -> String {
        let old = partition(self.set).is_some_and(|partition| ordinal < start(self.set) + partition);
        if old { self.revisions.current.clone() } else { self.revisions.update.clone() }
    }

    fn fill(&self, steps: &mut Vec<Step>) -> bool {
        let ordered = !is_parallel(self.set);
        for (ordinal, pod) in &self.pods {
            let waits = match pod {
                None => {
                    steps.push(Step::Create(*ordinal, self.revision_for(*ordinal)));
                    true
                }
                Some(pod) if pod.is_deleting() => true,
                Some(pod) if pod.is_finished() => {
                    steps.push(Step::Replace(pod.name.to_string()));
                    true
                }
                Some(pod) => {
                    if pod.phase == "Pending" {
                        steps.push(Step::Claims(*ordinal));
                    }
                    !self.is_available(pod)
                }
            };
            if waits && ordered {
                return false;
            }
        }
        true
    }

    fn shrink(&self, steps: &mut Vec<Step>) -> bool {
        let ordered = !is_parallel(self.set);
        let unhealthy = |pod: &&Arc<SlimPod>| pod.is_deleting() || !is_running_and_ready(pod);
        let wanted = self.pods.values().flatten().find(unhealthy);
        let first_unhealthy = wanted.or_else(|| self.condemned.iter().rev().find(unhealthy)).map(|pod| pod.uid.clone());
        for pod in &self.condemned {
            if pod.is_deleting() {
                if ordered {
                    return false;
                }
                continue;
            }
            // One that is not well itself may go, but not while a lower one is not well.
            if ordered && !is_running_and_ready(pod) && first_unhealthy.as_ref() != Some(&pod.uid) {
                return false;
            }
            steps.push(Step::Delete(pod.name.to_string()));
            if ordered {
                return false;
            }
        }
        true
    }

    /// One pod at a time, the highest ordinal first, and only while those above are well.
    fn update(&self, steps: &mut Vec<Step>) {
        let Some(partition) = partition(self.set) else { return };
        for (_, pod) in self.pods.range(start(self.set) + partition..).rev() {
            let Some(pod) = pod else { return };
            if revision(pod) != self.revisions.update && !pod.is_deleting() {
                steps.push(Step::Delete(pod.name.to_string()));
                return;
            }
            if pod.is_deleting() || !self.is_available(pod) {
                return;
            }
        }
    }
}

fn is_running_and_ready(pod: &SlimPod) -> bool {
    pod.phase == "Running" && pod.is_ready()
}

/// What to do now; after it has been seen, there may be more.
pub(super) fn steps(set: &StatefulSet, pods: &[Arc<SlimPod>], revisions: &Revisions, now: Timestamp) -> Vec<Step> {
    let view = View::new(set, pods, revisions, now);
    let mut steps = Vec::new();
    if view.fill(&mut steps) && view.shrink(&mut steps) && !steps.iter().any(|step| !matches!(step, Step::Claims(_))) {
        view.update(&mut steps);
    }
    steps
}

/// When a ready pod becomes available, if one is still to.
pub(super) fn next_available(set: &StatefulSet, pods: &[Arc<SlimPod>], now: Timestamp) -> Option<Duration> {
    let min_ready = set.spec.min_ready_seconds.unwrap_or(0);
    pods.iter().map(|pod| pod.available_in(min_ready, now)).filter(|wait| !wait.is_zero()).min()
}

pub(super) fn status(
    set: &StatefulSet,
    pods: &[Arc<SlimPod>],
    revisions: &Revisions,
    collisions: Option<i32>,
    now: Timestamp,
) -> StatefulSetStatus {
    let view = View::new(set, pods, revisions, now);
    let all: Vec<&Arc<SlimPod>> = view.pods.values().flatten().chain(&view.condemned).collect();
    let count = |filter: &dyn Fn(&SlimPod) -> bool| {
        i32::try_from(all.iter().filter(|pod| filter(pod)).count()).unwrap_or(i32::MAX)
    };
    let of = |name: &str| count(&|pod| !pod.is_deleting() && revision(pod) == name);
    let total = count(&|_| true);
    let ready = count(&is_running_and_ready);
    let (mut current, updated) = (of(&revisions.current), of(&revisions.update));
    let mut current_revision = revisions.current.clone();
    // The rollout is over when every pod is of the new revision and well.
    let whole = partition(set) == Some(0) || revisions.current == revisions.update;
    if whole && updated == total && ready == total && total == replicas(set) {
        current_revision.clone_from(&revisions.update);
        current = updated;
    }
    let nonzero = |number: i32| (number != 0).then_some(number);
    StatefulSetStatus {
        observed_generation: set.metadata.generation,
        replicas: total,
        ready_replicas: nonzero(ready),
        available_replicas: Some(count(&|pod| view.is_available(pod))),
        current_replicas: nonzero(current),
        updated_replicas: nonzero(updated),
        current_revision: Some(current_revision),
        update_revision: Some(revisions.update.clone()),
        collision_count: collisions.or(Some(0)),
        conditions: set.status.as_ref().and_then(|status| status.conditions.clone()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn set(replicas: i32, extra: Value) -> StatefulSet {
        let mut spec = json!({ "replicas": replicas, "selector": {}, "template": {}, "serviceName": "s" });
        for (key, value) in extra.as_object().unwrap() {
            spec[key] = value.clone();
        }
        serde_json::from_value(json!({ "metadata": { "name": "web" }, "spec": spec })).unwrap()
    }

    fn pod(ordinal: i32, revision: &str, state: &str) -> Arc<SlimPod> {
        let phase = match state {
            "ready" | "unready" | "deleting" => "Running",
            other => other,
        };
        let mut pod = json!({ "metadata": { "name": format!("web-{ordinal}"), "uid": format!("u{ordinal}"), "labels": { HASH_LABEL: revision } },
            "status": { "phase": phase, "conditions": [{ "type": "Ready", "status": if state == "unready" { "False" } else { "True" } }] } });
        if state == "deleting" {
            pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        }
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn run(set: &StatefulSet, pods: &[Arc<SlimPod>]) -> Vec<Step> {
        let revisions = Revisions { current: "old".into(), update: "new".into() };
        steps(set, pods, &revisions, Timestamp::now())
    }

    fn create(ordinal: i32) -> Step {
        Step::Create(ordinal, "new".into())
    }

    fn delete(ordinal: i32) -> Step {
        Step::Delete(format!("web-{ordinal}"))
    }

    #[test]
    fn pods_come_in_order_each_when_the_one_before_is_ready() {
        let three = set(3, json!({}));
        assert_eq!(run(&three, &[]), [create(0)]);
        assert_eq!(run(&three, &[pod(0, "new", "unready")]), []);
        assert_eq!(run(&three, &[pod(0, "new", "ready")]), [create(1)]);
        assert_eq!(run(&three, &[pod(0, "new", "ready"), pod(2, "new", "ready")]), [create(1)]);
        assert_eq!(run(&three, &[pod(0, "new", "Failed"), pod(1, "new", "ready")]), [Step::Replace("web-0".into())]);
        assert_eq!(run(&three, &[pod(0, "new", "deleting")]), []);
        assert_eq!(run(&set(2, json!({ "ordinals": { "start": 5 } })), &[pod(5, "new", "ready")]), [create(6)]);
        let parallel = set(3, json!({ "podManagementPolicy": "Parallel" }));
        assert_eq!(run(&parallel, &[pod(1, "new", "unready")]), [create(0), create(2)]);
    }

    #[test]
    fn pods_go_from_the_highest_and_one_at_a_time() {
        let one = set(1, json!({}));
        let pods = [pod(0, "new", "ready"), pod(1, "new", "ready"), pod(2, "new", "ready")];
        assert_eq!(run(&one, &pods), [delete(2)]);
        assert_eq!(run(&one, &[pods[0].clone(), pods[1].clone(), pod(2, "new", "deleting")]), []);
        assert_eq!(run(&one, &[pod(0, "new", "unready"), pods[1].clone()]), [], "not while a lower one is not well");
        assert_eq!(
            run(&set(0, json!({ "podManagementPolicy": "Parallel" })), &pods),
            [delete(2), delete(1), delete(0)]
        );
    }

    #[test]
    fn updates_go_from_the_highest_down_to_the_partition() {
        let roll = |partition: i32| {
            set(
                3,
                json!({ "updateStrategy": { "type": "RollingUpdate", "rollingUpdate": { "partition": partition } } }),
            )
        };
        let old = [pod(0, "old", "ready"), pod(1, "old", "ready"), pod(2, "old", "ready")];
        assert_eq!(run(&roll(0), &old), [delete(2)]);
        assert_eq!(run(&roll(0), &[old[0].clone(), old[1].clone(), pod(2, "new", "unready")]), []);
        assert_eq!(run(&roll(0), &[old[0].clone(), old[1].clone(), pod(2, "new", "ready")]), [delete(1)]);
        assert_eq!(run(&roll(2), &[old[0].clone(), old[1].clone(), pod(2, "new", "ready")]), []);
        assert_eq!(run(&roll(2), &[old[0].clone(), pod(2, "new", "ready")]), [Step::Create(1, "old".into())]);
        assert_eq!(run(&set(3, json!({ "updateStrategy": { "type": "OnDelete" } })), &old), []);
    }

    #[test]
    fn a_rollout_ends_when_all_are_new_and_well() {
        let three = set(3, json!({}));
        let revisions = Revisions { current: "old".into(), update: "new".into() };
        let mut pods = vec![pod(0, "old", "ready"), pod(1, "new", "ready"), pod(2, "new", "ready")];
        let during = status(&three, &pods, &revisions, None, Timestamp::now());
        assert_eq!(
            (during.current_revision.as_deref(), during.current_replicas, during.updated_replicas),
            (Some("old"), Some(1), Some(2))
        );
        pods[0] = pod(0, "new", "ready");
        let after = status(&three, &pods, &revisions, None, Timestamp::now());
        assert_eq!((after.current_revision.as_deref(), after.current_replicas), (Some("new"), Some(3)));
    }

    #[test]
    fn names_are_exact() {
        let named = |name: &str| ordinal(&set(1, json!({})), &SlimPod { name: name.into(), ..SlimPod::default() });
        assert_eq!(["web-7", "web-07", "web-x", "web-a-1", "other-1"].map(named), [Some(7), None, None, None, None]);
    }
}
