//! A journal's file: appended and synced record by record, written anew before it grows too long, and the thread that
//! does so, as a disk takes its time and neither picture nor key waits for it.
//!
//! What the records mean, and the shortest bytes that say the same: `proto::print`.

use crate::proto::print::journal::{self, JOURNAL_BYTES_MAX};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Orders to a journal's thread: one record that is waited for, and one journal anew before it.
const ORDERS_MAX: usize = 2;
/// Above this many bytes it is written anew.
const COMPACT_AT: u64 = JOURNAL_BYTES_MAX / 2;
/// Bytes after which that is tried again where it failed.
const COMPACT_AGAIN: u64 = 64 << 10;

/// An open journal.
#[derive(Debug)]
pub struct JournalFile {
    path: PathBuf,
    /// None while there is no file that could be written to; then nothing is.
    file: Option<File>,
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
        let file = write_beside(path, snapshot)?;
        put_in_place(path)?;
        Ok(JournalFile::of(path.to_owned(), Some(file), snapshot.len() as u64))
    }

    fn of(path: PathBuf, file: Option<File>, bytes: u64) -> JournalFile {
        JournalFile { path, file, bytes, compact_at: COMPACT_AT.max(bytes + COMPACT_AGAIN) }
    }

    /// Goes on at the end of the journal that is there.
    fn reopen(&mut self) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).open(&self.path)?;
        self.bytes = file.seek(SeekFrom::End(0))?;
        self.file = Some(file);
        Ok(())
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
        let file = self.file.as_mut().ok_or(io::ErrorKind::NotFound)?;
        let written = file.write_all(bytes).and_then(|()| file.sync_data());
        match written {
            Ok(()) => self.bytes = after,
            Err(_) => self.cut_off()?,
        }
        written
    }

    /// Ends the file after its last whole record: half a one would hide those that follow.
    fn cut_off(&mut self) -> io::Result<()> {
        let file = self.file.as_mut().ok_or(io::ErrorKind::NotFound)?;
        file.set_len(self.bytes)?;
        file.seek(SeekFrom::Start(self.bytes)).map(drop)
    }

    /// Whether it is to be written anew.
    pub fn is_long(&self) -> bool {
        self.bytes >= self.compact_at
    }

    /// Writes it anew. Not between an append and its consequences.
    ///
    /// A failure is logged and tried again later: the old journal says the same.
    pub fn renew(&mut self, snapshot: &[u8]) {
        let renewed = write_beside(&self.path, snapshot).and_then(|file| {
            // Not every Windows puts a file in the place of one that is open.
            self.file = None;
            put_in_place(&self.path)?;
            Ok(JournalFile::of(self.path.clone(), Some(file), snapshot.len() as u64))
        });
        match renewed {
            Ok(new) => *self = new,
            Err(error) => {
                tracing::error!(%error, bytes = self.bytes, "The print journal cannot be written anew");
                if self.file.is_none()
                    && let Err(error) = self.reopen()
                {
                    tracing::error!(%error, "The print journal cannot be opened again");
                }
                self.compact_at = self.bytes + COMPACT_AGAIN;
            }
        }
    }
}

/// Writes what is to be the journal beside it.
fn write_beside(path: &Path, snapshot: &[u8]) -> io::Result<File> {
    let new = path.with_extension("new");
    let _ = fs::remove_file(&new);
    let mut options = OpenOptions::new();
    // Not `append`: Windows would not let such a file be cut off.
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&new)?;
    file.write_all(snapshot)?;
    file.sync_all()?;
    Ok(file)
}

/// Makes what was written beside the journal the journal.
fn put_in_place(path: &Path) -> io::Result<()> {
    fs::rename(path.with_extension("new"), path)?;
    #[cfg(unix)]
    if let Some(dir) = path.parent() {
        File::open(dir)?.sync_all()?;
    }
    Ok(())
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// It is on disk; if not, nothing of it is.
    pub is_safe: bool,
    /// The journal has become long: [`JournalThread::renew`] it before the next record.
    pub is_long: bool,
}

/// A file that gets its name together with a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Where it is.
    pub from: PathBuf,
    /// Where it is to be, in the same directory.
    pub to: PathBuf,
}

impl Moved {
    fn perform(&self) -> io::Result<()> {
        fs::rename(&self.from, &self.to)?;
        #[cfg(unix)]
        if let Some(dir) = self.to.parent() {
            File::open(dir)?.sync_all()?;
        }
        Ok(())
    }
}

enum Order {
    Append(Option<Moved>, Vec<u8>),
    Renew(Vec<u8>),
}

/// A journal that a thread of its own writes. Dropped, it waits until what was ordered is done.
#[derive(Debug)]
pub struct JournalThread {
    orders: Option<SyncSender<Order>>,
    thread: Option<JoinHandle<()>>,
}

impl JournalThread {
    /// Begins; `told` hears of each record, on that thread.
    ///
    /// # Errors
    /// If there is no thread.
    pub fn start(mut file: JournalFile, mut told: impl FnMut(Written) + Send + 'static) -> io::Result<JournalThread> {
        let (orders, taken) = sync_channel(ORDERS_MAX);
        let work = move || {
            while let Ok(order) = taken.recv() {
                match order {
                    Order::Append(moved, bytes) => {
                        let written = moved.map_or(Ok(()), |moved| moved.perform()).and_then(|()| file.append(&bytes));
                        if let Err(error) = &written {
                            tracing::error!(%error, "The print journal cannot be written");
                        }
                        told(Written { is_safe: written.is_ok(), is_long: file.is_long() });
                    }
                    Order::Renew(snapshot) => file.renew(&snapshot),
                }
            }
        };
        let thread = std::thread::Builder::new().name("journal".into()).spawn(work)?;
        Ok(JournalThread { orders: Some(orders), thread: Some(thread) })
    }

    /// Appends a record and syncs, after a file got its name. The next one is ordered when this one was told of.
    pub fn append(&mut self, moved: Option<Moved>, bytes: Vec<u8>) {
        self.order(Order::Append(moved, bytes));
    }

    /// Writes the journal anew. Only while no record is on its way.
    pub fn renew(&mut self, snapshot: Vec<u8>) {
        self.order(Order::Renew(snapshot));
    }

    fn order(&mut self, order: Order) {
        let orders = self.orders.as_ref().expect("it is there until this is dropped");
        // One record and one journal anew fit; a thread that panicked tells nothing, and nothing more is done.
        if orders.try_send(order).is_err() {
            tracing::error!("The print journal's thread takes nothing");
        }
    }
}

impl Drop for JournalThread {
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        journal::append(&mut out, body);
        out
    }

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
        let (first, second) = (record(b"what still counts"), record(b"the newest"));
        assert!(file.is_long());
        file.renew(&first);
        file.append(&second).expect("room");
        assert!(!file.is_long());
        assert_eq!(JournalFile::read(&path).expect("a journal"), [&first[..], &second].concat());
        drop(file);
        // What would not be read again is not written.
        let mut full = JournalFile::create(&path, &long).expect("a journal");
        full.append(&long[..long.len() / 2]).expect("room");
        assert!(full.append(&long).is_err());
    }

    #[test]
    fn half_a_record_does_not_hide_the_next_one() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("print.journal");
        let (first, second) = (record(b"first"), record(b"second"));
        let mut file = JournalFile::create(&path, &first).expect("a journal");
        // As a write leaves it that finds the disk full.
        file.file.as_mut().expect("it is open").write_all(&second[..second.len() / 2]).expect("a file");
        file.cut_off().expect("it can be cut off");
        file.append(&second).expect("room");
        assert_eq!(JournalFile::read(&path).expect("a journal"), [first, second].concat());
    }

    #[test]
    fn a_journal_that_cannot_be_written_anew_goes_on_as_it_is() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("print.journal");
        let (first, second) = (record(b"first"), record(b"second"));
        let mut file = JournalFile::create(&path, &first).expect("a journal");
        // Nothing can be written beside it.
        fs::create_dir(path.with_extension("new")).expect("a directory");
        file.renew(&[]);
        file.append(&second).expect("room");
        // Nor can it be replaced.
        file.file = None;
        assert!(file.append(&second).is_err());
        file.reopen().expect("it is there");
        file.append(&second).expect("room");
        assert_eq!(JournalFile::read(&path).expect("a journal"), [&first[..], &second, &second].concat());
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

    #[test]
    fn a_thread_writes_in_order_and_a_record_whose_file_is_missing_not_at_all() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("print.journal");
        let (told, written) = std::sync::mpsc::channel();
        let file = JournalFile::create(&path, &[]).expect("a journal");
        let mut journal = JournalThread::start(file, move |w| told.send(w).expect("it is heard")).expect("a thread");
        let record = |body: &[u8]| {
            let mut record = Vec::new();
            journal::append(&mut record, body);
            record
        };
        let moved = |name: &str| Moved { from: dir.path().join(name), to: dir.path().join("whole") };
        journal.append(Some(moved("nothing")), record(b"lost"));
        assert_eq!(written.recv(), Ok(Written { is_safe: false, is_long: false }));
        fs::write(dir.path().join("part"), "document").expect("a file");
        journal.append(Some(moved("part")), record(b"kept"));
        assert_eq!(written.recv(), Ok(Written { is_safe: true, is_long: false }));
        assert_eq!(fs::read(dir.path().join("whole")).expect("it has its name"), b"document");
        journal.renew(record(b"short"));
        journal.append(None, record(b"last"));
        // Waits, so that nothing of it is written later.
        drop(journal);
        assert_eq!(JournalFile::read(&path).expect("a journal"), [record(b"short"), record(b"last")].concat());
    }
}
