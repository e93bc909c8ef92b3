//! `kill -9` of the leader, again and again, under steady writes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use histories::watch::{self, Change, Watcher};
use hyper::Method;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::time::sleep;

use crate::KillOptions;
use crate::caller::{object, revision, value};
use crate::group::Group;
use crate::probes;
use crate::watching::{Habits, LAST, Told, follow};
use crate::writers::{Load, writer};

const WRITERS: usize = 64;
const PATIENCE: Duration = Duration::from_secs(5);
const PODS_LIMIT: Duration = Duration::from_secs(90);
/// What is asked of the servers: the first acknowledged write at the 99th percentile and at worst, and the loops.
const FIRST_P99: Duration = Duration::from_secs(1);
const FIRST_WORST: Duration = Duration::from_secs(2);
const LOOPS: Duration = Duration::from_secs(5);
/// How long each is waited for.
const LIMIT: Duration = Duration::from_secs(30);
/// How long a killed server may take to be a good member again.
const BACK_LIMIT: Duration = Duration::from_secs(60);

/// What one kill did.
struct Round {
    first: Duration,
    /// The scheduler's and the controllers'.
    loops: [Option<Duration>; 2],
    /// Whether the killed server ran them.
    held: [bool; 2],
    back: Duration,
}

/// Kills as often as it is told, and answers whether what was asked for held.
pub async fn run(options: &KillOptions) -> anyhow::Result<bool> {
    println!("seed {}", options.seed);
    let group = Arc::new(Group::start(0, 1).await?);
    let mut caller = group.caller(PATIENCE);
    let untouched = probes::pods(&mut caller, PODS_LIMIT).await?;
    let body = r#"{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"chaos"}}"#;
    caller.ask(Method::POST, "/api/v1/namespaces", body).await.context("a namespace")?;
    let path = "/api/v1/namespaces/chaos/secrets";
    let list = caller.ask(Method::GET, path, "").await.context("an empty list")?;
    let from = revision(&list).context("a list has a revision")?;

    let (load, give_up) = (Arc::new(Load::new(path)), Arc::new(AtomicBool::new(false)));
    let watchers: Vec<_> = (0..group.voters)
        .map(|server| {
            let name = format!("watcher {server}");
            let habits = Habits { name, server, restless: false, seed: options.seed ^ server as u64 };
            tokio::spawn(follow(group.targets(), path.to_owned(), from, habits, give_up.clone()))
        })
        .collect();
    let every = Duration::from_secs(1) * u32::try_from(WRITERS)? / u32::try_from(options.rate.max(1))?;
    let writers: Vec<_> =
        (0..WRITERS).map(|number| tokio::spawn(writer(load.clone(), group.caller(PATIENCE), number, every))).collect();

    let mut random = StdRng::seed_from_u64(options.seed);
    let (begun, mut rounds) = (Instant::now(), Vec::new());
    while rounds.len() < options.count && begun.elapsed() < Duration::from_secs(options.duration) {
        sleep(Duration::from_millis(random.random_range(200..700))).await;
        let round = kill(&group, &load, rounds.len()).await.with_context(|| format!("kill {}", rounds.len() + 1))?;
        println!("{}", line(rounds.len() + 1, &round));
        rounds.push(round);
    }
    let seconds = load.origin.elapsed().as_secs_f64();
    load.stop.store(true, Ordering::Relaxed);
    let mut last = HashMap::new();
    for writer in writers {
        last.extend(writer.await?);
    }
    caller.ask(Method::POST, path, &object(LAST, 1, None)).await.context("the last object")?;
    let until = Instant::now() + LIMIT;
    while Instant::now() < until && !watchers.iter().all(tokio::task::JoinHandle::is_finished) {
        sleep(Duration::from_millis(50)).await;
    }
    give_up.store(true, Ordering::Relaxed);
    let mut told = Vec::new();
    for watcher in watchers {
        told.push(watcher.await?);
    }
    let mut breaches = ends(&group, path, &last).await;
    let now = probes::containers(&mut caller).await;
    if now != untouched {
        breaches.push(format!("pods were touched: {untouched:?}, now {now:?}"));
    }
    let acks = std::mem::take(&mut *load.record.lock());
    println!(
        "{} writes acknowledged, {:.0}/s over all; {} looked for; {} events to each of {} watchers, {} resumed",
        acks.acknowledged.len(),
        acks.acknowledged.len() as f64 / seconds,
        acks.looked,
        told.first().map_or(0, |told| told.watcher.events.len()),
        told.len(),
        told.iter().map(|told| told.resumed).sum::<usize>(),
    );
    breaches.extend(acks.violations);
    breaches.extend(watched(&told));
    let watchers: Vec<Watcher> = told.into_iter().map(|told| told.watcher).collect();
    breaches.extend(watch::violations(&watchers, &acks.acknowledged));
    breaches.extend(measured(&rounds));
    for breach in breaches.iter().take(20) {
        println!("BREACH {breach}");
    }
    println!("{} kills, {} breaches", rounds.len(), breaches.len());
    Ok(breaches.is_empty())
}

/// Kills the leader once, and waits until everything is well again.
async fn kill(group: &Group, load: &Load, number: usize) -> anyhow::Result<Round> {
    let mut caller = group.caller(PATIENCE);
    let leader = group.leader().await.context("nobody leads")?;
    let name = group.servers[leader].name.clone();
    let held = probes::holders(&mut caller).await.map(|holder| holder.as_deref() == Some(&name));
    load.killed();
    let begun = Instant::now();
    group.servers[leader].host.lock().kill()?;
    let probing = tokio::spawn(probes::loops(group.caller(PATIENCE), format!("probe-{number}"), begun, LIMIT));
    let until = begun + LIMIT;
    let first = loop {
        if let Some(first) = load.first() {
            break first;
        }
        ensure!(Instant::now() < until, "no write is acknowledged within {LIMIT:?}");
        sleep(Duration::from_millis(5)).await;
    };
    let loops = probing.await?;
    let again = Instant::now();
    group.launch(leader)?;
    let limit = again + BACK_LIMIT;
    loop {
        let members = group.members().await;
        if members.len() == group.voters && members.iter().all(|member| member.voter && member.reachable) {
            break;
        }
        ensure!(Instant::now() < limit, "{name} is not back within {BACK_LIMIT:?}");
        sleep(Duration::from_millis(50)).await;
    }
    Ok(Round { first, loops, held, back: again.elapsed() })
}

fn line(number: usize, round: &Round) -> String {
    let loops = |at: usize| {
        let time = round.loops[at].map_or("never".to_owned(), |time| format!("{:.2} s", time.as_secs_f32()));
        format!("{time}{}", if round.held[at] { " (took over)" } else { "" })
    };
    format!(
        "kill {number}: first write {:.3} s, scheduler {}, controllers {}, back after {:.1} s",
        round.first.as_secs_f32(),
        loops(0),
        loops(1),
        round.back.as_secs_f32()
    )
}

/// What is there in the end, by way of every server, is what was written last.
async fn ends(group: &Group, path: &str, last: &HashMap<String, u64>) -> Vec<String> {
    let mut breaches = Vec::new();
    let mut caller = group.caller(LIMIT);
    for server in 0..caller.servers() {
        let list = caller.call(server, Method::GET, path, "").await.success().unwrap_or_default();
        let items = list["items"].as_array().into_iter().flatten();
        let there: HashMap<String, u64> = items
            .filter_map(|item| Some((item["metadata"]["name"].as_str()?.to_owned(), value(item)?)))
            .filter(|(name, _)| name != LAST)
            .collect();
        let wrong = last.iter().filter(|(name, value)| there.get(*name) != Some(value)).count();
        if wrong > 0 || there.len() != last.len() {
            let (has, should) = (there.len(), last.len());
            breaches.push(format!("server {} has {has} of {should} objects, {wrong} wrong", server + 1));
        }
    }
    breaches
}

/// Watchers come to the end, and see each object count upwards without a gap.
fn watched(told: &[Told]) -> Vec<String> {
    let mut breaches = Vec::new();
    for told in told {
        let name = &told.watcher.name;
        if !told.whole {
            breaches.push(format!("{name} never came to the end"));
        }
        if told.expired > 0 {
            breaches.push(format!("{name} had to list again {} times", told.expired));
        }
        breaches.extend(told.odd.iter().map(|odd| format!("{name} was told {odd}")));
        let mut counts: HashMap<&str, u64> = HashMap::new();
        for event in told.watcher.events.iter().filter(|event| event.change != Change::Deleted) {
            let count = counts.entry(&event.object).or_default();
            if event.value != *count + 1 {
                breaches.push(format!("{name} was told {event:?} after {count}"));
            }
            *count = event.value;
        }
    }
    breaches
}

/// Prints the distributions, and says what was too slow.
fn measured(rounds: &[Round]) -> Vec<String> {
    let mut breaches = Vec::new();
    let first = sorted(rounds.iter().map(|round| round.first));
    print("first acknowledged write", &first);
    for (limit, share, what) in
        [(FIRST_P99, 0.99, "99 % of first writes"), (FIRST_WORST, 1.0, "the slowest first write")]
    {
        let time = at(&first, share);
        if time > limit {
            breaches.push(format!("{what} took {time:?}, more than {limit:?}"));
        }
    }
    let mut slow = BTreeMap::new();
    for (number, what) in [(0, "the scheduler"), (1, "the controllers")] {
        for held in [true, false] {
            let of = rounds.iter().filter(|round| round.held[number] == held);
            let times = sorted(of.map(|round| round.loops[number].unwrap_or(LIMIT)));
            print(&format!("{what}, {}", if held { "taken over" } else { "elsewhere" }), &times);
            *slow.entry(what).or_insert(0) += times.iter().filter(|time| **time > LOOPS).count();
        }
    }
    print("killed server back", &sorted(rounds.iter().map(|round| round.back)));
    let slow = slow.into_iter().filter(|(_, count)| *count > 0);
    breaches.extend(slow.map(|(what, count)| format!("{what} took longer than {LOOPS:?} {count} times")));
    breaches
}

fn sorted(times: impl Iterator<Item = Duration>) -> Vec<Duration> {
    let mut times: Vec<Duration> = times.collect();
    times.sort();
    times
}

fn at(times: &[Duration], share: f64) -> Duration {
    let index = (times.len().saturating_sub(1) as f64 * share).round() as usize;
    times.get(index).copied().unwrap_or_default()
}

fn print(what: &str, times: &[Duration]) {
    let at = |share: f64| at(times, share).as_secs_f32();
    println!("{what}: {} times, median {:.3} s, p99 {:.3} s, max {:.3} s", times.len(), at(0.5), at(0.99), at(1.0));
}
