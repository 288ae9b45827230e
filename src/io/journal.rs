//! A journal's file: appended and synced record by record, written anew before it grows too long.
//!
//! What the records mean, and the shortest bytes that say the same: `proto::print`.

use crate::proto::print::journal::{self, JOURNAL_BYTES_MAX};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Above this many bytes it is written anew.
const COMPACT_AT: u64 = JOURNAL_BYTES_MAX / 2;
/// Bytes after which that is tried again where it failed.
const COMPACT_AGAIN: u64 = 64 << 10;

/// An open journal.
#[derive(Debug)]
pub struct JournalFile {
    path: PathBuf,
    file: File,
    bytes: u64,
    compact_at: u64,
}

impl JournalFile {
    /// The whole records of a journal; what was being written when the power went is left out. None if there is no file.
    ///
    /// # Errors
    /// What the system says.
    pub fn read(path: &Path) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match File::open(path) {
            Ok(file) => {
                file.take(JOURNAL_BYTES_MAX).read_to_end(&mut bytes)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let whole = journal::recover(&bytes).1;
        if whole < bytes.len() {
            tracing::warn!(bytes = bytes.len() - whole, "The print journal's end was torn");
        }
        bytes.truncate(whole);
        Ok(bytes)
    }

    /// Puts a journal that says `snapshot` in the place of the one at `path`, whole or not at all.
    ///
    /// # Errors
    /// What the system says; the old one is there then.
    pub fn create(path: &Path, snapshot: &[u8]) -> io::Result<JournalFile> {
        let new = path.with_extension("new");
        let _ = fs::remove_file(&new);
        let mut options = OpenOptions::new();
        options.append(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&new)?;
        file.write_all(snapshot)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        #[cfg(unix)]
        if let Some(dir) = path.parent() {
            File::open(dir)?.sync_all()?;
        }
        let bytes = snapshot.len() as u64;
        Ok(JournalFile { path: path.to_owned(), file, bytes, compact_at: COMPACT_AT.max(bytes + COMPACT_AGAIN) })
    }

    /// Appends records and syncs.
    ///
    /// # Errors
    /// What the system says, or that more would not be read again; nothing of them is in the journal then.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let after = self.bytes + bytes.len() as u64;
        if after > JOURNAL_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let written = self.file.write_all(bytes).and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => self.bytes = after,
            // Half a record would hide those after it.
            Err(_) => self.file.set_len(self.bytes)?,
        }
        written
    }

    /// Writes it anew with what `snapshot` gives, if it has become long. Not between an append and its consequences.
    ///
    /// A failure is logged and tried again later: the old journal says the same.
    pub fn compact(&mut self, snapshot: impl FnOnce() -> Vec<u8>) {
        if self.bytes < self.compact_at {
            return;
        }
        match JournalFile::create(&self.path, &snapshot()) {
            Ok(new) => *self = new,
            Err(error) => {
                tracing::error!(%error, bytes = self.bytes, "The print journal cannot be written anew");
                self.compact_at = self.bytes + COMPACT_AGAIN;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_keeps_its_newest_records_however_many_there_are() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("print.journal");
        // All but the end of a journal as long as it may be, without a sync for each of its records.
        let mut long = Vec::new();
        while (long.len() as u64) < COMPACT_AT {
            journal::append(&mut long, &[7; journal::RECORD_BYTES_MAX]);
        }
        let mut file = JournalFile::create(&path, &[]).expect("a journal");
        file.append(&long).expect("room");
        let (mut first, mut second) = (Vec::new(), Vec::new());
        journal::append(&mut first, b"what still counts");
        journal::append(&mut second, b"the newest");
        file.compact(|| first.clone());
        file.append(&second).expect("room");
        file.compact(|| panic!("it is short now"));
        assert_eq!(JournalFile::read(&path).expect("a journal"), [&first[..], &second].concat());
        // What would not be read again is not written.
        let mut full = JournalFile::create(&path, &long).expect("a journal");
        full.append(&long[..long.len() / 2]).expect("room");
        assert!(full.append(&long).is_err());
    }

    #[test]
    fn a_torn_end_is_cut_off_and_no_file_is_no_record() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("print.journal");
        assert!(JournalFile::read(&path).expect("nothing").is_empty());
        let mut record = Vec::new();
        journal::append(&mut record, b"whole");
        fs::write(&path, [&record[..], &record[..5]].concat()).expect("a file");
        assert_eq!(JournalFile::read(&path).expect("a journal"), record);
    }
}
