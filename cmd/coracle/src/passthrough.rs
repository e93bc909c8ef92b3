//! `coracle kubectl|crictl|ctr`: runs the program that is installed, pointed at this cluster.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::bail;

use crate::config_file;
use crate::options::Passthrough;

const KUBECONFIG: &str = "/etc/coracle/coracle.yaml";
const RUN_DIR: &str = "/run/coracle";

/// The administrator's kubeconfig, where this machine's server writes it.
fn kubeconfig() -> PathBuf {
    let given = std::env::var_os("CORACLE_KUBECONFIG_OUTPUT").map(PathBuf::from);
    given.or_else(|| config_file::value_of("write-kubeconfig").map(PathBuf::from)).unwrap_or_else(|| KUBECONFIG.into())
}

/// The socket of the containerd that the node runs.
fn socket() -> String {
    let run_dir = config_file::value_of("run-dir").unwrap_or_else(|| RUN_DIR.to_owned());
    format!("{run_dir}/containerd/containerd.sock")
}

pub fn kubectl(options: &Passthrough) -> anyhow::Result<()> {
    let mut command = Command::new("kubectl");
    if std::env::var_os("KUBECONFIG").is_none() {
        command.env("KUBECONFIG", readable(&kubeconfig())?);
    }
    become_program(command, options, "any release from 1.32 on, see https://kubernetes.io/docs/tasks/tools/")
}

pub fn crictl(options: &Passthrough) -> anyhow::Result<()> {
    let mut command = Command::new("crictl");
    if std::env::var_os("CONTAINER_RUNTIME_ENDPOINT").is_none() {
        command.env("CONTAINER_RUNTIME_ENDPOINT", format!("unix://{}", socket()));
    }
    become_program(command, options, "the cri-tools package of your distribution")
}

pub fn ctr(options: &Passthrough) -> anyhow::Result<()> {
    let mut command = Command::new("ctr");
    command.args(["--namespace", "k8s.io"]);
    if std::env::var_os("CONTAINERD_ADDRESS").is_none() {
        command.args(["--address", &socket()]);
    }
    become_program(command, options, "it comes with containerd")
}

fn readable(path: &Path) -> anyhow::Result<PathBuf> {
    match std::fs::File::open(path) {
        Ok(_) => Ok(path.to_owned()),
        Err(error) => {
            bail!("{}: {error}; is the server running, are you root, or is KUBECONFIG to be set?", path.display())
        }
    }
}

/// Does not return if the program starts.
fn become_program(mut command: Command, options: &Passthrough, remedy: &str) -> anyhow::Result<()> {
    let name: &OsStr = command.get_program();
    let name = name.to_string_lossy().into_owned();
    let error = command.args(&options.arguments).exec();
    if error.kind() == std::io::ErrorKind::NotFound {
        bail!("{name} is not on PATH; install it: {remedy}");
    }
    bail!("{name}: {error}")
}
