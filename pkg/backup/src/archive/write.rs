use std::io::{self, Write};

use super::frame::{Frames, Kind};
use super::{Contents, End, FORMAT, Header, MAGIC};

/// A frame of records ends with the one that reaches this.
const FRAME_BYTES: usize = 256 << 10;

/// Writes a snapshot, record by record: the state is not copied. `step` hears how many are written, and may end it.
pub fn write(
    output: impl Write,
    contents: &Contents,
    mut step: impl FnMut(u64) -> io::Result<()>,
) -> io::Result<Header> {
    let Contents { header, files, state } = contents;
    let header = Header { revision: state.revision().get(), objects: state.len() as u64, ..header.clone() };
    let mut frames = Frames::new(output);
    frames.raw(MAGIC)?;
    frames.raw(&FORMAT.to_le_bytes())?;
    frames.push(Kind::Header, &serde_json::to_vec(&header)?)?;
    frames.push(Kind::Keys, &serde_json::to_vec(files)?)?;
    let (mut buffer, mut value, mut records) = (Vec::new(), Vec::new(), 0);
    for record in state.range(b"", None) {
        value.clear();
        record.encode(&mut value);
        for part in [record.key(), &value] {
            buffer.extend((part.len() as u32).to_le_bytes());
            buffer.extend(part);
        }
        records += 1;
        if buffer.len() >= FRAME_BYTES {
            frames.push(Kind::Records, &buffer)?;
            buffer.clear();
            step(records)?;
        }
    }
    if !buffer.is_empty() {
        frames.push(Kind::Records, &buffer)?;
    }
    step(records)?;
    let end = End { records, sha256: frames.sha256() };
    frames.push(Kind::End, &serde_json::to_vec(&end)?)?;
    Ok(header)
}
