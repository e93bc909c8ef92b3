//! Connections to kubelets and to what runs in the cluster.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use apimachinery::meta::ObjectExt as _;
use apimachinery::{ApiError, ApiResult};
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
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

/// How long a node's answer to CONNECT may be.
const CONNECT_ANSWER_BYTES_MAX: usize = 4096;

/// Connects to a port of a pod by way of the kubelet at the other end of `kubelet`, with HTTP's CONNECT.
pub async fn through(mut kubelet: BoxStream, target: SocketAddr) -> ApiResult<BoxStream> {
    let failed = |why: String| {
        ApiError::service_unavailable(format!(
            "error trying to reach service: dial tcp {target} through its node: {why}"
        ))
    };
    let asked = tokio::time::timeout(CONNECT_TIMEOUT, async {
        let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
        kubelet.write_all(request.as_bytes()).await?;
        let head = read_head(&mut kubelet).await?;
        // "HTTP/1.1 200 OK"
        if head.split(' ').nth(1) == Some("200") { Ok(None) } else { read_refusal(&mut kubelet, &head).await.map(Some) }
    });
    match asked.await {
        Ok(Ok(None)) => Ok(kubelet),
        Ok(Ok(Some(refusal))) => Err(failed(refusal)),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => Err(failed("no answer in time".to_owned())),
    }
}

/// What the node says, or else its answer's first line.
async fn read_refusal(stream: &mut BoxStream, head: &str) -> std::io::Result<String> {
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    let length = fields.filter(|(name, _)| name.eq_ignore_ascii_case("content-length")).find_map(|(_, length)| {
        length.trim().parse().ok().filter(|length| (1..=CONNECT_ANSWER_BYTES_MAX).contains(length))
    });
    let Some(length) = length else { return Ok(head.lines().next().unwrap_or_default().to_owned()) };
    let mut text = vec![0; length];
    stream.read_exact(&mut text).await?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Reads up to the empty line and not a byte further: what follows is the target's.
async fn read_head(stream: &mut BoxStream) -> std::io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == CONNECT_ANSWER_BYTES_MAX {
            return Err(std::io::ErrorKind::InvalidData.into());
        }
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

async fn connect(host: &str, port: u16) -> std::io::Result<TcpStream> {
    let stream = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect((host, port))).await;
    let stream = stream.map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Refuses addresses of one machine alone, which the cluster's objects may name: through them a user could reach what
/// listens only there.
pub fn check(address: IpAddr) -> ApiResult<()> {
    if is_proxyable(address) { Ok(()) } else { Err(ApiError::bad_request(format!("address not allowed: {address}"))) }
}

/// Connects to an address that was checked.
pub async fn plain(address: IpAddr, port: u16) -> ApiResult<BoxStream> {
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

    #[tokio::test]
    async fn a_node_passes_the_connection_on_or_says_why_not() {
        let target: SocketAddr = "10.42.0.5:80".parse().unwrap();
        for (answer, want) in [
            ("HTTP/1.1 200 OK\r\ndate: x\r\n\r\nhello", Ok("hello")),
            ("HTTP/1.1 404 Not Found\r\n\r\n", Err("404 Not Found")),
            ("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 3\r\n\r\nwhy", Err("why")),
            ("HTTP/1.1 200 OK\r\n", Err("unexpected end of file")),
        ] {
            let (ours, mut node) = tokio::io::duplex(1024);
            node.write_all(answer.as_bytes()).await.unwrap();
            let mut asked = vec![0; "CONNECT 10.42.0.5:80 HTTP/1.1\r\n".len()];
            let node = tokio::spawn(async move {
                node.read_exact(&mut asked).await.unwrap();
                node.shutdown().await.unwrap();
                asked
            });
            let got = match through(Box::new(ours), target).await {
                Ok(mut stream) => {
                    let mut text = String::new();
                    stream.read_to_string(&mut text).await.unwrap();
                    Ok(text)
                }
                Err(error) => Err(error.to_string()),
            };
            match want {
                Ok(text) => assert_eq!(got.as_deref(), Ok(text)),
                Err(part) => assert!(got.as_ref().is_err_and(|e| e.contains(part)), "{got:?} {part}"),
            }
            assert_eq!(node.await.unwrap(), b"CONNECT 10.42.0.5:80 HTTP/1.1\r\n");
        }
    }

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
