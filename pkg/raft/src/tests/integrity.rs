//! Members whose states differ know it, say it, and give them to nobody.

use std::sync::Arc;

use bytes::Bytes;
use mvcc::Record;

use super::cluster::{Cluster, SOON, eventually, name};
use super::{change, create};
use crate::Node;

/// Flips a bit of one record in a member's memory, as if it had been written like that.
fn flip(node: &Node, key: &[u8]) {
    let state = node.store().snapshot();
    let flipped = |record: Arc<Record>| {
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        if record.key() == key {
            *bytes.last_mut().unwrap() ^= 1;
        }
        Record::decode(record.key(), Bytes::from(bytes)).unwrap()
    };
    node.store().restore(state.revision().get(), state.range(b"", None).map(flipped));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_of_one_state_have_one_digest_also_while_they_write() {
    let cluster = Cluster::of(3).await;
    let writer = cluster.nodes[&1].clone();
    let writing = tokio::spawn(async move {
        for number in 0..100 {
            change(&writer, &create(&format!("/k/{number}"), 300)).await.unwrap();
        }
    });
    while !writing.is_finished() {
        for node in cluster.nodes.values() {
            let states = node.states().await;
            let digests: Vec<_> = states.iter().filter_map(|(_, report)| report.as_ref()?.digest).collect();
            assert!(digests.windows(2).all(|pair| pair[0] == pair[1]), "{states:#?}");
            assert_eq!(node.integrity().problem(), None);
        }
    }
    writing.await.unwrap();
    let revision = cluster.settle().await;
    for (member, report) in cluster.nodes[&2].states().await {
        let report = report.unwrap();
        assert_eq!((report.revision, report.keys), (revision, 100), "{}", member.name);
        assert!(report.digest.is_some() && report.bytes > 30_000 && report.log_bytes > 0, "{report:?}");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bit_that_flipped_in_one_memory_is_found_and_that_member_gives_its_state_to_nobody() {
    let mut cluster = Cluster::of(3).await;
    for number in 0..60 {
        cluster.write(1, &format!("/k/{number}")).await;
    }
    cluster.settle().await;
    let wrong = cluster.leader().await;
    flip(&cluster.nodes[&wrong], b"/k/7");
    let others: Vec<_> = (1..=3).filter(|id| *id != wrong).collect();
    for id in &others {
        cluster.nodes[id].states().await;
        let known = cluster.nodes[id].integrity();
        assert_eq!((known.differing.as_slice(), known.own), (&[name(wrong)][..], false), "{known:?}");
        assert_eq!(known.problem(), None, "what others have is no problem of this one");
    }
    let node = cluster.nodes[&wrong].clone();
    let revision = node.store().revision().get();
    let states = node.states().await;
    let known = node.integrity();
    assert!(known.own && !known.unclear && known.revision == revision, "{known:?}");
    let problem = known.problem().unwrap();
    assert!(problem.contains(&format!("revision {revision}")) && problem.contains("server remove"), "{problem}");
    assert_eq!(states.len(), 3);
    let shown = cluster.nodes[&others[0]].states().await;
    let (_, report) = shown.iter().find(|(member, _)| member.id == wrong).unwrap();
    assert_eq!(report.as_ref().unwrap().problem.as_deref(), Some(&*problem), "others can tell, too");

    eventually("it does not lead", || {
        cluster.nodes[&others[0]].leader().is_some_and(|leader| others.contains(&leader))
    })
    .await;
    // Whoever comes now has the state of the others.
    for id in &others {
        cluster.nodes[id].checkpoint().await.unwrap();
    }
    cluster.start(4).await;
    cluster.add(others[0], 4).await.unwrap();
    cluster.nodes[&4].ready(SOON).await.unwrap();
    let body = |id: u64| cluster.nodes[&id].store().get(b"/k/7").unwrap().body().clone();
    assert_eq!(body(4), body(others[0]));
    assert_ne!(body(4), body(wrong));

    // The remedy: it comes back as another.
    cluster.nodes[&others[0]].remove_member(wrong).await.unwrap();
    cluster.kill(wrong).await;
    cluster.start(5).await;
    cluster.join(5).await;
    cluster.nodes[&5].states().await;
    assert_eq!(cluster.nodes[&5].integrity().differing, Vec::<String>::new());
    cluster.settle().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_that_differ_neither_is_believed_until_one_is_gone() {
    let cluster = Cluster::of(2).await;
    cluster.write(1, "/k").await;
    cluster.settle().await;
    flip(&cluster.nodes[&2], b"/k");
    for node in cluster.nodes.values() {
        node.states().await;
        let known = node.integrity();
        assert!(known.own && known.unclear && !known.is_trusted(), "{known:?}");
        assert!(known.problem().unwrap().contains("n1 and n2"), "{known:?}");
    }
    cluster.nodes[&1].remove_member(2).await.unwrap();
    cluster.nodes[&1].states().await;
    assert_eq!(cluster.nodes[&1].integrity().problem(), None);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_store_refuses_through_every_member_and_goes_on_when_there_is_space() {
    let mut cluster = Cluster::new();
    cluster.config.quota_bytes = 100_000;
    cluster.config.limits.ring_bytes_max = 1000;
    cluster.config.segment_bytes = 64 << 10;
    cluster.grow_to(3).await;
    let mut written = 0;
    let refused = loop {
        let through = 1 + written % 3;
        match change(&cluster.nodes[&through], &create(&format!("/k/{written}"), 9000)).await {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 20, "nobody refuses");
    };
    assert!(matches!(&refused, crate::ProposeError::NoSpace(text) if text.contains("--store-quota")), "{refused}");
    assert!(written >= 9, "{written}");
    for (id, node) in &cluster.nodes {
        let error = change(node, &create("/more", 9000)).await.expect_err("a full store");
        assert!(error.to_string().starts_with("etcdserver: mvcc: database space exceeded"), "{id}: {error}");
        assert!(node.is_full(), "{id}");
    }
    let states = cluster.nodes[&1].states().await;
    assert!(states.iter().all(|(_, report)| report.as_ref().is_some_and(|report| report.quota_alarm)), "{states:?}");
    for number in 0..4 {
        let key = format!("/k/{number}").into();
        let delete = mvcc::Transaction { operations: vec![mvcc::Operation::Delete { key }], ..Default::default() };
        change(&cluster.nodes[&2], &delete).await.unwrap();
    }
    change(&cluster.nodes[&3], &create("/more", 9000)).await.unwrap();
    cluster.settle().await;
    assert!(cluster.nodes.values().all(|node| !node.is_full()));
    cluster.stop().await;
}
