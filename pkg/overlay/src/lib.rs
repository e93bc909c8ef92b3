//! The way between the pods of different nodes: each node's range is routed to that node, in VXLAN packets or as it is.
//!
//! Every node announces in its Node object how it is reached, in flannel's annotations, so that tools and nodes that know
//! those understand. A loop follows all Nodes and keeps the kernel's tables equal to what they say. It must not know how pods
//! get their addresses, nor Services. Start reading at [`sync`], then [`peer`] (pure: a Node → who is to be reached how) and
//! [`tables`] (pure: the difference between two states of the kernel's tables).
//!
//! Invariants of absence: no polling (the kernel says when somebody else changes links or routes); a start that finds
//! everything in place changes nothing; a shutdown leaves the network as it is; nothing of others is touched: our routes
//! carry a protocol number of their own ([`PROTOCOL`]).

mod kernel;
mod metrics;
pub mod peer;
mod sync;
pub mod tables;

use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use client::{Client, Informers, Recorder};
use component_base::Shutdown;
use netlink::{Link, Netlink};

pub use kernel::Kernel;

/// The VXLAN device's name.
pub const DEVICE: &str = "coracle.1";
/// The number of the VXLAN network and its UDP port, as flannel's.
pub const VNI: u32 = 1;
pub const PORT: u16 = 8472;
/// What the outer headers of VXLAN take of a packet: Ethernet 14, IPv4 20, UDP 8, VXLAN 8.
const VXLAN_OVERHEAD: u32 = 50;
/// The usual MTU of links.
const ETHERNET_MTU: u32 = 1500;
/// Marks routes as ours (`ip route show proto 67`): neither the kernel nor a known routing daemon uses it.
pub const PROTOCOL: u8 = 67;

/// How packets get to other nodes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Backend {
    /// In UDP packets, over any network that carries these.
    Vxlan,
    /// As they are, routed by the nodes' own addresses; all nodes must be on one link.
    HostGateway,
}

impl Backend {
    /// The name in flags and annotations.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Vxlan => "vxlan",
            Self::HostGateway => "host-gw",
        }
    }

    /// Bytes of each packet that the way between nodes takes.
    pub fn overhead(self) -> u32 {
        match self {
            Self::Vxlan => VXLAN_OVERHEAD,
            Self::HostGateway => 0,
        }
    }
}

impl FromStr for Backend {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Vxlan, Self::HostGateway]
            .into_iter()
            .find(|backend| backend.as_str() == text)
            .ok_or_else(|| format!("{text:?} is not a backend: vxlan or host-gw"))
    }
}

/// Which address and link this node uses towards others.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Uplink {
    /// The link that has this address, the node's own.
    Address(Ipv4Addr),
    /// The link of this name, with its first IPv4 address.
    Interface(String),
}

/// What the loop must know.
#[derive(Clone)]
pub struct Config {
    /// Lists and watches all Nodes.
    pub informers: Informers,
    /// Writes the annotations of this node.
    pub client: Client,
    pub recorder: Recorder,
    pub node_name: String,
    pub backend: Backend,
    pub uplink: Uplink,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Netlink(#[from] netlink::Error),
    #[error("no interface of this machine has the address {0}; is --node-ip right?")]
    NoInterface(Ipv4Addr),
    #[error("interface {0} has no IPv4 address; is --flannel-iface right?")]
    NoAddress(String),
    #[error("this kernel has no VXLAN: load its module (modprobe vxlan), or give --flannel-backend=host-gw")]
    NoVxlan,
    #[error("another VXLAN device uses network {VNI} and port {PORT}: remove it (ip -d link show type vxlan)")]
    DeviceTaken,
    #[error("writing this node's annotations failed: {0}")]
    Announce(#[from] kube::Error),
    #[error("{} of {tried} changes failed, the first: {first}", failed)]
    Incomplete { failed: usize, tried: usize, first: netlink::Error },
    #[error("the kernel's events ended")]
    Events,
}

/// Keeps the ways to all nodes' pods until `shutdown`.
pub async fn run(config: Config, shutdown: Shutdown) -> Result<(), Error> {
    sync::run(config, shutdown).await
}

/// The link towards other nodes, with its address.
pub async fn find_uplink(netlink: &Netlink, uplink: &Uplink) -> Result<(Link, Ipv4Addr), Error> {
    match uplink {
        Uplink::Address(address) => {
            let link = netlink.link_of(IpAddr::V4(*address)).await?;
            Ok((link.ok_or(Error::NoInterface(*address))?, *address))
        }
        Uplink::Interface(name) => {
            let link = netlink.require(name).await?;
            let addresses = netlink.addresses(link.index).await?;
            let first = addresses.iter().find_map(|a| if let IpAddr::V4(address) = a { Some(*address) } else { None });
            Ok((link, first.ok_or_else(|| Error::NoAddress(name.clone()))?))
        }
    }
}

/// The largest packet that pods may send, so that it still fits the way to another node. `None` on a machine whose only
/// address is loopback, where the kernel's usual size will do. Pods run also where nothing is known of the way: then the
/// usual size of links is assumed.
pub async fn pod_mtu(uplink: &Uplink, backend: Backend) -> Option<u32> {
    let found = async { find_uplink(&Netlink::open()?, uplink).await };
    match found.await {
        Ok((_, address)) if address.is_loopback() => None,
        Ok((link, _)) => Some(link.mtu.saturating_sub(backend.overhead())),
        Err(error) => {
            tracing::warn!(%error, "pods of other nodes are out of reach");
            Some(ETHERNET_MTU - backend.overhead())
        }
    }
}
