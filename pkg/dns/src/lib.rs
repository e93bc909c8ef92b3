//! The cluster's DNS, one server in every agent: answers the names of Services and pods (Kubernetes DNS specification
//! 1.1.0) out of caches fed by watches, and sends all other questions to the host's own resolvers.
//!
//! It must not know how pods or endpoints come about. Start reading at [`zone`] (pure: a name → records), then
//! [`server`] (the wire) and [`forward`] (all other names).
//!
//! The server's address is put on the node's loopback interface: pods send everything to their node, so each is answered
//! by its own node, and there is no single point of failure and no translation in between.

mod address;
mod cluster;
pub mod forward;
mod metrics;
pub mod server;
pub mod types;
pub mod zone;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use client::Informers;
use component_base::Shutdown;

/// How the server is set up.
#[derive(Clone)]
pub struct Config {
    /// Reads Services and EndpointSlices as `system:coredns`.
    pub informers: Informers,
    /// The cluster DNS addresses (`10.43.0.10`); put on the loopback interface and answered on port 53.
    pub addresses: Vec<IpAddr>,
    /// `cluster.local`.
    pub domain: String,
    /// Where the host's resolvers are named: `/etc/resolv.conf`.
    pub resolv_conf: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cluster domain {0:?} is not a DNS name")]
    Domain(String),
    #[error("putting {address} on the loopback interface failed: {source}")]
    Address { address: IpAddr, source: netlink::Error },
    #[error("listening on {address} failed; is another DNS server running there?")]
    Listen { address: SocketAddr, source: std::io::Error },
}

/// Answers until `shutdown`. The addresses stay: a node that restarts must not send its pods' questions elsewhere.
pub async fn run(config: Config, shutdown: Shutdown) -> Result<(), Error> {
    let zone = zone::Zone::new(&config.domain, &config.addresses).ok_or(Error::Domain(config.domain.clone()))?;
    for address in &config.addresses {
        address::ensure(*address).await?;
    }
    let cluster = cluster::Watched::new(&config.informers);
    let forwarder = forward::Forwarder::new(config.resolv_conf, config.addresses.clone());
    let listen = config.addresses.iter().map(|address| SocketAddr::new(*address, 53)).collect();
    server::Server::bind(zone, cluster, forwarder, listen).await?.run(shutdown).await;
    Ok(())
}
