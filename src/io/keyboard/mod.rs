//! The keyboard of this machine, as far as the window system's events do not tell: its layout and its lock keys.
//!
//! X11 and Windows are asked, and Wayland for the layout. Elsewhere that comes from the locale, and the lock keys follow their
//! own presses.

#[cfg(target_os = "linux")]
mod wayland;

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
            // Under Wayland the X server beside it has a keyboard of its own that nobody has set up.
            x11: if wayland::is_there() { None } else { x11::Server::connect() },
        }
    }

    /// The layout in use, the first one if there are several.
    pub fn layout(&self) -> Option<Layout> {
        #[cfg(target_os = "linux")]
        return match &self.x11 {
            Some(server) => layout_from_rules(&server.rules()?),
            None => wayland::layout(),
        };
        #[cfg(windows)]
        return layout_from_klid(&windows::klid()?);
        #[cfg(not(any(target_os = "linux", windows)))]
        None
    }

    /// The lock keys as they are now; on Windows as the calling thread's window last heard of them.
    pub fn locks(&self) -> Option<LockKeys> {
        #[cfg(target_os = "linux")]
        return self.x11.as_ref()?.locks();
        #[cfg(windows)]
        return Some(windows::locks());
        #[cfg(not(any(target_os = "linux", windows)))]
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

/// X's words for a layout of Windows, named by eight hexadecimal digits. The last four are the language, those before them
/// tell its layouts apart (Microsoft, "Keyboard identifiers for Windows"). A layout that somebody made is taken for its
/// language's.
#[cfg(any(windows, test))]
fn layout_from_klid(klid: &str) -> Option<Layout> {
    let klid = u32::from_str_radix(klid, 16).ok()?;
    let of = |wanted: u32| KLIDS.iter().find(|(known, ..)| *known == wanted);
    let (_, layout, variant) = of(klid).or_else(|| of(klid & 0xffff))?;
    Some(Layout { layout: (*layout).to_owned(), variant: (*variant).to_owned() })
}

#[cfg(any(windows, test))]
const KLIDS: &[(u32, &str, &str)] = &[
    (0x0000_0402, "bg", ""),
    (0x0000_0405, "cz", ""),
    (0x0001_0405, "cz", "qwerty"),
    (0x0000_0406, "dk", ""),
    (0x0000_0407, "de", ""),
    (0x0000_0408, "gr", ""),
    (0x0000_0409, "us", ""),
    (0x0001_0409, "us", "dvorak"),
    (0x0002_0409, "us", "intl"),
    (0x0000_040a, "es", ""),
    (0x0000_040b, "fi", ""),
    (0x0000_040c, "fr", ""),
    (0x0000_040e, "hu", ""),
    (0x0000_040f, "is", ""),
    (0x0000_0410, "it", ""),
    (0x0000_0411, "jp", ""),
    (0x0000_0413, "nl", ""),
    (0x0000_0414, "no", ""),
    (0x0000_0415, "pl", ""),
    (0x0001_0415, "pl", "qwertz"),
    (0x0000_0416, "br", ""),
    (0x0000_0418, "ro", ""),
    (0x0000_0419, "ru", ""),
    (0x0000_041a, "hr", ""),
    (0x0000_041b, "sk", ""),
    (0x0001_041b, "sk", "qwerty"),
    (0x0000_041d, "se", ""),
    (0x0000_041f, "tr", ""),
    (0x0001_041f, "tr", "f"),
    (0x0000_0422, "ua", ""),
    (0x0000_0424, "si", ""),
    (0x0000_0425, "ee", ""),
    (0x0000_0426, "lv", ""),
    (0x0000_0427, "lt", ""),
    (0x0000_0807, "ch", ""),
    (0x0000_0809, "gb", ""),
    (0x0000_080a, "latam", ""),
    (0x0000_080c, "be", ""),
    (0x0000_0813, "be", ""),
    (0x0000_0816, "pt", ""),
    (0x0000_0c07, "at", ""),
    (0x0000_0c0c, "ca", "fr-legacy"),
    (0x0000_100c, "ch", "fr"),
    (0x0000_1009, "ca", ""),
    (0x0000_1809, "ie", ""),
];

#[cfg(windows)]
#[allow(unsafe_code, reason = "Windows tells of its keyboard in C only")]
mod windows {
    use crate::proto::wire::LockKeys;
    use windows_sys::Win32::UI::Input::KeyboardAndMouse::{
        GetKeyState, GetKeyboardLayoutNameW, VK_CAPITAL, VK_NUMLOCK, VK_SCROLL,
    };
    use windows_sys::Win32::UI::WindowsAndMessaging::KL_NAMELENGTH;

    /// The name of this thread's layout: eight hexadecimal digits.
    pub(super) fn klid() -> Option<String> {
        let mut name = [0; KL_NAMELENGTH as usize];
        // SAFETY: the buffer has room for the KL_NAMELENGTH characters that Windows writes, the zero at the end included.
        let is_told = unsafe { GetKeyboardLayoutNameW(name.as_mut_ptr()) } != 0;
        is_told.then(|| String::from_utf16_lossy(&name[..name.len() - 1]))
    }

    pub(super) fn locks() -> LockKeys {
        // SAFETY: takes a number and gives one.
        let is_on = |key: u16| unsafe { GetKeyState(key.into()) } & 1 != 0;
        LockKeys { caps: is_on(VK_CAPITAL), num: is_on(VK_NUMLOCK), scroll: is_on(VK_SCROLL) }
    }
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
    fn a_layout_of_windows_has_its_name_in_x() {
        let names = |klid| layout_from_klid(klid).map(|found| format!("{}:{}", found.layout, found.variant));
        for (klid, expected) in [
            ("00000407", Some("de:")),
            ("00000807", Some("ch:")),
            ("0000100C", Some("ch:fr")),
            ("00000C07", Some("at:")),
            ("00020409", Some("us:intl")),
            // Somebody's own layout for German.
            ("a0010407", Some("de:")),
            ("0000045e", None),
            ("", None),
        ] {
            assert_eq!(names(klid).as_deref(), expected, "{klid}");
        }
    }

    #[test]
    fn a_locale_is_better_than_nothing() {
        let name = |l: &str| layout_from_locale(l).layout;
        assert_eq!([name("de-DE"), name("de_CH.UTF-8"), name("de-AT"), name("C")], ["de", "ch", "at", "us"]);
        assert_eq!(layout_from_locale("fr-CH").variant, "fr");
    }
}
