//! The decoding stages, one file each, twin of the shader with the same name in `shaders/`.

pub mod ctx;
pub mod fill;
pub mod harvest;
pub mod mark;
pub mod raw;
pub mod transfer;
pub mod unpack;
pub mod wave;

use crate::codec::canvas::Picture;
use crate::codec::plan::unpacked;
use crate::geom::{BLOCK, BLOCKS_PER_SIDE, BlockMask, Rect};

/// The part of block `index` of the tile at `origin` (packed) that lies on the screen.
fn block_rect(screen: &Picture, origin: u32, index: u32) -> Rect {
    let o = unpacked(origin);
    let (x, y) = (o.x + index % BLOCKS_PER_SIDE * BLOCK, o.y + index / BLOCKS_PER_SIDE * BLOCK);
    Rect::new(x, y, BLOCK, BLOCK).intersection(screen.size.rect())
}

/// The coded blocks and those to write, from a job's `coded | write << 16`.
fn masks(blocks: u32) -> (BlockMask, BlockMask) {
    (BlockMask(blocks as u16), BlockMask((blocks >> 16) as u16))
}
