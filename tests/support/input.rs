//! Keys and pointer of an X display by XTEST, as if somebody sat before it.
//! Characters are found in the display's own keyboard layout; one that the layout lacks is put on a spare key.

use std::collections::HashMap;
use std::time::Duration;

use x11rb::connection::Connection;
use x11rb::protocol::xproto::{
    BUTTON_PRESS_EVENT, BUTTON_RELEASE_EVENT, ConnectionExt as _, KEY_PRESS_EVENT, KEY_RELEASE_EVENT,
    MOTION_NOTIFY_EVENT, Window,
};
use x11rb::protocol::xtest::ConnectionExt as _;
use x11rb::rust_connection::RustConnection;

use super::display::connect;

/// The keyboard and pointer of one display.
pub struct Input {
    connection: RustConnection,
    root: Window,
    keys: HashMap<u32, Stroke>,
    spare: Vec<u8>,
    columns: u8,
}

#[derive(Clone, Copy)]
struct Stroke {
    keycode: u8,
    shift: bool,
    level3: bool,
}

/// Buttons of a pointer, by the core protocol's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Button {
    /// The first button.
    Left = 1,
    /// The second button.
    Middle = 2,
    /// The third button.
    Right = 3,
    /// One click of the wheel away from the user.
    WheelUp = 4,
    /// One click of the wheel towards the user.
    WheelDown = 5,
}

impl Input {
    /// Opens the input of a display.
    ///
    /// # Panics
    /// When the display or its XTEST extension is missing.
    pub fn of(display: &str) -> Self {
        let (connection, root) = connect(display);
        connection.xtest_get_version(2, 2).expect("the X connection holds").reply().expect("the display has XTEST");
        let mut input = Self { connection, root, keys: HashMap::new(), spare: Vec::new(), columns: 1 };
        input.read_layout();
        input
    }

    /// Reads the layout again, after somebody has changed it.
    pub fn read_layout(&mut self) {
        let setup = self.connection.setup();
        let (first, count) = (setup.min_keycode, setup.max_keycode - setup.min_keycode + 1);
        let mapping = self.connection.get_keyboard_mapping(first, count).expect("the X connection holds");
        let mapping = mapping.reply().expect("a display has a keyboard mapping");
        self.columns = mapping.keysyms_per_keycode;
        self.keys.clear();
        self.spare.clear();
        // Columns of the first group: plain, Shift; then (after the second group) AltGr, AltGr+Shift.
        for (column, shift, level3) in [(0, false, false), (1, true, false), (4, false, true), (5, true, true)] {
            for (index, row) in mapping.keysyms.chunks(usize::from(self.columns)).enumerate() {
                let keycode = first + index as u8;
                if NOT_ON_KEYBOARDS.contains(&keycode) {
                    continue;
                }
                if let Some(keysym) = row.get(column).filter(|keysym| **keysym != 0) {
                    self.keys.entry(*keysym).or_insert(Stroke { keycode, shift, level3 });
                }
                if column == 0 && row.iter().all(|keysym| *keysym == 0) {
                    self.spare.push(keycode);
                }
            }
        }
    }

    /// Types a text, one character after the other with `pause` between them.
    pub fn type_text(&mut self, text: &str, pause: Duration) {
        for character in text.chars() {
            self.tap(keysym_of(character));
            std::thread::sleep(pause);
        }
    }

    /// Types a text with the keys that the display's layout really has, dead keys included, as a person would.
    ///
    /// # Panics
    /// When the layout has no way to a character.
    pub fn type_by_layout(&mut self, text: &str, pause: Duration) {
        for character in text.chars() {
            let keysyms = self.keysyms_by_layout(character);
            for keysym in keysyms.unwrap_or_else(|| panic!("the layout has no way to {character:?}")) {
                self.tap(keysym);
                std::thread::sleep(pause);
            }
        }
    }

    /// The keysyms that make a character in this layout: one key, or a dead key and a letter.
    fn keysyms_by_layout(&self, character: char) -> Option<Vec<u32>> {
        let direct = [keysym_of(character), 0x0100_0000 + character as u32];
        if let Some(keysym) = direct.into_iter().find(|keysym| self.keys.contains_key(keysym)) {
            return Some(vec![keysym]);
        }
        let (_, dead, base) = *COMPOSED.iter().find(|(composed, ..)| *composed == character)?;
        let both = vec![dead, keysym_of(base)];
        both.iter().all(|keysym| self.keys.contains_key(keysym)).then_some(both)
    }

    /// Presses a chord like `ctrl+End`, `alt+F4`, `Page_Down` or `a`, and releases it in reverse order.
    ///
    /// # Panics
    /// When a part of the name is not known.
    pub fn press(&mut self, chord: &str) {
        let keysyms: Vec<u32> = chord.split('+').map(keysym_named).collect();
        let (last, modifiers) = keysyms.split_last().expect("a chord has a key");
        for keysym in modifiers {
            self.key(*keysym, true);
        }
        self.tap(*last);
        for keysym in modifiers.iter().rev() {
            self.key(*keysym, false);
        }
    }

    /// Presses (`true`) or releases one key by its name and leaves it so.
    pub fn hold(&mut self, name: &str, down: bool) {
        self.key(keysym_named(name), down);
    }

    /// Moves the pointer to a place of the screen.
    pub fn move_to(&self, x: u32, y: u32) {
        self.send(MOTION_NOTIFY_EVENT, 0, x as i16, y as i16);
    }

    /// Presses (`true`) or releases a button.
    pub fn button(&self, button: Button, down: bool) {
        self.send(if down { BUTTON_PRESS_EVENT } else { BUTTON_RELEASE_EVENT }, button as u8, 0, 0);
    }

    /// Presses and releases a button.
    pub fn click(&self, button: Button) {
        self.button(button, true);
        self.button(button, false);
    }

    fn tap(&mut self, keysym: u32) {
        let stroke = self.stroke(keysym);
        let (shift, level3) = (stroke.shift, stroke.level3);
        if shift {
            self.key(keysym_named("shift"), true);
        }
        if level3 {
            self.key(keysym_named("altgr"), true);
        }
        self.send(KEY_PRESS_EVENT, stroke.keycode, 0, 0);
        self.send(KEY_RELEASE_EVENT, stroke.keycode, 0, 0);
        if level3 {
            self.key(keysym_named("altgr"), false);
        }
        if shift {
            self.key(keysym_named("shift"), false);
        }
    }

    fn key(&mut self, keysym: u32, down: bool) {
        let keycode = self.stroke(keysym).keycode;
        self.send(if down { KEY_PRESS_EVENT } else { KEY_RELEASE_EVENT }, keycode, 0, 0);
    }

    fn stroke(&mut self, keysym: u32) -> Stroke {
        if let Some(stroke) = self.keys.get(&keysym) {
            return *stroke;
        }
        let keycode = self.spare.pop().unwrap_or_else(|| panic!("no spare key left for keysym {keysym:#x}"));
        let row = vec![keysym; usize::from(self.columns)];
        self.connection.change_keyboard_mapping(1, keycode, self.columns, &row).expect("the X connection holds");
        self.sync();
        let stroke = Stroke { keycode, shift: false, level3: false };
        self.keys.insert(keysym, stroke);
        stroke
    }

    fn send(&self, kind: u8, detail: u8, x: i16, y: i16) {
        self.connection.xtest_fake_input(kind, detail, 0, self.root, x, y, 0).expect("the X connection holds");
        self.connection.flush().expect("the X connection holds");
    }

    /// Waits until the X server has taken everything sent so far.
    pub fn sync(&self) {
        self.connection.get_input_focus().expect("the X connection holds").reply().expect("the X server answers");
    }
}

/// Keycodes of the rules `evdev` that carry a modifier for programs' sake and stand for no key (LVL3, MDSW, ALT, META,
/// SUPR, HYPR), and the two brackets of keypads that nobody has.
const NOT_ON_KEYBOARDS: [u8; 8] = [92, 187, 188, 203, 204, 205, 206, 207];

/// Characters by a dead key and a letter.
const COMPOSED: [(char, u32, char); 14] = [
    ('à', DEAD_GRAVE, 'a'),
    ('è', DEAD_GRAVE, 'e'),
    ('á', DEAD_ACUTE, 'a'),
    ('é', DEAD_ACUTE, 'e'),
    ('É', DEAD_ACUTE, 'E'),
    ('â', DEAD_CIRCUMFLEX, 'a'),
    ('ê', DEAD_CIRCUMFLEX, 'e'),
    ('î', DEAD_CIRCUMFLEX, 'i'),
    ('ô', DEAD_CIRCUMFLEX, 'o'),
    ('ñ', DEAD_TILDE, 'n'),
    ('ä', DEAD_DIAERESIS, 'a'),
    ('ë', DEAD_DIAERESIS, 'e'),
    ('Ö', DEAD_DIAERESIS, 'O'),
    ('ü', DEAD_DIAERESIS, 'u'),
];
const DEAD_GRAVE: u32 = 0xfe50;
const DEAD_ACUTE: u32 = 0xfe51;
const DEAD_CIRCUMFLEX: u32 = 0xfe52;
const DEAD_TILDE: u32 = 0xfe53;
const DEAD_DIAERESIS: u32 = 0xfe57;

/// The keysym of a character: Latin-1 as it is, everything else by its code point plus 0x01000000.
fn keysym_of(character: char) -> u32 {
    match character {
        '\n' => 0xff0d,
        '\t' => 0xff09,
        '€' => 0x20ac,
        'œ' => 0x13bd,
        _ if (character as u32) < 0x100 => character as u32,
        _ => 0x0100_0000 + character as u32,
    }
}

fn keysym_named(name: &str) -> u32 {
    match name {
        "shift" => 0xffe1,
        "ctrl" => 0xffe3,
        "alt" => 0xffe9,
        "super" => 0xffeb,
        "altgr" => 0xfe03,
        "Return" => 0xff0d,
        "Escape" => 0xff1b,
        "Tab" => 0xff09,
        "BackSpace" => 0xff08,
        "Delete" => 0xffff,
        "Insert" => 0xff63,
        "Home" => 0xff50,
        "Left" => 0xff51,
        "Up" => 0xff52,
        "Right" => 0xff53,
        "Down" => 0xff54,
        "Page_Up" => 0xff55,
        "Page_Down" => 0xff56,
        "End" => 0xff57,
        "Caps_Lock" => 0xffe5,
        "Num_Lock" => 0xff7f,
        "space" => 0x20,
        "plus" => 0x2b,
        _ => match (name.strip_prefix('F').and_then(|number| number.parse::<u32>().ok()), name.chars().next()) {
            (Some(number @ 1..=12), _) => 0xffbd + number,
            (_, Some(character)) if name.chars().count() == 1 => keysym_of(character),
            _ => panic!("no key is called {name:?}"),
        },
    }
}
