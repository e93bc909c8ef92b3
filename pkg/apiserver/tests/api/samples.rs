//! One object of every kind that is stored, small and accepted.

use apis::resource::Resource;
use serde_json::{Value, json};

use crate::support::Api;

/// A certificate request (DER in base64) that nobody has the key of any more.
const REQUEST: &str = "MIHHMHACAQAwDjEMMAoGA1UEAwwDZTJlMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEJTP9TpI+FqvKSNzvNiUaFOtKJ5mWSNNsOzOIangQqoTLoUhRGaNfEYrYmo1IM94bOel6JL4hmOV+OnuYvqNKs6AAMAoGCCqGSM49BAMCA0cAMEQCIAgfL/MwLNM1H19+1ZUbLXfYlYgjvNqwVdAZ5ivARNnLAiBwBn49NRKebt2RwicWi0T6Yrx/fgMW/Z05soiRTOtHgg==";

/// Kinds that are stored and that clients may create.
pub fn kinds() -> impl Iterator<Item = &'static Resource> {
    apis::all().iter().filter(|row| !row.virtual_resource && row.verbs.contains("create"))
}

/// Where the objects of a kind are.
pub fn collection(row: &Resource) -> String {
    let root = match row.group {
        "" => format!("/api/{}", row.versions[0]),
        group => format!("/apis/{group}/{}", row.versions[0]),
    };
    let namespace = if row.namespaced { "/namespaces/default" } else { "" };
    format!("{root}{namespace}/{}", row.plural)
}

fn pod_template(restart: &str) -> Value {
    let spec = json!({
        "restartPolicy": restart, "automountServiceAccountToken": false, "containers": [{ "name": "c", "image": "x" }],
    });
    json!({ "metadata": { "labels": { "app": "a" } }, "spec": spec })
}

fn workload() -> Value {
    json!({ "spec": { "selector": { "matchLabels": { "app": "a" } }, "template": pod_template("Always") } })
}

fn devices() -> Value {
    json!({ "devices": { "requests": [{ "name": "one", "exactly": { "deviceClassName": "example-class" } }] } })
}

fn binding(kind: &str) -> Value {
    json!({ "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": "view" } })
}

fn event() -> Value {
    json!({
        "metadata": { "namespace": "default" },
        "involvedObject": { "kind": "Pod", "namespace": "default", "name": "p" }, "reason": "Because", "message": "m",
    })
}

fn signing_request() -> Value {
    let body = REQUEST.as_bytes().chunks(64).map(String::from_utf8_lossy).collect::<Vec<_>>().join("\n");
    let pem = format!("-----BEGIN CERTIFICATE REQUEST-----\n{body}\n-----END CERTIFICATE REQUEST-----\n");
    let request = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, pem);
    json!({ "spec": { "request": request, "signerName": "example.com/a", "usages": ["digital signature"] } })
}

fn flow_schema() -> Value {
    json!({ "spec": {
        "matchingPrecedence": 9000, "priorityLevelConfiguration": { "name": "global-default" },
        "rules": [{
            "subjects": [{ "kind": "User", "user": { "name": "nobody" } }],
            "nonResourceRules": [{ "verbs": ["*"], "nonResourceURLs": ["*"] }],
        }],
    } })
}

fn webhooks() -> Value {
    json!({ "webhooks": [{
        "name": "a.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None",
        "clientConfig": { "url": "https://example.com/a" },
        "rules": [{ "apiGroups": ["example.com"], "apiVersions": ["v1"], "resources": ["things"], "operations": ["CREATE"] }],
    }] })
}

fn matching() -> Value {
    json!({ "resourceRules": [
        { "apiGroups": ["example.com"], "apiVersions": ["v1"], "resources": ["things"], "operations": ["CREATE"] },
    ] })
}

/// What an object of a kind must say besides its name; `None`: this table does not know the kind.
fn rest(api: &Api, row: &Resource) -> Option<Value> {
    let plain = json!({});
    Some(match (row.group, row.plural) {
        ("", "configmaps" | "endpoints" | "limitranges" | "namespaces" | "nodes" | "secrets" | "serviceaccounts") => {
            plain
        }
        ("", "events") => event(),
        ("events.k8s.io", "events") => json!({
            "eventTime": "2026-01-02T03:04:05.000000Z", "type": "Normal", "reason": "Because", "action": "Doing",
            "reportingController": "example.com/a", "reportingInstance": "a-0",
            "regarding": { "kind": "Pod", "namespace": "default", "name": "p" },
        }),
        ("", "persistentvolumes") => json!({ "spec": {
            "capacity": { "storage": "1Gi" }, "accessModes": ["ReadWriteOnce"], "hostPath": { "path": "/a" },
        } }),
        ("", "persistentvolumeclaims") => json!({ "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } },
        } }),
        ("", "pods") => pod_template("Always"),
        ("", "podtemplates") => json!({ "template": pod_template("Always") }),
        ("", "replicationcontrollers") => json!({ "spec": {
            "selector": { "app": "a" }, "template": pod_template("Always"),
        } }),
        ("", "resourcequotas") => json!({ "spec": { "hard": { "count/things.example.com": "5" } } }),
        ("", "services") => json!({ "spec": {
            "type": "NodePort", "selector": { "app": "a" }, "ports": [{ "port": 80 }],
        } }),
        ("apps", "controllerrevisions") => json!({ "revision": 1, "data": {} }),
        ("apps", _) => workload(),
        ("autoscaling", _) => json!({ "spec": {
            "maxReplicas": 3, "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "a" },
        } }),
        ("batch", "jobs") => json!({ "spec": { "template": pod_template("Never") } }),
        ("batch", _) => json!({ "spec": {
            "schedule": "0 1 * * *", "jobTemplate": { "spec": { "template": pod_template("Never") } },
        } }),
        ("certificates.k8s.io", "certificatesigningrequests") => signing_request(),
        ("certificates.k8s.io", "clustertrustbundles") => json!({ "spec": {
            "trustBundle": api.pki.client_ca().cert_pem(),
        } }),
        ("certificates.k8s.io", _) => json!({ "spec": {
            "signerName": "example.com/a", "podName": "pod", "podUID": "pod-uid", "serviceAccountName": "account",
            "serviceAccountUID": "account-uid", "nodeName": "node", "nodeUID": "node-uid",
            "maxExpirationSeconds": 86400, "stubPKCS10Request": REQUEST,
        } }),
        ("coordination.k8s.io", _) => json!({ "spec": { "holderIdentity": "a" } }),
        ("discovery.k8s.io", _) => json!({ "addressType": "IPv4", "endpoints": [{ "addresses": ["1.2.3.4"] }] }),
        ("flowcontrol.apiserver.k8s.io", "flowschemas") => flow_schema(),
        ("flowcontrol.apiserver.k8s.io", _) => json!({ "spec": { "type": "Limited", "limited": {
            "nominalConcurrencyShares": 2, "limitResponse": { "type": "Reject" },
        } } }),
        ("networking.k8s.io", "ingresses") => json!({ "spec": { "defaultBackend": {
            "service": { "name": "a", "port": { "number": 80 } },
        } } }),
        ("networking.k8s.io", "ingressclasses") => json!({ "spec": { "controller": "example.com/a" } }),
        ("networking.k8s.io", "ipaddresses") => json!({ "spec": { "parentRef": {
            "resource": "services", "namespace": "default", "name": "nobody",
        } } }),
        ("networking.k8s.io", "servicecidrs") => json!({ "spec": { "cidrs": ["192.168.78.0/24"] } }),
        ("networking.k8s.io", _) => json!({ "spec": { "podSelector": {} } }),
        ("node.k8s.io", _) => json!({ "handler": "runc" }),
        ("policy", _) => json!({ "spec": { "minAvailable": 1, "selector": { "matchLabels": { "app": "a" } } } }),
        ("rbac.authorization.k8s.io", "clusterroles" | "roles") => json!({ "rules": [
            { "apiGroups": [""], "resources": ["pods"], "verbs": ["get"] },
        ] }),
        ("rbac.authorization.k8s.io", _) => binding("ClusterRole"),
        ("resource.k8s.io", "deviceclasses") => plain,
        ("resource.k8s.io", "devicetaintrules") => json!({ "spec": {
            "deviceSelector": { "driver": "dra.example.com" },
            "taint": { "key": "example.com/broken", "value": "yes", "effect": "NoSchedule" },
        } }),
        ("resource.k8s.io", "resourceclaims") => json!({ "spec": devices() }),
        ("resource.k8s.io", "resourceclaimtemplates") => json!({ "spec": { "spec": devices() } }),
        ("resource.k8s.io", _) => json!({ "spec": {
            "driver": "dra.example.com", "nodeName": "n", "devices": [{ "name": "device" }],
            "pool": { "name": "pool", "generation": 1, "resourceSliceCount": 1 },
        } }),
        ("scheduling.k8s.io", _) => json!({ "value": 1000 }),
        ("storage.k8s.io", "csidrivers") => json!({ "spec": { "attachRequired": false } }),
        ("storage.k8s.io", "csinodes") => json!({ "spec": { "drivers": [] } }),
        ("storage.k8s.io", "csistoragecapacities") => json!({ "storageClassName": "a", "nodeTopology": {} }),
        ("storage.k8s.io", "storageclasses") => json!({ "provisioner": "example.com/a" }),
        ("storage.k8s.io", "volumeattachments") => json!({ "spec": {
            "attacher": "example.com", "nodeName": "n", "source": { "persistentVolumeName": "v" },
        } }),
        ("storage.k8s.io", "volumeattributesclasses") => json!({
            "driverName": "example.com", "parameters": { "speed": "fast" },
        }),
        ("storagemigration.k8s.io", _) => json!({ "spec": { "resource": { "group": "", "resource": "configmaps" } } }),
        ("admissionregistration.k8s.io", "mutatingwebhookconfigurations" | "validatingwebhookconfigurations") => {
            webhooks()
        }
        ("admissionregistration.k8s.io", "validatingadmissionpolicies") => json!({ "spec": {
            "matchConstraints": matching(), "validations": [{ "expression": "true" }],
        } }),
        ("admissionregistration.k8s.io", "validatingadmissionpolicybindings") => json!({ "spec": {
            "policyName": "a", "validationActions": ["Deny"],
        } }),
        ("admissionregistration.k8s.io", "mutatingadmissionpolicies") => json!({ "spec": {
            "matchConstraints": matching(), "reinvocationPolicy": "Never",
            "mutations": [{ "patchType": "JSONPatch", "jsonPatch": { "expression": "[]" } }],
        } }),
        ("admissionregistration.k8s.io", _) => json!({ "spec": { "policyName": "a" } }),
        ("apiextensions.k8s.io", _) => json!({ "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": { "plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList" },
            "versions": [{ "name": "v1", "served": true, "storage": true, "schema": {
                "openAPIV3Schema": { "type": "object" },
            } }],
        } }),
        ("apiregistration.k8s.io", _) => json!({ "spec": {
            "group": "example.com", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 100,
            "service": { "namespace": "default", "name": "a" }, "insecureSkipTLSVerify": true,
        } }),
        _ => return None,
    })
}

/// A name that the kind allows.
fn name(row: &Resource) -> &'static str {
    match row.plural {
        "ipaddresses" => "192.168.77.1",
        "customresourcedefinitions" => "things.example.com",
        "apiservices" => "v1.example.com",
        _ => "sample",
    }
}

/// An object of the kind.
pub fn sample(api: &Api, row: &Resource) -> Value {
    let mut object = rest(api, row).unwrap_or_else(|| panic!("a sample of {}/{}", row.group, row.plural));
    let version = row.versions[0];
    let api_version = if row.group.is_empty() { version.to_owned() } else { format!("{}/{version}", row.group) };
    object["apiVersion"] = api_version.into();
    object["kind"] = row.kind.into();
    object["metadata"]["name"] = name(row).into();
    object
}
