//! Key to picture: a key goes in at a viewer's display, and the time runs until its answer stands in the pixels of that
//! display. The answer is a window's on the desktop that is shown.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use kachel::geom::{Point, Size};
use x11rb::connection::Connection;
use x11rb::protocol::Event;
use x11rb::protocol::xproto::{
    ChangeGCAux, ConnectionExt, CreateGCAux, CreateWindowAux, EventMask, GrabMode, GrabStatus, ImageFormat, InputFocus,
    Rectangle, Window, WindowClass,
};
use x11rb::rust_connection::RustConnection;

use super::assets::{Random, landscape};
use super::peers::SCREEN;
use crate::support::display::connect;
use crate::support::input::Input;
use crate::support::wait::wait_until;

/// A key that has not been answered by then is counted, not timed.
pub const GIVE_UP: Duration = Duration::from_secs(5);

/// Pause between two looks; a look takes about as long again, so that the pixels are seen some 2000 times a second.
const LOOK_PAUSE: Duration = Duration::from_micros(250);

/// What answers a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A patch changes colour.
    Flat,
    /// The whole screen becomes another photo.
    Screen,
}

impl Kind {
    /// The name in tables and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Flat => "flat",
            Self::Screen => "screen",
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

/// Milliseconds from the key to the first and to the last point.
pub type Answer = (f64, f64);

/// Somebody who presses keys at one display and looks there for what a window on the other does.
pub struct Keys {
    patch: Patch,
    connection: RustConnection,
    root: Window,
    points: Vec<Point>,
    input: Input,
    random: Random,
    pressed: u32,
}

impl Keys {
    /// Opens the window on `server`'s display and sits down before `viewer`'s.
    ///
    /// # Panics
    /// When one of the displays is not there.
    pub fn start(kind: Kind, server: &str, viewer: &str) -> Self {
        let patch = Patch::start(kind, server);
        let (connection, root) = connect(viewer);
        let (points, input) = (kind.points(), Input::of(viewer));
        Self { patch, connection, root, points, input, random: Random::new(11), pressed: 0 }
    }

    /// Presses one key once the picture stands still; `None` when its answer took longer than [`GIVE_UP`].
    ///
    /// # Panics
    /// When the picture never stands still, or the window's display is gone.
    pub fn press(&mut self) -> Option<Answer> {
        let next = self.patch.prepare();
        // Until the picture of the last key stands everywhere and nothing more is on its way.
        let mut steady = (Instant::now(), self.look());
        wait_until(Duration::from_secs(30), "the viewer comes to rest", || {
            let now = self.look();
            if now != steady.1 {
                steady = (Instant::now(), now);
            }
            (steady.0.elapsed() > Duration::from_millis(250)).then_some(())
        });
        sleep(Duration::from_millis(self.random.next() % 100));
        let before = self.look();
        // A key that changes little at a point could be seen there late or never: a lossy first picture may be as far off.
        let mut open: Vec<bool> = next.iter().zip(&before).map(|(a, b)| distance(*a, *b) > 2 * LOSS_MAX).collect();
        let (begin, mut first, mut last) = (Instant::now(), None, None);
        self.input.press("a");
        self.pressed += 1;
        while open.contains(&true) && begin.elapsed() < GIVE_UP {
            let now = self.look();
            let at = begin.elapsed().as_secs_f64() * 1000.0;
            for point in 0..self.points.len() {
                if open[point] && distance(now[point], before[point]) > LOSS_MAX {
                    open[point] = false;
                    first.get_or_insert(at);
                    last = Some(at);
                }
            }
            sleep(LOOK_PAUSE);
        }
        first.zip(last).filter(|_| !open.contains(&true))
    }

    /// Keys that were pressed and that the window has not got.
    pub fn missing(&self) -> u32 {
        self.pressed - self.patch.heard.load(Ordering::Relaxed)
    }

    fn look(&self) -> Vec<u32> {
        let one =
            |p: &Point| self.connection.get_image(ImageFormat::Z_PIXMAP, self.root, p.x as i16, p.y as i16, 1, 1, !0);
        let cookies: Vec<_> = self.points.iter().map(|p| one(p).expect("the X connection holds")).collect();
        let pixel = |data: Vec<u8>| u32::from_le_bytes([data[0], data[1], data[2], 0]);
        cookies.into_iter().map(|cookie| pixel(cookie.reply().expect("the point is on the screen").data)).collect()
    }
}

/// Steps of all channels by which a lossy code may be off.
const LOSS_MAX: u32 = 60;

/// Steps of all channels between two colours.
fn distance(a: u32, b: u32) -> u32 {
    [0, 8, 16].map(|shift| (a >> shift & 255).abs_diff(b >> shift & 255)).iter().sum()
}

/// A window that shows its next picture at each key, in a thread with a connection of its own.
struct Patch {
    kind: Kind,
    orders: Option<Sender<Vec<u32>>>,
    ready: Receiver<()>,
    /// Keys that came to the window.
    heard: Arc<AtomicU32>,
    random: u64,
    thread: Option<JoinHandle<()>>,
}

impl Patch {
    fn start(kind: Kind, display: &str) -> Self {
        let (orders, inbox) = channel();
        let (outbox, ready) = channel();
        let (display, heard) = (display.to_owned(), Arc::new(AtomicU32::new(0)));
        let count = Arc::clone(&heard);
        let thread = std::thread::spawn(move || show(kind, &display, &inbox, &outbox, &count));
        let mut patch = Self { kind, orders: Some(orders), ready, heard, random: 100, thread: Some(thread) };
        patch.wait();
        patch
    }

    /// Uploads the next picture, so that a key costs one copy within the X server; returns its values at the points.
    fn prepare(&mut self) -> Vec<u32> {
        self.random += 1;
        let (size, points) = (self.kind.size(), self.kind.points());
        let (pixels, values) = match self.kind {
            Kind::Flat => {
                // Three of them: the answer to a key after one that was not answered is seen too.
                let color = [0x00e0_2020, 0x0020_e0e0, 0x0020_20e0][(self.random % 3) as usize];
                (vec![color], vec![color; points.len()])
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

/// The patch's thread: an order makes the next picture, a key shows it.
fn show(kind: Kind, display: &str, inbox: &Receiver<Vec<u32>>, outbox: &Sender<()>, heard: &AtomicU32) {
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
    let mut order = inbox.recv().ok();
    while let Some(pixels) = order.take() {
        match kind {
            Kind::Flat => {
                connection.change_gc(gc, &ChangeGCAux::new().foreground(pixels[0])).expect(expect);
                connection.poly_fill_rectangle(pixmap, gc, &all).expect(expect);
            }
            Kind::Screen => upload(&connection, pixmap, gc, depth, size, &pixels),
        }
        connection.get_input_focus().expect(expect).reply().expect(expect);
        outbox.send(()).ok();
        // A key that was given up may still come, or never: then the next order does.
        while order.is_none() {
            match connection.poll_for_event().expect(expect) {
                Some(Event::KeyPress(_)) => {
                    heard.fetch_add(1, Ordering::Relaxed);
                    connection.copy_area(pixmap, window, gc, 0, 0, 0, 0, w, h).expect(expect);
                    connection.flush().expect(expect);
                }
                Some(_) => {}
                None => match inbox.try_recv() {
                    Ok(next) => order = Some(next),
                    Err(TryRecvError::Disconnected) => return,
                    Err(TryRecvError::Empty) => sleep(Duration::from_micros(100)),
                },
            }
        }
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
