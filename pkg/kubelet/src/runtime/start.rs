//! Starting one container: image, configuration, create, start, postStart.

use std::sync::Arc;
use std::time::Duration;

use client::EventType::{Normal, Warning};
use cri::v1;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, EphemeralContainer, Pod, Secret};

use super::container_config::{Ingredients, container_config, termination_path};
use super::{PodRuntimeStatus, State, env, kill, security};
use crate::backoff::go_duration;
use crate::images::{Outcome, PullObserver};
use crate::kubelet::Kubelet;
use crate::names::reason;
use crate::objects::Objects;
use crate::pod::PodExt as _;
use crate::status::Waiting;
use crate::{dns, hooks, volumes};

/// Why a container did not start.
#[derive(Debug)]
pub enum NotStarted {
    /// Its image is on the way; the pod's worker is notified.
    Pulling,
    Waiting {
        why: Waiting,
        /// When to try again, if not at the next change.
        retry_in: Option<Duration>,
    },
}

fn waiting(reason: &str, message: impl Into<String>) -> NotStarted {
    let why = Waiting { reason: reason.to_owned(), message: message.into() };
    NotStarted::Waiting { why, retry_in: Some(RETRY) }
}

/// When a failed start is tried again, if nothing that it waits for changes before.
const RETRY: Duration = Duration::from_secs(10);

/// The pod's side of a start.
pub struct Session<'a> {
    pub kubelet: &'a Arc<Kubelet>,
    pub pod: &'a Arc<Pod>,
    pub status: &'a PodRuntimeStatus,
    pub objects: &'a Objects,
    pub sandbox_id: &'a str,
    pub sandbox_config: &'a v1::PodSandboxConfig,
    pub pod_ips: &'a [String],
    pub changed: &'a Arc<tokio::sync::Notify>,
}

impl Session<'_> {
    /// Starts `container` (again). Answers its id.
    pub async fn start(&self, container: &Container) -> Result<String, NotStarted> {
        self.check_backoff(container)?;
        let image = self.image(container).await?;
        let config = self.configure(container, &image).await?;
        let restart_count = config.metadata.as_ref().map_or(0, |m| m.attempt);
        let id = self.create(container, config).await?;
        if let Err(error) = self.kubelet.runtime.start_container(&id).await {
            let message = error.message();
            self.event(container, Warning, "Failed", &format!("Error: {message}"));
            return Err(waiting(reason::RUN, message));
        }
        self.event(container, Normal, "Started", &format!("Started container {}", container.name));
        self.kubelet.pleg.remember(&id, self.pod.uid());
        crate::logs::link_legacy(self.pod, &container.name, &id, restart_count);
        self.post_start(container, &id).await?;
        Ok(id)
    }

    fn event(&self, container: &Container, kind: client::EventType, why: &str, message: &str) {
        self.kubelet.events.container(self.pod, &container.name, kind, why, message);
    }

    /// A container that ended a short while ago waits, longer each time.
    fn check_backoff(&self, container: &Container) -> Result<(), NotStarted> {
        let Some(last) = self.status.find(&container.name).filter(|s| s.state == State::Exited) else {
            return Ok(());
        };
        let key = backoff_key(self.pod, container);
        let (now, finished) = (Timestamp::now(), last.finished_at.unwrap_or_default());
        if let Some((left, whole)) = self.kubelet.crash_backoff.remaining(&key, finished, now) {
            let pod = self.pod;
            let place = format!("{}_{}({})", pod.name(), pod.namespace(), pod.uid());
            let message =
                format!("back-off {} restarting failed container={} pod={place}", go_duration(whole), container.name);
            let event = format!("Back-off restarting failed container {} in pod {place}", container.name);
            self.event(container, Warning, "BackOff", &event);
            let why = Waiting { reason: reason::CRASH_LOOP.to_owned(), message };
            return Err(NotStarted::Waiting { why, retry_in: Some(left) });
        }
        self.kubelet.crash_backoff.next(&key, now);
        Ok(())
    }

    async fn image(&self, container: &Container) -> Result<v1::Image, NotStarted> {
        let mut secrets: Vec<Arc<Secret>> = Vec::new();
        for reference in self.pod.pod_spec().image_pull_secrets.iter().flatten() {
            match self.objects.secret(self.pod.namespace(), &reference.name, true).await {
                Ok(secret) => secrets.extend(secret),
                Err(error) => tracing::warn!(pod = self.pod.describe(), %error, "pull secret is not available"),
            }
        }
        let observer: Arc<dyn PullObserver> = Arc::new(Observer {
            kubelet: self.kubelet.clone(),
            pod: self.pod.clone(),
            container: container.name.clone(),
        });
        let changed = self.changed.clone();
        let images = &self.kubelet.images;
        let done = move || changed.notify_one();
        let outcome = images.ensure(self.pod, container, &secrets, self.sandbox_config, &observer, done).await;
        match outcome {
            Outcome::Present(image) => Ok(image),
            Outcome::Pulling => Err(NotStarted::Pulling),
            Outcome::Failed(why) => {
                let name = crate::images::normalize(container.image.as_deref().unwrap_or_default());
                let retry = name.and_then(|name| images.retry_in(self.pod, &name));
                self.event(container, Warning, "Failed", &format!("Error: {}", why.reason));
                Err(NotStarted::Waiting { why, retry_in: Some(retry.unwrap_or(Duration::from_secs(10))) })
            }
        }
    }

    async fn configure(&self, container: &Container, image: &v1::Image) -> Result<v1::ContainerConfig, NotStarted> {
        let made = self.configure_inner(container, image).await;
        made.map_err(|message| {
            self.event(container, Warning, "Failed", &format!("Error: {message}"));
            waiting(reason::CREATE_CONFIG, message)
        })
    }

    async fn configure_inner(&self, container: &Container, image: &v1::Image) -> Result<v1::ContainerConfig, String> {
        security::verify_non_root(self.pod, container, image).map_err(|e| e.to_string())?;
        let host_ips = self.kubelet.host_ips();
        let facts = env::Facts {
            pod: self.pod,
            pod_ips: self.pod_ips,
            host_ips: &host_ips,
            node: &self.kubelet.node_resources(),
            services: self.kubelet.service_variables(self.pod).await?,
        };
        let environment = env::environment(container, &facts, self.objects).await.map_err(|e| e.to_string())?;
        let folders = &self.kubelet.folders;
        let mut mounts = volumes::mounts(folders, self.pod, container, &environment).map_err(|e| e.to_string())?;
        mounts.extend(self.hosts_mount(container).map_err(|e| format!("writing the hosts file: {e}"))?);
        let termination_log =
            self.termination_log(container).map_err(|e| format!("making the termination log: {e}"))?;
        let restart_count = self.restart_count(container).await;
        Ok(container_config(Ingredients {
            pod: self.pod,
            container,
            restart_count,
            image,
            environment,
            mounts,
            devices: Vec::new(),
            target_id: self.target_id(container),
            termination_log,
            node_memory: self.kubelet.machine.memory,
        }))
    }

    /// One more than the last, whether the runtime still has it or only its log is left.
    async fn restart_count(&self, container: &Container) -> u32 {
        if let Some(last) = self.status.find(&container.name) {
            return last.restart_count + 1;
        }
        let folder = super::sandbox::log_directory(self.pod).join(&container.name);
        crate::logs::last_attempt(&folder).map_or(0, |last| last + 1)
    }

    /// Every container gets the pod's hosts file, unless it mounts one of its own.
    fn hosts_mount(&self, container: &Container) -> std::io::Result<Option<v1::Mount>> {
        let own = container.volume_mounts.iter().flatten().any(|m| m.mount_path == "/etc/hosts");
        if own || !self.pod.host_network() && self.pod_ips.is_empty() {
            return Ok(None);
        }
        let config = &self.kubelet.config;
        let (hostname, domain) = super::sandbox::hostname_and_domain(self.pod, &config.cluster_domain);
        let node_hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
        let text = dns::hosts_file(self.pod, self.pod_ips, &hostname, &domain, &node_hosts);
        let path = self.kubelet.folders.hosts_file(self.pod.uid());
        if std::fs::read_to_string(&path).ok().as_deref() != Some(text.as_str()) {
            std::fs::write(&path, text)?;
        }
        Ok(Some(v1::Mount {
            container_path: "/etc/hosts".to_owned(),
            host_path: path.display().to_string(),
            readonly: false,
            ..Default::default()
        }))
    }

    /// A fresh file that everyone in the container may write.
    fn termination_log(&self, container: &Container) -> std::io::Result<Option<String>> {
        use std::os::unix::fs::PermissionsExt as _;
        if termination_path(container).is_empty() {
            return Ok(None);
        }
        let folder = self.kubelet.folders.container(self.pod.uid(), &container.name);
        std::fs::create_dir_all(&folder)?;
        let path = folder.join(format!("{:08x}", rand::random::<u32>()));
        std::fs::write(&path, "")?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666))?;
        Ok(Some(path.display().to_string()))
    }

    fn target_id(&self, container: &Container) -> String {
        let target = |e: &EphemeralContainer| e.target_container_name.clone().filter(|_| e.name == container.name);
        let name = self.pod.ephemeral_containers().iter().find_map(target).unwrap_or_default();
        self.status.find(&name).map(|c| c.id.clone()).unwrap_or_default()
    }

    async fn create(&self, container: &Container, config: v1::ContainerConfig) -> Result<String, NotStarted> {
        let created = self.kubelet.runtime.create_container(self.sandbox_id, config, self.sandbox_config.clone()).await;
        match created {
            Ok(id) => {
                self.event(container, Normal, "Created", &format!("Created container: {}", container.name));
                Ok(id)
            }
            Err(error) => {
                let message = error.message();
                self.event(container, Warning, "Failed", &format!("Error: {message}"));
                Err(waiting(reason::CREATE, message))
            }
        }
    }

    async fn post_start(&self, container: &Container, id: &str) -> Result<(), NotStarted> {
        let Some(hook) = container.lifecycle.as_ref().and_then(|l| l.post_start.as_ref()) else {
            return Ok(());
        };
        let ip = self.pod_ips.first().map(String::as_str).unwrap_or_default();
        let outcome = hooks::run(&*self.kubelet.runtime, id, Some(container), ip, hook).await;
        let Err(error) = outcome else {
            return Ok(());
        };
        tracing::warn!(pod = self.pod.describe(), container = container.name, error, "postStart hook failed");
        self.event(container, Warning, "FailedPostStartHook", "PostStartHook failed");
        let request = kill::Request { id, name: &container.name, message: "FailedPostStartHook", grace: None };
        kill::kill_container(self.kubelet, self.pod, self.pod_ips, &request, std::future::ready(())).await;
        Err(waiting(reason::POST_START, format!("PostStartHook failed: {error}")))
    }
}

/// Restarts are counted per container as it is defined now.
pub fn backoff_key(pod: &Pod, container: &Container) -> String {
    format!("{}/{}/{}", pod.uid(), container.name, super::container_config::container_hash(container))
}

struct Observer {
    kubelet: Arc<Kubelet>,
    pod: Arc<Pod>,
    container: String,
}

impl Observer {
    fn event(&self, kind: client::EventType, reason: &str, message: &str) {
        self.kubelet.events.container(&self.pod, &self.container, kind, reason, message);
    }
}

impl PullObserver for Observer {
    fn pulling(&self, image: &str) {
        self.event(Normal, "Pulling", &format!("Pulling image \"{image}\""));
    }
    fn pulled(&self, image: &str, took: Duration, size: u64) {
        let took = format!("{:.3}s", took.as_secs_f64());
        let text = format!(
            "Successfully pulled image \"{image}\" in {took} ({took} including waiting). Image size: {size} bytes."
        );
        self.event(Normal, "Pulled", &text);
    }
    fn present(&self, image: &str) {
        self.event(Normal, "Pulled", &format!("Container image \"{image}\" already present on machine"));
    }
    fn failed(&self, _image: &str, error: &str) {
        self.event(Warning, "Failed", error);
    }
    fn backing_off(&self, image: &str) {
        self.event(Normal, "BackOff", &format!("Back-off pulling image \"{image}\""));
    }
}
