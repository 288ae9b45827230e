//! Jobs that were begun and whose document has not come, or is just coming; and which job a document is that came.
//!
//! CUPS has one id for all documents of a job, and sends each of them as a job of its own, again if it hears no answer.

use super::describe::Times;
use crate::proto::print::host::JobView;
use crate::proto::wire::print::{JobId, JobOptions, PrinterKey};
use aws_lc_rs::digest;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;
use tokio::time::Instant;

/// A job whose document does not come within this is forgotten: `multiple-operation-time-out`.
pub(super) const BEGUN_LIFE: Duration = Duration::from_secs(120);

#[derive(Default)]
pub(super) struct State {
    pub(super) next: u32,
    pub(super) begun: Vec<Begun>,
    pub(super) times: HashMap<u32, Times>,
    /// Bytes of documents that are coming now.
    pub(super) coming_bytes: u64,
    /// Uploads so far.
    pub(super) uploads: u64,
    /// Jobs whose end was told to somebody since CUPS was started last. Not kept over our own end: a connection that breaks ends
    /// CUPS' backend, and then all documents of its job come again from the first.
    told: HashSet<JobId>,
    /// How often CUPS had been started then.
    cups_starts: u64,
    /// Numbers that were given for a document which was there already, and the one it had.
    again: BTreeMap<u32, u32>,
}

/// Numbers of documents that came again are known for so many; it is CUPS that asks, at once.
const AGAIN_MAX: usize = 256;

/// A job whose document has not come yet.
#[derive(Clone, Debug)]
pub(super) struct Begun {
    pub(super) number: u32,
    /// CUPS' id, the same for all documents of its job.
    pub(super) id: JobId,
    pub(super) printer: PrinterKey,
    pub(super) title: String,
    pub(super) options: JobOptions,
    pub(super) since: Instant,
    /// Connections over which its document comes: a client that hears nothing may send it twice.
    pub(super) uploads: u32,
    /// The user no longer wants it, so its document is thrown away.
    pub(super) canceled: bool,
}

impl State {
    /// Numbers begin behind this one.
    pub(super) fn new(first_number: u32) -> State {
        State { next: first_number, ..State::default() }
    }

    /// Forgets jobs whose document did not come.
    pub(super) fn expire(&mut self, now: Instant) {
        self.begun.retain(|b| b.uploads > 0 || now < b.since + BEGUN_LIFE);
    }

    /// Notes a job unless it is.
    pub(super) fn note(&mut self, begun: Begun) {
        if self.begun.iter().all(|b| b.number != begun.number) {
            self.begun.push(begun);
        }
    }

    /// The number of the job with this id whose document has not even begun to come.
    pub(super) fn waiting(&self, id: JobId) -> Option<u32> {
        self.begun.iter().find(|b| b.id == id && b.uploads == 0).map(|b| b.number)
    }

    /// CUPS has been started so often. What an earlier one had heard it may ask for again.
    pub(super) fn note_cups_starts(&mut self, starts: u64) {
        if self.cups_starts != starts {
            (self.cups_starts, self.told) = (starts, HashSet::new());
        }
    }

    /// Somebody hears how this job is, over a connection that was made when CUPS had been started so often: what is left of
    /// an earlier one hears it for nobody.
    pub(super) fn note_told(&mut self, job: &JobView, starts: u64) {
        if starts == self.cups_starts && job.state.is_some_and(|state| state.is_end()) {
            self.told.insert(job.offer.job);
        }
    }

    /// The id of a document with this SHA-256 that came for CUPS' job `id`: that of the same one if it came before, else the
    /// first that no other document of that job has.
    ///
    /// A document whose end CUPS has heard does not come again: it is the same once more, as `lp a.pdf a.pdf` asks for.
    pub(super) fn document_id(&self, id: JobId, sha256: [u8; 32], jobs: &[JobView]) -> JobId {
        let known = |id: JobId| jobs.iter().find(|job| job.offer.job == id);
        let is_it = |id: &JobId| match known(*id) {
            Some(job) => job.offer.sha256 == sha256 && !self.told.contains(id),
            None => true,
        };
        (0..).map(|index| document_id(id, index)).find(is_it).expect("there are more numbers than jobs")
    }

    /// Jobs that nobody knows any more need no memory.
    pub(super) fn keep(&mut self, jobs: &[JobView]) {
        let ids: HashSet<JobId> = jobs.iter().map(|job| job.offer.job).collect();
        self.told.retain(|id| ids.contains(id));
    }

    /// The document that came under `number` had come before, under `first`.
    pub(super) fn note_again(&mut self, number: u32, first: u32) {
        if number != first {
            self.again.insert(number, first);
            if self.again.len() > AGAIN_MAX {
                self.again.pop_first();
            }
        }
    }

    /// The number under which a job is known that was given this one.
    pub(super) fn known_number(&self, number: u32) -> u32 {
        self.again.get(&number).copied().unwrap_or(number)
    }

    /// Cancels a job, or all of a printer's; whether there was one.
    pub(super) fn cancel(&mut self, printer: PrinterKey, number: Option<u32>) -> bool {
        let mut found = false;
        self.begun.retain_mut(|b| {
            let is_it = b.printer == printer && number.is_none_or(|number| number == b.number);
            found |= is_it;
            b.canceled |= is_it;
            !is_it || b.uploads > 0
        });
        found
    }

    /// A job's document begins to come; this upload's own number.
    pub(super) fn begin_upload(&mut self, number: u32) -> u64 {
        if let Some(begun) = self.begun.iter_mut().find(|b| b.number == number) {
            begun.uploads += 1;
        }
        self.uploads += 1;
        self.uploads
    }

    /// It has come, or will not; whether it was cancelled meanwhile.
    pub(super) fn end_upload(&mut self, number: u32) -> bool {
        let Some(index) = self.begun.iter().position(|b| b.number == number) else { return false };
        let begun = &mut self.begun[index];
        begun.uploads = begun.uploads.saturating_sub(1);
        let canceled = begun.canceled;
        if begun.uploads == 0 {
            self.begun.remove(index);
        }
        canceled
    }
}

/// The id of a job's document by its index; the first has the job's own.
fn document_id(job: JobId, index: u32) -> JobId {
    if index == 0 {
        return job;
    }
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(&job.0);
    hash.update(&index.to_be_bytes());
    JobId(hash.finish().as_ref()[..16].try_into().expect("SHA-256 has 32 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::wire::print::JobState;

    const KEY: PrinterKey = PrinterKey([1; 16]);

    fn begun(number: u32, since: Instant) -> Begun {
        Begun {
            number,
            id: JobId([number as u8; 16]),
            printer: KEY,
            title: "a job".into(),
            options: JobOptions::default(),
            since,
            uploads: 0,
            canceled: false,
        }
    }

    #[test]
    fn a_document_that_does_not_come_is_not_waited_for() {
        let (mut state, now) = (State::default(), Instant::now());
        state.note(begun(1, now));
        state.note(begun(2, now));
        state.begin_upload(2);
        state.expire(now + BEGUN_LIFE - Duration::from_secs(1));
        assert_eq!(state.begun.len(), 2);
        state.expire(now + BEGUN_LIFE);
        assert_eq!(state.begun.iter().map(|b| b.number).collect::<Vec<_>>(), [2], "what comes is waited for");
        assert!(!state.end_upload(2));
        assert!(state.begun.is_empty());
    }

    #[test]
    fn each_document_of_a_job_has_an_id_of_its_own_and_one_that_comes_again_has_the_same() {
        let (mut state, mut jobs, job) = (State::default(), Vec::<JobView>::new(), JobId([7; 16]));
        let come = |state: &State, jobs: &mut Vec<JobView>, document: u8| {
            let id = state.document_id(job, [document; 32], jobs);
            let is_new = jobs.iter().all(|job| job.offer.job != id);
            if is_new {
                let mut view = super::super::describe::incoming(&begun(jobs.len() as u32 + 1, Instant::now()));
                (view.offer.job, view.offer.sha256) = (id, [document; 32]);
                jobs.push(view);
            }
            (id, is_new)
        };
        state.note_cups_starts(1);
        let (first, second) = (come(&state, &mut jobs, 1), come(&state, &mut jobs, 2));
        assert_eq!((first, second.1), ((job, true), true));
        // CUPS heard no answer.
        assert_eq!(come(&state, &mut jobs, 1), (first.0, false));
        assert_eq!(come(&state, &mut jobs, 2), (second.0, false));
        // It heard that the first is printed: what comes now is the same once more.
        state.note_told(&jobs[0], 1);
        assert_eq!(come(&state, &mut jobs, 1), (first.0, false), "not at its end yet");
        jobs[0].state = Some(JobState::Done);
        state.note_told(&jobs[0], 1);
        let third = come(&state, &mut jobs, 1);
        assert!(third.1 && ![first.0, second.0].contains(&third.0));
        assert_eq!(come(&state, &mut jobs, 1), (third.0, false));
        // It was killed and has forgotten what it heard.
        state.note_cups_starts(2);
        assert_eq!(come(&state, &mut jobs, 1), (first.0, false));
        // A backend of the one that was killed goes on asking.
        state.note_told(&jobs[0], 1);
        assert_eq!(come(&state, &mut jobs, 1), (first.0, false));
    }

    #[test]
    fn a_number_that_was_given_for_the_same_document_leads_to_its_job() {
        let mut state = State::default();
        state.note_again(5, 5);
        state.note_again(6, 5);
        assert_eq!((state.known_number(5), state.known_number(6), state.known_number(7)), (5, 5, 7));
        for number in 100..2_000 {
            state.note_again(number, 5);
        }
        assert_eq!((state.again.len(), state.known_number(1_999)), (AGAIN_MAX, 5));
    }

    #[test]
    fn a_job_cancelled_while_its_document_comes_is_not_printed() {
        let (mut state, now) = (State::default(), Instant::now());
        state.note(begun(1, now));
        state.note(begun(2, now));
        state.begin_upload(1);
        // Sent a second time, as the client heard nothing.
        state.begin_upload(1);
        assert!(!state.cancel(PrinterKey([2; 16]), Some(1)), "another printer's number");
        assert!(state.cancel(KEY, Some(1)));
        assert!(state.end_upload(1));
        assert!(state.end_upload(1), "neither time");
        assert!(state.cancel(KEY, None));
        assert!(state.begun.is_empty());
        assert!(!state.cancel(KEY, Some(2)));
    }
}
