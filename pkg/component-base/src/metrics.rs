//! One registry of Prometheus metrics a process. Names equal upstream's.
//!
//! The encoder appends `_total` to counters: register `apiserver_request` to get `apiserver_request_total`.

use std::sync::{LazyLock, Mutex, PoisonError};

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::{Metric, Registry};

static REGISTRY: LazyLock<Mutex<Registry>> = LazyLock::new(|| Mutex::new(Registry::default()));

/// Adds `metric` under `name` and hands it back; metrics are cheap handles, so keep a clone.
pub fn register<M: Metric + Clone>(name: &str, help: &str, metric: M) -> M {
    let mut registry = REGISTRY.lock().unwrap_or_else(PoisonError::into_inner);
    registry.register(name, help, metric.clone());
    metric
}

/// All metrics in OpenMetrics text form, as `/metrics` answers.
pub fn render() -> String {
    let registry = REGISTRY.lock().unwrap_or_else(PoisonError::into_inner);
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = encode(&mut text, &registry);
    text
}
