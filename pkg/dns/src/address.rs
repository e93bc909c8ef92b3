//! The server's address on the node.

use std::net::IpAddr;

use futures::TryStreamExt as _;
use rtnetlink::packet_route::address::AddressAttribute;

use crate::Error;

const EEXIST: i32 = 17;
/// Marks the address as ours: `ip address flush label lo:coracle` takes it away.
const LABEL: &str = "lo:coracle";

/// Puts `address` on the loopback interface unless some interface has it already.
pub async fn ensure(address: IpAddr) -> Result<(), Error> {
    let failed = |reason: String| Error::Address { address, reason };
    if address.is_loopback() {
        return Ok(());
    }
    let (connection, handle, _) = rtnetlink::new_connection().map_err(|e| failed(e.to_string()))?;
    let connection = tokio::spawn(connection);
    let outcome = async {
        let mut links = handle.link().get().match_name("lo").execute();
        let index = links.try_next().await?.map_or(1, |link| link.header.index);
        let length = if address.is_ipv4() { 32 } else { 128 };
        let mut request = handle.address().add(index, address, length);
        if address.is_ipv4() {
            request.message_mut().attributes.push(AddressAttribute::Label(LABEL.into()));
        }
        match request.execute().await {
            Err(rtnetlink::Error::NetlinkError(message)) if message.raw_code().abs() == EEXIST => Ok(()),
            other => other,
        }
    };
    let outcome = outcome.await.map_err(|e: rtnetlink::Error| failed(e.to_string()));
    connection.abort();
    outcome
}
