//! Watchers that outlive their connections: they resume at another server behind what they saw last.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use e2e::http::Target;
use histories::watch::{Change, Event, Watcher};
use http_body_util::BodyExt as _;
use hyper::Method;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::caller::{revision, value};

/// The name of the object that is written last of all.
pub const LAST: &str = "last";
/// How long a connection may be silent before a watcher looks elsewhere: its server may be cut off.
const SILENCE: Duration = Duration::from_secs(3);
const CONNECT_LIMIT: Duration = Duration::from_secs(1);

/// How a watcher goes about it.
#[derive(Clone)]
pub struct Habits {
    pub name: String,
    /// Where it begins.
    pub server: usize,
    /// It goes elsewhere by itself after a while.
    pub restless: bool,
    pub seed: u64,
}

/// What a watcher was told, and how.
#[derive(Default)]
pub struct Told {
    pub watcher: Watcher,
    /// How often it resumed.
    pub resumed: usize,
    /// How often a server said that it does not reach back so far.
    pub expired: usize,
    /// It saw the last object.
    pub whole: bool,
    /// Lines that are no event of ours.
    pub odd: Vec<String>,
}

/// Watches everything after `from` until the last object was seen, or `give_up` is set.
pub async fn follow(targets: Vec<Target>, path: String, from: u64, habits: Habits, give_up: Arc<AtomicBool>) -> Told {
    let mut random = StdRng::seed_from_u64(habits.seed);
    let watcher = Watcher { name: habits.name.clone(), from, until: from, events: Vec::new() };
    let mut told = Told { watcher, ..Told::default() };
    let mut server = habits.server % targets.len();
    while !told.whole && !give_up.load(Ordering::Relaxed) {
        let patience = habits.restless.then(|| Duration::from_millis(random.random_range(500..3_000)));
        read(&targets[server], &path, patience, &mut told, &give_up).await;
        told.resumed += 1;
        server = (server + random.random_range(1..targets.len().max(2))) % targets.len();
        sleep(Duration::from_millis(20)).await;
    }
    told
}

/// Reads from one server until the connection breaks, falls silent, or patience is at its end.
async fn read(target: &Target, path: &str, patience: Option<Duration>, told: &mut Told, give_up: &AtomicBool) {
    let path = format!("{path}?watch=true&resourceVersion={}", told.watcher.until);
    let open = async {
        let mut connection = target.connect().await?;
        let answer = connection.send(Method::GET, &path, Bytes::new()).await?;
        anyhow::Ok((connection, answer))
    };
    let Ok(Ok((_connection, mut answer))) = timeout(CONNECT_LIMIT + SILENCE, open).await else { return };
    if answer.status().as_u16() == 410 {
        told.expired += 1;
    }
    if !answer.status().is_success() {
        return;
    }
    let leave = Instant::now() + patience.unwrap_or(Duration::from_secs(3600));
    let mut rest = BytesMut::new();
    while !give_up.load(Ordering::Relaxed) {
        let next = timeout_at(leave.min(Instant::now() + SILENCE), answer.body_mut().frame()).await;
        let Ok(Some(Ok(frame))) = next else { return };
        rest.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line = rest.split_to(end + 1);
            if !note(&line, told) || told.whole {
                return;
            }
        }
    }
}

/// Notes one line. False if the watch is over by it.
fn note(line: &[u8], told: &mut Told) -> bool {
    let event: Value = serde_json::from_slice(line).unwrap_or_default();
    let change = match event["type"].as_str() {
        Some("ADDED") => Change::Added,
        Some("MODIFIED") => Change::Modified,
        Some("DELETED") => Change::Deleted,
        Some("ERROR") if event["object"]["code"] == 410 => {
            told.expired += 1;
            return false;
        }
        // The server ends, or has no majority.
        Some("ERROR") => return false,
        _ => {
            told.odd.push(String::from_utf8_lossy(line).into_owned());
            return false;
        }
    };
    let object = &event["object"];
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let (Some(revision), Some(value)) = (revision(object), value(object)) else {
        told.odd.push(String::from_utf8_lossy(line).into_owned());
        return false;
    };
    told.watcher.events.push(Event { change, object: name.to_owned(), revision, value });
    told.watcher.until = revision;
    told.whole = name == LAST;
    true
}
