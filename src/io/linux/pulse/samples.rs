//! Samples as programs write them, to 48 kHz stereo floats and back.

use pulseaudio::protocol::{ChannelMap, ChannelPosition, ChannelVolume, SampleFormat, SampleSpec};

/// Reads one sample of `bytes_per_sample` bytes.
fn read(format: SampleFormat, b: &[u8]) -> f32 {
    let int = |v: i32| v as f32 / 2_147_483_648.0;
    match format {
        SampleFormat::U8 => (f32::from(b[0]) - 128.0) / 128.0,
        SampleFormat::Alaw => alaw(b[0]),
        SampleFormat::Ulaw => ulaw(b[0]),
        SampleFormat::S16Le => f32::from(i16::from_le_bytes([b[0], b[1]])) / 32_768.0,
        SampleFormat::S16Be => f32::from(i16::from_be_bytes([b[0], b[1]])) / 32_768.0,
        SampleFormat::Float32Le => plain(f32::from_le_bytes([b[0], b[1], b[2], b[3]])),
        SampleFormat::Float32Be => plain(f32::from_be_bytes([b[0], b[1], b[2], b[3]])),
        SampleFormat::S32Le => int(i32::from_le_bytes([b[0], b[1], b[2], b[3]])),
        SampleFormat::S32Be => int(i32::from_be_bytes([b[0], b[1], b[2], b[3]])),
        SampleFormat::S24Le => int(i32::from_le_bytes([0, b[0], b[1], b[2]])),
        SampleFormat::S24Be => int(i32::from_be_bytes([b[0], b[1], b[2], 0])),
        SampleFormat::S24In32Le => int(i32::from_le_bytes([0, b[0], b[1], b[2]])),
        SampleFormat::S24In32Be => int(i32::from_be_bytes([b[1], b[2], b[3], 0])),
        SampleFormat::Invalid => 0.0,
    }
}

/// A program's float may be anything.
fn plain(v: f32) -> f32 {
    if v.is_finite() { v.clamp(-8.0, 8.0) } else { 0.0 }
}

fn alaw(byte: u8) -> f32 {
    let a = byte ^ 0x55;
    let (exponent, mantissa) = (i32::from(a >> 4 & 7), i32::from(a & 15));
    let value = if exponent == 0 { mantissa * 16 + 8 } else { (mantissa * 16 + 264) << (exponent - 1) };
    (if a & 0x80 == 0 { -value } else { value }) as f32 / 32_768.0
}

fn ulaw(byte: u8) -> f32 {
    let u = !byte;
    let value = ((i32::from(u & 15) * 8 + 132) << (u >> 4 & 7)) - 132;
    (if u & 0x80 != 0 { -value } else { value }) as f32 / 32_768.0
}

/// Appends one sample.
fn write(format: SampleFormat, value: f32, out: &mut Vec<u8>) {
    let int = |scale: f32| (value.clamp(-1.0, 1.0) * scale) as i32;
    match format {
        SampleFormat::U8 => out.push((int(127.0) + 128) as u8),
        SampleFormat::S16Be => out.extend_from_slice(&(int(32_767.0) as i16).to_be_bytes()),
        SampleFormat::Float32Le => out.extend_from_slice(&value.to_le_bytes()),
        SampleFormat::Float32Be => out.extend_from_slice(&value.to_be_bytes()),
        SampleFormat::S32Le => out.extend_from_slice(&int(2_147_483_520.0).to_le_bytes()),
        SampleFormat::S32Be => out.extend_from_slice(&int(2_147_483_520.0).to_be_bytes()),
        SampleFormat::S24Le => out.extend_from_slice(&int(8_388_607.0).to_le_bytes()[..3]),
        SampleFormat::S24Be => out.extend_from_slice(&int(8_388_607.0).to_be_bytes()[1..]),
        SampleFormat::S24In32Le => out.extend_from_slice(&int(8_388_607.0).to_le_bytes()),
        SampleFormat::S24In32Be => out.extend_from_slice(&int(8_388_607.0).to_be_bytes()),
        // Telephone formats are not offered for recording; see `is_recordable`.
        SampleFormat::S16Le | SampleFormat::Alaw | SampleFormat::Ulaw | SampleFormat::Invalid => {
            out.extend_from_slice(&(int(32_767.0) as i16).to_le_bytes());
        }
    }
}

/// Whether programs may record in this format.
pub(super) fn is_recordable(format: SampleFormat) -> bool {
    !matches!(format, SampleFormat::Alaw | SampleFormat::Ulaw | SampleFormat::Invalid)
}

/// Whether samples of this kind can be taken.
pub(super) fn is_valid(spec: &SampleSpec) -> bool {
    spec.format != SampleFormat::Invalid
        && (1..=32).contains(&spec.channels)
        && (1_000..=384_000).contains(&spec.sample_rate)
}

/// Bytes of one sample of all channels.
pub(super) fn frame_bytes(spec: &SampleSpec) -> usize {
    spec.format.bytes_per_sample() * usize::from(spec.channels)
}

/// How much of each channel goes to the left and to the right ear.
#[derive(Debug)]
pub(super) struct Downmix(Vec<[f32; 2]>);

impl Downmix {
    pub(super) fn new(spec: &SampleSpec, map: &ChannelMap) -> Downmix {
        use ChannelPosition as P;
        let mut positions: Vec<P> = map.into_iter().collect();
        positions.resize(usize::from(spec.channels), P::Mono);
        let mut parts: Vec<[f32; 2]> = positions
            .iter()
            .map(|position| match position {
                P::FrontLeft => [1.0, 0.0],
                P::FrontRight => [0.0, 1.0],
                P::RearLeft | P::SideLeft | P::FrontLeftOfCenter | P::TopFrontLeft | P::TopRearLeft => [0.7, 0.0],
                P::RearRight | P::SideRight | P::FrontRightOfCenter | P::TopFrontRight | P::TopRearRight => [0.0, 0.7],
                P::Mono if spec.channels == 1 => [1.0, 1.0],
                P::Lfe => [0.3, 0.3],
                _ => [0.7, 0.7],
            })
            .collect();
        // More than two channels together must not be louder than one at its loudest.
        for ear in 0..2 {
            let sum: f32 = parts.iter().map(|p| p[ear]).sum();
            if sum > 1.0 {
                parts.iter_mut().for_each(|p| p[ear] /= sum);
            }
        }
        Downmix(parts)
    }

    /// Appends whole frames of `bytes` as interleaved stereo.
    pub(super) fn read(&self, spec: &SampleSpec, volume: [f32; 2], bytes: &[u8], out: &mut Vec<f32>) {
        let size = spec.format.bytes_per_sample().max(1);
        for frame in bytes.chunks_exact(frame_bytes(spec).max(1)) {
            let mut ears = [0.0; 2];
            for (sample, part) in frame.chunks_exact(size).zip(&self.0) {
                let value = read(spec.format, sample);
                ears[0] += value * part[0];
                ears[1] += value * part[1];
            }
            out.extend_from_slice(&[ears[0] * volume[0], ears[1] * volume[1]]);
        }
    }
}

/// Appends interleaved samples of `channels` channels in a program's format.
pub(super) fn write_frames(spec: &SampleSpec, samples: &[f32], channels: usize, out: &mut Vec<u8>) {
    for frame in samples.chunks_exact(channels) {
        let middle = frame.iter().sum::<f32>() / channels as f32;
        for channel in 0..usize::from(spec.channels) {
            let value = if spec.channels == 1 { middle } else { frame.get(channel).copied().unwrap_or(middle) };
            write(spec.format, value, out);
        }
    }
}

/// What left and right are multiplied with.
pub(super) fn gains(volume: &ChannelVolume, muted: bool) -> [f32; 2] {
    if muted {
        return [0.0; 2];
    }
    let linear: Vec<f32> = volume.channels().iter().map(|v| v.to_linear().min(4.0)).collect();
    match linear[..] {
        [left, right] => [left, right],
        [] => [1.0; 2],
        ref all => [all.iter().sum::<f32>() / all.len() as f32; 2],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_comes_back_as_it_was() {
        use SampleFormat::*;
        for format in [U8, S16Le, S16Be, Float32Le, Float32Be, S32Le, S32Be, S24Le, S24Be, S24In32Le, S24In32Be] {
            for value in [-1.0_f32, -0.5, 0.0, 0.25, 0.99] {
                let mut bytes = Vec::new();
                write(format, value, &mut bytes);
                assert_eq!(bytes.len(), format.bytes_per_sample(), "{format:?}");
                let back = read(format, &bytes);
                assert!((back - value).abs() < if format == U8 { 0.02 } else { 1e-3 }, "{format:?}: {value} {back}");
            }
        }
        assert!((ulaw(0x80) - 0.98).abs() < 0.02 && ulaw(0xff).abs() < 1e-3);
        assert!((alaw(0xaa) - 0.98).abs() < 0.02 && alaw(0xd5).abs() < 1e-3);
    }

    #[test]
    fn channels_are_mixed_for_two_ears() {
        let spec = |channels| SampleSpec { format: SampleFormat::Float32Le, channels, sample_rate: 48_000 };
        let check = |channels, map: ChannelMap, values: &[f32], expected: [f32; 2]| {
            let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            let mut out = Vec::new();
            Downmix::new(&spec(channels), &map).read(&spec(channels), [1.0; 2], &bytes, &mut out);
            assert!((out[0] - expected[0]).abs() < 1e-6 && (out[1] - expected[1]).abs() < 1e-6, "{out:?}");
        };
        check(1, ChannelMap::mono(), &[0.5], [0.5, 0.5]);
        check(2, ChannelMap::stereo(), &[0.5, -0.25], [0.5, -0.25]);
        check(2, ChannelMap::stereo(), &[f32::NAN, f32::INFINITY], [0.0, 0.0]);
    }
}
