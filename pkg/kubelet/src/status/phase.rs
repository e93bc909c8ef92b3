//! The phase of a pod.

use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod};

use super::Inputs;
use crate::pod::{PodExt as _, is_sidecar};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Pending,
    Running,
    Succeeded,
    Failed,
}

impl Phase {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
        }
    }
}

#[derive(Default)]
struct Count {
    running: usize,
    waiting: usize,
    stopped: usize,
    succeeded: usize,
    unknown: usize,
}

/// Computes the phase from container statuses.
pub fn compute(pod: &Pod, init: &[ContainerStatus], main: &[ContainerStatus], inputs: &Inputs<'_>) -> Phase {
    let initialized = main.iter().any(|s| has_run(s) || is_running(s));
    let (pending_init, failed_init) = count_init(pod, init, initialized);
    let count = count_main(pod, main);
    if failed_init && pod.restart_policy() == "Never" {
        return Phase::Failed;
    }
    if pending_init || count.waiting > 0 {
        return if inputs.terminating && initialized {
            terminal_or_running(pod, &count, init, inputs.finished)
        } else {
            Phase::Pending
        };
    }
    if count.running > 0 && count.unknown == 0 {
        return Phase::Running;
    }
    if count.running == 0 && count.stopped > 0 && count.unknown == 0 {
        return terminal_or_running(pod, &count, init, inputs.finished);
    }
    Phase::Pending
}

/// Everything has stopped: is that the end, and which?
fn terminal_or_running(pod: &Pod, count: &Count, init: &[ContainerStatus], finished: bool) -> Phase {
    let sidecar_runs = |c: &Container| is_sidecar(c) && find(init, &c.name).is_some_and(is_running);
    if finished {
        return if count.stopped > 0 && count.stopped == count.succeeded { Phase::Succeeded } else { Phase::Failed };
    }
    if pod.restart_policy() == "Always" || count.running > 0 || pod.init_containers().iter().any(sidecar_runs) {
        return Phase::Running;
    }
    if count.stopped == count.succeeded {
        return Phase::Succeeded;
    }
    if pod.restart_policy() == "Never" { Phase::Failed } else { Phase::Running }
}

/// (something is still to be initialised, something failed to)
fn count_init(pod: &Pod, statuses: &[ContainerStatus], initialized: bool) -> (bool, bool) {
    let (mut pending, mut failed) = (false, false);
    for container in pod.init_containers() {
        let status = find(statuses, &container.name);
        if is_sidecar(container) {
            let started = status.is_some_and(|s| s.started == Some(true) || terminated_code(s).is_some());
            pending |= !started && !initialized;
            continue;
        }
        match status.and_then(|s| terminated_code(s).or_else(|| last_code(s))) {
            Some(0) => {}
            Some(_) => failed = true,
            None => pending = true,
        }
    }
    (pending && !initialized, failed)
}

fn count_main(pod: &Pod, statuses: &[ContainerStatus]) -> Count {
    let mut count = Count::default();
    for container in pod.containers() {
        let Some(status) = find(statuses, &container.name) else {
            count.unknown += 1;
            continue;
        };
        if is_running(status) {
            count.running += 1;
        } else if let Some(code) = terminated_code(status) {
            count.stopped += 1;
            count.succeeded += usize::from(code == 0);
        } else if last_code(status).is_some() {
            count.stopped += 1;
        } else {
            count.waiting += 1;
        }
    }
    count
}

pub(super) fn find<'a>(statuses: &'a [ContainerStatus], name: &str) -> Option<&'a ContainerStatus> {
    statuses.iter().find(|s| s.name == name)
}

pub(super) fn is_running(status: &ContainerStatus) -> bool {
    status.state.as_ref().is_some_and(|s| s.running.is_some())
}

pub(super) fn terminated_code(status: &ContainerStatus) -> Option<i32> {
    status.state.as_ref().and_then(|s| s.terminated.as_ref()).map(|t| t.exit_code)
}

fn last_code(status: &ContainerStatus) -> Option<i32> {
    status.last_state.as_ref().and_then(|s| s.terminated.as_ref()).map(|t| t.exit_code)
}

fn has_run(status: &ContainerStatus) -> bool {
    terminated_code(status).is_some() || last_code(status).is_some()
}
