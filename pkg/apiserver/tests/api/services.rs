//! Addresses and ports of Services.

use apimachinery::meta::ObjectExt as _;
use serde_json::{Value, json};

use crate::support::Api;

const SERVICES: &str = "/api/v1/namespaces/default/services";

fn service(name: &str, spec: Value) -> Value {
    let mut object = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": name },
        "spec": { "selector": { "app": "x" }, "ports": [{ "port": 80 }] },
    });
    for (field, value) in spec.as_object().unwrap() {
        object["spec"][field] = value.clone();
    }
    object
}

#[tokio::test]
async fn services_get_addresses_and_ports_once() {
    let api = Api::start().await;
    let kubernetes = api.get(&format!("{SERVICES}/kubernetes")).await.expect(200);
    assert_eq!(kubernetes["spec"]["clusterIP"], "10.43.0.1");
    let a = api.post(SERVICES, &service("a", json!({ "type": "NodePort" }))).await.expect(201);
    let (address, port) = (a.str_at("spec/clusterIP"), a["spec"]["ports"][0]["nodePort"].as_i64().unwrap());
    assert!(address.starts_with("10.43."), "{a}");
    assert_eq!(a["spec"]["clusterIPs"], json!([address]));
    assert_eq!((&a["spec"]["ipFamilies"], &a["spec"]["ipFamilyPolicy"]), (&json!(["IPv4"]), &json!("SingleStack")));
    assert!((30000..=32767).contains(&port), "{a}");

    let taken = api.post(SERVICES, &service("b", json!({ "clusterIP": address }))).await.refused(422);
    assert!(taken.contains("provided IP is already allocated"), "{taken}");
    let ports = json!({ "type": "NodePort", "ports": [{ "port": 80, "nodePort": port }] });
    let taken = api.post(SERVICES, &service("b", ports.clone())).await.refused(422);
    assert!(taken.ends_with("provided port is already allocated"), "{taken}");
    let outside = api.post(SERVICES, &service("b", json!({ "clusterIP": "192.0.2.1" }))).await.refused(422);
    assert!(outside.ends_with("the provided network does not match the current range"), "{outside}");

    // What a client leaves out of an update stays; a type without node ports gives them back.
    let mut put = service("a", json!({ "type": "NodePort" }));
    let kept = api.put(&format!("{SERVICES}/a"), &put).await.expect(200);
    assert_eq!(kept["spec"]["clusterIP"], address);
    assert_eq!(kept["spec"]["ports"][0]["nodePort"], port);
    put["spec"]["type"] = "ClusterIP".into();
    let plain = api.put(&format!("{SERVICES}/a"), &put).await.expect(200);
    assert_eq!(plain["spec"]["ports"][0].get("nodePort"), None);
    api.post(SERVICES, &service("b", ports)).await.expect(201);

    api.delete(&format!("{SERVICES}/a")).await.expect(200);
    api.post(SERVICES, &service("c", json!({ "clusterIP": address }))).await.expect(201);
    let dry = api.post(&format!("{SERVICES}?dryRun=All"), &service("d", json!({ "clusterIP": "10.43.0.10" }))).await;
    dry.expect(201);
    api.post(SERVICES, &service("dns", json!({ "clusterIP": "10.43.0.10" }))).await.expect(201);
}

#[tokio::test]
async fn headless_and_external_services_need_none() {
    let api = Api::start().await;
    let headless = api.post(SERVICES, &service("h", json!({ "clusterIP": "None" }))).await.expect(201);
    assert_eq!(headless["spec"]["clusterIPs"], json!(["None"]));
    let external = json!({ "type": "ExternalName", "externalName": "example.com" });
    let external = api.post(SERVICES, &service("e", external)).await.expect(201);
    assert_eq!(external["spec"].get("clusterIP"), None, "{external}");
}

#[tokio::test]
async fn the_way_to_the_server_comes_back_when_deleted() {
    let api = Api::start().await;
    for path in [
        "/api/v1/namespaces/default/services/kubernetes",
        "/api/v1/namespaces/default/endpoints/kubernetes",
        "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes",
    ] {
        let before = api.get(path).await.expect(200);
        let (collection, _) = path.rsplit_once('/').unwrap();
        let version = before["metadata"]["resourceVersion"].as_str().unwrap();
        let watch = format!("{collection}?watch=1&fieldSelector=metadata.name%3Dkubernetes&resourceVersion={version}");
        let mut events = api.watch(&watch).await;
        api.delete(path).await.expect(200);
        assert_eq!(events.brief().await, "DELETED kubernetes");
        assert_eq!(events.brief().await, "ADDED kubernetes");
        let after = api.get(path).await.expect(200);
        assert_eq!(after.get("spec"), before.get("spec"), "{path}");
        assert_eq!(after.get("endpoints"), before.get("endpoints"), "{path}");
    }
}
