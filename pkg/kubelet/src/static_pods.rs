//! Pods from manifests on this machine's disk: they run with no server in reach.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use apimachinery::decode::{self, ContentType};
use k8s_openapi::api::core::v1::Pod;
use rustix::fs::inotify;
use sha2::{Digest as _, Sha256};
use tokio::io::unix::AsyncFd;

use crate::kubelet::{Kubelet, Source};
use crate::names;
use crate::pod::PodExt as _;

/// Reads the folder, and again at each change of it.
pub async fn run(kubelet: Arc<Kubelet>, folder: PathBuf) {
    let mut known: HashMap<String, Arc<Pod>> = HashMap::new();
    let watcher = watch(&folder);
    if let Err(error) = &watcher {
        tracing::error!(folder = %folder.display(), %error, "static pods are read once only: the folder cannot be watched");
    }
    loop {
        let found = read_folder(&folder, &kubelet.config.node_name);
        for uid in known.keys().filter(|uid| !found.contains_key(*uid)) {
            kubelet.remove(uid);
        }
        for pod in found.values().filter(|pod| !known.contains_key(pod.uid())) {
            kubelet.upsert(pod.clone(), Source::Static);
        }
        known = found;
        kubelet.static_pods.send_replace(known.values().cloned().collect());
        let Ok(watcher) = &watcher else {
            return;
        };
        let Ok(mut ready) = watcher.readable().await else {
            return;
        };
        let mut buffer = [0u8; 4096];
        while rustix::io::read(watcher, &mut buffer).is_ok_and(|count| count > 0) {}
        ready.clear_ready();
    }
}

// `new` is the safe constructor: an owned descriptor stays open as long as its owner, which is all that is asked.
#[allow(deprecated)]
fn watch(folder: &Path) -> std::io::Result<AsyncFd<std::os::fd::OwnedFd>> {
    std::fs::create_dir_all(folder)?;
    let queue = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?;
    let events = inotify::WatchFlags::CLOSE_WRITE
        | inotify::WatchFlags::MOVED_TO
        | inotify::WatchFlags::MOVED_FROM
        | inotify::WatchFlags::DELETE;
    inotify::add_watch(&queue, folder, events)?;
    AsyncFd::new(queue)
}

/// Pods by uid. The uid follows from the content: a changed manifest is another pod.
fn read_folder(folder: &Path, node: &str) -> HashMap<String, Arc<Pod>> {
    let mut pods = HashMap::new();
    for path in std::fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()) {
        let known = path.extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "json");
        if !known {
            continue;
        }
        match std::fs::read(&path).map_err(|e| e.to_string()).and_then(|text| parse(&text, &path, node)) {
            Ok(pod) => drop(pods.insert(pod.uid().to_owned(), Arc::new(pod))),
            Err(error) => {
                tracing::error!(path = %path.display(), error, "manifest of a static pod is not valid; skipped")
            }
        }
    }
    pods
}

fn parse(text: &[u8], path: &Path, node: &str) -> Result<Pod, String> {
    let kind = if path.extension().is_some_and(|e| e == "json") { ContentType::Json } else { ContentType::Yaml };
    let decoded = decode::decode(text, kind).map_err(|e| e.to_string())?;
    let mut pod: Pod = serde_json::from_value(decoded.object).map_err(|e| e.to_string())?;
    let name = pod.metadata.name.clone().filter(|n| !n.is_empty()).ok_or("metadata.name is missing")?;
    let hash: String = Sha256::digest(text).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    pod.metadata.name = Some(format!("{name}-{node}"));
    pod.metadata.namespace.get_or_insert_with(|| "default".to_owned());
    pod.metadata.uid = Some(hash.clone());
    let annotations = pod.metadata.annotations.get_or_insert_default();
    annotations.insert(names::CONFIG_SOURCE.to_owned(), "file".to_owned());
    annotations.insert(names::CONFIG_HASH.to_owned(), hash);
    let spec = pod.spec.as_mut().ok_or("spec is missing")?;
    spec.node_name = Some(node.to_owned());
    Ok(pod)
}
