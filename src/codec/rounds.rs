//! In which order the tiles of a large change are written: in rounds, each with what the ones before put into the
//! dictionary, so that the letters of a page that nobody has seen yet are paid for once.
//!
//! Every round is spread over the whole screen and as large as all before it, so that a decoder still has many tiles to
//! work on at a time.

use crate::codec::format::HARVESTS_MAX;

/// Most rounds; the first two have one tile in 32 each. Two more save less than 2 % of a page of text.
const ROUNDS_MAX: u32 = 6;
/// Tiles of a round that are worth waiting for: of fewer changed tiles, the first rounds are one.
const TILES_MIN: u32 = 4;

/// How the tiles of one frame are shared out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rounds {
    count: u32,
}

impl Rounds {
    /// For so many changed tiles.
    pub(super) fn of(tiles: usize) -> Self {
        let count = (tiles as u32 / TILES_MIN).checked_ilog2().unwrap_or(0) + 1;
        Self { count: count.min(ROUNDS_MAX) }
    }

    /// How many there are, at least one.
    pub(super) fn count(self) -> u32 {
        self.count
    }

    /// The round of a tile, below the count.
    pub(super) fn of_tile(self, column: u32, row: u32) -> u32 {
        // Odd factors, so that each round has tiles in all rows and columns.
        let place = (5 * column + 11 * row) * 7 % (1 << (ROUNDS_MAX - 1));
        let round = place.checked_ilog2().map_or(0, |log| log + 1);
        round.saturating_sub(ROUNDS_MAX - self.count)
    }
}

const _: () = assert!(ROUNDS_MAX as usize <= HARVESTS_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_is_about_as_large_as_all_before_it() {
        let check = |tiles: usize, expected: &[usize]| {
            let rounds = Rounds::of(tiles);
            let mut sizes = vec![0; rounds.count() as usize];
            (0..32 * 32).for_each(|i| sizes[rounds.of_tile(i % 32, i / 32) as usize] += 1);
            assert_eq!(sizes, expected, "{tiles} tiles");
        };
        check(0, &[1024]);
        check(7, &[1024]);
        check(8, &[512, 512]);
        check(40, &[128, 128, 256, 512]);
        check(5000, &[32, 32, 64, 128, 256, 512]);
    }
}
