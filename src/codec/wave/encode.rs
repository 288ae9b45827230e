//! Writes WAVE payloads.
//!
//! One tile at a time: colours to planes, planes to bands, bands to groups of bits. How coarse is the caller's choice.

use super::lift::{Plane, forward, place};
use super::{Band, CODE_LENGTHS, CODES, COEFFICIENT_MAX, Head, LANE_BANDS, LANES, TABLES, shift, tone};
use crate::codec::bytes::{put_u24, put_varint};
use crate::codec::ctx::encode::Pixels;
use crate::geom::{BLOCK, BLOCKS_PER_SIDE, BlockMask, TILE};
use multiversion::multiversion;

/// Encodes tiles; keeps its memory.
#[derive(Debug)]
pub struct WaveEncoder {
    planes: Box<[Plane; 3]>,
    /// Sizes of the coefficients of one plane, quantised.
    sizes: Box<[[u16; 64]; 64]>,
    bits: BitWriter,
}

impl Default for WaveEncoder {
    fn default() -> Self {
        Self::new()
    }
}

impl WaveEncoder {
    /// Makes the memory for one tile at a time.
    pub fn new() -> Self {
        Self {
            planes: Box::new([[[0; 64]; 64]; 3]),
            sizes: Box::new([[0; 64]; 64]),
            bits: BitWriter { bytes: Vec::new(), held: 0, count: 0 },
        }
    }

    /// Appends the payload for the blocks (not none) of a tile; `quantiser` is 0 (nearly without loss) to
    /// `QUANTISER_MAX`.
    pub fn write(&mut self, pixels: &Pixels, blocks: BlockMask, quantiser: u8, out: &mut Vec<u8>) {
        write_tile(self, pixels, blocks, quantiser, out);
    }

    /// Colours to differences from the base; blocks that are not coded have none.
    #[inline(always)]
    fn load(&mut self, pixels: &Pixels, blocks: BlockMask, base: u32) {
        let base = tone(base);
        let [ys, oranges, greens] = &mut *self.planes;
        let rows = ys.iter_mut().zip(oranges.iter_mut()).zip(greens.iter_mut());
        for (((ys, oranges), greens), pixels) in rows.zip(pixels.chunks_exact(TILE as usize)) {
            let mut apart = [0; TILE as usize];
            for i in 0..TILE as usize / 2 {
                apart[i] = pixels[2 * i];
                apart[place(1) + i] = pixels[2 * i + 1];
            }
            for i in 0..TILE as usize {
                let [y, orange, green] = tone(apart[i]);
                (ys[i], oranges[i], greens[i]) = (y - base[0], orange - base[1], green - base[2]);
            }
        }
        if blocks == BlockMask::ALL {
            return;
        }
        for block in BlockMask(!blocks.0).blocks() {
            let (column, row) = (block % BLOCKS_PER_SIDE * BLOCK, block / BLOCKS_PER_SIDE * BLOCK);
            for plane in self.planes.iter_mut() {
                for line in &mut plane[row as usize..][..BLOCK as usize] {
                    for first in [column, column + 1] {
                        line[place(first as usize)..][..BLOCK as usize / 2].fill(0);
                    }
                }
            }
        }
    }

    /// Quantises a band; returns all sizes' bits together.
    #[inline(always)]
    fn quantise(&mut self, component: usize, band: &Band, shift: u32) -> u16 {
        let plane = &self.planes[component];
        let mut seen = 0;
        let rows = band.y..band.y + band.side;
        for (sizes, values) in self.sizes[rows.clone()].iter_mut().zip(&plane[rows]) {
            let span = band.x..band.x + band.side;
            for (size, value) in sizes[span.clone()].iter_mut().zip(&values[span]) {
                *size = value.unsigned_abs().min(COEFFICIENT_MAX.unsigned_abs()) >> shift;
                seen |= *size;
            }
        }
        seen
    }

    #[inline(always)]
    fn write_band(&mut self, component: usize, band: &Band) {
        let mut above = [0usize; 8];
        for y in (band.y..band.y + band.side).step_by(4) {
            let mut left = 0;
            for (x, above) in (band.x..band.x + band.side).step_by(4).zip(above.iter_mut()) {
                let row =
                    |i: usize| -> [u16; 4] { *self.sizes[y + i][x..].first_chunk().expect("bands end in planes") };
                let quads = quads(row(0), row(1), row(2), row(3));
                let width = width(quads.iter().flatten().fold(0, |all, size| all | size));
                let table = (left + *above).min(TABLES - 1);
                self.bits.put(CODES[table][width].into(), CODE_LENGTHS[table][width].into());
                (left, *above) = (width, width);
                if width > 0 {
                    let plane = &self.planes[component];
                    let row = |i: usize| -> [i16; 4] { *plane[y + i][x..].first_chunk().expect("bands end in planes") };
                    let signs = self::quads(row(0), row(1), row(2), row(3));
                    write_group(&mut self.bits, width, &quads, &signs);
                }
            }
        }
    }
}

/// [`WaveEncoder::write`], with the vectors that this processor has.
#[multiversion(targets("x86_64+avx+avx2+bmi1+bmi2+lzcnt+popcnt"))]
fn write_tile(encoder: &mut WaveEncoder, pixels: &Pixels, blocks: BlockMask, quantiser: u8, out: &mut Vec<u8>) {
    let base = mean(pixels, blocks);
    encoder.load(pixels, blocks, base);
    // A loop, not `for_each`: that would be compiled for every processor.
    for plane in encoder.planes.iter_mut() {
        forward(plane);
    }
    let mut head = Head { quantiser, lanes: 0, base };
    let mut lengths = [0; LANES];
    encoder.bits.bytes.clear();
    for lane in 0..LANES {
        let (component, bands) = (lane / 4, LANE_BANDS[lane % 4]);
        let mut seen = 0;
        for band in bands {
            seen |= encoder.quantise(component, band, shift(quantiser, component, band.level));
        }
        if seen == 0 {
            continue;
        }
        let start = encoder.bits.bytes.len();
        for band in bands {
            encoder.write_band(component, band);
        }
        encoder.bits.finish();
        lengths[lane] = encoder.bits.bytes.len() - start;
        head.lanes |= 1 << lane;
    }
    head.write(out);
    for length in lengths.into_iter().filter(|l| *l > 0) {
        put_varint(out, length as u32);
    }
    out.extend_from_slice(&encoder.bits.bytes);
}

impl Head {
    /// Writes the front of a payload; the lengths of the lanes that there are follow.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend((self.lanes | u16::from(self.quantiser) << 12).to_le_bytes());
        put_u24(out, self.base);
    }
}

/// Bits of a size.
#[inline(always)]
fn width(size: u16) -> usize {
    (u16::BITS - size.leading_zeros()) as usize
}

/// The 2×2 quads of four rows of four.
#[inline(always)]
fn quads<T: Copy>(a: [T; 4], b: [T; 4], c: [T; 4], d: [T; 4]) -> [[T; 4]; 4] {
    [[a[0], a[1], b[0], b[1]], [a[2], a[3], b[2], b[3]], [c[0], c[1], d[0], d[1]], [c[2], c[3], d[2], d[3]]]
}

#[inline(always)]
fn write_group(bits: &mut BitWriter, width_max: usize, quads: &[[u16; 4]; 4], values: &[[i16; 4]; 4]) {
    for (sizes, values) in quads.iter().zip(values) {
        let width = width(sizes.iter().fold(0, |all, size| all | size));
        // So many ones as the quad is narrower than its group, then a zero unless it has no bits at all.
        let narrower = width_max - width;
        let code = (1u64 << narrower) - 1;
        if width == 0 {
            bits.put(code, narrower as u32);
            continue;
        }
        let (mut word, mut at) = (code, narrower + 1);
        for size in sizes {
            word |= u64::from(*size) << at;
            at += width;
        }
        for (size, value) in sizes.iter().zip(values) {
            word |= u64::from(*value < 0 && *size != 0) << at;
            at += usize::from(*size != 0);
        }
        bits.put(word, at as u32);
    }
}

/// Packs bits, first bit lowest.
#[derive(Debug)]
struct BitWriter {
    bytes: Vec<u8>,
    held: u64,
    count: u32,
}

impl BitWriter {
    /// Appends the low `count` bits, at most 56, of a word that has no others.
    #[inline(always)]
    fn put(&mut self, word: u64, count: u32) {
        self.held |= word << self.count;
        self.count += count;
        if self.count >= 64 {
            self.bytes.extend(self.held.to_le_bytes());
            self.count -= 64;
            // What did not fit: fewer than 56 bits, for at least eight were held.
            self.held = word >> (count - self.count);
        }
    }

    /// Fills up the last byte with zeroes.
    fn finish(&mut self) {
        let bytes = self.count.div_ceil(8) as usize;
        self.bytes.extend_from_slice(&self.held.to_le_bytes()[..bytes]);
        (self.held, self.count) = (0, 0);
    }
}

/// The mean colour of the blocks.
#[inline(always)]
fn mean(pixels: &Pixels, blocks: BlockMask) -> u32 {
    let mut sums = [0u32; 3];
    let side = BLOCK as usize;
    for block in blocks.blocks() {
        let start = (block / BLOCKS_PER_SIDE * BLOCK * TILE + block % BLOCKS_PER_SIDE * BLOCK) as usize;
        for y in 0..side {
            // A row's channels together: each of the two sums stays below 16 x 255.
            let (mut outer, mut inner) = (0, 0);
            for pixel in &pixels[start + y * TILE as usize..][..side] {
                outer += pixel & 0x00ff_00ff;
                inner += pixel >> 8 & 0xff;
            }
            sums[0] += outer >> 16;
            sums[1] += inner;
            sums[2] += outer & 0xffff;
        }
    }
    let count = blocks.count() * BLOCK * BLOCK;
    sums.iter().fold(0, |color, sum| color << 8 | ((sum + count / 2) / count))
}
