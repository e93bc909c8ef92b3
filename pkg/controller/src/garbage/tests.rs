//! The collector's decisions against a small server that honours UIDs, resourceVersions and finalizers.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use client::reflector::Sink as _;
use component_base::Shutdown;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use kube::client::Body;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::*;
use crate::discovery::Resource;

#[derive(Clone, Default)]
struct Server {
    objects: Arc<Mutex<BTreeMap<String, Value>>>,
    writes: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn answer(&self, method: &Method, path: &str, sent: &Value) -> (u16, Value) {
        let status = |code: u16, reason: &str| {
            (code, json!({ "kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": reason }))
        };
        let mut objects = self.objects.lock();
        let Some(object) = objects.get_mut(path) else { return status(404, "NotFound") };
        if *method == Method::GET {
            return (200, object.clone());
        }
        let wanted = if *method == Method::DELETE { &sent["preconditions"] } else { &sent["metadata"] };
        for field in ["uid", "resourceVersion"] {
            if wanted[field].is_string() && wanted[field] != object["metadata"][field] {
                return status(409, "Conflict");
            }
        }
        let short = path.rsplit('/').next().unwrap();
        if *method == Method::DELETE {
            self.writes.lock().push(format!("delete {short} {}", sent["propagationPolicy"].as_str().unwrap()));
            objects.remove(path);
        } else {
            let changed: Vec<&str> =
                ["finalizers", "ownerReferences"].into_iter().filter(|f| sent["metadata"].get(f).is_some()).collect();
            for field in &changed {
                object["metadata"][field] = sent["metadata"][field].clone();
            }
            self.writes.lock().push(format!("patch {short} {}", changed.join(",")));
        }
        (200, json!({}))
    }
}

/// A pod path for names in lower case, a ReplicaSet's for names that begin with `rs`.
fn path(name: &str) -> String {
    let (api, plural) = if name.starts_with("rs") { ("/apis/apps/v1", "replicasets") } else { ("/api/v1", "pods") };
    format!("{api}/namespaces/ns/{plural}/{name}")
}

struct World {
    server: Server,
    collector: Arc<Collector>,
}

impl World {
    fn new() -> Self {
        let server = Server::default();
        let service = tower::service_fn({
            let server = server.clone();
            move |request: Request<Body>| {
                let server = server.clone();
                async move {
                    let (parts, body) = request.into_parts();
                    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                    let sent = serde_json::from_slice(&body).unwrap_or(Value::Null);
                    let (code, answer) = server.answer(&parts.method, parts.uri.path(), &sent);
                    let mut response = Response::new(Full::new(Bytes::from(answer.to_string())));
                    *response.status_mut() = code.try_into().unwrap();
                    Ok::<_, Infallible>(response)
                }
            }
        });
        let client = client::in_process(service, "default");
        let collector = Collector {
            recorder: client::Recorder::new(client.clone(), "test", "", &Shutdown::new()),
            client,
            graph: Mutex::new(Graph::default()),
            mapper: Mapper::default(),
            absent: Mutex::default(),
            delete: WorkQueue::new("test"),
            orphan: WorkQueue::new("test"),
        };
        let resource = |group: &str, plural: &str, kind: &str| Resource {
            group: group.into(),
            version: "v1".into(),
            plural: plural.into(),
            kind: kind.into(),
            namespaced: true,
            verbs: Vec::new(),
        };
        collector.mapper.learn(&[resource("", "pods", "Pod"), resource("apps", "replicasets", "ReplicaSet")]);
        Self { server, collector: Arc::new(collector) }
    }

    /// Puts an object on the server; `seen` tells the graph of it too. The UID is the name unless given.
    fn put(&self, name: &str, uid: &str, owners: &[&str], more: Value, seen: bool) {
        let owner = |owner: &&str| json!({ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owner, "uid": owner, "blockOwnerDeletion": true });
        let mut object = json!({ "metadata": { "name": name, "namespace": "ns", "uid": uid, "resourceVersion": "1",
            "ownerReferences": owners.iter().map(owner).collect::<Vec<_>>() } });
        for (field, value) in more.as_object().unwrap() {
            object["metadata"][field] = value.clone();
        }
        if seen {
            let meta: Meta = serde_json::from_value(object.clone()).unwrap();
            let (api, kind) = if name.starts_with("rs") { ("apps/v1", "ReplicaSet") } else { ("v1", "Pod") };
            self.monitor(api, kind).upsert(meta);
        }
        self.server.objects.lock().insert(path(name), object);
    }

    fn monitor(&self, api: &str, kind: &str) -> Monitor {
        let (collector, synced) = (self.collector.clone(), watch::channel(false).0);
        Monitor { collector, api_version: api.into(), kind: kind.into(), synced }
    }

    async fn delete(&self, uid: &str) -> Vec<String> {
        let _ = self.collector.attempt_to_delete(uid.into()).await;
        std::mem::take(&mut self.server.writes.lock())
    }
}

fn nothing() -> Value {
    json!({})
}

#[tokio::test]
async fn an_object_whose_owner_is_gone_goes() {
    let world = World::new();
    world.put("a", "a", &["rs-gone"], nothing(), true);
    assert_eq!(world.delete("a").await, ["delete a Background"]);
}

#[tokio::test]
async fn what_went_while_nobody_watched_is_seen_to_be_gone_by_the_next_list() {
    let world = World::new();
    world.put("rs", "rs", &[], nothing(), true);
    let mut pods = world.monitor("v1", "Pod");
    let pod = |name: &str| -> Meta {
        serde_json::from_value(json!({ "metadata": { "name": name, "uid": name, "namespace": "ns" } })).unwrap()
    };
    pods.replace(vec![pod("a"), pod("b")]);
    pods.upsert(pod("c"));
    pods.replace(vec![pod("b")]);
    let left = ["a", "b", "c", "rs"].map(|uid| world.collector.graph.lock().get(uid).is_some());
    assert_eq!(left, [false, true, false, true]);
}

#[tokio::test]
async fn an_owner_of_the_same_name_but_another_uid_is_no_owner() {
    let world = World::new();
    world.put("rs", "new-uid", &[], nothing(), false);
    world.put("a", "a", &["rs"], nothing(), true);
    assert_eq!(world.delete("a").await, ["delete a Background"]);
}

#[tokio::test]
async fn an_owner_that_lives_keeps_it_although_the_graph_does_not_know_it() {
    let world = World::new();
    world.put("rs", "rs", &[], nothing(), false);
    world.put("a", "a", &["rs"], nothing(), true);
    assert!(world.delete("a").await.is_empty());
    assert!(world.delete("rs").await.is_empty(), "asking for the owner changes nothing");
    assert!(world.delete("a").await.is_empty());
}

#[tokio::test]
async fn references_to_the_dead_are_dropped_while_another_owner_lives() {
    let world = World::new();
    world.put("rs", "rs", &[], nothing(), true);
    world.put("a", "a", &["rs", "rs-gone"], nothing(), true);
    assert_eq!(world.delete("a").await, ["patch a ownerReferences"]);
    let left = world.server.objects.lock()[&path("a")]["metadata"]["ownerReferences"].clone();
    assert_eq!((left.as_array().unwrap().len(), left[0]["uid"].as_str()), (1, Some("rs")));
}

#[tokio::test]
async fn what_changed_since_it_was_looked_at_is_not_deleted() {
    let world = World::new();
    world.put("a", "a", &["rs-gone"], nothing(), true);
    // Another object by now has the name.
    world.put("a", "other", &[], nothing(), false);
    assert!(world.delete("a").await.is_empty());
    assert!(world.server.objects.lock().contains_key(&path("a")));
}

#[tokio::test]
async fn foreground_deletion_ends_when_no_dependent_blocks() {
    let world = World::new();
    let waiting = json!({ "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["foregroundDeletion"] });
    world.put("rs", "rs", &[], waiting, true);
    world.put("a", "a", &["rs"], nothing(), true);
    assert!(world.delete("rs").await.is_empty());
    assert_eq!(world.delete("a").await, ["delete a Background"], "its only owner waits for it");
    world.collector.removed("a");
    assert_eq!(world.delete("rs").await, ["patch rs finalizers"]);
}

#[tokio::test]
async fn a_circle_does_not_wait_for_itself() {
    let world = World::new();
    let waiting = json!({ "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["foregroundDeletion"] });
    // The first is deleted in the foreground; the second belongs to it, and it to the second.
    world.put("rs-1", "rs-1", &["rs-2"], waiting, true);
    world.put("rs-2", "rs-2", &["rs-1"], nothing(), true);
    assert_eq!(world.delete("rs-2").await, ["patch rs-2 ownerReferences"], "the owner stops waiting for it");
    let owner = world.server.objects.lock()[&path("rs-2")]["metadata"]["ownerReferences"][0].clone();
    assert_eq!((&owner["uid"], &owner["blockOwnerDeletion"]), (&json!("rs-1"), &json!(false)));
    assert_eq!(world.delete("rs-2").await, ["delete rs-2 Foreground"]);
}

#[tokio::test]
async fn orphans_are_let_go_before_the_finalizer_is() {
    let world = World::new();
    let orphaning = json!({ "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["orphan", "example.com/x"] });
    world.put("rs", "rs", &[], orphaning, true);
    world.put("a", "a", &["rs"], nothing(), true);
    world.put("b", "b", &["rs"], nothing(), true);
    world.collector.attempt_to_orphan("rs".into()).await.unwrap();
    let mut writes = world.server.writes.lock().clone();
    assert_eq!(writes.pop().as_deref(), Some("patch rs finalizers"));
    writes.sort();
    assert_eq!(writes, ["patch a ownerReferences", "patch b ownerReferences"]);
    assert_eq!(world.server.objects.lock()[&path("rs")]["metadata"]["finalizers"], json!(["example.com/x"]));
}

#[tokio::test]
async fn an_unknown_kind_of_owner_protects() {
    let world = World::new();
    world.put("a", "a", &[], nothing(), false);
    let owner = json!([{ "apiVersion": "example.com/v1", "kind": "Thing", "name": "t", "uid": "t" }]);
    world.put("a", "a", &[], json!({ "ownerReferences": owner }), true);
    assert!(world.delete("a").await.is_empty());
    assert!(world.delete("t").await.is_empty());
}
