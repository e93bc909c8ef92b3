//! One member: the log, the state machine and openraft put together.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mvcc::{Outcome, Store, Transaction};
use openraft::Raft;
use openraft::async_runtime::WatchReceiver;
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::caretaker::{self, Patience, take_care};
use crate::complete::complete;
use crate::config::{Config, ProposeError, Statistics};
use crate::core::Core;
use crate::directory::{DataDirectory, OpenError, unlikely_twice};
use crate::disk::{Disk, RealDisk};
use crate::identity::Identity;
use crate::integrity::{Integrity, StateReport, Watchman, keep_watch};
use crate::machine::Machine;
use crate::members::Change;
use crate::peer::{Dial, Links, Member, Peers, Server, Service, Tcp};
use crate::start::{become_ready, form, load, not_ready, start_raft};
use crate::types::TypeConfig;

/// A running member. Dropping it does not stop it; [`shutdown`](Self::shutdown) does.
pub struct Node {
    core: Arc<Core>,
    server: Option<Server>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    directory: Mutex<Option<DataDirectory>>,
}

/// How long the start of a group of one may take.
const READY_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two looks whether this member votes.
const LOOK: Duration = Duration::from_millis(50);

/// What a member is put together from beside its configuration.
pub(crate) struct Parts {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) identity: Arc<Identity>,
    pub(crate) directory: Option<DataDirectory>,
    pub(crate) dial: Arc<dyn Dial>,
    pub(crate) patience: Patience,
}

impl Node {
    /// Opens the member in its directory. The first time it becomes a group of one, unless it is to join another.
    ///
    /// A member that is alone is ready when this returns: it can be written to, and everything acknowledged before is
    /// applied. One that has peers, or is to join, listens; [`ready`](Self::ready) waits for the rest.
    pub async fn open(config: Config) -> Result<Self, OpenError> {
        let path = config.data_dir.clone();
        let opening = tokio::task::spawn_blocking(move || DataDirectory::open(&path));
        let directory = opening.await.map_err(|error| not_ready(&config.data_dir, &error))??;
        let path = directory.path().to_owned();
        let identity = Identity::new(directory.node_id(), directory.cluster_id(), Some(path.clone()))
            .after(directory.marker().earlier.clone());
        let parts = Parts {
            disk: Arc::new(RealDisk::new(path)),
            identity: Arc::new(identity),
            directory: Some(directory),
            dial: Arc::new(Tcp),
            patience: Patience::default(),
        };
        Self::start(config, parts).await
    }

    /// Opens the member on any disk.
    #[cfg(test)]
    pub(crate) async fn open_on(config: Config, disk: Arc<dyn Disk>, node_id: u64) -> Result<Self, OpenError> {
        let identity = Arc::new(Identity::new(node_id, Some(1), None));
        let parts = Parts { disk, identity, directory: None, dial: Arc::new(Tcp), patience: Patience::default() };
        Self::start(config, parts).await
    }

    pub(crate) async fn start(config: Config, parts: Parts) -> Result<Self, OpenError> {
        let Parts { disk, identity, directory, dial, patience } = parts;
        let started = Instant::now();
        let store = Store::new(config.limits.clone());
        let (log, machine) = {
            let (for_load, store) = (config.clone(), store.clone());
            let loading = tokio::task::spawn_blocking(move || load(&for_load, &disk, store));
            loading.await.map_err(|error| not_ready(&config.data_dir, &error))??
        };
        let loaded = started.elapsed();
        let links = config.peers.as_ref().map(|peers| Links::new(&peers.client, dial, identity.clone()));
        let watchman = Arc::new(Watchman::default());
        let peers = Peers { links: links.clone(), watchman: watchman.clone() };
        let raft = start_raft(&config, identity.id(), peers, log.clone(), machine.clone()).await?;
        let core = Core::new(&config, raft, machine, log, identity, links, watchman);
        let server = config.peers.as_ref().map(|peers| Server::start(peers, Service::new(core.clone())));
        let node = Self { core, server, tasks: Mutex::default(), directory: Mutex::new(directory) };
        node.follow_membership();
        node.checkpoint_behind();
        node.look_after(&config, patience);
        let core = &node.core;
        let ready = tokio::select! {
            ready = timeout(READY_TIMEOUT, complete(begin(core.clone(), config.clone()))) => {
                let late = Err("no leader was elected in time".to_owned());
                ready.unwrap_or(late).map_err(|detail| OpenError::NotReady { path: config.data_dir.clone(), detail })
            }
            // A start does not wait for a disk that fails; a running store does.
            error = core.log.failure() => Err(OpenError::io(&config.data_dir, error)),
        };
        match ready {
            Ok(()) => {
                let (keys, revision) = (core.store.statistics().keys, core.store.revision().get());
                tracing::info!(keys, revision, ?loaded, ready = ?started.elapsed(), "opened the store");
                Ok(node)
            }
            Err(error) => {
                node.shutdown().await;
                Err(error)
            }
        }
    }

    /// This member's identity: kept in the data directory, and nobody else's ever.
    pub fn id(&self) -> u64 {
        self.core.identity.id()
    }

    /// The cluster's identity; none for a member that is to join and was not contacted yet.
    pub fn cluster_id(&self) -> Option<u64> {
        self.core.identity.cluster()
    }

    /// What the cluster was before it was restored or reset, the last one first.
    pub fn earlier_clusters(&self) -> Vec<u64> {
        self.core.identity.earlier().to_vec()
    }

    /// The identities of all members, as far as this one knows.
    pub fn member_ids(&self) -> Vec<u64> {
        self.core.nodes().into_keys().collect()
    }

    /// Returns when this member votes, knows its leader, and shows every write that was acknowledged before the call.
    pub async fn ready(&self, within: Duration) -> Result<(), ProposeError> {
        let ready = async {
            loop {
                let votes = self.core.members_here().iter().any(|member| member.id == self.id() && member.voter);
                if votes && self.core.read_barrier().await.is_ok() {
                    return Ok(());
                }
                if self.is_removed() {
                    return Err(ProposeError::Membership("this server was removed from the group".to_owned()));
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        let late = |_| ProposeError::NoQuorum(self.core.why_no_leader());
        timeout(within, ready).await.map_err(late)?
    }

    /// The members as the leader sees them; when there is none, as this one does, and then nobody is reachable.
    pub async fn members(&self) -> Vec<Member> {
        self.core.members().await
    }

    /// Adds a member that was opened with [`Config::join`] and listens. It returns when the group knows of it; the leader
    /// makes it a voter when it has caught up, and lets it go when it is silent for 30 s or needs more than 10 minutes.
    ///
    /// For a member that is there it changes name and address. A name that another member has is given to the new one if
    /// the other has been silent for 5 s, which removes that one; else it is [refused](ProposeError::Membership).
    pub async fn add_member(&self, id: u64, name: &str, address: &str) -> Result<(), ProposeError> {
        self.core.change(Change::Add { id, name: name.to_owned(), address: address.to_owned() }).await
    }

    /// Removes a member for good: it can come back with an empty data directory, as another. Refused when the rest would
    /// not be a majority of what is left, or there is no rest.
    pub async fn remove_member(&self, id: u64) -> Result<(), ProposeError> {
        self.core.change(Change::Remove { id }).await
    }

    /// Whether the others said that this member was removed, or [replaced](Self::is_replaced).
    pub fn is_removed(&self) -> bool {
        self.core.identity.is_removed()
    }

    /// Whether a server said that this member belongs to what the cluster was before it was reset or restored.
    pub fn is_replaced(&self) -> bool {
        self.core.identity.is_replaced()
    }

    /// Returns when they say so.
    pub async fn removed(&self) {
        self.core.identity.removed().await;
    }

    /// The member that leads, as far as this one knows.
    pub fn leader(&self) -> Option<u64> {
        self.core.leader()
    }

    /// Makes another member the leader, if this one is it and another can be. True when it does not lead any more.
    pub async fn hand_over(&self) -> bool {
        caretaker::hand_over(&self.core).await
    }

    #[cfg(test)]
    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// The state. Read it, watch it; writes go through [`propose`](Self::propose).
    pub fn store(&self) -> &Arc<Store> {
        &self.core.store
    }

    /// Writes a transaction to the log of a majority, applies it and says what became of it. Any member can be asked: it
    /// has the leader do it, and returns when it has applied it too. While a leader is elected it waits, for ten seconds at
    /// most; a transaction that may have reached a leader is never sent to another.
    pub async fn propose(&self, transaction: &Transaction) -> Result<Outcome, ProposeError> {
        self.core.propose(transaction.encode()).await
    }

    /// Returns when the store's state is at least as new as every write that was acknowledged before the call, on whatever
    /// member. Without it, reads of [`store`](Self::store) show what has arrived here, also when nobody leads.
    pub async fn read_barrier(&self) -> Result<(), ProposeError> {
        self.core.read_barrier().await
    }

    /// Whether this member is the only one, so that what it shows is always the newest.
    pub fn is_alone(&self) -> bool {
        self.core.alone.load(Ordering::Acquire)
    }

    /// All members with their states in figures. The states are compared with each other at this one's revision.
    pub async fn states(&self) -> Vec<(Member, Option<StateReport>)> {
        self.core.states().await
    }

    /// What the last comparison of the members' states brought; they are compared every few minutes.
    pub fn integrity(&self) -> Integrity {
        self.core.watchman.known()
    }

    /// Whether the state is as large as it may become, so that only what makes it smaller goes on.
    pub fn is_full(&self) -> bool {
        self.core.quota.alarm(&self.core.store)
    }

    /// Counters and sizes.
    pub fn statistics(&self) -> Statistics {
        let core = &self.core;
        let counters = core.log.counters();
        let (checkpoints, checkpoint_failures) = core.machine.checkpoints();
        Statistics {
            fsyncs: counters.fsyncs.load(Ordering::Relaxed),
            frames: counters.frames.load(Ordering::Relaxed),
            log_bytes: counters.bytes.load(Ordering::Relaxed),
            log_failures: counters.failures.load(Ordering::Relaxed),
            log_size: core.log.size(),
            checkpoints,
            checkpoint_failures,
            checkpoint_size: core.machine.checkpoint_size(),
            applied_index: core.machine.applied().map_or(0, |log_id| log_id.index()),
            read_rounds: core.read_rounds.load(Ordering::Relaxed),
            quota_bytes: core.quota.bytes(),
            store: core.store.statistics(),
        }
    }

    /// Writes a checkpoint now, so that the next start has no log to read.
    pub async fn checkpoint(&self) -> Result<(), String> {
        checkpoint(&self.core.machine, &self.core.raft).await
    }

    /// Stops, after another member took over if this one led. What was acknowledged is durable already; a checkpoint only
    /// makes the next start quicker.
    pub async fn shutdown(&self) {
        self.core.proposals.close();
        self.tasks.lock().drain(..).for_each(|task| task.abort());
        if self.core.leads() && self.core.nodes().len() > 1 && !self.hand_over().await {
            tracing::warn!("no other server took the lead over before this one stops");
        }
        self.stop().await;
    }

    /// Stops without a word to the others.
    #[cfg(test)]
    pub(crate) async fn abort(&self) {
        self.core.proposals.close();
        self.tasks.lock().drain(..).for_each(|task| task.abort());
        self.stop().await;
    }

    async fn stop(&self) {
        if let Some(server) = &self.server {
            server.close().await;
        }
        let raft = self.core.raft.clone();
        tokio::select! {
            stopped = complete(async move { raft.shutdown().await }) => if let Err(error) = stopped {
                tracing::warn!(%error, "the raft core did not stop cleanly");
            },
            // It may be waiting for a vote to be written by a log that cannot write: then the log ends first.
            () = self.give_up_failing_log() => {}
        }
        self.core.store.close();
        let (machine, log) = (self.core.machine.clone(), self.core.log.clone());
        let closing = tokio::task::spawn_blocking(move || {
            if let Err(error) = machine.write_checkpoint() {
                tracing::warn!(%error, "no checkpoint at shutdown; the next start reads the log instead");
            }
            machine.close();
            log.close();
        });
        if let Err(error) = closing.await {
            tracing::warn!(%error, "closing the store failed");
        }
        // Last: from here on another process may have the directory.
        self.directory.lock().take();
    }

    /// Closes the log if it cannot write. Never returns.
    async fn give_up_failing_log(&self) {
        self.core.log.failure().await;
        let log = self.core.log.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || log.close()).await {
            tracing::warn!(%error, "closing the log failed");
        }
        std::future::pending().await
    }

    /// Ticks only while there are others to hear from: a group of one has nothing to time.
    fn follow_membership(&self) {
        let core = self.core.clone();
        let mut metrics = core.raft.server_metrics();
        let adapt = move |core: &Core| {
            let nodes = core.nodes();
            core.identity.note_listed(core.listed());
            let alone = nodes.len() == 1 && nodes.contains_key(&core.identity.id());
            core.alone.store(alone, Ordering::Release);
            // One that was left alone by a leader that went has to elect itself first.
            core.raft.runtime_config().tick(nodes.len() > 1 || nodes.len() == 1 && !core.leads());
            if let Some(links) = &core.links {
                links.follow(&nodes);
            }
        };
        adapt(&core);
        self.tasks.lock().push(tokio::spawn(async move {
            while metrics.changed().await.is_ok() {
                adapt(&core);
            }
        }));
    }

    fn look_after(&self, config: &Config, patience: Patience) {
        let own = config.peers.as_ref().map(|peers| (peers.name.clone(), peers.advertise.clone()));
        let care = tokio::spawn(take_care(self.core.clone(), own, patience));
        let watch = tokio::spawn(keep_watch(self.core.clone(), config.compare_every));
        self.tasks.lock().extend([care, watch]);
    }

    fn checkpoint_behind(&self) {
        let (machine, raft) = (self.core.machine.clone(), self.core.raft.clone());
        self.tasks.lock().push(tokio::spawn(async move {
            let mut wait = Duration::from_secs(1);
            loop {
                machine.checkpoint_due().await;
                while let Err(error) = checkpoint(&machine, &raft).await {
                    tracing::warn!(error, "cannot write a checkpoint, trying again; the log is kept until then");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(Duration::from_secs(60));
                }
                wait = Duration::from_secs(1);
            }
        }));
    }
}

/// Writes a checkpoint and lets openraft drop the log before it.
async fn checkpoint(machine: &Machine, raft: &Raft<TypeConfig, Machine>) -> Result<(), String> {
    let writing = machine.clone();
    let written = tokio::task::spawn_blocking(move || writing.write_checkpoint()).await;
    let written = written.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    if written {
        let raft = raft.clone();
        let telling = complete(async move { raft.trigger().snapshot().await });
        telling.await.map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Makes the group of one at the first start, and gets it ready at each.
async fn begin(core: Arc<Core>, config: Config) -> Result<(), String> {
    let raft = core.raft.clone();
    let new = !raft.is_initialized().await.map_err(|error| error.to_string())?;
    if new && config.join {
        // It is a member when a group has added it.
        return Ok(());
    }
    if core.identity.cluster().is_none() {
        core.identity.adopt(unlikely_twice()).map_err(|error| error.to_string())?;
    }
    if new {
        form(&raft, core.identity.id(), &config).await?;
    }
    let id = core.identity.id();
    let standing = move |state: &openraft::RaftState<TypeConfig>| {
        let (newest, agreed) = (state.membership_state.effective(), state.membership_state.committed());
        let listed = [newest, agreed].iter().any(|members| members.get_node(&id).is_some());
        (listed, newest.get_node(&id).is_some() && newest.nodes().count() == 1)
    };
    let (listed, alone) = raft.with_raft_state(standing).await.map_err(|error| error.to_string())?;
    if !listed && !config.join {
        core.identity.note_removed();
        return Ok(());
    }
    if alone {
        return become_ready(raft).await;
    }
    Ok(())
}
