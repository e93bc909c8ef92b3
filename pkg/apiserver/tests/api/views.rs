//! Discovery, tables, partial objects, health, OpenAPI.

use serde_json::json;

use crate::support::{Api, MAPS, config_map};

#[tokio::test]
async fn discovery_lists_what_the_rows_say() {
    let api = Api::start().await;
    assert_eq!(api.get("/api").await.expect(200)["versions"], json!(["v1"]));
    let groups = api.get("/apis").await.expect(200);
    let apps = groups["groups"].as_array().unwrap().iter().find(|g| g["name"] == "apps").unwrap();
    assert_eq!(apps["preferredVersion"], json!({ "groupVersion": "apps/v1", "version": "v1" }));
    let list = api.get("/api/v1").await.expect(200);
    let resources = list["resources"].as_array().unwrap();
    let pods = resources.iter().find(|r| r["name"] == "pods").unwrap();
    assert_eq!(
        (&pods["kind"], &pods["namespaced"], &pods["singularName"]),
        (&json!("Pod"), &json!(true), &json!("pod"))
    );
    assert_eq!(pods["shortNames"], json!(["po"]));
    let eviction = resources.iter().find(|r| r["name"] == "pods/eviction").unwrap();
    assert_eq!((&eviction["group"], &eviction["kind"]), (&json!("policy"), &json!("Eviction")));
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    let answer = api.get_as("/apis", accept).await;
    let etag = answer.headers["etag"].clone();
    assert!(answer.headers["content-type"].to_str().unwrap().contains("as=APIGroupDiscoveryList"));
    let aggregated = answer.expect(200);
    let apps = aggregated["items"].as_array().unwrap().iter().find(|g| g["metadata"]["name"] == "apps").unwrap();
    let resources = apps["versions"][0]["resources"].as_array().unwrap();
    let deployments = resources.iter().find(|r| r["resource"] == "deployments").unwrap();
    assert_eq!(deployments["scope"], "Namespaced");
    assert!(deployments["subresources"].as_array().unwrap().iter().any(|s| s["responseKind"]["kind"] == "Scale"));
    let again = api.request("GET", "/apis").header("accept", accept).header("if-none-match", etag);
    assert_eq!(api.ask(again.body(Default::default()).unwrap()).await.code, 304);
    for (group, version) in [("apps", "v1"), ("batch", "v1"), ("rbac.authorization.k8s.io", "v1"), ("policy", "v1")] {
        let list = api.get(&format!("/apis/{group}/{version}")).await.expect(200);
        assert_eq!(list["groupVersion"], format!("{group}/{version}"));
    }
}

#[tokio::test]
async fn tables_and_partial_objects_are_made_on_demand() {
    let api = Api::start().await;
    api.post(MAPS, &config_map("a", "1")).await.expect(201);
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let list = api.get_as(MAPS, table).await.expect(200);
    assert_eq!((&list["kind"], &list["apiVersion"]), (&json!("Table"), &json!("meta.k8s.io/v1")));
    let columns: Vec<&str> =
        list["columnDefinitions"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(columns, ["Name", "Data", "Age"]);
    assert_eq!(list["rows"][0]["cells"][0], "a");
    assert_eq!(list["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let whole = api.get_as(&format!("{MAPS}?includeObject=Object"), table).await.expect(200);
    assert_eq!(whole["rows"][0]["object"]["kind"], "ConfigMap");
    let none = api.get_as(&format!("{MAPS}/a?includeObject=None"), table).await.expect(200);
    assert_eq!(none["rows"][0].get("object"), None);
    let partial = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    let list = api.get_as(MAPS, partial).await.expect(200);
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert_eq!(list["items"][0].get("data"), None);
    let partial = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
    assert_eq!(api.get_as(&format!("{MAPS}/a"), partial).await.expect(200)["kind"], "PartialObjectMetadata");
}

#[tokio::test]
async fn both_views_of_events_are_of_the_same_objects() {
    let api = Api::start().await;
    let event = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": { "name": "e" },
        "eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "x.io/y", "reportingInstance": "z",
        "action": "Do", "reason": "Because", "type": "Normal", "note": "hello",
        "regarding": { "kind": "Pod", "namespace": "default", "name": "p" },
    });
    let created = api.post("/apis/events.k8s.io/v1/namespaces/default/events", &event).await.expect(201);
    assert_eq!((&created["apiVersion"], &created["note"]), (&json!("events.k8s.io/v1"), &json!("hello")));
    let core = api.get("/api/v1/namespaces/default/events/e").await.expect(200);
    assert_eq!((&core["apiVersion"], &core["message"]), (&json!("v1"), &json!("hello")));
    assert_eq!(core["involvedObject"]["name"], "p");
    let list = api.get("/apis/events.k8s.io/v1/events").await.expect(200);
    assert_eq!(list["items"][0]["regarding"]["name"], "p");
    // Each view calls the fields by its own names.
    for (path, field, count) in [
        ("/apis/events.k8s.io/v1/events", "regarding.name%3Dp", Some(1)),
        ("/apis/events.k8s.io/v1/events", "regarding.name!%3Dp", Some(0)),
        ("/apis/events.k8s.io/v1/events", "involvedObject.name%3Dp", None),
        ("/api/v1/events", "involvedObject.name%3Dp", Some(1)),
        ("/api/v1/events", "regarding.name%3Dp", None),
    ] {
        let answer = api.get(&format!("{path}?fieldSelector={field}")).await;
        let found = (answer.code == 200).then(|| answer.json()["items"].as_array().unwrap().len());
        assert_eq!(found, count, "{path} {field}");
    }
}

#[tokio::test]
async fn health_version_metrics_and_schemas_are_served() {
    let api = Api::start().await;
    for path in ["/livez", "/readyz", "/healthz", "/livez/ping"] {
        assert_eq!(&api.get(path).await.bytes[..], b"ok", "{path}");
    }
    let verbose = api.get("/readyz?verbose").await;
    let text = String::from_utf8_lossy(&verbose.bytes).into_owned();
    assert!(text.ends_with("readyz check passed\nwarning: the store is full (--store-quota)\n"), "{text}");
    assert!(text.contains("[+]store-integrity ok"), "{text}");
    assert_eq!(api.get("/version").await.expect(200)["minor"], "37");
    let metrics = api.get("/metrics").await;
    assert!(String::from_utf8_lossy(&metrics.bytes).contains("apiserver_request_total{verb=\"GET\""));
    let index = api.get("/openapi/v3").await.expect(200);
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap().to_owned();
    let document = api.get(&url).await.expect(200);
    assert!(document["openapi"].as_str().unwrap().starts_with("3."));
    assert!(api.get("/openapi/v2").await.expect(200)["definitions"].is_object());
    let protobuf = api.get_as("/openapi/v2", "application/com.github.proto-openapi.spec.v2@v1.0+protobuf").await;
    assert_eq!(protobuf.code, 200);
    assert_eq!(protobuf.headers["content-type"], "application/com.github.proto-openapi.spec.v2.v1.0+protobuf");
    // Field 1 of the document, a string: the version of Swagger.
    assert_eq!(&protobuf.bytes[..5], b"\x0a\x032.0");
    assert_eq!(api.get_as("/openapi/v2", "application/xml").await.code, 406);
    let keys = api.get("/openid/v1/jwks").await.expect(200);
    assert_eq!(keys["keys"].as_array().unwrap().len(), 1);
    assert!(api.get("/.well-known/openid-configuration").await.expect(200)["jwks_uri"].is_string());
}

#[tokio::test]
async fn components_are_as_healthy_as_their_leases() {
    let api = Api::start().await;
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": "kube-scheduler" },
        "spec": { "holderIdentity": "a", "leaseDurationSeconds": 3600, "renewTime": apimachinery::time::now_micro() },
    });
    api.post("/apis/coordination.k8s.io/v1/namespaces/kube-system/leases", &lease).await.expect(201);
    let list = api.get("/api/v1/componentstatuses").await.expect(200);
    let health: Vec<(&str, &str)> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (item["metadata"]["name"].as_str().unwrap(), item["conditions"][0]["status"].as_str().unwrap()))
        .collect();
    assert_eq!(health, [("controller-manager", "False"), ("scheduler", "True"), ("etcd-0", "True")]);
    let one = api.get("/api/v1/componentstatuses/scheduler").await;
    assert!(one.headers["warning"].to_str().unwrap().contains("v1 ComponentStatus is deprecated in v1.19+"));
    assert_eq!(one.expect(200)["conditions"][0]["message"], "ok");
    assert_eq!(api.get("/api/v1/componentstatuses/x").await.refused(404), r#"componentstatuses "x" not found"#);
}

/// One line a resource: group version, name, kind, scope, verbs, short names, categories.
async fn discovery_lines(api: &Api) -> String {
    let mut lines = Vec::new();
    let mut paths = vec![("/api/v1".to_owned(), "v1".to_owned())];
    for group in api.get("/apis").await.expect(200)["groups"].as_array().unwrap() {
        for version in group["versions"].as_array().unwrap() {
            let version = version["groupVersion"].as_str().unwrap();
            paths.push((format!("/apis/{version}"), version.to_owned()));
        }
    }
    for (path, version) in paths {
        for resource in api.get(&path).await.expect(200)["resources"].as_array().unwrap() {
            let list = |field: &str| {
                let words = resource[field].as_array().into_iter().flatten().filter_map(|word| word.as_str());
                words.collect::<Vec<_>>().join(",")
            };
            let (name, kind) = (resource["name"].as_str().unwrap(), resource["kind"].as_str().unwrap());
            let scope = if resource["namespaced"] == true { "namespaced" } else { "cluster" };
            let lists = [list("verbs"), list("shortNames"), list("categories")].join(" | ");
            lines.push(format!("{version} {name} {kind} {scope} {lists}"));
        }
    }
    lines.sort();
    lines.join("\n") + "\n"
}

#[tokio::test]
async fn discovery_is_the_golden_one() {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/api/discovery.txt");
    let lines = discovery_lines(&Api::start().await).await;
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(golden, &lines).unwrap();
    }
    let expected = std::fs::read_to_string(golden).unwrap();
    for (got, want) in lines.lines().zip(expected.lines()) {
        assert_eq!(got, want, "after a wanted change run this test with UPDATE_GOLDEN=1");
    }
    assert_eq!(lines.lines().count(), expected.lines().count());
}
