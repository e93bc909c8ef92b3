//! What a job needs next, without I/O.
//!
//! A finished pod is counted exactly once: its UID goes into `uncountedTerminatedPods`, then its finalizer goes, and
//! only when that is seen does the UID turn into a count. Indexed successes need no UIDs: the index says enough.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::index::Indexes;
use super::policy::{self, Action};
use super::track::{Counted, View, track};
use crate::pod::SlimPod;

/// Holds a finished pod until it is counted.
pub(super) const FINALIZER: &str = "batch.kubernetes.io/job-tracking";
pub(super) const INDEX: &str = "batch.kubernetes.io/job-completion-index";
pub(super) const INDEX_FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
/// Before a failed pod is replaced; doubled with each further failure in a row.
const BACKOFF_MIN: Duration = Duration::from_secs(10);
const BACKOFF_MAX: Duration = Duration::from_secs(600);

/// Failures since the last success, and when the last one was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Backoff {
    pub failures: u32,
    pub last: Option<Timestamp>,
}

impl Backoff {
    /// How long until a pod may be replaced.
    pub(super) fn left(&self, now: Timestamp) -> Duration {
        let Some(last) = self.last.filter(|_| self.failures > 0) else { return Duration::ZERO };
        let wait = BACKOFF_MIN.saturating_mul(1 << (self.failures - 1).min(16)).min(BACKOFF_MAX);
        let passed = Duration::try_from(now.duration_since(last)).unwrap_or_default();
        wait.saturating_sub(passed)
    }
}

/// A pod to create.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum New {
    Plain,
    /// Of this index, whose pods failed that often.
    Index(i32, u32),
}

#[derive(Debug, Default)]
pub(super) struct Plan {
    pub status: JobStatus,
    pub create: Vec<New>,
    /// Pods that are too many: they are not counted as failures.
    pub retire: Vec<Arc<SlimPod>>,
    /// Pods of a job that ends: what becomes of them is counted.
    pub stop: Vec<Arc<SlimPod>>,
    /// Pods to let go once the status is written.
    pub release: Vec<Arc<SlimPod>>,
    pub backoff: Backoff,
    /// When to look again.
    pub again: Option<Duration>,
    /// Reason and message of Events about what changed; true for a warning.
    pub events: Vec<(bool, String, String)>,
}

/// How a job ends.
#[derive(Clone, Debug, PartialEq, Eq)]
struct End {
    success: bool,
    reason: String,
    message: String,
}

pub(super) fn condition<'a>(status: &'a JobStatus, kind: &str) -> Option<&'a JobCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == kind)
}

fn is_true(status: &JobStatus, kind: &str) -> bool {
    condition(status, kind).is_some_and(|condition| condition.status == "True")
}

/// Complete or failed: nothing happens to the job any more.
pub(super) fn is_finished(job: &Job) -> bool {
    job.status.as_ref().is_some_and(|status| is_true(status, "Complete") || is_true(status, "Failed"))
}

pub(super) fn is_tracked(pod: &SlimPod) -> bool {
    pod.finalizers.iter().any(|finalizer| finalizer == FINALIZER)
}

pub(super) fn index_of(pod: &SlimPod) -> Option<i32> {
    pod.annotation(INDEX)?.parse().ok()
}

fn set_condition(status: &mut JobStatus, kind: &str, value: &str, reason: &str, message: &str, now: Timestamp) {
    let conditions = status.conditions.get_or_insert_default();
    let same = conditions
        .iter()
        .find(|c| c.type_ == kind)
        .is_some_and(|c| c.status == value && c.reason.as_deref() == Some(reason));
    if same {
        return;
    }
    conditions.retain(|condition| condition.type_ != kind);
    conditions.push(JobCondition {
        type_: kind.into(),
        status: value.into(),
        reason: Some(reason.into()),
        message: Some(message.into()),
        last_probe_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    });
}

pub(super) fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

pub(super) fn nonzero(number: i32) -> Option<i32> {
    (number != 0).then_some(number)
}

/// The plan for a job that is not finished.
pub(super) fn plan(job: &Job, pods: &[Arc<SlimPod>], backoff: Backoff, now: Timestamp) -> Plan {
    let Some(spec) = &job.spec else { return Plan::default() };
    let active: Vec<_> = pods.iter().filter(|pod| pod.is_active()).cloned().collect();
    let terminating = count(pods.iter().filter(|pod| pod.is_deleting() && !pod.is_finished()).count());
    let view = View { spec, pods, active, terminating, now };
    let mut plan = Plan { status: job.status.clone().unwrap_or_default(), backoff, ..Plan::default() };
    let counted = track(&view, &mut plan);
    let deleting = job.metadata.deletion_timestamp.is_some();
    if deleting {
        plan.release = pods.iter().filter(|pod| is_tracked(pod)).cloned().collect();
    }
    if !deleting {
        start(&view, &mut plan);
    }
    let end = end(&view, &counted, &plan.status);
    match &end {
        Some(end) if !end.success || !view.active.is_empty() => plan.stop.clone_from(&view.active),
        Some(_) => {}
        None if deleting => {}
        None => manage(&view, &counted, &mut plan),
    }
    finish(&view, &counted, end, &mut plan);
    counts(&view, &mut plan);
    plan
}

/// The start of the job's clock, suspension and resumption.
fn start(view: &View<'_>, plan: &mut Plan) {
    let status = &mut plan.status;
    let was_suspended = is_true(status, "Suspended");
    match (view.is_suspended(), was_suspended) {
        (true, false) => {
            set_condition(status, "Suspended", "True", "JobSuspended", "Job suspended", view.now);
            plan.events.push((false, "Suspended".into(), "Job suspended".into()));
        }
        (false, true) => {
            set_condition(status, "Suspended", "False", "JobResumed", "Job resumed", view.now);
            plan.events.push((false, "Resumed".into(), "Job resumed".into()));
            status.start_time = Some(Time(view.now));
        }
        (false, false) if status.start_time.is_none() => status.start_time = Some(Time(view.now)),
        _ => {}
    }
    let deadline = view.spec.active_deadline_seconds.filter(|_| !view.is_suspended());
    if let (Some(seconds), Some(start)) = (deadline, &status.start_time) {
        let end = start.0.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX);
        plan.again = Duration::try_from(end.duration_since(view.now)).ok().filter(|left| !left.is_zero());
    }
}

/// Whether the job has come to its end, for better or worse; decided once and then kept.
fn end(view: &View<'_>, counted: &Counted, status: &JobStatus) -> Option<End> {
    let kept = |kind: &str, success: bool| {
        condition(status, kind).filter(|c| c.status == "True").map(|c| End {
            success,
            reason: c.reason.clone().unwrap_or_default(),
            message: c.message.clone().unwrap_or_default(),
        })
    };
    let fail =
        |reason: &str, message: &str| Some(End { success: false, reason: reason.into(), message: message.into() });
    if let Some(end) = kept("FailureTarget", false).or_else(|| kept("SuccessCriteriaMet", true)) {
        return Some(end);
    }
    if let Some(message) = &counted.fail_job {
        return fail("PodFailurePolicy", message);
    }
    let limit = view.spec.backoff_limit.unwrap_or(6);
    if counted.failed > limit || restarts_exceed(view, limit) {
        return fail("BackoffLimitExceeded", "Job has reached the specified backoff limit");
    }
    let passed = status.start_time.as_ref().map(|start| view.now.as_second() - start.0.as_second());
    if let (Some(seconds), Some(passed)) = (view.spec.active_deadline_seconds, passed)
        && !view.is_suspended()
        && passed >= seconds
    {
        return fail("DeadlineExceeded", "Job was active longer than specified deadline");
    }
    if view.per_index() {
        if view.spec.max_failed_indexes.is_some_and(|max| counted.failed_indexes.len() > max) {
            let text = "Job has exceeded the specified maximal number of failed indexes";
            return fail("MaxFailedIndexesExceeded", text);
        }
        let all = view.spec.completions.unwrap_or(0);
        if counted.failed_indexes.len() > 0 && counted.failed_indexes.len() + counted.succeeded_indexes.len() >= all {
            return fail("FailedIndexes", "Job has failed indexes");
        }
    }
    success(view, counted)
}

fn success(view: &View<'_>, counted: &Counted) -> Option<End> {
    let met = |reason: &str, message: String| Some(End { success: true, reason: reason.into(), message });
    if let Some(policy) = view.spec.success_policy.as_ref().filter(|_| view.is_indexed()) {
        let end = view.spec.completions.unwrap_or(0);
        for (i, rule) in policy.rules.iter().enumerate() {
            let wanted = rule.succeeded_indexes.as_deref().map(|text| Indexes::parse(text, end));
            let among =
                wanted.as_ref().map_or(counted.succeeded_indexes.len(), |w| counted.succeeded_indexes.common(w));
            let matched = match (&wanted, rule.succeeded_count) {
                (_, Some(least)) => among >= least,
                (Some(wanted), None) => counted.succeeded_indexes.is_superset(wanted),
                (None, None) => false,
            };
            if matched {
                return met("SuccessPolicy", format!("Matched rules at index {i}"));
            }
        }
    }
    let reached = match view.spec.completions {
        None => counted.succeeded > 0,
        Some(completions) => counted.succeeded >= completions && !view.is_suspended(),
    };
    // What still runs is waited for, or retired first.
    let idle = view.active.is_empty();
    if reached && idle { met("CompletionsReached", "Reached expected number of succeeded pods".into()) } else { None }
}

/// With restartPolicy OnFailure the pods restart by themselves: their restarts count as failures.
fn restarts_exceed(view: &View<'_>, limit: i32) -> bool {
    let policy = view.spec.template.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref());
    if policy != Some("OnFailure") {
        return false;
    }
    let restarts: i32 =
        view.active.iter().flat_map(|pod| pod.containers.iter()).map(|container| container.restarts).sum();
    if limit == 0 { restarts > 0 } else { restarts >= limit }
}

/// Pods to create or to retire.
fn manage(view: &View<'_>, counted: &Counted, plan: &mut Plan) {
    if view.is_suspended() {
        plan.retire.clone_from(&view.active);
        return;
    }
    let active = count(view.active.len());
    let wanted = match view.spec.completions {
        None if counted.succeeded > 0 => active.min(view.parallelism()),
        None => view.parallelism(),
        Some(completions) if view.per_index() => {
            let left = completions - counted.succeeded - counted.failed_indexes.len();
            left.min(view.parallelism())
        }
        Some(completions) => (completions - counted.succeeded).min(view.parallelism()),
    }
    .max(0);
    if active > wanted {
        plan.retire = surplus(view, usize::try_from(active - wanted).unwrap_or(0));
        return;
    }
    let mut lacking = wanted - active;
    if view.only_replaces_failed() {
        lacking -= view.terminating;
    }
    if lacking <= 0 {
        return;
    }
    let wait = plan.backoff.left(view.now);
    if !wait.is_zero() {
        plan.again = Some(plan.again.map_or(wait, |again| again.min(wait)));
        return;
    }
    let lacking = usize::try_from(lacking).unwrap_or(0);
    plan.create = if view.is_indexed() { pending_indexes(view, counted, lacking) } else { vec![New::Plain; lacking] };
}

/// The pods that are furthest from being done: not ready first, then the youngest; the highest indexes for indexed jobs.
fn surplus(view: &View<'_>, number: usize) -> Vec<Arc<SlimPod>> {
    let mut pods = view.active.clone();
    pods.sort_by_key(|pod| {
        let index = index_of(pod).filter(|_| view.is_indexed()).unwrap_or(0);
        let scheduled = !pod.node_name.is_empty();
        (std::cmp::Reverse(index), scheduled, pod.is_ready(), std::cmp::Reverse(pod.created))
    });
    pods.truncate(number);
    pods
}

fn pending_indexes(view: &View<'_>, counted: &Counted, number: usize) -> Vec<New> {
    let mut held: BTreeMap<i32, ()> = view.active.iter().filter_map(|pod| Some((index_of(pod)?, ()))).collect();
    if view.only_replaces_failed() {
        let terminating = view.pods.iter().filter(|pod| pod.is_deleting() && !pod.is_finished());
        held.extend(terminating.filter_map(|pod| Some((index_of(pod)?, ()))));
    }
    let free = |index: &i32| {
        !held.contains_key(index)
            && !counted.succeeded_indexes.contains(*index)
            && !counted.failed_indexes.contains(*index)
    };
    let failures =
        |index: i32| counted.index_failures.get(&index).copied().unwrap_or_else(|| past_failures(view, index));
    let indexes = (0..view.spec.completions.unwrap_or(0)).filter(free).take(number);
    indexes.map(|index| New::Index(index, failures(index))).collect()
}

/// How often an index failed, by the pods of it that are still there.
fn past_failures(view: &View<'_>, index: i32) -> u32 {
    let failed = view.pods.iter().filter(|pod| index_of(pod) == Some(index) && view.is_failed(pod));
    let ignored = |pod: &SlimPod| policy::action(view.spec.pod_failure_policy.as_ref(), pod) == Action::Ignore;
    let total = |pod: &Arc<SlimPod>| {
        pod.annotation(INDEX_FAILURES).and_then(|n| n.parse::<u32>().ok()).unwrap_or(0) + u32::from(!ignored(pod))
    };
    failed.map(total).max().unwrap_or(0)
}

/// Conditions at the end: first that it is decided, then, when all pods have gone and are counted, that it is so.
fn finish(view: &View<'_>, counted: &Counted, end: Option<End>, plan: &mut Plan) {
    let Some(end) = end else { return };
    let (target, done) = if end.success { ("SuccessCriteriaMet", "Complete") } else { ("FailureTarget", "Failed") };
    let status = &mut plan.status;
    if condition(status, target).is_none() {
        set_condition(status, target, "True", &end.reason, &end.message, view.now);
    }
    if counted.open || !view.active.is_empty() || view.terminating > 0 {
        return;
    }
    set_condition(status, done, "True", &end.reason, &end.message, view.now);
    if end.success {
        status.completion_time = Some(Time(view.now));
        plan.events.push((false, "Completed".into(), "Job completed".into()));
    } else {
        plan.events.push((true, end.reason, end.message));
    }
}

/// Numbers of pods that run now, counting what this plan is about to take away as gone.
fn counts(view: &View<'_>, plan: &mut Plan) {
    let leaving = |pod: &Arc<SlimPod>| plan.retire.iter().chain(&plan.stop).any(|other| other.uid == pod.uid);
    let staying: Vec<_> = view.active.iter().filter(|pod| !leaving(pod)).collect();
    let ready = count(staying.iter().filter(|pod| pod.is_ready()).count());
    plan.status.active = nonzero(count(staying.len()));
    plan.status.ready = Some(ready);
    plan.status.terminating = Some(view.terminating + count(view.active.len() - staying.len()));
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
