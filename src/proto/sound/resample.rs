//! Changes the rate of sound, by a little (two clocks that drift) or by much (44.1 kHz to 48 kHz).
//!
//! A windowed sinc, 32 taps wide at the lower of the two rates, from a table of 128 places between two samples. The
//! speed may change at any time without a step in the signal, which is why this is not a crate's chunk-wise resampler.

/// Places in the table between one input sample and the next; between those it is interpolated.
const PHASES: usize = 128;
/// Taps at equal rates: alias and image are 70 dB down.
const TAPS: usize = 32;
/// Widest filter, for large steps down.
const TAPS_MAX: usize = 192;
/// Shape of the Kaiser window.
const BETA: f64 = 8.0;

/// Changes the rate of interleaved samples.
#[derive(Debug)]
pub struct Resampler {
    channels: usize,
    taps: usize,
    table: Vec<f32>,
    /// Input samples per output sample at speed 1.
    step: f64,
    speed: f64,
    /// Place of the next output in `input`, in samples of each channel.
    at: f64,
    input: Vec<f32>,
}

impl Resampler {
    /// From one rate to another, both in samples per second and not 0, for this many channels (not 0).
    pub fn new(from: u32, to: u32, channels: usize) -> Self {
        let step = f64::from(from.max(1)) / f64::from(to.max(1));
        let cutoff = (1.0 / step).min(1.0);
        let taps = (((TAPS as f64 / cutoff) as usize).min(TAPS_MAX) + 1) & !1;
        Self {
            channels: channels.max(1),
            taps,
            table: table(taps, cutoff),
            step,
            speed: 1.0,
            at: 0.0,
            // The first sample comes out at once: before it there was silence.
            input: vec![0.0; (taps / 2 - 1) * channels.max(1)],
        }
    }

    /// How much faster than written it is played: 1.001 takes a thousandth more input.
    pub fn set_speed(&mut self, speed: f64) {
        self.speed = speed.clamp(0.5, 2.0);
    }

    /// Takes interleaved samples and appends what can be made of them. Holds back about half the filter's width.
    pub fn resample(&mut self, samples: &[f32], out: &mut Vec<f32>) {
        self.input.extend_from_slice(samples);
        let count = self.input.len() / self.channels;
        let step = self.step * self.speed;
        while self.at as usize + self.taps <= count {
            let first = self.at as usize;
            let place = (self.at - first as f64) * PHASES as f64;
            let (phase, part) = (place as usize, (place - place.floor()) as f32);
            let near = &self.table[phase * self.taps..][..self.taps];
            let far = &self.table[(phase + 1) * self.taps..][..self.taps];
            for channel in 0..self.channels {
                let mut sum = 0.0;
                for (tap, (a, b)) in near.iter().zip(far).enumerate() {
                    sum += self.input[(first + tap) * self.channels + channel] * (a + (b - a) * part);
                }
                out.push(sum);
            }
            self.at += step;
        }
        let done = (self.at as usize).min(count);
        self.input.drain(..done * self.channels);
        self.at -= done as f64;
    }
}

/// `PHASES + 1` filters of `taps` values, the last one being the first moved by a sample. Each sums up to 1.
fn table(taps: usize, cutoff: f64) -> Vec<f32> {
    let half = taps as f64 / 2.0;
    let mut table = Vec::with_capacity((PHASES + 1) * taps);
    for phase in 0..=PHASES {
        let offset = phase as f64 / PHASES as f64;
        let row: Vec<f64> = (0..taps)
            .map(|tap| {
                let x = tap as f64 - (half - 1.0) - offset;
                let sinc = if x.abs() < 1e-9 {
                    cutoff
                } else {
                    (std::f64::consts::PI * x * cutoff).sin() / (std::f64::consts::PI * x)
                };
                sinc * bessel(BETA * (1.0 - (x / half).powi(2)).max(0.0).sqrt())
            })
            .collect();
        let sum: f64 = row.iter().sum();
        table.extend(row.into_iter().map(|v| (v / sum) as f32));
    }
    table
}

/// The modified Bessel function of the first kind and order 0.
fn bessel(x: f64) -> f64 {
    let (mut sum, mut term) = (1.0, 1.0);
    for k in 1..32 {
        term *= (x / 2.0 / f64::from(k)).powi(2);
        sum += term;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sine(hz: f64, rate: u32, seconds: f64) -> Vec<f32> {
        let count = (f64::from(rate) * seconds) as usize;
        (0..count).map(|i| (i as f64 * hz * std::f64::consts::TAU / f64::from(rate)).sin() as f32 * 0.5).collect()
    }

    /// Power outside of a sine at `hz`, in dB below it, once the filter has settled.
    fn noise_db(samples: &[f32], hz: f64, rate: u32) -> f64 {
        let samples = &samples[200..samples.len() - 200];
        let w = hz * std::f64::consts::TAU / f64::from(rate);
        let (mut re, mut im, mut all) = (0.0, 0.0, 0.0);
        for (i, s) in samples.iter().enumerate() {
            let s = f64::from(*s);
            re += s * (w * i as f64).cos();
            im += s * (w * i as f64).sin();
            all += s * s;
        }
        let n = samples.len() as f64;
        let tone = 2.0 * (re * re + im * im) / n;
        10.0 * ((all - tone).max(1e-12) / tone).log10()
    }

    #[test]
    fn a_tone_stays_a_tone_of_the_same_level() {
        for (from, to, hz) in
            [(44_100, 48_000, 1_000.0), (48_000, 48_000, 7_900.0), (8_000, 48_000, 1_000.0), (48_000, 16_000, 1_000.0)]
        {
            let mut out = Vec::new();
            let mut resampler = Resampler::new(from, to, 1);
            for chunk in sine(hz, from, 1.0).chunks(441) {
                resampler.resample(chunk, &mut out);
            }
            assert!((out.len() as i64 - i64::from(to)).abs() < 128, "{from} to {to}: {}", out.len());
            let peak = out[300..out.len() - 300].iter().fold(0.0_f32, |a, b| a.max(b.abs()));
            assert!((peak - 0.5).abs() < 0.01, "{from} to {to}: peak {peak}");
            let noise = noise_db(&out, hz, to);
            assert!(noise < -55.0, "{from} to {to}: {noise:.0} dB");
        }
    }

    #[test]
    fn what_a_lower_rate_cannot_hold_is_filtered_away() {
        let mut out = Vec::new();
        Resampler::new(48_000, 16_000, 1).resample(&sine(12_000.0, 48_000, 0.5), &mut out);
        let peak = out[200..out.len() - 200].iter().fold(0.0_f32, |a, b| a.max(b.abs()));
        assert!(peak < 0.005, "an alias of {peak}");
    }

    #[test]
    fn a_change_of_speed_makes_no_step() {
        let mut resampler = Resampler::new(48_000, 48_000, 2);
        let mut out = Vec::new();
        for (i, chunk) in sine(440.0, 48_000, 2.0).chunks(480).enumerate() {
            resampler.set_speed(if i % 7 < 3 { 1.004 } else { 0.996 });
            let stereo: Vec<f32> = chunk.iter().flat_map(|s| [*s, -*s]).collect();
            resampler.resample(&stereo, &mut out);
        }
        let largest =
            out.chunks_exact(2).zip(out.chunks_exact(2).skip(1)).map(|(a, b)| (b[0] - a[0]).abs()).fold(0.0, f32::max);
        // The steepest step of the sine itself is 0.5 · 2π · 440 / 48000 = 0.0288.
        assert!(largest < 0.0292, "{largest}");
        assert!(out.chunks_exact(2).all(|f| (f[0] + f[1]).abs() < 1e-6), "channels differ");
    }
}
