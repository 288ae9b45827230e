//! The codec on screens of real programs: bytes of a cold frame beside other lossless formats, bytes of every small event
//! (a character, a scroll step, a menu), and time on one core. `./dev bench codec [--only writer,calc] [FOLDER]`.
//!
//! The screens are recorded at the first run, into `target/bench/sequences`; a folder of further captures
//! `<application><number>.ppm` may be named. Bytes are exact and the same on every machine for the same recording; a
//! time is the best of some runs, because others only add to it. Every frame is decoded and compared.

#[path = "parts/mod.rs"]
mod parts;
#[path = "../tests/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kachel::codec::canvas::{Canvas, Picture};
use kachel::codec::ctx::encode::{CtxEncoder, Pixels};
use kachel::codec::ctx::tables::COSTS;
use kachel::codec::encode::{Encoder, FRAME_BYTES_TARGET, View};
use kachel::codec::format::Frame;
use kachel::codec::plan::Plan;
use kachel::geom::{BlockMask, Rect, Size, TILE, TileGrid, TileIndex};
use kachel::proto::screen::assembler::Assembler;
use parts::adapter::Adapter;
use parts::assets::Assets;
use parts::captures::{Capture, png_bytes, read_all, rgb};
use parts::sequences::{self, Sequence};
use parts::{options::Options, report};
use serde_json::json;

const RUNS: usize = 3;

/// The screens that are measured cold: program, place in its recording; the last says whether it counts for the mean.
const COLD: [(&str, usize, bool); 7] = [
    ("writer", 25, true),
    ("calc", 0, true),
    ("article", 0, true),
    ("terminal", 16, true),
    ("photos", 0, true),
    ("pdf", 0, false),
    ("files", 0, false),
];

/// Screens of text, for which there are goals of time.
const TEXT: [&str; 4] = ["writer", "calc", "article", "pdf"];

/// What an event is to cost at most: program, event, bytes in the middle, milliseconds of one core where they have a goal.
const GOALS: [(&str, &str, usize, Option<f64>); 15] = [
    ("writer", "append", 200, Some(0.5)),
    ("writer", "caret", 40, Some(0.5)),
    ("writer", "reflow", 1200, None),
    ("writer", "scroll", 6000, Some(3.0)),
    ("writer", "page-down", 20_000, None),
    ("writer", "menu", 12_000, None),
    ("writer", "menu-again", 1000, None),
    ("writer", "window-back", 4000, Some(6.0)),
    ("calc", "append", 200, Some(0.5)),
    ("calc", "scroll", 6000, Some(3.0)),
    ("article", "scroll", 6000, Some(3.0)),
    ("article", "page-down", 75_000, None),
    ("terminal", "append", 200, Some(0.5)),
    ("terminal", "scroll", 6000, Some(3.0)),
    ("pdf", "scroll", 6000, Some(3.0)),
];

fn main() {
    let options = Options::from_arguments();
    let say = |step: &str| println!("preparing: {step}");
    let assets = Assets::make(&report::folder().join("assets"), say);
    let mut recorded = sequences::record(&report::folder().join("sequences"), &assets, say);
    recorded.retain(|sequence| options.wants(sequence.name, true));
    let mut captures = Vec::new();
    for (program, place, counts) in COLD {
        if let Some(sequence) = recorded.iter().find(|s| s.name == program) {
            let picture = sequence.shots[place.min(sequence.shots.len() - 1)].1.clone();
            captures.push((Capture { name: program.to_owned(), picture }, counts));
        }
    }
    for folder in &options.folders {
        captures.extend(read_all(&PathBuf::from(folder)).into_iter().map(|capture| (capture, false)));
    }
    let mut claims = Vec::new();
    let cold = print_cold(&captures, &mut claims);
    let events = print_events(&recorded, &mut claims);
    let claims = report::verdicts(&claims);
    report::save("codec", &json!({ "cold": cold, "events": events, "claims": claims }));
}

/// Bytes and times of whole screens that the viewer has nothing of.
fn print_cold(captures: &[(Capture, bool)], claims: &mut Vec<(String, bool)>) -> Vec<serde_json::Value> {
    let head = [
        "screen",
        "Kachel",
        "CTX alone",
        "PNG",
        "WebP m4",
        "QOI",
        "zstd -3",
        "JXL e1",
        "/PNG",
        "/WebP",
        "encode",
        "decode",
        "on the GPU",
        "/floor",
    ];
    let mut adapter = Adapter::open();
    let (mut rows, mut values) = (Vec::new(), Vec::new());
    // Sums of logarithms of Kachel's and CTX's share of PNG, and how many there are.
    let mut mean = (0.0, 0.0, 0.0);
    for (capture, counts) in captures {
        let picture = &capture.picture;
        println!("measuring: {}", capture.name);
        let frames = encode(picture);
        let plans = plans(&frames);
        let mut canvas = Canvas::new();
        plans.iter().for_each(|plan| canvas.apply(plan));
        assert!(canvas.screen == *picture, "{} does not come back as it was", capture.name);
        let bytes: usize = frames.iter().map(Vec::len).sum();
        let alone = ctx_bytes(picture);
        let encoding = best(|| drop(encode(picture))).as_secs_f64() * 1e3;
        let decoding = best(|| plans.iter().for_each(|plan| canvas.apply(plan))).as_secs_f64() * 1e3;
        let on_gpu = adapter.as_mut().map(|adapter| {
            adapter.decode(&plans);
            assert!(adapter.picture() == *picture, "{} does not come back from the GPU as it was", capture.name);
            let decoding = best(|| adapter.decode(&plans)).as_secs_f64() * 1e3;
            let floor = adapter.floor(picture.size, |run| best(run)).as_secs_f64() * 1e3;
            (decoding, floor)
        });
        let (png, webp) = (png_bytes(picture), webp_bytes(picture));
        let (size, colors) = (picture.size, rgb(picture));
        let qoi = qoi::encode_to_vec(&colors, size.w, size.h).expect("a picture can be written").len();
        let bgrx: Vec<u8> = picture.pixels.iter().flat_map(|p| p.to_le_bytes()).collect();
        let zstd = zstd::bulk::compress(&bgrx, 3).expect("memory can be written").len();
        let jxl = jxl_bytes(&colors, size);
        let ratio = |other: usize| bytes as f64 / other as f64;
        if *counts {
            mean.0 += ratio(png).ln();
            mean.1 += (alone as f64 / png as f64).ln();
            mean.2 += 1.0;
        }
        let mut row = vec![capture.name.clone()];
        row.extend([bytes, alone, png, webp, qoi, zstd].map(|n| n.to_string()));
        row.push(jxl.map_or("–".to_owned(), |n| n.to_string()));
        row.extend([format!("{:.3}", ratio(png)), format!("{:.3}", ratio(webp))]);
        let megapixels = picture.size.area() as f64 / 1e6;
        row.extend([encoding, decoding].map(|time| format!("{:.1}", time / megapixels)));
        row.push(on_gpu.map_or("–".to_owned(), |(time, _)| format!("{:.1}", time / megapixels)));
        row.push(on_gpu.map_or("–".to_owned(), |(time, floor)| format!("{:.0}", time / floor)));
        rows.push(row);
        if TEXT.contains(&capture.name.as_str()) {
            claims.push((format!("{}: encoded in 20 ms ({encoding:.1})", capture.name), encoding <= 20.0));
            let speed = megapixels / decoding * 1e3;
            claims.push((format!("{}: 150 megapixels a second decoded ({speed:.0})", capture.name), speed >= 150.0));
        }
        values.push(json!({
            "screen": capture.name, "bytes": bytes, "ctx_alone": alone, "png": png, "webp": webp, "qoi": qoi,
            "zstd": zstd, "jxl": jxl, "encode_ms": encoding, "decode_ms": decoding,
            "gpu_ms": on_gpu.map(|(time, _)| time), "gpu_floor_ms": on_gpu.map(|(_, floor)| floor),
            "gpu": adapter.as_ref().map(|adapter| &adapter.name),
        }));
    }
    println!(
        "\nCold screens, bytes; times in ms a megapixel, CPU times on one core. \"CTX alone\" is what entropy coding costs \
         without the dictionary, as measured. The GPU: {}; \"floor\" is every pixel written once there.\n",
        adapter.as_ref().map_or("none", |adapter| &adapter.name)
    );
    print!("{}", report::table(&head, &rows));
    if mean.2 > 0.0 {
        let [all, alone] = [mean.0, mean.1].map(|sum: f64| (sum / mean.2).exp());
        println!("\nGeometric mean of PNG over the first {}: {all:.3}, CTX alone {alone:.3}", mean.2);
        claims.push((format!("mean of cold screens: 0.60 of PNG without the dictionary ({alone:.3})"), alone <= 0.6));
        claims.push((format!("mean of cold screens: 0.45 of PNG ({all:.3})"), all <= 0.45));
    }
    values
}

/// Bytes of every event of the recordings, one after the other in a session of its own for each program.
fn print_events(recorded: &[Sequence], claims: &mut Vec<(String, bool)>) -> Vec<serde_json::Value> {
    let (mut rows, mut values) = (Vec::new(), Vec::new());
    for sequence in recorded {
        let mut encoder = Encoder::new(sequence.shots[0].1.size);
        let (mut assembler, mut canvas) = (Assembler::new(), Canvas::new());
        let mut events: BTreeMap<&str, Vec<(usize, f64)>> = BTreeMap::new();
        for (second, (event, picture)) in sequence.shots.iter().enumerate() {
            let damage = damage(&canvas.screen, picture);
            let now = Duration::from_secs(second as u64);
            let start = Instant::now();
            damage.iter().for_each(|part| encoder.handle_damage(*part));
            let frames = rest(&mut encoder, picture, now);
            let time = start.elapsed().as_secs_f64() * 1e3;
            let bytes = frames.iter().map(Vec::len).sum();
            for frame in frames {
                assembler.handle_frame(frame.into()).expect("our own frame");
                while let Some(update) = assembler.poll_update().expect("our own frame") {
                    canvas.apply(&update.plan);
                }
            }
            assert!(canvas.screen == *picture, "{} {event}: pixels differ", sequence.name);
            events.entry(event).or_default().push((bytes, time));
        }
        for (event, mut all) in events {
            all.sort_by_key(|(bytes, _)| *bytes);
            let (middle, last) = (all[all.len() / 2].0, all[all.len() - 1].0);
            let time = all.iter().map(|(_, time)| *time).fold(f64::INFINITY, f64::min);
            let mut row = vec![format!("{} · {event}", sequence.name)];
            row.extend([all.len(), all[0].0, middle, last].map(|n| n.to_string()));
            row.push(format!("{time:.2} ms"));
            let goal = GOALS.iter().find(|(program, what, ..)| (*program, *what) == (sequence.name, event));
            row.push(goal.map_or(String::new(), |(.., bytes, _)| bytes.to_string()));
            row.push(goal.and_then(|(.., time)| *time).map_or(String::new(), |time| format!("{time} ms")));
            if let Some((.., bytes_max, time_max)) = goal {
                let name = format!("{} · {event}", sequence.name);
                claims.push((format!("{name}: {bytes_max} bytes ({middle} in the middle)"), middle <= *bytes_max));
                if let Some(time_max) = *time_max {
                    claims.push((format!("{name}: encoded in {time_max} ms ({time:.2})"), time <= time_max));
                }
            }
            rows.push(row);
            values.push(json!({
                "program": sequence.name, "event": event, "bytes": all.iter().map(|(b, _)| *b).collect::<Vec<_>>(),
            }));
        }
    }
    println!(
        "\nEvents, bytes of all frames of each (headers of QUIC not counted), exact after each; least time to encode.\n"
    );
    let head = ["event", "times", "least", "median", "most", "encode", "goal", "goal"];
    print!("{}", report::table(&head, &rows));
    values
}

/// What changed, as an X server would report it: a rectangle for each tile that is no longer the same.
fn damage(before: &Picture, after: &Picture) -> Vec<Rect> {
    if before.size != after.size {
        return vec![after.size.rect()];
    }
    let grid = TileGrid::new(after.size);
    let changed = |tile: TileIndex| {
        let rect = grid.rect(tile);
        let row = |picture: &Picture, y: u32| picture.row(y)[rect.x as usize..rect.right() as usize].to_vec();
        let mut changed = Rect::default();
        for y in rect.y..rect.bottom() {
            for (x, _) in (rect.x..).zip(row(before, y).iter().zip(row(after, y))).filter(|(_, (a, b))| **a != *b) {
                changed = changed.union(Rect::new(x, y, 1, 1));
            }
        }
        (!changed.is_empty()).then_some(changed)
    };
    (0..grid.count()).map(TileIndex).filter_map(changed).collect()
}

/// All frames of a screen that the viewer has nothing of.
fn encode(picture: &Picture) -> Vec<Vec<u8>> {
    rest(&mut Encoder::new(picture.size), picture, Duration::ZERO)
}

/// Frames until the viewer has this picture exactly.
fn rest(encoder: &mut Encoder, picture: &Picture, now: Duration) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while encoder.has_work() {
        frames.extend(encoder.encode(&View::of(picture), 0, now, FRAME_BYTES_TARGET));
    }
    // What came with loss is made exact once it has stood still.
    while let Some(at) = encoder.refine_at() {
        frames.extend(encoder.refine(0, at.max(now), FRAME_BYTES_TARGET));
    }
    frames
}

/// What the tiles of a screen would cost by entropy coding alone.
fn ctx_bytes(picture: &Picture) -> usize {
    let grid = TileGrid::new(picture.size);
    let mut encoder = CtxEncoder::new();
    let mut pixels: Box<Pixels> = Box::new([0; 4096]);
    let tiles = (0..grid.count()).map(TileIndex);
    let tile = |tile| {
        let origin = grid.origin(tile);
        for (i, pixel) in pixels.iter_mut().enumerate() {
            let (x, y) = (origin.x + i as u32 % TILE, origin.y + i as u32 / TILE);
            *pixel = picture.row(y.min(picture.size.h - 1))[x.min(picture.size.w - 1) as usize];
        }
        if pixels.iter().all(|p| *p == pixels[0]) {
            return 0;
        }
        2 + encoder.measure(&pixels, None, BlockMask::ALL, None, &COSTS).bytes
    };
    tiles.map(tile).sum()
}

fn plans(frames: &[Vec<u8>]) -> Vec<Plan> {
    let mut size = Size::default();
    let mut plan = |bytes: &Vec<u8>| {
        let frame = Frame::parse(Bytes::from(bytes.clone()), size).expect("the encoder writes sound frames");
        size = frame.header.key.unwrap_or(size);
        Plan::new(&frame, TileGrid::new(size), |_| BlockMask::ALL)
    };
    frames.iter().map(&mut plan).collect()
}

fn best(mut run: impl FnMut()) -> Duration {
    let mut timed = || {
        let start = Instant::now();
        run();
        start.elapsed()
    };
    (0..RUNS).map(|_| timed()).min().unwrap_or_default()
}

/// WebP lossless, method 4.
fn webp_bytes(picture: &Picture) -> usize {
    let colors = rgb(picture);
    let mut config = webp::WebPConfig::new().expect("the library has its own version");
    (config.lossless, config.method, config.quality) = (1, 4, 75.0);
    let encoder = webp::Encoder::from_rgb(&colors, picture.size.w, picture.size.h);
    encoder.encode_advanced(&config).expect("a picture can be written").len()
}

/// JPEG XL without loss, effort 1, by the reference encoder; none where it is not installed.
fn jxl_bytes(colors: &[u8], size: Size) -> Option<usize> {
    let folder = report::folder();
    let (from, to) = (folder.join("screen.ppm"), folder.join("screen.jxl"));
    let ppm = [format!("P6 {} {} 255\n", size.w, size.h).as_bytes(), colors].concat();
    std::fs::write(&from, ppm).expect("the folder of the results is ours");
    let done = Command::new("cjxl").arg(&from).arg(&to).args(["-d", "0", "-e", "1"]).output().ok()?;
    let length = std::fs::metadata(&to).ok().map(|m| m.len() as usize);
    for path in [from, to] {
        std::fs::remove_file(path).ok();
    }
    length.filter(|_| done.status.success())
}
