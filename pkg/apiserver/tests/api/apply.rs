//! Server-side apply, and who owns what after every kind of write.

use apimachinery::UserInfo;
use apimachinery::meta::ObjectExt as _;
use serde_json::{Map, Value, json};

use super::support::{Answer, Api, MAPS, config_map};

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

impl Api {
    async fn apply(&self, path: &str, query: &str, body: &Value) -> Answer {
        self.apply_text(path, query, body.to_string()).await
    }

    async fn apply_text(&self, path: &str, query: &str, body: impl Into<bytes::Bytes>) -> Answer {
        self.send_bytes("PATCH", &format!("{path}?{query}"), "application/apply-patch+yaml", body).await
    }

    async fn read(&self, path: &str) -> Value {
        self.get(path).await.expect(200)
    }
}

/// `manager Operation[ subresource]` of each entry, with its fields.
fn owners(object: &Value) -> Value {
    let entries = object.array_at("metadata/managedFields").iter().map(|entry| {
        let mut name = format!("{} {}", entry.str_at("manager"), entry.str_at("operation"));
        if !entry.str_at("subresource").is_empty() {
            name += &format!(" {}", entry.str_at("subresource"));
        }
        (name, entry["fieldsV1"].clone())
    });
    Value::Object(entries.collect::<Map<_, _>>())
}

fn deployment(replicas: impl Into<Value>) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web", "labels": { "app": "web" } },
        "spec": {
            "replicas": replicas.into(),
            "selector": { "matchLabels": { "app": "web" } },
            "template": {
                "metadata": { "labels": { "app": "web" } },
                "spec": { "containers": [{ "name": "web", "image": "web:1" }] },
            },
        },
    })
}

#[tokio::test]
async fn an_apply_creates_what_is_not_there() {
    let api = Api::start().await;
    let path = format!("{MAPS}/m");
    let made = api.apply(&path, "fieldManager=a", &config_map("m", "v")).await.expect(201);
    assert_eq!(made.namespace(), "default");
    assert_eq!(owners(&made), json!({ "a Apply": { "f:data": { "f:key": {} } } }));
    let entry = &made["metadata"]["managedFields"][0];
    assert_eq!((&entry["apiVersion"], &entry["fieldsType"]), (&json!("v1"), &json!("FieldsV1")));
    assert_eq!(entry["time"], made["metadata"]["creationTimestamp"]);
    assert_eq!(entry.get("subresource"), None);
    // The same again writes nothing.
    let again = api.apply(&path, "fieldManager=a", &config_map("m", "v")).await.expect(200);
    assert_eq!(again, made);
    assert_eq!(api.read(&path).await, made);
}

#[tokio::test]
async fn an_apply_takes_yaml() {
    let api = Api::start().await;
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: m\ndata:\n  key: |\n    v\n";
    let made = api.apply_text(&format!("{MAPS}/m"), "fieldManager=a", text).await.expect(201);
    assert_eq!(made["data"], json!({ "key": "v\n" }));
    let why = api.apply_text(&format!("{MAPS}/n"), "fieldManager=a", "a: [").await.refused(400);
    assert!(why.starts_with("error decoding YAML: "), "{why}");
    let why = api.apply_text(&format!("{MAPS}/n"), "fieldManager=a", "- a").await.refused(400);
    assert!(why.starts_with("error decoding YAML: "), "{why}");
}

#[tokio::test]
async fn an_apply_says_who_applies() {
    let api = Api::start().await;
    let path = format!("{MAPS}/m");
    let answer = api.apply(&path, "", &config_map("m", "v")).await.expect(422);
    assert_eq!(
        (answer.str_at("message"), answer.str_at("reason")),
        (
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
            "Invalid"
        )
    );
    let long = "x".repeat(129);
    let why = api.apply(&path, &format!("fieldManager={long}"), &config_map("m", "v")).await.refused(422);
    assert_eq!(why, "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Too long: may not be more than 128 bytes");
    let why = api.apply(&path, "fieldManager=a%0Ab", &config_map("m", "v")).await.refused(422);
    assert_eq!(
        why,
        "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Invalid value: \"a\\nb\": invalid character U+000A (at \
         position 1)"
    );
    let forced = api.merge(&format!("{path}?force=true"), &json!({})).await.refused(422);
    assert_eq!(
        forced,
        "PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be specified for non-apply patch"
    );
}

#[tokio::test]
async fn conflicts_name_the_manager_and_the_field() {
    let api = Api::start().await;
    let path = format!("{DEPLOYMENTS}/web");
    api.post(&format!("{DEPLOYMENTS}?fieldManager=kubectl-client-side-apply"), &deployment(3)).await.expect(201);
    let status = api.apply(&path, "fieldManager=a", &deployment(5)).await.expect(409);
    assert_eq!(
        status["message"],
        "Apply failed with 1 conflict: conflict with \"kubectl-client-side-apply\" using apps/v1: .spec.replicas"
    );
    assert_eq!(
        (&status["reason"], &status["details"]),
        (
            &json!("Conflict"),
            &json!({ "causes": [{
                "reason": "FieldManagerConflict", "field": ".spec.replicas",
                "message": "conflict with \"kubectl-client-side-apply\" using apps/v1",
            }] })
        )
    );
    let mut other = deployment(5);
    other["spec"]["template"]["spec"]["containers"][0]["image"] = "web:2".into();
    let why = api.apply(&path, "fieldManager=a", &other).await.refused(409);
    assert_eq!(
        why,
        "Apply failed with 2 conflicts: conflicts with \"kubectl-client-side-apply\" using apps/v1:\n- .spec.replicas\n- \
         .spec.template.spec.containers[name=\"web\"].image"
    );
    assert_eq!(api.read(&path).await.i64_at("spec/replicas"), Some(3));

    let forced = api.apply(&path, "fieldManager=a&force=true", &other).await.expect(200);
    assert_eq!((forced.i64_at("spec/replicas"), forced.generation()), (Some(5), 2));
    let fields = &owners(&forced)["kubectl-client-side-apply Update"]["f:spec"];
    assert_eq!(fields.get("f:replicas"), None);
    // An update takes the field back without asking, and the next apply hears of it.
    api.merge(&format!("{path}?fieldManager=scaler"), &json!({ "spec": { "replicas": 7 } })).await.expect(200);
    let why = api.apply(&path, "fieldManager=a", &other).await.refused(409);
    assert_eq!(why, "Apply failed with 1 conflict: conflict with \"scaler\" using apps/v1: .spec.replicas");
}

#[tokio::test]
async fn what_is_left_out_is_removed() {
    let api = Api::start().await;
    let path = format!("{DEPLOYMENTS}/web");
    let mut first = deployment(3);
    first["spec"]["template"]["spec"]["containers"] = json!([
        { "name": "web", "image": "web:1", "env": [{ "name": "A", "value": "1" }, { "name": "B", "value": "2" }] },
        { "name": "side", "image": "side:1" },
    ]);
    first["spec"]["template"]["spec"]["nodeSelector"] = json!({ "disk": "ssd" });
    api.apply(&path, "fieldManager=a", &first).await.expect(201);
    let mut second = deployment(3);
    second["spec"]["template"]["spec"]["containers"][0]["env"] = json!([{ "name": "B", "value": "2" }]);
    let live = api.apply(&path, "fieldManager=a", &second).await.expect(200);
    let pod = live.at("spec/template/spec").cloned().unwrap_or_default();
    let names: Vec<&str> = pod.array_at("containers").iter().map(|c| c.str_at("name")).collect();
    assert_eq!(names, ["web"]);
    assert_eq!(pod["containers"][0]["env"], json!([{ "name": "B", "value": "2" }]));
    assert_eq!(pod.get("nodeSelector"), None);
    // A field without a default of its own: back to the declared default.
    let mut third = second.clone();
    third["spec"].as_object_mut().map(|spec| spec.remove("replicas"));
    let live = api.apply(&path, "fieldManager=a", &third).await.expect(200);
    assert_eq!(live.i64_at("spec/replicas"), Some(1));
}

#[tokio::test]
async fn configurations_that_do_not_fit_are_refused() {
    let api = Api::start().await;
    let path = format!("{DEPLOYMENTS}/web");
    let with = |change: &dyn Fn(&mut Value)| {
        let mut object = deployment(1);
        change(&mut object);
        object
    };
    let typed = "failed to create typed patch object (/web; apps/v1, Kind=Deployment): ";
    for (object, code, message) in [
        (with(&|o| o["spec"]["huh"] = 1.into()), 500, format!("{typed}.spec.huh: field not declared in schema")),
        (
            with(&|o| o["spec"]["replicas"] = "x".into()),
            500,
            format!("{typed}.spec.replicas: expected numeric (int or float), got string"),
        ),
        (
            with(&|o| o["metadata"]["labels"]["n"] = 5.into()),
            500,
            format!("{typed}.metadata.labels.n: expected string, got &value.valueUnstructured{{Value:5}}"),
        ),
        (
            with(&|o| {
                o["spec"]["template"]["spec"]["containers"][0]["ports"] =
                    json!([{ "containerPort": 80 }, { "containerPort": 80, "protocol": "TCP" }]);
            }),
            500,
            format!(
                "{typed}.spec.template.spec.containers[name=\"web\"].ports: duplicate entries for key \
                 [containerPort=80,protocol=\"TCP\"]"
            ),
        ),
        (
            with(&|o| {
                o["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({ "limits": { "cpu": "x" } });
            }),
            500,
            "failed to convert new object (/web; apps/v1, Kind=Deployment) to proper version: quantities must match the \
             regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
                .to_owned(),
        ),
        (with(&|o| o["kind"] = "Huh".into()), 400, "invalid object type: apps/v1, Kind=Huh".to_owned()),
        (with(&|o| o["apiVersion"] = "v1".into()), 400, "invalid object type: /v1, Kind=Deployment".to_owned()),
        (
            with(&|o| o["metadata"]["managedFields"] = json!([])),
            400,
            "metadata.managedFields must be nil".to_owned(),
        ),
        (
            with(&|o| o["metadata"]["name"] = "other".into()),
            400,
            "the name of the object (other) does not match the name on the URL (web)".to_owned(),
        ),
        (
            with(&|o| o["metadata"]["namespace"] = "other".into()),
            400,
            "the namespace of the provided object does not match the namespace sent on the request".to_owned(),
        ),
    ] {
        let why = api.apply(&path, "fieldManager=a", &object).await.refused(code);
        assert_eq!(why, message);
    }
    api.get(&path).await.refused(404);
}

#[tokio::test]
async fn identity_and_version_are_preconditions() {
    let api = Api::start().await;
    let path = format!("{MAPS}/m");
    let with = |field: &str, value: &str| {
        let mut object = config_map("m", "w");
        object["metadata"][field] = value.into();
        object
    };
    let why = api.apply(&path, "fieldManager=a", &with("uid", "u")).await.refused(409);
    assert_eq!(
        why,
        "Operation cannot be fulfilled on configmaps \"m\": uid mismatch: the provided object specified uid u, and no \
         existing object was found"
    );
    let made = api.apply(&path, "fieldManager=a", &config_map("m", "v")).await.expect(201);
    let why = api.apply(&path, "fieldManager=a", &with("uid", "u")).await.refused(422);
    assert_eq!(why, "ConfigMap \"m\" is invalid: metadata.uid: Invalid value: \"u\": field is immutable");
    let why = api.apply(&path, "fieldManager=a", &with("resourceVersion", "1")).await.refused(409);
    assert!(why.contains("the object has been modified"), "{why}");
    let live = api.apply(&path, "fieldManager=a", &with("resourceVersion", made.resource_version())).await.expect(200);
    assert_eq!(live["data"], json!({ "key": "w" }));
    assert_eq!(owners(&live), json!({ "a Apply": { "f:data": { "f:key": {} } } }));
}

#[tokio::test]
async fn a_dry_run_applies_nothing() {
    let api = Api::start().await;
    let path = format!("{MAPS}/m");
    let made = api.apply(&path, "fieldManager=a&dryRun=All", &config_map("m", "v")).await.expect(201);
    assert_eq!(owners(&made), json!({ "a Apply": { "f:data": { "f:key": {} } } }));
    api.get(&path).await.refused(404);
    let stored = api.apply(&path, "fieldManager=a", &config_map("m", "v")).await.expect(201);
    let tried = api.apply(&path, "fieldManager=b&dryRun=All&force=true", &config_map("m", "w")).await.expect(200);
    assert_eq!(tried["data"], json!({ "key": "w" }));
    api.apply(&path, "fieldManager=b&dryRun=All", &config_map("m", "w")).await.refused(409);
    assert_eq!(api.read(&path).await, stored);
}

#[tokio::test]
async fn keys_that_stand_twice_are_told_of() {
    let api = Api::start().await;
    let path = format!("{MAPS}/m");
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: {key: a}\ndata: {key: b}\n";
    let why = api.apply_text(&path, "fieldManager=a&fieldValidation=Strict", text).await.refused(400);
    assert_eq!(
        why,
        "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  line 5: key \"data\" already set in map"
    );
    api.get(&path).await.refused(404);
    let answer = api.apply_text(&path, "fieldManager=a", text).await;
    assert_eq!(answer.headers["warning"], "299 - \"line 5: key \\\"data\\\" already set in map\"");
    assert_eq!(answer.expect(201)["data"], json!({ "key": "b" }));
    let answer = api.apply_text(&path, "fieldManager=a&fieldValidation=Ignore", text).await;
    assert_eq!(answer.headers.get("warning"), None);
    answer.expect(200);
}

#[tokio::test]
async fn a_creator_owns_as_upstream_has_it() {
    let api = Api::start().await;
    let made = api.post(&format!("{DEPLOYMENTS}?fieldManager=kubectl-create"), &deployment(1)).await.expect(201);
    let labels = json!({ "f:labels": { ".": {}, "f:app": {} } });
    let container = json!({
        ".": {}, "f:image": {}, "f:imagePullPolicy": {}, "f:name": {}, "f:resources": {}, "f:terminationMessagePath": {},
        "f:terminationMessagePolicy": {},
    });
    let expected = json!({
        "f:metadata": labels,
        "f:spec": {
            "f:progressDeadlineSeconds": {}, "f:replicas": {}, "f:revisionHistoryLimit": {}, "f:selector": {},
            "f:strategy": { "f:rollingUpdate": { ".": {}, "f:maxSurge": {}, "f:maxUnavailable": {} }, "f:type": {} },
            "f:template": {
                "f:metadata": labels,
                "f:spec": {
                    "f:containers": { "k:{\"name\":\"web\"}": container }, "f:dnsPolicy": {}, "f:restartPolicy": {},
                    "f:schedulerName": {}, "f:securityContext": {}, "f:terminationGracePeriodSeconds": {},
                },
            },
        },
    });
    assert_eq!(owners(&made), json!({ "kubectl-create Update": expected }));

    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p", "labels": { "app": "web" } },
        "spec": { "containers": [{ "name": "web", "image": "web:1" }] },
    });
    let made = api.post("/api/v1/namespaces/default/pods?fieldManager=kubectl-run", &pod).await.expect(201);
    let expected = json!({
        "f:metadata": labels,
        "f:spec": {
            "f:containers": { "k:{\"name\":\"web\"}": container }, "f:dnsPolicy": {}, "f:enableServiceLinks": {},
            "f:restartPolicy": {}, "f:schedulerName": {}, "f:securityContext": {},
            "f:terminationGracePeriodSeconds": {},
        },
    });
    assert_eq!(owners(&made), json!({ "kubectl-run Update": expected }));

    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "s" },
        "spec": { "selector": { "app": "web" }, "ports": [{ "port": 80 }] },
    });
    let made = api.post("/api/v1/namespaces/default/services?fieldManager=kubectl-expose", &service).await.expect(201);
    let port = json!({ ".": {}, "f:port": {}, "f:protocol": {}, "f:targetPort": {} });
    let expected = json!({ "f:spec": {
        "f:internalTrafficPolicy": {}, "f:ports": { ".": {}, "k:{\"port\":80,\"protocol\":\"TCP\"}": port },
        "f:selector": {}, "f:sessionAffinity": {}, "f:type": {},
    } });
    assert_eq!(owners(&made), json!({ "kubectl-expose Update": expected }));
}

#[tokio::test]
async fn every_writer_has_its_entry() {
    let api = Api::start().await;
    let path = format!("{MAPS}/m");
    // Without a name, what the client calls itself before the slash.
    let request = api.request("POST", MAPS).header("content-type", "application/json");
    let request = request.header("user-agent", "kubectl/v1.37.0 (linux/amd64)");
    let made = api.ask(request.body(config_map("m", "v").to_string().into()).unwrap()).await.expect(201);
    assert_eq!(owners(&made), json!({ "kubectl Update": { "f:data": { ".": {}, "f:key": {} } } }));
    let mut changed = made.clone();
    changed["data"]["other"] = "w".into();
    let put = api.put(&format!("{path}?fieldManager=putter"), &changed).await.expect(200);
    assert_eq!(owners(&put)["putter Update"], json!({ "f:data": { "f:other": {} } }));
    api.merge(&format!("{path}?fieldManager=merger"), &json!({ "data": { "m": "1" } })).await.expect(200);
    let patch = json!([{ "op": "add", "path": "/data/j", "value": "1" }]).to_string();
    let json = "application/json-patch+json";
    api.send_bytes("PATCH", &format!("{path}?fieldManager=jason"), json, patch).await.expect(200);
    let patch = json!({ "data": { "s": "1" } }).to_string();
    let strategic = "application/strategic-merge-patch+json";
    let live = api.send_bytes("PATCH", &format!("{path}?fieldManager=strategist"), strategic, patch).await.expect(200);
    assert_eq!(
        owners(&live),
        json!({
            "kubectl Update": { "f:data": { ".": {}, "f:key": {} } },
            "putter Update": { "f:data": { "f:other": {} } },
            "merger Update": { "f:data": { "f:m": {} } },
            "jason Update": { "f:data": { "f:j": {} } },
            "strategist Update": { "f:data": { "f:s": {} } },
        })
    );
    // A write that changes nothing is none, whoever sends it.
    let same = api.merge(&format!("{path}?fieldManager=idle"), &json!({ "data": { "s": "1" } })).await.expect(200);
    assert_eq!(same, live);
    // Deleting a key takes it from its owner.
    let live = api.merge(&path, &json!({ "data": { "m": null } })).await.expect(200);
    assert_eq!(owners(&live).get("merger Update"), None);
}

#[tokio::test]
async fn endpoints_have_entries_of_their_own() {
    let api = Api::start().await;
    let path = format!("{DEPLOYMENTS}/web");
    api.post(&format!("{DEPLOYMENTS}?fieldManager=a"), &deployment(1)).await.expect(201);
    let before = owners(&api.read(&path).await)["a Update"].clone();
    let status = json!({ "status": { "replicas": 1, "conditions": [
        { "type": "Available", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z" },
    ] } });
    let live = api.merge(&format!("{path}/status?fieldManager=loop"), &status).await.expect(200);
    let condition = json!({ ".": {}, "f:lastTransitionTime": {}, "f:status": {}, "f:type": {} });
    assert_eq!(
        owners(&live)["loop Update status"],
        json!({ "f:status": {
            "f:conditions": { ".": {}, "k:{\"type\":\"Available\"}": condition }, "f:replicas": {},
        } })
    );
    assert_eq!(owners(&live)["a Update"], before);
    // A PUT without the status leaves it, and its owner.
    let live = api.put(&format!("{path}?fieldManager=b"), &deployment(2)).await.expect(200);
    assert_eq!(live.i64_at("status/replicas"), Some(1));
    assert!(owners(&live).get("loop Update status").is_some(), "{}", owners(&live));
    assert_eq!(owners(&live)["b Update"], json!({ "f:spec": { "f:replicas": {} } }));
    // Status through apply.
    let config = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" },
        "spec": { "replicas": 9 }, "status": { "readyReplicas": 1 },
    });
    let live = api.apply(&format!("{path}/status"), "fieldManager=c", &config).await.expect(200);
    assert_eq!((live.i64_at("spec/replicas"), live.i64_at("status/readyReplicas")), (Some(2), Some(1)));
    assert_eq!(owners(&live)["c Apply status"], json!({ "f:status": { "f:readyReplicas": {} } }));
    let mut other = config.clone();
    other["status"]["readyReplicas"] = 2.into();
    let why = api.apply(&format!("{path}/status"), "fieldManager=d", &other).await.refused(409);
    assert_eq!(
        why,
        "Apply failed with 1 conflict: conflict with \"c\" with subresource \"status\": .status.readyReplicas"
    );
    api.apply(&format!("{DEPLOYMENTS}/none/status"), "fieldManager=c", &config).await.refused(404);
}

#[tokio::test]
async fn scaling_moves_the_ownership_of_the_replicas() {
    let api = Api::start().await;
    let path = format!("{DEPLOYMENTS}/web");
    api.apply(&path, "fieldManager=a", &deployment(1)).await.expect(201);
    let scale = |replicas: i64| json!({ "spec": { "replicas": replicas } });
    api.merge(&format!("{path}/scale?fieldManager=scaler"), &scale(3)).await.expect(200);
    let live = api.read(&path).await;
    assert_eq!(owners(&live)["scaler Update scale"], json!({ "f:spec": { "f:replicas": {} } }));
    assert_eq!(owners(&live)["a Apply"]["f:spec"].get("f:replicas"), None);
    let entries = live.array_at("metadata/managedFields");
    assert!(entries.iter().all(|entry| entry.api_version() == "apps/v1"), "{entries:?}");
    // Again, by the same: one entry, and no write for nothing.
    api.merge(&format!("{path}/scale?fieldManager=scaler"), &scale(4)).await.expect(200);
    let live = api.read(&path).await;
    assert_eq!(live.array_at("metadata/managedFields").len(), 2);
    api.merge(&format!("{path}/scale?fieldManager=idle"), &scale(4)).await.expect(200);
    assert_eq!(api.read(&path).await, live);
    let why = api.apply(&path, "fieldManager=a", &deployment(1)).await.refused(409);
    assert_eq!(
        why,
        "Apply failed with 1 conflict: conflict with \"scaler\" with subresource \"scale\" using apps/v1: .spec.replicas"
    );
    // Through apply: a conflict, and by force.
    let config = json!({
        "apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": { "name": "web", "namespace": "default" },
        "spec": { "replicas": 6 },
    });
    let why = api.apply(&format!("{path}/scale"), "fieldManager=b", &config).await.refused(409);
    assert_eq!(
        why,
        "Apply failed with 1 conflict: conflict with \"scaler\" with subresource \"scale\" using autoscaling/v1: \
         .spec.replicas"
    );
    let scaled = api.apply(&format!("{path}/scale"), "fieldManager=b&force=true", &config).await.expect(200);
    assert_eq!((scaled.kind(), scaled.i64_at("spec/replicas")), ("Scale", Some(6)));
    assert_eq!(scaled.at("metadata/managedFields"), None);
    let live = api.read(&path).await;
    assert_eq!(live.i64_at("spec/replicas"), Some(6));
    assert_eq!(owners(&live)["b Apply scale"], json!({ "f:spec": { "f:replicas": {} } }));
    assert_eq!(owners(&live).get("scaler Update scale"), None);
}

#[tokio::test]
async fn the_list_can_be_reset() {
    let api = Api::start().await;
    let path = format!("{MAPS}/m");
    for reset in [json!([]), json!([{}])] {
        api.apply(&path, "fieldManager=a", &config_map("m", "v")).await;
        let live = api.merge(&path, &json!({ "metadata": { "managedFields": reset } })).await.expect(200);
        assert_eq!(live.at("metadata/managedFields"), None);
        // Updates are not tracked until somebody applies.
        let live = api.merge(&format!("{path}?fieldManager=u"), &json!({ "data": { "x": "1" } })).await.expect(200);
        assert_eq!(live.at("metadata/managedFields"), None);
        let why = api.apply(&path, "fieldManager=a", &config_map("m", "w")).await.refused(409);
        assert_eq!(why, "Apply failed with 1 conflict: conflict with \"before-first-apply\" using v1: .data.key");
        api.delete(&path).await.expect(200);
    }
    // A PUT of an old copy keeps the list, one that nobody can read is not taken.
    let made = api.post(&format!("{MAPS}?fieldManager=a"), &config_map("m", "v")).await.expect(201);
    for list in [json!(null), json!([{ "manager": "x", "operation": "Huh" }])] {
        let mut object = config_map("m", "v");
        object["metadata"]["managedFields"] = list;
        assert_eq!(api.put(&path, &object).await.expect(200), made);
    }
}

#[tokio::test]
async fn versions_of_one_kind_share_their_owners() {
    let api = Api::start().await;
    let (v1, v2) = ("/apis/autoscaling/v1", "/apis/autoscaling/v2");
    let place = "namespaces/default/horizontalpodautoscalers";
    let target = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" });
    let old = |percent: i64| {
        json!({
            "apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": { "name": "h" },
            "spec": { "scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 3,
                "targetCPUUtilizationPercentage": percent },
        })
    };
    let made = api.apply(&format!("{v1}/{place}/h"), "fieldManager=a", &old(50)).await.expect(201);
    let fields = json!({ "f:spec": {
        "f:maxReplicas": {}, "f:minReplicas": {}, "f:scaleTargetRef": {}, "f:targetCPUUtilizationPercentage": {},
    } });
    assert_eq!((&owners(&made)["a Apply"], made.api_version()), (&fields, "autoscaling/v1"));
    let new = |replicas: i64| {
        json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": { "name": "h" },
            "spec": { "scaleTargetRef": target, "maxReplicas": replicas },
        })
    };
    let path = format!("{v2}/{place}/h");
    let why = api.apply(&path, "fieldManager=b", &new(5)).await.refused(409);
    assert_eq!(why, "Apply failed with 1 conflict: conflict with \"a\": .spec.maxReplicas");
    let live = api.apply(&path, "fieldManager=b", &new(3)).await.expect(200);
    let entries = live.array_at("metadata/managedFields");
    let versions: Vec<(&str, &str)> = entries.iter().map(|e| (e.str_at("manager"), e.api_version())).collect();
    assert_eq!(versions, [("a", "autoscaling/v1"), ("b", "autoscaling/v2")]);
    // What the one removes in its version is gone in the other.
    let mut less = old(50);
    less["spec"].as_object_mut().map(|spec| spec.remove("targetCPUUtilizationPercentage"));
    api.apply(&format!("{v1}/{place}/h"), "fieldManager=a", &less).await.expect(200);
    let live = api.read(&format!("{v1}/{place}/h")).await;
    assert_ne!(live.i64_at("spec/targetCPUUtilizationPercentage"), Some(50));
}

#[tokio::test]
async fn who_may_patch_may_not_therefore_create() {
    let api = Api::start().await;
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": { "name": "patcher" },
        "rules": [{ "apiGroups": [""], "resources": ["configmaps"], "verbs": ["patch"] }],
    });
    api.post("/apis/rbac.authorization.k8s.io/v1/clusterroles", &role).await.expect(201);
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": { "name": "patcher" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "patcher" },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "bob" }],
    });
    api.post("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", &binding).await.expect(201);
    let bob = api.as_user(UserInfo::new("bob", ["system:authenticated"]));
    let path = format!("{MAPS}/m");
    let deadline = std::time::Instant::now() + super::support::PATIENCE;
    let why = loop {
        // Permissions come to the authorizer by a watch.
        let why = bob.apply(&path, "fieldManager=a", &config_map("m", "v")).await.refused(403);
        if why.contains("cannot create") {
            break why;
        }
        assert!(std::time::Instant::now() < deadline, "{why}");
        tokio::task::yield_now().await;
    };
    assert_eq!(
        why,
        "configmaps \"m\" is forbidden: User \"bob\" cannot create resource \"configmaps\" in API group \"\" in the \
         namespace \"default\""
    );
    api.get(&path).await.refused(404);
    api.apply(&path, "fieldManager=a", &config_map("m", "v")).await.expect(201);
    bob.apply(&path, "fieldManager=a", &config_map("m", "w")).await.expect(200);
}

#[tokio::test]
async fn kubectl_moves_from_client_side_apply() {
    let api = Api::start().await;
    let path = format!("{DEPLOYMENTS}/web");
    let annotation = "kubectl.kubernetes.io/last-applied-configuration";
    let mut object = deployment(3);
    object["metadata"]["annotations"] = json!({ annotation: deployment(3).to_string() + "\n" });
    api.post(&format!("{DEPLOYMENTS}?fieldManager=kubectl-client-side-apply"), &object).await.expect(201);
    let live = api.apply(&path, "fieldManager=kubectl", &deployment(5)).await.expect(200);
    assert_eq!(live.i64_at("spec/replicas"), Some(5));
    let kept = live["metadata"]["annotations"][annotation].as_str().unwrap_or_default();
    assert_eq!(kept, deployment(5).to_string() + "\n");
    // And back.
    let patch = json!({ "spec": { "replicas": 6 } });
    api.merge(&format!("{path}?fieldManager=kubectl-client-side-apply"), &patch).await.expect(200);
    let live = api.apply(&path, "fieldManager=kubectl&force=true", &deployment(7)).await.expect(200);
    assert_eq!(live.i64_at("spec/replicas"), Some(7));
}

#[tokio::test]
async fn endpoints_for_parts_own_those_parts() {
    let api = Api::start().await;
    let pods = "/api/v1/namespaces/default/pods";
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p" },
        "spec": { "containers": [{ "name": "web", "image": "web:1", "resources": { "requests": { "cpu": "1" } } }] },
    });
    api.post(&format!("{pods}?fieldManager=a"), &pod).await.expect(201);
    let strategic = |path: &str, query: &str, patch: Value| {
        let (path, body) = (format!("{pods}/p/{path}?fieldManager={query}"), patch.to_string());
        let api = &api;
        async move { api.send_bytes("PATCH", &path, "application/strategic-merge-patch+json", body).await }
    };
    let patch = json!({ "spec": { "ephemeralContainers": [{ "name": "debug", "image": "debug:1" }] } });
    let live = strategic("ephemeralcontainers", "kubectl-debug", patch).await.expect(200);
    let fields = &owners(&live)["kubectl-debug Update ephemeralcontainers"]["f:spec"]["f:ephemeralContainers"];
    assert_eq!(fields["k:{\"name\":\"debug\"}"]["f:image"], json!({}), "{}", owners(&live));
    let patch = json!({ "spec": { "containers": [{ "name": "web", "resources": { "requests": { "cpu": "2" } } }] } });
    let live = strategic("resize", "scaler", patch).await.expect(200);
    assert_eq!(
        owners(&live)["scaler Update resize"],
        json!({ "f:spec": { "f:containers": { "k:{\"name\":\"web\"}": {
            "f:resources": { "f:requests": { "f:cpu": {} } },
        } } } })
    );
    let mine = &owners(&live)["a Update"]["f:spec"]["f:containers"]["k:{\"name\":\"web\"}"]["f:resources"];
    assert_eq!(mine, &json!({ ".": {}, "f:requests": {} }));
}

#[tokio::test]
async fn both_views_of_an_event_know_its_owner() {
    let api = Api::start().await;
    let event = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": { "name": "e" }, "reason": "Tried", "note": "once",
        "type": "Normal", "regarding": { "kind": "Pod", "name": "p", "namespace": "default" }, "action": "Try",
        "reportingController": "example.com/tester", "reportingInstance": "one",
        "eventTime": "2026-01-01T00:00:00.000000Z",
    });
    let made = api.post("/apis/events.k8s.io/v1/namespaces/default/events?fieldManager=a", &event).await.expect(201);
    let fields = json!({
        "f:action": {}, "f:eventTime": {}, "f:note": {}, "f:reason": {}, "f:regarding": {}, "f:reportingController": {},
        "f:reportingInstance": {}, "f:type": {},
    });
    assert_eq!(owners(&made), json!({ "a Update": fields }));
    let series = json!({ "series": { "count": 2, "lastObservedTime": "2026-01-01T00:00:01.000000Z" } });
    let path = "/api/v1/namespaces/default/events/e";
    let live = api.merge(&format!("{path}?fieldManager=b"), &series).await.expect(200);
    let entries = live.array_at("metadata/managedFields");
    let versions: Vec<(&str, &str)> = entries.iter().map(|e| (e.str_at("manager"), e.api_version())).collect();
    assert_eq!(versions, [("a", "events.k8s.io/v1"), ("b", "v1")]);
    assert_eq!(owners(&live)["b Update"], json!({ "f:series": { ".": {}, "f:count": {}, "f:lastObservedTime": {} } }));
    // What the other view takes away, it takes from this one's owner.
    let patch = json!({ "series": { "count": 3 } });
    let path = "/apis/events.k8s.io/v1/namespaces/default/events/e";
    let live = api.merge(&format!("{path}?fieldManager=c"), &patch).await.expect(200);
    assert_eq!(owners(&live)["c Update"], json!({ "f:series": { "f:count": {} } }));
    assert_eq!(owners(&live)["b Update"], json!({ "f:series": { ".": {}, "f:lastObservedTime": {} } }));
}

#[tokio::test]
async fn roles_are_applied_with_the_rights_that_one_holds() {
    let api = Api::start().await;
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let role = |name: &str, resource: &str, verbs: &[&str]| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": { "name": name },
            "rules": [{ "apiGroups": ["", "rbac.authorization.k8s.io"], "resources": [resource], "verbs": verbs }],
        })
    };
    let rights = role("writer", "clusterroles", &["patch", "create"]);
    api.post(&format!("{rbac}/clusterroles"), &rights).await.expect(201);
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": { "name": "writer" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "writer" },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "bob" }],
    });
    api.post(&format!("{rbac}/clusterrolebindings"), &binding).await.expect(201);
    let bob = api.as_user(UserInfo::new("bob", ["system:authenticated"]));
    let path = format!("{rbac}/clusterroles/mine");
    let deadline = std::time::Instant::now() + super::support::PATIENCE;
    loop {
        let answer = bob.apply(&path, "fieldManager=a", &role("mine", "clusterroles", &["patch"])).await;
        if answer.code == 201 {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{answer:?}");
        tokio::task::yield_now().await;
    }
    let why = bob.apply(&path, "fieldManager=a", &role("mine", "secrets", &["get"])).await.refused(403);
    assert!(why.contains("is attempting to grant RBAC permissions not currently held"), "{why}");
}

#[tokio::test]
async fn owners_are_forgotten_before_an_object_is_refused_for_its_size() {
    let api = Api::start().await;
    // Many short keys: the list of owners is larger than the data.
    let keys =
        |count: usize| -> Value { (0..count).map(|i| (format!("key-{i}"), json!("v"))).collect::<Map<_, _>>().into() };
    let map = |count: usize| json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "m" }, "data": keys(count) });
    let made = api.post(MAPS, &map(60_000)).await.expect(201);
    assert_eq!(made.at("metadata/managedFields"), None);
    api.delete(&format!("{MAPS}/m")).await.expect(200);
    let made = api.post(MAPS, &map(100)).await.expect(201);
    assert!(made.at("metadata/managedFields").is_some());
    let live = api.put(&format!("{MAPS}/m"), &map(60_000)).await.expect(200);
    assert_eq!((live.at("metadata/managedFields"), live["data"].as_object().map(Map::len)), (None, Some(60_000)));
    let mut config = map(60_000);
    config["metadata"]["name"] = "n".into();
    api.apply(&format!("{MAPS}/n"), "fieldManager=a", &config).await.refused(413);
}

#[tokio::test]
async fn members_that_json_patch_does_not_have_are_told_of() {
    let api = Api::start().await;
    api.post(MAPS, &config_map("m", "v")).await.expect(201);
    let path = format!("{MAPS}/m");
    let kind = "application/json-patch+json";
    let patch = r#"[{"op":"replace","path":"/data/key","path":"/data/key","value":"w","huh":1}]"#;
    let answer = api.send_bytes("PATCH", &path, kind, patch).await;
    let warnings: Vec<&str> = answer.headers.get_all("warning").iter().map(|w| w.to_str().unwrap()).collect();
    assert_eq!(
        warnings,
        ["299 - \"json patch unknown field \\\"[0].huh\\\"\"", "299 - \"json patch duplicate field \\\"[0].path\\\"\"",]
    );
    assert_eq!(answer.expect(200)["data"], json!({ "key": "w" }));
    let why = api.send_bytes("PATCH", &format!("{path}?fieldValidation=Strict"), kind, patch).await.refused(422);
    let text = "strict decoding error: json patch unknown field \"[0].huh\", json patch duplicate field \"[0].path\"";
    assert!(why.ends_with(text), "{why}");
    let answer = api.send_bytes("PATCH", &format!("{path}?fieldValidation=Ignore"), kind, patch).await;
    assert_eq!(answer.headers.get("warning"), None);
    answer.expect(200);
}
