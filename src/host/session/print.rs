//! The session's printing: jobs from its own IPP printer, queues in its own CUPS, documents to the viewer.
//!
//! What happens to a job decides `proto::print::host`; here it meets the journal's file, the spool, and the two servers.
//! CUPS is started, asked and revived by a thread of its own, so that no picture waits for it.

use crate::io::ipp::printer::{ASKS_MAX, Ask, NewJob, Refused, View, serve, spool_path};
use crate::io::journal::JournalFile;
use crate::io::linux::cups::Cups;
use crate::limits::{DOCUMENT_WINDOW, DOCUMENT_WINDOW_MIN};
use crate::proto::print::host::{HostAction, HostJobs, Step};
use crate::proto::wire::Relay;
use crate::proto::wire::print::{JobId, JobOffer, PrintWish, PrintWord, Printer, put_document_head};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc as channel;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// The journal's file in the session's directory.
const JOURNAL: &str = "print.journal";
/// Documents of jobs that have not ended.
const SPOOL: &str = "print-spool";
/// Numbers that a process which died may have given out and not written down.
const NUMBERS_LEFT_OUT: u32 = 1_000;
/// A device that has been gone for this long takes its queues with it.
const ABSENCE: Duration = Duration::from_secs(60);
/// How often CUPS is looked after: it may be killed like anything else.
const CARE: Duration = Duration::from_secs(2);
/// A session that ends waits so long for its print server: then it is killed.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// What the loop is to pass on to the viewer.
#[derive(Debug)]
pub(super) enum Outgoing {
    /// A word on the control stream.
    Word(PrintWord),
    /// A part of a document.
    Document(Relay),
}

/// All of a session's printing.
pub(super) struct Printing {
    place: PathBuf,
    jobs: HostJobs,
    journal: JournalFile,
    asks: mpsc::Receiver<Ask>,
    wake: UnixStream,
    cups: channel::Sender<Vec<Printer>>,
    queues: BTreeMap<String, String>,
    made: channel::Receiver<BTreeMap<String, String>>,
    window: u32,
    /// The document that is on its way.
    open: Option<(JobId, File)>,
    /// When the viewer went, in the session's time.
    absent_since: Option<Duration>,
    documents_bytes: u64,
}

impl Printing {
    /// Takes up what an earlier process left in the session's directory, and listens for jobs.
    ///
    /// # Errors
    /// What the system says; without its journal a session does not print.
    pub(super) fn start(place: &Path) -> io::Result<Printing> {
        let spool = place.join(SPOOL);
        crate::io::net::files::private_dir(&spool)?;
        let (jobs, journal) = open_journal(&place.join(JOURNAL))?;
        let kept: Vec<PathBuf> = jobs
            .jobs()
            .iter()
            .filter(|job| !job.state.is_some_and(|s| s.is_end()))
            .map(|job| spool_path(&spool, job.offer.job))
            .collect();
        for entry in fs::read_dir(&spool)?.flatten() {
            if !kept.contains(&entry.path()) {
                fs::remove_file(entry.path())?;
            }
        }
        let (listener, socket) = Cups::bind_printer(place)?;
        let (wake, waker) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        waker.set_nonblocking(true)?;
        let (ask, asks) = mpsc::channel(ASKS_MAX);
        let first = jobs.last_number() + if jobs.last_number() > 0 { NUMBERS_LEFT_OUT } else { 0 };
        let cups_waker = waker.try_clone()?;
        serve(listener, Cups::users(), spool, first, ask, move || wake_up(&waker))?;
        let (cups, wanted) = channel::channel();
        let (told, made) = channel::channel();
        let dir = place.to_owned();
        std::thread::Builder::new()
            .name("cups".into())
            .spawn(move || care_for_cups(&dir, &socket, &wanted, &told, &cups_waker))?;
        Ok(Printing {
            place: place.to_owned(),
            jobs,
            journal,
            asks,
            wake,
            cups,
            queues: BTreeMap::new(),
            made,
            window: DOCUMENT_WINDOW_MIN,
            open: None,
            absent_since: None,
            documents_bytes: 0,
        })
    }

    /// Takes what the session's printer asks.
    pub(super) fn handle_asks(&mut self) {
        let mut bytes = [0; 64];
        while matches!((&self.wake).read(&mut bytes), Ok(n) if n > 0) {}
        while let Ok(queues) = self.made.try_recv() {
            self.queues = queues;
        }
        while let Ok(ask) = self.asks.try_recv() {
            match ask {
                Ask::Look(answer) => {
                    let view = View { printers: self.jobs.queues().to_vec(), jobs: self.jobs.jobs() };
                    let _ = answer.send(view);
                }
                Ask::Cancel(job) => self.jobs.handle_cancel(job),
                Ask::Job { job, answer } => {
                    let taken = self.take(*job);
                    // A program that did not wait hears it when it asks again.
                    let _ = answer.send(taken);
                }
            }
        }
    }

    /// The viewer said something about printing.
    pub(super) fn handle_wish(&mut self, wish: PrintWish) {
        self.absent_since = None;
        self.jobs.handle_wish(wish);
    }

    /// The viewer's path: a document takes a quarter of what is on its way, at most.
    pub(super) fn handle_path(&mut self, window_bytes: u32) {
        self.window = (window_bytes / 4).clamp(DOCUMENT_WINDOW_MIN, DOCUMENT_WINDOW);
    }

    /// The viewer is gone, at this time.
    pub(super) fn handle_detached(&mut self, now: Duration) {
        self.open = None;
        self.jobs.handle_detached();
        self.absent_since = Some(now);
    }

    /// Looks whether something is due; returns when to look again.
    pub(super) fn handle_time(&mut self, now: Duration) -> Option<Duration> {
        let at = self.absent_since? + ABSENCE;
        if at > now {
            return Some(at - now);
        }
        self.absent_since = None;
        self.jobs.handle_absence();
        None
    }

    /// Does what is to be done until there is something for the viewer.
    pub(super) fn poll_outgoing(&mut self) -> Option<Outgoing> {
        loop {
            match self.jobs.poll_action(self.window)? {
                HostAction::Record { job, step, bytes } => self.write(job, step, &bytes),
                HostAction::Tell(word) => return Some(Outgoing::Word(word)),
                HostAction::Begin { job, offset } => match self.begin(job, offset) {
                    Ok(head) => return Some(Outgoing::Document(Relay::DocumentBegin(head))),
                    Err(error) => self.lose(job, &error),
                },
                HostAction::Send { job, count, .. } => match self.read(job, count) {
                    Ok(bytes) => {
                        self.documents_bytes += u64::from(count);
                        return Some(Outgoing::Document(Relay::Document(bytes)));
                    }
                    Err(error) => self.lose(job, &error),
                },
                HostAction::End => {
                    self.open = None;
                    return Some(Outgoing::Document(Relay::DocumentEnd));
                }
                HostAction::Discard(job) => {
                    let _ = fs::remove_file(spool_path(&self.place.join(SPOOL), job));
                }
                // If its thread is gone, the session prints nothing more, and says so there.
                HostAction::Queues(printers) => drop(self.cups.send(printers)),
            }
        }
    }

    /// For `kachel-host status`.
    pub(super) fn status(&self) -> serde_json::Value {
        let printers: Vec<serde_json::Value> = self
            .jobs
            .queues()
            .iter()
            .map(|p| {
                serde_json::json!({
                    "key": p.key.to_string(),
                    "name": p.name,
                    "queue": self.queues.get(&p.key.to_string()),
                    "default": p.is_default,
                    "present": self.jobs.is_present(p.key),
                })
            })
            .collect();
        let jobs: Vec<serde_json::Value> = self
            .jobs
            .jobs()
            .iter()
            .map(|j| {
                serde_json::json!({
                    "job": j.offer.job.to_string(),
                    "number": j.number,
                    "printer": j.offer.printer.to_string(),
                    "bytes": j.offer.size,
                    "confirmed": j.confirmed,
                    "state": j.state.map(|s| format!("{s:?}").to_lowercase()),
                    "reason": format!("{:?}", j.reason).to_lowercase(),
                })
            })
            .collect();
        serde_json::json!({ "printers": printers, "jobs": jobs, "bytes": self.documents_bytes })
    }

    /// The desktop is over: nothing of its printing stays.
    pub(super) fn stop(self) {
        drop(self.cups);
        // The thread ends CUPS when it hears that nobody wants queues any more, and then hangs up.
        let end = Instant::now() + STOP_LIMIT;
        loop {
            match self.made.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(_) => {}
                Err(channel::RecvTimeoutError::Disconnected) => break,
                Err(channel::RecvTimeoutError::Timeout) => {
                    tracing::error!("The print server does not answer and is killed");
                    if let Some(mut cups) = Cups::adopted(&self.place) {
                        cups.stop();
                    }
                    break;
                }
            }
        }
        let _ = fs::remove_file(self.place.join(JOURNAL));
        Cups::clean(&self.place);
        let _ = fs::remove_dir_all(self.place.join(SPOOL));
    }

    fn take(&mut self, job: NewJob) -> Result<u32, Refused> {
        let NewJob { id, printer, number, title, options, path, size, sha256 } = job;
        if self.jobs.job(id).is_some() {
            let _ = fs::remove_file(&path);
            let number = self.jobs.job(id).map_or(number, |known| known.number);
            return Ok(number);
        }
        let place = spool_path(&self.place.join(SPOOL), id);
        let moved = fs::rename(&path, &place).and_then(|()| File::open(self.place.join(SPOOL))?.sync_all());
        if let Err(error) = moved {
            tracing::error!(%error, "A print job cannot be kept");
            return Err(Refused::Journal);
        }
        let offer = JobOffer { job: id, printer, size, sha256, title, options };
        let refused = match self.jobs.handle_job(offer, number) {
            Ok(_) => {
                self.record();
                self.jobs.job(id).is_none().then_some(Refused::Journal)
            }
            Err(refusal) => Some(Refused::Rule(refusal)),
        };
        match refused {
            None => Ok(number),
            Some(refused) => {
                let _ = fs::remove_file(&place);
                Err(refused)
            }
        }
    }

    /// Writes the records that wait first, so that a program hears only of what is safe; the rest stays in its order.
    fn record(&mut self) {
        while let Some((job, step, bytes)) = self.jobs.poll_record() {
            self.write(job, step, &bytes);
        }
    }

    fn write(&mut self, job: JobId, step: Step, bytes: &[u8]) {
        let written = self.journal.append(bytes);
        if let Err(error) = &written {
            tracing::error!(%error, "The print journal cannot be written");
        }
        self.jobs.handle_recorded(job, step, written.is_ok());
        self.journal.compact(|| self.jobs.snapshot());
    }

    fn begin(&mut self, job: JobId, offset: u32) -> io::Result<Bytes> {
        let mut file = File::open(spool_path(&self.place.join(SPOOL), job))?;
        file.seek(SeekFrom::Start(offset.into()))?;
        self.open = Some((job, file));
        let mut head = Vec::new();
        put_document_head(&mut head, job, offset);
        Ok(head.into())
    }

    fn read(&mut self, job: JobId, count: u32) -> io::Result<Bytes> {
        let file = self.open.as_mut().filter(|(open, _)| *open == job).map(|(_, file)| file);
        let mut bytes = vec![0; count as usize];
        file.ok_or(io::ErrorKind::NotFound)?.read_exact(&mut bytes)?;
        Ok(bytes.into())
    }

    /// A document is no longer what was written down: its job ends, and says why.
    fn lose(&mut self, job: JobId, error: &io::Error) {
        tracing::error!(%job, %error, "A spooled document cannot be read");
        self.open = None;
        self.jobs.handle_lost_document(job);
    }
}

impl AsFd for Printing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

/// Takes up what the journal says and writes it anew, short.
fn open_journal(path: &Path) -> io::Result<(HostJobs, JournalFile)> {
    let (jobs, errors) = HostJobs::recover(&JournalFile::read(path)?);
    for error in errors {
        tracing::error!(%error, "The print journal holds what no version wrote");
    }
    let journal = JournalFile::create(path, &jobs.snapshot())?;
    Ok((jobs, journal))
}

fn wake_up(mut waker: &UnixStream) {
    // A full pipe wakes as well.
    let _ = waker.write(&[1]);
}

/// The thread of CUPS: starts it for the first printer, keeps its queues, revives it, and ends it with the session.
fn care_for_cups(
    dir: &Path,
    socket: &Path,
    wanted: &channel::Receiver<Vec<Printer>>,
    told: &channel::Sender<BTreeMap<String, String>>,
    waker: &UnixStream,
) {
    let mut cups: Option<Cups> = None;
    // Printers whose queues are not all as they should be, and what was said about them.
    let mut failed: Option<Vec<Printer>> = None;
    let mut said: Option<String> = None;
    loop {
        let printers = match wanted.recv_timeout(CARE) {
            Ok(next) => wanted.try_iter().last().unwrap_or(next),
            Err(channel::RecvTimeoutError::Timeout) => {
                if let Some(running) = cups.as_mut().filter(|running| !running.is_running()) {
                    tracing::warn!("The print server is gone and is started again");
                    if let Err(error) = running.start() {
                        tracing::error!(%error, "No print server");
                        continue;
                    }
                }
                // Queues that failed are tried again; a start that failed with the next change.
                let Some(printers) = failed.take() else { continue };
                printers
            }
            Err(channel::RecvTimeoutError::Disconnected) => {
                if let Some(mut cups) = cups.take().or_else(|| Cups::adopted(dir)) {
                    cups.stop();
                }
                return;
            }
        };
        if cups.is_none() {
            if printers.is_empty() {
                continue;
            }
            match Cups::adopt_or_start(dir) {
                Ok(started) => cups = Some(started),
                Err(error) => {
                    let source = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::error!(%error, source, "No print server: programs in the session find no printer");
                    continue;
                }
            }
        }
        let Some(running) = &mut cups else { continue };
        let done = running.set_queues(&printers, socket);
        let names = printers.iter().filter_map(|p| Some((p.key.to_string(), running.queue(p.key)?.to_owned())));
        let _ = told.send(names.collect());
        wake_up(waker);
        let error = done.as_ref().err().map(ToString::to_string);
        // Said once, however often it is tried.
        if let Some(error) = error.as_ref().filter(|_| error != said) {
            tracing::error!(error, "A print queue is not as it should be");
        }
        failed = error.is_some().then_some(printers);
        said = error;
    }
}
