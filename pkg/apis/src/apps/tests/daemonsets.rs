//! Rules of DaemonSets.

use serde_json::{Value, json};

use crate::testing::{check_create, check_status, check_warnings, row};

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
        row("apps", "daemonsets"),
        &set(),
        &[
            ("", &[]),
            (
                "spec.selector = null",
                &["spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match \
             template `labels`"],
            ),
            ("spec.selector = {}", &["spec.selector: Invalid value: {}: empty selector is invalid for daemonset"]),
            (
                "spec.selector.matchLabels = {\"app\":\"other\"}",
                &["spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match \
             template `labels`"],
            ),
            (
                "spec.selector.matchExpressions = [{\"key\":\"a\",\"operator\":\"Is\"}]",
                &["spec.selector.matchExpressions[0].operator: Invalid value: \"Is\": not a valid selector operator"],
            ),
            (
                "spec.template = null",
                &[
                    "spec.template.metadata.labels: Invalid value: null: `selector` does not match template `labels`",
                    "spec.template.spec.containers: Required value",
                ],
            ),
            (
                "spec.template.spec.restartPolicy = Never",
                &["spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\""],
            ),
            (
                "spec.template.spec.activeDeadlineSeconds = 5",
                &["spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in DaemonSet is not \
             Supported"],
            ),
            (
                "spec.template.metadata.labels[a b] = c",
                &["spec.template.labels: Invalid value: \"a b\": name part must consist of alphanumeric characters, \
             '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or \
             'my.name',  or '123-abc', regex used for validation is \
             '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"],
            ),
            (
                "spec.minReadySeconds = -1",
                &["spec.minReadySeconds: Invalid value: -1: must be greater than or equal to 0"],
            ),
            (
                "spec.revisionHistoryLimit = -1",
                &["spec.revisionHistoryLimit: Invalid value: -1: must be greater than or equal to 0"],
            ),
            ("spec.updateStrategy = {\"type\":\"OnDelete\"}", &[]),
            (
                "spec.updateStrategy = {\"type\":\"Slow\"}",
                &["spec.updateStrategy: Unsupported value: {\"type\":\"Slow\"}: supported values: \
             \"RollingUpdate\", \"OnDelete\""],
            ),
            (
                "spec.updateStrategy.rollingUpdate = {\"maxSurge\":1}",
                &["spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable \
             is non-zero"],
            ),
            (
                "spec.updateStrategy.rollingUpdate = {\"maxUnavailable\":0}",
                &["spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0"],
            ),
            (
                "spec.updateStrategy.rollingUpdate = {\"maxSurge\":\"101%\",\"maxUnavailable\":0}",
                &["spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: \"101%\": must not be greater than \
             100%"],
            ),
            (
                "spec.updateStrategy.rollingUpdate = {\"maxUnavailable\":\"half\"}",
                &[
                    "spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: \"half\": a valid percent \
             string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for \
             validation is '[0-9]+%')",
                    "spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0",
                ],
            ),
            (
                "spec.template.spec.volumes = [{\"name\":\"v\",\"gcePersistentDisk\":{\"pdName\":\"d\"}}]",
                &["spec.template.spec.volumes[0].gcePersistentDisk.readOnly: Invalid value: false: must be true for \
             replicated pods > 1; GCE PD can only be mounted on multiple machines if it is read-only"],
            ),
        ],
    );
}

#[test]
fn statuses() {
    check_status(
        row("apps", "daemonsets"),
        &set(),
        &[(
            "status = {\"numberReady\":-1,\"collisionCount\":-1}",
            &[
                "status.numberReady: Invalid value: -1: must be greater than or equal to 0",
                "status.collisionCount: Invalid value: -1: must be greater than or equal to 0",
            ],
        )],
    );
}

#[test]
fn warnings() {
    check_warnings(row("apps", "daemonsets"), &set(), &[("metadata.name = a.b", &[])]);
}
