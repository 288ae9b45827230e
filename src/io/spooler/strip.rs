//! What the viewer and its renderer say to each other through pipes: one order, then the sides in strips.
//!
//! The renderer has read a stranger's document and may say anything: what comes back is checked against the order.

use super::sheet::Sheet;
use crate::limits::{COPIES_OF_JOB_MAX, JOB_BYTES_MAX, PAGE_RANGES_MAX};
use std::io::{self, Read, Write};

/// What to draw. The document follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RenderOrder {
    /// On what.
    pub(super) sheet: Sheet,
    /// Pages on one side.
    pub(super) number_up: u32,
    /// How often, one whole document after the other.
    pub(super) copies: u32,
    /// Each of them begins on a new sheet that has two sides.
    pub(super) is_duplex: bool,
    /// In grey.
    pub(super) is_gray: bool,
    /// Pages from, to; none: all.
    pub(super) pages: Vec<(u32, u32)>,
    /// Bytes of the document.
    pub(super) document_bytes: u32,
}

/// Part of a side that is not white.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Strip {
    /// Its place on the sheet, in pixels.
    pub(super) left: u32,
    /// Likewise.
    pub(super) top: u32,
    /// In pixels.
    pub(super) width: u32,
    /// In pixels.
    pub(super) height: u32,
    /// One byte a pixel, else three.
    pub(super) is_gray: bool,
    /// Rows as Windows has them: the lowest first, each filled up to a multiple of four bytes; blue, green, red.
    pub(super) rows: Vec<u8>,
}

/// Rows of a strip at most: few enough that white margins and empty lines are left out.
pub(super) const STRIP_ROWS: u32 = 128;

impl RenderOrder {
    /// Writes it.
    ///
    /// # Errors
    /// The pipe's.
    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let s = &self.sheet;
        let sheet = [s.width, s.height, s.paper_width, s.paper_height, s.left, s.top, s.dpi_x, s.dpi_y];
        let how = [self.number_up, self.copies, self.is_duplex.into(), self.is_gray.into(), self.document_bytes];
        let pages = self.pages.iter().flat_map(|(from, to)| [*from, *to]);
        for number in sheet.into_iter().chain(how).chain([self.pages.len() as u32]).chain(pages) {
            out.write_all(&number.to_le_bytes())?;
        }
        Ok(())
    }

    /// Reads it.
    ///
    /// # Errors
    /// The pipe's; [`io::ErrorKind::InvalidData`] if it is none.
    pub(super) fn read(input: &mut impl Read) -> io::Result<RenderOrder> {
        let mut next = || number(input);
        let sheet = Sheet {
            width: next()?,
            height: next()?,
            paper_width: next()?,
            paper_height: next()?,
            left: next()?,
            top: next()?,
            dpi_x: next()?,
            dpi_y: next()?,
        };
        let [number_up, copies, is_duplex, is_gray, document_bytes, ranges] =
            [next()?, next()?, next()?, next()?, next()?, next()?];
        let is_legal = sheet.is_usable()
            && (1..=16).contains(&number_up)
            && (1..=COPIES_OF_JOB_MAX).contains(&copies)
            && document_bytes <= JOB_BYTES_MAX
            && ranges as usize <= PAGE_RANGES_MAX;
        if !is_legal {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let pages = (0..ranges).map(|_| Ok((next()?, next()?))).collect::<io::Result<_>>()?;
        let (is_duplex, is_gray) = (is_duplex != 0, is_gray != 0);
        Ok(RenderOrder { sheet, number_up, copies, is_duplex, is_gray, pages, document_bytes })
    }
}

impl Strip {
    /// Cuts what is not white out of rows of a side: `rgba` has `width` pixels of four bytes in each row, the first of
    /// them is row `top` of the side. None if all is white.
    pub(super) fn cut(rgba: &[u8], width: u32, top: u32, is_gray: bool) -> Option<Strip> {
        let row_bytes = 4 * width as usize;
        let is_white = |pixel: &[u8]| pixel[..3] == [0xff; 3];
        let (mut left, mut right, mut first, mut last) = (u32::MAX, 0, None, 0);
        for (row, pixels) in rgba.chunks_exact(row_bytes).enumerate() {
            let Some(begin) = pixels.chunks_exact(4).position(|p| !is_white(p)) else { continue };
            let end = pixels.chunks_exact(4).rposition(|p| !is_white(p)).expect("one is not white");
            (left, right) = (left.min(begin as u32), right.max(end as u32 + 1));
            first.get_or_insert(row as u32);
            last = row as u32;
        }
        let first = first?;
        let rows = || {
            let all = rgba.chunks_exact(row_bytes).take(last as usize + 1).skip(first as usize);
            all.map(move |row| &row[4 * left as usize..4 * right as usize])
        };
        let is_plain = |row: &[u8]| row.chunks_exact(4).all(|p| p[0] == p[1] && p[1] == p[2]);
        let is_gray = is_gray || rows().all(is_plain);
        let (width, height) = (right - left, last + 1 - first);
        let stride = stride(width, is_gray);
        let mut out = Vec::with_capacity(stride * height as usize);
        for row in rows().rev() {
            let end = out.len() + stride;
            for pixel in row.chunks_exact(4) {
                if is_gray { out.push(gray(pixel)) } else { out.extend([pixel[2], pixel[1], pixel[0]]) }
            }
            out.resize(end, 0);
        }
        Some(Strip { left, top: top + first, width, height, is_gray, rows: out })
    }

    /// Writes one, or the end of a side.
    ///
    /// # Errors
    /// The pipe's.
    pub(super) fn write(strip: Option<&Strip>, out: &mut impl Write) -> io::Result<()> {
        let Some(strip) = strip else { return out.write_all(&0u32.to_le_bytes()) };
        let is_gray = u32::from(strip.is_gray);
        for number in [strip.height, strip.width, strip.left, strip.top, is_gray] {
            out.write_all(&number.to_le_bytes())?;
        }
        out.write_all(&strip.rows)
    }

    /// Reads one that lies on this sheet; `None` at the end of a side.
    ///
    /// # Errors
    /// The pipe's; [`io::ErrorKind::InvalidData`] if it lies elsewhere.
    pub(super) fn read(input: &mut impl Read, sheet: &Sheet) -> io::Result<Option<Strip>> {
        let height = number(input)?;
        if height == 0 {
            return Ok(None);
        }
        let [width, left, top, is_gray] = [number(input)?, number(input)?, number(input)?, number(input)?];
        let is_inside = |at: u32, size: u32, all: u32| size > 0 && at.checked_add(size).is_some_and(|end| end <= all);
        if height > STRIP_ROWS || !is_inside(left, width, sheet.width) || !is_inside(top, height, sheet.height) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let is_gray = is_gray != 0;
        let mut rows = vec![0; stride(width, is_gray) * height as usize];
        input.read_exact(&mut rows)?;
        Ok(Some(Strip { left, top, width, height, is_gray, rows }))
    }
}

/// Bytes of a row.
fn stride(width: u32, is_gray: bool) -> usize {
    (width as usize * if is_gray { 1 } else { 3 }).next_multiple_of(4)
}

/// How bright a pixel is (BT.601, as office printers do it).
fn gray(pixel: &[u8]) -> u8 {
    let [red, green, blue] = [pixel[0], pixel[1], pixel[2]].map(u32::from);
    ((299 * red + 587 * green + 114 * blue + 500) / 1_000) as u8
}

/// A number on the pipe.
///
/// # Errors
/// The pipe's.
pub(super) fn number(input: &mut impl Read) -> io::Result<u32> {
    let mut bytes = [0; 4];
    input.read_exact(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHEET: Sheet =
        Sheet { width: 5, height: 4, paper_width: 7, paper_height: 6, left: 1, top: 1, dpi_x: 72, dpi_y: 72 };

    fn order() -> RenderOrder {
        let pages = vec![(1, 2), (4, u32::MAX >> 1)];
        let (number_up, copies, is_duplex, is_gray) = (4, 3, true, false);
        RenderOrder { sheet: SHEET, number_up, copies, is_duplex, is_gray, pages, document_bytes: 9 }
    }

    #[test]
    fn an_order_is_read_as_it_was_written_or_not_at_all() {
        let mut bytes = Vec::new();
        order().write(&mut bytes).expect("memory");
        assert_eq!(RenderOrder::read(&mut &bytes[..]).expect("our own"), order());
        for length in 0..bytes.len() {
            assert!(RenderOrder::read(&mut &bytes[..length]).is_err(), "{length} bytes");
        }
        let ruined = |order: RenderOrder| {
            let mut bytes = Vec::new();
            order.write(&mut bytes).expect("memory");
            RenderOrder::read(&mut &bytes[..]).is_err()
        };
        assert!(ruined(RenderOrder { sheet: Sheet { width: 0, ..SHEET }, ..order() }));
        assert!(ruined(RenderOrder { sheet: Sheet { left: u32::MAX, ..SHEET }, ..order() }));
        assert!(ruined(RenderOrder { number_up: 0, ..order() }));
        assert!(ruined(RenderOrder { copies: COPIES_OF_JOB_MAX + 1, ..order() }));
        assert!(ruined(RenderOrder { pages: vec![(1, 1); PAGE_RANGES_MAX + 1], ..order() }));
    }

    #[test]
    fn a_strip_is_what_is_not_white_with_its_rows_upside_down() {
        let mut rgba = vec![0xff; 5 * 4 * 4];
        let mut put = |x: usize, y: usize, pixel: [u8; 3]| rgba[4 * (5 * y + x)..][..3].copy_from_slice(&pixel);
        put(1, 1, [10, 20, 30]);
        put(2, 2, [40, 50, 60]);
        let strip = Strip::cut(&rgba, 5, 100, false).expect("not all is white");
        assert_eq!((strip.left, strip.top, strip.width, strip.height, strip.is_gray), (1, 101, 2, 2, false));
        assert_eq!(strip.rows, [255, 255, 255, 60, 50, 40, 0, 0, 30, 20, 10, 255, 255, 255, 0, 0]);
        let strip = Strip::cut(&rgba, 5, 0, true).expect("not all is white");
        assert_eq!((strip.is_gray, &strip.rows[..]), (true, &[255, 48, 0, 0, 18, 255, 0, 0][..]));
        assert_eq!(Strip::cut(&[0xff; 40], 5, 0, false), None);
    }

    #[test]
    fn a_picture_without_colour_takes_a_third() {
        let strip = Strip::cut(&[7; 16], 4, 0, false).expect("it is dark");
        assert_eq!((strip.is_gray, strip.rows.len()), (true, 4));
    }

    #[test]
    fn a_strip_from_elsewhere_is_refused() {
        let strip = Strip { left: 1, top: 2, width: 4, height: 2, is_gray: true, rows: vec![9; 8] };
        let passed = |strip: Strip| {
            let mut bytes = Vec::new();
            Strip::write(Some(&strip), &mut bytes).expect("memory");
            Strip::read(&mut &bytes[..], &SHEET)
        };
        assert_eq!(passed(strip.clone()).expect("it is on the sheet"), Some(strip.clone()));
        assert!(passed(Strip { left: 2, ..strip.clone() }).is_err());
        assert!(passed(Strip { top: u32::MAX, ..strip.clone() }).is_err());
        assert!(passed(Strip { height: STRIP_ROWS + 1, ..strip.clone() }).is_err());
        assert!(passed(Strip { width: 0, ..strip.clone() }).is_err());
        assert!(passed(Strip { rows: vec![9; 7], ..strip }).is_err());
        assert_eq!(Strip::read(&mut &[0; 4][..], &SHEET).expect("the end of a side"), None);
    }
}
