//! Keys as data: what each USB HID usage of the keyboard page is called on Linux.
//!
//! Source: USB HID Usage Tables 1.5, chapter 10, and the kernel's own table (`drivers/hid/hid-input.c`,
//! `linux/input-event-codes.h`). A table is all there is here; what a key *means* is the session's keyboard layout.

/// The X keycode (9..=255) of a usage on HID page 0x07; `None` where Linux has no key for it.
pub fn keycode_from_usage(usage: u16) -> Option<u8> {
    let evdev = *EVDEV.get(usize::from(usage))?;
    (evdev != 0).then_some(evdev + EVDEV_OFFSET)
}

/// Whether a held key types on; modifiers and lock keys do not, or a held Caps Lock would flicker.
pub fn repeats(usage: u16) -> bool {
    !matches!(usage, 0x39 | 0x47 | 0x53 | 0xe0..=0xe7)
}

/// X keycodes are evdev codes plus eight (xkeyboard-config, `keycodes/evdev`).
const EVDEV_OFFSET: u8 = 8;

/// evdev code per usage, 0 where there is none; sixteen usages a line.
///
/// 0x00..=0x03 are error codes, not keys. 0xe8 and up are reserved by the standard; keyboards send media keys there
/// and Linux reads them so, which gives the viewer a place for play, next and mute.
#[rustfmt::skip]
const EVDEV: [u8; 256] = [
    //         4: A B C D ...
      0,   0,   0,   0,  30,  48,  46,  32,  18,  33,  34,  35,  23,  36,  37,  38,
    // M ... Z, 1e: 1 2
     50,  49,  24,  25,  16,  19,  31,  20,  22,  47,  17,  45,  21,  44,   2,   3,
    // 3 ... 0, Enter Escape Backspace Tab Space - = [
      4,   5,   6,   7,   8,   9,  10,  11,  28,   1,  14,  15,  57,  12,  13,  26,
    // ] \ (ISO #) ; ' ` , . / CapsLock F1 ... F6
     27,  43,  43,  39,  40,  41,  51,  52,  53,  58,  59,  60,  61,  62,  63,  64,
    // F7 ... F12 PrintScreen ScrollLock Pause Insert Home PageUp Delete End PageDown Right
     65,  66,  67,  68,  87,  88,  99,  70, 119, 110, 102, 104, 111, 107, 109, 106,
    // Left Down Up NumLock, keypad: / * - + Enter 1 2 3 4 5 6 7
    105, 108, 103,  69,  98,  55,  74,  78,  96,  79,  80,  81,  75,  76,  77,  71,
    // keypad 8 9 0 . | 64: ISO < > | Menu Power keypad= F13 ... F20
     72,  73,  82,  83,  86, 127, 116, 117, 183, 184, 185, 186, 187, 188, 189, 190,
    // F21 ... F24 Execute Help Menu Select Stop Again Undo Cut Copy Paste Find Mute
    191, 192, 193, 194, 134, 138, 130, 132, 128, 129, 131, 137, 133, 135, 136, 113,
    // VolumeUp VolumeDown, 85: keypad comma, 87: International1 ... 6
    115, 114,   0,   0,   0, 121,   0,  89,  93, 124,  92,  94,  95,   0,   0,   0,
    // 90: Lang1 ... 5, 9a: SysReq, 9c: Clear
    122, 123,  90,  91,  85,   0,   0,   0,   0,   0,  99,   0, 111,   0,   0,   0,
      0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,
    // b6: keypad ( )
      0,   0,   0,   0,   0,   0, 179, 180,   0,   0,   0,   0,   0,   0,   0,   0,
      0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,
    // d8: keypad Clear
      0,   0,   0,   0,   0,   0,   0,   0, 111,   0,   0,   0,   0,   0,   0,   0,
    // left Ctrl Shift Alt Super, right Ctrl Shift Alt Super, e8: play stop previous next eject vol+ vol- mute
     29,  42,  56, 125,  97,  54, 100, 126, 164, 166, 165, 163, 161, 115, 114, 113,
    // f0: www back forward stop find scroll-up scroll-down edit sleep lock refresh calculator
    150, 158, 159, 128, 136, 177, 178, 176, 142, 152, 173, 140,   0,   0,   0,   0,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(usages: &[u16], evdev: &[u8]) {
        let found: Vec<Option<u8>> = usages.iter().map(|usage| keycode_from_usage(*usage)).collect();
        let expected: Vec<Option<u8>> = evdev.iter().map(|code| Some(code + 8)).collect();
        assert_eq!(found, expected, "usages {usages:02x?}");
    }

    /// Numbers from linux/input-event-codes.h, in the order of its KEY_ names.
    #[test]
    fn keys_have_their_linux_codes() {
        check(&[0x14, 0x1a, 0x08, 0x15, 0x17, 0x1c, 0x18, 0x0c, 0x12, 0x13], &[16, 17, 18, 19, 20, 21, 22, 23, 24, 25]);
        check(&[0x04, 0x16, 0x07, 0x09, 0x0a, 0x0b, 0x0d, 0x0e, 0x0f], &[30, 31, 32, 33, 34, 35, 36, 37, 38]);
        check(&[0x1d, 0x1b, 0x06, 0x19, 0x05, 0x11, 0x10], &[44, 45, 46, 47, 48, 49, 50]);
        check(&[0x1e, 0x1f, 0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27], &[2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
        check(&[0x28, 0x29, 0x2a, 0x2b, 0x2c, 0x2d, 0x2e, 0x2f, 0x30], &[28, 1, 14, 15, 57, 12, 13, 26, 27]);
        check(&[0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38, 0x64], &[43, 43, 39, 40, 41, 51, 52, 53, 86]);
        check(&[0x39, 0x47, 0x53, 0x46, 0x48, 0x65], &[58, 70, 69, 99, 119, 127]);
        check(&[0x49, 0x4a, 0x4b, 0x4c, 0x4d, 0x4e], &[110, 102, 104, 111, 107, 109]);
        check(&[0x4f, 0x50, 0x51, 0x52], &[106, 105, 108, 103]);
        check(&[0x54, 0x55, 0x56, 0x57, 0x58, 0x63, 0x67, 0x85], &[98, 55, 74, 78, 96, 83, 117, 121]);
        check(&[0x59, 0x5a, 0x5b, 0x5c, 0x5d, 0x5e, 0x5f, 0x60, 0x61, 0x62], &[79, 80, 81, 75, 76, 77, 71, 72, 73, 82]);
        check(&[0xe0, 0xe1, 0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7], &[29, 42, 56, 125, 97, 54, 100, 126]);
        check(&[0x87, 0x88, 0x89, 0x8a, 0x8b, 0x8c], &[89, 93, 124, 92, 94, 95]);
        check(&[0x90, 0x91, 0x92, 0x93, 0x94], &[122, 123, 90, 91, 85]);
        check(&[0x7f, 0x80, 0x81, 0xe8, 0xea, 0xeb], &[113, 115, 114, 164, 165, 163]);
    }

    #[test]
    fn function_keys_run_through() {
        check(&(0x3a..=0x43).collect::<Vec<_>>(), &(59..=68).collect::<Vec<_>>());
        check(&[0x44, 0x45], &[87, 88]);
        check(&(0x68..=0x73).collect::<Vec<_>>(), &(183..=194).collect::<Vec<_>>());
    }

    #[test]
    fn usages_without_a_key_are_refused() {
        for usage in [0x00, 0x01, 0x03, 0x82, 0xa5, 0xff, 0x100, 0xffff] {
            assert_eq!(keycode_from_usage(usage), None, "usage {usage:#x}");
        }
    }

    #[test]
    fn every_code_fits_an_x_keycode() {
        assert!(EVDEV.iter().all(|code| *code <= u8::MAX - EVDEV_OFFSET));
    }
}
