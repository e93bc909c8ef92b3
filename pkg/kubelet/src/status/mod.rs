//! A pod's status as the API shows it, computed from the spec and what runs. Pure; [`manager`] sends it.

pub mod conditions;
pub mod containers;
pub mod manager;
pub mod phase;

use std::collections::HashMap;
use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{HostIP, Pod, PodIP, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::actions::ProbeResults;
use crate::pod::{PodExt as _, as_container};
use crate::runtime::PodRuntimeStatus;

/// Why a container does not run: `CrashLoopBackOff`, `ErrImagePull` … with its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    pub reason: String,
    pub message: String,
}

/// A reason for the pod as a whole: `Evicted`, `DeadlineExceeded`, `OutOfcpu` …: the pod has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodFailure {
    pub reason: String,
    pub message: String,
}

/// What the computation needs besides the pod and the runtime's view.
pub struct Inputs<'a> {
    pub runtime: &'a PodRuntimeStatus,
    pub probes: &'a ProbeResults,
    pub waiting: &'a HashMap<String, Waiting>,
    /// What running containers were given, and why a change of it waits.
    pub given: &'a crate::resize::Given,
    pub resize_pending: Option<&'a Waiting>,
    pub failure: Option<&'a PodFailure>,
    /// The node never took it on: nothing of it was or will be there.
    pub rejected: bool,
    pub node_ips: &'a [IpAddr],
    /// The status as we last computed (or read) it: transition times and lost containers come from it.
    pub old: &'a PodStatus,
    /// The pod is being stopped for good: nothing is started any more.
    pub terminating: bool,
    /// Nothing of it runs any more, nor will: the phase becomes final.
    pub finished: bool,
    pub now: Timestamp,
}

/// The status of `pod`.
pub fn generate(pod: &Pod, inputs: &Inputs<'_>) -> PodStatus {
    let old = inputs.old;
    if inputs.rejected {
        return rejected(pod, inputs);
    }
    let ephemeral: Vec<_> = pod.ephemeral_containers().iter().map(as_container).collect();
    let init_statuses = containers::convert(
        pod,
        pod.init_containers(),
        old.init_container_statuses.as_deref(),
        inputs,
        containers::Kind::Init,
    );
    let statuses =
        containers::convert(pod, pod.containers(), old.container_statuses.as_deref(), inputs, containers::Kind::Main);
    let ephemeral_statuses = containers::convert(
        pod,
        &ephemeral,
        old.ephemeral_container_statuses.as_deref(),
        inputs,
        containers::Kind::Ephemeral,
    );
    let phase = match inputs.failure {
        Some(_) => phase::Phase::Failed,
        None => final_phase(old, phase::compute(pod, &init_statuses, &statuses, inputs)),
    };
    let phase = match phase {
        phase::Phase::Pending if inputs.finished => phase::Phase::Failed,
        phase => phase,
    };
    let (ips, host_ips) = addresses(pod, inputs);
    let generation = pod.metadata.generation;
    let mut status = PodStatus {
        phase: Some(phase.as_str().to_owned()),
        reason: inputs.failure.map(|f| f.reason.clone()).or_else(|| old.reason.clone().filter(|_| pod.is_terminal())),
        message: inputs
            .failure
            .map(|f| f.message.clone())
            .or_else(|| old.message.clone().filter(|_| pod.is_terminal())),
        qos_class: old.qos_class.clone().or_else(|| Some(pod.qos_class().as_str().to_owned())),
        start_time: old.start_time.clone().or(Some(Time(inputs.now))),
        host_ip: host_ips.first().cloned(),
        host_ips: Some(host_ips.into_iter().map(|ip| HostIP { ip }).collect()),
        pod_ip: ips.first().cloned(),
        pod_ips: (!ips.is_empty()).then(|| ips.into_iter().map(|ip| PodIP { ip }).collect()),
        nominated_node_name: old.nominated_node_name.clone(),
        observed_generation: generation,
        ..PodStatus::default()
    };
    status.conditions = Some(conditions::compute(pod, phase, &init_statuses, &statuses, inputs));
    status.init_container_statuses = Some(init_statuses).filter(|s| !s.is_empty());
    status.container_statuses = Some(statuses).filter(|s| !s.is_empty());
    status.ephemeral_container_statuses = Some(ephemeral_statuses).filter(|s| !s.is_empty());
    status
}

/// Only why; there are no containers to speak of.
fn rejected(pod: &Pod, inputs: &Inputs<'_>) -> PodStatus {
    PodStatus {
        phase: Some(phase::Phase::Failed.as_str().to_owned()),
        reason: inputs.failure.map(|f| f.reason.clone()),
        message: inputs.failure.map(|f| f.message.clone()),
        start_time: inputs.old.start_time.clone().or(Some(Time(inputs.now))),
        observed_generation: pod.metadata.generation,
        qos_class: Some(pod.qos_class().as_str().to_owned()),
        conditions: inputs.old.conditions.clone(),
        ..PodStatus::default()
    }
}

/// A pod that has failed or succeeded stays so.
fn final_phase(old: &PodStatus, computed: phase::Phase) -> phase::Phase {
    match old.phase.as_deref() {
        Some("Failed") => phase::Phase::Failed,
        Some("Succeeded") => phase::Phase::Succeeded,
        _ => computed,
    }
}

/// (pod IPs, host IPs). The pod's addresses stay shown while it stops and after it has ended.
fn addresses(pod: &Pod, inputs: &Inputs<'_>) -> (Vec<String>, Vec<String>) {
    let host: Vec<String> = inputs.node_ips.iter().map(ToString::to_string).collect();
    if pod.host_network() {
        let started = !inputs.runtime.sandboxes.is_empty();
        return (if started { host.clone() } else { Vec::new() }, host);
    }
    let current = inputs.runtime.ips();
    let known = inputs.runtime.sandboxes.first().map_or(&[][..], |s| s.ips.as_slice());
    let mut ips = if current.is_empty() { known.to_vec() } else { current.to_vec() };
    if ips.is_empty() {
        ips = inputs.old.pod_ips.iter().flatten().map(|ip| ip.ip.clone()).collect();
    }
    (ips, host)
}

#[cfg(test)]
mod tests;
