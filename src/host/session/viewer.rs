//! One attached viewer, seen from the session: what it said, what it holds down, which pointer shapes it knows.
//!
//! The decisions are `proto`'s; here they meet for one viewer. What they lead to is the crank's business (`super`).

use crate::io::linux::screen::CursorImage;
use crate::limits::{CURSORS_MAX, HELD_TIMEOUT};
use crate::proto::input::{Held, NumberError};
use crate::proto::screen::pacer::Pacer;
use crate::proto::session::host::{HostError, HostSession, Wish};
use crate::proto::wire::{CloseCode, CursorShape, InputEvent, InputMessage, WireError, single_message};
use std::collections::HashMap;
use std::time::Duration;
use thiserror::Error;

/// Why a viewer is sent away.
#[derive(Debug, Error)]
pub enum ViewerError {
    /// Its control message breaks the protocol.
    #[error(transparent)]
    Control(#[from] HostError),
    /// Its input message is malformed.
    #[error("input message is malformed: {0}")]
    Input(#[from] WireError),
    /// Its input events are not numbered in order.
    #[error(transparent)]
    Number(#[from] NumberError),
}

/// One viewer.
#[derive(Debug)]
pub struct Viewer {
    /// The device's name.
    pub device: String,
    /// Frames that its connection had carried when it was attached.
    pub frames_before: u32,
    /// When frames may be sent.
    pub pacer: Pacer,
    /// What it holds down.
    pub held: Held,
    /// When input came of it last, in the session's time.
    heard_at: Duration,
    session: HostSession,
    cursors: Cursors,
}

/// Pointer shapes that a viewer was sent, by the X server's number.
#[derive(Debug, Default)]
pub struct Cursors {
    ids: HashMap<u32, u32>,
    sent: u32,
}

impl ViewerError {
    /// The code that the viewer is sent away with.
    pub fn close_code(&self) -> CloseCode {
        match self {
            ViewerError::Control(error) => error.close_code(),
            ViewerError::Input(_) | ViewerError::Number(_) => CloseCode::Protocol,
        }
    }
}

impl Viewer {
    /// A device was attached to the session with this name, over a connection that has carried this many frames and
    /// input events already.
    /// `capabilities` are those that it may use.
    pub fn new(device: String, session: &str, capabilities: u32, frames: u32, inputs: u32) -> Self {
        Self {
            device,
            frames_before: frames,
            pacer: Pacer::new(),
            held: Held::new(inputs),
            heard_at: Duration::ZERO,
            session: HostSession::new(session, capabilities),
            cursors: Cursors::default(),
        }
    }

    /// Takes a control message with its length.
    ///
    /// # Errors
    /// [`ViewerError`].
    pub fn handle_control(&mut self, framed: &[u8]) -> Result<Wish, ViewerError> {
        Ok(self.session.handle_message(single_message(framed).map_err(HostError::from)?)?)
    }

    /// The next control message to send.
    pub fn poll_control(&mut self) -> Option<crate::proto::wire::HostMessage> {
        self.session.poll_message()
    }

    /// Takes an input message with its length, at a time of the session's; the event if there is something to inject.
    /// Nothing counts before hello.
    ///
    /// # Errors
    /// [`ViewerError`].
    pub fn handle_input(&mut self, framed: &[u8], now: Duration) -> Result<Option<InputEvent>, ViewerError> {
        self.heard_at = now;
        let message = InputMessage::decode(single_message(framed)?)?;
        if !self.session.is_greeted() {
            return Err(HostError::Hello.into());
        }
        Ok(self.held.handle_event(message)?)
    }

    /// When everything it holds is to be released, should no input come of it until then.
    pub fn release_at(&self) -> Option<Duration> {
        self.held.is_holding().then(|| self.heard_at + HELD_TIMEOUT)
    }

    /// Whether it has said hello.
    pub fn is_greeted(&self) -> bool {
        self.session.is_greeted()
    }

    /// The number of a pointer shape, and the shape itself if the viewer does not have it yet.
    pub fn cursor(&mut self, image: CursorImage) -> (u32, Option<CursorShape>) {
        self.cursors.number(image)
    }
}

impl Cursors {
    fn number(&mut self, image: CursorImage) -> (u32, Option<CursorShape>) {
        if image.argb_premultiplied.iter().all(|p| p >> 24 == 0) {
            return (0, None);
        }
        if let Some(id) = self.ids.get(&image.serial) {
            return (*id, None);
        }
        let id = self.sent % CURSORS_MAX + 1;
        self.sent = self.sent.wrapping_add(1);
        self.ids.retain(|_, known| *known != id);
        self.ids.insert(image.serial, id);
        (id, Some(CursorShape { id, size: image.size, hot: image.hot, pixels: image.argb_premultiplied }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geom::{Point, Size};
    use crate::limits::HELD_ALIVE;
    use crate::proto::input::Input;
    use crate::proto::wire::{Hello, VERSION, ViewerMessage};

    /// A viewer that has said hello.
    fn greeted() -> Viewer {
        let mut viewer = Viewer::new("device".to_owned(), "session", 0, 0, 0);
        let hello = Hello {
            version: VERSION,
            capabilities: 0,
            viewport: Size::new(800, 600),
            scale_percent: 100,
            layout: String::new(),
            variant: String::new(),
            locale: String::new(),
        };
        let mut framed = Vec::new();
        ViewerMessage::Hello(hello).encode(&mut framed);
        viewer.handle_control(&framed).expect("a hello");
        viewer
    }

    /// Takes all that the viewer's end has to send.
    fn take_all(viewer: &mut Viewer, input: &mut Input, now: Duration) {
        while let Some(message) = input.poll_event() {
            let mut framed = Vec::new();
            message.encode(&mut framed);
            viewer.handle_input(&framed, now).expect("events come once and in order");
        }
    }

    #[test]
    fn what_a_viewer_holds_is_released_once_it_is_silent_and_not_before() {
        let second = Duration::from_secs(1);
        let (mut viewer, mut input) = (greeted(), Input::new());
        assert_eq!(viewer.release_at(), None, "nothing is held");
        input.handle_key(0x04, true);
        take_all(&mut viewer, &mut input, 100 * second);
        assert_eq!(viewer.release_at(), Some(100 * second + HELD_TIMEOUT));
        // A viewer that lives says so as long as somebody keeps the key down.
        let mut now = 100 * second;
        for _ in 0..20 {
            now += HELD_ALIVE;
            assert!(viewer.release_at().is_some_and(|at| at > now), "released under a finger at {now:?}");
            input.handle_silence();
            take_all(&mut viewer, &mut input, now);
        }
        // A button is no other case.
        input.handle_button(crate::proto::wire::PointerButton::Left, true);
        input.handle_key(0x04, false);
        take_all(&mut viewer, &mut input, now);
        assert_eq!(viewer.release_at(), Some(now + HELD_TIMEOUT));
        viewer.held.handle_gone();
        assert_eq!(viewer.release_at(), None, "once is enough");
    }

    fn image(serial: u32, alpha: u32) -> CursorImage {
        CursorImage { serial, size: Size::new(1, 1), hot: Point::default(), argb_premultiplied: vec![alpha << 24] }
    }

    #[test]
    fn a_shape_is_sent_once_and_an_invisible_one_hides_the_pointer() {
        let mut cursors = Cursors::default();
        assert!(matches!(cursors.number(image(7, 255)), (1, Some(_))));
        assert_eq!(cursors.number(image(7, 255)), (1, None));
        assert_eq!(cursors.number(image(8, 0)), (0, None));
    }

    #[test]
    fn old_numbers_are_used_again() {
        let mut cursors = Cursors::default();
        for serial in 0..CURSORS_MAX {
            assert_eq!(cursors.number(image(serial, 255)).0, serial + 1);
        }
        assert!(matches!(cursors.number(image(9_999, 255)), (1, Some(_))));
        assert!(matches!(cursors.number(image(0, 255)), (2, Some(_))));
    }
}
