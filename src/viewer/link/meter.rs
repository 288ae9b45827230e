//! Counts the frames of a connection, and measures from an input event to the picture that answers it.

use crate::proto::wire::{InputEvent, InputMessage, KeyAction};
use crate::viewer::event::Numbers;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Answered input events that the latency is computed from.
const LATENCIES_MAX: usize = 200;
/// An event whose answer takes longer changed nothing on the screen by itself.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// Counts frames and measures answers.
#[derive(Debug, Default)]
pub(super) struct Meter {
    begun: Option<Instant>,
    pub(super) frames_taken: u64,
    frames_applied: u64,
    /// Tiles that were not what the host said.
    pub(super) defects: u64,
    /// The last frame that was applied completed its picture.
    whole: bool,
    frames: u64,
    frames_before: u64,
    pub(super) bytes_before: u64,
    decode: Option<Duration>,
    sent: VecDeque<(u32, Instant)>,
    latencies: VecDeque<Duration>,
}

impl Meter {
    pub(super) fn begun(now: Instant) -> Self {
        Self { begun: Some(now), ..Self::default() }
    }

    pub(super) fn handle_sent(&mut self, message: InputMessage) {
        let counts = matches!(
            message.event,
            InputEvent::Key { action: KeyAction::Press | KeyAction::Repeat, .. }
                | InputEvent::Button { pressed: true, .. }
                | InputEvent::Wheel { .. }
        );
        if counts && self.sent.len() < LATENCIES_MAX {
            self.sent.push_back((message.number, Instant::now()));
        }
    }

    pub(super) fn handle_shown(&mut self, input: u32, presented: bool, decode: Option<Duration>) {
        self.decode = decode.or(self.decode);
        self.frames_applied += 1;
        self.whole = presented;
        if !presented {
            return;
        }
        self.frames += 1;
        while let Some((number, at)) = self.sent.front().copied() {
            if number > input {
                break;
            }
            self.sent.pop_front();
            let took = at.elapsed();
            if took < ANSWER_MAX {
                self.latencies.push_back(took);
            }
            if self.latencies.len() > LATENCIES_MAX {
                self.latencies.pop_front();
            }
        }
    }

    pub(super) fn numbers(&mut self) -> Numbers {
        let frames_per_second = self.frames - self.frames_before;
        self.frames_before = self.frames;
        let mut sorted: Vec<Duration> = self.latencies.iter().copied().collect();
        sorted.sort_unstable();
        let latency = (!sorted.is_empty()).then(|| (sorted[sorted.len() / 2], sorted[sorted.len() * 95 / 100]));
        Numbers {
            uptime: self.begun.map_or(Duration::ZERO, |b| b.elapsed()),
            frames_per_second,
            frames: self.frames,
            decode: self.decode,
            exact: self.whole && self.frames_applied == self.frames_taken,
            latency,
            ..Numbers::default()
        }
    }
}
