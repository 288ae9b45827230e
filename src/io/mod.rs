//! Adapters, one for each outside thing. All platform code is here; no adapter sees another.

#[cfg(feature = "viewer")]
pub mod gpu;
#[cfg(feature = "print")]
pub mod ipp;
#[cfg(feature = "print")]
pub mod journal;
#[cfg(feature = "viewer")]
pub mod keyboard;
#[cfg(all(target_os = "linux", feature = "host"))]
pub mod linux;
#[cfg(feature = "net")]
pub mod net;
#[cfg(feature = "sound")]
pub mod opus;
#[cfg(feature = "viewer")]
pub mod soft;
#[cfg(feature = "viewer")]
pub mod sound;
#[cfg(feature = "viewer")]
pub mod spooler;
#[cfg(feature = "viewer")]
pub mod terminal;
#[cfg(feature = "viewer")]
pub mod window;
