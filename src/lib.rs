//! Kachel, a soft thin client: the desktop runs in the data centre, the desk gets exact tiles of it.
//!
//! The layers, each seeing only those above it in this list (ARCHITECTURE.md, "Layers"; a test holds it).

#[deny(clippy::disallowed_methods)]
pub mod codec;
#[deny(clippy::disallowed_methods)]
pub mod geom;
#[cfg(all(target_os = "linux", feature = "host"))]
pub mod host;
#[cfg(feature = "net")]
pub mod io;
#[deny(clippy::disallowed_methods)]
pub mod limits;
#[deny(clippy::disallowed_methods)]
pub mod proto;
