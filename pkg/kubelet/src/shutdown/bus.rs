//! As much of D-Bus as logind takes: calls with a few arguments, their answers, signals, and file descriptors. Blocking.
//!
//! The format is that of the D-Bus specification, little-endian.

use std::collections::VecDeque;
use std::io::{self, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

/// What we are sent is far smaller.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
const LINE_BYTES_MAX: usize = 1024;
/// Signals that come while an answer is waited for.
const SIGNALS_MAX: usize = 64;

pub const CALL: u8 = 1;
pub const RETURN: u8 = 2;
pub const ERROR: u8 = 3;
pub const SIGNAL: u8 = 4;

#[derive(Debug, thiserror::Error)]
pub enum BusError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the bus does not let us in: {0}")]
    Refused(String),
    #[error("{name}: {message}")]
    Answer { name: String, message: String },
    #[error("the bus sent something that is no message")]
    Malformed,
}

/// One message. Empty texts are left out of it.
#[derive(Debug, Default)]
pub struct Message {
    pub kind: u8,
    /// For whoever answers.
    #[allow(dead_code)]
    pub serial: u32,
    pub reply_to: u32,
    pub path: String,
    pub interface: String,
    pub member: String,
    pub error: String,
    pub destination: String,
    pub sender: String,
    pub signature: String,
    pub body: Vec<u8>,
    pub fds: Vec<OwnedFd>,
}

/// An argument of a call.
pub enum Argument<'a> {
    Text(&'a str),
    Int(i32),
}

impl Message {
    /// A call of `destination`'s method.
    pub fn call(destination: &str, path: &str, interface: &str, member: &str) -> Self {
        Self {
            kind: CALL,
            destination: destination.to_owned(),
            path: path.to_owned(),
            interface: interface.to_owned(),
            member: member.to_owned(),
            ..Self::default()
        }
    }

    #[must_use]
    pub fn with(mut self, argument: &Argument<'_>) -> Self {
        match argument {
            Argument::Text(text) => {
                put_text(&mut self.body, text);
                self.signature.push('s');
            }
            Argument::Int(number) => {
                put_u32(&mut self.body, number.cast_unsigned());
                self.signature.push('i');
            }
        }
        self
    }

    pub fn encode(&self, serial: u32) -> Vec<u8> {
        let mut fields = Vec::new();
        let texts = [
            (1, 'o', &self.path),
            (2, 's', &self.interface),
            (3, 's', &self.member),
            (4, 's', &self.error),
            (6, 's', &self.destination),
            (8, 'g', &self.signature),
        ];
        for (code, kind, text) in texts.into_iter().filter(|(_, _, text)| !text.is_empty()) {
            begin_field(&mut fields, code, kind);
            if kind == 'g' { put_signature(&mut fields, text) } else { put_text(&mut fields, text) }
        }
        for (code, number) in [(5, self.reply_to), (9, u32::try_from(self.fds.len()).unwrap_or(0))] {
            if number != 0 {
                begin_field(&mut fields, code, 'u');
                put_u32(&mut fields, number);
            }
        }
        let mut out = vec![b'l', self.kind, 0, 1];
        put_u32(&mut out, u32::try_from(self.body.len()).unwrap_or(u32::MAX));
        put_u32(&mut out, serial);
        put_u32(&mut out, u32::try_from(fields.len()).unwrap_or(u32::MAX));
        out.extend(fields);
        pad(&mut out, 8);
        out.extend(&self.body);
        out
    }

    /// `bytes` is the whole message; answers it, and how many descriptors belong to it.
    fn decode(bytes: &[u8]) -> Option<(Self, usize)> {
        let fields_length = u32_at(bytes, 12)? as usize;
        let mut message = Self { kind: *bytes.get(1)?, serial: u32_at(bytes, 8)?, ..Self::default() };
        let (mut fields, mut fds) = (Reader { bytes: bytes.get(..16 + fields_length)?, at: 16 }, 0);
        while fields.at < fields.bytes.len() {
            fields.align(8);
            let code = fields.byte()?;
            let kind = fields.signature()?;
            match kind.as_str() {
                "u" => match (code, fields.u32()?) {
                    (5, serial) => message.reply_to = serial,
                    (9, count) => fds = count as usize,
                    _ => {}
                },
                "s" | "o" | "g" => {
                    let text = if kind == "g" { fields.signature()? } else { fields.text()? };
                    match code {
                        1 => message.path = text,
                        2 => message.interface = text,
                        3 => message.member = text,
                        4 => message.error = text,
                        6 => message.destination = text,
                        7 => message.sender = text,
                        8 => message.signature = text,
                        _ => {}
                    }
                }
                // A field that is newer than this would be of a form that cannot be skipped.
                _ => return None,
            }
        }
        message.body = bytes.get((16 + fields_length).next_multiple_of(8)..)?.to_vec();
        Some((message, fds))
    }

    pub fn reader(&self) -> Reader<'_> {
        Reader { bytes: &self.body, at: 0 }
    }
}

fn pad(out: &mut Vec<u8>, to: usize) {
    out.resize(out.len().next_multiple_of(to), 0);
}

fn put_u32(out: &mut Vec<u8>, number: u32) {
    pad(out, 4);
    out.extend(number.to_le_bytes());
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_u32(out, u32::try_from(text.len()).unwrap_or(u32::MAX));
    out.extend(text.as_bytes());
    out.push(0);
}

fn put_signature(out: &mut Vec<u8>, text: &str) {
    out.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    out.extend(text.as_bytes());
    out.push(0);
}

fn begin_field(out: &mut Vec<u8>, code: u8, kind: char) {
    pad(out, 8);
    out.push(code);
    put_signature(out, &kind.to_string());
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Reads values one after the other.
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn byte(&mut self) -> Option<u8> {
        self.at += 1;
        self.bytes.get(self.at - 1).copied()
    }

    pub fn u32(&mut self) -> Option<u32> {
        self.align(4);
        self.at += 4;
        u32_at(self.bytes, self.at - 4)
    }

    pub fn u64(&mut self) -> Option<u64> {
        self.align(8);
        self.at += 8;
        Some(u64::from_le_bytes(self.bytes.get(self.at - 8..self.at)?.try_into().ok()?))
    }

    fn exactly(&mut self, length: usize) -> Option<String> {
        let text = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        // The text is followed by a zero.
        self.at += length + 1;
        String::from_utf8(text.to_vec()).ok()
    }

    pub fn text(&mut self) -> Option<String> {
        let length = self.u32()? as usize;
        self.exactly(length)
    }

    pub fn signature(&mut self) -> Option<String> {
        let length = usize::from(self.byte()?);
        self.exactly(length)
    }
}

/// A connection that has said hello.
pub struct Bus {
    stream: UnixStream,
    serial: u32,
    fds: VecDeque<OwnedFd>,
    signals: VecDeque<Message>,
}

impl Bus {
    pub fn connect(socket: &Path) -> Result<Self, BusError> {
        let stream = UnixStream::connect(socket)?;
        let mut bus = Self { stream, serial: 0, fds: VecDeque::new(), signals: VecDeque::new() };
        let uid = rustix::process::geteuid().as_raw().to_string();
        let hex: String = uid.bytes().map(|byte| format!("{byte:02x}")).collect();
        bus.say(&format!("\0AUTH EXTERNAL {hex}\r\n"), Some("OK"))?;
        bus.say("NEGOTIATE_UNIX_FD\r\n", Some("AGREE_UNIX_FD"))?;
        bus.say("BEGIN\r\n", None)?;
        let hello = Message::call("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "Hello");
        bus.ask(&hello)?;
        Ok(bus)
    }

    /// With which another thread can end what this one waits for.
    pub fn stream(&self) -> io::Result<UnixStream> {
        self.stream.try_clone()
    }

    fn say(&mut self, line: &str, expected: Option<&str>) -> Result<(), BusError> {
        self.stream.write_all(line.as_bytes())?;
        let Some(expected) = expected else { return Ok(()) };
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n") && answer.len() < LINE_BYTES_MAX {
            let mut byte = [0];
            self.stream.read_exact(&mut byte)?;
            answer.extend(byte);
        }
        let answer = String::from_utf8_lossy(&answer).trim().to_owned();
        if answer.starts_with(expected) { Ok(()) } else { Err(BusError::Refused(answer)) }
    }

    pub fn send(&mut self, message: &Message) -> Result<u32, BusError> {
        self.serial += 1;
        self.stream.write_all(&message.encode(self.serial))?;
        Ok(self.serial)
    }

    /// Calls and waits for the answer.
    pub fn ask(&mut self, call: &Message) -> Result<Message, BusError> {
        let serial = self.send(call)?;
        loop {
            let message = self.receive()?;
            match message.kind {
                RETURN if message.reply_to == serial => return Ok(message),
                ERROR if message.reply_to == serial => {
                    let text = message.reader().text().unwrap_or_default();
                    return Err(BusError::Answer { name: message.error, message: text });
                }
                SIGNAL if self.signals.len() < SIGNALS_MAX => self.signals.push_back(message),
                _ => {}
            }
        }
    }

    /// The next signal; waits for it.
    pub fn signal(&mut self) -> Result<Message, BusError> {
        if let Some(signal) = self.signals.pop_front() {
            return Ok(signal);
        }
        loop {
            let message = self.receive()?;
            if message.kind == SIGNAL {
                return Ok(message);
            }
        }
    }

    /// The next message of any kind.
    pub fn receive(&mut self) -> Result<Message, BusError> {
        let mut bytes = vec![0; 16];
        self.fill(&mut bytes)?;
        if bytes.first() != Some(&b'l') {
            return Err(BusError::Malformed);
        }
        let (Some(body), Some(fields)) = (u32_at(&bytes, 4), u32_at(&bytes, 12)) else {
            return Err(BusError::Malformed);
        };
        let total = (16 + fields as usize).next_multiple_of(8) + body as usize;
        if total > MESSAGE_BYTES_MAX {
            return Err(BusError::Malformed);
        }
        bytes.resize(total, 0);
        self.fill(&mut bytes[16..])?;
        let (mut message, fds) = Message::decode(&bytes).ok_or(BusError::Malformed)?;
        message.fds = self.fds.drain(..fds.min(self.fds.len())).collect();
        Ok(message)
    }

    /// Reads all of `bytes`; descriptors that come along are kept.
    fn fill(&mut self, mut bytes: &mut [u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let got = recvmsg(&self.stream, &mut [IoSliceMut::new(bytes)], &mut control, RecvFlags::CMSG_CLOEXEC);
            let got = match got {
                Err(rustix::io::Errno::INTR) => continue,
                got => got?.bytes,
            };
            for part in control.drain() {
                if let RecvAncillaryMessage::ScmRights(rights) = part {
                    self.fds.extend(rights);
                }
            }
            if got == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            bytes = &mut bytes[got..];
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_as_it_was_written() {
        let sent = Message::call("a.b", "/a", "a.I", "Do").with(&Argument::Text("x")).with(&Argument::Int(-1));
        let (read, fds) = Message::decode(&sent.encode(7)).expect("a message");
        assert_eq!((read.kind, read.serial, fds), (CALL, 7, 0));
        assert_eq!((read.path.as_str(), read.interface.as_str(), read.member.as_str()), ("/a", "a.I", "Do"));
        assert_eq!((read.destination.as_str(), read.signature.as_str()), ("a.b", "si"));
        let mut body = read.reader();
        assert_eq!((body.text().as_deref(), body.u32()), (Some("x"), Some(u32::MAX)));
        assert_eq!(body.u32(), None, "the end");
    }

    #[test]
    fn what_is_cut_short_is_no_message() {
        let bytes = Message::call("a.b", "/a", "a.I", "Do").with(&Argument::Text("text")).encode(1);
        let fields = 16 + u32_at(&bytes, 12).expect("a length") as usize;
        for length in 0..fields {
            assert!(Message::decode(&bytes[..length]).is_none(), "{length} bytes");
        }
        let mut wild = bytes.clone();
        wild[16 + 4] = 0xff;
        // Nothing panics, whatever it is taken for.
        let _ = Message::decode(&wild);
    }
}
