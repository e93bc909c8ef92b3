//! Images on the node: pulling by policy, side by side and each once, with growing waits after failures.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use cri::{ImageService, v1};
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, Secret};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::backoff::Backoff;
use crate::names::reason;
use crate::pod::PodExt as _;
use crate::status::Waiting;

/// Pulls at one time; more only share the same line.
const PARALLEL_PULLS: usize = 5;

type Pull = Shared<BoxFuture<'static, Result<String, String>>>;

/// What came of asking for an image.
#[derive(Debug)]
pub enum Outcome {
    Present(v1::Image),
    /// Being pulled; the caller's notify fires when it is done.
    Pulling,
    Failed(Waiting),
}

/// One per node.
pub struct Images {
    service: Arc<dyn ImageService>,
    pulls: Mutex<HashMap<String, Pull>>,
    /// The last failure of a pull, per pod and image.
    failures: Mutex<HashMap<String, (Timestamp, String)>>,
    backoff: Backoff,
    slots: Arc<Semaphore>,
}

/// What a pull should tell its pod.
pub trait PullObserver: Send + Sync {
    fn pulling(&self, image: &str);
    fn pulled(&self, image: &str, took: std::time::Duration, size: u64);
    fn present(&self, image: &str);
    fn failed(&self, image: &str, error: &str);
    fn backing_off(&self, image: &str);
}

impl Images {
    pub fn new(service: Arc<dyn ImageService>) -> Arc<Self> {
        let slots = Arc::new(Semaphore::new(PARALLEL_PULLS));
        Arc::new(Self {
            service,
            pulls: Mutex::default(),
            failures: Mutex::default(),
            backoff: Backoff::kubernetes(),
            slots,
        })
    }

    pub fn service(&self) -> &Arc<dyn ImageService> {
        &self.service
    }

    /// The wait before the next pull, if one is due to a failure.
    pub fn retry_in(&self, pod: &Pod, image: &str) -> Option<std::time::Duration> {
        let key = failure_key(pod, image);
        let failed = self.failures.lock().get(&key).map(|(at, _)| *at)?;
        self.backoff.remaining(&key, failed, Timestamp::now()).map(|(left, _)| left)
    }

    /// Makes sure of a container's image without waiting for a pull: `done` is called when a started pull has ended.
    pub async fn ensure(
        self: &Arc<Self>,
        pod: &Pod,
        container: &Container,
        secrets: &[Arc<Secret>],
        sandbox: &v1::PodSandboxConfig,
        observer: &Arc<dyn PullObserver>,
        done: impl Fn() + Send + 'static,
    ) -> Outcome {
        let name = container.image.as_deref().unwrap_or_default();
        let Some(image) = normalize(name) else {
            let message = format!(
                "Failed to apply default image tag \"{name}\": couldn't parse image name \"{name}\": invalid reference format"
            );
            return failed(reason::INVALID_IMAGE, message);
        };
        let key = failure_key(pod, &image);
        let under_way = self.pulls.lock().get(&key).cloned();
        if let Some(pull) = under_way {
            return match pull.now_or_never() {
                None => Outcome::Pulling,
                Some(result) => self.finished(&key, name, &image, result).await,
            };
        }
        let present = match self.service.image_status(&image).await {
            Ok(present) => present,
            Err(error) => return failed("ImageInspectError", format!("Failed to inspect image \"{name}\": {error}")),
        };
        let policy = container.image_pull_policy.as_deref().unwrap_or_else(|| default_policy(name));
        match (policy, present) {
            ("Never", None) => {
                let message = format!("Container image \"{name}\" is not present with pull policy of Never");
                observer.failed(name, &message);
                failed(reason::IMAGE_NEVER_PULL, message)
            }
            ("Never" | "IfNotPresent", Some(image)) => {
                observer.present(name);
                Outcome::Present(image)
            }
            _ => self.pull(name, &image, &key, secrets, sandbox, observer, done),
        }
    }

    /// Starts a pull, unless one failed a short while ago.
    fn pull(
        self: &Arc<Self>,
        name: &str,
        image: &str,
        key: &str,
        secrets: &[Arc<Secret>],
        sandbox: &v1::PodSandboxConfig,
        observer: &Arc<dyn PullObserver>,
        done: impl Fn() + Send + 'static,
    ) -> Outcome {
        let now = Timestamp::now();
        let before = self.failures.lock().get(key).cloned();
        if let Some((at, error)) = before
            && self.backoff.remaining(key, at, now).is_some()
        {
            observer.backing_off(name);
            return failed(reason::IMAGE_PULL_BACKOFF, format!("Back-off pulling image \"{name}\": {error}"));
        }
        observer.pulling(name);
        let (service, slots, observer) = (self.service.clone(), self.slots.clone(), observer.clone());
        let credentials = credentials(image, secrets);
        let (owned_name, owned_image, sandbox) = (name.to_owned(), image.to_owned(), sandbox.clone());
        let pull: BoxFuture<'static, Result<String, String>> = async move {
            let _slot = slots.acquire().await.map_err(|e| e.to_string())?;
            let started = std::time::Instant::now();
            let result = pull_with(&*service, &owned_image, credentials, &sandbox).await;
            match &result {
                Ok(reference) => {
                    let size = service.image_status(reference).await.ok().flatten().map_or(0, |i| i.size);
                    observer.pulled(&owned_name, started.elapsed(), size);
                }
                Err(error) => observer.failed(&owned_name, &format!("Failed to pull image \"{owned_name}\": {error}")),
            }
            result
        }
        .boxed();
        let pull = pull.shared();
        self.pulls.lock().insert(key.to_owned(), pull.clone());
        tokio::spawn(async move {
            let _ = pull.await;
            done();
        });
        Outcome::Pulling
    }

    async fn finished(&self, key: &str, name: &str, image: &str, result: Result<String, String>) -> Outcome {
        self.pulls.lock().remove(key);
        match result {
            Err(error) => {
                let now = Timestamp::now();
                self.backoff.next(key, now);
                self.failures.lock().insert(key.to_owned(), (now, format!("{}: {error}", reason::IMAGE_PULL)));
                failed(reason::IMAGE_PULL, format!("failed to pull and unpack image \"{name}\": {error}"))
            }
            Ok(_) => {
                self.backoff.reset(key);
                self.failures.lock().remove(key);
                match self.service.image_status(image).await {
                    Ok(Some(image)) => Outcome::Present(image),
                    Ok(None) => {
                        failed("ImageInspectError", format!("image \"{name}\" is gone again after it was pulled"))
                    }
                    Err(error) => failed("ImageInspectError", format!("Failed to inspect image \"{name}\": {error}")),
                }
            }
        }
    }

    /// Forgets what a pod's pulls left behind.
    pub fn forget(&self, uid: &str) {
        let prefix = format!("{uid}/");
        self.pulls.lock().retain(|key, _| !key.starts_with(&prefix));
        self.failures.lock().retain(|key, _| !key.starts_with(&prefix));
        self.backoff.forget(&prefix);
    }
}

fn failed(reason: &str, message: String) -> Outcome {
    Outcome::Failed(Waiting { reason: reason.to_owned(), message })
}

fn failure_key(pod: &Pod, image: &str) -> String {
    format!("{}/{image}", pod.uid())
}

/// Tries each credential that fits, or none.
async fn pull_with(
    service: &dyn ImageService,
    image: &str,
    credentials: Vec<v1::AuthConfig>,
    sandbox: &v1::PodSandboxConfig,
) -> Result<String, String> {
    let mut last = None;
    let choices: Vec<Option<v1::AuthConfig>> =
        if credentials.is_empty() { vec![None] } else { credentials.into_iter().map(Some).collect() };
    for auth in choices {
        match service.pull_image(image, auth, Some(sandbox.clone())).await {
            Ok(reference) => return Ok(reference),
            Err(error) => last = Some(error.to_string()),
        }
    }
    Err(last.unwrap_or_default())
}

/// `IfNotPresent`, but `Always` for `:latest` or no tag (the API server defaults this; static pods come without).
fn default_policy(image: &str) -> &'static str {
    let last = image.rsplit('/').next().unwrap_or_default();
    let digest = last.contains('@');
    match last.split('@').next().and_then(|l| l.split_once(':')) {
        Some((_, tag)) if tag != "latest" => "IfNotPresent",
        _ if digest => "IfNotPresent",
        _ => "Always",
    }
}

/// The name with a tag where it has neither tag nor digest; `None` if it is no image name.
pub fn normalize(name: &str) -> Option<String> {
    let ok = |c: char| c.is_ascii_alphanumeric() || "._-/:@+".contains(c);
    let path = name.split('@').next().unwrap_or_default();
    let last = path.rsplit('/').next().unwrap_or_default();
    let repository = path.strip_suffix(last).unwrap_or_default();
    // A registry may have capitals (and a port); the repository's own path may not.
    let lower = repository.split('/').skip(usize::from(repository.contains(['.', ':']))).all(|p| p == p.to_lowercase());
    let plain = last.split(':').next().unwrap_or_default();
    if name.is_empty() || !name.chars().all(ok) || plain.is_empty() || plain != plain.to_lowercase() || !lower {
        return None;
    }
    if name.contains('@') || last.contains(':') { Some(name.to_owned()) } else { Some(format!("{name}:latest")) }
}

/// The registry that an image name goes to.
fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
        _ => "docker.io",
    }
}

/// Credentials of the pull secrets that fit the image's registry, the most specific first.
pub fn credentials(image: &str, secrets: &[Arc<Secret>]) -> Vec<v1::AuthConfig> {
    let mut found: Vec<(usize, v1::AuthConfig)> = Vec::new();
    for secret in secrets {
        let data = secret.data.clone().unwrap_or_default();
        let modern = data.get(".dockerconfigjson").and_then(|d| serde_json::from_slice::<serde_json::Value>(&d.0).ok());
        let old = data.get(".dockercfg").and_then(|d| serde_json::from_slice::<serde_json::Value>(&d.0).ok());
        let auths = modern.and_then(|m| m.get("auths").cloned()).or(old);
        for (server, entry) in auths.as_ref().and_then(serde_json::Value::as_object).into_iter().flatten() {
            if matches_registry(server, image) {
                found.push((server.len(), auth_config(entry)));
            }
        }
    }
    found.sort_by_key(|(specific, _)| std::cmp::Reverse(*specific));
    found.into_iter().map(|(_, auth)| auth).collect()
}

fn matches_registry(server: &str, image: &str) -> bool {
    let server = server.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    let server = server.trim_end_matches("/v1").trim_end_matches("/v2");
    let (host, path) = server.split_once('/').unwrap_or((server, ""));
    let target = registry(image);
    let hub = ["docker.io", "index.docker.io", "registry-1.docker.io"];
    let same_host = host == target || hub.contains(&host) && hub.contains(&target) || wildcard(host, target);
    let rest = image.strip_prefix(target).unwrap_or(image).trim_start_matches('/');
    same_host && rest.starts_with(path)
}

/// `*.example.com` stands for one part of a name.
fn wildcard(pattern: &str, host: &str) -> bool {
    match (pattern.strip_prefix("*."), host.split_once('.')) {
        (Some(suffix), Some((_, rest))) => suffix == rest,
        _ => false,
    }
}

fn auth_config(entry: &serde_json::Value) -> v1::AuthConfig {
    let text = |key: &str| entry.get(key).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    let mut auth = v1::AuthConfig {
        username: text("username"),
        password: text("password"),
        identity_token: text("identitytoken"),
        registry_token: text("registrytoken"),
        ..Default::default()
    };
    let decoded = base64::engine::general_purpose::STANDARD.decode(text("auth")).unwrap_or_default();
    if let Some((user, password)) = std::str::from_utf8(&decoded).ok().and_then(|pair| pair.split_once(':')) {
        auth.username = user.to_owned();
        auth.password = password.to_owned();
    }
    auth
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_and_policies() {
        let cases = [
            ("busybox", Some("busybox:latest"), "Always"),
            ("busybox:1.36", Some("busybox:1.36"), "IfNotPresent"),
            ("reg:5000/a/b", Some("reg:5000/a/b:latest"), "Always"),
            ("reg:5000/a/b@sha256:0011", Some("reg:5000/a/b@sha256:0011"), "IfNotPresent"),
            ("Busybox", None, "Always"),
            ("a b", None, "Always"),
            ("", None, "Always"),
        ];
        for (name, normalized, policy) in cases {
            assert_eq!(normalize(name).as_deref(), normalized, "{name}");
            assert_eq!(default_policy(name), policy, "{name}");
        }
    }

    #[test]
    fn credentials_fit_the_registry() {
        let auths = json!({"auths": {
            "reg.example.com": {"auth": "dTpw"},
            "reg.example.com/team": {"username": "t", "password": "q"},
            "https://index.docker.io/v1/": {"username": "hub"},
            "*.example.org": {"username": "wild"},
        }});
        let data = base64::engine::general_purpose::STANDARD.encode(auths.to_string());
        let secret: Secret = serde_json::from_value(json!({"data": {".dockerconfigjson": data}})).expect("a secret");
        let users = |image: &str| {
            credentials(image, &[Arc::new(secret.clone())]).into_iter().map(|a| a.username).collect::<Vec<_>>()
        };
        assert_eq!(users("reg.example.com/team/app:1"), ["t", "u"]);
        assert_eq!(users("reg.example.com/other:1"), ["u"]);
        assert_eq!(users("busybox:1"), ["hub"]);
        assert_eq!(users("x.example.org/a"), ["wild"]);
        assert!(users("quay.io/a").is_empty());
    }
}
