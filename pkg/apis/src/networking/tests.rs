use serde_json::{Value, json};

use crate::testing::{cells, create_errors, defaulted, row};

const GROUP: &str = super::GROUP;

#[test]
fn ingresses() {
    let ingresses = row(GROUP, "ingresses");
    let object = |spec: Value| json!({ "metadata": { "name": "i" }, "spec": spec });
    let path = |backend: Value| {
        let paths = json!([{ "path": "/", "pathType": "Prefix", "backend": backend }]);
        object(json!({ "rules": [{ "host": "a.example", "http": { "paths": paths } }], "ingressClassName": "nginx" }))
    };
    let good = path(json!({ "service": { "name": "web", "port": { "number": 80 } } }));
    assert_eq!(create_errors(ingresses, good.clone()), [""; 0]);
    assert_eq!(cells(ingresses, &good), ["i", "nginx", "a.example", "", "80", "<unknown>"]);
    let cases: &[(Value, &str)] = &[
        (object(json!({})), "spec: Invalid value: null: either `defaultBackend` or `rules` must be specified"),
        (
            path(json!({ "service": { "name": "web" } })),
            "spec.rules[0].http.paths[0].backend.service: Required value: port name or number is required",
        ),
        (
            object(json!({ "rules": [{ "host": "1.2.3.4" }] })),
            "spec.rules[0].host: Invalid value: \"1.2.3.4\": must be a DNS name, not an IP address",
        ),
    ];
    for (object, want) in cases {
        assert_eq!(create_errors(ingresses, object.clone()), [*want]);
    }
}

#[test]
fn policies() {
    let policies = row(GROUP, "networkpolicies");
    let object = |spec: Value| json!({ "metadata": { "name": "p" }, "spec": spec });
    let got = defaulted(policies, object(json!({ "podSelector": {}, "egress": [{ "ports": [{ "port": 53 }] }] })));
    assert_eq!(got["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
    assert_eq!(got["spec"]["egress"][0]["ports"][0]["protocol"], "TCP");
    assert_eq!(cells(policies, &got), ["p", "<none>", "<unknown>"]);
    let block = json!({ "cidr": "10.0.0.0/8", "except": ["11.0.0.0/9"] });
    let bad = object(json!({ "podSelector": {}, "ingress": [{ "from": [{}, { "ipBlock": block }] }] }));
    assert_eq!(
        create_errors(policies, bad),
        [
            "spec.ingress[0].from[0]: Required value: must specify a peer",
            "spec.ingress[0].from[1].ipBlock.except[0]: Invalid value: \"11.0.0.0/9\": must be a strict subset of `cidr`",
        ]
    );
}

#[test]
fn slices() {
    let slices = row("discovery.k8s.io", "endpointslices");
    let slice = |kind: &str, addresses: Value| {
        json!({ "metadata": { "name": "s" }, "addressType": kind, "endpoints": [{ "addresses": addresses }],
            "ports": [{ "port": 80 }] })
    };
    let good = defaulted(slices, slice("IPv4", json!(["10.0.0.1"])));
    assert_eq!(good["ports"][0], json!({ "name": "", "port": 80, "protocol": "TCP" }));
    assert_eq!(create_errors(slices, good.clone()), [""; 0]);
    assert_eq!(cells(slices, &good), ["s", "IPv4", "80", "10.0.0.1", "<unknown>"]);
    let cases: &[(&str, Value, &str)] = &[
        ("IPv4", json!([]), "endpoints[0].addresses: Required value: must contain at least 1 address"),
        (
            "IPv6",
            json!(["10.0.0.1"]),
            "endpoints[0].addresses[0]: Invalid value: \"10.0.0.1\": must be an IPv6 address",
        ),
        (
            "IPv4",
            json!(["127.0.0.1"]),
            "endpoints[0].addresses[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, \
             ::1/128)",
        ),
    ];
    for (kind, addresses, want) in cases {
        assert_eq!(create_errors(slices, slice(kind, addresses.clone())), [*want]);
    }
}
