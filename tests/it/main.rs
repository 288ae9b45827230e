//! Everything that needs no device: one binary, pure parts only.

mod codec;
