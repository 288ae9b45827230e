//! What the viewer's own pages show and what a user can ask for on them: plain data, no drawing.
//! The application fills in a [`Page`], `ui` draws it and gives back [`Action`]s.

use std::time::{Duration, Instant};

use crate::geom::Size;
use crate::proto::sound::talk::TalkState;
use crate::viewer::event::SoundView;
use crate::viewer::print::{PrintCommand, PrintView};

/// What the window shows besides the remote picture.
#[derive(Clone, Debug, PartialEq)]
pub enum Page {
    /// Asks where to connect.
    Connect {
        /// What stands in the field at first: `host[:port]` or the path of a .kachel file.
        address: String,
        /// Where the user was let in before, newest first.
        recent: Vec<RecentPlace>,
        /// Why the last attempt failed.
        error: Option<Notice>,
    },
    /// A connection is being made.
    Connecting {
        /// Host name as the user knows it.
        host: String,
        /// How far it has come.
        step: ConnectStep,
        /// When it began.
        since: Instant,
    },
    /// The remote picture, with what floats above it.
    Picture {
        /// The statistics, if the user wants them.
        overlay: Option<Box<Stats>>,
        /// The connection bar; it hides by itself. `None` keeps it away altogether.
        bar: Option<BarState>,
        /// What the user must not miss. Without a bar, each leads to its page.
        signs: Vec<Sign>,
    },
    /// Sound: how loud, on which devices, and whether they work. The picture goes on behind it.
    Sound(Box<SoundPage>),
    /// Printers and print jobs. The picture goes on behind it.
    Printing(PrintView),
    /// The host has been silent for so long that the picture may be out of date.
    Stalled {
        /// When it was last heard of.
        since: Instant,
        /// Host name as the user knows it.
        host: String,
    },
    /// The connection is gone and is being made again, until its first picture is there.
    Reconnecting {
        /// Number of the attempt, from 1.
        attempt: u32,
        /// Time to the next attempt as of this `Page`; zero while one is under way.
        next_in: Duration,
        /// Why it is gone.
        reason: LossReason,
        /// Host name as the user knows it.
        host: String,
        /// The session's last picture is behind the page; there was none yet otherwise.
        has_picture: bool,
    },
    /// Nothing happens any more unless the user asks for it.
    Ended {
        /// Why.
        notice: Notice,
    },
}

/// Where the user was let in before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecentPlace {
    /// `host[:port]`, or the path of a .kachel file.
    pub address: String,
    /// How long ago.
    pub ago: Duration,
}

/// Steps of making a connection, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConnectStep {
    /// The name is looked up.
    Resolving,
    /// Both ends prove who they are.
    Handshake,
    /// The host starts or finds the desktop.
    StartingDesktop,
    /// The first picture is under way.
    FirstPicture,
}

/// Why a connection is gone that will be made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LossReason {
    /// Nothing was heard of the host for too long.
    NoAnswer,
    /// The host closed it without a reason that forbids another one.
    Closed,
    /// This computer has no way into any network.
    NoNetwork,
    /// The host's name is not found at the moment.
    NoName,
    /// The host said that it restarts, or is another process by now.
    HostRestart,
}

/// Why there is no session; said with what to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The host's certificate is not the expected one.
    RefusedCertificate {
        /// Host name as the user knows it.
        host: String,
    },
    /// The host does not know this device's certificate, or it has expired.
    UnknownDevice {
        /// Host name as the user knows it.
        host: String,
    },
    /// The host ended the session.
    HostEnded {
        /// Host name as the user knows it.
        host: String,
    },
    /// Another device of the same user shows the session now.
    TakenOver,
    /// One end broke the protocol.
    Protocol {
        /// Host name as the user knows it.
        host: String,
        /// Close code, shown in hexadecimal.
        code: u64,
    },
    /// No common version of the protocol, of TLS or of QUIC.
    VersionMismatch {
        /// Host name as the user knows it.
        host: String,
    },
    /// The host takes nobody now: it restarts, or is full.
    Busy {
        /// Host name as the user knows it.
        host: String,
    },
    /// No answer from the host.
    Unreachable {
        /// Host name as the user knows it.
        host: String,
    },
    /// This computer has no way into the host's network.
    NoNetwork {
        /// Host name as the user knows it.
        host: String,
    },
    /// The name cannot be resolved.
    UnknownHost {
        /// Host name as the user typed it.
        host: String,
    },
    /// The file is no usable .kachel file.
    BadFile {
        /// Its path, or the last part of it.
        path: String,
    },
    /// There is no such file, or this user may not read it.
    UnreadableFile {
        /// Its path, or the last part of it.
        path: String,
    },
    /// The file's time is over.
    ExpiredFile {
        /// Its path, or the last part of it.
        path: String,
    },
    /// The file's time has not begun: a clock is wrong.
    WrongClock {
        /// Its path, or the last part of it.
        path: String,
    },
    /// A computer was named, but there is no file that it would let this device in with. Nobody was asked.
    NeedsFile {
        /// `host:port`.
        host: String,
    },
    /// What was typed is neither `host[:port]` nor a file.
    BadAddress,
}

/// State of the connection bar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BarState {
    /// Host name as the user knows it.
    pub host: String,
    /// Name of the session, where there are several.
    pub session: Option<String>,
    /// Quality of the link.
    pub quality: Quality,
    /// Whether the window fills the screen.
    pub fullscreen: bool,
    /// Whether the statistics are shown.
    pub stats_shown: bool,
    /// Sound; none where there is none.
    pub sound: Option<TalkState>,
    /// Whether there is anything to say about printing, and whether it needs the user.
    pub printing: Option<bool>,
    /// Nothing that the user does reaches the session.
    pub view_only: bool,
    /// Called by keyboard: stays, takes the keyboard, and Esc gives [`Action::HideBar`].
    pub summoned: bool,
}

/// What is said above the picture as long as it is so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// The microphone is on.
    MicrophoneOn,
    /// A program in the session would like to hear the user.
    MicrophoneWanted,
    /// Only the user knows whether a sheet was printed.
    PrintQuestion,
}

/// What the sound page shows.
#[derive(Clone, Debug, PartialEq)]
pub struct SoundPage {
    /// Who may hear and talk.
    pub talk: TalkState,
    /// Devices, volume, level and test.
    pub view: SoundView,
    /// From the host's packet to the loudspeaker, while something plays.
    pub delay: Option<Duration>,
}

/// Quality of the link in four steps, once it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quality {
    /// Nothing was measured yet.
    Unknown,
    /// Work is disturbed.
    Poor,
    /// Delays can be felt.
    Fair,
    /// Delays can be measured but not felt.
    Good,
    /// Like sitting in front of it.
    Excellent,
}

/// What decodes and draws the remote picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// Decoded and drawn by the GPU.
    Compute,
    /// Decoded by the CPU, drawn by the GPU.
    Draw,
    /// Decoded and drawn by the CPU.
    Cpu,
}

/// Time to decode one frame, by whom it was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DecodeTime {
    /// From the GPU's timestamps.
    Gpu(Duration),
    /// From the CPU's clock.
    Cpu(Duration),
}

/// Whether the picture is equal to the host's in every pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exactness {
    /// It is, and the host's marks agree with every tile.
    Yes,
    /// Every pixel has come; not every tile has been compared yet.
    Unchecked,
    /// Refinement is still under way.
    No,
    /// The host has not said so.
    Unknown,
}

/// Numbers of the statistics overlay; `None` is shown as unknown.
#[derive(Clone, Debug, PartialEq)]
pub struct Stats {
    /// Host name as the user knows it.
    pub host: String,
    /// Time since the connection was made.
    pub uptime: Duration,
    /// Name of the graphics adapter.
    pub adapter: String,
    /// What decodes and draws.
    pub tier: Tier,
    /// Smoothed round trip of the path.
    pub round_trip: Option<Duration>,
    /// Frames shown in the last second.
    pub frames_per_second: f64,
    /// Bytes received in the last second.
    pub bytes_per_second: u64,
    /// Bytes received since the connection was made.
    pub bytes_total: u64,
    /// Time to decode a frame.
    pub decode: Option<DecodeTime>,
    /// From input sent to picture shown: median and 95th percentile.
    pub latency: Option<(Duration, Duration)>,
    /// Whether the picture is exact.
    pub exact: Exactness,
    /// Size of the remote screen in its pixels.
    pub screen: Size,
    /// Size of the window in physical pixels.
    pub window: Size,
    /// Factor from remote to window pixels; 1.0 is one to one.
    pub scale: f64,
    /// Keyboard layout in use, such as `de(nodeadkeys)`.
    pub keyboard: String,
    /// Of sound, once some has come.
    pub sound: Option<SoundStats>,
}

/// What the overlay tells of sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SoundStats {
    /// From the quickest arrival to the loudspeaker.
    pub delay: Duration,
    /// Frames that did not come in time and were made up.
    pub concealed: u64,
    /// Time of silence in the middle of sounds: this computer was late.
    pub missing: Duration,
}

/// What the user asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Connect to `host[:port]` or with the .kachel file of this path; trimmed, not empty.
    Connect(String),
    /// Take this address out of those used before.
    Forget(String),
    /// Give up making the connection.
    Cancel,
    /// Connect again, now.
    Reconnect,
    /// Close the window.
    Close,
    /// Leave the session, which goes on.
    Disconnect,
    /// Switch between full screen and window.
    ToggleFullscreen,
    /// Show or hide the statistics.
    ToggleStats,
    /// Put the bar that was summoned by keyboard away.
    HideBar,
    /// Silence the session, or hear it again.
    ToggleMute,
    /// Switch the microphone on or off.
    ToggleMicrophone,
    /// Show the sound page, or put it away.
    ShowSound(bool),
    /// Set the volume, in percent.
    SetVolume(u8),
    /// Play on this device; none follows the system.
    UseOutput(Option<String>),
    /// Record from this device; none follows the system.
    UseInput(Option<String>),
    /// Play the test tone.
    TestTone,
    /// Record three seconds and play them.
    TestLoop,
    /// Show the printing page, or put it away.
    ShowPrinting(bool),
    /// Something on the printing page.
    Print(PrintCommand),
}
