//! Jobs that were begun and whose document has not come, or is just coming.

use super::describe::Times;
use crate::proto::wire::print::{JobId, JobOptions, PrinterKey};
use std::collections::HashMap;
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
}

/// A job whose document has not come yet.
#[derive(Clone, Debug)]
pub(super) struct Begun {
    pub(super) number: u32,
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

#[cfg(test)]
mod tests {
    use super::*;

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
