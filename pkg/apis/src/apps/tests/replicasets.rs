//! Rules of ReplicaSets.

use super::workload;
use crate::testing::{check_create, check_status, row};

#[test]
fn new_sets() {
    check_create(
        row("apps", "replicasets"),
        &workload(),
        &[
            ("", &[]),
            ("spec.selector = {}", &["spec.selector: Invalid value: {}: empty selector is invalid for deployment"]),
        ],
    );
}

#[test]
fn statuses() {
    check_status(
        row("apps", "replicasets"),
        &workload(),
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
