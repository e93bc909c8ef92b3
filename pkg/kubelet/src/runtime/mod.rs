//! What runs: a pod's sandboxes and containers as the runtime knows them, and the actions on them.

pub mod container_config;
pub mod env;
pub mod kill;
pub mod observe;
pub mod sandbox;
pub mod security;
pub mod start;

use jiff::Timestamp;

/// A container's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Created,
    Running,
    Exited,
    Unknown,
}

/// One container that the runtime has, with what we wrote on it when we made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerStatus {
    pub id: String,
    pub name: String,
    pub sandbox_id: String,
    pub state: State,
    pub restart_count: u32,
    pub hash: String,
    pub created_at: Option<Timestamp>,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub exit_code: i32,
    pub reason: String,
    pub message: String,
    pub image: String,
    pub image_id: String,
    pub log_path: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxStatus {
    pub id: String,
    pub ready: bool,
    pub attempt: u32,
    pub created_at: i64,
    pub ips: Vec<String>,
    pub host_network: bool,
}

/// All of a pod that the runtime has. Newest first in both lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodRuntimeStatus {
    pub sandboxes: Vec<SandboxStatus>,
    pub containers: Vec<ContainerStatus>,
}

impl PodRuntimeStatus {
    /// The newest container of that name.
    pub fn find(&self, name: &str) -> Option<&ContainerStatus> {
        self.containers.iter().find(|c| c.name == name)
    }

    pub fn by_id(&self, id: &str) -> Option<&ContainerStatus> {
        self.containers.iter().find(|c| c.id == id)
    }

    /// The newest that has ended and is not the newest of all, else none: a container's last state.
    pub fn previous(&self, name: &str) -> Option<&ContainerStatus> {
        self.containers.iter().filter(|c| c.name == name).skip(1).find(|c| c.state == State::Exited)
    }

    pub fn ready_sandbox(&self) -> Option<&SandboxStatus> {
        self.sandboxes.first().filter(|s| s.ready)
    }

    pub fn running(&self) -> impl Iterator<Item = &ContainerStatus> {
        self.containers.iter().filter(|c| c.state == State::Running)
    }

    /// True where nothing of the pod uses the node any more.
    pub fn is_stopped(&self) -> bool {
        self.running().next().is_none() && self.sandboxes.iter().all(|s| !s.ready)
    }

    pub fn ips(&self) -> &[String] {
        self.ready_sandbox().map_or(&[], |s| s.ips.as_slice())
    }
}
