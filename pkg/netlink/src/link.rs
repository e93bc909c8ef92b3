//! Links and their addresses.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::RawFd;

use futures::TryStreamExt as _;
use ipnet::Ipv4Net;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::link::{
    InfoData, InfoKind, InfoVeth, InfoVxlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use rtnetlink::{LinkBridge, LinkBridgePort, LinkMessageBuilder, LinkUnspec, LinkVeth, LinkVxlan};

use crate::error::{allow, code_of};
use crate::{Error, Mac, Netlink};

/// A link as the kernel shows it.
#[derive(Clone, Debug, Default)]
pub struct Link {
    pub index: u32,
    pub name: String,
    /// None of links such as tunnels, which have no hardware address of six bytes.
    pub mac: Option<Mac>,
    pub mtu: u32,
    pub up: bool,
}

/// A VXLAN device that knows only what it is told: it neither learns nor floods.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Vxlan {
    pub name: String,
    /// The network's number, 24 bits.
    pub vni: u32,
    /// UDP port of all ends.
    pub port: u16,
    /// The address that packets leave from.
    pub local: Ipv4Addr,
    pub mac: Mac,
    pub mtu: u32,
}

impl Netlink {
    pub async fn find(&self, name: &str) -> Result<Option<Link>, Error> {
        Ok(self.find_message(name).await?.as_ref().map(describe))
    }

    async fn find_message(&self, name: &str) -> Result<Option<LinkMessage>, Error> {
        let mut links = self.handle.link().get().match_name(name.to_owned()).execute();
        match links.try_next().await {
            Err(error) if code_of(&error) == Error::NO_DEVICE => Ok(None),
            found => found.map_err(Error::refused(format!("looking for interface {name}"))),
        }
    }

    /// The names of all interfaces.
    pub async fn names(&self) -> Result<HashSet<String>, Error> {
        let links = self.handle.link().get().execute().try_collect::<Vec<_>>().await;
        let links = links.map_err(Error::refused("listing interfaces"))?;
        Ok(links.iter().map(|link| describe(link).name).collect())
    }

    pub async fn require(&self, name: &str) -> Result<Link, Error> {
        self.find(name).await?.ok_or_else(|| Error::Missing(name.to_owned()))
    }

    /// The link with this index.
    pub async fn link(&self, index: u32) -> Result<Option<Link>, Error> {
        let mut links = self.handle.link().get().match_index(index).execute();
        match links.try_next().await {
            Ok(found) => Ok(found.as_ref().map(describe)),
            Err(error) if code_of(&error) == Error::NO_DEVICE => Ok(None),
            Err(error) => Err(Error::refused(format!("looking for interface number {index}"))(error)),
        }
    }

    /// The bridge, made if missing, with the gateway's address. Its hardware address is fixed: by itself a bridge would
    /// take that of its lowest port, and change it when that pod ends.
    pub async fn ensure_bridge(&self, name: &str, address: Ipv4Net, mtu: Option<u32>) -> Result<Link, Error> {
        let bridge = match self.find(name).await? {
            Some(bridge) => bridge,
            None => {
                let mut message = LinkBridge::new(name).address(Mac::of(address.addr()).0.to_vec());
                if let Some(mtu) = mtu {
                    message = message.mtu(mtu);
                }
                let added = self.handle.link().add(message.build()).execute().await;
                // Another plugin process may have been faster.
                allow(added, &[Error::EXISTS]).map_err(Error::refused(format!("creating bridge {name}")))?;
                self.require(name).await?
            }
        };
        self.add_address(bridge.index, address).await?;
        self.set_up(bridge.index).await?;
        Ok(bridge)
    }

    /// A veth pair: `host` here, `peer` born inside the namespace `netns`, so that its name never clashes here.
    pub async fn add_veth(
        &self,
        host: &str,
        peer: &str,
        mac: Mac,
        netns: RawFd,
        mtu: Option<u32>,
    ) -> Result<Link, Error> {
        let mut inner =
            LinkMessageBuilder::<LinkUnspec>::new().name(peer.to_owned()).address(mac.0.to_vec()).setns_by_fd(netns);
        let mut outer = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth).name(host.to_owned());
        if let Some(mtu) = mtu {
            inner = inner.mtu(mtu);
            outer = outer.mtu(mtu);
        }
        let outer = outer.set_info_data(InfoData::Veth(InfoVeth::Peer(inner.build())));
        let added = self.handle.link().add(outer.build()).execute().await;
        added.map_err(Error::refused(format!("creating interfaces {host} and {peer}")))?;
        self.require(host).await
    }

    /// The VXLAN device as described, up; one of this name that differs in what cannot be changed is made anew.
    pub async fn ensure_vxlan(&self, wanted: &Vxlan) -> Result<Link, Error> {
        let name = &wanted.name;
        let link = match self.find_message(name).await? {
            Some(found) if is_like(&found, wanted) => describe(&found),
            found => {
                if found.is_some() {
                    self.delete(name).await?;
                }
                let message = LinkVxlan::new(name, wanted.vni)
                    .port(wanted.port)
                    .local(wanted.local)
                    .learning(false)
                    .address(wanted.mac.0.to_vec())
                    .mtu(wanted.mtu);
                let added = self.handle.link().add(message.build()).execute().await;
                added.map_err(Error::refused(format!("creating VXLAN device {name}")))?;
                self.require(name).await?
            }
        };
        let mut change = LinkUnspec::new_with_index(link.index).up();
        if link.mac != Some(wanted.mac) {
            change = change.address(wanted.mac.0.to_vec());
        }
        if link.mtu != wanted.mtu {
            change = change.mtu(wanted.mtu);
        }
        if !link.up || link.mac != Some(wanted.mac) || link.mtu != wanted.mtu {
            let changed = self.handle.link().set(change.build()).execute().await;
            changed.map_err(Error::refused(format!("setting up VXLAN device {name}")))?;
        }
        Ok(Link { mac: Some(wanted.mac), mtu: wanted.mtu, up: true, ..link })
    }

    /// Makes `port` a port of `bridge` that may also reflect frames to itself, and brings it up.
    pub async fn attach(&self, port: u32, bridge: u32) -> Result<(), Error> {
        let failed = || Error::refused("attaching to the bridge");
        let set = LinkUnspec::new_with_index(port).controller(bridge).up().build();
        self.handle.link().set(set).execute().await.map_err(failed())?;
        let hairpin = LinkBridgePort::new(port).hairpin(true).build();
        self.handle.link().set_port(hairpin).execute().await.map_err(failed())
    }

    pub async fn set_up(&self, index: u32) -> Result<(), Error> {
        let set = LinkUnspec::new_with_index(index).up().build();
        self.handle.link().set(set).execute().await.map_err(Error::refused("bringing an interface up"))
    }

    pub async fn set_mtu(&self, index: u32, mtu: u32) -> Result<(), Error> {
        let set = LinkUnspec::new_with_index(index).mtu(mtu).build();
        self.handle.link().set(set).execute().await.map_err(Error::refused(format!("setting an MTU of {mtu}")))
    }

    pub async fn add_address(&self, index: u32, address: Ipv4Net) -> Result<(), Error> {
        let added = self.handle.address().add(index, address.addr().into(), address.prefix_len()).execute().await;
        allow(added, &[Error::EXISTS]).map_err(Error::refused(format!("adding address {address}")))
    }

    /// Adds a single address; one of IPv4 with a label, by which its maker finds it again (`ip address flush label`).
    pub async fn add_labelled(&self, index: u32, address: IpAddr, label: &str) -> Result<(), Error> {
        let length = if address.is_ipv4() { 32 } else { 128 };
        let mut request = self.handle.address().add(index, address, length);
        if address.is_ipv4() {
            request.message_mut().attributes.push(AddressAttribute::Label(label.to_owned()));
        }
        allow(request.execute().await, &[Error::EXISTS]).map_err(Error::refused(format!("adding address {address}")))
    }

    /// Leaves the link `address` as its only one of IPv4. Routes to what goes are gone with it.
    pub async fn only_address(&self, index: u32, address: Ipv4Net) -> Result<(), Error> {
        self.add_address(index, address).await?;
        for message in self.address_messages().await? {
            if message.header.index != index || net_of(&message).is_none_or(|net| net == address) {
                continue;
            }
            let deleted = self.handle.address().del(message).execute().await;
            allow(deleted, &[Error::NO_ADDRESS]).map_err(Error::refused("deleting an address"))?;
        }
        Ok(())
    }

    /// The addresses of a link.
    pub async fn addresses(&self, index: u32) -> Result<Vec<IpAddr>, Error> {
        let all = self.address_messages().await?;
        Ok(all.iter().filter(|message| message.header.index == index).filter_map(address_of).collect())
    }

    /// The link that has an address.
    pub async fn link_of(&self, address: IpAddr) -> Result<Option<Link>, Error> {
        let all = self.address_messages().await?;
        match all.iter().find(|message| address_of(message) == Some(address)) {
            Some(message) => self.link(message.header.index).await,
            None => Ok(None),
        }
    }

    async fn address_messages(&self) -> Result<Vec<AddressMessage>, Error> {
        let listed = self.handle.address().get().execute().try_collect::<Vec<_>>().await;
        listed.map_err(Error::refused("listing addresses"))
    }

    /// Deletes an interface; one that is gone is no error.
    pub async fn delete(&self, name: &str) -> Result<(), Error> {
        let Some(link) = self.find(name).await? else { return Ok(()) };
        let deleted = self.handle.link().del(link.index).execute().await;
        allow(deleted, &[Error::NO_DEVICE]).map_err(Error::refused(format!("deleting interface {name}")))
    }
}

/// The link's own address. Of point-to-point links `Address` is the other end's, so `Local` goes first.
fn address_of(message: &AddressMessage) -> Option<IpAddr> {
    let local =
        message.attributes.iter().find_map(|a| if let AddressAttribute::Local(ip) = a { Some(*ip) } else { None });
    let plain =
        || message.attributes.iter().find_map(|a| if let AddressAttribute::Address(ip) = a { Some(*ip) } else { None });
    local.or_else(plain)
}

fn net_of(message: &AddressMessage) -> Option<Ipv4Net> {
    match address_of(message)? {
        IpAddr::V4(address) => Ipv4Net::new(address, message.header.prefix_len).ok(),
        IpAddr::V6(_) => None,
    }
}

pub(crate) fn describe(message: &LinkMessage) -> Link {
    let up = message.header.flags.contains(LinkFlags::Up);
    let mut link = Link { index: message.header.index, up, ..Link::default() };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Address(mac) => link.mac = Mac::from_bytes(mac),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            _ => {}
        }
    }
    link
}

/// A VXLAN device that is alike in all that is fixed when it is made.
fn is_like(message: &LinkMessage, wanted: &Vxlan) -> bool {
    let infos =
        message.attributes.iter().filter_map(|a| if let LinkAttribute::LinkInfo(i) = a { Some(i) } else { None });
    let data =
        infos.flatten().find_map(|i| if let LinkInfo::Data(InfoData::Vxlan(data)) = i { Some(data) } else { None });
    let Some(data) = data else { return false };
    let fixed = [
        InfoVxlan::Id(wanted.vni),
        InfoVxlan::Port(wanted.port),
        InfoVxlan::Local(wanted.local),
        InfoVxlan::Learning(false),
    ];
    fixed.iter().all(|one| data.contains(one))
}
