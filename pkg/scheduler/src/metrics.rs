//! Metrics under upstream's names.

use std::sync::LazyLock;

use component_base::metrics::register;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Outcome {
    /// `scheduled`, `unschedulable` or `error`.
    pub result: &'static str,
}

/// `scheduler_schedule_attempts_total`
pub static ATTEMPTS: LazyLock<Family<Outcome, Counter>> = LazyLock::new(|| {
    register("scheduler_schedule_attempts", "Attempts to schedule pods, by the result", Family::default())
});

/// Seconds from taking a pod to knowing its node.
pub static ALGORITHM_SECONDS: LazyLock<Histogram> = LazyLock::new(|| {
    let histogram = Histogram::new(exponential_buckets(0.00001, 2.0, 16));
    register("scheduler_scheduling_algorithm_duration_seconds", "Time to find a node for a pod", histogram)
});

/// Bindings that are being written.
pub static BINDING: LazyLock<Gauge> =
    LazyLock::new(|| register("scheduler_goroutines", "Bindings under way", Gauge::default()));

pub fn attempt(result: &'static str) {
    ATTEMPTS.get_or_create(&Outcome { result }).inc();
}
