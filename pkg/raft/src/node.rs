//! One member: the log, the state machine and openraft put together.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mvcc::{Outcome, Store, Transaction};
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::{ChangeMembers, Raft, ReadPolicy, ServerState, SnapshotPolicy};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::complete::complete;
use crate::config::{Config, ProposeError, Statistics};
use crate::directory::{DataDirectory, OpenError};
use crate::disk::{Disk, RealDisk};
use crate::log::{LogConfig, LogDamage, LogStore};
use crate::machine::Machine;
use crate::network::{Peers, Transport};
use crate::types::{Command, Response, TypeConfig};

/// A running member. Dropping it does not stop it; [`shutdown`](Self::shutdown) does.
pub struct Node {
    raft: Raft<TypeConfig, Machine>,
    store: Arc<Store>,
    machine: Machine,
    log: LogStore,
    /// In units of [`PERMIT_BYTES`].
    proposals: Arc<Semaphore>,
    proposals_max: u32,
    timeout: Duration,
    entry_bytes_max: usize,
    /// Whether this member is the only one.
    alone: Arc<AtomicBool>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    directory: Mutex<Option<DataDirectory>>,
}

const PERMIT_BYTES: usize = 1024;
/// How long a start may take until the member knows its leader. Only a larger group can need it.
const READY_TIMEOUT: Duration = Duration::from_secs(30);

impl Node {
    /// Opens the member in its directory. The first time it becomes a group of one. Returns when it can be written to
    /// and everything acknowledged before is applied.
    pub async fn open(config: Config) -> Result<Self, OpenError> {
        let path = config.data_dir.clone();
        let opening = tokio::task::spawn_blocking(move || DataDirectory::open(&path));
        let directory = opening.await.map_err(|error| not_ready(&config.data_dir, &error))??;
        let disk = Arc::new(RealDisk::new(directory.path().to_owned()));
        let node_id = directory.node_id();
        Self::start(config, disk, node_id, Some(directory), None).await
    }

    /// Opens the member on any disk.
    #[cfg(test)]
    pub(crate) async fn open_on(config: Config, disk: Arc<dyn Disk>, node_id: u64) -> Result<Self, OpenError> {
        Self::start(config, disk, node_id, None, None).await
    }

    pub(crate) async fn start(
        config: Config,
        disk: Arc<dyn Disk>,
        node_id: u64,
        directory: Option<DataDirectory>,
        transport: Option<Arc<dyn Transport>>,
    ) -> Result<Self, OpenError> {
        let started = Instant::now();
        let store = Store::new(config.limits.clone());
        let (log, machine) = {
            let (for_load, store) = (config.clone(), store.clone());
            let loading = tokio::task::spawn_blocking(move || load(&for_load, &disk, store));
            loading.await.map_err(|error| not_ready(&config.data_dir, &error))??
        };
        let loaded = started.elapsed();
        let peers = Peers { transport };
        let raft = start_raft(&config, node_id, peers, log.clone(), machine.clone()).await?;
        let node = Self {
            proposals: Arc::new(Semaphore::new(config.proposals_bytes_max as usize / PERMIT_BYTES)),
            proposals_max: config.proposals_bytes_max / PERMIT_BYTES as u32,
            timeout: config.proposal_timeout,
            entry_bytes_max: (config.segment_bytes / 2) as usize,
            alone: Arc::new(AtomicBool::new(false)),
            tasks: Mutex::new(Vec::new()),
            directory: Mutex::new(directory),
            raft,
            store,
            machine,
            log,
        };
        node.follow_membership();
        node.checkpoint_behind();
        let ready = tokio::select! {
            ready = timeout(READY_TIMEOUT, complete(become_ready(node.raft.clone(), node_id, config.clone()))) => {
                let late = Err("no leader was elected in time".to_owned());
                ready.unwrap_or(late).map_err(|detail| OpenError::NotReady { path: config.data_dir.clone(), detail })
            }
            // A start does not wait for a disk that fails; a running store does.
            error = node.log.failure() => Err(OpenError::io(&config.data_dir, error)),
        };
        match ready {
            Ok(()) => {
                let (keys, revision) = (node.store.statistics().keys, node.store.revision().get());
                tracing::info!(keys, revision, ?loaded, ready = ?started.elapsed(), "opened the store");
                Ok(node)
            }
            Err(error) => {
                node.shutdown().await;
                Err(error)
            }
        }
    }

    /// Adds a member to the group that this one leads: a learner until it has caught up, then a voter.
    pub async fn add_member(&self, id: u64, address: &str) -> Result<(), ProposeError> {
        let (raft, node) = (self.raft.clone(), openraft::impls::BasicNode::new(address));
        let adding = complete(async move {
            raft.add_learner(id, node, true).await?;
            let voters = ChangeMembers::AddVoterIds(BTreeSet::from([id]));
            raft.change_membership(voters, false).await
        });
        adding.await.map(drop).map_err(write_error)
    }

    /// The member that leads, as far as this one knows.
    pub fn leader(&self) -> Option<u64> {
        self.raft.server_metrics().borrow_watched().current_leader
    }

    #[cfg(test)]
    pub(crate) fn raft(&self) -> &Raft<TypeConfig, Machine> {
        &self.raft
    }

    fn leads(&self) -> bool {
        self.raft.server_metrics().borrow_watched().state == ServerState::Leader
    }

    /// The state. Read it, watch it; writes go through [`propose`](Self::propose).
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Writes a transaction to the log of a majority, applies it and says what became of it.
    pub async fn propose(&self, transaction: &Transaction) -> Result<Outcome, ProposeError> {
        let bytes = transaction.encode();
        if bytes.len() > self.entry_bytes_max {
            return Err(ProposeError::TooLarge(bytes.len()));
        }
        self.log.admit(bytes.len() as u64).map_err(ProposeError::Disk)?;
        let permits = (bytes.len().div_ceil(PERMIT_BYTES) as u32).clamp(1, self.proposals_max);
        let turn = timeout(self.timeout, self.proposals.acquire_many(permits)).await;
        let _turn = match turn {
            Ok(Ok(turn)) => turn,
            Ok(Err(_)) => return Err(ProposeError::Stopped("it is shutting down".to_owned())),
            Err(_) => return Err(ProposeError::Overloaded),
        };
        let raft = self.raft.clone();
        match timeout(self.timeout, complete(async move { raft.client_write(Command(bytes)).await })).await {
            Ok(Ok(written)) => match written.data {
                Response::Outcome(outcome) => Ok(outcome),
                Response::Nothing => {
                    Err(ProposeError::Stopped("a transaction was applied as something else".to_owned()))
                }
            },
            Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward)))) => {
                Err(ProposeError::NotLeader { leader: forward.leader_node.map(|node| node.addr) })
            }
            Ok(Err(error)) => Err(ProposeError::Stopped(error.to_string())),
            Err(_) => Err(ProposeError::Timeout),
        }
    }

    /// Returns when the store's state is at least as new as every write that was acknowledged before the call.
    pub async fn read_barrier(&self) -> Result<(), ProposeError> {
        // A write is acknowledged after it was applied, so a member that is alone has nothing to wait for.
        if self.alone.load(Ordering::Acquire) && self.leads() {
            return Ok(());
        }
        let raft = self.raft.clone();
        let barrier = complete(async move { raft.ensure_linearizable(ReadPolicy::ReadIndex).await });
        match timeout(self.timeout, barrier).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(RaftError::APIError(_))) => Err(ProposeError::NotLeader { leader: None }),
            Ok(Err(error)) => Err(ProposeError::Stopped(error.to_string())),
            Err(_) => Err(ProposeError::Timeout),
        }
    }

    /// Counters and sizes.
    pub fn statistics(&self) -> Statistics {
        let counters = self.log.counters();
        let (checkpoints, checkpoint_failures) = self.machine.checkpoints();
        Statistics {
            fsyncs: counters.fsyncs.load(Ordering::Relaxed),
            frames: counters.frames.load(Ordering::Relaxed),
            log_bytes: counters.bytes.load(Ordering::Relaxed),
            log_failures: counters.failures.load(Ordering::Relaxed),
            log_size: self.log.size(),
            checkpoints,
            checkpoint_failures,
            checkpoint_size: self.machine.checkpoint_size(),
            applied_index: self.machine.applied().map_or(0, |log_id| log_id.index()),
            store: self.store.statistics(),
        }
    }

    /// Writes a checkpoint now, so that the next start has no log to read.
    pub async fn checkpoint(&self) -> Result<(), String> {
        checkpoint(&self.machine, &self.raft).await
    }

    /// Stops. What was acknowledged is durable already; a checkpoint only makes the next start quicker.
    pub async fn shutdown(&self) {
        self.proposals.close();
        self.tasks.lock().drain(..).for_each(|task| task.abort());
        let raft = self.raft.clone();
        tokio::select! {
            stopped = complete(async move { raft.shutdown().await }) => if let Err(error) = stopped {
                tracing::warn!(%error, "the raft core did not stop cleanly");
            },
            // It may be waiting for a vote to be written by a log that cannot write: then the log ends first.
            () = self.give_up_failing_log() => {}
        }
        self.store.close();
        let (machine, log) = (self.machine.clone(), self.log.clone());
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
        self.log.failure().await;
        let log = self.log.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || log.close()).await {
            tracing::warn!(%error, "closing the log failed");
        }
        std::future::pending().await
    }

    /// Ticks only while there are others to hear from: a group of one has nothing to time.
    fn follow_membership(&self) {
        let (raft, alone) = (self.raft.clone(), self.alone.clone());
        let mut metrics = raft.server_metrics();
        let adapt = move |raft: &Raft<TypeConfig, Machine>, members: usize| {
            alone.store(members == 1, Ordering::Release);
            raft.runtime_config().tick(members > 1);
        };
        adapt(&raft, metrics.borrow_watched().membership_config.nodes().count());
        self.tasks.lock().push(tokio::spawn(async move {
            while metrics.changed().await.is_ok() {
                let members = metrics.borrow_watched().membership_config.nodes().count();
                adapt(&raft, members);
            }
        }));
    }

    fn checkpoint_behind(&self) {
        let (machine, raft) = (self.machine.clone(), self.raft.clone());
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

fn write_error(error: RaftError<TypeConfig, ClientWriteError<TypeConfig>>) -> ProposeError {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => {
            ProposeError::NotLeader { leader: forward.leader_node.map(|node| node.addr) }
        }
        RaftError::APIError(ClientWriteError::ChangeMembershipError(error)) => {
            ProposeError::Membership(error.to_string())
        }
        // Another leader's log took its place: it did not happen.
        RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)) => ProposeError::NotLeader { leader: None },
        RaftError::APIError(ClientWriteError::PreconditionFailed(error)) => ProposeError::Membership(error.to_string()),
        RaftError::Fatal(error) => ProposeError::Stopped(error.to_string()),
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

fn not_ready(path: &Path, error: &dyn std::fmt::Display) -> OpenError {
    OpenError::NotReady { path: path.to_owned(), detail: error.to_string() }
}

/// Reads the checkpoint and the log and checks that they belong together.
fn load(config: &Config, disk: &Arc<dyn Disk>, store: Arc<Store>) -> Result<(LogStore, Machine), OpenError> {
    let path = &config.data_dir;
    let checkpoint_failed = |error| match error {
        CheckpointError::Io(error) => OpenError::io(path, error),
        CheckpointError::Damaged(detail) => OpenError::Corrupt { path: path.join("state.redb"), detail },
    };
    let had_checkpoint = Checkpoint::exists(&**disk).map_err(|error| OpenError::io(path, error))?;
    let log_config = LogConfig { segment_bytes: config.segment_bytes, ..LogConfig::default() };
    let log = LogStore::open(disk.clone(), log_config).map_err(|error| match error {
        LogDamage::Io(error) => OpenError::io(path, error),
        LogDamage::Corrupt { file, detail } => OpenError::Corrupt { path: path.join(file), detail },
    })?;
    let corrupt = |detail: String| OpenError::Corrupt { path: path.clone(), detail };
    if !had_checkpoint && log.purged_log_id().is_some() {
        return Err(corrupt("the log begins after a checkpoint, but state.redb is missing".to_owned()));
    }
    let checkpoint = Checkpoint::open(disk.clone()).map_err(checkpoint_failed)?;
    let machine = Machine::open(store, checkpoint, config.checkpoint_bytes).map_err(checkpoint_failed)?;
    let (applied, purged, last) = (machine.applied(), log.purged_log_id(), log.last_log_id());
    if purged > applied {
        return Err(corrupt(format!(
            "the checkpoint ends at entry {}, the log begins after entry {}: what is between is missing",
            applied.map_or(0, |log_id| log_id.index()),
            purged.map_or(0, |log_id| log_id.index()),
        )));
    }
    // With peers, power may be lost between taking over their state and noting that in the log.
    if last < applied && machine.members() < 2 {
        return Err(corrupt(format!(
            "the checkpoint ends at entry {}, the log at entry {}: log files are missing",
            applied.map_or(0, |log_id| log_id.index()),
            last.map_or(0, |log_id| log_id.index()),
        )));
    }
    Ok((log, machine))
}

/// Forms a group of one at the first start, and returns when everything acknowledged before is applied.
async fn become_ready(raft: Raft<TypeConfig, Machine>, node_id: u64, config: Config) -> Result<(), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    if !raft.is_initialized().await.map_err(|error| text(&error))? {
        if config.join {
            // It is a member when a group has added it.
            return Ok(());
        }
        let members = BTreeMap::from([(node_id, openraft::impls::BasicNode::new(&config.peer_address))]);
        raft.initialize(members).await.map_err(|error| text(&error))?;
    } else {
        let alone = |state: &openraft::RaftState<TypeConfig>| state.membership_state.effective().nodes().count() == 1;
        if raft.with_raft_state(alone).await.map_err(|error| text(&error))? {
            // Nobody else will; it does nothing when the last life's leadership was taken up again.
            raft.trigger().elect(false).await.map_err(|error| text(&error))?;
        }
    }
    let mut metrics = raft.server_metrics();
    loop {
        if metrics.borrow_watched().current_leader.is_some() {
            break;
        }
        metrics.changed().await.map_err(|error| text(&error))?;
    }
    match raft.ensure_linearizable(ReadPolicy::ReadIndex).await {
        // Another leads by now, or always did: what is acknowledged arrives here by and by.
        Ok(_) | Err(RaftError::APIError(_)) => Ok(()),
        Err(error) => Err(text(&error)),
    }
}

async fn start_raft(
    config: &Config,
    node_id: u64,
    peers: Peers,
    log: LogStore,
    machine: Machine,
) -> Result<Raft<TypeConfig, Machine>, OpenError> {
    let raft_config = openraft::Config {
        cluster_name: "coracle".to_owned(),
        heartbeat_interval: 100,
        election_timeout_min: 500,
        election_timeout_max: 1000,
        // Checkpoints are written when the log has grown, not by openraft's count of entries.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: config.entries_kept,
        // Switched on when there are peers.
        enable_tick: false,
        enable_pre_vote: Some(true),
        ..openraft::Config::default()
    };
    let raft_config = raft_config.validate().map_err(|error| not_ready(&config.data_dir, &error))?;
    Raft::new(node_id, Arc::new(raft_config), peers, log, machine)
        .await
        .map_err(|error| not_ready(&config.data_dir, &error))
}
