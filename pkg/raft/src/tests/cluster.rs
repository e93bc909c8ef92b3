//! Members in one process that talk over TLS on loopback.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mvcc::Outcome;
use openraft::async_runtime::WatchReceiver;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep, timeout};

use super::net::{FaultyDial, Net};
use super::sim_disk::SimDisk;
use super::{create, small_config};
use crate::caretaker::Patience;
use crate::identity::Identity;
use crate::node::Parts;
use crate::{Config, Node, PEER_SERVER_NAME, PeerConfig, ProposeError};

/// Nothing that a test waits for takes longer than this, even on a busy machine.
pub(super) const SOON: Duration = Duration::from_secs(30);

/// Waits until `condition` holds.
pub(super) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let holds = async {
        while !condition() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(timeout(SOON, holds).await.is_ok(), "in vain: {what}");
}

/// Certificates for members.
pub(super) struct Certificates {
    authority: pki::Authority,
}

impl Certificates {
    pub(super) fn new() -> Self {
        Self { authority: pki::Authority::generate("peers").unwrap() }
    }

    pub(super) fn config(&self, name: &str, listener: TcpListener) -> PeerConfig {
        let roots = pki::tls::roots([self.authority.cert()]).unwrap();
        let sans = pki::Sans { hostnames: vec![PEER_SERVER_NAME.to_owned()], ..pki::Sans::default() };
        let serving = pki::Identity::new(&self.authority.issue_server(name, &[], &sans).unwrap()).unwrap();
        let own = pki::Identity::new(&self.authority.issue_client(name, &[]).unwrap()).unwrap();
        let server = pki::tls::server_config(&serving, roots.clone()).unwrap();
        let client = pki::tls::client_config(roots, Some(&own)).unwrap();
        PeerConfig {
            advertise: listener.local_addr().unwrap().to_string(),
            listener: Arc::new(listener),
            name: name.to_owned(),
            server: Arc::new(server),
            client: Arc::new(client),
        }
    }
}

/// A group in one process. Member n is called `n<n>`.
pub(super) struct Cluster {
    pub(super) net: Arc<Net>,
    pub(super) nodes: BTreeMap<u64, Arc<Node>>,
    pub(super) disks: BTreeMap<u64, Arc<SimDisk>>,
    pub(super) addresses: BTreeMap<u64, String>,
    pub(super) cluster_id: u64,
    /// Members come back where they were, and not somewhere else.
    pub(super) keep_addresses: bool,
    pub(super) certificates: Arc<Certificates>,
    pub(super) config: Config,
    pub(super) patience: Patience,
}

pub(super) fn name(id: u64) -> String {
    format!("n{id}")
}

impl Cluster {
    pub(super) fn new() -> Self {
        Self::with(small_config())
    }

    pub(super) fn with(config: Config) -> Self {
        super::show_logs();
        Self {
            net: Arc::default(),
            nodes: BTreeMap::new(),
            disks: BTreeMap::new(),
            addresses: BTreeMap::new(),
            cluster_id: 77,
            keep_addresses: false,
            certificates: Arc::new(Certificates::new()),
            config,
            patience: Patience::default(),
        }
    }

    /// A cluster whose certificates another one trusts.
    pub(super) fn sharing(other: &Self) -> Self {
        Self { certificates: other.certificates.clone(), ..Self::new() }
    }

    /// A group of members 1 to `count`, all of them voters.
    pub(super) async fn of(count: u64) -> Self {
        let mut cluster = Self::new();
        cluster.grow_to(count).await;
        cluster
    }

    pub(super) async fn grow_to(&mut self, count: u64) {
        for id in 1..=count {
            if !self.nodes.contains_key(&id) {
                self.start(id).await;
                if id > 1 {
                    self.join(id).await;
                }
            }
        }
    }

    /// Starts a member on its disk; the first forms the group, the others wait to be added.
    pub(super) async fn start(&mut self, id: u64) -> Arc<Node> {
        let new = !self.disks.contains_key(&id);
        let disk = self.disks.entry(id).or_insert_with(SimDisk::new).clone();
        let address = self.addresses.get(&id).filter(|_| self.keep_addresses).map_or("127.0.0.1:0", String::as_str);
        let listener = TcpListener::bind(address).await.unwrap();
        self.net.revive(id);
        let peers = self.certificates.config(&name(id), listener);
        self.addresses.insert(id, peers.advertise.clone());
        let config = Config { peers: Some(peers), join: id > 1, ..self.config.clone() };
        let identity = Arc::new(Identity::new(id, (id == 1 || !new).then_some(self.cluster_id), None));
        let dial = Arc::new(FaultyDial { net: self.net.clone(), from: id });
        let parts = Parts { disk, identity, directory: None, dial, patience: self.patience };
        let node = Arc::new(Node::start(config, parts).await.unwrap());
        self.nodes.insert(id, node.clone());
        node
    }

    pub(super) async fn add(&self, through: u64, id: u64) -> Result<(), ProposeError> {
        self.nodes[&through].add_member(id, &name(id), &self.addresses[&id]).await
    }

    /// Adds a started member and waits until it votes.
    pub(super) async fn join(&self, id: u64) {
        let through = *self.nodes.keys().find(|other| **other != id).unwrap();
        self.add(through, id).await.unwrap();
        self.nodes[&id].ready(SOON).await.unwrap();
    }

    /// A member's process is gone, from one moment to the other. Its disk stays.
    pub(super) async fn kill(&mut self, id: u64) {
        self.net.kill(id);
        self.nodes.remove(&id).unwrap().abort().await;
    }

    /// The member that leads and that a majority follows.
    pub(super) async fn leader(&self) -> u64 {
        let mut found = None;
        eventually("a leader that others agree on", || {
            let leaders: Vec<_> = self.nodes.values().filter_map(|node| node.leader()).collect();
            found = leaders.iter().copied().find(|leader| {
                let same = leaders.iter().filter(|other| *other == leader).count();
                same > self.nodes.len() / 2 && self.nodes.get(leader).is_some_and(|node| node.core().leads())
            });
            found.is_some()
        })
        .await;
        found.unwrap()
    }

    pub(super) async fn follower(&self) -> u64 {
        let leader = self.leader().await;
        *self.nodes.keys().find(|id| **id != leader).unwrap()
    }

    /// Writes a key through a member, which has to succeed.
    pub(super) async fn write(&self, through: u64, key: &str) -> u64 {
        written(&self.nodes[&through], key).await
    }

    /// Waits until all running members have the same state, and says at which revision.
    pub(super) async fn settle(&self) -> u64 {
        let newest = || self.nodes.values().map(|node| node.store().revision().get()).max().unwrap_or(0);
        eventually("all members have the same state", || {
            self.nodes.values().all(|node| node.store().revision().get() == newest())
        })
        .await;
        let contents = |node: &Node| {
            let records = node.store().snapshot();
            records.range(b"", None).map(|record| (record.key_bytes(), record.body().clone())).collect::<Vec<_>>()
        };
        let all: Vec<_> = self.nodes.values().map(|node| contents(node)).collect();
        assert!(all.windows(2).all(|pair| pair[0] == pair[1]), "members differ");
        newest()
    }

    /// Writes to the disks of all members.
    pub(super) fn fsyncs(&self) -> u64 {
        self.nodes.values().map(|node| node.statistics().fsyncs).sum()
    }

    pub(super) fn term(&self, id: u64) -> u64 {
        self.term_of(&self.nodes[&id])
    }

    pub(super) fn term_of(&self, node: &Node) -> u64 {
        node.core().raft.metrics().borrow_watched().current_term
    }

    pub(super) async fn stop(self) {
        futures::future::join_all(self.nodes.values().map(|node| node.shutdown())).await;
    }
}

/// Creates a key through whatever happens, and says at which revision.
pub(super) async fn written(node: &Node, key: &str) -> u64 {
    let until = Instant::now() + SOON;
    let mut may_have_happened = false;
    loop {
        match node.propose(&create(key, 300)).await {
            Ok(Outcome::Committed(events)) => return events[0].revision().get(),
            // Nobody else writes it.
            Ok(Outcome::Conflict { current: Some(current), .. }) if may_have_happened => {
                return current.mod_revision().get();
            }
            Err(ProposeError::NoQuorum(_)) if Instant::now() < until => {}
            Err(ProposeError::Timeout) if Instant::now() < until => may_have_happened = true,
            other => panic!("{key}: {other:?}"),
        }
    }
}
