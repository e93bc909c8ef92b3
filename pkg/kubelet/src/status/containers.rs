//! The status of each container.

use k8s_openapi::api::core::v1 as api;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Inputs, phase};
use crate::actions::{Probed, should_restart};
use crate::names::{self, reason};
use crate::pod::{PodExt as _, is_sidecar};
use crate::runtime::{ContainerStatus, State};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Init,
    Main,
    Ephemeral,
}

/// Statuses in the spec's order; ephemeral containers only once they exist.
pub fn convert(
    pod: &api::Pod,
    containers: &[api::Container],
    old: Option<&[api::ContainerStatus]>,
    inputs: &Inputs<'_>,
    kind: Kind,
) -> Vec<api::ContainerStatus> {
    let one = |container: &api::Container| {
        let old = phase::find(old.unwrap_or_default(), &container.name);
        let mut status = match inputs.runtime.find(&container.name) {
            Some(found) => existing(container, found, inputs),
            None => missing(pod, container, old, inputs, kind),
        };
        show_why_it_waits(pod, container, &mut status, inputs, kind);
        set_readiness(container, &mut status, inputs, kind);
        set_resources(container, &mut status, inputs);
        let all = pod.all_containers().count() + pod.ephemeral_containers().len();
        for terminated in
            [&mut status.state, &mut status.last_state].into_iter().flatten().flat_map(|s| &mut s.terminated)
        {
            terminated.message = terminated.message.take().map(|message| cut_message(&message, all));
        }
        status
    };
    let mut statuses: Vec<api::ContainerStatus> = containers.iter().map(one).collect();
    let has_run = |s: &api::ContainerStatus| phase::terminated_code(s).is_some();
    if inputs.finished && kind == Kind::Main && statuses.iter().any(has_run) {
        // A pod that ran and is over has no container that still waits.
        for status in statuses.iter_mut().filter(|s| !has_run(s)) {
            status.state = Some(lost(""));
        }
    }
    statuses
}

/// A container that the runtime has.
fn existing(container: &api::Container, found: &ContainerStatus, inputs: &Inputs<'_>) -> api::ContainerStatus {
    let state = match found.state {
        State::Running => running(found),
        State::Created => waiting(reason::CONTAINER_CREATING, ""),
        State::Exited => terminated(found),
        State::Unknown => lost(&found.id),
    };
    let last = inputs.runtime.previous(&container.name).map(terminated);
    api::ContainerStatus {
        name: container.name.clone(),
        image: if found.image.is_empty() { container.image.clone().unwrap_or_default() } else { found.image.clone() },
        image_id: found.image_id.clone(),
        container_id: Some(format!("containerd://{}", found.id)),
        restart_count: i32::try_from(found.restart_count).unwrap_or(i32::MAX),
        state: Some(state),
        last_state: Some(last.unwrap_or_default()),
        ..api::ContainerStatus::default()
    }
}

/// A container that the runtime does not have: not made yet, or lost.
fn missing(
    pod: &api::Pod,
    container: &api::Container,
    old: Option<&api::ContainerStatus>,
    inputs: &Inputs<'_>,
    kind: Kind,
) -> api::ContainerStatus {
    if let Some(old) = old.filter(|o| phase::terminated_code(o).is_some()) {
        return old.clone();
    }
    let initializing = kind != Kind::Ephemeral && !pod.init_containers().is_empty();
    let why = if initializing { reason::POD_INITIALIZING } else { reason::CONTAINER_CREATING };
    let mut status = api::ContainerStatus {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        state: Some(waiting(why, "")),
        last_state: Some(api::ContainerState::default()),
        ..api::ContainerStatus::default()
    };
    let Some(old) = old else {
        return status;
    };
    status.restart_count = old.restart_count;
    status.last_state = old.last_state.clone().or(status.last_state);
    if phase::is_running(old) {
        // It ran and is gone without a trace: say so, and count the restart that follows.
        let id = old.container_id.as_deref().unwrap_or_default().trim_start_matches("containerd://").to_owned();
        if inputs.terminating || !should_restart(pod, container, None) || pod.restart_policy() == "Never" {
            status.state = Some(lost(&id));
        } else {
            status.last_state = Some(lost(&id));
            status.restart_count = old.restart_count + 1;
        }
    }
    status
}

/// A container that is to be started again shows why it is not running now.
fn show_why_it_waits(
    pod: &api::Pod,
    container: &api::Container,
    status: &mut api::ContainerStatus,
    inputs: &Inputs<'_>,
    kind: Kind,
) {
    let finished_init = kind == Kind::Init && !is_sidecar(container) && phase::terminated_code(status) == Some(0);
    let found = inputs.runtime.find(&container.name);
    let restarts = kind != Kind::Ephemeral || found.is_none();
    if finished_init || inputs.terminating || !restarts || !should_restart(pod, container, found) {
        return;
    }
    let Some(why) = inputs.waiting.get(&container.name) else {
        return;
    };
    if status.state.as_ref().is_some_and(|s| s.terminated.is_some()) {
        status.last_state = status.state.take();
    }
    status.state = Some(waiting(&why.reason, &why.message));
}

fn set_readiness(container: &api::Container, status: &mut api::ContainerStatus, inputs: &Inputs<'_>, kind: Kind) {
    let id = status.container_id.as_deref().unwrap_or_default().trim_start_matches("containerd://");
    let probed = inputs.probes.get(id).copied().unwrap_or_default();
    let runs = phase::is_running(status);
    let started = runs && is_started(container, probed);
    status.started = Some(started);
    status.ready = match kind {
        Kind::Ephemeral => false,
        Kind::Init if !is_sidecar(container) => {
            status.started = Some(runs);
            phase::terminated_code(status) == Some(0)
        }
        _ => started && (container.readiness_probe.is_none() || probed.readiness == Some(true)),
    };
}

fn is_started(container: &api::Container, probed: Probed) -> bool {
    container.startup_probe.is_none() || probed.startup == Some(true)
}

/// What the container was given, as in-place resizing shows it.
fn set_resources(container: &api::Container, status: &mut api::ContainerStatus, inputs: &Inputs<'_>) {
    let id = status.container_id.as_deref().unwrap_or_default().trim_start_matches("containerd://");
    let given = inputs.given.get(id).or(container.resources.as_ref());
    let Some(resources) = given.filter(|r| r.requests.is_some() || r.limits.is_some()) else {
        if phase::is_running(status) {
            status.resources = Some(api::ResourceRequirements::default());
        }
        return;
    };
    if status.container_id.is_some() {
        status.allocated_resources = resources.requests.clone();
        status.resources = Some(api::ResourceRequirements { claims: None, ..resources.clone() });
    }
}

fn waiting(reason: &str, message: &str) -> api::ContainerState {
    let text = |s: &str| (!s.is_empty()).then(|| s.to_owned());
    let waiting = api::ContainerStateWaiting { reason: text(reason), message: text(message) };
    api::ContainerState { waiting: Some(waiting), ..Default::default() }
}

fn running(found: &ContainerStatus) -> api::ContainerState {
    let running = api::ContainerStateRunning { started_at: found.started_at.map(Time) };
    api::ContainerState { running: Some(running), ..Default::default() }
}

/// All messages of a pod together are bounded; each container has an equal share.
fn cut_message(message: &str, containers: usize) -> String {
    let share =
        (names::TERMINATION_MESSAGE_POD_BYTES_MAX / containers.max(1)).min(names::TERMINATION_MESSAGE_BYTES_MAX);
    let end = (0..=share.min(message.len())).rev().find(|at| message.is_char_boundary(*at)).unwrap_or(0);
    message.get(..end).unwrap_or_default().to_owned()
}

pub fn terminated(found: &ContainerStatus) -> api::ContainerState {
    let default_reason = if found.exit_code == 0 { "Completed" } else { "Error" };
    let reason = if found.reason.is_empty() { default_reason } else { &found.reason };
    let terminated = api::ContainerStateTerminated {
        container_id: Some(format!("containerd://{}", found.id)),
        exit_code: found.exit_code,
        reason: Some(reason.to_owned()),
        message: (!found.message.is_empty()).then(|| found.message.clone()),
        started_at: found.started_at.or(found.created_at).map(Time),
        finished_at: found.finished_at.map(Time),
        signal: None,
    };
    api::ContainerState { terminated: Some(terminated), ..Default::default() }
}

/// A container whose end nobody saw.
fn lost(id: &str) -> api::ContainerState {
    let terminated = api::ContainerStateTerminated {
        container_id: (!id.is_empty()).then(|| format!("containerd://{id}")),
        exit_code: 137,
        reason: Some(reason::UNKNOWN.to_owned()),
        message: Some("The container could not be located when the pod was terminated".to_owned()),
        ..Default::default()
    };
    api::ContainerState { terminated: Some(terminated), ..Default::default() }
}
