//! Mode CTX: what goes in comes out, what it measures is what it writes, and damage does no harm.

use crate::codec::Random;
use bytes::Bytes;
use kachel::codec::canvas::{Canvas, Picture};
use kachel::codec::ctx::dictionary::Dictionary;
use kachel::codec::ctx::encode::{CtxEncoder, Pixels};
use kachel::codec::ctx::model::Canvas as Walk;
use kachel::codec::ctx::tables::COSTS;
use kachel::codec::format::{Frame, FrameHeader, SectionWriter};
use kachel::codec::plan::{Harvest, Plan, packed};
use kachel::codec::stage::harvest;
use kachel::geom::{BlockMask, Point, Size, TileGrid, TileIndex};

const TILE: Size = Size::new(64, 64);

/// Writes blocks of a tile; returns the frame, and how many bytes were expected and came of the payload.
fn frame(encoder: &mut CtxEncoder, pixels: &Pixels, blocks: BlockMask) -> (Vec<u8>, usize, usize) {
    let (mut out, mut payload) = (Vec::new(), Vec::new());
    FrameHeader { sequence: 1, depends_on: 0, input: 0, key: Some(TILE), more: false, lossy: false }.write(&mut out);
    let measured = encoder.measure(pixels, None, blocks, None, &COSTS);
    encoder.write(&measured, &COSTS, &mut payload);
    let mut sections = SectionWriter::new();
    sections.ctx(TileIndex(0), (blocks != BlockMask::ALL).then_some(blocks), measured.set, &payload);
    sections.finish(&mut out);
    (out, measured.bytes, payload.len())
}

/// The pixels of a frame that is one tile; none if it is no frame.
pub(crate) fn decode(bytes: Vec<u8>) -> Option<Vec<u32>> {
    let frame = Frame::parse(Bytes::from(bytes), TILE).ok()?;
    let mut canvas = Canvas::new();
    canvas.apply(&Plan::new(&frame, TileGrid::new(TILE), |_| BlockMask::ALL));
    Some(canvas.screen.pixels)
}

/// Tiles from calm to noise, grey and coloured, with rows that repeat.
fn tile(random: &mut Random) -> Pixels {
    let colors: Vec<u32> = (0..1 + random.below(60)).map(|_| random.next() & 0x00ff_ffff).collect();
    let (change, noise) = (1 + random.below(40), random.below(40));
    let is_grey = random.below(2) == 0;
    let mut pixels = [0; 4096];
    let mut color = colors[0];
    for i in 0..4096 {
        if random.below(change) == 0 {
            color = colors[random.below(colors.len() as u32) as usize];
        }
        pixels[i] = match random.below(41) {
            n if n < noise => color ^ random.below(64),
            n if n < 20 && i >= 64 => pixels[i - 64],
            _ => color,
        };
        if is_grey {
            pixels[i] = (pixels[i] & 0xff) * 0x01_0101;
        }
    }
    for row in 1..64 {
        if random.below(3) == 0 {
            pixels.copy_within((row - 1) * 64..row * 64, row * 64);
        }
    }
    pixels
}

#[test]
fn every_tile_comes_back_and_costs_what_was_measured() {
    let mut random = Random(3);
    let mut encoder = CtxEncoder::new();
    for i in 0..300 {
        let pixels = tile(&mut random);
        let blocks = if random.below(2) == 0 { BlockMask::ALL } else { BlockMask(1 + random.below(0xffff) as u16) };
        let (bytes, expected, found) = frame(&mut encoder, &pixels, blocks);
        assert!(found.abs_diff(expected) <= 24 + found / 50, "tile {i}: measured {expected}, written {found}");
        let screen = decode(bytes).expect("the encoder writes sound frames");
        for (at, (found, pixel)) in screen.iter().zip(&pixels).enumerate() {
            let is_coded = blocks.contains((at / 64 / 16 * 4 + at % 64 / 16) as u32);
            assert_eq!(*found, if is_coded { *pixel } else { 0 }, "tile {i}, pixel {at}");
        }
    }
}

#[test]
fn damaged_payloads_are_refused_or_harmless() {
    let mut random = Random(4);
    let mut encoder = CtxEncoder::new();
    for _ in 0..60 {
        let (bytes, ..) = frame(&mut encoder, &tile(&mut random), BlockMask(1 + random.below(0xffff) as u16));
        for _ in 0..20 {
            let mut bad = bytes.clone();
            for _ in 0..1 + random.below(4) {
                let at = random.below(bad.len() as u32) as usize;
                bad[at] = random.next() as u8;
            }
            bad.truncate(bad.len() - random.below(2) as usize);
            decode(bad);
        }
    }
}

/// The grey cross on white, in the first block only.
fn cross() -> Pixels {
    let mut pixels = [0x00ff_ffff; 4096];
    for i in 3..12 {
        pixels[7 * 64 + i] = 0x0080_8080;
        pixels[i * 64 + 7] = 0x0080_8080;
    }
    pixels
}

/// Writes tiles of one row, each harvested before the next; returns the frame and the bytes of each payload.
fn harvested(tiles: &[Pixels], blocks: BlockMask) -> (Vec<u8>, Vec<usize>) {
    let size = Size::new(64 * tiles.len() as u32, 64);
    let mut screen = Picture::new(size);
    let (mut encoder, mut dictionary) = (CtxEncoder::new(), Dictionary::new());
    let (mut sections, mut lengths) = (SectionWriter::new(), Vec::new());
    for (index, pixels) in tiles.iter().enumerate() {
        let (left, mut payload) = (64 * index, Vec::new());
        for (y, row) in pixels.chunks_exact(64).enumerate() {
            screen.pixels[y * size.w as usize + left..][..64].copy_from_slice(row);
        }
        let measured = encoder.measure(pixels, None, blocks, Some(&dictionary), &COSTS);
        assert!(measured.head.dictionary, "a tile of few colours");
        encoder.write(&measured, &COSTS, &mut payload);
        sections.ctx(TileIndex(index as u32), (blocks != BlockMask::ALL).then_some(blocks), measured.set, &payload);
        lengths.push(payload.len());
        if index + 1 < tiles.len() {
            sections.harvest();
            let job = Harvest::new(packed(Point { x: left as u32, y: 0 }), blocks, &measured.head);
            harvest::run(&[job], &screen, &mut Walk::new(), &mut dictionary);
        }
    }
    let mut out = Vec::new();
    FrameHeader { sequence: 1, depends_on: 0, input: 0, key: Some(size), more: false, lossy: false }.write(&mut out);
    sections.finish(&mut out);
    (out, lengths)
}

#[test]
fn what_was_harvested_costs_next_to_nothing_again() {
    let mut random = Random(21);
    // Letters of soft grey, the same in every tile, at another place each time.
    let letter: [u32; 64] = std::array::from_fn(|_| (random.next() & 0xff) * 0x01_0101);
    let mut tiles = Vec::new();
    for shift in 0..3 {
        let mut pixels = [0x00ff_ffff; 4096];
        for (i, pixel) in letter.iter().enumerate() {
            pixels[(20 + shift + i / 8) * 64 + 17 + 5 * shift + i % 8] = *pixel;
        }
        tiles.push(pixels);
    }
    let (bytes, lengths) = harvested(&tiles, BlockMask::ALL);
    assert!(lengths[1] * 2 < lengths[0] && lengths[2] * 2 < lengths[0], "{lengths:?}");
    let frame = Frame::parse(Bytes::from(bytes), Size::default()).expect("the encoder writes sound frames");
    assert_eq!(frame.harvests, [1, 2]);
    let mut canvas = Canvas::new();
    canvas.apply(&Plan::new(&frame, TileGrid::new(Size::new(192, 64)), |_| BlockMask::ALL));
    for (index, pixels) in tiles.iter().enumerate() {
        for (y, row) in pixels.chunks_exact(64).enumerate() {
            assert_eq!(&canvas.screen.row(y as u32)[64 * index..][..64], row, "tile {index}, row {y}");
        }
    }
}

/// Writes blocks of a tile on what was there before, as the second frame; says also whether that was made use of, as it is
/// but in photos.
fn frame_on(former: &Pixels, pixels: &Pixels, blocks: BlockMask) -> (Vec<u8>, bool) {
    let (mut encoder, mut out, mut payload) = (CtxEncoder::new(), Vec::new(), Vec::new());
    FrameHeader { sequence: 2, depends_on: 1, input: 0, key: None, more: false, lossy: false }.write(&mut out);
    let measured = encoder.measure(pixels, Some(former), blocks, Some(&Dictionary::new()), &COSTS);
    encoder.write(&measured, &COSTS, &mut payload);
    assert!(payload.len().abs_diff(measured.bytes) <= 24 + payload.len() / 50, "{}", measured.bytes);
    let mut sections = SectionWriter::new();
    sections.ctx(TileIndex(0), (blocks != BlockMask::ALL).then_some(blocks), measured.set, &payload);
    sections.finish(&mut out);
    (out, measured.head.former)
}

#[test]
fn what_was_there_before_costs_next_to_nothing() {
    let (mut random, mut count) = (Random(33), 0);
    for round in 0..200 {
        let former = tile(&mut random);
        let mut pixels = former;
        for _ in 0..random.below(4) {
            let (at, color) = (random.below(4096 - 70) as usize, random.next() & 0x00ff_ffff);
            pixels[at..at + 1 + random.below(60) as usize].fill(color);
        }
        let blocks = if random.below(2) == 0 { BlockMask::ALL } else { BlockMask(1 + random.below(0xffff) as u16) };
        let (bytes, is_on_former) = frame_on(&former, &pixels, blocks);
        count += u32::from(is_on_former);
        if pixels == former && is_on_former {
            assert!(bytes.len() < 80, "nothing has changed, and it takes {} bytes", bytes.len());
        }
        let mut canvas = Canvas::new();
        canvas.apply(&Plan { key: Some(TILE), ..Plan::default() });
        canvas.screen.pixels.copy_from_slice(&former);
        let frame = Frame::parse(Bytes::from(bytes), TILE).expect("the encoder writes sound frames");
        canvas.apply(&Plan::new(&frame, TileGrid::new(TILE), |_| BlockMask::ALL));
        for (at, found) in canvas.screen.pixels.iter().enumerate() {
            let is_coded = blocks.contains((at / 64 / 16 * 4 + at % 64 / 16) as u32);
            assert_eq!(*found, if is_coded { pixels[at] } else { former[at] }, "tile {round}, pixel {at}");
        }
    }
    assert!(count > 100, "only {count} tiles");
}

#[test]
fn the_example_of_what_was_there() {
    let mut longer = cross();
    longer[7 * 64 + 12] = 0x0080_8080;
    let (bytes, _) = frame_on(&cross(), &longer, BlockMask(1));
    let hex: Vec<String> = bytes.iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(bytes, crate::wire::examples()["ctx-former"], "{}", hex.join(" "));
}

#[test]
fn the_example_of_the_dictionary() {
    let (bytes, _) = harvested(&[cross(), cross()], BlockMask(1));
    let hex: Vec<String> = bytes.iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(bytes, crate::wire::examples()["ctx-dictionary"], "{}", hex.join(" "));
}

/// The bytes change with the tables; then PROTOCOL.md has to change as well.
#[test]
fn the_example_of_the_protocol() {
    let (bytes, ..) = frame(&mut CtxEncoder::new(), &cross(), BlockMask(1));
    let screen = decode(bytes.clone()).expect("the encoder writes sound frames");
    assert_eq!((screen[7 * 64 + 3], screen[0], screen[63]), (0x0080_8080, 0x00ff_ffff, 0));
    assert_eq!(bytes, crate::wire::examples()["ctx-cross"]);
}
