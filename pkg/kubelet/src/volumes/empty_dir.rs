//! Scratch space that lives as long as the pod.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, Pod};
use rustix::mount::MountFlags;

use super::{VolumeError, io_error, is_mounted, ownership};
use crate::pod::PodExt as _;
use crate::resources;

pub fn set_up(path: &Path, source: &EmptyDirVolumeSource, pod: &Pod) -> Result<(), VolumeError> {
    let exists = path.is_dir();
    std::fs::create_dir_all(path).map_err(io_error("making the folder"))?;
    let memory = source.medium.as_deref() == Some("Memory");
    if memory && !is_mounted(path) {
        mount_memory(path, source, pod)?;
    } else if exists {
        return Ok(());
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).map_err(io_error("setting its mode"))?;
    let group = pod.pod_spec().security_context.as_ref().and_then(|s| s.fs_group);
    match group {
        Some(group) => ownership::give_to_group(path, group).map_err(io_error("giving it to the fsGroup")),
        None => Ok(()),
    }
}

/// A tmpfs, as large as asked, but no larger than the pod's memory limit.
fn mount_memory(path: &Path, source: &EmptyDirVolumeSource, pod: &Pod) -> Result<(), VolumeError> {
    let asked = source.size_limit.as_ref().map(resources::whole).filter(|s| *s > 0);
    let limit = resources::pod_limit_milli(pod.pod_spec(), "memory").map(|m| m / 1000).filter(|m| *m > 0);
    let size = [asked, limit].into_iter().flatten().min();
    let options = size.map(|s| format!("size={s}")).unwrap_or_default();
    let options = std::ffi::CString::new(options).unwrap_or_default();
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    rustix::mount::mount("tmpfs", path, "tmpfs", flags, Some(options.as_c_str()))
        .map_err(|e| io_error("mounting a tmpfs")(e.into()))
}
