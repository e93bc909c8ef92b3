//! Connections of the network: how many there may be, and how much and how long each may keep.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use crate::http::body::RequestBody;
use crate::peer::Peer;
use crate::pipeline::{self, Patient};
use crate::server::Inner;
use crate::stall::{Activity, Answer, Socket};

/// HTTP/2 flow control: room for a large list on a fast link, without letting one stream take all memory.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
/// What is made for one stream before the client takes it.
const SEND_BUFFER: usize = 128 << 10;
const STREAMS_MAX: u32 = 1000;
/// All headers of a request. Tokens with many groups are long.
const HEADERS_MAX: u32 = 64 << 10;
/// Streams that a client opened and reset before they were looked at; more end the connection (CVE-2023-44487).
const PENDING_RESETS_MAX: usize = 20;
/// Streams that we reset because the client broke the rules.
const OWN_RESETS_MAX: usize = 100;
const KEEP_ALIVE: Duration = Duration::from_secs(30);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// How long open requests are waited for on shutdown.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// What connections are held to.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// Connections at the same time; more are closed as they come.
    pub connections_max: usize,
    /// For the TLS handshake.
    pub handshake: Duration,
    /// For the head of an HTTP/1 request, which is also how long such a connection may be idle.
    pub head: Duration,
    /// How long a connection may be open without a request.
    pub idle: Duration,
    /// How long a client may take nothing of what is there for it.
    pub stall: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections_max: 20_000,
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(32),
            idle: Duration::from_secs(90),
            stall: Duration::from_secs(60),
        }
    }
}

/// What all connections share.
struct Shared {
    server: Arc<Inner>,
    acceptor: TlsAcceptor,
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
    bounds: Bounds,
}

/// Serves HTTPS on `listener` until shutdown; then lets open requests end.
pub async fn serve(server: Arc<Inner>, listener: TcpListener, bounds: Bounds) {
    let places = Arc::new(Semaphore::new(bounds.connections_max));
    let shared = Arc::new(Shared {
        acceptor: TlsAcceptor::from(server.config.tls.clone()),
        http1: http1(&bounds),
        http2: http2(),
        server: server.clone(),
        bounds,
    });
    let connections = TaskTracker::new();
    loop {
        let Some(accepted) = server.shutdown.race(listener.accept()).await else { break };
        match (accepted, places.clone().try_acquire_owned()) {
            (Ok((stream, _)), Ok(place)) => {
                let shared = shared.clone();
                connections.spawn(async move {
                    shared.run(stream).await;
                    drop(place);
                });
            }
            // Closed at once: who waits for a place would keep others from it.
            (Ok((_, from)), Err(_)) => tracing::warn!(%from, "a connection was refused: there are too many"),
            // Too many open files: the listener recovers when some close.
            (Err(error), _) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(DRAIN_TIMEOUT, connections.wait()).await.is_err() {
        tracing::warn!("some requests did not end in time");
    }
}

fn http1(bounds: &Bounds) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(bounds.head);
    builder
}

fn http2() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADERS_MAX)
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
        .max_local_error_reset_streams(OWN_RESETS_MAX)
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
    builder
}

impl Shared {
    async fn run(&self, stream: TcpStream) {
        // Small answers must not wait for more.
        let _ = stream.set_nodelay(true);
        let activity = Activity::new(self.bounds.stall);
        let handshake = self.acceptor.accept(Socket::new(stream, activity.clone()));
        let Ok(Ok(stream)) = tokio::time::timeout(self.bounds.handshake, handshake).await else { return };
        let session = stream.get_ref().1;
        let peer = Arc::new(Peer::network(session.peer_certificates().map(<[_]>::to_vec).unwrap_or_default()));
        let is_http2 = session.alpn_protocol() == Some(b"h2");
        let (server, active) = (self.server.clone(), activity.clone());
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let (server, peer, mut running) = (server.clone(), peer.clone(), active.begin());
            async move {
                let response = pipeline::serve(server, request.map(RequestBody::Network), peer).await;
                if response.extensions().get::<Patient>().is_some() {
                    running.be_patient(response.status() == StatusCode::SWITCHING_PROTOCOLS);
                }
                Ok::<Response<Answer>, Infallible>(response.map(|body| Answer::new(body, running)))
            }
        });
        // The handshake has settled the protocol: no client can keep us waiting for the bytes that would show it.
        let ended = if is_http2 {
            let connection = pin!(self.http2.serve_connection(TokioIo::new(stream), service));
            self.drive(connection, http2::Connection::graceful_shutdown, &activity).await
        } else {
            let connection = pin!(self.http1.serve_connection(TokioIo::new(stream), service).with_upgrades());
            self.drive(connection, http1::UpgradeableConnection::graceful_shutdown, &activity).await
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended");
        }
    }

    /// Serves until the client goes, or there is a reason to take no more requests and those that run have ended.
    async fn drive<C: Future<Output = hyper::Result<()>>>(
        &self,
        mut connection: Pin<&mut C>,
        finish: impl Fn(Pin<&mut C>),
        activity: &Activity,
    ) -> hyper::Result<()> {
        let mut streams = pin!(activity.watch_streams());
        let reason = async {
            tokio::select! {
                () = self.server.shutdown.triggered() => {}
                () = activity.idle(self.bounds.idle) => {}
            }
        };
        tokio::select! {
            ended = connection.as_mut() => return ended,
            () = reason => finish(connection.as_mut()),
            () = streams.as_mut() => {}
        }
        tokio::select! {
            ended = connection => ended,
            () = streams => Ok(()),
        }
    }
}
