//! A bit is flipped anywhere in the files: it is found and named, or it was of no consequence. Never is something else
//! served than what was written.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use mvcc::{Digest, Record, Store};

use super::create;
use super::sim_disk::{Random, SimDisk};
use crate::checkpoint::{Changes, Checkpoint, Meta, Steps};
use crate::disk::Disk;
use crate::machine::Machine;
use crate::types::{LogId, StoredMembership};

const FILE: &str = "state.redb";

fn meta(store: &Store) -> Meta {
    let applied = Some(LogId::new_term_index(3, 77));
    Meta { applied, membership: StoredMembership::default(), revision: store.revision().get() }
}

fn filled(count: usize, size: usize) -> Arc<Store> {
    let store = Store::new(mvcc::Limits::default());
    for number in 0..count {
        store.apply(&create(&format!("/k/{number:05}"), size), Instant::now());
    }
    store
}

/// A checkpoint that was written whole and then changed.
fn written(disk: &Arc<SimDisk>, store: &Store) {
    let checkpoint = Checkpoint::open(disk.clone()).unwrap();
    checkpoint.replace(&meta(store), &store.snapshot()).unwrap();
    let mut changes = Changes::new();
    for number in [3, 5, 900] {
        let key = format!("/k/{number:05}");
        store.apply(
            &mvcc::Transaction { operations: vec![super::put(key.clone().into(), 40)], ..Default::default() },
            Instant::now(),
        );
        changes.insert(key.clone().into(), store.get(key.as_bytes()));
    }
    checkpoint.write(&meta(store), &changes, &store.snapshot()).unwrap();
    checkpoint.close();
}

/// The digest of what a start finds, or why it refuses.
fn start(disk: &Arc<SimDisk>) -> Result<(Digest, u64), String> {
    let store = Store::new(mvcc::Limits::default());
    let checkpoint = Checkpoint::open(disk.clone()).map_err(|error| error.to_string())?;
    let machine = Machine::open(store.clone(), checkpoint, u64::MAX).map_err(|error| error.to_string())?;
    let applied = machine.applied().map_or(0, |applied| applied.index());
    machine.close();
    Ok((store.snapshot().digest(), applied))
}

#[test]
fn every_flipped_byte_of_a_checkpoint_is_found_or_of_no_consequence() {
    let mut random = Random(0xf11b);
    eprintln!("seed {:#x}", random.0);
    let disk = SimDisk::new();
    let store = filled(60, 300);
    written(&disk, &store);
    let expected = (store.snapshot().digest(), 77);
    assert_eq!(start(&disk.after_crash(&mut random)), Ok(expected));
    // What redb panics about is caught; its messages would be all that is seen.
    std::panic::set_hook(Box::new(|_| {}));
    let length = disk.content(FILE).len();
    let used: Vec<_> =
        disk.content(FILE).iter().enumerate().filter(|(_, byte)| **byte != 0).map(|(at, _)| at).collect();
    let (mut refused, mut named, mut wrong) = (0, 0, Vec::new());
    for round in 0..700 {
        // Mostly where something is.
        let at = match round % 8 {
            0 => random.below(length as u64) as usize,
            _ => used[random.below(used.len() as u64) as usize],
        };
        let damaged = disk.after_crash(&mut random);
        damaged.damage(FILE, at);
        match std::panic::catch_unwind(AssertUnwindSafe(|| start(&damaged))) {
            Ok(Ok(found)) if found == expected => {}
            Ok(Ok(found)) => wrong.push(format!("byte {at}: it served {found:?}")),
            Ok(Err(why)) => {
                refused += 1;
                named += usize::from(why.contains("the record of /k/"));
            }
            Err(_) => wrong.push(format!("byte {at}: it panicked")),
        }
    }
    drop(std::panic::take_hook());
    eprintln!("{refused} of 700 refused, {named} of them by the key");
    assert_eq!(wrong, Vec::<String>::new());
    assert!(named > 100, "{named}");
}

#[test]
fn a_whole_state_is_written_in_steps_of_few_records() {
    for (count, size, steps) in [
        (0, 10, Steps { count: 1, records_max: 0 }),
        (1024, 10, Steps { count: 1, records_max: 1024 }),
        (1025, 10, Steps { count: 2, records_max: 1024 }),
        (5000, 10, Steps { count: 5, records_max: 1024 }),
        // Of large records there are fewer: 4 MiB a step.
        (10, 1 << 20, Steps { count: 3, records_max: 4 }),
    ] {
        let (disk, store) = (SimDisk::new(), filled(count, size));
        let checkpoint = Checkpoint::open(disk.clone()).unwrap();
        let made = checkpoint.replace(&meta(&store), &store.snapshot()).unwrap();
        assert_eq!(made, steps, "{count} records of {size} bytes");
        checkpoint.close();
        assert_eq!(start(&disk), Ok((store.snapshot().digest(), 77)));
        assert!(!disk.list().unwrap().contains(&"state.redb.new".to_owned()));
    }
}

#[test]
fn a_new_file_gives_the_space_of_what_was_deleted_back() {
    let (disk, store) = (SimDisk::new(), filled(2000, 2000));
    let checkpoint = Checkpoint::open(disk.clone()).unwrap();
    checkpoint.replace(&meta(&store), &store.snapshot()).unwrap();
    let full = checkpoint.size();
    let small = filled(10, 100);
    checkpoint.replace(&meta(&small), &small.snapshot()).unwrap();
    assert!(checkpoint.size() < full / 2, "{full} bytes, then {}", checkpoint.size());
}

#[test]
fn a_checkpoint_of_the_version_without_digests_is_read_and_written_anew() {
    let (disk, store) = (SimDisk::new(), filled(20, 100));
    unsealed(&disk, &store);
    let expected = Ok((store.snapshot().digest(), 77));
    assert_eq!(start(&disk), expected);
    let value = |disk: &Arc<SimDisk>| {
        let checkpoint = Checkpoint::open(disk.clone()).unwrap();
        checkpoint.load().unwrap().unsealed
    };
    assert!(!value(&disk), "from the first start on it has digests");
    assert_eq!(start(&disk), expected);
}

/// What the first version wrote.
fn unsealed(disk: &Arc<SimDisk>, store: &Store) {
    let file = crate::disk::RedbFile(disk.open(FILE, true).unwrap());
    let database = redb::Database::builder().create_with_backend(file).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let objects = redb::TableDefinition::<&[u8], &[u8]>::new("objects");
        let mut table = transaction.open_table(objects).unwrap();
        for record in store.snapshot().range(b"", None) {
            let mut value = Vec::new();
            record.encode(&mut value);
            table.insert(record.key(), &*value).unwrap();
        }
        let meta_table = redb::TableDefinition::<&str, &[u8]>::new("meta");
        let bytes = postcard::to_allocvec(&meta(store)).unwrap();
        transaction.open_table(meta_table).unwrap().insert("state", &*bytes).unwrap();
    }
    transaction.commit().unwrap();
    drop(database);
    disk.sync().unwrap();
}

#[test]
fn a_record_comes_back_with_its_digest() {
    let store = filled(1, 50);
    let record = store.get(b"/k/00000").unwrap();
    let mut bytes = Vec::new();
    record.encode(&mut bytes);
    let read = Record::decode(record.key(), Bytes::from(bytes)).unwrap();
    assert_eq!(read.digest(), record.digest());
    assert!(read.is_intact());
}
