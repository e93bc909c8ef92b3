//! What watchers may rely on, over the real store: events are ordered and unique, none is missing, each carries the whole
//! object of its revision, and a watcher goes on without a gap from whatever it was last told, be it an event or a bookmark.
//!
//! `CORACLE_TEST_SEED` repeats a run, `CORACLE_WATCH_SECONDS` makes it longer.
#![allow(clippy::unwrap_used)] // A failed expectation is what a test is for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use apimachinery::UserInfo;
use apimachinery::meta::ObjectExt as _;
use apimachinery::watch::EventType;
use futures::{FutureExt as _, StreamExt as _};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use registry::{
    Call, Change, DeleteOptions, Found, ListQuery, NoAdmission, Registry, Selection, ServiceOptions, Watch, WatchEvent,
    WatchQuery,
};
use serde_json::{Value, json};

const NAMES: u32 = 6;
const WRITERS: u64 = 3;
const WRITES: usize = 120;
const WATCHERS: u64 = 8;
/// Label and field selectors, with the same said in Rust.
type Selector = (&'static str, &'static str, fn(&Value) -> bool);
const SELECTORS: [Selector; 4] = [
    ("", "", |_| true),
    ("tier=a", "", |object| object.str_at("metadata/labels/tier") == "a"),
    ("tier notin (a)", "", |object| object.str_at("metadata/labels/tier") != "a"),
    ("", "metadata.name=p1", |object| object.name() == "p1"),
];

struct World {
    registry: Arc<Registry>,
    user: UserInfo,
    /// The last revision, when all writers are done.
    end: AtomicU64,
}

/// What is known of one revision: the object, and whether it was deleted.
type History = BTreeMap<u64, (Value, bool)>;

impl World {
    fn found(&self, plural: &str) -> Found {
        self.registry.rows().newest("", plural).unwrap()
    }

    fn call<'c>(&'c self, plural: &str, name: &'c str) -> Call<'c> {
        let found = self.found(plural);
        Call {
            resource: found.resource,
            version: found.version,
            subresource: "",
            namespace: "default",
            name,
            user: &self.user,
            field_manager: "test",
            dry_run: false,
            admission: &NoAdmission,
            warnings: std::sync::Mutex::default(),
        }
    }

    /// One random write; answers what it did, if anything.
    async fn write(&self, random: &mut StdRng) -> Option<(Value, bool)> {
        // Another kind moves the revision on, too.
        let plural = if random.random_bool(0.2) { "secrets" } else { "configmaps" };
        let name = format!("p{}", random.random_range(0..NAMES));
        let call = self.call(plural, &name);
        let tier = ["a", "b", "c"][random.random_range(0..3)];
        let data: String = random.random_range(0..1000).to_string();
        let bytes = match random.random_range(0..10) {
            0..4 => {
                let kind = if plural == "secrets" { "Secret" } else { "ConfigMap" };
                let object = json!({
                    "apiVersion": "v1", "kind": kind, "metadata": { "name": name, "labels": { "tier": tier } },
                });
                self.registry.create(&call, object).await.ok()?
            }
            4..8 => {
                let patch = |mut object: Value| {
                    object["metadata"]["labels"] = json!({ "tier": tier, "data": data });
                    Ok(object)
                };
                self.registry.update(&call, Change::Patch(&patch)).await.ok()?.body
            }
            _ => {
                let gone = self.registry.delete(&call, &DeleteOptions::default()).await.ok()?;
                return (plural == "configmaps").then(|| (serde_json::from_slice(&gone.body).unwrap(), true));
            }
        };
        (plural == "configmaps").then(|| (serde_json::from_slice(&bytes).unwrap(), false))
    }
}

fn revision(object: &Value) -> u64 {
    object.resource_version().parse().unwrap()
}

/// What one watch showed after `start`, up to `told`.
struct Segment {
    start: u64,
    told: u64,
    events: Vec<(EventType, Value)>,
}

/// A list that a watcher fell back to.
struct Listed {
    revision: u64,
    items: Vec<Value>,
}

#[derive(Default)]
struct Seen {
    segments: Vec<Segment>,
    lists: Vec<Listed>,
    expired: usize,
}

struct Watcher<'w> {
    world: &'w World,
    selector: Selector,
    random: StdRng,
    seen: Seen,
}

impl Watcher<'_> {
    fn selection(&self) -> Selection {
        Selection::parse(self.world.found("configmaps").resource, self.selector.0, self.selector.1).unwrap()
    }

    /// Reads nothing until all is written: behind whatever a small history can hold.
    async fn oversleep(mut self, from: u64) -> Seen {
        let watch = self.watch(Some(from));
        while self.world.end.load(Ordering::Acquire) == 0 {
            tokio::task::yield_now().await;
        }
        match watch {
            Ok(watch) => self.follow(watch, from).await,
            Err(error) => {
                assert_eq!(error.reason(), "Expired", "{error}");
                self.begin_again().await
            }
        };
        self.seen
    }

    /// From a revision on, or without one from what there is.
    fn watch(&self, from: Option<u64>) -> Result<Watch, apimachinery::ApiError> {
        let query = WatchQuery {
            selection: self.selection(),
            resource_version: from.map_or_else(String::new, |from| from.to_string()),
            allow_bookmarks: true,
            ..WatchQuery::default()
        };
        self.world.registry.watch(self.world.found("configmaps").resource, Some("default"), query)
    }

    /// Follows from around now to the end, with breaks.
    async fn run(mut self) -> Seen {
        let mut from =
            self.world.registry.revision().saturating_add_signed(self.random.random_range(-100..=100)).max(1);
        loop {
            let end = self.world.end.load(Ordering::Acquire);
            if end > 0 && from >= end {
                return self.seen;
            }
            from = match self.watch(Some(from)) {
                Ok(watch) => self.follow(watch, from).await,
                Err(error) => {
                    assert_eq!(error.reason(), "Expired", "{error}");
                    self.begin_again().await
                }
            };
        }
    }

    /// Answers where to go on.
    async fn follow(&mut self, mut watch: Watch, start: u64) -> u64 {
        let mut segment = Segment { start, told: start, events: Vec::new() };
        let mut left = self.random.random_range(1..200);
        let expired = loop {
            // Falling behind is what small histories punish.
            for _ in 0..if self.random.random_bool(0.02) { 300 } else { self.random.random_range(0..3) } {
                tokio::task::yield_now().await;
            }
            match watch.next().now_or_never() {
                Some(Some(Ok(WatchEvent::Change { kind, object }))) => {
                    let object = object.decode();
                    segment.told = revision(&object);
                    segment.events.push((kind, object));
                }
                Some(Some(Ok(WatchEvent::Bookmark { .. }))) => panic!("a minute has not passed"),
                Some(Some(Err(error))) => {
                    assert_eq!(error.reason(), "Expired", "{error}");
                    break true;
                }
                Some(None) => panic!("the server goes on"),
                None => {
                    let all = self.world.end.load(Ordering::Acquire) > 0;
                    if let Some(WatchEvent::Bookmark { revision, .. }) = watch.closing_bookmark() {
                        segment.told = revision;
                    }
                    if all {
                        break false;
                    }
                }
            }
            left -= 1;
            if left == 0 {
                break false;
            }
        };
        let told = segment.told;
        self.seen.segments.push(segment);
        if expired { Box::pin(self.begin_again()).await } else { told }
    }

    /// After falling behind: by a list, or by a watch that begins with what there is.
    async fn begin_again(&mut self) -> u64 {
        self.seen.expired += 1;
        if self.random.random_bool(0.5) {
            return self.list();
        }
        let mut watch = self.watch(None).unwrap();
        let mut items = Vec::new();
        while let Some(event) = watch.next().await {
            match event.unwrap() {
                WatchEvent::Change { kind, object } => {
                    assert_eq!(kind, EventType::Added);
                    items.push(object.decode());
                }
                WatchEvent::Bookmark { revision, initial_end } => {
                    assert!(initial_end, "the initial events are closed before anything else");
                    self.seen.lists.push(Listed { revision, items });
                    return self.follow(watch, revision).await;
                }
            }
        }
        panic!("the server goes on")
    }

    fn list(&mut self) -> u64 {
        let query = ListQuery { selection: self.selection(), ..ListQuery::default() };
        let found = self.world.found("configmaps");
        let page = self.world.registry.list(found.resource, Some("default"), &query).ok().unwrap();
        let items = page.items.iter().map(|stored| stored.decode()).collect();
        self.seen.lists.push(Listed { revision: page.revision, items });
        page.revision
    }
}

/// What a watcher of `wanted` is to see after `start` and up to `told`.
fn expected(history: &History, wanted: fn(&Value) -> bool, start: u64, told: u64) -> Vec<(EventType, Value)> {
    let mut state: BTreeMap<String, Value> = BTreeMap::new();
    let mut events = Vec::new();
    for (revision, (object, deleted)) in history.range(..=told) {
        let name = object.name().to_owned();
        let old = state.remove(&name);
        let had = old.as_ref().is_some_and(wanted);
        let has = !deleted && wanted(object);
        if !deleted {
            state.insert(name, object.clone());
        }
        let event = match (had, has) {
            (false, true) => (EventType::Added, object.clone()),
            (true, true) => (EventType::Modified, object.clone()),
            (true, false) => {
                // The last object that matched, under the revision of what made it leave.
                let mut last = old.unwrap_or_default();
                last["metadata"]["resourceVersion"] = revision.to_string().into();
                (EventType::Deleted, last)
            }
            (false, false) => continue,
        };
        if *revision > start {
            events.push(event);
        }
    }
    events
}

fn listed(history: &History, wanted: fn(&Value) -> bool, at: u64) -> Vec<Value> {
    let mut state: BTreeMap<&str, &Value> = BTreeMap::new();
    for (object, deleted) in history.range(..=at).map(|(_, known)| known) {
        state.remove(object.name());
        if !deleted {
            state.insert(object.name(), object);
        }
    }
    state.into_values().filter(|object| wanted(object)).cloned().collect()
}

/// A history that every round outgrows, and one that none does.
const HISTORIES: [usize; 2] = [16 << 10, 64 << 20];

/// One store with its writers and watchers; answers how often a watcher had to list again.
async fn round(seed: u64, history_bytes_max: usize) -> usize {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut config = storage::Config::new(directory.path().join("db"));
    config.history_bytes_max = history_bytes_max;
    let store = storage::Storage::open(config).await.unwrap();
    let services = ServiceOptions::default();
    let options = registry::Options { storage: store.clone(), resources: apis::all(), services };
    let registry = Registry::new(options).unwrap();
    let world = Arc::new(World { registry, user: UserInfo::new("test", []), end: AtomicU64::new(0) });

    let before = world.registry.revision();
    let mut history = History::new();
    let mut watchers = Vec::new();
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let (world, mut random) = (world.clone(), StdRng::seed_from_u64(seed ^ (writer << 8)));
        writers.push(tokio::spawn(async move {
            let mut done = Vec::new();
            for _ in 0..WRITES {
                done.extend(world.write(&mut random).await);
            }
            done
        }));
    }
    for number in 0..WATCHERS {
        let (world, mut random) = (world.clone(), StdRng::seed_from_u64(seed ^ (number << 16)));
        watchers.push(tokio::spawn(async move {
            let selector = SELECTORS[(number % 4) as usize];
            let breaks = random.random_range(0..200);
            let watcher = Watcher { world: &world, selector, random, seen: Seen::default() };
            if number == 0 {
                return (selector, watcher.oversleep(before).await);
            }
            for _ in 0..breaks {
                tokio::task::yield_now().await;
            }
            (selector, watcher.run().await)
        }));
    }
    for writer in writers {
        // A write that changes nothing answers what was there: the same revision and object again.
        for (object, deleted) in writer.await.unwrap() {
            history.insert(revision(&object), (object, deleted));
        }
    }
    world.end.store(world.registry.revision(), Ordering::Release);
    let (mut expired, mut events) = (0, 0);
    for watcher in watchers {
        let (selector, seen) = watcher.await.unwrap();
        let shown = format!("CORACLE_TEST_SEED={seed} {:?}", (selector.0, selector.1));
        for segment in &seen.segments {
            let wanted = expected(&history, selector.2, segment.start, segment.told);
            assert_eq!(segment.events, wanted, "{shown} from {} to {}", segment.start, segment.told);
        }
        for list in &seen.lists {
            assert_eq!(list.items, listed(&history, selector.2, list.revision), "{shown} at {}", list.revision);
        }
        expired += seen.expired;
        events += seen.segments.iter().map(|segment| segment.events.len()).sum::<usize>();
    }
    println!("{events} events, {expired} lists after falling behind");
    store.shutdown().await;
    expired
}

#[tokio::test(flavor = "multi_thread")]
async fn watchers_miss_nothing_see_nothing_twice_and_go_on_without_a_gap() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let time = Duration::from_secs(number("CORACLE_WATCH_SECONDS").unwrap_or(2));
    let (first, started) = (number("CORACLE_TEST_SEED"), Instant::now());
    loop {
        let seed = first.unwrap_or_else(rand::random);
        println!("CORACLE_TEST_SEED={seed}");
        let [small, _large] = [round(seed, HISTORIES[0]).await, round(seed, HISTORIES[1]).await];
        assert!(small > 0, "the watcher that overslept fell behind a small history");
        if started.elapsed() >= time {
            break;
        }
    }
}
