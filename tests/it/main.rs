//! Everything that needs no device: one binary, pure parts only.

mod codec;
#[cfg(feature = "viewer")]
mod ui_pages;
