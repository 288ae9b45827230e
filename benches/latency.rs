//! Input to photon side by side: a key goes in at the viewer's display, and the time runs until its answer stands in
//! the pixels of that display. Two answers: a patch of 400x300 that changes colour, and a screen full of a photo that
//! was never shown before. The floor is the same with program and probe on one X server and no system in between.
//! Run by `./dev bench latency [--quick]`; needs root for the network namespaces.

#[path = "parts/mod.rs"]
mod parts;
#[path = "../tests/support/mod.rs"]
mod support;

use std::io::{Write, stdout};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use kachel::geom::{Point, Size};
use serde_json::{Value, json};
use x11rb::connection::Connection;
use x11rb::protocol::Event;
use x11rb::protocol::xproto::{
    ChangeGCAux, ConnectionExt, CreateGCAux, CreateWindowAux, EventMask, GrabMode, GrabStatus, ImageFormat, InputFocus,
    Rectangle, WindowClass,
};
use x11rb::rust_connection::RustConnection;

use parts::assets::{Random, landscape};
use parts::options::Options;
use parts::peers::{Pair, Peer, SCREEN, bare_screen};
use parts::programs::Desktop;
use parts::report;
use parts::wire::Wire;
use support::display::connect;
use support::input::Input;
use support::wait::wait_until;

fn main() -> ExitCode {
    let options = Options::from_arguments();
    let wire = Wire::new();
    let kinds = [Kind::Flat, Kind::Screen].into_iter().filter(|kind| options.wants(kind.name(), true));
    let mut results = Vec::new();
    let mut failures = Vec::new();
    for kind in kinds {
        let samples = kind.samples(options.quick);
        for peer in [None].into_iter().chain(options.peers.iter().copied().map(Some)) {
            let name = peer.map_or("floor", Peer::name);
            print!("{} · {name}: starting, {samples} keys ", kind.name());
            stdout().flush().ok();
            match catch_unwind(AssertUnwindSafe(|| measure(kind, peer, &wire, samples))) {
                Ok(times) => {
                    let result = Measured { kind, name, times, load: report::load() };
                    println!(" median {}, p95 {}", ms(result.at(0.5)), ms(result.at(0.95)));
                    results.push(result);
                }
                Err(panic) => {
                    println!(" failed");
                    let text = report::panic_text(panic.as_ref());
                    failures.push(format!("{} · {name}: {}", kind.name(), text.lines().next().unwrap_or_default()));
                }
            }
        }
    }
    print_table(&results);
    report::save(
        "latency",
        &json!({ "results": results.iter().map(Measured::json).collect::<Vec<_>>(), "failures": failures }),
    );
    report::exit_code(&failures)
}

/// What answers a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A patch changes colour.
    Flat,
    /// The whole screen becomes another photo.
    Screen,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Flat => "flat",
            Self::Screen => "screen",
        }
    }

    const fn samples(self, quick: bool) -> usize {
        match (self, quick) {
            (Self::Flat, false) => 100,
            (Self::Flat, true) => 20,
            (Self::Screen, false) => 30,
            (Self::Screen, true) => 6,
        }
    }

    const fn size(self) -> Size {
        match self {
            Self::Flat => Size { w: 400, h: 300 },
            Self::Screen => SCREEN,
        }
    }

    const fn origin(self) -> Point {
        match self {
            Self::Flat => Point { x: 700, y: 400 },
            Self::Screen => Point { x: 0, y: 0 },
        }
    }

    /// The pixels that are looked at: the answer is there when the last of them has changed.
    fn points(self) -> Vec<Point> {
        match self {
            Self::Flat => vec![Point { x: 900, y: 550 }],
            Self::Screen => {
                let columns = [40, 960, 1880];
                [40, 540, 1040].into_iter().flat_map(|y| columns.map(|x| Point { x, y })).collect()
            }
        }
    }
}

/// Milliseconds from the key to the first and to the last point; `None` when it took longer than `GIVE_UP`.
type Times = Vec<Option<(f64, f64)>>;

/// A key that has not been answered by then is counted, not timed.
const GIVE_UP: Duration = Duration::from_secs(5);

/// Pause between two looks; a look takes about as long again, so that the pixels are seen some 2000 times a second.
const LOOK_PAUSE: Duration = Duration::from_micros(250);

/// The first keys warm up caches and connections.
const WARM_UP: usize = 2;

fn measure(kind: Kind, peer: Option<Peer>, wire: &Wire, samples: usize) -> Times {
    let Some(peer) = peer else {
        let (_server, display) = bare_screen();
        return sample(kind, &display, &display, samples);
    };
    let mut pair = Pair::start(peer, wire);
    let _desktop = Desktop::empty(pair.server_display());
    let (server, viewer) = (pair.server_display().to_owned(), pair.viewer_display().to_owned());
    let input = Input::of(&viewer);
    input.move_to(1000, 1070);
    pair.wait_in_step();
    let times = sample(kind, &server, &viewer, samples);
    pair.assert_running();
    times
}

fn sample(kind: Kind, server: &str, viewer: &str, samples: usize) -> Times {
    let mut patch = Patch::start(kind, server);
    let (connection, root) = connect(viewer);
    let points = kind.points();
    let look = || -> Vec<u32> {
        let one = |p: &Point| connection.get_image(ImageFormat::Z_PIXMAP, root, p.x as i16, p.y as i16, 1, 1, !0);
        let cookies: Vec<_> = points.iter().map(|p| one(p).expect("the X connection holds")).collect();
        let pixel = |data: Vec<u8>| u32::from_le_bytes([data[0], data[1], data[2], 0]);
        cookies.into_iter().map(|cookie| pixel(cookie.reply().expect("the point is on the screen").data)).collect()
    };
    let mut input = Input::of(viewer);
    let mut random = Random::new(11);
    let mut times = Times::new();
    for index in 0..samples + WARM_UP {
        let next = patch.prepare();
        // Until the picture of the last key stands everywhere and nothing more is on its way.
        let mut steady = (Instant::now(), look());
        wait_until(Duration::from_secs(30), "the viewer comes to rest", || {
            let now = look();
            if now != steady.1 {
                steady = (Instant::now(), now);
            }
            (steady.0.elapsed() > Duration::from_millis(250)).then_some(())
        });
        sleep(Duration::from_millis(random.next() % 100));
        let before = look();
        // A key that changes nothing at a point could never be seen there.
        let reachable: Vec<bool> = next.iter().zip(&before).map(|(a, b)| is_other(*a, *b)).collect();
        let mut open: Vec<bool> = reachable.clone();
        let (begin, mut first, mut last) = (Instant::now(), None, None);
        input.press("a");
        while open.contains(&true) && begin.elapsed() < GIVE_UP {
            let now = look();
            let at = begin.elapsed().as_secs_f64() * 1000.0;
            for point in 0..points.len() {
                if open[point] && is_other(now[point], before[point]) {
                    open[point] = false;
                    first.get_or_insert(at);
                    last = Some(at);
                }
            }
            sleep(LOOK_PAUSE);
        }
        let answered = !open.contains(&true);
        assert!(answered || index != 3 || times.iter().any(Option::is_some), "no key is ever answered on the screen");
        if index >= WARM_UP {
            times.push(first.zip(last).filter(|_| answered));
        }
        if index % 10 == 9 {
            print!(".");
            stdout().flush().ok();
        }
    }
    times
}

/// More than a lossy code changes by itself.
fn is_other(a: u32, b: u32) -> bool {
    [0, 8, 16].map(|shift| (a >> shift & 255).abs_diff(b >> shift & 255)).iter().sum::<u32>() > 60
}

/// A window that shows its next picture at each key, in a thread with a connection of its own.
struct Patch {
    kind: Kind,
    orders: Option<Sender<Vec<u32>>>,
    ready: Receiver<()>,
    random: u64,
    last: u32,
    thread: Option<JoinHandle<()>>,
}

impl Patch {
    fn start(kind: Kind, display: &str) -> Self {
        let (orders, inbox) = channel();
        let (outbox, ready) = channel();
        let display = display.to_owned();
        let thread = std::thread::spawn(move || show(kind, &display, &inbox, &outbox));
        let mut patch = Self { kind, orders: Some(orders), ready, random: 100, last: 0, thread: Some(thread) };
        patch.wait();
        patch
    }

    /// Uploads the next picture, so that a key costs one copy within the X server; returns its values at the points.
    fn prepare(&mut self) -> Vec<u32> {
        self.random += 1;
        let (size, points) = (self.kind.size(), self.kind.points());
        let (pixels, values) = match self.kind {
            Kind::Flat => {
                self.last = if self.last == 0x00e0_2020 { 0x0020_e0e0 } else { 0x00e0_2020 };
                (vec![self.last], vec![self.last; points.len()])
            }
            Kind::Screen => {
                // Every second photo is a negative, so that each point changes clearly.
                let flip = if self.random.is_multiple_of(2) { 0x00ff_ffff } else { 0 };
                let picture = landscape(size, self.random);
                let pixels: Vec<u32> = picture.pixels().iter().map(|pixel| pixel ^ flip).collect();
                let values = points.iter().map(|p| pixels[(p.y * size.w + p.x) as usize]).collect();
                (pixels, values)
            }
        };
        self.orders.as_ref().expect("open until drop").send(pixels).expect("the patch's thread runs");
        self.wait();
        values
    }

    fn wait(&mut self) {
        self.ready.recv_timeout(Duration::from_secs(20)).expect("the patch's window answers");
    }
}

impl Drop for Patch {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// The patch's thread: one order, one key, one picture.
fn show(kind: Kind, display: &str, inbox: &Receiver<Vec<u32>>, outbox: &Sender<()>) {
    let (connection, root) = connect(display);
    let (size, origin) = (kind.size(), kind.origin());
    let (w, h) = (size.w as u16, size.h as u16);
    let depth = connection.setup().roots[0].root_depth;
    let expect = "the X server takes the patch's requests";
    let [window, pixmap, gc] = [0; 3].map(|_| connection.generate_id().expect(expect));
    let mask = EventMask::KEY_PRESS | EventMask::EXPOSURE;
    let aux = CreateWindowAux::new().override_redirect(1).event_mask(mask);
    let (x, y) = (origin.x as i16, origin.y as i16);
    connection.create_window(depth, window, root, x, y, w, h, 0, WindowClass::INPUT_OUTPUT, 0, &aux).expect(expect);
    connection.create_pixmap(depth, pixmap, window, w, h).expect(expect);
    connection.create_gc(gc, window, &CreateGCAux::new().foreground(0x0080_8080).graphics_exposures(0)).expect(expect);
    connection.map_window(window).expect(expect);
    let all = [Rectangle { x: 0, y: 0, width: w, height: h }];
    connection.poly_fill_rectangle(window, gc, &all).expect(expect);
    connection.set_input_focus(InputFocus::POINTER_ROOT, window, x11rb::CURRENT_TIME).expect(expect);
    wait_until(Duration::from_secs(5), "the keyboard can be grabbed", || {
        let (sync, now) = (GrabMode::ASYNC, x11rb::CURRENT_TIME);
        let status = connection.grab_keyboard(false, window, now, sync, sync).ok()?.reply().ok()?.status;
        (status == GrabStatus::SUCCESS).then_some(())
    });
    outbox.send(()).ok();
    while let Ok(pixels) = inbox.recv() {
        match kind {
            Kind::Flat => {
                connection.change_gc(gc, &ChangeGCAux::new().foreground(pixels[0])).expect(expect);
                connection.poly_fill_rectangle(pixmap, gc, &all).expect(expect);
            }
            Kind::Screen => upload(&connection, pixmap, gc, depth, size, &pixels),
        }
        connection.get_input_focus().expect(expect).reply().expect(expect);
        outbox.send(()).ok();
        loop {
            // Looks for the end of the orders too: nobody presses a key after the last sample.
            let event = connection.poll_for_event().expect(expect);
            match event {
                Some(Event::KeyPress(_)) => break,
                Some(_) => {}
                None if matches!(inbox.try_recv(), Err(std::sync::mpsc::TryRecvError::Disconnected)) => return,
                None => sleep(Duration::from_micros(100)),
            }
        }
        connection.copy_area(pixmap, window, gc, 0, 0, 0, 0, w, h).expect(expect);
        connection.flush().expect(expect);
    }
}

fn upload(connection: &RustConnection, pixmap: u32, gc: u32, depth: u8, size: Size, pixels: &[u32]) {
    let rows = 64;
    for (index, strip) in pixels.chunks((size.w * rows) as usize).enumerate() {
        let bytes: Vec<u8> = strip.iter().flat_map(|pixel| pixel.to_le_bytes()).collect();
        let (y, height) = (index as u32 * rows, strip.len() as u32 / size.w);
        let sent = connection.put_image(
            ImageFormat::Z_PIXMAP,
            pixmap,
            gc,
            size.w as u16,
            height as u16,
            0,
            y as i16,
            0,
            depth,
            &bytes,
        );
        sent.expect("the X server takes the patch's requests");
    }
}

struct Measured {
    kind: Kind,
    name: &'static str,
    times: Times,
    load: f64,
}

impl Measured {
    fn sorted(&self, part: impl Fn(&(f64, f64)) -> f64) -> Vec<f64> {
        let mut values: Vec<f64> = self.times.iter().flatten().map(part).collect();
        values.sort_by(f64::total_cmp);
        values
    }

    /// The time until the last point, at a share of the samples; `None` without an answered key.
    fn at(&self, share: f64) -> Option<f64> {
        quantile(&self.sorted(|(_, last)| *last), share)
    }

    fn json(&self) -> Value {
        let first = self.sorted(|(first, _)| *first);
        json!({
            "kind": self.kind.name(), "peer": self.name, "samples": self.times.len(), "load": self.load,
            "unanswered": self.times.iter().filter(|time| time.is_none()).count(),
            "min_ms": self.at(0.0), "median_ms": self.at(0.5), "p95_ms": self.at(0.95), "max_ms": self.at(1.0),
            "first_point_median_ms": quantile(&first, 0.5),
        })
    }
}

fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    sorted.get(((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1))).copied()
}

fn print_table(results: &[Measured]) {
    let head =
        ["answer", "system", "keys", "unanswered", "min", "first point", "median", "p95", "/ lossless", "/ default"];
    let row = |result: &Measured| {
        let ratio = |peer: Peer| {
            let other = results.iter().find(|other| other.kind == result.kind && other.name == peer.name())?;
            let share = |at: f64| Some(format!("{:.2}", result.at(at)? / other.at(at)?));
            Some(format!("{}, {}", share(0.5)?, share(0.95)?))
        };
        vec![
            result.kind.name().to_owned(),
            result.name.to_owned(),
            result.times.len().to_string(),
            result.times.iter().filter(|time| time.is_none()).count().to_string(),
            ms(result.at(0.0)),
            ms(quantile(&result.sorted(|(first, _)| *first), 0.5)),
            ms(result.at(0.5)),
            ms(result.at(0.95)),
            ratio(Peer::TigerLossless).unwrap_or("–".to_owned()),
            ratio(Peer::TigerDefault).unwrap_or("–".to_owned()),
        ]
    };
    println!("\nKey at the viewer's display until the last pixel of the answer stands there.");
    println!(
        "The last two columns: median and p95, divided by those of TigerVNC lossless and of TigerVNC as it comes.\n"
    );
    print!("{}", report::table(&head, &results.iter().map(row).collect::<Vec<_>>()));
}

fn ms(value: Option<f64>) -> String {
    value.map_or("–".to_owned(), |value| format!("{value:.1} ms"))
}
