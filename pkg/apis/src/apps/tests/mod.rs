mod daemonsets;
mod deployments;
mod replicasets;
mod statefulsets;

use serde_json::{Value, json};

use crate::testing::{
    Rules, cells, check_create, check_status, check_update, create_errors, created, defaulted, row, update_errors,
};

fn object(spec: Value) -> Value {
    let mut spec = spec;
    if spec.get("selector").is_none() {
        spec["selector"] = json!({ "matchLabels": { "app": "web" } });
    }
    if spec.get("template").is_none() {
        spec["template"] = json!({
            "metadata": { "labels": { "app": "web" } }, "spec": { "containers": [{ "name": "c", "image": "i:1" }] },
        });
    }
    json!({ "metadata": { "name": "web", "namespace": "d" }, "spec": spec })
}

/// An object that every kind with a template accepts.
fn workload() -> Value {
    object(json!({}))
}

/// Rows that hold for every kind with a template.
const TEMPLATES: Rules<'_> = &[
    ("", &[]),
    (
        "spec.selector.matchLabels = {\"app\":\"other\"}",
        &[
            "spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match template `labels`",
        ],
    ),
    (
        "spec.template = null",
        &[
            "spec.template.metadata.labels: Invalid value: null: `selector` does not match template `labels`",
            "spec.template.spec.containers: Required value",
        ],
    ),
    (
        "spec.template.spec.restartPolicy = Never",
        &["spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\""],
    ),
    ("spec.template.metadata.labels[a b] = c", &["spec.template.labels: Invalid value: \"a b\": {name part}"]),
    (
        "spec.template.spec.ephemeralContainers = [{\"name\":\"e\",\"image\":\"i\"}]",
        &["spec.template.spec.ephemeralContainers: Forbidden: ephemeral containers not allowed in pod template"],
    ),
    ("spec.minReadySeconds = -1", &["spec.minReadySeconds: Invalid value: -1: must be greater than or equal to 0"]),
];

#[test]
fn templates() {
    for (plural, kind) in [
        ("daemonsets", "DaemonSet"),
        ("deployments", "ReplicaSet"),
        ("replicasets", "ReplicaSet"),
        ("statefulsets", "StatefulSet"),
    ] {
        let row = row("apps", plural);
        check_create(row, &workload(), TEMPLATES);
        let why = format!("activeDeadlineSeconds in {kind} is not Supported");
        let why = format!("spec.template.spec.activeDeadlineSeconds: Forbidden: {why}");
        check_create(row, &workload(), &[("spec.template.spec.activeDeadlineSeconds = 5", &[&why])]);
    }
}

#[test]
fn replicas() {
    for plural in ["deployments", "replicasets", "statefulsets"] {
        let negative: Rules<'_> =
            &[("spec.replicas = -1", &["spec.replicas: Invalid value: -1: must be greater than or equal to 0"])];
        check_create(row("apps", plural), &workload(), negative);
        check_update(row("apps", plural), &workload(), negative);
    }
}

#[test]
fn selectors_do_not_change() {
    for plural in ["daemonsets", "deployments", "replicasets"] {
        let rules: Rules<'_> = &[
            ("spec.template.metadata.labels[b] = c", &[]),
            (
                "spec.selector.matchLabels[b] = c ; spec.template.metadata.labels[b] = c",
                &["spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"web\",\"b\":\"c\"}}: field is immutable"],
            ),
        ];
        check_update(row("apps", plural), &workload(), rules);
    }
}

#[test]
fn deployment_defaults() {
    let got = defaulted(row("apps", "deployments"), object(json!({})));
    let spec = &got["spec"];
    assert_eq!(spec["replicas"], 1);
    assert_eq!(spec["revisionHistoryLimit"], 10);
    assert_eq!(spec["progressDeadlineSeconds"], 600);
    let strategy = json!({ "type": "RollingUpdate", "rollingUpdate": { "maxSurge": "25%", "maxUnavailable": "25%" } });
    assert_eq!(spec["strategy"], strategy);
    assert_eq!(spec["template"]["spec"]["restartPolicy"], "Always");
    let got =
        defaulted(row("apps", "deployments"), object(json!({ "replicas": 0, "strategy": { "type": "Recreate" } })));
    assert_eq!((&got["spec"]["replicas"], &got["spec"]["strategy"]), (&json!(0), &json!({ "type": "Recreate" })));
}

#[test]
fn daemon_sets() {
    let sets = row("apps", "daemonsets");
    let got = created(sets, object(json!({})));
    let rolling = json!({ "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 0, "maxUnavailable": 1 } });
    assert_eq!(got["spec"]["updateStrategy"], rolling);
    let generation = |o: &Value| o["metadata"]["annotations"]["deprecated.daemonset.template.generation"].clone();
    assert_eq!(generation(&got), "1");
    let mut new = got.clone();
    (sets.strategy.prepare_for_update)(&mut new, &got);
    assert_eq!(generation(&new), "1");
    new["spec"]["template"]["spec"]["hostname"] = json!("h");
    (sets.strategy.prepare_for_update)(&mut new, &got);
    assert_eq!(generation(&new), "2");
    assert_eq!(cells(sets, &got)[1..7], ["0", "0", "0", "0", "0", "<none>"]);
    let both = json!({ "updateStrategy": { "rollingUpdate": { "maxSurge": 1 } } });
    let want = "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is \
                non-zero";
    assert_eq!(create_errors(sets, object(both)), [want]);
}

#[test]
fn stateful_sets() {
    let sets = row("apps", "statefulsets");
    let claim = json!({ "metadata": { "name": "data" }, "spec": { "accessModes": ["ReadWriteOnce"] } });
    let got = defaulted(sets, object(json!({ "volumeClaimTemplates": [claim], "serviceName": "web" })));
    let spec = &got["spec"];
    assert_eq!(
        spec["updateStrategy"],
        json!({ "type": "RollingUpdate", "rollingUpdate": { "partition": 0, "maxUnavailable": 1 } })
    );
    assert_eq!(spec["volumeClaimTemplates"][0]["status"], json!({ "phase": "Pending" }));
    assert_eq!(spec["volumeClaimTemplates"][0]["spec"]["volumeMode"], "Filesystem");
    assert_eq!(
        spec["persistentVolumeClaimRetentionPolicy"],
        json!({ "whenDeleted": "Retain", "whenScaled": "Retain" })
    );
    assert_eq!(update_errors(sets, got.clone(), |o| o["spec"]["replicas"] = json!(3)), [""; 0]);
    let errors = update_errors(sets, got, |o| o["spec"]["serviceName"] = json!("other"));
    assert!(errors[0].starts_with("spec: Forbidden: updates to statefulset spec for fields other than 'replicas'"));
}

#[test]
fn replica_sets_are_always_counted() {
    let sets = row("apps", "replicasets");
    let got = created(sets, object(json!({})));
    assert_eq!(got["status"], json!({ "replicas": 0 }));
    assert_eq!(cells(sets, &got), ["web", "1", "0", "0", "<unknown>", "c", "i:1", "app=web"]);
    let never = json!({ "template": { "metadata": { "labels": { "app": "web" } },
        "spec": { "restartPolicy": "Never", "containers": [{ "name": "c", "image": "i" }] } } });
    let want = "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"";
    assert_eq!(create_errors(sets, object(never)), [want]);
}

#[test]
fn deployment_columns() {
    let mut got = defaulted(row("apps", "deployments"), object(json!({ "replicas": 3 })));
    got["status"] = json!({ "readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 2 });
    let want = ["web", "2/3", "3", "2", "<unknown>", "c", "i:1", "app=web"];
    assert_eq!(cells(row("apps", "deployments"), &got), want);
}

#[test]
fn counters_of_collisions_do_not_go_back() {
    for plural in ["daemonsets", "deployments", "statefulsets"] {
        let mut old = workload();
        old["status"] = json!({ "collisionCount": 2 });
        let refused = "status.collisionCount: Invalid value: {…}: cannot be decremented";
        check_status(
            row("apps", plural),
            &old,
            &[
                ("status.collisionCount = 3", &[]),
                ("status.collisionCount = 1", &[refused]),
                ("status.collisionCount = null", &[refused]),
            ],
        );
    }
}

#[test]
fn controller_revisions() {
    let revisions = row("apps", "controllerrevisions");
    let base = json!({ "metadata": { "name": "r", "namespace": "d" }, "data": { "spec": {} }, "revision": 1 });
    check_create(
        revisions,
        &base,
        &[
            ("", &[]),
            ("data = null", &["data: Required value: data is mandatory"]),
            ("data = []", &["data: Required value: data must be a valid JSON object"]),
            ("revision = -1", &["revision: Invalid value: -1: must be greater than or equal to 0"]),
        ],
    );
    check_update(
        revisions,
        &base,
        &[
            ("revision = 2 ; metadata.labels.a = b", &[]),
            ("data.spec.a = 1", &["data: Invalid value: {\"spec\":{\"a\":1}}: field is immutable"]),
        ],
    );
    let mut owned = base;
    owned["metadata"]["ownerReferences"] =
        json!([{ "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "controller": true }]);
    assert_eq!(cells(revisions, &owned), ["r", "statefulset.apps/web", "1", "<unknown>"]);
}
