//! The ui thread: window events in, commands and pages out. It owns the window and the keyboard, and no protocol state.
//!
//! Keys belong to the picture unless a page wants them; shortcuts are recognised here, before they are sent.

mod link_view;
mod pages;

use crate::geom::{Fit, Point, Size, fit};
use crate::io::gpu::{self, Renderer};
use crate::io::keyboard::{Keyboard, Layout};
use crate::io::net::trial::Trial;
use crate::io::window::{Canvas, blacken_new_parts, wants_multiplied_pointers, with_program};
use crate::proto::screen::assembler::Update;
use crate::proto::session::client::LinkState;
use crate::proto::sound::talk::TalkState;
use crate::proto::wire::{CursorShape, PointerButton};
use crate::viewer::event::{
    Check, Command, Fact, Numbers, OverlayPicture, RendererFact, SceneChange, SoundCommand, SoundView, UiEvent,
    UiSender, UiWaiting, UserInput, Wake,
};
use crate::viewer::keymap::{self, usage_from_key};
use crate::viewer::locale::Locale;
use crate::viewer::preferences::Keeper;
use crate::viewer::print::PrintView;
use crate::viewer::recent::Recent;
use crate::viewer::screen::{self, ScreenParts};
use crate::viewer::target::{Target, file_for, notice_of_file};
use crate::viewer::ui::{Action, Leaving, Notice, Ui};
use crate::viewer::{Outcome, Settings, ViewerError, monitors, spawn};
use link_view::LinkView;
use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::mpsc;
use winit::application::ApplicationHandler;
use winit::dpi::{LogicalSize, PhysicalPosition, PhysicalSize};
use winit::event::{ElementState, KeyEvent, MouseButton, MouseScrollDelta, StartCause, WindowEvent};
use winit::event_loop::{ActiveEventLoop, ControlFlow, EventLoopProxy};
use winit::window::{CustomCursor, Fullscreen, Icon, Window, WindowId};

/// The host is asked for another size when the window has kept it for this long.
const RESIZE_QUIET: Duration = Duration::from_millis(80);
/// Pixels that a touch pad has to move for one detent of a wheel.
const PIXELS_PER_DETENT: f64 = 40.0;
/// What one detent is on the wire.
const DETENT: f64 = 120.0;
/// Smallest window, in logical pixels: the pages fit.
const WINDOW_MIN: LogicalSize<f64> = LogicalSize::new(320.0, 240.0);
/// First window, in logical pixels.
const WINDOW_FIRST: LogicalSize<f64> = LogicalSize::new(1280.0, 800.0);

/// The ends of the channels that belong to the ui thread.
pub struct Ends {
    /// To net.
    pub commands: mpsc::Sender<Command>,
    /// To screen.
    pub scenes: mpsc::Sender<SceneChange>,
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
    pub updates: mpsc::Receiver<Update>,
    /// From net.
    pub checks: mpsc::Receiver<Check>,
    /// From ui.
    pub scenes: mpsc::Receiver<SceneChange>,
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
    /// A motion that found the channel full.
    motion: Option<Point>,
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
    renderer: Option<RendererFact>,
    wants_keyboard: bool,
    wants_pointer: bool,
    visible: bool,
    repaint_at: Option<Instant>,
    resize_at: Option<Instant>,
    viewport: Option<Size>,
}

/// The window and what goes with it.
struct Opened {
    window: Arc<Window>,
    egui: egui_winit::State,
    size: Size,
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
            motion: None,
            cursors: HashMap::new(),
            cursor: None,
            bar_summoned: false,
            talk: TalkState::default(),
            sound_view: SoundView { volume, ..SoundView::default() },
            sound_shown: false,
            print_view: PrintView::default(),
            printing_shown: false,
            numbers: Numbers::default(),
            renderer: None,
            wants_keyboard: true,
            wants_pointer: true,
            visible: true,
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

    fn open_window(&mut self, event_loop: &ActiveEventLoop) -> Result<Opened, ViewerError> {
        let mut attributes = with_program(Window::default_attributes())
            .with_title("Kachel")
            .with_inner_size(match self.settings.size {
                Some(size) => winit::dpi::Size::from(PhysicalSize::new(size.w, size.h)),
                None => WINDOW_FIRST.into(),
            })
            .with_min_inner_size(WINDOW_MIN)
            .with_window_icon(icon())
            // Assistive technologies have to be announced before the window is seen.
            .with_visible(false);
        let number = self.settings.monitor;
        let monitor = number.map(|number| monitors::find(event_loop.available_monitors(), number)).transpose()?;
        if self.settings.kiosk
            && let Some(monitor) = monitor.clone().or_else(|| event_loop.primary_monitor())
        {
            // As nobody makes it so large where there is no window manager.
            attributes = attributes.with_inner_size(monitor.size()).with_position(monitor.position());
        }
        if self.settings.fullscreen {
            attributes = attributes.with_fullscreen(Some(Fullscreen::Borderless(monitor)));
        }
        let failed = |error: String| ViewerError::Window(error);
        let window = Arc::new(event_loop.create_window(attributes).map_err(|error| failed(error.to_string()))?);
        blacken_new_parts(&window);
        let mut egui = self.ui.window_state(&window);
        egui.init_accesskit(event_loop, &window, self.ends.proxy.clone());
        window.set_visible(true);
        let instance = match self.settings.renderer {
            Renderer::Cpu => None,
            renderer => {
                let instance = gpu::instance(Some(event_loop.owned_display_handle()));
                (renderer != Renderer::Auto || gpu::has_hardware(&instance)).then_some(instance)
            }
        };
        let canvas = match instance {
            Some(_) => Canvas::for_gpu(event_loop, &window),
            None => Canvas::of(&window),
        };
        let surface = match instance {
            None => None,
            Some(instance) => match instance.create_surface(Arc::clone(&canvas.window)) {
                Ok(surface) => Some((instance, surface)),
                Err(error) => {
                    tracing::warn!(%error, "No surface for the GPU");
                    None
                }
            },
        };
        if let Some(ends) = self.ends.screen.take() {
            let parts = ScreenParts {
                canvas,
                surface,
                renderer: self.settings.renderer,
                updates: ends.updates,
                checks: ends.checks,
                scenes: ends.scenes,
                facts: ends.facts,
                ui: self.ends.ui.clone(),
            };
            let body = move |runtime: tokio::runtime::Runtime| runtime.block_on(screen::run(parts));
            self.screen = Some(spawn("screen", body)?);
        }
        let inner = window.inner_size();
        Ok(Opened { window, egui, size: Size::new(inner.width, inner.height) })
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
        if self.ends.commands.try_send(command).is_err() {
            tracing::warn!("The link takes no commands");
        }
    }

    fn input(&mut self, input: UserInput) {
        if self.link.state.is_none() || self.settings.view_only {
            return;
        }
        if let Some(position) = self.motion.take()
            && !matches!(input, UserInput::Motion(_))
        {
            self.command(Command::Input(UserInput::Motion(position)));
        }
        match input {
            UserInput::Motion(position) => {
                if self.ends.commands.try_send(Command::Input(input)).is_err() {
                    self.motion = Some(position);
                }
            }
            input => self.command(Command::Input(input)),
        }
    }

    fn fit(&self) -> Fit {
        fit(self.window.as_ref().map_or(Size::default(), |w| w.size), self.link.picture)
    }

    fn handle_key(&mut self, event: &KeyEvent) {
        let Some(usage) = usage_from_key(event.physical_key) else { return };
        let pressed = event.state == ElementState::Pressed;
        if pressed {
            self.down.insert(usage);
        } else {
            self.down.remove(&usage);
            if self.swallowed.remove(&usage) {
                return;
            }
        }
        if pressed && !event.repeat && !self.settings.kiosk && self.shortcut(usage) {
            self.swallowed.insert(usage);
        }
        if self.swallowed.contains(&usage) || !self.link.is_live() {
            return;
        }
        // What is typed while the link stands still is kept and arrives; a release goes out whoever has the keyboard now.
        if !pressed || !self.wants_keyboard || self.link.is_stalled() {
            self.input(UserInput::Key { usage, down: pressed });
        }
    }

    /// Ctrl+Alt with Enter, Home, or Shift and Home. AltGr is not Alt, so no letter is ever lost to these.
    fn shortcut(&mut self, usage: u16) -> bool {
        use keymap::{ENTER, HOME, LEFT_ALT, LEFT_CONTROL, LEFT_SHIFT, RIGHT_CONTROL, RIGHT_SHIFT};
        let held = |keys: &[u16]| keys.iter().any(|k| self.down.contains(k));
        if !held(&[LEFT_CONTROL, RIGHT_CONTROL]) || !held(&[LEFT_ALT]) {
            return false;
        }
        match (usage, held(&[LEFT_SHIFT, RIGHT_SHIFT])) {
            (ENTER, false) => self.toggle_fullscreen(),
            (HOME, false) => {
                self.bar_summoned = !self.bar_summoned;
                if self.bar_summoned {
                    self.input(UserInput::FocusLost);
                }
                self.refresh();
            }
            (HOME, true) => self.toggle_stats(),
            _ => return false,
        }
        true
    }

    fn toggle_fullscreen(&mut self) {
        if let Some(opened) = &self.window {
            let next = match opened.window.fullscreen() {
                Some(_) => None,
                None => {
                    let number = self.settings.monitor;
                    let found = number.map(|number| monitors::find(opened.window.available_monitors(), number));
                    // One that has been unplugged is none to wait for.
                    Some(Fullscreen::Borderless(found.and_then(Result::ok)))
                }
            };
            opened.window.set_fullscreen(next);
        }
        self.refresh();
    }

    fn toggle_stats(&mut self) {
        self.stats_shown = !self.stats_shown;
        self.command(Command::Watch(self.stats_shown));
        self.refresh();
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
        }
        self.refresh();
    }

    fn handle_focus(&mut self, focused: bool) {
        if focused {
            self.tell_locks();
        } else {
            self.down.clear();
            self.swallowed.clear();
            self.input(UserInput::FocusLost);
        }
    }

    fn tell_locks(&mut self) {
        if let Some(locks) = self.keyboard.locks() {
            self.input(UserInput::Locks(locks));
        }
    }

    fn handle_pointer(&mut self, position: PhysicalPosition<f64>) {
        if !self.link.is_live() || self.wants_pointer {
            return;
        }
        if let Some(position) = self.fit().nearest_in_picture(position.x, position.y) {
            self.input(UserInput::Motion(position));
        }
    }

    fn handle_button(&mut self, button: MouseButton, state: ElementState) {
        let button = match button {
            MouseButton::Left => PointerButton::Left,
            MouseButton::Middle => PointerButton::Middle,
            MouseButton::Right => PointerButton::Right,
            MouseButton::Back => PointerButton::Back,
            MouseButton::Forward => PointerButton::Forward,
            MouseButton::Other(_) => return,
        };
        let pressed = state == ElementState::Pressed;
        // A release always goes out, wherever the pointer is by now: no button may stick.
        if self.link.is_live() && (!pressed || !self.wants_pointer) {
            self.input(UserInput::Button { button, pressed });
        }
    }

    fn handle_wheel(&mut self, delta: MouseScrollDelta) {
        if !self.link.is_live() || self.wants_pointer {
            return;
        }
        // winit counts how far the content moves, the wire how far the view does.
        let (x, y) = match delta {
            MouseScrollDelta::LineDelta(x, y) => (f64::from(-x) * DETENT, f64::from(-y) * DETENT),
            MouseScrollDelta::PixelDelta(p) => (-p.x / PIXELS_PER_DETENT * DETENT, -p.y / PIXELS_PER_DETENT * DETENT),
        };
        self.wheel = (self.wheel.0 + x, self.wheel.1 + y);
        let (dx, dy) = (self.wheel.0.trunc() as i16, self.wheel.1.trunc() as i16);
        self.wheel = (self.wheel.0.fract(), self.wheel.1.fract());
        if (dx, dy) != (0, 0) {
            self.input(UserInput::Wheel { dx, dy });
        }
    }

    fn handle_resized(&mut self, size: PhysicalSize<u32>) {
        let size = Size::new(size.width, size.height);
        let Some(opened) = &mut self.window else { return };
        opened.size = size;
        self.scene(SceneChange::Window(size));
        self.tell_visible(!size.is_empty());
        if !size.is_empty() && self.viewport != Some(size) {
            // The first size is not the end of a drag.
            let quiet = if self.viewport.is_some() { RESIZE_QUIET } else { Duration::ZERO };
            self.resize_at = Some(Instant::now() + quiet);
        }
        self.refresh();
    }

    fn tell_viewport(&mut self) {
        let Some(opened) = &self.window else { return };
        let size = opened.size;
        if !size.is_empty() && self.viewport != Some(size) {
            self.viewport = Some(size);
            let scale_percent = (opened.window.scale_factor() * 100.0).round().clamp(50.0, 400.0) as u16;
            self.command(Command::Viewport { size, scale_percent });
        }
    }

    fn tell_visible(&mut self, visible: bool) {
        if self.visible != visible {
            self.visible = visible;
            self.command(Command::Visible(visible));
        }
    }

    fn scene(&mut self, scene: SceneChange) {
        // The screen thread may be inside the swap chain for a frame; this much the ui can wait.
        let _ = self.ends.scenes.blocking_send(scene);
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
            Action::Print(command) => self.command(Command::Print(command)),
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
            UiEvent::Presented => {}
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

    fn handle_cursor(&mut self, event_loop: &ActiveEventLoop, shape: Option<Arc<CursorShape>>) {
        if let Some(shape) = &shape
            && self.cursor.as_ref() != Some(shape)
        {
            let (w, h) = (shape.size.w as u16, shape.size.h as u16);
            let is_multiplied = self.window.as_ref().is_some_and(|w| wants_multiplied_pointers(&w.window));
            match CustomCursor::from_rgba(rgba(shape, is_multiplied), w, h, shape.hot.x as u16, shape.hot.y as u16) {
                Ok(source) => {
                    self.cursors.insert(shape.id, event_loop.create_custom_cursor(source));
                }
                Err(error) => tracing::debug!(%error, "Pointer shape not usable"),
            }
        }
        self.cursor = shape;
        self.repaint_cursor();
    }

    fn repaint_cursor(&self) {
        let Some(opened) = &self.window else { return };
        if self.wants_pointer {
            return;
        }
        match self.cursor.as_ref().and_then(|c| self.cursors.get(&c.id)) {
            Some(cursor) => {
                opened.window.set_cursor(cursor.clone());
                opened.window.set_cursor_visible(true);
            }
            None => opened.window.set_cursor_visible(self.cursor.is_some()),
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
                if self.stats_shown {
                    self.command(Command::Watch(true));
                }
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
        if self.repaint_at.is_some_and(|at| at <= now) {
            self.repaint_at = None;
            self.refresh();
        }
    }

    fn about_to_wait(&mut self, event_loop: &ActiveEventLoop) {
        if self.failure.is_some() || self.closing {
            return event_loop.exit();
        }
        let at = self.resize_at.into_iter().chain(self.repaint_at).min();
        event_loop.set_control_flow(at.map_or(ControlFlow::Wait, ControlFlow::WaitUntil));
    }
}

/// A shape's pixels as winit wants them: red, green, blue, alpha, and colours multiplied by alpha, as they are here, or not.
fn rgba(shape: &CursorShape, is_multiplied: bool) -> Vec<u8> {
    shape
        .pixels
        .iter()
        .flat_map(|p| {
            let [b, g, r, a] = p.to_le_bytes();
            let straight = |v: u8| if a == 0 { 0 } else { (u32::from(v) * 255 / u32::from(a)).min(255) as u8 };
            if is_multiplied { [r, g, b, a] } else { [straight(r), straight(g), straight(b), a] }
        })
        .collect()
}

/// The window's icon: three by three tiles, drawn here so that no image decoder is needed.
fn icon() -> Option<Icon> {
    const SIDE: u32 = 48;
    let rgba = (0..SIDE * SIDE)
        .flat_map(|i| {
            let (x, y) = (i % SIDE, i / SIDE);
            let inside = x % 16 >= 1 && y % 16 >= 1 && x % 16 < 15 && y % 16 < 15;
            let bright = (x / 16 + y / 16) % 2 == 0;
            match (inside, bright) {
                (false, _) => [0, 0, 0, 0],
                (true, true) => [0x1f, 0x6f, 0xb2, 0xff],
                (true, false) => [0x7a, 0xb8, 0xe6, 0xff],
            }
        })
        .collect();
    Icon::from_rgba(rgba, SIDE, SIDE).ok()
}
