//! What goes out: numbers frames, ends with the silence, and says a frame twice where the way loses some.

use crate::proto::sound::packet::{SoundKind, SoundPacket};
use bytes::Bytes;

/// Quiet frames that are still sent, so that a word's end and the codec's own tail arrive: 200 ms.
const TAIL: u32 = 10;
/// Below this peak (-80 dB) a frame is quiet.
const QUIET_PEAK: f32 = 1e-4;

/// One direction's sender.
#[derive(Debug)]
pub struct Sender {
    kind: SoundKind,
    sequence: u16,
    timestamp: u32,
    /// What is added to the clock.
    origin: u32,
    quiet: u32,
    sending: bool,
    doubled: bool,
    previous: Option<Bytes>,
}

impl Sender {
    /// Nothing has been said yet. Numbers and times begin at a place that `seed` chooses, so that a receiver does not
    /// take a sender that was started anew for the former one.
    pub fn new(kind: SoundKind, seed: u64) -> Self {
        let origin = (seed >> 16) as u32;
        Self {
            kind,
            sequence: seed as u16,
            timestamp: origin,
            origin,
            quiet: 0,
            sending: false,
            doubled: false,
            previous: None,
        }
    }

    /// Whether each frame is to be sent twice, the second time with the frame after it.
    pub fn set_doubled(&mut self, doubled: bool) {
        self.doubled = doubled;
    }

    /// Whether a frame of these samples has to be encoded at all.
    pub fn wants(&self, samples: &[f32]) -> bool {
        self.sending || !is_quiet(samples)
    }

    /// Whether something has been sent that no last frame has ended.
    pub fn is_sending(&self) -> bool {
        self.sending
    }

    /// Takes the next frame of `count` samples and what Opus made of it; the packet, if there is one to send.
    ///
    /// `clock` is the sender's time in samples: where a sound begins after silence. A frame that Opus wrote in two
    /// bytes or less holds nothing either (RFC 6716, section 2.1.9).
    pub fn handle_frame(&mut self, samples: &[f32], encoded: &[u8], count: u32, clock: u64) -> Option<SoundPacket> {
        let quiet = is_quiet(samples) || encoded.len() <= 2;
        if !self.sending {
            if quiet {
                return None;
            }
            self.sending = true;
            self.previous = None;
            // Never back, or the other end took it for late.
            let begins = self.origin.wrapping_add(clock as u32);
            let behind = begins.wrapping_sub(self.timestamp) > u32::MAX / 2;
            self.timestamp = if behind { self.timestamp } else { begins };
        }
        self.quiet = if quiet { self.quiet + 1 } else { 0 };
        let last = self.quiet >= TAIL;
        let frame = Bytes::copy_from_slice(encoded);
        let previous = self.previous.replace(frame.clone()).filter(|_| self.doubled);
        let packet =
            SoundPacket { kind: self.kind, last, sequence: self.sequence, timestamp: self.timestamp, previous, frame };
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(count);
        if last {
            (self.sending, self.quiet) = (false, 0);
        }
        Some(packet)
    }
}

fn is_quiet(samples: &[f32]) -> bool {
    samples.iter().all(|s| s.abs() < QUIET_PEAK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::sound::packet::FRAME;

    const LOUD: [f32; FRAME] = [0.5; FRAME];
    const STILL: [f32; FRAME] = [0.0; FRAME];
    const CODED: [u8; 40] = [31 << 3; 40];

    #[test]
    fn silence_costs_no_packet_and_the_last_one_says_so() {
        let mut s = Sender::new(SoundKind::Sound, 0);
        assert!(!s.wants(&STILL) && s.handle_frame(&STILL, &CODED, 960, 0).is_none());
        let first = s.handle_frame(&LOUD, &CODED, 960, 48_000).expect("a loud frame");
        assert_eq!((first.timestamp, first.last, first.previous), (48_000, false, None));
        let tail: Vec<bool> =
            (0..20).filter_map(|_| s.handle_frame(&STILL, &CODED, 960, 50_000)).map(|p| p.last).collect();
        assert_eq!(tail.len(), TAIL as usize);
        assert!(tail[..tail.len() - 1].iter().all(|l| !l) && tail[tail.len() - 1]);
        let again = s.handle_frame(&LOUD, &CODED, 960, 90_000).expect("a loud frame");
        assert_eq!((again.timestamp, again.sequence), (90_000, TAIL as u16 + 1));
    }

    #[test]
    fn doubled_frames_hold_the_one_before_but_not_over_silence() {
        let mut s = Sender::new(SoundKind::Sound, 0);
        s.set_doubled(true);
        let packets: Vec<SoundPacket> = (0..3).filter_map(|_| s.handle_frame(&LOUD, &CODED, 960, 0)).collect();
        assert_eq!(packets.iter().map(|p| p.previous.is_some()).collect::<Vec<_>>(), [false, true, true]);
        for _ in 0..TAIL {
            s.handle_frame(&STILL, &CODED, 960, 0);
        }
        assert!(s.handle_frame(&LOUD, &CODED, 960, 99_000).expect("a loud frame").previous.is_none());
    }
}
