//! Watches: where they start, what selectors make of changes, bookmarks, ends.

use apimachinery::meta::ObjectExt as _;
use serde_json::json;

use crate::support::{Api, MAPS, config_map};

#[tokio::test]
async fn a_watch_shows_every_change_after_its_revision() {
    let api = Api::start().await;
    let created = api.post(MAPS, &config_map("a", "1")).await.expect(201);
    let from = created.resource_version().to_owned();
    let mut events = api.watch(&format!("{MAPS}?watch=1&resourceVersion={from}")).await;
    api.post(MAPS, &config_map("b", "1")).await.expect(201);
    let changed = api.merge(&format!("{MAPS}/a"), &json!({ "data": { "key": "2" } })).await.expect(200);
    api.delete(&format!("{MAPS}/b")).await.expect(200);
    assert_eq!(events.brief().await, "ADDED b");
    let modified = events.next().await.unwrap();
    assert_eq!((modified["type"].as_str(), &modified["object"]), (Some("MODIFIED"), &changed));
    let deleted = events.next().await.unwrap();
    assert_eq!(deleted["type"], "DELETED");
    let revision = |object: &serde_json::Value| object.resource_version().parse::<u64>().unwrap();
    assert!(revision(&deleted["object"]) > revision(&changed), "a deletion has a revision of its own");
}

#[tokio::test]
async fn without_a_revision_the_current_objects_come_first() {
    let api = Api::start().await;
    api.post(MAPS, &config_map("a", "1")).await.expect(201);
    for query in ["watch=true", "watch=true&resourceVersion=0"] {
        let mut events = api.watch(&format!("{MAPS}?{query}")).await;
        assert_eq!(events.brief().await, "ADDED a", "{query}");
    }
    let query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut events = api.watch(&format!("{MAPS}?{query}")).await;
    assert_eq!(events.brief().await, "ADDED a");
    let bookmark = events.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!(bookmark["object"]["kind"], "ConfigMap");
    assert!(!bookmark["object"].resource_version().is_empty());
    let wrong = format!("{MAPS}?watch=1&sendInitialEvents=true");
    assert_eq!(api.get(&wrong).await.code, 422);
    assert_eq!(api.get(&format!("{MAPS}?sendInitialEvents=true")).await.code, 422);
}

#[tokio::test]
async fn entering_and_leaving_a_selection_is_addition_and_deletion() {
    let api = Api::start().await;
    let from = api.get(MAPS).await.expect(200).resource_version().to_owned();
    let mut events = api.watch(&format!("{MAPS}?watch=1&labelSelector=on%3Dyes&resourceVersion={from}")).await;
    api.post(MAPS, &config_map("a", "1")).await.expect(201);
    let label = |value: &str| json!({ "metadata": { "labels": { "on": value } } });
    let path = format!("{MAPS}/a");
    api.merge(&path, &label("yes")).await.expect(200);
    api.merge(&path, &json!({ "data": { "key": "2" } })).await.expect(200);
    let left = api.merge(&path, &label("no")).await.expect(200);
    api.merge(&path, &label("yes")).await.expect(200);
    api.delete(&path).await.expect(200);
    assert_eq!(events.brief().await, "ADDED a");
    assert_eq!(events.brief().await, "MODIFIED a");
    let gone = events.next().await.unwrap();
    assert_eq!(gone["type"], "DELETED");
    assert_eq!(gone["object"]["metadata"]["labels"]["on"], "yes", "the last state that was selected");
    assert_eq!(gone["object"].resource_version(), left.resource_version());
    assert_eq!(events.brief().await, "ADDED a");
    assert_eq!(events.brief().await, "DELETED a");
}

#[tokio::test]
async fn one_name_is_watched_alone() {
    let api = Api::start().await;
    let mut events = api.watch(&format!("{MAPS}?watch=1&fieldSelector=metadata.name%3Dab")).await;
    for name in ["a", "abc", "ab"] {
        api.post(MAPS, &config_map(name, "1")).await.expect(201);
    }
    assert_eq!(events.brief().await, "ADDED ab");
    let mut events = api.watch("/api/v1/watch/namespaces/default/configmaps/ab").await;
    assert_eq!(events.brief().await, "ADDED ab");
}

#[tokio::test]
async fn watches_end_by_timeout_and_by_shutdown() {
    let api = Api::start().await;
    let mut short = api.watch(&format!("{MAPS}?watch=1&resourceVersion=0&timeoutSeconds=1")).await;
    let mut long = api.watch(&format!("{MAPS}?watch=1")).await;
    assert_eq!(short.next().await, None);
    api.shutdown.trigger();
    assert_eq!(long.next().await, None);
    assert_eq!(api.get("/readyz").await.code, 500);
    assert_eq!(api.get("/livez").await.code, 200);
}

#[tokio::test]
async fn tables_are_watched_with_one_header() {
    let api = Api::start().await;
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let request = api.request("GET", &format!("{MAPS}?watch=1&timeoutSeconds=2")).header("accept", accept);
    let pending = api.send(request.body(Default::default()).unwrap()).await;
    api.post(MAPS, &config_map("a", "1")).await.expect(201);
    api.post(MAPS, &config_map("b", "1")).await.expect(201);
    let mut events = crate::support::Events::of(pending);
    let first = events.next().await.unwrap();
    assert_eq!(first["object"]["kind"], "Table");
    assert_eq!(first["object"]["columnDefinitions"][0]["name"], "Name");
    assert_eq!(first["object"]["rows"][0]["cells"][0], "a");
    let second = events.next().await.unwrap();
    assert_eq!(second["object"]["columnDefinitions"], json!([]));
}
