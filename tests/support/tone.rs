//! Tones: written as WAV files, and found again in recordings, with their pitch, their level and every gap in them.
//! And a sound system of one's own for a viewer: a private PulseAudio, or PipeWire, whose loudspeaker and microphone are
//! null sinks.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use super::process::Processes;
use super::wait::wait_until;

/// Samples in a second of everything here.
pub const RATE: u32 = 48_000;
/// Windows in which a gap is looked for: 5 ms.
const WINDOW: usize = RATE as usize / 200;
/// Windows in which a tone's purity is looked at: 10 ms.
const FITTED: usize = RATE as usize / 100;
/// Below this a sample is silence.
const SILENCE: f32 = 0.02;

/// What was found of a tone in a recording.
#[derive(Clone, Debug, PartialEq)]
pub struct Tone {
    /// From its first to its last sample that is not silence.
    pub length: Duration,
    /// Its pitch by zero crossings, in hertz.
    pub hertz: f32,
    /// Its amplitude by its power.
    pub amplitude: f32,
    /// Power outside of the pitch in the worst of its windows of 10 ms but one in twenty, in dB below it.
    pub purity_db: f32,
    /// Windows of 5 ms in it that are more than 6 dB quieter than the whole: a dropout.
    pub gaps: usize,
    /// When it begins in the recording.
    pub begin: Duration,
}

/// Writes a mono WAV file with a sine of this pitch, amplitude and length that fades in and out over 5 ms.
pub fn write_wav(path: &Path, hertz: f32, amplitude: f32, length: Duration) {
    let count = (length.as_secs_f64() * f64::from(RATE)) as usize;
    let fade = |i: usize| (i.min(count - i) as f32 / WINDOW as f32).min(1.0);
    let samples: Vec<u8> = (0..count)
        .map(|i| (i as f64 * f64::from(hertz) / f64::from(RATE)).fract() as f32)
        .enumerate()
        .map(|(i, turn)| (turn * std::f32::consts::TAU).sin() * amplitude * fade(i))
        .flat_map(|sample| ((sample * 32_767.0) as i16).to_le_bytes())
        .collect();
    let mut wav = Vec::new();
    wav.extend_from_slice(b"RIFF");
    wav.extend_from_slice(&(36 + samples.len() as u32).to_le_bytes());
    wav.extend_from_slice(b"WAVEfmt ");
    wav.extend_from_slice(&16_u32.to_le_bytes());
    wav.extend_from_slice(&[1, 0, 1, 0]);
    wav.extend_from_slice(&RATE.to_le_bytes());
    wav.extend_from_slice(&(2 * RATE).to_le_bytes());
    wav.extend_from_slice(&[2, 0, 16, 0]);
    wav.extend_from_slice(b"data");
    wav.extend_from_slice(&(samples.len() as u32).to_le_bytes());
    wav.extend_from_slice(&samples);
    fs::write(path, wav).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// Reads a raw recording of 16-bit mono samples; what is not there yet is nothing.
pub fn read_raw(path: &Path) -> Vec<f32> {
    let bytes = fs::read(path).unwrap_or_default();
    bytes.chunks_exact(2).map(|b| f32::from(i16::from_le_bytes([b[0], b[1]])) / 32_768.0).collect()
}

/// The loudest sample.
pub fn peak(samples: &[f32]) -> f32 {
    samples.iter().fold(0.0, |a, b| a.max(b.abs()))
}

/// Finds the one tone in a recording; `None` if there is only silence, or less than 100 ms of anything.
pub fn find(samples: &[f32]) -> Option<Tone> {
    let first = samples.iter().position(|s| s.abs() > SILENCE)?;
    let last = samples.iter().rposition(|s| s.abs() > SILENCE)?;
    let tone = &samples[first..=last];
    // Fades and the codec's attack are no part of what is measured.
    let edge = RATE as usize / 50;
    if tone.len() < 5 * edge {
        return None;
    }
    let middle = &tone[edge..tone.len() - edge];
    let power = |s: &[f32]| s.iter().map(|v| v * v).sum::<f32>() / s.len() as f32;
    let whole = power(middle);
    let gaps = middle.chunks_exact(WINDOW).filter(|w| power(w) < whole / 4.0).count();
    let crossings: Vec<f64> = middle
        .windows(2)
        .enumerate()
        .filter(|(_, w)| w[0] < 0.0 && w[1] >= 0.0)
        .map(|(i, w)| i as f64 + f64::from(-w[0] / (w[1] - w[0])))
        .collect();
    let turns = crossings.len().checked_sub(1)?;
    let found = turns as f64 * f64::from(RATE) / (crossings.last()? - crossings.first()?);
    Some(Tone {
        length: Duration::from_secs_f64(tone.len() as f64 / f64::from(RATE)),
        hertz: found as f32,
        amplitude: (2.0 * whole).sqrt(),
        purity_db: purity(middle, found as f32),
        gaps,
        begin: Duration::from_secs_f64(first as f64 / f64::from(RATE)),
    })
}

/// In windows so short that a drift of the phase, which clocks have, is no noise. The worst of twenty is left out: a packet
/// that came too late is heard there, or its gap is counted.
fn purity(samples: &[f32], hertz: f32) -> f32 {
    let noise = |window: &[f32]| {
        let tone = fit(window, hertz).1.max(1e-9);
        let all = window.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>();
        (all - tone).max(1e-9) / tone
    };
    let mut noises: Vec<f64> = samples.chunks_exact(FITTED).map(noise).collect();
    noises.sort_unstable_by(f64::total_cmp);
    (10.0 * noises[noises.len() * 19 / 20].log10()) as f32
}

/// Amplitude of a sine of this pitch in a recording, whatever else is in it, in each 50 ms; pitches that are multiples of
/// 20 Hz are told apart.
pub fn amplitudes(samples: &[f32], hertz: f32) -> Vec<f32> {
    samples.chunks_exact(RATE as usize / 20).map(|window| fit(window, hertz).0).collect()
}

/// The sine of this pitch that is closest to a window by least squares: its amplitude, and its energy in the window.
fn fit(window: &[f32], hertz: f32) -> (f32, f64) {
    let turn = f64::from(hertz) * std::f64::consts::TAU / f64::from(RATE);
    // Of sine and cosine: their energies and what they have in common, and what each has in common with the window.
    let (mut ss, mut cc, mut sc, mut sx, mut cx) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for (i, sample) in window.iter().enumerate() {
        let (sine, cosine) = (turn * i as f64).sin_cos();
        (ss, cc, sc) = (ss + sine * sine, cc + cosine * cosine, sc + sine * cosine);
        (sx, cx) = (sx + sine * f64::from(*sample), cx + cosine * f64::from(*sample));
    }
    let det = ss * cc - sc * sc;
    let (a, b) = ((sx * cc - cx * sc) / det, (cx * ss - sx * sc) / det);
    (a.hypot(b) as f32, a * sx + b * cx)
}

/// A private sound system: what a viewer plays is heard at `ear`, what is played at `mouth` is its microphone.
pub struct SoundSystem {
    processes: Processes,
    server: Server,
    socket: PathBuf,
}

/// What speaks PulseAudio's protocol.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Server {
    PulseAudio,
    /// PipeWire, its session manager, and what translates.
    PipeWire,
}

/// The three processes of PipeWire, in the order in which they begin.
pub const PIPEWIRE: [&str; 3] = ["pipewire", "wireplumber", "pipewire-pulse"];

/// The modules of either server.
const MODULES: [&[&str]; 3] = [
    &["module-null-sink", "sink_name=ear", "rate=48000"],
    &["module-null-sink", "sink_name=mouth", "rate=48000"],
    // Of the left side, as a mixture of both is louder on PipeWire than on PulseAudio.
    &[
        "module-remap-source",
        "source_name=microphone",
        "master=mouth.monitor",
        "channels=1",
        "channel_map=mono",
        "master_channel_map=front-left",
        "remix=no",
    ],
];

impl SoundSystem {
    /// Starts PulseAudio.
    ///
    /// # Panics
    /// When it does not come up within ten seconds.
    pub fn start() -> Self {
        Self::start_server(Server::PulseAudio)
    }

    /// Starts PipeWire, which speaks for PulseAudio on most desktops of today.
    ///
    /// # Panics
    /// When it does not come up within ten seconds.
    pub fn start_pipewire() -> Self {
        Self::start_server(Server::PipeWire)
    }

    fn start_server(server: Server) -> Self {
        let processes = Processes::new("pulse");
        let folder = processes.folder().to_owned();
        // A PulseAudio sends programs away that bring no cookie at all; whose it is does not matter to this one.
        fs::write(folder.join("cookie"), [0; 256]).expect("the group's folder is ours");
        let mut system = Self { processes, server, socket: folder.join("pulse/native") };
        system.launch();
        system
    }

    /// Ends the server and starts it anew, as an update or a user's `pulseaudio -k` does; recordings end with it.
    ///
    /// # Panics
    /// When it does not come up within ten seconds.
    pub fn restart(&mut self) {
        match self.server {
            Server::PulseAudio => self.processes.end("pulseaudio", Signal::TERM),
            Server::PipeWire => PIPEWIRE.iter().rev().for_each(|program| self.processes.end(program, Signal::TERM)),
        }
        self.launch();
    }

    fn launch(&mut self) {
        match self.server {
            Server::PulseAudio => {
                let load = format!("module-native-protocol-unix socket={} auth-anonymous=1", self.socket.display());
                self.spawn(
                    "pulseaudio",
                    &["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "-L", &load],
                );
            }
            Server::PipeWire => {
                let [server, manager, translator] = PIPEWIRE;
                // Without the realtime priority that a desk gives it, it is to be in time less often.
                let settings = self.processes.folder().join(".config/pipewire/pipewire.conf.d");
                fs::create_dir_all(&settings).expect("the group's folder is ours");
                fs::write(
                    settings.join("quantum.conf"),
                    "context.properties = { default.clock.quantum = 2048 default.clock.min-quantum = 2048 }",
                )
                .expect("the group's folder is ours");
                self.spawn(server, &[server]);
                // It ends where there is no message bus.
                self.spawn(manager, &["dbus-run-session", "--", manager]);
                self.spawn(translator, &[translator]);
            }
        }
        self.wait_answer(&["info"], "Server Version");
        for module in MODULES {
            self.control(&[&["load-module"], module].concat());
        }
        // PipeWire makes them by and by.
        self.wait_answer(&["list", "short", "sinks"], "ear");
        self.wait_answer(&["list", "short", "sources"], "microphone");
        for choice in [["set-default-sink", "ear"], ["set-default-source", "microphone"]] {
            wait_until(Duration::from_secs(10), "the sound server takes a choice", || {
                self.command("pactl").args(choice).status().ok()?.success().then_some(())
            });
        }
    }

    /// A process of the server, which keeps all it has to itself.
    fn spawn(&mut self, name: &str, line: &[&str]) {
        let folder = self.processes.folder().to_owned();
        let mut command = Command::new(line[0]);
        command.args(&line[1..]).env("XDG_RUNTIME_DIR", &folder).env("HOME", &folder);
        for name in
            ["PULSE_SERVER", "PIPEWIRE_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "XDG_CONFIG_HOME", "XDG_STATE_HOME"]
        {
            command.env_remove(name);
        }
        self.processes.spawn(name, &mut command);
    }

    fn wait_answer(&self, question: &[&str], expected: &str) {
        wait_until(Duration::from_secs(10), &format!("the sound server tells of {expected}"), || {
            let output = self.command("pactl").args(question).output().ok()?;
            String::from_utf8_lossy(&output.stdout).contains(expected).then_some(())
        });
    }

    /// What a program needs in its environment to use it.
    pub fn environment(&self) -> Vec<(String, String)> {
        vec![
            ("PULSE_SERVER".to_owned(), format!("unix:{}", self.socket.display())),
            ("PULSE_COOKIE".to_owned(), self.processes.folder().join("cookie").display().to_string()),
        ]
    }

    /// A program that uses it.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.envs(self.environment()).env("HOME", self.processes.folder());
        command
    }

    /// Records what is heard at a source, from now on, as 16-bit mono; the null sinks need a listener that asks for
    /// little delay, or they run in blocks of two seconds.
    pub fn record(&mut self, source: &str, name: &str) -> PathBuf {
        let file = self.processes.folder().join(format!("{name}.raw"));
        let mut command = self.command("parec");
        command.args([
            "--device",
            source,
            "--rate=48000",
            "--channels=1",
            // As above.
            "--channel-map=front-left",
            "--format=s16le",
            "--latency-msec=10",
            "--raw",
        ]);
        self.processes.spawn(name, command.arg(&file));
        // A null sink goes on in its long blocks for up to two seconds more.
        let settled = 5 * RATE as usize / 2;
        wait_until(Duration::from_secs(10), "the recording runs", || (read_raw(&file).len() > settled).then_some(()));
        file
    }

    /// Runs `pactl` and returns what it says.
    pub fn control(&mut self, arguments: &[&str]) -> String {
        let mut command = self.command("pactl");
        self.processes.run("pactl", command.args(arguments))
    }

    /// Plays a file at a sink and waits for its end.
    pub fn play(&mut self, sink: &str, file: &Path) {
        let mut command = self.command("paplay");
        self.processes.run("paplay", command.args(["--device", sink]).arg(file));
    }

    /// Plays a file at a sink and returns at once.
    pub fn begin_play(&mut self, sink: &str, file: &Path) {
        let mut command = self.command("paplay");
        self.processes.spawn(&format!("paplay-{sink}"), command.args(["--device", sink]).arg(file));
    }

    /// The processes, to look at their logs.
    pub fn processes(&mut self) -> &mut Processes {
        &mut self.processes
    }
}
