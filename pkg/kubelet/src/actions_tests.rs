// Tables of cases read best as what they are.
#![allow(clippy::type_complexity)]

use serde_json::{Value, json};

use super::*;
use crate::runtime::SandboxStatus;

fn pod(spec: Value) -> Pod {
    serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "n", "uid": "u"}, "spec": spec}))
        .expect("a pod")
}

fn sandbox(attempt: u32, ready: bool) -> SandboxStatus {
    SandboxStatus {
        id: format!("s{attempt}"),
        ready,
        attempt,
        created_at: i64::from(attempt),
        ips: vec!["10.42.0.2".into()],
        host_network: false,
    }
}

/// `running`, `0` (exit code), `created`, `unknown`.
fn container(name: &str, state: &str, sandbox: u32) -> ContainerStatus {
    let (state, exit_code) = match state {
        "running" => (State::Running, 0),
        "created" => (State::Created, 0),
        "unknown" => (State::Unknown, 0),
        code => (State::Exited, code.parse().expect("an exit code")),
    };
    ContainerStatus {
        id: format!("{name}-id"),
        name: name.into(),
        sandbox_id: format!("s{sandbox}"),
        state,
        exit_code,
        restart_count: 0,
        hash: "h".into(),
        created_at: None,
        started_at: None,
        finished_at: None,
        reason: String::new(),
        message: String::new(),
        image: String::new(),
        image_id: String::new(),
        log_path: String::new(),
    }
}

fn plan(pod: &Pod, sandboxes: &[SandboxStatus], containers: &[ContainerStatus]) -> PodActions {
    plan_probed(pod, sandboxes, containers, &ProbeResults::new())
}

fn plan_probed(
    pod: &Pod,
    sandboxes: &[SandboxStatus],
    containers: &[ContainerStatus],
    probes: &ProbeResults,
) -> PodActions {
    let status = PodRuntimeStatus { sandboxes: sandboxes.to_vec(), containers: containers.to_vec() };
    compute_pod_actions(pod, &status, probes, |_| "h".into())
}

/// A short text of a plan, so that tables read well.
fn show(actions: &PodActions) -> String {
    let mut parts = Vec::new();
    if actions.kill_pod {
        parts.push("kill-pod".to_owned());
    }
    if let Some(attempt) = actions.create_sandbox {
        parts.push(format!("sandbox:{attempt}"));
    }
    parts.extend(actions.kill.iter().map(|k| format!("kill:{}", k.name)));
    parts.extend(actions.start_init.iter().map(|n| format!("init:{n}")));
    parts.extend(actions.start.iter().map(|n| format!("start:{n}")));
    parts.extend(actions.start_ephemeral.iter().map(|n| format!("debug:{n}")));
    parts.join(" ")
}

fn two(policy: &str) -> Pod {
    pod(json!({"restartPolicy": policy, "containers": [{"name": "a"}, {"name": "b"}]}))
}

#[test]
fn main_containers_by_restart_policy() {
    let cases: &[(&str, &str, &str, &str)] = &[
        ("Always", "running", "running", ""),
        ("Always", "running", "0", "start:b"),
        ("Always", "running", "1", "start:b"),
        ("OnFailure", "running", "0", ""),
        ("OnFailure", "running", "1", "start:b"),
        ("OnFailure", "0", "0", "kill-pod"),
        ("Never", "running", "1", ""),
        ("Never", "1", "0", "kill-pod"),
        ("Always", "running", "created", "start:b"),
        ("Always", "running", "unknown", "kill:b start:b"),
    ];
    for (policy, a, b, expected) in cases {
        let actions = plan(&two(policy), &[sandbox(0, true)], &[container("a", a, 0), container("b", b, 0)]);
        assert_eq!(show(&actions), *expected, "{policy} {a} {b}");
    }
}

#[test]
fn a_sandbox_is_made_when_missing_dead_or_double() {
    let always = two("Always");
    assert_eq!(show(&plan(&always, &[], &[])), "sandbox:0 start:a start:b");
    let dead = [sandbox(0, false)];
    let exited = [container("a", "0", 0), container("b", "0", 0)];
    assert_eq!(show(&plan(&always, &dead, &exited)), "kill-pod sandbox:1 start:a start:b");
    assert_eq!(show(&plan(&two("OnFailure"), &dead, &exited)), "kill-pod");
    let failed = [container("a", "0", 0), container("b", "1", 0)];
    assert_eq!(show(&plan(&two("OnFailure"), &dead, &failed)), "kill-pod sandbox:1 start:b");
    assert_eq!(show(&plan(&two("Never"), &dead, &failed)), "kill-pod");
    let double = [sandbox(1, true), sandbox(0, true)];
    assert_eq!(show(&plan(&always, &double, &[])), "kill-pod sandbox:2 start:a start:b");
}

fn with_init(policy: &str) -> Pod {
    pod(json!({
        "restartPolicy": policy,
        "initContainers": [{"name": "i"}, {"name": "s", "restartPolicy": "Always"}, {"name": "j"}],
        "containers": [{"name": "a"}],
    }))
}

#[test]
fn init_containers_go_in_order() {
    let cases: &[(&str, &[(&str, &str)], &str)] = &[
        ("Always", &[], "init:i"),
        ("Always", &[("i", "running")], ""),
        ("Always", &[("i", "1")], "init:i"),
        ("Never", &[("i", "1")], "kill-pod"),
        ("Always", &[("i", "0")], "init:s"),
        ("Always", &[("i", "0"), ("s", "running")], "init:j"),
        ("Always", &[("i", "0"), ("s", "1")], "init:s"),
        ("Always", &[("i", "0"), ("s", "running"), ("j", "running")], ""),
        ("Always", &[("i", "0"), ("s", "1"), ("j", "running")], "init:s"),
        ("Always", &[("i", "0"), ("s", "running"), ("j", "0")], "start:a"),
        ("Always", &[("i", "0"), ("s", "running"), ("j", "0"), ("a", "running")], ""),
        ("Always", &[("i", "0"), ("s", "0"), ("j", "0"), ("a", "running")], "init:s"),
        ("Never", &[("i", "0"), ("s", "1"), ("j", "0"), ("a", "running")], "init:s"),
        ("Never", &[("i", "0"), ("s", "running"), ("j", "0"), ("a", "0")], "kill-pod"),
        ("Always", &[("i", "0"), ("s", "running"), ("j", "0"), ("a", "1")], "start:a"),
    ];
    for (policy, states, expected) in cases {
        let containers: Vec<_> = states.iter().map(|(name, state)| container(name, state, 0)).collect();
        let actions = plan(&with_init(policy), &[sandbox(0, true)], &containers);
        assert_eq!(show(&actions), *expected, "{policy} {states:?}");
    }
}

#[test]
fn a_new_sandbox_runs_init_containers_again() {
    let old = [container("i", "0", 0), container("s", "0", 0), container("j", "0", 0), container("a", "0", 0)];
    assert_eq!(show(&plan(&with_init("Always"), &[sandbox(0, false)], &old)), "kill-pod sandbox:1 init:i");
    let both = [sandbox(1, true), sandbox(0, false)];
    assert_eq!(show(&plan(&with_init("Always"), &both, &old)), "init:i");
}

#[test]
fn probes_gate_and_kill() {
    let mut spec = with_init("Always");
    let probe = Some(k8s_openapi::api::core::v1::Probe::default());
    if let Some(s) = spec.spec.as_mut().and_then(|s| s.init_containers.as_mut()).and_then(|i| i.get_mut(1)) {
        s.startup_probe = probe;
    }
    let states = [container("i", "0", 0), container("s", "running", 0)];
    let probed = |startup| ProbeResults::from([("s-id".to_owned(), Probed { startup, ..Probed::default() })]);
    let cases = [(None, ""), (Some(true), "init:j"), (Some(false), "kill:s init:s")];
    for (startup, expected) in cases {
        let actions = plan_probed(&spec, &[sandbox(0, true)], &states, &probed(startup));
        assert_eq!(show(&actions), expected, "{startup:?}");
    }
    let failing = Probed { liveness: Some(false), ..Probed::default() };
    let dead = ProbeResults::from([("a-id".to_owned(), failing)]);
    let running = [container("a", "running", 0), container("b", "running", 0)];
    for (policy, expected) in [("Always", "kill:a start:a"), ("OnFailure", "kill:a start:a"), ("Never", "kill:a")] {
        let actions = plan_probed(&two(policy), &[sandbox(0, true)], &running, &dead);
        assert_eq!(show(&actions), expected, "{policy}");
    }
}

#[test]
fn a_changed_definition_restarts_and_ephemeral_containers_start_once() {
    let mut changed = container("a", "running", 0);
    changed.hash = "old".into();
    let running = [changed, container("b", "running", 0)];
    assert_eq!(show(&plan(&two("Never"), &[sandbox(0, true)], &running)), "kill:a start:a");

    let debugged = pod(json!({"containers": [{"name": "a"}], "ephemeralContainers": [{"name": "d"}]}));
    let before = [container("a", "running", 0)];
    assert_eq!(show(&plan(&debugged, &[sandbox(0, true)], &before)), "debug:d");
    let after = [container("a", "running", 0), container("d", "1", 0)];
    assert_eq!(show(&plan(&debugged, &[sandbox(0, true)], &after)), "");
}
