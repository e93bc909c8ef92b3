//! The configuration of the private containerd.

use std::fs;
use std::path::Path;

use super::{Options, uses_systemd_cgroups};

/// What the configuration depends on.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// Without it, processes cannot be protected from the out-of-memory killer, and runc dies of trying.
    pub may_lower_oom_score: bool,
    pub systemd_cgroups: bool,
    pub overlayfs: bool,
    pub apparmor: bool,
}

const CAP_SYS_RESOURCE: u32 = 24;
const OVERLAYFS_MAGIC: u64 = 0x794c_7630;

impl Machine {
    pub fn detect(root: &Path) -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let capable = has_capability(&status, CAP_SYS_RESOURCE);
        if !capable {
            tracing::info!("no CAP_SYS_RESOURCE: containers' oom_score_adj is never set below our own");
        }
        // One overlay cannot lie on another.
        let on_overlay = rustix::fs::statfs(root).is_ok_and(|s| s.f_type as u64 == OVERLAYFS_MAGIC);
        let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
        let overlayfs = !on_overlay && known.lines().any(|l| l.trim_end().ends_with("overlay"));
        if !overlayfs {
            tracing::info!("overlayfs cannot be used here: images are copied (native snapshotter)");
        }
        Self {
            may_lower_oom_score: capable,
            systemd_cgroups: uses_systemd_cgroups(),
            overlayfs,
            apparmor: Path::new("/sys/kernel/security/apparmor").is_dir(),
        }
    }
}

fn has_capability(status: &str, number: u32) -> bool {
    let effective = status.lines().find_map(|l| l.strip_prefix("CapEff:"));
    let bits = effective.and_then(|text| u64::from_str_radix(text.trim(), 16).ok()).unwrap_or(0);
    bits >> number & 1 == 1
}

/// Version 2 of the format, which containerd 1.4 to 2.x read.
pub fn config_toml(options: &Options, runc: &Path, machine: &Machine) -> String {
    let quote = |path: &Path| format!("{:?}", path.display().to_string());
    let snapshotter = if machine.overlayfs { "overlayfs" } else { "native" };
    format!(
        r#"# Generated; changes are overwritten.
version = 2
root = {root}
state = {state}
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing",
]

[debug]
  level = "warn"

[grpc]
  address = {socket}
  max_recv_message_size = 16777216
  max_send_message_size = 16777216

[ttrpc]
  address = {ttrpc}

[plugins."io.containerd.internal.v1.opt"]
  path = {opt}

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = {restrict}
  disable_apparmor = {no_apparmor}
  enable_unprivileged_ports = true
  enable_unprivileged_icmp = true
  netns_mounts_under_state_dir = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{snapshotter}"
    default_runtime_name = "runc"
    disable_snapshot_annotations = true
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = {runc}
        SystemdCgroup = {systemd}
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = {cni_bin}
    conf_dir = {cni_conf}
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = {registry}
"#,
        root = quote(&options.root),
        state = quote(&options.state),
        socket = quote(&options.socket()),
        ttrpc = quote(&options.state.join("containerd.sock.ttrpc")),
        opt = quote(&options.root.join("opt")),
        pause = crate::pause::IMAGE,
        restrict = !machine.may_lower_oom_score,
        no_apparmor = !machine.apparmor,
        runc = quote(runc),
        systemd = machine.systemd_cgroups,
        cni_bin = quote(&options.cni_bin_dir),
        cni_conf = quote(&options.cni_conf_dir),
        registry = quote(&options.registry_config_dir),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_read_by_bit() {
        assert!(!has_capability("CapEff:\t000001fffeffffff\n", CAP_SYS_RESOURCE));
        assert!(has_capability("CapEff:\t000001ffffffffff\n", CAP_SYS_RESOURCE));
        assert!(!has_capability("", CAP_SYS_RESOURCE));
    }

    #[test]
    fn the_machine_shows_in_the_configuration() {
        let machine = Machine { may_lower_oom_score: false, systemd_cgroups: true, overlayfs: false, apparmor: false };
        let text = config_toml(&Options::below(Path::new("/data")), Path::new("/usr/sbin/runc"), &machine);
        for line in [
            "restrict_oom_score_adj = true",
            "SystemdCgroup = true",
            "snapshotter = \"native\"",
            "root = \"/data/agent/containerd\"",
            "conf_dir = \"/data/agent/cni/net.d\"",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
