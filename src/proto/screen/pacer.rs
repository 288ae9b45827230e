//! When the host may encode the next frame: pull, not push.
//!
//! A frame is encoded only when there is a slot: the viewer has shown enough of those before, and the path has room.
//! Until then damage merges, so what is sent is always the newest picture and no queue can grow. Time is an argument.

use crate::codec::encode::{FRAME_BYTES_TARGET, Scarce};
use crate::limits::{FRAMES_IN_FLIGHT_MAX, SMALL_FRAME_BYTES, SMALL_FRAMES_UNSHOWN_MAX};
use crate::proto::wire::PathState;
use std::collections::VecDeque;
use std::time::Duration;

/// Shortest time from one picture to the next: a little more than 60 pictures a second.
const PICTURE_INTERVAL: Duration = Duration::from_millis(15);
/// Bytes that may be on their way on a path that nothing is known of yet.
const WINDOW_BYTES_MIN: u64 = 48 << 10;
/// A path is fast above some 300 Mbit/s.
const FAST_BYTES_PER_SECOND: u64 = 40_000_000;
/// Longest frame that only makes exact what is shown: a few milliseconds of entropy coding at either end, for which what
/// changes next would have to wait.
const REFINEMENT_BYTES_MAX: u64 = 64 << 10;
/// Likewise on a fast path to a fast viewer, where what takes time is coding: one photo tile, about a millisecond at each
/// end.
const REFINEMENT_BYTES_FAST: u64 = 4 << 10;
/// A viewer that takes longer than this for such a frame, beyond the round trip and [`TILE_COST`] for each of its tiles,
/// gets longer ones: what it needs for each frame, however short, is most of it. So it is with shaders that run in software.
const REFINEMENT_SLOW: Duration = Duration::from_millis(12);
/// One that takes less gets shorter ones again.
const REFINEMENT_QUICK: Duration = Duration::from_millis(5);
/// What an entropy-coded tile may cost a viewer for which longer frames are no better: on a CPU that others keep busy, too.
/// Without it a frame that had become long once, because something else had held the viewer up, stayed long, and a key
/// waited for all its tiles.
const TILE_COST: Duration = Duration::from_millis(1);
/// Up to the longest frame of other paths.
const REFINEMENT_DOUBLINGS_MAX: u32 = (REFINEMENT_BYTES_MAX / REFINEMENT_BYTES_FAST).ilog2();
/// A viewer that needs longer for an entropy-coded tile is slow to decode: a whole screen of them would keep it busy for
/// the better part of a second. Shaders that run in software take one to two milliseconds; a CPU 0.1 to 0.3, and as much
/// again where others keep it busy.
const DECODE_SLOW: Duration = Duration::from_micros(1_500);
/// What else a frame may cost a viewer that is not: photos with loss, and a screen to present.
const FRAME_COST_MAX: Duration = Duration::from_millis(40);
/// Tiles of a frame from which on it tells that a viewer is slow; for fewer, what each frame costs would be counted.
const SLOW_TILES_MIN: usize = 48;
/// Tiles of a frame from which on it tells that a viewer is not.
const QUICK_TILES_MIN: usize = 8;
/// Such frames in a row that are believed: the viewer's machine may have been busy with something else.
const SLOW_FRAMES_MIN: u32 = 2;
/// Smallest budget for one frame of a picture.
const BUDGET_MIN: u64 = 16 << 10;

/// Whether a frame may be encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// Now, with at most this many bytes.
    Now {
        /// Bytes of the frame.
        budget: usize,
    },
    /// Not before this time.
    At(Duration),
    /// Not before the viewer says something.
    Wait,
}

/// What a frame is to its picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// It begins one.
    First,
    /// It goes on with one.
    Rest,
    /// It only makes exact what is shown already.
    Refinement,
}

/// The host's pace for one viewer.
#[derive(Debug, Default)]
pub struct Pacer {
    attached: bool,
    hidden: bool,
    path: PathState,
    /// The shortest round trip of this viewer so far, in microseconds, at least 1.
    rtt_us_min: Option<u32>,
    in_flight: VecDeque<Flight>,
    /// By how many powers of two a refinement frame may be longer than the shortest.
    refinement_doublings: u32,
    /// Frames in a row that took a viewer long to decode.
    slow_frames: u32,
    /// When the viewer last said that it shows a frame.
    shown_at: Duration,
    /// When the last picture was begun.
    picture_at: Option<Duration>,
}

#[derive(Debug)]
struct Flight {
    sequence: u32,
    bytes: u64,
    sent_at: Duration,
    /// It only makes exact.
    is_refinement: bool,
    /// Entropy-coded tiles.
    coded: usize,
}

impl Pacer {
    /// Nobody is looking.
    pub fn new() -> Self {
        Self::default()
    }

    /// A viewer came and has said hello.
    pub fn handle_attached(&mut self) {
        *self = Self { attached: true, ..Self::default() };
    }

    /// The viewer is gone.
    pub fn handle_detached(&mut self) {
        *self = Self::default();
    }

    /// The viewer's window can, or cannot, be seen.
    pub fn handle_visible(&mut self, visible: bool) {
        self.hidden = !visible;
    }

    /// What the front knows about the path.
    pub fn handle_path(&mut self, path: PathState) {
        self.path = path;
        let rtt_us = path.rtt_us.max(1);
        self.rtt_us_min = Some(self.rtt_us_min.map_or(rtt_us, |shortest| shortest.min(rtt_us)));
    }

    /// The viewer shows this frame and all before it.
    pub fn handle_shown(&mut self, sequence: u32, now: Duration) {
        let rtt = Duration::from_micros(self.path.rtt_us.into());
        let (mut coded, mut begun) = (0, None);
        while let Some(flight) = self.in_flight.pop_front_if(|f| f.sequence <= sequence) {
            // The one before kept the viewer busy until it was shown.
            begun = begun.or(Some((flight.sent_at + rtt).max(self.shown_at)));
            coded += flight.coded;
            // With a picture behind it the host was busy, and did not hear of it at once.
            if !flight.is_refinement || self.in_flight.iter().any(|f| !f.is_refinement) {
                continue;
            }
            let took = now.saturating_sub(flight.sent_at).saturating_sub(rtt + TILE_COST * flight.coded as u32);
            if took > REFINEMENT_SLOW {
                self.refinement_doublings = (self.refinement_doublings + 1).min(REFINEMENT_DOUBLINGS_MAX);
            } else if took < REFINEMENT_QUICK {
                self.refinement_doublings = self.refinement_doublings.saturating_sub(1);
            }
        }
        let Some(begun) = begun else { return };
        let (took, slow) = (now.saturating_sub(begun), DECODE_SLOW * coded as u32);
        if coded >= SLOW_TILES_MIN && took > FRAME_COST_MAX + slow {
            self.slow_frames += 1;
        } else if coded >= QUICK_TILES_MIN && took <= slow {
            self.slow_frames = 0;
        }
        self.shown_at = now;
    }

    /// A frame was sent, with so many bytes and entropy-coded tiles.
    pub fn handle_sent(&mut self, sequence: u32, (bytes, coded): (usize, usize), part: Part, now: Duration) {
        let is_refinement = part == Part::Refinement;
        self.in_flight.push_back(Flight { sequence, bytes: bytes as u64, sent_at: now, is_refinement, coded });
        if part == Part::First {
            self.picture_at = Some(now);
        }
    }

    /// Whether the next frame may be encoded; `rest` says that it continues a picture.
    pub fn poll_slot(&self, rest: bool, now: Duration) -> Slot {
        if !self.is_seen() || self.in_flight() >= FRAMES_IN_FLIGHT_MAX as usize {
            return Slot::Wait;
        }
        // The rest of a picture has to be sent whatever comes after it, so nothing is gained by holding it back.
        if rest {
            return Slot::Now { budget: FRAME_BYTES_TARGET };
        }
        let window = (u64::from(self.path.window_bytes) * 3 / 2).max(WINDOW_BYTES_MIN);
        let in_flight: u64 = self.in_flight.iter().map(|f| f.bytes).sum();
        if in_flight >= window || self.in_flight() >= self.pictures_max() as usize {
            return Slot::Wait;
        }
        if let Some(last) = self.picture_at
            && last + PICTURE_INTERVAL > now
        {
            return Slot::At(last + PICTURE_INTERVAL);
        }
        Slot::Now { budget: (window - in_flight).clamp(BUDGET_MIN, FRAME_BYTES_TARGET as u64) as usize }
    }

    /// Bytes that a frame may have that only makes exact what is shown already; none as long as it would be in the way.
    ///
    /// One of the frames that may be in flight is left to what changes next, and no more is sent ahead than the path takes.
    pub fn poll_refinement(&self) -> Option<usize> {
        let window = u64::from(self.path.window_bytes).max(WINDOW_BYTES_MIN);
        let in_flight: u64 = self.in_flight.iter().map(|f| f.bytes).sum();
        let is_free = self.is_seen() && self.in_flight() + 1 < self.pictures_max() as usize;
        let most =
            if self.is_fast() { REFINEMENT_BYTES_FAST << self.refinement_doublings } else { REFINEMENT_BYTES_MAX };
        let budget = window.saturating_sub(in_flight).min(most);
        (is_free && budget >= most.min(BUDGET_MIN)).then_some(budget as usize)
    }

    /// Whether the path carries so much that entropy-coding a large photo would take longer than sending it.
    fn is_fast(&self) -> bool {
        // The shortest round trip: a longer one says that the path was busy with our own bytes.
        let window_bytes = u64::from(self.path.window_bytes);
        self.rtt_us_min.is_some_and(|rtt| window_bytes * 1_000_000 / u64::from(rtt) > FAST_BYTES_PER_SECOND)
    }

    /// What the way to the viewer, and the viewer itself, are short of.
    pub fn scarce(&self) -> Scarce {
        match (self.is_fast(), self.slow_frames >= SLOW_FRAMES_MIN) {
            (false, _) => Scarce::Bytes,
            (true, false) => Scarce::Time,
            (true, true) => Scarce::Decoding,
        }
    }

    /// Frames that the viewer has not shown yet, but for so many small ones as it need not speak of.
    pub fn in_flight(&self) -> usize {
        let small = self.in_flight.iter().filter(|f| f.bytes <= SMALL_FRAME_BYTES as u64).count();
        self.in_flight.len() - small.min(SMALL_FRAMES_UNSHOWN_MAX as usize)
    }

    /// Whether a viewer is attached whose window can be seen. Otherwise nothing is sent that only shows.
    pub fn is_seen(&self) -> bool {
        self.attached && !self.hidden
    }

    /// Whether a viewer is attached.
    pub fn is_attached(&self) -> bool {
        self.attached
    }

    /// Frames that may be on their way when a new picture begins: one, and one for each interval of the round trip.
    fn pictures_max(&self) -> u32 {
        let intervals = u128::from(self.path.rtt_us).div_ceil(PICTURE_INTERVAL.as_micros());
        (1 + intervals as u32).clamp(2, FRAMES_IN_FLIGHT_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn attached() -> Pacer {
        let mut p = Pacer::new();
        p.handle_attached();
        p
    }

    #[test]
    fn nobody_looking_means_no_frame() {
        assert_eq!(Pacer::new().poll_slot(false, MS), Slot::Wait);
        let mut p = attached();
        p.handle_visible(false);
        assert_eq!((p.is_seen(), p.poll_slot(false, MS)), (false, Slot::Wait));
        p.handle_visible(true);
        assert!(p.is_seen());
    }

    #[test]
    fn the_first_picture_after_a_rest_goes_at_once_and_the_next_keeps_the_pace() {
        let mut p = attached();
        assert!(matches!(p.poll_slot(false, 100 * MS), Slot::Now { .. }));
        p.handle_sent(1, (1_000, 0), Part::First, 100 * MS);
        assert_eq!(p.poll_slot(false, 101 * MS), Slot::At(115 * MS));
        assert!(matches!(p.poll_slot(true, 101 * MS), Slot::Now { .. }));
    }

    #[test]
    fn what_makes_exact_leaves_room_for_what_is_new() {
        assert_eq!(Pacer::new().poll_refinement(), None);
        let mut p = attached();
        assert_eq!(p.poll_refinement(), Some(48 << 10));
        p.handle_sent(1, (20 << 10, 0), Part::Refinement, MS);
        // It does not begin a picture, so the next one need not wait for its interval; but another one does.
        assert_eq!(p.poll_refinement(), None);
        assert!(matches!(p.poll_slot(false, MS), Slot::Now { .. }));
        p.handle_path(PathState { rtt_us: 40_000, window_bytes: 200 << 10, queued_bytes: 0 });
        assert_eq!(p.poll_refinement(), Some(64 << 10));
        p.handle_path(PathState { rtt_us: 1_000, window_bytes: 200 << 10, queued_bytes: 0 });
        assert_eq!((p.is_fast(), p.poll_refinement()), (true, None));
        p.handle_shown(1, MS);
        assert_eq!(p.poll_refinement(), Some(4 << 10));
        p.handle_path(PathState { rtt_us: 40_000, window_bytes: 200 << 10, queued_bytes: 0 });
        p.handle_sent(1, (20 << 10, 0), Part::Refinement, MS);
        p.handle_sent(2, (178 << 10, 0), Part::Refinement, MS);
        assert_eq!(p.poll_refinement(), None);
        p.handle_shown(2, MS);
        p.handle_visible(false);
        assert_eq!(p.poll_refinement(), None);
    }

    #[test]
    fn a_viewer_that_shows_nothing_gets_nothing_more() {
        let mut p = attached();
        for i in 0..2 {
            p.handle_sent(i + 1, (1_000, 0), Part::First, i * 100 * MS);
        }
        assert_eq!(p.poll_slot(false, 1_000 * MS), Slot::Wait);
        p.handle_shown(1, MS);
        assert!(matches!(p.poll_slot(false, 1_000 * MS), Slot::Now { .. }));
    }

    #[test]
    fn a_viewer_that_needs_long_for_each_frame_gets_longer_ones() {
        // KiB of one refinement frame after the other; each KiB is a quarter of a tile.
        let budgets = |took: fn(u32, u32) -> Duration| {
            let mut p = attached();
            p.handle_path(PathState { rtt_us: 1_000, window_bytes: 200 << 10, queued_bytes: 0 });
            let mut budgets = Vec::new();
            for i in 0..9 {
                let (budget, at) = (p.poll_refinement().unwrap(), i * 200 * MS);
                let tiles = budget as u32 / 4096;
                budgets.push(budget >> 10);
                p.handle_sent(i + 1, (budget, tiles as usize), Part::Refinement, at);
                p.handle_shown(i + 1, at + MS + took(i, tiles));
            }
            budgets
        };
        let in_software = budgets(|_, tiles| 30 * MS + tiles * 3 * MS);
        assert_eq!(in_software, [4, 8, 16, 32, 64, 64, 64, 64, 64]);
        // Something else holds the viewer up four times. It decodes each of the long frames in more than 10 ms.
        let held_up = budgets(|i, tiles| tiles * 800 * MS / 1000 + if i < 4 { 30 * MS } else { Duration::ZERO });
        assert_eq!(held_up, [4, 8, 16, 32, 64, 32, 16, 8, 4]);
        // A picture begins meanwhile.
        let mut p = attached();
        p.handle_path(PathState { rtt_us: 1_000, window_bytes: 200 << 10, queued_bytes: 0 });
        p.handle_sent(1, (5_000, 1), Part::Refinement, MS);
        p.handle_sent(2, (5_000, 0), Part::First, 2 * MS);
        p.handle_shown(1, 30 * MS);
        p.handle_shown(2, 31 * MS);
        assert_eq!(p.poll_refinement(), Some(4 << 10));
    }

    #[test]
    fn a_viewer_that_is_slow_to_decode_is_found_out_and_may_prove_otherwise() {
        let mut p = attached();
        p.handle_path(PathState { rtt_us: 1_000, window_bytes: 200 << 10, queued_bytes: 0 });
        let mut found = Vec::new();
        // Tiles of a frame, and for how many milliseconds the viewer is busy with it.
        let frames = [(60, 90), (60, 200), (60, 90), (60, 200), (500, 1900), (16, 60), (400, 30), (16, 12)];
        for (i, (coded, took)) in frames.into_iter().enumerate() {
            let (sequence, at) = (i as u32 + 1, i as u32 * 4000 * MS);
            p.handle_sent(sequence, (5_000, coded), Part::First, at);
            p.handle_shown(sequence, at + (took + 1) * MS);
            found.push(p.scarce());
        }
        use Scarce::{Decoding, Time};
        assert_eq!(found, [Time, Time, Time, Time, Decoding, Decoding, Time, Time]);
        // Two frames sent at once are decoded one after the other.
        for i in 10..14 {
            p.handle_sent(i, (5_000, 50), Part::First, 40_000 * MS);
        }
        for i in 10..14 {
            p.handle_shown(i, (40_000 + 80 * (i - 9)) * MS);
        }
        assert_eq!(p.scarce(), Time);
        p.handle_path(PathState { rtt_us: 60_000, window_bytes: 200 << 10, queued_bytes: 0 });
        p.handle_attached();
        assert_eq!(p.scarce(), Scarce::Bytes);
    }

    #[test]
    fn small_frames_need_no_answer_but_every_eighth() {
        let mut p = attached();
        for i in 1..=7 {
            p.handle_sent(i, (90, 0), Part::First, i * 100 * MS);
        }
        assert_eq!(p.in_flight(), 0);
        for i in 8..=9 {
            assert!(matches!(p.poll_slot(false, 1000 * MS), Slot::Now { .. }));
            p.handle_sent(i, (90, 0), Part::First, 100 * MS);
        }
        assert_eq!((p.in_flight(), p.poll_slot(false, 1300 * MS)), (2, Slot::Wait));
        p.handle_shown(8, MS);
        assert_eq!(p.in_flight(), 0);
    }

    #[test]
    fn a_full_path_waits_and_a_long_one_may_hold_more_pictures() {
        let mut p = attached();
        p.handle_sent(1, (60 << 10, 0), Part::First, MS);
        assert_eq!(p.poll_slot(false, 100 * MS), Slot::Wait);
        assert!(matches!(p.poll_slot(true, MS), Slot::Now { .. }));
        p.handle_path(PathState { rtt_us: 60_000, window_bytes: 200 << 10, queued_bytes: 0 });
        for i in 2..=4 {
            assert!(matches!(p.poll_slot(false, 100 * i * MS), Slot::Now { .. }));
            p.handle_sent(i, (1_000, 0), Part::First, 100 * i * MS);
        }
        p.handle_sent(5, (1_000, 0), Part::First, 500 * MS);
        assert_eq!(p.poll_slot(false, 900 * MS), Slot::Wait);
    }
}
