//! The server on the network: TLS, client certificates, tokens, HTTP/2 and HTTP/1.1, drain.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::{Api, MAPS, PATIENCE};

pub async fn connect(api: &Api, port: u16, alpn: &[u8], certificate: bool) -> TlsStream<TcpStream> {
    let mut tls = if certificate {
        let leaf = api.pki.client_ca().issue_client("carol", &["system:masters"]).unwrap();
        api.pki.client_config(&leaf).unwrap()
    } else {
        pki::tls::client_config(pki::tls::roots([api.pki.server_ca().cert()]).unwrap(), None).unwrap()
    };
    tls.alpn_protocols = vec![alpn.to_vec()];
    let tcp = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(tls)).connect(name, tcp).await.unwrap()
}

fn request(path: &str, token: &str) -> Request<Empty<Bytes>> {
    let mut builder = Request::get(format!("https://localhost{path}")).header("host", "localhost");
    if !token.is_empty() {
        builder = builder.header("authorization", format!("Bearer {token}"));
    }
    builder.body(Empty::new()).unwrap()
}

#[tokio::test]
async fn tls_serves_both_protocols_and_knows_certificates_and_tokens() {
    let api = Api::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = api.server.clone();
    let serving = tokio::spawn(async move { server.serve(listener).await });

    let stream = connect(&api, port, b"h2", true).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut h2, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let answer = h2.send_request(request(MAPS, "")).await.unwrap();
    assert_eq!(answer.status(), 200, "the certificate says who it is");
    answer.into_body().collect().await.unwrap();

    let stream = connect(&api, port, b"http/1.1", false).await;
    let (mut h1, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    for (path, token, code) in [
        ("/livez", "", 200),
        ("/version", "", 200),
        (MAPS, "", 401),
        (MAPS, "wrong", 401),
        (MAPS, "bob-token", 403),
        (MAPS, "admin-token", 200),
    ] {
        let answer = h1.send_request(request(path, token)).await.unwrap();
        assert_eq!(answer.status(), code, "{path} {token}");
        answer.into_body().collect().await.unwrap();
        h1.ready().await.unwrap();
    }

    // A watch that runs ends cleanly, then the server does.
    let watch = h2.send_request(request(&format!("{MAPS}?watch=1"), "")).await.unwrap();
    api.shutdown.trigger();
    let ended = tokio::time::timeout(PATIENCE, watch.into_body().collect()).await.unwrap();
    assert!(ended.is_ok());
    drop((h1, h2));
    tokio::time::timeout(PATIENCE, serving).await.unwrap().unwrap().unwrap();
}
