//! A pod's volumes on the node: made before its containers start, kept up to date, removed when it is gone.

pub mod atomic_writer;
mod downward;
mod empty_dir;
mod host_path;
mod ownership;
mod payload;
mod subpath;
pub mod tokens;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use cri::v1;
use k8s_openapi::api::core::v1::{Container, Pod, Volume};

use crate::checkpoint::Given;
use crate::fields::NodeResources;
use crate::objects::{ObjectError, Objects};
use crate::pod::{PodExt as _, is_safe_name};
use crate::runtime::env::expand;

/// Why a volume cannot be had (yet).
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    #[error(transparent)]
    Object(#[from] ObjectError),
    #[error("references non-existent config key: {0}")]
    MissingKey(String),
    #[error("{0}")]
    HostPath(String),
    #[error(transparent)]
    Field(#[from] crate::fields::FieldError),
    #[error("failed to fetch token: {0}")]
    Token(String),
    #[error("volume type of {0:?} is not supported on this node")]
    Unsupported(String),
    #[error("{what}: {source}")]
    Io {
        what: String,
        #[source]
        source: io::Error,
    },
    #[error("invalid path {0:?}")]
    BadPath(String),
    #[error("volume {0:?} is not defined")]
    Undefined(String),
}

pub(crate) fn io_error(what: impl Into<String>) -> impl FnOnce(io::Error) -> VolumeError {
    move |source| VolumeError::Io { what: what.into(), source }
}

/// A failed volume with its name, as the Event shows it.
#[derive(Debug, thiserror::Error)]
#[error("MountVolume.SetUp failed for volume \"{volume}\" : {source}")]
pub struct SetUpError {
    pub volume: String,
    #[source]
    pub source: VolumeError,
}

/// What volumes are made from.
pub struct Context<'a> {
    pub pod: &'a Pod,
    pub objects: &'a Objects,
    pub tokens: &'a tokens::Tokens,
    /// What the pod was given before, for when no server answers.
    pub given: Option<&'a Given>,
    pub node: &'a NodeResources,
    pub pod_ips: &'a [String],
    pub host_ips: &'a [String],
}

/// The folders of pods below `<root>/pods`.
#[derive(Clone, Debug)]
pub struct Folders {
    root: PathBuf,
}

impl Folders {
    pub fn new(root_dir: &Path) -> Self {
        Self { root: root_dir.join("pods") }
    }

    pub fn all_pods(&self) -> &Path {
        &self.root
    }

    pub fn pod(&self, uid: &str) -> PathBuf {
        self.root.join(uid)
    }

    /// Upstream's layout: tools that look for a pod's data find it.
    pub fn volume(&self, uid: &str, volume: &Volume) -> PathBuf {
        self.pod(uid).join("volumes").join(format!("kubernetes.io~{}", plugin(volume))).join(&volume.name)
    }

    pub fn container(&self, uid: &str, container: &str) -> PathBuf {
        self.pod(uid).join("containers").join(container)
    }

    pub fn hosts_file(&self, uid: &str) -> PathBuf {
        self.pod(uid).join("etc-hosts")
    }
}

fn plugin(volume: &Volume) -> &'static str {
    match volume {
        Volume { config_map: Some(_), .. } => "configmap",
        Volume { secret: Some(_), .. } => "secret",
        Volume { projected: Some(_), .. } => "projected",
        Volume { downward_api: Some(_), .. } => "downward-api",
        Volume { host_path: Some(_), .. } => "host-path",
        _ => "empty-dir",
    }
}

/// Makes or updates every volume of the pod. Answers when content must be renewed (token expiry), if ever.
pub async fn set_up(folders: &Folders, context: &Context<'_>) -> Result<Option<jiff::Timestamp>, SetUpError> {
    let mut renew: Option<jiff::Timestamp> = None;
    for volume in context.pod.pod_spec().volumes.iter().flatten() {
        let made = set_up_one(folders, context, volume).await;
        let next = made.map_err(|source| SetUpError { volume: volume.name.clone(), source })?;
        renew = [renew, next].into_iter().flatten().min();
    }
    Ok(renew)
}

async fn set_up_one(
    folders: &Folders,
    context: &Context<'_>,
    volume: &Volume,
) -> Result<Option<jiff::Timestamp>, VolumeError> {
    if !is_safe_name(&volume.name) {
        return Err(VolumeError::BadPath(volume.name.clone()));
    }
    let path = folders.volume(context.pod.uid(), volume);
    if let Some(source) = &volume.host_path {
        host_path::check(source)?;
        return Ok(None);
    }
    if let Some(source) = &volume.empty_dir {
        empty_dir::set_up(&path, source, context.pod)?;
        return Ok(None);
    }
    let Some(payload) = payload::collect(context, volume).await? else {
        return Err(VolumeError::Unsupported(volume.name.clone()));
    };
    let group = context.pod.pod_spec().security_context.as_ref().and_then(|s| s.fs_group);
    atomic_writer::write(&path, &payload.files, group).map_err(io_error("writing the volume"))?;
    Ok(payload.renew_at)
}

/// The mounts of a container, and the devices that its privileges give it.
pub fn mounts(
    folders: &Folders,
    pod: &Pod,
    container: &Container,
    environment: &[(String, String)],
) -> Result<Vec<v1::Mount>, VolumeError> {
    let mut mounts = Vec::new();
    for (at, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let volume = pod.pod_spec().volumes.iter().flatten().find(|v| v.name == mount.name);
        let volume = volume.ok_or_else(|| VolumeError::Undefined(mount.name.clone()))?;
        let source = match &volume.host_path {
            Some(host_path) => PathBuf::from(&host_path.path),
            None => folders.volume(pod.uid(), volume),
        };
        let lookup = |name: &str| environment.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v.clone());
        let sub_path = match (&mount.sub_path, &mount.sub_path_expr) {
            (_, Some(expression)) if !expression.is_empty() => expand(expression, lookup),
            (Some(path), _) => path.clone(),
            _ => String::new(),
        };
        let host_path = if sub_path.is_empty() {
            source
        } else {
            let target = folders.pod(pod.uid()).join("volume-subpaths").join(&volume.name).join(&container.name);
            subpath::bind(&source, &sub_path, &target.join(at.to_string()))?
        };
        let read_only = mount.read_only.unwrap_or(false) || always_read_only(volume);
        mounts.push(v1::Mount {
            container_path: absolute(&mount.mount_path),
            host_path: host_path.display().to_string(),
            readonly: read_only,
            propagation: propagation(mount.mount_propagation.as_deref()) as i32,
            recursive_read_only: read_only && mount.recursive_read_only.as_deref() == Some("Enabled"),
            ..Default::default()
        });
    }
    Ok(mounts)
}

/// What comes from the API is never writable.
fn always_read_only(volume: &Volume) -> bool {
    volume.config_map.is_some()
        || volume.secret.is_some()
        || volume.projected.is_some()
        || volume.downward_api.is_some()
}

fn absolute(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

fn propagation(mode: Option<&str>) -> v1::MountPropagation {
    match mode {
        Some("HostToContainer") => v1::MountPropagation::PropagationHostToContainer,
        Some("Bidirectional") => v1::MountPropagation::PropagationBidirectional,
        _ => v1::MountPropagation::PropagationPrivate,
    }
}

/// Unmounts and removes everything of a pod. What cannot be unmounted stays, with an error: never delete into a mount.
pub fn tear_down(folders: &Folders, uid: &str) -> io::Result<()> {
    let folder = folders.pod(uid);
    if uid.is_empty() || !folder.exists() {
        return Ok(());
    }
    unmount_below(&folder)?;
    match std::fs::remove_dir_all(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

/// Unmounts all mounts below `folder`, the deepest first.
fn unmount_below(folder: &Path) -> io::Result<()> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    let mut below: Vec<PathBuf> = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|path| PathBuf::from(unescape(path)))
        .filter(|path| path.starts_with(folder))
        .collect();
    below.sort_by_key(|path| std::cmp::Reverse(path.components().count()));
    for path in below {
        rustix::mount::unmount(&path, rustix::mount::UnmountFlags::DETACH)?;
    }
    Ok(())
}

pub(crate) fn is_mounted(path: &Path) -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    mounts.lines().filter_map(|line| line.split(' ').nth(4)).any(|at| Path::new(&unescape(at)) == path)
}

/// The kernel writes space, tab, newline and backslash as octal.
fn unescape(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// Files of a volume: path below it → content and mode.
pub type Files = BTreeMap<String, atomic_writer::File>;
