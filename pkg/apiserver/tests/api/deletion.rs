//! Deletion: finalizers, propagation, preconditions, collections.

use apimachinery::meta::ObjectExt as _;
use serde_json::json;

use crate::support::{Api, MAPS, config_map};

#[tokio::test]
async fn finalizers_hold_an_object_back() {
    let api = Api::start().await;
    let path = format!("{MAPS}/a");
    let mut object = config_map("a", "1");
    object["metadata"]["finalizers"] = json!(["example.com/wait"]);
    api.post(MAPS, &object).await.expect(201);
    let marked = api.delete(&path).await.expect(200);
    assert!(marked.is_deleting(), "{marked}");
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 0);
    assert_eq!(api.delete(&path).await.expect(200)["metadata"], marked["metadata"], "again changes nothing");
    let more = json!({ "metadata": { "finalizers": ["example.com/wait", "example.com/more"] } });
    let text = api.merge(&path, &more).await.refused(422);
    assert!(text.contains("no new finalizers can be added if the object is being deleted"), "{text}");
    let text = api.post(MAPS, &config_map("a", "2")).await.refused(409);
    assert_eq!(text, r#"object is being deleted: configmaps "a" already exists"#);
    let last = api.merge(&path, &json!({ "metadata": { "finalizers": null } })).await.expect(200);
    assert!(last.is_deleting());
    assert_eq!(api.get(&path).await.code, 404);
}

#[tokio::test]
async fn propagation_becomes_a_finalizer() {
    let api = Api::start().await;
    for (policy, finalizer) in [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")] {
        let path = format!("{MAPS}/{}", policy.to_lowercase());
        api.post(MAPS, &config_map(&policy.to_lowercase(), "1")).await.expect(201);
        let options = json!({ "kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy });
        let marked = api.send_json("DELETE", &path, &options).await.expect(200);
        assert_eq!(marked.finalizers(), [finalizer]);
        let background = api.delete(&format!("{path}?propagationPolicy=Background")).await.expect(200);
        assert_eq!(background["status"], "Success");
    }
    assert_eq!(api.delete(&format!("{MAPS}/x?propagationPolicy=Sideways")).await.code, 422);
}

#[tokio::test]
async fn preconditions_must_hold() {
    let api = Api::start().await;
    let created = api.post(MAPS, &config_map("a", "1")).await.expect(201);
    let path = format!("{MAPS}/a");
    let wrong = json!({ "preconditions": { "uid": "other" } });
    let text = api.send_json("DELETE", &path, &wrong).await.refused(409);
    let why = format!("the UID in the precondition (other) does not match the UID in record ({})", created.uid());
    let why = format!("{why}. The object might have been deleted and then recreated");
    assert_eq!(text, format!(r#"Operation cannot be fulfilled on ConfigMap "a": {why}"#));
    let wrong = json!({ "preconditions": { "resourceVersion": "1" } });
    assert_eq!(api.send_json("DELETE", &path, &wrong).await.code, 409);
    let right = json!({ "preconditions": { "uid": created.uid(), "resourceVersion": created.resource_version() } });
    assert_eq!(api.send_json("DELETE", &path, &right).await.code, 200);
}

#[tokio::test]
async fn a_collection_is_deleted_by_selector() {
    let api = Api::start().await;
    for (name, keep) in [("a", "no"), ("b", "yes"), ("c", "no")] {
        let mut object = config_map(name, "1");
        object["metadata"]["labels"] = json!({ "keep": keep });
        api.post(MAPS, &object).await.expect(201);
    }
    let gone = api.delete(&format!("{MAPS}?labelSelector=keep%3Dno")).await.expect(200);
    assert_eq!(gone["items"].as_array().unwrap().len(), 2);
    let left = api.get(MAPS).await.expect(200);
    assert_eq!(left["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_namespace_goes_when_it_is_finalized() {
    let api = Api::start().await;
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "gone" } });
    let created = api.post("/api/v1/namespaces", &namespace).await.expect(201);
    assert_eq!(created["spec"]["finalizers"], json!(["kubernetes"]));
    let path = "/api/v1/namespaces/gone";
    let marked = api.delete(path).await.expect(200);
    assert_eq!(marked["status"]["phase"], "Terminating");
    let mut finalized = marked.clone();
    finalized["spec"]["finalizers"] = json!([]);
    api.put(&format!("{path}/finalize"), &finalized).await.expect(200);
    assert_eq!(api.get(path).await.code, 404);
}
