//! Which blocks are photos, when they may be written with loss, and when the viewer gets their pixels after all.
//!
//! Only photos that move or fill much of the screen are written with loss (mode WAVE), never text. The encoder keeps the
//! true pixels; here stands for which blocks the viewer holds only nearly those. Sooner or later each is written again.

use crate::codec::encode::{Scarce, View};
use crate::codec::format::CopyRect;
use crate::geom::{BLOCK, BLOCKS_PER_SIDE, BlockMask, Rect, TileGrid, TileIndex};
use multiversion::multiversion;
use std::time::Duration;

/// The quantiser of a first paint: 37 dB on the sharpest photo that was measured, 40 dB on others.
pub(super) const QUANTISER: u8 = 3;
/// Photo-like tiles of a picture that are written exactly at once, at most: some milliseconds at both ends.
const EXACT_TILES_MAX: usize = 12;
/// What a photo-like tile costs without loss, in bytes, about.
const EXACT_TILE_BYTES: usize = 7 << 10;
/// A tile that changes for the third time within this moves.
const MOVING_WITHIN: Duration = Duration::from_millis(400);
/// Photos that stood still for this long are written exactly, where the path has room for it.
const STILL_FAST: Duration = Duration::from_millis(150);
/// Likewise where bytes are scarce: half a film's frames would come in between otherwise.
const STILL_SLOW: Duration = Duration::from_millis(250);
/// Pixels of a block that may equal their left neighbour in a photo without a closer look.
const EQUAL_MAX: u32 = 60;
/// A colour that has one in so many of a block's pixels is a background.
const BACKGROUND_SHARE: usize = 5;
/// Pixels of a block that are compared to find a background.
const SAMPLES: usize = 64;
/// Steps of brightness from a pixel to the next that are a letter's edge.
const EDGE: i32 = 64;
/// Such edges in a block that a photo may have.
const EDGES_MAX: u32 = 24;

/// Difference between neighbours in a channel from which on there may be a letter.
const CALM_STEP: u32 = 12;
/// Pixels of a calm block that may equal their left neighbour; with more it is a plain surface.
const CALM_EQUAL_MAX: u32 = 200;
/// Colours among the samples of a calm block that is no plain surface.
const CALM_COLORS_MIN: usize = 5;

/// What the viewer holds only nearly.
#[derive(Debug)]
pub(super) struct Photos {
    grid: TileGrid,
    tiles: Vec<State>,
    /// Tiles with lossy blocks.
    lossy_tiles: usize,
    /// The photos of this picture are too many to be written exactly at once.
    hasty: bool,
}

/// What is known of a tile.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// Blocks of which the viewer holds only nearly the pixels.
    lossy: BlockMask,
    /// When its pixels last changed, and the time before.
    changed: [Option<Duration>; 2],
}

impl Photos {
    pub(super) fn new(grid: TileGrid) -> Self {
        Self { grid, tiles: vec![State::default(); grid.count() as usize], lossy_tiles: 0, hasty: false }
    }

    /// A picture begins in which so many tiles look like photos; `budget` bytes may be sent at once.
    pub(super) fn handle_picture(&mut self, photo_tiles: usize, budget: usize) {
        self.hasty = photo_tiles > EXACT_TILES_MAX.min(budget / EXACT_TILE_BYTES);
    }

    /// Whether the photos of this picture are written with loss because they are so many.
    pub(super) fn is_hasty(&self) -> bool {
        self.hasty
    }

    /// Whether the photos of a tile that changes now may be written with loss.
    pub(super) fn may_lose(&self, tile: TileIndex, now: Duration) -> bool {
        let [_, before] = self.tiles[tile.0 as usize].changed;
        self.hasty || before.is_some_and(|before| now.saturating_sub(before) <= MOVING_WITHIN)
    }

    /// A tile is about to be written.
    pub(super) fn handle_change(&mut self, tile: TileIndex, now: Duration) {
        let [last, before] = &mut self.tiles[tile.0 as usize].changed;
        (*before, *last) = (*last, Some(now));
    }

    /// These blocks of a tile were written, some of them with loss.
    pub(super) fn handle_written(&mut self, tile: TileIndex, blocks: BlockMask, lossy: BlockMask) {
        let state = &mut self.tiles[tile.0 as usize];
        let before = state.lossy;
        state.lossy.0 = before.0 & !blocks.0 | lossy.0;
        self.lossy_tiles += usize::from(!state.lossy.is_empty());
        self.lossy_tiles -= usize::from(!before.is_empty());
    }

    /// These blocks of a tile, or parts of them, came back from the cache, some of them with loss.
    pub(super) fn handle_recalled(&mut self, tile: TileIndex, blocks: BlockMask, lossy: BlockMask, now: Duration) {
        if !lossy.is_empty() {
            self.tiles[tile.0 as usize].changed[0] = Some(now);
        }
        self.handle_written(tile, blocks, lossy);
    }

    /// Pixels were copied, and with them their loss.
    pub(super) fn handle_copies(&mut self, copies: &[CopyRect], now: Duration) {
        if self.is_exact() {
            return;
        }
        let before: Vec<BlockMask> = self.tiles.iter().map(|s| s.lossy).collect();
        let grid = self.grid;
        for copy in copies {
            let to = copy.destination();
            for tile in grid.tiles_in(to) {
                let mut lossy = self.tiles[tile.0 as usize].lossy;
                for block in grid.visible(tile).blocks() {
                    let whole = grid.block(tile, block);
                    let part = whole.intersection(to);
                    if part.is_empty() {
                        continue;
                    }
                    let (x, y) = (part.x - copy.x + copy.source.x, part.y - copy.y + copy.source.y);
                    let from = Rect { x, y, ..part };
                    let was_lossy = grid.tiles_in(from).any(|tile| {
                        let mut lossy = before[tile.0 as usize].blocks();
                        lossy.any(|block| grid.block(tile, block).intersects(from))
                    });
                    if was_lossy {
                        lossy.0 |= 1 << block;
                    } else if part == whole {
                        lossy.0 &= !(1 << block);
                    }
                }
                if !lossy.is_empty() {
                    self.tiles[tile.0 as usize].changed[0] = Some(now);
                }
                self.handle_written(tile, BlockMask::ALL, lossy);
            }
        }
    }

    /// Whether the viewer holds every pixel as it is.
    pub(super) fn is_exact(&self) -> bool {
        self.lossy_tiles == 0
    }

    /// The blocks of a tile that the viewer holds only nearly.
    pub(super) fn lossy(&self, tile: TileIndex) -> BlockMask {
        self.tiles[tile.0 as usize].lossy
    }

    /// When the next blocks have stood still for long enough; none if all are exact.
    pub(super) fn still_at(&self, scarce: Scarce) -> Option<Duration> {
        if self.is_exact() {
            return None;
        }
        self.tiles.iter().filter(|s| !s.lossy.is_empty()).map(|s| s.still_at(scarce)).min()
    }

    /// The lossy blocks of a tile, if they have stood still for long enough to be written exactly.
    pub(super) fn still(&self, tile: TileIndex, scarce: Scarce, now: Duration) -> BlockMask {
        let state = &self.tiles[tile.0 as usize];
        if !state.lossy.is_empty() && state.still_at(scarce) <= now { state.lossy } else { BlockMask::NONE }
    }
}

impl State {
    fn still_at(&self, scarce: Scarce) -> Duration {
        let wait = match scarce {
            Scarce::Time | Scarce::Decoding => STILL_FAST,
            Scarce::Bytes => STILL_SLOW,
        };
        self.changed[0].unwrap_or_default() + wait
    }
}

/// Those of a tile's blocks that are photos. Where the screen's edge cuts a block, the last pixels go on.
#[multiversion(targets("x86_64+avx+avx2+bmi1+bmi2+lzcnt+popcnt"))]
pub(super) fn photo_blocks(picture: &View, tile: Rect, blocks: BlockMask) -> BlockMask {
    let is_photo_block = |block: u32| {
        let (x, y) = (tile.x + block % BLOCKS_PER_SIDE * BLOCK, tile.y + block / BLOCKS_PER_SIDE * BLOCK);
        let row = |i: usize| &picture.row((y + i as u32).min(tile.bottom() - 1))[x as usize..tile.right() as usize];
        if row(0).len() >= BLOCK as usize {
            return is_photo(|i| row(i).first_chunk().expect("it is not cut"));
        }
        let cut: [[u32; BLOCK as usize]; BLOCK as usize] = std::array::from_fn(|i| {
            let row = row(i);
            std::array::from_fn(|x| row[x.min(row.len() - 1)])
        });
        is_photo(|i| &cut[i])
    };
    blocks.blocks().filter(|block| is_photo_block(*block)).fold(BlockMask::NONE, |m, b| BlockMask(m.0 | 1 << b))
}

/// Whether a block, given by its rows, has neither a background nor a letter's edges.
#[inline(always)]
fn is_photo<'a>(row: impl Fn(usize) -> &'a [u32; BLOCK as usize]) -> bool {
    let (mut equal, mut edges) = (0, 0);
    for y in 0..BLOCK as usize {
        let row = row(y);
        let green = row.map(|p| (p >> 8 & 0xff) as i32);
        for x in 1..BLOCK as usize {
            equal += u32::from((row[x] ^ row[x - 1]) & 0x00ff_ffff == 0);
            edges += u32::from((green[x] - green[x - 1]).abs() >= EDGE);
        }
    }
    edges <= EDGES_MAX && (equal <= EQUAL_MAX || !has_background(&row) || equal <= CALM_EQUAL_MAX && is_calm(&row))
}

/// Whether there are many colours and no step between neighbours that an eye would take for a letter's edge: a sky.
#[inline(always)]
fn is_calm<'a>(row: impl Fn(usize) -> &'a [u32; BLOCK as usize]) -> bool {
    let is_step = |a: u32, b: u32| [0, 8, 16].iter().any(|s| (a >> s & 0xff).abs_diff(b >> s & 0xff) >= CALM_STEP);
    let mut colors = [0; SAMPLES];
    for y in 0..BLOCK as usize {
        let (above, row) = (row(y.saturating_sub(1)), row(y));
        if (1..BLOCK as usize).any(|x| is_step(row[x], row[x - 1]))
            || row.iter().zip(above).any(|(a, b)| is_step(*a, *b))
        {
            return false;
        }
        colors[4 * y..4 * y + 4].copy_from_slice(&[0, 5, 10, 15].map(|x| row[x] & 0x00ff_ffff));
    }
    colors.sort_unstable();
    colors.chunk_by(|a, b| a == b).count() >= CALM_COLORS_MIN
}

/// Whether a colour stands out.
#[inline(always)]
fn has_background<'a>(row: impl Fn(usize) -> &'a [u32; BLOCK as usize]) -> bool {
    // Every fourth pixel of a row, in another place in each.
    let mut samples = [0; SAMPLES];
    for (i, sample) in samples.iter_mut().enumerate() {
        *sample = row(i / 4)[i % 4 * 4 + i / 4 % 4] & 0x00ff_ffff;
    }
    samples.sort_unstable();
    let most = samples.chunk_by(|a, b| a == b).map(<[u32]>::len).max().unwrap_or_default();
    most * BACKGROUND_SHARE >= SAMPLES
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A block of grey levels.
    fn block(level: impl Fn(u32, u32) -> u32) -> Vec<[u32; BLOCK as usize]> {
        (0..BLOCK).map(|y| std::array::from_fn(|x| level(x as u32, y) * 0x0001_0101)).collect()
    }

    #[test]
    fn skies_are_photos_and_faint_letters_are_not() {
        let noise = |x: u32, y: u32| {
            (x.wrapping_mul(0x9e37_79b9) ^ y.wrapping_mul(0x85eb_ca6b)).wrapping_mul(0xc2b2_ae35) >> 24
        };
        // In pieces of two pixels, as JPEG leaves them.
        let sky = block(|x, y| 190 + y / 4 + noise(x / 2, y) % 5);
        let faint = |step: u32| block(|x, y| 240 - if noise(x / 3, y / 5) % 4 == 0 { step + x % 3 } else { 0 });
        let plain = block(|x, y| 200 + u32::from(noise(x, y) == 0));
        let is_photo = |rows: &[[u32; BLOCK as usize]]| is_photo(|y| &rows[y]);
        assert!(is_photo(&sky));
        assert!(![faint(12), faint(40), faint(200), plain].iter().any(|rows| is_photo(rows)));
    }
}
