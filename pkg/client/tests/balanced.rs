//! Failing over between servers, over real sockets and TLS.

// A failed expectation is what a test is for, in its helpers, too.
#![allow(clippy::unwrap_used)]

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use client::{Balanced, Servers};
use component_base::Shutdown;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use pki::{Authority, Identity, Sans};
use tokio::net::TcpListener;

const PATIENCE: Duration = Duration::from_secs(10);

/// A server that answers everything with its name, or with a status that is not 200.
struct Server {
    address: String,
    status: Arc<AtomicU16>,
    stop: Shutdown,
}

impl Server {
    async fn start(name: &'static str, ca: &Authority) -> Self {
        let sans = Sans { hostnames: vec!["kubernetes".to_owned()], ips: Vec::new() };
        let identity = Identity::new(&ca.issue_server(name, &[], &sans).unwrap()).unwrap();
        let tls = pki::tls::server_config(&identity, pki::tls::roots([ca.cert()]).unwrap()).unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (status, stop) = (Arc::new(AtomicU16::new(200)), Shutdown::new());
        let (answer, ending) = (status.clone(), stop.clone());
        stop.spawn(async move {
            while let Some(Ok((stream, _))) = ending.race(listener.accept()).await {
                let (acceptor, answer, ending) = (acceptor.clone(), answer.clone(), ending.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = hyper::service::service_fn(move |_: Request<Incoming>| {
                        let status = answer.load(Ordering::Relaxed);
                        let body = if status == 200 { name.to_owned() } else { "{}".to_owned() };
                        async move { Ok::<_, Infallible>(Response::builder().status(status).body(body).unwrap()) }
                    });
                    let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service);
                    // Dropped when the server is killed: the connection breaks.
                    let _ = ending.race(serving).await;
                });
            }
        });
        Self { address, status, stop }
    }
}

async fn ask(client: &client::Client) -> Result<String, kube::Error> {
    let request = Request::get("/version").body(Vec::new()).unwrap();
    tokio::time::timeout(PATIENCE, client.request_text(request)).await.expect("an answer in time")
}

/// Asks until a server answers, as loops do.
async fn ask_until_answered(client: &client::Client) -> String {
    for _ in 0..10 {
        if let Ok(answer) = ask(client).await {
            return answer;
        }
    }
    panic!("nobody answers");
}

fn client_of(servers: &Servers, ca: &Authority) -> client::Client {
    let tls = pki::tls::client_config(pki::tls::roots([ca.cert()]).unwrap(), None).unwrap();
    Balanced::new(servers.clone(), tls).client("test")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_is_left_for_another_and_found_again() {
    let ca = Authority::generate("ca").unwrap();
    let (a, b) = (Server::start("a", &ca).await, Server::start("b", &ca).await);
    let servers = Servers::new(&a.address, None);
    servers.learn(vec![a.address.clone(), b.address.clone()]);
    let client = client_of(&servers, &ca);
    let first = ask(&client).await.unwrap();
    for _ in 0..5 {
        assert_eq!(ask(&client).await.unwrap(), first, "it stays with one that is good");
    }
    let (used, other) = if first == "a" { (&a, "b") } else { (&b, "a") };
    used.stop.trigger();
    let began = std::time::Instant::now();
    assert_eq!(ask_until_answered(&client).await, other);
    assert!(began.elapsed() < Duration::from_secs(1), "took {:?}", began.elapsed());
    let left = if first == "a" { &b } else { &a };
    left.stop.trigger();
    let error = ask(&client).await.unwrap_err();
    assert!(matches!(error, kube::Error::Service(_) | kube::Error::HyperError(_)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_only_refuses_is_left() {
    let ca = Authority::generate("ca").unwrap();
    let (a, b) = (Server::start("a", &ca).await, Server::start("b", &ca).await);
    let servers = Servers::new(&a.address, None);
    let client = client_of(&servers, &ca);
    assert_eq!(ask(&client).await.unwrap(), "a");
    servers.learn(vec![a.address.clone(), b.address.clone()]);
    a.status.store(503, Ordering::Relaxed);
    assert_eq!(ask_until_answered(&client).await, "b");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_not_believed() {
    let ca = Authority::generate("ca").unwrap();
    let stranger = Server::start("stranger", &Authority::generate("ca").unwrap()).await;
    let client = client_of(&Servers::new(&stranger.address, None), &ca);
    let error = format!("{:?}", ask(&client).await.unwrap_err());
    assert!(error.contains("InvalidCertificate"), "{error}");
}
