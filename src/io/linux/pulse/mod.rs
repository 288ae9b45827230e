//! A PulseAudio server of one session: what programs play is mixed to 48 kHz stereo, and they hear a microphone.
//!
//! One sink, its monitor, one source; no card, no module, no shared memory. The protocol's messages are the crate
//! `pulseaudio`'s. Nothing here has a clock or a thread: `host::sound` says when 10 ms are over. Its neighbours:
//! `client` (one connected program), `stream` (what it plays and records), `samples` (formats and channels).

mod client;
mod info;
mod samples;
mod stream;

use client::{Client, ClientError};
use pulseaudio::protocol::{ChannelVolume, SubscriptionEventFacility, SubscriptionEventType};
use rustix::net::sockopt::socket_peercred;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

/// Programs connected at once: a desktop has a dozen.
const CLIENTS_MAX: usize = 128;
/// Streams of all programs together.
const STREAMS_MAX: usize = 256;

/// The server.
#[derive(Debug)]
pub struct PulseServer {
    listener: UnixListener,
    clients: Vec<Client>,
    device: Device,
    /// Of programs that are gone.
    underruns_before: u64,
}

/// What all clients share.
#[derive(Debug)]
struct Device {
    sink_volume: ChannelVolume,
    sink_muted: bool,
    source_volume: ChannelVolume,
    source_muted: bool,
    /// The next number for a client or stream.
    next_index: u32,
    /// Streams of all clients.
    streams: usize,
    /// What subscribers are to be told.
    events: Vec<(SubscriptionEventFacility, SubscriptionEventType, u32)>,
}

/// What the server is doing, for `kachel-host status`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PulseCounts {
    /// Connected programs.
    pub clients: usize,
    /// Streams that play now.
    pub playing: usize,
    /// Streams that record now.
    pub recording: usize,
    /// Times that a stream ran dry while it played, of programs that are gone too.
    pub underruns: u64,
}

impl Device {
    fn take_index(&mut self) -> u32 {
        self.next_index = self.next_index.wrapping_add(1);
        self.next_index
    }

    fn tell(&mut self, facility: SubscriptionEventFacility, kind: SubscriptionEventType, index: u32) {
        self.events.push((facility, kind, index));
    }
}

impl PulseServer {
    /// Listens at a path; a socket that a dead process left there is replaced.
    ///
    /// # Errors
    /// Whatever binding reports; `AddrInUse` if somebody answers there.
    pub fn bind(path: &Path) -> io::Result<PulseServer> {
        if UnixStream::connect(path).is_ok() {
            return Err(ErrorKind::AddrInUse.into());
        }
        let _ = std::fs::remove_file(path);
        let listener = UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        let device = Device {
            sink_volume: ChannelVolume::norm(2),
            sink_muted: false,
            source_volume: ChannelVolume::norm(1),
            source_muted: false,
            next_index: 0,
            streams: 0,
            events: Vec::new(),
        };
        Ok(PulseServer { listener, clients: Vec::new(), device, underruns_before: 0 })
    }

    /// All descriptors to wait for, and whether one waits to write.
    pub fn descriptors(&self) -> impl Iterator<Item = (BorrowedFd<'_>, bool)> {
        std::iter::once((self.listener.as_fd(), false))
            .chain(self.clients.iter().map(|client| (client.as_fd(), client.has_backlog())))
    }

    /// Accepts, reads, answers and writes whatever is possible at once.
    pub fn handle_ready(&mut self) {
        self.accept();
        let (device, underruns) = (&mut self.device, &mut self.underruns_before);
        self.clients.retain_mut(|client| {
            let Err(error) = client.handle_ready(device) else { return true };
            if !matches!(error, ClientError::Gone) {
                tracing::info!(%error, "Program sent away from the sound server");
            }
            *underruns += client.underruns();
            client.leave(device);
            false
        });
        self.publish();
    }

    /// Whether any stream wants to be heard: time must go on for it.
    pub fn is_playing(&self) -> bool {
        self.clients.iter().any(Client::is_playing)
    }

    /// Whether any program listens to the microphone.
    pub fn is_listening(&self) -> bool {
        self.clients.iter().any(|client| client.is_recording(info::SOURCE))
    }

    /// Whether any program records anything: time must go on for it.
    pub fn is_recording(&self) -> bool {
        self.is_listening() || self.clients.iter().any(|client| client.is_recording(info::MONITOR))
    }

    /// Appends the next `count` samples of each channel of everything that plays, 48 kHz stereo interleaved, and hands
    /// them to the programs that record the monitor.
    pub fn mix(&mut self, count: usize, out: &mut Vec<f32>) {
        let start = out.len();
        out.resize(start + 2 * count, 0.0);
        let mixed = &mut out[start..];
        for client in &mut self.clients {
            client.mix(mixed);
        }
        let gain = samples::gains(&self.device.sink_volume, self.device.sink_muted);
        for frame in mixed.chunks_exact_mut(2) {
            frame[0] = (frame[0] * gain[0]).clamp(-1.0, 1.0);
            frame[1] = (frame[1] * gain[1]).clamp(-1.0, 1.0);
        }
        for client in &mut self.clients {
            client.record(info::MONITOR, mixed, 2);
        }
        self.publish();
    }

    /// Hands samples of the microphone, 48 kHz mono, to the programs that record it.
    pub fn record(&mut self, samples: &[f32]) {
        let gain = samples::gains(&self.device.source_volume, self.device.source_muted)[0];
        let scaled: Vec<f32> = samples.iter().map(|s| s * gain).collect();
        for client in &mut self.clients {
            client.record(info::SOURCE, &scaled, 1);
        }
    }

    /// What it is doing.
    pub fn counts(&self) -> PulseCounts {
        PulseCounts {
            clients: self.clients.len(),
            playing: self.clients.iter().map(Client::playing).sum(),
            recording: self.clients.iter().map(Client::recording).sum(),
            underruns: self.underruns_before + self.clients.iter().map(Client::underruns).sum::<u64>(),
        }
    }

    fn accept(&mut self) {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    // The directory is closed to others already; this is the second bolt.
                    let same_user = socket_peercred(&stream).is_ok_and(|c| c.uid == rustix::process::geteuid());
                    if !same_user || self.clients.len() >= CLIENTS_MAX {
                        tracing::warn!(same_user, clients = self.clients.len(), "Program refused at the sound server");
                        continue;
                    }
                    let index = self.device.take_index();
                    match Client::new(stream, index) {
                        Ok(client) => self.clients.push(client),
                        Err(error) => tracing::debug!(%error, "Program lost at the sound server"),
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => {
                    tracing::debug!(%error, "Nobody accepted at the sound server");
                    return;
                }
            }
        }
    }

    /// Tells subscribers what changed, and asks answers that need all clients.
    fn publish(&mut self) {
        for asked in 0..self.clients.len() {
            while let Some((sequence, question)) = self.clients[asked].poll_question() {
                let answer = info::answer(question, &self.clients);
                self.clients[asked].answer(sequence, answer);
            }
        }
        for (facility, kind, index) in std::mem::take(&mut self.device.events) {
            for client in &mut self.clients {
                client.tell(facility, kind, index);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulseaudio::protocol::{
        AuthParams, ChannelMap, Command, DESCRIPTOR_SIZE, PlaybackStreamParams, Props, SampleFormat, SampleSpec,
        stream::BufferAttr, write_command_message, write_memblock,
    };
    use std::io::{Read, Write};

    const VERSION: u16 = 32;

    fn server() -> (tempfile::TempDir, PulseServer, UnixStream) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut server = PulseServer::bind(&dir.path().join("pulse")).expect("a socket");
        let program = UnixStream::connect(dir.path().join("pulse")).expect("the server listens");
        program.set_nonblocking(true).expect("a socket");
        server.handle_ready();
        (dir, server, program)
    }

    fn commands() -> Vec<Command> {
        let spec = SampleSpec { format: SampleFormat::S16Le, channels: 1, sample_rate: 48_000 };
        let auth = AuthParams { version: VERSION, supports_shm: false, supports_memfd: false, cookie: vec![0; 256] };
        let stream = PlaybackStreamParams {
            sample_spec: spec,
            channel_map: ChannelMap::mono(),
            buffer_attr: BufferAttr { pre_buffering: 0, ..BufferAttr::default() },
            ..PlaybackStreamParams::default()
        };
        vec![
            Command::Auth(auth),
            Command::SetClientName(Props::new()),
            Command::GetServerInfo,
            Command::CreatePlaybackStream(stream),
            Command::GetSinkInputInfoList,
            Command::DrainPlaybackStream(0),
            Command::FlushPlaybackStream(0),
        ]
    }

    fn bytes_of(commands: &[Command]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (sequence, command) in (0..).zip(commands) {
            write_command_message(&mut bytes, sequence, command, VERSION).expect("our own command");
        }
        bytes
    }

    #[test]
    fn what_a_program_plays_is_mixed() {
        let (_dir, mut server, mut program) = server();
        program.write_all(&bytes_of(&commands()[..4])).expect("the server reads");
        let samples: Vec<u8> = std::iter::repeat_n(8_192_i16.to_le_bytes(), 960).flatten().collect();
        let mut block = Vec::new();
        write_memblock(&mut block, 0, &samples, 0).expect("a block");
        program.write_all(&block).expect("the server reads");
        server.handle_ready();
        assert!(server.is_playing() && !server.is_recording());
        let mut mixed = Vec::new();
        server.mix(480, &mut mixed);
        assert_eq!(mixed, vec![0.25; 960]);
        let mut answers = vec![0; 1 << 16];
        assert!(program.read(&mut answers).expect("there are answers") > 4 * DESCRIPTOR_SIZE);
        drop(program);
        server.handle_ready();
        assert_eq!(server.counts(), PulseCounts::default());
    }

    #[test]
    fn a_program_that_asks_without_end_and_reads_nothing_is_sent_away() {
        let (_dir, mut server, program) = server();
        program.set_nonblocking(false).expect("a socket");
        let mut begin = bytes_of(&commands()[..2]);
        let questions = bytes_of(&vec![Command::GetServerInfo; 1_000]);
        let mut writer = program.try_clone().expect("a socket");
        let flood = std::thread::spawn(move || {
            begin.extend_from_slice(&questions);
            while writer.write_all(&begin).is_ok() {
                begin.clone_from(&questions);
            }
        });
        // Each time it comes back, however much there is to read.
        let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while server.counts().clients > 0 && std::time::Instant::now() < end {
            server.handle_ready();
        }
        assert_eq!(server.counts().clients, 0, "its answers wait without a bound");
        flood.join().expect("it was sent away");
    }

    #[test]
    fn nothing_counts_before_a_program_has_said_who_it_is() {
        let (_dir, mut server, mut program) = server();
        program.write_all(&bytes_of(&commands()[3..4])).expect("the server reads");
        server.handle_ready();
        assert_eq!(server.counts().clients, 0);
    }

    #[test]
    fn bytes_of_a_hostile_program_end_at_most_its_own_connection() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("pulse");
        let mut server = PulseServer::bind(&path).expect("a socket");
        let valid = bytes_of(&commands());
        let mut seed = 1_u64;
        let mut random = move |below: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize % below
        };
        let mut mixed = Vec::new();
        for _ in 0..3_000 {
            let mut program = UnixStream::connect(&path).expect("the server still listens");
            let mut bytes = valid.clone();
            // The first command stays whole in most rounds, so that the others are looked at.
            let first = if random(8) == 0 { 0 } else { bytes_of(&commands()[..1]).len() };
            for _ in 0..random(6) {
                let at = first + random(bytes.len() - first);
                match random(3) {
                    0 => bytes[at] = random(256) as u8,
                    1 => bytes.truncate(at.max(1)),
                    _ => bytes.extend((0..random(40)).map(|i| i as u8)),
                }
                if bytes.len() <= first {
                    break;
                }
            }
            // A server that has sent it away does not read the rest.
            let _ = program.write_all(&bytes);
            server.handle_ready();
            mixed.clear();
            server.mix(480, &mut mixed);
            assert!(mixed.iter().all(|s| s.is_finite() && s.abs() <= 1.0));
            drop(program);
            server.handle_ready();
        }
        assert_eq!(server.counts().clients, 0);
        assert_eq!(server.device.streams, 0, "streams of programs that are gone are counted");
    }
}
