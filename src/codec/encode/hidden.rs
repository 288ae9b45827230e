//! What lies under windows and is not exact yet: tiles that a window has covered before the viewer had every pixel of them.
//!
//! The X server tells which windows are mapped, so what they cover is kept in the cache however new it is, with its loss, and
//! made exact there once nothing else happens.

use super::{Encoder, Scarce, View};
use crate::codec::cache::{Seen, TileCache};
use crate::codec::format::SectionWriter;
use crate::codec::modes::TileChange;
use crate::geom::{BlockMask, Rect, TILE, TileGrid, TileIndex};
use std::collections::VecDeque;
use std::time::Duration;

/// No picture for this long: time for what nobody sees.
pub(super) const IDLE_AFTER: Duration = Duration::from_millis(300);
/// Windows mapped between two pictures that are looked at.
const MAPPED_MAX: usize = 16;
/// How often a tile is kept although it did not stand still, once a window was mapped over it: when the window's program has
/// drawn, and before that for what was still under way.
const KEPT: u8 = 2;
/// Tiles that wait, at most: two full screens. The oldest go first.
const WAITING_MAX: usize = 1024;
/// What such a tile costs without loss, in bytes, about.
const TILE_BYTES: usize = 4 << 10;

/// Tiles under windows.
#[derive(Debug)]
pub(super) struct Hidden {
    grid: TileGrid,
    /// Windows that were mapped since the last picture.
    mapped: Vec<Rect>,
    /// For each tile how often it is still kept because a window was mapped over it.
    covered: Vec<u8>,
    /// What the viewer's cache has only nearly, oldest first.
    waiting: VecDeque<(TileIndex, Seen)>,
}

impl Hidden {
    /// Nothing is covered.
    pub(super) fn new(grid: TileGrid) -> Self {
        let covered = vec![0; grid.count() as usize];
        Self { grid, mapped: Vec::new(), covered, waiting: VecDeque::new() }
    }

    /// A window was mapped here.
    pub(super) fn handle_mapped(&mut self, window: Rect) {
        if self.mapped.len() < MAPPED_MAX {
            self.mapped.push(window.intersection(self.grid.size().rect()));
        }
    }

    /// A picture begins.
    pub(super) fn handle_picture(&mut self) {
        for window in self.mapped.drain(..) {
            self.grid.tiles_in(window).for_each(|tile| self.covered[tile.0 as usize] = KEPT);
        }
    }

    /// Whether what a tile shows is about to be covered by a window.
    pub(super) fn is_covered(&self, tile: TileIndex) -> bool {
        self.covered[tile.0 as usize] > 0
    }

    /// A tile was kept; `is_near` if with loss and under a window.
    pub(super) fn handle_kept(&mut self, tile: TileIndex, seen: Seen, is_near: bool) {
        let covered = &mut self.covered[tile.0 as usize];
        *covered = covered.saturating_sub(1);
        if is_near {
            if self.waiting.len() == WAITING_MAX {
                self.waiting.pop_front();
            }
            self.waiting.push_back((tile, seen));
        }
    }

    /// Whether there is something to make exact.
    pub(super) fn is_waiting(&self, cache: &TileCache) -> bool {
        self.waiting.iter().any(|(_, seen)| is_near(cache, *seen))
    }

    /// The next tiles with their slots, for a frame of about `budget` bytes: ascending, no tile and no slot twice.
    pub(super) fn take(&mut self, cache: &TileCache, budget: usize) -> Vec<(TileIndex, u32)> {
        let mut taken: Vec<(TileIndex, u32)> = Vec::new();
        let mut left = VecDeque::new();
        while let Some((tile, seen)) = self.waiting.pop_front() {
            let is_full = taken.len() * TILE_BYTES >= budget.max(1);
            if is_full || taken.iter().any(|(other, slot)| *other == tile || *slot == seen.slot) {
                left.push_back((tile, seen));
            } else if is_near(cache, seen) {
                taken.push((tile, seen.slot));
            }
        }
        self.waiting = left;
        taken.sort_unstable_by_key(|(tile, _)| *tile);
        taken
    }
}

impl Encoder {
    /// Writes a frame that makes exact what lies under windows, once nothing else has happened for a while: each tile is
    /// taken from its slot, made exact, kept again, and shown as it was.
    pub(super) fn refine_hidden(&mut self, input: u32, now: Duration, budget: usize) -> Option<Vec<u8>> {
        if self.scarce == Scarce::Bytes || now < self.picture_at + IDLE_AFTER {
            return None;
        }
        let taken = self.hidden.take(&self.cache, budget);
        let mut writer = SectionWriter::new();
        let mut shown = Vec::with_capacity(taken.len());
        for (tile, slot) in taken {
            let rect = self.grid.rect(tile);
            shown.push((rect, self.swap_in(rect, slot)));
            writer.uncover(tile, slot);
            let blocks = BlockMask(self.cache.lossy(slot).0 & self.grid.visible(tile).0);
            let mask = (blocks != self.grid.visible(tile)).then_some(blocks);
            let change = TileChange {
                tile,
                rect,
                blocks,
                mask,
                lossy: BlockMask::NONE,
                is_plain: false,
                is_thrifty: false,
                held: None,
            };
            let mut photos = self.photos_at_rest();
            self.modes.write(&View::of(&self.held), &change, &self.dictionary, &mut photos, &mut writer);
            writer.amend(tile, slot);
            self.cache.handle_stored_again(slot, BlockMask::NONE, self.sequence + 1);
            self.marks.handle_touched(tile, now);
        }
        self.harvest(false, true, &mut writer);
        for (rect, pixels) in shown {
            for (y, row) in (rect.y..).zip(pixels.chunks_exact(rect.w as usize)) {
                let start = (y * self.held.size.w + rect.x) as usize;
                self.held.pixels[start..][..rect.w as usize].copy_from_slice(row);
            }
        }
        (!writer.is_empty()).then(|| self.finish(writer, true, input, false))
    }

    /// Puts a slot's pixels into `held`; returns those that were there.
    fn swap_in(&mut self, rect: Rect, slot: u32) -> Vec<u32> {
        let (stride, width) = (self.held.size.w as usize, rect.w as usize);
        let mut before = Vec::with_capacity(rect.area() as usize);
        let rows = self.cache.slot_pixels(slot).chunks_exact(TILE as usize);
        for (y, new) in (rect.y..rect.bottom()).zip(rows) {
            let row = &mut self.held.pixels[y as usize * stride + rect.x as usize..][..width];
            before.extend_from_slice(row);
            row.copy_from_slice(&new[..width]);
        }
        before
    }
}

/// Whether a slot still holds what was seen there, and the viewer has it only nearly.
fn is_near(cache: &TileCache, seen: Seen) -> bool {
    cache.pixels(seen).is_some() && !cache.lossy(seen.slot).is_empty()
}
