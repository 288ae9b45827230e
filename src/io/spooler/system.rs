//! The spooler's printers as the viewer has them: found, given jobs, asked and told. Everything that waits for Windows does
//! so in threads of its own.

use super::abilities::{self, JOB_PAUSED, JOB_REMOVED, Wishes};
use super::device::Device;
use super::process::{self, RenderError, Renderer};
use super::queue::{Abilities, Job, Queue, abilities, printers};
use super::strip::RenderOrder;
use crate::limits::PRINTERS_MAX;
use crate::proto::print::viewer::{Found, Submitted};
use crate::proto::wire::print::{ColorMode, JobId, JobOffer, JobReason, JobState, Printer, PrinterKey, Sides};
use aws_lc_rs::digest;
use std::collections::HashMap;
use std::io::{self, Read};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use thiserror::Error;
use tokio::task::spawn_blocking;
use windows_sys::Win32::Foundation::ERROR_INVALID_PRINTER_NAME;
use windows_sys::Win32::Graphics::Printing::{
    JOB_CONTROL_DELETE, JOB_CONTROL_PAUSE, JOB_CONTROL_RELEASE, JOB_CONTROL_RESUME, JOB_CONTROL_RETAIN,
};

/// How long it is believed what a driver said that its printer can.
const KNOWN_FOR: Duration = Duration::from_secs(300);

/// Documents are drawn one after the other: each may take a gigabyte.
static DRAWING: Mutex<()> = Mutex::new(());

/// Looks for the spooler's printers, and remembers what their drivers said.
#[derive(Debug, Default)]
pub struct Finder {
    known: HashMap<String, (Instant, Abilities)>,
}

/// A printer of the spooler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoolerPrinter {
    printer: Printer,
    queue: String,
    abilities: Abilities,
}

/// Why a document is not at the spooler.
#[derive(Debug, Error)]
enum HandOverError {
    #[error("the printer cannot be opened")]
    Printer(#[source] io::Error),
    #[error("the printer has no sheet that can be drawn on")]
    Sheet,
    #[error("none of its pages is to be printed")]
    NoPages,
    #[error(transparent)]
    Render(#[from] RenderError),
    #[error("the spooler did not take all of it")]
    Device(#[source] io::Error),
}

/// Draws a document if this process was started for it; `None` if not.
pub fn render_if_asked() -> Option<ExitCode> {
    process::render_if_asked()
}

impl Finder {
    /// Has not looked yet.
    pub fn new() -> Finder {
        Finder::default()
    }

    /// The printers that the spooler has, none if it does not answer; `None` where there is no spooler. `place` is this
    /// device's own id, from which the printers' keys are made.
    pub async fn find(&mut self, place: &[u8; 16]) -> Option<Vec<SpoolerPrinter>> {
        let (mut known, place) = (std::mem::take(&mut self.known), *place);
        let looking = spawn_blocking(move || {
            let found = look(&mut known, &place);
            (found, known)
        });
        let (found, known) = looking.await.unwrap_or_default();
        self.known = known;
        Some(found)
    }
}

fn look(known: &mut HashMap<String, (Instant, Abilities)>, place: &[u8; 16]) -> Vec<SpoolerPrinter> {
    let (listed, default) = match printers() {
        Ok(found) => found,
        Err(error) => {
            tracing::debug!(%error, "The spooler lists no printers");
            return Vec::new();
        }
    };
    let listed: Vec<_> = listed.into_iter().filter(|p| abilities::is_printer(p.attributes, &p.port)).collect();
    known.retain(|name, (since, _)| since.elapsed() < KNOWN_FOR && listed.iter().any(|p| p.name == *name));
    // The default is offered also where there are more than are offered.
    let mut offered: Vec<_> = listed.iter().collect();
    offered.sort_by_key(|p| default.as_ref() != Some(&p.name));
    offered.truncate(PRINTERS_MAX);
    let found = |p: &super::queue::Listed| {
        let abilities = &known.entry(p.name.clone()).or_insert_with(|| (Instant::now(), abilities(p))).1;
        let words = |choices: &[abilities::Choice]| choices.iter().map(|(word, _)| word.clone()).collect();
        SpoolerPrinter {
            printer: Printer {
                key: printer_key(place, &p.name),
                name: abilities::shown_name(&p.name),
                is_default: default.as_ref() == Some(&p.name),
                color: abilities.color,
                duplex: abilities.duplex,
                ready: abilities::is_ready(p.status),
                media: words(&abilities.papers),
                sources: words(&abilities.trays),
            },
            queue: p.name.clone(),
            abilities: abilities.clone(),
        }
    };
    offered.into_iter().map(found).collect()
}

/// This device's key of a printer.
fn printer_key(place: &[u8; 16], name: &str) -> PrinterKey {
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(place);
    hash.update(b"spooler:");
    hash.update(name.as_bytes());
    PrinterKey(hash.finish().as_ref()[..16].try_into().expect("SHA-256 has 32 bytes"))
}

impl SpoolerPrinter {
    /// As it is offered.
    pub fn printer(&self) -> &Printer {
        &self.printer
    }

    /// Likewise.
    pub fn printer_mut(&mut self) -> &mut Printer {
        &mut self.printer
    }

    /// What Windows calls it.
    pub fn queue(&self) -> &str {
        &self.queue
    }

    /// Hands a job over.
    pub async fn submit(&self, offer: &JobOffer, document: impl Read + Send + 'static) -> Submitted {
        let (printer, offer) = (self.clone(), offer.clone());
        let handing = spawn_blocking(move || {
            let _turn = DRAWING.lock().unwrap_or_else(PoisonError::into_inner);
            printer.hand_over(&offer, document)
        });
        handing.await.unwrap_or(Submitted::Uncertain)
    }

    /// Looks for a job whose name carries the id.
    pub async fn find_job(&self, job: JobId) -> Found {
        let queue = self.queue.clone();
        spawn_blocking(move || find(&queue, job)).await.unwrap_or(Found::Away)
    }

    /// How a job fares; [`JobState::Unknown`] when the spooler does not know it any more.
    pub async fn job_state(&self, job: JobId, number: i32) -> (JobState, JobReason) {
        let queue = self.queue.clone();
        let asking = spawn_blocking(move || state(&queue, job, number.unsigned_abs()));
        asking.await.unwrap_or((JobState::Stopped, JobReason::NoPrintSystem))
    }

    /// Cancels a job. Whether that came in time says its state.
    pub async fn cancel(&self, job: JobId, number: i32) {
        let queue = self.queue.clone();
        let cancelling = spawn_blocking(move || {
            let queue = Queue::open(&queue)?;
            match ours(&queue, job, number.unsigned_abs())? {
                Some(job) => queue.control(job.number, JOB_CONTROL_DELETE),
                None => Ok(()),
            }
        });
        if let Ok(Err(error)) = cancelling.await {
            tracing::warn!(%error, "A job was not cancelled");
        }
    }

    /// Draws a document on the printer. Until it is whole the job is held, so that of one that cannot be drawn to its end
    /// nothing is printed.
    fn hand_over(&self, offer: &JobOffer, document: impl Read) -> Submitted {
        let refused = |error: HandOverError| {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            tracing::warn!(%error, cause, job = %offer.job, "A job was not handed over");
            match error {
                HandOverError::Printer(_) | HandOverError::Device(_) => Submitted::NotSent,
                HandOverError::Sheet | HandOverError::NoPages => Submitted::Refused(JobReason::Refused),
                HandOverError::Render(RenderError::NoProcess(_)) => Submitted::Refused(JobReason::NoRoom),
                HandOverError::Render(RenderError::Document(_)) => Submitted::Refused(JobReason::Damaged),
            }
        };
        let (queue, device, mut renderer, factor) = match self.prepare(offer, document) {
            Ok(all) => all,
            Err(error) => return refused(error),
        };
        let number = match device.start(&abilities::document_name(&offer.title, offer.job)) {
            Ok(number) => number,
            Err(error) => return refused(HandOverError::Device(error)),
        };
        let is_held = is_held(&queue, number);
        // Kept until it was seen that it is printed: what is gone nobody can ask about.
        if let Err(error) = queue.control(number, JOB_CONTROL_RETAIN) {
            tracing::debug!(%error, "A job is not kept in its queue");
        }
        if let Err(error) = draw(&device, &mut renderer, factor) {
            device.abort();
            if is_held && queue.remove(number) {
                return refused(error);
            }
            tracing::warn!(%error, job = %offer.job, "A hand-over's outcome is not known");
            return Submitted::Uncertain;
        }
        if is_held && let Err(error) = queue.control(number, JOB_CONTROL_RESUME) {
            // The queue shows it as held, where somebody can let it go.
            tracing::warn!(%error, job = %offer.job, "A job is still held");
        }
        i32::try_from(number).map_or(Submitted::Uncertain, Submitted::Taken)
    }

    /// Everything that can fail before the spooler hears of the job.
    fn prepare(&self, offer: &JobOffer, document: impl Read) -> Result<(Queue, Device, Renderer, u32), HandOverError> {
        let options = &offer.options;
        let queue = Queue::open(&self.queue).map_err(HandOverError::Printer)?;
        let can = &self.abilities;
        let wishes = Wishes::new(options, &can.papers, &can.trays, can.copies_max);
        let mode = queue.mode(Some(&wishes)).map_err(HandOverError::Printer)?;
        let device = Device::open(&self.queue, &mode).map_err(HandOverError::Printer)?;
        let (sheet, factor) = device.sheet().coarsened();
        if !sheet.is_usable() {
            return Err(HandOverError::Sheet);
        }
        let order = RenderOrder {
            sheet,
            number_up: options.number_up,
            copies: if u32::from(wishes.copies) == options.copies { 1 } else { options.copies },
            is_duplex: matches!(options.sides, Sides::LongEdge | Sides::ShortEdge),
            is_gray: options.color == ColorMode::Monochrome,
            pages: options.pages.clone(),
            document_bytes: offer.size,
        };
        let renderer = Renderer::start(order, document)?;
        if renderer.sides() == 0 {
            return Err(HandOverError::NoPages);
        }
        Ok((queue, device, renderer, factor))
    }
}

/// Holds a job that has no page yet; whether it is held.
fn is_held(queue: &Queue, number: u32) -> bool {
    // What goes past the queue would be held for ever with its first page.
    let is_direct = queue.state().is_ok_and(|(_, attributes)| abilities::is_direct(attributes));
    let is_paused = |job: Option<Job>| job.is_some_and(|job| job.status & JOB_PAUSED != 0);
    !is_direct
        && queue.control(number, JOB_CONTROL_PAUSE).is_ok()
        // Said by the queue, not by who took the order.
        && queue.job(number).is_ok_and(is_paused)
}

fn draw(device: &Device, renderer: &mut Renderer, factor: u32) -> Result<(), HandOverError> {
    for _ in 0..renderer.sides() {
        device.start_page().map_err(HandOverError::Device)?;
        while let Some(strip) = renderer.next()? {
            device.draw(&strip, factor).map_err(HandOverError::Device)?;
        }
        device.end_page().map_err(HandOverError::Device)?;
    }
    device.end().map_err(HandOverError::Device)
}

/// The job with this number, if it is this one: the spooler gives numbers anew.
fn ours(queue: &Queue, job: JobId, number: u32) -> io::Result<Option<Job>> {
    let id = job.to_string();
    Ok(queue.job(number)?.filter(|found| found.document.contains(&id)))
}

fn find(queue: &str, job: JobId) -> Found {
    let Ok((queue, jobs)) = Queue::open(queue).and_then(|queue| queue.jobs().map(|jobs| (queue, jobs))) else {
        return Found::Away;
    };
    let id = job.to_string();
    let is_it = |found: &&Job| found.document.contains(&id) && found.status & JOB_REMOVED == 0;
    let Some(found) = jobs.iter().find(is_it) else { return Found::Nothing };
    // Held, and nobody is left who would hand over the rest of it or let it go.
    if abilities::is_untouched(found.status, found.pages_printed) && queue.remove(found.number) {
        return Found::Untouched;
    }
    i32::try_from(found.number).map_or(Found::Nothing, Found::Job)
}

fn unanswered(error: &io::Error) -> (JobState, JobReason) {
    tracing::debug!(%error, "The spooler does not tell of a job");
    (JobState::Stopped, JobReason::NoPrintSystem)
}

fn state(queue: &str, job: JobId, number: u32) -> (JobState, JobReason) {
    let queue = match Queue::open(queue) {
        Ok(queue) => queue,
        Err(error) if error.raw_os_error() == Some(ERROR_INVALID_PRINTER_NAME as i32) => {
            return (JobState::Stopped, JobReason::NoPrinter);
        }
        Err(error) => return unanswered(&error),
    };
    let found = match ours(&queue, job, number) {
        Ok(Some(found)) => found,
        Ok(None) => return (JobState::Unknown, JobReason::None),
        Err(error) => return unanswered(&error),
    };
    // That the printer itself says nothing hides nothing of the job.
    let (printer, attributes) = queue.state().unwrap_or((0, 0));
    let (state, reason) = abilities::job_state(found.status, printer, attributes);
    if state == JobState::Done {
        // It was kept only to be seen; nothing of the document stays.
        let _ = queue.control(number, JOB_CONTROL_RELEASE);
        let is_gone = !abilities::is_kept(found.status) || queue.remove(number);
        tracing::debug!(is_gone, %job, "A printed job leaves its queue");
    }
    (state, reason)
}
