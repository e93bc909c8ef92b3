//! Port-forward of newer clients: SPDY inside of a WebSocket. The frames are taken off, and the SPDY goes to the
//! runtime's streaming server as from an old client.

use base64::Engine as _;
use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::upgrade::{Opened, offered, open, switching};
use super::{Answer, text};

const PROTOCOL: &str = "SPDY/3.1+portforward.k8s.io";
/// One message to the client.
const CHUNK: usize = 32 * 1024;
const MESSAGE_BYTES_MAX: usize = 1 << 20;

pub fn is_wanted(headers: &HeaderMap) -> bool {
    offered(headers).iter().any(|p| p == PROTOCOL)
}

pub async fn serve(url: &str, mut request: Request<Incoming>) -> Answer {
    let Some(key) = request.headers().get(header::SEC_WEBSOCKET_KEY).map(|k| derive_accept_key(k.as_bytes())) else {
        return text(StatusCode::BAD_REQUEST, "Sec-WebSocket-Key is missing");
    };
    let mut spdy = HeaderMap::new();
    spdy.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    spdy.insert(header::UPGRADE, HeaderValue::from_static("SPDY/3.1"));
    let version = HeaderName::from_static("x-stream-protocol-version");
    spdy.insert(version, HeaderValue::from_static("portforward.k8s.io"));
    let server = match open(url, Method::POST, spdy).await {
        Err(error) => return text(StatusCode::BAD_GATEWAY, &format!("container runtime's streaming server: {error}")),
        Ok(Opened::Refused(answer)) => return answer,
        Ok(Opened::Upgraded(server, _)) => TokioIo::new(server),
    };
    let client = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Ok(client) = client.await else { return };
        let config = WebSocketConfig::default().max_message_size(Some(MESSAGE_BYTES_MAX));
        let client = WebSocketStream::from_raw_socket(TokioIo::new(client), Role::Server, Some(config)).await;
        copy(client, server).await;
    });
    let mut headers = HeaderMap::new();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL));
    if let Ok(key) = HeaderValue::try_from(key) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, key);
    }
    switching(headers)
}

/// Each direction ends on its own end; when one has ended, the other is given the rest and then closed, too.
async fn copy<C, S>(client: WebSocketStream<C>, server: S)
where
    C: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let (mut to_client, mut from_client) = client.split();
    let (mut from_server, mut to_server) = tokio::io::split(server);
    let upwards = async {
        while let Some(Ok(message)) = from_client.next().await {
            let data: Bytes = match message {
                Message::Binary(data) => data,
                // Old proxies turn binary frames into text.
                Message::Text(text) => match base64::engine::general_purpose::STANDARD.decode(text.as_str()) {
                    Ok(data) => data.into(),
                    Err(_) => break,
                },
                Message::Close(_) => break,
                _ => continue,
            };
            if to_server.write_all(&data).await.is_err() {
                break;
            }
        }
        let _ = to_server.shutdown().await;
    };
    let downwards = async {
        let mut chunk = vec![0u8; CHUNK];
        while let Ok(count) = from_server.read(&mut chunk).await {
            let Some(data) = chunk.get(..count).filter(|d| !d.is_empty()) else { break };
            if to_client.send(Message::Binary(Bytes::copy_from_slice(data))).await.is_err() {
                break;
            }
        }
        let _ = to_client.close().await;
    };
    tokio::select! {
        () = upwards => {}
        () = downwards => {}
    }
}
