//! Reads and changes the kernel's tables.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use netlink::{Mac, Netlink, Vxlan};

use crate::peer::Peer;
use crate::tables::{Step, Tables};
use crate::{Backend, DEVICE, Error, PORT, PROTOCOL, Uplink, VNI, find_uplink};

/// The network namespace in which a node's ways are kept.
pub struct Kernel {
    netlink: Netlink,
    backend: Backend,
}

/// This node's own end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct End {
    pub address: Ipv4Addr,
    /// Of the VXLAN device.
    pub mac: Option<Mac>,
    device: Option<u32>,
}

impl Kernel {
    /// That of the calling thread.
    pub fn open(backend: Backend) -> Result<Self, Error> {
        Ok(Self { netlink: Netlink::open()?, backend })
    }

    /// Makes this node's own end ready, for pods of `range`. `None` on a machine whose only address is loopback: there are no
    /// others to reach.
    pub async fn ensure_end(&self, uplink: &Uplink, range: Ipv4Net) -> Result<Option<End>, Error> {
        let (link, address) = find_uplink(&self.netlink, uplink).await?;
        if address.is_loopback() {
            return Ok(None);
        }
        if self.backend == Backend::HostGateway {
            self.netlink.delete(DEVICE).await?;
            return Ok(Some(End { address, mac: None, device: None }));
        }
        // Made of the range, which no other node has: it stays the same over restarts and reboots.
        let mac = Mac::of(range.network());
        let mtu = link.mtu.saturating_sub(self.backend.overhead());
        let device = Vxlan { name: DEVICE.to_owned(), vni: VNI, port: PORT, local: address, mac, mtu };
        let device = self.netlink.ensure_vxlan(&device).await.map_err(|error| match error.code() {
            netlink::Error::NOT_SUPPORTED => Error::NoVxlan,
            netlink::Error::EXISTS => Error::DeviceTaken,
            _ => Error::Netlink(error),
        })?;
        self.netlink.only_address(device.index, range.network().into()).await?;
        Ok(Some(End { address, mac: Some(mac), device: Some(device.index) }))
    }

    /// What the tables are to be, and which peers cannot be reached.
    pub async fn wanted(&self, end: &End, peers: &[Peer]) -> Result<(Tables, Vec<String>), Error> {
        if let Some(device) = end.device {
            return Ok((Tables::of_vxlan(peers, device), Vec::new()));
        }
        let mut links = BTreeMap::new();
        for peer in peers {
            if let Some(link) = self.netlink.neighbour_link(peer.address).await? {
                links.insert(peer.address, link);
            }
        }
        Ok(Tables::of_host_gateway(peers, &links))
    }

    /// What the tables are.
    pub async fn present(&self, end: &End) -> Result<Tables, Error> {
        let routes = self.netlink.routes_of(PROTOCOL).await?;
        let mut tables = Tables::default();
        tables.routes.extend(routes.into_iter().map(|route| (route.range, route)));
        if let Some(device) = end.device {
            tables.neighbours = self.netlink.neighbours(device).await?;
            tables.forwarding = self.netlink.forwarding(device).await?;
        }
        Ok(tables)
    }

    /// Takes every step, also after one that fails: a bad peer must not keep others from being reached.
    pub async fn apply(&self, end: &End, steps: &[Step]) -> Result<(), Error> {
        let (mut failed, mut first) = (0, None);
        for step in steps {
            if let Err(error) = self.take(end.device.unwrap_or_default(), step).await {
                failed += 1;
                first.get_or_insert(error);
            }
        }
        match first {
            None => Ok(()),
            Some(first) => Err(Error::Incomplete { failed, tried: steps.len(), first }),
        }
    }

    async fn take(&self, device: u32, step: &Step) -> Result<(), netlink::Error> {
        let netlink = &self.netlink;
        match step {
            Step::DeleteRoute(route) => netlink.delete_route(route, PROTOCOL).await,
            Step::DeleteNeighbour(address) => netlink.delete_neighbour(device, *address).await,
            Step::DeleteForwarding(mac) => netlink.delete_forwarding(device, *mac).await,
            Step::SetForwarding(mac, machine) => netlink.set_forwarding(device, *mac, *machine).await,
            Step::SetNeighbour(address, mac) => netlink.set_neighbour(device, *address, *mac).await,
            Step::AddRoute(route) => netlink.add_route(route, PROTOCOL).await,
        }
    }
}
