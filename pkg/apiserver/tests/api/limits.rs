//! Bounds, seen by raw clients: what is too long, too much, too slow or too many is refused or cut off.

use std::time::{Duration, Instant};

use apiserver::Bounds;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::network::connect;
use crate::support::{Api, MAPS, PATIENCE, config_map};

/// A server within these bounds; answers its port.
pub async fn serve(api: &Api, bounds: Bounds) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = api.server.clone();
    tokio::spawn(async move { server.serve_within(listener, bounds).await });
    port
}

/// What comes until the server closes.
async fn rest(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut all = Vec::new();
    // An end without a goodbye is one, too.
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut all)).await.expect("an end in time");
    String::from_utf8_lossy(&all).into_owned()
}

#[tokio::test]
async fn a_head_that_does_not_end_is_waited_for_only_so_long() {
    let api = Api::start().await;
    let port = serve(&api, Bounds { head: Duration::from_millis(200), ..Bounds::default() }).await;
    for text in ["", "GET /version HTTP/1.1\r\nhost: x\r\n"] {
        let mut stream = connect(&api, port, b"http/1.1", true).await;
        stream.write_all(text.as_bytes()).await.unwrap();
        let started = Instant::now();
        assert!(!rest(&mut stream).await.contains("200 OK"));
        assert!(started.elapsed() >= Duration::from_millis(150), "{text:?}");
    }
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_given_up() {
    let api = Api::start().await;
    let port = serve(&api, Bounds { handshake: Duration::from_millis(100), ..Bounds::default() }).await;
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(&[0x16, 0x03, 0x01]).await.unwrap();
    assert_eq!(rest(&mut stream).await, "");
}

#[tokio::test]
async fn connections_beyond_the_bound_are_closed_and_free_places_are_used() {
    let api = Api::start().await;
    let port = serve(&api, Bounds { connections_max: 2, ..Bounds::default() }).await;
    let first = connect(&api, port, b"http/1.1", true).await;
    let _second = connect(&api, port, b"http/1.1", true).await;
    let mut third = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    assert_eq!(rest(&mut third).await, "");
    drop(first);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut again = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let mut byte = [0];
        let closed = tokio::time::timeout(Duration::from_millis(100), again.read(&mut byte)).await;
        if closed.is_err() {
            break;
        }
        assert!(Instant::now() < deadline, "the place of the first is free");
    }
}

#[tokio::test]
async fn idle_connections_are_closed_and_those_with_a_watch_are_not() {
    let api = Api::start().await;
    let port = serve(&api, Bounds { idle: Duration::from_millis(200), ..Bounds::default() }).await;
    let stream = connect(&api, port, b"h2", true).await;
    let (mut h2, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let ended = tokio::spawn(connection);
    let get = |path: &str| http::Request::get(format!("https://localhost{path}")).body(Empty::<bytes::Bytes>::new());
    let watch = h2.send_request(get(&format!("{MAPS}?watch=1&timeoutSeconds=1")).unwrap()).await.unwrap();
    let started = Instant::now();
    watch.into_body().collect().await.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(700), "the watch had its time");
    tokio::time::timeout(PATIENCE, ended).await.expect("an end in time").unwrap().unwrap();
}

#[tokio::test]
async fn a_body_that_does_not_come_costs_the_request_its_time() {
    let api = Api::start().await;
    let port = serve(&api, Bounds::default()).await;
    let mut stream = connect(&api, port, b"http/1.1", true).await;
    let head = format!("POST {MAPS}?timeout=300ms HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{{");
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    assert!(answer.contains("Timeout: request did not complete within the allotted timeout"), "{answer}");
}

#[tokio::test]
async fn a_body_that_comes_byte_by_byte_gets_no_more_time() {
    let api = Api::start().await;
    let port = serve(&api, Bounds::default()).await;
    let stream = connect(&api, port, b"h2", true).await;
    let (mut h2, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let trickle = futures::stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let byte = http_body::Frame::data(bytes::Bytes::from_static(b" "));
        Some((Ok::<_, std::convert::Infallible>(byte), ()))
    });
    let body = http_body_util::StreamBody::new(Box::pin(trickle));
    let request = http::Request::post(format!("https://localhost{MAPS}?timeout=300ms")).body(body).unwrap();
    let started = Instant::now();
    let answer = tokio::time::timeout(PATIENCE, h2.send_request(request)).await.expect("an answer in time").unwrap();
    assert_eq!(answer.status(), 504);
    assert!(started.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_by_what_it_says_or_by_what_it_is() {
    let api = Api::start().await;
    let port = serve(&api, Bounds::default()).await;
    let mut stream = connect(&api, port, b"http/1.1", true).await;
    let head = format!("POST {MAPS} HTTP/1.1\r\nhost: x\r\ncontent-length: 4000000\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 1024];
    let length = tokio::time::timeout(PATIENCE, stream.read(&mut answer)).await.unwrap().unwrap();
    let answer = String::from_utf8_lossy(&answer[..length]);
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    let huge = Full::from(vec![b' '; (3 << 20) + 1]);
    let body = http_body_util::StreamBody::new(futures_stream(huge));
    let request = api.request("POST", MAPS).header("content-type", "application/json").body(body).unwrap();
    let mut service = api.server.service();
    let response = tower::Service::call(&mut service, request).await.unwrap();
    assert_eq!(response.status(), 413);
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let status: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(status["message"], "Request entity too large: limit is 3145728");
    assert_eq!(status["reason"], "RequestEntityTooLarge");
}

/// The body in small frames, without saying how long it is.
fn futures_stream(
    body: Full<bytes::Bytes>,
) -> impl futures::Stream<Item = Result<http_body::Frame<bytes::Bytes>, std::convert::Infallible>> {
    use futures::{StreamExt as _, stream};
    let whole = async move { body.collect().await.unwrap_or_else(|never| match never {}).to_bytes() };
    stream::once(whole).flat_map(|bytes| {
        let pieces: Vec<_> = bytes.chunks(64 << 10).map(bytes::Bytes::copy_from_slice).collect();
        stream::iter(pieces.into_iter().map(|piece| Ok(http_body::Frame::data(piece))))
    })
}

#[tokio::test]
async fn heads_that_are_too_large_are_refused() {
    let api = Api::start().await;
    let port = serve(&api, Bounds::default()).await;
    let mut stream = connect(&api, port, b"http/1.1", true).await;
    let head = format!("GET /version HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n", "x".repeat(1 << 20));
    let _ = stream.write_all(head.as_bytes()).await;
    assert!(!rest(&mut stream).await.contains("200 OK"));
    let stream = connect(&api, port, b"h2", true).await;
    let (mut h2, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    for (length, code) in [(32 << 10, 200), (100 << 10, 431)] {
        let request = http::Request::get("https://localhost/version").header("x-long", "x".repeat(length));
        let answer = h2.send_request(request.body(Empty::<bytes::Bytes>::new()).unwrap()).await;
        assert_eq!(answer.map(|answer| answer.status().as_u16()).unwrap_or(431), code, "{length}");
    }
}

#[tokio::test]
async fn who_takes_nothing_is_cut_off() {
    let api = Api::start().await;
    let filler = "x".repeat(500_000);
    for index in 0..24 {
        api.post(MAPS, &config_map(&format!("m{index}"), &filler)).await.expect(201);
    }
    let bounds = Bounds { stall: Duration::from_millis(300), ..Bounds::default() };
    let port = serve(&api, bounds).await;
    // The socket stands still.
    let mut stream = connect(&api, port, b"http/1.1", true).await;
    let head = format!("GET {MAPS} HTTP/1.1\r\nhost: x\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let taken = rest(&mut stream).await.len();
    assert!(taken < 24 * filler.len(), "{taken}");
    // One stream stands still while the connection goes on.
    let stream = connect(&api, port, b"h2", true).await;
    let (mut h2, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(64 << 10)
        .handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let get = |path: &str| http::Request::get(format!("https://localhost{path}")).body(Empty::<bytes::Bytes>::new());
    let stalled = h2.send_request(get(MAPS).unwrap()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let other = h2.send_request(get("/version").unwrap()).await.unwrap();
    assert_eq!(other.status(), 200);
    let outcome = tokio::time::timeout(PATIENCE, stalled.into_body().collect()).await.expect("an end in time");
    assert!(outcome.is_err(), "the rest was let go");
}

#[tokio::test]
async fn the_timeout_parameter_is_read_as_upstream_reads_it() {
    let api = Api::start().await;
    let text = api.get("/version?timeout=soon").await.refused(400);
    assert_eq!(text, r#"invalid timeout specified in the request URL - time: invalid duration "soon""#);
    assert_eq!(api.get("/version?timeout=5s").await.code, 200);
    assert_eq!(api.get(&format!("{MAPS}?timeout=0")).await.code, 200);
    let patch = json!(vec![json!({ "op": "test", "path": "/kind", "value": "ConfigMap" }); 10_001]);
    api.post(MAPS, &config_map("a", "1")).await.expect(201);
    let path = format!("{MAPS}/a");
    let refused = api.send_bytes("PATCH", &path, "application/json-patch+json", patch.to_string()).await;
    let want = "Request entity too large: The allowed maximum operations in a JSON patch is 10000, got 10001";
    assert_eq!(refused.refused(413), want);
}

/// A frame of HTTP/2.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Kind and payload of the frames in `bytes`.
fn frames(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut all = Vec::new();
    while let Some((head, rest)) = bytes.split_at_checked(9) {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let Some((payload, rest)) = rest.split_at_checked(length) else { break };
        all.push((head[3], payload.to_vec()));
        bytes = rest;
    }
    all
}

/// Asks over a connection of its own.
pub async fn others_are_served(api: &Api, port: u16) {
    let stream = connect(api, port, b"h2", true).await;
    let (mut h2, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::get("https://localhost/version").body(Empty::<bytes::Bytes>::new()).unwrap();
    assert_eq!(h2.send_request(request).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_flood_of_streams_that_are_reset_ends_the_connection() {
    let [setting_frame, header_frame, reset_frame, goaway_frame] = [4_u8, 1, 3, 7];
    let api = Api::start().await;
    let port = serve(&api, Bounds::default()).await;
    let mut stream = connect(&api, port, b"h2", true).await;
    let mut flood = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    flood.extend(frame(setting_frame, 0, 0, &[]));
    // GET https://x/ in the static table's words.
    let head = [0x82, 0x87, 0x84, 0x41, 0x01, b'x'];
    for stream in (1..4000).step_by(2) {
        flood.extend(frame(header_frame, 0x5, stream, &head));
        flood.extend(frame(reset_frame, 0, stream, &8_u32.to_be_bytes()));
    }
    // The server may close while we still write.
    let _ = stream.write_all(&flood).await;
    let mut all = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut all)).await.expect("an end in time");
    let frames = frames(&all);
    let settings: Vec<(u16, u32)> = frames
        .iter()
        .filter(|(kind, payload)| *kind == setting_frame && !payload.is_empty())
        .flat_map(|(_, payload)| payload.chunks_exact(6))
        .map(|entry| {
            let number = u16::from_be_bytes([entry[0], entry[1]]);
            (number, u32::from_be_bytes([entry[2], entry[3], entry[4], entry[5]]))
        })
        .collect();
    let (streams, headers) = (3, 6);
    assert!(settings.contains(&(streams, 1000)), "{settings:?}");
    assert!(settings.contains(&(headers, 64 << 10)), "{settings:?}");
    let goodbye = frames.iter().find(|(kind, _)| *kind == goaway_frame).expect("the server says why");
    assert_eq!(goodbye.1[4..8], 11_u32.to_be_bytes(), "ENHANCE_YOUR_CALM");
    others_are_served(&api, port).await;
}
