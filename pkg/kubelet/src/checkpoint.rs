//! The pods of the node on disk, with what they need from the server, so that they are run after a restart with no server
//! in reach.
//!
//! One file for each pod, `<uid>.json`, and beside it a folder `<uid>` of what it was given. All of it is for the owner
//! alone: Secrets and tokens are among it.

use std::collections::HashSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Pod;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::pod::{PodExt as _, is_safe_name};

/// The folder of all pods.
pub struct Checkpoint {
    folder: PathBuf,
}

impl Checkpoint {
    pub fn open(folder: PathBuf) -> std::io::Result<Self> {
        make_private(&folder)?;
        Ok(Self { folder })
    }

    fn path(&self, uid: &str) -> PathBuf {
        self.folder.join(format!("{uid}.json"))
    }

    /// Writes what is wanted of the pod. Its status is not: it is read from the runtime. Unchanged pods are not written, and
    /// one that has ended is forgotten, or it would run again.
    pub fn save(&self, pod: &Pod) {
        if !is_safe_name(pod.uid()) {
            return;
        }
        if pod.is_terminal() {
            self.remove(pod.uid());
            return;
        }
        let mut kept = pod.clone();
        kept.metadata.managed_fields = None;
        kept.metadata.resource_version = None;
        if let Some(status) = &mut kept.status {
            let start_time = status.start_time.take();
            *status = k8s_openapi::api::core::v1::PodStatus { start_time, ..Default::default() };
        }
        if let Err(error) = write_changed(&self.path(pod.uid()), &kept) {
            tracing::warn!(pod = pod.describe(), %error, "pod was not checkpointed");
        }
    }

    pub fn remove(&self, uid: &str) {
        if is_safe_name(uid) {
            let _ = fs::remove_file(self.path(uid));
            let _ = fs::remove_dir_all(self.folder.join(uid));
        }
    }

    pub fn load(&self) -> Vec<Pod> {
        let files = fs::read_dir(&self.folder).into_iter().flatten().flatten().map(|e| e.path());
        files.filter(|p| p.extension().is_some_and(|e| e == "json")).filter_map(|path| read(&path)).collect()
    }

    /// Forgets all pods that the server does not know.
    pub fn retain(&self, known: &HashSet<String>) {
        for pod in self.load() {
            if !known.contains(pod.uid()) {
                self.remove(pod.uid());
            }
        }
    }

    /// What the server gave for the pod with this uid.
    pub fn of(&self, uid: &str) -> Option<Given> {
        is_safe_name(uid).then(|| Given { folder: self.folder.join(uid) })
    }
}

/// What one pod was given by the server: objects, tokens, variables.
#[derive(Clone, Debug)]
pub struct Given {
    folder: PathBuf,
}

impl Given {
    /// Remembers `value` under a name that is one for each thing. Unchanged things are not written.
    pub fn keep<T: Serialize>(&self, name: &str, value: &T) {
        if !is_safe_name(name) {
            return;
        }
        let kept = make_private(&self.folder).and_then(|()| write_changed(&self.path(name), value));
        if let Err(error) = kept {
            tracing::warn!(name, %error, "what a pod needs was not checkpointed");
        }
    }

    pub fn recall<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        if is_safe_name(name) { read(&self.path(name)) } else { None }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.json"))
    }
}

fn make_private(folder: &Path) -> std::io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    // It may be older than this rule.
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
}

/// Replaces the file in one step, unless it says the same already.
fn write_changed<T: Serialize>(path: &Path, value: &T) -> std::io::Result<()> {
    let text = serde_json::to_vec(value)?;
    if fs::read(path).is_ok_and(|before| before == text) {
        return Ok(());
    }
    let fresh = path.with_extension("tmp");
    // A rest of an earlier try may have other rights.
    let _ = fs::remove_file(&fresh);
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?.write_all(&text)?;
    fs::rename(&fresh, path)
}

/// What is not there or not readable is `None`; the latter is said.
fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let text = fs::read(path).ok()?;
    let parsed = serde_json::from_slice(&text);
    parsed.map_err(|error| tracing::warn!(path = %path.display(), %error, "checkpoint is not readable; skipped")).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(phase: &str) -> Pod {
        let pod = json!({"metadata": {"name": "p", "uid": "u", "resourceVersion": "7"}, "status": {"phase": phase}});
        serde_json::from_value(pod).expect("a pod")
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("it is there").permissions().mode() & 0o777
    }

    #[test]
    fn pods_are_saved_and_forgotten() {
        let folder = tempfile::tempdir().expect("a folder");
        let checkpoint = Checkpoint::open(folder.path().join("c")).expect("opened");
        checkpoint.save(&pod("Running"));
        let loaded = checkpoint.load();
        assert_eq!(loaded.first().map(|p| p.name().to_owned()).as_deref(), Some("p"));
        assert_eq!(loaded.first().and_then(|p| p.metadata.resource_version.clone()), None);
        checkpoint.retain(&HashSet::new());
        assert!(checkpoint.load().is_empty());
    }

    #[test]
    fn a_pod_that_ended_does_not_run_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let checkpoint = Checkpoint::open(folder.path().join("c")).expect("opened");
        checkpoint.save(&pod("Running"));
        checkpoint.save(&pod("Failed"));
        assert!(checkpoint.load().is_empty());
    }

    #[test]
    fn what_a_pod_was_given_is_for_the_owner_alone_and_goes_with_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let checkpoint = Checkpoint::open(folder.path().join("c")).expect("opened");
        checkpoint.save(&pod("Running"));
        let given = checkpoint.of("u").expect("a safe name");
        assert_eq!(given.recall::<String>("secret-s"), None);
        given.keep("secret-s", &"first");
        given.keep("secret-s", &"second");
        assert_eq!(given.recall::<String>("secret-s").as_deref(), Some("second"));
        assert_eq!(mode(&folder.path().join("c/u.json")), 0o600);
        assert_eq!(mode(&folder.path().join("c/u")), 0o700);
        assert_eq!(mode(&folder.path().join("c/u/secret-s.json")), 0o600);
        given.keep("../out", &"no");
        assert!(!folder.path().join("c/out.json").exists());
        checkpoint.remove("u");
        assert_eq!(given.recall::<String>("secret-s"), None);
        assert!(checkpoint.of("..").is_none());
    }
}
