//! Whether what clients saw of a register could have happened one after the other, each within its time.
//!
//! The search of Wing and Gong with remembered states: an operation may be next if it began before every other open one
//! ended. One whose end is not known may have happened at any time after its beginning, or never.

use std::collections::{HashMap, HashSet};

/// What a client did, and what it saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Each value is written once.
    Write(u64),
    /// What was there; none before the first write.
    Read(Option<u64>),
    /// Written because the other value was there.
    Swap(Option<u64>, u64),
}

/// An action and when it was under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operation {
    pub(super) action: Action,
    pub(super) begun: u64,
    /// None when it may have happened or not.
    pub(super) ended: Option<u64>,
}

impl Action {
    /// The register's value after it, if it can follow that value.
    fn follow(self, value: Option<u64>) -> Option<Option<u64>> {
        match self {
            Self::Write(new) => Some(Some(new)),
            Self::Read(seen) => (seen == value).then_some(value),
            Self::Swap(expected, new) => (expected == value).then_some(Some(new)),
        }
    }

    fn written(self) -> Option<u64> {
        match self {
            Self::Write(value) | Self::Swap(_, value) => Some(value),
            Self::Read(_) => None,
        }
    }

    fn seen(self) -> Option<u64> {
        match self {
            Self::Read(value) | Self::Swap(value, _) => value,
            Self::Write(_) => None,
        }
    }
}

/// Finds out which operations of unknown end must have happened: those whose value somebody saw, and before that one's
/// end. The others can be left out, since whatever order there is with one of them is one without it.
fn decide_unknown(history: &[Operation]) -> Vec<Operation> {
    let mut history = history.to_vec();
    loop {
        let mut first_seen = HashMap::new();
        for operation in &history {
            if let (Some(value), Some(ended)) = (operation.action.seen(), operation.ended) {
                let first = first_seen.entry(value).or_insert(ended);
                *first = ended.min(*first);
            }
        }
        let before = history.iter().filter(|operation| operation.ended.is_none()).count();
        for operation in history.iter_mut().filter(|operation| operation.ended.is_none()) {
            operation.ended = operation.action.written().and_then(|value| first_seen.get(&value).copied());
        }
        // One that happened late saw something itself.
        if history.iter().filter(|operation| operation.ended.is_none()).count() == before {
            history.retain(|operation| operation.ended.is_some());
            return history;
        }
    }
}

/// Whether there is an order.
pub(super) fn linearizable(history: &[Operation]) -> bool {
    let mut history = decide_unknown(history);
    history.sort_by_key(|operation| operation.begun);
    let words = history.len().div_ceil(64);
    let mut seen = HashSet::new();
    // Which operations are in order already, and the value after them.
    let mut open = vec![(vec![0_u64; words], None)];
    while let Some((done, value)) = open.pop() {
        let is_done = |at: usize| done[at / 64] & (1 << (at % 64)) != 0;
        let rest = || history.iter().enumerate().filter(|(at, _)| !is_done(*at));
        let Some(first_end) = rest().filter_map(|(_, operation)| operation.ended).min() else { return true };
        for (at, operation) in rest().take_while(|(_, operation)| operation.begun <= first_end) {
            let Some(value) = operation.action.follow(value) else { continue };
            let mut done = done.clone();
            done[at / 64] |= 1 << (at % 64);
            if seen.insert((done.clone(), value)) {
                open.push((done, value));
            }
        }
    }
    false
}

/// An action, its beginning, and its end or 0.
type Row = (Action, u64, u64);

fn history(operations: &[Row]) -> Vec<Operation> {
    let ended = |ended: u64| (ended > 0).then_some(ended);
    operations.iter().map(|&(action, begun, end)| Operation { action, begun, ended: ended(end) }).collect()
}

#[test]
fn histories_that_can_have_happened_pass() {
    use Action::{Read, Swap, Write};
    let cases: &[&[Row]] = &[
        &[],
        &[(Read(None), 1, 2), (Write(1), 3, 4), (Read(Some(1)), 5, 6)],
        // Concurrent: the read may come before or after.
        &[(Write(1), 1, 10), (Read(None), 2, 3), (Read(Some(1)), 4, 5)],
        // It was not confirmed, and happened late; another never did.
        &[(Write(1), 1, 0), (Write(2), 2, 0), (Read(None), 3, 4), (Read(Some(1)), 5, 6)],
        // One that was not confirmed is seen by another of that kind, which is seen.
        &[(Write(1), 1, 0), (Swap(Some(1), 2), 2, 0), (Write(9), 3, 0), (Read(Some(2)), 4, 5)],
        &[(Write(1), 1, 2), (Swap(Some(1), 2), 3, 6), (Swap(Some(2), 3), 4, 7), (Read(Some(3)), 8, 9)],
    ];
    for case in cases {
        assert!(linearizable(&history(case)), "{case:?}");
    }
}

#[test]
fn planted_faults_are_found() {
    use Action::{Read, Swap, Write};
    let cases: &[(&str, &[Row])] = &[
        ("a stale read", &[(Write(1), 1, 2), (Write(2), 3, 4), (Read(Some(1)), 5, 6)]),
        ("a lost write", &[(Write(1), 1, 2), (Read(None), 3, 4)]),
        ("a read back in time", &[(Write(1), 1, 10), (Read(Some(1)), 2, 3), (Read(None), 4, 5)]),
        ("a value that nobody wrote", &[(Write(1), 1, 2), (Read(Some(7)), 3, 4)]),
        ("a write before it began", &[(Read(Some(1)), 1, 2), (Write(1), 3, 4)]),
        (
            "one that happened twice",
            &[(Write(1), 1, 0), (Read(Some(1)), 2, 3), (Write(2), 4, 5), (Read(Some(2)), 6, 7), (Read(Some(1)), 8, 9)],
        ),
        ("an unconfirmed one after it was seen", &[(Write(1), 5, 0), (Read(Some(1)), 1, 2)]),
        ("two swaps of one value", &[(Write(1), 1, 2), (Swap(Some(1), 2), 3, 6), (Swap(Some(1), 3), 4, 7)]),
    ];
    for (what, case) in cases {
        assert!(!linearizable(&history(case)), "{what}");
    }
}
