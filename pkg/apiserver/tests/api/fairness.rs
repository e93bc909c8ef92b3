//! API priority and fairness, as clients see it.

use std::time::{Duration, Instant};

use apimachinery::UserInfo;
use apimachinery::meta::ObjectExt as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::network::connect;
use crate::support::{Api, MAPS, PATIENCE};

const GROUP: &str = "/apis/flowcontrol.apiserver.k8s.io/v1";
const AUTO_UPDATE: &str = "apf.kubernetes.io/autoupdate-spec";

/// Asks until the answer is as it should be.
async fn until(api: &Api, path: &str, what: &str, good: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let object = api.get(path).await.json();
        if good(&object) {
            return object;
        }
        assert!(Instant::now() < deadline, "{what}: {object}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn schema_path(name: &str) -> String {
    format!("{GROUP}/flowschemas/{name}")
}

fn level_path(name: &str) -> String {
    format!("{GROUP}/prioritylevelconfigurations/{name}")
}

fn dangling(schema: &Value) -> &str {
    let conditions = schema.array_at("status/conditions");
    conditions.iter().find(|c| c.str_at("type") == "Dangling").map_or("", |c| c.str_at("status"))
}

/// Everything that bob does, on `level`.
fn schema_of_bob(level: &str) -> Value {
    json!({
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema", "metadata": { "name": "bob" },
        "spec": {
            "priorityLevelConfiguration": { "name": level }, "matchingPrecedence": 10,
            "distinguisherMethod": { "type": "ByUser" },
            "rules": [{
                "subjects": [{ "kind": "User", "user": { "name": "bob" } }],
                "resourceRules": [{
                    "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": true,
                }],
                "nonResourceRules": [{ "verbs": ["*"], "nonResourceURLs": ["*"] }],
            }],
        },
    })
}

/// A level of one seat.
fn narrow(response: Value) -> Value {
    json!({
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "PriorityLevelConfiguration",
        "metadata": { "name": "narrow" },
        "spec": { "type": "Limited", "limited": {
            "nominalConcurrencyShares": 0, "lendablePercent": 0, "borrowingLimitPercent": 0, "limitResponse": response,
        } },
    })
}

#[tokio::test]
async fn every_cluster_has_upstreams_levels_and_schemas() {
    let api = Api::start().await;
    let names = |list: &Value| -> Vec<String> {
        list["items"].as_array().unwrap().iter().map(|item| item.name().to_owned()).collect()
    };
    let levels = api.get(&format!("{GROUP}/prioritylevelconfigurations")).await.expect(200);
    let want = [
        "catch-all",
        "exempt",
        "global-default",
        "leader-election",
        "node-high",
        "system",
        "workload-high",
        "workload-low",
    ];
    assert_eq!(names(&levels), want);
    let schemas = api.get(&format!("{GROUP}/flowschemas")).await.expect(200);
    let want = [
        "catch-all",
        "exempt",
        "global-default",
        "kube-controller-manager",
        "kube-scheduler",
        "kube-system-service-accounts",
        "probes",
        "service-accounts",
        "system-leader-election",
        "system-node-high",
        "system-nodes",
    ];
    assert_eq!(names(&schemas), want);
    for item in levels["items"].as_array().unwrap().iter().chain(schemas["items"].as_array().unwrap()) {
        assert_eq!(item["metadata"]["annotations"][AUTO_UPDATE], "true", "{item}");
    }
    for name in want {
        let schema = until(&api, &schema_path(name), "its level is found", |s| dangling(s) == "False").await;
        let condition = &schema["status"]["conditions"][0];
        let level = schema.str_at("spec/priorityLevelConfiguration/name");
        assert_eq!(condition["reason"], "Found");
        assert_eq!(
            condition["message"],
            format!("This FlowSchema references the PriorityLevelConfiguration object named {level:?} and it exists")
        );
    }
}

#[tokio::test]
async fn answers_say_which_schema_and_level_they_were_on() {
    let api = Api::start().await;
    let bob = api.as_user(UserInfo::new("bob", []));
    let node = api.as_user(UserInfo::new("system:node:n", ["system:nodes"]));
    for (who, path, schema, level) in [
        (&api, MAPS, "exempt", "exempt"),
        (&bob, MAPS, "global-default", "global-default"),
        (&bob, "/readyz", "probes", "exempt"),
        (&node, "/api/v1/nodes/n", "system-node-high", "node-high"),
        (&node, "/api/v1/pods", "system-nodes", "system"),
    ] {
        let headers = who.get(path).await.headers;
        let uid = |object: Value| object.uid().to_owned();
        let schema = uid(api.get(&schema_path(schema)).await.expect(200));
        let level = uid(api.get(&level_path(level)).await.expect(200));
        assert_eq!(headers["x-kubernetes-pf-flowschema-uid"], *schema, "{path}");
        assert_eq!(headers["x-kubernetes-pf-prioritylevel-uid"], *level, "{path}");
    }
    assert!(!bob.get(&format!("{MAPS}?timeout=rubbish")).await.headers.contains_key("x-kubernetes-pf-flowschema-uid"));
}

#[tokio::test]
async fn a_schema_without_its_level_says_so_and_is_passed_over() {
    let api = Api::start().await;
    let bob = api.as_user(UserInfo::new("bob", []));
    let created = api.post(&format!("{GROUP}/flowschemas"), &schema_of_bob("narrow")).await.expect(201);
    let schema = until(&api, &schema_path("bob"), "its level is missing", |s| dangling(s) == "True").await;
    let text =
        "This FlowSchema references the PriorityLevelConfiguration object named \"narrow\" but there is no such object";
    assert_eq!(schema["status"]["conditions"][0]["message"], text);
    assert_eq!(schema["status"]["conditions"][0]["reason"], "NotFound");
    let used = |answer: crate::support::Answer| answer.headers["x-kubernetes-pf-flowschema-uid"] == *created.uid();
    assert!(!used(bob.get("/version").await));
    let level = narrow(json!({ "type": "Queue", "queuing": { "queues": 1, "handSize": 1, "queueLengthLimit": 1 } }));
    api.post(&format!("{GROUP}/prioritylevelconfigurations"), &level).await.expect(201);
    until(&api, &schema_path("bob"), "its level is there", |s| dangling(s) == "False").await;
    api.delete(&level_path("narrow")).await.expect(200);
    until(&api, &schema_path("bob"), "its level is gone", |s| dangling(s) == "True").await;
    assert!(!used(bob.get("/version").await));
}

#[tokio::test]
async fn defaults_are_kept_as_their_annotation_says() {
    let api = Api::start().await;
    let shares = |level: &Value| level.i64_at("spec/limited/nominalConcurrencyShares").unwrap_or(0);
    let edit = |shares: i64| json!({ "spec": { "limited": { "nominalConcurrencyShares": shares } } });
    api.merge(&level_path("system"), &edit(7)).await.expect(200);
    until(&api, &level_path("system"), "a kept spec comes back", |level| shares(level) == 30).await;
    let mut mine = edit(7);
    mine["metadata"]["annotations"][AUTO_UPDATE] = "false".into();
    api.merge(&level_path("system"), &mine).await.expect(200);
    // What is looked at after it shows that this one was left alone.
    api.delete(&level_path("node-high")).await.expect(200);
    until(&api, &level_path("node-high"), "a default that was deleted comes back", |level| shares(level) == 40).await;
    assert_eq!(shares(&api.get(&level_path("system")).await.expect(200)), 7);
    let mut old = schema_of_bob("exempt");
    old["metadata"]["annotations"] = json!({ AUTO_UPDATE: "true" });
    api.post(&format!("{GROUP}/flowschemas"), &old).await.expect(201);
    until(&api, &schema_path("bob"), "what another release kept goes", |s| s["code"] == 404).await;
}

/// The status line and headers of an answer.
async fn head(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        let byte = tokio::time::timeout(PATIENCE, stream.read_u8()).await.expect("an answer in time");
        text.push(byte.expect("a head"));
    }
    String::from_utf8(text).unwrap().to_lowercase()
}

#[tokio::test]
async fn who_finds_no_seat_is_told_to_come_back() {
    let api = Api::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = api.server.clone();
    tokio::spawn(async move { server.serve(listener).await });
    // No shares, no seats.
    let level = narrow(json!({ "type": "Reject" }));
    api.post(&format!("{GROUP}/prioritylevelconfigurations"), &level).await.expect(201);
    let schema = api.post(&format!("{GROUP}/flowschemas"), &schema_of_bob("narrow")).await.expect(201);
    until(&api, &schema_path("bob"), "its level is there", |s| dangling(s) == "False").await;
    let ask = async |query: &str| {
        let mut stream = connect(&api, port, b"http/1.1", false).await;
        let request = format!("GET /version{query} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer bob-token\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        head(&mut stream).await
    };
    let refused = ask("").await;
    assert!(refused.starts_with("http/1.1 429 "), "{refused}");
    assert!(refused.contains("retry-after: 1\r\n"), "{refused}");
    assert!(refused.contains(&format!("x-kubernetes-pf-flowschema-uid: {}", schema.uid())), "{refused}");
    // Callers in this process are counted on the same level and never refused.
    assert_eq!(api.as_user(UserInfo::new("bob", [])).get("/version").await.code, 200);
    let queue = json!({ "type": "Queue", "queuing": { "queues": 1, "handSize": 1, "queueLengthLimit": 1 } });
    api.merge(&level_path("narrow"), &json!({ "spec": { "limited": { "limitResponse": queue } } })).await.expect(200);
    // With queues it is waited for, a quarter of the request's time.
    let deadline = Instant::now() + PATIENCE;
    loop {
        let started = Instant::now();
        let late = ask("?timeout=800ms").await;
        assert!(late.starts_with("http/1.1 429 "), "{late}");
        if started.elapsed() >= Duration::from_millis(200) {
            break;
        }
        assert!(Instant::now() < deadline, "the new level is taken up");
    }
    let metrics = String::from_utf8(api.get("/metrics").await.bytes.to_vec()).unwrap();
    for line in [
        r#"apiserver_flowcontrol_rejected_requests_total{priority_level="narrow",flow_schema="bob",reason="concurrency-limit"}"#,
        r#"apiserver_flowcontrol_rejected_requests_total{priority_level="narrow",flow_schema="bob",reason="time-out"}"#,
        r#"apiserver_flowcontrol_dispatched_requests_total{priority_level="exempt",flow_schema="exempt"}"#,
        r#"apiserver_flowcontrol_nominal_limit_seats{priority_level="workload-low"} 245"#,
        r#"apiserver_flowcontrol_current_limit_seats{priority_level="workload-low"}"#,
        r#"apiserver_flowcontrol_current_inqueue_requests{priority_level="narrow",flow_schema="bob"} 0"#,
    ] {
        assert!(metrics.contains(line), "{line}");
    }
}
