//! Durable creates a second, by callers at once; reads and lists beside it. Prints what it measured.
//!
//! `cargo run --release -p storage --example bench [-- DIR]`: DIR should be on a real disk.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use serde_json::json;
use storage::{At, Attributes, Config, ListOptions, NewObject, Storage};

#[tokio::main]
async fn main() {
    tracing_subscriber::fmt().with_env_filter("warn,raft::node=info").init();
    let parent = std::env::args().nth(1).map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let directory = tempfile::tempdir_in(parent).expect("a directory to write to");
    let opening = Instant::now();
    let store = Storage::open(Config::new(directory.path().join("db"))).await.expect("a store");
    println!("first open           {:>10.1?}", opening.elapsed());
    for callers in [1, 32, 64] {
        creates(&store, callers, Duration::from_secs(3)).await;
    }
    reads(&store);
    lists(&store);
    fan_out(&store).await;
    println!("{:?}", store.statistics());
    let closing = Instant::now();
    store.shutdown().await;
    println!("shutdown             {:>10.1?}", closing.elapsed());
    drop(store);
    let opening = Instant::now();
    let store = Storage::open(Config::new(directory.path().join("db"))).await.expect("a store");
    println!("open of {:>7} keys  {:>10.1?}", store.statistics().store.keys, opening.elapsed());
    println!("resident memory      {:>7} MiB", resident_mib());
    idle(&store).await;
    store.shutdown().await;
}

fn object(name: &str) -> NewObject {
    let tree = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default",
        "uid": "0b3f4d5c-7d1e-4b8c-9a3b-0c6f2f3f1f11", "creationTimestamp": "2026-01-01T00:00:00Z",
        "labels": {"app": "bench"}}, "data": {"key": "x".repeat(100)}});
    let attributes = Attributes {
        labels: [("app".into(), "bench".into())].into(),
        fields: [("metadata.name".into(), name.into()), ("metadata.namespace".into(), "default".into())].into(),
    };
    NewObject::encode(&tree, attributes)
}

async fn creates(store: &Storage, callers: usize, time: Duration) {
    let before = store.statistics();
    let started = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|caller| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                while started.elapsed() < time {
                    let name = format!("{callers}-{caller}-{}", latencies.len());
                    let object = object(&name);
                    let at = Instant::now();
                    let key = format!("/registry/core/configmaps/default/{name}");
                    store.create(&key, object).await.expect("a create");
                    latencies.push(at.elapsed());
                }
                latencies
            })
        })
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.expect("a caller"));
    }
    let seconds = started.elapsed().as_secs_f64();
    latencies.sort_unstable();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    let after = store.statistics();
    println!(
        "creates, {callers:>3} callers {:>10.0}/s  p50 {:.2?}  p99 {:.2?}  max {:.2?}  fsyncs {} ({:.0} a sync)  checkpoints {}",
        latencies.len() as f64 / seconds,
        at(0.5),
        at(0.99),
        at(1.0),
        after.fsyncs - before.fsyncs,
        latencies.len() as f64 / (after.fsyncs - before.fsyncs).max(1) as f64,
        after.checkpoints - before.checkpoints,
    );
}

fn reads(store: &Storage) {
    let keys: Vec<_> = list_keys(store);
    let started = Instant::now();
    let mut bytes = 0;
    for turn in 0..200_000_usize {
        let key = &keys[turn.wrapping_mul(7919) % keys.len()];
        bytes += store.get(key).map_or(0, |object| object.body().len());
    }
    println!("get                  {:>10.1?} each ({bytes} bytes)", started.elapsed() / 200_000);
}

fn list_keys(store: &Storage) -> Vec<String> {
    let page = store.list("/registry/core/configmaps/", &ListOptions::default()).expect("a list");
    page.items.iter().map(|item| item.key().to_owned()).collect()
}

fn lists(store: &Storage) {
    let started = Instant::now();
    let count = list_keys(store).len();
    println!("list of {count:>7}      {:>10.1?}", started.elapsed());
    let started = Instant::now();
    let mut options = ListOptions { limit: 500, ..ListOptions::default() };
    let (mut pages, mut items) = (0, 0);
    loop {
        let page = store.list("/registry/core/configmaps/", &options).expect("a page");
        (pages, items) = (pages + 1, items + page.items.len());
        if page.next.is_none() {
            break;
        }
        options = ListOptions { at: At::Exact(page.revision.get()), after: page.next, limit: 500, predicate: None };
    }
    println!("in pages of 500      {:>10.1?} each ({pages} pages, {items} items)", started.elapsed() / pages);
}

async fn fan_out(store: &Storage) {
    let (watchers, writes) = (1000, 500_u64);
    let seen = Arc::new(AtomicU64::new(0));
    let tasks: Vec<_> = (0..watchers)
        .map(|_| {
            let mut watch = store.watch("/registry/core/configmaps/", store.revision().get()).expect("a watch");
            let seen = seen.clone();
            tokio::spawn(async move {
                for _ in 0..writes {
                    watch.next().await.expect("no end").expect("an event");
                    seen.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let started = Instant::now();
    let writers: Vec<_> = (0..10)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for number in 0..writes / 10 {
                    let name = format!("fan-{writer}-{number}");
                    let key = format!("/registry/core/configmaps/default/{name}");
                    store.create(&key, object(&name)).await.expect("a create");
                }
            })
        })
        .collect();
    for task in writers.into_iter().chain(tasks) {
        task.await.expect("a task");
    }
    let events = seen.load(Ordering::Relaxed);
    println!("fan-out to {watchers}      {:>10.0} events/s", events as f64 / started.elapsed().as_secs_f64());
}

fn resident_mib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS"));
    line.and_then(|line| line.split_ascii_whitespace().nth(1)).and_then(|kib| kib.parse::<usize>().ok()).unwrap_or(0)
        / 1024
}

/// Clock ticks of processor time and disk syncs in two quiet seconds.
async fn idle(store: &Storage) {
    let ticks = || {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let fields: Vec<_> = stat.split_ascii_whitespace().collect();
        [13, 14].iter().filter_map(|at| fields.get(*at)?.parse::<u64>().ok()).sum::<u64>()
    };
    let switches = || {
        let mut sum = 0_u64;
        for task in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
            let status = std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
            let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches"));
            sum += line.and_then(|line| line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok()).unwrap_or(0);
        }
        sum
    };
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (before, switched, fsyncs) = (ticks(), switches(), store.statistics().fsyncs);
    tokio::time::sleep(Duration::from_secs(2)).await;
    println!(
        "2 s idle             {} ticks of 10 ms, {} wake-ups, {} fsyncs",
        ticks() - before,
        switches() - switched,
        store.statistics().fsyncs - fsyncs
    );
}
