//! Draws a PDF's pages for a printer, in a process of its own that has nothing but two pipes.
//!
//! A document comes from a host that may be hostile, and the library that reads it may panic, loop or ask for all memory:
//! then this process ends, or is ended, and the viewer goes on. Its bounds are set by who starts it (`process.rs`).

use super::sheet::{Placing, Sheet, chosen_pages};
use super::strip::{RenderOrder, STRIP_ROWS, Strip};
use hayro::hayro_interpret::InterpreterSettings;
use hayro::hayro_interpret::util::TransformExt;
use hayro::hayro_syntax::Pdf;
use hayro::hayro_syntax::page::Page;
use hayro::kurbo::Affine;
use hayro::vello_cpu::color::palette::css::WHITE;
use hayro::vello_cpu::{Pixmap, RasterizerSettings, RenderContext, Resources, TargetInit};
use hayro::{RenderCache, RenderSettings, render_into};
use std::io::{self, Read, Write};

/// Stack of the thread that draws: what is nested in a document is walked by recursion.
const STACK_BYTES: usize = 64 << 20;

/// Reads an order and its document, and writes how many sides there are, then each in strips.
///
/// # Errors
/// The pipes'; [`io::ErrorKind::InvalidData`] if the document cannot be read: then nothing was written.
pub(super) fn serve(mut input: impl Read + Send, mut output: impl Write + Send) -> io::Result<()> {
    let work = || {
        let order = RenderOrder::read(&mut input)?;
        let mut document = Vec::new();
        (&mut input).take(order.document_bytes.into()).read_to_end(&mut document)?;
        if document.len() != order.document_bytes as usize {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let pdf = Pdf::new(document).map_err(|_| io::ErrorKind::InvalidData)?;
        draw_all(&order, &pdf, &mut output)
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work)?;
        thread.join().unwrap_or_else(|_| Err(io::ErrorKind::InvalidData.into()))
    })
}

fn draw_all(order: &RenderOrder, pdf: &Pdf, output: &mut impl Write) -> io::Result<()> {
    let pages = pdf.pages();
    let count = u32::try_from(pages.len()).unwrap_or(u32::MAX);
    let chosen: Vec<&Page> =
        chosen_pages(&order.pages, count).into_iter().filter_map(|index| pages.get(index as usize)).collect();
    let sides: Vec<&[&Page]> = chosen.chunks(order.number_up as usize).collect();
    // A copy does not begin on the back of the one before.
    let has_empty_back = order.copies > 1 && order.is_duplex && sides.len() % 2 == 1;
    let all = (sides.len() + usize::from(has_empty_back)).saturating_mul(order.copies as usize);
    output.write_all(&u32::try_from(all).unwrap_or(u32::MAX).to_le_bytes())?;
    for _ in 0..order.copies {
        for side in &sides {
            draw_side(order, side, output)?;
        }
        if has_empty_back {
            Strip::write(None, output)?;
        }
    }
    output.flush()
}

/// Draws a side band by band: all of a fine one at once would take a quarter of a gigabyte.
fn draw_side<'a>(order: &RenderOrder, pages: &[&'a Page<'a>], output: &mut impl Write) -> io::Result<()> {
    let sheet = &order.sheet;
    let size = |page: &&Page| {
        let (width, height) = page.render_dimensions();
        (f64::from(width), f64::from(height))
    };
    let sizes: Vec<(f64, f64)> = pages.iter().map(size).collect();
    let places = sheet.places(order.number_up, &sizes);
    // These know the side's fonts and letters; of the whole document they would grow without bound.
    let (cache, mut resources) = (RenderCache::new(), Resources::default());
    for (top, rows) in sheet.bands() {
        let band = draw_band(sheet, top, rows, pages.iter().copied().zip(&places), &cache, &mut resources);
        let strip_bytes = (4 * sheet.width * STRIP_ROWS) as usize;
        for (index, rgba) in band.data_as_u8_slice().chunks(strip_bytes).enumerate() {
            let top = top + index as u32 * STRIP_ROWS;
            if let Some(strip) = Strip::cut(rgba, sheet.width, top, order.is_gray) {
                Strip::write(Some(&strip), output)?;
            }
        }
    }
    Strip::write(None, output)
}

fn draw_band<'a, 'p>(
    sheet: &Sheet,
    top: u32,
    rows: u32,
    pages: impl Iterator<Item = (&'a Page<'a>, &'p Placing)>,
    cache: &RenderCache<'a>,
    resources: &mut Resources,
) -> Pixmap {
    let short = |side: u32| u16::try_from(side).expect("a sheet's sides and bands are at most SIDE_MAX");
    let mut context = RenderContext::new(short(sheet.width), short(rows));
    for (page, placing) in pages {
        let place = Affine::translate((0.0, -f64::from(top))) * Affine::new(*placing);
        let transform = place * page.initial_transform(true).to_kurbo();
        // Hinting is for screens: on paper letters keep their distances.
        let settings = RenderSettings { hinting: false, ..RenderSettings::default() };
        render_into(page, cache, &InterpreterSettings::default(), &settings, &mut context, transform);
    }
    context.flush();
    let mut picture = Pixmap::new(context.width(), context.height());
    let settings = RasterizerSettings { target_init: TargetInit::Clear(WHITE), ..RasterizerSettings::default() };
    context.render_with(&mut picture, resources, settings);
    picture
}

#[cfg(test)]
mod tests {
    use super::super::strip::number;
    use super::*;

    /// A4 at 36 dpi, of which all can be printed on.
    const A4: Sheet =
        Sheet { width: 298, height: 421, paper_width: 298, paper_height: 421, left: 0, top: 0, dpi_x: 36, dpi_y: 36 };

    fn order(document: &[u8]) -> RenderOrder {
        let document_bytes = document.len() as u32;
        let (copies, pages) = (1, Vec::new());
        RenderOrder { sheet: A4, number_up: 1, copies, is_duplex: false, is_gray: false, pages, document_bytes }
    }

    /// A document of pages with this size in points and this content each.
    fn pdf(pages: &[(u32, u32, &str)]) -> Vec<u8> {
        let mut out = b"%PDF-1.4\n".to_vec();
        let mut offsets = Vec::new();
        let mut object = |text: String| {
            offsets.push(out.len());
            out.extend_from_slice(format!("{} 0 obj\n{text}\nendobj\n", offsets.len()).as_bytes());
        };
        let kids: Vec<String> = (0..pages.len()).map(|page| format!("{} 0 R", 3 + 2 * page)).collect();
        object("<</Type/Catalog/Pages 2 0 R>>".into());
        object(format!("<</Type/Pages/Count {}/Kids[{}]>>", pages.len(), kids.join(" ")));
        for (index, (width, height, content)) in pages.iter().enumerate() {
            object(format!(
                "<</Type/Page/Parent 2 0 R/MediaBox[0 0 {width} {height}]/Contents {} 0 R/Resources<</Font<</F1 \
                 <</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>>>",
                4 + 2 * index
            ));
            object(format!("<</Length {}>>\nstream\n{content}\nendstream", content.len()));
        }
        let start = out.len();
        out.extend_from_slice(format!("xref\n0 {}\n0000000000 65535 f \n", offsets.len() + 1).as_bytes());
        for offset in &offsets {
            out.extend_from_slice(format!("{offset:010} 00000 n \n").as_bytes());
        }
        let size = offsets.len() + 1;
        out.extend_from_slice(format!("trailer\n<</Size {size}/Root 1 0 R>>\nstartxref\n{start}\n%%EOF\n").as_bytes());
        out
    }

    /// The sides as a printer gets them, in grey.
    fn sides(order: &RenderOrder, document: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        let (mut input, mut output) = (Vec::new(), Vec::new());
        order.write(&mut input)?;
        input.extend_from_slice(document);
        serve(&input[..], &mut output)?;
        let mut rest = &output[..];
        let count = number(&mut rest)?;
        let mut sides = Vec::new();
        for _ in 0..count {
            let (width, height) = (order.sheet.width as usize, order.sheet.height as usize);
            let mut side = vec![0xff; width * height];
            while let Some(strip) = Strip::read(&mut rest, &order.sheet)? {
                let stride = strip.rows.len() / strip.height as usize;
                for (row, bytes) in strip.rows.chunks_exact(stride).rev().enumerate() {
                    let at = (strip.top as usize + row) * width + strip.left as usize;
                    let pixel = |x: usize| if strip.is_gray { bytes[x] } else { bytes[3 * x + 1] };
                    side[at..at + strip.width as usize]
                        .copy_from_slice(&(0..strip.width as usize).map(pixel).collect::<Vec<_>>());
                }
            }
            sides.push(side);
        }
        assert!(rest.is_empty(), "{} bytes too many", rest.len());
        Ok(sides)
    }

    /// The box around what is dark: left, top, right, bottom.
    fn dark(side: &[u8]) -> Option<[usize; 4]> {
        let width = A4.width as usize;
        let at = || side.iter().enumerate().filter(|(_, gray)| **gray < 128).map(|(at, _)| (at % width, at / width));
        let (left, top) = (at().map(|p| p.0).min()?, at().map(|p| p.1).min()?);
        Some([left, top, at().map(|p| p.0).max()? + 1, at().map(|p| p.1).max()? + 1])
    }

    /// One inch from the left, two from the top of an A4 page, one inch wide and high.
    const SQUARE: &str = "0 0 0 rg 72 626 72 72 re f";

    #[test]
    fn a_page_is_drawn_in_its_size_at_its_place() {
        let document = pdf(&[(595, 842, SQUARE)]);
        let all = sides(&order(&document), &document).expect("a plain document");
        assert_eq!(all.len(), 1);
        assert_eq!(dark(&all[0]), Some([36, 72, 72, 108]));
    }

    #[test]
    fn bands_join_without_a_seam() {
        let document = pdf(&[(595, 842, SQUARE)]);
        // So fine that a side is several bands; the same box in points, in any of them.
        let sheet = Sheet {
            width: 4_958,
            height: 7_017,
            paper_width: 4_958,
            paper_height: 7_017,
            dpi_x: 600,
            dpi_y: 600,
            ..A4
        };
        assert!(sheet.bands().count() > 1);
        let fine = RenderOrder { sheet, is_gray: true, ..order(&document) };
        let side = &sides(&fine, &document).expect("a plain document")[0];
        let dark = side.iter().filter(|gray| **gray == 0).count();
        assert!((dark as i64 - 600 * 600).abs() <= 2 * 600, "{dark} black pixels");
    }

    #[test]
    fn a_landscape_page_is_turned_and_letters_are_drawn() {
        let document = pdf(&[(842, 595, "BT /F1 200 Tf 20 20 Td (I) Tj ET")]);
        let all = sides(&order(&document), &document).expect("a plain document");
        let [left, top, right, bottom] = dark(&all[0]).expect("a letter");
        // A high letter at the page's lower left lies at the sheet's lower right.
        assert!(right - left > 2 * (bottom - top) && right > 260 && bottom > 380, "{left} {top} {right} {bottom}");
    }

    #[test]
    fn pages_ranges_and_copies_are_as_ordered() {
        let pages = ["", SQUARE, "0 0 0 rg 0 0 595 842 re f"].map(|content| (595, 842, content));
        let document = pdf(&pages);
        let count = |order: RenderOrder| {
            let all = sides(&order, &document).expect("a plain document");
            all.iter().map(|side| side.iter().filter(|gray| **gray < 128).count()).collect::<Vec<_>>()
        };
        let all = 298 * 421;
        assert_eq!(count(order(&document)), [0, 36 * 36, all]);
        assert_eq!(count(RenderOrder { pages: vec![(2, 2)], ..order(&document) }), [36 * 36]);
        assert!(count(RenderOrder { pages: vec![(9, 12)], ..order(&document) }).is_empty());
        let twice = RenderOrder { pages: vec![(2, 2)], copies: 2, ..order(&document) };
        assert_eq!(count(twice.clone()), [36 * 36, 36 * 36]);
        assert_eq!(count(RenderOrder { is_duplex: true, ..twice }), [36 * 36, 0, 36 * 36, 0]);
        let on_one = count(RenderOrder { number_up: 4, ..order(&document) });
        assert!(on_one.len() == 1 && (all / 4..all / 3).contains(&on_one[0]), "{on_one:?}");
    }

    #[test]
    fn what_is_no_document_is_an_error() {
        let document = pdf(&[(595, 842, SQUARE)]);
        for bad in [&b""[..], b"%PDF-1.7", &[0xff; 500], &document[..40]] {
            let found = sides(&order(bad), bad).map(|sides| sides.len());
            assert!(found.as_ref().is_err() || found.as_ref().is_ok_and(|count| *count == 0), "{found:?}");
        }
        let cut_off = RenderOrder { document_bytes: document.len() as u32 + 1, ..order(&document) };
        assert!(sides(&cut_off, &document).is_err());
    }

    #[test]
    fn hostile_pages_end() {
        let huge = "1 0 0 1 1e30 1e30 cm ".repeat(50) + SQUARE;
        let nested = "q ".repeat(100_000) + SQUARE;
        let arrays = "[".repeat(200_000);
        for content in [&huge, &nested, &arrays, "1e38 w 0 0 m 1e38 1e38 l S", "BT /F1 1e9 Tf (W) Tj ET"] {
            let document = pdf(&[(595, 842, content)]);
            // Drawn or refused: this test is that it ends, and within the stack.
            let _ = sides(&order(&document), &document);
        }
        for (width, height) in [(0, 0), (1, 1_000_000), (u32::MAX, u32::MAX)] {
            let document = pdf(&[(width, height, SQUARE)]);
            let all = sides(&order(&document), &document).expect("the page is made to fit");
            assert_eq!(all.len(), 1);
        }
    }
}
