//! Control groups that a host believes to be the root of all: one in each hierarchy of version 1, or one of version 2.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::Context as _;

const ROOT: &str = "/sys/fs/cgroup";
const PREFIX: &str = "coracle-e2e-";
/// Where a host's processes are in version 2: only groups without processes may pass controllers on.
pub const LEAF: &str = "init";

/// How old a group is that no run has just made.
const STALE: Duration = Duration::from_secs(60);

/// Tells runs at the same time apart, which are alike in everything else.
fn run() -> anyhow::Result<&'static str> {
    static RUN: OnceLock<String> = OnceLock::new();
    if let Some(run) = RUN.get() {
        return Ok(run);
    }
    let uuid = fs::read_to_string("/proc/sys/kernel/random/uuid").context("reading a random name")?;
    Ok(RUN.get_or_init(|| uuid.chars().take(8).collect()))
}

/// One mounted hierarchy.
pub struct Hierarchy {
    pub path: PathBuf,
    /// `cgroup` or `cgroup2`.
    pub kind: String,
    pub options: String,
}

impl Hierarchy {
    /// Those of this mount namespace.
    pub fn all() -> anyhow::Result<Vec<Self>> {
        let mounts = fs::read_to_string("/proc/self/mounts").context("reading mounts")?;
        let hierarchies = mounts.lines().filter_map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let [_, path, kind @ ("cgroup" | "cgroup2"), options, ..] = words[..] else { return None };
            let path = Path::new(path);
            let hierarchy = || Self { path: path.to_owned(), kind: kind.to_owned(), options: options.to_owned() };
            path.starts_with(ROOT).then(hierarchy)
        });
        Ok(hierarchies.collect())
    }

    /// Version 2 with its controllers, not the empty one beside version 1.
    pub fn is_unified(&self) -> bool {
        self.path == Path::new(ROOT)
    }
}

/// The groups of one host, in every hierarchy.
pub struct Groups {
    tops: Vec<PathBuf>,
    /// Those into which processes go.
    homes: Vec<PathBuf>,
}

impl Groups {
    pub fn make(name: &str) -> anyhow::Result<Self> {
        let (mut tops, mut homes) = (Vec::new(), Vec::new());
        for hierarchy in Hierarchy::all()? {
            let top = hierarchy.path.join(format!("{PREFIX}{}-{name}", run()?));
            let home = if hierarchy.is_unified() { top.join(LEAF) } else { top.clone() };
            fs::create_dir_all(&home).with_context(|| home.display().to_string())?;
            // A new group of this controller is empty and takes no process.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                if let Ok(value) = fs::read_to_string(hierarchy.path.join(file)) {
                    let _ = fs::write(top.join(file), value.trim());
                }
            }
            tops.push(top);
            homes.push(home);
        }
        Ok(Self { tops, homes })
    }

    /// A command that starts in the groups; `words` are its beginning.
    pub fn within(&self, words: &[&str]) -> Command {
        let enter: String =
            self.homes.iter().map(|home| format!("echo $$ > {}/cgroup.procs; ", home.display())).collect();
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{enter}exec \"$@\""), "sh"]).args(words);
        command
    }

    /// Kills what is in the groups and below, and answers how many that were.
    pub fn kill_all_but(&self, spared: u32) -> usize {
        let mut pids = Vec::new();
        self.tops.iter().for_each(|top| collect(top, &mut pids));
        pids.sort_unstable();
        pids.dedup();
        pids.retain(|pid| *pid != spared);
        self.tops.iter().for_each(|top| thaw(top));
        for pid in &pids {
            // It may have ended meanwhile.
            let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).output();
        }
        pids.len()
    }

    pub fn remove(&self) {
        self.tops.iter().for_each(|top| remove(top));
    }
}

fn collect(group: &Path, pids: &mut Vec<u32>) {
    let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    pids.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()).filter(|pid| *pid != 0));
    children(group).iter().for_each(|child| collect(child, pids));
}

/// Lets processes run that runc had frozen when it was killed itself: they would never end.
fn thaw(group: &Path) {
    children(group).iter().for_each(|child| thaw(child));
    for (file, running) in [("freezer.state", "THAWED"), ("cgroup.freeze", "0")] {
        if group.join(file).exists() {
            // It may have been removed meanwhile.
            let _ = fs::write(group.join(file), running);
        }
    }
}

fn children(group: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(group).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

/// Groups are removed from below; their files cannot be.
fn remove(group: &Path) {
    children(group).iter().for_each(|child| remove(child));
    let _ = fs::remove_dir(group);
}

/// Removes what runs that were cut short left. A group with processes stays.
pub fn remove_stale() {
    for hierarchy in Hierarchy::all().unwrap_or_default() {
        let stale = children(&hierarchy.path);
        let ours = |path: &&PathBuf| {
            let age = fs::metadata(path).and_then(|m| m.modified()).ok().and_then(|time| time.elapsed().ok());
            let named = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(PREFIX));
            named && age.is_some_and(|age| age > STALE)
        };
        stale.iter().filter(ours).for_each(|group| remove(group));
    }
}
