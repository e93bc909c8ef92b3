//! Dry runs: the answer is that of the real call, and nothing has happened.

use std::time::Instant;

use apimachinery::meta::ObjectExt as _;
use serde_json::{Value, json};

use crate::samples::{collection, kinds, sample};
use crate::support::{Answer, Api, MAPS, PATIENCE, config_map};

/// The newest revision.
async fn revision(api: &Api) -> String {
    api.get(&format!("{MAPS}?limit=1")).await.expect(200).resource_version().to_owned()
}

/// What differs from call to call: identity, times, and what is drawn by lot.
fn same(object: Value) -> Value {
    // Jobs select their pods by their own uid.
    let uid = Some(object.uid()).filter(|uid| !uid.is_empty());
    let text = uid.map_or_else(|| object.to_string(), |uid| object.to_string().replace(uid, "uid"));
    let mut object: Value = serde_json::from_str(&text).unwrap();
    let metadata = object.metadata_mut();
    for field in ["uid", "resourceVersion", "creationTimestamp", "deletionTimestamp", "managedFields"] {
        metadata.remove(field);
    }
    if object["kind"] == "Service"
        && let Some(spec) = object["spec"].as_object_mut()
    {
        for field in ["clusterIP", "clusterIPs"] {
            assert!(spec.remove(field).is_some(), "{field}");
        }
        let ports = spec["ports"].as_array_mut().into_iter().flatten();
        ports.for_each(|port| port["nodePort"] = Value::Null);
    }
    object
}

/// Who owns what, without the times.
fn owners(object: &Value) -> Value {
    let mut list = object["metadata"]["managedFields"].clone();
    list.as_array_mut().into_iter().flatten().for_each(|entry| entry["time"] = Value::Null);
    list
}

struct Tried<'a> {
    api: &'a Api,
    method: &'a str,
    path: String,
    kind: &'a str,
    body: String,
}

impl Tried<'_> {
    async fn send(&self, dry_run: bool) -> Answer {
        let path = &self.path;
        let separator = if path.contains('?') { '&' } else { '?' };
        let path = if dry_run { format!("{path}{separator}dryRun=All") } else { path.clone() };
        self.api.send_bytes(self.method, &path, self.kind, self.body.clone()).await
    }

    /// Tries it first, then does it; answers what was done. What is wrong is added to `faults`.
    async fn compare(&self, faults: &mut Vec<String>) -> Value {
        let what = format!("{} {} {}", self.method, self.path, self.kind);
        let before = revision(self.api).await;
        let tried = self.send(true).await;
        if revision(self.api).await != before {
            faults.push(format!("{what}: wrote something"));
        }
        let done = self.send(false).await;
        let codes = (tried.code, done.code);
        let (tried, done) = (tried.json(), done.json());
        if codes.0 != codes.1 || codes.1 >= 300 || owners(&tried) != owners(&done) {
            faults.push(format!("{what}: {codes:?} {tried} {done}"));
        } else {
            let (tried, done) = (same(tried), same(done.clone()));
            faults.extend((tried != done).then(|| format!("{what}: {tried} {done}")));
        }
        done
    }
}

fn tried<'a>(api: &'a Api, method: &'a str, path: &str, kind: &'a str, body: &Value) -> Tried<'a> {
    Tried { api, method, path: path.to_owned(), kind, body: body.to_string() }
}

const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const PATCH: &str = "application/json-patch+json";
const APPLY: &str = "application/apply-patch+yaml";

/// The object when the server itself has written its status, where it does so.
async fn settled(api: &Api, path: &str) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let object = api.get(path).await.expect(200);
        if !path.contains("/flowschemas/") || !object.array_at("status/conditions").is_empty() {
            return object;
        }
        assert!(Instant::now() < deadline, "{object}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn every_verb_of_every_kind_is_tried_without_a_trace() {
    let api = Api::start().await;
    let mut faults = Vec::new();
    for row in kinds() {
        let many = collection(row);
        let object = sample(&api, row);
        let made = tried(&api, "POST", &many, JSON, &object).compare(&mut faults).await;
        let one = format!("{many}/{}", made.name());
        let made = settled(&api, &one).await;
        let labelled = |value: &str| json!({ "metadata": { "labels": { "changed": value } } });
        let mut replaced = made.clone();
        replaced["metadata"]["labels"] = json!({ "changed": "put" });
        tried(&api, "PUT", &one, JSON, &replaced).compare(&mut faults).await;
        tried(&api, "PATCH", &one, MERGE, &labelled("merged")).compare(&mut faults).await;
        tried(&api, "PATCH", &one, STRATEGIC, &labelled("strategic")).compare(&mut faults).await;
        let operations = json!([{ "op": "replace", "path": "/metadata/labels/changed", "value": "json" }]);
        tried(&api, "PATCH", &one, PATCH, &operations).compare(&mut faults).await;
        let mut applied = json!({ "apiVersion": object["apiVersion"], "kind": object["kind"] });
        applied["metadata"] = json!({ "name": made.name(), "annotations": { "example.com/a": "applied" } });
        tried(&api, "PATCH", &format!("{one}?fieldManager=applier"), APPLY, &applied).compare(&mut faults).await;
        let is_part = |name: &str, verbs: apis::resource::Verbs| verbs.contains("patch") && name != "proxy";
        for sub in row.subresources.iter().filter(|sub| is_part(sub.name, sub.verbs)) {
            let path = format!("{one}/{}", sub.name);
            let current = api.get(&path).await.expect(200);
            tried(&api, "PUT", &path, JSON, &current).compare(&mut faults).await;
            tried(&api, "PATCH", &path, MERGE, &json!({})).compare(&mut faults).await;
        }
        if row.verbs.contains("deletecollection") && row.plural != "namespaces" {
            let before = revision(&api).await;
            let listed = api.delete(&format!("{many}?dryRun=All&fieldSelector=metadata.name%3D{}", made.name())).await;
            let listed = listed.json();
            if listed["items"].as_array().map(Vec::len) != Some(1) || revision(&api).await != before {
                faults.push(format!("DELETE {many}: {listed}"));
            }
        }
        tried(&api, "DELETE", &one, JSON, &json!({ "gracePeriodSeconds": 0 })).compare(&mut faults).await;
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[tokio::test]
async fn endpoints_of_pods_and_accounts_are_tried_without_a_trace() {
    let api = Api::start().await;
    let rows: Vec<_> = kinds().filter(|row| ["nodes", "pods", "poddisruptionbudgets"].contains(&row.plural)).collect();
    for row in &rows {
        api.post(&collection(row), &sample(&api, row)).await.expect(201);
    }
    let pod = "/api/v1/namespaces/default/pods/sample";
    let account = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let binding = json!({
        "apiVersion": "v1", "kind": "Binding", "metadata": { "name": "sample" },
        "target": { "kind": "Node", "name": "sample" },
    });
    let before = revision(&api).await;
    api.post(&format!("{pod}/binding?dryRun=All"), &binding).await.expect(201);
    api.post("/api/v1/namespaces/default/bindings?dryRun=All", &binding).await.expect(201);
    let request = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {} });
    let issued = api.post(&format!("{account}?dryRun=All"), &request).await.expect(201);
    assert_eq!(issued["status"]["token"], "", "a token would be good for an hour");
    assert!(issued["status"]["expirationTimestamp"].is_string(), "{issued}");
    assert_eq!(revision(&api).await, before);
    api.post(&format!("{pod}/binding"), &binding).await.expect(201);
    let refused = api.post(&format!("{pod}/binding?dryRun=All"), &binding).await.refused(409);
    assert!(refused.ends_with(r#"pod sample is already assigned to node "sample""#), "{refused}");

    let ready = json!({ "status": {
        "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }],
    } });
    api.merge(&format!("{pod}/status"), &ready).await.expect(200);
    let budget = "/apis/policy/v1/namespaces/default/poddisruptionbudgets/sample";
    let allowed = |count: u32| {
        json!({ "status": {
            "disruptionsAllowed": count, "observedGeneration": 1, "currentHealthy": 1, "desiredHealthy": 1,
            "expectedPods": 1,
        } })
    };
    api.merge(&format!("{budget}/status"), &allowed(1)).await.expect(200);
    let before = revision(&api).await;
    let evict = |options: Value| {
        json!({
            "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": "sample" }, "deleteOptions": options,
        })
    };
    api.post(&format!("{pod}/eviction?dryRun=All"), &evict(json!({}))).await.expect(201);
    api.post(&format!("{pod}/eviction"), &evict(json!({ "dryRun": ["All"] }))).await.expect(201);
    assert_eq!(revision(&api).await, before, "neither the pod nor its budget is touched");
    api.merge(&format!("{budget}/status"), &allowed(0)).await.expect(200);
    api.post(&format!("{pod}/eviction?dryRun=All"), &evict(json!({}))).await.refused(429);
}

#[tokio::test]
async fn a_dry_run_takes_no_address_no_port_and_no_quota() {
    let api = Api::start().await;
    let quotas = "/api/v1/namespaces/default/resourcequotas";
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": "q" },
        "spec": { "hard": { "services": "2", "count/configmaps": "9" } },
    });
    api.post(quotas, &quota).await.expect(201);
    let services = "/api/v1/namespaces/default/services";
    let service = |name: &str| {
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": name },
            "spec": { "type": "NodePort", "clusterIP": "10.43.7.7", "ports": [{ "port": 80, "nodePort": 30777 }] },
        })
    };
    let before = revision(&api).await;
    for name in ["a", "b", "c"] {
        let tried = api.post(&format!("{services}?dryRun=All"), &service(name)).await.expect(201);
        assert_eq!(
            (tried.str_at("spec/clusterIP"), tried["spec"]["ports"][0]["nodePort"].as_i64()),
            ("10.43.7.7", Some(30777))
        );
        api.post(&format!("{MAPS}?dryRun=All"), &config_map(name, "1")).await.expect(201);
    }
    assert_eq!(revision(&api).await, before, "a quota is not even counted for the first time");
    let shown = api.get(&format!("{quotas}/q")).await.expect(200);
    assert_eq!(shown.at("status/used"), None, "{shown}");
    api.post(services, &service("a")).await.expect(201);
    let used = api.get(&format!("{quotas}/q")).await.expect(200);
    assert_eq!(used["status"]["used"]["services"], "2", "with the one that every cluster has");
    let before = revision(&api).await;
    let text = api.post(&format!("{services}?dryRun=All"), &service("b")).await.refused(403);
    assert_eq!(
        text,
        r#"services "b" is forbidden: exceeded quota: q, requested: services=1, used: services=2, limited: services=2"#
    );
    assert_eq!(revision(&api).await, before, "a refusal counts anew without writing it down");
}

#[tokio::test]
async fn refusals_come_before_and_without_dry_run_alike() {
    let api = Api::start().await;
    api.post(MAPS, &config_map("a", "1")).await.expect(201);
    let mut held = config_map("held", "1");
    held["metadata"]["finalizers"] = json!(["example.com/wait"]);
    api.post(MAPS, &held).await.expect(201);
    api.delete(&format!("{MAPS}/held")).await.expect(200);
    let mut stale = config_map("a", "2");
    stale["metadata"]["resourceVersion"] = "1".into();
    let mut unowned = config_map("a", "2");
    unowned["metadata"]["uid"] = "other".into();
    let one = format!("{MAPS}/a");
    for (method, path, body) in [
        ("POST", MAPS, config_map("a", "1")),
        ("POST", MAPS, held.clone()),
        ("POST", MAPS, config_map("A b", "1")),
        ("POST", "/api/v1/namespaces/nowhere/configmaps", config_map("a", "1")),
        ("PUT", &one, stale),
        ("PUT", &one, unowned),
        ("PUT", &one, config_map("b", "1")),
        ("PUT", &format!("{MAPS}/none"), config_map("none", "1")),
        ("DELETE", &one, json!({ "preconditions": { "uid": "other" } })),
        ("DELETE", &format!("{MAPS}/none"), json!({})),
    ] {
        let tried = api.send_json(method, &format!("{path}?dryRun=All"), &body).await;
        let done = api.send_json(method, path, &body).await;
        assert!(done.code >= 400, "{method} {path} {body}: {done:?}");
        assert_eq!((tried.code, tried.json()), (done.code, done.json()), "{method} {path} {body}");
    }
}
