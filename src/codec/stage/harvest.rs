//! Puts pixels of decoded tiles into the dictionary. Twin of `shaders/harvest.wgsl`; PROTOCOL.md, HARVEST.
//!
//! Of all entries of a round for a place the largest stays: whatever order tiles and pixels have, the result is the same.
//! The shader empties all places first and then fills them; here a bit for each place tells whether the round was there.

use crate::codec::canvas::Picture;
use crate::codec::ctx::Rows;
use crate::codec::ctx::dictionary::Dictionary;
use crate::codec::ctx::model::Canvas;
use crate::codec::plan::{Harvest, unpacked};
use crate::geom::BlockMask;

/// Runs all jobs of a round.
pub fn run(jobs: &[Harvest], screen: &Picture, canvas: &mut Canvas, dictionary: &mut Dictionary) {
    if jobs.is_empty() {
        return;
    }
    dictionary.begin_round();
    learn(jobs, screen, canvas, dictionary);
}

/// Runs some jobs of a round that was begun.
pub fn learn(jobs: &[Harvest], screen: &Picture, canvas: &mut Canvas, dictionary: &mut Dictionary) {
    for job in jobs {
        let repeats = u64::from(job.repeats[0]) | u64::from(job.repeats[1]) << 32;
        let rows = Rows::new(BlockMask(job.blocks as u16), repeats);
        let (origin, last) = (unpacked(job.origin), (screen.size.w - 1, screen.size.h - 1));
        canvas.restore(job.back, &rows, |y, x, out| {
            // Beyond the screen's edge the last pixels go on.
            let (row, x) = (screen.row((origin.y + y).min(last.1)), (origin.x + x).min(last.0) as usize);
            let there = out.len().min(row.len() - x);
            out[..there].copy_from_slice(&row[x..x + there]);
            out[there..].fill(row[row.len() - 1]);
        });
        dictionary.learn(canvas.entries(&rows));
    }
}
