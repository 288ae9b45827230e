//! The host's side of the tile cache: which tile is in which slot, and which slot is free next.
//!
//! Contents are compared pixel by pixel before a slot is recalled, so equal hashes never make a wrong picture.

use crate::codec::format::CACHE_SLOTS;
use crate::codec::motion::same_pixels;
use crate::geom::TILE;
use std::collections::HashMap;

/// Pixels of a tile.
const TILE_PIXELS: usize = (TILE * TILE) as usize;

/// What the viewer's cache holds. At most 32 MiB of pixels.
#[derive(Debug, Default)]
pub struct TileCache {
    slots: Vec<Slot>,
    by_hash: HashMap<u64, u32>,
}

#[derive(Debug)]
struct Slot {
    hash: u64,
    pixels: Vec<u32>,
    /// The last frame that stored or recalled it.
    used: u32,
}

/// A slot with the hash of what it held at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The slot.
    pub slot: u32,
    /// The hash then.
    pub hash: u64,
}

/// A whole tile where it lies in a picture. Only the 24 bits of colour count.
#[derive(Clone, Copy, Debug)]
pub struct TileView<'a> {
    pixels: &'a [u32],
    stride: usize,
}

impl<'a> TileView<'a> {
    /// A view of the tile whose first pixel is the first of `pixels`; from one row to the next there are `stride`.
    ///
    /// # Panics
    /// If that is not a whole tile.
    pub fn new(pixels: &'a [u32], stride: usize) -> Self {
        let side = TILE as usize;
        assert!(stride >= side && pixels.len() >= (side - 1) * stride + side, "a whole tile lies here");
        Self { pixels, stride }
    }

    /// Its rows, each of 64 pixels.
    pub fn rows(self) -> impl Iterator<Item = &'a [u32]> {
        self.pixels.chunks(self.stride).take(TILE as usize).map(|row| &row[..TILE as usize])
    }

    /// A hash of its pixels.
    pub fn hash(self) -> u64 {
        // Four chains, so that one multiplication need not wait for the one before.
        let mut chains =
            [0x243f_6a88_85a3_08d3u64, 0x1319_8a2e_0370_7344, 0xa409_3822_299f_31d0, 0x082e_fa98_ec4e_6c89];
        for row in self.rows() {
            for eight in row.chunks_exact(8) {
                for (chain, pair) in chains.iter_mut().zip(eight.chunks_exact(2)) {
                    let word = u64::from(pair[0] & 0x00ff_ffff) | u64::from(pair[1] & 0x00ff_ffff) << 32;
                    *chain = (*chain ^ word).wrapping_mul(MULTIPLIER);
                    *chain ^= *chain >> 29;
                }
            }
        }
        chains.into_iter().fold(0, |hash, chain| (hash ^ chain).wrapping_mul(MULTIPLIER).rotate_left(27))
    }

    /// Whether all pixels are alike.
    pub fn is_solid(self) -> bool {
        let first = [self.pixels[0]; TILE as usize];
        self.rows().all(|row| same_pixels(row, &first))
    }
}

impl TileCache {
    /// Nothing is cached.
    pub fn new() -> Self {
        Self::default()
    }

    /// The slot that holds exactly this tile, whose hash is `hash`; it counts as used by frame `sequence`.
    pub fn recall(&mut self, tile: TileView, hash: u64, sequence: u32) -> Option<u32> {
        let slot = self.find(tile, hash)?;
        self.slots[slot as usize].used = sequence;
        Some(slot)
    }

    /// The pixels of a slot, if it still holds what was seen there.
    pub fn pixels(&self, seen: Seen) -> Option<&[u32]> {
        self.slots.get(seen.slot as usize).filter(|s| s.hash == seen.hash).map(|s| s.pixels.as_slice())
    }

    /// The slot counts as used by frame `sequence`.
    ///
    /// # Panics
    /// If nothing was ever stored there.
    pub fn handle_used(&mut self, slot: u32, sequence: u32) {
        self.slots[slot as usize].used = sequence;
    }

    /// Puts a tile into a free slot, or into the one not used for longest; `None` if all are used by this very frame.
    pub fn store(&mut self, tile: TileView, hash: u64, sequence: u32) -> Option<u32> {
        let slot = if self.slots.len() < CACHE_SLOTS as usize {
            self.slots.push(Slot { hash: 0, pixels: Vec::with_capacity(TILE_PIXELS), used: 0 });
            self.slots.len() as u32 - 1
        } else {
            let (slot, oldest) = self.slots.iter().enumerate().min_by_key(|(_, s)| s.used)?;
            if oldest.used == sequence {
                return None;
            }
            slot as u32
        };
        let held = &mut self.slots[slot as usize];
        if self.by_hash.get(&held.hash) == Some(&slot) {
            self.by_hash.remove(&held.hash);
        }
        self.by_hash.insert(hash, slot);
        (held.hash, held.used) = (hash, sequence);
        held.pixels.clear();
        tile.rows().for_each(|row| held.pixels.extend(row.iter().map(|p| p & 0x00ff_ffff)));
        Some(slot)
    }

    /// The slot that holds exactly this tile, whose hash is `hash`; for looking only.
    pub fn find(&self, tile: TileView, hash: u64) -> Option<u32> {
        let slot = *self.by_hash.get(&hash)?;
        let held = self.slots[slot as usize].pixels.chunks(TILE as usize);
        tile.rows().zip(held).all(|(a, b)| same_pixels(a, b)).then_some(slot)
    }
}

const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;

    fn pixels(n: u32) -> Vec<u32> {
        (0..TILE_PIXELS as u32).map(|i| (i * 31 + n) & 0x00ff_ffff).collect()
    }

    fn store(cache: &mut TileCache, n: u32, sequence: u32) -> Option<u32> {
        let pixels = pixels(n);
        let tile = TileView::new(&pixels, TILE as usize);
        cache.store(tile, tile.hash(), sequence)
    }

    fn recall(cache: &mut TileCache, n: u32, sequence: u32) -> Option<u32> {
        let pixels = pixels(n);
        let tile = TileView::new(&pixels, TILE as usize);
        cache.recall(tile, tile.hash(), sequence)
    }

    #[test]
    fn the_slot_not_used_for_longest_is_taken_and_never_one_of_this_frame() {
        let mut cache = TileCache::new();
        for n in 0..CACHE_SLOTS {
            assert_eq!(store(&mut cache, n, n + 1), Some(n));
        }
        assert_eq!(recall(&mut cache, 0, 9_000), Some(0));
        assert_eq!(store(&mut cache, 70_000, 9_001), Some(1));
        assert_eq!((recall(&mut cache, 1, 9_002), recall(&mut cache, 70_000, 9_002)), (None, Some(1)));
        for n in 0..CACHE_SLOTS {
            store(&mut cache, 100_000 + n, 9_003);
        }
        assert_eq!(store(&mut cache, 999_999, 9_003), None);
    }

    #[test]
    fn the_top_byte_is_no_part_of_a_tile() {
        let plain = pixels(5);
        let marked: Vec<u32> = plain.iter().map(|p| p | 0xa500_0000).collect();
        let (plain, marked) = (TileView::new(&plain, TILE as usize), TileView::new(&marked, TILE as usize));
        let mut cache = TileCache::new();
        assert_eq!(cache.store(marked, marked.hash(), 1), Some(0));
        assert_eq!((plain.hash(), cache.recall(plain, plain.hash(), 2)), (marked.hash(), Some(0)));
        assert!(!plain.is_solid());
        let alike: Vec<u32> = (0..TILE_PIXELS as u32).map(|i| i << 24 | 7).collect();
        assert!(TileView::new(&alike, TILE as usize).is_solid());
    }
}
