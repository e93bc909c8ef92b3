//! What to do for a pod, from its spec and what runs: a pure plan, which [`crate::worker`] then carries out.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::{Container, Pod};

use crate::pod::{PodExt as _, is_sidecar};
use crate::runtime::{ContainerStatus, PodRuntimeStatus, State};

/// The last results of a container's probes; `None` until there is one (or where there is no such probe).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Probed {
    pub startup: Option<bool>,
    pub liveness: Option<bool>,
    pub readiness: Option<bool>,
}

/// Results by container id: a new container starts afresh.
pub type ProbeResults = HashMap<String, Probed>;

/// Why a running container is to be stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KillReason {
    DefinitionChanged,
    LivenessProbe,
    StartupProbe,
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kill {
    pub id: String,
    pub name: String,
    pub reason: KillReason,
    pub message: String,
}

/// The plan. Names are those of containers in the spec, in the order in which to act.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodActions {
    /// Stop everything that runs, the sandbox included.
    pub kill_pod: bool,
    /// Make a sandbox (after killing), with this attempt number.
    pub create_sandbox: Option<u32>,
    pub kill: Vec<Kill>,
    pub start_init: Vec<String>,
    pub start: Vec<String>,
    pub start_ephemeral: Vec<String>,
}

impl PodActions {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Computes the plan of a pod that is meant to run. `hash_of` gives a container's hash as written on what we start.
pub fn compute_pod_actions(
    pod: &Pod,
    status: &PodRuntimeStatus,
    probes: &ProbeResults,
    hash_of: impl Fn(&Container) -> String,
) -> PodActions {
    if let Some(attempt) = sandbox_changed(pod, status) {
        return new_sandbox_actions(pod, status, attempt);
    }
    let mut plan = Plan { pod, status, probes, hash_of: &hash_of, actions: PodActions::default() };
    plan.ephemeral_containers();
    if plan.init_containers() && !plan.actions.kill_pod {
        plan.main_containers();
    }
    plan.actions
}

/// The attempt of a new sandbox, if one is needed: none is there, the newest is dead, or it lost its network.
fn sandbox_changed(pod: &Pod, status: &PodRuntimeStatus) -> Option<u32> {
    let Some(newest) = status.sandboxes.first() else {
        return Some(0);
    };
    let several_ready = status.sandboxes.iter().filter(|s| s.ready).count() > 1;
    let without_network = !pod.host_network() && newest.ips.is_empty();
    let network_moved = newest.host_network != pod.host_network();
    (several_ready || !newest.ready || without_network || network_moved).then_some(newest.attempt + 1)
}

/// A new sandbox begins from the start: with the first init container, if there is one.
fn new_sandbox_actions(pod: &Pod, status: &PodRuntimeStatus, attempt: u32) -> PodActions {
    let mut actions = PodActions { kill_pod: !status.sandboxes.is_empty(), ..PodActions::default() };
    let ran_before = attempt != 0 && !status.containers.is_empty();
    if pod.restart_policy() == "Never" && ran_before {
        return actions;
    }
    let succeeded = |c: &Container| status.find(&c.name).is_some_and(|s| s.state == State::Exited && s.exit_code == 0);
    let unfinished = |c: &&Container| pod.restart_policy() != "OnFailure" || !succeeded(c);
    let start: Vec<String> = pod.containers().iter().filter(unfinished).map(|c| c.name.clone()).collect();
    if start.is_empty() {
        return actions;
    }
    actions.create_sandbox = Some(attempt);
    match pod.init_containers().first() {
        Some(first) => actions.start_init = vec![first.name.clone()],
        None => actions.start = start,
    }
    actions
}

/// True where a container that is not running is to be started (again).
pub fn should_restart(pod: &Pod, container: &Container, status: Option<&ContainerStatus>) -> bool {
    if pod.is_deleting() {
        return false;
    }
    let Some(status) = status else {
        return true;
    };
    match status.state {
        State::Running => false,
        // A container that was made but never ran: its start failed.
        State::Created | State::Unknown => true,
        State::Exited if rule_restarts(container, status.exit_code) => true,
        State::Exited => match container.restart_policy.as_deref().unwrap_or(pod.restart_policy()) {
            "Never" => false,
            "OnFailure" => status.exit_code != 0,
            _ => true,
        },
    }
}

/// The first rule that fits an exit code goes before the restart policy.
fn rule_restarts(container: &Container, exit_code: i32) -> bool {
    container.restart_policy_rules.iter().flatten().any(|rule| {
        let codes = rule.exit_codes.as_ref();
        let listed = codes.is_some_and(|c| c.values.iter().flatten().any(|v| *v == exit_code));
        let fits = match codes.map(|c| c.operator.as_str()) {
            Some("In") => listed,
            Some("NotIn") => !listed,
            _ => false,
        };
        fits && rule.action == "Restart"
    })
}

struct Plan<'a, H> {
    pod: &'a Pod,
    status: &'a PodRuntimeStatus,
    probes: &'a ProbeResults,
    hash_of: &'a H,
    actions: PodActions,
}

impl<H: Fn(&Container) -> String> Plan<'_, H> {
    /// A container in the sandbox that is now up; those of earlier sandboxes do not count for initialisation.
    fn active(&self, name: &str) -> Option<&ContainerStatus> {
        let sandbox = self.status.sandboxes.first().map(|s| s.id.as_str());
        self.status.find(name).filter(|c| Some(c.sandbox_id.as_str()) == sandbox)
    }

    fn ephemeral_containers(&mut self) {
        let missing = |name: &&str| self.status.find(name).is_none();
        let names = self.pod.ephemeral_containers().iter().map(|c| c.name.as_str()).filter(missing);
        self.actions.start_ephemeral = names.map(str::to_owned).collect();
    }

    /// Goes through the init containers in order; true once the main containers may start.
    fn init_containers(&mut self) -> bool {
        let initialized = self.pod.containers().iter().any(|c| self.active(&c.name).is_some());
        let all = self.pod.init_containers();
        for (at, container) in all.iter().enumerate() {
            let passed = initialized || all.iter().skip(at + 1).any(|later| self.active(&later.name).is_some());
            let go_on = if is_sidecar(container) {
                self.sidecar(container, passed)
            } else {
                passed || self.init_container(container)
            };
            if !go_on {
                return false;
            }
        }
        true
    }

    /// An init container that must end well before anything after it starts.
    fn init_container(&mut self, container: &Container) -> bool {
        let status = self.active(&container.name).cloned();
        match status {
            None => self.start_init(container),
            Some(status) => match status.state {
                State::Running => {}
                State::Exited if status.exit_code == 0 => return true,
                State::Exited if self.restarts_never(container) => self.actions.kill_pod = true,
                State::Exited | State::Created => self.start_init(container),
                State::Unknown if self.restarts_never(container) => self.actions.kill_pod = true,
                State::Unknown => {
                    self.kill(&status, KillReason::Unknown, "is in unknown state, try killing it before restart");
                    self.start_init(container);
                }
            },
        }
        false
    }

    fn restarts_never(&self, container: &Container) -> bool {
        container.restart_policy.as_deref().unwrap_or(self.pod.restart_policy()) == "Never"
    }

    /// An init container that stays: what follows starts as soon as it has started. `passed` says that something
    /// after it has begun already.
    fn sidecar(&mut self, container: &Container, passed: bool) -> bool {
        let Some(status) = self.active(&container.name).cloned() else {
            self.start_init(container);
            return passed;
        };
        if status.state != State::Running {
            if status.state == State::Unknown {
                self.kill(&status, KillReason::Unknown, "is in unknown state, try killing it before restart");
            }
            self.start_init(container);
            return passed;
        }
        if let Some((reason, message)) = self.must_stop(container, &status) {
            self.kill(&status, reason, &format!("{message}, will be restarted"));
            self.start_init(container);
            return passed;
        }
        let started = container.startup_probe.is_none() || self.probed(&status).startup == Some(true);
        passed || started
    }

    fn main_containers(&mut self) {
        let mut kept = 0;
        for container in self.pod.containers() {
            let status = self.status.find(&container.name).cloned();
            let Some(running) = status.as_ref().filter(|s| s.state == State::Running) else {
                if should_restart(self.pod, container, status.as_ref()) {
                    if let Some(unknown) = status.filter(|s| s.state == State::Unknown) {
                        self.kill(&unknown, KillReason::Unknown, "is in unknown state, try killing it before restart");
                    }
                    self.actions.start.push(container.name.clone());
                }
                continue;
            };
            let Some((reason, message)) = self.must_stop(container, running) else {
                kept += 1;
                continue;
            };
            let restart = reason == KillReason::DefinitionChanged || !self.restarts_never(container);
            let suffix = if restart { ", will be restarted" } else { "" };
            self.kill(running, reason, &format!("{message}{suffix}"));
            if restart {
                self.actions.start.push(container.name.clone());
            }
        }
        if kept == 0 && self.actions.start.is_empty() {
            // Nothing is left to do: sidecars must not keep the pod alive.
            self.actions = PodActions { kill_pod: true, ..PodActions::default() };
        }
    }

    fn probed(&self, status: &ContainerStatus) -> Probed {
        self.probes.get(&status.id).copied().unwrap_or_default()
    }

    fn must_stop(&self, container: &Container, status: &ContainerStatus) -> Option<(KillReason, &'static str)> {
        let probed = self.probed(status);
        if !status.hash.is_empty() && status.hash != (self.hash_of)(container) {
            Some((KillReason::DefinitionChanged, "definition changed"))
        } else if probed.liveness == Some(false) {
            Some((KillReason::LivenessProbe, "failed liveness probe"))
        } else if probed.startup == Some(false) {
            Some((KillReason::StartupProbe, "failed startup probe"))
        } else {
            None
        }
    }

    fn start_init(&mut self, container: &Container) {
        self.actions.start_init.push(container.name.clone());
    }

    fn kill(&mut self, status: &ContainerStatus, reason: KillReason, what: &str) {
        let message = format!("Container {} {what}", status.name);
        self.actions.kill.push(Kill { id: status.id.clone(), name: status.name.clone(), reason, message });
    }
}

#[cfg(test)]
#[path = "actions_tests.rs"]
mod tests;
