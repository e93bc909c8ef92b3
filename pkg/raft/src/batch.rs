//! Proposals of many callers go to openraft together.
//!
//! Each round through the core, the log and the state machine costs several wake-ups, however much goes along. While
//! enough rounds are under way, proposals wait and share the next one; on a quiet member nobody waits.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use mvcc::Outcome;
use openraft::Raft;
use openraft::errors::RaftError;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::config::ProposeError;
use crate::core::write_error;
use crate::machine::Machine;
use crate::types::{Command, Response, TypeConfig};

/// Rounds under way on a member that is alone: one at the disk, one on its way there.
const ROUNDS_ALONE: usize = 2;
/// In a group a round takes as long as the network: a proposal should not wait for two.
const ROUNDS: usize = 16;
/// What one round takes; the log's frames are of this order.
const ROUND_BYTES: usize = 1 << 20;
const ROUND_PROPOSALS: usize = 1024;

/// The index of a proposal's entry, and what became of it.
pub(crate) type Answer = Result<(u64, Outcome), ProposeError>;

/// The proposals that wait for a round.
#[derive(Default)]
pub(crate) struct Batches {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Proposal>,
    under_way: usize,
}

struct Proposal {
    transaction: Bytes,
    done: oneshot::Sender<Answer>,
}

impl Batches {
    /// Proposes an encoded transaction. The answer comes, whether it is waited for or not; a sender that is dropped
    /// without one means that the member stopped.
    pub(crate) fn propose(
        self: &Arc<Self>,
        raft: &Raft<TypeConfig, Machine>,
        transaction: Bytes,
        alone: bool,
    ) -> oneshot::Receiver<Answer> {
        let (done, answer) = oneshot::channel();
        let begins = {
            let mut state = self.state.lock();
            state.waiting.push_back(Proposal { transaction, done });
            let begins = state.under_way < if alone { ROUNDS_ALONE } else { ROUNDS };
            state.under_way += usize::from(begins);
            begins
        };
        if begins {
            let rounds = Rounds { batches: self.clone(), ended: false };
            // A task of its own: a call into openraft may not be dropped half way (see `complete`). Not under the lock: a
            // runtime that is ending drops the task at once, which takes the lock itself.
            tokio::spawn(rounds.run(raft.clone()));
        }
        answer
    }
}

/// Takes what waits, again and again, until nothing does.
struct Rounds {
    batches: Arc<Batches>,
    ended: bool,
}

impl Rounds {
    async fn run(mut self, raft: Raft<TypeConfig, Machine>) {
        loop {
            // Who can run now may be about to propose, too: that goes along. When nobody can, this costs next to nothing.
            tokio::task::yield_now().await;
            let Some(batch) = self.next() else { return };
            write(&raft, batch).await;
        }
    }

    fn next(&mut self) -> Option<Vec<Proposal>> {
        let mut state = self.batches.state.lock();
        let (mut batch, mut bytes) = (Vec::with_capacity(state.waiting.len().min(ROUND_PROPOSALS)), 0);
        while bytes < ROUND_BYTES
            && batch.len() < ROUND_PROPOSALS
            && let Some(proposal) = state.waiting.pop_front()
        {
            bytes += proposal.transaction.len();
            batch.push(proposal);
        }
        if batch.is_empty() {
            // Under the same lock as the look, so that no proposal is left without a round.
            state.under_way -= 1;
            self.ended = true;
            return None;
        }
        Some(batch)
    }
}

impl Drop for Rounds {
    /// After a panic, or at the end of the runtime, others may go on; where there are none, nobody is left waiting.
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let mut state = self.batches.state.lock();
        state.under_way -= 1;
        if state.under_way == 0 {
            let left = std::mem::take(&mut state.waiting);
            drop(state);
            // Wakes those who wait.
            drop(left);
        }
    }
}

async fn write(raft: &Raft<TypeConfig, Machine>, batch: Vec<Proposal>) {
    let (commands, waiting): (Vec<_>, Vec<_>) = batch.into_iter().map(|p| (Command(p.transaction), p.done)).unzip();
    let mut written = match raft.client_write_many(commands).await {
        Ok(written) => written,
        Err(error) => {
            let error = write_error(RaftError::Fatal(error));
            // Whoever gave up does not hear it.
            waiting.into_iter().for_each(|done| drop(done.send(Err(error.clone()))));
            return;
        }
    };
    for done in waiting {
        let answer = match written.next().await {
            Some(Ok(Ok(written))) => match written.response {
                Response::Outcome(outcome) => Ok((written.log_id.index(), outcome)),
                Response::Nothing => {
                    Err(ProposeError::Stopped("a transaction was applied as something else".to_owned()))
                }
            },
            Some(Ok(Err(error))) => Err(write_error(RaftError::APIError(error))),
            Some(Err(error)) => Err(write_error(RaftError::Fatal(error))),
            None => return,
        };
        drop(done.send(answer));
    }
}
