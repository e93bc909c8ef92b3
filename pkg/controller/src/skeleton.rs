//! What all controllers share: informer → queue → `sync(key)` → plan → apply, with several workers and backoff.

use std::future::Future;
use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use client::{Cached, Change, Client, Informer, Informers, ObjectKey, Recorder, WorkQueue};
use component_base::Shutdown;
use futures::FutureExt as _;
use kube::api::{DeleteParams, Preconditions};
use tokio::task::JoinSet;

/// Makes the client that acts as one controller, e.g. as `system:serviceaccount:kube-system:deployment-controller`.
pub type ClientFor = Arc<dyn Fn(&'static str) -> Client + Send + Sync>;

/// What a controller is given to work with.
#[derive(Clone)]
pub struct Context {
    /// Acts as this controller.
    pub client: Client,
    pub informers: Informers,
    pub recorder: Recorder,
    pub shutdown: Shutdown,
}

/// Why a sync failed; the key is tried again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{}", message(.0))]
    Client(#[from] kube::Error),
    #[error("{0}")]
    Selector(#[from] apimachinery::labels::SelectorError),
    #[error("{0}")]
    Serde(#[from] serde_json::Error),
    #[error("{0}")]
    Invalid(String),
    /// Two templates have the same hash; the next try uses another.
    #[error("hash collision of two revisions")]
    Collision,
    /// Not a fault: the caches have to catch up with what was just done.
    #[error("{0}")]
    Wait(&'static str),
    #[error("a task of the controller ended: {0}")]
    Task(String),
}

impl Error {
    /// What a retry mends without anyone having to read about it.
    fn is_expected(&self) -> bool {
        match self {
            Self::Client(error) => is_conflict(error) || is_not_found(error) || is_terminating(error),
            Self::Wait(_) | Self::Collision => true,
            _ => false,
        }
    }
}

/// When to look at the key again although nothing changed: a deadline that is known.
pub type SyncResult = Result<Option<Duration>, Error>;

/// The tasks of one controller. They end with it.
pub struct Tasks {
    set: JoinSet<()>,
}

impl Tasks {
    pub fn new() -> Self {
        Self { set: JoinSet::new() }
    }

    /// Calls `handle` for each change, the current contents first. It notes what there is to do and leaves the work to
    /// others: meanwhile nobody hears of the next change. A panic ends the controller.
    pub fn feed<T: Cached>(&mut self, informer: &Informer<T>, handle: impl FnMut(&Change<T>) + Send + 'static) {
        self.set.spawn(informer.handle(handle).panics());
    }

    /// Runs a task of the controller's own beside the others.
    pub fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.set.spawn(task);
    }

    /// Starts `count` workers that sync the queue's keys. A failed sync is tried again after a growing wait; a panic
    /// counts as a failure.
    pub fn work<K, S, F>(&mut self, name: &'static str, queue: &WorkQueue<K>, count: usize, sync: S)
    where
        K: Clone + Eq + Hash + Send + Sync + std::fmt::Debug + 'static,
        S: Fn(K) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = SyncResult> + Send + 'static,
    {
        for _ in 0..count {
            let (queue, sync) = (queue.clone(), sync.clone());
            self.set.spawn(async move {
                while let Some(key) = queue.get().await {
                    let outcome = AssertUnwindSafe(sync(key.clone())).catch_unwind().await;
                    match outcome {
                        Ok(Ok(again)) => {
                            queue.forget(&key);
                            if let Some(delay) = again {
                                queue.add_after(key.clone(), delay);
                            }
                        }
                        Ok(Err(error)) => {
                            if error.is_expected() {
                                tracing::debug!(controller = name, ?key, %error, "sync is tried again");
                            } else {
                                tracing::warn!(controller = name, ?key, %error, "sync failed; trying again");
                            }
                            queue.add_rate_limited(key.clone());
                        }
                        Err(_) => {
                            tracing::error!(controller = name, ?key, "sync panicked; trying again");
                            queue.add_rate_limited(key.clone());
                        }
                    }
                    queue.done(&key);
                }
            });
        }
    }

    /// Runs until shutdown, or until a task ends that should not.
    pub async fn run(mut self, shutdown: &Shutdown) -> Result<(), Error> {
        match shutdown.race(self.set.join_next()).await {
            None => Ok(()),
            Some(Some(Err(error))) => Err(Error::Task(error.to_string())),
            Some(_) => Err(Error::Task("it returned".into())),
        }
    }
}

/// Adds an object's own key to the queue on each change of it.
pub fn enqueue<T: Cached>(queue: &WorkQueue<ObjectKey>) -> impl FnMut(&Change<T>) + Send + 'static {
    let queue = queue.clone();
    move |change: &Change<T>| queue.add(change.key.clone())
}

fn api_code(error: &kube::Error) -> Option<(u16, &str)> {
    match error {
        kube::Error::Api(status) => Some((status.code, status.reason.as_str())),
        _ => None,
    }
}

pub fn is_not_found(error: &kube::Error) -> bool {
    api_code(error).is_some_and(|(code, _)| code == 404)
}

pub fn is_conflict(error: &kube::Error) -> bool {
    api_code(error).is_some_and(|(code, reason)| code == 409 && reason != "AlreadyExists")
}

pub fn is_already_exists(error: &kube::Error) -> bool {
    api_code(error).is_some_and(|(_, reason)| reason == "AlreadyExists")
}

pub fn is_invalid(error: &kube::Error) -> bool {
    api_code(error).is_some_and(|(code, _)| code == 422)
}

/// The namespace is going away: nothing can be created in it, and nothing has to be.
pub fn is_terminating(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => {
            let causes = status.details.iter().flat_map(|details| &details.causes);
            status.code == 403 && causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
        }
        _ => false,
    }
}

/// The server's own words, as Events and conditions repeat them.
pub fn message(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// `Ok` also when the object is gone already.
pub fn ignore_not_found<T>(outcome: Result<T, kube::Error>) -> Result<(), kube::Error> {
    match outcome {
        Ok(_) => Ok(()),
        Err(error) if is_not_found(&error) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Deletes exactly the object with this UID, never a later one of the same name.
pub fn delete_uid(uid: &str) -> DeleteParams {
    let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
    DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    /// A server that has one ConfigMap, and of which nothing more is heard.
    fn informer() -> Informer<ConfigMap> {
        let service = tower::service_fn(|request: http::Request<kube::client::Body>| async move {
            if request.uri().query().is_some_and(|query| query.contains("watch=true")) {
                std::future::pending::<()>().await;
            }
            let list = r#"{"metadata":{"resourceVersion":"5"},"items":[{"metadata":{"namespace":"ns","name":"a"}}]}"#;
            Ok::<_, std::io::Error>(http::Response::new(http_body_util::Full::new(bytes::Bytes::from(list))))
        });
        let informers = Informers::new(client::in_process(service, "default"), Shutdown::new());
        informers.get(client::Scope::all())
    }

    #[tokio::test]
    async fn a_panic_in_what_is_fed_ends_the_controller_and_not_its_informer() {
        let informer = informer();
        let mut tasks = Tasks::new();
        tasks.feed(&informer, |change| assert_ne!(change.key.name, "a", "planted"));
        let error = tasks.run(&Shutdown::new()).await.expect_err("it ends with an error");
        assert!(error.to_string().contains("planted"), "{error}");
        let queue = WorkQueue::new("test");
        let mut tasks = Tasks::new();
        tasks.feed(&informer, enqueue(&queue));
        assert_eq!(queue.get().await, Some(ObjectKey::new("ns", "a")));
    }
}
