//! The host's side of the tile cache: which tile is in which slot, and which slot is free next.
//!
//! Contents are compared pixel by pixel before a slot is recalled, so equal hashes never make a wrong picture.

use crate::codec::canvas::Picture;
use crate::codec::format::CACHE_SLOTS;
use crate::geom::{Rect, TILE};
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

/// A whole tile's pixels and their hash.
#[derive(Debug)]
pub struct TilePixels {
    hash: u64,
    pixels: Vec<u32>,
}

impl TilePixels {
    /// Copies a whole tile out of rows of pixels; only the 24 bits of colour count.
    pub fn from_rows<'a>(rows: impl Iterator<Item = &'a [u32]>) -> Self {
        let mut pixels = Vec::with_capacity(TILE_PIXELS);
        let mut hash = 0x243f_6a88_85a3_08d3u64;
        for row in rows {
            for pair in row.chunks_exact(2) {
                let (a, b) = (pair[0] & 0x00ff_ffff, pair[1] & 0x00ff_ffff);
                pixels.extend_from_slice(&[a, b]);
                hash = (hash ^ (u64::from(a) | u64::from(b) << 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                hash ^= hash >> 29;
            }
        }
        Self { hash, pixels }
    }

    /// Copies a whole tile out of a picture.
    pub fn from_picture(picture: &Picture, tile: Rect) -> Self {
        Self::from_rows((tile.y..tile.bottom()).map(|y| &picture.row(y)[tile.x as usize..][..TILE as usize]))
    }

    /// Whether all pixels are alike.
    pub fn is_solid(&self) -> bool {
        self.pixels.iter().all(|p| *p == self.pixels[0])
    }
}

impl TileCache {
    /// Nothing is cached.
    pub fn new() -> Self {
        Self::default()
    }

    /// The slot that holds exactly these pixels; it counts as used by frame `sequence`.
    pub fn recall(&mut self, tile: &TilePixels, sequence: u32) -> Option<u32> {
        let slot = *self.by_hash.get(&tile.hash)?;
        let held = &mut self.slots[slot as usize];
        if held.pixels != tile.pixels {
            return None;
        }
        held.used = sequence;
        Some(slot)
    }

    /// Whether a slot holds exactly these pixels.
    pub fn contains(&self, tile: &TilePixels) -> bool {
        self.by_hash.get(&tile.hash).is_some_and(|s| self.slots[*s as usize].pixels == tile.pixels)
    }

    /// Puts a tile into a free slot, or into the one not used for longest; `None` if all are used by this very frame.
    pub fn store(&mut self, tile: TilePixels, sequence: u32) -> Option<u32> {
        let slot = if self.slots.len() < CACHE_SLOTS as usize {
            self.slots.push(Slot { hash: 0, pixels: Vec::new(), used: 0 });
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
        self.by_hash.insert(tile.hash, slot);
        *held = Slot { hash: tile.hash, pixels: tile.pixels, used: sequence };
        Some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tile(n: u32) -> TilePixels {
        let pixels: Vec<u32> = (0..TILE_PIXELS as u32).map(|i| (i * 31 + n) & 0x00ff_ffff).collect();
        TilePixels::from_rows(pixels.chunks(TILE as usize))
    }

    #[test]
    fn the_slot_not_used_for_longest_is_taken_and_never_one_of_this_frame() {
        let mut cache = TileCache::new();
        for n in 0..CACHE_SLOTS {
            assert_eq!(cache.store(tile(n), n + 1), Some(n));
        }
        assert_eq!(cache.recall(&tile(0), 9_000), Some(0));
        assert_eq!(cache.store(tile(70_000), 9_001), Some(1));
        assert_eq!((cache.recall(&tile(1), 9_002), cache.recall(&tile(70_000), 9_002)), (None, Some(1)));
        for n in 0..CACHE_SLOTS {
            cache.store(tile(100_000 + n), 9_003);
        }
        assert_eq!(cache.store(tile(999_999), 9_003), None);
    }
}
