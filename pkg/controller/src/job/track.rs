//! Counting finished pods: each exactly once.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{JobSpec, UncountedTerminatedPods};

use super::index::Indexes;
use super::plan::{Backoff, INDEX_FAILURES, Plan, count, index_of, is_tracked, nonzero};
use super::policy::{self, Action};
use crate::pod::SlimPod;

/// The job and its pods as this sync sees them.
pub(super) struct View<'a> {
    pub spec: &'a JobSpec,
    pub pods: &'a [Arc<SlimPod>],
    pub active: Vec<Arc<SlimPod>>,
    pub terminating: i32,
    pub now: Timestamp,
}

/// What was counted so far, new finds included.
#[derive(Default)]
pub(super) struct Counted {
    pub succeeded: i32,
    pub failed: i32,
    pub succeeded_indexes: Indexes,
    pub failed_indexes: Indexes,
    /// Failures by index, for pods that are there or gone.
    pub index_failures: HashMap<i32, u32>,
    /// Something is still between a finished pod and its count.
    pub open: bool,
    pub fail_job: Option<String>,
}

impl View<'_> {
    pub(super) fn is_indexed(&self) -> bool {
        self.spec.completion_mode.as_deref() == Some("Indexed")
    }

    pub(super) fn per_index(&self) -> bool {
        self.spec.backoff_limit_per_index.is_some()
    }

    pub(super) fn only_replaces_failed(&self) -> bool {
        self.spec.pod_replacement_policy.as_deref() == Some("Failed") || self.spec.pod_failure_policy.is_some()
    }

    pub(super) fn is_failed(&self, pod: &SlimPod) -> bool {
        let replaced = pod.is_deleting() && pod.phase != "Succeeded" && !self.only_replaces_failed();
        pod.phase == "Failed" || replaced
    }

    pub(super) fn is_suspended(&self) -> bool {
        self.spec.suspend == Some(true)
    }

    pub(super) fn parallelism(&self) -> i32 {
        self.spec.parallelism.unwrap_or(1)
    }
}

/// Moves finished pods through the steps of being counted.
pub(super) fn track(view: &View<'_>, plan: &mut Plan) -> Counted {
    let end = view.spec.completions.unwrap_or(i32::MAX);
    let status = &mut plan.status;
    let mut counted = Counted {
        succeeded_indexes: Indexes::parse(status.completed_indexes.as_deref().unwrap_or(""), end),
        failed_indexes: Indexes::parse(status.failed_indexes.as_deref().unwrap_or(""), end),
        ..Counted::default()
    };
    let tracked: HashMap<&str, &Arc<SlimPod>> =
        view.pods.iter().filter(|pod| is_tracked(pod)).map(|pod| (pod.uid.as_str(), pod)).collect();
    let uncounted = status.uncounted_terminated_pods.take().unwrap_or_default();
    let settle = |uids: Option<Vec<String>>| {
        uids.unwrap_or_default().into_iter().partition::<Vec<String>, _>(|uid| tracked.contains_key(uid.as_str()))
    };
    let (mut succeeded, done) = settle(uncounted.succeeded);
    status.succeeded = nonzero(status.succeeded.unwrap_or(0) + count(done.len()));
    let (mut failed, done) = settle(uncounted.failed);
    status.failed = nonzero(status.failed.unwrap_or(0) + count(done.len()));
    plan.release
        .extend(succeeded.iter().chain(&failed).filter_map(|uid| tracked.get(uid.as_str())).map(|pod| (*pod).clone()));

    let mut fresh: Vec<&Arc<SlimPod>> = tracked
        .values()
        .copied()
        .filter(|pod| !succeeded.contains(&pod.uid.to_string()) && !failed.contains(&pod.uid.to_string()))
        .collect();
    fresh.sort_by_key(|pod| (finished_at(pod), pod.uid.clone()));
    for pod in fresh {
        if pod.phase == "Succeeded" {
            plan.backoff = Backoff::default();
            match index_of(pod) {
                Some(index) if view.is_indexed() && index < end => counted.succeeded_indexes.insert(index),
                _ if view.is_indexed() => {}
                _ => succeeded.push(pod.uid.to_string()),
            }
            plan.release.push(pod.clone());
        } else if view.is_failed(pod) {
            note_failure(view, pod, &mut counted, &mut failed, &mut plan.backoff);
            plan.release.push(pod.clone());
        }
    }
    let status = &mut plan.status;
    if view.is_indexed() {
        status.succeeded = nonzero(counted.succeeded_indexes.len());
        status.completed_indexes = Some(counted.succeeded_indexes.text()).filter(|text| !text.is_empty());
        if view.per_index() {
            status.failed_indexes = Some(counted.failed_indexes.text());
        }
    }
    counted.succeeded = status.succeeded.unwrap_or(0) + count(succeeded.len());
    counted.failed = status.failed.unwrap_or(0) + count(failed.len());
    counted.open = !succeeded.is_empty() || !failed.is_empty() || !plan.release.is_empty();
    let some = |list: Vec<String>| (!list.is_empty()).then_some(list);
    status.uncounted_terminated_pods =
        Some(UncountedTerminatedPods { succeeded: some(succeeded), failed: some(failed) });
    counted
}

fn note_failure(
    view: &View<'_>,
    pod: &SlimPod,
    counted: &mut Counted,
    failed: &mut Vec<String>,
    backoff: &mut Backoff,
) {
    let action = policy::action(view.spec.pod_failure_policy.as_ref(), pod);
    let failures = pod.annotation(INDEX_FAILURES).and_then(|n| n.parse::<u32>().ok()).unwrap_or(0);
    if let (Some(index), Some(limit)) = (index_of(pod), view.spec.backoff_limit_per_index) {
        let total = failures + u32::from(action != Action::Ignore);
        let entry = counted.index_failures.entry(index).or_insert(0);
        *entry = (*entry).max(total);
        if action == Action::FailIndex || i64::from(total) > i64::from(limit) {
            counted.failed_indexes.insert(index);
        }
    }
    match action {
        Action::Ignore => return,
        Action::FailJob(message) => counted.fail_job = Some(message),
        Action::Count | Action::FailIndex => {}
    }
    failed.push(pod.uid.to_string());
    backoff.failures += 1;
    backoff.last = backoff.last.max(Some(finished_at(pod).unwrap_or(view.now)));
}

/// When a pod's last container ended.
fn finished_at(pod: &SlimPod) -> Option<Timestamp> {
    pod.containers.iter().filter_map(|container| container.terminated?.1).max().or(pod.deleted)
}
