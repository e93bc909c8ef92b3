//! A Deployment's status and conditions, without I/O.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::plan;

pub(super) const PROGRESSING: &str = "Progressing";
const AVAILABLE: &str = "Available";
const REPLICA_FAILURE: &str = "ReplicaFailure";
const NEW_SET_AVAILABLE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const PAUSED: &str = "DeploymentPaused";
const RESUMED: &str = "DeploymentResumed";

pub(super) fn condition<'a>(status: &'a DeploymentStatus, kind: &str) -> Option<&'a DeploymentCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_.as_deref() == Some(kind))
}

/// Sets a condition by its type. One with the same status and reason stays as it is, and the time of transition changes
/// only with the status.
pub(super) fn set_condition(
    status: &mut DeploymentStatus,
    kind: &str,
    value: &str,
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    let old = condition(status, kind).cloned();
    let same_status = old.as_ref().is_some_and(|old| old.status.as_deref() == Some(value));
    if same_status && old.as_ref().is_some_and(|old| old.reason.as_deref() == Some(reason)) {
        return;
    }
    let transition = old.filter(|_| same_status).and_then(|old| old.last_transition_time);
    remove_condition(status, kind);
    status.conditions.get_or_insert_default().push(DeploymentCondition {
        type_: Some(kind.into()),
        status: Some(value.into()),
        reason: Some(reason.into()),
        message: Some(message.into()),
        last_update_time: Some(Time(now)),
        last_transition_time: transition.or(Some(Time(now))),
    });
}

fn remove_condition(status: &mut DeploymentStatus, kind: &str) {
    if let Some(conditions) = &mut status.conditions {
        conditions.retain(|condition| condition.type_.as_deref() != Some(kind));
        if conditions.is_empty() {
            status.conditions = None;
        }
    }
}

pub(super) fn progress_deadline(deployment: &Deployment) -> Option<i32> {
    // The largest number stands for "none", as kubectl and old clients write it.
    deployment.spec.progress_deadline_seconds.filter(|seconds| *seconds != i32::MAX)
}

/// Notes that the deployment was paused or resumed, which stops and restarts the progress clock.
pub(super) fn note_paused(deployment: &Deployment, status: &mut DeploymentStatus, now: Timestamp) {
    if progress_deadline(deployment).is_none() {
        return;
    }
    let reason = condition(status, PROGRESSING).and_then(|c| c.reason.clone());
    if reason.as_deref() == Some(TIMED_OUT) {
        return;
    }
    let was_paused = reason.as_deref() == Some(PAUSED);
    match (deployment.spec.paused == Some(true), was_paused) {
        (true, false) => set_condition(status, PROGRESSING, "Unknown", PAUSED, "Deployment is paused", now),
        (false, true) => set_condition(status, PROGRESSING, "Unknown", RESUMED, "Deployment is resumed", now),
        _ => {}
    }
}

fn sum<'a>(sets: impl Iterator<Item = &'a ReplicaSet>, count: impl Fn(&ReplicaSet) -> i32) -> i32 {
    sets.map(count).sum()
}

fn nonzero(number: i32) -> Option<i32> {
    (number != 0).then_some(number)
}

/// Counts and availability, from the status of the ReplicaSets. `before` is the status as this sync has it so far.
pub(super) fn counted(
    deployment: &Deployment,
    before: &DeploymentStatus,
    sets: &[ReplicaSet],
    new: Option<&ReplicaSet>,
    now: Timestamp,
) -> DeploymentStatus {
    let of = |count: fn(&k8s_openapi::api::apps::v1::ReplicaSetStatus) -> i32| {
        sum(sets.iter(), |set| set.status.as_ref().map_or(0, count))
    };
    let available = of(|status| status.available_replicas.unwrap_or(0));
    let asked = sum(sets.iter(), plan::size);
    let terminating = sets.iter().filter_map(|set| set.status.as_ref()?.terminating_replicas).reduce(|a, b| a + b);
    let mut status = DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: nonzero(of(|status| status.replicas)),
        updated_replicas: nonzero(new.and_then(|set| set.status.as_ref()).map_or(0, |status| status.replicas)),
        ready_replicas: nonzero(of(|status| status.ready_replicas.unwrap_or(0))),
        available_replicas: nonzero(available),
        unavailable_replicas: nonzero((asked - available).max(0)),
        terminating_replicas: terminating.or(before.terminating_replicas),
        collision_count: before.collision_count,
        conditions: before.conditions.clone(),
    };
    let enough = available >= plan::replicas(deployment) - plan::max_unavailable(deployment);
    let (value, reason, message) = match enough {
        true => ("True", "MinimumReplicasAvailable", "Deployment has minimum availability."),
        false => ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability."),
    };
    set_condition(&mut status, AVAILABLE, value, reason, message, now);
    status
}

/// Every replica is of the new template and available, and nothing old is left.
pub(super) fn is_complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let wanted = nonzero(plan::replicas(deployment));
    status.updated_replicas == wanted
        && status.replicas == wanted
        && status.available_replicas == wanted
        && status.observed_generation >= deployment.metadata.generation
}

/// More is new, less is old, or more is ready than before.
fn is_progressing(old: &DeploymentStatus, new: &DeploymentStatus) -> bool {
    let n = |number: Option<i32>| number.unwrap_or(0);
    let outdated = |status: &DeploymentStatus| n(status.replicas) - n(status.updated_replicas);
    n(new.updated_replicas) > n(old.updated_replicas)
        || outdated(new) < outdated(old)
        || n(new.ready_replicas) > n(old.ready_replicas)
        || n(new.available_replicas) > n(old.available_replicas)
}

fn deadline(deployment: &Deployment, condition: &DeploymentCondition) -> Option<Timestamp> {
    let seconds = progress_deadline(deployment)?;
    let from = condition.last_update_time.as_ref()?.0;
    from.checked_add(SignedDuration::from_secs(seconds.into())).ok()
}

fn is_timed_out(deployment: &Deployment, status: &DeploymentStatus, now: Timestamp) -> bool {
    let Some(condition) = condition(status, PROGRESSING) else { return false };
    match condition.reason.as_deref() {
        Some(NEW_SET_AVAILABLE) => false,
        Some(TIMED_OUT) => true,
        _ => deadline(deployment, condition).is_some_and(|deadline| deadline < now),
    }
}

/// The status during a rollout: counts, progress, and what the ReplicaSets failed to do.
pub(super) fn of_rollout(
    deployment: &Deployment,
    before: &DeploymentStatus,
    sets: &[ReplicaSet],
    new: Option<&ReplicaSet>,
    now: Timestamp,
) -> DeploymentStatus {
    let mut status = counted(deployment, before, sets, new, now);
    let current = condition(before, PROGRESSING).cloned();
    if progress_deadline(deployment).is_none() {
        remove_condition(&mut status, PROGRESSING);
    }
    let done_reason = current.as_ref().and_then(|c| c.reason.as_deref()) == Some(NEW_SET_AVAILABLE);
    let was_complete = status.replicas == status.updated_replicas && done_reason;
    if progress_deadline(deployment).is_some() && !was_complete {
        let subject = match new.and_then(|set| set.metadata.name.as_deref()) {
            Some(name) => format!("ReplicaSet {name:?}"),
            None => format!("Deployment {:?}", deployment.metadata.name.as_deref().unwrap_or("")),
        };
        if is_complete(deployment, &status) {
            let message = format!("{subject} has successfully progressed.");
            set_condition(&mut status, PROGRESSING, "True", NEW_SET_AVAILABLE, &message, now);
        } else if is_progressing(before, &status) {
            // Set anew also with the same reason: its update time is the clock that the deadline counts from.
            let message = format!("{subject} is progressing.");
            let held = current.filter(|c| c.status.as_deref() == Some("True")).and_then(|c| c.last_transition_time);
            remove_condition(&mut status, PROGRESSING);
            set_condition(&mut status, PROGRESSING, "True", "ReplicaSetUpdated", &message, now);
            let set = status.conditions.iter_mut().flatten().find(|c| c.type_.as_deref() == Some(PROGRESSING));
            if let (Some(set), Some(held)) = (set, held) {
                set.last_transition_time = Some(held);
            }
        } else if is_timed_out(deployment, before, now) {
            let message = format!("{subject} has timed out progressing.");
            set_condition(&mut status, PROGRESSING, "False", TIMED_OUT, &message, now);
        }
    }
    note_failure(&mut status, sets, new);
    status
}

/// Repeats the failure of a ReplicaSet, the new one's if it has one.
fn note_failure(status: &mut DeploymentStatus, sets: &[ReplicaSet], new: Option<&ReplicaSet>) {
    let failure = |set: &ReplicaSet| {
        let conditions = set.status.as_ref()?.conditions.as_ref()?;
        conditions.iter().find(|c| c.type_.as_deref() == Some(REPLICA_FAILURE)).cloned()
    };
    remove_condition(status, REPLICA_FAILURE);
    if let Some(failure) = new.and_then(failure).or_else(|| sets.iter().find_map(failure)) {
        status.conditions.get_or_insert_default().push(DeploymentCondition {
            type_: Some(REPLICA_FAILURE.into()),
            status: failure.status,
            reason: failure.reason,
            message: failure.message,
            last_update_time: failure.last_transition_time.clone(),
            last_transition_time: failure.last_transition_time,
        });
    }
}

/// When the progress deadline will have passed, if it runs.
pub(super) fn until_deadline(deployment: &Deployment, status: &DeploymentStatus, now: Timestamp) -> Option<Duration> {
    let condition = condition(status, PROGRESSING)?;
    let reason = condition.reason.as_deref();
    if is_complete(deployment, status) || reason == Some(TIMED_OUT) || reason == Some(NEW_SET_AVAILABLE) {
        return None;
    }
    let left = deadline(deployment, condition)?.duration_since(now) + SignedDuration::from_secs(1);
    Some(Duration::try_from(left).unwrap_or(Duration::from_secs(1)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment() -> Deployment {
        serde_json::from_value(json!({
            "metadata": { "name": "web", "generation": 2 },
            "spec": { "replicas": 3, "selector": {}, "template": {}, "progressDeadlineSeconds": 600 }
        }))
        .unwrap()
    }

    fn set(name: &str, size: i32, available: i32) -> ReplicaSet {
        serde_json::from_value(json!({
            "metadata": { "name": name }, "spec": { "replicas": size, "selector": {} },
            "status": { "replicas": size, "availableReplicas": available, "readyReplicas": available }
        }))
        .unwrap()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn progressing(status: &DeploymentStatus) -> (String, String, String, i64) {
        let c = condition(status, PROGRESSING).unwrap();
        let text = |t: &Option<String>| t.clone().unwrap_or_default();
        let updated = c.last_update_time.as_ref().unwrap().0.as_second() - 1_800_000_000;
        (text(&c.status), text(&c.reason), text(&c.message), updated)
    }

    #[test]
    fn a_rollout_from_creation_to_its_end() {
        let d = deployment();
        let (old, new) = (set("web-old", 1, 1), set("web-new", 2, 1));
        let sets = [old, new.clone()];
        let first = of_rollout(&d, &DeploymentStatus::default(), &sets, Some(&new), at(0));
        let text = "ReplicaSet \"web-new\" is progressing.".to_owned();
        assert_eq!(progressing(&first), ("True".into(), "ReplicaSetUpdated".into(), text, 0));
        assert_eq!(
            condition(&first, AVAILABLE).unwrap().status.as_deref(),
            Some("False"),
            "2 of 3, none may be missing"
        );
        assert_eq!(first.unavailable_replicas, Some(1));
        // Nothing new: nothing is written, and the deadline runs from the last progress.
        assert_eq!(of_rollout(&d, &first, &sets, Some(&new), at(100)), first);
        assert_eq!(until_deadline(&d, &first, at(100)), Some(Duration::from_secs(501)));
        let late = of_rollout(&d, &first, &sets, Some(&new), at(601));
        let text = "ReplicaSet \"web-new\" has timed out progressing.".to_owned();
        assert_eq!(progressing(&late), ("False".into(), TIMED_OUT.into(), text, 601));
        assert_eq!(until_deadline(&d, &late, at(700)), None);
        // It gets there after all.
        let (old, new) = (set("web-old", 0, 0), set("web-new", 3, 3));
        let done = of_rollout(&d, &late, &[old, new.clone()], Some(&new), at(800));
        let text = "ReplicaSet \"web-new\" has successfully progressed.".to_owned();
        assert_eq!(progressing(&done), ("True".into(), NEW_SET_AVAILABLE.into(), text, 800));
        assert_eq!(condition(&done, AVAILABLE).unwrap().status.as_deref(), Some("True"));
        // A pod that fails later does not restart the clock.
        let new = set("web-new", 3, 2);
        let after = of_rollout(&d, &done, std::slice::from_ref(&new), Some(&new), at(900));
        assert_eq!(progressing(&after).1, NEW_SET_AVAILABLE);
    }

    #[test]
    fn pausing_stops_the_clock() {
        let mut d = deployment();
        d.spec.paused = Some(true);
        let mut status = DeploymentStatus::default();
        note_paused(&d, &mut status, at(0));
        assert_eq!(progressing(&status).1, PAUSED);
        d.spec.paused = None;
        note_paused(&d, &mut status, at(50));
        assert_eq!(progressing(&status), ("Unknown".into(), RESUMED.into(), "Deployment is resumed".into(), 50));
    }

    #[test]
    fn failures_of_replica_sets_are_repeated() {
        let mut failing = set("web-new", 0, 0);
        let conditions =
            json!([{ "type": REPLICA_FAILURE, "status": "True", "reason": "FailedCreate", "message": "quota" }]);
        failing.status.as_mut().unwrap().conditions = serde_json::from_value(conditions).unwrap();
        let status = of_rollout(
            &deployment(),
            &DeploymentStatus::default(),
            std::slice::from_ref(&failing),
            Some(&failing),
            at(0),
        );
        assert_eq!(condition(&status, REPLICA_FAILURE).unwrap().message.as_deref(), Some("quota"));
        let fine = set("web-new", 0, 0);
        let status = of_rollout(&deployment(), &status, std::slice::from_ref(&fine), Some(&fine), at(0));
        assert!(condition(&status, REPLICA_FAILURE).is_none());
    }
}
