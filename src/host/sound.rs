//! One session's sound process: programs connect to it as to PulseAudio, the front as the viewer's ear and mouth.
//!
//! A process of its own, like the X server: the session process may die and come back, and no program notices; and a
//! picture that takes long to encode delays no sound. One thread, one `poll`. While nothing plays or records it sleeps.

use crate::host::session::socket::{Listener, Peer, PeerError};
use crate::io::linux::pulse::PulseServer;
use crate::io::opus::{OpusError, Player, Talker};
use crate::limits::RELAY_BACKLOG;
use crate::proto::sound::packet::{RATE, SoundKind, SoundPacket};
use crate::proto::wire::{HostMessage, Relay, SoundWish, ViewerMessage, single_message};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::json;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};
use thiserror::Error;

/// The mixer's step: half a frame, so that a program's sound waits for 15 ms on average.
const TICK: Duration = Duration::from_millis(10);
/// Samples of each channel in a step.
const TICK_SAMPLES: usize = (RATE / 100) as usize;
/// The process' priority among others: what sound servers ask for.
const PRIORITY: i32 = -11;
/// A machine that stood still for this long has missed what was to be played.
const MISSED: Duration = Duration::from_millis(200);
/// Sound that the front has not taken: then packets are dropped, as late sound is of no use.
const BACKLOG_MAX: usize = RELAY_BACKLOG / 8;
/// The socket that the front connects to.
const SOCKET: &str = "sound.sock";
/// The socket that programs connect to.
const PULSE_SOCKET: &str = "pulse";

/// Why there is no sound.
#[derive(Debug, Error)]
pub enum SoundError {
    /// A socket cannot be used.
    #[error("the socket {0} cannot be used")]
    Socket(&'static str, #[source] io::Error),
    /// libopus does not work.
    #[error(transparent)]
    Opus(#[from] OpusError),
}

/// The process' state.
struct Sound {
    started: Instant,
    pulse: PulseServer,
    listener: Listener,
    peers: Vec<Peer>,
    /// Which peer is the front: the last that said something about sound.
    front: Option<usize>,
    wish: SoundWish,
    microphone: bool,
    told_listening: bool,
    talker: Talker,
    player: Player,
    /// When the next step is due; none while nothing plays or records.
    tick_at: Option<Instant>,
    packets: Vec<SoundPacket>,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    sent: u64,
    dropped: u64,
    heard: u64,
}

/// Runs until it is killed; its session ends it.
///
/// # Errors
/// [`SoundError`].
pub fn run(place: &Path) -> Result<(), SoundError> {
    let socket = |name| move |error| SoundError::Socket(name, error);
    let mut sound = Sound {
        started: Instant::now(),
        pulse: PulseServer::bind(&place.join(PULSE_SOCKET)).map_err(socket(PULSE_SOCKET))?,
        listener: Listener::bind(&place.join(SOCKET)).map_err(socket(SOCKET))?,
        peers: Vec::new(),
        front: None,
        wish: SoundWish::Nothing,
        microphone: false,
        told_listening: false,
        talker: Talker::new(SoundKind::Sound)?,
        player: Player::new(SoundKind::Microphone)?,
        tick_at: None,
        packets: Vec::new(),
        counts: Counts::default(),
    };
    // Sound is little work and late at once; where the system does not allow it, the share is as everybody's.
    let _ = rustix::process::setpriority_process(None, PRIORITY);
    tracing::info!("Sound server ready");
    loop {
        sound.wait().map_err(socket(SOCKET))?;
        sound.pulse.handle_ready();
        sound.serve_front().map_err(socket(SOCKET))?;
        sound.tick()?;
        sound.tell_listening();
    }
}

impl Sound {
    /// Sleeps until somebody has something to say, or the next step is due.
    fn wait(&self) -> io::Result<()> {
        let flags = |writes: bool| if writes { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        let mut fds: Vec<PollFd> =
            self.pulse.descriptors().map(|(fd, writes)| PollFd::from_borrowed_fd(fd, flags(writes))).collect();
        fds.push(PollFd::new(&self.listener, PollFlags::IN));
        fds.extend(self.peers.iter().map(|p| PollFd::from_borrowed_fd(p.as_fd(), flags(p.backlog() > 0))));
        let left = self.tick_at.map(|at| at.saturating_duration_since(Instant::now()));
        let timeout = left.map(|t| Timespec { tv_sec: t.as_secs() as i64, tv_nsec: t.subsec_nanos().into() });
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Mixes what is due, and hands the microphone over.
    fn tick(&mut self) -> Result<(), SoundError> {
        let recording = self.pulse.is_recording();
        if !(self.pulse.is_playing() || recording || self.talker.is_sending()) {
            self.tick_at = None;
            return Ok(());
        }
        let now = Instant::now();
        let mut at = *self.tick_at.get_or_insert(now);
        if now.saturating_duration_since(at) > MISSED {
            at = now;
        }
        let mut mixed = Vec::with_capacity(2 * TICK_SAMPLES);
        while at <= now {
            mixed.clear();
            self.pulse.mix(TICK_SAMPLES, &mut mixed);
            if self.wish != SoundWish::Nothing {
                let clock = at.saturating_duration_since(self.started).as_micros() as u64 * 6 / 125;
                self.talker.handle_samples(&mixed, clock, &mut self.packets)?;
            }
            if self.pulse.is_listening() {
                mixed.clear();
                // A frame that is fetched while something is left of the one before is played that much later. Left out of
                // account, that lets frames be fetched before they are there, where the microphone's clock is the slower one.
                let ready = TICK.mul_f64(self.player.ready() as f64 / TICK_SAMPLES as f64);
                self.player.set_lacking(TICK.saturating_sub(ready));
                self.player.play(TICK_SAMPLES, &mut mixed, self.started.elapsed());
                mixed.resize(TICK_SAMPLES, 0.0);
                self.pulse.record(&mixed);
            }
            at += TICK;
        }
        self.tick_at = Some(at);
        self.send_packets();
        Ok(())
    }

    fn send_packets(&mut self) {
        for packet in std::mem::take(&mut self.packets) {
            let Some(front) = self.front.and_then(|front| self.peers.get_mut(front)) else { return };
            if front.backlog() > BACKLOG_MAX {
                self.counts.dropped += 1;
                continue;
            }
            let mut bytes = Vec::new();
            packet.encode(&mut bytes);
            // A front that is gone is noticed by its next read.
            let _ = front.send(&Relay::Sound(bytes.into()));
            self.counts.sent += 1;
        }
    }

    /// Takes connections, and does what the front says.
    fn serve_front(&mut self) -> io::Result<()> {
        self.peers.extend(self.listener.accept()?);
        for index in (0..self.peers.len()).rev() {
            if let Err(error) = self.serve_peer(index) {
                tracing::debug!(%error, "Peer of the sound process gone");
                self.peers.remove(index);
                match self.front {
                    Some(front) if front == index => self.lose_front(),
                    Some(front) if front > index => self.front = Some(front - 1),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn lose_front(&mut self) {
        self.front = None;
        (self.wish, self.microphone, self.told_listening) = (SoundWish::Nothing, false, false);
    }

    fn serve_peer(&mut self, index: usize) -> Result<(), PeerError> {
        self.peers[index].flush()?;
        let received = self.peers[index].receive();
        while let Some(message) = self.peers[index].poll_message()? {
            match message {
                Relay::SoundControl(body) => {
                    if self.front != Some(index) {
                        self.lose_front();
                        self.front = Some(index);
                    }
                    self.handle_control(&body)?;
                }
                Relay::Sound(datagram) if self.front == Some(index) => self.handle_datagram(datagram),
                Relay::Status(question) if question.is_empty() => {
                    let answer = self.status().to_string();
                    self.peers[index].send(&Relay::Status(answer.into()))?;
                }
                other => tracing::debug!(?other, "Message without meaning at the sound process"),
            }
        }
        received
    }

    fn handle_control(&mut self, body: &[u8]) -> Result<(), PeerError> {
        match ViewerMessage::decode(single_message(body)?)? {
            ViewerMessage::Sound(wish) => {
                self.wish = wish;
                self.talker.set_doubled(wish == SoundWish::Twice);
            }
            ViewerMessage::Microphone(on) => self.microphone = on,
            other => tracing::debug!(?other, "Message without meaning at the sound process"),
        }
        Ok(())
    }

    fn handle_datagram(&mut self, datagram: bytes::Bytes) {
        match SoundPacket::decode(datagram) {
            // Nobody listens: nothing is kept.
            Ok(packet) if packet.kind == SoundKind::Microphone && self.microphone && self.pulse.is_listening() => {
                self.counts.heard += 1;
                self.player.handle_packet(packet, self.started.elapsed());
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "Packet of the microphone refused"),
        }
    }

    /// Tells the viewer whether a program listens to the microphone.
    fn tell_listening(&mut self) {
        let listening = self.pulse.is_listening();
        if listening == self.told_listening {
            return;
        }
        let Some(front) = self.front.and_then(|front| self.peers.get_mut(front)) else { return };
        self.told_listening = listening;
        let mut framed = Vec::new();
        HostMessage::Listening(listening).encode(&mut framed);
        let _ = front.send(&Relay::SoundControl(framed.into()));
    }

    fn status(&self) -> serde_json::Value {
        let (pulse, jitter) = (self.pulse.counts(), self.player.jitter().counts());
        json!({
            "pid": std::process::id(),
            "programs": pulse.clients,
            "playing": pulse.playing,
            "recording": pulse.recording,
            "underruns": pulse.underruns,
            "packets_sent": self.counts.sent,
            "packets_dropped": self.counts.dropped,
            "microphone": self.microphone,
            "microphone_packets": self.counts.heard,
            "microphone_concealed": jitter.concealed,
            "microphone_repaired": jitter.repaired,
            "microphone_delay_us": self.player.jitter().delay().as_micros() as u64,
        })
    }
}
