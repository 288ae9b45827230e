//! Real parts: X servers, real programs, both of our programs, real QUIC.

#[path = "../support/mod.rs"]
mod support;

mod linux;
mod seat;
mod trust;
mod typing;
