//! Everything that needs no device: one binary, pure parts only.

mod codec;
mod layers;
#[cfg(feature = "net")]
mod trust;
#[cfg(feature = "viewer")]
mod ui_pages;
