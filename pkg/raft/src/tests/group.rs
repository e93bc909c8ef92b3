//! A group of one grows to three and outlives its leader, in one process.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use openraft::Raft;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse};
use parking_lot::Mutex;

use super::sim_disk::SimDisk;
use super::{change, create, small_config};
use crate::machine::Machine;
use crate::network::{Member, Transport};
use crate::types::{Snapshot, TypeConfig, Vote};
use crate::{Node, ProposeError};

/// Calls the other members directly, as long as they are connected.
#[derive(Default, Clone)]
struct Switchboard(Arc<Mutex<HashMap<u64, Raft<TypeConfig, Machine>>>>);

impl Switchboard {
    fn find(&self, to: &Member) -> io::Result<Raft<TypeConfig, Machine>> {
        self.0.lock().get(&to.id).cloned().ok_or_else(|| io::ErrorKind::ConnectionRefused.into())
    }
}

fn failed(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(error.to_string())
}

impl Transport for Switchboard {
    fn append_entries(
        &self,
        to: &Member,
        request: AppendEntriesRequest<TypeConfig>,
    ) -> BoxFuture<'static, io::Result<AppendEntriesResponse<TypeConfig>>> {
        let raft = self.find(to);
        Box::pin(async move { raft?.append_entries(request).await.map_err(failed) })
    }

    fn vote(
        &self,
        to: &Member,
        pre: bool,
        request: VoteRequest<TypeConfig>,
    ) -> BoxFuture<'static, io::Result<VoteResponse<TypeConfig>>> {
        let raft = self.find(to);
        Box::pin(async move {
            let raft = raft?;
            if pre { raft.pre_vote(request).await } else { raft.vote(request).await }.map_err(failed)
        })
    }

    fn snapshot(
        &self,
        to: &Member,
        vote: Vote,
        snapshot: Snapshot,
    ) -> BoxFuture<'static, io::Result<SnapshotResponse<TypeConfig>>> {
        let raft = self.find(to);
        Box::pin(async move { raft?.install_full_snapshot(vote, snapshot).await.map_err(failed) })
    }
}

async fn start(board: &Switchboard, id: u64, disk: Arc<SimDisk>, join: bool) -> Arc<Node> {
    let config = crate::Config { join, ..small_config() };
    let node = Node::start(config, disk, id, None, Some(Arc::new(board.clone()))).await.expect("a member");
    board.0.lock().insert(id, node.raft().clone());
    Arc::new(node)
}

/// Writes through whoever leads, as a client would that looks for the leader.
async fn write(nodes: &[Arc<Node>], key: &str) -> u64 {
    let writing = async {
        loop {
            for node in nodes {
                match change(node, &create(key, 300)).await {
                    Ok(event) => return event.revision().get(),
                    Err(ProposeError::NotLeader { .. }) => tokio::time::sleep(Duration::from_millis(10)).await,
                    Err(other) => panic!("{other}"),
                }
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), writing).await.expect("a leader in time")
}

async fn wait_for(node: &Node, key: &str) {
    let seen = async {
        while node.store().get(key.as_bytes()).is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), seen).await.unwrap_or_else(|_| panic!("{key} does not arrive"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_of_one_grows_to_three_and_outlives_its_leader() {
    let board = Switchboard::default();
    let disks = [SimDisk::new(), SimDisk::new(), SimDisk::new()];
    let first = start(&board, 1, disks[0].clone(), false).await;
    // So much that the log no longer begins at the beginning: joiners need the whole state.
    for number in 0..60 {
        change(&first, &create(&format!("/k/{number}"), 700)).await.unwrap();
    }
    first.checkpoint().await.unwrap();
    let second = start(&board, 2, disks[1].clone(), true).await;
    let third = start(&board, 3, disks[2].clone(), true).await;
    first.add_member(2, "second").await.unwrap();
    first.add_member(3, "third").await.unwrap();
    let revision = write(std::slice::from_ref(&first), "/three").await;
    for node in [&second, &third] {
        wait_for(node, "/three").await;
        assert!(node.store().get(b"/k/0").is_some(), "the state came along");
        assert_eq!(node.store().revision().get(), revision);
    }

    board.0.lock().remove(&1);
    first.shutdown().await;
    let others = [second.clone(), third.clone()];
    let after = write(&others, "/after").await;
    assert!(after > revision);
    wait_for(&second, "/after").await;
    wait_for(&third, "/after").await;

    // It comes back with its old data and catches up.
    let first = start(&board, 1, disks[0].clone(), false).await;
    wait_for(&first, "/after").await;
    assert_eq!(first.store().snapshot().len(), second.store().snapshot().len());
    for node in [first, second, third] {
        node.shutdown().await;
    }
}
