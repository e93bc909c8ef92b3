//! Rules of DaemonSets.

use super::workload;
use crate::testing::{check_create, check_status, check_warnings, row};

#[test]
fn new_sets() {
    check_create(
        row("apps", "daemonsets"),
        &workload(),
        &[
            ("", &[]),
            (
                "spec.selector = null",
                &["spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match \
             template `labels`"],
            ),
            ("spec.selector = {}", &["spec.selector: Invalid value: {}: empty selector is invalid for daemonset"]),
            (
                "spec.selector.matchExpressions = [{\"key\":\"a\",\"operator\":\"Is\"}]",
                &["spec.selector.matchExpressions[0].operator: Invalid value: \"Is\": not a valid selector operator"],
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
                    "spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: \"half\": {percent}",
                    "spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0",
                ],
            ),
        ],
    );
}

#[test]
fn statuses() {
    check_status(
        row("apps", "daemonsets"),
        &workload(),
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
    check_warnings(row("apps", "daemonsets"), &workload(), &[("metadata.name = a.b", &[])]);
}
