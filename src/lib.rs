//! Kachel, a soft thin client: the desktop runs in the data centre, the desk gets exact tiles of it.
pub mod geom;
#[cfg(feature = "viewer")]
pub mod viewer;
