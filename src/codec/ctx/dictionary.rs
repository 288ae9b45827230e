//! Colours that followed the same neighbours in earlier tiles: what mode CTX remembers from tile to tile.
//!
//! Letters, icons and buttons come again and again, at any place and touching each other, so nothing is cut out of the
//! picture here: a pixel's neighbourhood is the key, its colour the value. HARVEST puts tiles in (`codec::stage::harvest`),
//! tiles with the dictionary bit look pixels up (`super::model`). PROTOCOL.md, "Dictionary".

use super::model::Entry;

/// Entries of each of the two tables: 1 MiB each. With a quarter of it a web page that is scrolled back costs half as
/// much again.
pub const SLOTS: usize = 1 << SLOT_BITS;
const SLOT_BITS: u32 = 18;

/// The two tables.
#[derive(Clone, Debug, Default)]
pub struct Dictionary {
    /// By twelve neighbours, then by seven. An entry is a colour with eight bits of its key's hash above it, of which
    /// the lowest is set; 0 for none. Empty before the first entry.
    words: Vec<u32>,
    /// A bit for each entry that the round in work has written.
    learned: Vec<u64>,
}

/// Where a neighbourhood has its entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Below twice [`SLOTS`].
    index: u32,
    /// What an entry carries above its colour.
    check: u32,
}

/// The words of both tables.
pub type Words = [u32; 2 * SLOTS];

impl Dictionary {
    /// Nothing is known, and no memory is taken.
    pub fn new() -> Self {
        Self::default()
    }

    /// Nothing is known any more.
    pub fn forget(&mut self) {
        self.words.fill(0);
    }

    /// What can be looked up; nothing before the first entry.
    pub fn words(&self) -> Option<&Words> {
        self.words.as_slice().try_into().ok()
    }

    /// What is learned from now on takes the place of what was learned before.
    pub fn begin_round(&mut self) {
        if self.words.is_empty() {
            self.words = vec![0; 2 * SLOTS];
        }
        self.learned.clear();
        self.learned.resize(2 * SLOTS / 64, 0);
    }

    /// Puts colours in; of two for one place in one round the larger word stays, so that the order does not matter.
    ///
    /// # Panics
    /// If no round was begun.
    pub fn learn(&mut self, entries: &[Entry]) {
        let words: &mut Words = self.words.as_mut_slice().try_into().expect("a round was begun");
        let learned: &mut [u64; 2 * SLOTS / 64] = self.learned.as_mut_slice().try_into().expect("a round was begun");
        for entry in entries {
            for Place { index, check } in entry.places() {
                let (index, entry) = (index as usize % (2 * SLOTS), check << 24 | entry.color);
                let (learned, bit) = (&mut learned[index / 64], 1 << (index % 64));
                let word = &mut words[index];
                *word = if *learned & bit == 0 { entry } else { (*word).max(entry) };
                *learned |= bit;
            }
        }
    }
}

/// Mixes a hash of neighbours: of the result the upper bits are a place, the next ones what an entry carries above its colour.
#[inline(always)]
pub fn mix(hash: u32) -> u32 {
    (hash ^ hash >> 15).wrapping_mul(0x2c1b_3c6d)
}

impl Place {
    /// In the first table, by the mixed hash of twelve neighbours.
    #[inline(always)]
    pub fn wide(mixed: u32) -> Self {
        Self { index: mixed >> (32 - SLOT_BITS), check: mixed >> (24 - SLOT_BITS) & 0xff | 1 }
    }

    /// In the second table, by the mixed hash of seven neighbours.
    #[inline(always)]
    pub fn far(mixed: u32) -> Self {
        let Self { index, check } = Self::wide(mixed);
        Self { index: index | SLOTS as u32, check }
    }

    /// The entry there: a colour with other bits above it, or 0.
    #[inline(always)]
    pub fn of(self, words: &Words) -> u32 {
        let word = words[self.index as usize % (2 * SLOTS)];
        if word >> 24 == self.check { word } else { 0 }
    }
}
