//! What company costs and brings: three members beside one in the same run, each on a host of its own in namespaces of this
//! machine, which they share with each other and with the load.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use e2e::hosts::{self, Host, wait_members};
use e2e::http::Target;
use e2e::kubectl::eventually;
use futures::future::select_ok;
use hyper::Method;
use serde_json::json;

use crate::drive::{Until, drive, percentiles};
use crate::load::config_map;
use crate::node::{rss_mb, written_bytes};
use crate::report::Report;

const READY: Duration = Duration::from_secs(60);
/// Starts and elections have died down.
const SETTLED: Duration = Duration::from_secs(15);
/// How long one try of a write may take while nobody leads.
const TRY_LIMIT: Duration = Duration::from_millis(300);
const PATHS: &str = "/api/v1/namespaces/default/configmaps";

/// How much is measured.
#[derive(Clone, Copy)]
pub struct Size {
    /// Of each load.
    pub seconds: u64,
    /// Of doing nothing.
    pub idle_seconds: u64,
    /// How often the leader is killed.
    pub failovers: usize,
}

pub fn all(size: Size, report: &mut Report) -> anyhow::Result<()> {
    hosts::prepare()?;
    let runtime = tokio::runtime::Runtime::new()?;
    {
        let mut alone = [Host::start("alone", 1)?];
        alone[0].launch("server --disable-agent")?;
        wait_members(&alone[0], 1)?;
        measure(&runtime, &alone, "one member", size, report)?;
    }
    let mut group = vec![Host::start("member-1", 2)?, Host::start("member-2", 3)?, Host::start("member-3", 4)?];
    group[0].launch("server --disable-agent --cluster-init")?;
    wait_members(&group[0], 1)?;
    let join = format!("-s https://{}:6443 -t {}", group[0].address, group[0].token()?);
    for number in 1..group.len() {
        group[number].launch(&format!("server --disable-agent {join}"))?;
        wait_members(&group[0], number + 1)?;
    }
    measure(&runtime, &group, "three members", size, report)?;
    failovers(&runtime, &mut group, size.failovers, report)?;
    agent(&group[0], &join, report)
}

fn targets(servers: &[Host]) -> anyhow::Result<Vec<Target>> {
    let target = |host: &Host| {
        // It writes the file with the host's own address.
        host.kubectl()?;
        Target::from_kubeconfig(&host.name, &e2e::host::work_dir().join(&host.name).join("kubeconfig.yaml"))
    };
    servers.iter().map(target).collect()
}

/// What each member does when nobody asks for anything, and then what all of them do under load.
fn measure(
    runtime: &tokio::runtime::Runtime,
    servers: &[Host],
    name: &str,
    size: Size,
    report: &mut Report,
) -> anyhow::Result<()> {
    let targets = targets(servers)?;
    idle(runtime, servers, &targets, name, size, report)?;
    let until = Until::Elapsed(Duration::from_secs(size.seconds));
    let create = |number: usize| (PATHS.to_owned(), config_map(&format!("g{number:07}")));
    let driven = runtime.block_on(drive(&targets, Method::POST, until, create))?;
    report.add("create ConfigMap (300 B), 32 clients, durable", name, driven.rate, "/s", driven.summary());
    let get = |_| (format!("{PATHS}/g0000007"), String::new());
    let driven = runtime.block_on(drive(&targets, Method::GET, until, get))?;
    report.add("GET one object, 32 clients over all members", name, driven.rate, "/s", driven.summary());
    Ok(())
}

/// Measured for a while and scaled up to an hour, for one member: the mean of all.
fn idle(
    runtime: &tokio::runtime::Runtime,
    servers: &[Host],
    targets: &[Target],
    name: &str,
    size: Size,
    report: &mut Report,
) -> anyhow::Result<()> {
    std::thread::sleep(SETTLED);
    let look = || -> anyhow::Result<(f64, f64)> {
        let (mut bytes, mut syncs) = (0.0, 0.0);
        for (host, target) in servers.iter().zip(targets) {
            bytes += written_bytes(host.pid())?;
            syncs += runtime.block_on(log_syncs(target))?;
        }
        Ok((bytes, syncs))
    };
    let (before, begun) = (look()?, Instant::now());
    std::thread::sleep(Duration::from_secs(size.idle_seconds));
    let (after, hours) = (look()?, begun.elapsed().as_secs_f64() / 3600.0);
    let each = hours * servers.len() as f64;
    let note = format!("({} s, scaled up)", size.idle_seconds);
    report.add("idle: syncs of the log, each member", name, (after.1 - before.1) / each, "/h", note.clone());
    report.add("idle: written to disk, each member", name, (after.0 - before.0) / each / 1e6, "MB/h", note);
    let memory = servers.iter().map(|host| rss_mb(host.pid())).sum::<anyhow::Result<f64>>()?;
    report.add("idle: memory (RSS), each member", name, memory / servers.len() as f64, "MB", "");
    Ok(())
}

/// As the server itself counts them.
async fn log_syncs(target: &Target) -> anyhow::Result<f64> {
    let text = target.connect().await?.call(Method::GET, "/metrics", "").await?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let line = text.lines().find(|line| line.starts_with("coracle_store_log_syncs"));
    let count = line.and_then(|line| line.rsplit(' ').next()).context("/metrics does not count syncs of the log")?;
    Ok(count.parse()?)
}

/// The leader is killed again and again: until a write by way of one of the others is acknowledged.
fn failovers(
    runtime: &tokio::runtime::Runtime,
    group: &mut [Host],
    count: usize,
    report: &mut Report,
) -> anyhow::Result<()> {
    if count == 0 {
        return Ok(());
    }
    let mut samples = Vec::new();
    for number in 0..count {
        wait_members(&group[0], group.len())?;
        let leader = leader(group)?;
        let all = targets(group)?;
        let others: Vec<Target> =
            all.into_iter().enumerate().filter(|(at, _)| *at != leader).map(|(_, target)| target).collect();
        let launched = group[leader].launched().to_owned();
        group[leader].kill()?;
        samples.push(runtime.block_on(first_write(&others, number))?);
        group[leader].launch(&launched)?;
    }
    samples.sort();
    let median = samples[samples.len() / 2].as_secs_f64();
    let note = format!("of {count} times {}", percentiles(&samples, &[90, 99, 100]));
    report.add("leader killed → first acknowledged write, p50", "three members", median, "s", note);
    Ok(())
}

/// The place of the server that leads.
fn leader(group: &[Host]) -> anyhow::Result<usize> {
    eventually(READY, || {
        let status = group[0].coracle("status")?;
        let line = status.lines().find(|line| line.split_whitespace().nth(2) == Some("leader"));
        let name = line.and_then(|line| line.split_whitespace().next()).context("nobody leads")?;
        group.iter().position(|host| host.name == name).context("a stranger leads")
    })
}

/// From now until one of the servers has acknowledged a write. Each is asked again and again.
async fn first_write(servers: &[Target], number: usize) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let tries = servers.iter().enumerate().map(|(at, target)| {
        Box::pin(async move {
            let mut attempt = 0;
            loop {
                let name = format!("failover-{number}-{at}-{attempt}");
                let body = json!({"metadata": {"name": name}}).to_string();
                let write = async { target.connect().await?.call(Method::POST, PATHS, body).await };
                if let Ok(Ok(_)) = tokio::time::timeout(TRY_LIMIT, write).await {
                    return anyhow::Ok(begun.elapsed());
                }
                ensure!(begun.elapsed() < READY, "no write was acknowledged");
                attempt += 1;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
    });
    Ok(select_ok(tries).await?.0)
}

/// An agent without pods.
fn agent(server: &Host, join: &str, report: &mut Report) -> anyhow::Result<()> {
    let mut agent = Host::start("agent", 11)?;
    agent.launch(&format!("agent {join}"))?;
    let k = server.kubectl()?;
    eventually(READY, || k.run("wait --for=condition=Ready node/agent --timeout=5s"))?;
    std::thread::sleep(SETTLED);
    let containerd: u32 = agent.run("cat /run/coracle/containerd/containerd.pid")?.trim().parse()?;
    let note = format!("(and its containerd {:.1} MB)", rss_mb(containerd)?);
    report.add("agent without pods: memory (RSS)", "three members", rss_mb(agent.pid())?, "MB", note);
    Ok(())
}
