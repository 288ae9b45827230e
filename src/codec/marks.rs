//! Marks of exactness, the host's side: which tiles a viewer has confirmed, and which it is to be asked about next.
//!
//! A tile that has not changed for a while is marked by the hash of its pixels; the viewer compares with what it shows.
//! One batch is out at a time. Hashes: `codec::stage::mark`.

use crate::codec::canvas::Picture;
use crate::codec::plan::{Mark, packed};
use crate::codec::stage::mark::{MARKS_SIZE, of_tile};
use crate::geom::{Point, Rect, TileGrid, TileIndex};
use std::time::Duration;

/// Most tiles in a batch: 4 kB.
pub const MARKS_MAX: u32 = MARKS_SIZE.w * MARKS_SIZE.h / 2;
/// A tile that has not changed for this long is marked.
const SETTLED_AFTER: Duration = Duration::from_secs(1);
/// Marks that are not answered by then were about a frame that had not come; they are made again.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// The marks of tiles one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TileMarks {
    /// They are about the picture once all frames up to this one are applied.
    pub sequence: u32,
    /// The first tile.
    pub first: u32,
    /// A mark for each tile from the first on; 1 to [`MARKS_MAX`].
    pub marks: Vec<u64>,
}

/// What a viewer found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// [`TileMarks::sequence`] of what it is about.
    pub sequence: u32,
    /// [`TileMarks::first`] of what it is about.
    pub first: u32,
    /// The tiles that differ, ascending; none if all agree.
    pub wrong: Vec<u32>,
}

/// The host's account of one viewer.
#[derive(Debug)]
pub(super) struct Marks {
    grid: TileGrid,
    tiles: Vec<State>,
    asked: Option<Asked>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    touched_at: Duration,
    is_agreed: bool,
    /// It changed after the batch was sent that it is in.
    is_stale: bool,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    sequence: u32,
    first: u32,
    count: u32,
    at: Duration,
}

impl Marks {
    pub(super) fn new(grid: TileGrid) -> Self {
        Self { grid, tiles: vec![State::default(); grid.count() as usize], asked: None }
    }

    /// A frame changes this tile, or may.
    pub(super) fn handle_touched(&mut self, tile: TileIndex, now: Duration) {
        self.tiles[tile.0 as usize] = State { touched_at: now, is_agreed: false, is_stale: true };
    }

    /// When the next batch may go; none if all is confirmed. `is_exact` tells of which tiles the viewer was sent every
    /// pixel.
    pub(super) fn mark_at(&self, is_exact: impl Fn(TileIndex) -> bool) -> Option<Duration> {
        if let Some(asked) = self.asked {
            return Some(asked.at + ANSWER_WITHIN);
        }
        let open = self.tiles.iter().enumerate().filter(|(i, t)| !t.is_agreed && is_exact(TileIndex(*i as u32)));
        open.map(|(_, t)| t.touched_at + SETTLED_AFTER).min()
    }

    /// The next batch, if its time has come: tiles in a row that have settled and are not confirmed.
    pub(super) fn poll_marks(
        &mut self,
        held: &Picture,
        sequence: u32,
        now: Duration,
        is_exact: impl Fn(TileIndex) -> bool,
    ) -> Option<TileMarks> {
        if self.asked.is_some_and(|asked| now < asked.at + ANSWER_WITHIN) {
            return None;
        }
        let is_due = |i: &u32| {
            let t = &self.tiles[*i as usize];
            !t.is_agreed && t.touched_at + SETTLED_AFTER <= now && is_exact(TileIndex(*i))
        };
        let before = self.asked.take();
        let first = (0..self.grid.count()).find(is_due)?;
        // An answer that is late after all must not be taken for one about more tiles.
        let repeated = before.filter(|asked| (asked.sequence, asked.first) == (sequence, first));
        let most = repeated.map_or(MARKS_MAX, |asked| asked.count) as usize;
        let tiles: Vec<u32> = (first..self.grid.count()).take_while(is_due).take(most).collect();
        let marks = tiles.iter().map(|i| of_tile(held, self.grid.rect(TileIndex(*i)))).collect();
        for i in &tiles {
            self.tiles[*i as usize].is_stale = false;
        }
        self.asked = Some(Asked { sequence, first, count: tiles.len() as u32, at: now });
        Some(TileMarks { sequence, first, marks })
    }

    /// The viewer's answer; returns the tiles that it holds wrongly. An answer to what was not asked says nothing.
    pub(super) fn handle_agreement(&mut self, answer: &Agreement) -> Vec<TileIndex> {
        let about = (answer.sequence, answer.first);
        let Some(asked) = self.asked.filter(|asked| (asked.sequence, asked.first) == about) else { return Vec::new() };
        self.asked = None;
        let mut wrong = Vec::new();
        for i in asked.first..asked.first + asked.count {
            let tile = &mut self.tiles[i as usize];
            if tile.is_stale {
                continue;
            }
            tile.is_agreed = !answer.wrong.contains(&i);
            if !tile.is_agreed {
                wrong.push(TileIndex(i));
            }
        }
        wrong
    }
}

/// The jobs that mark tiles `first` and so many after it, in the order in which [`marks_of`] finds the results.
///
/// # Panics
/// If there are no such tiles, or more than [`MARKS_MAX`].
pub fn jobs(grid: TileGrid, first: u32, count: u32) -> Vec<Mark> {
    assert!(first + count <= grid.count() && count <= MARKS_MAX, "the caller has asked the grid");
    let job = |i: u32| {
        let Rect { x, y, w, h } = grid.rect(TileIndex(first + i));
        let place = Point { x: 2 * i % MARKS_SIZE.w, y: 2 * i / MARKS_SIZE.w };
        Mark { origin: packed(Point { x, y }), size: w | h << 16, place: packed(place), pad: 0 }
    };
    (0..count).map(job).collect()
}

/// The first `count` marks in a picture of marks.
pub fn marks_of(picture: &Picture, count: u32) -> Vec<u64> {
    let pairs = picture.pixels.chunks_exact(2).take(count as usize);
    pairs.map(|pair| u64::from(pair[0]) | u64::from(pair[1]) << 32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geom::Size;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn what_has_settled_is_marked_once_and_again_after_a_change() {
        let size = Size::new(200, 100);
        let (held, mut m) = (Picture::new(size), Marks::new(TileGrid::new(size)));
        (0..8).for_each(|i| m.handle_touched(TileIndex(i), 5 * S));
        m.handle_touched(TileIndex(5), 6 * S);
        assert_eq!(m.mark_at(|_| true), Some(6 * S));
        assert_eq!(m.poll_marks(&held, 9, 5 * S, |_| true), None);
        let batch = m.poll_marks(&held, 9, 6 * S, |_| true).unwrap();
        assert_eq!((batch.sequence, batch.first, batch.marks.len()), (9, 0, 5));
        assert_eq!((m.mark_at(|_| true), m.poll_marks(&held, 9, 9 * S, |_| true)), (Some(16 * S), None));
        // Tile 2 changes before the answer comes: the answer says nothing about it.
        m.handle_touched(TileIndex(2), 7 * S);
        let answer = |sequence, first, wrong: &[u32]| Agreement { sequence, first, wrong: wrong.to_vec() };
        assert_eq!(m.handle_agreement(&answer(8, 0, &[1])), []);
        assert_eq!(m.handle_agreement(&answer(9, 0, &[1, 2])), [TileIndex(1)]);
        assert_eq!(m.handle_agreement(&answer(9, 0, &[3])), []);
        m.handle_touched(TileIndex(1), 7 * S);
        let batch = m.poll_marks(&held, 10, 8 * S, |_| true).unwrap();
        assert_eq!((batch.first, batch.marks.len()), (1, 2));
        m.handle_agreement(&answer(10, 1, &[]));
        let batch = m.poll_marks(&held, 10, 8 * S, |tile| tile.0 != 6).unwrap();
        assert_eq!((batch.first, batch.marks.len()), (5, 1));
        m.handle_agreement(&answer(10, 5, &[]));
        let batch = m.poll_marks(&held, 10, 8 * S, |_| true).unwrap();
        assert_eq!((batch.first, batch.marks.len()), (6, 2));
        m.handle_agreement(&answer(10, 6, &[]));
        assert_eq!(m.mark_at(|_| true), None);
        // An answer that never comes is not waited for.
        m.handle_touched(TileIndex(3), 8 * S);
        let batch = m.poll_marks(&held, 11, 9 * S, |_| true).unwrap();
        assert_eq!((batch.first, m.poll_marks(&held, 11, 18 * S, |_| true)), (3, None));
        assert_eq!(m.poll_marks(&held, 11, 19 * S, |_| true), Some(batch));
    }
}
