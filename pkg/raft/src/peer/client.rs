//! What openraft sends to a peer.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, stream};
use openraft::OptionalSend;
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderError,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use tokio::time::timeout;

use super::links::{Link, Links};
use super::{snapshot, wire};
use crate::integrity::Watchman;
use crate::types::{PeerNode, Snapshot, TypeConfig, Vote};

/// How long a call that is answered at once may take: the time of a vote.
const CALL_TIMEOUT: Duration = Duration::from_secs(1);

/// Makes connections to members. Without links (a group of one) every peer is unreachable, which it never notices.
pub(crate) struct Peers {
    pub(crate) links: Option<Arc<Links>>,
    pub(crate) watchman: Arc<Watchman>,
}

/// One member. It is looked for anew each time: its address may have changed, and openraft keeps this for long.
pub(crate) struct Peer {
    id: u64,
    links: Option<Arc<Links>>,
    watchman: Arc<Watchman>,
}

type Appended = Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>>;

fn unreachable(error: &io::Error) -> Unreachable<TypeConfig> {
    Unreachable::new(error)
}

impl Peer {
    fn link(&self) -> io::Result<Arc<Link>> {
        let none = || {
            let text = format!("this server has no way to member {:016x}", self.id);
            io::Error::new(io::ErrorKind::NotConnected, text)
        };
        self.links.as_ref().and_then(|links| links.find(self.id)).ok_or_else(none)
    }

    /// Sends requests as they come; the answers come in the same order, while further requests are under way.
    async fn stream(
        &self,
        mut requests: impl Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
    ) -> io::Result<BoxStream<'static, Appended>> {
        // openraft makes its pause after a failure when it is asked for the next request, so that comes first.
        let Some(first) = requests.next().await else { return Ok(stream::empty().boxed()) };
        let link = self.link()?;
        let opening = async {
            let mut client = link.client().await?;
            let requests = stream::iter([first]).chain(requests).map(|request| wire::append_request(&request));
            client.append(link.request(requests)).await.map_err(|status| link.failed(&status))
        };
        let replies = timeout(CALL_TIMEOUT, opening).await??.into_inner();
        let read = move |reply| {
            let read = match reply {
                Ok(reply) => wire::read_append_reply(reply).map_err(io::Error::other),
                Err(status) => Err(link.failed(&status)),
            };
            read.map_err(|error| RPCError::Unreachable(unreachable(&error)))
        };
        Ok(replies.map(read).boxed())
    }

    async fn ask(&self, pre: bool, request: VoteRequest<TypeConfig>) -> io::Result<VoteResponse<TypeConfig>> {
        let link = self.link()?;
        let asking = async {
            let request = link.request(wire::vote_request(&request, pre));
            link.client().await?.vote(request).await.map_err(|status| link.failed(&status))
        };
        wire::read_vote_reply(timeout(CALL_TIMEOUT, asking).await??.into_inner()).map_err(io::Error::other)
    }
}

impl RaftNetworkFactory<TypeConfig> for Peers {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, node: &PeerNode) -> Peer {
        if let Some(links) = &self.links
            && links.find(target).is_none()
        {
            links.get(target, &node.address);
        }
        Peer { id: target, links: self.links.clone(), watchman: self.watchman.clone() }
    }
}

impl RaftNetworkV2<TypeConfig> for Peer {
    type SnapshotData = mvcc::Snapshot;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        _: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        let mut replies = self.stream(stream::iter([request])).await.map_err(|error| unreachable(&error))?;
        let none = || Unreachable::new(&io::Error::from(io::ErrorKind::UnexpectedEof));
        replies.next().await.ok_or_else(none)?.map(AppendEntriesResponse::from)
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Appended>, RPCError<TypeConfig>>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        Box::pin(async move {
            let replies = self.stream(input).await.map_err(|error| unreachable(&error))?;
            // openraft goes on asking until an answer says to stop.
            let replies = replies.scan(false, |stopped, reply| {
                let stop = std::mem::replace(stopped, !matches!(reply, Ok(Ok(_))));
                std::future::ready((!stop).then_some(reply))
            });
            Ok(replies.boxed())
        })
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        _: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        Ok(self.ask(false, request).await.map_err(|error| unreachable(&error))?)
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        _: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        Ok(self.ask(true, request).await.map_err(|error| unreachable(&error))?)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        if !self.watchman.is_trusted() {
            let why = io::Error::other("the state of this server is wrong, and not for others");
            return Err(unreachable(&why).into());
        }
        tokio::select! {
            sent = snapshot::send(|| self.link(), vote, snapshot) => Ok(sent.map_err(|error| unreachable(&error))?),
            closed = cancel => Err(StreamingError::Closed(closed)),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        _: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        let link = self.link().map_err(|error| unreachable(&error))?;
        let asking = async {
            let message = link.request(wire::transfer_request(&request));
            link.client().await?.transfer_leadership(message).await.map_err(|status| link.failed(&status))
        };
        let late = |_| io::Error::from(io::ErrorKind::TimedOut);
        let reply = timeout(CALL_TIMEOUT, asking).await.map_err(late).flatten().map_err(|error| unreachable(&error))?;
        if reply.get_ref().refused.is_empty() {
            return Ok(Ok(()));
        }
        // The reason is in the other member's log; openraft only notes that there is one.
        let expected = *request.from_leader();
        Ok(Err(TransferLeaderError::VoteChanged { expected, actual: expected }))
    }
}
