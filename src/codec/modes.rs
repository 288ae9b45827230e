//! Chooses how the changed blocks of a tile are written: entropy-coded in one record, or as colours, palettes and pixels.
//!
//! The smallest wins; at the same size the one that a viewer decodes with less work.

use crate::codec::canvas::Picture;
use crate::codec::ctx::dictionary::Dictionary;
use crate::codec::ctx::encode::{CtxEncoder, Measured, OCTETS_FEW, OCTETS_HALF, OCTETS_MAX, Pixels, changed_octets};
use crate::codec::ctx::model::{Canvas, Entry};
use crate::codec::ctx::tables::COSTS;
use crate::codec::encode::View;
use crate::codec::format::{BLOCK_PIXELS, PACK_COLORS_MAX, SectionWriter, pack_bits};
use crate::codec::photos::QUANTISER;
use crate::codec::plan::{Harvest, packed};
use crate::codec::stage::harvest;
use crate::codec::wave::encode::WaveEncoder;
use crate::geom::{BLOCK, BLOCKS_PER_SIDE, BlockMask, Point, Rect, TILE, TileIndex};

/// Bytes of a record's head: mode, tile, mask.
const HEAD_BYTES: usize = 4;
/// Bytes of a block of two colours, without entropy coding and its record's head.
const BLOCK_BYTES_MIN: usize = BLOCK_PIXELS / 8;
/// Bits of a pixel above which a tile is a photo or as expensive as one; text and widgets stay below one and a half.
const PHOTO_BITS: usize = 2;
/// Entries for the dictionary that are kept from measuring a tile until its HARVEST: 2 MiB. Those of further tiles are found anew.
const ENTRIES_MAX: usize = 1 << 17;
/// Pixels looked at to tell a photo.
const SAMPLES: usize = 64;
/// A colour that has less than one in so many of them is no background.
const BACKGROUND_SHARE: usize = 5;
/// Bytes of a pixel or a colour.
const COLOR_BYTES: usize = 3;

/// What changed in one tile.
#[derive(Debug)]
pub(super) struct TileChange<'a> {
    pub(super) tile: TileIndex,
    /// The part of it that is on the screen.
    pub(super) rect: Rect,
    pub(super) blocks: BlockMask,
    /// The same, or none if those are all that are visible.
    pub(super) mask: Option<BlockMask>,
    /// Those that may be written with loss.
    pub(super) lossy: BlockMask,
    /// Nothing of it is entropy-coded.
    pub(super) is_plain: bool,
    /// Bytes count more than the time to find the fewest.
    pub(super) is_thrifty: bool,
    /// What the viewer holds, if that is so of all of its blocks to the bit.
    pub(super) held: Option<View<'a>>,
}

/// Writes changed blocks; keeps its memory from tile to tile.
#[derive(Debug)]
pub(super) struct Modes {
    pub(super) harvest: Harvests,
    /// Entropy-coded records since this was set to zero.
    pub(super) coded: usize,
    /// The tile in work is written on what was there.
    reads_former: bool,
    ctx: CtxEncoder,
    wave: WaveEncoder,
    pixels: Box<Pixels>,
    /// What the viewer holds of the tile.
    former: Box<Pixels>,
    payload: Vec<u8>,
}

impl Modes {
    pub(super) fn new() -> Self {
        Self {
            harvest: Harvests::default(),
            coded: 0,
            reads_former: false,
            ctx: CtxEncoder::new(),
            wave: WaveEncoder::new(),
            pixels: Box::new([0; (TILE * TILE) as usize]),
            former: Box::new([0; (TILE * TILE) as usize]),
            payload: Vec::new(),
        }
    }

    /// Writes the changed blocks of a tile; returns whether the viewer's own pixels are needed to read them.
    pub(super) fn write(
        &mut self,
        current: &View,
        change: &TileChange,
        dictionary: &Dictionary,
        photos_left: &mut u32,
        writer: &mut SectionWriter,
    ) -> bool {
        let &TileChange { tile, rect, blocks: changed, mask, lossy, .. } = change;
        self.reads_former = false;
        load(current, rect, &mut self.pixels);
        let exact = BlockMask(changed.0 & !lossy.0);
        if !lossy.is_empty() {
            self.payload.clear();
            self.wave.write(&self.pixels, lossy, QUANTISER, &mut self.payload);
            writer.wave(tile, if exact.is_empty() { mask } else { Some(lossy) }, &self.payload);
        }
        if !exact.is_empty() {
            let mask = if lossy.is_empty() { mask } else { Some(exact) };
            let change = TileChange { blocks: exact, mask, ..*change };
            self.write_exactly(&change, dictionary, photos_left, writer);
        }
        self.reads_former
    }

    /// Writes blocks of the loaded tile without loss.
    fn write_exactly(
        &mut self,
        change: &TileChange,
        dictionary: &Dictionary,
        photos_left: &mut u32,
        writer: &mut SectionWriter,
    ) {
        let &TileChange { tile, blocks: changed, mask, .. } = change;
        let colorful = changed.blocks().filter(|block| !is_solid(&self.pixels, *block)).count();
        if colorful == 0 || change.is_plain || *photos_left == 0 && is_photo(&self.pixels, changed) {
            return self.write_plainly(Group::all(changed, &self.pixels), tile, mask, writer);
        }
        let measured = self.measure(change, changed, dictionary);
        let is_photo = measured.bytes * 8 > changed.count() as usize * BLOCK_PIXELS * PHOTO_BITS;
        if is_photo && *photos_left > 0 {
            *photos_left -= 1;
        } else if is_photo {
            return self.write_plainly(Group::all(changed, &self.pixels), tile, mask, writer);
        }
        // Text is nearly always below the least that groups can take, so what they would be is not worked out.
        if measured.bytes < colorful * BLOCK_BYTES_MIN {
            return self.write_ctx(&measured, change, mask, writer);
        }
        let mut groups = Group::all(changed, &self.pixels);
        if HEAD_BYTES + measured.bytes < groups.iter().map(Group::bytes).sum() {
            return self.write_ctx(&measured, change, mask, writer);
        }
        // What is left is one palette, or noise that nothing makes smaller, perhaps beside something calm.
        groups.sort_by_key(|g| g.blocks.0.trailing_zeros());
        for group in &groups {
            let mask = if groups.len() == 1 { mask } else { Some(group.blocks) };
            if groups.len() > 1 && group.colors.len() != 1 {
                let measured = self.ctx.measure(&self.pixels, None, group.blocks, Some(dictionary), &COSTS);
                if HEAD_BYTES + measured.bytes < group.bytes() {
                    self.write_ctx(&measured, change, mask, writer);
                    continue;
                }
            }
            group.write(tile, mask, &self.pixels, writer);
        }
    }

    /// Measures blocks on top of what the viewer holds, or without that, whichever is smaller; where time is scarce, or
    /// nearly nothing has changed, by how much has.
    fn measure(&mut self, change: &TileChange, blocks: BlockMask, dictionary: &Dictionary) -> Measured {
        if let Some(held) = &change.held {
            load(held, change.rect, &mut self.former);
        }
        let (pixels, former) = (&self.pixels, &self.former);
        let mut by = |former: Option<&Pixels>| self.ctx.measure(pixels, former, blocks, Some(dictionary), &COSTS);
        let changed = change.held.map_or(u32::MAX, |_| changed_octets(pixels, former, blocks));
        let most = if change.is_thrifty { OCTETS_MAX } else { OCTETS_HALF };
        if changed > most * blocks.count() {
            return by(None);
        }
        let with_former = by(Some(former));
        if changed <= OCTETS_FEW * blocks.count() || !change.is_thrifty {
            return with_former;
        }
        // What was measured last is what can be written.
        let without = by(None);
        if without.bytes <= with_former.bytes { without } else { by(Some(former)) }
    }

    /// Without entropy coding, whatever that costs.
    fn write_plainly(
        &self,
        mut groups: Vec<Group>,
        tile: TileIndex,
        mask: Option<BlockMask>,
        writer: &mut SectionWriter,
    ) {
        groups.sort_by_key(|g| g.blocks.0.trailing_zeros());
        for group in &groups {
            let mask = if groups.len() == 1 { mask } else { Some(group.blocks) };
            group.write(tile, mask, &self.pixels, writer);
        }
    }

    fn write_ctx(
        &mut self,
        measured: &Measured,
        change: &TileChange,
        mask: Option<BlockMask>,
        writer: &mut SectionWriter,
    ) {
        self.coded += 1;
        self.reads_former |= measured.head.former;
        self.payload.clear();
        self.ctx.write(measured, &COSTS, &mut self.payload);
        writer.ctx(change.tile, mask, measured.set, &self.payload);
        if measured.head.dictionary {
            let origin = packed(Point { x: change.rect.x, y: change.rect.y });
            let job = Harvest::new(origin, measured.blocks, &measured.head);
            self.harvest.add(job, self.ctx.entries(), self.payload.len());
        }
    }
}

/// The tiles that the next HARVEST would put into the dictionary.
#[derive(Debug, Default)]
pub(super) struct Harvests {
    /// Of those that were found first, what there is to be put in; at most [`ENTRIES_MAX`] and a tile's.
    entries: Vec<Entry>,
    /// Those that were found when that was full.
    jobs: Vec<Harvest>,
    /// Bytes of their payloads.
    bytes: usize,
    count: usize,
}

impl Harvests {
    fn add(&mut self, job: Harvest, entries: &[Entry], bytes: usize) {
        if self.entries.len() < ENTRIES_MAX {
            self.entries.extend_from_slice(entries);
        } else {
            self.jobs.push(job);
        }
        (self.bytes, self.count) = (self.bytes + bytes, self.count + 1);
    }

    /// How many tiles, and the bytes of their payloads.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.count, self.bytes)
    }

    /// There are none.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.jobs.clear();
        (self.bytes, self.count) = (0, 0);
    }

    /// Puts all in; `screen` has their pixels.
    pub(super) fn run(&self, screen: &Picture, walk: &mut Canvas, dictionary: &mut Dictionary) {
        if self.count > 0 {
            dictionary.begin_round();
            dictionary.learn(&self.entries);
            harvest::learn(&self.jobs, screen, walk, dictionary);
        }
    }
}

/// Copies a tile; where the screen's edge cuts it, the last pixels go on.
fn load(current: &View, rect: Rect, pixels: &mut Pixels) {
    for (y, out) in pixels.chunks_exact_mut(TILE as usize).enumerate() {
        let row = &current.row(rect.y + (y as u32).min(rect.h - 1))[rect.x as usize..rect.right() as usize];
        for (out, pixel) in out.iter_mut().zip(row) {
            *out = pixel & 0x00ff_ffff;
        }
        let last = out[row.len() - 1];
        out[row.len()..].fill(last);
    }
}

/// Blocks of a tile that one record can hold.
struct Group {
    blocks: BlockMask,
    /// Up to 16 colours; empty for more.
    colors: Vec<u32>,
}

impl Group {
    /// Blocks of a tile in as few records as they need.
    fn all(blocks: BlockMask, pixels: &Pixels) -> Vec<Group> {
        let mut groups = Vec::new();
        blocks.blocks().for_each(|block| Group::add(&mut groups, block, pixels));
        groups
    }

    /// Puts a block where it costs least: into a group whose pixels need as many bits with it as without.
    fn add(groups: &mut Vec<Group>, block: u32, pixels: &Pixels) {
        let colors = few_colors(pixels, block).unwrap_or_default();
        let class = |n: usize| if n <= 1 { n } else { pack_bits(n) + 1 };
        for group in groups.iter_mut() {
            if class(group.colors.len()) != class(colors.len()) {
                continue;
            }
            let mut merged = group.colors.clone();
            merged.extend(colors.iter().filter(|c| !group.colors.contains(c)));
            if merged.len() <= PACK_COLORS_MAX && class(merged.len()) == class(colors.len()) {
                group.colors = merged;
                group.blocks.0 |= 1 << block;
                return;
            }
        }
        groups.push(Group { blocks: BlockMask(1 << block), colors });
    }

    /// Bytes of its record without entropy coding.
    fn bytes(&self) -> usize {
        let pixels = self.blocks.count() as usize * BLOCK_PIXELS;
        let content = match self.colors.len() {
            0 => pixels * COLOR_BYTES,
            1 => COLOR_BYTES,
            n => 1 + n * COLOR_BYTES + pixels * pack_bits(n) / 8,
        };
        HEAD_BYTES + content
    }

    fn write(&self, tile: TileIndex, mask: Option<BlockMask>, pixels: &Pixels, writer: &mut SectionWriter) {
        let pixels = || self.blocks.blocks().flat_map(|block| block_pixels(pixels, block));
        match self.colors.len() {
            0 => writer.raw(tile, mask, &pixels().collect::<Vec<_>>()),
            // A whole tile of one colour was found before, so a solid group is always masked.
            1 => writer.solid(tile, Some(self.blocks), self.colors[0]),
            _ => {
                let index = |p: u32| self.colors.iter().position(|c| *c == p).map_or(0, |i| i as u8);
                let indices: Vec<u8> = pixels().map(index).collect();
                writer.pack(tile, mask, &self.colors, &indices);
            }
        }
    }
}

/// Whether no colour stands out among the changed pixels: so in photos, and never in text and widgets, which have a
/// background.
fn is_photo(pixels: &Pixels, changed: BlockMask) -> bool {
    let step = changed.count() as usize * BLOCK_PIXELS / SAMPLES;
    // An odd step, so that the samples do not stand in columns.
    let all = changed.blocks().flat_map(|block| block_pixels(pixels, block));
    let mut samples: Vec<u32> = all.step_by(step | 1).collect();
    samples.sort_unstable();
    let most = samples.chunk_by(|a, b| a == b).map(<[u32]>::len).max().unwrap_or_default();
    most * BACKGROUND_SHARE < samples.len()
}

/// Whether a block has one colour.
fn is_solid(pixels: &Pixels, block: u32) -> bool {
    let start = block_start(block);
    let first = pixels[start];
    (0..BLOCK as usize).all(|y| {
        let row = &pixels[start + y * TILE as usize..][..BLOCK as usize];
        row.iter().fold(0, |difference, p| difference | (p ^ first)) == 0
    })
}

/// The colours of a block, if there are at most 16.
fn few_colors(pixels: &Pixels, block: u32) -> Option<Vec<u32>> {
    let mut colors: Vec<u32> = Vec::with_capacity(PACK_COLORS_MAX);
    let mut last = !0;
    for p in block_pixels(pixels, block) {
        if p == last {
            continue;
        }
        last = p;
        if !colors.contains(&p) {
            if colors.len() == PACK_COLORS_MAX {
                return None;
            }
            colors.push(p);
        }
    }
    Some(colors)
}

/// A block's pixels, row by row.
fn block_pixels(pixels: &Pixels, block: u32) -> impl Iterator<Item = u32> {
    let start = block_start(block);
    (0..BLOCK as usize).flat_map(move |y| pixels[start + y * TILE as usize..][..BLOCK as usize].iter().copied())
}

/// Where a block's first pixel stands in a tile.
fn block_start(block: u32) -> usize {
    (block / BLOCKS_PER_SIDE * BLOCK * TILE + block % BLOCKS_PER_SIDE * BLOCK) as usize
}
