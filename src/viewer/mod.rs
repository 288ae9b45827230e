//! The desktop application: its threads and the channels between them.
//!
//! `ui` (this thread: window, keyboard, pages), `net` (one tokio thread: the link), `screen` (decodes and draws),
//! `sound` (loudspeaker and microphone), and three that wait for slow things: `print`, `journal`, `devices`. Each value has
//! one owner; `event` has every message. Stopping is dropping: the ui's senders go, net and screen follow.

pub mod app;
pub mod event;
pub mod keymap;
pub mod link;
pub mod locale;
pub mod monitors;
pub mod preferences;
pub mod print;
mod printers;
pub mod recent;
pub mod screen;
pub mod sound;
pub mod spool;
pub mod stats_file;
pub mod target;
pub mod ui;

use crate::geom::Size;
use crate::io::gpu::Renderer;
use crate::io::keyboard::Layout;
use crate::io::net::files::user_state;
use app::App;
use event::{
    CHECKS_MAX, COMMANDS_MAX, FACTS_MAX, SOUND_COMMANDS_MAX, SOUND_FACTS_MAX, UPDATES_MAX, UiSender, UiWaiting, Wake,
};
use link::{Channels, Introduction};
use locale::Locale;
use preferences::Keeper;
use recent::Recent;
use sound::SoundEnds;
use stats_file::StatsFile;
use std::io;
use std::path::PathBuf;
use thiserror::Error;
use tokio::sync::mpsc;
use ui::Theme;
use winit::error::EventLoopError;
use winit::event_loop::EventLoop;

/// What the viewer is told at its start.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Where to connect at once, as [`target::Target::parse`] takes it; if empty, the viewer asks.
    pub address: String,
    /// Start in full screen.
    pub fullscreen: bool,
    /// The number of the monitor that full screen takes, see [`monitors`]; the system's choice if not given.
    pub monitor: Option<usize>,
    /// Nothing but the session: full screen, no bar, no shortcuts, no way to go elsewhere. The program ends with the session.
    pub kiosk: bool,
    /// Show the statistics from the start.
    pub overlay: bool,
    /// The window's first size, in physical pixels; the viewer's own choice if not given.
    pub size: Option<Size>,
    /// Send nothing that the user does.
    pub view_only: bool,
    /// Who decodes and draws.
    pub renderer: Renderer,
    /// The user's language; the system's if not given.
    pub locale: Option<String>,
    /// The keyboard's layout; the system's if not given.
    pub keyboard: Option<Layout>,
    /// Which printers are offered.
    pub print: print::PrintSettings,
    /// Where a JSON line is written every second.
    pub stats_file: Option<PathBuf>,
    /// Light, dark, or as the system says.
    pub theme: Theme,
    /// No sound, neither here nor there.
    pub silent: bool,
    /// Show the sound page, where the microphone is switched on, as soon as there is a picture.
    pub asks_for_microphone: bool,
}

/// How it stood when the window was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing was wrong: the user had enough.
    User,
    /// What was given is neither a file nor enough to connect.
    Usage,
    /// The host had ended the session, or another device had taken it over.
    Ended,
    /// The host did not let this device in, or not now.
    Refused,
    /// There was no way to the host, or no answer.
    Network,
    /// The file was not usable, or somebody else answered.
    Certificate,
    /// One end did not understand the other.
    Broken,
}

/// Why the viewer cannot run.
#[derive(Debug, Error)]
pub enum ViewerError {
    /// There is no window system. What winit says of it, which names places in its own source, is in the log.
    #[error("there is no display to open a window on; is this a session with a desktop?")]
    Display,
    /// There was one.
    #[error("the display that the window was on is gone")]
    DisplayGone,
    /// A thread or its runtime cannot be made.
    #[error("a thread cannot be started")]
    Thread(#[source] io::Error),
    /// The statistics file cannot be made.
    #[error("{path} cannot be written")]
    StatsFile {
        /// Its path.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The window cannot be drawn to.
    #[error("{0}")]
    Window(String),
    /// The monitor that the user chose is not there.
    #[error("there is no monitor {number}, {count} in all; kachel --list-monitors tells which there are")]
    NoMonitor {
        /// The number that was given.
        number: usize,
        /// How many there are.
        count: usize,
    },
}

impl ViewerError {
    fn from_begin(error: EventLoopError) -> ViewerError {
        tracing::info!(%error, "No window system");
        ViewerError::Display
    }

    fn from_end(error: EventLoopError) -> ViewerError {
        tracing::info!(%error, "The window system ended");
        ViewerError::DisplayGone
    }
}

/// Runs until the window is closed, and says how it stood then.
///
/// # Errors
/// [`ViewerError`].
pub fn run(settings: Settings) -> Result<Outcome, ViewerError> {
    let locale = settings.locale.as_deref().map_or_else(Locale::from_system, Locale::new);
    let keyboard = crate::io::keyboard::Keyboard::open();
    let system = sys_locale::get_locale().unwrap_or_default();
    let layout = settings
        .keyboard
        .clone()
        .or_else(|| keyboard.layout())
        .unwrap_or_else(|| crate::io::keyboard::layout_from_locale(&system));
    let stats_file = settings
        .stats_file
        .as_ref()
        .map(|path| StatsFile::open(path).map_err(|source| ViewerError::StatsFile { path: path.clone(), source }))
        .transpose()?;

    let event_loop = EventLoop::<Wake>::with_user_event().build().map_err(ViewerError::from_begin)?;
    let (waiting, proxy) = (UiWaiting::default(), event_loop.create_proxy());
    // The ui is gone when the program ends; then nobody needs to know.
    let ui = UiSender::new(waiting.clone(), move || drop(proxy.send_event(Wake::Events)));
    let (command_sender, commands) = mpsc::channel(COMMANDS_MAX);
    let (update_sender, updates) = mpsc::channel(UPDATES_MAX);
    let (fact_sender, facts) = mpsc::channel(FACTS_MAX);
    let (check_sender, checks) = mpsc::channel(CHECKS_MAX);
    let (scene_sender, scenes) = event::scenes();
    let introduction = Introduction {
        layout: layout.layout.clone(),
        variant: layout.variant.clone(),
        locale: settings.locale.clone().unwrap_or(system),
    };
    let (sound_sender, sound_commands) = mpsc::channel(SOUND_COMMANDS_MAX);
    let (sound_fact_sender, sound_facts) = mpsc::channel(SOUND_FACTS_MAX);
    let sound_sender = (!settings.silent).then_some(sound_sender);
    let state = user_state();
    let keeper = Keeper::open(state.as_deref());
    let recent = Recent::open(state.as_deref());
    let printing = start_printing(&settings.print, &keeper.chosen.refused_printers);
    let sound_ends = SoundEnds {
        commands: sound_commands,
        facts: sound_fact_sender,
        ui: ui.clone(),
        preferences: keeper.chosen.clone(),
    };
    // Without a sender it ends at once.
    let sound = spawn("sound", move |runtime| {
        if let Err(error) = runtime.block_on(sound::run(sound_ends)) {
            tracing::error!(%error, "No sound any more");
        }
    })?;
    if keeper.chosen.muted {
        // The first command of all, so there is room.
        let _ = command_sender.try_send(event::Command::Mute(true));
    }
    let channels = Channels {
        commands,
        facts,
        updates: update_sender,
        checks: check_sender,
        sound: sound_sender.clone(),
        sound_facts,
        ui: ui.clone(),
    };
    let net = spawn("net", move |runtime| runtime.block_on(link::run(channels, introduction, stats_file, printing)))?;
    let mut app = App::new(
        settings,
        locale,
        keyboard,
        layout,
        app::Kept { keeper, recent },
        app::Ends {
            commands: command_sender,
            scenes: scene_sender,
            sound: sound_sender,
            screen: Some(app::ScreenEnds { updates, checks, scenes, facts: fact_sender }),
            proxy: event_loop.create_proxy(),
            ui,
            waiting,
        },
    );
    event_loop.run_app(&mut app).map_err(ViewerError::from_end)?;
    let outcome = app.outcome();
    let (screen, failure) = app.finish();
    // A thread that panicked has said so already.
    let _ = net.join();
    let _ = sound.join();
    let _ = screen.map(std::thread::JoinHandle::join);
    failure.map_or(Ok(outcome), Err)
}

/// A viewer that cannot print shows a desktop all the same.
fn start_printing(settings: &print::PrintSettings, refused: &[String]) -> Option<print::Printing> {
    if settings.sources.is_empty() {
        return None;
    }
    print::Printing::start(settings, refused)
        .inspect_err(|error| tracing::error!(%error, "This viewer does not print"))
        .ok()
}

/// Starts a thread with a small runtime of its own.
fn spawn(
    name: &str,
    body: impl FnOnce(tokio::runtime::Runtime) + Send + 'static,
) -> Result<std::thread::JoinHandle<()>, ViewerError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ViewerError::Thread)?;
    std::thread::Builder::new().name(name.to_owned()).spawn(move || body(runtime)).map_err(ViewerError::Thread)
}
