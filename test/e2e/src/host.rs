//! The host that a cluster under test believes to have: namespaces of its own and a neighbour to talk to.

use std::io::{self, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, ExitStatus, Stdio};

use anyhow::{Context as _, bail};

const INSIDE: &str = "CORACLE_E2E_INSIDE";
/// Names the folder in `build/` where a run keeps its files.
pub const WORK_DIR: &str = "CORACLE_WORK_DIR";
/// The machine that runs the tests may have little room left, a twentieth of a large disk is much, and pods here need next to none.
pub const EVICTION: &str = "--eviction-hard=memory.available<100Mi,nodefs.available<500Mi,imagefs.available<500Mi";
/// The node's address, and that of a machine outside the cluster.
pub const NODE_IP: &str = "172.30.7.2";
pub const OUTSIDE_IP: &str = "172.30.7.1";

pub fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Runs this program again in namespaces of its own. The process namespace takes everything with it when it ends.
pub fn enter() -> ExitCode {
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    let error = Command::new("unshare")
        .args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation=private", "--"])
        .arg(program)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1")
        .exec();
    eprintln!("error: unshare: {error}; the end-to-end tests run as root on Linux");
    ExitCode::FAILURE
}

/// This program once more, with a folder of its own in `build/`, for as long as this process lives: it calls
/// [`end_with_parent`].
pub struct Apart {
    child: Child,
    /// Open for as long as the child is to run.
    input: Option<ChildStdin>,
}

impl Apart {
    /// Starts it with what `configure` adds.
    pub fn start(work_dir: &str, configure: impl FnOnce(&mut Command)) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.env(WORK_DIR, work_dir).stdin(Stdio::piped()).stdout(Stdio::piped());
        configure(&mut command);
        let mut child = command.spawn().context("a process of its own starts")?;
        // `wait` would close it first.
        let input = child.stdin.take();
        Ok(Self { child, input })
    }

    /// What it says; to be read, or it stops when the pipe is full.
    pub fn out(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    pub fn wait(mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait();
        drop(self.input.take());
        status
    }
}

/// Ends this process, and with it its namespaces, when the one that started it has ended: its input closes then.
pub fn end_with_parent() {
    std::thread::spawn(|| {
        let _ = io::stdin().lock().read_to_end(&mut Vec::new());
        std::process::exit(1);
    });
}

/// Gives the namespaces what a machine has: loopback, an uplink, an empty /run, and a neighbour outside.
pub fn prepare() -> anyhow::Result<()> {
    for line in [
        "mount -t tmpfs tmpfs /run".to_owned(),
        "ip link set lo up".to_owned(),
        "ip netns add outside".to_owned(),
        "ip link add eth0 type veth peer name eth0 netns outside".to_owned(),
        format!("ip addr add {NODE_IP}/24 dev eth0"),
        "ip link set eth0 up".to_owned(),
        format!("ip -n outside addr add {OUTSIDE_IP}/24 dev eth0"),
        "ip -n outside link set eth0 up".to_owned(),
        "ip -n outside link set lo up".to_owned(),
        format!("ip route add default via {OUTSIDE_IP}"),
    ] {
        shell(&line)?;
    }
    Ok(())
}

/// Runs one command line, split at spaces.
pub fn shell(line: &str) -> anyhow::Result<String> {
    let mut words = line.split(' ');
    let program = words.next().unwrap_or_default();
    let output = Command::new(program).args(words).output().with_context(|| line.to_owned())?;
    if !output.status.success() {
        bail!("{line}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The root of the repository.
pub fn repository() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Where a run keeps its files; on a real file system, since the store is what is tested.
pub fn work_dir() -> PathBuf {
    repository().join("build").join(std::env::var(WORK_DIR).unwrap_or_else(|_| "e2e".to_owned()))
}
