//! CTX, the lossless entropy mode: what its encoder, its CPU decoder and its shader agree on.
//!
//! A pixel is described by its relation to what is already there: a flat run of eight, a colour that followed the same
//! neighbours before in this tile or in earlier ones ([`dictionary`]), one of four neighbours, one of three frequent colours, or a literal. [`model`] turns
//! pixels into such choices and back, [`tables`] has their probabilities, [`encode`] writes payloads; the decoder is
//! `codec::stage::ctx`. Bit by bit: PROTOCOL.md, "Mode CTX".

pub mod dictionary;
pub mod encode;
pub mod model;
pub mod tables;

use crate::geom::{BLOCK, BLOCKS_PER_SIDE, BlockMask, TILE};
use std::ops::Range;

/// Most lanes of a payload. Row `r` of the row list belongs to lane `r mod K`; a lane is eight pixels behind the one
/// above it, so more than eight would wait for each other.
pub const LANES_MAX: usize = 8;
/// Pixels that a lane stays behind the lane of the row above.
pub const STAGGER: usize = 8;
/// Frequent colours that a payload names.
pub const COLORS_MAX: usize = 3;

/// What the second and the third are where what was there before counts: black and white need no naming.
pub const FORMER_COLORS: [u32; 2] = [0, 0xff_ffff];

/// Stands for what was there beyond the right edge of the screen: whatever the pixel at the left is now.
pub const BEYOND_RIGHT: u32 = 1 << 24;
/// Likewise below the bottom edge: whatever the pixel above is now.
pub const BEYOND_BOTTOM: u32 = 1 << 25;

/// What stands at the front of a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Lanes: 1, 2, 4 or 8.
    pub lanes: usize,
    /// All colours are grey, so a literal is one value.
    pub grey: bool,
    /// The tables of colours seen before are in use.
    pub recall: bool,
    /// The dictionary is looked up, and the next HARVEST puts the tile in.
    pub dictionary: bool,
    /// Pixels may be what they were before the frame; only with the dictionary and without repeated rows.
    pub former: bool,
    /// The tile's most frequent colours, 1 to 3; the first is the background.
    pub colors: [u32; COLORS_MAX],
    /// Bit `y` is set if row `y` of the tile equals the active row before it.
    pub repeats: u64,
}

/// The rows of a tile that are really coded.
#[derive(Clone, Debug)]
pub struct Rows {
    /// How many there are; 1 to 64.
    pub count: usize,
    /// The tile row of each.
    pub y: [u8; TILE as usize],
    /// The coded blocks of each, four bits.
    pub blocks: [u8; TILE as usize],
    /// For each tile row its place in the list: its own, or the one that it repeats.
    pub of: [u8; TILE as usize],
}

/// The blocks of a row of blocks, four bits.
pub const fn band(blocks: BlockMask, index: u32) -> u8 {
    (blocks.0 >> (index * BLOCKS_PER_SIDE)) as u8 & 0xf
}

/// Neighbouring blocks of a row of blocks (four bits) together, as columns of pixels.
pub fn runs(blocks: u8) -> impl Iterator<Item = Range<usize>> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let start = from + (blocks >> from).trailing_zeros();
        if start >= BLOCKS_PER_SIDE {
            return None;
        }
        from = start + (blocks >> start).trailing_ones();
        Some((start * BLOCK) as usize..(from * BLOCK) as usize)
    })
}

impl Head {
    /// Which of [`tables::KINDS`] it is.
    pub fn kind(&self) -> usize {
        usize::from(self.dictionary) + usize::from(self.former)
    }
}

impl Rows {
    /// The rows of these blocks that do not repeat the one before.
    pub fn new(blocks: BlockMask, repeats: u64) -> Self {
        let n = TILE as usize;
        let mut rows = Self { count: 0, y: [0; 64], blocks: [0; 64], of: [0; 64] };
        for y in 0..n {
            let coded = band(blocks, y as u32 / 16);
            if coded == 0 {
                continue;
            }
            if repeats >> y & 1 == 0 || rows.count == 0 {
                rows.y[rows.count] = y as u8;
                rows.blocks[rows.count] = coded;
                rows.count += 1;
            }
            rows.of[y] = rows.count as u8 - 1;
        }
        rows
    }

    /// Steps until the last lane is done.
    pub fn steps(&self, lanes: usize) -> usize {
        let groups = self.count.div_ceil(lanes);
        64 * groups + STAGGER * (lanes - 1)
    }
}
