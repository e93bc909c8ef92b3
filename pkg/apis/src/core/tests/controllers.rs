//! Rules of ReplicationControllers and PodTemplates.

use serde_json::{Value, json};

use crate::testing::{check_create, check_status, check_update, check_warnings, created, row};

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
            (
                "spec.template.spec.activeDeadlineSeconds = 5",
                &[
                    "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicationController \
                   is not Supported",
                ],
            ),
            ("spec.template.spec.containers = []", &["spec.template.spec.containers: Required value"]),
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

#[test]
fn statuses() {
    check_status(
        row("", "replicationcontrollers"),
        &controller(),
        &[
            ("status = {\"replicas\":2,\"readyReplicas\":2,\"availableReplicas\":1}", &[]),
            (
                "status = {\"replicas\":1,\"fullyLabeledReplicas\":2,\"readyReplicas\":1,\"availableReplicas\":2}",
                &[
                    "status.fullyLabeledReplicas: Invalid value: 2: cannot be greater than status.replicas",
                    "status.availableReplicas: Invalid value: 2: cannot be greater than status.replicas",
                    "status.availableReplicas: Invalid value: 2: cannot be greater than readyReplicas",
                ],
            ),
            (
                "status.observedGeneration = -1",
                &["status.observedGeneration: Invalid value: -1: must be greater than or equal to 0"],
            ),
        ],
    );
}

#[test]
fn pod_templates() {
    let templates = row("", "podtemplates");
    let base = json!({
        "metadata": { "name": "web", "namespace": "d" },
        "template": { "metadata": { "labels": { "app": "web" } }, "spec": { "containers": [{ "name": "c", "image": "i" }] } }
    });
    let got = created(templates, base.clone());
    assert_eq!(got["template"]["spec"]["restartPolicy"], "Always");
    let rules: &[(&str, &[&str])] = &[
        ("", &[]),
        ("template.spec.restartPolicy = Never", &[]),
        ("template = null", &["template.spec.containers: Required value"]),
        ("template.spec.containers[0].image = null", &["template.spec.containers[0].image: Required value"]),
        ("template.metadata.labels[a b] = c", &["template.labels: Invalid value: \"a b\": {name part}"]),
        ("template.metadata.annotations[a b] = c", &["template.annotations: Invalid value: \"a b\": {name part}"]),
    ];
    check_create(templates, &base, rules);
    check_update(templates, &base, rules);
    let old_label = r#"template.spec.nodeSelector = {"beta.kubernetes.io/os":"linux"}"#;
    let text =
        "template.spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead";
    check_warnings(templates, &base, &[("", &[]), (old_label, &[text])]);
}
