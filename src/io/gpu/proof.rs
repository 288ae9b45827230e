//! Proves a driver before it is trusted: a small screen through every stage, compared with the CPU to the bit.
//!
//! A driver that compiles the shaders may still run them wrong. Who finds one takes a tier without compute.

use super::decode::Decoder;
use super::{Gpu, GpuError};
use crate::codec::canvas::Canvas;
use crate::codec::plan::{Ctx, Fill, Harvest, Plan, Raw, Round, Transfer, Unpack, Wave, packed};
use crate::geom::{Point, Size, TILE};
use bytes::Bytes;

/// A whole tile, and others that the edges cut through a block.
const SCREEN: Size = Size::new(3 * TILE - 7, 2 * TILE - 21);

/// Whether the device decodes exactly; takes some milliseconds.
///
/// # Errors
/// The device's fault, which is a no as well.
pub fn decodes_exactly(gpu: &Gpu) -> Result<bool, GpuError> {
    let mut decoder = Decoder::new(gpu)?;
    let mut canvas = Canvas::new();
    for plan in plans() {
        decoder.apply(&plan)?;
        canvas.apply(&plan);
    }
    Ok(decoder.read_back()? == canvas.screen)
}

/// Frames that use every stage, at offsets that fall on every byte of a word.
fn plans() -> [Plan; 5] {
    let tile = |column: u32, row: u32| packed(Point { x: column * TILE, y: row * TILE });
    // Blocks that have a pixel on the screen: in the lower row of tiles, three of four rows; all columns.
    let (whole, cut) = (0xffff_u32, 0x0fff_u32);
    let raw = |origin, blocks: u32, pixels| Raw { origin, blocks: blocks | blocks << 16, pixels, pad: 0 };
    let unpack = |origin, coded: u32, write: u32, bits, index_max, at| Unpack {
        origin,
        blocks: coded | write << 16,
        palette: at,
        indices: at + 48,
        bits,
        index_max,
        pad: [0; 2],
    };
    let noise: Vec<u8> = (0..4096 * 3 + 64).map(|i: u32| (i.wrapping_mul(0x9e37_79b1) >> 13) as u8).collect();
    let tiles = Plan {
        key: Some(SCREEN),
        fills: vec![Fill { origin: tile(2, 0), blocks: whole & 0x5a5a, color: 0x0012_3456, pad: 0 }],
        unpacks: vec![
            unpack(tile(2, 0), whole, whole & 0xa5a5, 4, 12, 1),
            unpack(tile(1, 1), cut, cut & 0x0770, 2, 3, 2),
            unpack(tile(2, 1), cut, cut, 1, 1, 3),
        ],
        raws: vec![raw(tile(0, 0), whole, 0), raw(tile(1, 0), whole, 5), raw(tile(0, 1), cut, 10)],
        bytes: Bytes::from(noise),
        ..Plan::default()
    };
    let transfer = |source, destination| Transfer { source, destination, size: TILE | TILE << 16, pad: 0 };
    let moved = Plan {
        stores: vec![transfer(tile(1, 0), tile(31, 63))],
        // Over a part of its own source.
        copies: vec![transfer(tile(0, 0), packed(Point { x: 9, y: 30 }))],
        // A copy writes over what has been uncovered.
        uncovers: vec![transfer(tile(31, 63), tile(1, 0))],
        ..Plan::default()
    };
    // No payload that an encoder made, but it takes every way through the shader.
    let ctx = |origin, blocks: u32, shape, repeats| Ctx {
        origin,
        blocks: blocks | blocks << 16,
        shape,
        colors: [0x00ff_ffff, 0, 0x0040_80c0],
        repeats: [repeats, repeats],
        streams: shape,
        lengths: [500 | 500 << 16; 4],
        pad: [0; 3],
    };
    let wave = |origin, blocks: u32, quantiser, length: u32| Wave {
        origin,
        blocks: blocks | blocks << 16,
        quantiser,
        base: 0x00c0_8040,
        streams: quantiser,
        // One lane in three has nothing.
        lengths: [length | length << 16, length << 16, length, length | length << 16, length << 16, length],
        pad: 0,
    };
    let coded = Plan {
        ctxs: vec![
            ctx(tile(2, 0), whole, 0x00b, 0xff0e),
            ctx(tile(0, 1), cut & 0x0ff6, 0x70a, 0),
            ctx(tile(1, 1), cut, 0x209, 0x4422),
            ctx(tile(2, 1), cut & 0x0333, 0x30c, 0),
            ctx(tile(0, 0), whole & 0x7ffe, 0x63b, 0),
            ctx(tile(2, 1), cut & 0xcc00, 0x138, 0),
        ],
        waves: vec![wave(tile(1, 0), whole & 0x7bde, 1, 999), wave(tile(0, 1), cut & 0x0009, 6, 99)],
        bytes: tiles.bytes.clone(),
        ..Plan::default()
    };
    // The dictionary learns what is there, and what it knows is looked up in the same frame.
    let harvest =
        |origin, blocks, repeats| Harvest { origin, blocks, back: 0x00ff_ffff, repeats, ..Harvest::default() };
    let learnt = Plan {
        harvests: vec![
            harvest(tile(0, 0), whole, [0, 0]),
            harvest(tile(2, 0), whole & 0x5ff5, [0x00f0_0e0e, 0x8000_0000]),
            harvest(tile(2, 1), cut, [0, 2]),
        ],
        rounds: vec![Round { ctxs: 0, harvests: 3 }],
        ctxs: vec![ctx(tile(1, 0), whole, 0x31b, 0x0f00), ctx(tile(1, 1), cut, 0x51b, 0)],
        bytes: tiles.bytes.clone(),
        ..Plan::default()
    };
    let recalled = Plan {
        recalls: vec![transfer(tile(31, 63), tile(0, 0))],
        // Kept as it is now, and shown as it was.
        amends: vec![transfer(tile(0, 0), tile(31, 63))],
        ..Plan::default()
    };
    [tiles, moved, coded, learnt, recalled]
}
