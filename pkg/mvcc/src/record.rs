use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::codec::{Malformed, Reader, put_bytes};
use crate::{Digest, Revision};

/// One version of one key. Immutable, shared by the live state, snapshots, the change ring and every reader.
pub struct Record {
    /// Key, attributes and body in one allocation.
    buffer: Bytes,
    key_length: u32,
    attributes_length: u32,
    /// Offset in the body of the text of `mod_revision`.
    stamp_at: u32,
    body: Bytes,
    create_revision: Revision,
    mod_revision: Revision,
    digest: Digest,
    extension: OnceLock<Box<dyn Any + Send + Sync>>,
}

/// What a body looks like before its revision is known.
pub(crate) struct Parts<'a> {
    pub key: &'a [u8],
    pub attributes: &'a [u8],
    pub head: &'a [u8],
    pub tail: &'a [u8],
}

impl Record {
    pub(crate) fn stamped(parts: Parts<'_>, create_revision: Revision, mod_revision: Revision) -> Self {
        let Parts { key, attributes, head, tail } = parts;
        let mut digits = DecimalText::default();
        let stamp = digits.write(mod_revision.get());
        let start = key.len() + attributes.len();
        let mut buffer = Vec::with_capacity(start + head.len() + stamp.len() + tail.len());
        for part in [key, attributes, head, stamp, tail] {
            buffer.extend_from_slice(part);
        }
        let buffer = Bytes::from(buffer);
        let mut record = Self {
            body: buffer.slice(start..),
            buffer,
            key_length: key.len() as u32,
            attributes_length: attributes.len() as u32,
            stamp_at: head.len() as u32,
            create_revision,
            mod_revision,
            digest: Digest::default(),
            extension: OnceLock::new(),
        };
        record.digest = record.digest_now();
        record
    }

    fn digest_now(&self) -> Digest {
        let lengths = u64::from(self.key_length) << 32 | u64::from(self.attributes_length);
        let stamp_and_creation = u64::from(self.stamp_at).rotate_left(32) ^ self.create_revision.get();
        Digest::of([lengths, stamp_and_creation, self.mod_revision.get()], &self.buffer)
    }

    /// The hash of all that the record is, made when it was written.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Whether the record still is what it was when it was written: memory may fail.
    pub fn is_intact(&self) -> bool {
        self.digest_now() == self.digest
    }

    /// The same object carrying another revision: what a deletion shows.
    pub fn restamped(&self, revision: Revision) -> Self {
        let (head, rest) = self.body.split_at(self.stamp_at as usize);
        let old = DecimalText::default().write(self.mod_revision.get()).len();
        let parts = Parts { key: self.key(), attributes: self.attributes(), head, tail: &rest[old..] };
        Self::stamped(parts, self.create_revision, revision)
    }

    /// The key.
    pub fn key(&self) -> &[u8] {
        &self.buffer[..self.key_length as usize]
    }

    /// The key, sharing the record's memory.
    pub fn key_bytes(&self) -> Bytes {
        self.buffer.slice(..self.key_length as usize)
    }

    /// The opaque attributes that were written with the body.
    pub fn attributes(&self) -> &[u8] {
        &self.buffer[self.key_length as usize..(self.key_length + self.attributes_length) as usize]
    }

    /// The body, stamped with [`mod_revision`](Self::mod_revision).
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The body before and after its stamp.
    pub fn body_around_stamp(&self) -> (&[u8], &[u8]) {
        let (head, rest) = self.body.split_at(self.stamp_at as usize);
        (head, &rest[DecimalText::default().write(self.mod_revision.get()).len()..])
    }

    /// The revision that created the key's present life.
    pub fn create_revision(&self) -> Revision {
        self.create_revision
    }

    /// The revision that wrote this version (for the record of a deletion: the deletion's).
    pub fn mod_revision(&self) -> Revision {
        self.mod_revision
    }

    /// Memory that this record holds, roughly.
    pub fn weight(&self) -> usize {
        self.buffer.len() + size_of::<Self>()
    }

    /// A slot for what a reader derives from the record and wants made once. All users of a store must agree on `T`;
    /// `None` when another type sits there.
    pub fn extension<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> Option<&T> {
        self.extension.get_or_init(|| Box::new(make())).downcast_ref()
    }

    /// The form that a checkpoint keeps (the key is kept beside it).
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.create_revision.get().to_le_bytes());
        out.extend_from_slice(&self.mod_revision.get().to_le_bytes());
        out.extend_from_slice(&self.stamp_at.to_le_bytes());
        put_bytes(out, self.attributes());
        put_bytes(out, &self.body);
    }

    /// Reads what [`encode`](Self::encode) wrote.
    pub fn decode(key: &[u8], value: Bytes) -> Result<Self, Malformed> {
        let mut reader = Reader(value);
        let create = Revision::new(reader.u64()?);
        let modified = Revision::new(reader.u64()?);
        let stamp_at = reader.u32()? as usize;
        let attributes = reader.bytes()?;
        let body = reader.bytes()?;
        reader.end()?;
        let mut digits = DecimalText::default();
        let stamp = digits.write(modified.get());
        if body.get(stamp_at..stamp_at + stamp.len()) != Some(stamp) {
            return Err(Malformed("a record does not carry its own revision"));
        }
        let (head, tail) = (&body[..stamp_at], &body[stamp_at + stamp.len()..]);
        Ok(Self::stamped(Parts { key, attributes: &attributes, head, tail }, create, modified))
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("key", &String::from_utf8_lossy(self.key()))
            .field("create_revision", &self.create_revision.get())
            .field("mod_revision", &self.mod_revision.get())
            .finish_non_exhaustive()
    }
}

/// What a change did to its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The key was not there before.
    Created,
    /// The key had another value before.
    Updated,
    /// The key is gone.
    Deleted,
}

/// One change. There is exactly one for every revision.
#[derive(Debug)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The new version; for a deletion the last one, stamped with the deletion's revision.
    pub record: Arc<Record>,
    /// The version before, when there was one.
    pub previous: Option<Arc<Record>>,
}

impl Event {
    /// The revision of the change.
    pub fn revision(&self) -> Revision {
        self.record.mod_revision()
    }

    /// The key that changed.
    pub fn key(&self) -> &[u8] {
        self.record.key()
    }

    /// Memory that the event keeps alive, at most.
    pub(crate) fn weight(&self) -> usize {
        self.record.weight() + self.previous.as_ref().map_or(0, |previous| previous.weight()) + size_of::<Self>()
    }
}

/// Decimal digits without an allocation.
#[derive(Default)]
struct DecimalText([u8; 20]);

impl DecimalText {
    fn write(&mut self, mut value: u64) -> &[u8] {
        let mut at = self.0.len();
        loop {
            at -= 1;
            self.0[at] = b'0' + (value % 10) as u8;
            value /= 10;
            if value == 0 {
                return &self.0[at..];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(revision: u64) -> Record {
        let parts = Parts { key: b"/k", attributes: b"attr", head: b"{\"rv\":\"", tail: b"\"}" };
        Record::stamped(parts, Revision::new(3), Revision::new(revision))
    }

    #[test]
    fn a_record_carries_its_revision_and_survives_encoding() {
        let nine = record(9);
        assert_eq!(nine.body(), "{\"rv\":\"9\"}");
        let deleted = nine.restamped(Revision::new(1234));
        assert_eq!(deleted.body(), "{\"rv\":\"1234\"}");
        assert_eq!(deleted.create_revision(), Revision::new(3));

        let mut bytes = Vec::new();
        deleted.encode(&mut bytes);
        let read = Record::decode(b"/k", Bytes::from(bytes.clone())).unwrap();
        assert_eq!(read.body(), deleted.body());
        assert_eq!(read.attributes(), b"attr");
        assert_eq!(read.mod_revision(), Revision::new(1234));
        for cut in 0..bytes.len() {
            assert!(Record::decode(b"/k", Bytes::copy_from_slice(&bytes[..cut])).is_err());
        }
    }

    #[test]
    fn a_record_whose_memory_failed_is_not_intact() {
        let good = record(9);
        assert!(good.is_intact());
        let (key, attributes) = (good.key().to_vec(), good.attributes().to_vec());
        let parts = Parts { key: &key, attributes: &attributes, head: b"{\"rv\":\"", tail: b"\"]" };
        let mut flipped = Record::stamped(parts, Revision::new(3), Revision::new(9));
        flipped.digest = good.digest();
        assert!(!flipped.is_intact());
        assert_ne!(record(10).digest(), good.digest());
        assert_eq!(record(9).digest(), good.digest());
    }

    #[test]
    fn an_extension_is_made_once() {
        let record = record(5);
        assert_eq!(record.extension(|| 1_u32), Some(&1));
        assert_eq!(record.extension(|| 2_u32), Some(&1));
        assert_eq!(record.extension(String::new), None);
    }
}
