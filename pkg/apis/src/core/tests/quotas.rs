//! Rules of ResourceQuotas.

use serde_json::{Value, json};

use crate::testing::{check_create, check_status, check_update, row};

fn quota() -> Value {
    json!({ "metadata": { "name": "q", "namespace": "d" }, "spec": { "hard": { "pods": "5" } } })
}

#[test]
fn amounts_and_scopes() {
    check_create(
        row("", "resourcequotas"),
        &quota(),
        &[
            ("", &[]),
            (
                "spec.hard = {\"storage\":\"1\"}",
                &["spec.hard[storage]: Invalid value: \"storage\": must be a standard resource for quota"],
            ),
            (
                "spec.hard = {\"widgets\":\"1\"}",
                &[
                    "spec.hard[widgets]: Invalid value: \"widgets\": must be a standard resource type or fully \
             qualified",
                    "spec.hard[widgets]: Invalid value: \"widgets\": must be a standard resource for quota",
                ],
            ),
            ("spec.hard = {\"a/b\":\"1\",\"hugepages-2Mi\":\"2Mi\",\"count/jobs.batch\":\"1\"}", &[]),
            ("spec.hard = {\"pods\":\"1500m\"}", &["spec.hard[pods]: Invalid value: \"1500m\": must be an integer"]),
            (
                "spec.hard = {\"pods\":\"-1\"}",
                &["spec.hard[pods]: Invalid value: \"-1\": must be greater than or equal to 0"],
            ),
            ("spec.scopes = [\"Odd\"]", &["spec.scopes: Invalid value: [\"Odd\"]: unsupported scope"]),
            (
                "spec.scopes = [\"BestEffort\",\"NotBestEffort\"]",
                &["spec.scopes: Invalid value: [\"BestEffort\",\"NotBestEffort\"]: conflicting scopes"],
            ),
            (
                "spec.hard.secrets = \"1\" ; spec.scopes = [\"Terminating\"]",
                &["spec.scopes: Invalid value: [\"Terminating\"]: unsupported scope applied to resource"],
            ),
            (
                "spec.scopes = [\"VolumeAttributesClass\"]",
                &["spec.scopes: Invalid value: [\"VolumeAttributesClass\"]: unsupported scope applied to resource"],
            ),
            (
                "spec.scopeSelector.matchExpressions = \
         [{\"scopeName\":\"PriorityClass\",\"operator\":\"In\",\"values\":[\"a\"]}]",
                &[],
            ),
            (
                "spec.scopeSelector.matchExpressions = \
         [{\"scopeName\":\"PriorityClass\",\"operator\":\"In\"},{\"scopeName\":\"Odd\",\"operator\":\"Is\"}]",
                &[
                    "spec.scopeSelector.matchExpressions.values: Required value: must be at least one value when \
             `operator` is 'In' or 'NotIn' for scope selector",
                    "spec.scopeSelector.matchExpressions.scopeName: Invalid value: \"Odd\": unsupported scope",
                    "spec.scopeSelector.matchExpressions.operator: Invalid value: \"Is\": not a valid selector \
             operator",
                ],
            ),
            (
                "spec.scopeSelector.matchExpressions = \
         [{\"scopeName\":\"Terminating\",\"operator\":\"In\",\"values\":[\"a\"]},{\"scopeName\":\"NotTerminating\",\"operator\":\"Exists\"}]",
                &[
                    "spec.scopeSelector.matchExpressions.operator: Invalid value: \"In\": must be 'Exist' when scope \
             is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, \
             ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or \
             ResourceQuotaScopeCrossNamespacePodAffinity",
                    "spec.scopeSelector.matchExpressions: Invalid value: \
             {\"matchExpressions\":[{\"operator\":\"In\",\"scopeName\":\"Terminating\",\"values\":[\"a\"]},{\"operator\":\"Exists\",\"scopeName\":\"NotTerminating\"}]}: \
             conflicting scopes",
                ],
            ),
            (
                "spec.scopeSelector.matchExpressions = \
         [{\"scopeName\":\"PriorityClass\",\"operator\":\"Exists\",\"values\":[\"a\"]}]",
                &["spec.scopeSelector.matchExpressions.values: Invalid value: [\"a\"]: must be no value when \
             `operator` is 'Exist' or 'DoesNotExist' for scope selector"],
            ),
        ],
    );
}

#[test]
fn updates() {
    check_update(
        row("", "resourcequotas"),
        &quota(),
        &[
            ("spec.hard.pods = 6", &[]),
            ("spec.scopes = [\"Terminating\"]", &["spec.scopes: Invalid value: [\"Terminating\"]: field is immutable"]),
        ],
    );
}

#[test]
fn statuses() {
    check_status(
        row("", "resourcequotas"),
        &quota(),
        &[
            ("status = {\"hard\":{\"pods\":\"5\"},\"used\":{\"pods\":\"1\"}}", &[]),
            (
                "status = {\"used\":{\"pods\":\"-1\",\"storage\":\"1\"}}",
                &[
                    "status.used[pods]: Invalid value: \"-1\": must be greater than or equal to 0",
                    "status.used[storage]: Invalid value: \"storage\": must be a standard resource for quota",
                ],
            ),
        ],
    );
}
