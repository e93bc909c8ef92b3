//! The pods of the node on disk, so that they are run after a restart with no server in reach.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;

use k8s_openapi::api::core::v1::Pod;

use crate::pod::{PodExt as _, is_safe_name};

/// One file per pod: `<root>/checkpoints/<uid>.json`.
pub struct Checkpoint {
    folder: PathBuf,
}

impl Checkpoint {
    pub fn open(folder: PathBuf) -> std::io::Result<Self> {
        fs::create_dir_all(&folder)?;
        Ok(Self { folder })
    }

    fn path(&self, uid: &str) -> PathBuf {
        self.folder.join(format!("{uid}.json"))
    }

    /// Writes what is wanted of the pod. Its status is not: it is read from the runtime. Unchanged pods are not written.
    pub fn save(&self, pod: &Pod) {
        if !is_safe_name(pod.uid()) || pod.is_terminal() {
            return;
        }
        let mut kept = pod.clone();
        kept.metadata.managed_fields = None;
        kept.metadata.resource_version = None;
        if let Some(status) = &mut kept.status {
            let start_time = status.start_time.take();
            *status = k8s_openapi::api::core::v1::PodStatus { start_time, ..Default::default() };
        }
        let Ok(text) = serde_json::to_vec(&kept) else {
            return;
        };
        let path = self.path(pod.uid());
        if fs::read(&path).is_ok_and(|before| before == text) {
            return;
        }
        let fresh = path.with_extension("tmp");
        if let Err(error) = fs::write(&fresh, text).and_then(|()| fs::rename(&fresh, &path)) {
            tracing::warn!(pod = pod.describe(), %error, "pod was not checkpointed");
        }
    }

    pub fn remove(&self, uid: &str) {
        if is_safe_name(uid) {
            let _ = fs::remove_file(self.path(uid));
        }
    }

    pub fn load(&self) -> Vec<Pod> {
        let files = fs::read_dir(&self.folder).into_iter().flatten().flatten().map(|e| e.path());
        let json = files.filter(|p| p.extension().is_some_and(|e| e == "json"));
        json.filter_map(|path| match serde_json::from_slice(&fs::read(&path).ok()?) {
            Ok(pod) => Some(pod),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "checkpoint is not readable; skipped");
                None
            }
        })
        .collect()
    }

    /// Forgets all pods that the server does not know.
    pub fn retain(&self, known: &HashSet<String>) {
        for pod in self.load() {
            if !known.contains(pod.uid()) {
                self.remove(pod.uid());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pods_are_saved_and_forgotten() {
        let folder = tempfile::tempdir().expect("a folder");
        let checkpoint = Checkpoint::open(folder.path().join("c")).expect("opened");
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p", "uid": "u", "resourceVersion": "7"},
            "status": {"phase": "Running"}}))
        .expect("a pod");
        checkpoint.save(&pod);
        let loaded = checkpoint.load();
        assert_eq!(loaded.first().map(|p| p.name().to_owned()).as_deref(), Some("p"));
        assert_eq!(loaded.first().and_then(|p| p.metadata.resource_version.clone()), None);
        checkpoint.retain(&HashSet::new());
        assert!(checkpoint.load().is_empty());
    }
}
