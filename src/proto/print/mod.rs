//! Printing: neither lost nor doubled. A journal on both ends, and one machine each that decides what follows.
//!
//! No file, no printer and no document here: the shell writes the records, spools the bytes and talks to print systems.
//! Messages: `proto::wire::print`.

pub mod host;
pub mod journal;
pub mod media;
pub mod viewer;
