//! Damage and a write that was cut short look alike at the end of the log: what is there does not match its checksum.
//! But a write that was cut short lacks whole sectors, and damage is mostly one bit. Which bit it would have to be can be
//! told from the checksum.

use bytes::Buf;

use super::frame::{HEADER, MAGIC, claimed_length};

const SECTOR: usize = 512;

/// Where in `content` one bit has to be flipped for the frame at `offset` to be whole, the one of this segment and number;
/// `None` when one bit does not do, or when the sector that it is in was not written at all.
pub(super) fn flipped_bit(content: &[u8], offset: usize, segment: u64, number: u64) -> Option<usize> {
    let header: &[u8; HEADER] = content.get(offset..offset + HEADER)?.try_into().ok()?;
    let at = match one_off(header)? {
        Field::Magic(at) => whole(content, offset, claimed_length(header), segment, number).then_some(offset + at)?,
        Field::Rest => find(content, offset, header, segment, number)?,
    };
    let frame = &content[offset..];
    let end = claimed_length(header).min(frame.len());
    let within = at - offset;
    // Sectors as the disk has them, and as they are counted from the frame.
    let by_disk = (at / SECTOR * SECTOR).max(offset) - offset;
    for from in [by_disk, within / SECTOR * SECTOR] {
        let sector = &frame[from..(from + SECTOR).min(end).max(from)];
        if sector.iter().all(|byte| *byte == 0) {
            return None;
        }
    }
    Some(at)
}

enum Field {
    /// At this byte.
    Magic(usize),
    Rest,
}

/// In which part of the header the bit may be; none when it is no frame at all.
fn one_off(header: &[u8; HEADER]) -> Option<Field> {
    let wrong = (&header[..4]).get_u32_le() ^ MAGIC;
    match wrong.count_ones() {
        0 => Some(Field::Rest),
        1 => Some(Field::Magic(wrong.trailing_zeros() as usize / 8)),
        _ => None,
    }
}

/// Whether all but the magic is right.
fn whole(content: &[u8], offset: usize, length: usize, segment: u64, number: u64) -> bool {
    let Some(frame) = content.get(offset..offset + length) else { return false };
    let stored = (&frame[4..8]).get_u32_le();
    belongs(frame, segment, number) && crc32fast::hash(&frame[8..]) == stored
}

fn belongs(frame: &[u8], segment: u64, number: u64) -> bool {
    (&frame[16..24]).get_u64_le() == segment && (&frame[24..32]).get_u64_le() == number
}

fn find(content: &[u8], offset: usize, header: &[u8; HEADER], segment: u64, number: u64) -> Option<usize> {
    // Of the length, which says what the checksum is of.
    for bit in 0..32 {
        let mut mended = content.get(offset..offset + HEADER)?.to_vec();
        mended[8 + bit / 8] ^= 1 << (bit % 8);
        let length = HEADER + (&mended[8..12]).get_u32_le() as usize;
        let Some(payload) = content.get(offset + HEADER..offset + length) else { continue };
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&mended[8..]);
        hasher.update(payload);
        if hasher.finalize() == (&mended[4..8]).get_u32_le() && belongs(&mended, segment, number) {
            return Some(offset + 8 + bit / 8);
        }
    }
    let frame = content.get(offset..offset + claimed_length(header))?;
    let wrong = crc32fast::hash(&frame[8..]) ^ (&frame[4..8]).get_u32_le();
    let (at, bit) = match wrong.count_ones() {
        0 => return None,
        1 => (4 + wrong.trailing_zeros() as usize / 8, wrong.trailing_zeros() as usize % 8),
        _ => syndrome(frame.len() - 8, wrong).map(|(at, bit)| (at + 8, bit))?,
    };
    let mut mended = header.to_vec();
    if at < HEADER {
        mended[at] ^= 1 << bit;
    }
    belongs(&mended, segment, number).then_some(offset + at)
}

/// Which bit of so many bytes changes their CRC-32 by `wrong`: the checksum is linear, so that of a flipped bit does not
/// depend on the others.
fn syndrome(length: usize, wrong: u32) -> Option<(usize, usize)> {
    // What each bit of the last byte changes; and of the one before it, when a byte of zeros follows.
    let mut changes: [u32; 8] = std::array::from_fn(|bit| step(1 << bit));
    for at in (0..length).rev() {
        if let Some(bit) = changes.iter().position(|change| *change == wrong) {
            return Some((at, bit));
        }
        changes = changes.map(|change| change >> 8 ^ step(change & 0xff));
    }
    None
}

/// The checksum of one byte, without what is done at its beginning and end.
fn step(byte: u32) -> u32 {
    const POLYNOMIAL: u32 = 0xedb8_8320;
    (0..8).fold(byte, |value, _| if value & 1 == 1 { value >> 1 ^ POLYNOMIAL } else { value >> 1 })
}

#[cfg(test)]
mod tests {
    use super::super::frame::{FrameBuilder, Record};
    use super::*;
    use crate::types::{Command, Entry, LogId};

    fn frame(size: usize) -> Vec<u8> {
        let payload = openraft::EntryPayload::Normal(Command(vec![0x5a; size].into()));
        let mut builder = FrameBuilder::new(Vec::new());
        builder.push(&Record::Entry(Entry { log_id: LogId::new_term_index(3, 9), payload }));
        builder.finish(5, 77)
    }

    #[test]
    fn a_flipped_bit_of_a_frame_is_told_from_a_write_that_was_cut_short() {
        let bytes = frame(700);
        let end = claimed_length(bytes[..HEADER].try_into().unwrap());
        let mut content = vec![0; 64];
        content.extend_from_slice(&bytes);
        content.resize(4096, 0);
        for bit in (0..HEADER * 8).chain((HEADER * 8..end * 8).step_by(11)) {
            let mut damaged = content.clone();
            damaged[64 + bit / 8] ^= 1 << (bit % 8);
            assert_eq!(flipped_bit(&damaged, 64, 5, 77), Some(64 + bit / 8), "bit {bit}");
            assert_eq!(flipped_bit(&damaged, 64, 5, 78), None, "another frame");
            assert_eq!(flipped_bit(&damaged, 64, 6, 77), None, "another segment's");
        }
        for missing in [0..512, 512..end, 100..101, 0..end] {
            let mut torn = content.clone();
            torn[64 + missing.start..64 + missing.end].fill(0);
            assert_eq!(flipped_bit(&torn, 64, 5, 77), None, "{missing:?}");
        }
        assert_eq!(flipped_bit(&content[..80], 64, 5, 77), None);
    }

    #[test]
    fn a_last_sector_of_one_bit_that_was_not_written_is_no_damage() {
        // The payload ends with zeros and a one, alone in the second sector.
        let mut builder = FrameBuilder::new(Vec::new());
        let mut body = vec![0x5a; 600];
        body[440..].fill(0);
        body[599] = 1;
        let payload = openraft::EntryPayload::Normal(Command(body.into()));
        builder.push(&Record::Entry(Entry { log_id: LogId::new_term_index(3, 9), payload }));
        let mut bytes = builder.finish(5, 77);
        let last = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        assert!(last > 512 && bytes[512..last].iter().all(|byte| *byte == 0));
        bytes[last] = 0;
        assert_eq!(flipped_bit(&bytes, 0, 5, 77), None);
    }
}
