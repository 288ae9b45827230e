//! Little-endian integers and LEB128 varints, read with bounds and written into a growing buffer.
//!
//! Shared by the frame format (`codec::format`) and the messages (`proto::wire`). Nothing here knows what the bytes mean.

use thiserror::Error;

/// Longest varint: 32 bits in groups of seven.
const VARINT_BYTES_MAX: usize = 5;

/// Why bytes could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ReadError {
    /// The input ends inside a value.
    #[error("input ends {missing} bytes early at offset {offset}")]
    Short {
        /// Where the value starts.
        offset: usize,
        /// How many bytes are missing.
        missing: usize,
    },
    /// A varint is longer than five bytes, exceeds 32 bits, or is not in its shortest form.
    #[error("varint at offset {offset} is not a shortest-form 32-bit number")]
    Varint {
        /// Where it starts.
        offset: usize,
    },
}

/// Reads from the front of a byte slice.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    /// Bytes read so far.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Bytes not yet read.
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.offset
    }

    /// Takes the next `count` bytes.
    ///
    /// # Errors
    /// [`ReadError::Short`] if there are fewer.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], ReadError> {
        let left = &self.bytes[self.offset..];
        let taken =
            left.get(..count).ok_or_else(|| ReadError::Short { offset: self.offset, missing: count - left.len() })?;
        self.offset += count;
        Ok(taken)
    }

    /// Reads one byte.
    ///
    /// # Errors
    /// [`ReadError::Short`] at the end.
    pub fn u8(&mut self) -> Result<u8, ReadError> {
        Ok(self.take(1)?[0])
    }

    /// Reads two bytes.
    ///
    /// # Errors
    /// [`ReadError::Short`] at the end.
    pub fn u16(&mut self) -> Result<u16, ReadError> {
        let b = self.take(2)?;
        Ok(u16::from_le_bytes([b[0], b[1]]))
    }

    /// Reads three bytes.
    ///
    /// # Errors
    /// [`ReadError::Short`] at the end.
    pub fn u24(&mut self) -> Result<u32, ReadError> {
        let b = self.take(3)?;
        Ok(u32::from_le_bytes([b[0], b[1], b[2], 0]))
    }

    /// Reads four bytes.
    ///
    /// # Errors
    /// [`ReadError::Short`] at the end.
    pub fn u32(&mut self) -> Result<u32, ReadError> {
        let b = self.take(4)?;
        Ok(u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
    }

    /// Reads a varint.
    ///
    /// # Errors
    /// [`ReadError`] if it is cut off, too long, too large or padded with zero groups.
    pub fn varint(&mut self) -> Result<u32, ReadError> {
        let offset = self.offset;
        let mut value = 0u64;
        for i in 0..VARINT_BYTES_MAX {
            let b = self.u8()?;
            value |= u64::from(b & 0x7f) << (7 * i);
            if b & 0x80 == 0 {
                if b == 0 && i > 0 {
                    return Err(ReadError::Varint { offset });
                }
                return u32::try_from(value).map_err(|_| ReadError::Varint { offset });
            }
        }
        Err(ReadError::Varint { offset })
    }
}

/// Appends a varint, 1 to 5 bytes.
pub fn put_varint(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends the low three bytes.
pub fn put_u24(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes()[..3]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_round_trip_in_their_shortest_form() {
        for value in [0, 1, 127, 128, 300, 16_383, 16_384, u32::MAX - 1, u32::MAX] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            let mut r = Reader::new(&out);
            assert_eq!((r.varint(), r.remaining()), (Ok(value), 0));
        }
    }

    #[test]
    fn bad_varints_are_refused() {
        let bad: [&[u8]; 4] =
            [&[0x80, 0x00], &[0xff, 0xff, 0xff, 0xff, 0x1f], &[0x80; 6], &[0xff, 0xff, 0xff, 0xff, 0xff]];
        for bytes in bad {
            assert_eq!(Reader::new(bytes).varint(), Err(ReadError::Varint { offset: 0 }), "{bytes:?}");
        }
        assert_eq!(Reader::new(&[0x80]).varint(), Err(ReadError::Short { offset: 1, missing: 1 }));
    }
}
