//! Puts frames in order: each is applied as soon as what it depends on is, and the newest block wins.
//!
//! Frames come whole, each on a stream of its own, so a lost packet holds up only the frame it belonged to. No clock and
//! no GPU: frames go in as bytes, plans come out. Wire form: `codec::format`. Running a plan: `codec::canvas`, `io::gpu`.

use crate::codec::format::{FormatError, Frame, FrameHeader};
use crate::codec::marks::TileMarks;
use crate::codec::plan::Plan;
use crate::geom::{BlockMask, Size, TileGrid, TileIndex};
use crate::limits::FRAMES_WAITING_MAX;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;

/// Why a frame cannot be taken. The host is broken or hostile, and the connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AssemblerError {
    /// It is not a sound frame.
    #[error("frame is malformed: {0}")]
    Format(#[from] FormatError),
    /// A frame with this number has come before.
    #[error("frame {0} came twice")]
    Twice(u32),
    /// Too many frames came before the one that they need.
    #[error("more than {FRAMES_WAITING_MAX} frames wait for frame {0}")]
    Waiting(u32),
    /// Too many frames came although one before them never did.
    #[error("frame {0} does not come, but more than {FRAMES_WAITING_MAX} after it did")]
    Missing(u32),
}

/// One frame, ready to be applied.
#[derive(Clone, Debug)]
pub struct Update {
    /// Its number.
    pub sequence: u32,
    /// All frames up to this one are applied once this is.
    pub complete: u32,
    /// The last input event that it may show.
    pub input: u32,
    /// More of the same picture follows at once.
    pub more: bool,
    /// What to do.
    pub plan: Plan,
}

/// What is known about a tile's pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Marked {
    /// The host has not said yet.
    #[default]
    Unknown,
    /// They are those of the host.
    Agreed,
    /// They are not.
    Wrong,
}

/// The viewer's order of frames.
#[derive(Debug, Default)]
pub struct Assembler {
    grid: Option<TileGrid>,
    /// All frames up to this one are applied, or made void by a key frame.
    complete: u32,
    /// Frames applied beyond `complete`.
    ahead: BTreeSet<u32>,
    waiting: BTreeMap<u32, (FrameHeader, Bytes)>,
    /// The highest number that was handed out, and whether that frame leaves lossy blocks or the rest of its picture.
    newest: (u32, bool),
    /// For each block the last frame that wrote it, sixteen a tile.
    written: Vec<u32>,
    /// For each tile the last frame that may have changed it, and what the host's mark said since.
    touched: Vec<(u32, Marked)>,
}

impl Assembler {
    /// Waits for the first key frame.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a whole frame as it came from its stream.
    ///
    /// # Errors
    /// [`AssemblerError`]; nothing can be done with this connection then.
    pub fn handle_frame(&mut self, bytes: Bytes) -> Result<(), AssemblerError> {
        let (header, _) = FrameHeader::parse(&bytes)?;
        let sequence = header.sequence;
        if self.ahead.contains(&sequence) || self.waiting.contains_key(&sequence) {
            return Err(AssemblerError::Twice(sequence));
        }
        if sequence <= self.complete {
            // A key frame overtook it; its pixels are void.
            return Ok(());
        }
        if self.waiting.len() == FRAMES_WAITING_MAX && !self.is_ready(&header) {
            return Err(AssemblerError::Waiting(self.complete + 1));
        }
        // Only what closes the gap may come then; otherwise a host could make this grow for ever.
        if self.ahead.len() >= FRAMES_WAITING_MAX && header.key.is_none() && sequence != self.complete + 1 {
            return Err(AssemblerError::Missing(self.complete + 1));
        }
        self.waiting.insert(sequence, (header, bytes));
        Ok(())
    }

    /// The next frame that can be applied, as a plan.
    ///
    /// # Errors
    /// [`AssemblerError::Format`] if its sections are malformed.
    pub fn poll_update(&mut self) -> Result<Option<Update>, AssemblerError> {
        let Some(sequence) = self.waiting.iter().find(|(_, (h, _))| self.is_ready(h)).map(|(s, _)| *s) else {
            return Ok(None);
        };
        let (header, bytes) = self.waiting.remove(&sequence).expect("it was just found");
        let frame = Frame::parse(bytes, self.grid.map_or(Size::default(), TileGrid::size))?;
        if let Some(size) = header.key {
            let grid = TileGrid::new(size);
            self.grid = Some(grid);
            self.written = vec![0; grid.count() as usize * 16];
            self.touched = vec![(sequence, Marked::Unknown); grid.count() as usize];
            self.waiting.retain(|s, _| *s > sequence);
            self.ahead.retain(|s| *s > sequence);
            self.complete = sequence;
        } else {
            self.ahead.insert(sequence);
        }
        while self.ahead.remove(&(self.complete + 1)) {
            self.complete += 1;
        }
        self.newest = self.newest.max((sequence, header.lossy || header.more));
        let grid = self.grid.expect("a frame is ready only after a key frame");
        let written = &self.written;
        let plan = Plan::new(&frame, grid, |tile| unwritten(written, tile, sequence));
        for tile in plan.damage.iter().flat_map(|damage| grid.tiles_in(*damage)) {
            let touched = &mut self.touched[tile.0 as usize];
            *touched = (sequence.max(touched.0), Marked::Unknown);
        }
        for record in &frame.tiles {
            for block in record.blocks.blocks() {
                let last = &mut self.written[(record.tile.0 * 16 + block) as usize];
                *last = sequence.max(*last);
            }
        }
        Ok(Some(Update { sequence, complete: self.complete, input: header.input, more: header.more, plan }))
    }

    /// The screen and the tiles that marks are about; none if they are about another picture than the one of now.
    pub fn marked_tiles(&self, marks: &TileMarks) -> Option<TileGrid> {
        let end = marks.first.checked_add(marks.marks.len() as u32)?;
        self.grid.filter(|grid| end <= grid.count() && marks.sequence <= self.complete)
    }

    /// Whether marks are about a frame that is still to come: they go another way, and may be the faster. Or about one that
    /// was handed out but is still `waiting` for its turn, so that the screen is not as they say yet.
    pub fn is_early(&self, marks: &TileMarks, waiting: Option<&Update>) -> bool {
        marks.sequence > self.complete || waiting.is_some_and(|update| update.sequence <= marks.sequence)
    }

    /// Compares the host's marks with those of the pixels here; returns the tiles that differ.
    ///
    /// Tiles that frames after the marks may have changed are left out: the host knows of them.
    pub fn handle_marks(&mut self, marks: &TileMarks, found: &[u64]) -> Vec<u32> {
        let mut wrong = Vec::new();
        if self.marked_tiles(marks).is_none() || found.len() != marks.marks.len() {
            return wrong;
        }
        for (tile, (expected, found)) in (marks.first..).zip(marks.marks.iter().zip(found)) {
            let (touched, marked) = &mut self.touched[tile as usize];
            if *touched > marks.sequence {
                continue;
            }
            *marked = if expected == found { Marked::Agreed } else { Marked::Wrong };
            if expected != found {
                wrong.push(tile);
            }
        }
        wrong
    }

    /// Whether the picture is exact and the host's marks agree with every tile of it.
    pub fn is_agreed(&self) -> bool {
        self.is_exact() && self.touched.iter().all(|(_, marked)| *marked == Marked::Agreed)
    }

    /// Whether the frames handed out so far make a whole picture without lossy blocks, and none of them is missing.
    pub fn is_exact(&self) -> bool {
        let is_whole = self.waiting.is_empty() && self.newest == (self.complete, false) && self.complete > 0;
        is_whole && self.touched.iter().all(|(_, marked)| *marked != Marked::Wrong)
    }

    fn is_ready(&self, header: &FrameHeader) -> bool {
        header.key.is_some() || (self.grid.is_some() && header.depends_on <= self.complete)
    }
}

/// The blocks of a tile that no later frame has written.
fn unwritten(written: &[u32], tile: TileIndex, sequence: u32) -> BlockMask {
    let blocks = &written[tile.0 as usize * 16..][..16];
    BlockMask(blocks.iter().enumerate().fold(0, |m, (i, last)| m | u16::from(*last < sequence) << i))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::canvas::Canvas;
    use crate::codec::format::{CopyRect, SectionWriter};
    use crate::geom::Rect;

    fn frame(sequence: u32, depends_on: u32, key: Option<Size>, fill: impl FnOnce(&mut SectionWriter)) -> Bytes {
        let mut out = Vec::new();
        FrameHeader { sequence, depends_on, input: 0, key, more: false, lossy: false }.write(&mut out);
        let mut writer = SectionWriter::new();
        fill(&mut writer);
        writer.finish(&mut out);
        out.into()
    }

    fn key(sequence: u32) -> Bytes {
        frame(sequence, 0, Some(Size::new(128, 64)), |_| {})
    }

    fn solid(sequence: u32, depends_on: u32, tile: u32, color: u32) -> Bytes {
        frame(sequence, depends_on, None, |w| w.solid(TileIndex(tile), None, color))
    }

    fn apply_all(assembler: &mut Assembler, canvas: &mut Canvas) -> Vec<u32> {
        let mut order = Vec::new();
        while let Some(update) = assembler.poll_update().unwrap() {
            canvas.apply(&update.plan);
            order.push(update.sequence);
        }
        order
    }

    #[test]
    fn late_tile_replaces_nothing() {
        let (mut a, mut canvas) = (Assembler::new(), Canvas::new());
        a.handle_frame(key(1)).unwrap();
        a.handle_frame(solid(3, 1, 0, 0x33)).unwrap();
        assert_eq!(apply_all(&mut a, &mut canvas), [1, 3]);
        let both = frame(2, 1, None, |w| {
            w.solid(TileIndex(0), None, 0x22);
            w.solid(TileIndex(1), None, 0x22);
        });
        a.handle_frame(both).unwrap();
        let update = a.poll_update().unwrap().unwrap();
        assert_eq!((update.sequence, update.complete), (2, 3));
        canvas.apply(&update.plan);
        assert_eq!((canvas.screen.pixels[0], canvas.screen.pixels[64]), (0x33, 0x22));
    }

    #[test]
    fn a_frame_that_reads_the_picture_waits_for_the_one_before() {
        let (mut a, mut canvas) = (Assembler::new(), Canvas::new());
        let copy = CopyRect { source: Rect::new(0, 0, 64, 64), x: 64, y: 0 };
        a.handle_frame(frame(3, 2, None, |w| w.copy(copy))).unwrap();
        a.handle_frame(key(1)).unwrap();
        assert_eq!(apply_all(&mut a, &mut canvas), [1]);
        a.handle_frame(solid(2, 1, 0, 0x77)).unwrap();
        assert_eq!(apply_all(&mut a, &mut canvas), [2, 3]);
        assert_eq!(canvas.screen.pixels[64], 0x77);
    }

    #[test]
    fn a_key_frame_makes_everything_before_it_void() {
        let (mut a, mut canvas) = (Assembler::new(), Canvas::new());
        for bytes in [key(1), solid(3, 2, 0, 1), key(4)] {
            a.handle_frame(bytes).unwrap();
        }
        assert_eq!(apply_all(&mut a, &mut canvas), [1, 4]);
        a.handle_frame(solid(2, 1, 0, 0x99)).unwrap();
        assert_eq!(apply_all(&mut a, &mut canvas), [0; 0]);
    }

    #[test]
    fn a_host_cannot_make_frames_pile_up() {
        let mut a = Assembler::new();
        for sequence in 0..FRAMES_WAITING_MAX as u32 {
            a.handle_frame(solid(sequence + 2, 1, 0, 0)).unwrap();
        }
        assert_eq!(a.handle_frame(solid(90, 1, 0, 0)), Err(AssemblerError::Waiting(1)));
        assert_eq!(a.handle_frame(solid(2, 1, 0, 0)), Err(AssemblerError::Twice(2)));
        a.handle_frame(key(1)).unwrap();
    }

    #[test]
    fn a_picture_is_exact_once_the_newest_frame_says_so_and_none_is_missing() {
        let flagged = |sequence: u32, lossy, more| {
            let mut out = Vec::new();
            let key = (sequence == 1).then_some(Size::new(64, 64));
            FrameHeader { sequence, depends_on: sequence.min(2) - 1, input: 0, key, more, lossy }.write(&mut out);
            Bytes::from(out)
        };
        let (mut a, mut canvas) = (Assembler::new(), Canvas::new());
        assert!(!a.is_exact());
        let steps = [
            (flagged(1, true, false), false),
            (flagged(2, false, true), false),
            (flagged(3, false, false), true),
            (flagged(5, false, false), false),
            // An older frame comes late: what counts is what the newest says.
            (flagged(4, true, false), true),
            (flagged(6, true, false), false),
            (flagged(7, false, false), true),
        ];
        for (frame, expected) in steps {
            let number = FrameHeader::parse(&frame).unwrap().0.sequence;
            a.handle_frame(frame).unwrap();
            apply_all(&mut a, &mut canvas);
            assert_eq!(a.is_exact(), expected, "after frame {number}");
        }
    }

    #[test]
    fn frames_of_a_session_process_and_of_its_successor_may_wait_together() {
        let (mut a, mut canvas) = (Assembler::new(), Canvas::new());
        a.handle_frame(key(1)).unwrap();
        assert_eq!(apply_all(&mut a, &mut canvas), [1]);
        // Frame 2 and the successor's key frame 10 are late; all that may be in flight behind each of them is not.
        for sequence in (3..=9).chain(11..=17) {
            a.handle_frame(solid(sequence, sequence - 1, 0, sequence)).unwrap();
        }
        a.handle_frame(key(10)).unwrap();
        assert_eq!(apply_all(&mut a, &mut canvas), (10..=17).collect::<Vec<_>>());
    }

    #[test]
    fn a_host_cannot_leave_a_gap_open_for_ever() {
        let (mut a, mut canvas) = (Assembler::new(), Canvas::new());
        a.handle_frame(key(1)).unwrap();
        assert_eq!(apply_all(&mut a, &mut canvas), [1]);
        for sequence in 0..FRAMES_WAITING_MAX as u32 {
            a.handle_frame(solid(sequence + 3, 1, 0, 0)).unwrap();
            assert_eq!(apply_all(&mut a, &mut canvas), [sequence + 3]);
        }
        assert_eq!(a.handle_frame(solid(90, 1, 0, 0)), Err(AssemblerError::Missing(2)));
        a.handle_frame(solid(2, 1, 0, 0)).unwrap();
        assert_eq!(a.poll_update().unwrap().unwrap().complete, FRAMES_WAITING_MAX as u32 + 2);
    }
}
