//! The host's side of the tile cache: which tile is in which slot, and which slot is free next.
//!
//! Contents are compared pixel by pixel before a slot is recalled, so equal hashes never make a wrong picture.

use crate::codec::format::CACHE_SLOTS;
use crate::codec::motion::same_pixels;
use crate::geom::{BlockMask, Rect, Size, TILE};
use std::collections::HashMap;

/// Slots not used for longest that are looked up at a time.
const OLDEST_COUNT: usize = 64;
/// Pixels of a tile.
const TILE_PIXELS: usize = (TILE * TILE) as usize;

/// What the viewer's cache holds. At most 32 MiB of pixels.
#[derive(Debug, Default)]
pub struct TileCache {
    slots: Vec<Slot>,
    by_hash: HashMap<u64, u32>,
    /// Some of the slots not used for longest, `(used, slot)`, the oldest last; stale where the slot was used since.
    oldest: Vec<(u32, u32)>,
}

#[derive(Debug)]
struct Slot {
    hash: u64,
    /// What of the tile lies on the screen.
    size: Size,
    /// Rows of 64 pixels, black where the tile is cut.
    pixels: Vec<u32>,
    /// Blocks of which the viewer holds only nearly these pixels.
    lossy: BlockMask,
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

/// A tile where it lies in a picture, as far as it is on the screen. Only the 24 bits of colour count.
#[derive(Clone, Copy, Debug)]
pub struct TileView<'a> {
    pixels: &'a [u32],
    stride: usize,
    size: Size,
}

impl<'a> TileView<'a> {
    /// A view of a tile of a picture whose rows are `stride` pixels apart.
    ///
    /// # Panics
    /// If the tile is empty, larger than 64×64, or not in the picture.
    pub fn new(pixels: &'a [u32], stride: usize, tile: Rect) -> Self {
        let (first, size) = (tile.y as usize * stride + tile.x as usize, Size::new(tile.w, tile.h));
        let count = (tile.h as usize - 1) * stride + tile.w as usize;
        assert!(!size.is_empty() && size.w <= TILE && size.h <= TILE && tile.right() as usize <= stride, "{tile:?}");
        Self { pixels: &pixels[first..first + count], stride, size }
    }

    /// Its rows.
    pub fn rows(self) -> impl Iterator<Item = &'a [u32]> {
        self.pixels.chunks(self.stride).map(move |row| &row[..self.size.w as usize])
    }

    /// A hash of its pixels.
    pub fn hash(self) -> u64 {
        // Four chains, so that one multiplication need not wait for the one before.
        let mut chains =
            [0x243f_6a88_85a3_08d3u64, 0x1319_8a2e_0370_7344, 0xa409_3822_299f_31d0, 0x082e_fa98_ec4e_6c89];
        chains[0] ^= u64::from(self.size.w) | u64::from(self.size.h) << 32;
        let mix = |chain: &mut u64, low: u32, high: u32| {
            *chain = (*chain ^ (u64::from(low & 0x00ff_ffff) | u64::from(high & 0x00ff_ffff) << 32))
                .wrapping_mul(MULTIPLIER);
            *chain ^= *chain >> 29;
        };
        for row in self.rows() {
            let eights = row.chunks_exact(8);
            // Only tiles that the right edge cuts have such.
            eights.remainder().iter().for_each(|pixel| mix(&mut chains[0], *pixel, 0));
            for eight in eights {
                for (chain, pair) in chains.iter_mut().zip(eight.chunks_exact(2)) {
                    mix(chain, pair[0], pair[1]);
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

    /// The blocks of a slot of which the viewer holds only nearly the pixels.
    ///
    /// # Panics
    /// If nothing was ever stored there.
    pub fn lossy(&self, slot: u32) -> BlockMask {
        self.slots[slot as usize].lossy
    }

    /// Whether the viewer would hold a slot more nearly if it had these blocks only nearly.
    ///
    /// # Panics
    /// If nothing was ever stored there.
    pub fn is_worse(&self, slot: u32, lossy: BlockMask) -> bool {
        let had = self.slots[slot as usize].lossy;
        had != lossy && lossy.0 & !had.0 == 0
    }

    /// Whether frame `sequence` has stored or recalled the slot.
    ///
    /// # Panics
    /// If nothing was ever stored there.
    pub fn is_used_by(&self, slot: u32, sequence: u32) -> bool {
        self.slots[slot as usize].used == sequence
    }

    /// The viewer's slot is written anew by frame `sequence`, with the same tile, of which it now holds nearly only these
    /// blocks.
    ///
    /// # Panics
    /// If nothing was ever stored there.
    pub fn handle_stored_again(&mut self, slot: u32, lossy: BlockMask, sequence: u32) {
        let held = &mut self.slots[slot as usize];
        (held.lossy, held.used) = (lossy, sequence);
    }

    /// The pixels of a slot, rows of 64.
    ///
    /// # Panics
    /// If nothing was ever stored there.
    pub fn slot_pixels(&self, slot: u32) -> &[u32] {
        &self.slots[slot as usize].pixels
    }

    /// Puts a tile into a free slot, or into the one not used for longest; `None` if all are used by this very frame.
    /// Of the blocks in `lossy` the viewer holds only nearly the pixels.
    pub fn store(&mut self, tile: TileView, hash: u64, lossy: BlockMask, sequence: u32) -> Option<u32> {
        let slot = if self.slots.len() < CACHE_SLOTS as usize {
            let pixels = Vec::with_capacity(TILE_PIXELS);
            self.slots.push(Slot { hash: 0, size: Size::default(), pixels, lossy: BlockMask::NONE, used: 0 });
            self.slots.len() as u32 - 1
        } else {
            self.oldest(sequence)?
        };
        let held = &mut self.slots[slot as usize];
        if self.by_hash.get(&held.hash) == Some(&slot) {
            self.by_hash.remove(&held.hash);
        }
        self.by_hash.insert(hash, slot);
        (held.hash, held.size, held.lossy, held.used) = (hash, tile.size, lossy, sequence);
        held.pixels.clear();
        for row in tile.rows() {
            held.pixels.extend(row.iter().map(|p| p & 0x00ff_ffff));
            held.pixels.resize(held.pixels.len().next_multiple_of(TILE as usize), 0);
        }
        held.pixels.resize(TILE_PIXELS, 0);
        Some(slot)
    }

    /// The slot not used for longest, unless this very frame used it.
    fn oldest(&mut self, sequence: u32) -> Option<u32> {
        let is_current = |slots: &[Slot], (used, slot): (u32, u32)| slots[slot as usize].used == used;
        let mut next = self.oldest.pop();
        while next.is_some_and(|entry| !is_current(&self.slots, entry)) {
            next = self.oldest.pop();
        }
        let (used, slot) = match next {
            Some(entry) => entry,
            None => {
                // In descending order, to be taken from its end.
                let mut all: Vec<_> = self.slots.iter().map(|s| s.used).zip(0..).collect();
                let (few, ..) = all.select_nth_unstable(OLDEST_COUNT);
                few.sort_unstable_by(|a, b| b.cmp(a));
                self.oldest = few.to_vec();
                self.oldest.pop()?
            }
        };
        (used != sequence).then_some(slot)
    }

    /// The slot that holds exactly this tile, whose hash is `hash`; for looking only.
    pub fn find(&self, tile: TileView, hash: u64) -> Option<u32> {
        let slot = *self.by_hash.get(&hash)?;
        let held = &self.slots[slot as usize];
        let rows = held.pixels.chunks(TILE as usize);
        (held.size == tile.size && tile.rows().zip(rows).all(|(a, b)| same_pixels(a, b))).then_some(slot)
    }
}

const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: Rect = Rect::new(0, 0, TILE, TILE);

    fn pixels(n: u32) -> Vec<u32> {
        (0..TILE_PIXELS as u32).map(|i| (i * 31 + n) & 0x00ff_ffff).collect()
    }

    fn store(cache: &mut TileCache, n: u32, sequence: u32) -> Option<u32> {
        let pixels = pixels(n);
        let tile = TileView::new(&pixels, TILE as usize, WHOLE);
        cache.store(tile, tile.hash(), BlockMask::NONE, sequence)
    }

    fn recall(cache: &mut TileCache, n: u32, sequence: u32) -> Option<u32> {
        let pixels = pixels(n);
        let tile = TileView::new(&pixels, TILE as usize, WHOLE);
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
        let (plain, marked) =
            (TileView::new(&plain, TILE as usize, WHOLE), TileView::new(&marked, TILE as usize, WHOLE));
        let mut cache = TileCache::new();
        assert_eq!(cache.store(marked, marked.hash(), BlockMask::NONE, 1), Some(0));
        assert_eq!((plain.hash(), cache.recall(plain, plain.hash(), 2)), (marked.hash(), Some(0)));
        assert!(!plain.is_solid());
        let alike: Vec<u32> = (0..TILE_PIXELS as u32).map(|i| i << 24 | 7).collect();
        assert!(TileView::new(&alike, TILE as usize, WHOLE).is_solid());
    }

    #[test]
    fn cut_tiles_are_kept_and_are_no_whole_ones() {
        let pixels = pixels(3);
        let view = |w, h| TileView::new(&pixels, TILE as usize, Rect::new(0, 0, w, h));
        let mut cache = TileCache::new();
        for (slot, (w, h)) in [(64, 64), (64, 56), (13, 64), (13, 9), (12, 9)].into_iter().enumerate() {
            let tile = view(w, h);
            assert_eq!(cache.find(tile, tile.hash()), None, "{w}x{h}");
            assert_eq!(cache.store(tile, tile.hash(), BlockMask::NONE, 1), Some(slot as u32));
            assert_eq!(cache.find(tile, tile.hash()), Some(slot as u32));
        }
        let seen = Seen { slot: 3, hash: view(13, 9).hash() };
        let kept = cache.pixels(seen).expect("it is there");
        assert_eq!((kept.len(), kept[12], kept[13], kept[64]), (TILE_PIXELS, pixels[12], 0, pixels[64]));
    }
}
