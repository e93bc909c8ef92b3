//! Passing a request on over a connection, and its answer back.

use apimachinery::{ApiError, ApiResult};
use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, HeaderName, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;

use super::dial::BoxStream;
use crate::context::Context;
use crate::http::body::{RequestBody, ResponseBody};
use crate::http::respond::Response;

/// Headers of one hop, which are never passed on.
const HOP: [HeaderName; 7] =
    [CONNECTION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];

/// Passes the request on to `path` (with query) of the server at the other end of `stream`.
pub async fn forward(
    context: &Context<'_>,
    stream: BoxStream,
    host: &str,
    path: &str,
    body: RequestBody,
) -> ApiResult<Response> {
    let failed = |e: hyper::Error| ApiError::service_unavailable(format!("error trying to reach service: {e}"));
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a forwarded connection ended");
        }
    });
    let upgrades = context.headers().contains_key(UPGRADE);
    let mut request = Request::new(body);
    *request.method_mut() = context.parts.method.clone();
    *request.uri_mut() = path.parse().map_err(ApiError::internal)?;
    *request.headers_mut() = passed_on(context.headers(), upgrades);
    request.headers_mut().insert(HOST, HeaderValue::from_str(host).map_err(ApiError::internal)?);
    let mut response = sender.send_request(request).await.map_err(failed)?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return switch(context, &mut response);
    }
    let (mut parts, body) = response.into_parts();
    HOP.iter().for_each(|name| drop(parts.headers.remove(name)));
    Ok(Response::from_parts(parts, ResponseBody::foreign(Kept { body, _sender: sender })))
}

/// The connection lives as long as the answer is read.
struct Kept {
    body: Incoming,
    _sender: hyper::client::conn::http1::SendRequest<RequestBody>,
}

impl http_body::Body for Kept {
    type Data = bytes::Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
        std::pin::Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

/// Both sides have agreed on another protocol: from here on only bytes go through, each direction until its end.
fn switch(context: &Context<'_>, response: &mut http::Response<Incoming>) -> ApiResult<Response> {
    let client = context.upgrade.lock().take();
    let client = client.ok_or_else(|| ApiError::bad_request("Upgrade request required"))?;
    let backend = hyper::upgrade::on(&mut *response);
    let shutdown = context.server.shutdown.clone();
    let task = shutdown.clone();
    shutdown.spawn(async move {
        let (Ok(client), Ok(backend)) = (client.await, backend.await) else { return };
        let (mut client, mut backend) = (TokioIo::new(client), TokioIo::new(backend));
        // Ends when both directions have; a broken side ends both.
        let copied = task.race(tokio::io::copy_bidirectional(&mut client, &mut backend)).await;
        if let Some(Err(error)) = copied {
            tracing::debug!(%error, "an upgraded connection broke");
        }
    });
    let mut answer = Response::new(ResponseBody::empty());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *answer.headers_mut() = response.headers().clone();
    Ok(answer)
}

/// The client's headers without its credentials, which are for this server alone.
fn passed_on(headers: &HeaderMap, upgrades: bool) -> HeaderMap {
    let mut kept = headers.clone();
    let asked = (headers.get(CONNECTION).cloned(), headers.get(UPGRADE).cloned());
    HOP.iter().chain([&AUTHORIZATION, &HOST]).for_each(|name| drop(kept.remove(name)));
    let impersonation: Vec<HeaderName> =
        kept.keys().filter(|name| name.as_str().starts_with("impersonate-")).cloned().collect();
    impersonation.iter().for_each(|name| drop(kept.remove(name)));
    if upgrades {
        if let (Some(connection), Some(upgrade)) = asked {
            kept.insert(CONNECTION, connection);
            kept.insert(UPGRADE, upgrade);
        }
        kept.remove(CONTENT_LENGTH);
        kept.remove(ACCEPT_ENCODING);
    }
    // The bearer token may also stand in the list of WebSocket protocols.
    if let Some(protocols) = headers.get("sec-websocket-protocol").and_then(|v| v.to_str().ok()) {
        let list: Vec<&str> =
            protocols.split(',').map(str::trim).filter(|p| !p.starts_with("base64url.bearer.authorization")).collect();
        if let Ok(value) = HeaderValue::from_str(&list.join(", ")) {
            kept.insert("sec-websocket-protocol", value);
        }
    }
    kept
}
