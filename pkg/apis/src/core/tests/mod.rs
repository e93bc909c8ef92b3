mod accounts;
mod claims;
mod config_maps;
mod controllers;
mod endpoints;
mod limit_ranges;
mod namespaces;
mod nodes;
mod quotas;
mod secrets;
mod volumes;

use serde_json::{Value, json};

use crate::testing::{cells, create_errors, created, defaulted, row, texts, update_errors};

fn object(kind: &str, rest: Value) -> Value {
    let mut object = json!({ "apiVersion": "v1", "kind": kind, "metadata": { "name": "x", "namespace": "d" } });
    for (key, value) in rest.as_object().into_iter().flatten() {
        object[key] = value.clone();
    }
    object
}

#[test]
fn namespaces() {
    let namespaces = row("", "namespaces");
    let got = created(namespaces, object("Namespace", json!({})));
    assert_eq!(got["metadata"]["labels"], json!({ "kubernetes.io/metadata.name": "x" }));
    assert_eq!(got["spec"], json!({ "finalizers": ["kubernetes"] }));
    assert_eq!(got["status"], json!({ "phase": "Active" }));
    let mut new = got.clone();
    new["spec"]["finalizers"] = json!([]);
    new["metadata"]["labels"] = json!({});
    (namespaces.strategy.prepare_for_update)(&mut new, &got);
    assert_eq!(new, got, "neither the label nor the finalizers go by an update");
    new["status"]["phase"] = json!("Terminating");
    let errors = texts(&(namespaces.strategy.validate_status_update)(&new, &got));
    let want = "status.Phase: Invalid value: \"Terminating\": may only be 'Active' if `deletionTimestamp` is empty";
    assert_eq!(errors, [want]);
}

#[test]
fn config_maps() {
    let maps = row("", "configmaps");
    let both = object("ConfigMap", json!({ "data": { "a": "1" }, "binaryData": { "a": "MQ==" } }));
    assert_eq!(
        create_errors(maps, both),
        [
            "data[a]: Invalid value: \"a\": duplicate of key present in binaryData",
            "binaryData[a]: Invalid value: \"a\": duplicate of key present in data",
        ]
    );
    let frozen = object("ConfigMap", json!({ "data": { "a": "1" }, "immutable": true }));
    assert_eq!(cells(maps, &frozen)[1], "1");
    let errors = update_errors(maps, frozen, |o| {
        o["data"]["a"] = json!("2");
        o["immutable"] = json!(false);
    });
    let why = "Forbidden: field is immutable when `immutable` is set";
    assert_eq!(errors, [format!("immutable: {why}"), format!("data: {why}")]);
}

#[test]
fn secrets() {
    let secrets = row("", "secrets");
    let got = created(secrets, object("Secret", json!({ "stringData": { "a": "1" }, "data": { "b": "Mg==" } })));
    assert_eq!(got["type"], "Opaque");
    assert_eq!(got["data"], json!({ "a": "MQ==", "b": "Mg==" }));
    assert_eq!(got.get("stringData"), None);
    let cases: &[(Value, &[&str])] = &[
        (json!({ "type": "kubernetes.io/tls" }), &["data[tls.crt]: Required value", "data[tls.key]: Required value"]),
        (
            json!({ "type": "kubernetes.io/service-account-token" }),
            &["metadata.annotations[kubernetes.io/service-account.name]: Required value"],
        ),
        (json!({ "type": "kubernetes.io/basic-auth", "data": { "password": "eA==" } }), &[]),
    ];
    for (rest, want) in cases {
        assert_eq!(create_errors(secrets, object("Secret", rest.clone())), *want);
    }
    let errors = update_errors(secrets, object("Secret", json!({})), |o| o["type"] = json!("other"));
    assert_eq!(errors, ["type: Invalid value: \"other\": field is immutable"]);
}

#[test]
fn nodes() {
    let mut node = object("Node", json!({ "spec": { "unschedulable": true, "podCIDR": "10.0.0.0/24" } }));
    node["metadata"]["labels"] = json!({ "node-role.kubernetes.io/control-plane": "", "kubernetes.io/role": "edge" });
    node["status"] = json!({
        "conditions": [{ "type": "Ready", "status": "True" }],
        "addresses": [{ "type": "InternalIP", "address": "1.2.3.4" }],
        "capacity": { "cpu": "2000m" },
        "nodeInfo": { "kubeletVersion": "v1.37.0", "osImage": "Debian" },
    });
    let nodes = row("", "nodes");
    let node = defaulted(nodes, node);
    assert_eq!(node["spec"]["podCIDRs"], json!(["10.0.0.0/24"]));
    assert_eq!(node["status"]["allocatable"], json!({ "cpu": "2" }));
    let got = cells(nodes, &node);
    assert_eq!(got[1..3], ["Ready,SchedulingDisabled", "control-plane,edge"]);
    assert_eq!(got[5..], ["1.2.3.4", "<none>", "Debian", "<unknown>", "<unknown>"]);
    let errors = update_errors(nodes, node, |n| n["spec"]["podCIDRs"] = json!(["10.1.0.0/24"]));
    let want = "spec.podCIDRs: Forbidden: node updates may not change podCIDR except from \"\" to valid";
    assert_eq!(errors, [want]);
}

#[test]
fn claims_and_volumes() {
    let claims = row("", "persistentvolumeclaims");
    let spec = json!({ "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1024Mi" } } });
    let got = created(claims, object("PersistentVolumeClaim", json!({ "spec": spec })));
    assert_eq!(got["spec"]["volumeMode"], "Filesystem");
    assert_eq!(got["spec"]["resources"]["requests"]["storage"], "1Gi");
    assert_eq!(cells(claims, &got)[1..], ["Pending", "", "", "", "", "<unset>", "<unknown>", "Filesystem"]);
    assert_eq!(
        create_errors(claims, object("PersistentVolumeClaim", json!({ "spec": {} }))),
        [
            "spec.accessModes: Required value: at least 1 access mode is required",
            "spec.resources[storage]: Required value",
        ]
    );
    let volumes = row("", "persistentvolumes");
    let mut volume = created(
        volumes,
        object(
            "PersistentVolume",
            json!({ "spec": {
                "capacity": { "storage": "5Gi" }, "accessModes": ["ReadWriteMany", "ReadWriteOnce"],
                "hostPath": { "path": "/x" }, "claimRef": { "namespace": "d", "name": "c" },
            } }),
        ),
    );
    volume["status"]["phase"] = json!("Bound");
    assert_eq!(texts(&(volumes.strategy.validate)(&volume)), [""; 0]);
    assert_eq!(cells(volumes, &volume)[1..7], ["5Gi", "RWO,RWX", "Retain", "Bound", "d/c", ""]);
    let errors = update_errors(volumes, volume, |v| v["spec"]["hostPath"]["path"] = json!("/y"));
    assert_eq!(errors.len(), 1);
    assert!(errors[0].starts_with(
        "spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation\n"
    ));
}

#[test]
fn endpoints() {
    let endpoints = row("", "endpoints");
    let addresses: Vec<Value> = (1..=4).map(|n| json!({ "ip": format!("10.0.0.{n}") })).collect();
    let object = defaulted(
        endpoints,
        object("Endpoints", json!({ "subsets": [{ "addresses": addresses, "ports": [{ "port": 80 }] }] })),
    );
    assert_eq!(object["subsets"][0]["ports"][0]["protocol"], "TCP");
    assert_eq!(cells(endpoints, &object)[1], "10.0.0.1:80,10.0.0.2:80,10.0.0.3:80 + 1 more...");
}

#[test]
fn limits_and_quotas() {
    let ranges = row("", "limitranges");
    let limit = json!({ "type": "Container", "max": { "cpu": "2" }, "min": { "cpu": "100m", "memory": "1Mi" } });
    let got = defaulted(ranges, object("LimitRange", json!({ "spec": { "limits": [limit] } })));
    let limit = &got["spec"]["limits"][0];
    assert_eq!(limit["default"], json!({ "cpu": "2" }));
    assert_eq!(limit["defaultRequest"], json!({ "cpu": "2", "memory": "1Mi" }));
    let bad = json!({ "type": "Pod", "max": { "cpu": "1" }, "min": { "cpu": "2" } });
    assert_eq!(
        create_errors(ranges, object("LimitRange", json!({ "spec": { "limits": [bad] } }))),
        ["spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1"]
    );
    let quotas = row("", "resourcequotas");
    let hard = json!({ "requests.cpu": "1000m", "limits.cpu": "2", "count/deployments.apps": "3" });
    let mut quota = created(quotas, object("ResourceQuota", json!({ "spec": { "hard": hard } })));
    assert_eq!(texts(&(quotas.strategy.validate)(&quota)), [""; 0]);
    quota["status"] = json!({ "hard": quota["spec"]["hard"], "used": { "requests.cpu": "500m" } });
    let want = ["x", "count/deployments.apps: 0/3, requests.cpu: 500m/1", "limits.cpu: 0/2", "<unknown>"];
    assert_eq!(cells(quotas, &quota), want);
}

#[test]
fn replication_controllers() {
    let controllers = row("", "replicationcontrollers");
    let template = json!({
        "metadata": { "labels": { "app": "web" } }, "spec": { "containers": [{ "name": "c", "image": "i" }] },
    });
    let got = created(controllers, object("ReplicationController", json!({ "spec": { "template": template } })));
    assert_eq!(got["spec"]["selector"], json!({ "app": "web" }));
    assert_eq!(got["metadata"]["labels"], json!({ "app": "web" }));
    assert_eq!(got["spec"]["replicas"], 1);
    assert_eq!(got["spec"]["template"]["spec"].get("enableServiceLinks"), None, "only pods get it");
    assert_eq!(texts(&(controllers.strategy.validate)(&got)), [""; 0]);
    assert_eq!(cells(controllers, &got), ["x", "1", "0", "0", "<unknown>", "c", "i", "app=web"]);
}
