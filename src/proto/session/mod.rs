//! The control plane: who has said hello, what state the link is in, and when it is tried again.
//!
//! Control only: frames, input and cursor shapes go straight to their own machines.

pub mod client;
pub mod host;
