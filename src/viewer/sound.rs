//! The sound thread: packets to loudspeaker, microphone to packets, devices that come and go, and the test page's sounds.
//!
//! What is heard and said at all is `proto::sound::talk`'s decision, made on the net thread. This thread has the clock
//! and the devices; while nothing plays or records it sleeps, and after a while closes the loudspeaker.

use crate::io::opus::{OpusError, Player, Talker};
use crate::io::sound::{DeviceLook, Input, Output, SoundDevice, SoundDevices, SoundSystem, prefer_this_thread};
use crate::proto::sound::ahead::{AHEAD_SPENT, Ahead};
use crate::proto::sound::packet::{RATE, SoundKind, SoundPacket};
use crate::viewer::event::{SoundCommand, SoundFact, SoundNumbers, SoundView, TestState, UiEvent, UiSender};
use crate::viewer::preferences::Preferences;
use bytes::Bytes;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::time::sleep_until;

/// How often the rings are looked after while anything plays or records.
const PUMP: Duration = Duration::from_millis(5);
/// Samples of each channel that are made at once.
const BLOCK: usize = (RATE / 200) as usize;
/// A loudspeaker that plays nothing for so long is closed, and the thread sleeps.
const CLOSE_AFTER: Duration = Duration::from_secs(10);
/// How often the system is asked for its choice of devices, and a device that failed is tried again.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How often the page's meter moves.
const VIEW_EVERY: Duration = Duration::from_millis(100);
/// How often the numbers go out while packets come.
const NUMBERS_EVERY: Duration = Duration::from_millis(500);
/// Length of the test tone and of what the loop records.
const TONE: usize = 2 * RATE as usize;
const LOOP: usize = 3 * RATE as usize;
/// Pitch of the test tone.
const TONE_HZ: f32 = 440.0;
/// Its level: a quarter, -12 dB.
const TONE_LEVEL: f32 = 0.25;
/// In so many samples the meter falls by half, so that an eye can follow: a tenth of a second.
const METER_HALF: usize = RATE as usize / 10;
/// Over so many samples a sound of the test page begins and ends.
const FADE: usize = 480;

/// The ends of the channels that belong to the sound thread.
pub struct SoundEnds {
    /// From net and ui.
    pub commands: mpsc::Receiver<SoundCommand>,
    /// To net.
    pub facts: mpsc::Sender<SoundFact>,
    /// To ui.
    pub ui: UiSender,
    /// What the user chose in an earlier run.
    pub preferences: Preferences,
}

/// The thread's state.
struct Sound {
    started: Instant,
    facts: mpsc::Sender<SoundFact>,
    ui: UiSender,
    system: Option<SoundSystem>,
    look: Option<DeviceLook>,
    devices: SoundDevices,
    player: Player,
    talker: Talker,
    output: Option<Output>,
    input: Option<Input>,
    /// That there is no device was said, until one is opened.
    lacks_output: bool,
    lacks_input: bool,
    chosen_output: Option<String>,
    chosen_input: Option<String>,
    /// The user's volume, and what was reached of it.
    volume: f32,
    gain: f32,
    microphone: bool,
    ahead: Ahead,
    /// What the open loudspeaker has counted, and what all of them have.
    missed: (u64, Duration),
    dry: u64,
    missing: Duration,
    /// The loudspeaker was given all that is to wait for it.
    was_filled: bool,
    sounded_at: Instant,
    look_at: Instant,
    view_at: Option<Instant>,
    numbers_at: Instant,
    was_busy: bool,
    lossy: bool,
    level: f32,
    test: Test,
    packets: Vec<SoundPacket>,
}

/// What the test page plays or records.
enum Test {
    Nothing,
    /// The tone, from this sample on.
    Tone(usize),
    /// The microphone, to be heard afterwards: never both at once, so nothing echoes.
    Recording(Vec<f32>),
    /// What was recorded, from this sample on.
    Replaying(Vec<f32>, usize),
}

/// Runs until net and ui have hung up.
///
/// # Errors
/// [`OpusError`].
pub async fn run(mut ends: SoundEnds) -> Result<(), OpusError> {
    prefer_this_thread();
    let now = Instant::now();
    let mut sound = Sound {
        started: now,
        facts: ends.facts,
        ui: ends.ui,
        system: None,
        look: DeviceLook::start().inspect_err(|error| tracing::error!(%error, "Devices are not looked for")).ok(),
        devices: SoundDevices::default(),
        player: Player::new(SoundKind::Sound)?,
        talker: Talker::new(SoundKind::Microphone)?,
        output: None,
        input: None,
        lacks_output: false,
        lacks_input: false,
        volume: ends.preferences.volume(),
        gain: ends.preferences.volume(),
        chosen_output: ends.preferences.output,
        chosen_input: ends.preferences.input,
        microphone: false,
        ahead: Ahead::new(),
        missed: (0, Duration::ZERO),
        dry: 0,
        missing: Duration::ZERO,
        was_filled: false,
        sounded_at: now,
        look_at: now,
        view_at: None,
        numbers_at: now,
        was_busy: false,
        lossy: false,
        level: 0.0,
        test: Test::Nothing,
        packets: Vec::new(),
    };
    loop {
        let wake = sound.wake_at();
        tokio::select! {
            biased;
            command = ends.commands.recv() => match command {
                Some(command) => sound.handle_command(command)?,
                None => return Ok(()),
            },
            () = async { match wake { Some(at) => sleep_until(at.into()).await, None => std::future::pending().await } } => {}
        }
        sound.tend_devices(Instant::now());
        // What came while this thread was late, or a device was opened, is not taken for lost.
        for _ in 0..ends.commands.len() {
            if let Ok(command) = ends.commands.try_recv() {
                sound.handle_command(command)?;
            }
        }
        sound.tend_devices(Instant::now());
        sound.pump()?;
    }
}

impl Sound {
    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn wake_at(&self) -> Option<Instant> {
        let busy = self.player.is_busy()
            || self.input.is_some()
            || !matches!(self.test, Test::Nothing)
            || self.output.as_ref().is_some_and(|o| !o.queued().is_zero());
        let pump = busy.then(|| Instant::now() + PUMP);
        // An open loudspeaker is watched and, in the end, closed.
        let open = (self.output.is_some() || self.view_at.is_some()).then_some(self.look_at);
        pump.into_iter().chain(open).chain(self.view_at).min()
    }

    fn handle_command(&mut self, command: SoundCommand) -> Result<(), OpusError> {
        match command {
            SoundCommand::Packet(datagram, at) => self.handle_packet(datagram, at),
            SoundCommand::Reset => {
                self.player = Player::new(SoundKind::Sound)?;
                self.talker = Talker::new(SoundKind::Microphone)?;
                (self.dry, self.missing) = (0, Duration::ZERO);
            }
            SoundCommand::Microphone(on) => {
                self.microphone = on;
                self.look_at = Instant::now();
            }
            SoundCommand::Twice(twice) => self.talker.set_doubled(twice),
            SoundCommand::Volume(volume) => self.volume = volume.clamp(0.0, 1.0),
            SoundCommand::UseOutput(id) => {
                self.chosen_output = id;
                self.output = None;
                self.look_at = Instant::now();
            }
            SoundCommand::UseInput(id) => {
                self.chosen_input = id;
                self.input = None;
                self.look_at = Instant::now();
            }
            SoundCommand::Watch(watched) => {
                self.view_at = watched.then(Instant::now);
                self.look_at = Instant::now();
                if !watched {
                    self.test = Test::Nothing;
                }
            }
            SoundCommand::TestTone => self.test = Test::Tone(0),
            SoundCommand::TestLoop => self.test = Test::Recording(Vec::new()),
        }
        Ok(())
    }

    fn handle_packet(&mut self, datagram: Bytes, at: Instant) {
        match SoundPacket::decode(datagram) {
            Ok(packet) if packet.kind == SoundKind::Sound => {
                self.player.handle_packet(packet, at.saturating_duration_since(self.started));
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "Packet of sound refused"),
        }
    }

    /// Does what is due: loudspeaker, microphone, numbers.
    fn pump(&mut self) -> Result<(), OpusError> {
        let now = Instant::now();
        tracing::trace!(queued = ?self.output.as_ref().map(Output::queued), ready = self.player.ready(), "Pump");
        self.fill_output(now);
        self.drain_input()?;
        self.tell(now);
        Ok(())
    }

    fn wants_output(&self) -> bool {
        self.player.is_busy() || self.test.sounds()
    }

    fn wants_input(&self) -> bool {
        self.microphone || matches!(self.test, Test::Recording(_))
    }

    /// Opens what is needed, closes what is not, and follows the system's choice.
    fn tend_devices(&mut self, now: Instant) {
        if self.output.as_ref().is_some_and(Output::has_failed) {
            tracing::info!("The loudspeaker is gone");
            self.output = None;
        }
        if self.input.as_ref().is_some_and(Input::has_failed) || !self.wants_input() {
            self.input = None;
        }
        if let Some(devices) = self.look.as_mut().and_then(DeviceLook::poll) {
            self.devices = devices;
            self.follow_default();
        }
        let looks = now >= self.look_at;
        if looks {
            self.look_at = now + LOOK_EVERY;
            if let Some(look) = &mut self.look {
                look.ask();
            }
        }
        let (output, input) = (self.wants_output(), self.wants_input());
        if output && self.output.is_none() && looks {
            let chosen = self.chosen_output.clone();
            let opened = self.system().open_output(chosen.as_deref());
            // A device that was chosen and is gone is replaced by the system's choice until it is back.
            let opened = opened.or_else(|error| match chosen {
                Some(_) => self.system().open_output(None),
                None => Err(error),
            });
            match opened {
                Ok(output) => {
                    tracing::info!(device = output.id, "Loudspeaker opened");
                    self.missed = (0, Duration::ZERO);
                    self.lacks_output = false;
                    self.sounded_at = now;
                    self.output = Some(output);
                }
                Err(error) if !self.lacks_output => {
                    tracing::warn!(%error, "No loudspeaker");
                    self.lacks_output = true;
                }
                Err(_) => {}
            }
        }
        if input && self.input.is_none() && looks {
            let chosen = self.chosen_input.clone();
            let opened = self.system().open_input(chosen.as_deref());
            let opened = opened.or_else(|error| match chosen {
                Some(_) => self.system().open_input(None),
                None => Err(error),
            });
            match opened {
                Ok(input) => {
                    tracing::info!(device = input.id, "Microphone opened");
                    self.lacks_input = false;
                    self.input = Some(input);
                }
                Err(error) if !self.lacks_input => {
                    tracing::warn!(%error, "No microphone");
                    self.lacks_input = true;
                }
                Err(_) => {}
            }
        }
    }

    /// Leaves a device that is no longer the wanted one, for instance because a headset was plugged in. Where one was
    /// unplugged and plugged in again between two looks, PulseAudio has moved the sound elsewhere and says nothing: only
    /// the device's number tells.
    fn follow_default(&mut self) {
        let devices = &self.devices;
        if let Some(output) = &self.output
            && is_left((&output.id, output.number), &devices.outputs, &self.chosen_output, &devices.default_output)
        {
            self.output = None;
            self.look_at = Instant::now();
        }
        if let Some(input) = &self.input
            && is_left((&input.id, input.number), &devices.inputs, &self.chosen_input, &devices.default_input)
        {
            self.input = None;
            self.look_at = Instant::now();
        }
    }

    fn system(&mut self) -> &SoundSystem {
        let kept = self.system.take().filter(SoundSystem::is_lasting);
        self.system.insert(kept.unwrap_or_else(SoundSystem::open))
    }

    fn fill_output(&mut self, now: Instant) {
        let clock = self.now();
        let Some(output) = &mut self.output else {
            // Nobody hears it: what has come is let go in time.
            self.player.play(BLOCK, &mut Vec::new(), clock);
            return;
        };
        let (missed, missing) = (output.missed(), output.missing());
        let (more, longer) = (missed - self.missed.0, missing - self.missed.1);
        self.missed = (missed, missing);
        self.dry += more;
        self.missing += longer;
        if more > 0 || !longer.is_zero() {
            self.ahead.handle_gap(longer, clock);
        }
        if let Some(left) = output.least_left()
            && self.was_filled
        {
            self.ahead.handle_left(left, clock);
        }
        self.ahead.handle_time(clock);
        let wanted = self.ahead.wanted(self.player.jitter().depth(clock));
        let mut block = Vec::with_capacity(2 * BLOCK);
        // What is there is better kept where a late thread does no harm; but nothing is made up for that.
        loop {
            let lacking = wanted.saturating_sub(output.queued());
            self.was_filled = lacking.is_zero();
            let is_spent = output.queued() < AHEAD_SPENT;
            if self.was_filled || !is_spent && !self.player.has(BLOCK) && !self.test.sounds() {
                break;
            }
            self.player.set_lacking(lacking);
            block.clear();
            self.player.play(BLOCK, &mut block, clock);
            let step = (self.volume - self.gain) / BLOCK as f32;
            for frame in block.chunks_exact_mut(2) {
                self.gain += step;
                frame[0] *= self.gain;
                frame[1] *= self.gain;
            }
            self.gain = self.volume;
            self.test.mix(&mut block);
            if block.is_empty() {
                output.rest();
                break;
            }
            if let Err(error) = output.play() {
                tracing::warn!(%error, "Loudspeaker does not play");
                self.output = None;
                return;
            }
            self.sounded_at = now;
            output.write(&block);
        }
        if now - self.sounded_at > CLOSE_AFTER {
            self.output = None;
        }
    }

    fn drain_input(&mut self) -> Result<(), OpusError> {
        let Some(input) = &mut self.input else { return Ok(()) };
        let mut samples = Vec::new();
        input.read(&mut samples);
        self.level = level_after(self.level, &samples);
        if let Test::Recording(recorded) = &mut self.test {
            recorded.extend_from_slice(&samples);
            if recorded.len() >= LOOP {
                self.test = Test::Replaying(std::mem::take(recorded), 0);
            }
        }
        if self.microphone {
            let clock = self.started.elapsed().as_micros() as u64 * 6 / 125;
            self.talker.handle_samples(&samples, clock, &mut self.packets)?;
            for packet in self.packets.drain(..) {
                let mut bytes = Vec::new();
                packet.encode(&mut bytes);
                // Net takes them as they come; one that finds the channel full is too late anyway.
                let _ = self.facts.try_send(SoundFact::Packet(bytes.into()));
            }
        }
        Ok(())
    }

    fn tell(&mut self, now: Instant) {
        let clock = self.now();
        let lossy = self.player.jitter().is_lossy(clock);
        if lossy != self.lossy {
            self.lossy = lossy;
            let _ = self.facts.try_send(SoundFact::Lossy(lossy));
        }
        let busy = self.player.is_busy();
        // The last numbers of a sound count, too.
        if busy && now >= self.numbers_at || self.was_busy && !busy {
            self.numbers_at = now + NUMBERS_EVERY;
            let jitter = self.player.jitter();
            let waiting = Duration::from_micros(self.player.ready() as u64 * 1_000_000 / u64::from(RATE));
            let ring = self.output.as_ref().map_or(Duration::ZERO, Output::queued);
            let numbers = SoundNumbers {
                delay: jitter.delay() + waiting + ring,
                depth: jitter.depth(clock),
                counts: jitter.counts(),
                dry: self.dry,
                missing: self.missing,
                ahead: self.ahead.wanted(jitter.depth(clock)),
            };
            let _ = self.facts.try_send(SoundFact::Numbers(numbers));
        }
        self.was_busy = busy;
        if self.view_at.is_some_and(|at| now >= at) {
            self.view_at = Some(now + VIEW_EVERY);
            let view = SoundView {
                outputs: self.devices.outputs.clone(),
                inputs: self.devices.inputs.clone(),
                output: self.chosen_output.clone(),
                input: self.chosen_input.clone(),
                volume: self.volume,
                level: if self.input.is_some() { self.level } else { 0.0 },
                test: self.test.state(),
            };
            self.ui.tell(UiEvent::Sound(Box::new(view)));
        }
    }
}

impl Test {
    fn state(&self) -> TestState {
        match self {
            Test::Nothing => TestState::Nothing,
            Test::Tone(_) => TestState::Tone,
            Test::Recording(_) => TestState::Recording,
            Test::Replaying(..) => TestState::Replaying,
        }
    }

    fn sounds(&self) -> bool {
        matches!(self, Test::Tone(_) | Test::Replaying(..))
    }

    /// Adds the test's sound to a block of stereo, which is made long enough for it.
    fn mix(&mut self, block: &mut Vec<f32>) {
        let (at, length) = match self {
            Test::Tone(at) => (at, TONE),
            Test::Replaying(samples, at) => {
                let length = samples.len();
                block.resize(2 * BLOCK, 0.0);
                for (i, frame) in block.chunks_exact_mut(2).enumerate() {
                    let sample = samples.get(*at + i).copied().unwrap_or(0.0) * fade(*at + i, length);
                    frame[0] += sample;
                    frame[1] += sample;
                }
                *at += BLOCK;
                if *at >= length {
                    *self = Test::Nothing;
                }
                return;
            }
            Test::Nothing | Test::Recording(_) => return,
        };
        block.resize(2 * BLOCK, 0.0);
        for (i, frame) in block.chunks_exact_mut(2).enumerate() {
            let turn = (*at + i) as f32 * TONE_HZ / RATE as f32;
            let sample = (turn.fract() * std::f32::consts::TAU).sin() * TONE_LEVEL * fade(*at + i, length);
            frame[0] += sample;
            frame[1] += sample;
        }
        *at += BLOCK;
        if *at >= length {
            *self = Test::Nothing;
        }
    }
}

/// Whether another device than the open one is wanted: the chosen one while it is there, else the system's choice.
fn is_left(
    (id, number): (&String, Option<u32>),
    devices: &[SoundDevice],
    chosen: &Option<String>,
    default: &Option<String>,
) -> bool {
    let is_there = |id: &&String| devices.iter().any(|device| device.id == **id);
    let Some(wanted) = chosen.as_ref().filter(is_there).or(default.as_ref()) else { return false };
    let now = devices.iter().find(|device| device.id == *wanted).and_then(|device| device.number);
    wanted != id || now.zip(number).is_some_and(|(now, opened)| now != opened)
}

/// What the meter shows after these samples of the microphone, if it showed `level` before: 0 to 1.
fn level_after(level: f32, samples: &[f32]) -> f32 {
    let fallen = level * 0.5_f32.powf(samples.len() as f32 / METER_HALF as f32);
    samples.iter().fold(fallen, |level, sample| level.max(sample.abs()))
}

/// From 0 to 1 at the beginning and back at the end.
fn fade(at: usize, length: usize) -> f32 {
    let from_end = length.saturating_sub(at);
    (at.min(from_end).min(FADE)) as f32 / FADE as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tone_begins_and_ends_softly() {
        let mut test = Test::Tone(0);
        let mut all = Vec::new();
        while !matches!(test, Test::Nothing) {
            let mut block = Vec::new();
            test.mix(&mut block);
            all.extend(block);
        }
        assert!(all.len() >= 2 * TONE);
        let peak = all.iter().fold(0.0_f32, |a, b| a.max(b.abs()));
        assert!((peak - TONE_LEVEL).abs() < 0.01);
        let step = all.chunks_exact(2).zip(all.chunks_exact(2).skip(1)).map(|(a, b)| (a[0] - b[0]).abs());
        assert!(step.fold(0.0, f32::max) < 0.016, "a click");
    }

    #[test]
    fn the_meter_shows_the_loudest_sample_and_falls_by_half_in_a_tenth_of_a_second() {
        let check = |level: f32, samples: &[f32], expected: f32| {
            let (found, length) = (level_after(level, samples), samples.len());
            assert!((found - expected).abs() < 1e-3, "{found} for {expected}, after {length} samples from {level}");
        };
        let voice: Vec<f32> = (0..BLOCK).map(|i| (i as f32 * 0.7).sin() * 0.25).collect();
        check(0.0, &[0.0; BLOCK], 0.0);
        check(0.0, &voice, 0.25);
        check(0.8, &voice, 0.8 * 0.5_f32.powf(BLOCK as f32 / 4_800.0));
        check(0.1, &[0.0, -0.6, 0.2], 0.6);
        check(0.8, &[], 0.8);
        check(0.8, &[0.0; METER_HALF], 0.4);
        // In however many pieces it comes.
        let pieces = (0..METER_HALF / 100).fold(0.8, |level, _| level_after(level, &[0.0; 100]));
        check(pieces, &[], 0.4);
    }

    #[test]
    fn the_wanted_device_is_told_by_its_id_and_its_number() {
        let text = |id: &str| Some(id.to_owned());
        let device = |id: &str, number| SoundDevice { id: id.to_owned(), name: String::new(), number };
        let devices = [device("ear", Some(0)), device("headset", Some(4)), device("card", None)];
        let check = |open: (&str, Option<u32>), chosen: Option<&str>, expected| {
            let left = is_left((&open.0.to_owned(), open.1), &devices, &chosen.and_then(text), &text("ear"));
            assert_eq!(left, expected, "{open:?} open, {chosen:?} chosen");
        };
        check(("ear", Some(0)), None, false);
        check(("headset", Some(4)), None, true);
        check(("headset", Some(4)), Some("headset"), false);
        check(("headset", Some(3)), Some("headset"), true);
        check(("ear", Some(0)), Some("headset"), true);
        check(("ear", Some(0)), Some("unplugged"), false);
        // Where there are no numbers, or none was known, nothing is opened again and again.
        check(("card", None), Some("card"), false);
        check(("headset", None), Some("headset"), false);
    }

    #[test]
    fn the_loop_plays_what_it_recorded_once() {
        let mut test = Test::Replaying(vec![0.5; 2_400], 0);
        let mut all = Vec::new();
        while !matches!(test, Test::Nothing) {
            let mut block = Vec::new();
            test.mix(&mut block);
            all.extend(block);
        }
        assert_eq!(all.len(), 4_800);
        assert!((all[2_400] - 0.5).abs() < 1e-6 && all[0].abs() < 1e-6);
    }
}
