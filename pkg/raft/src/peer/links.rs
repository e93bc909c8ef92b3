//! Connections to peers.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use http::Uri;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tonic::body::Body;
use tonic::metadata::MetadataValue;

use super::proto::peer_client::PeerClient;
use super::{
    CLUSTER, CONNECTION_WINDOW, FROM, LISTED, MESSAGE_BYTES_MAX, PEER_SERVER_NAME, REMOVED, REPLACED, STREAM_WINDOW,
    TO, wire,
};
use crate::identity::Identity;
use crate::types::PeerNode;

/// How long a connection may take to come up, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// A peer that does not answer pings for so long is gone. Pings are only sent while it is asked for something.
const PING_INTERVAL: Duration = Duration::from_millis(300);
const PING_TIMEOUT: Duration = Duration::from_millis(500);
/// Pauses between attempts to connect, doubled each time.
const RETRY_FIRST: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_secs(1);

pub(crate) type Client = PeerClient<Channel>;

/// A two-way stream of bytes.
pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// How a way to a member is opened. Tests put faults in it.
pub(crate) trait Dial: Send + Sync + 'static {
    fn dial(&self, to: u64, address: &str) -> BoxFuture<'static, io::Result<Box<dyn Io>>>;
}

/// TCP.
pub(crate) struct Tcp;

impl Dial for Tcp {
    fn dial(&self, _: u64, address: &str) -> BoxFuture<'static, io::Result<Box<dyn Io>>> {
        let address = address.to_owned();
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            // Small messages that somebody waits for.
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Io>)
        })
    }
}

/// An HTTP/2 connection as generated clients want it.
#[derive(Clone)]
pub(crate) struct Channel(SendRequest<Body>);

impl tower::Service<http::Request<Body>> for Channel {
    type Response = http::Response<hyper::body::Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

/// The connections to all peers.
pub(crate) struct Links {
    dial: Arc<dyn Dial>,
    tls: TlsConnector,
    identity: Arc<Identity>,
    links: Mutex<HashMap<u64, Arc<Link>>>,
}

impl Links {
    pub(crate) fn new(client: &rustls::ClientConfig, dial: Arc<dyn Dial>, identity: Arc<Identity>) -> Arc<Self> {
        let mut tls = client.clone();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        Arc::new(Self { dial, tls: TlsConnector::from(Arc::new(tls)), identity, links: Mutex::default() })
    }

    /// The link to a member at an address. A change of address gives a new one.
    pub(crate) fn get(self: &Arc<Self>, id: u64, address: &str) -> Arc<Link> {
        let mut links = self.links.lock();
        if let Some(link) = links.get(&id).filter(|link| link.address == address) {
            return link.clone();
        }
        let link = Link { id, address: address.to_owned(), links: self.clone(), state: Arc::default() };
        let link = Arc::new(link);
        links.insert(id, link.clone());
        link
    }

    /// The link to a member, wherever it is.
    pub(crate) fn find(&self, id: u64) -> Option<Arc<Link>> {
        self.links.lock().get(&id).cloned()
    }

    /// Has links to these members, at these addresses, and to no others.
    pub(crate) fn follow(self: &Arc<Self>, members: &BTreeMap<u64, PeerNode>) {
        self.links.lock().retain(|id, _| members.contains_key(id));
        for (id, member) in members.iter().filter(|(id, _)| **id != self.identity.id()) {
            self.get(*id, &member.address);
        }
    }

    /// The members that could not be reached when that was tried last.
    pub(crate) fn failing(&self) -> Vec<u64> {
        let failing = |link: &Arc<Link>| link.state.try_lock().is_ok_and(|state| state.failure.is_some());
        self.links.lock().iter().filter(|(_, link)| failing(link)).map(|(id, _)| *id).collect()
    }

    /// A member was heard of: an attempt to reach it is worth while at once.
    pub(crate) fn heard_of(&self, id: u64) {
        let link = self.links.lock().get(&id).cloned();
        // Somebody who is just connecting needs no encouragement.
        if let Some(link) = link
            && let Ok(mut state) = link.state.try_lock()
        {
            state.failure = None;
        }
    }
}

/// One peer's connection.
pub(crate) struct Link {
    id: u64,
    address: String,
    links: Arc<Links>,
    /// Held while the connection is opened, so that it is opened once.
    state: Arc<tokio::sync::Mutex<State>>,
}

#[derive(Default)]
struct State {
    channel: Option<Channel>,
    /// The last attempt to connect, if it failed.
    failure: Option<Failure>,
}

struct Failure {
    text: String,
    pause: Duration,
    until: Instant,
}

impl Link {
    /// A client on the connection, which is opened if there is none. After an error nothing was sent.
    pub(crate) async fn client(self: &Arc<Self>) -> io::Result<Client> {
        let mut state = self.state.clone().lock_owned().await;
        if let Some(channel) = state.channel.as_ref().filter(|channel| !channel.0.is_closed()) {
            return Ok(client(channel.clone()));
        }
        state.channel = None;
        if let Some(failure) = state.failure.as_ref().filter(|failure| Instant::now() < failure.until) {
            return Err(io::Error::new(io::ErrorKind::NotConnected, failure.text.clone()));
        }
        // A task of its own: whoever asks may have less time than a connection needs, and the next one is glad of it.
        let link = self.clone();
        let connecting = tokio::spawn(async move { link.reconnect(&mut state).await });
        connecting.await.map_err(io::Error::other)?
    }

    async fn reconnect(&self, state: &mut State) -> io::Result<Client> {
        match self.connect().await {
            Ok(channel) => {
                state.channel = Some(channel.clone());
                state.failure = None;
                Ok(client(channel))
            }
            Err(error) => {
                let pause = state.failure.as_ref().map_or(RETRY_FIRST, |failure| (failure.pause * 2).min(RETRY_MAX));
                let text = format!("cannot reach member {:016x} at {}: {error}", self.id, self.address);
                state.failure = Some(Failure { text: text.clone(), pause, until: Instant::now() + pause });
                Err(io::Error::new(error.kind(), text))
            }
        }
    }

    /// A client on a connection of its own, for what is large.
    pub(crate) async fn bulk_client(&self) -> io::Result<Client> {
        Ok(client(self.connect().await?))
    }

    async fn connect(&self) -> io::Result<Channel> {
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "it does not answer");
        timeout(CONNECT_TIMEOUT, self.open()).await.map_err(late)?
    }

    async fn open(&self) -> io::Result<Channel> {
        if self.address.is_empty() {
            return Err(io::Error::new(io::ErrorKind::AddrNotAvailable, "its address is not known"));
        }
        let stream = self.links.dial.dial(self.id, &self.address).await?;
        let name = ServerName::try_from(PEER_SERVER_NAME).map_err(io::Error::other)?;
        let stream = self.links.tls.connect(name, stream).await?;
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        let id = self.id;
        // Ends with the last client and the last stream, or with the peer.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, member = format!("{id:016x}"), "a connection broke");
            }
        });
        Ok(Channel(sender))
    }

    /// A request that says from whom, to whom and of which cluster it is, and since when the caller belongs to it.
    pub(crate) fn request<T>(&self, message: T) -> tonic::Request<T> {
        let identity = &self.links.identity;
        let mut request = tonic::Request::new(message);
        let metadata = request.metadata_mut();
        let cluster = identity.cluster().unwrap_or(0);
        let numbers = [(CLUSTER, cluster), (FROM, identity.id()), (TO, self.id)];
        let numbers = numbers.map(|(key, value)| (key, format!("{value:016x}")));
        let listed = identity.listed().map(|place| (LISTED, wire::place(&place)));
        for (key, value) in numbers.into_iter().chain(listed) {
            // Hexadecimal digits and points are always valid.
            if let Ok(value) = MetadataValue::try_from(value) {
                metadata.insert(key, value);
            }
        }
        request
    }

    /// Takes notice of what an error says about this member, and gives it as one that openraft understands.
    pub(crate) fn failed(&self, status: &tonic::Status) -> io::Error {
        if let Some(place) = status.metadata().get(REMOVED).and_then(|value| wire::read_place(value.to_str().ok()?)) {
            self.links.identity.note_unlisted(place);
        }
        if status.metadata().contains_key(REPLACED) {
            self.links.identity.note_replaced();
        }
        failed(&format_args!("member {:016x} at {}: {}", self.id, self.address, status.message()))
    }
}

fn client(channel: Channel) -> Client {
    PeerClient::with_origin(channel, Uri::from_static("https://coracle-peer"))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}

fn failed(text: &dyn Display) -> io::Error {
    io::Error::other(text.to_string())
}
