//! What one program plays or records: a queue of its bytes, asked for in time and turned into samples.

use super::samples::{self, Downmix, frame_bytes};
use crate::proto::sound::packet::RATE;
use crate::proto::sound::resample::Resampler;
use pulseaudio::protocol::stream::BufferAttr;
use pulseaudio::protocol::{ChannelMap, ChannelVolume, Props, SampleSpec};
use std::collections::VecDeque;

/// Longest queue of a program.
const QUEUE_BYTES_MAX: u32 = 4 << 20;
/// Time that a program writes ahead where it does not say: as in PulseAudio, as such a program may be away for as long. Who
/// wants to be heard at once says so.
const TARGET_MS: u32 = 2_000;
/// Least time: two ticks of ours and the program's own reaction.
const TARGET_MS_MIN: u32 = 40;
/// Least that a program is asked for where it does not say: as in PulseAudio.
const REQUEST_MS: u32 = 20;
/// Time that is recorded before a program is handed it, at most.
const FRAGMENT_MS_MAX: u32 = 100;

/// How a stream goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Waits until enough is written.
    Filling,
    Playing,
    /// Plays the rest; the number of the request to answer then.
    Draining(u32),
}

/// What a stream wants to say to its program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// Write so many bytes more.
    Request(u32),
    /// It is heard now.
    Started,
    /// It ran dry at this place.
    Underflow(i64),
    /// All is played; answer this request.
    Drained(u32),
}

/// Something that plays.
#[derive(Debug)]
pub(super) struct Playback {
    pub(super) channel: u32,
    pub(super) index: u32,
    pub(super) spec: SampleSpec,
    pub(super) map: ChannelMap,
    pub(super) attr: BufferAttr,
    pub(super) volume: ChannelVolume,
    pub(super) muted: bool,
    pub(super) corked: bool,
    pub(super) props: Props,
    pub(super) underruns: u64,
    downmix: Downmix,
    /// None where the rate is the mixer's.
    resampler: Option<Resampler>,
    queue: VecDeque<u8>,
    /// Bytes asked for and not yet written.
    requested: u32,
    /// Bytes ever written into, and taken out of the queue.
    pub(super) written: i64,
    pub(super) read: i64,
    /// Bytes played in one go.
    pub(super) playing_for: u64,
    state: State,
    ready: Vec<f32>,
}

/// Something that records.
#[derive(Debug)]
pub(super) struct Recording {
    pub(super) channel: u32,
    pub(super) index: u32,
    /// What it listens to.
    pub(super) source: u32,
    pub(super) spec: SampleSpec,
    pub(super) map: ChannelMap,
    pub(super) attr: BufferAttr,
    pub(super) volume: ChannelVolume,
    pub(super) muted: bool,
    pub(super) corked: bool,
    pub(super) props: Props,
    pub(super) written: i64,
    resampler: Resampler,
    channels: usize,
    samples: Vec<f32>,
    bytes: Vec<u8>,
}

/// Bytes of so many milliseconds, in whole frames.
fn bytes_of(spec: &SampleSpec, ms: u32) -> u32 {
    (u64::from(spec.sample_rate) * u64::from(ms) / 1000) as u32 * frame_bytes(spec) as u32
}

fn resampler(rate: u32) -> Option<Resampler> {
    (rate != RATE).then(|| Resampler::new(rate, RATE, 2))
}

/// Fills in what a program left open, and keeps the rest within what works.
pub(super) fn playback_attr(spec: &SampleSpec, wanted: &BufferAttr) -> BufferAttr {
    let whole = |bytes: u32| bytes / frame_bytes(spec) as u32 * frame_bytes(spec) as u32;
    let target = if wanted.target_length == u32::MAX { bytes_of(spec, TARGET_MS) } else { wanted.target_length };
    let target = whole(target.clamp(bytes_of(spec, TARGET_MS_MIN), QUEUE_BYTES_MAX));
    let least = match wanted.minimum_request_length {
        u32::MAX => bytes_of(spec, REQUEST_MS),
        bytes => bytes,
    };
    let least = whole(least.min(target / 4)).max(frame_bytes(spec) as u32);
    let pre_buffering = whole(wanted.pre_buffering.min(target - least));
    let max_length = wanted.max_length.clamp(target, QUEUE_BYTES_MAX.max(target));
    BufferAttr {
        max_length,
        target_length: target,
        pre_buffering,
        minimum_request_length: least,
        fragment_size: u32::MAX,
    }
}

/// The same for a recording.
pub(super) fn record_attr(spec: &SampleSpec, wanted: &BufferAttr) -> BufferAttr {
    let whole = |bytes: u32| bytes / frame_bytes(spec) as u32 * frame_bytes(spec) as u32;
    let fragment = whole(wanted.fragment_size.min(bytes_of(spec, FRAGMENT_MS_MAX))).max(frame_bytes(spec) as u32);
    BufferAttr { fragment_size: fragment, max_length: wanted.max_length.min(QUEUE_BYTES_MAX), ..BufferAttr::default() }
}

impl Playback {
    pub(super) fn new(channel: u32, index: u32, spec: SampleSpec, map: ChannelMap, attr: BufferAttr) -> Playback {
        Playback {
            channel,
            index,
            spec,
            map,
            attr,
            volume: ChannelVolume::norm(spec.channels),
            muted: false,
            corked: false,
            props: Props::new(),
            underruns: 0,
            downmix: Downmix::new(&spec, &map),
            resampler: resampler(spec.sample_rate),
            queue: VecDeque::new(),
            requested: attr.target_length,
            written: 0,
            read: 0,
            playing_for: 0,
            state: State::Filling,
            ready: Vec::new(),
        }
    }

    /// Whether time must go on for it.
    pub(super) fn is_playing(&self) -> bool {
        !self.corked && (self.state != State::Filling || self.is_full_enough())
    }

    /// Takes bytes for a place: relative to the end of what is written (0), absolute (1), relative to what is played
    /// (2). What lies before the place of playing is too late; what leaves a hole is filled with silence.
    pub(super) fn write(&mut self, bytes: &[u8], offset: i64, mode: u8) {
        self.requested = self.requested.saturating_sub(bytes.len() as u32);
        let place = match mode {
            1 => offset,
            2 => self.read.saturating_add(offset),
            _ => self.written.saturating_add(offset),
        };
        let late = self.read.saturating_sub(place).clamp(0, bytes.len() as i64) as usize;
        let bytes = &bytes[late..];
        let at =
            place.saturating_add(late as i64).saturating_sub(self.read).clamp(0, self.attr.max_length.into()) as usize;
        self.queue.resize(at, 0);
        let room = (self.attr.max_length as usize).saturating_sub(at);
        self.queue.extend(&bytes[..bytes.len().min(room)]);
        self.written = self.read + self.queue.len() as i64;
    }

    pub(super) fn flush(&mut self) {
        self.queue.clear();
        self.ready.clear();
        self.written = self.read;
        self.requested = 0;
        self.state = State::Filling;
    }

    /// Plays what there is, even if it is little.
    pub(super) fn trigger(&mut self) {
        if !self.queue.is_empty() {
            self.state = State::Playing;
        }
    }

    pub(super) fn refill(&mut self) {
        self.state = State::Filling;
    }

    pub(super) fn drain(&mut self, request: u32) {
        self.state = State::Draining(request);
    }

    pub(super) fn set_rate(&mut self, rate: u32) {
        self.spec.sample_rate = rate;
        self.resampler = resampler(rate);
    }

    pub(super) fn set_attr(&mut self, attr: BufferAttr) {
        self.attr = attr;
    }

    /// Bytes of the queue.
    pub(super) fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Time until what is written now is played.
    pub(super) fn latency_us(&self) -> u64 {
        let frames = self.queue.len() as u64 / frame_bytes(&self.spec).max(1) as u64;
        frames * 1_000_000 / u64::from(self.spec.sample_rate.max(1))
    }

    fn is_full_enough(&self) -> bool {
        !self.queue.is_empty() && self.queue.len() >= self.attr.pre_buffering as usize
    }

    /// Adds the next samples to `mixed`, stereo interleaved; notices for the program go out.
    pub(super) fn mix(&mut self, mixed: &mut [f32], notices: &mut Vec<Notice>) {
        if !self.corked {
            self.play(mixed, notices);
        }
        notices.extend(self.ask());
    }

    /// What the program is to write now, if it is worth a message.
    pub(super) fn ask(&mut self) -> Option<Notice> {
        let filled = self.queue.len() as u32 + self.requested;
        let missing = self.attr.target_length.saturating_sub(filled);
        if missing < self.attr.minimum_request_length || matches!(self.state, State::Draining(_)) {
            return None;
        }
        self.requested += missing;
        Some(Notice::Request(missing))
    }

    fn play(&mut self, mixed: &mut [f32], notices: &mut Vec<Notice>) {
        if self.state == State::Filling {
            if !self.is_full_enough() {
                return;
            }
            self.state = State::Playing;
            self.playing_for = 0;
            notices.push(Notice::Started);
        }
        let volume = samples::gains(&self.volume, self.muted);
        let frame = frame_bytes(&self.spec);
        let mut stereo = Vec::new();
        while self.ready.len() < mixed.len() {
            let wanted =
                (mixed.len() - self.ready.len()) as u64 / 2 * u64::from(self.spec.sample_rate) / u64::from(RATE) + 1;
            let bytes = (wanted as usize * frame).min(self.queue.len() / frame * frame);
            if bytes == 0 {
                break;
            }
            let taken: Vec<u8> = self.queue.drain(..bytes).collect();
            self.read += bytes as i64;
            self.playing_for += bytes as u64;
            stereo.clear();
            self.downmix.read(&self.spec, volume, &taken, &mut stereo);
            match &mut self.resampler {
                Some(resampler) => resampler.resample(&stereo, &mut self.ready),
                None => self.ready.extend_from_slice(&stereo),
            }
        }
        let count = mixed.len().min(self.ready.len());
        for (sum, sample) in mixed.iter_mut().zip(self.ready.drain(..count)) {
            *sum += sample;
        }
        if count < mixed.len() {
            match self.state {
                State::Draining(request) => {
                    self.queue.clear();
                    self.state = State::Filling;
                    notices.push(Notice::Drained(request));
                }
                _ => {
                    self.underruns += 1;
                    notices.push(Notice::Underflow(self.read));
                    // Without a level to fill up to, it goes on as soon as something comes.
                    self.state = State::Filling;
                }
            }
        }
    }
}

impl Recording {
    pub(super) fn new(
        channel: u32,
        index: u32,
        source: u32,
        spec: SampleSpec,
        map: ChannelMap,
        attr: BufferAttr,
        channels: usize,
    ) -> Recording {
        Recording {
            channel,
            index,
            source,
            spec,
            map,
            attr,
            volume: ChannelVolume::norm(spec.channels),
            muted: false,
            corked: false,
            props: Props::new(),
            written: 0,
            resampler: Resampler::new(RATE, spec.sample_rate, channels),
            channels,
            samples: Vec::new(),
            bytes: Vec::new(),
        }
    }

    /// Takes samples at 48 kHz; the bytes to hand over, if enough have come together.
    pub(super) fn record(&mut self, samples: &[f32]) -> Option<Vec<u8>> {
        if self.corked {
            return None;
        }
        self.samples.clear();
        self.resampler.resample(samples, &mut self.samples);
        let gain = samples::gains(&self.volume, self.muted)[0];
        self.samples.iter_mut().for_each(|s| *s *= gain);
        samples::write_frames(&self.spec, &self.samples, self.channels, &mut self.bytes);
        if self.bytes.len() < self.attr.fragment_size as usize {
            return None;
        }
        self.written += self.bytes.len() as i64;
        Some(std::mem::take(&mut self.bytes))
    }

    pub(super) fn flush(&mut self) {
        self.bytes.clear();
    }

    pub(super) fn set_rate(&mut self, rate: u32) {
        self.spec.sample_rate = rate;
        self.resampler = Resampler::new(RATE, rate, self.channels);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulseaudio::protocol::SampleFormat;

    const SPEC: SampleSpec = SampleSpec { format: SampleFormat::S16Le, channels: 2, sample_rate: 48_000 };

    fn playback(attr: BufferAttr) -> Playback {
        Playback::new(0, 1, SPEC, ChannelMap::stereo(), playback_attr(&SPEC, &attr))
    }

    #[test]
    fn attributes_are_kept_within_what_works() {
        // What PulseAudio 16 grants.
        let open = playback_attr(&SPEC, &BufferAttr::default());
        assert_eq!((open.target_length, open.minimum_request_length), (384_000, 3_840));
        let browser = BufferAttr { target_length: 38_400, minimum_request_length: 4_800, ..BufferAttr::default() };
        let browser = playback_attr(&SPEC, &browser);
        assert_eq!((browser.target_length, browser.minimum_request_length), (38_400, 4_800));
        assert_eq!(browser.pre_buffering, 33_600);
        let tiny = playback_attr(
            &SPEC,
            &BufferAttr { target_length: 1, pre_buffering: 0, minimum_request_length: 0, ..BufferAttr::default() },
        );
        assert_eq!((tiny.target_length, tiny.minimum_request_length, tiny.pre_buffering), (7_680, 4, 0));
        let wide = SampleSpec { format: SampleFormat::Float32Le, channels: 32, sample_rate: 384_000 };
        assert!(playback_attr(&wide, &BufferAttr::default()).target_length <= QUEUE_BYTES_MAX);
    }

    #[test]
    fn it_asks_for_what_it_plays_and_says_when_it_runs_dry() {
        let mut p = playback(BufferAttr { target_length: 38_400, ..BufferAttr::default() });
        let mut notices = Vec::new();
        let mut mixed = vec![0.0; 960];
        p.mix(&mut mixed, &mut notices);
        assert!(notices.is_empty(), "nothing before the first bytes, which the reply asked for: {notices:?}");
        p.write(&[0, 0x40].repeat(19_200), 0, 0);
        for _ in 0..20 {
            p.mix(&mut mixed, &mut notices);
        }
        assert_eq!(notices[0], Notice::Started);
        let asked: u32 = notices.iter().map(|n| if let Notice::Request(n) = n { *n } else { 0 }).sum();
        assert!(asked >= 38_400 - 9_600, "{asked}");
        p.mix(&mut mixed, &mut notices);
        assert!(notices.iter().any(|n| matches!(n, Notice::Underflow(_))) && !p.is_playing());
    }

    #[test]
    fn seeks_of_a_hostile_program_stay_inside_the_queue() {
        let mut p = playback(BufferAttr::default());
        for (offset, mode) in
            [(i64::MAX, 0), (i64::MIN, 0), (i64::MAX, 1), (-5, 2), (i64::MAX, 2), (i64::MIN, 3), (7, 9)]
        {
            p.write(&[1; 100], offset, mode);
            assert!(p.queued() <= p.attr.max_length as usize && p.written >= p.read);
        }
    }

    #[test]
    fn a_drain_is_answered_when_all_is_played() {
        let mut p = playback(BufferAttr::default());
        let (mut notices, mut mixed) = (Vec::new(), vec![0.0; 960]);
        p.write(&[1; 4_000], 0, 0);
        p.drain(77);
        for _ in 0..4 {
            p.mix(&mut mixed, &mut notices);
        }
        assert_eq!(notices.iter().filter(|n| **n == Notice::Drained(77)).count(), 1);
    }
}
