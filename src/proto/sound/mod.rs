//! Sound both ways, sans-io: packets, what is sent and what is silence, when each frame is played, who may talk.
//!
//! Samples are 48 kHz `f32` from -1 to 1, interleaved. Opus itself is `io::opus`, devices are `io::sound` (viewer) and
//! `io::linux::pulse` (host).

pub mod ahead;
pub mod jitter;
pub mod packet;
pub mod resample;
pub mod sender;
pub mod talk;
