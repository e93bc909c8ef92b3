//! Create, read, update, patch, and the refusals.

use serde_json::json;

use crate::support::{Api, MAPS, config_map};

#[tokio::test]
async fn an_object_is_created_read_updated_and_deleted() {
    let api = Api::start().await;
    let created = api.post(MAPS, &config_map("a", "1")).await.expect(201);
    let metadata = &created["metadata"];
    assert_eq!(metadata["namespace"], "default");
    assert!(metadata["uid"].as_str().is_some_and(|uid| uid.len() == 36), "{metadata}");
    assert!(metadata["creationTimestamp"].as_str().is_some_and(|t| t.ends_with('Z')), "{metadata}");
    let version: u64 = metadata["resourceVersion"].as_str().unwrap().parse().unwrap();

    let path = format!("{MAPS}/a");
    assert_eq!(api.get(&path).await.expect(200), created);
    let refused = api.post(MAPS, &config_map("a", "2")).await.refused(409);
    assert_eq!(refused, r#"configmaps "a" already exists"#);

    let mut changed = created.clone();
    changed["data"]["key"] = "2".into();
    let updated = api.put(&path, &changed).await.expect(200);
    let next: u64 = updated["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    assert!(next > version);
    assert_eq!(updated["metadata"]["uid"], created["metadata"]["uid"]);
    let conflict = api.put(&path, &changed).await.refused(409);
    let text = "the object has been modified; please apply your changes to the latest version and try again";
    assert_eq!(conflict, format!(r#"Operation cannot be fulfilled on configmaps "a": {text}"#));

    // The same again changes nothing, not even the revision.
    assert_eq!(api.put(&path, &updated).await.expect(200), updated);

    let status = api.delete(&path).await.expect(200);
    assert_eq!(status["status"], "Success");
    assert_eq!(status["details"]["uid"], created["metadata"]["uid"]);
    assert_eq!(api.get(&path).await.refused(404), r#"configmaps "a" not found"#);
}

#[tokio::test]
async fn refusals_have_upstreams_codes_and_texts() {
    let api = Api::start().await;
    let mut wrong_namespace = config_map("x", "1");
    wrong_namespace["metadata"]["namespace"] = "other".into();
    let text = "the namespace of the provided object does not match the namespace sent on the request";
    assert_eq!(api.post(MAPS, &wrong_namespace).await.refused(400), text);
    let wrong_kind = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "x" } });
    let text = "Deployment in version \"v1\" cannot be handled as a ConfigMap: converting (v1.Deployment) to \
                (core.ConfigMap): unknown conversion";
    assert_eq!(api.post(MAPS, &wrong_kind).await.refused(400), text);
    let text = api.post(MAPS, &config_map("No Name", "1")).await.refused(422);
    assert!(text.starts_with(r#"ConfigMap "No Name" is invalid: metadata.name: Invalid value: "No Name": "#), "{text}");
    let nameless = json!({ "apiVersion": "v1", "kind": "ConfigMap" });
    let text = r#"ConfigMap "" is invalid: metadata.name: Required value: name or generateName is required"#;
    assert_eq!(api.post(MAPS, &nameless).await.refused(422), text);
    assert_eq!(api.send_bytes("POST", MAPS, "application/vnd.kubernetes.protobuf", "not protobuf").await.code, 400);
    assert_eq!(api.send_bytes("POST", MAPS, "application/json", "{").await.code, 400);
    assert_eq!(api.send_bytes("POST", MAPS, "application/json", vec![b' '; 4 << 20]).await.code, 413);
    assert_eq!(api.get_as(MAPS, "application/cbor").await.code, 406);
    let text = "the server could not find the requested resource";
    for path in ["/api/v1/nonsense", "/api/v2", "/apis/apps/v9/deployments", "/apis/apps/v9", "/api/v1/configmaps/x"] {
        assert_eq!(api.get(path).await.refused(404), text, "{path}");
    }
    for path in ["/apis/none/v1/x", "/apis/none/v1", "/apis/none", "/nope"] {
        let page = api.get(path).await;
        assert_eq!((page.code, &*page.bytes), (404, &b"404 page not found\n"[..]), "{path}");
        assert_eq!(page.headers["content-type"], "text/plain; charset=utf-8");
    }
    let text = "the server does not allow this method on the requested resource";
    assert_eq!(api.post("/api/v1/configmaps", &config_map("x", "1")).await.refused(405), text);
    assert_eq!(api.put("/api/v1/namespaces/default/pods/x/log", &json!({})).await.refused(405), text);
    let text = api.get("/api/v1/namespaces/default/configmaps?fieldSelector=spec.x%3D1").await.refused(400);
    assert_eq!(text, r#""spec.x" is not a known field selector: only "metadata.name", "metadata.namespace""#);
    let apply = api.send_bytes("PATCH", &format!("{MAPS}/x"), "application/apply-patch+yaml", "{}").await;
    let why = "fieldManager: Required value: is required for apply patch";
    assert_eq!(apply.refused(422), format!(r#"PatchOptions.meta.k8s.io "" is invalid: {why}"#));
}

#[tokio::test]
async fn generated_names_are_prefix_and_five_characters() {
    let api = Api::start().await;
    let body = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "generateName": "run-" } });
    let created = api.post(MAPS, &body).await.expect(201);
    let name = created["metadata"]["name"].as_str().unwrap();
    assert!(name.len() == 9 && name.starts_with("run-"), "{name}");
    assert_eq!(created["metadata"]["generateName"], "run-");
}

#[tokio::test]
async fn patches_of_all_kinds_change_what_they_say() {
    let api = Api::start().await;
    api.post(MAPS, &config_map("a", "1")).await.expect(201);
    let path = format!("{MAPS}/a");
    let merged = api.merge(&path, &json!({ "data": { "key": null, "b": "2" } })).await.expect(200);
    assert_eq!(merged["data"], json!({ "b": "2" }));
    let patch = r#"[{"op":"test","path":"/data/b","value":"2"},{"op":"add","path":"/data/c","value":"3"}]"#;
    let patched = api.send_bytes("PATCH", &path, "application/json-patch+json", patch).await.expect(200);
    assert_eq!(patched["data"], json!({ "b": "2", "c": "3" }));
    let failed = r#"[{"op":"test","path":"/data/b","value":"9"}]"#;
    assert_eq!(api.send_bytes("PATCH", &path, "application/json-patch+json", failed).await.code, 422);
    let strategic = "application/strategic-merge-patch+json";
    let labelled = r#"{"metadata":{"labels":{"x":"y"}}}"#;
    let labelled = api.send_bytes("PATCH", &path, strategic, labelled).await.expect(200);
    assert_eq!(labelled["metadata"]["labels"], json!({ "x": "y" }));
    // A patch that names a version conflicts when it is not the current one.
    let stale = json!({ "metadata": { "resourceVersion": "1" }, "data": { "z": "1" } });
    assert_eq!(api.merge(&path, &stale).await.code, 409);
    assert_eq!(api.merge(&format!("{MAPS}/none"), &json!({})).await.refused(404), r#"configmaps "none" not found"#);
    let renamed = json!({ "metadata": { "name": "b" } });
    let text = "the name of the object (b) does not match the name on the URL (a)";
    assert_eq!(api.merge(&path, &renamed).await.refused(400), text);
}

#[tokio::test]
async fn a_patch_that_does_not_fit_its_kind_is_invalid() {
    let api = Api::start().await;
    api.post(MAPS, &config_map("a", "1")).await.expect(201);
    let path = format!("{MAPS}/a");
    let send = |media: &'static str, query: &'static str, patch: &'static str| {
        let (api, path) = (&api, format!("{path}{query}"));
        async move { api.send_bytes("PATCH", &path, media, patch).await }
    };
    let strategic = "application/strategic-merge-patch+json";
    let wrong = send(strategic, "", r#"{"immutable":"yes"}"#).await;
    let text = r#" "" is invalid: patch: Invalid value: "map[immutable:yes]": unrecognized type: bool"#;
    assert_eq!(wrong.refused(422), text);
    let wrong = send("application/merge-patch+json", "", r#"{"immutable":"yes"}"#).await.refused(422);
    assert!(wrong.contains("json: cannot unmarshal string into Go struct field ConfigMap.immutable of type bool"));
    let unknown = send(strategic, "?fieldValidation=Strict", r#"{"datum":1}"#).await;
    let text = r#" "" is invalid: patch: Invalid value: "map[datum:1]": strict decoding error: unknown field "datum""#;
    assert_eq!(unknown.refused(422), text);
}

#[tokio::test]
async fn dry_runs_answer_and_change_nothing() {
    let api = Api::start().await;
    let dry = format!("{MAPS}?dryRun=All");
    let answer = api.post(&dry, &config_map("a", "1")).await.expect(201);
    assert!(answer["metadata"]["uid"].is_string());
    assert_eq!(api.get(&format!("{MAPS}/a")).await.code, 404);
    let created = api.post(MAPS, &config_map("a", "1")).await.expect(201);
    assert_eq!(api.post(&dry, &config_map("a", "1")).await.code, 409);
    let changed = api.merge(&format!("{MAPS}/a?dryRun=All"), &json!({ "data": { "key": "2" } })).await.expect(200);
    assert_eq!(changed["data"]["key"], "2");
    assert_eq!(api.delete(&format!("{MAPS}/a?dryRun=All")).await.code, 200);
    assert_eq!(api.get(&format!("{MAPS}/a")).await.expect(200), created);
    assert_eq!(api.post(&format!("{MAPS}?dryRun=Some"), &config_map("b", "1")).await.code, 422);
}

#[tokio::test]
async fn field_validation_reports_what_a_kind_does_not_have() {
    let api = Api::start().await;
    let body = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"datum":{},"data":{"k":"1","k":"2"}}"#;
    let send = |mode: &'static str| {
        let path = format!("{MAPS}?dryRun=All&fieldValidation={mode}");
        let api = &api;
        async move { api.send_bytes("POST", &path, "application/json", body).await }
    };
    let text = r#"ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: unknown field "datum", duplicate field "data.k""#;
    assert_eq!(send("Strict").await.refused(400), text);
    let warned = send("Warn").await;
    let warnings: Vec<&str> = warned.headers.get_all("warning").iter().map(|v| v.to_str().unwrap()).collect();
    assert_eq!(warnings, [r#"299 - "unknown field \"datum\"""#, r#"299 - "duplicate field \"data.k\"""#]);
    assert_eq!(warned.expect(201)["datum"], json!(null));
    let ignored = send("Ignore").await;
    assert!(ignored.headers.get("warning").is_none());
    assert_eq!(send("Never").await.code, 422);
}

#[tokio::test]
async fn yaml_comes_in_and_goes_out() {
    let api = Api::start().await;
    let body = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  key: \"1\"\n";
    api.send_bytes("POST", MAPS, "application/yaml", body).await.expect(201);
    let answer = api.get_as(&format!("{MAPS}/a"), "application/yaml").await;
    assert_eq!(answer.headers["content-type"], "application/yaml");
    let text = String::from_utf8(answer.bytes.to_vec()).unwrap();
    assert!(text.contains("kind: ConfigMap") && text.contains("key: \"1\""), "{text}");
}

#[tokio::test]
async fn concurrent_patches_lose_nothing_and_updates_conflict() {
    let api = Api::start().await;
    let created = api.post(MAPS, &config_map("a", "1")).await.expect(201);
    let path = format!("{MAPS}/a");
    let patches = (0..20).map(|n| {
        let (api, path) = (&api, &path);
        async move { api.merge(path, &json!({ "data": { format!("k{n}"): "1" } })).await.expect(200) }
    });
    futures::future::join_all(patches).await;
    let after = api.get(&path).await.expect(200);
    assert_eq!(after["data"].as_object().unwrap().len(), 21);
    let updates = (0..5).map(|_| api.put(&path, &after));
    let codes: Vec<u16> = futures::future::join_all(updates).await.iter().map(|answer| answer.code).collect();
    assert_eq!(codes, [200; 5], "the same object changes nothing");
    let mut stale = created;
    stale["data"]["key"] = "2".into();
    assert_eq!(api.put(&path, &stale).await.code, 409);
}

#[tokio::test]
async fn admission_has_its_say() {
    let api = Api::start().await;
    let nowhere = "/api/v1/namespaces/nowhere/configmaps";
    assert_eq!(api.post(nowhere, &config_map("a", "1")).await.refused(404), r#"namespaces "nowhere" not found"#);
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": "q" },
        "spec": { "hard": { "configmaps": "1" } }, "status": { "hard": { "configmaps": "1" }, "used": { "configmaps": "0" } },
    });
    let quotas = "/api/v1/namespaces/default/resourcequotas";
    api.post(quotas, &quota).await.expect(201);
    api.merge(&format!("{quotas}/q/status"), &json!({ "status": quota["status"] })).await.expect(200);
    api.post(MAPS, &config_map("a", "1")).await.expect(201);
    let text = api.post(MAPS, &config_map("b", "1")).await.refused(403);
    let why = "exceeded quota: q, requested: configmaps=1, used: configmaps=1, limited: configmaps=1";
    assert_eq!(text, format!(r#"configmaps "b" is forbidden: {why}"#));
    assert_eq!(api.get(&format!("{quotas}/q")).await.expect(200)["status"]["used"]["configmaps"], "1");
}
