//! The server: its parts, and its service for callers in this process.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use auth::authn::Authenticator;
use auth::authz::Authorizer;
use bytes::Bytes;
use component_base::Shutdown;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use registry::{AdmissionHook, Registry};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tower::Service;

use crate::connection::{self, Bounds};
use crate::fairness::Fairness;
use crate::http::body::{BoxError, RequestBody, ResponseBody};
use crate::metrics::Metrics;
use crate::peer::Peer;
use crate::pipeline;
use crate::stream::KubeletDialer;

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
    /// This machine reaches pods by their addresses. One that runs no node does not, and goes through the pods' nodes.
    pub on_pod_network: bool,
    /// Who vouches for clients, for those who must believe the same ones.
    pub client_authorities: ClientAuthorities,
    /// Where other machines reach this server: the endpoint of the `kubernetes` Service.
    pub advertise_address: IpAddr,
    /// Tells this server apart from others of the cluster.
    pub name: String,
    /// The store has more members than this one.
    pub one_of_several: bool,
    pub secure_port: u16,
    /// The address of the `kubernetes` Service.
    pub service_address: IpAddr,
    /// For those who join; `None` where nobody can.
    pub joining: Option<Arc<dyn crate::joining::Joining>>,
    /// Saves and keeps snapshots; `None` where nobody does.
    pub snapshots: Option<Arc<dyn crate::snapshots::Snapshots>>,
}

/// The certificates (PEM) of the authorities that sign clients. Extension API servers read them from the ConfigMap
/// `kube-system/extension-apiserver-authentication`.
#[derive(Clone, Debug, Default)]
pub struct ClientAuthorities {
    pub client_ca: String,
    /// Signs proxies that say in headers for whom they ask.
    pub request_header_ca: String,
}

/// A server. Clones are the same server.
#[derive(Clone)]
pub struct Server(Arc<Inner>);

pub struct Inner {
    pub config: Config,
    pub metrics: Metrics,
    pub fairness: Arc<Fairness>,
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
            fairness: Arc::default(),
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
        futures::try_join!(crate::bootstrap::write(&self.0), crate::fairness::config::write(&self.0))?;
        crate::fairness::config::start(&self.0);
        crate::feed::start(&self.0).await?;
        crate::upkeep::start(&self.0);
        let inner = self.0.clone();
        component_base::task::supervise("endpoints", &self.0.shutdown, move || crate::endpoints::run(inner.clone()));
        let inner = self.0.clone();
        self.0.shutdown.spawn(async move {
            inner.shutdown.triggered().await;
            if let Err(error) = crate::endpoints::leave(&inner).await {
                tracing::info!(error = error.message(), "could not take this server out of the endpoints");
            }
        });
        let registry = self.0.config.registry.clone();
        let shutdown = self.0.shutdown.clone();
        self.0.shutdown.spawn(async move { registry.expire_events(shutdown).await });
        let registry = self.0.config.registry.clone();
        let shutdown = self.0.shutdown.clone();
        self.0.shutdown.spawn(async move { registry.keep_service_addresses(shutdown).await });
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
        self.serve_within(listener, Bounds::default()).await
    }

    /// As [`Self::serve`], with other bounds for connections.
    pub async fn serve_within(&self, listener: TcpListener, bounds: Bounds) -> std::io::Result<()> {
        connection::serve(self.0.clone(), listener, bounds).await;
        Ok(())
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
