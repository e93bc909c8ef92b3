//! Floods of HTTP/2 frames, by clients that read nothing: the server takes only so much of them, then lets go.

use std::time::Duration;

use apiserver::Bounds;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::limits::{frame, others_are_served, serve};
use crate::network::connect;
use crate::support::{Api, MAPS, PATIENCE};

/// What the buffers of both sockets and of the server may hold together.
const TAKEN_MAX: usize = 32 << 20;
const PIECE: usize = 64 << 10;

const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

/// A header field, without compression.
fn field(name: &str, value: &str) -> Vec<u8> {
    let mut out = vec![0, name.len() as u8];
    out.extend(name.as_bytes());
    out.push(value.len() as u8);
    out.extend(value.as_bytes());
    out
}

/// The head of a POST whose body is to follow.
fn post() -> Vec<u8> {
    [field(":method", "POST"), field(":scheme", "https"), field(":path", MAPS), field(":authority", "localhost")]
        .concat()
}

/// A flood: what is sent once, and what is sent again and again (by its number).
type Flood = (&'static str, fn() -> Vec<u8>, fn(u32) -> Vec<u8>);

const FLOODS: [Flood; 5] = [
    ("pings", Vec::new, |_| frame(PING, 0, 0, b"12345678")),
    ("settings", Vec::new, |_| frame(SETTINGS, 0, 0, &[])),
    ("window updates", Vec::new, |_| frame(WINDOW_UPDATE, 0, 1, &0_u32.to_be_bytes())),
    ("heads without bodies", Vec::new, |n| frame(HEADERS, 4, n * 2 + 1, &post())),
    (
        "a head without end",
        || frame(HEADERS, 0, 1, &post()),
        |_| frame(CONTINUATION, 0, 1, &field("x-more", &"x".repeat(100)).repeat(100)),
    ),
];

#[tokio::test]
async fn floods_of_frames_are_taken_up_to_a_bound_and_end_the_connection() {
    let api = Api::start().await;
    let bounds = Bounds { stall: Duration::from_millis(500), ..Bounds::default() };
    let port = serve(&api, bounds).await;
    for (name, prelude, piece) in FLOODS {
        let mut stream = connect(&api, port, b"h2", true).await;
        let mut out = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        out.extend(frame(SETTINGS, 0, 0, &[]));
        out.extend(prelude());
        let (mut number, mut taken) = (0, 0);
        loop {
            while out.len() < PIECE {
                out.extend(piece(number));
                number += 1;
            }
            let written = tokio::time::timeout(PATIENCE, stream.write_all(&out)).await;
            if written.unwrap_or_else(|_| panic!("{name}: an end in time")).is_err() {
                break;
            }
            taken += out.len();
            assert!(taken < TAKEN_MAX, "{name}: {taken} bytes were taken");
            out.clear();
        }
        // What was said before the end is of no matter, but it is the end.
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await.expect("an end in time");
    }
    others_are_served(&api, port).await;
}
