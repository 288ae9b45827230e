//! Photos through the real window, on every tier: nearly right within a frame's time, exact soon after they stand still.

use std::time::{Duration, Instant};

use kachel::geom::{Rect, Size};

use crate::seat::{PATIENCE, PROGRAMS, Seat, TIERS, WindowManager, has};
use crate::support::picture::Picture;
use crate::support::wait::wait_until;

/// What a first paint has at least, in dB.
const QUALITY_DB: f64 = 36.0;
/// A photo that stands still is exact this long after. The aim is 1 s; the rest is for shaders that a busy CPU runs.
const EXACT_WITHIN: Duration = Duration::from_secs(5);
/// A picture that was there before costs no more than this.
const SEEN_BEFORE_BYTES: u64 = 4096;

/// Hills of several sizes with grain in every pixel, as cameras see them.
fn photo(size: Size, seed: u32) -> Picture {
    let hash = |x: u32, y: u32| {
        let h = x.wrapping_mul(0x9e37_79b9) ^ y.wrapping_mul(0x85eb_ca6b) ^ seed.wrapping_mul(0xc2b2_ae35);
        (h ^ h >> 15).wrapping_mul(0x2c1b_3c6d) >> 16
    };
    // Noise on a lattice of this width, without steps between its points, in 1/256.
    let smooth = |x: u32, y: u32, side: u32| {
        let (column, row, u, v) = (x / side, y / side, x % side * 256 / side, y % side * 256 / side);
        let at = |dx, dy| hash(column + dx + side, row + dy) & 0xff;
        let (top, bottom) = (at(0, 0) * (256 - u) + at(1, 0) * u, at(0, 1) * (256 - u) + at(1, 1) * u);
        ((top >> 8) * (256 - v) + (bottom >> 8) * v) >> 8
    };
    let pixel = |x: u32, y: u32| {
        let light = 20 + smooth(x, y, 200) / 2 + smooth(x, y, 50) / 6 + smooth(x, y, 11) / 16;
        let grain = hash(x, y.wrapping_add(77_777));
        let channel = |warm: u32, shift: u32| (light * warm / 8 + (grain >> shift & 7)).min(255);
        channel(9, 0) << 16 | channel(8, 3) << 8 | channel(6 + seed % 4, 6)
    };
    let pixels = (0..size.h).flat_map(|y| (0..size.w).map(move |x| (x, y))).map(|(x, y)| pixel(x, y)).collect();
    Picture::new(size, pixels)
}

/// Whether the viewer says that its picture is exact, or that host and viewer have compared every tile of it.
fn says(seat: &Seat, what: &str) -> Option<bool> {
    seat.viewer.stats().last()?.get(what)?.as_bool()
}

#[test]
fn photos_come_at_once_and_end_exact_on_every_tier() {
    if !has(PROGRAMS) {
        return;
    }
    let mut seat = Seat::new(WindowManager::Openbox, TIERS[0]);
    for renderer in TIERS {
        if renderer != TIERS[0] {
            seat.replace_viewer(renderer);
        }
        // Whole tiles only: the cache has no others.
        let size = Size::new(1280, 768);
        seat.desk.resize(seat.window, size);
        wait_until(PATIENCE, "the screen has the window's size", || (seat.remote.size() == size).then_some(()));
        {
            let cover = seat.remote.cover(0x20_3040, 0x20_3040);
            let bar_gone = || seat.difference()?.is_none().then_some(());
            wait_until(PATIENCE, "the viewer's own bar has gone", bar_gone);
            let slides: Vec<_> = (1..=3).map(|seed| photo(size, seed)).collect();
            for (index, slide) in slides.iter().enumerate() {
                let begin = Instant::now();
                cover.show(slide, 0);
                let mut seen = Vec::new();
                let exact = wait_until(PATIENCE, "the photo is exact", || {
                    let apart = seat.desk.picture(seat.window).diff(slide);
                    if apart.psnr_db >= QUALITY_DB && seen.is_empty() {
                        seen.push((begin.elapsed(), apart.psnr_db));
                    }
                    apart.is_none().then(|| begin.elapsed())
                });
                let (first, quality) = seen[0];
                eprintln!(
                    "{renderer}, slide {index}: {quality:.1} dB after {} ms, exact after {} ms",
                    first.as_millis(),
                    exact.as_millis()
                );
                assert!(quality.is_finite(), "{renderer}: nothing was seen before the exact picture");
                assert!(exact < EXACT_WITHIN, "{renderer}: exact only after {exact:?}");
                wait_until(PATIENCE, "the viewer says that it is exact", || says(&seat, "exact")?.then_some(()));
            }
            // The first one again: the tiles are in the cache, for they were exact when they were overwritten.
            let before = seat.status_number("bytes").expect("a session answers");
            cover.show(&slides[1], 0);
            let again = || seat.desk.picture(seat.window).diff(&slides[1]).is_none().then_some(());
            wait_until(PATIENCE, "the photo comes back", again);
            let bytes = seat.status_number("bytes").expect("a session answers") - before;
            eprintln!("{renderer}: {bytes} bytes for a photo that was there before");
            assert!(bytes <= SEEN_BEFORE_BYTES, "{renderer}: {bytes} bytes for a photo that was there before");

            // A long page of photos is scrolled, faster than anything can be made exact.
            let page = photo(Size::new(size.w, 2 * size.h), 9);
            for step in 0..40 {
                cover.show(&page, step * 19);
                std::thread::sleep(Duration::from_millis(25));
            }
            let (begin, last) = (Instant::now(), page.crop(Rect::new(0, 39 * 19, size.w, size.h)));
            let settled = wait_until(PATIENCE, "the scrolled page is exact", || {
                seat.desk.picture(seat.window).diff(&last).is_none().then(|| begin.elapsed())
            });
            eprintln!("{renderer}: exact {} ms after the last step", settled.as_millis());
            assert!(settled < EXACT_WITHIN, "{renderer}: exact only after {settled:?}");
            wait_until(PATIENCE, "every tile is compared", || says(&seat, "agreed")?.then_some(()));
        }
        seat.wait_exact("after the photos", PATIENCE);
    }
    assert_eq!(seat.status_number("defects"), Some(0), "no tile was wrong on any tier");
    seat.assert_no_panic();
}
