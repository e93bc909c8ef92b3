//! One task per pod: brings what runs in line with what is wanted, one step at a time, and reports the status.

mod lifecycle;
mod resize;
mod sync;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::kubelet::Kubelet;
use crate::objects::Objects;
use crate::pod::PodExt as _;
use crate::resize::Given;
use crate::runtime::PodRuntimeStatus;
use crate::status::{PodFailure, Waiting};

/// What is wanted of a pod.
#[derive(Clone)]
pub struct Desired {
    pub pod: Arc<Pod>,
    /// It is no longer in its source: stop it, and do not talk about it to the server.
    pub gone: bool,
    /// Stop it with this grace and reason, although nobody deleted it: eviction by the node itself.
    pub evict: Option<(PodFailure, Duration)>,
}

/// A worker as its manager holds it.
pub struct Handle {
    desired: Arc<Mutex<Desired>>,
    changed: Arc<Notify>,
    /// Triggered when the pod is to stop: interrupts a start under way.
    stop: CancellationToken,
    /// Notified at every change of the wish to stop (a shorter grace period).
    hurry: Arc<Notify>,
    /// Triggered when nothing runs any more.
    ended: CancellationToken,
}

impl Handle {
    /// Starts a worker. `gone` runs when everything of the pod is gone.
    pub fn spawn(kubelet: Arc<Kubelet>, pod: Arc<Pod>, gone: impl FnOnce() + Send + 'static) -> Self {
        let changed = Arc::new(Notify::new());
        let desired = Arc::new(Mutex::new(Desired { pod: pod.clone(), gone: false, evict: None }));
        let handle = Self {
            desired: desired.clone(),
            changed: changed.clone(),
            stop: CancellationToken::new(),
            hurry: Arc::new(Notify::new()),
            ended: CancellationToken::new(),
        };
        let worker = Worker {
            objects: Objects::new(kubelet.informers.clone(), kubelet.given(pod.uid()), changed.clone()),
            kubelet: kubelet.clone(),
            desired,
            changed,
            stop: handle.stop.clone(),
            hurry: handle.hurry.clone(),
            ended: handle.ended.clone(),
            runtime: PodRuntimeStatus::default(),
            waiting: HashMap::new(),
            status: pod.status.clone().unwrap_or_default(),
            failure: None,
            admitted: false,
            wake_at: None,
            failures: 0,
            given: Given::load(&kubelet.folders.pod(pod.uid())),
            resize_pending: None,
        };
        if pod.is_deleting() {
            handle.stop.cancel();
        }
        let shutdown = kubelet.shutdown.clone();
        kubelet.shutdown.spawn(async move {
            // On shutdown containers go on running; the next start finds them.
            if shutdown.race(worker.run()).await.is_some() {
                gone();
            }
        });
        handle
    }

    pub fn pod(&self) -> Arc<Pod> {
        self.desired.lock().pod.clone()
    }

    pub fn ended(&self) -> CancellationToken {
        self.ended.clone()
    }

    pub fn update(&self, pod: Arc<Pod>) {
        let stop = pod.is_deleting();
        let before = std::mem::replace(&mut self.desired.lock().pod, pod.clone());
        if concerns_us(&before, &pod) {
            self.wake(stop);
        }
    }

    pub fn remove(&self) {
        self.desired.lock().gone = true;
        self.wake(true);
    }

    pub fn evict(&self, failure: PodFailure, grace: Duration) {
        self.desired.lock().evict.get_or_insert((failure, grace));
        self.wake(true);
    }

    /// Something about the pod happened: look.
    pub fn notify(&self) {
        self.changed.notify_one();
    }

    fn wake(&self, stop: bool) {
        if stop {
            self.stop.cancel();
            self.hurry.notify_one();
        }
        self.changed.notify_one();
    }
}

/// False for the echo of a status that we sent ourselves: there is nothing to look at.
fn concerns_us(before: &Pod, now: &Pod) -> bool {
    let of_others = |pod: &Pod| {
        let conditions = pod.status.iter().flat_map(|s| s.conditions.iter().flatten());
        let foreign = conditions.filter(|c| !crate::status::conditions::OWNED.contains(&c.type_.as_str()));
        foreign.map(|c| (c.type_.clone(), c.status.clone())).collect::<Vec<_>>()
    };
    let (old, new) = (&before.metadata, &now.metadata);
    before.spec != now.spec
        || old.generation != new.generation
        || old.labels != new.labels
        || old.annotations != new.annotations
        || old.finalizers != new.finalizers
        || old.deletion_timestamp != new.deletion_timestamp
        || old.deletion_grace_period_seconds != new.deletion_grace_period_seconds
        || before.is_terminal() != now.is_terminal()
        || of_others(before) != of_others(now)
}

struct Worker {
    kubelet: Arc<Kubelet>,
    desired: Arc<Mutex<Desired>>,
    changed: Arc<Notify>,
    stop: CancellationToken,
    hurry: Arc<Notify>,
    ended: CancellationToken,
    objects: Objects,
    runtime: PodRuntimeStatus,
    waiting: HashMap<String, Waiting>,
    status: PodStatus,
    failure: Option<PodFailure>,
    admitted: bool,
    /// The next moment at which something is due by itself.
    wake_at: Option<Instant>,
    /// Syncs that failed in a row.
    failures: u32,
    /// What running containers were given, and why they do not get what they want now.
    given: Given,
    resize_pending: Option<Waiting>,
}

/// After a failed sync (the runtime is away, a volume cannot be made): again after this, and longer each time. What the
/// pod refers to is watched, so that most causes end the wait early.
const RETRY: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(20);

/// What a sync found.
enum Next {
    Wait,
    /// The pod is to be stopped: it ended, failed, or ran out of time.
    Stop,
}

impl Worker {
    async fn run(mut self) {
        loop {
            let desired = self.desired.lock().clone();
            if self.must_stop(&desired) {
                break;
            }
            self.wake_at = None;
            let stop = self.stop.clone();
            // A pod that is deleted while it starts must not wait for the start.
            match stop.run_until_cancelled(self.sync(&desired.pod)).await {
                None | Some(Ok(Next::Stop)) => break,
                Some(Ok(Next::Wait)) => self.failures = 0,
                Some(Err(error)) => {
                    tracing::warn!(pod = desired.pod.describe(), error, "pod was not synced; trying again");
                    self.wake_in((RETRY * 2u32.saturating_pow(self.failures)).min(RETRY_MAX));
                    self.failures = self.failures.saturating_add(1).min(8);
                }
            }
            self.wait().await;
        }
        self.terminate().await;
        self.ended.cancel();
        self.wait_for_deletion().await;
        self.clean_up().await;
    }

    fn must_stop(&self, desired: &Desired) -> bool {
        desired.gone || desired.pod.is_deleting() || desired.evict.is_some() || desired.pod.is_terminal()
    }

    async fn wait(&self) {
        let changed = self.changed.notified();
        match self.wake_at {
            None => changed.await,
            Some(at) => {
                let _ = tokio::time::timeout_at(at.into(), changed).await;
            }
        }
    }

    fn wake_in(&mut self, wait: Duration) {
        let at = Instant::now() + wait;
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }

    fn wake_at_time(&mut self, at: Timestamp) {
        self.wake_in(Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or_default());
    }

    /// Reads what runs.
    async fn observe(&mut self, pod: &Pod) -> Result<(), String> {
        let observed = crate::runtime::observe::observe(&*self.kubelet.runtime, pod.uid(), &self.runtime).await;
        self.runtime = observed.map_err(|e| format!("reading the runtime's state: {e}"))?;
        self.kubelet.pleg.remember_all(pod.uid(), &self.runtime);
        Ok(())
    }

    /// Computes the status and hands it to whoever sends it.
    fn report(&mut self, pod: &Arc<Pod>, terminating: bool, finished: bool) {
        let probes = self.kubelet.probes.results(pod.uid());
        let inputs = crate::status::Inputs {
            runtime: &self.runtime,
            probes: &probes,
            waiting: &self.waiting,
            given: &self.given,
            resize_pending: self.resize_pending.as_ref(),
            failure: self.failure.as_ref(),
            rejected: self.failure.is_some() && !self.admitted && self.runtime.sandboxes.is_empty(),
            node_ips: &self.kubelet.config.node_ips,
            old: &self.status,
            terminating,
            finished,
            now: Timestamp::now(),
        };
        self.status = crate::status::generate(pod, &inputs);
        self.kubelet.statuses.set(pod, self.status.clone());
    }
}
