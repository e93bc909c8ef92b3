mod annotations;
mod commands;
mod containers;
mod life;
mod parts;
mod projected;
mod remote;
mod rights;
mod scheduling;
mod statuses;
mod volumes;
mod windows;

use serde_json::{Value, json};

use crate::testing::{cells, created, defaulted, row, texts};

fn pod(spec: Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "web", "namespace": "default" }, "spec": spec })
}

fn simple() -> Value {
    pod(json!({ "containers": [{ "name": "c", "image": "i" }] }))
}

/// A pod with a toleration.
fn tolerant() -> Value {
    pod(json!({
        "containers": [{ "name": "c", "image": "i" }], "tolerations": [{ "key": "a", "operator": "Exists" }]
    }))
}

#[test]
fn defaults_of_a_plain_pod() {
    let got = defaulted(row("", "pods"), simple());
    let want = json!({
        "containers": [{
            "name": "c", "image": "i", "imagePullPolicy": "Always", "resources": {},
            "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
        }],
        "dnsPolicy": "ClusterFirst", "enableServiceLinks": true, "restartPolicy": "Always",
        "schedulerName": "default-scheduler", "securityContext": {}, "terminationGracePeriodSeconds": 30,
    });
    assert_eq!(got["spec"], want);
}

#[test]
fn defaults_inside_containers_and_volumes() {
    let spec = json!({
        "hostNetwork": true,
        "serviceAccount": "robot",
        "containers": [{
            "name": "c", "image": "registry:5000/app:v1",
            "ports": [{ "containerPort": 80 }],
            "env": [{ "name": "A", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } }],
            "resources": { "limits": { "cpu": "1000m", "memory": 128 } },
            "livenessProbe": { "httpGet": { "port": 80 } },
            "lifecycle": { "preStop": { "httpGet": { "port": "web", "path": "/bye" } } },
        }],
        "volumes": [
            { "name": "a" },
            { "name": "b", "secret": { "secretName": "s" } },
            { "name": "c", "hostPath": { "path": "/x" } },
            { "name": "d", "projected": { "sources": [{ "serviceAccountToken": { "path": "t" } }] } },
        ],
    });
    let spec = defaulted(row("", "pods"), pod(spec))["spec"].take();
    let container = &spec["containers"][0];
    assert_eq!(container["imagePullPolicy"], "IfNotPresent");
    assert_eq!(container["ports"][0], json!({ "containerPort": 80, "hostPort": 80, "protocol": "TCP" }));
    assert_eq!(container["env"][0]["valueFrom"]["fieldRef"]["apiVersion"], "v1");
    assert_eq!(container["resources"]["requests"], json!({ "cpu": "1", "memory": "128" }));
    let probe = json!({
        "httpGet": { "port": 80, "path": "/", "scheme": "HTTP" }, "timeoutSeconds": 1, "periodSeconds": 10,
        "successThreshold": 1, "failureThreshold": 3,
    });
    assert_eq!(container["livenessProbe"], probe);
    assert_eq!(container["lifecycle"]["preStop"]["httpGet"]["scheme"], "HTTP");
    assert_eq!(spec["serviceAccountName"], "robot");
    assert_eq!(spec["volumes"][0], json!({ "name": "a", "emptyDir": {} }));
    assert_eq!(spec["volumes"][1]["secret"]["defaultMode"], 420);
    assert_eq!(spec["volumes"][2]["hostPath"]["type"], "");
    let token = json!({ "path": "t", "expirationSeconds": 3600 });
    assert_eq!(spec["volumes"][3]["projected"]["sources"][0]["serviceAccountToken"], token);
}

#[test]
fn status_at_birth() {
    let class = |resources: Value| {
        let spec = json!({ "containers": [{ "name": "c", "image": "i", "resources": resources }] });
        created(row("", "pods"), pod(spec))["status"].take()
    };
    assert_eq!(class(json!({})), json!({ "phase": "Pending", "qosClass": "BestEffort" }));
    assert_eq!(class(json!({ "requests": { "cpu": "1" } }))["qosClass"], "Burstable");
    assert_eq!(class(json!({ "limits": { "cpu": "1", "memory": "1Gi" } }))["qosClass"], "Guaranteed");
    let lower = json!({ "limits": { "cpu": "1", "memory": "1Gi" }, "requests": { "cpu": "500m" } });
    assert_eq!(class(lower)["qosClass"], "Burstable");
    let gated = json!({ "containers": [{ "name": "c", "image": "i" }], "schedulingGates": [{ "name": "g" }] });
    let want = json!([{
        "type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
        "message": "Scheduling is blocked due to non-empty scheduling gates",
    }]);
    assert_eq!(created(row("", "pods"), pod(gated))["status"]["conditions"], want);
}

#[test]
fn statuses_do_not_rise_from_the_dead() {
    let pods = row("", "pods");
    let mut old =
        created(pods, pod(json!({ "restartPolicy": "Never", "containers": [{ "name": "c", "image": "i" }] })));
    old["status"]["containerStatuses"] = json!([{ "name": "c", "state": { "terminated": { "exitCode": 1 } } }]);
    let mut new = old.clone();
    new["status"]["containerStatuses"][0]["state"] = json!({ "running": {} });
    new["spec"]["nodeName"] = json!("elsewhere");
    (pods.strategy.prepare_for_status_update)(&mut new, &old);
    assert_eq!(new["spec"], old["spec"]);
    let errors = texts(&(pods.strategy.validate_status_update)(&new, &old));
    assert_eq!(
        errors,
        ["status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state"]
    );
}

#[test]
fn grace() {
    let grace = row("", "pods").strategy.grace_period_seconds.expect("pods have grace");
    let mut object = defaulted(row("", "pods"), simple());
    assert_eq!(grace(&object, None), 0, "no node has it");
    object["spec"]["nodeName"] = json!("n");
    assert_eq!(grace(&object, None), 30);
    assert_eq!(grace(&object, Some(5)), 5);
    assert_eq!(grace(&object, Some(-1)), 1);
    object["status"] = json!({ "phase": "Failed" });
    assert_eq!(grace(&object, None), 0);
}

#[test]
fn columns() {
    let base = |status: Value| {
        let mut object = pod(json!({ "containers": [{ "name": "a" }, { "name": "b" }], "nodeName": "n1" }));
        object["metadata"]["creationTimestamp"] = json!("2026-11-20T23:55:00Z");
        object["status"] = status;
        object
    };
    let running = |name: &str| json!({ "name": name, "ready": true, "state": { "running": {} }, "restartCount": 0 });
    let completed =
        |name: &str| json!({ "name": name, "state": { "terminated": { "reason": "Completed", "exitCode": 0 } } });
    let ended = |name: &str, code: u32, signal: u32| json!({ "name": name, "state": { "terminated": { "exitCode": code, "signal": signal } } });
    let cases: &[(Value, [&str; 3])] = &[
        (json!({ "phase": "Pending" }), ["0/2", "Pending", "0"]),
        (json!({ "phase": "Running", "containerStatuses": [running("a"), running("b")] }), ["2/2", "Running", "0"]),
        (
            json!({ "phase": "Running", "containerStatuses": [running("a"), {
                "name": "b", "restartCount": 3, "state": { "waiting": { "reason": "CrashLoopBackOff" } },
                "lastState": { "terminated": { "finishedAt": "2026-11-20T23:59:00Z" } },
            }] }),
            ["1/2", "CrashLoopBackOff", "3 (60s ago)"],
        ),
        (
            json!({ "phase": "Succeeded", "containerStatuses": [completed("a"), completed("b")] }),
            ["0/2", "Completed", "0"],
        ),
        (json!({ "phase": "Failed", "reason": "Evicted" }), ["0/2", "Evicted", "0"]),
        (
            json!({ "phase": "Pending", "initContainerStatuses": [
                { "name": "i", "state": { "waiting": { "reason": "PodInitializing" } } },
            ] }),
            ["0/2", "Init:0/0", "0"],
        ),
        (
            json!({ "phase": "Pending", "conditions": [{ "type": "PodScheduled", "reason": "SchedulingGated" }] }),
            ["0/2", "SchedulingGated", "0"],
        ),
        (json!({ "phase": "Pending", "initContainerStatuses": [ended("i", 3, 0)] }), ["0/2", "Init:ExitCode:3", "0"]),
        (json!({ "phase": "Pending", "initContainerStatuses": [ended("i", 137, 9)] }), ["0/2", "Init:Signal:9", "0"]),
        (
            json!({ "phase": "Pending", "initContainerStatuses": [
                { "name": "i", "restartCount": 2, "state": { "terminated": { "reason": "Error", "exitCode": 1 } } },
            ] }),
            ["0/2", "Init:Error", "2"],
        ),
        (
            json!({ "phase": "Pending", "initContainerStatuses": [
                { "name": "i", "state": { "waiting": { "reason": "ErrImagePull" } } },
            ] }),
            ["0/2", "Init:ErrImagePull", "0"],
        ),
        (json!({ "phase": "Failed", "containerStatuses": [ended("a", 2, 0)] }), ["0/2", "ExitCode:2", "0"]),
        (json!({ "phase": "Failed", "containerStatuses": [ended("a", 143, 15)] }), ["0/2", "Signal:15", "0"]),
        (json!({ "phase": "Running", "containerStatuses": [completed("a"), running("b")] }), ["1/2", "NotReady", "0"]),
        (
            json!({ "phase": "Running", "containerStatuses": [completed("a"), running("b")],
                "conditions": [{ "type": "Ready", "status": "True" }] }),
            ["1/2", "Running", "0"],
        ),
    ];
    for (status, want) in cases {
        let got = cells(row("", "pods"), &base(status.clone()));
        assert_eq!(got[1..4], *want, "{status}");
        assert_eq!(got[4..], ["5m", "<none>", "n1", "<none>", "<none>"]);
    }
    let mut deleting = base(json!({ "phase": "Running" }));
    deleting["metadata"]["deletionTimestamp"] = json!("2026-11-20T23:59:00Z");
    assert_eq!(cells(row("", "pods"), &deleting)[2], "Terminating");
    deleting["status"]["reason"] = json!("NodeLost");
    assert_eq!(cells(row("", "pods"), &deleting)[2], "Unknown");
    deleting["status"] = json!({ "phase": "Failed", "reason": "Evicted" });
    assert_eq!(cells(row("", "pods"), &deleting)[2], "Evicted");
    let mut gated = base(json!({ "conditions": [{ "type": "a.example/warm", "status": "True" }] }));
    gated["spec"]["readinessGates"] = json!([{ "conditionType": "a.example/warm" }, { "conditionType": "b" }]);
    assert_eq!(cells(row("", "pods"), &gated)[8], "1/2");
}

#[test]
fn sidecars_count_and_init_containers_do_not() {
    let mut object = pod(json!({
        "initContainers": [{ "name": "i" }, { "name": "s", "restartPolicy": "Always" }],
        "containers": [{ "name": "a" }],
    }));
    object["status"] = json!({ "phase": "Pending", "initContainerStatuses": [
        { "name": "i", "state": { "running": {} } }, { "name": "s", "state": { "waiting": { "reason": "PodInitializing" } } },
    ] });
    let got = cells(row("", "pods"), &object);
    assert_eq!(got[1..3], ["0/2", "Init:0/2"]);
    object["status"] = json!({
        "phase": "Running",
        "initContainerStatuses": [
            { "name": "i", "state": { "terminated": { "exitCode": 0, "reason": "Completed" } } },
            { "name": "s", "started": true, "ready": true, "state": { "running": {} }, "restartCount": 2 },
        ],
        "containerStatuses": [{ "name": "a", "ready": true, "state": { "running": {} } }],
    });
    let got = cells(row("", "pods"), &object);
    assert_eq!(got[1..4], ["2/2", "Running", "2"]);
}
