//! A runtime in memory for tests: containers run until told to exit, calls are recorded, failures can be planted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use parking_lot::Mutex;
use tokio::sync::broadcast;

use crate::service::{EventStream, ExecOutput, ImageService, Result, RuntimeService};
use crate::{Error, Event, EventKind, v1};

/// The fake. Times are the machine's, but grow with every change, so that order is visible.
#[derive(Debug)]
pub struct Fake {
    state: Mutex<State>,
    events: broadcast::Sender<Event>,
}

#[derive(Debug, Default)]
struct State {
    clock: i64,
    sandboxes: BTreeMap<String, v1::PodSandboxStatus>,
    containers: BTreeMap<String, (String, v1::ContainerStatus, v1::ContainerConfig)>,
    images: BTreeSet<String>,
    calls: Vec<String>,
    failures: BTreeMap<String, u32>,
    exec: BTreeMap<String, ExecOutput>,
}

impl Default for Fake {
    fn default() -> Self {
        Self { state: Mutex::default(), events: broadcast::channel(1024).0 }
    }
}

impl Fake {
    pub fn new() -> Self {
        Self::default()
    }

    /// An image that is on the node.
    pub fn add_image(&self, image: &str) {
        self.state.lock().images.insert(image.to_owned());
    }

    /// The next `times` calls named `call` fail.
    pub fn fail(&self, call: &str, times: u32) {
        self.state.lock().failures.insert(call.to_owned(), times);
    }

    /// What an exec of `command` (words joined by spaces) answers; unknown commands answer exit code 0.
    pub fn set_exec(&self, command: &str, output: ExecOutput) {
        self.state.lock().exec.insert(command.to_owned(), output);
    }

    /// The calls so far, as `name argument`.
    pub fn calls(&self) -> Vec<String> {
        self.state.lock().calls.clone()
    }

    pub fn config_of(&self, container: &str) -> Option<v1::ContainerConfig> {
        self.state.lock().containers.get(container).map(|(_, _, config)| config.clone())
    }

    /// Lets a running container end by itself.
    pub fn exit(&self, id: &str, exit_code: i32) {
        self.state.lock().end(id, exit_code);
        self.emit(id, EventKind::Exited);
    }

    /// Notes a running container's end without telling of it.
    pub fn note_exit(&self, id: &str, exit_code: i32) {
        self.state.lock().end(id, exit_code);
    }

    /// Lets a sandbox die, with all that is in it.
    pub fn kill_sandbox(&self, id: &str) {
        let ended = self.state.lock().end_sandbox(id);
        for container in ended {
            self.emit(&container, EventKind::Exited);
        }
        self.emit(id, EventKind::Exited);
    }

    fn emit(&self, id: &str, kind: EventKind) {
        // Nobody listening is fine.
        let _ = self.events.send(Event { container_id: id.to_owned(), kind });
    }

    fn record(&self, call: &str, argument: &str) -> Result<()> {
        let mut state = self.state.lock();
        state.calls.push(format!("{call} {argument}").trim_end().to_owned());
        match state.failures.get_mut(call) {
            Some(left) if *left > 0 => {
                *left -= 1;
                Err(Error::Rpc { code: tonic::Code::Unknown, message: format!("planted failure of {call}") })
            }
            _ => Ok(()),
        }
    }
}

impl State {
    fn tick(&mut self) -> i64 {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        self.clock = i64::try_from(now.as_nanos()).unwrap_or(i64::MAX).max(self.clock + 1);
        self.clock
    }

    fn end(&mut self, id: &str, exit_code: i32) {
        let now = self.tick();
        if let Some((_, status, _)) = self.containers.get_mut(id)
            && status.state() == v1::ContainerState::ContainerRunning
        {
            status.set_state(v1::ContainerState::ContainerExited);
            status.exit_code = exit_code;
            status.finished_at = now;
            status.reason = if exit_code == 0 { "Completed" } else { "Error" }.to_owned();
        }
    }

    fn end_sandbox(&mut self, id: &str) -> Vec<String> {
        let running = |(_, (sandbox, status, _)): &(&String, &(String, v1::ContainerStatus, _))| {
            sandbox == id && status.state() == v1::ContainerState::ContainerRunning
        };
        let ended: Vec<String> = self.containers.iter().filter(running).map(|(id, _)| id.clone()).collect();
        for container in &ended {
            self.end(container, 137);
        }
        if let Some(sandbox) = self.sandboxes.get_mut(id) {
            sandbox.set_state(v1::PodSandboxState::SandboxNotready);
        }
        ended
    }
}

fn not_found(id: &str) -> Error {
    Error::NotFound(format!("{id}: not found"))
}

#[async_trait]
impl RuntimeService for Fake {
    async fn version(&self) -> Result<v1::VersionResponse> {
        Ok(v1::VersionResponse {
            version: "0.1.0".into(),
            runtime_name: "fake".into(),
            runtime_version: "1".into(),
            runtime_api_version: "v1".into(),
        })
    }

    async fn status(&self) -> Result<v1::RuntimeStatus> {
        let ready = |name: &str| v1::RuntimeCondition { r#type: name.into(), status: true, ..Default::default() };
        Ok(v1::RuntimeStatus { conditions: vec![ready("RuntimeReady"), ready("NetworkReady")] })
    }

    async fn update_pod_cidr(&self, _pod_cidr: &str) -> Result<()> {
        Ok(())
    }

    async fn run_pod_sandbox(&self, config: v1::PodSandboxConfig, _handler: &str) -> Result<String> {
        let metadata = config.metadata.unwrap_or_default();
        self.record("run_pod_sandbox", &metadata.name)?;
        let mut state = self.state.lock();
        let created_at = state.tick();
        let id = format!("sandbox-{}", state.sandboxes.len());
        let network = Some(v1::PodSandboxNetworkStatus { ip: "10.42.0.9".into(), additional_ips: Vec::new() });
        let status = v1::PodSandboxStatus {
            id: id.clone(),
            metadata: Some(metadata),
            state: v1::PodSandboxState::SandboxReady as i32,
            created_at,
            network,
            labels: config.labels,
            annotations: config.annotations,
            ..Default::default()
        };
        state.sandboxes.insert(id.clone(), status);
        Ok(id)
    }

    async fn stop_pod_sandbox(&self, id: &str) -> Result<()> {
        self.record("stop_pod_sandbox", id)?;
        self.kill_sandbox(id);
        Ok(())
    }

    async fn remove_pod_sandbox(&self, id: &str) -> Result<()> {
        self.record("remove_pod_sandbox", id)?;
        let mut state = self.state.lock();
        state.sandboxes.remove(id);
        state.containers.retain(|_, (sandbox, ..)| sandbox != id);
        Ok(())
    }

    async fn pod_sandbox_status(&self, id: &str) -> Result<v1::PodSandboxStatus> {
        self.state.lock().sandboxes.get(id).cloned().ok_or_else(|| not_found(id))
    }

    async fn list_pod_sandboxes(&self, filter: Option<v1::PodSandboxFilter>) -> Result<Vec<v1::PodSandbox>> {
        let wanted = filter.unwrap_or_default().label_selector;
        let state = self.state.lock();
        let matching = state.sandboxes.values().filter(|s| wanted.iter().all(|(k, v)| s.labels.get(k) == Some(v)));
        Ok(matching
            .map(|s| v1::PodSandbox {
                id: s.id.clone(),
                metadata: s.metadata.clone(),
                state: s.state,
                created_at: s.created_at,
                labels: s.labels.clone(),
                annotations: s.annotations.clone(),
                runtime_handler: String::new(),
            })
            .collect())
    }

    async fn create_container(
        &self,
        sandbox: &str,
        config: v1::ContainerConfig,
        _sandbox_config: v1::PodSandboxConfig,
    ) -> Result<String> {
        let metadata = config.metadata.clone().unwrap_or_default();
        self.record("create_container", &metadata.name)?;
        let mut state = self.state.lock();
        let created_at = state.tick();
        let id = format!("{}-{}-{}", sandbox, metadata.name, metadata.attempt);
        let status = v1::ContainerStatus {
            id: id.clone(),
            metadata: Some(metadata),
            state: v1::ContainerState::ContainerCreated as i32,
            created_at,
            image: config.image.clone(),
            image_ref: config.image.clone().unwrap_or_default().image,
            labels: config.labels.clone(),
            annotations: config.annotations.clone(),
            ..Default::default()
        };
        state.containers.insert(id.clone(), (sandbox.to_owned(), status, config));
        Ok(id)
    }

    async fn start_container(&self, id: &str) -> Result<()> {
        self.record("start_container", id)?;
        let mut state = self.state.lock();
        let started_at = state.tick();
        let (_, status, _) = state.containers.get_mut(id).ok_or_else(|| not_found(id))?;
        status.set_state(v1::ContainerState::ContainerRunning);
        status.started_at = started_at;
        Ok(())
    }

    async fn stop_container(&self, id: &str, grace: Duration) -> Result<()> {
        self.record("stop_container", &format!("{id} {}", grace.as_secs()))?;
        self.exit(id, 143);
        Ok(())
    }

    async fn remove_container(&self, id: &str) -> Result<()> {
        self.record("remove_container", id)?;
        self.state.lock().containers.remove(id);
        Ok(())
    }

    async fn list_containers(&self, filter: Option<v1::ContainerFilter>) -> Result<Vec<v1::Container>> {
        let wanted = filter.unwrap_or_default().label_selector;
        let state = self.state.lock();
        let all = state.containers.values();
        Ok(all
            .filter(|(_, s, _)| wanted.iter().all(|(k, v)| s.labels.get(k) == Some(v)))
            .map(|(sandbox, s, _)| v1::Container {
                id: s.id.clone(),
                pod_sandbox_id: sandbox.clone(),
                metadata: s.metadata.clone(),
                image: s.image.clone(),
                image_ref: s.image_ref.clone(),
                state: s.state,
                created_at: s.created_at,
                labels: s.labels.clone(),
                annotations: s.annotations.clone(),
                image_id: String::new(),
            })
            .collect())
    }

    async fn container_status(&self, id: &str) -> Result<v1::ContainerStatus> {
        self.state.lock().containers.get(id).map(|(_, status, _)| status.clone()).ok_or_else(|| not_found(id))
    }

    async fn update_container_resources(&self, id: &str, _resources: v1::LinuxContainerResources) -> Result<()> {
        self.record("update_container_resources", id)
    }

    async fn reopen_container_log(&self, id: &str) -> Result<()> {
        self.record("reopen_container_log", id)
    }

    async fn exec_sync(&self, id: &str, command: Vec<String>, _timeout: Duration) -> Result<ExecOutput> {
        self.record("exec_sync", id)?;
        Ok(self.state.lock().exec.get(&command.join(" ")).cloned().unwrap_or_default())
    }

    async fn exec(&self, request: v1::ExecRequest) -> Result<String> {
        self.record("exec", &request.container_id)?;
        Ok("http://127.0.0.1:1/exec/token".into())
    }

    async fn attach(&self, request: v1::AttachRequest) -> Result<String> {
        self.record("attach", &request.container_id)?;
        Ok("http://127.0.0.1:1/attach/token".into())
    }

    async fn port_forward(&self, request: v1::PortForwardRequest) -> Result<String> {
        self.record("port_forward", &request.pod_sandbox_id)?;
        Ok("http://127.0.0.1:1/portforward/token".into())
    }

    async fn list_container_stats(&self) -> Result<Vec<v1::ContainerStats>> {
        Ok(Vec::new())
    }

    async fn events(&self) -> Result<EventStream> {
        let receiver = self.events.subscribe();
        let stream = futures::stream::unfold(receiver, |mut receiver| async move {
            let event = receiver.recv().await.ok()?;
            Some((Ok(event), receiver))
        });
        Ok(stream.boxed())
    }
}

#[async_trait]
impl ImageService for Fake {
    async fn list_images(&self) -> Result<Vec<v1::Image>> {
        let image = |name: &String| v1::Image { id: name.clone(), repo_tags: vec![name.clone()], ..Default::default() };
        Ok(self.state.lock().images.iter().map(image).collect())
    }

    async fn image_status(&self, image: &str) -> Result<Option<v1::Image>> {
        let present = self.state.lock().images.contains(image);
        Ok(present.then(|| v1::Image { id: image.to_owned(), repo_tags: vec![image.to_owned()], ..Default::default() }))
    }

    async fn pull_image(
        &self,
        image: &str,
        _auth: Option<v1::AuthConfig>,
        _sandbox: Option<v1::PodSandboxConfig>,
    ) -> Result<String> {
        self.record("pull_image", image)?;
        self.add_image(image);
        Ok(image.to_owned())
    }

    async fn remove_image(&self, image: &str) -> Result<()> {
        self.record("remove_image", image)?;
        self.state.lock().images.remove(image);
        Ok(())
    }

    async fn image_fs_info(&self) -> Result<Vec<v1::FilesystemUsage>> {
        Ok(Vec::new())
    }
}
