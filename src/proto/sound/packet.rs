//! One datagram of sound: a head, one Opus frame, and perhaps the frame before it once more.

use crate::codec::bytes::{Reader, put_varint};
use crate::limits::SOUND_FRAME_BYTES_MAX;
use crate::proto::wire::WireError;
use bytes::Bytes;

/// Samples in a second, in every packet.
pub const RATE: u32 = 48_000;
/// Samples of each channel in the frames that this implementation makes: 20 ms.
pub const FRAME: usize = 960;
/// Flag: silence follows, nothing is missing when no packet comes.
const LAST: u8 = 1;
/// Flag: the frame before this one is in the packet too.
const DOUBLED: u8 = 2;

/// What a packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SoundKind {
    /// What the session plays, host to viewer.
    Sound = 1,
    /// What the viewer's microphone hears, viewer to host.
    Microphone = 2,
}

/// One datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SoundPacket {
    /// Which way it goes.
    pub kind: SoundKind,
    /// Silence follows this frame.
    pub last: bool,
    /// Counts frames; wraps. A hole is a loss, never silence.
    pub sequence: u16,
    /// Place of the frame's first sample in 48 kHz samples; wraps, and goes on during silence.
    pub timestamp: u32,
    /// The frame before this one, which ends where this one begins.
    pub previous: Option<Bytes>,
    /// One Opus packet with one frame of 10 or 20 ms, at most [`SOUND_FRAME_BYTES_MAX`] bytes.
    pub frame: Bytes,
}

impl SoundPacket {
    /// Appends the packet.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let flags = (u8::from(self.last) * LAST) | (u8::from(self.previous.is_some()) * DOUBLED);
        out.extend_from_slice(&[self.kind as u8, flags]);
        out.extend_from_slice(&self.sequence.to_le_bytes());
        out.extend_from_slice(&self.timestamp.to_le_bytes());
        if let Some(previous) = &self.previous {
            put_varint(out, previous.len() as u32);
            out.extend_from_slice(previous);
        }
        out.extend_from_slice(&self.frame);
    }

    /// Decodes a datagram.
    ///
    /// # Errors
    /// [`WireError`] for anything that is not exactly one packet.
    pub fn decode(datagram: Bytes) -> Result<SoundPacket, WireError> {
        let mut r = Reader::new(&datagram);
        let kind = match r.u8()? {
            1 => SoundKind::Sound,
            2 => SoundKind::Microphone,
            other => return Err(WireError::Type(other)),
        };
        let flags = r.u8()?;
        if flags > LAST | DOUBLED {
            return Err(WireError::Value { field: "flags", value: flags.into() });
        }
        let (sequence, timestamp) = (r.u16()?, r.u32()?);
        let frame_at = |from: usize, bytes: usize| {
            let frame = datagram.slice(from..from + bytes);
            match frame_samples(&frame) {
                Some(_) if bytes <= SOUND_FRAME_BYTES_MAX => Ok(frame),
                Some(_) => Err(WireError::Length(bytes)),
                None => Err(WireError::Value { field: "frame", value: frame.first().copied().unwrap_or(0).into() }),
            }
        };
        let previous = if flags & DOUBLED == 0 {
            None
        } else {
            let length = r.varint()? as usize;
            let at = r.offset();
            r.take(length)?;
            Some(frame_at(at, length)?)
        };
        let frame = frame_at(r.offset(), r.remaining())?;
        Ok(SoundPacket { kind, last: flags & LAST != 0, sequence, timestamp, previous, frame })
    }
}

/// Samples of each channel in an Opus packet of one frame of 10 or 20 ms (RFC 6716, section 3.1); `None` for any other.
pub fn frame_samples(packet: &[u8]) -> Option<u32> {
    let toc = *packet.first()?;
    if toc & 3 != 0 {
        return None;
    }
    match toc >> 3 {
        0..=11 => [Some(480), Some(960), None, None][usize::from(toc >> 3 & 3)],
        12..=15 => [Some(480), Some(960)][usize::from(toc >> 3 & 1)],
        _ => [None, None, Some(480), Some(960)][usize::from(toc >> 3 & 3)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CELT, full band, 20 ms, stereo, one frame.
    const TOC: u8 = 31 << 3 | 4;

    #[test]
    fn only_single_frames_of_10_or_20_ms_are_frames() {
        for (toc, samples) in
            [(TOC, Some(960)), (30 << 3, Some(480)), (29 << 3, None), (TOC | 1, None), (TOC | 3, None), (2 << 3, None)]
        {
            assert_eq!(frame_samples(&[toc, 0]), samples, "{toc:#x}");
        }
        assert_eq!(frame_samples(&[]), None);
    }

    #[test]
    fn what_is_too_long_or_cut_off_is_refused() {
        let packet = |length: usize| {
            let mut frame = vec![TOC];
            frame.resize(length, 7);
            let mut bytes = Vec::new();
            let (kind, frame) = (SoundKind::Sound, Bytes::from(frame));
            SoundPacket { kind, last: false, sequence: 1, timestamp: 2, previous: Some(frame.clone()), frame }
                .encode(&mut bytes);
            bytes
        };
        let longest = packet(SOUND_FRAME_BYTES_MAX);
        assert!(SoundPacket::decode(longest.clone().into()).is_ok());
        assert!(SoundPacket::decode(packet(SOUND_FRAME_BYTES_MAX + 1).into()).is_err());
        for length in 0..12 {
            assert!(SoundPacket::decode(longest[..length].to_vec().into()).is_err(), "{length}");
        }
    }
}
