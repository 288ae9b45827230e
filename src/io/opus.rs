//! Opus (libopus): samples to frames, and packets to samples by way of the jitter buffer. Used by both ends.
//!
//! Which frame comes next is `proto::sound::jitter`'s decision, what is sent at all `proto::sound::sender`'s.

use crate::limits::SOUND_FRAME_BYTES_MAX;
use crate::proto::sound::jitter::{JitterBuffer, Playout};
use crate::proto::sound::packet::{FRAME, RATE, SoundKind, SoundPacket};
use crate::proto::sound::resample::Resampler;
use crate::proto::sound::sender::Sender;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;
use thiserror::Error;

/// Bits in a second of the session's sound: stereo music without a fault that people hear.
const SOUND_BITS: i32 = 96_000;
/// Bits in a second of a microphone: speech, full band.
const MICROPHONE_BITS: i32 = 32_000;
/// Loss in percent that in-band FEC is made for, where Opus codes speech.
const LOSS_PERCENT: i32 = 5;
/// Samples over which two pieces of sound are blended: 5 ms.
const BLEND: usize = 240;
/// Longest frame that comes out of the decoder, each channel.
const DECODED_MAX: usize = FRAME;

/// libopus refused something.
#[derive(Debug, Error)]
#[error("Opus: {0}")]
pub struct OpusError(#[from] opus::Error);

/// Makes packets of samples.
#[derive(Debug)]
pub struct Talker {
    encoder: opus::Encoder,
    sender: Sender,
    channels: usize,
    /// Less than a frame, interleaved.
    rest: Vec<f32>,
}

/// Makes samples of packets.
#[derive(Debug)]
pub struct Player {
    jitter: JitterBuffer,
    decoder: opus::Decoder,
    resampler: Resampler,
    channels: usize,
    decoded: Vec<f32>,
    /// Where a frame was left out: what would have come, to be blended into what comes.
    blend: Vec<f32>,
    /// Played, and not yet asked for.
    ready: Vec<f32>,
}

/// Channels of a kind of sound.
pub fn channels(kind: SoundKind) -> usize {
    match kind {
        SoundKind::Sound => 2,
        SoundKind::Microphone => 1,
    }
}

fn opus_channels(kind: SoundKind) -> opus::Channels {
    match kind {
        SoundKind::Sound => opus::Channels::Stereo,
        SoundKind::Microphone => opus::Channels::Mono,
    }
}

fn encoder(kind: SoundKind) -> Result<opus::Encoder, OpusError> {
    let (application, bits) = match kind {
        SoundKind::Sound => (opus::Application::Audio, SOUND_BITS),
        SoundKind::Microphone => (opus::Application::Voip, MICROPHONE_BITS),
    };
    let mut encoder = opus::Encoder::new(RATE, opus_channels(kind), application)?;
    encoder.set_bitrate(opus::Bitrate::Bits(bits))?;
    encoder.set_inband_fec(true)?;
    encoder.set_packet_loss_perc(LOSS_PERCENT)?;
    encoder.set_dtx(true)?;
    Ok(encoder)
}

impl Talker {
    /// Nothing has been said yet.
    ///
    /// # Errors
    /// [`OpusError`], if there is no memory.
    pub fn new(kind: SoundKind) -> Result<Talker, OpusError> {
        let encoder = encoder(kind)?;
        let seed = std::hash::RandomState::new().build_hasher().finish();
        Ok(Talker { encoder, sender: Sender::new(kind, seed), channels: channels(kind), rest: Vec::new() })
    }

    /// Whether each frame is to be sent twice.
    pub fn set_doubled(&mut self, doubled: bool) {
        self.sender.set_doubled(doubled);
    }

    /// Whether a sound has begun that has not ended.
    pub fn is_sending(&self) -> bool {
        self.sender.is_sending()
    }

    /// Takes interleaved samples at 48 kHz and appends the packets they make. `clock` is the time in samples.
    ///
    /// # Errors
    /// [`OpusError`].
    pub fn handle_samples(
        &mut self,
        samples: &[f32],
        clock: u64,
        packets: &mut Vec<SoundPacket>,
    ) -> Result<(), OpusError> {
        self.rest.extend_from_slice(samples);
        let mut coded = [0; SOUND_FRAME_BYTES_MAX];
        let length = FRAME * self.channels;
        while self.rest.len() >= length {
            let frame = &self.rest[..length];
            if self.sender.wants(frame) {
                let bytes = self.encoder.encode_float(frame, &mut coded)?;
                packets.extend(self.sender.handle_frame(frame, &coded[..bytes], FRAME as u32, clock));
            }
            self.rest.drain(..length);
        }
        Ok(())
    }
}

impl Player {
    /// For packets of this kind, played at 48 kHz.
    ///
    /// # Errors
    /// [`OpusError`], if there is no memory.
    pub fn new(kind: SoundKind) -> Result<Player, OpusError> {
        let channels = channels(kind);
        Ok(Player {
            jitter: JitterBuffer::new(),
            decoder: opus::Decoder::new(RATE, opus_channels(kind))?,
            resampler: Resampler::new(RATE, RATE, channels),
            channels,
            decoded: vec![0.0; DECODED_MAX * channels],
            blend: Vec::new(),
            ready: Vec::new(),
        })
    }

    /// Takes a packet that came now.
    pub fn handle_packet(&mut self, packet: SoundPacket, now: Duration) {
        self.jitter.handle_packet(packet, now);
    }

    /// Appends `count` samples of each channel, interleaved; fewer while nothing plays.
    ///
    /// Returns how many of each channel it appended.
    pub fn play(&mut self, count: usize, out: &mut Vec<f32>, now: Duration) -> usize {
        let wanted = count * self.channels;
        while self.ready.len() < wanted && self.play_frame(now) {}
        let taken = wanted.min(self.ready.len());
        out.extend(self.ready.drain(..taken));
        taken / self.channels
    }

    /// See [`JitterBuffer::set_lacking`].
    pub fn set_lacking(&mut self, lacking: Duration) {
        self.jitter.set_lacking(lacking);
    }

    /// Whether so many samples of each channel can be played without anything made up.
    pub fn has(&self, count: usize) -> bool {
        self.ready() >= count || self.jitter.has_next()
    }

    /// Whether something is being played or waits.
    pub fn is_busy(&self) -> bool {
        self.jitter.is_busy() || !self.ready.is_empty()
    }

    /// Samples of each channel that are decoded and not yet asked for.
    pub fn ready(&self) -> usize {
        self.ready.len() / self.channels
    }

    /// The jitter buffer, for its numbers.
    pub fn jitter(&self) -> &JitterBuffer {
        &self.jitter
    }

    /// Decodes the next frame; false if there is none.
    fn play_frame(&mut self, now: Duration) -> bool {
        let length = self.jitter.frame_samples() * self.channels;
        let playout = self.jitter.poll_playout(now);
        let made = match &playout {
            Playout::Idle => return false,
            Playout::Frame(frame) | Playout::Skip(frame) => self.decoder.decode_float(frame, &mut self.decoded, false),
            Playout::Recover(later) => self.decoder.decode_float(later, &mut self.decoded[..length], true),
            Playout::Conceal => self.decoder.decode_float(&[], &mut self.decoded[..length], false),
        };
        let count = match made {
            Ok(count) => count * self.channels,
            Err(error) => {
                // A hostile packet: what it stands for is silence.
                tracing::debug!(%error, "Frame of sound not decoded");
                self.decoded[..length].fill(0.0);
                length
            }
        };
        let samples = &mut self.decoded[..count];
        if matches!(playout, Playout::Skip(_)) {
            if self.blend.is_empty() {
                self.blend.extend_from_slice(&samples[..(BLEND * self.channels).min(count)]);
            }
            return true;
        }
        for (i, before) in self.blend.drain(..).enumerate() {
            let part = (i / self.channels) as f32 / BLEND as f32;
            if let Some(sample) = samples.get_mut(i) {
                *sample = before * (1.0 - part) + *sample * part;
            }
        }
        self.resampler.set_speed(self.jitter.speed());
        self.resampler.resample(&self.decoded[..count], &mut self.ready);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_comes_through_at_its_level_and_silence_costs_nothing() {
        let mut talker = Talker::new(SoundKind::Sound).unwrap();
        let mut player = Player::new(SoundKind::Sound).unwrap();
        let (mut packets, mut heard) = (Vec::new(), Vec::new());
        let tone: Vec<f32> =
            (0..2 * 96_000).map(|i| ((i / 2) as f32 * 1000.0 * std::f32::consts::TAU / 48_000.0).sin() * 0.5).collect();
        talker.handle_samples(&tone, 0, &mut packets).unwrap();
        let loud = packets.len();
        talker.handle_samples(&vec![0.0; 2 * 48_000 * 60], 0, &mut packets).unwrap();
        assert!((100..=115).contains(&packets.len()), "a minute of silence took {} packets", packets.len() - loud);
        for (i, packet) in packets.into_iter().enumerate() {
            let now = Duration::from_millis(20 * i as u64);
            player.handle_packet(packet, now);
            player.play(960, &mut heard, now);
        }
        let middle = &heard[48_000..96_000];
        let rms = (middle.iter().map(|s| s * s).sum::<f32>() / middle.len() as f32).sqrt();
        assert!((rms - 0.3536).abs() < 0.02, "{rms}");
        assert_eq!(player.jitter().counts().concealed, 0);
    }

    #[test]
    fn a_clock_that_runs_differently_is_followed_by_the_samples_themselves() {
        // More than clocks differ, for two minutes: without the resampler 60 ms too much, or as much too little.
        let mut encoder = opus::Encoder::new(RATE, opus::Channels::Stereo, opus::Application::Audio).unwrap();
        let (loud, mut coded) = ([0.1; 2 * FRAME], [0; SOUND_FRAME_BYTES_MAX]);
        let bytes = encoder.encode_float(&loud, &mut coded).unwrap();
        for skew in [500.0e-6, -500.0e-6] {
            let mut sender = Sender::new(SoundKind::Sound, 7);
            let mut player = Player::new(SoundKind::Sound).unwrap();
            let (mut sent, mut longest, mut dry) = (0, Duration::ZERO, 0);
            for step in 0..120 * 200_u32 {
                let now = Duration::from_millis(5) * step;
                while f64::from(sent) * 0.020 / (1.0 + skew) <= now.as_secs_f64() {
                    let packet = sender.handle_frame(&loud, &coded[..bytes], FRAME as u32, 0).expect("it is loud");
                    player.handle_packet(packet, now);
                    sent += 1;
                }
                let count = player.play(240, &mut Vec::new(), now);
                // The first ten seconds find out how steady the way is.
                if step > 2_000 {
                    dry += u32::from(count < 240);
                    longest = longest.max(player.jitter().delay());
                }
            }
            let counts = player.jitter().counts();
            assert!(longest < Duration::from_millis(70), "{skew}: {longest:?} {counts:?}");
            assert_eq!((counts.concealed, counts.skipped, counts.late, dry), (0, 0, 0, 0), "{skew}: {longest:?}");
        }
    }

    /// What is heard of a voice that glides upwards, without one frame if it is lost on the way.
    fn voice(in_band_fec: bool, lost: Option<usize>) -> Vec<f32> {
        let mut encoder = encoder(SoundKind::Microphone).unwrap();
        encoder.set_inband_fec(in_band_fec).unwrap();
        let mut sender = Sender::new(SoundKind::Microphone, 7);
        let mut player = Player::new(SoundKind::Microphone).unwrap();
        let (mut coded, mut heard, mut phase) = ([0; SOUND_FRAME_BYTES_MAX], Vec::new(), 0.0_f32);
        for number in 0..40 {
            let frame: Vec<f32> = (0..FRAME)
                .map(|i| {
                    phase += (120.0 + (number * FRAME + i) as f32 * 0.006) / RATE as f32;
                    // A throat's pulse: all harmonics up to 2.4 kHz, the higher the fainter.
                    (1..=12).map(|h| (phase * h as f32 * std::f32::consts::TAU).sin() * 0.2 / h as f32).sum()
                })
                .collect();
            let now = Duration::from_millis(20) * number as u32;
            let bytes = encoder.encode_float(&frame, &mut coded).unwrap();
            let packet = sender.handle_frame(&frame, &coded[..bytes], FRAME as u32, 0).expect("it is loud");
            if lost != Some(number) {
                player.handle_packet(packet, now);
            }
            player.play(FRAME, &mut heard, now);
        }
        heard
    }

    #[test]
    fn what_speech_says_about_the_frame_before_is_used() {
        let error = |in_band_fec| -> f32 {
            let whole = voice(in_band_fec, None);
            let errors = (20..30).map(|lost| {
                let heard = voice(in_band_fec, Some(lost));
                whole.iter().zip(&heard).take((lost + 6) * FRAME).map(|(a, b)| (a - b).powi(2)).sum::<f32>()
            });
            errors.sum()
        };
        let (with, without) = (error(true), error(false));
        assert!(with < 0.6 * without, "error {with} with in-band FEC, {without} without");
    }

    #[test]
    fn hostile_frames_are_silence_at_worst() {
        let mut player = Player::new(SoundKind::Microphone).unwrap();
        let mut out = Vec::new();
        for i in 0..200_u16 {
            let mut frame = vec![(i as u8) << 2 & 0xfc];
            frame.extend((0..i % 90).map(|b| (b * 37) as u8));
            let packet = SoundPacket {
                kind: SoundKind::Microphone,
                last: i % 50 == 0,
                sequence: i.wrapping_mul(3),
                timestamp: u32::from(i) * 960,
                previous: None,
                frame: frame.into(),
            };
            player.handle_packet(packet, Duration::from_millis(20) * u32::from(i));
            player.play(960, &mut out, Duration::from_millis(20) * u32::from(i));
        }
        assert!(out.iter().all(|s| s.is_finite()));
    }
}
