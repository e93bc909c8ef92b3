//! The two services of a runtime as traits, so that the kubelet's logic runs against a fake in tests.

use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;

use crate::v1;
use crate::{Error, Event};

pub type Result<T> = std::result::Result<T, Error>;
/// Events as they come; an error ends the stream and the caller subscribes again (and looks at everything once).
pub type EventStream = BoxStream<'static, Result<Event>>;

/// What an exec gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecOutput {
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub exit_code: i32,
}

/// Sandboxes and containers. Every call is idempotent where CRI says so: stopping or removing what is gone is `Ok`.
#[async_trait]
pub trait RuntimeService: Send + Sync + 'static {
    async fn version(&self) -> Result<v1::VersionResponse>;
    async fn status(&self) -> Result<v1::RuntimeStatus>;
    async fn update_pod_cidr(&self, pod_cidr: &str) -> Result<()>;

    async fn run_pod_sandbox(&self, config: v1::PodSandboxConfig, handler: &str) -> Result<String>;
    async fn stop_pod_sandbox(&self, id: &str) -> Result<()>;
    async fn remove_pod_sandbox(&self, id: &str) -> Result<()>;
    async fn pod_sandbox_status(&self, id: &str) -> Result<v1::PodSandboxStatus>;
    async fn list_pod_sandboxes(&self, filter: Option<v1::PodSandboxFilter>) -> Result<Vec<v1::PodSandbox>>;

    async fn create_container(
        &self,
        sandbox: &str,
        config: v1::ContainerConfig,
        sandbox_config: v1::PodSandboxConfig,
    ) -> Result<String>;
    async fn start_container(&self, id: &str) -> Result<()>;
    /// Sends the stop signal, and kills what still runs after `grace`.
    async fn stop_container(&self, id: &str, grace: Duration) -> Result<()>;
    async fn remove_container(&self, id: &str) -> Result<()>;
    async fn list_containers(&self, filter: Option<v1::ContainerFilter>) -> Result<Vec<v1::Container>>;
    async fn container_status(&self, id: &str) -> Result<v1::ContainerStatus>;
    async fn update_container_resources(&self, id: &str, resources: v1::LinuxContainerResources) -> Result<()>;
    async fn reopen_container_log(&self, id: &str) -> Result<()>;

    async fn exec_sync(&self, id: &str, command: Vec<String>, timeout: Duration) -> Result<ExecOutput>;
    /// These answer the URL of the runtime's streaming server.
    async fn exec(&self, request: v1::ExecRequest) -> Result<String>;
    async fn attach(&self, request: v1::AttachRequest) -> Result<String>;
    async fn port_forward(&self, request: v1::PortForwardRequest) -> Result<String>;

    async fn list_container_stats(&self) -> Result<Vec<v1::ContainerStats>>;
    async fn events(&self) -> Result<EventStream>;
}

/// Images.
#[async_trait]
pub trait ImageService: Send + Sync + 'static {
    async fn list_images(&self) -> Result<Vec<v1::Image>>;
    async fn image_status(&self, image: &str) -> Result<Option<v1::Image>>;
    /// Answers the reference (digest) of what was pulled.
    async fn pull_image(
        &self,
        image: &str,
        auth: Option<v1::AuthConfig>,
        sandbox: Option<v1::PodSandboxConfig>,
    ) -> Result<String>;
    async fn remove_image(&self, image: &str) -> Result<()>;
    async fn image_fs_info(&self) -> Result<Vec<v1::FilesystemUsage>>;
}
