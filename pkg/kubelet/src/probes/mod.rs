//! Startup, liveness and readiness probes: a task for each, results by container.

mod exec;
mod grpc;
pub mod http;
mod tcp;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use client::EventType::Warning;
use cri::RuntimeService;
use k8s_openapi::api::core::v1::{Container, Pod, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use crate::actions::{ProbeResults, Probed};
use crate::events::Events;
use crate::pod::{PodExt as _, is_sidecar};
use crate::runtime::{ContainerStatus, PodRuntimeStatus, State};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Startup,
    Liveness,
    Readiness,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Startup, Self::Liveness, Self::Readiness];

    fn as_str(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }

    fn of(self, container: &Container) -> Option<&Probe> {
        match self {
            Self::Startup => container.startup_probe.as_ref(),
            Self::Liveness => container.liveness_probe.as_ref(),
            Self::Readiness => container.readiness_probe.as_ref(),
        }
    }

    fn slot(self, probed: &mut Probed) -> &mut Option<bool> {
        match self {
            Self::Startup => &mut probed.startup,
            Self::Liveness => &mut probed.liveness,
            Self::Readiness => &mut probed.readiness,
        }
    }
}

#[derive(Default)]
struct PodProbes {
    results: ProbeResults,
    /// By container id: a new instance of a container is probed anew.
    tasks: HashMap<(String, Kind), AbortOnDropHandle<()>>,
    /// The pod stops: what would restart a container is over.
    stopping: bool,
}

/// The probes of all pods.
pub struct Probes {
    runtime: Arc<dyn RuntimeService>,
    events: Events,
    /// Where pods on the host's network are probed.
    node_ip: String,
    pods: Mutex<HashMap<String, PodProbes>>,
}

impl Probes {
    pub fn new(runtime: Arc<dyn RuntimeService>, events: Events, node_ip: String) -> Arc<Self> {
        Arc::new(Self { runtime, events, node_ip, pods: Mutex::default() })
    }

    pub fn results(&self, uid: &str) -> ProbeResults {
        self.pods.lock().get(uid).map(|p| p.results.clone()).unwrap_or_default()
    }

    /// Probes exactly the containers that run. `changed` is notified when a result changes.
    pub fn sync(self: &Arc<Self>, pod: &Arc<Pod>, status: &PodRuntimeStatus, changed: &Arc<Notify>) {
        let probed = |c: &&Container| Kind::ALL.iter().any(|kind| kind.of(c).is_some());
        let sidecars = pod.init_containers().iter().filter(|c| is_sidecar(c));
        let containers: Vec<&Container> = pod.containers().iter().chain(sidecars).filter(probed).collect();
        let mut pods = self.pods.lock();
        if containers.is_empty() && !pods.contains_key(pod.uid()) {
            return;
        }
        let of_pod = pods.entry(pod.uid().to_owned()).or_default();
        let running = |id: &str| status.by_id(id).is_some_and(|c| c.state == State::Running);
        of_pod.tasks.retain(|(id, _), _| running(id));
        of_pod.results.retain(|id, _| status.by_id(id).is_some());
        for container in containers {
            let Some(found) = status.find(&container.name).filter(|c| c.state == State::Running) else { continue };
            self.sync_container(pod, container, found, status, of_pod, changed);
        }
    }

    fn sync_container(
        self: &Arc<Self>,
        pod: &Arc<Pod>,
        container: &Container,
        found: &ContainerStatus,
        status: &PodRuntimeStatus,
        of_pod: &mut PodProbes,
        changed: &Arc<Notify>,
    ) {
        let known = of_pod.results.entry(found.id.clone()).or_insert_with(|| last_known(pod, container, found));
        let started = container.startup_probe.is_none() || known.startup == Some(true);
        for kind in Kind::ALL {
            let Some(probe) = kind.of(container) else { continue };
            // Nothing else is probed until the container has started, and its start only until then.
            let due = (kind == Kind::Startup) != started;
            let wanted = due && !(of_pod.stopping && kind != Kind::Readiness);
            let key = (found.id.clone(), kind);
            if !wanted {
                of_pod.tasks.remove(&key);
                continue;
            }
            of_pod.tasks.entry(key).or_insert_with(|| {
                let task = Task {
                    probes: self.clone(),
                    pod: pod.clone(),
                    container: container.clone(),
                    probe: probe.clone(),
                    kind,
                    id: found.id.clone(),
                    ip: match status.ips().first() {
                        Some(ip) if !pod.host_network() => ip.clone(),
                        _ => self.node_ip.clone(),
                    },
                    changed: changed.clone(),
                };
                AbortOnDropHandle::new(tokio::spawn(task.run(age(found))))
            });
        }
    }

    pub fn stop_restarting(&self, uid: &str) {
        if let Some(pod) = self.pods.lock().get_mut(uid) {
            pod.stopping = true;
            pod.tasks.retain(|(_, kind), _| *kind == Kind::Readiness);
        }
    }

    pub fn remove(&self, uid: &str) {
        self.pods.lock().remove(uid);
    }

    /// Stores a result; true if it is new.
    fn set(&self, uid: &str, id: &str, kind: Kind, result: bool) -> bool {
        let mut pods = self.pods.lock();
        let Some(of_pod) = pods.get_mut(uid) else {
            return false;
        };
        let slot = kind.slot(of_pod.results.entry(id.to_owned()).or_default());
        let changed = *slot != Some(result);
        *slot = Some(result);
        changed
    }
}

/// After our own restart a running container keeps what was last said of it, so that no Service loses it.
fn last_known(pod: &Pod, container: &Container, found: &ContainerStatus) -> Probed {
    let statuses = pod
        .status
        .iter()
        .flat_map(|s| s.container_statuses.iter().flatten().chain(s.init_container_statuses.iter().flatten()));
    let same = |s: &&k8s_openapi::api::core::v1::ContainerStatus| {
        s.container_id.as_deref().is_some_and(|id| id.ends_with(&found.id)) && s.name == container.name
    };
    match statuses.filter(|s| !s.name.is_empty()).find(same) {
        Some(status) => Probed {
            startup: status.started.filter(|started| *started),
            readiness: Some(status.ready).filter(|ready| *ready),
            liveness: None,
        },
        None => Probed::default(),
    }
}

fn age(found: &ContainerStatus) -> Duration {
    let started = found.started_at.unwrap_or_default();
    Duration::try_from(jiff::Timestamp::now().duration_since(started)).unwrap_or_default()
}

/// What one attempt gave.
pub(crate) enum Attempt {
    Success,
    Failure(String),
    /// The probe itself could not be made (the runtime is away): no statement about the container.
    Unknown(String),
}

struct Task {
    probes: Arc<Probes>,
    pod: Arc<Pod>,
    container: Container,
    probe: Probe,
    kind: Kind,
    id: String,
    ip: String,
    changed: Arc<Notify>,
}

impl Task {
    async fn run(self, age: Duration) {
        let seconds =
            |value: Option<i32>, default: u64| value.and_then(|v| u64::try_from(v).ok()).map_or(default, |v| v);
        let delay = Duration::from_secs(seconds(self.probe.initial_delay_seconds, 0));
        let period = Duration::from_secs(seconds(self.probe.period_seconds, 10).max(1));
        let timeout = Duration::from_secs(seconds(self.probe.timeout_seconds, 1).max(1));
        let (success, failure) =
            (seconds(self.probe.success_threshold, 1).max(1), seconds(self.probe.failure_threshold, 3).max(1));
        tokio::time::sleep(delay.saturating_sub(age)).await;
        let mut streak = (false, 0u64);
        let mut ticks = tokio::time::interval_at(Instant::now().into(), period);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let good = match self.attempt(timeout).await {
                Attempt::Success => true,
                Attempt::Failure(message) => {
                    let text = format!("{} probe failed: {message}", self.kind.as_str());
                    self.event(&text);
                    false
                }
                Attempt::Unknown(message) => {
                    self.event(&format!(
                        "{} probe errored and resulted in unknown state: {message}",
                        self.kind.as_str()
                    ));
                    continue;
                }
            };
            streak = if streak.0 == good { (good, streak.1 + 1) } else { (good, 1) };
            if streak.1 < if good { success } else { failure } {
                continue;
            }
            if self.probes.set(self.pod.uid(), &self.id, self.kind, good) {
                self.changed.notify_one();
                if !good && self.kind != Kind::Readiness || good && self.kind == Kind::Startup {
                    // The container is about to be stopped, or has started: this probe's work is done.
                    return;
                }
            }
        }
    }

    fn event(&self, text: &str) {
        self.probes.events.container(&self.pod, &self.container.name, Warning, "Unhealthy", text);
    }

    async fn attempt(&self, timeout: Duration) -> Attempt {
        let ports = self.container.ports.as_deref().unwrap_or_default();
        if let Some(action) = &self.probe.exec {
            let command = action.command.clone().unwrap_or_default();
            return exec::probe(&*self.probes.runtime, &self.id, command, timeout).await;
        }
        if let Some(action) = &self.probe.http_get {
            return match http::Request::from_action(action, &self.ip, ports) {
                Ok(request) => http::probe(&request, timeout).await,
                Err(error) => Attempt::Unknown(error),
            };
        }
        if let Some(action) = &self.probe.tcp_socket {
            let host = action.host.as_deref().filter(|h| !h.is_empty()).unwrap_or(&self.ip);
            return match resolve_port(&action.port, ports) {
                Some(port) => tcp::probe(host, port, timeout).await,
                None => Attempt::Unknown("couldn't find a port of that name".to_owned()),
            };
        }
        if let Some(action) = &self.probe.grpc {
            let service = action.service.as_deref().unwrap_or_default();
            return grpc::probe(&self.ip, action.port, service, timeout).await;
        }
        Attempt::Unknown(format!("missing probe handler for {}:{}", self.pod.describe(), self.container.name))
    }
}

/// A port by number or by its name in the container.
pub fn resolve_port(port: &IntOrString, ports: &[k8s_openapi::api::core::v1::ContainerPort]) -> Option<u16> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => match ports.iter().find(|p| p.name.as_deref() == Some(name)) {
            Some(port) => port.container_port,
            None => name.parse().ok()?,
        },
    };
    u16::try_from(number).ok().filter(|n| *n > 0)
}
