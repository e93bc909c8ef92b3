//! The server's own snapshots: saved by schedule and when asked, kept in a folder of this machine.

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use apimachinery::{ApiError, ApiResult};
use apiserver::snapshots::{Saving as Answers, Snapshots};
use async_trait::async_trait;
use backup::folder::{self, Listed};
use backup::{Contents, Header, Saving, restore};
use client::Recorder;
use client::recorder::{EventType, ObjectReference};
use component_base::Shutdown;
use component_base::metrics::register;
use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use pki::Pki;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use serde::Deserialize;
use serde_json::{Value, json};
use storage::{Integrity, Storage};
use tokio::task::JoinHandle;

use crate::host::{agreed, unix_now};
use crate::options::ServerOptions;

/// The clock may be set meanwhile: the time left is looked at again after so long.
const LOOK: Duration = Duration::from_secs(10 * 60);
/// How often whoever waits for a snapshot hears how far it is.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

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
        for outcome in ["saved", "failed", "cancelled"] {
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
        if let Err(error) = self.save(&name, Arc::default()).await {
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

    /// Saves a snapshot whose name begins with `name`.
    async fn save(&self, name: &str, saving: Arc<Saving>) -> anyhow::Result<Listed> {
        let saved = self.save_now(name, saving.clone()).await;
        let outcome = match &saved {
            Ok(_) => "saved",
            Err(_) if saving.is_cancelled() => "cancelled",
            Err(_) => "failed",
        };
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
            Err(_) if saving.is_cancelled() => {
                tracing::info!("a snapshot was not saved: nobody waited for it any more")
            }
            Err(error) => tracing::error!(error = format!("{error:#}"), "a snapshot was not saved; the server goes on"),
        }
        saved
    }

    async fn save_now(&self, name: &str, saving: Arc<Saving>) -> anyhow::Result<Listed> {
        let _one = self.0.busy.lock().await;
        if let Err(error) = self.0.storage.read_barrier().await {
            // Better an old one than none.
            tracing::warn!(%error, "no majority of the servers answers: saving what this one has");
        }
        let name = name.to_owned();
        self.in_folder(move |inner| Ok(folder::save(&inner.folder, &name, &inner.contents()?, &saving)?)).await
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

/// A snapshot that somebody waits for.
struct Waited {
    saving: Arc<Saving>,
    task: JoinHandle<anyhow::Result<Listed>>,
    /// Where it is going to be.
    place: Value,
    /// Said with what was saved.
    warning: Option<String>,
}

impl Waited {
    /// What is told next; with nothing to wait for when it is the last.
    async fn next(mut self) -> (ApiResult<Value>, Option<Self>) {
        match tokio::time::timeout(PROGRESS_EVERY, &mut self.task).await {
            Err(_) => {
                let progress = self.saving.progress();
                let shown =
                    json!({ "objects": progress.objects, "written": progress.written, "checked": progress.checked });
                (Ok(json!({ "progress": shown })), Some(self))
            }
            Ok(ended) => {
                let saved = ended.unwrap_or_else(|error| Err(error.into())).map_err(explained);
                let answer = saved.map(|saved| {
                    let mut answer = std::mem::take(&mut self.place);
                    answer["snapshots"] = json!([saved]);
                    answer["warning"] = json!(self.warning);
                    answer
                });
                (answer, None)
            }
        }
    }
}

/// All that is told.
fn waited(first: Waited) -> Answers {
    stream::unfold(Some(first), async |waited| Some(waited?.next().await)).boxed()
}

impl Drop for Waited {
    fn drop(&mut self) {
        self.saving.cancel();
    }
}

/// Refuses to save what is known to be wrong; answers what whoever asked should know of what may be.
fn check_trust(known: &Integrity) -> ApiResult<Option<String>> {
    let Some(problem) = known.problem() else { return Ok(None) };
    if known.damaged.is_none() && known.unclear {
        return Ok(Some(problem));
    }
    let elsewhere = if known.damaged.is_none() { ". Save one on another server" } else { "" };
    Err(ApiError::new(409, "Conflict", format!("this server saves no snapshots: {problem}{elsewhere}")))
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

    async fn save(&self, request: &Value) -> ApiResult<Answers> {
        let request = read(request)?;
        let warning = check_trust(&self.0.storage.integrity())?;
        let (keeper, saving) = (self.clone(), Arc::<Saving>::default());
        let watched = saving.clone();
        let task = tokio::spawn(async move { Keeper::save(&keeper, &request.name, watched).await });
        let place = json!({ "node": self.0.node, "folder": self.0.folder });
        Ok(waited(Waited { saving, task, place, warning }))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_that_is_known_to_be_wrong_is_not_saved() {
        let wrong = Integrity { revision: 7, own: true, differing: vec!["a".to_owned()], ..Integrity::default() };
        let unclear = Integrity { unclear: true, ..wrong.clone() };
        let damaged = Integrity { damaged: Some("the record x".to_owned()), ..unclear.clone() };
        let another = Integrity { own: false, ..wrong.clone() };
        for (known, refused, said) in [
            (Integrity::default(), false, ""),
            (another, false, ""),
            (unclear, false, "which is right cannot be told"),
            (wrong, true, "`coracle server remove` and let it join again with an empty folder. Save one on another"),
            (damaged, true, "restart it on a machine that is well"),
        ] {
            let checked = check_trust(&known);
            assert_eq!(checked.is_err(), refused, "{known:?}");
            let text = checked.unwrap_or_else(|error| Some(error.message().to_owned())).unwrap_or_default();
            assert!(text.contains(said) && text.is_empty() == said.is_empty(), "{text}");
        }
    }

    fn listed() -> Listed {
        Listed { name: "x-n-1".to_owned(), size: 1, header: Header::default(), problem: None }
    }

    async fn answers(outcome: anyhow::Result<Listed>) -> Vec<ApiResult<Value>> {
        let task = tokio::spawn(async move {
            tokio::time::sleep(PROGRESS_EVERY * 2 + PROGRESS_EVERY / 2).await;
            outcome
        });
        let place = json!({ "folder": "/f" });
        waited(Waited { saving: Arc::default(), task, place, warning: Some("look out".to_owned()) }).collect().await
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_is_told_how_far_it_is_and_what_came_of_it() {
        let told = answers(Ok(listed())).await;
        assert!(
            told.len() == 3
                && told[..2].iter().all(|line| line.as_ref().is_ok_and(|line| line["progress"].is_object()))
        );
        let last = told[2].as_ref().expect("saved");
        assert_eq!((&last["folder"], &last["warning"]), (&json!("/f"), &json!("look out")));
        assert_eq!(last["snapshots"][0]["name"], "x-n-1");
        let told = answers(Err(anyhow::anyhow!("no space left"))).await;
        assert!(told.len() == 3 && told[2].as_ref().is_err_and(|error| error.message().contains("no space left")));
    }

    #[tokio::test]
    async fn whoever_goes_away_ends_it() {
        let saving = Arc::<Saving>::default();
        let task = tokio::spawn(std::future::pending());
        let answers = waited(Waited { saving: saving.clone(), task, place: Value::Null, warning: None });
        assert!(!saving.is_cancelled());
        drop(answers);
        assert!(saving.is_cancelled());
    }
}
