//! Members come, go, are replaced and come back.

use std::time::Duration;

use tokio::time::Instant;

use super::cluster::{Cluster, SOON, eventually, name};
use super::{change, create};
use crate::ProposeError;
use crate::caretaker::{Patience, transfer};
use crate::members::Change;

fn refused(result: Result<(), ProposeError>) -> String {
    match result {
        Err(ProposeError::Membership(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_member_is_refused_by_name_and_another_takes_its_place() {
    let mut cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    let gone = cluster.follower().await;
    let through = (1..=3).find(|id| *id != gone && *id != leader).unwrap();
    cluster.nodes[&through].remove_member(gone).await.unwrap();
    eventually("the removed one is told", || cluster.nodes[&gone].is_removed()).await;
    let error = change(&cluster.nodes[&gone], &create("/k", 10)).await.unwrap_err().to_string();
    assert!(error.contains("removed"), "{error}");
    let again = refused(cluster.add(through, gone).await);
    assert!(again.contains("removed") && again.contains("empty data directory"), "{again}");
    cluster.kill(gone).await;

    // With an emptied store it is another member.
    cluster.start(4).await;
    cluster.join(4).await;
    cluster.write(4, "/after").await;
    cluster.settle().await;
    let members = cluster.nodes[&4].members().await;
    assert_eq!(members.len(), 3);
    assert!(members.iter().all(|member| member.id != gone && member.voter));
    cluster.stop().await;
}

/// A group, the member that was removed from it while it did not run, and the others. Addresses stay whose they were.
async fn removed_while_away() -> (Cluster, u64, Vec<u64>) {
    let mut cluster = Cluster::of(3).await;
    cluster.keep_addresses = true;
    let gone = cluster.follower().await;
    cluster.kill(gone).await;
    let others: Vec<_> = cluster.nodes.keys().copied().collect();
    cluster.nodes[&others[0]].remove_member(gone).await.unwrap();
    (cluster, gone, others)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_slept_through_its_removal_is_told_also_by_those_who_started_since() {
    let (mut cluster, gone, others) = removed_while_away().await;
    for other in &others {
        cluster.kill(*other).await;
    }
    for other in &others {
        cluster.start(*other).await;
    }
    cluster.write(others[0], "/after").await;
    cluster.start(gone).await;
    eventually("the removed one is told", || cluster.nodes[&gone].is_removed()).await;
    assert!(others.iter().all(|other| !cluster.nodes[other].is_removed()));
    cluster.write(others[1], "/later").await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_member_is_told_by_whoever_has_the_addresses_of_those_it_knew() {
    let (mut cluster, gone, others) = removed_while_away().await;
    for (old, new) in others.into_iter().zip([4, 5]) {
        let through = *cluster.nodes.keys().find(|id| **id != old).unwrap();
        cluster.nodes[&through].remove_member(old).await.unwrap();
        cluster.kill(old).await;
        let address = cluster.addresses[&old].clone();
        cluster.addresses.insert(new, address);
        cluster.start(new).await;
        cluster.join(new).await;
        // Who dials the old one's address reaches the new one.
        cluster.net.revive(old);
    }
    cluster.start(gone).await;
    eventually("the removed one is told", || cluster.nodes[&gone].is_removed()).await;
    assert!([4, 5].iter().all(|new| !cluster.nodes[new].is_removed()));
    cluster.write(4, "/after").await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_saw_itself_leave_needs_nobody_to_tell_it() {
    let mut cluster = Cluster::of(3).await;
    cluster.keep_addresses = true;
    let leader = cluster.leader().await;
    assert!(leader == 1 || transfer(cluster.nodes[&leader].core(), 1).await);
    cluster.nodes[&1].remove_member(1).await.unwrap();
    eventually("it knows", || cluster.nodes[&1].is_removed()).await;
    cluster.kill(1).await;
    // Those who started since do not know it.
    for other in [2, 3] {
        cluster.kill(other).await;
        cluster.start(other).await;
    }
    assert!(cluster.start(1).await.is_removed(), "it knows from its start");
    cluster.write(2, "/after").await;
    assert!([2, 3].iter().all(|other| !cluster.nodes[other].is_removed()));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_joiner_that_was_let_go_may_try_again() {
    let mut cluster = Cluster::new();
    cluster.patience = Patience { silent: Duration::from_millis(500), total: SOON };
    cluster.grow_to(2).await;
    cluster.start(3).await;
    cluster.net.split(&[3], &[1, 2]);
    cluster.add(1, 3).await.unwrap();
    let core = cluster.nodes[&1].core().clone();
    eventually("the joiner is let go", || !core.nodes().contains_key(&3)).await;
    cluster.net.heal();
    // On a busy machine it is let go again before it has caught up, and asks again as a server does.
    let until = Instant::now() + SOON;
    while cluster.nodes[&3].ready(Duration::from_secs(1)).await.is_err() {
        assert!(Instant::now() < until, "it does not get in");
        cluster.add(1, 3).await.unwrap();
    }
    cluster.write(3, "/after").await;
    cluster.settle().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_to_join_gives_way_at_once_to_the_next_one_of_the_same_server() {
    let mut cluster = Cluster::of(1).await;
    cluster.start(2).await;
    cluster.net.split(&[2], &[1]);
    cluster.add(1, 2).await.unwrap();
    let address = cluster.addresses[&2].clone();
    cluster.kill(2).await;
    cluster.nodes[&1].add_member(3, &name(2), &address).await.unwrap();
    eventually("the earlier attempt is gone", || cluster.nodes[&1].member_ids() == [1, 3]).await;
    cluster.stop().await;
}

/// Until another one leads, it still has that office.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_was_removed_changes_the_members_no_more() {
    let mut cluster = Cluster::of(3).await;
    let gone = cluster.leader().await;
    cluster.start(4).await;
    let (core, address) = (cluster.nodes[&gone].core().clone(), cluster.addresses[&4].clone());
    core.change_here(Change::Remove { id: gone }).await.unwrap();
    let late = core.change_here(Change::Add { id: 4, name: name(4), address }).await;
    assert!(matches!(late, Err(ProposeError::NotLeader { .. })), "{late:?}");
    cluster.kill(gone).await;
    cluster.join(4).await;
    cluster.write(4, "/after").await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_can_be_removed() {
    let cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    cluster.nodes[&leader].remove_member(leader).await.unwrap();
    let others: Vec<_> = (1..=3).filter(|id| *id != leader).collect();
    eventually("another leads", || cluster.nodes[&others[0]].leader().is_some_and(|now| now != leader)).await;
    cluster.write(others[0], "/after").await;
    let members = cluster.nodes[&others[0]].members().await;
    assert_eq!(members.iter().map(|member| member.id).collect::<Vec<_>>(), others);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_member_gives_its_name_to_a_new_one_and_a_live_one_does_not() {
    let mut cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    let dead = cluster.follower().await;
    let live = (1..=3).find(|id| *id != dead && *id != leader).unwrap();
    cluster.start(4).await;
    let address = cluster.addresses[&4].clone();
    let text = refused(cluster.nodes[&live].add_member(4, &name(live), &address).await);
    assert!(text.contains(&name(live)) && text.contains("answers"), "{text}");
    cluster.kill(dead).await;
    let text = refused(cluster.nodes[&live].remove_member(live).await);
    assert!(text.contains(&name(dead)) && text.contains("cannot be reached"), "{text}");

    let deadline = tokio::time::Instant::now() + SOON;
    // It takes a while until it counts as dead.
    while let Err(error) = cluster.nodes[&live].add_member(4, &name(dead), &address).await {
        assert!(matches!(error, ProposeError::Membership(_)), "{error}");
        assert!(tokio::time::Instant::now() < deadline, "{error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    cluster.nodes[&4].ready(SOON).await.unwrap();
    // A member has the name that its own configuration says, once it is in.
    let members = cluster.nodes[&4].members().await;
    assert!(members.len() == 3 && members.iter().all(|member| member.id != dead), "{members:?}");
    cluster.write(4, "/after").await;
    cluster.settle().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_joiner_that_dies_is_let_go_by_itself() {
    let mut cluster = Cluster::new();
    cluster.patience = Patience { silent: Duration::from_secs(1), total: SOON };
    cluster.grow_to(3).await;
    // Nobody is there; the address is one that refuses.
    cluster.nodes[&2].add_member(9, "n9", "127.0.0.1:1").await.unwrap();
    let members = cluster.nodes[&1].members().await;
    assert!(members.iter().any(|member| member.id == 9 && !member.voter && !member.reachable()), "{members:?}");
    let core = cluster.nodes[&1].core().clone();
    eventually("the dead joiner is let go", || !core.nodes().contains_key(&9)).await;
    cluster.write(1, "/after").await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_that_make_no_sense_are_refused_with_the_reason() {
    let cluster = Cluster::of(1).await;
    let node = &cluster.nodes[&1];
    for (result, expected) in [
        (node.remove_member(1).await, "the only one"),
        (node.remove_member(5).await, "no member 0000000000000005"),
        (node.add_member(5, "", "127.0.0.1:1").await, "name"),
        (node.add_member(5, "a b", "127.0.0.1:1").await, "name"),
        (node.add_member(5, "n5", "").await, "address"),
        (node.add_member(5, "n1", "127.0.0.1:1").await, "already there"),
    ] {
        let text = refused(result);
        assert!(text.contains(expected), "{text}");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_cluster_and_a_stranger_are_refused() {
    let mut one = Cluster::of(2).await;
    one.start(3).await;
    // A second cluster with the same certificates claims a member of the first.
    let mut other = Cluster::sharing(&one);
    other.cluster_id = 88;
    other.start(1).await;
    let address = one.addresses[&2].clone();
    other.nodes[&1].add_member(2, "n2", &address).await.unwrap();
    // And one with other certificates, which is no cluster's.
    let mut stranger = Cluster::new();
    stranger.start(1).await;
    stranger.nodes[&1].add_member(3, "n3", &one.addresses[&3]).await.unwrap();
    for foreign in [&other, &stranger] {
        let node = &foreign.nodes[&1];
        let tried = node.core().links.as_ref().unwrap().find(if foreign.cluster_id == 88 { 2 } else { 3 });
        assert!(tried.is_some());
        eventually("the foreign leader tries in vain", || {
            node.core().members_here().iter().any(|member| member.id != 1 && member.silent.is_none())
        })
        .await;
    }
    one.write(2, "/k").await;
    assert_eq!(one.nodes[&2].cluster_id(), Some(77));
    assert_eq!(one.nodes[&3].cluster_id(), None, "a joiner is nobody's until its own group comes");
    one.join(3).await;
    assert_eq!(one.nodes[&3].cluster_id(), Some(77));
    for cluster in [one, other, stranger] {
        cluster.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_member_goes_on_when_the_leader_of_two_is_removed() {
    let mut cluster = Cluster::of(2).await;
    let leader = cluster.leader().await;
    let last = 3 - leader;
    cluster.write(last, "/before").await;
    cluster.nodes[&last].remove_member(leader).await.unwrap();
    cluster.kill(leader).await;
    cluster.write(last, "/after").await;
    assert!(cluster.nodes[&last].is_alone());
    cluster.stop().await;
}
