//! Which occurrence is new, which repeats an Event that was written, and which is one too many.
//!
//! The limits are upstream's: 10 different messages of one reason about one object in 10 minutes, then they are
//! combined; 25 Events about one object at once, then one every 5 minutes.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use jiff::Timestamp;

use super::{EventType, Occurrence};

const SIMILAR_MAX: usize = 10;
const SIMILAR_WINDOW_SECONDS: i64 = 600;
const BURST: f64 = 25.0;
const REFILL_SECONDS: f64 = 300.0;
/// Entries each table holds at most.
const ENTRIES_MAX: usize = 4096;

/// What an Event is about and says, without its message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Topic {
    object: [String; 5],
    kind: EventType,
    reason: String,
}

/// What identifies an Event that was written: a topic with one message, or with all (combined).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    topic: Topic,
    message: Option<String>,
}

/// The Event that is repeated, and how often it has occurred with this.
pub(super) struct Repeat {
    pub name: String,
    pub count: u32,
}

pub(super) enum Verdict {
    Write { key: Box<Key>, repeat: Option<Repeat> },
    TooMany,
}

struct Written {
    name: String,
    count: u32,
    last: Timestamp,
}

struct Similar {
    messages: HashSet<String>,
    last: Timestamp,
}

struct Bucket {
    tokens: f64,
    last: Timestamp,
}

#[derive(Default)]
pub(super) struct Correlator {
    written: HashMap<Key, Written>,
    similar: HashMap<Topic, Similar>,
    buckets: HashMap<[String; 5], Bucket>,
}

impl Correlator {
    /// Decides about an occurrence; combined ones get their message changed.
    pub(super) fn judge(&mut self, occurrence: &mut Occurrence) -> Verdict {
        let at = occurrence.at;
        let object = object(occurrence);
        if !self.spend(&object, at) {
            return Verdict::TooMany;
        }
        let topic = Topic { object, kind: occurrence.kind, reason: occurrence.reason.clone() };
        bound(&mut self.similar, |similar| similar.last);
        let similar =
            self.similar.entry(topic.clone()).or_insert_with(|| Similar { messages: HashSet::new(), last: at });
        if (at.as_second() - similar.last.as_second()) > SIMILAR_WINDOW_SECONDS {
            similar.messages.clear();
        }
        similar.last = at;
        if similar.messages.len() < SIMILAR_MAX {
            similar.messages.insert(occurrence.message.clone());
        }
        let combined = similar.messages.len() >= SIMILAR_MAX;
        let message = (!combined).then(|| occurrence.message.clone());
        if combined {
            occurrence.message.insert_str(0, "(combined from similar events): ");
        }
        let key = Key { topic, message };
        let repeat = self.written.get_mut(&key).map(|written| {
            written.count += 1;
            written.last = at;
            Repeat { name: written.name.clone(), count: written.count }
        });
        Verdict::Write { key: Box::new(key), repeat }
    }

    /// Remembers that the Event was created.
    pub(super) fn written(&mut self, key: Key, name: String) {
        bound(&mut self.written, |written| written.last);
        self.written.insert(key, Written { name, count: 1, last: Timestamp::now() });
    }

    fn spend(&mut self, object: &[String; 5], at: Timestamp) -> bool {
        bound(&mut self.buckets, |bucket| bucket.last);
        let bucket = self.buckets.entry(object.clone()).or_insert(Bucket { tokens: BURST, last: at });
        let elapsed = (at.as_millisecond() - bucket.last.as_millisecond()).max(0) as f64 / 1000.0;
        bucket.tokens = (bucket.tokens + elapsed / REFILL_SECONDS).min(BURST);
        bucket.last = at;
        if bucket.tokens < 1.0 {
            return false;
        }
        bucket.tokens -= 1.0;
        true
    }
}

fn object(occurrence: &Occurrence) -> [String; 5] {
    let o = &occurrence.regarding;
    [&o.api_version, &o.kind, &o.namespace, &o.name, &o.uid].map(|part| part.clone().unwrap_or_default())
}

/// Makes room in a full table by dropping the half that was used longest ago.
fn bound<K: Eq + Hash, V>(table: &mut HashMap<K, V>, last: impl Fn(&V) -> Timestamp) {
    if table.len() < ENTRIES_MAX {
        return;
    }
    let mut times: Vec<Timestamp> = table.values().map(&last).collect();
    times.sort_unstable();
    let middle = times[times.len() / 2];
    table.retain(|_, value| last(value) > middle);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorder::ObjectReference;

    fn occurrence(name: &str, message: &str, second: i64) -> Occurrence {
        Occurrence {
            regarding: ObjectReference { name: Some(name.into()), ..Default::default() },
            related: None,
            kind: EventType::Normal,
            reason: "R".into(),
            action: String::new(),
            message: message.into(),
            at: Timestamp::from_second(second).unwrap(),
            annotations: Vec::new(),
        }
    }

    #[test]
    fn a_repeat_counts_on_the_first() {
        let mut correlator = Correlator::default();
        let Verdict::Write { key, repeat: None } = correlator.judge(&mut occurrence("a", "m", 0)) else { panic!() };
        correlator.written(*key, "a.1".into());
        let Verdict::Write { repeat: Some(repeat), .. } = correlator.judge(&mut occurrence("a", "m", 1)) else {
            panic!()
        };
        assert_eq!((repeat.name.as_str(), repeat.count), ("a.1", 2));
        assert!(matches!(correlator.judge(&mut occurrence("b", "m", 1)), Verdict::Write { repeat: None, .. }));
    }

    #[test]
    fn floods_are_combined_and_cut() {
        let mut correlator = Correlator::default();
        let mut texts = Vec::new();
        for i in 0..26 {
            let mut o = occurrence("a", &format!("m{i}"), 0);
            if let Verdict::Write { .. } = correlator.judge(&mut o) {
                texts.push(o.message);
            }
        }
        assert_eq!(texts.len(), 25, "the burst is spent");
        assert_eq!(texts[8], "m8");
        assert_eq!(texts[9], "(combined from similar events): m9");
        assert!(matches!(correlator.judge(&mut occurrence("a", "x", 299)), Verdict::TooMany));
        assert!(matches!(correlator.judge(&mut occurrence("a", "x", 301)), Verdict::Write { .. }));
    }
}
