//! Gives a headless X server's screen another size.
//!
//! One output fills the screen; others stay off. Used by `xserver` (at start) and `screen` (whenever the window changes).

use x11rb::{
    CURRENT_TIME,
    connection::Connection as _,
    protocol::{
        randr::{ConnectionExt as _, GetScreenResourcesCurrentReply, ModeFlag, ModeInfo, Rotation, SetConfig},
        xproto::{ConnectionExt as _, CreateWindowAux, WindowClass},
    },
    rust_connection::RustConnection,
};

use super::x11::X11Error;
use crate::geom::Size;

/// A screen could not take a size.
#[derive(Debug, thiserror::Error)]
pub enum ResizeError {
    /// Kachel does not do such sizes.
    #[error("{w}x{h} is outside {SIDE_MIN}x{SIDE_MIN} to {SIDE_MAX}x{SIDE_MAX}")]
    OutOfRange {
        /// Width asked for.
        w: u32,
        /// Height asked for.
        h: u32,
    },
    /// This server cannot; Xvfb never becomes larger than it was at its start.
    #[error("the X server's largest screen is {max_w}x{max_h}")]
    TooLarge {
        /// Largest width.
        max_w: u32,
        /// Largest height.
        max_h: u32,
    },
    /// There is nothing to set a mode on.
    #[error("the X server has no output that can be resized")]
    NoOutput,
    /// The server did not take the mode.
    #[error("the X server did not take the mode {0}")]
    Mode(String),
    /// The server failed.
    #[error(transparent)]
    X11(#[from] X11Error),
}

/// The screen's present size.
pub(super) fn size_of(conn: &RustConnection, root: u32) -> Result<Size, X11Error> {
    let root = conn.get_geometry(root)?.reply()?;
    Ok(Size::new(root.width.into(), root.height.into()))
}

/// Makes the screen exactly `size` large, in one step for everybody else; does nothing if it is.
///
/// Modes that this function made before are deleted, so that any number of resizes leaves one mode behind.
pub(super) fn resize(conn: &RustConnection, root: u32, size: Size) -> Result<(), ResizeError> {
    let sides = SIDE_MIN..=SIDE_MAX;
    if !sides.contains(&size.w) || !sides.contains(&size.h) {
        return Err(ResizeError::OutOfRange { w: size.w, h: size.h });
    }
    let range = conn.randr_get_screen_size_range(root).map_err(X11Error::from)?.reply().map_err(X11Error::from)?;
    let (max_w, max_h) = (range.max_width.into(), range.max_height.into());
    if size.w > max_w || size.h > max_h {
        return Err(ResizeError::TooLarge { max_w, max_h });
    }
    conn.grab_server().map_err(X11Error::from)?;
    let result = resize_grabbed(conn, root, size);
    conn.ungrab_server().map_err(X11Error::from)?.check().map_err(X11Error::from)?;
    result?;
    Ok(expose_all(conn, root, size)?)
}

/// Makes every program draw its windows again, as `xrefresh` does: the server keeps no pixels over a change of size, and
/// not every program that is told so at that moment listens.
fn expose_all(conn: &RustConnection, root: u32, size: Size) -> Result<(), X11Error> {
    let cover = conn.generate_id()?;
    let (w, h) = (size.w as u16, size.h as u16);
    let transparent = CreateWindowAux::new().override_redirect(1).background_pixmap(x11rb::NONE);
    let (depth, visual) = (x11rb::COPY_DEPTH_FROM_PARENT, x11rb::COPY_FROM_PARENT);
    conn.create_window(depth, cover, root, 0, 0, w, h, 0, WindowClass::INPUT_OUTPUT, visual, &transparent)?.check()?;
    conn.map_window(cover)?;
    conn.destroy_window(cover)?.check()?;
    Ok(())
}

fn resize_grabbed(conn: &RustConnection, root: u32, size: Size) -> Result<(), ResizeError> {
    let old = size_of(conn, root)?;
    let resources = resources(conn, root)?;
    let (crtc, output) = first_output(conn, &resources)?;
    let stale = own_modes(&resources);
    let name = mode_name(size);
    let known = stale.iter().find(|(_, mode_name)| *mode_name == name.as_bytes());
    let mode = match known {
        Some((id, _)) => *id,
        None => {
            let info = mode_info(size, name.len());
            let made = conn.randr_create_mode(root, info, name.as_bytes()).map_err(X11Error::from)?;
            made.reply().map_err(X11Error::from)?.mode
        }
    };
    // An error here means that the output has it already.
    let _ = conn.randr_add_output_mode(output, mode).map_err(X11Error::from)?.check();
    // The screen must hold both modes while the output changes from one to the other.
    let both = Size::new(old.w.max(size.w), old.h.max(size.h));
    if both != old {
        set_screen_size(conn, root, both)?;
    }
    let set = conn
        .randr_set_crtc_config(crtc, CURRENT_TIME, resources.config_timestamp, 0, 0, mode, Rotation::ROTATE0, &[output])
        .map_err(X11Error::from)?;
    if set.reply().map_err(X11Error::from)?.status != SetConfig::SUCCESS {
        return Err(ResizeError::Mode(name));
    }
    if both != size {
        set_screen_size(conn, root, size)?;
    }
    for (id, _) in stale.iter().filter(|(id, _)| *id != mode) {
        // A mode that another output has taken stays until the next time.
        let _ = conn.randr_delete_output_mode(output, *id).map_err(X11Error::from)?.check();
        let _ = conn.randr_destroy_mode(*id).map_err(X11Error::from)?.check();
    }
    Ok(())
}

fn resources(conn: &RustConnection, root: u32) -> Result<GetScreenResourcesCurrentReply, X11Error> {
    Ok(conn.randr_get_screen_resources_current(root)?.reply()?)
}

/// The output that is on, else the first one, with a CRTC for it.
fn first_output(conn: &RustConnection, resources: &GetScreenResourcesCurrentReply) -> Result<(u32, u32), ResizeError> {
    for crtc in &resources.crtcs {
        let info = conn.randr_get_crtc_info(*crtc, resources.config_timestamp).map_err(X11Error::from)?;
        if let Some(output) = info.reply().map_err(X11Error::from)?.outputs.first() {
            return Ok((*crtc, *output));
        }
    }
    match (resources.crtcs.first(), resources.outputs.first()) {
        (Some(crtc), Some(output)) => Ok((*crtc, *output)),
        _ => Err(ResizeError::NoOutput),
    }
}

fn set_screen_size(conn: &RustConnection, root: u32, size: Size) -> Result<(), X11Error> {
    let mm = |pixels: u32| (f64::from(pixels) * MM_PER_INCH / DOTS_PER_INCH).round() as u32;
    conn.randr_set_screen_size(root, size.w as u16, size.h as u16, mm(size.w), mm(size.h))?.check()?;
    Ok(())
}

/// Numbers and names of the modes that we made, now or in an earlier life.
fn own_modes(resources: &GetScreenResourcesCurrentReply) -> Vec<(u32, &[u8])> {
    let mut names = resources.names.as_slice();
    let mut own = Vec::new();
    for mode in &resources.modes {
        let (name, rest) = names.split_at(usize::from(mode.name_len).min(names.len()));
        names = rest;
        if name.starts_with(MODE_PREFIX.as_bytes()) {
            own.push((mode.id, name));
        }
    }
    own
}

fn mode_name(size: Size) -> String {
    format!("{MODE_PREFIX}{}x{}", size.w, size.h)
}

/// Timings that no monitor will ever see; only the size and 60 Hz mean something to programs.
fn mode_info(size: Size, name_len: usize) -> ModeInfo {
    let (w, h) = (size.w as u16, size.h as u16);
    let (htotal, vtotal) = (w + 48, h + 24);
    ModeInfo {
        id: 0,
        width: w,
        height: h,
        dot_clock: u32::from(htotal) * u32::from(vtotal) * REFRESH_HZ,
        hsync_start: w + 16,
        hsync_end: w + 32,
        htotal,
        hskew: 0,
        vsync_start: h + 8,
        vsync_end: h + 16,
        vtotal,
        name_len: name_len as u16,
        mode_flags: ModeFlag::from(0u32),
    }
}

/// Shorter or narrower screens break window managers.
const SIDE_MIN: u32 = 64;
/// The largest side of a Kachel screen.
const SIDE_MAX: u32 = 8192;
const MODE_PREFIX: &str = "kachel-";
const REFRESH_HZ: u32 = 60;
/// What the server tells programs about the size of its pixels; scaling is the desktop's own setting.
const DOTS_PER_INCH: f64 = 96.0;
const MM_PER_INCH: f64 = 25.4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_mode_has_a_clock_that_fits() {
        let info = mode_info(Size::new(SIDE_MAX, SIDE_MAX), 0);
        assert_eq!(info.dot_clock, (8192 + 48) * (8192 + 24) * 60);
    }
}
