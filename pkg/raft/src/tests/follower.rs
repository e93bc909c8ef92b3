//! A follower's life without a network: what openraft asks of the log and the state machine, step by step, with power
//! lost at each single disk operation of it. What was acknowledged has to be there after that, and what the disk holds
//! has to be of one moment of the cluster's history.
//!
//! `CRASH_SEEDS=n` tries so many ways in which unsynced bytes are torn.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Instant;

use futures::stream;
use mvcc::{Operation, Store, Transaction};
use openraft::entry::RaftEntry;
use openraft::storage::{RaftLogStorage, RaftLogStorageExt, RaftStateMachine};
use openraft::{EntryPayload, RaftLogReader};

use super::sim_disk::{Random, SimDisk};
use super::{create, small_config};
use crate::OpenError;
use crate::disk::{Bug, Disk};
use crate::log::LogStore;
use crate::machine::Machine;
use crate::start::load;
use crate::types::{Command, Entry, LogId, Membership, PeerNode, SnapshotMeta, StoredMembership, Vote};

/// What the state is at one applied index: the revision, the keys with their bytes, and who belongs to the group.
#[derive(Clone, Debug, PartialEq)]
struct Moment {
    revision: u64,
    contents: Vec<(Vec<u8>, Vec<u8>)>,
    voters: BTreeSet<u64>,
}

/// What the cluster agreed on, from index 0.
struct History {
    entries: Vec<Entry>,
    moments: Vec<Moment>,
    states: Vec<(SnapshotMeta, mvcc::Snapshot)>,
}

/// Entries that the cluster agreed on.
const LENGTH: u64 = 52;
/// The cluster agreed on entries from here on in its second term.
const SECOND_TERM: u64 = 12;
/// A member more from here on.
const GROWN: u64 = 30;

fn log_id(index: u64) -> LogId {
    LogId::new_term_index(if index < SECOND_TERM { 1 } else { 2 }, index)
}

fn members(count: u64) -> Membership {
    Membership::from((1..=count).map(|id| (id, PeerNode::default())).collect::<BTreeMap<_, _>>())
}

fn payload(index: u64) -> EntryPayload<Command, u64, PeerNode> {
    let key = |number: u64| format!("/k/{number:03}");
    match index {
        0 => EntryPayload::Membership(members(3)),
        GROWN => EntryPayload::Membership(members(4)),
        1 | SECOND_TERM => EntryPayload::Blank,
        _ if index % 5 == 4 => {
            let operations = vec![Operation::Delete { key: key(index - 2).into() }];
            EntryPayload::Normal(Command(Transaction { operations, ..Transaction::default() }.encode()))
        }
        _ => EntryPayload::Normal(Command(create(&key(index), 100 + (index as usize * 331) % 900).encode())),
    }
}

impl History {
    fn new() -> Self {
        let store = Store::new(mvcc::Limits::default());
        let mut history = Self { entries: Vec::new(), moments: Vec::new(), states: Vec::new() };
        let mut membership = StoredMembership::default();
        for index in 0..LENGTH {
            let entry = Entry { log_id: log_id(index), payload: payload(index) };
            match &entry.payload {
                EntryPayload::Normal(command) => {
                    store.apply(&Transaction::decode(command.0.clone()).unwrap(), Instant::now());
                }
                EntryPayload::Membership(members) => {
                    membership = StoredMembership::new(Some(entry.log_id), members.clone());
                }
                EntryPayload::Blank => {}
            }
            history.entries.push(entry);
            history.moments.push(moment(&store, &membership));
            let meta = SnapshotMeta { last_log_id: Some(log_id(index)), last_membership: membership.clone() };
            history.states.push((meta, store.snapshot()));
        }
        history
    }

    fn slice(&self, range: std::ops::Range<u64>) -> Vec<Entry> {
        self.entries[range.start as usize..range.end as usize].to_vec()
    }
}

fn moment(store: &Store, membership: &StoredMembership) -> Moment {
    let records = store.snapshot();
    let contents = records.range(b"", None).map(|record| (record.key().to_vec(), record.body().to_vec())).collect();
    Moment { revision: store.revision().get(), contents, voters: membership.voter_ids().collect() }
}

/// What openraft has done at one step.
#[derive(Clone, Copy, Debug)]
enum Step {
    Vote(u64),
    /// Entries of the history.
    Append(u64, u64),
    /// Entries of an old leader that nobody else took.
    AppendStray(u64, u64),
    /// Back to this entry.
    Truncate(u64),
    /// Applied up to this entry.
    Apply(u64),
    Checkpoint,
    /// The log up to this entry is given up.
    Purge(u64),
    /// The leader's state at this entry takes the place of the own.
    Install(u64),
}

use Step::{Append, AppendStray, Apply, Checkpoint, Install, Purge, Truncate, Vote as Voted};

/// With a log that goes through several segments, a change of leader, and a state that jumps ahead.
const LIFE: &[Step] = &[
    Voted(1),
    Append(0, 4),
    Apply(2),
    Append(4, 9),
    Apply(8),
    Checkpoint,
    AppendStray(9, 14),
    Voted(2),
    Truncate(8),
    Append(9, 16),
    Apply(15),
    Checkpoint,
    Purge(11),
    Append(16, 24),
    Apply(21),
    Checkpoint,
    Purge(20),
    Install(40),
    Purge(40),
    Append(41, 46),
    Apply(44),
    Voted(3),
    Checkpoint,
    Purge(43),
    Append(46, 51),
    Apply(50),
];

/// What the follower's peers may rely on.
#[derive(Clone, Default)]
struct Known {
    vote: u64,
    vote_asked: u64,
    /// Terms of entries that it said it has.
    entries: BTreeMap<u64, u64>,
    /// Entries that it was asked to take back, or to have; they may be there or not.
    unsure: BTreeSet<(u64, u64)>,
    /// It said that its state is this one.
    installed: Option<u64>,
    /// The newest index whose effects clients may have seen.
    committed: Option<u64>,
}

fn vote(term: u64) -> Vote {
    Vote::new_committed(term, 2)
}

struct Member {
    log: LogStore,
    machine: Machine,
}

impl Member {
    fn open(disk: &Arc<SimDisk>) -> Result<Self, OpenError> {
        let disk: Arc<dyn Disk> = disk.clone();
        let (log, machine) = load(&small_config(), &disk, Store::new(mvcc::Limits::default()))?;
        Ok(Self { log, machine })
    }

    async fn take(&mut self, step: Step, history: &History, known: &mut Known) -> io::Result<()> {
        match step {
            Voted(term) => {
                known.vote_asked = term;
                self.log.save_vote(&vote(term)).await?;
                known.vote = term;
            }
            Append(from, to) => self.append(history.slice(from..to), known).await?,
            AppendStray(from, to) => {
                let stray = |index| Entry {
                    log_id: LogId::new_term_index(1, index),
                    payload: EntryPayload::Normal(Command(create(&format!("/stray/{index}"), 600).encode())),
                };
                self.append((from..to).map(stray).collect(), known).await?;
            }
            Truncate(keep) => {
                let gone = known.entries.split_off(&(keep + 1));
                known.unsure.extend(gone);
                self.log.truncate_after(Some(log_id(keep))).await?;
                known.unsure.retain(|(index, _)| *index <= keep);
            }
            Apply(index) => {
                // What openraft learns of the commit from its leader, it may tell others at once.
                known.committed = known.committed.max(Some(index));
                let from = self.machine.applied().map_or(0, |applied| applied.index() + 1);
                let entries: Vec<_> = self.log.try_get_log_entries(from..=index).await?;
                assert_eq!(entries, history.slice(from..index + 1), "the log gives what it was given");
                self.machine.apply(stream::iter(entries.into_iter().map(|entry| Ok((entry, None))))).await?;
            }
            Checkpoint => {
                let machine = self.machine.clone();
                let written = tokio::task::spawn_blocking(move || machine.write_checkpoint()).await;
                written.expect("no panic").map_err(io::Error::other)?;
            }
            Purge(index) => self.log.purge(log_id(index)).await?,
            Install(index) => {
                let (meta, state) = &history.states[index as usize];
                self.machine.install_snapshot(meta, state.clone()).await?;
                known.installed = Some(index);
                known.committed = known.committed.max(Some(index));
            }
        }
        Ok(())
    }

    async fn append(&mut self, entries: Vec<Entry>, known: &mut Known) -> io::Result<()> {
        let ids: Vec<_> =
            entries.iter().map(|entry| (entry.index(), entry.log_id().committed_leader_id().term)).collect();
        known.unsure.extend(ids.iter().copied());
        self.log.blocking_append(entries).await.map_err(io::Error::other)?;
        for id in ids {
            known.unsure.remove(&id);
            known.entries.insert(id.0, id.1);
        }
        Ok(())
    }

    async fn close(self) {
        let closing = tokio::task::spawn_blocking(move || {
            self.machine.close();
            self.log.close();
        });
        closing.await.expect("no panic");
    }

    /// What is wrong, if anything is.
    async fn check(&mut self, history: &History, known: &Known) -> Result<(), String> {
        let vote = self.log.read_vote().await.map_err(|error| error.to_string())?.map_or(0, |vote| vote.leader_id.term);
        if vote < known.vote || vote > known.vote_asked {
            return Err(format!("it voted in term {} and now says {vote}", known.vote));
        }
        let (applied, membership) = self.machine.applied_state().await.map_err(|error| error.to_string())?;
        let next = applied.map_or(0, |applied| applied.index() + 1);
        if let Some(last) = next.checked_sub(1) {
            let found = moment(self.machine.store(), &membership);
            if found != history.moments[last as usize] {
                return Err(format!("the state is not that of entry {last}, which is said to be applied"));
            }
        }
        if let Some(installed) = known.installed.filter(|installed| next <= *installed) {
            return Err(format!("the state of entry {installed} was taken over, now entry {next} is to be applied"));
        }
        let entries = self.log.try_get_log_entries(..).await.map_err(|error| error.to_string())?;
        let found: BTreeMap<_, _> =
            entries.iter().map(|entry| (entry.index(), entry.log_id().committed_leader_id().term)).collect();
        for (index, term) in known.entries.iter().filter(|(index, _)| **index >= next) {
            // Somebody may have asked for it to be taken back.
            if found.get(index) != Some(term) && !known.unsure.contains(&(*index, *term)) {
                return Err(format!(
                    "entry {index} of term {term} was acknowledged, now there is {:?}",
                    found.get(index)
                ));
            }
        }
        for (index, term) in found.iter().filter(|(index, _)| **index >= next) {
            let given = known.entries.get(index) == Some(term) || known.unsure.contains(&(*index, *term));
            if !given {
                return Err(format!("nobody gave it entry {index} of term {term}"));
            }
        }
        self.check_commits(history, known, next, &entries)
    }

    /// All that clients may have seen can be had again from the state and the log behind it.
    fn check_commits(&self, history: &History, known: &Known, next: u64, entries: &[Entry]) -> Result<(), String> {
        for index in next..known.committed.map_or(0, |index| index + 1) {
            let entry = entries.iter().find(|entry| entry.index() == index);
            if entry != Some(&history.entries[index as usize]) {
                return Err(format!("entry {index} was applied and is neither in the state nor in the log"));
            }
        }
        Ok(())
    }
}

/// Goes through life until power is lost. The member that it was, if it came so far.
async fn live(disk: &Arc<SimDisk>, life: &[Step], history: &History, known: &mut Known) -> Result<(), String> {
    let opening = {
        let disk = disk.clone();
        tokio::task::spawn_blocking(move || Member::open(&disk))
    };
    let mut member = match opening.await.expect("no panic") {
        Ok(member) => member,
        Err(_) if disk.is_crashed() => return Ok(()),
        Err(error) => return Err(format!("it does not open: {error}")),
    };
    let checked = member.check(history, known).await;
    for step in life.iter().take_while(|_| checked.is_ok()) {
        tokio::select! {
            taken = member.take(*step, history, known) => if let Err(error) = taken {
                assert!(disk.is_crashed(), "{step:?}: {error}");
                break;
            },
            () = disk.crashed() => break,
        }
    }
    member.close().await;
    checked
}

/// All that is found when power is lost at each operation of the life, and again somewhere in the next one. With a bug,
/// until what is expected of it is found.
async fn crash_everywhere(planted: Option<(Bug, &str)>, seed: u64) -> Vec<String> {
    let bug = planted.map(|(bug, _)| bug);
    let history = History::new();
    let mut random = Random(seed);
    let disk = SimDisk::planted(bug);
    live(&disk, LIFE, &history, &mut Known::default()).await.unwrap();
    let mut found = Vec::new();
    let operations = disk.operations();
    for point in 1..=operations {
        let mut known = Known::default();
        let mut disk = SimDisk::planted(bug);
        disk.crash_at(point);
        let mut result = live(&disk, LIFE, &history, &mut known).await;
        for life in 0..3 {
            disk = disk.after_crash(&mut random);
            if life < 2 {
                disk.crash_at(1 + random.below(12));
            }
            let again = [Voted(known.vote_asked + 1), Checkpoint];
            let next = live(&disk, &again, &history, &mut known).await;
            result = result.and(next);
        }
        if let Err(error) = result {
            let expected = planted.is_some_and(|(_, expected)| error.contains(expected));
            found.push(format!("seed {seed:#x}, power lost at operation {point}: {error}"));
            if expected {
                break;
            }
        }
    }
    eprintln!("lost power at each of {operations} operations, seed {seed:#x}, with {bug:?}");
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_keeps_what_it_promised_wherever_power_is_lost() {
    super::show_logs();
    let seeds = std::env::var("CRASH_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(2);
    for seed in 1..=seeds {
        assert_eq!(crash_everywhere(None, 0x51ed_270b * seed).await, Vec::<String>::new());
    }
}

/// The planted bug is found, and called what it is.
async fn is_found(bug: Bug, expected: &str) {
    let found = crash_everywhere(Some((bug, expected)), 7).await;
    assert!(found.iter().any(|what| what.contains(expected)), "{found:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_applied_index_that_is_saved_apart_from_the_state_is_found() {
    // The seal of the state already shows it at the start.
    is_found(Bug::AppliedApart, "not those that were written with the applied index").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_that_is_taken_over_without_its_members_is_found() {
    is_found(Bug::MembersLeftOut, "the state is not that of entry 40").await;
}
