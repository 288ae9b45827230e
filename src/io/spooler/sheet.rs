//! How pages lie on the sides of a sheet, and in which bands a side is drawn. Numbers only.

/// One side of a sheet as a printer tells it, in its pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sheet {
    /// What can be printed on: drawing begins at its upper left corner.
    pub(super) width: u32,
    /// Likewise.
    pub(super) height: u32,
    /// The whole sheet.
    pub(super) paper_width: u32,
    /// Likewise.
    pub(super) paper_height: u32,
    /// From the sheet's upper left corner to that of what can be printed on.
    pub(super) left: u32,
    /// Likewise.
    pub(super) top: u32,
    /// Pixels to an inch.
    pub(super) dpi_x: u32,
    /// Likewise.
    pub(super) dpi_y: u32,
}

/// How a page's points become pixels: `x' = a x + c y + e`, `y' = b x + d y + f` with `[a, b, c, d, e, f]`.
pub(super) type Placing = [f64; 6];

/// Longest side of a sheet that is drawn, in pixels: what the renderer counts with 16 bits.
pub(super) const SIDE_MAX: u32 = 32_767;
/// Finest drawing, in pixels to an inch: letters do not get better to the eye, only larger.
const DPI_MAX: u32 = 600;
/// Bytes of one band's picture, at four a pixel: an A4 side at 600 dpi is five bands.
const BAND_BYTES: usize = 32 << 20;
/// A page that is larger than the sheet by so many points still has its size: paper is not cut more exactly.
const SLACK: f64 = 3.0;

impl Sheet {
    /// The same sheet in pixels so large that it is drawn no finer than is of use, and how many of the printer's
    /// pixels each of them is wide and high.
    pub(super) fn coarsened(&self) -> (Sheet, u32) {
        let finest = self.dpi_x.max(self.dpi_y).div_ceil(DPI_MAX);
        let factor = finest.max(self.width.max(self.height).div_ceil(SIDE_MAX)).max(1);
        let less = |pixels: u32| pixels.div_ceil(factor);
        let sheet = Sheet {
            width: less(self.width),
            height: less(self.height),
            paper_width: less(self.paper_width),
            paper_height: less(self.paper_height),
            left: self.left / factor,
            top: self.top / factor,
            dpi_x: less(self.dpi_x),
            dpi_y: less(self.dpi_y),
        };
        (sheet, factor)
    }

    /// Whether something can be drawn on it.
    pub(super) fn is_usable(&self) -> bool {
        let sides = [self.width, self.height, self.dpi_x, self.dpi_y];
        sides.iter().all(|side| (1..=SIDE_MAX).contains(side))
            && self.left.checked_add(self.width).is_some_and(|right| right <= self.paper_width.saturating_add(8))
            && self.top.checked_add(self.height).is_some_and(|bottom| bottom <= self.paper_height.saturating_add(8))
    }

    /// The bands of a side from top to bottom: first row and rows.
    pub(super) fn bands(&self) -> impl Iterator<Item = (u32, u32)> + use<> {
        let rows = (BAND_BYTES / (4 * self.width.max(1) as usize)).clamp(1, SIDE_MAX as usize) as u32;
        let height = self.height;
        (0..height).step_by(rows as usize).map(move |top| (top, rows.min(height - top)))
    }

    /// Where the pages of one side go, `sizes` their widths and heights in points, at most `number_up` of them.
    ///
    /// A single page has its own size where the sheet is large enough, else it is made smaller; several share what can be
    /// printed on. Pages lie across the sheet where that makes them larger, turned to the left as IPP's landscape is.
    pub(super) fn places(&self, number_up: u32, sizes: &[(f64, f64)]) -> Vec<Placing> {
        let Some(first) = sizes.first() else { return Vec::new() };
        let grids = match number_up {
            2 => [(1, 2), (2, 1)],
            4 => [(2, 2), (2, 2)],
            6 => [(2, 3), (3, 2)],
            9 => [(3, 3), (3, 3)],
            16 => [(4, 4), (4, 4)],
            _ => [(1, 1), (1, 1)],
        };
        let (upright, across) = (self.view(false), self.view(true));
        let is_across = across.place(grids[1], 0, *first).0 > upright.place(grids[0], 0, *first).0 + 1e-6;
        let (view, grid) = if is_across { (across, grids[1]) } else { (upright, grids[0]) };
        let (dots_x, dots_y) = (f64::from(self.dpi_x) / 72.0, f64::from(self.dpi_y) / 72.0);
        let pages = sizes.iter().take((grid.0 * grid.1) as usize).enumerate();
        let place = |(index, size): (usize, &(f64, f64))| {
            let (scale, x, y) = view.place(grid, index as u32, *size);
            // Seen across, the sheet was turned right: what is up there is left on it.
            let [a, b, c, d, e, f] =
                if is_across { [0.0, -scale, scale, 0.0, y, view.width - x] } else { [scale, 0.0, 0.0, scale, x, y] };
            let (e, f) = (e * dots_x - f64::from(self.left), f * dots_y - f64::from(self.top));
            [a * dots_x, b * dots_y, c * dots_x, d * dots_y, e, f]
        };
        pages.map(place).collect()
    }

    /// The sheet in points, as one holds it to read.
    fn view(&self, is_across: bool) -> View {
        let (dots_x, dots_y) = (f64::from(self.dpi_x) / 72.0, f64::from(self.dpi_y) / 72.0);
        let (width, height) = (f64::from(self.paper_width) / dots_x, f64::from(self.paper_height) / dots_y);
        let (left, top) = (f64::from(self.left) / dots_x, f64::from(self.top) / dots_y);
        let (inner_width, inner_height) = (f64::from(self.width) / dots_x, f64::from(self.height) / dots_y);
        if is_across {
            let inner = (height - top - inner_height, left, inner_height, inner_width);
            View { width: height, height: width, inner }
        } else {
            View { width, height, inner: (left, top, inner_width, inner_height) }
        }
    }
}

/// A sheet in points.
struct View {
    width: f64,
    height: f64,
    /// What can be printed on: left, top, width, height.
    inner: (f64, f64, f64, f64),
}

impl View {
    /// Scale and upper left corner of the page in one cell of a grid.
    fn place(&self, grid: (u32, u32), index: u32, (width, height): (f64, f64)) -> (f64, f64, f64) {
        let has_its_size = grid == (1, 1) && width <= self.width + SLACK && height <= self.height + SLACK;
        let (left, top, cell_width, cell_height) = if has_its_size {
            (0.0, 0.0, self.width, self.height)
        } else {
            let (left, top, inner_width, inner_height) = self.inner;
            let (cell_width, cell_height) = (inner_width / f64::from(grid.0), inner_height / f64::from(grid.1));
            let (column, row) = (f64::from(index % grid.0), f64::from(index / grid.0));
            (left + column * cell_width, top + row * cell_height, cell_width, cell_height)
        };
        let scale = if has_its_size { 1.0 } else { (cell_width / width).min(cell_height / height).min(1.0) };
        let middle = |cell: f64, page: f64| (cell - page * scale) / 2.0;
        (scale, left + middle(cell_width, width), top + middle(cell_height, height))
    }
}

/// The indices of the pages that are chosen among `count`: all, or those in the ranges (from 1, both ends included,
/// ascending).
pub(super) fn chosen_pages(ranges: &[(u32, u32)], count: u32) -> Vec<u32> {
    if ranges.is_empty() {
        return (0..count).collect();
    }
    ranges.iter().flat_map(|(from, to)| from.saturating_sub(1)..(*to).min(count)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A4 at 72 dpi with half an inch all around that cannot be printed on.
    const A4: Sheet = Sheet {
        width: 595 - 72,
        height: 842 - 72,
        paper_width: 595,
        paper_height: 842,
        left: 36,
        top: 36,
        dpi_x: 72,
        dpi_y: 72,
    };

    /// Where a page's upper left and lower right corners come to lie, rounded.
    fn corners(sheet: &Sheet, number_up: u32, sizes: &[(f64, f64)]) -> Vec<[i32; 4]> {
        let at = |[a, b, c, d, e, f]: Placing, x: f64, y: f64| {
            ((a * x + c * y + e).round() as i32, (b * x + d * y + f).round() as i32)
        };
        let places = sheet.places(number_up, sizes);
        let both = |(placing, (width, height)): (&Placing, &(f64, f64))| {
            let ((left, top), (right, bottom)) = (at(*placing, 0.0, 0.0), at(*placing, *width, *height));
            [left, top, right, bottom]
        };
        places.iter().zip(sizes).map(both).collect()
    }

    #[test]
    fn a_page_of_the_sheets_size_keeps_its_size() {
        assert_eq!(corners(&A4, 1, &[(595.0, 842.0)]), [[-36, -36, 559, 806]]);
        // An exact A4 page on a sheet that was rounded to pixels.
        assert_eq!(corners(&A4, 1, &[(595.28, 841.89)]), [[-36, -36, 559, 806]]);
    }

    #[test]
    fn a_small_page_is_in_the_middle_and_a_large_one_made_smaller() {
        assert_eq!(corners(&A4, 1, &[(95.0, 42.0)]), [[214, 364, 309, 406]]);
        let [left, top, right, bottom] = corners(&A4, 1, &[(842.0, 1191.0)])[0];
        assert_eq!((left, right), (0, 523));
        assert!(top > 0 && bottom < 770 && (bottom - top - 740).abs() <= 1, "{top} to {bottom}");
    }

    #[test]
    fn a_landscape_page_lies_across_the_sheet_turned_left() {
        // Its upper left corner is the sheet's lower left one.
        assert_eq!(corners(&A4, 1, &[(842.0, 595.0)]), [[-36, 806, 559, -36]]);
    }

    #[test]
    fn two_pages_on_a_side_read_from_left_to_right_once_the_sheet_is_turned() {
        let both = corners(&A4, 2, &[(595.0, 842.0), (595.0, 842.0)]);
        let [first, second] = both[..] else { panic!("{both:?}") };
        // Turned right, the sheet's lower half is left.
        assert!(first[3] >= 385 && first[1] <= 770 && second[1] <= 385 && second[3] >= 0, "{both:?}");
        assert!(both.iter().all(|[left, top, right, bottom]| *left >= 0 && right > left && top > bottom));
    }

    #[test]
    fn four_pages_share_what_can_be_printed_on() {
        let all = corners(&A4, 4, &[(595.0, 842.0); 4]);
        let cell = |index: usize| (all[index][0] >= 261, all[index][1] >= 385);
        assert_eq!([cell(0), cell(1), cell(2), cell(3)], [(false, false), (true, false), (false, true), (true, true)]);
        assert!(
            all.iter().all(|[left, top, right, bottom]| *left >= 0 && *top >= 0 && *right <= 523 && *bottom <= 770)
        );
    }

    #[test]
    fn bands_cover_a_side_once_and_are_bounded() {
        for (width, height) in [(4_960, 7_016), (1, 1), (SIDE_MAX, SIDE_MAX), (100, 9)] {
            let sheet = Sheet { width, height, ..A4 };
            let mut next = 0;
            for (top, rows) in sheet.bands() {
                assert_eq!(top, next);
                assert!(rows > 0 && (rows * width * 4) as usize <= BAND_BYTES);
                next = top + rows;
            }
            assert_eq!(next, height);
        }
    }

    #[test]
    fn a_printer_of_1200_dpi_is_drawn_for_at_600() {
        let fine = Sheet { dpi_x: 1_200, dpi_y: 1_200, width: 9_601, height: 13_777, ..A4 };
        let (sheet, factor) = fine.coarsened();
        assert_eq!((sheet.width, sheet.height, sheet.dpi_x, factor), (4_801, 6_889, 600, 2));
        assert_eq!(A4.coarsened(), (A4, 1));
    }

    #[test]
    fn ranges_choose_pages_that_are_there() {
        assert_eq!(chosen_pages(&[], 3), [0, 1, 2]);
        assert_eq!(chosen_pages(&[(2, 2), (4, 9)], 5), [1, 3, 4]);
        assert!(chosen_pages(&[(6, u32::MAX)], 5).is_empty());
        assert!(chosen_pages(&[(1, 1)], 0).is_empty());
    }
}
