//! Drawing on the GPU against drawing on the CPU, and both against a picture that a person has looked at.

use crate::twins::compare;
use crate::{Random, gpus};
use kachel::codec::canvas::Picture;
use kachel::geom::{Filter, Rect, Size, fit};
use kachel::io::gpu::mirror::Mirror;
use kachel::io::gpu::present::Painter;
use kachel::io::gpu::{Gpu, Tier};
use kachel::io::soft::{Overlay, Scene, compose};
use std::path::Path;

fn on_gpu(gpu: &Gpu, scene: &Scene) -> Picture {
    let mut mirror = Mirror::new(gpu);
    mirror.upload(scene.picture, &[]).expect("the picture can be sent");
    let mut painter = Painter::new(gpu).expect("the shader compiles");
    if let Some(o) = &scene.overlay {
        painter.set_overlay(o.pixels, o.size, o.painted).expect("the overlay can be sent");
    }
    painter.picture(mirror.screen(), scene.fit).expect("the scene can be drawn")
}

pub(crate) fn on_cpu(scene: &Scene) -> Picture {
    let mut picture = Picture::new(scene.fit.window);
    compose(scene, scene.fit.window.rect(), &mut picture.pixels);
    picture
}

/// Flat areas, lines of one pixel, colour ramps and noise.
pub(crate) fn drawing(size: Size) -> Picture {
    let mut random = Random(9);
    let mut picture = Picture::new(size);
    for (i, pixel) in picture.pixels.iter_mut().enumerate() {
        let (x, y) = (i as u32 % size.w, i as u32 / size.w);
        *pixel = match (x * 4 / size.w, y * 3 / size.h) {
            (0, 0) => 0x00f4_f4f0,
            (1, 0) => (x + y) % 2 * 0x00ff_ffff,
            (2, _) => (x * 255 / size.w) << 16 | (y * 255 / size.h) << 8 | 0x40,
            (_, 1) => {
                if x % 4 == 0 || y % 4 == 0 {
                    0x0030_60a0
                } else {
                    0x00ff_ffff
                }
            }
            (3, _) => random.color(),
            _ => 0x0010_2030,
        };
    }
    picture
}

/// A panel that is half transparent at its rim.
pub(crate) fn panel(size: Size, painted: Rect) -> Vec<u32> {
    let mut pixels = vec![0xdead_beef; size.area() as usize];
    for y in painted.y..painted.bottom().min(size.h) {
        for x in painted.x..painted.right().min(size.w) {
            let rim = (x - painted.x).min(painted.right() - 1 - x).min(y - painted.y).min(painted.bottom() - 1 - y);
            let alpha = (rim * 40).min(255);
            let [r, g, b] = [0x20, 0x40, 0x80].map(|c| c * alpha / 255);
            pixels[(y * size.w + x) as usize] = alpha << 24 | r << 16 | g << 8 | b;
        }
    }
    pixels
}

#[test]
fn the_window_shows_what_the_cpu_would_draw() {
    let cases = [
        // Exact, exact with bars, doubled, tripled with bars.
        ((200, 150), (200, 150)),
        ((400, 300), (200, 150)),
        ((640, 451), (200, 150)),
        // Enlarged and reduced by fractions, slightly and much, and beyond what is averaged.
        ((201, 151), (200, 150)),
        ((333, 200), (200, 150)),
        ((199, 149), (200, 150)),
        ((70, 300), (200, 150)),
        ((20, 11), (200, 150)),
        ((3, 3), (200, 150)),
        // Nothing to see at all.
        ((30, 30), (0, 0)),
    ];
    for gpu in gpus(Tier::Compute).iter().chain(&gpus(Tier::Gl)) {
        for (window, picture) in cases {
            let picture = drawing(Size::new(picture.0, picture.1));
            let fit = fit(Size::new(window.0, window.1), picture.size);
            let painted = Rect::new(5, 4, 60, 30);
            // An overlay that is smaller than the window, as while the window is made larger.
            let size = Size::new(80, 50);
            let pixels = panel(size, painted);
            for overlay in [None, Some(Overlay { pixels: &pixels, size, painted })] {
                let scene = Scene { picture: &picture, fit, overlay };
                compare(&on_gpu(gpu, &scene), &on_cpu(&scene), &format!("{fit:?} on {}", gpu.kind));
            }
        }
    }
}

#[test]
fn one_to_one_and_whole_multiples_are_exact() {
    let picture = drawing(Size::new(160, 100));
    for gpu in gpus(Tier::Gl) {
        for scale in 1..=3 {
            let fit = fit(Size::new(160 * scale, 100 * scale), picture.size);
            let shown = on_gpu(&gpu, &Scene { picture: &picture, fit, overlay: None });
            for y in 0..fit.window.h {
                let expected = (0..fit.window.w).map(|x| picture.row(y / scale)[(x / scale) as usize]);
                assert!(shown.row(y).iter().copied().eq(expected), "row {y} at {scale}x on {}", gpu.kind);
            }
        }
    }
}

#[test]
fn an_overlay_forgets_what_it_no_longer_paints() {
    for gpu in gpus(Tier::Gl) {
        let mut painter = Painter::new(&gpu).expect("the shader compiles");
        let size = Size::new(40, 40);
        let fit = fit(size, Size::default());
        let red = vec![0xffff_0000; 1600];
        painter.set_overlay(&red, size, size.rect()).expect("the overlay can be sent");
        painter.set_overlay(&red, size, Rect::new(0, 0, 3, 1)).expect("the overlay can be sent");
        let shown = painter.picture(None, fit).expect("the scene can be drawn");
        assert_eq!(shown.pixels.iter().filter(|p| **p == 0x00ff_0000).count(), 3);
        painter.clear_overlay();
        let shown = painter.picture(None, fit).expect("the scene can be drawn");
        assert!(shown.pixels.iter().all(|p| *p == 0));
    }
}

#[test]
fn a_scaled_picture_with_an_overlay_looks_as_it_did() {
    let picture = drawing(Size::new(128, 72));
    let size = Size::new(150, 100);
    let painted = Rect::new(20, 30, 50, 40);
    let pixels = panel(size, painted);
    let scene = Scene {
        picture: &picture,
        fit: fit(size, picture.size),
        overlay: Some(Overlay { pixels: &pixels, size, painted }),
    };
    assert_eq!(scene.fit.filter, Filter::Area);
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/golden/present.ppm");
    if std::env::var_os("KACHEL_TEST_BLESS").is_some() {
        std::fs::write(&golden, to_ppm(&on_cpu(&scene))).expect("the golden picture can be written");
    }
    let golden = std::fs::read(&golden).expect("the golden picture is part of the project");
    assert!(to_ppm(&on_cpu(&scene)) == golden, "drawn on the CPU");
    for gpu in gpus(Tier::Gl) {
        assert!(to_ppm(&on_gpu(&gpu, &scene)) == golden, "drawn on {}", gpu.kind);
    }
}

/// Binary portable pixmap.
fn to_ppm(picture: &Picture) -> Vec<u8> {
    let mut out = format!("P6\n{} {}\n255\n", picture.size.w, picture.size.h).into_bytes();
    out.extend(picture.pixels.iter().flat_map(|p| [(p >> 16) as u8, (p >> 8) as u8, *p as u8]));
    out
}
