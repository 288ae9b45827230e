//! Mode WAVE: what comes out is near to what went in, only where it was coded, and damage does no harm.

use crate::codec::Random;
use crate::ctx::decode;
use kachel::codec::ctx::encode::Pixels;
use kachel::codec::format::{FrameHeader, SectionWriter, WAVE_LANE_BYTES_MAX};
use kachel::codec::wave::QUANTISER_MAX;
use kachel::codec::wave::encode::WaveEncoder;
use kachel::geom::{BlockMask, Size, TileIndex};

const TILE: Size = Size::new(64, 64);

/// Writes blocks of a tile; returns the frame and how many bytes came of the payload.
fn frame(encoder: &mut WaveEncoder, pixels: &Pixels, blocks: BlockMask, quantiser: u8) -> (Vec<u8>, usize) {
    let (mut out, mut payload) = (Vec::new(), Vec::new());
    FrameHeader { sequence: 1, depends_on: 0, input: 0, key: Some(TILE), more: false, lossy: true }.write(&mut out);
    encoder.write(pixels, blocks, quantiser, &mut payload);
    let mut sections = SectionWriter::new();
    sections.wave(TileIndex(0), (blocks != BlockMask::ALL).then_some(blocks), &payload);
    sections.finish(&mut out);
    (out, payload.len())
}

/// Slopes, a soft edge and grain, as in photographs.
fn photo(random: &mut Random) -> Pixels {
    let (dx, dy, edge) = (random.below(5), random.below(5), random.below(64));
    let start = [random.below(128), random.below(128), random.below(128)];
    let mut pixels = [0; 4096];
    for (i, pixel) in pixels.iter_mut().enumerate() {
        let (x, y) = (i as u32 % 64, i as u32 / 64);
        let light = x * dx / 4 + y * dy / 4 + (x + y / 2).saturating_sub(edge).min(6) * 6;
        *pixel = start.iter().fold(0, |p, c| p << 8 | (c + light + random.below(6)).min(255));
    }
    pixels
}

/// Peak signal to noise ratio in dB, over the three channels of the coded blocks.
fn psnr_db(found: &[u32], expected: &Pixels, blocks: BlockMask) -> f64 {
    let (mut squares, mut count) = (0u64, 0u64);
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        if blocks.contains((i / 64 / 16 * 4 + i % 64 / 16) as u32) {
            let apart = [0, 8, 16].map(|s| u64::from((a >> s & 255).abs_diff(b >> s & 255)));
            squares += apart.iter().map(|d| d * d).sum::<u64>();
            count += 3;
        }
    }
    10.0 * (65025.0 * count as f64 / squares.max(1) as f64).log10()
}

#[test]
fn photos_come_back_nearly_and_other_blocks_not_at_all() {
    let mut random = Random(3);
    let mut encoder = WaveEncoder::new();
    for i in 0..200 {
        let pixels = photo(&mut random);
        let blocks = if random.below(2) == 0 { BlockMask::ALL } else { BlockMask(1 + random.below(0xffff) as u16) };
        let mut before = (f64::INFINITY, usize::MAX);
        for (quantiser, least) in [(2, 40.0), (3, 36.0), (4, 32.0)] {
            let (bytes, length) = frame(&mut encoder, &pixels, blocks, quantiser);
            let screen = decode(bytes).expect("the encoder writes sound frames");
            let quality = psnr_db(&screen, &pixels, blocks);
            assert!(quality >= least, "tile {i}, quantiser {quantiser}, blocks {:#06x}: {quality:.1} dB", blocks.0);
            assert!(length <= before.1, "tile {i}, quantiser {quantiser}: {length} bytes after {}", before.1);
            before = (quality, length);
            let other = |at: usize| !blocks.contains((at / 64 / 16 * 4 + at % 64 / 16) as u32);
            assert!(screen.iter().enumerate().all(|(at, p)| !other(at) || *p == 0), "tile {i}: a block too many");
        }
        // A screen of noise is the most expensive picture; this must stay far below three bytes a pixel.
        assert!(before.1 < 4096, "tile {i}: {} bytes", before.1);
    }
}

#[test]
fn a_tile_of_one_colour_has_no_lanes() {
    let (bytes, length) = frame(&mut WaveEncoder::new(), &[0x0012_3456; 4096], BlockMask::ALL, 3);
    assert_eq!(length, 5);
    assert!(decode(bytes).expect("a sound frame").iter().all(|p| *p == 0x0012_3456));
}

#[test]
fn the_worst_tile_fits_the_lanes_and_the_finest_quantiser_is_nearly_exact() {
    let mut random = Random(5);
    let mut encoder = WaveEncoder::new();
    for _ in 0..40 {
        let (extreme, side) = (random.below(2) == 0, 1 << random.below(5));
        let mut color = || {
            if extreme { random.below(8).wrapping_mul(0x0024_6db1) & 0x00ff_ffff } else { random.next() & 0x00ff_ffff }
        };
        let mut pixels = [0; 4096];
        pixels.fill_with(&mut color);
        if extreme {
            // Chequers of several sizes, which have the largest coefficients of all.
            let (a, b) = (color(), color());
            pixels = std::array::from_fn(|i| if (i / 64 / side + i % 64 / side) % 2 == 0 { a } else { b });
        }
        for quantiser in 0..=QUANTISER_MAX {
            let (bytes, _) = frame(&mut encoder, &pixels, BlockMask::ALL, quantiser);
            let longest = WAVE_LANE_BYTES_MAX;
            let screen = decode(bytes).unwrap_or_else(|| panic!("a lane is longer than {longest} bytes"));
            if quantiser == 0 {
                assert!(psnr_db(&screen, &pixels, BlockMask::ALL) > 46.0);
            }
        }
    }
}

#[test]
fn damaged_payloads_are_refused_or_harmless() {
    let mut random = Random(4);
    let mut encoder = WaveEncoder::new();
    for _ in 0..60 {
        let blocks = BlockMask(1 + random.below(0xffff) as u16);
        let quantiser = random.below(8) as u8;
        let (bytes, _) = frame(&mut encoder, &photo(&mut random), blocks, quantiser);
        for _ in 0..20 {
            let mut bad = bytes.clone();
            for _ in 0..1 + random.below(4) {
                let at = random.below(bad.len() as u32) as usize;
                bad[at] = random.next() as u8;
            }
            bad.truncate(bad.len() - random.below(2) as usize);
            if let Some(screen) = decode(bad) {
                assert!(screen.iter().all(|p| *p <= 0x00ff_ffff));
            }
        }
    }
}

/// The bytes change with the codes; then PROTOCOL.md has to change as well.
#[test]
fn the_example_of_the_protocol() {
    // A grey slope from left to right, and a step down in its last column of blocks.
    let mut pixels = [0; 4096];
    for (i, pixel) in pixels.iter_mut().enumerate() {
        let x = i as u32 % 64;
        *pixel = (100 + x - if x < 48 { 0 } else { 40 }) * 0x01_0101;
    }
    let (bytes, _) = frame(&mut WaveEncoder::new(), &pixels, BlockMask::ALL, 5);
    let screen = decode(bytes.clone()).expect("the encoder writes sound frames");
    assert_eq!((screen[0], screen[40], screen[47], screen[48]), (0x64_6464, 0x8b_8b8b, 0x7e_7e7e, 0x6a_6a6a));
    assert_eq!(bytes, crate::wire::examples()["wave-slope"]);
}
