//! The host's processes: `front` faces the network, `session` is one per desktop, and so is `sound`; they talk over
//! Unix sockets. `policy` says what viewers may use.

pub mod front;
pub mod place;
pub mod policy;
pub mod session;
pub mod sound;
