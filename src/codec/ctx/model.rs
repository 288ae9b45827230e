//! Walks over a tile's pixels and asks a [`Coder`] for one choice after the other; encoder and decoder share this walk.
//!
//! Several lanes decode rows at the same time, each eight pixels behind the row above. In one step every lane handles
//! one pixel; what the lanes remember in a step, they see in the next. Tried and dropped, with figures: CODEC.md.

mod survey;

pub use survey::{Entry, Seen, Survey};

use super::dictionary::{Dictionary, Place, Words, mix};
use super::tables::{FLAT, GREEN, HIT, LUMA, ORANGE, SAME, TINT};
use super::{BEYOND_BOTTOM, BEYOND_RIGHT, COLORS_MAX, Head, LANES_MAX, Rows, STAGGER, runs};
use crate::geom::TILE;
use multiversion::multiversion;

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
    /// All pixels are known and stand on the canvas before the walk, which then asks [`Coder::seen`] of each and writes none: so
    /// with an encoder.
    const KNOWS: bool;
    /// What is known of a pixel.
    fn seen(&self, row: usize, x: usize) -> Seen;
    /// A choice of two, which a decoder makes itself, as all that follow.
    fn flag(&mut self, lane: usize, context: usize, truth: bool) -> bool;
    /// A choice of eight.
    fn pixel(&mut self, lane: usize, context: usize, truth: usize) -> usize;
    /// A choice of 31.
    fn token(&mut self, lane: usize, context: usize, truth: usize) -> usize;
    /// Bits without a model.
    fn raw(&mut self, lane: usize, bits: u32, truth: u32) -> u32;
    /// What was there before the frame; a decoder may return [`BEYOND_RIGHT`] or [`BEYOND_BOTTOM`].
    fn former(&self, row: usize, x: usize) -> u32;
}

/// The memory of a walk, for use again and again.
#[derive(Clone)]
pub struct Canvas {
    pixels: Box<[u32; CANVAS]>,
    long: Box<[u32; RECALL_SLOTS]>,
    short: Box<[u32; RECALL_SLOTS]>,
    tints: Box<[u32; 256]>,
    /// For each list row, from the second above it on, a bit for each eight pixels that are not what they were; bit 0 is
    /// the margin at the left.
    changed: [u16; TILE as usize + 2],
    entries: Vec<Entry>,
    entries_count: usize,
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

/// A lane that codes pixels.
#[derive(Clone, Copy, Default)]
struct Lane {
    index: usize,
    row: usize,
    /// The first pixel of its octet.
    x: usize,
    /// Hits in a row.
    run: u32,
    /// Of four pixels: the row above them from [`MARGIN`] before on, what is known by it, and what they are.
    up: [u32; 12],
    above: Above<4>,
    pixels: [u32; 4],
    left: [u32; 3],
    sight: Sight,
    note: Note,
}

/// The neighbours of a pixel that it may be equal to.
struct Known {
    /// The three at the left, the nearest first.
    left: [u32; 3],
    n: u32,
    nw: u32,
    ne: u32,
}

impl Known {
    /// Of the pixel below `up[MARGIN + i]`.
    #[inline(always)]
    fn of<const M: usize>(left: [u32; 3], up: &[u32; M], i: usize) -> Self {
        Self { left, n: up[MARGIN + i], nw: up[MARGIN + i - 1], ne: up[MARGIN + i + 1] }
    }
}

impl Note {
    /// With the colour that the pixel has.
    #[inline(always)]
    fn told(mut self, color: u32) -> Self {
        if self.entry != 0 {
            self.entry |= color;
        }
        self
    }
}

impl Lane {
    /// The neighbours of one of the four pixels.
    #[inline(always)]
    fn known(&self, i: usize) -> Known {
        Known::of(self.left, &self.up, i)
    }
}

/// What the rows above say of some pixels, before the first of them is coded: parts of their hashes and comparisons. Several at
/// once are little dearer than one.
#[derive(Clone, Copy)]
struct Above<const N: usize> {
    near: [u32; N],
    far: [u32; N],
    wide: [u32; N],
    /// The bits of a pixel context that do not depend on what is at the left, and [`FLAT_ABOVE`].
    equal: [u32; N],
}

impl<const N: usize> Above<N> {
    /// Of two rows, each from [`MARGIN`] pixels before the first pixel on, which is above; the second is the upper one.
    #[inline(always)]
    fn of<const M: usize>(a: &[u32; M], b: &[u32; M]) -> Self {
        const { assert!(M >= N + 2 * MARGIN - 1) };
        let mut above = Above::default();
        for i in 0..N {
            let (nww, nw, n, ne, nee, neee) = (a[i + 2], a[i + 3], a[i + 4], a[i + 5], a[i + 6], a[i + 7]);
            let (nnw, nn, nne) = (b[i + 3], b[i + 4], b[i + 5]);
            let near = n.wrapping_mul(0x85eb_ca6b).wrapping_add(ne.wrapping_mul(0xc2b2_ae35));
            above.near[i] = near;
            above.far[i] = near
                .wrapping_add(nw.wrapping_mul(0x27d4_eb2f))
                .wrapping_add(nee.wrapping_mul(0x1656_67b1))
                .wrapping_add(nn.wrapping_mul(0xfd70_46c5));
            above.wide[i] = (neee.wrapping_mul(0xb529_7a4d))
                .wrapping_add(nww.wrapping_mul(0x68e3_1da5))
                .wrapping_add(nne.wrapping_mul(0x1b56_c4e9))
                .wrapping_add(nnw.wrapping_mul(0x7fed_7fd7));
            let is_flat = (n ^ nw) | (n ^ ne) | (n ^ nee) == 0;
            let equal = u32::from(n == nw) << 2 | u32::from(n == ne) << 3 | u32::from(n == nn) << 5;
            above.equal[i] = equal | u32::from(ne == nee) << 7 | u32::from(is_flat) << FLAT_ABOVE.trailing_zeros();
        }
        above
    }
}

impl<const N: usize> Default for Above<N> {
    fn default() -> Self {
        Self { near: [0; N], far: [0; N], wide: [0; N], equal: [0; N] }
    }
}

/// Bits of a pixel context that compare neighbours.
const EQUAL: u32 = 0xff;
/// The four pixels above that make surroundings flat are alike.
const FLAT_ABOVE: u32 = 1 << 8;

/// What is known of a pixel before it is coded.
#[derive(Clone, Copy, Default)]
struct Sight {
    /// The surroundings are not flat, and the tile recalls: what follows counts.
    is_open: bool,
    /// Of hashes of neighbours: what an entry of the long table carries above its colour (8 bits, of which the lowest is to be
    /// set), its slot there (10), and that in the short table (10).
    keys: u32,
    /// What the dictionary has.
    recalled: [u32; 2],
}

impl std::fmt::Debug for Canvas {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Canvas").finish_non_exhaustive()
    }
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
            entries: Vec::new(),
            entries_count: 0,
        }
    }

    /// The pixels of a list row.
    pub fn row(&self, row: usize) -> &[u32] {
        &self.pixels[at(row, 0)..][..TILE as usize]
    }

    /// Codes all pixels.
    pub fn walk<C: Coder>(&mut self, head: &Head, rows: &Rows, dictionary: &Dictionary, coder: &mut C) {
        if !C::KNOWS {
            self.pixels[..at(rows.count, 0)].fill(head.colors[0]);
        }
        if head.recall {
            self.long.fill(0);
            self.short.fill(0);
            self.tints.fill(0);
        }
        if head.former {
            self.changed.fill(0);
        }
        steps(self, head, rows, dictionary.words().filter(|_| head.dictionary), coder);
    }

    /// Decodes eight pixels of a lane that is alone in these steps.
    #[inline(always)]
    fn octet(&mut self, head: &Head, words: Option<&Words>, coder: &mut impl Coder, state: &mut Lane) {
        let Lane { index, row, x, mut run, .. } = *state;
        let start = at(row, x);
        let mut left = self.left(start);
        // What was already there stays as it is while these are coded.
        let up: [u32; 16] = *self.window(start - STRIDE - MARGIN);
        let above: Above<8> = Above::of(&up, self.window::<16>(start - 2 * STRIDE - MARGIN));
        let mut pixels = [0; 8];
        for (i, pixel) in pixels.iter_mut().enumerate() {
            let known = Known::of(left, &up, i);
            let sight = self.look(head, words, (&above, i), &known);
            let (color, note) = self.code(head, coder, index, above.equal[i], &known, &sight, &mut run);
            *pixel = color;
            self.remember(&note);
            left = [color, left[0], left[1]];
        }
        *self.window_mut(start) = pixels;
        state.run = run;
    }

    /// Decodes eight pixels of several lanes.
    #[inline(always)]
    fn octets(&mut self, head: &Head, words: Option<&Words>, coder: &mut impl Coder, lanes: &mut [Lane]) {
        for lane in &mut *lanes {
            lane.left = self.left(at(lane.row, lane.x));
        }
        for half in [0, 4] {
            for lane in &mut *lanes {
                let start = at(lane.row, lane.x + half);
                // Lanes are far enough apart: what is above these four is there.
                lane.up = *self.window(start - STRIDE - MARGIN);
                lane.above = Above::of(&lane.up, self.window::<12>(start - 2 * STRIDE - MARGIN));
                lane.sight = self.look(head, words, (&lane.above, 0), &lane.known(0));
            }
            for i in 0..4 {
                for lane in &mut *lanes {
                    let (equal, known) = (lane.above.equal[i], lane.known(i));
                    let (color, note) = self.code(head, coder, lane.index, equal, &known, &lane.sight, &mut lane.run);
                    lane.note = note;
                    lane.left = [color, lane.left[0], lane.left[1]];
                    lane.pixels[i] = color;
                    // The next pixel's entries in the dictionary are on their way while the other lanes are coded.
                    if i < 3 {
                        lane.sight = self.look(head, words, (&lane.above, i + 1), &lane.known(i + 1));
                    }
                }
                for lane in &*lanes {
                    self.remember(&lane.note);
                }
            }
            for lane in &*lanes {
                *self.window_mut(at(lane.row, lane.x + half)) = lane.pixels;
            }
        }
    }

    /// Codes eight pixels of some lanes, all of which are known.
    #[inline(always)]
    fn seen_octets<C: Coder>(&mut self, head: &Head, coder: &mut C, lanes: &mut [Lane]) {
        for i in 0..8 {
            for lane in &mut *lanes {
                let (row, x, here) = (lane.row, lane.x + i, at(lane.row, lane.x + i));
                let seen = coder.seen(row, x);
                let is_open = head.recall && seen.is_open();
                let sight = Sight { is_open, keys: seen.keys, recalled: seen.recalled };
                let (truth, w, n) = (self.pixel(here), self.pixel(here - 1), self.pixel(here - STRIDE));
                lane.note = match self.recall(head, coder, (lane.index, truth), [w, n], &sight, &mut lane.run) {
                    Ok((_, note)) => note,
                    Err((relation, mut note)) => {
                        coder.pixel(lane.index, seen.equal() | relation << 8, seen.which());
                        if seen.which() == 7 {
                            let (nw, ne) = (self.pixel(here - STRIDE - 1), self.pixel(here - STRIDE + 1));
                            self.literal(head, coder, lane.index, [w, n, nw, ne], truth, &mut note);
                        }
                        note.told(truth)
                    }
                };
            }
            for lane in &*lanes {
                self.remember(&lane.note);
            }
        }
    }

    /// Before a row's first pixel is what is above that.
    fn begin_left(&mut self, row: usize) {
        let start = at(row, 0);
        let above = self.pixel(start - STRIDE);
        self.pixels[start - MARGIN..start].fill(above);
    }

    /// Beyond a row's end its last pixel goes on.
    fn continue_right(&mut self, row: usize) {
        let end = at(row, TILE as usize);
        let last = self.pixel(end - 1);
        self.pixels[end..end + MARGIN].fill(last);
    }

    /// Codes whether eight pixels are what they were, or have the colour of those around; if so, they are done.
    #[inline(always)]
    fn whole_octet<C: Coder>(&mut self, head: &Head, coder: &mut C, lane: usize, row: usize, octet: usize) -> bool {
        let (here, x) = (at(row, 8 * octet), 8 * octet);
        let above = here - STRIDE;
        if head.former {
            // Above at the right is decided in the same step.
            let [above_above, above, left] = [0, 1, 2].map(|i| self.changed[(row + i) % (TILE as usize + 2)] >> octet);
            let context = SAME + usize::from(above & 3 | (left & 1) << 2 | (above_above >> 1 & 1) << 3);
            if coder.flag(lane, context, C::KNOWS && (0..8).all(|i| self.pixel(here + i) == coder.former(row, x + i))) {
                for i in if C::KNOWS { 0..0 } else { 0..8 } {
                    let at = here + i;
                    self.pixels[at % CANVAS] = match coder.former(row, x + i) {
                        BEYOND_RIGHT => self.pixel(at - 1),
                        BEYOND_BOTTOM => self.pixel(at - STRIDE),
                        color => color,
                    };
                }
                return true;
            }
            self.changed[(row + 2) % (TILE as usize + 2)] |= 2 << octet;
        }
        let w = self.pixel(here - 1);
        if w == self.pixel(above - 1) && self.is_flat(above, w) {
            let is_wide = self.pixel(here - 2) == w;
            let context = FLAT + usize::from(self.is_flat(above - STRIDE, w)) + 2 * usize::from(is_wide);
            if coder.flag(lane, context, C::KNOWS && self.is_flat(here, w)) {
                if !C::KNOWS {
                    *self.window_mut(here) = [w; 8];
                }
                return true;
            }
        }
        false
    }

    /// The three pixels at the left, the nearest first.
    #[inline(always)]
    fn left(&self, here: usize) -> [u32; 3] {
        [self.pixel(here - 1), self.pixel(here - 2), self.pixel(here - 3)]
    }

    /// Some pixels.
    #[inline(always)]
    fn window<const N: usize>(&self, start: usize) -> &[u32; N] {
        let start = start.min(CANVAS - N);
        self.pixels[start..start + N].try_into().expect("as many as asked for")
    }

    /// Some pixels, to be written.
    #[inline(always)]
    fn window_mut<const N: usize>(&mut self, start: usize) -> &mut [u32; N] {
        let start = start.min(CANVAS - N);
        (&mut self.pixels[start..start + N]).try_into().expect("as many as asked for")
    }

    /// What is known of a pixel before it is coded.
    #[inline(always)]
    fn look<const N: usize>(
        &self,
        head: &Head,
        words: Option<&Words>,
        (above, i): (&Above<N>, usize),
        Known { left, n, .. }: &Known,
    ) -> Sight {
        let (left, n) = (*left, *n);
        let is_flat = above.equal[i] & FLAT_ABOVE != 0 && left[0] == n && left[1] == n;
        if !head.recall || is_flat {
            return Sight::default();
        }
        let hashes = Hashes::new(above, i, left);
        let recalled = match words {
            Some(words) => [Place::wide(mix(hashes.wide)).of(words), Place::far(mix(hashes.far)).of(words)],
            None => [0; 2],
        };
        Sight { is_open: true, keys: hashes.keys(), recalled }
    }

    /// Decodes one pixel.
    #[allow(clippy::too_many_arguments, reason = "the lane's state, in registers where it is alone")]
    #[inline(always)]
    fn code<C: Coder>(
        &self,
        head: &Head,
        coder: &mut C,
        lane: usize,
        equal_above: u32,
        &Known { left: [w, ww, _], n, nw, ne }: &Known,
        sight: &Sight,
        run: &mut u32,
    ) -> (u32, Note) {
        let (relation, mut note) = match self.recall(head, coder, (lane, 0), [w, n], sight, run) {
            Ok(told) => return told,
            Err(untold) => untold,
        };
        let equal = (equal_above & EQUAL) as usize
            | usize::from(w == n)
            | usize::from(w == nw) << 1
            | usize::from(w == ww) << 4
            | usize::from(ne == w) << 6;
        let known = [w, n, nw, ne, head.colors[0], head.colors[1], head.colors[2]];
        let which = coder.pixel(lane, equal | relation << 8, 0);
        let color =
            if which < 7 { known[which] } else { self.literal(head, coder, lane, [w, n, nw, ne], 0, &mut note) };
        (color, note.told(color))
    }

    /// Codes whether a pixel is what followed the same neighbours before; if it is not, how that is related to the neighbours.
    #[inline(always)]
    fn recall(
        &self,
        head: &Head,
        coder: &mut impl Coder,
        (lane, truth): (usize, u32),
        [w, n]: [u32; 2],
        sight: &Sight,
        run: &mut u32,
    ) -> Result<(u32, Note), (usize, Note)> {
        let mut note = Note::default();
        let mut relation = 0;
        if sight.is_open {
            let (slot, short_slot) = (sight.keys >> 8 & 0x3ff, sight.keys >> 18);
            let check = (sight.keys & 0xff) | 1;
            let (long, short) = (self.long[slot as usize], self.short[short_slot as usize % RECALL_SLOTS]);
            let long = if long >> 24 == check { long } else { 0 };
            let (kind, seen) = if head.dictionary {
                candidate(sight.recalled, long, short)
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
                    let slots = slot | short_slot << 16;
                    return Ok((color, Note { slots, entry: color | check << 24, tint: 0, luma: 0 }));
                }
                *run = 0;
            }
            note = Note { slots: slot | short_slot << 16, entry: check << 24, tint: 0, luma: 0 };
        }
        Err((relation, note))
    }

    #[inline(always)]
    fn literal(
        &self,
        head: &Head,
        coder: &mut impl Coder,
        lane: usize,
        around: [u32; 4],
        truth: u32,
        note: &mut Note,
    ) -> u32 {
        let [w, n, nw, ne] = around;
        let (w, n, nw, ne) = (Tone::of(w), Tone::of(n), Tone::of(nw), Tone::of(ne));
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
    fn remember(&mut self, note: &Note) {
        if note.entry != 0 {
            self.long[note.slots as usize % RECALL_SLOTS] = note.entry;
            self.short[(note.slots >> 16) as usize % RECALL_SLOTS] = note.entry & 0x00ff_ffff | 1 << 24;
        }
        if note.tint != 0 {
            self.tints[note.luma as usize % 256] = note.tint;
        }
    }

    /// Puts the rows of a decoded tile back on the canvas; `fill` writes the coded pixels of a tile row, from a column on.
    pub fn restore(&mut self, back: u32, rows: &Rows, mut fill: impl FnMut(u32, u32, &mut [u32])) {
        self.pixels[..at(rows.count, 0)].fill(back);
        for row in 0..rows.count {
            let here = at(row, 0);
            self.begin_left(row);
            for run in runs(rows.blocks[row]) {
                fill(rows.y[row].into(), run.start as u32, &mut self.pixels[here + run.start..here + run.end]);
            }
            self.continue_right(row);
        }
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

/// Hashes of three, seven and twelve neighbours.
struct Hashes {
    near: u32,
    far: u32,
    wide: u32,
}

impl Hashes {
    #[inline(always)]
    fn new<const N: usize>(above: &Above<N>, i: usize, [w, ww, www]: [u32; 3]) -> Self {
        let left = w.wrapping_mul(0x9e37_79b1);
        let far = above.far[i].wrapping_add(left).wrapping_add(ww.wrapping_mul(0xd3a2_646d));
        let wide = far.wrapping_add(above.wide[i]).wrapping_add(www.wrapping_mul(0x4d2c_ba97));
        Self { near: above.near[i].wrapping_add(left), far, wide }
    }

    /// See [`Sight::keys`].
    #[inline(always)]
    fn keys(&self) -> u32 {
        self.far >> 14 | self.near >> 22 << 18
    }
}

/// All steps, eight at a time: lanes are eight pixels apart, so all of them begin an octet in the same one.
#[multiversion(targets("x86_64+avx+avx2+bmi1+bmi2+lzcnt+popcnt"))]
fn steps<C: Coder>(canvas: &mut Canvas, head: &Head, rows: &Rows, words: Option<&Words>, coder: &mut C) {
    let mut runs = [0; LANES_MAX];
    let mut lanes = [Lane::default(); LANES_MAX];
    let k = head.lanes;
    for octet_step in 0..rows.steps(k) / STAGGER {
        // The lanes whose octet is not told as a whole.
        let mut count = 0;
        for index in 0..k {
            let since = octet_step.wrapping_sub(index);
            let (octet, row) = (since % 8, (since / 8).saturating_mul(k).saturating_add(index));
            if row >= rows.count {
                continue;
            }
            if octet == 0 {
                if !C::KNOWS {
                    canvas.begin_left(row);
                }
                runs[index % LANES_MAX] = 0;
            }
            if rows.blocks[row] >> (octet / 2) & 1 == 1 {
                if !canvas.whole_octet(head, coder, index, row, octet) {
                    let lane = &mut lanes[count % LANES_MAX];
                    (lane.index, lane.row, lane.x, lane.run) = (index, row, 8 * octet, runs[index % LANES_MAX]);
                    count += 1;
                    continue;
                }
                runs[index % LANES_MAX] = 0;
            }
            if octet == 7 && !C::KNOWS {
                canvas.continue_right(row);
            }
        }
        match &mut lanes[..count] {
            [] => continue,
            lanes if C::KNOWS => canvas.seen_octets(head, coder, lanes),
            [one] => canvas.octet(head, words, coder, one),
            several => canvas.octets(head, words, coder, several),
        }
        for lane in &lanes[..count] {
            runs[lane.index % LANES_MAX] = lane.run;
            if lane.x == TILE as usize - 8 && !C::KNOWS {
                canvas.continue_right(lane.row);
            }
        }
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

/// Classes of how many hits there were in a row.
#[inline(always)]
fn run_class(run: u32) -> usize {
    const OF: [u8; 18] = [0, 1, 2, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 5, 5, 5, 5, 6];
    usize::from(OF[run.min(17) as usize])
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
