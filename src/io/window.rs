//! What winit leaves to chance: what a window shows where nothing is drawn yet, and how a pointer's colours are meant.
//!
//! X11: the old picture stays at the top left while the window is resized, and what is new is black like the bars.

use winit::raw_window_handle::{HasWindowHandle, RawWindowHandle};

/// Whether winit hands a pointer's colours on as they are to a window system that wants them multiplied by alpha. It asks
/// for straight ones, and multiplies them for Wayland; X11's come out too bright where they are translucent.
pub fn wants_multiplied_pointers(window: &impl HasWindowHandle) -> bool {
    let handle = window.window_handle().map(|handle| handle.as_raw());
    matches!(handle, Ok(RawWindowHandle::Xlib(_) | RawWindowHandle::Xcb(_)))
}

/// Makes the window's new parts black. Where the window system has no such thing, nothing happens: it is only looks.
#[cfg(not(target_os = "linux"))]
pub fn blacken_new_parts(_: &impl HasWindowHandle) {}

/// Makes the window's new parts black. Where the window system has no such thing, nothing happens: it is only looks.
#[cfg(target_os = "linux")]
pub fn blacken_new_parts(window: &impl HasWindowHandle) {
    use x11rb::connection::Connection as _;
    use x11rb::protocol::xproto::{ChangeWindowAttributesAux, ConnectionExt as _, Gravity};

    let id = match window.window_handle().map(|handle| handle.as_raw()) {
        Ok(RawWindowHandle::Xlib(handle)) => handle.window as u32,
        Ok(RawWindowHandle::Xcb(handle)) => handle.window.get(),
        _ => return,
    };
    let Ok((connection, _)) = x11rb::connect(None) else { return };
    let look = ChangeWindowAttributesAux::new().background_pixel(0).bit_gravity(Gravity::NORTH_WEST);
    let told = connection.change_window_attributes(id, &look).is_ok() && connection.flush().is_ok();
    tracing::debug!(told, "Background of the window");
    // The answer to any request says that the one before has been done.
    if let Ok(cookie) = connection.get_input_focus() {
        let _ = cookie.reply();
    }
}
