//! Gives each waiting pod a node.
//!
//! The core is pure: [`queue`] decides which pod is next, [`cluster`] is the picture of nodes and pods, [`cycle`] finds
//! the node with the help of [`framework`] plugins, [`preemption`] makes room. [`run`] feeds them from informers and
//! writes bindings. It must not know the API server or the other loops. Start reading at [`cycle`].

pub mod cluster;
pub mod cycle;
pub mod driver;
pub mod events;
pub mod framework;
mod metrics;
pub mod plugins;
pub mod preemption;
pub mod queue;
pub mod resources;
pub mod selector;
mod shared;
pub mod terms;
pub mod topology;
pub mod types;
mod writer;

use client::Client;
use client::election::{self, Election, Timings};
use component_base::Shutdown;

/// The name of the scheduler's Lease in `kube-system`.
const LEASE: &str = "kube-scheduler";

pub struct Config {
    /// Acts as `system:kube-scheduler`.
    pub client: Client,
    /// Tells processes apart in the Lease, e.g. `<host>_<uuid>`.
    pub identity: String,
    pub timings: Timings,
}

/// Schedules whenever this process holds the Lease, until shutdown.
pub async fn run(config: Config, shutdown: Shutdown) {
    let election = Election::new(LEASE, &config.identity, config.timings);
    let client = config.client.clone();
    election::run(config.client, election, shutdown, move |term| driver::run(client.clone(), term)).await;
}
