//! Metrics of the way between nodes; upstream has none for it.

use std::sync::LazyLock;

use component_base::metrics::register;
use prometheus_client::metrics::counter::Counter;

/// Looks at the kernel's tables that found something to change.
pub static CHANGES: LazyLock<Counter> =
    LazyLock::new(|| register("coracle_overlay_changes", "Syncs that changed the kernel's tables", Counter::default()));
