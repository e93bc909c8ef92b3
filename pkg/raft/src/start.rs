//! From a data directory to a running raft core.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use mvcc::Store;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::RaftError;
use openraft::{Raft, ReadPolicy, SnapshotPolicy};

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::config::Config;
use crate::directory::OpenError;
use crate::disk::Disk;
use crate::log::{LogConfig, LogDamage, LogStore};
use crate::machine::Machine;
use crate::peer::Peers;
use crate::types::{PeerNode, TypeConfig};

/// Milliseconds between two heartbeats.
const HEARTBEAT: u64 = 80;
/// A follower that hears nothing waits for the leader's lease, which is the longer of these, and then for a random time
/// between both. So a dead leader is missed after 0.3 to 0.6 s; when two followers miss it at the same moment and split the
/// votes, it takes one more of the random times.
const ELECTION_MIN: u64 = 100;
const ELECTION_MAX: u64 = 300;
/// Pauses before a peer is tried again, as openraft writes them.
const BACKOFF: &str = "25ms 50ms 100ms ...500ms";

pub(crate) fn not_ready(path: &Path, error: &dyn std::fmt::Display) -> OpenError {
    OpenError::NotReady { path: path.to_owned(), detail: error.to_string() }
}

/// Reads the checkpoint and the log and checks that they belong together.
pub(crate) fn load(config: &Config, disk: &Arc<dyn Disk>, store: Arc<Store>) -> Result<(LogStore, Machine), OpenError> {
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

/// Forms a group of one at the first start.
pub(crate) async fn form(raft: &Raft<TypeConfig, Machine>, id: u64, config: &Config) -> Result<(), String> {
    let own = config.peers.as_ref().map_or_else(PeerNode::default, |peers| PeerNode {
        name: peers.name.clone(),
        address: peers.advertise.clone(),
    });
    raft.initialize(BTreeMap::from([(id, own)])).await.map_err(|error| error.to_string())
}

/// Returns when everything acknowledged before is applied in a group of one.
pub(crate) async fn become_ready(raft: Raft<TypeConfig, Machine>) -> Result<(), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    // Nobody else will; it does nothing when the last life's leadership was taken up again.
    raft.trigger().elect(false).await.map_err(|error| text(&error))?;
    let mut metrics = raft.server_metrics();
    while metrics.borrow_watched().current_leader.is_none() {
        metrics.changed().await.map_err(|error| text(&error))?;
    }
    match raft.ensure_linearizable(ReadPolicy::ReadIndex).await {
        // Others came meanwhile: what is acknowledged arrives here by and by.
        Ok(_) | Err(RaftError::APIError(_)) => Ok(()),
        Err(error) => Err(text(&error)),
    }
}

pub(crate) async fn start_raft(
    config: &Config,
    node_id: u64,
    peers: Peers,
    log: LogStore,
    machine: Machine,
) -> Result<Raft<TypeConfig, Machine>, OpenError> {
    let raft_config = openraft::Config {
        cluster_name: "coracle".to_owned(),
        heartbeat_interval: HEARTBEAT,
        election_timeout_min: ELECTION_MIN,
        election_timeout_max: ELECTION_MAX,
        // A leader that hears of no majority falls silent, so that those who hear it but cannot answer elect another.
        quorum_loss_probe_interval: Some(2 * ELECTION_MAX),
        // Checkpoints are written when the log has grown, not by openraft's count of entries.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: config.entries_kept,
        // Switched on when there are peers.
        enable_tick: false,
        enable_pre_vote: Some(true),
        backoff: BACKOFF.to_owned(),
        // Never in the last life's term: what of its log was committed is forgotten, so that reads would be of before that
        // until something is written. One that is alone elects itself at once.
        enable_leader_restore: Some(false),
        ..openraft::Config::default()
    };
    let raft_config = raft_config.validate().map_err(|error| not_ready(&config.data_dir, &error))?;
    Raft::new(node_id, Arc::new(raft_config), peers, log, machine)
        .await
        .map_err(|error| not_ready(&config.data_dir, &error))
}
