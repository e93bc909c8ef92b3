//! The leanest HTTP/1.1 client that is still one: for loads that share their processors with the server they measure.
//!
//! One kept connection, one request at a time, written and read by the caller's own task. The answer is read whole.

use std::fmt::Write as _;

use anyhow::{Context as _, bail, ensure};
use bytes::{Buf as _, Bytes, BytesMut};
use hyper::{Method, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::http::LIMIT;

/// More headers than this, and the answer counts as broken.
const HEADERS: usize = 64;
/// A larger answer counts as broken.
const LARGEST: usize = 1 << 30;

/// One kept connection.
pub struct Wire {
    stream: TlsStream<TcpStream>,
    /// The header lines of every request, up to the length of its body.
    common: String,
    request: String,
    received: BytesMut,
}

/// How an answer's body ends.
enum Ending {
    After(usize),
    Chunked,
}

impl Wire {
    /// `authorization` is the value of that header, if the server is to see one.
    pub(crate) fn new(stream: TlsStream<TcpStream>, authority: &str, authorization: Option<&str>) -> Self {
        let mut common = format!("Host: {authority}\r\nAccept: application/json\r\nContent-Type: application/json\r\n");
        if let Some(value) = authorization {
            let _ = write!(common, "Authorization: {value}\r\n");
        }
        Self { stream, common, request: String::new(), received: BytesMut::with_capacity(16 << 10) }
    }

    /// Sends, reads the whole answer, and fails unless it is a success.
    pub async fn call(&mut self, method: &Method, path: &str, body: &str) -> anyhow::Result<Bytes> {
        self.request.clear();
        write!(
            self.request,
            "{method} {path} HTTP/1.1\r\n{}Content-Length: {}\r\n\r\n{body}",
            self.common,
            body.len()
        )?;
        let (status, answer) = tokio::time::timeout(LIMIT, self.exchange()).await.context("no answer in time")??;
        ensure!(status.is_success(), "{path}: {status} {}", String::from_utf8_lossy(&answer));
        Ok(answer)
    }

    /// Sends the request that was made, and reads the whole answer, whatever it is.
    async fn exchange(&mut self) -> anyhow::Result<(StatusCode, Bytes)> {
        self.stream.write_all(self.request.as_bytes()).await?;
        self.stream.flush().await?;
        let (status, ending) = self.head().await?;
        let answer = match ending {
            Ending::After(length) => self.take(length).await?,
            Ending::Chunked => self.chunks().await?,
        };
        Ok((status, answer))
    }

    /// Reads up to the body.
    async fn head(&mut self) -> anyhow::Result<(StatusCode, Ending)> {
        loop {
            let mut headers = [httparse::EMPTY_HEADER; HEADERS];
            let mut head = httparse::Response::new(&mut headers);
            if let httparse::Status::Complete(length) = head.parse(&self.received)? {
                let status = StatusCode::from_u16(head.code.unwrap_or_default())?;
                let ending = ending(head.headers)?;
                self.received.advance(length);
                return Ok((status, ending));
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> anyhow::Result<()> {
        ensure!(self.received.len() < LARGEST, "the answer is too large");
        let read = self.stream.read_buf(&mut self.received).await?;
        ensure!(read > 0, "the server closed the connection");
        Ok(())
    }

    async fn take(&mut self, length: usize) -> anyhow::Result<Bytes> {
        while self.received.len() < length {
            self.more().await?;
        }
        Ok(self.received.split_to(length).freeze())
    }

    async fn chunks(&mut self) -> anyhow::Result<Bytes> {
        let mut body = BytesMut::new();
        loop {
            let httparse::Status::Complete((begin, length)) = chunk_size(&self.received)? else {
                self.more().await?;
                continue;
            };
            self.received.advance(begin);
            let length = usize::try_from(length)?;
            ensure!(length < LARGEST, "the answer is too large");
            // The end of the line belongs to the chunk; trailers are not asked for.
            let chunk = self.take(length + 2).await?;
            if length == 0 {
                return Ok(body.freeze());
            }
            body.extend_from_slice(&chunk[..length]);
        }
    }
}

fn chunk_size(received: &[u8]) -> anyhow::Result<httparse::Status<(usize, u64)>> {
    httparse::parse_chunk_size(received).map_err(|_| anyhow::anyhow!("a chunk has no length"))
}

fn ending(headers: &[httparse::Header<'_>]) -> anyhow::Result<Ending> {
    for header in headers {
        if header.name.eq_ignore_ascii_case("content-length") {
            let length = std::str::from_utf8(header.value)?.parse().context("content-length")?;
            ensure!(length < LARGEST, "the answer is too large");
            return Ok(Ending::After(length));
        }
        if header.name.eq_ignore_ascii_case("transfer-encoding") && header.value.eq_ignore_ascii_case(b"chunked") {
            return Ok(Ending::Chunked);
        }
    }
    bail!("the answer does not say where it ends")
}
