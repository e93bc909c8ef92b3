//! Rules as tables. What the controllers do to a real API server is in `tests/joining.rs`.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::{Node, Secret};
use pki::{Authority, KeyPair, Sans};
use serde_json::{Value, json};

use super::identity::{self, Plan};
use super::serving::{Judgement, judge};
use super::sign::{Signers, signed};
use super::{certificate, clean, condition};

const CREATED: &str = "2026-01-01T00:00:00Z";

fn request(signer: &str, subject: &str, usages: &[&str], status: Value) -> CertificateSigningRequest {
    let key = KeyPair::generate().unwrap();
    let pem = key.request(subject, &["system:nodes"], &Sans::default()).unwrap();
    let request = k8s_openapi::ByteString(pem.into_bytes());
    serde_json::from_value(json!({
        "metadata": { "name": "r", "creationTimestamp": CREATED },
        "spec": { "signerName": signer, "request": request, "usages": usages },
        "status": status,
    }))
    .unwrap()
}

fn conditions(kinds: &[&str]) -> Value {
    let all = kinds.iter().map(|kind| json!({ "type": kind, "status": "True", "lastUpdateTime": CREATED }));
    json!({ "conditions": all.collect::<Vec<_>>() })
}

#[test]
fn what_is_approved_is_signed_or_fails() {
    let ca = |name: &str| Authority::generate(name).unwrap();
    let signers = Signers { client_ca: ca("client"), server_ca: ca("server"), reserved: Sans::default() };
    let kubelet = "kubernetes.io/kube-apiserver-client-kubelet";
    let usages = ["digital signature", "client auth"];
    let node = "system:node:n1";
    let outcome = |signer: &str, subject: &str, kinds: &[&str]| {
        let signed = signed(&signers, &request(signer, subject, &usages, conditions(kinds))).unwrap()?;
        let failed = condition(&signed, "Failed").map(|c| (c.reason.clone().unwrap(), c.message.clone().unwrap()));
        Some((certificate(&signed).is_some(), failed))
    };
    assert_eq!(outcome(kubelet, node, &[]), None, "nobody approved it");
    assert_eq!(outcome(kubelet, node, &["Denied"]), None);
    assert_eq!(outcome(kubelet, node, &["Approved", "Failed"]), None);
    assert_eq!(outcome("example.com/other", node, &["Approved"]), None, "not our signer");
    assert_eq!(outcome(kubelet, node, &["Approved"]), Some((true, None)));
    let failed = |why: &str| Some((false, Some(("SignerValidationFailure".to_owned(), why.to_owned()))));
    assert_eq!(
        outcome(kubelet, "alice", &["Approved"]),
        failed("subject common name does not begin with system:node:")
    );
    assert_eq!(
        outcome("kubernetes.io/kubelet-serving", node, &["Approved"]),
        failed("DNS or IP subjectAltName is required")
    );
}

#[test]
fn requests_go_when_they_are_done_with() {
    let end = |kinds: &[&str], pem: Option<String>| {
        let mut status = if kinds.is_empty() { json!({}) } else { conditions(kinds) };
        if let Some(pem) = pem {
            status["certificate"] = json!(k8s_openapi::ByteString(pem.into_bytes()));
        }
        clean::end(&request("example.com/x", "a", &[], status)).map(|end| end.to_string())
    };
    let live = Authority::generate("ca").unwrap().issue_client("a", &[]).unwrap().cert_pem();
    assert_eq!(end(&[], None).as_deref(), Some("2026-01-02T00:00:00Z"), "a day without a decision");
    assert_eq!(end(&["Denied"], None).as_deref(), Some("2026-01-01T01:00:00Z"));
    assert_eq!(end(&["Approved", "Failed"], None).as_deref(), Some("2026-01-01T01:00:00Z"));
    assert_eq!(end(&["Approved"], None), None, "still to be signed");
    assert_eq!(end(&["Approved"], Some(live)).as_deref(), Some("2026-01-01T01:00:00Z"));
}

#[test]
fn a_serving_certificate_is_for_what_is_the_nodes_own() {
    let node = |name: &str, addresses: &[&str]| -> Arc<Node> {
        let addresses: Vec<Value> = addresses.iter().map(|a| json!({ "type": "InternalIP", "address": a })).collect();
        Arc::new(
            serde_json::from_value(json!({ "metadata": { "name": name }, "status": { "addresses": addresses } }))
                .unwrap(),
        )
    };
    let nodes = [node("n1", &["10.0.0.1", "10.0.0.9", "n1"]), node("n2", &["10.0.0.2"]), node("thief", &["10.0.0.9"])];
    let taken = BTreeSet::from(["kubernetes".to_owned(), "10.0.0.100".to_owned()]);
    let cases: &[(&str, &[&str], &[&str], Judgement)] = &[
        ("n1", &["n1"], &["10.0.0.1"], Judgement::Own),
        ("n1", &[], &["10.0.0.1"], Judgement::Own),
        ("n1", &["n1"], &["10.0.0.3"], Judgement::Unknown),
        ("n1", &["n1"], &["10.0.0.2"], Judgement::Foreign),
        ("n1", &["n1"], &["10.0.0.9"], Judgement::Foreign),
        ("n1", &["n1"], &["10.0.0.1", "10.0.0.100"], Judgement::Foreign),
        ("n1", &["n2"], &[], Judgement::Foreign),
        ("new", &["new"], &[], Judgement::Own),
        ("new", &["new"], &["10.0.0.4"], Judgement::Unknown),
        ("kubernetes", &["kubernetes"], &[], Judgement::Foreign),
    ];
    for (name, hostnames, ips, want) in cases {
        let hostnames = hostnames.iter().map(|h| (*h).to_owned()).collect();
        let sans = Sans { hostnames, ips: ips.iter().map(|ip| ip.parse().unwrap()).collect() };
        assert_eq!(judge(name, &sans, &nodes, &taken), *want, "{name}: {sans:?}");
    }
}

#[test]
fn a_key_belongs_to_its_node() {
    let secret = |owners: Value| -> Secret {
        serde_json::from_value(
            json!({ "metadata": { "name": "s", "creationTimestamp": CREATED, "ownerReferences": owners } }),
        )
        .unwrap()
    };
    let node: Node = serde_json::from_value(json!({ "metadata": { "name": "n1", "uid": "u" } })).unwrap();
    let plan = |owners: Value, node: Option<&Node>, now: &str| {
        identity::plan(&secret(owners), node, now.parse::<Timestamp>().unwrap())
    };
    let owner = match plan(json!([]), Some(&node), CREATED) {
        Plan::Own(owner) => json!([owner]),
        other => panic!("{other:?}"),
    };
    assert_eq!(owner[0]["uid"], "u");
    assert_eq!(plan(owner, None, "2027-01-01T00:00:00Z"), Plan::Nothing, "the garbage collector's");
    assert_eq!(plan(json!([]), None, "2026-01-01T00:59:00Z"), Plan::Wait(std::time::Duration::from_secs(60)));
    assert_eq!(plan(json!([]), None, "2026-01-01T01:00:00Z"), Plan::Remove);
}
