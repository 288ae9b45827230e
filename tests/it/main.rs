//! Tests that need no device: one binary, one module per subject.

#[cfg(all(feature = "net", unix))]
mod trust;
