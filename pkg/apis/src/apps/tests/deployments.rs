//! Rules of Deployments and ReplicaSets.

use serde_json::{Value, json};

use crate::testing::{check_create, check_status, check_update, check_warnings, row};

fn deployment() -> Value {
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
fn new_deployments() {
    check_create(
        row("apps", "deployments"),
        &deployment(),
        &[
            ("", &[]),
            (
                "spec.selector = null",
                &[
                    "spec.selector: Required value",
                    "spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match \
             template `labels`",
                ],
            ),
            ("spec.selector = {}", &["spec.selector: Invalid value: {}: empty selector is invalid for deployment"]),
            (
                "spec.selector.matchLabels = {\"app\":\"other\"}",
                &["spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match \
             template `labels`"],
            ),
            (
                "spec.selector.matchExpressions = [{\"key\":\"a\",\"operator\":\"Is\"}]",
                &[
                    "spec.selector.matchExpressions[0].operator: Invalid value: \"Is\": not a valid selector operator",
                    "spec.selector: Invalid value: \
             {\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"Is\"}],\"matchLabels\":{\"app\":\"web\"}}: \
             invalid label selector",
                ],
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
                &["spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet is not \
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
            ("spec.replicas = -1", &["spec.replicas: Invalid value: -1: must be greater than or equal to 0"]),
            (
                "spec.revisionHistoryLimit = -1",
                &["spec.revisionHistoryLimit: Invalid value: -1: must be greater than or equal to 0"],
            ),
            (
                "spec.progressDeadlineSeconds = -1",
                &[
                    "spec.progressDeadlineSeconds: Invalid value: -1: must be greater than or equal to 0",
                    "spec.progressDeadlineSeconds: Invalid value: -1: must be greater than minReadySeconds",
                ],
            ),
            (
                "spec.minReadySeconds = 600",
                &["spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds"],
            ),
            (
                "spec.strategy = {\"type\":\"Recreate\",\"rollingUpdate\":{\"maxSurge\":1}}",
                &["spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"],
            ),
            (
                "spec.strategy = {\"type\":\"Slow\"}",
                &["spec.strategy: Unsupported value: {\"type\":\"Slow\"}: supported values: \"Recreate\", \
             \"RollingUpdate\""],
            ),
            (
                "spec.strategy.rollingUpdate = {\"maxSurge\":0,\"maxUnavailable\":0}",
                &["spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"],
            ),
            (
                "spec.strategy.rollingUpdate = {\"maxSurge\":-1,\"maxUnavailable\":\"half\"}",
                &[
                    "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"half\": a valid percent string must \
             be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation \
             is '[0-9]+%')",
                    "spec.strategy.rollingUpdate.maxSurge: Invalid value: -1: must be greater than or equal to 0",
                ],
            ),
            (
                "spec.strategy.rollingUpdate = {\"maxSurge\":\"200%\",\"maxUnavailable\":\"101%\"}",
                &["spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"101%\": must not be greater than \
             100%"],
            ),
            (
                "spec.strategy.rollingUpdate = {\"maxSurge\":\"0%\",\"maxUnavailable\":\"0\"}",
                &[
                    "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"0\": a valid percent string must be \
             a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is \
             '[0-9]+%')",
                    "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"0\": may not be 0 when `maxSurge` \
             is 0",
                ],
            ),
            (
                "spec.replicas = 2 ; spec.template.spec.volumes = \
         [{\"name\":\"v\",\"gcePersistentDisk\":{\"pdName\":\"d\"}}]",
                &["spec.template.spec.volumes[0].gcePersistentDisk.readOnly: Invalid value: false: must be true for \
             replicated pods > 1; GCE PD can only be mounted on multiple machines if it is read-only"],
            ),
            (
                "spec.template.spec.ephemeralContainers = [{\"name\":\"e\",\"image\":\"i\"}]",
                &["spec.template.spec.ephemeralContainers: Forbidden: ephemeral containers not allowed in pod \
             template"],
            ),
        ],
    );
}

#[test]
fn changed_deployments() {
    check_update(
        row("apps", "deployments"),
        &deployment(),
        &[
            ("spec.replicas = 5", &[]),
            ("spec.replicas = -5", &["spec.replicas: Invalid value: -5: must be greater than or equal to 0"]),
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
        row("apps", "deployments"),
        &deployment(),
        &[
            (
                "status = {\"replicas\":-1,\"collisionCount\":-1,\"terminatingReplicas\":-1}",
                &[
                    "status.replicas: Invalid value: -1: must be greater than or equal to 0",
                    "status.terminatingReplicas: Invalid value: -1: must be greater than or equal to 0",
                    "status.collisionCount: Invalid value: -1: must be greater than or equal to 0",
                    "status.updatedReplicas: Invalid value: 0: cannot be greater than status.replicas",
                    "status.readyReplicas: Invalid value: 0: cannot be greater than status.replicas",
                    "status.availableReplicas: Invalid value: 0: cannot be greater than status.replicas",
                ],
            ),
            (
                "status = {\"replicas\":1,\"updatedReplicas\":2,\"readyReplicas\":2,\"availableReplicas\":3}",
                &[
                    "status.updatedReplicas: Invalid value: 2: cannot be greater than status.replicas",
                    "status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas",
                    "status.availableReplicas: Invalid value: 3: cannot be greater than status.replicas",
                    "status.availableReplicas: Invalid value: 3: cannot be greater than readyReplicas",
                ],
            ),
        ],
    );
}

#[test]
fn warnings() {
    check_warnings(
        row("apps", "deployments"),
        &deployment(),
        &[
            (
                "metadata.name = a.b",
                &["metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; \
             a DNS label is recommended: [must not contain dots]"],
            ),
            (
                "spec.template.spec.nodeSelector = {\"beta.kubernetes.io/os\":\"linux\"}",
                &["spec.template.spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \
             \"kubernetes.io/os\" instead"],
            ),
            (
                "spec.template.metadata.annotations = \
         {\"container.apparmor.security.beta.kubernetes.io/c\":\"unconfined\"}",
                &["spec.template.metadata.annotations[container.apparmor.security.beta.kubernetes.io/c]: deprecated \
             since v1.30; use the \"appArmorProfile\" field instead"],
            ),
        ],
    );
}
