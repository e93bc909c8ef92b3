//! What Kubernetes expects of watches.
#![allow(clippy::unwrap_used)] // A failed expectation is what a test is for.

mod common;

use std::collections::BTreeMap;

use common::{PODS, assert_stamped, create, delete, key, next, pod, put, short, store, store_with};
use futures::{FutureExt, StreamExt};
use proptest::prelude::*;
use storage::{Change, EventKind, ListOptions, Storage, WatchEnd};

#[tokio::test]
async fn events_come_in_order_with_the_object_before() {
    let store = store().await;
    let mut watch = store.watch(PODS, store.revision().get()).unwrap();
    assert!(watch.next().now_or_never().is_none(), "nothing happened yet");
    let created = create(&store, "a", "x").await;
    let updated = put(&store, "a", "y").await;
    let deleted = delete(&store, "a").await;

    let event = next(&mut watch).await;
    assert_eq!(short(&event), (EventKind::Created, "a".into(), created.revision().get()));
    assert!(event.previous.is_none());
    let event = next(&mut watch).await;
    assert_eq!(short(&event), (EventKind::Updated, "a".into(), updated.revision().get()));
    assert_eq!(event.previous.unwrap().attributes().label("app"), Some("x"));
    let event = next(&mut watch).await;
    assert_eq!(short(&event), (EventKind::Deleted, "a".into(), deleted.revision().get()));
    assert_eq!(event.object.attributes().label("app"), Some("y"), "the last object");
    assert_stamped(&event.object);
    assert_eq!(event.previous.unwrap().revision(), updated.revision());
    let again = create(&store, "a", "z").await;
    assert_eq!(short(&next(&mut watch).await), (EventKind::Created, "a".into(), again.revision().get()));
}

#[tokio::test]
async fn a_watch_follows_on_a_list_without_a_gap() {
    let store = store().await;
    create(&store, "a", "x").await;
    let list = store.list(PODS, &ListOptions::default()).unwrap();
    let second = create(&store, "b", "x").await;
    let third = put(&store, "a", "y").await;
    let mut watch = store.watch(PODS, list.revision.get()).unwrap();
    assert_eq!(next(&mut watch).await.revision, second.revision());
    assert_eq!(next(&mut watch).await.revision, third.revision());
    // From the middle of the past.
    let mut late = store.watch(PODS, second.revision().get()).unwrap();
    assert_eq!(next(&mut late).await.revision, third.revision());
    let fourth = create(&store, "c", "x").await;
    assert_eq!(next(&mut watch).await.revision, fourth.revision());
    assert_eq!(next(&mut late).await.revision, fourth.revision());
}

#[tokio::test]
async fn a_watch_from_the_future_sees_what_comes_after_it() {
    let store = store().await;
    let now = store.revision().get();
    let mut watch = store.watch(PODS, now + 2).unwrap();
    let first = create(&store, "a", "x").await;
    store.create("/registry/core/nodes/n", pod("n", "x")).await.unwrap();
    assert_eq!(first.revision().get(), now + 1);
    assert!(watch.next().now_or_never().is_none(), "both revisions are before it");
    let third = put(&store, "a", "y").await;
    assert_eq!(next(&mut watch).await.revision, third.revision());
    assert_eq!(watch.progress(), Some(third.revision()));
    let mut far = store.watch(PODS, now + 1000).unwrap();
    for number in 0..20 {
        create(&store, &format!("p{number}"), "x").await;
    }
    assert!(far.next().now_or_never().is_none());
}

#[tokio::test]
async fn a_watch_sees_its_prefix_only() {
    let store = store().await;
    let from = store.revision().get();
    let mut all = store.watch("/registry/", from).unwrap();
    let mut other = store.watch("/registry/core/pods/other/", from).unwrap();
    let mut one = store.watch(&key("a"), from).unwrap();
    for path in ["core/pods/default/a", "core/pods/other/a", "core/pods/default/ab", "core/podsets/other/a"] {
        store.create(&format!("/registry/{path}"), pod("a", "x")).await.unwrap();
    }
    for _ in 0..4 {
        next(&mut all).await;
    }
    assert_eq!(next(&mut other).await.object.key(), "/registry/core/pods/other/a");
    assert_eq!(next(&mut one).await.object.key(), key("a"));
    assert!(other.next().now_or_never().is_none());
    assert!(one.next().now_or_never().is_none());
}

#[tokio::test]
async fn progress_grows_with_other_prefixes_and_never_runs_ahead() {
    let store = store().await;
    let mut watch = store.watch(PODS, store.revision().get()).unwrap();
    let elsewhere = store.create("/registry/core/nodes/n", pod("n", "x")).await.unwrap();
    assert_eq!(watch.progress(), Some(elsewhere.revision()), "no event is missing up to here");
    let first = create(&store, "a", "x").await;
    let second = create(&store, "b", "x").await;
    assert!(watch.progress() < Some(first.revision()));
    next(&mut watch).await;
    assert!(watch.progress() >= Some(first.revision()) && watch.progress() < Some(second.revision()));
    next(&mut watch).await;
    assert_eq!(watch.progress(), Some(second.revision()));
}

#[tokio::test]
async fn a_watcher_that_lags_is_told_so() {
    let store = store_with(|config| config.history_bytes_max = 4096).await;
    let mut lagging = store.watch(PODS, store.revision().get()).unwrap();
    let mut following = store.watch(PODS, store.revision().get()).unwrap();
    let mut quiet = store.watch("/registry/core/nodes/", store.revision().get()).unwrap();
    for number in 0..50 {
        create(&store, &format!("p{number}"), "x").await;
        next(&mut following).await;
    }
    assert!(matches!(lagging.next().await, Some(Err(WatchEnd::Lagged))));
    assert!(lagging.next().await.is_none(), "it is over");
    // A watcher that had nothing to see is not lagging, however much happened elsewhere.
    store.create("/registry/core/nodes/n", pod("n", "x")).await.unwrap();
    assert_eq!(next(&mut quiet).await.object.key(), "/registry/core/nodes/n");
}

#[tokio::test]
async fn watches_end_with_the_store() {
    let store = store().await;
    let mut watch = store.watch(PODS, store.revision().get()).unwrap();
    let ended = tokio::spawn(async move { watch.next().await });
    tokio::task::yield_now().await;
    store.shutdown().await;
    assert!(matches!(ended.await.unwrap(), Some(Err(WatchEnd::Closed))));
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_watchers_see_everything() {
    let store = store().await;
    let tasks: Vec<_> = (0..10_000)
        .map(|number| {
            let prefix = if number % 2 == 0 { PODS.to_owned() } else { format!("{PODS}default/") };
            let mut watch = store.watch(&prefix, store.revision().get()).unwrap();
            tokio::spawn(async move {
                let mut last = 0;
                for _ in 0..5 {
                    let revision = next(&mut watch).await.revision.get();
                    assert!(revision > last);
                    last = revision;
                }
            })
        })
        .collect();
    assert_eq!(store.statistics().store.watchers, 10_000);
    for number in 0..5 {
        create(&store, &format!("p{number}"), "x").await;
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(store.statistics().store.watchers, 0, "those who left are forgotten");
}

/// Writes at random from several tasks at once; every prefix of history must be replayed exactly by a watch.
async fn replay(steps: Vec<(u8, u8)>, from: usize) {
    let test = store().await;
    let store: &Storage = &test;
    let begin = store.revision().get();
    let mut live = store.watch(PODS, begin).unwrap();
    let chunks: Vec<Vec<(u8, u8)>> = steps.chunks(steps.len().div_ceil(3)).map(<[_]>::to_vec).collect();
    let writers = chunks.into_iter().map(|steps| {
        let store = store.clone();
        async move {
            for (name, action) in steps {
                let name = format!("p{name}");
                let change = move |_| {
                    let change = if action == 0 { Change::Delete } else { Change::Put(pod("p", &action.to_string())) };
                    async move { Ok::<_, ()>(change) }.boxed()
                };
                store.guaranteed_update(&key(&name), change).await.unwrap();
            }
        }
    });
    futures::future::join_all(writers).await;
    let end = store.revision().get();

    let mut history = Vec::new();
    while history.last().is_none_or(|event: &storage::WatchEvent| event.revision.get() < end) && begin < end {
        history.push(next(&mut live).await);
    }
    // One event for each revision, in order; kinds and previous objects as the state says.
    let mut state = BTreeMap::new();
    for (event, revision) in history.iter().zip(begin + 1..) {
        assert_eq!(event.revision.get(), revision);
        assert_stamped(&event.object);
        let before = match event.kind {
            EventKind::Deleted => state.remove(event.object.key()),
            _ => state.insert(event.object.key().to_owned(), event.object.body().clone()),
        };
        assert_eq!(event.previous.as_ref().map(|previous| previous.body().clone()), before);
        assert_eq!(event.kind == EventKind::Created, before.is_none());
    }
    let listed = store.list(PODS, &ListOptions::default()).unwrap();
    let listed: BTreeMap<_, _> = listed.items.iter().map(|item| (item.key().to_owned(), item.body().clone())).collect();
    assert_eq!(listed, state);

    // From anywhere the same.
    let from = from % (history.len() + 1);
    let mut late = store.watch(PODS, begin + from as u64).unwrap();
    for expected in &history[from..] {
        let event = next(&mut late).await;
        assert_eq!(short(&event), short(expected));
        assert_eq!(event.object.body(), expected.object.body());
    }
    assert!(late.next().now_or_never().is_none());
    test.shutdown().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_watch_from_any_revision_replays_exactly(
        steps in proptest::collection::vec((0..6_u8, 0..4_u8), 1..60),
        from in 0..60_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(replay(steps, from));
    }
}
