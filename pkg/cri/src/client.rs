//! The client of a real runtime.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::containerd::Containerd;
use crate::service::{EventStream, ExecOutput, ImageService, Result, RuntimeService};
use crate::v1::image_service_client::ImageServiceClient;
use crate::v1::runtime_service_client::RuntimeServiceClient;
use crate::{Error, events, v1};

/// Ordinary calls end within this; upstream's default of `--runtime-request-timeout`.
const CALL_TIMEOUT: Duration = Duration::from_secs(120);
/// Making a sandbox includes the network plugins.
const SANDBOX_TIMEOUT: Duration = Duration::from_secs(240);
/// A pull ends when its connection stops giving data; this bound only frees what hangs for good.
const PULL_TIMEOUT: Duration = Duration::from_secs(3600);
/// What a list on a full node may weigh.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// CRI over a unix socket. Clones share one HTTP/2 connection, which is made on first use and made again when lost.
#[derive(Clone, Debug)]
pub struct Remote {
    channel: Channel,
    socket: PathBuf,
}

impl Remote {
    /// `endpoint` is `unix:///path` or a plain path.
    pub fn new(endpoint: &str) -> Result<Self> {
        let bad = |reason: &str| Error::Endpoint { endpoint: endpoint.to_owned(), reason: reason.to_owned() };
        let path = match endpoint.split_once("://") {
            None => endpoint,
            Some(("unix", path)) => path,
            Some(_) => return Err(bad("only unix sockets are supported: unix:///run/containerd/containerd.sock")),
        };
        if !path.starts_with('/') {
            return Err(bad("the socket's path must be absolute"));
        }
        let socket = PathBuf::from(path);
        let dialled = socket.clone();
        let connector = tower::service_fn(move |_: Uri| {
            let socket = dialled.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        // The authority is never dialled: the connector above goes to the socket.
        let channel = Endpoint::from_static("http://localhost").connect_with_connector_lazy(connector);
        Ok(Self { channel, socket })
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// containerd's own services behind the same socket.
    pub fn containerd(&self) -> Containerd {
        Containerd::new(self.channel.clone())
    }

    fn runtime(&self) -> RuntimeServiceClient<Channel> {
        RuntimeServiceClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    fn images(&self) -> ImageServiceClient<Channel> {
        ImageServiceClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }
}

/// Runs one call with a deadline and unwraps its answer.
async fn call<T>(
    limit: Duration,
    answer: impl Future<Output = std::result::Result<tonic::Response<T>, tonic::Status>>,
) -> Result<T> {
    match tokio::time::timeout(limit, answer).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(status.into()),
        Err(_) => Err(Error::DeadlineExceeded(limit)),
    }
}

/// For stopping and removing: what is gone already is as asked.
fn gone_is_fine<T>(outcome: Result<T>) -> Result<()> {
    match outcome {
        Ok(_) => Ok(()),
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}

fn missing(what: &str) -> Error {
    Error::Rpc { code: tonic::Code::Internal, message: format!("the runtime answered without a {what}") }
}

#[async_trait]
impl RuntimeService for Remote {
    async fn version(&self) -> Result<v1::VersionResponse> {
        call(CALL_TIMEOUT, self.runtime().version(v1::VersionRequest { version: "0.1.0".into() })).await
    }

    async fn status(&self) -> Result<v1::RuntimeStatus> {
        let answer = call(CALL_TIMEOUT, self.runtime().status(v1::StatusRequest { verbose: false })).await?;
        answer.status.ok_or_else(|| missing("status"))
    }

    async fn update_pod_cidr(&self, pod_cidr: &str) -> Result<()> {
        let network_config = Some(v1::NetworkConfig { pod_cidr: pod_cidr.to_owned() });
        let request = v1::UpdateRuntimeConfigRequest { runtime_config: Some(v1::RuntimeConfig { network_config }) };
        call(CALL_TIMEOUT, self.runtime().update_runtime_config(request)).await.map(drop)
    }

    async fn run_pod_sandbox(&self, config: v1::PodSandboxConfig, handler: &str) -> Result<String> {
        let request = v1::RunPodSandboxRequest { config: Some(config), runtime_handler: handler.to_owned() };
        Ok(call(SANDBOX_TIMEOUT, self.runtime().run_pod_sandbox(request)).await?.pod_sandbox_id)
    }

    async fn stop_pod_sandbox(&self, id: &str) -> Result<()> {
        let request = v1::StopPodSandboxRequest { pod_sandbox_id: id.to_owned() };
        gone_is_fine(call(SANDBOX_TIMEOUT, self.runtime().stop_pod_sandbox(request)).await)
    }

    async fn remove_pod_sandbox(&self, id: &str) -> Result<()> {
        let request = v1::RemovePodSandboxRequest { pod_sandbox_id: id.to_owned() };
        gone_is_fine(call(SANDBOX_TIMEOUT, self.runtime().remove_pod_sandbox(request)).await)
    }

    async fn pod_sandbox_status(&self, id: &str) -> Result<v1::PodSandboxStatus> {
        let request = v1::PodSandboxStatusRequest { pod_sandbox_id: id.to_owned(), verbose: false };
        let answer = call(CALL_TIMEOUT, self.runtime().pod_sandbox_status(request)).await?;
        answer.status.ok_or_else(|| missing("sandbox status"))
    }

    async fn list_pod_sandboxes(&self, filter: Option<v1::PodSandboxFilter>) -> Result<Vec<v1::PodSandbox>> {
        Ok(call(CALL_TIMEOUT, self.runtime().list_pod_sandbox(v1::ListPodSandboxRequest { filter })).await?.items)
    }

    async fn create_container(
        &self,
        sandbox: &str,
        config: v1::ContainerConfig,
        sandbox_config: v1::PodSandboxConfig,
    ) -> Result<String> {
        let request = v1::CreateContainerRequest {
            pod_sandbox_id: sandbox.to_owned(),
            config: Some(config),
            sandbox_config: Some(sandbox_config),
        };
        Ok(call(SANDBOX_TIMEOUT, self.runtime().create_container(request)).await?.container_id)
    }

    async fn start_container(&self, id: &str) -> Result<()> {
        let request = v1::StartContainerRequest { container_id: id.to_owned() };
        call(CALL_TIMEOUT, self.runtime().start_container(request)).await.map(drop)
    }

    async fn stop_container(&self, id: &str, grace: Duration) -> Result<()> {
        // Rounded up: less would cut the grace period short.
        let timeout = i64::try_from(grace.as_millis().div_ceil(1000)).unwrap_or(i64::MAX);
        let request = v1::StopContainerRequest { container_id: id.to_owned(), timeout };
        gone_is_fine(call(grace.saturating_add(CALL_TIMEOUT), self.runtime().stop_container(request)).await)
    }

    async fn remove_container(&self, id: &str) -> Result<()> {
        let request = v1::RemoveContainerRequest { container_id: id.to_owned() };
        gone_is_fine(call(CALL_TIMEOUT, self.runtime().remove_container(request)).await)
    }

    async fn list_containers(&self, filter: Option<v1::ContainerFilter>) -> Result<Vec<v1::Container>> {
        Ok(call(CALL_TIMEOUT, self.runtime().list_containers(v1::ListContainersRequest { filter })).await?.containers)
    }

    async fn container_status(&self, id: &str) -> Result<v1::ContainerStatus> {
        let request = v1::ContainerStatusRequest { container_id: id.to_owned(), verbose: false };
        let answer = call(CALL_TIMEOUT, self.runtime().container_status(request)).await?;
        answer.status.ok_or_else(|| missing("container status"))
    }

    async fn update_container_resources(&self, id: &str, resources: v1::LinuxContainerResources) -> Result<()> {
        let request = v1::UpdateContainerResourcesRequest {
            container_id: id.to_owned(),
            linux: Some(resources),
            ..Default::default()
        };
        call(CALL_TIMEOUT, self.runtime().update_container_resources(request)).await.map(drop)
    }

    async fn reopen_container_log(&self, id: &str) -> Result<()> {
        let request = v1::ReopenContainerLogRequest { container_id: id.to_owned() };
        call(CALL_TIMEOUT, self.runtime().reopen_container_log(request)).await.map(drop)
    }

    async fn exec_sync(&self, id: &str, cmd: Vec<String>, timeout: Duration) -> Result<ExecOutput> {
        let seconds = i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX);
        let request = v1::ExecSyncRequest { container_id: id.to_owned(), cmd, timeout: seconds };
        // The runtime's own timeout comes first; ours catches a runtime that hangs.
        let limit = timeout.saturating_add(Duration::from_secs(10));
        let answer = call(limit, self.runtime().exec_sync(request)).await?;
        Ok(ExecOutput { stdout: answer.stdout, stderr: answer.stderr, exit_code: answer.exit_code })
    }

    async fn exec(&self, request: v1::ExecRequest) -> Result<String> {
        Ok(call(CALL_TIMEOUT, self.runtime().exec(request)).await?.url)
    }

    async fn attach(&self, request: v1::AttachRequest) -> Result<String> {
        Ok(call(CALL_TIMEOUT, self.runtime().attach(request)).await?.url)
    }

    async fn port_forward(&self, request: v1::PortForwardRequest) -> Result<String> {
        Ok(call(CALL_TIMEOUT, self.runtime().port_forward(request)).await?.url)
    }

    async fn list_container_stats(&self) -> Result<Vec<v1::ContainerStats>> {
        let request = v1::ListContainerStatsRequest { filter: None };
        Ok(call(CALL_TIMEOUT, self.runtime().list_container_stats(request)).await?.stats)
    }

    async fn events(&self) -> Result<EventStream> {
        match events::from_cri(self.runtime()).await {
            Err(Error::Unimplemented(_)) => events::from_containerd(self.channel.clone()).await,
            outcome => outcome,
        }
    }
}

#[async_trait]
impl ImageService for Remote {
    async fn list_images(&self) -> Result<Vec<v1::Image>> {
        Ok(call(CALL_TIMEOUT, self.images().list_images(v1::ListImagesRequest { filter: None })).await?.images)
    }

    async fn image_status(&self, image: &str) -> Result<Option<v1::Image>> {
        let request = v1::ImageStatusRequest { image: Some(image_spec(image)), verbose: false };
        Ok(call(CALL_TIMEOUT, self.images().image_status(request)).await?.image)
    }

    async fn pull_image(
        &self,
        image: &str,
        auth: Option<v1::AuthConfig>,
        sandbox_config: Option<v1::PodSandboxConfig>,
    ) -> Result<String> {
        let request = v1::PullImageRequest { image: Some(image_spec(image)), auth, sandbox_config };
        Ok(call(PULL_TIMEOUT, self.images().pull_image(request)).await?.image_ref)
    }

    async fn remove_image(&self, image: &str) -> Result<()> {
        let request = v1::RemoveImageRequest { image: Some(image_spec(image)) };
        gone_is_fine(call(CALL_TIMEOUT, self.images().remove_image(request)).await)
    }

    async fn image_fs_info(&self) -> Result<Vec<v1::FilesystemUsage>> {
        Ok(call(CALL_TIMEOUT, self.images().image_fs_info(v1::ImageFsInfoRequest {})).await?.image_filesystems)
    }
}

fn image_spec(image: &str) -> v1::ImageSpec {
    v1::ImageSpec { image: image.to_owned(), ..Default::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn endpoints_are_absolute_unix_paths() {
        for good in ["unix:///run/x.sock", "/run/x.sock"] {
            assert_eq!(Remote::new(good).expect(good).socket(), Path::new("/run/x.sock"));
        }
        for bad in ["tcp://1.2.3.4:1", "x.sock", "unix://x.sock"] {
            assert!(matches!(Remote::new(bad), Err(Error::Endpoint { .. })), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_missing_socket_is_unavailable() {
        let folder = std::env::temp_dir().join("coracle-no-such-folder").join("x.sock");
        let remote = Remote::new(&folder.display().to_string()).expect("a well-formed endpoint");
        assert!(matches!(remote.version().await, Err(Error::Unavailable(_))));
    }
}
