//! The conditions of a pod that the node owns. Those of others (the scheduler's, readiness gates, DisruptionTarget
//! set by the API) are kept as they are.

use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::phase::{Phase, find, is_running, terminated_code};
use super::{Inputs, PodFailure};
use crate::pod::{PodExt as _, is_sidecar};

/// A condition that goes away again.
pub const RESIZE_PENDING: &str = "PodResizePending";
const DISRUPTION: &str = "DisruptionTarget";
pub const OWNED: [&str; 4] = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady"];

/// (status, reason, message)
type Verdict = (bool, &'static str, String);

fn good() -> Verdict {
    (true, "", String::new())
}

/// The node itself ended the pod, for its own sake or because the machine goes down.
fn by_the_node(failure: &PodFailure) -> bool {
    [crate::eviction::EVICTED, crate::shutdown::TERMINATED].contains(&failure.reason.as_str())
}

/// All conditions, ours computed, in upstream's order: ours first, then those of others.
pub fn compute(
    pod: &Pod,
    phase: Phase,
    init: &[ContainerStatus],
    main: &[ContainerStatus],
    inputs: &Inputs<'_>,
) -> Vec<PodCondition> {
    let old: Vec<PodCondition> = inputs.old.conditions.clone().unwrap_or_default();
    let sandbox = (inputs.runtime.ready_sandbox().is_some(), "", String::new());
    let containers = containers_ready(pod, phase, init, main);
    let ready = ready(pod, phase, &containers, &current_conditions(pod, &old));
    let ours = [
        ("PodReadyToStartContainers", sandbox),
        ("Initialized", initialized(pod, phase, init, main)),
        ("Ready", ready),
        ("ContainersReady", containers),
    ];
    let mut all: Vec<PodCondition> = ours
        .into_iter()
        .map(|(kind, verdict)| {
            condition(kind, verdict, old.iter().find(|c| c.type_ == kind), pod.metadata.generation, inputs)
        })
        .collect();
    if let Some(why) = inputs.resize_pending {
        let before = old.iter().find(|c| c.type_ == RESIZE_PENDING);
        let mut pending =
            condition(RESIZE_PENDING, (true, "", why.message.clone()), before, pod.metadata.generation, inputs);
        pending.reason = Some(why.reason.clone());
        all.push(pending);
    }
    if let Some(failure) = inputs.failure.filter(|f| by_the_node(f)) {
        let verdict = (true, "TerminationByKubelet", failure.message.clone());
        let before = old.iter().find(|c| c.type_ == DISRUPTION);
        all.push(condition(DISRUPTION, verdict, before, pod.metadata.generation, inputs));
    }
    let ours: Vec<String> = all.iter().map(|c| c.type_.clone()).collect();
    let foreign =
        current_conditions(pod, &old).into_iter().filter(|c| !ours.contains(&c.type_) && c.type_ != RESIZE_PENDING);
    all.extend(foreign);
    if !all.iter().any(|c| c.type_ == "PodScheduled") {
        all.push(condition("PodScheduled", good(), None, pod.metadata.generation, inputs));
    }
    all
}

/// Others write theirs to the API: the pod as read is newer than what we computed last, except for what we add.
fn current_conditions(pod: &Pod, old: &[PodCondition]) -> Vec<PodCondition> {
    let read = pod.status.as_ref().and_then(|s| s.conditions.clone()).unwrap_or_default();
    let added = old.iter().filter(|c| !read.iter().any(|r| r.type_ == c.type_));
    read.iter().chain(added).cloned().collect()
}

fn condition(
    kind: &str,
    (status, reason, message): Verdict,
    old: Option<&PodCondition>,
    generation: Option<i64>,
    inputs: &Inputs<'_>,
) -> PodCondition {
    let status = if status { "True" } else { "False" };
    let unchanged = old.filter(|o| o.status == status).and_then(|o| o.last_transition_time.clone());
    let text = |s: &str| (!s.is_empty()).then(|| s.to_owned());
    PodCondition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: text(reason),
        message: text(&message),
        last_transition_time: unchanged.or(Some(Time(inputs.now))),
        last_probe_time: None,
        observed_generation: generation,
    }
}

fn initialized(pod: &Pod, phase: Phase, init: &[ContainerStatus], main: &[ContainerStatus]) -> Verdict {
    let done = |c: &Container| {
        find(init, &c.name)
            .is_some_and(|s| if is_sidecar(c) { s.started == Some(true) } else { terminated_code(s) == Some(0) })
    };
    if phase == Phase::Succeeded {
        return (true, "PodCompleted", String::new());
    }
    let has_started = main.iter().any(|s| is_running(s) || terminated_code(s).is_some());
    let incomplete: Vec<&str> = pod
        .init_containers()
        .iter()
        .filter(|c| !(done(c) || is_sidecar(c) && has_started))
        .map(|c| c.name.as_str())
        .collect();
    if incomplete.is_empty() {
        return good();
    }
    (false, "ContainersNotInitialized", format!("containers with incomplete status: [{}]", incomplete.join(" ")))
}

fn containers_ready(pod: &Pod, phase: Phase, init: &[ContainerStatus], main: &[ContainerStatus]) -> Verdict {
    match phase {
        Phase::Succeeded => return (false, "PodCompleted", String::new()),
        Phase::Failed => return (false, "PodFailed", String::new()),
        _ => {}
    }
    let sidecars = pod.init_containers().iter().filter(|c| is_sidecar(c)).map(|c| (c, find(init, &c.name)));
    let mains = pod.containers().iter().map(|c| (c, find(main, &c.name)));
    let (mut unknown, mut unready) = (Vec::new(), Vec::new());
    for (container, status) in sidecars.chain(mains) {
        match status {
            None => unknown.push(container.name.as_str()),
            Some(status) if !status.ready => unready.push(container.name.as_str()),
            Some(_) => {}
        }
    }
    let mut parts = Vec::new();
    if !unknown.is_empty() {
        parts.push(format!("containers with unknown status: [{}]", unknown.join(" ")));
    }
    if !unready.is_empty() {
        parts.push(format!("containers with unready status: [{}]", unready.join(" ")));
    }
    if parts.is_empty() { good() } else { (false, "ContainersNotReady", parts.join(", ")) }
}

/// Ready: every container is, and every readiness gate's condition is true.
fn ready(pod: &Pod, _phase: Phase, containers: &Verdict, conditions: &[PodCondition]) -> Verdict {
    if !containers.0 {
        return containers.clone();
    }
    let mut missing = Vec::new();
    for gate in pod.pod_spec().readiness_gates.iter().flatten() {
        let kind = &gate.condition_type;
        match conditions.iter().find(|c| c.type_ == *kind) {
            None => missing.push(format!("corresponding condition of pod readiness gate \"{kind}\" does not exist.")),
            Some(condition) if condition.status != "True" => missing
                .push(format!("the status of pod readiness gate \"{kind}\" is not \"True\", but {}", condition.status)),
            Some(_) => {}
        }
    }
    if missing.is_empty() { good() } else { (false, "ReadinessGatesNotReady", missing.join(", ")) }
}
