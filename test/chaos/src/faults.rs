//! Makes things go wrong for a while, and right again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use e2e::host;
use parking_lot::Mutex;
use tokio::time::{sleep, sleep_until};

use crate::group::{Group, Server};
use crate::plan::{Fault, Planned, Who};

/// How long a removal is asked for.
const REMOVAL_LIMIT: Duration = Duration::from_secs(8);

/// How long an orderly end may take.
const END_LIMIT: Duration = Duration::from_secs(8);

/// Between two looks for what has ended by itself.
const LOOK: Duration = Duration::from_secs(2);

/// What was done: how often each kind, and a line for each with its time.
#[derive(Default)]
pub struct Done {
    pub counts: BTreeMap<&'static str, usize>,
    pub lines: Vec<String>,
    /// How many servers had ended by themselves, and were started again.
    pub revived: usize,
}

/// Carries a plan out, and returns when everything that can be is right again.
pub async fn carry_out(group: &Arc<Group>, plan: Vec<Planned>, begun: Instant) -> Done {
    let done = Arc::new(Mutex::new(Done::default()));
    let running: Vec<_> = plan
        .into_iter()
        .map(|planned| {
            let (group, done) = (group.clone(), done.clone());
            tokio::spawn(async move {
                sleep_until((begun + planned.at).into()).await;
                let outcome = inflict(&group, planned).await;
                let (from, to) = (planned.at.as_secs_f32(), begun.elapsed().as_secs_f32());
                let mut done = done.lock();
                let what = match outcome {
                    Ok(Some(server)) => {
                        *done.counts.entry(planned.fault.kind()).or_default() += 1;
                        server
                    }
                    Ok(None) => "nobody: they were busy, or refused".to_owned(),
                    Err(error) => format!("nobody: {error:#}"),
                };
                done.lines.push(format!("{from:.1} s to {to:.1} s: {:?} of {what}", planned.fault));
            })
        })
        .collect();
    let mut all = std::pin::pin!(futures::future::join_all(running));
    let mut revived = 0;
    loop {
        tokio::select! {
            _ = &mut all => break,
            () = sleep(LOOK) => {
                let members = group.members().await;
                revived += group.revive(&members).unwrap_or(0);
            }
        }
    }
    let mut done = std::mem::take(&mut *done.lock());
    done.revived = revived;
    done
}

/// Lets one thing go wrong for its time, and answers who was hit.
async fn inflict(group: &Group, planned: Planned) -> anyhow::Result<Option<String>> {
    let chosen = match planned.who {
        Who::Server(number) => number,
        Who::Leader => group.leader().await.unwrap_or(0),
    };
    let number = if chosen < group.voters { chosen } else { 0 };
    let server = &group.servers[number];
    let others: Vec<&Server> = group.servers.iter().filter(|other| other.name != server.name).collect();
    let hit = Ok(Some(server.name.clone()));
    match planned.fault {
        Fault::Kill | Fault::Stop | Fault::Pause => {
            let Some(_claim) = server.claim() else { return Ok(None) };
            process(group, number, planned).await?;
            hit
        }
        Fault::CutOff => cut(server, &others, &["saddr", "daddr"], planned.lasting).await.and(hit),
        Fault::CutPair => cut(server, &others[..1], &["saddr", "daddr"], planned.lasting).await.and(hit),
        Fault::Deaf => cut(server, &others, &["saddr"], planned.lasting).await.and(hit),
        Fault::Mute => cut(server, &others, &["daddr"], planned.lasting).await.and(hit),
        Fault::SlowDisk(micros) => {
            server.slow_down(micros)?;
            sleep(planned.lasting).await;
            server.slow_down(0)?;
            hit
        }
        Fault::Clock(millis) => {
            server.shift_clock(millis)?;
            sleep(planned.lasting).await;
            server.shift_clock(0)?;
            hit
        }
        Fault::Replace => {
            let Some(_claim) = server.claim() else { return Ok(None) };
            replace(group, number, planned.lasting).await
        }
        Fault::Extra => extra(group, planned.lasting).await,
    }
}

/// Something is done to a process, and undone.
async fn process(group: &Group, number: usize, planned: Planned) -> anyhow::Result<()> {
    let server = &group.servers[number];
    match planned.fault {
        Fault::Pause => {
            let pid = server.pid().context("it does not run")?;
            host::shell(&format!("kill -STOP {pid}"))?;
            sleep(planned.lasting).await;
            host::shell(&format!("kill -CONT {pid}")).map(drop)
        }
        fault => {
            if fault == Fault::Stop {
                end(server).await?;
            }
            server.host.lock().kill()?;
            sleep(planned.lasting).await;
            group.launch(number)
        }
    }
}

/// Asks a process for an orderly end. It may be cut off, or its disk slow: then it ends by force.
async fn end(server: &Server) -> anyhow::Result<()> {
    let pid = server.pid().context("it does not run")?;
    host::shell(&format!("kill -TERM {pid}"))?;
    let until = Instant::now() + END_LIMIT;
    while server.is_running() && Instant::now() < until {
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Loses packets between a server and some others: those from them (`saddr`), those to them (`daddr`), or both.
async fn cut(server: &Server, others: &[&Server], ways: &[&str], lasting: Duration) -> anyhow::Result<()> {
    static TABLES: AtomicU64 = AtomicU64::new(0);
    let table = format!("chaos{}", TABLES.fetch_add(1, Ordering::Relaxed));
    let addresses: Vec<&str> = others.iter().map(|other| other.address.as_str()).collect();
    let addresses = addresses.join(", ");
    let mut rules = String::new();
    for way in ways {
        let hook = if *way == "saddr" { "input" } else { "output" };
        rules +=
            &format!("chain {hook} {{ type filter hook {hook} priority -300; ip {way} {{ {addresses} }} drop; }}\n");
    }
    nft(server, &format!("table inet {table} {{\n{rules}}}\n"))?;
    sleep(lasting).await;
    nft(server, &format!("delete table inet {table}\n"))
}

fn nft(server: &Server, rules: &str) -> anyhow::Result<()> {
    let path = host::work_dir().join(&server.name).join("nft");
    let host = server.host.lock();
    std::fs::write(&path, rules)?;
    host.run(&format!("nft -f {}", path.display())).context(rules.to_owned()).map(drop)
}

/// A server leaves for good, and comes back with an empty folder as another.
async fn replace(group: &Group, number: usize, lasting: Duration) -> anyhow::Result<Option<String>> {
    let server = &group.servers[number];
    if !group.remove(&server.name, REMOVAL_LIMIT).await {
        return Ok(None);
    }
    {
        let mut host = server.host.lock();
        host.kill()?;
        host.run("rm -rf /var/lib/coracle/server")?;
    }
    sleep(lasting).await;
    group.launch(number)?;
    Ok(Some(server.name.clone()))
}

/// One more server joins, and is removed.
async fn extra(group: &Group, lasting: Duration) -> anyhow::Result<Option<String>> {
    let number = group.voters;
    let Some(server) = group.servers.get(number) else { return Ok(None) };
    let Some(_claim) = server.claim() else { return Ok(None) };
    {
        let host = server.host.lock();
        host.run("rm -rf /var/lib/coracle/server")?;
    }
    group.launch(number)?;
    sleep(lasting).await;
    let removed = group.remove(&server.name, REMOVAL_LIMIT).await;
    server.host.lock().kill()?;
    Ok(removed.then(|| server.name.clone()))
}
