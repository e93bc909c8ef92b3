mod cronjobs;
mod job_changes;
mod jobs;

use serde_json::{Value, json};

use crate::testing::{cells, created, defaulted, row, texts};

/// A job with the fields of `spec`, and a template if that has none.
fn job(spec: Value) -> Value {
    let mut spec = spec;
    if spec.get("template").is_none() {
        spec["template"] =
            json!({ "spec": { "restartPolicy": "Never", "containers": [{ "name": "c", "image": "i" }] } });
    }
    json!({ "metadata": { "name": "sum", "namespace": "d", "uid": "u" }, "spec": spec })
}

/// A job of five numbered pods.
fn indexed() -> Value {
    job(json!({ "completionMode": "Indexed", "completions": 5, "parallelism": 5 }))
}

#[test]
fn job_defaults() {
    let got = created(row("batch", "jobs"), job(json!({})));
    let spec = &got["spec"];
    for (field, want) in [
        ("parallelism", json!(1)),
        ("completions", json!(1)),
        ("backoffLimit", json!(6)),
        ("completionMode", json!("NonIndexed")),
        ("suspend", json!(false)),
        ("podReplacementPolicy", json!("TerminatingOrFailed")),
        ("selector", json!({ "matchLabels": { "batch.kubernetes.io/controller-uid": "u" } })),
    ] {
        assert_eq!(spec[field], want, "{field}");
    }
    let labels = json!({
        "batch.kubernetes.io/controller-uid": "u", "batch.kubernetes.io/job-name": "sum",
        "controller-uid": "u", "job-name": "sum",
    });
    assert_eq!(spec["template"]["metadata"]["labels"], labels);
    assert_eq!(texts(&(row("batch", "jobs").strategy.validate)(&got)), [""; 0]);
    let got = defaulted(row("batch", "jobs"), job(json!({ "parallelism": 3 })));
    assert_eq!(got["spec"].get("completions"), None, "a work queue has no number of completions");
}

#[test]
fn job_columns() {
    let mut got = defaulted(row("batch", "jobs"), job(json!({})));
    got["status"] = json!({ "startTime": "2026-11-20T23:58:00Z", "active": 1 });
    assert_eq!(cells(row("batch", "jobs"), &got)[1..4], ["Running", "0/1", "2m"]);
    got["status"] = json!({
        "startTime": "2026-11-20T23:58:00Z", "completionTime": "2026-11-20T23:58:07Z", "succeeded": 1,
        "conditions": [{ "type": "Complete", "status": "True" }],
    });
    assert_eq!(cells(row("batch", "jobs"), &got)[1..4], ["Complete", "1/1", "7s"]);
    let mut queue = job(json!({ "parallelism": 3 }));
    queue["status"] = json!({ "startTime": "2026-11-20T23:58:00Z", "succeeded": 2 });
    assert_eq!(cells(row("batch", "jobs"), &queue)[1..4], ["Running", "2/1 of 3", "2m"]);
    queue["spec"]["parallelism"] = json!(1);
    assert_eq!(cells(row("batch", "jobs"), &queue)[2], "2/1");
}

#[test]
fn cron_jobs() {
    let cronjobs = row("batch", "cronjobs");
    let cronjob = |schedule: &str| {
        let template = json!({ "spec": { "template": {
            "spec": { "restartPolicy": "OnFailure", "containers": [{ "name": "c", "image": "i" }] },
        } } });
        json!({ "metadata": { "name": "tick" }, "spec": { "schedule": schedule, "jobTemplate": template } })
    };
    let got = defaulted(cronjobs, cronjob("* * * * *"));
    assert_eq!(got["spec"]["concurrencyPolicy"], "Allow");
    assert_eq!(got["spec"]["successfulJobsHistoryLimit"], 3);
    let want = ["tick", "* * * * *", "<none>", "False", "0", "<none>", "<unknown>", "c", "i", "<none>"];
    assert_eq!(cells(cronjobs, &got), want);
}
