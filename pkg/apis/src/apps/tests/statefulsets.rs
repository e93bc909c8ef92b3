//! Rules of StatefulSets.

use serde_json::{Value, json};

use super::object;
use crate::testing::{check_create, check_status, check_update, check_warnings, row};

fn set() -> Value {
    let claim = json!({
        "metadata": { "name": "data" },
        "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } }
    });
    object(json!({ "serviceName": "web", "volumeClaimTemplates": [claim] }))
}

#[test]
fn new_sets() {
    check_create(
        row("apps", "statefulsets"),
        &set(),
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
            ("spec.selector = {}", &["spec.selector: Invalid value: {}: empty selector is invalid for statefulset"]),
            (
                "spec.selector.matchExpressions = [{\"key\":\"a\",\"operator\":\"Is\"}]",
                &[
                    "spec.selector.matchExpressions[0].operator: Invalid value: \"Is\": not a valid selector operator",
                    "spec.selector: Invalid value: \
             {\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"Is\"}],\"matchLabels\":{\"app\":\"web\"}}",
                ],
            ),
            (
                "spec.ordinals.start = -1",
                &["spec.ordinals.start: Invalid value: -1: must be greater than or equal to 0"],
            ),
            ("spec.revisionHistoryLimit = -1", &[]),
            (
                "spec.podManagementPolicy = Odd",
                &["spec.podManagementPolicy: Invalid value: \"Odd\": must be 'OrderedReady' or 'Parallel'"],
            ),
            ("spec.serviceName = A", &["spec.serviceName: Invalid value: \"A\": {label}"]),
            (
                "spec.updateStrategy = {\"type\":\"OnDelete\",\"rollingUpdate\":{}}",
                &["spec.updateStrategy.rollingUpdate: Invalid value: {}: only allowed for updateStrategy \
             'RollingUpdate'"],
            ),
            (
                "spec.updateStrategy = {\"type\":\"Slow\"}",
                &["spec.updateStrategy: Invalid value: {\"type\":\"Slow\"}: must be 'RollingUpdate' or 'OnDelete'"],
            ),
            (
                "spec.updateStrategy.rollingUpdate = {\"partition\":-1,\"maxUnavailable\":0}",
                &[
                    "spec.updateStrategy.rollingUpdate.partition: Invalid value: -1: must be greater than or equal to \
             0",
                    "spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: 0: cannot be 0",
                ],
            ),
            (
                "spec.updateStrategy.rollingUpdate.maxUnavailable = \"200%\"",
                &["spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: \"200%\": must not be greater \
             than 100%"],
            ),
            (
                "spec.persistentVolumeClaimRetentionPolicy.whenScaled = Keep",
                &["spec.persistentVolumeClaimRetentionPolicy.whenScaled: Unsupported value: \"Keep\": supported \
             values: \"Retain\", \"Delete\""],
            ),
            ("spec.template.spec.containers[0].volumeMounts = [{\"name\":\"data\",\"mountPath\":\"/d\"}]", &[]),
            (
                "spec.template.spec.containers[0].volumeMounts = [{\"name\":\"other\",\"mountPath\":\"/d\"}]",
                &["spec.template.spec.containers[0].volumeMounts[0].name: Not found: \"other\""],
            ),
            (
                "spec.volumeClaimTemplates[0].spec.accessModes = []",
                &["spec.volumeClaimTemplates[0].spec.accessModes: Required value: at least 1 access mode is \
             required"],
            ),
            ("spec.template.spec.hostname = A", &[]),
            (
                r#"spec.volumeClaimTemplates[0].spec.dataSource = {"kind":"PersistentVolumeClaim","name":"a"} ; spec.volumeClaimTemplates[0].spec.dataSourceRef = {"kind":"PersistentVolumeClaim","name":"a","namespace":"N"}"#,
                &[
                    "spec.volumeClaimTemplates[0].spec.dataSourceRef.namespace: Invalid value: \"N\": {label}",
                    "spec.volumeClaimTemplates[0].spec: Invalid value: \"spec.volumeClaimTemplates[0].spec.dataSource\": may \
                     not be specified when dataSourceRef.namespace is specified",
                ],
            ),
        ],
    );
}

#[test]
fn changed_sets() {
    check_update(
        row("apps", "statefulsets"),
        &set(),
        &[
            ("spec.replicas = 2 ; spec.minReadySeconds = 5 ; spec.ordinals.start = 1", &[]),
            (
                "spec.serviceName = other",
                &["spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', \
             'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and \
             'minReadySeconds' are forbidden"],
            ),
            (
                "spec.volumeClaimTemplates[0].spec.resources.requests.storage = 2Gi",
                &["spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', \
             'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and \
             'minReadySeconds' are forbidden"],
            ),
            (
                "spec.podManagementPolicy = Parallel",
                &["spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', \
             'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and \
             'minReadySeconds' are forbidden"],
            ),
        ],
    );
}

#[test]
fn statuses() {
    check_status(
        row("apps", "statefulsets"),
        &set(),
        &[
            (
                "status = \
         {\"replicas\":1,\"readyReplicas\":2,\"currentReplicas\":2,\"updatedReplicas\":2,\"availableReplicas\":3}",
                &[
                    "status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas",
                    "status.currentReplicas: Invalid value: 2: cannot be greater than status.replicas",
                    "status.updatedReplicas: Invalid value: 2: cannot be greater than status.replicas",
                    "status.availableReplicas: Invalid value: 3: cannot be greater than status.replicas",
                    "status.availableReplicas: Invalid value: 3: cannot be greater than status.readyReplicas",
                ],
            ),
            (
                "status.collisionCount = -1",
                &["status.collisionCount: Invalid value: -1: must be greater than or equal to 0"],
            ),
        ],
    );
}

#[test]
fn warnings() {
    check_warnings(
        row("apps", "statefulsets"),
        &set(),
        &[
            (
                "spec.revisionHistoryLimit = -1",
                &["spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is \
             recommended"],
            ),
            (
                "spec.volumeClaimTemplates[0].spec.resources.requests.storage = 1500m",
                &["spec.volumeClaimTemplates[0].resources.requests[storage]: fractional byte value \"1500m\" is \
             invalid, must be an integer"],
            ),
        ],
    );
}
