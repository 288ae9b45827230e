//! Tests with real parts: real processes, real QUIC, real X servers. One module per subject.

mod trust;
