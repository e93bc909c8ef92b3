//! What a Node says of how it is reached.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use netlink::Mac;
use serde::{Deserialize, Serialize};

use crate::{Backend, VNI};

/// Flannel's annotations: the address for other nodes, how they are to use it, and what that needs.
pub const PUBLIC_IP: &str = "flannel.alpha.coreos.com/public-ip";
pub const BACKEND_TYPE: &str = "flannel.alpha.coreos.com/backend-type";
pub const BACKEND_DATA: &str = "flannel.alpha.coreos.com/backend-data";
const KUBE_SUBNET_MANAGER: &str = "flannel.alpha.coreos.com/kube-subnet-manager";

/// The fields of Nodes that matter here.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Node {
    pub metadata: Metadata,
    pub spec: NodeSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    pub name: String,
    pub namespace: String,
    pub resource_version: String,
    pub uid: String,
    pub annotations: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct NodeSpec {
    #[serde(rename = "podCIDR")]
    pub pod_cidr: String,
}

client::cached!(Node, "", "v1", "nodes", at metadata);

impl Node {
    /// The node's range of pod addresses, once it has one of IPv4.
    pub fn range(&self) -> Option<Ipv4Net> {
        self.spec.pod_cidr.parse::<Ipv4Net>().ok().map(|range| range.trunc())
    }

    /// True if both mean the same to other nodes.
    pub fn is_like(&self, other: &Self) -> bool {
        let of_interest =
            |node: &Self| [PUBLIC_IP, BACKEND_TYPE, BACKEND_DATA].map(|key| node.annotation(key).to_owned());
        self.spec.pod_cidr == other.spec.pod_cidr && of_interest(self) == of_interest(other)
    }

    fn annotation(&self, key: &str) -> &str {
        self.metadata.annotations.get(key).map(String::as_str).unwrap_or_default()
    }
}

/// Another node as it announced itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Peer {
    pub range: Ipv4Net,
    pub address: Ipv4Addr,
    /// The hardware address of its VXLAN device; none with host-gw.
    pub mac: Option<Mac>,
}

#[derive(Deserialize, Serialize)]
struct VxlanData {
    #[serde(rename = "VNI")]
    vni: u32,
    #[serde(rename = "VtepMAC")]
    mac: String,
}

/// The annotations by which this node announces itself.
pub fn announcement(backend: Backend, address: Ipv4Addr, mac: Option<Mac>) -> BTreeMap<&'static str, String> {
    let data = mac.map(|mac| VxlanData { vni: VNI, mac: mac.to_string() });
    BTreeMap::from([
        (PUBLIC_IP, address.to_string()),
        (BACKEND_TYPE, backend.as_str().to_owned()),
        (BACKEND_DATA, serde_json::to_string(&data).unwrap_or_default()),
        (KUBE_SUBNET_MANAGER, "true".to_owned()),
    ])
}

/// What is new in an announcement, as compared with what the Node says already.
pub fn news(node: &Node, announcement: BTreeMap<&'static str, String>) -> BTreeMap<&'static str, String> {
    announcement.into_iter().filter(|(key, value)| node.annotation(key) != value).collect()
}

/// The peer that a Node stands for: `Ok(None)` while it has no range or has not announced itself, an error with what is to
/// be done if it cannot be reached.
pub fn peer_of(node: &Node, backend: Backend) -> Result<Option<Peer>, String> {
    let name = &node.metadata.name;
    let (Some(range), public) = (node.range(), node.annotation(PUBLIC_IP)) else { return Ok(None) };
    let other = node.annotation(BACKEND_TYPE);
    if public.is_empty() || other.is_empty() {
        return Ok(None);
    }
    if other != backend.as_str() {
        let ours = backend.as_str();
        return Err(format!(
            "node {name} uses the backend {other:?}, this one {ours:?}; give all nodes the same --flannel-backend"
        ));
    }
    let address =
        public.parse().map_err(|_| format!("node {name} announces {public:?}, which is not an IPv4 address"))?;
    let mac = match backend {
        Backend::HostGateway => None,
        Backend::Vxlan => Some(vxlan_mac(name, node.annotation(BACKEND_DATA))?),
    };
    Ok(Some(Peer { range, address, mac }))
}

fn vxlan_mac(name: &str, data: &str) -> Result<Mac, String> {
    let data: VxlanData = serde_json::from_str(data)
        .map_err(|error| format!("node {name} announces VXLAN data that cannot be read: {error}"))?;
    if data.vni != VNI {
        return Err(format!("node {name} announces VXLAN network {}, this one uses {VNI}", data.vni));
    }
    data.mac.parse().map_err(|error| format!("node {name}: {error}"))
}

/// The peers of the node `own`, and what is wrong with those Nodes that are none. In the order of their names, so that of
/// two that claim the same range always the same has it.
pub fn peers_of(
    nodes: &[impl AsRef<Node>],
    own: &Node,
    address: Ipv4Addr,
    backend: Backend,
) -> (Vec<Peer>, Vec<String>) {
    let mut others: Vec<&Node> = nodes.iter().map(AsRef::as_ref).collect();
    others.retain(|node| node.metadata.name != own.metadata.name);
    others.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    let (mut peers, mut problems): (Vec<Peer>, Vec<String>) = (Vec::new(), Vec::new());
    for node in others {
        let name = &node.metadata.name;
        match peer_of(node, backend) {
            Ok(None) => {}
            Err(problem) => problems.push(problem),
            Ok(Some(peer)) => match conflict(&peer, &peers, own.range(), address) {
                Some(problem) => problems.push(format!("node {name} {problem}")),
                None => peers.push(peer),
            },
        }
    }
    (peers, problems)
}

/// Why a peer cannot be beside this node and the other peers.
fn conflict(peer: &Peer, peers: &[Peer], own: Option<Ipv4Net>, address: Ipv4Addr) -> Option<String> {
    let overlaps = |range: &Ipv4Net| range.contains(&peer.range.network()) || peer.range.contains(&range.network());
    if peer.address == address {
        return Some(format!("announces this node's own address {address}; give each node its own --node-ip"));
    }
    if own.as_ref().is_some_and(overlaps) {
        return Some(format!("has the pod range {}, which overlaps this node's own", peer.range));
    }
    let other = peers.iter().find(|other| overlaps(&other.range) || other.address == peer.address)?;
    if other.address == peer.address {
        return Some(format!(
            "announces the address {address} of another node; give each its own --node-ip",
            address = peer.address
        ));
    }
    Some(format!("has the pod range {}, which overlaps another node's", peer.range))
}
