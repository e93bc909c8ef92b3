//! What writers may say about an object's metadata, and what they are told when they may not.

use apimachinery::meta::ObjectExt as _;
use serde_json::{Value, json};

use crate::support::{Api, MAPS, config_map};

const NODES: &str = "/api/v1/nodes";

fn node(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": name } })
}

fn with(object: &Value, field: &str, value: Value) -> Value {
    let mut object = object.clone();
    object["metadata"][field] = value;
    object
}

#[tokio::test]
async fn the_path_says_which_object_is_meant() {
    let api = Api::start().await;
    let a = api.post(MAPS, &config_map("a", "1")).await.expect(201);
    let one = format!("{MAPS}/a");
    let missing = format!("{MAPS}/missing");
    let elsewhere = "the namespace of the provided object does not match the namespace sent on the request";
    let other = "the name of the object (b) does not match the name on the URL (a)";
    let nameless = "the name of the object (a based on URL) was undeterminable: name must be provided";
    for (method, path, body, want) in [
        ("PUT", &one, with(&a, "name", json!("b")), other),
        ("PUT", &one, with(&a, "name", json!("")), nameless),
        ("PUT", &one, with(&a, "namespace", json!("kube-system")), elsewhere),
        (
            "PUT",
            &missing,
            with(&a, "name", json!("b")),
            "the name of the object (b) does not match the name on the URL (missing)",
        ),
        ("PATCH", &one, json!({ "metadata": { "name": "b" } }), other),
        ("PATCH", &one, json!({ "metadata": { "name": null } }), nameless),
        ("PATCH", &one, json!({ "metadata": { "namespace": "kube-system" } }), elsewhere),
        ("POST", &MAPS.to_owned(), with(&a, "namespace", json!("kube-system")), elsewhere),
    ] {
        let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let text = api.send_bytes(method, path, kind, body.to_string()).await.refused(400);
        assert_eq!(text, want, "{method} {path} {body}");
    }
    let made = api.post(NODES, &with(&node("n"), "namespace", json!("default"))).await.expect(201);
    assert_eq!(made["metadata"].get("namespace"), None, "a kind without namespaces forgets it");
    let put = api.put(&format!("{NODES}/n"), &with(&made, "namespace", json!("default"))).await.expect(200);
    assert_eq!(put["metadata"].get("namespace"), None);
}

#[tokio::test]
async fn a_uid_is_a_precondition_of_put_and_immutable_in_patches() {
    let api = Api::start().await;
    api.post(MAPS, &config_map("a", "1")).await.expect(201);
    api.post(NODES, &node("n")).await.expect(201);
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "d" },
        "spec": {
            "selector": { "matchLabels": { "app": "a" } },
            "template": {
                "metadata": { "labels": { "app": "a" } }, "spec": { "containers": [{ "name": "c", "image": "x" }] },
            },
        },
    });
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    api.post(deployments, &deployment).await.expect(201);
    for (path, resource, name, key) in [
        (format!("{MAPS}/a"), "configmaps", "a", "/registry/configmaps/default/a"),
        (format!("{NODES}/n"), "nodes", "n", "/registry/minions/n"),
        (format!("{NODES}/n/status"), "nodes", "n", "/registry/minions/n"),
        (format!("{deployments}/d"), "deployments.apps", "d", "/registry/deployments/default/d"),
        (format!("{deployments}/d/scale"), "deployments.apps", "d", "/registry/deployments/default/d"),
    ] {
        let live = api.get(&path).await.expect(200);
        let text = api.put(&path, &with(&live, "uid", json!("other"))).await.refused(409);
        let want = format!(
            "Operation cannot be fulfilled on {resource} {name:?}: StorageError: invalid object, Code: 4, Key: {key}, \
             ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: other, UID in object \
             meta: {}",
            live.uid()
        );
        assert_eq!(text, want);
    }
    let patch = json!({ "metadata": { "uid": "other" } });
    let text = api.merge(&format!("{MAPS}/a"), &patch).await.refused(422);
    assert_eq!(text, r#"ConfigMap "a" is invalid: metadata.uid: Invalid value: "other": field is immutable"#);
    let text = api.put(&format!("{MAPS}/none"), &with(&config_map("none", "1"), "uid", json!("other"))).await;
    assert_eq!(text.refused(404), r#"configmaps "none" not found"#);
}

#[tokio::test]
async fn fields_of_the_server_are_ignored_at_birth_and_kept_in_life() {
    let api = Api::start().await;
    let mut wished = config_map("a", "1");
    for (field, value) in [
        ("uid", json!("mine")),
        ("creationTimestamp", json!("2001-01-01T00:00:00Z")),
        ("deletionTimestamp", json!("2001-01-01T00:00:00Z")),
        ("deletionGracePeriodSeconds", json!(5)),
        ("selfLink", json!("/api/v1/mine")),
    ] {
        wished["metadata"][field] = value;
    }
    let made = api.post(MAPS, &wished).await.expect(201);
    assert_ne!(made.uid(), "mine");
    assert!(!made.meta_str("creationTimestamp").starts_with("2001"), "{made}");
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"] {
        assert_eq!(made["metadata"].get(field), None, "{field}");
    }
    let one = format!("{MAPS}/a");
    let put = api.put(&one, &config_map("a", "2")).await.expect(200);
    assert_eq!(put.uid(), made.uid(), "who says nothing changes nothing");
    let put = api.put(&one, &with(&put, "creationTimestamp", json!("2001-01-01T00:00:00Z"))).await.expect(200);
    assert_eq!(put.meta_str("creationTimestamp"), made.meta_str("creationTimestamp"));
    for (field, value) in
        [("deletionTimestamp", json!("2001-01-01T00:00:00Z")), ("deletionGracePeriodSeconds", json!(5))]
    {
        let want = format!(r#"ConfigMap "a" is invalid: metadata.{field}: Invalid value: {value}: field is immutable"#);
        assert_eq!(api.put(&one, &with(&put, field, value.clone())).await.refused(422), want);
        assert_eq!(api.merge(&one, &json!({ "metadata": { field: value } })).await.refused(422), want);
    }
    let text = api.post(MAPS, &with(&config_map("b", "1"), "resourceVersion", json!("5"))).await.refused(500);
    assert_eq!(text, "resourceVersion should not be set on objects to be created");
    let text = api.post(MAPS, &with(&config_map("b", "1"), "generation", json!(-1))).await.refused(422);
    assert_eq!(
        text,
        r#"ConfigMap "b" is invalid: metadata.generation: Invalid value: -1: must be greater than or equal to 0"#
    );
}

#[tokio::test]
async fn a_deletion_that_runs_cannot_be_called_off() {
    let api = Api::start().await;
    api.post(MAPS, &with(&config_map("a", "1"), "finalizers", json!(["example.com/wait"]))).await.expect(201);
    let one = format!("{MAPS}/a");
    let dying = api.delete(&one).await.expect(200);
    let mut alive = dying.clone();
    alive.metadata_mut().remove("deletionTimestamp");
    let put = api.put(&one, &alive).await.expect(200);
    assert_eq!(put.meta_str("deletionTimestamp"), dying.meta_str("deletionTimestamp"));
    let put = api.put(&one, &with(&put, "deletionTimestamp", json!("2101-01-01T00:00:00Z"))).await.expect(200);
    assert_eq!(put.meta_str("deletionTimestamp"), dying.meta_str("deletionTimestamp"));
    let text = api.merge(&one, &json!({ "metadata": { "finalizers": ["example.com/more"] } })).await.refused(422);
    assert_eq!(
        text,
        r#"ConfigMap "a" is invalid: metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{"example.com/more"}"#
    );
    let text = api.post(MAPS, &config_map("a", "1")).await.refused(409);
    assert_eq!(text, r#"object is being deleted: configmaps "a" already exists"#);
}

#[tokio::test]
async fn names_are_given_or_generated() {
    let api = Api::start().await;
    let nameless =
        |prefix: &str| json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "generateName": prefix } });
    let long = "x".repeat(80);
    for (prefix, kept) in [("a-", "a-"), (&*long, &long[..58])] {
        let made = api.post(MAPS, &nameless(prefix)).await.expect(201);
        assert_eq!((made.name().len(), &made.name()[..kept.len()]), (kept.len() + 5, kept));
        assert_eq!(made.meta_str("generateName"), prefix);
    }
    let text = api.post(MAPS, &nameless("")).await.refused(422);
    assert_eq!(text, r#"ConfigMap "" is invalid: metadata.name: Required value: name or generateName is required"#);
    let both = with(&nameless("a-"), "name", json!("taken"));
    api.post(MAPS, &both).await.expect(201);
    let refused = api.post(MAPS, &both).await;
    assert_eq!(refused.headers["retry-after"], "1");
    let status = refused.expect(409);
    assert_eq!(
        status["message"],
        r#"configmaps "taken" already exists, the server was not able to generate a unique name for the object"#
    );
    assert_eq!((&status["reason"], &status["details"]["retryAfterSeconds"]), (&json!("AlreadyExists"), &json!(1)));
    let plain = api.post(MAPS, &config_map("taken", "1")).await.expect(409);
    assert_eq!(plain["message"], r#"configmaps "taken" already exists"#);
    assert_eq!(plain["details"], json!({ "name": "taken", "kind": "configmaps" }));
}

#[tokio::test]
async fn a_version_is_demanded_where_the_kind_demands_it() {
    let api = Api::start().await;
    let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    let lease = json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": "l" } });
    api.post(leases, &lease).await.expect(201);
    let status = api.put(&format!("{leases}/l"), &lease).await.expect(422);
    assert_eq!(
        status["message"],
        r#"leases.coordination.k8s.io "l" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update"#
    );
    assert_eq!(status["details"]["kind"], "leases");
    api.post(MAPS, &config_map("a", "1")).await.expect(201);
    let one = format!("{MAPS}/a");
    api.put(&one, &config_map("a", "2")).await.expect(200);
    let modified = r#"Operation cannot be fulfilled on configmaps "a": the object has been modified; please apply your changes to the latest version and try again"#;
    let stale = with(&config_map("a", "3"), "resourceVersion", json!("1"));
    assert_eq!(api.put(&one, &stale).await.refused(409), modified);
    assert_eq!(api.merge(&one, &json!({ "metadata": { "resourceVersion": "1" } })).await.refused(409), modified);
}

#[tokio::test]
async fn owners_and_finalizers_are_refused_as_upstream_refuses_them() {
    let api = Api::start().await;
    let owner = |kind: &str, name: &str, controller: bool| json!({ "apiVersion": "v1", "kind": kind, "name": name, "uid": "u", "controller": controller });
    let (first, second) = (owner("Pod", "p", true), owner("Pod", "q", true));
    let both = json!([first, second]);
    for (field, value, want) in [
        (
            "ownerReferences",
            json!([{}]),
            r#"[metadata.ownerReferences.apiVersion: Invalid value: "": version must not be empty, metadata.ownerReferences.kind: Invalid value: "": kind must not be empty, metadata.ownerReferences.name: Invalid value: "": name must not be empty, metadata.ownerReferences.uid: Invalid value: "": uid must not be empty]"#.to_owned(),
        ),
        (
            "ownerReferences",
            both.clone(),
            format!(r#"metadata.ownerReferences: Invalid value: {both}: Only one reference can have Controller set to true. Found "true" in references for Pod/p and Pod/q"#),
        ),
        (
            "ownerReferences",
            json!([owner("Event", "e", false)]),
            format!("metadata.ownerReferences: Invalid value: {}: /v1, Kind=Event is disallowed from being an owner", owner("Event", "e", false)),
        ),
        (
            "finalizers",
            json!(["orphan", "mine"]),
            r#"metadata.finalizers[1]: Invalid value: "mine": name is neither a standard finalizer name nor is it fully qualified"#.to_owned(),
        ),
        (
            "finalizers",
            json!(["orphan", "foregroundDeletion"]),
            r#"metadata.finalizers: Invalid value: ["orphan","foregroundDeletion"]: finalizer orphan and foregroundDeletion cannot be both set"#.to_owned(),
        ),
    ] {
        let text = api.post(MAPS, &with(&config_map("a", "1"), field, value)).await.refused(422);
        assert_eq!(text, format!(r#"ConfigMap "a" is invalid: {want}"#));
    }
}

#[tokio::test]
async fn owners_that_are_named_twice_count_once_and_are_warned_of() {
    let api = Api::start().await;
    let owner = |uid: &str| json!({ "apiVersion": "v1", "kind": "Pod", "name": "p", "uid": uid });
    let twice = json!([owner("u"), owner("v"), owner("u"), owner("v")]);
    let text = |when: &str| {
        format!(
            "299 - \".metadata.ownerReferences contains duplicate entries{when}; API server dedups owner references in \
             1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) \
             observed: u, v\""
        )
    };
    let object = with(&config_map("a", "1"), "ownerReferences", twice.clone());
    let patch = json!({ "metadata": { "ownerReferences": twice } });
    let one = format!("{MAPS}/a");
    for (answer, when) in [
        (api.post(MAPS, &object).await, ""),
        (api.put(&one, &object).await, ""),
        (api.merge(&one, &patch).await, " after mutating admission happens"),
    ] {
        assert_eq!(answer.headers["warning"], text(when));
        let kept = &answer.json()["metadata"]["ownerReferences"];
        assert_eq!(*kept, json!([owner("u"), owner("v")]));
    }
}
