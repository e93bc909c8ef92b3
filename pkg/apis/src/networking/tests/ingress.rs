use serde_json::{Value, json};

use super::{GROUP, SUBDOMAIN, invalid};
use crate::testing::{
    Rules, cells, change, check_create, check_defaults, check_status, check_update, row, update_errors, warnings,
};

fn ingress() -> Value {
    let backend = json!({ "service": { "name": "web", "port": { "number": 80 } } });
    json!({ "metadata": { "name": "i" }, "spec": {
        "ingressClassName": "nginx", "tls": [{ "hosts": ["a.example"], "secretName": "s" }],
        "rules": [{ "host": "a.example", "http": { "paths": [{ "path": "/", "pathType": "Prefix", "backend": backend }] } }],
    } })
}

#[test]
fn ingress_rules() {
    let rows = row(GROUP, "ingresses");
    let rules: Rules<'_> = &[
        ("", &[]),
        ("spec = {}", &["spec: Invalid value: null: either `defaultBackend` or `rules` must be specified"]),
        ("spec.rules[0].host = *.example", &[]),
        ("spec.ingressClassName = A", &["spec.ingressClassName: Invalid value: \"A\": {subdomain}"]),
        ("spec.rules[0].http = null", &[]),
        ("spec.rules[0].http.paths = []", &["spec.rules[0].http.paths: Required value"]),
        (
            "spec.rules[0].http.paths[0].pathType = null",
            &["spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified"],
        ),
        (
            "spec.rules[0].http.paths[0].pathType = Some",
            &["spec.rules[0].http.paths[0].pathType: Unsupported value: \"Some\": supported values: \"Exact\", \
               \"ImplementationSpecific\", \"Prefix\""],
        ),
        (
            "spec.rules[0].http.paths[0].path = x//y",
            &[
                "spec.rules[0].http.paths[0].path: Invalid value: \"x//y\": must be an absolute path",
                "spec.rules[0].http.paths[0].path: Invalid value: \"x//y\": must not contain '//'",
            ],
        ),
        (
            "spec.rules[0].http.paths[0].path = /a/..",
            &["spec.rules[0].http.paths[0].path: Invalid value: \"/a/..\": cannot end with '/..'"],
        ),
        (
            "spec.rules[0].http.paths[0].pathType = ImplementationSpecific ; spec.rules[0].http.paths[0].path = null",
            &[],
        ),
        (
            "spec.rules[0].http.paths[0].pathType = ImplementationSpecific ; spec.rules[0].http.paths[0].path = x",
            &["spec.rules[0].http.paths[0].path: Invalid value: \"x\": must be an absolute path"],
        ),
        ("spec.defaultBackend.resource = {\"apiGroup\":\"a.example\",\"kind\":\"K\",\"name\":\"n\"}", &[]),
        (
            "spec.defaultBackend.resource = {\"kind\":\"a/b\"}",
            &[
                "spec.defaultBackend.resource.kind: Invalid value: \"a/b\": may not contain '/'",
                "spec.defaultBackend.resource.name: Required value",
            ],
        ),
        (
            "spec.defaultBackend = {}",
            &["spec.defaultBackend: Invalid value: \"\": resource or service backend is required"],
        ),
        (
            "spec.defaultBackend = {\"resource\":{},\"service\":{}}",
            &["spec.defaultBackend: Invalid value: \"\": cannot set both resource and service backends"],
        ),
        (
            "spec.defaultBackend.service = {}",
            &[
                "spec.defaultBackend.service.name: Required value",
                "spec.defaultBackend: Required value: port name or number is required",
            ],
        ),
        ("spec.defaultBackend.service = {\"name\":\"9to5\",\"port\":{\"name\":\"http\"}}", &[]),
        (
            "spec.defaultBackend.service = {\"name\":\"s\",\"port\":{\"name\":\"http\",\"number\":1}}",
            &["spec.defaultBackend: Invalid value: \"\": cannot set both port name & port number"],
        ),
        (
            "spec.defaultBackend.service = {\"name\":\"s\",\"port\":{\"number\":65536}}",
            &["spec.defaultBackend.service.port.number: Invalid value: 65536: must be between 1 and 65535, inclusive"],
        ),
        (
            "spec.defaultBackend.service = {\"name\":\"s\",\"port\":{\"name\":\"1\"}}",
            &["spec.defaultBackend.service.port.name: Invalid value: \"1\": must contain at least one letter (a-z)"],
        ),
        (
            "spec.rules[0].host = 1.2.3.4",
            &["spec.rules[0].host: Invalid value: \"1.2.3.4\": must be a DNS name, not an IP address"],
        ),
        ("spec.rules[0].host = A", &[&invalid("spec.rules[0].host", "A", SUBDOMAIN)]),
        ("spec.tls[0].hosts[0] = A", &[&invalid("spec.tls[0].hosts[0]", "A", SUBDOMAIN)]),
        ("spec.tls[0].secretName = A", &[&invalid("spec.tls[0].secretName", "A", SUBDOMAIN)]),
        ("spec.ingressClassName = A", &[&invalid("spec.ingressClassName", "A", SUBDOMAIN)]),
        ("metadata.annotations[kubernetes.io/ingress.class] = nginx", &[]),
        (
            "metadata.annotations[kubernetes.io/ingress.class] = other",
            &[
                "annotations.kubernetes.io/ingress.class: Invalid value: \"other\": must match `ingressClassName` when both \
               are specified",
            ],
        ),
    ];
    check_create(rows, &ingress(), rules);
    // What an older server let in may stay.
    let old = |changes: &str| {
        let mut object = ingress();
        change(&mut object, changes);
        object
    };
    let touch = |object: &mut Value| object["spec"]["ingressClassName"] = json!("other");
    assert_eq!(update_errors(rows, old("spec.tls[0].secretName = A"), touch), [""; 0]);
    let wildcard = "spec.rules[0].host = *.example ; spec.rules[0].http.paths[0].pathType = Odd";
    assert_eq!(update_errors(rows, old(wildcard), touch), [""; 0]);
    check_status(
        rows,
        &old("status.loadBalancer.ingress = [{\"ip\":\"01.2.3.4\"}]"),
        &[
            ("status.loadBalancer.ingress[0].hostname = a.example", &[]),
            (
                "status.loadBalancer.ingress[1] = {\"ip\":\"01.2.3.5\"}",
                &["status.loadBalancer.ingress[1].ip: Invalid value: \"01.2.3.5\": must not have leading 0s"],
            ),
            (
                "status.loadBalancer.ingress[0].hostname = 1.2.3.4",
                &[
                    "status.loadBalancer.ingress[0].hostname: Invalid value: \"1.2.3.4\": must be a DNS name, not an IP \
                   address",
                ],
            ),
        ],
    );
    let annotated = old("metadata.annotations[kubernetes.io/ingress.class] = nginx");
    let want = "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead";
    assert_eq!(warnings(rows, &annotated), [want]);
    assert_eq!(warnings(rows, &ingress()), [""; 0]);
}

#[test]
fn ingress_cells() {
    let rows = row(GROUP, "ingresses");
    let mut object = ingress();
    assert_eq!(cells(rows, &object), ["i", "nginx", "a.example", "", "80, 443", "<unknown>"]);
    object["spec"] = json!({ "rules": [{ "host": "a" }, {}, { "host": "b" }, { "host": "c" }, {}, { "host": "d" }] });
    object["status"] = json!({ "loadBalancer": { "ingress": [{ "hostname": "x.example" }, { "ip": "10.0.0.1" }] } });
    assert_eq!(cells(rows, &object), ["i", "<none>", "a,b,c + 3 more...", "10.0.0.1,x.example", "80", "<unknown>"]);
}

#[test]
fn ingress_class_rules() {
    let rows = row(GROUP, "ingressclasses");
    let parameters = json!({ "kind": "P", "name": "p" });
    let base =
        json!({ "metadata": { "name": "c" }, "spec": { "controller": "a.example/b", "parameters": parameters } });
    let long = format!("spec.controller = a.example/{}", "x".repeat(250));
    let rules: Rules<'_> = &[
        ("", &[]),
        ("spec.controller = null", &["spec.controller: Required value"]),
        (&long, &["spec.controller: Too long: may not be more than 250 bytes"]),
        (
            "spec.controller = x",
            &["spec.controller: Invalid value: \"x\": must be a domain-prefixed path (such as \"acme.io/foo\")"],
        ),
        ("spec.controller = A/b", &[&invalid("spec.controller", "A", SUBDOMAIN)]),
        (
            "spec.controller = a/ b",
            &["spec.controller: Invalid value: \" b\": Invalid path (regex used for validation is \
               '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')"],
        ),
        ("spec.parameters = null", &[]),
        ("spec.parameters = {}", &["spec.parameters.kind: Required value", "spec.parameters.name: Required value"]),
        ("spec.parameters.apiGroup = A", &[&invalid("spec.parameters.apiGroup", "A", SUBDOMAIN)]),
        ("spec.parameters.name = %", &["spec.parameters.name: Invalid value: \"%\": may not contain '%'"]),
        (
            "spec.parameters.scope = Some",
            &["spec.parameters.scope: Unsupported value: \"Some\": supported values: \"Cluster\", \"Namespace\""],
        ),
        ("spec.parameters.scope = Namespace ; spec.parameters.namespace = d", &[]),
        (
            "spec.parameters.scope = Namespace",
            &["spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'"],
        ),
        (
            "spec.parameters.namespace = d",
            &["spec.parameters.namespace: Forbidden: `parameters.scope` is set to 'Cluster'"],
        ),
    ];
    check_create(rows, &base, rules);
    check_update(
        rows,
        &base,
        &[
            ("spec.parameters.name = q", &[]),
            ("spec.controller = a.example/c", &["spec.controller: Invalid value: \"a.example/c\": field is immutable"]),
        ],
    );
    check_defaults(rows, &base, &[("", "spec.parameters.scope = Cluster")]);
    assert_eq!(cells(rows, &base), ["c", "a.example/b", "P/p", "<unknown>"]);
}
