//! One desktop's process: it owns the X server's picture and input, and serves them to the front over a Unix socket.
//!
//! One thread, one loop, one order: X events, the socket, then frames as long as there is a slot, then wait. It never
//! sees a network or a key of TLS. The X server and the desktop outlive it; the next process adopts them ([`desk`]).

pub mod desk;
mod print;
pub mod socket;
pub mod viewer;

use crate::codec::encode::{Encoder, View};
use crate::geom::Rect;
use crate::host::policy::Policy;
use crate::io::linux::inject::{InjectError, Injector};
use crate::io::linux::keyboard::{KeyboardLayout, KeyboardState};
use crate::io::linux::screen::{Capture, Screen, ScreenError, ScreenEvent};
use crate::proto::screen::pacer::{Part, Slot};
use crate::proto::session::host::Wish;
use crate::proto::wire::{CloseCode, Hello, HostMessage, InputEvent, LockKeys, Relay};
use bytes::Bytes;
use desk::{Desk, DeskError};
use print::{Outgoing, Printing};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use socket::{Listener, Peer, PeerError};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use thiserror::Error;
use viewer::{Viewer, ViewerError};

/// What a session process is told at its start.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// The session's own directory; only its user may look into it.
    pub place: PathBuf,
    /// The session's name.
    pub name: String,
    /// A display that is already there, instead of a desktop of its own.
    pub attach: Option<String>,
    /// What viewers may use.
    pub policy: Policy,
}

/// Why a session process ends in trouble.
#[derive(Debug, Error)]
pub enum SessionError {
    /// The socket cannot be used.
    #[error("the session's socket cannot be used")]
    Socket(#[source] io::Error),
    /// There is no desktop.
    #[error(transparent)]
    Desk(#[from] DeskError),
    /// The X server's picture cannot be had.
    #[error("the picture cannot be captured")]
    Screen(#[from] ScreenError),
    /// The X server takes no input.
    #[error("input cannot be injected")]
    Inject(#[from] InjectError),
}

/// Why the loop ends.
enum End {
    /// The user logged out, or an administrator ended the desktop.
    Desktop,
    /// Something failed.
    Error(SessionError),
}

impl<E: Into<SessionError>> From<E> for End {
    fn from(error: E) -> Self {
        End::Error(error.into())
    }
}

/// The session's state, all of it.
struct Session {
    name: String,
    policy: Policy,
    started: Instant,
    desk: Desk,
    screen: Screen,
    injector: Injector,
    encoder: Encoder,
    /// DAMAGE has something for us; fetched only when somebody looks.
    damaged: bool,
    cursor_changed: bool,
    /// Lock keys that the viewer has not been told of.
    locks: Option<LockKeys>,
    peers: Vec<Peer>,
    /// Which peer is the front, and its viewer.
    viewer: Option<(usize, Viewer)>,
    layout: Option<(String, String)>,
    /// How the keyboard of somebody else's display was, while a viewer has it.
    lent: Option<KeyboardState>,
    printing: Option<Printing>,
    counters: Counters,
}

/// What `kachel-host status` shows.
#[derive(Default)]
struct Counters {
    frames: u64,
    bytes: u64,
    inputs: u64,
    viewers: u64,
    encode: Duration,
    /// Tiles that a viewer held wrongly.
    defects: u64,
}

/// Runs until the desktop ends.
///
/// # Errors
/// [`SessionError`]; the desktop goes on then, unless it could not be started at all.
pub fn run(options: SessionOptions) -> Result<(), SessionError> {
    let listener = Listener::bind(&options.place.join("session.sock")).map_err(SessionError::Socket)?;
    let desk = match &options.attach {
        Some(display) => Desk::attach(&options.place, display)?,
        None => Desk::adopt_or_start(&options.place, options.policy)?,
    };
    let screen = Screen::connect(&desk.display, desk.xauthority.as_deref())?;
    let mut injector = Injector::connect(&desk.display, desk.xauthority.as_deref())?;
    injector.release_left_behind()?;
    if desk.is_own() {
        screen.hide_pointer()?;
        // It is nobody else's, and never given back.
        injector.take_keyboard()?;
    }
    let printing = if options.policy.printing { start_printing(&options.place) } else { None };
    let mut session = Session {
        policy: options.policy,
        printing,
        name: options.name,
        started: Instant::now(),
        encoder: Encoder::new(screen.size()),
        desk,
        screen,
        injector,
        damaged: true,
        cursor_changed: true,
        locks: None,
        peers: Vec::new(),
        viewer: None,
        layout: None,
        lent: None,
        counters: Counters::default(),
    };
    if !session.desk.is_own() {
        // A process before this one was killed under a viewer.
        session.lent = session.desk.lent_keyboard();
    }
    let ended = match session.return_keyboard() {
        Ok(()) => session.turn(&listener),
        Err(end) => end,
    };
    let _ = std::fs::remove_file(options.place.join("session.sock"));
    match ended {
        End::Desktop => {
            session.say_ended();
            if let Err(End::Error(error)) = session.return_keyboard() {
                tracing::warn!(%error, "The keyboard is not as it was");
            }
            session.stop();
            tracing::info!("Desktop ended");
            Ok(())
        }
        // The X server is gone, and with it the desktop.
        End::Error(_) if !session.desk.running() => {
            session.say_ended();
            session.stop();
            Ok(())
        }
        End::Error(error) => Err(error),
    }
}

impl Session {
    /// The loop.
    fn turn(&mut self, listener: &Listener) -> End {
        let mut life = self.life();
        loop {
            let timeout = match self.step() {
                Ok(timeout) => timeout,
                Err(end) => return end,
            };
            let ready = match wait(&self.screen, listener, &self.peers, &life, self.printing.as_ref(), timeout) {
                Ok(ready) => ready,
                Err(error) => return SessionError::Socket(error).into(),
            };
            if ready.ended {
                if !self.desk.running() {
                    return End::Desktop;
                }
                // Then it was the sound process.
                if let Err(error) = self.desk.tend_sound() {
                    return SessionError::from(error).into();
                }
                life = self.life();
            }
            if let (true, Some(printing)) = (ready.printing, &mut self.printing) {
                printing.handle_asks();
            }
            if ready.listener {
                match listener.accept() {
                    Ok(peer) => self.peers.extend(peer),
                    Err(error) => return SessionError::Socket(error).into(),
                }
            }
            for index in ready.peers.into_iter().rev() {
                match self.serve_peer(index) {
                    Ok(()) => {}
                    Err(PeerEnd::Gone(error)) => {
                        tracing::debug!(%error, "Peer gone");
                        self.drop_peer(index);
                    }
                    Err(PeerEnd::Session(end)) => return end,
                }
            }
        }
    }

    /// Descriptors that tell of the end of the desktop's processes.
    fn life(&self) -> Vec<OwnedFd> {
        let processes = self.desk.processes().into_iter().chain(self.desk.sound_process());
        processes.filter_map(|p| watch_process(p.pid)).collect()
    }

    /// Takes X events and sends what there is a slot for; returns when to look again without being woken.
    fn step(&mut self) -> Result<Option<Duration>, End> {
        self.take_events()?;
        loop {
            let slot = self.send_what_there_is()?;
            // Pictures first: a print job can wait.
            let print = self.print();
            // Answers read meanwhile may have brought events along, and for those the connection does not wake us.
            if !self.take_events()? {
                let release = self.release_if_silent()?;
                return Ok(slot.into_iter().chain(release).chain(print).min());
            }
        }
    }

    /// Does what printing has to do and sends what it has to say, as far as the front takes it; returns when to look again.
    fn print(&mut self) -> Option<Duration> {
        let now = self.now();
        let printing = self.printing.as_mut()?;
        let due = printing.handle_time(now);
        loop {
            // What the front has not taken yet would only stand before the next picture.
            if self.viewer.as_ref().is_some_and(|(front, _)| self.peers[*front].backlog() > 0) {
                return due;
            }
            match self.printing.as_mut().and_then(Printing::poll_outgoing) {
                Some(Outgoing::Word(word)) => self.send_control(&HostMessage::Print(word)),
                Some(Outgoing::Document(part)) => {
                    if let Some((front, _)) = self.viewer {
                        self.send(front, &part);
                    }
                }
                None => return due,
            }
        }
    }

    /// The desktop is over, and all that belonged to it.
    fn stop(&mut self) {
        // First what the user sees; a print server may take its time.
        self.desk.stop();
        if let Some(printing) = self.printing.take() {
            printing.stop();
        }
    }

    /// Releases what a viewer holds that says nothing any more; returns when to look again.
    fn release_if_silent(&mut self) -> Result<Option<Duration>, End> {
        let now = self.now();
        let Some((_, viewer)) = &mut self.viewer else { return Ok(None) };
        match viewer.release_at() {
            Some(at) if at <= now => {
                tracing::info!("The viewer is silent: what it held is released");
                viewer.held.handle_gone();
                self.injector.release_all()?;
                Ok(None)
            }
            at => Ok(at.map(|at| at - now)),
        }
    }

    /// Takes all X events that are there; whether there were any.
    fn take_events(&mut self) -> Result<bool, End> {
        let mut any = false;
        while let Some(event) = self.screen.poll_event()? {
            any = true;
            match event {
                ScreenEvent::Damaged => self.damaged = true,
                ScreenEvent::Mapped(place) => self.encoder.handle_mapped(place),
                ScreenEvent::Cursor => self.cursor_changed = true,
                ScreenEvent::Resized(size) => self.encoder.handle_resize(size),
                ScreenEvent::Locks(locks) => self.locks = Some(locks),
            }
        }
        Ok(any)
    }

    /// Sends pointer shape, lock keys, and pictures as long as there is a slot; returns when the next one comes.
    fn send_what_there_is(&mut self) -> Result<Option<Duration>, End> {
        if !self.viewer.as_ref().is_some_and(|(_, v)| v.pacer.is_seen()) {
            return Ok(None);
        }
        loop {
            let Some((front, viewer)) = &self.viewer else { return Ok(None) };
            // What the socket has not taken is not on its way yet: before that nothing new, which can merge until then.
            if self.peers[*front].backlog() > 0 {
                return Ok(None);
            }
            if std::mem::take(&mut self.cursor_changed) {
                self.send_cursor()?;
                continue;
            }
            if let Some(locks) = self.locks.take() {
                self.send_control(&HostMessage::Locks(locks));
                continue;
            }
            let mut wake = None;
            if self.damaged || self.encoder.has_work() {
                match viewer.pacer.poll_slot(self.encoder.has_rest(), self.now()) {
                    Slot::Wait => return Ok(None),
                    Slot::At(time) => wake = Some(time.saturating_sub(self.now())),
                    Slot::Now { budget } => {
                        self.send_frame(budget)?;
                        continue;
                    }
                }
            }
            // Nothing new, or not yet: time to make exact what is only nearly so.
            match self.encoder.refine_at() {
                Some(at) if at <= self.now() => {
                    let Some(budget) = viewer.pacer.poll_refinement() else { return Ok(wake) };
                    if !self.send_refinement(budget) && self.encoder.refine_at().is_some_and(|at| at <= self.now()) {
                        return Ok(wake);
                    }
                }
                refine_at => {
                    let mark_at = self.send_marks();
                    let now = self.now();
                    return Ok([refine_at, mark_at]
                        .into_iter()
                        .flatten()
                        .map(|at| at.saturating_sub(now))
                        .chain(wake)
                        .min());
                }
            }
        }
    }

    /// Asks the viewer whether tiles agree that have settled, once it shows everything; returns when to ask next.
    fn send_marks(&mut self) -> Option<Duration> {
        let at = self.encoder.mark_at()?;
        let (_, viewer) = self.viewer.as_ref()?;
        // Each frame that is shown comes by here again.
        if viewer.pacer.in_flight() > 0 {
            return None;
        }
        if at <= self.now()
            && let Some(marks) = self.encoder.marks(self.now())
        {
            self.send_control(&HostMessage::Marks(marks));
        }
        self.encoder.mark_at()
    }

    /// Sends exact pixels of what the viewer holds only nearly; whether there were any to send.
    fn send_refinement(&mut self, budget: usize) -> bool {
        let (begun, now) = (Instant::now(), self.now());
        let Some((front, viewer)) = &mut self.viewer else { return false };
        let frame = self.encoder.refine(viewer.held.last(), now, budget);
        self.counters.encode += begun.elapsed();
        let Some(frame) = frame else { return false };
        self.counters.frames += 1;
        self.counters.bytes += frame.len() as u64;
        // It begins no picture: what changes next may go at once.
        let size = (frame.len(), self.encoder.coded());
        viewer.pacer.handle_sent(self.encoder.sequence(), size, Part::Refinement, now);
        let front = *front;
        self.send(front, &Relay::Frame(frame.into()));
        true
    }

    /// Captures and encodes what changed, and sends it if it really differs.
    fn send_frame(&mut self, budget: usize) -> Result<(), End> {
        // While the rest of a picture is out, its capture stays: what changes now is damage of the next one.
        if !self.encoder.has_rest() && std::mem::take(&mut self.damaged) {
            let mut rects: Vec<Rect> = Vec::new();
            self.screen.take_damage(&mut rects)?;
            for rect in rects {
                self.encoder.handle_damage(rect);
            }
        }
        if self.screen.size() != self.encoder.size() {
            self.encoder.handle_resize(self.screen.size());
        }
        // The rest of a picture is encoded from what was captured for its first part.
        if !self.encoder.has_rest() && self.screen.capture(&self.encoder.dirty_rows())? == Capture::Outdated {
            return Ok(());
        }
        let begun = Instant::now();
        let part = if self.encoder.has_rest() { Part::Rest } else { Part::First };
        let size = self.screen.size();
        let view = View { pixels: self.screen.pixels(), stride: size.w as usize, size };
        let now = self.now();
        let Some((front, viewer)) = &mut self.viewer else { return Ok(()) };
        self.encoder.handle_scarce(viewer.pacer.scarce());
        let frame = self.encoder.encode(&view, viewer.held.last(), now, budget);
        self.counters.encode += begun.elapsed();
        let Some(frame) = frame else { return Ok(()) };
        self.counters.frames += 1;
        self.counters.bytes += frame.len() as u64;
        viewer.pacer.handle_sent(self.encoder.sequence(), (frame.len(), self.encoder.coded()), part, now);
        tracing::trace!(sequence = self.encoder.sequence(), bytes = frame.len(), "Frame");
        let front = *front;
        self.send(front, &Relay::Frame(frame.into()));
        Ok(())
    }

    fn send_cursor(&mut self) -> Result<(), End> {
        let Some(image) = self.screen.cursor()? else { return Ok(()) };
        let Some((front, viewer)) = &mut self.viewer else { return Ok(()) };
        let front = *front;
        let (id, shape) = viewer.cursor(image);
        if let Some(shape) = shape {
            let mut bytes = Vec::new();
            shape.encode(&mut bytes);
            self.send(front, &Relay::Cursor(bytes.into()));
        }
        self.send_control(&HostMessage::Cursor(id));
        Ok(())
    }

    /// Reads from a peer and does what it says.
    fn serve_peer(&mut self, index: usize) -> Result<(), PeerEnd> {
        self.peers[index].flush()?;
        let received = self.peers[index].receive();
        while let Some(message) = self.peers[index].poll_message()? {
            match message {
                Relay::Attached { device, frames, inputs } => {
                    // What was said before was for the viewer before.
                    self.peers[index].send(&Relay::Attached { device: device.clone(), frames, inputs })?;
                    let sound = self.desk.sound_process().map_or(0, |_| self.policy.sound_capabilities());
                    let printing = if self.printing.is_some() { self.policy.printing_capability() } else { 0 };
                    let capabilities = sound | printing;
                    self.attach(index, Viewer::new(device, &self.name, capabilities, frames, inputs));
                }
                Relay::Status(question) if question.is_empty() => {
                    let answer = self.status().to_string();
                    self.peers[index].send(&Relay::Status(answer.into()))?;
                }
                Relay::Close(code) if code == CloseCode::Ended as u32 => return Err(PeerEnd::Session(End::Desktop)),
                Relay::Detached if self.is_front(index) => self.detach().map_err(PeerEnd::Session)?,
                Relay::Path(path) if self.is_front(index) => {
                    if let Some((_, viewer)) = &mut self.viewer {
                        viewer.pacer.handle_path(path);
                    }
                    if let Some(printing) = &mut self.printing {
                        printing.handle_path(path.window_bytes);
                    }
                }
                Relay::Control(body) if self.is_front(index) => self.handle_control(&body)?,
                Relay::Input(body) if self.is_front(index) => self.handle_input(&body)?,
                other => tracing::debug!(?other, "Message without meaning here"),
            }
        }
        Ok(received?)
    }

    fn attach(&mut self, index: usize, viewer: Viewer) {
        if let Err(End::Error(error)) = self.detach() {
            tracing::warn!(%error, "Held keys could not be released");
        }
        tracing::info!(device = viewer.device, "Viewer attached");
        self.counters.viewers += 1;
        self.viewer = Some((index, viewer));
    }

    fn handle_control(&mut self, body: &Bytes) -> Result<(), PeerEnd> {
        let now = self.now();
        let Some((_, viewer)) = &mut self.viewer else { return Ok(()) };
        let wish = match viewer.handle_control(body) {
            Ok(wish) => wish,
            Err(error) => return self.refuse(&error).map_err(PeerEnd::Session),
        };
        let answer = viewer.poll_control();
        match wish {
            Wish::Begin(hello) => self.begin(&hello).map_err(PeerEnd::Session)?,
            Wish::Resize(size) => self.resize(size).map_err(PeerEnd::Session)?,
            Wish::Shown(sequence) => viewer.pacer.handle_shown(sequence, now),
            Wish::Visible(visible) => viewer.pacer.handle_visible(visible),
            Wish::Refresh => self.encoder.handle_refresh(),
            Wish::Agreement(answer) => {
                let wrong = self.encoder.handle_agreement(&answer);
                if wrong > 0 {
                    tracing::warn!(wrong, first = answer.first, "The viewer holds tiles wrongly; they are sent again");
                }
                self.counters.defects += wrong as u64;
            }
            Wish::Print(wish) => {
                if let Some(printing) = &mut self.printing {
                    printing.handle_wish(wish);
                }
            }
        }
        if let Some(answer) = answer {
            self.send_control(&answer);
            self.send_control(&HostMessage::Progress(crate::proto::wire::Progress::Ready));
        }
        Ok(())
    }

    /// A viewer has said hello: its size, its keyboard, then the whole picture.
    fn begin(&mut self, hello: &Hello) -> Result<(), End> {
        self.lend_keyboard()?;
        let layout = (hello.layout.clone(), hello.variant.clone());
        if !hello.layout.is_empty() && self.layout.as_ref() != Some(&layout) {
            let wanted = KeyboardLayout { variant: layout.1.clone(), ..KeyboardLayout::named(&layout.0) };
            match self.injector.set_layout(&wanted) {
                Ok(()) => self.layout = Some(layout),
                Err(InjectError::X11(error)) => return Err(InjectError::X11(error).into()),
                Err(error) => tracing::warn!(%error, "Keyboard layout not set"),
            }
        }
        self.resize(hello.viewport)?;
        if self.desk.is_own() && self.screen.set_text_scale(hello.scale_percent)? {
            self.desk.set_text_scale(hello.scale_percent);
        }
        self.cursor_changed = true;
        if let Some((_, viewer)) = &mut self.viewer {
            self.encoder.handle_viewer(viewer.frames_before);
            viewer.pacer.handle_attached();
        }
        Ok(())
    }

    /// Takes the keyboard of somebody else's display for a viewer.
    fn lend_keyboard(&mut self) -> Result<(), End> {
        if self.desk.is_own() || self.lent.is_some() {
            return Ok(());
        }
        let found = self.injector.take_keyboard()?;
        if let Err(error) = self.desk.lend_keyboard(&found) {
            tracing::warn!(%error, "The keyboard will not be as it was, should this process be killed");
        }
        self.lent = Some(found);
        Ok(())
    }

    /// Makes the keyboard of somebody else's display what it was.
    fn return_keyboard(&mut self) -> Result<(), End> {
        let Some(found) = self.lent.take() else { return Ok(()) };
        self.layout = None;
        match self.injector.return_keyboard(&found) {
            Err(InjectError::X11(error)) => return Err(InjectError::X11(error).into()),
            Err(error) => tracing::warn!(%error, "The display's keyboard layout is not as it was"),
            Ok(()) => {}
        }
        self.desk.forget_keyboard();
        Ok(())
    }

    fn resize(&mut self, size: crate::geom::Size) -> Result<(), End> {
        if !self.desk.is_own() || size == self.screen.size() {
            return Ok(());
        }
        match self.screen.resize(size) {
            Ok(_) => {}
            Err(ScreenError::Resize(error)) => tracing::warn!(%error, ?size, "Screen keeps its size"),
            Err(error) => return Err(error.into()),
        }
        if self.screen.size() != self.encoder.size() {
            self.encoder.handle_resize(self.screen.size());
        }
        Ok(())
    }

    fn handle_input(&mut self, body: &Bytes) -> Result<(), PeerEnd> {
        let now = self.now();
        let Some((_, viewer)) = &mut self.viewer else { return Ok(()) };
        match viewer.handle_input(body, now) {
            Ok(Some(event)) => {
                self.counters.inputs += 1;
                self.inject(event).map_err(PeerEnd::Session)
            }
            Ok(None) => Ok(()),
            Err(error) => self.refuse(&error).map_err(PeerEnd::Session),
        }
    }

    fn inject(&mut self, event: InputEvent) -> Result<(), End> {
        let done = match event {
            InputEvent::Key { usage, action } => self.injector.key(usage, action),
            InputEvent::Motion(position) => self.injector.motion(position),
            InputEvent::Button { button, pressed } => self.injector.button(button as u8, pressed),
            // On the wire down is positive, for XTEST up is.
            InputEvent::Wheel { dx, dy } => self.injector.wheel(dx.into(), -i32::from(dy)),
            InputEvent::ReleaseAll => self.injector.release_all(),
            InputEvent::Locks(locks) => self.injector.locks(locks),
        };
        match done {
            Err(InjectError::X11(error)) => Err(InjectError::X11(error).into()),
            // A key that this server does not have: the user presses it in vain, nothing else.
            Err(error) => {
                tracing::debug!(%error, "Input left out");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Sends a viewer away that breaks the protocol.
    fn refuse(&mut self, error: &ViewerError) -> Result<(), End> {
        tracing::warn!(%error, "Viewer refused");
        self.dismiss(error.close_code());
        self.detach()
    }

    /// Sends the viewer away.
    fn dismiss(&mut self, code: CloseCode) {
        if let Some((front, _)) = self.viewer {
            self.send(front, &Relay::Close(code as u32));
        }
    }

    /// Tells everybody that the desktop is over: the front must know it too when nobody is looking.
    fn say_ended(&mut self) {
        for index in 0..self.peers.len() {
            self.send(index, &Relay::Close(CloseCode::Ended as u32));
        }
    }

    /// The viewer is gone: nothing stays pressed.
    fn detach(&mut self) -> Result<(), End> {
        let Some((_, mut viewer)) = self.viewer.take() else { return Ok(()) };
        tracing::info!(device = viewer.device, "Viewer detached");
        let now = self.now();
        if let Some(printing) = &mut self.printing {
            printing.handle_detached(now);
        }
        viewer.held.handle_gone();
        self.injector.release_all()?;
        self.return_keyboard()
    }

    fn drop_peer(&mut self, index: usize) {
        if self.is_front(index)
            && let Err(End::Error(error)) = self.detach()
        {
            tracing::warn!(%error, "Held keys could not be released");
        }
        self.peers.remove(index);
        if let Some((front, _)) = &mut self.viewer
            && *front > index
        {
            *front -= 1;
        }
    }

    fn is_front(&self, index: usize) -> bool {
        self.viewer.as_ref().is_some_and(|(front, _)| *front == index)
    }

    fn send_control(&mut self, message: &HostMessage) {
        if let Some((front, viewer)) = &self.viewer
            && viewer.is_greeted()
        {
            let front = *front;
            let mut framed = Vec::new();
            message.encode(&mut framed);
            self.send(front, &Relay::Control(framed.into()));
        }
    }

    /// Sends to a peer; one that is gone is noticed by its next read.
    fn send(&mut self, index: usize, message: &Relay) {
        if let Err(error) = self.peers[index].send(message) {
            tracing::debug!(%error, "Message not sent");
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn status(&self) -> serde_json::Value {
        serde_json::json!({
            "name": self.name,
            "display": self.desk.display,
            "xauthority": self.desk.xauthority,
            "pid": std::process::id(),
            "processes": self.desk.processes().iter().map(|p| p.pid).collect::<Vec<_>>(),
            "size": self.screen.size(),
            "viewers": u32::from(self.viewer.is_some()),
            "viewers_total": self.counters.viewers,
            "frames": self.counters.frames,
            "frames_in_flight": self.viewer.as_ref().map_or(0, |(_, v)| v.pacer.in_flight()),
            "bytes": self.counters.bytes,
            "inputs": self.counters.inputs,
            "defects": self.counters.defects,
            "keys_down": self.injector.pressed(),
            "printing": self.printing.as_ref().map(Printing::status),
            "encode_us": self.counters.encode.as_micros() as u64,
            "uptime_s": self.started.elapsed().as_secs(),
        })
    }
}

/// Why a peer is not served any more.
enum PeerEnd {
    Gone(PeerError),
    Session(End),
}

impl From<PeerError> for PeerEnd {
    fn from(error: PeerError) -> Self {
        PeerEnd::Gone(error)
    }
}

/// Who has something to say.
struct Ready {
    listener: bool,
    ended: bool,
    printing: bool,
    peers: Vec<usize>,
}

/// Sleeps until somebody has something to say.
fn wait(
    screen: &Screen,
    listener: &Listener,
    peers: &[Peer],
    life: &[OwnedFd],
    printing: Option<&Printing>,
    timeout: Option<Duration>,
) -> io::Result<Ready> {
    let mut fds = vec![PollFd::new(screen, PollFlags::IN), PollFd::new(listener, PollFlags::IN)];
    for peer in peers {
        let flags = if peer.backlog() > 0 { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        fds.push(PollFd::from_borrowed_fd(peer.as_fd(), flags));
    }
    fds.extend(life.iter().map(|fd| PollFd::new(fd, PollFlags::IN)));
    fds.extend(printing.map(|printing| PollFd::new(printing, PollFlags::IN)));
    let timeout = timeout.map(|t| Timespec { tv_sec: t.as_secs() as i64, tv_nsec: t.subsec_nanos().into() });
    match poll(&mut fds, timeout.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let said = |i: usize| !fds[i].revents().is_empty();
    Ok(Ready {
        listener: said(1),
        peers: (0..peers.len()).filter(|i| said(2 + i)).collect(),
        ended: (2 + peers.len()..2 + peers.len() + life.len()).any(said),
        printing: (2 + peers.len() + life.len()..fds.len()).any(said),
    })
}

/// A session that cannot print is a session all the same.
fn start_printing(place: &std::path::Path) -> Option<Printing> {
    Printing::start(place).inspect_err(|error| tracing::error!(%error, "This session does not print")).ok()
}

/// A descriptor that becomes readable when the process ends.
fn watch_process(pid: u32) -> Option<OwnedFd> {
    pidfd_open(Pid::from_raw(pid.cast_signed())?, PidfdFlags::empty()).ok()
}
