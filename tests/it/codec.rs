//! The encoder and the CPU decoder together: whatever happens on the screen, the viewer holds the same pixels.

use kachel::codec::canvas::{Canvas, Picture};
use kachel::codec::encode::{Encoder, FRAME_BYTES_TARGET, View};
use kachel::codec::format::Frame;
use kachel::geom::{Rect, Size};
use kachel::proto::screen::assembler::Assembler;
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
        match random.below(6) {
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
            4 => self.now += Duration::from_millis(500),
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

    /// Encodes everything that is dirty; frames that may overtake each other do.
    fn frames(&mut self, random: &mut Random) -> Vec<Vec<u8>> {
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

#[test]
fn whatever_is_drawn_the_viewer_holds_the_same_pixels() {
    for seed in 0..40 {
        let mut random = Random(seed);
        let mut desk = Desk::new(Size::new(65 + random.below(400), 33 + random.below(300)));
        for _ in 0..40 {
            for _ in 0..1 + random.below(3) {
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
    let size = Size::new(640, 448);
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
    assert!(first > 300_000 && again < 1_000, "first {first}, again {again}");
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
