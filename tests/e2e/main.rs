//! Real parts: X servers, real programs, both of our programs, real QUIC.

#[path = "../support/mod.rs"]
mod support;

mod idle;
mod keys;
mod kills;
mod linux;
mod photos;
mod picture;
mod print;
mod print_breaks;
mod printers;
mod seat;
mod soak;
mod sound;
mod strangers;
mod trust;
mod typing;
mod viewers;
mod wayland;
