//! Disks that do not go on, in a group.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::cluster::{Cluster, SOON, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_disk_hangs_hands_over_and_follows_when_it_is_well() {
    let cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    let through = cluster.follower().await;
    cluster.disks[&leader].stall(true);
    // The leader is in the middle of a write when it notices.
    cluster.write(through, "/meanwhile").await;
    eventually("another leads", || cluster.nodes[&through].leader().is_some_and(|now| now != leader)).await;
    cluster.write(through, "/after").await;
    cluster.disks[&leader].stall(false);
    cluster.settle().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_disk_is_full_hands_over_and_the_write_goes_through() {
    let cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    let through = cluster.follower().await;
    cluster.disks[&leader].limit_space(Some(0));
    let writing = async {
        for number in 0..400 {
            cluster.write(through, &format!("/k/{number}")).await;
        }
    };
    timeout(SOON, writing).await.expect("every write goes through");
    assert_ne!(cluster.nodes[&through].leader(), Some(leader));
    cluster.disks[&leader].limit_space(None);
    cluster.settle().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_whose_disk_hangs_slows_nobody() {
    let cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    let slow = cluster.follower().await;
    let term = cluster.term(leader);
    let timed = async |from: usize| {
        let begun = Instant::now();
        for number in from..from + 200 {
            cluster.write(leader, &format!("/k/{number}")).await;
        }
        begun.elapsed()
    };
    let before = timed(0).await;
    cluster.disks[&slow].stall(true);
    let during = timed(200).await;
    cluster.disks[&slow].stall(false);
    assert!(during < before * 4 + Duration::from_millis(500), "{during:?} against {before:?}");
    cluster.settle().await;
    assert_eq!(cluster.term(leader), term, "the leader stayed");
    cluster.stop().await;
}
