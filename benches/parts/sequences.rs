//! Sequences of screens of real programs, each one event after the one before: a character more, a page further, a menu.
//! Recorded once, as PNG files, so that what the codec makes of them is the same in every run. Nothing goes over a
//! network, and nobody looks at the time here: a picture is taken when it rests.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kachel::codec::canvas::Picture;
use kachel::geom::Size;
use x11rb::protocol::xproto::{ClientMessageEvent, ConnectionExt as _, EventMask};

use super::assets::Assets;
use super::programs::Desktop;
use crate::support::display::{Display, connect, grab, wait_window};
use crate::support::input::{Button, Input};

/// The screen of every recording.
const SCREEN: Size = Size { w: 1920, h: 1080 };
/// A caret or a clock may change so many pixels of a picture that rests.
const REST_PIXELS: u64 = 80;
/// Pictures that must be alike, this far apart, before one counts as at rest.
const REST_GAP: Duration = Duration::from_millis(120);
/// A program that is never at rest is taken as it is.
const REST_LIMIT: Duration = Duration::from_secs(8);

/// A program's screens in order.
pub struct Sequence {
    /// The program.
    pub name: &'static str,
    /// What led to each screen, and the screen.
    pub shots: Vec<(String, Picture)>,
}

/// The programs that are recorded, in the order of the tables.
pub const PROGRAMS: [&str; 7] = ["writer", "calc", "article", "photos", "terminal", "pdf", "files"];

/// Reads the recordings; those that are not in `folder` yet are made, which takes some minutes.
///
/// # Panics
/// When a program is missing or does not come up.
pub fn record(folder: &Path, assets: &Assets, progress: impl Fn(&str)) -> Vec<Sequence> {
    for name in PROGRAMS {
        let place = folder.join(name);
        if place.exists() {
            continue;
        }
        progress(&format!("recording {name}"));
        let half = folder.join("half");
        fs::remove_dir_all(&half).ok();
        fs::create_dir_all(&half).unwrap_or_else(|error| panic!("{}: {error}", half.display()));
        Recorder::new(half.clone()).program(name, assets);
        // Renamed when whole, so that an interrupted run leaves no half recording.
        fs::rename(&half, &place).expect("the folder of the recordings is ours");
    }
    PROGRAMS.map(|name| Sequence { name, shots: read(&folder.join(name)) }).into()
}

fn read(folder: &Path) -> Vec<(String, Picture)> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("the folder can be listed").path()).collect();
    paths.sort();
    let event = |path: &Path| {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        stem.split_once('-').map_or(stem.clone(), |(_, event)| event.to_owned())
    };
    paths.iter().map(|path| (event(path), read_png(path))).collect()
}

fn read_png(path: &Path) -> Picture {
    let file = fs::File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut reader = png::Decoder::new(std::io::BufReader::new(file)).read_info().expect("a recording is a PNG");
    let mut bytes = vec![0; reader.output_buffer_size().expect("a screen fits into memory")];
    let info = reader.next_frame(&mut bytes).expect("a recording is whole");
    let color = |b: &[u8]| u32::from(b[0]) << 16 | u32::from(b[1]) << 8 | u32::from(b[2]);
    let pixels = bytes[..info.buffer_size()].chunks_exact(info.buffer_size() / (info.width * info.height) as usize);
    Picture { size: Size::new(info.width, info.height), pixels: pixels.map(color).collect() }
}

/// One display with one program on it.
struct Recorder {
    folder: PathBuf,
    display: Display,
    count: u32,
}

impl Recorder {
    fn new(folder: PathBuf) -> Self {
        Self { folder, display: Display::start(SCREEN), count: 0 }
    }

    fn program(&mut self, name: &str, assets: &Assets) {
        let display = self.display.name().to_owned();
        let mut desktop = Desktop::empty(&display);
        desktop
            .spawn("wallpaper", &["feh", "--no-fehbg", "--bg-fill", &assets.path("photo0.jpg").display().to_string()]);
        let mut input = Input::of(&display);
        match name {
            "writer" => {
                desktop.office("--writer", "book.fodt", assets);
                self.open(&mut input);
                self.writer(&mut desktop, &mut input);
            }
            "calc" => {
                desktop.office("--calc", "budget.fods", assets);
                self.open(&mut input);
                self.calc(&mut input);
            }
            "article" => {
                desktop.browser("article.html", assets);
                self.open(&mut input);
                self.browser(&mut input);
            }
            "photos" => {
                desktop.browser("page.html", assets);
                self.open(&mut input);
                self.browser(&mut input);
            }
            "terminal" => {
                let look = ["-fa", "DejaVu Sans Mono", "-fs", "11", "-geometry", "200x56+40+30", "-T", TERMINAL];
                desktop.spawn("xterm", &[&["xterm"][..], &look, &["-e", "bash", "--norc"]].concat());
                desktop.wait(TERMINAL);
                self.terminal(&mut input);
            }
            "pdf" => {
                desktop.spawn("evince", &["evince", &assets.path("report.pdf").display().to_string()]);
                desktop.wait("report");
                self.open(&mut input);
                self.repeat("page-down", 4, || input.press("Page_Down"));
                self.repeat("scroll", 5, || input.click(Button::WheelDown));
            }
            _ => {
                desktop.spawn("thunar", &["thunar", "/usr/share"]);
                desktop.wait("share");
                self.open(&mut input);
                self.repeat("page-down", 3, || input.press("Page_Down"));
            }
        }
    }

    fn open(&mut self, input: &mut Input) {
        input.move_to(960, 640);
        std::thread::sleep(Duration::from_secs(3));
        self.shoot("open");
    }

    fn writer(&mut self, desktop: &mut Desktop, input: &mut Input) {
        input.press("ctrl+End");
        self.shoot("end");
        for letter in "Gemeinderat tagt.".chars() {
            input.type_text(&letter.to_string(), Duration::ZERO);
            self.shoot("append");
        }
        for _ in 0..6 {
            self.shoot_change("caret");
        }
        input.press("ctrl+Home");
        self.shoot("home");
        (0..4).for_each(|_| input.press("Down"));
        input.press("Home");
        self.shoot("move");
        for letter in "Neues ".chars() {
            input.type_text(&letter.to_string(), Duration::ZERO);
            self.shoot("reflow");
        }
        self.repeat("scroll", 8, || input.click(Button::WheelDown));
        self.repeat("page-down", 5, || input.press("Page_Down"));
        for round in 0..2 {
            for menu in ["alt+f", "Right", "Right", "Right"] {
                input.press(menu);
                self.shoot(if round == 0 { "menu" } else { "menu-again" });
            }
            input.press("Escape");
            input.press("Escape");
            self.shoot("menu-closed");
        }
        input.press("shift+Right");
        (0..3).for_each(|_| input.press("shift+Down"));
        self.shoot("select");
        let look = ["-fa", "DejaVu Sans Mono", "-fs", "11", "-geometry", "150x50+200+80", "-T", TERMINAL];
        let text = "seq 100 149 | sed 's/.*/& Der Wochenmarkt zieht für drei Wochen auf den Kirchplatz um./'; exec cat";
        desktop.spawn("xterm", &[&["xterm"][..], &look, &["-e", "sh", "-c", text]].concat());
        desktop.wait(TERMINAL);
        self.shoot("other-window");
        for _ in 0..2 {
            self.raise("book");
            self.shoot("window-back");
            self.raise(TERMINAL);
            self.shoot("window-back");
        }
    }

    fn calc(&mut self, input: &mut Input) {
        for number in ["4711", "815"] {
            for digit in number.chars() {
                input.type_text(&digit.to_string(), Duration::ZERO);
                self.shoot("append");
            }
            input.press("Return");
            self.shoot("enter");
        }
        self.repeat("page-down", 4, || input.press("Page_Down"));
        self.repeat("scroll", 5, || input.click(Button::WheelDown));
    }

    fn browser(&mut self, input: &mut Input) {
        self.repeat("scroll", 6, || input.click(Button::WheelDown));
        self.repeat("page-down", 5, || input.press("Page_Down"));
        self.repeat("page-up", 2, || input.press("Page_Up"));
    }

    fn terminal(&mut self, input: &mut Input) {
        let type_line = |input: &mut Input, line: &str| {
            input.type_text(line, Duration::from_millis(4));
            input.press("Return");
        };
        type_line(input, "PS1='$ '; ls -l --color /usr/lib/x86_64-linux-gnu | head -400 | cut -c1-180 | tail -54");
        self.open(input);
        for letter in "ls /usr/share".chars() {
            input.type_text(&letter.to_string(), Duration::ZERO);
            self.shoot("append");
        }
        self.press(input, "Return", "list");
        type_line(input, "man -P cat bash 2>/dev/null | head -50 || head -50 /usr/share/common-licenses/GPL-3");
        self.shoot("list");
        type_line(input, "head -90 /usr/share/common-licenses/GPL-3");
        self.shoot("list");
        type_line(input, "ls -l --color /usr/bin | head -50");
        self.shoot("list");
        for _ in 0..4 {
            input.press("Return");
            self.shoot("scroll");
        }
    }

    fn press(&mut self, input: &mut Input, chord: &str, event: &str) {
        input.press(chord);
        self.shoot(event);
    }

    fn repeat(&mut self, event: &str, count: u32, mut action: impl FnMut()) {
        for _ in 0..count {
            action();
            self.shoot(event);
        }
    }

    /// Brings a window to the front, as a task bar does.
    fn raise(&self, title: &str) {
        let (connection, root) = connect(self.display.name());
        let window = wait_window(self.display.name(), title, Duration::from_secs(5)).id;
        let atom = connection.intern_atom(false, b"_NET_ACTIVE_WINDOW").expect("the X connection holds");
        let atom = atom.reply().expect("an atom can be made").atom;
        let event = ClientMessageEvent::new(32, window, atom, [2, 0, 0, 0, 0]);
        let mask = EventMask::SUBSTRUCTURE_NOTIFY | EventMask::SUBSTRUCTURE_REDIRECT;
        connection.send_event(false, root, mask, event).expect("the X connection holds");
        connection.get_input_focus().expect("the X connection holds").reply().expect("the X connection holds");
    }

    /// Waits until the screen rests after the last key, and keeps it.
    fn shoot(&mut self, event: &str) {
        let (connection, root) = connect(self.display.name());
        std::thread::sleep(REST_GAP);
        let begin = Instant::now();
        let mut last = grab(&connection, root, None);
        loop {
            std::thread::sleep(REST_GAP);
            let now = grab(&connection, root, None);
            let rests = now.diff(&last).count <= REST_PIXELS as _;
            last = now;
            if rests || begin.elapsed() > REST_LIMIT {
                break;
            }
        }
        self.save(event, &last);
    }

    /// Waits until anything changes by itself, and keeps that.
    fn shoot_change(&mut self, event: &str) {
        let (connection, root) = connect(self.display.name());
        let before = grab(&connection, root, None);
        let begin = Instant::now();
        loop {
            std::thread::sleep(Duration::from_millis(20));
            let now = grab(&connection, root, None);
            if now.diff(&before).count > 0 || begin.elapsed() > REST_LIMIT {
                return self.save(event, &now);
            }
        }
    }

    fn save(&mut self, event: &str, picture: &crate::support::picture::Picture) {
        let path = self.folder.join(format!("{:03}-{event}.png", self.count));
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, picture.size().w, picture.size().h);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_compression(png::Compression::Fast);
        let mut writer = encoder.write_header().expect("memory can be written");
        let rgb = |p: &u32| [(p >> 16) as u8, (p >> 8) as u8, *p as u8];
        writer
            .write_image_data(&picture.pixels().iter().flat_map(rgb).collect::<Vec<_>>())
            .expect("memory can be written");
        writer.finish().expect("memory can be written");
        fs::write(&path, file).expect("the folder of the recordings is ours");
        self.count += 1;
    }
}

const TERMINAL: &str = "kachel-recording";
