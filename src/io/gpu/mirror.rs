//! A texture that follows a picture on the CPU, for adapters that draw but do not decode.
//!
//! Decoding there: `codec::canvas`.

use super::texture::Texture;
use super::{Gpu, GpuError};
use crate::codec::canvas::Picture;
use crate::geom::Rect;

/// Most rectangles that are sent one by one; each is a transfer of its own, more become the one around them.
const PARTS_MAX: usize = 64;

/// The texture.
#[derive(Debug)]
pub struct Mirror {
    gpu: Gpu,
    screen: Option<Texture>,
}

impl Mirror {
    /// Makes a mirror without a picture.
    pub fn new(gpu: &Gpu) -> Mirror {
        Mirror { gpu: gpu.clone(), screen: None }
    }

    /// Takes over the damaged parts of a picture, or all of it if its size is new.
    ///
    /// # Errors
    /// [`GpuError::TooLarge`] for a picture above the adapter's limit, else the device's fault.
    pub fn upload(&mut self, picture: &Picture, damage: &[Rect]) -> Result<(), GpuError> {
        self.gpu.check()?;
        if picture.size.is_empty() {
            self.screen = None;
            return Ok(());
        }
        if let Some(screen) = self.screen.as_ref().filter(|s| s.size() == picture.size) {
            if damage.len() > PARTS_MAX {
                let around = damage.iter().fold(Rect::default(), |a, r| a.union(*r));
                screen.write(&self.gpu, &picture.pixels, around);
            } else {
                for part in damage {
                    screen.write(&self.gpu, &picture.pixels, *part);
                }
            }
        } else {
            let usage =
                wgpu::TextureUsages::TEXTURE_BINDING | wgpu::TextureUsages::COPY_DST | wgpu::TextureUsages::COPY_SRC;
            let screen = Texture::new(&self.gpu, "mirror", picture.size, usage)?;
            screen.write(&self.gpu, &picture.pixels, picture.size.rect());
            self.screen = Some(screen);
        }
        self.gpu.check()
    }

    /// The picture so far; none before the first one.
    pub fn screen(&self) -> Option<&Texture> {
        self.screen.as_ref()
    }

    /// Fetches the pixels; waits for the GPU, so for tests and screenshots only.
    ///
    /// # Errors
    /// [`GpuError::NoScreen`], [`GpuError::ReadBack`], or the device's fault.
    pub fn read_back(&self) -> Result<Picture, GpuError> {
        self.screen.as_ref().ok_or(GpuError::NoScreen)?.read_back(&self.gpu)
    }
}
