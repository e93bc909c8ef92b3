use std::sync::Arc;

use crate::map::{Iter, Map};
use crate::{Digest, Record, Revision};

/// The whole state at one revision. Cheap to take, cheap to clone, never changes.
#[derive(Clone)]
pub struct Snapshot {
    pub(crate) map: Map,
    pub(crate) revision: Revision,
}

impl Snapshot {
    /// The revision of the state.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The record of a key.
    pub fn get(&self, key: &[u8]) -> Option<Arc<Record>> {
        self.map.get(key).cloned()
    }

    /// The same state without some keys, at another revision: what a store begins with that must not give out a revision
    /// again that another one gave out after this state. Nothing before that revision can be read or watched from there.
    pub fn moved_on(&self, revision: u64, without: &[impl AsRef<[u8]>]) -> Self {
        let mut map = self.map.clone();
        for key in without {
            map.remove(key.as_ref());
        }
        Self { map, revision: Revision::new(revision.max(self.revision.get())) }
    }

    /// The hash of the state's content: equal for equal states, whatever brought them about.
    pub fn digest(&self) -> Digest {
        self.map.digest()
    }

    /// Memory that the records hold, roughly.
    pub fn bytes(&self) -> u64 {
        self.map.bytes()
    }

    /// How many keys there are in all.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The records whose keys start with `prefix`, after the key `after` if one is given, in order of keys.
    pub fn range(&self, prefix: &[u8], after: Option<&[u8]>) -> Range {
        let iter = match after {
            Some(after) if after >= prefix => {
                // The smallest key greater than `after`.
                let mut start = after.to_vec();
                start.push(0);
                self.map.iter_from(&start)
            }
            _ => self.map.iter_from(prefix),
        };
        Range { iter, prefix: prefix.into() }
    }

    /// How many keys with `prefix` come after `after`.
    pub fn count_after(&self, prefix: &[u8], after: &[u8]) -> usize {
        let mut start = after.to_vec();
        start.push(0);
        let end = prefix_end(prefix).map_or(self.map.len(), |end| self.map.rank(&end));
        end.saturating_sub(self.map.rank(&start))
    }
}

/// Puts a state together from its records, as another store tells them.
#[derive(Default)]
pub struct SnapshotBuilder {
    map: Map,
}

impl SnapshotBuilder {
    /// Adds a record; a later one of the same key takes its place.
    pub fn push(&mut self, record: Record) {
        self.map.insert(Arc::new(record));
    }

    /// The state, at the revision that the other store has.
    pub fn finish(self, revision: u64) -> Snapshot {
        Snapshot { map: self.map, revision: Revision::new(revision.max(Revision::FIRST.get())) }
    }
}

/// The smallest key that is greater than all that start with `prefix`.
fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.last_mut() {
        if *last < u8::MAX {
            *last += 1;
            return Some(end);
        }
        end.pop();
    }
    None
}

/// Walks over the records of a prefix. Holds the snapshot's memory while it lives.
pub struct Range {
    iter: Iter,
    prefix: Box<[u8]>,
}

impl Iterator for Range {
    type Item = Arc<Record>;

    fn next(&mut self) -> Option<Arc<Record>> {
        self.iter.next().filter(|record| record.key().starts_with(&self.prefix))
    }
}
