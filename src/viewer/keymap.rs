//! Keys of the window system to USB HID usages: the place on the keyboard, never the letter.
//!
//! Source: USB HID Usage Tables 1.5, page 0x07; UI Events KeyboardEvent code Values for the names.

use winit::keyboard::{KeyCode, PhysicalKey};

/// Usage of the left and right Control, Shift, Alt and logo keys, in the order of the HID tables.
pub const LEFT_CONTROL: u16 = 0xe0;
/// The left Shift key.
pub const LEFT_SHIFT: u16 = 0xe1;
/// The left Alt key. The right one is AltGr on most European keyboards and never part of a shortcut.
pub const LEFT_ALT: u16 = 0xe2;
/// The right Control key.
pub const RIGHT_CONTROL: u16 = 0xe4;
/// The right Shift key.
pub const RIGHT_SHIFT: u16 = 0xe5;
/// Enter, the one among the letters.
pub const ENTER: u16 = 0x28;
/// Home.
pub const HOME: u16 = 0x4a;
/// The lock keys: Caps, Scroll, Num.
pub const LOCKS: [u16; 3] = [0x39, 0x47, 0x53];

/// The HID usage of a key, if it has one on page 0x07.
pub fn usage_from_key(key: PhysicalKey) -> Option<u16> {
    let PhysicalKey::Code(code) = key else { return None };
    TABLE.iter().find(|(known, _)| *known == code).map(|(_, usage)| *usage)
}

const TABLE: &[(KeyCode, u16)] = &[
    (KeyCode::KeyA, 0x04),
    (KeyCode::KeyB, 0x05),
    (KeyCode::KeyC, 0x06),
    (KeyCode::KeyD, 0x07),
    (KeyCode::KeyE, 0x08),
    (KeyCode::KeyF, 0x09),
    (KeyCode::KeyG, 0x0a),
    (KeyCode::KeyH, 0x0b),
    (KeyCode::KeyI, 0x0c),
    (KeyCode::KeyJ, 0x0d),
    (KeyCode::KeyK, 0x0e),
    (KeyCode::KeyL, 0x0f),
    (KeyCode::KeyM, 0x10),
    (KeyCode::KeyN, 0x11),
    (KeyCode::KeyO, 0x12),
    (KeyCode::KeyP, 0x13),
    (KeyCode::KeyQ, 0x14),
    (KeyCode::KeyR, 0x15),
    (KeyCode::KeyS, 0x16),
    (KeyCode::KeyT, 0x17),
    (KeyCode::KeyU, 0x18),
    (KeyCode::KeyV, 0x19),
    (KeyCode::KeyW, 0x1a),
    (KeyCode::KeyX, 0x1b),
    (KeyCode::KeyY, 0x1c),
    (KeyCode::KeyZ, 0x1d),
    (KeyCode::Digit1, 0x1e),
    (KeyCode::Digit2, 0x1f),
    (KeyCode::Digit3, 0x20),
    (KeyCode::Digit4, 0x21),
    (KeyCode::Digit5, 0x22),
    (KeyCode::Digit6, 0x23),
    (KeyCode::Digit7, 0x24),
    (KeyCode::Digit8, 0x25),
    (KeyCode::Digit9, 0x26),
    (KeyCode::Digit0, 0x27),
    (KeyCode::Enter, ENTER),
    (KeyCode::Escape, 0x29),
    (KeyCode::Backspace, 0x2a),
    (KeyCode::Tab, 0x2b),
    (KeyCode::Space, 0x2c),
    (KeyCode::Minus, 0x2d),
    (KeyCode::Equal, 0x2e),
    (KeyCode::BracketLeft, 0x2f),
    (KeyCode::BracketRight, 0x30),
    (KeyCode::Backslash, 0x31),
    (KeyCode::Semicolon, 0x33),
    (KeyCode::Quote, 0x34),
    (KeyCode::Backquote, 0x35),
    (KeyCode::Comma, 0x36),
    (KeyCode::Period, 0x37),
    (KeyCode::Slash, 0x38),
    (KeyCode::CapsLock, 0x39),
    (KeyCode::F1, 0x3a),
    (KeyCode::F2, 0x3b),
    (KeyCode::F3, 0x3c),
    (KeyCode::F4, 0x3d),
    (KeyCode::F5, 0x3e),
    (KeyCode::F6, 0x3f),
    (KeyCode::F7, 0x40),
    (KeyCode::F8, 0x41),
    (KeyCode::F9, 0x42),
    (KeyCode::F10, 0x43),
    (KeyCode::F11, 0x44),
    (KeyCode::F12, 0x45),
    (KeyCode::PrintScreen, 0x46),
    (KeyCode::ScrollLock, 0x47),
    (KeyCode::Pause, 0x48),
    (KeyCode::Insert, 0x49),
    (KeyCode::Home, HOME),
    (KeyCode::PageUp, 0x4b),
    (KeyCode::Delete, 0x4c),
    (KeyCode::End, 0x4d),
    (KeyCode::PageDown, 0x4e),
    (KeyCode::ArrowRight, 0x4f),
    (KeyCode::ArrowLeft, 0x50),
    (KeyCode::ArrowDown, 0x51),
    (KeyCode::ArrowUp, 0x52),
    (KeyCode::NumLock, 0x53),
    (KeyCode::NumpadDivide, 0x54),
    (KeyCode::NumpadMultiply, 0x55),
    (KeyCode::NumpadSubtract, 0x56),
    (KeyCode::NumpadAdd, 0x57),
    (KeyCode::NumpadEnter, 0x58),
    (KeyCode::Numpad1, 0x59),
    (KeyCode::Numpad2, 0x5a),
    (KeyCode::Numpad3, 0x5b),
    (KeyCode::Numpad4, 0x5c),
    (KeyCode::Numpad5, 0x5d),
    (KeyCode::Numpad6, 0x5e),
    (KeyCode::Numpad7, 0x5f),
    (KeyCode::Numpad8, 0x60),
    (KeyCode::Numpad9, 0x61),
    (KeyCode::Numpad0, 0x62),
    (KeyCode::NumpadDecimal, 0x63),
    (KeyCode::IntlBackslash, 0x64),
    (KeyCode::ContextMenu, 0x65),
    (KeyCode::Power, 0x66),
    (KeyCode::NumpadEqual, 0x67),
    (KeyCode::F13, 0x68),
    (KeyCode::F14, 0x69),
    (KeyCode::F15, 0x6a),
    (KeyCode::F16, 0x6b),
    (KeyCode::F17, 0x6c),
    (KeyCode::F18, 0x6d),
    (KeyCode::F19, 0x6e),
    (KeyCode::F20, 0x6f),
    (KeyCode::F21, 0x70),
    (KeyCode::F22, 0x71),
    (KeyCode::F23, 0x72),
    (KeyCode::F24, 0x73),
    (KeyCode::Open, 0x74),
    (KeyCode::Help, 0x75),
    (KeyCode::Props, 0x76),
    (KeyCode::Select, 0x77),
    (KeyCode::Again, 0x79),
    (KeyCode::Undo, 0x7a),
    (KeyCode::Cut, 0x7b),
    (KeyCode::Copy, 0x7c),
    (KeyCode::Paste, 0x7d),
    (KeyCode::Find, 0x7e),
    (KeyCode::AudioVolumeMute, 0x7f),
    (KeyCode::AudioVolumeUp, 0x80),
    (KeyCode::AudioVolumeDown, 0x81),
    (KeyCode::NumpadComma, 0x85),
    (KeyCode::IntlRo, 0x87),
    (KeyCode::KanaMode, 0x88),
    (KeyCode::IntlYen, 0x89),
    (KeyCode::Convert, 0x8a),
    (KeyCode::NonConvert, 0x8b),
    (KeyCode::Lang1, 0x90),
    (KeyCode::Lang2, 0x91),
    (KeyCode::Lang3, 0x92),
    (KeyCode::Lang4, 0x93),
    (KeyCode::Lang5, 0x94),
    (KeyCode::ControlLeft, LEFT_CONTROL),
    (KeyCode::ShiftLeft, LEFT_SHIFT),
    (KeyCode::AltLeft, LEFT_ALT),
    (KeyCode::SuperLeft, 0xe3),
    (KeyCode::ControlRight, RIGHT_CONTROL),
    (KeyCode::ShiftRight, RIGHT_SHIFT),
    (KeyCode::AltRight, 0xe6),
    (KeyCode::SuperRight, 0xe7),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_two_keys_share_a_usage_and_all_are_legal_on_the_wire() {
        let usages: HashSet<u16> = TABLE.iter().map(|(_, u)| *u).collect();
        assert_eq!(usages.len(), TABLE.len());
        assert!(usages.iter().all(|u| (0x04..=0xe7).contains(u)));
    }

    /// The tables of the standard once more, in its order.
    #[test]
    fn keys_have_the_usages_of_the_standard() {
        let letters = ('A'..='Z').map(|c| format!("Key{c}"));
        let digits = (1..=9).chain([0]).map(|n| format!("Digit{n}"));
        let words = "Enter Escape Backspace Tab Space Minus Equal BracketLeft BracketRight Backslash \
            - Semicolon Quote Backquote Comma Period Slash CapsLock F1 F2 F3 F4 F5 F6 F7 F8 F9 F10 F11 F12 \
            PrintScreen ScrollLock Pause Insert Home PageUp Delete End PageDown ArrowRight ArrowLeft ArrowDown ArrowUp \
            NumLock NumpadDivide NumpadMultiply NumpadSubtract NumpadAdd NumpadEnter Numpad1 Numpad2 Numpad3 Numpad4 Numpad5 \
            Numpad6 Numpad7 Numpad8 Numpad9 Numpad0 NumpadDecimal IntlBackslash ContextMenu - NumpadEqual F13 F14 F15 F16 F17 \
            F18 F19 F20 F21 F22 F23 F24";
        let words = words.split_whitespace().map(str::to_owned);
        let held = "ControlLeft ShiftLeft AltLeft SuperLeft ControlRight ShiftRight AltRight SuperRight";
        let held = held.split_whitespace().map(str::to_owned);
        let expected: Vec<(String, u16)> =
            letters.chain(digits).chain(words).zip(0x04..).chain(held.zip(0xe0..)).collect();
        assert_eq!(expected.iter().find(|(name, _)| name == "F24").map(|(_, usage)| *usage), Some(0x73));
        for (name, usage) in expected.iter().filter(|(name, _)| name != "-") {
            let found = TABLE.iter().find(|(code, _)| format!("{code:?}") == *name);
            assert_eq!(found.map(|(_, usage)| usage), Some(usage), "{name}");
        }
    }

    #[test]
    fn the_key_beside_the_left_shift_is_not_the_one_beside_enter() {
        assert_eq!(usage_from_key(PhysicalKey::Code(KeyCode::IntlBackslash)), Some(0x64));
        assert_eq!(usage_from_key(PhysicalKey::Code(KeyCode::Backslash)), Some(0x31));
    }
}
