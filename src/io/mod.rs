//! One adapter per outside thing: network, GPU, and what belongs to one system. Adapters do not see each other.

#[cfg(feature = "net")]
pub mod net;
