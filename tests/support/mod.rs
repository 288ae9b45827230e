//! What the end-to-end tests and the benches share: own X displays, keys and pointer, pictures, process groups,
//! and the two programs of this package started the way a user starts them.
//! Nothing here is a test; whatever does not happen in its time panics with what was awaited and the log's end.
//! Used by `#[path = "../support/mod.rs"] mod support;`.
#![allow(dead_code, unreachable_pub, reason = "each test binary and each bench uses its own share of this")]

pub mod display;
pub mod input;
pub mod link;
pub mod picture;
pub mod printer;
pub mod process;
pub mod relay;
pub mod tone;
pub mod wait;
