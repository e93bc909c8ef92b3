//! Many watches under a steady stream of changes: what is delivered, and what that costs in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use bytes::Bytes;
use futures::future::try_join_all;
use http_body_util::BodyExt as _;
use hyper::Method;
use serde_json::json;
use tokio::task::JoinHandle;

use crate::load::until;
use crate::node::rss_mb;
use crate::report::Report;
use e2e::http::Target;

const WATCHES: usize = 2_000;
const CREATES_PER_SECOND: u64 = 1_000;
const SECONDS: u64 = 10;
const WRITERS: u64 = 8;

/// What the watches have seen together.
#[derive(Default)]
struct Seen {
    events: AtomicU64,
    /// Watches that the server ended: they were too slow, and were told so.
    ended: AtomicU64,
}

/// `server` is the process whose memory is looked at.
pub async fn many(target: &Target, server: Option<u32>, namespace: &str, report: &mut Report) -> anyhow::Result<()> {
    let path = format!("/api/v1/namespaces/{namespace}/secrets");
    let seen = Arc::new(Seen::default());
    // From now on: what is there already is not the point.
    let from = format!("{path}?watch=true&resourceVersion={}", now(target, &path).await?);
    let mut watches = Vec::new();
    for _ in 0..WATCHES {
        watches.push(watch(target, &from, &seen).await?);
    }
    let (peak, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let open = server.map(rss_mb).transpose()?.unwrap_or(0.0);
    let looking = tokio::spawn(look(server, peak.clone(), done.clone()));
    let before = seen.events.load(Ordering::Relaxed);
    let started = Instant::now();
    try_join_all((0..WRITERS).map(|writer| write(target, &path, writer, started))).await?;
    let total = CREATES_PER_SECOND * SECONDS;
    let delivered = || seen.events.load(Ordering::Relaxed) - before;
    // Those that were ended miss some; the others get everything.
    until(Duration::from_secs(120), async || {
        let whole = WATCHES as u64 - seen.ended.load(Ordering::Relaxed);
        Ok(delivered() >= whole * total)
    })
    .await?;
    let rate = delivered() as f64 / started.elapsed().as_secs_f64();
    done.store(true, Ordering::Relaxed);
    looking.await?;
    watches.iter().for_each(JoinHandle::abort);
    let ended = seen.ended.load(Ordering::Relaxed);
    let note = format!("({ended} watches were too slow and were told so)");
    report.add("2,000 watches of the same objects, 1,000 creates/s for 10 s", &target.name, rate, "events/s", note);
    if server.is_some() {
        let peak = peak.load(Ordering::Relaxed) as f64;
        report.add("memory at its peak meanwhile", &target.name, peak, "MB", format!("({open:.0} MB before)"));
    }
    Ok(())
}

/// The newest resourceVersion.
async fn now(target: &Target, path: &str) -> anyhow::Result<String> {
    let list = target.connect().await?.call(Method::GET, &format!("{path}?limit=1"), "").await?;
    let list: serde_json::Value = serde_json::from_slice(&list)?;
    Ok(list["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned())
}

async fn watch(target: &Target, path: &str, seen: &Arc<Seen>) -> anyhow::Result<JoinHandle<()>> {
    let mut connection = target.connect().await?;
    let mut answer = connection.send(Method::GET, path, Bytes::new()).await?;
    ensure!(answer.status().is_success(), "watch: {}", answer.status());
    let seen = seen.clone();
    Ok(tokio::spawn(async move {
        // Dropping the connection would end the watch.
        let _connection = connection;
        while let Some(Ok(frame)) = answer.body_mut().frame().await {
            let lines = frame.data_ref().map_or(0, |data| data.iter().filter(|b| **b == b'\n').count());
            seen.events.fetch_add(lines as u64, Ordering::Relaxed);
        }
        seen.ended.fetch_add(1, Ordering::Relaxed);
    }))
}

/// Creates one writer's share, each at its time.
async fn write(target: &Target, path: &str, writer: u64, started: Instant) -> anyhow::Result<()> {
    let mut connection = target.connect().await?;
    for number in (writer..CREATES_PER_SECOND * SECONDS).step_by(WRITERS as usize) {
        let due = started + Duration::from_secs(1) * u32::try_from(number)? / u32::try_from(CREATES_PER_SECOND)?;
        tokio::time::sleep_until(due.into()).await;
        let body = json!({"metadata": {"name": format!("m{number:05}")}, "data": {"payload": "eA".repeat(100)}});
        connection.call(Method::POST, path, body.to_string()).await?;
    }
    Ok(())
}

/// Keeps the largest memory of the process in `peak`, in MB.
async fn look(server: Option<u32>, peak: Arc<AtomicU64>, done: Arc<AtomicBool>) {
    while !done.load(Ordering::Relaxed) {
        let used = server.and_then(|pid| rss_mb(pid).ok()).unwrap_or(0.0);
        peak.fetch_max(used as u64, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
