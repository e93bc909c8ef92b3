use serde_json::{Value, json};

use crate::testing::{cells, create_errors, created, defaulted, row, update_errors};

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
fn deployment_refusals() {
    let cases: &[(Value, &[&str])] = &[
        (json!({}), &[]),
        (json!({ "replicas": -1 }), &["spec.replicas: Invalid value: -1: must be greater than or equal to 0"]),
        (json!({ "selector": {} }), &["spec.selector: Invalid value: {}: empty selector is invalid for deployment"]),
        (
            json!({ "selector": { "matchLabels": { "app": "other" } } }),
            &[
                "spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match template `labels`",
            ],
        ),
        (
            json!({ "strategy": { "type": "Recreate", "rollingUpdate": { "maxSurge": 1 } } }),
            &["spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"],
        ),
        (
            json!({ "strategy": { "rollingUpdate": { "maxSurge": 0, "maxUnavailable": 0 } } }),
            &["spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"],
        ),
        (
            json!({ "minReadySeconds": 600 }),
            &["spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds"],
        ),
    ];
    for (spec, want) in cases {
        assert_eq!(create_errors(row("apps", "deployments"), object(spec.clone())), *want, "{spec}");
    }
    let errors = update_errors(row("apps", "deployments"), object(json!({})), |o| {
        o["spec"]["selector"]["matchLabels"] = json!({ "app": "web", "b": "c" });
        o["spec"]["template"]["metadata"]["labels"]["b"] = json!("c");
    });
    let want = "spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"web\",\"b\":\"c\"}}: field is immutable";
    assert_eq!(errors, [want]);
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
    assert_eq!(spec["updateStrategy"], json!({ "type": "RollingUpdate", "rollingUpdate": { "partition": 0 } }));
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
