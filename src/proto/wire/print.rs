//! Printing on the wire: the printers a viewer offers, the jobs a host has for them, and how each job fares.
//!
//! Attributes of a printer are a closed list of data; nothing here is ever a command or a file's name. What is done with
//! them decides `proto::print`.

use super::{WireError, in_range, put_text, take_text};
use crate::codec::bytes::{Reader, put_varint};
use crate::limits::{
    COPIES_OF_JOB_MAX, JOB_BYTES_MAX, KEYWORD_BYTES_MAX, MEDIA_MAX, PAGE_RANGES_MAX, PRINTERS_MAX, SOURCES_MAX,
};
use std::fmt;

/// First byte of a host's stream that carries a document from some byte on.
pub const STREAM_DOCUMENT: u8 = 0x12;
/// The bit of printing among the capabilities.
pub const CAPABILITY_PRINTING: u32 = 1 << 2;
/// Bytes before the document in its stream, without the stream's first byte, at most: id and offset.
pub const DOCUMENT_HEAD_MAX: usize = 16 + 5;

/// A print job's name on every hop: 16 bytes that no other job has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub [u8; 16]);

/// A printer's name on every hop: made of the device's own id and the printer's address, so that no other device has it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PrinterKey(pub [u8; 16]);

/// A printer that a viewer offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Printer {
    /// Which.
    pub key: PrinterKey,
    /// What people call it.
    pub name: String,
    /// It is the user's default.
    pub is_default: bool,
    /// It prints in colour.
    pub color: bool,
    /// It prints on both sides.
    pub duplex: bool,
    /// It takes jobs now.
    pub ready: bool,
    /// Paper sizes as IPP names them (PWG 5101.1), the default first; at most [`MEDIA_MAX`].
    pub media: Vec<String>,
    /// Trays as IPP names them; at most [`SOURCES_MAX`].
    pub sources: Vec<String>,
}

/// On which sides to print.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sides {
    /// As the printer is set.
    #[default]
    Default = 0,
    /// One side.
    One = 1,
    /// Both, turned at the long edge.
    LongEdge = 2,
    /// Both, turned at the short edge.
    ShortEdge = 3,
}

/// Whether to print in colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ColorMode {
    /// As the printer is set.
    #[default]
    Default = 0,
    /// In colour.
    Color = 1,
    /// In grey.
    Monochrome = 2,
}

/// How a job is to be printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobOptions {
    /// 1 to [`COPIES_OF_JOB_MAX`].
    pub copies: u32,
    /// One side or both.
    pub sides: Sides,
    /// Colour or grey.
    pub color: ColorMode,
    /// Pages on one side: 1, 2, 4, 6, 9 or 16.
    pub number_up: u32,
    /// Paper size as IPP names it; empty: the printer's default.
    pub media: String,
    /// Tray as IPP names it; empty: the printer's default.
    pub source: String,
    /// Pages from, to (from 1, both included, ascending); none: all. At most [`PAGE_RANGES_MAX`].
    pub pages: Vec<(u32, u32)>,
}

/// A job that a host has for a viewer's printer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobOffer {
    /// Which.
    pub job: JobId,
    /// For which printer, and no other.
    pub printer: PrinterKey,
    /// Bytes of the document, 1 to [`JOB_BYTES_MAX`].
    pub size: u32,
    /// SHA-256 of the document.
    pub sha256: [u8; 32],
    /// What the user calls it.
    pub title: String,
    /// How to print it.
    pub options: JobOptions,
}

/// How a job fares at the viewer's print system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    /// The viewer has all of it, and the print system is about to get it, or has it in its queue.
    Queued = 1,
    /// It is being printed.
    Printing = 2,
    /// It waits for somebody at the printer; the reason says for what.
    Stopped = 3,
    /// The print system says that it is printed.
    Done = 4,
    /// It will not be printed; the reason says why.
    Failed = 5,
    /// It was cancelled.
    Canceled = 6,
    /// Nobody can know whether it was printed: the user is asked.
    Unknown = 7,
}

/// Why a job waits or failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JobReason {
    /// Nothing to say.
    #[default]
    None = 0,
    /// No paper.
    MediaEmpty = 1,
    /// Paper is stuck.
    MediaJam = 2,
    /// A cover is open.
    CoverOpen = 3,
    /// No toner or ink.
    MarkerEmpty = 4,
    /// The printer does not answer.
    Offline = 5,
    /// Something else at the printer.
    Other = 6,
    /// The print system refused it.
    Refused = 7,
    /// The document arrived damaged.
    Damaged = 8,
    /// The printer is no longer there.
    NoPrinter = 9,
    /// The viewer has no room for it.
    NoRoom = 10,
    /// The print system does not answer.
    NoPrintSystem = 11,
    /// The user said so.
    User = 12,
    /// The viewer could not write its journal, and does not print what it may forget.
    NoJournal = 13,
}

/// Viewer to host, about printing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PrintWish {
    /// These printers are offered from now on, and no other; at most [`PRINTERS_MAX`].
    Printers(Vec<Printer>),
    /// Send this job's document from this byte on.
    Wanted {
        /// Which.
        job: JobId,
        /// First byte that is missing.
        offset: u32,
    },
    /// All bytes of the document before this one are there.
    Received {
        /// Which.
        job: JobId,
        /// Bytes.
        offset: u32,
    },
    /// A job's state changed.
    State {
        /// Which.
        job: JobId,
        /// What it is now.
        state: JobState,
        /// Why.
        reason: JobReason,
    },
}

/// Host to viewer, about printing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PrintWord {
    /// There is a job. Said again after each new connection, until it has ended.
    Offer(JobOffer),
    /// The user no longer wants it.
    Cancel(JobId),
    /// The host has written down how it ended; the viewer need not remember it any more.
    Settled(JobId),
}

impl JobState {
    /// Whether nothing can follow.
    pub fn is_end(self) -> bool {
        matches!(self, JobState::Done | JobState::Failed | JobState::Canceled)
    }

    pub(crate) fn from_number(number: u8) -> Option<JobState> {
        use JobState::*;
        [Queued, Printing, Stopped, Done, Failed, Canceled, Unknown].into_iter().find(|s| *s as u8 == number)
    }
}

impl JobReason {
    pub(crate) fn from_number(number: u8) -> Option<JobReason> {
        use JobReason::*;
        [
            None,
            MediaEmpty,
            MediaJam,
            CoverOpen,
            MarkerEmpty,
            Offline,
            Other,
            Refused,
            Damaged,
            NoPrinter,
            NoRoom,
            NoPrintSystem,
            User,
            NoJournal,
        ]
        .into_iter()
        .find(|r| *r as u8 == number)
    }
}

impl Default for JobOptions {
    fn default() -> Self {
        Self {
            copies: 1,
            sides: Sides::Default,
            color: ColorMode::Default,
            number_up: 1,
            media: String::new(),
            source: String::new(),
            pages: Vec::new(),
        }
    }
}

impl JobOptions {
    /// Appends the options, as in an offer.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.copies);
        out.extend_from_slice(&[self.sides as u8, self.color as u8]);
        put_varint(out, self.number_up);
        put_text(out, &self.media);
        put_text(out, &self.source);
        put_varint(out, self.pages.len() as u32);
        for (from, to) in &self.pages {
            put_varint(out, *from);
            put_varint(out, *to);
        }
    }

    pub(crate) fn decode(r: &mut Reader) -> Result<JobOptions, WireError> {
        let copies = in_range(r, "copies", 1, COPIES_OF_JOB_MAX)?;
        let sides = match r.u8()? {
            0 => Sides::Default,
            1 => Sides::One,
            2 => Sides::LongEdge,
            3 => Sides::ShortEdge,
            other => return Err(WireError::Value { field: "sides", value: other.into() }),
        };
        let color = match r.u8()? {
            0 => ColorMode::Default,
            1 => ColorMode::Color,
            2 => ColorMode::Monochrome,
            other => return Err(WireError::Value { field: "color", value: other.into() }),
        };
        let number_up = r.varint()?;
        if ![1, 2, 4, 6, 9, 16].contains(&number_up) {
            return Err(WireError::Value { field: "number up", value: number_up });
        }
        let (media, source) = (take_optional_keyword(r, "media")?, take_optional_keyword(r, "source")?);
        let mut pages = Vec::new();
        let mut before = 0;
        for _ in 0..in_range(r, "page ranges", 0, PAGE_RANGES_MAX as u32)? {
            let from = in_range(r, "first page", before + 1, u32::MAX >> 1)?;
            before = in_range(r, "last page", from, u32::MAX >> 1)?;
            pages.push((from, before));
        }
        Ok(JobOptions { copies, sides, color, number_up, media, source, pages })
    }
}

impl JobOffer {
    /// Appends the offer's fields.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.job.0);
        out.extend_from_slice(&self.printer.0);
        put_varint(out, self.size);
        out.extend_from_slice(&self.sha256);
        put_text(out, &self.title);
        self.options.encode(out);
    }

    pub(crate) fn decode(r: &mut Reader) -> Result<JobOffer, WireError> {
        Ok(JobOffer {
            job: take_job(r)?,
            printer: take_printer_key(r)?,
            size: in_range(r, "size", 1, JOB_BYTES_MAX)?,
            sha256: r.take(32)?.try_into().expect("32 bytes were taken"),
            title: take_text(r, "title")?,
            options: JobOptions::decode(r)?,
        })
    }
}

impl PrintWish {
    /// Appends type and fields.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            PrintWish::Printers(printers) => {
                out.push(0x10);
                put_varint(out, printers.len() as u32);
                for printer in printers {
                    printer.encode(out);
                }
            }
            PrintWish::Wanted { job, offset } => put_job(out, 0x11, job, Some(*offset)),
            PrintWish::Received { job, offset } => put_job(out, 0x12, job, Some(*offset)),
            PrintWish::State { job, state, reason } => {
                put_job(out, 0x13, job, None);
                out.extend_from_slice(&[*state as u8, *reason as u8]);
            }
        }
    }

    /// Whether this message type is one of printing, in this direction.
    pub const fn is_kind(kind: u8) -> bool {
        matches!(kind, 0x10..=0x1f)
    }

    pub(super) fn decode(kind: u8, r: &mut Reader) -> Result<PrintWish, WireError> {
        Ok(match kind {
            0x10 => {
                let count = in_range(r, "printers", 0, PRINTERS_MAX as u32)?;
                let printers: Vec<Printer> = (0..count).map(|_| Printer::decode(r)).collect::<Result<_, _>>()?;
                if printers.iter().enumerate().any(|(i, p)| printers[..i].iter().any(|q| q.key == p.key)) {
                    return Err(WireError::Text("printer key"));
                }
                PrintWish::Printers(printers)
            }
            0x11 => PrintWish::Wanted { job: take_job(r)?, offset: in_range(r, "offset", 0, JOB_BYTES_MAX)? },
            0x12 => PrintWish::Received { job: take_job(r)?, offset: in_range(r, "offset", 0, JOB_BYTES_MAX)? },
            0x13 => {
                let (job, state, reason) = (take_job(r)?, r.u8()?, r.u8()?);
                let unknown = |field, value: u8| WireError::Value { field, value: value.into() };
                PrintWish::State {
                    job,
                    state: JobState::from_number(state).ok_or(unknown("state", state))?,
                    reason: JobReason::from_number(reason).ok_or(unknown("reason", reason))?,
                }
            }
            _ => return Err(WireError::Type(kind)),
        })
    }
}

impl PrintWord {
    /// Appends type and fields.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            PrintWord::Offer(offer) => {
                out.push(0x90);
                offer.encode(out);
            }
            PrintWord::Cancel(job) => put_job(out, 0x91, job, None),
            PrintWord::Settled(job) => put_job(out, 0x92, job, None),
        }
    }

    pub(super) fn decode(kind: u8, r: &mut Reader) -> Result<PrintWord, WireError> {
        Ok(match kind {
            0x90 => PrintWord::Offer(JobOffer::decode(r)?),
            0x91 => PrintWord::Cancel(take_job(r)?),
            0x92 => PrintWord::Settled(take_job(r)?),
            _ => return Err(WireError::Type(kind)),
        })
    }
}

impl Printer {
    /// One that is ready and can do nothing in particular.
    #[cfg(test)]
    pub(crate) fn plain(key: PrinterKey, name: &str) -> Printer {
        Printer {
            key,
            name: name.to_owned(),
            is_default: false,
            color: false,
            duplex: false,
            ready: true,
            media: Vec::new(),
            sources: Vec::new(),
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.key.0);
        let bit = |value: bool, place: u8| u8::from(value) << place;
        out.push(bit(self.is_default, 0) | bit(self.color, 1) | bit(self.duplex, 2) | bit(self.ready, 3));
        put_text(out, &self.name);
        for list in [&self.media, &self.sources] {
            put_varint(out, list.len() as u32);
            for word in list {
                put_text(out, word);
            }
        }
    }

    pub(crate) fn decode(r: &mut Reader) -> Result<Printer, WireError> {
        let key = take_printer_key(r)?;
        let flags = r.u8()?;
        if flags > 0x0f {
            return Err(WireError::Value { field: "printer flags", value: flags.into() });
        }
        let name = take_text(r, "printer name")?;
        let words = |r: &mut Reader, field, max: usize| {
            let count = in_range(r, field, 0, max as u32)?;
            (0..count).map(|_| take_keyword(r, field)).collect::<Result<Vec<String>, WireError>>()
        };
        let (media, sources) = (words(r, "media", MEDIA_MAX)?, words(r, "sources", SOURCES_MAX)?);
        let is = |place: u8| flags >> place & 1 == 1;
        Ok(Printer { key, name, is_default: is(0), color: is(1), duplex: is(2), ready: is(3), media, sources })
    }
}

/// Whether a text may be a paper size or a tray: a few letters, digits and `.-_+`.
pub fn is_keyword(text: &str) -> bool {
    let plain = |c: u8| c.is_ascii_alphanumeric() || b".-_+".contains(&c);
    (1..=KEYWORD_BYTES_MAX).contains(&text.len()) && text.bytes().all(plain)
}

/// Appends what a document's stream begins with, behind its first byte.
pub fn put_document_head(out: &mut Vec<u8>, job: JobId, offset: u32) {
    out.extend_from_slice(&job.0);
    put_varint(out, offset);
}

/// Reads what a document's stream begins with: job, offset, and how many bytes that took; `None` until all of it is there.
///
/// # Errors
/// [`WireError`] if it is malformed.
pub fn document_head(bytes: &[u8]) -> Result<Option<(JobId, u32, usize)>, WireError> {
    let mut r = Reader::new(bytes);
    let whole = bytes.len() >= DOCUMENT_HEAD_MAX || bytes.get(16..).is_some_and(|b| b.iter().any(|b| b & 0x80 == 0));
    if !whole {
        return Ok(None);
    }
    let (job, offset) = (take_job(&mut r)?, in_range(&mut r, "offset", 0, JOB_BYTES_MAX)?);
    Ok(Some((job, offset, r.offset())))
}

fn put_job(out: &mut Vec<u8>, kind: u8, job: &JobId, offset: Option<u32>) {
    out.push(kind);
    out.extend_from_slice(&job.0);
    if let Some(offset) = offset {
        put_varint(out, offset);
    }
}

fn take_job(r: &mut Reader) -> Result<JobId, WireError> {
    Ok(JobId(r.take(16)?.try_into().expect("16 bytes were taken")))
}

fn take_printer_key(r: &mut Reader) -> Result<PrinterKey, WireError> {
    Ok(PrinterKey(r.take(16)?.try_into().expect("16 bytes were taken")))
}

fn take_optional_keyword(r: &mut Reader, field: &'static str) -> Result<String, WireError> {
    let text = take_text(r, field)?;
    if text.is_empty() || is_keyword(&text) { Ok(text) } else { Err(WireError::Text(field)) }
}

fn take_keyword(r: &mut Reader, field: &'static str) -> Result<String, WireError> {
    let text = take_text(r, field)?;
    if is_keyword(&text) { Ok(text) } else { Err(WireError::Text(field)) }
}

fn hex(f: &mut fmt::Formatter<'_>, bytes: &[u8; 16]) -> fmt::Result {
    bytes.iter().try_for_each(|b| write!(f, "{b:02x}"))
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(f, &self.0)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(f, &self.0)
    }
}

impl fmt::Display for PrinterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(f, &self.0)
    }
}

impl fmt::Debug for PrinterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(f, &self.0)
    }
}
