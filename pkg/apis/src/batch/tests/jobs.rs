//! Rules of new jobs.

use serde_json::json;

use super::{indexed, job};
use crate::testing::{check_create, check_warnings, row};

#[test]
fn specs() {
    check_create(
        row("batch", "jobs"),
        &job(json!({})),
        &[
            ("", &[]),
            ("metadata.uid = null", &["metadata.uid: Required value"]),
            ("spec.parallelism = -1", &["spec.parallelism: Invalid value: -1: must be greater than or equal to 0"]),
            ("spec.completions = -1", &["spec.completions: Invalid value: -1: must be greater than or equal to 0"]),
            (
                "spec.backoffLimit = -1 ; spec.activeDeadlineSeconds = -1 ; spec.ttlSecondsAfterFinished = -1",
                &[
                    "spec.activeDeadlineSeconds: Invalid value: -1: must be greater than or equal to 0",
                    "spec.backoffLimit: Invalid value: -1: must be greater than or equal to 0",
                    "spec.ttlSecondsAfterFinished: Invalid value: -1: must be greater than or equal to 0",
                ],
            ),
            (
                "spec.completionMode = Odd",
                &["spec.completionMode: Unsupported value: \"Odd\": supported values: \"NonIndexed\", \"Indexed\""],
            ),
            (
                "spec.backoffLimitPerIndex = 1",
                &["spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode"],
            ),
            (
                "spec.maxFailedIndexes = 1",
                &[
                    "spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified",
                    "spec.maxFailedIndexes: Invalid value: 1: requires indexed completion mode",
                ],
            ),
            (
                "spec.managedBy = me",
                &["spec.managedBy: Invalid value: \"me\": must be a domain-prefixed path (such as \"acme.io/foo\")"],
            ),
            ("spec.managedBy = a.b/c", &[]),
            (
                "spec.podReplacementPolicy = Odd",
                &["spec.podReplacementPolicy: Unsupported value: \"Odd\": supported values: \"Failed\", \
             \"TerminatingOrFailed\""],
            ),
            (
                "spec.template.spec.restartPolicy = null",
                &["spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\""],
            ),
            (
                "spec.template.spec.restartPolicy = Always",
                &["spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\""],
            ),
            (
                "spec.template.spec.restartPolicy = Odd",
                &[
                    "spec.template.spec.restartPolicy: Unsupported value: \"Odd\": supported values: \"Always\", \
             \"OnFailure\", \"Never\"",
                    "spec.template.spec.restartPolicy: Unsupported value: \"Odd\": supported values: \"OnFailure\", \
             \"Never\"",
                ],
            ),
            (
                "spec.manualSelector = true",
                &[
                    "spec.selector: Required value",
                    "spec.template.metadata.labels: Invalid value: null: `selector` does not match template `labels`",
                ],
            ),
            (
                "spec.manualSelector = true ; spec.selector = {\"matchLabels\":{\"a\":\"b\"}}",
                &["spec.template.metadata.labels: Invalid value: null: `selector` does not match template `labels`"],
            ),
            (
                "spec.selector = {\"matchLabels\":{\"a\":\"b\"}}",
                &[
                    "spec.selector: Invalid value: \
             {\"matchLabels\":{\"a\":\"b\",\"batch.kubernetes.io/controller-uid\":\"u\"}}: `selector` not \
             auto-generated",
                    "spec.template.metadata.labels: Invalid value: \
             {\"batch.kubernetes.io/controller-uid\":\"u\",\"batch.kubernetes.io/job-name\":\"sum\",\"controller-uid\":\"u\",\"job-name\":\"sum\"}: \
             `selector` does not match template `labels`",
                ],
            ),
            (
                "spec.template.metadata.labels = {\"job-name\":\"other\"}",
                &["spec.template.metadata.labels[job-name]: Invalid value: \
             {\"batch.kubernetes.io/controller-uid\":\"u\",\"batch.kubernetes.io/job-name\":\"sum\",\"controller-uid\":\"u\",\"job-name\":\"other\"}: \
             must be 'sum'"],
            ),
            (
                "spec.template.metadata.labels = {\"batch.kubernetes.io/controller-uid\":\"other\"}",
                &[
                    "spec.template.metadata.labels[batch.kubernetes.io/controller-uid]: Invalid value: \
             {\"batch.kubernetes.io/controller-uid\":\"other\",\"batch.kubernetes.io/job-name\":\"sum\",\"controller-uid\":\"u\",\"job-name\":\"sum\"}: \
             must be 'u'",
                    "spec.template.metadata.labels: Invalid value: \
             {\"batch.kubernetes.io/controller-uid\":\"other\",\"batch.kubernetes.io/job-name\":\"sum\",\"controller-uid\":\"u\",\"job-name\":\"sum\"}: \
             `selector` does not match template `labels`",
                ],
            ),
            (
                "spec.template = null",
                &[
                    "spec.template.spec.containers: Required value",
                    "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"",
                ],
            ),
        ],
    );
}

#[test]
fn indexed_jobs() {
    check_create(
        row("batch", "jobs"),
        &indexed(),
        &[
            ("", &[]),
            ("spec.completions = null", &["spec.completions: Required value: when completion mode is Indexed"]),
            (
                "spec.parallelism = 100001",
                &["spec.parallelism: Invalid value: 100001: must be less than or equal to 100000 when completion \
             mode is Indexed"],
            ),
            (
                "spec.backoffLimitPerIndex = 1 ; spec.maxFailedIndexes = 6",
                &["spec.maxFailedIndexes: Invalid value: 6: must be less than or equal to completions"],
            ),
            (
                "spec.backoffLimitPerIndex = 1 ; spec.completions = 100001",
                &["spec.maxFailedIndexes: Required value: must be specified when completions is above 100000"],
            ),
            (
                "spec.backoffLimitPerIndex = 1 ; spec.completions = 100001 ; spec.maxFailedIndexes = 10001 ; \
         spec.parallelism = 10001",
                &[
                    "spec.parallelism: Invalid value: 10001: must be less than or equal to 10000 when completions are \
             above 100000 and used with backoff limit per index",
                    "spec.maxFailedIndexes: Invalid value: 10001: must be less than or equal to 10000 when \
             completions are above 100000 and used with backoff limit per index",
                ],
            ),
            (
                "metadata.name = aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                &["metadata.name: Invalid value: \
             \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\": will not able to create pod \
             with invalid DNS label: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-4"],
            ),
            (
                "metadata.name = a.b",
                &["metadata.name: Invalid value: \"a.b\": will not able to create pod with invalid DNS label: a.b-4"],
            ),
        ],
    );
}

#[test]
fn failure_policies() {
    check_create(
        row("batch", "jobs"),
        &job(json!({})),
        &[
            (
                "spec.podFailurePolicy.rules = \
         [{\"action\":\"FailJob\",\"onExitCodes\":{\"operator\":\"In\",\"values\":[1,2]}}]",
                &[],
            ),
            (
                "spec.template.spec.restartPolicy = OnFailure ; spec.podFailurePolicy.rules = []",
                &["spec.template.spec.restartPolicy: Invalid value: \"OnFailure\": only \"Never\" is supported when \
             podFailurePolicy is specified"],
            ),
            (
                "spec.podFailurePolicy.rules = [{}]",
                &[
                    "spec.podFailurePolicy.rules[0].action: Required value: valid values: [\"Count\" \"FailIndex\" \
             \"FailJob\" \"Ignore\"]",
                    "spec.podFailurePolicy.rules[0]: Invalid value: specifying one of OnExitCodes and OnPodConditions \
             is required",
                ],
            ),
            (
                "spec.podFailurePolicy.rules = [{\"action\":\"Odd\",\"onPodConditions\":[{\"type\":\"a \
         b\",\"status\":\"Maybe\"}]}]",
                &[
                    "spec.podFailurePolicy.rules[0].action: Unsupported value: \"Odd\": supported values: \"Count\", \
             \"FailIndex\", \"FailJob\", \"Ignore\"",
                    "spec.podFailurePolicy.rules[0].onPodConditions[0].type: Invalid value: \"a b\": {name part}",
                    "spec.podFailurePolicy.rules[0].onPodConditions[0].status: Unsupported value: \"Maybe\": \
             supported values: \"False\", \"True\", \"Unknown\"",
                ],
            ),
            (
                "spec.podFailurePolicy.rules = \
         [{\"action\":\"FailIndex\",\"onPodConditions\":[{\"type\":\"a\"}],\"onExitCodes\":{\"operator\":\"In\",\"values\":[0]}}]",
                &[
                    "spec.podFailurePolicy.rules[0].action: Invalid value: \"FailIndex\": requires the \
             backoffLimitPerIndex to be set",
                    "spec.podFailurePolicy.rules[0].onExitCodes.values[0]: Invalid value: 0: must not be 0 for the In \
             operator",
                    "spec.podFailurePolicy.rules[0]: Invalid value: specifying both OnExitCodes and OnPodConditions \
             is not supported",
                ],
            ),
            (
                "spec.podFailurePolicy.rules = \
         [{\"action\":\"Ignore\",\"onExitCodes\":{\"containerName\":\"x\",\"values\":[]}}]",
                &[
                    "spec.podFailurePolicy.rules[0].onExitCodes.operator: Required value: valid values: [\"In\" \
             \"NotIn\"]",
                    "spec.podFailurePolicy.rules[0].onExitCodes.containerName: Invalid value: \"x\": must be one of \
             the container or initContainer names in the pod template",
                    "spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: []: at least one value is \
             required",
                ],
            ),
            (
                "spec.podFailurePolicy.rules = \
         [{\"action\":\"Ignore\",\"onExitCodes\":{\"operator\":\"NotIn\",\"values\":[3,1,1]}}]",
                &[
                    "spec.podFailurePolicy.rules[0].onExitCodes.values[2]: Duplicate value: 1",
                    "spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: [3,1,1]: must be ordered",
                ],
            ),
            (
                "spec.podFailurePolicy.rules = [] ; spec.podReplacementPolicy = TerminatingOrFailed",
                &["spec.podReplacementPolicy: Unsupported value: \"TerminatingOrFailed\": supported values: \
             \"Failed\""],
            ),
        ],
    );
}

#[test]
fn success_policies() {
    check_create(
        row("batch", "jobs"),
        &indexed(),
        &[
            ("spec.successPolicy.rules = [{\"succeededIndexes\":\"0-2,4\",\"succeededCount\":2}]", &[]),
            (
                "spec.successPolicy.rules = []",
                &["spec.successPolicy.rules: Required value: at least one rules must be specified when the \
             successPolicy is specified"],
            ),
            (
                "spec.successPolicy.rules = [{}]",
                &["spec.successPolicy.rules[0]: Required value: at least one of succeededCount or succeededIndexes \
             must be specified"],
            ),
            (
                "spec.successPolicy.rules = [{\"succeededCount\":6},{\"succeededCount\":-1}]",
                &[
                    "spec.successPolicy.rules[0].succeededCount: Invalid value: 6: must be less than or equal to 5 \
             (the number of specified completions)",
                    "spec.successPolicy.rules[1].succeededCount: Invalid value: -1: must be greater than or equal to \
             0",
                ],
            ),
            (
                "spec.successPolicy.rules = \
         [{\"succeededIndexes\":\"0-1\",\"succeededCount\":3},{\"succeededIndexes\":\"2-1\"},{\"succeededIndexes\":\"5\"}]",
                &[
                    "spec.successPolicy.rules[0].succeededCount: Invalid value: 3: must be less than or equal to 2 \
             (the number of indexes in the specified succeededIndexes field)",
                    "spec.successPolicy.rules[1].succeededIndexes: Invalid value: \"2-1\": error parsing \
             succeededIndexes: non-increasing order, previous: 2, current: 1",
                    "spec.successPolicy.rules[2].succeededIndexes: Invalid value: \"5\": error parsing \
             succeededIndexes: too large index: \"5\"",
                ],
            ),
            (
                "spec.completionMode = NonIndexed ; spec.successPolicy.rules = [{\"succeededCount\":1}]",
                &["spec.successPolicy: Invalid value: {\"rules\":[{\"succeededCount\":1}]}: requires indexed \
             completion mode"],
            ),
        ],
    );
}

#[test]
fn warnings() {
    check_warnings(
        row("batch", "jobs"),
        &job(json!({})),
        &[(
            "metadata.name = a.b",
            &["metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; \
             a DNS label is recommended: [must not contain dots]"],
        )],
    );
}
