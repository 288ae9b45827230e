//! The printers that a viewer finds, whichever way leads to them: IPP, or the spooler of a system that has one.

use crate::io::ipp::client::{self, Document, LocalPrinter, Source};
use crate::io::spooler::{self, SpoolerPrinter};
use crate::limits::PRINTERS_MAX;
use crate::proto::print::viewer::{Found, HandedJob, Submitted};
use crate::proto::wire::print::{JobId, JobOffer, JobReason, JobState, Printer, PrinterKey};

/// A printer and how it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AnyPrinter {
    /// By IPP.
    Ipp(LocalPrinter),
    /// By the system's spooler.
    Spooler(SpoolerPrinter),
}

/// Looks for printers.
#[derive(Debug)]
pub(super) struct Finder {
    sources: Vec<Source>,
    spooler: spooler::Finder,
}

impl Finder {
    /// Looks at these sources.
    pub(super) fn new(sources: Vec<Source>) -> Finder {
        Finder { sources, spooler: spooler::Finder::new() }
    }

    /// The printers of all sources, each once; one of them at most is the default. `place` is this device's own id, from
    /// which the printers' keys are made.
    pub(super) async fn find(&mut self, place: &[u8; 16]) -> Vec<AnyPrinter> {
        // One answer serves all sources; drivers are not asked for those that need none.
        let asks_system = self.sources.iter().any(|source| !matches!(source, Source::Uri(_)));
        let of_spooler = if asks_system { self.spooler.find(place).await } else { None };
        let mut found = Vec::new();
        for source in &self.sources {
            match (&of_spooler, source) {
                (Some(printers), Source::System) => found.extend(printers.iter().cloned().map(AnyPrinter::Spooler)),
                (Some(printers), Source::Queue(name)) => {
                    let named = printers.iter().filter(|p| p.queue() == name).cloned();
                    found.extend(named.map(AnyPrinter::Spooler));
                }
                (None, _) | (Some(_), Source::Uri(_)) => {
                    let printers = client::find_printers(source, place).await;
                    found.extend(printers.into_iter().map(AnyPrinter::Ipp));
                }
            }
        }
        settle(found)
    }
}

/// Each printer once, no more than are offered, and one default.
fn settle(mut found: Vec<AnyPrinter>) -> Vec<AnyPrinter> {
    let mut keys: Vec<PrinterKey> = Vec::new();
    found.retain(|p| {
        let key = p.printer().key;
        !keys.contains(&key) && keys.len() < PRINTERS_MAX && {
            keys.push(key);
            true
        }
    });
    // One default at most; a single printer is it.
    let default = found.iter().position(|p| p.printer().is_default).or((found.len() == 1).then_some(0));
    for (index, printer) in found.iter_mut().enumerate() {
        printer.printer_mut().is_default = Some(index) == default;
    }
    found
}

impl AnyPrinter {
    /// As it is offered.
    pub(super) fn printer(&self) -> &Printer {
        match self {
            AnyPrinter::Ipp(printer) => &printer.printer,
            AnyPrinter::Spooler(printer) => printer.printer(),
        }
    }

    fn printer_mut(&mut self) -> &mut Printer {
        match self {
            AnyPrinter::Ipp(printer) => &mut printer.printer,
            AnyPrinter::Spooler(printer) => printer.printer_mut(),
        }
    }

    /// Hands a job over.
    pub(super) async fn submit(&self, offer: &JobOffer, document: Document) -> Submitted {
        match self {
            AnyPrinter::Ipp(printer) => client::submit(printer, offer, document).await,
            AnyPrinter::Spooler(printer) => printer.submit(offer, document.into_reader()).await,
        }
    }

    /// Looks for a job whose name carries the id.
    pub(super) async fn find_job(&self, job: JobId) -> Found {
        match self {
            AnyPrinter::Ipp(printer) => client::find_job(printer, job).await,
            AnyPrinter::Spooler(printer) => printer.find_job(job).await,
        }
    }

    /// How a job fares; [`JobState::Unknown`] when the print system does not know it any more.
    pub(super) async fn job_state(&self, handed: &HandedJob) -> (JobState, JobReason) {
        match self {
            AnyPrinter::Ipp(printer) => client::job_state(printer, handed).await,
            AnyPrinter::Spooler(printer) => printer.job_state(handed.job, handed.number).await,
        }
    }

    /// Cancels a job. Whether that came in time says its state.
    pub(super) async fn cancel(&self, handed: &HandedJob) {
        match self {
            AnyPrinter::Ipp(printer) => client::cancel(printer, handed).await,
            AnyPrinter::Spooler(printer) => printer.cancel(handed.job, handed.number).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_printer_is_there_once_and_one_is_the_default() {
        let nobody = "127.0.0.1:9".parse().expect("an address");
        let of = |key: u8| AnyPrinter::Ipp(LocalPrinter::at(PrinterKey([key; 16]), nobody));
        let found = settle(vec![of(1), of(2), of(1), of(3)]);
        let all: Vec<_> = found.iter().map(|p| (p.printer().key.0[0], p.printer().is_default)).collect();
        assert_eq!(all, [(1, true), (2, false), (3, false)]);
        let mut plain = of(1);
        plain.printer_mut().is_default = false;
        assert!(settle(vec![plain.clone()])[0].printer().is_default, "a single one");
        let mut other = of(2);
        other.printer_mut().is_default = false;
        assert!(settle(vec![plain, other]).iter().all(|p| !p.printer().is_default));
        assert_eq!(settle((0..200).map(of).collect()).len(), PRINTERS_MAX);
    }
}
