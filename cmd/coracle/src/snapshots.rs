//! The server's own snapshots: saved by schedule and when asked, kept in a folder of this machine.

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use apimachinery::{ApiError, ApiResult};
use apiserver::snapshots::Snapshots;
use async_trait::async_trait;
use backup::folder::{self, Listed};
use backup::{Contents, Header, restore};
use client::Recorder;
use client::recorder::{EventType, ObjectReference};
use component_base::Shutdown;
use component_base::metrics::register;
use jiff::Timestamp;
use pki::Pki;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use serde::Deserialize;
use serde_json::{Value, json};
use storage::Storage;

use crate::host::{agreed, unix_now};
use crate::options::ServerOptions;

/// The clock may be set meanwhile: the time left is looked at again after so long.
const LOOK: Duration = Duration::from_secs(10 * 60);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

static SAVES: LazyLock<Family<Outcome, Counter>> =
    LazyLock::new(|| register("coracle_snapshot_saves", "Snapshots by what came of them", Family::default()));
static SAVED_AT: LazyLock<Gauge> = LazyLock::new(|| {
    register(
        "coracle_snapshot_saved_timestamp_seconds",
        "Unix time of the newest snapshot of this process",
        Gauge::default(),
    )
});

/// The folder in which snapshots are kept: not in the server's own, which is moved aside or removed when it joins anew.
pub fn folder_of(data_dir: &Path, given: Option<&Path>) -> PathBuf {
    given.map_or_else(|| data_dir.join("snapshots"), Path::to_owned)
}

/// Saves and keeps the snapshots of this server.
#[derive(Clone)]
pub struct Keeper(Arc<Inner>);

struct Inner {
    storage: Storage,
    pki: Pki,
    options: Arc<ServerOptions>,
    node: String,
    folder: PathBuf,
    /// One is saved at a time.
    busy: tokio::sync::Mutex<()>,
}

/// What is asked over the API.
#[derive(Deserialize)]
struct Request {
    name: String,
    #[serde(default)]
    retention: usize,
}

impl Keeper {
    pub fn new(storage: Storage, pki: Pki, options: Arc<ServerOptions>, node: &str) -> Self {
        // So that they are there, and zero, before the first snapshot.
        for outcome in ["saved", "failed"] {
            drop(SAVES.get_or_create(&Outcome { outcome }));
        }
        LazyLock::force(&SAVED_AT);
        let folder = folder_of(&options.common.data_dir, options.snapshots.snapshot_dir.as_deref());
        let busy = tokio::sync::Mutex::default();
        Self(Arc::new(Inner { storage, pki, options, node: node.to_owned(), folder, busy }))
    }

    /// Saves by the schedule until shutdown. `client` writes an Event when that fails.
    pub fn start(self, client: client::Client, shutdown: &Shutdown) {
        if self.0.options.snapshots.disable_snapshots {
            return;
        }
        let recorder = Recorder::new(client, "coracle", &self.0.node, shutdown);
        let stop = shutdown.clone();
        shutdown.spawn(async move { stop.race(self.follow_schedule(&recorder)).await });
    }

    async fn follow_schedule(&self, recorder: &Recorder) {
        let options = &self.0.options.snapshots;
        let Some(mut due) = options.snapshot_schedule_cron.next(Timestamp::now()) else {
            tracing::warn!("--snapshot-schedule-cron: no time of it comes: no snapshots are saved by themselves");
            return std::future::pending().await;
        };
        loop {
            let left = due.duration_since(Timestamp::now());
            if left.is_positive() {
                tokio::time::sleep(left.unsigned_abs().min(LOOK)).await;
                continue;
            }
            self.save_scheduled(recorder).await;
            match options.snapshot_schedule_cron.next(Timestamp::now()) {
                Some(next) => due = next,
                None => return std::future::pending().await,
            }
        }
    }

    async fn save_scheduled(&self, recorder: &Recorder) {
        let options = &self.0.options.snapshots;
        let name = options.snapshot_name.clone();
        let node = ObjectReference {
            kind: Some("Node".to_owned()),
            api_version: Some("v1".to_owned()),
            name: Some(self.0.node.clone()),
            // Events of nodes carry the name as the kubelet's do.
            uid: Some(self.0.node.clone()),
            ..ObjectReference::default()
        };
        // The good ones of before would be pruned for it.
        if let Some(problem) = self.0.storage.integrity().problem() {
            SAVES.get_or_create(&Outcome { outcome: "failed" }).inc();
            tracing::error!(problem, "no snapshot is saved of a state that is not trusted");
            recorder.event(&node, EventType::Warning, "SnapshotFailed", &format!("No snapshot is saved: {problem}"));
            return;
        }
        if let Err(error) = self.save(&name).await {
            recorder.event(
                &node,
                EventType::Warning,
                "SnapshotFailed",
                &format!("Saving a snapshot failed: {error:#}"),
            );
            return;
        }
        if options.snapshot_retention > 0 {
            let keep = options.snapshot_retention;
            if let Err(error) = self.in_folder(move |inner| inner.prune(&name, keep)).await {
                tracing::error!(error = format!("{error:#}"), "old snapshots cannot be deleted");
                let text = format!("Deleting old snapshots failed: {error:#}");
                recorder.event(&node, EventType::Warning, "SnapshotPruneFailed", &text);
            }
        }
    }

    /// Saves a snapshot whose name begins with `name`. It comes to its end also when nobody waits for it.
    pub async fn save(&self, name: &str) -> anyhow::Result<Listed> {
        let (keeper, name) = (self.clone(), name.to_owned());
        let saved = tokio::spawn(async move { keeper.save_now(&name).await }).await?;
        let outcome = if saved.is_ok() { "saved" } else { "failed" };
        SAVES.get_or_create(&Outcome { outcome }).inc();
        match &saved {
            Ok(listed) => {
                SAVED_AT.set(i64::try_from(listed.header.created).unwrap_or(i64::MAX));
                tracing::info!(
                    name = listed.name,
                    bytes = listed.size,
                    revision = listed.header.revision,
                    "saved a snapshot"
                );
            }
            Err(error) => tracing::error!(error = format!("{error:#}"), "a snapshot was not saved; the server goes on"),
        }
        saved
    }

    async fn save_now(&self, name: &str) -> anyhow::Result<Listed> {
        let _one = self.0.busy.lock().await;
        if let Err(error) = self.0.storage.read_barrier().await {
            // Better an old one than none.
            tracing::warn!(%error, "no majority of the servers answers: saving what this one has");
        }
        if let Some(problem) = self.0.storage.integrity().problem() {
            tracing::warn!(problem, "saving a state that is not trusted, as was asked for");
        }
        let name = name.to_owned();
        self.in_folder(move |inner| Ok(folder::save(&inner.folder, &name, &inner.contents()?)?)).await
    }

    async fn in_folder<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> anyhow::Result<T> + Send + 'static,
    ) -> anyhow::Result<T> {
        let inner = self.0.clone();
        tokio::task::spawn_blocking(move || work(&inner)).await?
    }
}

impl Inner {
    /// All of the cluster, as it is now. The state is shared with the running store, not copied.
    fn contents(&self) -> anyhow::Result<Contents> {
        let mut files = self.pki.shared_files()?;
        let token = std::fs::read_to_string(self.options.common.data_dir.join("server/token"))?;
        files.push((restore::TOKEN.to_owned(), token));
        let header = Header {
            version: component_base::version::KUBERNETES.to_owned(),
            node: self.node.clone(),
            created: unix_now(),
            cluster: self.storage.cluster_id(),
            earlier: self.storage.earlier_clusters(),
            settings: agreed(&self.options),
            ..Header::default()
        };
        Ok(Contents { header, files, state: self.storage.state() })
    }

    fn prune(&self, name: &str, keep: usize) -> anyhow::Result<Vec<String>> {
        let deleted = folder::prune(&self.folder, name, &self.node, keep)?;
        if !deleted.is_empty() {
            tracing::info!(snapshots = deleted.join(","), "deleted old snapshots");
        }
        Ok(deleted)
    }
}

fn read(request: &Value) -> ApiResult<Request> {
    let request: Request = serde_json::from_value(request.clone()).map_err(|e| ApiError::bad_request(e.to_string()))?;
    folder::check_name(&request.name).map_err(|e| ApiError::bad_request(e.to_string()))?;
    Ok(request)
}

/// What went wrong, for whoever asked.
fn explained(error: anyhow::Error) -> ApiError {
    match error.downcast_ref::<backup::Error>() {
        Some(backup::Error::NotFound { .. }) => ApiError::new(404, "NotFound", error.to_string()),
        Some(backup::Error::Name(_)) => ApiError::bad_request(error.to_string()),
        _ => ApiError::internal(format!("{error:#}")),
    }
}

#[async_trait]
impl Snapshots for Keeper {
    async fn list(&self) -> ApiResult<Value> {
        let listed = self.in_folder(|inner| Ok(folder::list(&inner.folder)?)).await.map_err(explained)?;
        Ok(json!({ "node": self.0.node, "folder": self.0.folder, "snapshots": listed }))
    }

    async fn save(&self, request: &Value) -> ApiResult<Value> {
        let request = read(request)?;
        let saved = Keeper::save(self, &request.name).await.map_err(explained)?;
        Ok(json!({ "node": self.0.node, "folder": self.0.folder, "snapshots": [saved] }))
    }

    async fn prune(&self, request: &Value) -> ApiResult<Value> {
        let Request { name, retention } = read(request)?;
        let deleted = self.in_folder(move |inner| inner.prune(&name, retention)).await.map_err(explained)?;
        Ok(json!({ "deleted": deleted }))
    }

    async fn delete(&self, name: &str) -> ApiResult<Value> {
        let owned = name.to_owned();
        self.in_folder(move |inner| Ok(folder::delete(&inner.folder, &owned)?)).await.map_err(explained)?;
        Ok(json!({ "deleted": [name] }))
    }
}
