//! Whether watchers were told the truth: every change of their time once, in order, and all of them the same.
//!
//! Nobody sees the truth itself. It is what watchers and writers know together: a revision is one change, so whoever
//! speaks of it must say the same, and a watcher that leaves out what another was told, or what a writer was promised,
//! has a gap.

use std::collections::{BTreeMap, HashMap};

/// What a watch says of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    Added,
    Modified,
    Deleted,
}

/// One change of one object. Each object is written with values that no other write has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub change: Change,
    pub object: String,
    pub revision: u64,
    /// What the object has then; what it had last, when it was deleted.
    pub value: u64,
}

/// What one watcher was told, resumed as often as its connections broke.
#[derive(Clone, Debug, Default)]
pub struct Watcher {
    pub name: String,
    /// It asked for everything after this revision,
    pub from: u64,
    /// and up to this one it must have been told everything.
    pub until: u64,
    pub events: Vec<Event>,
}

/// A write that was acknowledged with its revision, or a deletion without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    pub object: String,
    pub value: u64,
    pub revision: Option<u64>,
}

/// Says what is wrong, one line each; nothing if all is well.
pub fn violations(watchers: &[Watcher], writes: &[Acknowledged]) -> Vec<String> {
    let mut found = Vec::new();
    let mut truth: BTreeMap<u64, &Event> = BTreeMap::new();
    for watcher in watchers {
        out_of_order(watcher, &mut found);
        for event in &watcher.events {
            let known = truth.entry(event.revision).or_insert(event);
            if *known != event {
                found.push(format!("{}: told {event:?}, another was told {known:?}", watcher.name));
            }
        }
    }
    unknown_writes(&truth, writes, &mut found);
    for watcher in watchers {
        gaps(watcher, &truth, &mut found);
    }
    impossible_changes(&truth, &mut found);
    found
}

fn out_of_order(watcher: &Watcher, found: &mut Vec<String>) {
    let mut last = watcher.from;
    for event in &watcher.events {
        if event.revision == last {
            found.push(format!("{}: told twice of revision {last}: {event:?}", watcher.name));
        } else if event.revision < last {
            found.push(format!("{}: told of revision {last} before {event:?}", watcher.name));
        }
        last = event.revision.max(last);
    }
}

fn unknown_writes(truth: &BTreeMap<u64, &Event>, writes: &[Acknowledged], found: &mut Vec<String>) {
    let deleted: HashMap<(&str, u64), u64> = truth
        .values()
        .filter(|event| event.change == Change::Deleted)
        .map(|event| ((event.object.as_str(), event.value), event.revision))
        .collect();
    for write in writes {
        let told = match write.revision {
            Some(revision) => truth.get(&revision).is_some_and(|event| {
                event.object == write.object && event.value == write.value && event.change != Change::Deleted
            }),
            None => deleted.contains_key(&(write.object.as_str(), write.value)),
        };
        if !told {
            found.push(format!("nobody was told of an acknowledged write: {write:?}"));
        }
    }
}

fn gaps(watcher: &Watcher, truth: &BTreeMap<u64, &Event>, found: &mut Vec<String>) {
    let mut told: Vec<u64> = watcher.events.iter().map(|event| event.revision).collect();
    told.sort_unstable();
    if watcher.until <= watcher.from {
        return;
    }
    for (revision, event) in truth.range(watcher.from + 1..=watcher.until) {
        if told.binary_search(revision).is_err() {
            found.push(format!("{}: never told of {event:?}", watcher.name));
        }
    }
}

/// An object is added where none is, and modified or deleted where one is. Watches begin before the first object.
fn impossible_changes(truth: &BTreeMap<u64, &Event>, found: &mut Vec<String>) {
    let mut there: HashMap<&str, u64> = HashMap::new();
    for event in truth.values() {
        let before = there.get(event.object.as_str()).copied();
        let possible = match event.change {
            Change::Added => before.is_none(),
            Change::Modified => before.is_some_and(|value| value != event.value),
            Change::Deleted => before == Some(event.value),
        };
        if !possible {
            found.push(format!("not possible when the object has {before:?}: {event:?}"));
        }
        match event.change {
            Change::Deleted => there.remove(event.object.as_str()),
            _ => there.insert(&event.object, event.value),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::Change::{Added, Deleted, Modified};
    use super::*;

    fn event(change: Change, revision: u64, value: u64) -> Event {
        Event { change, object: "a".to_owned(), revision, value }
    }

    fn truth() -> Vec<Event> {
        vec![event(Added, 11, 1), event(Modified, 12, 2), event(Deleted, 15, 2), event(Added, 16, 3)]
    }

    fn watcher(name: &str, events: Vec<Event>) -> Watcher {
        Watcher { name: name.to_owned(), from: 10, until: 16, events }
    }

    fn write(value: u64, revision: Option<u64>) -> Acknowledged {
        Acknowledged { object: "a".to_owned(), value, revision }
    }

    #[test]
    fn watchers_that_were_told_the_truth_pass() {
        let late = Watcher { from: 12, events: truth()[2..].to_vec(), ..watcher("late", Vec::new()) };
        let short = Watcher { until: 14, events: truth()[..2].to_vec(), ..watcher("short", Vec::new()) };
        let writes = [write(1, Some(11)), write(2, Some(12)), write(2, None), write(3, Some(16))];
        let found = violations(&[watcher("whole", truth()), late, short], &writes);
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn planted_faults_are_found() {
        let changed = |change: &dyn Fn(&mut Vec<Event>)| {
            let mut events = truth();
            change(&mut events);
            events
        };
        let cases: &[(&str, Vec<Event>)] = &[
            ("never told of", changed(&|events| drop(events.remove(1)))),
            ("never told of", changed(&|events| drop(events.pop()))),
            ("told twice", changed(&|events| events.insert(1, event(Added, 11, 1)))),
            ("told of revision 12 before", changed(&|events| events.swap(0, 1))),
            ("another was told", changed(&|events| events[1].value = 7)),
            ("another was told", changed(&|events| events[3].change = Modified)),
        ];
        for (what, events) in cases {
            let found = violations(&[watcher("whole", truth()), watcher("faulty", events.clone())], &[]);
            assert!(found.iter().any(|line| line.starts_with("faulty") && line.contains(what)), "{what}: {found:?}");
        }
    }

    #[test]
    fn what_all_watchers_miss_is_known_from_writers_and_from_what_follows() {
        let mut missed = truth();
        missed.remove(2);
        let found = violations(&[watcher("one", missed.clone()), watcher("two", missed)], &[]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("not possible"), "{found:?}");
        for lost in [write(9, Some(14)), write(1, None), write(2, Some(11))] {
            let found = violations(&[watcher("one", truth())], &[lost]);
            assert!(found.len() == 1 && found[0].contains("acknowledged"), "{found:?}");
        }
    }
}
