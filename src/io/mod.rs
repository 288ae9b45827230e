//! Adapters, one for each outside thing. All platform code is here; no adapter sees another.

#[cfg(feature = "viewer")]
pub mod gpu;
#[cfg(feature = "viewer")]
pub mod soft;
