//! Captures of screens as PPM files: `<application><number>.ppm`, 8 bits a channel.

use std::fs;
use std::path::Path;

use kachel::codec::canvas::Picture;
use kachel::geom::Size;

/// A screen of some application.
pub struct Capture {
    /// The file's stem.
    pub name: String,
    /// What was shown.
    pub picture: Picture,
}

/// Reads all captures of a folder, in the order of their names.
///
/// # Panics
/// When the folder or one of its PPM files cannot be read.
pub fn read_all(folder: &Path) -> Vec<Capture> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("the folder can be listed").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "ppm"));
    paths.sort();
    paths
        .iter()
        .map(|path| {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let picture = parse(&bytes).unwrap_or_else(|| panic!("{} is no PPM of 8 bits", path.display()));
            Capture { name, picture }
        })
        .collect()
}

/// Reads a binary PPM without comments.
fn parse(bytes: &[u8]) -> Option<Picture> {
    let mut rest = bytes;
    let mut word = || {
        let start = rest.iter().position(|b| !b.is_ascii_whitespace())?;
        let length = rest[start..].iter().position(u8::is_ascii_whitespace)?;
        let word = std::str::from_utf8(&rest[start..start + length]).ok()?;
        rest = &rest[start + length..];
        Some(word)
    };
    if word()? != "P6" {
        return None;
    }
    let size = Size::new(word()?.parse().ok()?, word()?.parse().ok()?);
    if word()? != "255" {
        return None;
    }
    let color = |b: &[u8]| u32::from(b[0]) << 16 | u32::from(b[1]) << 8 | u32::from(b[2]);
    let pixels: Vec<u32> = rest.get(1..)?.chunks_exact(3).map(color).collect();
    (pixels.len() as u64 == size.area()).then_some(Picture { size, pixels })
}

/// Red, green and blue bytes of a picture.
pub fn rgb(picture: &Picture) -> Vec<u8> {
    picture.pixels.iter().flat_map(|p| [(p >> 16) as u8, (p >> 8) as u8, *p as u8]).collect()
}

/// Bytes of the picture as PNG: zlib's level 6, the filter chosen row by row.
pub fn png_bytes(picture: &Picture) -> usize {
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, picture.size.w, picture.size.h);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Balanced);
    encoder.set_filter(png::Filter::Adaptive);
    let mut writer = encoder.write_header().expect("memory can be written");
    writer.write_image_data(&rgb(picture)).expect("memory can be written");
    writer.finish().expect("memory can be written");
    out.len()
}
