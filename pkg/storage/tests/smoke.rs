//! The shortest way through all layers.

use std::time::Duration;

use futures::{FutureExt, StreamExt};
use serde_json::json;
use storage::{At, Attributes, Change, Config, EventKind, ListOptions, NewObject, Outcome, Storage, StorageError};
use tokio::time::timeout;

fn object(name: &str, data: u64) -> NewObject {
    NewObject::encode(&json!({"kind": "ConfigMap", "metadata": {"name": name}, "data": data}), Attributes::default())
}

#[tokio::test(flavor = "multi_thread")]
async fn write_read_watch_and_start_again() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let started = std::time::Instant::now();
    let store = Storage::open(Config::new(directory.path().join("db"))).await.unwrap();
    eprintln!("first open {:?}", started.elapsed());
    let mut watch = store.watch("/registry/core/configmaps/", store.revision().get()).unwrap();
    let a = store.create("/registry/core/configmaps/default/a", object("a", 1)).await.unwrap();
    assert_eq!(a.decode()["metadata"]["resourceVersion"], a.revision().to_string());
    assert!(matches!(
        store.create("/registry/core/configmaps/default/a", object("a", 1)).await,
        Err(StorageError::KeyExists { .. })
    ));
    let outcome = store
        .guaranteed_update::<(), _>("/registry/core/configmaps/default/a", |current| {
            assert!(current.is_some());
            async { Ok(Change::Put(object("a", 2))) }.boxed()
        })
        .await
        .unwrap();
    let Outcome::Put(second) = outcome else { panic!("{outcome:?}") };
    let outcome = store
        .guaranteed_update::<(), _>("/registry/core/configmaps/default/a", |_| async { Ok(Change::Delete) }.boxed())
        .await
        .unwrap();
    let Outcome::Deleted(deleted) = outcome else { panic!("{outcome:?}") };
    let mut events = Vec::new();
    for _ in 0..3 {
        let event = timeout(Duration::from_secs(5), watch.next()).await.unwrap().unwrap().unwrap();
        events.push((event.kind, event.revision));
    }
    assert_eq!(
        events,
        [
            (EventKind::Created, a.revision()),
            (EventKind::Updated, second.revision()),
            (EventKind::Deleted, deleted.revision())
        ]
    );
    store.create("/registry/core/configmaps/default/b", object("b", 1)).await.unwrap();
    let revision = store.revision();
    store.shutdown().await;
    assert!(store.create("/registry/core/configmaps/default/c", object("c", 1)).await.is_err());
    drop(store);

    let started = std::time::Instant::now();
    let store = Storage::open(Config::new(directory.path().join("db"))).await.unwrap();
    eprintln!("second open {:?}", started.elapsed());
    assert_eq!(store.revision(), revision);
    let page = store.list("/registry/core/configmaps/", &ListOptions { at: At::Newest, ..Default::default() }).unwrap();
    assert_eq!(page.items.iter().map(|item| item.key()).collect::<Vec<_>>(), ["/registry/core/configmaps/default/b"]);
    eprintln!("{:?}", store.statistics());
    store.shutdown().await;
}
