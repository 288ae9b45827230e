//! The host's side of the control plane, one for each attached viewer: hello first, then what the viewer wants.
//!
//! Control messages go in, facts for the session come out. Frames are paced by `proto::screen::pacer`.

use crate::codec::marks::Agreement;
use crate::geom::Size;
use crate::limits::HELLO_BYTES_MAX;
use crate::proto::wire::print::{CAPABILITY_PRINTING, PrintWish};
use crate::proto::wire::{CloseCode, Hello, HostMessage, VERSION, ViewerMessage, Welcome, WireError};
use thiserror::Error;

/// What a viewer wants from its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// It is there; the answer is on its way. Start with a key frame at this size.
    Begin(Hello),
    /// The screen should have this size.
    Resize(Size),
    /// It shows this frame and all before it.
    Shown(u32),
    /// Its window can, or cannot, be seen.
    Visible(bool),
    /// It needs a key frame.
    Refresh,
    /// It has compared its tiles with marks.
    Agreement(Agreement),
    /// Something about printing.
    Print(PrintWish),
}

/// Why a viewer is sent away.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HostError {
    /// A message is malformed.
    #[error("control message is malformed: {0}")]
    Wire(#[from] WireError),
    /// The first message is not a hello, or a later one is, or it is longer than a hello may be.
    #[error("hello is missing, repeated, or too long")]
    Hello,
    /// The viewer speaks no version that this host knows.
    #[error("viewer speaks version {0}, this host speaks {VERSION}")]
    Version(u16),
    /// The viewer uses a capability that the welcome did not name.
    #[error("viewer uses capability {0:#x}, which was not agreed on")]
    Capability(u32),
}

/// One viewer's conversation.
#[derive(Debug)]
pub struct HostSession {
    name: String,
    greeted: bool,
    /// Bits that this host would use; after the hello, those that both use.
    capabilities: u32,
    answer: Option<HostMessage>,
}

impl HostError {
    /// The code that the viewer is sent away with.
    pub fn close_code(&self) -> CloseCode {
        match self {
            HostError::Version(_) => CloseCode::Version,
            HostError::Wire(_) | HostError::Hello | HostError::Capability(_) => CloseCode::Protocol,
        }
    }
}

impl HostSession {
    /// A viewer was attached to the session with this name, which would use these capabilities.
    pub fn new(name: &str, capabilities: u32) -> Self {
        Self { name: name.to_owned(), greeted: false, capabilities, answer: None }
    }

    /// Takes one control message without its length.
    ///
    /// # Errors
    /// [`HostError`]; the viewer is to be sent away with its [`HostError::close_code`].
    pub fn handle_message(&mut self, body: &[u8]) -> Result<Wish, HostError> {
        if !self.greeted && body.len() > HELLO_BYTES_MAX {
            return Err(HostError::Hello);
        }
        match (ViewerMessage::decode(body)?, self.greeted) {
            (ViewerMessage::Hello(hello), false) => {
                if hello.version < VERSION {
                    return Err(HostError::Version(hello.version));
                }
                self.greeted = true;
                self.capabilities &= hello.capabilities;
                let welcome = Welcome { version: VERSION, capabilities: self.capabilities, session: self.name.clone() };
                self.answer = Some(HostMessage::Welcome(welcome));
                Ok(Wish::Begin(hello))
            }
            (ViewerMessage::Viewport(size), true) => Ok(Wish::Resize(size)),
            (ViewerMessage::FrameShown(sequence), true) => Ok(Wish::Shown(sequence)),
            (ViewerMessage::Visible(visible), true) => Ok(Wish::Visible(visible)),
            (ViewerMessage::Refresh, true) => Ok(Wish::Refresh),
            (ViewerMessage::Agreement(answer), true) => Ok(Wish::Agreement(answer)),
            (ViewerMessage::Print(_), true) if self.capabilities & CAPABILITY_PRINTING == 0 => {
                Err(HostError::Capability(CAPABILITY_PRINTING))
            }
            (ViewerMessage::Print(wish), true) => Ok(Wish::Print(wish)),
            _ => Err(HostError::Hello),
        }
    }

    /// The next message to send.
    pub fn poll_message(&mut self) -> Option<HostMessage> {
        self.answer.take()
    }

    /// The capabilities that both use; those that this host would use before the viewer has said hello.
    pub fn capabilities(&self) -> u32 {
        self.capabilities
    }

    /// Whether the viewer has said hello.
    pub fn is_greeted(&self) -> bool {
        self.greeted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(message: &ViewerMessage) -> Vec<u8> {
        let mut out = Vec::new();
        message.encode(&mut out);
        let mut splitter = crate::proto::wire::Splitter::new(1 << 16);
        splitter.handle_bytes(&out);
        splitter.poll_message().unwrap().unwrap().to_vec()
    }

    fn hello(version: u16) -> ViewerMessage {
        ViewerMessage::Hello(Hello {
            version,
            capabilities: u32::MAX,
            viewport: Size::new(800, 600),
            scale_percent: 100,
            layout: "de".into(),
            variant: String::new(),
            locale: "de-DE".into(),
        })
    }

    #[test]
    fn nothing_counts_before_hello_and_hello_counts_once() {
        let mut s = HostSession::new("amt", 0);
        assert_eq!(s.handle_message(&body(&ViewerMessage::Refresh)), Err(HostError::Hello));
        assert!(matches!(s.handle_message(&body(&hello(3))), Ok(Wish::Begin(_))));
        assert!(matches!(s.poll_message(), Some(HostMessage::Welcome(w)) if w.version == VERSION));
        assert_eq!(s.handle_message(&body(&hello(1))), Err(HostError::Hello));
    }

    #[test]
    fn what_was_not_agreed_on_closes() {
        let printers = body(&ViewerMessage::Print(PrintWish::Printers(Vec::new())));
        for (allowed, expected) in
            [(0, Err(HostError::Capability(4))), (4, Ok(Wish::Print(PrintWish::Printers(Vec::new()))))]
        {
            let mut s = HostSession::new("amt", allowed);
            s.handle_message(&body(&hello(1))).unwrap();
            assert_eq!(s.capabilities(), allowed);
            assert_eq!(s.handle_message(&printers), expected);
        }
    }

    #[test]
    fn an_older_viewer_is_told_so() {
        let error = HostSession::new("amt", 0).handle_message(&body(&hello(0))).unwrap_err();
        assert_eq!(error.close_code(), CloseCode::Version);
    }
}
