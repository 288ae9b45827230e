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
    /// Times that a playing stream ran dry.
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
        Ok(PulseServer { listener, clients: Vec::new(), device })
    }

    /// All descriptors to wait for, and whether one waits to write.
    pub fn descriptors(&self) -> impl Iterator<Item = (BorrowedFd<'_>, bool)> {
        std::iter::once((self.listener.as_fd(), false))
            .chain(self.clients.iter().map(|client| (client.as_fd(), client.has_backlog())))
    }

    /// Accepts, reads, answers and writes whatever is possible at once.
    pub fn handle_ready(&mut self) {
        self.accept();
        let device = &mut self.device;
        self.clients.retain_mut(|client| match client.handle_ready(device) {
            Ok(()) => true,
            Err(ClientError::Gone) => {
                client.leave(device);
                false
            }
            Err(error) => {
                tracing::info!(%error, "Program sent away from the sound server");
                client.leave(device);
                false
            }
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
            underruns: self.clients.iter().map(Client::underruns).sum(),
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
