//! `grpc.health.v1.Health/Check` over just enough HTTP/2: every request on the connection is taken for a Check, headers
//! are not decoded, and the answer is written in literals, so no HPACK table is needed.

use std::io::{Read, Write};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// Serves a connection whose preface was read up to its first empty line.
pub fn serve<T: Read + Write>(connection: &mut T, ready: impl Fn() -> bool) -> std::io::Result<()> {
    let mut rest = [0; 6]; // "SM\r\n\r\n"
    connection.read_exact(&mut rest)?;
    write_frame(connection, SETTINGS, 0, 0, &[])?;
    loop {
        let mut head = [0; 9];
        connection.read_exact(&mut head)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let (kind, flags) = (head[3], head[4]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
        if length > 1 << 20 {
            return Err(std::io::ErrorKind::InvalidData.into());
        }
        let mut payload = vec![0; length as usize];
        connection.read_exact(&mut payload)?;
        match kind {
            SETTINGS if flags & ACK == 0 => write_frame(connection, SETTINGS, ACK, 0, &[])?,
            PING if flags & ACK == 0 => write_frame(connection, PING, ACK, 0, &payload)?,
            GOAWAY => return Ok(()),
            HEADERS | DATA if flags & END_STREAM != 0 => check(connection, stream, ready())?,
            _ => {}
        }
    }
}

fn check(connection: &mut impl Write, stream: u32, ready: bool) -> std::io::Result<()> {
    let mut head = vec![0x88]; // :status 200
    literal(&mut head, "content-type", "application/grpc");
    write_frame(connection, HEADERS, END_HEADERS, stream, &head)?;
    // One uncompressed message of two bytes: field 1 (status) is SERVING = 1 or NOT_SERVING = 2.
    let message = [0, 0, 0, 0, 2, 0x08, if ready { 1 } else { 2 }];
    write_frame(connection, DATA, 0, stream, &message)?;
    let mut trailers = Vec::new();
    literal(&mut trailers, "grpc-status", "0");
    write_frame(connection, HEADERS, END_HEADERS | END_STREAM, stream, &trailers)
}

fn literal(block: &mut Vec<u8>, name: &str, value: &str) {
    block.push(0); // literal without indexing, new name
    for text in [name, value] {
        block.push(text.len() as u8);
        block.extend_from_slice(text.as_bytes());
    }
}

fn write_frame(to: &mut impl Write, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> std::io::Result<()> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend_from_slice(&[kind, flags]);
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    to.write_all(&frame)?;
    to.flush()
}
