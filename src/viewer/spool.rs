//! Documents of print jobs on their way through the viewer: in memory, and in a file without a name where they are large.
//!
//! Nothing of them is left when the viewer ends, however it ends.

use crate::io::ipp::client::Document;
use aws_lc_rs::digest;
use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;

/// Bytes of one document that stay in memory.
const MEMORY_MAX: usize = 4 << 20;

/// One document, growing.
pub struct Spool {
    place: Place,
    bytes: u32,
    hash: digest::Context,
}

enum Place {
    Memory(Vec<u8>),
    File(File),
}

impl Spool {
    /// An empty one.
    pub fn new() -> Spool {
        Spool { place: Place::Memory(Vec::new()), bytes: 0, hash: digest::Context::new(&digest::SHA256) }
    }

    /// Keeps further bytes.
    ///
    /// # Errors
    /// What the system says; the document is of no use then.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u32;
        match &mut self.place {
            Place::Memory(kept) if kept.len() + bytes.len() <= MEMORY_MAX => kept.extend_from_slice(bytes),
            Place::Memory(kept) => {
                // Without a name from the beginning, so that nothing is found after a crash either.
                let mut file = tempfile::tempfile()?;
                file.write_all(kept)?;
                file.write_all(bytes)?;
                self.place = Place::File(file);
            }
            Place::File(file) => file.write_all(bytes)?,
        }
        Ok(())
    }

    /// SHA-256 of what is kept.
    pub fn sha256(&self) -> [u8; 32] {
        self.hash.clone().finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
    }

    /// The whole, for the print system.
    pub fn into_document(self) -> Document {
        match self.place {
            Place::Memory(bytes) => Document::Memory(Arc::new(bytes)),
            Place::File(file) => Document::File(Arc::new(file), self.bytes),
        }
    }
}

impl Default for Spool {
    fn default() -> Self {
        Spool::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek};

    #[test]
    fn a_large_document_leaves_memory_and_has_no_name() {
        let mut spool = Spool::new();
        let piece = vec![7; 1 << 20];
        for _ in 0..6 {
            spool.append(&piece).unwrap();
        }
        let all = vec![7; 6 << 20];
        assert_eq!(&spool.sha256(), digest::digest(&digest::SHA256, &all).as_ref());
        let Document::File(file, size) = spool.into_document() else { panic!("it is still in memory") };
        let (mut file, mut read) = (&*file, Vec::new());
        file.rewind().unwrap();
        file.read_to_end(&mut read).unwrap();
        assert!(read == all && size as usize == all.len());
        #[cfg(unix)]
        assert_eq!(std::os::unix::fs::MetadataExt::nlink(&file.metadata().unwrap()), 0);
    }
}
