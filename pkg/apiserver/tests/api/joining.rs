//! What joiners are told, and who is not.

use apimachinery::UserInfo;
use auth::bootstrap::joining::NODE_TOKENS;
use serde_json::{Value, json};

use crate::support::{Answer, Api, PATIENCE};

const SERVERS: &str = "/v1-coracle/servers";

async fn ask(api: &Api, method: &str, path: &str, token: &str, headers: &[(&'static str, &str)]) -> Answer {
    let mut request = api.request(method, path).header("content-type", "application/json");
    if !token.is_empty() {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = json!({ "name": "s2" }).to_string();
    api.ask(request.body(http_body_util::Full::new(body.into())).unwrap()).await
}

#[tokio::test]
async fn anyone_may_see_the_authority_and_nothing_else() {
    let api = Api::start().await;
    let nobody = api.as_user(UserInfo::anonymous());
    let answer = nobody.get("/cacerts").await;
    assert_eq!((answer.code, &answer.bytes[..]), (200, api.pki.server_ca().cert_pem().as_bytes()));
    for path in ["/v1-coracle/config", SERVERS] {
        assert_eq!(nobody.get(path).await.code, 403, "{path}");
    }
    let joiner = api.as_user(UserInfo::new("system:bootstrap:abcdef", ["system:bootstrappers", NODE_TOKENS]));
    assert_eq!(joiner.get("/v1-coracle/config").await.expect(200)["kind"], "config");
    assert_eq!(joiner.get(SERVERS).await.code, 403);
    let other = api.as_user(UserInfo::new("system:bootstrap:abcdeg", ["system:bootstrappers"]));
    assert_eq!(other.get("/v1-coracle/config").await.code, 403, "a token for something else");
    assert_eq!(api.get(SERVERS).await.expect(200)["kind"], "servers");
    assert_eq!(api.get("/v1-coracle/other").await.code, 404);
    assert_eq!(api.delete("/cacerts").await.code, 405);
}

#[tokio::test]
async fn while_the_server_starts_joiners_are_told_to_come_again() {
    let api = Api::unstarted(|_| {}).await;
    let nobody = api.as_user(UserInfo::anonymous());
    let joining =
        [("GET", "/cacerts"), ("GET", "/v1-coracle/config"), ("POST", SERVERS), ("POST", "/v1-coracle/servers/s2")];
    for (method, path) in joining {
        for token in ["server-token", "unknown", ""] {
            let answer = ask(&nobody, method, path, token, &[]).await;
            assert_eq!(answer.headers.get("retry-after").map(|value| value.as_bytes()), Some(&b"1"[..]), "{path}");
            assert_eq!(answer.refused(503), "the server is starting", "{path} {token}");
        }
    }
    assert_eq!(api.get(SERVERS).await.expect(200)["kind"], "servers", "administrators see who is missing");
    api.server.start().await.unwrap();
    assert_eq!(ask(&api, "POST", SERVERS, "server-token", &[]).await.code, 200);
}

#[tokio::test]
async fn keys_are_for_the_server_token_alone() {
    let api = Api::start().await;
    for path in [SERVERS, "/v1-coracle/servers/s2"] {
        assert_eq!(ask(&api, "POST", path, "server-token", &[]).await.code, 200, "{path}");
        // Whatever they may do otherwise: administrators, other tokens, and who acts for the server's user.
        let imposter = [("impersonate-user", "coracle:server")];
        for (token, headers) in [("", &[][..]), ("bob-token", &[]), ("admin-token", &[]), ("admin-token", &imposter)] {
            assert_eq!(ask(&api, "POST", path, token, headers).await.code, 403, "{path} {token}");
        }
        let named = api.as_user(UserInfo::new("coracle:server", []));
        assert_eq!(ask(&named, "POST", path, "", &[]).await.code, 403, "the name is not the token");
    }
    let joiner = api.as_user(UserInfo::new("coracle:server", ["system:bootstrappers", NODE_TOKENS]));
    assert_eq!(ask(&joiner, "DELETE", "/v1-coracle/servers/s1", "server-token", &[]).await.code, 403);
    assert_eq!(ask(&api, "DELETE", "/v1-coracle/servers/s1", "", &[]).await.code, 200);
}

#[tokio::test]
async fn a_server_that_comes_is_behind_the_service_and_gone_when_its_lease_is() {
    let api = Api::start().await;
    let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {
            "name": "apiserver-other", "labels": { "apiserver.kubernetes.io/identity": "kube-apiserver" },
            "annotations": { "coracle.io/address": "192.0.2.2" },
        },
        "spec": { "holderIdentity": "other", "leaseDurationSeconds": 15, "renewTime": "2026-01-01T00:00:00.000000Z" },
    });
    assert_eq!(api.get(&format!("{leases}/apiserver-server")).await.code, 404, "alone it writes none");
    api.post(leases, &lease).await.expect(201);
    wait_for(&api, &["192.0.2.1", "192.0.2.2"]).await;
    let own = api.get(&format!("{leases}/apiserver-server")).await.expect(200);
    assert_eq!(own["metadata"]["annotations"]["coracle.io/address"], "192.0.2.1");
    api.delete(&format!("{leases}/apiserver-other")).await.expect(200);
    wait_for(&api, &["192.0.2.1"]).await;
}

/// Waits until exactly these are the addresses of the `kubernetes` Service, in both kinds of endpoints.
async fn wait_for(api: &Api, addresses: &[&str]) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let slice = api.get("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes").await.expect(200);
        let endpoints = api.get("/api/v1/namespaces/default/endpoints/kubernetes").await.expect(200);
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let sliced: Vec<Value> = list(&slice["endpoints"]).iter().flat_map(|e| list(&e["addresses"])).collect();
        let plain = list(&endpoints["subsets"][0]["addresses"]);
        let plain: Vec<Value> = plain.iter().map(|address| address["ip"].clone()).collect();
        if sliced == addresses && plain == addresses {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{sliced:?} and {plain:?} are not {addresses:?}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
