//! What winit leaves to chance: what a window shows where nothing is drawn yet, what a GPU draws into while it is resized,
//! and how a pointer's colours are meant.
//!
//! X11: the old picture stays at the top left while the window is resized, and what is new is black like the bars.

use crate::geom::Size;
use std::sync::Arc;
use winit::dpi::PhysicalSize;
use winit::event_loop::ActiveEventLoop;
use winit::raw_window_handle::{HasWindowHandle, RawWindowHandle};
use winit::window::{Window, WindowAttributes};

/// What is drawn into: a window, or on X11 a child of it that has the size of what is drawn.
///
/// A GPU's image is made for one size, and copied when the user's hand has gone on to another: OpenGL then leaves rows that
/// were never drawn beside it (wgpu copies into the lower left corner of what is a larger window), and Vulkan in software the
/// padding of its rows. A child is as large as the image until we say otherwise; the rest is the window's own black.
#[derive(Clone, Debug)]
pub struct Canvas {
    /// The child, or the window itself.
    pub window: Arc<Window>,
    /// The child's parent, which goes after it: the window system ends both at once.
    parent: Option<Arc<Window>>,
}

impl Canvas {
    /// The window itself, for those who draw without a GPU.
    pub fn of(window: &Arc<Window>) -> Canvas {
        Canvas { window: Arc::clone(window), parent: None }
    }

    /// What a GPU draws into. Pointer and keys stay with the window.
    pub fn for_gpu(event_loop: &ActiveEventLoop, window: &Arc<Window>) -> Canvas {
        match child_of(event_loop, window) {
            Some(child) => Canvas { window: Arc::new(child), parent: Some(Arc::clone(window)) },
            None => Canvas::of(window),
        }
    }

    /// Follows the window to its new size; on return the window system has done so.
    pub fn follow(&self, size: Size) {
        if self.parent.is_some() && !size.is_empty() {
            let _ = self.window.request_inner_size(PhysicalSize::new(size.w, size.h));
            // The answer says that the request before it has been done.
            self.window.inner_size();
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn child_of(_: &ActiveEventLoop, _: &Window) -> Option<Window> {
    None
}

#[cfg(target_os = "linux")]
fn child_of(event_loop: &ActiveEventLoop, window: &Window) -> Option<Window> {
    use winit::platform::x11::WindowAttributesExtX11 as _;

    // Nobody who looks for the viewer's window by title or class is to find this one.
    let attributes = Window::default_attributes()
        .with_title("")
        .with_name("", "")
        .with_inner_size(window.inner_size())
        .with_embed_parent_window(x11_id(window)?);
    let child = event_loop.create_window(attributes).map_err(|error| error.to_string());
    let deaf = child.and_then(|child| match child.set_cursor_hittest(false) {
        Ok(()) => Ok(child),
        Err(error) => Err(error.to_string()),
    });
    match deaf {
        Ok(child) => {
            blacken_new_parts(&child);
            Some(child)
        }
        Err(error) => {
            tracing::warn!(error, "The GPU draws into the window itself");
            None
        }
    }
}

/// What desktops know the program by: the name of its desktop entry, which has its icon.
#[cfg(target_os = "linux")]
pub fn with_program(attributes: WindowAttributes) -> WindowAttributes {
    winit::platform::wayland::WindowAttributesExtWayland::with_name(attributes, "kachel", "kachel")
}

/// What desktops know the program by; here that is its file.
#[cfg(not(target_os = "linux"))]
pub fn with_program(attributes: WindowAttributes) -> WindowAttributes {
    attributes
}

/// Whether the window system asks for a window's next frame, and only while that can be seen: so with Wayland.
pub fn asks_for_frames(window: &impl HasWindowHandle) -> bool {
    window.window_handle().is_ok_and(|handle| matches!(handle.as_raw(), RawWindowHandle::Wayland(_)))
}

/// The X server's number of a window.
#[cfg(target_os = "linux")]
fn x11_id(window: &impl HasWindowHandle) -> Option<u32> {
    match window.window_handle().map(|handle| handle.as_raw()) {
        Ok(RawWindowHandle::Xlib(handle)) => Some(handle.window as u32),
        Ok(RawWindowHandle::Xcb(handle)) => Some(handle.window.get()),
        _ => None,
    }
}

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

    let Some(id) = x11_id(window) else { return };
    let Ok((connection, _)) = x11rb::connect(None) else { return };
    let look = ChangeWindowAttributesAux::new().background_pixel(0).bit_gravity(Gravity::NORTH_WEST);
    let told = connection.change_window_attributes(id, &look).is_ok() && connection.flush().is_ok();
    tracing::debug!(told, "Background of the window");
    // The answer to any request says that the one before has been done.
    if let Ok(cookie) = connection.get_input_focus() {
        let _ = cookie.reply();
    }
}
