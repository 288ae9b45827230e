//! What the two side-by-side benches share: the line between both ends, the peers, the programs, the report.

#![allow(dead_code, unreachable_pub, reason = "each bench uses its own share of this")]

pub mod adapter;
pub mod assets;
pub mod captures;
pub mod keys;
pub mod options;
pub mod peers;
pub mod programs;
pub mod report;
pub mod sequences;
pub mod wire;
