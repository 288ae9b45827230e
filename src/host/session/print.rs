//! The session's printing: jobs from its own IPP printer, queues in its own CUPS, documents to the viewer.
//!
//! What happens to a job decides `proto::print::host`; here it meets the journal's file, the spool, and the two servers.
//! CUPS is started, asked and revived by a thread of its own, and another writes the journal: no picture waits for them.

use crate::io::ipp::printer::{ASKS_MAX, Ask, NewJob, Refused, View, serve, spool_path};
use crate::io::journal::{JournalFile, JournalThread, Moved, Written};
use crate::io::linux::cups::{Cups, CupsError};
use crate::limits::{DOCUMENT_WINDOW, DOCUMENT_WINDOW_MIN};
use crate::proto::print::host::{HostAction, HostJobs, Step};
use crate::proto::wire::Relay;
use crate::proto::wire::print::{JobId, JobOffer, PrintWish, PrintWord, Printer, put_document_head};
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc as channel;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, oneshot};

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
/// Longest pause before a print server whose start failed is tried again; the first is [`CARE`].
const CARE_MAX: Duration = Duration::from_secs(60);
/// What CUPS' thread said and the loop has not heard yet: it waits when there is more.
const MADE_MAX: usize = 4;
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
    /// What the journal's thread has written. Goes before that thread is waited for.
    written: channel::Receiver<Written>,
    journal: JournalThread,
    /// It is long, or holds what is to be forgotten.
    is_journal_old: bool,
    /// The record that it is writing.
    writing: Option<(JobId, Step)>,
    /// Those after it, each with the document that gets its name first.
    records: VecDeque<(JobId, Step, Vec<u8>)>,
    /// Jobs that are not in the journal yet: what was spooled, and the programs that wait for an answer.
    coming: HashMap<JobId, Coming>,
    asks: mpsc::Receiver<Ask>,
    wake: UnixStream,
    cups: channel::SyncSender<Vec<Printer>>,
    /// The newest printers, while its thread has not taken those before.
    next_queues: Option<Vec<Printer>>,
    queues: BTreeMap<String, String>,
    made: channel::Receiver<BTreeMap<String, String>>,
    window: u32,
    /// The document that is on its way.
    open: Option<(JobId, File)>,
    /// When the viewer went, in the session's time.
    absent_since: Option<Duration>,
    documents_bytes: u64,
}

struct Coming {
    moved: Option<Moved>,
    programs: Vec<oneshot::Sender<Result<u32, Refused>>>,
}

impl Printing {
    /// Takes up what an earlier process left in the session's directory, and listens for jobs.
    ///
    /// # Errors
    /// What the system says; without its journal a session does not print.
    pub(super) fn start(place: &Path) -> io::Result<Printing> {
        let spool = place.join(SPOOL);
        crate::io::net::files::private_dir(&spool)?;
        let (mut jobs, journal) = open_journal(&place.join(JOURNAL))?;
        if let Some(cups) = Cups::adopted(place) {
            jobs.handle_left(cups.printers());
        }
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
        let cups_starts = Arc::<AtomicU64>::default();
        let (cups_waker, journal_waker) = (waker.try_clone()?, waker.try_clone()?);
        serve(listener, Cups::users(), spool, first, Arc::clone(&cups_starts), ask, move || wake_up(&waker))?;
        // One record is on its way at a time.
        let (wrote, written) = channel::sync_channel(1);
        let journal = JournalThread::start(journal, move |what| {
            let _ = wrote.send(what);
            wake_up(&journal_waker);
        })?;
        let (cups, wanted) = channel::sync_channel(1);
        let (told, made) = channel::sync_channel(MADE_MAX);
        let dir = place.to_owned();
        std::thread::Builder::new().name("cups".into()).spawn(move || {
            care_for_cups(&dir, &socket, &wanted, &told, &cups_waker, &cups_starts, Cups::adopt_or_start)
        })?;
        Ok(Printing {
            place: place.to_owned(),
            jobs,
            written,
            journal,
            is_journal_old: false,
            writing: None,
            records: VecDeque::new(),
            coming: HashMap::new(),
            asks,
            wake,
            cups,
            next_queues: None,
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
            self.jobs.handle_queues(|key| self.queues.contains_key(&key.to_string()));
        }
        self.hand_queues();
        while let Ok(written) = self.written.try_recv() {
            self.handle_written(written);
        }
        while let Ok(ask) = self.asks.try_recv() {
            match ask {
                Ask::Look(answer) => {
                    let view = View { printers: self.jobs.printers().cloned().collect(), jobs: self.jobs.jobs() };
                    let _ = answer.send(view);
                }
                Ask::Cancel(job) => self.jobs.handle_cancel(job),
                Ask::Job { job, answer } => self.take(*job, answer),
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
        let clock = clock();
        self.is_journal_old |= self.jobs.handle_time(clock);
        self.renew_journal();
        let absence = self.absent_since.map(|since| since + ABSENCE);
        if absence.is_some_and(|at| at <= now) {
            self.absent_since = None;
            self.jobs.handle_absence();
        }
        let absence = absence.filter(|at| *at > now).map(|at| at - now);
        let forgotten = self.jobs.poll_timeout().map(|at| at.saturating_sub(clock));
        absence.into_iter().chain(forgotten).min()
    }

    /// Does what is to be done until there is something for the viewer.
    pub(super) fn poll_outgoing(&mut self) -> Option<Outgoing> {
        self.write_next();
        loop {
            match self.jobs.poll_action(self.window)? {
                HostAction::Record { job, step, bytes } => {
                    self.records.push_back((job, step, bytes));
                    self.write_next();
                }
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
                HostAction::Queues(printers) => {
                    self.next_queues = Some(printers);
                    self.hand_queues();
                }
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
        // First what it may be told, then the thread that tells it: it writes nothing after this.
        drop(self.written);
        drop(self.journal);
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

    /// Takes a job. Its program hears so when document and record are safe on disk.
    fn take(&mut self, job: NewJob, answer: oneshot::Sender<Result<u32, Refused>>) {
        let NewJob { id, printer, number, title, options, path, size, sha256 } = job;
        // A program that did not wait hears it when it asks again: nobody minds if these answers are not heard.
        let known = self.jobs.job(id);
        if known.as_ref().is_some_and(|known| known.offer.sha256 != sha256) {
            // Two came at the same time: they are told apart when this one comes again.
            let _ = fs::remove_file(&path);
            let _ = answer.send(Err(Refused::Other));
        } else if let Some(coming) = self.coming.get_mut(&id) {
            let _ = fs::remove_file(&path);
            coming.programs.push(answer);
        } else if let Some(known) = known {
            let _ = fs::remove_file(&path);
            let _ = answer.send(Ok(known.number));
        } else {
            let offer = JobOffer { job: id, printer, size, sha256, title, options };
            match self.jobs.handle_job(offer, number) {
                Ok(_) => {
                    let to = spool_path(&self.place.join(SPOOL), id);
                    let coming = Coming { moved: Some(Moved { from: path, to }), programs: vec![answer] };
                    self.coming.insert(id, coming);
                    self.write_next();
                }
                Err(refusal) => {
                    let _ = fs::remove_file(&path);
                    let _ = answer.send(Err(Refused::Rule(refusal)));
                }
            }
        }
    }

    /// Hands the next record to the journal's thread, if it is not writing one.
    fn write_next(&mut self) {
        while let Some(record) = self.jobs.poll_record() {
            self.records.push_back(record);
        }
        if self.writing.is_some() {
            return;
        }
        let Some((job, step, bytes)) = self.records.pop_front() else { return };
        let moved = if step == Step::Open { self.coming.get_mut(&job).and_then(|c| c.moved.take()) } else { None };
        self.journal.append(moved, bytes);
        self.writing = Some((job, step));
    }

    fn handle_written(&mut self, written: Written) {
        let Some((job, step)) = self.writing.take() else { return };
        self.jobs.handle_recorded(job, step, written.is_safe);
        if step == Step::Open
            && let Some(coming) = self.coming.remove(&job)
        {
            let taken = self.jobs.job(job).map(|known| known.number).ok_or(Refused::Journal);
            for program in coming.programs {
                let _ = program.send(taken);
            }
        }
        self.is_journal_old |= written.is_long;
        self.renew_journal();
        self.write_next();
    }

    /// Has the journal written anew if that is due and no record is on its way.
    fn renew_journal(&mut self) {
        if self.is_journal_old && self.writing.is_none() {
            self.is_journal_old = false;
            self.journal.renew(self.jobs.snapshot());
        }
    }

    /// Hands the newest printers to CUPS' thread once it has taken those before.
    fn hand_queues(&mut self) {
        let Some(printers) = self.next_queues.take() else { return };
        // If its thread is gone, the session prints nothing more, and says so there.
        if let Err(channel::TrySendError::Full(printers)) = self.cups.try_send(printers) {
            self.next_queues = Some(printers);
        }
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
    let (jobs, errors) = HostJobs::recover(&JournalFile::read(path)?, clock());
    for error in errors {
        tracing::error!(%error, "The print journal holds what no version wrote");
    }
    let journal = JournalFile::create(path, &jobs.snapshot())?;
    Ok((jobs, journal))
}

/// The machine's clock, since 1970.
fn clock() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
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
    told: &channel::SyncSender<BTreeMap<String, String>>,
    waker: &UnixStream,
    starts: &AtomicU64,
    start: impl Fn(&Path, &AtomicU64) -> Result<Cups, CupsError>,
) {
    let mut cups: Option<Cups> = None;
    // What is to be tried again: printers that have no print server, or where not all queues are as they should be.
    let mut failed: Option<Vec<Printer>> = None;
    let mut said: Option<String> = None;
    let mut pause = CARE;
    let mut again_at = Instant::now();
    loop {
        let next = match (&cups, &failed) {
            // Nothing to look after, and nothing to try again.
            (None, None) => wanted.recv().map_err(channel::RecvTimeoutError::from),
            (None, Some(_)) => wanted.recv_timeout(pause),
            (Some(_), _) => wanted.recv_timeout(CARE),
        };
        let printers = match next {
            Ok(next) => {
                // There is room for the next ones.
                wake_up(waker);
                pause = CARE;
                next
            }
            Err(channel::RecvTimeoutError::Timeout) => {
                if let Some(running) = cups.as_mut().filter(|running| !running.is_running()) {
                    tracing::warn!("The print server is gone and is started again");
                    if let Err(error) = running.start(starts) {
                        tracing::error!(%error, "No print server");
                        continue;
                    }
                }
                let Some(printers) = failed.take_if(|_| cups.is_none() || Instant::now() >= again_at) else { continue };
                pause = (2 * pause).min(CARE_MAX);
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
            match start(dir, starts) {
                Ok(started) => (cups, pause) = (Some(started), CARE),
                Err(error) => {
                    let source = std::error::Error::source(&error).map(ToString::to_string);
                    let error = error.to_string();
                    if said.as_ref() != Some(&error) {
                        tracing::error!(error, source, "No print server: programs in the session find no printer");
                    }
                    (said, failed) = (Some(error), Some(printers));
                    continue;
                }
            }
        }
        let Some(running) = &mut cups else { continue };
        let done = running.set_queues(&printers, socket);
        let _ = told.send(running.queues());
        wake_up(waker);
        let error = done.as_ref().err().map(ToString::to_string);
        // Said once, however often it is tried.
        if let Some(error) = error.as_ref().filter(|_| error != said) {
            tracing::error!(error, "A print queue is not as it should be");
        }
        failed = (error.is_some() || running.has_leaving()).then_some(printers);
        again_at = Instant::now() + pause;
        said = error;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::wire::print::PrinterKey;

    fn printer(number: u8) -> Printer {
        Printer::plain(PrinterKey([number; 16]), &format!("printer {number}"))
    }

    #[test]
    fn a_print_server_that_did_not_start_is_tried_again_without_a_new_printer() {
        let (cups, wanted) = channel::sync_channel(1);
        let (told, _made) = channel::sync_channel(MADE_MAX);
        let (waker, _wake) = UnixStream::pair().expect("a pair");
        let (tried, tries) = channel::channel();
        let thread = std::thread::spawn(move || {
            let dir = tempfile::tempdir().expect("a directory");
            let start = |_: &Path, _: &AtomicU64| {
                let _ = tried.send(());
                Err(CupsError::Missing { program: "cupsd", package: "cups-daemon" })
            };
            care_for_cups(dir.path(), Path::new("/nowhere"), &wanted, &told, &waker, &AtomicU64::new(0), start);
        });
        cups.send(vec![printer(1)]).expect("it listens");
        for _ in 0..2 {
            tries.recv_timeout(Duration::from_secs(20)).expect("a try");
        }
        drop(cups);
        thread.join().expect("it ends");
    }

    #[test]
    fn of_printers_that_change_while_cups_is_busy_only_the_newest_wait() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut printing = Printing::start(dir.path()).expect("a session's printing");
        // A thread that takes nothing.
        let (cups, wanted) = channel::sync_channel(1);
        printing.cups = cups;
        for number in 1..=100 {
            printing.handle_wish(PrintWish::Printers(vec![printer(number)]));
            assert!(printing.poll_outgoing().is_none());
        }
        assert_eq!(wanted.recv().expect("the first"), [printer(1)]);
        printing.handle_asks();
        assert_eq!(wanted.recv().expect("the newest"), [printer(100)]);
        assert!(wanted.try_recv().is_err());
        printing.stop();
    }

    #[test]
    fn a_program_hears_that_its_job_is_taken_once_the_disk_has_it_and_waits_for_no_picture() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut printing = Printing::start(dir.path()).expect("a session's printing");
        printing.handle_wish(PrintWish::Printers(vec![printer(1)]));
        let part = dir.path().join(SPOOL).join("1.part");
        fs::write(&part, "%PDF-").expect("ours");
        let job = NewJob {
            id: JobId([9; 16]),
            printer: PrinterKey([1; 16]),
            number: 5,
            title: "a job".into(),
            options: Default::default(),
            path: part,
            size: 5,
            sha256: [0; 32],
        };
        let (answer, mut taken) = oneshot::channel();
        printing.take(job.clone(), answer);
        // Nothing is written on the loop's own thread: it has not heard of the disk yet.
        assert!(taken.try_recv().is_err());
        // Asked once more meanwhile it is the same job.
        let again = dir.path().join(SPOOL).join("2.part");
        fs::write(&again, "%PDF-").expect("ours");
        let (answer, mut taken_again) = oneshot::channel();
        printing.take(NewJob { path: again.clone(), number: 6, ..job.clone() }, answer);
        assert!(taken_again.try_recv().is_err() && !again.exists());
        let written = printing.written.recv().expect("the disk");
        printing.handle_written(written);
        assert_eq!((taken.try_recv(), taken_again.try_recv()), (Ok(Ok(5)), Ok(Ok(5))));
        let journal = fs::read(dir.path().join(JOURNAL)).expect("it is there");
        assert!(journal.windows(16).any(|bytes| bytes == job.id.0));
        assert!(spool_path(&dir.path().join(SPOOL), job.id).exists());
        printing.stop();
    }
}
