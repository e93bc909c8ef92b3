//! What other members ask of this one.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use openraft::async_runtime::WatchReceiver;
use tokio::time::timeout;
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status, Streaming};

use super::proto::peer_server::Peer;
use super::snapshot::{Incoming, KEEP};
use super::{CLUSTER, FROM, LISTED, Member, REMOVED, REPLACED, TO, proto, wire};
use crate::complete::complete;
use crate::config::ProposeError;
use crate::core::Core;
use crate::members::Change;
use crate::types::LogId;

/// A sender of the state that says nothing for so long is gone.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(10);

/// The server's half.
#[derive(Clone)]
pub(crate) struct Service {
    core: Arc<Core>,
    incoming: Incoming,
}

/// What a request is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum For {
    /// What a leader tells its followers. A leader is known by its term, even one that this member does not know yet.
    Following,
    /// What only a member may ask.
    Member,
}

impl Service {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core, incoming: Incoming::default() }
    }

    /// Checks that the caller means this member, of this cluster, and still belongs to it. Says who it is.
    fn admit<T>(&self, request: &Request<T>, what: For) -> Result<u64, Status> {
        let number = |key: &str| {
            let text = request.metadata().get(key).and_then(|value| value.to_str().ok());
            text.and_then(|text| u64::from_str_radix(text, 16).ok())
                .ok_or_else(|| Status::invalid_argument(format!("a request without {key}")))
        };
        let (cluster, from, to) = (number(CLUSTER)?, number(FROM)?, number(TO)?);
        let identity = &self.core.identity;
        if identity.replaces(cluster) {
            let why = "this server was reset or restored, and the other's data is of before that";
            return Err(marked(why.to_owned(), REPLACED, "true"));
        }
        let listed = request.metadata().get(LISTED).and_then(|value| wire::read_place(value.to_str().ok()?));
        if to != identity.id() {
            // The one that is meant may be gone, and this one have its address: nobody else may be left to tell the caller.
            if identity.cluster() == Some(cluster) {
                self.refuse_who_left(from, listed)?;
            }
            return Err(Status::failed_precondition(format!("this is member {:016x}, not {to:016x}", identity.id())));
        }
        // A joiner belongs to whoever adds it; nobody else has a certificate of its peers' authority.
        let own = match identity.cluster() {
            Some(own) => own,
            None if cluster == 0 || what != For::Following => {
                return Err(Status::failed_precondition("this server does not belong to a cluster yet"));
            }
            None => identity.adopt(cluster).map_err(|error| Status::unavailable(error.to_string()))?,
        };
        // A joiner that does not know its cluster yet asks nothing.
        if cluster != own {
            return Err(Status::permission_denied(format!(
                "this server belongs to cluster {own:016x}, the other to cluster {cluster:016x}"
            )));
        }
        if what == For::Member {
            self.refuse_who_left(from, listed)?;
        }
        if let Some(links) = &self.core.links {
            links.heard_of(from);
        }
        Ok(from)
    }

    async fn receive(&self, from: u64, mut chunks: Streaming<proto::SnapshotChunk>) -> Result<proto::Vote, Status> {
        let mut receiving = None;
        loop {
            let late = |_| Status::deadline_exceeded("the sender of the state is silent");
            let message = timeout(CHUNK_TIMEOUT, chunks.message()).await.map_err(late)??;
            let mut message = message.ok_or_else(|| Status::data_loss("the state ends before its end"))?;
            let receiving = match (&receiving, message.header.take()) {
                (Some(receiving), _) => receiving,
                (None, Some(header)) => &*receiving.insert(self.incoming.begin(from, header)),
                (None, None) => return Err(Status::invalid_argument("a state without its header")),
            };
            let taken = receiving.take(&message).map_err(|error| Status::data_loss(error.to_string()))?;
            if let Some((vote, snapshot)) = taken {
                let raft = self.core.raft.clone();
                let installing = complete(async move { raft.install_full_snapshot(vote, snapshot).await });
                let installed = installing.await.map_err(|error| Status::unavailable(error.to_string()))?;
                return Ok(wire::vote(&installed.vote));
            }
        }
    }

    /// Tells a member that it was removed: the newest list of members that it was in, at this place in the log, is older
    /// than one that was agreed on and that it is not in.
    fn refuse_who_left(&self, member: u64, listed: Option<LogId>) -> Result<(), Status> {
        let metrics = self.core.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        let agreed = &metrics.committed_membership_config;
        match (listed, agreed.log_id()) {
            (Some(listed), Some(place)) if listed < *place && agreed.membership().get_node(&member).is_none() => {
                Err(marked(format!("member {member:016x} was removed from the cluster"), REMOVED, &wire::place(place)))
            }
            _ => Ok(()),
        }
    }

    fn only_leader(&self) -> Result<(), ProposeError> {
        // Nothing is passed on twice: the caller finds the leader itself.
        if self.core.leads() { Ok(()) } else { Err(ProposeError::NotLeader { leader: None }) }
    }
}

/// A refusal from which the caller is to learn.
fn marked(why: String, mark: &'static str, value: &str) -> Status {
    let mut status = Status::permission_denied(why);
    // Hexadecimal digits and points are always valid.
    if let Ok(value) = MetadataValue::try_from(value) {
        status.metadata_mut().insert(mark, value);
    }
    status
}

#[tonic::async_trait]
impl Peer for Service {
    type AppendStream = Pin<Box<dyn Stream<Item = Result<proto::AppendReply, Status>> + Send>>;

    async fn append(
        &self,
        request: Request<Streaming<proto::AppendRequest>>,
    ) -> Result<Response<Self::AppendStream>, Status> {
        self.admit(&request, For::Following)?;
        // A message that cannot be read ends the stream, as a broken connection does.
        let requests = request.into_inner().map(|message| {
            let message = message.map_err(|status| io::Error::other(status.to_string()))?;
            wire::read_append_request(message).map_err(io::Error::other)
        });
        let requests = requests.scan((), |(), request| {
            if let Err(error) = &request {
                tracing::debug!(%error, "a leader's stream broke");
            }
            std::future::ready(request.ok())
        });
        let replies = self.core.raft.stream_append(requests).map(|result| match result {
            Ok(result) => Ok(wire::append_reply(&result)),
            Err(error) => Err(Status::unavailable(format!("the store has stopped: {error}"))),
        });
        Ok(Response::new(Box::pin(replies)))
    }

    async fn vote(&self, request: Request<proto::VoteRequest>) -> Result<Response<proto::VoteReply>, Status> {
        self.admit(&request, For::Member)?;
        let (request, pre) = wire::read_vote_request(request.into_inner())?;
        let raft = self.core.raft.clone();
        let asking = complete(async move { if pre { raft.pre_vote(request).await } else { raft.vote(request).await } });
        Ok(Response::new(wire::vote_reply(&asking.await.map_err(wire::stopped)?)))
    }

    async fn transfer_leadership(
        &self,
        request: Request<proto::TransferRequest>,
    ) -> Result<Response<proto::TransferReply>, Status> {
        self.admit(&request, For::Following)?;
        let request = wire::read_transfer_request(request.into_inner())?;
        let raft = self.core.raft.clone();
        let asking = complete(async move { raft.handle_transfer_leader(request).await });
        let answer = asking.await.map_err(|error| Status::unavailable(error.to_string()))?;
        let refused = answer.err().map(|error| error.to_string()).unwrap_or_default();
        Ok(Response::new(proto::TransferReply { refused }))
    }

    async fn snapshot_progress(
        &self,
        request: Request<proto::SnapshotProgressRequest>,
    ) -> Result<Response<proto::SnapshotProgressReply>, Status> {
        let from = self.admit(&request, For::Following)?;
        let chunks = self.incoming.progress(from, request.get_ref().id);
        Ok(Response::new(proto::SnapshotProgressReply { chunks }))
    }

    async fn snapshot(
        &self,
        request: Request<Streaming<proto::SnapshotChunk>>,
    ) -> Result<Response<proto::SnapshotReply>, Status> {
        let from = self.admit(&request, For::Following)?;
        let received = self.receive(from, request.into_inner()).await;
        if let Err(error) = &received {
            tracing::warn!(error = error.message(), from = format!("{from:016x}"), "the state did not come whole");
            let incoming = self.incoming.clone();
            tokio::spawn(async move {
                tokio::time::sleep(KEEP).await;
                incoming.forget_old();
            });
        }
        Ok(Response::new(proto::SnapshotReply { vote: Some(received?) }))
    }

    async fn propose(&self, request: Request<proto::ProposeRequest>) -> Result<Response<proto::ProposeReply>, Status> {
        self.admit(&request, For::Member)?;
        let transaction = request.into_inner().transaction;
        let done = async {
            self.only_leader()?;
            let _turn = self.core.turn(transaction.len()).await?;
            self.core.propose_here(transaction).await
        };
        Ok(Response::new(match done.await {
            Ok((index, outcome)) => proto::ProposeReply { index, outcome: outcome.encode(), refusal: None },
            Err(error) => proto::ProposeReply { refusal: Some(wire::refusal(&error)), ..Default::default() },
        }))
    }

    async fn read_index(
        &self,
        request: Request<proto::ReadIndexRequest>,
    ) -> Result<Response<proto::ReadIndexReply>, Status> {
        self.admit(&request, For::Member)?;
        let asked = async {
            self.only_leader()?;
            self.core.leader_read_index().await
        };
        Ok(Response::new(match asked.await {
            Ok(index) => proto::ReadIndexReply { index, refusal: None },
            Err(error) => proto::ReadIndexReply { index: 0, refusal: Some(wire::refusal(&error)) },
        }))
    }

    async fn change(&self, request: Request<proto::ChangeRequest>) -> Result<Response<proto::ChangeReply>, Status> {
        use proto::change_request::Change as Sent;
        self.admit(&request, For::Member)?;
        let change = match request.into_inner().change {
            Some(Sent::Add(proto::Addition { id, name, address })) => Change::Add { id, name, address },
            Some(Sent::Remove(id)) => Change::Remove { id },
            None => return Err(Status::invalid_argument("a change without a change")),
        };
        let done = async {
            self.only_leader()?;
            self.core.change_here(change).await
        };
        let refusal = done.await.err().map(|error| wire::refusal(&error));
        Ok(Response::new(proto::ChangeReply { refusal }))
    }

    async fn state(&self, request: Request<proto::StateRequest>) -> Result<Response<proto::StateReply>, Status> {
        self.admit(&request, For::Member)?;
        let proto::StateRequest { index, revision } = request.into_inner();
        Ok(Response::new(wire::state(self.core.report_at(index, revision).await)))
    }

    async fn members(&self, request: Request<proto::MembersRequest>) -> Result<Response<proto::MembersReply>, Status> {
        self.admit(&request, For::Member)?;
        Ok(Response::new(match self.only_leader() {
            Ok(()) => {
                let members: Vec<Member> = self.core.members_here();
                proto::MembersReply { members: members.iter().map(wire::member).collect(), refusal: None }
            }
            Err(error) => proto::MembersReply { members: Vec::new(), refusal: Some(wire::refusal(&error)) },
        }))
    }
}
