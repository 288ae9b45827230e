//! The host's processes: `front` faces the network, `session` is one per desktop; they talk over a Unix socket.

pub mod front;
pub mod place;
pub mod session;
