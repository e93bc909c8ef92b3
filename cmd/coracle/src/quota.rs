//! How much objects count against quotas, for the controller: the rule itself is admission's.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use admission::quota;
use serde_json::Value;

/// Counts by the same functions that charge at admission.
pub struct AdmissionUsage;

impl controller::QuotaUsage for AdmissionUsage {
    fn resources(&self, hard: &[&str]) -> Vec<(String, String)> {
        quota::watched_resources(hard.iter().copied())
    }

    fn used(&self, quota: &Value, group: &str, resource: &str, objects: &[Value]) -> BTreeMap<String, String> {
        let hard = quota["status"]["hard"].as_object();
        let hard: BTreeSet<String> = hard.into_iter().flat_map(|hard| hard.keys().cloned()).collect();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let counted = objects.iter().filter(|object| quota::matches(quota, group, resource, object));
        let used = quota::used_by(group, resource, counted, &hard, i64::try_from(now).unwrap_or(i64::MAX));
        used.into_iter().map(|(name, amount)| (name, amount.to_string())).collect()
    }
}
