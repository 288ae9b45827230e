//! The tile codec on the CPU: the frame format, the decoding stages, and the encoder.
//!
//! A frame's way: [`format::Frame::parse`] checks the structure, [`plan::Plan::new`] turns it into flat jobs, and the
//! jobs run either here ([`canvas::Canvas::apply`]) or on the GPU (`io::gpu`), bit for bit alike: each file in [`stage`]
//! is the twin of the shader with the same name. [`encode`] is the host's side. No clock, no thread, no GPU.

pub mod bytes;
pub mod cache;
pub mod canvas;
pub mod ctx;
pub mod encode;
pub mod format;
pub mod marks;
mod modes;
pub mod motion;
mod photos;
pub mod plan;
mod rounds;
pub mod stage;
mod uncover;
pub mod wave;
