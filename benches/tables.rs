//! Makes the probability tables of mode CTX from captures, and says what they are worth on programs they never saw.
//!
//! `cargo bench --bench tables -- FOLDER [--write FILE]`; the captures are `<application><number>.ppm`. How the shipped
//! tables were made, and from what: assets/tables/README.md.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use kachel::codec::ctx::encode::{CtxEncoder, Pixels};
use kachel::codec::ctx::tables::{COSTS, Costs, ENTRIES, SETS, from_counts, parse};
use kachel::geom::{BlockMask, TILE, TileGrid, TileIndex};

#[path = "parts/captures.rs"]
mod captures;
use captures::{Capture, png_bytes, read_all};

/// Rounds of sorting tiles into sets and counting again.
const ROUNDS: usize = 8;

/// Applications that share their look: none of them may help to judge another.
const FAMILIES: [(&str, &str); 4] = [("calc", "writer"), ("fftext", "ff"), ("ffpage", "ff"), ("ffphoto", "ff")];

/// The choices of a tile, and its bytes that are no choices.
struct Sample {
    choices: Vec<u16>,
    other_bytes: f64,
    literals: f64,
}

fn main() {
    let mut folder = None;
    let mut file = None;
    let mut arguments = std::env::args().skip(1).filter(|a| a != "--bench");
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--write" => file = arguments.next().map(PathBuf::from),
            _ => folder = Some(PathBuf::from(argument)),
        }
    }
    let Some(folder) = folder else {
        println!("a folder of captures is needed: cargo bench --bench tables -- FOLDER [--write FILE]");
        return;
    };
    let captures = read_all(&folder);
    let samples: Vec<Vec<Sample>> = captures.iter().map(trace).collect();
    judge(&captures, &samples);
    if let Some(file) = file {
        write(&file, &samples);
    }
}

/// All tiles of a capture that are not of one colour.
fn trace(capture: &Capture) -> Vec<Sample> {
    let mut encoder = CtxEncoder::new();
    let grid = TileGrid::new(capture.picture.size);
    let tiles = (0..grid.count()).map(TileIndex);
    tiles
        .filter_map(|tile| {
            let pixels = tile_pixels(capture, grid, tile);
            if pixels.iter().all(|p| *p == pixels[0]) {
                return None;
            }
            let measured = encoder.measure(&pixels, BlockMask::ALL, &COSTS);
            let mut choices = Vec::new();
            encoder.choices(|entry| choices.push(entry as u16));
            let literals = choices.iter().filter(|c| usize::from(**c) >= ENTRIES - 32 * 100).count();
            // The record's head, and what the measured bytes hold besides choices.
            let other_bytes = 3.0 + measured.bytes as f64 - f64::from(encoder.least_cost()) / 256.0;
            Some(Sample { literals: literals as f64 / choices.len() as f64, choices, other_bytes })
        })
        .collect()
}

/// A tile's pixels; beyond the screen's edge the last ones again.
fn tile_pixels(capture: &Capture, grid: TileGrid, tile: TileIndex) -> Box<Pixels> {
    let (origin, size) = (grid.origin(tile), capture.picture.size);
    let mut pixels = Box::new([0; 4096]);
    for (i, pixel) in pixels.iter_mut().enumerate() {
        let (x, y) = (origin.x + i as u32 % TILE, origin.y + i as u32 / TILE);
        *pixel = capture.picture.row(y.min(size.h - 1))[x.min(size.w - 1) as usize];
    }
    pixels
}

/// What a capture is named after, without its number; applications that share their look count as one.
fn family(name: &str) -> &str {
    let application = name.trim_end_matches(|c: char| c.is_ascii_digit());
    FAMILIES.iter().find(|(a, _)| *a == application).map_or(application, |(_, family)| family)
}

/// Prints what each capture costs with tables made from all other applications.
fn judge(captures: &[Capture], samples: &[Vec<Sample>]) {
    let families: BTreeSet<&str> = captures.iter().map(|c| family(&c.name)).collect();
    println!("{:12} {:>9} {:>9} {:>6}   tables from all other applications", "capture", "bytes", "PNG", "ratio");
    let mut logarithms = 0.0;
    for left_out in families {
        let is_out = |capture: &Capture| family(&capture.name) == left_out;
        let others = captures.iter().zip(samples).filter(|(c, _)| !is_out(c)).flat_map(|(_, s)| s).collect::<Vec<_>>();
        let costs = Costs::new(&parse(&train(&others)));
        for (capture, samples) in captures.iter().zip(samples).filter(|(c, _)| is_out(c)) {
            let bytes: f64 = samples.iter().map(|s| s.other_bytes + best(s, &costs).1 / 256.0).sum();
            let png = png_bytes(&capture.picture) as f64;
            logarithms += (bytes / png).ln();
            println!("{:12} {bytes:9.0} {png:9.0} {:6.3}", capture.name, bytes / png);
        }
    }
    println!("{:12} {:>26.3}", "geom. mean", (logarithms / captures.len() as f64).exp());
}

fn write(file: &Path, samples: &[Vec<Sample>]) {
    let all: Vec<&Sample> = samples.iter().flatten().collect();
    std::fs::write(file, train(&all)).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    println!("{} holds the tables of {} tiles", file.display(), all.len());
}

/// Sorts tiles into sets so that each is cheapest in its own, and returns the file with the sets.
fn train(samples: &[&Sample]) -> Vec<u8> {
    let mut order: Vec<usize> = (0..samples.len()).collect();
    order.sort_by(|a, b| samples[*a].literals.total_cmp(&samples[*b].literals));
    let mut sets = vec![0; samples.len()];
    for (place, sample) in order.iter().enumerate() {
        sets[*sample] = place * SETS / samples.len();
    }
    let mut file = Vec::new();
    for round in 0..ROUNDS {
        let mut counts = vec![vec![0.0; ENTRIES]; SETS];
        for (sample, set) in samples.iter().zip(&sets) {
            sample.choices.iter().for_each(|choice| counts[*set][usize::from(*choice)] += 1.0);
        }
        file = from_counts(&counts);
        if round + 1 < ROUNDS {
            let costs = Costs::new(&parse(&file));
            for (sample, set) in samples.iter().zip(&mut sets) {
                *set = best(sample, &costs).0;
            }
        }
    }
    file
}

/// The set in which a tile's choices cost least, and that cost in 1/32 bit.
fn best(sample: &Sample, costs: &Costs) -> (usize, f64) {
    let mut sums = [0u32; SETS];
    for choice in &sample.choices {
        sums.iter_mut().zip(&costs.bits[usize::from(*choice)]).for_each(|(sum, bits)| *sum += u32::from(*bits));
    }
    let best = (0..SETS).min_by_key(|set| sums[*set]).unwrap_or_default();
    (best, f64::from(sums[best]))
}
