//! What the two ends say to each other and how they decide, without a socket, clock, thread, file or GPU.
//!
//! One convention for every machine: `handle_*` puts something in, `poll_*` takes something out, `now` is an argument.
//! The features talk to each other only through [`wire`]'s types.

pub mod input;
pub mod print;
pub mod screen;
pub mod session;
pub mod sound;
pub mod wire;
