//! The server: its parts, its TLS listener and its service for callers in this process.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use auth::authn::Authenticator;
use auth::authz::Authorizer;
use bytes::Bytes;
use component_base::Shutdown;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use registry::{AdmissionHook, Registry};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;
use tower::Service;

use crate::http::body::{BoxError, RequestBody, ResponseBody};
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::peer::Peer;
use crate::pipeline;
use crate::stream::KubeletDialer;

/// A handshake that takes longer is given up.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long open requests are waited for on shutdown.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// HTTP/2 flow control: room for a large list on a fast link, without letting one stream take all memory.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
const STREAMS_MAX: u32 = 1000;
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// All that the server is made of.
pub struct Config {
    pub registry: Arc<Registry>,
    pub authenticator: Arc<dyn Authenticator>,
    pub authorizer: Arc<dyn Authorizer>,
    /// RBAC rules, for reviews and for the escalation check. Fed by `feed`.
    pub policy: Arc<auth::rbac::Policy>,
    /// What nodes may read. Fed by `feed`.
    pub node_graph: Arc<auth::node::NodeGraph>,
    /// The readers of bearer tokens, for TokenReview.
    pub tokens: Arc<auth::authn::BearerToken>,
    /// Signs ServiceAccount tokens; absent where another server does.
    pub issuer: Arc<auth::token::Issuer>,
    /// See [`crate::ChainHook`].
    pub admission: Arc<dyn AdmissionHook>,
    pub tls: Arc<rustls::ServerConfig>,
    /// The client certificate that kubelets know, and the CA that signed theirs.
    pub kubelet_tls: Arc<rustls::ClientConfig>,
    /// Where other machines reach this server: the endpoint of the `kubernetes` Service.
    pub advertise_address: IpAddr,
    pub secure_port: u16,
    /// The address of the `kubernetes` Service.
    pub service_address: IpAddr,
}

/// A server. Clones are the same server.
#[derive(Clone)]
pub struct Server(Arc<Inner>);

pub struct Inner {
    pub config: Config,
    pub metrics: Metrics,
    pub limits: Limits,
    pub kubelets: KubeletDialer,
    pub discovery: crate::discovery::Documents,
    /// A ClusterRole changed: those that aggregate others may have to.
    pub roles_changed: Arc<Notify>,
    /// Bootstrap objects are written and policies are loaded.
    pub started: AtomicBool,
    /// Ends watches and other long answers.
    pub shutdown: Shutdown,
}

impl Server {
    pub fn new(config: Config, shutdown: Shutdown) -> Self {
        Self(Arc::new(Inner {
            metrics: Metrics::new(),
            limits: Limits::default(),
            kubelets: KubeletDialer::new(config.kubelet_tls.clone()),
            discovery: crate::discovery::Documents::new(config.registry.rows()),
            roles_changed: Arc::default(),
            started: AtomicBool::new(false),
            config,
            shutdown,
        }))
    }

    /// Writes what every cluster has from the start and begins to follow roles and nodes. The server is ready after it.
    pub async fn start(&self) -> apimachinery::ApiResult<()> {
        crate::bootstrap::write(&self.0).await?;
        crate::feed::start(&self.0).await?;
        crate::upkeep::start(&self.0);
        let registry = self.0.config.registry.clone();
        let shutdown = self.0.shutdown.clone();
        self.0.shutdown.spawn(async move { registry.expire_events(shutdown).await });
        self.0.started.store(true, Ordering::Release);
        Ok(())
    }

    /// The same API without a network: for callers in this process, who say who they are by the request extension
    /// [`apimachinery::UserInfo`] (or an `Arc` of it).
    pub fn service(&self) -> InProcess {
        InProcess { server: self.0.clone(), peer: Arc::new(Peer::in_process()) }
    }

    /// Serves HTTPS on `listener` until shutdown; then lets open requests end.
    pub async fn serve(&self, listener: TcpListener) -> std::io::Result<()> {
        let acceptor = TlsAcceptor::from(self.0.config.tls.clone());
        let connections = TaskTracker::new();
        let builder = Arc::new(builder());
        loop {
            let Some(accepted) = self.0.shutdown.race(listener.accept()).await else { break };
            match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(self.0.clone(), acceptor.clone(), builder.clone(), stream));
                }
                // Too many open files: the listener recovers when some close.
                Err(error) => {
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
        Ok(())
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(STREAMS_MAX)
        .keep_alive_interval(KEEP_ALIVE);
    builder.http1().timer(TokioTimer::new());
    builder
}

async fn connection(
    server: Arc<Inner>,
    acceptor: TlsAcceptor,
    builder: Arc<auto::Builder<TokioExecutor>>,
    stream: TcpStream,
) {
    let shutdown = server.shutdown.clone();
    // Small answers must not wait for more.
    let _ = stream.set_nodelay(true);
    let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await;
    let Ok(Ok(stream)) = handshake else { return };
    let certificates = stream.get_ref().1.peer_certificates().map(<[_]>::to_vec).unwrap_or_default();
    let peer = Arc::new(Peer::network(certificates));
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let (server, peer) = (server.clone(), peer.clone());
        async move { Ok::<_, Infallible>(pipeline::serve(server, request.map(RequestBody::Network), peer).await) }
    });
    let mut connection = pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.triggered() => {
            // No new requests; those that run may end.
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended");
    }
}

/// The server as a tower service, without sockets.
#[derive(Clone)]
pub struct InProcess {
    server: Arc<Inner>,
    peer: Arc<Peer>,
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<ResponseBody>, Infallible>> + Send>>;

impl<B> Service<Request<B>> for InProcess
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Answer {
        let request = request.map(|body| RequestBody::InProcess(body.map_err(Into::into).boxed_unsync()));
        let (server, peer) = (self.server.clone(), self.peer.clone());
        Box::pin(async move { Ok(pipeline::serve(server, request, peer).await) })
    }
}
