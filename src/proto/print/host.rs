//! The host's print jobs, from the moment they are whole until the viewer's print system has said how they ended.
//!
//! A job belongs to one printer of one device and waits for it, whoever looks at the session meanwhile. The document
//! travels only when the viewer asks for it, from the byte it asks for. Spool, journal file and IPP: the shell's.

use super::journal;
use crate::codec::bytes::{Reader, put_varint};
use crate::limits::{DOCUMENT_CHUNK, DOCUMENT_CONFIRM, DOCUMENT_WINDOW_MIN, DOCUMENTS_BYTES_MAX, JOBS_MAX};
use crate::proto::wire::WireError;
use crate::proto::wire::print::{JobId, JobOffer, JobReason, JobState, PrintWish, PrintWord, Printer, PrinterKey};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use thiserror::Error;

/// Jobs that have ended and are still known, so that programs can ask how: the oldest are forgotten.
pub const ENDED_MAX: usize = 128;

/// How long it is known how a job ended, at most.
pub const RETENTION: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Queues that leave at a time, at most; only a device whose printers change all the time has more.
const LEAVING_MAX: usize = 64;

/// Why a job is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// As many jobs wait as may.
    #[error("{JOBS_MAX} print jobs are waiting already")]
    Full,
    /// Documents of jobs that wait take all the room there is.
    #[error("waiting print jobs take {DOCUMENTS_BYTES_MAX} bytes already, or would with this one")]
    NoRoom,
    /// The printer is not offered.
    #[error("the printer is not there")]
    NoPrinter,
}

/// Why a journal's record says nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    /// It is not what any version wrote.
    #[error("record {index} is malformed: {error}")]
    Wire {
        /// Which, from 0.
        index: usize,
        /// Why.
        error: WireError,
    },
}

/// What the shell does, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostAction {
    /// Append to the journal and sync, then say so with [`HostJobs::handle_recorded`].
    Record {
        /// Whose record it is.
        job: JobId,
        /// What it says.
        step: Step,
        /// The record with its head.
        bytes: Vec<u8>,
    },
    /// Send to the viewer.
    Tell(PrintWord),
    /// Begin a stream with this job's document from this byte on; one that is open is given up.
    Begin {
        /// Which.
        job: JobId,
        /// From where.
        offset: u32,
    },
    /// Send these bytes of the document in the stream.
    Send {
        /// Which.
        job: JobId,
        /// From where.
        offset: u32,
        /// How many.
        count: u32,
    },
    /// The stream is whole.
    End,
    /// Delete the document.
    Discard(JobId),
    /// The printers changed: have a queue for each of these (open jobs' printers are among them). Others take no further
    /// jobs, and go once what was printed on them has come here; say so with [`HostJobs::handle_queues`].
    Queues(Vec<Printer>),
}

/// What a record says of its job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is whole.
    Open = 1,
    /// Its device hears of it: from now on only that device can say how it ended.
    Offered = 2,
    /// How it ended.
    Ended = 3,
}

/// A job as programs in the session see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobView {
    /// The job.
    pub offer: JobOffer,
    /// Its small number in the session's printer.
    pub number: u32,
    /// What the viewer said last; `None`: it has not taken it yet.
    pub state: Option<JobState>,
    /// Why.
    pub reason: JobReason,
    /// Bytes of the document that the viewer has.
    pub confirmed: u32,
    /// Whether its device is there.
    pub present: bool,
    /// The user wants it cancelled.
    pub canceling: bool,
}

#[derive(Debug)]
struct Job {
    offer: JobOffer,
    printer: Printer,
    number: u32,
    /// It is in the journal.
    recorded: bool,
    /// The journal is to hear that its device hears of it.
    announcing: bool,
    /// Its device has heard of it at some time, so only that device can say how it ended.
    offered: bool,
    /// The journal is to hear how it ended.
    ending: bool,
    /// The journal knows how it ended.
    settled: bool,
    /// When it ended, by the machine's clock.
    ended_at: Duration,
    /// Its device has heard of it over this connection.
    told: bool,
    state: Option<JobState>,
    reason: JobReason,
    confirmed: u32,
    canceling: bool,
}

#[derive(Debug)]
struct Transfer {
    job: JobId,
    begun: bool,
    /// All is sent; the next document waits until this one is confirmed, as a viewer has one place for streams.
    ended: bool,
    sent: u32,
}

/// All print jobs of a session.
#[derive(Debug, Default)]
pub struct HostJobs {
    jobs: BTreeMap<JobId, Job>,
    /// Jobs that have ended, in the order in which that was written down.
    ended: VecDeque<JobId>,
    /// The time that it was last, by the machine's clock.
    now: Duration,
    /// What the attached viewer offers; `None` while none is attached or it has not said so.
    printers: Option<Vec<Printer>>,
    /// Printers that have a queue in the session.
    queues: Vec<Printer>,
    /// Printers whose queue is to go and may still have jobs.
    leaving: Vec<Printer>,
    wanted: VecDeque<Transfer>,
    actions: VecDeque<HostAction>,
    numbers: u32,
}

impl HostJobs {
    /// Reads what an earlier process wrote down; `now` is the machine's clock. Also gives the records that could not be read, to
    /// be logged.
    pub fn recover(bytes: &[u8], now: Duration) -> (HostJobs, Vec<RecordError>) {
        let mut jobs = HostJobs { now, ..HostJobs::default() };
        let mut errors = Vec::new();
        for (index, body) in journal::recover(bytes).0.into_iter().enumerate() {
            if let Err(error) = jobs.apply(body) {
                errors.push(RecordError::Wire { index, error });
            }
        }
        jobs.handle_time(now);
        for job in jobs.jobs.values().filter(|job| !job.has_ended()) {
            if jobs.queues.iter().all(|p| p.key != job.printer.key) {
                jobs.queues.push(absent(&job.printer));
            }
        }
        (jobs, errors)
    }

    /// The shortest journal that says the same.
    pub fn snapshot(&self) -> Vec<u8> {
        let mut out = Vec::new();
        // Also jobs whose end is not written down yet; but none that nobody was told is taken.
        let unsettled = self.jobs.values().filter(|job| job.recorded && !job.settled);
        for job in self.ended.iter().filter_map(|id| self.jobs.get(id)).chain(unsettled) {
            journal::append(&mut out, &job.record(Step::Open));
            if job.offered {
                journal::append(&mut out, &job.record(Step::Offered));
            }
            if job.settled {
                journal::append(&mut out, &job.record(Step::Ended));
            }
        }
        out
    }

    /// A program printed something, and was given this number for it: its document is whole and safe on disk. Gives the
    /// job's number; asked again with the same id it gives the first one and does nothing, so that no job is taken twice.
    ///
    /// The program may hear that it is taken once [`HostJobs::handle_recorded`] was told so.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn handle_job(&mut self, offer: JobOffer, number: u32) -> Result<u32, Refusal> {
        if let Some(known) = self.jobs.get(&offer.job) {
            return Ok(known.number);
        }
        let Some(printer) = self.printers().find(|p| p.key == offer.printer).cloned() else {
            return Err(Refusal::NoPrinter);
        };
        if self.open().count() >= JOBS_MAX {
            return Err(Refusal::Full);
        }
        // Until its end is written down a job's document is there.
        let kept = self.jobs.values().filter(|job| !job.settled).map(|job| u64::from(job.offer.size));
        if kept.sum::<u64>() + u64::from(offer.size) > DOCUMENTS_BYTES_MAX {
            return Err(Refusal::NoRoom);
        }
        self.numbers = self.numbers.max(number);
        let id = offer.job;
        self.jobs.insert(id, Job::new(offer, printer.clone(), number));
        self.record(id, Step::Open);
        // Its queue was about to go.
        if self.queues.iter().all(|p| p.key != printer.key) {
            self.leaving.retain(|p| p.key != printer.key);
            self.queues.push(printer);
            self.actions.push_back(HostAction::Queues(self.queues.clone()));
        }
        Ok(number)
    }

    /// A record is on disk, or cannot be written.
    pub fn handle_recorded(&mut self, id: JobId, step: Step, written: bool) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        match (step, written) {
            (Step::Open, true) => {
                job.recorded = true;
                self.offer();
            }
            // A job that nobody could remember is not taken.
            (Step::Open, false) => {
                self.jobs.remove(&id);
                self.actions.push_back(HostAction::Discard(id));
            }
            (Step::Offered, written) => {
                job.announcing = false;
                job.offered = written;
                // What cannot be written down is not done; the next chance is the next change of printers.
                if written {
                    self.offer();
                }
            }
            (Step::Ended, true) => {
                (job.ending, job.settled) = (false, true);
                self.ended.push_back(id);
                self.actions.push_back(HostAction::Tell(PrintWord::Settled(id)));
                self.actions.push_back(HostAction::Discard(id));
                self.forget_old();
                if self.printers.is_some() {
                    self.keep_queues();
                }
            }
            // It stays unsettled: its viewer says it again, and it is tried again.
            (Step::Ended, false) => job.ending = false,
        }
    }

    /// The user no longer wants a job.
    pub fn handle_cancel(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if job.has_ended() || job.canceling {
            return;
        }
        job.canceling = true;
        if !job.offered && !job.announcing {
            self.end(id, JobState::Canceled, JobReason::User);
        } else if job.told {
            self.actions.push_back(HostAction::Tell(PrintWord::Cancel(id)));
        }
    }

    /// The viewer said something about printing.
    pub fn handle_wish(&mut self, wish: PrintWish) {
        match wish {
            PrintWish::Printers(printers) => {
                self.printers = Some(printers);
                self.keep_queues();
                self.offer();
            }
            PrintWish::Wanted { job: id, offset } => match self.jobs.get_mut(&id) {
                Some(job) if job.told && !job.has_ended() && offset <= job.offer.size => {
                    job.confirmed = offset;
                    self.wanted.retain(|t| t.job != id);
                    self.wanted.push_back(Transfer { job: id, begun: false, ended: false, sent: offset });
                }
                Some(job) if !job.has_ended() => {}
                _ => self.actions.push_back(HostAction::Tell(PrintWord::Cancel(id))),
            },
            PrintWish::Received { job: id, offset } => {
                if let Some(job) = self.jobs.get_mut(&id) {
                    job.confirmed = offset.min(job.offer.size).max(job.confirmed);
                }
            }
            PrintWish::State { job: id, state, reason } => match self.jobs.get_mut(&id) {
                Some(job) if job.settled => self.actions.push_back(HostAction::Tell(PrintWord::Settled(id))),
                // However often it is said, it is written once at a time.
                Some(job) if job.ending => {}
                Some(job) if job.has_ended() => self.record(id, Step::Ended),
                // Only the device that was asked can answer.
                Some(job) if !job.told => {}
                Some(_) if state.is_end() => self.end(id, state, reason),
                Some(job) => (job.state, job.reason) = (Some(state), reason),
                None => self.actions.push_back(HostAction::Tell(PrintWord::Settled(id))),
            },
        }
    }

    /// The viewer is gone; its queues stay until another one offers printers of its own.
    pub fn handle_detached(&mut self) {
        self.printers = None;
        self.wanted.clear();
        self.actions
            .retain(|a| matches!(a, HostAction::Record { .. } | HostAction::Discard(_) | HostAction::Queues(_)));
        for job in self.jobs.values_mut() {
            job.told = false;
        }
    }

    /// There are queues for these printers and for no other.
    pub fn handle_queues(&mut self, is_there: impl Fn(PrinterKey) -> bool) {
        self.leaving.retain(|p| is_there(p.key));
    }

    /// An earlier process left queues for these printers: they stay until it is known which are wanted.
    pub fn handle_left(&mut self, printers: Vec<Printer>) {
        for printer in printers {
            if self.queues.iter().all(|p| p.key != printer.key) {
                self.queues.push(absent(&printer));
            }
        }
    }

    /// It is this time by the machine's clock. Whether a job was forgotten because it ended so long ago: then the journal is to
    /// be written anew.
    pub fn handle_time(&mut self, now: Duration) -> bool {
        self.now = now;
        let is_kept = |job: &Job| job.ended_at + RETENTION > now;
        let before = self.ended.len();
        self.ended.retain(|id| {
            let is_kept = self.jobs.get(id).is_some_and(is_kept);
            if !is_kept {
                self.jobs.remove(id);
            }
            is_kept
        });
        before > self.ended.len()
    }

    /// When to call [`HostJobs::handle_time`] again.
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.ended.iter().filter_map(|id| self.jobs.get(id)).map(|job| job.ended_at + RETENTION).min()
    }

    /// Nobody came back for a while: only queues with open jobs stay.
    pub fn handle_absence(&mut self) {
        if self.printers.is_none() {
            self.keep_queues();
        }
    }

    /// The next thing to do; documents only as far as no more than `window` bytes of one are unconfirmed.
    pub fn poll_action(&mut self, window: u32) -> Option<HostAction> {
        self.actions.pop_front().or_else(|| self.poll_document(window))
    }

    /// The next record that waits, before anything else that is to be done: a program is to hear only of what is safe.
    pub fn poll_record(&mut self) -> Option<(JobId, Step, Vec<u8>)> {
        let at = self.actions.iter().position(|action| matches!(action, HostAction::Record { .. }))?;
        match self.actions.remove(at) {
            Some(HostAction::Record { job, step, bytes }) => Some((job, step, bytes)),
            _ => None,
        }
    }

    /// A job's document can no longer be read, so its device cannot have got it.
    pub fn handle_lost_document(&mut self, id: JobId) {
        self.wanted.retain(|transfer| transfer.job != id);
        if self.jobs.get(&id).is_some_and(|job| !job.has_ended()) {
            self.end(id, JobState::Failed, JobReason::Damaged);
            self.actions.push_back(HostAction::Tell(PrintWord::Cancel(id)));
        }
    }

    /// A job.
    pub fn job(&self, id: JobId) -> Option<JobView> {
        self.jobs.get(&id).map(|job| self.view(job))
    }

    /// All jobs, in the order of their numbers.
    pub fn jobs(&self) -> Vec<JobView> {
        let mut views: Vec<JobView> = self.jobs.values().map(|job| self.view(job)).collect();
        views.sort_by_key(|view| view.number);
        views
    }

    /// The highest number that a job ever had here.
    pub fn last_number(&self) -> u32 {
        self.numbers
    }

    /// Printers that are to have a queue.
    pub fn queues(&self) -> &[Printer] {
        &self.queues
    }

    /// Printers from whose queues jobs may come: also from those that are about to go.
    pub fn printers(&self) -> impl Iterator<Item = &Printer> {
        self.queues.iter().chain(&self.leaving)
    }

    /// Whether the printer's device is attached and offers it.
    pub fn is_present(&self, key: PrinterKey) -> bool {
        self.printers.iter().flatten().any(|p| p.key == key)
    }

    fn view(&self, job: &Job) -> JobView {
        JobView {
            offer: job.offer.clone(),
            number: job.number,
            state: job.state,
            reason: job.reason,
            confirmed: job.confirmed,
            present: self.is_present(job.offer.printer),
            canceling: job.canceling,
        }
    }

    fn open(&self) -> impl Iterator<Item = &Job> {
        self.jobs.values().filter(|job| !job.has_ended())
    }

    /// Offers what its device has not heard of over this connection; before the first time the journal hears of it.
    fn offer(&mut self) {
        let mut news: Vec<(u32, JobId)> = self
            .open()
            .filter(|job| job.recorded && !job.told && !job.announcing && self.is_present(job.offer.printer))
            .map(|job| (job.number, job.offer.job))
            .collect();
        news.sort_unstable();
        for (_, id) in news {
            let job = self.jobs.get_mut(&id).expect("it was found in this very map");
            if !job.offered {
                job.announcing = true;
                self.record(id, Step::Offered);
                continue;
            }
            job.told = true;
            self.actions.push_back(HostAction::Tell(PrintWord::Offer(job.offer.clone())));
            if job.canceling {
                self.actions.push_back(HostAction::Tell(PrintWord::Cancel(id)));
            }
        }
    }

    fn poll_document(&mut self, window: u32) -> Option<HostAction> {
        while let Some(transfer) = self.wanted.front_mut() {
            let id = transfer.job;
            let Some(job) = self.jobs.get(&id).filter(|job| !job.has_ended()) else {
                self.wanted.pop_front();
                continue;
            };
            if !transfer.begun {
                transfer.begun = true;
                return Some(HostAction::Begin { job: id, offset: transfer.sent });
            }
            if transfer.sent == job.offer.size && !transfer.ended {
                transfer.ended = true;
                return Some(HostAction::End);
            }
            if transfer.ended && job.confirmed < job.offer.size {
                return None;
            }
            if transfer.ended {
                self.wanted.pop_front();
                continue;
            }
            let room = window.saturating_sub(transfer.sent.saturating_sub(job.confirmed));
            let count = (job.offer.size - transfer.sent).min(DOCUMENT_CHUNK);
            // No tiny pieces where a window opens byte by byte. Half a window always opens: what a viewer leaves unconfirmed
            // is less than half of the smallest.
            const { assert!(2 * DOCUMENT_CONFIRM <= DOCUMENT_WINDOW_MIN) };
            if room == 0 || room < count.min(window / 2) {
                return None;
            }
            let offset = transfer.sent;
            let count = count.min(room);
            transfer.sent += count;
            return Some(HostAction::Send { job: id, offset, count });
        }
        None
    }

    fn end(&mut self, id: JobId, state: JobState, reason: JobReason) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        (job.state, job.reason, job.ended_at) = (Some(state), reason, self.now);
        self.record(id, Step::Ended);
    }

    /// Queues are the printers offered now and those that open jobs wait for.
    fn keep_queues(&mut self) {
        let mut queues = self.printers.clone().unwrap_or_default();
        for old in &self.queues {
            let waits = self.open().any(|job| job.offer.printer == old.key);
            if waits && queues.iter().all(|p| p.key != old.key) {
                queues.push(absent(old));
            }
        }
        if queues != self.queues {
            let is_wanted = |printer: &Printer| queues.iter().any(|p| p.key == printer.key);
            self.leaving.retain(|printer| !is_wanted(printer));
            self.leaving.extend(self.queues.iter().filter(|printer| !is_wanted(printer)).map(absent));
            let surplus = self.leaving.len().saturating_sub(LEAVING_MAX);
            self.leaving.drain(..surplus);
            self.queues = queues.clone();
            self.actions.push_back(HostAction::Queues(queues));
        }
    }

    fn forget_old(&mut self) {
        while self.ended.len() > ENDED_MAX {
            let oldest = self.ended.pop_front().expect("it is longer than its bound");
            self.jobs.remove(&oldest);
        }
    }

    fn record(&mut self, id: JobId, step: Step) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.ending |= step == Step::Ended;
        let mut bytes = Vec::new();
        journal::append(&mut bytes, &job.record(step));
        self.actions.push_back(HostAction::Record { job: id, step, bytes });
    }

    fn apply(&mut self, body: &[u8]) -> Result<(), WireError> {
        let mut r = Reader::new(body);
        match r.u8()? {
            1 => {
                let (number, printer) = (r.varint()?, Printer::decode(&mut r)?);
                let offer = JobOffer::decode(&mut r)?;
                self.numbers = self.numbers.max(number);
                // However many there are: the file is bounded, and one that is left out would be lost.
                let job = Job { recorded: true, ..Job::new(offer, printer, number) };
                self.jobs.entry(job.offer.job).or_insert(job);
            }
            kind @ (2 | 3) => {
                let id = JobId(r.take(16)?.try_into().expect("16 bytes were taken"));
                let Some(job) = self.jobs.get_mut(&id).filter(|job| !job.has_ended()) else { return Ok(()) };
                job.offered |= kind == 2;
                if kind == 2 {
                    return Ok(());
                }
                let (state, reason) = (r.u8()?, r.u8()?);
                let seconds = u64::from(r.u32()?) | u64::from(r.u32()?) << 32;
                let unknown = |value: u8| WireError::Value { field: "state", value: value.into() };
                let ended = JobState::from_number(state).filter(|s| s.is_end()).ok_or(unknown(state))?;
                job.reason = JobReason::from_number(reason).ok_or(unknown(reason))?;
                (job.state, job.settled) = (Some(ended), true);
                // A clock that went back since makes nothing stay longer.
                job.ended_at = Duration::from_secs(seconds).min(self.now);
                self.ended.push_back(id);
                // As the process that wrote it did, else the oldest would leave no room for the newest.
                self.forget_old();
            }
            other => return Err(WireError::Type(other)),
        }
        Ok(())
    }
}

impl Job {
    fn new(offer: JobOffer, printer: Printer, number: u32) -> Job {
        Job {
            offer,
            printer,
            number,
            recorded: false,
            announcing: false,
            offered: false,
            ending: false,
            settled: false,
            ended_at: Duration::ZERO,
            told: false,
            state: None,
            reason: JobReason::None,
            confirmed: 0,
            canceling: false,
        }
    }

    fn has_ended(&self) -> bool {
        self.state.is_some_and(JobState::is_end)
    }

    fn record(&self, step: Step) -> Vec<u8> {
        let mut body = vec![step as u8];
        if step == Step::Open {
            put_varint(&mut body, self.number);
            self.printer.encode(&mut body);
            self.offer.encode(&mut body);
            return body;
        }
        body.extend_from_slice(&self.offer.job.0);
        if step == Step::Ended {
            body.extend_from_slice(&[self.state.map_or(0, |s| s as u8), self.reason as u8]);
            body.extend_from_slice(&self.ended_at.as_secs().to_le_bytes());
        }
        body
    }
}

/// The printer of a device that is not there.
fn absent(printer: &Printer) -> Printer {
    Printer { ready: false, is_default: false, ..printer.clone() }
}
