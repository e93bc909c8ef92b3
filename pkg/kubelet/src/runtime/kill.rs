//! Stopping: preStop, the stop signal, and the order in which a pod's containers go.

use std::sync::Arc;
use std::time::{Duration, Instant};

use client::EventType::{Normal, Warning};
use futures::future::join_all;
use k8s_openapi::api::core::v1::{LifecycleHandler, Pod};
use tokio_util::sync::CancellationToken;

use super::{ContainerStatus, PodRuntimeStatus, State};
use crate::hooks;
use crate::kubelet::Kubelet;
use crate::pod::{PodExt as _, is_sidecar};

/// However late it is, a container gets this long between the signal and the kill.
const GRACE_MIN: Duration = Duration::from_secs(2);

/// One container to stop.
pub struct Request<'a> {
    pub id: &'a str,
    pub name: &'a str,
    pub message: &'a str,
    /// Instead of the pod's own grace period.
    pub grace: Option<Duration>,
}

/// Runs preStop, waits for `turn`, and stops the container; all within the grace period.
pub async fn kill_container(
    kubelet: &Arc<Kubelet>,
    pod: &Pod,
    pod_ips: &[String],
    request: &Request<'_>,
    turn: impl Future<Output = ()>,
) {
    let seconds = u64::try_from(pod.grace_period_seconds()).unwrap_or(0);
    let grace = request.grace.unwrap_or(Duration::from_secs(seconds));
    let started = Instant::now();
    let message = if request.message.is_empty() {
        format!("Stopping container {}", request.name)
    } else {
        request.message.to_owned()
    };
    kubelet.events.container(pod, request.name, Normal, "Killing", &message);
    let container = pod.find_container(request.name);
    let hook = container.as_ref().and_then(|c| c.lifecycle.as_ref()).and_then(|l| l.pre_stop.clone());
    if let Some(hook) = hook.filter(|_| !grace.is_zero()) {
        pre_stop(kubelet, pod, pod_ips, request, container.as_ref(), &hook, grace).await;
    }
    let _ = tokio::time::timeout(grace.saturating_sub(started.elapsed()), turn).await;
    let left = grace.saturating_sub(started.elapsed());
    // Asked to go at once: no second chance. Else, a minimum even where preStop used up the time.
    let left = if grace.is_zero() { Duration::ZERO } else { left.max(GRACE_MIN) };
    if let Err(error) = kubelet.runtime.stop_container(request.id, left).await {
        tracing::warn!(pod = pod.describe(), container = request.name, %error, "container was not stopped");
    }
}

async fn pre_stop(
    kubelet: &Arc<Kubelet>,
    pod: &Pod,
    pod_ips: &[String],
    request: &Request<'_>,
    container: Option<&k8s_openapi::api::core::v1::Container>,
    hook: &LifecycleHandler,
    grace: Duration,
) {
    let ip = pod_ips.first().map(String::as_str).unwrap_or_default();
    let run = hooks::run(&*kubelet.runtime, request.id, container, ip, hook);
    match tokio::time::timeout(grace, run).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(pod = pod.describe(), container = request.name, error, "preStop hook failed");
            kubelet.events.container(pod, request.name, Warning, "FailedPreStopHook", "PreStopHook failed");
        }
        Err(_) => tracing::info!(pod = pod.describe(), container = request.name, "preStop used up the grace period"),
    }
}

/// Stops every container, main ones together and then sidecars in reverse order, and then the sandboxes.
/// True when nothing is left running.
pub async fn kill_pod(
    kubelet: &Arc<Kubelet>,
    pod: &Pod,
    status: &PodRuntimeStatus,
    grace: Option<Duration>,
) -> Result<(), cri::Error> {
    let alive = |c: &&ContainerStatus| matches!(c.state, State::Running | State::Unknown);
    let running: Vec<&ContainerStatus> = status.containers.iter().filter(alive).collect();
    // The place of a sidecar among the init containers; main and ephemeral ones come before all of them.
    let place = |name: &str| pod.init_containers().iter().position(|c| c.name == name && is_sidecar(c));
    let stopped: Vec<CancellationToken> = running.iter().map(|_| CancellationToken::new()).collect();
    let kills = running.iter().enumerate().map(|(at, container)| {
        let mine = place(&container.name);
        let before: Vec<CancellationToken> = running
            .iter()
            .zip(&stopped)
            .filter(|(other, _)| match (mine, place(&other.name)) {
                (None, _) => false,
                (Some(_), None) => true,
                (Some(mine), Some(other)) => other > mine,
            })
            .map(|(_, token)| token.clone())
            .collect();
        let turn = async move {
            for token in before {
                token.cancelled().await;
            }
        };
        let token = stopped.get(at).cloned().unwrap_or_default();
        async move {
            let request = Request { id: &container.id, name: &container.name, message: "", grace };
            kill_container(kubelet, pod, status.ips(), &request, turn).await;
            token.cancel();
        }
    });
    join_all(kills).await;
    for sandbox in &status.sandboxes {
        if sandbox.ready || sandbox.id == status.sandboxes.first().map_or("", |s| &s.id) {
            kubelet.runtime.stop_pod_sandbox(&sandbox.id).await?;
        }
    }
    Ok(())
}
