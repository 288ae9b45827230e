//! Decides when each frame is played: a jitter buffer whose depth follows the jitter and whose speed follows the clocks.
//!
//! Packets and the time go in, the device's thirst pulls frames out. Depth: the lateness that 99.8 % of the packets
//! stay below, and a frame more while some are lost, so that the copy in the next packet comes in time. Drift: the
//! delay is held at that depth by playing a little faster or slower ([`JitterBuffer::speed`]), at most 0.4 %, which
//! nobody hears; frames are left out only after a burst that would take too long to work off.

use crate::limits::{SOUND_DELAY_MAX, SOUND_QUEUE};
use crate::proto::sound::packet::{FRAME, RATE, SoundPacket, frame_samples};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::time::Duration;

/// Width of a bucket of lateness.
const BUCKET: Duration = Duration::from_millis(5);
/// Buckets; the last one holds all that is later.
const BUCKETS: usize = 40;
/// What a packet weighs less with each one after it: half of the memory is the last 7 s.
const FORGET: f64 = 0.998;
/// What is assumed of a way before it is known: one packet in twenty is 30 ms late. Forgotten within half a minute.
const FIRST_LATENESS: [f64; BUCKETS] = {
    let mut lateness = [0.0; BUCKETS];
    lateness[6] = 0.05;
    lateness[0] = 0.95;
    lateness
};
/// Part of the packets that may be later than the depth.
const TOO_LATE: f64 = 0.002;
/// Least depth: what a steady network and two thread switches take.
const DEPTH_MIN: Duration = Duration::from_millis(10);
/// The quickest packet of this long, or of the period before, is what lateness is measured from.
const BASE_PERIOD: Duration = Duration::from_secs(10);
/// Time in which a wrong depth is corrected, limited by [`SPEED_MAX`].
const CORRECT_IN: f64 = 10.0;
/// Largest change of the speed: 7 hundredths of a semitone.
const SPEED_MAX: f64 = 0.004;
/// This much too deep is more than the speed can mend in a decent time: frames are left out.
const SKIP_ABOVE: f64 = 0.060;
/// What may still be lacking behind this buffer when a sound begins, in seconds: so it begins sooner, and the speed makes up
/// for it.
const LACKING_FIRST: f64 = 0.010;
/// Frames made up in a row before giving up: Opus has faded to silence by then.
const CONCEAL_MAX: u32 = 5;
/// Loss is remembered for this long.
pub(super) const LOSSY: Duration = Duration::from_secs(30);
/// After a pause of this length nothing known about the clocks holds any more.
const FORGOTTEN: Duration = Duration::from_secs(300);
/// A packet this many numbers away, or so many seconds earlier or later than its timestamp says, is of another sender.
const JUMP_NUMBERS: i64 = 500;
const JUMP_SECONDS: f64 = 2.0;

/// What is to be played next, [`JitterBuffer::frame_samples`] samples of each channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Playout {
    /// Decode and play this.
    Frame(Bytes),
    /// Decode this and blend it into what comes next: it is left out.
    Skip(Bytes),
    /// A frame is lost: what this later one says about it (in-band FEC) is all there is.
    Recover(Bytes),
    /// Make something up from what was played before.
    Conceal,
    /// Nothing: silence.
    Idle,
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JitterCounts {
    /// Packets taken.
    pub packets: u64,
    /// Frames played as they were sent.
    pub played: u64,
    /// Frames that were missing and came with the packet after them.
    pub repaired: u64,
    /// Frames made up, by FEC or from nothing.
    pub concealed: u64,
    /// Times that two or more were made up in a row, which can be heard.
    pub gaps: u64,
    /// Packets that came when it was too late.
    pub late: u64,
    /// Frames left out to catch up.
    pub skipped: u64,
}

/// One direction's jitter buffer.
#[derive(Debug)]
pub struct JitterBuffer {
    slots: BTreeMap<i64, Slot>,
    /// Number and timestamp of what is played next; none while nothing plays.
    next: Option<(i64, i64)>,
    /// Where numbers and timestamps are unwrapped from.
    seen: Option<Seen>,
    lateness: [f64; BUCKETS],
    /// Least transit of this period and of the one before, in seconds; when this one began.
    base: Option<(f64, f64, Duration)>,
    lost_at: Option<Duration>,
    /// Smoothed: how much deeper than wanted, in seconds.
    excess: f64,
    /// What waits behind this buffer is so much less than wanted, in seconds.
    lacking: f64,
    delay: f64,
    in_a_row: u32,
    /// Of those the ones that were made up while nothing had come: they stand for frames that are lost, if any are.
    held: u32,
    skipped_last: bool,
    frame_samples: u32,
    counts: JitterCounts,
}

#[derive(Debug)]
struct Slot {
    timestamp: i64,
    frame: Bytes,
    last: bool,
    repaired: bool,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    sequence: i64,
    timestamp: i64,
    at: Duration,
}

impl JitterBuffer {
    /// Nothing has come yet.
    pub fn new() -> Self {
        Self {
            slots: BTreeMap::new(),
            next: None,
            seen: None,
            lateness: FIRST_LATENESS,
            base: None,
            lost_at: None,
            excess: 0.0,
            lacking: 0.0,
            delay: 0.0,
            in_a_row: 0,
            held: 0,
            skipped_last: false,
            frame_samples: FRAME as u32,
            counts: JitterCounts::default(),
        }
    }

    /// Takes a packet that came now.
    pub fn handle_packet(&mut self, packet: SoundPacket, now: Duration) {
        let Some(samples) = frame_samples(&packet.frame) else { return };
        self.counts.packets += 1;
        if self.seen.is_some_and(|s| now.saturating_sub(s.at) > FORGOTTEN) {
            self.forget();
        }
        let Seen { sequence: seen_sequence, timestamp: seen_timestamp, .. } = *self.seen.get_or_insert(Seen {
            sequence: packet.sequence.into(),
            timestamp: packet.timestamp.into(),
            at: now,
        });
        let sequence = seen_sequence + i64::from(packet.sequence.wrapping_sub(seen_sequence as u16).cast_signed());
        let timestamp = seen_timestamp + i64::from(packet.timestamp.wrapping_sub(seen_timestamp as u32).cast_signed());
        let transit = now.as_secs_f64() - timestamp as f64 / f64::from(RATE);
        let moved = self.base.map_or(0.0, |(current, before, _)| transit - current.min(before));
        if (sequence - seen_sequence).abs() > JUMP_NUMBERS || moved.abs() > JUMP_SECONDS {
            // Another sender, or a hostile one: begin anew with this packet.
            self.forget();
            return self.handle_packet(packet, now);
        }
        if sequence > seen_sequence + 1 {
            self.lost_at = Some(now);
        }
        if sequence >= seen_sequence {
            self.seen = Some(Seen { sequence, timestamp, at: now });
        }
        self.frame_samples = samples;
        self.measure(timestamp, now);
        if let Some((next, _)) = self.next
            && sequence < next
        {
            self.counts.late += 1;
            return;
        }
        if let Some(previous) = packet.previous
            && let Some(before) = frame_samples(&previous)
            && self.next.is_none_or(|(next, _)| sequence > next)
        {
            let timestamp = timestamp - i64::from(before);
            let is_new = self.next.is_some() || self.slots.first_key_value().is_some_and(|(s, _)| *s < sequence);
            if is_new {
                let slot = Slot { timestamp, frame: previous, last: false, repaired: true };
                self.slots.entry(sequence - 1).or_insert(slot);
            }
        }
        let slot = Slot { timestamp, frame: packet.frame, last: packet.last, repaired: false };
        // The real thing may be the last of its sound, which a copy never says.
        self.slots.insert(sequence, slot);
        while self.slots.len() > (SOUND_QUEUE.as_millis() / 20) as usize {
            if let Some((sequence, slot)) = self.slots.pop_first() {
                self.counts.skipped += 1;
                let after = slot.timestamp + i64::from(frame_samples(&slot.frame).unwrap_or(samples));
                self.next = self.next.map(|_| (sequence + 1, after));
            }
        }
    }

    /// Takes that so much less waits behind this buffer, for the loudspeaker, than is wanted there: what was fetched late is
    /// heard in time all the same, so that the delay is not to be shortened for it.
    pub fn set_lacking(&mut self, lacking: Duration) {
        self.lacking = lacking.as_secs_f64();
    }

    /// What to play next; called whenever the device has room for a frame.
    pub fn poll_playout(&mut self, now: Duration) -> Playout {
        let Some((mut sequence, mut timestamp)) = self.next.or_else(|| self.start(now)) else { return Playout::Idle };
        self.next = Some((sequence, timestamp));
        let Some((&first, slot)) = self.slots.first_key_value() else {
            // It may be late: the place is held, and what comes is played after what is made up now.
            self.held += 1;
            return self.conceal(None);
        };
        while first > sequence && self.held > 0 && slot.timestamp > timestamp {
            self.held -= 1;
            timestamp += i64::from(self.frame_samples).min(slot.timestamp - timestamp);
            sequence += 1;
            self.next = Some((sequence, timestamp));
        }
        if first > sequence {
            let missing = slot.timestamp - timestamp;
            if missing > JUMP_NUMBERS * i64::from(self.frame_samples) || missing <= 0 {
                self.stop();
                return Playout::Idle;
            }
            let fec = (first == sequence + 1).then(|| slot.frame.clone());
            self.next = Some((sequence + 1, timestamp + i64::from(self.frame_samples).min(missing)));
            return self.conceal(fec);
        }
        self.steer(timestamp, now);
        let Some(slot) = self.slots.remove(&first) else { return Playout::Idle };
        let samples = frame_samples(&slot.frame).unwrap_or(self.frame_samples);
        self.frame_samples = samples;
        self.next = Some((first + 1, slot.timestamp + i64::from(samples)));
        (self.in_a_row, self.held) = (0, 0);
        if slot.repaired {
            self.counts.repaired += 1;
        }
        if slot.last {
            self.stop();
        } else if self.excess > SKIP_ABOVE && !self.skipped_last && !self.slots.is_empty() {
            self.skipped_last = true;
            self.counts.skipped += 1;
            self.excess -= f64::from(samples) / f64::from(RATE);
            return Playout::Skip(slot.frame);
        }
        self.skipped_last = false;
        self.counts.played += 1;
        Playout::Frame(slot.frame)
    }

    /// Whether what is played next is here: [`JitterBuffer::poll_playout`] would make nothing up.
    pub fn has_next(&self) -> bool {
        self.next.is_some_and(|(next, _)| self.slots.first_key_value().is_some_and(|(first, _)| *first == next))
    }

    /// How fast to play: the factor of the speed it was recorded with.
    pub fn speed(&self) -> f64 {
        1.0 + (self.excess / CORRECT_IN).clamp(-SPEED_MAX, SPEED_MAX)
    }

    /// Samples of each channel in a frame of the sender.
    pub fn frame_samples(&self) -> usize {
        self.frame_samples as usize
    }

    /// Whether something is being played or waits.
    pub fn is_busy(&self) -> bool {
        self.next.is_some() || !self.slots.is_empty()
    }

    /// Whether packets were lost in the last half minute.
    pub fn is_lossy(&self, now: Duration) -> bool {
        self.lost_at.is_some_and(|at| now.saturating_sub(at) < LOSSY)
    }

    /// From the quickest arrival to the playing of what was played last, without the device.
    pub fn delay(&self) -> Duration {
        Duration::from_secs_f64(self.delay.max(0.0))
    }

    /// The delay that is aimed at now.
    pub fn depth(&self, now: Duration) -> Duration {
        let all: f64 = self.lateness.iter().sum();
        let mut left = all * TOO_LATE;
        let mut bucket = BUCKETS;
        while bucket > 0 && left >= 0.0 {
            bucket -= 1;
            left -= self.lateness[bucket];
        }
        let late = BUCKET * (bucket as u32 + 1);
        let frame = Duration::from_micros(u64::from(self.frame_samples) * 1_000_000 / u64::from(RATE));
        let repair = if self.is_lossy(now) { frame } else { Duration::ZERO };
        (late + repair).clamp(DEPTH_MIN, SOUND_DELAY_MAX)
    }

    /// What happened so far.
    pub fn counts(&self) -> JitterCounts {
        self.counts
    }

    /// Begins with the oldest packet when its time has come.
    fn start(&mut self, now: Duration) -> Option<(i64, i64)> {
        let (&sequence, slot) = self.slots.first_key_value()?;
        // A device that begins takes two frames at once, or most of what is to wait for it; the last of them has this much
        // less time.
        let frame = f64::from(self.frame_samples) / f64::from(RATE);
        let ahead = frame.max(self.lacking - LACKING_FIRST);
        let due = self.early(slot.timestamp) + self.depth(now).as_secs_f64() + ahead;
        if now.as_secs_f64() < due {
            return None;
        }
        (self.in_a_row, self.held, self.excess) = (0, 0, 0.0);
        Some((sequence, slot.timestamp))
    }

    fn stop(&mut self) {
        self.next = None;
        (self.in_a_row, self.held) = (0, 0);
    }

    fn forget(&mut self) {
        self.slots.clear();
        self.stop();
        (self.seen, self.base, self.excess) = (None, None, 0.0);
    }

    fn conceal(&mut self, fec: Option<Bytes>) -> Playout {
        self.in_a_row += 1;
        if self.in_a_row > CONCEAL_MAX {
            self.stop();
            return Playout::Idle;
        }
        self.counts.concealed += 1;
        self.counts.gaps += u64::from(self.in_a_row == 2);
        fec.map_or(Playout::Conceal, Playout::Recover)
    }

    /// When a frame could have been here at the earliest, in seconds.
    fn early(&self, timestamp: i64) -> f64 {
        let base = self.base.map_or(0.0, |(current, before, _)| current.min(before));
        timestamp as f64 / f64::from(RATE) + base
    }

    fn measure(&mut self, timestamp: i64, now: Duration) {
        let transit = now.as_secs_f64() - timestamp as f64 / f64::from(RATE);
        let (current, before, since) = self.base.unwrap_or((transit, transit, now));
        self.base = Some(if now.saturating_sub(since) > BASE_PERIOD {
            (transit, current, now)
        } else {
            (current.min(transit), before, since)
        });
        let late = now.as_secs_f64() - self.early(timestamp);
        let bucket = ((late.max(0.0) / BUCKET.as_secs_f64()) as usize).min(BUCKETS - 1);
        for weight in &mut self.lateness {
            *weight *= FORGET;
        }
        self.lateness[bucket] += 1.0 - FORGET;
    }

    fn steer(&mut self, timestamp: i64, now: Duration) {
        self.delay = now.as_secs_f64() - self.early(timestamp);
        let excess = self.delay - self.lacking - self.depth(now).as_secs_f64();
        self.excess += (excess - self.excess) * 0.05;
    }
}

impl Default for JitterBuffer {
    fn default() -> Self {
        Self::new()
    }
}
