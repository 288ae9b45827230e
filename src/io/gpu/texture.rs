//! Textures of one word a pixel: made black, checked against the adapter's limit, and read back.

use super::pipelines::PIXELS;
use super::{Gpu, GpuError};
use crate::codec::canvas::Picture;
use crate::geom::{Rect, Size};

/// Bytes of a pixel.
const PIXEL_BYTES: u32 = 4;

/// A texture with its view and size.
#[derive(Clone, Debug)]
pub struct Texture {
    texture: wgpu::Texture,
    pub(super) view: wgpu::TextureView,
    size: Size,
}

impl Texture {
    /// Makes a black texture with a word for each pixel.
    pub(super) fn new(gpu: &Gpu, name: &str, size: Size, usage: wgpu::TextureUsages) -> Result<Self, GpuError> {
        Self::with_format(gpu, name, size, usage, PIXELS)
    }

    /// Makes a black texture of any format with four bytes a pixel.
    pub(super) fn with_format(
        gpu: &Gpu,
        name: &str,
        size: Size,
        usage: wgpu::TextureUsages,
        format: wgpu::TextureFormat,
    ) -> Result<Self, GpuError> {
        let side_max = gpu.device.limits().max_texture_dimension_2d;
        if size.w > side_max || size.h > side_max {
            return Err(GpuError::TooLarge { size, side_max });
        }
        let texture = gpu.device.create_texture(&wgpu::TextureDescriptor {
            label: Some(name),
            size: extent(size),
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format,
            usage,
            view_formats: &[],
        });
        gpu.check()?;
        let view = texture.create_view(&wgpu::TextureViewDescriptor::default());
        Ok(Self { texture, view, size })
    }

    /// Width and height in pixels.
    pub fn size(&self) -> Size {
        self.size
    }

    /// Replaces a part of the pixels; `pixels` are those of the whole texture, in rows.
    ///
    /// # Panics
    /// If there are fewer pixels than the texture has.
    pub(super) fn write(&self, gpu: &Gpu, pixels: &[u32], part: Rect) {
        let part = part.intersection(self.size.rect());
        if part.is_empty() {
            return;
        }
        assert!(pixels.len() as u64 >= self.size.area(), "pixels are those of the whole texture");
        let first = part.y as usize * self.size.w as usize + part.x as usize;
        let length = (part.h as usize - 1) * self.size.w as usize + part.w as usize;
        gpu.queue.write_texture(
            wgpu::TexelCopyTextureInfo {
                texture: &self.texture,
                mip_level: 0,
                origin: wgpu::Origin3d { x: part.x, y: part.y, z: 0 },
                aspect: wgpu::TextureAspect::All,
            },
            bytemuck::cast_slice(&pixels[first..][..length]),
            wgpu::TexelCopyBufferLayout {
                offset: 0,
                bytes_per_row: Some(self.size.w * PIXEL_BYTES),
                rows_per_image: None,
            },
            extent(Size::new(part.w, part.h)),
        );
    }

    /// Fetches all pixels; waits for the GPU.
    ///
    /// # Errors
    /// [`GpuError::ReadBack`], or the device's fault.
    pub(super) fn read_back(&self, gpu: &Gpu) -> Result<Picture, GpuError> {
        let row_bytes = (self.size.w * PIXEL_BYTES).next_multiple_of(wgpu::COPY_BYTES_PER_ROW_ALIGNMENT);
        let buffer = gpu.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("read back"),
            size: u64::from(row_bytes) * u64::from(self.size.h),
            usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
            mapped_at_creation: false,
        });
        let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_texture_to_buffer(
            self.texture.as_image_copy(),
            wgpu::TexelCopyBufferInfo {
                buffer: &buffer,
                layout: wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(row_bytes), rows_per_image: None },
            },
            extent(self.size),
        );
        gpu.queue.submit([encoder.finish()]);
        gpu.check()?;
        buffer.map_async(wgpu::MapMode::Read, .., |_| {});
        gpu.device.poll(wgpu::PollType::wait_indefinitely()).map_err(|_| GpuError::ReadBack)?;
        gpu.check()?;
        let bytes = buffer.get_mapped_range(..).map_err(|_| GpuError::ReadBack)?;
        let mut picture = Picture::new(self.size);
        let rows = picture.pixels.chunks_exact_mut(self.size.w as usize);
        for (row, bytes) in rows.zip(bytes.chunks_exact(row_bytes as usize)) {
            for (pixel, b) in row.iter_mut().zip(bytes.chunks_exact(PIXEL_BYTES as usize)) {
                *pixel = u32::from_le_bytes([b[0], b[1], b[2], b[3]]);
            }
        }
        Ok(picture)
    }
}

/// A size as wgpu wants it.
fn extent(size: Size) -> wgpu::Extent3d {
    wgpu::Extent3d { width: size.w, height: size.h, depth_or_array_layers: 1 }
}
