//! Rules of LimitRanges.

use serde_json::{Value, json};

use crate::testing::{check_create, check_update, row};

fn range() -> Value {
    json!({ "metadata": { "name": "l", "namespace": "d" }, "spec": { "limits": [{ "type": "Container" }] } })
}

#[test]
fn ranges() {
    check_create(
        row("", "limitranges"),
        &range(),
        &[
            ("", &[]),
            (
                "spec.limits[0].type = Odd",
                &["spec.limits[0].type: Invalid value: \"Odd\": must be a standard limit type or fully qualified"],
            ),
            ("spec.limits[0].type = a/b", &[]),
            ("spec.limits[1] = {\"type\":\"Container\"}", &["spec.limits[1].type: Duplicate value: \"Container\""]),
            (
                "spec.limits[0].max = {\"widgets\":\"1\"}",
                &[
                    "spec.limits[0].max[widgets]: Invalid value: \"widgets\": must be a standard resource type or \
             fully qualified",
                    "spec.limits[0].max[widgets]: Invalid value: \"widgets\": must be a standard resource for \
             containers",
                    "spec.limits[0].default[widgets]: Invalid value: \"widgets\": must be a standard resource type or \
             fully qualified",
                    "spec.limits[0].default[widgets]: Invalid value: \"widgets\": must be a standard resource for \
             containers",
                    "spec.limits[0].defaultRequest[widgets]: Invalid value: \"widgets\": must be a standard resource \
             type or fully qualified",
                    "spec.limits[0].defaultRequest[widgets]: Invalid value: \"widgets\": must be a standard resource \
             for containers",
                ],
            ),
            (
                "spec.limits[0].max = {\"cpu\":\"1\"} ; spec.limits[0].min = {\"cpu\":\"2\"}",
                &[
                    "spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1",
                    "spec.limits[0].defaultRequest[cpu]: Invalid value: \"1\": min value 2 is greater than default \
             request value 1",
                    "spec.limits[0].default[cpu]: Invalid value: \"2\": min value 2 is greater than default value 1",
                ],
            ),
            (
                "spec.limits[0].min = {\"cpu\":\"2\"} ; spec.limits[0].defaultRequest = {\"cpu\":\"1\"}",
                &["spec.limits[0].defaultRequest[cpu]: Invalid value: \"1\": min value 2 is greater than default \
             request value 1"],
            ),
            (
                "spec.limits[0].defaultRequest = {\"cpu\":\"2\"} ; spec.limits[0].max = {\"cpu\":\"1\"}",
                &[
                    "spec.limits[0].defaultRequest[cpu]: Invalid value: \"2\": default request value 2 is greater \
             than max value 1",
                    "spec.limits[0].defaultRequest[cpu]: Invalid value: \"2\": default request value 2 is greater \
             than default limit value 1",
                ],
            ),
            (
                "spec.limits[0].default = {\"cpu\":\"1\"} ; spec.limits[0].min = {\"cpu\":\"2\"} ; \
         spec.limits[0].defaultRequest = {\"cpu\":\"3\"}",
                &[
                    "spec.limits[0].defaultRequest[cpu]: Invalid value: \"3\": default request value 3 is greater \
             than default limit value 1",
                    "spec.limits[0].default[cpu]: Invalid value: \"2\": min value 2 is greater than default value 1",
                ],
            ),
            (
                "spec.limits[0].default = {\"cpu\":\"2\"} ; spec.limits[0].max = {\"cpu\":\"1\"}",
                &[
                    "spec.limits[0].defaultRequest[cpu]: Invalid value: \"2\": default request value 2 is greater \
             than max value 1",
                    "spec.limits[0].default[cpu]: Invalid value: \"1\": default value 2 is greater than max value 1",
                ],
            ),
            (
                "spec.limits[0].type = Pod ; spec.limits[0].default = {\"cpu\":\"1\"} ; spec.limits[0].defaultRequest \
         = {\"cpu\":\"1\"}",
                &[
                    "spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'",
                    "spec.limits[0].defaultRequest: Forbidden: may not be specified when `type` is 'Pod'",
                ],
            ),
            (
                "spec.limits[0].type = PersistentVolumeClaim",
                &["spec.limits[0].limits: Required value: either minimum or maximum storage value is required, but \
             neither was provided"],
            ),
            ("spec.limits[0].type = PersistentVolumeClaim ; spec.limits[0].max = {\"storage\":\"1Gi\"}", &[]),
            (
                "spec.limits[0].maxLimitRequestRatio = {\"cpu\":\"500m\"}",
                &["spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: \"500m\": ratio 500m is less than 1"],
            ),
            (
                "spec.limits[0].max = {\"cpu\":\"4\"} ; spec.limits[0].min = {\"cpu\":\"1\"} ; \
         spec.limits[0].maxLimitRequestRatio = {\"cpu\":\"5\"}",
                &["spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: \"5\": ratio 5 is greater than max/min \
             = 4.000000"],
            ),
            (
                "spec.limits[0].default = {\"a/b\":\"2\"} ; spec.limits[0].defaultRequest = {\"a/b\":\"1\"}",
                &["spec.limits[0].defaultRequest[a/b]: Invalid value: \"1\": default value 2 must equal to \
             defaultRequest value 1 in a/b"],
            ),
        ],
    );
}

#[test]
fn changed_ranges() {
    check_update(
        row("", "limitranges"),
        &range(),
        &[
            (r#"spec.limits[0].max = {"cpu":"1"}"#, &[]),
            ("spec.limits[0].type = a b", &["spec.limits[0].type: Invalid value: \"a b\": {name part}"]),
            (
                r#"spec.limits[0] = {"type":"Pod","max":{"cpu":"1"},"min":{"cpu":"2"}}"#,
                &["spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1"],
            ),
        ],
    );
}
