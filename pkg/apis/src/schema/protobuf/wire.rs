//! Fields, numbers and lengths, without knowledge of types.

use super::{ProtobufError, Result};

/// A value on the wire.
#[derive(Clone, Copy)]
pub enum Wire<'a> {
    Varint(u64),
    Fixed64([u8; 8]),
    /// No type of the API has one.
    Fixed32,
    Bytes(&'a [u8]),
}

impl Wire<'_> {
    /// The number of the wire type.
    pub fn number(self) -> u8 {
        match self {
            Self::Varint(_) => 0,
            Self::Fixed64(_) => 1,
            Self::Bytes(_) => 2,
            Self::Fixed32 => 5,
        }
    }
}

/// The fields of a message in their order. Groups, which nobody writes any more, are passed over.
pub struct Parts<'a>(pub &'a [u8]);

impl<'a> Parts<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(ProtobufError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| ProtobufError::Truncated)
    }

    pub fn varint(&mut self) -> Result<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(ProtobufError::Overflow)
    }

    /// The next field; `None` where a group was passed over.
    fn part(&mut self) -> Result<Option<(u64, Wire<'a>)>> {
        let tag = self.varint()?;
        let wire = match tag & 7 {
            3 => {
                self.skip_group()?;
                return Ok(None);
            }
            4 => return Err(ProtobufError::EndOfGroup),
            _ => self.value(tag)?,
        };
        Ok(Some((tag >> 3, wire)))
    }

    fn value(&mut self, tag: u64) -> Result<Wire<'a>> {
        Ok(match tag & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed64(self.array()?),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| ProtobufError::Truncated)?;
                Wire::Bytes(self.take(length)?)
            }
            5 => {
                self.take(4)?;
                Wire::Fixed32
            }
            // Only the lowest three bits are left.
            other => return Err(ProtobufError::IllegalWireType(other as u8)),
        })
    }

    /// Passes over a group that was just begun, and the groups in it.
    fn skip_group(&mut self) -> Result<()> {
        let mut open = 1_u32;
        while open > 0 {
            let tag = self.varint()?;
            match tag & 7 {
                3 => open += 1,
                4 => open -= 1,
                _ => drop(self.value(tag)?),
            }
        }
        Ok(())
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = Result<(u64, Wire<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.0.is_empty() {
            match self.part() {
                Ok(None) => {}
                Ok(Some(part)) => return Some(Ok(part)),
                Err(error) => {
                    self.0 = &[];
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

/// How many bytes a number takes.
pub fn varint_length(value: u64) -> usize {
    // Seven bits a byte, and one byte for 0.
    (70 - (value | 1).leading_zeros() as usize) / 7
}

pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_tag(out: &mut Vec<u8>, number: u8, wire_type: u8) {
    put_varint(out, u64::from(number) << 3 | u64::from(wire_type));
}

pub fn put_number(out: &mut Vec<u8>, number: u8, value: u64) {
    put_tag(out, number, 0);
    put_varint(out, value);
}

pub fn put_double(out: &mut Vec<u8>, number: u8, value: f64) {
    put_tag(out, number, 1);
    out.extend_from_slice(&value.to_le_bytes());
}

/// The tag and the length of what follows.
pub fn put_length(out: &mut Vec<u8>, number: u8, length: usize) {
    put_tag(out, number, 2);
    put_varint(out, length as u64);
}

pub fn put_bytes(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    put_length(out, number, bytes.len());
    out.extend_from_slice(bytes);
}

/// What `write` appends, as a field with its length before it. Room is made for longer lengths afterwards: most are short.
pub fn put_nested(out: &mut Vec<u8>, number: u8, write: impl FnOnce(&mut Vec<u8>)) {
    put_tag(out, number, 2);
    let at = out.len();
    out.push(0);
    write(out);
    let length = out.len() - at - 1;
    if let Ok(short @ ..0x80) = u8::try_from(length) {
        out[at] = short;
        return;
    }
    let mut digits = Vec::with_capacity(5);
    put_varint(&mut digits, length as u64);
    out.splice(at..=at, digits);
}
