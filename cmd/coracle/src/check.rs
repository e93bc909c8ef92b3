//! `coracle check-config`: whether this machine can run a node, and what to do about what it lacks.

use std::path::Path;

use anyhow::bail;

use crate::options::CheckOptions;

/// What was looked at, and the remedy if it was found wanting.
struct Finding {
    what: String,
    remedy: Option<String>,
    /// False for what a node can do without.
    needed: bool,
}

/// Prints a line for each check; fails if anything needed is missing.
pub fn run(options: &CheckOptions) -> anyhow::Result<()> {
    let machine = vec![root(), cgroups(), space(&options.data_dir)];
    let findings: Vec<Finding> = [programs(), kernel(), machine].into_iter().flatten().collect();
    for finding in &findings {
        match (&finding.remedy, finding.needed) {
            (None, _) => println!("ok       {}", finding.what),
            (Some(remedy), true) => println!("missing  {}: {remedy}", finding.what),
            (Some(remedy), false) => println!("optional {}: {remedy}", finding.what),
        }
    }
    let missing = findings.iter().filter(|f| f.needed && f.remedy.is_some()).count();
    if missing > 0 {
        bail!("{missing} things are missing; a node cannot run here yet");
    }
    Ok(())
}

/// The programs that a node starts and that a person uses, how to get each, and whether a node needs it.
const PROGRAMS: &[(&str, &str, bool)] = &[
    ("containerd", "apt-get install containerd", true),
    ("runc", "apt-get install runc", true),
    ("nft", "apt-get install nftables", true),
    ("conntrack", "apt-get install conntrack", false),
    // Debian's own is of 1.20, too old for much of what people write down today.
    ("kubectl", "see https://kubernetes.io/docs/tasks/tools/", false),
];

fn programs() -> Vec<Finding> {
    let find = |&(name, source, needed): &(&str, &str, bool)| Finding {
        what: format!("program {name}"),
        remedy: (!on_path(name)).then(|| format!("install it: {source}")),
        needed,
    };
    PROGRAMS.iter().map(find).collect()
}

/// What a machine that joins has to have free: less is used up before anybody looks.
const JOIN_FREE_MIN: u64 = 256 << 20;

/// Refuses a disk that is full before anything is asked of the cluster.
pub fn room_to_join(data_dir: &Path) -> anyhow::Result<()> {
    match free_bytes(data_dir) {
        Some(free) if free < JOIN_FREE_MIN => bail!(
            "--data-dir {}: {} MiB are free there, and joining needs {} MiB; make room, or give another --data-dir",
            data_dir.display(),
            free >> 20,
            JOIN_FREE_MIN >> 20
        ),
        _ => Ok(()),
    }
}

/// Where the folder is or will be; `None` if that cannot be told.
fn free_bytes(data_dir: &Path) -> Option<u64> {
    let existing = data_dir.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("/"));
    rustix::fs::statvfs(existing).ok().map(|stat| stat.f_bavail * stat.f_frsize)
}

/// Also where administrators' programs are, which an ordinary PATH leaves out.
pub fn on_path(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/sbin", "/sbin", "/usr/local/sbin"].map(Into::into);
    std::env::split_paths(&path).chain(more).any(|dir| dir.join(name).is_file())
}

/// Features without which pods have no file system or network.
const KERNEL: &[(&str, &str)] = &[
    ("/proc/sys/net/ipv4/ip_forward", "a kernel with IPv4 networking"),
    ("/proc/self/ns/net", "a kernel with network namespaces (CONFIG_NET_NS)"),
    ("/proc/self/ns/pid", "a kernel with process namespaces (CONFIG_PID_NS)"),
];

fn kernel() -> Vec<Finding> {
    let exists = |&(path, remedy): &(&str, &str)| Finding {
        what: path.to_owned(),
        remedy: (!Path::new(path).exists()).then(|| remedy.to_owned()),
        needed: true,
    };
    let mut findings: Vec<Finding> = KERNEL.iter().map(exists).collect();
    let filesystems = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    findings.push(Finding {
        what: "overlay file system".to_owned(),
        remedy: (!filesystems.contains("\toverlay"))
            .then(|| "modprobe overlay, or a kernel with CONFIG_OVERLAY_FS".to_owned()),
        needed: true,
    });
    findings
}

fn root() -> Finding {
    let is_root = rustix::process::geteuid().is_root();
    Finding { what: "run as root".to_owned(), remedy: (!is_root).then(|| "use sudo".to_owned()), needed: true }
}

fn cgroups() -> Finding {
    let unified = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let legacy = Path::new("/sys/fs/cgroup/memory").exists();
    Finding {
        what: format!("control groups ({})", if unified { "v2" } else { "v1" }),
        remedy: (!unified && !legacy).then(|| "mount cgroup2 on /sys/fs/cgroup".to_owned()),
        needed: true,
    }
}

fn space(data_dir: &Path) -> Finding {
    const WANTED: u64 = 2 << 30;
    let free = free_bytes(data_dir).unwrap_or(0);
    Finding {
        what: format!("{} MiB free for {}", free >> 20, data_dir.display()),
        remedy: (free < WANTED).then(|| "make room, or give another --data-dir; 2 GiB are wanted".to_owned()),
        needed: false,
    }
}
