//! Rules of cron jobs.

use serde_json::{Value, json};

use crate::testing::{check_create, check_update, check_warnings, row};

fn tick() -> Value {
    json!({
        "metadata": { "name": "tick", "namespace": "d" },
        "spec": {
            "schedule": "* * * * *",
            "jobTemplate": { "spec": { "template": { "spec": { "restartPolicy": "Never", "containers": [{ "name": "c", "image": "i" }] } } } }
        }
    })
}

fn zoned() -> Value {
    json!({
        "metadata": { "name": "tick", "namespace": "d" },
        "spec": {
            "schedule": "TZ=UTC * * * * *", "timeZone": "Nowhere",
            "jobTemplate": { "spec": { "template": { "spec": { "restartPolicy": "Never", "containers": [{ "name": "c", "image": "i" }] } } } }
        }
    })
}

#[test]
fn new_cron_jobs() {
    check_create(
        row("batch", "cronjobs"),
        &tick(),
        &[
            ("", &[]),
            ("spec.schedule = \"\"", &["spec.schedule: Required value"]),
            (
                "spec.schedule = \"61 * * * *\"",
                &["spec.schedule: Invalid value: \"61 * * * *\": end of range (61) above maximum (59): 61"],
            ),
            ("spec.schedule = @hourly", &[]),
            (
                "spec.schedule = \"TZ=UTC 0 0 * * *\"",
                &["spec.schedule: Invalid value: \"TZ=UTC 0 0 * * *\": cannot use TZ or CRON_TZ in schedule, use \
             timeZone field instead"],
            ),
            (
                "spec.schedule = \"TZ=Nowhere 0 0 * * *\"",
                &[
                    "spec.schedule: Invalid value: \"TZ=Nowhere 0 0 * * *\": provided bad location Nowhere: unknown \
             time zone Nowhere",
                    "spec.schedule: Invalid value: \"TZ=Nowhere 0 0 * * *\": cannot use TZ or CRON_TZ in schedule, \
             use timeZone field instead",
                ],
            ),
            (
                "spec.startingDeadlineSeconds = -1",
                &["spec.startingDeadlineSeconds: Invalid value: -1: must be greater than or equal to 0"],
            ),
            (
                "spec.successfulJobsHistoryLimit = -1 ; spec.failedJobsHistoryLimit = -1",
                &[
                    "spec.successfulJobsHistoryLimit: Invalid value: -1: must be greater than or equal to 0",
                    "spec.failedJobsHistoryLimit: Invalid value: -1: must be greater than or equal to 0",
                ],
            ),
            (
                "spec.concurrencyPolicy = Odd",
                &["spec.concurrencyPolicy: Unsupported value: \"Odd\": supported values: \"Allow\", \"Forbid\", \
             \"Replace\""],
            ),
            ("spec.timeZone = \"\"", &["spec.timeZone: Invalid value: \"\": timeZone must be nil or non-empty string"]),
            (
                "spec.timeZone = Local",
                &["spec.timeZone: Invalid value: \"Local\": timeZone must be an explicit time zone as defined in \
             https://www.iana.org/time-zones"],
            ),
            (
                "spec.timeZone = local",
                &[
                    "spec.timeZone: Invalid value: \"local\": timeZone must be an explicit time zone as defined in \
             https://www.iana.org/time-zones",
                    "spec.timeZone: Invalid value: \"local\": unknown time zone local",
                ],
            ),
            ("spec.timeZone = Nowhere", &["spec.timeZone: Invalid value: \"Nowhere\": unknown time zone Nowhere"]),
            ("spec.timeZone = Europe/Berlin", &[]),
            (
                "spec.jobTemplate = null",
                &[
                    "spec.jobTemplate.spec.template.spec.containers: Required value",
                    "spec.jobTemplate.spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \
             \"Never\"",
                ],
            ),
            (
                "spec.jobTemplate.spec.selector = {\"matchLabels\":{\"a\":\"b\"}} ; \
         spec.jobTemplate.spec.manualSelector = true",
                &[
                    "spec.jobTemplate.spec.selector: Invalid value: {\"matchLabels\":{\"a\":\"b\"}}: `selector` will \
             be auto-generated",
                    "spec.jobTemplate.spec.manualSelector: Unsupported value: true: supported values: \"nil\", \
             \"false\"",
                ],
            ),
            (
                "spec.jobTemplate.spec.template.spec.restartPolicy = Always",
                &["spec.jobTemplate.spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \
             \"Never\""],
            ),
            (
                "metadata.name = aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                &["metadata.name: Invalid value: \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\": must be \
             no more than 52 characters"],
            ),
        ],
    );
}

#[test]
fn changed_cron_jobs() {
    check_update(
        row("batch", "cronjobs"),
        &zoned(),
        &[
            (
                "spec.suspend = true",
                &["spec.schedule: Invalid value: \"TZ=UTC * * * * *\": cannot use both timeZone field and TZ or \
             CRON_TZ in schedule"],
            ),
            ("spec.timeZone = null", &[]),
            (
                "spec.timeZone = UTC",
                &["spec.schedule: Invalid value: \"TZ=UTC * * * * *\": cannot use both timeZone field and TZ or \
             CRON_TZ in schedule"],
            ),
            (
                "spec.schedule = \"* * * *\"",
                &["spec.schedule: Invalid value: \"* * * *\": expected exactly 5 fields, found 4: [* * * *]"],
            ),
        ],
    );
}

#[test]
fn warnings() {
    check_warnings(
        row("batch", "cronjobs"),
        &tick(),
        &[(
            "metadata.name = a.b",
            &["metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; \
             a DNS label is recommended: [must not contain dots]"],
        )],
    );
}
