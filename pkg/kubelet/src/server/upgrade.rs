//! Passing an upgraded connection on: the client's request goes to the runtime's streaming server as it is, its answer
//! comes back as it is, and from then on bytes are copied both ways.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{Answer, full, text};

/// An answer that refuses the upgrade is short.
const REFUSAL_BYTES_MAX: usize = 64 * 1024;
const PROTOCOL: HeaderName = HeaderName::from_static("sec-websocket-protocol");
/// containerd 1.6 does not speak this one (it tells a closed stdin); clients that offer nothing else fall back to SPDY.
const TOO_NEW: &str = "v5.channel.k8s.io";

fn is_upgrade(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONNECTION).and_then(|v| v.to_str().ok()).unwrap_or_default();
    value.to_ascii_lowercase().contains("upgrade") && headers.contains_key(header::UPGRADE)
}

/// The WebSocket protocols that the client offers.
pub fn offered(headers: &HeaderMap) -> Vec<String> {
    let lists = headers.get_all(&PROTOCOL).iter().filter_map(|v| v.to_str().ok());
    lists.flat_map(|list| list.split(',')).map(|p| p.trim().to_owned()).filter(|p| !p.is_empty()).collect()
}

/// Serves the request by the streaming server at `url`.
pub async fn pass_on(url: &str, mut request: Request<Incoming>) -> Answer {
    if !is_upgrade(request.headers()) {
        return text(StatusCode::BAD_REQUEST, "Upgrade request required");
    }
    let mut headers = forwarded(request.headers());
    let protocols = offered(request.headers());
    if !protocols.is_empty() {
        let known: Vec<&str> = protocols.iter().map(String::as_str).filter(|p| *p != TOO_NEW).collect();
        let Some(value) = Some(known.join(", ")).filter(|v| !v.is_empty()).and_then(|v| v.parse().ok()) else {
            let message = format!("unable to upgrade: none of the offered protocols {protocols:?} is supported");
            return text(StatusCode::FORBIDDEN, &message);
        };
        headers.insert(PROTOCOL, value);
    }
    let client = hyper::upgrade::on(&mut request);
    let method = request.method().clone();
    match open(url, method, headers).await {
        Err(error) => text(StatusCode::BAD_GATEWAY, &format!("container runtime's streaming server: {error}")),
        Ok(Opened::Refused(answer)) => answer,
        Ok(Opened::Upgraded(server, answer_headers)) => {
            tokio::spawn(async move {
                if let Ok(client) = client.await {
                    copy(TokioIo::new(client), TokioIo::new(server)).await;
                }
            });
            switching(answer_headers)
        }
    }
}

/// What the client said, without what is for this hop only.
fn forwarded(headers: &HeaderMap) -> HeaderMap {
    let mut all = headers.clone();
    for name in [header::HOST, header::AUTHORIZATION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::COOKIE]
    {
        all.remove(name);
    }
    // A browser's origin is checked against the host that it dialled, which this is not.
    all.remove(header::ORIGIN);
    all
}

pub enum Opened {
    Upgraded(Upgraded, HeaderMap),
    Refused(Answer),
}

/// Sends an upgrade request to `url`.
pub async fn open(url: &str, method: http::Method, headers: HeaderMap) -> Result<Opened, String> {
    let uri: Uri = url.parse().map_err(|e| format!("{url}: {e}"))?;
    let authority = uri.authority().ok_or("its URL has no host")?.clone();
    let stream = TcpStream::connect((authority.host(), authority.port_u16().unwrap_or(80))).await;
    let stream = stream.map_err(|e| e.to_string())?;
    let _ = stream.set_nodelay(true);
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|e| e.to_string())?;
    tokio::spawn(connection.with_upgrades());
    let path = uri.path_and_query().map_or("/", |p| p.as_str());
    let mut request =
        Request::builder().method(method).uri(path).body(Empty::<Bytes>::new()).map_err(|e| e.to_string())?;
    *request.headers_mut() = headers;
    let host = HeaderValue::try_from(authority.as_str()).map_err(|e| e.to_string())?;
    request.headers_mut().insert(header::HOST, host);
    let answer = sender.send_request(request).await.map_err(|e| e.to_string())?;
    let headers = answer.headers().clone();
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        let status = answer.status();
        let body = Limited::new(answer.into_body(), REFUSAL_BYTES_MAX).collect().await;
        let body = body.map(|b| b.to_bytes()).unwrap_or_default();
        let mut refusal = Response::new(full(body));
        *refusal.status_mut() = status;
        return Ok(Opened::Refused(refusal));
    }
    Ok(Opened::Upgraded(hyper::upgrade::on(answer).await.map_err(|e| e.to_string())?, headers))
}

/// 101 with these headers.
pub fn switching(headers: HeaderMap) -> Answer {
    let mut answer = Response::new(full(Bytes::new()));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *answer.headers_mut() = headers;
    answer
}

/// Copies both ways until both sides are done or one breaks; then both are closed.
async fn copy<A, B>(mut client: A, mut server: B)
where
    A: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    B: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    if let Err(error) = tokio::io::copy_bidirectional(&mut client, &mut server).await {
        tracing::debug!(%error, "streaming connection ended");
    }
}
