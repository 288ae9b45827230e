//! The process that draws a document: how it is started, what it may take, and how it is heard.

use super::render;
use super::sheet::Sheet;
use super::strip::{RenderOrder, Strip, number};
use std::env;
use std::ffi::c_void;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::mem::size_of;
use std::os::windows::io::{AsHandle, AsRawHandle, FromRawHandle, OwnedHandle};
use std::os::windows::process::CommandExt;
use std::process::{Child, Command, ExitCode, Stdio};
use std::ptr::null;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;
use thiserror::Error;
use windows_sys::Win32::System::JobObjects::{
    AssignProcessToJobObject, CreateJobObjectW, JOB_OBJECT_LIMIT_ACTIVE_PROCESS,
    JOB_OBJECT_LIMIT_DIE_ON_UNHANDLED_EXCEPTION, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE, JOB_OBJECT_LIMIT_PROCESS_MEMORY,
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION, JobObjectExtendedLimitInformation, SetInformationJobObject,
};
use windows_sys::Win32::System::Threading::{BELOW_NORMAL_PRIORITY_CLASS, CREATE_NO_WINDOW};

/// What a process is told that is to draw. Nobody else says it: it is no option of the program.
const ROLE: &str = "--draw-a-print-job";
/// Memory that drawing may take besides the document: a band, and the largest pictures that scanners make.
const MEMORY_MAX: usize = 1 << 30;
/// The next strip is there within this. A page that takes longer is meant to.
const STRIP_LIMIT: Duration = Duration::from_secs(120);
/// Bytes that the pipe takes at a time.
const PIPE_BYTES: usize = 256 << 10;
/// Strips that wait to be printed: the renderer is slower than who takes them, mostly.
const STRIPS_WAITING: usize = 4;

/// Why there are no pictures of a document.
#[derive(Debug, Error)]
pub(super) enum RenderError {
    /// The system gives no process, or bounds it not.
    #[error("the process that draws cannot be started")]
    NoProcess(#[source] io::Error),
    /// The document cannot be read or drawn, or takes too much memory or time.
    #[error("the document cannot be drawn")]
    Document(#[source] io::Error),
}

/// A document that is being drawn. Its process ends with it.
pub(super) struct Renderer {
    child: Child,
    /// Ends it also if this process dies.
    cage: Option<OwnedHandle>,
    strips: Receiver<io::Result<Option<Strip>>>,
    sides: u32,
}

/// Draws a document if this process was started for it; `None` if not.
pub(super) fn render_if_asked() -> Option<ExitCode> {
    if env::args_os().nth(1).is_none_or(|word| word != ROLE) {
        return None;
    }
    // Not Rust's standard output, which looks for lines in what passes.
    let output = io::stdout().as_handle().try_clone_to_owned().map(File::from);
    let drawn = output.and_then(|output| render::serve(io::stdin(), BufWriter::with_capacity(PIPE_BYTES, output)));
    Some(if drawn.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Renderer {
    /// Starts to draw.
    ///
    /// # Errors
    /// [`RenderError`].
    pub(super) fn start(order: RenderOrder, document: impl Read) -> Result<Renderer, RenderError> {
        let program = env::current_exe().map_err(RenderError::NoProcess)?;
        let mut child = Command::new(program)
            .arg(ROLE)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // What it would say may hold what is in the document.
            .stderr(Stdio::null())
            .creation_flags(CREATE_NO_WINDOW | BELOW_NORMAL_PRIORITY_CLASS)
            .spawn()
            .map_err(RenderError::NoProcess)?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let (mut input, output) = input.zip(output).expect("both were asked for");
        // From here on the process ends with this value, also where the next lines fail.
        let (tell, strips) = sync_channel(STRIPS_WAITING);
        let mut renderer = Renderer { child, cage: None, strips, sides: 0 };
        // It waits for its order and has read nothing yet.
        let memory = order.document_bytes as usize + MEMORY_MAX;
        renderer.cage = Some(cage(&renderer.child, memory).map_err(RenderError::NoProcess)?);
        let sent = order.write(&mut input).and_then(|()| {
            io::copy(&mut document.take(order.document_bytes.into()), &mut input)?;
            input.flush()
        });
        sent.map_err(RenderError::Document)?;
        drop(input);
        let sheet = order.sheet;
        let (begin, began) = sync_channel(1);
        std::thread::Builder::new()
            .name("strips".into())
            .spawn(move || {
                let mut output = BufReader::with_capacity(PIPE_BYTES, output);
                let count = number(&mut output);
                let is_begun = count.is_ok();
                if begin.send(count).is_err() || !is_begun {
                    return;
                }
                hear(&mut output, &sheet, |strip| tell.send(strip).is_ok());
            })
            .map_err(RenderError::NoProcess)?;
        let count = began.recv_timeout(STRIP_LIMIT).unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        renderer.sides = count.map_err(RenderError::Document)?;
        Ok(renderer)
    }

    /// How many sides there are.
    pub(super) fn sides(&self) -> u32 {
        self.sides
    }

    /// The next strip of this side; `None` at its end.
    ///
    /// # Errors
    /// [`RenderError::Document`].
    pub(super) fn next(&mut self) -> Result<Option<Strip>, RenderError> {
        let strip = self.strips.recv_timeout(STRIP_LIMIT).unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        strip.map_err(RenderError::Document)
    }
}

impl Drop for Renderer {
    fn drop(&mut self) {
        self.cage = None;
        // It may have ended, or be ending.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Passes strips on until they end or nobody wants them.
fn hear(output: &mut impl Read, sheet: &Sheet, mut tell: impl FnMut(io::Result<Option<Strip>>) -> bool) {
    loop {
        let strip = Strip::read(output, sheet);
        let is_last = strip.is_err();
        if !tell(strip) || is_last {
            return;
        }
    }
}

/// Bounds a process: so much memory, no others started, no reports about it, and its end with the handle's.
#[allow(unsafe_code, reason = "Windows takes such bounds in C only")]
fn cage(child: &Child, memory: usize) -> io::Result<OwnedHandle> {
    // SAFETY: both may be null: no attributes, no name. What comes back is ours alone if it is not null.
    let job = unsafe { CreateJobObjectW(null(), null()) };
    if job.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a handle that was just made, and that nobody else closes.
    let job = unsafe { OwnedHandle::from_raw_handle(job) };
    let mut bounds = JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
    bounds.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_ACTIVE_PROCESS
        | JOB_OBJECT_LIMIT_DIE_ON_UNHANDLED_EXCEPTION
        | JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
        | JOB_OBJECT_LIMIT_PROCESS_MEMORY;
    bounds.BasicLimitInformation.ActiveProcessLimit = 1;
    bounds.ProcessMemoryLimit = memory;
    let size = size_of::<JOBOBJECT_EXTENDED_LIMIT_INFORMATION>() as u32;
    // SAFETY: handles that live, and a structure of this class with its own size.
    let is_bounded = unsafe {
        SetInformationJobObject(
            job.as_raw_handle(),
            JobObjectExtendedLimitInformation,
            (&raw const bounds).cast::<c_void>(),
            size,
        ) != 0
            && AssignProcessToJobObject(job.as_raw_handle(), child.as_raw_handle()) != 0
    };
    if is_bounded { Ok(job) } else { Err(io::Error::last_os_error()) }
}
