//! The net thread: one connection at a time, turned by one loop. Everything it decides is `proto`'s.
//!
//! What was counted: `meter`. Why there is no connection: `loss`.
//!
//! Order of a turn: input out, packets counted, what the session wants done, then whatever comes first of packets, commands,
//! facts from the screen, room for a frame, and timers.

mod loss;
mod meter;

use crate::codec::marks::{Agreement, TileMarks};
use crate::geom::Size;
use crate::io::net::{ConnectError, Connector, Received, ViewerConnection};
use crate::limits::{HELD_ALIVE, SMALL_FRAME_BYTES, SMALL_FRAMES_UNSHOWN_MAX};
use crate::proto::input::Input;
use crate::proto::screen::assembler::{Assembler, Update};
use crate::proto::session::client::{ClientSession, Deed, LinkState, Lost};
use crate::proto::sound::talk::{Talk, TalkState};
use crate::proto::wire::print::CAPABILITY_PRINTING;
use crate::proto::wire::{CloseCode, CursorShape, Hello, HostMessage, VERSION, ViewerMessage, WireError};
use crate::viewer::event::{Check, Command, ConnectionNumber, Fact, Show, UiEvent, UiSender, UserInput};
use crate::viewer::event::{SoundCommand, SoundFact, SoundNumbers};
use crate::viewer::print::{PrintNews, Printing};
use crate::viewer::stats_file::StatsFile;
use bytes::Bytes;
use loss::{lost_from_error, lost_from_reason};
use meter::Meter;
use std::collections::HashMap;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::time::sleep_until;

/// How often the numbers are given out while somebody wants them.
const NUMBERS_EVERY: Duration = Duration::from_secs(1);

/// What the viewer says about itself in hello, but for the size.
#[derive(Clone, Debug)]
pub struct Introduction {
    /// Keyboard layout in X's words.
    pub layout: String,
    /// Its variant.
    pub variant: String,
    /// The user's language.
    pub locale: String,
}

/// The ends of the channels that belong to the net thread.
pub struct Channels {
    /// From ui.
    pub commands: mpsc::Receiver<Command>,
    /// From screen.
    pub facts: mpsc::Receiver<Fact>,
    /// To screen.
    pub updates: mpsc::Sender<Show>,
    /// To sound; none where sound is not wanted.
    pub sound: Option<mpsc::Sender<SoundCommand>>,
    /// From sound.
    pub sound_facts: mpsc::Receiver<SoundFact>,
    /// To screen: tiles to check.
    pub checks: mpsc::Sender<Check>,
    /// To ui.
    pub ui: UiSender,
}

/// The net thread's state.
struct Link {
    started: Instant,
    ui: UiSender,
    introduction: Introduction,
    viewport: Size,
    scale_percent: u16,
    visible: bool,
    connector: Option<Connector>,
    session: ClientSession,
    told: Option<LinkState>,
    connection: Option<ViewerConnection>,
    connection_number: ConnectionNumber,
    assembler: Assembler,
    pending: Option<Update>,
    checks: mpsc::Sender<Check>,
    /// Marks that the screen thread is checking.
    marks: Option<TileMarks>,
    /// Marks of a frame that has not come yet, or has not gone to the screen.
    early_marks: Option<TileMarks>,
    first_shown: bool,
    /// The screen shows all frames up to this one, as far as is known.
    complete: Option<u32>,
    /// Small frames that were shown since the host was last told.
    small_unshown: u32,
    cursors: HashMap<u32, Arc<CursorShape>>,
    cursor: Option<u32>,
    input: Input,
    /// When input was sent last.
    input_at: Instant,
    meter: Meter,
    talk: Talk,
    told_talk: TalkState,
    told_twice: bool,
    sound: Option<mpsc::Sender<SoundCommand>>,
    sound_numbers: Option<SoundNumbers>,
    watched: bool,
    stats_file: Option<StatsFile>,
    numbers_at: Option<Instant>,
    printing: Option<Printing>,
    /// The host uses printing on this connection.
    prints: bool,
}

type Connecting = Pin<Box<dyn Future<Output = Result<ViewerConnection, ConnectError>>>>;

/// Runs until the ui hangs up.
pub async fn run(
    mut channels: Channels,
    introduction: Introduction,
    stats_file: Option<StatsFile>,
    printing: Option<Printing>,
) {
    let mut link = Link::new(channels.ui, channels.checks, channels.sound, introduction, stats_file, printing);
    let mut connecting: Option<Connecting> = None;
    loop {
        link.tell_talk();
        link.send_input();
        link.print();
        link.count_packets();
        match link.session.poll_deed() {
            Some(Deed::Ask) => link.ask(),
            Some(Deed::Connect) => {
                link.drop_connection();
                connecting = link.connector.clone().map(|c| Box::pin(async move { c.connect().await }) as Connecting);
            }
            Some(Deed::Rebind) => link.rebind(),
            None => {}
        }
        link.tell_state();
        let wake = link.wake_at();
        tokio::select! {
            biased;
            command = channels.commands.recv() => match command {
                Some(Command::Disconnect) => {
                    connecting = None;
                    link.disconnect().await;
                }
                Some(command) => link.handle_command(command),
                None => return link.disconnect().await,
            },
            received = receive(&mut link.connection) => link.handle_received(received),
            connected = attempt(&mut connecting) => {
                connecting = None;
                link.handle_attempt(connected);
            }
            Some(fact) = channels.facts.recv() => link.handle_fact(fact),
            Some(fact) = channels.sound_facts.recv() => {
                if let Some(datagram) = link.handle_sound_fact(fact) {
                    link.send_datagram(datagram);
                }
            }
            room = channels.updates.reserve(), if link.pending.is_some() => {
                if let (Ok(room), Some(update)) = (room, link.pending.take()) {
                    room.send(Show { connection: link.connection_number, update });
                    link.next_update();
                }
            }
            Some(news) = print_news(&mut link.printing) => {
                if let Some(printing) = &mut link.printing {
                    printing.handle_news(news);
                }
            }
            () = wake_up(wake) => link.handle_timeout(),
        }
    }
}

async fn receive(connection: &mut Option<ViewerConnection>) -> Received {
    match connection {
        Some(connection) => connection.recv().await,
        None => pending().await,
    }
}

async fn attempt(connecting: &mut Option<Connecting>) -> Result<ViewerConnection, ConnectError> {
    match connecting {
        Some(connecting) => connecting.await,
        None => pending().await,
    }
}

async fn print_news(printing: &mut Option<Printing>) -> Option<PrintNews> {
    match printing {
        Some(printing) => printing.news().await,
        None => pending().await,
    }
}

async fn wake_up(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at.into()).await,
        None => pending().await,
    }
}

/// A session that wants nothing, before the user has said where to.
fn idle_session() -> ClientSession {
    let mut session = ClientSession::new();
    session.poll_deed();
    session
}

impl Link {
    /// A link that leads nowhere yet.
    fn new(
        ui: UiSender,
        checks: mpsc::Sender<Check>,
        sound: Option<mpsc::Sender<SoundCommand>>,
        introduction: Introduction,
        stats_file: Option<StatsFile>,
        printing: Option<Printing>,
    ) -> Self {
        Self {
            started: Instant::now(),
            ui,
            introduction,
            viewport: Size::new(1, 1),
            scale_percent: 100,
            visible: true,
            connector: None,
            session: idle_session(),
            told: None,
            connection: None,
            connection_number: ConnectionNumber::default(),
            assembler: Assembler::new(),
            pending: None,
            checks,
            marks: None,
            early_marks: None,
            first_shown: false,
            complete: None,
            small_unshown: 0,
            cursors: HashMap::new(),
            cursor: None,
            input: Input::new(),
            input_at: Instant::now(),
            meter: Meter::default(),
            talk: Talk::new(sound.is_some()),
            told_talk: TalkState::default(),
            told_twice: false,
            sound,
            sound_numbers: None,
            watched: false,
            numbers_at: stats_file.is_some().then(Instant::now),
            stats_file,
            printing,
            prints: false,
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn handle_command(&mut self, command: Command) {
        match command {
            Command::Connect(trial) => match Connector::new(&trial) {
                Ok(connector) => {
                    if let Some(printing) = &mut self.printing {
                        printing.handle_target(&trial.host_id, &trial.session);
                    }
                    self.connector = Some(connector);
                    self.session = ClientSession::new();
                    self.told = None;
                }
                Err(error) => {
                    tracing::error!(%error, "The file's keys do not fit together");
                    self.lose(Lost::DeviceRefused);
                }
            },
            Command::Retry => {
                let now = self.now();
                self.session.handle_retry(now);
            }
            Command::Disconnect => {}
            Command::Input(input) => {
                self.handle_use();
                self.handle_input(input);
            }
            Command::Viewport { size, scale_percent } => {
                (self.viewport, self.scale_percent) = (size, scale_percent);
                self.send(&ViewerMessage::Viewport(size));
            }
            Command::Visible(visible) => {
                self.visible = visible;
                self.send(&ViewerMessage::Visible(visible));
            }
            Command::Watch(watched) => {
                self.watched = watched;
                if watched {
                    self.give_numbers();
                }
                self.handle_use();
            }
            Command::Refresh => self.send(&ViewerMessage::Refresh),
            Command::Mute(muted) => self.talk.handle_mute(muted),
            Command::Microphone(on) => self.talk.handle_microphone(on),
            Command::Print(command) => {
                if let Some(printing) = &mut self.printing {
                    printing.handle_command(command);
                }
            }
        }
    }

    /// Somebody is there: printers that were plugged in are worth finding.
    fn handle_use(&self) {
        if let Some(printing) = &self.printing {
            printing.handle_use();
        }
    }

    fn handle_input(&mut self, input: UserInput) {
        if self.connection.is_none() {
            return;
        }
        let taken = match input {
            UserInput::Key { usage, down } => self.input.handle_key(usage, down),
            UserInput::Button { button, pressed } => self.input.handle_button(button, pressed),
            UserInput::Motion(position) => {
                self.input.handle_motion(position);
                true
            }
            UserInput::Wheel { dx, dy } => {
                self.input.handle_wheel(dx, dy);
                true
            }
            UserInput::FocusLost => {
                self.input.handle_focus_lost();
                true
            }
            UserInput::Locks(locks) => {
                self.input.handle_locks(locks);
                true
            }
        };
        if !taken {
            tracing::warn!("Input was dropped: the link has stood still for long");
        }
    }

    fn handle_attempt(&mut self, connected: Result<ViewerConnection, ConnectError>) {
        match connected {
            Ok(connection) => {
                let now = self.now();
                self.session.handle_connected(now);
                self.connection = Some(connection);
                self.connection_number = self.connection_number.next();
                self.assembler = Assembler::new();
                self.pending = None;
                (self.marks, self.early_marks) = (None, None);
                self.first_shown = false;
                (self.complete, self.small_unshown) = (None, 0);
                self.cursors.clear();
                self.input.handle_connected();
                self.meter = Meter::begun(Instant::now());
                self.talk.handle_connected();
                self.sound_numbers = None;
                self.tell_sound(SoundCommand::Reset);
                self.told_twice = false;
                let i = &self.introduction;
                let hello = ViewerMessage::Hello(Hello {
                    version: VERSION,
                    capabilities: self.offered_capabilities(),
                    viewport: self.viewport,
                    scale_percent: self.scale_percent,
                    layout: i.layout.clone(),
                    variant: i.variant.clone(),
                    locale: i.locale.clone(),
                });
                self.send(&hello);
                if !self.visible {
                    self.send(&ViewerMessage::Visible(false));
                }
            }
            Err(error) => {
                tracing::info!(%error, "No connection");
                self.lose(lost_from_error(&error));
            }
        }
    }

    fn handle_received(&mut self, received: Received) {
        let done = match received {
            Received::Control(body) => HostMessage::decode(&body).map(|m| self.handle_message(m)),
            Received::Frame(bytes) => match self.assembler.handle_frame(bytes) {
                Ok(()) => {
                    let now = self.now();
                    self.session.handle_frame(now);
                    self.next_update();
                    Ok(())
                }
                Err(error) => {
                    tracing::error!(%error, "Frame refused");
                    return self.give_up();
                }
            },
            Received::Document { job, offset } => {
                let wanted =
                    self.printing.as_mut().filter(|_| self.prints).is_some_and(|p| p.handle_document(job, offset));
                self.want_document(wanted);
                Ok(())
            }
            Received::DocumentBytes(bytes) => {
                let wanted = self.printing.as_mut().is_some_and(|printing| printing.handle_bytes(&bytes));
                self.want_document(wanted);
                Ok(())
            }
            Received::Cursor(bytes) => CursorShape::decode(&bytes).map(|shape| self.handle_cursor(shape)),
            Received::Datagram(datagram) => {
                if self.talk.may_hear() {
                    self.tell_sound(SoundCommand::Packet(datagram, Instant::now()));
                }
                Ok(())
            }
            Received::Closed(reason) => {
                tracing::info!(%reason, "Connection lost");
                return self.lose(lost_from_reason(&reason));
            }
        };
        if let Err(error) = done {
            self.handle_wire_error(&error);
        }
    }

    fn handle_message(&mut self, message: HostMessage) {
        match message {
            HostMessage::Welcome(welcome)
                if welcome.version != VERSION || welcome.capabilities & !self.offered_capabilities() != 0 =>
            {
                tracing::error!(?welcome, "The host chose what was not offered");
                self.give_up();
            }
            HostMessage::Welcome(welcome) => {
                self.talk.handle_welcome(welcome.capabilities);
                self.prints = welcome.capabilities & CAPABILITY_PRINTING != 0;
                if let Some(printing) = &mut self.printing {
                    printing.handle_welcome(self.prints);
                }
                self.ui.tell(UiEvent::Welcome(welcome.session));
            }
            HostMessage::Progress(step) => self.ui.tell(UiEvent::Progress(step)),
            HostMessage::Cursor(0) => {
                self.cursor = None;
                self.ui.tell(UiEvent::Cursor(None));
            }
            HostMessage::Cursor(id) => {
                self.cursor = Some(id);
                if let Some(shape) = self.cursors.get(&id) {
                    self.ui.tell(UiEvent::Cursor(Some(Arc::clone(shape))));
                }
            }
            HostMessage::Print(word) if self.prints => {
                if let Some(printing) = &mut self.printing {
                    printing.handle_word(word);
                }
            }
            HostMessage::Print(word) => {
                tracing::error!(?word, "The host prints, which was not agreed on");
                self.give_up();
            }
            HostMessage::Marks(marks) => self.check(marks),
            HostMessage::Locks(locks) => tracing::debug!(?locks, "The session's lock keys"),
            HostMessage::Listening(listening) => self.talk.handle_wanted(listening),
        }
    }

    /// Has the screen thread sum up the tiles of the host's marks, once it shows what they are about.
    fn check(&mut self, marks: TileMarks) {
        if self.assembler.is_early(&marks, self.pending.as_ref()) {
            self.early_marks = Some(marks);
            return;
        }
        // About another picture than the one of now: the host will ask again. So it does if the channel is full, which only
        // the answer to an earlier connection can be the cause of.
        let Some(grid) = self.assembler.marked_tiles(&marks) else { return };
        let connection = self.connection_number;
        let check = Check { connection, grid, first: marks.first, count: marks.marks.len() as u32 };
        if self.checks.try_send(check).is_ok() {
            self.marks = Some(marks);
        }
    }

    fn offered_capabilities(&self) -> u32 {
        self.talk.offered() | if self.printing.is_some() { CAPABILITY_PRINTING } else { 0 }
    }

    /// Lets a document's stream go that nobody wants.
    fn want_document(&mut self, wanted: bool) {
        if let (false, Some(connection)) = (wanted, &mut self.connection) {
            connection.refuse_document();
        }
    }

    /// Does what printing has to do, and tells host and ui of it.
    fn print(&mut self) {
        while let Some(wish) = self.printing.as_mut().and_then(Printing::poll_wish) {
            self.send(&ViewerMessage::Print(wish));
        }
        if let Some(view) = self.printing.as_mut().and_then(Printing::poll_view) {
            self.ui.tell(UiEvent::Printing(view));
        }
    }

    fn handle_cursor(&mut self, shape: CursorShape) {
        let shape = Arc::new(shape);
        if self.cursor == Some(shape.id) {
            self.ui.tell(UiEvent::Cursor(Some(Arc::clone(&shape))));
        }
        self.cursors.insert(shape.id, shape);
    }

    fn handle_wire_error(&mut self, error: &WireError) {
        tracing::error!(%error, "Message refused");
        self.give_up();
    }

    /// The host sent what cannot be taken.
    fn give_up(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.close(CloseCode::Protocol);
        }
        self.lose(Lost::Broken);
    }

    fn handle_fact(&mut self, fact: Fact) {
        match fact {
            Fact::Shown { connection, .. } | Fact::Marks { connection, .. } if connection != self.connection_number => {
            }
            Fact::Shown { complete, input, bytes, presented, decode, .. } => {
                // A small frame that came late may complete large ones, of which the host must hear.
                let is_next = Some(complete) == self.complete.replace(complete).map(|last| last + 1);
                let is_small = is_next && bytes <= SMALL_FRAME_BYTES;
                if is_small && self.small_unshown < SMALL_FRAMES_UNSHOWN_MAX {
                    self.small_unshown += 1;
                } else {
                    self.say_shown(complete);
                }
                if let Some(marks) = self.early_marks.take() {
                    self.check(marks);
                }
                self.meter.handle_shown(input, presented, decode);
                if presented && !self.first_shown {
                    self.first_shown = true;
                    self.ui.tell(UiEvent::FirstPicture);
                }
            }
            Fact::Marks { marks: found, .. } => {
                let Some(marks) = self.marks.take() else { return };
                let wrong = self.assembler.handle_marks(&marks, &found);
                if !wrong.is_empty() {
                    tracing::error!(?wrong, "Tiles are not what the host says; it sends them again");
                }
                self.meter.defects += wrong.len() as u64;
                let (sequence, first) = (marks.sequence, marks.first);
                self.send(&ViewerMessage::Agreement(Agreement { sequence, first, wrong }));
            }
            Fact::Renderer(renderer) => {
                if let Some(file) = &mut self.stats_file {
                    file.handle_renderer(renderer);
                }
            }
            Fact::Lost => self.send(&ViewerMessage::Refresh),
        }
    }

    /// Takes what the sound thread says, and returns what of it is to go to the host: this is the last door.
    fn handle_sound_fact(&mut self, fact: SoundFact) -> Option<Bytes> {
        match fact {
            SoundFact::Packet(datagram) => return self.talk.may_talk().then_some(datagram),
            SoundFact::Lossy(lossy) => self.talk.handle_lossy(lossy),
            SoundFact::Numbers(numbers) => self.sound_numbers = Some(numbers),
        }
        None
    }

    fn send_datagram(&mut self, datagram: Bytes) {
        if let Some(connection) = &mut self.connection {
            connection.send_datagram(datagram);
        }
    }

    /// Says what has changed in who may hear and talk: to the host, to the user, to the sound thread.
    fn tell_talk(&mut self) {
        while self.connection.is_some()
            && let Some(message) = self.talk.poll_message()
        {
            self.send(&message);
        }
        let twice = self.talk.talks_twice(self.now());
        if twice != self.told_twice {
            self.told_twice = twice;
            self.tell_sound(SoundCommand::Twice(twice));
        }
        let state = self.talk.state();
        if state == self.told_talk {
            return;
        }
        if state.microphone != self.told_talk.microphone {
            self.tell_sound(SoundCommand::Microphone(state.microphone));
        }
        self.told_talk = state;
        self.ui.tell(UiEvent::Talk(state));
    }

    /// The sound thread takes what comes; what it has no room for is late already.
    fn tell_sound(&self, command: SoundCommand) {
        if let Some(sound) = &self.sound
            && sound.try_send(command).is_err()
        {
            tracing::debug!("The sound thread takes nothing");
        }
    }

    fn handle_timeout(&mut self) {
        let now = self.now();
        self.session.handle_timeout(now);
        if self.input_at.elapsed() >= HELD_ALIVE {
            self.input.handle_silence();
        }
        if let Some(printing) = &mut self.printing {
            printing.handle_timeout();
        }
        if self.numbers_at.is_some_and(|at| at <= Instant::now()) {
            self.give_numbers();
        }
    }

    /// Takes the next frame out of the assembler, if the last one is on its way to the screen.
    fn next_update(&mut self) {
        if self.pending.is_some() {
            return;
        }
        match self.assembler.poll_update() {
            Ok(update) => {
                if let Some(size) = update.as_ref().and_then(|u| u.plan.key) {
                    self.ui.tell(UiEvent::Picture(size));
                }
                self.meter.frames_taken += u64::from(update.is_some());
                self.pending = update;
            }
            Err(error) => {
                tracing::error!(%error, "Frame refused");
                self.give_up();
            }
        }
    }

    fn send_input(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        let mut messages = Vec::new();
        while let Some(message) = self.input.poll_event() {
            self.meter.handle_sent(message);
            messages.push(message);
        }
        if messages.is_empty() {
            return;
        }
        self.input_at = Instant::now();
        if let Err(error) = connection.send_input(&messages) {
            // The outbox holds seconds of input: nobody reads at the other end. A new connection starts clean.
            tracing::warn!(%error, "Input cannot be sent");
            return self.lose(Lost::Unreachable);
        }
        // What was left out until now costs no packet here.
        if self.small_unshown > 0
            && let Some(complete) = self.complete
        {
            self.say_shown(complete);
        }
    }

    /// Tells the host that all frames up to this one are shown.
    fn say_shown(&mut self, complete: u32) {
        self.small_unshown = 0;
        self.send(&ViewerMessage::FrameShown(complete));
    }

    fn send(&mut self, message: &ViewerMessage) {
        let Some(connection) = &mut self.connection else { return };
        if let Err(error) = connection.send_control(message) {
            tracing::warn!(%error, "Control message cannot be sent");
            self.lose(Lost::Unreachable);
        }
    }

    /// Says again what the host knows: it has to acknowledge that.
    fn ask(&mut self) {
        self.send(&ViewerMessage::Visible(self.visible));
        self.count_packets();
    }

    fn rebind(&mut self) {
        if let Some(connection) = &self.connection
            && let Err(error) = connection.rebind()
        {
            tracing::info!(%error, "No other socket");
        }
    }

    fn lose(&mut self, reason: Lost) {
        self.stop_printing(matches!(reason, Lost::DeviceRefused | Lost::Closed(CloseCode::UnknownDevice)));
        self.connection = None;
        self.pending = None;
        let now = self.now();
        self.session.handle_lost(reason, now);
        match self.session.state() {
            // The session is over, or somebody else's: the next one begins with a click.
            LinkState::Ended(_) => self.talk.handle_left(),
            _ => self.talk.handle_connected(),
        }
    }

    /// The connection is gone; `refused`: the host no longer wants this device.
    fn stop_printing(&mut self, refused: bool) {
        self.prints = false;
        if let Some(printing) = &mut self.printing {
            printing.handle_lost(refused);
        }
    }

    async fn disconnect(&mut self) {
        self.stop_printing(false);
        self.connector = None;
        self.talk.handle_left();
        self.session = idle_session();
        self.told = Some(self.session.state());
        if let Some(mut connection) = self.connection.take() {
            connection.close(CloseCode::Bye);
            let _ = tokio::time::timeout(Duration::from_millis(300), connection.drained()).await;
        }
    }

    fn count_packets(&mut self) {
        let Some(connection) = &self.connection else { return };
        let stats = connection.stats();
        let now = self.now();
        self.talk.handle_lost(stats.packets_lost, now);
        self.session.handle_packets(stats.asked, stats.packets_received, now);
        if matches!(self.session.state(), LinkState::Reconnecting { .. }) {
            self.drop_connection();
        }
    }

    /// Another one is about to be made.
    fn drop_connection(&mut self) {
        if self.connection.take().is_some() {
            self.stop_printing(false);
            self.pending = None;
        }
    }

    fn wake_at(&self) -> Option<Instant> {
        let session = self.session.poll_timeout().map(|t| self.started + t);
        let held = (self.connection.is_some() && self.input.is_holding()).then(|| self.input_at + HELD_ALIVE);
        let print = self.printing.as_ref().and_then(Printing::wake_at);
        session.into_iter().chain(self.numbers_at).chain(held).chain(print).min()
    }

    fn tell_state(&mut self) {
        let state = self.session.state();
        if self.connector.is_some() && self.told != Some(state) {
            self.told = Some(state);
            self.ui.tell(UiEvent::Link(state));
        }
    }

    /// Gives the numbers to whoever wants them, and comes back in a second if anybody does.
    fn give_numbers(&mut self) {
        let mut numbers = self.meter.numbers();
        numbers.exact &= self.assembler.is_exact();
        numbers.agreed = numbers.exact && self.assembler.is_agreed();
        numbers.defects = self.meter.defects;
        numbers.sound = self.sound_numbers;
        if let Some(connection) = &self.connection {
            let stats = connection.stats();
            numbers.bytes_per_second = stats.bytes_received - self.meter.bytes_before;
            self.meter.bytes_before = stats.bytes_received;
            numbers.round_trip = stats.rtt;
            numbers.bytes_received = stats.bytes_received;
            numbers.bytes_sent = stats.bytes_sent;
            numbers.packets_lost = stats.packets_lost;
        }
        if let Some(file) = &mut self.stats_file {
            file.write(&numbers, self.session.state());
        }
        if self.watched {
            self.ui.tell(UiEvent::Numbers(Box::new(numbers)));
        }
        self.numbers_at = (self.watched || self.stats_file.is_some()).then(|| Instant::now() + NUMBERS_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::format::FrameHeader;
    use crate::geom::Point;
    use crate::io::ipp::client::LocalPrinter;
    use crate::io::net::identity::{DeviceKey, HostIdentity};
    use crate::io::net::trial::{TRIAL_LIFE, Trial};
    use crate::proto::wire::print::{JobId, JobOffer, JobOptions, PrintWord, PrinterKey};
    use crate::proto::wire::{Progress, Welcome};
    use crate::viewer::event::UiWaiting;
    use crate::viewer::print::PrintSettings;
    use std::path::Path;
    use std::time::SystemTime;

    fn link(ui: UiSender) -> Link {
        let introduction = Introduction { layout: String::new(), variant: String::new(), locale: String::new() };
        Link::new(ui, mpsc::channel(1).0, Some(mpsc::channel(1).0), introduction, None, None)
    }

    #[test]
    fn what_the_screen_says_of_an_earlier_connection_counts_no_more() {
        let waiting = UiWaiting::default();
        let mut link = link(UiSender::new(waiting.clone(), || {}));
        let earlier = link.connection_number;
        link.connection_number = earlier.next();
        let shown = |connection| Fact::Shown {
            connection,
            complete: 5_000,
            input: 1,
            bytes: 100_000,
            presented: true,
            decode: None,
        };
        let marks = TileMarks { sequence: 1, first: 0, marks: vec![7] };
        link.marks = Some(marks);
        link.handle_fact(shown(earlier));
        link.handle_fact(Fact::Marks { connection: earlier, marks: vec![9] });
        assert_eq!((link.complete, link.first_shown, link.meter.defects), (None, false, 0));
        assert!(link.marks.is_some(), "the answer to this connection's question is still to come");
        assert!(waiting.take().is_empty());
        link.handle_fact(shown(link.connection_number));
        assert_eq!((link.complete, link.first_shown), (Some(5_000), true));
    }

    #[test]
    fn no_packet_of_the_microphone_leaves_before_the_click_nor_after_the_next() {
        let mut link = link(UiSender::new(UiWaiting::default(), || {}));
        let packet = Bytes::from_static(&[2, 0, 1, 0, 0, 0, 0, 0, 0xf8, 1]);
        let leaves =
            |link: &mut Link| link.handle_sound_fact(SoundFact::Packet(packet.clone())) == Some(packet.clone());
        let granted = |link: &mut Link, capabilities| {
            let welcome = Welcome { version: VERSION, capabilities, session: "desk".into() };
            link.handle_message(HostMessage::Welcome(welcome));
        };
        let all = link.talk.offered();
        assert!(!leaves(&mut link), "nobody is there");
        granted(&mut link, all);
        for listening in [true, false, true] {
            link.handle_message(HostMessage::Listening(listening));
            assert!(!leaves(&mut link), "nobody has clicked, whatever a host says");
        }
        link.handle_command(Command::Microphone(true));
        assert!(leaves(&mut link));
        link.handle_command(Command::Microphone(false));
        assert!(!leaves(&mut link), "it is off again");
        link.handle_command(Command::Microphone(true));
        granted(&mut link, 0);
        assert!(!leaves(&mut link), "the host takes it no more");
        granted(&mut link, all);
        assert!(!leaves(&mut link), "which wants another click");
    }

    #[test]
    fn the_sound_thread_hears_of_loss_on_the_way_to_the_host_and_of_its_end() {
        let introduction = Introduction { layout: String::new(), variant: String::new(), locale: String::new() };
        let (sound, mut told) = mpsc::channel(4);
        let ui = UiSender::new(UiWaiting::default(), || {});
        let mut link = Link::new(ui, mpsc::channel(1).0, Some(sound), introduction, None, None);
        let mut told = |link: &mut Link| {
            link.tell_talk();
            std::iter::from_fn(|| told.try_recv().ok()).map(|c| format!("{c:?}")).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(told(&mut link), "");
        link.talk.handle_lost(1, link.now());
        assert_eq!(told(&mut link), "Twice(true)");
        assert_eq!(told(&mut link), "");
        link.talk.handle_connected();
        assert_eq!(told(&mut link), "Twice(false)");
    }

    /// A link that prints, welcomed by this session of a new host, with a job that is coming.
    fn printing_link(state: &Path, session: &str) -> Link {
        let settings = PrintSettings { sources: Vec::new(), state: Some(state.to_owned()) };
        let printing = Printing::start(&settings, &[]).expect("a journal");
        let introduction = Introduction { layout: String::new(), variant: String::new(), locale: String::new() };
        let ui = UiSender::new(UiWaiting::default(), || {});
        let mut link = Link::new(ui, mpsc::channel(1).0, None, introduction, None, Some(printing));
        link.handle_command(Command::Connect(Box::new(trial(session))));
        let capabilities = CAPABILITY_PRINTING;
        link.handle_message(HostMessage::Welcome(Welcome { version: VERSION, capabilities, session: session.into() }));
        let printer = LocalPrinter::at(PrinterKey([1; 16]), ([127, 0, 0, 1], 9).into()).printer;
        let offer = JobOffer {
            job: JobId([2; 16]),
            printer: printer.key,
            size: 1_000,
            sha256: [0; 32],
            title: "letter".into(),
            options: JobOptions::default(),
        };
        link.printing.as_mut().expect("it prints").handle_news(PrintNews::Printers(vec![printer]));
        link.handle_message(HostMessage::Print(PrintWord::Offer(offer)));
        assert_eq!(jobs(&mut link), 1);
        link
    }

    fn trial(session: &str) -> Trial {
        let dir = tempfile::tempdir().expect("a directory");
        let identity = HostIdentity::load_or_create(dir.path(), SystemTime::now()).expect("an identity");
        let key = DeviceKey::generate().expect("a key");
        let certificate = identity.certify_device(&key, session, SystemTime::now(), TRIAL_LIFE).expect("a certificate");
        Trial::new(vec!["127.0.0.1:9".into()], identity.host_id(), session, identity.ca_pem(), certificate, &key)
    }

    /// How many jobs the panel shows.
    fn jobs(link: &mut Link) -> usize {
        link.printing.as_mut().and_then(Printing::poll_view).expect("something new").jobs.len()
    }

    #[test]
    fn what_came_of_a_document_is_gone_with_the_host_that_refuses_the_device_and_not_with_a_line() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut link = printing_link(dir.path(), "desk");
        link.lose(Lost::Unreachable);
        assert_eq!(jobs(&mut link), 1);
        link.lose(Lost::DeviceRefused);
        assert_eq!(jobs(&mut link), 0);
    }

    #[test]
    fn what_came_of_a_document_is_gone_when_another_session_is_connected_to() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut link = printing_link(dir.path(), "desk");
        link.handle_command(Command::Connect(Box::new(trial("desk"))));
        assert_eq!(jobs(&mut link), 0, "another host may call its session the same");
    }

    #[test]
    fn what_cannot_be_read_ends_the_link_as_broken() {
        let header = FrameHeader {
            sequence: 1,
            depends_on: 0,
            input: 0,
            key: Some(Size::new(64, 64)),
            more: false,
            lossy: false,
        };
        let mut frame = Vec::new();
        header.write(&mut frame);
        frame.extend([0xff; 9]);
        let garbage = Bytes::from_static(&[0xff; 9]);
        let bad = [
            Received::Frame(frame.into()),
            Received::Frame(garbage.clone()),
            Received::Control(garbage.clone()),
            Received::Cursor(garbage),
        ];
        for received in bad {
            let mut link = link(UiSender::new(UiWaiting::default(), || {}));
            let what = format!("{received:?}");
            link.handle_received(received);
            assert_eq!(link.session.state(), LinkState::Ended(Lost::Broken), "{what}");
        }
    }

    #[test]
    fn a_host_that_repeats_itself_leaves_one_event_of_each_kind_to_a_ui_that_is_busy() {
        let waiting = UiWaiting::default();
        let mut link = link(UiSender::new(waiting.clone(), || {}));
        for id in 1..=2 {
            let shape = CursorShape { id, size: Size::new(1, 1), hot: Point::default(), pixels: vec![id] };
            link.handle_cursor(shape);
        }
        for i in 0..100_000u32 {
            link.handle_message(HostMessage::Cursor(1 + i % 2));
            link.handle_message(HostMessage::Progress(Progress::ResumingDesktop));
            let capabilities = if i % 2 == 0 { link.talk.offered() } else { 0 };
            let welcome = Welcome { version: VERSION, capabilities, session: format!("session {i}") };
            link.handle_message(HostMessage::Welcome(welcome));
            link.tell_talk();
        }
        let events = waiting.take();
        let mut kinds = [0; 4];
        for event in &events {
            match event {
                UiEvent::Cursor(Some(shape)) if shape.id == 2 => kinds[0] += 1,
                UiEvent::Progress(_) => kinds[1] += 1,
                UiEvent::Welcome(session) if session == "session 99999" => kinds[2] += 1,
                UiEvent::Talk(_) => kinds[3] += 1,
                other => panic!("{other:?} is not the newest"),
            }
        }
        assert_eq!(kinds, [1; 4]);
    }
}
