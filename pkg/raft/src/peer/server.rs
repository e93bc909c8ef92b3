//! Listens for other members.

use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http2::Builder;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::proto::peer_server::PeerServer;
use super::{CONNECTION_WINDOW, MESSAGE_BYTES_MAX, PeerConfig, STREAM_WINDOW, Service};

/// Connections at a time: a group is small, and each member has a few.
const CONNECTIONS_MAX: usize = 128;
/// Calls at a time on one connection.
const STREAMS_MAX: u32 = 4096;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// A caller that went away without a word is noticed by this; calls under way have their own, shorter ways.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// After a failed accept: no descriptors, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until it is closed.
pub(crate) struct Server(Mutex<Option<JoinHandle<()>>>);

impl Server {
    pub(crate) fn start(config: &PeerConfig, service: Service) -> Self {
        let mut tls = (*config.server).clone();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        Self(Mutex::new(Some(tokio::spawn(accept(config.listener.clone(), acceptor, service)))))
    }

    /// Ends all connections, and returns when nothing that was asked for over one is under way.
    pub(crate) async fn close(&self) {
        let task = self.0.lock().take();
        if let Some(task) = task {
            task.abort();
            // An aborted task is what it should be.
            let _ = task.await;
        }
    }
}

async fn accept(listener: Arc<TcpListener>, acceptor: TlsAcceptor, service: Service) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // Aborted with this task.
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        // Never closed.
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection of another server");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (acceptor, service) = (acceptor.clone(), service.clone());
        connections.spawn(async move {
            let _permit = permit;
            serve(stream, acceptor, service).await;
        });
    }
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, service: Service) {
    let from = stream.peer_addr().map(|address| address.to_string()).unwrap_or_default();
    // Small messages that somebody waits for; without it they are only slower.
    let _ = stream.set_nodelay(true);
    let stream = match timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::warn!(%error, from, "refused a connection to the store"),
        Err(_) => return tracing::warn!(from, "a connection to the store did not say who it is"),
    };
    // Whatever the configuration demands, nobody without a certificate is served.
    if stream.get_ref().1.peer_certificates().is_none_or(<[_]>::is_empty) {
        return tracing::warn!(from, "refused a connection to the store that has no certificate");
    }
    let service = PeerServer::new(service)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    let served = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)).await;
    if let Err(error) = served {
        tracing::debug!(%error, from, "a connection to the store broke");
    }
}
