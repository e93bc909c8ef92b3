//! What is kept up beside the records: digests, sizes, and how much of the past one write gives up.

use std::time::Duration;

use super::*;

fn put(key: u64, size: usize) -> Operation {
    let key = Bytes::from(format!("/k/{key:05}"));
    Operation::Put { key, body: vec![b'x'; size].into(), stamp_at: 0, attributes: Bytes::new() }
}

fn apply(store: &Store, operation: Operation) {
    store.apply(&Transaction { preconditions: Vec::new(), operations: vec![operation] }, Instant::now());
}

#[test]
fn digests_and_sizes_are_those_of_the_records_at_every_revision() {
    let store = Store::new(Limits::default());
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    eprintln!("seed {random:#x}");
    for _ in 0..2000 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let key = random % 97;
        match random >> 60 {
            0..4 => apply(&store, Operation::Delete { key: format!("/k/{key:05}").into() }),
            _ => apply(&store, put(key, (random >> 32) as usize % 300)),
        }
    }
    let from_records = |snapshot: &Snapshot| {
        let (mut digest, mut bytes) = (Digest::default(), 0);
        for record in snapshot.range(b"", None) {
            digest += record.digest();
            bytes += record.weight() as u64;
        }
        (digest, bytes)
    };
    let newest = store.revision().get();
    for revision in (store.compacted().get()..=newest).step_by(7).chain([newest]) {
        let snapshot = store.snapshot_at(revision).unwrap();
        assert_eq!((snapshot.digest(), snapshot.bytes()), from_records(&snapshot), "revision {revision}");
        assert_eq!(store.digest_at(revision), Ok(snapshot.digest()), "revision {revision}");
    }
    assert_eq!(store.statistics().bytes, store.snapshot().bytes());
    assert!(matches!(store.digest_at(newest + 1), Err(OutOfRange::Future { .. })));

    let other = Store::new(Limits::default());
    let records = store.snapshot();
    let copy = |record: Arc<Record>| {
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        Record::decode(record.key(), bytes.into()).unwrap()
    };
    other.restore(newest, records.range(b"", None).map(copy));
    assert_eq!(other.snapshot().digest(), records.digest(), "however the state came about");
    assert!(matches!(other.digest_at(newest - 1), Err(OutOfRange::Compacted { .. })));
}

#[test]
fn one_write_lets_go_of_few_events_however_many_are_in_excess() {
    let limits = Limits { ring_age_max: Duration::from_secs(1), ..Limits::default() };
    let store = Store::new(limits);
    for key in 0..1000 {
        apply(&store, put(key, 10));
    }
    let later = Instant::now() + Duration::from_secs(60);
    let mut events = store.statistics().ring_events;
    let mut steps = 0;
    // What comes meanwhile stays.
    while events > 50 {
        store.apply(&Transaction { preconditions: Vec::new(), operations: vec![put(0, 10)] }, later);
        let left = store.statistics().ring_events;
        assert!(events + 1 - left <= EVENTS_A_STEP, "{events} events, then {left}");
        events = left;
        steps += 1;
    }
    assert!((950 / EVENTS_A_STEP..100).contains(&steps), "{steps}");
}

#[test]
fn a_large_state_that_was_pinned_is_freed_in_small_steps() {
    let limits = Limits { pins_max: 0, ..Limits::default() };
    let store = Store::new(limits);
    for key in 0..4000 {
        apply(&store, put(key, 10));
    }
    let pinned = store.snapshot();
    // Nothing of it is the live state's any more.
    let one = Arc::downgrade(pinned.map.get(b"/k/00000").unwrap());
    store.restore(5000, Vec::new());
    store.pin(&pinned, Instant::now());
    drop(pinned);
    assert!(one.upgrade().is_some(), "to let go of it frees nothing by itself");
    let mut steps = 0;
    while !store.state.read().garbage.is_empty() {
        apply(&store, put(steps, 10));
        steps += 1;
    }
    assert!(one.upgrade().is_none());
    // Leaves of at most four records in tests, and the branches above them.
    assert!(steps as usize >= 4000 / 4 / NODES_A_STEP, "{steps} steps");
    let mut garbage = Garbage::default();
    garbage.add(store.snapshot().map);
    assert!(garbage.free(1) == 1 && store.get(b"/k/00000").is_some(), "what another map has is left to it");
}
