//! Groups of several: how they come about, what they outlive, and what each member shows.

use std::time::Duration;

use super::cluster::{Cluster, SOON, eventually, name, written};
use super::{change, create};
use crate::ProposeError;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_of_one_grows_to_three_and_outlives_its_leader() {
    let mut cluster = Cluster::new();
    let first = cluster.start(1).await;
    // So much that the log no longer begins at the beginning: joiners need the whole state.
    for number in 0..60 {
        change(&first, &create(&format!("/k/{number}"), 700)).await.unwrap();
    }
    first.checkpoint().await.unwrap();
    cluster.grow_to(3).await;
    assert_eq!(cluster.nodes[&3].cluster_id(), Some(77), "a joiner takes the cluster's identity over");
    cluster.write(1, "/three").await;
    let revision = cluster.settle().await;
    assert!(cluster.nodes[&3].store().get(b"/k/0").is_some(), "the state came along");

    let leader = cluster.leader().await;
    cluster.kill(leader).await;
    let through = *cluster.nodes.keys().next().unwrap();
    let after = cluster.write(through, "/after").await;
    assert!(after > revision);
    cluster.settle().await;

    // It comes back with its old data, at another address, and catches up.
    cluster.start(leader).await.ready(SOON).await.unwrap();
    assert!(cluster.nodes[&leader].store().get(b"/after").is_some(), "ready means up to date");
    cluster.settle().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_member_takes_writes_and_shows_them_at_once() {
    let cluster = Cluster::of(3).await;
    for number in 0..30 {
        let (writer, reader) = (1 + number % 3, 1 + (number + 1) % 3);
        let key = format!("/k/{number}");
        let event = change(&cluster.nodes[&writer], &create(&key, 300)).await.unwrap();
        let own = cluster.nodes[&writer].store().get(key.as_bytes()).expect("who writes reads its write");
        assert_eq!(own.mod_revision(), event.revision());
        assert_eq!(own.body(), event.record.body());
        let reader = &cluster.nodes[&reader];
        reader.read_barrier().await.unwrap();
        let read = reader.store().get(key.as_bytes()).expect("what was acknowledged is read everywhere");
        assert_eq!(read.mod_revision(), event.revision());
    }
    // A conflict shows what is there, on whatever member it was asked for.
    for id in 1..=3 {
        let outcome = cluster.nodes[&id].propose(&create("/k/7", 10)).await.unwrap();
        let mvcc::Outcome::Conflict { precondition: 0, current: Some(current) } = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(current.key(), b"/k/7");
    }
    cluster.settle().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_that_come_together_ask_once() {
    let cluster = Cluster::of(3).await;
    let follower = cluster.nodes[&cluster.follower().await].clone();
    let before = follower.statistics().read_rounds;
    let readers: Vec<_> = (0..200)
        .map(|_| {
            let follower = follower.clone();
            tokio::spawn(async move { follower.read_barrier().await })
        })
        .collect();
    for reader in readers {
        reader.await.unwrap().unwrap();
    }
    let rounds = follower.statistics().read_rounds - before;
    assert!((1..=100).contains(&rounds), "{rounds} rounds for 200 readers");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_majority_writes_and_reads_say_so_and_go_on_after() {
    let mut cluster = Cluster::new();
    cluster.config.read_timeout = Duration::from_millis(700);
    cluster.config.proposal_timeout = Duration::from_secs(1);
    cluster.grow_to(3).await;
    cluster.write(1, "/before").await;
    cluster.settle().await;
    let leader = cluster.leader().await;
    let others: Vec<_> = (1..=3).filter(|id| *id != leader).collect();
    cluster.net.split(&[leader], &others);
    cluster.net.split(&[others[0]], &[others[1]]);
    for (id, node) in &cluster.nodes {
        // The first may have been in the old leader's lease.
        let mut error = None;
        for number in 0..3 {
            error = node.propose(&create(&format!("/lost/{id}/{number}"), 10)).await.err();
        }
        let error = error.expect("nobody takes writes");
        assert!(matches!(error, ProposeError::NoQuorum(_) | ProposeError::Timeout), "{id}: {error}");
        let error = node.read_barrier().await.expect_err("nobody knows what is newest");
        let ProposeError::NoQuorum(text) = &error else { panic!("{id}: {error}") };
        assert!(text.contains("servers"), "{text}");
        assert!(node.store().get(b"/before").is_some(), "what is here can be read");
        assert!(node.members().await.iter().all(|member| member.id == *id || !member.reachable()));
    }
    cluster.net.heal();
    cluster.write(others[0], "/after").await;
    cluster.settle().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_cut_off_is_replaced_and_what_it_took_alone_is_gone() {
    let cluster = Cluster::of(3).await;
    let old = cluster.leader().await;
    let others: Vec<_> = (1..=3).filter(|id| *id != old).collect();
    cluster.net.split(&[old], &others);
    // It takes this into its log and never hears from a majority.
    let alone = cluster.nodes[&old].clone();
    let lost = tokio::spawn(async move { alone.propose(&create("/lost", 10)).await });
    cluster.write(others[0], "/kept").await;
    assert!(cluster.nodes[&old].store().get(b"/kept").is_none());
    cluster.net.heal();
    eventually("the old leader follows", || cluster.nodes[&old].leader().is_some_and(|leader| leader != old)).await;
    let lost = lost.await.unwrap();
    assert!(
        matches!(lost, Err(ProposeError::Timeout) | Ok(mvcc::Outcome::Committed(_))),
        "what may have happened is not called refused: {lost:?}"
    );
    cluster.settle().await;
    assert_eq!(lost.is_ok(), cluster.nodes[&old].store().get(b"/lost").is_some());
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_heard_but_does_not_hear_is_replaced() {
    let cluster = Cluster::of(3).await;
    let old = cluster.leader().await;
    let others: Vec<_> = (1..=3).filter(|id| *id != old).collect();
    for other in &others {
        cluster.net.cut(*other, old);
    }
    cluster.write(others[0], "/after").await;
    assert!(others.contains(&cluster.nodes[&others[0]].leader().unwrap()));
    cluster.net.heal();
    cluster.settle().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_broken_way_between_followers_changes_nothing() {
    let cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    let others: Vec<_> = (1..=3).filter(|id| *id != leader).collect();
    cluster.net.split(&[others[0]], &[others[1]]);
    let term = cluster.term(leader);
    for number in 0..40 {
        cluster.write(others[number % 2], &format!("/k/{number}")).await;
    }
    assert_eq!(cluster.term(leader), term, "nobody called an election");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_stands_still_slows_nobody_and_catches_up() {
    let mut cluster = Cluster::new();
    cluster.grow_to(3).await;
    let leader = cluster.leader().await;
    let slow = cluster.follower().await;
    // Its answers are lost, and what it is sent is not taken from the wire.
    cluster.net.split(&[slow], &[leader]);
    let through = (1..=3).find(|id| *id != slow && *id != leader).unwrap();
    for number in 0..300 {
        cluster.write(through, &format!("/k/{number}")).await;
    }
    assert!(cluster.nodes[&slow].store().get(b"/k/299").is_none());
    cluster.net.heal();
    cluster.settle().await;
    assert_eq!(cluster.nodes[&slow].store().snapshot().len(), 300);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutting_the_leader_down_hands_the_lead_over() {
    let mut cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    let node = cluster.nodes.remove(&leader).unwrap();
    let term = cluster.term_of(&node);
    node.shutdown().await;
    let next = cluster.leader().await;
    assert_ne!(next, leader);
    assert_eq!(cluster.term(next), term + 1, "without a vacancy in between");
    cluster.write(next, "/after").await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_members_outlive_two() {
    let mut cluster = Cluster::of(5).await;
    for round in 0..2 {
        let leader = cluster.leader().await;
        cluster.kill(leader).await;
        let through = *cluster.nodes.keys().next().unwrap();
        cluster.write(through, &format!("/after/{round}")).await;
    }
    assert_eq!(cluster.nodes.len(), 3);
    cluster.settle().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_sees_every_change_once_while_leaders_come_and_go() {
    let mut cluster = Cluster::of(3).await;
    let watching = cluster.nodes[&cluster.follower().await].clone();
    let mut watcher = watching.store().watch(b"/", watching.store().revision().get()).unwrap();
    let from = watching.store().revision().get();
    for round in 0..3 {
        for number in 0..20 {
            written(&watching, &format!("/k/{round}/{number}")).await;
        }
        let leader = cluster.leader().await;
        if leader == watching.id() {
            watching.hand_over().await;
        } else {
            cluster.kill(leader).await;
            written(&watching, &format!("/k/{round}/last")).await;
            cluster.start(leader).await.ready(SOON).await.unwrap();
        }
    }
    let until = watching.store().revision().get();
    let mut seen = std::collections::VecDeque::new();
    while seen.len() < (until - from) as usize {
        std::future::poll_fn(|context| watcher.poll(context, 64, &mut seen)).await.unwrap();
    }
    let revisions: Vec<_> = seen.iter().map(|event| event.revision().get()).collect();
    assert_eq!(revisions, (from + 1..=until).collect::<Vec<_>>());
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_are_listed_alike_everywhere() {
    let cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    for node in cluster.nodes.values() {
        let members = node.members().await;
        let names: Vec<_> = members.iter().map(|member| member.name.clone()).collect();
        assert_eq!(names, (1..=3).map(name).collect::<Vec<_>>());
        assert!(members.iter().all(|member| member.voter && member.leader == (member.id == leader)));
        assert!(members.iter().all(crate::Member::reachable), "{members:?}");
        assert!(members.iter().all(|member| member.matched.is_some()), "{members:?}");
    }
    cluster.stop().await;
}

/// Seconds of processor time that this process has used.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // Behind the name, which may hold anything: fields 14 and 15, in hundredths.
    let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_ascii_whitespace().collect();
    fields[11..13].iter().map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / 100.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_group_with_a_dead_member_rests() {
    let mut cluster = Cluster::of(3).await;
    let dead = cluster.follower().await;
    cluster.kill(dead).await;
    cluster.leader().await;
    let (used, fsyncs) = (processor_seconds(), cluster.fsyncs());
    tokio::time::sleep(Duration::from_secs(3)).await;
    let used = processor_seconds() - used;
    // What goes round in a loop takes all of one.
    assert!(used < 1.5, "{used} s of 3 s");
    assert_eq!(cluster.fsyncs(), fsyncs, "nothing is written when nothing happens");
    cluster.stop().await;
}
