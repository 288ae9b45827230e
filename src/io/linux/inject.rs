//! Input into an X server by XTEST: keys by HID usage, pointer, wheel.
//!
//! Remembers what it pressed and releases only that. Has a connection of its own, so that a capture never delays a
//! key. Which events are legal is decided before: `proto::input`.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use x11rb::{
    connection::Connection,
    protocol::{
        Event,
        xinput::{ConnectionExt as _, InputStateData},
        xkb::EventType,
        xproto::{BUTTON_PRESS_EVENT, BUTTON_RELEASE_EVENT, KEY_PRESS_EVENT, KEY_RELEASE_EVENT, MOTION_NOTIFY_EVENT},
        xtest::ConnectionExt as _,
    },
    rust_connection::RustConnection,
};

use super::{
    keyboard::{self, KeyboardError, KeyboardLayout, KeyboardState, LockLights},
    keys::{keycode_from_usage, repeats},
    x11::{self, X11Error},
};
use crate::geom::Point;
use crate::proto::wire::{KeyAction, LockKeys};

/// Input could not be given to the X server.
#[derive(Debug, thiserror::Error)]
pub enum InjectError {
    /// The server failed.
    #[error(transparent)]
    X11(#[from] X11Error),
    /// The layout could not be set.
    #[error(transparent)]
    Keyboard(#[from] KeyboardError),
    /// No key has this usage on HID page 0x07.
    #[error("no key has the HID usage {0:#04x}")]
    Usage(u16),
    /// X pointers have buttons 1 to 9 here.
    #[error("there is no pointer button {0}")]
    Button(u8),
}

/// Presses and releases keys and buttons of one X server.
pub struct Injector {
    conn: RustConnection,
    root: u32,
    lights: LockLights,
    display: String,
    xauthority: Option<PathBuf>,
    /// The keyboard as a whole is ours, so that it must not repeat keys by itself.
    has_keyboard: bool,
    /// Keycodes that are down because of us.
    keys: BTreeSet<u8>,
    /// Buttons that are down because of us.
    buttons: BTreeSet<u8>,
    /// What is left of a detent, 1/120 each.
    wheel: (i32, i32),
}

impl Injector {
    /// Connects to a display. Its keyboard stays as it is until [`Injector::take_keyboard`].
    ///
    /// # Errors
    /// [`InjectError::X11`] if the server cannot be reached or lacks XTEST or XKB.
    pub fn connect(display: &str, xauthority: Option<&Path>) -> Result<Self, InjectError> {
        let (conn, screen) = x11::connect(display, xauthority)?;
        let root = conn.setup().roots[screen].root;
        conn.xtest_get_version(2, 2).map_err(X11Error::from)?.reply().map_err(X11Error::from)?;
        keyboard::watch(&conn, EventType::CONTROLS_NOTIFY | EventType::NEW_KEYBOARD_NOTIFY)?;
        let lights = LockLights::new(&conn)?;
        Ok(Self {
            conn,
            root,
            lights,
            display: display.into(),
            xauthority: xauthority.map(Path::to_path_buf),
            has_keyboard: false,
            keys: BTreeSet::new(),
            buttons: BTreeSet::new(),
            wheel: (0, 0),
        })
    }

    /// Stops the display's own key repeat, now and whenever a program sets it again; tells how the keyboard was.
    ///
    /// # Errors
    /// [`InjectError::X11`] if the connection is lost.
    pub fn take_keyboard(&mut self) -> Result<KeyboardState, InjectError> {
        let found = KeyboardState::read(&self.conn, self.root, self.lights)?;
        keyboard::stop_repeat(&self.conn)?;
        self.has_keyboard = true;
        Ok(found)
    }

    /// Releases all keys and makes layout, lock keys and key repeat what they were.
    ///
    /// # Errors
    /// [`InjectError::Keyboard`] if the layout cannot be set again, and all else is as it was; [`InjectError::X11`] if the
    /// connection is lost.
    pub fn return_keyboard(&mut self, found: &KeyboardState) -> Result<(), InjectError> {
        self.release_all()?;
        self.has_keyboard = false;
        let layout = match found.other_layout(&self.conn, self.root)? {
            Some(layout) => keyboard::set_layout(&self.display, self.xauthority.as_deref(), layout),
            None => Ok(()),
        };
        found.restore(&self.conn, self.lights)?;
        Ok(layout?)
    }

    /// Does something to the key with this usage on HID page 0x07.
    ///
    /// Releasing or repeating what we did not press does nothing; pressing what is down counts as a repeat. XTEST drops
    /// a second press, so a repeat is a release and a press, which is what X programs know as one. Modifiers and lock
    /// keys do not repeat.
    ///
    /// # Errors
    /// [`InjectError::Usage`] for a usage without a key, [`InjectError::X11`] if the connection is lost.
    pub fn key(&mut self, usage: u16, action: KeyAction) -> Result<(), InjectError> {
        let keycode = keycode_from_usage(usage).ok_or(InjectError::Usage(usage))?;
        self.settle()?;
        match action {
            KeyAction::Release => {
                if self.keys.remove(&keycode) {
                    self.send(KEY_RELEASE_EVENT, keycode)?;
                }
            }
            KeyAction::Press if self.keys.insert(keycode) => self.send(KEY_PRESS_EVENT, keycode)?,
            KeyAction::Press | KeyAction::Repeat => {
                if self.keys.contains(&keycode) && repeats(usage) {
                    self.send(KEY_RELEASE_EVENT, keycode)?;
                    self.send(KEY_PRESS_EVENT, keycode)?;
                }
            }
        }
        self.flush()
    }

    /// Moves the pointer; the server keeps it on its screen.
    ///
    /// # Errors
    /// [`InjectError::X11`] if the connection is lost.
    pub fn motion(&mut self, to: Point) -> Result<(), InjectError> {
        let clamp = |v: u32| v.min(i16::MAX as u32) as i16;
        self.conn
            .xtest_fake_input(MOTION_NOTIFY_EVENT, 0, 0, self.root, clamp(to.x), clamp(to.y), 0)
            .map_err(X11Error::from)?;
        self.flush()
    }

    /// Presses or releases a button in X's count: 1 left, 2 middle, 3 right, 8 back, 9 forward.
    ///
    /// The wheel's buttons 4 to 7 belong to [`Injector::wheel`]. Releasing what we did not press does nothing.
    ///
    /// # Errors
    /// [`InjectError::Button`] for any other number, [`InjectError::X11`] if the connection is lost.
    pub fn button(&mut self, n: u8, pressed: bool) -> Result<(), InjectError> {
        if !matches!(n, 1..=3 | 8..=9) {
            return Err(InjectError::Button(n));
        }
        match pressed {
            true if self.buttons.insert(n) => self.send(BUTTON_PRESS_EVENT, n)?,
            false if self.buttons.remove(&n) => self.send(BUTTON_RELEASE_EVENT, n)?,
            _ => {}
        }
        self.flush()
    }

    /// Turns the wheel by 1/120 of a detent: `dy` up is positive, `dx` to the right is positive.
    ///
    /// Whole detents become clicks, the rest is kept until there is enough of it or the direction turns.
    ///
    /// # Errors
    /// [`InjectError::X11`] if the connection is lost.
    pub fn wheel(&mut self, dx: i32, dy: i32) -> Result<(), InjectError> {
        for (rest, delta, forth, back) in [(&mut self.wheel.0, dx, 7, 6), (&mut self.wheel.1, dy, 4, 5)] {
            let clicks = detents(rest, delta);
            let button = if clicks > 0 { forth } else { back };
            for _ in 0..clicks.unsigned_abs() {
                for kind in [BUTTON_PRESS_EVENT, BUTTON_RELEASE_EVENT] {
                    self.conn.xtest_fake_input(kind, button, 0, 0, 0, 0, 0).map_err(X11Error::from)?;
                }
            }
        }
        self.flush()
    }

    /// Releases every key and button that we hold down.
    ///
    /// # Errors
    /// [`InjectError::X11`] if the connection is lost.
    pub fn release_all(&mut self) -> Result<(), InjectError> {
        for keycode in std::mem::take(&mut self.keys) {
            self.send(KEY_RELEASE_EVENT, keycode)?;
        }
        for button in std::mem::take(&mut self.buttons) {
            self.send(BUTTON_RELEASE_EVENT, button)?;
        }
        self.wheel = (0, 0);
        self.flush()
    }

    /// Releases whatever XTEST holds down: what a session process that was killed has left behind. What hands hold at the
    /// display's own devices stays down.
    ///
    /// # Errors
    /// [`InjectError::X11`] if the connection is lost.
    pub fn release_left_behind(&mut self) -> Result<(), InjectError> {
        let conn = &self.conn;
        conn.xinput_xi_query_version(2, 0).map_err(X11Error::from)?.reply().map_err(X11Error::from)?;
        let devices = conn.xinput_xi_query_device(ALL_DEVICES).map_err(X11Error::from)?;
        for device in devices.reply().map_err(X11Error::from)?.infos {
            // The server gives each pair of keyboard and pointer two more devices with such names.
            let name = String::from_utf8_lossy(&device.name);
            let (true, Ok(id)) = (name.contains(" XTEST "), device.deviceid.try_into()) else { continue };
            let state = conn.xinput_query_device_state(id).map_err(X11Error::from)?.reply().map_err(X11Error::from)?;
            for class in state.classes {
                match class.data {
                    InputStateData::Key(keys) => {
                        for keycode in ones(&keys.keys) {
                            self.send(KEY_RELEASE_EVENT, keycode)?;
                        }
                    }
                    InputStateData::Button(buttons) => {
                        for button in ones(&buttons.buttons) {
                            self.send(BUTTON_RELEASE_EVENT, button)?;
                        }
                    }
                    _ => {}
                }
            }
        }
        self.flush()
    }

    /// Makes the server's lock keys equal to `wanted`; does nothing if they are.
    ///
    /// A lock that the layout does not have (Scroll Lock in most) is left alone.
    ///
    /// # Errors
    /// [`InjectError::X11`] if the connection is lost.
    pub fn locks(&mut self, wanted: LockKeys) -> Result<(), InjectError> {
        Ok(self.lights.set(&self.conn, wanted)?)
    }

    /// Releases all keys and gives the server's keyboard another layout.
    ///
    /// # Errors
    /// [`InjectError::Keyboard`] if there is no such layout, [`InjectError::X11`] if the connection is lost.
    pub fn set_layout(&mut self, layout: &KeyboardLayout) -> Result<(), InjectError> {
        self.release_all()?;
        keyboard::set_layout(&self.display, self.xauthority.as_deref(), layout)?;
        if self.has_keyboard {
            keyboard::stop_repeat(&self.conn)?;
        }
        Ok(())
    }

    /// How many keys and buttons are down because of us.
    pub fn pressed(&self) -> usize {
        self.keys.len() + self.buttons.len()
    }

    /// Reads the events that have come and stops the key repeat again if a program (settings daemon) set it.
    fn settle(&mut self) -> Result<(), InjectError> {
        let mut changed = false;
        while let Some(event) = self.conn.poll_for_event().map_err(X11Error::from)? {
            changed |= matches!(event, Event::XkbControlsNotify(_) | Event::XkbNewKeyboardNotify(_));
        }
        if changed && self.has_keyboard && keyboard::stop_repeat(&self.conn)? {
            tracing::debug!("Key repeat of the X server stopped again");
        }
        Ok(())
    }

    fn send(&self, kind: u8, detail: u8) -> Result<(), InjectError> {
        self.conn.xtest_fake_input(kind, detail, 0, 0, 0, 0, 0).map_err(X11Error::from)?;
        Ok(())
    }

    fn flush(&self) -> Result<(), InjectError> {
        Ok(self.conn.flush().map_err(X11Error::from)?)
    }
}

impl Drop for Injector {
    /// No key stays down, however the session ends.
    fn drop(&mut self) {
        // The connection may be gone, and then the server has forgotten us anyway.
        let _ = self.release_all();
        let _ = x11rb::wrapper::ConnectionExt::sync(&self.conn);
    }
}

/// The numbers of the bits that are set, the lowest bit of the first byte first.
fn ones(bits: &[u8; 32]) -> impl Iterator<Item = u8> {
    (0..=255u8).filter(|i| bits[usize::from(i / 8)] >> (i % 8) & 1 == 1)
}

/// Takes whole detents out of `rest + delta`, at most [`CLICKS_MAX`] of them.
fn detents(rest: &mut i32, delta: i32) -> i32 {
    if rest.signum() * delta.signum() < 0 {
        *rest = 0;
    }
    let sum = rest.saturating_add(delta);
    *rest = sum % DETENT;
    (sum / DETENT).clamp(-CLICKS_MAX, CLICKS_MAX)
}

/// XInput's word for all devices, masters too.
const ALL_DEVICES: u16 = 0;
/// Units of one wheel detent.
const DETENT: i32 = 120;
/// Clicks per call; a hostile delta must not keep the server busy.
const CLICKS_MAX: i32 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(deltas: &[i32], clicks: &[i32]) {
        let mut rest = 0;
        let found: Vec<i32> = deltas.iter().map(|delta| detents(&mut rest, *delta)).collect();
        assert_eq!(found, clicks, "deltas {deltas:?}");
    }

    #[test]
    fn wheel_clicks_once_per_detent() {
        check(&[120, 240, -120], &[1, 2, -1]);
        check(&[40, 40, 40, 40], &[0, 0, 1, 0]);
        check(&[-60, -60, -60], &[0, -1, 0]);
    }

    #[test]
    fn wheel_forgets_the_rest_when_the_direction_turns() {
        check(&[100, -100, -20], &[0, 0, -1]);
    }

    #[test]
    fn wheel_bounds_hostile_deltas() {
        check(&[i32::MAX, i32::MIN, i32::MIN], &[CLICKS_MAX, -CLICKS_MAX, -CLICKS_MAX]);
    }
}
