//! The viewer's loudspeakers and microphone: samples through a ring, so that the device's callback neither waits nor
//! allocates. By `pulse` where a PulseAudio answers, else by cpal.
//!
//! All that is decided about sound is elsewhere: what is played next in `proto::sound`, when in `viewer::sound`.

mod callback;
#[cfg(target_os = "linux")]
mod pulse;

use crate::proto::sound::packet::RATE;
use crate::proto::sound::resample::Resampler;
use callback::{Hearing, Playing, Shared};
use cpal::traits::{DeviceTrait, HostTrait, StreamTrait};
use cpal::{BufferSize, FromSample, SampleFormat, SizedSample, StreamConfig, SupportedStreamConfigRange};
use rtrb::{Consumer, Producer, RingBuffer};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;
use thiserror::Error;

/// Samples of each channel that a device of cpal's asks for at once: 10 ms.
const PERIOD: u32 = RATE / 100;
/// Samples that a ring holds: half a second of eight channels.
const RING: usize = 8 * RATE as usize / 2;
/// The sound thread's priority among others: what sound servers ask for.
#[cfg(target_os = "linux")]
const PRIORITY: i32 = -11;
/// A sound system that does not answer for this long has no device.
const OPEN: Duration = Duration::from_secs(3);

/// Why a device cannot be used.
#[derive(Debug, Error)]
pub enum SoundDeviceError {
    /// There is none, or not the chosen one.
    #[error("there is no such sound device")]
    Missing,
    /// It has no form that we can use, or is taken.
    #[error("the sound device cannot be used: {0}")]
    Device(#[from] cpal::Error),
    /// The sound server refuses.
    #[cfg(target_os = "linux")]
    #[error("the sound server does not give the device: {0}")]
    Server(#[from] pulseaudio::ClientError),
    /// The sound server does not answer.
    #[cfg(target_os = "linux")]
    #[error("the sound server does not answer")]
    Silent,
    /// Its samples are of a kind that we do not have.
    #[error("the sound device wants samples of the kind {0}")]
    Format(SampleFormat),
}

/// A device that can be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SoundDevice {
    /// Stays the same over restarts.
    pub id: String,
    /// As the system names it to its users.
    pub name: String,
    /// PulseAudio's number of it, never used twice: a device that was unplugged and is back has another one.
    pub number: Option<u32>,
}

/// The sound system.
pub struct SoundSystem {
    host: cpal::Host,
    #[cfg(target_os = "linux")]
    pulse: Option<pulse::Pulse>,
}

/// What plays.
enum Playback {
    Device(cpal::Stream),
    #[cfg(target_os = "linux")]
    Pulse(pulse::Playback),
}

/// What records, as long as it lives.
enum Recording {
    Device {
        _stream: cpal::Stream,
    },
    #[cfg(target_os = "linux")]
    Pulse {
        _stream: pulseaudio::RecordStream,
    },
}

/// An open loudspeaker.
pub struct Output {
    stream: Playback,
    /// The device's id.
    pub id: String,
    /// Its number when it was opened, as in [`SoundDevice::number`].
    pub number: Option<u32>,
    ring: Producer<f32>,
    channels: usize,
    rate: u32,
    resampler: Option<Resampler>,
    scratch: Vec<f32>,
    state: Arc<Shared>,
    playing: bool,
    _clock: FineClock,
}

/// An open microphone.
pub struct Input {
    _stream: Recording,
    /// The device's id.
    pub id: String,
    /// Its number when it was opened, as in [`SoundDevice::number`].
    pub number: Option<u32>,
    ring: Consumer<f32>,
    channels: usize,
    resampler: Option<Resampler>,
    scratch: Vec<f32>,
    state: Arc<Shared>,
    _clock: FineClock,
}

impl SoundSystem {
    /// Opens the system's sound: PulseAudio or PipeWire where one answers, else what the system has.
    pub fn open() -> SoundSystem {
        let host = cpal::default_host();
        SoundSystem {
            #[cfg(target_os = "linux")]
            pulse: (host.id() == cpal::HostId::PulseAudio).then(pulse::Pulse::open).flatten(),
            host,
        }
    }

    /// Whether it is worth keeping: a connection to a PulseAudio that answers. All else costs nothing to open anew, and
    /// only so a PulseAudio is found that was away.
    pub fn is_lasting(&self) -> bool {
        #[cfg(target_os = "linux")]
        return self.pulse.as_ref().is_some_and(|pulse| pulse.outputs().is_some());
        #[cfg(not(target_os = "linux"))]
        return false;
    }

    /// All loudspeakers.
    pub fn outputs(&self) -> Vec<SoundDevice> {
        #[cfg(target_os = "linux")]
        if let Some(pulse) = &self.pulse {
            return pulse.outputs().unwrap_or_default().into_iter().map(SoundDevice::from).collect();
        }
        let devices = self.host.output_devices().map(|devices| devices.filter_map(|d| describe(&d)).collect());
        devices.unwrap_or_default()
    }

    /// All microphones; what only hears a loudspeaker is none.
    pub fn inputs(&self) -> Vec<SoundDevice> {
        #[cfg(target_os = "linux")]
        if let Some(pulse) = &self.pulse {
            let found = pulse.inputs().unwrap_or_default().into_iter();
            return found.filter(|found| !found.id.ends_with(".monitor")).map(SoundDevice::from).collect();
        }
        let devices = self.host.input_devices().map(|devices| devices.filter_map(|d| describe(&d)).collect());
        devices.unwrap_or_default()
    }

    /// The id of the system's own choice of a loudspeaker, now.
    pub fn default_output(&self) -> Option<String> {
        #[cfg(target_os = "linux")]
        if let Some(pulse) = &self.pulse {
            return Some(pulse.default_output()?.id);
        }
        Some(self.host.default_output_device()?.id().ok()?.to_string())
    }

    /// The same for the microphone.
    pub fn default_input(&self) -> Option<String> {
        #[cfg(target_os = "linux")]
        if let Some(pulse) = &self.pulse {
            return Some(pulse.default_input()?.id);
        }
        Some(self.host.default_input_device()?.id().ok()?.to_string())
    }

    /// Opens a loudspeaker: this one, or the system's choice. It plays nothing until [`Output::play`].
    ///
    /// # Errors
    /// [`SoundDeviceError`].
    pub fn open_output(&self, id: Option<&str>) -> Result<Output, SoundDeviceError> {
        #[cfg(target_os = "linux")]
        if let Some(pulse) = &self.pulse {
            let found = match id {
                Some(id) => pulse.outputs().into_iter().flatten().find(|found| found.id == id),
                None => pulse.default_output(),
            };
            let found = found.ok_or(SoundDeviceError::Missing)?;
            let (ring, consumer) = RingBuffer::new(RING);
            let state = Shared::new();
            let stream = Playback::Pulse(pulse.open_output(found.number, consumer, &state)?);
            return Ok(Output {
                stream,
                id: found.id,
                number: Some(found.number),
                ring,
                channels: 2,
                rate: RATE,
                resampler: None,
                scratch: Vec::new(),
                state,
                playing: false,
                _clock: FineClock::begin(),
            });
        }
        let device = match id {
            Some(id) => self.host.output_devices()?.find(|d| is(d, id)),
            None => self.host.default_output_device(),
        };
        let device = device.ok_or(SoundDeviceError::Missing)?;
        let default = device.default_output_config()?;
        let ranges = device.supported_output_configs()?;
        let (config, format) = choose(ranges, 2, default.channels(), default.sample_rate(), default.sample_format());
        let (ring, consumer) = RingBuffer::new(RING);
        let state = Shared::new();
        let stream = match format {
            SampleFormat::F32 => build_output::<f32>(&device, config, consumer, &state),
            SampleFormat::I16 => build_output::<i16>(&device, config, consumer, &state),
            SampleFormat::I32 => build_output::<i32>(&device, config, consumer, &state),
            SampleFormat::U8 => build_output::<u8>(&device, config, consumer, &state),
            other => return Err(SoundDeviceError::Format(other)),
        }?;
        Ok(Output {
            stream: Playback::Device(stream),
            number: None,
            id: device.id()?.to_string(),
            ring,
            channels: config.channels.into(),
            rate: config.sample_rate,
            resampler: (config.sample_rate != RATE).then(|| Resampler::new(RATE, config.sample_rate, 2)),
            scratch: Vec::new(),
            state,
            playing: false,
            _clock: FineClock::begin(),
        })
    }

    /// Opens a microphone: this one, or the system's choice. It records at once.
    ///
    /// # Errors
    /// [`SoundDeviceError`].
    pub fn open_input(&self, id: Option<&str>) -> Result<Input, SoundDeviceError> {
        #[cfg(target_os = "linux")]
        if let Some(pulse) = &self.pulse {
            let found = match id {
                Some(id) => pulse.inputs().into_iter().flatten().find(|found| found.id == id),
                None => pulse.default_input(),
            };
            let found = found.ok_or(SoundDeviceError::Missing)?;
            let (producer, ring) = RingBuffer::new(RING);
            let state = Shared::new();
            let stream = pulse.open_input(found.number, producer, &state)?;
            return Ok(Input {
                _stream: Recording::Pulse { _stream: stream },
                id: found.id,
                number: Some(found.number),
                ring,
                channels: 1,
                resampler: None,
                scratch: Vec::new(),
                state,
                _clock: FineClock::begin(),
            });
        }
        let device = match id {
            Some(id) => self.host.input_devices()?.find(|d| is(d, id)),
            None => self.host.default_input_device(),
        };
        let device = device.ok_or(SoundDeviceError::Missing)?;
        let default = device.default_input_config()?;
        let ranges = device.supported_input_configs()?;
        let (config, format) = choose(ranges, 1, default.channels(), default.sample_rate(), default.sample_format());
        let (producer, ring) = RingBuffer::new(RING);
        let state = Shared::new();
        let stream = match format {
            SampleFormat::F32 => build_input::<f32>(&device, config, producer, &state),
            SampleFormat::I16 => build_input::<i16>(&device, config, producer, &state),
            SampleFormat::I32 => build_input::<i32>(&device, config, producer, &state),
            SampleFormat::U8 => build_input::<u8>(&device, config, producer, &state),
            other => return Err(SoundDeviceError::Format(other)),
        }?;
        stream.play()?;
        Ok(Input {
            _stream: Recording::Device { _stream: stream },
            number: None,
            id: device.id()?.to_string(),
            ring,
            channels: config.channels.into(),
            resampler: (config.sample_rate != RATE).then(|| Resampler::new(config.sample_rate, RATE, 1)),
            scratch: Vec::new(),
            state,
            _clock: FineClock::begin(),
        })
    }
}

/// What devices there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SoundDevices {
    /// Loudspeakers.
    pub outputs: Vec<SoundDevice>,
    /// Microphones.
    pub inputs: Vec<SoundDevice>,
    /// The id of the system's own choice of a loudspeaker.
    pub default_output: Option<String>,
    /// The same for the microphone.
    pub default_input: Option<String>,
}

/// Looks for devices on a thread of its own, as a sound system may take longer over that than sound can wait.
#[derive(Debug)]
pub struct DeviceLook {
    asks: SyncSender<()>,
    found: Receiver<SoundDevices>,
    is_asked: bool,
}

impl DeviceLook {
    /// Begins; the thread sleeps until it is asked.
    ///
    /// # Errors
    /// If there is no thread.
    pub fn start() -> std::io::Result<DeviceLook> {
        let (asks, asked) = sync_channel(1);
        let (tell, found) = sync_channel(1);
        let work = move || {
            let mut last = None;
            while asked.recv().is_ok() {
                let kept = last.take().filter(SoundSystem::is_lasting);
                let system = last.insert(kept.unwrap_or_else(SoundSystem::open));
                let devices = SoundDevices {
                    outputs: system.outputs(),
                    inputs: system.inputs(),
                    default_output: system.default_output(),
                    default_input: system.default_input(),
                };
                if tell.send(devices).is_err() {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("devices".into()).spawn(work)?;
        Ok(DeviceLook { asks, found, is_asked: false })
    }

    /// Asks for a look, unless one is under way.
    pub fn ask(&mut self) {
        if !self.is_asked {
            self.is_asked = self.asks.try_send(()).is_ok();
        }
    }

    /// What was found, once it is there.
    pub fn poll(&mut self) -> Option<SoundDevices> {
        let found = self.found.try_recv().ok()?;
        self.is_asked = false;
        Some(found)
    }
}

impl Output {
    /// Plays what is written.
    ///
    /// # Errors
    /// [`SoundDeviceError`].
    pub fn play(&mut self) -> Result<(), SoundDeviceError> {
        if !self.playing {
            match &self.stream {
                Playback::Device(stream) => stream.play()?,
                #[cfg(target_os = "linux")]
                Playback::Pulse(stream) => stream.play()?,
            }
            self.playing = true;
        }
        Ok(())
    }

    /// Time of what is written and not yet played, or, of a device that does not tell that, not yet with the device.
    pub fn queued(&self) -> Duration {
        let frames = (RING - self.ring.slots()) / self.channels.max(1);
        Duration::from_secs_f64(frames as f64 / f64::from(self.rate.max(1))) + self.state.held()
    }

    /// Writes stereo samples at 48 kHz, of a sound that goes on until [`Output::rest`]; what does not fit is lost.
    pub fn write(&mut self, stereo: &[f32]) {
        #[cfg(target_os = "linux")]
        if !self.state.is_sounding() {
            self.state.note_asked(self.state.now());
        }
        self.state.set_sounding(true);
        self.fill_ring(stereo);
        #[cfg(target_os = "linux")]
        if let Playback::Pulse(stream) = &self.stream {
            stream.wake();
        }
    }

    /// The sound is over: what is written is its end, and silence after it is nothing missing.
    pub fn rest(&mut self) {
        self.state.set_sounding(false);
    }

    fn fill_ring(&mut self, stereo: &[f32]) {
        self.scratch.clear();
        match &mut self.resampler {
            Some(resampler) => resampler.resample(stereo, &mut self.scratch),
            None => self.scratch.extend_from_slice(stereo),
        }
        for frame in self.scratch.chunks_exact(2) {
            if self.ring.slots() < self.channels {
                return;
            }
            for channel in 0..self.channels {
                let sample = match (self.channels, channel) {
                    (1, _) => (frame[0] + frame[1]) / 2.0,
                    (_, 0 | 1) => frame[channel],
                    _ => 0.0,
                };
                // There is room: nobody else writes.
                let _ = self.ring.push(sample);
            }
        }
    }

    /// Whether the device is gone and another one is needed.
    pub fn has_failed(&self) -> bool {
        #[cfg(target_os = "linux")]
        if let Playback::Pulse(stream) = &self.stream
            && stream.is_stuck(&self.state)
        {
            return true;
        }
        self.state.has_failed()
    }

    /// Times that the device had nothing to play in the middle of a sound, or says that it had a fault.
    pub fn missed(&self) -> u64 {
        self.state.missed()
    }

    /// Time of silence in the middle of sounds. A device of cpal's that has run dry behind its callback does not tell for
    /// how long.
    pub fn missing(&self) -> Duration {
        self.state.missing()
    }

    /// Least that the device had left before it was given more, since the last call; none where it does not say that.
    pub fn least_left(&self) -> Option<Duration> {
        self.state.take_least_left()
    }
}

impl Input {
    /// Appends what was recorded, 48 kHz mono.
    pub fn read(&mut self, out: &mut Vec<f32>) {
        self.scratch.clear();
        let frames = self.ring.slots() / self.channels.max(1);
        for _ in 0..frames {
            let mut sum = 0.0;
            for _ in 0..self.channels {
                sum += self.ring.pop().unwrap_or(0.0);
            }
            self.scratch.push(sum / self.channels as f32);
        }
        match &mut self.resampler {
            Some(resampler) => resampler.resample(&self.scratch, out),
            None => out.extend_from_slice(&self.scratch),
        }
    }

    /// Whether the device is gone and another one is needed.
    pub fn has_failed(&self) -> bool {
        self.state.has_failed()
    }
}

/// Asks the system to let this thread go before others, as sound is little work and late at once. Where it does not allow
/// that (Linux: to root, and to users with a limit on `nice`), the thread's share stays everybody's.
pub fn prefer_this_thread() {
    // For Linux a thread is a process here.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::setpriority_process(None, PRIORITY);
    #[cfg(windows)]
    windows::prefer_this_thread();
}

/// As long as it lives, who sleeps wakes within a millisecond. Windows alone has to be asked: a program that does not care
/// wakes up to 16 ms late there, most of what a device has in hand.
struct FineClock;

impl FineClock {
    fn begin() -> FineClock {
        #[cfg(windows)]
        windows::begin_fine_clock();
        FineClock
    }
}

impl Drop for FineClock {
    fn drop(&mut self) {
        #[cfg(windows)]
        windows::end_fine_clock();
    }
}

#[cfg(windows)]
#[allow(unsafe_code, reason = "Windows takes wishes about its clock and threads in C only")]
mod windows {
    use windows_sys::Win32::Media::{timeBeginPeriod, timeEndPeriod};
    use windows_sys::Win32::System::Threading::{GetCurrentThread, SetThreadPriority, THREAD_PRIORITY_HIGHEST};

    /// Of Windows' timers, in milliseconds.
    const PERIOD_MS: u32 = 1;

    pub(super) fn prefer_this_thread() {
        // SAFETY: the handle means this thread, wherever it is used, and is not to be closed.
        unsafe { SetThreadPriority(GetCurrentThread(), THREAD_PRIORITY_HIGHEST) };
    }

    pub(super) fn begin_fine_clock() {
        // SAFETY: takes a number.
        unsafe { timeBeginPeriod(PERIOD_MS) };
    }

    pub(super) fn end_fine_clock() {
        // SAFETY: takes a number; each end follows a beginning, as `FineClock` says.
        unsafe { timeEndPeriod(PERIOD_MS) };
    }
}

#[cfg(target_os = "linux")]
impl From<pulse::Found> for SoundDevice {
    fn from(found: pulse::Found) -> SoundDevice {
        SoundDevice { id: found.id, name: found.name, number: Some(found.number) }
    }
}

fn describe(device: &cpal::Device) -> Option<SoundDevice> {
    let id = device.id().ok()?.to_string();
    let name = device.description().map_or_else(|_| id.clone(), |d| d.name().to_owned());
    Some(SoundDevice { id, name, number: None })
}

fn is(device: &cpal::Device, id: &str) -> bool {
    device.id().is_ok_and(|found| found.to_string() == id)
}

/// 48 kHz floats in as many channels as we have, where the device takes that; else what it likes best.
fn choose(
    ranges: impl Iterator<Item = SupportedStreamConfigRange>,
    channels: u16,
    default_channels: u16,
    default_rate: u32,
    default_format: SampleFormat,
) -> (StreamConfig, SampleFormat) {
    let fits = |r: &SupportedStreamConfigRange| {
        r.channels() == channels && r.min_sample_rate() <= RATE && RATE <= r.max_sample_rate()
    };
    let formats: Vec<SampleFormat> = ranges.filter(fits).map(|r| r.sample_format()).collect();
    let known = [SampleFormat::F32, SampleFormat::I16, SampleFormat::I32];
    let buffer_size = BufferSize::Fixed(PERIOD);
    match known.into_iter().find(|f| formats.contains(f)) {
        Some(format) => (StreamConfig { channels, sample_rate: RATE, buffer_size }, format),
        None => {
            let config = StreamConfig {
                channels: default_channels,
                sample_rate: default_rate,
                buffer_size: BufferSize::Default,
            };
            (config, default_format)
        }
    }
}

fn build_output<T: SizedSample + FromSample<f32>>(
    device: &cpal::Device,
    config: StreamConfig,
    ring: Consumer<f32>,
    state: &Arc<Shared>,
) -> Result<cpal::Stream, cpal::Error> {
    let second = u64::from(config.sample_rate) * u64::from(config.channels);
    let (failed, mut playing) = (Arc::clone(state), Playing::new(ring, second, state));
    let play = move |data: &mut [T], _: &cpal::OutputCallbackInfo| playing.fill(data);
    device.build_output_stream(config, play, move |error| note(&failed, &error), Some(OPEN))
}

fn build_input<T: SizedSample>(
    device: &cpal::Device,
    config: StreamConfig,
    ring: Producer<f32>,
    state: &Arc<Shared>,
) -> Result<cpal::Stream, cpal::Error>
where
    f32: FromSample<T>,
{
    let (failed, mut hearing) = (Arc::clone(state), Hearing::new(ring, state));
    let record = move |data: &[T], _: &cpal::InputCallbackInfo| hearing.handle_samples(data);
    device.build_input_stream(config, record, move |error| note(&failed, &error), Some(OPEN))
}

/// Some backends report the same small trouble hundreds of times a second, so nothing is logged here.
fn note(state: &Shared, error: &cpal::Error) {
    use cpal::ErrorKind;
    match error.kind() {
        ErrorKind::DeviceNotAvailable | ErrorKind::HostUnavailable | ErrorKind::StreamInvalidated => {
            state.note_failed();
        }
        _ => {
            state.note_missed();
        }
    }
}
