//! Pods: binding, eviction, graceful deletion; scale and status of what makes them.

use apimachinery::meta::ObjectExt as _;
use serde_json::{Value, json};

use crate::samples::{collection, kinds, sample};
use crate::support::{Api, parsed_at_rest};

const PODS: &str = "/api/v1/namespaces/default/pods";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "labels": { "app": "x" } },
        "spec": { "containers": [{ "name": "c", "image": "example/app:1" }] },
    })
}

fn binding(pod: &str, node: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Binding", "metadata": { "name": pod },
        "target": { "kind": "Node", "name": node },
    })
}

#[tokio::test]
async fn what_every_pod_is_checked_against_is_parsed_once_and_never_old() {
    const CLASSES: &str = "/apis/scheduling.k8s.io/v1/priorityclasses";
    let class = |name: &str, value: i64, default: bool| {
        json!({ "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": { "name": name },
                "value": value, "globalDefault": default })
    };
    let api = Api::start().await;
    api.post(CLASSES, &class("low", 1, false)).await.expect(201);
    let priority = async |name: &str| api.post(PODS, &pod(name)).await.expect(201)["spec"]["priority"].clone();
    assert_eq!(priority("first").await, 0);
    let before = parsed_at_rest().await;
    assert_eq!(priority("second").await, 0);
    assert_eq!(parsed_at_rest().await, before, "nothing, not even for the graph of the node authorizer");
    api.post(CLASSES, &class("usual", 7, true)).await.expect(201);
    assert_eq!(priority("third").await, 7);
    api.merge(&format!("{CLASSES}/usual"), &json!({ "globalDefault": false })).await.expect(200);
    assert_eq!(priority("fourth").await, 0);
}

#[tokio::test]
async fn a_pod_is_bound_once_and_deleted_gracefully() {
    let api = Api::start().await;
    let created = api.post(PODS, &pod("p")).await.expect(201);
    assert_eq!(created["status"]["phase"], "Pending");
    assert_eq!(created["spec"]["terminationGracePeriodSeconds"], 30);
    let bound = api.post(&format!("{PODS}/p/binding"), &binding("p", "n1")).await.expect(201);
    assert_eq!(bound["status"], "Success");
    let read = api.get(&format!("{PODS}/p")).await.expect(200);
    assert_eq!(read["spec"]["nodeName"], "n1");
    assert!(read.array_at("status/conditions").iter().any(|c| c["type"] == "PodScheduled" && c["status"] == "True"));
    let again = api.post(&format!("{PODS}/p/binding"), &binding("p", "n2")).await.refused(409);
    let text = r#"Operation cannot be fulfilled on pods/binding "p": pod p is already assigned to node "n1""#;
    assert_eq!(again, text);
    let selected = api.get(&format!("{PODS}?fieldSelector=spec.nodeName%3Dn1")).await.expect(200);
    assert_eq!(selected["items"].as_array().unwrap().len(), 1);

    let marked = api.delete(&format!("{PODS}/p")).await.expect(200);
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 30);
    assert!(marked.is_deleting());
    let shorter = api.delete(&format!("{PODS}/p?gracePeriodSeconds=5")).await.expect(200);
    assert_eq!(shorter["metadata"]["deletionGracePeriodSeconds"], 5);
    assert!(shorter.meta_str("deletionTimestamp") < marked.meta_str("deletionTimestamp"));
    let longer = api.delete(&format!("{PODS}/p?gracePeriodSeconds=60")).await.expect(200);
    assert_eq!(longer["metadata"]["deletionGracePeriodSeconds"], 5);
    api.delete(&format!("{PODS}/p?gracePeriodSeconds=0")).await.expect(200);
    assert_eq!(api.get(&format!("{PODS}/p")).await.code, 404);
    // A pod that nobody runs needs no grace.
    api.post(PODS, &pod("q")).await.expect(201);
    api.delete(&format!("{PODS}/q")).await.expect(200);
    assert_eq!(api.get(&format!("{PODS}/q")).await.code, 404);
}

#[tokio::test]
async fn eviction_asks_the_disruption_budget() {
    let api = Api::start().await;
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    let budget = json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": { "name": "b" },
        "spec": { "minAvailable": 1, "selector": { "matchLabels": { "app": "x" } } },
    });
    api.post(budgets, &budget).await.expect(201);
    for name in ["p", "q"] {
        api.post(PODS, &pod(name)).await.expect(201);
        api.post(&format!("{PODS}/{name}/binding"), &binding(name, "n1")).await.expect(201);
        let ready = json!({ "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] } });
        api.merge(&format!("{PODS}/{name}/status"), &ready).await.expect(200);
    }
    let evict = |name: &'static str| {
        let body = json!({ "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": name } });
        let api = &api;
        async move { api.post(&format!("{PODS}/{name}/eviction"), &body).await }
    };
    let refused = evict("p").await.expect(429);
    assert_eq!(refused["message"], "Cannot evict pod as it would violate the pod's disruption budget.");
    assert_eq!(refused["details"]["causes"][0]["reason"], "DisruptionBudget");
    let status = json!({ "status": {
        "observedGeneration": 1, "disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2,
    } });
    api.merge(&format!("{budgets}/b/status"), &status).await.expect(200);
    evict("p").await.expect(201);
    let gone = api.get(&format!("{PODS}/p")).await.expect(200);
    assert!(gone.is_deleting());
    assert!(gone.array_at("status/conditions").iter().any(|c| c["reason"] == "EvictionByEvictionAPI"));
    let budget = api.get(&format!("{budgets}/b")).await.expect(200);
    assert_eq!(budget["status"]["disruptionsAllowed"], 0);
    assert!(budget["status"]["disruptedPods"]["p"].is_string());
    assert_eq!(evict("q").await.code, 429);
}

#[tokio::test]
async fn scale_and_status_have_endpoints_of_their_own() {
    let api = Api::start().await;
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "d" },
        "spec": {
            "replicas": 2, "selector": { "matchLabels": { "app": "x" } },
            "template": {
                "metadata": { "labels": { "app": "x" } },
                "spec": { "containers": [{ "name": "c", "image": "example/app:1" }] },
            },
        },
        "status": { "replicas": 9 },
    });
    let created = api.post(DEPLOYMENTS, &deployment).await.expect(201);
    assert_eq!(created["metadata"]["generation"], 1);
    assert_eq!(created["status"].get("replicas"), None);
    let path = format!("{DEPLOYMENTS}/d");
    let scale = api.get(&format!("{path}/scale")).await.expect(200);
    assert_eq!((&scale["kind"], &scale["spec"]["replicas"]), (&json!("Scale"), &json!(2)));
    assert_eq!(scale["status"]["selector"], "app=x");
    let scaled = api.merge(&format!("{path}/scale"), &json!({ "spec": { "replicas": 5 } })).await.expect(200);
    assert_eq!(scaled["spec"]["replicas"], 5);
    let read = api.get(&path).await.expect(200);
    assert_eq!((&read["spec"]["replicas"], &read["metadata"]["generation"]), (&json!(5), &json!(2)));
    assert_eq!(api.put(&format!("{path}/scale"), &scale).await.code, 409);

    let status = json!({
        "metadata": { "labels": { "a": "b" }, "annotations": { "a": "b" } },
        "spec": { "replicas": 7 }, "status": { "replicas": 5, "observedGeneration": 2 },
    });
    let updated = api.merge(&format!("{path}/status"), &status).await.expect(200);
    assert_eq!((&updated["spec"]["replicas"], &updated["status"]["replicas"]), (&json!(5), &json!(5)));
    assert_eq!(updated["metadata"]["generation"], 2);
    let metadata = &updated["metadata"];
    assert_eq!(
        (metadata.get("labels"), &metadata["annotations"]["a"]),
        (None, &json!("b")),
        "a Deployment's labels stay"
    );
    let spec = api.merge(&path, &json!({ "status": { "replicas": 1 }, "spec": { "paused": true } })).await.expect(200);
    assert_eq!((&spec["status"]["replicas"], &spec["metadata"]["generation"]), (&json!(5), &json!(3)));
}

#[tokio::test]
async fn the_last_eviction_that_a_budget_allows_says_so_in_its_status() {
    let api = Api::start().await;
    let rows: Vec<_> = kinds().filter(|row| ["nodes", "pods", "poddisruptionbudgets"].contains(&row.plural)).collect();
    for row in &rows {
        api.post(&collection(row), &sample(&api, row)).await.expect(201);
    }
    let pod = "/api/v1/namespaces/default/pods/sample";
    let budget = "/apis/policy/v1/namespaces/default/poddisruptionbudgets/sample";
    let running = json!({ "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] } });
    api.merge(&format!("{pod}/status"), &running).await.expect(200);
    let allowed = |count: i64| {
        json!({ "status": {
            "disruptionsAllowed": count, "observedGeneration": 1, "currentHealthy": 2, "desiredHealthy": 1,
            "expectedPods": 2,
        } })
    };
    let eviction = json!({ "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": "sample" } });
    api.merge(&format!("{budget}/status"), &allowed(1)).await.expect(200);
    api.post(&format!("{pod}/eviction"), &eviction).await.expect(201);
    let left = api.get(budget).await.expect(200);
    assert_eq!(left["status"]["disruptionsAllowed"], 0);
    assert!(left["status"]["disruptedPods"]["sample"].is_string(), "{left}");
    let condition = &left["status"]["conditions"][0];
    assert_eq!(
        ["type", "status", "reason"].map(|field| condition[field].as_str().unwrap()),
        ["DisruptionAllowed", "False", "InsufficientPods"]
    );
    let nameless = json!({ "apiVersion": "policy/v1", "kind": "Eviction" });
    let text = api.post(&format!("{pod}/eviction"), &nameless).await.refused(400);
    assert_eq!(text, "name in URL does not match name in Eviction object");
}
