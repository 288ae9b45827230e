//! What the user does on the picture: keys, buttons, motion and wheel, to the session or to a shortcut of ours.
//!
//! Keys belong to the picture unless a page wants them; shortcuts are recognised here, before they are sent.

use super::App;
use crate::geom::Point;
use crate::proto::wire::PointerButton;
use crate::viewer::event::{Command, UserInput};
use crate::viewer::keymap::{self, usage_from_key};
use tokio::sync::mpsc;
use winit::dpi::PhysicalPosition;
use winit::event::{ElementState, KeyEvent, MouseButton, MouseScrollDelta};

/// Pixels that a touch pad has to move for one detent of a wheel.
const PIXELS_PER_DETENT: f64 = 40.0;
/// What one detent is on the wire.
const DETENT: f64 = 120.0;

/// Input on its way to the net thread, which may stand still for a while: what a full channel does to it.
#[derive(Debug, Default)]
pub(super) struct Way {
    /// A motion that found the channel full; the newest counts.
    motion: Option<Point>,
    /// Something else did, perhaps a release: nobody knows any more what is down.
    is_broken: bool,
}

impl Way {
    fn send(&mut self, commands: &mpsc::Sender<Command>, input: UserInput) {
        if let UserInput::Motion(position) = input {
            self.motion = Some(position);
            self.flush(commands);
        } else if !self.flush(commands) || commands.try_send(Command::Input(input)).is_err() {
            if !self.is_broken {
                tracing::warn!("Input was lost: the link takes none. All keys will be let go");
            }
            self.is_broken = true;
        }
    }

    /// Sends what found the channel full, the release of everything first; whether nothing is left of it.
    pub(super) fn flush(&mut self, commands: &mpsc::Sender<Command>) -> bool {
        if commands.is_closed() {
            return true;
        }
        if self.is_broken && commands.try_send(Command::Input(UserInput::FocusLost)).is_err() {
            return false;
        }
        self.is_broken = false;
        if let Some(position) = self.motion
            && commands.try_send(Command::Input(UserInput::Motion(position))).is_err()
        {
            return false;
        }
        self.motion = None;
        true
    }
}

/// A key that is held repeats as long as the channel is half empty: the other half is for its release. A viewer that stood
/// still finds a hundred repeats at once.
fn has_room_for_repeats(commands: &mpsc::Sender<Command>) -> bool {
    commands.capacity() > commands.max_capacity() / 2
}

impl App {
    pub(super) fn input(&mut self, input: UserInput) {
        if self.link.state.is_none() || self.settings.view_only {
            return;
        }
        self.way.send(&self.ends.commands, input);
    }

    pub(super) fn handle_key(&mut self, event: &KeyEvent) {
        let Some(usage) = usage_from_key(event.physical_key) else { return };
        let pressed = event.state == ElementState::Pressed;
        if pressed {
            self.down.insert(usage);
        } else {
            self.down.remove(&usage);
            if self.swallowed.remove(&usage) {
                return;
            }
        }
        if pressed && !event.repeat && !self.settings.kiosk && self.shortcut(usage) {
            self.swallowed.insert(usage);
        }
        if self.swallowed.contains(&usage) || !self.link.is_live() {
            return;
        }
        if event.repeat && !has_room_for_repeats(&self.ends.commands) {
            return;
        }
        // What is typed while the link stands still is kept and arrives; a release goes out whoever has the keyboard now.
        if !pressed || !self.wants_keyboard || self.link.is_stalled() {
            self.input(UserInput::Key { usage, down: pressed });
        }
    }

    /// Ctrl+Alt with Enter, Home, or Shift and Home. AltGr is not Alt, so no letter is ever lost to these.
    fn shortcut(&mut self, usage: u16) -> bool {
        use keymap::{ENTER, HOME, LEFT_ALT, LEFT_CONTROL, LEFT_SHIFT, RIGHT_CONTROL, RIGHT_SHIFT};
        let held = |keys: &[u16]| keys.iter().any(|k| self.down.contains(k));
        if !held(&[LEFT_CONTROL, RIGHT_CONTROL]) || !held(&[LEFT_ALT]) {
            return false;
        }
        match (usage, held(&[LEFT_SHIFT, RIGHT_SHIFT])) {
            (ENTER, false) => self.toggle_fullscreen(),
            (HOME, false) => {
                self.bar_summoned = !self.bar_summoned;
                if self.bar_summoned {
                    self.input(UserInput::FocusLost);
                }
                self.refresh();
            }
            (HOME, true) => self.toggle_stats(),
            _ => return false,
        }
        true
    }

    pub(super) fn handle_focus(&mut self, focused: bool) {
        if focused {
            self.tell_locks();
        } else {
            self.down.clear();
            self.swallowed.clear();
            self.input(UserInput::FocusLost);
        }
    }

    pub(super) fn tell_locks(&mut self) {
        if let Some(locks) = self.keyboard.locks() {
            self.input(UserInput::Locks(locks));
        }
    }

    pub(super) fn handle_pointer(&mut self, position: PhysicalPosition<f64>) {
        if !self.link.is_live() || self.wants_pointer {
            return;
        }
        if let Some(position) = self.fit().nearest_in_picture(position.x, position.y) {
            self.input(UserInput::Motion(position));
        }
    }

    pub(super) fn handle_button(&mut self, button: MouseButton, state: ElementState) {
        let button = match button {
            MouseButton::Left => PointerButton::Left,
            MouseButton::Middle => PointerButton::Middle,
            MouseButton::Right => PointerButton::Right,
            MouseButton::Back => PointerButton::Back,
            MouseButton::Forward => PointerButton::Forward,
            MouseButton::Other(_) => return,
        };
        let pressed = state == ElementState::Pressed;
        // A release always goes out, wherever the pointer is by now: no button may stick.
        if self.link.is_live() && (!pressed || !self.wants_pointer) {
            self.input(UserInput::Button { button, pressed });
        }
    }

    pub(super) fn handle_wheel(&mut self, delta: MouseScrollDelta) {
        if !self.link.is_live() || self.wants_pointer {
            return;
        }
        // winit counts how far the content moves, the wire how far the view does.
        let (x, y) = match delta {
            MouseScrollDelta::LineDelta(x, y) => (f64::from(-x) * DETENT, f64::from(-y) * DETENT),
            MouseScrollDelta::PixelDelta(p) => (-p.x / PIXELS_PER_DETENT * DETENT, -p.y / PIXELS_PER_DETENT * DETENT),
        };
        self.wheel = (self.wheel.0 + x, self.wheel.1 + y);
        let (dx, dy) = (self.wheel.0.trunc() as i16, self.wheel.1.trunc() as i16);
        self.wheel = (self.wheel.0.fract(), self.wheel.1.fract());
        if (dx, dy) != (0, 0) {
            self.input(UserInput::Wheel { dx, dy });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: u16 = 0x04;

    fn key(down: bool) -> UserInput {
        UserInput::Key { usage: A, down }
    }

    fn taken(commands: &mut mpsc::Receiver<Command>) -> Vec<UserInput> {
        let input = |command| match command {
            Command::Input(input) => input,
            other => panic!("{other:?} is no input"),
        };
        std::iter::from_fn(|| commands.try_recv().ok()).map(input).collect()
    }

    #[test]
    fn a_release_that_found_no_room_lets_everything_go_later() {
        let (sender, mut commands) = mpsc::channel(2);
        let mut way = Way::default();
        way.send(&sender, key(true));
        way.send(&sender, key(true));
        way.send(&sender, key(false));
        assert!(!way.flush(&sender), "there is no room yet");
        way.send(&sender, UserInput::Motion(Point { x: 1, y: 1 }));
        assert_eq!(taken(&mut commands), [key(true), key(true)]);
        assert!(way.flush(&sender));
        assert_eq!(taken(&mut commands), [UserInput::FocusLost, UserInput::Motion(Point { x: 1, y: 1 })]);
        way.send(&sender, key(true));
        assert_eq!(taken(&mut commands), [key(true)], "once is enough");
    }

    #[test]
    fn of_motions_that_found_no_room_the_newest_comes_before_what_follows() {
        let (sender, mut commands) = mpsc::channel(2);
        let mut way = Way::default();
        for x in 1..=4 {
            way.send(&sender, UserInput::Motion(Point { x, y: 0 }));
        }
        assert_eq!(taken(&mut commands), [1, 2].map(|x| UserInput::Motion(Point { x, y: 0 })));
        way.send(&sender, key(true));
        assert_eq!(taken(&mut commands), [UserInput::Motion(Point { x: 4, y: 0 }), key(true)]);
    }

    #[test]
    fn repeats_leave_room_for_the_release() {
        let (sender, mut commands) = mpsc::channel(8);
        let mut way = Way::default();
        for _ in 0..100 {
            if has_room_for_repeats(&sender) {
                way.send(&sender, key(true));
            }
        }
        way.send(&sender, key(false));
        assert_eq!(taken(&mut commands), [key(true), key(true), key(true), key(true), key(false)]);
    }
}
