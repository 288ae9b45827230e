//! The codec on captures of real screens: bytes of a cold frame beside other lossless formats, and time on one core.
//!
//! `cargo bench --bench codec -- FOLDER`; the captures are `<application><number>.ppm`. The time is the best of some
//! runs, because others only add to it. Bytes are exact and the same on every machine.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kachel::codec::canvas::{Canvas, Picture};
use kachel::codec::encode::{Encoder, FRAME_BYTES_TARGET, View};
use kachel::codec::format::Frame;
use kachel::codec::plan::Plan;
use kachel::geom::{BlockMask, TileGrid};

#[path = "parts/captures.rs"]
mod captures;
use captures::{png_bytes, read_all, rgb};

const RUNS: usize = 7;

fn main() {
    let Some(folder) = std::env::args().skip(1).find(|a| !a.starts_with("--")).map(PathBuf::from) else {
        println!("a folder of captures is needed: cargo bench --bench codec -- FOLDER");
        return;
    };
    println!(
        "{:12} {:>9} {:>9} {:>9} {:>9} {:>9} {:>6} {:>6}  {:>7} {:>7} {:>7} {:>7}",
        "capture", "Kachel", "PNG", "WebP", "QOI", "zstd-3", "/PNG", "/WebP", "enc ms", "Mpx/s", "dec ms", "Mpx/s"
    );
    let mut logarithms = (0.0, 0.0);
    let captures = read_all(&folder);
    for capture in &captures {
        let picture = &capture.picture;
        let frames = encode(picture);
        let plans = plans(&frames);
        let mut canvas = Canvas::new();
        plans.iter().for_each(|plan| canvas.apply(plan));
        assert!(canvas.screen == *picture, "{} does not come back as it was", capture.name);
        let bytes: usize = frames.iter().map(Vec::len).sum();
        let encoding = best(|| drop(encode(picture)));
        let decoding = best(|| plans.iter().for_each(|plan| canvas.apply(plan)));
        let (png, webp) = (png_bytes(picture), webp_bytes(picture));
        let (size, colors) = (picture.size, rgb(picture));
        let qoi = qoi::encode_to_vec(&colors, size.w, size.h).expect("a picture can be written").len();
        let bgrx: Vec<u8> = picture.pixels.iter().flat_map(|p| p.to_le_bytes()).collect();
        let zstd = zstd::bulk::compress(&bgrx, 3).expect("memory can be written").len();
        let rate = |time: Duration| size.area() as f64 / time.as_secs_f64() / 1e6;
        let ratio = |other: usize| bytes as f64 / other as f64;
        println!(
            "{:12} {bytes:9} {png:9} {webp:9} {qoi:9} {zstd:9} {:6.3} {:6.3}  {:7.1} {:7.0} {:7.1} {:7.0}",
            capture.name,
            ratio(png),
            ratio(webp),
            encoding.as_secs_f64() * 1e3,
            rate(encoding),
            decoding.as_secs_f64() * 1e3,
            rate(decoding)
        );
        logarithms.0 += ratio(png).ln();
        logarithms.1 += ratio(webp).ln();
    }
    let mean = |sum: f64| (sum / captures.len() as f64).exp();
    println!("{:12} {:49} {:6.3} {:6.3}", "geom. mean", "", mean(logarithms.0), mean(logarithms.1));
}

/// All frames of a screen that the viewer has nothing of, until it is exact.
fn encode(picture: &Picture) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new(picture.size);
    let mut frames = Vec::new();
    while encoder.has_work() {
        frames.extend(encoder.encode(&View::of(picture), 0, Duration::ZERO, FRAME_BYTES_TARGET));
    }
    while let Some(at) = encoder.refine_at() {
        frames.extend(encoder.refine(0, at, FRAME_BYTES_TARGET));
    }
    frames
}

fn plans(frames: &[Vec<u8>]) -> Vec<Plan> {
    let mut size = kachel::geom::Size::default();
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
