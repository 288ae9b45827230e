//! The Linux side of a desktop: X server, window manager and programs, pictures out of it and input into it.
//!
//! Nothing here knows the network or decides when to capture; `host::session` does. Pixels: `screen`. Input: `inject`.
pub mod cups;
pub mod desktop;
pub mod inject;
pub mod keyboard;
pub mod keys;
pub mod process;
pub mod pulse;
pub mod screen;
pub mod xserver;

mod ewmh;
mod randr;
mod x11;
