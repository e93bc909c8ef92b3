//! What a member does by itself: as the leader, it makes voters of learners that have caught up, lets go of those that
//! died, finishes changes that an earlier leader left half done, and hands its office over when its disk fails. Every
//! member makes its name and address known.
//!
//! It wakes at changes, and by a timer only while there are other members.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use openraft::ChangeMembers;
use openraft::async_runtime::WatchReceiver;
use tokio::time::{Instant, timeout};

use crate::core::Core;
use crate::members::Change;
use crate::peer::Member;

const LOOK: Duration = Duration::from_millis(200);
/// Entries that a learner may be behind when it becomes a voter.
const BEHIND_MAX: u64 = 64;
/// A learner that does not answer for so long is let go.
const LEARNER_SILENT_MAX: Duration = Duration::from_secs(30);
/// A learner that has not caught up in this time is let go.
const LEARNER_TIME_MAX: Duration = Duration::from_secs(10 * 60);
/// A disk that does not take a write for so long is not one to lead with.
const DISK_STUCK: Duration = Duration::from_secs(1);
/// How long another member may take to become the leader.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(1);
/// Between two tries to make this member's address known.
const ANNOUNCE_PAUSE: Duration = Duration::from_secs(1);

/// How long learners get.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pub(crate) silent: Duration,
    pub(crate) total: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { silent: LEARNER_SILENT_MAX, total: LEARNER_TIME_MAX }
    }
}

/// Looks after the group as long as it is polled. `own` are this member's name and address, when it has peers.
pub(crate) async fn take_care(core: Arc<Core>, own: Option<(String, String)>, patience: Patience) {
    let mut metrics = core.raft.server_metrics();
    let mut state = State {
        core,
        own,
        patience,
        voted: false,
        announced: None,
        learners: BTreeMap::new(),
        joint_since: None,
        refused_since: None,
        told_of_disk: false,
    };
    loop {
        let leads = state.core.leads();
        {
            let mut since = state.core.leads_since.lock();
            *since = if leads { since.or_else(|| Some(Instant::now())) } else { None };
        }
        state.look_for_itself();
        if leads {
            state.tend().await;
        } else {
            state.learners.clear();
            state.joint_since = None;
        }
        let waits = state.announce().await;
        let others = state.core.nodes().len() > 1;
        if (leads && others) || waits {
            // Either way there is something to look at.
            let _ = timeout(LOOK, metrics.changed()).await;
        } else if metrics.changed().await.is_err() {
            return;
        }
    }
}

struct State {
    core: Arc<Core>,
    own: Option<(String, String)>,
    patience: Patience,
    /// Whether this member was one that votes.
    voted: bool,
    /// When this member last tried to make its address known.
    announced: Option<Instant>,
    /// Since when this leader knows each learner.
    learners: BTreeMap<u64, Instant>,
    joint_since: Option<Instant>,
    /// Since when the disk takes nothing new.
    refused_since: Option<Instant>,
    /// That the disk takes nothing is said once.
    told_of_disk: bool,
}

impl State {
    /// Whoever sees its own removal does not ask for votes any more, and so is told by nobody else. Lists of members from
    /// before it joined do not have it either.
    fn look_for_itself(&mut self) {
        self.voted |= self.core.votes();
        if self.voted && self.core.listed().is_none() {
            self.core.identity.note_removed();
        }
    }

    async fn tend(&mut self) {
        let members = self.core.members_here();
        if members.len() < 2 {
            return;
        }
        if self.disk_is_stuck() {
            if !std::mem::replace(&mut self.told_of_disk, true) {
                tracing::warn!("the disk does not take writes; handing the lead to another server");
            }
            // The next try comes after the same time: the others may be no better off.
            self.refused_since = None;
            hand_over(&self.core).await;
            return;
        }
        self.told_of_disk &= self.refused_since.is_some();
        self.finish_half_done().await;
        let newest = members.iter().find(|member| member.leader).and_then(|member| member.matched).unwrap_or(0);
        self.learners.retain(|id, _| members.iter().any(|member| member.id == *id && !member.voter));
        for learner in members.iter().filter(|member| !member.voter) {
            let since = *self.learners.entry(learner.id).or_insert_with(Instant::now);
            self.tend_learner(learner, since, newest).await;
        }
    }

    /// A write that does not come to its end, or writes that are not even begun because the disk is full.
    fn disk_is_stuck(&mut self) -> bool {
        if self.core.log.admit(0).is_ok() {
            self.refused_since = None;
        } else {
            self.refused_since.get_or_insert_with(Instant::now);
        }
        let refuses = self.refused_since.is_some_and(|since| since.elapsed() >= DISK_STUCK);
        refuses || self.core.log.stuck() >= Some(DISK_STUCK)
    }

    async fn tend_learner(&self, learner: &Member, since: Instant, newest: u64) {
        let silent = learner.silent.unwrap_or(since.elapsed()).min(since.elapsed());
        let caught_up = learner.matched.is_some_and(|matched| matched + BEHIND_MAX >= newest);
        let id = format!("{:016x}", learner.id);
        let change = if learner.reachable() && caught_up {
            tracing::info!(name = learner.name, id, "a new server has caught up and becomes a voter");
            ChangeMembers::AddVoterIds(BTreeSet::from([learner.id]))
        } else if silent > self.patience.silent || since.elapsed() > self.patience.total {
            tracing::warn!(name = learner.name, id, ?silent, "a new server did not catch up and is let go");
            ChangeMembers::RemoveNodes(BTreeSet::from([learner.id]))
        } else {
            return;
        };
        let _one_at_a_time = self.core.changing.lock().await;
        if let Err(error) = self.core.commit(change).await {
            tracing::warn!(%error, id, "cannot change the members, trying again");
        }
    }

    /// A leader that died between the two steps of a change leaves the second to the next one.
    async fn finish_half_done(&mut self) {
        let joint = {
            let metrics = self.core.raft.server_metrics();
            let metrics = metrics.borrow_watched();
            metrics.membership_config.membership().get_joint_config().len() > 1
        };
        if !joint {
            self.joint_since = None;
            return;
        }
        let since = *self.joint_since.get_or_insert_with(Instant::now);
        // Its own changes pass through this state within one round.
        if since.elapsed() < LOOK * 5 {
            return;
        }
        let Ok(_one_at_a_time) = self.core.changing.try_lock() else { return };
        if let Err(error) = self.core.commit(ChangeMembers::AddVoterIds(BTreeSet::new())).await {
            tracing::warn!(%error, "cannot finish a change of members, trying again");
        }
    }

    /// Makes this member's name and address known if the group has others. True when that has to be tried again.
    async fn announce(&mut self) -> bool {
        let Some((name, address)) = &self.own else { return false };
        let id = self.core.identity.id();
        let known = self.core.nodes().get(&id).map(|node| node.name == *name && node.address == *address);
        if known != Some(false) || self.core.identity.is_removed() {
            return false;
        }
        if self.announced.is_some_and(|at| at.elapsed() < ANNOUNCE_PAUSE) {
            return true;
        }
        self.announced = Some(Instant::now());
        let change = Change::Add { id, name: name.clone(), address: address.clone() };
        // The leader cannot reach this member before it knows the address, so this one has to look for the leader.
        match self.core.change_anywhere(change).await {
            Ok(()) => tracing::info!(name, address, "made the address known"),
            // An election is under way, most likely.
            Err(error) => tracing::info!(%error, name, address, "cannot make the address known yet"),
        }
        true
    }
}

/// Makes another member the leader, if there is one that can be. True when this one does not lead any more.
pub(crate) async fn hand_over(core: &Core) -> bool {
    let mut others: Vec<_> =
        core.members_here().into_iter().filter(|member| member.voter && !member.leader && member.reachable()).collect();
    // The one that has most.
    others.sort_by_key(|member| std::cmp::Reverse(member.matched));
    for other in others {
        if transfer(core, other.id).await {
            return true;
        }
    }
    !core.leads()
}

/// Makes this member the leader and waits for it.
pub(crate) async fn transfer(core: &Core, to: u64) -> bool {
    if core.raft.trigger().transfer_leader(to).await.is_err() {
        return false;
    }
    let mut metrics = core.raft.server_metrics();
    let other = async {
        while core.leader().is_none_or(|leader| leader == core.identity.id()) {
            if metrics.changed().await.is_err() {
                return;
            }
        }
    };
    timeout(TRANSFER_TIMEOUT, other).await.is_ok()
}
