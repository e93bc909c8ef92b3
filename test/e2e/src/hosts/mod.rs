//! Several hosts on one machine, each with a network, file systems, a host name and control groups of its own, on one
//! switch: `coracle server` and `coracle agent` run in each by the same commands as on real ones.
//!
//! `/var/lib/coracle` and `/etc/coracle` are folders of the host; `/run` is empty at first. Processes are seen from outside,
//! so that a test can kill or pause them.

mod backup;
mod groups;
pub mod inside;
mod installing;
mod joining;
pub mod lanes;
mod life;
mod losses;
mod scenarios;
mod store;
mod together;
mod work;

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

pub use self::joining::wait_members;
pub use self::scenarios::Scenario;
use crate::cluster::binary;
use crate::host;
use crate::kubectl::{Kubectl, eventually};
use groups::Groups;

/// The switch, which is also the machine outside that hosts reach by their default route.
const SWITCH: &str = "hosts0";
const GATEWAY: &str = "172.30.8.1";
/// How long a process may take to end by itself.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// One host. All of it ends with this.
pub struct Host {
    pub name: String,
    pub address: String,
    dir: PathBuf,
    groups: Groups,
    /// Holds the namespaces open.
    holder: Child,
    /// `coracle server` or `coracle agent`.
    coracle: Option<Child>,
    /// Its arguments.
    launched: String,
}

/// The switch that all hosts are on.
pub fn prepare() -> anyhow::Result<()> {
    let _ = fs::remove_dir_all(host::work_dir());
    groups::remove_stale();
    for line in [
        "mount -t tmpfs tmpfs /run".to_owned(),
        "ip link set lo up".to_owned(),
        format!("ip link add {SWITCH} type bridge"),
        format!("ip addr add {GATEWAY}/24 dev {SWITCH}"),
        format!("ip link set {SWITCH} up"),
    ] {
        host::shell(&line)?;
    }
    Ok(())
}

impl Host {
    /// A host without anything running, number `number` on the switch.
    pub fn start(name: &str, number: u8) -> anyhow::Result<Self> {
        let dir = host::work_dir().join(name);
        // An earlier scenario may have had a host of this name.
        let _ = fs::remove_dir_all(&dir);
        for part in ["data/agent/images", "etc"] {
            fs::create_dir_all(dir.join(part))?;
        }
        for image in fs::read_dir(host::repository().join("build/images")).context("run hack/images first")?.flatten() {
            if image.path().extension().is_some_and(|e| e == "tar") {
                fs::copy(image.path(), dir.join("data/agent/images").join(image.file_name()))?;
            }
        }
        let groups = Groups::make(name)?;
        let mut holder = groups
            .within(&["unshare", "--net", "--mount", "--uts", "--cgroup", "--propagation=private", "--"])
            .arg(std::env::current_exe()?)
            .env(inside::DIR, &dir)
            .env(inside::NAME, name)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("unshare")?;
        let out = holder.stdout.take();
        let address = format!("172.30.8.{}", 10 + number);
        let host = Self { name: name.to_owned(), address, dir, groups, holder, coracle: None, launched: String::new() };
        let mut ready = [0];
        let said = out.map(|mut out| out.read_exact(&mut ready));
        ensure!(matches!(said, Some(Ok(()))), "the host {name} did not come up");
        host.plug_in(number)?;
        Ok(host)
    }

    fn plug_in(&self, number: u8) -> anyhow::Result<()> {
        let pid = self.holder.id();
        host::shell(&format!("ip link add host{number} type veth peer name eth0 netns {pid}"))?;
        host::shell(&format!("ip link set host{number} master {SWITCH} up"))?;
        self.run(&format!("ip addr add {}/24 dev eth0", self.address))?;
        self.run("ip link set eth0 up")?;
        self.run(&format!("ip route add default via {GATEWAY}"))?;
        Ok(())
    }

    /// A command on this host.
    pub fn command(&self, program: &Path) -> Command {
        let target = self.holder.id().to_string();
        let mut command =
            self.groups.within(&["nsenter", "--target", &target, "--net", "--mount", "--uts", "--cgroup", "--"]);
        let path = std::env::var("PATH").unwrap_or_default();
        command.arg(program).current_dir("/").stdin(Stdio::null());
        command.env("PATH", format!("{}:{path}", self.stand_ins().display()));
        command
    }

    /// Programs of the test's own, which are found before the machine's.
    fn stand_ins(&self) -> PathBuf {
        self.dir.join("stand-ins")
    }

    /// Makes `script` what is found by the name of a program, which the machine need not have.
    pub fn stand_in(&self, name: &str, script: &str) -> anyhow::Result<()> {
        let path = self.stand_ins().join(name);
        fs::create_dir_all(self.stand_ins())?;
        fs::write(&path, script)?;
        Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
    }

    /// The machine's own is found again.
    pub fn remove_stand_in(&self, name: &str) -> anyhow::Result<()> {
        Ok(fs::remove_file(self.stand_ins().join(name))?)
    }

    /// Runs one command line on this host, split at spaces, and answers its output.
    pub fn run(&self, line: &str) -> anyhow::Result<String> {
        let mut words = line.split(' ');
        let program = words.next().unwrap_or_default();
        let output = self.command(Path::new(program)).args(words).output().with_context(|| line.to_owned())?;
        if !output.status.success() {
            bail!("{} on {}: {}", line, self.name, String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs `coracle <line>` to its end, and answers what it prints.
    pub fn coracle(&self, line: &str) -> anyhow::Result<String> {
        Ok(self.run(&format!("{} {line}", binary().display()))?.trim().to_owned())
    }

    /// Starts `coracle <line>` and lets it run.
    pub fn launch(&mut self, line: &str) -> anyhow::Result<()> {
        ensure!(self.coracle.is_none(), "coracle runs already on {}", self.name);
        let log = File::options().create(true).append(true).open(self.log_path())?;
        let mut command = self.command(&binary());
        command.args(line.split(' ')).arg(host::EVICTION).stdout(log.try_clone()?).stderr(log);
        self.coracle = Some(command.spawn().context("the coracle binary starts")?);
        line.clone_into(&mut self.launched);
        Ok(())
    }

    /// Fails if what was launched has ended.
    pub fn check_alive(&mut self) -> anyhow::Result<()> {
        let ended = self.coracle.as_mut().and_then(|child| child.try_wait().ok().flatten());
        match ended {
            Some(status) => bail!("coracle on {} ended with {status}: {}", self.name, self.log_tail(10)),
            None => Ok(()),
        }
    }

    /// The arguments of what was launched last.
    pub fn launched(&self) -> &str {
        &self.launched
    }

    /// The process that was launched.
    pub fn pid(&self) -> u32 {
        self.coracle.as_ref().map_or(0, Child::id)
    }

    /// `kill -9` of the coracle process; its containers go on.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.coracle.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Asks the coracle process for an orderly end and waits for it.
    pub fn terminate(&mut self) -> anyhow::Result<()> {
        let Some(mut child) = self.coracle.take() else { return Ok(()) };
        host::shell(&format!("kill -TERM {}", child.id()))?;
        let ended = eventually(STOP_LIMIT, || {
            ensure!(child.try_wait()?.is_some(), "coracle on {} still runs", self.name);
            Ok(())
        });
        if ended.is_err() {
            child.kill()?;
            child.wait()?;
        }
        ended
    }

    /// Everything on the host ends at once, as when its power fails. It can be launched again.
    pub fn power_off(&mut self) -> anyhow::Result<()> {
        let (holder, deadline) = (self.holder.id(), Instant::now() + STOP_LIMIT);
        self.kill()?;
        while self.groups.kill_all_but(holder) > 0 {
            ensure!(Instant::now() < deadline, "processes of {} do not end", self.name);
            // What was killed is gone a moment later.
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The administrator's kubectl, by way of this server's address.
    pub fn kubectl(&self) -> anyhow::Result<Kubectl> {
        let text = eventually(STOP_LIMIT, || {
            fs::read_to_string(self.dir.join("etc/coracle.yaml"))
                .with_context(|| format!("{} has no kubeconfig", self.name))
        })?;
        let path = self.dir.join("kubeconfig.yaml");
        fs::write(&path, text.replace("127.0.0.1", &self.address))?;
        Ok(Kubectl::new(&path))
    }

    /// The token with which others join this server.
    pub fn token(&self) -> anyhow::Result<String> {
        eventually(STOP_LIMIT, || {
            let text = fs::read_to_string(self.dir.join("data/server/token")).context("no token yet")?;
            ensure!(!text.trim().is_empty(), "the token is empty");
            Ok(text.trim().to_owned())
        })
    }

    fn log_path(&self) -> PathBuf {
        self.dir.join("coracle.log")
    }

    pub fn log_tail(&self, lines: usize) -> String {
        let text = fs::read_to_string(self.log_path()).unwrap_or_default();
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Err(error) = self.power_off() {
            eprintln!("{}: {error:#}", self.name);
        }
        let _ = self.holder.kill();
        let _ = self.holder.wait();
        self.groups.remove();
    }
}
