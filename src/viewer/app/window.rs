//! The window: opens it, on the monitor that was chosen, follows its size, and gives it icon and pointer.
//!
//! What winit leaves out of a window: `io::window`. What is drawn into it: `viewer::screen`.

use super::App;
use crate::codec::format::SCREEN_SIDE_MAX;
use crate::geom::Size;
use crate::io::gpu::{self, Renderer};
use crate::io::window::{Canvas, blacken_new_parts, wants_multiplied_pointers, with_program};
use crate::proto::wire::CursorShape;
use crate::viewer::event::{Command, SceneChange};
use crate::viewer::screen::{self, ScreenParts};
use crate::viewer::{ViewerError, monitors, spawn};
use std::sync::Arc;
use std::time::{Duration, Instant};
use winit::dpi::{LogicalSize, PhysicalSize};
use winit::event_loop::ActiveEventLoop;
use winit::window::{CustomCursor, Fullscreen, Icon, Window};

/// The host is asked for another size when the window has kept it for this long.
const RESIZE_QUIET: Duration = Duration::from_millis(80);
/// Smallest window, in logical pixels: the pages fit.
const WINDOW_MIN: LogicalSize<f64> = LogicalSize::new(320.0, 240.0);
/// First window, in logical pixels.
const WINDOW_FIRST: LogicalSize<f64> = LogicalSize::new(1280.0, 800.0);

/// The window and what goes with it.
pub(super) struct Opened {
    pub(super) window: Arc<Window>,
    pub(super) egui: egui_winit::State,
    pub(super) size: Size,
}

impl App {
    pub(super) fn open_window(&mut self, event_loop: &ActiveEventLoop) -> Result<Opened, ViewerError> {
        let mut attributes = with_program(Window::default_attributes())
            .with_title("Kachel")
            .with_inner_size(match self.settings.size {
                Some(size) => winit::dpi::Size::from(PhysicalSize::new(size.w, size.h)),
                None => WINDOW_FIRST.into(),
            })
            .with_min_inner_size(WINDOW_MIN)
            .with_window_icon(icon())
            // Assistive technologies have to be announced before the window is seen.
            .with_visible(false);
        let number = self.settings.monitor;
        let monitor = number.map(|number| monitors::find(event_loop.available_monitors(), number)).transpose()?;
        if self.settings.kiosk
            && let Some(monitor) = monitor.clone().or_else(|| event_loop.primary_monitor())
        {
            // As nobody makes it so large where there is no window manager.
            attributes = attributes.with_inner_size(monitor.size()).with_position(monitor.position());
        }
        if self.settings.fullscreen {
            attributes = attributes.with_fullscreen(Some(Fullscreen::Borderless(monitor)));
        }
        let failed = |error: String| ViewerError::Window(error);
        let window = Arc::new(event_loop.create_window(attributes).map_err(|error| failed(error.to_string()))?);
        blacken_new_parts(&window);
        let mut egui = self.ui.window_state(&window);
        egui.init_accesskit(event_loop, &window, self.ends.proxy.clone());
        window.set_visible(true);
        let instance = match self.settings.renderer {
            Renderer::Cpu => None,
            renderer => {
                let instance = gpu::instance(Some(event_loop.owned_display_handle()));
                (renderer != Renderer::Auto || gpu::has_hardware(&instance)).then_some(instance)
            }
        };
        let canvas = match instance {
            Some(_) => Canvas::for_gpu(event_loop, &window),
            None => Canvas::of(&window),
        };
        let surface = match instance {
            None => None,
            Some(instance) => match instance.create_surface(Arc::clone(&canvas.window)) {
                Ok(surface) => Some((instance, surface)),
                Err(error) => {
                    tracing::warn!(%error, "No surface for the GPU");
                    None
                }
            },
        };
        if let Some(ends) = self.ends.screen.take() {
            let parts = ScreenParts {
                canvas,
                surface,
                renderer: self.settings.renderer,
                updates: ends.updates,
                checks: ends.checks,
                scenes: ends.scenes,
                facts: ends.facts,
                ui: self.ends.ui.clone(),
            };
            let body = move |runtime: tokio::runtime::Runtime| runtime.block_on(screen::run(parts));
            self.screen = Some(spawn("screen", body)?);
        }
        let inner = window.inner_size();
        Ok(Opened { window, egui, size: Size::new(inner.width, inner.height) })
    }

    pub(super) fn toggle_fullscreen(&mut self) {
        if let Some(opened) = &self.window {
            let next = match opened.window.fullscreen() {
                Some(_) => None,
                None => {
                    let number = self.settings.monitor;
                    let found = number.map(|number| monitors::find(opened.window.available_monitors(), number));
                    // One that has been unplugged is none to wait for.
                    Some(Fullscreen::Borderless(found.and_then(Result::ok)))
                }
            };
            opened.window.set_fullscreen(next);
        }
        self.refresh();
    }

    pub(super) fn handle_resized(&mut self, size: PhysicalSize<u32>) {
        let size = Size::new(size.width, size.height);
        let Some(opened) = &mut self.window else { return };
        opened.size = size;
        self.scene(SceneChange::Window(size));
        self.tell_visible(!size.is_empty());
        if !size.is_empty() && self.viewport != Some(size) {
            // The first size is not the end of a drag.
            let quiet = if self.viewport.is_some() { RESIZE_QUIET } else { Duration::ZERO };
            self.resize_at = Some(Instant::now() + quiet);
        }
        self.refresh();
    }

    pub(super) fn tell_viewport(&mut self) {
        let Some(opened) = &self.window else { return };
        let size = screen_for(opened.size);
        if !size.is_empty() && self.viewport != Some(size) {
            self.viewport = Some(size);
            let scale_percent = (opened.window.scale_factor() * 100.0).round().clamp(50.0, 400.0) as u16;
            self.command(Command::Viewport { size, scale_percent });
        }
    }

    pub(super) fn tell_visible(&mut self, visible: bool) {
        if self.visible != visible {
            self.visible = visible;
            self.command(Command::Visible(visible));
        }
    }

    pub(super) fn handle_cursor(&mut self, event_loop: &ActiveEventLoop, shape: Option<Arc<CursorShape>>) {
        if let Some(shape) = &shape
            && self.cursor.as_ref() != Some(shape)
        {
            let (w, h) = (shape.size.w as u16, shape.size.h as u16);
            let is_multiplied = self.window.as_ref().is_some_and(|w| wants_multiplied_pointers(&w.window));
            match CustomCursor::from_rgba(rgba(shape, is_multiplied), w, h, shape.hot.x as u16, shape.hot.y as u16) {
                Ok(source) => {
                    self.cursors.insert(shape.id, event_loop.create_custom_cursor(source));
                }
                Err(error) => tracing::debug!(%error, "Pointer shape not usable"),
            }
        }
        self.cursor = shape;
        self.repaint_cursor();
    }

    pub(super) fn repaint_cursor(&self) {
        let Some(opened) = &self.window else { return };
        if self.wants_pointer {
            return;
        }
        match self.cursor.as_ref().and_then(|c| self.cursors.get(&c.id)) {
            Some(cursor) => {
                opened.window.set_cursor(cursor.clone());
                opened.window.set_cursor_visible(true);
            }
            None => opened.window.set_cursor_visible(self.cursor.is_some()),
        }
    }
}

/// A shape's pixels as winit wants them: red, green, blue, alpha, and colours multiplied by alpha, as they are here, or not.
fn rgba(shape: &CursorShape, is_multiplied: bool) -> Vec<u8> {
    shape
        .pixels
        .iter()
        .flat_map(|p| {
            let [b, g, r, a] = p.to_le_bytes();
            let straight = |v: u8| if a == 0 { 0 } else { (u32::from(v) * 255 / u32::from(a)).min(255) as u8 };
            if is_multiplied { [r, g, b, a] } else { [straight(r), straight(g), straight(b), a] }
        })
        .collect()
}

/// The window's icon: three by three tiles, drawn here so that no image decoder is needed.
fn icon() -> Option<Icon> {
    const SIDE: u32 = 48;
    let rgba = (0..SIDE * SIDE)
        .flat_map(|i| {
            let (x, y) = (i % SIDE, i / SIDE);
            let inside = x % 16 >= 1 && y % 16 >= 1 && x % 16 < 15 && y % 16 < 15;
            let bright = (x / 16 + y / 16) % 2 == 0;
            match (inside, bright) {
                (false, _) => [0, 0, 0, 0],
                (true, true) => [0x1f, 0x6f, 0xb2, 0xff],
                (true, false) => [0x7a, 0xb8, 0xe6, 0xff],
            }
        })
        .collect();
    Icon::from_rgba(rgba, SIDE, SIDE).ok()
}

/// The size of a screen for a window: one over several large monitors may be wider than any screen.
fn screen_for(window: Size) -> Size {
    Size::new(window.w.min(SCREEN_SIDE_MAX), window.h.min(SCREEN_SIDE_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::wire::ViewerMessage;

    #[test]
    fn a_window_over_three_large_monitors_asks_for_a_screen_that_a_host_takes() {
        for window in [Size::new(3 * 3840, 2160), Size::new(1080, 5 * 1920), Size::new(1, 1)] {
            let mut bytes = Vec::new();
            ViewerMessage::Viewport(screen_for(window)).encode(&mut bytes);
            // The length goes before the body.
            assert!(ViewerMessage::decode(&bytes[1..]).is_ok(), "{window:?}");
        }
    }
}
