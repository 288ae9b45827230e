//! Renders every page in both languages, both themes and at two scales without a window, and looks at the pixels.
//! With `KACHEL_UI_SHOTS=DIR` each picture is also written there as a PPM file, over a sample desktop.

use std::time::{Duration, Instant};

use egui::{Color32, Event, FontFamily, FontId, Key, Modifiers, PointerButton, Pos2, RawInput, pos2, vec2};
use kachel::geom::Size;
use kachel::io::sound::SoundDevice;
use kachel::proto::print::viewer::{JobView, Progress};
use kachel::proto::sound::talk::TalkState;
use kachel::proto::wire::print::{JobId, JobReason, JobState, Printer, PrinterKey};
use kachel::viewer::event::{SoundView, TestState};
use kachel::viewer::locale::Locale;
use kachel::viewer::print::{PrintCommand, PrintView};
use kachel::viewer::ui::{
    Action, BarState, ConnectStep, DecodeTime, Exactness, Leaving, LossReason, Notice, Overlay, Page, Palette, Quality,
    RecentPlace, Sign, SoundPage, Stats, Theme, Tier, Ui, UiOutput,
};

/// A window in points at a scale, with a clock that the test moves.
struct Window {
    ui: Ui,
    size: egui::Vec2,
    scale: f32,
    start: Instant,
    now: Instant,
}

impl Window {
    fn new(language: &str, theme: Theme, size: (f32, f32), scale: f32) -> Self {
        Self::of(Ui::new(Locale::new(language), theme, Leaving::Offered), size, scale)
    }

    fn kiosk(language: &str, size: (f32, f32)) -> Self {
        Self::of(Ui::new(Locale::new(language), Theme::Light, Leaving::Never), size, 1.0)
    }

    fn of(ui: Ui, size: (f32, f32), scale: f32) -> Self {
        let start = Instant::now();
        Self { ui, size: vec2(size.0, size.1), scale, start, now: start }
    }

    /// What comes of a click there.
    fn click(&mut self, page: &Page, at: Pos2) -> Vec<Action> {
        let button = |pressed| Event::PointerButton {
            pos: at,
            button: PointerButton::Primary,
            pressed,
            modifiers: Modifiers::NONE,
        };
        let mut actions = self.run(page, vec![Event::PointerMoved(at)]).actions;
        actions.extend(self.run(page, vec![button(true)]).actions);
        actions.extend(self.run(page, vec![button(false)]).actions);
        actions
    }

    fn input(&self, events: Vec<Event>) -> RawInput {
        let mut input = RawInput {
            screen_rect: Some(egui::Rect::from_min_size(Pos2::ZERO, self.size)),
            time: Some((self.now - self.start).as_secs_f64()),
            focused: true,
            events,
            ..Default::default()
        };
        input.viewports.entry(egui::ViewportId::ROOT).or_default().native_pixels_per_point = Some(self.scale);
        input
    }

    fn run(&mut self, page: &Page, events: Vec<Event>) -> UiOutput {
        let input = self.input(events);
        self.ui.run(input, page, self.now)
    }

    /// Runs as often as the page asks for it at once, as a window would.
    fn settle(&mut self, page: &Page) {
        for _ in 0..6 {
            self.now += Duration::from_millis(16);
            self.run(page, Vec::new());
        }
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
    }
}

fn key(key: Key) -> Vec<Event> {
    let event = |pressed| Event::Key { key, physical_key: None, pressed, repeat: false, modifiers: Modifiers::NONE };
    vec![event(true), event(false)]
}

fn host() -> String {
    "büro-ost.example.org".to_owned()
}

fn with_bar(bar: BarState) -> Page {
    Page::Picture { overlay: None, bar: Some(bar), signs: Vec::new() }
}

fn recent_place(address: &str, hours: u64) -> RecentPlace {
    RecentPlace { address: address.to_owned(), ago: Duration::from_secs(hours * 3600 + 59) }
}

fn stats() -> Stats {
    Stats {
        host: host(),
        uptime: Duration::from_secs(4_521),
        adapter: "NVIDIA GeForce RTX 4070 Laptop GPU/PCIe/SSE2 (Vulkan)".to_owned(),
        tier: Tier::Compute,
        round_trip: Some(Duration::from_micros(14_230)),
        frames_per_second: 57.0,
        bytes_per_second: 1_834_000,
        bytes_total: 12_345_678_901,
        decode: Some(DecodeTime::Gpu(Duration::from_micros(612))),
        latency: Some((Duration::from_micros(17_400), Duration::from_micros(31_900))),
        exact: Exactness::Yes,
        screen: Size::new(2560, 1440),
        window: Size::new(2560, 1440),
        scale: 1.0,
        keyboard: "ch(de_nodeadkeys)".to_owned(),
        sound: None,
    }
}

fn bar(quality: Quality) -> BarState {
    BarState {
        host: host(),
        session: Some("Büro".to_owned()),
        quality,
        fullscreen: true,
        stats_shown: quality == Quality::Good,
        sound: None,
        printing: None,
        view_only: false,
        summoned: false,
    }
}

/// Everything is on.
const TALKING: TalkState =
    TalkState { sound: true, microphone_allowed: true, muted: false, microphone: true, wanted: true };

fn sound(talk: TalkState) -> Page {
    let device = |id: &str, name: &str| SoundDevice { id: id.to_owned(), name: name.to_owned(), number: None };
    Page::Sound(Box::new(SoundPage {
        talk,
        view: SoundView {
            outputs: vec![device("a", "Lautsprecher (HD-Audio Generic Analog Stereo)"), device("b", "Headset")],
            inputs: vec![device("c", "Headset")],
            output: Some("b".to_owned()),
            input: None,
            volume: 0.8,
            level: if talk.microphone { 0.3 } else { 0.0 },
            test: TestState::Nothing,
        },
        delay: Some(Duration::from_millis(71)),
    }))
}

fn printing() -> PrintView {
    let printer = |key, name: &str, is_default| Printer {
        key: PrinterKey([key; 16]),
        name: name.to_owned(),
        is_default,
        color: true,
        duplex: true,
        ready: true,
        media: Vec::new(),
        sources: Vec::new(),
    };
    let job = |id, title: &str, progress| JobView {
        job: JobId([id; 16]),
        printer: PrinterKey([1; 16]),
        title: title.to_owned(),
        progress,
    };
    PrintView {
        printers: vec![(printer(1, "Kyocera Büro 2", true), true), (printer(2, "Etiketten", false), false)],
        jobs: vec![
            job(1, "Bescheid", Progress::Receiving { received: 300, size: 1000 }),
            job(2, "Antrag", Progress::State(JobState::Stopped, JobReason::MediaEmpty)),
            job(3, "", Progress::State(JobState::Unknown, JobReason::None)),
        ],
        allowed: true,
    }
}

fn notices() -> Vec<(&'static str, Notice)> {
    let host = host();
    vec![
        ("certificate", Notice::RefusedCertificate { host: host.clone() }),
        ("device", Notice::UnknownDevice { host: host.clone() }),
        ("host_ended", Notice::HostEnded { host: host.clone() }),
        ("taken", Notice::TakenOver),
        ("protocol", Notice::Protocol { host: host.clone(), code: 0x1a3 }),
        ("version", Notice::VersionMismatch { host: host.clone() }),
        ("unreachable", Notice::Unreachable { host: host.clone() }),
        ("busy", Notice::Busy { host: host.clone() }),
        ("no_network", Notice::NoNetwork { host: host.clone() }),
        ("unknown_host", Notice::UnknownHost { host }),
        ("file", Notice::BadFile { path: "Übung für später.kachel".to_owned() }),
        ("file_unreadable", Notice::UnreadableFile { path: "Übung für später.kachel".to_owned() }),
        ("file_expired", Notice::ExpiredFile { path: "Übung für später.kachel".to_owned() }),
        ("clock", Notice::WrongClock { path: "Übung für später.kachel".to_owned() }),
        ("needs_file", Notice::NeedsFile { host: "büro-ost.example.org:7474".to_owned() }),
        ("address", Notice::BadAddress),
    ]
}

fn pages(now: Instant) -> Vec<(String, Page)> {
    let recent = || {
        [
            ("büro-ost.example.org", 0),
            ("10.20.30.40:7474", 1),
            ("/home/grüße/Schreibtisch/Außenstelle.kachel", 5),
            ("/home/grüße/Schreibtisch/Außenstelle in einem Ordner mit einem viel zu langen Namen/trial.kachel", 24),
            ("[fe80::1]:7474", 24 * 400),
        ]
        .map(|(address, hours)| recent_place(address, hours))
        .into()
    };
    let mut pages = vec![
        ("connect_first".to_owned(), Page::Connect { address: String::new(), recent: Vec::new(), error: None }),
        ("connect".to_owned(), Page::Connect { address: host(), recent: recent(), error: None }),
        (
            "connect_error".to_owned(),
            Page::Connect { address: host(), recent: recent(), error: Some(Notice::Unreachable { host: host() }) },
        ),
        (
            "connecting".to_owned(),
            Page::Connecting {
                host: host(),
                step: ConnectStep::StartingDesktop,
                since: now - Duration::from_millis(1300),
            },
        ),
        (
            "connecting_slow".to_owned(),
            Page::Connecting { host: host(), step: ConnectStep::Handshake, since: now - Duration::from_secs(7) },
        ),
        ("stalled".to_owned(), Page::Stalled { since: now - Duration::from_millis(3200), host: host() }),
        (
            "picture_stats".to_owned(),
            Page::Picture { overlay: Some(Box::new(stats())), bar: Some(bar(Quality::Good)), signs: Vec::new() },
        ),
        ("sound".to_owned(), sound(TalkState { sound: true, microphone_allowed: true, ..TalkState::default() })),
        ("sound_denied".to_owned(), sound(TalkState::default())),
        ("sound_talking".to_owned(), sound(TALKING)),
        (
            "picture_talking".to_owned(),
            Page::Picture {
                overlay: None,
                bar: Some(BarState { sound: Some(TALKING), ..bar(Quality::Good) }),
                signs: vec![Sign::MicrophoneOn],
            },
        ),
        (
            "picture_view_only".to_owned(),
            Page::Picture {
                overlay: None,
                bar: Some(BarState { view_only: true, ..bar(Quality::Fair) }),
                signs: Vec::new(),
            },
        ),
        ("picture_bar_poor".to_owned(), with_bar(bar(Quality::Poor))),
        ("picture_bar_unknown".to_owned(), with_bar(bar(Quality::Unknown))),
    ];
    for (name, reason, next_in) in [
        ("no_answer", LossReason::NoAnswer, Duration::from_millis(3100)),
        ("closed", LossReason::Closed, Duration::ZERO),
        ("network", LossReason::NoNetwork, Duration::from_secs(1)),
        ("name", LossReason::NoName, Duration::from_millis(400)),
        ("restart", LossReason::HostRestart, Duration::from_secs(12)),
    ] {
        for (seen, has_picture) in [("", true), ("_first", false)] {
            let page = Page::Reconnecting { attempt: 3, next_in, reason, host: host(), has_picture };
            pages.push((format!("reconnecting_{name}{seen}"), page));
        }
    }
    pages.push(("printing".to_owned(), Page::Printing(printing())));
    pages.push(("printing_denied".to_owned(), Page::Printing(PrintView::default())));
    for (name, notice) in notices() {
        pages.push((format!("ended_{name}"), Page::Ended { notice }));
    }
    pages
}

/// A desktop with stripes of text-like noise, so that bad blending can be seen.
fn sample_desktop(size: Size) -> Vec<u32> {
    let pixel = |x: u32, y: u32| match (x / 8, y / 8) {
        (_, 0..=3) => 0xff2b303b,
        (cx, cy) if cy % 3 == 1 && (cx * 7 + cy * 13) % 5 < 3 && x % 8 < 6 => 0xff30343c,
        _ => 0xff8fb3c9 + (x * 40 / size.w) * 0x010000 + (y * 40 / size.h),
    };
    (0..size.h).flat_map(|y| (0..size.w).map(move |x| (x, y))).map(|(x, y)| pixel(x, y)).collect()
}

fn compose(overlay: &Overlay, picture: &[u32]) -> Vec<u32> {
    let one = |(o, p): (&u32, &u32)| {
        let channel = |s: u32| ((o >> s & 255) + ((p >> s & 255) * (255 - (o >> 24)) + 127) / 255) << s;
        channel(16) | channel(8) | channel(0)
    };
    overlay.pixels.iter().zip(picture).map(one).collect()
}

fn shoot(name: &str, overlay: &Overlay) {
    let Ok(folder) = std::env::var("KACHEL_UI_SHOTS") else { return };
    let mut ppm = format!("P6 {} {} 255\n", overlay.size.w, overlay.size.h).into_bytes();
    for p in compose(overlay, &sample_desktop(overlay.size)) {
        ppm.extend(&p.to_be_bytes()[1..]);
    }
    std::fs::write(format!("{folder}/{name}.ppm"), ppm).expect("the folder for pictures can be written");
}

fn luminance(c: u32) -> f64 {
    static LINEAR: std::sync::LazyLock<[f64; 256]> = std::sync::LazyLock::new(|| {
        std::array::from_fn(|i| {
            let v = i as f64 / 255.0;
            if v <= 0.04045 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) }
        })
    });
    let linear = |s: u32| LINEAR[(c >> s & 255) as usize];
    0.2126 * linear(16) + 0.7152 * linear(8) + 0.0722 * linear(0)
}

fn contrast(a: u32, b: u32) -> f64 {
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

fn argb(c: Color32) -> u32 {
    u32::from_be_bytes([c.a(), c.r(), c.g(), c.b()])
}

#[test]
fn the_microphone_has_a_sign_as_long_as_it_is_on_and_a_click_asks_for_it() {
    for (signs, seen) in [(vec![], false), (vec![Sign::MicrophoneOn], true)] {
        let mut w = Window::new("de", Theme::Dark, (1024.0, 720.0), 1.0);
        let page = Page::Picture { overlay: None, bar: Some(bar(Quality::Good)), signs: signs.clone() };
        w.settle(&page);
        // Long after the bar has gone.
        w.wait(Duration::from_secs(30));
        w.settle(&page);
        let low = &w.ui.overlay().pixels[660 * 1024..];
        let sign = low.chunks_exact(1024).any(|row| row[..200].iter().any(|p| *p != 0));
        assert_eq!(sign, seen, "{signs:?}");
    }
    // The page's own switch, by keyboard alone: nothing but the user leads to this action.
    let mut w = Window::new("en", Theme::Dark, (1024.0, 720.0), 1.0);
    let page = sound(TalkState { sound: true, microphone_allowed: true, ..TalkState::default() });
    w.settle(&page);
    let mut asked = Vec::new();
    for _ in 0..30 {
        for stroke in [Key::Tab, Key::Space] {
            w.wait(Duration::from_millis(50));
            asked.extend(w.run(&page, key(stroke)).actions);
        }
        // What Space opened is closed again.
        w.run(&page, Vec::new());
    }
    assert!(asked.contains(&Action::ToggleMicrophone) && asked.contains(&Action::ToggleMute), "{asked:?}");
    assert!(asked.contains(&Action::TestTone) && asked.contains(&Action::TestLoop), "{asked:?}");
    assert!(w.run(&page, key(Key::Escape)).actions.contains(&Action::ShowSound(false)));
}

#[test]
fn the_meter_of_the_sound_page_grows_with_the_microphones_level() {
    for (theme, seen) in [(Theme::Light, egui::Theme::Light), (Theme::Dark, egui::Theme::Dark)] {
        let lit = |level: f32| {
            let mut page = sound(TALKING);
            if let Page::Sound(page) = &mut page {
                page.view.level = level;
            }
            let mut w = Window::new("de", theme, (1024.0, 720.0), 1.0);
            w.settle(&page);
            let accent = argb(Palette::of(seen).accent);
            w.ui.overlay().pixels.iter().filter(|p| **p == accent).count() as f32
        };
        // As an ear hears it, not as a number is: a sixteenth is a quarter of the meter.
        let [silence, soft, whole] = [0.0, 1.0 / 16.0, 1.0].map(lit);
        let meter = whole - silence;
        assert!(meter > 1_000.0, "{meter} pixels");
        assert!(((soft - silence) / meter - 0.25).abs() < 0.02, "{silence} {soft} {whole}");
        assert_eq!(lit(7.0), whole, "more than all is all");
    }
}

#[test]
fn a_kiosk_offers_no_way_out_and_its_signs_lead_to_what_waits_for_the_user() {
    let size = (800.0, 600.0);
    let picture = |signs| Page::Picture { overlay: Some(Box::new(stats())), bar: None, signs };
    let everywhere =
        || (0..size.1 as u32).step_by(20).flat_map(|y| (0..size.0 as u32).step_by(40).map(move |x| (x, y)));
    let reached = |page: &Page| {
        let mut w = Window::kiosk("de", size);
        w.settle(page);
        let mut found: Vec<Action> = Vec::new();
        for (x, y) in everywhere() {
            w.wait(Duration::from_millis(700));
            found.extend(w.click(page, pos2(x as f32, y as f32)));
        }
        for k in [Key::Escape, Key::Enter, Key::Tab, Key::Space, Key::Tab, Key::Space] {
            w.wait(Duration::from_millis(1200));
            found.extend(w.run(page, key(k)).actions);
        }
        found.dedup();
        found
    };
    let now = Instant::now();
    let lost = |next_in| {
        let (attempt, reason, host) = (2, LossReason::NoAnswer, host());
        Page::Reconnecting { attempt, next_in, reason, host, has_picture: true }
    };
    for (page, expected) in [
        (picture(Vec::new()), vec![]),
        (Page::Connecting { host: host(), step: ConnectStep::Handshake, since: now }, vec![]),
        (Page::Stalled { since: now, host: host() }, vec![]),
        (lost(Duration::ZERO), vec![]),
        (lost(Duration::from_secs(3)), vec![Action::Reconnect]),
        (picture(vec![Sign::MicrophoneWanted]), vec![Action::ShowSound(true)]),
        (picture(vec![Sign::MicrophoneOn]), vec![Action::ShowSound(true)]),
        (picture(vec![Sign::PrintQuestion]), vec![Action::ShowPrinting(true)]),
    ] {
        assert_eq!(reached(&page), expected, "{page:?}");
    }
    // Where the sign's button is, the pointer is ours, and nowhere else.
    for language in ["de", "en"] {
        let mut w = Window::kiosk(language, size);
        let page = picture(vec![Sign::MicrophoneOn, Sign::PrintQuestion]);
        w.settle(&page);
        shoot(&format!("signs_{language}"), w.ui.overlay());
        for (x, y, ours) in [(20.0, size.1 - 20.0, true), (400.0, 300.0, false), (400.0, 1.0, false)] {
            let out = w.run(&page, vec![Event::PointerMoved(pos2(x, y))]);
            assert_eq!((out.wants_pointer, out.wants_keyboard), (ours, false), "{x}, {y}");
        }
    }
}

#[test]
fn palette_has_enough_contrast_for_text() {
    for theme in [egui::Theme::Light, egui::Theme::Dark] {
        for (name, text, surface) in Palette::of(theme).text_pairs() {
            let ratio = contrast(argb(text), argb(surface));
            assert!(ratio >= 4.5, "{theme:?} {name}: {ratio:.2}");
        }
    }
}

#[test]
fn every_page_is_readable_in_both_languages_themes_and_scales() {
    for language in ["de", "en"] {
        for (theme, of) in [(Theme::Light, egui::Theme::Light), (Theme::Dark, egui::Theme::Dark)] {
            for (scale, size) in [(1.0, (1024.0, 720.0)), (2.0, (800.0, 600.0))] {
                let palette = Palette::of(of);
                for (name, page) in pages(Instant::now()) {
                    let mut w = Window::new(language, theme, size, scale);
                    w.settle(&page);
                    let case = format!("{name}_{language}_{of:?}_{scale}");
                    check_page(
                        &case,
                        w.ui.overlay(),
                        palette,
                        &page,
                        Size::new((size.0 * scale) as u32, (size.1 * scale) as u32),
                    );
                    shoot(&case, w.ui.overlay());
                }
            }
        }
    }
}

fn check_page(case: &str, overlay: &Overlay, palette: &Palette, page: &Page, size: Size) {
    assert_eq!(overlay.size, size, "{case}");
    let width = size.w as usize;
    let card = argb(palette.card);
    let at = |x: u32, y: u32| overlay.pixels[y as usize * width + x as usize];
    let (mut count, mut x0, mut x1, mut y0, mut y1) = (0, u32::MAX, 0, u32::MAX, 0);
    for (y, row) in overlay.pixels.chunks_exact(width).enumerate() {
        for x in row.iter().enumerate().filter(|(_, p)| **p == card).map(|(x, _)| x as u32) {
            (x0, x1) = (x0.min(x), x1.max(x));
            (y0, y1) = (y0.min(y as u32), y as u32);
            count += 1;
        }
    }
    assert!(count > 10_000, "{case}: the card is {count} pixels");

    // Text: many pixels on the card are not its colour, and the strongest reach the contrast asked for.
    let strong = (y0..=y1).flat_map(|y| (x0..=x1).map(move |x| (x, y))).filter(|(x, y)| {
        let p = at(*x, *y);
        p != card && p >> 24 == 255 && contrast(p, card) >= 4.5
    });
    let strong = strong.take(401).count();
    assert!(strong > 400, "{case}: only {strong} pixels of readable text");

    // Pages with buttons show at least one in full height: nothing is cut off at the end of the card.
    let fills = [argb(palette.button), argb(palette.accent)];
    let run = |x: u32| {
        let column = (y0..=y1).map(|y| fills.contains(&at(x, y)));
        column.fold((0, 0), |(best, run), hit| if hit { (best.max(run + 1), run + 1) } else { (best, 0) }).0
    };
    let tallest = (x0..=x1).map(run).max().unwrap_or(0);
    let scale = size.w as f32 / if size.w == 1024 { 1024.0 } else { 800.0 };
    let disabled = case.starts_with("connect_first");
    let least = if matches!(page, Page::Picture { .. }) { 28.0 } else { 36.0 };
    assert!(disabled || tallest as f32 >= least * scale, "{case}: the tallest button is {tallest} high");

    // Nothing touches the border of the window but the bar, which hangs from the top.
    let border = match page {
        Page::Picture { .. } => 0,
        Page::Stalled { .. } | Page::Sound(_) | Page::Printing(_) => argb(palette.veil),
        Page::Reconnecting { has_picture: true, .. } => argb(palette.veil),
        _ => argb(palette.background),
    };
    for x in 0..size.w {
        assert_eq!(at(x, size.h - 1), border, "{case}: column {x} at the bottom");
        if border != 0 {
            assert_eq!(at(x, 0), border, "{case}: column {x} at the top");
        }
    }
    for y in 0..size.h {
        assert_eq!((at(0, y), at(size.w - 1, y)), (border, border), "{case}: row {y} at the sides");
    }
    // Cards are in the middle: as much room on the left as on the right.
    if border != 0 {
        assert!(x0.abs_diff(size.w - 1 - x1) <= 2, "{case}: {x0} left, {} right", size.w - 1 - x1);
        assert!(y0.abs_diff(size.h - 1 - y1) <= 4, "{case}: {y0} above, {} below", size.h - 1 - y1);
    } else {
        let p = overlay.painted;
        assert!(p.w < size.w && p.area() < size.area(), "{case}: {p:?} covers the picture");
        assert_eq!(at(p.x.saturating_sub(1), size.h / 2), 0, "{case}");
    }
    for p in overlay.pixels.iter().filter(|p| **p >> 24 != 255) {
        let [a, rgb @ ..] = p.to_be_bytes();
        assert!(rgb.iter().all(|c| *c <= a), "{case}: {p:08x} is not premultiplied");
    }
}

#[test]
fn fonts_have_every_letter_of_both_languages() {
    let mut w = Window::new("de", Theme::Light, (400.0, 300.0), 1.0);
    w.settle(&pages(Instant::now())[0].1);
    let sources =
        [include_str!("../../assets/locales/de/kachel.ftl"), include_str!("../../assets/locales/en/kachel.ftl")];
    let font = FontId::new(16.0, FontFamily::Proportional);
    let letters = sources.concat() + "äöüÄÖÜß€–−×·…éèàçâêîôû";
    for c in letters.chars().filter(|c| !c.is_control()) {
        assert!(w.ui.context().fonts_mut(|f| f.has_glyph(&font, c)), "{c} would be a box");
    }
}

#[test]
fn umlauts_are_drawn() {
    let drawn = |address: &str| {
        let mut w = Window::new("de", Theme::Light, (640.0, 480.0), 2.0);
        let page = Page::Connect { address: String::new(), recent: vec![recent_place(address, 0)], error: None };
        w.settle(&page);
        w.ui.overlay().pixels.clone()
    };
    let count = |text: &str| drawn(text).iter().zip(drawn("u")).filter(|(a, b)| **a != *b).count();
    assert_eq!(count("u"), 0);
    assert!((8..80).contains(&count("ü")), "two dots are {} pixels", count("ü"));
}

#[test]
fn small_windows_keep_everything_inside() {
    for size in [(320.0, 240.0), (480.0, 320.0), (640.0, 400.0)] {
        for (name, page) in pages(Instant::now()) {
            let mut w = Window::new("de", Theme::Light, size, 1.0);
            w.settle(&page);
            shoot(&format!("small_{name}_{}", size.0), w.ui.overlay());
            let o = w.ui.overlay();
            let card = argb(Palette::of(egui::Theme::Light).card);
            let row = &o.pixels[o.pixels.len() - o.size.w as usize..];
            assert!(row.iter().all(|p| *p != card), "{name} at {size:?} reaches the bottom");
            let sides = o.pixels.chunks(o.size.w as usize).all(|r| r[0] != card && r[r.len() - 1] != card);
            assert!(sides, "{name} at {size:?} reaches the sides");
        }
    }
}

#[test]
fn connect_page_works_by_keyboard() {
    let mut w = Window::new("en", Theme::Dark, (800.0, 600.0), 1.0);
    let recent = vec![recent_place("old.example.org", 3), recent_place("older.example.org", 30)];
    let page = Page::Connect { address: String::new(), recent, error: None };
    w.settle(&page);
    assert!(w.run(&page, key(Key::Enter)).actions.is_empty(), "an empty address is no address");
    w.settle(&page);
    w.run(&page, vec![Event::Text(" desk.example.org ".to_owned())]);
    let out = w.run(&page, key(Key::Enter));
    assert_eq!(out.actions, [Action::Connect("desk.example.org".to_owned())]);
    assert!(out.wants_keyboard && out.wants_pointer);
    // The field keeps the keyboard; Tab leads on to the button and then to each address used before.
    w.settle(&page);
    for expected in [
        Action::Connect("desk.example.org".to_owned()),
        Action::Connect("old.example.org".to_owned()),
        Action::Forget("old.example.org".to_owned()),
        Action::Connect("older.example.org".to_owned()),
        Action::Forget("older.example.org".to_owned()),
    ] {
        w.run(&page, key(Key::Tab));
        w.settle(&page);
        assert_eq!(w.run(&page, key(Key::Enter)).actions, [expected]);
        w.settle(&page);
    }
}

#[derive(Debug)]
struct Dropped(std::path::PathBuf);

impl egui::DroppedFile for Dropped {
    fn path(&self) -> &std::path::Path {
        &self.0
    }

    fn bytes(&self) -> Result<Vec<u8>, String> {
        Ok(Vec::new())
    }
}

#[test]
fn dropped_file_connects() {
    let mut w = Window::new("de", Theme::Light, (800.0, 600.0), 1.0);
    let page = Page::Connect { address: String::new(), recent: Vec::new(), error: None };
    w.settle(&page);
    let before = w.ui.overlay().pixels.clone();
    let mut input = w.input(Vec::new());
    input.hovered_files.push(egui::HoveredFile::default());
    w.ui.run(input, &page, w.now);
    assert_ne!(before, w.ui.overlay().pixels, "the card says that it may be dropped");
    shoot("drop", w.ui.overlay());
    let mut input = w.input(Vec::new());
    input.dropped_files.push(std::sync::Arc::new(Dropped("/tmp/Büro.kachel".into())));
    assert_eq!(w.ui.run(input, &page, w.now).actions, [Action::Connect("/tmp/Büro.kachel".to_owned())]);
}

#[test]
fn keys_do_not_reach_a_bar_that_was_not_summoned() {
    let mut w = Window::new("de", Theme::Light, (1000.0, 600.0), 1.0);
    let page = with_bar(bar(Quality::Good));
    w.settle(&page);
    for k in [Key::Tab, Key::Enter, Key::Tab, Key::Space, Key::Escape] {
        let out = w.run(&page, key(k));
        assert!(out.actions.is_empty() && !out.wants_keyboard, "{k:?}");
    }
}

#[test]
fn escape_cancels_a_connection_being_made() {
    let mut w = Window::new("de", Theme::Light, (800.0, 600.0), 1.0);
    let page = Page::Connecting { host: host(), step: ConnectStep::Resolving, since: w.now };
    w.settle(&page);
    assert_eq!(w.run(&page, key(Key::Escape)).actions, [Action::Cancel]);
    let out = w.run(&page, Vec::new());
    assert!(out.repaint_after.is_some_and(|t| t <= Duration::from_millis(100)), "progress moves");
}

#[test]
fn escape_meant_for_the_desktop_does_not_end_a_link_that_has_just_come_back() {
    let mut w = Window::new("de", Theme::Light, (800.0, 600.0), 1.0);
    let reason = LossReason::HostRestart;
    w.settle(&Page::Reconnecting { attempt: 1, next_in: Duration::ZERO, reason, host: host(), has_picture: true });
    let page = Page::Connecting { host: host(), step: ConnectStep::StartingDesktop, since: w.now };
    assert!(w.run(&page, key(Key::Escape)).actions.is_empty());
    w.now += Duration::from_millis(1000);
    assert_eq!(w.run(&page, key(Key::Escape)).actions, [Action::Cancel], "whoever has seen the page means it");
}

#[test]
fn progress_repaints_only_its_ring() {
    let mut w = Window::new("de", Theme::Light, (1920.0, 1080.0), 1.0);
    let page = Page::Connecting { host: host(), step: ConnectStep::Handshake, since: w.now };
    w.settle(&page);
    w.wait(Duration::from_millis(60));
    let out = w.run(&page, Vec::new());
    assert!(out.overlay_changed && out.damage.area() < 1000, "{:?}", out.damage);
}

#[test]
fn keys_meant_for_the_desktop_press_nothing() {
    let mut w = Window::new("de", Theme::Light, (800.0, 600.0), 1.0);
    let stalled = Page::Stalled { since: w.now, host: host() };
    let ended = Page::Ended { notice: Notice::HostEnded { host: host() } };
    w.settle(&stalled);
    for k in [Key::Enter, Key::Space, Key::Escape] {
        assert!(w.run(&stalled, key(k)).actions.is_empty(), "{k:?}");
    }
    w.settle(&ended);
    for k in [Key::Enter, Key::Space, Key::Escape] {
        assert!(w.run(&ended, key(k)).actions.is_empty(), "{k:?}");
    }
    w.wait(Duration::from_millis(1200));
    assert_eq!(w.run(&ended, Vec::new()).repaint_after, Some(Duration::ZERO), "the ring of the focus is still to come");
    w.settle(&ended);
    shoot("ended_focus", w.ui.overlay());
    assert_eq!(w.run(&ended, key(Key::Enter)).actions, [Action::Reconnect]);
    assert_eq!(w.run(&ended, key(Key::Escape)).actions, [Action::Close]);
    // A refused certificate does not invite another attempt.
    let refused = Page::Ended { notice: Notice::RefusedCertificate { host: host() } };
    let mut w = Window::new("de", Theme::Light, (800.0, 600.0), 1.0);
    w.settle(&refused);
    w.wait(Duration::from_millis(1200));
    w.settle(&refused);
    assert_eq!(w.run(&refused, key(Key::Enter)).actions, [Action::Close]);
}

#[test]
fn bare_picture_is_nothing_and_idle() {
    let mut w = Window::new("de", Theme::Light, (800.0, 600.0), 1.0);
    let page = Page::Picture { overlay: None, bar: None, signs: Vec::new() };
    w.settle(&page);
    let out = w.run(&page, Vec::new());
    assert!(!out.overlay_changed && out.repaint_after.is_none() && out.actions.is_empty());
    assert!(!out.wants_keyboard && !out.wants_pointer);
    assert!(w.ui.overlay().painted.is_empty() && w.ui.overlay().pixels.iter().all(|p| *p == 0));
}

#[test]
fn bar_hides_and_comes_back_at_the_edge() {
    let mut w = Window::new("de", Theme::Light, (1000.0, 600.0), 1.0);
    let page = with_bar(bar(Quality::Fair));
    w.settle(&page);
    assert!(!w.ui.overlay().painted.is_empty() && w.run(&page, Vec::new()).shows_bar, "shown at first");
    let left = w.run(&page, Vec::new()).repaint_after.expect("it will hide by itself");
    w.wait(left);
    let out = w.run(&page, Vec::new());
    assert!(out.overlay_changed && out.repaint_after.is_none() && w.ui.overlay().painted.is_empty());
    assert!(!out.shows_bar);
    assert!(w.ui.may_skip_motion(&page, 300.0) && !w.ui.may_skip_motion(&page, 0.0));

    let rest = w.run(&page, vec![Event::PointerMoved(pos2(500.0, 0.0))]).repaint_after;
    assert!(rest.is_some(), "it waits for rest");
    assert!(w.ui.overlay().painted.is_empty(), "passing the edge is not enough");
    w.wait(Duration::from_millis(400));
    for _ in 0..3 {
        w.run(&page, Vec::new());
    }
    assert!(!w.ui.overlay().painted.is_empty(), "resting there is");

    // The pointer presses the rightmost button.
    let painted = w.ui.overlay().painted;
    let at = pos2(painted.right() as f32 - 60.0, 20.0);
    let out = w.run(&page, vec![Event::PointerMoved(at)]);
    assert!(out.wants_pointer && !out.wants_keyboard);
    let press =
        |pressed| Event::PointerButton { pos: at, button: PointerButton::Primary, pressed, modifiers: Modifiers::NONE };
    w.run(&page, vec![press(true)]);
    assert_eq!(w.run(&page, vec![press(false)]).actions, [Action::Disconnect]);
}

#[test]
fn bar_summoned_by_keyboard_takes_the_keyboard() {
    let mut w = Window::new("de", Theme::Light, (1000.0, 600.0), 1.0);
    let state = BarState { printing: None, summoned: true, ..bar(Quality::Excellent) };
    let page = with_bar(state);
    w.wait(Duration::from_secs(60));
    w.settle(&page);
    assert!(w.run(&page, Vec::new()).wants_keyboard);
    assert_eq!(w.run(&page, key(Key::Enter)).actions, [Action::ToggleFullscreen]);
    w.run(&page, key(Key::Tab));
    w.settle(&page);
    assert_eq!(w.run(&page, key(Key::Enter)).actions, [Action::ToggleStats]);
    assert_eq!(w.run(&page, key(Key::Escape)).actions, [Action::HideBar]);
}

/// A measurement, written to the test's output; machines differ too much to assert more than that it is not absurd.
#[test]
fn painting_is_quick() {
    for (name, page) in pages(Instant::now()) {
        if !["connect_error", "stalled", "picture_stats"].contains(&name.as_str()) {
            continue;
        }
        let mut w = Window::new("de", Theme::Dark, (1920.0, 1080.0), 1.0);
        w.settle(&page);
        let time = |w: &mut Window| {
            let begin = Instant::now();
            w.run(&page, Vec::new());
            begin.elapsed()
        };
        let idle = (0..5).map(|_| time(&mut w)).min().expect("five runs");
        // One point of height more or less: everything is laid out and painted again.
        let whole = (1..7).map(|i| {
            w.size.y = 1080.0 - (i % 2) as f32;
            time(&mut w)
        });
        let whole = whole.min().expect("six runs");
        let update = (0..6).map(|i| {
            let page = match &page {
                Page::Picture { overlay: Some(stats), bar, signs } => {
                    let stats = Stats { bytes_total: stats.bytes_total / (i + 2), ..(**stats).clone() };
                    Page::Picture { overlay: Some(Box::new(stats)), bar: bar.clone(), signs: signs.clone() }
                }
                other => other.clone(),
            };
            let begin = Instant::now();
            w.run(&page, Vec::new());
            begin.elapsed()
        });
        let update = update.skip(1).min().expect("five runs");
        println!("{name}: everything {whole:?}, one number {update:?}, nothing new {idle:?}");
        assert!(whole < Duration::from_secs(1) && idle < whole, "{name}");
    }
}

#[test]
fn question_of_the_printing_page_is_answered_by_keyboard_and_escape_closes_it() {
    let mut window = Window::new("de", Theme::Light, (800.0, 700.0), 1.0);
    let page = Page::Printing(printing());
    window.settle(&page);
    // Every way around with the tab key comes by both answers once.
    let mut answers = Vec::new();
    for _ in 0..12 {
        window.run(&page, key(Key::Tab));
        let output = window.run(&page, key(Key::Space));
        answers.extend(output.actions.into_iter().filter_map(|action| match action {
            Action::Print(PrintCommand::Answer(job, printed)) => Some((job, printed)),
            _ => None,
        }));
    }
    assert!(answers.contains(&(JobId([3; 16]), true)) && answers.contains(&(JobId([3; 16]), false)), "{answers:?}");
    let output = window.run(&page, key(Key::Escape));
    assert_eq!(output.actions, [Action::ShowPrinting(false)]);
}

#[test]
fn an_address_used_before_is_connected_to_or_forgotten_by_a_click_and_tells_when() {
    let mut w = Window::new("en", Theme::Light, (800.0, 600.0), 1.0);
    let recent = |hours| vec![recent_place("/home/user/desk.kachel", hours)];
    let page = |hours| Page::Connect { address: String::new(), recent: recent(hours), error: None };
    let out = w.run(&page(0), Vec::new());
    // An hour less the 59 s that have gone.
    let again = out.repaint_after.expect("the hours go on");
    assert!(again <= Duration::from_secs(3600 - 59), "{again:?}");
    let (mut connected, mut forgotten) = (Vec::new(), Vec::new());
    for y in (0..600).step_by(12) {
        for x in (0..800).step_by(12) {
            let at = pos2(x as f32, y as f32);
            let press = |pressed| Event::PointerButton {
                pos: at,
                button: PointerButton::Primary,
                pressed,
                modifiers: Modifiers::NONE,
            };
            w.wait(Duration::from_secs(1));
            w.run(&page(0), vec![Event::PointerMoved(at)]);
            for action in w.run(&page(0), vec![press(true), press(false)]).actions {
                match action {
                    Action::Connect(address) if address == "/home/user/desk.kachel" => connected.push((x, y)),
                    Action::Forget(address) if address == "/home/user/desk.kachel" => forgotten.push((x, y)),
                    other => panic!("{other:?} at {x}, {y}"),
                }
            }
        }
    }
    // A wide one and a small one at its right, on the same lines, with nothing in common.
    let rows = |points: &[(i32, i32)]| points.iter().map(|(_, y)| *y).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(rows(&connected), rows(&forgotten));
    assert!(connected.len() > 4 * forgotten.len() && forgotten.len() >= 6, "{connected:?} {forgotten:?}");
    assert!(connected.iter().all(|(x, _)| forgotten.iter().all(|(other, _)| x < other)), "{forgotten:?}");
    let drawn = |hours| {
        let mut w = Window::new("en", Theme::Light, (800.0, 600.0), 1.0);
        w.settle(&page(hours));
        w.ui.overlay().pixels.clone()
    };
    let texts = [0, 1, 2, 24, 48].map(drawn);
    assert!(texts.windows(2).all(|two| two[0] != two[1]), "each is told in other words");
    assert_eq!(drawn(48), drawn(71), "two days");
}
