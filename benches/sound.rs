//! Mouth to ear: a click is written by a program, and the time runs until it is read from the monitor of the listener's
//! loudspeaker. The floor is the same two programs on one PulseAudio with nothing in between. On a direct way and on one
//! of 60 ms round trip, which a relay in this process makes. Then what sound costs both ends in CPU.
//! Run by `./dev bench sound [--quick]`.

#[path = "parts/mod.rs"]
mod parts;
#[path = "../tests/support/mod.rs"]
mod support;

use std::collections::VecDeque;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use kachel::geom::Size;
use serde_json::json;

use parts::report;
use support::display::Display;
use support::link::{Host, HostOptions, Viewer, ViewerOptions, free_loopback_port};
use support::tone::{RATE, SoundSystem};
use support::wait::wait_until;

/// Bytes of 10 ms of 16-bit mono.
const CHUNK: usize = RATE as usize / 100 * 2;
/// A sample above this is the click.
const CLICK: f32 = 0.2;
/// Longest time that anything takes to start.
const PATIENCE: Duration = Duration::from_secs(40);

fn main() -> ExitCode {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let clicks = if quick { 12 } else { 60 };
    let mut rows = Vec::new();
    let mut values = Vec::new();
    for (name, delay) in [("floor", None), ("direct", Some(0)), ("60 ms round trip", Some(30))] {
        println!("{name}: {clicks} clicks");
        let mut times = match delay {
            None => floor(clicks),
            Some(ms) => {
                let mut way = Way::new(Duration::from_millis(ms));
                let times = way.clicks(clicks);
                let (host, viewer, idle) = way.cost(if quick { 4 } else { 15 });
                println!("  CPU of one core: host {host:.1} %, viewer {viewer:.1} %; both in silence {idle:.1} %");
                values.push(json!({ "way": name, "host_cpu": host, "viewer_cpu": viewer, "silent_cpu": idle }));
                times
            }
        };
        times.sort_unstable();
        let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
        rows.push(vec![
            name.to_owned(),
            format!("{:.0}", at(0.5)),
            format!("{:.0}", at(0.95)),
            times.len().to_string(),
        ]);
        values.push(json!({ "way": name, "median_ms": at(0.5), "p95_ms": at(0.95), "clicks": times.len() }));
    }
    println!(
        "\nMouth to ear in ms, load {:.1}\n\n{}",
        report::load(),
        report::table(&["way", "median", "p95", "clicks"], &rows)
    );
    report::save("sound", &json!({ "results": values }));
    report::exit_code(&[])
}

fn floor(clicks: usize) -> Vec<Duration> {
    let sound = SoundSystem::start();
    let ear = Ear::new(sound.command("parec"), "ear.monitor");
    measure(Mouth::new(sound.command("pacat"), Some("ear")), &ear, clicks)
}

/// A session, a viewer, and what lies between.
struct Way {
    viewer: Viewer,
    host: Host,
    sound: SoundSystem,
    _display: Display,
}

impl Way {
    fn new(delay: Duration) -> Way {
        let (sound, display) = (SoundSystem::start(), Display::start(Size::new(1280, 800)));
        let listen = free_loopback_port();
        let host = Host::start(
            Path::new(env!("CARGO_BIN_EXE_kachel-host")),
            &HostOptions { listen: Some(listen), ..HostOptions::default() },
        );
        let mut trial = host.trial_file();
        if !delay.is_zero() {
            trial = detour(&trial, listen, relay(listen, delay));
        }
        let options = ViewerOptions { environment: sound.environment(), ..ViewerOptions::on(display.name()) };
        let viewer = Viewer::start(Path::new(env!("CARGO_BIN_EXE_kachel")), &trial, &options);
        wait_until(PATIENCE, "a picture", || (viewer.stats().last()?["frames"].as_u64()? > 0).then_some(()));
        Way { viewer, host, sound, _display: display }
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        let socket = self.host.state().join("sessions").join(Host::session_name(0)).join("pulse");
        command.env("PULSE_SERVER", format!("unix:{}", socket.display()));
        command
    }

    fn clicks(&mut self, clicks: usize) -> Vec<Duration> {
        let ear = Ear::new(self.sound.command("parec"), "ear.monitor");
        measure(Mouth::new(self.program("pacat"), None), &ear, clicks)
    }

    /// Shares of a core of host and viewer while music plays, and of both together in silence.
    fn cost(&mut self, seconds: u64) -> (f64, f64, f64) {
        // Until the viewer has closed its loudspeaker and the desktop is calm.
        std::thread::sleep(Duration::from_secs(12));
        let silent = self.used(seconds);
        let mut noise = self.program("pacat");
        noise.args(["--playback", "--format=s16le", "--rate=48000", "--channels=2", "--raw"]).stdin(Stdio::piped());
        let mut player = noise.spawn().expect("pacat runs");
        let mut input = player.stdin.take().expect("a pipe");
        let writer = std::thread::spawn(move || {
            let mut phase = 0.0_f32;
            loop {
                let block: Vec<u8> = (0..4_800)
                    .flat_map(|_| {
                        phase += 0.0701;
                        let sample = (phase.sin() * 6_000.0 + (phase * 3.01).sin() * 4_000.0) as i16;
                        [sample.to_le_bytes(), (-sample).to_le_bytes()].concat()
                    })
                    .collect();
                if input.write_all(&block).is_err() {
                    return;
                }
            }
        });
        std::thread::sleep(Duration::from_secs(1));
        let playing = self.used(seconds);
        player.kill().ok();
        player.wait().ok();
        writer.join().ok();
        (playing.0, playing.1, silent.0 + silent.1)
    }

    fn used(&mut self, seconds: u64) -> (f64, f64) {
        let before = (self.host.processes().cpu_seconds(), self.viewer.processes().cpu_seconds());
        std::thread::sleep(Duration::from_secs(seconds));
        let after = (self.host.processes().cpu_seconds(), self.viewer.processes().cpu_seconds());
        let share = |before: f64, after: f64| (after - before) / seconds as f64 * 100.0;
        (share(before.0, after.0), share(before.1, after.1))
    }
}

/// Writes silence in time, and clicks into it.
struct Mouth(std::process::Child);

impl Mouth {
    fn new(mut command: Command, sink: Option<&str>) -> Mouth {
        command.args(["--playback", "--format=s16le", "--rate=48000", "--channels=1", "--latency-msec=20", "--raw"]);
        command.args(sink.into_iter().flat_map(|sink| ["--device", sink])).stdin(Stdio::piped());
        Mouth(command.spawn().expect("pacat runs"))
    }
}

impl Drop for Mouth {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Hears clicks, with the time of each.
struct Ear {
    child: std::process::Child,
    heard: Receiver<Instant>,
}

impl Ear {
    fn new(mut command: Command, source: &str) -> Ear {
        command.args([
            "--device",
            source,
            "--format=s16le",
            "--rate=48000",
            "--channels=1",
            "--latency-msec=10",
            "--raw",
        ]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("parec runs");
        let mut output = child.stdout.take().expect("a pipe");
        let (sender, heard) = channel();
        std::thread::spawn(move || {
            let mut bytes = [0; CHUNK];
            let mut last: Option<Instant> = None;
            while let Ok(count) = output.read(&mut bytes) {
                if count == 0 {
                    return;
                }
                let loud = bytes[..count]
                    .chunks_exact(2)
                    .any(|b| f32::from(i16::from_le_bytes([b[0], b[1]])).abs() / 32_768.0 > CLICK);
                let now = Instant::now();
                if loud && last.is_none_or(|last| now - last > Duration::from_millis(200)) && sender.send(now).is_err()
                {
                    return;
                }
                if loud {
                    last = Some(now);
                }
            }
        });
        Ear { child, heard }
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Times from the writing of a click to its hearing. The first ones, until everything is open, do not count.
fn measure(mut mouth: Mouth, ear: &Ear, clicks: usize) -> Vec<Duration> {
    let mut input = mouth.0.stdin.take().expect("a pipe");
    // A faint hiss keeps all of the way open between two clicks.
    let hiss: Vec<u8> = (0..CHUNK / 2).flat_map(|i| ((i as i16 % 7) * 20).to_le_bytes()).collect();
    let click: Vec<u8> =
        (0..CHUNK / 2).flat_map(|i| if i % 48 < 24 { 16_000_i16 } else { -16_000 }.to_le_bytes()).collect();
    let begin = Instant::now();
    let mut times = Vec::new();
    let mut waiting: Option<Instant> = None;
    let mut next_click = 300;
    for step in 0_u32.. {
        let due = begin + Duration::from_millis(10) * step;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if step == next_click {
            next_click += 50 + step % 7;
            while ear.heard.try_recv().is_ok() {}
            waiting = Some(Instant::now());
            input.write_all(&click).expect("pacat reads");
        } else {
            input.write_all(&hiss).expect("pacat reads");
        }
        if let (Some(at), Ok(heard)) = (waiting, ear.heard.try_recv()) {
            times.push(heard - at);
            waiting = None;
        }
        if times.len() >= clicks || begin.elapsed() > Duration::from_secs(30) + Duration::from_secs(1) * clicks as u32 {
            break;
        }
    }
    assert!(times.len() >= clicks / 2, "most clicks were not heard: {} of {clicks}", times.len());
    times
}

/// Copies a trial file with another address.
fn detour(trial: &Path, host: SocketAddr, relay: SocketAddr) -> PathBuf {
    let text = fs::read_to_string(trial).expect("a trial file");
    let other = trial.with_file_name("detour.kachel");
    fs::write(&other, text.replace(&host.to_string(), &relay.to_string())).expect("the folder is ours");
    fs::set_permissions(&other, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("the file is ours");
    other
}

/// Passes packets on after a while, both ways; runs until the program ends.
fn relay(host: SocketAddr, delay: Duration) -> SocketAddr {
    let outside = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let inside = UdpSocket::bind("127.0.0.1:0").expect("a port");
    inside.connect(host).expect("the host's address");
    let address = outside.local_addr().expect("an address");
    let nap = Some(Duration::from_millis(1));
    outside.set_read_timeout(nap).expect("a timeout");
    inside.set_nonblocking(true).expect("a socket");
    std::thread::spawn(move || {
        let mut viewer = None;
        let mut flying: VecDeque<(Instant, bool, Vec<u8>)> = VecDeque::new();
        let mut packet = [0; 2048];
        loop {
            if let Ok((count, from)) = outside.recv_from(&mut packet) {
                viewer = Some(from);
                flying.push_back((Instant::now() + delay, true, packet[..count].to_vec()));
            }
            while let Ok(count) = inside.recv(&mut packet) {
                flying.push_back((Instant::now() + delay, false, packet[..count].to_vec()));
            }
            while flying.front().is_some_and(|(at, ..)| *at <= Instant::now()) {
                let Some((_, up, bytes)) = flying.pop_front() else { break };
                if up {
                    inside.send(&bytes).ok();
                } else if let Some(viewer) = viewer {
                    outside.send_to(&bytes, viewer).ok();
                }
            }
        }
    });
    address
}
