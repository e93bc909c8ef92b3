//! The end of a pod: stop it, keep it while it is only finished, and remove everything once it is deleted.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;

use super::{Desired, RETRY, Worker};
use crate::objects::Objects;
use crate::pod::PodExt as _;
use crate::runtime::{kill, sandbox};
use crate::volumes;

impl Worker {
    /// Stops what runs, with the grace that is wanted; a wish for less grace takes effect at once.
    pub(super) async fn terminate(&mut self) {
        loop {
            let desired = self.desired.lock().clone();
            let pod = desired.pod.clone();
            if let Some((failure, _)) = &desired.evict {
                self.failure.get_or_insert_with(|| failure.clone());
            }
            if let Err(error) = self.observe(&pod).await {
                tracing::warn!(pod = pod.describe(), error, "pod was not stopped; trying again");
                tokio::time::sleep(RETRY).await;
                continue;
            }
            self.report_unless_gone(&desired, false);
            if self.runtime.is_stopped() {
                break;
            }
            // Readiness goes on being probed while a pod stops; what would restart it does not.
            self.kubelet.probes.stop_restarting(pod.uid());
            let (kubelet, hurry) = (self.kubelet.clone(), self.hurry.clone());
            let kill = kill::kill_pod(&kubelet, &pod, &self.runtime, grace(&desired));
            tokio::select! {
                outcome = kill => {
                    if let Err(error) = outcome {
                        tracing::warn!(pod = pod.describe(), %error, "pod was not stopped; trying again");
                        tokio::time::sleep(RETRY).await;
                    }
                }
                () = self.shorter_grace(&hurry, &desired) => {}
            }
        }
        let desired = self.desired.lock().clone();
        self.kubelet.probes.remove(desired.pod.uid());
        self.report_unless_gone(&desired, true);
    }

    fn report_unless_gone(&mut self, desired: &Desired, finished: bool) {
        if !desired.gone {
            self.report(&desired.pod, true, finished);
        }
    }

    async fn shorter_grace(&self, hurry: &tokio::sync::Notify, before: &Desired) {
        loop {
            hurry.notified().await;
            let now = self.desired.lock().clone();
            let length = |d: &Desired| grace(d).map_or(d.pod.grace_period_seconds().unsigned_abs(), |g| g.as_secs());
            if now.gone != before.gone || length(&now) < length(before) {
                return;
            }
        }
    }

    /// A pod that ended by itself stays, with its containers and logs, until it is deleted.
    pub(super) async fn wait_for_deletion(&mut self) {
        // Nothing is started any more: what it referred to need not be watched.
        self.objects = Objects::new(None, None, self.changed.clone());
        self.release(false);
        loop {
            let desired = self.desired.lock().clone();
            if desired.gone {
                return;
            }
            if desired.pod.is_deleting() {
                self.report(&desired.pod, true, true);
                self.release(true);
                self.kubelet.statuses.flush(desired.pod.uid()).await;
                if self.confirm_deletion(&desired.pod).await {
                    return;
                }
                let _ = tokio::time::timeout(RETRY, self.changed.notified()).await;
                continue;
            }
            self.changed.notified().await;
        }
    }

    /// Gives back volumes and the control group. `volumes` only when the pod is deleted: a finished pod's containers
    /// may still be looked at, its scratch space not.
    fn release(&self, deleted: bool) {
        let pod = self.desired.lock().pod.clone();
        self.kubelet.tokens.forget(pod.uid());
        self.kubelet.images.forget(pod.uid());
        self.kubelet.crash_backoff.forget(&format!("{}/", pod.uid()));
        if deleted && let Err(error) = volumes::tear_down(&self.kubelet.folders, pod.uid()) {
            tracing::warn!(pod = pod.describe(), %error, "volumes were not removed; trying again later");
        }
        self.kubelet.cgroups.remove_pod(&pod);
    }

    /// Tells the server that the pod is gone from the node. True when the server has no such pod any more.
    async fn confirm_deletion(&self, pod: &Arc<Pod>) -> bool {
        let Some(client) = &self.kubelet.config.client else {
            return true;
        };
        if pod.metadata.finalizers.as_ref().is_some_and(|f| !f.is_empty())
            && pod.metadata.deletion_grace_period_seconds == Some(0)
        {
            // Somebody else's finalizer holds it: nothing more to confirm.
            return self.wait_gone().await;
        }
        crate::status::manager::confirm_deletion(client, pod).await && {
            if pod.metadata.finalizers.as_ref().is_some_and(|f| !f.is_empty()) { self.wait_gone().await } else { true }
        }
    }

    async fn wait_gone(&self) -> bool {
        loop {
            if self.desired.lock().gone {
                return true;
            }
            self.changed.notified().await;
        }
    }

    /// Removes containers, sandboxes, volumes and logs.
    pub(super) async fn clean_up(&mut self) {
        let pod = self.desired.lock().pod.clone();
        loop {
            match self.clean_up_once(&pod).await {
                Ok(()) => break,
                Err(error) => {
                    tracing::warn!(pod = pod.describe(), error, "pod was not cleaned up; trying again");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
        self.release(true);
        self.kubelet.statuses.forget(pod.uid());
        self.kubelet.pleg.forget(pod.uid());
        if let Some(checkpoint) = &self.kubelet.checkpoint {
            checkpoint.remove(pod.uid());
        }
    }

    async fn clean_up_once(&mut self, pod: &Pod) -> Result<(), String> {
        self.observe(pod).await?;
        if !self.runtime.is_stopped() {
            let grace = Some(Duration::ZERO);
            kill::kill_pod(&self.kubelet, pod, &self.runtime, grace).await.map_err(|e| e.to_string())?;
            self.observe(pod).await?;
        }
        for container in &self.runtime.containers {
            self.kubelet.runtime.remove_container(&container.id).await.map_err(|e| e.to_string())?;
            crate::logs::unlink_legacy(pod, &container.name, &container.id);
        }
        for sandbox in &self.runtime.sandboxes {
            self.kubelet.runtime.stop_pod_sandbox(&sandbox.id).await.map_err(|e| e.to_string())?;
            self.kubelet.runtime.remove_pod_sandbox(&sandbox.id).await.map_err(|e| e.to_string())?;
        }
        match std::fs::remove_dir_all(sandbox::log_directory(pod)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(format!("removing its logs: {error}")),
            _ => Ok(()),
        }
    }
}

/// The grace period that overrides the pod's own.
fn grace(desired: &Desired) -> Option<Duration> {
    desired.evict.as_ref().map(|(_, grace)| *grace)
}
