//! Messages and what they mean, in both directions.

use std::time::Duration;

use bytes::Bytes;
use mvcc::Digest;
use openraft::errors::RaftError;
use openraft::raft::{AppendEntriesRequest, StreamAppendError, StreamAppendResult, TransferLeaderRequest};

use super::{Member, proto};
use crate::ProposeError;
use crate::integrity::StateReport;
use crate::log::{get_entry, put_entry};
use crate::types::{LogId, TypeConfig, Vote};

type VoteRequest = openraft::raft::VoteRequest<TypeConfig>;
type VoteResponse = openraft::raft::VoteResponse<TypeConfig>;

/// A message that is not what this version sends.
#[derive(Debug, thiserror::Error)]
#[error("a message without {0}")]
pub(crate) struct Incomplete(&'static str);

impl From<Incomplete> for tonic::Status {
    fn from(error: Incomplete) -> Self {
        tonic::Status::invalid_argument(error.to_string())
    }
}

fn log_id(id: &LogId) -> proto::LogId {
    proto::LogId { term: id.committed_leader_id().term, index: id.index() }
}

fn read_log_id(id: proto::LogId) -> LogId {
    LogId::new_term_index(id.term, id.index)
}

/// A place in the log as the metadata of a request have it.
pub(crate) fn place(id: &LogId) -> String {
    format!("{:x}.{:x}", id.committed_leader_id().term, id.index())
}

pub(crate) fn read_place(text: &str) -> Option<LogId> {
    let (term, index) = text.split_once('.')?;
    Some(LogId::new_term_index(u64::from_str_radix(term, 16).ok()?, u64::from_str_radix(index, 16).ok()?))
}

pub(crate) fn vote(vote: &Vote) -> proto::Vote {
    proto::Vote { term: vote.leader_id.term, member: vote.leader_id.voted_for, committed: vote.committed }
}

pub(crate) fn read_vote(vote: Option<proto::Vote>) -> Result<Vote, Incomplete> {
    let vote = vote.ok_or(Incomplete("a vote"))?;
    let new = if vote.committed { Vote::new_committed } else { Vote::new };
    Ok(new(vote.term, vote.member))
}

pub(crate) fn append_request(request: &AppendEntriesRequest<TypeConfig>) -> proto::AppendRequest {
    let mut entries = Vec::new();
    for entry in &request.entries {
        put_entry(&mut entries, entry);
    }
    proto::AppendRequest {
        vote: Some(vote(&request.vote)),
        previous: request.prev_log_id.as_ref().map(log_id),
        commit: request.leader_commit.as_ref().map(log_id),
        entries: entries.into(),
    }
}

pub(crate) fn read_append_request(
    request: proto::AppendRequest,
) -> Result<AppendEntriesRequest<TypeConfig>, Incomplete> {
    let mut entries = Vec::new();
    let mut rest = request.entries;
    while !rest.is_empty() {
        entries.push(get_entry(&mut rest).ok_or(Incomplete("whole entries"))?);
    }
    Ok(AppendEntriesRequest {
        vote: read_vote(request.vote)?,
        prev_log_id: request.previous.map(read_log_id),
        leader_commit: request.commit.map(read_log_id),
        entries,
    })
}

pub(crate) fn append_reply(result: &StreamAppendResult<TypeConfig>) -> proto::AppendReply {
    use proto::append_reply::Result as Reply;
    let result = match result {
        Ok(last) => Reply::Matched(proto::Matched { last: last.as_ref().map(log_id) }),
        Err(StreamAppendError::Conflict(id)) => Reply::Conflict(log_id(id)),
        Err(StreamAppendError::HigherVote(higher)) => Reply::Higher(vote(higher)),
    };
    proto::AppendReply { result: Some(result) }
}

pub(crate) fn read_append_reply(reply: proto::AppendReply) -> Result<StreamAppendResult<TypeConfig>, Incomplete> {
    use proto::append_reply::Result as Reply;
    Ok(match reply.result.ok_or(Incomplete("a result"))? {
        Reply::Matched(matched) => Ok(matched.last.map(read_log_id)),
        Reply::Conflict(id) => Err(StreamAppendError::Conflict(read_log_id(id))),
        Reply::Higher(vote) => Err(StreamAppendError::HigherVote(read_vote(Some(vote))?)),
    })
}

pub(crate) fn vote_request(request: &VoteRequest, pre: bool) -> proto::VoteRequest {
    proto::VoteRequest {
        vote: Some(vote(&request.vote)),
        last: request.last_log_id.as_ref().map(log_id),
        transfer: request.leadership_transfer,
        pre,
    }
}

/// The request, and whether it only asks.
pub(crate) fn read_vote_request(request: proto::VoteRequest) -> Result<(VoteRequest, bool), Incomplete> {
    let mut read = VoteRequest::new(read_vote(request.vote)?, request.last.map(read_log_id));
    read.leadership_transfer = request.transfer;
    Ok((read, request.pre))
}

pub(crate) fn vote_reply(reply: &VoteResponse) -> proto::VoteReply {
    proto::VoteReply {
        vote: Some(vote(&reply.vote)),
        granted: reply.vote_granted,
        last: reply.last_log_id.as_ref().map(log_id),
    }
}

pub(crate) fn read_vote_reply(reply: proto::VoteReply) -> Result<VoteResponse, Incomplete> {
    Ok(VoteResponse::new(read_vote(reply.vote)?, reply.last.map(read_log_id), reply.granted))
}

pub(crate) fn transfer_request(request: &TransferLeaderRequest<TypeConfig>) -> proto::TransferRequest {
    proto::TransferRequest {
        from: Some(vote(request.from_leader())),
        to: *request.to_node_id(),
        last: request.last_log_id().map(log_id),
    }
}

pub(crate) fn read_transfer_request(
    request: proto::TransferRequest,
) -> Result<TransferLeaderRequest<TypeConfig>, Incomplete> {
    Ok(TransferLeaderRequest::new(read_vote(request.from)?, request.to, request.last.map(read_log_id)))
}

/// What a member answers when it does not do what it was asked for.
pub(crate) fn refusal(error: &ProposeError) -> proto::Refusal {
    use proto::refusal::Kind;
    let (kind, text, bytes) = match error {
        ProposeError::Disk(text) => (Kind::Disk, text.clone(), 0),
        ProposeError::Overloaded => (Kind::Overloaded, String::new(), 0),
        ProposeError::TooLarge(bytes) => (Kind::TooLarge, String::new(), *bytes as u64),
        ProposeError::NotLeader { leader } => (Kind::NotLeader, leader.clone().unwrap_or_default(), 0),
        ProposeError::NoQuorum(text) => (Kind::NoQuorum, text.clone(), 0),
        ProposeError::NoSpace(text) => (Kind::NoSpace, text.clone(), 0),
        ProposeError::Membership(text) => (Kind::Membership, text.clone(), 0),
        ProposeError::Timeout => (Kind::Unconfirmed, String::new(), 0),
        ProposeError::Stopped(text) => (Kind::Stopped, text.clone(), 0),
    };
    proto::Refusal { kind: kind.into(), text, bytes }
}

pub(crate) fn read_refusal(refusal: proto::Refusal) -> ProposeError {
    use proto::refusal::Kind;
    match refusal.kind() {
        Kind::Disk => ProposeError::Disk(refusal.text),
        Kind::Overloaded => ProposeError::Overloaded,
        Kind::TooLarge => ProposeError::TooLarge(refusal.bytes as usize),
        Kind::NotLeader => ProposeError::NotLeader { leader: Some(refusal.text).filter(|text| !text.is_empty()) },
        Kind::NoQuorum => ProposeError::NoQuorum(refusal.text),
        Kind::NoSpace => ProposeError::NoSpace(refusal.text),
        Kind::Membership => ProposeError::Membership(refusal.text),
        // Whatever a later version may say: better not to claim that nothing happened.
        Kind::Unconfirmed | Kind::Stopped | Kind::Unspecified => ProposeError::Timeout,
    }
}

pub(crate) fn member(member: &Member) -> proto::Member {
    proto::Member {
        id: member.id,
        name: member.name.clone(),
        address: member.address.clone(),
        voter: member.voter,
        leader: member.leader,
        silent_ms: member.silent.map(|silent| silent.as_millis() as u64),
        matched: member.matched,
    }
}

pub(crate) fn read_member(member: proto::Member) -> Member {
    Member {
        id: member.id,
        name: member.name,
        address: member.address,
        voter: member.voter,
        leader: member.leader,
        silent: member.silent_ms.map(Duration::from_millis),
        matched: member.matched,
    }
}

pub(crate) fn state(report: StateReport) -> proto::StateReply {
    proto::StateReply {
        applied: report.applied,
        revision: report.revision,
        keys: report.keys,
        bytes: report.bytes,
        history_bytes: report.history_bytes,
        log_bytes: report.log_bytes,
        checkpoint_bytes: report.checkpoint_bytes,
        fsyncs: report.fsyncs,
        checkpoints: report.checkpoints,
        checkpoint_failures: report.checkpoint_failures,
        quota_bytes: report.quota_bytes,
        quota_alarm: report.quota_alarm,
        digest: report.digest.map(|digest| digest.to_bytes().to_vec().into()).unwrap_or_default(),
        behind: report.behind,
        problem: report.problem.unwrap_or_default(),
    }
}

pub(crate) fn read_state(reply: proto::StateReply) -> StateReport {
    StateReport {
        applied: reply.applied,
        revision: reply.revision,
        keys: reply.keys,
        bytes: reply.bytes,
        history_bytes: reply.history_bytes,
        log_bytes: reply.log_bytes,
        checkpoint_bytes: reply.checkpoint_bytes,
        fsyncs: reply.fsyncs,
        checkpoints: reply.checkpoints,
        checkpoint_failures: reply.checkpoint_failures,
        quota_bytes: reply.quota_bytes,
        quota_alarm: reply.quota_alarm,
        digest: Digest::from_bytes(&reply.digest),
        behind: reply.behind,
        problem: Some(reply.problem).filter(|problem| !problem.is_empty()),
    }
}

/// A core that has stopped, as an answer.
pub(crate) fn stopped<E: std::error::Error>(error: RaftError<TypeConfig, E>) -> tonic::Status {
    tonic::Status::unavailable(format!("the store has stopped: {error}"))
}

/// A transaction as a message.
pub(crate) fn propose_request(transaction: Bytes) -> proto::ProposeRequest {
    proto::ProposeRequest { transaction }
}
