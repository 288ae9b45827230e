//! Keyboard and pointer at both ends: what the user did becomes numbered events, and no key stays down by accident.
//!
//! Viewer: [`Input`] merges pointer motion and releases everything when the window loses the focus. Host: [`Held`] lets
//! only legal events through and knows what has to be released when the viewer is gone. Wire form: `proto::wire`.

use crate::geom::Point;
use crate::proto::wire::{InputEvent, InputMessage, KeyAction, LockKeys, PointerButton};
use std::collections::{BTreeSet, VecDeque};
use thiserror::Error;

/// Events that wait to be sent. A person makes some 30 a second; a full queue means a link that has stood still for
/// seconds, which the user is told of.
pub const QUEUE_MAX: usize = 256;

/// The viewer's side.
#[derive(Debug, Default)]
pub struct Input {
    keys: BTreeSet<u16>,
    buttons: BTreeSet<u8>,
    queue: VecDeque<InputEvent>,
    position: Option<Point>,
    locks: Option<LockKeys>,
    number: u32,
}

/// A viewer's events cannot be what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("input event {found} follows event {last}")]
pub struct NumberError {
    /// The last event's number.
    pub last: u32,
    /// The number of the one after it.
    pub found: u32,
}

/// The host's side: what this viewer holds down.
#[derive(Debug, Default)]
pub struct Held {
    keys: BTreeSet<u16>,
    buttons: BTreeSet<u8>,
    last: u32,
}

impl Input {
    /// Nothing is pressed.
    pub fn new() -> Self {
        Self::default()
    }

    /// A new connection: numbers start again, and what is still held counts as released there.
    pub fn handle_connected(&mut self) {
        self.queue.clear();
        self.keys.clear();
        self.buttons.clear();
        self.number = 0;
        if let Some(locks) = self.locks {
            self.queue.push_back(InputEvent::Locks(locks));
        }
        if let Some(position) = self.position {
            self.queue.push_back(InputEvent::Motion(position));
        }
    }

    /// A key went down (again, while it was held) or up. A release of a key that this window did not see go down is
    /// not sent. Returns whether there was room.
    pub fn handle_key(&mut self, usage: u16, down: bool) -> bool {
        let action = match (down, self.keys.contains(&usage)) {
            (true, false) => KeyAction::Press,
            (true, true) => KeyAction::Repeat,
            (false, true) => KeyAction::Release,
            (false, false) => return true,
        };
        // A repeat that waits says nothing that a second one would add to.
        if action == KeyAction::Repeat && self.queue.len() >= QUEUE_MAX / 4 {
            return true;
        }
        if down && !self.has_room() {
            return false;
        }
        if down {
            self.keys.insert(usage)
        } else {
            self.keys.remove(&usage)
        };
        self.queue.push_back(InputEvent::Key { usage, action });
        true
    }

    /// The pointer is somewhere else; an unsent position before it is forgotten.
    pub fn handle_motion(&mut self, position: Point) {
        if self.position == Some(position) {
            return;
        }
        self.position = Some(position);
        if let Some(InputEvent::Motion(last)) = self.queue.back_mut() {
            *last = position;
        } else if self.has_room() {
            self.queue.push_back(InputEvent::Motion(position));
        }
    }

    /// A button went down or up. Returns whether there was room.
    pub fn handle_button(&mut self, button: PointerButton, pressed: bool) -> bool {
        let known = self.buttons.contains(&(button as u8));
        if pressed == known {
            return true;
        }
        if pressed && !self.has_room() {
            return false;
        }
        if pressed {
            self.buttons.insert(button as u8)
        } else {
            self.buttons.remove(&(button as u8))
        };
        self.queue.push_back(InputEvent::Button { button, pressed });
        true
    }

    /// The wheel turned, in 1/120 of a detent; turns that wait are added up.
    pub fn handle_wheel(&mut self, dx: i16, dy: i16) {
        if let Some(InputEvent::Wheel { dx: x, dy: y }) = self.queue.back_mut() {
            (*x, *y) = (x.saturating_add(dx), y.saturating_add(dy));
        } else if (dx, dy) != (0, 0) && self.has_room() {
            self.queue.push_back(InputEvent::Wheel { dx, dy });
        }
    }

    /// The window lost the focus: nothing is held any more.
    pub fn handle_focus_lost(&mut self) {
        if self.is_holding() {
            self.keys.clear();
            self.buttons.clear();
            self.queue.push_back(InputEvent::ReleaseAll);
        }
    }

    /// Nothing was sent for [`crate::limits::HELD_ALIVE`]: if something is held, says that we are still there, by the
    /// release of a key that is not down, which changes nothing.
    pub fn handle_silence(&mut self) {
        if self.is_holding()
            && let Some(usage) = (0x04..=0xe7).find(|u| !self.keys.contains(u))
        {
            self.queue.push_back(InputEvent::Key { usage, action: KeyAction::Release });
        }
    }

    /// Whether a key or button is down.
    pub fn is_holding(&self) -> bool {
        !self.keys.is_empty() || !self.buttons.is_empty()
    }

    /// The keyboard's lock keys; sent when they differ from what was sent last.
    pub fn handle_locks(&mut self, locks: LockKeys) {
        if self.locks == Some(locks) {
            return;
        }
        if let Some(InputEvent::Locks(last)) = self.queue.back_mut() {
            *last = locks;
        } else if self.has_room() {
            self.queue.push_back(InputEvent::Locks(locks));
        } else {
            return;
        }
        self.locks = Some(locks);
    }

    /// The next event to send, with its number.
    pub fn poll_event(&mut self) -> Option<InputMessage> {
        let event = self.queue.pop_front()?;
        self.number += 1;
        Some(InputMessage { number: self.number, event })
    }

    /// Whether a key or button can still be taken.
    pub fn has_room(&self) -> bool {
        self.queue.len() < QUEUE_MAX
    }
}

impl Held {
    /// Nothing is held; the connection has carried this many events.
    pub fn new(events: u32) -> Self {
        Self { last: events, ..Self::default() }
    }

    /// Takes an event; `None` if it changes nothing, so that nothing is to be injected.
    ///
    /// # Errors
    /// [`NumberError`] if it is not the one after the last.
    pub fn handle_event(&mut self, message: InputMessage) -> Result<Option<InputEvent>, NumberError> {
        if message.number != self.last.wrapping_add(1) {
            return Err(NumberError { last: self.last, found: message.number });
        }
        self.last = message.number;
        let fresh = match message.event {
            InputEvent::Key { usage, action: KeyAction::Press } => self.keys.insert(usage),
            InputEvent::Key { usage, action: KeyAction::Repeat } => self.keys.contains(&usage),
            InputEvent::Key { usage, action: KeyAction::Release } => self.keys.remove(&usage),
            InputEvent::Button { button, pressed: true } => self.buttons.insert(button as u8),
            InputEvent::Button { button, pressed: false } => self.buttons.remove(&(button as u8)),
            InputEvent::ReleaseAll => return Ok(self.handle_gone()),
            InputEvent::Motion(_) | InputEvent::Wheel { .. } | InputEvent::Locks(_) => true,
        };
        Ok(fresh.then_some(message.event))
    }

    /// The viewer is gone, or says that nothing is held: what to inject, if anything is down.
    pub fn handle_gone(&mut self) -> Option<InputEvent> {
        let any = self.is_holding();
        self.keys.clear();
        self.buttons.clear();
        any.then_some(InputEvent::ReleaseAll)
    }

    /// Whether a key or button is down.
    pub fn is_holding(&self) -> bool {
        !self.keys.is_empty() || !self.buttons.is_empty()
    }

    /// Number of the last event; 0 before the first.
    pub fn last(&self) -> u32 {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(input: &mut Input) -> Vec<InputEvent> {
        std::iter::from_fn(|| input.poll_event()).map(|m| m.event).collect()
    }

    #[test]
    fn focus_loss_releases_what_is_held_once() {
        let mut input = Input::new();
        input.handle_key(0xe1, true);
        input.handle_key(4, true);
        input.handle_focus_lost();
        input.handle_key(4, false);
        input.handle_focus_lost();
        assert_eq!(drain(&mut input)[2..], [InputEvent::ReleaseAll]);
    }

    #[test]
    fn motion_is_merged_but_never_across_a_click() {
        let mut input = Input::new();
        for x in 0..10 {
            input.handle_motion(Point { x, y: 0 });
        }
        input.handle_button(PointerButton::Left, true);
        input.handle_motion(Point { x: 50, y: 0 });
        let motion = |x| InputEvent::Motion(Point { x, y: 0 });
        let press = InputEvent::Button { button: PointerButton::Left, pressed: true };
        assert_eq!(drain(&mut input), [motion(9), press, motion(50)]);
    }

    #[test]
    fn a_full_queue_refuses_presses_and_never_a_release() {
        let mut input = Input::new();
        assert!(input.handle_key(4, true));
        for i in 0..QUEUE_MAX {
            input.handle_button(PointerButton::Left, i % 2 == 0);
        }
        assert!(!input.handle_key(5, true));
        assert!(input.handle_key(4, false));
        assert_eq!(drain(&mut input).last(), Some(&InputEvent::Key { usage: 4, action: KeyAction::Release }));
    }

    #[test]
    fn a_held_key_is_kept_alive_by_an_event_that_changes_nothing() {
        let (mut input, mut held) = (Input::new(), Held::new(0));
        input.handle_silence();
        assert_eq!(input.poll_event(), None);
        input.handle_key(4, true);
        input.handle_silence();
        assert!(held.handle_event(input.poll_event().unwrap()).unwrap().is_some());
        assert_eq!(held.handle_event(input.poll_event().unwrap()), Ok(None));
        assert!(held.is_holding());
    }

    #[test]
    fn the_host_takes_each_number_once_and_releases_when_the_viewer_goes() {
        let mut held = Held::new(0);
        let key = |number, usage, action| InputMessage { number, event: InputEvent::Key { usage, action } };
        assert!(held.handle_event(key(1, 4, KeyAction::Press)).unwrap().is_some());
        assert_eq!(held.handle_event(key(2, 5, KeyAction::Release)), Ok(None));
        assert_eq!(held.handle_event(key(2, 6, KeyAction::Press)), Err(NumberError { last: 2, found: 2 }));
        assert_eq!(held.handle_gone(), Some(InputEvent::ReleaseAll));
        assert_eq!(held.handle_gone(), None);
    }
}
