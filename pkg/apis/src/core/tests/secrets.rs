//! Rules of Secrets.

use serde_json::{Value, json};

use crate::testing::{check_create, check_update, row};

fn secret() -> Value {
    json!({ "metadata": { "name": "s", "namespace": "d" }, "type": "Opaque" })
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
