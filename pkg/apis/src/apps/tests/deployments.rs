//! Rules of Deployments and ReplicaSets.

use super::workload;
use crate::testing::{check_create, check_status, check_warnings, row};

#[test]
fn new_deployments() {
    check_create(
        row("apps", "deployments"),
        &workload(),
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
                "spec.selector.matchExpressions = [{\"key\":\"a\",\"operator\":\"Is\"}]",
                &[
                    "spec.selector.matchExpressions[0].operator: Invalid value: \"Is\": not a valid selector operator",
                    "spec.selector: Invalid value: \
             {\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"Is\"}],\"matchLabels\":{\"app\":\"web\"}}: \
             invalid label selector",
                ],
            ),
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
                    "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"half\": {percent}",
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
                    "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"0\": {percent}",
                    "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"0\": may not be 0 when `maxSurge` \
             is 0",
                ],
            ),
        ],
    );
}

#[test]
fn statuses() {
    check_status(
        row("apps", "deployments"),
        &workload(),
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
        &workload(),
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
