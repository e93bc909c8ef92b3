//! Links, addresses and routes by netlink, in the namespace of the calling thread.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::os::fd::RawFd;

use futures::TryStreamExt as _;
use ipnet::Ipv4Net;
use rtnetlink::packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkMessage};
use rtnetlink::packet_route::route::RouteScope;
use rtnetlink::{Handle, LinkBridge, LinkBridgePort, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder};

use crate::Error;

/// Errors of the kernel that mean "it is so already" or "it is gone already".
const EEXIST: i32 = 17;
const ENODEV: i32 = 19;

/// Runs `work` with a netlink connection of this thread's namespace.
pub fn with_netlink<T>(work: impl AsyncFnOnce(&Netlink) -> Result<T, Error>) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    let runtime = runtime.map_err(Error::io("starting"))?;
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(Error::io("opening a netlink socket"))?;
        tokio::spawn(connection);
        work(&Netlink(handle)).await
    })
}

/// A netlink connection.
pub struct Netlink(Handle);

/// A link as the kernel shows it.
pub struct Link {
    pub index: u32,
    pub mac: String,
    pub mtu: u32,
}

impl Netlink {
    pub async fn find(&self, name: &str) -> Result<Option<Link>, Error> {
        let mut links = self.0.link().get().match_name(name.to_owned()).execute();
        match links.try_next().await {
            Ok(found) => Ok(found.as_ref().map(describe)),
            Err(error) if errno(&error) == ENODEV => Ok(None),
            Err(error) => Err(Error::netlink(format!("looking for interface {name}"))(error)),
        }
    }

    /// The names of all interfaces.
    pub async fn names(&self) -> Result<HashSet<String>, Error> {
        let links = self.0.link().get().execute().try_collect::<Vec<_>>().await;
        let attributes = links.map_err(Error::netlink("listing interfaces"))?.into_iter().flat_map(|l| l.attributes);
        Ok(attributes.filter_map(|a| if let LinkAttribute::IfName(name) = a { Some(name) } else { None }).collect())
    }

    async fn require(&self, name: &str) -> Result<Link, Error> {
        self.find(name).await?.ok_or_else(|| Error::Check(format!("interface {name} is missing")))
    }

    /// The bridge, made if missing, with the gateway's address. Its hardware address is fixed: by itself a bridge would
    /// take that of its lowest port, and change it when that pod ends.
    pub async fn ensure_bridge(&self, name: &str, address: Ipv4Net, mtu: Option<u32>) -> Result<Link, Error> {
        let bridge = match self.find(name).await? {
            Some(bridge) => bridge,
            None => {
                let mut message = LinkBridge::new(name).address(mac_of(address.addr()).to_vec());
                if let Some(mtu) = mtu {
                    message = message.mtu(mtu);
                }
                let added = self.0.link().add(message.build()).execute().await;
                // Another plugin process may have been faster.
                allow(added, EEXIST).map_err(Error::netlink(format!("creating bridge {name}")))?;
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
        mac: [u8; 6],
        netns: RawFd,
        mtu: Option<u32>,
    ) -> Result<Link, Error> {
        let mut inner =
            LinkMessageBuilder::<LinkUnspec>::new().name(peer.to_owned()).address(mac.to_vec()).setns_by_fd(netns);
        let mut outer = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth).name(host.to_owned());
        if let Some(mtu) = mtu {
            inner = inner.mtu(mtu);
            outer = outer.mtu(mtu);
        }
        let outer = outer.set_info_data(InfoData::Veth(InfoVeth::Peer(inner.build())));
        let added = self.0.link().add(outer.build()).execute().await;
        added.map_err(Error::netlink(format!("creating interfaces {host} and {peer}")))?;
        self.require(host).await
    }

    /// Makes `port` a port of `bridge` that may also reflect frames to itself, and brings it up.
    pub async fn attach(&self, port: u32, bridge: u32) -> Result<(), Error> {
        let failed = || Error::netlink("attaching to the bridge");
        let set = LinkUnspec::new_with_index(port).controller(bridge).up().build();
        self.0.link().set(set).execute().await.map_err(failed())?;
        let hairpin = LinkBridgePort::new(port).hairpin(true).build();
        self.0.link().set_port(hairpin).execute().await.map_err(failed())
    }

    pub async fn set_up(&self, index: u32) -> Result<(), Error> {
        let set = LinkUnspec::new_with_index(index).up().build();
        self.0.link().set(set).execute().await.map_err(Error::netlink("bringing an interface up"))
    }

    pub async fn add_address(&self, index: u32, address: Ipv4Net) -> Result<(), Error> {
        let added = self.0.address().add(index, address.addr().into(), address.prefix_len()).execute().await;
        allow(added, EEXIST).map_err(Error::netlink(format!("adding address {address}")))
    }

    /// Routes everything through `gateway`, which is on the link though in no subnet of it.
    pub async fn route_through(&self, index: u32, gateway: Ipv4Addr) -> Result<(), Error> {
        let direct = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(gateway, 32)
            .output_interface(index)
            .scope(RouteScope::Link)
            .build();
        let default = RouteMessageBuilder::<Ipv4Addr>::new().gateway(gateway).output_interface(index).build();
        for route in [direct, default] {
            let added = self.0.route().add(route).execute().await;
            allow(added, EEXIST).map_err(Error::netlink(format!("adding a route through {gateway}")))?;
        }
        Ok(())
    }

    /// Routes a range straight to a link.
    pub async fn route_to(&self, index: u32, range: Ipv4Net) -> Result<(), Error> {
        let route = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(range.network(), range.prefix_len())
            .output_interface(index)
            .scope(RouteScope::Link)
            .build();
        let added = self.0.route().add(route).execute().await;
        allow(added, EEXIST).map_err(Error::netlink(format!("adding a route to {range}")))
    }

    pub async fn addresses(&self, index: u32) -> Result<Vec<std::net::IpAddr>, Error> {
        use rtnetlink::packet_route::address::AddressAttribute;
        let listed = self.0.address().get().set_link_index_filter(index).execute().try_collect::<Vec<_>>().await;
        let listed = listed.map_err(Error::netlink("listing addresses"))?;
        let addresses = listed.into_iter().flat_map(|message| message.attributes);
        Ok(addresses.filter_map(|a| if let AddressAttribute::Address(ip) = a { Some(ip) } else { None }).collect())
    }

    /// Deletes an interface; one that is gone is no error.
    pub async fn delete(&self, name: &str) -> Result<(), Error> {
        let Some(link) = self.find(name).await? else { return Ok(()) };
        let deleted = self.0.link().del(link.index).execute().await;
        allow(deleted, ENODEV).map_err(Error::netlink(format!("deleting interface {name}")))
    }
}

fn describe(message: &LinkMessage) -> Link {
    let mut link = Link { index: message.header.index, mac: String::new(), mtu: 0 };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::Address(mac) => link.mac = show_mac(mac),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            _ => {}
        }
    }
    link
}

pub fn show_mac(mac: &[u8]) -> String {
    mac.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

/// A locally administered hardware address made of the IP address: whoever gets an address next has the same hardware
/// address as the one before, so no neighbour table is ever wrong about it.
pub fn mac_of(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x0a, 0x58, a, b, c, d]
}

fn errno(error: &rtnetlink::Error) -> i32 {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.raw_code().abs(),
        _ => 0,
    }
}

fn allow(outcome: Result<(), rtnetlink::Error>, code: i32) -> Result<(), rtnetlink::Error> {
    match outcome {
        Err(error) if errno(&error) == code => Ok(()),
        other => other,
    }
}
