//! The loads: each is bounded in count or time and leaves a namespace that is deleted at the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::{Method, StatusCode};
use serde_json::json;

use e2e::http::Target;

use crate::drive::{Driven, Make, Until, drive};
use crate::node::cpu_ticks;
use crate::report::Report;
use crate::watches;

const WATCHERS: usize = 200;
const WATCH_CREATES: usize = 2_000;
const GET_TIME: Duration = Duration::from_secs(5);

/// How much load; the quick one is for trying things out.
#[derive(Clone, Copy)]
pub struct Size {
    pub creates: usize,
    pub pods: usize,
    pub nodes: usize,
    pub schedule: usize,
}

impl Size {
    pub const FULL: Self = Self { creates: 50_000, pods: 10_000, nodes: 1_000, schedule: 5_000 };
    pub const QUICK: Self = Self { creates: 5_000, pods: 2_000, nodes: 100, schedule: 500 };
}

/// The rows, as `--rows` names them. Gets read what creates made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Row {
    Creates,
    Gets,
    FanOut,
    Watches,
    Pods,
    Schedule,
}

/// Measures these rows, or all. `server` is the server's process where what it uses is to be looked at.
pub async fn all(
    target: &Target,
    server: Option<u32>,
    size: Size,
    rows: &[Row],
    report: &mut Report,
) -> anyhow::Result<()> {
    let wanted = |row| rows.is_empty() || rows.contains(&row);
    let mut connection = target.connect().await?;
    let namespace = format!("bench-{}", std::process::id());
    let body = json!({"metadata": {"name": namespace}}).to_string();
    connection.call(Method::POST, "/api/v1/namespaces", body).await?;
    // Pods need their account. A controller makes it, but a peer may run without controllers.
    let account = json!({"metadata": {"name": "default"}}).to_string();
    let accounts = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
    let made = connection.send(Method::POST, &accounts, account.into()).await?;
    ensure!(made.status().is_success() || made.status() == StatusCode::CONFLICT, "{accounts}: {}", made.status());
    made.into_body().collect().await?;

    if wanted(Row::Creates) || wanted(Row::Gets) {
        creates(target, server, size, &namespace, report).await?;
    }
    if wanted(Row::Gets) {
        gets(target, server, &namespace, report).await?;
    }
    if wanted(Row::FanOut) {
        fan_out(target, &namespace, report).await?;
    }
    if wanted(Row::Watches) {
        watches::many(target, server, &namespace, report).await?;
    }
    if wanted(Row::Pods) {
        pods(target, size, &namespace, report).await?;
    }
    if wanted(Row::Schedule) {
        schedule(target, size, &namespace, report).await?;
    }
    let mut connection = target.connect().await?;
    connection.call(Method::DELETE, &format!("/api/v1/namespaces/{namespace}"), "").await?;
    Ok(())
}

/// A ConfigMap of 300 bytes. A load makes many: this costs it no tree.
pub fn config_map(name: &str) -> String {
    let payload = "x".repeat(200);
    format!(
        r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}"}},"data":{{"payload":"{payload}"}}}}"#
    )
}

/// What the server's process spent on each of `count` requests since it had used `before`, if it is known.
fn cost(server: Option<u32>, before: Option<f64>, count: usize) -> String {
    let spent = server.and_then(cpu_time).zip(before).map(|(now, before)| now - before);
    spent.map_or(String::new(), |ticks| format!(", {:.0} µs of CPU each", ticks * TICK_MICROS / count as f64))
}

/// Linux shows processor time in hundredths of a second, whatever it counts in.
const TICK_MICROS: f64 = 10_000.0;

fn cpu_time(process: u32) -> Option<f64> {
    cpu_ticks(process).ok()
}

/// So many objects, sent by all clients.
async fn posts(target: &Target, count: usize, make: impl Make) -> anyhow::Result<Driven> {
    drive(std::slice::from_ref(target), Method::POST, Until::Answers(count), make).await
}

async fn creates(
    target: &Target,
    server: Option<u32>,
    size: Size,
    namespace: &str,
    report: &mut Report,
) -> anyhow::Result<()> {
    let path = format!("/api/v1/namespaces/{namespace}/configmaps");
    let make = move |i: usize| (path.clone(), config_map(&format!("c{i:06}")));
    let before = server.and_then(cpu_time);
    let driven = posts(target, size.creates, make).await?;
    let detail = driven.summary() + &cost(server, before, driven.latencies.len());
    report.add("create ConfigMap (300 B), 32 clients, durable", &target.name, driven.rate, "/s", detail);
    Ok(())
}

async fn gets(target: &Target, server: Option<u32>, namespace: &str, report: &mut Report) -> anyhow::Result<()> {
    let before = server.and_then(cpu_time);
    let path = format!("/api/v1/namespaces/{namespace}/configmaps/c000007");
    let make = move |_| (path.clone(), String::new());
    let driven = drive(std::slice::from_ref(target), Method::GET, Until::Elapsed(GET_TIME), make).await?;
    let detail = driven.summary() + &cost(server, before, driven.latencies.len());
    report.add("GET one object, 32 clients", &target.name, driven.rate, "/s", detail);
    Ok(())
}

async fn fan_out(target: &Target, namespace: &str, report: &mut Report) -> anyhow::Result<()> {
    let path = format!("/api/v1/namespaces/{namespace}/secrets");
    let received = Arc::new(AtomicU64::new(0));
    let mut watchers = Vec::new();
    for _ in 0..WATCHERS {
        let mut connection = target.connect().await?;
        let mut answer = connection.send(Method::GET, &format!("{path}?watch=true"), Bytes::new()).await?;
        ensure!(answer.status().is_success(), "watch: {}", answer.status());
        let received = received.clone();
        watchers.push(tokio::spawn(async move {
            // Dropping the connection would end the watch.
            let _connection = connection;
            while let Some(Ok(frame)) = answer.body_mut().frame().await {
                let lines = frame.data_ref().map_or(0, |data| data.iter().filter(|b| **b == b'\n').count());
                received.fetch_add(lines as u64, Ordering::Relaxed);
            }
        }));
    }
    let before = received.load(Ordering::Relaxed);
    let started = Instant::now();
    let make = move |i: usize| {
        let body = json!({"metadata": {"name": format!("w{i:05}")}, "data": {"payload": "eA".repeat(100)}});
        (path.clone(), body.to_string())
    };
    let rate = posts(target, WATCH_CREATES, make).await?.rate;
    let expected = (WATCHERS * WATCH_CREATES) as u64;
    until(Duration::from_secs(120), async || Ok(received.load(Ordering::Relaxed) - before >= expected)).await?;
    let events = expected as f64 / started.elapsed().as_secs_f64();
    watchers.iter().for_each(|w| w.abort());
    report.add(
        "watch fan-out, 200 watchers, 2,000 creates",
        &target.name,
        events,
        "events/s",
        format!("({rate:.0} creates/s)"),
    );
    Ok(())
}

/// Makes pods by name. A load makes many: each costs it no tree.
fn pod_maker(node: Option<&str>) -> impl Fn(&str) -> String + Send + Sync + 'static {
    const NAME: &str = "NAME";
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": NAME, "labels": {"app": "bench"}},
        "spec": {
            "containers": [{"name": "main", "image": "docker.io/coracle/busybox:test",
                "resources": {"requests": {"cpu": "10m", "memory": "10Mi"}}}],
            "tolerations": [{"operator": "Exists"}],
            // Only the nodes that the bench makes; a real one must not be asked to run thousands.
            "nodeSelector": {"bench": "true"},
            // A peer may run without the controller that makes tokens.
            "automountServiceAccountToken": false,
        },
    });
    if let Some(node) = node {
        pod["spec"]["nodeName"] = node.into();
    }
    let text = pod.to_string();
    move |name| text.replacen(NAME, name, 1)
}

async fn pods(target: &Target, size: Size, namespace: &str, report: &mut Report) -> anyhow::Result<()> {
    let path = format!("/api/v1/namespaces/{namespace}/pods");
    let create = path.clone();
    // Bound to a node that does not exist: nothing but the API server is at work.
    let pod = pod_maker(Some("bench-none"));
    let make = move |i: usize| (create.clone(), pod(&format!("p{i:06}")));
    let driven = posts(target, size.pods, make).await?;
    report.add("create Pod (0.4 KB in), 32 clients, durable", &target.name, driven.rate, "/s", driven.summary());

    let mut connection = target.connect().await?;
    let mut best = Duration::MAX;
    let mut bytes = 0;
    for _ in 0..3 {
        let started = Instant::now();
        bytes = connection.call(Method::GET, &path, "").await?.len();
        best = best.min(started.elapsed());
    }
    let note = format!("({} pods, {:.1} MB)", size.pods, bytes as f64 / 1e6);
    report.add("LIST pods", &target.name, best.as_secs_f64() * 1000.0, "ms", note);
    discard(target, &format!("{path}?gracePeriodSeconds=0")).await
}

async fn schedule(target: &Target, size: Size, namespace: &str, report: &mut Report) -> anyhow::Result<()> {
    let capacity = json!({"cpu": "32", "memory": "64Gi", "pods": "110", "ephemeral-storage": "100Gi"});
    let make = move |i: usize| {
        let name = format!("bench-node-{i:05}");
        let zone = format!("zone-{}", i % 3);
        let node = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "labels": {"bench": "true", "kubernetes.io/hostname": name, "topology.kubernetes.io/zone": zone}},
            "status": {"capacity": capacity, "allocatable": capacity, "conditions": [{"type": "Ready", "status": "True"}]},
        });
        ("/api/v1/nodes".to_owned(), node.to_string())
    };
    posts(target, size.nodes, make).await?;
    let path = format!("/api/v1/namespaces/{namespace}/pods");
    let create = path.clone();
    let started = Instant::now();
    let pod = pod_maker(None);
    let make = move |i: usize| (create.clone(), pod(&format!("s{i:06}")));
    posts(target, size.schedule, make).await?;
    let created = started.elapsed();
    let waiting = format!("{path}?fieldSelector=spec.nodeName%3D&limit=1");
    until(Duration::from_secs(300), async || {
        let list = target.connect().await?.call(Method::GET, &waiting, "").await?;
        let list: serde_json::Value = serde_json::from_slice(&list)?;
        Ok(list["items"].as_array().is_none_or(Vec::is_empty))
    })
    .await
    .context("pods were left unscheduled")?;
    let rate = size.schedule as f64 / started.elapsed().as_secs_f64();
    let note = format!("({} pods on {} nodes, created in {:.1} s)", size.schedule, size.nodes, created.as_secs_f64());
    report.add("schedule pods", &target.name, rate, "pods/s", note);
    discard(target, &format!("{path}?gracePeriodSeconds=0")).await?;
    discard(target, "/api/v1/nodes?labelSelector=bench%3Dtrue").await
}

/// Deletes what a load made. A server for which that takes longer than it lets a request take is asked again.
async fn discard(target: &Target, collection: &str) -> anyhow::Result<()> {
    for _ in 0..20 {
        let (status, _) = target.connect().await?.exchange(Method::DELETE, collection, "").await?;
        if status.is_success() {
            return Ok(());
        }
    }
    bail!("{collection} cannot be deleted")
}

/// Looks at a condition until it holds, at most `limit`.
pub async fn until(limit: Duration, mut holds: impl AsyncFnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let deadline = Instant::now() + limit;
    while !holds().await? {
        ensure!(Instant::now() < deadline, "not within {limit:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
