//! Permanent entries of the neighbour and forwarding tables: who has an address, and behind which machine.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use futures::TryStreamExt as _;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::RouteType;

use crate::error::allow;
use crate::{Error, Mac, Netlink};

impl Netlink {
    /// IP address → hardware address, of a link's permanent neighbours.
    pub async fn neighbours(&self, index: u32) -> Result<BTreeMap<Ipv4Addr, Mac>, Error> {
        let entries = self.entries(AddressFamily::Inet, index).await?;
        Ok(entries.iter().filter_map(|entry| Some((address_of(entry)?, mac_of(entry)?))).collect())
    }

    /// Hardware address → the machine behind which it is, of a VXLAN device's permanent entries.
    pub async fn forwarding(&self, index: u32) -> Result<BTreeMap<Mac, Ipv4Addr>, Error> {
        let entries = self.entries(AddressFamily::Bridge, index).await?;
        Ok(entries.iter().filter_map(|entry| Some((mac_of(entry)?, address_of(entry)?))).collect())
    }

    async fn entries(&self, family: AddressFamily, index: u32) -> Result<Vec<NeighbourMessage>, Error> {
        let listed = self.handle.neighbours().get().set_address_family(family).execute().try_collect::<Vec<_>>().await;
        let listed = listed.map_err(Error::refused("listing neighbours"))?;
        let permanent = |entry: &NeighbourMessage| entry.header.state == NeighbourState::Permanent;
        Ok(listed.into_iter().filter(|entry| entry.header.ifindex == index && permanent(entry)).collect())
    }

    /// Says for good who has an address on a link.
    pub async fn set_neighbour(&self, index: u32, address: Ipv4Addr, mac: Mac) -> Result<(), Error> {
        let request = self.handle.neighbours().add(index, address.into()).link_layer_address(&mac.0).replace();
        request.execute().await.map_err(Error::refused(format!("saying that {address} is at {mac}")))
    }

    pub async fn delete_neighbour(&self, index: u32, address: Ipv4Addr) -> Result<(), Error> {
        let mut entry = entry(AddressFamily::Inet, index);
        entry.attributes.push(NeighbourAttribute::Destination(NeighbourAddress::Inet(address)));
        self.delete_entry(entry, format!("forgetting neighbour {address}")).await
    }

    /// Says for good behind which machine a VXLAN device finds a hardware address.
    pub async fn set_forwarding(&self, index: u32, mac: Mac, machine: Ipv4Addr) -> Result<(), Error> {
        let request = self.handle.neighbours().add_bridge(index, &mac.0).destination(machine.into());
        let request = request.flags(NeighbourFlags::Own).replace();
        request.execute().await.map_err(Error::refused(format!("saying that {mac} is behind {machine}")))
    }

    pub async fn delete_forwarding(&self, index: u32, mac: Mac) -> Result<(), Error> {
        let mut entry = entry(AddressFamily::Bridge, index);
        entry.header.flags = NeighbourFlags::Own;
        entry.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
        self.delete_entry(entry, format!("forgetting where {mac} is")).await
    }

    async fn delete_entry(&self, entry: NeighbourMessage, what: String) -> Result<(), Error> {
        let deleted = self.handle.neighbours().del(entry).execute().await;
        allow(deleted, &[Error::NO_ENTRY]).map_err(Error::refused(what))
    }
}

fn entry(family: AddressFamily, index: u32) -> NeighbourMessage {
    let mut entry = NeighbourMessage::default();
    entry.header.family = family;
    entry.header.ifindex = index;
    entry.header.state = NeighbourState::Permanent;
    entry.header.kind = RouteType::Unspec;
    entry
}

fn address_of(entry: &NeighbourMessage) -> Option<Ipv4Addr> {
    entry.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => Some(*address),
        // Entries of the forwarding table are of no family that the decoder knows.
        NeighbourAttribute::Destination(NeighbourAddress::Other(bytes)) => {
            <[u8; 4]>::try_from(bytes.as_slice()).ok().map(Ipv4Addr::from)
        }
        _ => None,
    })
}

fn mac_of(entry: &NeighbourMessage) -> Option<Mac> {
    let macs = entry.attributes.iter();
    macs.filter_map(|a| if let NeighbourAttribute::LinkLayerAddress(mac) = a { Some(mac) } else { None })
        .find_map(|mac| Mac::from_bytes(mac))
}
