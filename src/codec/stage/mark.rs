//! Sums up tiles so that two ends can see whether they hold the same pixels. Twin of `shaders/mark.wgsl`; PROTOCOL.md,
//! "Marks of exactness".
//!
//! Against faults, not against forgers: who can change the pixels on their way can change the marks as well.

use crate::codec::canvas::Picture;
use crate::codec::plan::{Mark, unpacked};
use crate::geom::{Rect, Size, TILE};

/// The picture that the marks of a batch are written to, two words each.
pub const MARKS_SIZE: Size = Size::new(64, 16);

/// Runs all jobs on a screen.
///
/// # Panics
/// If a job's tile leaves the screen or its place the marks.
pub fn run(jobs: &[Mark], screen: &Picture, marks: &mut Picture) {
    for job in jobs {
        let (at, size, place) = (unpacked(job.origin), unpacked(job.size), unpacked(job.place));
        let mark = of_tile(screen, Rect::new(at.x, at.y, size.x, size.y));
        let start = (place.y * marks.size.w + place.x) as usize;
        marks.pixels[start..start + 2].copy_from_slice(&[mark as u32, (mark >> 32) as u32]);
    }
}

/// The mark of the pixels in a rectangle of at most one tile.
///
/// # Panics
/// If it leaves the screen.
pub fn of_tile(screen: &Picture, tile: Rect) -> u64 {
    let (mut low, mut high) = (0u32, 0u32);
    for y in 0..tile.h {
        let row = &screen.row(tile.y + y)[tile.x as usize..][..tile.w as usize];
        for (x, pixel) in (0..).zip(row) {
            let place = y * TILE + x;
            let mut a = (pixel ^ place.wrapping_mul(0x9e37_79b1)).wrapping_mul(0x85eb_ca6b);
            a = (a ^ a >> 15).wrapping_mul(0xc2b2_ae35);
            low = low.wrapping_add(a ^ a >> 13);
            let mut b = pixel.wrapping_add(place.wrapping_mul(0x27d4_eb2f)).wrapping_mul(0x1656_67b1);
            b = (b ^ b >> 16).wrapping_mul(0xd3a2_646d);
            high = high.wrapping_add(b ^ b >> 15);
        }
    }
    u64::from(low) | u64::from(high) << 32
}
