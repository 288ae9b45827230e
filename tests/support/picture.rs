//! A picture of an X display, how far two of them are apart, and writing one as PNG to look at.
//! Pixels are 0x00RRGGBB; the pointer is never part of a picture.

use std::fs;
use std::io;
use std::path::Path;

use kachel::geom::{Rect, Size};

/// Rows of pixels from the top left.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    size: Size,
    pixels: Vec<u32>,
}

impl Picture {
    /// Makes a picture; `pixels` has `size.w * size.h` values 0x00RRGGBB, row by row.
    ///
    /// # Panics
    /// When the count does not fit the size.
    pub fn new(size: Size, pixels: Vec<u32>) -> Self {
        assert_eq!(pixels.len() as u64, size.area(), "a picture has as many pixels as its size says");
        Self { size, pixels }
    }

    /// Width and height in pixels.
    pub fn size(&self) -> Size {
        self.size
    }

    /// The pixels, row by row, 0x00RRGGBB.
    pub fn pixels(&self) -> &[u32] {
        &self.pixels
    }

    /// One pixel, 0x00RRGGBB.
    pub fn at(&self, x: u32, y: u32) -> u32 {
        self.pixels[(y * self.size.w + x) as usize]
    }

    /// The part of the picture inside `part`.
    ///
    /// # Panics
    /// When `part` is not inside the picture.
    pub fn crop(&self, part: Rect) -> Self {
        assert!(self.size.rect().contains(part), "{part:?} is not inside {:?}", self.size);
        let row = |y: u32| {
            let start = (y * self.size.w + part.x) as usize;
            &self.pixels[start..start + part.w as usize]
        };
        Self::new(Size { w: part.w, h: part.h }, (part.y..part.bottom()).flat_map(row).copied().collect())
    }

    /// Compares two pictures; pictures of different size differ in every pixel.
    pub fn diff(&self, other: &Self) -> Difference {
        if self.size != other.size {
            let all = self.size.area().max(other.size.area());
            return Difference { count: all, clear: all, total: all, bounds: Some(self.size.rect()), psnr_db: 0.0 };
        }
        let (mut count, mut clear, mut squares) = (0, 0, 0_u64);
        let (mut left, mut top, mut right, mut bottom) = (u32::MAX, u32::MAX, 0, 0);
        for (index, (a, b)) in self.pixels.iter().zip(&other.pixels).enumerate() {
            if a == b {
                continue;
            }
            let (x, y) = (index as u32 % self.size.w, index as u32 / self.size.w);
            (left, top, right, bottom) = (left.min(x), top.min(y), right.max(x), bottom.max(y));
            let apart = [0, 8, 16].map(|shift| u64::from((a >> shift & 255).abs_diff(b >> shift & 255)));
            count += 1;
            clear += u64::from(apart.iter().any(|value| *value > CLEARLY));
            squares += apart.iter().map(|value| value * value).sum::<u64>();
        }
        let total = self.size.area();
        let mean = squares as f64 / (3 * total) as f64;
        Difference {
            count,
            clear,
            total,
            bounds: (count > 0).then(|| Rect::new(left, top, right - left + 1, bottom - top + 1)),
            psnr_db: if count == 0 { f64::INFINITY } else { 10.0 * (255.0 * 255.0 / mean).log10() },
        }
    }

    /// Writes the picture as PNG (not compressed: it is looked at once).
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save_png(&self, path: &Path) -> io::Result<()> {
        let mut rows = Vec::with_capacity(self.pixels.len() * 3 + self.size.h as usize);
        for row in self.pixels.chunks(self.size.w as usize) {
            rows.push(0);
            rows.extend(row.iter().flat_map(|pixel| [(pixel >> 16) as u8, (pixel >> 8) as u8, *pixel as u8]));
        }
        let mut header = Vec::new();
        header.extend(self.size.w.to_be_bytes());
        header.extend(self.size.h.to_be_bytes());
        header.extend([8, 2, 0, 0, 0]);
        let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
        chunk(&mut file, *b"IHDR", &header);
        chunk(&mut file, *b"IDAT", &stored_zlib(&rows));
        chunk(&mut file, *b"IEND", &[]);
        fs::write(path, file)
    }

    /// Writes the picture as binary PPM, for programs that turn it into other formats.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save_ppm(&self, path: &Path) -> io::Result<()> {
        let mut file = format!("P6 {} {} 255\n", self.size.w, self.size.h).into_bytes();
        file.extend(self.pixels.iter().flat_map(|pixel| [(pixel >> 16) as u8, (pixel >> 8) as u8, *pixel as u8]));
        fs::write(path, file)
    }
}

/// A channel that differs by more than this is seen at once as another colour, not as a coding error.
const CLEARLY: u64 = 40;

/// How far two pictures are apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// Pixels that are not equal.
    pub count: u64,
    /// Pixels of which a channel differs by more than 40 of 255.
    pub clear: u64,
    /// All pixels.
    pub total: u64,
    /// The smallest rectangle around the pixels that differ.
    pub bounds: Option<Rect>,
    /// Peak signal to noise ratio over all channels; infinite for equal pictures.
    pub psnr_db: f64,
}

impl Difference {
    /// Share of pixels that differ, 0 to 1.
    pub fn share(&self) -> f64 {
        self.count as f64 / self.total as f64
    }

    /// Share of pixels that differ clearly, 0 to 1.
    pub fn clear_share(&self) -> f64 {
        self.clear as f64 / self.total as f64
    }

    /// Whether the pictures are equal.
    pub fn is_none(&self) -> bool {
        self.count == 0
    }
}

fn chunk(file: &mut Vec<u8>, kind: [u8; 4], data: &[u8]) {
    file.extend((data.len() as u32).to_be_bytes());
    let start = file.len();
    file.extend(kind);
    file.extend(data);
    let sum = crc32(&file[start..]);
    file.extend(sum.to_be_bytes());
}

/// The zlib container (RFC 1950) with stored blocks (RFC 1951, 3.2.4).
fn stored_zlib(data: &[u8]) -> Vec<u8> {
    let mut out = vec![0x78, 0x01];
    let blocks = data.len().div_ceil(0xffff).max(1);
    for (index, block) in data.chunks(0xffff).enumerate() {
        let length = block.len() as u16;
        out.push(u8::from(index + 1 == blocks));
        out.extend(length.to_le_bytes());
        out.extend((!length).to_le_bytes());
        out.extend(block);
    }
    let (mut a, mut b) = (1_u32, 0_u32);
    for byte in data {
        a = (a + u32::from(*byte)) % 65521;
        b = (b + a) % 65521;
    }
    out.extend((b << 16 | a).to_be_bytes());
    out
}

fn crc32(data: &[u8]) -> u32 {
    let table: [u32; 256] = std::array::from_fn(|index| {
        (0..8).fold(index as u32, |value, _| if value & 1 == 1 { value >> 1 ^ 0xedb8_8320 } else { value >> 1 })
    });
    !data.iter().fold(!0, |sum, byte| table[((sum ^ u32::from(*byte)) & 255) as usize] ^ sum >> 8)
}
