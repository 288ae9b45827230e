//! The encoder and the CPU decoder together: whatever happens on the screen, the viewer holds the same pixels.

use kachel::codec::canvas::{Canvas, Picture};
use kachel::codec::encode::{Encoder, FRAME_BYTES_TARGET, Scarce, View};
use kachel::codec::format::{Content, FormatError, Frame, FrameHeader, SectionWriter};
use kachel::codec::marks::{self, Agreement};
use kachel::codec::plan::Plan;
use kachel::codec::stage::mark;
use kachel::geom::{Rect, Size, TileIndex};
use kachel::proto::screen::assembler::{Assembler, Update};
use std::time::Duration;

/// A small generator with a seed, so that a failure can be repeated.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32
    }

    pub(crate) fn below(&mut self, n: u32) -> u32 {
        self.next() % n.max(1)
    }

    fn rect(&mut self, size: Size) -> Rect {
        let (x, y) = (self.below(size.w), self.below(size.h));
        Rect::new(x, y, 1 + self.below(size.w - x), 1 + self.below(size.h - y))
    }
}

/// A desktop with a viewer behind it.
struct Desk {
    screen: Picture,
    encoder: Encoder,
    assembler: Assembler,
    canvas: Canvas,
    now: Duration,
}

impl Desk {
    fn new(size: Size) -> Self {
        Self {
            screen: Picture::new(size),
            encoder: Encoder::new(size),
            assembler: Assembler::new(),
            canvas: Canvas::new(),
            now: Duration::ZERO,
        }
    }

    /// Draws something as programs do, and reports more damage than there is.
    fn draw(&mut self, random: &mut Random) {
        let size = self.screen.size;
        let mut r = random.rect(size);
        match random.below(8) {
            0 => self.fill(r, |_, _| 0xff12_3456),
            1 => {
                let colors = 2 + random.below(15);
                let seed = random.next();
                self.fill(r, |x, y| ((x * 7 + y * 13 + seed) % colors) * 0x0010_2030);
            }
            2 => self.fill(r, |x, y| x.wrapping_mul(0x9e37_79b9) ^ y.wrapping_mul(0x85eb_ca6b)),
            3 => {
                let old = self.screen.clone();
                let to = random.rect(size);
                r = Rect { w: r.w.min(to.w), h: r.h.min(to.h), ..r };
                let (dx, dy) = (to.x.min(size.w - r.w), to.y.min(size.h - r.h));
                self.fill(Rect { x: dx, y: dy, ..r }, |x, y| old.row(y - dy + r.y)[(x - dx + r.x) as usize]);
                r = size.rect();
            }
            4 => {
                self.now += Duration::from_millis(500);
                self.encoder.handle_mapped(r);
            }
            5 => self.fill(r, photo(random.next())),
            6 => {
                // Much of the screen, so that it is written with loss at first.
                r = size.rect();
                self.fill(r, photo(random.next()));
            }
            _ => self.screen.pixels[(r.y * size.w + r.x) as usize] ^= 0xff00_00ff,
        }
        self.encoder.handle_damage(r);
    }

    fn fill(&mut self, r: Rect, color: impl Fn(u32, u32) -> u32) {
        for y in r.y..r.bottom() {
            for x in r.x..r.right() {
                self.screen.pixels[(y * self.screen.size.w + x) as usize] = color(x, y);
            }
        }
    }

    /// Encodes everything that is dirty, then what the viewer holds only nearly.
    fn frames(&mut self, random: &mut Random) -> Vec<Vec<u8>> {
        let mut frames = self.hasty_frames(random);
        while let Some(at) = self.encoder.refine_at() {
            self.now = self.now.max(at);
            let frame = self.encoder.refine(0, self.now, if random.below(2) == 0 { 4_000 } else { FRAME_BYTES_TARGET });
            // None where all that was to be kept is in the cache already.
            frames.extend(frame);
        }
        frames
    }

    /// Encodes everything that is dirty.
    fn hasty_frames(&mut self, random: &mut Random) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        while self.encoder.has_work() {
            self.now += Duration::from_millis(16);
            let budget = if random.below(2) == 0 { 4_000 } else { FRAME_BYTES_TARGET };
            frames.extend(self.encoder.encode(&View::of(&self.screen), 0, self.now, budget));
        }
        frames
    }

    fn deliver(&mut self, frames: Vec<Vec<u8>>) {
        for frame in frames {
            self.assembler.handle_frame(frame.into()).unwrap();
            while let Some(update) = self.assembler.poll_update().unwrap() {
                self.canvas.apply(&update.plan);
            }
        }
    }

    fn assert_exact(&self) {
        let same = |a: &u32, b: &u32| a & 0x00ff_ffff == *b;
        assert_eq!(self.canvas.screen.size, self.screen.size);
        let wrong = self.screen.pixels.iter().zip(&self.canvas.screen.pixels).filter(|(a, b)| !same(a, b)).count();
        assert_eq!(wrong, 0, "pixels differ");
    }
}

/// A slope with soft waves and grain, as photographs have.
fn photo(seed: u32) -> impl Fn(u32, u32) -> u32 {
    move |x, y| {
        let wave = |v: u32, period: u32| (v % (2 * period)).abs_diff(period) * 60 / period;
        let grain = (x.wrapping_mul(0x9e37_79b9) ^ y.wrapping_mul(0x85eb_ca6b) ^ seed).wrapping_mul(0xc2b2_ae35) >> 24;
        let light = wave(x + seed % 97, 90) + wave(y + seed % 53, 70);
        let channel = |c: u32| light + c + (grain >> (c % 3)) % 8;
        channel(20 + seed % 30) << 16 | channel(40) << 8 | channel(60 - seed % 50)
    }
}

#[test]
fn whatever_is_drawn_the_viewer_holds_the_same_pixels() {
    for seed in 0..40 {
        let mut random = Random(seed);
        let mut desk = Desk::new(Size::new(65 + random.below(400), 33 + random.below(300)));
        desk.encoder.handle_scarce([Scarce::Bytes, Scarce::Time, Scarce::Decoding][seed as usize % 3]);
        for _ in 0..40 {
            for _ in 0..1 + random.below(3) {
                desk.draw(&mut random);
            }
            // Much is covered before it has been made exact.
            if random.below(3) == 0 {
                let frames = desk.hasty_frames(&mut random);
                desk.deliver(frames);
                desk.draw(&mut random);
            }
            let mut frames = desk.frames(&mut random);
            // Some arrive late: as far as frames in flight may.
            for i in 1..frames.len().min(8) {
                if random.below(3) == 0 {
                    frames.swap(i - 1, i);
                }
            }
            desk.deliver(frames);
            desk.assert_exact();
            if random.below(20) == 0 {
                desk.encoder.handle_refresh();
            }
        }
    }
}

#[test]
fn damage_without_a_change_makes_no_frame() {
    let mut desk = settled_desk(Size::new(500, 300));
    desk.encoder.handle_damage(desk.screen.size.rect());
    assert!(desk.encoder.has_work(), "nobody has looked yet");
    // The top byte of a pixel means nothing.
    desk.screen.pixels.iter_mut().for_each(|pixel| *pixel ^= 0xa500_0000);
    assert_eq!(desk.encoder.encode(&View::of(&desk.screen), 0, desk.now, FRAME_BYTES_TARGET), None);
    assert!(!desk.encoder.has_work());
    let before = desk.encoder.sequence();
    desk.screen.pixels[7 * 500 + 320] ^= 1;
    desk.encoder.handle_damage(desk.screen.size.rect());
    let frame = desk.encoder.encode(&View::of(&desk.screen), 0, desk.now, FRAME_BYTES_TARGET).expect("a pixel differs");
    assert!(desk.encoder.sequence() == before + 1 && frame.len() < 1_000, "{} bytes for a pixel", frame.len());
    desk.deliver(vec![frame]);
    desk.assert_exact();
}

#[test]
fn a_scroll_step_costs_little_more_than_its_new_rows() {
    let size = Size::new(640, 480);
    let mut random = Random(5);
    let page: Vec<u32> = (0..size.w * 2000).map(|_| if random.below(4) == 0 { 0 } else { 0x00ff_ffff }).collect();
    let mut desk = Desk::new(size);
    for step in 0..5 {
        let top = (step * 48 * size.w) as usize;
        desk.screen.pixels.copy_from_slice(&page[top..top + (size.w * size.h) as usize]);
        desk.encoder.handle_damage(size.rect());
        let frames = desk.frames(&mut Random(0));
        if step > 0 {
            let bytes: usize = frames.iter().map(Vec::len).sum();
            assert!(bytes < 640 * 64 / 8 + 500, "{bytes} bytes for 48 new rows of one bit a pixel");
        }
        desk.deliver(frames);
        desk.assert_exact();
    }
}

#[test]
fn a_window_that_comes_back_costs_next_to_nothing() {
    // Both edges cut their tiles.
    let size = Size::new(650, 440);
    let mut desk = Desk::new(size);
    let show = |desk: &mut Desk, seed: u32| {
        desk.now += Duration::from_secs(1);
        desk.fill(size.rect(), |x, y| (x ^ y.wrapping_mul(seed)).wrapping_mul(0x0123_4567));
        desk.encoder.handle_damage(size.rect());
        let frames = desk.frames(&mut Random(1));
        let bytes: usize = frames.iter().map(Vec::len).sum();
        desk.deliver(frames);
        desk.assert_exact();
        bytes
    };
    let first = show(&mut desk, 3);
    show(&mut desk, 5);
    let again = show(&mut desk, 3);
    assert!(first > 100_000 && again < 1_000, "first {first}, again {again}");
}

#[test]
fn a_caret_that_blinks_comes_from_the_cache() {
    let size = Size::new(640, 448);
    let mut desk = settled_desk(size);
    // It lies in two tiles, among letters.
    let caret = Rect::new(70, 55, 2, 18);
    let letters = |x: u32, y: u32| if (x * 7 + y * 13) % 11 < 3 { 0x0020_2020 } else { 0x00ff_ffff };
    desk.fill(size.rect(), letters);
    let mut bytes = Vec::new();
    for blink in 0..8 {
        desk.now += Duration::from_millis(600);
        desk.fill(caret, |x, y| if blink % 2 == 0 { 0 } else { letters(x, y) });
        desk.encoder.handle_damage(if blink == 0 { size.rect() } else { caret });
        let frames = desk.hasty_frames(&mut Random(1));
        bytes.push(frames.iter().map(Vec::len).sum::<usize>());
        desk.deliver(frames);
        desk.assert_exact();
    }
    assert!(bytes[5..].iter().all(|b| *b <= 20), "{bytes:?}");
}

#[test]
fn a_frame_waits_for_those_whose_pixels_it_reads_and_for_no_others() {
    let mut random = Random(5);
    let size = Size::new(640, 448);
    let mut desk = settled_desk(size);
    let letters = |x: u32, y: u32| if (x * 7 + y * 13) % 11 < 3 { 0x0020_2020 } else { 0x00ff_ffff };
    desk.fill(size.rect(), letters);
    desk.encoder.handle_damage(size.rect());
    let frames = desk.frames(&mut random);
    desk.deliver(frames);
    // A letter of a few bytes that are not harvested, at three places of one tile and once in another.
    let mut frames = Vec::new();
    for (x, y) in [(70, 70), (86, 70), (330, 70), (75, 72)] {
        desk.fill(Rect::new(x, y, 5, 3), |x, y| 0x0020_2020 * (x + y) % 5);
        desk.encoder.handle_damage(Rect::new(x, y, 5, 3));
        frames.extend(desk.hasty_frames(&mut random));
    }
    let headers: Vec<FrameHeader> =
        frames.iter().map(|f| Frame::parse(f.clone().into(), size).expect("our own frame").header).collect();
    let [first, second, other, third] = &headers[..] else { panic!("{} frames", headers.len()) };
    assert!(other.depends_on < first.sequence, "it has nothing to do with the tile: {other:?}");
    assert_eq!((second.depends_on, third.depends_on), (first.sequence, second.sequence));
    frames.reverse();
    desk.deliver(frames);
    desk.assert_exact();
}

#[test]
fn what_returns_by_a_copy_is_not_kept_by_the_same_frame() {
    // A tile shows A, then B, then A again, a part of which moved there from the tile's other side.
    let size = Size::new(640, 448);
    let mut desk = settled_desk(size);
    let ink =
        |x: u32, y: u32| (x.wrapping_mul(0x9e37_79b1) ^ y.wrapping_mul(0x85eb_ca6b)).wrapping_mul(0xc2b2_ae35) >> 9;
    let tile = Rect::new(128, 128, 64, 64);
    let first = |x: u32, y: u32| if y < 160 { ink(x, y) } else { ink(x * 3, y) };
    let second = |x: u32, y: u32| if y >= 160 { ink(x, y - 32) } else { ink(y, x) };
    for round in 0..6 {
        desk.now += Duration::from_millis(700);
        desk.fill(tile, |x, y| if round % 2 == 0 { first(x, y) } else { second(x, y) });
        desk.encoder.handle_damage(tile);
        let frames = desk.frames(&mut Random(1));
        desk.deliver(frames);
        desk.assert_exact();
    }
}

#[test]
fn equal_tiles_share_a_slot_however_nearly_each_is_held() {
    // The same photo in each column of tiles, a little of it different by the time it is covered.
    let size = Size::new(640, 832);
    let mut desk = settled_desk(size);
    for round in 0..6 {
        let page = photo(5 + round / 2);
        desk.now += Duration::from_millis(310);
        desk.fill(size.rect(), |x, y| page(x % 64, y % 128));
        desk.encoder.handle_damage(size.rect());
        let mut frames = desk.hasty_frames(&mut Random(round.into()));
        // Half of it becomes exact before the next picture comes.
        for _ in 0..round {
            desk.now += Duration::from_millis(200);
            frames.extend(desk.encoder.refine(0, desk.now, 4_000));
        }
        desk.deliver(frames);
    }
    let frames = desk.frames(&mut Random(1));
    desk.deliver(frames);
    desk.assert_exact();
}

#[test]
fn what_a_large_picture_leaves_is_kept_before_the_next_one_comes() {
    let size = Size::new(640, 832);
    let mut desk = settled_desk(size);
    let stores = |frames: &[Vec<u8>]| -> Vec<usize> {
        let parse = |f: &Vec<u8>| Frame::parse(f.clone().into(), size).expect("our own frame").stores.len();
        frames.iter().map(parse).collect()
    };
    for seed in [5, 7] {
        desk.now += Duration::from_secs(1);
        desk.fill(size.rect(), photo(seed));
        desk.encoder.handle_damage(size.rect());
        let frames = desk.hasty_frames(&mut Random(1));
        assert!(seed == 5 || stores(&frames).iter().all(|count| *count == 0));
        desk.deliver(frames);
        let mut frames = Vec::new();
        while let Some(at) = desk.encoder.refine_at() {
            frames.extend(desk.encoder.refine(0, at, 30_000));
            desk.now = at;
        }
        let counts = stores(&frames);
        assert_eq!(counts.iter().sum::<usize>(), 130);
        assert!(counts.iter().all(|count| *count <= 24));
        desk.deliver(frames);
        desk.assert_exact();
    }
}

#[test]
fn a_window_dragged_over_a_photo_costs_no_pixels_of_either() {
    // Programs may draw what is uncovered at once, or only after the window was seen at its new place.
    for late in [false, true] {
        let size = Size::new(640, 448);
        let mut desk = Desk::new(size);
        let photo = |x: u32, y: u32| ((x * 77) ^ (y * 1313)).wrapping_mul(0x0123_4567);
        let ink = |x: u32, y: u32| {
            (x.wrapping_mul(0x9e37_79b1) ^ y.wrapping_mul(0x85eb_ca6b)).wrapping_mul(0xc2b2_ae35) >> 30
        };
        let window = |x, y| if ink(x, y) == 0 { 0x0020_2020 } else { 0x00f0_f0f0 };
        let show = |desk: &mut Desk, r: Rect| {
            desk.encoder.handle_damage(r);
            let frames = desk.frames(&mut Random(1));
            let bytes: usize = frames.iter().map(Vec::len).sum();
            desk.deliver(frames);
            desk.assert_exact();
            bytes
        };
        desk.fill(size.rect(), photo);
        show(&mut desk, size.rect());
        let mut place = Rect::new(100, 90, 211, 150);
        let mut dragged = Vec::new();
        for step in 1..30u32 {
            desk.now += Duration::from_millis(if step < 3 { 1000 } else { 16 });
            let left = place;
            place = Rect { x: 100 + step * 7, y: 90 + step * step % 11 * 4, ..place };
            desk.fill(left, |x, y| if late { 0x0080_8080 } else { photo(x, y) });
            desk.fill(place, |x, y| window(x - place.x, y - place.y));
            let moved = show(&mut desk, left.union(place));
            if late {
                desk.fill(left, photo);
                desk.fill(place, |x, y| window(x - place.x, y - place.y));
                dragged.push(show(&mut desk, left.union(place)));
            } else {
                dragged.push(moved);
            }
        }
        // The window is new at the first step.
        assert!(dragged[2..].iter().all(|bytes| *bytes < 300), "late {late}: {dragged:?}");
    }
}

#[test]
fn what_a_new_window_covers_becomes_exact_before_it_comes_to_light() {
    let size = Size::new(640, 448);
    let mut desk = settled_desk(size);
    desk.encoder.handle_scarce(Scarce::Time);
    let frames = |desk: &mut Desk, r: Rect| {
        desk.encoder.handle_damage(r);
        let frames = desk.hasty_frames(&mut Random(1));
        let (bytes, lossy) = (frames.iter().map(Vec::len).sum::<usize>(), frames.iter().any(|f| is_lossy(f)));
        desk.deliver(frames);
        (bytes, lossy)
    };
    // The photo is there for a moment only.
    desk.fill(size.rect(), photo(7));
    assert!(frames(&mut desk, size.rect()).1);
    let window = Rect::new(100, 70, 401, 301);
    desk.encoder.handle_mapped(window);
    desk.fill(window, |x, y| if ((x / 3) ^ (y / 2)) % 5 == 0 { 0x0020_2020 } else { 0x00f0_f0f0 });
    frames(&mut desk, window);
    let mut hidden = 0;
    while let Some(at) = desk.encoder.refine_at() {
        desk.now = at;
        let frame = desk.encoder.refine(0, at, 24 << 10).expect("its time has come");
        hidden += Frame::parse(frame.clone().into(), size).expect("our own frame").amends.len();
        desk.deliver(vec![frame]);
    }
    assert!(hidden >= 30, "{hidden} tiles");
    desk.assert_exact();
    desk.fill(window, photo(7));
    let (bytes, lossy) = frames(&mut desk, window);
    assert!(bytes < 300 && !lossy, "{bytes} bytes, lossy {lossy}");
    desk.assert_exact();
}

#[test]
fn a_viewer_that_is_slow_to_decode_gets_large_pictures_as_they_are_and_small_ones_small() {
    let size = Size::new(640, 448);
    let mut desk = Desk::new(size);
    // On a background, in more colours than a palette has.
    let ink = |x: u32, y: u32| (x / 3 * 7 + y / 2 * 13) % 41 * 5;
    let is_ink = |x: u32, y: u32| ((x / 3) ^ (y / 2)).is_multiple_of(4);
    let text = |x: u32, y: u32| 0x0001_0101 * (255 - if is_ink(x, y) { ink(x, y) } else { 0 });
    desk.encoder.handle_scarce(Scarce::Decoding);
    let mut show = |rect: Rect, color: &dyn Fn(u32, u32) -> u32| {
        desk.fill(rect, color);
        desk.encoder.handle_damage(rect);
        let frames = desk.hasty_frames(&mut Random(1));
        let lossy = frames.iter().any(|f| is_lossy(f));
        let tiles = frames.iter().flat_map(|f| Frame::parse(f.clone().into(), size).expect("our own frame").tiles);
        let coded = tiles.filter(|tile| matches!(tile.content, Content::Ctx { .. })).count();
        desk.deliver(frames);
        desk.assert_exact();
        (coded, lossy)
    };
    // A page of text, and a photo: neither entropy-coded nor with loss.
    assert_eq!(show(size.rect(), &text), (0, false));
    assert_eq!(show(size.rect(), &photo(3)), (0, false));
    let (coded, lossy) = show(Rect::new(64, 64, 128, 128), &text);
    assert!(coded == 4 && !lossy, "{coded} coded tiles, lossy {lossy}");
}

#[test]
fn what_is_amended_is_the_end_of_a_frame() {
    let size = Size::new(64, 64);
    let mut desk = Desk::new(size);
    // A black screen: nothing but the header.
    let frame = desk.frames(&mut Random(1)).remove(0);
    let with = |sections: &[u8]| Frame::parse([&frame[..], sections].concat().into(), size).map(drop);
    let (amend, tiles, harvest) = ([6, 0], [4, 0], [5, 0]);
    assert_eq!(with(&[tiles, harvest, tiles, harvest, amend].concat()), Ok(()));
    assert_eq!(with(&[amend, tiles].concat()), Err(FormatError::Section(4)));
    assert_eq!(with(&[amend, harvest].concat()), Err(FormatError::Section(5)));
    assert_eq!(with(&[amend, amend].concat()), Err(FormatError::Section(6)));
}

#[test]
fn tiles_are_kept_in_runs_that_hold_their_bounds() {
    // Eight tiles, and a black screen: nothing but the header.
    let size = Size::new(256, 128);
    let frame = Desk::new(size).frames(&mut Random(1)).remove(0);
    let parse = |sections: &[u8]| Frame::parse([&frame[..], sections].concat().into(), size);
    let kept = |sections: &[u8]| {
        let stores = parse(sections)?.stores;
        Ok(stores.iter().map(|store| (store.tile.0, store.slot)).collect::<Vec<_>>())
    };
    assert_eq!(kept(&[1, 1, 1, 6, 3]), Ok((0..8).map(|i| (i, 3 + i)).collect()));
    assert_eq!(kept(&[1, 2, 1, 0, 5, 4, 4]), Ok(vec![(0, 5), (1, 6), (3, 4)]));
    let count = |count| Err(FormatError::Count { section: 1, count });
    assert_eq!(kept(&[1, 1, 1, 7, 0]), count(9));
    assert_eq!(kept(&[1, 1, 1, 0xff, 0xff, 0xff, 0xff, 0x0f, 0]), count(u32::MAX));
    assert_eq!(kept(&[1, 2, 1, 5, 0, 3, 0, 9]), count(2));
    assert_eq!(kept(&[1, 1, 13, 1, 0]), Err(FormatError::Tile(8)));
    assert_eq!(kept(&[1, 2, 1, 0, 5, 0, 9]), Err(FormatError::Tile(1)));
    assert_eq!(kept(&[1, 2, 1, 0, 5, 2, 6]), Err(FormatError::Slot(6)));
    assert_eq!(kept(&[1, 1, 1, 0, 0xff, 0x0f]), Err(FormatError::Slot(2048)));

    // However tiles and slots follow on each other, they come back.
    for tiles in [&[(0, 9), (1, 10), (2, 12), (4, 13), (5, 14), (7, 0)][..], &[(7, 2047)], &[(3, 1), (4, 0), (5, 2)]] {
        let mut writer = SectionWriter::new();
        tiles.iter().rev().for_each(|(tile, slot)| writer.store(TileIndex(*tile), *slot));
        let mut sections = Vec::new();
        writer.finish(&mut sections);
        assert_eq!(kept(&sections), Ok(tiles.to_vec()));
    }
}

#[test]
fn damaged_frames_are_refused_or_harmless() {
    let size = Size::new(200, 150);
    let mut random = Random(11);
    let mut desk = Desk::new(size);
    for _ in 0..200 {
        desk.draw(&mut random);
        for frame in desk.frames(&mut Random(1)) {
            for _ in 0..30 {
                let mut bad = frame.clone();
                for _ in 0..1 + random.below(3) {
                    let at = random.below(bad.len() as u32) as usize;
                    bad[at] = random.next() as u8;
                }
                bad.truncate(bad.len() - random.below(3) as usize);
                let mut assembler = Assembler::new();
                let mut canvas = Canvas::new();
                let key = [1, 1, 0, 200, 1, 150, 1];
                assembler.handle_frame(key.to_vec().into()).unwrap();
                let _ = assembler.handle_frame(bad.clone().into());
                while let Ok(Some(update)) = assembler.poll_update() {
                    canvas.apply(&update.plan);
                }
                let _ = Frame::parse(bad.into(), size).map(|f| f.tiles.len());
            }
            desk.deliver(vec![frame]);
        }
    }
}

/// Peak signal to noise ratio of what the viewer has, in dB.
fn psnr_db(desk: &Desk) -> f64 {
    let pairs = desk.screen.pixels.iter().zip(&desk.canvas.screen.pixels);
    let apart = |s: u32, a: u32, b: u32| u64::from((a >> s & 255).abs_diff(b >> s & 255)).pow(2);
    let squares: u64 = pairs.map(|(a, b)| apart(0, *a, *b) + apart(8, *a, *b) + apart(16, *a, *b)).sum();
    10.0 * (65025.0 * 3.0 * desk.screen.pixels.len() as f64 / squares.max(1) as f64).log10()
}

fn is_lossy(frame: &[u8]) -> bool {
    FrameHeader::parse(frame).expect("our own frame").0.lossy
}

/// A desk that has shown something else for a while.
fn settled_desk(size: Size) -> Desk {
    let mut desk = Desk::new(size);
    let frames = desk.frames(&mut Random(1));
    desk.deliver(frames);
    desk.now += Duration::from_secs(1);
    desk
}

#[test]
fn a_photo_that_fills_the_screen_comes_at_once_and_exactly_when_it_stands_still() {
    let size = Size::new(640, 448);
    let mut desk = settled_desk(size);
    desk.fill(size.rect(), photo(7));
    desk.encoder.handle_damage(size.rect());
    let frames = desk.hasty_frames(&mut Random(1));
    let bytes: usize = frames.iter().map(Vec::len).sum();
    assert!(bytes < 640 * 448 * 2 / 8, "{bytes} bytes are more than two bits a pixel");
    assert!(frames.iter().all(|f| is_lossy(f)));
    desk.deliver(frames);
    assert!(psnr_db(&desk) >= 36.0, "{:.1} dB", psnr_db(&desk));

    let at = desk.encoder.refine_at().expect("it is not exact");
    assert!((150..=400).contains(&(at - desk.now).as_millis()));
    assert_eq!(desk.encoder.refine(0, at - Duration::from_millis(1), 9_999), None);
    let mut frames = Vec::new();
    while let Some(at) = desk.encoder.refine_at() {
        frames.extend(desk.encoder.refine(0, at, 30_000));
    }
    assert!(frames.iter().all(|f| f.len() < 45_000));
    assert!(!is_lossy(frames.last().expect("some frames")) && frames.is_sorted_by_key(|f| !is_lossy(f)));
    desk.deliver(frames);
    desk.assert_exact();
}

#[test]
fn text_is_never_lossy_however_it_moves() {
    let size = Size::new(640, 448);
    let mut random = Random(2);
    let mut desk = settled_desk(size);
    for _ in 0..12 {
        // Letters with soft edges on white and on a photo.
        let mut ink: Vec<u32> =
            (0..size.area()).map(|_| u32::from(random.below(3) == 0) * (random.below(3) + 1)).collect();
        ink.rotate_right(random.below(64) as usize);
        let back = photo(3);
        desk.fill(size.rect(), |x, y| {
            let under = if x < 320 { 0x00ff_ffff } else { back(x, y) | 0x00c0_c0c0 };
            match ink[(y * size.w + x) as usize] {
                0 => under,
                1 => under >> 1 & 0x007f_7f7f,
                _ => 0,
            }
        });
        desk.encoder.handle_damage(size.rect());
        let frames = desk.hasty_frames(&mut Random(1));
        assert!(frames.iter().all(|f| !is_lossy(f)));
        desk.deliver(frames);
        desk.assert_exact();
    }
}

#[test]
fn a_small_photo_is_exact_at_once_unless_it_moves() {
    let (size, place) = (Size::new(640, 448), Rect::new(64, 64, 128, 128));
    let mut desk = settled_desk(size);
    for (picture, expected) in (0..6).zip([false, false, true, true, true, true]) {
        desk.fill(place, photo(picture * 31));
        desk.encoder.handle_damage(place);
        let frames: Vec<_> =
            desk.encoder.encode(&View::of(&desk.screen), 0, desk.now, FRAME_BYTES_TARGET).into_iter().collect();
        assert_eq!(frames.iter().any(|f| is_lossy(f)), expected, "picture {picture}");
        desk.deliver(frames);
        desk.now += Duration::from_millis(40);
        let is_early = desk.encoder.refine_at().is_none_or(|at| at > desk.now);
        assert!(is_early, "exact pixels of a moving picture are wasted");
    }
    let frames = desk.frames(&mut Random(1));
    desk.deliver(frames);
    desk.assert_exact();
    assert_eq!(desk.encoder.refine_at(), None);
}

#[test]
fn loss_travels_with_what_is_copied_and_is_mended_there() {
    let size = Size::new(640, 448);
    let mut desk = settled_desk(size);
    for step in 0..8 {
        let page = photo(5);
        desk.fill(size.rect(), |x, y| if y < 40 { 0x00dd_dddd } else { page(x, y + 37 * step) });
        desk.encoder.handle_damage(size.rect());
        let frames = desk.hasty_frames(&mut Random(1));
        if step > 0 {
            let bytes: usize = frames.iter().map(Vec::len).sum();
            assert!(bytes < 40_000, "step {step}: {bytes} bytes");
        }
        desk.deliver(frames);
        assert!(psnr_db(&desk) >= 36.0, "step {step}: {:.1} dB", psnr_db(&desk));
        desk.now += Duration::from_millis(30);
    }
    let frames = desk.frames(&mut Random(1));
    assert!(frames.is_sorted_by_key(|f| !is_lossy(f)), "what is exact stays so");
    desk.deliver(frames);
    desk.assert_exact();
}

#[test]
fn what_changes_again_is_not_made_exact_before() {
    let size = Size::new(640, 448);
    let mut desk = settled_desk(size);
    desk.fill(size.rect(), photo(7));
    desk.encoder.handle_damage(size.rect());
    let frames = desk.hasty_frames(&mut Random(1));
    desk.deliver(frames);
    // The upper half is damaged before its time comes: only the lower half is made exact.
    desk.now += Duration::from_secs(1);
    let upper = Rect::new(0, 0, 640, 224);
    desk.fill(upper, photo(8));
    desk.encoder.handle_damage(upper);
    let mut frames = Vec::new();
    while let Some(frame) = desk.encoder.refine(0, desk.now, FRAME_BYTES_TARGET) {
        frames.push(frame);
    }
    let parsed: Vec<Frame> = frames.iter().map(|f| Frame::parse(f.clone().into(), size).expect("our own")).collect();
    assert!(parsed.iter().flat_map(|f| &f.tiles).all(|t| t.tile.0 >= 30 || t.blocks.0 & 0x00ff == 0));
    assert!(!parsed.is_empty());
    desk.deliver(frames);
    let frames = desk.frames(&mut Random(1));
    desk.deliver(frames);
    desk.assert_exact();
}

/// Has the viewer compare all tiles that have settled, until some differ; returns how many did.
fn compare(desk: &mut Desk) -> usize {
    let mut wrong = 0;
    while let Some(at) = desk.encoder.mark_at() {
        desk.now = desk.now.max(at);
        let asked = desk.encoder.marks(desk.now).expect("its time has come");
        let grid = desk.assembler.marked_tiles(&asked).expect("they are about this picture");
        let early = marks::TileMarks { sequence: asked.sequence + 1, ..asked.clone() };
        assert!(desk.assembler.is_early(&early, None) && !desk.assembler.is_early(&asked, None));
        // A frame that the screen has not been given yet counts as one that has not come, unless the marks are older.
        let waiting = |sequence| Update { sequence, complete: sequence, input: 0, more: false, plan: Plan::default() };
        assert!(desk.assembler.is_early(&asked, Some(&waiting(asked.sequence))));
        assert!(!desk.assembler.is_early(&asked, Some(&waiting(asked.sequence + 1))));
        let jobs = marks::jobs(grid, asked.first, asked.marks.len() as u32);
        let mut found = Picture::new(mark::MARKS_SIZE);
        mark::run(&jobs, &desk.canvas.screen, &mut found);
        let found = marks::marks_of(&found, jobs.len() as u32);
        let differing = desk.assembler.handle_marks(&asked, &found);
        wrong += differing.len();
        let (sequence, first) = (asked.sequence, asked.first);
        assert_eq!(desk.encoder.handle_agreement(&Agreement { sequence, first, wrong: differing }), wrong);
        if wrong > 0 {
            break;
        }
    }
    wrong
}

#[test]
fn a_pixel_that_went_wrong_at_the_viewer_is_noticed_and_mended() {
    let size = Size::new(1000, 700);
    let mut desk = settled_desk(size);
    desk.fill(size.rect(), photo(3));
    desk.encoder.handle_damage(size.rect());
    let frames = desk.hasty_frames(&mut Random(1));
    desk.deliver(frames);
    // Nothing that is lossy is asked about.
    assert!(!desk.assembler.is_exact() && desk.encoder.mark_at().is_none());
    let frames = desk.frames(&mut Random(1));
    desk.deliver(frames);
    assert!(desk.assembler.is_exact() && !desk.assembler.is_agreed());
    assert_eq!(compare(&mut desk), 0);
    assert!(desk.assembler.is_agreed() && desk.encoder.mark_at().is_none());

    // Where nothing has changed since, nobody looks again: the fault is found when the tile is asked about.
    desk.canvas.screen.pixels[70 * 1000 + 70] ^= 0x10;
    let place = Rect::new(64, 64, 3, 3);
    desk.fill(place, |_, _| 0x00ff_0000);
    desk.encoder.handle_damage(place);
    let frames = desk.frames(&mut Random(1));
    desk.deliver(frames);
    desk.canvas.screen.pixels[100 * 1000 + 100] ^= 0x0001_0000;
    assert!(!desk.assembler.is_agreed());
    assert_eq!(compare(&mut desk), 1);
    assert!(!desk.assembler.is_exact());
    let frames = desk.frames(&mut Random(1));
    assert!(!frames.is_empty());
    desk.deliver(frames);
    desk.assert_exact();
    assert_eq!(compare(&mut desk), 0);
    assert!(desk.assembler.is_agreed());
}
