//! Decodes wavelet tiles. Twin of `shaders/wave.wgsl`; PROTOCOL.md, mode WAVE.
//!
//! What comes out of a damaged payload is undefined but harmless, and the same on both twins: a lane reads zeroes past
//! its end, and coefficients end at a size from which no sum leaves 16 bits.

use crate::codec::canvas::Picture;
use crate::codec::plan::{Wave, unpacked};
use crate::codec::stage::{block_rect, masks};
use crate::codec::wave::lift::{Plane, inverse};
use crate::codec::wave::{
    Band, CODE_BITS, COEFFICIENT_MAX, LANE_BANDS, LANES, LOOK_UP, QUANTISER_MAX, TABLES, WIDTH_MAX, color, shift, tone,
};
use crate::geom::{BLOCK, BLOCKS_PER_SIDE, BlockMask};
use multiversion::multiversion;

/// Runs all jobs on the frame's bytes.
///
/// # Panics
/// If a job points outside `bytes`; `Frame::parse` never lets one pass.
pub fn run(jobs: &[Wave], bytes: &[u8], screen: &mut Picture) {
    if jobs.is_empty() {
        return;
    }
    let mut tile = Box::new(Tile { planes: [[[0; 64]; 64]; 3], colors: [[0; 64]; 64] });
    jobs.iter().for_each(|job| decode(job, bytes, &mut tile, screen));
}

/// Memory for one tile; each overwrites all of what the one before has left.
struct Tile {
    planes: [Plane; 3],
    colors: [[u32; 64]; 64],
}

/// Decodes a tile, with the vectors that this processor has.
#[multiversion(targets("x86_64+avx+avx2+bmi1+bmi2+lzcnt+popcnt"))]
fn decode(job: &Wave, bytes: &[u8], tile: &mut Tile, screen: &mut Picture) {
    read(job, bytes, &mut tile.planes);
    // A loop, not `for_each`: that would be compiled for every processor.
    for plane in &mut tile.planes {
        inverse(plane);
    }
    paint(job, tile, screen);
}

/// Reads all coefficients of a tile.
#[inline(always)]
fn read(job: &Wave, bytes: &[u8], planes: &mut [Plane; 3]) {
    let quantiser = job.quantiser.min(u32::from(QUANTISER_MAX)) as u8;
    let mut start = job.streams as usize;
    for lane in 0..LANES {
        let (component, bands) = (lane / 4, LANE_BANDS[lane % 4]);
        let length = (job.lengths[lane / 2] >> (16 * (lane % 2)) & 0xffff) as usize;
        let plane = &mut planes[component];
        if length == 0 {
            bands.iter().for_each(|band| rows(plane, band).for_each(|row| row.fill(0)));
            continue;
        }
        let mut bits = BitReader::new(&bytes[start..start + length]);
        for band in bands {
            read_band(&mut bits, shift(quantiser, component, band.level), band, plane);
        }
        start += length;
    }
}

/// The rows of a band.
fn rows<'a>(plane: &'a mut Plane, band: &'a Band) -> impl Iterator<Item = &'a mut [i16]> {
    plane[band.y..band.y + band.side].iter_mut().map(|row| &mut row[band.x..band.x + band.side])
}

#[inline(always)]
fn read_band(bits: &mut BitReader, shift: u32, band: &Band, plane: &mut Plane) {
    let mut above = [0usize; 8];
    for y in (band.y..band.y + band.side).step_by(4) {
        let mut left = 0;
        for (x, above) in (band.x..band.x + band.side).step_by(4).zip(above.iter_mut()) {
            let entry = LOOK_UP[(left + *above).min(TABLES - 1)][(bits.peek() & 0xff) as usize];
            bits.skip(u32::from(entry >> 4));
            let width = usize::from(entry & 0xf).min(WIDTH_MAX);
            (left, *above) = (width, width);
            let mut quads = [[0; 4]; 4];
            if width > 0 {
                for quad in &mut quads {
                    *quad = read_quad(bits, width as u32, shift);
                }
            }
            let [a, b, c, d] = quads;
            plane[y][x..x + 4].copy_from_slice(&[a[0], a[1], b[0], b[1]]);
            plane[y + 1][x..x + 4].copy_from_slice(&[a[2], a[3], b[2], b[3]]);
            plane[y + 2][x..x + 4].copy_from_slice(&[c[0], c[1], d[0], d[1]]);
            plane[y + 3][x..x + 4].copy_from_slice(&[c[2], c[3], d[2], d[3]]);
        }
    }
}

/// Reads 2×2 coefficients of a group of this width.
#[inline(always)]
fn read_quad(bits: &mut BitReader, width_max: u32, shift: u32) -> [i16; 4] {
    // At most 10 + 4 * 10 + 4 bits, which a peek has.
    let mut word = bits.peek();
    let narrower = (!word).trailing_zeros().min(width_max);
    let width = width_max - narrower;
    if width == 0 {
        bits.skip(narrower);
        return [0; 4];
    }
    word >>= narrower + 1;
    let mut used = narrower + 1 + 4 * width;
    let mut signs = word >> (4 * width);
    let mask = (1 << width) - 1;
    let half = 1i32 << shift >> 1;
    let values = [0, 1, 2, 3].map(|i| {
        let size = (word >> (i * width) & mask) as i32;
        let is_some = u32::from(size != 0);
        let value = ((size << shift) + half).min(COEFFICIENT_MAX.into()) * is_some.cast_signed();
        let sign = (signs & 1) as i32 * is_some.cast_signed();
        signs >>= is_some;
        used += is_some;
        ((value ^ -sign) + sign) as i16
    });
    bits.skip(used);
    values
}

/// Writes the blocks to the screen.
#[inline(always)]
fn paint(job: &Wave, tile: &mut Tile, screen: &mut Picture) {
    let base = tone(job.base);
    let Tile { planes, colors } = tile;
    for (y, row) in colors.iter_mut().enumerate() {
        let [ys, oranges, greens] = [&planes[0][y], &planes[1][y], &planes[2][y]];
        let at = |i: usize| {
            color([ys[i].wrapping_add(base[0]), oranges[i].wrapping_add(base[1]), greens[i].wrapping_add(base[2])])
        };
        // Even columns lie before odd ones.
        for i in 0..32 {
            (row[2 * i], row[2 * i + 1]) = (at(i), at(32 + i));
        }
    }
    let stride = screen.size.w as usize;
    let (_, write) = masks(job.blocks);
    let origin = unpacked(job.origin);
    if write == BlockMask::ALL && origin.x as usize + 64 <= stride && origin.y + 64 <= screen.size.h {
        let first = origin.y as usize * stride + origin.x as usize;
        for (row, source) in screen.pixels[first..].chunks_mut(stride).zip(colors.iter()) {
            row[..64].copy_from_slice(source);
        }
        return;
    }
    for block in write.blocks() {
        let r = block_rect(screen, job.origin, block);
        let (column, row) = (block % BLOCKS_PER_SIDE * BLOCK, block / BLOCKS_PER_SIDE * BLOCK);
        for y in 0..r.h {
            let source = &colors[(row + y) as usize][column as usize..][..r.w as usize];
            screen.pixels[(r.y + y) as usize * stride + r.x as usize..][..r.w as usize].copy_from_slice(source);
        }
    }
}

/// Reads bits, first bit lowest; zeroes past the end.
struct BitReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> BitReader<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next bits, at least 57.
    #[inline(always)]
    fn peek(&self) -> u64 {
        let rest = self.bytes.get(self.at / 8..).unwrap_or(&[]);
        let word = match rest.first_chunk() {
            Some(word) => u64::from_le_bytes(*word),
            None => rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
        };
        word >> (self.at % 8)
    }

    #[inline(always)]
    fn skip(&mut self, count: u32) {
        self.at += count as usize;
    }
}

const _: () = assert!(CODE_BITS == 8, "a look-up takes a byte");
