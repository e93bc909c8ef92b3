//! Power is lost at every single disk operation, and nothing that was acknowledged may be gone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mvcc::{Event, Operation, Precondition, Transaction};
use parking_lot::Mutex;

use super::sim_disk::{Random, SimDisk};
use super::{change, create, put, small_config};
use crate::disk::Disk;
use crate::{Node, OpenError, ProposeError};

/// What was acknowledged, by key: the revision of the newest version, or of the deletion.
#[derive(Default, Clone)]
struct Acknowledged {
    live: BTreeMap<String, u64>,
    deleted: BTreeMap<String, u64>,
    /// Writes that were asked for and not answered: they may be there.
    asked: BTreeMap<String, u64>,
    revision: u64,
}

/// A life of the node: writes from several callers until the disk loses power or the work is done.
async fn live(disk: &Arc<SimDisk>, known: &Arc<Mutex<Acknowledged>>, life: u64) -> bool {
    let opening = Node::open_on(small_config(), disk.clone(), 1);
    let node = tokio::select! {
        node = opening => node,
        // Recovery itself may be cut off; then the opening never ends or fails.
        () = disk.crashed() => return false,
    };
    let node = match node {
        Ok(node) => Arc::new(node),
        Err(error) => {
            assert!(disk.is_crashed(), "life {life}: {error}");
            return false;
        }
    };
    check(&node, &known.lock());
    let callers: Vec<_> = (0..3).map(|caller| tokio::spawn(work(node.clone(), known.clone(), life, caller))).collect();
    // Checkpoints get in each other's way and in that of the shutdown.
    let checkpoints = node.clone();
    tokio::spawn(async move {
        for _ in 0..3 {
            // Failing is the disk's right here.
            let _ = checkpoints.checkpoint().await;
        }
    });
    let all = futures::future::join_all(callers);
    let done = tokio::select! {
        results = all => { results.into_iter().for_each(|result| result.expect("a caller")); true }
        () = disk.crashed() => false,
    };
    node.shutdown().await;
    done && !disk.is_crashed()
}

async fn work(node: Arc<Node>, known: Arc<Mutex<Acknowledged>>, life: u64, caller: u64) {
    for number in 0..6 {
        let key = format!("/k/{life:03}-{caller}-{number}");
        known.lock().asked.insert(key.clone(), 0);
        let Ok(event) = change_at_last(&node, &create(&key, 700)).await else { return };
        let mut revision = event.revision().get();
        acknowledge(&known, &key, revision, false);
        let record = event.record.clone();
        known.lock().asked.insert(key.clone(), revision);
        let (operation, deletes) = match number % 3 {
            0 => (Operation::Delete { key: record.key_bytes() }, true),
            1 => (put(record.key_bytes(), 50), false),
            _ => continue,
        };
        let update = Transaction { preconditions: vec![Precondition::unchanged(&record)], operations: vec![operation] };
        let Ok(event) = change_at_last(&node, &update).await else { return };
        assert!(event.revision().get() > revision);
        revision = event.revision().get();
        acknowledge(&known, &key, revision, deletes);
    }
}

/// Tries again for a while when the disk refuses.
async fn change_at_last(node: &Node, transaction: &Transaction) -> Result<Arc<Event>, ProposeError> {
    for _ in 0..100 {
        match change(node, transaction).await {
            Err(ProposeError::Disk(_)) => tokio::time::sleep(Duration::from_millis(20)).await,
            other => return other,
        }
    }
    change(node, transaction).await
}

fn acknowledge(known: &Mutex<Acknowledged>, key: &str, revision: u64, deleted: bool) {
    let mut known = known.lock();
    known.asked.remove(key);
    known.live.remove(key);
    let map = if deleted { &mut known.deleted } else { &mut known.live };
    map.insert(key.to_owned(), revision);
    known.revision = known.revision.max(revision);
}

fn check(node: &Node, known: &Acknowledged) {
    let store = node.store();
    assert!(store.revision().get() >= known.revision, "revisions only grow");
    for (key, revision) in &known.live {
        let record = store.get(key.as_bytes());
        let Some(record) = record else {
            // Its deletion was asked for and may have happened.
            assert!(known.asked.contains_key(key), "{key} is gone");
            continue;
        };
        let found = record.mod_revision().get();
        let open = known.asked.contains_key(key);
        assert!(found == *revision || (open && found > *revision), "{key} is {found}, not {revision}");
        assert!(record.body().starts_with(found.to_string().as_bytes()), "{key} carries its revision");
    }
    for key in known.deleted.keys() {
        assert!(store.get(&Bytes::copy_from_slice(key.as_bytes())).is_none(), "{key} is back");
    }
    let expected = |key: &str| known.live.contains_key(key) || known.asked.contains_key(key);
    for record in store.snapshot().range(b"", None) {
        let key = String::from_utf8_lossy(record.key()).into_owned();
        assert!(expected(&key), "nobody wrote {key}");
    }
}

async fn crash_everywhere(seed: u64) {
    let mut random = Random(seed);
    let disk = SimDisk::new();
    assert!(live(&disk, &Arc::default(), 0).await);
    for point in 1..=disk.operations() {
        let known = Arc::new(Mutex::new(Acknowledged::default()));
        let mut disk = SimDisk::new();
        disk.crash_at(point);
        // The second life is cut short as well: recovery must bear a loss of power too.
        let mut life = 0;
        while !live(&disk, &known, life).await {
            life += 1;
            assert!(life < 20);
            disk = disk.after_crash(&mut random);
            if life < 4 {
                disk.crash_at(1 + random.below(60));
            }
        }
        disk.no_faults();
        let node = Node::open_on(small_config(), disk, 1).await.expect("the last start");
        check(&node, &known.lock());
        node.shutdown().await;
    }
    eprintln!("lost power at each of {} operations", disk.operations());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_at_any_operation() {
    super::show_logs();
    // CRASH_SEEDS=n tries so many ways for unsynced bytes to be torn.
    let seeds = std::env::var("CRASH_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(1);
    for seed in 1..=seeds {
        crash_everywhere(0x9e37_79b9 * seed).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_failed_operation_is_survived_wherever_it_is() {
    super::show_logs();
    let disk = SimDisk::new();
    assert!(live(&disk, &Arc::default(), 0).await);
    for point in (1..=disk.operations()).step_by(2) {
        let known = Arc::new(Mutex::new(Acknowledged::default()));
        let disk = SimDisk::new();
        disk.fail_at(point);
        match Node::open_on(small_config(), disk.clone(), 1).await {
            Ok(node) => {
                let node = Arc::new(node);
                work(node.clone(), known.clone(), 0, 0).await;
                assert_eq!(known.lock().asked.len(), 2, "operation {point}: all writes go through");
                node.shutdown().await;
            }
            Err(error) => assert!(error.to_string().contains("os error 5"), "{point}: {error}"),
        }
        disk.no_faults();
        let node = Node::open_on(small_config(), disk, 1).await;
        let node = node.unwrap_or_else(|error| panic!("the second start after {point}: {error}"));
        check(&node, &known.lock());
        node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_or_missing_file_is_refused_by_name() {
    let disk = SimDisk::new();
    let known = Arc::new(Mutex::new(Acknowledged::default()));
    for life in 0..4 {
        assert!(live(&disk, &known, life).await);
    }
    let open = |disk: Arc<SimDisk>| async move {
        let error = Node::open_on(small_config(), disk, 1).await.err().expect("a refusal");
        let OpenError::Corrupt { .. } = &error else { panic!("{error}") };
        error.to_string()
    };
    let copy = || disk.after_crash(&mut Random(1));
    let logs = |disk: &SimDisk| {
        let mut names: Vec<_> = disk.list().unwrap().into_iter().filter(|name| name.ends_with(".log")).collect();
        names.sort();
        names
    };

    let missing = copy();
    missing.remove("state.redb").unwrap();
    assert!(open(missing).await.contains("state.redb is missing"));
    let missing = copy();
    logs(&missing).iter().for_each(|name| missing.remove(name).unwrap());
    assert!(open(missing).await.contains("log files are missing"));
    let damaged = copy();
    for offset in (0..disk.content("state.redb").len()).step_by(64) {
        damaged.damage("state.redb", offset);
    }
    assert!(open(damaged).await.contains("state.redb is damaged"));
    let damaged = copy();
    // The oldest: the newest may hold no more than its start, whose loss is that of a torn write.
    let oldest = logs(&damaged)[0].clone();
    damaged.damage(&oldest, 40);
    assert!(open(damaged).await.contains(".log is damaged"));
    // And with nothing done to it, it opens.
    let node = Node::open_on(small_config(), copy(), 1).await.unwrap();
    check(&node, &known.lock());
    node.shutdown().await;
}
