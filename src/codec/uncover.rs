//! What lies under windows: for each tile the cache slots that hold what it showed before, and whether one of them,
//! with the frame's copies drawn over it, makes the tile right again.
//!
//! A window that moves is one COPY; what it uncovers would have to be sent anew at every step. It was kept when the
//! window covered it, though, as a whole tile, and comes back by UNCOVER. Programs often draw what was uncovered some
//! milliseconds after the window has moved on; the window is then copied onto itself.

use crate::codec::cache::Seen;
use crate::codec::canvas::Picture;
use crate::codec::encode::View;
use crate::codec::motion::same_pixels;
use crate::geom::{BLOCK, BLOCKS_PER_SIDE, BlockMask, Rect, TILE, TileIndex};

/// What is remembered of a tile: the desktop, two windows, and a menu.
const DEPTH: usize = 4;

/// For each tile what it showed before.
#[derive(Debug)]
pub(super) struct Under {
    /// Newest first; worth nothing once the slot holds something else.
    tiles: Vec<[Option<Seen>; DEPTH]>,
}

/// The part of a tile that a frame's copies write, a bit for each pixel.
#[derive(Debug)]
pub(super) struct Copied([u64; TILE as usize]);

/// What UNCOVER would change in a tile.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offer<'a> {
    /// The slot's pixels.
    pub(super) slot: &'a [u32],
    /// What the viewer holds with the copies made.
    pub(super) held: &'a Picture,
    /// What it should hold.
    pub(super) current: View<'a>,
    /// The tile, as far as it is on the screen.
    pub(super) tile: Rect,
}

impl Offer<'_> {
    /// Whether a few pixels say that nothing of the tile is right. In a picture that is another one this spares a look at
    /// every block of memory that was last used long ago.
    fn is_other(&self) -> bool {
        (0..4).all(|i| {
            let (x, y) = (16 * (i * 3 % 4) + 5, 16 * i + 7);
            x >= self.tile.w || y >= self.tile.h || {
                let current = self.current.row(self.tile.y + y)[(self.tile.x + x) as usize];
                (self.slot[(y * TILE + x) as usize] ^ current) & 0x00ff_ffff != 0
            }
        })
    }
}

impl Under {
    /// Nothing is remembered of so many tiles.
    pub(super) fn new(tiles: usize) -> Self {
        Self { tiles: vec![[None; DEPTH]; tiles] }
    }

    /// The tile's pixels are in this slot and are about to be overwritten.
    pub(super) fn handle_kept(&mut self, tile: TileIndex, seen: Seen) {
        let slots = &mut self.tiles[tile.0 as usize];
        let place = slots.iter().position(|s| *s == Some(seen)).unwrap_or(DEPTH - 1);
        slots[..=place].rotate_right(1);
        slots[0] = Some(seen);
    }

    /// What the tile showed, newest first.
    pub(super) fn seen(&self, tile: TileIndex) -> impl Iterator<Item = Seen> {
        self.tiles[tile.0 as usize].into_iter().flatten()
    }
}

impl Copied {
    /// What copies to these places write of a tile.
    pub(super) fn new(destinations: &[Rect], tile: Rect) -> Self {
        let mut rows = [0; TILE as usize];
        for destination in destinations {
            let part = destination.intersection(tile);
            if !part.is_empty() {
                let bits = (!0u64 >> (TILE - part.w)) << (part.x - tile.x);
                rows[(part.y - tile.y) as usize..][..part.h as usize].iter_mut().for_each(|row| *row |= bits);
            }
        }
        Self(rows)
    }

    /// The blocks that the copies write some pixels of.
    pub(super) fn blocks(&self) -> BlockMask {
        let side = BLOCK as usize;
        let block = |i: usize| {
            let bits = 0xffff << (i % 4 * side);
            u16::from(self.0[i / 4 * side..][..side].iter().any(|row| row & bits != 0)) << i
        };
        BlockMask((0..16).map(block).sum())
    }

    /// The blocks that the copies write every pixel of.
    pub(super) fn whole_blocks(&self) -> BlockMask {
        let side = BLOCK as usize;
        let block = |i: usize| {
            let bits = 0xffff << (i % 4 * side);
            u16::from(self.0[i / 4 * side..][..side].iter().all(|row| row & bits == bits)) << i
        };
        BlockMask((0..16).map(block).sum())
    }

    /// Writes a slot's pixels into a tile, but for what the copies have written.
    pub(super) fn write_below(&self, slot: &[u32], held: &mut Picture, tile: Rect) {
        let stride = held.size.w as usize;
        for (y, (bits, slot)) in self.0.iter().zip(slot.chunks_exact(TILE as usize)).enumerate().take(tile.h as usize) {
            let row = &mut held.pixels[(tile.y as usize + y) * stride + tile.x as usize..][..tile.w as usize];
            for (x, (pixel, slot)) in row.iter_mut().zip(slot).enumerate() {
                if bits >> x & 1 == 0 {
                    *pixel = *slot;
                }
            }
        }
    }

    /// The blocks of a tile that are still wrong with a slot's pixels under the copies; `None` if they are not fewer than
    /// `limit`.
    pub(super) fn wrong_over(&self, offer: Offer, limit: u32) -> Option<BlockMask> {
        let mut wrong = BlockMask::NONE;
        if limit == BLOCKS_PER_SIDE * BLOCKS_PER_SIDE && self.blocks().is_empty() && offer.is_other() {
            return None;
        }
        for block in 0..BLOCKS_PER_SIDE * BLOCKS_PER_SIDE {
            let (x, y) = (block % BLOCKS_PER_SIDE * BLOCK, block / BLOCKS_PER_SIDE * BLOCK);
            if !(y..(y + BLOCK).min(offer.tile.h)).all(|y| self.is_right(&offer, x, y)) {
                wrong.0 |= 1 << block;
                if wrong.count() >= limit {
                    return None;
                }
            }
        }
        Some(wrong)
    }

    /// Whether 16 pixels, or as many as there are, would be right.
    fn is_right(&self, offer: &Offer, x: u32, y: u32) -> bool {
        let Some(width) = offer.tile.w.checked_sub(x) else { return true };
        let (left, width) = ((offer.tile.x + x) as usize, width.min(BLOCK) as usize);
        let current = &offer.current.row(offer.tile.y + y)[left..][..width];
        let slot = &offer.slot[(y * TILE + x) as usize..][..width];
        match self.0[y as usize] >> x & 0xffff {
            0 => same_pixels(slot, current),
            0xffff => same_pixels(&offer.held.row(offer.tile.y + y)[left..][..width], current),
            bits => {
                let held = &offer.held.row(offer.tile.y + y)[left..][..width];
                let will_be = |i: usize| if bits >> i & 1 == 1 { held[i] } else { slot[i] };
                current.iter().enumerate().all(|(i, pixel)| (will_be(i) ^ pixel) & 0x00ff_ffff == 0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geom::Size;

    #[test]
    fn what_the_copies_write_need_not_be_right_below() {
        let tile = Rect::new(64, 0, 64, 64);
        let mut picture = Picture::new(Size::new(128, 64));
        let slot: Vec<u32> = (0..4096).map(|i| i * 77).collect();
        let mut held = picture.clone();
        for y in 0..64 {
            for x in 0..64 {
                let at = y * 128 + 64 + x;
                let window = (10..40).contains(&x) && y >= 20;
                picture.pixels[at] = if window { 0xff00_00ff } else { 0xff00_0000 | slot[y * 64 + x] };
                held.pixels[at] = if window { 0x0000_00ff } else { 0x00aa_aaaa };
            }
        }
        let offer = Offer { slot: &slot, held: &held, current: View::of(&picture), tile };
        let place = |x: u32, w| Rect::new(64 + x, 20, w, 44);
        let wrong = |places: &[Rect], limit| Copied::new(places, tile).wrong_over(offer, limit);
        assert_eq!(wrong(&[place(10, 30)], 1), Some(BlockMask::NONE));
        assert_eq!(wrong(&[place(11, 29)], 16), Some(BlockMask(0x1110)));
        assert_eq!(wrong(&[place(10, 31)], 16), Some(BlockMask(0x4440)));
        assert_eq!(wrong(&[place(11, 29)], 3), None);
        assert_eq!(wrong(&[], 16), Some(BlockMask(0x7770)));
        assert_eq!(Copied::new(&[place(16, 17)], tile).blocks(), BlockMask(0x6660));
        assert_eq!(Copied::new(&[place(16, 17)], tile).whole_blocks(), BlockMask(0x2200));
    }

    #[test]
    fn the_newest_comes_first_and_the_oldest_goes() {
        let mut under = Under::new(2);
        let seen = |slot| Seen { slot, hash: 100 + u64::from(slot) };
        for slot in [1, 2, 3, 2, 4, 5] {
            under.handle_kept(TileIndex(1), seen(slot));
        }
        assert_eq!(under.seen(TileIndex(1)).map(|s| s.slot).collect::<Vec<_>>(), [5, 4, 2, 3]);
        assert_eq!(under.seen(TileIndex(0)).count(), 0);
    }
}
