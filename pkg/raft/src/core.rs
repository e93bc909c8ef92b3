//! What the local member can do, and how the leader is found for what it cannot.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use mvcc::{Outcome, Store};
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::{Raft, ReadPolicy, ServerState};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use crate::batch::Batches;
use crate::config::{Config, ProposeError};
use crate::identity::Identity;
use crate::integrity::Watchman;
use crate::log::LogStore;
use crate::machine::Machine;
use crate::peer::{Link, Links, wire};
use crate::quota::Quota;
use crate::rounds::Rounds;
use crate::types::{LogId, PeerNode, TypeConfig};

const PERMIT_BYTES: usize = 1024;
/// A write or a change of members waits so long for a leader.
const LEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Pauses between two looks for the leader; a change of leader ends them.
const LOOK_FIRST: Duration = Duration::from_millis(5);
const LOOK_MAX: Duration = Duration::from_millis(80);

/// What the parts of a member share.
pub(crate) struct Core {
    pub(crate) raft: Raft<TypeConfig, Machine>,
    pub(crate) store: Arc<Store>,
    pub(crate) machine: Machine,
    pub(crate) log: LogStore,
    pub(crate) identity: Arc<Identity>,
    pub(crate) links: Option<Arc<Links>>,
    batches: Arc<Batches>,
    /// In units of [`PERMIT_BYTES`].
    pub(crate) proposals: Arc<Semaphore>,
    proposals_max: u32,
    pub(crate) timeout: Duration,
    read_timeout: Duration,
    entry_bytes_max: usize,
    /// Whether this member is the only one.
    pub(crate) alone: AtomicBool,
    /// Questions for the index that reads wait for: of this member, and of all members to the leader.
    reads: Arc<Rounds>,
    leader_reads: Arc<Rounds>,
    /// Since when this member leads.
    pub(crate) leads_since: Mutex<Option<Instant>>,
    /// Held while the members are changed.
    pub(crate) changing: tokio::sync::Mutex<()>,
    /// Questions put to a majority, or to the leader.
    pub(crate) read_rounds: AtomicU64,
    pub(crate) quota: Quota,
    pub(crate) watchman: Arc<Watchman>,
}

/// Who is asked.
pub(crate) enum Leader {
    Here,
    There(Arc<Link>),
}

/// The answer to what only the leader can do.
type Asked<T> = BoxFuture<'static, Result<T, ProposeError>>;

impl Core {
    pub(crate) fn new(
        config: &Config,
        raft: Raft<TypeConfig, Machine>,
        machine: Machine,
        log: LogStore,
        identity: Arc<Identity>,
        links: Option<Arc<Links>>,
        watchman: Arc<Watchman>,
    ) -> Arc<Self> {
        Arc::new(Self {
            store: machine.store().clone(),
            raft,
            machine,
            log,
            identity,
            links,
            batches: Arc::default(),
            proposals: Arc::new(Semaphore::new(config.proposals_bytes_max as usize / PERMIT_BYTES)),
            proposals_max: config.proposals_bytes_max / PERMIT_BYTES as u32,
            timeout: config.proposal_timeout,
            read_timeout: config.read_timeout,
            entry_bytes_max: (config.segment_bytes / 2) as usize,
            alone: AtomicBool::new(false),
            reads: Arc::default(),
            leader_reads: Arc::default(),
            leads_since: Mutex::new(None),
            changing: tokio::sync::Mutex::default(),
            read_rounds: AtomicU64::new(0),
            quota: Quota::new(config.quota_bytes, config.quota_exempt.clone()),
            watchman,
        })
    }

    pub(crate) fn leads(&self) -> bool {
        self.raft.server_metrics().borrow_watched().state == ServerState::Leader
    }

    pub(crate) fn leader(&self) -> Option<u64> {
        self.raft.server_metrics().borrow_watched().current_leader
    }

    pub(crate) fn nodes(&self) -> BTreeMap<u64, PeerNode> {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        metrics.membership_config.nodes().map(|(id, node)| (*id, node.clone())).collect()
    }

    /// The newest list of members that has this one in it, by its place in the log; agreed on or not.
    pub(crate) fn listed(&self) -> Option<LogId> {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        let lists = [&metrics.membership_config, &metrics.committed_membership_config];
        let with_own = lists.into_iter().filter(|list| list.membership().get_node(&self.identity.id()).is_some());
        with_own.filter_map(|list| *list.log_id()).max()
    }

    /// Whether the members have agreed that this one votes.
    pub(crate) fn votes(&self) -> bool {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        metrics.committed_membership_config.voter_ids().any(|id| id == self.identity.id())
    }

    /// Where the leader is, as far as this member knows.
    fn find_leader(&self) -> Option<Leader> {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        let id = metrics.current_leader?;
        if id == self.identity.id() {
            return (metrics.state == ServerState::Leader).then_some(Leader::Here);
        }
        let node = metrics.membership_config.membership().get_node(&id)?;
        Some(Leader::There(self.links.as_ref()?.get(id, &node.address)))
    }

    /// Asks the leader, and whoever is leader after it, until one answers. Asked again is only after an answer that
    /// nothing happened ([`ProposeError::NotLeader`], and a disk that fails where others could lead).
    pub(crate) async fn ask_leader<T>(
        self: &Arc<Self>,
        deadline: Instant,
        ask: impl Fn(Leader) -> Asked<T>,
    ) -> Result<T, ProposeError> {
        let mut pause = LOOK_FIRST;
        let mut changes = None;
        loop {
            let error = match self.find_leader() {
                Some(leader) => match ask(leader).await {
                    Ok(answer) => return Ok(answer),
                    Err(error) => error,
                },
                None => ProposeError::NotLeader { leader: None },
            };
            let elsewhere = match &error {
                ProposeError::NotLeader { .. } => true,
                ProposeError::Disk(_) => !self.alone.load(Ordering::Acquire),
                _ => false,
            };
            if !elsewhere || self.proposals.is_closed() {
                return Err(error);
            }
            if Instant::now() + pause >= deadline || self.identity.is_removed() {
                return Err(match error {
                    ProposeError::NotLeader { .. } => ProposeError::NoQuorum(self.why_no_leader()),
                    other => other,
                });
            }
            let changes = changes.get_or_insert_with(|| self.raft.server_metrics());
            // Whether it changed or not: it is looked again.
            let _ = timeout(pause, changes.changed()).await;
            pause = (pause * 2).min(LOOK_MAX);
        }
    }

    pub(crate) fn why_no_leader(&self) -> String {
        if self.identity.is_removed() {
            return "this server was removed from the group".to_owned();
        }
        let nodes = self.nodes();
        if nodes.is_empty() {
            return "this server was not added to a group yet".to_owned();
        }
        let failing = self.links.as_ref().map(|links| links.failing()).unwrap_or_default();
        let missing: Vec<_> = nodes
            .iter()
            .filter(|(id, _)| failing.contains(id))
            .map(|(id, node)| if node.name.is_empty() { format!("{id:016x}") } else { node.name.clone() })
            .collect();
        let of = nodes.len();
        match missing.as_slice() {
            [] => format!("no majority of its {of} servers agreed on one in time"),
            names => format!("of its {of} servers, {} cannot be reached", names.join(", ")),
        }
    }

    /// Room for a proposal of this size among those under way.
    pub(crate) async fn turn(&self, bytes: usize) -> Result<OwnedSemaphorePermit, ProposeError> {
        if bytes > self.entry_bytes_max {
            return Err(ProposeError::TooLarge(bytes));
        }
        let permits = (bytes.div_ceil(PERMIT_BYTES) as u32).clamp(1, self.proposals_max);
        // Mostly there is room. Where others wait there is none: what is given back is theirs.
        if let Ok(turn) = self.proposals.clone().try_acquire_many_owned(permits) {
            return Ok(turn);
        }
        match timeout(self.timeout, self.proposals.clone().acquire_many_owned(permits)).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) => Err(ProposeError::Stopped("it is shutting down".to_owned())),
            Err(_) => Err(ProposeError::Overloaded),
        }
    }

    /// Writes an encoded transaction through the leader, wherever that is, and returns when it is applied here.
    pub(crate) async fn propose(self: &Arc<Self>, transaction: Bytes) -> Result<Outcome, ProposeError> {
        let _turn = self.turn(transaction.len()).await?;
        let give_up = Instant::now() + LEADER_TIMEOUT.min(self.timeout);
        let (index, outcome) = self
            .ask_leader(give_up, |leader| {
                let (core, transaction) = (self.clone(), transaction.clone());
                match leader {
                    Leader::Here => Box::pin(async move { core.propose_here(transaction).await }),
                    Leader::There(link) => Box::pin(async move { core.propose_there(&link, transaction).await }),
                }
            })
            .await?;
        // Who wrote here reads here: the leader answered when it had applied the entry itself.
        if self.machine.has_applied(index) {
            return Ok(outcome);
        }
        match timeout(self.timeout, self.machine.wait_applied(index)).await {
            Ok(()) => Ok(outcome),
            Err(_) => Err(ProposeError::Timeout),
        }
    }

    /// Writes an encoded transaction as the leader. Gives the index of its entry with what became of it.
    pub(crate) async fn propose_here(&self, transaction: Bytes) -> Result<(u64, Outcome), ProposeError> {
        self.log.admit(transaction.len() as u64).map_err(ProposeError::Disk)?;
        self.quota.admit(&self.store, &transaction).map_err(ProposeError::NoSpace)?;
        let answer = self.batches.propose(&self.raft, transaction, self.alone.load(Ordering::Acquire));
        match timeout(self.timeout, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(ProposeError::Stopped("it is shutting down".to_owned())),
            Err(_) => Err(ProposeError::Timeout),
        }
    }

    /// Has the leader write it.
    async fn propose_there(&self, link: &Arc<Link>, transaction: Bytes) -> Result<(u64, Outcome), ProposeError> {
        let mut client = link.client().await.map_err(not_sent)?;
        let asking = client.propose(link.request(wire::propose_request(transaction)));
        // From here on it may have arrived.
        let reply = match timeout(self.timeout, asking).await {
            Ok(Ok(reply)) => reply.into_inner(),
            Ok(Err(status)) => {
                let error = link.failed(&status);
                return Err(if refused_before(&status) { not_sent(error) } else { ProposeError::Timeout });
            }
            Err(_) => return Err(ProposeError::Timeout),
        };
        match reply.refusal {
            Some(refusal) => Err(self.noted(wire::read_refusal(refusal))),
            None => Ok((reply.index, Outcome::decode(reply.outcome).map_err(|_| ProposeError::Timeout)?)),
        }
    }

    /// The leader's alarm is this member's, too.
    fn noted(&self, refusal: ProposeError) -> ProposeError {
        if matches!(refusal, ProposeError::NoSpace(_)) {
            self.quota.refused(&self.store);
        }
        refusal
    }

    /// Returns when the store's state is at least as new as every write that was acknowledged before the call.
    pub(crate) async fn read_barrier(self: &Arc<Self>) -> Result<(), ProposeError> {
        // A write is acknowledged after it was applied, so a member that is alone has nothing to wait for.
        if self.alone.load(Ordering::Acquire) && self.leads() {
            return Ok(());
        }
        let core = self.clone();
        let index = self.reads.join(move || core.clone().read_round()).await?;
        // The rounds have their own end; what is left is to catch up.
        match timeout(self.timeout, self.machine.wait_applied(index)).await {
            Ok(()) => Ok(()),
            Err(_) => Err(ProposeError::NoQuorum("this server does not catch up with it".to_owned())),
        }
    }

    async fn read_round(self: Arc<Self>) -> Result<u64, ProposeError> {
        let deadline = Instant::now() + self.read_timeout;
        self.read_rounds.fetch_add(1, Ordering::Relaxed);
        self.ask_leader(deadline, |leader| {
            let core = self.clone();
            match leader {
                Leader::Here => Box::pin(async move { core.leader_read_index().await }),
                Leader::There(link) => Box::pin(async move { core.ask_read_index(&link, deadline).await }),
            }
        })
        .await
    }

    /// The index that a read begun now has to wait for, as the leader. Shared by all who ask at the same time.
    pub(crate) async fn leader_read_index(self: &Arc<Self>) -> Result<u64, ProposeError> {
        let raft = self.raft.clone();
        let ask = move || {
            let raft = raft.clone();
            async move {
                // The round is a task of its own, so nobody drops this half way.
                match raft.get_read_log_id(ReadPolicy::ReadIndex).await {
                    Ok((read, _)) => Ok(read.index()),
                    // It does not lead, or not a majority says so: nothing was read.
                    Err(RaftError::APIError(error)) => Err(ProposeError::NotLeader { leader: Some(error.to_string()) }),
                    Err(RaftError::Fatal(error)) => Err(ProposeError::Stopped(error.to_string())),
                }
            }
        };
        self.leader_reads.join(ask).await
    }

    async fn ask_read_index(&self, link: &Arc<Link>, deadline: Instant) -> Result<u64, ProposeError> {
        let mut client = link.client().await.map_err(not_sent)?;
        let asking = client.read_index(link.request(crate::peer::proto::ReadIndexRequest {}));
        // Asking twice does no harm, so every failure is one to go on after.
        let late = |_| ProposeError::NotLeader { leader: None };
        let reply = timeout_at(deadline, asking).await.map_err(late)?;
        let reply = reply.map_err(|status| not_sent(link.failed(&status)))?.into_inner();
        match reply.refusal.map(wire::read_refusal) {
            None => Ok(reply.index),
            // It stopped while it was asked.
            Some(ProposeError::Timeout) => Err(ProposeError::NotLeader { leader: None }),
            Some(error) => Err(error),
        }
    }

    /// Until when somebody waits for a leader.
    pub(crate) fn leader_deadline(&self) -> Instant {
        Instant::now() + LEADER_TIMEOUT.min(self.timeout)
    }
}

/// The other was not asked: somebody else may be.
pub(crate) fn not_sent(error: std::io::Error) -> ProposeError {
    ProposeError::NotLeader { leader: Some(error.to_string()) }
}

/// Whether a status was given before the request was looked at.
pub(crate) fn refused_before(status: &tonic::Status) -> bool {
    matches!(
        status.code(),
        tonic::Code::PermissionDenied | tonic::Code::Unauthenticated | tonic::Code::FailedPrecondition
    )
}

pub(crate) fn write_error(error: RaftError<TypeConfig, ClientWriteError<TypeConfig>>) -> ProposeError {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => {
            ProposeError::NotLeader { leader: forward.leader_node.map(|node| node.address) }
        }
        RaftError::APIError(ClientWriteError::ChangeMembershipError(error)) => {
            ProposeError::Membership(error.to_string())
        }
        // A new leader's log took its place here. Whether another member had it by then is not known.
        RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)) => ProposeError::Timeout,
        RaftError::APIError(ClientWriteError::PreconditionFailed(error)) => ProposeError::Membership(error.to_string()),
        RaftError::Fatal(error) => ProposeError::Stopped(error.to_string()),
    }
}
