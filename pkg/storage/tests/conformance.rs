//! What Kubernetes expects of its storage: writes, reads and lists.
#![allow(clippy::unwrap_used)] // A failed expectation is what a test is for.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{PODS, assert_stamped, create, delete, key, pod, put, store, store_with};
use futures::FutureExt;
use serde_json::json;
use storage::{
    At, Attributes, Change, Companion, ListOptions, NewObject, Outcome, StorageError, StoredObject, UpdateError,
};

fn page(after: Option<String>, revision: u64, limit: usize) -> ListOptions {
    ListOptions { at: At::Exact(revision), after, limit, predicate: None }
}

#[tokio::test]
async fn create_stamps_and_refuses_what_exists() {
    let store = store().await;
    assert_ne!(store.revision().get(), 0, "the revision of an empty store is not the wildcard");
    let created = create(&store, "a", "x").await;
    assert_stamped(&created);
    assert_eq!(created.revision(), created.create_revision());
    let got = store.get(&key("a")).unwrap();
    assert_eq!(got.body(), created.body());
    assert_eq!(got.attributes().label("app"), Some("x"));
    let error = store.create(&key("a"), pod("a", "y")).await.unwrap_err();
    assert!(matches!(error, StorageError::KeyExists { .. }), "{error}");
    assert_eq!(store.get(&key("a")).unwrap().body(), created.body());
    assert_eq!(store.revision(), created.revision(), "a refused write takes no revision");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_creations_of_one_key_one_wins() {
    let store = store().await;
    let tasks = (0..20).map(|number| {
        let store = store.store.clone();
        tokio::spawn(async move { store.create(&key("a"), pod("a", &number.to_string())).await })
    });
    let results = futures::future::join_all(tasks).await;
    let (won, lost): (Vec<_>, Vec<_>) = results.into_iter().map(Result::unwrap).partition(Result::is_ok);
    assert_eq!(won.len(), 1);
    assert!(lost.iter().all(|result| matches!(result, Err(StorageError::KeyExists { .. }))));
    assert_eq!(store.get(&key("a")).unwrap().body(), won[0].as_ref().unwrap().body());
}

#[tokio::test]
async fn update_sees_the_newest_and_runs_again_after_a_conflict() {
    let store = store().await;
    create(&store, "a", "0").await;
    let calls = AtomicUsize::new(0);
    let (calls, inner) = (&calls, &store.store);
    let outcome = store
        .guaranteed_update::<(), _>(&key("a"), move |current| {
            async move {
                let current = current.unwrap();
                // Somebody else writes while the first answer is on its way.
                if calls.fetch_add(1, Ordering::Relaxed) == 0 {
                    put(inner, "a", "other").await;
                }
                let seen = current.attributes().label("app").unwrap_or_default().to_owned();
                Ok(Change::Put(pod("a", &format!("{seen}+1"))))
            }
            .boxed()
        })
        .await
        .unwrap();
    let Outcome::Put(written) = outcome else { panic!("{outcome:?}") };
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    assert_eq!(written.attributes().label("app"), Some("other+1"), "nothing is overwritten unseen");
    assert_stamped(&written);
    assert!(written.create_revision() < written.revision());
}

#[tokio::test]
async fn what_is_written_together_is_written_in_one_step_or_not_at_all() {
    let store = store().await;
    let label = |name: &str| store.get(&key(name)).map(|object| object.attributes().label("app").unwrap().to_owned());
    let stale = create(&store, "other", "0").await;
    put(&store, "other", "1").await;
    let with = |seen: &StoredObject| vec![Companion { seen: seen.clone(), object: pod("other", "2") }];
    assert!(store.create_with(&key("a"), pod("a", "x"), with(&stale)).await.unwrap().is_none());
    assert_eq!((label("a"), label("other").as_deref()), (None, Some("1")));
    let seen = store.get(&key("other")).unwrap();
    let created = store.create_with(&key("a"), pod("a", "x"), with(&seen)).await.unwrap().unwrap();
    assert_eq!(created.attributes().label("app"), Some("x"));
    assert_eq!(label("other").as_deref(), Some("2"));
    let taken = store.create_with(&key("a"), pod("a", "y"), with(&store.get(&key("other")).unwrap())).await;
    assert!(matches!(taken, Err(StorageError::KeyExists { .. })));
}

#[tokio::test]
async fn an_update_runs_again_when_what_it_writes_beside_the_object_has_changed() {
    let store = store().await;
    create(&store, "a", "x").await;
    let mut seen = create(&store, "other", "0").await;
    put(&store, "other", "1").await;
    let (inner, mut calls) = (&store.store, 0);
    let outcome = store
        .guaranteed_update::<(), _>(&key("a"), |_| {
            calls += 1;
            let seen = std::mem::replace(&mut seen, inner.get(&key("other")).unwrap());
            let change = Change::PutWith(pod("a", "y"), vec![Companion { seen, object: pod("other", "2") }]);
            async move { Ok(change) }.boxed()
        })
        .await
        .unwrap();
    assert!(matches!(outcome, Outcome::Put(_)));
    assert_eq!(calls, 2);
    assert_eq!(store.get(&key("other")).unwrap().attributes().label("app"), Some("2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_updates_are_all_counted() {
    let store = store().await;
    create(&store, "a", "0").await;
    let tasks = (0..8).map(|_| {
        let store = store.store.clone();
        tokio::spawn(async move {
            for _ in 0..20 {
                let add_one = |current: Option<storage::StoredObject>| {
                    async move {
                        let current = current.unwrap();
                        let count: u64 = current.attributes().label("app").unwrap().parse().unwrap();
                        Ok::<_, ()>(Change::Put(pod("a", &(count + 1).to_string())))
                    }
                    .boxed()
                };
                store.guaranteed_update(&key("a"), add_one).await.unwrap();
            }
        })
    });
    futures::future::join_all(tasks).await.into_iter().for_each(Result::unwrap);
    assert_eq!(store.get(&key("a")).unwrap().attributes().label("app"), Some("160"));
}

#[tokio::test]
async fn an_update_that_changes_nothing_writes_nothing() {
    let store = store().await;
    let created = create(&store, "a", "x").await;
    let before = store.statistics().fsyncs;
    for change in [Change::Keep, Change::Put(pod("a", "x"))] {
        let outcome = store
            .guaranteed_update::<(), _>(&key("a"), |_| {
                let change = change.clone();
                async move { Ok(change) }.boxed()
            })
            .await
            .unwrap();
        assert!(matches!(&outcome, Outcome::Unchanged(Some(object)) if object.revision() == created.revision()));
    }
    assert_eq!(store.revision(), created.revision());
    assert_eq!(store.statistics().fsyncs, before);
    let missing = store.guaranteed_update::<(), _>(&key("b"), |_| async { Ok(Change::Delete) }.boxed()).await.unwrap();
    assert!(matches!(missing, Outcome::Unchanged(None)));
}

#[tokio::test]
async fn preconditions_are_the_callers_and_a_refusal_changes_nothing() {
    let store = store().await;
    let created = create(&store, "a", "x").await;
    let stale = created.revision();
    put(&store, "a", "y").await;
    let result = store
        .guaranteed_update(&key("a"), |current| {
            async move {
                match current {
                    Some(current) if current.revision() == stale => Ok(Change::Delete),
                    _ => Err("the object has been modified"),
                }
            }
            .boxed()
        })
        .await;
    assert!(matches!(result, Err(UpdateError::Refused("the object has been modified"))));
    assert!(store.get(&key("a")).is_some());
}

#[tokio::test]
async fn a_deletion_shows_the_last_object_with_its_own_revision() {
    let store = store().await;
    let created = create(&store, "a", "x").await;
    let deleted = delete(&store, "a").await;
    assert_stamped(&deleted);
    assert!(deleted.revision() > created.revision());
    assert_eq!(deleted.attributes().label("app"), Some("x"));
    assert!(store.get(&key("a")).is_none());
    let again = create(&store, "a", "y").await;
    assert_eq!(again.create_revision(), again.revision(), "a new life begins with its creation");
}

#[tokio::test]
async fn an_update_may_create_and_finds_a_key_that_came_meanwhile() {
    let store = store().await;
    let first = AtomicUsize::new(1);
    let (first, inner) = (&first, &store.store);
    let outcome = store
        .guaranteed_update::<(), _>(&key("a"), move |current| {
            async move {
                if first.swap(0, Ordering::Relaxed) == 1 {
                    assert!(current.is_none());
                    create(inner, "a", "other").await;
                } else {
                    assert_eq!(current.unwrap().attributes().label("app"), Some("other"));
                }
                Ok(Change::Put(pod("a", "mine")))
            }
            .boxed()
        })
        .await
        .unwrap();
    assert!(matches!(outcome, Outcome::Put(object) if object.attributes().label("app") == Some("mine")));
}

#[tokio::test]
async fn a_list_names_the_revision_of_its_state() {
    let store = store().await;
    for name in ["c", "a", "b"] {
        create(&store, name, "x").await;
    }
    // Another prefix moves the revision on.
    store.create("/registry/core/podsets/default/z", pod("z", "x")).await.unwrap();
    let list = store.list(PODS, &ListOptions::default()).unwrap();
    let names: Vec<_> = list.items.iter().map(|item| item.key().rsplit('/').next().unwrap()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(list.revision, store.revision());
    assert!(list.next.is_none() && list.remaining.is_none());
    assert!(store.list("/registry/core/none/", &ListOptions::default()).unwrap().items.is_empty());
}

#[tokio::test]
async fn pages_are_of_one_revision_while_writes_go_on() {
    let store = store().await;
    for number in 0..10 {
        create(&store, &format!("p{number}"), "x").await;
    }
    let first = store.list(PODS, &ListOptions { limit: 4, ..ListOptions::default() }).unwrap();
    assert_eq!((first.items.len(), first.remaining), (4, Some(6)));
    let revision = first.revision.get();
    delete(&store, "p7").await;
    put(&store, "p8", "y").await;
    create(&store, "p45", "new").await;

    let second = store.list(PODS, &page(first.next, revision, 4)).unwrap();
    assert_eq!(second.revision.get(), revision);
    assert_eq!(second.remaining, Some(2));
    delete(&store, "p9").await;
    let third = store.list(PODS, &page(second.next.clone(), revision, 4)).unwrap();
    assert!(third.next.is_none());
    let all: Vec<_> = first.items.iter().chain(&second.items).chain(&third.items).collect();
    let names: Vec<_> = all.iter().map(|item| item.key().rsplit('/').next().unwrap()).collect();
    assert_eq!(names, (0..10).map(|number| format!("p{number}")).collect::<Vec<_>>());
    assert!(all.iter().all(|item| item.revision().get() <= revision && item.attributes().label("app") == Some("x")));
}

#[tokio::test]
async fn any_revision_that_is_not_compacted_can_be_listed() {
    let store = store().await;
    let mut states = vec![(store.revision().get(), Vec::new())];
    let mut live = Vec::new();
    for number in 0..12 {
        let name = format!("p{}", number % 5);
        if number % 3 == 2 {
            delete(&store, &name).await;
            live.retain(|other| *other != name);
        } else if live.contains(&name) {
            put(&store, &name, &number.to_string()).await;
        } else {
            create(&store, &name, &number.to_string()).await;
            live.push(name);
        }
        live.sort();
        states.push((store.revision().get(), live.clone()));
        if number % 3 == 1 {
            // p2, p0, p3, ... exist for the deletion that follows.
            let name = format!("p{}", (number + 1) % 5);
            if !live.contains(&name) {
                create(&store, &name, "x").await;
                live.push(name);
                live.sort();
                states.push((store.revision().get(), live.clone()));
            }
        }
    }
    for (revision, expected) in states.iter().rev().chain(&states) {
        let list = store.list(PODS, &ListOptions { at: At::Exact(*revision), ..ListOptions::default() }).unwrap();
        let names: Vec<_> = list.items.iter().map(|item| item.key().rsplit('/').next().unwrap().to_owned()).collect();
        assert_eq!((&names, list.revision.get()), (expected, *revision));
    }
}

#[tokio::test]
async fn what_does_not_exist_yet_or_any_more_is_an_error() {
    // History of nearly nothing: all but the newest event is compacted at once.
    let store = store_with(|config| config.history_bytes_max = 1).await;
    let first = create(&store, "a", "x").await;
    for number in 0..5 {
        put(&store, "a", &number.to_string()).await;
    }
    let future = store.revision().get() + 1;
    for at in [At::Exact(future), At::NotOlderThan(future)] {
        let error = store.list(PODS, &ListOptions { at, ..ListOptions::default() }).unwrap_err();
        assert!(matches!(error, StorageError::TooLarge { requested, .. } if requested == future), "{error}");
    }
    let old = first.revision().get();
    let error = store.list(PODS, &page(None, old, 0)).unwrap_err();
    assert!(matches!(error, StorageError::Compacted { compacted } if compacted > first.revision()), "{error}");
    let error = store.watch(PODS, old).err().unwrap();
    assert!(matches!(error, StorageError::Compacted { .. }), "{error}");
    // A watch can wait for what is still to come.
    assert!(store.watch(PODS, future).is_ok());
    // "Not older than" is content with the newest.
    assert_eq!(
        store.list(PODS, &ListOptions { at: At::NotOlderThan(old), ..ListOptions::default() }).unwrap().items.len(),
        1
    );
}

#[tokio::test]
async fn a_list_in_progress_outlives_compaction() {
    let store = store_with(|config| config.history_bytes_max = 1).await;
    for number in 0..6 {
        create(&store, &format!("p{number}"), "x").await;
    }
    let first = store.list(PODS, &ListOptions { limit: 3, ..ListOptions::default() }).unwrap();
    for number in 0..6 {
        put(&store, &format!("p{number}"), "y").await;
    }
    let second = store.list(PODS, &page(first.next, first.revision.get(), 3)).unwrap();
    assert!(second.items.iter().all(|item| item.attributes().label("app") == Some("x")));
}

#[tokio::test]
async fn a_predicate_fills_pages_with_what_is_wanted() {
    let store = store().await;
    for number in 0..10 {
        create(&store, &format!("p{number}"), if number % 2 == 0 { "even" } else { "odd" }).await;
    }
    let odd: storage::Predicate = Arc::new(|object| object.attributes().label("app") == Some("odd"));
    let mut options = ListOptions { limit: 2, predicate: Some(odd), ..ListOptions::default() };
    let mut names = Vec::new();
    loop {
        let page = store.list(PODS, &options).unwrap();
        assert!(page.items.len() <= 2 && page.remaining.is_none());
        names.extend(page.items.iter().map(|item| item.key().rsplit('/').next().unwrap().to_owned()));
        let Some(next) = page.next else { break };
        options = ListOptions { at: At::Exact(page.revision.get()), after: Some(next), ..options };
    }
    assert_eq!(names, ["p1", "p3", "p5", "p7", "p9"]);
}

#[tokio::test]
async fn large_objects_are_refused_and_the_largest_is_kept() {
    let store = store().await;
    let sized = |bytes: usize| {
        let tree = json!({"data": "x".repeat(bytes), "metadata": {"name": "big"}});
        NewObject::encode(&tree, Attributes::default())
    };
    let error = store.create(&key("big"), sized(2 << 20)).await.unwrap_err();
    assert!(matches!(error, StorageError::ObjectTooLarge { limit, .. } if limit == 3 << 19), "{error}");
    let created = store.create(&key("big"), sized((3 << 19) - 100)).await.unwrap();
    assert_stamped(&created);
}

#[tokio::test]
async fn a_second_encoding_is_made_once() {
    let store = store().await;
    let created = create(&store, "a", "x").await;
    let made = created.encoding(|object| object.body().slice(..2));
    let again = store.get(&key("a")).unwrap().encoding(|_| panic!("it is there"));
    assert_eq!(made, again);
}

#[tokio::test]
async fn everything_is_there_after_a_restart_and_revisions_go_on() {
    let test = store().await;
    for number in 0..30 {
        create(&test, &format!("p{number:02}"), "x").await;
    }
    delete(&test, "p05").await;
    let before = test.list(PODS, &ListOptions::default()).unwrap();
    test.shutdown().await;
    assert!(
        test.store.create(&key("late"), pod("late", "x")).await.is_err(),
        "a store that was shut down takes nothing"
    );

    let again = storage::Storage::open(storage::Config::new(test.directory.path().join("db"))).await.unwrap();
    let after = again.list(PODS, &ListOptions::default()).unwrap();
    assert_eq!(after.revision, before.revision);
    let bodies = |page: &storage::Page| page.items.iter().map(|item| item.body().clone()).collect::<Vec<_>>();
    assert_eq!(bodies(&after), bodies(&before));
    assert_eq!(after.items[3].attributes(), before.items[3].attributes());
    let next = again.create(&key("next"), pod("next", "x")).await.unwrap();
    assert!(next.revision() > before.revision);
    // What was watched before the restart has to be listed again.
    assert!(matches!(again.watch(PODS, 2).err().unwrap(), StorageError::Compacted { .. }));
    again.shutdown().await;
}

#[tokio::test]
async fn a_directory_that_is_in_use_names_its_owner() {
    let test = store().await;
    let error = storage::Storage::open(storage::Config::new(test.directory.path().join("db"))).await.err().unwrap();
    let text = error.to_string();
    assert!(text.contains("in use by process") && text.contains("--data-dir"), "{text}");
}

#[tokio::test]
async fn an_idle_store_does_nothing() {
    let store = store().await;
    create(&store, "a", "x").await;
    let before = store.statistics();
    // Longer than any heartbeat or election timeout.
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    let after = store.statistics();
    assert_eq!((before.fsyncs, before.applied_index), (after.fsyncs, after.applied_index));
    put(&store, "a", "still leads").await;
    store.read_barrier().await.unwrap();
}
