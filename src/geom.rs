//! Pixels: points, sizes, rectangles, and the grid of 64×64 tiles with its 16×16 blocks.
//!
//! Plain values without any policy. Everything is in physical pixels of one screen, the origin is the top left corner.
//! Who decides what a tile holds: `codec`.

use serde::{Deserialize, Serialize};

/// Side of a tile in pixels.
pub const TILE: u32 = 64;
/// Side of a block in pixels; a tile has 4×4 blocks.
pub const BLOCK: u32 = 16;
/// Blocks along one side of a tile.
pub const BLOCKS_PER_SIDE: u32 = TILE / BLOCK;

/// A pixel position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Point {
    /// Columns from the left edge.
    pub x: u32,
    /// Rows from the top edge.
    pub y: u32,
}

/// Width and height in pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Size {
    /// Width.
    pub w: u32,
    /// Height.
    pub h: u32,
}

/// A rectangle of pixels; `right` and `bottom` are exclusive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rect {
    /// Left edge.
    pub x: u32,
    /// Top edge.
    pub y: u32,
    /// Width.
    pub w: u32,
    /// Height.
    pub h: u32,
}

/// Number of a tile in row order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileIndex(pub u32);

/// A set of blocks of one tile: bit `4 * row + column`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct BlockMask(pub u16);

/// The tiles that cover a screen; those at the right and bottom edge may reach beyond it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TileGrid {
    size: Size,
}

impl Size {
    /// Makes a size.
    pub const fn new(w: u32, h: u32) -> Self {
        Self { w, h }
    }

    /// Number of pixels.
    pub const fn area(self) -> u64 {
        self.w as u64 * self.h as u64
    }

    /// Whether there is no pixel.
    pub const fn is_empty(self) -> bool {
        self.w == 0 || self.h == 0
    }

    /// The rectangle of this size at the origin.
    pub const fn rect(self) -> Rect {
        Rect { x: 0, y: 0, w: self.w, h: self.h }
    }
}

impl Rect {
    /// Makes a rectangle from its corner and size.
    pub const fn new(x: u32, y: u32, w: u32, h: u32) -> Self {
        Self { x, y, w, h }
    }

    /// First column to the right of it.
    pub const fn right(self) -> u32 {
        self.x.saturating_add(self.w)
    }

    /// First row below it.
    pub const fn bottom(self) -> u32 {
        self.y.saturating_add(self.h)
    }

    /// Whether there is no pixel.
    pub const fn is_empty(self) -> bool {
        self.w == 0 || self.h == 0
    }

    /// Number of pixels.
    pub const fn area(self) -> u64 {
        self.w as u64 * self.h as u64
    }

    /// What both cover; empty where they do not meet.
    pub fn intersection(self, other: Rect) -> Rect {
        let (x, y) = (self.x.max(other.x), self.y.max(other.y));
        let (r, b) = (self.right().min(other.right()), self.bottom().min(other.bottom()));
        Rect::new(x, y, r.saturating_sub(x), b.saturating_sub(y))
    }

    /// The smallest rectangle around both; an empty one adds nothing.
    pub fn union(self, other: Rect) -> Rect {
        if self.is_empty() {
            return other;
        }
        if other.is_empty() {
            return self;
        }
        let (x, y) = (self.x.min(other.x), self.y.min(other.y));
        Rect::new(x, y, self.right().max(other.right()) - x, self.bottom().max(other.bottom()) - y)
    }

    /// Whether every pixel of `other` lies in it. Computed without overflow for any values.
    pub fn contains(self, other: Rect) -> bool {
        let end = |a: u32, b: u32| u64::from(a) + u64::from(b);
        other.x >= self.x
            && other.y >= self.y
            && end(other.x, other.w) <= end(self.x, self.w)
            && end(other.y, other.h) <= end(self.y, self.h)
    }

    /// Whether they share a pixel.
    pub fn intersects(self, other: Rect) -> bool {
        !self.intersection(other).is_empty()
    }
}

impl BlockMask {
    /// No block.
    pub const NONE: BlockMask = BlockMask(0);
    /// All sixteen blocks.
    pub const ALL: BlockMask = BlockMask(0xffff);

    /// Number of blocks in the set.
    pub const fn count(self) -> u32 {
        self.0.count_ones()
    }

    /// Whether no block is in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether block `index` (0..16) is in the set.
    pub const fn contains(self, index: u32) -> bool {
        self.0 >> (index & 15) & 1 == 1
    }

    /// How many blocks of the set come before block `index` (0..16).
    pub const fn rank(self, index: u32) -> u32 {
        (self.0 & ((1u32 << (index & 15)) - 1) as u16).count_ones()
    }

    /// Numbers of the blocks in the set, ascending.
    pub fn blocks(self) -> impl Iterator<Item = u32> {
        (0..16).filter(move |i| self.contains(*i))
    }
}

impl TileGrid {
    /// The grid of a screen.
    pub const fn new(size: Size) -> Self {
        Self { size }
    }

    /// The screen's size in pixels.
    pub const fn size(self) -> Size {
        self.size
    }

    /// Tiles in a row.
    pub const fn columns(self) -> u32 {
        self.size.w.div_ceil(TILE)
    }

    /// Rows of tiles.
    pub const fn rows(self) -> u32 {
        self.size.h.div_ceil(TILE)
    }

    /// Tiles in all.
    pub const fn count(self) -> u32 {
        self.columns() * self.rows()
    }

    /// Top left pixel of a tile.
    ///
    /// # Panics
    /// If the screen is empty.
    pub fn origin(self, tile: TileIndex) -> Point {
        Point { x: tile.0 % self.columns() * TILE, y: tile.0 / self.columns() * TILE }
    }

    /// The part of a tile that lies on the screen.
    pub fn rect(self, tile: TileIndex) -> Rect {
        let o = self.origin(tile);
        Rect::new(o.x, o.y, TILE, TILE).intersection(self.size.rect())
    }

    /// The blocks of a tile that have at least one pixel on the screen.
    pub fn visible(self, tile: TileIndex) -> BlockMask {
        let r = self.rect(tile);
        let (columns, rows) = (r.w.div_ceil(BLOCK), r.h.div_ceil(BLOCK));
        let row = (1u16 << columns) - 1;
        BlockMask((0..rows).fold(0, |m, i| m | row << (i * BLOCKS_PER_SIDE)))
    }

    /// Tiles that meet a rectangle, in row order.
    pub fn tiles_in(self, rect: Rect) -> impl Iterator<Item = TileIndex> {
        let r = rect.intersection(self.size.rect());
        let (x0, x1) = (r.x / TILE, r.right().div_ceil(TILE));
        let (y0, y1) = if r.is_empty() { (0, 0) } else { (r.y / TILE, r.bottom().div_ceil(TILE)) };
        let columns = self.columns();
        (y0..y1).flat_map(move |y| (x0..x1).map(move |x| TileIndex(y * columns + x)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edge_tiles_are_clipped_and_their_hidden_blocks_are_not_visible() {
        let g = TileGrid::new(Size::new(1920, 1080));
        assert_eq!((g.columns(), g.rows(), g.count()), (30, 17, 510));
        assert_eq!(g.rect(TileIndex(509)), Rect::new(1856, 1024, 64, 56));
        assert_eq!(g.visible(TileIndex(509)), BlockMask(0xffff));
        let g = TileGrid::new(Size::new(70, 20));
        assert_eq!(g.visible(TileIndex(0)), BlockMask(0x00ff));
        assert_eq!(g.visible(TileIndex(1)), BlockMask(0x0011));
    }

    #[test]
    fn tiles_in_a_rectangle_come_in_row_order() {
        let g = TileGrid::new(Size::new(200, 200));
        let v: Vec<u32> = g.tiles_in(Rect::new(60, 60, 10, 10)).map(|t| t.0).collect();
        assert_eq!(v, [0, 1, 4, 5]);
        assert_eq!(g.tiles_in(Rect::new(0, 0, 0, 5)).count(), 0);
        assert_eq!(g.tiles_in(Rect::new(500, 0, 5, 5)).count(), 0);
    }

    #[test]
    fn rank_counts_the_blocks_before() {
        let m = BlockMask(0b1010_0000_0000_0110);
        assert_eq!((m.rank(1), m.rank(2), m.rank(15)), (0, 1, 3));
    }

    #[test]
    fn containment_does_not_overflow() {
        let s = Rect::new(0, 0, 100, 100);
        assert!(!s.contains(Rect::new(u32::MAX, 0, u32::MAX, 1)));
        assert!(s.contains(Rect::new(99, 99, 1, 1)));
    }
}
