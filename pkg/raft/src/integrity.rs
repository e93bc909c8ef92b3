//! Whether all members have the same state, and whether this one's memory still holds what was written.
//!
//! Every member asks each other one for the digest of the state at the revision that it has itself just now, every few
//! minutes and whenever somebody wants to know. Digests are kept up with every change, so this costs one message a member.
//! A member whose digest is not that of the majority knows it and says so: it does not lead if another can, and gives its
//! state to nobody. Once an hour each record is compared with its own digest, a few at a time.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use mvcc::{Digest, Snapshot};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::caretaker::hand_over;
use crate::core::Core;
use crate::peer::{Link, Member, proto};

/// How long another member may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it waits for an entry that the asker has applied.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(3);
/// Records looked at between two pauses.
const RECORDS_A_STEP: usize = 512;
/// Comparisons between two looks at all records.
const COMPARISONS_A_LOOK: u32 = 12;

/// What is known of the members' states.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Integrity {
    /// The revision that was compared last; 0 before the first time.
    pub revision: u64,
    /// Names of the members whose state is not that of the majority; when there is no majority, of all that differ.
    pub differing: Vec<String>,
    /// This member is among them.
    pub own: bool,
    /// There is no majority: which is right cannot be told.
    pub unclear: bool,
    /// What this member's memory does not hold as it was written.
    pub damaged: Option<String>,
}

impl Integrity {
    /// Whether this member's state may be given to others.
    pub fn is_trusted(&self) -> bool {
        !self.own && self.damaged.is_none()
    }

    /// What is wrong with this member, in words.
    pub fn problem(&self) -> Option<String> {
        const REMEDY: &str = "remove it with `coracle server remove` and let it join again with an empty folder";
        if let Some(damaged) = &self.damaged {
            return Some(format!("the memory of this server changed: {damaged}; restart it on a machine that is well"));
        }
        match (self.own, self.unclear) {
            (false, _) => None,
            (true, false) => Some(format!(
                "the state of this server is not that of the others at revision {}; {REMEDY}",
                self.revision
            )),
            (true, true) => Some(format!(
                "the states of {} differ at revision {}, and which is right cannot be told; find the wrong one, then {REMEDY}",
                self.differing.join(" and "),
                self.revision
            )),
        }
    }
}

/// One member's state in figures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateReport {
    /// Index of the newest applied log entry.
    pub applied: u64,
    /// The newest revision.
    pub revision: u64,
    /// Keys.
    pub keys: u64,
    /// Bytes of the newest versions of all keys.
    pub bytes: u64,
    /// Bytes of the past.
    pub history_bytes: u64,
    /// Bytes of the log's files.
    pub log_bytes: u64,
    /// Bytes of the checkpoint's file.
    pub checkpoint_bytes: u64,
    /// Syncs of the log since the start.
    pub fsyncs: u64,
    /// Checkpoints since the start.
    pub checkpoints: u64,
    /// Those that failed.
    pub checkpoint_failures: u64,
    /// Bytes that the state may have; 0 for no limit.
    pub quota_bytes: u64,
    /// The limit was reached.
    pub quota_alarm: bool,
    /// The digest of the state at the revision that was asked about; none when the member cannot tell.
    pub digest: Option<Digest>,
    /// What is wrong with it, as it knows itself.
    pub problem: Option<String>,
    /// It has applied all that the asker had and not its revision.
    pub(crate) behind: bool,
}

/// What this member knows; shared with those who may not serve a state that is wrong.
#[derive(Default)]
pub(crate) struct Watchman(Mutex<Integrity>);

impl Watchman {
    pub(crate) fn known(&self) -> Integrity {
        self.0.lock().clone()
    }

    pub(crate) fn is_trusted(&self) -> bool {
        self.0.lock().is_trusted()
    }

    /// Notes what was found. What is wrong is said once.
    fn note(&self, change: impl FnOnce(&mut Integrity)) {
        let mut known = self.0.lock();
        let before = (known.problem().is_some(), known.differing.clone());
        change(&mut known);
        match known.problem() {
            Some(problem) if !before.0 => tracing::error!(revision = known.revision, "{problem}"),
            Some(_) => {}
            None if before.0 => tracing::info!(revision = known.revision, "the state is that of the others again"),
            None if known.differing != before.1 && !known.differing.is_empty() => tracing::error!(
                revision = known.revision,
                differing = known.differing.join(", "),
                "other servers have another state than the majority"
            ),
            None => {}
        }
    }
}

/// Compares and looks for as long as it is polled.
pub(crate) async fn keep_watch(core: Arc<Core>, every: Duration) {
    let mut comparisons = 0;
    loop {
        sleep(every).await;
        comparisons += 1;
        if comparisons % COMPARISONS_A_LOOK == 0 {
            core.look_at_records().await;
        }
        core.states().await;
    }
}

impl Core {
    /// All members with their states in figures, which are compared.
    pub(crate) async fn states(self: &Arc<Self>) -> Vec<(Member, Option<StateReport>)> {
        let members = self.members().await;
        let (index, revision, digest) = self.machine.moment();
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        let asked = members.into_iter().map(|member| async move {
            let report = match member.id == self.identity.id() {
                true => Some(StateReport { digest: Some(digest), ..self.report() }),
                false => match self.links.as_ref().and_then(|links| links.find(member.id)) {
                    Some(link) => ask(&link, index, revision, deadline).await,
                    None => None,
                },
            };
            (member, report)
        });
        let states = futures::future::join_all(asked).await;
        let found = compare(self.identity.id(), &states);
        self.watchman.note(|known| {
            let damaged = known.damaged.take();
            *known = Integrity { revision, damaged, ..found };
        });
        self.stand_back().await;
        states
    }

    /// The figures of this member, as another asks for them.
    pub(crate) async fn report_at(&self, index: u64, revision: u64) -> StateReport {
        let caught_up = timeout(CATCH_UP_TIMEOUT, self.machine.wait_applied(index)).await.is_ok();
        let digest = self.store.digest_at(revision);
        let behind = caught_up && matches!(digest, Err(mvcc::OutOfRange::Future { .. }));
        StateReport { digest: digest.ok().filter(|_| caught_up), behind, ..self.report() }
    }

    pub(crate) fn report(&self) -> StateReport {
        let (store, (checkpoints, checkpoint_failures)) = (self.store.statistics(), self.machine.checkpoints());
        StateReport {
            applied: self.machine.applied().map_or(0, |log_id| log_id.index()),
            revision: self.store.revision().get(),
            keys: store.keys as u64,
            bytes: store.bytes,
            history_bytes: store.ring_bytes as u64,
            log_bytes: self.log.size(),
            checkpoint_bytes: self.machine.checkpoint_size(),
            fsyncs: self.log.counters().fsyncs.load(Ordering::Relaxed),
            checkpoints,
            checkpoint_failures,
            quota_bytes: self.quota.bytes(),
            quota_alarm: self.quota.alarm(&self.store),
            digest: None,
            problem: self.watchman.known().problem(),
            behind: false,
        }
    }

    /// One whose state is wrong leads nobody, if another can.
    async fn stand_back(&self) {
        let known = self.watchman.known();
        let wrong = !known.is_trusted() && !known.unclear && !self.alone.load(Ordering::Acquire);
        self.raft.runtime_config().elect(!wrong);
        if wrong && self.leads() {
            tracing::warn!("handing the lead to a server whose state is right");
            hand_over(self).await;
        }
    }

    /// Compares every record with its own digest.
    pub(crate) async fn look_at_records(&self) {
        let damaged = look(self.store.snapshot()).await;
        self.watchman.note(|known| known.damaged = damaged);
    }
}

/// What is not as it was written, by its key.
async fn look(state: Snapshot) -> Option<String> {
    let (mut after, mut digest) = (None::<Bytes>, Digest::default());
    loop {
        let mut last = None;
        for record in state.range(b"", after.as_deref()).take(RECORDS_A_STEP) {
            if !record.is_intact() {
                return Some(format!("{} does not match its checksum", String::from_utf8_lossy(record.key())));
            }
            digest += record.digest();
            last = Some(record.key_bytes());
        }
        if last.is_none() {
            return (digest != state.digest()).then(|| "its records are not those that it counted".to_owned());
        }
        after = last;
        // Others have work to do.
        tokio::task::yield_now().await;
    }
}

async fn ask(link: &Arc<Link>, index: u64, revision: u64, deadline: Instant) -> Option<StateReport> {
    let asking = async {
        let mut client = link.client().await.ok()?;
        let reply = client.state(link.request(proto::StateRequest { index, revision })).await;
        reply.map_err(|status| link.failed(&status)).ok()
    };
    let reply = timeout_at(deadline, asking).await.ok()??.into_inner();
    Some(crate::peer::wire::read_state(reply))
}

/// Who differs, of those who can tell.
fn compare(own: u64, states: &[(Member, Option<StateReport>)]) -> Integrity {
    // One that has another revision after the same entries has a state of its own.
    let votes: Vec<_> = states
        .iter()
        .filter_map(|(member, report)| {
            let report = report.as_ref()?;
            match (report.digest, report.behind) {
                (Some(digest), _) => Some((member, Some(digest))),
                (None, true) => Some((member, None)),
                (None, false) => None,
            }
        })
        .collect();
    let mut counts: HashMap<Digest, usize> = HashMap::new();
    for digest in votes.iter().filter_map(|(_, digest)| *digest) {
        *counts.entry(digest).or_default() += 1;
    }
    let right = counts.into_iter().find(|(_, count)| count * 2 > votes.len()).map(|(digest, _)| digest);
    let wrong: Vec<_> =
        votes.iter().filter(|(_, digest)| right.is_none() || *digest != right).map(|(member, _)| *member).collect();
    Integrity {
        revision: 0,
        own: wrong.iter().any(|member| member.id == own),
        unclear: right.is_none() && !votes.is_empty(),
        differing: wrong.iter().map(|member| member.name.clone()).collect(),
        damaged: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: u64) -> Member {
        let name = format!("n{id}");
        Member { id, name, address: String::new(), voter: true, leader: id == 1, silent: None, matched: None }
    }

    /// Digests by number; 0 is one that differs in its revision, none one that does not answer.
    fn compared(own: u64, digests: &[Option<u64>]) -> (Vec<String>, bool, bool) {
        let report = |number: u64| StateReport {
            digest: (number > 0).then(|| Digest::of([number, 0, 0], b"")),
            behind: number == 0,
            ..StateReport::default()
        };
        let states: Vec<_> = digests.iter().zip(1..).map(|(digest, id)| (member(id), digest.map(report))).collect();
        let found = compare(own, &states);
        (found.differing, found.own, found.unclear)
    }

    #[tokio::test]
    async fn every_record_is_looked_at_and_none_twice() {
        for count in [0, 1, RECORDS_A_STEP, RECORDS_A_STEP + 1, 3 * RECORDS_A_STEP] {
            let store = mvcc::Store::new(mvcc::Limits::default());
            for number in 0..count {
                let create = crate::tests::create(&format!("/k/{number:05}"), 10);
                store.apply(&create, std::time::Instant::now());
            }
            // It compares the sum of what it saw with that of the state.
            assert_eq!(look(store.snapshot()).await, None, "{count}");
        }
    }

    #[test]
    fn who_is_not_of_the_majority_differs() {
        let names = |ids: &[u64]| ids.iter().map(|id| format!("n{id}")).collect::<Vec<_>>();
        let same = (names(&[]), false, false);
        for (own, digests, expected) in [
            (1, &[Some(7)][..], same.clone()),
            (1, &[Some(7), Some(7)], same.clone()),
            (1, &[Some(7), None, None], same.clone()),
            (1, &[Some(7), Some(7), Some(8)], (names(&[3]), false, false)),
            (3, &[Some(7), Some(7), Some(8)], (names(&[3]), true, false)),
            (1, &[Some(8), Some(7), Some(7)], (names(&[1]), true, false)),
            (1, &[Some(7), Some(7), Some(0)], (names(&[3]), false, false)),
            (1, &[Some(7), Some(8)], (names(&[1, 2]), true, true)),
            (1, &[Some(7), Some(0)], (names(&[1, 2]), true, true)),
            (1, &[Some(7), Some(8), None], (names(&[1, 2]), true, true)),
            (3, &[None, Some(7), Some(7)], same),
            (1, &[Some(7), Some(7), Some(8), Some(9), Some(7)], (names(&[3, 4]), false, false)),
        ] {
            assert_eq!(compared(own, digests), expected, "member {own} of {digests:?}");
        }
    }
}
