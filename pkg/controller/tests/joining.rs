//! The way of a certificate over a real API server: asked for, approved, signed, and refused to a stranger.

// A failed expectation is what a test is for, in its helpers, too.
#![allow(clippy::unwrap_used)]
// Not all that the API server's own tests need.
#![allow(dead_code)]

mod running;

use apimachinery::UserInfo;
use pki::{KeyPair, Sans};
use running::support::Api;
use running::{start, until};
use serde_json::{Value, json};

const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
const SECRETS: &str = "/api/v1/namespaces/kube-system/secrets";
const NODE_TOKENS: &str = auth::bootstrap::joining::NODE_TOKENS;
const KUBELET_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
const KUBELET_SERVING: &str = "kubernetes.io/kubelet-serving";

fn joiner() -> UserInfo {
    UserInfo::new("system:bootstrap:abcdef", ["system:bootstrappers", NODE_TOKENS])
}

fn node(name: &str) -> UserInfo {
    UserInfo::new(format!("system:node:{name}"), ["system:nodes"])
}

async fn ask(api: &Api, user: UserInfo, name: &str, signer: &str, node: &str, key: &KeyPair, sans: &Sans) {
    let pem = key.request(&format!("system:node:{node}"), &["system:nodes"], sans).unwrap();
    let purpose = if signer == KUBELET_SERVING { "server auth" } else { "client auth" };
    let request = json!({
        "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": { "name": name },
        "spec": {
            "signerName": signer, "usages": ["digital signature", purpose],
            "request": k8s_openapi::ByteString(pem.into_bytes()),
        },
    });
    api.as_user(user).post(REQUESTS, &request).await.expect(201);
}

async fn certificate(api: &Api, name: &str) -> String {
    until(api, &format!("{REQUESTS}/{name}"), |_, request| {
        let text = request["status"]["certificate"].as_str()?;
        let bytes = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text).unwrap();
        Some(String::from_utf8(bytes).unwrap())
    })
    .await
}

async fn denial(api: &Api, name: &str) -> String {
    until(api, &format!("{REQUESTS}/{name}"), |_, request| {
        let conditions = request["status"]["conditions"].as_array()?;
        let denied = conditions.iter().find(|condition| condition["type"] == "Denied")?;
        assert_eq!(denied["reason"], "NodeIdentityTaken");
        denied["message"].as_str().map(str::to_owned)
    })
    .await
}

fn node_object(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": name } })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_gets_its_certificates_and_keeps_its_name() {
    let (api, shutdown) = start().await;
    let (key, none) = (KeyPair::generate().unwrap(), Sans::default());
    ask(&api, joiner(), "first", KUBELET_CLIENT, "n1", &key, &none).await;
    let pem = certificate(&api, "first").await;
    let verifier = pki::ClientVerifier::new(pki::tls::roots([api.pki.client_ca().cert()]).unwrap()).unwrap();
    let subject = verifier.verify(&pki::tls::certs_from_pem(pem.as_bytes()).unwrap()).unwrap();
    assert_eq!((subject.common_name.as_str(), subject.organizations.len()), ("system:node:n1", 1));

    let (stranger, again) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    ask(&api, joiner(), "stranger", KUBELET_CLIENT, "n1", &stranger, &none).await;
    let why = denial(&api, "stranger").await;
    assert!(why.contains("--node-name") && why.contains("kubectl delete node n1"), "{why}");
    ask(&api, joiner(), "same-key", KUBELET_CLIENT, "n1", &key, &none).await;
    certificate(&api, "same-key").await;
    ask(&api, node("n1"), "renewed", KUBELET_CLIENT, "n1", &again, &none).await;
    certificate(&api, "renewed").await;
    ask(&api, joiner(), "old-key", KUBELET_CLIENT, "n1", &key, &none).await;
    denial(&api, "old-key").await;

    // The key goes with the Node, and the name is free then.
    api.post("/api/v1/nodes", &node_object("n1")).await.expect(201);
    let secret = format!("{SECRETS}/n1.node-identity.coracle");
    until(&api, &secret, |_, secret| secret["metadata"]["ownerReferences"][0]["uid"].as_str().map(drop)).await;
    api.delete("/api/v1/nodes/n1").await.expect(200);
    until(&api, &secret, |code, _| (code == 404).then_some(())).await;
    ask(&api, joiner(), "replacement", KUBELET_CLIENT, "n1", &stranger, &none).await;
    certificate(&api, "replacement").await;
    shutdown.trigger();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_came_without_a_token_is_not_taken_over() {
    let (api, shutdown) = start().await;
    api.post("/api/v1/nodes", &node_object("server-1")).await.expect(201);
    let key = KeyPair::generate().unwrap();
    ask(&api, joiner(), "thief", KUBELET_CLIENT, "server-1", &key, &Sans::default()).await;
    denial(&api, "thief").await;
    shutdown.trigger();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kubelet_serves_under_its_own_addresses_alone() {
    let (api, shutdown) = start().await;
    let key = KeyPair::generate().unwrap();
    api.post("/api/v1/nodes", &node_object("n1")).await.expect(201);
    let sans = |ip: &str| Sans { hostnames: vec!["n1".to_owned()], ips: vec![ip.parse().unwrap()] };
    ask(&api, node("n1"), "own", KUBELET_SERVING, "n1", &key, &sans("192.0.2.7")).await;
    // It is asked for before the Node says so: that is waited for.
    let addresses = json!({ "status": { "addresses": [{ "type": "InternalIP", "address": "192.0.2.7" }] } });
    api.merge("/api/v1/nodes/n1/status", &addresses).await.expect(200);
    let pem = certificate(&api, "own").await;
    assert!(pki::inspect::certificate_facts(&pki::inspect::pem_blocks(&pem)[0].der).unwrap().dns_names == ["n1"]);

    // The address of the API server, and then one that is free.
    let addresses = json!({ "status": { "addresses": [{ "type": "InternalIP", "address": "192.0.2.1" }] } });
    api.merge("/api/v1/nodes/n1/status", &addresses).await.expect(200);
    ask(&api, node("n1"), "server", KUBELET_SERVING, "n1", &key, &sans("192.0.2.1")).await;
    let name = Sans { hostnames: vec!["n1".to_owned()], ips: Vec::new() };
    ask(&api, node("n1"), "later", KUBELET_SERVING, "n1", &key, &name).await;
    certificate(&api, "later").await;
    let undecided = api.get(&format!("{REQUESTS}/server")).await.expect(200);
    assert_eq!(undecided["status"]["conditions"], Value::Null, "left to a person");
    shutdown.trigger();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_has_run_out_is_removed() {
    let (api, shutdown) = start().await;
    let token = |id: &str, expiration: &str| {
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": "bootstrap.kubernetes.io/token",
            "metadata": { "name": format!("bootstrap-token-{id}") },
            "stringData": { "token-id": id, "token-secret": "0123456789abcdef", "expiration": expiration },
        })
    };
    api.post(SECRETS, &token("aaaaaa", "2020-01-01T00:00:00Z")).await.expect(201);
    api.post(SECRETS, &token("bbbbbb", "2999-01-01T00:00:00Z")).await.expect(201);
    until(&api, &format!("{SECRETS}/bootstrap-token-aaaaaa"), |code, _| (code == 404).then_some(())).await;
    api.get(&format!("{SECRETS}/bootstrap-token-bbbbbb")).await.expect(200);
    shutdown.trigger();
}
