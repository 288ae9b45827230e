//! Every message that crosses a thread in the viewer: ui, net and screen talk by these and nothing else.

use crate::geom::{Point, Rect, Size, TileGrid};
use crate::io::net::trial::Trial;
use crate::io::sound::SoundDevice;
use crate::proto::screen::assembler::Update;
use crate::proto::session::client::LinkState;
use crate::proto::sound::jitter::JitterCounts;
use crate::proto::sound::talk::TalkState;
use crate::proto::wire::{CursorShape, LockKeys, PointerButton, Progress};
use crate::viewer::print::{PrintCommand, PrintView};
use bytes::Bytes;
use std::fmt;
use std::mem::discriminant;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Commands that may wait for the net thread, which takes them as they come: what somebody does in the seconds in which the
/// whole viewer stood still, some 30 a second. What finds it full is lost, but no release (`viewer::app`).
pub const COMMANDS_MAX: usize = 256;
/// Facts that may wait for the net thread: a few for each frame in flight.
pub const FACTS_MAX: usize = 32;
/// Frames between net and screen: one waits while one is drawn, so nothing queues up.
pub const UPDATES_MAX: usize = 1;
/// Batches of tiles to check that may wait for the screen thread: a host sends the next after the answer.
pub const CHECKS_MAX: usize = 1;
/// Packets and commands that may wait for the sound thread, which looks every 5 ms: 400 ms of sound and some clicks. A
/// packet that finds the channel full is lost, as it would be on the way.
pub const SOUND_COMMANDS_MAX: usize = 64;
/// Packets and numbers that may wait for the net thread: what finds the channel full is lost.
pub const SOUND_FACTS_MAX: usize = 32;

/// ui to net.
#[derive(Debug)]
pub enum Command {
    /// Leave any host and connect to this one.
    Connect(Box<Trial>),
    /// Try again now.
    Retry,
    /// Leave; the session goes on.
    Disconnect,
    /// Something the user did on the picture.
    Input(UserInput),
    /// The picture's place has this size now.
    Viewport {
        /// In physical pixels.
        size: Size,
        /// Scale of the screen it is on, 50 to 400.
        scale_percent: u16,
    },
    /// The window can, or cannot, be seen.
    Visible(bool),
    /// The ui wants [`UiEvent::Numbers`] every second, or no longer.
    Watch(bool),
    /// The picture is lost: ask for a key frame.
    Refresh,
    /// Something the user did on the printing page.
    Print(PrintCommand),
    /// The user silences the session, or wants to hear it.
    Mute(bool),
    /// The user switches the microphone on or off.
    Microphone(bool),
}

/// net and ui to sound.
#[derive(Debug)]
pub enum SoundCommand {
    /// A datagram of sound and when it came, from net: that this thread was late is no fault of the way.
    Packet(Bytes, Instant),
    /// A new connection: what came before is over. From net.
    Reset,
    /// The microphone is on, or off; net has made sure that the user wants it.
    Microphone(bool),
    /// Whether each frame of the microphone is to be sent twice, from net, which sees what is lost.
    Twice(bool),
    /// How loud the session is, 0 to 1; from ui, like all that follow.
    Volume(f32),
    /// Play on this device, or on the system's choice.
    UseOutput(Option<String>),
    /// Record from this device, or from the system's choice.
    UseInput(Option<String>),
    /// The page wants [`UiEvent::Sound`] ten times a second, or no longer.
    Watch(bool),
    /// Play the test tone.
    TestTone,
    /// Record three seconds and play them.
    TestLoop,
}

/// sound to net.
#[derive(Debug)]
pub enum SoundFact {
    /// A datagram of the microphone.
    Packet(Bytes),
    /// Packets are being lost on the way here, or no longer.
    Lossy(bool),
    /// The numbers of now.
    Numbers(SoundNumbers),
}

/// What the sound thread counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SoundNumbers {
    /// From the quickest arrival to the loudspeaker.
    pub delay: Duration,
    /// What the jitter buffer aims at.
    pub depth: Duration,
    /// What happened to the packets.
    pub counts: JitterCounts,
    /// Times that the loudspeaker had nothing to play in the middle of a sound.
    pub dry: u64,
    /// Time of silence that was heard then.
    pub missing: Duration,
    /// What is to wait for the loudspeaker.
    pub ahead: Duration,
}

/// What the sound page shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SoundView {
    /// Loudspeakers.
    pub outputs: Vec<SoundDevice>,
    /// Microphones.
    pub inputs: Vec<SoundDevice>,
    /// The chosen loudspeaker's id; none follows the system.
    pub output: Option<String>,
    /// The chosen microphone's id; none follows the system.
    pub input: Option<String>,
    /// 0 to 1.
    pub volume: f32,
    /// The microphone's peak, 0 to 1.
    pub level: f32,
    /// What the test is doing.
    pub test: TestState,
}

/// What the sound page's test is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TestState {
    /// Nothing.
    #[default]
    Nothing,
    /// It plays a tone.
    Tone,
    /// It records.
    Recording,
    /// It plays what it recorded.
    Replaying,
}

/// Something the user did on the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserInput {
    /// A key by its HID usage; down may repeat.
    Key {
        /// Usage on page 0x07.
        usage: u16,
        /// Whether it went down.
        down: bool,
    },
    /// The pointer is here, in the session's pixels.
    Motion(Point),
    /// A button.
    Button {
        /// Which.
        button: PointerButton,
        /// Whether it went down.
        pressed: bool,
    },
    /// The wheel turned, in 1/120 of a detent, right and down positive.
    Wheel {
        /// Sideways.
        dx: i16,
        /// Up and down.
        dy: i16,
    },
    /// The keyboard is no longer ours.
    FocusLost,
    /// The lock keys as they are now.
    Locks(LockKeys),
}

/// ui to screen.
#[derive(Debug)]
pub enum SceneChange {
    /// The window has this size, in physical pixels.
    Window(Size),
    /// The viewer's own pages over the picture.
    Overlay(OverlayPicture),
    /// The window system wants everything drawn again.
    Exposed,
}

/// The ui's end of [`SceneChange`]s. Of each kind the newest waits: the screen thread may hang in the swap chain, and then the
/// ui, which has the keyboard, must not.
#[derive(Debug)]
pub struct SceneSender {
    waiting: SceneWaiting,
    /// Holds one at most: whoever takes it takes all that waits.
    wake: mpsc::Sender<()>,
}

/// The screen's end of [`SceneChange`]s.
#[derive(Debug)]
pub struct SceneReceiver {
    waiting: SceneWaiting,
    wake: mpsc::Receiver<()>,
}

type SceneWaiting = Arc<Mutex<Vec<SceneChange>>>;

/// Makes the two ends.
pub fn scenes() -> (SceneSender, SceneReceiver) {
    let waiting = SceneWaiting::default();
    let (wake, woken) = mpsc::channel(1);
    (SceneSender { waiting: Arc::clone(&waiting), wake }, SceneReceiver { waiting, wake: woken })
}

impl SceneSender {
    /// Tells the screen thread; never waits.
    pub fn tell(&self, mut change: SceneChange) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(i) = waiting.iter().position(|other| discriminant(other) == discriminant(&change))
            && let (SceneChange::Overlay(before), SceneChange::Overlay(now)) = (waiting.remove(i), &mut change)
        {
            now.damage = now.damage.union(before.damage);
        }
        waiting.push(change);
        // One that finds it full: somebody is already called.
        let _ = self.wake.try_send(());
    }
}

impl SceneReceiver {
    /// Waits for changes and takes all of them; none when the ui has gone.
    pub async fn recv(&mut self) -> Option<Vec<SceneChange>> {
        loop {
            self.wake.recv().await?;
            let changes = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
            // Who was called for what is already taken has nothing to draw.
            if !changes.is_empty() {
                return Some(changes);
            }
        }
    }
}

/// The viewer's own pages as pixels.
#[derive(Debug)]
pub struct OverlayPicture {
    /// Rows of 0xAARRGGBB, colours multiplied by alpha.
    pub pixels: Vec<u32>,
    /// Width and height.
    pub size: Size,
    /// Outside of it everything is transparent.
    pub painted: Rect,
    /// What may differ from the one before.
    pub damage: Rect,
}

/// Which connection of this run. Frames are counted anew on each one, so what the screen thread says of an earlier one's
/// must not be taken for this one's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionNumber(u32);

impl ConnectionNumber {
    /// The one after this.
    pub fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

/// net to screen: show this frame; the answer is [`Fact::Shown`].
#[derive(Debug)]
pub struct Show {
    /// Where it came from.
    pub connection: ConnectionNumber,
    /// What to do.
    pub update: Update,
}

/// net to screen: sum up tiles of the picture; the answer is [`Fact::Marks`].
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// Which one asks.
    pub connection: ConnectionNumber,
    /// The picture's tiles; if it has others by now there is no mark.
    pub grid: TileGrid,
    /// The first tile.
    pub first: u32,
    /// How many from the first on.
    pub count: u32,
}

/// screen to net.
#[derive(Clone, Debug)]
pub enum Fact {
    /// The marks of the tiles that were to be checked; none if that was not possible.
    Marks {
        /// Which one asked.
        connection: ConnectionNumber,
        /// One for each tile.
        marks: Vec<u64>,
    },
    /// A frame is on the screen (or, in the middle of a picture, decoded).
    Shown {
        /// Where it came from.
        connection: ConnectionNumber,
        /// All frames up to this one are.
        complete: u32,
        /// The last input event that it may show.
        input: u32,
        /// Length of the frame that was applied.
        bytes: usize,
        /// Whether it completes a picture, which the window was given then.
        presented: bool,
        /// What decoding took, if it is known already.
        decode: Option<Duration>,
    },
    /// What draws the picture from now on.
    Renderer(RendererFact),
    /// The picture is lost with its GPU; a key frame is needed.
    Lost,
}

/// Any thread to ui, by way of [`UiSender`]: of each kind the newest is what counts.
#[derive(Debug)]
pub enum UiEvent {
    /// The link's state changed.
    Link(LinkState),
    /// The host has said welcome to this session.
    Welcome(String),
    /// The host says how far it is.
    Progress(Progress),
    /// The session's pointer has this shape from now on; none hides it.
    Cursor(Option<Arc<CursorShape>>),
    /// The picture has this size from now on.
    Picture(Size),
    /// Something was given to the window. On X11 the screen thread waits for answers on the connection that the window's
    /// events come by, and whoever reads it first reads both: only an event of our own wakes the ui for those that wait.
    Presented,
    /// The first picture of a connection is on the screen.
    FirstPicture,
    /// What draws the picture.
    Renderer(RendererFact),
    /// The numbers of the last second.
    Numbers(Box<Numbers>),
    /// Who may hear and talk has changed.
    Talk(TalkState),
    /// What the sound page shows.
    Sound(Box<SoundView>),
    /// Printers or print jobs changed.
    Printing(PrintView),
    /// Nothing can be drawn in this window.
    Fatal(String),
}

/// What comes by winit's own queue.
#[derive(Debug)]
pub enum Wake {
    /// Something waits in [`UiWaiting`].
    Events,
    /// An assistive technology wants something of the viewer's own pages.
    Access(egui_winit::accesskit_winit::Event),
}

/// The sending end of [`UiEvent`]s. winit's queue knows no bound, and three bytes of a host would fill it with a quarter of a
/// megabyte: only a [`Wake`] goes through it, and no second one before the first was followed.
#[derive(Clone)]
pub struct UiSender {
    waiting: UiWaiting,
    wake: Arc<dyn Fn() + Send + Sync>,
}

impl UiSender {
    /// What is sent waits there; `wake` is called when the place was empty.
    pub fn new(waiting: UiWaiting, wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self { waiting, wake: Arc::new(wake) }
    }

    /// Tells the ui.
    pub fn tell(&self, event: UiEvent) {
        if self.waiting.put(event) {
            (self.wake)();
        }
    }
}

impl fmt::Debug for UiSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UiSender").field("waiting", &self.waiting).finish_non_exhaustive()
    }
}

/// Events that the ui has not taken yet, at most one of each kind.
#[derive(Clone, Debug, Default)]
pub struct UiWaiting(Arc<Mutex<Vec<UiEvent>>>);

impl UiWaiting {
    /// Puts an event behind all others, in place of one of its kind; whether there was none at all.
    ///
    /// A link's states are kept one by one, for what a state means depends on the one before. A host cannot make them many:
    /// each takes a packet's time-out, or a new connection.
    fn put(&self, event: UiEvent) -> bool {
        let mut events = self.events();
        let was_empty = events.is_empty();
        if !matches!(event, UiEvent::Link(_)) {
            events.retain(|other| discriminant(other) != discriminant(&event));
        }
        events.push(event);
        was_empty
    }

    /// Takes all, in the order in which they were told.
    pub fn take(&self) -> Vec<UiEvent> {
        std::mem::take(&mut self.events())
    }

    fn events(&self) -> MutexGuard<'_, Vec<UiEvent>> {
        // A thread that panicked left nothing half done in it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What draws the picture, for the statistics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RendererFact {
    /// "compute", "gl" or "cpu".
    pub tier: crate::io::gpu::Tier,
    /// The adapter's name, or "softbuffer".
    pub adapter: String,
}

/// What the net thread counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Numbers {
    /// Time since the connection was made.
    pub uptime: Duration,
    /// Smoothed round trip.
    pub round_trip: Duration,
    /// Frames presented in the last second.
    pub frames_per_second: u64,
    /// Bytes received in the last second, as UDP payload.
    pub bytes_per_second: u64,
    /// Frames presented since the connection was made.
    pub frames: u64,
    /// UDP payload received since the connection was made.
    pub bytes_received: u64,
    /// UDP payload sent since the connection was made.
    pub bytes_sent: u64,
    /// QUIC packets sent and known to be lost.
    pub packets_lost: u64,
    /// Decoding of the last frame.
    pub decode: Option<Duration>,
    /// Every frame that has come is on the screen, and the newest completed its picture and left no lossy block. The window
    /// then equals the host's screen as it was when the host last sent.
    pub exact: bool,
    /// It is exact, and the host's marks agree with every tile.
    pub agreed: bool,
    /// Tiles that the host's marks did not agree with since the connection was made.
    pub defects: u64,
    /// From input sent to picture shown, of the last 200 answered events: median and 95th percentile.
    pub latency: Option<(Duration, Duration)>,
    /// Sound, once some has come.
    pub sound: Option<SoundNumbers>,
}

impl From<egui_winit::accesskit_winit::Event> for Wake {
    fn from(event: egui_winit::accesskit_winit::Event) -> Self {
        Wake::Access(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn a_screen_thread_that_stands_still_holds_nobody_up_and_gets_the_newest_with_all_damage() {
        let (sender, mut receiver) = scenes();
        let overlay = |damage| OverlayPicture { pixels: vec![7], size: Size::new(1, 1), painted: damage, damage };
        for i in 0..1_000 {
            sender.tell(SceneChange::Window(Size::new(i, 1)));
            sender.tell(SceneChange::Exposed);
            sender.tell(SceneChange::Overlay(overlay(Rect::new(i % 10, 5, 1, 1))));
        }
        let taken = receiver.recv().await.expect("the sender is there");
        let [SceneChange::Window(size), SceneChange::Exposed, SceneChange::Overlay(newest)] = &taken[..] else {
            panic!("{taken:?}")
        };
        assert_eq!((*size, newest.painted, newest.damage), {
            (Size::new(999, 1), Rect::new(9, 5, 1, 1), Rect::new(0, 5, 10, 1))
        });
        drop(sender);
        assert!(receiver.recv().await.is_none());
    }

    #[test]
    fn of_each_kind_the_newest_waits_in_its_order_and_the_ui_is_woken_once() {
        let (waiting, woken) = (UiWaiting::default(), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&woken);
        let ui = UiSender::new(waiting.clone(), move || {
            count.fetch_add(1, Ordering::Relaxed);
        });
        ui.tell(UiEvent::Welcome("first".into()));
        ui.tell(UiEvent::Link(LinkState::Live));
        ui.tell(UiEvent::Progress(Progress::ResumingDesktop));
        ui.tell(UiEvent::Link(LinkState::Connecting));
        ui.tell(UiEvent::Welcome("second".into()));
        let taken = waiting.take();
        assert!(
            matches!(
                &taken[..],
                [
                    UiEvent::Link(LinkState::Live),
                    UiEvent::Progress(_),
                    UiEvent::Link(LinkState::Connecting),
                    UiEvent::Welcome(name),
                ] if name == "second"
            ),
            "{taken:?}"
        );
        assert!(waiting.take().is_empty());
        ui.tell(UiEvent::FirstPicture);
        assert_eq!(woken.load(Ordering::Relaxed), 2);
    }
}
