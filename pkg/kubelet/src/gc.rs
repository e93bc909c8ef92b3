//! Removing what nobody needs: pods' remains, dead containers, unused images.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use client::EventType::Warning;
use cri::v1;

use crate::kubelet::Kubelet;
use crate::names;
use crate::node::{FileSystem, file_system};
use crate::pod::PodExt as _;
use crate::volumes;

/// How many ended instances of a container are kept besides the newest, as upstream's default.
const DEAD_KEPT: usize = 1;

/// Stops and removes sandboxes, containers and folders of pods that no longer exist anywhere.
pub async fn remove_orphans(kubelet: &Arc<Kubelet>) {
    if let Err(error) = remove_orphan_sandboxes(kubelet).await {
        tracing::warn!(%error, "orphaned sandboxes were not removed");
    }
    for folder in std::fs::read_dir(kubelet.folders.all_pods()).into_iter().flatten().flatten() {
        let uid = folder.file_name().to_string_lossy().into_owned();
        if !kubelet.has_worker(&uid)
            && let Err(error) = volumes::tear_down(&kubelet.folders, &uid)
        {
            tracing::warn!(uid, %error, "orphaned volumes were not removed");
        }
    }
}

async fn remove_orphan_sandboxes(kubelet: &Arc<Kubelet>) -> Result<(), cri::Error> {
    let runtime = &kubelet.runtime;
    let ours = |labels: &std::collections::BTreeMap<String, String>| labels.get(names::POD_UID).cloned();
    for container in runtime.list_containers(None).await? {
        if ours(&container.labels).is_some_and(|uid| !kubelet.has_worker(&uid)) {
            runtime.stop_container(&container.id, Duration::from_secs(2)).await?;
            runtime.remove_container(&container.id).await?;
        }
    }
    for sandbox in runtime.list_pod_sandboxes(None).await? {
        if ours(&sandbox.labels).is_some_and(|uid| !kubelet.has_worker(&uid)) {
            tracing::info!(sandbox = sandbox.id, "removing a sandbox whose pod does not exist");
            runtime.stop_pod_sandbox(&sandbox.id).await?;
            runtime.remove_pod_sandbox(&sandbox.id).await?;
        }
    }
    Ok(())
}

/// Removes ended containers of living pods beyond the newest and one before it, with their logs, and dead sandboxes.
pub async fn remove_dead_containers(kubelet: &Arc<Kubelet>) -> Result<(), cri::Error> {
    let runtime = &kubelet.runtime;
    let mut groups: HashMap<(String, String), Vec<v1::Container>> = HashMap::new();
    for container in runtime.list_containers(None).await? {
        let uid = container.labels.get(names::POD_UID).cloned().unwrap_or_default();
        let name = container.labels.get(names::CONTAINER_NAME).cloned().unwrap_or_default();
        groups.entry((uid, name)).or_default().push(container);
    }
    let mut used_sandboxes = HashSet::new();
    for ((uid, _), mut group) in groups {
        group.sort_by_key(|c| std::cmp::Reverse(c.created_at));
        for (at, container) in group.iter().enumerate() {
            let ended = container.state() == v1::ContainerState::ContainerExited;
            if at > DEAD_KEPT && ended && !uid.is_empty() {
                runtime.remove_container(&container.id).await?;
            } else {
                used_sandboxes.insert(container.pod_sandbox_id.clone());
            }
        }
    }
    let mut newest: HashSet<String> = HashSet::new();
    let mut sandboxes = runtime.list_pod_sandboxes(None).await?;
    sandboxes.sort_by_key(|s| std::cmp::Reverse(s.created_at));
    for sandbox in sandboxes {
        let Some(uid) = sandbox.labels.get(names::POD_UID) else { continue };
        let is_newest = newest.insert(uid.clone());
        let ready = sandbox.state() == v1::PodSandboxState::SandboxReady;
        if !is_newest && !ready && !used_sandboxes.contains(&sandbox.id) {
            runtime.remove_pod_sandbox(&sandbox.id).await?;
        }
    }
    Ok(())
}

/// Watches the image file system; frees space in images that no container uses, the longest unused first.
pub struct ImageGc {
    /// When an image was first seen, and when it was last in use.
    seen: HashMap<String, (Instant, Instant)>,
}

impl ImageGc {
    pub fn new() -> Self {
        Self { seen: HashMap::new() }
    }

    /// One round.
    pub async fn collect(&mut self, kubelet: &Arc<Kubelet>) -> Result<(), cri::Error> {
        let images = kubelet.images.service().list_images().await?;
        let used: HashSet<String> = used_images(kubelet).await?;
        let now = Instant::now();
        for image in &images {
            let entry = self.seen.entry(image.id.clone()).or_insert((now, now));
            if is_used(image, &used) {
                entry.1 = now;
            }
        }
        self.seen.retain(|id, _| images.iter().any(|image| image.id == *id));
        let Some(FileSystem { capacity, available, .. }) = image_fs(kubelet).await? else {
            return Ok(());
        };
        let percent = capacity.saturating_sub(available).saturating_mul(100) / capacity.max(1);
        let policy = kubelet.config.image_gc;
        if percent < u64::from(policy.high_threshold) {
            return Ok(());
        }
        let wanted = capacity / 100 * percent.saturating_sub(u64::from(policy.low_threshold));
        let freed = self.free(kubelet, images, &used, wanted, now).await?;
        if freed < wanted {
            let message = format!(
                "Failed to garbage collect required amount of images. Attempted to free {wanted} bytes, but only found {freed} bytes eligible to free."
            );
            kubelet.events.node(Warning, "FreeDiskSpaceFailed", &message);
        }
        Ok(())
    }

    async fn free(
        &self,
        kubelet: &Arc<Kubelet>,
        images: Vec<v1::Image>,
        used: &HashSet<String>,
        wanted: u64,
        now: Instant,
    ) -> Result<u64, cri::Error> {
        let mut unused: Vec<v1::Image> = images.into_iter().filter(|i| !i.pinned && !is_used(i, used)).collect();
        let kept = crate::import::imported(&crate::import::records(&kubelet.config));
        unused.retain(|i| !i.repo_tags.iter().any(|t| t == crate::pause::IMAGE || kept.contains(t)));
        unused.sort_by_key(|image| self.seen.get(&image.id).map(|(first, last)| (*last, *first)));
        let mut freed = 0;
        for image in unused {
            let first = self.seen.get(&image.id).map_or(now, |(first, _)| *first);
            if freed >= wanted {
                break;
            }
            if now.duration_since(first) < kubelet.config.image_gc.min_age {
                continue;
            }
            kubelet.images.service().remove_image(&image.id).await?;
            tracing::info!(image = image.id, tags = ?image.repo_tags, size = image.size, "unused image removed");
            freed += image.size;
        }
        Ok(freed)
    }
}

impl Default for ImageGc {
    fn default() -> Self {
        Self::new()
    }
}

fn is_used(image: &v1::Image, used: &HashSet<String>) -> bool {
    used.contains(&image.id) || image.repo_tags.iter().chain(&image.repo_digests).any(|name| used.contains(name))
}

async fn used_images(kubelet: &Arc<Kubelet>) -> Result<HashSet<String>, cri::Error> {
    let containers = kubelet.runtime.list_containers(None).await?;
    let of_containers = containers.into_iter().flat_map(|c| [c.image_ref, c.image.unwrap_or_default().image]);
    let pods = kubelet.pods();
    let of_pods = pods.iter().flat_map(|p| p.all_containers()).filter_map(|c| c.image.clone());
    Ok(of_containers.chain(of_pods).collect())
}

/// The file system that holds images, if the runtime tells.
pub async fn image_fs(kubelet: &Arc<Kubelet>) -> Result<Option<FileSystem>, cri::Error> {
    let infos = kubelet.images.service().image_fs_info().await?;
    let mountpoint = infos.into_iter().find_map(|i| i.fs_id).map(|f| f.mountpoint).filter(|m| !m.is_empty());
    Ok(mountpoint.and_then(|path| file_system(std::path::Path::new(&path))))
}

/// Collects now and then, until shutdown.
pub async fn run(kubelet: Arc<Kubelet>) {
    let mut images = ImageGc::new();
    let mut ticks = tokio::time::interval(kubelet.config.image_gc.interval);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        if let Err(error) = remove_dead_containers(&kubelet).await {
            tracing::warn!(%error, "dead containers were not removed");
        }
        if let Err(error) = images.collect(&kubelet).await {
            tracing::warn!(%error, "images were not collected");
        }
    }
}
