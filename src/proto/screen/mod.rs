//! The picture's way: the host decides when to send ([`pacer`]), the viewer in which order to apply ([`assembler`]).
//!
//! What is sent is the codec's business.

pub mod assembler;
pub mod pacer;
