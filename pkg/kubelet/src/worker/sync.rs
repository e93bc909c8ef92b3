//! One sync of a pod that is meant to run.

use std::sync::Arc;
use std::time::Duration;

use client::EventType::{Normal, Warning};
use cri::v1;
use k8s_openapi::api::core::v1::{Container, Pod};

use super::{Next, Worker};
use crate::actions::{Kill, KillReason, PodActions, compute_pod_actions};
use crate::names::reason;
use crate::pod::{PodExt as _, as_container};
use crate::runtime::container_config::container_hash;
use crate::runtime::start::{NotStarted, Session, backoff_key};
use crate::runtime::{kill, sandbox};
use crate::status::{PodFailure, Waiting};
use crate::{admission, volumes};

impl Worker {
    /// Looks, plans, acts, and looks again.
    pub(super) async fn sync(&mut self, pod: &Arc<Pod>) -> Result<Next, String> {
        self.observe(pod).await?;
        if !self.admitted {
            if let Some(failure) = self.admit(pod) {
                self.failure = Some(failure);
                return Ok(Next::Stop);
            }
            self.admitted = true;
            self.objects.prefetch(pod);
        }
        if self.deadline_passed(pod) {
            let message = "Pod was active on the node longer than the specified deadline".to_owned();
            self.kubelet.events.pod(pod, Normal, reason::DEADLINE, &message);
            self.failure = Some(PodFailure { reason: reason::DEADLINE.to_owned(), message });
            return Ok(Next::Stop);
        }
        self.kubelet.probes.sync(pod, &self.runtime, &self.changed);
        self.resize(pod).await;
        self.report(pod, false, false);
        if self.is_finished() {
            return Ok(Next::Stop);
        }
        let actions = compute_pod_actions(pod, &self.runtime, &self.kubelet.probes.results(pod.uid()), container_hash);
        // Content that changes (tokens, ConfigMaps) is renewed even when there is nothing to start.
        self.prepare(pod).await?;
        if actions.is_empty() {
            return Ok(Next::Wait);
        }
        let outcome = self.act(pod, actions).await;
        self.observe(pod).await?;
        self.given.follow(pod, &self.runtime);
        self.kubelet.probes.sync(pod, &self.runtime, &self.changed);
        self.report(pod, false, false);
        outcome?;
        Ok(if self.is_finished() { Next::Stop } else { Next::Wait })
    }

    fn is_finished(&self) -> bool {
        matches!(self.status.phase.as_deref(), Some("Succeeded" | "Failed"))
    }

    /// A pod that the node has accepted before, or that runs already, is not judged again.
    fn admit(&self, pod: &Arc<Pod>) -> Option<PodFailure> {
        let accepted = self.status.start_time.is_some() || !self.runtime.sandboxes.is_empty() || pod.is_static();
        if accepted {
            return None;
        }
        let judged = if self.kubelet.is_going_down() {
            Err(admission::going_down())
        } else {
            admission::admit(pod, &self.kubelet.active_pods(pod.uid()), &self.kubelet.node_view())
        };
        let failure = judged.err()?;
        self.kubelet.events.pod(pod, Warning, &failure.reason, &failure.message);
        Some(PodFailure { message: format!("Pod was rejected: {}", failure.message), ..failure })
    }

    /// True once `activeDeadlineSeconds` are over; else wakes up when they will be.
    fn deadline_passed(&mut self, pod: &Pod) -> bool {
        let Some(seconds) = pod.pod_spec().active_deadline_seconds else {
            return false;
        };
        let Some(start) = self.status.start_time.as_ref().map(|t| t.0) else {
            return false;
        };
        let deadline = start + Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        if deadline <= jiff::Timestamp::now() {
            return true;
        }
        self.wake_at_time(deadline);
        false
    }

    /// Folders, control group and volumes.
    async fn prepare(&mut self, pod: &Arc<Pod>) -> Result<(), String> {
        let kubelet = self.kubelet.clone();
        let folder = kubelet.folders.pod(pod.uid());
        std::fs::create_dir_all(&folder).map_err(|e| format!("making {}: {e}", folder.display()))?;
        if self.runtime.ready_sandbox().is_none() {
            kubelet.cgroups.make_pod(pod, kubelet.config.pod_pids_max).map_err(|e| {
                format!("failed to ensure that the pod: {} cgroups exist and are correctly applied: {e}", pod.uid())
            })?;
            kubelet.weigh_burstable();
        }
        let host_ips = kubelet.host_ips();
        let pod_ips = self.pod_ips(pod);
        let given = kubelet.given(pod.uid());
        let context = volumes::Context {
            pod,
            objects: &self.objects,
            tokens: &kubelet.tokens,
            given: given.as_ref(),
            node: &kubelet.node_resources(),
            pod_ips: &pod_ips,
            host_ips: &host_ips,
        };
        match volumes::set_up(&kubelet.folders, &context).await {
            Ok(renew_at) => {
                if let Some(at) = renew_at {
                    self.wake_at_time(at);
                }
                Ok(())
            }
            Err(error) if self.runtime.ready_sandbox().is_some() => {
                // It runs with what it has; a later change brings the new content.
                tracing::debug!(pod = pod.describe(), %error, "volume was not renewed");
                self.wake_in(Duration::from_secs(60));
                Ok(())
            }
            Err(error) => {
                kubelet.events.pod(pod, Warning, "FailedMount", &error.to_string());
                Err(error.to_string())
            }
        }
    }

    fn pod_ips(&self, pod: &Pod) -> Vec<String> {
        if pod.host_network() { self.kubelet.host_ips() } else { self.runtime.ips().to_vec() }
    }

    async fn act(&mut self, pod: &Arc<Pod>, actions: PodActions) -> Result<(), String> {
        let kubelet = self.kubelet.clone();
        if actions.kill_pod {
            if actions.create_sandbox.is_some() {
                kubelet.events.pod(
                    pod,
                    Normal,
                    "SandboxChanged",
                    "Pod sandbox changed, it will be killed and re-created.",
                );
            }
            kill::kill_pod(&kubelet, pod, &self.runtime, None).await.map_err(|e| e.to_string())?;
            self.observe(pod).await?;
            if actions.create_sandbox.is_none() {
                return Ok(());
            }
        }
        let kills = actions.kill.iter().map(|kill| self.kill_one(pod, kill));
        futures::future::join_all(kills).await;
        if !actions.kill.is_empty() {
            self.observe(pod).await?;
        }
        let attempt = actions.create_sandbox.or(self.runtime.sandboxes.first().map(|s| s.attempt)).unwrap_or(0);
        let config = sandbox::sandbox_config(pod, attempt, &kubelet.config, &kubelet.cgroups);
        let sandbox_id = match actions.create_sandbox {
            Some(_) => self.create_sandbox(pod, &config).await?,
            None => self.runtime.sandboxes.first().map(|s| s.id.clone()).unwrap_or_default(),
        };
        let mut starts: Vec<Container> = Vec::new();
        let ephemeral = pod.ephemeral_containers().iter().filter(|e| actions.start_ephemeral.contains(&e.name));
        starts.extend(ephemeral.map(as_container));
        starts.extend(actions.start_init.iter().chain(&actions.start).filter_map(|name| pod.find_container(name)));
        self.start_all(pod, starts, &sandbox_id, &config).await;
        Ok(())
    }

    async fn kill_one(&self, pod: &Pod, kill: &Kill) {
        let container = pod.find_container(&kill.name);
        let probe_grace = container.and_then(|c| match kill.reason {
            KillReason::LivenessProbe => c.liveness_probe.and_then(|p| p.termination_grace_period_seconds),
            KillReason::StartupProbe => c.startup_probe.and_then(|p| p.termination_grace_period_seconds),
            _ => None,
        });
        let grace = probe_grace.map(|s| Duration::from_secs(u64::try_from(s).unwrap_or(0)));
        let request = kill::Request { id: &kill.id, name: &kill.name, message: &kill.message, grace };
        let turn = std::future::ready(());
        kill::kill_container(&self.kubelet, pod, self.runtime.ips(), &request, turn).await;
    }

    async fn create_sandbox(&mut self, pod: &Arc<Pod>, config: &v1::PodSandboxConfig) -> Result<String, String> {
        let logs = sandbox::log_directory(pod);
        std::fs::create_dir_all(&logs).map_err(|e| format!("making {}: {e}", logs.display()))?;
        let handler = self.kubelet.runtime_handler(pod).await?;
        match self.kubelet.runtime.run_pod_sandbox(config.clone(), &handler).await {
            Ok(id) => {
                self.kubelet.pleg.remember(&id, pod.uid());
                self.observe(pod).await?;
                // The address is shown as soon as it is known; init containers may take long.
                self.report(pod, false, false);
                Ok(id)
            }
            Err(error) => {
                let message = error.message();
                self.kubelet.events.pod(
                    pod,
                    Warning,
                    "FailedCreatePodSandBox",
                    &format!("Failed to create pod sandbox: {error}"),
                );
                Err(format!("Failed to create pod sandbox: {message}"))
            }
        }
    }

    /// Starts containers one after the other; one that fails does not hold up the rest.
    async fn start_all(
        &mut self,
        pod: &Arc<Pod>,
        containers: Vec<Container>,
        sandbox_id: &str,
        config: &v1::PodSandboxConfig,
    ) {
        let pod_ips = self.pod_ips(pod);
        let kubelet = self.kubelet.clone();
        for container in containers {
            let session = Session {
                kubelet: &kubelet,
                pod,
                status: &self.runtime,
                objects: &self.objects,
                sandbox_id,
                sandbox_config: config,
                pod_ips: &pod_ips,
                changed: &self.changed,
            };
            match session.start(&container).await {
                Ok(_) => {
                    self.waiting.remove(&container.name);
                }
                Err(NotStarted::Pulling) => {}
                Err(NotStarted::Waiting { why, retry_in }) => {
                    self.note_waiting(pod, &container, why);
                    if let Some(wait) = retry_in {
                        self.wake_in(wait);
                    }
                }
            }
        }
    }

    fn note_waiting(&mut self, pod: &Pod, container: &Container, why: Waiting) {
        tracing::debug!(
            pod = pod.describe(),
            container = container.name,
            reason = why.reason,
            message = why.message,
            key = backoff_key(pod, container),
            "container did not start"
        );
        self.waiting.insert(container.name.clone(), why);
    }
}
