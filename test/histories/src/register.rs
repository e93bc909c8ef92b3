//! Whether what clients saw of a register could have happened one after the other, each within its time.
//!
//! The search of Wing and Gong with remembered states: an operation may be next if it began before every other open one
//! ended. One whose end is not known may have happened at any time after its beginning, or never.

use std::collections::{HashMap, HashSet};

/// What a client did, and what it saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Each value is written once.
    Write(u64),
    /// What was there; none before the first write and after a removal.
    Read(Option<u64>),
    /// Written because the other value was there.
    Swap(Option<u64>, u64),
    /// Removed because the value was there.
    Remove(u64),
    /// Refused because something else was there, which is not known.
    Differs(Option<u64>),
}

/// An action and when it was under way.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    pub action: Action,
    pub begun: u64,
    /// None when it may have happened or not.
    pub ended: Option<u64>,
}

impl Action {
    /// The register's value after it, if it can follow that value.
    fn follow(self, value: Option<u64>) -> Option<Option<u64>> {
        match self {
            Self::Write(new) => Some(Some(new)),
            Self::Read(seen) => (seen == value).then_some(value),
            Self::Swap(expected, new) => (expected == value).then_some(Some(new)),
            Self::Remove(expected) => (value == Some(expected)).then_some(None),
            Self::Differs(expected) => (expected != value).then_some(value),
        }
    }

    fn written(self) -> Option<u64> {
        match self {
            Self::Write(value) | Self::Swap(_, value) => Some(value),
            Self::Read(_) | Self::Remove(_) | Self::Differs(_) => None,
        }
    }

    fn seen(self) -> Option<u64> {
        match self {
            Self::Read(value) | Self::Swap(value, _) => value,
            Self::Remove(value) => Some(value),
            Self::Write(_) | Self::Differs(_) => None,
        }
    }
}

/// Finds out which operations of unknown end must have happened: those whose value somebody saw, and before that one's
/// end. Removals leave no value to see, so they stay open, and what only they may have seen does too. The others can be
/// left out, since whatever order there is with one of them is one without it.
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
            return without_unseen(history);
        }
    }
}

/// Leaves out open writes that nothing rests on: no removal can have seen them, however indirectly, and nobody was refused
/// for what they replaced.
fn without_unseen(mut history: Vec<Operation>) -> Vec<Operation> {
    let refused: HashSet<Option<u64>> = history
        .iter()
        .filter_map(|operation| match operation.action {
            Action::Differs(expected) => Some(expected),
            _ => None,
        })
        .collect();
    loop {
        let seen: HashSet<u64> = history.iter().filter_map(|operation| operation.action.seen()).collect();
        let before = history.len();
        history.retain(|operation| {
            let explains = match operation.action {
                Action::Remove(_) => true,
                Action::Swap(old, _) => refused.contains(&old),
                Action::Write(_) => !refused.is_empty(),
                Action::Read(_) | Action::Differs(_) => false,
            };
            explains
                || operation.ended.is_some()
                || operation.action.written().is_some_and(|value| seen.contains(&value))
        });
        if history.len() == before {
            return history;
        }
    }
}

/// Whether there is an order.
pub fn linearizable(history: &[Operation]) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// An action, its beginning, and its end or 0.
    type Row = (Action, u64, u64);

    fn history(operations: &[Row]) -> Vec<Operation> {
        let ended = |ended: u64| (ended > 0).then_some(ended);
        operations.iter().map(|&(action, begun, end)| Operation { action, begun, ended: ended(end) }).collect()
    }

    #[test]
    fn histories_that_can_have_happened_pass() {
        use Action::{Differs, Read, Remove, Swap, Write};
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
            &[(Swap(None, 1), 1, 2), (Remove(1), 3, 4), (Read(None), 5, 6), (Swap(None, 2), 7, 8)],
            // A removal that was not confirmed: it happened, and another did not.
            &[(Swap(None, 1), 1, 2), (Remove(1), 3, 0), (Read(Some(1)), 4, 5), (Read(None), 6, 7)],
            &[(Swap(None, 1), 1, 2), (Remove(1), 3, 0), (Read(Some(1)), 4, 5)],
            // It removed what was not confirmed either: nobody saw that, but where it was is free.
            &[(Swap(None, 1), 1, 2), (Swap(Some(1), 2), 3, 0), (Remove(2), 4, 0), (Swap(None, 3), 5, 6)],
            &[(Differs(Some(1)), 1, 2), (Write(1), 1, 3), (Differs(None), 4, 5)],
            // Nobody saw what was not confirmed, but somebody was refused for it.
            &[(Swap(None, 1), 1, 2), (Swap(Some(1), 2), 3, 0), (Differs(Some(1)), 4, 5)],
            &[(Swap(None, 1), 1, 0), (Differs(None), 4, 5)],
            &[(Write(1), 1, 2), (Write(2), 3, 0), (Differs(Some(1)), 4, 5)],
        ];
        for case in cases {
            assert!(linearizable(&history(case)), "{case:?}");
        }
    }

    #[test]
    fn planted_faults_are_found() {
        use Action::{Differs, Read, Remove, Swap, Write};
        let cases: &[(&str, &[Row])] = &[
            ("a stale read", &[(Write(1), 1, 2), (Write(2), 3, 4), (Read(Some(1)), 5, 6)]),
            ("a lost write", &[(Write(1), 1, 2), (Read(None), 3, 4)]),
            ("a read back in time", &[(Write(1), 1, 10), (Read(Some(1)), 2, 3), (Read(None), 4, 5)]),
            ("a value that nobody wrote", &[(Write(1), 1, 2), (Read(Some(7)), 3, 4)]),
            ("a write before it began", &[(Read(Some(1)), 1, 2), (Write(1), 3, 4)]),
            (
                "one that happened twice",
                &[
                    (Write(1), 1, 0),
                    (Read(Some(1)), 2, 3),
                    (Write(2), 4, 5),
                    (Read(Some(2)), 6, 7),
                    (Read(Some(1)), 8, 9),
                ],
            ),
            ("an unconfirmed one after it was seen", &[(Write(1), 5, 0), (Read(Some(1)), 1, 2)]),
            ("two swaps of one value", &[(Write(1), 1, 2), (Swap(Some(1), 2), 3, 6), (Swap(Some(1), 3), 4, 7)]),
            ("a removed value that is back", &[(Write(1), 1, 2), (Remove(1), 3, 4), (Read(Some(1)), 5, 6)]),
            ("a creation of what is there", &[(Swap(None, 1), 1, 2), (Swap(None, 2), 3, 4)]),
            (
                "an unconfirmed removal that happened twice",
                &[(Write(1), 1, 2), (Remove(1), 3, 0), (Read(None), 4, 5), (Write(2), 6, 7), (Read(None), 8, 9)],
            ),
            ("two removals of one value", &[(Write(1), 1, 2), (Remove(1), 3, 6), (Remove(1), 4, 7)]),
            (
                "a refusal for what was never there",
                &[(Swap(None, 1), 1, 2), (Swap(Some(7), 2), 3, 0), (Differs(Some(1)), 4, 5)],
            ),
            ("a refusal without cause", &[(Write(1), 1, 2), (Differs(Some(1)), 3, 4)]),
            ("a refusal of a creation where nothing is", &[(Differs(None), 1, 2), (Write(1), 3, 4)]),
        ];
        for (what, case) in cases {
            assert!(!linearizable(&history(case)), "{what}");
        }
    }
}
