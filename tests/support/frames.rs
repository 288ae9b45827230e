//! Frames made of a fuzzer's bytes, so that nearly all of them are sound: of all kinds of records, and of a desktop on
//! which windows open, move, cover each other, scroll and close.
//!
//! [`play`] applies them on the CPU and shows each plan with what became of it, for oracles and for other decoders to compare.

use super::net::Random;
use bytes::Bytes;
use kachel::codec::bytes::put_varint;
use kachel::codec::canvas::{Canvas, Picture};
use kachel::codec::ctx::dictionary::Dictionary;
use kachel::codec::ctx::encode::{CtxEncoder, Pixels};
use kachel::codec::ctx::tables::{COSTS, SETS};
use kachel::codec::ctx::{COLORS_MAX, band};
use kachel::codec::encode::{Encoder, FRAME_BYTES_TARGET, Scarce, View};
use kachel::codec::format::{
    BLOCK_PIXELS, CACHE_SLOTS, COPIES_MAX, CopyRect, FRAME_BYTES_MAX, Frame, FrameHeader, HARVESTS_MAX, SectionWriter,
};
use kachel::codec::marks;
use kachel::codec::plan::Plan;
use kachel::codec::stage::mark;
use kachel::codec::wave::encode::WaveEncoder;
use kachel::geom::{BlockMask, Rect, Size, TileGrid, TileIndex};
use kachel::proto::screen::assembler::Assembler;
use std::collections::BTreeSet;
use std::time::Duration;

/// Frames of records, and steps of a desktop, that one input makes at most.
const STEPS_MAX: usize = 24;
/// Windows of a desktop.
const WINDOWS_MAX: usize = 6;
/// Frames that one picture and its refinement make at most; one that goes on for ever is a mistake.
const FRAMES_MAX: usize = 2000;

/// Plays the frames that these bytes make: of records if the first is even, of a desktop if it is odd. Calls `each` with
/// every plan and the screen after it.
pub fn play(data: &[u8], each: &mut dyn FnMut(&Plan, &Picture)) {
    let mut input = Input(data);
    match input.byte() % 2 {
        0 => play_records(input, each),
        _ => play_desktop(input, each),
    }
}

/// Bytes one after the other; zeroes after the last.
pub struct Input<'a>(pub &'a [u8]);

impl Input<'_> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u32 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        u32::from(*first)
    }

    pub fn word(&mut self) -> u32 {
        self.byte() | self.byte() << 8
    }

    pub fn color(&mut self) -> u32 {
        self.word() | self.byte() << 16
    }

    fn random(&mut self) -> Random {
        Random(u64::from(self.byte()))
    }

    /// The size of a desktop: small, for the sake of speed, but now and then of so many tiles that they are kept early.
    fn screen(&mut self) -> Size {
        let mut side = || match self.byte() {
            byte if byte < 240 => 64 + byte,
            byte => 280 + byte,
        };
        Size::new(side(), side())
    }

    /// A rectangle within the size, which is not empty.
    fn rect(&mut self, size: Size) -> Rect {
        let (x, y) = (self.word() % size.w, self.word() % size.h);
        Rect::new(x, y, 1 + self.word() % (size.w - x), 1 + self.word() % (size.h - y))
    }

    /// A tile from calm to noise, grey or coloured, with pieces that repeat.
    pub fn pixels(&mut self) -> Pixels {
        let kind = self.byte();
        let mut random = self.random();
        let colors: Vec<u32> = (0..1 + self.byte() % 60).map(|_| random.next() & 0x00ff_ffff).collect();
        let grain = 1 + self.byte();
        let mut pixels = [0; 4096];
        for i in 0..pixels.len() {
            let (x, y) = (i as u32 % 64, i as u32 / 64);
            let above = if y > 0 { pixels[i - 64] } else { colors[0] };
            pixels[i] = match kind % 5 {
                0 => colors[(x / (1 + grain % 9) * 7 + y / (1 + grain / 9 % 9)) as usize % colors.len()],
                1 if random.below(grain) == 0 => colors[random.below(colors.len() as u32) as usize],
                1 => above,
                2 => random.next() & 0x00ff_ffff,
                3 => ((x * (kind >> 4) / 2 + y + random.below(grain)) % 256 * 0x0001_0101) ^ (colors[0] & 0x003f_3f3f),
                _ => 0x00ff_ffff - ink((kind >> 4) + x / 8 * y / 15, x % 8, y % 15) * (colors[0] & 0x0020_2020),
            };
            if kind & 8 != 0 {
                pixels[i] = (pixels[i] & 0xff) * 0x0001_0101;
            }
        }
        pixels
    }
}

// ---------------------------------------------------------------- records

/// Frames of all kinds of records. Where their payloads are damaged, that happens after the frame was checked.
fn play_records(mut input: Input, each: &mut dyn FnMut(&Plan, &Picture)) {
    let mut canvas = Canvas::new();
    let mut maker = Maker { sequence: 0, size: Size::default(), ctx: CtxEncoder::new(), written: Vec::new() };
    while !input.is_empty() && maker.sequence < STEPS_MAX as u32 {
        let bytes = maker.frame(&mut input);
        let frame = Frame::parse(bytes.into(), maker.size).expect("what is written by the rules is sound");
        // As if frames after this one had written some blocks already.
        let (hidden, seed) = (input.byte(), input.byte() as u16 * 0x0101);
        let keep = |tile: TileIndex| match hidden % 4 {
            0 => BlockMask(!(seed.rotate_left(tile.0 % 16))),
            _ => BlockMask::ALL,
        };
        let mut plan = Plan::new(&frame, TileGrid::new(maker.size), keep);
        let mut bytes = plan.bytes.to_vec();
        for _ in 0..input.byte() % 4 {
            let at = input.word() as usize % bytes.len();
            bytes[at] ^= input.byte() as u8;
        }
        plan.bytes = bytes.into();
        canvas.apply(&plan);
        each(&plan, &canvas.screen);
    }
}

struct Maker {
    sequence: u32,
    size: Size,
    ctx: CtxEncoder,
    /// For each tile the blocks that the frame in work has written.
    written: Vec<u16>,
}

impl Maker {
    fn frame(&mut self, input: &mut Input) -> Vec<u8> {
        let what = input.byte();
        self.sequence += 1;
        let is_key = self.sequence == 1 || what & 0xc0 == 0xc0;
        let key = is_key.then(|| Size::new(1 + input.byte(), 1 + input.byte()));
        self.size = key.unwrap_or(self.size);
        self.written = vec![0; TileGrid::new(self.size).count() as usize];
        let depends_on = if is_key { 0 } else { self.sequence - 1 };
        let mut out = Vec::new();
        FrameHeader { sequence: self.sequence, depends_on, input: 0, key, more: false, lossy: false }.write(&mut out);
        let mut sections = SectionWriter::new();
        if what & 1 != 0 {
            self.slots(input, true, |tile, slot| sections.store(tile, slot));
        }
        if what & 2 != 0 {
            self.copies(input, &mut sections);
        }
        if what & 4 != 0 {
            self.slots(input, false, |tile, slot| sections.uncover(tile, slot));
        }
        for round in 0..1 + (what >> 4 & 3) as usize {
            if round > 0 && round <= HARVESTS_MAX && sections.has_open_tiles() {
                sections.harvest();
            }
            self.tiles(input, &mut sections);
        }
        if what & 8 != 0 {
            self.slots(input, true, |tile, slot| sections.amend(tile, slot));
        }
        sections.finish(&mut out);
        out
    }

    /// Some tiles, ascending, with slots, of which each comes once if they are to be written.
    fn slots(&self, input: &mut Input, is_writing: bool, mut each: impl FnMut(TileIndex, u32)) {
        let count = TileGrid::new(self.size).count();
        let (mut tile, mut taken) = (input.byte() % 4, BTreeSet::new());
        for _ in 0..1 + input.byte() % 8 {
            let slot = slot(input);
            if tile < count && (taken.insert(slot) || !is_writing) {
                each(TileIndex(tile), slot);
            }
            tile += 1 + input.byte() % 3;
        }
    }

    fn copies(&self, input: &mut Input, sections: &mut SectionWriter) {
        let mut taken: Vec<Rect> = Vec::new();
        for _ in 0..(1 + input.byte() as usize % 8).min(COPIES_MAX) {
            let source = input.rect(self.size);
            let (x, y) = (input.byte() % (self.size.w - source.w + 1), input.byte() % (self.size.h - source.h + 1));
            let copy = CopyRect { source, x, y };
            if taken.iter().all(|other| !other.intersects(copy.destination())) {
                taken.push(copy.destination());
                sections.copy(copy);
            }
        }
    }

    fn tiles(&mut self, input: &mut Input, sections: &mut SectionWriter) {
        let grid = TileGrid::new(self.size);
        let mut tile = input.byte() % 4;
        for _ in 0..input.byte() % 12 {
            if tile >= grid.count() {
                break;
            }
            let (index, visible) = (TileIndex(tile), grid.visible(TileIndex(tile)).0);
            let free = visible & !self.written[tile as usize];
            let what = input.byte();
            let blocks = if what & 0x80 != 0 { free & input.word() as u16 } else { free };
            if blocks != 0 && what & 0xf == 1 && free == visible {
                sections.cache(index, slot(input));
                self.written[tile as usize] = visible;
            } else if blocks != 0 {
                let mask = (blocks != visible).then_some(BlockMask(blocks));
                self.record(input, sections, what & 0xf, (index, mask, BlockMask(blocks)));
                self.written[tile as usize] |= blocks;
            }
            tile += input.byte() % 3;
        }
    }

    fn record(
        &mut self,
        input: &mut Input,
        sections: &mut SectionWriter,
        mode: u32,
        (tile, mask, blocks): (TileIndex, Option<BlockMask>, BlockMask),
    ) {
        let count = blocks.count() as usize * BLOCK_PIXELS;
        let mut payload = Vec::new();
        match mode {
            0 => sections.solid(tile, mask, input.color()),
            2 => {
                let mut random = input.random();
                let colors: Vec<u32> = (0..2 + input.byte() % 15).map(|_| random.next() & 0x00ff_ffff).collect();
                let indices: Vec<u8> = (0..count).map(|_| random.below(colors.len() as u32) as u8).collect();
                sections.pack(tile, mask, &colors, &indices);
            }
            3 => {
                let pixels = input.pixels();
                sections.raw(tile, mask, &pixels[..count]);
            }
            4..=6 => {
                let (pixels, quantiser) = (input.pixels(), input.byte() as u8 % 8);
                WaveEncoder::new().write(&pixels, blocks, quantiser, &mut payload);
                sections.wave(tile, mask, &payload);
            }
            7 => {
                wild_wave(input, &mut payload);
                sections.wave(tile, mask, &payload);
            }
            8..=10 => {
                let set = (input.byte() % SETS as u32) as u8;
                wild_ctx(input, blocks, &mut payload);
                sections.ctx(tile, mask, set, &payload);
            }
            _ => {
                // It is decoded with what was harvested and is there, which is not what it was made with: alike everywhere,
                // all the same.
                let what = input.byte();
                let (dictionary, pixels) = ((!what.is_multiple_of(4)).then(Dictionary::new), input.pixels());
                let former = (what % 4 > 1).then(|| input.pixels());
                let measured = self.ctx.measure(&pixels, former.as_ref(), blocks, dictionary.as_ref(), &COSTS);
                self.ctx.write(&measured, &COSTS, &mut payload);
                sections.ctx(tile, mask, measured.set, &payload);
            }
        }
    }
}

/// Slots in use: few, so that they are written and read often, and those at the end.
fn slot(input: &mut Input) -> u32 {
    let slot = input.byte() % 20;
    if slot < 16 { slot } else { CACHE_SLOTS - 1 - slot % 4 }
}

/// A payload of mode CTX as no encoder makes it: its front by the rules, its lanes of any words.
fn wild_ctx(input: &mut Input, blocks: BlockMask, payload: &mut Vec<u8>) {
    let mut flags = input.byte() as u8;
    // Mesa in software ends a shader's loops after some 65000 turns of all of them together, so a lane has 16 rows at most.
    // Our encoder gives so many rows to calm tiles only; other adapters have no such end.
    let bands = (0..4).filter(|i| band(blocks, *i) != 0).count();
    flags = flags & !3 | (flags & 3).max(bands.next_power_of_two().ilog2() as u8);
    // The dictionary is there only where colours are recalled.
    let has_dictionary = flags >> 7 == 1 && flags >> 3 & 1 == 1;
    let has_former = has_dictionary && usize::from(flags >> 5 & 3) == COLORS_MAX;
    if has_former {
        flags &= !0x10;
    }
    let named = usize::from(flags >> 5 & 3) % COLORS_MAX;
    let bits = if has_former { COLORS_MAX } else { named };
    payload.push(flags & 0x1f | (bits as u8) << 5 | u8::from(has_dictionary) << 7);
    for _ in 0..=named {
        let color = input.color().to_le_bytes();
        payload.extend(&color[..if flags >> 2 & 1 == 1 { 1 } else { 3 }]);
    }
    if flags >> 4 & 1 == 1 {
        // The first coded row repeats none.
        let mut first = !1;
        for _ in (0..4).filter(|i| band(blocks, *i) != 0) {
            payload.extend((input.word() as u16 & first).to_le_bytes());
            first = !0;
        }
    }
    let lanes = 1 << (flags & 3);
    let lengths: Vec<u32> = (0..lanes).map(|_| 2 + input.byte()).collect();
    lengths.iter().for_each(|length| put_varint(payload, *length));
    let mut random = input.random();
    for i in 0..lengths.iter().sum() {
        // A few words of the fuzzer's own, then as they come.
        let word = if i < 8 { input.word() } else { random.next() };
        payload.extend((word as u16).to_le_bytes());
    }
}

/// A payload of mode WAVE as no encoder makes it.
fn wild_wave(input: &mut Input, payload: &mut Vec<u8>) {
    let flags = input.word() as u16 & 0x7fff;
    payload.extend(flags.to_le_bytes());
    payload.extend(&input.color().to_le_bytes()[..3]);
    let lengths: Vec<u32> = (0..(flags & 0xfff).count_ones()).map(|_| 1 + input.byte() * 8).collect();
    lengths.iter().for_each(|length| put_varint(payload, *length));
    let mut random = input.random();
    for i in 0..lengths.iter().sum() {
        let byte = if i < 8 { input.byte() } else { random.next() };
        payload.push(byte as u8);
    }
}

// ---------------------------------------------------------------- a desktop

/// A host that draws a desktop and a viewer that holds the same pixels, whatever happens.
fn play_desktop(mut input: Input, each: &mut dyn FnMut(&Plan, &Picture)) {
    let size = input.screen();
    let mut desktop = Desktop::new(size, input.byte());
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            break;
        }
        desktop.step(&mut input);
        let how = input.byte();
        desktop.now += Duration::from_millis(u64::from(how & 0x1f) * 40);
        // Several steps may be one picture.
        if how & 0xc0 != 0 {
            desktop.send(how, each);
        }
    }
    desktop.settle(each);
}

#[derive(Clone, Copy)]
struct Window {
    rect: Rect,
    what: u32,
    /// Lines that it is scrolled by, or how far its picture has moved.
    offset: u32,
    /// Letters that were typed.
    typed: u32,
}

struct Desktop {
    now: Duration,
    wallpaper: u32,
    /// The last one is on top.
    windows: Vec<Window>,
    picture: Picture,
    encoder: Encoder,
    assembler: Assembler,
    canvas: Canvas,
}

impl Desktop {
    fn new(size: Size, wallpaper: u32) -> Self {
        let mut desktop = Self {
            now: Duration::ZERO,
            wallpaper,
            windows: Vec::new(),
            picture: Picture::new(size),
            encoder: Encoder::new(size),
            assembler: Assembler::new(),
            canvas: Canvas::new(),
        };
        desktop.draw(size.rect());
        desktop
    }

    /// Draws what is to be seen in a rectangle, as the X server would.
    fn draw(&mut self, rect: Rect) {
        let size = self.picture.size;
        let rect = rect.intersection(size.rect());
        let below = Window { rect: size.rect(), what: self.wallpaper, offset: 0, typed: u32::MAX };
        for window in std::iter::once(&below).chain(&self.windows) {
            let part = window.rect.intersection(rect);
            for y in part.y..part.bottom() {
                for x in part.x..part.right() {
                    let pixel = window.pixel(x - window.rect.x, y - window.rect.y);
                    // The top byte is undefined.
                    self.picture.pixels[(y * size.w + x) as usize] = pixel | window.what << 24;
                }
            }
        }
        self.encoder.handle_damage(rect);
    }

    fn step(&mut self, input: &mut Input) {
        let (what, size) = (input.byte(), self.picture.size);
        let which = (what >> 4) as usize % self.windows.len().max(1);
        match what & 0xf {
            0 | 1 if self.windows.len() < WINDOWS_MAX => {
                let window = Window { rect: input.rect(size), what: input.byte(), offset: 0, typed: input.byte() };
                if what & 1 == 0 {
                    self.encoder.handle_mapped(window.rect);
                }
                self.windows.push(window);
                self.draw(window.rect);
            }
            2 if !self.windows.is_empty() => {
                let window = self.windows.remove(which);
                self.draw(window.rect);
            }
            3 if !self.windows.is_empty() => {
                let window = self.windows.remove(which);
                self.windows.push(window);
                self.draw(window.rect);
            }
            4..=6 if !self.windows.is_empty() => {
                let window = &mut self.windows[which];
                let before = window.rect;
                let by = |at: u32, by: u32, side: u32| (at + by).saturating_sub(128).min(side - 1);
                (window.rect.x, window.rect.y) =
                    (by(before.x, input.byte(), size.w), by(before.y, input.byte(), size.h));
                let after = window.rect;
                self.draw(before);
                self.draw(after);
            }
            7 | 8 if !self.windows.is_empty() => {
                let window = &mut self.windows[which];
                window.offset = window.offset.wrapping_add(input.byte()).wrapping_sub(128) & 0xffff;
                let rect = window.rect;
                self.draw(rect);
            }
            9 | 10 if !self.windows.is_empty() => {
                let window = &mut self.windows[which];
                window.typed += 1 + input.byte() % 8;
                let rect = window.rect;
                self.draw(rect);
            }
            11 => {
                let scarce = [Scarce::Bytes, Scarce::Time, Scarce::Decoding];
                self.encoder.handle_scarce(scarce[(what >> 4) as usize % 3]);
            }
            12 if what & 0x80 != 0 => self.encoder.handle_refresh(),
            13 if what & 0x80 != 0 => {
                let size = input.screen();
                self.picture = Picture::new(size);
                self.encoder.handle_resize(size);
                self.draw(size.rect());
            }
            14 => {
                // Programs report more than they change.
                self.encoder.handle_damage(input.rect(size));
            }
            _ => self.now += Duration::from_millis(u64::from(input.byte()) * 8),
        }
    }

    /// Sends the picture, then what refines it and is due.
    fn send(&mut self, how: u32, each: &mut dyn FnMut(&Plan, &Picture)) {
        let budget = if how & 0x20 != 0 { 1_500 } else { FRAME_BYTES_TARGET };
        let mut frames = Vec::new();
        while self.encoder.has_work() {
            frames.extend(self.encoder.encode(&View::of(&self.picture), 0, self.now, budget));
            assert!(frames.len() < FRAMES_MAX, "the picture never ends");
        }
        deliver(frames, how, &mut self.assembler, &mut self.canvas, each);
        self.refine(self.now, how, each);
        // What is written with loss the host holds as it should be.
        let is_known = !self.assembler.is_exact() || self.canvas.screen == *self.encoder.held();
        assert!(is_known, "the host does not know what the viewer holds");
    }

    /// Writes what refines the picture and is due by then.
    fn refine(&mut self, until: Duration, how: u32, each: &mut dyn FnMut(&Plan, &Picture)) {
        let budget = if how & 0x20 != 0 { 1_500 } else { FRAME_BYTES_TARGET };
        let mut frames = Vec::new();
        for turn in 0.. {
            let Some(at) = self.encoder.refine_at().filter(|at| *at <= until) else { break };
            self.now = self.now.max(at);
            frames.extend(self.encoder.refine(0, self.now, budget));
            assert!(turn < FRAMES_MAX, "refinement never ends");
        }
        deliver(frames, how, &mut self.assembler, &mut self.canvas, each);
    }

    /// Nothing happens any more: the picture becomes exact, and both ends agree that it is.
    fn settle(&mut self, each: &mut dyn FnMut(&Plan, &Picture)) {
        self.send(0, each);
        self.refine(Duration::MAX, 0, each);
        assert!(self.assembler.is_exact(), "the viewer waits for more");
        let same = |(a, b): (&u32, &u32)| a & 0x00ff_ffff == *b;
        assert!(self.picture.pixels.iter().zip(&self.canvas.screen.pixels).all(same), "pixels differ");
        for turn in 0.. {
            let Some(at) = self.encoder.mark_at() else { break };
            self.now = self.now.max(at);
            let asked = self.encoder.marks(self.now).expect("its time has come");
            let grid = self.assembler.marked_tiles(&asked).expect("they are about this picture");
            let jobs = marks::jobs(grid, asked.first, asked.marks.len() as u32);
            let mut found = Picture::new(mark::MARKS_SIZE);
            mark::run(&jobs, &self.canvas.screen, &mut found);
            let wrong = self.assembler.handle_marks(&asked, &marks::marks_of(&found, jobs.len() as u32));
            let answer = marks::Agreement { sequence: asked.sequence, first: asked.first, wrong };
            assert_eq!(self.encoder.handle_agreement(&answer), 0, "tiles are wrong");
            assert!(turn < FRAMES_MAX, "marks never end");
        }
        assert!(self.assembler.is_agreed(), "the viewer does not know that it is exact");
    }
}

/// Applies an encoder's frames in an order that depends on `how`, as far as frames in flight may overtake each other.
pub fn deliver(
    mut frames: Vec<Vec<u8>>,
    how: u32,
    assembler: &mut Assembler,
    canvas: &mut Canvas,
    each: &mut dyn FnMut(&Plan, &Picture),
) {
    for group in frames.chunks_mut(8) {
        let by = how as usize % group.len();
        group.rotate_left(by);
        for frame in group {
            assert!(frame.len() <= FRAME_BYTES_MAX);
            assembler.handle_frame(Bytes::copy_from_slice(frame)).expect("our own frame");
            while let Some(update) = assembler.poll_update().expect("our own frame") {
                canvas.apply(&update.plan);
                each(&update.plan, &canvas.screen);
            }
        }
    }
}

impl Window {
    /// What the window shows at a place of its own.
    fn pixel(&self, x: u32, y: u32) -> u32 {
        let Window { rect, what, offset, typed } = *self;
        let (paper, tint) = (0x00ff_ffff - (what & 0x18) * 0x0001_0200, (what >> 5) * 0x0020_1008);
        match what % 8 {
            0 => paper ^ tint,
            // A photo: soft, with some noise.
            1 | 2 => {
                let x = x.wrapping_add(offset);
                let noise = (x.wrapping_mul(0x9e37_79b9) ^ y.wrapping_mul(0x85eb_ca6b)).wrapping_mul(0xc2b2_ae35) >> 29;
                (((x + 2 * y) / 2 % 200 + noise) * 0x0001_0101) ^ (tint & 0x0030_3030)
            }
            3 => tint ^ ((x + 3 * y.wrapping_add(offset)) % (2 + what % 11) * 0x0011_2233),
            // Text, page after page.
            _ => {
                let y = y.wrapping_add(offset);
                let (line, column) = (y / 15, x / 8);
                let at = line.wrapping_mul(rect.w / 8).wrapping_add(column);
                let which = (line.wrapping_mul(0x9e37_79b1) ^ column.wrapping_mul(0x85eb_ca6b) ^ what) >> 7;
                let is_there = at < typed.saturating_mul(4) && which % 6 > 0 && y % 15 < 9;
                let ink = if is_there { ink(which % 24, x % 8, y % 15) } else { 0 };
                paper.wrapping_sub(ink * (0x0020_2020 ^ (tint & 0x0010_1010))) & 0x00ff_ffff
            }
        }
    }
}

/// How dark a letter is at a place, 0 to 7.
fn ink(which: u32, x: u32, y: u32) -> u32 {
    (which + 3 * x).wrapping_mul(x ^ (y + which)).wrapping_mul(0x9e37_79b1) >> 29
}
