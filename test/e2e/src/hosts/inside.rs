//! The process that is a host's first: it makes the namespaces look like a machine, and holds them open.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;

use super::groups::{Hierarchy, LEAF};
use crate::host::shell;

/// Environment variables that make this program a host's first process: where its files are, and its name.
pub const DIR: &str = "CORACLE_E2E_HOST_DIR";
pub const NAME: &str = "CORACLE_E2E_HOST_NAME";

pub fn is_inside() -> bool {
    std::env::var_os(DIR).is_some()
}

pub fn main() -> ExitCode {
    if let Err(error) = prepare() {
        eprintln!("error: {error:#}");
        return ExitCode::FAILURE;
    }
    println!("+");
    let _ = std::io::stdout().flush();
    // Until the test ends, however it ends.
    let _ = std::io::stdin().lock().read_to_end(&mut Vec::new());
    ExitCode::SUCCESS
}

fn prepare() -> anyhow::Result<()> {
    let dir = std::env::var(DIR)?;
    fs::write("/proc/sys/kernel/hostname", std::env::var(NAME)?).context("setting the host name")?;
    mount_groups()?;
    shell("mount -t tmpfs tmpfs /run")?;
    for (part, place) in [("data", "/var/lib/coracle"), ("etc", "/etc/coracle")] {
        fs::create_dir_all(place)?;
        shell(&format!("mount --bind {dir}/{part} {place}"))?;
    }
    shell("ip link set lo up")?;
    Ok(())
}

/// A `/sys` that shows this network, and control groups that begin at this host's own.
fn mount_groups() -> anyhow::Result<()> {
    let hierarchies = Hierarchy::all()?;
    shell("mount -t sysfs sysfs /sys")?;
    if !hierarchies.iter().any(Hierarchy::is_unified) {
        shell("mount -t tmpfs cgroup /sys/fs/cgroup")?;
    }
    for hierarchy in &hierarchies {
        let path = &hierarchy.path;
        fs::create_dir_all(path)?;
        // Of version 1 the options name the controllers; a hierarchy without any has a name instead.
        let general = ["rw", "ro", "relatime", "noatime", "nosuid", "nodev", "noexec", "xattr", "clone_children"];
        let mut options: Vec<&str> = hierarchy.options.split(',').filter(|o| !general.contains(o)).collect();
        if hierarchy.kind == "cgroup2" {
            options.clear();
        } else if options.iter().all(|option| option.starts_with("name=") || option.starts_with("release_agent=")) {
            options.insert(0, "none");
        }
        let options = if options.is_empty() { String::new() } else { format!(" -o {}", options.join(",")) };
        shell(&format!("mount -t {}{options} cgroup {}", hierarchy.kind, path.display()))?;
        if hierarchy.is_unified() {
            fs::write(Path::new("/sys/fs/cgroup").join(LEAF).join("cgroup.procs"), "0")?;
        }
    }
    Ok(())
}
