//! The X server's keyboard as a whole: layout, lock keys, and its own key repeat, which is off while a session uses it.
//!
//! Single keys are pressed by `inject`; `screen` reports lock keys that programs or layouts change.

use std::{
    borrow::Cow,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use x11rb::{
    connection::RequestConnection,
    protocol::{
        xkb::{self, BoolCtrl, ConnectionExt as _, Control, EventType, Group, ID, LedClass, MapPart, SelectEventsAux},
        xproto::{AtomEnum, ConnectionExt as _, ModMask},
    },
    rust_connection::RustConnection,
};

use super::{process, x11::X11Error};
use crate::proto::wire::LockKeys;

/// A keyboard layout in the words of XKB.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyboardLayout {
    /// Rules, for example `base`; empty means `evdev`.
    #[serde(default)]
    pub rules: String,
    /// Model, for example `pc105`; empty means `pc105`.
    #[serde(default)]
    pub model: String,
    /// Layouts, for example `ch` or `de,us`.
    pub layout: String,
    /// Variants, for example `fr`; empty for none.
    #[serde(default)]
    pub variant: String,
    /// Options, for example `ctrl:nocaps`; empty for none.
    #[serde(default)]
    pub options: String,
}

/// A layout could not be set.
#[derive(Debug, thiserror::Error)]
pub enum KeyboardError {
    /// A word holds letters that no layout name has.
    #[error("{0:?} is not a word for a keyboard layout")]
    Word(String),
    /// setxkbmap is missing.
    #[error("setxkbmap is not installed (Debian package x11-xkb-utils)")]
    Missing,
    /// setxkbmap could not be started.
    #[error("setxkbmap could not be started")]
    Start(#[from] std::io::Error),
    /// It knows no such layout, or the server did not take it.
    #[error("layout {layout:?} was refused: {reason}")]
    Refused {
        /// The layout asked for.
        layout: String,
        /// The last line it said.
        reason: String,
    },
}

impl KeyboardLayout {
    /// A layout by name, without variant or options.
    pub fn named(layout: &str) -> Self {
        let none = String::new;
        Self { rules: none(), model: none(), layout: layout.into(), variant: none(), options: none() }
    }

    /// From the words that servers keep, each with a NUL behind it: rules, model, layout, variant, options.
    fn from_names(names: &[u8]) -> Option<Self> {
        let mut words = names.split(|b| *b == 0).map(|word| String::from_utf8_lossy(word).into_owned());
        let mut next = || words.next().unwrap_or_default();
        let found = Self { rules: next(), model: next(), layout: next(), variant: next(), options: next() };
        (!found.layout.is_empty()).then_some(found)
    }

    /// The arguments for setxkbmap.
    ///
    /// # Errors
    /// [`KeyboardError::Word`] for anything but letters, digits and `_-,():` of ASCII, or a leading minus.
    fn arguments(&self) -> Result<Vec<&str>, KeyboardError> {
        for word in [&self.rules, &self.model, &self.layout, &self.variant, &self.options] {
            let plain = |c: char| c.is_ascii_alphanumeric() || "_-,():".contains(c);
            if word.starts_with('-') || word.len() > WORD_BYTES_MAX || !word.chars().all(plain) {
                return Err(KeyboardError::Word(word.clone()));
            }
        }
        if self.layout.is_empty() {
            return Err(KeyboardError::Word(String::new()));
        }
        let model = if self.model.is_empty() { "pc105" } else { &self.model };
        let rules = if self.rules.is_empty() { "evdev" } else { &self.rules };
        let mut arguments = vec!["-rules", rules, "-model", model, "-layout", &self.layout];
        arguments.extend(["-variant", &self.variant, "-option", ""]);
        if !self.options.is_empty() {
            arguments.extend(["-option", &self.options]);
        }
        Ok(arguments)
    }
}

/// How a keyboard was before a session used it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyboardState {
    /// `None` if the server does not say.
    layout: Option<KeyboardLayout>,
    /// Whether a key that is held repeats by itself.
    repeats: bool,
    /// Caps Lock, Num Lock, Scroll Lock.
    locks: [bool; 3],
}

impl KeyboardState {
    pub(super) fn read(conn: &RustConnection, root: u32, lights: LockLights) -> Result<Self, X11Error> {
        let (locks, _) = lights.read(conn)?;
        Ok(Self {
            layout: read_layout(conn, root)?,
            repeats: repeats(conn)?,
            locks: [locks.caps, locks.num, locks.scroll],
        })
    }

    /// The layout that is to be set, if the server has another one now.
    pub(super) fn other_layout(&self, conn: &RustConnection, root: u32) -> Result<Option<&KeyboardLayout>, X11Error> {
        let now = read_layout(conn, root)?;
        Ok(self.layout.as_ref().filter(|layout| now.as_ref() != Some(layout)))
    }

    /// Restores all but the layout, which has to be right by now: with it come the locks.
    pub(super) fn restore(&self, conn: &RustConnection, lights: LockLights) -> Result<(), X11Error> {
        let [caps, num, scroll] = self.locks;
        lights.set(conn, LockKeys { caps, num, scroll })?;
        if self.repeats && !repeats(conn)? {
            set_repeat(conn, BoolCtrl::REPEAT_KEYS.into())?;
        }
        Ok(())
    }
}

/// The layout that the server's keyboard was given last, in the words of who gave it.
fn read_layout(conn: &RustConnection, root: u32) -> Result<Option<KeyboardLayout>, X11Error> {
    let atom = conn.intern_atom(false, RULES_NAMES)?.reply()?.atom;
    let words = WORD_BYTES_MAX as u32 * 5 / 4;
    let names = conn.get_property(false, root, atom, AtomEnum::STRING, 0, words)?.reply()?;
    Ok(KeyboardLayout::from_names(&names.value))
}

/// Gives the server's keyboard a layout. Takes some tens of milliseconds, at most some seconds.
///
/// # Errors
/// See [`KeyboardError`].
pub fn set_layout(display: &str, xauthority: Option<&Path>, layout: &KeyboardLayout) -> Result<(), KeyboardError> {
    let arguments = layout.arguments()?;
    let program = process::find_program("setxkbmap").ok_or(KeyboardError::Missing)?;
    let mut command = Command::new("timeout");
    command.arg(SETXKBMAP_LIMIT.as_secs().to_string()).arg(program).args(arguments);
    command.env("DISPLAY", display).stdin(Stdio::null());
    if let Some(path) = xauthority {
        command.env("XAUTHORITY", path);
    }
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let reason = said.lines().last().unwrap_or("no answer").to_owned();
    Err(KeyboardError::Refused { layout: layout.layout.clone(), reason })
}

/// Starts XKB on a connection and asks for events when lock keys or controls change.
pub(super) fn watch(conn: &RustConnection, events: EventType) -> Result<(), X11Error> {
    conn.xkb_use_extension(1, 0)?.reply()?;
    let none = (EventType::from(0u16), MapPart::from(0u16), SelectEventsAux::new());
    conn.xkb_select_events(ID::USE_CORE_KBD.into(), none.0, events, none.1, none.1, &none.2)?.check()?;
    Ok(())
}

/// Names of the lock keys' lights.
#[derive(Clone, Copy, Debug)]
pub(super) struct LockLights {
    atoms: [u32; 3],
}

impl LockLights {
    pub(super) fn new(conn: &RustConnection) -> Result<Self, X11Error> {
        let mut atoms = [0; 3];
        for (atom, name) in atoms.iter_mut().zip(["Caps Lock", "Num Lock", "Scroll Lock"]) {
            *atom = conn.intern_atom(false, name.as_bytes())?.reply()?.atom;
        }
        Ok(Self { atoms })
    }

    /// Which locks are on, and the modifier each of them locks (0 if the layout has none).
    pub(super) fn read(self, conn: &RustConnection) -> Result<(LockKeys, [u16; 3]), X11Error> {
        let ask =
            |atom| conn.xkb_get_named_indicator(ID::USE_CORE_KBD.into(), LedClass::DFLT_XI_CLASS, ID::DFLT_XI_ID, atom);
        let cookies = [ask(self.atoms[0])?, ask(self.atoms[1])?, ask(self.atoms[2])?];
        let (mut on, mut modifiers) = ([false; 3], [0; 3]);
        for (i, cookie) in cookies.into_iter().enumerate() {
            let light = cookie.reply()?;
            (on[i], modifiers[i]) = (light.found && light.on, u16::from(light.map_mods));
        }
        Ok((LockKeys { caps: on[0], num: on[1], scroll: on[2] }, modifiers))
    }

    /// Makes the locks equal to `wanted`; one that the layout cannot lock stays as it is.
    ///
    /// Sets the modifier itself instead of pressing the key, so that nothing happens twice while the key's own press
    /// is still on its way, and no program takes it for a key press.
    pub(super) fn set(self, conn: &RustConnection, wanted: LockKeys) -> Result<(), X11Error> {
        let (found, modifiers) = self.read(conn)?;
        let (mut affect, mut lock) = (0, 0);
        let pairs = [(found.caps, wanted.caps), (found.num, wanted.num), (found.scroll, wanted.scroll)];
        for ((is, want), modifier) in pairs.into_iter().zip(modifiers) {
            if is != want {
                affect |= modifier;
                lock |= if want { modifier } else { 0 };
            }
        }
        if affect != 0 {
            let (affect, lock) = (ModMask::from(affect), ModMask::from(lock));
            let none = ModMask::from(0u16);
            conn.xkb_latch_lock_state(ID::USE_CORE_KBD.into(), affect, lock, false, Group::from(0), none, false, 0)?
                .check()?;
        }
        Ok(())
    }
}

/// Turns the server's own key repeat off and tells whether it was on.
///
/// Repeats come from the viewer: a link that stalls while a key is down must not type on.
pub(super) fn stop_repeat(conn: &RustConnection) -> Result<bool, X11Error> {
    let is_on = repeats(conn)?;
    if is_on {
        set_repeat(conn, 0)?;
    }
    Ok(is_on)
}

/// Whether the server repeats keys by itself.
fn repeats(conn: &RustConnection) -> Result<bool, X11Error> {
    let found = conn.xkb_get_controls(ID::USE_CORE_KBD.into())?.reply()?;
    Ok(u32::from(found.enabled_controls) & u32::from(BoolCtrl::REPEAT_KEYS) != 0)
}

/// Turns the server's own key repeat on or off, by XKB's bits for both.
fn set_repeat(conn: &RustConnection, enabled: u32) -> Result<(), X11Error> {
    // All but the fields named in `change_controls` is ignored by the server.
    let request = xkb::SetControlsRequest {
        device_spec: ID::USE_CORE_KBD.into(),
        affect_internal_real_mods: 0u16.into(),
        internal_real_mods: 0u16.into(),
        affect_ignore_lock_real_mods: 0u16.into(),
        ignore_lock_real_mods: 0u16.into(),
        affect_internal_virtual_mods: 0u16.into(),
        internal_virtual_mods: 0u16.into(),
        affect_ignore_lock_virtual_mods: 0u16.into(),
        ignore_lock_virtual_mods: 0u16.into(),
        mouse_keys_dflt_btn: 0,
        groups_wrap: 0,
        access_x_options: 0u16.into(),
        affect_enabled_controls: BoolCtrl::REPEAT_KEYS,
        enabled_controls: enabled.into(),
        change_controls: Control::CONTROLS_ENABLED,
        repeat_delay: 0,
        repeat_interval: 0,
        slow_keys_delay: 0,
        debounce_delay: 0,
        mouse_keys_delay: 0,
        mouse_keys_interval: 0,
        mouse_keys_time_to_max: 0,
        mouse_keys_max_speed: 0,
        mouse_keys_curve: 0,
        access_x_timeout: 0,
        access_x_timeout_mask: 0u32.into(),
        access_x_timeout_values: 0u32.into(),
        access_x_timeout_options_mask: 0u16.into(),
        access_x_timeout_options_values: 0u16.into(),
        per_key_repeat: Cow::Owned([0; 32]),
    };
    Ok(conn.send_trait_request_without_reply(request)?.check()?)
}

/// The root window's property with the words of the layout.
const RULES_NAMES: &[u8] = b"_XKB_RULES_NAMES";
/// No name in xkeyboard-config comes near it.
const WORD_BYTES_MAX: usize = 256;
/// It needs 30 ms; a server that hangs must not hang us.
const SETXKBMAP_LIMIT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_come_in_words_of_their_own() {
        let layout =
            KeyboardLayout { variant: "fr".into(), options: "ctrl:nocaps".into(), ..KeyboardLayout::named("ch") };
        let line = layout.arguments().expect("plain words").join(" ");
        assert_eq!(line, "-rules evdev -model pc105 -layout ch -variant fr -option  -option ctrl:nocaps");
    }

    #[test]
    fn a_servers_words_for_its_layout_are_the_arguments_that_set_it_again() {
        for (names, line) in [
            (&b"base\0pc104\0us,de\0,nodeadkeys\0ctrl:nocaps\0"[..], "base pc104 us,de ,nodeadkeys ctrl:nocaps"),
            (b"evdev\0pc105\0us\0\0\0", "evdev pc105 us  "),
            (b"evdev\0pc105\0us", "evdev pc105 us  "),
        ] {
            let found = KeyboardLayout::from_names(names).expect("it names a layout");
            let words = found.arguments().expect("plain words");
            let options = if found.options.is_empty() { "" } else { words[11] };
            assert_eq!([words[1], words[3], words[5], words[7], options].join(" "), line);
        }
        for none in [&b""[..], b"evdev\0pc105\0\0\0\0"] {
            assert_eq!(KeyboardLayout::from_names(none), None);
        }
    }

    #[test]
    fn words_that_are_no_layout_are_refused() {
        for word in ["", "de;reboot", "$(id)", "-print", "dé", "a b", "../x", "de\n"] {
            assert!(KeyboardLayout::named(word).arguments().is_err(), "{word:?}");
        }
    }
}
