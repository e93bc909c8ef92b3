//! Services on a node by nftables: cluster IPs, node ports, external and load balancer IPs are translated to endpoints by
//! one table of ours, which changes by one atomic transaction made from the difference to what is wanted.
//!
//! It must not know how endpoints come about, nor the container runtime. Start reading at [`sync`], then [`rules`] (pure:
//! services and endpoints → rules) and [`ruleset`] (pure: the difference between two rulesets → a script).
//!
//! Invariants of absence: no polling; nothing is written while nothing changes; a shutdown leaves the rules in place.

mod apply;
mod conntrack;
mod health;
mod metrics;
pub mod model;
pub mod rules;
pub mod ruleset;
mod sync;
pub mod types;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use client::Informers;
use component_base::Shutdown;

pub use apply::Error;

/// What a node's proxy must know.
#[derive(Clone)]
pub struct Config {
    /// Reads as `system:kube-proxy`.
    pub informers: Informers,
    /// This node's name, for traffic policies `Local`.
    pub node_name: String,
    /// The cluster's pod range (`10.42.0.0/16`): what comes from elsewhere is masqueraded.
    pub cluster_cidr: String,
    /// Service addresses that a process on this node answers itself (the cluster DNS address).
    pub own_addresses: BTreeSet<Ipv4Addr>,
}

/// Keeps the node's rules equal to the cluster's Services until `shutdown`.
pub async fn run(config: Config, shutdown: Shutdown) -> Result<(), Error> {
    sync::run(config, shutdown).await
}
