use std::sync::Arc;

use bytes::{BufMut, Bytes};

use crate::codec::{Malformed, Reader, put_bytes};
use crate::{Event, EventKind, Record, Revision};

const VERSION: u8 = 1;

/// What must hold for a transaction to be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// The key does not exist.
    Absent {
        /// The key.
        key: Bytes,
    },
    /// The key exists and its newest version is this one.
    Unchanged {
        /// The key.
        key: Bytes,
        /// Its revision.
        revision: Revision,
    },
}

impl Precondition {
    /// That `record` is still the newest version of its key.
    pub fn unchanged(record: &Record) -> Self {
        Self::Unchanged { key: record.key_bytes(), revision: record.mod_revision() }
    }

    pub(crate) fn key(&self) -> &[u8] {
        match self {
            Self::Absent { key } | Self::Unchanged { key, .. } => key,
        }
    }
}

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Writes the key, whether or not it exists.
    Put {
        /// The key.
        key: Bytes,
        /// The body without a revision.
        body: Bytes,
        /// Where in the body the revision's text goes.
        stamp_at: u32,
        /// Opaque bytes kept beside the body.
        attributes: Bytes,
    },
    /// Removes the key; nothing happens when it is not there.
    Delete {
        /// The key.
        key: Bytes,
    },
}

/// Preconditions and the writes that happen, all or none, when they hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transaction {
    /// All must hold.
    pub preconditions: Vec<Precondition>,
    /// In order; each that changes something gets a revision.
    pub operations: Vec<Operation>,
}

/// What became of a transaction.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Applied; one event for each change.
    Committed(Vec<Arc<Event>>),
    /// A precondition did not hold and nothing was written.
    Conflict {
        /// Which one.
        precondition: usize,
        /// What is there instead.
        current: Option<Arc<Record>>,
    },
    /// The transaction could not be read and nothing was written.
    Malformed(Malformed),
}

impl Transaction {
    /// The form that goes into the log.
    pub fn encode(&self) -> Bytes {
        let size: usize = self.operations.iter().map(Operation::size).sum();
        let mut out = Vec::with_capacity(size + self.preconditions.len() * 64 + 16);
        out.put_u8(VERSION);
        out.put_u32_le(self.preconditions.len() as u32);
        for precondition in &self.preconditions {
            match precondition {
                Precondition::Absent { key } => {
                    out.put_u8(0);
                    put_bytes(&mut out, key);
                }
                Precondition::Unchanged { key, revision } => {
                    out.put_u8(1);
                    put_bytes(&mut out, key);
                    out.put_u64_le(revision.get());
                }
            }
        }
        out.put_u32_le(self.operations.len() as u32);
        for operation in &self.operations {
            match operation {
                Operation::Put { key, body, stamp_at, attributes } => {
                    out.put_u8(0);
                    put_bytes(&mut out, key);
                    put_bytes(&mut out, body);
                    out.put_u32_le(*stamp_at);
                    put_bytes(&mut out, attributes);
                }
                Operation::Delete { key } => {
                    out.put_u8(1);
                    put_bytes(&mut out, key);
                }
            }
        }
        Bytes::from(out)
    }

    /// Reads what [`encode`](Self::encode) wrote; the parts share its memory.
    pub fn decode(bytes: Bytes) -> Result<Self, Malformed> {
        let mut reader = Reader(bytes);
        if reader.u8()? != VERSION {
            return Err(Malformed("a transaction of an unknown version"));
        }
        let mut transaction = Self::default();
        for _ in 0..reader.u32()? {
            let kind = reader.u8()?;
            let key = reader.bytes()?;
            transaction.preconditions.push(match kind {
                0 => Precondition::Absent { key },
                1 => Precondition::Unchanged { key, revision: Revision::new(reader.u64()?) },
                _ => return Err(Malformed("an unknown precondition")),
            });
        }
        for _ in 0..reader.u32()? {
            let kind = reader.u8()?;
            let key = reader.bytes()?;
            transaction.operations.push(match kind {
                0 => {
                    let (body, stamp_at, attributes) = (reader.bytes()?, reader.u32()?, reader.bytes()?);
                    if stamp_at as usize > body.len() {
                        return Err(Malformed("a stamp outside of its body"));
                    }
                    Operation::Put { key, body, stamp_at, attributes }
                }
                1 => Operation::Delete { key },
                _ => return Err(Malformed("an unknown operation")),
            });
        }
        reader.end()?;
        Ok(transaction)
    }
}

impl Outcome {
    /// The form that goes to the member whose client asked for the transaction.
    pub fn encode(&self) -> Bytes {
        let mut out = vec![VERSION];
        match self {
            Self::Committed(events) => {
                out.put_u8(0);
                out.put_u32_le(events.len() as u32);
                for event in events {
                    out.put_u8(match event.kind {
                        EventKind::Created => 0,
                        EventKind::Updated => 1,
                        EventKind::Deleted => 2,
                    });
                    put_record(&mut out, Some(&event.record));
                    put_record(&mut out, event.previous.as_deref());
                }
            }
            Self::Conflict { precondition, current } => {
                out.put_u8(1);
                out.put_u32_le(*precondition as u32);
                put_record(&mut out, current.as_deref());
            }
            Self::Malformed(_) => out.put_u8(2),
        }
        Bytes::from(out)
    }

    /// Reads what [`encode`](Self::encode) wrote.
    pub fn decode(bytes: Bytes) -> Result<Self, Malformed> {
        let mut reader = Reader(bytes);
        if reader.u8()? != VERSION {
            return Err(Malformed("an outcome of an unknown version"));
        }
        let outcome = match reader.u8()? {
            0 => {
                let mut events = Vec::new();
                for _ in 0..reader.u32()? {
                    let kind = match reader.u8()? {
                        0 => EventKind::Created,
                        1 => EventKind::Updated,
                        2 => EventKind::Deleted,
                        _ => return Err(Malformed("an unknown kind of event")),
                    };
                    let record = get_record(&mut reader)?.ok_or(Malformed("an event without its record"))?;
                    events.push(Arc::new(Event { kind, record, previous: get_record(&mut reader)? }));
                }
                Self::Committed(events)
            }
            1 => Self::Conflict { precondition: reader.u32()? as usize, current: get_record(&mut reader)? },
            2 => Self::Malformed(Malformed("a transaction that could not be read")),
            _ => return Err(Malformed("an unknown outcome")),
        };
        reader.end()?;
        Ok(outcome)
    }
}

fn put_record(out: &mut Vec<u8>, record: Option<&Record>) {
    out.put_u8(u8::from(record.is_some()));
    if let Some(record) = record {
        put_bytes(out, record.key());
        let mut value = Vec::new();
        record.encode(&mut value);
        put_bytes(out, &value);
    }
}

fn get_record(reader: &mut Reader) -> Result<Option<Arc<Record>>, Malformed> {
    if reader.u8()? == 0 {
        return Ok(None);
    }
    let key = reader.bytes()?;
    Record::decode(&key, reader.bytes()?).map(|record| Some(Arc::new(record)))
}

impl Operation {
    fn size(&self) -> usize {
        match self {
            Self::Put { key, body, attributes, .. } => key.len() + body.len() + attributes.len() + 24,
            Self::Delete { key } => key.len() + 8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoding_round_trips_and_damage_is_noticed() {
        let key = Bytes::from_static(b"/registry/core/pods/default/a");
        let transaction = Transaction {
            preconditions: vec![
                Precondition::Absent { key: key.clone() },
                Precondition::Unchanged { key: key.clone(), revision: Revision::new(7) },
            ],
            operations: vec![
                Operation::Put {
                    key: key.clone(),
                    body: Bytes::from_static(b"{}"),
                    stamp_at: 1,
                    attributes: Bytes::from_static(b"x"),
                },
                Operation::Delete { key },
            ],
        };
        let bytes = transaction.encode();
        assert_eq!(Transaction::decode(bytes.clone()).unwrap(), transaction);
        for cut in 0..bytes.len() {
            assert!(Transaction::decode(bytes.slice(..cut)).is_err());
        }
        let bad = Transaction {
            operations: vec![Operation::Put {
                key: Bytes::new(),
                body: Bytes::new(),
                stamp_at: 1,
                attributes: Bytes::new(),
            }],
            ..Transaction::default()
        };
        assert_eq!(Transaction::decode(bad.encode()), Err(Malformed("a stamp outside of its body")));
    }

    #[test]
    fn an_outcome_comes_back_as_it_was_and_damage_is_noticed() {
        let store = crate::Store::new(crate::Limits::default());
        let key = Bytes::from_static(b"/a");
        let put = |body: &'static [u8]| Operation::Put {
            key: key.clone(),
            body: Bytes::from_static(body),
            stamp_at: 1,
            attributes: Bytes::from_static(b"attr"),
        };
        let absent = Transaction {
            preconditions: vec![Precondition::Absent { key: key.clone() }],
            operations: vec![put(b"{}"), put(b"[]"), Operation::Delete { key: key.clone() }, put(b"<>")],
        };
        let now = std::time::Instant::now();
        let outcomes = [
            store.apply(&absent, now),
            store.apply(&absent, now),
            Outcome::Committed(Vec::new()),
            Outcome::Conflict { precondition: 3, current: None },
        ];
        for outcome in outcomes {
            let bytes = outcome.encode();
            let read = Outcome::decode(bytes.clone()).unwrap();
            assert_eq!(read.encode(), bytes);
            assert_eq!(format!("{read:?}"), format!("{outcome:?}"));
            for cut in 0..bytes.len() {
                assert!(Outcome::decode(bytes.slice(..cut)).is_err(), "{cut}");
            }
        }
        assert!(matches!(Outcome::decode(Outcome::Malformed(Malformed("x")).encode()), Ok(Outcome::Malformed(_))));
    }
}
