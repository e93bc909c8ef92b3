use std::sync::atomic::AtomicBool;
use std::time::Instant;

use super::*;
use crate::store::Limits;
use crate::{Operation, Transaction};

const ROUNDS: u32 = 40_000;

/// Prefixes of one length come and go independently.
#[test]
fn a_watcher_is_told_of_changes_after_another_of_a_prefix_as_long_has_left() {
    let store = Store::new(Limits::default());
    let put = Operation::Put {
        key: Bytes::from_static(b"/a/b/c"),
        body: Bytes::new(),
        stamp_at: 0,
        attributes: Bytes::new(),
    };
    let put = Transaction { preconditions: Vec::new(), operations: vec![put] };
    let prefixes = ["/", "/a/", "/a/b/", "/a/b/c", "/b/", "/a/c/", "/a/b/d"];
    let watch = |prefix: &&str| store.watch(prefix.as_bytes(), store.revision().get()).unwrap();
    let mut watchers: Vec<_> = prefixes.iter().map(watch).collect();
    for concerned in [4, 3, 2, 1, 0] {
        watchers.truncate(concerned);
        store.apply(&put, Instant::now());
        for watcher in &mut watchers {
            let mut seen = VecDeque::new();
            assert!(watcher.poll(&mut Context::from_waker(Waker::noop()), 8, &mut seen).is_ready());
            assert_eq!(seen.len(), 1);
        }
    }
}

/// Whoever comes while the last of the others goes is in the group that changes are published to.
#[test]
fn a_watcher_that_joins_while_the_last_one_leaves_sees_everything() {
    let store = Store::new(Limits::default());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let come_and_go = || {
            while !done.load(Ordering::Relaxed) {
                drop(store.watch(b"/a/", store.revision().get()).unwrap());
            }
        };
        (0..3).for_each(|_| drop(scope.spawn(come_and_go)));
        for round in 0..ROUNDS {
            let mut watcher = store.watch(b"/a/", store.revision().get()).unwrap();
            let key = Bytes::from_static(b"/a/b");
            let put = Operation::Put { key, body: Bytes::new(), stamp_at: 0, attributes: Bytes::new() };
            let put = Transaction { preconditions: Vec::new(), operations: vec![put] };
            store.apply(&put, Instant::now());
            let mut seen = VecDeque::new();
            let polled = watcher.poll(&mut Context::from_waker(Waker::noop()), 8, &mut seen);
            let missed = polled.is_pending();
            done.store(missed || round == ROUNDS - 1, Ordering::Relaxed);
            assert!(!missed, "round {round}");
        }
    });
}

#[test]
fn a_watcher_that_fell_behind_or_is_over_does_not_say_how_far_it_is() {
    let store = Store::new(Limits { ring_bytes_max: 1000, ..Limits::default() });
    let put = |key: &'static [u8]| {
        let put =
            Operation::Put { key: Bytes::from_static(key), body: Bytes::new(), stamp_at: 0, attributes: Bytes::new() };
        store.apply(&Transaction { preconditions: Vec::new(), operations: vec![put] }, Instant::now());
    };
    let poll = |watcher: &mut Watcher| watcher.poll(&mut Context::from_waker(Waker::noop()), 8, &mut VecDeque::new());
    let watch = || store.watch(b"/a/", store.revision().get()).unwrap();
    let mut behind = watch();
    assert!(poll(&mut behind).is_pending());
    // It has seen all so far. What comes now leaves the ring before it looks again.
    put(b"/a/b");
    (0..100).for_each(|_| put(b"/c/d"));
    assert_eq!(behind.progress(), None);
    assert_eq!(poll(&mut behind), Poll::Ready(Err(WatchEnd::Lagged)));
    let over = watch();
    assert_eq!(over.progress(), Some(store.revision()));
    store.feed().end_all(WatchEnd::Closed);
    put(b"/a/b");
    assert_eq!(over.progress(), None);
}

#[test]
fn a_key_concerns_its_parents_and_itself() {
    let all: Vec<_> = prefixes(b"/a/b/c").collect();
    assert_eq!(all, [&b"/"[..], b"/a/", b"/a/b/", b"/a/b/c"]);
    for prefix in all {
        assert!(concerns(prefix, b"/a/b/c"));
    }
    assert!(!concerns(b"/a/b", b"/a/b/c"));
    assert!(!concerns(b"/a/b/c", b"/a/b/cd"));
}
