//! One desktop as the front sees it: its session process, and the one viewer that sees it.
//!
//! One task joins the two, so that a key press passes from QUIC to the session without a queue between. Either side
//! may go and come back while the other stays.

use crate::codec::bytes::put_varint;
use crate::host::front::door::Guest;
use crate::host::front::process::{Link, LinkError, LinkEvent, ReachError, reach};
use crate::host::front::sound::SoundSide;
use crate::host::front::viewer::{Viewer, ViewerEvent};
use crate::host::place::SessionPlace;
use crate::host::policy::Policy;
use crate::io::net::devices::DeviceList;
use crate::limits::PATH_INTERVAL;
use crate::proto::wire::print::PrintWish;
use crate::proto::wire::{CloseCode, HostMessage, PathState, Progress, Relay, ViewerMessage, single_message};
use bytes::Bytes;
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};
use tokio::process::Child;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, error, info, warn};

/// A session process that dies this often in a row is left alone until a viewer comes.
const DEATHS_MAX: u32 = 5;
/// Pause before a second start; doubled with each further one.
const RESTART_PAUSE: Duration = Duration::from_millis(100);
/// A session process that lived this long has not died "in a row".
const STEADY: Duration = Duration::from_secs(10);
/// A path report is worth sending when a number moved by more than one part in this many.
const PATH_CHANGE: u32 = 8;
/// Queued bytes under this are as good as none.
const QUEUE_NOISE: u32 = 4 << 10;

/// What a desktop is told by the rest of the front.
pub(super) enum Command {
    /// A viewer for it.
    Attach(Box<Guest>),
    /// The list of devices has changed.
    Recheck,
}

type Reaching = Pin<Box<dyn Future<Output = Result<Link, ReachError>> + Send>>;

/// Where the session process is.
enum Session {
    /// Not wanted: the desktop ended, or it could not be started. The next viewer starts it.
    Off,
    Reaching(Reaching),
    Up(Box<Link>),
}

/// A desktop.
pub(super) struct Desktop {
    name: String,
    place: SessionPlace,
    attach: Option<String>,
    policy: Policy,
    devices: Arc<DeviceList>,
    commands: mpsc::Receiver<Command>,
    session: Session,
    sound: SoundSide,
    viewer: Option<Box<Viewer>>,
    deaths: u32,
    /// The session said that its desktop is over, so its end is no accident.
    ended: bool,
    /// When the session is to hear about the path; only while something flows.
    path_due: Option<Instant>,
    path_told: Option<(PathState, Instant)>,
    /// When the time of the viewer's device is over.
    leaves_at: Option<Instant>,
    /// Introductions that the session has not answered: until then what it says is for a viewer before.
    unanswered: u32,
}

/// What happened to a desktop.
enum Event {
    Command(Option<Command>),
    Viewer(ViewerEvent),
    Reached(Result<Box<Link>, ReachError>),
    Session(LinkEvent),
    Sound(Relay),
    Datagram(Bytes),
    PathDue,
    TimeOver,
}

impl Desktop {
    /// Begins by looking for the session process, and starts it if there is none.
    pub(super) fn new(
        name: &str,
        place: SessionPlace,
        attach: Option<&str>,
        policy: Policy,
        devices: Arc<DeviceList>,
        commands: mpsc::Receiver<Command>,
    ) -> Desktop {
        let attach = attach.map(str::to_owned);
        let session = Session::Reaching(Box::pin(reach(place.clone(), name.to_owned(), attach.clone(), policy, None)));
        Desktop {
            name: name.to_owned(),
            sound: SoundSide::new(&place),
            place,
            attach,
            policy,
            devices,
            commands,
            session,
            viewer: None,
            deaths: 0,
            ended: false,
            path_due: None,
            path_told: None,
            leaves_at: None,
            unanswered: 0,
        }
    }

    /// Runs until the front ends.
    pub(super) async fn run(mut self) {
        loop {
            match self.next().await {
                Event::Command(Some(Command::Attach(guest))) => self.handle_guest(*guest),
                Event::Command(Some(Command::Recheck)) => self.recheck(),
                Event::Command(None) => return,
                Event::Viewer(event) => self.handle_viewer(event),
                Event::Reached(Ok(link)) => self.handle_link(link),
                Event::Reached(Err(ReachError::Over)) => self.handle_end(),
                Event::Reached(Err(error)) => {
                    warn!(session = self.name, %error, source = std::error::Error::source(&error), "No session process");
                    self.handle_death(None);
                }
                Event::Session(LinkEvent::Message(message)) => self.handle_relay(message),
                Event::Session(LinkEvent::Gone(error)) => self.handle_link_loss(&error),
                Event::Sound(message) => self.handle_sound(message),
                Event::Datagram(datagram) => self.sound.handle_datagram(datagram),
                Event::PathDue => self.tell_path(),
                Event::TimeOver => self.recheck(),
            }
        }
    }

    async fn next(&mut self) -> Event {
        let (path_due, leaves_at) = (self.path_due, self.leaves_at);
        let until = async |at: Option<Instant>| match at {
            Some(at) => sleep_until(at).await,
            None => pending().await,
        };
        tokio::select! {
            biased;
            event = poll_fn(|cx| self.poll(cx)) => event,
            () = until(path_due) => Event::PathDue,
            () = until(leaves_at) => Event::TimeOver,
        }
    }

    /// The viewer first: what it sends is what somebody waits for.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if let Poll::Ready(command) = self.commands.poll_recv(cx) {
            return Poll::Ready(Event::Command(command));
        }
        if let Some(viewer) = &mut self.viewer {
            // Without a session process nothing is heard: the viewer's words wait in QUIC, bounded by its windows.
            let hear = matches!(&self.session, Session::Up(link) if link.has_room());
            if let Poll::Ready(event) = viewer.poll(cx, hear) {
                return Poll::Ready(Event::Viewer(event));
            }
        }
        if let Poll::Ready(message) = self.sound.poll(cx) {
            return Poll::Ready(Event::Sound(message));
        }
        let session = match &mut self.session {
            Session::Off => Poll::Pending,
            Session::Reaching(reaching) => {
                reaching.as_mut().poll(cx).map(|reached| Event::Reached(reached.map(Box::new)))
            }
            Session::Up(link) => {
                let hear = self.viewer.as_ref().is_none_or(|viewer| viewer.has_room());
                link.poll(cx, hear).map(Event::Session)
            }
        };
        if session.is_ready() {
            return session;
        }
        // Last, so that a flood of datagrams starves nobody but itself.
        match &mut self.viewer {
            Some(viewer) => viewer.poll_datagram(cx).map(Event::Datagram),
            None => Poll::Pending,
        }
    }

    fn handle_sound(&mut self, message: Relay) {
        let Some(viewer) = &mut self.viewer else { return };
        match message {
            Relay::Sound(datagram) => viewer.send_datagram(datagram),
            Relay::SoundControl(framed) => {
                if let Err(error) = viewer.send_control(&framed) {
                    warn!(session = self.name, %error, "Viewer does not take control messages");
                    self.close_viewer(CloseCode::Timeout as u32);
                }
            }
            other => debug!(session = self.name, ?other, "The sound process says what only others say"),
        }
    }

    fn handle_guest(&mut self, guest: Guest) {
        if let Some(before) = self.viewer.take() {
            info!(session = self.name, device = before.device.id, "Another viewer takes over");
            before.close(CloseCode::TakenOver as u32);
            self.tell_session(&Relay::Detached);
        }
        self.viewer = Some(Box::new(Viewer::new(guest)));
        self.sound.handle_viewer();
        self.path_told = None;
        match self.session {
            Session::Up(_) => self.introduce_viewer(),
            Session::Reaching(_) => {}
            Session::Off => {
                (self.deaths, self.ended) = (0, false);
                self.session = self.reach_after(Duration::ZERO, None);
            }
        }
        // The list may have changed between the handshake and now.
        self.recheck();
    }

    fn handle_viewer(&mut self, event: ViewerEvent) {
        match event {
            ViewerEvent::Input(message) => {
                if let Some(viewer) = &mut self.viewer {
                    viewer.inputs += 1;
                }
                self.tell_session(&Relay::Input(framed(&message)));
            }
            ViewerEvent::Control(message) if !self.policy.printing && is_print(&message) => {
                // Nothing of it reaches the session: whoever speaks of printers here is not one of our viewers.
                warn!(session = self.name, "Viewer offers printers, which this host denies");
                self.close_viewer(CloseCode::Protocol as u32);
            }
            ViewerEvent::Control(message)
                if ViewerMessage::decode(&message).is_ok_and(|message| self.sound.handle_message(&message)) => {}
            ViewerEvent::Control(message) => {
                if let Some(viewer) = &mut self.viewer {
                    viewer.remember(&message);
                }
                self.tell_session(&Relay::Control(framed(&message)));
                // It may have said that a frame is on the screen: the path has news.
                self.path_moved();
            }
            ViewerEvent::Gone(reason) => {
                info!(session = self.name, %reason, "Viewer gone");
                self.drop_viewer();
            }
            ViewerEvent::Violation(what) => {
                warn!(session = self.name, what, "Viewer broke the protocol");
                self.close_viewer(CloseCode::Protocol as u32);
            }
        }
    }

    fn handle_relay(&mut self, message: Relay) {
        match message {
            Relay::Attached { .. } => self.unanswered = self.unanswered.saturating_sub(1),
            Relay::Close(code) if self.unanswered == 0 || is_end(code) => self.handle_close(code),
            message => self.pass_on(message),
        }
    }

    /// Gives the viewer what the session says to it.
    fn pass_on(&mut self, message: Relay) {
        let Some(viewer) = self.viewer.as_mut().filter(|_| self.unanswered == 0) else { return };
        match message {
            Relay::Control(bytes) => {
                let (bytes, granted) = granted(bytes, self.policy);
                if let Some(capabilities) = granted {
                    self.sound.handle_welcome(capabilities & self.policy.sound_capabilities());
                }
                if let Err(error) = viewer.send_control(&bytes) {
                    warn!(session = self.name, %error, "Viewer does not take control messages");
                    self.close_viewer(CloseCode::Timeout as u32);
                }
            }
            Relay::Frame(bytes) => {
                viewer.send_frame(bytes);
                self.path_moved();
            }
            Relay::Cursor(bytes) => viewer.send_cursor(bytes),
            other @ (Relay::Attached { .. } | Relay::Close(_) | Relay::Detached | Relay::Path(_) | Relay::Input(_)) => {
                debug!(session = self.name, ?other, "The session says what only the front says");
            }
            Relay::DocumentBegin(_) | Relay::Document(_) | Relay::DocumentEnd if !self.policy.printing => {
                warn!(session = self.name, "The session prints, which this host denies");
            }
            Relay::DocumentBegin(head) => viewer.begin_document(&head),
            Relay::Document(bytes) => viewer.send_document(bytes),
            Relay::DocumentEnd => viewer.end_document(),
            Relay::Status(_) => debug!(session = self.name, "An answer that nobody asked for"),
            Relay::Sound(_) | Relay::SoundControl(_) => debug!(session = self.name, "Sound from the wrong process"),
        }
    }

    fn handle_close(&mut self, code: u32) {
        info!(session = self.name, code, "The session closes");
        self.ended |= is_end(code);
        self.close_viewer(code);
    }

    fn handle_link(&mut self, link: Box<Link>) {
        info!(session = self.name, "Session process reached");
        self.session = Session::Up(link);
        self.unanswered = 0;
        self.introduce_viewer();
    }

    fn handle_link_loss(&mut self, error: &LinkError) {
        let Session::Up(link) = std::mem::replace(&mut self.session, Session::Off) else { return };
        if self.ended {
            self.handle_end();
            return;
        }
        warn!(session = self.name, %error, "Session process lost");
        if link.since.elapsed() >= STEADY {
            self.deaths = 0;
        }
        if let Some(viewer) = &mut self.viewer {
            viewer.drop_outgoing();
            // If it does not take this either, it hears so with the next message.
            let _ = viewer.tell(&HostMessage::Progress(Progress::ResumingDesktop));
        }
        self.handle_death(link.into_child());
    }

    /// The desktop is over. A viewer that came in the meantime is closed too, so that nobody waits for a start.
    fn handle_end(&mut self) {
        info!(session = self.name, "Desktop ended");
        self.session = Session::Off;
        self.close_viewer(CloseCode::Ended as u32);
        (self.ended, self.deaths) = (false, 0);
    }

    fn handle_death(&mut self, child: Option<Child>) {
        self.deaths += 1;
        if self.deaths > DEATHS_MAX {
            error!(session = self.name, deaths = self.deaths, "Session process does not stay");
            self.session = Session::Off;
            self.close_viewer(CloseCode::NoDesktop as u32);
            return;
        }
        let pause = if self.deaths == 1 { Duration::ZERO } else { RESTART_PAUSE * (1 << (self.deaths - 2)) };
        self.session = self.reach_after(pause, child);
    }

    fn reach_after(&self, pause: Duration, child: Option<Child>) -> Session {
        let (place, name, attach, policy) = (self.place.clone(), self.name.clone(), self.attach.clone(), self.policy);
        Session::Reaching(Box::pin(async move {
            if !pause.is_zero() {
                sleep(pause).await;
            }
            reach(place, name, attach, policy, child).await
        }))
    }

    /// Tells the session who is there and what it has said.
    fn introduce_viewer(&mut self) {
        let (Session::Up(link), Some(viewer)) = (&mut self.session, &mut self.viewer) else { return };
        let (frames, inputs) = (viewer.frames, viewer.inputs);
        self.unanswered += 1;
        link.send(&Relay::Attached { device: viewer.device.name.clone(), frames, inputs });
        for message in viewer.said() {
            link.send(&Relay::Control(framed(message)));
        }
        let path = viewer.path();
        link.send(&Relay::Path(path));
        self.path_told = Some((path, Instant::now()));
    }

    /// Closes the viewer's connection if its device is no longer on the list, or its time is over.
    fn recheck(&mut self) {
        let Some(viewer) = &self.viewer else { return };
        let devices = match self.devices.devices() {
            Ok(devices) => devices,
            Err(error) => {
                error!(session = self.name, %error, "The device list cannot be read: nobody stays");
                return self.close_viewer(CloseCode::UnknownDevice as u32);
            }
        };
        let entry = devices.iter().find(|device| device.key == viewer.device.key);
        match entry.map(|device| device.time_left(SystemTime::now())) {
            Some(Some(left)) => self.leaves_at = Instant::now().checked_add(left),
            found => {
                let why = if found.is_some() { "its time is over" } else { "revoked" };
                info!(session = self.name, device = viewer.device.id, why, "Device refused from now on");
                self.close_viewer(CloseCode::UnknownDevice as u32);
            }
        }
    }

    fn close_viewer(&mut self, code: u32) {
        if let Some(viewer) = &self.viewer {
            viewer.close(code);
            self.drop_viewer();
        }
    }

    fn drop_viewer(&mut self) {
        self.viewer = None;
        self.sound.handle_viewer();
        (self.path_due, self.leaves_at) = (None, None);
        self.tell_session(&Relay::Detached);
    }

    fn tell_session(&mut self, message: &Relay) {
        if let Session::Up(link) = &mut self.session {
            link.send(message);
        }
    }

    /// Something flowed, so that the session should hear about the path, but not too often.
    fn path_moved(&mut self) {
        let told = self.path_told.map_or_else(Instant::now, |(_, at)| at + PATH_INTERVAL);
        self.path_due.get_or_insert(told);
    }

    fn tell_path(&mut self) {
        self.path_due = None;
        let Some(viewer) = &mut self.viewer else { return };
        let (path, now) = (viewer.path(), Instant::now());
        if path.queued_bytes > 0 {
            self.path_due = Some(now + PATH_INTERVAL);
        }
        let told = self.path_told.map(|(told, _)| told);
        if told.is_none_or(|told| differs(told, path)) {
            self.path_told = Some((path, now));
            self.tell_session(&Relay::Path(path));
        } else if let Some((_, at)) = &mut self.path_told {
            *at = now;
        }
    }
}

/// Whether a session that closes with this code is over.
fn is_end(code: u32) -> bool {
    code == CloseCode::Ended as u32 || code == CloseCode::NoDesktop as u32
}

/// A control message of the session as the viewer is to hear it, and what a welcome grants: a session process that
/// outlived its front may still have an older policy, and a viewer that believed it would break the protocol.
fn granted(framed: Bytes, policy: Policy) -> (Bytes, Option<u32>) {
    let message = single_message(&framed).ok().and_then(|body| HostMessage::decode(body).ok());
    let Some(HostMessage::Welcome(mut welcome)) = message else { return (framed, None) };
    let capabilities = welcome.capabilities & policy.capabilities();
    if capabilities == welcome.capabilities {
        return (framed, Some(capabilities));
    }
    welcome.capabilities = capabilities;
    let mut bytes = Vec::new();
    HostMessage::Welcome(welcome).encode(&mut bytes);
    (bytes.into(), Some(capabilities))
}

/// Whether a viewer's control message is about printing.
fn is_print(message: &[u8]) -> bool {
    message.first().is_some_and(|kind| PrintWish::is_kind(*kind))
}

fn differs(told: PathState, now: PathState) -> bool {
    let moved = |a: u32, b: u32| a.abs_diff(b) > a / PATH_CHANGE;
    moved(told.rtt_us, now.rtt_us)
        || moved(told.window_bytes, now.window_bytes)
        || (told.queued_bytes.abs_diff(now.queued_bytes) > QUEUE_NOISE && moved(told.queued_bytes, now.queued_bytes))
        || (told.queued_bytes > 0 && now.queued_bytes == 0)
}

/// Puts a message's length before it, as on the stream.
fn framed(message: &Bytes) -> Bytes {
    let mut out = Vec::with_capacity(message.len() + 5);
    put_varint(&mut out, message.len() as u32);
    out.extend_from_slice(message);
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::wire::print::CAPABILITY_PRINTING;
    use crate::proto::wire::{CAPABILITY_MICROPHONE, CAPABILITY_SOUND, VERSION, Welcome};

    #[test]
    fn a_session_with_an_older_policy_grants_no_more_than_the_front() {
        let all = CAPABILITY_SOUND | CAPABILITY_MICROPHONE | CAPABILITY_PRINTING;
        let welcome = |capabilities| {
            let mut bytes = Vec::new();
            let session = "desk".to_owned();
            HostMessage::Welcome(Welcome { version: VERSION, capabilities, session }).encode(&mut bytes);
            Bytes::from(bytes)
        };
        for (denied, left) in [
            (vec![], all),
            (vec!["printing"], CAPABILITY_SOUND | CAPABILITY_MICROPHONE),
            (vec!["sound", "microphone"], CAPABILITY_PRINTING),
        ] {
            assert_eq!(granted(welcome(all), Policy::denying(denied)), (welcome(left), Some(left)));
        }
        let mut other = Vec::new();
        HostMessage::Progress(Progress::ResumingDesktop).encode(&mut other);
        assert_eq!(granted(other.clone().into(), Policy::denying(["sound"])), (other.into(), None));
    }
}
