//! Equal specs and labels are kept once: the pods of a controller have the same, and there are many of them.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, LazyLock, Weak};

use parking_lot::Mutex;

use crate::types::{Labels, PodSpec};

/// What is known, by a hash of a part of it.
struct Shared<T> {
    known: HashMap<u64, Vec<Weak<T>>>,
    /// The number of hashes at which those that nobody uses any more are looked for.
    sweep_at: usize,
}

const SWEEP_MIN: usize = 1024;

impl<T: PartialEq> Shared<T> {
    fn new() -> Self {
        Self { known: HashMap::new(), sweep_at: SWEEP_MIN }
    }

    fn get(&mut self, hash: u64, value: T) -> Arc<T> {
        if self.known.len() >= self.sweep_at {
            self.known.retain(|_, list| list.iter().any(|weak| weak.strong_count() > 0));
            self.sweep_at = (self.known.len() * 2).max(SWEEP_MIN);
        }
        let list = self.known.entry(hash).or_default();
        list.retain(|weak| weak.strong_count() > 0);
        if let Some(known) = list.iter().filter_map(Weak::upgrade).find(|known| **known == value) {
            return known;
        }
        let value = Arc::new(value);
        list.push(Arc::downgrade(&value));
        value
    }
}

static SPECS: LazyLock<Mutex<Shared<PodSpec>>> = LazyLock::new(|| Mutex::new(Shared::new()));
static LABELS: LazyLock<Mutex<Shared<Labels>>> = LazyLock::new(|| Mutex::new(Shared::new()));

/// The one that equals `spec`.
pub fn spec(spec: PodSpec) -> Arc<PodSpec> {
    let mut hasher = DefaultHasher::new();
    (&spec.scheduler_name, spec.priority, &spec.node_selector, spec.volumes.len()).hash(&mut hasher);
    for container in spec.containers.iter().chain(&spec.init_containers) {
        container.image.hash(&mut hasher);
        for (name, quantity) in &container.resources.requests {
            (name, &quantity.0).hash(&mut hasher);
        }
    }
    for volume in &spec.volumes {
        volume.persistent_volume_claim.as_ref().map(|claim| &claim.claim_name).hash(&mut hasher);
    }
    SPECS.lock().get(hasher.finish(), spec)
}

/// The ones that equal `labels`.
pub fn labels(labels: Arc<Labels>) -> Arc<Labels> {
    let mut hasher = DefaultHasher::new();
    labels.hash(&mut hasher);
    match Arc::try_unwrap(labels) {
        Ok(labels) => LABELS.lock().get(hasher.finish(), labels),
        Err(labels) => labels,
    }
}
