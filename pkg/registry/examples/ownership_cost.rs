//! What keeping track of field owners costs a write: `cargo run --profile fast -p registry --example ownership_cost`.
//! Prints microseconds a write, the best of several rounds, and the bytes that the list adds.

use std::hint::black_box;
use std::time::{Duration, Instant};

use apimachinery::GroupVersionKind;
use apimachinery::managed::{Filter, Updater, Versions, Writer, track_create, track_update};
use apimachinery::meta::ObjectExt as _;
use apimachinery::patch::{MergeSchema, TypeId};
use apis::schema;
use serde_json::{Value, json};

struct Kind(GroupVersionKind);

impl Versions for Kind {
    fn schema(&self) -> &dyn MergeSchema {
        &schema::Schema
    }

    fn root(&self, _: &str) -> Option<Option<TypeId>> {
        Some(schema::type_of(&self.0))
    }

    fn convert(&self, object: &Value, _: &str) -> Value {
        object.clone()
    }

    fn filter(&self) -> Filter {
        Filter::Without(&[&["status"]])
    }
}

fn writer(manager: &'static str, subresource: &'static str) -> Writer<'static> {
    Writer { manager, api_version: "v1", subresource, now: "2026-01-01T00:00:00Z" }
}

/// The best round's time of one call.
fn measure(name: &str, mut call: impl FnMut()) {
    const CALLS: u32 = 2_000;
    let round = |call: &mut dyn FnMut()| {
        let start = Instant::now();
        (0..CALLS).for_each(|_| call());
        start.elapsed()
    };
    let best = (0..10).map(|_| round(&mut call)).min().unwrap_or(Duration::ZERO);
    println!("{name:<44} {:>7.2} µs", best.as_secs_f64() * 1e6 / f64::from(CALLS));
}

fn with_list(mut object: Value, list: Option<Value>) -> Value {
    object.metadata_mut().extend(list.map(|list| ("managedFields".to_owned(), list)));
    object
}

fn config_map() -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "settings", "namespace": "default", "labels": { "app": "web" } },
        "data": { "key": "x".repeat(150) },
    })
}

/// A pod as a controller makes it: about 3.5 KB when stored.
fn pod() -> Value {
    let container = |name: &str| {
        json!({
            "name": name, "image": format!("registry.example.com/team/{name}:1.2.3"), "imagePullPolicy": "IfNotPresent",
            "args": ["--listen=:8080", "--verbose"], "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File",
            "env": (0..6).map(|i| json!({ "name": format!("VARIABLE_{i}"), "value": "something" })).collect::<Vec<_>>(),
            "ports": [{ "containerPort": 8080, "name": "http", "protocol": "TCP" }, { "containerPort": 9090, "protocol": "TCP" }],
            "resources": { "limits": { "cpu": "1", "memory": "1Gi" }, "requests": { "cpu": "100m", "memory": "128Mi" } },
            "livenessProbe": { "httpGet": { "path": "/healthz", "port": 8080, "scheme": "HTTP" }, "periodSeconds": 10,
                "timeoutSeconds": 1, "successThreshold": 1, "failureThreshold": 3 },
            "volumeMounts": [{ "name": "config", "mountPath": "/etc/config" }, { "name": "tmp", "mountPath": "/tmp" }],
            "securityContext": { "runAsNonRoot": true, "capabilities": { "drop": ["ALL"] } },
        })
    };
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "web-5d78c9869d-x7k2p", "namespace": "default", "generateName": "web-5d78c9869d-",
            "labels": { "app": "web", "tier": "front", "pod-template-hash": "5d78c9869d" },
            "annotations": { "example.com/checksum": "0123456789abcdef" },
            "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5d78c9869d",
                "uid": "0f8fad5b-d9cb-469f-a165-70867728950e", "controller": true, "blockOwnerDeletion": true }],
        },
        "spec": {
            "containers": [container("web"), container("proxy")],
            "volumes": [{ "name": "config", "configMap": { "name": "web", "defaultMode": 420 } }, { "name": "tmp", "emptyDir": {} }],
            "affinity": { "podAntiAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": [] } },
            "tolerations": [{ "key": "dedicated", "operator": "Exists", "effect": "NoSchedule" }],
            "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "schedulerName": "default-scheduler",
            "securityContext": {}, "serviceAccountName": "default", "terminationGracePeriodSeconds": 30,
            "enableServiceLinks": true,
        },
    })
}

fn main() {
    for (name, object) in [("ConfigMap", config_map()), ("Pod", pod())] {
        let kind = Kind(GroupVersionKind::new("", "v1", name));
        let updater = Updater::new(&kind);
        let bytes = object.to_string().len();
        let made = with_list(object.clone(), track_create(updater, &object, writer("creator", "")).encode());
        let more = made.to_string().len() - bytes;
        println!("{name}: {bytes} bytes, {more} more for the list");
        measure("  create", || {
            drop(black_box(track_create(updater, black_box(&object), writer("creator", "")).to_json()))
        });
        measure("  update that changes nothing", || {
            drop(black_box(track_update(updater, black_box(&made), black_box(&made), writer("other", ""))));
        });
        let mut changed = made.clone();
        changed["metadata"]["labels"]["app"] = "other".into();
        measure("  update of a label", || {
            drop(black_box(track_update(updater, black_box(&made), black_box(&changed), writer("other", ""))));
        });
        if name == "Pod" {
            let mut running = made.clone();
            running["status"] = json!({ "phase": "Running", "podIP": "10.42.0.9", "startTime": "2026-01-01T00:00:00Z",
                "conditions": [{ "type": "Ready", "status": "True" }, { "type": "Initialized", "status": "True" }] });
            measure("  update of the status", || {
                drop(black_box(track_update(
                    updater,
                    black_box(&made),
                    black_box(&running),
                    writer("kubelet", "status"),
                )));
            });
        }
    }
}
