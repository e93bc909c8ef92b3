//! How members talk. The transport is to come with the second server; until then every peer is unreachable, which is
//! what a group of one never notices and what makes a larger group wait instead of guessing.

use std::future::Future;
use std::io;

use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse};

use crate::types::{Snapshot, TypeConfig, Vote};

/// Makes connections to members.
pub(crate) struct Peers;

/// A connection to one member.
pub(crate) struct Peer {
    id: u64,
}

impl Peer {
    fn unreachable(&self) -> Unreachable<TypeConfig> {
        let text = format!("there is no transport to member {:016x}", self.id);
        Unreachable::new(&io::Error::new(io::ErrorKind::NotConnected, text))
    }
}

impl RaftNetworkFactory<TypeConfig> for Peers {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, _: &openraft::impls::BasicNode) -> Peer {
        Peer { id: target }
    }
}

impl RaftNetworkV2<TypeConfig> for Peer {
    type SnapshotData = mvcc::Snapshot;

    async fn append_entries(
        &mut self,
        _: AppendEntriesRequest<TypeConfig>,
        _: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        Err(RPCError::Unreachable(self.unreachable()))
    }

    async fn vote(
        &mut self,
        _: VoteRequest<TypeConfig>,
        _: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        Err(RPCError::Unreachable(self.unreachable()))
    }

    async fn full_snapshot(
        &mut self,
        _: Vote,
        _: Snapshot,
        _: impl Future<Output = ReplicationClosed> + Send + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        Err(StreamingError::Unreachable(self.unreachable()))
    }
}
