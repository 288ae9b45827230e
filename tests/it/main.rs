//! Everything that needs no device: one binary, pure parts only.

mod codec;
mod ctx;
#[path = "../support/fuzz.rs"]
mod fuzz;
mod fuzz_regression;
mod layers;
#[cfg(feature = "net")]
mod net;
mod platform;
mod print;
#[cfg(feature = "net")]
mod profile;
mod screen;
mod session;
mod sound;
#[cfg(feature = "net")]
mod trust;
#[cfg(feature = "viewer")]
mod ui_pages;
mod wave;
mod wire;
