//! One history after the other: faults for a while, then peace, then judgement.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use e2e::host;
use histories::{order, register, watch};
use hyper::Method;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::HistoryOptions;
use crate::caller::{Answer, Caller, object, revision, value};
use crate::faults::{Done, carry_out};
use crate::group::Group;
use crate::plan::plan;
use crate::registers::{Record, Shared, client, name};
use crate::views::views;
use crate::watching::{Habits, LAST, Told, follow};

const CLIENTS: u64 = 12;
/// How long a client waits for an answer before it turns elsewhere.
const PATIENCE: Duration = Duration::from_secs(3);
/// How soon after the last fault writes and reads work again, and how soon all servers are together again. Generous: the
/// machine is shared by several groups.
const WORKS_LIMIT: Duration = Duration::from_secs(30);
const TOGETHER_LIMIT: Duration = Duration::from_secs(90);
/// How soon watchers have seen the last object.
const TOLD_LIMIT: Duration = Duration::from_secs(30);
/// Fewer operations than these say nothing. After a history in which there was hardly ever a leader, clients go on so long
/// for as many: what they see then tells what became of the writes before.
const LEAST: usize = 100;
const ENOUGH_LIMIT: Duration = Duration::from_secs(10);

/// Runs all histories of this lane, and answers whether all of them may be.
pub async fn run(options: &HistoryOptions) -> anyhow::Result<bool> {
    let mut good = true;
    for seed in options.seed..options.seed + options.count {
        let outcome = one(seed, Duration::from_secs(options.duration)).await;
        let outcome = outcome.with_context(|| format!("seed {seed}"));
        match outcome {
            Ok(outcome) => {
                println!("{}", outcome.line(seed));
                if !outcome.violations.is_empty() {
                    good = false;
                    keep(&options.keep.join(seed.to_string()), &outcome)?;
                }
            }
            Err(error) => {
                good = false;
                println!("FAIL seed {seed}: {error:#}");
            }
        }
    }
    Ok(good)
}

/// What came of one history.
struct Outcome {
    violations: Vec<String>,
    record: Record,
    told: Vec<Told>,
    done: Done,
    /// From the end of the last fault to the first write that worked, and until all servers were together.
    works: Duration,
    together: Duration,
}

impl Outcome {
    fn line(&self, seed: u64) -> String {
        let verdict = if self.violations.is_empty() { "PASS" } else { "FAIL" };
        let (record, done) = (&self.record, &self.done);
        let events: usize = self.told.iter().map(|told| told.watcher.events.len()).sum();
        let sum = |of: fn(&Told) -> usize| self.told.iter().map(of).sum::<usize>();
        let faults = done.counts.iter().fold(String::new(), |text, (kind, count)| text + &format!(" {kind} {count},"));
        let mut line = format!(
            "{verdict} seed {seed}: {} operations, {} unknown, {} refused; {events} events, {} resumed, {} expired;{faults} \
             revived {}; works after {:.1} s, together after {:.1} s",
            record.known,
            record.unknown,
            record.refused,
            sum(|told| told.resumed),
            sum(|told| told.expired),
            done.revived,
            self.works.as_secs_f32(),
            self.together.as_secs_f32(),
        );
        for violation in self.violations.iter().take(10) {
            let _ = write!(line, "\n  {violation}");
        }
        line
    }
}

async fn one(seed: u64, duration: Duration) -> anyhow::Result<Outcome> {
    println!("seed {seed}");
    let group = Arc::new(Group::start(1, 0).await?);
    let (path, from) = namespace(&group).await?;
    let shared = Arc::new(Shared::new(&path));
    let give_up = Arc::new(AtomicBool::new(false));
    let watchers: Vec<_> = (0..group.voters + 1)
        .map(|server| {
            let habits = Habits {
                name: format!("watcher {server}"),
                server,
                restless: server == group.voters,
                seed: seed ^ server as u64,
            };
            tokio::spawn(follow(group.targets(), path.clone(), from, habits, give_up.clone()))
        })
        .collect();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| tokio::spawn(client(shared.clone(), group.caller(PATIENCE), seed ^ (0x9e37 * (number + 1)))))
        .collect();
    let done = carry_out(&group, plan(seed, duration, group.voters), Instant::now()).await;
    let peace = Instant::now();
    let mut violations = Vec::new();
    let repaired = tokio::spawn({
        let group = group.clone();
        async move { group.repair(TOGETHER_LIMIT).await }
    });
    let mut caller = group.caller(PATIENCE);
    let works = works_again(&mut caller, &shared, peace).await;
    if works > WORKS_LIMIT {
        violations.push(format!("nothing could be written for {works:?} after the last fault"));
    }
    if let Err(error) = repaired.await? {
        violations.push(format!("{error:#}"));
    }
    let together = peace.elapsed();
    let enough = Instant::now() + ENOUGH_LIMIT;
    while shared.record.lock().known < LEAST && Instant::now() < enough {
        sleep(Duration::from_millis(100)).await;
    }
    shared.stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await?;
    }
    let told = last_words(&mut caller, &shared, watchers, &give_up, &mut violations).await?;
    let record = std::mem::take(&mut *shared.record.lock());
    let states = states(&mut caller, &path).await;
    let views = views(&group).await;
    let outcome = Outcome { violations, record, told, done, works, together };
    let mut outcome = tokio::task::spawn_blocking(move || judged(outcome, &states)).await?;
    if !outcome.violations.is_empty() {
        outcome.done.lines.push("--- in the end".to_owned());
        outcome.done.lines.extend(views);
        for server in &group.servers {
            let log = server.host.lock().log_tail(20_000);
            outcome.done.lines.push(format!("--- {}\n{log}", server.name));
        }
    }
    Ok(outcome)
}

/// Makes a namespace; answers the path of its objects and the revision before the first of them.
async fn namespace(group: &Group) -> anyhow::Result<(String, u64)> {
    let mut caller = group.caller(Duration::from_secs(30));
    let body = r#"{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"chaos"}}"#;
    caller.ask(Method::POST, "/api/v1/namespaces", body).await.context("a namespace")?;
    let path = "/api/v1/namespaces/chaos/secrets".to_owned();
    let list = caller.ask(Method::GET, &path, "").await.context("an empty list")?;
    Ok((path, revision(&list).context("a list has a revision")?))
}

/// How long after `peace` a write is acknowledged again.
async fn works_again(caller: &mut Caller, shared: &Shared, peace: Instant) -> Duration {
    while peace.elapsed() < TOGETHER_LIMIT {
        let value = shared.new_value();
        // Of one name there may be an object from an attempt that was not confirmed, and none could be created any more.
        let body = object(&format!("probe-{value}"), value, None);
        if caller.ask(Method::POST, "/api/v1/namespaces/default/secrets", &body).await.is_some() {
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    peace.elapsed()
}

/// Writes the last object, and waits until all watchers saw it.
async fn last_words(
    caller: &mut Caller,
    shared: &Shared,
    watchers: Vec<JoinHandle<Told>>,
    give_up: &AtomicBool,
    violations: &mut Vec<String>,
) -> anyhow::Result<Vec<Told>> {
    let until = Instant::now() + TOLD_LIMIT;
    // If it is not confirmed it may be there all the same.
    let body = object(LAST, shared.new_value(), None);
    while caller.ask(Method::POST, &shared.path, &body).await.is_none()
        && caller.ask(Method::GET, &format!("{}/{LAST}", shared.path), "").await.is_none()
    {
        if Instant::now() > until {
            violations.push("the last object cannot be written".to_owned());
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
    while Instant::now() < until && !watchers.iter().all(JoinHandle::is_finished) {
        sleep(Duration::from_millis(50)).await;
    }
    give_up.store(true, Ordering::Relaxed);
    let mut told = Vec::new();
    for watcher in watchers {
        told.push(watcher.await?);
    }
    Ok(told)
}

/// Objects with revisions and values.
type Objects = BTreeMap<String, (u64, u64)>;

/// What each server has in the end, or what it says instead.
async fn states(caller: &mut Caller, path: &str) -> Vec<Result<Objects, String>> {
    let mut states = Vec::new();
    for server in 0..caller.servers() {
        let until = Instant::now() + WORKS_LIMIT;
        let state = loop {
            match caller.call(server, Method::GET, path, "").await {
                Answer::Said(200, list) => break Ok(objects(&list)),
                other if Instant::now() > until => break Err(format!("{other:?}")),
                _ => sleep(Duration::from_millis(100)).await,
            }
        };
        states.push(state);
    }
    states
}

fn objects(list: &Value) -> Objects {
    let items = list["items"].as_array().into_iter().flatten();
    items
        .filter_map(|item| {
            let name = item["metadata"]["name"].as_str()?.to_owned();
            Some((name, (revision(item)?, value(item)?)))
        })
        .collect()
}

/// Looks at everything that was seen.
fn judged(mut outcome: Outcome, states: &[Result<Objects, String>]) -> Outcome {
    let Outcome { violations, record, told, .. } = &mut outcome;
    if record.known < LEAST {
        violations.push(format!("only {} operations had an outcome: that says nothing", record.known));
    }
    for (number, history) in record.registers.iter().enumerate() {
        if !register::linearizable(history) {
            violations.push(format!("{} is not linearizable: {} operations", name(number), history.len()));
        }
    }
    violations.extend(order::violations(&record.dated));
    violations.extend(record.odd.iter().map(|odd| format!("a client was told {odd}")));
    for told in told.iter() {
        violations.extend(told.odd.iter().map(|odd| format!("{} was told {odd}", told.watcher.name)));
        if !told.whole {
            violations.push(format!("{} never came to the end", told.watcher.name));
        }
    }
    let watchers: Vec<_> = told.iter().map(|told| told.watcher.clone()).collect();
    violations.extend(watch::violations(&watchers, &record.acknowledged));
    let expected = in_the_end(&watchers);
    for (server, state) in states.iter().enumerate() {
        if state.as_ref() != Ok(&expected) {
            violations.push(format!("server {} has {state:?} in the end, watchers were told {expected:?}", server + 1));
        }
    }
    outcome
}

/// What is there after all that watchers were told.
fn in_the_end(watchers: &[watch::Watcher]) -> Objects {
    let events = watchers.iter().flat_map(|watcher| &watcher.events);
    let by_revision: BTreeMap<u64, &watch::Event> = events.map(|event| (event.revision, event)).collect();
    let mut there = BTreeMap::new();
    for (revision, event) in by_revision {
        match event.change {
            watch::Change::Deleted => there.remove(&event.object),
            _ => there.insert(event.object.clone(), (revision, event.value)),
        };
    }
    there
}

/// Keeps what a person needs to understand a violation.
fn keep(folder: &Path, outcome: &Outcome) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let mut text = outcome.violations.join("\n") + "\n\n" + &outcome.done.lines.join("\n") + "\n";
    for (number, history) in outcome.record.registers.iter().enumerate() {
        let _ = writeln!(text, "--- {} (times in nanoseconds since the beginning)", name(number));
        for operation in history {
            let _ = writeln!(text, "{operation:?}");
        }
    }
    for told in &outcome.told {
        let _ = writeln!(text, "--- {}", told.watcher.name);
        for event in &told.watcher.events {
            let _ = writeln!(text, "{event:?}");
        }
    }
    std::fs::write(folder.join("history"), text)?;
    println!("  kept in {} (logs of the servers in {})", folder.display(), host::work_dir().display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use histories::register::{Action, Operation};
    use histories::watch::{Acknowledged, Change, Event, Watcher};

    use super::*;

    /// What two watchers and a client saw of one object; all of it may be.
    fn seen() -> Outcome {
        let operation = |action: Action, begun: u64| Operation { action, begun, ended: Some(begun + 1) };
        let history = vec![
            operation(Action::Swap(None, 1), 1),
            operation(Action::Swap(Some(1), 2), 3),
            operation(Action::Read(Some(2)), 5),
        ];
        let acknowledged = |value: u64| Acknowledged { object: name(0), value, revision: Some(10 + value) };
        let record = Record {
            registers: vec![history],
            acknowledged: vec![acknowledged(1), acknowledged(2)],
            known: LEAST,
            ..Record::default()
        };
        let event = |change: Change, value: u64| Event { change, object: name(0), revision: 10 + value, value };
        let events = vec![event(Change::Added, 1), event(Change::Modified, 2)];
        let told = |server: usize| Told {
            watcher: Watcher { name: format!("watcher {server}"), from: 10, until: 12, events: events.clone() },
            whole: true,
            ..Told::default()
        };
        let (works, together) = (Duration::ZERO, Duration::ZERO);
        Outcome { violations: Vec::new(), record, told: vec![told(0), told(1)], done: Done::default(), works, together }
    }

    fn state(revision: u64, value: u64) -> Result<Objects, String> {
        Ok(BTreeMap::from([(name(0), (revision, value))]))
    }

    #[test]
    fn what_may_be_is_not_found_fault_with() {
        let outcome = judged(seen(), &[state(12, 2), state(12, 2)]);
        assert!(outcome.violations.is_empty(), "{:?}", outcome.violations);
    }

    type Fault<'a> = &'a dyn Fn(&mut Outcome);

    #[test]
    fn every_planted_fault_is_found() {
        let cases: &[(&str, Fault<'_>)] = &[
            ("is not linearizable", &|seen| seen.record.registers[0][2].action = Action::Read(Some(1))),
            ("never told of", &|seen| drop(seen.told[1].watcher.events.pop())),
            ("told twice", &|seen| {
                let event = seen.told[1].watcher.events[1].clone();
                seen.told[1].watcher.events.push(event);
            }),
            ("acknowledged", &|seen| seen.record.acknowledged[1].revision = Some(13)),
            ("never came to the end", &|seen| seen.told[0].whole = false),
            ("that says nothing", &|seen| seen.record.known = 1),
        ];
        for (what, plant) in cases {
            let mut seen = seen();
            plant(&mut seen);
            let outcome = judged(seen, &[state(12, 2)]);
            assert!(outcome.violations.iter().any(|line| line.contains(what)), "{what}: {:?}", outcome.violations);
        }
    }

    #[test]
    fn servers_that_differ_in_the_end_are_found() {
        for wrong in [state(12, 1), state(11, 2), Ok(BTreeMap::new()), Err("503".to_owned())] {
            let outcome = judged(seen(), &[state(12, 2), wrong]);
            assert_eq!(outcome.violations.len(), 1, "{:?}", outcome.violations);
            assert!(outcome.violations[0].starts_with("server 2"), "{:?}", outcome.violations);
        }
    }
}
