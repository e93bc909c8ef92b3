//! The state of another member replaces the own one as a whole, wherever power is lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use openraft::storage::RaftStateMachine;

use super::create;
use super::sim_disk::{Random, SimDisk};
use crate::checkpoint::Checkpoint;
use crate::machine::Machine;
use crate::types::{LogId, Membership, PeerNode, SnapshotMeta, StoredMembership};

/// What has to be of one moment: the applied index, the members, the revision and the keys.
type Moment = (Option<u64>, usize, u64, usize);

fn open(disk: &Arc<SimDisk>) -> Machine {
    let store = mvcc::Store::new(mvcc::Limits::default());
    Machine::open(store, Checkpoint::open(disk.clone()).unwrap(), u64::MAX).unwrap()
}

fn moment(machine: &Machine) -> Moment {
    let store = machine.store();
    let applied = machine.applied().map(|log_id| log_id.index());
    (applied, machine.members(), store.revision().get(), store.snapshot().len())
}

/// The state that a group of so many members has after so many writes.
fn state(members: u64, writes: u64) -> (SnapshotMeta, mvcc::Snapshot) {
    let store = mvcc::Store::new(mvcc::Limits::default());
    for number in 0..writes {
        store.apply(&create(&format!("/{members}/{number}"), 2000), Instant::now());
    }
    let nodes: BTreeMap<_, _> = (1..=members).map(|id| (id, PeerNode::default())).collect();
    let log_id = LogId::new_term_index(members, writes);
    let membership = Membership::from(nodes);
    let meta =
        SnapshotMeta { last_log_id: Some(log_id), last_membership: StoredMembership::new(Some(log_id), membership) };
    (meta, store.snapshot())
}

async fn install(machine: &mut Machine, (meta, snapshot): &(SnapshotMeta, mvcc::Snapshot)) -> std::io::Result<()> {
    machine.install_snapshot(meta, snapshot.clone()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn power_lost_at_any_operation_leaves_the_old_state_or_the_new() {
    let mut random = Random(0x1257a11);
    eprintln!("seed {:#x}", random.0);
    let (old, new) = (state(1, 20), state(3, 50));
    let (before, after): (Moment, Moment) = ((Some(20), 1, 21, 20), (Some(50), 3, 51, 50));
    let (mut seen_old, mut seen_new) = (0, 0);
    for point in 1.. {
        let disk = SimDisk::new();
        let mut machine = open(&disk);
        install(&mut machine, &old).await.unwrap();
        assert_eq!(moment(&machine), before);
        disk.crash_at(point);
        let installed = install(&mut machine, &new).await;
        if !disk.is_crashed() {
            assert_eq!(moment(&machine), after);
            eprintln!("lost power at each of {} operations", point - 1);
            break;
        }
        let found = moment(&open(&disk.after_crash(&mut random)));
        assert!(found == before || found == after, "operation {point}: {found:?}");
        assert!(installed.is_err() || found == after, "operation {point}: it was called durable");
        if found == before { seen_old += 1 } else { seen_new += 1 }
    }
    assert!(seen_old > 0 && seen_old + seen_new > 5, "{seen_old} old, {seen_new} new");
}
