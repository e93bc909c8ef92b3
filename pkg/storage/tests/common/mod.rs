//! A store in a directory that goes with the test.
#![allow(dead_code)] // Each test file uses a part.
#![allow(clippy::unwrap_used)] // Helpers of tests.

use std::time::Duration;

use futures::{FutureExt, StreamExt};
use serde_json::json;
use storage::{Attributes, Change, Config, EventKind, NewObject, Outcome, Storage, StoredObject, Watch, WatchEvent};
use tempfile::TempDir;

pub const PODS: &str = "/registry/core/pods/";

pub struct TestStore {
    pub store: Storage,
    /// On the disk of the target directory: a file system in memory would not show what syncing does.
    pub directory: TempDir,
}

pub async fn store() -> TestStore {
    store_with(|_| {}).await
}

pub async fn store_with(adjust: impl FnOnce(&mut Config)) -> TestStore {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut config = Config::new(directory.path().join("db"));
    adjust(&mut config);
    TestStore { store: Storage::open(config).await.unwrap(), directory }
}

impl std::ops::Deref for TestStore {
    type Target = Storage;
    fn deref(&self) -> &Storage {
        &self.store
    }
}

pub fn key(name: &str) -> String {
    format!("{PODS}default/{name}")
}

/// An object whose label `app` is also an attribute.
pub fn pod(name: &str, app: &str) -> NewObject {
    let tree = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": app}}});
    let attributes = Attributes { labels: [("app".into(), app.into())].into(), ..Attributes::default() };
    NewObject::encode(&tree, attributes)
}

pub async fn create(store: &Storage, name: &str, app: &str) -> StoredObject {
    store.create(&key(name), pod(name, app)).await.unwrap()
}

pub async fn put(store: &Storage, name: &str, app: &str) -> StoredObject {
    let (name, app) = (name.to_owned(), app.to_owned());
    let key = key(&name);
    let outcome = store
        .guaranteed_update::<(), _>(&key, move |_| {
            let object = pod(&name, &app);
            async move { Ok(Change::Put(object)) }.boxed()
        })
        .await
        .unwrap();
    match outcome {
        Outcome::Put(object) => object,
        other => panic!("{other:?}"),
    }
}

pub async fn delete(store: &Storage, name: &str) -> StoredObject {
    let outcome = store.guaranteed_update::<(), _>(&key(name), |_| async { Ok(Change::Delete) }.boxed()).await.unwrap();
    match outcome {
        Outcome::Deleted(object) => object,
        other => panic!("{other:?}"),
    }
}

/// The next event, within a time that only a broken store needs.
pub async fn next(watch: &mut Watch) -> WatchEvent {
    tokio::time::timeout(Duration::from_secs(10), watch.next()).await.expect("an event in time").unwrap().unwrap()
}

/// What an event says, in short.
pub fn short(event: &WatchEvent) -> (EventKind, String, u64) {
    (event.kind, event.object.key().rsplit('/').next().unwrap().to_owned(), event.revision.get())
}

/// The object says its own revision.
pub fn assert_stamped(object: &StoredObject) {
    assert_eq!(object.decode()["metadata"]["resourceVersion"], object.revision().to_string());
}
