//! Workers on a fake runtime: what they call, in which order, and what they say.

use std::sync::Arc;
use std::time::Duration;

use component_base::Shutdown;
use cri::fake::Fake;
use serde_json::{Value, json};

use super::*;
use crate::config::Config;
use crate::kubelet::Kubelet;
use crate::kubelet::Source;
use crate::shutdown;

struct Bench {
    fake: Arc<Fake>,
    kubelet: Arc<Kubelet>,
    shutdown: Shutdown,
    _root: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self::with(None)
    }

    fn with(client: Option<client::Client>) -> Self {
        Self::configured(|config| config.client = client)
    }

    fn configured(configure: impl FnOnce(&mut Config)) -> Self {
        let (fake, root, shutdown) = (Arc::new(Fake::new()), tempfile::tempdir().expect("a folder"), Shutdown::new());
        fake.add_image("busybox:1");
        let mut config = Config::for_tests();
        config.root_dir = root.path().to_owned();
        configure(&mut config);
        let kubelet = crate::build(config, fake.clone(), fake.clone(), &shutdown).expect("a kubelet");
        let events = kubelet.clone();
        shutdown.spawn({
            let shutdown = shutdown.clone();
            async move { shutdown.race(crate::pleg::run(events)).await }
        });
        Self { fake, kubelet, shutdown, _root: root }
    }

    /// Runs a pod; `spec` is merged into one that cannot touch the machine.
    fn run(&self, uid: &str, spec: Value) -> Arc<Pod> {
        let pod = json!({"metadata": {"name": uid, "namespace": "n", "uid": uid, "annotations": {crate::names::CONFIG_SOURCE: "file"}},
            "spec": spec});
        let pod: Arc<Pod> = Arc::new(serde_json::from_value(pod).expect("a pod"));
        self.kubelet.upsert(pod.clone(), Source::Static);
        pod
    }

    async fn until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let wait = async {
            while !holds(self) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let calls = || format!("{what}: {:#?}", self.fake.calls());
        tokio::time::timeout(Duration::from_secs(20), wait).await.unwrap_or_else(|_| panic!("{}", calls()));
    }

    fn phase(&self, uid: &str) -> String {
        self.kubelet.statuses.get(uid).and_then(|s| s.phase).unwrap_or_default()
    }

    fn called(&self, call: &str) -> usize {
        self.fake.calls().iter().filter(|c| c.starts_with(call)).count()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
}

fn container(name: &str) -> Value {
    json!({"name": name, "image": "busybox:1"})
}

#[tokio::test]
async fn a_pod_runs_and_is_restarted_and_removed() {
    let bench = Bench::new();
    bench.run("u1", json!({"containers": [container("a")]}));
    bench.until("running", |b| b.phase("u1") == "Running").await;
    assert_eq!(bench.called("run_pod_sandbox"), 1);

    bench.fake.exit("sandbox-0-a-0", 1);
    bench.until("restarted", |b| b.called("start_container sandbox-0-a-1") == 1).await;
    bench.fake.exit("sandbox-0-a-1", 1);
    let reason = |b: &Bench| {
        let status = b.kubelet.statuses.get("u1")?;
        status.container_statuses?.first()?.state.clone()?.waiting?.reason
    };
    bench.until("backing off", |b| reason(b).as_deref() == Some("CrashLoopBackOff")).await;

    bench.kubelet.remove("u1");
    bench.until("removed", |b| b.called("remove_pod_sandbox") == 1 && !b.kubelet.has_worker("u1")).await;
}

#[tokio::test]
async fn a_pod_that_never_restarts_ends() {
    let bench = Bench::new();
    bench.run("u2", json!({"restartPolicy": "Never", "containers": [container("a")]}));
    bench.until("running", |b| b.phase("u2") == "Running").await;
    bench.fake.exit("sandbox-0-a-0", 0);
    bench.until("succeeded", |b| b.phase("u2") == "Succeeded").await;
    bench.until("sandbox stopped", |b| b.called("stop_pod_sandbox") >= 1).await;
    assert_eq!(bench.called("create_container"), 1);
}

#[tokio::test]
async fn a_failed_image_pull_is_shown_and_tried_again() {
    let bench = Bench::new();
    bench.fake.fail("pull_image", 1);
    bench.run("u3", json!({"containers": [{"name": "a", "image": "other:1"}]}));
    let reason = |b: &Bench| {
        let status = b.kubelet.statuses.get("u3")?;
        status.container_statuses?.first()?.state.clone()?.waiting?.reason
    };
    bench.until("failing", |b| reason(b).is_some_and(|r| r == "ErrImagePull" || r == "ImagePullBackOff")).await;
    assert_eq!(bench.called("start_container"), 0);
}

#[tokio::test]
async fn a_dead_sandbox_is_replaced() {
    let bench = Bench::new();
    bench.run("u4", json!({"containers": [container("a")]}));
    bench.until("running", |b| b.phase("u4") == "Running").await;
    bench.fake.kill_sandbox("sandbox-0");
    bench.until("replaced", |b| b.called("run_pod_sandbox") == 2).await;
    bench.until("started in it", |b| b.called("start_container sandbox-1-a-1") == 1).await;
}

#[tokio::test]
async fn a_running_pod_is_left_alone_after_our_restart() {
    let bench = Bench::new();
    let pod = bench.run("u5", json!({"containers": [container("a")]}));
    bench.until("running", |b| b.phase("u5") == "Running").await;
    let before = bench.fake.calls();
    // A second kubelet on the same runtime is what a restart looks like to the runtime.
    let root = tempfile::tempdir().expect("a folder");
    let mut config = Config::for_tests();
    config.root_dir = root.path().to_owned();
    let again = crate::build(config, bench.fake.clone(), bench.fake.clone(), &bench.shutdown).expect("a kubelet");
    again.upsert(pod, Source::Static);
    let running = |_: &Bench| again.statuses.get("u5").and_then(|s| s.phase).as_deref() == Some("Running");
    bench.until("seen", running).await;
    again.notify("u5");
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(bench.fake.calls(), before);
}

/// What a pod needs of the server, by the names of the checkpoint.
fn given() -> [(&'static str, Value); 4] {
    let data = json!({"metadata": {"name": "x", "namespace": "n"}, "data": {"ca.crt": "pem"}});
    let secret = json!({"metadata": {"name": "s", "namespace": "n"}, "data": {"k": "dg=="}});
    [
        ("configmap-kube-root-ca.crt", data),
        ("secret-s", secret),
        ("services", json!({"KUBERNETES_PORT": "tcp"})),
        ("token", json!({"token": "t", "renew_at": "2026-01-01T00:00:00Z", "expires_at": "2026-01-01T01:00:00Z"})),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_was_given_everything_starts_with_no_server_in_reach() {
    let silent = tower::service_fn(|_: http::Request<kube::client::Body>| {
        std::future::pending::<Result<http::Response<kube::client::Body>, std::io::Error>>()
    });
    let pod = |uid: &str| -> Arc<Pod> {
        let account = json!({"name": "api", "projected": {"sources": [
            {"serviceAccountToken": {"path": "token"}}, {"configMap": {"name": "kube-root-ca.crt"}}]}});
        let variable = json!({"name": "V", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}});
        let pod = json!({"metadata": {"name": uid, "namespace": "n", "uid": uid},
            "spec": {"volumes": [account], "containers": [{"name": "a", "image": "busybox:1", "env": [variable],
                "volumeMounts": [{"name": "api", "mountPath": "/api"}]}]}, "status": {"startTime": "2026-01-01T00:00:00Z"}});
        Arc::new(serde_json::from_value(pod).expect("a pod"))
    };
    for missing in [None, Some("configmap-kube-root-ca.crt"), Some("secret-s"), Some("services"), Some("token")] {
        let bench = Bench::with(Some(client::Client::new(silent, "default")));
        let kept = bench.kubelet.given("u7").expect("a checkpoint");
        for (name, value) in given().iter().filter(|(name, _)| Some(*name) != missing) {
            let token = crate::volumes::tokens::file_of("u7/default//3600");
            kept.keep(if *name == "token" { &token } else { name }, value);
        }
        bench.kubelet.upsert(pod("u7"), Source::Checkpoint);
        if missing.is_none() {
            bench.until("running", |b| b.phase("u7") == "Running").await;
            let token = bench.kubelet.folders.pod("u7").join("volumes/kubernetes.io~projected/api/token");
            assert_eq!(std::fs::read_to_string(token).expect("a token"), "t");
        } else {
            tokio::time::sleep(Duration::from_secs(60)).await;
            assert_eq!(bench.called("start_container"), 0, "without {missing:?}");
        }
    }
}

#[tokio::test]
async fn pods_end_in_order_when_the_machine_goes_down_and_no_new_ones_come() {
    let grace = shutdown::Grace { total: Duration::from_secs(20), critical: Duration::from_secs(10) };
    let switch = shutdown::Switch::default();
    let settings = shutdown::Settings { grace, switch: switch.clone(), logind: false };
    let bench = Bench::configured(|config| config.node_shutdown = Some(settings));
    let pod = |uid: &str, priority: i32| -> Arc<Pod> {
        let pod = json!({"metadata": {"name": uid, "namespace": "n", "uid": uid},
            "spec": {"priority": priority, "containers": [container("a")]}});
        Arc::new(serde_json::from_value(pod).expect("a pod"))
    };
    for (uid, priority) in [("critical", 2_000_000_000), ("plain", 0)] {
        bench.kubelet.upsert(pod(uid, priority), Source::Api);
        bench.until("running", |b| b.phase(uid) == "Running").await;
    }
    let loop_of_shutdown = tokio::spawn(shutdown::run(bench.kubelet.clone()));
    switch.announce(true);
    switch.drained().await;
    let stops: Vec<String> = bench.fake.calls().into_iter().filter(|c| c.starts_with("stop_container")).collect();
    // The critical pod has the first sandbox.
    assert!(stops.len() == 2 && stops[0].contains("sandbox-1-a") && stops[1].contains("sandbox-0-a"), "{stops:?}");
    for uid in ["plain", "critical"] {
        let status = bench.kubelet.statuses.get(uid).expect("a status");
        assert_eq!((status.phase.as_deref(), status.reason.as_deref()), (Some("Failed"), Some("Terminated")), "{uid}");
        assert_eq!(
            status.message.as_deref(),
            Some("Pod was terminated in response to imminent node shutdown."),
            "{uid}"
        );
        let disrupted = status.conditions.iter().flatten().find(|c| c.type_ == "DisruptionTarget");
        assert_eq!(disrupted.and_then(|c| c.reason.as_deref()), Some("TerminationByKubelet"), "{uid}");
    }
    bench.kubelet.upsert(pod("late", 0), Source::Api);
    let reason = |b: &Bench, uid: &str| b.kubelet.statuses.get(uid).and_then(|s| s.reason);
    bench.until("refused", |b| reason(b, "late").as_deref() == Some("NodeShutdown")).await;

    switch.announce(false);
    bench.kubelet.upsert(pod("after", 0), Source::Api);
    bench.until("running again", |b| b.phase("after") == "Running").await;
    loop_of_shutdown.abort();
}

#[test]
fn the_echo_of_our_own_status_is_no_news() {
    let pod = |label: &str, conditions: Value, phase: &str| -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p", "labels": {"l": label}},
            "status": {"phase": phase, "conditions": conditions}}))
        .expect("a pod")
    };
    let ours = json!([{"type": "Ready", "status": "True"}]);
    let gate = json!([{"type": "example.com/gate", "status": "True"}]);
    let base = pod("a", json!([]), "Pending");
    assert!(!concerns_us(&base, &pod("a", ours, "Running")));
    assert!(concerns_us(&base, &pod("b", json!([]), "Pending")));
    assert!(concerns_us(&base, &pod("a", gate, "Pending")));
    assert!(concerns_us(&base, &pod("a", json!([]), "Failed")));
}
