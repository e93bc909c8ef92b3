//! Logs and upgraded connections, through the server to a kubelet.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::network::connect;
use crate::support::{Api, PATIENCE};

/// A kubelet that answers with the path it was asked for, and echoes upgraded connections until their end.
async fn kubelet(api: &Api) -> u16 {
    let sans = pki::Sans { hostnames: Vec::new(), ips: vec!["127.0.0.1".parse().unwrap()] };
    let leaf = api.pki.server_ca().issue_server("system:node:n1", &["system:nodes"], &sans).unwrap();
    let identity = pki::Identity::new(&leaf).unwrap();
    let roots = pki::tls::roots([api.pki.client_ca().cert()]).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(pki::tls::server_config(&identity, roots).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let stream = acceptor.accept(stream).await.unwrap();
            assert!(stream.get_ref().1.peer_certificates().is_some(), "the server shows who it is");
            let service = hyper::service::service_fn(answer);
            let serving = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(serving.with_upgrades());
        }
    });
    port
}

async fn answer(mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    assert!(request.headers().get("authorization").is_none(), "credentials are for the API server alone");
    let path = request.uri().to_string();
    if !request.headers().contains_key("upgrade") {
        return Ok(Response::new(Full::from(path)));
    }
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let mut stream = TokioIo::new(upgrade.await.unwrap());
        stream.write_all(path.as_bytes()).await.unwrap();
        let mut all = Vec::new();
        // Reads to the end of the client's half, then still answers.
        stream.read_to_end(&mut all).await.unwrap();
        stream.write_all(&all).await.unwrap();
        stream.shutdown().await.unwrap();
    });
    let response = Response::builder().status(101).header("connection", "Upgrade").header("upgrade", "SPDY/3.1");
    Ok(response.body(Full::default()).unwrap())
}

async fn prepared() -> (Api, u16) {
    let api = Api::start().await;
    let kubelet = kubelet(&api).await;
    let node = json!({
        "apiVersion": "v1", "kind": "Node", "metadata": { "name": "n1" },
    });
    api.post("/api/v1/nodes", &node).await.expect(201);
    let status = json!({ "status": {
        "addresses": [{ "type": "InternalIP", "address": "127.0.0.1" }],
        "daemonEndpoints": { "kubeletEndpoint": { "Port": kubelet } },
    } });
    api.merge("/api/v1/nodes/n1/status", &status).await.expect(200);
    let pods = "/api/v1/namespaces/default/pods";
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p" },
        "spec": { "nodeName": "n1", "containers": [{ "name": "c", "image": "x" }, { "name": "d", "image": "x" }] },
    });
    api.post(pods, &pod).await.expect(201);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = api.server.clone();
    tokio::spawn(async move { server.serve(listener).await });
    (api, port)
}

#[tokio::test]
async fn logs_come_from_the_kubelet() {
    let (api, _) = prepared().await;
    let log = "/api/v1/namespaces/default/pods/p/log";
    let text = "a container name must be specified for pod p, choose one of: [c d]";
    assert_eq!(api.get(log).await.refused(400), text);
    assert_eq!(api.get(&format!("{log}?container=x")).await.refused(400), "container x is not valid for pod p");
    let answer = api.get(&format!("{log}?container=c&tailLines=5&follow=true")).await;
    assert_eq!(&answer.bytes[..], b"/containerLogs/default/p/c?follow=true&tailLines=5");
    assert_eq!(api.get(&format!("{log}?container=c&tailLines=-1")).await.code, 422);
    let proxied = api.get("/api/v1/nodes/n1/proxy/stats/summary?x=1").await;
    assert_eq!(&proxied.bytes[..], b"/stats/summary?x=1");
    let bare = api.get("/api/v1/nodes/n1/proxy").await;
    assert_eq!((bare.code, &bare.headers["location"]), (301, &"/api/v1/nodes/n1/proxy/".parse().unwrap()));
    let exec = api.post("/api/v1/namespaces/default/pods/p/exec?container=c&command=ls", &json!({})).await;
    assert_eq!(exec.refused(400), "Upgrade request required");
}

#[tokio::test]
async fn upgraded_connections_go_through_with_both_ends() {
    let (api, port) = prepared().await;
    let stream = connect(&api, port, b"http/1.1", true).await;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection.with_upgrades());
    let request =
        Request::post("/api/v1/namespaces/default/pods/p/exec?container=d&command=echo&command=a%20b&stdin=true")
            .header("host", "localhost")
            .header("connection", "Upgrade")
            .header("upgrade", "SPDY/3.1")
            .header("authorization", "Bearer admin-token");
    let mut response = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
    assert_eq!(response.status(), 101, "{:?}", response.body_mut().collect().await);
    assert_eq!(response.headers()["upgrade"], "SPDY/3.1");
    let mut stream = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    let talk = async {
        stream.write_all(b"ping").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut all = String::new();
        stream.read_to_string(&mut all).await.unwrap();
        all
    };
    let all = tokio::time::timeout(PATIENCE, talk).await.expect("both halves end in time");
    assert_eq!(all, "/exec/default/p/d?input=1&command=echo&command=a%20bping");
}
