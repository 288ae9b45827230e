//! A look at all pixels of a tile on the canvas, many at a time: what HARVEST puts into the dictionary, and what an encoder
//! knows of each pixel before the walk.

use super::{Above, Canvas, EQUAL, FLAT_ABOVE, Hashes, Known, MARGIN, STRIDE, at};
use crate::codec::ctx::dictionary::{Place, mix};
use crate::codec::ctx::{COLORS_MAX, Head, Rows};
use crate::geom::TILE;
use multiversion::multiversion;

/// A pixel whose surroundings are not flat, and where the dictionary has it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Entry {
    /// List row times 64, plus column.
    pub at: u32,
    /// Mixed hash of twelve neighbours.
    wide: u32,
    /// Mixed hash of seven neighbours.
    far: u32,
    /// What it is.
    pub color: u32,
}

impl Entry {
    /// By twelve neighbours, and by seven.
    #[inline(always)]
    pub fn places(&self) -> [Place; 2] {
        [Place::wide(self.wide), Place::far(self.far)]
    }
}

/// What is known of a pixel whose neighbours and colour are: all but what depends on the order in which pixels are coded.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// See [`Survey::facts`].
    facts: u32,
    /// See `Sight::keys`.
    pub(super) keys: u32,
    /// What the dictionary has; counts where the surroundings are not flat.
    pub(super) recalled: [u32; 2],
}

impl Seen {
    /// Whether the surroundings are not flat.
    #[inline(always)]
    pub(super) fn is_open(self) -> bool {
        self.facts & OPEN != 0
    }

    /// The bits of the pixel context that compare neighbours.
    #[inline(always)]
    pub(super) fn equal(self) -> usize {
        (self.facts & EQUAL) as usize
    }

    /// Its choice among the eight of a pixel.
    #[inline(always)]
    pub(super) fn which(self) -> usize {
        (self.facts >> EQUAL.count_ones() & 7) as usize
    }
}

/// What is known of a tile's pixels before a walk, for encoders: a look at all of them, many at a time.
#[derive(Clone, Debug)]
pub struct Survey {
    /// By list row, for each pixel: the bits of its pixel context that compare neighbours, above them its choice among the eight
    /// of a pixel, and [`OPEN`].
    facts: Box<[u32; TILE_PIXELS]>,
    keys: Box<[u32; TILE_PIXELS]>,
    recalled: Box<[[u32; 2]; TILE_PIXELS]>,
}

const TILE_PIXELS: usize = (TILE * TILE) as usize;
/// The surroundings are not flat.
const OPEN: u32 = 1 << 11;

impl Survey {
    /// Memory for one tile at a time.
    pub fn new() -> Self {
        Self {
            facts: Box::new([0; TILE_PIXELS]),
            keys: Box::new([0; TILE_PIXELS]),
            recalled: Box::new([[0; 2]; TILE_PIXELS]),
        }
    }

    /// Takes what the dictionary has for an entry.
    #[inline(always)]
    pub fn set_recalled(&mut self, entry: &Entry, recalled: [u32; 2]) {
        self.recalled[entry.at as usize % TILE_PIXELS] = recalled;
    }

    /// What is known of a pixel.
    #[inline(always)]
    pub fn of(&self, row: usize, x: usize) -> Seen {
        let i = (row * TILE as usize + x) % TILE_PIXELS;
        Seen { facts: self.facts[i], keys: self.keys[i], recalled: self.recalled[i] }
    }
}

impl Default for Survey {
    fn default() -> Self {
        Self::new()
    }
}

impl Canvas {
    /// Every coded pixel whose surroundings are not flat.
    pub fn entries(&mut self, rows: &Rows) -> &[Entry] {
        self.find(rows, None)
    }

    /// The same, and what an encoder's walk wants to know of each pixel, but for what the dictionary has.
    pub fn survey(&mut self, head: &Head, rows: &Rows, survey: &mut Survey) -> &[Entry] {
        self.find(rows, Some((head.colors, survey)))
    }

    /// What [`Canvas::survey`] returned last.
    pub fn surveyed(&self) -> &[Entry] {
        &self.entries[..self.entries_count]
    }

    fn find(&mut self, rows: &Rows, survey: Option<([u32; COLORS_MAX], &mut Survey)>) -> &[Entry] {
        let mut entries = std::mem::take(&mut self.entries);
        entries.resize(ENTRIES_MAX, Entry::default());
        let count = find_entries(self, rows, entries.as_mut_slice().try_into().expect("as many as that"), survey);
        (self.entries, self.entries_count) = (entries, count);
        &self.entries[..count]
    }
}

/// Entries of a tile at most, and more, so that an index can be masked instead of checked.
const ENTRIES_MAX: usize = 8192;

/// Writes the entries of a canvas to the front; how many they are. With the colours that a tile names, its survey too.
#[multiversion(targets("x86_64+avx+avx2+bmi1+bmi2+lzcnt+popcnt"))]
fn find_entries(
    canvas: &Canvas,
    rows: &Rows,
    entries: &mut [Entry; ENTRIES_MAX],
    mut survey: Option<([u32; COLORS_MAX], &mut Survey)>,
) -> usize {
    const N: usize = TILE as usize;
    let mut count = 0;
    let (mut open, mut wide, mut far) = ([0; N], [0; N], [0; N]);
    for row in 0..rows.count {
        let here = at(row, 0);
        let a: &[u32; N + 3] = canvas.pixels[here - 3..here + N].try_into().expect("a row");
        let above: Above<N> =
            Above::of(canvas.window::<STRIDE>(here - STRIDE - MARGIN), canvas.window(here - 2 * STRIDE - MARGIN));
        let n: &[u32; STRIDE] = canvas.window(here - STRIDE - MARGIN);
        for i in 0..N {
            open[i] = above.equal[i] & FLAT_ABOVE ^ FLAT_ABOVE | a[i + 2] ^ n[i + MARGIN] | a[i + 2] ^ a[i + 1];
            let hashes = Hashes::new(&above, i, [a[i + 2], a[i + 1], a[i]]);
            wide[i] = mix(hashes.wide);
            far[i] = mix(hashes.far);
        }
        if let Some((named, survey)) = &mut survey {
            let facts: &mut [u32; N] = (&mut survey.facts[N * row..N * row + N]).try_into().expect("a row");
            let keys: &mut [u32; N] = (&mut survey.keys[N * row..N * row + N]).try_into().expect("a row");
            for i in 0..N {
                let (ww, w, truth) = (a[i + 1], a[i + 2], a[i + 3]);
                let Known { n, nw, ne, .. } = Known::of([w, ww, 0], n, i);
                let equal = above.equal[i] & EQUAL
                    | u32::from(w == n)
                    | u32::from(w == nw) << 1
                    | u32::from(w == ww) << 4
                    | u32::from(ne == w) << 6;
                let mut which = 7;
                for (k, color) in [w, n, nw, ne, named[0], named[1], named[2]].into_iter().enumerate().rev() {
                    which = if color == truth { k as u32 } else { which };
                }
                let open = if open[i] == 0 { 0 } else { OPEN };
                facts[i] = equal | which << EQUAL.count_ones() | open;
                keys[i] = Hashes::new(&above, i, [w, ww, a[i]]).keys();
            }
        }
        for octet in (0..N / 8).filter(|octet| rows.blocks[row] >> (octet / 2) & 1 == 1) {
            let pixels = 8 * octet..8 * octet + 8;
            if open[pixels.clone()].iter().fold(0, |any, open| any | open) == 0 {
                continue;
            }
            for i in pixels {
                entries[count % ENTRIES_MAX] =
                    Entry { at: (N * row + i) as u32, wide: wide[i], far: far[i], color: a[i + 3] };
                count += usize::from(open[i] != 0);
            }
        }
    }
    count
}
