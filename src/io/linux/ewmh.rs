//! What window managers tell and take by the Extended Window Manager Hints: being there, placing windows.
//!
//! Used by `desktop` only.

use std::time::{Duration, Instant};

use x11rb::{
    connection::Connection,
    protocol::xproto::{
        AtomEnum, ChangeWindowAttributesAux, ClientMessageEvent, ConnectionExt as _, EventMask, Window,
    },
    rust_connection::RustConnection,
};

use super::{process::wait_readable, x11::X11Error};
use crate::geom::Rect;

/// The root window and the hints on it.
pub(super) struct Hints {
    conn: RustConnection,
    root: Window,
    supporting: u32,
    client_list: u32,
    work_area: u32,
    frame_extents: u32,
    move_resize: u32,
    active: u32,
}

impl Hints {
    /// Starts to listen for changes of hints.
    pub(super) fn new(conn: RustConnection, screen: usize) -> Result<Self, X11Error> {
        let root = conn.setup().roots[screen].root;
        let changes = ChangeWindowAttributesAux::new().event_mask(EventMask::PROPERTY_CHANGE);
        conn.change_window_attributes(root, &changes)?.check()?;
        let atom = |name: &str| Ok::<u32, X11Error>(conn.intern_atom(false, name.as_bytes())?.reply()?.atom);
        let supporting = atom("_NET_SUPPORTING_WM_CHECK")?;
        let (client_list, work_area) = (atom("_NET_CLIENT_LIST")?, atom("_NET_WORKAREA")?);
        let (frame_extents, move_resize) = (atom("_NET_FRAME_EXTENTS")?, atom("_NET_MOVERESIZE_WINDOW")?);
        let active = atom("_NET_ACTIVE_WINDOW")?;
        Ok(Self { conn, root, supporting, client_list, work_area, frame_extents, move_resize, active })
    }

    /// Gives the empty screen a colour.
    pub(super) fn paint_root(&self, color: u32) -> Result<(), X11Error> {
        let look = ChangeWindowAttributesAux::new().background_pixel(color);
        self.conn.change_window_attributes(self.root, &look)?.check()?;
        self.conn.clear_area(false, self.root, 0, 0, 0, 0)?.check()?;
        Ok(())
    }

    /// Waits until a window manager has the screen; false if none has by `deadline` or when `alive` says no.
    pub(super) fn wait_for_manager(&self, deadline: Instant, alive: impl Fn() -> bool) -> Result<bool, X11Error> {
        self.wait(deadline, alive, || {
            // An earlier window manager's word may still be there; its window is not.
            let Some(window) = self.words(self.root, self.supporting, AtomEnum::WINDOW)?.first().copied() else {
                return Ok(false);
            };
            Ok(self.conn.get_geometry(window)?.reply().is_ok())
        })
    }

    /// Waits until each program has a window and lays these out side by side; the window at `front` gets the keyboard.
    ///
    /// A program without a window by `deadline` keeps its place free.
    pub(super) fn tile(&self, programs: &[String], front: usize, deadline: Instant) -> Result<(), X11Error> {
        let all = || self.windows_of(programs);
        self.wait(deadline, || true, || Ok(all()?.iter().all(Option::is_some)))?;
        let area = match self.words(self.root, self.work_area, AtomEnum::CARDINAL)?.as_slice() {
            [x, y, w, h, ..] => Rect::new(*x, *y, *w, *h),
            _ => {
                let root = self.conn.get_geometry(self.root)?.reply()?;
                Rect::new(0, 0, root.width.into(), root.height.into())
            }
        };
        let windows = all()?;
        for (place, window) in places(area, programs.len()).into_iter().zip(&windows) {
            if let Some(window) = window {
                self.place(*window, place)?;
            }
        }
        if let Some(Some(window)) = windows.get(front) {
            self.send(*window, self.active, [FROM_PAGER, x11rb::CURRENT_TIME, 0, 0, 0])?;
        }
        Ok(self.conn.flush()?)
    }

    fn place(&self, window: Window, place: Rect) -> Result<(), X11Error> {
        let frame = self.words(window, self.frame_extents, AtomEnum::CARDINAL)?;
        let (across, along) = match frame.as_slice() {
            [left, right, top, bottom] => (left + right, top + bottom),
            _ => (0, 0),
        };
        let (w, h) = (place.w.saturating_sub(across), place.h.saturating_sub(along));
        self.send(window, self.move_resize, [PLACE_ALL, place.x, place.y, w, h])
    }

    /// The newest window of each program, told by its class.
    fn windows_of(&self, programs: &[String]) -> Result<Vec<Option<Window>>, X11Error> {
        let mut found = vec![None; programs.len()];
        for window in self.words(self.root, self.client_list, AtomEnum::WINDOW)? {
            let class = self.conn.get_property(false, window, AtomEnum::WM_CLASS, AtomEnum::STRING, 0, 64)?;
            // The window may be gone again.
            let Ok(class) = class.reply() else { continue };
            let class = String::from_utf8_lossy(&class.value).to_lowercase();
            for (slot, program) in found.iter_mut().zip(programs) {
                if class.contains(program.as_str()) {
                    *slot = Some(window);
                }
            }
        }
        Ok(found)
    }

    /// A property's 32-bit words; empty where it is missing.
    fn words(&self, window: Window, property: u32, kind: AtomEnum) -> Result<Vec<u32>, X11Error> {
        let reply = self.conn.get_property(false, window, property, kind, 0, WORDS_MAX)?.reply()?;
        Ok(reply.value32().map(Iterator::collect).unwrap_or_default())
    }

    fn send(&self, window: Window, kind: u32, words: [u32; 5]) -> Result<(), X11Error> {
        let event = ClientMessageEvent::new(32, window, kind, words);
        let mask = EventMask::SUBSTRUCTURE_REDIRECT | EventMask::SUBSTRUCTURE_NOTIFY;
        self.conn.send_event(false, self.root, mask, event)?;
        Ok(())
    }

    /// Looks again whenever a hint changes.
    fn wait(
        &self,
        deadline: Instant,
        alive: impl Fn() -> bool,
        holds: impl Fn() -> Result<bool, X11Error>,
    ) -> Result<bool, X11Error> {
        loop {
            if holds()? {
                return Ok(true);
            }
            if !alive() || Instant::now() >= deadline {
                return Ok(false);
            }
            // The answers above may have brought events along, and then the socket stays silent.
            let mut news = false;
            while self.conn.poll_for_event()?.is_some() {
                news = true;
            }
            if !news {
                // The limit is for a death, which says nothing here, and for properties of other windows.
                wait_readable(self.conn.stream(), LOOK_AGAIN);
            }
        }
    }
}

/// Two columns with a margin; a last odd one takes the whole row.
fn places(area: Rect, count: usize) -> Vec<Rect> {
    let count = count as u32;
    let rows = count.div_ceil(2).max(1);
    let height = area.h / rows;
    let place = |i: u32| {
        let alone = count % 2 == 1 && i + 1 == count;
        let width = if alone { area.w } else { area.w / 2 };
        let (x, y) = (area.x + i % 2 * width, area.y + i / 2 * height);
        let (w, h) = (width.saturating_sub(2 * MARGIN), height.saturating_sub(2 * MARGIN));
        Rect::new(x + MARGIN, y + MARGIN, w, h)
    };
    (0..count).map(place).collect()
}

/// Pixels around a tiled window.
const MARGIN: u32 = 8;
/// Source indication 2: a tool of the user's, which window managers obey at once.
const FROM_PAGER: u32 = 2;
/// North-west gravity, x, y, width and height given, source indication 2.
const PLACE_ALL: u32 = 1 | 0b1111 << 8 | FROM_PAGER << 12;
/// More windows than anybody opens.
const WORDS_MAX: u32 = 1024;
const LOOK_AGAIN: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_do_not_overlap_and_stay_inside() {
        let area = Rect::new(0, 30, 1600, 970);
        for count in 0..6 {
            let places = places(area, count);
            assert_eq!(places.len(), count);
            assert!(places.iter().all(|place| area.contains(*place)));
            assert!((0..count).all(|i| (0..i).all(|k| !places[i].intersects(places[k]))));
        }
    }
}
