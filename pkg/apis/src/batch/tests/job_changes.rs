//! What may change in jobs, and what their status may say.

use serde_json::{Value, json};

use super::{indexed, job};
use crate::testing::{check_status, check_update, row};

fn suspended() -> Value {
    job(json!({ "suspend": true }))
}

fn done() -> Value {
    let mut done = job(json!({}));
    done["status"] = json!({
        "startTime": "2026-11-20T10:00:00Z", "completionTime": "2026-11-20T11:00:00Z", "succeeded": 1,
        "conditions": [{ "type": "SuccessCriteriaMet", "status": "True" }, { "type": "Complete", "status": "True" }]
    });
    done
}

#[test]
fn specs_that_change() {
    check_update(
        row("batch", "jobs"),
        &job(json!({})),
        &[
            ("", &[]),
            ("spec.parallelism = 3", &[]),
            ("spec.completions = 2", &["spec.completions: Invalid value: 2: field is immutable"]),
            ("spec.suspend = true", &[]),
            (
                "spec.selector.matchLabels = {\"a\":\"b\"}",
                &[
                    "spec.template.metadata.labels: Invalid value: \
             {\"batch.kubernetes.io/controller-uid\":\"u\",\"batch.kubernetes.io/job-name\":\"sum\",\"controller-uid\":\"u\",\"job-name\":\"sum\"}: \
             `selector` does not match template `labels`",
                    "spec.selector: Invalid value: {\"matchLabels\":{\"a\":\"b\"}}: field is immutable",
                ],
            ),
            (
                "spec.template.spec.nodeSelector = {\"a\":\"b\"}",
                &["spec.template: Invalid value: {…}: field is immutable"],
            ),
            ("spec.completionMode = Indexed", &["spec.completionMode: Invalid value: \"Indexed\": field is immutable"]),
            ("spec.managedBy = a.b/c", &["spec.managedBy: Invalid value: \"a.b/c\": field is immutable"]),
            ("spec.backoffLimit = 2", &[]),
        ],
    );
}

#[test]
fn indexed_jobs_that_change() {
    check_update(
        row("batch", "jobs"),
        &indexed(),
        &[
            (
                "spec.completions = 6",
                &["spec.completions: Invalid value: 6: can only be modified in tandem with spec.parallelism"],
            ),
            ("spec.completions = 6 ; spec.parallelism = 6", &[]),
            ("spec.completions = null", &["spec.completions: Required value: when completion mode is Indexed"]),
        ],
    );
}

#[test]
fn suspended_jobs_that_change() {
    check_update(
        row("batch", "jobs"),
        &suspended(),
        &[
            ("spec.template.spec.nodeSelector = {\"a\":\"b\"}", &[]),
            ("spec.template.spec.affinity = {\"nodeAffinity\":{}}", &[]),
            (
                "spec.template.spec.affinity = {\"podAffinity\":{}}",
                &["spec.template: Invalid value: {…}: field is immutable"],
            ),
            (
                "spec.template.spec.tolerations = [{\"operator\":\"Exists\"}] ; spec.template.spec.schedulingGates = \
         [{\"name\":\"a\"}]",
                &[],
            ),
            ("spec.template.spec.containers[0].resources.requests = {\"cpu\":\"1\"}", &[]),
            ("spec.template.metadata.annotations = {\"a\":\"b\"}", &[]),
            ("spec.template.spec.containers[0].image = j", &["spec.template: Invalid value: {…}: field is immutable"]),
        ],
    );
}

#[test]
fn statuses() {
    check_status(
        row("batch", "jobs"),
        &job(json!({})),
        &[
            ("status = {\"active\":1,\"ready\":1,\"startTime\":\"2026-11-20T10:00:00Z\"}", &[]),
            (
                "status = {\"active\":-1}",
                &[
                    "status.active: Invalid value: -1: must be greater than or equal to 0",
                    "status.ready: Invalid value: 0: cannot set more ready pods than active",
                ],
            ),
            ("status.ready = 1", &["status.ready: Invalid value: 1: cannot set more ready pods than active"]),
            (
                "status.uncountedTerminatedPods = {\"succeeded\":[\"a\",\"\"],\"failed\":[\"a\"]}",
                &[
                    "status.uncountedTerminatedPods.succeeded[1]: Invalid value: \"\": must not be empty",
                    "status.uncountedTerminatedPods.failed[0]: Duplicate value: \"a\"",
                ],
            ),
            (
                "status.conditions = [{\"type\":\"Complete\",\"status\":\"True\"}]",
                &[
                    "status.completionTime: Required value: completionTime is required for Complete jobs",
                    "status.conditions: Invalid value: cannot set Complete=True condition without the \
             SuccessCriteriaMet=true condition",
                    "status.startTime: Required value: startTime is required for finished job",
                ],
            ),
            (
                "status = {\"startTime\":\"2026-11-20T10:00:00Z\",\"completionTime\":\"2026-11-20T09:00:00Z\"}",
                &[
                    "status.completionTime: Invalid value: \"2026-11-20T09:00:00Z\": cannot set completionTime when \
             there is no Complete=True condition",
                    "status.completionTime: Invalid value: \"2026-11-20T09:00:00Z\": completionTime cannot be set \
             before startTime",
                ],
            ),
            (
                "status.conditions = [{\"type\":\"Failed\",\"status\":\"True\"}]",
                &[
                    "status.conditions: Invalid value: cannot set Failed=True condition without the \
             FailureTarget=true condition",
                    "status.startTime: Required value: startTime is required for finished job",
                ],
            ),
            (
                "status = \
         {\"active\":1,\"terminating\":1,\"uncountedTerminatedPods\":{\"failed\":[\"a\"]},\"startTime\":\"2026-11-20T10:00:00Z\",\"conditions\":[{\"type\":\"Failed\",\"status\":\"True\"},{\"type\":\"FailureTarget\",\"status\":\"True\"}]}",
                &[
                    "status.active: Invalid value: 1: active>0 is invalid for finished job",
                    "status.uncountedTerminatedPods: Invalid value: {\"failed\":[\"a\"]}: uncountedTerminatedPods \
             needs to be empty for finished job",
                    "status.terminating: Invalid value: 1: terminating>0 is invalid for finished job",
                ],
            ),
            (
                "status = \
         {\"startTime\":\"2026-11-20T10:00:00Z\",\"completionTime\":\"2026-11-20T11:00:00Z\",\"conditions\":[{\"type\":\"Failed\",\"status\":\"True\"},{\"type\":\"FailureTarget\",\"status\":\"True\"},{\"type\":\"Complete\",\"status\":\"True\"},{\"type\":\"SuccessCriteriaMet\",\"status\":\"True\"}]}",
                &[
                    "status.conditions: Invalid value: cannot set Complete=True and Failed=true conditions",
                    "status.conditions: Invalid value: cannot set Complete=True and FailureTarget=true conditions",
                    "status.conditions: Invalid value: cannot set SuccessCriteriaMet=True and Failed=true conditions",
                    "status.conditions: Invalid value: cannot set SuccessCriteriaMet=True and FailureTarget=true \
             conditions",
                ],
            ),
            (
                "status.completedIndexes = \"0\"",
                &["status.completedIndexes: Invalid value: \"0\": cannot set non-empty completedIndexes when \
             non-indexed completion mode"],
            ),
            (
                "status.failedIndexes = \"0\"",
                &["status.failedIndexes: Invalid value: \"0\": cannot set non-null failedIndexes when \
             backoffLimitPerIndex is null"],
            ),
        ],
    );
}

#[test]
fn statuses_of_indexed_jobs() {
    check_status(
        row("batch", "jobs"),
        &indexed(),
        &[
            ("status.completedIndexes = \"0-2,4\"", &[]),
            (
                "status.completedIndexes = \"5\"",
                &["status.completedIndexes: Invalid value: \"5\": error parsing completedIndexes: too large index: \
             \"5\""],
            ),
            (
                "status.completedIndexes = \"2-1\"",
                &["status.completedIndexes: Invalid value: \"2-1\": error parsing completedIndexes: non-increasing \
             order, previous: 2, current: 1"],
            ),
        ],
    );
}

#[test]
fn what_is_done_stays() {
    check_status(
        row("batch", "jobs"),
        &done(),
        &[
            ("", &[]),
            (
                "status.conditions = []",
                &[
                    "status.completionTime: Invalid value: \"2026-11-20T11:00:00Z\": cannot set completionTime when \
             there is no Complete=True condition",
                    "status.conditions: Invalid value: cannot disable the terminal Complete=True condition",
                    "status.conditions: Invalid value: cannot disable the SuccessCriteriaMet=True condition",
                ],
            ),
            (
                "status.completionTime = 2026-11-20T12:00:00Z",
                &["status.completionTime: Invalid value: \"2026-11-20T12:00:00Z\": completionTime cannot be mutated"],
            ),
            (
                "status.completionTime = null",
                &["status.completionTime: Required value: completionTime is required for Complete jobs"],
            ),
            (
                "status.startTime = null",
                &[
                    "status.startTime: Required value: startTime is required for finished job",
                    "status.startTime: Required value: startTime cannot be removed for unsuspended job",
                ],
            ),
            ("status.succeeded = 0", &["status.succeeded: Invalid value: 0: cannot decrease the succeeded counter"]),
            ("status.active = 1", &["status.active: Invalid value: 1: active>0 is invalid for finished job"]),
        ],
    );
}

#[test]
fn statuses_of_jobs_with_policies() {
    let mut limited = indexed();
    limited["spec"]["backoffLimitPerIndex"] = json!(1);
    check_status(
        row("batch", "jobs"),
        &limited,
        &[
            ("status.completedIndexes = \"0-2\" ; status.failedIndexes = \"4\"", &[]),
            (
                "status.completedIndexes = \"0-2\" ; status.failedIndexes = \"1,4\"",
                &[
                    "status.failedIndexes: Invalid value: \"1,4\": failedIndexes and completedIndexes overlap at index: 1",
                ],
            ),
            (
                "status.failedIndexes = \"x\"",
                &["status.failedIndexes: Invalid value: \"x\": error parsing failedIndexes: {…}"],
            ),
        ],
    );
    let mut ruled = indexed();
    ruled["spec"]["successPolicy"] = json!({ "rules": [{ "succeededCount": 1 }] });
    check_status(
        row("batch", "jobs"),
        &ruled,
        &[(
            r#"status = {"startTime":"2026-11-20T10:00:00Z","completionTime":"2026-11-20T11:00:00Z","conditions":[{"type":"Complete","status":"True"}]}"#,
            &[
                "status.conditions: Invalid value: cannot set Complete=True condition without the \
                 SuccessCriteriaMet=true condition",
                "status.conditions: Invalid value: cannot set Complete=True for Job with SuccessPolicy unless \
                 SuccessCriteriaMet=True",
            ],
        )],
    );
    let mut old = done();
    old["status"]["conditions"] = json!([{ "type": "Complete", "status": "True" }]);
    check_status(
        row("batch", "jobs"),
        &old,
        &[(
            r#"status.conditions[1] = {"type":"SuccessCriteriaMet","status":"True"}"#,
            &[
                "status.conditions: Invalid value: cannot set SuccessCriteriaMet=True for Job already has Complete=true \
               conditions",
            ],
        )],
    );
}
