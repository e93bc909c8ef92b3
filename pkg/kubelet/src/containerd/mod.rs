//! A containerd of our own: configured, started, adopted when it runs already, and left running when we end, so that
//! restarting us restarts no container.

mod settings;

use std::fs;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use component_base::Shutdown;
use cri::{Remote, RuntimeService as _};
use rustix::process::{Pid, PidfdFlags, Signal};
use tokio::io::unix::AsyncFd;

/// How long a start may take; loading many images and containers takes the most of it.
const START_TIMEOUT: Duration = Duration::from_secs(60);
const READY_FIRST: Duration = Duration::from_millis(10);
const RESTART_DELAY: Duration = Duration::from_secs(1);
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// Where the private containerd lives.
#[derive(Clone, Debug)]
pub struct Options {
    /// Images, snapshots, metadata: `<data-dir>/agent/containerd`.
    pub root: PathBuf,
    /// Sockets and run-time state: `/run/coracle/containerd`.
    pub state: PathBuf,
    pub cni_bin_dir: PathBuf,
    pub cni_conf_dir: PathBuf,
    /// `certs.d` with mirrors and credentials of registries.
    pub registry_config_dir: PathBuf,
}

impl Options {
    /// The usual layout below a data directory.
    pub fn below(data_dir: &Path) -> Self {
        let agent = data_dir.join("agent");
        Self {
            root: agent.join("containerd"),
            state: PathBuf::from("/run/coracle/containerd"),
            cni_bin_dir: agent.join("cni/bin"),
            cni_conf_dir: agent.join("cni/net.d"),
            registry_config_dir: agent.join("containerd/certs.d"),
        }
    }

    pub fn socket(&self) -> PathBuf {
        self.state.join("containerd.sock")
    }

    pub fn endpoint(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    fn pid_file(&self) -> PathBuf {
        self.state.join("containerd.pid")
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "containerd was not found on PATH: install it (Debian: apt-get install containerd runc), or name a running one with --container-runtime-endpoint"
    )]
    Missing,
    #[error("runc was not found on PATH: install it (Debian: apt-get install runc)")]
    MissingRunc,
    #[error("{what}: {source}")]
    Io {
        what: String,
        #[source]
        source: io::Error,
    },
    #[error("containerd did not become ready: {reason}; see {}", log.display())]
    NotReady { reason: String, log: PathBuf },
}

fn io_error(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io { what: what.into(), source }
}

/// True where the runtime that we configure uses systemd to make control groups.
pub fn uses_systemd_cgroups() -> bool {
    Path::new("/run/systemd/system").is_dir() && Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// Makes sure that a containerd serves the socket, and keeps it so until shutdown.
pub async fn supervise(options: &Options, shutdown: &Shutdown) -> Result<Remote, Error> {
    let remote = Remote::new(&options.endpoint())
        .map_err(|e| Error::NotReady { reason: e.to_string(), log: options.root.join("containerd.log") })?;
    let mut process = start_or_adopt(options, &remote).await?;
    let (options, stop, watched) = (options.clone(), shutdown.clone(), remote.clone());
    shutdown.spawn(async move {
        while stop.race(process.ended()).await.is_some() {
            tracing::error!("containerd ended; starting it again");
            loop {
                if stop.race(tokio::time::sleep(RESTART_DELAY)).await.is_none() {
                    return;
                }
                match start_or_adopt(&options, &watched).await {
                    Ok(started) => {
                        process = started;
                        break;
                    }
                    Err(error) => tracing::error!(%error, "containerd was not started; trying again"),
                }
            }
        }
    });
    Ok(remote)
}

/// Stops a private containerd (not its containers).
pub async fn stop(options: &Options) -> Result<(), Error> {
    let Some(process) = Process::from_pid_file(options) else {
        return Ok(());
    };
    rustix::process::kill_process(process.pid, Signal::TERM).map_err(|e| io_error("stopping containerd")(e.into()))?;
    let _ = tokio::time::timeout(STOP_TIMEOUT, process.ended()).await;
    Ok(())
}

async fn start_or_adopt(options: &Options, remote: &Remote) -> Result<Process, Error> {
    if let Some(process) = Process::from_pid_file(options) {
        wait_ready(options, remote, &process).await?;
        tracing::info!(pid = process.pid.as_raw_nonzero().get(), "using the containerd that runs already");
        return Ok(process);
    }
    let process = start(options)?;
    wait_ready(options, remote, &process).await?;
    tracing::info!(pid = process.pid.as_raw_nonzero().get(), socket = %options.socket().display(), "containerd started");
    Ok(process)
}

/// A program on PATH, or where Debian has it although a service's PATH may not.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.extend(["/usr/local/bin", "/usr/bin", "/usr/local/sbin", "/usr/sbin", "/sbin", "/bin"].map(PathBuf::from));
    folders.into_iter().map(|folder| folder.join(program)).find(|file| file.is_file())
}

fn start(options: &Options) -> Result<Process, Error> {
    let program = find("containerd").ok_or(Error::Missing)?;
    let runc = find("runc").ok_or(Error::MissingRunc)?;
    for folder in [&options.root, &options.state, &options.cni_bin_dir, &options.cni_conf_dir] {
        fs::create_dir_all(folder).map_err(io_error(format!("making {}", folder.display())))?;
    }
    let config = options.root.join("config.toml");
    let text = settings::config_toml(options, &runc, &settings::Machine::detect(&options.root));
    fs::write(&config, text).map_err(io_error(format!("writing {}", config.display())))?;
    let log_path = options.root.join("containerd.log");
    let log = fs::OpenOptions::new().create(true).append(true).open(&log_path);
    let log = log.map_err(io_error(format!("opening {}", log_path.display())))?;
    let errors = log.try_clone().map_err(io_error("opening the log twice"))?;
    let child = Command::new(program)
        .arg("--config")
        .arg(&config)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        // In a group of its own: what interrupts us does not interrupt it.
        .process_group(0)
        .spawn()
        .map_err(io_error("starting containerd"))?;
    fs::write(options.pid_file(), child.id().to_string()).map_err(io_error("writing containerd's pid"))?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let process = pid.and_then(Process::open);
    // Reaped here, so that a containerd that ends leaves no zombie behind.
    std::thread::Builder::new()
        .name("containerd-wait".to_owned())
        .spawn(move || {
            let mut child = child;
            let _ = child.wait();
        })
        .map_err(io_error("starting a thread"))?;
    process.ok_or_else(|| Error::NotReady { reason: "it ended at once".to_owned(), log: log_path })
}

/// Waits until it answers over CRI, or ends.
async fn wait_ready(options: &Options, remote: &Remote, process: &Process) -> Result<(), Error> {
    let log = options.root.join("containerd.log");
    let answers = async {
        let mut wait = READY_FIRST;
        while remote.version().await.is_err() {
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(Duration::from_millis(100));
        }
    };
    tokio::select! {
        () = answers => Ok(()),
        () = process.ended() => Err(Error::NotReady { reason: format!("it ended: {}", last_line(&log)), log }),
        () = tokio::time::sleep(START_TIMEOUT) => {
            Err(Error::NotReady { reason: format!("no answer within {START_TIMEOUT:?}"), log })
        }
    }
}

fn last_line(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().last().unwrap_or_default().to_owned()
}

/// A running containerd, ours or one that an earlier process of ours started.
struct Process {
    pid: Pid,
    handle: AsyncFd<std::os::fd::OwnedFd>,
}

impl Process {
    // `new` is the safe constructor: an owned descriptor stays open as long as its owner, which is all that is asked.
    #[allow(deprecated)]
    fn open(pid: Pid) -> Option<Self> {
        let handle = rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK).ok()?;
        Some(Self { pid, handle: AsyncFd::new(handle).ok()? })
    }

    /// The process of the pid file, if it is a containerd with our config.
    fn from_pid_file(options: &Options) -> Option<Self> {
        let pid: i32 = fs::read_to_string(options.pid_file()).ok()?.trim().parse().ok()?;
        let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let config = options.root.join("config.toml");
        let ours = command.split(|b| *b == 0).any(|arg| arg == config.as_os_str().as_encoded_bytes());
        Pid::from_raw(pid).filter(|_| ours).and_then(Self::open)
    }

    /// A pidfd becomes readable when its process ends.
    async fn ended(&self) {
        let _ = self.handle.readable().await;
    }
}
