//! Power is lost at every single disk operation, and nothing that was acknowledged may be gone.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use mvcc::{Operation, Precondition, Transaction};
use parking_lot::Mutex;

use super::sim_disk::{Random, SimDisk};
use super::{change, create, put, small_config};
use crate::Node;

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
    let opening = Node::open_on(small_config(), disk.clone(), 1, None);
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
        let Ok(event) = change(&node, &create(&key, 700)).await else { return };
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
        let Ok(event) = change(&node, &update).await else { return };
        assert!(event.revision().get() > revision);
        revision = event.revision().get();
        acknowledge(&known, &key, revision, deletes);
    }
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
        disk.no_crash();
        let node = Node::open_on(small_config(), disk, 1, None).await.expect("the last start");
        check(&node, &known.lock());
        node.shutdown().await;
    }
    eprintln!("lost power at each of {} operations", disk.operations());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_at_any_operation() {
    // What happened before a failure is worth reading: RUST_LOG=info.
    let _ = tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).try_init();
    // CRASH_SEEDS=n tries so many ways for unsynced bytes to be torn.
    let seeds = std::env::var("CRASH_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(1);
    for seed in 1..=seeds {
        crash_everywhere(0x9e37_79b9 * seed).await;
    }
}
