//! The picture of an X server: what changed, the pixels, the pointer's shape, the size.
//!
//! One connection, driven by its owner: wait for [`Screen::as_fd`] only after [`Screen::poll_event`] said `None`.
//! Decides nothing about when to look; `host::session` does. Input goes another way: `inject`.

use std::{
    collections::{HashMap, VecDeque},
    ops::Range,
    os::fd::{AsFd, BorrowedFd},
    path::Path,
};

use memmap2::MmapMut;
use x11rb::{
    connection::Connection,
    errors::ReplyError,
    protocol::{
        ErrorKind, Event,
        damage::{ConnectionExt as _, ReportLevel},
        randr::ConnectionExt as _,
        shm::ConnectionExt as _,
        xfixes::{ConnectionExt as _, CursorNotifyMask},
        xkb::EventType,
        xproto::{
            AtomEnum, ChangeWindowAttributesAux, ConnectionExt as _, EventMask, ImageFormat, ImageOrder, MapState,
            PropMode, Rectangle,
        },
    },
    rust_connection::RustConnection,
    wrapper::ConnectionExt as _,
};

pub use super::randr::ResizeError;
pub use super::x11::X11Error;
use super::{
    keyboard::{self, LockLights},
    randr, x11,
};
use crate::geom::{Point, Rect, Size};
use crate::limits::CURSOR_SIDE_MAX;
use crate::proto::wire::LockKeys;

/// The picture of a screen could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ScreenError {
    /// The server failed.
    #[error(transparent)]
    X11(#[from] X11Error),
    /// Pixels are not 24 bits of colour in 32-bit little-endian words.
    #[error("the screen has {bits_per_pixel} bits a pixel at depth {depth}, only little-endian 24 in 32 will do")]
    PixelFormat {
        /// Bits of colour.
        depth: u8,
        /// Bits of memory.
        bits_per_pixel: u8,
    },
    /// The size could not be changed.
    #[error("the screen could not be resized")]
    Resize(#[from] ResizeError),
    /// The shared memory could not be mapped.
    #[error("the shared picture could not be mapped")]
    Map(#[from] std::io::Error),
}

/// Something happened on the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScreenEvent {
    /// Pixels may have changed; nothing more is said until [`Screen::take_damage`].
    Damaged,
    /// A window of this place was mapped; it covers what is there, perhaps only partly.
    Mapped(Rect),
    /// The pointer has another shape; [`Screen::cursor`] has it.
    Cursor,
    /// The screen has another size, whoever asked for it. All of the picture is out of date.
    Resized(Size),
    /// Lock keys went on or off.
    Locks(LockKeys),
}

/// What became of a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capture {
    /// The rows are in the picture.
    Complete,
    /// The screen changed its size meanwhile; a [`ScreenEvent::Resized`] follows and the picture is out of date.
    Outdated,
}

/// A pointer shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CursorImage {
    /// The server's number for this shape; equal numbers mean equal shapes while the server lives.
    pub serial: u32,
    /// At most 256x256; larger ones are cut at the right and bottom.
    pub size: Size,
    /// The pixel that points, inside `size`.
    pub hot: Point,
    /// `size.w * size.h` words 0xAARRGGBB in row order, colours multiplied by alpha.
    pub argb_premultiplied: Vec<u32>,
}

/// One connection that watches the whole screen of an X server.
pub struct Screen {
    conn: RustConnection,
    root: u32,
    size: Size,
    damage: u32,
    region: u32,
    lights: LockLights,
    locks: LockKeys,
    picture: Picture,
    pending: VecDeque<ScreenEvent>,
    windows: Windows,
}

/// The windows on the root that are mapped, and what was behind them.
///
/// A window with a backing store that is uncovered comes out of it without a word: X.Org 21.1 and Xvfb report no damage for
/// that. So what a window leaves counts as damaged.
#[derive(Debug, Default)]
struct Windows {
    places: HashMap<u32, Rect>,
    /// Places that were left since the last [`Screen::take_damage`].
    left: Vec<Rect>,
}

/// Places that are remembered one by one; more become one.
const LEFT_MAX: usize = 64;

/// Where the pixels are; `size.area()` words.
enum Picture {
    /// Memory that the server writes into; 0 words of copying.
    Shared { segment: u32, map: MmapMut },
    /// Filled through the socket, where the server shares no memory with us.
    Own(Vec<u32>),
}

impl Screen {
    /// Connects to a display and watches it. Without `xauthority` the environment's cookie file is used.
    ///
    /// The picture is black until the first [`Screen::capture`]; the first event is `Damaged`.
    ///
    /// # Errors
    /// [`ScreenError::X11`] if the server cannot be reached or lacks DAMAGE, XFIXES, RANDR or XKB;
    /// [`ScreenError::PixelFormat`] if its pixels are of another kind.
    pub fn connect(display: &str, xauthority: Option<&Path>) -> Result<Self, ScreenError> {
        let (conn, screen) = x11::connect(display, xauthority)?;
        let setup = &conn.setup().roots[screen];
        let (root, depth) = (setup.root, setup.root_depth);
        check_pixels(&conn, depth)?;
        let (damage, region, lights) = watch(&conn, root)?;
        let (locks, _) = lights.read(&conn)?;
        let size = randr::size_of(&conn, root)?;
        let picture = new_picture(&conn, size)?;
        let pending = VecDeque::from([ScreenEvent::Damaged]);
        let windows = Windows { places: places_of(&conn, root)?, left: Vec::new() };
        Ok(Self { conn, root, size, damage, region, lights, locks, picture, pending, windows })
    }

    /// Takes the next event; `None` when all that the server has sent so far is read.
    ///
    /// Replies to other calls bring events with them, so drain this after each of them before waiting for the socket.
    ///
    /// # Errors
    /// [`ScreenError::X11`] when the server is gone.
    pub fn poll_event(&mut self) -> Result<Option<ScreenEvent>, ScreenError> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Ok(Some(event));
            }
            let Some(event) = self.conn.poll_for_event().map_err(X11Error::from)? else { return Ok(None) };
            self.handle_event(event)?;
        }
    }

    /// Adds to `out` the rectangles that changed since the last call, at least all that did, in no order.
    ///
    /// The server reports too much rather than too little: compare pixels before sending any.
    ///
    /// # Errors
    /// [`ScreenError::X11`] when the server is gone.
    pub fn take_damage(&mut self, out: &mut Vec<Rect>) -> Result<(), ScreenError> {
        self.conn.damage_subtract(self.damage, x11rb::NONE, self.region).map_err(X11Error::from)?;
        let reply = self.conn.xfixes_fetch_region(self.region).map_err(X11Error::from)?;
        let reply = reply.reply().map_err(X11Error::from)?;
        let screen = self.size.rect();
        let rects = reply.rectangles.iter().map(rect_from_x).chain(self.windows.left.drain(..));
        out.extend(rects.map(|r| r.intersection(screen)).filter(|r| !r.is_empty()));
        Ok(())
    }

    /// Reads whole rows of the screen into the picture, each at its place. Rows outside the screen are ignored.
    ///
    /// The pointer is never in it.
    ///
    /// # Errors
    /// [`ScreenError::X11`] when the server is gone.
    pub fn capture(&mut self, rows: &[Range<u32>]) -> Result<Capture, ScreenError> {
        let height = self.size.h;
        let strips = rows.iter().map(|rows| rows.start..rows.end.min(height)).filter(|rows| rows.start < rows.end);
        let result = match &mut self.picture {
            Picture::Shared { segment, .. } => read_shared(&self.conn, self.root, self.size.w, *segment, strips),
            Picture::Own(words) => read_through_socket(&self.conn, self.root, self.size.w, words, strips),
        };
        match result {
            Ok(()) => Ok(Capture::Complete),
            // The rows are no longer all on the screen: somebody made it smaller, and the event is still on its way.
            Err(ReplyError::X11Error(error)) if error.error_kind == ErrorKind::Match => {
                let size = randr::size_of(&self.conn, self.root)?;
                if size == self.size {
                    return Err(X11Error::from(ReplyError::X11Error(error)).into());
                }
                self.adopt(size)?;
                Ok(Capture::Outdated)
            }
            Err(error) => Err(X11Error::from(error).into()),
        }
    }

    /// Gives the screen another size, exactly, and answers with the size it has then.
    ///
    /// A [`ScreenEvent::Resized`] follows if it changed. Sides from 64 to 8192; Xvfb cannot grow beyond its first size.
    ///
    /// # Errors
    /// [`ScreenError::Resize`] if the server cannot; the old size is then kept.
    pub fn resize(&mut self, size: Size) -> Result<Size, ScreenError> {
        if size != self.size {
            randr::resize(&self.conn, self.root, size)?;
            self.adopt(randr::size_of(&self.conn, self.root)?)?;
        }
        Ok(self.size)
    }

    /// Tells programs how large text is to be: `Xft.dpi` among the display's resources, 96 for 100 %. What else stands
    /// there stays. Returns whether it was another.
    ///
    /// # Errors
    /// [`ScreenError::X11`] when the server is gone.
    pub fn set_text_scale(&self, percent: u16) -> Result<bool, ScreenError> {
        let wanted = dots_per_inch(percent);
        let (property, kind) = (AtomEnum::RESOURCE_MANAGER, AtomEnum::STRING);
        let request = self.conn.get_property(false, self.root, property, kind, 0, RESOURCES_MAX / 4);
        let before = request.map_err(X11Error::from)?.reply().map_err(X11Error::from)?.value;
        let Some(after) = with_text_size(&String::from_utf8_lossy(&before), wanted) else { return Ok(false) };
        let request = self.conn.change_property8(PropMode::REPLACE, self.root, property, kind, after.as_bytes());
        request.map_err(X11Error::from)?.check().map_err(X11Error::from)?;
        Ok(true)
    }

    /// Has the server draw no pointer, as long as this connection lives: the viewer draws it. [`Screen::cursor`] and its
    /// event go on.
    ///
    /// A pointer in the framebuffer hides changes: when X.Org 21.1 saves what is under it, windows with an alpha channel are
    /// painted anew meanwhile (they are redirected), and that is then reported to nobody.
    ///
    /// # Errors
    /// [`ScreenError::X11`] when the server is gone.
    pub fn hide_pointer(&self) -> Result<(), ScreenError> {
        self.conn.xfixes_hide_cursor(self.root).map_err(X11Error::from)?.check().map_err(X11Error::from)?;
        Ok(())
    }

    /// Fetches the pointer's shape; `None` if the server will not show it, then the last one stays.
    ///
    /// # Errors
    /// [`ScreenError::X11`] when the server is gone.
    pub fn cursor(&mut self) -> Result<Option<CursorImage>, ScreenError> {
        let reply = self.conn.xfixes_get_cursor_image().map_err(X11Error::from)?.reply();
        match reply {
            Ok(reply) => Ok(Some(cursor_from_x(
                reply.cursor_serial,
                Size::new(reply.width.into(), reply.height.into()),
                Point { x: reply.xhot.into(), y: reply.yhot.into() },
                &reply.cursor_image,
            ))),
            // BadAccess when the program that made it has gone, BadCursor before the first one is shown.
            Err(ReplyError::X11Error(_)) => Ok(None),
            Err(error) => Err(X11Error::from(error).into()),
        }
    }

    /// The picture as last captured: `size().area()` words in row order, no padding.
    ///
    /// A word is 0x??RRGGBB; the top byte is undefined, so mask it before comparing.
    pub fn pixels(&self) -> &[u32] {
        match &self.picture {
            Picture::Shared { map, .. } => bytemuck::cast_slice(map),
            Picture::Own(words) => words,
        }
    }

    /// The size of the picture.
    pub fn size(&self) -> Size {
        self.size
    }

    /// Which lock keys are on, as far as events have been taken.
    pub fn locks(&self) -> LockKeys {
        self.locks
    }

    /// Whether the server writes pixels into memory that we share, instead of sending them.
    pub fn shares_memory(&self) -> bool {
        matches!(self.picture, Picture::Shared { .. })
    }

    fn handle_event(&mut self, event: Event) -> Result<(), ScreenError> {
        match event {
            Event::DamageNotify(_) => self.pending.push_back(ScreenEvent::Damaged),
            Event::XfixesCursorNotify(_) => self.pending.push_back(ScreenEvent::Cursor),
            Event::ConfigureNotify(event) if event.window == self.root => {
                // Several may wait and all but the last are history; ask what holds now.
                let told = Size::new(event.width.into(), event.height.into());
                if told != self.size {
                    self.adopt(randr::size_of(&self.conn, self.root)?)?;
                }
            }
            Event::MapNotify(event) if event.event == self.root => {
                let geometry = self.conn.get_geometry(event.window).map_err(X11Error::from)?;
                // It may be gone again.
                if let Ok(g) = geometry.reply() {
                    let place = place(g.x, g.y, g.width, g.height, g.border_width);
                    self.windows.places.insert(event.window, place);
                    let place = place.intersection(self.size.rect());
                    if !place.is_empty() {
                        self.pending.push_back(ScreenEvent::Mapped(place));
                    }
                }
            }
            Event::ConfigureNotify(e) if e.event == self.root => {
                self.move_window(e.window, place(e.x, e.y, e.width, e.height, e.border_width));
            }
            Event::UnmapNotify(event) if event.event == self.root => {
                self.leave(event.window);
            }
            Event::DestroyNotify(event) if event.event == self.root => {
                self.leave(event.window);
            }
            Event::ReparentNotify(event) if event.event == self.root && event.parent != self.root => {
                self.leave(event.window);
            }
            Event::XkbIndicatorStateNotify(_) | Event::XkbNewKeyboardNotify(_) => {
                let (locks, _) = self.lights.read(&self.conn)?;
                if locks != self.locks {
                    self.locks = locks;
                    self.pending.push_back(ScreenEvent::Locks(locks));
                }
            }
            Event::Error(error) => tracing::debug!(?error.error_kind, "X server refused a request"),
            _ => {}
        }
        Ok(())
    }

    /// A window has another place, or another one above it: it leaves what it may no longer cover.
    fn move_window(&mut self, window: u32, to: Rect) {
        if self.leave(window) {
            self.windows.places.insert(window, to);
        }
    }

    /// A window leaves its place; whether it had one.
    fn leave(&mut self, window: u32) -> bool {
        let Some(place) = self.windows.places.remove(&window) else { return false };
        let left = &mut self.windows.left;
        if left.is_empty() {
            self.pending.push_back(ScreenEvent::Damaged);
        }
        if left.len() == LEFT_MAX {
            let all = left.drain(..).fold(place, Rect::union);
            left.push(all);
        } else {
            left.push(place);
        }
        true
    }

    /// Takes note of another size and makes a picture for it.
    fn adopt(&mut self, size: Size) -> Result<(), ScreenError> {
        if size == self.size {
            return Ok(());
        }
        if let Picture::Shared { segment, .. } = &self.picture {
            self.conn.shm_detach(*segment).map_err(X11Error::from)?;
        }
        self.picture = new_picture(&self.conn, size)?;
        self.size = size;
        self.pending.push_back(ScreenEvent::Resized(size));
        Ok(())
    }
}

impl AsFd for Screen {
    /// Readable when the server has said something new. What was read already does not show here, see `poll_event`.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.conn.stream().as_fd()
    }
}

/// Pixels must be words that need no conversion.
fn check_pixels(conn: &RustConnection, depth: u8) -> Result<(), ScreenError> {
    let setup = conn.setup();
    let format = setup.pixmap_formats.iter().find(|format| format.depth == depth);
    let bits_per_pixel = format.map_or(0, |format| format.bits_per_pixel);
    let little = setup.image_byte_order == ImageOrder::LSB_FIRST && cfg!(target_endian = "little");
    if matches!(depth, 24 | 32) && bits_per_pixel == 32 && little {
        Ok(())
    } else {
        Err(ScreenError::PixelFormat { depth, bits_per_pixel })
    }
}

/// Asks for all events that a [`Screen`] understands; gives the damage, a region to collect it, and the lock lights.
fn watch(conn: &RustConnection, root: u32) -> Result<(u32, u32, LockLights), X11Error> {
    conn.xfixes_query_version(5, 0)?.reply()?;
    conn.damage_query_version(1, 1)?.reply()?;
    conn.randr_query_version(1, 5)?.reply()?;
    let structure =
        ChangeWindowAttributesAux::new().event_mask(EventMask::STRUCTURE_NOTIFY | EventMask::SUBSTRUCTURE_NOTIFY);
    conn.change_window_attributes(root, &structure)?.check()?;
    conn.xfixes_select_cursor_input(root, CursorNotifyMask::DISPLAY_CURSOR)?.check()?;
    keyboard::watch(conn, EventType::INDICATOR_STATE_NOTIFY | EventType::NEW_KEYBOARD_NOTIFY)?;
    let (damage, region) = (conn.generate_id()?, conn.generate_id()?);
    conn.xfixes_create_region(region, &[])?.check()?;
    conn.damage_create(damage, root, ReportLevel::NON_EMPTY)?.check()?;
    Ok((damage, region, LockLights::new(conn)?))
}

fn new_picture(conn: &RustConnection, size: Size) -> Result<Picture, ScreenError> {
    match share_memory(conn, size) {
        Ok(picture) => Ok(picture),
        Err(ScreenError::X11(error)) => {
            tracing::warn!(%error, "X server shares no memory, pixels come through the socket");
            Ok(Picture::Own(vec![0; size.area() as usize]))
        }
        Err(error) => Err(error),
    }
}

/// Has the server make a segment of exactly the screen's size and maps it.
#[allow(unsafe_code, reason = "mapping memory that another process writes")]
fn share_memory(conn: &RustConnection, size: Size) -> Result<Picture, ScreenError> {
    let bytes = size.area() as usize * 4;
    let made = (|| {
        let segment = conn.generate_id()?;
        let reply = conn.shm_create_segment(segment, bytes as u32, false)?.reply()?;
        Ok((segment, reply.shm_fd))
    })();
    let (segment, fd) = made.map_err(|error: x11rb::errors::ReplyOrIdError| X11Error::from(error))?;
    // SAFETY: The server writes the segment only while it answers our GetImage, and each such call holds `&mut Screen`
    // until the last answer, so no `&[u32]` of it lives then. The server is the session's own or one that we were told
    // to attach to; it keeps the segment's length, which it made `bytes` long for us.
    let map = unsafe { memmap2::MmapOptions::new().len(bytes).map_mut(&fd)? };
    Ok(Picture::Shared { segment, map })
}

/// Asks for all strips at once and then collects the answers.
fn read_shared(
    conn: &RustConnection,
    root: u32,
    width: u32,
    segment: u32,
    strips: impl Iterator<Item = Range<u32>>,
) -> Result<(), ReplyError> {
    let format = ImageFormat::Z_PIXMAP.into();
    let mut cookies = Vec::new();
    for rows in strips {
        let (y, height, offset) = (rows.start as i16, (rows.end - rows.start) as u16, rows.start * width * 4);
        cookies.push(conn.shm_get_image(root, 0, y, width as u16, height, !0, format, segment, offset)?);
    }
    // Every answer is awaited even after a failure: until then the server may still write.
    let results: Vec<_> = cookies.into_iter().map(|cookie| cookie.reply()).collect();
    results.into_iter().try_for_each(|reply| reply.map(drop))
}

fn read_through_socket(
    conn: &RustConnection,
    root: u32,
    width: u32,
    words: &mut [u32],
    strips: impl Iterator<Item = Range<u32>>,
) -> Result<(), ReplyError> {
    for rows in strips {
        let (y, height) = (rows.start as i16, (rows.end - rows.start) as u16);
        let reply = conn.get_image(ImageFormat::Z_PIXMAP, root, 0, y, width as u16, height, !0)?.reply()?;
        let at = (rows.start * width) as usize;
        for (word, bytes) in words[at..].iter_mut().zip(reply.data.chunks_exact(4)) {
            *word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
    }
    Ok(())
}

/// The places of the windows on the root that are mapped.
fn places_of(conn: &RustConnection, root: u32) -> Result<HashMap<u32, Rect>, X11Error> {
    let windows = conn.query_tree(root)?.reply()?.children;
    let ask = |window: &u32| Ok((*window, conn.get_window_attributes(*window)?, conn.get_geometry(*window)?));
    let asked: Vec<_> = windows.iter().map(ask).collect::<Result<_, X11Error>>()?;
    // One that has gone meanwhile has no place.
    let answered = asked.into_iter().filter_map(|(window, attributes, geometry)| {
        let (attributes, g) = (attributes.reply(), geometry.reply().ok()?);
        let is_mapped = attributes.is_ok_and(|a| a.map_state != MapState::UNMAPPED);
        is_mapped.then(|| (window, place(g.x, g.y, g.width, g.height, g.border_width)))
    });
    Ok(answered.collect())
}

/// Where a window is, with its border.
fn place(x: i16, y: i16, width: u16, height: u16, border: u16) -> Rect {
    let outer = |inner: u16| inner.saturating_add(border.saturating_mul(2));
    rect_from_x(&Rectangle { x, y, width: outer(width), height: outer(height) })
}

fn rect_from_x(rect: &Rectangle) -> Rect {
    // The root's origin is 0,0: what is at a negative place is outside it.
    let start = |v: i16| u32::from(v.max(0).unsigned_abs());
    let length = |v: i16, len: u16| (i32::from(v) + i32::from(len)).max(0).unsigned_abs() - start(v);
    Rect::new(start(rect.x), start(rect.y), length(rect.x, rect.width), length(rect.y, rect.height))
}

/// Cuts a shape to what Kachel sends; a server that gives too few pixels gets an empty one.
fn cursor_from_x(serial: u32, full: Size, hot: Point, pixels: &[u32]) -> CursorImage {
    let size = Size::new(full.w.min(CURSOR_SIDE_MAX), full.h.min(CURSOR_SIDE_MAX));
    let (width, row) = (full.w.max(1) as usize, size.w as usize);
    let words: Vec<u32> = pixels.chunks_exact(width).take(size.h as usize).flat_map(|r| &r[..row]).copied().collect();
    if size.is_empty() || words.len() as u64 != size.area() {
        return CursorImage { serial, size: Size::default(), hot: Point::default(), argb_premultiplied: Vec::new() };
    }
    let hot = Point { x: hot.x.min(size.w - 1), y: hot.y.min(size.h - 1) };
    CursorImage { serial, size, hot, argb_premultiplied: words }
}

/// Most bytes of a display's resources that are read.
const RESOURCES_MAX: u32 = 256 << 10;

/// What a scale means to programs: dots to an inch of text.
pub fn dots_per_inch(percent: u16) -> u32 {
    (u32::from(percent) * 96 + 50) / 100
}

/// A display's resources with another size of text; none if they say so already, or nothing and nothing need be said.
fn with_text_size(resources: &str, dpi: u32) -> Option<String> {
    const NAME: &str = "Xft.dpi:";
    let said = resources.lines().rev().find_map(|line| line.strip_prefix(NAME)).map(str::trim);
    if said.map_or(dpi == 96, |said| said.parse() == Ok(dpi)) {
        return None;
    }
    let others = resources.lines().filter(|line| !line.starts_with(NAME)).map(|line| format!("{line}\n"));
    Some(others.collect::<String>() + &format!("{NAME}\t{dpi}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_text_is_one_resource_among_others() {
        let other = "*customization: -color\nXft.hinting:\t1\n";
        assert_eq!(with_text_size(other, 96), None);
        let larger = with_text_size(other, 144).expect("another size");
        assert_eq!(larger, format!("{other}Xft.dpi:\t144\n"));
        assert_eq!(with_text_size(&larger, 144), None);
        assert_eq!(with_text_size(&larger, 96), Some(format!("{other}Xft.dpi:\t96\n")));
        assert_eq!([50, 100, 125, 400].map(dots_per_inch), [48, 96, 120, 384]);
    }

    #[test]
    fn large_cursors_are_cut_and_point_inside() {
        let full = Size::new(300, 2);
        let pixels: Vec<u32> = (0..600).collect();
        let cursor = cursor_from_x(9, full, Point { x: 299, y: 1 }, &pixels);
        assert_eq!((cursor.size, cursor.hot), (Size::new(256, 2), Point { x: 255, y: 1 }));
        assert_eq!((cursor.argb_premultiplied[255], cursor.argb_premultiplied[256]), (255, 300));
    }

    #[test]
    fn cursors_with_missing_pixels_are_empty() {
        assert!(cursor_from_x(1, Size::new(4, 4), Point::default(), &[0; 15]).size.is_empty());
        assert!(cursor_from_x(1, Size::new(0, 0), Point::default(), &[]).argb_premultiplied.is_empty());
    }

    #[test]
    fn rectangles_outside_the_root_are_clipped() {
        let rect = x11rb::protocol::xproto::Rectangle { x: -5, y: 3, width: 10, height: 4 };
        assert_eq!(rect_from_x(&rect), Rect::new(0, 3, 5, 4));
    }
}
