//! Turns palette indices into pixels. Twin of `shaders/unpack.wgsl`; PROTOCOL.md, mode PACK.

use crate::codec::canvas::Picture;
use crate::codec::format::BLOCK_PIXELS;
use crate::codec::plan::Unpack;
use crate::codec::stage::{block_rect, masks};
use crate::geom::BLOCK;

/// Runs all jobs on the frame's bytes. An index above the palette counts as its last colour.
///
/// # Panics
/// If a job points outside `bytes`; `Frame::parse` never lets one pass.
pub fn run(jobs: &[Unpack], bytes: &[u8], screen: &mut Picture) {
    let stride = screen.size.w as usize;
    for job in jobs {
        let (coded, write) = masks(job.blocks);
        let mut colors = [0; 16];
        for (i, color) in colors.iter_mut().enumerate() {
            let at = job.palette as usize + 3 * i.min(job.index_max as usize);
            *color = u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], 0]);
        }
        let (bits, row_bytes) = (job.bits as usize, BLOCK as usize * job.bits as usize / 8);
        for block in write.blocks() {
            let start = job.indices as usize + coded.rank(block) as usize * BLOCK_PIXELS * bits / 8;
            let r = block_rect(screen, job.origin, block);
            for row in 0..r.h as usize {
                let packed = &bytes[start + row * row_bytes..][..row_bytes];
                let out = &mut screen.pixels[(r.y as usize + row) * stride + r.x as usize..][..r.w as usize];
                for (i, pixel) in out.iter_mut().enumerate() {
                    let at = i * bits;
                    *pixel = colors[usize::from(packed[at / 8] >> (at % 8)) & ((1 << bits) - 1)];
                }
            }
        }
    }
}
