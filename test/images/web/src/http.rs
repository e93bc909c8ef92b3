//! As much HTTP/1.1 as a test needs: one request a connection.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// The longest head and the longest body that are read.
const HEAD_MAX: usize = 64 << 10;
const BODY_MAX: usize = 16 << 20;

pub struct Request {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

pub struct Response {
    pub code: u16,
    pub body: String,
}

impl Response {
    pub fn ok(body: impl Into<String>) -> Self {
        Self { code: 200, body: body.into() }
    }

    pub fn write(&self, to: &mut impl Write) -> std::io::Result<()> {
        let head = format!(
            "HTTP/1.1 {} {}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            self.code,
            if self.code < 400 { "OK" } else { "Error" },
            self.body.len()
        );
        to.write_all(head.as_bytes())?;
        to.write_all(self.body.as_bytes())?;
        to.flush()
    }
}

/// Reads one request; `None` if the peer closed without sending one. HTTP/2's preface comes back as method `PRI`, with
/// what followed it left unread.
pub fn read_request(from: &mut impl Read) -> std::io::Result<Option<Request>> {
    let Some(head) = read_head(from)? else { return Ok(None) };
    let (method, target, headers) = parse_head(&head).ok_or(std::io::ErrorKind::InvalidData)?;
    let mut request = Request { method, target, headers, body: Vec::new() };
    let length = request.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|(_, value)| value.parse::<usize>().ok()).unwrap_or(0).min(BODY_MAX);
    request.body.resize(length, 0);
    from.read_exact(&mut request.body)?;
    Ok(Some(request))
}

/// Reads up to the empty line, byte by byte so that nothing behind it is taken.
fn read_head(from: &mut impl Read) -> std::io::Result<Option<String>> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if from.read(&mut byte)? == 0 {
            return if head.is_empty() { Ok(None) } else { Err(std::io::ErrorKind::UnexpectedEof.into()) };
        }
        head.push(byte[0]);
        if head.len() > HEAD_MAX {
            return Err(std::io::ErrorKind::InvalidData.into());
        }
    }
    Ok(Some(String::from_utf8_lossy(&head).into_owned()))
}

type Head = (String, String, Vec<(String, String)>);

fn parse_head(head: &str) -> Option<Head> {
    let mut lines = head.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers = lines.filter_map(|line| line.split_once(':'));
    Some((method, target, headers.map(|(n, v)| (n.to_owned(), v.trim().to_owned())).collect()))
}

/// GETs an `http://` URL: status code and body.
pub fn fetch(url: &str) -> Result<(u16, String), String> {
    let rest = url.strip_prefix("http://").ok_or_else(|| format!("not an http:// URL: {url:?}"))?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let address = if authority.contains(':') { authority.to_owned() } else { format!("{authority}:80") };
    let failed = |error: std::io::Error| format!("{url}: {error}");
    let address = std::net::ToSocketAddrs::to_socket_addrs(&address).map_err(failed)?.next();
    let address = address.ok_or_else(|| format!("{url}: no address"))?;
    let mut connection = TcpStream::connect_timeout(&address, Duration::from_secs(5)).map_err(failed)?;
    connection.set_read_timeout(Some(Duration::from_secs(10))).map_err(failed)?;
    let request = format!("GET /{path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).map_err(failed)?;
    let mut answer = Vec::new();
    connection.take((HEAD_MAX + BODY_MAX) as u64).read_to_end(&mut answer).map_err(failed)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| format!("{url}: not an HTTP answer"))?;
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Ok((code.ok_or_else(|| format!("{url}: not an HTTP answer"))?, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_requests() {
        let text = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
        let request = read_request(&mut text.as_bytes()).unwrap().unwrap();
        assert_eq!((&*request.method, &*request.target, &*request.body), ("POST", "/echo", &b"hi"[..]));
        assert!(read_request(&mut "".as_bytes()).unwrap().is_none());
        assert!(read_request(&mut "GET / HTTP/1.1\r\nHo".as_bytes()).is_err());
        let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        assert_eq!(read_request(&mut preface.as_bytes()).unwrap().unwrap().method, "PRI");
    }
}
