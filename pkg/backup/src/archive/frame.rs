//! Frames, and the checksum over all of them.

use std::io::{self, Read, Write};

use sha2::{Digest, Sha256};

use super::ArchiveError;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Header,
    Keys,
    Records,
    End,
}

const KINDS: [(Kind, u8); 4] = [(Kind::Header, 1), (Kind::Keys, 2), (Kind::Records, 3), (Kind::End, 4)];
/// Kind, length, stored length, checksum.
const HEAD: usize = 13;
/// No frame is larger: a record is at most a few megabytes.
const BYTES_MAX: usize = 64 << 20;
/// The fastest: what is stored is text that repeats itself.
const LEVEL: i32 = 1;

/// Writes frames.
pub(super) struct Frames<W> {
    output: W,
    hasher: Sha256,
}

impl<W: Write> Frames<W> {
    pub(super) fn new(output: W) -> Self {
        Self { output, hasher: Sha256::new() }
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.output.write_all(bytes)
    }

    pub(super) fn push(&mut self, kind: Kind, contents: &[u8]) -> io::Result<()> {
        let stored = zstd::bulk::compress(contents, LEVEL)?;
        if contents.len() > BYTES_MAX || stored.len() > BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "an object is too large for a snapshot"));
        }
        let number = KINDS.iter().find(|(known, _)| *known == kind).map_or(0, |(_, number)| *number);
        let mut head = vec![number];
        head.extend((contents.len() as u32).to_le_bytes());
        head.extend((stored.len() as u32).to_le_bytes());
        head.extend(checksum(&head, &stored).to_le_bytes());
        self.raw(&head)?;
        self.raw(&stored)
    }

    /// The checksum of all that was written.
    pub(super) fn sha256(&self) -> String {
        hex(&self.hasher)
    }
}

fn checksum(head: &[u8], stored: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(head);
    hasher.update(stored);
    hasher.finalize()
}

fn hex(hasher: &Sha256) -> String {
    hasher.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A frame that was read.
pub(super) struct Frame {
    pub(super) kind: Kind,
    pub(super) contents: Vec<u8>,
    /// Where it begins.
    pub(super) offset: u64,
    /// The checksum of all bytes before it.
    pub(super) sha256_before: String,
}

impl Frame {
    pub(super) fn damaged(&self, detail: impl ToString) -> ArchiveError {
        ArchiveError::Damaged { offset: self.offset, detail: detail.to_string() }
    }
}

/// Reads frames.
pub(super) struct Reader<R> {
    input: R,
    offset: u64,
    hasher: Sha256,
}

impl<R: Read> Reader<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, offset: 0, hasher: Sha256::new() }
    }

    /// So many bytes as they are; none when the file ends before them.
    pub(super) fn raw(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        match self.input.read_exact(buffer) {
            Ok(()) => {
                self.hasher.update(&*buffer);
                self.offset += buffer.len() as u64;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) fn next(&mut self) -> Result<Frame, ArchiveError> {
        let offset = self.offset;
        let damaged = |detail: &str| ArchiveError::Damaged { offset, detail: detail.to_owned() };
        let sha256_before = hex(&self.hasher);
        let mut head = [0; HEAD];
        if !self.raw(&mut head)? {
            return Err(damaged("it ends before its end"));
        }
        let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (length, stored_length, expected) = (number(1) as usize, number(5) as usize, number(9));
        if length.max(stored_length) > BYTES_MAX {
            return Err(damaged("no frame is that long"));
        }
        // What a damaged length asks for is not taken before it is there.
        let mut stored = Vec::new();
        let read = self.input.by_ref().take(stored_length as u64).read_to_end(&mut stored)?;
        if read < stored_length {
            return Err(damaged("it ends before its end"));
        }
        self.hasher.update(&stored);
        self.offset += read as u64;
        if checksum(&head[..HEAD - 4], &stored) != expected {
            return Err(damaged("its checksum does not match"));
        }
        let kind = KINDS.iter().find(|(_, known)| *known == head[0]).ok_or_else(|| damaged("an unknown frame"))?.0;
        let contents = zstd::bulk::decompress(&stored, length).map_err(|error| damaged(&error.to_string()))?;
        if contents.len() != length {
            return Err(damaged("it unpacks to another length"));
        }
        Ok(Frame { kind, contents, offset, sha256_before })
    }

    /// Fails if anything is behind the last frame.
    pub(super) fn end(mut self) -> Result<(), ArchiveError> {
        let offset = self.offset;
        match self.raw(&mut [0])? {
            true => Err(ArchiveError::Damaged { offset, detail: "it goes on behind its end".to_owned() }),
            false => Ok(()),
        }
    }
}
