//! Writes CTX payloads: measures a group of blocks by look-ups, chooses tables and lanes, then codes.
//!
//! The model runs once and leaves a trace of choices; its cost in all table sets is summed up on the way, so that the
//! size is known to about a per cent before anything is coded.

use super::dictionary::Dictionary;
use super::model::{Canvas, Coder, Entry, FIRST_COLOR, Seen, Survey};
use super::tables::{BITS, Costs, ENTRIES, KINDS, LITERAL_ENTRIES, PIXEL_ENTRIES, Part, SETS};
use super::{COLORS_MAX, FORMER_COLORS, Head, LANES_MAX, Rows, band};
use crate::codec::bytes::{put_u24, put_varint};
use crate::geom::{BLOCK, BlockMask, TILE};
use multiversion::multiversion;

/// Lower end of a coder's state; it is refilled by 16 bits below it.
pub const STATE_MIN: u32 = 1 << 16;
/// In a trace: bits without a model, `value | count << 16`.
const RAW: u32 = 1 << 31;
/// Literals in each lane that pay for its state and length, about.
const LANE_LITERALS: u32 = 128;
/// Of the 32 octets of a block so many may have changed for it to be worth saying which have not.
pub const OCTETS_MAX: u32 = 24;
/// Up to so many changed ones it mostly is.
pub const OCTETS_HALF: u32 = 18;
/// Up to so many it nearly always is.
pub const OCTETS_FEW: u32 = 10;
/// Distinct colours of a tile above which colours seen before hardly ever come again.
const RECALL_COLORS_MAX: usize = 1200;

/// The pixels of a tile in row order.
pub type Pixels = [u32; (TILE * TILE) as usize];

/// Encodes tiles; keeps its memory.
pub struct CtxEncoder {
    canvas: Canvas,
    trace: Trace,
    /// Cost of its modelled choices in each table set, 1/32 bit.
    costs: [u32; SETS],
    colors: ColorCount,
    words: Vec<u16>,
    empty: Dictionary,
    survey: Survey,
}

/// A measured tile: what it would cost, and everything to code it.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The front of its payload.
    pub head: Head,
    /// The table set that is cheapest.
    pub set: u8,
    /// Bytes of the payload, to about a per cent.
    pub bytes: usize,
    /// The coded blocks.
    pub blocks: BlockMask,
}

/// The choices of a tile, lane by lane.
#[derive(Default)]
pub struct Trace {
    /// Entries of the tables, or bits without a model.
    lanes: [Vec<u32>; LANES_MAX],
    /// Bits without a model.
    raw_bits: u32,
    /// A bit for each of the eight choices of a pixel that came.
    symbols: u8,
}

impl std::fmt::Debug for CtxEncoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CtxEncoder").finish_non_exhaustive()
    }
}

impl Default for CtxEncoder {
    fn default() -> Self {
        Self::new()
    }
}

impl CtxEncoder {
    /// Makes the memory for one tile at a time.
    pub fn new() -> Self {
        Self {
            canvas: Canvas::new(),
            trace: Trace::default(),
            costs: [0; SETS],
            colors: ColorCount::new(),
            words: Vec::new(),
            empty: Dictionary::new(),
            survey: Survey::new(),
        }
    }

    /// Measures the blocks (not none) of a tile with these tables; with a dictionary, if the tile is one that recalls.
    pub fn measure(
        &mut self,
        pixels: &Pixels,
        former: Option<&Pixels>,
        blocks: BlockMask,
        dictionary: Option<&Dictionary>,
        costs: &[Costs; KINDS],
    ) -> Measured {
        let (mut head, mut untold) = self.head(pixels, blocks);
        head.dictionary = head.recall && dictionary.is_some();
        if head.dictionary && former.is_some() {
            head.former = true;
            head.repeats = 0;
            head.colors = [head.colors[0], FORMER_COLORS[0], FORMER_COLORS[1]];
        }
        let former = former.unwrap_or(pixels);
        let rows = Rows::new(blocks, head.repeats);
        let costs = &costs[head.kind()];
        self.trace.clear();
        self.canvas.restore(head.colors[0], &rows, |y, x, out| {
            out.copy_from_slice(&row(pixels, y as usize)[x as usize..][..out.len()])
        });
        let entries = self.canvas.survey(&head, &rows, &mut self.survey);
        if let Some(dictionary) = dictionary.filter(|_| head.dictionary) {
            // Where its entries are nobody can guess, so they are far from the processor, each on its own. Asked for one after
            // the other without waiting, they come at the same time.
            let mut unknown = 0;
            for entry in entries {
                let recalled = dictionary.words().map_or([0; 2], |words| entry.places().map(|place| place.of(words)));
                let is_told = |seen: u32| seen != 0 && (seen ^ entry.color) & 0x00ff_ffff == 0;
                unknown += u32::from(!is_told(recalled[0]) & !is_told(recalled[1]));
                self.survey.set_recalled(entry, recalled);
            }
            untold = untold.min(unknown);
        }
        head.lanes = lanes(untold, &rows);
        let survey = &self.survey;
        let mut recorder = Recorder { former, rows: &rows, trace: &mut self.trace, survey };
        self.canvas.walk(&head, &rows, dictionary.unwrap_or(&self.empty), &mut recorder);
        if !head.former {
            head.forget_colors(self.trace.symbols);
        }
        self.costs = [0; SETS];
        for lane in &self.trace.lanes[..head.lanes] {
            sum_up(lane, costs, &mut self.costs);
        }
        let (set, cost) = (0..SETS).map(|set| (set, self.costs[set])).min_by_key(|(_, cost)| *cost).unwrap_or_default();
        let colors = 1 + head.last_named();
        let front = 1 + colors * if head.grey { 1 } else { 3 } + if head.repeats == 0 { 0 } else { 8 };
        let bytes = front + head.lanes * 5 + (cost / 32 + self.trace.raw_bits).div_ceil(8) as usize;
        Measured { head, set: set as u8, bytes, blocks }
    }

    /// Codes what was measured last.
    pub fn write(&mut self, measured: &Measured, costs: &[Costs; KINDS], out: &mut Vec<u8>) {
        measured.head.write(measured.blocks, out);
        let parts = &costs[measured.head.kind()].parts[usize::from(measured.set)];
        self.words.clear();
        let mut lengths = [0; LANES_MAX];
        for (lane, length) in lengths.iter_mut().enumerate().take(measured.head.lanes) {
            let start = self.words.len();
            code(&self.trace.lanes[lane], parts, &mut self.words);
            *length = self.words.len() - start;
        }
        for length in &lengths[..measured.head.lanes] {
            put_varint(out, *length as u32);
        }
        out.extend(self.words.iter().flat_map(|w| w.to_le_bytes()));
    }

    /// What HARVEST puts into the dictionary of the tile that was measured last.
    pub fn entries(&self) -> &[Entry] {
        self.canvas.surveyed()
    }

    /// What was measured last, for training: calls `each` with every entry of the tables that was chosen.
    pub fn choices(&self, mut each: impl FnMut(usize)) {
        for lane in &self.trace.lanes {
            lane.iter().filter(|e| **e & RAW == 0).for_each(|e| each(*e as usize));
        }
    }

    /// What the choices of the last measured tile cost in the cheapest set, in 1/32 bit.
    pub fn least_cost(&self) -> u32 {
        self.costs.iter().copied().min().unwrap_or_default()
    }

    /// The front, with one lane, and how many pixels equal neither the one before nor the one above.
    fn head(&mut self, pixels: &Pixels, blocks: BlockMask) -> (Head, u32) {
        self.colors.clear();
        let mut repeats = 0u64;
        let mut literals = 0;
        let mut before: Option<(u8, usize)> = None;
        for y in 0..TILE as usize {
            let coded = band(blocks, y as u32 / BLOCK);
            if coded == 0 {
                continue;
            }
            if let Some((coded_before, y_before)) = before
                && coded_before == coded
                && spans(coded).all(|span| row(pixels, y)[span.clone()] == row(pixels, y_before)[span])
            {
                repeats |= 1 << y;
                continue;
            }
            let above = row(pixels, before.map_or(y, |b| b.1));
            for span in spans(coded) {
                let (pixels, above) = (&row(pixels, y)[span.clone()], &above[span]);
                literals += self.colors.add_span(pixels.try_into().expect("a span"), above.try_into().expect("a span"));
            }
            before = Some((coded, y));
        }
        if repeats.count_ones() < 8 {
            repeats = 0;
        }
        let head = Head {
            lanes: 1,
            grey: self.colors.is_grey(),
            recall: self.colors.count() <= RECALL_COLORS_MAX,
            dictionary: false,
            former: false,
            colors: self.colors.frequent(),
            repeats,
        };
        (head, literals)
    }
}

impl Head {
    /// Names no colour at the end of the list that no pixel was told by; what a decoder does stays the same.
    fn forget_colors(&mut self, symbols: u8) {
        for i in (1..COLORS_MAX).rev().take_while(|i| symbols >> (FIRST_COLOR + i) & 1 == 0) {
            self.colors[i] = self.colors[0];
        }
    }

    /// Number of the last colour that has to be named.
    fn last_named(&self) -> usize {
        if self.former {
            return 0;
        }
        (1..COLORS_MAX).rev().find(|i| self.colors[*i] != self.colors[0]).unwrap_or(0)
    }

    /// Writes the front of a payload; the lanes' lengths follow.
    pub fn write(&self, blocks: BlockMask, out: &mut Vec<u8>) {
        let named = self.last_named();
        let bits = if self.former { COLORS_MAX } else { named };
        let flags = u8::from(self.grey) << 2 | u8::from(self.recall) << 3 | u8::from(self.repeats != 0) << 4;
        let flags = flags | u8::from(self.dictionary) << 7;
        out.push(self.lanes.ilog2() as u8 | flags | (bits as u8) << 5);
        for color in &self.colors[..=named] {
            match self.grey {
                true => out.push(*color as u8),
                false => put_u24(out, *color),
            }
        }
        if self.repeats != 0 {
            for index in (0..4).filter(|i| band(blocks, *i) != 0) {
                out.extend(((self.repeats >> (16 * index)) as u16).to_le_bytes());
            }
        }
    }
}

/// Codes a lane's choices, last first, and appends its words.
fn code(choices: &[u32], parts: &[Part], words: &mut Vec<u16>) {
    let first = words.len();
    let mut state = STATE_MIN;
    for choice in choices.iter().rev() {
        if choice & RAW != 0 {
            let (value, bits) = (choice & 0xffff, choice >> 16 & 0xff);
            if state >= 1 << (32 - bits) {
                words.push(state as u16);
                state >>= 16;
            }
            state = state << bits | value;
        } else {
            let Part { start, frequency, reciprocal } = parts[*choice as usize];
            if state >= frequency << (32 - BITS) {
                words.push(state as u16);
                state >>= 16;
            }
            let quotient = ((u128::from(state) * u128::from(reciprocal)) >> 44) as u32;
            state = (quotient << BITS) + (state - quotient * frequency) + start;
        }
    }
    words.extend([state as u16, (state >> 16) as u16]);
    words[first..].reverse();
}

/// Adds a lane's costs in each table set, in units of 1/32 bit.
#[multiversion(targets("x86_64+avx+avx2+bmi1+bmi2+lzcnt+popcnt"))]
fn sum_up(choices: &[u32], costs: &Costs, sums: &mut [u32; SETS]) {
    let bits = costs.bits.as_slice();
    let mut all = *sums;
    for choice in choices {
        // Bits without a model are beyond all entries, and the one after the last costs nothing.
        let bits = &bits[(*choice as usize).min(ENTRIES)];
        for (sum, bits) in all.iter_mut().zip(bits) {
            *sum += u32::from(*bits);
        }
    }
    *sums = all;
}

/// Writes down what the model asks, with the pixels as answers.
struct Recorder<'a> {
    former: &'a Pixels,
    rows: &'a Rows,
    trace: &'a mut Trace,
    survey: &'a Survey,
}

impl Recorder<'_> {
    #[inline(always)]
    fn push(&mut self, lane: usize, entry: usize) {
        self.trace.lanes[lane].push(entry as u32);
    }
}

impl Coder for Recorder<'_> {
    const KNOWS: bool = true;

    #[inline(always)]
    fn seen(&self, row: usize, x: usize) -> Seen {
        self.survey.of(row, x)
    }

    #[inline(always)]
    fn former(&self, row: usize, x: usize) -> u32 {
        self.former[usize::from(self.rows.y[row % 64]) % 64 * 64 + x % 64]
    }

    #[inline(always)]
    fn flag(&mut self, lane: usize, context: usize, truth: bool) -> bool {
        self.push(lane, 2 * context + usize::from(truth));
        truth
    }

    #[inline(always)]
    fn pixel(&mut self, lane: usize, context: usize, truth: usize) -> usize {
        self.push(lane, PIXEL_ENTRIES + 8 * context + truth);
        self.trace.symbols |= 1 << truth;
        truth
    }

    #[inline(always)]
    fn token(&mut self, lane: usize, context: usize, truth: usize) -> usize {
        self.push(lane, LITERAL_ENTRIES + 32 * context + truth);
        truth
    }

    #[inline(always)]
    fn raw(&mut self, lane: usize, bits: u32, truth: u32) -> u32 {
        self.trace.lanes[lane].push(RAW | bits << 16 | truth);
        self.trace.raw_bits += bits;
        truth
    }
}

impl Trace {
    fn clear(&mut self) {
        self.lanes.iter_mut().for_each(Vec::clear);
        self.raw_bits = 0;
        self.symbols = 0;
    }
}

/// Eight pixels each, of these blocks, that are not what they were.
pub fn changed_octets(pixels: &Pixels, former: &Pixels, blocks: BlockMask) -> u32 {
    let changed = |y: usize, x: usize| row(pixels, y)[x..x + 8] != row(former, y)[x..x + 8];
    let rows = (0..TILE as usize).flat_map(|y| spans(band(blocks, y as u32 / BLOCK)).map(move |span| (y, span)));
    rows.map(|(y, span)| span.step_by(8).filter(|x| changed(y, *x)).count() as u32).sum()
}

fn row(pixels: &Pixels, y: usize) -> &[u32] {
    &pixels[y * TILE as usize..][..TILE as usize]
}

/// Lanes for so many pixels that nothing tells. Each lane costs its state; but none should have more than 32 rows, for the
/// sake of the slowest decoder.
fn lanes(literals: u32, rows: &Rows) -> usize {
    1 << (literals / LANE_LITERALS).max(rows.count as u32 / 32).clamp(1, LANES_MAX as u32).ilog2()
}

/// The coded pixels of a row.
fn spans(coded: u8) -> impl Iterator<Item = std::ops::Range<usize>> {
    let side = BLOCK as usize;
    (0..4).filter(move |i| coded >> i & 1 == 1).map(move |i| i * side..(i + 1) * side)
}

/// Slots of [`ColorCount`]: twice the pixels of a tile would never be full, so a colour is always found or new.
const COLOR_SLOTS: usize = 8192;

/// Pixels of a block's row.
const SPAN: usize = BLOCK as usize;
type Span = [u32; SPAN];

/// Counts the colours of a tile.
struct ColorCount {
    /// `color | 1 << 24`, and how often; 0 for a free slot.
    slots: Vec<(u32, u32)>,
    used: Vec<u16>,
}

impl ColorCount {
    fn new() -> Self {
        Self { slots: vec![(0, 0); COLOR_SLOTS], used: Vec::new() }
    }

    fn clear(&mut self) {
        for slot in self.used.drain(..) {
            self.slots[usize::from(slot)] = (0, 0);
        }
    }

    /// Counts pixels; returns how many equal neither the one before (there is none before the first) nor the one above.
    fn add_span(&mut self, pixels: &Span, above: &Span) -> u32 {
        // A bit for each pixel; a branch for each would be guessed wrongly where every one is another.
        let (mut begins, mut untold) = (1_u32, 0_u32);
        for x in 1..SPAN {
            begins |= u32::from(pixels[x] != pixels[x - 1]) << x;
        }
        for x in 0..SPAN {
            untold |= u32::from(pixels[x] != above[x]) << x;
        }
        let literals = (begins & untold).count_ones();
        while begins != 0 {
            let start = begins.trailing_zeros();
            begins &= begins - 1;
            let end = if begins == 0 { SPAN as u32 } else { begins.trailing_zeros() };
            self.add(pixels[start as usize % SPAN], end - start);
        }
        literals
    }

    fn add(&mut self, color: u32, count: u32) {
        let mut at = (color.wrapping_mul(0x9e37_79b1) >> 19) as usize;
        loop {
            let slot = &mut self.slots[at % COLOR_SLOTS];
            if slot.0 == 0 {
                slot.0 = color | 1 << 24;
                self.used.push((at % COLOR_SLOTS) as u16);
            }
            if slot.0 == color | 1 << 24 {
                slot.1 += count;
                return;
            }
            at += 1;
        }
    }

    fn count(&self) -> usize {
        self.used.len()
    }

    fn is_grey(&self) -> bool {
        let grey = |c: u32| c & 0xff == c >> 8 & 0xff && c & 0xff == c >> 16 & 0xff;
        self.used.iter().all(|slot| grey(self.slots[usize::from(*slot)].0))
    }

    /// The most frequent colours; the first again where a further one is too rare to be named.
    fn frequent(&self) -> [u32; COLORS_MAX] {
        let mut best = [(0u32, 0u32); COLORS_MAX];
        for slot in &self.used {
            let (color, count) = self.slots[usize::from(*slot)];
            let entry = (count, color & 0x00ff_ffff);
            if let Some(at) = best.iter().position(|b| entry > *b) {
                best[at..].rotate_right(1);
                best[at] = entry;
            }
        }
        best.map(|(count, color)| if count >= 6 { color } else { best[0].1 })
    }
}
