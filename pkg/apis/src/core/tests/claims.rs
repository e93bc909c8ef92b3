//! Rules of PersistentVolumeClaims.

use serde_json::{Value, json};

use crate::testing::{change, check_create, check_status, check_update, check_warnings, defaulted, row, texts};

fn claim() -> Value {
    json!({
        "metadata": { "name": "data", "namespace": "d" },
        "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "2Gi" } } }
    })
}

#[test]
fn new_claims() {
    check_create(
        row("", "persistentvolumeclaims"),
        &claim(),
        &[
            ("", &[]),
            ("spec.accessModes = []", &["spec.accessModes: Required value: at least 1 access mode is required"]),
            (
                "spec.accessModes = [\"Odd\"]",
                &["spec.accessModes: Unsupported value: \"Odd\": supported values: \"ReadOnlyMany\", \
             \"ReadWriteMany\", \"ReadWriteOnce\", \"ReadWriteOncePod\""],
            ),
            ("spec.resources = null", &["spec.resources[storage]: Required value"]),
            (
                "spec.resources.requests.storage = 0",
                &["spec.resources[storage]: Invalid value: \"0\": must be greater than zero"],
            ),
            ("spec.storageClassName = \"\"", &[]),
            ("spec.storageClassName = A", &["spec.storageClassName: Invalid value: \"A\": {subdomain}"]),
            (
                "spec.volumeMode = Odd",
                &["spec.volumeMode: Unsupported value: \"Odd\": supported values: \"Block\", \"Filesystem\""],
            ),
            (
                "spec.volumeAttributesClassName = A",
                &["spec.volumeAttributesClassName: Invalid value: \"A\": {subdomain}"],
            ),
            (
                "spec.selector = {\"matchLabels\":{\"a b\":\"c\"}}",
                &["spec.selector.matchLabels: Invalid value: \"a b\": {name part}"],
            ),
            (
                "spec.dataSource = {\"kind\":\"Secret\"}",
                &[
                    "spec.dataSource.name: Required value",
                    "spec.dataSource: Invalid value: \"Secret\": must be 'PersistentVolumeClaim' when referencing the \
             default apiGroup",
                    "spec.dataSourceRef.name: Required value",
                    "spec.dataSourceRef: Invalid value: \"Secret\": must be 'PersistentVolumeClaim' when referencing \
             the default apiGroup",
                ],
            ),
            (
                "spec.dataSource = {\"apiGroup\":\"A\",\"kind\":\"VolumeSnapshot\",\"name\":\"s\"}",
                &[
                    "spec.dataSource.apiGroup: Invalid value: \"A\": {subdomain}",
                    "spec.dataSourceRef.apiGroup: Invalid value: \"A\": {subdomain}",
                ],
            ),
            (
                "spec.dataSource = {\"kind\":\"PersistentVolumeClaim\",\"name\":\"a\"} ; spec.dataSourceRef = \
         {\"kind\":\"PersistentVolumeClaim\",\"name\":\"b\"}",
                &["spec: Invalid value: \"spec.dataSource\": must match dataSourceRef"],
            ),
            ("spec.dataSourceRef = {\"apiGroup\":\"a.b\",\"kind\":\"Book\",\"name\":\"b\"}", &[]),
            // References into other namespaces are of a feature that is off: they go.
            (
                r#"spec.dataSource = {"kind":"PersistentVolumeClaim","name":"a"} ; spec.dataSourceRef = {"kind":"PersistentVolumeClaim","name":"a","namespace":"N"}"#,
                &[],
            ),
            (
                r#"spec.accessModes = ["ReadWriteOncePod","ReadWriteOnce"]"#,
                &["spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes"],
            ),
        ],
    );
}

#[test]
fn unbound_claims_that_change() {
    check_update(
        row("", "persistentvolumeclaims"),
        &claim(),
        &[
            ("", &[]),
            ("spec.volumeName = disk", &[]),
            ("spec.storageClassName = fast", &[]),
            (
                "spec.resources.requests.storage = 3Gi",
                &["spec: Forbidden: spec is immutable after creation except resources.requests and \
             volumeAttributesClassName for bound claims\nspec.resources.requests.storage: - \"2Gi\" + \
             \"3Gi\"\n"],
            ),
            (
                "spec.volumeMode = Block",
                &[
                    "spec: Forbidden: spec is immutable after creation except resources.requests and \
             volumeAttributesClassName for bound claims\nspec.volumeMode: - \"Filesystem\" + \"Block\"\n",
                    "volumeMode: Invalid value: \"Block\": field is immutable",
                ],
            ),
            (
                "metadata.annotations = {\"volume.beta.kubernetes.io/storage-class\":\"a\"}",
                &["metadata.annotations.volume.beta.kubernetes.io/storage-class: Invalid value: \"a\": field is \
             immutable"],
            ),
            (
                "spec.accessModes = [\"ReadOnlyMany\"]",
                &["spec: Forbidden: spec is immutable after creation except resources.requests and \
             volumeAttributesClassName for bound claims\nspec.accessModes[0]: - \"ReadWriteOnce\" + \
             \"ReadOnlyMany\"\n"],
            ),
        ],
    );
}

#[test]
fn statuses() {
    check_status(
        row("", "persistentvolumeclaims"),
        &claim(),
        &[
            ("status = {\"phase\":\"Bound\",\"capacity\":{\"storage\":\"1Gi\"}}", &[]),
            (
                "status.capacity = {\"storage\":\"-1\"}",
                &["status.capacity[storage]: Invalid value: -1: must be a valid resource quantity"],
            ),
            (
                "status.allocatedResourceStatuses = {\"storage\":\"NodeResizePending\",\"cpu\":\"Odd\",\"a \
         b\":\"NodeResizePending\"}",
                &[
                    "status.allocatedResourceStatus: Invalid value: \"a b\": {name part}",
                    "status.allocatedResourceStatus: Unsupported value: \"cpu\": supported values: \"storage\"",
                    "status.allocatedResourceStatus: Unsupported value: \"cpu\": supported values: \
             \"ControllerResizeInProgress\", \"ControllerResizeInfeasible\", \"NodeResizeInProgress\", \
             \"NodeResizeInfeasible\", \"NodeResizePending\"",
                ],
            ),
            (
                "status.allocatedResources = {\"storage\":\"1Gi\",\"cpu\":\"1\",\"a b\":\"1\"}",
                &[
                    "status.allocatedResources: Invalid value: \"a b\": {name part}",
                    "status.allocatedResources: Unsupported value: \"cpu\": supported values: \"storage\"",
                ],
            ),
        ],
    );
}

#[test]
fn warnings() {
    check_warnings(
        row("", "persistentvolumeclaims"),
        &claim(),
        &[
            (
                "metadata.annotations = {\"volume.beta.kubernetes.io/storage-class\":\"a\"}",
                &["metadata.annotations[volume.beta.kubernetes.io/storage-class]: deprecated since v1.8; use \
             \"storageClassName\" attribute instead"],
            ),
            (
                "spec.resources.requests.storage = 1500m",
                &["spec.resources.requests[storage]: fractional byte value \"1500m\" is invalid, must be an integer"],
            ),
        ],
    );
}

#[test]
fn bound_claims_that_change() {
    let claims = row("", "persistentvolumeclaims");
    let mut old = defaulted(claims, claim());
    old["status"] = json!({
        "phase": "Bound", "capacity": { "storage": "1Gi" }, "currentVolumeAttributesClassName": "gold",
    });
    old["spec"]["volumeAttributesClassName"] = json!("gold");
    let smaller = "spec.resources.requests.storage: Forbidden: field can not be less than status.capacity";
    let fixed = "spec.volumeAttributesClassName: Forbidden: update from non-nil value to nil is forbidden";
    let cases: &[(&str, &[&str])] = &[
        ("spec.resources.requests.storage = 3Gi", &[]),
        ("spec.resources.requests.storage = 1500Mi", &[]),
        ("spec.resources.requests.storage = 1Gi", &[smaller]),
        ("spec.volumeAttributesClassName = silver", &[]),
        ("spec.volumeAttributesClassName = null", &[fixed]),
    ];
    for (changes, want) in cases {
        let mut new = old.clone();
        change(&mut new, changes);
        assert_eq!(texts(&(claims.strategy.validate_update)(&new, &old)), *want, "{changes}");
    }
}
