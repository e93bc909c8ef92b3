//! The server's address on the node.

use std::net::IpAddr;

use netlink::Netlink;

use crate::Error;

const LOOPBACK: &str = "lo";
/// Marks the address as ours: `ip address flush label lo:coracle` takes it away.
const LABEL: &str = "lo:coracle";

/// Puts `address` on the loopback interface unless it is there already.
pub async fn ensure(address: IpAddr) -> Result<(), Error> {
    if address.is_loopback() {
        return Ok(());
    }
    let outcome = async {
        let netlink = Netlink::open()?;
        let loopback = netlink.require(LOOPBACK).await?;
        netlink.add_labelled(loopback.index, address, LABEL).await
    };
    outcome.await.map_err(|source| Error::Address { address, source })
}
