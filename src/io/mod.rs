//! One adapter per outside thing; all platform code lives below here.
//! Adapters do not see each other.
#[cfg(all(target_os = "linux", feature = "host"))]
pub mod linux;
