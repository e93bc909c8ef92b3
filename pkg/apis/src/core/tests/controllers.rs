//! Rules of ReplicationControllers.

use serde_json::{Value, json};

use crate::testing::{check_create, check_update, row};

fn controller() -> Value {
    json!({
        "metadata": { "name": "web", "namespace": "d" },
        "spec": {
            "template": {
                "metadata": { "labels": { "app": "web" } },
                "spec": { "containers": [{ "name": "c", "image": "i" }] }
            }
        }
    })
}

#[test]
fn new_controllers() {
    check_create(
        row("", "replicationcontrollers"),
        &controller(),
        &[
            ("", &[]),
            ("spec.replicas = -1", &["spec.replicas: Invalid value: -1: must be greater than or equal to 0"]),
            (
                "spec.minReadySeconds = -1",
                &["spec.minReadySeconds: Invalid value: -1: must be greater than or equal to 0"],
            ),
            (
                "spec.selector = {\"app\":\"other\"}",
                &["spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match \
             template `labels`"],
            ),
            ("spec.template = null", &["spec.selector: Required value", "spec.template: Required value"]),
            ("spec.template.metadata = null", &["spec.selector: Required value"]),
            (
                "spec.template.spec.restartPolicy = OnFailure",
                &["spec.template.spec.restartPolicy: Unsupported value: \"OnFailure\": supported values: \"Always\""],
            ),
        ],
    );
}

#[test]
fn changed_controllers() {
    check_update(
        row("", "replicationcontrollers"),
        &controller(),
        &[
            ("spec.replicas = 3", &[]),
            (
                "spec.selector = {\"app\":\"other\"}",
                &["spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match \
             template `labels`"],
            ),
        ],
    );
}
