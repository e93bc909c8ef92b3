//! The kernel's tables as far as they are ours, as values.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use netlink::{Mac, Route};

use crate::peer::Peer;

/// Routes to other nodes' pods and, with VXLAN, where their ends are.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Tables {
    pub routes: BTreeMap<Ipv4Net, Route>,
    /// The gateway's IP address → its hardware address.
    pub neighbours: BTreeMap<Ipv4Addr, Mac>,
    /// A gateway's hardware address → the node behind which it is.
    pub forwarding: BTreeMap<Mac, Ipv4Addr>,
}

/// One change of a table.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    DeleteRoute(Route),
    DeleteNeighbour(Ipv4Addr),
    DeleteForwarding(Mac),
    SetForwarding(Mac, Ipv4Addr),
    SetNeighbour(Ipv4Addr, Mac),
    AddRoute(Route),
}

impl Tables {
    /// All through the VXLAN device with index `device`. The gateway of a range is its first address, which its node gives
    /// to its own device.
    pub fn of_vxlan(peers: &[Peer], device: u32) -> Self {
        let mut tables = Self::default();
        for Peer { range, address, mac } in peers {
            let (Some(mac), gateway) = (*mac, range.network()) else { continue };
            tables.routes.insert(*range, Route { range: *range, gateway, link: device, onlink: true });
            tables.neighbours.insert(gateway, mac);
            tables.forwarding.insert(mac, *address);
        }
        tables
    }

    /// Straight to the nodes' addresses; `links` are the indices of the links on which they are neighbours. Nodes that are
    /// not are told of.
    pub fn of_host_gateway(peers: &[Peer], links: &BTreeMap<Ipv4Addr, u32>) -> (Self, Vec<String>) {
        let (mut tables, mut problems) = (Self::default(), Vec::new());
        for Peer { range, address, .. } in peers {
            let Some(link) = links.get(address) else {
                problems.push(format!(
                    "the node at {address} is not on a link of this node, so pods of {range} cannot be reached with \
                     --flannel-backend=host-gw; use vxlan"
                ));
                continue;
            };
            tables.routes.insert(*range, Route { range: *range, gateway: *address, link: *link, onlink: false });
        }
        (tables, problems)
    }

    /// The steps that make these tables into `wanted`. What leads packets is removed first and added last, so that none is
    /// sent into nowhere.
    pub fn steps_to(&self, wanted: &Self) -> Vec<Step> {
        let mut steps = Vec::new();
        steps.extend(missing(&self.routes, &wanted.routes).map(|(_, route)| Step::DeleteRoute(route.clone())));
        let gone = self.neighbours.keys().filter(|address| !wanted.neighbours.contains_key(*address));
        steps.extend(gone.map(|address| Step::DeleteNeighbour(*address)));
        let gone = self.forwarding.keys().filter(|mac| !wanted.forwarding.contains_key(*mac));
        steps.extend(gone.map(|mac| Step::DeleteForwarding(*mac)));
        steps.extend(missing(&wanted.forwarding, &self.forwarding).map(|(mac, ip)| Step::SetForwarding(*mac, *ip)));
        steps.extend(missing(&wanted.neighbours, &self.neighbours).map(|(ip, mac)| Step::SetNeighbour(*ip, *mac)));
        steps.extend(missing(&wanted.routes, &self.routes).map(|(_, route)| Step::AddRoute(route.clone())));
        steps
    }
}

/// What `of` has and `from` has not, or has otherwise.
fn missing<'a, K: Ord, V: PartialEq>(
    of: &'a BTreeMap<K, V>,
    from: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = (&'a K, &'a V)> {
    of.iter().filter(|(key, value)| from.get(key) != Some(value))
}
