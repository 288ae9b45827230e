//! Draws a picture with the overlay into a window without any GPU: damaged rectangles only, through softbuffer.
//!
//! [`compose`] is the pure part and the twin of `shaders/present.wgsl`; [`SoftPresenter`] keeps track of what the
//! window's buffers still lack. What is decoded into the picture: `codec::canvas`.

use crate::codec::canvas::Picture;
use crate::geom::{Filter, Fit, Rect, Size};
use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::{Arc, OnceLock};
use thiserror::Error;
use winit::raw_window_handle::{HasWindowHandle as _, RawWindowHandle};
use winit::window::Window;

/// Everything that a window shows.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// The remote screen.
    pub picture: &'a Picture,
    /// Where it goes.
    pub fit: Fit,
    /// The viewer's own pages, on top.
    pub overlay: Option<Overlay<'a>>,
}

/// Pixels over the picture; they start at the window's top left corner.
#[derive(Clone, Copy, Debug)]
pub struct Overlay<'a> {
    /// Rows of 0xAARRGGBB words, colours multiplied by alpha.
    pub pixels: &'a [u32],
    /// Width and height.
    pub size: Size,
    /// Where it is something else than transparent; what is outside is not looked at.
    pub painted: Rect,
}

/// What changed since the last frame was presented.
#[derive(Clone, Copy, Debug)]
pub enum Damage<'a> {
    /// Everything, for instance because another window was in front.
    All,
    /// Some parts.
    Parts {
        /// Of the picture, in its own pixels.
        picture: &'a [Rect],
        /// Likewise, what [`SoftPresenter::prepare`] has drawn since the last frame.
        prepared: &'a [Rect],
        /// Of the overlay; empty if it is the same.
        overlay: Rect,
    },
}

/// Why the window cannot be drawn to. The messages are the window system's.
#[derive(Clone, Debug, Error)]
pub enum SoftError {
    /// The window system or the window is of a kind that cannot be drawn to.
    #[error("window cannot be drawn to without a GPU: {0}")]
    Open(String),
    /// Making the buffer or handing it over failed.
    #[error("window did not take the picture: {0}")]
    Present(String),
}

/// Shows scenes in a window.
#[derive(Debug)]
pub struct SoftPresenter {
    surface: softbuffer::Surface<Arc<Window>, AnyThreadWindow>,
    /// On X11 what is presented lies in the connection's buffer until somebody sends it on.
    is_x11: bool,
    shown: Option<Shown>,
    /// Rectangles of the frames before, the last one first: what an older buffer lacks.
    history: VecDeque<Vec<Rect>>,
}

/// What a presented frame looked like apart from its pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Shown {
    fit: Fit,
    painted: Rect,
}

/// Frames that are remembered to repair older buffers; no window system rotates more buffers.
const HISTORY_MAX: usize = 4;

/// Most rectangles handed over one by one; each is a request to the window system, more become the one around them.
const PARTS_MAX: usize = 64;

/// The window as softbuffer takes it.
#[cfg(not(windows))]
type AnyThreadWindow = Arc<Window>;
/// The window as softbuffer takes it: on Windows winit shows its handle to other threads than the window's own only when it
/// is told that they know what they do.
#[cfg(windows)]
type AnyThreadWindow = winit::platform::windows::AnyThread<Arc<Window>>;

impl SoftPresenter {
    /// Makes a presenter for a window; on macOS on the main thread.
    ///
    /// # Errors
    /// [`SoftError::Open`] if the window system is not supported.
    pub fn new(window: Arc<Window>) -> Result<SoftPresenter, SoftError> {
        let open = |e: softbuffer::SoftBufferError| SoftError::Open(e.to_string());
        let context = softbuffer::Context::new(Arc::clone(&window)).map_err(open)?;
        let window = any_thread_window(window);
        let handle = window.window_handle().map(|handle| handle.as_raw());
        let is_x11 = matches!(handle, Ok(RawWindowHandle::Xlib(_) | RawWindowHandle::Xcb(_)));
        let surface = softbuffer::Surface::new(&context, window).map_err(open)?;
        Ok(SoftPresenter { surface, is_x11, shown: None, history: VecDeque::new() })
    }

    /// Draws what changed and hands it to the window system. A change of fit, dimming or of the overlay's painted part
    /// is noticed by itself. An empty window is left alone.
    ///
    /// # Errors
    /// [`SoftError::Present`].
    ///
    /// # Panics
    /// As [`compose`].
    pub fn present(&mut self, scene: &Scene, damage: Damage) -> Result<(), SoftError> {
        let window = scene.fit.window;
        let (Some(w), Some(h)) = (NonZeroU32::new(window.w), NonZeroU32::new(window.h)) else { return Ok(()) };
        let fail = |e: softbuffer::SoftBufferError| SoftError::Present(e.to_string());
        let now = Shown::of(scene);
        let (parts, mut handed) = changed_parts(self.shown, now, damage);
        if handed.is_empty() {
            return Ok(());
        }
        self.surface.resize(w, h).map_err(fail)?;
        let mut buffer = self.surface.buffer_mut().map_err(fail)?;
        let older = match usize::from(buffer.age()) {
            // Contents unknown, or older than what is remembered.
            0 => None,
            age => (age - 1 <= self.history.len()).then(|| self.history.iter().take(age - 1)),
        };
        match older {
            None => {
                handed = vec![window.rect()];
                compose(scene, window.rect(), &mut buffer);
            }
            Some(older) => {
                for part in parts.iter().chain(older.flatten()) {
                    compose(scene, *part, &mut buffer);
                }
            }
        }
        let rects: Vec<softbuffer::Rect> = handed.iter().filter_map(softbuffer_rect).collect();
        // Until it is handed over, nothing is known about what the window shows.
        self.shown = None;
        buffer.present_with_damage(&rects).map_err(fail)?;
        if self.is_x11 {
            // Waits for the X server's answer to the last request, which first sends the requests on their way.
            drop(self.surface.buffer_mut().map_err(fail)?);
        }
        self.shown = Some(now);
        self.history.push_front(handed);
        self.history.truncate(HISTORY_MAX);
        Ok(())
    }

    /// Draws parts of the picture into the buffer that [`SoftPresenter::present`] hands over, so that less is left to do
    /// when the rest of the picture has come. Returns whether it did: only where there is one buffer, and the scene is
    /// shown already but for these parts.
    ///
    /// # Errors
    /// [`SoftError::Present`].
    ///
    /// # Panics
    /// As [`compose`].
    pub fn prepare(&mut self, scene: &Scene, parts: &[Rect]) -> Result<bool, SoftError> {
        let is_shown = self.shown == Some(Shown::of(scene));
        if !self.is_x11 || !is_shown {
            return Ok(false);
        }
        let mut buffer = self.surface.buffer_mut().map_err(|e| SoftError::Present(e.to_string()))?;
        if buffer.age() != 1 {
            return Ok(false);
        }
        for part in parts {
            compose(scene, scene.fit.window_from_picture(*part), &mut buffer);
        }
        Ok(true)
    }
}

impl Shown {
    fn of(scene: &Scene) -> Self {
        let painted = scene.overlay.map_or(Rect::default(), |o| o.painted.intersection(o.size.rect()));
        Self { fit: scene.fit, painted }
    }
}

#[cfg(not(windows))]
fn any_thread_window(window: Arc<Window>) -> AnyThreadWindow {
    window
}

#[cfg(windows)]
#[allow(unsafe_code, reason = "a window's handle goes to the screen thread")]
fn any_thread_window(window: Arc<Window>) -> AnyThreadWindow {
    use winit::platform::windows::WindowBorrowExtWindows as _;
    // SAFETY: softbuffer hands the handle to GDI alone (GetDC, BitBlt, ValidateRect, ReleaseDC), which takes it from any
    // thread, and the window lives as long as the surface, which holds it.
    unsafe { window.any_thread() }
}

/// Draws a part of a scene into the window's pixels, rows of `scene.fit.window.w` words 0x00RRGGBB.
///
/// # Panics
/// If `out` is smaller than the window, the overlay smaller than it says, or `scene.fit` is for another picture.
pub fn compose(scene: &Scene, area: Rect, out: &mut [u32]) {
    let fit = &scene.fit;
    assert_eq!(fit.picture, scene.picture.size, "the fit is for this picture");
    let area = area.intersection(fit.window.rect());
    if area.is_empty() {
        return;
    }
    let inner = area.intersection(fit.viewport);
    let mut scaler = Scaler::new(scene.picture, fit, inner);
    for y in area.y..area.bottom() {
        let row = &mut out[y as usize * fit.window.w as usize + area.x as usize..][..area.w as usize];
        if inner.is_empty() || y < inner.y || y >= inner.bottom() {
            row.fill(0);
        } else {
            let (before, rest) = row.split_at_mut((inner.x - area.x) as usize);
            let (pixels, after) = rest.split_at_mut(inner.w as usize);
            before.fill(0);
            after.fill(0);
            scaler.row(y - fit.viewport.y, pixels);
        }
        if let Some(overlay) = &scene.overlay {
            blend_row(overlay, Rect::new(area.x, y, area.w, 1), row);
        }
    }
}

/// Makes rows of the viewport, from the top down.
struct Scaler<'a> {
    picture: &'a Picture,
    fit: &'a Fit,
    /// First column to make.
    x: u32,
    /// The first and last source column under each column to make.
    columns: Vec<(u32, u32)>,
    /// Source rows from `rows_start` on, averaged to the columns to make: what the next row shares with this one.
    rows: VecDeque<Vec<[u32; 3]>>,
    rows_start: u32,
}

impl<'a> Scaler<'a> {
    fn new(picture: &'a Picture, fit: &'a Fit, inner: Rect) -> Self {
        let x = inner.x.saturating_sub(fit.viewport.x);
        let columns = if fit.is_exact() { x..x } else { x..x + inner.w };
        let columns = columns.map(|x| taps(x, fit.viewport.w, fit.picture.w, fit.filter)).collect();
        Self { picture, fit, x, columns, rows: VecDeque::new(), rows_start: 0 }
    }

    /// Makes row `y`, which is below all rows made before.
    fn row(&mut self, y: u32, out: &mut [u32]) {
        if self.fit.is_exact() {
            out.copy_from_slice(&self.picture.row(y)[self.x as usize..][..out.len()]);
            return;
        }
        let (top, bottom) = taps(y, self.fit.viewport.h, self.fit.picture.h, self.fit.filter);
        if self.fit.filter == Filter::Nearest {
            let source = self.picture.row(top);
            for (pixel, (column, _)) in out.iter_mut().zip(&self.columns) {
                *pixel = source[*column as usize];
            }
            return;
        }
        self.rows.drain(..self.rows.len().min((top - self.rows_start) as usize));
        self.rows_start = top;
        while top + (self.rows.len() as u32) <= bottom {
            self.rows.push_back(self.average_row(top + self.rows.len() as u32));
        }
        let h = self.fit.picture.h;
        let shares: Vec<u32> = (top..=bottom).map(|j| overlap(j, self.fit.viewport.h, y * h, h)).collect();
        let roots = roots();
        for (i, pixel) in out.iter_mut().enumerate() {
            let first = self.rows[0][i];
            // The average of equal values is that value, to the bit; most of an office screen is flat.
            *pixel = if self.rows.range(1..).all(|row| row[i] == first) {
                word(first.map(|c| roots[c as usize]))
            } else {
                let mut sum = [0; 3];
                for (row, share) in self.rows.iter().zip(&shares) {
                    for (s, c) in sum.iter_mut().zip(row[i]) {
                        *s += c * share;
                    }
                }
                word(sum.map(|s| roots[((s + h / 2) / h) as usize]))
            };
        }
    }

    /// Averages a source row over the columns. Averages squares, as light adds up, not as numbers do.
    fn average_row(&self, y: u32) -> Vec<[u32; 3]> {
        let (w, row) = (self.fit.picture.w, self.picture.row(y));
        let average = |((left, right), x): (&(u32, u32), u32)| {
            let source = &row[*left as usize..=*right as usize];
            if source.iter().all(|p| *p == source[0]) {
                return channels(source[0]).map(|c| c * c);
            }
            let mut sum = [0; 3];
            for (pixel, i) in source.iter().zip(*left..) {
                let share = overlap(i, self.fit.viewport.w, x * w, w);
                for (s, c) in sum.iter_mut().zip(channels(*pixel)) {
                    *s += c * c * share;
                }
            }
            sum.map(|s| (s + w / 2) / w)
        };
        self.columns.iter().zip(self.x..).map(average).collect()
    }
}

/// The first and last source pixel under pixel `at` of the viewport, along one side.
fn taps(at: u32, viewport: u32, picture: u32, filter: Filter) -> (u32, u32) {
    match filter {
        Filter::Nearest => {
            let nearest = ((at * 2 + 1) * picture / (viewport * 2)).min(picture - 1);
            (nearest, nearest)
        }
        Filter::Area => (at * picture / viewport, (at * picture + picture - 1) / viewport),
    }
}

/// How much of source pixel `i` lies in the viewport's pixel that starts at `start`, in units of 1 / (viewport side).
fn overlap(i: u32, source_unit: u32, start: u32, length: u32) -> u32 {
    ((i + 1) * source_unit).min(start + length) - (i * source_unit).max(start)
}

/// The square roots of 0 to 255 * 255, rounded to the nearest.
fn roots() -> &'static [u32] {
    static ROOTS: OnceLock<Vec<u32>> = OnceLock::new();
    ROOTS.get_or_init(|| {
        let root = |square: u32| {
            let r = square.isqrt();
            if square > r * r + r { r + 1 } else { r }
        };
        (0..=255 * 255).map(root).collect()
    })
}

/// Puts the overlay over a part of one row.
fn blend_row(overlay: &Overlay, row: Rect, out: &mut [u32]) {
    let part = row.intersection(overlay.painted).intersection(overlay.size.rect());
    if part.is_empty() {
        return;
    }
    let first = part.y as usize * overlay.size.w as usize + part.x as usize;
    let over = &overlay.pixels[first..][..part.w as usize];
    for (pixel, over) in out[(part.x - row.x) as usize..].iter_mut().zip(over) {
        match over >> 24 {
            0 if *over == 0 => {}
            255 => *pixel = over & 0x00ff_ffff,
            alpha => {
                let [r, g, b] = channels(*pixel).map(|c| (c * (255 - alpha) + 127) / 255);
                let [over_r, over_g, over_b] = channels(*over);
                *pixel = word([over_r + r, over_g + g, over_b + b].map(|c| c.min(255)));
            }
        }
    }
}

/// Red, green, blue.
fn channels(pixel: u32) -> [u32; 3] {
    [pixel >> 16 & 0xff, pixel >> 8 & 0xff, pixel & 0xff]
}

fn word([r, g, b]: [u32; 3]) -> u32 {
    r << 16 | g << 8 | b
}

/// The parts of the window that are to be drawn, and those to be handed over, which are these and what was prepared; none of
/// them empty.
fn changed_parts(before: Option<Shown>, now: Shown, damage: Damage) -> (Vec<Rect>, Vec<Rect>) {
    let window = now.fit.window.rect();
    let all = (vec![window], vec![window]);
    let (Some(before), Damage::Parts { picture, prepared, overlay }) = (before, damage) else { return all };
    if before.fit != now.fit {
        return all;
    }
    let in_window = |rects: &[Rect]| -> Vec<Rect> {
        let rects = rects.iter().map(|r| now.fit.window_from_picture(*r).intersection(window));
        rects.filter(|r| !r.is_empty()).collect()
    };
    let mut parts = in_window(picture);
    let pages = [overlay, before.painted, now.painted];
    let pages = if before.painted == now.painted { &pages[..1] } else { &pages[..] };
    parts.extend(pages.iter().map(|r| r.intersection(window)).filter(|r| !r.is_empty()));
    let handed = limited([&parts[..], &in_window(prepared)].concat());
    (limited(parts), handed)
}

/// The same, or the one rectangle around them if they are too many.
fn limited(parts: Vec<Rect>) -> Vec<Rect> {
    if parts.len() <= PARTS_MAX {
        return parts;
    }
    vec![parts.iter().fold(Rect::default(), |a, r| a.union(*r))]
}

fn softbuffer_rect(r: &Rect) -> Option<softbuffer::Rect> {
    Some(softbuffer::Rect { x: r.x, y: r.y, width: NonZeroU32::new(r.w)?, height: NonZeroU32::new(r.h)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geom::fit;

    fn picture(size: Size) -> Picture {
        let mut p = Picture::new(size);
        for (i, pixel) in p.pixels.iter_mut().enumerate() {
            *pixel = (i as u32).wrapping_mul(0x9e37_79b1) & 0x00ff_ffff;
        }
        p
    }

    #[test]
    fn whole_multiples_repeat_pixels_whatever_the_filter() {
        let p = picture(Size::new(13, 9));
        let mut f = fit(Size::new(39, 27), p.size);
        assert_eq!(f.filter, Filter::Nearest);
        for filter in [Filter::Nearest, Filter::Area] {
            f.filter = filter;
            let mut out = vec![1; 39 * 27];
            compose(&Scene { picture: &p, fit: f, overlay: None }, f.window.rect(), &mut out);
            for (i, pixel) in out.iter().enumerate() {
                assert_eq!(*pixel, p.row((i / 39 / 3) as u32)[i % 39 / 3]);
            }
        }
    }

    #[test]
    fn parts_make_the_same_picture_as_the_whole() {
        let p = picture(Size::new(50, 40));
        let pixels: Vec<u32> = (0..40 * 30).map(|i| 0x8000_0000 | (i % 0x80)).collect();
        let overlay = Overlay { pixels: &pixels, size: Size::new(40, 30), painted: Rect::new(5, 6, 20, 100) };
        let scene = Scene { picture: &p, fit: fit(Size::new(77, 45), p.size), overlay: Some(overlay) };
        let mut whole = vec![1; 77 * 45];
        compose(&scene, Rect::new(0, 0, 1000, 1000), &mut whole);
        let mut parts = vec![2; 77 * 45];
        for y in (0..45).step_by(7) {
            for x in (0..77).step_by(11) {
                compose(&scene, Rect::new(x, y, 11, 7), &mut parts);
            }
        }
        assert!(whole == parts);
    }

    #[test]
    fn halving_averages_light() {
        let p = Picture { size: Size::new(2, 1), pixels: vec![0, 0x00ff_ffff] };
        let f = Fit { filter: Filter::Area, ..fit(Size::new(1, 1), p.size) };
        let mut out = [0];
        compose(&Scene { picture: &p, fit: f, overlay: None }, f.window.rect(), &mut out);
        // The root of half of 255 * 255.
        assert_eq!(out[0], 0x00b4_b4b4);
    }

    #[test]
    fn only_what_changed_is_drawn() {
        let f = fit(Size::new(100, 100), Size::new(100, 100));
        let before = Shown { fit: f, painted: Rect::default() };
        let damage = [Rect::new(10, 10, 5, 5), Rect::new(99, 99, 50, 50), Rect::new(200, 0, 1, 1)];
        let parts = |now, picture: &[Rect], overlay| {
            let damage = Damage::Parts { picture, prepared: &[], overlay };
            let (parts, handed) = changed_parts(Some(before), now, damage);
            assert_eq!(parts, handed);
            parts
        };
        let none = Rect::default();
        assert_eq!(parts(before, &damage, none), [Rect::new(10, 10, 5, 5), Rect::new(99, 99, 1, 1)]);
        assert_eq!(parts(before, &[], none), []);
        let elsewhere = fit(Size::new(100, 100), Size::new(50, 50));
        assert_eq!(parts(Shown { fit: elsewhere, ..before }, &[], none), [f.window.rect()]);
        let painted = Rect::new(1, 2, 3, 4);
        assert_eq!(parts(Shown { painted, ..before }, &[], none), [painted]);
        let many = [Rect::new(3, 3, 1, 1); PARTS_MAX + 1];
        assert_eq!(parts(before, &many, painted), [painted]);
        let shown = |last, prepared: &[Rect]| {
            changed_parts(last, Shown { painted, ..before }, Damage::Parts { picture: &[], prepared, overlay: none })
        };
        let whole = vec![f.window.rect()];
        assert_eq!(shown(None, &damage), (whole.clone(), whole));
        let (drawn, handed) = shown(Some(before), &damage);
        assert_eq!((drawn, handed.len(), handed[0], handed[1]), (vec![painted], 3, painted, damage[0]));
        assert_eq!(shown(Some(before), &many), (vec![painted], vec![painted]));
    }
}
