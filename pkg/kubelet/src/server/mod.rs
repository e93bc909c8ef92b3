//! The kubelet's HTTPS API on 10250: logs, exec, attach, port-forward, pods, stats and metrics.

mod auth;
mod connect;
mod logs;
mod query;
mod stats;
mod stream;
mod tunnel;
mod upgrade;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};

use crate::config::Server;
use crate::kubelet::Kubelet;
use query::Query;

pub(crate) type Body = UnsyncBoxBody<Bytes, std::io::Error>;
pub(crate) type Answer = Response<Body>;

/// A handshake that takes longer is no client of ours.
const HANDSHAKE: Duration = Duration::from_secs(10);
const CONNECTIONS_MAX: usize = 1000;

/// Listens, and serves until shutdown.
pub async fn start(kubelet: &Arc<Kubelet>) -> Result<(), String> {
    let Some(server) = kubelet.config.server.clone() else {
        return Ok(());
    };
    let address = SocketAddr::new(server.address, server.port);
    let listener = TcpListener::bind(address).await.map_err(|e| match e.kind() {
        std::io::ErrorKind::AddrInUse => {
            format!("port {} is in use: is another kubelet running on this machine?", server.port)
        }
        _ => format!("listening on {address}: {e}"),
    })?;
    let context =
        Arc::new(Context { auth: auth::Auth::new(kubelet), stats: stats::Stats::default(), kubelet: kubelet.clone() });
    kubelet.shutdown.spawn(accept(listener, server, context));
    Ok(())
}

pub(crate) struct Context {
    pub kubelet: Arc<Kubelet>,
    auth: auth::Auth,
    stats: stats::Stats,
}

async fn accept(listener: TcpListener, server: Server, context: Arc<Context>) {
    let acceptor = tokio_rustls::TlsAcceptor::from(server.tls);
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let shutdown = context.kubelet.shutdown.clone();
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        let accepted = match shutdown.race(listener.accept()).await {
            None => return,
            Some(accepted) => accepted,
        };
        let Ok((stream, _)) = accepted else {
            // Out of descriptors: leave those that are served the time to end.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (acceptor, context) = (acceptor.clone(), context.clone());
        let stop = shutdown.clone();
        tokio::spawn(async move {
            stop.race(serve(stream, acceptor, context)).await;
            drop(slot);
        });
    }
}

async fn serve(stream: TcpStream, acceptor: tokio_rustls::TlsAcceptor, context: Arc<Context>) {
    let _ = stream.set_nodelay(true);
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await else {
        return;
    };
    let peer = auth::identity(stream.get_ref().1.peer_certificates().unwrap_or_default());
    let service = hyper::service::service_fn(move |request| {
        let (context, peer) = (context.clone(), peer.clone());
        async move { Ok::<_, Infallible>(handle(context, peer, request).await) }
    });
    let connection = auto::Builder::new(TokioExecutor::new());
    if let Err(error) = connection.serve_connection_with_upgrades(TokioIo::new(stream), service).await {
        tracing::debug!(error, "kubelet server: connection ended");
    }
}

/// Authenticates, authorizes and routes one request.
async fn handle(context: Arc<Context>, peer: Option<auth::User>, request: Request<Incoming>) -> Answer {
    let user = match context.auth.authenticate(peer, &request).await {
        Some(user) => user,
        None => return text(StatusCode::UNAUTHORIZED, "Unauthorized"),
    };
    if let Err(refusal) = context.auth.authorize(&user, request.method(), request.uri().path()).await {
        return text(StatusCode::FORBIDDEN, &refusal);
    }
    route(context, request).await
}

async fn route(context: Arc<Context>, request: Request<Incoming>) -> Answer {
    if request.method() == Method::CONNECT {
        return connect::serve(&context, request).await;
    }
    let path = request.uri().path().to_owned();
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let get = request.method() == Method::GET || request.method() == Method::HEAD;
    match *parts.as_slice() {
        ["healthz" | "healthz"] if get => text(StatusCode::OK, "ok"),
        ["healthz", "ping" | "log" | "syncloop"] if get => text(StatusCode::OK, "ok"),
        ["pods"] if get => pods(&context),
        ["metrics"] if get => metrics(component_base::metrics::render()),
        ["metrics", "resource"] if get => metrics(context.stats.resource_metrics(&context.kubelet).await),
        ["metrics", "cadvisor"] if get => metrics(context.stats.cadvisor_metrics(&context.kubelet).await),
        ["metrics", "probes"] if get => metrics(String::new()),
        ["stats", "summary"] | ["stats", "summary", ""] => json(&context.stats.summary(&context.kubelet).await),
        ["containerLogs", namespace, pod, container] if get => {
            logs::serve(&context, namespace, pod, container, &query).await
        }
        ["exec", namespace, pod, container] | ["exec", namespace, pod, _, container] => {
            stream::exec(&context, namespace, pod, container, &query, request).await
        }
        ["attach", namespace, pod, container] | ["attach", namespace, pod, _, container] => {
            stream::attach(&context, namespace, pod, container, &query, request).await
        }
        ["portForward", namespace, pod] | ["portForward", namespace, pod, _] => {
            stream::port_forward(&context, namespace, pod, &query, request).await
        }
        ["run", namespace, pod, container] | ["run", namespace, pod, _, container]
            if request.method() == Method::POST =>
        {
            stream::run(&context, namespace, pod, container, &query).await
        }
        _ => text(StatusCode::NOT_FOUND, "404 page not found"),
    }
}

fn pods(context: &Context) -> Answer {
    let with_status = |pod: Arc<k8s_openapi::api::core::v1::Pod>| {
        use crate::pod::PodExt as _;
        let mut pod = (*pod).clone();
        pod.status = context.kubelet.statuses.get(pod.uid()).or(pod.status);
        pod
    };
    let items: Vec<_> = context.kubelet.pods().into_iter().map(with_status).collect();
    json(&serde_json::json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}))
}

fn full(body: impl Into<Bytes>) -> Body {
    Full::new(body.into()).map_err(|never| match never {}).boxed_unsync()
}

pub(crate) fn text(status: StatusCode, message: &str) -> Answer {
    let mut answer = Response::new(full(message.to_owned()));
    *answer.status_mut() = status;
    let kind = header::HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}

fn json(value: &serde_json::Value) -> Answer {
    let mut answer = Response::new(full(value.to_string()));
    let kind = header::HeaderValue::from_static("application/json");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}

fn metrics(body: String) -> Answer {
    let mut answer = Response::new(full(body));
    let kind = header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}

/// A body that is sent as it comes.
fn streamed(pieces: mpsc::Receiver<Result<Bytes, std::io::Error>>) -> Body {
    let frames = futures::stream::unfold(pieces, |mut pieces| async move { Some((pieces.recv().await?, pieces)) });
    http_body_util::StreamBody::new(frames.map(|piece| piece.map(Frame::data))).boxed_unsync()
}
