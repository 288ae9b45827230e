//! What the ui knows of the link: how it stands, how far a new connection has come, and what of the session is to be seen.
//!
//! No window and no clock: events of the net thread come in with the time. Which page that makes: `pages`.

use crate::geom::Size;
use crate::proto::session::client::{LinkState, Lost, retry_after};
use crate::proto::wire::Progress;
use crate::viewer::ui::{ConnectStep, Notice};
use std::time::Instant;

/// The link, as the user knows it.
#[derive(Debug)]
pub(super) struct LinkView {
    /// Where to, as the user knows it; empty before the first attempt.
    pub(super) host: String,
    /// The session's name, once a host has told it.
    pub(super) session: Option<String>,
    /// None before the first attempt, and after the user has left.
    pub(super) state: Option<LinkState>,
    /// How far the connection has come.
    pub(super) step: ConnectStep,
    /// When it was begun.
    pub(super) since: Instant,
    /// When the picture stopped.
    pub(super) stalled_at: Instant,
    /// The attempt that is being made or made last after a loss, counted from 1, and why it is made.
    pub(super) loss: (u32, Lost),
    /// The next attempt.
    pub(super) retry_at: Instant,
    /// The picture's size.
    pub(super) picture: Size,
    /// What of the session is to be seen.
    pub(super) seen: Seen,
    /// Why the last attempt failed.
    pub(super) error: Option<Notice>,
    /// What the user typed, or the program was started with.
    pub(super) address: String,
    /// The address of a connection that no host has accepted yet.
    pub(super) unaccepted: Option<String>,
}

/// What the window may show of a session. The screen thread keeps what it drew last, also that of another session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Nothing: what was drawn last is not this session's.
    Nothing,
    /// The last picture of a connection that is gone, until the new one brings its first.
    Last,
    /// The picture of this connection.
    Live,
}

impl LinkView {
    /// A link that leads nowhere yet; the page that asks where to proposes this address.
    pub(super) fn new(address: String, now: Instant) -> LinkView {
        LinkView {
            host: String::new(),
            session: None,
            state: None,
            step: ConnectStep::Resolving,
            since: now,
            stalled_at: now,
            loss: (1, Lost::Unreachable),
            retry_at: now,
            picture: Size::default(),
            seen: Seen::Nothing,
            error: None,
            address,
            unaccepted: None,
        }
    }

    /// The user wants to go to this host.
    pub(super) fn handle_connect(&mut self, host: String, now: Instant) {
        (self.host, self.session) = (host, None);
        self.begin(ConnectStep::Resolving, now);
    }

    /// The user cannot, or no longer wants to go anywhere; `error` says why not.
    pub(super) fn handle_left(&mut self, error: Option<Notice>) {
        (self.state, self.session, self.unaccepted, self.error) = (None, None, None, error);
        self.seen = Seen::Nothing;
    }

    /// The link's state has changed; whether a new connection stands.
    pub(super) fn handle_state(&mut self, state: LinkState, now: Instant) -> bool {
        let before = self.state.replace(state);
        match state {
            LinkState::Connecting => self.step = ConnectStep::Handshake,
            LinkState::Live => {
                if matches!(before, Some(LinkState::Live | LinkState::Stalled { .. })) {
                    return false;
                }
                self.step = ConnectStep::StartingDesktop;
                if matches!(before, Some(LinkState::Reconnecting { .. })) {
                    self.since = now;
                }
                return true;
            }
            LinkState::Stalled { .. } => self.stalled_at = now,
            // Asked for by the user after the end, which is as good as the first time.
            LinkState::Reconnecting { .. } if matches!(before, Some(LinkState::Ended(_))) => {
                self.begin(ConnectStep::Handshake, now);
            }
            LinkState::Reconnecting { attempt, reason, .. } => {
                self.loss = (attempt, reason);
                if self.seen == Seen::Live {
                    self.seen = Seen::Last;
                }
                if !matches!(before, Some(LinkState::Reconnecting { attempt: a, .. }) if a == attempt) {
                    self.retry_at = now + retry_after(attempt);
                }
            }
            LinkState::Ended(_) => self.seen = Seen::Nothing,
        }
        false
    }

    /// The host lets this device into a session.
    pub(super) fn handle_welcome(&mut self, session: String) {
        self.step = ConnectStep::FirstPicture;
        if self.session.as_ref() != Some(&session) {
            self.forget_last();
        }
        self.session = Some(session);
    }

    /// The host says how far it is.
    pub(super) fn handle_progress(&mut self, progress: Progress) {
        self.step = match progress {
            Progress::Ready => ConnectStep::FirstPicture,
            Progress::StartingDesktop | Progress::ResumingDesktop => ConnectStep::StartingDesktop,
        };
        if progress == Progress::StartingDesktop {
            // What was shown is gone for good.
            self.forget_last();
        }
    }

    /// The first picture of this connection is on the screen.
    pub(super) fn handle_first_picture(&mut self) {
        self.seen = Seen::Live;
    }

    /// Whether keys and pointer go to the session.
    pub(super) fn is_live(&self) -> bool {
        self.seen == Seen::Live && matches!(self.state, Some(LinkState::Live | LinkState::Stalled { .. }))
    }

    /// Whether the picture stands still.
    pub(super) fn is_stalled(&self) -> bool {
        self.seen != Seen::Nothing && matches!(self.state, Some(LinkState::Stalled { .. }))
    }

    fn begin(&mut self, step: ConnectStep, now: Instant) {
        self.state = Some(LinkState::Connecting);
        (self.step, self.since, self.seen, self.error) = (step, now, Seen::Nothing, None);
    }

    fn forget_last(&mut self) {
        if self.seen == Seen::Last {
            self.seen = Seen::Nothing;
        }
    }
}
