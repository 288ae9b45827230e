//! The viewer's print jobs, from the host's offer until the host has written down how they ended.
//!
//! Only the hand-over to the print system cannot be repeated, so the journal hears of it before: a viewer that comes
//! back from a crash asks the print system for a job that carries the id, and asks its user where nobody else can know.
//! The document, the journal's file and the print system are the shell's.

use super::journal;
use crate::codec::bytes::Reader;
use crate::limits::{DOCUMENT_CONFIRM, DOCUMENTS_BYTES_MAX, JOBS_MAX};
use crate::proto::wire::WireError;
use crate::proto::wire::print::{JobId, JobOffer, JobReason, JobState, PrintWish, PrintWord, Printer, PrinterKey};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// A print system that did not answer is asked again after this long.
pub const RETRY: Duration = Duration::from_secs(5);
/// After so many times the user is asked as well, and it is asked less often.
const AWAY_MAX: u32 = 12;
/// As often as this.
const RETRY_SELDOM: Duration = Duration::from_secs(60);

/// Jobs of all sessions that are known at a time. How one ended that its host has not heard of is forgotten only above this.
const KNOWN_MAX: usize = 16 * JOBS_MAX;

/// Jobs that are handed over within [`RATE_OVER`], at most; others wait. A host that went mad empties no paper tray.
pub const RATE_MAX: usize = 10;
/// See [`RATE_MAX`].
pub const RATE_OVER: Duration = Duration::from_secs(60);

/// Actions that wait while a slow disk is written, from which on a host is neither heard nor answered: all jobs together
/// need a tenth of them.
const ACTIONS_MAX: usize = 4_096;

/// The session that a job is from, a hash of host and session. No other session hears of the job or has a word in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin(pub [u8; 16]);

/// What the shell does, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ViewerAction {
    /// Send to the host.
    Tell(PrintWish),
    /// Append to the journal and sync, then say so with [`ViewerJobs::handle_recorded`].
    Record {
        /// Whose record it is.
        job: JobId,
        /// What it says.
        step: Step,
        /// The record with its head.
        bytes: Vec<u8>,
    },
    /// Hand the document over to this printer; answer with [`ViewerJobs::handle_submitted`].
    Submit(JobOffer),
    /// Ask the printer's print system for a job whose name carries the id; answer with [`ViewerJobs::handle_found`].
    Find {
        /// Which.
        job: JobId,
        /// Where.
        printer: PrinterKey,
    },
    /// Watch this job of the print system and report with [`ViewerJobs::handle_state`], until told otherwise; in the place
    /// of watching it before.
    Watch(HandedJob),
    /// Watch it no longer.
    Unwatch(JobId),
    /// Cancel it at the print system.
    Cancel(HandedJob),
    /// Forget the document's bytes.
    Discard(JobId),
}

/// A job that a print system took, and all by which it is told from others there: printers that were switched off and on
/// give numbers anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandedJob {
    /// Which.
    pub job: JobId,
    /// Where.
    pub printer: PrinterKey,
    /// The print system's number of it.
    pub number: i32,
    /// What the user calls it; `None` for a job of an earlier run that the host has not named again.
    pub title: Option<String>,
}

/// What a record says of its job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is about to be handed over.
    Intent = 1,
    /// The print system has it.
    Submitted = 2,
    /// How it ended.
    Ended = 3,
    /// It is as if it had never been here: the host knows how it ended, or it certainly was not handed over.
    Forgotten = 4,
}

/// What became of a hand-over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Submitted {
    /// The print system took it, under this number.
    Taken(i32),
    /// The print system said no.
    Refused(JobReason),
    /// The print system was not reached, so it certainly has nothing.
    NotSent,
    /// The answer did not come.
    Uncertain,
}

/// What a print system says about an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It has that job.
    Job(i32),
    /// It has no such job. That says nothing: a printer that was switched off and on forgets what it has printed, too.
    Nothing,
    /// It had the job, and gave it back before anything of it was printed.
    Untouched,
    /// It does not answer.
    Away,
}

/// How far a job is, for the panel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The document is coming.
    Receiving {
        /// Bytes that are here.
        received: u32,
        /// Of so many.
        size: u32,
    },
    /// The print system has it, or is about to get it, or how it ended.
    State(JobState, JobReason),
}

/// A job for the panel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobView {
    /// Which.
    pub job: JobId,
    /// Its printer.
    pub printer: PrinterKey,
    /// What the user calls it; empty for a job of an earlier run that the host has not named again.
    pub title: String,
    /// How far it is.
    pub progress: Progress,
}

impl JobView {
    /// Whether the user is asked what became of it.
    pub fn is_question(&self) -> bool {
        matches!(self.progress, Progress::State(JobState::Unknown, _))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Receiving,
    /// The journal is hearing that it is about to be handed over.
    Intending,
    Submitting,
    /// The print system was not reached, or too many were handed over just before; again at this time.
    Again {
        at: Duration,
    },
    Finding,
    FindingAgain {
        at: Duration,
    },
    Submitted(i32),
    Unknown,
    Ended,
}

#[derive(Debug)]
struct Job {
    origin: Origin,
    printer: PrinterKey,
    /// What the host said of it; none yet for a job of an earlier run.
    offer: Option<JobOffer>,
    phase: Phase,
    /// There is room for its document, which was asked for.
    asked: bool,
    received: u32,
    confirmed: u32,
    /// When it may have been handed over, by the machine's clock.
    since: u64,
    /// How often its print system did not answer when it was asked whether it has it.
    away: u32,
    state: JobState,
    reason: JobReason,
    canceling: bool,
}

/// All print jobs of a viewer.
#[derive(Debug, Default)]
pub struct ViewerJobs {
    jobs: BTreeMap<JobId, Job>,
    printers: Vec<Printer>,
    /// They were looked for.
    looked: bool,
    /// The session that is connected to, or is to be.
    origin: Origin,
    /// Its host uses printing on this connection.
    connected: bool,
    /// The last host that was asked no longer wants this device.
    refused: bool,
    actions: VecDeque<ViewerAction>,
    /// When which jobs were about to be handed over last, oldest first, [`RATE_MAX`] at most.
    handed: VecDeque<(Duration, JobId)>,
    changed: bool,
}

impl ViewerJobs {
    /// Reads what an earlier run wrote down, and looks for what it may have handed over. How a job ended is known until its
    /// host has heard of it: it would offer the job again.
    pub fn recover(bytes: &[u8]) -> ViewerJobs {
        let mut jobs = ViewerJobs::default();
        for body in journal::recover(bytes).0 {
            // A record that says nothing is none of ours: what it might have said is asked of the print system anyway.
            let _ = jobs.apply(body);
        }
        let ids: Vec<JobId> = jobs.jobs.keys().copied().collect();
        for id in ids {
            match jobs.jobs[&id].phase {
                Phase::Submitted(number) => jobs.watch(id, number),
                Phase::Finding => jobs.find(id),
                _ => {}
            }
        }
        jobs
    }

    /// The shortest journal that says the same.
    pub fn snapshot(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (id, job) in &self.jobs {
            let steps: &[Step] = match job.phase {
                Phase::Receiving | Phase::Intending | Phase::Again { .. } => &[],
                Phase::Submitted(_) => &[Step::Intent, Step::Submitted],
                Phase::Ended => &[Step::Intent, Step::Ended],
                _ => &[Step::Intent],
            };
            for step in steps {
                journal::append(&mut out, &job.record(*id, *step));
            }
        }
        out
    }

    /// These printers are offered from now on.
    pub fn handle_printers(&mut self, printers: Vec<Printer>) {
        if self.printers != printers || !self.looked {
            (self.printers, self.looked) = (printers, true);
            self.changed = true;
            if self.connected {
                self.tell(PrintWish::Printers(self.printers.clone()));
            }
        }
    }

    /// This session is to be connected to. What has come of documents of another one, and is not whole, comes anew.
    pub fn handle_target(&mut self, origin: Origin) {
        if self.origin == origin {
            return;
        }
        self.handle_lost(false);
        self.origin = origin;
        let is_coming = |job: &Job| job.origin != origin && job.phase == Phase::Receiving;
        let gone: Vec<JobId> = self.jobs.iter().filter(|(_, job)| is_coming(job)).map(|(id, _)| *id).collect();
        for id in gone {
            self.forget(id);
        }
    }

    /// The host said welcome and uses printing.
    pub fn handle_connected(&mut self) {
        (self.connected, self.refused) = (true, false);
        // Before the first look nothing is known: that there are none would end the queues of the last viewer.
        if self.looked {
            self.tell(PrintWish::Printers(self.printers.clone()));
        }
        // The host may have written down how they ended, and its word been lost. Or it knows nothing of them any more, and will
        // not name them again.
        let is_told = |job: &Job| job.phase == Phase::Ended || job.offer.is_none();
        let told: Vec<JobId> = self.own().filter(|(_, job)| is_told(job)).map(|(id, _)| *id).collect();
        for id in told {
            self.say(id);
        }
    }

    /// The connection is gone. What has come of documents stays for the next one, unless the host no longer wants this
    /// device (`refused`): then nothing of them stays, and what was not handed over is not.
    pub fn handle_lost(&mut self, refused: bool) {
        (self.connected, self.refused) = (false, refused);
        self.actions.retain(|action| !matches!(action, ViewerAction::Tell(_)));
        if refused {
            let is_here = |job: &Job| matches!(job.phase, Phase::Receiving | Phase::Intending | Phase::Again { .. });
            let gone: Vec<JobId> = self.own().filter(|(_, job)| is_here(job)).map(|(id, _)| *id).collect();
            // Each with its record: the journal may hear just now that it is about to be handed over.
            for id in gone {
                self.forget(id);
            }
        }
    }

    /// The host said something about printing.
    pub fn handle_word(&mut self, word: PrintWord) {
        // Each word may leave records behind, which a disk takes in its own time.
        if self.actions.len() >= ACTIONS_MAX {
            return;
        }
        let is_own = |id: JobId| self.jobs.get(&id).is_none_or(|job| job.origin == self.origin);
        match word {
            // Ids are never the same by chance: whoever has one of another session's is told nothing.
            PrintWord::Offer(JobOffer { job, .. }) | PrintWord::Cancel(job) | PrintWord::Settled(job)
                if !is_own(job) => {}
            PrintWord::Offer(offer) => self.handle_offer(offer),
            PrintWord::Cancel(id) => self.handle_cancel(id),
            PrintWord::Settled(id) => {
                if self.jobs.get(&id).is_some_and(|job| job.phase == Phase::Ended || job.offer.is_none()) {
                    self.act(ViewerAction::Unwatch(id));
                    self.forget(id);
                }
            }
        }
    }

    /// A stream with this job's document from this byte on begins, and takes the place of any other: whether that is what
    /// was asked for. If not, what is missing is asked for again.
    pub fn handle_document(&mut self, id: JobId, offset: u32) -> bool {
        let is_awaited = |job: &&Job| job.phase == Phase::Receiving && job.asked;
        let Some(job) = self.jobs.get(&id).filter(is_awaited) else { return false };
        let received = job.received;
        if received != offset {
            self.tell(PrintWish::Wanted { job: id, offset: received });
        }
        received == offset
    }

    /// Further bytes of the document were kept. Gives true when it is whole: then say its checksum with
    /// [`ViewerJobs::handle_whole`]. More than the offer said is refused with `None`; the shell drops the stream.
    pub fn handle_bytes(&mut self, id: JobId, count: u32) -> Option<bool> {
        let job = self.jobs.get_mut(&id).filter(|job| job.phase == Phase::Receiving && job.asked)?;
        let size = job.offer.as_ref()?.size;
        let received = job.received.checked_add(count).filter(|received| *received <= size)?;
        // The panel shows hundredths: more often there is nothing new on it.
        let shown = |received: u32| u64::from(received) * 100 / u64::from(size.max(1));
        self.changed |= shown(received) != shown(job.received);
        job.received = received;
        let whole = received == size;
        if whole || received - job.confirmed >= DOCUMENT_CONFIRM {
            job.confirmed = received;
            self.tell(PrintWish::Received { job: id, offset: received });
        }
        Some(whole)
    }

    /// The document cannot be kept: there is no room.
    pub fn handle_no_room(&mut self, id: JobId) {
        self.end(id, JobState::Failed, JobReason::NoRoom);
    }

    /// The document is whole and has this SHA-256, at this time; `clock` is the machine's, in seconds.
    pub fn handle_whole(&mut self, id: JobId, sha256: [u8; 32], now: Duration, clock: u64) {
        let Some(job) = self.jobs.get_mut(&id).filter(|job| job.phase == Phase::Receiving) else { return };
        let Some(offer) = &job.offer else { return };
        if offer.sha256 != sha256 {
            self.end(id, JobState::Failed, JobReason::Damaged);
        } else {
            // Its printer may be away for a moment, or switched off: it then waits like any other job for it.
            self.intend(id, now, clock);
            self.set(id, JobState::Queued, JobReason::None);
        }
    }

    /// A record is on disk, or cannot be written.
    pub fn handle_recorded(&mut self, id: JobId, step: Step, written: bool) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if step != Step::Intent || job.phase != Phase::Intending {
            return;
        }
        if !written {
            return self.end(id, JobState::Failed, JobReason::NoJournal);
        }
        if job.canceling {
            return self.end(id, JobState::Canceled, JobReason::User);
        }
        job.phase = Phase::Submitting;
        let offer = job.offer.clone().expect("a job is received only after its offer");
        self.act(ViewerAction::Submit(offer));
    }

    /// What became of the hand-over, at this time.
    pub fn handle_submitted(&mut self, id: JobId, submitted: Submitted, now: Duration) {
        let Some(job) = self.jobs.get_mut(&id).filter(|job| job.phase == Phase::Submitting) else { return };
        match submitted {
            Submitted::Taken(number) => self.handle_taken(id, number),
            Submitted::Refused(reason) => self.end(id, JobState::Failed, reason),
            Submitted::NotSent if self.refused => self.forget(id),
            Submitted::NotSent if job.canceling => self.end(id, JobState::Canceled, JobReason::User),
            Submitted::NotSent => {
                job.phase = Phase::Again { at: now + RETRY };
                // It counts for nothing; others that were handed over meanwhile do.
                if let Some(newest) = self.handed.iter().rposition(|(_, handed)| *handed == id) {
                    self.handed.remove(newest);
                }
                // Else a crash while it waits would have to ask the user.
                self.record(id, Step::Forgotten);
                self.set(id, JobState::Stopped, JobReason::NoPrintSystem);
            }
            Submitted::Uncertain => self.find(id),
        }
    }

    /// What the print system says about a job that it may have, at this time.
    pub fn handle_found(&mut self, id: JobId, found: Found, now: Duration) {
        let Some(job) = self.jobs.get_mut(&id).filter(|job| job.phase == Phase::Finding) else { return };
        match found {
            Found::Job(number) => self.handle_taken(id, number),
            Found::Untouched => self.begin_again(id),
            Found::Nothing => self.ask(id),
            Found::Away => {
                job.away += 1;
                job.phase = Phase::FindingAgain { at: now + if job.away < AWAY_MAX { RETRY } else { RETRY_SELDOM } };
                // A printer may be away for ever. Whoever knows need not wait, and if it comes back it is asked all the same.
                if job.away == AWAY_MAX && job.canceling {
                    self.end(id, JobState::Canceled, JobReason::User);
                } else if job.away == AWAY_MAX {
                    self.discard(id);
                    self.set(id, JobState::Unknown, JobReason::None);
                }
            }
        }
    }

    /// A watched job's state; [`JobState::Unknown`] when the print system has forgotten it.
    pub fn handle_state(&mut self, id: JobId, state: JobState, reason: JobReason) {
        let Some(job) = self.jobs.get(&id).filter(|job| matches!(job.phase, Phase::Submitted(_))) else { return };
        if (job.state, job.reason) == (state, reason) {
            return;
        }
        match state {
            // By its title it may be known all the same, and nobody can say whether a sheet came out of which nothing is known.
            JobState::Unknown if job.offer.is_none() => {}
            JobState::Unknown => {
                self.act(ViewerAction::Unwatch(id));
                self.ask(id);
            }
            state if state.is_end() => {
                self.act(ViewerAction::Unwatch(id));
                self.end(id, state, reason);
            }
            state => self.set(id, state, reason),
        }
    }

    /// The user answers whether the sheet was printed. If not, the job begins anew.
    pub fn handle_answer(&mut self, id: JobId, printed: bool) {
        if self.jobs.get(&id).is_none_or(|job| !job.is_asked()) {
            return;
        }
        if printed { self.end(id, JobState::Done, JobReason::User) } else { self.begin_again(id) }
    }

    /// The user no longer wants a job.
    pub fn handle_cancel(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else {
            return self.tell(PrintWish::State { job: id, state: JobState::Canceled, reason: JobReason::User });
        };
        match job.phase {
            _ if job.is_asked() => self.end(id, JobState::Canceled, JobReason::User),
            Phase::Receiving | Phase::Unknown | Phase::Again { .. } => {
                self.end(id, JobState::Canceled, JobReason::User);
            }
            // Its printer is gone: there is nobody to be told.
            Phase::Submitted(_) if self.looked && job.reason == JobReason::NoPrinter => {
                self.act(ViewerAction::Unwatch(id));
                self.end(id, JobState::Canceled, JobReason::User);
            }
            Phase::Submitted(number) => {
                job.canceling = true;
                // Asked for once more it is tried once more, but not for each of the host's words.
                let cancel = ViewerAction::Cancel(job.handed(id, number));
                if !self.actions.contains(&cancel) {
                    self.act(cancel);
                }
            }
            Phase::Ended => self.say(id),
            Phase::Intending | Phase::Submitting | Phase::Finding | Phase::FindingAgain { .. } => job.canceling = true,
        }
    }

    /// What is due at this time is tried again; `clock` is the machine's, in seconds.
    pub fn handle_timeout(&mut self, now: Duration, clock: u64) {
        let is_due = |job: &Job| job.due().is_some_and(|at| at <= now);
        let due: Vec<JobId> = self.jobs.iter().filter(|(_, job)| is_due(job)).map(|(id, _)| *id).collect();
        for id in due {
            let Some(job) = self.jobs.get_mut(&id) else { continue };
            match job.phase {
                Phase::Again { .. } => self.intend(id, now, clock),
                Phase::FindingAgain { .. } => self.find(id),
                _ => {}
            }
        }
    }

    /// When to call [`ViewerJobs::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.jobs.values().filter_map(Job::due).min()
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<ViewerAction> {
        self.actions.pop_front()
    }

    /// Whether the panel has something new to show since this was asked last.
    pub fn poll_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// All jobs, for the panel.
    pub fn jobs(&self) -> Vec<JobView> {
        self.jobs
            .iter()
            .map(|(id, job)| JobView {
                job: *id,
                printer: job.printer,
                title: job.offer.as_ref().map_or_else(String::new, |offer| offer.title.clone()),
                progress: match (&job.offer, job.phase) {
                    (Some(offer), Phase::Receiving) => Progress::Receiving { received: job.received, size: offer.size },
                    _ => Progress::State(job.state, job.reason),
                },
            })
            .collect()
    }

    fn handle_offer(&mut self, offer: JobOffer) {
        let id = offer.job;
        let Some(job) = self.jobs.get_mut(&id) else { return self.take(offer) };
        // The first word counts: a host that changes a job after it was offered gets nothing else printed.
        if job.offer.is_none() && job.printer == offer.printer {
            job.offer = Some(offer);
            self.changed = true;
            // Its title may be what it is known by.
            if let Phase::Submitted(number) = job.phase {
                self.watch(id, number);
            }
        }
        let Some(job) = self.jobs.get(&id) else { return };
        match job.phase {
            Phase::Receiving if job.asked => self.tell(PrintWish::Wanted { job: id, offset: job.received }),
            Phase::Receiving => self.ask_for_documents(),
            _ => self.say(id),
        }
    }

    fn take(&mut self, offer: JobOffer) {
        let id = offer.job;
        let refused = if self.printers.iter().all(|p| p.key != offer.printer) {
            Some(JobReason::NoPrinter)
        } else if self.own().count() >= JOBS_MAX || !self.has_room() {
            Some(JobReason::NoRoom)
        } else {
            None
        };
        if let Some(reason) = refused {
            return self.tell(PrintWish::State { job: id, state: JobState::Failed, reason });
        }
        let job = Job { offer: Some(offer.clone()), ..Job::new(self.origin, offer.printer, Phase::Receiving) };
        self.jobs.insert(id, job);
        self.changed = true;
        self.ask_for_documents();
    }

    /// Jobs of the session that is connected to.
    fn own(&self) -> impl Iterator<Item = (&JobId, &Job)> {
        self.jobs.iter().filter(|(_, job)| job.origin == self.origin)
    }

    /// Whether one more job can be known: in the place of one that ended longest ago in a session that was not heard of since,
    /// if need be.
    fn has_room(&mut self) -> bool {
        if self.jobs.len() < KNOWN_MAX {
            return true;
        }
        let is_left = |job: &Job| job.origin != self.origin && job.phase == Phase::Ended;
        let left = self.jobs.iter().filter(|(_, job)| is_left(job)).min_by_key(|(_, job)| job.since).map(|(id, _)| *id);
        if let Some(id) = left {
            self.forget(id);
        }
        left.is_some()
    }

    /// Asks for documents as far as there is room; each has it until it is handed over or thrown away.
    fn ask_for_documents(&mut self) {
        let size = |job: &Job| job.offer.as_ref().map_or(0, |offer| u64::from(offer.size));
        let mut kept: u64 = self.jobs.values().filter(|job| job.asked).map(size).sum();
        let waiting: Vec<JobId> = self
            .jobs
            .iter()
            .filter(|(_, job)| job.phase == Phase::Receiving && !job.asked)
            .map(|(id, _)| *id)
            .collect();
        for id in waiting {
            let Some(job) = self.jobs.get_mut(&id) else { continue };
            if kept + size(job) <= DOCUMENTS_BYTES_MAX {
                kept += size(job);
                job.asked = true;
                let offset = job.received;
                self.tell(PrintWish::Wanted { job: id, offset });
            }
        }
    }

    /// Nothing of a document is needed any more.
    fn discard(&mut self, id: JobId) {
        self.act(ViewerAction::Discard(id));
        if let Some(job) = self.jobs.get_mut(&id) {
            job.asked = false;
        }
        self.ask_for_documents();
    }

    /// The journal is to hear that it is about to be handed over, if not too many were a moment ago.
    fn intend(&mut self, id: JobId, now: Duration, clock: u64) {
        self.handed.retain(|(at, _)| *at + RATE_OVER > now);
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if let Some((first, _)) = self.handed.front().filter(|_| self.handed.len() >= RATE_MAX) {
            job.phase = Phase::Again { at: *first + RATE_OVER };
            return;
        }
        self.handed.push_back((now, id));
        job.phase = Phase::Intending;
        job.since = clock;
        self.record(id, Step::Intent);
    }

    fn handle_taken(&mut self, id: JobId, number: i32) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.phase = Phase::Submitted(number);
        let cancel = job.canceling.then(|| ViewerAction::Cancel(job.handed(id, number)));
        self.record(id, Step::Submitted);
        self.discard(id);
        self.set(id, JobState::Queued, JobReason::None);
        self.watch(id, number);
        if let Some(cancel) = cancel {
            self.act(cancel);
        }
    }

    fn watch(&mut self, id: JobId, number: i32) {
        let handed = self.jobs[&id].handed(id, number);
        self.act(ViewerAction::Watch(handed));
    }

    fn find(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.phase = Phase::Finding;
        let printer = job.printer;
        self.act(ViewerAction::Find { job: id, printer });
    }

    /// Nobody can know: the user is asked.
    fn ask(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if job.canceling {
            return self.end(id, JobState::Canceled, JobReason::User);
        }
        job.phase = Phase::Unknown;
        // Whatever the answer is: it comes anew, or not at all.
        self.discard(id);
        self.set(id, JobState::Unknown, JobReason::None);
    }

    /// It was certainly not printed: from the beginning, if the host still has it.
    fn begin_again(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        let (offer, canceling, is_own) = (job.offer.clone(), job.canceling, job.origin == self.origin);
        if canceling {
            return self.end(id, JobState::Canceled, JobReason::User);
        }
        self.forget(id);
        if let Some(offer) = offer.filter(|_| self.connected && is_own) {
            self.take(offer);
        }
    }

    fn forget(&mut self, id: JobId) {
        self.record(id, Step::Forgotten);
        self.jobs.remove(&id);
        self.discard(id);
        self.changed = true;
    }

    fn end(&mut self, id: JobId, state: JobState, reason: JobReason) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.phase = Phase::Ended;
        (job.state, job.reason) = (state, reason);
        self.record(id, Step::Ended);
        self.discard(id);
        self.say(id);
        self.changed = true;
    }

    fn set(&mut self, id: JobId, state: JobState, reason: JobReason) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        (job.state, job.reason) = (state, reason);
        self.changed = true;
        self.say(id);
    }

    fn say(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(&id).filter(|job| job.origin == self.origin) else { return };
        let (state, reason) = (job.state, job.reason);
        self.tell(PrintWish::State { job: id, state, reason });
    }

    fn tell(&mut self, wish: PrintWish) {
        if self.connected && self.actions.len() < ACTIONS_MAX {
            self.actions.push_back(ViewerAction::Tell(wish));
        }
    }

    fn act(&mut self, action: ViewerAction) {
        self.actions.push_back(action);
    }

    fn record(&mut self, id: JobId, step: Step) {
        let Some(job) = self.jobs.get(&id) else { return };
        let mut bytes = Vec::new();
        journal::append(&mut bytes, &job.record(id, step));
        self.act(ViewerAction::Record { job: id, step, bytes });
    }

    fn apply(&mut self, body: &[u8]) -> Result<(), WireError> {
        let mut r = Reader::new(body);
        let step = r.u8()?;
        let id = JobId(r.take(16)?.try_into().expect("16 bytes were taken"));
        match step {
            1 => {
                let printer = PrinterKey(r.take(16)?.try_into().expect("16 bytes were taken"));
                let since = u64::from(r.u32()?) | u64::from(r.u32()?) << 32;
                let origin = Origin(r.take(16)?.try_into().expect("16 bytes were taken"));
                // However many there are: the file is bounded, and one that is left out would be printed again.
                let job = Job { since, ..Job::new(origin, printer, Phase::Finding) };
                self.jobs.entry(id).or_insert(job);
            }
            2 => {
                let number = r.u32()?.cast_signed();
                if let Some(job) = self.jobs.get_mut(&id) {
                    job.phase = Phase::Submitted(number);
                }
            }
            3 => {
                let (state, reason) = (r.u8()?, r.u8()?);
                let unknown = |value: u8| WireError::Value { field: "state", value: value.into() };
                let state = JobState::from_number(state).filter(|s| s.is_end()).ok_or(unknown(state))?;
                let reason = JobReason::from_number(reason).ok_or(unknown(reason))?;
                if let Some(job) = self.jobs.get_mut(&id) {
                    (job.phase, job.state, job.reason) = (Phase::Ended, state, reason);
                }
            }
            4 => {
                self.jobs.remove(&id);
            }
            other => return Err(WireError::Type(other)),
        }
        Ok(())
    }
}

impl Job {
    fn new(origin: Origin, printer: PrinterKey, phase: Phase) -> Job {
        Job {
            origin,
            printer,
            offer: None,
            phase,
            asked: false,
            received: 0,
            confirmed: 0,
            since: 0,
            away: 0,
            state: JobState::Queued,
            reason: JobReason::None,
            canceling: false,
        }
    }

    fn handed(&self, job: JobId, number: i32) -> HandedJob {
        HandedJob { job, printer: self.printer, number, title: self.offer.as_ref().map(|offer| offer.title.clone()) }
    }

    /// Whether the user is asked what became of it.
    fn is_asked(&self) -> bool {
        let may_be_asked = matches!(self.phase, Phase::Unknown | Phase::Finding | Phase::FindingAgain { .. });
        may_be_asked && self.state == JobState::Unknown
    }

    fn due(&self) -> Option<Duration> {
        match self.phase {
            Phase::Again { at } | Phase::FindingAgain { at } => Some(at),
            _ => None,
        }
    }

    fn record(&self, id: JobId, step: Step) -> Vec<u8> {
        let mut body = vec![step as u8];
        body.extend_from_slice(&id.0);
        match step {
            Step::Intent => {
                body.extend_from_slice(&self.printer.0);
                body.extend_from_slice(&self.since.to_le_bytes());
                body.extend_from_slice(&self.origin.0);
            }
            Step::Submitted => {
                let number = if let Phase::Submitted(number) = self.phase { number } else { 0 };
                body.extend_from_slice(&number.to_le_bytes());
            }
            Step::Ended => body.extend_from_slice(&[self.state as u8, self.reason as u8]),
            Step::Forgotten => {}
        }
        body
    }
}
