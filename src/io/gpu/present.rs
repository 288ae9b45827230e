//! Draws the screen with the overlay into a window, or into a picture of what the window would show.
//!
//! Never waits for the display longer than its queue of one frame makes it; a window that is hidden, being resized or
//! slow is skipped, and the caller draws again at its next reason to. Twin of the arithmetic: `io::soft::compose`.

use super::layout::Scene;
use super::pipelines;
use super::texture::Texture;
use super::{Gpu, GpuError};
use crate::codec::canvas::Picture;
use crate::geom::{Filter, Fit, Rect, Size};

/// Draws scenes into targets of one format.
#[derive(Debug)]
pub struct Painter {
    gpu: Gpu,
    pipelines: pipelines::Present,
    scene: wgpu::Buffer,
    overlay: Overlay,
    /// Stands in where there is no screen yet.
    nothing: Texture,
}

/// Shows scenes in a window.
#[derive(Debug)]
pub struct Presenter {
    painter: Painter,
    surface: wgpu::Surface<'static>,
    config: wgpu::SurfaceConfiguration,
    view_format: wgpu::TextureFormat,
    is_configured: bool,
}

/// Whether a frame reached the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// It is on its way to the display.
    Presented,
    /// The window is hidden, empty, or its swap chain was busy or just being replaced: draw again later.
    Skipped,
}

#[derive(Debug)]
struct Overlay {
    pixels: Texture,
    /// What is drawn of it; empty while it is hidden.
    size: Size,
    /// Where it may be something else than transparent.
    painted: Rect,
}

/// Format of pictures of the window: the bytes of 0xAARRGGBB words.
const PICTURE_FORMAT: wgpu::TextureFormat = wgpu::TextureFormat::Bgra8Unorm;

impl Painter {
    /// Makes a painter for [`Painter::picture`].
    ///
    /// # Errors
    /// [`GpuError::Refused`] if the driver cannot compile the shader.
    pub fn new(gpu: &Gpu) -> Result<Painter, GpuError> {
        Self::with_format(gpu, PICTURE_FORMAT)
    }

    /// Shows an overlay over everything from the next frame on.
    ///
    /// `pixels` are rows of 0xAARRGGBB words, colours multiplied by alpha; only those in `painted` are looked at, the
    /// others count as transparent. It starts at the window's top left corner.
    ///
    /// # Errors
    /// [`GpuError::TooLarge`] above the adapter's limit, else the device's fault.
    ///
    /// # Panics
    /// If there are fewer pixels than `size` says.
    pub fn set_overlay(&mut self, pixels: &[u32], size: Size, painted: Rect) -> Result<(), GpuError> {
        assert!(pixels.len() as u64 >= size.area(), "an overlay has all its pixels");
        if size.is_empty() {
            self.clear_overlay();
            return Ok(());
        }
        let overlay = &mut self.overlay;
        if overlay.pixels.size() == size && painted.contains(overlay.painted) {
            overlay.pixels.write(&self.gpu, pixels, painted);
        } else {
            // A new texture is transparent, which forgets the parts that were painted before.
            overlay.pixels = overlay_texture(&self.gpu, size)?;
            overlay.pixels.write(&self.gpu, pixels, painted);
        }
        overlay.size = size;
        overlay.painted = painted;
        self.gpu.check()
    }

    /// Shows no overlay from the next frame on.
    pub fn clear_overlay(&mut self) {
        self.overlay.size = Size::default();
    }

    /// Draws into a picture of the window's size, for screenshots and tests; waits for the GPU.
    ///
    /// # Errors
    /// [`GpuError::TooLarge`] above the adapter's limit, [`GpuError::ReadBack`], or the device's fault.
    pub fn picture(&mut self, screen: Option<&Texture>, fit: Fit) -> Result<Picture, GpuError> {
        let usage = wgpu::TextureUsages::RENDER_ATTACHMENT | wgpu::TextureUsages::COPY_SRC;
        let target = Texture::with_format(&self.gpu, "picture", fit.window, usage, PICTURE_FORMAT)?;
        self.draw(screen, fit, &target.view);
        let mut picture = target.read_back(&self.gpu)?;
        picture.pixels.iter_mut().for_each(|p| *p &= 0x00ff_ffff);
        Ok(picture)
    }

    fn with_format(gpu: &Gpu, format: wgpu::TextureFormat) -> Result<Painter, GpuError> {
        let pipelines = pipelines::Present::new(&gpu.device, format);
        let scene = gpu.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("scene"),
            size: size_of::<Scene>() as u64,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let nothing = overlay_texture(gpu, Size::new(1, 1))?;
        let overlay = Overlay { pixels: nothing.clone(), size: Size::default(), painted: Rect::default() };
        gpu.check()?;
        Ok(Painter { gpu: gpu.clone(), pipelines, scene, overlay, nothing })
    }

    /// Draws one frame.
    fn draw(&mut self, screen: Option<&Texture>, fit: Fit, target: &wgpu::TextureView) {
        let device = &self.gpu.device;
        let viewport = if screen.is_some() { fit.viewport } else { Rect::default() };
        let scene = Scene {
            viewport_x: viewport.x,
            viewport_y: viewport.y,
            viewport_w: viewport.w,
            viewport_h: viewport.h,
            picture_w: fit.picture.w,
            picture_h: fit.picture.h,
            overlay_w: self.overlay.size.w,
            overlay_h: self.overlay.size.h,
            area: u32::from(fit.filter == Filter::Area),
            ..Scene::default()
        };
        self.gpu.queue.write_buffer(&self.scene, 0, bytemuck::bytes_of(&scene));
        let resources = [
            self.scene.as_entire_binding(),
            wgpu::BindingResource::TextureView(&screen.unwrap_or(&self.nothing).view),
            wgpu::BindingResource::TextureView(&self.overlay.pixels.view),
        ];
        let group = pipelines::bind_group(device, "present", &self.pipelines.layout, &resources);
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("present") });
        {
            let mut pass = encoder.begin_render_pass(&wgpu::RenderPassDescriptor {
                label: Some("present"),
                color_attachments: &[Some(wgpu::RenderPassColorAttachment {
                    view: target,
                    depth_slice: None,
                    resolve_target: None,
                    ops: wgpu::Operations {
                        load: wgpu::LoadOp::Clear(wgpu::Color::BLACK),
                        store: wgpu::StoreOp::Store,
                    },
                })],
                ..wgpu::RenderPassDescriptor::default()
            });
            pass.set_pipeline(if fit.is_exact() { &self.pipelines.exact } else { &self.pipelines.scaled });
            pass.set_bind_group(0, &group, &[]);
            pass.draw(0..3, 0..1);
        }
        self.gpu.queue.submit([encoder.finish()]);
    }
}

impl Presenter {
    /// Makes a presenter for a window's surface, which `instance.create_surface(window)` makes.
    ///
    /// # Errors
    /// [`GpuError::Window`] if the adapter cannot draw into this window.
    pub fn new(gpu: &Gpu, surface: wgpu::Surface<'static>) -> Result<Presenter, GpuError> {
        let capabilities = surface.get_capabilities(&gpu.adapter);
        let impossible = || GpuError::Window(gpu.kind.name.clone());
        let is_exact = |f: &wgpu::TextureFormat| {
            matches!(f.remove_srgb_suffix(), wgpu::TextureFormat::Bgra8Unorm | wgpu::TextureFormat::Rgba8Unorm)
        };
        // Without sRGB, so that v / 255 is stored as v; a view without it does where the window has no such format.
        let formats = capabilities.formats.iter().copied().filter(is_exact);
        let format = formats.min_by_key(wgpu::TextureFormat::is_srgb).ok_or_else(impossible)?;
        let view_format = format.remove_srgb_suffix();
        let mut config = surface.get_default_config(&gpu.adapter, 1, 1).ok_or_else(impossible)?;
        config.format = format;
        config.view_formats = if view_format == format { Vec::new() } else { vec![view_format] };
        // Both show whole frames only. Mailbox does not wait for the display, so a newer frame replaces an older one.
        config.present_mode = if capabilities.present_modes.contains(&wgpu::PresentMode::Mailbox) {
            wgpu::PresentMode::Mailbox
        } else {
            wgpu::PresentMode::Fifo
        };
        config.desired_maximum_frame_latency = 1;
        if capabilities.alpha_modes.contains(&wgpu::CompositeAlphaMode::Opaque) {
            config.alpha_mode = wgpu::CompositeAlphaMode::Opaque;
        }
        tracing::debug!(?format, mode = ?config.present_mode, "Window surface");
        let painter = Painter::with_format(gpu, view_format)?;
        Ok(Presenter { painter, surface, config, view_format, is_configured: false })
    }

    /// The overlay of this window: [`Painter::set_overlay`], [`Painter::clear_overlay`].
    pub fn painter(&mut self) -> &mut Painter {
        &mut self.painter
    }

    /// Draws a frame and hands it to the display; the swap chain follows the window's size in `fit`.
    ///
    /// Call `Window::pre_present_notify` before.
    ///
    /// # Errors
    /// [`GpuError::SurfaceLost`] if a new surface is needed, [`GpuError::TooLarge`] for a window above the adapter's
    /// limit, else the device's fault.
    pub fn present(&mut self, screen: Option<&Texture>, fit: Fit) -> Result<Shown, GpuError> {
        self.painter.gpu.check()?;
        if fit.window.is_empty() {
            return Ok(Shown::Skipped);
        }
        if !self.is_configured || Size::new(self.config.width, self.config.height) != fit.window {
            self.configure(fit.window)?;
        }
        let Some(frame) = self.acquire()? else { return Ok(Shown::Skipped) };
        let view = frame.texture.create_view(&wgpu::TextureViewDescriptor {
            format: Some(self.view_format),
            ..wgpu::TextureViewDescriptor::default()
        });
        self.painter.draw(screen, fit, &view);
        self.painter.gpu.queue.present(frame);
        self.painter.gpu.check()?;
        Ok(Shown::Presented)
    }

    fn configure(&mut self, window: Size) -> Result<(), GpuError> {
        let side_max = self.painter.gpu.device.limits().max_texture_dimension_2d;
        if window.w > side_max || window.h > side_max {
            return Err(GpuError::TooLarge { size: window, side_max });
        }
        (self.config.width, self.config.height) = (window.w, window.h);
        self.surface.configure(&self.painter.gpu.device, &self.config);
        self.is_configured = true;
        self.painter.gpu.check()
    }

    /// Gets an image to draw into; none if the window cannot take one now.
    fn acquire(&mut self) -> Result<Option<wgpu::SurfaceTexture>, GpuError> {
        use wgpu::CurrentSurfaceTexture as Current;
        let mut is_lost = false;
        for _ in 0..2 {
            match self.surface.get_current_texture() {
                // A suboptimal one is as good: the window's new size arrives as an event and configures it.
                Current::Success(frame) | Current::Suboptimal(frame) => return Ok(Some(frame)),
                Current::Timeout | Current::Occluded => return Ok(None),
                Current::Outdated => is_lost = false,
                Current::Lost => is_lost = true,
                Current::Validation => {
                    return self.painter.gpu.check().and(Err(GpuError::SurfaceLost));
                }
            }
            self.configure(Size::new(self.config.width, self.config.height))?;
        }
        if is_lost { Err(GpuError::SurfaceLost) } else { Ok(None) }
    }
}

fn overlay_texture(gpu: &Gpu, size: Size) -> Result<Texture, GpuError> {
    Texture::new(gpu, "overlay", size, wgpu::TextureUsages::TEXTURE_BINDING | wgpu::TextureUsages::COPY_DST)
}
