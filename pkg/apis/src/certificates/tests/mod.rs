mod pod;

use apimachinery::UserInfo;
use base64::Engine;
use serde_json::{Value, json};

use super::GROUP;
use crate::testing::{Rules, cells, change, check_create, check_status, check_update, defaulted, row, texts};

/// A request for a P-256 key and the name `ann`.
const CSR: &str = include_str!("ann.csr");

fn base64(bytes: impl AsRef<[u8]>) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn request() -> Value {
    json!({ "metadata": { "name": "c" }, "spec": {
        "request": base64(CSR), "signerName": "a.example/b", "usages": ["client auth"], "expirationSeconds": 600,
    } })
}

fn approved() -> Value {
    let mut request = request();
    let time = "2026-11-21T00:00:00Z";
    let condition = json!({ "type": "Approved", "status": "True", "reason": "R", "lastUpdateTime": time,
        "lastTransitionTime": time });
    request["status"] = json!({ "conditions": [condition] });
    request
}

#[test]
fn request_rules() {
    let rows = row(GROUP, "certificatesigningrequests");
    let other = base64("-----BEGIN OTHER-----\nAQI=\n-----END OTHER-----");
    let (not_pem, wrong) = (
        format!("spec.request = {other}"),
        format!("spec.request: Invalid value: \"{other}\": PEM block type must be CERTIFICATE REQUEST"),
    );
    let usage = "spec.usages[0]: Unsupported value: \"all\": supported values: \"any\", \"cert sign\", \"client auth\", \
                 \"code signing\", \"content commitment\", \"crl sign\", \"data encipherment\", \"decipher only\", \
                 \"digital signature\", \"email protection\", \"encipher only\", \"ipsec end system\", \"ipsec tunnel\", \
                 \"ipsec user\", \"key agreement\", \"key encipherment\", \"microsoft sgc\", \"netscape sgc\", \"ocsp \
                 signing\", \"s/mime\", \"server auth\", \"signing\", \"timestamping\"";
    let form = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
    let (one, three) = (
        format!("spec.signerName: Invalid value: \"nobody\": {form}"),
        format!("spec.signerName: Invalid value: \"a.example/b/c\": {form}"),
    );
    let long = format!("spec.signerName = {}.example/b", ["x".repeat(63).as_str(); 4].join("."));
    let rules: Rules<'_> = &[
        ("", &[]),
        (&not_pem, &[&wrong]),
        ("spec.usages = []", &["spec.usages: Required value"]),
        ("spec.usages[0] = all", &[usage]),
        ("spec.usages[1] = client auth", &["spec.usages[1]: Duplicate value: \"client auth\""]),
        ("spec.signerName = null", &["spec.signerName: Required value"]),
        ("spec.signerName = nobody", &[&one]),
        ("spec.signerName = a.example/b/c", &[&three]),
        (
            "spec.signerName = a/b",
            &["spec.signerName: Invalid value: \"a\": should be a domain with at least two segments separated by dots"],
        ),
        (&long, &["spec.signerName: Too long: may not be more than 253 bytes"]),
        (
            "spec.signerName = kubernetes.io/legacy-unknown",
            &[
                "spec.signerName: Invalid value: \"kubernetes.io/legacy-unknown\": the legacy signerName is not allowed via \
               this API version",
            ],
        ),
        (
            "spec.expirationSeconds = 599",
            &["spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 600 seconds (10 \
               minutes)"],
        ),
    ];
    check_create(rows, &request(), rules);
    check_update(rows, &request(), &[("spec.usages[0] = all ; status.certificate = eA==", &[])]);
    // The main endpoint keeps the status, so that these texts are of the approval endpoint's rules alone.
    let mut new = approved();
    change(&mut new, "status.conditions[0].reason = other ; status.certificate = eA==");
    let errors = texts(&(rows.strategy.validate_update)(&new, &approved()));
    let want = [
        "status.certificate: Invalid value: \"<certificate data>\": must contain at least one CERTIFICATE PEM block",
        "status.conditions: Forbidden: updates may not modify a condition of type \"Approved\"",
        "status.certificate: Forbidden: updates may not set certificate content",
    ];
    assert_eq!(errors, want);
    let name = rows.strategy.validate_name;
    assert_eq!(name("node:Foo", false), [""; 0]);
    assert_eq!(name("a/b", false), ["may not contain '/'"]);
    let label = crate::testing::create_errors(rows, {
        let mut request = request();
        change(&mut request, "spec.signerName = A.example/b");
        request
    });
    assert!(label[0].starts_with("spec.signerName: Invalid value: \"A.example\": validating label \"A\": a lowercase"));
}

#[test]
fn only_approvers_approve() {
    let rows = row(GROUP, "certificatesigningrequests");
    let ca = pki::Authority::generate("ca").unwrap();
    let issued = |pem: &str| format!("status.certificate = {}", base64(pem));
    let bundle = issued(&ca.cert_pem());
    let (key, headers, broken) = (
        issued("-----BEGIN KEY-----\nAQI=\n-----END KEY-----\n"),
        issued("-----BEGIN CERTIFICATE-----\na: b\n\nAQI=\n-----END CERTIFICATE-----\n"),
        issued("-----BEGIN CERTIFICATE-----\nAQI=\n-----END CERTIFICATE-----\n"),
    );
    let status: Rules<'_> = &[
        (&bundle, &[]),
        (
            "status.certificate = eA==",
            &["status.certificate: Invalid value: \"<certificate data>\": must contain at least one CERTIFICATE PEM \
               block"],
        ),
        (
            &key,
            &[
                "status.certificate: Invalid value: \"<certificate data>\": only CERTIFICATE PEM blocks are allowed, found \
               \"KEY\"",
            ],
        ),
        (&headers, &["status.certificate: Invalid value: \"<certificate data>\": no PEM block headers are permitted"]),
        (&broken, &["status.certificate: Invalid value: \"<certificate data>\": x509: malformed certificate"]),
        ("status.conditions[1] = {\"type\":\"Failed\",\"status\":\"True\"}", &[]),
        (
            "status.conditions[1] = {\"type\":\"Failed\",\"status\":\"False\"}",
            &["status.conditions[1].status: Unsupported value: \"False\": supported values: \"True\""],
        ),
        (
            "status.conditions[1] = {\"type\":\"Other\",\"status\":\"Maybe\"}",
            &["status.conditions[1].status: Unsupported value: \"Maybe\": supported values: \"False\", \"True\", \
               \"Unknown\""],
        ),
        (
            "status.conditions[1] = {\"type\":\"\"}",
            &["status.conditions[1].type: Required value", "status.conditions[1].status: Required value"],
        ),
        (
            "status.conditions[1] = {\"type\":\"Denied\",\"status\":\"True\"}",
            &[
                "status.conditions: Invalid value: \"Denied\": Approved and Denied conditions are mutually exclusive",
                "status.conditions: Forbidden: updates may not add a condition of type \"Denied\"",
            ],
        ),
        (
            "status.conditions = []",
            &["status.conditions: Forbidden: updates may not remove a condition of type \"Approved\""],
        ),
        // Changes are put back, not refused.
        ("status.conditions[0].reason = other", &[]),
    ];
    check_status(rows, &approved(), status);
    let mut done = approved();
    done["status"]["certificate"] = json!(base64(ca.cert_pem()));
    let again = issued(&pki::Authority::generate("ca").unwrap().cert_pem());
    let want = "status.certificate: Forbidden: updates may not modify existing certificate content";
    check_status(rows, &done, &[(&again, &[want])]);

    let approval = rows.subresource("approval").and_then(|s| s.update).unwrap();
    let approve = |old: &Value, changes: &str| {
        let mut new = old.clone();
        change(&mut new, changes);
        (approval.prepare)(&mut new, old);
        let errors = texts(&(approval.validate)(&new, old));
        (new, errors)
    };
    let (new, errors) = approve(&request(), "status.conditions = [{\"type\":\"Denied\",\"status\":\"True\"}]");
    assert_eq!(errors, [""; 0]);
    assert!(!new["status"]["conditions"][0]["lastTransitionTime"].is_null());
    let (new, errors) = approve(&approved(), &bundle);
    assert_eq!((errors.len(), &new["status"]["certificate"]), (0, &Value::Null), "the certificate is not theirs");
    let (_, errors) = approve(&approved(), "status.conditions = []");
    assert_eq!(errors, ["status.conditions: Forbidden: updates may not remove a condition of type \"Approved\""]);
}

#[test]
fn who_asks_is_what_the_server_saw() {
    let rows = row(GROUP, "certificatesigningrequests");
    let mut object = approved();
    object["spec"]["username"] = json!("root");
    (rows.strategy.fill_from_user.unwrap())(&mut object, &UserInfo::new("ann", ["dev"]));
    assert_eq!(object["spec"]["username"], "ann");
    object["status"]["certificate"] = json!("eA==");
    assert_eq!(cells(rows, &object), ["c", "<unknown>", "a.example/b", "ann", "10m", "Approved,Issued"]);
}

#[test]
fn bundle_rules() {
    let rows = row(GROUP, "clustertrustbundles");
    let ca = pki::Authority::generate("ca").unwrap();
    let leaf = ca.issue_client("ann", &[]).unwrap().cert_pem();
    let base = json!({ "metadata": { "name": "a.example:b:c" },
        "spec": { "signerName": "a.example/b", "trustBundle": ca.cert_pem() } });
    let set = |text: &str| format!("spec.trustBundle = {}", json!(text));
    let omitted = |why: &str| format!("spec.trustBundle: Invalid value: \"<value omitted>\": {why}");
    let (twice, large, key, empty, leaf) = (
        set(&(ca.cert_pem() + &ca.cert_pem())),
        set(&"x".repeat(1024 * 1024 + 1)),
        set("-----BEGIN KEY-----\nAQI=\n-----END KEY-----\n"),
        set("nothing"),
        set(&leaf),
    );
    let broken = set("-----BEGIN CERTIFICATE-----\nAQI=\n-----END CERTIFICATE-----\n");
    let headers = set("-----BEGIN CERTIFICATE-----\na: b\n\nAQI=\n-----END CERTIFICATE-----\n");
    let rules: Rules<'_> = &[
        ("", &[]),
        ("spec.signerName = null ; metadata.name = c", &[]),
        (
            "spec.signerName = null",
            &["metadata.name: Invalid value: \"a.example:b:c\": ClusterTrustBundle without signer name must not have \
               \":\" in its name"],
        ),
        (
            "metadata.name = c",
            &["metadata.name: Invalid value: \"c\": ClusterTrustBundle for signerName a.example/b must be named with \
               prefix a.example:b:"],
        ),
        (
            "spec.signerName = nobody ; metadata.name = nobody:c",
            &["spec.signerName: Invalid value: \"nobody\": must be a fully qualified domain and path of the form \
               'example.com/signer-name'"],
        ),
        (&twice, &[&omitted("duplicate trust anchor (indices [0 1])")]),
        (&large, &["spec.trustBundle: Too long: may not be more than 1048576 bytes"]),
        (&key, &[&omitted("entry 0 has bad block type: KEY")]),
        (&headers, &[&omitted("entry 0 has PEM block headers")]),
        (&broken, &[&omitted("entry 0 does not parse as X.509")]),
        (&leaf, &[&omitted("entry 0 does not have the CA bit set")]),
        (&empty, &[&omitted("at least one trust anchor must be provided")]),
    ];
    check_create(rows, &base, rules);
    let mut old = base.clone();
    old["spec"]["trustBundle"] = json!("from an older server");
    let updates: Rules<'_> =
        &[("metadata.labels.a = b", &[]), (&empty, &[&omitted("at least one trust anchor must be provided")])];
    check_update(rows, &old, updates);
    let mut moved = old.clone();
    change(&mut moved, "spec.signerName = a.example/c ; metadata.name = a.example:c:d");
    let errors = texts(&(rows.strategy.validate_update)(&moved, &defaulted(rows, old)));
    assert_eq!(errors, ["spec.signerName: Invalid value: \"a.example/c\": field is immutable"]);
    assert_eq!(cells(rows, &base), ["a.example:b:c", "a.example/b"]);
}
