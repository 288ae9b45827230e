//! A frame's work as a value: flat jobs in six passes, the same for the CPU stages and the shaders.
//!
//! Every job is plain words, made from a checked [`Frame`], so that a shader can index by it without looking twice.
//! The passes run in the order of the fields; within a pass no two jobs write the same pixel.

use crate::codec::ctx::Head;
use crate::codec::format::{Content, Frame, pack_bits};
use crate::codec::stage::transfer::to_scratch;
use crate::geom::{BlockMask, Point, Rect, Size, TILE, TileGrid, TileIndex};
use bytemuck::{Pod, Zeroable};
use bytes::Bytes;

/// Tiles in a row of the cache's picture.
pub const CACHE_COLUMNS: u32 = 32;

/// The cache is one picture of 32 × 64 tiles; slot `s` is its tile `s` in row order.
pub const CACHE_SIZE: Size = Size::new(CACHE_COLUMNS * TILE, crate::codec::format::CACHE_SLOTS / CACHE_COLUMNS * TILE);

/// The first phase of [`Harvest`] jobs.
pub const FORGET: u32 = 0;
/// Their second phase.
pub const LEARN: u32 = 1;

/// Moves a rectangle of at most one tile between two pictures: STORE, COPY (twice, through a scratch picture), UNCOVER,
/// CACHE and AMEND.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Transfer {
    /// Source pixel, `x | y << 16`.
    pub source: u32,
    /// Destination pixel, `x | y << 16`.
    pub destination: u32,
    /// Size, `w | h << 16`, each 1 to 64.
    pub size: u32,
    /// Zero; keeps the job at four words.
    pub pad: u32,
}

/// Fills blocks of a tile with one colour.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Fill {
    /// Top left pixel of the tile, `x | y << 16`.
    pub origin: u32,
    /// Blocks to write.
    pub blocks: u32,
    /// 0x00RRGGBB.
    pub color: u32,
    /// Zero; keeps the job at four words.
    pub pad: u32,
}

/// Writes blocks of a tile from palette indices.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Unpack {
    /// Top left pixel of the tile, `x | y << 16`.
    pub origin: u32,
    /// `coded | write << 16`: the blocks whose indices the payload holds, and those of them to write.
    pub blocks: u32,
    /// Byte offset of the first colour in the frame, three bytes each.
    pub palette: u32,
    /// Byte offset of the first index in the frame.
    pub indices: u32,
    /// Bits of an index: 1, 2 or 4.
    pub bits: u32,
    /// Highest index of the palette; indices above it count as this one.
    pub index_max: u32,
    /// Zeroes; keep the job at eight words.
    pub pad: [u32; 2],
}

/// Writes blocks of a tile from three bytes a pixel.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Raw {
    /// Top left pixel of the tile, `x | y << 16`.
    pub origin: u32,
    /// `coded | write << 16`, as in [`Unpack`].
    pub blocks: u32,
    /// Byte offset of the first pixel in the frame: blue, green, red.
    pub pixels: u32,
    /// Zero; keeps the job at four words.
    pub pad: u32,
}

/// Writes blocks of a tile from an entropy-coded payload.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Ctx {
    /// Top left pixel of the tile, `x | y << 16`.
    pub origin: u32,
    /// `coded | write << 16`, as in [`Unpack`].
    pub blocks: u32,
    /// `log2(lanes) | grey << 2 | recall << 3 | dictionary << 4 | former << 5 | table set << 8`.
    pub shape: u32,
    /// The most frequent colours; the first is the background.
    pub colors: [u32; 3],
    /// Bit `y` is set if row `y` of the tile equals the coded row before it; rows 0 to 31, then 32 to 63.
    pub repeats: [u32; 2],
    /// Byte offset of the first lane in the frame; the others follow.
    pub streams: u32,
    /// Length of each lane in 16-bit words, two in a word, low half first; 0 for lanes that there are not.
    pub lengths: [u32; 4],
    /// Zeroes; keep the job at 16 words.
    pub pad: [u32; 3],
}

/// Writes blocks of a tile from a wavelet payload.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Wave {
    /// Top left pixel of the tile, `x | y << 16`.
    pub origin: u32,
    /// `coded | write << 16`, as in [`Unpack`].
    pub blocks: u32,
    /// 0 to `codec::wave::QUANTISER_MAX`.
    pub quantiser: u32,
    /// The colour that all values are differences from, 0xRRGGBB.
    pub base: u32,
    /// Byte offset of the first lane in the frame; the others follow.
    pub streams: u32,
    /// Length of each lane in bytes, two in a word, low half first; 0 for lanes without a coefficient.
    pub lengths: [u32; 6],
    /// Zero; keeps the job at twelve words.
    pub pad: u32,
}

/// Puts the pixels of an entropy-coded tile into the dictionary.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Harvest {
    /// Top left pixel of the tile, `x | y << 16`.
    pub origin: u32,
    /// The coded blocks.
    pub blocks: u32,
    /// The background: the colour of the other blocks.
    pub back: u32,
    /// [`FORGET`] empties the places, [`LEARN`] fills them.
    pub phase: u32,
    /// The repeated rows, as in [`Ctx`].
    pub repeats: [u32; 2],
    /// Zeroes; keep the job at eight words.
    pub pad: [u32; 2],
}

/// What runs up to a HARVEST, and the HARVEST.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// Of [`Plan::ctxs`] so many have run, from the first.
    pub ctxs: usize,
    /// Of [`Plan::harvests`] so many have run then.
    pub harvests: usize,
}

/// Sums up a tile; not part of a frame's work.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Mark {
    /// Top left pixel of the tile, `x | y << 16`.
    pub origin: u32,
    /// Size of the part of it that is on the screen, `w | h << 16`, each 1 to 64.
    pub size: u32,
    /// Where the first of the mark's two words goes in the picture of marks, `x | y << 16`.
    pub place: u32,
    /// Zero; keeps the job at four words.
    pub pad: u32,
}

/// All work of one frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The screen takes this size, black, before anything else; the cache is empty then.
    pub key: Option<Size>,
    /// Pass 1, screen to cache.
    pub stores: Vec<Transfer>,
    /// Pass 2, screen to scratch (at the same place), then `uncovers`, then scratch to screen.
    pub copies: Vec<Transfer>,
    /// Within pass 2, cache to screen.
    pub uncovers: Vec<Transfer>,
    /// Pass 3, cache to screen.
    pub recalls: Vec<Transfer>,
    /// Pass 3 as well: no two tile jobs write the same block.
    pub fills: Vec<Fill>,
    /// Pass 3 as well.
    pub unpacks: Vec<Unpack>,
    /// Pass 3 as well.
    pub raws: Vec<Raw>,
    /// Pass 3 as well, but in rounds, because they look into the dictionary.
    pub ctxs: Vec<Ctx>,
    /// Pass 3 as well.
    pub waves: Vec<Wave>,
    /// Screen to dictionary, between the rounds; every tile's job in its first phase; the second follows once
    /// the first of all jobs of the round has run.
    pub harvests: Vec<Harvest>,
    /// Where pass 3 stops to harvest; what is left of `ctxs` runs after the last of them.
    pub rounds: Vec<Round>,
    /// Last pass, screen to cache; these tiles go to scratch with `copies` and come back from there at the end.
    pub amends: Vec<Transfer>,
    /// The frame's bytes, which [`Unpack`], [`Ctx`], [`Raw`] and [`Wave`] point into.
    pub bytes: Bytes,
    /// What part of the screen this changes at most.
    pub damage: Vec<Rect>,
}

impl Harvest {
    /// The job of a tile's coded blocks, in its first phase.
    pub fn new(origin: u32, coded: BlockMask, head: &Head) -> Self {
        Self {
            origin,
            blocks: coded.0.into(),
            back: head.colors[0],
            phase: FORGET,
            repeats: [head.repeats as u32, (head.repeats >> 32) as u32],
            pad: [0; 2],
        }
    }
}

impl Plan {
    /// Makes the jobs of a frame for its screen. `keep` says which blocks of a tile may still be written: all, unless a
    /// later frame has written some already.
    pub fn new(frame: &Frame, grid: TileGrid, mut keep: impl FnMut(TileIndex) -> BlockMask) -> Plan {
        let mut plan = Plan { key: frame.header.key, bytes: frame.bytes.clone(), ..Plan::default() };
        if plan.key.is_some() {
            plan.damage.push(grid.size().rect());
        }
        for s in &frame.stores {
            let slot = slot_origin(s.slot);
            plan.stores.push(Transfer {
                source: packed(grid.origin(s.tile)),
                destination: packed(slot),
                size: size_of(grid.rect(s.tile)),
                pad: 0,
            });
        }
        for c in &frame.copies {
            plan.damage.push(c.destination());
            for y in (0..c.source.h).step_by(TILE as usize) {
                for x in (0..c.source.w).step_by(TILE as usize) {
                    let (w, h) = ((c.source.w - x).min(TILE), (c.source.h - y).min(TILE));
                    plan.copies.push(Transfer {
                        source: packed(Point { x: c.source.x + x, y: c.source.y + y }),
                        destination: packed(Point { x: c.x + x, y: c.y + y }),
                        size: w | h << 16,
                        pad: 0,
                    });
                }
            }
        }
        for u in &frame.uncovers {
            plan.push_damage(grid.rect(u.tile));
            plan.uncovers.push(Transfer {
                source: packed(slot_origin(u.slot)),
                destination: packed(grid.origin(u.tile)),
                size: size_of(grid.rect(u.tile)),
                pad: 0,
            });
        }
        let mut ends = frame.harvests.iter().peekable();
        let mut harvests = Vec::new();
        for (index, record) in frame.tiles.iter().enumerate() {
            if ends.next_if_eq(&&index).is_some() {
                plan.end_round(&mut harvests);
            }
            let origin = packed(grid.origin(record.tile));
            if let Content::Ctx { head, .. } = &record.content
                && head.dictionary
            {
                harvests.push(Harvest::new(origin, record.blocks, head));
            }
            let write = BlockMask(record.blocks.0 & keep(record.tile).0);
            if write.is_empty() {
                continue;
            }
            plan.push_damage(grid.rect(record.tile));
            let blocks = u32::from(record.blocks.0) | u32::from(write.0) << 16;
            match &record.content {
                Content::Solid(color) => {
                    plan.fills.push(Fill { origin, blocks: u32::from(write.0), color: *color, pad: 0 });
                }
                Content::Cache(slot) => plan.recalls.push(Transfer {
                    source: packed(slot_origin(*slot)),
                    destination: origin,
                    size: size_of(grid.rect(record.tile)),
                    pad: 0,
                }),
                Content::Pack { colors, palette, indices } => plan.unpacks.push(Unpack {
                    origin,
                    blocks,
                    palette: *palette as u32,
                    indices: indices.start as u32,
                    bits: pack_bits(colors.len()) as u32,
                    index_max: colors.len() as u32 - 1,
                    pad: [0; 2],
                }),
                Content::Ctx { set, head, streams, lengths } => plan.ctxs.push(Ctx {
                    origin,
                    blocks,
                    shape: head.lanes.ilog2()
                        | u32::from(head.grey) << 2
                        | u32::from(head.recall) << 3
                        | u32::from(head.dictionary) << 4
                        | u32::from(head.former) << 5
                        | u32::from(*set) << 8,
                    colors: head.colors,
                    repeats: [head.repeats as u32, (head.repeats >> 32) as u32],
                    streams: *streams as u32,
                    lengths: std::array::from_fn(|i| u32::from(lengths[2 * i]) | u32::from(lengths[2 * i + 1]) << 16),
                    pad: [0; 3],
                }),
                Content::Wave { head, streams, lengths } => plan.waves.push(Wave {
                    origin,
                    blocks,
                    quantiser: head.quantiser.into(),
                    base: head.base,
                    streams: *streams as u32,
                    lengths: std::array::from_fn(|i| u32::from(lengths[2 * i]) | u32::from(lengths[2 * i + 1]) << 16),
                    pad: 0,
                }),
                Content::Raw(pixels) => {
                    plan.raws.push(Raw { origin, blocks, pixels: pixels.start as u32, pad: 0 });
                }
            }
        }
        if ends.next().is_some() {
            plan.end_round(&mut harvests);
        }
        for a in &frame.amends {
            plan.amends.push(Transfer {
                source: packed(grid.origin(a.tile)),
                destination: packed(slot_origin(a.slot)),
                size: size_of(grid.rect(a.tile)),
                pad: 0,
            });
        }
        plan
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.key.is_none()
            && self.stores.is_empty()
            && self.copies.is_empty()
            && self.uncovers.is_empty()
            && self.recalls.is_empty()
            && self.fills.is_empty()
            && self.unpacks.is_empty()
            && self.raws.is_empty()
            && self.ctxs.is_empty()
            && self.waves.is_empty()
            && self.amends.is_empty()
    }

    /// The jobs that keep pixels in the scratch picture, each at its place, before anything is written.
    pub fn outward(&self) -> Vec<Transfer> {
        self.copies.iter().chain(&self.amends).map(to_scratch).collect()
    }

    /// The jobs that give amended tiles back the pixels they had, from the scratch picture.
    pub fn restored(&self) -> Vec<Transfer> {
        self.amends.iter().map(to_scratch).collect()
    }

    /// All tile jobs so far run, then these.
    fn end_round(&mut self, harvests: &mut Vec<Harvest>) {
        self.harvests.append(harvests);
        self.rounds.push(Round { ctxs: self.ctxs.len(), harvests: self.harvests.len() });
    }

    /// Adds a tile's rectangle; neighbours in a row become one rectangle.
    fn push_damage(&mut self, tile: Rect) {
        match self.damage.last_mut() {
            Some(last) if last.contains(tile) => {}
            Some(last) if last.y == tile.y && last.h == tile.h && last.right() == tile.x => last.w += tile.w,
            _ => self.damage.push(tile),
        }
    }
}

/// A position below 65536 in one word, `x | y << 16`.
pub const fn packed(p: Point) -> u32 {
    p.x | p.y << 16
}

/// The inverse of [`packed`].
pub const fn unpacked(word: u32) -> Point {
    Point { x: word & 0xffff, y: word >> 16 }
}

/// A rectangle's size in one word.
const fn size_of(rect: Rect) -> u32 {
    rect.w | rect.h << 16
}

fn slot_origin(slot: u32) -> Point {
    Point { x: slot % CACHE_COLUMNS * TILE, y: slot / CACHE_COLUMNS * TILE }
}
