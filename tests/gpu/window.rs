//! All three ways into a real window, read back from the X server and compared with what the CPU would draw.
//!
//! Needs an X display; where `DISPLAY` is not set it says that it was skipped, and fails if it is required.

use crate::{Random, present, twins};
use bytes::Bytes;
use kachel::codec::canvas::Picture;
use kachel::codec::plan::{Plan, Raw, packed};
use kachel::geom::{BLOCK, Fit, Rect, Size, TileGrid, TileIndex, fit};
use kachel::io::gpu::decode::Decoder;
use kachel::io::gpu::mirror::Mirror;
use kachel::io::gpu::present::Presenter;
use kachel::io::gpu::{self, Gpu, Renderer, Tier};
use kachel::io::soft::{Damage, Overlay, Scene, SoftPresenter};
use std::sync::Arc;
use std::time::{Duration, Instant};
use winit::application::ApplicationHandler;
use winit::dpi::PhysicalSize;
use winit::event::WindowEvent;
use winit::event_loop::{ActiveEventLoop, EventLoop};
use winit::platform::pump_events::EventLoopExtPumpEvents;
use winit::platform::x11::EventLoopBuilderExtX11;
use winit::window::{Window, WindowId};
use x11rb::protocol::xproto::{ConnectionExt, ImageFormat};

/// How long a presented frame may take to its window before the test fails.
const PATIENCE: Duration = Duration::from_secs(10);

/// Opens one window.
#[derive(Default)]
struct Opener(Option<Arc<Window>>);

impl ApplicationHandler for Opener {
    fn resumed(&mut self, event_loop: &ActiveEventLoop) {
        let attributes = Window::default_attributes().with_inner_size(PhysicalSize::new(320, 200)).with_title("kachel");
        self.0 = Some(Arc::new(event_loop.create_window(attributes).expect("the display takes a window")));
    }

    fn window_event(&mut self, _: &ActiveEventLoop, _: WindowId, _: WindowEvent) {}
}

/// A window and its pixels on the X server.
struct Desk {
    event_loop: EventLoop<()>,
    opener: Opener,
    server: x11rb::rust_connection::RustConnection,
}

impl Desk {
    fn open() -> Desk {
        let event_loop =
            EventLoop::builder().with_x11().with_any_thread(true).build().expect("a display was announced");
        let (server, _) = x11rb::connect(None).expect("a display was announced");
        let mut desk = Desk { event_loop, opener: Opener::default(), server };
        while desk.opener.0.is_none() {
            desk.pump();
        }
        desk
    }

    fn pump(&mut self) {
        let _ = self.event_loop.pump_app_events(Some(Duration::from_millis(5)), &mut self.opener);
    }

    fn window(&self) -> Arc<Window> {
        self.opener.0.clone().expect("open waits for it")
    }

    fn resize(&mut self, size: Size) {
        let start = Instant::now();
        let _ = self.window().request_inner_size(PhysicalSize::new(size.w, size.h));
        while self.window().inner_size() != PhysicalSize::new(size.w, size.h) {
            self.pump();
            assert!(start.elapsed() < PATIENCE, "the window never became {size:?}");
        }
    }

    fn pixels(&self, size: Size) -> Option<Picture> {
        let id = u64::from(self.window().id()) as u32;
        let request = self.server.get_image(ImageFormat::Z_PIXMAP, id, 0, 0, size.w as u16, size.h as u16, !0);
        let data = request.ok()?.reply().ok()?.data;
        let pixels = data.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], 0])).collect();
        Some(Picture { size, pixels })
    }

    /// Waits until the window shows the scene, pixel for pixel.
    fn expect(&mut self, scene: &Scene, what: &str) {
        let expected = present::on_cpu(scene);
        let start = Instant::now();
        loop {
            self.pump();
            match self.pixels(expected.size) {
                Some(found) if found == expected => return,
                Some(found) if start.elapsed() > PATIENCE => twins::compare(&found, &expected, what),
                _ => assert!(start.elapsed() < 2 * PATIENCE, "{what}: the window has no pixels"),
            }
        }
    }
}

/// The three tiers.
enum Shower {
    Compute(Box<Decoder>, Box<Presenter>),
    Gl(Mirror, Box<Presenter>),
    Cpu(SoftPresenter),
}

impl Shower {
    fn new(renderer: Renderer, desk: &Desk) -> Shower {
        if renderer == Renderer::Cpu {
            return Shower::Cpu(SoftPresenter::new(desk.window()).expect("X11 is supported"));
        }
        let instance = gpu::instance(Some(desk.event_loop.owned_display_handle()));
        let surface = instance.create_surface(desk.window()).expect("X11 is supported");
        let choice = gpu::choose(&instance, renderer, Some(&surface)).expect("the adapters before were there");
        let gpu = Gpu::new(choice.adapter.expect("it was asked for"), choice.tier).expect("the adapter opens");
        eprintln!("{renderer:?}: {} as {:?}", gpu.kind, gpu.tier);
        let presenter = Box::new(Presenter::new(&gpu, surface).expect("the adapter draws into windows"));
        match gpu.tier {
            Tier::Compute => Shower::Compute(Box::new(Decoder::new(&gpu).expect("the shaders compile")), presenter),
            _ => Shower::Gl(Mirror::new(&gpu), presenter),
        }
    }

    /// Draws ahead what is not handed over yet, where that can be done; returns whether it was.
    fn prepare(&mut self, scene: &Scene, part: Rect) -> bool {
        match self {
            Shower::Cpu(presenter) => presenter.prepare(scene, &[part]).expect("the buffer can be drawn to"),
            _ => false,
        }
    }

    /// Shows what changed, and what was prepared.
    fn show(&mut self, scene: &Scene, damage: &[Rect], prepared: &[Rect]) {
        match self {
            Shower::Compute(decoder, presenter) => {
                decoder.apply(&plan_of(scene.picture)).expect("a sound plan is decoded");
                draw(presenter, decoder.screen(), scene);
            }
            Shower::Gl(mirror, presenter) => {
                mirror.upload(scene.picture, damage).expect("the parts can be sent");
                draw(presenter, mirror.screen(), scene);
            }
            Shower::Cpu(presenter) => {
                let damage = Damage::Parts { picture: damage, prepared, overlay: Rect::default() };
                presenter.present(scene, damage).expect("the window takes it");
            }
        }
    }
}

fn draw(presenter: &mut Presenter, screen: Option<&gpu::decode::Texture>, scene: &Scene) {
    match &scene.overlay {
        Some(o) => presenter.painter().set_overlay(o.pixels, o.size, o.painted).expect("the overlay can be sent"),
        None => presenter.painter().clear_overlay(),
    }
    let start = Instant::now();
    while presenter.present(screen, scene.fit).expect("the window takes it") == gpu::present::Shown::Skipped {
        assert!(start.elapsed() < PATIENCE, "the window never takes a frame");
    }
}

/// A key frame with all pixels of a picture.
fn plan_of(picture: &Picture) -> Plan {
    let grid = TileGrid::new(picture.size);
    let (mut raws, mut bytes) = (Vec::new(), Vec::new());
    for tile in (0..grid.count()).map(TileIndex) {
        let (o, visible) = (grid.origin(tile), grid.visible(tile));
        let blocks = u32::from(visible.0) | u32::from(visible.0) << 16;
        raws.push(Raw { origin: packed(o), blocks, pixels: bytes.len() as u32, pad: 0 });
        for block in visible.blocks() {
            let (x, y) = (o.x + block % 4 * BLOCK, o.y + block / 4 * BLOCK);
            for y in y..y + BLOCK {
                for x in x..x + BLOCK {
                    let inside = x < picture.size.w && y < picture.size.h;
                    let pixel = if inside { picture.row(y)[x as usize] } else { 0 };
                    bytes.extend_from_slice(&pixel.to_le_bytes()[..3]);
                }
            }
        }
    }
    Plan { key: Some(picture.size), raws, bytes: Bytes::from(bytes), ..Plan::default() }
}

fn plain(picture: &Picture, fit: Fit) -> Scene<'_> {
    Scene { picture, fit, overlay: None }
}

fn paint(picture: &mut Picture, part: Rect, random: &mut Random) {
    for y in part.y..part.bottom() {
        for x in part.x..part.right() {
            picture.pixels[(y * picture.size.w + x) as usize] = random.color();
        }
    }
}

#[test]
fn a_window_shows_every_pixel_on_every_tier() {
    if std::env::var_os("DISPLAY").is_none() {
        let is_required = std::env::var("KACHEL_TEST_GPU").is_ok_and(|v| v == "require");
        assert!(!is_required, "no display, but KACHEL_TEST_GPU=require");
        eprintln!("SKIPPED: no display");
        return;
    }
    let mut desk = Desk::open();
    for renderer in [Renderer::Cpu, Renderer::Gpu, Renderer::Gl] {
        let mut shower = Shower::new(renderer, &desk);
        let mut random = Random(11);
        for (window, picture) in [((320, 200), (320, 200)), ((451, 333), (320, 200)), ((1280, 720), (1280, 720))] {
            let window = Size::new(window.0, window.1);
            desk.resize(window);
            let mut picture = present::drawing(Size::new(picture.0, picture.1));
            let fit: Fit = fit(window, picture.size);
            let what = format!("{renderer:?} {fit:?}");
            let all = [picture.size.rect()];
            shower.show(&plain(&picture, fit), &all, &[]);
            desk.expect(&plain(&picture, fit), &what);

            let mut times = Vec::new();
            let part = |random: &mut Random| {
                Rect::new(random.below(200), random.below(100), 1 + random.below(100), 1 + random.below(90))
            };
            for i in 0..30 {
                let mut damage = Vec::new();
                let mut prepared = Vec::new();
                // The first parts of a picture that comes in several.
                for _ in 0..i % 3 {
                    let early = part(&mut random);
                    paint(&mut picture, early, &mut random);
                    let is_drawn = shower.prepare(&plain(&picture, fit), early);
                    assert_eq!(is_drawn, renderer == Renderer::Cpu, "{what}");
                    if is_drawn { &mut prepared } else { &mut damage }.push(early);
                }
                let last = part(&mut random);
                paint(&mut picture, last, &mut random);
                damage.push(last);
                let start = Instant::now();
                shower.show(&plain(&picture, fit), &damage, &prepared);
                times.push(start.elapsed());
            }
            desk.expect(&plain(&picture, fit), &format!("{what}, small changes"));
            times.sort();
            eprintln!("{what}: a frame is handed over in {:?}", times[times.len() / 2]);

            let painted = Rect::new(30, 20, 100, 50);
            let pixels = present::panel(window, painted);
            let overlay = Some(Overlay { pixels: &pixels, size: window, painted });
            let scene = Scene { overlay, ..plain(&picture, fit) };
            shower.show(&scene, &[], &[]);
            desk.expect(&scene, &format!("{what}, with overlay"));
            shower.show(&plain(&picture, fit), &[], &[]);
            desk.expect(&plain(&picture, fit), &format!("{what}, without it again"));
        }
    }
}
