//! Marks of exactness on the wire. What they are: `codec::stage::mark`; when they are sent: `codec::marks`.

use super::{WireError, in_range};
use crate::codec::bytes::{Reader, put_varint};
use crate::codec::marks::{Agreement, MARKS_MAX, TileMarks};

pub(super) const KIND_AGREEMENT: u8 = 0x06;
pub(super) const KIND_MARKS: u8 = 0x85;

pub(super) fn encode_marks(marks: &TileMarks, out: &mut Vec<u8>) {
    out.push(KIND_MARKS);
    put_varint(out, marks.sequence);
    put_varint(out, marks.first);
    put_varint(out, marks.marks.len() as u32);
    out.extend(marks.marks.iter().flat_map(|mark| mark.to_le_bytes()));
}

pub(super) fn decode_marks(r: &mut Reader) -> Result<TileMarks, WireError> {
    let (sequence, first) = (r.varint()?, r.varint()?);
    let count = in_range(r, "count", 1, MARKS_MAX)?;
    let mut mark = || Ok(u64::from(r.u32()?) | u64::from(r.u32()?) << 32);
    Ok(TileMarks { sequence, first, marks: (0..count).map(|_| mark()).collect::<Result<_, WireError>>()? })
}

pub(super) fn encode_agreement(answer: &Agreement, out: &mut Vec<u8>) {
    out.push(KIND_AGREEMENT);
    put_varint(out, answer.sequence);
    put_varint(out, answer.first);
    put_varint(out, answer.wrong.len() as u32);
    answer.wrong.iter().for_each(|tile| put_varint(out, *tile));
}

pub(super) fn decode_agreement(r: &mut Reader) -> Result<Agreement, WireError> {
    let (sequence, first) = (r.varint()?, r.varint()?);
    let count = in_range(r, "count", 0, MARKS_MAX)?;
    Ok(Agreement { sequence, first, wrong: (0..count).map(|_| r.varint()).collect::<Result<_, _>>()? })
}
