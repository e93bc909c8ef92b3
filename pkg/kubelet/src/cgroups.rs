//! The control groups above containers: `kubepods`, the classes, and one a pod. Version 1 and version 2.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Pod;

use crate::pod::{PodExt as _, QosClass};
use crate::resources;

const ROOT: &str = "/sys/fs/cgroup";
/// The version 1 controllers in which pods are grouped; runc makes the others' folders itself.
const V1_CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];
const V2_CONTROLLERS: [&str; 4] = ["cpuset", "cpu", "memory", "pids"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    V1,
    V2,
}

/// Where groups are made, and how.
#[derive(Clone, Debug)]
pub struct Cgroups {
    root: PathBuf,
    version: Version,
    /// Names are systemd slices, and systemd makes them: only the runtime may write there.
    systemd: bool,
    /// The group below the root that holds everything: `kubepods`.
    top: String,
}

/// What a group is limited to; `None` leaves the kernel's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    pub cpu_shares: Option<i64>,
    pub cpu_quota: Option<(i64, i64)>,
    pub memory: Option<i64>,
    pub pids: Option<i64>,
}

impl Cgroups {
    /// What this machine has. `systemd` says that the runtime uses systemd's driver.
    pub fn detect(systemd: bool) -> Self {
        let version = if Path::new(ROOT).join("cgroup.controllers").exists() { Version::V2 } else { Version::V1 };
        Self { root: PathBuf::from(ROOT), version, systemd, top: "kubepods".to_owned() }
    }

    pub fn version(&self) -> Version {
        self.version
    }

    fn class_path(&self, class: QosClass) -> String {
        match class {
            QosClass::Guaranteed => format!("/{}", self.top),
            QosClass::Burstable => format!("/{}/burstable", self.top),
            QosClass::BestEffort => format!("/{}/besteffort", self.top),
        }
    }

    /// The parent that the runtime is given for a pod's containers.
    pub fn pod_parent(&self, pod: &Pod) -> String {
        let class = pod.qos_class();
        if !self.systemd {
            return format!("{}/pod{}", self.class_path(class), pod.uid());
        }
        let class = match class {
            QosClass::Guaranteed => "",
            QosClass::Burstable => "-burstable",
            QosClass::BestEffort => "-besteffort",
        };
        format!("{}{class}-pod{}.slice", self.top, pod.uid().replace('-', "_"))
    }

    /// Makes the top groups. The node's CPUs are the weight of all pods against the rest of the machine.
    pub fn setup(&self, node_cpu_milli: i64) -> io::Result<()> {
        if self.systemd {
            return Ok(());
        }
        let shares = Limits { cpu_shares: Some(resources::cpu_shares(node_cpu_milli)), ..Limits::default() };
        self.make(&self.class_path(QosClass::Guaranteed), &shares)?;
        self.make(&self.class_path(QosClass::Burstable), &Limits::default())?;
        let least = Limits { cpu_shares: Some(2), ..Limits::default() };
        self.make(&self.class_path(QosClass::BestEffort), &least)
    }

    /// The weight of all burstable pods together: the sum of what they ask for.
    pub fn set_burstable_request(&self, milli: i64) -> io::Result<()> {
        if self.systemd {
            return Ok(());
        }
        let shares = Limits { cpu_shares: Some(resources::cpu_shares(milli)), ..Limits::default() };
        self.make(&self.class_path(QosClass::Burstable), &shares)
    }

    pub fn make_pod(&self, pod: &Pod, pids_max: Option<i64>) -> io::Result<()> {
        if self.systemd {
            return Ok(());
        }
        let mut limits = pod_limits(pod);
        limits.pids = pids_max;
        self.make(&self.pod_parent(pod), &limits)
    }

    /// Removes a pod's group with what is left in it (empty groups of dead containers).
    pub fn remove_pod(&self, pod: &Pod) {
        if self.systemd {
            return;
        }
        for path in self.paths(&self.pod_parent(pod)) {
            remove_tree(&path);
        }
    }

    /// The folders of a group: one a controller, or one.
    fn paths(&self, group: &str) -> Vec<PathBuf> {
        let below = group.trim_start_matches('/');
        match self.version {
            Version::V2 => vec![self.root.join(below)],
            Version::V1 => self.controller_roots().into_iter().map(|root| root.join(below)).collect(),
        }
    }

    fn controller_roots(&self) -> Vec<PathBuf> {
        V1_CONTROLLERS.iter().map(|c| self.root.join(c)).filter(|p| p.is_dir()).collect()
    }

    fn make(&self, group: &str, limits: &Limits) -> io::Result<()> {
        for path in self.paths(group) {
            fs::create_dir_all(&path)?;
        }
        match self.version {
            Version::V1 => self.write_v1(group, limits),
            Version::V2 => self.write_v2(group, limits),
        }
    }

    fn write_v1(&self, group: &str, limits: &Limits) -> io::Result<()> {
        let below = group.trim_start_matches('/');
        for (controller, file, value) in v1_files(limits) {
            let path = self.root.join(controller).join(below).join(file);
            if path.exists() {
                fs::write(path, value)?;
            }
        }
        Ok(())
    }

    fn write_v2(&self, group: &str, limits: &Limits) -> io::Result<()> {
        // A controller works in a group only if every group above passes it on.
        let mut path = self.root.clone();
        for part in group.trim_start_matches('/').split('/') {
            for controller in V2_CONTROLLERS {
                // A kernel without it refuses; the files are then missing below, too.
                let _ = fs::write(path.join("cgroup.subtree_control"), format!("+{controller}"));
            }
            path.push(part);
        }
        for (file, value) in v2_files(limits) {
            let file = path.join(file);
            if file.exists() {
                fs::write(file, value)?;
            }
        }
        Ok(())
    }
}

/// Limits of the pod as a whole.
fn pod_limits(pod: &Pod) -> Limits {
    let spec = pod.pod_spec();
    match pod.qos_class() {
        QosClass::BestEffort => Limits { cpu_shares: Some(2), ..Limits::default() },
        _ => Limits {
            cpu_shares: Some(resources::cpu_shares(resources::pod_request_milli(spec, "cpu"))),
            cpu_quota: resources::pod_limit_milli(spec, "cpu").map(resources::cpu_quota),
            memory: resources::pod_limit_milli(spec, "memory").map(|m| m / 1000),
            pids: None,
        },
    }
}

/// (controller, file, content)
fn v1_files(limits: &Limits) -> Vec<(&'static str, &'static str, String)> {
    let mut files = Vec::new();
    files.extend(limits.cpu_shares.map(|v| ("cpu", "cpu.shares", v.to_string())));
    if let Some((quota, period)) = limits.cpu_quota {
        files.push(("cpu", "cpu.cfs_period_us", period.to_string()));
        files.push(("cpu", "cpu.cfs_quota_us", quota.to_string()));
    }
    files.extend(limits.memory.map(|v| ("memory", "memory.limit_in_bytes", v.to_string())));
    files.extend(limits.pids.map(|v| ("pids", "pids.max", v.to_string())));
    files
}

fn v2_files(limits: &Limits) -> Vec<(&'static str, String)> {
    let mut files = Vec::new();
    files.extend(limits.cpu_shares.map(|v| ("cpu.weight", cpu_weight(v).to_string())));
    files.extend(limits.cpu_quota.map(|(quota, period)| ("cpu.max", format!("{quota} {period}"))));
    files.extend(limits.memory.map(|v| ("memory.max", v.to_string())));
    files.extend(limits.pids.map(|v| ("pids.max", v.to_string())));
    files
}

/// Shares 2..262144 onto weight 1..10000, as runtimes do.
fn cpu_weight(shares: i64) -> i64 {
    1 + ((shares - 2) * 9999) / 262_142
}

/// Groups cannot be removed as files are: only empty folders, the deepest first.
fn remove_tree(path: &Path) {
    let children = fs::read_dir(path).into_iter().flatten().flatten();
    for child in children.filter(|c| c.file_type().is_ok_and(|t| t.is_dir())) {
        remove_tree(&child.path());
    }
    if let Err(error) = fs::remove_dir(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::debug!(path = %path.display(), %error, "control group is still in use");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_formats_of_both_versions() {
        let limits =
            Limits { cpu_shares: Some(1024), cpu_quota: Some((50_000, 100_000)), memory: Some(1 << 20), pids: Some(9) };
        let v2 = [("cpu.weight", "39"), ("cpu.max", "50000 100000"), ("memory.max", "1048576"), ("pids.max", "9")];
        assert_eq!(v2_files(&limits), v2.map(|(f, v)| (f, v.to_owned())));
        let v1: Vec<&str> = v1_files(&limits).iter().map(|(_, f, _)| *f).collect();
        assert_eq!(v1, ["cpu.shares", "cpu.cfs_period_us", "cpu.cfs_quota_us", "memory.limit_in_bytes", "pids.max"]);
        assert_eq!((cpu_weight(2), cpu_weight(262_144)), (1, 10_000));
    }

    #[test]
    fn parents_by_class_and_driver() {
        let pod: Pod = serde_json::from_value(serde_json::json!({"metadata": {"uid": "a-b"},
            "spec": {"containers": [{"name": "c"}]}}))
        .expect("a pod");
        let mut groups = Cgroups { root: "/x".into(), version: Version::V2, systemd: false, top: "kubepods".into() };
        assert_eq!(groups.pod_parent(&pod), "/kubepods/besteffort/poda-b");
        groups.systemd = true;
        assert_eq!(groups.pod_parent(&pod), "kubepods-besteffort-poda_b.slice");
    }
}
