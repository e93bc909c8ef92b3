//! Pod lifecycle events: what the runtime reports goes to the worker of the pod that it is about.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use cri::{EventKind, RuntimeService, v1};
use futures::StreamExt as _;
use parking_lot::Mutex;
use tokio::sync::broadcast;

use crate::kubelet::Kubelet;
use crate::names;
use crate::runtime::PodRuntimeStatus;

/// containerd tells of an exit before its CRI part has noted it: ask again until it has.
const SETTLE_FIRST: Duration = Duration::from_millis(5);
const SETTLE_MAX: Duration = Duration::from_secs(2);
/// Exits that a slow listener may miss before it has to ask.
const EXITS: usize = 256;
/// Before subscribing again after the stream broke.
const RESUBSCRIBE: Duration = Duration::from_secs(1);

/// Which pod a container or sandbox belongs to.
pub struct Pleg {
    owners: Mutex<HashMap<String, String>>,
    /// Ids of containers that ended.
    exits: broadcast::Sender<String>,
}

impl Default for Pleg {
    fn default() -> Self {
        Self { owners: Mutex::default(), exits: broadcast::channel(EXITS).0 }
    }
}

impl Pleg {
    pub fn remember(&self, id: &str, uid: &str) {
        self.owners.lock().insert(id.to_owned(), uid.to_owned());
    }

    pub fn remember_all(&self, uid: &str, status: &PodRuntimeStatus) {
        let mut owners = self.owners.lock();
        let ids = status.sandboxes.iter().map(|s| &s.id).chain(status.containers.iter().map(|c| &c.id));
        for id in ids {
            if !owners.contains_key(id) {
                owners.insert(id.clone(), uid.to_owned());
            }
        }
    }

    pub fn forget(&self, uid: &str) {
        self.owners.lock().retain(|_, owner| owner != uid);
    }

    fn owner(&self, id: &str) -> Option<String> {
        self.owners.lock().get(id).cloned()
    }

    /// Waits until a container has ended.
    pub async fn wait_for_exit(&self, runtime: &dyn RuntimeService, id: &str) {
        let mut exits = self.exits.subscribe();
        loop {
            let status = runtime.container_status(id).await;
            if !status.is_ok_and(|s| s.state() == v1::ContainerState::ContainerRunning) {
                return;
            }
            loop {
                match exits.recv().await {
                    Ok(ended) if ended == id => return,
                    Ok(_) => {}
                    // Some were missed: ask.
                    Err(broadcast::error::RecvError::Lagged(_)) => break,
                    Err(broadcast::error::RecvError::Closed) => return,
                }
            }
        }
    }

    /// The pod of a container that we have not seen: from its labels.
    async fn look_up(&self, runtime: &dyn RuntimeService, id: &str) -> Option<String> {
        if let Some(uid) = self.owner(id) {
            return Some(uid);
        }
        let labels = match runtime.container_status(id).await {
            Ok(status) => status.labels,
            Err(_) => runtime.pod_sandbox_status(id).await.ok()?.labels,
        };
        let uid = labels.get(names::POD_UID)?.clone();
        self.remember(id, &uid);
        Some(uid)
    }
}

/// Follows the runtime's events until shutdown. Each time the stream starts, everything is looked at once.
pub async fn run(kubelet: Arc<Kubelet>) {
    loop {
        match kubelet.runtime.events().await {
            Ok(mut events) => {
                kubelet.notify_all();
                while let Some(event) = events.next().await {
                    match event {
                        Ok(event) => {
                            let kubelet = kubelet.clone();
                            tokio::spawn(async move { deliver(&kubelet, &event).await });
                        }
                        Err(error) => {
                            tracing::warn!(%error, "the runtime's event stream ended; subscribing again");
                            break;
                        }
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "no events from the container runtime; trying again"),
        }
        tokio::time::sleep(RESUBSCRIBE).await;
    }
}

async fn deliver(kubelet: &Kubelet, event: &cri::Event) {
    if !matches!(event.kind, EventKind::Exited | EventKind::OutOfMemory) {
        // All else follows our own calls, whose results we read anyway.
        return;
    }
    let Some(uid) = kubelet.pleg.look_up(&*kubelet.runtime, &event.container_id).await else {
        return;
    };
    if event.kind == EventKind::Exited {
        settle(&*kubelet.runtime, &event.container_id).await;
        // Nobody listening is fine.
        let _ = kubelet.pleg.exits.send(event.container_id.clone());
    }
    kubelet.notify(&uid);
}

/// Waits until the runtime itself shows the exit.
async fn settle(runtime: &dyn RuntimeService, id: &str) {
    let started = tokio::time::Instant::now();
    let mut wait = SETTLE_FIRST;
    while started.elapsed() < SETTLE_MAX {
        let running = match runtime.container_status(id).await {
            Ok(status) => status.state() == v1::ContainerState::ContainerRunning,
            Err(error) if error.is_not_found() => match runtime.pod_sandbox_status(id).await {
                Ok(sandbox) => sandbox.state() == v1::PodSandboxState::SandboxReady,
                Err(_) => false,
            },
            Err(_) => false,
        };
        if !running {
            return;
        }
        tokio::time::sleep(wait).await;
        wait *= 2;
    }
}

/// The safety net: looks at everything now and then, and removes what belongs to no pod.
pub async fn relist(kubelet: Arc<Kubelet>) {
    let mut ticks = tokio::time::interval(kubelet.config.timings.relist);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        kubelet.notify_all();
        crate::gc::remove_orphans(&kubelet).await;
    }
}
