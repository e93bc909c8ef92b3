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

/// containerd tells of an exit before its CRI part has noted it, on a busy machine long before: ask again until it has,
/// for nobody will tell a second time.
const SETTLE_FIRST: Duration = Duration::from_millis(5);
const SETTLE_STEP_MAX: Duration = Duration::from_secs(1);
const SETTLE_MAX: Duration = Duration::from_secs(120);
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

    /// The pod of a container that we have not seen: from its labels. `None`: it is not ours, or gone.
    async fn look_up(&self, runtime: &dyn RuntimeService, id: &str) -> Result<Option<String>, cri::Error> {
        if let Some(uid) = self.owner(id) {
            return Ok(Some(uid));
        }
        let labels = match runtime.container_status(id).await {
            Ok(status) => status.labels,
            Err(error) if error.is_not_found() => match runtime.pod_sandbox_status(id).await {
                Ok(status) => status.labels,
                Err(error) if error.is_not_found() => return Ok(None),
                Err(error) => return Err(error),
            },
            Err(error) => return Err(error),
        };
        let Some(uid) = labels.get(names::POD_UID).cloned() else { return Ok(None) };
        self.remember(id, &uid);
        Ok(Some(uid))
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
    let uid = match kubelet.pleg.look_up(&*kubelet.runtime, &event.container_id).await {
        Ok(Some(uid)) => uid,
        Ok(None) => return,
        Err(error) => {
            // Whose it is cannot be told now, and the event comes but once.
            tracing::warn!(container = event.container_id, %error, "the runtime did not say whose container ended");
            return kubelet.notify_all();
        }
    };
    if event.kind == EventKind::Exited {
        settle(&*kubelet.runtime, &event.container_id).await;
        // Nobody listening is fine.
        let _ = kubelet.pleg.exits.send(event.container_id.clone());
    }
    kubelet.notify(&uid);
}

/// Waits until the runtime itself shows the exit. A container that ends at once may do so before its start is noted.
async fn settle(runtime: &dyn RuntimeService, id: &str) {
    let started = tokio::time::Instant::now();
    let mut wait = SETTLE_FIRST;
    while started.elapsed() < SETTLE_MAX && !has_ended(runtime, id).await {
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(SETTLE_STEP_MAX);
    }
}

/// Also when the runtime does not answer: then the pod's worker finds out why.
async fn has_ended(runtime: &dyn RuntimeService, id: &str) -> bool {
    use v1::ContainerState::{ContainerCreated, ContainerRunning};
    match runtime.container_status(id).await {
        Ok(status) => !matches!(status.state(), ContainerCreated | ContainerRunning),
        Err(error) if error.is_not_found() => match runtime.pod_sandbox_status(id).await {
            Ok(sandbox) => sandbox.state() != v1::PodSandboxState::SandboxReady,
            Err(_) => true,
        },
        Err(_) => true,
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

#[cfg(test)]
mod tests {
    use cri::fake::Fake;

    use super::*;

    /// A sandbox with one container that was not started yet.
    async fn created(fake: &Fake) -> String {
        let metadata = v1::PodSandboxMetadata { name: "p".into(), uid: "u".into(), ..Default::default() };
        let sandbox = v1::PodSandboxConfig { metadata: Some(metadata), ..Default::default() };
        let id = fake.run_pod_sandbox(sandbox.clone(), "").await.expect("a sandbox");
        fake.add_image("busybox:1");
        let container = v1::ContainerConfig {
            metadata: Some(v1::ContainerMetadata { name: "a".into(), attempt: 0 }),
            image: Some(v1::ImageSpec { image: "busybox:1".into(), ..Default::default() }),
            ..Default::default()
        };
        fake.create_container(&id, container, sandbox).await.expect("a container")
    }

    #[tokio::test(start_paused = true)]
    async fn an_exit_counts_when_the_runtime_has_noted_it() {
        let fake = Arc::new(Fake::new());
        let id = created(&fake).await;
        let settling = tokio::spawn({
            let (fake, id) = (fake.clone(), id.clone());
            async move { settle(&*fake, &id).await }
        });
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert!(!settling.is_finished(), "its start is not noted yet");
        fake.start_container(&id).await.expect("it starts");
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert!(!settling.is_finished(), "it is still shown as running");
        fake.note_exit(&id, 1);
        tokio::time::timeout(2 * SETTLE_STEP_MAX, settling).await.expect("in time").expect("no panic");
    }
}
