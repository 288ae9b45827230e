//! Real parts: X servers, real programs, both of our programs, real QUIC.

mod linux;
mod trust;
