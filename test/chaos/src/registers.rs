//! Clients that read, write, swap and remove a few objects through random servers, and note what they saw.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use histories::order::Dated;
use histories::register::{Action, Operation};
use histories::watch::Acknowledged;
use hyper::Method;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::caller::{Answer, Caller, object, revision, value};

/// How many objects they share.
pub const OBJECTS: usize = 6;

/// What clients share.
pub struct Shared {
    /// Where the objects are.
    pub path: String,
    pub origin: Instant,
    pub stop: AtomicBool,
    values: AtomicU64,
    pub record: Mutex<Record>,
}

/// What all of them saw.
#[derive(Default)]
pub struct Record {
    /// One history an object.
    pub registers: Vec<Vec<Operation>>,
    pub dated: Vec<Dated>,
    pub acknowledged: Vec<Acknowledged>,
    /// Outcomes known, unknown, and surely not.
    pub known: usize,
    pub unknown: usize,
    pub refused: usize,
    /// Answers that nothing explains.
    pub odd: Vec<String>,
}

impl Shared {
    pub fn new(path: &str) -> Self {
        let record = Record { registers: vec![Vec::new(); OBJECTS], ..Record::default() };
        Self {
            path: path.to_owned(),
            origin: Instant::now(),
            stop: AtomicBool::new(false),
            values: AtomicU64::new(1),
            record: Mutex::new(record),
        }
    }

    pub fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// One that no write has had.
    pub fn new_value(&self) -> u64 {
        self.values.fetch_add(1, Ordering::Relaxed)
    }
}

pub fn name(number: usize) -> String {
    format!("r{number}")
}

/// What a client last saw of an object.
#[derive(Clone, Copy)]
enum Known {
    Nothing,
    Absent,
    There { value: u64, revision: u64 },
}

/// What it does next.
#[derive(Clone, Copy, Debug)]
enum Step {
    Get,
    List,
    Create(u64),
    Update { old: u64, revision: u64, value: u64 },
    Delete { old: u64, revision: u64 },
}

/// Goes on until told to stop.
pub async fn client(shared: Arc<Shared>, mut caller: Caller, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut known = [Known::Nothing; OBJECTS];
    while !shared.stop.load(Ordering::Relaxed) {
        let (server, number) = (random.random_range(0..caller.servers()), random.random_range(0..OBJECTS));
        let step = choose(&mut random, known[number], &shared);
        let begun = shared.now();
        let answer = send(&mut caller, server, &shared.path, number, step).await;
        let ended = shared.now();
        known[number] = note(&mut shared.record.lock(), number, step, &answer, (begun, ended));
        sleep(Duration::from_millis(random.random_range(5..40))).await;
    }
}

fn choose(random: &mut StdRng, known: Known, shared: &Shared) -> Step {
    match (random.random_range(0..20), known) {
        (0, _) => Step::List,
        (1..7, _) | (_, Known::Nothing) => Step::Get,
        (_, Known::Absent) => Step::Create(shared.new_value()),
        // What is there is not always known to all.
        (7, Known::There { .. }) => Step::Create(shared.new_value()),
        (8..10, Known::There { value, revision }) => Step::Delete { old: value, revision },
        (_, Known::There { value, revision }) => Step::Update { old: value, revision, value: shared.new_value() },
    }
}

async fn send(caller: &mut Caller, server: usize, path: &str, number: usize, step: Step) -> Answer {
    let name = name(number);
    let one = format!("{path}/{name}");
    match step {
        Step::Get => caller.call(server, Method::GET, &one, "").await,
        Step::List => caller.call(server, Method::GET, path, "").await,
        Step::Create(value) => caller.call(server, Method::POST, path, object(&name, value, None)).await,
        Step::Update { revision, value, .. } => {
            caller.call(server, Method::PUT, &one, object(&name, value, Some(revision))).await
        }
        Step::Delete { revision, .. } => {
            let preconditions = json!({ "preconditions": { "resourceVersion": revision.to_string() } });
            caller.call(server, Method::DELETE, &one, preconditions.to_string()).await
        }
    }
}

/// Notes what came of a step, and answers what its client knows now.
fn note(record: &mut Record, number: usize, step: Step, answer: &Answer, (begun, ended): (u64, u64)) -> Known {
    let mut add = |action: Action| record.registers[number].push(Operation { action, begun, ended: Some(ended) });
    let (code, body) = match answer {
        Answer::Said(code, body) => (*code, body),
        Answer::Unsent => return refused(record),
        Answer::Unknown => return unknown(record, number, step, begun),
    };
    let there = value(body).zip(revision(body)).map(|(value, revision)| Known::There { value, revision });
    let seen = match (step, code) {
        (Step::Get, 200) => {
            add(Action::Read(value(body)));
            there
        }
        (Step::List, 200) => return list(record, body, (begun, ended)),
        (Step::Get | Step::Update { .. } | Step::Delete { .. }, 404) => {
            add(Action::Read(None));
            Some(Known::Absent)
        }
        (Step::Create(new), 201) => {
            add(Action::Swap(None, new));
            acknowledge(record, number, new, body, (begun, ended));
            there
        }
        (Step::Update { old, value, .. }, 200) => {
            add(Action::Swap(Some(old), value));
            acknowledge(record, number, value, body, (begun, ended));
            there
        }
        (Step::Delete { old, .. }, 200) => {
            add(Action::Remove(old));
            record.acknowledged.push(Acknowledged { object: name(number), value: old, revision: None });
            Some(Known::Absent)
        }
        (Step::Create(_), 409) => {
            add(Action::Differs(None));
            Some(Known::Nothing)
        }
        (Step::Update { old, .. } | Step::Delete { old, .. }, 409) => {
            add(Action::Differs(Some(old)));
            Some(Known::Nothing)
        }
        // These say that nothing was changed.
        (_, 429 | 503) => return refused(record),
        (_, 500..) => return unknown(record, number, step, begun),
        _ => None,
    };
    record.known += 1;
    seen.unwrap_or_else(|| {
        record.odd.push(format!("{step:?} of {}: {code} {body}", name(number)));
        Known::Nothing
    })
}

fn refused(record: &mut Record) -> Known {
    record.refused += 1;
    Known::Nothing
}

/// A write of which nobody knows whether it happened. A read was then no read.
fn unknown(record: &mut Record, number: usize, step: Step, begun: u64) -> Known {
    record.unknown += 1;
    let action = match step {
        Step::Get | Step::List => return Known::Nothing,
        Step::Create(value) => Action::Swap(None, value),
        Step::Update { old, value, .. } => Action::Swap(Some(old), value),
        Step::Delete { old, .. } => Action::Remove(old),
    };
    record.registers[number].push(Operation { action, begun, ended: None });
    Known::Nothing
}

fn acknowledge(record: &mut Record, number: usize, value: u64, body: &Value, (begun, ended): (u64, u64)) {
    let revision = revision(body);
    record.acknowledged.push(Acknowledged { object: name(number), value, revision });
    record.dated.extend(revision.map(|revision| Dated { begun, ended, revision, write: true }));
}

/// A list is a read of every object at one revision.
fn list(record: &mut Record, body: &Value, (begun, ended): (u64, u64)) -> Known {
    let items = body["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    for number in 0..OBJECTS {
        let name = name(number);
        let item = items.iter().find(|item| item["metadata"]["name"] == name.as_str());
        let action = Action::Read(item.and_then(value));
        record.registers[number].push(Operation { action, begun, ended: Some(ended) });
    }
    record.dated.extend(revision(body).map(|revision| Dated { begun, ended, revision, write: false }));
    record.known += 1;
    Known::Nothing
}
