//! A [`Client`] over several API servers: it stays with one until that fails, and then goes to another.
//!
//! TLS asks every server for the same name, which all have in their certificates, so that a server may have any address.
//! A connection breaks when its server dies (the kernel tells at once), when the network has been silent for about three
//! seconds, and when the server is left for another.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use http::header::{AUTHORIZATION, USER_AGENT};
use http::{HeaderValue, Request, Response, Uri};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use kube::Client;
use kube::client::Body;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tower::{BoxError, Service, ServiceBuilder};

use crate::connect::{Https, transport};
use crate::servers::{HEAD_START, Servers};

/// The name in every server's certificate.
const SERVER_NAME: &str = "kubernetes";
/// How long a server may take to answer a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a server may then say nothing, not even a greeting: its port is open before it serves, and while it waits for
/// others the kernel answers for it.
const GREETING_TIMEOUT: Duration = Duration::from_secs(5);
/// Silence after which the kernel asks whether the other end is still there, and between its questions.
const PROBE_EVERY: Duration = Duration::from_secs(1);
const PROBES: u32 = 2;
/// How long what was sent may go without being confirmed.
const UNCONFIRMED_MAX_MS: u32 = 2_500;

/// One set of connections that several clients share. Cheap to clone.
#[derive(Clone)]
pub struct Balanced {
    servers: Servers,
    transport: legacy::Client<Https<Connector>, Body>,
}

impl Balanced {
    /// `tls` trusts the cluster's servers and knows as whom to speak.
    pub fn new(servers: Servers, tls: rustls::ClientConfig) -> Self {
        let transport = transport(tls, Connector(servers.clone()));
        Self { servers, transport }
    }

    /// A client that calls itself `agent`.
    pub fn client(&self, agent: &'static str) -> Client {
        self.make(agent, None)
    }

    /// A client that proves itself by a token. The token never gets into a log: the header is marked as sensitive.
    pub fn client_with_token(&self, agent: &'static str, token: &str) -> Option<Client> {
        let mut header = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
        header.set_sensitive(true);
        Some(self.make(agent, Some(header)))
    }

    fn make(&self, agent: &'static str, token: Option<HeaderValue>) -> Client {
        let servers = self.servers.clone();
        let service = ServiceBuilder::new()
            .map_request(move |request: Request<Body>| prepare(request, agent, token.as_ref()))
            .map_response(move |response: Response<Incoming>| {
                servers.answered(response.status());
                response
            })
            .map_err(BoxError::from)
            .service(self.transport.clone());
        Client::new(service, "default")
    }
}

/// Puts the name that all servers share, and the headers, into a request.
fn prepare(mut request: Request<Body>, agent: &'static str, token: Option<&HeaderValue>) -> Request<Body> {
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(http::uri::Scheme::HTTPS);
    parts.authority = Some(http::uri::Authority::from_static(SERVER_NAME));
    parts.path_and_query.get_or_insert_with(|| http::uri::PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    request.headers_mut().entry(USER_AGENT).or_insert(HeaderValue::from_static(agent));
    if let Some(token) = token {
        request.headers_mut().insert(AUTHORIZATION, token.clone());
    }
    request
}

/// Opens connections to whichever server answers.
#[derive(Clone)]
pub struct Connector(Servers);

impl Service<Uri> for Connector {
    type Response = TokioIo<Guarded>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<TokioIo<Guarded>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let servers = self.0.clone();
        Box::pin(async move {
            let (server, stream) = first_that_answers(&servers).await?;
            let guard = servers.chosen(&server);
            let left = Box::pin(guard.token().cancelled_owned());
            let silent = Some(Box::pin(tokio::time::sleep(GREETING_TIMEOUT)));
            Ok(TokioIo::new(Guarded { stream, server, servers, left, silent }))
        })
    }
}

/// Tries one server after the other, each with a head start before the next.
async fn first_that_answers(servers: &Servers) -> io::Result<(String, TcpStream)> {
    let mut waiting = servers.order().into_iter();
    let mut running = FuturesUnordered::new();
    let mut failures = Vec::new();
    loop {
        match waiting.next() {
            Some(server) => running.push(dial(server)),
            None if running.is_empty() => return Err(io::Error::other(failures.join("; "))),
            None => {}
        }
        let more = waiting.len() > 0;
        let head_start =
            async { if more { tokio::time::sleep(HEAD_START).await } else { std::future::pending().await } };
        tokio::select! {
            Some((server, outcome)) = running.next() => match outcome {
                Ok(stream) => return Ok((server, stream)),
                Err(error) => {
                    servers.failed(&server);
                    failures.push(format!("{server}: {error}"));
                }
            },
            () = head_start => {}
        }
    }
}

async fn dial(server: String) -> (String, io::Result<TcpStream>) {
    let connecting = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(server.clone()));
    let outcome = match connecting.await {
        Ok(outcome) => outcome.and_then(|stream| watch_over(&stream).map(|()| stream)),
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no answer")),
    };
    (server, outcome)
}

/// Lets the kernel find out when the other end is gone.
fn watch_over(stream: &TcpStream) -> io::Result<()> {
    use rustix::net::sockopt;
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, PROBE_EVERY)?;
    sockopt::set_tcp_keepintvl(stream, PROBE_EVERY)?;
    sockopt::set_tcp_keepcnt(stream, PROBES)?;
    sockopt::set_tcp_user_timeout(stream, UNCONFIRMED_MAX_MS)?;
    Ok(())
}

/// A connection that ends when its server is left.
pub struct Guarded {
    stream: TcpStream,
    server: String,
    servers: Servers,
    left: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Until the server has said something.
    silent: Option<Pin<Box<Sleep>>>,
}

impl Guarded {
    /// What was read; an error if that is nothing and never was anything, for too long.
    fn poll_greeting(&mut self, cx: &mut Context<'_>, read: Poll<io::Result<()>>) -> Poll<io::Result<()>> {
        match (&mut self.silent, &read) {
            (Some(silent), Poll::Pending) => {
                ready!(silent.as_mut().poll(cx));
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the server says nothing")))
            }
            _ => {
                self.silent = None;
                read
            }
        }
    }

    fn poll_left(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.left.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the server was left for another")),
            Poll::Pending => Ok(()),
        }
    }

    /// A connection that broke tells that its server may be gone: the next one goes elsewhere first.
    fn note<T>(&self, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &outcome
            && error.kind() != io::ErrorKind::ConnectionAborted
        {
            self.servers.failed(&self.server);
        }
        outcome
    }
}

impl AsyncRead for Guarded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.poll_left(cx)?;
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let outcome = self.poll_greeting(cx, read);
        self.note(outcome)
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note(outcome)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Connection for Guarded {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

/// `host:port` of a server's URL; 6443 is the port where none is given.
///
/// # Errors
///
/// What is wrong with the URL, in words for the user.
pub fn server_address(url: &str) -> Result<String, String> {
    let rest = url.strip_prefix("https://").ok_or("it must begin with https://")?;
    let authority = rest.trim_end_matches('/');
    if authority.is_empty() || authority.contains('/') {
        return Err("it must be https://HOST or https://HOST:PORT".to_owned());
    }
    let uri: Uri = url.parse().map_err(|error| format!("{error}"))?;
    let host = uri.host().ok_or("it names no host")?;
    Ok(format!("{host}:{}", uri.port_u16().unwrap_or(6443)))
}

/// Keeps `servers` what the cluster's `kubernetes` EndpointSlice says, until shutdown.
pub async fn follow(servers: Servers, informers: crate::Informers) -> Result<(), std::convert::Infallible> {
    use k8s_openapi::api::discovery::v1::EndpointSlice;
    let slices = informers.get::<EndpointSlice>(crate::Scope::object("default", "kubernetes"));
    let mut changes = slices.subscribe();
    while let Some(change) = changes.next().await {
        if let Some(slice) = change.new {
            servers.learn(addresses(&slice));
        }
    }
    Ok(())
}

fn addresses(slice: &k8s_openapi::api::discovery::v1::EndpointSlice) -> Vec<String> {
    let port = slice.ports.iter().flatten().find_map(|port| port.port).unwrap_or(6443);
    let endpoints = slice.endpoints.iter().flatten().flat_map(|endpoint| &endpoint.addresses);
    let bracketed = |ip: &String| if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") };
    endpoints.map(bracketed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_server_that_does_not_greet_is_left_for_another() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = silent.local_addr().expect("bound").to_string();
        let other = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let servers = Servers::new(&address, None);
        let connection = Connector(servers.clone()).call(Uri::from_static("https://kubernetes")).await;
        servers.learn(vec![address.clone(), other.local_addr().expect("bound").to_string()]);
        let mut connection = connection.expect("the kernel answers").into_inner();
        let read = tokio::io::AsyncReadExt::read(&mut connection, &mut [0; 8]).await;
        assert_eq!(read.map_err(|error| error.kind()), Err(io::ErrorKind::TimedOut));
        assert_ne!(servers.order().first(), Some(&address), "the next connection goes elsewhere");
    }

    #[test]
    fn addresses_of_servers() {
        for (url, want) in [
            ("https://a.example", Ok("a.example:6443")),
            ("https://10.0.0.1:7443/", Ok("10.0.0.1:7443")),
            ("https://[fd00::1]:6443", Ok("[fd00::1]:6443")),
            ("http://a.example", Err("it must begin with https://")),
            ("a.example", Err("it must begin with https://")),
            ("https://", Err("it must be https://HOST or https://HOST:PORT")),
            ("https://a/b", Err("it must be https://HOST or https://HOST:PORT")),
        ] {
            assert_eq!(server_address(url), want.map(str::to_owned).map_err(str::to_owned), "{url}");
        }
    }
}
