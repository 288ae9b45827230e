//! Writes pixels that came as three bytes each. Twin of `shaders/raw.wgsl`; PROTOCOL.md, mode RAW.

use crate::codec::canvas::Picture;
use crate::codec::format::BLOCK_PIXELS;
use crate::codec::plan::Raw;
use crate::codec::stage::{block_rect, masks};
use crate::geom::BLOCK;

/// Runs all jobs on the frame's bytes.
///
/// # Panics
/// If a job points outside `bytes`; `Frame::parse` never lets one pass.
pub fn run(jobs: &[Raw], bytes: &[u8], screen: &mut Picture) {
    let stride = screen.size.w as usize;
    for job in jobs {
        let (coded, write) = masks(job.blocks);
        for block in write.blocks() {
            let start = job.pixels as usize + coded.rank(block) as usize * BLOCK_PIXELS * 3;
            let r = block_rect(screen, job.origin, block);
            for row in 0..r.h as usize {
                let source = &bytes[start + row * BLOCK as usize * 3..][..BLOCK as usize * 3];
                let out = &mut screen.pixels[(r.y as usize + row) * stride + r.x as usize..][..r.w as usize];
                for (pixel, b) in out.iter_mut().zip(source.chunks_exact(3)) {
                    *pixel = u32::from_le_bytes([b[0], b[1], b[2], 0]);
                }
            }
        }
    }
}
