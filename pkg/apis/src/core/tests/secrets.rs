//! Rules of Secrets.

use base64::Engine;
use serde_json::{Value, json};

use crate::testing::{check_create, check_update, row};

fn secret() -> Value {
    json!({ "metadata": { "name": "s", "namespace": "d" }, "type": "Opaque" })
}

/// The base64 form of so many bytes.
fn large(length: usize) -> String {
    base64::engine::general_purpose::STANDARD.encode(vec![0; length])
}

#[test]
fn types() {
    check_create(
        row("", "secrets"),
        &secret(),
        &[
            ("", &[]),
            ("data = {\"a b\":\"MQ==\"}", &["data[a b]: Invalid value: \"a b\": {config key}"]),
            ("type = kubernetes.io/ssh-auth", &["data[ssh-privatekey]: Required value"]),
            (
                "type = kubernetes.io/ssh-auth ; data = {\"ssh-privatekey\":\"\"}",
                &["data[ssh-privatekey]: Required value"],
            ),
            ("type = kubernetes.io/ssh-auth ; data = {\"ssh-privatekey\":\"MQ==\"}", &[]),
            ("type = kubernetes.io/tls", &["data[tls.crt]: Required value", "data[tls.key]: Required value"]),
            ("type = kubernetes.io/basic-auth", &["data[username]: Required value", "data[password]: Required value"]),
            ("type = kubernetes.io/dockercfg", &["data[.dockercfg]: Required value"]),
            ("type = kubernetes.io/dockercfg ; data = {\".dockercfg\":\"e30=\"}", &[]),
            (
                "type = kubernetes.io/dockercfg ; data = {\".dockercfg\":\"W10=\"}",
                &["data[.dockercfg]: Invalid value: \"<secret contents redacted>\": json: cannot unmarshal array \
             into Go value of type map[string]interface {}"],
            ),
            ("type = kubernetes.io/dockerconfigjson", &["data[.dockerconfigjson]: Required value"]),
            ("type = kubernetes.io/dockerconfigjson ; data = {\".dockerconfigjson\":\"e30=\"}", &[]),
            (
                "type = kubernetes.io/dockerconfigjson ; data = {\".dockerconfigjson\":\"MQ==\"}",
                &["data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\": json: cannot unmarshal \
                   number into Go value of type map[string]interface {}"],
            ),
            ("type = kubernetes.io/tls ; data = {\"tls.crt\":\"\",\"tls.key\":\"\"}", &[]),
            ("type = kubernetes.io/basic-auth ; data = {\"username\":\"MQ==\"}", &[]),
            (
                "type = kubernetes.io/service-account-token ; metadata.annotations[kubernetes.io/service-account.name] = a",
                &[],
            ),
            ("type = a.b/c", &[]),
            (&format!("data.a = {}", large(1024 * 1024)), &[]),
            (&format!("data.a = {}", large(1024 * 1024 + 1)), &["data: Too long: may not be more than 1048576 bytes"]),
            (
                "type = kubernetes.io/service-account-token",
                &["metadata.annotations[kubernetes.io/service-account.name]: Required value"],
            ),
        ],
    );
}

#[test]
fn updates() {
    check_update(
        row("", "secrets"),
        &secret(),
        &[
            ("type = other", &["type: Invalid value: \"other\": field is immutable"]),
            ("data = {\"a\":\"MQ==\"}", &[]),
            ("immutable = true", &[]),
        ],
    );
}

#[test]
fn what_is_frozen_stays() {
    let mut frozen = secret();
    frozen["immutable"] = json!(true);
    frozen["data"] = json!({ "a": "MQ==" });
    check_update(
        row("", "secrets"),
        &frozen,
        &[
            ("metadata.labels.a = b", &[]),
            ("immutable = null", &["immutable: Forbidden: field is immutable when `immutable` is set"]),
            ("data.a = Mg==", &["data: Forbidden: field is immutable when `immutable` is set"]),
            ("stringData.a = \"2\"", &["data: Forbidden: field is immutable when `immutable` is set"]),
            ("stringData.a = \"1\"", &[]),
        ],
    );
}
