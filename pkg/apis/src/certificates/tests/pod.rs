use std::time::Duration;

use pki::inspect::CertificateFacts;
use pki::{Authority, KeyPair, Sans, SignerName, parse_csr};
use serde_json::{Value, json};

use super::{CSR, base64};
use crate::testing::{Rules, cells, change, check_create, check_defaults, check_status, check_update, row};

const GROUP: &str = super::GROUP;

fn request() -> Value {
    let der = pki::inspect::pem_blocks(CSR).remove(0).der;
    json!({ "metadata": { "name": "r", "namespace": "d" }, "spec": {
        "signerName": "a.example/b", "podName": "web", "podUID": "p", "serviceAccountName": "default",
        "serviceAccountUID": "s", "nodeName": "n", "nodeUID": "u", "stubPKCS10Request": base64(der),
    } })
}

#[test]
fn request_rules() {
    let rows = row(GROUP, "podcertificaterequests");
    let long = format!("spec.podUID = {}", "x".repeat(129));
    let large = base64(vec![0; 10 * 1024 + 1]);
    let (set_large, forged) = (format!("spec.stubPKCS10Request = {large}"), {
        let mut der = pki::inspect::pem_blocks(CSR).remove(0).der;
        let middle = der.len() / 3;
        der[middle] ^= 1;
        base64(der)
    });
    let (set_forged, want_forged) = (
        format!("spec.stubPKCS10Request = {forged}"),
        format!("spec.stubPKCS10Request: Invalid value: \"{forged}\": could not verify proof-of-possession signature"),
    );
    let rules: Rules<'_> = &[
        ("", &[]),
        ("spec.signerName = null", &["spec.signerName: Required value"]),
        ("spec.podUID = null", &["spec.podUID: Invalid value: \"\": must not be empty"]),
        ("spec.serviceAccountUID = null", &["spec.serviceAccountUID: Invalid value: \"\": must not be empty"]),
        ("spec.nodeUID = null", &["spec.nodeUID: Invalid value: \"\": must not be empty"]),
        (&long, &["spec.podUID: Too long: may not be more than 128 bytes"]),
        ("spec.maxExpirationSeconds = 7862400", &[]),
        (
            "spec.maxExpirationSeconds = 7862401",
            &["spec.maxExpirationSeconds: Invalid value: 7862401: must be in the range [3600, 7862400]"],
        ),
        (
            "spec.signerName = kubernetes.io/x ; spec.maxExpirationSeconds = 86401",
            &["spec.maxExpirationSeconds: Invalid value: 86401: must be in the range [3600, 86400]"],
        ),
        (
            "spec.stubPKCS10Request = AQI=",
            &["spec.stubPKCS10Request: Invalid value: \"AQI=\": must be a valid PKCS#10 certificate signing request"],
        ),
        (&set_large, &["spec.stubPKCS10Request: Too long: may not be more than 10240 bytes"]),
        (&set_forged, &[&want_forged]),
        ("spec.unverifiedUserAnnotations[a.example/b] = c", &[]),
    ];
    check_create(rows, &request(), rules);
    for field in ["podName", "serviceAccountName", "nodeName"] {
        let mut bad = request();
        bad["spec"][field] = json!("A");
        let errors = crate::testing::create_errors(rows, bad);
        assert!(errors[0].starts_with(&format!("spec.{field}: Invalid value: \"A\": a lowercase RFC 1123 subdomain")));
    }
    let mut bad = request();
    bad["spec"]["unverifiedUserAnnotations"] = json!({ "plain": "x" });
    assert_eq!(crate::testing::create_errors(rows, bad).len(), 1);
    check_defaults(rows, &request(), &[("", "spec.maxExpirationSeconds = 86400")]);
    let weak = base64(pki::inspect::pem_blocks(include_str!("rsa2048.csr")).remove(0).der);
    let want =
        format!("spec.stubPKCS10Request: Invalid value: \"{weak}\": RSA keys must have modulus size 3072 or 4096");
    check_create(rows, &request(), &[(&format!("spec.stubPKCS10Request = {weak}"), &[&want])]);
    let mut changed = crate::testing::created(rows, request())["spec"].clone();
    changed["podName"] = json!("other");
    let want = format!("spec: Invalid value: {changed}: field is immutable");
    check_update(rows, &request(), &[("metadata.labels.a = b", &[]), ("spec.podName = other", &[&want])]);
    assert_eq!(cells(rows, &request()), ["r", "<unknown>"]);
}

#[test]
fn strong_keys_of_any_kind_are_taken() {
    for csr in [
        CSR,
        include_str!("p384.csr"),
        include_str!("p384-sha256.csr"),
        include_str!("ed25519.csr"),
        include_str!("rsa3072.csr"),
    ] {
        let der = pki::inspect::pem_blocks(csr).remove(0).der;
        let change = format!("spec.stubPKCS10Request = {}", base64(der));
        check_create(row(GROUP, "podcertificaterequests"), &request(), &[(&change, &[])]);
    }
}

fn condition(kind: &str) -> Value {
    json!({ "type": kind, "status": "True", "reason": "R", "lastTransitionTime": "2026-11-21T00:00:00Z" })
}

#[test]
fn a_status_goes_to_one_end() {
    let rows = row(GROUP, "podcertificaterequests");
    let (denied, issued) = (condition("Denied"), condition("Issued"));
    let set = |list: Value| format!("status.conditions = {list}");
    let both = set(json!([denied, issued]));
    let odd = set(json!([condition("Odd")]));
    let with_chain = set(json!([denied])) + " ; status.certificateChain = x";
    let status: Rules<'_> = &[
        ("", &[]),
        (&set(json!([denied])), &[]),
        (
            "status.certificateChain = x",
            &[
                "status: Invalid value: status is immutable unless transitioning to \"Issued\", \"Denied\", or \"Failed\"",
            ],
        ),
        (
            &both,
            &["status.conditions.[1].type: Invalid value: \"Issued\": There may be at most one condition with type \
               \"Issued\", \"Denied\", or \"Failed\""],
        ),
        (
            &odd,
            &["status.conditions.[0].type: Unsupported value: \"Odd\": supported values: \"Issued\", \"Denied\", \
               \"Failed\""],
        ),
        (
            &with_chain,
            &["status: Invalid value: non-condition status fields must be empty when denying or failing the \
               PodCertificateRequest"],
        ),
        (
            &set(json!([issued])),
            &["status.certificateChain: Invalid value: \"\": issued certificate chain must contain at least one \
               certificate"],
        ),
    ];
    check_status(rows, &request(), status);
    let mut old = request();
    old["status"] = json!({ "conditions": [denied] });
    let want = "status: Invalid value: immutable after PodCertificateRequest is issued, denied, or failed";
    check_status(rows, &old, &[("", &[]), ("status.conditions[0].message = m", &[want])]);
}

fn time(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).unwrap().to_string()
}

/// A request that was answered with `chain`, which is said to be as its first certificate has it.
fn answered(chain: &str) -> (Value, CertificateFacts) {
    let facts = pki::inspect::certificate_facts(&pki::inspect::pem_blocks(chain)[0].der).unwrap();
    let mut object = request();
    object["spec"]["maxExpirationSeconds"] = json!(facts.not_after - facts.not_before);
    object["status"] = json!({
        "conditions": [condition("Issued")], "certificateChain": chain, "notBefore": time(facts.not_before),
        "notAfter": time(facts.not_after), "beginRefreshAt": time(facts.not_before + 600),
    });
    (object, facts)
}

fn status_errors(object: &Value, changes: &str, now: i64) -> Vec<String> {
    let mut new = object.clone();
    change(&mut new, changes);
    crate::testing::texts(&super::super::pod::validate_status(&new, &request(), now))
}

#[test]
fn an_issued_chain_fits_the_request() {
    let ca = Authority::generate("ca").unwrap();
    let subject = parse_csr(CSR.as_bytes()).unwrap();
    let chain = ca.sign_csr(SignerName::KubeApiserverClient, &subject, &["client auth"], None).unwrap();
    let (good, facts) = answered(&chain);
    let check = |changes: &str, now: i64| status_errors(&good, changes, now);
    let now = facts.not_before + 60;
    assert_eq!(check("", now), [""; 0]);
    let shown =
        |field: &str, seconds: i64, why: &str| format!("status.{field}: Invalid value: \"{}\": {why}", time(seconds));
    let late = "must be set to within 5 minutes of kube-apiserver's current time";
    assert_eq!(check("", facts.not_before + 300), [shown("notBefore", facts.not_before, late)]);
    let moved = |field: &str, seconds: i64| format!("status.{field} = {}", time(seconds));
    let cases = [
        ("notBefore", facts.not_before + 1, "must be set to the NotBefore time encoded in the leaf certificate"),
        ("notAfter", facts.not_after + 1, "must be set to the NotAfter time encoded in the leaf certificate"),
        ("beginRefreshAt", facts.not_before + 599, "must be at least 10 minutes after status.notBefore"),
        ("beginRefreshAt", facts.not_after - 599, "must be at least 10 minutes before status.notAfter"),
    ];
    for (field, seconds, why) in cases {
        assert_eq!(check(&moved(field, seconds), now), [shown(field, seconds, why)]);
    }
    let want = [
        "status.notBefore: Required value: must be present and consistent with the issued certificate",
        "status.notAfter: Required value: must be present and consistent with the issued certificate",
        "status.beginRefreshAt: Required value: must be present and in the range [notbefore+10min, notafter-10min]",
    ];
    assert_eq!(check("status.notBefore = null ; status.notAfter = null ; status.beginRefreshAt = null", now), want);
    let lifetime = facts.not_after - facts.not_before;
    let want = format!(
        "status.certificateChain: Invalid value: {lifetime}: leaf certificate lifetime must be <= \
         spec.maxExpirationSeconds (3600)"
    );
    assert_eq!(check("spec.maxExpirationSeconds = 3600", now), [want]);
    let other = ca.issue_client("other", &[]).unwrap().cert_pem();
    let errors = check(&format!("status.certificateChain = {}", json!(other)), now);
    assert!(errors[0].ends_with("leaf certificate was not issued to the requested public key"), "{errors:?}");
    let block = |label: &str| format!("-----BEGIN {label}-----\nAQI=\n-----END {label}-----\n");
    let (key, broken) = (block("KEY"), block("CERTIFICATE"));
    for (chain, why) in [
        (key.clone(), "issued certificate chain must consist entirely of CERTIFICATE PEM blocks"),
        (broken.clone(), "leaf certificate does not parse as valid X.509"),
        // Upstream misspells it.
        (chain.clone() + &key, "issued certificate chain must consist entirely of CERTFICATE PEM blocks"),
        (chain.clone() + &broken, "intermediate certificate does not parse as valid X.509"),
    ] {
        let want = format!("status.certificateChain: Invalid value: {}: {why}", json!(chain));
        assert_eq!(check(&format!("status.certificateChain = {}", json!(chain)), now), [want]);
    }
    assert_eq!(check(&format!("status.certificateChain = {}", json!(chain.clone() + &ca.cert_pem())), now), [""; 0]);
    let lifetime = Some(Duration::from_secs(3000));
    let brief = ca.sign_csr(SignerName::KubeApiserverClient, &subject, &["client auth"], lifetime).unwrap();
    let (brief, facts) = answered(&brief);
    let lifetime = facts.not_after - facts.not_before;
    let want =
        format!("status.certificateChain: Invalid value: {lifetime}: leaf certificate lifetime must be >= 1 hour");
    assert_eq!(status_errors(&brief, "", facts.not_before + 60), [want]);
}

#[test]
fn hosts_of_an_issued_certificate_have_names() {
    let hostnames = [".a", "b..c", "", "d.", "e.f"].map(str::to_owned).to_vec();
    let asked = KeyPair::generate()
        .and_then(|key| key.request("system:node:n", &["system:nodes"], &Sans { hostnames, ips: Vec::new() }));
    let asked = asked.unwrap();
    let usages = ["server auth", "digital signature"];
    let subject = parse_csr(asked.as_bytes()).unwrap();
    let ca = Authority::generate("ca").unwrap();
    let chain = ca.sign_csr(SignerName::KubeletServing, &subject, &usages, None).unwrap();
    let (mut object, facts) = answered(&chain);
    object["spec"]["stubPKCS10Request"] = json!(base64(pki::inspect::pem_blocks(&asked).remove(0).der));
    let at = |name: &str, why: &str| format!("status.certificateChain: Invalid value: {name:?}: leaf certificate{why}");
    let mut errors = status_errors(&object, "", facts.not_before + 60);
    errors.sort_unstable();
    let want = [
        at("", " should not contain empty DNSName"),
        at(".a", "'s DNSName should not start or end with '.'"),
        at("b..c", "'s DNSName should not contain '..'"),
        at("d.", "'s DNSName should not start or end with '.'"),
    ];
    assert_eq!(errors, want);
}
