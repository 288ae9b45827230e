//! The front's side of a session's sound process: datagrams both ways, as far as viewer, session and policy allow.
//!
//! What a viewer may use was said in `Welcome`; what comes in spite of it is dropped here and counted, so that a patched
//! viewer gets nothing. Opus is never looked at.

use crate::host::front::process::{Link, LinkEvent, connect};
use crate::host::place::SessionPlace;
use crate::proto::wire::{CAPABILITY_MICROPHONE, CAPABILITY_SOUND, Relay, SoundWish, ViewerMessage};
use bytes::Bytes;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::sleep;
use tracing::{debug, info};

/// First and longest pause between looks for the sound process' socket.
const LOOK: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(1)];
/// Bytes that wait for a sound process that does not read: 400 ms of a microphone. More is dropped.
const BACKLOG_MAX: usize = 8 << 10;
/// First byte of a microphone's packet.
const MICROPHONE: u8 = crate::proto::sound::packet::SoundKind::Microphone as u8;

type Reaching = Pin<Box<dyn Future<Output = Link> + Send>>;

enum State {
    Off,
    Reaching(Reaching),
    Up(Box<Link>),
}

/// The way to a session's sound process.
pub(super) struct SoundSide {
    socket: PathBuf,
    state: State,
    granted: u32,
    wish: SoundWish,
    microphone: bool,
    /// What the sound process was told last.
    told: Option<(SoundWish, bool)>,
    /// Messages and packets that the viewer had no right to.
    refused: u64,
}

impl SoundSide {
    /// Nobody listens yet.
    pub(super) fn new(place: &SessionPlace) -> SoundSide {
        SoundSide {
            socket: place.sound_socket(),
            state: State::Off,
            granted: 0,
            wish: SoundWish::default(),
            microphone: false,
            told: None,
            refused: 0,
        }
    }

    /// Another viewer, or none: what the former one said is over.
    pub(super) fn handle_viewer(&mut self) {
        if self.refused > 0 {
            info!(refused = self.refused, "A viewer used sound that it may not use");
        }
        (self.granted, self.wish, self.microphone, self.refused) = (0, SoundWish::default(), false, 0);
        self.state = State::Off;
    }

    /// The viewer is told that it may use these capabilities.
    pub(super) fn handle_welcome(&mut self, granted: u32) {
        self.granted = granted & (CAPABILITY_SOUND | CAPABILITY_MICROPHONE);
        match &self.state {
            _ if self.granted == 0 => self.state = State::Off,
            State::Off => {
                let socket = self.socket.clone();
                self.state = State::Reaching(Box::pin(reach(socket)));
            }
            State::Reaching(_) | State::Up(_) => _ = self.tell(),
        }
    }

    /// Takes a viewer's message about sound; false if it is about something else.
    pub(super) fn handle_message(&mut self, message: &ViewerMessage) -> bool {
        match message {
            ViewerMessage::Sound(wish) if self.granted & CAPABILITY_SOUND != 0 => self.wish = *wish,
            ViewerMessage::Microphone(on) if self.granted & CAPABILITY_MICROPHONE != 0 => {
                info!(on, "Microphone");
                self.microphone = *on;
            }
            ViewerMessage::Sound(_) | ViewerMessage::Microphone(_) => self.refused += 1,
            _ => return false,
        }
        self.tell();
        true
    }

    /// Takes a datagram of the viewer: its microphone, if that is on and allowed.
    pub(super) fn handle_datagram(&mut self, datagram: Bytes) {
        let may = self.microphone && self.granted & CAPABILITY_MICROPHONE != 0;
        if !may || datagram.first() != Some(&MICROPHONE) {
            self.refused += 1;
            return;
        }
        if let State::Up(link) = &mut self.state
            && link.backlog() < BACKLOG_MAX
        {
            link.send(&Relay::Sound(datagram));
        }
    }

    /// Ready with what is to go to the viewer: [`Relay::Sound`] or [`Relay::SoundControl`].
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Relay> {
        loop {
            // What did not fit before may fit now.
            self.tell();
            match &mut self.state {
                State::Off => return Poll::Pending,
                State::Reaching(reaching) => {
                    let link = ready!(reaching.as_mut().poll(cx));
                    self.state = State::Up(Box::new(link));
                    self.told = None;
                }
                State::Up(link) => match link.poll(cx, true) {
                    // It may have sent what a word was waiting behind.
                    Poll::Pending if self.tell() => {}
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(LinkEvent::Message(message @ Relay::Sound(_)))
                        if self.granted & CAPABILITY_SOUND != 0 =>
                    {
                        return Poll::Ready(message);
                    }
                    Poll::Ready(LinkEvent::Message(message @ Relay::SoundControl(_)))
                        if self.granted & CAPABILITY_MICROPHONE != 0 =>
                    {
                        return Poll::Ready(message);
                    }
                    Poll::Ready(LinkEvent::Message(other)) => {
                        debug!(?other, "The sound process says what is not for the viewer");
                    }
                    Poll::Ready(LinkEvent::Gone(error)) => {
                        info!(%error, "Sound process lost");
                        self.state = State::Reaching(Box::pin(reach(self.socket.clone())));
                    }
                },
            }
        }
    }

    /// Tells the sound process what the viewer wants and may have, if that is new. While the process does not read it
    /// waits, and only the newest counts. Returns whether something was said.
    fn tell(&mut self) -> bool {
        let wish = if self.granted & CAPABILITY_SOUND != 0 { self.wish } else { SoundWish::Nothing };
        let microphone = self.microphone && self.granted & CAPABILITY_MICROPHONE != 0;
        let State::Up(link) = &mut self.state else { return false };
        if self.told == Some((wish, microphone)) || link.backlog() >= BACKLOG_MAX {
            return false;
        }
        self.told = Some((wish, microphone));
        for message in [ViewerMessage::Sound(wish), ViewerMessage::Microphone(microphone)] {
            let mut framed = Vec::new();
            message.encode(&mut framed);
            link.send(&Relay::SoundControl(framed.into()));
        }
        true
    }
}

/// Connects as soon as the sound process is there; the session process starts it again if it ended.
async fn reach(socket: PathBuf) -> Link {
    let mut pause = LOOK[0];
    loop {
        match connect(&socket).await {
            Ok(stream) => return Link::new(stream, None),
            Err(error) => debug!(%error, "No sound process yet"),
        }
        sleep(pause).await;
        pause = (2 * pause).min(LOOK[1]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::front::process::Link;
    use std::os::unix::net::UnixStream;

    /// Is connected to a sound process: the other end.
    fn side(granted: u32) -> (SoundSide, UnixStream) {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        ours.set_nonblocking(true).expect("ours");
        let link = Link::new(tokio::net::UnixStream::from_std(ours).expect("ours"), None);
        let side = SoundSide {
            socket: PathBuf::new(),
            state: State::Up(Box::new(link)),
            granted,
            wish: SoundWish::default(),
            microphone: false,
            told: None,
            refused: 0,
        };
        (side, theirs)
    }

    fn backlog(side: &SoundSide) -> usize {
        match &side.state {
            State::Up(link) => link.backlog(),
            _ => panic!("it is up"),
        }
    }

    #[test]
    fn the_microphone_is_taken_only_while_it_is_on_and_allowed() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let packet = |kind: u8| Bytes::copy_from_slice(&[kind, 0, 1, 0, 0, 0, 0, 0, 0xf8, 1]);
            let check = |granted, switched: &[bool], kind, expected, what: &str| {
                let (mut side, _theirs) = side(granted);
                for on in switched {
                    side.handle_message(&ViewerMessage::Microphone(*on));
                }
                let (before, refused) = (backlog(&side), side.refused);
                side.handle_datagram(packet(kind));
                assert_eq!((backlog(&side) > before, side.refused == refused), (expected, expected), "{what}");
            };
            let all = CAPABILITY_SOUND | CAPABILITY_MICROPHONE;
            check(all, &[], MICROPHONE, false, "it was never switched on");
            check(all, &[true], MICROPHONE, true, "it is on");
            check(all, &[true, false], MICROPHONE, false, "it is off again");
            check(all, &[true], 1, false, "this is no microphone's");
            check(CAPABILITY_SOUND, &[true], MICROPHONE, false, "the policy is against it");
        });
    }

    #[test]
    fn a_viewer_that_repeats_itself_to_a_sound_process_that_sleeps_fills_no_memory() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let (mut side, theirs) = side(CAPABILITY_SOUND | CAPABILITY_MICROPHONE);
            side.handle_message(&ViewerMessage::Microphone(true));
            let once = backlog(&side);
            for _ in 0..1_000 {
                side.handle_message(&ViewerMessage::Microphone(true));
            }
            assert_eq!(backlog(&side), once, "said once");
            let mut polls = std::future::poll_fn(|cx| Poll::Ready(side.poll(cx).is_pending()));
            assert!((&mut polls).await);
            for number in 0..100_000 {
                side.handle_message(&ViewerMessage::Microphone(number % 2 == 0));
            }
            assert!(backlog(&side) < 2 * BACKLOG_MAX, "{} bytes wait", backlog(&side));
            drop(theirs);
        });
    }
}
