//! The keyboard of this machine, as far as the window system's events do not tell: its layout and its lock keys.
//!
//! X11 is asked. Elsewhere the layout comes from the locale, and the lock keys follow their own presses.

use crate::proto::wire::LockKeys;

/// A layout and variant in X's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// "de", "ch", "us".
    pub layout: String,
    /// "nodeadkeys", or nothing.
    pub variant: String,
}

/// Whom to ask.
#[derive(Debug)]
pub struct Keyboard {
    #[cfg(target_os = "linux")]
    x11: Option<x11::Server>,
}

impl Keyboard {
    /// Connects, if there is something to connect to.
    pub fn open() -> Keyboard {
        Keyboard {
            #[cfg(target_os = "linux")]
            x11: x11::Server::connect(),
        }
    }

    /// The layout in use, the first one if there are several.
    pub fn layout(&self) -> Option<Layout> {
        #[cfg(target_os = "linux")]
        return layout_from_rules(&self.x11.as_ref()?.rules()?);
        #[cfg(not(target_os = "linux"))]
        None
    }

    /// The lock keys as they are now.
    pub fn locks(&self) -> Option<LockKeys> {
        #[cfg(target_os = "linux")]
        return self.x11.as_ref()?.locks();
        #[cfg(not(target_os = "linux"))]
        None
    }
}

/// The layout that goes with a locale such as "de-CH", where nothing better is known.
pub fn layout_from_locale(locale: &str) -> Layout {
    let mut parts = locale.split(['-', '_', '.']);
    let (language, country) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let (layout, variant) = match (language, country) {
        ("fr", "CH") => ("ch", "fr"),
        (_, "CH") => ("ch", ""),
        (_, "AT") => ("at", ""),
        ("de", _) => ("de", ""),
        ("fr", "BE") => ("be", ""),
        ("fr", "CA") => ("ca", ""),
        ("fr", _) => ("fr", ""),
        ("en", "GB") => ("gb", ""),
        _ => ("us", ""),
    };
    Layout { layout: layout.to_owned(), variant: variant.to_owned() }
}

/// Rules, model, layouts, variants and options, each ended by a zero byte.
#[cfg(any(target_os = "linux", test))]
fn layout_from_rules(rules: &[u8]) -> Option<Layout> {
    let mut names = rules.split(|b| *b == 0).map(|n| String::from_utf8_lossy(n));
    let first = |list: &str| list.split(',').next().unwrap_or_default().to_owned();
    let layout = first(&names.nth(2)?);
    let variant = first(&names.next().unwrap_or_default());
    (!layout.is_empty()).then_some(Layout { layout, variant })
}

#[cfg(target_os = "linux")]
mod x11 {
    use crate::proto::wire::LockKeys;
    use x11rb::connection::Connection;
    use x11rb::protocol::xkb::{self, ConnectionExt as _};
    use x11rb::protocol::xproto::{AtomEnum, ConnectionExt as _};
    use x11rb::rust_connection::RustConnection;

    /// Longest `_XKB_RULES_NAMES` in words of four bytes; real ones have some twenty.
    const RULES_WORDS_MAX: u32 = 256;

    /// A connection to the X server that the window is on.
    #[derive(Debug)]
    pub(super) struct Server {
        connection: RustConnection,
        root: u32,
    }

    impl Server {
        pub(super) fn connect() -> Option<Server> {
            std::env::var_os("DISPLAY")?;
            let (connection, screen) = x11rb::connect(None).ok()?;
            connection.xkb_use_extension(1, 0).ok()?.reply().ok()?;
            let root = connection.setup().roots.get(screen)?.root;
            Some(Server { connection, root })
        }

        pub(super) fn rules(&self) -> Option<Vec<u8>> {
            let c = &self.connection;
            let atom = c.intern_atom(false, b"_XKB_RULES_NAMES").ok()?.reply().ok()?.atom;
            let asked = c.get_property(false, self.root, atom, AtomEnum::STRING, 0, RULES_WORDS_MAX);
            Some(asked.ok()?.reply().ok()?.value)
        }

        pub(super) fn locks(&self) -> Option<LockKeys> {
            let device = xkb::ID::USE_CORE_KBD.into();
            let state = self.connection.xkb_get_indicator_state(device).ok()?.reply().ok()?.state;
            // The order of the indicators is that of every keymap of xkeyboard-config: Caps, Num, Scroll.
            Some(LockKeys { caps: state & 1 != 0, num: state & 2 != 0, scroll: state & 4 != 0 })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_several_layouts_counts() {
        let found = layout_from_rules(b"evdev\0pc105\0de,us\0nodeadkeys,\0grp:alt_shift_toggle\0").unwrap();
        assert_eq!((found.layout.as_str(), found.variant.as_str()), ("de", "nodeadkeys"));
        assert_eq!(layout_from_rules(b"evdev\0pc105"), None);
        assert_eq!(layout_from_rules(b"evdev\0pc105\0\0\0\0"), None);
    }

    #[test]
    fn a_locale_is_better_than_nothing() {
        let name = |l: &str| layout_from_locale(l).layout;
        assert_eq!([name("de-DE"), name("de_CH.UTF-8"), name("de-AT"), name("C")], ["de", "ch", "at", "us"]);
        assert_eq!(layout_from_locale("fr-CH").variant, "fr");
    }
}
