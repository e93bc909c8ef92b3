//! Connections to kubelets and to what runs in the cluster.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use apimachinery::meta::ObjectExt as _;
use apimachinery::{ApiError, ApiResult};
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const KUBELET_PORT: u16 = 10250;

/// A byte stream, with or without TLS.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

pub type BoxStream = Box<dyn Stream>;

/// Connects to kubelets with the client certificate that they know.
pub struct KubeletDialer(TlsConnector);

impl KubeletDialer {
    pub fn new(tls: Arc<rustls::ClientConfig>) -> Self {
        // Upgrades need HTTP/1.1, so nothing else is offered.
        let mut tls = (*tls).clone();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self(TlsConnector::from(Arc::new(tls)))
    }

    /// Connects to the kubelet of `node`.
    pub async fn dial(&self, node: &Value) -> ApiResult<BoxStream> {
        let host = address_of(node)?;
        let port = node.i64_at("status/daemonEndpoints/kubeletEndpoint/Port").and_then(|p| u16::try_from(p).ok());
        let port = port.filter(|p| *p != 0).unwrap_or(KUBELET_PORT);
        let target = format!("https://{host}:{port}");
        let tcp = connect(&host, port).await.map_err(|e| unreachable(&target, &e))?;
        let name = match host.parse::<IpAddr>() {
            Ok(ip) => ServerName::IpAddress(ip.into()),
            Err(_) => ServerName::try_from(host).map_err(ApiError::internal)?,
        };
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, self.0.connect(name, tcp)).await;
        match stream {
            Ok(Ok(stream)) => Ok(Box::new(stream)),
            Ok(Err(error)) => Err(unreachable(&target, &error)),
            Err(_) => Err(unreachable(&target, &"TLS handshake timeout")),
        }
    }
}

async fn connect(host: &str, port: u16) -> std::io::Result<TcpStream> {
    let stream = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect((host, port))).await;
    let stream = stream.map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Connects to an address that the cluster's objects gave. Addresses of this machine alone are refused: through them a
/// user could reach what listens only here.
pub async fn plain(address: IpAddr, port: u16) -> ApiResult<BoxStream> {
    if !is_proxyable(address) {
        return Err(ApiError::bad_request(format!("address not allowed: {address}")));
    }
    let target = SocketAddr::new(address, port);
    let stream = connect(&address.to_string(), port).await;
    let stream = stream
        .map_err(|e| ApiError::service_unavailable(format!("error trying to reach service: dial tcp {target}: {e}")))?;
    Ok(Box::new(stream))
}

fn is_proxyable(address: IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !(address.is_loopback() || address.is_unspecified() || address.is_multicast() || link_local)
}

fn unreachable(target: &str, why: &dyn std::fmt::Display) -> ApiError {
    ApiError::new(500, "InternalError", format!("error dialing backend: {target}: {why}"))
}

/// Where the kubelet of a node listens, by upstream's order of preference.
fn address_of(node: &Value) -> ApiResult<String> {
    let addresses = node.array_at("status/addresses");
    let kinds = ["InternalIP", "Hostname", "InternalDNS", "ExternalDNS", "ExternalIP"];
    let found = kinds.iter().find_map(|kind| {
        addresses.iter().find(|a| a.str_at("type") == *kind).map(|a| a.str_at("address")).filter(|a| !a.is_empty())
    });
    let missing = || {
        let known: Vec<String> =
            addresses.iter().map(|a| format!("{{{} {}}}", a.str_at("type"), a.str_at("address"))).collect();
        let known = known.join(" ");
        ApiError::new(500, "", format!("no preferred addresses found; known addresses: [{known}]"))
    };
    found.map(str::to_owned).ok_or_else(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_network_are_dialled() {
        for (text, allowed) in [
            ("10.42.0.5", true),
            ("127.0.0.1", false),
            ("169.254.169.254", false),
            ("0.0.0.0", false),
            ("224.0.0.1", false),
            ("::1", false),
            ("fe80::1", false),
            ("2001:db8::1", true),
        ] {
            assert_eq!(is_proxyable(text.parse().unwrap()), allowed, "{text}");
        }
    }
}
