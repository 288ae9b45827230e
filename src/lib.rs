//! Kachel, a soft thin client: the desktop runs in the data centre, the desk gets exact tiles of it.
//!
//! Each layer sees only those above it in this list; `tests/it/layers.rs` holds it, ARCHITECTURE.md explains it. The
//! first four decide and compute, without a clock, a thread, a file or a socket.

#[deny(clippy::disallowed_methods)]
pub mod geom;

#[deny(clippy::disallowed_methods)]
pub mod codec;

#[deny(clippy::disallowed_methods)]
pub mod limits;

#[deny(clippy::disallowed_methods)]
pub mod proto;

#[cfg(feature = "net")]
pub mod io;

#[cfg(feature = "viewer")]
pub mod viewer;

#[cfg(all(target_os = "linux", feature = "host"))]
pub mod host;
