//! Second encodings of objects: made when somebody asks, kept while there is room.
//!
//! All slots together hold [`ENCODINGS_MAX`] bytes at most; the oldest encodings go first. Objects that are listed or
//! watched again and again are encoded once; a store of any size costs no more than the bound.

use std::collections::VecDeque;
use std::sync::{Arc, LazyLock, OnceLock, Weak};

use bytes::Bytes;
use parking_lot::Mutex;

/// Bytes of encodings that are kept in the whole process.
const ENCODINGS_MAX: usize = 32 * 1024 * 1024;
/// What an entry takes beside its bytes, roughly: an empty encoding is not free.
const ENTRY: usize = 96;

type Cell = Mutex<Option<Bytes>>;

/// Where an object keeps its encoding. Costs a pointer until the first call.
#[derive(Default)]
pub(crate) struct Slot(OnceLock<Arc<Cell>>);

impl Slot {
    /// The encoding, made by `make` if it is not there (any more). Readers that come meanwhile wait for it.
    pub fn get_or_make(&self, make: impl FnOnce() -> Bytes) -> Bytes {
        static KEPT: LazyLock<Kept> = LazyLock::new(|| Kept::new(ENCODINGS_MAX));
        self.get_or_make_in(&KEPT, make)
    }

    fn get_or_make_in(&self, kept: &Kept, make: impl FnOnce() -> Bytes) -> Bytes {
        let cell = self.0.get_or_init(Arc::default);
        let mut encoding = cell.lock();
        if let Some(bytes) = &*encoding {
            return bytes.clone();
        }
        let bytes = make();
        *encoding = Some(bytes.clone());
        // Another slot may be emptied now: never with this one locked.
        drop(encoding);
        kept.add(cell, bytes.len() + ENTRY);
        bytes
    }
}

/// The slots that are filled, oldest first.
struct Kept {
    bound: usize,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    entries: VecDeque<(Weak<Cell>, usize)>,
    /// Bytes of all entries. Objects that are gone count until their turn comes.
    total: usize,
}

impl Kept {
    fn new(bound: usize) -> Self {
        Self { bound, queue: Mutex::default() }
    }

    fn add(&self, cell: &Arc<Cell>, size: usize) {
        let mut evicted = Vec::new();
        let mut queue = self.queue.lock();
        queue.entries.push_back((Arc::downgrade(cell), size));
        queue.total += size;
        while queue.total > self.bound {
            let Some((cell, size)) = queue.entries.pop_front() else { break };
            queue.total -= size;
            evicted.push(cell);
        }
        drop(queue);
        for cell in evicted.iter().filter_map(Weak::upgrade) {
            *cell.lock() = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(slot: &Slot, kept: &Kept, size: usize) -> bool {
        let mut made = false;
        let bytes = slot.get_or_make_in(kept, || {
            made = true;
            Bytes::from(vec![7; size])
        });
        assert_eq!(bytes.len(), size);
        made
    }

    #[test]
    fn an_encoding_is_made_once_while_there_is_room() {
        let kept = Kept::new(3 * (100 + ENTRY));
        let slots: Vec<Slot> = (0..4).map(|_| Slot::default()).collect();
        for slot in &slots[..3] {
            assert!(made(slot, &kept, 100));
        }
        assert!(!made(&slots[0], &kept, 100), "all three fit");
        assert!(made(&slots[3], &kept, 100));
        assert!(made(&slots[0], &kept, 100), "the oldest had to go");
        assert!(!made(&slots[3], &kept, 100));
        assert!(kept.queue.lock().total <= kept.bound);
    }

    #[test]
    fn objects_that_are_gone_make_room() {
        let kept = Kept::new(10 * (100 + ENTRY));
        for _ in 0..1000 {
            assert!(made(&Slot::default(), &kept, 100));
        }
        let queue = kept.queue.lock();
        assert!(queue.entries.len() <= 10 && queue.total <= kept.bound);
    }

    #[test]
    fn what_is_larger_than_all_room_is_made_each_time() {
        let (kept, slot) = (Kept::new(100), Slot::default());
        assert!(made(&slot, &kept, 1000) && made(&slot, &kept, 1000));
        assert_eq!(kept.queue.lock().total, 0);
    }
}
