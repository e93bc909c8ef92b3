//! The cluster under test: the built binary as a process of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::host;
use crate::kubectl::{Kubectl, eventually};

pub struct Cluster {
    pub kubectl: Kubectl,
    pub kubeconfig: PathBuf,
    server: Option<Child>,
}

impl Cluster {
    /// Starts from an empty data folder and waits for a Ready node.
    pub fn start() -> anyhow::Result<Self> {
        let mut cluster = Self::prepared()?;
        cluster.launch(&[])?;
        cluster.wait_ready()?;
        Ok(cluster)
    }

    /// An empty data folder with images to import, and nothing started.
    pub fn prepared() -> anyhow::Result<Self> {
        let dir = host::work_dir();
        let _ = fs::remove_dir_all(&dir);
        let images = dir.join("data/agent/images");
        fs::create_dir_all(&images)?;
        for image in fs::read_dir(host::repository().join("build/images")).context("run hack/images first")?.flatten() {
            if image.path().extension().is_some_and(|e| e == "tar") {
                fs::copy(image.path(), images.join(image.file_name()))?;
            }
        }
        let kubeconfig = dir.join("kubeconfig.yaml");
        Ok(Self { kubectl: Kubectl::new(&kubeconfig), kubeconfig, server: None })
    }

    /// Starts the server process on the data folder as it is.
    pub fn launch(&mut self, extra: &[&str]) -> anyhow::Result<()> {
        let dir = host::work_dir();
        let log = File::options().create(true).append(true).open(dir.join("coracle.log"))?;
        let child = Command::new(binary())
            .arg("server")
            .arg(format!("--data-dir={}", dir.join("data").display()))
            .arg(format!("--write-kubeconfig={}", self.kubeconfig.display()))
            .args(["--node-name=node-1", "--node-ip", host::NODE_IP, host::EVICTION])
            .args(extra)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("the coracle binary starts")?;
        self.server = Some(child);
        Ok(())
    }

    pub fn wait_ready(&mut self) -> anyhow::Result<()> {
        let Self { kubectl, server, .. } = self;
        eventually(Duration::from_secs(60), || {
            if let Some(status) = server.as_mut().and_then(|s| s.try_wait().ok().flatten()) {
                // No use in waiting on: reported by the caller with the log.
                anyhow::bail!("the server ended with {status}: {}", log_tail(20));
            }
            let status = "get nodes -o 'jsonpath={.items[*].status.conditions[?(@.type==\"Ready\")].status}'";
            ensure!(kubectl.run(status)? == "True", "the node is not Ready");
            kubectl.run("get serviceaccount default")?;
            Ok(())
        })
    }

    pub fn wait_api(&self) -> anyhow::Result<()> {
        eventually(Duration::from_secs(30), || {
            ensure!(self.kubectl.run("get --raw /readyz")? == "ok", "not ready");
            Ok(())
        })
    }

    pub fn pid(&self) -> u32 {
        self.server.as_ref().map_or(0, Child::id)
    }

    /// `kill -9`, at whatever it is doing.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut server) = self.server.take() {
            server.kill()?;
            server.wait()?;
        }
        Ok(())
    }

    /// Asks for an orderly end and waits for it.
    pub fn terminate(&mut self) -> anyhow::Result<()> {
        if let Some(mut server) = self.server.take() {
            host::shell(&format!("kill -TERM {}", server.id()))?;
            eventually(Duration::from_secs(30), || {
                ensure!(server.try_wait()?.is_some(), "the server still runs");
                Ok(())
            })?;
        }
        Ok(())
    }

    pub fn stop(&mut self) {
        if let Err(error) = self.terminate() {
            eprintln!("stopping the server: {error:#}");
        }
    }

    /// Prints what helps to understand a failure.
    pub fn explain(&self) {
        let lines = [
            ("get pods -A -o wide", 25),
            ("get jobs,pods -A -o yaml", 400),
            ("get events -A --sort-by=.metadata.creationTimestamp", 25),
        ];
        for (line, limit) in lines {
            let output = self.kubectl.run(line).unwrap_or_else(|e| format!("{e:#}"));
            let lines: Vec<&str> = output.lines().collect();
            println!("--- kubectl {line}\n{}", lines[lines.len().saturating_sub(limit)..].join("\n"));
        }
        println!("--- coracle.log\n{}", log_tail(25));
    }
}

pub fn binary() -> PathBuf {
    match std::env::var_os("CORACLE_BINARY") {
        Some(path) => path.into(),
        // Beside this program, where cargo puts it.
        None => std::env::current_exe().ok().and_then(|p| Some(p.parent()?.join("coracle"))).unwrap_or_default(),
    }
}

pub fn log_tail(lines: usize) -> String {
    let text = fs::read_to_string(log_path()).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

fn log_path() -> PathBuf {
    Path::new(&host::work_dir()).join("coracle.log")
}
