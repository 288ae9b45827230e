//! The host's encoder: damage and the current picture in, frames out.
//!
//! It keeps a copy of what the viewer holds, so only what really differs is encoded, however much the X server reports.
//! A frame ends at [`FRAME_BYTES_TARGET`]; what is left over stays dirty and comes with the next one. When to encode is
//! `proto::screen`'s business.

use crate::codec::cache::{Seen, TileCache, TileView};
use crate::codec::canvas::Picture;
use crate::codec::ctx::dictionary::Dictionary;
use crate::codec::ctx::model;
use crate::codec::format::{CopyRect, FrameHeader, SectionWriter};
use crate::codec::marks::{Agreement, Marks, TileMarks};
use crate::codec::modes::{Modes, TileChange};
use crate::codec::motion::{self, Changed, same_pixels};
use crate::codec::photos::{Photos, photo_blocks};
use crate::codec::rounds::Rounds;
use crate::codec::uncover::{Copied, Offer, Under};
use crate::geom::{BLOCK, BLOCKS_PER_SIDE, BlockMask, Rect, Size, TILE, TileGrid, TileIndex};
use std::time::Duration;

mod hidden;
use hidden::{Hidden, IDLE_AFTER};

/// A frame is ended when its tiles reach this: some milliseconds of a fast link, so that decoding the first part of a
/// large change overlaps with sending the rest.
pub const FRAME_BYTES_TARGET: usize = 192 << 10;
/// Likewise where many photos are written with loss: they have few bytes and take as long to encode and to decode, and the
/// two are to overlap.
const HASTY_BYTES_TARGET: usize = 20 << 10;
/// The first frame of such a picture, for which the viewer has waited since the change.
const HASTY_BYTES_FIRST: usize = 12 << 10;
/// Changed blocks from which on it is worth looking for motion.
const MOTION_BLOCKS_MIN: usize = 12;
/// A tile that stood still for this long is worth a cache slot when it is overwritten: it may come back.
const STORE_AFTER: Duration = Duration::from_millis(300);
/// Tiles of a picture from which on what it leaves is kept while it stands still, not when the next one overwrites it: by
/// then it would delay pixels, ten microseconds a tile at each end. Of fewer it would cost a packet of its own.
const KEEP_EARLY_MIN: usize = 64;
/// Tiles of a picture up to which each is looked up in the cache: a caret, and the letter before it.
const SMALL_PICTURE_MAX: usize = 4;
/// Tiles that are kept early by one frame: some hundred microseconds.
const KEEP_EARLY_STEP: usize = 24;
/// Photo-like tiles of a picture that are entropy-coded although time is scarce: some milliseconds at both ends.
const PHOTOS_IN_HASTE: u32 = 12;
/// Tiles of a picture up to which it is entropy-coded for a viewer that is slow to decode: a dialog, a few lines of text.
const CODED_IN_HASTE: usize = 16;
/// Changed blocks of a tile from which on cached pixels are cheaper than its blocks.
const CACHE_BLOCKS_MIN: u32 = 3;

/// Payload bytes of a frame from which on it is harvested although nothing else makes later frames wait for it: about a
/// letter that is new.
const HARVEST_BYTES_MIN: usize = 100;

/// A picture that somebody else owns: the X server's shared memory.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Rows of pixels; the top byte of each is undefined.
    pub pixels: &'a [u32],
    /// Pixels from one row to the next, at least `size.w`.
    pub stride: usize,
    /// Width and height.
    pub size: Size,
}

/// What the way to the viewer is short of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scarce {
    /// Bytes: every tile is written as small as it can be.
    #[default]
    Bytes,
    /// Time: much of what costs many bytes and is no photo is written as it is, because entropy coding would take longer
    /// at both ends than sending what it saves; and photos that stand still are made exact sooner.
    Time,
    /// The viewer's time to decode, on a path that carries everything: only small pictures are entropy-coded, photos are
    /// exact at once, and all else is written as it is.
    Decoding,
}

/// What is known of a tile's pixels.
#[derive(Clone, Copy, Debug)]
struct Known {
    hash: u64,
    /// The cache slot that held the same at some time.
    slot: Option<u32>,
}

/// The numbers of the last frames that had to do with a tile; 0 for none.
#[derive(Clone, Copy, Debug, Default)]
struct Records {
    wrote: u32,
    read: u32,
}

/// Turns changes into frames.
#[derive(Debug)]
pub struct Encoder {
    grid: TileGrid,
    /// What the viewer holds once it has applied all frames so far.
    held: Picture,
    /// For each tile the blocks that may differ from `held`.
    dirty: Vec<BlockMask>,
    /// For each tile when it last changed.
    changed_at: Vec<Duration>,
    /// For each tile what is known of what `held` has there.
    known: Vec<Option<Known>>,
    /// For each tile the hash of what it held before that, where it is known: a caret that blinks brings it back.
    former: Vec<Option<u64>>,
    cache: TileCache,
    /// Tiles to be kept as soon as they have stood still and are exact.
    keep_early: Vec<bool>,
    /// The picture in work has so many tiles that they are.
    is_large: bool,
    /// The picture in work has so few tiles that each is looked up, however little of it has changed.
    is_small: bool,
    photos: Photos,
    marks: Marks,
    under: Under,
    /// Memory for copies.
    kept: Vec<u32>,
    /// Where the last copies went, and how far; neighbours with the same way once.
    moved: Vec<Rect>,
    deltas: Vec<(i32, i32)>,
    hidden: Hidden,
    /// When the last picture was written.
    picture_at: Duration,
    /// The viewer's dictionary.
    dictionary: Dictionary,
    /// Memory for what is put into it.
    walk: model::Canvas,
    modes: Modes,
    /// For each tile whether cache and single colours have been tried in this picture.
    tried: Vec<bool>,
    /// The hash that this found, for the frame in work.
    tried_hashes: Vec<Option<u64>>,
    /// The cache was read by the frame in work.
    recalled: bool,
    /// Tiles are kept when they are written: a large picture's first frame need not keep what later ones overwrite.
    keeps_late: bool,
    sequence: u32,
    /// The last frame that read what was there, wherever it was.
    ordered: u32,
    /// For each tile the last frame that wrote records for it, and the last that read it for one.
    records: Vec<Records>,
    /// The frame that the frame in work has to wait for because of [`Self::records`].
    waits_for: u32,
    key: bool,
    scarce: Scarce,
    /// Photo-like tiles that may still be entropy-coded in this picture.
    photos_left: u32,
    /// Nothing of this picture is entropy-coded.
    is_plain: bool,
    /// The frame before ended early, so what is dirty is the rest of the same picture.
    rest: bool,
}

impl<'a> View<'a> {
    /// A view of a whole picture.
    pub fn of(picture: &'a Picture) -> View<'a> {
        View { pixels: &picture.pixels, stride: picture.size.w as usize, size: picture.size }
    }

    /// One row of pixels.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&self, y: u32) -> &'a [u32] {
        &self.pixels[y as usize * self.stride..][..self.size.w as usize]
    }
}

impl Encoder {
    /// An encoder for a screen of this size; its first frame is a key frame.
    pub fn new(size: Size) -> Self {
        let grid = TileGrid::new(size);
        let tiles = grid.count() as usize;
        Self {
            grid,
            held: Picture::new(size),
            dirty: vec![BlockMask::NONE; tiles],
            changed_at: vec![Duration::ZERO; tiles],
            known: vec![None; tiles],
            former: vec![None; tiles],
            cache: TileCache::new(),
            keep_early: vec![false; tiles],
            is_large: false,
            is_small: false,
            photos: Photos::new(grid),
            marks: Marks::new(grid),
            under: Under::new(tiles),
            kept: Vec::new(),
            moved: Vec::new(),
            deltas: Vec::new(),
            hidden: Hidden::new(grid),
            picture_at: Duration::ZERO,
            dictionary: Dictionary::new(),
            walk: model::Canvas::new(),
            tried: vec![false; tiles],
            tried_hashes: vec![None; tiles],
            recalled: false,
            keeps_late: false,
            scarce: Scarce::Bytes,
            photos_left: u32::MAX,
            is_plain: false,
            modes: Modes::new(),
            sequence: 0,
            ordered: 0,
            records: vec![Records::default(); tiles],
            waits_for: 0,
            key: true,
            rest: false,
        }
    }

    /// A viewer came whose connection has carried this many frames: the next one is a key frame with the number after.
    pub fn handle_viewer(&mut self, frames: u32) {
        self.sequence = frames;
        self.handle_refresh();
    }

    /// The next frame is a key frame; the numbering goes on.
    pub fn handle_refresh(&mut self) {
        self.key = true;
        self.rest = false;
    }

    /// The screen has another size now; the next frame is a key frame.
    pub fn handle_resize(&mut self, size: Size) {
        *self = Self { sequence: self.sequence, scarce: self.scarce, ..Self::new(size) };
    }

    /// What the way to the viewer is short of from the next picture on.
    pub fn handle_scarce(&mut self, scarce: Scarce) {
        self.scarce = scarce;
    }

    /// Something may have changed in this rectangle.
    pub fn handle_damage(&mut self, rect: Rect) {
        let rect = rect.intersection(self.grid.size().rect());
        for tile in self.grid.tiles_in(rect) {
            let t = self.grid.rect(tile);
            let part = t.intersection(rect);
            let (x0, x1) = ((part.x - t.x) / BLOCK, (part.right() - t.x).div_ceil(BLOCK));
            let (y0, y1) = ((part.y - t.y) / BLOCK, (part.bottom() - t.y).div_ceil(BLOCK));
            let row = ((1u32 << x1) - (1u32 << x0)) as u16;
            for y in y0..y1 {
                self.dirty[tile.0 as usize].0 |= row << (y * BLOCKS_PER_SIDE);
            }
        }
    }

    /// A window was mapped here and is about to cover what is there, which will come back.
    pub fn handle_mapped(&mut self, rect: Rect) {
        self.hidden.handle_mapped(rect);
    }

    /// The screen's size.
    pub fn size(&self) -> Size {
        self.grid.size()
    }

    /// Whether there may be something to send.
    pub fn has_work(&self) -> bool {
        self.key || self.dirty.iter().any(|m| !m.is_empty())
    }

    /// When [`Encoder::refine`] has something to do next; none if the viewer holds all exactly, what lies under windows
    /// included where bytes are not scarce, and what is worth it is kept.
    pub fn refine_at(&self) -> Option<Duration> {
        let waits = |i: &usize| self.keep_early[*i] && self.photos.lossy(TileIndex(*i as u32)).is_empty();
        let keep_at = (0..self.keep_early.len()).filter(waits).map(|i| self.changed_at[i] + STORE_AFTER).min();
        let has_hidden =
            || self.scarce != Scarce::Bytes && self.photos.is_exact() && self.hidden.is_waiting(&self.cache);
        let hidden_at = has_hidden().then(|| self.picture_at + IDLE_AFTER);
        self.photos.still_at(self.scarce).into_iter().chain(keep_at).chain(hidden_at).min()
    }

    /// When the viewer can be asked next, or asked again, whether tiles agree; none if all do.
    pub fn mark_at(&self) -> Option<Duration> {
        // Before a key frame the viewer may have anything.
        if self.key {
            return None;
        }
        self.marks.mark_at(|tile| self.photos.lossy(tile).is_empty())
    }

    /// The next marks to send, if their time has come.
    pub fn marks(&mut self, now: Duration) -> Option<TileMarks> {
        if self.key {
            return None;
        }
        let photos = &self.photos;
        self.marks.poll_marks(&self.held, self.sequence, now, |tile| photos.lossy(tile).is_empty())
    }

    /// The viewer's answer to marks; returns how many tiles it holds wrongly. They are sent again by
    /// [`Encoder::refine`].
    pub fn handle_agreement(&mut self, answer: &Agreement) -> usize {
        let wrong = self.marks.handle_agreement(answer);
        for tile in &wrong {
            self.photos.handle_written(*tile, BlockMask::ALL, self.grid.visible(*tile));
        }
        wrong.len()
    }

    /// Whether the last frame left a part of its picture for the next one.
    pub fn has_rest(&self) -> bool {
        self.rest
    }

    /// Rows of the screen that have to be captured before the next frame, in ascending ranges.
    pub fn dirty_rows(&self) -> Vec<std::ops::Range<u32>> {
        if self.key {
            return std::iter::once(0..self.grid.size().h).collect();
        }
        let mut rows: Vec<std::ops::Range<u32>> = Vec::new();
        for tiles in self.dirty.chunks(self.grid.columns() as usize).enumerate() {
            let (row, tiles) = tiles;
            let mask = tiles.iter().fold(0, |m, t| m | t.0);
            for block_row in 0..BLOCKS_PER_SIDE {
                if mask >> (4 * block_row) & 0xf == 0 {
                    continue;
                }
                let top = row as u32 * TILE + block_row * BLOCK;
                let bottom = (top + BLOCK).min(self.grid.size().h);
                match rows.last_mut() {
                    Some(last) if last.end == top => last.end = bottom,
                    _ => rows.push(top..bottom),
                }
            }
        }
        rows
    }

    /// Entropy-coded records of the last frame, each of at most one tile.
    pub fn coded(&self) -> usize {
        self.modes.coded
    }

    /// Number of the last frame; 0 before the first.
    pub fn sequence(&self) -> u32 {
        self.sequence
    }

    /// What the viewer holds after the last frame; nearly, until [`Encoder::refine_at`] is none.
    pub fn held(&self) -> &Picture {
        &self.held
    }

    /// Encodes the next frame of `current`, or `None` if nothing differs after all. `input` is the number of the last
    /// input event before the capture, `now` a time that only goes forward, `budget` the bytes after which the frame
    /// ends (at most [`FRAME_BYTES_TARGET`]; it may be passed by one tile).
    ///
    /// # Panics
    /// If `current` has another size than the encoder.
    pub fn encode(&mut self, current: &View, input: u32, now: Duration, budget: usize) -> Option<Vec<u8>> {
        assert_eq!(current.size, self.grid.size(), "the caller resizes the encoder with the screen");
        let (key, is_rest) = (self.key, self.rest);
        if key {
            *self = Self { sequence: self.sequence, scarce: self.scarce, ..Self::new(self.grid.size()) };
            self.dirty = (0..self.grid.count()).map(|t| self.grid.visible(TileIndex(t))).collect();
            self.changed_at.fill(now);
        }
        if !self.rest {
            self.hidden.handle_picture();
            self.photos_left = match self.scarce {
                Scarce::Bytes => u32::MAX,
                Scarce::Time => PHOTOS_IN_HASTE,
                Scarce::Decoding => 0,
            };
        }
        self.modes.coded = 0;
        let mut writer = SectionWriter::new();
        let mut ordered = key;
        self.recalled = false;
        self.drop_unchanged(current);
        if !key && !self.rest {
            let copies = self.find_copies(current);
            self.keeps_late = copies.is_empty();
            if !copies.is_empty() {
                // Before the copies overwrite them.
                for tile in (0..self.grid.count()).map(TileIndex) {
                    self.keep(tile, true, now, &mut writer);
                }
                self.copy(&copies, now, &mut writer);
                self.drop_unchanged(current);
                ordered = true;
            }
            ordered |= self.uncover(current, &copies, now, &mut writer);
        }
        let count = self.dirty.iter().filter(|m| !m.is_empty()).count();
        if !self.rest {
            (self.is_large, self.is_small) = (count >= KEEP_EARLY_MIN, count <= SMALL_PICTURE_MAX);
            self.is_plain = self.scarce == Scarce::Decoding && count > CODED_IN_HASTE;
            let photo_tiles = if self.scarce == Scarce::Decoding { 0 } else { self.photo_tiles(current) };
            self.photos.handle_picture(photo_tiles, budget);
            self.tried.fill(false);
        }
        self.tried_hashes.fill(None);
        let budget = budget.min(match (self.photos.is_hasty(), is_rest) {
            (true, false) => HASTY_BYTES_FIRST,
            (true, true) => HASTY_BYTES_TARGET,
            (false, _) => FRAME_BYTES_TARGET,
        });
        // What is not entropy-coded learns nothing from what was written before it.
        let rounds = Rounds::of(if self.is_plain { 0 } else { count });
        let mut more = false;
        for round in 0..rounds.count() {
            more |= self.encode_round(current, (rounds, round), now, budget, &mut writer);
            ordered |= self.recalled;
            let is_last = more || round + 1 == rounds.count();
            ordered |= self.harvest(!is_last, ordered || rounds.count() > 1, &mut writer);
            if more {
                break;
            }
        }
        self.rest = more;
        if writer.is_empty() && !key {
            return None;
        }
        self.picture_at = now;
        Some(self.finish(writer, ordered, input, more))
    }

    /// Writes a frame of at most about `budget` bytes with the pixels of blocks that the viewer holds only nearly and that
    /// have stood still, and with the STOREs of tiles that have; `None` if there are none. What is dirty is not looked at:
    /// it comes first, by [`Encoder::encode`].
    pub fn refine(&mut self, input: u32, now: Duration, budget: usize) -> Option<Vec<u8>> {
        if self.key || self.rest {
            return None;
        }
        self.modes.coded = 0;
        let mut writer = SectionWriter::new();
        let stored = self.keep_early(now, &mut writer);
        for tile in (0..self.grid.count()).map(TileIndex) {
            if writer.tile_bytes() >= budget.min(FRAME_BYTES_TARGET) {
                break;
            }
            let still = self.photos.still(tile, self.scarce, now);
            let blocks = BlockMask(still.0 & !self.dirty[tile.0 as usize].0);
            if blocks.is_empty() {
                continue;
            }
            let mask = (blocks != self.grid.visible(tile)).then_some(blocks);
            let (rect, lossy) = (self.grid.rect(tile), BlockMask::NONE);
            let change = TileChange { tile, rect, blocks, mask, lossy, is_plain: false, is_thrifty: false, held: None };
            let mut photos = self.photos_at_rest();
            self.modes.write(&View::of(&self.held), &change, &self.dictionary, &mut photos, &mut writer);
            self.handle_record(tile, false);
            self.photos.handle_written(tile, blocks, BlockMask::NONE);
            self.marks.handle_touched(tile, now);
        }
        if writer.is_empty() && self.photos.is_exact() {
            return self.refine_hidden(input, now, budget);
        }
        let ordered = self.harvest(false, stored, &mut writer) || stored;
        (!writer.is_empty()).then(|| self.finish(writer, ordered, input, false))
    }

    /// Photo-like tiles that may be entropy-coded where nothing waits: all, unless the viewer is slow to decode.
    fn photos_at_rest(&self) -> u32 {
        if self.scarce == Scarce::Decoding { 0 } else { u32::MAX }
    }

    /// Puts a header before the sections of the next frame.
    fn finish(&mut self, writer: SectionWriter, ordered: bool, input: u32, more: bool) -> Vec<u8> {
        let key = std::mem::take(&mut self.key);
        let waits_for = std::mem::take(&mut self.waits_for);
        self.sequence += 1;
        let depends_on = match (key, ordered) {
            (true, _) => 0,
            (false, true) => self.sequence - 1,
            (false, false) => self.ordered.max(waits_for),
        };
        if ordered {
            self.ordered = self.sequence;
        }
        let header = FrameHeader {
            sequence: self.sequence,
            depends_on,
            input,
            key: key.then_some(self.grid.size()),
            more,
            lossy: !self.photos.is_exact(),
        };
        let mut out = Vec::with_capacity(writer.tile_bytes() + 64);
        header.write(&mut out);
        writer.finish(&mut out);
        out
    }

    /// How many dirty tiles look like photos, by one block of each.
    fn photo_tiles(&self, current: &View) -> usize {
        let looks_so = |(index, dirty): (usize, &BlockMask)| {
            let tile = TileIndex(index as u32);
            let middle = dirty.blocks().nth(dirty.count() as usize / 2);
            middle.is_some_and(|block| {
                let r = self.grid.block(tile, block);
                let is_whole = r.w == BLOCK && r.h == BLOCK;
                is_whole && !photo_blocks(current, self.grid.rect(tile), BlockMask(1 << block)).is_empty()
            })
        };
        self.dirty.iter().enumerate().filter(|entry| looks_so(*entry)).count()
    }

    /// Takes the blocks out of `dirty` that are equal after all.
    fn drop_unchanged(&mut self, current: &View) {
        for tile in (0..self.grid.count()).map(TileIndex) {
            let dirty = &mut self.dirty[tile.0 as usize];
            if !dirty.is_empty() {
                *dirty = differing(current, &self.held, self.grid.rect(tile), *dirty);
            }
        }
    }

    /// Keeps a tile that stood still and is about to be overwritten: by something that moves, if `moving`, which is likely
    /// to uncover it again. Returns whether it is in the cache anew.
    fn keep(&mut self, tile: TileIndex, moving: bool, now: Duration, writer: &mut SectionWriter) -> bool {
        let i = tile.0 as usize;
        let still = now.saturating_sub(self.changed_at[i]) >= STORE_AFTER;
        let few = self.dirty[i].count() < if moving { 1 } else { CACHE_BLOCKS_MIN };
        // A window that opens covers what was drawn a moment ago, too; but a slot can only be given what a frame before drew.
        let is_covered = self.hidden.is_covered(tile) && self.changed_at[i] < now;
        if few || !(still || is_covered) {
            return false;
        }
        if !moving && tile_of(View::of(&self.held), self.grid.rect(tile)).is_solid() {
            return false;
        }
        let stored = self.store(tile, writer);
        if let Some(Known { hash, slot: Some(slot) }) = self.known[i] {
            self.under.handle_kept(tile, Seen { slot, hash });
            let is_near = (is_covered || moving) && !self.cache.lossy(slot).is_empty();
            self.hidden.handle_kept(tile, Seen { slot, hash }, is_near);
        }
        stored
    }

    /// Keeps some of what a large picture has left, once it has stood still; returns whether any is in the cache anew.
    fn keep_early(&mut self, now: Duration, writer: &mut SectionWriter) -> bool {
        let mut count = 0;
        for tile in (0..self.grid.count()).map(TileIndex) {
            let i = tile.0 as usize;
            let still = now.saturating_sub(self.changed_at[i]) >= STORE_AFTER;
            if !self.keep_early[i] || !still || !self.photos.lossy(tile).is_empty() {
                continue;
            }
            if count == KEEP_EARLY_STEP {
                break;
            }
            self.keep_early[i] = false;
            // What is about to be overwritten is kept then.
            if self.dirty[i].is_empty() {
                count += usize::from(self.store(tile, writer));
            }
        }
        count > 0
    }

    /// Puts what the viewer holds of a tile into the cache, unless it is there; returns whether it is there anew.
    fn store(&mut self, tile: TileIndex, writer: &mut SectionWriter) -> bool {
        let i = tile.0 as usize;
        let held = tile_of(View::of(&self.held), self.grid.rect(tile));
        let Known { hash, slot } = self.known[i].unwrap_or_else(|| Known { hash: held.hash(), slot: None });
        let slot = slot.filter(|slot| self.cache.pixels(Seen { slot: *slot, hash }).is_some());
        let found = slot.or_else(|| self.cache.find(held, hash));
        let lossy = self.photos.lossy(tile);
        let stored = match found {
            None => self.cache.store(held, hash, lossy, self.sequence + 1),
            // The viewer had it less nearly so far. A frame writes a slot once, and what it reads there stays.
            Some(slot) if self.cache.is_worse(slot, lossy) && !self.cache.is_used_by(slot, self.sequence + 1) => {
                self.cache.handle_stored_again(slot, lossy, self.sequence + 1);
                found
            }
            Some(_) => None,
        };
        if let Some(slot) = stored {
            writer.store(tile, slot);
        }
        self.known[i] = Some(Known { hash, slot: found.or(stored) });
        stored.is_some()
    }

    /// The same for a tile that is written now, where it was not done for all tiles before.
    fn keep_late(&mut self, tile: TileIndex, now: Duration, writer: &mut SectionWriter) {
        if self.keeps_late {
            self.recalled |= self.keep(tile, false, now, writer);
        }
    }

    /// Finds what moved.
    fn find_copies(&self, current: &View) -> Vec<CopyRect> {
        let mut changed = Changed::new(self.grid.size());
        let mut count = 0;
        for (tile, mask) in self.dirty.iter().enumerate() {
            let o = self.grid.origin(TileIndex(tile as u32));
            for block in mask.blocks() {
                let (x, y) = (o.x / BLOCK + block % BLOCKS_PER_SIDE, o.y / BLOCK + block / BLOCKS_PER_SIDE);
                changed.blocks[(y * changed.columns + x) as usize] = true;
                count += 1;
            }
        }
        if count < MOTION_BLOCKS_MIN { Vec::new() } else { motion::find(&self.held, current, &changed, &self.deltas) }
    }

    /// Writes copies, and applies them to `held`.
    fn copy(&mut self, copies: &[CopyRect], now: Duration, writer: &mut SectionWriter) {
        self.photos.handle_copies(copies, now);
        motion::apply(copies, &mut self.held, &mut self.kept);
        for copy in copies {
            writer.copy(*copy);
            for tile in self.grid.tiles_in(copy.destination()) {
                self.known[tile.0 as usize] = None;
                self.marks.handle_touched(tile, now);
                if !self.dirty[tile.0 as usize].is_empty() {
                    self.changed_at[tile.0 as usize] = now;
                }
            }
            // A copy may also have written blocks that were equal before, with equal pixels; no need to look at them.
        }
        self.moved = copies.iter().map(CopyRect::destination).collect();
        self.deltas = copies.iter().map(CopyRect::displacement).collect();
        self.deltas.dedup();
        // What they make is equal, pixel for pixel: only the rest needs to be looked at again.
        for tile in (0..self.grid.count()).map(TileIndex) {
            let dirty = &mut self.dirty[tile.0 as usize];
            if !dirty.is_empty() {
                dirty.0 &= !Copied::new(&self.moved, self.grid.rect(tile)).whole_blocks().0;
            }
        }
    }

    /// Takes tiles back from the cache below what the copies have written, where that leaves less to encode.
    fn uncover(&mut self, current: &View, copies: &[CopyRect], now: Duration, writer: &mut SectionWriter) -> bool {
        let sequence = self.sequence + 1;
        let mut any = false;
        // Which of what moved before has to be copied onto itself.
        let mut kept = vec![false; self.moved.len()];
        for tile in (0..self.grid.count()).map(TileIndex) {
            let (rect, dirty) = (self.grid.rect(tile), self.dirty[tile.0 as usize]);
            if dirty.is_empty() {
                continue;
            }
            let copied = Copied::new(&self.moved, rect);
            let mut best: Option<(Seen, BlockMask)> = None;
            for seen in self.under.seen(tile) {
                let Some(pixels) = self.cache.pixels(seen) else { continue };
                let limit = best.map_or(dirty, |(_, wrong)| wrong).count();
                let offer = Offer { slot: pixels, held: &self.held, current: *current, tile: rect };
                if let Some(wrong) = copied.wrong_over(offer, limit) {
                    best = Some((seen, wrong));
                }
            }
            let Some((seen, wrong)) = best else { continue };
            self.cache.handle_used(seen.slot, sequence);
            self.keep_late(tile, now, writer);
            if let Some(pixels) = self.cache.pixels(seen) {
                copied.write_below(pixels, &mut self.held, rect);
            }
            writer.uncover(tile, seen.slot);
            self.marks.handle_touched(tile, now);
            any = true;
            for (kept, moved) in kept.iter_mut().zip(&self.moved) {
                *kept |= moved.intersects(rect);
            }
            let below = BlockMask(!copied.whole_blocks().0);
            let lossy = BlockMask(self.cache.lossy(seen.slot).0 & below.0);
            self.photos.handle_recalled(tile, BlockMask(!copied.blocks().0), lossy, now);
            self.dirty[tile.0 as usize] = wrong;
            self.known[tile.0 as usize] = None;
            self.changed_at[tile.0 as usize] = now;
        }
        if copies.is_empty() {
            for (_, moved) in kept.into_iter().zip(&self.moved).filter(|(kept, _)| *kept) {
                writer.copy(CopyRect { source: *moved, x: moved.x, y: moved.y });
                for tile in self.grid.tiles_in(*moved) {
                    self.marks.handle_touched(tile, now);
                }
            }
        }
        any
    }

    /// Writes the tiles of one round, and with the first what needs no dictionary; returns whether the budget ended it.
    fn encode_round(
        &mut self,
        current: &View,
        (rounds, round): (Rounds, u32),
        now: Duration,
        budget: usize,
        writer: &mut SectionWriter,
    ) -> bool {
        let columns = self.grid.columns();
        for tile in (0..self.grid.count()).map(TileIndex) {
            let i = tile.0 as usize;
            let changed = self.dirty[i];
            if changed.is_empty() {
                continue;
            }
            if writer.tile_bytes() >= budget {
                return true;
            }
            let is_first_try = !std::mem::replace(&mut self.tried[i], true);
            if !is_first_try || !self.encode_whole(current, tile, changed, now, writer) {
                let is_later = rounds.of_tile(tile.0 % columns, tile.0 / columns) > round;
                if is_later && !(is_first_try && self.photos.is_hasty()) {
                    continue;
                }
                let lossy = self.lossy_blocks(current, tile, changed, now);
                // Photos with loss need no dictionary, and the sooner the first of them go the better.
                if is_later && lossy != changed {
                    continue;
                }
                self.encode_blocks(current, tile, (changed, lossy), now, writer);
            }
            self.dirty[i] = BlockMask::NONE;
            self.changed_at[i] = now;
            self.marks.handle_touched(tile, now);
        }
        false
    }

    /// Puts the tiles written since the last time into the dictionary, if that is worth it or costs no order. Another
    /// round can only follow a HARVEST, because its tiles start from the first again.
    fn harvest(&mut self, goes_on: bool, is_ordered: bool, writer: &mut SectionWriter) -> bool {
        let (tiles, bytes) = self.modes.harvest.size();
        let is_worth_it = tiles > 0 && (is_ordered || bytes >= HARVEST_BYTES_MIN);
        let is_written = writer.has_open_tiles() && (goes_on || is_worth_it);
        if is_written {
            writer.harvest();
            self.modes.harvest.run(&self.held, &mut self.walk, &mut self.dictionary);
        }
        self.modes.harvest.clear();
        is_written
    }

    /// Writes a tile that is in the cache or of one colour; returns whether it was.
    fn encode_whole(
        &mut self,
        current: &View,
        tile: TileIndex,
        changed: BlockMask,
        now: Duration,
        writer: &mut SectionWriter,
    ) -> bool {
        let sequence = self.sequence + 1;
        let rect = self.grid.rect(tile);
        let i = tile.0 as usize;
        let first = current.row(rect.y)[rect.x as usize] & 0x00ff_ffff;
        let span = rect.x as usize..rect.right() as usize;
        let alike = [first; TILE as usize];
        if (rect.y..rect.bottom()).all(|y| same_pixels(&current.row(y)[span.clone()], &alike)) {
            self.keep_late(tile, now, writer);
            writer.solid(tile, None, first);
            self.handle_record(tile, false);
            self.photos.handle_change(tile, now);
            self.photos.handle_written(tile, BlockMask::ALL, BlockMask::NONE);
            self.hold(current, rect);
            self.learn(i, None);
            self.keep_early[i] = false;
            return true;
        }
        let is_worth_it = self.is_small || changed.count() >= CACHE_BLOCKS_MIN;
        let hash = is_worth_it.then(|| tile_of(*current, rect).hash());
        self.tried_hashes[i] = hash;
        // What comes back after something else came is likely to go and come again, and so is that.
        // A slot can only be given what a frame before drew.
        let is_whole = self.photos.lossy(tile).is_empty() && self.changed_at[i] < now;
        if hash.is_some() && hash == self.former[i] && is_whole {
            self.recalled |= self.store(tile, writer);
        }
        let Some(slot) = hash.and_then(|hash| self.cache.recall(tile_of(*current, rect), hash, sequence)) else {
            return false;
        };
        self.keep_late(tile, now, writer);
        writer.cache(tile, slot);
        self.handle_record(tile, false);
        self.recalled = true;
        self.photos.handle_change(tile, now);
        self.photos.handle_written(tile, BlockMask::ALL, self.cache.lossy(slot));
        self.hold(current, rect);
        self.learn(i, hash.map(|hash| Known { hash, slot: Some(slot) }));
        self.keep_early[i] = false;
        true
    }

    /// Those of a tile's changed blocks that may be written with loss.
    fn lossy_blocks(&self, current: &View, tile: TileIndex, changed: BlockMask, now: Duration) -> BlockMask {
        if self.scarce == Scarce::Decoding || !self.photos.may_lose(tile, now) {
            return BlockMask::NONE;
        }
        photo_blocks(current, self.grid.rect(tile), changed)
    }

    /// Writes the changed blocks of one tile, some of them with loss.
    fn encode_blocks(
        &mut self,
        current: &View,
        tile: TileIndex,
        (changed, lossy): (BlockMask, BlockMask),
        now: Duration,
        writer: &mut SectionWriter,
    ) {
        self.keep_late(tile, now, writer);
        let (rect, visible) = (self.grid.rect(tile), self.grid.visible(tile));
        let mask = (changed != visible).then_some(changed);
        // What a key frame finds is black, and it waits for nothing.
        let is_thrifty = self.scarce == Scarce::Bytes;
        let is_held = !self.key && self.photos.lossy(tile).0 & changed.0 == 0;
        let held = is_held.then(|| View::of(&self.held));
        let is_plain = self.is_plain;
        let change = TileChange { tile, rect, blocks: changed, mask, lossy, is_plain, is_thrifty, held };
        self.photos.handle_change(tile, now);
        let reads = self.modes.write(current, &change, &self.dictionary, &mut self.photos_left, writer);
        self.handle_record(tile, reads);
        self.photos.handle_written(tile, changed, lossy);
        let i = tile.0 as usize;
        let hash = self.tried_hashes[i].take();
        self.learn(i, hash.map(|hash| Known { hash, slot: None }));
        self.keep_early[i] |= self.is_large;
        if changed == visible {
            return self.hold(current, rect);
        }
        for block in changed.blocks() {
            self.hold(current, self.grid.block(tile, block));
        }
    }

    /// The frame in work has records for a tile, which are read with what the viewer holds there or without it.
    fn handle_record(&mut self, tile: TileIndex, reads: bool) {
        let sequence = self.sequence + 1;
        let records = &mut self.records[tile.0 as usize];
        // Of frames that come out of order a viewer keeps the newest blocks, so nobody may write what is still to be read.
        self.waits_for = self.waits_for.max(records.read).max(if reads { records.wrote } else { 0 });
        records.wrote = sequence;
        if reads {
            records.read = sequence;
        }
    }

    /// A tile holds something else from now on.
    fn learn(&mut self, i: usize, known: Option<Known>) {
        let before = std::mem::replace(&mut self.known[i], known);
        self.former[i] = before.map(|known| known.hash);
    }

    /// The viewer will hold the current pixels of `rect`.
    fn hold(&mut self, current: &View, rect: Rect) {
        let stride = self.held.size.w as usize;
        for y in rect.y..rect.bottom() {
            let span = rect.x as usize..rect.right() as usize;
            let row = &mut self.held.pixels[y as usize * stride..][..stride];
            for (held, pixel) in row[span.clone()].iter_mut().zip(&current.row(y)[span]) {
                *held = pixel & 0x00ff_ffff;
            }
        }
    }
}

/// Those of some blocks of a tile whose pixels differ.
fn differing(current: &View, held: &Picture, tile: Rect, blocks: BlockMask) -> BlockMask {
    let mut differ = 0;
    for band in 0..tile.h.div_ceil(BLOCK) {
        let wanted = blocks.0 >> (band * BLOCKS_PER_SIDE) & 0xf;
        let mut found = 0;
        for y in tile.y + band * BLOCK..(tile.y + (band + 1) * BLOCK).min(tile.bottom()) {
            // In a picture that is another one, the first row says it all.
            if found == wanted {
                break;
            }
            let span = tile.x as usize..tile.right() as usize;
            let rows =
                current.row(y)[span.clone()].chunks(BLOCK as usize).zip(held.row(y)[span].chunks(BLOCK as usize));
            for (column, (new, old)) in rows.enumerate() {
                found |= u16::from(!same_pixels(new, old)) << column & wanted;
            }
        }
        differ |= found << (band * BLOCKS_PER_SIDE);
    }
    BlockMask(differ)
}

/// A tile of a picture.
fn tile_of<'a>(picture: View<'a>, rect: Rect) -> TileView<'a> {
    TileView::new(picture.pixels, picture.stride, rect)
}
