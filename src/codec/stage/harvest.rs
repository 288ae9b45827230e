//! Puts pixels of decoded tiles into the dictionary. Twin of `shaders/harvest.wgsl`; PROTOCOL.md, HARVEST.
//!
//! First all places are emptied, then of all entries for a place the largest stays: whatever order tiles and pixels
//! have, the result is the same.

use crate::codec::canvas::Picture;
use crate::codec::ctx::Rows;
use crate::codec::ctx::dictionary::Dictionary;
use crate::codec::ctx::model::Canvas;
use crate::codec::plan::{FORGET, Harvest, LEARN, unpacked};
use crate::geom::BlockMask;

/// Runs all jobs of a round, both phases.
pub fn run(jobs: &[Harvest], screen: &Picture, dictionary: &mut Dictionary) {
    if jobs.is_empty() {
        return;
    }
    let mut canvas = Canvas::new();
    for phase in [FORGET, LEARN] {
        for job in jobs {
            let repeats = u64::from(job.repeats[0]) | u64::from(job.repeats[1]) << 32;
            let rows = Rows::new(BlockMask(job.blocks as u16), repeats);
            let (origin, last) = (unpacked(job.origin), (screen.size.w - 1, screen.size.h - 1));
            canvas.restore(job.back, &rows, |y, x| {
                // Beyond the screen's edge the last pixels go on.
                screen.row((origin.y + y).min(last.1))[(origin.x + x).min(last.0) as usize]
            });
            canvas.entries(&rows, |places, color| {
                for place in places {
                    match phase {
                        FORGET => dictionary.forget(place),
                        _ => dictionary.learn(place, color),
                    }
                }
            });
        }
    }
}
