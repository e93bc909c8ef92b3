//! Rules of Endpoints.

use serde_json::{Value, json};

use crate::testing::{check_create, check_update, check_warnings, row};

fn endpoints() -> Value {
    json!({ "metadata": { "name": "e", "namespace": "d" }, "subsets": [{ "addresses": [{ "ip": "10.0.0.1" }], "ports": [{ "port": 80 }] }] })
}

#[test]
fn subsets() {
    check_create(
        row("", "endpoints"),
        &endpoints(),
        &[
            ("", &[]),
            (
                "subsets[0].addresses = []",
                &["subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`"],
            ),
            (
                "subsets[0].addresses[0] = {\"ip\":\"127.0.0.1\",\"hostname\":\"A\",\"nodeName\":\"A\"}",
                &[
                    "subsets[0].addresses[0].hostname: Invalid value: \"A\": {label}",
                    "subsets[0].addresses[0].nodeName: Invalid value: \"A\": {subdomain}",
                    "subsets[0].addresses[0].ip: Invalid value: \"127.0.0.1\": may not be in the loopback range \
             (127.0.0.0/8, ::1/128)",
                ],
            ),
            (
                "subsets[0].addresses[0].ip = x",
                &["subsets[0].addresses[0].ip: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or \
             2001:db8::ffff)"],
            ),
            (
                "subsets[0].ports[1] = {\"port\":81}",
                &["subsets[0].ports[0].name: Required value", "subsets[0].ports[1].name: Required value"],
            ),
            (
                "subsets[0].ports[0] = {\"port\":0,\"protocol\":\"ICMP\",\"name\":\"A\",\"appProtocol\":\"a b\"}",
                &[
                    "subsets[0].ports[0].name: Invalid value: \"A\": {label}",
                    "subsets[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
                    "subsets[0].ports[0].protocol: Unsupported value: \"ICMP\": supported values: \"SCTP\", \"TCP\", \
             \"UDP\"",
                    "subsets[0].ports[0].appProtocol: Invalid value: \"a b\": {name part}",
                ],
            ),
        ],
    );
}

#[test]
fn only_changed_subsets_are_checked() {
    let mut old = endpoints();
    old["subsets"][0]["ports"][0]["port"] = json!(0);
    let why = "subsets[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive";
    check_update(
        row("", "endpoints"),
        &old,
        &[("metadata.labels.a = b", &[]), ("subsets[0].addresses[0].ip = 10.0.0.2", &[why])],
    );
    check_create(
        row("", "endpoints"),
        &endpoints(),
        &[(
            r#"subsets[0] = {"notReadyAddresses":[{"ip":"224.0.0.1"},{"ip":"169.254.0.1"},{"ip":"::"}]}"#,
            &[
                "subsets[0].notReadyAddresses[0].ip: Invalid value: \"224.0.0.1\": may not be in the link-local multicast \
                 range (224.0.0.0/24, ff02::/10)",
                "subsets[0].notReadyAddresses[1].ip: Invalid value: \"169.254.0.1\": may not be in the link-local range \
                 (169.254.0.0/16, fe80::/10)",
                "subsets[0].notReadyAddresses[2].ip: Invalid value: \"::\": may not be unspecified (::)",
            ],
        )],
    );
    let text = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice";
    check_warnings(row("", "endpoints"), &endpoints(), &[("", &[text])]);
}
