//! A bounded cache of what was verified at some cost.

use std::collections::HashMap;

use parking_lot::Mutex;
use ring::digest::{SHA256, digest};

type Key = [u8; 32];

/// Keyed by a digest, so that no credential is kept. Two generations: when the young one is half the capacity, the old one
/// is dropped and the young becomes old; what is in use moves along. Never more than `capacity` entries.
pub struct Bounded<V> {
    half: usize,
    generations: Mutex<(HashMap<Key, V>, HashMap<Key, V>)>,
}

impl<V: Clone> Bounded<V> {
    pub fn new(capacity: usize) -> Self {
        Self { half: (capacity / 2).max(1), generations: Mutex::default() }
    }

    pub fn key(credential: &[u8]) -> Key {
        let mut key = [0; 32];
        key.copy_from_slice(digest(&SHA256, credential).as_ref());
        key
    }

    pub fn get(&self, key: &Key) -> Option<V> {
        let mut generations = self.generations.lock();
        if let Some(value) = generations.0.get(key) {
            return Some(value.clone());
        }
        let value = generations.1.remove(key)?;
        Self::put(&mut generations, self.half, *key, value.clone());
        Some(value)
    }

    pub fn insert(&self, key: Key, value: V) {
        Self::put(&mut self.generations.lock(), self.half, key, value);
    }

    fn put(generations: &mut (HashMap<Key, V>, HashMap<Key, V>), half: usize, key: Key, value: V) {
        if generations.0.len() >= half {
            generations.1 = std::mem::take(&mut generations.0);
        }
        generations.0.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_bounded_and_keeps_what_is_used() {
        let cache = Bounded::new(8);
        let hot = Bounded::<u32>::key(b"hot");
        cache.insert(hot, 1);
        for i in 0..100u32 {
            assert_eq!(cache.get(&hot), Some(1));
            cache.insert(Bounded::<u32>::key(&i.to_be_bytes()), i);
            let generations = cache.generations.lock();
            assert!(generations.0.len() + generations.1.len() <= 8);
        }
        assert_eq!(cache.get(&Bounded::<u32>::key(&1u32.to_be_bytes())), None);
    }
}
