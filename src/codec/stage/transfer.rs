//! Moves rectangles between two pictures: screen, scratch and cache. Twin of `shaders/transfer.wgsl`; PROTOCOL.md,
//! STORE, COPY and mode CACHE.

use crate::codec::canvas::Picture;
use crate::codec::plan::{Transfer, unpacked};

/// Runs all jobs. `source` and `destination` are different pictures, so their order does not matter.
///
/// # Panics
/// If a job leaves one of the pictures; `Frame::parse` never lets one pass.
pub fn run(jobs: &[Transfer], source: &Picture, destination: &mut Picture) {
    let (from_stride, to_stride) = (source.size.w as usize, destination.size.w as usize);
    for job in jobs {
        let (from, to, size) = (unpacked(job.source), unpacked(job.destination), unpacked(job.size));
        for row in 0..size.y as usize {
            let from = (from.y as usize + row) * from_stride + from.x as usize;
            let to = (to.y as usize + row) * to_stride + to.x as usize;
            destination.pixels[to..][..size.x as usize].copy_from_slice(&source.pixels[from..][..size.x as usize]);
        }
    }
}

/// The first half of a COPY: to the same place in the scratch picture.
pub fn to_scratch(job: &Transfer) -> Transfer {
    Transfer { destination: job.source, ..*job }
}
