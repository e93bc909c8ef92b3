//! Who belongs to the group: looked at on any member, changed by the leader.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::{ChangeMembers, Instant as _, RaftState, ServerState};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::complete::complete;
use crate::config::ProposeError;
use crate::core::{Core, Leader, not_sent, refused_before, write_error};
use crate::peer::{Link, Member, proto, wire};
use crate::types::{PeerNode, TypeConfig};

/// A member that was silent for so long gives way to another of its name.
const GIVES_WAY_AFTER: Duration = Duration::from_secs(5);
/// How long the rest of the group may take to show that it would be a majority.
const SHOW_TIMEOUT: Duration = Duration::from_secs(2);
/// Between two tries while an earlier change is under way.
const PAUSE: Duration = Duration::from_millis(50);
/// How long a list of members may take before this member says what it knows itself.
const LIST_TIMEOUT: Duration = Duration::from_secs(1);
const NAME_MAX: usize = 253;

/// A change of members.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// A new one, or another name or address of one that is there.
    Add { id: u64, name: String, address: String },
    /// One leaves.
    Remove { id: u64 },
}

impl Core {
    /// The members as this one knows them; complete on the leader.
    pub(crate) fn members_here(&self) -> Vec<Member> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        let voters: BTreeSet<u64> = membership.voter_ids().collect();
        let leads = metrics.state == ServerState::Leader;
        let describe = |(id, node): (&u64, &PeerNode)| {
            let own = *id == self.identity.id();
            let heard = metrics.heartbeat.as_ref().and_then(|heard| *heard.get(id)?);
            let matched = metrics.replication.as_ref().and_then(|all| *all.get(id)?).map(|log_id| log_id.index());
            Member {
                id: *id,
                name: node.name.clone(),
                address: node.address.clone(),
                voter: voters.contains(id),
                leader: metrics.current_leader == Some(*id),
                silent: if leads && !own {
                    heard.map(|at| at.into_inner().elapsed())
                } else {
                    own.then_some(Duration::ZERO)
                },
                matched: if leads && own { metrics.last_log_index } else { matched.filter(|_| leads) },
            }
        };
        metrics.membership_config.nodes().map(describe).collect()
    }

    /// The members as the leader sees them, or, when there is none, as this one does.
    pub(crate) async fn members(self: &Arc<Self>) -> Vec<Member> {
        let deadline = Instant::now() + LIST_TIMEOUT;
        let asked = self.ask_leader(deadline, |leader| {
            let core = self.clone();
            match leader {
                Leader::Here => Box::pin(async move { Ok(core.members_here()) }),
                Leader::There(link) => Box::pin(async move { ask_members(&link, deadline).await }),
            }
        });
        // Nobody leads as far as can be told from here, and what was heard of the others is old.
        let unknown = |member: Member| Member { leader: false, matched: None, ..member };
        asked.await.unwrap_or_else(|_| self.members_here().into_iter().map(unknown).collect())
    }

    /// Changes the members through the leader, wherever that is.
    pub(crate) async fn change(self: &Arc<Self>, change: Change) -> Result<(), ProposeError> {
        self.ask_leader(self.leader_deadline(), |leader| {
            let (core, change) = (self.clone(), change.clone());
            match leader {
                Leader::Here => Box::pin(async move { core.change_here(change).await }),
                Leader::There(link) => Box::pin(async move { core.change_there(&link, change).await }),
            }
        })
        .await
    }

    /// Changes the members through whichever other member leads, also when this one knows of no leader.
    pub(crate) async fn change_anywhere(self: &Arc<Self>, change: Change) -> Result<(), ProposeError> {
        if self.leads() {
            return self.change(change).await;
        }
        let mut result = Err(ProposeError::NotLeader { leader: None });
        for (id, node) in self.nodes() {
            let Some(links) = self.links.as_ref().filter(|_| id != self.identity.id()) else { continue };
            result = self.change_there(&links.get(id, &node.address), change.clone()).await;
            if !matches!(result, Err(ProposeError::NotLeader { .. })) {
                return result;
            }
        }
        result
    }

    async fn change_there(&self, link: &Arc<Link>, change: Change) -> Result<(), ProposeError> {
        use proto::change_request::Change as Sent;
        let change = match change {
            Change::Add { id, name, address } => Sent::Add(proto::Addition { id, name, address }),
            Change::Remove { id } => Sent::Remove(id),
        };
        let mut client = link.client().await.map_err(not_sent)?;
        let asking = client.change(link.request(proto::ChangeRequest { change: Some(change) }));
        match timeout(self.timeout, asking).await {
            Ok(Ok(reply)) => reply.into_inner().refusal.map_or(Ok(()), |refusal| Err(wire::read_refusal(refusal))),
            Ok(Err(status)) => {
                let error = link.failed(&status);
                Err(if refused_before(&status) { not_sent(error) } else { ProposeError::Timeout })
            }
            Err(_) => Err(ProposeError::Timeout),
        }
    }

    /// Changes the members as the leader.
    pub(crate) async fn change_here(&self, change: Change) -> Result<(), ProposeError> {
        let _one_at_a_time = self.changing.lock().await;
        self.list_is_newest().await?;
        match change {
            Change::Add { id, name, address } => self.add(id, PeerNode { name, address }).await,
            Change::Remove { id } => self.remove(id).await,
        }
    }

    async fn add(&self, id: u64, node: PeerNode) -> Result<(), ProposeError> {
        check_names(&node)?;
        let members = self.members_here();
        if let Some(there) = members.iter().find(|member| member.id == id) {
            if there.name == node.name && there.address == node.address {
                return Ok(());
            }
            let other = members.iter().find(|member| member.id != id && member.name == node.name);
            if let Some(other) = other {
                return Err(refuse(format!("{} is the name of member {:016x}", node.name, other.id)));
            }
            return self.commit(ChangeMembers::SetNodes(BTreeMap::from([(id, node)]))).await;
        }
        if self.machine.was_removed(id) {
            return Err(refuse(format!(
                "member {id:016x} was removed from the group; to join again it needs an empty data directory"
            )));
        }
        if let Some(there) = members.iter().find(|member| member.name == node.name) {
            self.give_way(there, &node.address).await?;
        }
        self.commit(ChangeMembers::AddNodes(BTreeMap::from([(id, node)]))).await
    }

    /// Removes a member whose name another one at `address` wants, if it is dead. One that does not vote yet is an earlier
    /// attempt to join of whoever has its address now.
    async fn give_way(&self, there: &Member, address: &str) -> Result<(), ProposeError> {
        let earlier = !there.voter && there.address == address;
        let led_long = self.leads_since.lock().is_some_and(|since| since.elapsed() > GIVES_WAY_AFTER);
        let dead = there.silent.map_or(led_long, |silent| silent > GIVES_WAY_AFTER);
        if !earlier && (!dead || there.leader) {
            return Err(refuse(format!(
                "a member named {} is already there and answers, at {}; remove it first, or give this one another name",
                there.name, there.address
            )));
        }
        tracing::warn!(name = there.name, id = format!("{:016x}", there.id), "a dead member is replaced by its name");
        self.remove(there.id).await
    }

    async fn remove(&self, id: u64) -> Result<(), ProposeError> {
        let members = self.members_here();
        let Some(member) = members.iter().find(|member| member.id == id) else {
            return Err(refuse(format!("there is no member {id:016x}")));
        };
        if !member.voter {
            return self.commit(ChangeMembers::RemoveNodes(BTreeSet::from([id]))).await;
        }
        self.rest_is_a_majority(id).await?;
        self.commit(ChangeMembers::RemoveVoters(BTreeSet::from([id]))).await
    }

    /// Whether the voters but one could go on: they have to answer now, not a moment ago.
    async fn rest_is_a_majority(&self, without: u64) -> Result<(), ProposeError> {
        let begun = Instant::now();
        let deadline = begun + SHOW_TIMEOUT;
        let answers = |member: &Member| member.leader || member.silent.is_some_and(|silent| silent < begun.elapsed());
        let mut metrics = self.raft.metrics();
        loop {
            let rest: Vec<_> =
                self.members_here().into_iter().filter(|member| member.voter && member.id != without).collect();
            if rest.is_empty() {
                return Err(refuse("it is the only one that votes".to_owned()));
            }
            let reachable = rest.iter().filter(|member| answers(member)).count();
            if reachable > rest.len() / 2 {
                return Ok(());
            }
            if timeout_at(deadline, metrics.changed()).await.is_err() {
                let silent = rest.iter().filter(|member| !answers(member)).map(|member| member.name.as_str());
                let silent = silent.collect::<Vec<_>>().join(", ");
                let needed = rest.len() / 2 + 1;
                return Err(refuse(format!(
                    "without it the store could not write: {needed} of the other {} servers are needed, and {silent} cannot be reached",
                    rest.len()
                )));
            }
        }
    }

    /// Has a change agreed on, after those that are under way.
    pub(crate) async fn commit(&self, change: ChangeMembers<u64, PeerNode>) -> Result<(), ProposeError> {
        let deadline = Instant::now() + self.timeout;
        loop {
            self.is_one_of_them().await?;
            let (raft, change) = (self.raft.clone(), change.clone());
            let changing = complete(async move { raft.change_membership(change, false).await });
            match timeout_at(deadline, changing).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(
                    ChangeMembershipError::InProgress(_),
                )))) if Instant::now() + PAUSE < deadline => sleep(PAUSE).await,
                Ok(Err(error)) => return Err(write_error(error)),
                Err(_) => return Err(ProposeError::Timeout),
            }
        }
    }

    /// Waits until [`members_here`](Self::members_here) has the last change: a change is answered a moment before that.
    async fn list_is_newest(&self) -> Result<(), ProposeError> {
        let newest = self.raft_state(|state| *state.membership_state.effective().log_id()).await?;
        let mut metrics = self.raft.metrics();
        let seen = metrics.wait_until(|metrics| *metrics.membership_config.log_id() >= newest);
        match timeout(self.timeout, seen).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(ProposeError::Stopped(error.to_string())),
            Err(_) => Err(ProposeError::Timeout),
        }
    }

    /// A leader that was removed has its office until it is handed on, and openraft would let it change the members still.
    async fn is_one_of_them(&self) -> Result<(), ProposeError> {
        let id = self.identity.id();
        match self.raft_state(move |state| state.membership_state.effective().get_node(&id).is_some()).await? {
            true => Ok(()),
            false => Err(ProposeError::NotLeader { leader: None }),
        }
    }

    async fn raft_state<T: Send + 'static>(
        &self,
        look: impl FnOnce(&RaftState<TypeConfig>) -> T + Send + 'static,
    ) -> Result<T, ProposeError> {
        let raft = self.raft.clone();
        let looked = complete(async move { raft.with_raft_state(look).await }).await;
        looked.map_err(|error| ProposeError::Stopped(error.to_string()))
    }
}

async fn ask_members(link: &Arc<Link>, deadline: Instant) -> Result<Vec<Member>, ProposeError> {
    let mut client = link.client().await.map_err(not_sent)?;
    let late = |_| ProposeError::Timeout;
    let reply = timeout_at(deadline, client.members(link.request(proto::MembersRequest {}))).await.map_err(late)?;
    let reply = reply.map_err(|status| not_sent(link.failed(&status)))?.into_inner();
    match reply.refusal {
        Some(refusal) => Err(wire::read_refusal(refusal)),
        None => Ok(reply.members.into_iter().map(wire::read_member).collect()),
    }
}

fn refuse(text: String) -> ProposeError {
    ProposeError::Membership(text)
}

/// Both go into one text, with a space between them.
fn check_names(node: &PeerNode) -> Result<(), ProposeError> {
    let fits = |text: &str| !text.is_empty() && text.len() <= NAME_MAX && !text.contains(char::is_whitespace);
    for (what, text) in [("name", &node.name), ("address", &node.address)] {
        if !fits(text) {
            return Err(refuse(format!("{text:?} cannot be the {what} of a member")));
        }
    }
    Ok(())
}
