//! Metrics under upstream's names.

use std::sync::LazyLock;

use component_base::metrics::register;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

/// Seconds from the first look at a change to its rules being in force.
pub static SYNC_SECONDS: LazyLock<Histogram> = LazyLock::new(|| {
    let histogram = Histogram::new(exponential_buckets(0.001, 2.0, 15));
    register("kubeproxy_sync_proxy_rules_duration_seconds", "Time to bring the rules up to date", histogram)
});

/// Transactions that nft refused; each makes the table anew.
pub static FAILURES: LazyLock<Counter> = LazyLock::new(|| {
    register("kubeproxy_sync_proxy_rules_nftables_sync_failures", "Transactions that were refused", Counter::default())
});
