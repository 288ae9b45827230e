// A tile is 4x4 blocks of 16x16 pixels; lane (x, y) writes pixel (x, y) of each block.

const BLOCK: u32 = 16u;
const BLOCKS: u32 = 16u;
const BLOCK_PIXELS: u32 = 256u;

fn block_pixel(origin: u32, block: u32, lane: vec2<u32>) -> vec2<u32> {
    return unpacked(origin) + vec2<u32>(block & 3u, block >> 2u) * BLOCK + lane;
}

fn has_block(mask: u32, block: u32) -> bool {
    return ((mask >> (block & 15u)) & 1u) == 1u;
}

// How many blocks of the mask come before this one.
fn rank(mask: u32, block: u32) -> u32 {
    return countOneBits(mask & ((1u << (block & 15u)) - 1u));
}
