//! ResourceQuota: what objects use ([`usage`](fn@usage)), which quotas mean them ([`matches`](fn@matches)), and what a
//! write is charged to ([`ResourceQuota`]). The first two are pure and are what a quota controller needs to count anew.

mod charge;
mod scopes;
mod usage;

pub use charge::{Charge, ResourceQuota};
pub use scopes::matches;
pub use usage::{counts, missing_constraints, resources_of, usage, used_by};

/// The resources (group, plural) whose objects quotas with these hard limits count.
pub fn watched_resources<'a>(hard: impl IntoIterator<Item = &'a str>) -> Vec<(String, String)> {
    let mut out: Vec<(String, String)> = hard.into_iter().filter_map(resources_of).collect();
    out.sort_unstable();
    out.dedup();
    out
}
