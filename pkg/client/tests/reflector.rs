//! The reflector against recorded answers: continuity, disconnects, 410, and no deletion lost.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

mod fake;

use std::time::Duration;

use client::{Informer, Informers, Scope, Subscription};
use component_base::Shutdown;
use fake::{Script, Step, describe, event, gone, list, map};
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};

fn page(revision: u64, next: &str, items: &[Value]) -> Step {
    let metadata = json!({ "resourceVersion": revision.to_string(), "continue": next });
    Step::Json(200, json!({ "metadata": metadata, "items": items }).to_string())
}

fn bookmark(revision: u64) -> String {
    event("BOOKMARK", json!({ "kind": "ConfigMap", "metadata": { "resourceVersion": revision.to_string() } }))
}

struct Run {
    script: Script,
    informer: Informer<ConfigMap>,
    changes: Subscription<ConfigMap>,
    _informers: Informers,
}

fn run(steps: Vec<Step>) -> Run {
    let script = Script::new(steps);
    let informers = Informers::new(script.client(), Shutdown::new());
    let informer = informers.get::<ConfigMap>(Scope::all());
    let changes = informer.subscribe();
    Run { script, informer, changes, _informers: informers }
}

impl Run {
    async fn expect(&mut self, wanted: &[&str]) {
        let mut seen = Vec::new();
        for _ in wanted {
            let next = tokio::time::timeout(Duration::from_secs(120), self.changes.next()).await;
            seen.push(describe(&next.expect("a change within the deadline").expect("the stream never ends")));
        }
        assert_eq!(seen, wanted);
        assert!(self.changes.try_next().is_none(), "nothing more");
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.informer.store().list().iter().filter_map(|o| o.metadata.name.clone()).collect();
        names.sort();
        names
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_continues_from_the_lists_revision() {
    let mut run = run(vec![
        list(5, &[map("a", 3)]),
        Step::Open(vec![event("ADDED", map("b", 6)), event("MODIFIED", map("c", 7)), event("DELETED", map("d", 8))]),
    ]);
    run.informer.synced().await;
    run.expect(&["+a@3", "+b@6", "+c@7"]).await;
    assert_eq!(
        run.script.requests(),
        ["/api/v1/configmaps?limit=500", "/api/v1/configmaps?watch=true&allowWatchBookmarks=true&resourceVersion=5",]
    );
}

#[tokio::test(start_paused = true)]
async fn an_ended_or_broken_watch_resumes_where_it_was() {
    let mut run = run(vec![
        list(5, &[]),
        Step::Watch(vec![event("ADDED", map("a", 6)), bookmark(9)]),
        Step::Refused,
        Step::Broken(vec![event("ADDED", map("b", 10))]),
        Step::Json(503, json!({ "code": 503, "reason": "ServiceUnavailable", "message": "later" }).to_string()),
        Step::Open(vec![event("DELETED", map("a", 11))]),
    ]);
    run.expect(&["+a@6"]).await;
    run.expect(&["+b@10"]).await;
    run.expect(&["-a@11"]).await;
    let from: Vec<_> =
        run.script.requests().iter().filter_map(|r| r.split("resourceVersion=").nth(1).map(str::to_owned)).collect();
    assert_eq!(from, ["5", "9", "9", "10", "10"], "bookmarks count, nothing starts from now");
    assert_eq!(run.names(), ["b"]);
}

#[tokio::test(start_paused = true)]
async fn after_410_a_relist_finds_what_was_missed() {
    for expired in [Step::Open(vec![event("ERROR", gone())]), Step::Json(410, gone().to_string())] {
        let mut run = run(vec![
            list(5, &[map("same", 1), map("changed", 2), map("deleted", 3)]),
            expired,
            list(20, &[map("same", 1), map("changed", 15), map("new", 16)]),
            Step::Open(vec![]),
        ]);
        let mut first = Vec::new();
        for _ in 0..3 {
            first.push(describe(&run.changes.next().await.unwrap()));
        }
        first.sort();
        assert_eq!(first, ["+changed@2", "+deleted@3", "+same@1"]);
        run.expect(&["~changed@15", "+new@16", "-deleted@3"]).await;
        assert_eq!(run.names(), ["changed", "new", "same"]);
    }
}

#[tokio::test(start_paused = true)]
async fn pages_are_one_list_and_an_expired_page_starts_over() {
    let mut run = run(vec![
        page(5, "more", &[map("a", 1)]),
        Step::Json(410, gone().to_string()),
        list(6, &[map("a", 1), map("b", 2)]),
        Step::Open(vec![]),
    ]);
    run.informer.synced().await;
    assert_eq!(run.names(), ["a", "b"]);
    let requests = run.script.requests();
    assert_eq!(
        requests[..3],
        ["/api/v1/configmaps?limit=500", "/api/v1/configmaps?limit=500&continue=more", "/api/v1/configmaps",]
    );
    while run.changes.try_next().is_some() {}
}

#[tokio::test(start_paused = true)]
async fn not_synced_until_a_list_succeeds() {
    let run = run(vec![
        Step::Refused,
        Step::Json(403, json!({ "code": 403, "reason": "Forbidden", "message": "no" }).to_string()),
        Step::Json(200, json!({ "metadata": { "resourceVersion": "1" }, "items": null }).to_string()),
        Step::Open(vec![]),
    ]);
    assert!(!run.informer.is_synced());
    tokio::time::timeout(Duration::from_secs(60), run.informer.synced()).await.unwrap();
    assert!(run.informer.store().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_event_that_cannot_be_parsed_is_not_skipped() {
    let mut run = run(vec![
        list(5, &[]),
        Step::Open(vec![r#"{"type":"ADDED","object":{"metadata":{"name":7}}}"#.to_owned()]),
        list(8, &[map("a", 7)]),
        Step::Open(vec![]),
    ]);
    run.expect(&["+a@7"]).await;
}

#[tokio::test(start_paused = true)]
async fn unread_changes_of_one_object_are_merged() {
    let mut run = run(vec![
        list(5, &[map("a", 3)]),
        Step::Open(vec![
            event("MODIFIED", map("a", 6)),
            event("ADDED", map("b", 7)),
            event("DELETED", map("a", 8)),
            event("ADDED", map("a", 9)),
            event("MODIFIED", map("b", 10)),
            event("DELETED", map("gone", 11)),
            event("ADDED", map("end", 12)),
        ]),
    ]);
    let store = run.informer.store();
    while store.get("ns", "end").is_none() {
        tokio::task::yield_now().await;
    }
    run.expect(&["~a@9", "+b@10", "+end@12"]).await;
}

#[tokio::test(start_paused = true)]
async fn indices_follow_changes() {
    let run = run(vec![
        list(5, &[map("a", 3)]),
        Step::Open(vec![event("ADDED", map("b", 6)), event("DELETED", map("a", 7)), event("ADDED", map("end", 8))]),
    ]);
    let store = run.informer.store();
    let by_revision =
        store.index("revision", |o| o.metadata.resource_version.iter().map(|r| r.as_str().into()).collect());
    run.informer.synced().await;
    while store.get("ns", "end").is_none() {
        tokio::task::yield_now().await;
    }
    assert_eq!(by_revision.count("6"), 1);
    assert_eq!((by_revision.count("3"), by_revision.count("7")), (0, 0));
    assert_eq!(store.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn one_reflector_however_many_ask_and_none_when_no_one_does() {
    let script = Script::new([list(5, &[]), Step::Open(vec![]), list(6, &[]), Step::Open(vec![])]);
    let informers = Informers::new(script.client(), Shutdown::new());
    let first = informers.get::<ConfigMap>(Scope::all());
    let second = informers.get::<ConfigMap>(Scope::all());
    first.synced().await;
    second.synced().await;
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    assert_eq!(script.requests().len(), 2);
    drop((first, second));
    let again = informers.get::<ConfigMap>(Scope::all());
    again.synced().await;
    assert!(script.requests().len() >= 3, "a new informer lists anew");
}
