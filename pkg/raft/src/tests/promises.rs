//! What a group promises over changes of its leader: acknowledged writes stay, and watches miss nothing. The same history
//! is run with planted bugs, which have to be found.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use mvcc::{Event, Outcome, Watcher};
use tokio::time::timeout;

use super::cluster::{Cluster, SOON};
use super::create;
use super::sim_disk::Random;
use crate::Node;

/// When a write is called acknowledged.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Acknowledges {
    /// As the store does.
    WhenApplied,
    /// The bug: when it is in the log of the member that was asked.
    BeforeQuorum,
}

/// Where a watch goes on after its member is gone.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Resumes {
    /// Behind the last change that it saw.
    Behind,
    /// The bug: with what is newest.
    AtNewest,
}

/// One who follows all changes, on whatever member there is.
struct Follower {
    watcher: Watcher,
    last: u64,
    seen: VecDeque<Arc<Event>>,
    resumes: Resumes,
}

impl Follower {
    fn new(node: &Node, resumes: Resumes) -> Self {
        let last = node.store().revision().get();
        Self { watcher: node.store().watch(b"/", last).unwrap(), last, seen: VecDeque::new(), resumes }
    }

    /// Takes what is there.
    fn look(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        while let Poll::Ready(Ok(())) = self.watcher.poll(&mut context, 64, &mut self.seen) {}
    }

    async fn until(&mut self, revision: u64) {
        while self.seen.back().is_none_or(|event| event.revision().get() < revision) {
            std::future::poll_fn(|context| self.watcher.poll(context, 64, &mut self.seen)).await.unwrap();
        }
    }

    fn go_on(&mut self, node: &Node) {
        let last = self.seen.back().map_or(self.last, |event| event.revision().get());
        let from = match self.resumes {
            Resumes::Behind => last,
            Resumes::AtNewest => node.store().revision().get(),
        };
        self.watcher = node.store().watch(b"/", from).unwrap();
    }
}

/// Whether a write through `node` was acknowledged.
async fn write(node: &Arc<Node>, key: &str, acknowledges: Acknowledges) -> bool {
    let transaction = create(key, 200);
    if acknowledges == Acknowledges::WhenApplied {
        return matches!(node.propose(&transaction).await, Ok(Outcome::Committed(_)));
    }
    let before = node.core().log.last_log_id();
    let proposing = node.clone();
    let proposed = tokio::spawn(async move { proposing.propose(&transaction).await });
    let taken = async {
        while node.core().log.last_log_id() <= before {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = taken => true,
        answer = proposed => matches!(answer, Ok(Ok(Outcome::Committed(_)))),
    }
}

/// Leaders are cut off, replaced and killed. What promises were broken.
async fn history(seed: u64, acknowledges: Acknowledges, resumes: Resumes) -> Vec<String> {
    let mut random = Random(seed);
    let mut cluster = Cluster::new();
    // The changes of members while others are away come by the log.
    cluster.config.entries_kept = 10_000;
    cluster.config.proposal_timeout = Duration::from_millis(700);
    cluster.grow_to(3).await;
    let first = cluster.leader().await;
    let mut follower = Follower::new(&cluster.nodes[&first], resumes);
    let mut acknowledged = Vec::new();
    for round in 0..2 {
        let leader = cluster.leader().await;
        follower.look();
        follower.go_on(&cluster.nodes[&leader]);
        let others: Vec<_> = (1..=3).filter(|id| *id != leader).collect();
        for number in 0..1 + random.below(4) {
            let key = format!("/together/{round}/{number}");
            cluster.write(others[random.below(2) as usize], &key).await;
            acknowledged.push(key);
        }
        cluster.net.split(&[leader], &others);
        for number in 0..1 + random.below(2) {
            let key = format!("/alone/{round}/{number}");
            if write(&cluster.nodes[&leader], &key, acknowledges).await {
                acknowledged.push(key);
            }
        }
        for number in 0..1 + random.below(4) {
            let key = format!("/others/{round}/{number}");
            cluster.write(others[random.below(2) as usize], &key).await;
            acknowledged.push(key);
        }
        follower.look();
        cluster.kill(leader).await;
        cluster.net.heal();
        follower.go_on(&cluster.nodes[&others[random.below(2) as usize]]);
        cluster.start(leader).await.ready(SOON).await.unwrap();
        let key = format!("/after/{round}");
        cluster.write(leader, &key).await;
        acknowledged.push(key);
    }
    let until = cluster.settle().await;
    timeout(SOON, follower.until(until)).await.expect("the watch comes to the end");
    let broken = check(&cluster, &acknowledged, &follower, until);
    cluster.stop().await;
    broken
}

fn check(cluster: &Cluster, acknowledged: &[String], follower: &Follower, until: u64) -> Vec<String> {
    let mut broken = Vec::new();
    for (id, node) in &cluster.nodes {
        let lost = acknowledged.iter().filter(|key| node.store().get(key.as_bytes()).is_none());
        broken.extend(lost.map(|key| format!("{key} was acknowledged and member {id} does not have it")));
    }
    let truth = cluster.nodes.values().next().unwrap().store().snapshot();
    let mut expected = follower.last + 1;
    for event in &follower.seen {
        let (revision, key) = (event.revision().get(), String::from_utf8_lossy(event.key()));
        if revision != expected {
            broken.push(format!("the watch saw {revision} where {expected} was next"));
        }
        expected = revision + 1;
        // Each key is written once.
        if truth.get(event.key()).is_none_or(|record| record.mod_revision().get() != revision) {
            broken.push(format!("the watch saw {key} at {revision}, which did not happen"));
        }
    }
    if expected != until + 1 {
        broken.push(format!("the watch ended before {expected}, the history at {until}"));
    }
    broken
}

const SEED: u64 = 0x0dd_ba11;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_writes_stay_and_watches_miss_nothing_over_changes_of_leader() {
    for seed in [SEED, SEED + 1] {
        eprintln!("seed {seed:#x}");
        let broken = history(seed, Acknowledges::WhenApplied, Resumes::Behind).await;
        assert_eq!(broken, Vec::<String>::new(), "seed {seed:#x}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledgement_before_a_quorum_is_found() {
    eprintln!("seed {SEED:#x}");
    let broken = history(SEED, Acknowledges::BeforeQuorum, Resumes::Behind).await;
    assert!(broken.iter().any(|what| what.starts_with("/alone/")), "{broken:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gap_in_a_watch_over_a_change_of_leader_is_found() {
    eprintln!("seed {SEED:#x}");
    let broken = history(SEED, Acknowledges::WhenApplied, Resumes::AtNewest).await;
    assert!(broken.iter().any(|what| what.starts_with("the watch saw")), "{broken:#?}");
}
