//! Whether the window can be seen, where the window system does not say so but asks for frames: Wayland. Whoever has shown
//! something asks to be asked for the next; a compositor that does not for a while has nobody who would see it.

use std::time::{Duration, Instant};

/// A compositor that wants no frame for so long shows none. One that is busy wants one later, and the picture comes back.
const UNSEEN_AFTER: Duration = Duration::from_secs(2);

/// What is known of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sight {
    /// Nothing was shown since the compositor wanted something.
    #[default]
    Answered,
    /// It was asked then.
    Asked(Instant),
    /// It has not answered in time, but may.
    Unseen,
}

impl Sight {
    /// Something was given to the window; whether the compositor is to be asked.
    pub(super) fn handle_presented(&mut self, now: Instant) -> bool {
        let asks = *self == Sight::Answered;
        if asks {
            *self = Sight::Asked(now);
        }
        asks
    }

    /// The window is to be drawn; whether that is but the answer, and so nothing is to be drawn.
    pub(super) fn handle_redraw(&mut self) -> bool {
        std::mem::take(self) != Sight::Answered
    }

    /// Whether it turns out now that nobody sees the window.
    pub(super) fn handle_time(&mut self, now: Instant) -> bool {
        let late = self.poll_timeout().is_some_and(|at| at <= now);
        if late {
            *self = Sight::Unseen;
        }
        late
    }

    /// When to look.
    pub(super) fn poll_timeout(self) -> Option<Instant> {
        match self {
            Sight::Asked(at) => Some(at + UNSEEN_AFTER),
            Sight::Answered | Sight::Unseen => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_that_nobody_asks_frames_of_is_not_seen_until_somebody_does() {
        let (mut sight, now) = (Sight::default(), Instant::now());
        assert!(!sight.handle_redraw(), "the window system's own wish");
        assert!(sight.handle_presented(now) && !sight.handle_presented(now), "asked once");
        assert!(sight.handle_redraw() && sight.poll_timeout().is_none());
        assert!(sight.handle_presented(now));
        let at = sight.poll_timeout().expect("it looks");
        assert!(!sight.handle_time(at - Duration::from_millis(1)) && sight.handle_time(at));
        assert!(sight.poll_timeout().is_none() && !sight.handle_time(at), "told once");
        assert!(!sight.handle_presented(at), "what was asked is still to be answered");
        assert!(sight.handle_redraw(), "it is seen again");
    }
}
