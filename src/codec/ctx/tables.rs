//! The static probabilities of CTX: eight sets for tiles without the dictionary, eight for those with it and eight for
//! those that are mostly what they were, each the same shape, in 12 bits; made by `benches/tables.rs`.
//!
//! The file `assets/tables/ctx.bin` is what the shader gets too: for each set the start of symbol 1 of every two-way
//! context, then the starts of all eight symbols of every pixel context, then those of all 32 tokens of every literal
//! context, 16 bits each, low byte first.

use std::sync::LazyLock;

/// Table sets of a kind; a record names one.
pub const SETS: usize = 8;
/// Kinds of tiles that have sets of their own: without the dictionary, with it, and with it and what was there before.
pub const KINDS: usize = 3;
/// Bits of a probability.
pub const BITS: u32 = 12;
/// All probabilities of a context together.
pub const ONE: u32 = 1 << BITS;

/// Two-way contexts: flat runs.
pub const FLAT: usize = 0;
/// Two-way contexts: colours that followed the same neighbours before, for eight kinds of candidates.
pub const HIT: usize = 4;
/// Two-way contexts: colours that had the same brightness before.
pub const TINT: usize = HIT + 8 * 32;
/// Two-way contexts: eight pixels that are what they were.
pub const SAME: usize = TINT + 8;
/// How many two-way contexts there are.
pub const FLAGS: usize = SAME + 16;
/// How many pixel contexts there are, of eight symbols.
pub const PIXELS: usize = 1024;
/// Literal contexts: brightness.
pub const LUMA: usize = 0;
/// Literal contexts: first colour difference.
pub const ORANGE: usize = LUMA + 40;
/// Literal contexts: second colour difference.
pub const GREEN: usize = ORANGE + 30;
/// How many literal contexts there are, of 32 tokens.
pub const LITERALS: usize = GREEN + 30;

/// Bytes of a set in the file.
pub const SET_BYTES: usize = 2 * (FLAGS + 8 * PIXELS + 32 * LITERALS);

/// All symbols of all contexts in a row: `2 * flag`, then pixels, then literals.
pub const ENTRIES: usize = 2 * FLAGS + 8 * PIXELS + 32 * LITERALS;
/// First entry of the pixel contexts.
pub const PIXEL_ENTRIES: usize = 2 * FLAGS;
/// First entry of the literal contexts.
pub const LITERAL_ENTRIES: usize = PIXEL_ENTRIES + 8 * PIXELS;

/// The shipped file.
pub static FILE: &[u8] = include_bytes!("../../../assets/tables/ctx.bin");

/// One set, as a decoder wants it: starts only.
#[derive(Clone, Debug)]
pub struct Set {
    /// Start of symbol 1.
    pub flags: [u16; FLAGS],
    /// Starts of the symbols; the end of the last is [`ONE`].
    pub pixels: Vec<[i16; 8]>,
    /// Starts of the tokens; the end of the last is [`ONE`].
    pub literals: Vec<[i16; 32]>,
}

/// The shipped sets, kind after kind.
pub static SHIPPED: LazyLock<Vec<Set>> = LazyLock::new(|| parse(FILE));

/// Reads sets from a file's bytes. Starts that do not ascend from 0 with at least one each are set right, so that no
/// file can break a coder.
///
/// # Panics
/// If it has not exactly [`SETS`] sets of each of the [`KINDS`].
pub fn parse(file: &[u8]) -> Vec<Set> {
    assert_eq!(file.len(), KINDS * SETS * SET_BYTES, "a file of tables has one length");
    file.chunks_exact(SET_BYTES)
        .map(|set| {
            let mut words = set.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]]));
            let mut next = || words.next().unwrap_or_default();
            Set {
                flags: std::array::from_fn(|_| next().clamp(1, ONE as u16 - 1)),
                pixels: (0..PIXELS).map(|_| ascending(std::array::from_fn(|_| next()))).collect(),
                literals: (0..LITERALS).map(|_| ascending(std::array::from_fn(|_| next()))).collect(),
            }
        })
        .collect()
}

fn ascending<const N: usize>(starts: [u16; N]) -> [i16; N] {
    let mut low = 0;
    std::array::from_fn(|i| {
        let high = ONE as u16 - (N - i) as u16;
        let start = if i == 0 { 0 } else { starts[i].clamp(low, high) };
        low = start + 1;
        start as i16
    })
}

/// Writes sets as a file; `counts` has for each set how often each entry occurred.
///
/// Every symbol gets at least 1 of [`ONE`]. A pixel context that was never seen takes what is known of the same
/// neighbours without recall.
pub fn from_counts(counts: &[Vec<f64>]) -> Vec<u8> {
    let mut file = Vec::with_capacity(counts.len() * SET_BYTES);
    let mut put = |value: u32| file.extend_from_slice(&(value as u16).to_le_bytes());
    for set in counts {
        for flag in 0..FLAGS {
            put(starts(&set[2 * flag..2 * flag + 2], &[1.0, 1.0])[1]);
        }
        for context in 0..PIXELS {
            let at = |context: usize| &set[PIXEL_ENTRIES + 8 * context..][..8];
            let mut prior = [0.1; 8];
            for relation in 0..4 {
                prior.iter_mut().zip(at(context % 256 + 256 * relation)).for_each(|(p, n)| *p += n);
            }
            starts(at(context), &prior).into_iter().for_each(&mut put);
        }
        for context in 0..LITERALS {
            let seen = &set[LITERAL_ENTRIES + 32 * context..][..32];
            // The last token does not exist.
            let mut prior = [1.0; 32];
            prior[31] = 1e-9;
            starts(seen, &prior).into_iter().for_each(&mut put);
        }
    }
    file
}

/// Starts in [`ONE`] parts for counts, with two observations of the prior added.
fn starts(counts: &[f64], prior: &[f64]) -> Vec<u32> {
    let n = counts.len();
    let (all, priors): (f64, f64) = (counts.iter().sum(), prior.iter().sum());
    let share = |i: usize| (counts[i] + 2.0 * prior[i] / priors) / (all + 2.0);
    // What is left after one part for each symbol is shared out, rounded down; the most frequent takes the rest.
    let mut parts: Vec<u32> = (0..n).map(|i| 1 + (share(i) * f64::from(ONE - n as u32)) as u32).collect();
    let largest = (0..n).max_by(|a, b| share(*a).total_cmp(&share(*b))).unwrap_or(0);
    parts[largest] += ONE - parts.iter().sum::<u32>();
    let mut end = 0;
    let mut start = |part: &u32| {
        end += part;
        end - part
    };
    parts.iter().map(&mut start).collect()
}

/// The sets as an encoder wants them.
#[derive(Debug)]
pub struct Costs {
    /// For each set and entry its share of a coder's state.
    pub parts: Vec<Vec<Part>>,
    /// For each entry its cost in each set, in units of 1/32 bit; after the last one of no cost.
    pub bits: Vec<[u16; SETS]>,
}

/// A symbol's share of a coder's state.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// Where it starts, below [`ONE`].
    pub start: u32,
    /// How large it is, 1 to 4095.
    pub frequency: u32,
    /// `2^44 / frequency`, rounded up: the upper bits of a product with it are an exact quotient for any 32-bit number.
    pub reciprocal: u64,
}

impl Part {
    fn new(start: i32, end: i32) -> Self {
        let frequency = (end - start) as u32;
        Self { start: start as u32, frequency, reciprocal: (1u64 << 44).div_ceil(u64::from(frequency)) }
    }
}

/// The shipped sets, for encoders, a kind each.
pub static COSTS: LazyLock<[Costs; KINDS]> = LazyLock::new(|| costs(&SHIPPED));

/// What an encoder wants of parsed sets.
pub fn costs(sets: &[Set]) -> [Costs; KINDS] {
    std::array::from_fn(|kind| Costs::new(&sets[kind * SETS..][..SETS]))
}

impl Costs {
    /// Works out frequencies and costs.
    pub fn new(sets: &[Set]) -> Self {
        let part = Part::new;
        let parts: Vec<Vec<Part>> = sets
            .iter()
            .map(|set| {
                let mut parts = Vec::with_capacity(ENTRIES);
                for flag in set.flags {
                    parts.extend([part(0, i32::from(flag)), part(i32::from(flag), ONE as i32)]);
                }
                let mut all = |starts: &[i16]| {
                    let ends = starts[1..].iter().map(|s| i32::from(*s)).chain([ONE as i32]);
                    parts.extend(starts.iter().zip(ends).map(|(s, e)| part(i32::from(*s), e)));
                };
                set.pixels.iter().for_each(|s| all(s));
                set.literals.iter().for_each(|s| all(s));
                parts
            })
            .collect();
        let cost = |part: Part| (32.0 * (f64::from(ONE) / f64::from(part.frequency)).log2()).round() as u16;
        let of =
            |set: usize, e: usize| parts.get(set).and_then(|parts: &Vec<Part>| parts.get(e)).map_or(0, |p| cost(*p));
        let bits = (0..=ENTRIES).map(|e| std::array::from_fn(|set| of(set, e))).collect();
        Self { parts, bits }
    }
}
