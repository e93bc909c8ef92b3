//! Stores that are read and made while no server runs on them.

use std::path::Path;

use tokio::net::TcpListener;

use super::cluster::{Cluster, SOON, eventually, name};
use super::{change, create};
use crate::offline::{self, Other, Owner};
use crate::{Config, Node, OpenError};

const EARLIER: u64 = 0xbeef;
/// Where the revisions of what begins anew go on.
const LATER: u64 = 1_000_000;

/// A group on the file system, whose members talk over real sockets.
struct Folders {
    root: tempfile::TempDir,
    /// For its certificates.
    group: Cluster,
}

impl Folders {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap(), group: Cluster::new() }
    }

    fn path(&self, id: u64) -> std::path::PathBuf {
        self.root.path().join(name(id))
    }

    async fn open_at(&self, id: u64, address: &str, join: bool) -> Node {
        let listener = TcpListener::bind(address).await.unwrap();
        let mut config = Config::new(self.path(id));
        config.segment_bytes = 1 << 20;
        config.peers = Some(self.group.certificates.config(&name(id), listener));
        config.join = join;
        Node::open(config).await.unwrap()
    }

    async fn open(&self, id: u64, join: bool) -> (Node, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        (self.open_at(id, &address, join).await, address)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_of_a_joiner_that_has_nothing_yet_is_read() {
    let folders = Folders::new();
    folders.open(1, true).await.0.shutdown().await;
    let found = offline::read(&folders.path(1)).unwrap();
    assert!(found.learner && found.others.is_empty() && keys(&found.state).is_empty());
}

fn keys(state: &mvcc::Snapshot) -> Vec<String> {
    state.range(b"", None).map(|record| String::from_utf8_lossy(record.key()).into_owned()).collect()
}

/// A store with a few keys, in a state of its own.
fn some_state() -> mvcc::Snapshot {
    let store = mvcc::Store::new(mvcc::Limits::default());
    for number in 0..100 {
        store.apply(&create(&format!("/k/{number:03}"), 1000), std::time::Instant::now());
    }
    store.snapshot()
}

fn make(path: &Path) -> (mvcc::Snapshot, Owner) {
    let state = some_state().moved_on(LATER, &["/k/007"]);
    let owner = offline::create(path, &state, vec![EARLIER]).unwrap();
    (state, owner)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_made_starts_as_a_group_of_one_that_nobody_can_take_for_the_old_one() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("db");
    assert_eq!(offline::owner(&path).unwrap(), None);
    let (state, owner) = make(&path);
    assert_eq!(offline::owner(&path).unwrap().as_ref(), Some(&owner));
    assert_eq!(owner.earlier, [EARLIER]);
    let verified = crate::verify(&path).unwrap();
    assert!(verified.iter().all(|file| file.problems.is_empty()), "{verified:?}");

    let node = Node::open(Config::new(&path)).await.unwrap();
    assert_eq!((node.id(), node.cluster_id()), (owner.member, owner.cluster));
    assert_eq!(keys(&node.store().snapshot()), keys(&state));
    assert_eq!(node.store().get(b"/k/007").map(|record| record.mod_revision().get()), None);
    let old = node.store().watch(b"/k/", LATER - 1).err();
    assert!(matches!(old, Some(mvcc::OutOfRange::Compacted { .. })), "a watch of before goes on: {old:?}");
    assert!(node.store().snapshot_at(LATER - 1).is_err());
    assert_eq!(change(&node, &create("/new", 10)).await.unwrap().revision().get(), LATER + 1);
    node.shutdown().await;

    let node = Node::open(Config::new(&path)).await.unwrap();
    assert_eq!(node.store().revision().get(), LATER + 1);
    assert_eq!(keys(&node.store().snapshot()).len(), 100);
    node.shutdown().await;
    assert!(matches!(offline::create(&path, &state, Vec::new()), Err(OpenError::Foreign { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_that_join_what_was_made_get_all_of_it() {
    let folders = Folders::new();
    let (state, owner) = make(&folders.path(1));
    let (one, _) = folders.open(1, false).await;
    let (two, address) = folders.open(2, true).await;
    one.add_member(two.id(), &name(2), &address).await.unwrap();
    two.ready(SOON).await.unwrap();
    assert_eq!(two.cluster_id(), owner.cluster);
    assert_eq!(keys(&two.store().snapshot()), keys(&state));
    assert_eq!(two.store().revision().get(), LATER);
    change(&two, &create("/through/two", 10)).await.unwrap();
    two.shutdown().await;
    one.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_several_is_revived_and_those_of_before_are_told() {
    let folders = Folders::new();
    let (one, first) = folders.open(1, false).await;
    let (two, second) = folders.open(2, true).await;
    one.add_member(two.id(), &name(2), &second).await.unwrap();
    two.ready(SOON).await.unwrap();
    for number in 0..50 {
        change(&two, &create(&format!("/k/{number:03}"), 500)).await.unwrap();
    }
    let cluster = one.cluster_id();
    assert!(matches!(offline::read(&folders.path(1)), Err(OpenError::Locked { .. })), "it is in use");
    // As when both lose their power: nobody hands anything over.
    one.abort().await;
    two.abort().await;

    let found = offline::read(&folders.path(1)).unwrap();
    assert_eq!((found.owner.cluster, found.learner), (cluster, false));
    assert_eq!(found.others, [Other { name: name(2), address: second.clone() }]);
    assert_eq!(keys(&found.state).len(), 50, "what was acknowledged is there");
    let new = folders.root.path().join("new");
    let state = found.state.moved_on(LATER, &[] as &[&str]);
    let owner = offline::create(&new, &state, found.owner.cluster.into_iter().collect()).unwrap();
    drop(found.directory);
    std::fs::rename(folders.path(1), folders.root.path().join("old")).unwrap();
    std::fs::rename(&new, folders.path(1)).unwrap();

    let one = folders.open_at(1, &first, false).await;
    assert_ne!(one.cluster_id(), cluster);
    assert_eq!(one.cluster_id(), owner.cluster);
    change(&one, &create("/after", 10)).await.unwrap();
    // The other one comes back with what it has, and asks the one that it knows.
    let two = folders.open_at(2, &second, false).await;
    eventually("it is told", || two.is_replaced()).await;
    assert!(two.is_removed() && !one.is_removed());
    assert!(change(&two, &create("/lost", 10)).await.is_err());
    assert!(one.store().get(b"/lost").is_none());
    two.shutdown().await;
    one.shutdown().await;
}
