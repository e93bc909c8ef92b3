//! Changing the resources of running containers: what was given to each is remembered, compared with what is wanted,
//! and changed in place, or by a restart where the container asks for that.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};

use crate::pod::{PodExt as _, is_sidecar};
use crate::resources;
use crate::runtime::{PodRuntimeStatus, State};

/// What each container of a pod was given, by container id. Kept in the pod's folder, so that our restart changes nothing.
#[derive(Clone, Debug, Default)]
pub struct Given {
    path: PathBuf,
    by_id: BTreeMap<String, ResourceRequirements>,
}

/// What is to be done with one container.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    InPlace { id: String, name: String },
    Restart { id: String, name: String },
}

impl Given {
    pub fn load(pod_folder: &Path) -> Self {
        let path = pod_folder.join("resources.json");
        let by_id = std::fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        Self { path, by_id }
    }

    pub fn set(&mut self, id: &str, wanted: Option<&ResourceRequirements>) {
        let wanted = wanted.cloned().unwrap_or_default();
        if self.by_id.get(id) == Some(&wanted) {
            return;
        }
        self.by_id.insert(id.to_owned(), wanted);
        let written = serde_json::to_vec(&self.by_id).map_err(std::io::Error::other);
        if let Err(error) = written.and_then(|text| std::fs::write(&self.path, text)) {
            tracing::debug!(path = %self.path.display(), %error, "given resources were not written down");
        }
    }

    pub fn get(&self, id: &str) -> Option<&ResourceRequirements> {
        self.by_id.get(id)
    }

    /// Forgets containers that are gone; notes those that were started before anything was noted.
    pub fn follow(&mut self, pod: &Pod, status: &PodRuntimeStatus) {
        self.by_id.retain(|id, _| status.by_id(id).is_some());
        for container in resizable(pod) {
            if let Some(found) = status.find(&container.name).filter(|c| c.state == State::Running)
                && !self.by_id.contains_key(&found.id)
            {
                self.set(&found.id, container.resources.as_ref());
            }
        }
    }

    /// The containers whose resources are not as wanted.
    pub fn changes(&self, pod: &Pod, status: &PodRuntimeStatus) -> Vec<Change> {
        let mut changes = Vec::new();
        for container in resizable(pod) {
            let Some(found) = status.find(&container.name).filter(|c| c.state == State::Running) else { continue };
            let Some(given) = self.get(&found.id) else { continue };
            let changed: Vec<&str> = ["cpu", "memory"]
                .into_iter()
                .filter(|name| differs(given, container.resources.as_ref(), name))
                .collect();
            if changed.is_empty() {
                continue;
            }
            let (id, name) = (found.id.clone(), container.name.clone());
            let restarts = changed.iter().any(|resource| policy(container, resource) == "RestartContainer");
            changes.push(if restarts { Change::Restart { id, name } } else { Change::InPlace { id, name } });
        }
        changes
    }
}

fn resizable(pod: &Pod) -> impl Iterator<Item = &Container> {
    pod.containers().iter().chain(pod.init_containers().iter().filter(|c| is_sidecar(c)))
}

fn policy<'a>(container: &'a Container, resource: &str) -> &'a str {
    let policies = container.resize_policy.iter().flatten();
    policies.into_iter().find(|p| p.resource_name == resource).map_or("NotRequired", |p| p.restart_policy.as_str())
}

fn differs(given: &ResourceRequirements, wanted: Option<&ResourceRequirements>, name: &str) -> bool {
    let amount = |list: Option<&resources::List>| list.and_then(|l| l.get(name)).map(resources::milli);
    amount(given.requests.as_ref()) != amount(wanted.and_then(|w| w.requests.as_ref()))
        || amount(given.limits.as_ref()) != amount(wanted.and_then(|w| w.limits.as_ref()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::runtime::ContainerStatus;

    fn running(name: &str) -> ContainerStatus {
        let read = cri::v1::ContainerStatus {
            id: format!("{name}-id"),
            metadata: Some(cri::v1::ContainerMetadata { name: name.into(), attempt: 0 }),
            state: cri::v1::ContainerState::ContainerRunning as i32,
            ..Default::default()
        };
        crate::runtime::observe::container_status(&read, "s")
    }

    #[test]
    fn only_what_changed_is_changed_and_by_policy() {
        let pod = |cpu: &str, memory: &str| -> Pod {
            serde_json::from_value(json!({"spec": {"containers": [{"name": "a",
                "resizePolicy": [{"resourceName": "memory", "restartPolicy": "RestartContainer"}],
                "resources": {"requests": {"cpu": cpu, "memory": memory}}}]}}))
            .expect("a pod")
        };
        let folder = tempfile::tempdir().expect("a folder");
        let status = PodRuntimeStatus { containers: vec![running("a")], ..Default::default() };
        let mut given = Given::load(folder.path());
        given.follow(&pod("1", "1Mi"), &status);
        assert!(given.changes(&pod("1000m", "1024Ki"), &status).is_empty());
        let (id, name) = ("a-id".to_owned(), "a".to_owned());
        let in_place = vec![Change::InPlace { id: id.clone(), name: name.clone() }];
        assert_eq!(given.changes(&pod("2", "1Mi"), &status), in_place);
        assert_eq!(given.changes(&pod("2", "2Mi"), &status), vec![Change::Restart { id, name }]);
        assert_eq!(Given::load(folder.path()).changes(&pod("2", "1Mi"), &status), in_place, "kept on disk");
    }
}
