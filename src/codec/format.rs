//! A frame as bytes: header and sections; parsed and written, every bound checked here, once.
//!
//! What [`Frame::parse`] returns may be handed to a GPU: all tiles, rectangles, slots and payload ranges are inside
//! the screen, the cache and the payload, and no block is written twice. What the pixels are: `codec::stage`. The same
//! layout in prose, with worked examples: PROTOCOL.md, "Frames".

use crate::codec::bytes::{Reader, put_u24, put_varint};
use crate::codec::ctx::{COLORS_MAX, FORMER_COLORS, Head, LANES_MAX, band};
use crate::codec::wave;
use crate::geom::{BLOCK, BLOCKS_PER_SIDE, BlockMask, Rect, Size, TileGrid, TileIndex};
use bytes::Bytes;
use std::ops::Range;

mod error;
pub use error::FormatError;

/// Highest number of a frame, so that each has a next one. A connection that made a thousand frames a second would get here
/// after seven weeks; one that is paced as ours are, after years.
pub const SEQUENCE_MAX: u32 = u32::MAX - 1;
/// Longest side of a screen in pixels.
pub const SCREEN_SIDE_MAX: u32 = 8192;
/// Slots of the tile cache, 16 KiB of pixels each.
pub const CACHE_SLOTS: u32 = 2048;
/// Most COPY rectangles in a frame; they are compared pair by pair.
pub const COPIES_MAX: usize = 64;
/// Longest frame. The host starts the next frame long before (`encode::FRAME_BYTES_TARGET`).
pub const FRAME_BYTES_MAX: usize = 4 << 20;
/// Most HARVEST sections in a frame; each makes a decoder wait for all tiles before it.
pub const HARVESTS_MAX: usize = 8;
/// Most colours of a PACK record.
pub const PACK_COLORS_MAX: usize = 16;
/// Longest lane of a WAVE record in bytes. The longest that an encoder can make has 64 groups of 16 coefficients with 11
/// bits each and some for their widths, 1500 bytes.
pub const WAVE_LANE_BYTES_MAX: u32 = 2048;
/// Pixels of a block.
pub const BLOCK_PIXELS: usize = 256;

const FLAG_KEY: u8 = 1;
const FLAG_MORE: u8 = 2;
const FLAG_LOSSY: u8 = 4;
const SECTION_STORE: u8 = 1;
const SECTION_COPY: u8 = 2;
const SECTION_UNCOVER: u8 = 3;
const SECTION_TILES: u8 = 4;
const SECTION_HARVEST: u8 = 5;
const SECTION_AMEND: u8 = 6;
const MODE_SOLID: u8 = 0;
const MODE_CACHE: u8 = 1;
const MODE_PACK: u8 = 2;
const MODE_CTX: u8 = 3;
const MODE_WAVE: u8 = 4;
const MODE_RAW: u8 = 5;
/// Where a CTX record has its table set, three bits.
const SET_SHIFT: u8 = 4;
const MASKED: u8 = 0x80;

/// What a frame says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Number of the frame in its connection, from 1; each is the one before plus 1.
    pub sequence: u32,
    /// This frame may be applied as soon as all frames up to this one are; 0 for a key frame.
    pub depends_on: u32,
    /// Number of the last input event that the host had injected before it captured this picture; 0 for none.
    pub input: u32,
    /// A key frame: the screen has this size now, is black, and the cache is empty.
    pub key: Option<Size>,
    /// More frames of the same picture follow at once; it need not be shown yet.
    pub more: bool,
    /// Once this frame and all before it are applied, some blocks are only nearly what they should be.
    pub lossy: bool,
}

/// Keeps a tile of the previous frame in a cache slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Store {
    /// The tile; what of it is on the screen.
    pub tile: TileIndex,
    /// Below [`CACHE_SLOTS`].
    pub slot: u32,
}

/// Copies pixels of the previous frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyRect {
    /// Where they were, on the screen.
    pub source: Rect,
    /// Left edge of where they go.
    pub x: u32,
    /// Top edge of where they go.
    pub y: u32,
}

/// Gives a tile the pixels of a cache slot before the copies are written: what a moving window has covered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uncover {
    /// The tile; what of it is on the screen.
    pub tile: TileIndex,
    /// Below [`CACHE_SLOTS`].
    pub slot: u32,
}

/// Keeps a tile as this frame has written it in a cache slot, and gives it back the pixels it had before: what lies under a
/// window is made exact, and nobody sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amend {
    /// The tile; what of it is on the screen.
    pub tile: TileIndex,
    /// Below [`CACHE_SLOTS`].
    pub slot: u32,
}

/// New pixels for some blocks of a tile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TileRecord {
    /// The tile.
    pub tile: TileIndex,
    /// The blocks this record is about; only visible ones.
    pub blocks: BlockMask,
    /// Their pixels.
    pub content: Content,
}

/// Where a record's pixels come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// One colour, 0xRRGGBB.
    Solid(u32),
    /// A cache slot; all of the tile that is on the screen.
    Cache(u32),
    /// Up to 16 colours and an index for each pixel.
    Pack {
        /// 2 to 16 colours, 0xRRGGBB.
        colors: Vec<u32>,
        /// Where the palette starts in the frame's bytes, three bytes a colour.
        palette: usize,
        /// The indices in the frame's bytes: for each block in order 256 of [`pack_bits`] bits, low bits first.
        indices: Range<usize>,
    },
    /// Entropy-coded; `codec::ctx`.
    Ctx {
        /// Table set, below `codec::ctx::tables::SETS`.
        set: u8,
        /// The front of the payload.
        head: Head,
        /// Where the first lane starts in the frame's bytes; the others follow.
        streams: usize,
        /// Length of each lane in 16-bit words.
        lengths: [u16; LANES_MAX],
    },
    /// Nearly the pixels, by wavelet; `codec::wave`.
    Wave {
        /// The front of the payload.
        head: wave::Head,
        /// Where the first lane starts in the frame's bytes; the others follow.
        streams: usize,
        /// Length of each lane in bytes, 0 for those that there are not.
        lengths: [u16; wave::LANES],
    },
    /// Three bytes a pixel (blue, green, red), 768 a block, in the frame's bytes.
    Raw(Range<usize>),
}

/// A frame whose structure is known to be sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it says about itself.
    pub header: FrameHeader,
    /// Tiles to keep, first of all.
    pub stores: Vec<Store>,
    /// Copies within the screen, second; no two destinations overlap.
    pub copies: Vec<CopyRect>,
    /// Tiles from the cache, after the copies have read and before they write; tiles ascend.
    pub uncovers: Vec<Uncover>,
    /// New pixels; no block occurs twice. Tiles ascend up to each HARVEST, and from there again.
    pub tiles: Vec<TileRecord>,
    /// For each HARVEST how many of `tiles` come before it; ascending.
    pub harvests: Vec<usize>,
    /// Tiles to keep and to take back, last; tiles ascend.
    pub amends: Vec<Amend>,
    /// The whole frame, for the payload ranges above.
    pub bytes: Bytes,
}

/// Bits of an index into a palette of `colors` (2..=16) colours.
pub const fn pack_bits(colors: usize) -> usize {
    match colors {
        0..=2 => 1,
        3..=4 => 2,
        _ => 4,
    }
}

impl FrameHeader {
    /// Reads the header at the start of a frame, and tells how long it is.
    ///
    /// # Errors
    /// [`FormatError`] if it is malformed; the sections are not looked at.
    pub fn parse(bytes: &[u8]) -> Result<(FrameHeader, usize), FormatError> {
        if bytes.len() > FRAME_BYTES_MAX {
            return Err(FormatError::Length(bytes.len()));
        }
        let mut r = Reader::new(bytes);
        let flags = r.u8()?;
        if flags & !(FLAG_KEY | FLAG_MORE | FLAG_LOSSY) != 0 {
            return Err(FormatError::Flags(flags));
        }
        let sequence = r.varint()?;
        if sequence > SEQUENCE_MAX {
            return Err(FormatError::Sequence(sequence));
        }
        let is_key = flags & FLAG_KEY != 0;
        let distance = if is_key { sequence } else { r.varint()? };
        if sequence == 0 || distance == 0 || distance > sequence || (!is_key && distance == sequence) {
            return Err(FormatError::Dependency { sequence, distance });
        }
        let input = r.varint()?;
        let key = if is_key {
            let size = Size::new(r.varint()?, r.varint()?);
            if size.is_empty() || size.w > SCREEN_SIDE_MAX || size.h > SCREEN_SIDE_MAX {
                return Err(FormatError::Screen { w: size.w, h: size.h });
            }
            Some(size)
        } else {
            None
        };
        let (more, lossy) = (flags & FLAG_MORE != 0, flags & FLAG_LOSSY != 0);
        let header = FrameHeader { sequence, depends_on: sequence - distance, input, key, more, lossy };
        Ok((header, r.offset()))
    }

    /// Appends the header.
    pub fn write(&self, out: &mut Vec<u8>) {
        let flag = |is_set, flag| if is_set { flag } else { 0 };
        out.push(flag(self.key.is_some(), FLAG_KEY) | flag(self.more, FLAG_MORE) | flag(self.lossy, FLAG_LOSSY));
        put_varint(out, self.sequence);
        if self.key.is_none() {
            put_varint(out, self.sequence - self.depends_on);
        }
        put_varint(out, self.input);
        if let Some(size) = self.key {
            put_varint(out, size.w);
            put_varint(out, size.h);
        }
    }
}

impl Frame {
    /// Parses a whole frame for a screen of the given size; a key frame's own size replaces it.
    ///
    /// # Errors
    /// [`FormatError`] for anything that is not exactly one sound frame.
    pub fn parse(bytes: Bytes, screen: Size) -> Result<Frame, FormatError> {
        let (header, start) = FrameHeader::parse(&bytes)?;
        let grid = TileGrid::new(header.key.unwrap_or(screen));
        let mut frame = Frame {
            header,
            stores: Vec::new(),
            copies: Vec::new(),
            uncovers: Vec::new(),
            tiles: Vec::new(),
            harvests: Vec::new(),
            amends: Vec::new(),
            bytes: Bytes::new(),
        };
        let mut r = Reader::new(&bytes);
        r.take(start)?;
        let mut last = 0;
        let mut written = Vec::new();
        while r.remaining() > 0 {
            let section = r.u8()?;
            let is_in_order = match section {
                SECTION_TILES => last < SECTION_TILES || last == SECTION_HARVEST,
                SECTION_HARVEST => last == SECTION_TILES,
                _ => section > last,
            };
            if !is_in_order {
                return Err(FormatError::Section(section));
            }
            last = section;
            let count = r.varint()?;
            match section {
                SECTION_STORE => frame.parse_stores(&mut r, count, grid)?,
                SECTION_COPY => frame.parse_copies(&mut r, count, grid.size().rect())?,
                SECTION_UNCOVER => frame.parse_uncovers(&mut r, count, grid)?,
                SECTION_TILES => frame.parse_tiles(&mut r, count, grid, &mut written)?,
                SECTION_HARVEST if count == 0 && frame.harvests.len() < HARVESTS_MAX => {
                    frame.harvests.push(frame.tiles.len());
                }
                SECTION_HARVEST => return Err(FormatError::Count { section, count }),
                SECTION_AMEND => frame.parse_amends(&mut r, count, grid)?,
                _ => return Err(FormatError::Section(section)),
            }
        }
        if frame.reads_previous() && header.key.is_none() && header.depends_on != header.sequence - 1 {
            return Err(FormatError::Unordered(header.sequence));
        }
        frame.bytes = bytes;
        Ok(frame)
    }

    /// Whether it needs the picture or the cache as the frame before left them.
    pub fn reads_previous(&self) -> bool {
        !self.stores.is_empty()
            || !self.copies.is_empty()
            || !self.uncovers.is_empty()
            || !self.harvests.is_empty()
            || !self.amends.is_empty()
            || self.tiles.iter().any(|t| matches!(t.content, Content::Cache(_)))
    }

    fn parse_stores(&mut self, r: &mut Reader, count: u32, grid: TileGrid) -> Result<(), FormatError> {
        let stores = kept_tiles(r, SECTION_STORE, count, grid)?;
        self.stores = stores.into_iter().map(|(tile, slot)| Store { tile, slot }).collect();
        Ok(())
    }

    fn parse_amends(&mut self, r: &mut Reader, count: u32, grid: TileGrid) -> Result<(), FormatError> {
        let amends = kept_tiles(r, SECTION_AMEND, count, grid)?;
        self.amends = amends.into_iter().map(|(tile, slot)| Amend { tile, slot }).collect();
        Ok(())
    }

    fn parse_uncovers(&mut self, r: &mut Reader, count: u32, grid: TileGrid) -> Result<(), FormatError> {
        if count > grid.count() {
            return Err(FormatError::Count { section: SECTION_UNCOVER, count });
        }
        let mut tiles = Ascending::new(grid);
        for i in 0..count {
            let delta = r.varint()?;
            let tile = tiles.next(delta, i > 0 && delta == 0)?;
            self.uncovers.push(Uncover { tile, slot: cache_slot(r.varint()?)? });
        }
        Ok(())
    }

    fn parse_copies(&mut self, r: &mut Reader, count: u32, screen: Rect) -> Result<(), FormatError> {
        if count as usize > COPIES_MAX {
            return Err(FormatError::Count { section: SECTION_COPY, count });
        }
        for i in 0..count as usize {
            let source = Rect::new(r.varint()?, r.varint()?, r.varint()?, r.varint()?);
            let copy = CopyRect { source, x: r.varint()?, y: r.varint()? };
            if source.is_empty() || !screen.contains(source) || !screen.contains(copy.destination()) {
                return Err(FormatError::Copy(i));
            }
            if let Some(j) = self.copies.iter().position(|c| c.destination().intersects(copy.destination())) {
                return Err(FormatError::Overlap(j, i));
            }
            self.copies.push(copy);
        }
        Ok(())
    }

    /// `written` has the blocks of every tile that records before this section wrote; empty before the first.
    fn parse_tiles(
        &mut self,
        r: &mut Reader,
        count: u32,
        grid: TileGrid,
        written: &mut Vec<BlockMask>,
    ) -> Result<(), FormatError> {
        // Each record writes at least one block that no other writes.
        if u64::from(count) > u64::from(grid.count()) * 16 {
            return Err(FormatError::Count { section: SECTION_TILES, count });
        }
        let mut tiles = Ascending::new(grid);
        written.resize(grid.count() as usize, BlockMask::NONE);
        for _ in 0..count {
            let head = r.u8()?;
            let delta = r.varint()?;
            let tile = tiles.next(delta, false)?;
            let written_before = &mut written[tile.0 as usize];
            let visible = grid.visible(tile);
            let masked = head & MASKED != 0;
            let blocks = if masked { BlockMask(r.u16()?) } else { visible };
            let wrong = blocks.0 & !visible.0 | blocks.0 & written_before.0;
            if blocks.is_empty() || wrong != 0 {
                return Err(FormatError::Mask { tile: tile.0, mask: blocks.0 });
            }
            written_before.0 |= blocks.0;
            let content = match head & !MASKED {
                mode if mode & 0xf == MODE_CTX => parse_ctx(r, tile, blocks, mode >> SET_SHIFT)?,
                MODE_SOLID => Content::Solid(r.u24()?),
                MODE_CACHE => {
                    if masked {
                        return Err(FormatError::Mask { tile: tile.0, mask: blocks.0 });
                    }
                    Content::Cache(cache_slot(r.varint()?)?)
                }
                MODE_PACK => parse_pack(r, blocks)?,
                MODE_WAVE => parse_wave(r)?,
                MODE_RAW => Content::Raw(take_range(r, blocks.count() as usize * BLOCK_PIXELS * 3)?),
                mode => return Err(FormatError::Mode(mode)),
            };
            self.tiles.push(TileRecord { tile, blocks, content });
            if let (MODE_SOLID, &[.., TileRecord { content: Content::Solid(color), .. }]) =
                (head, self.tiles.as_slice())
            {
                for _ in 0..r.varint()? {
                    let tile = tiles.next(1, false)?;
                    let blocks = grid.visible(tile);
                    let before = std::mem::replace(&mut written[tile.0 as usize], blocks);
                    if !before.is_empty() {
                        return Err(FormatError::Mask { tile: tile.0, mask: blocks.0 });
                    }
                    self.tiles.push(TileRecord { tile, blocks, content: Content::Solid(color) });
                }
            }
        }
        Ok(())
    }
}

impl CopyRect {
    /// Where the pixels go.
    pub const fn destination(&self) -> Rect {
        Rect::new(self.x, self.y, self.source.w, self.source.h)
    }

    /// How far they go, to the right and down.
    pub const fn displacement(&self) -> (i32, i32) {
        (self.x as i32 - self.source.x as i32, self.y as i32 - self.source.y as i32)
    }
}

/// Writes a frame's sections after its header; the counterpart of [`Frame::parse`].
///
/// The caller keeps the order that the format wants: tiles ascend, and no block is written twice.
#[derive(Debug, Default)]
pub struct SectionWriter {
    stores: Vec<Store>,
    copies: Vec<CopyRect>,
    uncovers: Vec<Uncover>,
    amends: Vec<Amend>,
    /// Whole TILES and HARVEST sections.
    ended: Vec<u8>,
    /// The records of the section in work.
    tiles: Vec<u8>,
    tile_count: u32,
    previous: u32,
    solid_run: Option<SolidRun>,
}

/// Unmasked SOLID tiles of one colour in a row, not yet written.
#[derive(Debug)]
struct SolidRun {
    first: u32,
    count: u32,
    color: u32,
}

impl SectionWriter {
    /// Starts without any record.
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps a tile of the previous frame in a slot. In any order, each tile once.
    pub fn store(&mut self, tile: TileIndex, slot: u32) {
        self.stores.push(Store { tile, slot });
    }

    /// Copies pixels of the previous frame.
    pub fn copy(&mut self, copy: CopyRect) {
        self.copies.push(copy);
    }

    /// Gives a tile a slot's pixels before the copies are written. Tiles ascend.
    pub fn uncover(&mut self, tile: TileIndex, slot: u32) {
        self.uncovers.push(Uncover { tile, slot });
    }

    /// Fills blocks with one colour; `blocks` is `None` for the whole tile.
    pub fn solid(&mut self, tile: TileIndex, blocks: Option<BlockMask>, color: u32) {
        if blocks.is_none() {
            if let Some(run) = &mut self.solid_run
                && run.first + run.count == tile.0
                && run.color == color
            {
                run.count += 1;
                return;
            }
            self.flush_run();
            self.solid_run = Some(SolidRun { first: tile.0, count: 1, color });
            return;
        }
        self.head(MODE_SOLID, tile, blocks);
        put_u24(&mut self.tiles, color);
    }

    /// Recalls a whole tile from the cache.
    pub fn cache(&mut self, tile: TileIndex, slot: u32) {
        self.head(MODE_CACHE, tile, None);
        put_varint(&mut self.tiles, slot);
    }

    /// Writes blocks with 2 to 16 colours; `indices` has 256 values for each block, each below the number of colours.
    ///
    /// # Panics
    /// If there are fewer than 2 or more than 16 colours.
    pub fn pack(&mut self, tile: TileIndex, blocks: Option<BlockMask>, colors: &[u32], indices: &[u8]) {
        assert!((2..=PACK_COLORS_MAX).contains(&colors.len()), "a palette has 2 to 16 colours");
        self.head(MODE_PACK, tile, blocks);
        self.tiles.push(colors.len() as u8 - 1);
        for color in colors {
            put_u24(&mut self.tiles, *color);
        }
        let bits = pack_bits(colors.len());
        for group in indices.chunks_exact(8 / bits) {
            self.tiles.push(group.iter().rev().fold(0, |byte, i| byte << bits | i));
        }
    }

    /// Writes blocks with an entropy-coded payload, as `codec::ctx::encode` makes it.
    ///
    /// # Panics
    /// If there is no such table set.
    pub fn ctx(&mut self, tile: TileIndex, blocks: Option<BlockMask>, set: u8, payload: &[u8]) {
        assert!(usize::from(set) < crate::codec::ctx::tables::SETS, "three bits name the table set");
        self.head(MODE_CTX | set << SET_SHIFT, tile, blocks);
        self.tiles.extend_from_slice(payload);
    }

    /// Writes blocks nearly as they are, with a payload as `codec::wave::encode` makes it.
    pub fn wave(&mut self, tile: TileIndex, blocks: Option<BlockMask>, payload: &[u8]) {
        self.head(MODE_WAVE, tile, blocks);
        self.tiles.extend_from_slice(payload);
    }

    /// Writes blocks pixel by pixel; `pixels` has 256 values (0xRRGGBB) for each block.
    pub fn raw(&mut self, tile: TileIndex, blocks: Option<BlockMask>, pixels: &[u32]) {
        self.head(MODE_RAW, tile, blocks);
        let start = self.tiles.len();
        self.tiles.resize(start + pixels.len() * 3, 0);
        for (out, pixel) in self.tiles[start..].chunks_exact_mut(3).zip(pixels) {
            out.copy_from_slice(&pixel.to_le_bytes()[..3]);
        }
    }

    /// Keeps a tile as it is in the end in a slot, and gives it back the pixels it had before. Tiles ascend.
    pub fn amend(&mut self, tile: TileIndex, slot: u32) {
        self.amends.push(Amend { tile, slot });
    }

    /// Puts the tiles since the last HARVEST into the dictionary; tiles may start from the first again.
    pub fn harvest(&mut self) {
        self.flush_run();
        self.end_tiles();
        self.ended.extend([SECTION_HARVEST, 0]);
    }

    /// Whether a tile was written since the last HARVEST.
    pub fn has_open_tiles(&self) -> bool {
        self.tile_count > 0 || self.solid_run.is_some()
    }

    /// Bytes of the tile records so far.
    pub fn tile_bytes(&self) -> usize {
        self.ended.len() + self.tiles.len()
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.stores.is_empty()
            && self.copies.is_empty()
            && self.uncovers.is_empty()
            && self.ended.is_empty()
            && self.amends.is_empty()
            && self.tile_count == 0
            && self.solid_run.is_none()
    }

    /// Appends the sections to a header.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        self.flush_run();
        self.stores.sort_unstable_by_key(|s| s.tile);
        write_kept(SECTION_STORE, self.stores.iter().map(|s| (s.tile, s.slot)), out);
        if !self.copies.is_empty() {
            out.push(SECTION_COPY);
            put_varint(out, self.copies.len() as u32);
            for c in &self.copies {
                for v in [c.source.x, c.source.y, c.source.w, c.source.h, c.x, c.y] {
                    put_varint(out, v);
                }
            }
        }
        write_uncovers(&self.uncovers, out);
        self.end_tiles();
        out.extend_from_slice(&self.ended);
        write_kept(SECTION_AMEND, self.amends.iter().map(|a| (a.tile, a.slot)), out);
    }

    fn end_tiles(&mut self) {
        if self.tile_count > 0 {
            self.ended.push(SECTION_TILES);
            put_varint(&mut self.ended, self.tile_count);
            self.ended.append(&mut self.tiles);
            (self.tile_count, self.previous) = (0, 0);
        }
    }

    fn head(&mut self, mode: u8, tile: TileIndex, blocks: Option<BlockMask>) {
        self.flush_run();
        self.write_head(mode, tile.0, blocks);
    }

    fn write_head(&mut self, mode: u8, tile: u32, blocks: Option<BlockMask>) {
        self.tiles.push(mode | if blocks.is_some() { MASKED } else { 0 });
        put_varint(&mut self.tiles, tile - self.previous);
        if let Some(blocks) = blocks {
            self.tiles.extend_from_slice(&blocks.0.to_le_bytes());
        }
        self.previous = tile;
        self.tile_count += 1;
    }

    fn flush_run(&mut self) {
        if let Some(run) = self.solid_run.take() {
            self.write_head(MODE_SOLID, run.first, None);
            put_u24(&mut self.tiles, run.color);
            put_varint(&mut self.tiles, run.count - 1);
            self.previous = run.first + run.count - 1;
        }
    }
}

fn write_uncovers(uncovers: &[Uncover], out: &mut Vec<u8>) {
    if uncovers.is_empty() {
        return;
    }
    out.push(SECTION_UNCOVER);
    put_varint(out, uncovers.len() as u32);
    let mut previous = 0;
    for Uncover { tile, slot } in uncovers {
        put_varint(out, tile.0 - previous);
        put_varint(out, *slot);
        previous = tile.0;
    }
}

/// Writes tiles that are put into slots; the tiles ascend.
fn write_kept(section: u8, kept: impl Iterator<Item = (TileIndex, u32)>, out: &mut Vec<u8>) {
    // The first tile and its slot, and how many there are: what is kept at a time mostly follows on each other.
    let mut runs: Vec<(u32, u32, u32)> = Vec::new();
    for (TileIndex(tile), slot) in kept {
        match runs.last_mut() {
            Some((first, from, length)) if *first + *length == tile && *from + *length == slot => *length += 1,
            _ => runs.push((tile, slot, 1)),
        }
    }
    if runs.is_empty() {
        return;
    }
    out.push(section);
    put_varint(out, runs.len() as u32);
    let mut previous = 0;
    for (tile, slot, length) in runs {
        put_varint(out, (tile - previous) << 1 | u32::from(length > 1));
        if length > 1 {
            put_varint(out, length - 2);
        }
        put_varint(out, slot);
        previous = tile + length - 1;
    }
}

/// Turns deltas into tile numbers that never leave the screen.
struct Ascending {
    grid: TileGrid,
    last: u32,
}

impl Ascending {
    fn new(grid: TileGrid) -> Self {
        Self { grid, last: 0 }
    }

    fn next(&mut self, delta: u32, repeated: bool) -> Result<TileIndex, FormatError> {
        let tile = self.last.saturating_add(delta);
        if repeated || tile >= self.grid.count() {
            return Err(FormatError::Tile(tile));
        }
        self.last = tile;
        Ok(TileIndex(tile))
    }
}

/// The tiles of a section that puts them into slots.
fn kept_tiles(r: &mut Reader, section: u8, count: u32, grid: TileGrid) -> Result<Vec<(TileIndex, u32)>, FormatError> {
    let most = grid.count().min(CACHE_SLOTS);
    if count > most {
        return Err(FormatError::Count { section, count });
    }
    let (mut tiles, mut kept) = (Ascending::new(grid), Vec::new());
    let mut taken = vec![false; CACHE_SLOTS as usize];
    for _ in 0..count {
        let word = r.varint()?;
        let (delta, is_run) = (word >> 1, word & 1 == 1);
        let length = if is_run { r.varint()?.saturating_add(2) } else { 1 };
        if length > most - kept.len() as u32 {
            return Err(FormatError::Count { section, count: length });
        }
        let first = r.varint()?;
        for i in 0..length {
            let delta = if i == 0 { delta } else { 1 };
            let tile = tiles.next(delta, delta == 0 && !kept.is_empty())?;
            let slot = cache_slot(first.saturating_add(i))?;
            if std::mem::replace(&mut taken[slot as usize], true) {
                return Err(FormatError::Slot(slot));
            }
            kept.push((tile, slot));
        }
    }
    Ok(kept)
}

fn cache_slot(slot: u32) -> Result<u32, FormatError> {
    if slot < CACHE_SLOTS { Ok(slot) } else { Err(FormatError::Slot(slot)) }
}

fn take_range(r: &mut Reader, count: usize) -> Result<Range<usize>, FormatError> {
    let start = r.offset();
    r.take(count)?;
    Ok(start..start + count)
}

fn parse_pack(r: &mut Reader, blocks: BlockMask) -> Result<Content, FormatError> {
    let count = usize::from(r.u8()?) + 1;
    if !(2..=PACK_COLORS_MAX).contains(&count) {
        return Err(FormatError::Palette(count));
    }
    let palette = r.offset();
    let colors = (0..count).map(|_| r.u24()).collect::<Result<Vec<_>, _>>()?;
    let bytes = blocks.count() as usize * BLOCK_PIXELS * pack_bits(count) / 8;
    Ok(Content::Pack { colors, palette, indices: take_range(r, bytes)? })
}

fn parse_ctx(r: &mut Reader, tile: TileIndex, blocks: BlockMask, set: u8) -> Result<Content, FormatError> {
    let flags = r.u8()?;
    let named = usize::from(flags >> 5 & 3);
    let (lanes, grey) = (1 << (flags & 3), flags >> 2 & 1 == 1);
    let (recall, dictionary) = (flags >> 3 & 1 == 1, flags >> 7 == 1);
    // Three colours are what there is to name: more says that it has what was there before.
    let former = named == COLORS_MAX;
    if dictionary && !recall || former && (!dictionary || flags >> 4 & 1 == 1) {
        return Err(FormatError::Ctx(flags));
    }
    let mut color = || if grey { Ok(u32::from(r.u8()?) * 0x01_0101) } else { r.u24() };
    let mut colors = [color()?; COLORS_MAX];
    if former {
        colors[1..].copy_from_slice(&FORMER_COLORS);
    } else {
        for named in &mut colors[1..=named] {
            *named = color()?;
        }
    }
    let mut repeats = 0;
    if flags >> 4 & 1 == 1 {
        for index in (0..BLOCKS_PER_SIDE).filter(|i| band(blocks, *i) != 0) {
            repeats |= u64::from(r.u16()?) << (16 * index);
        }
        let first_row = blocks.0.trailing_zeros() / BLOCKS_PER_SIDE * BLOCK;
        if repeats >> first_row & 1 == 1 {
            return Err(FormatError::Repeat(tile.0));
        }
    }
    let mut lengths = [0; LANES_MAX];
    let mut words = 0;
    for length in &mut lengths[..lanes] {
        let count = r.varint()?;
        // Two words are a coder's state.
        *length = u16::try_from(count).ok().filter(|l| *l >= 2).ok_or(FormatError::Lane(count))?;
        words += usize::from(*length);
    }
    let streams = take_range(r, 2 * words)?.start;
    Ok(Content::Ctx { set, head: Head { lanes, grey, recall, dictionary, former, colors, repeats }, streams, lengths })
}

fn parse_wave(r: &mut Reader) -> Result<Content, FormatError> {
    let flags = r.u16()?;
    if flags >> 15 != 0 {
        return Err(FormatError::Wave(flags));
    }
    let lanes = flags & ((1 << wave::LANES) - 1);
    let head = wave::Head { quantiser: (flags >> wave::LANES) as u8, lanes, base: r.u24()? };
    let mut lengths = [0; wave::LANES];
    let mut bytes = 0;
    for (_, length) in lengths.iter_mut().enumerate().filter(|(lane, _)| lanes >> lane & 1 == 1) {
        let count = r.varint()?;
        if count == 0 || count > WAVE_LANE_BYTES_MAX {
            return Err(FormatError::WaveLane(count));
        }
        *length = count as u16;
        bytes += count as usize;
    }
    let streams = take_range(r, bytes)?.start;
    Ok(Content::Wave { head, streams, lengths })
}
