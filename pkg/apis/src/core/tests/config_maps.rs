//! Rules of ConfigMaps.

use serde_json::{Value, json};

use crate::testing::{check_create, check_update, row};

fn map() -> Value {
    json!({ "metadata": { "name": "m", "namespace": "d" }, "data": { "a": "1" }, "binaryData": { "b": "MQ==" } })
}

#[test]
fn keys_and_sizes() {
    let (limit, above) = ("x".repeat(1024 * 1024), "x".repeat(1024 * 1024 + 1));
    check_create(
        row("", "configmaps"),
        &map(),
        &[
            ("", &[]),
            ("data = null ; binaryData = null", &[]),
            ("data[A.b_c-d] = \"\"", &[]),
            ("data[a b] = c", &["data[a b]: Invalid value: \"a b\": {config key}"]),
            ("data[..] = c", &["data[..]: Invalid value: \"..\": must not be '..'"]),
            ("binaryData[..a] = MQ==", &["binaryData[..a]: Invalid value: \"..a\": must not start with '..'"]),
            (
                &format!("data[{}] = c", "k".repeat(254)),
                &[&format!("data[{0}]: Invalid value: \"{0}\": must be no more than 253 bytes", "k".repeat(254))],
            ),
            (
                "binaryData.a = MQ==",
                &[
                    "data[a]: Invalid value: \"a\": duplicate of key present in binaryData",
                    "binaryData[a]: Invalid value: \"a\": duplicate of key present in data",
                ],
            ),
            (&format!("data.a = {limit} ; binaryData = null"), &[]),
            (&format!("data.a = {above} ; binaryData = null"), &["[]: Too long: may not be more than 1048576 bytes"]),
            (&format!("data.a = {limit}"), &["[]: Too long: may not be more than 1048576 bytes"]),
        ],
    );
}

#[test]
fn what_is_frozen_stays() {
    check_update(
        row("", "configmaps"),
        &map(),
        &[
            ("data.a = 2 ; binaryData = null", &[]),
            ("immutable = true", &[]),
            ("data[a b] = c", &["data[a b]: Invalid value: \"a b\": {config key}"]),
        ],
    );
    let mut frozen = map();
    frozen["immutable"] = json!(true);
    check_update(
        row("", "configmaps"),
        &frozen,
        &[
            ("metadata.labels.a = b", &[]),
            ("immutable = false", &["immutable: Forbidden: field is immutable when `immutable` is set"]),
            ("immutable = null", &["immutable: Forbidden: field is immutable when `immutable` is set"]),
            ("data.a = \"2\"", &["data: Forbidden: field is immutable when `immutable` is set"]),
            ("binaryData.c = MQ==", &["binaryData: Forbidden: field is immutable when `immutable` is set"]),
            ("data = null", &["data: Forbidden: field is immutable when `immutable` is set"]),
        ],
    );
}
