//! The spooler in Windows' words: its printers, their abilities and settings, and the jobs in their queues.

use super::abilities::{self, Choice, JOB_REMOVED, Wishes};
use std::io;
use std::iter::once;
use std::mem::size_of;
use std::ptr::{null, null_mut};
use windows_sys::Win32::Foundation::{ERROR_INSUFFICIENT_BUFFER, ERROR_INVALID_PARAMETER, POINT, SetLastError};
use windows_sys::Win32::Graphics::Gdi::{
    DEVMODEW, DM_COLLATE, DM_COLOR, DM_COPIES, DM_DEFAULTSOURCE, DM_DUPLEX, DM_IN_BUFFER, DM_ORIENTATION,
    DM_OUT_BUFFER, DM_PAPERLENGTH, DM_PAPERSIZE, DM_PAPERWIDTH,
};
use windows_sys::Win32::Graphics::Printing::{
    ClosePrinter, DocumentPropertiesW, EnumJobsW, EnumPrintersW, GetDefaultPrinterW, GetJobW, GetPrinterW,
    JOB_CONTROL_DELETE, JOB_INFO_1W, OpenPrinterW, PRINTER_ENUM_CONNECTIONS, PRINTER_ENUM_LOCAL, PRINTER_HANDLE,
    PRINTER_INFO_2W, SetJobW,
};
use windows_sys::Win32::Storage::Xps::{
    DC_BINNAMES, DC_BINS, DC_COLLATE, DC_COLORDEVICE, DC_COPIES, DC_DUPLEX, DC_PAPERNAMES, DC_PAPERS, DC_PAPERSIZE,
    DeviceCapabilitiesW,
};

/// Bytes of an answer at most: hundreds of printers or jobs.
const ANSWER_BYTES_MAX: u32 = 16 << 20;
/// Jobs that are looked through.
const JOBS_MAX: u32 = 10_000;
/// Papers and trays that are looked at.
const CHOICES_MAX: usize = 1_000;
/// Letters of a text at most.
const TEXT_MAX: usize = 1_024;
/// Letters of a paper's name in `DC_PAPERNAMES`, and of a tray's in `DC_BINNAMES`.
const PAPER_NAME: usize = 64;
/// See [`PAPER_NAME`].
const TRAY_NAME: usize = 24;

/// A printer as the spooler lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    /// What Windows calls it.
    pub(super) name: String,
    /// Where it is connected.
    pub(super) port: String,
    /// Windows' bits.
    pub(super) attributes: u32,
    /// Windows' bits.
    pub(super) status: u32,
}

/// What a printer can.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Abilities {
    /// The default first.
    pub(super) papers: Vec<Choice>,
    pub(super) trays: Vec<Choice>,
    pub(super) color: bool,
    pub(super) duplex: bool,
    /// Sorted copies that it makes itself.
    pub(super) copies_max: u32,
}

/// A job in a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) number: u32,
    /// What it is called.
    pub(super) document: String,
    /// Windows' bits.
    pub(super) status: u32,
    pub(super) pages_printed: u32,
}

/// A printer that is open. One thread's alone.
pub(super) struct Queue {
    name: Vec<u16>,
    handle: PRINTER_HANDLE,
}

/// How a printer is set, for one job: a `DEVMODEW` with what its driver adds.
#[derive(Debug)]
pub(super) struct Mode {
    /// Long enough for a `DEVMODEW`, and for what the driver said that it needs.
    room: Vec<u64>,
}

/// The printers that this user has, and the name of the default.
///
/// # Errors
/// What the system says; without its spooler there are none.
#[allow(unsafe_code, reason = "Windows lists printers in C only")]
pub(super) fn printers() -> io::Result<(Vec<Listed>, Option<String>)> {
    let mut count = 0;
    let flags = PRINTER_ENUM_LOCAL | PRINTER_ENUM_CONNECTIONS;
    let answer = filled(|room, bytes, needed| {
        // SAFETY: `room` has `bytes` bytes, and both numbers live.
        unsafe { EnumPrintersW(flags, null(), 2, room, bytes, needed, &mut count) }
    })?;
    let listed = |info: &PRINTER_INFO_2W| Listed {
        // SAFETY: these point into `answer`, which lives, or are null.
        name: unsafe { text(info.pPrinterName) },
        // SAFETY: likewise.
        port: unsafe { text(info.pPortName) },
        attributes: info.Attributes,
        status: info.Status,
    };
    // SAFETY: so many of these stand at the beginning of what was filled.
    let all = unsafe { structures::<PRINTER_INFO_2W>(&answer, count) }.iter().map(listed).collect();
    let (mut name, mut letters) = ([0u16; TEXT_MAX], TEXT_MAX as u32);
    // SAFETY: there is room for so many letters.
    let has_default = unsafe { GetDefaultPrinterW(name.as_mut_ptr(), &mut letters) } != 0;
    Ok((all, has_default.then(|| until_zero(&name))))
}

/// What a printer can do. Asks its driver, which takes its time.
pub(super) fn abilities(listed: &Listed) -> Abilities {
    let (name, port) = (wide(&listed.name), wide(&listed.port));
    let number = |what: u16| capability::<u8>(&name, &port, what, 0).1;
    let (papers, _) = capability::<u16>(&name, &port, DC_PAPERS, 1);
    let (sizes, _) = capability::<POINT>(&name, &port, DC_PAPERSIZE, 1);
    let (names, _) = capability::<u16>(&name, &port, DC_PAPERNAMES, PAPER_NAME);
    let side = |side: i32| u32::try_from(side).unwrap_or(0);
    let papers: Vec<(u16, String, u32, u32)> = papers
        .into_iter()
        .zip(sizes)
        .zip(names.chunks(PAPER_NAME))
        .map(|((number, size), name)| (number, until_zero(name), side(size.x), side(size.y)))
        .collect();
    let (trays, _) = capability::<u16>(&name, &port, DC_BINS, 1);
    let (names, _) = capability::<u16>(&name, &port, DC_BINNAMES, TRAY_NAME);
    let trays: Vec<(u16, String)> =
        trays.into_iter().zip(names.chunks(TRAY_NAME)).map(|(number, name)| (number, until_zero(name))).collect();
    let default = Queue::open(&listed.name).and_then(|queue| queue.mode(None)).ok().and_then(|mode| mode.paper());
    let sorts = number(DC_COLLATE) == 1;
    Abilities {
        papers: abilities::papers(&papers, default),
        trays: abilities::trays(&trays),
        color: number(DC_COLORDEVICE) == 1,
        duplex: number(DC_DUPLEX) == 1,
        copies_max: if sorts { u32::try_from(number(DC_COPIES)).unwrap_or(1).max(1) } else { 1 },
    }
}

impl Queue {
    /// Opens a printer by Windows' name for it.
    ///
    /// # Errors
    /// What the system says.
    #[allow(unsafe_code, reason = "Windows opens printers in C only")]
    pub(super) fn open(name: &str) -> io::Result<Queue> {
        let name = wide(name);
        let mut handle = PRINTER_HANDLE::default();
        // SAFETY: the name ends with a zero, the handle lives, and no defaults are given.
        if unsafe { OpenPrinterW(name.as_ptr(), &mut handle, null()) } == 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Queue { name, handle })
    }

    /// Windows' bits of the printer's state, and its attributes.
    ///
    /// # Errors
    /// What the system says.
    #[allow(unsafe_code, reason = "Windows tells of printers in C only")]
    pub(super) fn state(&self) -> io::Result<(u32, u32)> {
        let answer = filled(|room, bytes, needed| {
            // SAFETY: the handle is open, `room` has `bytes` bytes.
            unsafe { GetPrinterW(self.handle, 2, room, bytes, needed) }
        })?;
        // SAFETY: one of these stands at the beginning of what was filled.
        let info = unsafe { structures::<PRINTER_INFO_2W>(&answer, 1) };
        Ok(info.first().map_or((0, 0), |info| (info.Status, info.Attributes)))
    }

    /// The job with this number; `None` if there is none.
    ///
    /// # Errors
    /// What the system says.
    #[allow(unsafe_code, reason = "Windows tells of jobs in C only")]
    pub(super) fn job(&self, number: u32) -> io::Result<Option<Job>> {
        let answer = filled(|room, bytes, needed| {
            // SAFETY: the handle is open, `room` has `bytes` bytes.
            unsafe { GetJobW(self.handle, number, 1, room, bytes, needed) }
        });
        match answer {
            // SAFETY: one of these stands at the beginning of what was filled.
            Ok(answer) => Ok(unsafe { structures::<JOB_INFO_1W>(&answer, 1) }.first().map(job)),
            // Wine's spooler gives no reason.
            Err(error) if [Some(ERROR_INVALID_PARAMETER), Some(0)].contains(&code(&error)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All jobs.
    ///
    /// # Errors
    /// What the system says.
    #[allow(unsafe_code, reason = "Windows lists jobs in C only")]
    pub(super) fn jobs(&self) -> io::Result<Vec<Job>> {
        let mut count = 0;
        let answer = filled(|room, bytes, needed| {
            // SAFETY: the handle is open, `room` has `bytes` bytes, both numbers live.
            unsafe { EnumJobsW(self.handle, 0, JOBS_MAX, 1, room, bytes, needed, &mut count) }
        })?;
        // SAFETY: so many of these stand at the beginning of what was filled.
        Ok(unsafe { structures::<JOB_INFO_1W>(&answer, count) }.iter().map(job).collect())
    }

    /// Does something with a job (`JOB_CONTROL_…`).
    ///
    /// # Errors
    /// What the system says.
    #[allow(unsafe_code, reason = "Windows takes such orders in C only")]
    pub(super) fn control(&self, number: u32, command: u32) -> io::Result<()> {
        // SAFETY: the handle is open, and level 0 is no description.
        let is_done = unsafe { SetJobW(self.handle, number, 0, null(), command) } != 0;
        if is_done { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Removes a job; whether it is gone, or about to be.
    pub(super) fn remove(&self, number: u32) -> bool {
        let is_gone =
            || matches!(self.job(number).map(|job| job.is_none_or(|j| j.status & JOB_REMOVED != 0)), Ok(true));
        // That it fails is seen by what is there afterwards.
        is_gone() || (self.control(number, JOB_CONTROL_DELETE).is_ok() && is_gone())
    }

    /// How the printer is set, or would be with these wishes.
    ///
    /// # Errors
    /// What the system says.
    #[allow(unsafe_code, reason = "drivers take and give settings in C only")]
    pub(super) fn mode(&self, wishes: Option<&Wishes>) -> io::Result<Mode> {
        let ask = |out: *mut DEVMODEW, wanted: *const DEVMODEW, what: u32| {
            // SAFETY: no window is shown without DM_IN_PROMPT; the name ends with a zero; where `what` says that there are
            // settings, they point to a `Mode`'s room.
            unsafe { DocumentPropertiesW(null_mut(), self.handle, self.name.as_ptr(), out, wanted, what) }
        };
        let failed = |answer: i32| if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer as usize) };
        let bytes = failed(ask(null_mut(), null(), 0))?;
        if bytes > ANSWER_BYTES_MAX as usize {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut mode = Mode { room: vec![0; bytes.max(size_of::<DEVMODEW>()).div_ceil(size_of::<u64>())] };
        failed(ask(mode.as_mut_ptr(), null(), DM_OUT_BUFFER))?;
        if let Some(wishes) = wishes {
            mode.set(wishes);
            // The driver mends what does not go together.
            let room = mode.as_mut_ptr();
            failed(ask(room, room, DM_IN_BUFFER | DM_OUT_BUFFER))?;
        }
        Ok(mode)
    }
}

impl Drop for Queue {
    #[allow(unsafe_code, reason = "Windows closes printers in C only")]
    fn drop(&mut self) {
        // SAFETY: it was opened, and is closed once.
        unsafe { ClosePrinter(self.handle) };
    }
}

impl Mode {
    /// For Windows.
    pub(super) fn as_ptr(&self) -> *const DEVMODEW {
        self.room.as_ptr().cast()
    }

    fn as_mut_ptr(&mut self) -> *mut DEVMODEW {
        self.room.as_mut_ptr().cast()
    }

    /// Windows' number of the paper that it is set to.
    #[allow(unsafe_code, reason = "settings are a union in C")]
    fn paper(&self) -> Option<u16> {
        // SAFETY: the room is long enough for it, and filled; a printer's settings have these fields.
        let (fields, paper) =
            unsafe { ((*self.as_ptr()).dmFields, (*self.as_ptr()).Anonymous1.Anonymous1.dmPaperSize) };
        (fields & DM_PAPERSIZE != 0).then_some(paper as u16)
    }

    /// Upright always: pages that lie across are turned where they are drawn.
    #[allow(unsafe_code, reason = "settings are a union in C")]
    fn set(&mut self, wishes: &Wishes) {
        const PORTRAIT: i16 = 1;
        const SORTED: i16 = 1;
        // SAFETY: the room is long enough for it, and filled; nothing else points to it.
        let mode = unsafe { &mut *self.as_mut_ptr() };
        // SAFETY: a printer's settings have these fields.
        let paper = unsafe { &mut mode.Anonymous1.Anonymous1 };
        mode.dmFields |= DM_ORIENTATION | DM_COPIES | DM_COLLATE;
        paper.dmOrientation = PORTRAIT;
        paper.dmCopies = wishes.copies as i16;
        mode.dmCollate = SORTED;
        if let Some(number) = wishes.paper {
            mode.dmFields |= DM_PAPERSIZE;
            mode.dmFields &= !(DM_PAPERWIDTH | DM_PAPERLENGTH);
            paper.dmPaperSize = number as i16;
        }
        if let Some((width, height)) = wishes.paper_size {
            mode.dmFields |= DM_PAPERWIDTH | DM_PAPERLENGTH;
            (paper.dmPaperWidth, paper.dmPaperLength) = (width as i16, height as i16);
        }
        if let Some(number) = wishes.tray {
            mode.dmFields |= DM_DEFAULTSOURCE;
            paper.dmDefaultSource = number as i16;
        }
        if let Some(number) = wishes.duplex {
            mode.dmFields |= DM_DUPLEX;
            mode.dmDuplex = number as i16;
        }
        if let Some(number) = wishes.color {
            mode.dmFields |= DM_COLOR;
            mode.dmColor = number as i16;
        }
    }
}

/// A text for Windows: UTF-16 with a zero at its end.
pub(super) fn wide(text: &str) -> Vec<u16> {
    text.encode_utf16().filter(|unit| *unit != 0).chain(once(0)).collect()
}

/// Asks with more room until the answer fits. Gives what was filled, and nothing where there is nothing to tell.
#[allow(unsafe_code, reason = "Windows' errors are set in C only")]
fn filled(mut ask: impl FnMut(*mut u8, u32, &mut u32) -> i32) -> io::Result<Vec<u64>> {
    const TRIES: usize = 5;
    let mut room: Vec<u64> = Vec::new();
    for _ in 0..TRIES {
        let mut needed = 0;
        let bytes = (room.len() * size_of::<u64>()) as u32;
        let place = if room.is_empty() { null_mut() } else { room.as_mut_ptr().cast() };
        // SAFETY: takes a number. Not every failure has a reason, and an old one would be taken for it.
        unsafe { SetLastError(0) };
        if ask(place, bytes, &mut needed) != 0 {
            return Ok(room);
        }
        let error = io::Error::last_os_error();
        if code(&error) != Some(ERROR_INSUFFICIENT_BUFFER) || needed > ANSWER_BYTES_MAX {
            return Err(error);
        }
        // Between two questions there may be more to tell.
        room = vec![0; needed.max(bytes + 1).div_ceil(size_of::<u64>() as u32) as usize];
    }
    Err(io::ErrorKind::Interrupted.into())
}

/// Windows' number of an error.
fn code(error: &io::Error) -> Option<u32> {
    error.raw_os_error().map(i32::cast_unsigned)
}

/// # Safety
/// `count` structures of this type stand at the beginning of `answer`, or there are fewer bytes than they take.
#[allow(unsafe_code, reason = "Windows answers in C's structures")]
unsafe fn structures<T>(answer: &[u64], count: u32) -> &[T] {
    const { assert!(align_of::<T>() <= align_of::<u64>()) };
    let there = size_of_val(answer) / size_of::<T>();
    // SAFETY: the caller says what they are; they are aligned, and no more than there is room for.
    unsafe { std::slice::from_raw_parts(answer.as_ptr().cast(), there.min(count as usize)) }
}

/// # Safety
/// It is null, or points to letters that end with a zero.
#[allow(unsafe_code, reason = "Windows' texts have no length")]
unsafe fn text(letters: *const u16) -> String {
    if letters.is_null() {
        return String::new();
    }
    let mut units = Vec::new();
    while units.len() < TEXT_MAX {
        // SAFETY: no zero has come yet, so this one is there.
        let unit = unsafe { *letters.add(units.len()) };
        if unit == 0 {
            break;
        }
        units.push(unit);
    }
    String::from_utf16_lossy(&units)
}

#[allow(unsafe_code, reason = "Windows' texts have no length")]
fn job(info: &JOB_INFO_1W) -> Job {
    Job {
        number: info.JobId,
        // SAFETY: it points into the answer that `info` stands in, or is null.
        document: unsafe { text(info.pDocument) },
        status: info.Status,
        pages_printed: info.PagesPrinted,
    }
}

fn until_zero(letters: &[u16]) -> String {
    let end = letters.iter().position(|unit| *unit == 0).unwrap_or(letters.len());
    String::from_utf16_lossy(&letters[..end])
}

/// One of a driver's answers: a list whose entries take `each` values, or (with `each` 0) a number alone.
#[allow(unsafe_code, reason = "drivers answer in C only")]
fn capability<T: Clone + Default>(name: &[u16], port: &[u16], what: u16, each: usize) -> (Vec<T>, i32) {
    // SAFETY: both texts end with a zero; without room only the number is told.
    let number = unsafe { DeviceCapabilitiesW(name.as_ptr(), port.as_ptr(), what, null_mut(), null()) };
    let count = usize::try_from(number).unwrap_or(0);
    if each == 0 || count == 0 || count > CHOICES_MAX {
        return (Vec::new(), number);
    }
    // Drivers have been seen that tell more the second time.
    let mut values = vec![T::default(); 2 * count * each];
    // SAFETY: there is room for twice what was told.
    let told = unsafe { DeviceCapabilitiesW(name.as_ptr(), port.as_ptr(), what, values.as_mut_ptr().cast(), null()) };
    values.truncate(usize::try_from(told).unwrap_or(0).min(count) * each);
    (values, told)
}
