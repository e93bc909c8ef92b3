use apimachinery::UserInfo;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::json;

use super::queues::Queuing;
use super::seats::{LevelLimits, Usage};
use super::*;

const QUEUED: Option<Queuing> = Some(Queuing { queues: 8, hand: 2, length: 4 });

fn limits(nominal: u32, lower: u32, upper: u32) -> LevelLimits {
    LevelLimits { exempt: false, nominal, lower, upper, queuing: QUEUED }
}

fn table(levels: &[LevelLimits]) -> (Seats, Vec<LevelId>) {
    let mut seats = Seats::default();
    let named: Vec<(Arc<str>, LevelLimits)> =
        levels.iter().enumerate().map(|(at, limits)| (at.to_string().into(), limits.clone())).collect();
    let (ids, _) = seats.configure(&named);
    (seats, ids)
}

/// Lets `count` requests of one seat in; answers the seats of those that run.
fn fill(seats: &mut Seats, id: LevelId, count: u64) -> Vec<Seat> {
    let enter = |flow| match seats.enter(id, flow, 1, false) {
        Entry::Runs(seat) => Some(seat),
        _ => None,
    };
    (0..count).filter_map(enter).collect()
}

fn usage(seats: &mut Seats, id: LevelId) -> Usage {
    seats.usage(id).unwrap()
}

const SHORT: Duration = Duration::from_millis(1);

#[test]
fn a_level_borrows_what_others_lend_up_to_its_limit() {
    let (mut seats, ids) = table(&[limits(10, 4, 14), limits(10, 5, 100)]);
    assert_eq!(fill(&mut seats, ids[0], 30).len(), 14, "its own ten and four by its borrowing limit");
    assert_eq!(fill(&mut seats, ids[1], 30).len(), 6, "five of its own and what is left in the pool");
    let full = usage(&mut seats, ids[1]);
    assert_eq!((full.used, full.limit), (6, 6));
}

#[test]
fn a_lender_has_its_seats_back_as_soon_as_requests_end() {
    let (mut seats, ids) = table(&[limits(10, 2, 20), limits(10, 2, 20)]);
    let borrower = fill(&mut seats, ids[0], 30);
    assert_eq!(borrower.len(), 18);
    let waiting = usage(&mut seats, ids[0]).waiting;
    assert!(waiting > 0);
    assert_eq!(fill(&mut seats, ids[1], 6).len(), 2, "what it never lends");
    for (ended, seat) in borrower.into_iter().take(4).enumerate() {
        drop(seats.leave(seat, SHORT));
        assert_eq!(usage(&mut seats, ids[1]).used, 3 + ended as u32, "the lender goes first");
    }
    assert_eq!(usage(&mut seats, ids[0]).waiting, waiting, "the borrower got nothing meanwhile");
}

#[test]
fn who_has_more_than_his_part_does_not_pass_those_who_wait_for_theirs() {
    let (mut seats, ids) = table(&[limits(4, 1, 8), limits(4, 1, 8)]);
    let borrower = fill(&mut seats, ids[0], 7);
    // A wide request of the lender waits for two seats.
    let Entry::Waits { .. } = seats.enter(ids[1], 1, 3, false) else { panic!("there is one seat left for it") };
    drop(seats.leave(borrower[0], SHORT));
    assert_eq!(fill(&mut seats, ids[0], 1).len(), 0, "the seat is kept for the one who waits");
    drop(seats.leave(borrower[1], SHORT));
    assert_eq!(usage(&mut seats, ids[1]).used, 3);
}

#[test]
fn requests_beyond_the_queues_are_refused_and_patient_ones_are_not() {
    let (mut seats, ids) = table(&[limits(1, 1, 1)]);
    assert_eq!(fill(&mut seats, ids[0], 1).len(), 1);
    let enter = |seats: &mut Seats, patient| match seats.enter(ids[0], 7, 1, patient) {
        Entry::Waits { .. } => "waits",
        Entry::Refused(reason) => reason.as_str(),
        _ => "runs",
    };
    let outcomes: Vec<&str> = (0..9).map(|_| enter(&mut seats, false)).collect();
    assert_eq!(outcomes[..8], ["waits"; 8], "a hand of two queues of four");
    assert_eq!((outcomes[8], enter(&mut seats, true)), ("queue-full", "waits"));
    let (mut seats, ids) = table(&[LevelLimits { queuing: None, ..limits(1, 1, 1) }]);
    assert_eq!(fill(&mut seats, ids[0], 1).len(), 1);
    let Entry::Refused(reason) = seats.enter(ids[0], 1, 1, false) else { panic!("there are no queues") };
    assert_eq!(reason.as_str(), "concurrency-limit");
    assert!(matches!(seats.enter(ids[0], 1, 1, true), Entry::Runs(_)));
}

#[test]
fn exempt_requests_take_nothing_from_others() {
    let exempt = LevelLimits { exempt: true, queuing: None, ..limits(0, 0, 0) };
    let (mut seats, ids) = table(&[exempt, limits(2, 1, 4)]);
    assert_eq!(fill(&mut seats, ids[0], 1000).len(), 1000);
    assert_eq!(fill(&mut seats, ids[1], 3).len(), 2);
}

#[test]
fn a_level_that_is_gone_serves_whom_it_has_and_nobody_else() {
    let (mut seats, ids) = table(&[limits(1, 1, 1)]);
    let running = fill(&mut seats, ids[0], 1);
    let Entry::Waits { mut woken, seat, .. } = seats.enter(ids[0], 1, 1, false) else { panic!("it is full") };
    let (new, _) = seats.configure(&[("other".into(), limits(1, 1, 1))]);
    assert_ne!(new[0], ids[0]);
    wake(seats.leave(running[0], SHORT));
    assert!(woken.try_recv().is_ok(), "who waits there has his turn");
    drop(seats.leave(seat, SHORT));
    assert!(matches!(seats.enter(ids[0], 1, 1, false), Entry::Stale));
    let (again, _) = seats.configure(&[("other".into(), limits(5, 5, 5)), ("third".into(), limits(1, 1, 1))]);
    assert_eq!(again[0], new[0], "a level keeps its place");
    assert_ne!(again[1], ids[0], "a place that is used again has another generation");
    assert!(matches!(seats.enter(ids[0], 1, 1, false), Entry::Stale));
}

/// Random arrivals, ends, withdrawals and changes of limits; `CORACLE_TEST_SEED` repeats a run.
#[test]
fn seats_are_neither_lost_nor_given_twice_whatever_happens() {
    let seed = std::env::var("CORACLE_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("CORACLE_TEST_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    for _ in 0..40 {
        let mut choose = || {
            let nominal = random.random_range(1..20);
            limits(nominal, random.random_range(0..=nominal), nominal + random.random_range(0..20))
        };
        let levels: Vec<LevelLimits> = (0..3).map(|_| choose()).collect();
        let pool: u32 = levels.iter().map(|level| level.nominal - level.lower).sum();
        let (mut seats, ids) = table(&levels);
        let mut running: Vec<Seat> = Vec::new();
        let mut waiting: Vec<(Seat, u64, oneshot::Receiver<()>)> = Vec::new();
        for _ in 0..400 {
            match random.random_range(0..10) {
                0..5 => {
                    let at = random.random_range(0..3);
                    let width = random.random_range(1..=levels[at].nominal.min(4));
                    match seats.enter(ids[at], random.random_range(0..5), width, random.random_bool(0.1)) {
                        Entry::Runs(seat) => running.push(seat),
                        Entry::Waits { seat, id, woken, .. } => waiting.push((seat, id, woken)),
                        Entry::Refused(reason) => assert_eq!(reason, Refusal::QueueFull),
                        Entry::Stale => panic!("nothing was configured meanwhile"),
                    }
                }
                5..9 if !running.is_empty() => {
                    let seat = running.swap_remove(random.random_range(0..running.len()));
                    wake(seats.leave(seat, SHORT * random.random_range(0..20)));
                }
                9 if !waiting.is_empty() => {
                    let (seat, id, _) = waiting.swap_remove(random.random_range(0..waiting.len()));
                    let (withdrawn, woken) = seats.withdraw(seat, id);
                    wake(woken);
                    assert!(withdrawn, "whoever was woken was moved to those that run");
                }
                _ => {}
            }
            let (woken, still): (Vec<_>, Vec<_>) = waiting.into_iter().partition_map_ready();
            running.extend(woken);
            waiting = still;
            let used: Vec<u32> = ids.iter().map(|id| usage(&mut seats, *id).used).collect();
            let mut borrowed = 0;
            for (at, limits) in levels.iter().enumerate() {
                let held: u32 = running.iter().filter(|seat| seat.level == ids[at]).map(|seat| seat.width).sum();
                assert_eq!(used[at], held, "seed {seed}");
                assert!(used[at] <= limits.upper, "seed {seed}");
                borrowed += used[at].saturating_sub(limits.lower);
            }
            assert!(borrowed <= pool, "seed {seed}: {borrowed} of {pool}");
            assert!(!running.is_empty() || waiting.is_empty(), "seed {seed}: somebody waits for nobody");
        }
        while let Some(seat) = running.pop() {
            wake(seats.leave(seat, SHORT));
            let (woken, still) = waiting.into_iter().partition_map_ready();
            running.extend(woken);
            waiting = still;
        }
        assert!(waiting.is_empty(), "seed {seed}: all have had their turn");
        assert!(ids.iter().all(|id| usage(&mut seats, *id).used == 0));
    }
}

trait PartitionReady: Iterator<Item = (Seat, u64, oneshot::Receiver<()>)> + Sized {
    /// Those who were woken, and those who wait still.
    fn partition_map_ready(self) -> (Vec<Seat>, Vec<Self::Item>) {
        let (mut woken, mut still) = (Vec::new(), Vec::new());
        for (seat, id, mut receiver) in self {
            match receiver.try_recv() {
                Ok(()) => woken.push(seat),
                Err(_) => still.push((seat, id, receiver)),
            }
        }
        (woken, still)
    }
}

impl<I: Iterator<Item = (Seat, u64, oneshot::Receiver<()>)>> PartitionReady for I {}

/// One level of one seat that all requests are on.
fn narrow() -> Arc<Fairness> {
    let queuing = json!({ "queues": 4, "handSize": 1, "queueLengthLimit": 2 });
    let level = json!({ "metadata": { "name": "narrow", "uid": "level-uid" }, "spec": { "type": "Limited", "limited": {
        "nominalConcurrencyShares": 1, "limitResponse": { "type": "Queue", "queuing": queuing },
    } } });
    let schema = json!({ "metadata": { "name": "all", "uid": "schema-uid" }, "spec": {
        "priorityLevelConfiguration": { "name": "narrow" }, "matchingPrecedence": 2,
        "rules": [{ "subjects": [{ "kind": "User", "user": { "name": "*" } }],
            "resourceRules": [{ "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": true }] }],
    } });
    Arc::new(Fairness::new(&[level], &[schema], 1))
}

#[tokio::test]
async fn those_who_wait_have_their_turn_or_are_told_in_time() {
    let fairness = narrow();
    let user = UserInfo::new("bob", []);
    let request = Attributes::resource(&user, "list", "", "pods");
    let (short, patience) = (Some(Duration::from_millis(20)), Some(Duration::from_secs(20)));
    let (flow, first) = fairness.enter(&request, patience, 1).await;
    assert_eq!((flow.unwrap().schema_uid.clone(), first.is_ok()), (HeaderValue::from_static("schema-uid"), true));
    let (_, second) = fairness.enter(&request, short, 1).await;
    assert_eq!(second.err(), Some(Refusal::TimeOut));
    let waits = fairness.enter(&request, patience, 1);
    let gives_up = async { drop(first) };
    let ((_, third), ()) = tokio::join!(waits, gives_up);
    assert!(third.is_ok_and(|ticket| ticket.is_some()));
    assert!(fairness.enter(&request, patience, 1).await.1.is_ok(), "all seats were given back");
}

#[tokio::test]
async fn who_leaves_the_queue_leaves_nothing_behind() {
    let fairness = narrow();
    let user = UserInfo::new("bob", []);
    let request = Attributes::resource(&user, "list", "", "pods");
    let first = fairness.enter(&request, None, 1).await.1;
    for given in [false, true] {
        let mut waiting = Box::pin(fairness.enter(&request, None, 1));
        assert!(futures::poll!(&mut waiting).is_pending());
        if given {
            // The turn comes, and nobody is there to see it.
            drop(fairness.enter(&request, Some(Duration::ZERO), 1).await);
        }
        drop(waiting);
        let id = fairness.index.load().levels[0].1;
        let usage = fairness.seats.lock().usage(id).unwrap();
        assert_eq!((usage.used, usage.waiting), (1, 0));
    }
    let mut waiting = Box::pin(fairness.enter(&request, None, 1));
    assert!(futures::poll!(&mut waiting).is_pending());
    drop(first);
    drop(waiting);
    let id = fairness.index.load().levels[0].1;
    assert_eq!(fairness.seats.lock().usage(id).unwrap().used, 0, "a seat given to one who left comes back");
}

#[tokio::test]
async fn users_without_groups_and_schemas_without_levels_are_caught() {
    let schema = json!({ "metadata": { "name": "lost" }, "spec": {
        "priorityLevelConfiguration": { "name": "nowhere" }, "matchingPrecedence": 2,
        "rules": [{ "subjects": [{ "kind": "User", "user": { "name": "*" } }],
            "resourceRules": [{ "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"] }] }],
    } });
    let fairness = Arc::new(Fairness::new(&[], &[schema], 10));
    for user in [UserInfo { name: "loner".to_owned(), ..UserInfo::default() }, UserInfo::new("bob", [])] {
        let request = Attributes { namespace: "a", ..Attributes::resource(&user, "get", "", "pods") };
        let (flow, outcome) = fairness.enter(&request, Some(Duration::ZERO), 1).await;
        assert_eq!((flow.unwrap().name(), outcome.is_ok()), ("catch-all", true));
    }
    let master = UserInfo::new("admin", ["system:masters"]);
    let request = Attributes::resource(&master, "get", "", "pods");
    assert_eq!(fairness.enter(&request, None, 1).await.0.unwrap().name(), "exempt");
}

/// Prints what a request pays that finds a seat: `cargo test -p apiserver --release what_an_entry -- --ignored --nocapture`.
#[tokio::test]
#[ignore = "a measurement"]
async fn what_an_entry_costs() {
    let fairness = Arc::new(Fairness::default());
    for user in [UserInfo::new("admin", ["system:masters"]), UserInfo::new("bob", [])] {
        let request = Attributes { namespace: "a", ..Attributes::resource(&user, "get", "", "pods") };
        let (rounds, started) = (1_000_000, Instant::now());
        for _ in 0..rounds {
            drop(fairness.enter(&request, Some(SHORT), 1).await);
        }
        println!("{}: {} ns", user.name, started.elapsed().as_nanos() / rounds);
    }
}
