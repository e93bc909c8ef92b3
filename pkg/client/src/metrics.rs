//! Metrics of reflectors and work queues, under upstream's names where upstream has them.

use std::sync::LazyLock;

use component_base::metrics::register;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Resource {
    resource: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Name {
    name: String,
}

static LISTS: LazyLock<Family<Resource, Counter>> =
    LazyLock::new(|| register("reflector_lists", "Lists made by reflectors", Family::default()));
static WATCHES: LazyLock<Family<Resource, Counter>> =
    LazyLock::new(|| register("reflector_watches", "Watches opened by reflectors", Family::default()));
static RELIST_CHANGES: LazyLock<Family<Resource, Counter>> = LazyLock::new(|| {
    let help = "Objects that a relist found changed: what a watch should have told but did not";
    register("reflector_relist_changes", help, Family::default())
});

pub(crate) fn list(path: &str) {
    LISTS.get_or_create(&Resource { resource: path.to_owned() }).inc();
}

pub(crate) fn watch(path: &str) {
    WATCHES.get_or_create(&Resource { resource: path.to_owned() }).inc();
}

pub(crate) fn relist_changes(path: &str, count: u64) {
    RELIST_CHANGES.get_or_create(&Resource { resource: path.to_owned() }).inc_by(count);
}

static DEPTH: LazyLock<Family<Name, Gauge>> =
    LazyLock::new(|| register("workqueue_depth", "Current depth of workqueue", Family::default()));
static ADDS: LazyLock<Family<Name, Counter>> =
    LazyLock::new(|| register("workqueue_adds", "Total number of adds handled by workqueue", Family::default()));
static RETRIES: LazyLock<Family<Name, Counter>> =
    LazyLock::new(|| register("workqueue_retries", "Total number of retries handled by workqueue", Family::default()));
static WAITED: LazyLock<Family<Name, Histogram>> = LazyLock::new(|| {
    let help = "How long in seconds an item stays in workqueue before being requested";
    register("workqueue_queue_duration_seconds", help, Family::new_with_constructor(seconds))
});
static WORKED: LazyLock<Family<Name, Histogram>> = LazyLock::new(|| {
    let help = "How long in seconds processing an item from workqueue takes";
    register("workqueue_work_duration_seconds", help, Family::new_with_constructor(seconds))
});

fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(10e-6, 10.0, 8))
}

/// The metrics of one named queue.
#[derive(Clone)]
pub(crate) struct Queue {
    pub depth: Gauge,
    pub adds: Counter,
    pub retries: Counter,
    pub waited: Histogram,
    pub worked: Histogram,
}

impl Queue {
    pub(crate) fn new(name: &str) -> Self {
        let name = Name { name: name.to_owned() };
        Self {
            depth: DEPTH.get_or_create(&name).clone(),
            adds: ADDS.get_or_create(&name).clone(),
            retries: RETRIES.get_or_create(&name).clone(),
            waited: WAITED.get_or_create(&name).clone(),
            worked: WORKED.get_or_create(&name).clone(),
        }
    }
}
