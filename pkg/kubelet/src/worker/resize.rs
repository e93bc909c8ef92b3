//! Giving running containers other resources.

use std::sync::Arc;

use client::EventType::Warning;
use k8s_openapi::api::core::v1::Pod;

use super::Worker;
use crate::admission;
use crate::resize::Change;
use crate::resources;
use crate::runtime::kill;
use crate::status::Waiting;

impl Worker {
    /// Brings what containers were given in line with what the pod wants now.
    pub(super) async fn resize(&mut self, pod: &Arc<Pod>) {
        self.given.follow(pod, &self.runtime);
        let changes = self.given.changes(pod, &self.runtime);
        if changes.is_empty() {
            self.resize_pending = None;
            return;
        }
        self.resize_pending = self.resize_obstacle(pod);
        if self.resize_pending.is_some() {
            return;
        }
        let kubelet = self.kubelet.clone();
        let pids = kubelet.config.pod_pids_max;
        // Room above before more below; what shrinks is made smaller above afterwards.
        let _ = kubelet.cgroups.make_pod(pod, pids);
        for change in changes {
            match change {
                Change::InPlace { id, name } => self.resize_in_place(pod, &id, &name).await,
                Change::Restart { id, name } => {
                    let message = format!("Container {name} resize requires restart");
                    let request = kill::Request { id: &id, name: &name, message: &message, grace: None };
                    let turn = std::future::ready(());
                    kill::kill_container(&kubelet, pod, self.runtime.ips(), &request, turn).await;
                }
            }
        }
        if let Err(error) = kubelet.cgroups.make_pod(pod, pids) {
            tracing::debug!(%error, "limits of the whole pod were not set");
        }
        kubelet.weigh_burstable();
    }

    async fn resize_in_place(&mut self, pod: &Arc<Pod>, id: &str, name: &str) {
        use crate::pod::PodExt as _;
        let Some(container) = pod.find_container(name) else { return };
        let wanted = resources::linux_resources(pod, &container, self.kubelet.machine.memory);
        match self.kubelet.runtime.update_container_resources(id, wanted).await {
            Ok(()) => self.given.set(id, container.resources.as_ref()),
            Err(error) => {
                self.kubelet.events.container(pod, name, Warning, "ResizeError", &error.message());
                self.wake_in(super::RETRY_MAX);
            }
        }
    }

    /// Why the node cannot give it: never (`Infeasible`), or not now (`Deferred`).
    fn resize_obstacle(&self, pod: &Arc<Pod>) -> Option<Waiting> {
        use crate::pod::PodExt as _;
        let node = self.kubelet.node_view();
        let why = |reason: &str, failure: crate::status::PodFailure| Waiting {
            reason: reason.into(),
            message: failure.message,
        };
        if let Err(failure) = admission::fits(pod, &[], &node) {
            return Some(why("Infeasible", failure));
        }
        let others = self.kubelet.active_pods(pod.uid());
        admission::fits(pod, &others, &node).err().map(|failure| why("Deferred", failure))
    }
}
