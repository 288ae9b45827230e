//! Real parts: X servers, real programs.
mod linux;
