//! The keyboard's layout from a Wayland compositor. It tells a compiled keymap without the names that it was made of, but
//! with a description of each layout ("German (no dead keys)"), which xkeyboard-config's list has beside the names.

use super::Layout;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt as _;
use wayland_client::protocol::wl_keyboard::{self, WlKeyboard};
use wayland_client::protocol::wl_registry::{self, WlRegistry};
use wayland_client::protocol::wl_seat::{self, WlSeat};
use wayland_client::{Connection, Dispatch, QueueHandle, WEnum};

/// Where the list is, as distributions install it.
const LISTS: [&str; 2] = ["/usr/share/X11/xkb/rules/evdev.lst", "/usr/share/xkeyboard-config-2/rules/evdev.lst"];
/// Longest keymap and longest list that is read, in bytes; real ones have some 60 and 40 thousand.
const BYTES_MAX: u64 = 1 << 20;

/// Whether the viewer's window will be on Wayland: winit takes it where there is one.
pub(super) fn is_there() -> bool {
    ["WAYLAND_DISPLAY", "WAYLAND_SOCKET"]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

/// The layout in use, the first one if there are several.
pub(super) fn layout() -> Option<Layout> {
    let keymap = keymap()?;
    let description = first_description(&keymap)?;
    let found = LISTS.iter().find_map(|path| named(&read_list(path)?, description));
    if found.is_none() {
        tracing::info!(description, "No name is known for this keyboard layout");
    }
    found
}

/// What the first keyboard's keymap says, asked on a connection of its own.
fn keymap() -> Option<String> {
    // A socket that was handed over can be used once, and winit needs it.
    std::env::var_os("WAYLAND_DISPLAY")?;
    let connection = Connection::connect_to_env().ok()?;
    let mut queue = connection.new_event_queue();
    connection.display().get_registry(&queue.handle(), ());
    let mut asked = Asked::default();
    // Three answers, each to what the one before made known: seats, their keyboards, the keymap.
    for _ in 0..3 {
        queue.roundtrip(&mut asked).ok()?;
    }
    asked.keymap
}

fn read_list(path: &str) -> Option<String> {
    let mut text = String::new();
    File::open(path).ok()?.take(BYTES_MAX).read_to_string(&mut text).ok()?;
    Some(text)
}

/// The description of a keymap's first layout: `name[1]="German";`, in older words `name[Group1]`.
fn first_description(keymap: &str) -> Option<&str> {
    let (_, symbols) = keymap.split_once("xkb_symbols")?;
    let line = symbols.lines().map(str::trim_start).find(|line| line.starts_with("name["))?;
    line.split('"').nth(1)
}

/// The layout that a list has for a description: `de  German`, or a variant, `nodeadkeys  de: German (no dead keys)`.
fn named(list: &str, description: &str) -> Option<Layout> {
    let mut section = "";
    list.lines().find_map(|line| {
        if let Some(title) = line.strip_prefix('!') {
            section = title.trim();
            return None;
        }
        let (name, told) = line.trim().split_once(char::is_whitespace)?;
        let told = told.trim_start();
        let (layout, variant) = match section {
            "layout" if told == description => (name, ""),
            "variant" => {
                let (layout, told) = told.split_once(": ")?;
                (told == description).then_some((layout, name))?
            }
            _ => return None,
        };
        Some(Layout { layout: layout.to_owned(), variant: variant.to_owned() })
    })
}

#[derive(Default)]
struct Asked {
    keymap: Option<String>,
}

impl Dispatch<WlRegistry, ()> for Asked {
    fn event(
        _: &mut Self,
        registry: &WlRegistry,
        event: wl_registry::Event,
        (): &(),
        _: &Connection,
        queue: &QueueHandle<Self>,
    ) {
        if let wl_registry::Event::Global { name, interface, .. } = event
            && interface == "wl_seat"
        {
            registry.bind::<WlSeat, _, _>(name, 1, queue, ());
        }
    }
}

impl Dispatch<WlSeat, ()> for Asked {
    fn event(_: &mut Self, seat: &WlSeat, event: wl_seat::Event, (): &(), _: &Connection, queue: &QueueHandle<Self>) {
        if let wl_seat::Event::Capabilities { capabilities: WEnum::Value(capabilities) } = event
            && capabilities.contains(wl_seat::Capability::Keyboard)
        {
            seat.get_keyboard(queue, ());
        }
    }
}

impl Dispatch<WlKeyboard, ()> for Asked {
    fn event(
        asked: &mut Self,
        _: &WlKeyboard,
        event: wl_keyboard::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let wl_keyboard::Event::Keymap { format: WEnum::Value(wl_keyboard::KeymapFormat::XkbV1), fd, size } = event
            && asked.keymap.is_none()
            && u64::from(size) <= BYTES_MAX
        {
            let mut text = vec![0; size as usize];
            let read = File::from(fd).read_exact_at(&mut text, 0);
            asked.keymap = read.ok().map(|()| String::from_utf8_lossy(&text).into_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keymap_says_how_its_first_layout_is_called() {
        let keymap = "xkb_keymap {\nxkb_types \"(unnamed)\" {\n\t\tlevel_name[1]= \"Any\";\n};\n\
            xkb_symbols \"(unnamed)\" {\n\tname[1]=\"German (no dead keys)\";\n\tname[2]=\"English (US)\";\n\n";
        assert_eq!(first_description(keymap), Some("German (no dead keys)"));
        assert_eq!(first_description(&keymap.replace("name[1]", "name[Group1]")), Some("German (no dead keys)"));
        for damaged in ["", "xkb_symbols", "xkb_symbols {\n name[1]=German;\n", "name[1]=\"German\";"] {
            assert_eq!(first_description(damaged), None, "{damaged:?}");
        }
    }

    #[test]
    fn a_list_has_names_for_descriptions() {
        let list = "! model\n  pc105           German\n\n! layout\n  at              German (Austria)\n  de              German\n\n\
            ! variant\n  nodeadkeys      at: German (Austria, no dead keys)\n  nodeadkeys      de: German (no dead keys)\n  \
            fr              ch: French (Switzerland)\n! option\n  grp:x  Switching\n";
        let found = |description| named(list, description).map(|found| (found.layout, found.variant));
        let names = |layout: &str, variant: &str| Some((layout.to_owned(), variant.to_owned()));
        assert_eq!(found("German"), names("de", ""));
        assert_eq!(found("German (Austria)"), names("at", ""));
        assert_eq!(found("German (no dead keys)"), names("de", "nodeadkeys"));
        assert_eq!(found("French (Switzerland)"), names("ch", "fr"));
        assert_eq!(found("Switching"), None);
        assert_eq!(found(""), None);
    }
}
