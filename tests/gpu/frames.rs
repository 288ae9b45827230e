//! Whole frames, from bytes to pixels, on the CPU and the GPU.

use crate::twins::compare;
use crate::{Random, gpus};
use bytes::Bytes;
use kachel::codec::canvas::{Canvas, Picture};
use kachel::codec::ctx::dictionary::Dictionary;
use kachel::codec::ctx::encode::CtxEncoder;
use kachel::codec::ctx::tables::COSTS;
use kachel::codec::encode::{Encoder, FRAME_BYTES_TARGET, View};
use kachel::codec::format::{BLOCK_PIXELS, CopyRect, Frame, FrameHeader, SectionWriter};
use kachel::codec::plan::Plan;
use kachel::codec::wave::encode::WaveEncoder;
use kachel::geom::{BlockMask, Rect, Size, TileGrid, TileIndex};
use kachel::io::gpu::Tier;
use kachel::io::gpu::decode::Decoder;
use kachel::io::gpu::mirror::Mirror;

const FRAMES: u32 = 200;

/// Slots in use: few, so that they are overwritten and recalled often.
const SLOTS: u32 = 12;

/// Makes sound frames of all kinds of records.
struct Host {
    random: Random,
    sequence: u32,
    size: Size,
    ctx: CtxEncoder,
}

impl Host {
    fn new(seed: u64) -> Self {
        Self { random: Random(seed), sequence: 0, size: Size::default(), ctx: CtxEncoder::new() }
    }

    /// The next frame's bytes; about every twentieth is a key frame with a new size.
    fn frame(&mut self) -> Bytes {
        let r = &mut self.random;
        self.sequence += 1;
        let key = (self.sequence == 1 || r.below(20) == 0).then(|| Size::new(1 + r.below(500), 1 + r.below(400)));
        self.size = key.unwrap_or(self.size);
        let depends_on = if key.is_some() { 0 } else { self.sequence - 1 };
        let mut out = Vec::new();
        FrameHeader { sequence: self.sequence, depends_on, input: r.below(9), key, more: false, lossy: false }
            .write(&mut out);
        let mut sections = SectionWriter::new();
        self.stores(&mut sections);
        self.copies(&mut sections);
        self.uncovers(&mut sections);
        self.tiles(&mut sections, 0);
        if self.random.below(2) == 0 && sections.has_open_tiles() {
            sections.harvest();
            self.tiles(&mut sections, 1);
        }
        self.amends(&mut sections);
        sections.finish(&mut out);
        out.into()
    }

    fn stores(&mut self, sections: &mut SectionWriter) {
        let grid = TileGrid::new(self.size);
        let mut slot = self.random.below(SLOTS);
        for tile in (0..grid.count()).map(TileIndex).take(SLOTS as usize) {
            if self.random.below(4) == 0 {
                sections.store(tile, slot % SLOTS);
                slot += 1;
            }
        }
    }

    fn copies(&mut self, sections: &mut SectionWriter) {
        let r = &mut self.random;
        let mut taken: Vec<Rect> = Vec::new();
        for _ in 0..r.below(6) {
            let (w, h) = (1 + r.below(self.size.w), 1 + r.below(self.size.h));
            let source = Rect::new(r.below(self.size.w - w + 1), r.below(self.size.h - h + 1), w, h);
            let (x, y) = (r.below(self.size.w - w + 1), r.below(self.size.h - h + 1));
            let copy = CopyRect { source, x, y };
            if taken.iter().all(|t| !t.intersects(copy.destination())) {
                taken.push(copy.destination());
                sections.copy(copy);
            }
        }
    }

    fn uncovers(&mut self, sections: &mut SectionWriter) {
        let grid = TileGrid::new(self.size);
        for tile in (0..grid.count()).map(TileIndex) {
            if self.random.below(6) == 0 {
                sections.uncover(tile, self.random.below(SLOTS));
            }
        }
    }

    fn amends(&mut self, sections: &mut SectionWriter) {
        let grid = TileGrid::new(self.size);
        let mut slot = self.random.below(SLOTS);
        for tile in (0..grid.count()).map(TileIndex).take(SLOTS as usize) {
            if self.random.below(8) == 0 {
                sections.amend(tile, slot % SLOTS);
                slot += 1;
            }
        }
    }

    /// Every second tile.
    fn tiles(&mut self, sections: &mut SectionWriter, first: u32) {
        let grid = TileGrid::new(self.size);
        for tile in (first..grid.count()).step_by(2).map(TileIndex) {
            let visible = grid.visible(tile).0;
            match self.random.below(8) {
                0 => sections.solid(tile, None, self.random.below(2) * 0x0080_ff01),
                1 => sections.cache(tile, self.random.below(SLOTS)),
                2 => self.record(sections, tile, None, visible),
                3 => {
                    // Two records with masks that share no block.
                    let first = self.random.next() as u16 & visible;
                    for mask in [first, visible & !first] {
                        if mask != 0 {
                            self.record(sections, tile, Some(BlockMask(mask)), mask);
                        }
                    }
                }
                _ => {}
            }
        }
    }

    fn record(&mut self, sections: &mut SectionWriter, tile: TileIndex, mask: Option<BlockMask>, blocks: u16) {
        let r = &mut self.random;
        let pixels = blocks.count_ones() as usize * BLOCK_PIXELS;
        match r.below(5) {
            0 => sections.solid(tile, mask, r.color()),
            4 => {
                let (steep, grain, color) = (r.below(5), 1 + r.below(40), r.color() & 0x003f_3f3f);
                let pixel = |i: usize| color + (i as u32 % 64 * steep / 2 + r.below(grain)) * 0x0001_0101;
                let mut payload = Vec::new();
                let pixels = std::array::from_fn(pixel);
                WaveEncoder::new().write(&pixels, BlockMask(blocks), self.random.below(8) as u8, &mut payload);
                sections.wave(tile, mask, &payload);
            }
            3 => {
                let few: Vec<u32> = (0..1 + r.below(40)).map(|_| r.color() & 0x00f0_ffff).collect();
                let width = 1 + r.below(9);
                let mut pixels = [0; 4096];
                for i in 0..pixels.len() {
                    // Glyph-like pieces that repeat, between noise.
                    let piece = few[(i % 64) / width as usize * 7 % few.len()];
                    let above = if i >= 64 { pixels[i - 64] } else { piece };
                    pixels[i] = match r.below(12) {
                        0 => piece,
                        1 => r.color() & 0x0007_0f3f | few[0],
                        _ => above,
                    };
                }
                let blocks = BlockMask(blocks);
                let mut payload = Vec::new();
                // What the payload was made with is not what it is decoded with; it is to be decoded alike.
                let dictionary = (r.below(3) > 0).then(Dictionary::new);
                let former = (r.below(2) == 0).then(|| {
                    let (mut former, from) = (pixels, r.below(4096) as usize);
                    former[from..].iter_mut().step_by(1 + r.below(50) as usize).for_each(|pixel| *pixel ^= 1);
                    former
                });
                let measured = self.ctx.measure(&pixels, former.as_ref(), blocks, dictionary.as_ref(), &COSTS);
                self.ctx.write(&measured, &COSTS, &mut payload);
                sections.ctx(tile, mask, measured.set, &payload);
            }
            1 => {
                let colors: Vec<u32> = (0..2 + r.below(15)).map(|_| r.color()).collect();
                let indices: Vec<u8> = (0..pixels).map(|_| r.below(colors.len() as u32) as u8).collect();
                sections.pack(tile, mask, &colors, &indices);
            }
            _ => {
                let pixels: Vec<u32> = (0..pixels).map(|_| r.color()).collect();
                sections.raw(tile, mask, &pixels);
            }
        }
    }
}

fn plan(bytes: Bytes, screen: Size) -> Plan {
    let frame = Frame::parse(bytes, screen).expect("the test writes sound frames");
    let size = frame.header.key.unwrap_or(screen);
    Plan::new(&frame, TileGrid::new(size), |_| BlockMask::ALL)
}

#[test]
fn frames_decode_alike_on_the_gpu() {
    for gpu in gpus(Tier::Compute) {
        let mut host = Host::new(42);
        let mut canvas = Canvas::new();
        let mut decoder = Decoder::new(&gpu).expect("the shaders compile");
        for i in 0..FRAMES {
            let plan = plan(host.frame(), canvas.screen.size);
            canvas.apply(&plan);
            decoder.apply(&plan).expect("a sound plan is decoded");
            // Now and then several frames are on the way before somebody looks.
            if i % 3 != 0 {
                let found = decoder.read_back().expect("the screen can be read");
                compare(&found, &canvas.screen, &format!("frame {i} on {}", gpu.kind));
            }
        }
    }
}

#[test]
fn a_mirror_follows_by_damage_alone() {
    for gpu in gpus(Tier::Gl) {
        let mut host = Host::new(43);
        let mut canvas = Canvas::new();
        let mut mirror = Mirror::new(&gpu);
        for i in 0..FRAMES {
            let plan = plan(host.frame(), canvas.screen.size);
            canvas.apply(&plan);
            mirror.upload(&canvas.screen, &plan.damage).expect("the parts can be sent");
            let found = mirror.read_back().expect("the screen can be read");
            compare(&found, &canvas.screen, &format!("frame {i} on {}", gpu.kind));
        }
    }
}

/// A page of text: the same few glyphs at any place, with soft edges, in lines.
fn page(random: &mut Random, size: Size) -> Picture {
    let glyph =
        |which: u32, x: u32, y: u32| (which + 3 * x).wrapping_mul(x ^ (y + which)).wrapping_mul(0x9e37_79b1) >> 29;
    let mut picture = Picture { size, pixels: vec![0x00ff_ffff; size.area() as usize] };
    for top in (5..size.h - 12).step_by(15) {
        let mut left = 3 + random.below(9);
        while left + 12 < size.w {
            let which = random.below(20);
            for (x, y) in (0..64).map(|i| (i % 8, i / 8)) {
                let at = (top + y) * size.w + left + x;
                picture.pixels[at as usize] = 0x00ff_ffff - glyph(which, x, y) * 0x0020_2020;
            }
            left += 8 + random.below(2) * 5;
        }
    }
    picture
}

#[test]
fn what_the_encoder_remembers_the_gpu_remembers() {
    for gpu in gpus(Tier::Compute) {
        let mut random = Random(4);
        // A tile row is cut by the edge, and so is the last column.
        let size = Size::new(500, 300);
        let mut encoder = Encoder::new(size);
        let mut decoder = Decoder::new(&gpu).expect("the shaders compile");
        let mut bytes = Vec::new();
        for turn in 0..4 {
            let picture = page(&mut random, size);
            encoder.handle_damage(size.rect());
            bytes.push(0);
            while encoder.has_work() {
                let now = std::time::Duration::from_secs(turn);
                let Some(frame) = encoder.encode(&View::of(&picture), 0, now, FRAME_BYTES_TARGET) else { break };
                bytes[turn as usize] += frame.len();
                decoder.apply(&plan(frame.into(), size)).expect("a sound plan is decoded");
            }
            let found = decoder.read_back().expect("the screen can be read");
            compare(&found, &picture, &format!("page {turn} on {}", gpu.kind));
        }
        assert!(bytes[2] * 2 < bytes[0], "the glyphs of the first page are known on the third: {bytes:?}");
    }
}
