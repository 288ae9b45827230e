//! Fills blocks of tiles with one colour. Twin of `shaders/fill.wgsl`; PROTOCOL.md, mode SOLID.

use crate::codec::canvas::Picture;
use crate::codec::plan::Fill;
use crate::codec::stage::block_rect;
use crate::geom::BlockMask;

/// Runs all jobs; pixels beyond the screen's edge are left out.
pub fn run(jobs: &[Fill], screen: &mut Picture) {
    let stride = screen.size.w as usize;
    for job in jobs {
        for block in BlockMask(job.blocks as u16).blocks() {
            let r = block_rect(screen, job.origin, block);
            for y in r.y..r.bottom() {
                screen.pixels[y as usize * stride + r.x as usize..][..r.w as usize].fill(job.color & 0x00ff_ffff);
            }
        }
    }
}
