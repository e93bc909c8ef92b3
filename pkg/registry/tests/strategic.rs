//! Strategic merge patches on built-in kinds: the schema's merge keys and strategies as the API reference has them. One case
//! a row: kind, object, patch, result.

#![allow(clippy::unwrap_used)]

use apimachinery::GroupVersionKind;
use apimachinery::patch::strategic;
use apis::schema::{self, Schema};
use serde_json::{Value, json};

fn check(cases: impl IntoIterator<Item = (&'static str, Value, Value, Value)>) {
    for (kind, object, patch, expected) in cases {
        let (api_version, name) = kind.rsplit_once(' ').unwrap();
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let root = schema::type_of(&GroupVersionKind::new(group, version, name)).unwrap();
        let mut merged = object;
        strategic::merge(&mut merged, patch.clone(), &Schema, root).unwrap_or_else(|e| panic!("{kind} {patch}: {e}"));
        assert_eq!(merged, expected, "{kind} {patch}");
    }
}

#[test]
fn pods() {
    let spec = |spec: Value| json!({ "spec": spec });
    let one = |field: &str, old: Value, patch: Value, new: Value| {
        ("v1 Pod", spec(json!({ field: old })), spec(json!({ field: patch })), spec(json!({ field: new })))
    };
    check([
        one(
            "containers",
            json!([{ "name": "a", "image": "a:1" }]),
            json!([{ "name": "a", "image": "a:2" }]),
            json!([{ "name": "a", "image": "a:2" }]),
        ),
        one(
            "initContainers",
            json!([{ "name": "a", "image": "a:1" }]),
            json!([{ "name": "a", "command": ["x"] }]),
            json!([{ "name": "a", "image": "a:1", "command": ["x"] }]),
        ),
        one(
            "ephemeralContainers",
            json!([{ "name": "a" }]),
            json!([{ "name": "a", "image": "a:1" }]),
            json!([{ "name": "a", "image": "a:1" }]),
        ),
        one(
            "volumes",
            json!([{ "name": "v", "emptyDir": {} }]),
            json!([{ "name": "v", "$retainKeys": ["name", "secret"], "secret": { "secretName": "s" } }]),
            json!([{ "name": "v", "secret": { "secretName": "s" } }]),
        ),
        one(
            "imagePullSecrets",
            json!([{ "name": "a" }]),
            json!([{ "name": "b" }]),
            json!([{ "name": "b" }, { "name": "a" }]),
        ),
        one(
            "hostAliases",
            json!([{ "ip": "1.1.1.1", "hostnames": ["a"] }]),
            json!([{ "ip": "1.1.1.1", "hostnames": ["b"] }]),
            json!([{ "ip": "1.1.1.1", "hostnames": ["b"] }]),
        ),
        one(
            "topologySpreadConstraints",
            json!([{ "topologyKey": "zone", "maxSkew": 1 }]),
            json!([{ "topologyKey": "zone", "maxSkew": 2 }]),
            json!([{ "topologyKey": "zone", "maxSkew": 2 }]),
        ),
        one(
            "resourceClaims",
            json!([{ "name": "a", "resourceClaimName": "x" }]),
            json!([{ "$patch": "delete", "name": "a" }]),
            json!([]),
        ),
        one(
            "schedulingGates",
            json!([{ "name": "a" }, { "name": "b" }]),
            json!([{ "$patch": "delete", "name": "a" }]),
            json!([{ "name": "b" }]),
        ),
        one(
            "tolerations",
            json!([{ "key": "a", "operator": "Exists" }]),
            json!([{ "key": "b", "operator": "Exists" }]),
            json!([{ "key": "b", "operator": "Exists" }]),
        ),
        one(
            "readinessGates",
            json!([{ "conditionType": "a" }]),
            json!([{ "conditionType": "b" }]),
            json!([{ "conditionType": "b" }]),
        ),
        one("nodeSelector", json!({ "a": "1" }), json!({ "b": "2" }), json!({ "a": "1", "b": "2" })),
        one("nodeSelector", json!({ "a": "1" }), json!({ "$patch": "replace", "b": "2" }), json!({ "b": "2" })),
        one(
            "affinity",
            json!({ "nodeAffinity": {} }),
            json!({ "podAffinity": {} }),
            json!({ "nodeAffinity": {}, "podAffinity": {} }),
        ),
        one(
            "securityContext",
            json!({ "runAsUser": 1 }),
            json!({ "runAsGroup": 2 }),
            json!({ "runAsUser": 1, "runAsGroup": 2 }),
        ),
        one("overhead", json!({ "cpu": "1" }), json!({ "memory": "1Gi" }), json!({ "cpu": "1", "memory": "1Gi" })),
    ]);
}

#[test]
fn containers() {
    let wrap = |container: Value| json!({ "spec": { "containers": [container] } });
    let one = |field: &str, old: Value, patch: Value, new: Value| {
        (
            "v1 Pod",
            wrap(json!({ "name": "c", field: old })),
            wrap(json!({ "name": "c", field: patch })),
            wrap(json!({ "name": "c", field: new })),
        )
    };
    check([
        one(
            "env",
            json!([{ "name": "A", "value": "1" }, { "name": "B", "value": "2" }]),
            json!([{ "name": "B", "value": "3" }]),
            json!([{ "name": "A", "value": "1" }, { "name": "B", "value": "3" }]),
        ),
        one(
            "env",
            json!([{ "name": "A", "value": "1" }]),
            json!([{ "name": "A", "value": null, "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } }]),
            json!([{ "name": "A", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } }]),
        ),
        one(
            "ports",
            json!([{ "containerPort": 80, "protocol": "TCP" }]),
            json!([{ "containerPort": 80, "name": "web" }]),
            json!([{ "containerPort": 80, "protocol": "TCP", "name": "web" }]),
        ),
        one(
            "volumeMounts",
            json!([{ "name": "v", "mountPath": "/a" }]),
            json!([{ "name": "v", "mountPath": "/b" }]),
            json!([{ "name": "v", "mountPath": "/b" }, { "name": "v", "mountPath": "/a" }]),
        ),
        one(
            "volumeDevices",
            json!([{ "name": "v", "devicePath": "/a" }]),
            json!([{ "name": "w", "devicePath": "/a" }]),
            json!([{ "name": "w", "devicePath": "/a" }]),
        ),
        one("args", json!(["a", "b"]), json!(["c"]), json!(["c"])),
        one("command", json!(["a"]), json!([]), json!([])),
        one("envFrom", json!([{ "prefix": "a" }]), json!([{ "prefix": "b" }]), json!([{ "prefix": "b" }])),
        one(
            "resources",
            json!({ "limits": { "cpu": "1" } }),
            json!({ "limits": { "memory": "1Gi" } }),
            json!({ "limits": { "cpu": "1", "memory": "1Gi" } }),
        ),
        one(
            "securityContext",
            json!({ "capabilities": { "add": ["A"], "drop": ["B"] } }),
            json!({ "capabilities": { "add": ["C"] } }),
            json!({ "capabilities": { "add": ["C"], "drop": ["B"] } }),
        ),
        one(
            "livenessProbe",
            json!({ "httpGet": { "path": "/", "port": 80 } }),
            json!({ "httpGet": null, "tcpSocket": { "port": 80 } }),
            json!({ "tcpSocket": { "port": 80 } }),
        ),
    ]);
}

#[test]
fn metadata_of_every_kind() {
    let one = |field: &str, old: Value, patch: Value, new: Value| {
        let wrap = |value: Value| json!({ "metadata": { field: value } });
        ("v1 ConfigMap", wrap(old), wrap(patch), wrap(new))
    };
    check([
        one("labels", json!({ "a": "1", "b": "2" }), json!({ "a": null, "c": "3" }), json!({ "b": "2", "c": "3" })),
        one("annotations", json!({ "a": "1" }), json!({ "$patch": "delete" }), json!({})),
        one("finalizers", json!(["a/x"]), json!(["b/y"]), json!(["b/y", "a/x"])),
        one(
            "ownerReferences",
            json!([{ "uid": "1", "name": "a" }]),
            json!([{ "uid": "1", "controller": true }]),
            json!([{ "uid": "1", "name": "a", "controller": true }]),
        ),
        one(
            "ownerReferences",
            json!([{ "uid": "1", "name": "a" }, { "uid": "2", "name": "b" }]),
            json!([{ "$patch": "delete", "uid": "1" }]),
            json!([{ "uid": "2", "name": "b" }]),
        ),
        one("managedFields", json!([{ "manager": "a" }]), json!([{ "manager": "b" }]), json!([{ "manager": "b" }])),
        (
            "v1 ConfigMap",
            json!({ "metadata": { "finalizers": ["a/x", "b/y"] } }),
            json!({ "metadata": { "$deleteFromPrimitiveList/finalizers": ["a/x"] } }),
            json!({ "metadata": { "finalizers": ["b/y"] } }),
        ),
    ]);
}

#[test]
fn workloads_services_and_the_rest() {
    check([
        (
            "apps/v1 Deployment",
            json!({ "spec": { "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1 } } } }),
            json!({ "spec": { "strategy": { "$retainKeys": ["type"], "type": "Recreate" } } }),
            json!({ "spec": { "strategy": { "type": "Recreate" } } }),
        ),
        (
            "apps/v1 Deployment",
            json!({ "status": { "conditions": [{ "type": "Available", "status": "True" }] } }),
            json!({ "status": { "conditions": [{ "type": "Available", "status": "False" }] } }),
            json!({ "status": { "conditions": [{ "type": "Available", "status": "False" }] } }),
        ),
        (
            "apps/v1 Deployment",
            json!({ "spec": { "selector": { "matchExpressions": [{ "key": "a", "operator": "Exists" }] } } }),
            json!({ "spec": { "selector": { "matchExpressions": [{ "key": "b", "operator": "Exists" }] } } }),
            json!({ "spec": { "selector": { "matchExpressions": [{ "key": "b", "operator": "Exists" }] } } }),
        ),
        (
            "apps/v1 StatefulSet",
            json!({ "spec": { "volumeClaimTemplates": [{ "metadata": { "name": "a" } }] } }),
            json!({ "spec": { "volumeClaimTemplates": [{ "metadata": { "name": "b" } }] } }),
            json!({ "spec": { "volumeClaimTemplates": [{ "metadata": { "name": "b" } }] } }),
        ),
        (
            "batch/v1 CronJob",
            json!({ "status": { "active": [{ "name": "a" }] } }),
            json!({ "status": { "active": [{ "name": "b" }] } }),
            json!({ "status": { "active": [{ "name": "b" }] } }),
        ),
        (
            "batch/v1 Job",
            json!({ "status": { "conditions": [{ "type": "Failed", "status": "True" }] } }),
            json!({ "status": { "conditions": [{ "type": "Complete", "status": "True" }] } }),
            json!({ "status": { "conditions": [{ "type": "Complete", "status": "True" }, { "type": "Failed", "status": "True" }] } }),
        ),
        (
            "v1 Service",
            json!({ "spec": { "ports": [{ "port": 80, "protocol": "TCP", "nodePort": 30000 }] } }),
            json!({ "spec": { "ports": [{ "port": 80, "targetPort": 8080 }] } }),
            json!({ "spec": { "ports": [{ "port": 80, "protocol": "TCP", "nodePort": 30000, "targetPort": 8080 }] } }),
        ),
        (
            "v1 Service",
            json!({ "spec": { "selector": { "a": "1" } } }),
            json!({ "spec": { "selector": { "b": "2" } } }),
            json!({ "spec": { "selector": { "a": "1", "b": "2" } } }),
        ),
        (
            "v1 Service",
            json!({ "spec": { "externalIPs": ["1.1.1.1"] } }),
            json!({ "spec": { "externalIPs": ["2.2.2.2"] } }),
            json!({ "spec": { "externalIPs": ["2.2.2.2"] } }),
        ),
        (
            "v1 ServiceAccount",
            json!({ "secrets": [{ "name": "a" }] }),
            json!({ "secrets": [{ "name": "b" }] }),
            json!({ "secrets": [{ "name": "b" }, { "name": "a" }] }),
        ),
        (
            "v1 Node",
            json!({ "spec": { "taints": [{ "key": "a", "effect": "NoSchedule" }] } }),
            json!({ "spec": { "taints": [{ "key": "b", "effect": "NoSchedule" }] } }),
            json!({ "spec": { "taints": [{ "key": "b", "effect": "NoSchedule" }] } }),
        ),
        (
            "v1 Node",
            json!({ "spec": { "podCIDRs": ["10.0.0.0/24"] } }),
            json!({ "spec": { "podCIDRs": ["10.0.1.0/24"] } }),
            json!({ "spec": { "podCIDRs": ["10.0.1.0/24", "10.0.0.0/24"] } }),
        ),
        (
            "v1 Node",
            json!({ "status": { "addresses": [{ "type": "InternalIP", "address": "1.1.1.1" }] } }),
            json!({ "status": { "addresses": [{ "type": "InternalIP", "address": "2.2.2.2" }] } }),
            json!({ "status": { "addresses": [{ "type": "InternalIP", "address": "2.2.2.2" }] } }),
        ),
        (
            "v1 Secret",
            json!({ "data": { "a": "YQ==" } }),
            json!({ "data": { "b": "Yg==" } }),
            json!({ "data": { "a": "YQ==", "b": "Yg==" } }),
        ),
        (
            "rbac.authorization.k8s.io/v1 Role",
            json!({ "rules": [{ "verbs": ["get"] }] }),
            json!({ "rules": [{ "verbs": ["list"] }] }),
            json!({ "rules": [{ "verbs": ["list"] }] }),
        ),
        (
            "networking.k8s.io/v1 Ingress",
            json!({ "spec": { "rules": [{ "host": "a" }] } }),
            json!({ "spec": { "rules": [{ "host": "b" }] } }),
            json!({ "spec": { "rules": [{ "host": "b" }] } }),
        ),
        (
            "admissionregistration.k8s.io/v1 ValidatingWebhookConfiguration",
            json!({ "webhooks": [{ "name": "a", "timeoutSeconds": 1 }] }),
            json!({ "webhooks": [{ "name": "a", "failurePolicy": "Ignore" }] }),
            json!({ "webhooks": [{ "name": "a", "timeoutSeconds": 1, "failurePolicy": "Ignore" }] }),
        ),
        (
            "policy/v1 PodDisruptionBudget",
            json!({ "spec": { "selector": { "matchLabels": { "a": "1" } } } }),
            json!({ "spec": { "selector": { "matchLabels": { "b": "2" } } } }),
            json!({ "spec": { "selector": { "matchLabels": { "b": "2" } } } }),
        ),
    ]);
}
