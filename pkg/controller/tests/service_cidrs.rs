//! Ranges of Service addresses over a real API server: protected, ready, kept while they are used, gone when they are not.

// A failed expectation is what a test is for, in its helpers, too.
#![allow(clippy::unwrap_used)]
// Not all that the API server's own tests need.
#![allow(dead_code)]

mod running;

use apimachinery::meta::ObjectExt as _;
use running::{start, until};
use serde_json::{Value, json};

const RANGES: &str = "/apis/networking.k8s.io/v1/servicecidrs";
const SERVICES: &str = "/api/v1/namespaces/default/services";
const FINALIZER: &str = "networking.k8s.io/service-cidr-finalizer";

fn range(name: &str, cidr: &str) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": { "name": name },
        "spec": { "cidrs": [cidr] },
    })
}

/// Status and reason of the condition Ready.
fn ready(range: &Value) -> Option<(String, String)> {
    let conditions = range.array_at("status/conditions");
    let ready = conditions.iter().find(|condition| condition["type"] == "Ready")?;
    Some((ready.str_at("status").to_owned(), ready.str_at("reason").to_owned()))
}

fn is_ready(range: &Value, status: &str) -> Option<Value> {
    (ready(range)?.0 == status).then(|| range.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_stays_while_a_service_has_an_address_of_it() {
    let (api, shutdown) = start().await;
    api.post(RANGES, &range("extra", "192.168.78.0/24")).await.expect(201);
    let path = format!("{RANGES}/extra");
    let protected = until(&api, &path, |_, range| is_ready(range, "True")).await;
    assert_eq!(protected.finalizers(), [FINALIZER]);
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "s" },
        "spec": { "clusterIP": "192.168.78.7", "ports": [{ "port": 80 }] },
    });
    api.post(SERVICES, &service).await.expect(201);
    let marked = api.delete(&path).await.expect(200);
    assert!(marked.is_deleting());
    let kept = until(&api, &path, |_, range| is_ready(range, "False")).await;
    assert_eq!((ready(&kept).unwrap().1.as_str(), kept.finalizers()), ("Terminating", vec![FINALIZER]));

    // Another range that has the address lets the first one go, though the Service is still there.
    api.post(RANGES, &range("wider", "192.168.0.0/16")).await.expect(201);
    until(&api, &path, |code, _| (code == 404).then_some(())).await;
    let address = api.get("/apis/networking.k8s.io/v1/ipaddresses/192.168.78.7").await.expect(200);
    assert_eq!(address.str_at("spec/parentRef/name"), "s");
    shutdown.trigger();
}
