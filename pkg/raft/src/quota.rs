//! How large the state may become.
//!
//! The leader decides before it proposes, so all members have the same. What helps to get below the limit again goes on:
//! deletions and smaller versions always, and small additions as long as a reserve lasts, since a deletion often begins
//! with a mark on the object. So do all writes under the exempt prefixes: what the cluster itself lives on.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use mvcc::{Operation, Record, Store, Transaction};

/// The reserve above the limit, and how far below it the state has to be for the alarm to end, as a share of the limit.
const RESERVE: u64 = 16;
/// What a new version may add to the old one and still count as small.
const SMALL_BYTES: usize = 4 << 10;

/// The limit, and whether it was reached.
#[derive(Debug, Default)]
pub(crate) struct Quota {
    /// None when it is 0.
    bytes: u64,
    exempt: Vec<Bytes>,
    /// The alarm ends when the state is not larger than this; 0 while there is none.
    ends_at: AtomicU64,
}

impl Quota {
    pub(crate) fn new(bytes: u64, exempt: Vec<Bytes>) -> Self {
        Self { bytes, exempt, ends_at: AtomicU64::new(0) }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether an encoded transaction may be proposed; says why not.
    pub(crate) fn admit(&self, store: &Store, transaction: &Bytes) -> Result<(), String> {
        let used = store.used_bytes();
        if self.bytes == 0 || (!self.is_on(used) && used + transaction.len() as u64 <= self.bytes) {
            return Ok(());
        }
        // What cannot be read changes nothing.
        let Ok(read) = Transaction::decode(transaction.clone()) else { return Ok(()) };
        let room = (self.bytes + self.bytes / RESERVE).saturating_sub(used);
        if self.may_go_on(store, &read, room) {
            return Ok(());
        }
        self.raise(used);
        Err(format!(
            "etcdserver: mvcc: database space exceeded: the store holds {used} bytes of at most {} (--store-quota): delete \
             what is not needed, which still works, or start the servers with a larger one",
            self.bytes
        ))
    }

    fn may_go_on(&self, store: &Store, transaction: &Transaction, room: u64) -> bool {
        let (mut added, mut removed, mut from_reserve) = (0, 0, true);
        for operation in &transaction.operations {
            let there = |key: &Bytes| store.get(key).map_or(0, |record| size(&record));
            match operation {
                Operation::Put { key, body, attributes, .. } => {
                    let (before, after) = (there(key), key.len() + body.len() + attributes.len());
                    added += after;
                    removed += before;
                    let small = before > 0 && after <= before + SMALL_BYTES;
                    from_reserve &= small || self.exempt.iter().any(|prefix| key.starts_with(prefix));
                }
                Operation::Delete { key } => removed += there(key),
            }
        }
        added <= removed || (from_reserve && (added - removed) as u64 <= room)
    }

    /// Whether the limit was reached, and the state is not well below it again.
    pub(crate) fn alarm(&self, store: &Store) -> bool {
        self.bytes > 0 && self.is_on(store.used_bytes())
    }

    fn is_on(&self, used: u64) -> bool {
        let ends_at = self.ends_at.load(Ordering::Relaxed);
        if used > self.bytes {
            self.raise(used);
        } else if ends_at > 0 && used <= ends_at {
            self.ends_at.store(0, Ordering::Relaxed);
            tracing::info!(used, quota = self.bytes, "the store has space again");
        }
        self.ends_at.load(Ordering::Relaxed) > 0
    }

    /// This member's leader refused a write.
    pub(crate) fn refused(&self, store: &Store) {
        self.raise(store.used_bytes());
    }

    /// One write that does not fit may be large itself; the alarm is for a state that is.
    fn raise(&self, used: u64) {
        if self.bytes == 0 || used < self.bytes / 2 {
            return;
        }
        let ends_at = used.min(self.bytes) - self.bytes / RESERVE;
        if self.ends_at.swap(ends_at.max(1), Ordering::Relaxed) == 0 {
            tracing::error!(
                used,
                quota = self.bytes,
                "the store is full (--store-quota): what makes it larger is refused"
            );
        }
    }
}

/// Bytes of a record as an operation counts them, without its revision.
fn size(record: &Record) -> usize {
    let (head, tail) = record.body_around_stamp();
    record.key().len() + record.attributes().len() + head.len() + tail.len()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use mvcc::Limits;

    use super::*;

    fn put(key: &str, size: usize) -> Operation {
        let key = Bytes::copy_from_slice(key.as_bytes());
        Operation::Put { key, body: vec![b'x'; size].into(), stamp_at: 0, attributes: Bytes::new() }
    }

    fn delete(key: &str) -> Operation {
        Operation::Delete { key: Bytes::copy_from_slice(key.as_bytes()) }
    }

    fn one(operation: Operation) -> Transaction {
        Transaction { preconditions: Vec::new(), operations: vec![operation] }
    }

    /// A store that holds no past, with 100 objects of 10,000 bytes.
    fn full() -> std::sync::Arc<Store> {
        let store = Store::new(Limits { ring_bytes_max: 0, ..Limits::default() });
        for number in 0..100 {
            store.apply(&one(put(&format!("/k/{number}"), 10_000)), Instant::now());
        }
        store
    }

    #[test]
    fn what_makes_a_full_store_smaller_goes_on_and_what_makes_it_larger_does_not() {
        let store = full();
        let quota = Quota::new(store.used_bytes() - 1, vec![Bytes::from_static(b"/leases/")]);
        for (what, operation, expected) in [
            ("a creation", put("/k/new", 10), false),
            ("a much larger version", put("/k/1", 15_000), false),
            ("a version with a mark on it", put("/k/1", 10_200), true),
            ("a version as large", put("/k/1", 10_000), true),
            ("a smaller version", put("/k/1", 10), true),
            ("a deletion", delete("/k/1"), true),
            ("a Lease", put("/leases/a", 500), true),
            ("a Lease larger than the reserve", put("/leases/a", 200_000), false),
        ] {
            let admitted = quota.admit(&store, &one(operation).encode());
            assert_eq!(admitted.is_ok(), expected, "{what}: {admitted:?}");
            let text = admitted.err().unwrap_or_default();
            assert!(expected || (text.contains("database space exceeded") && text.contains("--store-quota")), "{text}");
        }
        let both = Transaction { operations: vec![put("/k/new", 9000), delete("/k/1")], ..Transaction::default() };
        assert_eq!(quota.admit(&store, &both.encode()), Ok(()), "what is smaller in all");
        assert!(quota.alarm(&store));
    }

    #[test]
    fn the_reserve_ends() {
        let store = full();
        let used = store.used_bytes();
        let quota = Quota::new((used + 2000) * RESERVE / (RESERVE + 1), Vec::new());
        assert_eq!(quota.admit(&store, &one(put("/k/1", 10_500)).encode()), Ok(()));
        assert!(quota.admit(&store, &one(put("/k/1", 14_000)).encode()).is_err());
        assert_eq!(quota.admit(&store, &one(put("/k/1", 9000)).encode()), Ok(()));
    }

    #[test]
    fn the_alarm_ends_by_itself_when_there_is_space_to_spare() {
        let store = full();
        let quota = Quota::new(store.used_bytes() + 100, Vec::new());
        assert!(!quota.alarm(&store));
        let creation = one(put("/k/new", 1000)).encode();
        assert!(quota.admit(&store, &creation).is_err());
        store.apply(&one(delete("/k/1")), Instant::now());
        store.apply(&one(delete("/k/2")), Instant::now());
        assert!(quota.alarm(&store), "not for the first object that goes");
        assert!(quota.admit(&store, &creation).is_err());
        for number in 3..12 {
            store.apply(&one(delete(&format!("/k/{number}"))), Instant::now());
        }
        assert_eq!(quota.admit(&store, &creation), Ok(()));
        assert!(!quota.alarm(&store));
    }

    #[test]
    fn without_a_limit_nothing_is_refused() {
        let store = full();
        let quota = Quota::new(0, Vec::new());
        assert_eq!(quota.admit(&store, &one(put("/k/new", 1_000_000)).encode()), Ok(()));
        assert!(!quota.alarm(&store));
    }
}
