//! The whole state on its way to a member: interrupted, resumed, and cut off by a loss of power.

use std::sync::Arc;

use super::cluster::{Cluster, SOON, eventually};
use super::sim_disk::Random;
use super::{change, create};

/// A group of two whose log begins late, so that a third needs the whole state: a few megabytes.
async fn with_much() -> Cluster {
    let cluster = Cluster::of(2).await;
    let leader = cluster.nodes[&cluster.leader().await].clone();
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let leader = leader.clone();
            tokio::spawn(async move {
                for number in 0..200 {
                    change(&leader, &create(&format!("/k/{writer}/{number:03}"), 3000)).await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    for node in cluster.nodes.values() {
        node.checkpoint().await.unwrap();
    }
    cluster.settle().await;
    cluster
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_that_is_interrupted_goes_on_where_it_was() {
    let mut cluster = with_much().await;
    cluster.start(3).await;
    let leader = cluster.leader().await;
    cluster.net.count(leader, 3);
    // Four times on the way through 5 MB.
    for _ in 0..4 {
        cluster.net.break_after(leader, 3, 1 << 20);
        if cluster.nodes[&3].core().nodes().is_empty() {
            cluster.add(1, 3).await.unwrap();
        }
        eventually("the connection breaks", || !cluster.net.will_break(leader, 3)).await;
        assert!(cluster.nodes[&3].store().get(b"/k/0/000").is_none(), "it is not there yet");
    }
    cluster.nodes[&3].ready(SOON).await.unwrap();
    cluster.settle().await;
    let carried = cluster.net.counted(leader, 3);
    assert!(carried < 9 << 20, "{carried} bytes for 5 MB: it was not begun anew each time");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_members_come_with_the_state() {
    let mut cluster = with_much().await;
    cluster.start(3).await;
    cluster.join(3).await;
    let leader = cluster.leader().await;
    // It was a voter by the state, not by the log: what it knows must be enough to lead.
    let members = cluster.nodes[&3].core().machine.members();
    assert_eq!(members, 3);
    if leader != 3 {
        cluster.kill(leader).await;
    }
    cluster.write(3, "/after").await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn power_is_lost_while_a_state_is_taken_over() {
    let mut random = Random(0x5eed);
    eprintln!("seed {:#x}", random.0);
    let mut cluster = with_much().await;
    let through = 1;
    let mut crashes = 0;
    for round in 0..12 {
        let id = 10 + round;
        cluster.start(id).await;
        // Anywhere in what it does with the state, or after it.
        let disk = cluster.disks[&id].clone();
        disk.crash_at(1 + random.below(60));
        cluster.add(through, id).await.unwrap();
        tokio::select! {
            () = disk.crashed() => crashes += 1,
            ready = cluster.nodes[&id].ready(SOON) => ready.unwrap(),
        }
        cluster.net.kill(id);
        cluster.nodes.remove(&id).unwrap().abort().await;
        cluster.disks.insert(id, disk.after_crash(&mut random));
        let node: Arc<_> = cluster.start(id).await;
        // It listens elsewhere now, and may not know of a group yet.
        cluster.add(through, id).await.unwrap();
        node.ready(SOON).await.unwrap();
        assert!(node.store().get(b"/k/7/199").is_some());
        cluster.settle().await;
        cluster.nodes[&through].remove_member(id).await.unwrap();
        cluster.kill(id).await;
    }
    eprintln!("lost power {crashes} times");
    assert!(crashes >= 3, "{crashes}");
    cluster.stop().await;
}
