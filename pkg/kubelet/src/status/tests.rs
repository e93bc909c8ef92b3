// Tables of cases read best as what they are.
#![allow(clippy::type_complexity)]

use serde_json::{Value, json};

use super::*;
use crate::actions::Probed;
use crate::runtime::{ContainerStatus, SandboxStatus, State};

fn pod(spec: Value) -> Pod {
    serde_json::from_value(
        json!({"metadata": {"name": "p", "namespace": "n", "uid": "u", "generation": 2}, "spec": spec}),
    )
    .expect("a pod")
}

/// `running`, `0` (exit code) or `created`.
fn container(name: &str, state: &str) -> ContainerStatus {
    let (state, exit_code) = match state {
        "running" => (State::Running, 0),
        "created" => (State::Created, 0),
        code => (State::Exited, code.parse().expect("an exit code")),
    };
    ContainerStatus {
        id: format!("{name}-id"),
        name: name.into(),
        sandbox_id: "s".into(),
        state,
        exit_code,
        restart_count: 1,
        hash: String::new(),
        created_at: None,
        started_at: None,
        finished_at: None,
        reason: String::new(),
        message: String::new(),
        image: "busybox".into(),
        image_id: "sha256:1".into(),
        log_path: String::new(),
    }
}

struct Case<'a> {
    pod: Pod,
    containers: &'a [(&'a str, &'a str)],
    waiting: &'a [(&'a str, &'a str)],
    probes: ProbeResults,
    finished: bool,
    old: PodStatus,
}

impl Case<'_> {
    fn new(spec: Value) -> Self {
        Case {
            pod: pod(spec),
            containers: &[],
            waiting: &[],
            probes: ProbeResults::new(),
            finished: false,
            old: PodStatus::default(),
        }
    }

    fn status(&self) -> PodStatus {
        let sandbox = SandboxStatus {
            id: "s".into(),
            ready: !self.finished,
            attempt: 0,
            created_at: 0,
            ips: vec!["10.42.0.5".into()],
            host_network: false,
        };
        let runtime = PodRuntimeStatus {
            sandboxes: vec![sandbox],
            containers: self.containers.iter().map(|(name, state)| container(name, state)).collect(),
        };
        let waiting = |(name, reason): &(&str, &str)| {
            ((*name).to_owned(), Waiting { reason: (*reason).to_owned(), message: "m".into() })
        };
        generate(
            &self.pod,
            &Inputs {
                runtime: &runtime,
                probes: &self.probes,
                waiting: &self.waiting.iter().map(waiting).collect(),
                given: &crate::resize::Given::default(),
                resize_pending: None,
                failure: None,
                rejected: false,
                node_ips: &[IpAddr::from([192, 0, 2, 1])],
                old: &self.old,
                terminating: self.finished,
                finished: self.finished,
                now: Timestamp::UNIX_EPOCH,
            },
        )
    }
}

fn condition(status: &PodStatus, kind: &str) -> String {
    let found = status.conditions.iter().flatten().find(|c| c.type_ == kind).expect(kind);
    let parts = [Some(found.status.as_str()), found.reason.as_deref(), found.message.as_deref()];
    parts.into_iter().flatten().collect::<Vec<_>>().join("|")
}

#[test]
fn phases() {
    let spec = |policy: &str| json!({"restartPolicy": policy, "containers": [{"name": "a"}, {"name": "b"}]});
    let cases: &[(&str, &[(&str, &str)], bool, &str)] = &[
        ("Always", &[], false, "Pending"),
        ("Always", &[("a", "running")], false, "Pending"),
        ("Always", &[("a", "running"), ("b", "running")], false, "Running"),
        ("Always", &[("a", "0"), ("b", "1")], false, "Running"),
        ("OnFailure", &[("a", "0"), ("b", "0")], false, "Succeeded"),
        ("OnFailure", &[("a", "0"), ("b", "1")], false, "Running"),
        ("Never", &[("a", "0"), ("b", "1")], false, "Failed"),
        ("Never", &[("a", "0"), ("b", "running")], false, "Running"),
        ("Always", &[("a", "0"), ("b", "0")], true, "Succeeded"),
        ("Always", &[("a", "0"), ("b", "137")], true, "Failed"),
        ("Always", &[], true, "Failed"),
    ];
    for (policy, containers, finished, expected) in cases {
        let status = Case { containers, finished: *finished, ..Case::new(spec(policy)) }.status();
        assert_eq!(status.phase.as_deref(), Some(*expected), "{policy} {containers:?} {finished}");
    }
}

#[test]
fn phases_with_init_containers() {
    let spec = |policy: &str| {
        json!({"restartPolicy": policy, "containers": [{"name": "a"}],
            "initContainers": [{"name": "i"}, {"name": "s", "restartPolicy": "Always"}]})
    };
    let cases: &[(&str, &[(&str, &str)], &str)] = &[
        ("Always", &[("i", "running")], "Pending"),
        ("Always", &[("i", "1")], "Pending"),
        ("Never", &[("i", "1")], "Failed"),
        ("Always", &[("i", "0"), ("s", "running")], "Pending"),
        ("Always", &[("i", "0"), ("s", "running"), ("a", "running")], "Running"),
        ("Never", &[("i", "0"), ("s", "running"), ("a", "0")], "Running"),
        ("Never", &[("i", "0"), ("s", "0"), ("a", "0")], "Succeeded"),
        ("Never", &[("i", "0"), ("s", "137"), ("a", "1")], "Failed"),
    ];
    for (policy, containers, expected) in cases {
        let status = Case { containers, ..Case::new(spec(policy)) }.status();
        assert_eq!(status.phase.as_deref(), Some(*expected), "{policy} {containers:?}");
    }
}

#[test]
fn conditions_say_what_is_missing() {
    let spec = json!({"initContainers": [{"name": "i"}], "containers": [{"name": "a"}, {"name": "b"}],
        "readinessGates": [{"conditionType": "example.com/gate"}]});
    let starting = Case { containers: &[("i", "running")], ..Case::new(spec.clone()) }.status();
    assert_eq!(
        condition(&starting, "Initialized"),
        "False|ContainersNotInitialized|containers with incomplete status: [i]"
    );
    assert_eq!(condition(&starting, "Ready"), "False|ContainersNotReady|containers with unready status: [a b]");
    assert_eq!(condition(&starting, "PodReadyToStartContainers"), "True");

    let running: &[(&str, &str)] = &[("i", "0"), ("a", "running"), ("b", "running")];
    let gated = Case { containers: running, ..Case::new(spec.clone()) }.status();
    assert_eq!(condition(&gated, "ContainersReady"), "True");
    assert_eq!(
        condition(&gated, "Ready"),
        "False|ReadinessGatesNotReady|corresponding condition of pod readiness gate \"example.com/gate\" does not exist."
    );
    let mut open = Case { containers: running, ..Case::new(spec) };
    open.pod.status =
        serde_json::from_value(json!({"conditions": [{"type": "example.com/gate", "status": "True"}]})).ok();
    assert_eq!(condition(&open.status(), "Ready"), "True");

    let done = json!({"restartPolicy": "Never", "containers": [{"name": "a"}]});
    let done = Case { containers: &[("a", "0")], ..Case::new(done) }.status();
    assert_eq!(condition(&done, "Ready"), "False|PodCompleted");
}

#[test]
fn probes_decide_on_readiness() {
    let probe = json!({"exec": {"command": ["x"]}});
    let spec = json!({"containers": [{"name": "a", "readinessProbe": probe, "startupProbe": probe}]});
    let cases = [
        (Probed::default(), false, false),
        (Probed { startup: Some(true), ..Probed::default() }, true, false),
        (Probed { startup: Some(true), readiness: Some(true), liveness: None }, true, true),
        (Probed { startup: Some(true), readiness: Some(false), liveness: None }, true, false),
    ];
    for (probed, started, ready) in cases {
        let probes = ProbeResults::from([("a-id".to_owned(), probed)]);
        let status = Case { containers: &[("a", "running")], probes, ..Case::new(spec.clone()) }.status();
        let container = &status.container_statuses.expect("one")[0];
        assert_eq!((container.started, container.ready), (Some(started), ready), "{probed:?}");
    }
}

#[test]
fn a_container_that_waits_says_why_and_keeps_its_last_end() {
    let spec = json!({"containers": [{"name": "a"}]});
    let case = Case { containers: &[("a", "3")], waiting: &[("a", "CrashLoopBackOff")], ..Case::new(spec.clone()) };
    let status = serde_json::to_value(case.status()).expect("json");
    assert_eq!(status["containerStatuses"][0]["state"]["waiting"]["reason"], "CrashLoopBackOff");
    assert_eq!(status["containerStatuses"][0]["lastState"]["terminated"]["exitCode"], 3);
    assert_eq!((status["phase"].as_str(), status["podIP"].as_str()), (Some("Running"), Some("10.42.0.5")));
    assert_eq!(status["observedGeneration"], 2);

    let new = Case { waiting: &[("a", "ErrImagePull")], ..Case::new(spec) }.status();
    let new = serde_json::to_value(new).expect("json");
    assert_eq!(new["containerStatuses"][0]["state"]["waiting"]["reason"], "ErrImagePull");
}

#[test]
fn a_lost_container_is_counted_and_named() {
    let spec = json!({"containers": [{"name": "a"}]});
    let old = json!({"containerStatuses": [{"name": "a", "image": "", "imageID": "", "ready": true, "restartCount": 2,
        "containerID": "containerd://x", "state": {"running": {}}}]});
    let case = Case { old: serde_json::from_value(old).expect("a status"), ..Case::new(spec) };
    let status = serde_json::to_value(case.status()).expect("json");
    let container = &status["containerStatuses"][0];
    assert_eq!(container["lastState"]["terminated"]["reason"], "ContainerStatusUnknown");
    assert_eq!((container["restartCount"].as_i64(), container["state"]["waiting"].is_object()), (Some(3), true));
}
