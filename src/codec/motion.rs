//! Finds what moved: scrolled panes, dragged windows, both at once, as exact copies of the previous picture.
//!
//! Short pieces of rows (anchors) that look unmistakable are taken from the changed parts of the old picture and looked
//! for at every place of the changed rows of the new one by a hash of the same length. Anchors that agree on a displacement make
//! it a candidate; the candidate is grown to the largest exact rectangles. Nothing is copied that is not equal, pixel by
//! pixel, so a wrong guess costs time and never a wrong picture.

use crate::codec::canvas::Picture;
use crate::codec::encode::View;
use crate::codec::format::{COPIES_MAX, CopyRect};
use crate::geom::{BLOCK, Rect};
use multiversion::multiversion;
use std::collections::HashMap;

/// Pixels of an anchor: about four letters, or the edge of a window with its title.
const ANCHOR: usize = 1 << 5;
/// Anchors looked for at a time.
const ANCHORS_MAX: usize = 96;
/// So many that some of them would lie in the first rows that are looked at, if they were there.
const ANCHORS_MANY: usize = 48;
/// Colour changes along an anchor; fewer are found in many places.
const ANCHOR_EDGES_MIN: usize = 5;
/// Anchors that must agree before a displacement is tried.
const VOTES_MIN: u32 = 3;
/// Displacements tried in one frame: two panes and a window.
const CANDIDATES_MAX: usize = 3;
/// Places at which one anchor may be found; more say nothing. Equal lines of text are found in as many places as there are
/// lines.
const HITS_MAX: usize = 64;
/// Displacements with the most votes that are compared by how much of the change they explain.
const RIVALS_MAX: usize = 8;
/// Changed blocks by which rivals are compared.
const SAMPLES_MAX: usize = 192;
/// Of them so many must have more than one colour for what they say to count, and
const TELLING_MIN: usize = 16;
/// so many eighths of these must be found for a displacement to be taken without a search: what scrolls into sight is not.
const EIGHTHS_EXPLAINED: usize = 6;
/// Changed pixels that a copy must save: a copy costs some ten bytes.
const GAIN_MIN: u64 = 256;
/// Up to this height of a change every row of it is looked at.
const ROWS_ALL_MAX: u32 = 320;
/// Above it, every so many rows.
const ROWS_STEP: u32 = 3;
/// Bits of the filter in front of the anchor table.
const FILTER_BITS: u32 = 16;
const MULTIPLIER: u32 = 0x9e37_79b1;

/// Which 16×16 blocks of the screen differ.
#[derive(Clone, Debug, Default)]
pub struct Changed {
    /// Blocks in a row.
    pub columns: u32,
    /// Row by row, whether the block differs.
    pub blocks: Vec<bool>,
}

/// Finds copies from `old` that make parts of `new` where `changed` says that they differ.
///
/// Destinations do not overlap, sources may. Both pictures have the same size. What moves mostly goes on as it did: `before`
/// are displacements that are tried first, and of these one that explains nearly all spares the search.
pub fn find(old: &Picture, new: &View, changed: &Changed, before: &[(i32, i32)]) -> Vec<CopyRect> {
    let mut copies: Vec<CopyRect> = Vec::new();
    let mut left = changed.clone();
    let mut tried = vec![(0, 0)];
    for _ in 0..CANDIDATES_MAX {
        let again = before.iter().copied().filter(|delta| !tried.contains(delta));
        let again = again.into_iter().find(|delta| explains(old, new, &left, *delta));
        let Some(delta) = again.or_else(|| displacement(old, new, &left, &tried)) else { break };
        tried.push(delta);
        let before = copies.len();
        grow(old, new, &left, delta, &mut copies);
        for copy in &copies[before..] {
            left.clear(copy.destination());
        }
    }
    copies
}

/// Applies the copies of a frame to a picture: all of them read what was there before any of them wrote. `kept` is memory
/// for what one reads and an earlier one overwrites; its content does not matter.
///
/// # Panics
/// If a copy leaves the picture.
pub fn apply(copies: &[CopyRect], picture: &mut Picture, kept: &mut Vec<u32>) {
    let stride = picture.size.w as usize;
    let start = |x: u32, y: u32| y as usize * stride + x as usize;
    kept.clear();
    let places: Vec<Option<usize>> = copies
        .iter()
        .enumerate()
        .map(|(i, copy)| {
            let s = copy.source;
            let is_overwritten = copies[..i].iter().any(|before| before.destination().intersects(s));
            is_overwritten.then(|| {
                let place = kept.len();
                (s.y..s.bottom()).for_each(|y| kept.extend(&picture.pixels[start(s.x, y)..][..s.w as usize]));
                place
            })
        })
        .collect();
    for (copy, place) in copies.iter().zip(places) {
        let (s, width) = (copy.source, copy.source.w as usize);
        for row in 0..s.h {
            if let Some(place) = place {
                let from = &kept[place + row as usize * width..][..width];
                picture.pixels[start(copy.x, copy.y + row)..][..width].copy_from_slice(from);
                continue;
            }
            // Downwards from the last row, so that it does not overwrite what it is about to read.
            let row = if copy.y > s.y { s.h - 1 - row } else { row };
            let from = start(s.x, s.y + row);
            picture.pixels.copy_within(from..from + width, start(copy.x, copy.y + row));
        }
    }
}

impl Changed {
    /// No block of a screen of this size differs.
    pub fn new(size: crate::geom::Size) -> Self {
        let columns = size.w.div_ceil(BLOCK);
        Self { columns, blocks: vec![false; (columns * size.h.div_ceil(BLOCK)) as usize] }
    }

    /// How many blocks differ.
    pub fn count(&self) -> usize {
        self.blocks.iter().filter(|b| **b).count()
    }

    /// The smallest rectangle of pixels around the blocks that differ.
    pub fn bounds(&self) -> Rect {
        let mut bounds = Rect::default();
        for (x, y) in self.positions() {
            bounds = bounds.union(Rect::new(x * BLOCK, y * BLOCK, BLOCK, BLOCK));
        }
        bounds
    }

    /// Pixels of `rect` that lie in blocks that differ.
    fn area_in(&self, rect: Rect) -> u64 {
        let (x0, x1) = (rect.x / BLOCK, rect.right().div_ceil(BLOCK));
        let (y0, y1) = (rect.y / BLOCK, rect.bottom().div_ceil(BLOCK));
        let mut area = 0;
        for y in y0..y1 {
            for x in x0..x1.min(self.columns) {
                if self.blocks[(y * self.columns + x) as usize] {
                    area += Rect::new(x * BLOCK, y * BLOCK, BLOCK, BLOCK).intersection(rect).area();
                }
            }
        }
        area
    }

    /// Takes out the blocks that lie in `rect` whole.
    fn clear(&mut self, rect: Rect) {
        for y in rect.y.div_ceil(BLOCK)..rect.bottom() / BLOCK {
            for x in rect.x.div_ceil(BLOCK)..rect.right() / BLOCK {
                self.blocks[(y * self.columns + x) as usize] = false;
            }
        }
    }

    fn positions(&self) -> impl Iterator<Item = (u32, u32)> {
        let columns = self.columns;
        self.blocks.iter().enumerate().filter(|(_, b)| **b).map(move |(i, _)| (i as u32 % columns, i as u32 / columns))
    }
}

/// The displacement that most anchors agree on, `(dx, dy)` from old to new; none of `tried`.
fn displacement(old: &Picture, new: &View, changed: &Changed, tried: &[(i32, i32)]) -> Option<(i32, i32)> {
    let bounds = changed.bounds().intersection(old.size.rect());
    // In a large change many anchors vote, and a third of the rows will do.
    let step = if bounds.h > ROWS_ALL_MAX { ROWS_STEP } else { 1 };
    let anchors = anchors(old, changed, step);
    if anchors.len() < VOTES_MIN as usize {
        return None;
    }
    let mut filter = [0u64; 1 << (FILTER_BITS - 6)];
    // Equal lines of text have equal anchors: each votes for every place where they are found.
    let mut table: HashMap<u32, Found> = HashMap::with_capacity(anchors.len());
    for a in &anchors {
        let slot = filter_slot(a.hash);
        filter[slot / 64] |= 1 << (slot % 64);
        table.entry(a.hash).or_default().anchors.push((a.x, a.y));
    }
    let may_be_anchor = |hash: u32| {
        let slot = filter_slot(hash);
        filter[slot / 64 % filter.len()] >> (slot % 64) & 1 == 1
    };
    let is_anchor = |hash: u32| may_be_anchor(hash) && table.contains_key(&hash);
    // Whole new pictures, and what is left when most has been found, are mostly new.
    let is_doubtful =
        changed.count() * 4 > changed.blocks.len() * 3 || tried.len() > 1 && anchors.len() >= ANCHORS_MANY;
    if is_doubtful && !any_piece(new, bounds, is_anchor) {
        return None;
    }
    let mut pieces = Pieces::default();
    for y in (bounds.y..bounds.bottom()).step_by(step as usize) {
        let row_blocks = &changed.blocks[(y / BLOCK * changed.columns) as usize..][..changed.columns as usize];
        for (x0, x1) in stretches(row_blocks) {
            let row = &new.row(y)[x0..x1.min(old.size.w as usize)];
            for (x, hash) in pieces.of(row).iter().enumerate() {
                if may_be_anchor(*hash)
                    && let Some(found) = table.get_mut(hash)
                    && found.places.len() <= HITS_MAX
                {
                    found.places.push(((x0 + x) as u32, y));
                }
            }
        }
    }
    let mut votes: HashMap<(i32, i32), u32> = HashMap::new();
    for found in table.values().filter(|found| found.places.len() <= HITS_MAX) {
        for (from, to) in found.anchors.iter().flat_map(|from| found.places.iter().map(move |to| (from, to))) {
            let delta = (to.0 as i32 - from.0 as i32, to.1 as i32 - from.1 as i32);
            if !tried.contains(&delta) {
                *votes.entry(delta).or_default() += 1;
            }
        }
    }
    // Ties go to the shorter way, so that the result does not depend on the table's order.
    let shorter = |(dx, dy): (i32, i32)| std::cmp::Reverse((dx.abs() + dy.abs(), dx, dy));
    let mut rivals: Vec<_> = votes.into_iter().filter(|(_, n)| *n >= VOTES_MIN).collect();
    rivals.sort_unstable_by_key(|(delta, n)| std::cmp::Reverse((*n, shorter(*delta))));
    rivals.truncate(RIVALS_MAX);
    // In a window full of equal lines many displacements have votes, and one of them is right everywhere.
    rivals
        .into_iter()
        .map(|(delta, _)| delta)
        .max_by_key(|delta| (explained(old, new, changed, *delta), shorter(*delta)))
}

/// Columns of pixels with changed blocks in them and an anchor's length on either side, from left to right, none of them twice.
fn stretches(blocks: &[bool]) -> impl Iterator<Item = (usize, usize)> {
    const SIDE: usize = BLOCK as usize;
    let mut from = 0;
    std::iter::from_fn(move || {
        let first = from + blocks[from..].iter().position(|b| *b)?;
        let mut end = first + 1;
        // What lies nearer than both of their margins belongs together.
        while let Some(next) = blocks[end..].iter().take(2 * ANCHOR / SIDE).position(|b| *b) {
            end += next + 1;
        }
        from = end;
        Some(((first * SIDE).saturating_sub(ANCHOR), end * SIDE + ANCHOR))
    })
}

/// Whether a piece of one in eight rows has such a hash: a first look, so that a whole new picture costs no search. The
/// rows are no fixed step apart, as lines of text are.
fn any_piece(new: &View, bounds: Rect, is_wanted: impl Fn(u32) -> bool) -> bool {
    let mut pieces = Pieces::default();
    (0..bounds.h / 8).any(|group| {
        let y = bounds.y + 8 * group + (group.wrapping_mul(MULTIPLIER) >> 29);
        pieces.of(&new.row(y)[bounds.x as usize..bounds.right() as usize]).iter().any(|hash| is_wanted(*hash))
    })
}

/// For how many of some changed blocks a row of the new picture is found at a displacement in the old one.
fn explained(old: &Picture, new: &View, changed: &Changed, delta: (i32, i32)) -> usize {
    samples(old, new, changed, delta)
        .filter(|(piece, there)| there.is_some_and(|there| same_pixels(piece, there)))
        .count()
}

/// Whether nearly all of some changed blocks, without those of one colour, are found at a displacement in the old picture.
fn explains(old: &Picture, new: &View, changed: &Changed, delta: (i32, i32)) -> bool {
    let (mut telling, mut found) = (0, 0);
    for (piece, there) in samples(old, new, changed, delta) {
        if piece.iter().any(|p| *p != piece[0]) {
            telling += 1;
            found += usize::from(there.is_some_and(|there| same_pixels(piece, there)));
        }
    }
    telling >= TELLING_MIN && found * 8 >= telling * EIGHTHS_EXPLAINED
}

/// A row of some changed blocks in the new picture, and what is at a displacement in the old one, if that is inside.
fn samples<'a>(
    old: &'a Picture,
    new: &'a View,
    changed: &'a Changed,
    (dx, dy): (i32, i32),
) -> impl Iterator<Item = (&'a [u32], Option<&'a [u32]>)> {
    let step = (changed.count() / SAMPLES_MAX).max(1);
    let sample = move |(bx, by): (u32, u32)| {
        let (x, y) = (bx * BLOCK, (by * BLOCK + BLOCK / 2).min(old.size.h - 1));
        let width = BLOCK.min(old.size.w - x);
        let inside = |v: i64, length: u32| u32::try_from(v).ok().filter(|v| *v < length);
        let from_x = inside(i64::from(x) - i64::from(dx), old.size.w - width + 1);
        let from_y = inside(i64::from(y) - i64::from(dy), old.size.h);
        let there = from_x.zip(from_y).map(|(x, y)| &old.row(y)[x as usize..][..width as usize]);
        (&new.row(y)[x as usize..][..width as usize], there)
    };
    changed.positions().step_by(step).map(sample)
}

/// A piece of a row of the old picture.
struct Anchor {
    x: u32,
    y: u32,
    hash: u32,
}

/// Where equal anchors are in the old picture, and where in the new one.
#[derive(Default)]
struct Found {
    anchors: Vec<(u32, u32)>,
    places: Vec<(u32, u32)>,
}

/// Up to [`ANCHORS_MAX`] anchors, spread over the changed blocks, and among rows that are `row_step` apart: lines of text
/// are often as far apart as a multiple of it, and if all anchors were the same row of a line, none or all would be seen.
fn anchors(old: &Picture, changed: &Changed, row_step: u32) -> Vec<Anchor> {
    let count = changed.count();
    let step = (count / ANCHORS_MAX).max(1);
    let (mut out, mut pieces) = (Vec::with_capacity(ANCHORS_MAX), Pieces::default());
    for (index, (bx, by)) in changed.positions().step_by(step).enumerate() {
        let x = bx * BLOCK;
        if x as usize + ANCHOR > old.size.w as usize {
            continue;
        }
        let phase = index as u32 % row_step;
        let best = (by * BLOCK..((by + 1) * BLOCK).min(old.size.h))
            .filter(|y| y % row_step == phase)
            .map(|y| {
                let piece = &old.row(y)[x as usize..][..ANCHOR];
                (piece.windows(2).filter(|p| p[0] != p[1]).count(), y)
            })
            .max_by_key(|(edges, y)| (*edges, std::cmp::Reverse(*y)));
        if let Some((edges, y)) = best
            && edges >= ANCHOR_EDGES_MIN
        {
            out.push(Anchor { x, y, hash: pieces.of(&old.row(y)[x as usize..][..ANCHOR])[0] });
            if out.len() == ANCHORS_MAX {
                break;
            }
        }
    }
    out
}

/// Hashes of pieces of a row, with memory to work them out.
#[derive(Default)]
struct Pieces {
    hashes: Vec<u32>,
    spare: Vec<u32>,
}

impl Pieces {
    /// The polynomial hash of each piece of [`ANCHOR`] pixels.
    fn of(&mut self, row: &[u32]) -> &[u32] {
        const { assert!(ANCHOR.is_power_of_two()) };
        self.hashes.clear();
        // Black pixels count, too.
        self.hashes.extend(row.iter().map(|pixel| (pixel & 0x00ff_ffff) + 0x0100_0193));
        self.spare.resize(row.len(), 0);
        let (mut length, mut power) = (1, MULTIPLIER);
        while length < ANCHOR {
            join(&self.hashes, length, power, &mut self.spare);
            std::mem::swap(&mut self.hashes, &mut self.spare);
            (length, power) = (2 * length, power.wrapping_mul(power));
        }
        &self.hashes[..(row.len() + 1).saturating_sub(ANCHOR)]
    }
}

/// Makes hashes of pieces those of pieces twice as long. No step waits for the one before it.
#[multiversion(targets("x86_64+avx+avx2+bmi1+bmi2+lzcnt+popcnt"))]
fn join(hashes: &[u32], length: usize, power: u32, joined: &mut [u32]) {
    let Some(right) = hashes.get(length..) else { return };
    for ((joined, left), right) in joined.iter_mut().zip(hashes).zip(right) {
        *joined = left.wrapping_mul(power).wrapping_add(*right);
    }
}

fn filter_slot(hash: u32) -> usize {
    (hash >> (32 - FILTER_BITS)) as usize
}

/// Adds the largest exact rectangles for one displacement.
fn grow(old: &Picture, new: &View, changed: &Changed, delta: (i32, i32), copies: &mut Vec<CopyRect>) {
    let (dx, dy) = delta;
    let screen = old.size;
    // Where the source is on the screen too.
    let inside = |length: u32, d: i32| (d.max(0) as u32, (i64::from(length) + i64::from(d.min(0))).max(0) as u32);
    let ((xa, xb), (ya, yb)) = (inside(screen.w, dx), inside(screen.h, dy));
    let bounds = changed.bounds().intersection(Rect::new(xa, ya, xb.saturating_sub(xa), yb.saturating_sub(ya)));
    if bounds.is_empty() {
        return;
    }
    let equal = |x: u32, y: u32, w: u32| {
        let source = &old.row((y as i32 - dy) as u32)[(x as i32 - dx) as usize..][..w as usize];
        same_pixels(&new.row(y)[x as usize..][..w as usize], source)
    };
    let mut rects: Vec<Rect> = Vec::new();
    let rows = |y: u32| {
        let (new, old) = (new.row(y), old.row((y as i32 - dy) as u32));
        (&new[bounds.x as usize..][..bounds.w as usize], &old[(bounds.x as i32 - dx) as usize..][..bounds.w as usize])
    };
    for run in runs(bounds, rows) {
        // A neighbour to the left with the same rows becomes wider.
        match rects.iter_mut().rev().find(|r| r.right() == run.x && r.y == run.y && r.h == run.h) {
            Some(left) => left.w += run.w,
            None => rects.push(run),
        }
    }
    rects.sort_by_key(|r| std::cmp::Reverse(changed.area_in(*r)));
    let free = |r: Rect, copies: &[CopyRect]| !copies.iter().any(|c| c.destination().intersects(r));
    for rect in rects {
        let mut rect = copies.iter().fold(rect, |r, c| without(r, c.destination(), changed));
        if copies.len() == COPIES_MAX || changed.area_in(rect) < GAIN_MIN {
            continue;
        }
        let column_equal = |x: u32, r: Rect| (r.y..r.bottom()).all(|y| equal(x, y, 1));
        for _ in 0..BLOCK {
            let wider = Rect::new(rect.x.wrapping_sub(1), rect.y, rect.w + 1, rect.h);
            if rect.x > xa && column_equal(wider.x, rect) && free(wider, copies) {
                rect = wider;
            } else {
                break;
            }
        }
        for _ in 0..BLOCK {
            let wider = Rect { w: rect.w + 1, ..rect };
            if rect.right() < xb && column_equal(rect.right(), rect) && free(wider, copies) {
                rect = wider;
            } else {
                break;
            }
        }
        let source = Rect::new((rect.x as i32 - dx) as u32, (rect.y as i32 - dy) as u32, rect.w, rect.h);
        copies.push(CopyRect { source, x: rect.x, y: rect.y });
    }
}

/// Runs of rows that are equal, four and more, in columns as wide as a block: column by column, each from its top.
///
/// `rows(y)` are the pixels of a row of the bounds in the new picture, and in the old one.
fn runs<'a>(bounds: Rect, rows: impl Fn(u32) -> (&'a [u32], &'a [u32])) -> impl Iterator<Item = Rect> {
    const ROWS_MIN: u32 = 4;
    let first = bounds.x / BLOCK;
    let columns = (bounds.right().div_ceil(BLOCK) - first) as usize;
    let column = |i: usize| {
        let x = (first + i as u32) * BLOCK;
        (x.max(bounds.x), (x + BLOCK).min(bounds.right()))
    };
    let narrow = (column(0).1 - bounds.x) % BLOCK;
    let mut found: Vec<Vec<Rect>> = vec![Vec::new(); columns];
    let (mut was, mut is) = (vec![false; columns], vec![false; columns]);
    // For each column where the run begins that goes on.
    let mut tops = vec![0; columns];
    for y in bounds.y..=bounds.bottom() {
        match y < bounds.bottom() {
            true => same_blocks(rows(y), narrow as usize, &mut is),
            false => is.fill(false),
        }
        if is != was {
            for i in 0..columns {
                match (was[i], is[i]) {
                    (false, true) => tops[i] = y,
                    (true, false) if y - tops[i] >= ROWS_MIN => {
                        let (x, end) = column(i);
                        found[i].push(Rect::new(x, tops[i], end - x, y - tops[i]));
                    }
                    _ => {}
                }
            }
            std::mem::swap(&mut was, &mut is);
        }
    }
    found.into_iter().flatten()
}

/// Which blocks of two rows are equal; the first block has so few pixels, if not 0, the last one what is left.
#[multiversion(targets("x86_64+avx+avx2+bmi1+bmi2+lzcnt+popcnt"))]
fn same_blocks((new, old): (&[u32], &[u32]), narrow: usize, same: &mut [bool]) {
    let ((new_first, new), (old_first, old)) = (new.split_at(narrow), old.split_at(narrow));
    let (new, new_last) = new.as_chunks::<{ BLOCK as usize }>();
    let (old, old_last) = old.as_chunks::<{ BLOCK as usize }>();
    let mut same = same.iter_mut();
    if narrow > 0
        && let Some(same) = same.next()
    {
        *same = same_pixels(new_first, old_first);
    }
    for ((new, old), same) in new.iter().zip(old).zip(&mut same) {
        let mut differ = 0;
        for i in 0..BLOCK as usize {
            differ |= new[i] ^ old[i];
        }
        *same = differ & 0x00ff_ffff == 0;
    }
    if let Some(same) = same.next() {
        *same = same_pixels(new_last, old_last);
    }
}

/// The part of `rect` beside, above or below `taken` that saves most.
fn without(rect: Rect, taken: Rect, changed: &Changed) -> Rect {
    if !rect.intersects(taken) {
        return rect;
    }
    let (x0, x1) = (taken.x.clamp(rect.x, rect.right()), taken.right().clamp(rect.x, rect.right()));
    let (y0, y1) = (taken.y.clamp(rect.y, rect.bottom()), taken.bottom().clamp(rect.y, rect.bottom()));
    [
        Rect { w: x0 - rect.x, ..rect },
        Rect { x: x1, w: rect.right() - x1, ..rect },
        Rect { h: y0 - rect.y, ..rect },
        Rect { y: y1, h: rect.bottom() - y1, ..rect },
    ]
    .into_iter()
    .max_by_key(|r| (changed.area_in(*r), r.area()))
    .expect("there are four")
}

/// Whether two rows are equal in their 24 bits of colour, as far as both go.
#[inline]
pub fn same_pixels(a: &[u32], b: &[u32]) -> bool {
    const N: usize = BLOCK as usize;
    let length = a.len().min(b.len());
    let differ = |d: u32, (a, b): (&u32, &u32)| d | (a ^ b);
    // A block's row at a time: of fixed length it is a handful of instructions.
    let ((a, a_rest), (b, b_rest)) = (a[..length].as_chunks::<N>(), b[..length].as_chunks::<N>());
    a.iter().zip(b).all(|(a, b)| a.iter().zip(b).fold(0, differ) & 0x00ff_ffff == 0)
        && a_rest.iter().zip(b_rest).fold(0, differ) & 0x00ff_ffff == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::stage::transfer;
    use crate::geom::Size;

    /// A picture of text-like noise: pseudo-random pixels on white, a third of them dark.
    fn noise(size: Size, mut seed: u64) -> Picture {
        let mut p = Picture::new(size);
        for pixel in &mut p.pixels {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *pixel = if seed >> 62 == 0 { 0 } else { 0x00ff_ffff };
        }
        p
    }

    fn changed(old: &Picture, new: &Picture) -> Changed {
        let mut c = Changed::new(old.size);
        for y in 0..old.size.h {
            for x in 0..old.size.w {
                if old.row(y)[x as usize] != new.row(y)[x as usize] {
                    let at = y / BLOCK * c.columns + x / BLOCK;
                    c.blocks[at as usize] = true;
                }
            }
        }
        c
    }

    fn put(target: &mut Picture, source: &Picture, from: Rect, x: u32, y: u32) {
        let job = |r: Rect, x: u32, y: u32| crate::codec::plan::Transfer {
            source: r.x | r.y << 16,
            destination: x | y << 16,
            size: r.w | r.h << 16,
            pad: 0,
        };
        transfer::run(&[job(from, x, y)], source, target);
    }

    #[test]
    fn a_scroll_inside_a_pane_is_found_with_odd_edges() {
        let size = Size::new(400, 300);
        let text = noise(Size::new(400, 600), 7);
        let mut old = noise(size, 1);
        let mut new = old.clone();
        put(&mut old, &text, Rect::new(0, 100, 301, 211), 37, 41);
        put(&mut new, &text, Rect::new(0, 117, 301, 211), 37, 41);
        let copies = find(&old, &View::of(&new), &changed(&old, &new), &[]);
        let area: u64 = copies.iter().map(|c| c.destination().area()).sum();
        assert!(area >= 301 * 190, "{copies:?}");
        assert!(copies.iter().all(|c| c.x == c.source.x && c.y + 17 == c.source.y), "{copies:?}");
    }

    #[test]
    fn a_dragged_window_and_a_scrolled_pane_are_found_together() {
        let size = Size::new(800, 600);
        let window = noise(Size::new(200, 150), 3);
        let text = noise(Size::new(300, 700), 9);
        let mut old = Picture::new(size);
        let mut new = Picture::new(size);
        put(&mut old, &window, window.size.rect(), 50, 60);
        put(&mut new, &window, window.size.rect(), 83, 49);
        put(&mut old, &text, Rect::new(0, 0, 300, 400), 450, 100);
        put(&mut new, &text, Rect::new(0, 30, 300, 400), 450, 100);
        let copies = find(&old, &View::of(&new), &changed(&old, &new), &[]);
        let covered = |r: Rect| copies.iter().map(|c| c.destination().intersection(r).area()).sum::<u64>();
        assert!(covered(Rect::new(83, 49, 200, 150)) > 28_000, "{copies:?}");
        assert!(covered(Rect::new(450, 100, 300, 370)) > 105_000, "{copies:?}");
    }

    #[test]
    fn what_moved_before_is_tried_first_and_never_believed() {
        let (size, text) = (Size::new(400, 600), noise(Size::new(400, 900), 7));
        let (mut old, mut new) = (noise(size, 1), noise(size, 1));
        put(&mut old, &text, Rect::new(0, 100, 301, 500), 37, 41);
        put(&mut new, &text, Rect::new(0, 148, 301, 500), 37, 41);
        let changed = changed(&old, &new);
        let searched = find(&old, &View::of(&new), &changed, &[]);
        assert!(searched.iter().all(|copy| copy.displacement() == (0, -48)) && !searched.is_empty(), "{searched:?}");
        assert!(explains(&old, &View::of(&new), &changed, (0, -48)));
        assert!(!explains(&old, &View::of(&new), &changed, (0, -47)));
        for before in [&[(0, -48)][..], &[(0, -47)], &[(5, 3), (0, -48)], &[(-9000, 9000)], &[(0, 0)]] {
            assert_eq!(find(&old, &View::of(&new), &changed, before), searched, "{before:?}");
        }
    }

    #[test]
    fn a_window_of_equal_lines_moves_as_a_whole() {
        let size = Size::new(900, 700);
        // A large change is looked for in every third row: all rows of lines 18 high that look alike are seen, or none.
        for (height, seed) in [(17, 3), (18, 3), (18, 5), (18, 8), (15, 2)] {
            let line = noise(Size::new(300, height), seed);
            for (x, y) in [(130, 107), (95, 89), (101, 134), (103, 98), (108, 103)] {
                let (mut old, mut new) = (noise(size, 4), noise(size, 4));
                for i in 0..30 {
                    put(&mut old, &line, line.size.rect(), 100, 100 + height * i);
                    put(&mut new, &line, line.size.rect(), x, y + height * i);
                }
                let copies = find(&old, &View::of(&new), &changed(&old, &new), &[]);
                let moved: u64 = copies.iter().map(|c| c.destination().area()).sum();
                assert!(moved >= 300 * (30 * u64::from(height) - 1), "{height}, {moved} pixels, {copies:?}");
            }
        }
    }

    #[test]
    fn copies_read_what_was_there_before_any_of_them() {
        let size = Size::new(90, 70);
        let before = noise(size, 11);
        let copy = |x, y, w, h, to_x, to_y| CopyRect { source: Rect::new(x, y, w, h), x: to_x, y: to_y };
        // Each alone moves over itself, in every direction; together they also read what others write, round in a circle.
        let cases = [
            vec![copy(10, 10, 40, 30, 13, 17)],
            vec![copy(10, 10, 40, 30, 7, 3)],
            vec![copy(10, 10, 40, 30, 15, 10), copy(60, 5, 20, 20, 60, 40)],
            vec![copy(0, 0, 30, 30, 30, 0), copy(30, 0, 30, 30, 60, 0), copy(60, 0, 30, 30, 0, 0)],
            vec![copy(0, 0, 45, 60, 45, 8), copy(45, 0, 45, 60, 0, 5)],
        ];
        let mut kept = Vec::new();
        for copies in cases {
            let (mut expected, mut moved) = (before.clone(), before.clone());
            copies.iter().for_each(|c| put(&mut expected, &before, c.source, c.x, c.y));
            apply(&copies, &mut moved, &mut kept);
            assert!(moved == expected, "{copies:?}");
        }
    }

    #[test]
    fn unrelated_pictures_have_no_copies() {
        let (old, new) = (noise(Size::new(300, 200), 1), noise(Size::new(300, 200), 2));
        assert_eq!(find(&old, &View::of(&new), &changed(&old, &new), &[]), []);
    }
}
