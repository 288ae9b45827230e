//! How long decoding and drawing take; printed, not judged. `cargo test --test gpu speed -- --ignored --nocapture`

use crate::{Random, gpus};
use bytes::Bytes;
use kachel::codec::canvas::{Canvas, Picture};
use kachel::codec::ctx::encode::CtxEncoder;
use kachel::codec::ctx::tables::COSTS;
use kachel::codec::format::{Frame, FrameHeader, SectionWriter};
use kachel::codec::plan::{Plan, Raw, Unpack, packed};
use kachel::codec::wave::encode::WaveEncoder;
use kachel::geom::{BlockMask, Fit, Rect, Size, TileGrid, TileIndex, fit};
use kachel::io::gpu::Tier;
use kachel::io::gpu::decode::Decoder;
use kachel::io::gpu::mirror::Mirror;
use kachel::io::gpu::present::Painter;
use kachel::io::soft::{Scene, compose};
use std::time::{Duration, Instant};

const SCREEN: Size = Size::new(1920, 1080);
const RUNS: u32 = 20;

fn raw_frame() -> Plan {
    let grid = TileGrid::new(SCREEN);
    let raws = (0..grid.count())
        .map(|i| Raw { origin: packed(grid.origin(TileIndex(i))), blocks: 0xffff_ffff, pixels: i * 12288 + 7, pad: 0 })
        .collect();
    let bytes = Bytes::from(Random(1).bytes(grid.count() as usize * 12288 + 7));
    Plan { raws, bytes, ..Plan::default() }
}

fn pack_frame() -> Plan {
    let grid = TileGrid::new(SCREEN);
    let unpacks = (0..grid.count())
        .map(|i| Unpack {
            origin: packed(grid.origin(TileIndex(i))),
            blocks: 0xffff_ffff,
            palette: i * 2100 + 1,
            indices: i * 2100 + 49,
            bits: 4,
            index_max: 15,
            pad: [0; 2],
        })
        .collect();
    let bytes = Bytes::from(Random(2).bytes(grid.count() as usize * 2100 + 100));
    Plan { unpacks, bytes, ..Plan::default() }
}

/// A photo on the whole screen: nearly, or exactly.
fn photo_frame(exact: bool) -> Plan {
    let grid = TileGrid::new(SCREEN);
    let mut random = Random(3);
    let (mut ctx, mut wave, mut payload) = (CtxEncoder::new(), WaveEncoder::new(), Vec::new());
    let mut sections = SectionWriter::new();
    for tile in (0..grid.count()).map(TileIndex) {
        let (slope, edge) = (random.below(3), random.below(64));
        let pixels = std::array::from_fn(|i| {
            let (x, y) = (i as u32 % 64, i as u32 / 64);
            let light = 60 + x * slope / 2 + y / 2 + (x + y / 2).saturating_sub(edge).min(6) * 6;
            (light + random.below(8)) * 0x0001_0000 + (light + random.below(8)) * 0x0100 + random.below(8) + 30
        });
        payload.clear();
        if exact {
            let measured = ctx.measure(&pixels, None, BlockMask::ALL, None, &COSTS);
            ctx.write(&measured, &COSTS, &mut payload);
            sections.ctx(tile, None, measured.set, &payload);
        } else {
            wave.write(&pixels, BlockMask::ALL, 3, &mut payload);
            sections.wave(tile, None, &payload);
        }
    }
    let mut out = Vec::new();
    FrameHeader { sequence: 2, depends_on: 1, input: 0, key: None, more: false, lossy: !exact }.write(&mut out);
    sections.finish(&mut out);
    println!("a photo, exact {exact}: {} bytes", out.len());
    Plan::new(&Frame::parse(out.into(), SCREEN).expect("our own frame"), grid, |_| BlockMask::ALL)
}

/// The median of some runs, the first ones left out.
fn median(mut run: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed()
        })
        .skip(3)
        .collect();
    times.sort();
    times[times.len() / 2]
}

#[test]
#[ignore = "measures, judges nothing"]
fn decoding_and_drawing_a_full_screen() {
    let key = Plan { key: Some(SCREEN), ..Plan::default() };
    let exact = fit(SCREEN, SCREEN);
    let reduced = fit(Size::new(1600, 900), SCREEN);
    for (name, plan) in [
        ("RAW", raw_frame()),
        ("510 PACK", pack_frame()),
        ("510 WAVE", photo_frame(false)),
        ("510 CTX", photo_frame(true)),
    ] {
        let mut canvas = Canvas::new();
        canvas.apply(&key);
        let time = median(|| canvas.apply(&plan));
        println!("{name}: canvas {time:?}");
        for (shown, fit) in [("1:1", exact), ("reduced", reduced)] {
            println!("{name}: compose {shown} {:?}", median(|| composed(&canvas.screen, fit)));
        }
        for gpu in gpus(Tier::Compute) {
            let mut decoder = Decoder::new(&gpu).expect("the shaders compile");
            decoder.apply(&key).expect("a sound plan is decoded");
            let time = median(|| {
                decoder.apply(&plan).expect("a sound plan is decoded");
                decoder.wait().expect("the device is there");
            });
            let by_timestamps = std::iter::from_fn(|| decoder.poll_decode_time()).last();
            let mut painter = Painter::new(&gpu).expect("the shader compiles");
            let mut draw =
                |fit: Fit| median(|| drop(painter.picture(decoder.screen(), fit).expect("the scene can be drawn")));
            let (exact, reduced) = (draw(exact), draw(reduced));
            println!("{name}: {}: upload and decode {time:?}, of it on the GPU {by_timestamps:?}", gpu.kind);
            println!("{name}: {}: draw and read back 1:1 {exact:?}, reduced {reduced:?}", gpu.kind);
        }
        for gpu in gpus(Tier::Gl) {
            let mut mirror = Mirror::new(&gpu);
            mirror.upload(&canvas.screen, &[]).expect("the picture can be sent");
            for (what, part) in [("whole", SCREEN.rect()), ("one tile", Rect::new(64, 64, 64, 64))] {
                let time = median(|| {
                    mirror.upload(&canvas.screen, &[part]).expect("the picture can be sent");
                });
                println!("{name}: {}: mirror {what} {time:?}", gpu.kind);
            }
        }
    }
}

fn composed(picture: &Picture, fit: Fit) {
    let mut out = vec![0; fit.window.area() as usize];
    compose(&Scene { picture, fit, overlay: None }, fit.window.rect(), &mut out);
    std::hint::black_box(out);
}
