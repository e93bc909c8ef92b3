use std::io::{self, Read};

use bytes::{Buf, Bytes};
use mvcc::{Record, SnapshotBuilder};
use serde::de::DeserializeOwned;

use super::frame::{Frame, Kind, Reader};
use super::{Archive, ArchiveError, End, FORMAT, Files, Header, MAGIC};

/// Reads a snapshot, and answers only when all of it is known to be what was saved.
pub fn read(input: impl Read) -> Result<Archive, ArchiveError> {
    let mut builder = SnapshotBuilder::default();
    let (header, files) = walk(input, |record| builder.push(record), |_| Ok(()))?;
    let state = builder.finish(header.revision);
    Ok(Archive { header, files, state })
}

/// The same without keeping what is read. `step` hears how many records were read, and may end it.
pub fn check(input: impl Read, step: impl FnMut(u64) -> io::Result<()>) -> Result<Header, ArchiveError> {
    walk(input, drop, step).map(|(header, _)| header)
}

/// What a snapshot says about itself. Nothing else of it is looked at.
pub fn read_header(input: impl Read) -> Result<Header, ArchiveError> {
    begin(&mut Reader::new(input))
}

fn begin(reader: &mut Reader<impl Read>) -> Result<Header, ArchiveError> {
    let mut magic = [0; MAGIC.len()];
    if !reader.raw(&mut magic)? || magic != *MAGIC {
        return Err(ArchiveError::Foreign);
    }
    let mut format = [0; 4];
    if !reader.raw(&mut format)? {
        return Err(ArchiveError::Foreign);
    }
    match u32::from_le_bytes(format) {
        FORMAT => json(&expect(reader, Kind::Header)?),
        other => Err(ArchiveError::Format(other)),
    }
}

fn walk(
    input: impl Read,
    mut visit: impl FnMut(Record),
    mut step: impl FnMut(u64) -> io::Result<()>,
) -> Result<(Header, Files), ArchiveError> {
    let mut reader = Reader::new(input);
    let header = begin(&mut reader)?;
    let files = json(&expect(&mut reader, Kind::Keys)?)?;
    let mut records = 0;
    loop {
        let frame = reader.next()?;
        match frame.kind {
            Kind::Records => {
                records += read_records(&frame, &mut visit)?;
                step(records)?;
            }
            Kind::End => {
                let end: End = json(&frame)?;
                if end != (End { records, sha256: frame.sha256_before.clone() }) || header.objects != records {
                    return Err(frame.damaged("what is before it is not what was saved"));
                }
                reader.end()?;
                return Ok((header, files));
            }
            _ => return Err(frame.damaged("a frame that does not belong there")),
        }
    }
}

fn expect(reader: &mut Reader<impl Read>, kind: Kind) -> Result<Frame, ArchiveError> {
    let frame = reader.next()?;
    if frame.kind != kind {
        return Err(frame.damaged("a frame that does not belong there"));
    }
    Ok(frame)
}

fn json<T: DeserializeOwned>(frame: &Frame) -> Result<T, ArchiveError> {
    serde_json::from_slice(&frame.contents).map_err(|error| frame.damaged(error))
}

fn read_records(frame: &Frame, visit: &mut impl FnMut(Record)) -> Result<u64, ArchiveError> {
    let mut rest = Bytes::copy_from_slice(&frame.contents);
    let mut records = 0;
    while !rest.is_empty() {
        let key = part(&mut rest).ok_or_else(|| frame.damaged("a record without its key"))?;
        let value = part(&mut rest).ok_or_else(|| frame.damaged("a record without its value"))?;
        visit(Record::decode(&key, value).map_err(|error| frame.damaged(error))?);
        records += 1;
    }
    Ok(records)
}

fn part(input: &mut Bytes) -> Option<Bytes> {
    let length = input.try_get_u32_le().ok()? as usize;
    (length <= input.len()).then(|| input.split_to(length))
}
