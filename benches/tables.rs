//! Makes the probability tables of mode CTX, and says what they are worth on programs they never saw.
//!
//! `cargo bench --bench tables -- [--write FILE] [--only KIND] [FOLDER]`: the sets of tiles with the dictionary, and of
//! those that are mostly what they were, from the recordings that `./dev bench codec` makes, those without it from a
//! folder of captures `<application><number>.ppm` if one is named. What is not measured stays as it is, and so does, with
//! `--only`, every other KIND of 0 to 2. How the shipped tables were made: assets/tables/README.md.

#[path = "parts/mod.rs"]
mod parts;
#[path = "../tests/support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::path::PathBuf;

use kachel::codec::canvas::Picture;
use kachel::codec::ctx::Head;
use kachel::codec::ctx::dictionary::Dictionary;
use kachel::codec::ctx::encode::{CtxEncoder, OCTETS_FEW, OCTETS_MAX, Pixels, changed_octets};
use kachel::codec::ctx::model::Canvas as Walk;
use kachel::codec::ctx::tables::{COSTS, Costs, ENTRIES, FILE, KINDS, LITERAL_ENTRIES, SETS, from_counts, parse};
use kachel::codec::plan::{Harvest, packed};
use kachel::codec::stage::harvest;
use kachel::geom::{BlockMask, TILE, TileGrid, TileIndex};
use parts::assets::Assets;
use parts::captures::read_all;
use parts::{report, sequences};

/// Rounds of sorting tiles into sets and counting again.
const ROUNDS: usize = 6;

/// Programs that share their look: none of them may help to judge another.
const FAMILIES: [(&str, &str); 5] =
    [("calc", "writer"), ("article", "ff"), ("photos", "ff"), ("fftext", "ff"), ("ffphoto", "ff")];

/// Tiles are taught after these shares of a screen, in 32nds, much as the encoder does it.
const WAVE_ENDS: [u32; 6] = [1, 2, 4, 8, 16, 32];

/// The choices of a tile, and its bytes that are no choices.
struct Sample {
    program: String,
    choices: Vec<u16>,
    other_bytes: f64,
    literals: f64,
}

fn main() {
    let (mut folder, mut file, mut only) = (None, None, None);
    let mut arguments = std::env::args().skip(1).filter(|a| a != "--bench");
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--write" => file = arguments.next().map(PathBuf::from),
            "--only" => only = arguments.next().and_then(|kind| kind.parse::<usize>().ok()),
            _ => folder = Some(PathBuf::from(argument)),
        }
    }
    let mut samples: [Vec<Sample>; KINDS] = Default::default();
    if let Some(folder) = folder {
        for capture in read_all(&folder) {
            let program = capture.name.trim_end_matches(|c: char| c.is_ascii_digit());
            Trace::new(program, false).screen(None, &capture.picture, &mut samples);
        }
    }
    let say = |step: &str| println!("preparing: {step}");
    let assets = Assets::make(&report::folder().join("assets"), say);
    for sequence in sequences::record(&report::folder().join("sequences"), &assets, say) {
        let mut trace = Trace::new(sequence.name, true);
        let mut before = None;
        for (event, picture) in &sequence.shots {
            // What only moved is copied, not coded.
            if event != "scroll" {
                trace.screen(before, picture, &mut samples);
            }
            before = Some(picture);
        }
    }
    let mut tables: Vec<Vec<u8>> = FILE.chunks(FILE.len() / KINDS).map(<[u8]>::to_vec).collect();
    for (kind, samples) in samples.iter().enumerate() {
        if samples.is_empty() || only.is_some_and(|only| only != kind) {
            continue;
        }
        println!("{}", ["without the dictionary", "with the dictionary", "with it and what was there before"][kind]);
        judge(samples);
        tables[kind] = train(&samples.iter().collect::<Vec<_>>());
    }
    if let Some(file) = file {
        std::fs::write(&file, tables.concat()).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        println!("{} holds the tables", file.display());
    }
}

/// Measures a program's screens one after the other.
struct Trace {
    program: String,
    encoder: CtxEncoder,
    dictionary: Option<Dictionary>,
}

impl Trace {
    fn new(program: &str, with_dictionary: bool) -> Self {
        let dictionary = with_dictionary.then(Dictionary::new);
        Self { program: program.to_owned(), encoder: CtxEncoder::new(), dictionary }
    }

    /// All tiles that differ from the screen before and are not of one colour, each with and without what was there.
    fn screen(&mut self, before: Option<&Picture>, picture: &Picture, samples: &mut [Vec<Sample>; KINDS]) {
        let grid = TileGrid::new(picture.size);
        let mut start = 0;
        for end in WAVE_ENDS {
            let mut jobs = Vec::new();
            for tile in (0..grid.count()).filter(|t| (start..end).contains(&(t * 7 % 32))).map(TileIndex) {
                let pixels = tile_pixels(picture, grid, tile);
                let former = before.map(|b| tile_pixels(b, grid, tile));
                let blocks = former.as_ref().map_or(BlockMask::ALL, |former| changed(&pixels, former));
                if blocks.is_empty() || pixels.iter().all(|p| *p == pixels[0]) {
                    continue;
                }
                let (head, sample) = self.measure(&pixels, None, blocks);
                let octets = former.as_ref().map_or(u32::MAX, |former| changed_octets(&pixels, former, blocks));
                // Where little has changed the encoder does not ask what the tile costs without what was there.
                if head.dictionary == self.dictionary.is_some() && octets > OCTETS_FEW * blocks.count() {
                    samples[head.kind()].push(sample);
                }
                if head.dictionary && octets <= OCTETS_MAX * blocks.count() {
                    let (head, sample) = self.measure(&pixels, former.as_deref(), blocks);
                    samples[head.kind()].push(sample);
                }
                if head.dictionary {
                    jobs.push(Harvest::new(packed(grid.origin(tile)), blocks, &head));
                }
            }
            if let Some(dictionary) = &mut self.dictionary {
                harvest::run(&jobs, picture, &mut Walk::new(), dictionary);
            }
            start = end;
        }
    }

    fn measure(&mut self, pixels: &Pixels, former: Option<&Pixels>, blocks: BlockMask) -> (Head, Sample) {
        let measured = self.encoder.measure(pixels, former, blocks, self.dictionary.as_ref(), &COSTS);
        let mut choices = Vec::new();
        self.encoder.choices(|entry| choices.push(entry as u16));
        let literals = choices.iter().filter(|c| usize::from(**c) >= LITERAL_ENTRIES).count();
        // The record's head, and what the measured bytes hold besides choices.
        let other_bytes = 3.0 + measured.bytes as f64 - f64::from(self.encoder.least_cost()) / 256.0;
        let literals = literals as f64 / choices.len() as f64;
        (measured.head, Sample { program: self.program.clone(), literals, choices, other_bytes })
    }
}

/// A tile's pixels; beyond the screen's edge the last ones again.
fn tile_pixels(picture: &Picture, grid: TileGrid, tile: TileIndex) -> Box<Pixels> {
    let (origin, size) = (grid.origin(tile), picture.size);
    let mut pixels = Box::new([0; 4096]);
    for (i, pixel) in pixels.iter_mut().enumerate() {
        let (x, y) = (origin.x + i as u32 % TILE, origin.y + i as u32 / TILE);
        *pixel = picture.row(y.min(size.h - 1))[x.min(size.w - 1) as usize];
    }
    pixels
}

fn changed(new: &Pixels, old: &Pixels) -> BlockMask {
    let differs = (0..4096).filter(|i| new[*i] != old[*i]);
    BlockMask(differs.fold(0, |mask, i| mask | 1 << (i / 1024 * 4 + i % 64 / 16)))
}

/// Programs that share their look count as one.
fn family(program: &str) -> &str {
    FAMILIES.iter().find(|(p, _)| *p == program).map_or(program, |(_, family)| family)
}

/// Prints what each program costs with tables made from all others.
fn judge(samples: &[Sample]) {
    let programs: BTreeSet<&str> = samples.iter().map(|s| s.program.as_str()).collect();
    println!("{:12} {:>9}   bytes with tables from all other programs, and with those from all", "program", "bytes");
    let all = Costs::new(&parse_half(&train(&samples.iter().collect::<Vec<_>>())));
    for program in programs {
        let others: Vec<&Sample> = samples.iter().filter(|s| family(&s.program) != family(program)).collect();
        let costs = if others.is_empty() { None } else { Some(Costs::new(&parse_half(&train(&others)))) };
        let own = samples.iter().filter(|s| s.program == program);
        let bytes = |costs: &Costs| own.clone().map(|s| s.other_bytes + best(s, costs).1 / 256.0).sum::<f64>();
        println!("{program:12} {:9.0} {:9.0}", costs.map_or(f64::NAN, |c| bytes(&c)), bytes(&all));
    }
}

/// The sets of one kind.
fn parse_half(half: &[u8]) -> Vec<kachel::codec::ctx::tables::Set> {
    parse(&half.repeat(KINDS)).drain(..SETS).collect()
}

/// Sorts tiles into sets so that each is cheapest in its own, and returns half a file with the sets.
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
            let costs = Costs::new(&parse_half(&file));
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
