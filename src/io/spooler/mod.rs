//! Windows' own print system: its printers with what they can, and jobs through its spooler.
//!
//! A document is drawn page by page in a process of its own (`render.rs`) and goes to the printer as pictures, since Windows
//! takes no PDF. Nothing is repeated here: what a failure means for a job decides `proto::print::viewer`. Print systems that
//! speak IPP: `io::ipp::client`.

#[cfg(any(windows, test))]
mod abilities;
#[cfg(windows)]
mod device;
#[cfg(windows)]
mod process;
#[cfg(windows)]
mod queue;
#[cfg(any(windows, test))]
mod render;
#[cfg(any(windows, test))]
mod sheet;
#[cfg(any(windows, test))]
mod strip;
#[cfg(windows)]
mod system;

#[cfg(windows)]
pub use system::{Finder, SpoolerPrinter, render_if_asked};

#[cfg(not(windows))]
pub use elsewhere::{Finder, SpoolerPrinter, render_if_asked};

/// Systems whose print system speaks IPP.
#[cfg(not(windows))]
mod elsewhere {
    use crate::proto::print::viewer::{Found, Submitted};
    use crate::proto::wire::print::{JobId, JobOffer, JobReason, JobState, Printer};
    use std::io::Read;
    use std::process::ExitCode;

    /// Looks for the spooler's printers.
    #[derive(Debug, Default)]
    pub struct Finder;

    impl Finder {
        /// Has not looked yet.
        pub fn new() -> Finder {
            Finder
        }

        /// The printers that the spooler has; `None` where there is no spooler.
        pub async fn find(&mut self, _place: &[u8; 16]) -> Option<Vec<SpoolerPrinter>> {
            None
        }
    }

    /// A printer of the spooler: there is none.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum SpoolerPrinter {}

    impl SpoolerPrinter {
        /// As it is offered.
        pub fn printer(&self) -> &Printer {
            match *self {}
        }

        /// Likewise.
        pub fn printer_mut(&mut self) -> &mut Printer {
            match *self {}
        }

        /// What Windows calls it.
        pub fn queue(&self) -> &str {
            match *self {}
        }

        /// Hands a job over.
        pub async fn submit(&self, _offer: &JobOffer, _document: impl Read + Send + 'static) -> Submitted {
            match *self {}
        }

        /// Looks for a job whose name carries the id.
        pub async fn find_job(&self, _job: JobId) -> Found {
            match *self {}
        }

        /// How a job fares.
        pub async fn job_state(&self, _job: JobId, _number: i32) -> (JobState, JobReason) {
            match *self {}
        }

        /// Cancels a job.
        pub async fn cancel(&self, _job: JobId, _number: i32) {
            match *self {}
        }
    }

    /// Draws a document if this process was started for it; `None` if not.
    pub fn render_if_asked() -> Option<ExitCode> {
        None
    }
}
