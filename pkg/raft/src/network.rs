//! How members talk: openraft's side of it. What carries the messages is a [`Transport`]; a group of one has none, and
//! then every peer is unreachable, which it never notices.

use std::future::Future;
use std::io;
use std::sync::Arc;

use futures::future::BoxFuture;
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse};

use crate::types::{Snapshot, TypeConfig, Vote};

/// A member as its peers know it.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) id: u64,
    /// Where it listens.
    #[allow(dead_code)] // For transports that dial; the one of the tests does not.
    pub(crate) address: String,
}

/// Carries one message to a member and brings its answer. An error means that it is not known to have arrived.
pub(crate) trait Transport: Send + Sync + 'static {
    /// Entries, or a heartbeat.
    fn append_entries(
        &self,
        to: &Member,
        request: AppendEntriesRequest<TypeConfig>,
    ) -> BoxFuture<'static, io::Result<AppendEntriesResponse<TypeConfig>>>;

    /// A request for a vote, or (`pre`) a question whether one would be given.
    fn vote(
        &self,
        to: &Member,
        pre: bool,
        request: VoteRequest<TypeConfig>,
    ) -> BoxFuture<'static, io::Result<VoteResponse<TypeConfig>>>;

    /// The whole state, for a member that the log does not reach any more.
    fn snapshot(
        &self,
        to: &Member,
        vote: Vote,
        snapshot: Snapshot,
    ) -> BoxFuture<'static, io::Result<SnapshotResponse<TypeConfig>>>;
}

/// Makes connections to members.
pub(crate) struct Peers {
    pub(crate) transport: Option<Arc<dyn Transport>>,
}

/// A connection to one member.
pub(crate) struct Peer {
    member: Member,
    transport: Option<Arc<dyn Transport>>,
}

impl Peer {
    /// The answer in time, or that the member cannot be reached.
    async fn call<T>(
        &self,
        option: &RPCOption,
        send: impl FnOnce(&dyn Transport) -> BoxFuture<'static, io::Result<T>>,
    ) -> Result<T, Unreachable<TypeConfig>> {
        let Some(transport) = &self.transport else {
            let text = format!("there is no transport to member {:016x}", self.member.id);
            return Err(Unreachable::new(&io::Error::new(io::ErrorKind::NotConnected, text)));
        };
        match tokio::time::timeout(option.hard_ttl(), send(&**transport)).await {
            Ok(answer) => answer.map_err(|error| Unreachable::new(&error)),
            Err(late) => Err(Unreachable::new(&late)),
        }
    }
}

impl RaftNetworkFactory<TypeConfig> for Peers {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, node: &openraft::impls::BasicNode) -> Peer {
        Peer { member: Member { id: target, address: node.addr.clone() }, transport: self.transport.clone() }
    }
}

impl RaftNetworkV2<TypeConfig> for Peer {
    type SnapshotData = mvcc::Snapshot;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        let sent = self.call(&option, |transport| transport.append_entries(&self.member, request)).await;
        sent.map_err(RPCError::Unreachable)
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let sent = self.call(&option, |transport| transport.vote(&self.member, false, request)).await;
        sent.map_err(RPCError::Unreachable)
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let sent = self.call(&option, |transport| transport.vote(&self.member, true, request)).await;
        sent.map_err(RPCError::Unreachable)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let sending = self.call(&option, |transport| transport.snapshot(&self.member, vote, snapshot));
        tokio::select! {
            sent = sending => sent.map_err(StreamingError::Unreachable),
            closed = cancel => Err(StreamingError::Closed(closed)),
        }
    }
}
