//! The ui thread: window events in, commands and pages out. It owns the window and the keyboard, and no protocol state.
//!
//! Here: where to, what the user asked for on a page, what the other threads say, and the event loop. Keys and pointer:
//! `input`. The window: `window`. What of the link the user knows: `link_view`. Which page is shown: `pages`.

mod input;
mod link_view;
mod pages;
mod sight;
mod window;

use crate::geom::{Fit, Size, fit};
use crate::io::keyboard::{Keyboard, Layout};
use crate::io::net::trial::Trial;
use crate::io::window::asks_for_frames;
use crate::proto::session::client::LinkState;
use crate::proto::sound::talk::TalkState;
use crate::proto::wire::CursorShape;
use crate::viewer::event::{
    Check, Command, Fact, Numbers, OverlayPicture, RendererFact, SceneChange, SceneReceiver, SceneSender, Show,
    SoundCommand, SoundView, UiEvent, UiSender, UiWaiting, UserInput, Wake,
};
use crate::viewer::locale::Locale;
use crate::viewer::preferences::Keeper;
use crate::viewer::print::PrintCommand;
use crate::viewer::print::PrintView;
use crate::viewer::recent::Recent;
use crate::viewer::target::{Target, file_for, notice_of_file};
use crate::viewer::ui::{Action, Leaving, Notice, Ui};
use crate::viewer::{Outcome, Settings, ViewerError};
use link_view::LinkView;
use sight::Sight;
use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::mpsc;
use window::Opened;
use winit::application::ApplicationHandler;
use winit::event::{ElementState, StartCause, WindowEvent};
use winit::event_loop::{ActiveEventLoop, ControlFlow, EventLoopProxy};
use winit::window::{CustomCursor, WindowId};

/// Input that found no room is tried again after this time.
const FLUSH_AGAIN: Duration = Duration::from_millis(20);

/// The ends of the channels that belong to the ui thread.
pub struct Ends {
    /// To net.
    pub commands: mpsc::Sender<Command>,
    /// To screen.
    pub scenes: SceneSender,
    /// To sound; none where sound is not wanted.
    pub sound: Option<mpsc::Sender<SoundCommand>>,
    /// What the screen thread gets once there is a window.
    pub screen: Option<ScreenEnds>,
    /// For assistive technologies.
    pub proxy: EventLoopProxy<Wake>,
    /// For the screen thread.
    pub ui: UiSender,
    /// From all threads.
    pub waiting: UiWaiting,
}

/// What outlives the program.
pub struct Kept {
    /// What the user chose.
    pub keeper: Keeper,
    /// Where the user was let in.
    pub recent: Recent,
}

/// The screen thread's ends, until it is started.
pub struct ScreenEnds {
    /// From net.
    pub updates: mpsc::Receiver<Show>,
    /// From net.
    pub checks: mpsc::Receiver<Check>,
    /// From ui.
    pub scenes: SceneReceiver,
    /// To net.
    pub facts: mpsc::Sender<Fact>,
}

/// The ui thread's state.
pub struct App {
    settings: Settings,
    keyboard: Keyboard,
    layout: Layout,
    keeper: Keeper,
    recent: Recent,
    ends: Ends,
    ui: Ui,
    window: Option<Opened>,
    screen: Option<JoinHandle<()>>,
    failure: Option<ViewerError>,
    closing: bool,
    link: LinkView,
    /// Keys that are down, shortcuts and all.
    down: BTreeSet<u16>,
    /// Keys whose press was a shortcut, so that their release is not sent either.
    swallowed: BTreeSet<u16>,
    wheel: (f64, f64),
    way: input::Way,
    cursors: HashMap<u32, CustomCursor>,
    cursor: Option<Arc<CursorShape>>,
    stats_shown: bool,
    bar_summoned: bool,
    talk: TalkState,
    sound_view: SoundView,
    sound_shown: bool,
    print_view: PrintView,
    printing_shown: bool,
    numbers: Numbers,
    /// The link was asked for them.
    watches: bool,
    renderer: Option<RendererFact>,
    wants_keyboard: bool,
    wants_pointer: bool,
    visible: bool,
    sight: Sight,
    repaint_at: Option<Instant>,
    resize_at: Option<Instant>,
    viewport: Option<Size>,
}

impl App {
    /// Puts the ui together; the window comes with the event loop.
    pub fn new(settings: Settings, locale: Locale, keyboard: Keyboard, layout: Layout, kept: Kept, ends: Ends) -> Self {
        let Kept { keeper, recent } = kept;
        let (now, volume) = (Instant::now(), keeper.chosen.volume());
        Self {
            ui: Ui::new(locale, settings.theme, if settings.kiosk { Leaving::Never } else { Leaving::Offered }),
            link: LinkView::new(settings.address.clone(), now),
            stats_shown: settings.overlay,
            settings,
            keyboard,
            layout,
            keeper,
            recent,
            ends,
            window: None,
            screen: None,
            failure: None,
            closing: false,
            down: BTreeSet::new(),
            swallowed: BTreeSet::new(),
            wheel: (0.0, 0.0),
            way: input::Way::default(),
            cursors: HashMap::new(),
            cursor: None,
            bar_summoned: false,
            talk: TalkState::default(),
            sound_view: SoundView { volume, ..SoundView::default() },
            sound_shown: false,
            print_view: PrintView::default(),
            printing_shown: false,
            numbers: Numbers::default(),
            watches: false,
            renderer: None,
            wants_keyboard: true,
            wants_pointer: true,
            visible: true,
            sight: Sight::default(),
            repaint_at: None,
            resize_at: None,
            viewport: None,
        }
    }

    /// How it stands, for whoever started the program.
    pub fn outcome(&self) -> Outcome {
        match self.link.state {
            Some(LinkState::Ended(lost)) => pages::outcome(Some(lost), None),
            Some(_) => pages::outcome(None, None),
            None => pages::outcome(None, self.link.error.as_ref()),
        }
    }

    /// Hangs up, and hands over the screen thread to be joined and what went wrong, if anything did.
    pub fn finish(mut self) -> (Option<JoinHandle<()>>, Option<ViewerError>) {
        self.keeper.keep();
        self.keeper.join();
        self.recent.join();
        (self.screen, self.failure)
    }

    /// Connects to what the user typed, or says why not.
    fn connect_to(&mut self, address: &str) {
        self.link.address = address.to_owned();
        let notice = match Target::parse(address) {
            Target::File(path) => match Trial::load(&path) {
                Ok(trial) => return self.connect(trial, path),
                Err(error) => {
                    tracing::warn!(%error, "File not usable");
                    notice_of_file(&error, &path)
                }
            },
            // Without a file this device has no identity that a host would know.
            Target::Host(address) => match file_for(&address, self.recent.files()) {
                Some((path, trial)) => return self.connect(trial, path),
                None => Notice::NeedsFile { host: address.to_string() },
            },
            Target::Nonsense => Notice::BadAddress,
        };
        self.link.handle_left(Some(notice.clone()));
        if self.settings.kiosk {
            return self.end(&notice);
        }
        // The page that shows it is the one that asks where to.
        self.refresh();
    }

    fn connect(&mut self, trial: Trial, path: PathBuf) {
        // As it is found from anywhere.
        let path = std::path::absolute(&path).unwrap_or(path);
        self.link.unaccepted = path.into_os_string().into_string().ok();
        let host = trial.addresses.first().cloned().unwrap_or_default();
        self.link.handle_connect(host, Instant::now());
        self.command(Command::Connect(Box::new(trial)));
        self.refresh();
    }

    /// Ends the program by itself: there is nothing that whoever sits there could do about it.
    fn end(&mut self, notice: &Notice) {
        tracing::error!(why = self.ui.words(notice), "The kiosk ends");
        self.closing = true;
    }

    fn leave(&mut self) {
        self.command(Command::Disconnect);
        self.link.handle_left(None);
        self.bar_summoned = false;
        self.refresh();
    }

    /// Sends a command. A full channel means that net stands still; what finds it full is lost, and the log says so.
    fn command(&mut self, command: Command) {
        self.try_command(command);
    }

    /// Likewise; whether it was taken.
    fn try_command(&mut self, command: Command) -> bool {
        let taken = self.ends.commands.try_send(command).is_ok();
        if !taken {
            tracing::warn!("The link takes no commands");
        }
        taken
    }

    fn fit(&self) -> Fit {
        fit(self.window.as_ref().map_or(Size::default(), |w| w.size), self.link.picture)
    }

    fn toggle_stats(&mut self) {
        self.stats_shown = !self.stats_shown;
        self.refresh();
    }

    /// Has the link tell its numbers while any of them is to be seen. Those of before are not shown again.
    fn watch(&mut self, shown: bool) {
        // One that is lost is sent again with the next change on the screen.
        if self.watches != shown && self.try_command(Command::Watch(shown)) {
            self.watches = shown;
            self.numbers = Numbers::default();
        }
    }

    /// Shows or hides the sound page. Meanwhile the keyboard is not the session's.
    fn show_sound(&mut self, shown: bool) {
        self.sound_shown = shown;
        if shown {
            self.input(UserInput::FocusLost);
        } else {
            self.keeper.keep();
        }
        self.sound(SoundCommand::Watch(shown));
        self.refresh();
    }

    fn sound(&mut self, command: SoundCommand) {
        if let Some(sound) = &self.ends.sound
            && sound.try_send(command).is_err()
        {
            tracing::warn!("The sound thread takes no commands");
        }
    }

    /// Shows or hides the printing page. Meanwhile the keyboard is not the session's.
    fn show_printing(&mut self, shown: bool) {
        self.printing_shown = shown;
        if shown {
            self.input(UserInput::FocusLost);
        } else {
            self.keeper.keep();
        }
        self.refresh();
    }

    fn scene(&mut self, scene: SceneChange) {
        self.ends.scenes.tell(scene);
    }

    fn handle_link(&mut self, state: LinkState) {
        if self.settings.kiosk
            && let LinkState::Ended(lost) = state
        {
            if lost.is_passing() {
                // Nobody is there to ask for it.
                return self.command(Command::Retry);
            }
            self.link.handle_state(state, Instant::now());
            return self.end(&self.link.notice(lost));
        }
        if self.link.handle_state(state, Instant::now()) {
            self.tell_locks();
        }
        self.refresh();
    }

    /// Runs the pages once, with the input that has come, and does what the user asked for.
    fn refresh(&mut self) {
        let page = self.page();
        let Some(opened) = &mut self.window else { return };
        if opened.size.is_empty() {
            return;
        }
        let input = opened.egui.take_egui_input(&opened.window);
        let output = self.ui.run(input, &page, Instant::now());
        self.wants_keyboard = output.wants_keyboard;
        let shows_numbers = output.shows_bar || self.stats_shown || self.sound_shown;
        let wanted_pointer = std::mem::replace(&mut self.wants_pointer, output.wants_pointer);
        self.repaint_at = output.repaint_after.map(|after| Instant::now() + after);
        if output.wants_pointer {
            opened.window.set_cursor_visible(true);
            opened.egui.handle_platform_output(&opened.window, output.platform_output);
        }
        if output.overlay_changed {
            let overlay = self.ui.overlay();
            let picture = OverlayPicture {
                pixels: overlay.pixels.clone(),
                size: overlay.size,
                painted: overlay.painted,
                damage: output.damage,
            };
            self.scene(SceneChange::Overlay(picture));
        }
        if wanted_pointer && !self.wants_pointer {
            self.repaint_cursor();
        }
        self.watch(shows_numbers);
        for action in output.actions {
            self.handle_action(action);
        }
    }

    fn handle_action(&mut self, action: Action) {
        match action {
            Action::Connect(address) => self.connect_to(&address),
            Action::Forget(address) => {
                self.recent.forget(&address);
                self.refresh();
            }
            Action::Cancel | Action::Disconnect => self.leave(),
            Action::Reconnect => self.command(Command::Retry),
            Action::Close => self.closing = true,
            Action::ToggleFullscreen => self.toggle_fullscreen(),
            Action::ToggleStats => self.toggle_stats(),
            Action::ToggleMute => {
                self.keeper.chosen.muted = !self.talk.muted;
                self.command(Command::Mute(self.keeper.chosen.muted));
            }
            Action::ToggleMicrophone => self.command(Command::Microphone(!self.talk.microphone)),
            Action::ShowSound(shown) => self.show_sound(shown),
            Action::SetVolume(percent) => {
                self.keeper.chosen.volume_percent = percent;
                self.sound_view.volume = self.keeper.chosen.volume();
                self.sound(SoundCommand::Volume(self.sound_view.volume));
            }
            Action::UseOutput(id) => {
                self.keeper.chosen.output.clone_from(&id);
                self.sound(SoundCommand::UseOutput(id));
            }
            Action::UseInput(id) => {
                self.keeper.chosen.input.clone_from(&id);
                self.sound(SoundCommand::UseInput(id));
            }
            Action::TestTone => self.sound(SoundCommand::TestTone),
            Action::TestLoop => self.sound(SoundCommand::TestLoop),
            Action::ShowPrinting(shown) => self.show_printing(shown),
            Action::Print(command) => {
                if let PrintCommand::Offer(key, offered) = command {
                    self.keeper.chosen.offer_printer(&key.to_string(), offered);
                }
                self.command(Command::Print(command));
            }
            Action::HideBar => {
                self.bar_summoned = false;
                self.refresh();
            }
        }
    }

    fn handle_event(&mut self, event_loop: &ActiveEventLoop, event: UiEvent) {
        match event {
            UiEvent::Link(state) => self.handle_link(state),
            UiEvent::Welcome(session) => {
                if let Some(opened) = &self.window {
                    opened.window.set_title(&format!("{session} – {} – Kachel", self.link.host));
                }
                self.link.handle_welcome(session);
                if let Some(address) = self.link.unaccepted.take() {
                    self.recent.used(address, SystemTime::now());
                }
                self.refresh();
            }
            UiEvent::Progress(step) => {
                self.link.handle_progress(step);
                self.refresh();
            }
            UiEvent::Cursor(shape) => self.handle_cursor(event_loop, shape),
            UiEvent::Presented => {
                if let Some(opened) = &self.window
                    && asks_for_frames(&opened.window)
                    && self.sight.handle_presented(Instant::now())
                {
                    opened.window.request_redraw();
                }
            }
            UiEvent::Picture(size) => self.link.picture = size,
            UiEvent::FirstPicture => {
                self.link.handle_first_picture();
                if std::mem::take(&mut self.settings.asks_for_microphone) {
                    self.show_sound(true);
                }
                self.refresh();
                self.repaint_cursor();
            }
            UiEvent::Renderer(fact) => self.renderer = Some(fact),
            UiEvent::Numbers(numbers) => {
                self.numbers = *numbers;
                self.refresh();
            }
            UiEvent::Talk(talk) => {
                self.talk = talk;
                self.refresh();
            }
            UiEvent::Sound(view) => {
                self.sound_view = *view;
                if self.sound_shown {
                    self.refresh();
                }
            }
            UiEvent::Printing(view) => {
                let asked = |view: &PrintView| view.jobs.iter().filter(|job| job.is_question()).count();
                // A question that nobody sees is none.
                let asks = asked(&view) > asked(&self.print_view);
                self.print_view = view;
                if asks { self.show_printing(true) } else { self.refresh() }
            }
            UiEvent::Fatal(error) => {
                self.failure = Some(ViewerError::Window(error));
            }
        }
    }

    /// Hands an event to the pages where they can have a use for it; whether they are to be run.
    fn offer(&mut self, event: &WindowEvent) -> bool {
        // egui asks for a repaint after each redraw, which would never end.
        if matches!(event, WindowEvent::RedrawRequested) {
            return false;
        }
        let (page, stalled) = (self.page(), self.link.is_stalled());
        let Some(opened) = &mut self.window else { return false };
        if let WindowEvent::CursorMoved { position, .. } = event {
            let y = position.y / opened.window.scale_factor();
            if self.ui.may_skip_motion(&page, y as f32) {
                return false;
            }
        }
        let is_key = matches!(event, WindowEvent::KeyboardInput { .. } | WindowEvent::Ime(_));
        if is_key && (!self.wants_keyboard || stalled) {
            return false;
        }
        opened.egui.on_window_event(&opened.window, event).repaint
    }
}

impl ApplicationHandler<Wake> for App {
    fn resumed(&mut self, event_loop: &ActiveEventLoop) {
        if self.window.is_some() {
            return;
        }
        match self.open_window(event_loop) {
            Ok(opened) => {
                let size = opened.size;
                self.window = Some(opened);
                self.scene(SceneChange::Window(size));
                self.tell_viewport();
                match self.settings.address.clone() {
                    address if address.is_empty() => self.refresh(),
                    address => self.connect_to(&address),
                }
            }
            Err(error) => self.failure = Some(error),
        }
    }

    fn user_event(&mut self, event_loop: &ActiveEventLoop, wake: Wake) {
        match wake {
            Wake::Events => {
                for event in self.ends.waiting.take() {
                    self.handle_event(event_loop, event);
                }
            }
            Wake::Access(event) => {
                if let (Some(opened), egui_winit::accesskit_winit::WindowEvent::ActionRequested(request)) =
                    (&mut self.window, event.window_event)
                {
                    opened.egui.on_accesskit_action_request(request);
                }
                self.refresh();
            }
        }
    }

    fn window_event(&mut self, event_loop: &ActiveEventLoop, id: WindowId, event: WindowEvent) {
        if let Some(opened) = &self.window
            && opened.window.id() != id
        {
            // Of all that happens to a canvas, this alone is nobody else's.
            if matches!(event, WindowEvent::RedrawRequested) {
                self.scene(SceneChange::Exposed);
            }
            return;
        }
        let pages = self.offer(&event);
        match &event {
            // A key such as Alt+F4 is the session's.
            WindowEvent::CloseRequested if self.settings.kiosk => {}
            WindowEvent::CloseRequested => {
                self.command(Command::Disconnect);
                return event_loop.exit();
            }
            WindowEvent::Resized(size) => self.handle_resized(*size),
            WindowEvent::RedrawRequested if self.sight.handle_redraw() => self.tell_visible(true),
            WindowEvent::RedrawRequested => self.scene(SceneChange::Exposed),
            WindowEvent::Focused(focused) => self.handle_focus(*focused),
            WindowEvent::Occluded(hidden) => self.tell_visible(!hidden),
            // What was held before the window had the focus was not meant for it.
            WindowEvent::KeyboardInput { event, is_synthetic: true, .. } if event.state == ElementState::Pressed => {}
            WindowEvent::KeyboardInput { event, .. } => self.handle_key(event),
            WindowEvent::CursorMoved { position, .. } => self.handle_pointer(*position),
            WindowEvent::MouseInput { button, state, .. } => self.handle_button(*button, *state),
            WindowEvent::MouseWheel { delta, .. } => self.handle_wheel(*delta),
            WindowEvent::DroppedFile(path)
                if !self.settings.kiosk && matches!(self.link.state, None | Some(LinkState::Ended(_))) =>
            {
                self.connect_to(&path.to_string_lossy());
            }
            _ => {}
        }
        if pages {
            self.refresh();
        }
    }

    fn new_events(&mut self, _: &ActiveEventLoop, cause: StartCause) {
        if !matches!(cause, StartCause::ResumeTimeReached { .. }) {
            return;
        }
        let now = Instant::now();
        if self.resize_at.is_some_and(|at| at <= now) {
            self.resize_at = None;
            self.tell_viewport();
            // winit itself gives all windows another size when the screen's scale changes, so also a canvas.
            if let Some(size) = self.window.as_ref().map(|opened| opened.size) {
                self.scene(SceneChange::Window(size));
            }
        }
        if self.sight.handle_time(now) {
            self.tell_visible(false);
        }
        if self.repaint_at.is_some_and(|at| at <= now) {
            self.repaint_at = None;
            self.refresh();
        }
    }

    fn about_to_wait(&mut self, event_loop: &ActiveEventLoop) {
        if self.failure.is_some() || self.closing {
            return event_loop.exit();
        }
        // Nothing wakes this thread when the net thread has room again.
        let again = (!self.way.flush(&self.ends.commands)).then(|| Instant::now() + FLUSH_AGAIN);
        let at = self.resize_at.into_iter().chain(self.repaint_at).chain(again).chain(self.sight.poll_timeout()).min();
        event_loop.set_control_flow(at.map_or(ControlFlow::Wait, ControlFlow::WaitUntil));
    }
}
