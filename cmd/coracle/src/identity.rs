//! Who this machine and its parts are: names, addresses, and the users as whom the loops act.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::Path;

use anyhow::{Context as _, bail};
use apimachinery::UserInfo;
use client::Client;
use http::Request;
use tower::ServiceExt as _;

/// An address that is never sent to: asking for the way there tells which of our addresses leads out.
const SOMEWHERE: &str = "192.0.2.1:9";

/// The host's name as a node name: lower case, as DNS wants it.
pub fn host_name() -> anyhow::Result<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").context("reading the host name")?;
    let name = name.trim().to_lowercase();
    if name.is_empty() || name == "(none)" {
        bail!("this machine has no host name; give --node-name");
    }
    Ok(name)
}

/// The address from which the default route leaves; loopback on a machine without one.
pub fn own_address() -> IpAddr {
    let probe = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect(SOMEWHERE)?;
        socket.local_addr()
    });
    match probe {
        Ok(address) if !address.ip().is_unspecified() => address.ip(),
        _ => IpAddr::V4(Ipv4Addr::LOCALHOST),
    }
}

/// Tells this process apart from others that ask for the same Lease.
pub fn lease_identity() -> String {
    let host = host_name().unwrap_or_else(|_| "unknown".to_owned());
    format!("{host}_{}", uuid::Uuid::new_v4())
}

/// The identity of the server on one data folder: kept in `file`, so that a server that was killed takes its own Leases
/// up again at once. The store's lock keeps a second process off the folder.
pub fn kept(file: &Path) -> anyhow::Result<String> {
    if let Ok(text) = std::fs::read_to_string(file)
        && !text.trim().is_empty()
    {
        return Ok(text.trim().to_owned());
    }
    let identity = lease_identity();
    pki::write_private(file, identity.as_bytes()).with_context(|| file.display().to_string())?;
    Ok(identity)
}

/// A client that calls the server in this process as `user`. `agent` is what it calls itself: the name under which it owns
/// what it writes.
pub fn in_process(server: &apiserver::Server, agent: &'static str, user: UserInfo) -> Client {
    let user = std::sync::Arc::new(user);
    let service = server.service().map_request(move |mut request: Request<kube::client::Body>| {
        request.extensions_mut().insert(user.clone());
        request.headers_mut().insert(http::header::USER_AGENT, http::HeaderValue::from_static(agent));
        request
    });
    client::in_process(service, "default")
}
