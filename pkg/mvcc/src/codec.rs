//! Little-endian, length-prefixed fields. Decoding slices the input and copies nothing.

use bytes::{Buf, BufMut, Bytes};

/// Bytes that are not what this version of the store writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed store data: {0}")]
pub struct Malformed(pub(crate) &'static str);

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    // Bodies are limited to a few MiB long before they come here.
    out.put_u32_le(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    out.put_slice(bytes);
}

pub(crate) struct Reader(pub(crate) Bytes);

impl Reader {
    fn need(&self, count: usize) -> Result<(), Malformed> {
        if self.0.len() < count { Err(Malformed("it ends too early")) } else { Ok(()) }
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        self.need(1)?;
        Ok(self.0.get_u8())
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.need(4)?;
        Ok(self.0.get_u32_le())
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.need(8)?;
        Ok(self.0.get_u64_le())
    }

    pub(crate) fn bytes(&mut self) -> Result<Bytes, Malformed> {
        let length = self.u32()? as usize;
        self.need(length)?;
        Ok(self.0.split_to(length))
    }

    pub(crate) fn end(&self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed("it goes on after its end")) }
    }
}
