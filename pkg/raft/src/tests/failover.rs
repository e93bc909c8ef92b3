//! How long a group is without a leader that takes writes.
//!
//! `FAILOVERS=100 cargo nextest run -p raft time_to_the_first --no-capture` prints the distribution of so many.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::cluster::{Cluster, SOON, written};
use super::sim_disk::Random;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn time_to_the_first_acknowledged_write_after_the_leader_died() {
    let rounds: usize = std::env::var("FAILOVERS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(4);
    let mut cluster = Cluster::of(3).await;
    let mut times = Vec::new();
    for round in 0..rounds {
        let leader = cluster.leader().await;
        // Not always the same moment between two heartbeats.
        tokio::time::sleep(Duration::from_millis(round as u64 * 37 % 100)).await;
        let through = cluster.follower().await;
        let node = cluster.nodes[&through].clone();
        cluster.net.kill(leader);
        let begun = Instant::now();
        let key = format!("/k/{round}");
        timeout(SOON, written(&node, &key)).await.expect("somebody leads");
        times.push(begun.elapsed());
        cluster.nodes.remove(&leader).unwrap().abort().await;
        cluster.start(leader).await.ready(SOON).await.unwrap();
    }
    cluster.settle().await;
    cluster.stop().await;
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize];
    eprintln!("{rounds} failovers: 50% {:?}, 90% {:?}, 99% {:?}, worst {:?}", at(0.5), at(0.9), at(0.99), at(1.0));
    // The machine may be busy with other things; the design is 0.5 to 0.9 s.
    assert!(at(1.0) < Duration::from_secs(10), "{times:?}");
}

/// Its log may end with entries that it had committed, which it does not know any more: what it read without a new term
/// would be from before them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_starts_again_leads_only_when_it_is_elected_again() {
    let mut cluster = Cluster::new();
    cluster.keep_addresses = true;
    cluster.grow_to(3).await;
    let leader = cluster.leader().await;
    for number in 0..5 {
        cluster.write(leader, &format!("/k/{number}")).await;
    }
    // Before it has written a checkpoint.
    let disk = cluster.disks[&leader].after_crash(&mut Random(1));
    for id in 1..=3 {
        cluster.kill(id).await;
    }
    cluster.disks.insert(leader, disk);
    let node = cluster.start(leader).await;
    assert_ne!(node.leader(), Some(leader), "without the others");
    let other = (1..=3).find(|id| *id != leader).unwrap();
    cluster.start(other).await;
    node.ready(SOON).await.unwrap();
    assert!(node.store().get(b"/k/4").is_some());
    cluster.stop().await;
}
