//! Decodes entropy-coded tiles. Twin of `shaders/ctx.wgsl`; PROTOCOL.md, mode CTX.
//!
//! What comes out of a damaged payload is undefined but harmless, and the same on both twins: a lane reads zeroes past
//! its end.

use crate::codec::canvas::Picture;
use crate::codec::ctx::dictionary::Dictionary;
use crate::codec::ctx::encode::{Pixels, STATE_MIN};
use crate::codec::ctx::model::{Canvas, Coder, Seen};
use crate::codec::ctx::tables::{BITS, ONE, SETS, SHIPPED, Set};
use crate::codec::ctx::{BEYOND_BOTTOM, BEYOND_RIGHT, Head, LANES_MAX, Rows, band, runs};
use crate::codec::plan::{Ctx, unpacked};
use crate::codec::stage::masks;
use crate::geom::{BLOCK, TILE};

/// Runs all jobs on the frame's bytes.
///
/// # Panics
/// If a job points outside `bytes`; `Frame::parse` never lets one pass.
pub fn run(jobs: &[Ctx], bytes: &[u8], dictionary: &Dictionary, canvas: &mut Canvas, screen: &mut Picture) {
    let mut former: Box<Pixels> = Box::new([0; (TILE * TILE) as usize]);
    let stride = screen.size.w as usize;
    for job in jobs {
        let (coded, write) = masks(job.blocks);
        let head = Head {
            lanes: 1 << (job.shape & 3),
            grey: job.shape >> 2 & 1 == 1,
            recall: job.shape >> 3 & 1 == 1,
            dictionary: job.shape >> 4 & 1 == 1,
            former: job.shape >> 5 & 1 == 1,
            colors: job.colors,
            repeats: u64::from(job.repeats[0]) | u64::from(job.repeats[1]) << 32,
        };
        let rows = Rows::new(coded, head.repeats);
        if head.former {
            restore_former(screen, job, &rows, &mut former);
        }
        let mut lanes = Lanes::new(
            job,
            head.lanes,
            bytes,
            &SHIPPED[head.kind() * SETS + (job.shape >> 8) as usize % SETS],
            &former,
        );
        canvas.walk(&head, &rows, dictionary, &mut lanes);
        let origin = unpacked(job.origin);
        for y in 0..TILE.min(screen.size.h - origin.y) {
            let row = canvas.row(usize::from(rows.of[y as usize]));
            let out = &mut screen.pixels[(origin.y + y) as usize * stride..][..stride][origin.x as usize..];
            for run in runs(band(write, y / BLOCK)) {
                let run = run.start.min(out.len())..run.end.min(out.len());
                out[run.clone()].copy_from_slice(&row[run]);
            }
        }
    }
}

/// What the list rows of a tile were.
fn restore_former(screen: &Picture, job: &Ctx, rows: &Rows, former: &mut Pixels) {
    let (origin, size) = (unpacked(job.origin), screen.size);
    let visible = (size.w - origin.x).min(TILE) as usize;
    for (row, out) in former.chunks_exact_mut(TILE as usize).enumerate().take(rows.count) {
        let y = origin.y + u32::from(rows.y[row]);
        match y < size.h {
            true => out[..visible].copy_from_slice(&screen.row(y)[origin.x as usize..][..visible]),
            false => out[..visible].fill(BEYOND_BOTTOM),
        }
        out[visible..].fill(BEYOND_RIGHT);
    }
}

/// The lanes' states and what they have left to read.
struct Lanes<'a> {
    set: &'a Set,
    states: [u32; LANES_MAX],
    rest: [&'a [u8]; LANES_MAX],
    /// By list row.
    former: &'a Pixels,
}

impl<'a> Lanes<'a> {
    fn new(job: &Ctx, count: usize, bytes: &'a [u8], set: &'a Set, former: &'a Pixels) -> Self {
        let mut lanes = Self { set, former, states: [0; LANES_MAX], rest: [&[]; LANES_MAX] };
        let mut start = job.streams as usize;
        for lane in 0..count {
            let length = 2 * (job.lengths[lane / 2] >> (16 * (lane % 2)) & 0xffff) as usize;
            lanes.rest[lane] = &bytes[start..start + length];
            lanes.states[lane] = lanes.word(lane) << 16;
            lanes.states[lane] |= lanes.word(lane);
            start += length;
        }
        lanes
    }

    #[inline(always)]
    fn word(&mut self, lane: usize) -> u32 {
        match self.rest[lane].split_first_chunk() {
            Some((word, rest)) => {
                self.rest[lane] = rest;
                u32::from(u16::from_le_bytes(*word))
            }
            None => 0,
        }
    }

    /// Takes one choice off the state.
    #[inline(always)]
    fn take(&mut self, lane: usize, start: u32, end: u32) {
        let state = self.states[lane];
        let state = (end - start) * (state >> BITS) + (state & (ONE - 1)) - start;
        self.refill(lane, state);
    }

    #[inline(always)]
    fn refill(&mut self, lane: usize, state: u32) {
        self.states[lane] = if state < STATE_MIN { state << 16 | self.word(lane) } else { state };
    }
}

impl Coder for Lanes<'_> {
    const KNOWS: bool = false;

    fn seen(&self, _: usize, _: usize) -> Seen {
        unreachable!("a decoder knows nothing before")
    }

    #[inline(always)]
    fn former(&self, row: usize, x: usize) -> u32 {
        self.former[row % 64 * 64 + x % 64]
    }

    #[inline(always)]
    fn flag(&mut self, lane: usize, context: usize, _: bool) -> bool {
        let split = u32::from(self.set.flags[context]);
        let is_one = self.states[lane] & (ONE - 1) >= split;
        let (start, end) = if is_one { (split, ONE) } else { (0, split) };
        self.take(lane, start, end);
        is_one
    }

    #[inline(always)]
    fn pixel(&mut self, lane: usize, context: usize, _: usize) -> usize {
        let starts = &self.set.pixels[context];
        let slot = (self.states[lane] & (ONE - 1)) as i16;
        // The first start is 0, and eight at once are faster than seven.
        let which = starts.iter().map(|s| u16::from(slot >= *s)).sum::<u16>() as usize - 1;
        let end = if which == 7 { ONE } else { starts[(which + 1) % 8] as u32 };
        self.take(lane, starts[which % 8] as u32, end);
        which
    }

    #[inline(always)]
    fn token(&mut self, lane: usize, context: usize, _: usize) -> usize {
        let starts = &self.set.literals[context];
        let slot = (self.states[lane] & (ONE - 1)) as i16;
        let which = starts.iter().map(|s| u16::from(slot >= *s)).sum::<u16>() as usize - 1;
        let end = if which == 31 { ONE } else { starts[(which + 1) % 32] as u32 };
        self.take(lane, starts[which % 32] as u32, end);
        which
    }

    #[inline(always)]
    fn raw(&mut self, lane: usize, bits: u32, _: u32) -> u32 {
        let state = self.states[lane];
        self.refill(lane, state >> bits);
        state & ((1 << bits) - 1)
    }
}
