//! What a node may and may not do.

use serde_json::json;

use super::*;
use crate::plugins::MIRROR_ANNOTATION;
use crate::testing::{Allow, Ask, World, ask};

fn plugin() -> NodeRestriction {
    let pod = |name: &str, node: &str| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "ns", "uid": format!("{name}-uid")},
               "spec": {"nodeName": node, "volumes": [{"projected": {"sources": [
                   {"serviceAccountToken": {"path": "token"}}, {"serviceAccountToken": {"audience": "vault"}}]}}]}})
    };
    let world = World::new([
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "uid": "n1-uid"}}),
        pod("mine", "n1"),
        pod("theirs", "n2"),
    ]);
    NodeRestriction::new(world, Arc::new(Allow(&["request-serviceaccounts-token-audience serviceaccounts/special"])))
}

fn by_node(operation: Operation, group: &str, resource: &str) -> Ask {
    ask(operation, group, resource).by(UserInfo::new("system:node:n1", ["system:nodes"]))
}

/// The refusal's reason, or empty.
fn why(ask: &Ask, new: Option<&Value>, old: Option<&Value>) -> String {
    match plugin().validate(&ask.attributes(), new, old) {
        Ok(()) => String::new(),
        Err(error) => error.message().split_once("forbidden: ").map_or(error.message(), |(_, why)| why).to_owned(),
    }
}

fn mirror() -> Value {
    json!({"metadata": {"name": "m", "annotations": {MIRROR_ANNOTATION: "x"}, "ownerReferences": [
        {"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "n1-uid", "controller": true}]},
        "spec": {"nodeName": "n1", "containers": [{"name": "c"}]}})
}

#[test]
fn mirror_pods_only() {
    let create = by_node(Operation::Create, "", "pods").named("m");
    assert_eq!(why(&create, Some(&mirror()), None), "");
    let with = |change: fn(&mut Value)| {
        let mut pod = mirror();
        change(&mut pod);
        why(&create, Some(&pod), None)
    };
    type Case = (fn(&mut Value), &'static str);
    let cases: [Case; 14] = [
        (|p| p["metadata"]["annotations"] = json!({}), "can only create mirror pods"),
        (|p| p["spec"]["nodeName"] = "n2".into(), "can only create pods with spec.nodeName set to itself"),
        (|p| p["metadata"]["ownerReferences"] = json!([]), "an owner reference set to itself"),
        (|p| p["metadata"]["ownerReferences"][0]["name"] = "n2".into(), "an owner reference set to itself"),
        (|p| p["metadata"]["ownerReferences"][0]["controller"] = false.into(), "a controller owner reference"),
        (
            |p| p["metadata"]["ownerReferences"][0]["blockOwnerDeletion"] = true.into(),
            "must not set blockOwnerDeletion",
        ),
        (|p| p["metadata"]["ownerReferences"][0]["uid"] = "x".into(), "node n1 UID mismatch: expected x got n1-uid"),
        (|p| p["spec"]["serviceAccountName"] = "sa".into(), "reference a service account"),
        (|p| p["spec"]["imagePullSecrets"] = json!([{"name": "s"}]), "reference secrets"),
        (
            |p| p["spec"]["ephemeralContainers"] = json!([{"env": [{"valueFrom": {"secretKeyRef": {}}}]}]),
            "reference secrets",
        ),
        (|p| p["spec"]["initContainers"] = json!([{"envFrom": [{"configMapRef": {}}]}]), "reference configmaps"),
        (|p| p["spec"]["volumes"] = json!([{"projected": {"sources": [{"configMap": {}}]}}]), "reference configmaps"),
        (|p| p["spec"]["volumes"] = json!([{"persistentVolumeClaim": {}}]), "reference persistentvolumeclaims"),
        (|p| p["spec"]["resourceClaims"] = json!([{"name": "x"}]), "reference resourceclaims"),
    ];
    for (change, text) in cases {
        let got = with(change);
        assert!(got.contains(text), "{got:?}, want {text:?}");
    }
}

#[test]
fn pods_of_the_node_only() {
    let of = |operation, sub: &str, name: &str| by_node(operation, "", "pods").of(sub).named(name);
    let delete = |name| why(&of(Operation::Delete, "", name), None, None);
    assert_eq!(delete("mine"), "");
    assert_eq!(delete("theirs"), "node \"n1\" can only delete pods with spec.nodeName set to itself");
    assert_eq!(delete("gone"), "pods \"gone\" not found");
    let evict = |name| why(&of(Operation::Create, "eviction", name), Some(&json!({})), None);
    assert_eq!(evict("mine"), "");
    assert_eq!(evict("theirs"), "node n1 can only evict pods with spec.nodeName set to itself");
    let pod = |node: &str, label: &str| json!({"metadata": {"name": "p", "labels": {"a": label}}, "spec": {"nodeName": node}});
    let status = |new: &Value, old: &Value| why(&of(Operation::Update, "status", "p"), Some(new), Some(old));
    assert_eq!(status(&pod("n1", "x"), &pod("n1", "x")), "");
    assert!(status(&pod("n2", "x"), &pod("n2", "x")).contains("can only update pod status for pods"));
    assert!(status(&pod("n1", "y"), &pod("n1", "x")).contains("cannot update labels through pod status"));
    assert!(
        why(&of(Operation::Update, "", "mine"), Some(&json!({})), Some(&json!({})))
            .contains("unexpected operation \"UPDATE\"")
    );
    assert!(why(&of(Operation::Create, "exec", "mine"), None, None).contains("unexpected pod subresource \"exec\""));
}

#[test]
fn its_own_node_and_no_privileged_labels() {
    let node = |name: &str, labels: Value, taints: Value| json!({"metadata": {"name": name, "labels": labels}, "spec": {"taints": taints}});
    let create = |node: &Value| why(&by_node(Operation::Create, "", "nodes").in_namespace(""), Some(node), None);
    let good = json!({"kubernetes.io/hostname": "n1", "kubernetes.io/os": "linux", "node.kubernetes.io/x": "y", "example.com/a": "b"});
    assert_eq!(create(&node("n1", good.clone(), json!([]))), "");
    assert_eq!(create(&node("n2", json!({}), json!([]))), "node \"n1\" is not allowed to modify node \"n2\"");
    let bad = json!({"node-restriction.kubernetes.io/x": "y", "node-role.kubernetes.io/control-plane": ""});
    assert_eq!(
        create(&node("n1", bad.clone(), json!([]))),
        "node \"n1\" is not allowed to set the following labels: node-restriction.kubernetes.io/x, node-role.kubernetes.io/control-plane"
    );
    let update = |new: &Value, old: &Value| {
        why(&by_node(Operation::Update, "", "nodes").in_namespace("").named("n1"), Some(new), Some(old))
    };
    let old = node("n1", bad.clone(), json!([{"key": "k"}]));
    assert_eq!(update(&old, &old), "", "labels that an administrator set stay");
    let without = node("n1", json!({"node-restriction.kubernetes.io/x": "y"}), json!([{"key": "k"}]));
    assert_eq!(update(&without, &old), "is not allowed to modify labels: node-role.kubernetes.io/control-plane");
    assert_eq!(update(&node("n1", bad, json!([])), &old), "node \"n1\" is not allowed to modify taints");
    let status = by_node(Operation::Update, "", "nodes").in_namespace("").of("status").named("n2");
    assert!(why(&status, Some(&old), Some(&old)).contains("is not allowed to modify node"));
}

#[test]
fn leases_tokens_and_the_rest() {
    let lease = |namespace: &str, name: &str| {
        let object = json!({"metadata": {"name": name}});
        why(&by_node(Operation::Create, "coordination.k8s.io", "leases").in_namespace(namespace), Some(&object), None)
    };
    assert_eq!(lease("kube-node-lease", "n1"), "");
    assert_eq!(lease("kube-node-lease", "n2"), "can only access node lease with the same name as the requesting node");
    assert_eq!(lease("default", "n1"), "can only access leases in the \"kube-node-lease\" system namespace");
    let token = |pod: &str, uid: &str, audiences: Value| {
        let request = json!({"spec": {"audiences": audiences, "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": uid}}});
        why(&by_node(Operation::Create, "", "serviceaccounts").of("token").named("sa"), Some(&request), None)
    };
    assert_eq!(token("mine", "mine-uid", json!([])), "");
    assert_eq!(token("mine", "mine-uid", json!(["vault"])), "");
    assert_eq!(token("mine", "mine-uid", json!(["special"])), "");
    assert_eq!(token("mine", "mine-uid", json!(["other"])), "audience \"other\" not found in pod spec volume");
    assert_eq!(token("mine", "mine-uid", json!(["vault", "x"])), "node may only request 0 or 1 audiences");
    assert_eq!(token("mine", "", json!([])), "node requested token with a pod binding without a uid");
    assert!(token("mine", "stale", json!([])).contains("does not match the UID in record"));
    assert_eq!(
        token("theirs", "theirs-uid", json!([])),
        "node requested token bound to a pod scheduled on a different node"
    );
    assert_eq!(token("", "", json!([])), "node requested token not bound to a pod");
    let claim = |size: &str, class: &str| json!({"metadata": {"name": "c"}, "spec": {"storageClassName": class}, "status": {"capacity": {"storage": size}}});
    let status = by_node(Operation::Update, "", "persistentvolumeclaims").of("status").named("c");
    assert_eq!(why(&status, Some(&claim("2Gi", "a")), Some(&claim("1Gi", "a"))), "");
    assert!(why(&status, Some(&claim("2Gi", "b")), Some(&claim("1Gi", "a"))).contains("fields other than status"));
    let csi = by_node(Operation::Delete, "storage.k8s.io", "csinodes").in_namespace("").named("n2");
    assert!(why(&csi, None, None).contains("can only access CSINode"));
    let nameless = ask(Operation::Create, "", "pods").by(UserInfo::new("system:node:", ["system:nodes"]));
    assert!(why(&nameless, None, None).contains("could not determine node from user"));
    let other = ask(Operation::Create, "", "pods");
    assert_eq!(why(&other, Some(&json!({})), None), "", "people are not nodes");
}
