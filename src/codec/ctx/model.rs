//! Walks over a tile's pixels and asks a [`Coder`] for one choice after the other; encoder and decoder share this walk.
//!
//! Several lanes decode rows at the same time, each eight pixels behind the row above. In one step every lane handles
//! one pixel; what the lanes remember in a step, they see in the next. Tried and dropped, with figures: CODEC.md.

use super::dictionary::{Dictionary, Place};
use super::tables::{FLAT, GREEN, HIT, LUMA, ORANGE, SAME, TINT};
use super::{BEYOND_BOTTOM, BEYOND_RIGHT, COLORS_MAX, Head, LANES_MAX, Rows, STAGGER};
use crate::geom::{BLOCK, TILE};

/// Words from one canvas row to the next: 4 of margin on each side.
const STRIDE: usize = 72;
const MARGIN: usize = 4;
/// The canvas is a power of two, so that an index can be masked instead of checked.
const CANVAS: usize = 8192;
/// Entries of each table of colours seen before.
pub const RECALL_SLOTS: usize = 1024;

/// Of the eight choices of a pixel the first of the tile's own colours.
pub const FIRST_COLOR: usize = 4;

/// What is at stake when a pixel is coded.
pub trait Coder {
    /// The pixel that an encoder knows; a decoder returns anything.
    fn truth(&self, row: usize, x: usize) -> u32;
    /// A choice of two.
    fn flag(&mut self, lane: usize, context: usize, truth: bool) -> bool;
    /// A choice of eight.
    fn pixel(&mut self, lane: usize, context: usize, truth: usize) -> usize;
    /// A choice of 31.
    fn token(&mut self, lane: usize, context: usize, truth: usize) -> usize;
    /// Bits without a model.
    fn raw(&mut self, lane: usize, bits: u32, truth: u32) -> u32;
    /// What was there before the frame; a decoder may return [`BEYOND_RIGHT`] or [`BEYOND_BOTTOM`].
    fn former(&self, row: usize, x: usize) -> u32;
    /// What the dictionary has for a pixel, by twelve neighbours and by seven. An encoder, which knows all pixels, may have
    /// looked before.
    fn recalled(&self, _row: usize, _x: usize, look_up: impl FnOnce() -> [u32; 2]) -> [u32; 2] {
        look_up()
    }
}

/// The memory of a walk, for use again and again.
pub struct Canvas {
    pixels: Box<[u32; CANVAS]>,
    long: Box<[u32; RECALL_SLOTS]>,
    short: Box<[u32; RECALL_SLOTS]>,
    tints: Box<[u32; 256]>,
    /// For each list row, from the second above it on, a bit for each eight pixels that are not what they were; bit 0 is
    /// the margin at the left.
    changed: [u16; TILE as usize + 2],
}

/// What a lane wants to remember after a step.
#[derive(Clone, Copy, Default)]
struct Note {
    /// Slot of the long table, and of the short one `<< 16`.
    slots: u32,
    /// The entry for the long table; 0 for nothing.
    entry: u32,
    /// The colour of a literal with bit 24 set; 0 for nothing.
    tint: u32,
    /// Its brightness.
    luma: u32,
}

impl Default for Canvas {
    fn default() -> Self {
        Self::new()
    }
}

impl Canvas {
    /// Memory for one walk at a time.
    pub fn new() -> Self {
        Self {
            pixels: Box::new([0; CANVAS]),
            long: Box::new([0; RECALL_SLOTS]),
            short: Box::new([0; RECALL_SLOTS]),
            tints: Box::new([0; 256]),
            changed: [0; TILE as usize + 2],
        }
    }

    /// The pixels of a list row.
    pub fn row(&self, row: usize) -> &[u32] {
        &self.pixels[at(row, 0)..][..TILE as usize]
    }

    /// Codes all pixels.
    pub fn walk(&mut self, head: &Head, rows: &Rows, dictionary: &Dictionary, coder: &mut impl Coder) {
        self.pixels[..at(rows.count, 0)].fill(head.colors[0]);
        if head.recall {
            self.long.fill(0);
            self.short.fill(0);
            self.tints.fill(0);
        }
        if head.former {
            self.changed.fill(0);
        }
        match head.lanes {
            1 => self.steps::<1>(head, rows, dictionary, coder),
            2 => self.steps::<2>(head, rows, dictionary, coder),
            4 => self.steps::<4>(head, rows, dictionary, coder),
            _ => self.steps::<LANES_MAX>(head, rows, dictionary, coder),
        }
    }

    fn steps<const K: usize>(&mut self, head: &Head, rows: &Rows, dictionary: &Dictionary, coder: &mut impl Coder) {
        let mut runs = [0; K];
        let mut skips = [0; K];
        let mut notes = [Note::default(); K];
        for step in 0..rows.steps(K) {
            if head.recall {
                for note in &mut notes {
                    self.remember(note);
                }
            }
            for lane in 0..K {
                let since = step.wrapping_sub(STAGGER * lane);
                let (x, row) = (since % 64, (since / 64).saturating_mul(K).saturating_add(lane));
                if row >= rows.count {
                    continue;
                }
                let here = at(row, x);
                if x == 0 {
                    let above = self.pixel(here - STRIDE);
                    self.pixels[here - MARGIN..here].fill(above);
                    runs[lane] = 0;
                }
                if rows.blocks[row] >> (x / BLOCK as usize) & 1 == 1 {
                    if skips[lane] > 0 {
                        skips[lane] -= 1;
                    } else {
                        let (run, note) = (&mut runs[lane], &mut notes[lane]);
                        skips[lane] = self.code(head, dictionary, coder, lane, row, x, run, note);
                    }
                }
                if x == 63 {
                    let last = self.pixel(here);
                    self.pixels[here + 1..here + 1 + MARGIN].fill(last);
                }
            }
        }
    }

    /// Codes one pixel, or eight if they are flat; returns how many after this one are done as well.
    #[allow(clippy::too_many_arguments, reason = "the lane's state, borrowed apart")]
    #[inline(always)]
    fn code(
        &mut self,
        head: &Head,
        dictionary: &Dictionary,
        coder: &mut impl Coder,
        lane: usize,
        row: usize,
        x: usize,
        run: &mut u32,
        note: &mut Note,
    ) -> usize {
        let here = at(row, x);
        let above = here - STRIDE;
        let around = self.around(here);
        let Around { w, ww, n, nw, ne, nee, nn } = around;
        let truth = coder.truth(row, x);
        if head.former && x.is_multiple_of(8) {
            // Above at the right is decided in the same step.
            let octet = x / 8;
            let [above_above, above, left] = [0, 1, 2].map(|i| self.changed[(row + i) % (TILE as usize + 2)] >> octet);
            let context = SAME + usize::from(above & 3 | (left & 1) << 2 | (above_above >> 1 & 1) << 3);
            if coder.flag(lane, context, (0..8).all(|i| coder.truth(row, x + i) == coder.former(row, x + i))) {
                for i in 0..8 {
                    let at = here + i;
                    self.pixels[at % CANVAS] = match coder.former(row, x + i) {
                        BEYOND_RIGHT => self.pixel(at - 1),
                        BEYOND_BOTTOM => self.pixel(at - STRIDE),
                        color => color,
                    };
                }
                *run = 0;
                return 7;
            }
            self.changed[(row + 2) % (TILE as usize + 2)] |= 2 << octet;
        }
        if x.is_multiple_of(8) && w == nw && self.is_flat(above, w) {
            let context = FLAT + usize::from(self.is_flat(above - STRIDE, w)) + 2 * usize::from(ww == w);
            if coder.flag(lane, context, (0..8).all(|i| coder.truth(row, x + i) == w)) {
                for i in 0..8 {
                    self.pixels[(here + i) % CANVAS] = w;
                }
                *run = 0;
                return 7;
            }
        }
        let mut relation = 0;
        if head.recall && !around.is_flat() {
            let (near, far) = around.hashes();
            let (slot, short_slot) = (far >> 22, near >> 22);
            let check = (far >> 14 & 0xff) | 1;
            let (long, short) = (self.long[slot as usize], self.short[short_slot as usize]);
            let long = if long >> 24 == check { long } else { 0 };
            let (kind, seen) = if head.dictionary {
                let look_up = || self.places(here, far).map(|place| dictionary.at(place));
                candidate(coder.recalled(row, x, look_up), long, short)
            } else if long != 0 {
                (LONG, long)
            } else {
                (SHORT, short)
            };
            if seen != 0 {
                let color = seen & 0x00ff_ffff;
                relation = if color == w {
                    1
                } else if color == n {
                    2
                } else {
                    3
                };
                let context = HIT + kind * 32 + run_class(*run) * 4 + relation;
                if coder.flag(lane, context, color == truth) {
                    *run += 1;
                    self.pixels[here % CANVAS] = color;
                    *note = Note { slots: slot | short_slot << 16, entry: color | check << 24, tint: 0, luma: 0 };
                    return 0;
                }
                *run = 0;
            }
            *note = Note { slots: slot | short_slot << 16, entry: check << 24, tint: 0, luma: 0 };
        }
        let equal = usize::from(w == n)
            | usize::from(w == nw) << 1
            | usize::from(n == nw) << 2
            | usize::from(n == ne) << 3
            | usize::from(w == ww) << 4
            | usize::from(n == nn) << 5
            | usize::from(ne == w) << 6
            | usize::from(ne == nee) << 7;
        let known = [w, n, nw, ne, head.colors[0], head.colors[1], head.colors[2]];
        let which = known.iter().position(|c| *c == truth).unwrap_or(7);
        let which = coder.pixel(lane, equal | relation << 8, which);
        let color = if which < 7 { known[which] } else { self.literal(head, coder, lane, &around, truth, note) };
        self.pixels[here % CANVAS] = color;
        if note.entry != 0 {
            note.entry |= color;
        }
        0
    }

    #[inline(always)]
    fn literal(
        &self,
        head: &Head,
        coder: &mut impl Coder,
        lane: usize,
        around: &Around,
        truth: u32,
        note: &mut Note,
    ) -> u32 {
        let (w, n, nw) = (Tone::of(around.w), Tone::of(around.n), Tone::of(around.nw));
        let ne = Tone::of(around.ne);
        let want = Tone::of(truth);
        let guess = median(w.luma, n.luma, nw.luma);
        let spread = (w.luma - nw.luma).abs() + (n.luma - nw.luma).abs() + (n.luma - ne.luma).abs();
        let context = LUMA + spread_class(spread) * 4 + (guess >> 6) as usize;
        let off = residual(coder, lane, context, wrap(want.luma - guess, 8));
        let luma = (guess + off) & 0xff;
        if head.grey {
            return luma as u32 * 0x01_0101;
        }
        if head.recall {
            let seen = self.tints[luma as usize];
            note.luma = luma as u32;
            if seen != 0 {
                let color = seen & 0x00ff_ffff;
                let spread = (w.orange - n.orange).abs() + (w.green - n.green).abs();
                if coder.flag(lane, TINT + tint_class(spread), color == truth) {
                    return color;
                }
            }
        }
        let guess = median(w.orange, n.orange, nw.orange);
        let spread = (w.orange - nw.orange).abs() + (n.orange - nw.orange).abs();
        let context = ORANGE + tint_class(spread) * 5 + tint_class(off.abs()).min(4);
        let off = residual(coder, lane, context, wrap(want.orange - guess, 9));
        let orange = wrap(guess + off, 9);
        let guess = median(w.green, n.green, nw.green);
        let spread = (w.green - nw.green).abs() + (n.green - nw.green).abs();
        let context = GREEN + tint_class(spread) * 5 + tint_class(off.abs()).min(4);
        let off = residual(coder, lane, context, wrap(want.green - guess, 9));
        let color = Tone { luma, orange, green: wrap(guess + off, 9) }.color();
        if head.recall {
            note.tint = color | 1 << 24;
        }
        color
    }

    #[inline(always)]
    fn remember(&mut self, note: &mut Note) {
        if note.entry != 0 {
            self.long[note.slots as usize % RECALL_SLOTS] = note.entry;
            self.short[(note.slots >> 16) as usize % RECALL_SLOTS] = note.entry & 0x00ff_ffff | 1 << 24;
            note.entry = 0;
        }
        if note.tint != 0 {
            self.tints[note.luma as usize % 256] = note.tint;
            note.tint = 0;
        }
    }

    #[inline(always)]
    fn around(&self, here: usize) -> Around {
        let above = here - STRIDE;
        Around {
            w: self.pixel(here - 1),
            ww: self.pixel(here - 2),
            n: self.pixel(above),
            nw: self.pixel(above - 1),
            ne: self.pixel(above + 1),
            nee: self.pixel(above + 2),
            nn: self.pixel(above - STRIDE),
        }
    }

    /// The hash of twelve neighbours, of which seven are hashed already.
    #[inline(always)]
    fn wide_hash(&self, here: usize, far: u32) -> u32 {
        let above = here - STRIDE;
        far.wrapping_add(self.pixel(above + 3).wrapping_mul(0xb529_7a4d))
            .wrapping_add(self.pixel(above - 2).wrapping_mul(0x68e3_1da5))
            .wrapping_add(self.pixel(above - STRIDE + 1).wrapping_mul(0x1b56_c4e9))
            .wrapping_add(self.pixel(above - STRIDE - 1).wrapping_mul(0x7fed_7fd7))
            .wrapping_add(self.pixel(here - 3).wrapping_mul(0x4d2c_ba97))
    }

    /// Where the dictionary has a pixel: by twelve neighbours, and by the seven that are hashed already.
    #[inline(always)]
    fn places(&self, here: usize, far: u32) -> [Place; 2] {
        [Place::wide(self.wide_hash(here, far)), Place::far(far)]
    }

    /// Puts the rows of a decoded tile back on the canvas; `pixel` knows the coded ones by tile row and column.
    pub fn restore(&mut self, back: u32, rows: &Rows, pixel: impl Fn(u32, u32) -> u32) {
        self.pixels[..at(rows.count, 0)].fill(back);
        for row in 0..rows.count {
            let here = at(row, 0);
            let above = self.pixel(here - STRIDE);
            self.pixels[here - MARGIN..here].fill(above);
            for x in (0..TILE).filter(|x| rows.blocks[row] >> (x / BLOCK) & 1 == 1) {
                self.pixels[here + x as usize] = pixel(rows.y[row].into(), x);
            }
            let last = self.pixel(here + 63);
            self.pixels[here + 64..here + 64 + MARGIN].fill(last);
        }
    }

    /// Calls `each` with row and column, the places in the dictionary, and the colour of every coded pixel whose
    /// surroundings are not flat.
    pub fn entries(&self, rows: &Rows, mut each: impl FnMut((usize, usize), [Place; 2], u32)) {
        for row in 0..rows.count {
            for octet in (0..TILE as usize / 8).filter(|o| rows.blocks[row] >> (o / 2) & 1 == 1) {
                let start = at(row, 8 * octet);
                if self.is_calm(start) {
                    continue;
                }
                for x in 8 * octet..8 * octet + 8 {
                    let here = at(row, x);
                    let around = self.around(here);
                    if !around.is_flat() {
                        let (_, far) = around.hashes();
                        each((row, x), self.places(here, far), self.pixel(here));
                    }
                }
            }
        }
    }

    /// Whether all neighbours that make surroundings flat have one colour, for eight pixels from `start` on.
    #[inline(always)]
    fn is_calm(&self, start: usize) -> bool {
        let color = self.pixel(start - 1);
        let alike = |pixels: &[u32]| pixels.iter().fold(0, |difference, p| difference | (p ^ color)) == 0;
        let above = start - STRIDE;
        alike(&self.pixels[start - 2..start + 7]) && alike(&self.pixels[above - 1..above + 10])
    }

    #[inline(always)]
    fn pixel(&self, index: usize) -> u32 {
        self.pixels[index % CANVAS]
    }

    /// Whether eight pixels have this colour.
    #[inline(always)]
    fn is_flat(&self, start: usize, color: u32) -> bool {
        let start = start % (CANVAS - 8);
        let pixels: &[u32] = &self.pixels[start..start + 8];
        pixels.iter().fold(0, |difference, p| difference | (p ^ color)) == 0
    }
}

/// Where a pixel of a list row is; rows -2 and -1 are background.
const fn at(row: usize, x: usize) -> usize {
    (row + 2) * STRIDE + MARGIN + x
}

/// Kinds of candidates: the tile's own, with seven neighbours or three.
const LONG: usize = 0;
const SHORT: usize = 1;
/// Twelve neighbours, and the tile's own seven say the same, or something else.
const WIDE_AND_LONG: usize = 2;
const DISPUTED: usize = 3;
/// Twelve neighbours alone; the dictionary's seven say the same, or not.
const WIDE_AND_FAR: usize = 4;
const WIDE: usize = 5;
/// The tile's own seven neighbours and the dictionary's agree.
const LONG_AND_FAR: usize = 6;
/// The dictionary's seven neighbours alone.
const FAR: usize = 7;

/// The best of what is remembered, and how much it is worth; each is a colour with bits above it, or 0.
#[inline(always)]
fn candidate([wide, far]: [u32; 2], long: u32, short: u32) -> (usize, u32) {
    let agree = |a: u32, b: u32| (a ^ b) & 0x00ff_ffff == 0;
    match (wide != 0, long != 0, far != 0) {
        (true, true, _) => (if agree(wide, long) { WIDE_AND_LONG } else { DISPUTED }, wide),
        (true, false, _) => (if far != 0 && agree(wide, far) { WIDE_AND_FAR } else { WIDE }, wide),
        (false, true, true) => (if agree(long, far) { LONG_AND_FAR } else { DISPUTED }, long),
        (false, true, false) => (LONG, long),
        (false, false, true) => (FAR, far),
        (false, false, false) => (SHORT, short),
    }
}

/// The neighbours of a pixel.
#[derive(Clone, Copy)]
struct Around {
    w: u32,
    ww: u32,
    n: u32,
    nw: u32,
    ne: u32,
    nee: u32,
    nn: u32,
}

impl Around {
    #[inline(always)]
    fn is_flat(self) -> bool {
        let Self { w, ww, n, nw, ne, nee, .. } = self;
        w == n && n == nw && n == ne && w == ww && n == nee
    }

    /// Hashes of three and of seven neighbours.
    #[inline(always)]
    fn hashes(self) -> (u32, u32) {
        let near = self.w.wrapping_mul(0x9e37_79b1).wrapping_add(self.n.wrapping_mul(0x85eb_ca6b));
        let near = near.wrapping_add(self.ne.wrapping_mul(0xc2b2_ae35));
        let far = near.wrapping_add(self.nw.wrapping_mul(0x27d4_eb2f)).wrapping_add(self.nee.wrapping_mul(0x1656_67b1));
        let far = far.wrapping_add(self.ww.wrapping_mul(0xd3a2_646d)).wrapping_add(self.nn.wrapping_mul(0xfd70_46c5));
        (near, far)
    }
}

/// A colour as YCoCg-R: exactly reversible, with differences of nine bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tone {
    /// Brightness, 0 to 255.
    pub luma: i32,
    /// Red minus blue, -255 to 255.
    pub orange: i32,
    /// Green minus the rest, -255 to 255.
    pub green: i32,
}

impl Tone {
    /// Splits 0xRRGGBB.
    #[inline(always)]
    pub fn of(color: u32) -> Self {
        let (r, g, b) = ((color >> 16 & 0xff) as i32, (color >> 8 & 0xff) as i32, (color & 0xff) as i32);
        let orange = r - b;
        let t = b + (orange >> 1);
        let green = g - t;
        Self { luma: t + (green >> 1), orange, green }
    }

    /// Puts it together again; whatever the values are, each channel keeps its low eight bits.
    #[inline(always)]
    pub fn color(self) -> u32 {
        let t = self.luma - (self.green >> 1);
        let g = self.green + t;
        let b = t - (self.orange >> 1);
        let r = b + self.orange;
        ((r & 0xff) << 16 | (g & 0xff) << 8 | b & 0xff) as u32
    }
}

/// Of gradient and neighbours the one in the middle.
#[inline(always)]
fn median(w: i32, n: i32, nw: i32) -> i32 {
    let (low, high) = (w.min(n), w.max(n));
    (w + n - nw).clamp(low, high)
}

/// The low bits as a signed number.
#[inline(always)]
fn wrap(value: i32, bits: u32) -> i32 {
    value << (32 - bits) >> (32 - bits)
}

/// Smallest size of each bucket of a residual.
pub const BUCKET_START: [u16; 16] = [0, 1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129];
/// Bits that tell the sizes of a bucket apart.
pub const BUCKET_BITS: [u8; 16] = [0, 0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 7];

/// Codes a number from -256 to 255.
#[inline(always)]
fn residual(coder: &mut impl Coder, lane: usize, context: usize, truth: i32) -> i32 {
    let size = truth.unsigned_abs();
    let bucket = BUCKET_OF[size as usize % 512] as usize;
    // Token 0 is zero, odd ones are positive.
    let token = if bucket == 0 { 0 } else { 2 * bucket - usize::from(truth > 0) };
    let token = coder.token(lane, context, token);
    let bucket = token.div_ceil(2) % 16;
    let (start, bits) = (i32::from(BUCKET_START[bucket]), u32::from(BUCKET_BITS[bucket]));
    let mut size_found = start;
    if bits > 0 {
        size_found += coder.raw(lane, bits, size.wrapping_sub(start as u32)) as i32;
    }
    if token % 2 == 1 { size_found } else { -size_found }
}

const BUCKET_OF: [u8; 512] = {
    let mut of = [0; 512];
    let mut size = 1;
    while size < 512 {
        let before = of[size - 1];
        of[size] = if before < 15 && size as u16 == BUCKET_START[before as usize + 1] { before + 1 } else { before };
        size += 1;
    }
    of
};

fn run_class(run: u32) -> usize {
    match run {
        0..=2 => run as usize,
        3..=4 => 3,
        5..=8 => 4,
        9..=16 => 5,
        _ => 6,
    }
}

#[inline(always)]
fn class<const N: usize>(limits: [i32; N], value: i32) -> usize {
    limits.iter().map(|limit| usize::from(value > *limit)).sum()
}

#[inline(always)]
fn spread_class(spread: i32) -> usize {
    class([0, 2, 5, 10, 18, 32, 60, 110, 200], spread)
}

#[inline(always)]
fn tint_class(spread: i32) -> usize {
    class([0, 2, 6, 14, 40], spread)
}

const _: () = assert!(COLORS_MAX == 3);
