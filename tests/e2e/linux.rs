//! The Linux host side against real X servers and real programs. Each test starts its own server and stops it.

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use kachel::proto::wire::{KeyAction, LockKeys};
use kachel::{
    geom::{Point, Rect, Size},
    io::linux::{
        desktop::{ConfigHome, Desktop, DesktopKind},
        inject::Injector,
        keyboard::KeyboardLayout,
        screen::{Capture, CursorImage, Screen, ScreenEvent},
        xserver::{self, XserverInfo, XserverKind},
    },
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use x11rb::{
    connection::Connection,
    protocol::{
        Event,
        randr::ConnectionExt as _,
        xinput::{self, ConnectionExt as _},
        xproto::{self, ConnectionExt as _, CreateGCAux, CreateWindowAux, EventMask, WindowClass},
    },
    rust_connection::RustConnection,
    wrapper::ConnectionExt as _,
};

use crate::support::display::{Display, find_window, wait_window};
use crate::support::process::Processes;
use crate::support::wait::wait_until;

const KINDS: [XserverKind; 2] = [XserverKind::XorgDummy, XserverKind::Xvfb];
const LIMIT: Duration = Duration::from_secs(20);

struct Server {
    info: XserverInfo,
    dir: tempfile::TempDir,
}

impl Server {
    fn start(kind: XserverKind, size: Size) -> Self {
        let dir = tempfile::tempdir().expect("temporary directory");
        let info = xserver::start(dir.path(), size, Some(kind)).unwrap_or_else(|e| panic!("{kind:?}: {e:?}"));
        Self { info, dir }
    }

    fn screen(&self) -> Screen {
        Screen::connect(&self.info.display, Some(&self.info.xauthority)).expect("screen")
    }

    fn injector(&self) -> Injector {
        let mut injector = Injector::connect(&self.info.display, Some(&self.info.xauthority)).expect("injector");
        injector.take_keyboard().expect("a keyboard");
        injector
    }

    /// A client of its own, to draw and to listen.
    fn client(&self) -> (RustConnection, u32) {
        let file = fs::read(&self.info.xauthority).expect("cookie file");
        let cookie = file[file.len() - 16..].to_vec();
        let socket = format!("/tmp/.X11-unix/X{}", &self.info.display[1..]);
        let stream = std::os::unix::net::UnixStream::connect(socket).expect("socket");
        let (stream, _) = x11rb::rust_connection::DefaultStream::from_unix_stream(stream).expect("stream");
        let name = b"MIT-MAGIC-COOKIE-1".to_vec();
        let conn = RustConnection::connect_to_stream_with_auth_info(stream, 0, name, cookie).expect("client");
        let root = conn.setup().roots[0].root;
        (conn, root)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("DISPLAY", &self.info.display).env("XAUTHORITY", &self.info.xauthority);
        command.env("LANG", "C.UTF-8").env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
        command
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        xserver::stop(&self.info);
    }
}

struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Tries until it holds; every try is cheap and none is the thing measured.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < deadline, "never came true: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The next event, waited for at the socket as the session does it.
fn next_event(screen: &mut Screen, limit: Duration) -> Option<ScreenEvent> {
    loop {
        if let Some(event) = screen.poll_event().expect("server") {
            return Some(event);
        }
        let timeout = Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: limit.subsec_nanos().into() };
        let ready = poll(&mut [PollFd::new(screen, PollFlags::IN)], Some(&timeout)).expect("poll");
        if ready == 0 {
            return None;
        }
    }
}

fn wait_for(screen: &mut Screen, wanted: impl Fn(&ScreenEvent) -> bool) -> ScreenEvent {
    let deadline = Instant::now() + LIMIT;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let event = next_event(screen, left).expect("event in time");
        if wanted(&event) {
            return event;
        }
    }
}

fn drain(screen: &mut Screen) -> Vec<Rect> {
    let mut rects = Vec::new();
    while let Some(event) = screen.poll_event().expect("server") {
        if event == ScreenEvent::Damaged {
            screen.take_damage(&mut rects).expect("damage");
        }
    }
    rects
}

fn fill(conn: &RustConnection, root: u32, rect: Rect, color: u32) {
    let gc = conn.generate_id().expect("id");
    conn.create_gc(
        gc,
        root,
        &CreateGCAux::new().foreground(color).subwindow_mode(xproto::SubwindowMode::INCLUDE_INFERIORS),
    )
    .expect("gc");
    let r = xproto::Rectangle { x: rect.x as i16, y: rect.y as i16, width: rect.w as u16, height: rect.h as u16 };
    conn.poly_fill_rectangle(root, gc, &[r]).expect("fill");
    conn.free_gc(gc).expect("gc");
    conn.sync().expect("sync");
}

fn capture(screen: &mut Screen, rows: Range<u32>) -> Capture {
    screen.capture(std::slice::from_ref(&rows)).expect("capture")
}

fn pixel(screen: &Screen, x: u32, y: u32) -> u32 {
    screen.pixels()[(y * screen.size().w + x) as usize] & 0xff_ffff
}

#[test]
fn server_takes_any_size_and_keeps_strangers_out() {
    for kind in KINDS {
        let begun = Instant::now();
        let server = Server::start(kind, Size::new(1283, 711));
        eprintln!("{kind:?} started in {:?} at {}", begun.elapsed(), server.info.display);
        assert!(server.info.alive());
        let mut screen = server.screen();
        assert!(screen.shares_memory());
        assert_eq!(screen.size(), Size::new(1283, 711));
        let stranger = Screen::connect(&server.info.display, Some(Path::new("/dev/null")));
        assert!(stranger.is_err(), "no cookie, no way in");
        for size in [(1920, 1080), (2560, 1440), (801, 1201), (1201, 801), (64, 64), (7680, 4320), (1920, 1080)] {
            let size = Size::new(size.0, size.1);
            let begun = Instant::now();
            assert_eq!(screen.resize(size).expect("resize"), size);
            let resized = begun.elapsed();
            assert_eq!(capture(&mut screen, 0..size.h), Capture::Complete);
            eprintln!("{kind:?} {size:?}: resize {resized:?}, with first capture {:?}", begun.elapsed());
            assert_eq!(screen.pixels().len() as u64, size.area());
            assert_eq!(wait_for(&mut screen, |e| matches!(e, ScreenEvent::Resized(_))), ScreenEvent::Resized(size));
        }
        assert!(screen.resize(Size::new(63, 64)).is_err());
        assert!(screen.resize(Size::new(8193, 64)).is_err());
        let info = server.info.clone();
        drop((screen, server));
        assert!(!info.alive());
    }
}

#[test]
fn picture_is_the_screen_and_damage_says_where() {
    for kind in KINDS {
        let server = Server::start(kind, Size::new(640, 480));
        let (client, root) = server.client();
        let mut screen = server.screen();
        assert_eq!(next_event(&mut screen, LIMIT), Some(ScreenEvent::Damaged));
        drain(&mut screen);
        capture(&mut screen, 0..480);
        drain(&mut screen);
        assert_eq!(next_event(&mut screen, Duration::from_millis(100)), None, "nothing changes, nothing is said");
        fill(&client, root, Rect::new(100, 50, 30, 20), 0x12_3456);
        fill(&client, root, Rect::new(300, 400, 7, 5), 0xab_cdef);
        wait_for(&mut screen, |e| *e == ScreenEvent::Damaged);
        let mut rects = Vec::new();
        screen.take_damage(&mut rects).expect("damage");
        assert_eq!(rects, [Rect::new(100, 50, 30, 20), Rect::new(300, 400, 7, 5)]);
        assert_ne!(pixel(&screen, 100, 50), 0x12_3456, "not read yet");
        assert_eq!(screen.capture(&[50..70, 400..405, 470..900]).expect("capture"), Capture::Complete);
        assert_eq!((pixel(&screen, 100, 50), pixel(&screen, 129, 69)), (0x12_3456, 0x12_3456));
        assert_eq!((pixel(&screen, 306, 404), pixel(&screen, 307, 404)), (0xab_cdef, pixel(&screen, 0, 0)));
    }
}

#[test]
fn a_program_that_is_uncovered_with_a_backing_store_is_reported() {
    // A display as somebody else started it. In a window manager's frames X.Org says nothing of what comes out of a store.
    let attached = Display::start(Size::new(640, 480));
    let mut programs = Processes::new("windows");
    let at = |program: &str| {
        let mut command = Command::new(program);
        command.env("DISPLAY", attached.name()).stdin(Stdio::null());
        command
    };
    programs.spawn("openbox", &mut at("openbox"));
    programs.spawn("display", at("display").args(["-size", "600x400", "plasma:fractal"]));
    wait_window(attached.name(), "isplay", LIMIT);
    // No shell: many set a title of their own.
    programs.spawn("xterm", at("xterm").args(["-T", "over", "-geometry", "40x10+100+100", "-e", "cat"]));
    let over = wait_window(attached.name(), "over", LIMIT);
    let mut screen = Screen::connect(attached.name(), None).expect("screen");
    let (client, _) = RustConnection::connect(Some(attached.name())).expect("a client");
    // What both draw at first is over when nothing is said for a while.
    while next_event(&mut screen, Duration::from_millis(500)).is_some() {
        drain(&mut screen);
    }
    let is_left = |what: &str, place: Rect, screen: &mut Screen| {
        let (right, bottom) = (place.x + place.w - 1, place.y + place.h - 1);
        let middle = (place.x + place.w / 2, place.y + place.h / 2);
        let all = [(place.x, place.y), (right, place.y), (place.x, bottom), (right, bottom), middle];
        let mut rects = Vec::new();
        wait_until(LIMIT, what, || {
            rects.extend(drain(screen));
            let is_told = |(x, y): &(u32, u32)| rects.iter().any(|r| r.contains(Rect::new(*x, *y, 1, 1)));
            all.iter().all(is_told).then_some(())
        });
    };
    let away = xproto::ConfigureWindowAux::new().x(250).y(200);
    client.configure_window(over.id, &away).expect("a request").check().expect("it is moved");
    is_left("the place it left is reported", over.place, &mut screen);
    let over = wait_until(LIMIT, "it is where it was told to be", || {
        find_window(attached.name(), "over").filter(|found| found.place.x != over.place.x)
    });
    while next_event(&mut screen, Duration::from_millis(500)).is_some() {
        drain(&mut screen);
    }
    client.unmap_window(over.id).expect("a request").check().expect("it is unmapped");
    is_left("the place it had is reported", over.place, &mut screen);
}

#[test]
fn damage_and_capture_survive_a_resize_by_somebody_else() {
    for kind in KINDS {
        let server = Server::start(kind, Size::new(900, 700));
        let (client, root) = server.client();
        let (mut mine, mut other) = (server.screen(), server.screen());
        drain(&mut mine);
        other.resize(Size::new(500, 300)).expect("resize");
        assert_eq!(capture(&mut mine, 0..700), Capture::Outdated);
        assert_eq!(wait_for(&mut mine, |e| *e != ScreenEvent::Damaged), ScreenEvent::Resized(Size::new(500, 300)));
        drain(&mut mine);
        other.resize(Size::new(1000, 800)).expect("resize");
        wait_for(&mut mine, |e| *e == ScreenEvent::Resized(Size::new(1000, 800)));
        drain(&mut mine);
        mine.take_damage(&mut Vec::new()).expect("damage that was announced before");
        fill(&client, root, Rect::new(950, 750, 10, 10), 0x00_ff00);
        until("damage of the fill", || drain(&mut mine).iter().any(|r| r.contains(Rect::new(950, 750, 10, 10))));
        assert_eq!(capture(&mut mine, 700..800), Capture::Complete);
        assert_eq!(pixel(&mine, 959, 759), 0x00_ff00);
    }
}

#[test]
fn resizes_leave_no_modes_behind() {
    for kind in KINDS {
        let server = Server::start(kind, Size::new(800, 600));
        let (client, root) = server.client();
        let modes =
            || client.randr_get_screen_resources_current(root).expect("ask").reply().expect("modes").modes.len();
        let before = modes();
        let mut screen = server.screen();
        let begun = Instant::now();
        for i in 0..200 {
            screen.resize(Size::new(700 + i * 7 % 501, 500 + i * 13 % 401)).expect("resize");
            while screen.poll_event().expect("server").is_some() {}
        }
        eprintln!("{kind:?}: {:?} per resize", begun.elapsed() / 200);
        assert_eq!(modes(), before);
    }
}

#[test]
fn pointer_is_never_in_the_picture() {
    for kind in KINDS {
        let server = Server::start(kind, Size::new(400, 300));
        let (client, root) = server.client();
        let mut injector = server.injector();
        let mut screen = server.screen();
        // A shape from the server's own font; the screen behind it is one colour.
        let (font, cursor) = (client.generate_id().expect("id"), client.generate_id().expect("id"));
        client.open_font(font, b"cursor").expect("font");
        client.create_glyph_cursor(cursor, font, font, 68, 69, 0, 0, 0, !0, !0, !0).expect("cursor");
        let window = client.generate_id().expect("id");
        let look = CreateWindowAux::new().background_pixel(0x80_8080).cursor(cursor);
        client.create_window(24, window, root, 0, 0, 400, 300, 0, WindowClass::INPUT_OUTPUT, 0, &look).expect("window");
        client.map_window(window).expect("map");
        client.sync().expect("sync");
        let mut shape: Option<CursorImage> = None;
        let mut noise = 0;
        for i in 0..60 {
            injector.motion(Point { x: 20 + i * 5, y: 20 + i * 4 }).expect("motion");
            until("pointer there", || {
                let at = client.query_pointer(root).expect("ask").reply().expect("pointer");
                (at.root_x, at.root_y) == ((20 + i * 5) as i16, (20 + i * 4) as i16)
            });
            capture(&mut screen, 0..300);
            assert!((0..300).all(|y| (0..400).all(|x| pixel(&screen, x, y) == 0x80_8080)), "{kind:?} pointer at {i}");
            if i > 0 {
                noise += drain(&mut screen).len();
            } else {
                drain(&mut screen);
            }
        }
        eprintln!("{kind:?}: 60 motions caused {noise} damage rectangles");
        while let Some(image) = screen.cursor().expect("cursor") {
            if image.size != Size::default() {
                shape = Some(image);
                break;
            }
        }
        let shape = shape.expect("a shape");
        assert!(shape.argb_premultiplied.iter().any(|p| p >> 24 == 255) && shape.argb_premultiplied.contains(&0));
    }
}

#[test]
fn keys_repeat_only_when_told_and_never_stick() {
    for kind in KINDS {
        let server = Server::start(kind, Size::new(400, 300));
        let (client, root) = server.client();
        let window = client.generate_id().expect("id");
        let look = CreateWindowAux::new()
            .event_mask(EventMask::KEY_PRESS | EventMask::KEY_RELEASE | EventMask::BUTTON_PRESS | EventMask::EXPOSURE);
        client.create_window(24, window, root, 0, 0, 400, 300, 0, WindowClass::INPUT_OUTPUT, 0, &look).expect("window");
        client.map_window(window).expect("map");
        client.set_input_focus(xproto::InputFocus::POINTER_ROOT, window, 0u32).expect("focus");
        client.sync().expect("sync");
        let mut injector = server.injector();
        // As a settings daemon does it; the server's repeat would fire after 20 ms.
        assert!(server.command("xset").args(["r", "rate", "20", "50"]).status().expect("xset").success());
        injector.motion(Point { x: 100, y: 100 }).expect("motion");
        injector.key(0x04, KeyAction::Press).expect("a");
        // Long enough for six repeats of the server, if it made any.
        std::thread::sleep(Duration::from_millis(150));
        injector.key(0x04, KeyAction::Repeat).expect("a");
        injector.key(0x04, KeyAction::Repeat).expect("a");
        injector.key(0x05, KeyAction::Release).expect("b was never pressed");
        injector.key(0xe1, KeyAction::Press).expect("shift");
        injector.key(0xe1, KeyAction::Repeat).expect("modifiers do not repeat");
        injector.button(1, true).expect("button");
        assert_eq!(injector.pressed(), 3);
        injector.wheel(0, -240).expect("wheel");
        injector.release_all().expect("release");
        assert_eq!(injector.pressed(), 0);
        let mut seen = Vec::new();
        until("all events", || {
            while let Some(event) = client.poll_for_event().expect("client") {
                match event {
                    Event::KeyPress(e) => seen.push(format!("+{}", e.detail)),
                    Event::KeyRelease(e) => seen.push(format!("-{}", e.detail)),
                    Event::ButtonPress(e) => seen.push(format!("b{}", e.detail)),
                    _ => {}
                }
            }
            seen.len() >= 11
        });
        let repeats = ["+38", "-38", "+38", "-38", "+38"];
        let rest = ["+50", "b1", "b5", "b5", "-38", "-50"];
        let wanted = [&repeats[..], &rest[..]].concat();
        assert_eq!(seen, wanted, "{kind:?}");
        let down = client.query_keymap().expect("ask").reply().expect("keys").keys;
        assert_eq!(down, [0; 32]);
    }
}

#[test]
fn what_a_killed_process_held_is_released_by_the_next() {
    for kind in KINDS {
        let server = Server::start(kind, Size::new(640, 480));
        let (client, root) = server.client();
        let mut killed = server.injector();
        for usage in [0x04, 0xe1] {
            killed.key(usage, KeyAction::Press).expect("press");
        }
        for button in [1, 9] {
            killed.button(button, true).expect("press");
        }
        let held = || {
            let keys = client.query_keymap().expect("ask").reply().expect("keys").keys;
            let state = client.xinput_query_device_state(xtest_pointer(&client)).expect("ask").reply().expect("state");
            let buttons = state.classes.iter().find_map(|class| match &class.data {
                xinput::InputStateData::Button(buttons) => Some(buttons.buttons),
                _ => None,
            });
            let count = |bits: &[u8]| bits.iter().map(|byte| byte.count_ones()).sum::<u32>();
            (count(&keys), count(&buttons.expect("a pointer has buttons")))
        };
        until("all is down", || held() == (2, 2));
        // Its end would release them; a killed process has none.
        std::mem::forget(killed);
        server.injector().release_left_behind().expect("release");
        until("all is up", || held() == (0, 0));
        let pointer = client.query_pointer(root).expect("ask").reply().expect("pointer");
        assert_eq!(u16::from(pointer.mask), 0, "{kind:?}");
    }
}

/// The device that XTEST's buttons come from.
fn xtest_pointer(client: &RustConnection) -> u8 {
    client.xinput_xi_query_version(2, 0).expect("ask").reply().expect("XInput 2");
    let devices = client.xinput_xi_query_device(0u16).expect("ask").reply().expect("devices").infos;
    let device = devices.iter().find(|device| device.name.ends_with(b" XTEST pointer")).expect("XTEST has a pointer");
    device.deviceid as u8
}

#[test]
fn lock_keys_follow_and_are_reported() {
    for kind in KINDS {
        let server = Server::start(kind, Size::new(400, 300));
        let mut injector = server.injector();
        let mut screen = server.screen();
        let (off, num) = (LockKeys::default(), LockKeys { num: true, ..LockKeys::default() });
        let both = LockKeys { caps: true, ..num };
        assert_eq!(screen.locks(), off);
        for wanted in [num, num, both, off, both] {
            injector.locks(LockKeys { scroll: true, ..wanted }).expect("locks");
            if screen.locks() != wanted {
                wait_for(&mut screen, |e| *e == ScreenEvent::Locks(wanted));
            }
        }
        // A key of the user's own does the same.
        injector.key(0x39, KeyAction::Press).expect("caps");
        injector.key(0x39, KeyAction::Release).expect("caps");
        wait_for(&mut screen, |e| *e == ScreenEvent::Locks(num));
    }
}

/// A key and the level it is pressed at.
#[derive(Clone, Copy)]
struct Chord {
    usage: u16,
    shift: bool,
    altgr: bool,
}

fn plain(usages: &[u16]) -> Vec<Chord> {
    usages.iter().map(|usage| Chord { usage: *usage, shift: false, altgr: false }).collect()
}

fn shift(usages: &[u16]) -> Vec<Chord> {
    plain(usages).into_iter().map(|chord| Chord { shift: true, ..chord }).collect()
}

fn altgr(usages: &[u16]) -> Vec<Chord> {
    plain(usages).into_iter().map(|chord| Chord { altgr: true, ..chord }).collect()
}

fn both(usages: &[u16]) -> Vec<Chord> {
    altgr(usages).into_iter().map(|chord| Chord { shift: true, ..chord }).collect()
}

const SPACE: u16 = 0x2c;
const NUMBERS: &[u16] = &[0x35, 0x1e, 0x1f, 0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x2d, 0x2e];
const UPPER: &[u16] = &[0x14, 0x1a, 0x08, 0x15, 0x17, 0x1c, 0x18, 0x0c, 0x12, 0x13, 0x2f, 0x30];
const HOME: &[u16] = &[0x04, 0x16, 0x07, 0x09, 0x0a, 0x0b, 0x0d, 0x0e, 0x0f, 0x33, 0x34, 0x32];
const LOWER: &[u16] = &[0x64, 0x1d, 0x1b, 0x06, 0x19, 0x05, 0x11, 0x10, 0x36, 0x37, 0x38];
const KEYPAD: &[u16] = &[0x54, 0x55, 0x56, 0x57, 0x59, 0x5a, 0x5b, 0x5c, 0x5d, 0x5e, 0x5f, 0x60, 0x61, 0x62, 0x63];

/// What each layout types: chords and the text that must arrive. A dead key is followed by space or a letter.
fn lines(layout: &str) -> Vec<(Vec<Chord>, &'static str)> {
    let dead = |chord: Vec<Chord>, letter: u16| [chord, plain(&[letter])].concat();
    let (e, o) = (0x08, 0x12);
    match layout {
        "us" => vec![
            (plain(NUMBERS), "`1234567890-="),
            (shift(NUMBERS), "~!@#$%^&*()_+"),
            (plain(UPPER), "qwertyuiop[]"),
            (shift(UPPER), "QWERTYUIOP{}"),
            (plain(HOME), "asdfghjkl;'\\"),
            (shift(HOME), "ASDFGHJKL:\"|"),
            (plain(LOWER), "<zxcvbnm,./"),
            (shift(LOWER), ">ZXCVBNM<>?"),
            (plain(KEYPAD), "/*-+1234567890."),
        ],
        "de" | "at" => vec![
            (plain(&NUMBERS[1..12]), "1234567890ß"),
            (shift(&NUMBERS[..12]), "°!\"§$%&/()=?"),
            (plain(UPPER), "qwertzuiopü+"),
            (shift(UPPER), "QWERTZUIOPÜ*"),
            (plain(HOME), "asdfghjklöä#"),
            (shift(HOME), "ASDFGHJKLÖÄ'"),
            (plain(LOWER), "<yxcvbnm,.-"),
            (shift(LOWER), ">YXCVBNM;:_"),
            (altgr(&[0x14, 0x08, 0x10, 0x1f, 0x20]), "@€µ²³"),
            (altgr(&[0x24, 0x25, 0x26, 0x27, 0x2d, 0x30, 0x64]), "{[]}\\~|"),
            (both(&[0x16]), "ẞ"),
            (dead(plain(&[0x2e]), e), "é"),
            (dead(shift(&[0x2e]), e), "è"),
            (dead(plain(&[0x35]), e), "ê"),
            (dead(plain(&[0x35]), SPACE), "^"),
            (plain(&KEYPAD[..14]), "/*-+1234567890"),
        ],
        "ch" => vec![
            (plain(&NUMBERS[..12]), "§1234567890'"),
            (shift(&NUMBERS[..12]), "°+\"*ç%&/()=?"),
            (plain(&UPPER[..11]), "qwertzuiopü"),
            (shift(&UPPER[..11]), "QWERTZUIOPè"),
            (plain(HOME), "asdfghjklöä$"),
            (shift(HOME), "ASDFGHJKLéà£"),
            (plain(LOWER), "<yxcvbnm,.-"),
            (shift(LOWER), ">YXCVBNM;:_"),
            (altgr(&[0x1f, 0x20, 0x08, 0x24]), "@#€|"),
            (altgr(&[0x2f, 0x30, 0x34, 0x32, 0x64]), "[]{}\\"),
            (dead(plain(&[0x2e]), e), "ê"),
            (dead(plain(&[0x30]), o), "ö"),
            (dead(altgr(&[0x2d]), e), "é"),
            (dead(altgr(&[0x2e]), SPACE), "~"),
            (both(&[0x16]), "ẞ"),
        ],
        "fr" => vec![
            (plain(NUMBERS), "²&é\"'(-è_çà)="),
            (shift(&NUMBERS[1..]), "1234567890°+"),
            (plain(&[&UPPER[..10], &UPPER[11..]].concat()), "azertyuiop$"),
            (shift(&[&UPPER[..10], &UPPER[11..]].concat()), "AZERTYUIOP£"),
            (plain(HOME), "qsdfghjklmù*"),
            (shift(HOME), "QSDFGHJKLM%µ"),
            (plain(LOWER), "<wxcvbn,;:!"),
            (shift(LOWER), ">WXCVBN?./§"),
            (altgr(&[0x20, 0x21, 0x22, 0x23, 0x25, 0x26, 0x27, 0x2d, 0x2e, 0x08]), "#{[|\\^@]}€"),
            (dead(plain(&[0x2f]), e), "ê"),
            (dead(shift(&[0x2f]), e), "ë"),
        ],
        other => panic!("no lines for {other}"),
    }
}

fn press(injector: &mut Injector, chord: Chord) {
    let modifiers = [(chord.shift, 0xe1), (chord.altgr, 0xe6)];
    for (_, usage) in modifiers.iter().filter(|(held, _)| *held) {
        injector.key(*usage, KeyAction::Press).expect("modifier");
    }
    injector.key(chord.usage, KeyAction::Press).expect("key");
    injector.key(chord.usage, KeyAction::Release).expect("key");
    for (_, usage) in modifiers.iter().filter(|(held, _)| *held) {
        injector.key(*usage, KeyAction::Release).expect("modifier");
    }
}

#[test]
fn every_layout_types_what_is_on_its_keys() {
    for kind in KINDS {
        let server = Server::start(kind, Size::new(900, 600));
        let (client, root) = server.client();
        let mut injector = server.injector();
        for layout in ["us", "de", "ch", "at", "fr"] {
            injector.set_layout(&KeyboardLayout::named(layout)).expect("layout");
            injector.locks(LockKeys { num: true, ..LockKeys::default() }).expect("num lock");
            let file = server.path(layout);
            let script = format!("stty -echo; cat > {}", file.display());
            let xterm =
                server.command("xterm").args(["-u8", "-geometry", "80x24+0+0", "-e", "sh", "-c", &script]).spawn();
            let xterm = Program(xterm.expect("xterm"));
            injector.motion(Point { x: 120, y: 90 }).expect("motion");
            until("xterm under the pointer", || {
                let window = client.query_pointer(root).expect("ask").reply().expect("pointer").child;
                window != 0 && file.exists()
            });
            let lines = lines(layout);
            // The first line says that keys arrive at all; it is typed until one does.
            until("first line", || {
                press(&mut injector, plain(&[0x28])[0]);
                std::thread::sleep(Duration::from_millis(20));
                fs::read_to_string(&file).is_ok_and(|text| !text.is_empty())
            });
            for chord in lines.iter().flat_map(|(chords, _)| [chords.clone(), plain(&[0x28])].concat()) {
                press(&mut injector, chord);
            }
            let text = || fs::read_to_string(&file).unwrap_or_default().trim_start().to_owned();
            until("all lines", || text().lines().count() >= lines.len() && text().ends_with('\n'));
            let wanted: Vec<&str> = lines.iter().map(|(_, text)| *text).collect();
            assert_eq!(text().lines().collect::<Vec<_>>(), wanted, "{kind:?} {layout}");
            drop(xterm);
        }
    }
}

#[test]
fn desktop_comes_up_and_is_found_again() {
    for (server_kind, kind) in [(XserverKind::XorgDummy, DesktopKind::Xfce), (XserverKind::Xvfb, DesktopKind::Openbox)]
    {
        let server = Server::start(server_kind, Size::new(1280, 800));
        let dir = server.path("d");
        fs::create_dir(&dir).expect("directory");
        let info = &server.info;
        let begun = Instant::now();
        let desktop = Desktop::start(&info.display, Some(&info.xauthority), &dir, ConfigHome::Private, Some(kind))
            .unwrap_or_else(|e| panic!("{kind:?}: {e:?}"));
        eprintln!("{kind:?} up in {:?}", begun.elapsed());
        assert!(desktop.running());
        let note = serde_json::to_string(&desktop).expect("plain data");
        let found: Desktop = serde_json::from_str(&note).expect("what was written");
        assert!(found.running());
        let variables = found.environment();
        assert!(variables.contains(&("DISPLAY".into(), info.display.clone())));
        let opened = found.open_default_programs().expect("programs");
        assert!(!opened.is_empty());
        let (client, root) = server.client();
        let list = client.intern_atom(false, b"_NET_CLIENT_LIST").expect("ask").reply().expect("atom").atom;
        until("windows of the programs", || {
            let windows = client.get_property(false, root, list, xproto::AtomEnum::WINDOW, 0, 99).expect("ask");
            windows.reply().expect("windows").value_len as usize >= opened.len()
        });
        found.stop();
        assert!(!desktop.running());
        assert!(desktop.processes().iter().all(|process| !process.alive()));
    }
}
