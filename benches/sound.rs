//! Mouth to ear: a click is written by a program, and the time runs until it is read from the monitor of the listener's
//! loudspeaker. The floor is the same two programs on one PulseAudio with nothing in between. On a direct way and on one
//! of 60 ms round trip, which a relay in this process makes. Then what sound costs both ends in CPU. Beside it PulseAudio's
//! own way over TCP, which sends samples as they are, and xpra where it is installed (Debian: `xpra python3-pil python3-gst-1.0
//! gstreamer1.0-pulseaudio gstreamer1.0-plugins-good`).
//! Run by `./dev bench sound [--quick] [--only floor,kachel,pulseaudio,xpra]`.

#[path = "parts/mod.rs"]
mod parts;
#[path = "../tests/support/mod.rs"]
mod support;

use std::collections::VecDeque;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use kachel::geom::Size;
use serde_json::json;

use parts::options::Options;
use parts::report;
use support::display::Display;
use support::link::{Host, HostOptions, Viewer, ViewerOptions, free_loopback_port};
use support::process::Processes;
use support::tone::{RATE, SoundSystem};
use support::wait::{wait_for, wait_until};

/// What is measured, and half of the round trip in ms.
const WAYS: [(&str, Rival, u64); 7] = [
    ("floor", Rival::Floor, 0),
    ("Kachel, direct", Rival::Kachel, 0),
    ("Kachel, 60 ms round trip", Rival::Kachel, 30),
    ("PulseAudio over TCP, direct", Rival::Tunnel, 0),
    ("PulseAudio over TCP, 60 ms round trip", Rival::Tunnel, 30),
    ("xpra, direct", Rival::Xpra, 0),
    ("xpra, 60 ms round trip", Rival::Xpra, 30),
];
/// Bytes of 10 ms of 16-bit mono.
const CHUNK: usize = RATE as usize / 100 * 2;
/// A sample above this is the click.
const CLICK: f32 = 0.2;
/// Longest time that anything takes to start.
const PATIENCE: Duration = Duration::from_secs(40);

fn main() -> ExitCode {
    let options = Options::from_arguments();
    let quick = options.quick;
    let clicks = if quick { 12 } else { 60 };
    let mut rows = Vec::new();
    let mut values = Vec::new();
    let mut failures = Vec::new();
    let seconds = if quick { 4 } else { 15 };
    let kachel = |ms| Some(Way::Kachel(Box::new(Kachel::new(Duration::from_millis(ms)))));
    let tunnel = |ms| Some(Way::Tunnel(Box::new(Tunnel::new(Duration::from_millis(ms)))));
    for (name, rival, ms) in WAYS.into_iter().filter(|(_, rival, _)| options.wants(rival.name(), true)) {
        println!("{name}: {clicks} clicks");
        let way = match rival {
            Rival::Floor => None,
            Rival::Kachel => kachel(ms),
            Rival::Tunnel => tunnel(ms),
            Rival::Xpra => match Xpra::new(Duration::from_millis(ms)) {
                Ok(xpra) => Some(Way::Xpra(Box::new(xpra))),
                Err(why) => {
                    println!("  {why}");
                    failures.extend(why.is_fault.then(|| format!("{name}: {why}")));
                    continue;
                }
            },
        };
        let mut times = match way {
            None => floor(clicks),
            Some(mut way) => {
                let times = way.clicks(clicks);
                let (host, viewer, idle) = way.cost(seconds);
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
    report::exit_code(&failures)
}

fn floor(clicks: usize) -> Vec<Duration> {
    let sound = SoundSystem::start();
    let ear = Ear::new(sound.command("parec"), "ear.monitor");
    measure(Mouth::new(sound.command("pacat"), Some("ear")), &ear, clicks)
}

/// Who carries the sound.
#[derive(Clone, Copy)]
enum Rival {
    Floor,
    Kachel,
    Tunnel,
    Xpra,
}

impl Rival {
    /// As `--only` knows it.
    fn name(self) -> &'static str {
        match self {
            Rival::Floor => "floor",
            Rival::Kachel => "kachel",
            Rival::Tunnel => "pulseaudio",
            Rival::Xpra => "xpra",
        }
    }
}

/// What carries the sound, and a person's loudspeaker.
enum Way {
    Kachel(Box<Kachel>),
    Tunnel(Box<Tunnel>),
    Xpra(Box<Xpra>),
}

/// A session, a viewer, and what lies between.
struct Kachel {
    viewer: Viewer,
    host: Host,
    sound: SoundSystem,
    _display: Display,
}

/// A PulseAudio for the session, whose one sink is that of the PulseAudio at the desk.
struct Tunnel {
    server: Processes,
    sound: SoundSystem,
    socket: PathBuf,
}

/// xpra 3 with its own PulseAudio for the session; GStreamer takes the sound from there and plays it here.
struct Xpra {
    client: Processes,
    server: Processes,
    sound: SoundSystem,
    socket: PathBuf,
    _display: Display,
}

/// Why there is no xpra beside us.
struct NoXpra {
    why: String,
    /// It is installed.
    is_fault: bool,
}

impl std::fmt::Display for NoXpra {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(&self.why)
    }
}

impl Kachel {
    fn new(delay: Duration) -> Kachel {
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
        Kachel { viewer, host, sound, _display: display }
    }
}

impl Tunnel {
    fn new(delay: Duration) -> Tunnel {
        let (mut sound, mut server) = (SoundSystem::start(), Processes::new("tunnel"));
        let desk = free_loopback_port();
        let port = format!("port={}", desk.port());
        sound.control(&["load-module", "module-native-protocol-tcp", &port, "listen=127.0.0.1", "auth-anonymous=1"]);
        let way = if delay.is_zero() { desk } else { stream_relay(desk, delay) };
        let (script, socket) = (server.folder().join("default.pa"), server.folder().join("native"));
        let lines = format!(
            "load-module module-native-protocol-unix socket={} auth-anonymous=1\n\
             load-module module-tunnel-sink server=tcp:{way} sink=ear\n",
            socket.display()
        );
        fs::write(&script, lines).expect("the group's folder is ours");
        let mut command = Command::new("pulseaudio");
        command.args(["-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "-F"]).arg(&script);
        command.envs(sound.environment()).env_remove("PULSE_SERVER");
        server.spawn("pulseaudio", command.env("XDG_RUNTIME_DIR", server.folder()).env("HOME", server.folder()));
        wait_until(PATIENCE, "the tunnel", || {
            (!sound.control(&["list", "short", "sink-inputs"]).trim().is_empty() && socket.exists()).then_some(())
        });
        Tunnel { server, sound, socket }
    }
}

impl Xpra {
    fn new(delay: Duration) -> Result<Xpra, NoXpra> {
        if Command::new("xpra").arg("--version").output().is_err() {
            return Err(NoXpra { why: "xpra is not installed".into(), is_fault: false });
        }
        let (mut sound, display) = (SoundSystem::start(), Display::start(Size::new(1280, 800)));
        let (mut server, mut client) = (Processes::new("xpra"), Processes::new("xpra-client"));
        let run = server.folder().join("run");
        fs::create_dir_all(&run).expect("the group's folder is ours");
        fs::set_permissions(&run, std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("the folder is ours");
        let listen = free_loopback_port();
        let way = if delay.is_zero() { listen } else { stream_relay(listen, delay) };
        // It starts `python3`; one that is not Debian's has no xpra.
        let path = ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        let quiet = ["--notifications=no", "--mdns=no", "--webcam=no", "--printing=no", "--microphone=off"];
        let mut command = Command::new("xpra");
        command.args(["start", "--daemon=no", "--html=off", "--speaker=on", "--pulseaudio=yes", "--start=xterm"]);
        command.args(["--xvfb=Xvfb +extension Composite -screen 0 1280x800x24 -nolisten tcp -noreset"]).args(quiet);
        command.arg(format!("--bind-tcp={listen}")).env("HOME", server.folder());
        command.env("XDG_RUNTIME_DIR", &run).envs([path]).env_remove("PULSE_SERVER").env_remove("DISPLAY");
        server.spawn("xpra", &mut command);
        let fault = |why: &str, log: String| NoXpra { why: format!("{why}\n{log}"), is_fault: true };
        let socket = wait_for(PATIENCE, || {
            let sockets = fs::read_dir(run.join("xpra")).ok()?.flatten().map(|e| e.path().join("pulse/native"));
            sockets.into_iter().find(|socket| socket.exists())
        });
        let Some(socket) = socket else { return Err(fault("its server has no sound", server.log_tail("xpra"))) };
        wait_for(PATIENCE, || server.log("xpra").contains("xpra is ready").then_some(()));
        let mut command = Command::new("xpra");
        command.args(["attach", &format!("tcp://{way}/"), "--speaker=on", "--opengl=no"]).args(quiet);
        command.env("HOME", client.folder()).env("XDG_RUNTIME_DIR", client.folder()).env("DISPLAY", display.name());
        command.envs(sound.environment()).envs([path]);
        client.spawn("xpra", &mut command);
        // It plays as soon as it has a stream of its own at the loudspeaker.
        let plays =
            wait_for(PATIENCE, || (!sound.control(&["list", "short", "sink-inputs"]).trim().is_empty()).then_some(()));
        match plays {
            Some(()) => Ok(Xpra { client, server, sound, socket, _display: display }),
            None => Err(fault("its client plays nothing", client.log_tail("xpra"))),
        }
    }
}

impl Way {
    /// A program in the session.
    fn program(&self, name: &str) -> Command {
        let socket = match self {
            Way::Kachel(way) => way.host.state().join("sessions").join(Host::session_name(0)).join("pulse"),
            Way::Tunnel(way) => way.socket.clone(),
            Way::Xpra(way) => way.socket.clone(),
        };
        let mut command = Command::new(name);
        command.env("PULSE_SERVER", format!("unix:{}", socket.display()));
        command
    }

    fn clicks(&mut self, clicks: usize) -> Vec<Duration> {
        let sound = match self {
            Way::Kachel(way) => &way.sound,
            Way::Tunnel(way) => &way.sound,
            Way::Xpra(way) => &way.sound,
        };
        let ear = Ear::new(sound.command("parec"), "ear.monitor");
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
        let before = self.cpu_seconds();
        std::thread::sleep(Duration::from_secs(seconds));
        let after = self.cpu_seconds();
        let share = |before: f64, after: f64| (after - before) / seconds as f64 * 100.0;
        (share(before.0, after.0), share(before.1, after.1))
    }

    fn cpu_seconds(&mut self) -> (f64, f64) {
        match self {
            Way::Kachel(way) => (way.host.processes().cpu_seconds(), way.viewer.processes().cpu_seconds()),
            // At the desk there is nothing but PulseAudio, which is part of nobody's cost here.
            Way::Tunnel(way) => (way.server.cpu_seconds(), 0.0),
            Way::Xpra(way) => (way.server.cpu_seconds(), way.client.cpu_seconds()),
        }
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

/// The same for streams.
fn stream_relay(host: SocketAddr, delay: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for near in listener.incoming().map_while(Result::ok) {
            // Whoever is not there yet is asked again by whoever wants it.
            let Ok(far) = TcpStream::connect(host) else { continue };
            let (near_too, far_too) = (near.try_clone().expect("a socket"), far.try_clone().expect("a socket"));
            pass_on(near, far, delay);
            pass_on(far_too, near_too, delay);
        }
    });
    address
}

/// Passes what one stream brings on to the other after a while, until either ends.
fn pass_on(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    let (sender, flying) = channel::<(Instant, Vec<u8>)>();
    to.set_nodelay(true).expect("a socket");
    std::thread::spawn(move || {
        let mut bytes = [0; 65_536];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            if sender.send((Instant::now() + delay, bytes[..count].to_vec())).is_err() {
                return;
            }
        }
    });
    std::thread::spawn(move || {
        for (at, bytes) in flying {
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        to.shutdown(Shutdown::Both).ok();
    });
}
