//! Clients read and write registers on all members while the network and the members fail; what they saw is checked.
//!
//! `CHAOS_SECONDS=60 CHAOS_SEED=7 cargo nextest run -p raft registers_are --no-capture` makes one longer history.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use histories::register::{Action, Operation, linearizable};
use mvcc::{Outcome, Precondition, Record, Transaction};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use super::cluster::{Cluster, SOON};
use super::sim_disk::Random;
use crate::{Node, ProposeError};

const KEYS: u64 = 4;
const CLIENTS: u64 = 6;

/// What clients and the one who makes trouble share.
struct Shared {
    nodes: Mutex<Vec<Arc<Node>>>,
    histories: Mutex<Vec<Vec<Operation>>>,
    /// The order of beginnings and ends; a clock that all of them share.
    clock: AtomicU64,
    values: AtomicU64,
    stop: AtomicBool,
    unknown: AtomicU64,
}

impl Shared {
    fn now(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }
}

fn key(number: u64) -> Bytes {
    format!("/register/{number}").into()
}

/// The value is among the attributes: a body carries its revision.
fn put(key: Bytes, value: u64) -> mvcc::Operation {
    let attributes = Bytes::copy_from_slice(&value.to_le_bytes());
    mvcc::Operation::Put { key, body: Bytes::new(), stamp_at: 0, attributes }
}

fn value_of(record: Option<&Arc<Record>>) -> Option<u64> {
    record.map(|record| u64::from_le_bytes(record.attributes().try_into().unwrap()))
}

/// Reads, writes and swaps until told to stop.
async fn client(shared: Arc<Shared>, seed: u64) {
    let mut random = Random(seed);
    while !shared.stop.load(Ordering::SeqCst) {
        let node = {
            let nodes = shared.nodes.lock();
            nodes[random.below(nodes.len() as u64) as usize].clone()
        };
        let number = random.below(KEYS);
        let begun = shared.now();
        let seen = match random.below(3) {
            0 => read(&node, number).await,
            choice => write(&shared, &node, number, choice == 1).await,
        };
        // What surely did not happen was seen by nobody.
        let Some((action, known)) = seen else { continue };
        if !known {
            shared.unknown.fetch_add(1, Ordering::Relaxed);
        }
        let ended = known.then(|| shared.now());
        shared.histories.lock()[number as usize].push(Operation { action, begun, ended });
        sleep(Duration::from_millis(random.below(10))).await;
    }
}

async fn read(node: &Node, number: u64) -> Option<(Action, bool)> {
    node.read_barrier().await.ok()?;
    Some((Action::Read(value_of(node.store().get(&key(number)).as_ref())), true))
}

/// A write, or a swap of what this member has. The action and whether it is known to have happened.
async fn write(shared: &Shared, node: &Node, number: u64, swap: bool) -> Option<(Action, bool)> {
    let value = shared.values.fetch_add(1, Ordering::SeqCst);
    let (mut transaction, mut action) = (Transaction::default(), Action::Write(value));
    if swap {
        let there = node.store().get(&key(number));
        action = Action::Swap(value_of(there.as_ref()), value);
        transaction.preconditions.push(match &there {
            Some(record) => Precondition::unchanged(record),
            None => Precondition::Absent { key: key(number) },
        });
    }
    transaction.operations.push(put(key(number), value));
    match node.propose(&transaction).await {
        Ok(Outcome::Committed(_)) => Some((action, true)),
        // It says what is there instead: a read.
        Ok(Outcome::Conflict { current, .. }) => Some((Action::Read(value_of(current.as_ref())), true)),
        Ok(Outcome::Malformed(error)) => panic!("{error}"),
        Err(ProposeError::Timeout | ProposeError::Stopped(_)) => Some((action, false)),
        Err(_) => None,
    }
}

/// One thing that goes wrong, for a while.
async fn trouble(cluster: &mut Cluster, random: &mut Random) -> &'static str {
    let ids: Vec<_> = cluster.nodes.keys().copied().collect();
    let pick = |random: &mut Random| ids[random.below(ids.len() as u64) as usize];
    let one = pick(random);
    let leader = cluster.nodes[&one].leader().filter(|id| cluster.nodes.contains_key(id)).unwrap_or(one);
    let but = |id: u64| ids.iter().copied().filter(|other| *other != id).collect::<Vec<_>>();
    let while_it_lasts = Duration::from_millis(200 + random.below(1500));
    let what = match random.below(8) {
        0 => {
            cluster.net.split(&[leader], &but(leader));
            "the leader is cut off"
        }
        1 => {
            cluster.net.split(&[one], &but(one));
            "a member is cut off"
        }
        2 => {
            but(leader).into_iter().for_each(|other| cluster.net.cut(other, leader));
            "the leader hears nobody"
        }
        3 => {
            but(leader).into_iter().for_each(|other| cluster.net.cut(leader, other));
            "nobody hears the leader"
        }
        4 => {
            cluster.disks[&leader].stall(true);
            "the leader's disk hangs"
        }
        5 => {
            cluster.nodes[&leader].hand_over().await;
            "the leader hands over"
        }
        6 => {
            replace(cluster, one).await;
            "a member is replaced"
        }
        _ => {
            cluster.kill(leader).await;
            sleep(while_it_lasts).await;
            cluster.start(leader).await;
            "the leader is killed"
        }
    };
    sleep(while_it_lasts).await;
    cluster.net.heal();
    cluster.disks.values().for_each(|disk| disk.stall(false));
    what
}

/// One leaves for good, and a new one comes.
async fn replace(cluster: &mut Cluster, old: u64) {
    let new = cluster.disks.keys().max().map_or(1, |id| id + 1);
    let through = *cluster.nodes.keys().find(|id| **id != old).unwrap();
    match cluster.nodes[&through].remove_member(old).await {
        Ok(()) => {}
        // An election is under way: another time.
        Err(ProposeError::NoQuorum(_) | ProposeError::Membership(_)) => return,
        // It may have happened or happen still: it is asked for until it has.
        Err(_) => {
            let gone = |cluster: &Cluster| !cluster.nodes[&through].core().nodes().contains_key(&old);
            let until = Instant::now() + SOON;
            while !gone(cluster) {
                assert!(Instant::now() < until, "a removal that never ends");
                // Refused once it has happened.
                let _ = cluster.nodes[&through].remove_member(old).await;
                sleep(Duration::from_millis(20)).await;
            }
        }
    }
    cluster.kill(old).await;
    cluster.start(new).await;
    let until = Instant::now() + SOON;
    while let Err(error) = cluster.add(through, new).await {
        assert!(Instant::now() < until, "{error}");
    }
    cluster.nodes[&new].ready(SOON).await.unwrap();
}

fn number_from(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registers_are_linearizable_whatever_fails() {
    let seed = number_from("CHAOS_SEED", 0x00c0_ffee);
    let lasting = Duration::from_secs(number_from("CHAOS_SECONDS", 8));
    eprintln!("CHAOS_SEED={seed}");
    let mut random = Random(seed);
    let mut cluster = Cluster::new();
    cluster.config.read_timeout = Duration::from_secs(1);
    cluster.config.proposal_timeout = Duration::from_secs(1);
    cluster.grow_to(3).await;
    let shared = Arc::new(Shared {
        nodes: Mutex::new(cluster.nodes.values().cloned().collect()),
        histories: Mutex::new(vec![Vec::new(); KEYS as usize]),
        clock: AtomicU64::new(1),
        values: AtomicU64::new(1),
        stop: AtomicBool::new(false),
        unknown: AtomicU64::new(0),
    });
    let clients: Vec<_> =
        (0..CLIENTS).map(|number| tokio::spawn(client(shared.clone(), seed ^ (0x9e37 * (number + 1))))).collect();
    let until = Instant::now() + lasting;
    while Instant::now() < until {
        let what = trouble(&mut cluster, &mut random).await;
        eprintln!("{what}");
        *shared.nodes.lock() = cluster.nodes.values().cloned().collect();
        sleep(Duration::from_millis(random.below(600))).await;
    }
    shared.stop.store(true, Ordering::SeqCst);
    for client in clients {
        tokio::time::timeout(SOON, client).await.expect("clients come to their end").unwrap();
    }
    cluster.settle().await;
    cluster.stop().await;
    let histories = std::mem::take(&mut *shared.histories.lock());
    let operations: usize = histories.iter().map(Vec::len).sum();
    eprintln!("{operations} operations, {} of them unconfirmed", shared.unknown.load(Ordering::Relaxed));
    assert!(operations > 50, "{operations}");
    for (number, history) in histories.iter().enumerate() {
        assert!(linearizable(history), "register {number}, CHAOS_SEED={seed}: {history:#?}");
    }
}
