//! Steady writes: each client has objects of its own, counts in each of them upwards, and goes on at another server when
//! its own does not answer.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use histories::watch::Acknowledged;
use hyper::Method;
use parking_lot::Mutex;
use tokio::time::{sleep, sleep_until};

use crate::caller::{Answer, Caller, object, revision, value};

/// Objects of each client.
const OBJECTS: usize = 8;
/// A client goes back to its own server after so many writes.
const HOMESICK: usize = 100;
/// After a pause that was longer than this, missed writes are not made up for.
const LATE: Duration = Duration::from_secs(1);
const AGAIN: Duration = Duration::from_millis(10);

/// What writers share.
pub struct Load {
    pub path: String,
    pub origin: Instant,
    pub stop: AtomicBool,
    /// Nanoseconds since the origin: when the leader was killed last, and when the first write was acknowledged that had
    /// begun after that.
    killed: AtomicU64,
    first: AtomicU64,
    pub record: Mutex<Acks>,
}

/// What was acknowledged, and what went wrong.
#[derive(Default)]
pub struct Acks {
    pub acknowledged: Vec<Acknowledged>,
    /// How often the outcome of a write was found out by reading.
    pub looked: usize,
    pub violations: Vec<String>,
}

impl Load {
    pub fn new(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            origin: Instant::now(),
            stop: AtomicBool::new(false),
            killed: AtomicU64::new(u64::MAX),
            first: AtomicU64::new(u64::MAX),
            record: Mutex::default(),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// From now on the first write that is acknowledged is looked for.
    pub fn killed(&self) {
        self.first.store(u64::MAX, Ordering::SeqCst);
        self.killed.store(self.now(), Ordering::SeqCst);
    }

    /// How long after the kill that was; none while there is none.
    pub fn first(&self) -> Option<Duration> {
        let (killed, first) = (self.killed.load(Ordering::SeqCst), self.first.load(Ordering::SeqCst));
        (first != u64::MAX).then(|| Duration::from_nanos(first.saturating_sub(killed)))
    }

    fn acknowledge(&self, object: &str, value: u64, revision: u64, begun: u64) {
        if begun >= self.killed.load(Ordering::SeqCst) {
            self.first.fetch_min(self.now(), Ordering::SeqCst);
        }
        let write = Acknowledged { object: object.to_owned(), value, revision: Some(revision) };
        self.record.lock().acknowledged.push(write);
    }
}

/// Writes at a steady rate until told to stop; answers the last value of each of its objects.
pub async fn writer(load: Arc<Load>, caller: Caller, number: usize, every: Duration) -> HashMap<String, u64> {
    let home = number % caller.servers();
    let mut writer = Writer { load, caller, home, server: home };
    let mut objects: Vec<(String, u64, u64)> = (0..OBJECTS).map(|at| (format!("w{number}-{at}"), 0, 0)).collect();
    // Not all at the same moment.
    let mut due = Instant::now() + every * (number as u32 % 64) / 64;
    for turn in 0.. {
        sleep_until(due.into()).await;
        if writer.load.stop.load(Ordering::Relaxed) {
            break;
        }
        due = if due.elapsed() > LATE { Instant::now() } else { due } + every;
        if turn % HOMESICK == 0 {
            writer.server = writer.home;
        }
        let (name, value, revision) = &mut objects[turn % OBJECTS];
        *value += 1;
        match writer.write(name, *value, *revision).await {
            Ok(now) => *revision = now,
            Err(violation) => {
                writer.load.record.lock().violations.push(violation);
                break;
            }
        }
    }
    objects.into_iter().map(|(name, value, _)| (name, value)).collect()
}

struct Writer {
    load: Arc<Load>,
    caller: Caller,
    home: usize,
    server: usize,
}

impl Writer {
    /// Writes one value until it is there; answers its revision. `before`: the revision of the value before; 0 for none.
    async fn write(&mut self, name: &str, new: u64, before: u64) -> Result<u64, String> {
        let one = format!("{}/{name}", self.load.path);
        loop {
            let begun = self.load.now();
            let (method, path) = if before == 0 { (Method::POST, &self.load.path) } else { (Method::PUT, &one) };
            let body = object(name, new, (before > 0).then_some(before));
            match self.caller.call(self.server, method, path, body).await {
                Answer::Said(200 | 201, body) => {
                    let revision = revision(&body).ok_or_else(|| format!("{name}: an answer without revision"))?;
                    self.load.acknowledge(name, new, revision, begun);
                    return Ok(revision);
                }
                Answer::Unsent | Answer::Said(429 | 503, _) => self.turn_away().await,
                Answer::Said(409, _) | Answer::Unknown | Answer::Said(500.., _) => {
                    if let Some(revision) = self.look(name, &one, new, before).await? {
                        self.load.acknowledge(name, new, revision, begun);
                        return Ok(revision);
                    }
                }
                Answer::Said(code, body) => return Err(format!("{name}: {code} {body}")),
            }
        }
    }

    /// Finds out whether a value is there after all.
    async fn look(&mut self, name: &str, path: &str, new: u64, before: u64) -> Result<Option<u64>, String> {
        self.load.record.lock().looked += 1;
        loop {
            self.turn_away().await;
            match self.caller.call(self.server, Method::GET, path, "").await {
                Answer::Said(200, body) => match (value(&body), revision(&body)) {
                    (Some(value), revision) if value == new => return Ok(revision),
                    (Some(value), Some(revision)) if value + 1 == new && revision == before => return Ok(None),
                    seen => return Err(format!("{name}: {seen:?} is there, not {} or {new}", new - 1)),
                },
                Answer::Said(404, _) if before == 0 => return Ok(None),
                Answer::Said(code @ 400..=499, body) if code != 429 => return Err(format!("{name}: {code} {body}")),
                _ => {}
            }
        }
    }

    async fn turn_away(&mut self) {
        self.server = (self.server + 1) % self.caller.servers();
        sleep(AGAIN).await;
    }
}
