//! Pixels: points, sizes, rectangles, the grid of 64×64 tiles with its 16×16 blocks, and how a picture fits a window.
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

/// Where a picture lies in a window, and how it is scaled; the one truth for drawing and for the pointer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fit {
    /// The window's size.
    pub window: Size,
    /// The picture's size.
    pub picture: Size,
    /// The part of the window that the picture covers; black bars around it. Empty if either of them is.
    pub viewport: Rect,
    /// How pixels are made where the sizes differ.
    pub filter: Filter,
}

/// How a picture is scaled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Filter {
    /// The nearest pixel; exact at 1:1 and at whole multiples.
    #[default]
    Nearest,
    /// The average of the source area under each pixel, in (nearly) linear light.
    Area,
}

/// A picture is averaged down to this part of its side; a still smaller window takes the nearest pixels.
const SHRINK_MAX: u32 = 32;

/// Fits a picture into a window: as large as it goes with its own proportions, in the middle.
pub fn fit(window: Size, picture: Size) -> Fit {
    if window.is_empty() || picture.is_empty() {
        return Fit { window, picture, ..Fit::default() };
    }
    let scaled = |side: u32, by: u32, of: u32| {
        ((u64::from(side) * u64::from(by) + u64::from(of) / 2) / u64::from(of)).max(1) as u32
    };
    let is_wide = u64::from(window.w) * u64::from(picture.h) <= u64::from(window.h) * u64::from(picture.w);
    let (w, h) = if is_wide {
        (window.w, scaled(picture.h, window.w, picture.w).min(window.h))
    } else {
        (scaled(picture.w, window.h, picture.h).min(window.w), window.h)
    };
    let is_whole = w % picture.w == 0 && h % picture.h == 0 && w / picture.w == h / picture.h;
    let is_tiny = w < picture.w / SHRINK_MAX || h < picture.h / SHRINK_MAX;
    let filter = if is_whole || is_tiny { Filter::Nearest } else { Filter::Area };
    Fit { window, picture, viewport: Rect::new((window.w - w) / 2, (window.h - h) / 2, w, h), filter }
}

impl Fit {
    /// Whether one pixel of the picture is one pixel of the window.
    pub fn is_exact(&self) -> bool {
        self.viewport.w == self.picture.w && self.viewport.h == self.picture.h
    }

    /// The picture's pixel under a window position (physical pixels); none on the bars and outside the window.
    pub fn picture_from_window(&self, x: f64, y: f64) -> Option<Point> {
        let v = self.viewport;
        let inside =
            x >= f64::from(v.x) && x < f64::from(v.right()) && y >= f64::from(v.y) && y < f64::from(v.bottom());
        inside.then(|| self.nearest_in_picture(x, y)).flatten()
    }

    /// The picture's pixel nearest to a window position, for a drag that leaves the picture; none if there is no picture.
    pub fn nearest_in_picture(&self, x: f64, y: f64) -> Option<Point> {
        let v = self.viewport;
        if v.is_empty() {
            return None;
        }
        let map = |at: f64, start: u32, length: u32, side: u32| {
            let i = (at - f64::from(start)) * f64::from(side) / f64::from(length);
            i.floor().clamp(0.0, f64::from(side - 1)) as u32
        };
        Some(Point { x: map(x, v.x, v.w, self.picture.w), y: map(y, v.y, v.h, self.picture.h) })
    }

    /// The part of the window that a part of the picture has an influence on.
    pub fn window_from_picture(&self, part: Rect) -> Rect {
        let part = part.intersection(self.picture.rect());
        if part.is_empty() || self.viewport.is_empty() {
            return Rect::default();
        }
        let map = |from: u32, to: u32, length: u32, side: u32| {
            let low = u64::from(from) * u64::from(length) / u64::from(side);
            let high = (u64::from(to) * u64::from(length)).div_ceil(u64::from(side));
            (low as u32, (high - low) as u32)
        };
        let (x, w) = map(part.x, part.right(), self.viewport.w, self.picture.w);
        let (y, h) = map(part.y, part.bottom(), self.viewport.h, self.picture.h);
        Rect::new(self.viewport.x + x, self.viewport.y + y, w, h)
    }
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

    /// The part of a tile's block that lies on the screen.
    pub fn block(self, tile: TileIndex, block: u32) -> Rect {
        let o = self.origin(tile);
        Rect::new(o.x + block % BLOCKS_PER_SIDE * BLOCK, o.y + block / BLOCKS_PER_SIDE * BLOCK, BLOCK, BLOCK)
            .intersection(self.size.rect())
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

    #[test]
    fn a_picture_keeps_its_proportions_and_lies_in_the_middle() {
        let check = |window: (u32, u32), picture: (u32, u32), viewport: Rect, filter: Filter| {
            let f = fit(Size::new(window.0, window.1), Size::new(picture.0, picture.1));
            assert_eq!((f.viewport, f.filter), (viewport, filter), "{window:?} {picture:?}");
        };
        check((1920, 1080), (1920, 1080), Rect::new(0, 0, 1920, 1080), Filter::Nearest);
        check((3840, 2200), (1920, 1080), Rect::new(0, 20, 3840, 2160), Filter::Nearest);
        check((1000, 1080), (1920, 1080), Rect::new(0, 258, 1000, 563), Filter::Area);
        check((1920, 500), (1920, 1080), Rect::new(515, 0, 889, 500), Filter::Area);
        check((30, 1), (8192, 8192), Rect::new(14, 0, 1, 1), Filter::Nearest);
        check((100, 100), (0, 5), Rect::default(), Filter::Nearest);
        check((0, 0), (10, 10), Rect::default(), Filter::Nearest);
    }

    #[test]
    fn the_pointer_finds_the_pixel_that_is_drawn_under_it() {
        let f = fit(Size::new(3840, 2200), Size::new(1920, 1080));
        assert_eq!(f.picture_from_window(0.0, 19.9), None);
        assert_eq!(f.picture_from_window(1.9, 21.9), Some(Point { x: 0, y: 0 }));
        assert_eq!(f.picture_from_window(3839.9, 2179.9), Some(Point { x: 1919, y: 1079 }));
        assert_eq!(f.picture_from_window(3840.0, 100.0), None);
        assert_eq!(f.nearest_in_picture(-5.0, 9999.0), Some(Point { x: 0, y: 1079 }));
        assert_eq!(fit(Size::default(), Size::new(1, 1)).nearest_in_picture(0.0, 0.0), None);
    }

    #[test]
    fn a_part_of_the_picture_maps_to_all_pixels_it_touches() {
        let f = fit(Size::new(150, 100), Size::new(100, 100));
        assert_eq!(f.window_from_picture(Rect::new(10, 10, 5, 5)), Rect::new(35, 10, 5, 5));
        let f = fit(Size::new(50, 50), Size::new(75, 75));
        assert_eq!(f.window_from_picture(Rect::new(1, 2, 1, 74)), Rect::new(0, 1, 2, 49));
        assert!(f.window_from_picture(Rect::new(75, 0, 5, 5)).is_empty());
    }
}
