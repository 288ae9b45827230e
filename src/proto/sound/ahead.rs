//! Decides how far ahead of the loudspeaker sound is written: a jitter buffer for the local machine, whose threads come
//! late where it has more to do than cores.
//!
//! What the device still had each time it was given more, and how long it stood still, go in; what is to wait for it
//! comes out. It grows when little is left, at best before anything is missing, and shrinks after minutes of calm.
//! [`Playhead`] finds out how long a device stood still from how far it has played.

use crate::proto::sound::packet::RATE;
use std::time::Duration;

/// Least that waits for the loudspeaker: a step of its own, one of the thread that writes, and what threads need to wake.
pub const AHEAD_MIN: Duration = Duration::from_millis(30);
/// With less than this waiting, something is made up rather than waited for: two steps of a device.
pub const AHEAD_SPENT: Duration = Duration::from_millis(20);
/// Most that waits, on a machine that is hopelessly busy.
pub const AHEAD_MAX: Duration = Duration::from_millis(90);
/// What waits here and what the jitter buffer holds back are no more than this together: with the 10 ms in the device
/// itself 150 ms, after which people begin to interrupt each other (ITU-T G.114).
const DELAY_MAX: Duration = Duration::from_millis(140);
/// Less than this left is a near miss.
const NEAR: Duration = Duration::from_millis(5);
/// It grows and shrinks by so much at once.
const STEP: Duration = Duration::from_millis(10);
/// What has grown is given this much time before it grows again without a fault.
const SETTLE: Duration = Duration::from_millis(200);
/// Without trouble for so long, it shrinks by a step.
const CALM: Duration = Duration::from_secs(60);

/// How far ahead of the loudspeaker sound is written.
#[derive(Clone, Debug)]
pub struct Ahead {
    wanted: Duration,
    /// When it grew or shrank last.
    changed_at: Option<Duration>,
    /// Least that was left since then, or in the last [`CALM`].
    least: Duration,
}

impl Ahead {
    /// For a machine that nothing is known of.
    pub fn new() -> Self {
        Self { wanted: AHEAD_MIN, changed_at: None, least: Duration::MAX }
    }

    /// Takes the least that the device had left before it was given more, since the last call. Only where it had been
    /// given all that was wanted: what did not come over the network is not this machine's fault.
    pub fn handle_left(&mut self, left: Duration, now: Duration) {
        self.least = self.least.min(left);
        let settled = self.changed_at.is_none_or(|at| now.saturating_sub(at) >= SETTLE);
        if left < NEAR && settled {
            self.grow(STEP, now);
        }
    }

    /// Takes that the device stood still, or played silence, for so long in the middle of a sound.
    pub fn handle_gap(&mut self, missing: Duration, now: Duration) {
        self.grow(STEP.max(missing), now);
    }

    /// Takes that time goes by.
    pub fn handle_time(&mut self, now: Duration) {
        let since = *self.changed_at.get_or_insert(now);
        if now.saturating_sub(since) < CALM {
            return;
        }
        // A step less would have been enough, too.
        if self.least >= STEP + NEAR {
            self.wanted = self.wanted.saturating_sub(STEP).max(AHEAD_MIN);
        }
        (self.changed_at, self.least) = (Some(now), Duration::MAX);
    }

    /// What is to wait for the loudspeaker, where the jitter buffer aims at this depth.
    pub fn wanted(&self, depth: Duration) -> Duration {
        self.wanted.min(DELAY_MAX.saturating_sub(depth)).max(AHEAD_MIN)
    }

    fn grow(&mut self, by: Duration, now: Duration) {
        self.wanted = (self.wanted + by).min(AHEAD_MAX);
        (self.changed_at, self.least) = (Some(now), Duration::MAX);
    }
}

impl Default for Ahead {
    fn default() -> Self {
        Self::new()
    }
}

/// Over this time the least lag is looked for: reports of a busy machine are late, but not all of them.
const WINDOW: Duration = Duration::from_millis(500);
/// Less than this is the reports' own inaccuracy and the drift of the clocks.
const NOISE: f64 = 0.003;

/// How far behind the clock a device has played, and so how long it stood still.
#[derive(Clone, Debug, Default)]
pub struct Playhead {
    /// Least lag of an earlier window, in seconds.
    base: Option<f64>,
    /// Least lag of this window, and when it began.
    window: Option<(f64, Duration)>,
}

impl Playhead {
    /// Takes that the device has played `frames` samples of each channel so far, and returns how long it is now known to
    /// have stood still.
    pub fn handle_position(&mut self, frames: u64, now: Duration) -> Option<Duration> {
        let lag = now.as_secs_f64() - frames as f64 / f64::from(RATE);
        let (least, since) = self.window.unwrap_or((lag, now));
        let least = least.min(lag);
        if now.saturating_sub(since) < WINDOW {
            self.window = Some((least, since));
            return None;
        }
        self.window = None;
        self.close(least)
    }

    /// The sound is at its end: what the device does from now on does not count. Returns what the last moments held.
    pub fn handle_end(&mut self) -> Option<Duration> {
        let last = self.window.take().and_then(|(least, _)| self.close(least));
        self.base = None;
        last
    }

    fn close(&mut self, least: f64) -> Option<Duration> {
        let base = self.base.replace(least)?;
        (least - base > NOISE).then(|| Duration::from_secs_f64(least - base))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_near_miss_and_a_gap_make_it_grow_up_to_a_bound() {
        let mut ahead = Ahead::new();
        ahead.handle_left(NEAR, Duration::ZERO);
        assert_eq!(ahead.wanted(10 * MS), AHEAD_MIN, "enough was left");
        ahead.handle_left(4 * MS, MS);
        assert_eq!(ahead.wanted(10 * MS), AHEAD_MIN + STEP);
        ahead.handle_left(4 * MS, 6 * MS);
        assert_eq!(ahead.wanted(10 * MS), AHEAD_MIN + STEP, "of the same moment");
        ahead.handle_gap(25 * MS, 6 * MS);
        assert_eq!(ahead.wanted(10 * MS), AHEAD_MIN + STEP + 25 * MS);
        for second in 1..60 {
            ahead.handle_gap(500 * MS, second * 1_000 * MS);
        }
        assert_eq!(ahead.wanted(10 * MS), AHEAD_MAX);
        assert_eq!(ahead.wanted(100 * MS), DELAY_MAX - 100 * MS, "a deep jitter buffer leaves less room");
        assert_eq!(ahead.wanted(400 * MS), AHEAD_MIN);
    }

    #[test]
    fn calm_makes_it_shrink_unless_what_has_grown_is_used() {
        let check = |left: Duration, expected: Duration| {
            let mut ahead = Ahead::new();
            ahead.handle_gap(20 * MS, Duration::ZERO);
            for second in 0..=600 {
                ahead.handle_left(left, second * 1_000 * MS);
                ahead.handle_time(second * 1_000 * MS);
            }
            assert_eq!(ahead.wanted(10 * MS), expected, "{left:?} left");
        };
        check(20 * MS, AHEAD_MIN);
        check(STEP + NEAR - MS, AHEAD_MIN + 20 * MS);
    }

    /// A device that is asked every 10 ms, `late(i)` ms late, and stands still for `still` ms at one second.
    fn stood_still(late: impl Fn(u64) -> u64, still: u64, skew_ppm: f64) -> Duration {
        let mut head = Playhead::default();
        let mut sum = Duration::ZERO;
        for i in 0..1_000_u64 {
            let played_ms = (i * 10).saturating_sub(if i >= 100 { still } else { 0 });
            let frames = played_ms as f64 * 48.0 * (1.0 + skew_ppm * 1e-6);
            sum += head.handle_position(frames as u64, (i * 10 + late(i)) as u32 * MS).unwrap_or_default();
        }
        sum + head.handle_end().unwrap_or_default()
    }

    #[test]
    fn a_device_that_stood_still_is_found_out_and_late_reports_and_other_clocks_are_not_taken_for_it() {
        let check = |found: Duration, still: Duration| assert!(found.abs_diff(still) < MS, "{found:?} for {still:?}");
        check(stood_still(|_| 0, 0, 0.0), Duration::ZERO);
        check(stood_still(|_| 0, 12, 0.0), 12 * MS);
        check(stood_still(|i| i * 7 % 40, 12, 0.0), 12 * MS);
        check(stood_still(|i| i * 7 % 40, 0, 500.0), Duration::ZERO);
        check(stood_still(|i| i * 7 % 40, 0, -500.0), Duration::ZERO);
    }

    #[test]
    fn what_a_device_does_after_the_end_does_not_count() {
        let mut head = Playhead::default();
        for i in 0..50 {
            assert_eq!(head.handle_position(u64::from(i) * 480, i * 10 * MS), None);
        }
        assert_eq!(head.handle_end(), None);
        for i in 0..50 {
            assert_eq!(head.handle_position((50 + u64::from(i)) * 480, (5_000 + i * 10) * MS), None);
        }
    }
}
