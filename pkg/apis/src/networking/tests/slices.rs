use serde_json::{Value, json};

use super::{SUBDOMAIN, invalid};
use crate::testing::{Rules, cells, check_create, check_defaults, check_update, created, defaulted, row, warnings};

#[test]
fn slice_rules() {
    let rows = row("discovery.k8s.io", "endpointslices");
    let base = json!({ "metadata": { "name": "s" }, "addressType": "IPv4", "endpoints": [{ "addresses": ["10.0.0.1"] }],
        "ports": [{ "port": 80 }] });
    let many = |count: usize, item: Value| Value::from(vec![item; count]).to_string();
    let endpoints = format!("endpoints = {}", many(1001, json!({ "addresses": ["10.0.0.1"] })));
    let addresses = format!("endpoints[0].addresses = {}", many(101, json!("10.0.0.1")));
    let zones = format!("endpoints[0].hints.forZones = {}", many(9, json!({ "name": "z" })));
    let nodes = format!("endpoints[0].hints.forNodes = {}", many(9, json!({ "name": "n" })));
    let ports = format!("ports = {}", many(20_001, json!({ "name": "a" })));
    let at = "endpoints[0].addresses[0]";
    let rules: Rules<'_> = &[
        ("", &[]),
        ("addressType = null", &["addressType: Required value"]),
        (
            "addressType = IP",
            &["addressType: Unsupported value: \"IP\": supported values: \"FQDN\", \"IPv4\", \"IPv6\""],
        ),
        (&endpoints, &["endpoints: Too many: 1001: must have at most 1000 items"]),
        (&addresses, &["endpoints[0].addresses: Too many: 101: must have at most 100 items"]),
        ("endpoints[0].addresses = []", &["endpoints[0].addresses: Required value: must contain at least 1 address"]),
        ("addressType = IPv6", &[&invalid(at, "10.0.0.1", "must be an IPv6 address")]),
        ("addressType = IPv6 ; endpoints[0].addresses[0] = 2001:db8::1", &[]),
        (
            "endpoints[0].addresses[0] = 10.0.0",
            &[&invalid(at, "10.0.0", "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")],
        ),
        ("endpoints[0].addresses[0] = 010.0.0.1", &[&invalid(at, "010.0.0.1", "must not have leading 0s")]),
        (
            "endpoints[0].addresses[0] = 127.0.0.1",
            &[&invalid(at, "127.0.0.1", "may not be in the loopback range (127.0.0.0/8, ::1/128)")],
        ),
        ("addressType = FQDN ; endpoints[0].addresses[0] = a.example.", &[]),
        (
            "addressType = FQDN ; endpoints[0].addresses[0] = a",
            &[&invalid(at, "a", "should be a domain with at least two segments separated by dots")],
        ),
        ("addressType = FQDN ; endpoints[0].addresses[0] = A.b", &[&invalid(at, "A.b", SUBDOMAIN)]),
        ("endpoints[0].nodeName = A", &[&invalid("endpoints[0].nodeName", "A", SUBDOMAIN)]),
        ("endpoints[0].hostname = web-0", &[]),
        ("endpoints[0].hostname = a.b", &[&invalid("endpoints[0].hostname", "a.b", "must not contain dots")]),
        ("endpoints[0].hints = {\"forZones\":[{\"name\":\"z\"}],\"forNodes\":[{\"name\":\"n\"}]}", &[]),
        (&zones, &["endpoints[0].hints.forZones: Too many: 9: must have at most 8 items"]),
        (&nodes, &["endpoints[0].hints.forNodes: Too many: 9: must have at most 8 items"]),
        (
            "endpoints[0].hints.forZones = [{\"name\":\"z\"},{\"name\":\"z\"}]",
            &["endpoints[0].hints.forZones[1].name: Duplicate value: \"z\""],
        ),
        (
            "endpoints[0].hints.forNodes = [{\"name\":\"A\"}]",
            &[&invalid("endpoints[0].hints.forNodes[0].name", "A", SUBDOMAIN)],
        ),
        (&ports, &["ports: Too many: 20001: must have at most 20000 items"]),
        ("ports[1] = {}", &["ports[1].name: Duplicate value: \"\""]),
        ("ports[0].name = a.b", &["ports[0].name: Invalid value: \"a.b\": must not contain dots"]),
        (
            "ports[0].protocol = ICMP",
            &["ports[0].protocol: Unsupported value: \"ICMP\": supported values: \"SCTP\", \"TCP\", \"UDP\""],
        ),
        ("ports[0].appProtocol = kubernetes.io/h2c", &[]),
        (
            "ports[0].appProtocol = /h2c",
            &["ports[0].appProtocol: Invalid value: \"/h2c\": prefix part must be non-empty"],
        ),
    ];
    check_create(rows, &base, rules);
    let mut old = base.clone();
    old["endpoints"][0]["addresses"][0] = json!("010.0.0.1");
    check_update(
        rows,
        &old,
        &[
            ("ports[0].port = 81", &[]),
            (
                "addressType = IPv6",
                &[
                    &invalid(at, "010.0.0.1", "must be an IPv6 address"),
                    "addressType: Invalid value: \"IPv6\": field is immutable",
                ],
            ),
        ],
    );
    check_defaults(rows, &base, &[("", "ports[0] = {\"name\":\"\",\"port\":80,\"protocol\":\"TCP\"}")]);
    assert_eq!(cells(rows, &defaulted(rows, base.clone())), ["s", "IPv4", "80", "10.0.0.1", "<unknown>"]);
    let mut named = base;
    named["addressType"] = json!("FQDN");
    assert_eq!(warnings(rows, &named), ["addressType: FQDN endpoints are deprecated"]);
}

#[test]
fn old_topology_is_not_written() {
    let rows = row("discovery.k8s.io", "endpointslices");
    let endpoint = json!({ "addresses": ["10.0.0.1"], "deprecatedTopology": { "zone": "a" } });
    let old = json!({ "metadata": {}, "addressType": "IPv4", "endpoints": [endpoint] });
    let mut new = old.clone();
    (rows.strategy.prepare_for_update)(&mut new, &old);
    assert_eq!(new, old, "unchanged endpoints keep it");
    new["endpoints"][0]["addresses"][0] = json!("10.0.0.2");
    (rows.strategy.prepare_for_update)(&mut new, &old);
    assert_eq!(new["endpoints"][0], json!({ "addresses": ["10.0.0.2"] }));
    assert_eq!(created(rows, old)["endpoints"][0], json!({ "addresses": ["10.0.0.1"] }));
}
