mod changes;
mod rules;

use serde_json::{Value, json};

use crate::testing::{cells, created, defaulted, row, update_errors};

fn service(spec: Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "web", "namespace": "d" }, "spec": spec })
}

#[test]
fn defaults() {
    let got = defaulted(row("", "services"), service(json!({ "ports": [{ "port": 80 }] })));
    let want = json!({
        "type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
        "ports": [{ "port": 80, "protocol": "TCP", "targetPort": 80 }],
    });
    assert_eq!(got["spec"], want);
    let got = defaulted(row("", "services"), service(json!({ "type": "NodePort", "sessionAffinity": "ClientIP" })));
    assert_eq!(got["spec"]["externalTrafficPolicy"], "Cluster");
    assert_eq!(got["spec"]["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"], 10800);
}

#[test]
fn families_at_birth() {
    let families = |spec: Value| {
        let mut spec = created(row("", "services"), service(spec))["spec"].take();
        (spec["ipFamilies"].take(), spec["ipFamilyPolicy"].take())
    };
    assert_eq!(families(json!({})), (json!(["IPv4"]), json!("SingleStack")));
    assert_eq!(families(json!({ "clusterIP": "None" })), (json!(["IPv4", "IPv6"]), json!("RequireDualStack")));
    let selecting = json!({ "clusterIP": "None", "selector": { "a": "b" } });
    assert_eq!(families(selecting), (json!(["IPv4"]), json!("SingleStack")));
    assert_eq!(families(json!({ "type": "ExternalName", "externalName": "x.y" })), (Value::Null, Value::Null));
}

#[test]
fn updates_keep_what_was_handed_out() {
    let services = row("", "services");
    let mut old = created(services, service(json!({ "type": "NodePort", "ports": [{ "port": 80 }] })));
    old["spec"]["clusterIP"] = json!("10.43.0.7");
    old["spec"]["clusterIPs"] = json!(["10.43.0.7"]);
    old["spec"]["ports"][0]["nodePort"] = json!(30001);
    let mut new = defaulted(services, service(json!({ "type": "NodePort", "ports": [{ "port": 81 }] })));
    (services.strategy.prepare_for_update)(&mut new, &old);
    assert_eq!(new["spec"]["clusterIP"], "10.43.0.7");
    assert_eq!(new["spec"]["clusterIPs"], json!(["10.43.0.7"]));
    assert_eq!(new["spec"]["ports"][0]["nodePort"], 30001);
    assert_eq!((services.strategy.validate_update)(&new, &old), []);

    let mut new = old.clone();
    new["spec"]["type"] = json!("ExternalName");
    new["spec"]["externalName"] = json!("example.com");
    (services.strategy.prepare_for_update)(&mut new, &old);
    let spec = new["spec"].as_object().expect("a spec");
    assert!(["clusterIP", "clusterIPs", "ipFamilies", "externalTrafficPolicy"].iter().all(|f| !spec.contains_key(*f)));
    assert_eq!(new["spec"]["ports"][0].get("nodePort"), None);

    let mut new = old.clone();
    new["spec"]["clusterIP"] = json!("10.43.0.8");
    (services.strategy.prepare_for_update)(&mut new, &old);
    let errors = crate::testing::texts(&(services.strategy.validate_update)(&new, &old));
    assert_eq!(errors, ["spec.clusterIPs[0]: Invalid value: [\"10.43.0.8\"]: may not change once set"]);
    assert_eq!(update_errors(services, service(json!({ "clusterIP": "None" })), |_| ()), [""; 0]);
}

#[test]
fn columns() {
    let cases: &[(Value, Value, [&str; 4])] = &[
        (
            json!({ "type": "ClusterIP", "clusterIP": "10.0.0.1", "ports": [{ "port": 80, "protocol": "TCP" }] }),
            json!({}),
            ["ClusterIP", "10.0.0.1", "<none>", "80/TCP"],
        ),
        (
            json!({ "type": "NodePort", "clusterIP": "10.0.0.1",
                "ports": [{ "port": 80, "nodePort": 30000, "protocol": "TCP" }, { "port": 53, "protocol": "UDP" }] }),
            json!({}),
            ["NodePort", "10.0.0.1", "<none>", "80:30000/TCP,53/UDP"],
        ),
        (
            json!({ "type": "LoadBalancer", "clusterIP": "10.0.0.1" }),
            json!({}),
            ["LoadBalancer", "10.0.0.1", "<pending>", "<none>"],
        ),
        (
            json!({ "type": "LoadBalancer", "clusterIP": "10.0.0.1", "externalIPs": ["9.9.9.9"] }),
            json!({ "loadBalancer": { "ingress": [{ "ip": "1.2.3.4" }] } }),
            ["LoadBalancer", "10.0.0.1", "1.2.3.4,9.9.9.9", "<none>"],
        ),
        (
            json!({ "type": "ExternalName", "externalName": "example.com" }),
            json!({}),
            ["ExternalName", "<none>", "example.com", "<none>"],
        ),
    ];
    for (spec, status, want) in cases {
        let mut object = service(spec.clone());
        object["status"] = status.clone();
        let got = cells(row("", "services"), &object);
        assert_eq!(got[1..5], *want);
    }
}
