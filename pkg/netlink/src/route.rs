//! IPv4 routes of the main table.

use std::net::Ipv4Addr;

use futures::TryStreamExt as _;
use ipnet::Ipv4Net;
use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope,
};

use crate::error::{allow, code_of};
use crate::{Error, Netlink};

/// A route through a gateway.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Route {
    pub range: Ipv4Net,
    pub gateway: Ipv4Addr,
    /// The index of the link that it leaves by.
    pub link: u32,
    /// The gateway is on the link though no address of the link says so.
    pub onlink: bool,
}

impl Netlink {
    /// Routes everything through `gateway`, which is on the link though in no subnet of it.
    pub async fn route_through(&self, index: u32, gateway: Ipv4Addr) -> Result<(), Error> {
        let direct = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(gateway, 32)
            .output_interface(index)
            .scope(RouteScope::Link)
            .build();
        let default = RouteMessageBuilder::<Ipv4Addr>::new().gateway(gateway).output_interface(index).build();
        for route in [direct, default] {
            let added = self.handle.route().add(route).execute().await;
            allow(added, &[Error::EXISTS]).map_err(Error::refused(format!("adding a route through {gateway}")))?;
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
        let added = self.handle.route().add(route).execute().await;
        allow(added, &[Error::EXISTS]).map_err(Error::refused(format!("adding a route to {range}")))
    }

    /// The routes through gateways that carry this protocol number, by which their maker knows them again.
    pub async fn routes_of(&self, protocol: u8) -> Result<Vec<Route>, Error> {
        let all = RouteMessageBuilder::<Ipv4Addr>::new().build();
        let routes = self.handle.route().get(all).execute().try_collect::<Vec<_>>().await;
        let routes = routes.map_err(Error::refused("listing routes"))?;
        Ok(routes.iter().filter(|route| protocol_of(route) == protocol).filter_map(describe).collect())
    }

    /// Adds a route. One to the same range that somebody else made is an error ([`Error::EXISTS`]).
    pub async fn add_route(&self, route: &Route, protocol: u8) -> Result<(), Error> {
        let added = self.handle.route().add(message(route, protocol)).execute().await;
        added.map_err(Error::refused(format!("adding the route to {} via {}", route.range, route.gateway)))
    }

    pub async fn delete_route(&self, route: &Route, protocol: u8) -> Result<(), Error> {
        let deleted = self.handle.route().del(message(route, protocol)).execute().await;
        allow(deleted, &[Error::NO_PROCESS, Error::NO_ENTRY])
            .map_err(Error::refused(format!("deleting the route to {} via {}", route.range, route.gateway)))
    }

    /// The index of the link on which `address` is a neighbour; `None` if it is reached through a gateway or not at all.
    pub async fn neighbour_link(&self, address: Ipv4Addr) -> Result<Option<u32>, Error> {
        let question = RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(address, 32).build();
        let mut answers = self.handle.route().get(question).execute();
        let answer = match answers.try_next().await {
            Err(error) if code_of(&error) == Error::UNREACHABLE => return Ok(None),
            answer => answer.map_err(Error::refused(format!("looking for the way to {address}")))?,
        };
        let Some(answer) = answer else { return Ok(None) };
        let through =
            answer.attributes.iter().any(|a| matches!(a, RouteAttribute::Gateway(_) | RouteAttribute::Via(_)));
        Ok(if through { None } else { link_of(&answer) })
    }
}

fn message(route: &Route, protocol: u8) -> RouteMessage {
    let mut message = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(route.range.network(), route.range.prefix_len())
        .gateway(route.gateway)
        .output_interface(route.link)
        .protocol(RouteProtocol::from(protocol))
        .build();
    if route.onlink {
        message.header.flags |= RouteFlags::Onlink;
    }
    message
}

pub(crate) fn protocol_of(message: &RouteMessage) -> u8 {
    message.header.protocol.into()
}

fn link_of(message: &RouteMessage) -> Option<u32> {
    message.attributes.iter().find_map(|a| if let RouteAttribute::Oif(index) = a { Some(*index) } else { None })
}

/// A route of the main table as ours are: through one gateway.
fn describe(message: &RouteMessage) -> Option<Route> {
    if message.header.table != RouteHeader::RT_TABLE_MAIN {
        return None;
    }
    let address = |attribute: &RouteAttribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(address)) => Some((true, *address)),
        RouteAttribute::Gateway(RouteAddress::Inet(address)) => Some((false, *address)),
        _ => None,
    };
    let mut addresses = message.attributes.iter().filter_map(address);
    let destination = addresses.clone().find(|(is_destination, _)| *is_destination)?.1;
    let gateway = addresses.find(|(is_destination, _)| !is_destination)?.1;
    Some(Route {
        range: Ipv4Net::new(destination, message.header.destination_prefix_length).ok()?,
        gateway,
        link: link_of(message)?,
        onlink: message.header.flags.contains(RouteFlags::Onlink),
    })
}
