//! An append-only journal: records with length and checksum, readable again from a file that was torn at any byte.
//!
//! Bytes in, bytes out. Whoever owns the file appends what [`append`] gives, syncs it, and only then acts. What the
//! records mean: `host`, `viewer`.

use crate::codec::bytes::Reader;

/// Longest record without its head: an offer with all its words fits several times.
pub const RECORD_BYTES_MAX: usize = 8 << 10;
/// Longest journal that is read: thousands of records; it is written anew, and short, at every start and half-way there.
pub const JOURNAL_BYTES_MAX: u64 = 16 << 20;

/// Appends one record: `u32` length, `u32` CRC-32 of the body, body.
///
/// # Panics
/// If the body is empty or longer than [`RECORD_BYTES_MAX`]: ours never are.
pub fn append(out: &mut Vec<u8>, body: &[u8]) {
    assert!((1..=RECORD_BYTES_MAX).contains(&body.len()), "records are short");
    out.extend_from_slice(&(body.len() as u32).to_le_bytes());
    out.extend_from_slice(&crc32(body).to_le_bytes());
    out.extend_from_slice(body);
}

/// The records of a journal up to the first that is not whole, and how many bytes they take.
///
/// What follows those bytes was being written when the power went; it is to be cut off before anything is appended.
pub fn recover(bytes: &[u8]) -> (Vec<&[u8]>, usize) {
    let mut records = Vec::new();
    let mut r = Reader::new(bytes);
    let mut whole = 0;
    while let Some(body) = record(&mut r) {
        records.push(body);
        whole = r.offset();
    }
    (records, whole)
}

fn record<'a>(r: &mut Reader<'a>) -> Option<&'a [u8]> {
    let (length, sum) = (r.u32().ok()? as usize, r.u32().ok()?);
    if !(1..=RECORD_BYTES_MAX).contains(&length) {
        return None;
    }
    let body = r.take(length).ok()?;
    (crc32(body) == sum).then_some(body)
}

/// CRC-32 as in ISO 3309 and zlib; bit by bit, as records are short.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_common_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn a_journal_torn_at_any_byte_gives_the_records_before() {
        let bodies: [&[u8]; 3] = [b"one", b"second", b"\0\0\0\0"];
        let (mut bytes, mut ends) = (Vec::new(), vec![0]);
        for body in bodies {
            append(&mut bytes, body);
            ends.push(bytes.len());
        }
        for torn in 0..=bytes.len() {
            let (records, whole) = recover(&bytes[..torn]);
            let count = ends.iter().filter(|end| **end <= torn).count() - 1;
            assert_eq!((records, whole), (bodies[..count].to_vec(), ends[count]), "torn at {torn}");
        }
    }

    #[test]
    fn a_flipped_bit_ends_what_is_believed() {
        let mut bytes = Vec::new();
        append(&mut bytes, b"one");
        append(&mut bytes, b"two");
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let (records, _) = recover(&damaged);
            assert!(records.len() < 2 && records.iter().all(|r| *r == b"one"), "bit {bit}");
        }
    }
}
