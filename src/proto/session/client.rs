//! The viewer's side of the control plane: connected or not, standing still or not, and when to try again.
//!
//! A link stands still when something was sent and nothing has come back for [`STALL_AFTER`]; packets are counted by
//! QUIC, so an idle link costs nothing. Where pictures came one after the other and then none does, the host is asked.
//! Time is an argument; the crank is `viewer::link`.

use crate::proto::wire::CloseCode;
use std::time::Duration;

/// Nothing came back for this long after something was sent: the user is told.
pub const STALL_AFTER: Duration = Duration::from_millis(800);
/// A link that stands still for this long is given up and made anew.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(5);
/// So many frames within this time are something that moves, a film or a page that is scrolled: not the caret, nor keys that
/// are typed one by one, which are answered anyway.
const MOVING_FRAMES: usize = 3;
const MOVING: Duration = Duration::from_millis(500);
/// If no frame follows those for so long, the host is asked whether it is still there.
const ASK_AFTER: Duration = Duration::from_millis(200);
/// A connection is looked after at least this often, a little later than QUIC's keep-alive.
const LOOK_AFTER: Duration = Duration::from_millis(16_200);
/// A connection is made anew, with fresh keys, once it is so old and nothing flows but keep-alives: nobody notices.
const RENEW_AFTER: Duration = Duration::from_secs(23 * 60 * 60);
/// Likewise whatever flows (requirement SEC-10).
const RENEW_AT_LAST: Duration = Duration::from_secs(24 * 60 * 60);
/// Nothing but keep-alives flows if packets are so far apart.
const QUIET: Duration = Duration::from_secs(10);
/// Waiting times before the attempts; the last one repeats. Short first: most losses are short.
const RETRY_AFTER: [Duration; 5] = [
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The host closed it and said why.
    Closed(CloseCode),
    /// The host cannot be reached, or went away without a word.
    Unreachable,
    /// The host's process is another one than before: it was killed, or restarted without a word.
    Restarted,
    /// This machine has no way into the host's network.
    NoNetwork,
    /// The host's name cannot be resolved.
    Unresolved,
    /// The host is not the one that this device was given.
    WrongHost,
    /// The host does not accept this device.
    DeviceRefused,
    /// The host sent something that this viewer cannot take.
    Broken,
}

/// What the user sees of the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// The first attempt to connect.
    Connecting,
    /// Connected and answering.
    Live,
    /// Connected, but nothing has come back since this time.
    Stalled {
        /// When the packet was sent that nobody answered.
        since: Duration,
    },
    /// Lost; the next attempt is made at a known time, or is being made.
    Reconnecting {
        /// Attempts since the loss, from 1.
        attempt: u32,
        /// When it is or was made.
        at: Duration,
        /// Why.
        reason: Lost,
    },
    /// Over; only the user can try again.
    Ended(Lost),
}

/// What the crank has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Make a connection; any other is to be dropped.
    Connect,
    /// Move the connection to a new socket: the way may have changed.
    Rebind,
    /// Send something that the host has to answer.
    Ask,
}

/// The viewer's control plane.
#[derive(Clone, Debug)]
pub struct ClientSession {
    state: LinkState,
    deed: Option<Deed>,
    /// What was sent to be acknowledged, and packets received, as counted last.
    counted: (u64, u64),
    /// When the oldest packet was sent that nothing has come back for.
    unanswered: Option<Duration>,
    /// The socket was already changed for this standstill.
    rebound: bool,
    look_at: Option<Duration>,
    attempts: u32,
    connecting: bool,
    connected_at: Duration,
    /// When another count was found last.
    counted_at: Duration,
    /// When the last frames came, the newest last, as far as nothing was asked since.
    frames: [Option<Duration>; MOVING_FRAMES],
}

impl Lost {
    /// Whether trying again by itself can help.
    pub fn is_passing(self) -> bool {
        match self {
            // Without a network no name is resolved either.
            Lost::Unreachable | Lost::Restarted | Lost::NoNetwork | Lost::Unresolved => true,
            Lost::Closed(CloseCode::Restarting | CloseCode::Timeout | CloseCode::Full) => true,
            Lost::Closed(_) | Lost::WrongHost | Lost::DeviceRefused | Lost::Broken => false,
        }
    }
}

impl ClientSession {
    /// Starts with an attempt to connect.
    pub fn new() -> Self {
        Self {
            state: LinkState::Connecting,
            deed: Some(Deed::Connect),
            counted: (0, 0),
            unanswered: None,
            rebound: false,
            look_at: None,
            attempts: 0,
            connecting: true,
            connected_at: Duration::ZERO,
            counted_at: Duration::ZERO,
            frames: [None; MOVING_FRAMES],
        }
    }

    /// The connection stands.
    pub fn handle_connected(&mut self, now: Duration) {
        *self = Self {
            state: LinkState::Live,
            deed: None,
            look_at: Some(now + LOOK_AFTER),
            connecting: false,
            connected_at: now,
            counted_at: now,
            ..Self::new()
        };
    }

    /// There is no connection: the attempt failed, or it was lost.
    pub fn handle_lost(&mut self, reason: Lost, now: Duration) {
        self.connecting = false;
        self.unanswered = None;
        self.deed = None;
        // The very first attempt fails for the user to see: a wrong address does not mend itself.
        if !reason.is_passing() || self.state == LinkState::Connecting {
            self.state = LinkState::Ended(reason);
            self.look_at = None;
            return;
        }
        self.attempts += 1;
        let wait = retry_after(self.attempts);
        self.state = LinkState::Reconnecting { attempt: self.attempts, at: now + wait, reason };
        self.look_at = Some(now + wait);
    }

    /// A frame of the picture came.
    pub fn handle_frame(&mut self, now: Duration) {
        self.frames.rotate_left(1);
        self.frames[MOVING_FRAMES - 1] = Some(now);
    }

    /// Counters of what was sent and has to be acknowledged, and of packets received, whenever something was sent or
    /// received, or a timer ran out. Acknowledgements do not count as sent: nobody answers them.
    pub fn handle_packets(&mut self, sent: u64, received: u64, now: Duration) {
        if !matches!(self.state, LinkState::Live | LinkState::Stalled { .. }) || self.connecting {
            return;
        }
        let is_quiet = now.saturating_sub(self.counted_at) >= QUIET;
        let (sent_before, received_before) = self.counted;
        if self.counted != (sent, received) {
            (self.counted, self.counted_at) = ((sent, received), now);
        }
        if received != received_before {
            self.unanswered = None;
            self.rebound = false;
            self.state = LinkState::Live;
        } else if sent != sent_before && self.unanswered.is_none() {
            self.unanswered = Some(now);
        }
        self.look_at = Some(match self.unanswered {
            None => self.look_unasked(now),
            Some(since) if now < since + STALL_AFTER => since + STALL_AFTER,
            Some(since) => {
                self.state = LinkState::Stalled { since };
                if !self.rebound {
                    self.rebound = true;
                    self.deed = Some(Deed::Rebind);
                }
                since + GIVE_UP_AFTER
            }
        });
        if let Some(since) = self.unanswered
            && now >= since + GIVE_UP_AFTER
        {
            self.handle_lost(Lost::Unreachable, now);
        }
        let renew_after = if is_quiet { RENEW_AFTER } else { RENEW_AT_LAST };
        if self.state == LinkState::Live && now >= self.connected_at + renew_after {
            // It stays live for the user, who hears of it only if it fails.
            self.connecting = true;
            self.look_at = None;
            self.deed = Some(Deed::Connect);
        }
    }

    /// When to look next at a link that owes no answer.
    fn look_unasked(&mut self, now: Duration) -> Duration {
        if let [Some(first), .., Some(last)] = self.frames
            && last.saturating_sub(first) <= MOVING
        {
            let due = last + ASK_AFTER;
            if now < due {
                return due;
            }
            self.frames = [None; MOVING_FRAMES];
            self.deed = Some(Deed::Ask);
        }
        let due = self.counted_at + LOOK_AFTER;
        if now < due { due } else { now + LOOK_AFTER }
    }

    /// A timer ran out while there is no connection: time for the next attempt.
    pub fn handle_timeout(&mut self, now: Duration) {
        if let LinkState::Reconnecting { at, .. } = self.state
            && !self.connecting
            && at <= now
        {
            self.connecting = true;
            self.look_at = None;
            self.deed = Some(Deed::Connect);
        }
    }

    /// The user wants it tried again at once.
    pub fn handle_retry(&mut self, now: Duration) {
        if !matches!(self.state, LinkState::Live | LinkState::Connecting) && !self.connecting {
            self.attempts += 1;
            let reason = match self.state {
                LinkState::Reconnecting { reason, .. } | LinkState::Ended(reason) => reason,
                LinkState::Connecting | LinkState::Live | LinkState::Stalled { .. } => Lost::Unreachable,
            };
            self.state = LinkState::Reconnecting { attempt: self.attempts, at: now, reason };
            self.connecting = true;
            self.look_at = None;
            self.deed = Some(Deed::Connect);
        }
    }

    /// What is to be done now.
    pub fn poll_deed(&mut self) -> Option<Deed> {
        self.deed.take()
    }

    /// When the counters want to be looked at, or the next attempt is due.
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.look_at
    }

    /// What the user sees.
    pub fn state(&self) -> LinkState {
        self.state
    }
}

/// How long to wait before an attempt, counted from 1.
pub fn retry_after(attempt: u32) -> Duration {
    RETRY_AFTER[(attempt.max(1) as usize - 1).min(RETRY_AFTER.len() - 1)]
}

impl Default for ClientSession {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn live() -> ClientSession {
        let mut s = ClientSession::new();
        assert_eq!(s.poll_deed(), Some(Deed::Connect));
        s.handle_connected(1_000 * MS);
        s
    }

    #[test]
    fn an_unanswered_packet_is_noticed_within_a_second_and_the_answer_heals() {
        let mut s = live();
        s.handle_packets(1, 1, 1_000 * MS);
        s.handle_packets(2, 1, 2_000 * MS);
        let look = s.poll_timeout().unwrap();
        assert!(look <= 3_000 * MS);
        s.handle_packets(2, 1, look);
        assert_eq!(s.state(), LinkState::Stalled { since: 2_000 * MS });
        assert_eq!((s.poll_deed(), s.poll_deed()), (Some(Deed::Rebind), None));
        s.handle_packets(3, 2, 3_500 * MS);
        assert_eq!(s.state(), LinkState::Live);
    }

    #[test]
    fn a_long_standstill_becomes_a_new_connection() {
        let mut s = live();
        s.handle_packets(2, 1, 2_000 * MS);
        s.handle_packets(3, 1, 2_000 * MS);
        while let LinkState::Live | LinkState::Stalled { .. } = s.state() {
            let now = s.poll_timeout().unwrap();
            s.poll_deed();
            s.handle_packets(4, 1, now);
        }
        let LinkState::Reconnecting { attempt: 1, at, .. } = s.state() else { panic!("{:?}", s.state()) };
        s.handle_timeout(at);
        assert_eq!(s.poll_deed(), Some(Deed::Connect));
        s.handle_lost(Lost::Unreachable, at);
        assert!(matches!(s.state(), LinkState::Reconnecting { attempt: 2, .. }));
        s.handle_connected(at);
        assert_eq!(s.state(), LinkState::Live);
    }

    #[test]
    fn a_picture_that_stops_in_the_middle_of_moving_is_asked_after_once() {
        let mut s = live();
        // A caret: nobody is asked, however long it blinks.
        for blink in 1..20 {
            let now = 600 * blink * MS;
            s.handle_frame(1_000 * MS + now);
            s.handle_packets(1, u64::from(blink), 1_000 * MS + now);
            assert!(s.poll_timeout().unwrap() > 16_000 * MS + now);
        }
        // A film: frames and acknowledgements come, and then nothing.
        let mut at = 20_000 * MS;
        for frame in 0..50 {
            at += 40 * MS;
            s.handle_frame(at);
            s.handle_packets(1 + frame, 100 + frame, at);
            assert_eq!(s.poll_deed(), None);
        }
        let look = s.poll_timeout().unwrap();
        assert_eq!(look, at + ASK_AFTER);
        s.handle_packets(50, 149, look);
        assert_eq!((s.poll_deed(), s.state()), (Some(Deed::Ask), LinkState::Live));
        // The answer: it stands still, and nobody asks again.
        let mut answered = s.clone();
        answered.handle_packets(51, 149, look);
        answered.handle_packets(51, 150, look + 5 * MS);
        assert_eq!((answered.poll_deed(), answered.state()), (None, LinkState::Live));
        assert!(answered.poll_timeout().unwrap() > look + 16_000 * MS);
        // No answer: the user is told a second after the last frame.
        s.handle_packets(51, 149, look);
        let told = s.poll_timeout().unwrap();
        s.handle_packets(51, 149, told);
        assert_eq!(s.state(), LinkState::Stalled { since: look });
        assert!(told <= at + 1_000 * MS);
    }

    #[test]
    fn turns_without_a_packet_put_nothing_off() {
        let mut s = live();
        s.handle_packets(5, 5, 2_000 * MS);
        let look = s.poll_timeout().unwrap();
        for second in 3..18 {
            s.handle_packets(5, 5, second * 1_000 * MS);
            assert_eq!(s.poll_timeout().unwrap(), look);
        }
    }

    #[test]
    fn an_idle_link_is_looked_at_four_times_a_minute() {
        let mut s = live();
        s.handle_packets(5, 5, 2_000 * MS);
        assert!(s.poll_timeout().unwrap() - 2_000 * MS > Duration::from_secs(15));
    }

    #[test]
    fn a_connection_lives_a_day_at_most_and_is_renewed_when_nothing_flows() {
        let hours = |n: u32| 60 * 60 * n * Duration::from_secs(1);
        let looked_at = |times: &[Duration]| {
            let mut s = live();
            for (i, now) in times.iter().enumerate() {
                let count = i as u64 + 1;
                s.handle_packets(count, count, 1_000 * MS + *now);
            }
            assert_eq!(s.state(), LinkState::Live);
            s
        };
        assert_eq!(looked_at(&[hours(22), hours(23) - MS]).poll_deed(), None);
        assert_eq!(looked_at(&[hours(23) - MS, hours(23) + MS]).poll_deed(), None);
        assert_eq!(looked_at(&[hours(24) - MS, hours(24)]).poll_deed(), Some(Deed::Connect));
        let mut s = looked_at(&[hours(23) - 2 * QUIET, hours(23)]);
        assert_eq!((s.poll_deed(), s.poll_timeout()), (Some(Deed::Connect), None));
        // What is still counted of the old one changes nothing.
        s.handle_packets(9, 9, hours(24));
        assert_eq!((s.poll_deed(), s.state()), (None, LinkState::Live));
        s.handle_lost(Lost::Unreachable, hours(24));
        assert!(matches!(s.state(), LinkState::Reconnecting { attempt: 1, .. }));
        s.handle_connected(hours(25));
        s.handle_packets(1, 1, hours(26));
        assert_eq!((s.poll_deed(), s.state()), (None, LinkState::Live));
    }

    #[test]
    fn what_mends_itself_is_tried_again_once_there_was_a_connection() {
        let restarting = Lost::Closed(CloseCode::Restarting);
        for reason in [Lost::Unreachable, Lost::Restarted, Lost::NoNetwork, Lost::Unresolved, restarting] {
            let mut first = ClientSession::new();
            first.handle_lost(reason, 1_000 * MS);
            assert_eq!(first.state(), LinkState::Ended(reason), "a first attempt fails for the user to see");
            let mut s = live();
            s.handle_lost(reason, 2_000 * MS);
            assert_eq!(s.state(), LinkState::Reconnecting { attempt: 1, at: 2_200 * MS, reason });
            s.handle_retry(2_100 * MS);
            assert_eq!(s.state(), LinkState::Reconnecting { attempt: 2, at: 2_100 * MS, reason });
        }
    }

    #[test]
    fn what_cannot_mend_itself_ends() {
        for reason in [Lost::Closed(CloseCode::TakenOver), Lost::WrongHost, Lost::DeviceRefused] {
            let mut s = live();
            s.handle_lost(reason, 2_000 * MS);
            assert_eq!((s.state(), s.poll_timeout()), (LinkState::Ended(reason), None));
            s.handle_retry(3_000 * MS);
            assert_eq!(s.poll_deed(), Some(Deed::Connect));
        }
    }
}
