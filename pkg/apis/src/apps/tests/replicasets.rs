//! Rules of ReplicaSets.

use serde_json::{Value, json};

use crate::testing::{check_create, check_status, check_update, row};

fn set() -> Value {
    json!({
        "metadata": { "name": "web", "namespace": "d" },
        "spec": {
            "selector": { "matchLabels": { "app": "web" } },
            "template": {
                "metadata": { "labels": { "app": "web" } },
                "spec": { "containers": [{ "name": "c", "image": "i" }] }
            }
        }
    })
}

#[test]
fn new_sets() {
    check_create(
        row("apps", "replicasets"),
        &set(),
        &[
            ("", &[]),
            (
                "spec.replicas = -1 ; spec.minReadySeconds = -1",
                &[
                    "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
                    "spec.minReadySeconds: Invalid value: -1: must be greater than or equal to 0",
                ],
            ),
            ("spec.selector = {}", &["spec.selector: Invalid value: {}: empty selector is invalid for deployment"]),
            (
                "spec.template.spec.restartPolicy = Never",
                &["spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\""],
            ),
        ],
    );
}

#[test]
fn changed_sets() {
    check_update(
        row("apps", "replicasets"),
        &set(),
        &[
            ("spec.replicas = 2", &[]),
            (
                "spec.selector.matchLabels[b] = c ; spec.template.metadata.labels[b] = c",
                &["spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"web\",\"b\":\"c\"}}: field is \
             immutable"],
            ),
        ],
    );
}

#[test]
fn statuses() {
    check_status(
        row("apps", "replicasets"),
        &set(),
        &[
            (
                "status = {\"replicas\":1,\"fullyLabeledReplicas\":2,\"readyReplicas\":2,\"availableReplicas\":3}",
                &[
                    "status.fullyLabeledReplicas: Invalid value: 2: cannot be greater than status.replicas",
                    "status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas",
                    "status.availableReplicas: Invalid value: 3: cannot be greater than status.replicas",
                    "status.availableReplicas: Invalid value: 3: cannot be greater than readyReplicas",
                ],
            ),
            (
                "status.terminatingReplicas = -1",
                &["status.terminatingReplicas: Invalid value: -1: must be greater than or equal to 0"],
            ),
        ],
    );
}
